//! `ravelin status`: how the servers fare, and whose word that is.

use std::fmt;
use std::time::{Duration, Instant};

use clap::Args;
use ravelin_gateway::picture::{self, Picture, ServerView, View};
use serde::Serialize;

use super::Invocation;
use crate::client_command::{self, Client, Interruption, Speaker};
use crate::exit::{Error, Exit, Result};
use crate::output::Format;

/// How long servers are waited for, once a first one has answered.
const PATIENCE: Duration = Duration::from_millis(1500);
/// Pause between two rounds of questions.
const ASK_EVERY: Duration = Duration::from_millis(50);
/// Pause between two pictures of `--watch`.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Arguments of `status`.
#[derive(Args)]
#[command(after_long_help = HELP)]
pub(crate) struct Status {
    /// Look again every two seconds, until interrupted
    #[arg(long)]
    watch: bool,
}

const HELP: &str = "\
Each server is asked how it sees itself and the others. A server's state is what most of the
others say of it; that it is behind or has halted, it may say itself; and one that does not
answer here is suspected at least. Of a fault budget of f, every server that is not correct
takes one.

Exit codes: 0 all are correct; 7 degraded; 8 the servers halted (fail-safe stop); 5 none answers.
No key is needed.";

/// Shows how the servers fare.
pub(crate) fn run(invocation: &Invocation, arguments: &Status) -> Result<()> {
    client_command::run(invocation, &Speaker::Anybody, async |client| {
        if !arguments.watch {
            let report = look(client).await?;
            invocation.output.print(&report)?;
            return report.verdict();
        }
        let mut interruption = Interruption::listen()?;
        loop {
            let report = look(client).await?;
            let mut text = match invocation.output.format() {
                Format::Text => format!("{report}\n\n"),
                Format::Json => serde_json::to_string(&report).expect("plain fields"),
            };
            if invocation.output.format() == Format::Json {
                text.push('\n');
            }
            if !invocation.output.write_bytes(text.as_bytes())? {
                return Ok(());
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                _ = interruption.next() => return Err(Interruption::error("the watch has ended")),
            }
        }
    })
}

/// Asks until all have answered, or long enough.
async fn look(client: &Client) -> Result<Report> {
    let size = client.group().size();
    let until = Instant::now() + client.timeout();
    let mut answered_at: Option<Instant> = None;
    loop {
        let reports = client.reports().await?;
        if !reports.is_empty() {
            answered_at = answered_at.or_else(|| Some(Instant::now()));
        }
        let is_enough = answered_at.is_some_and(|first| first.elapsed() >= PATIENCE);
        if reports.len() == size || is_enough {
            return Ok(Report::of(client, &picture::merge(client.group(), &reports)));
        }
        if until <= Instant::now() {
            let cause = format!("none of {size} servers answers within {:?}", client.timeout());
            let hint = "check the network and that the servers run; --timeout waits longer";
            return Err(Error::new(Exit::NoQuorum, cause, hint));
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

/// What is told.
#[derive(Serialize)]
struct Report {
    cluster: String,
    name: String,
    fault_model: &'static str,
    f: usize,
    state: View,
    answered: usize,
    fault_budget_remaining: i64,
    commit_index: u64,
    commit_told_by: usize,
    servers: Vec<Server>,
}

#[derive(Serialize)]
struct Server {
    id: usize,
    name: String,
    #[serde(flatten)]
    view: ServerView,
}

impl Report {
    fn of(client: &Client, picture: &Picture) -> Self {
        let plan = &client.plan().plan;
        let servers = plan.members.iter().zip(&picture.servers).enumerate();
        let server = |(id, (member, view)): (usize, (&ravelin_model::Member, &ServerView))| {
            Server { id, name: member.name.clone(), view: view.clone() }
        };
        Self {
            cluster: client.cluster().0.to_string(),
            name: plan.name.clone(),
            fault_model: plan.fault_model.name(),
            f: client.group().faults(),
            state: picture.state,
            answered: picture.answered,
            fault_budget_remaining: picture.fault_budget_remaining,
            commit_index: picture.commit_index,
            commit_told_by: picture.commit_told_by,
            servers: servers.map(server).collect(),
        }
    }

    fn troubled(&self) -> impl Iterator<Item = &Server> {
        self.servers.iter().filter(|server| server.view.state != View::Correct)
    }

    /// How the command ends.
    fn verdict(&self) -> Result<()> {
        let troubled: Vec<String> = self
            .troubled()
            .map(|server| format!("server {} is {}", server.id, server.view.state.name()))
            .collect();
        match self.state {
            View::Correct => Ok(()),
            View::FailSafe => {
                let cause = format!("fail-safe stop: {}", troubled.join(", "));
                let hint = "they saw what cannot happen within f intrusions: administrators must \
                            judge";
                Err(Error::new(Exit::FailSafe, cause, hint))
            }
            _ => {
                let cause = format!("degraded: {}", troubled.join(", "));
                let hint = if self.fault_budget_remaining >= 0 {
                    "clients are served and protected still: repair before another one fails"
                } else {
                    "more servers are in trouble than the cluster tolerates: repair them first"
                };
                Err(Error::new(Exit::Degraded, cause, hint))
            }
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = self.servers.len();
        writeln!(out, "cluster  {} ({}), {}", self.name, self.fault_model, self.cluster)?;
        let (left, tolerated) = (self.fault_budget_remaining, self.f);
        if left >= 0 {
            writeln!(out, "budget   {left} of {tolerated} intrusions may still happen")?;
        } else {
            let troubled = self.troubled().count();
            writeln!(
                out,
                "budget   overdrawn: {troubled} servers in trouble, {tolerated} tolerated"
            )?;
        }
        writeln!(
            out,
            "commit   {}, as told by {} of {size}",
            self.commit_index, self.commit_told_by
        )?;
        write!(out, "answers  {} of {size} servers", self.answered)?;
        for Server { id, name, view } in &self.servers {
            write!(out, "\nserver {id}  {:<12}  {name}  ({view})", view.state.name())?;
        }
        Ok(())
    }
}
