//! `ravelin status`: how the servers fare, and whose word that is.

use std::fmt;
use std::time::{Duration, Instant};

use clap::Args;
use ravelin_gateway::picture::{self, NamedServer, Report, View};
use serde::Serialize;

use super::Invocation;
use crate::client_command::{self, Client, Interruption, Speaker};
use crate::exit::{Error, Exit, Result};
use crate::output::Format;
use crate::reopening;

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

/// What a halt is, what it means, and what to do.
const HALTED: &str = "\
halted   a server stops for good when it holds proof against more than f servers, or when others know
         another result than its own: beyond f the budget promises nothing, and it would rather
         be silent than wrong. What was acknowledged is on its disk; restarts change nothing.
to do    stop the halted servers; `ravelin node evidence` shows what is proven; repair the accused;
         on each halted server `ravelin node release --draft FILE`, which administrators sign, and
         `--signed FILE`; start all; then `ravelin auth rekey` for each of the accused";

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
async fn look(client: &Client) -> Result<Shown> {
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
            let picture = picture::merge(client.group(), &reports);
            return Ok(Shown(Report::of(client.cluster(), &client.plan().plan, picture)));
        }
        if until <= Instant::now() {
            let cause = format!("none of {size} servers answers within {:?}", client.timeout());
            let hint = "check the network and that the servers run; --timeout waits longer. Was the cluster \
                        restored? Then it is another one: `ravelin trust list` shows which you use";
            return Err(Error::new(Exit::NoQuorum, cause, hint));
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

/// What is told.
#[derive(Serialize)]
#[serde(transparent)]
struct Shown(Report);

impl Shown {
    fn troubled(&self) -> impl Iterator<Item = &NamedServer> {
        self.0.servers.iter().filter(|server| server.view.state != View::Correct)
    }

    /// What to do about a cluster that is degraded.
    fn advice(&self) -> &'static str {
        let servers = self.0.servers.iter();
        let learner_count = servers.filter(|server| server.view.state == View::Learner).count();
        if self.0.fault_budget_remaining >= 0 {
            "clients are served and protected still: repair before another one fails"
        } else if reopening::is_needed(self.0.fault_model, learner_count, self.0.f) {
            reopening::ADVICE
        } else {
            "more servers are in trouble than the cluster tolerates: repair them first"
        }
    }

    /// How the command ends.
    fn verdict(&self) -> Result<()> {
        let troubled: Vec<String> = self
            .troubled()
            .map(|server| format!("server {} is {}", server.id, server.view.state.name()))
            .collect();
        match self.0.state {
            View::Correct => Ok(()),
            View::FailSafe => {
                let cause = format!("fail-safe stop: {}", troubled.join(", "));
                let hint = "administrators repair who is accused, then release each server that halted: \
                            see `ravelin node release --help`";
                Err(Error::new(Exit::FailSafe, cause, hint))
            }
            _ => {
                let cause = format!("degraded: {}", troubled.join(", "));
                Err(Error::new(Exit::Degraded, cause, self.advice()))
            }
        }
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = self.0.servers.len();
        writeln!(out, "cluster  {} ({}), {}", self.0.name, self.0.fault_model, self.0.cluster)?;
        let (left, tolerated) = (self.0.fault_budget_remaining, self.0.f);
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
            self.0.commit_index, self.0.commit_told_by
        )?;
        write!(out, "answers  {} of {size} servers", self.0.answered)?;
        for NamedServer { id, name, view } in &self.0.servers {
            write!(out, "\nserver {id}  {:<12}  {name}  ({view})", view.state.name())?;
        }
        if self.0.servers.iter().any(|server| server.view.state == View::FailSafe) {
            write!(out, "\n{HALTED}")?;
        }
        Ok(())
    }
}
