//! `ravelin attack`: take servers of a local cluster over, for real.

mod machine;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use ravelin_model::{FaultModel, ReplicaId};
use ravelin_sim::intruder;
use serde::Serialize;

use super::local::{Dir, look, wait};
use super::{Invocation, ModelName};
use crate::campaign::{self, CampaignOptions, Length, schedule};
use crate::child;
use crate::client_command::{Interruption, runtime};
use crate::cluster_dir::LocalCluster;
use crate::exit::{Error, Exit, Result};
use crate::processes::{Hands, Processes};
use crate::suggest;

/// The verbs.
#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Name the intruders
    List,
    /// Put a server in the hands of an intruder
    Run(Run),
    /// Hand a server's keys, directory and sockets to a program of yours
    Take(Take),
    /// Give a server back to itself, or start it if it is down
    Stop(Stop),
    /// Kill, pause, cut off and take over every server of a cluster of its own, and judge it all
    Campaign(Campaign),
    /// Let disks, clocks, processors and connections of real servers fail by chance, and judge it all
    Machine(machine::Machine),
    /// Cut the power of all servers' disks at once, again and again, and look what is lost
    PowerLoss(machine::PowerLoss),
}

const RUN_HELP: &str = "\
Examples:
  ravelin attack run equivocator --on 2
  ravelin attack run mute+liar --on 1

`ravelin attack list` names the intruders, and says which of them spend the server's key for good;
`ravelin attack stop` gives the server back.";

/// Arguments of `attack run`.
#[derive(Args)]
#[command(after_long_help = RUN_HELP)]
pub(crate) struct Run {
    /// The intruder, or several joined by `+`
    name: String,
    /// The server
    #[arg(long, value_name = "SERVER")]
    on: u16,
    #[command(flatten)]
    dir: Dir,
}

/// Arguments of `attack take`.
#[derive(Args)]
#[command(after_long_help = TAKE_HELP)]
pub(crate) struct Take {
    /// The server
    #[arg(long, value_name = "SERVER")]
    on: u16,
    /// The program that takes its place; it finds what it owns in RAVELIN_TAKEN_* variables
    #[arg(long, value_name = "PROGRAM")]
    exec: PathBuf,
    #[command(flatten)]
    dir: Dir,
    /// Arguments of the program
    #[arg(last = true)]
    arguments: Vec<String>,
}

/// Arguments of `attack stop`.
#[derive(Args)]
#[command(after_long_help = STOP_HELP)]
pub(crate) struct Stop {
    /// The server
    #[arg(long, value_name = "SERVER")]
    on: u16,
    #[command(flatten)]
    dir: Dir,
}

/// Arguments of `attack campaign`.
#[derive(Args)]
#[command(after_long_help = CAMPAIGN_HELP)]
pub(crate) struct Campaign {
    /// What the servers assume of each other: four, or with `hybrid` three that have wormholes
    #[arg(long, value_name = "MODEL", default_value = "arbitrary")]
    fault_model: ModelName,
    /// Draws the order of the steps and their lengths
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Play a part that takes about so long
    #[arg(
        long,
        value_name = "N",
        default_value_t = CAMPAIGN_SECONDS_DEFAULT,
        value_parser = clap::value_parser!(u64).range(CAMPAIGN_SECONDS_MIN..=CAMPAIGN_SECONDS_MAX)
    )]
    seconds: u64,
    /// Play everything on every server, and hold gaps to their limit: about 20 minutes
    #[arg(long, conflicts_with = "seconds")]
    full: bool,
    /// Of these steps play only those named so: kill, wipe, pause, cut, cut-incoming, cut-outgoing, with
    /// `hybrid` wormhole-kill, wormhole-pause, wormhole-rollback, wormhole-clone, or an intruder
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Where to write the results, as Markdown
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

const TAKE_HELP: &str = "\
The server is stopped. The program runs in the foreground, and finds what it owns in:

  RAVELIN_TAKEN_SERVER         the server's number
  RAVELIN_TAKEN_IDENTITY       the file with its secret keys
  RAVELIN_TAKEN_DATA           the directory with its log and state
  RAVELIN_TAKEN_NODE_FILE      its node file
  RAVELIN_TAKEN_PEER_LISTEN    where other servers reach it
  RAVELIN_TAKEN_CLIENT_LISTEN  where clients reach it

Example:
  ravelin attack take --on 2 --exec ./mine.sh -- --verbose

The exit code is the program's. `ravelin attack stop` gives the server back.";

const STOP_HELP: &str = "\
Exit codes: 0 the server runs by itself; 7 it does, but never takes part again: its key is
spent; 9 no intruder has it.";

/// How long a server that was given back may take to serve.
const SERVE_AGAIN_MAX: Duration = Duration::from_secs(5);
/// Seconds of a campaign, unless said otherwise.
const CAMPAIGN_SECONDS_DEFAULT: u64 = 60;
/// Seconds in which at least one step fits.
const CAMPAIGN_SECONDS_MIN: u64 = 15;
/// Seconds of the longest part.
const CAMPAIGN_SECONDS_MAX: u64 = 3600;

const CAMPAIGN_HELP: &str = "\
The cluster is a temporary one. One server at a time is killed, stopped, cut off from all others
or handed to an intruder, while clients work; in the end all are killed at once. After each step
all answers are checked and every acknowledged write is read back, and the server must be back
by itself. With --full, no client may wait more than two seconds for any answer; otherwise that
is only told, for it says little where the machine has other work.

With `hybrid` the wormholes are killed, stopped, set back to old files and replaced by copies of
others', too. After the end of all, none may serve until the administrator opens the cluster.

Exit codes: 0 all was kept; 6 a promise was broken.";

/// Runs a verb.
pub(crate) fn run(invocation: &Invocation, verb: Verb) -> Result<()> {
    match verb {
        Verb::List => list(invocation),
        Verb::Run(arguments) => take_over(invocation, &arguments),
        Verb::Take(arguments) => take(invocation, &arguments),
        Verb::Stop(arguments) => stop(invocation, &arguments),
        Verb::Campaign(arguments) => campaign(invocation, arguments),
        Verb::Machine(arguments) => machine::run(invocation, arguments),
        Verb::PowerLoss(arguments) => machine::lose_power(invocation, arguments),
    }
}

fn campaign(invocation: &Invocation, arguments: Campaign) -> Result<()> {
    let Campaign { fault_model, seed, seconds, full, only, report } = arguments;
    let fault_model = FaultModel::from(fault_model);
    check_names(&only, &schedule::names(fault_model))?;
    let length = if full { Length::Full } else { Length::Part(Duration::from_secs(seconds)) };
    let options = CampaignOptions {
        fault_model,
        are_wormholes_lasting: false,
        seed,
        length,
        only,
        network: None,
        report,
    };
    campaign::run(invocation.output, &options)
}

/// Refuses a step that there is not.
fn check_names(only: &[String], names: &[&'static str]) -> Result<()> {
    let Some(unknown) = only.iter().find(|name| !names.contains(&name.as_str())) else {
        return Ok(());
    };
    let hint = suggest::nearest(unknown, names.iter().copied()).map_or_else(
        || format!("choose from {}", names.join(", ")),
        |nearest| format!("did you mean `{nearest}`?"),
    );
    Err(Error::usage(format!("no step is named `{unknown}`"), hint))
}

fn list(invocation: &Invocation) -> Result<()> {
    let live = intruder::all().iter().filter(|known| known.is_live);
    let intruders = live
        .map(|known| Line { name: known.name, what: known.what, spends_key: known.spends_key })
        .collect();
    invocation.output.print(&List { intruders })
}

#[derive(Serialize)]
struct List {
    intruders: Vec<Line>,
}

#[derive(Serialize)]
struct Line {
    name: &'static str,
    what: &'static str,
    spends_key: bool,
}

impl fmt::Display for List {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.intruders {
            let mark = if line.spends_key { '*' } else { ' ' };
            writeln!(out, "{:<20} {mark} {}", line.name, line.what)?;
        }
        out.write_str(
            "* spends the server's key: it stays out until administrators give it another",
        )
    }
}

fn take_over(invocation: &Invocation, arguments: &Run) -> Result<()> {
    for name in arguments.name.split('+') {
        check_live(name)?;
    }
    let cluster = LocalCluster::open(&arguments.dir.dir)?;
    let processes = Processes::of(&cluster)?;
    let server = ReplicaId(arguments.on);
    let own = processes.server(server)?;
    warn_beyond(invocation, &cluster, server)?;
    processes.stop(server)?;
    let spends = |known: &&intruder::Description| {
        known.spends_key && arguments.name.split('+').any(|name| name == known.name)
    };
    for known in intruder::all().iter().filter(spends) {
        invocation.output.note(format_args!(
            "`{}` spends the key of server {server}: it stays out, also after `ravelin attack stop`, until an \
             administrator gives it another with `ravelin auth rekey {server} --block KEY --key {}`; KEY is \
             the next one that `ravelin node check --config {}` prints",
            known.name,
            cluster.administrator_key().display(),
            own.node_file.display()
        ));
    }
    processes.start(server, Hands::Intruder(&arguments.name))?;
    invocation.output.print(&look(&cluster)?)
}

/// Warns before more servers are in trouble than the cluster tolerates.
fn warn_beyond(invocation: &Invocation, cluster: &LocalCluster, next: ReplicaId) -> Result<()> {
    let (troubled, tolerated) = (look(cluster)?.troubled_with(next), cluster.group.faults());
    if troubled > tolerated {
        invocation.output.note(format_args!(
            "warning: {troubled} servers in trouble, {tolerated} tolerated: expect the cluster to stop"
        ));
    }
    Ok(())
}

/// Refuses an intruder that nobody knows, or that makes sense in the simulator only.
pub(crate) fn check_live(name: &str) -> Result<()> {
    let live: Vec<&'static str> =
        intruder::all().iter().filter(|known| known.is_live).map(|known| known.name).collect();
    if live.contains(&name) {
        return Ok(());
    }
    let hint = suggest::nearest(name, live.iter().copied()).map_or_else(
        || "`ravelin attack list` names them".to_owned(),
        |nearest| format!("did you mean `{nearest}`?"),
    );
    Err(Error::usage(format!("there is no intruder `{name}` for real servers"), hint))
}

/// Runs the stranger's program, with what an owner of the server would have, until it ends.
fn take(invocation: &Invocation, arguments: &Take) -> Result<()> {
    let cluster = LocalCluster::open(&arguments.dir.dir)?;
    let processes = Processes::of(&cluster)?;
    let id = ReplicaId(arguments.on);
    let server = processes.server(id)?;
    check_executable(&arguments.exec)?;
    warn_beyond(invocation, &cluster, id)?;
    processes.stop(id)?;
    let mut command = tokio::process::Command::new(&arguments.exec);
    command
        .args(&arguments.arguments)
        .env("RAVELIN_TAKEN_SERVER", id.to_string())
        .env("RAVELIN_TAKEN_IDENTITY", &server.config.identity)
        .env("RAVELIN_TAKEN_DATA", &server.config.data_dir)
        .env("RAVELIN_TAKEN_NODE_FILE", &server.node_file)
        .env("RAVELIN_TAKEN_PEER_LISTEN", server.config.peer_listen.to_string())
        .env("RAVELIN_TAKEN_CLIENT_LISTEN", server.config.client_listen.to_string());
    let status = runtime()?.block_on(async {
        let mut interruption = Interruption::listen()?;
        let mut program = command.spawn().map_err(|error| {
            let what = format!("cannot run {}", arguments.exec.display());
            Error::caused(Exit::Failed, error, "give the path of an executable file").context(what)
        })?;
        child::wait(&mut program, &mut interruption).await
    })?;
    match child::code(status) {
        0 => Ok(()),
        code => {
            invocation.output.note(format_args!(
                "the program ended with {code}; `ravelin attack stop --dir {} --on {id}` gives the \
                 server back",
                cluster.dir.display()
            ));
            std::process::exit(code)
        }
    }
}

/// Refuses a program that could not run, before a server stops for it.
fn check_executable(program: &Path) -> Result<()> {
    let runs = |path: &Path| {
        path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
    };
    let search = std::env::var_os("PATH").unwrap_or_default();
    let is_name = program.components().count() == 1;
    let is_found = is_name && std::env::split_paths(&search).any(|dir| runs(&dir.join(program)));
    if is_found || runs(program) {
        return Ok(());
    }
    let cause = format!("cannot run {}: it is no executable file", program.display());
    Err(Error::new(Exit::NotFound, cause, "give the path of an executable file"))
}

fn stop(invocation: &Invocation, arguments: &Stop) -> Result<()> {
    let cluster = LocalCluster::open(&arguments.dir.dir)?;
    let processes = Processes::of(&cluster)?;
    let server = ReplicaId(arguments.on);
    if processes.running(server)?.is_some_and(|running| running.intruder.is_none()) {
        let cause = format!("server {server} is in nobody's hands");
        let hint = format!("`ravelin local status --dir {}` shows who is", cluster.dir.display());
        return Err(Error::new(Exit::Conflict, cause, hint));
    }
    processes.kill(server)?;
    processes.start(server, Hands::Own)?;
    let servers = wait(&cluster, SERVE_AGAIN_MAX, |servers| servers.is_server_settled(server))?;
    invocation.output.print(&servers)?;
    servers.spent(server).map_or(Ok(()), Err)
}
