//! `ravelin local`: a cluster on this machine, to play with.

mod servers;

use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use ravelin_model::{FaultModel, ReplicaId};
use serde::Serialize;

use super::{Invocation, ModelName};
use crate::cluster_dir::LocalCluster;
use crate::exit::{Error, Exit, Result};
use crate::processes::{Hands, Processes, end_of_log, log_file};
use crate::{client_command, reopening};

pub(crate) use servers::{Servers, look};

/// Where the cluster is, unless said otherwise.
pub(crate) const DIR_DEFAULT: &str = "ravelin-local";
/// How long the servers may take to serve.
const READY_MAX: Duration = Duration::from_secs(30);
/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Bytes of a server's log that `logs` prints at most.
const LOG_TAIL_BYTES: u64 = 64 << 10;

/// The verbs.
#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Make the cluster, or start it again; returns when all servers that can do serve
    Up(Up),
    /// Stop the servers, keeping their data
    Down(Dir),
    /// Show the servers
    #[command(after_long_help = STATUS_HELP)]
    Status(Dir),
    /// Print the end of a server's log
    Logs(Logs),
    /// Stop the servers and remove everything
    Reset(Dir),
}

/// Which cluster.
#[derive(Args)]
pub(crate) struct Dir {
    /// The cluster's directory
    #[arg(
        long,
        env = "RAVELIN_LOCAL_DIR",
        hide_env_values = true,
        default_value = DIR_DEFAULT
    )]
    pub(crate) dir: PathBuf,
}

/// Arguments of `local up`.
#[derive(Args)]
#[command(after_long_help = UP_HELP)]
pub(crate) struct Up {
    #[command(flatten)]
    dir: Dir,
    /// Servers of a new cluster [default: 4, with `hybrid` 3]
    #[arg(long, value_name = "N")]
    servers: Option<u16>,
    /// Fault model of a new cluster [default: arbitrary]
    #[arg(long, value_name = "MODEL")]
    fault_model: Option<ModelName>,
}

const UP_HELP: &str = "\
Exit codes: 0 all servers serve; 7 a quorum serves, and another server is down, in an intruder's
hands or stays out with a spent key; 1 no quorum serves; 5 with `hybrid`, not all start after all
were down: the hint says how one that is gone for good is declared lost.";

const STATUS_HELP: &str = "\
Exit codes: 0 whatever the servers' states are, for there is a cluster to look at; 4 there is
none. `ravelin status` asks the servers as a client does, and ends with 7 when degraded, 8 after
a fail-safe stop and 5 when none answers.";

/// Arguments of `local logs`.
#[derive(Args)]
pub(crate) struct Logs {
    #[command(flatten)]
    dir: Dir,
    /// The server
    #[arg(long, value_name = "SERVER")]
    on: u16,
}

/// Runs a verb.
pub(crate) fn run(invocation: &Invocation, verb: Verb) -> Result<()> {
    match verb {
        Verb::Up(arguments) => up(invocation, &arguments),
        Verb::Down(dir) => down(invocation, &dir),
        Verb::Status(dir) => {
            let servers = look(&LocalCluster::open(&dir.dir)?)?;
            servers.tell_spent(invocation.output);
            invocation.output.print(&servers)
        }
        Verb::Logs(arguments) => logs(invocation, &arguments),
        Verb::Reset(dir) => reset(invocation, &dir),
    }
}

fn up(invocation: &Invocation, arguments: &Up) -> Result<()> {
    let dir = &arguments.dir.dir;
    let cluster = if LocalCluster::is_in(dir) {
        let cluster = LocalCluster::open(dir)?;
        check_same(&cluster, arguments)?;
        cluster
    } else {
        let model = arguments.fault_model.map_or(FaultModel::Arbitrary, FaultModel::from);
        let default = if model == FaultModel::Hybrid { 3 } else { 4 };
        LocalCluster::create(dir, arguments.servers.unwrap_or(default), model)?
    };
    let processes = Processes::of(&cluster)?;
    for server in &cluster.servers {
        if processes.is_down(server.id)? {
            processes.start(server.id, Hands::Own)?;
        }
    }
    if cluster.group.model() == FaultModel::Hybrid {
        open(invocation, &cluster)?;
    }
    let servers = wait(&cluster, READY_MAX, Servers::is_settled)?;
    if !servers.is_served() {
        return Err(servers.trouble(Exit::Failed));
    }
    invocation.output.note(format_args!(
        "try: ravelin --config {} kv put hello world",
        cluster.client_file().display()
    ));
    invocation.output.print(&servers)?;
    if servers.are_all_correct() { Ok(()) } else { Err(servers.trouble(Exit::Degraded)) }
}

/// In `hybrid`: lets in the wormholes of servers that were all down.
fn open(invocation: &Invocation, cluster: &LocalCluster) -> Result<()> {
    let opened = client_command::runtime()?.block_on(reopening::open_local(cluster, READY_MAX));
    let opened = opened.map_err(|error| {
        let down = look(cluster).ok().and_then(|servers| servers.down());
        match down {
            Some((id, found, advice)) if error.exit() == Exit::NoQuorum => {
                let (client, key) = (cluster.client_file(), cluster.administrator_key());
                let (client, key) = (client.display(), key.display());
                error.context(found).hint(format!(
                    "{advice}; if its disk is gone for good, declare it lost, which takes one of the f faults: \
                     `ravelin --config {client} node reopen --key {key} --lost {id}`"
                ))
            }
            _ => error,
        }
    })?;
    if let Some(opened) = opened {
        invocation.output.note(format_args!(
            "opened the cluster, whose wormholes all began anew, by an order that the administrator's key \
             in {} signed: epoch {}",
            cluster.dir.display(),
            opened.plan.plan.epoch.0
        ));
    }
    Ok(())
}

/// A cluster that exists is not changed by the arguments of its making.
fn check_same(cluster: &LocalCluster, arguments: &Up) -> Result<()> {
    let count = cluster.servers.len();
    let model = cluster.group.model();
    let (has, flag) = if arguments.servers.is_some_and(|asked| usize::from(asked) != count) {
        (format!("has {count} servers"), "--servers")
    } else if arguments.fault_model.is_some_and(|asked| FaultModel::from(asked) != model) {
        (format!("is `{}`", model.name()), "--fault-model")
    } else {
        return Ok(());
    };
    let cause = format!("the cluster in {} {has}", cluster.dir.display());
    let hint = format!("leave out {flag}, or choose another --dir");
    Err(Error::new(Exit::Conflict, cause, hint))
}

/// How the servers stand once `is_enough`, or after `most`.
pub(crate) fn wait(
    cluster: &LocalCluster,
    most: Duration,
    is_enough: impl Fn(&Servers) -> bool,
) -> Result<Servers> {
    let begun = Instant::now();
    loop {
        let servers = look(cluster)?;
        if is_enough(&servers) || begun.elapsed() > most {
            return Ok(servers);
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

fn down(invocation: &Invocation, dir: &Dir) -> Result<()> {
    let cluster = LocalCluster::open(&dir.dir)?;
    let processes = Processes::of(&cluster)?;
    for server in &cluster.servers {
        processes.stop(server.id)?;
    }
    invocation.output.print(&look(&cluster)?)
}

fn reset(invocation: &Invocation, dir: &Dir) -> Result<()> {
    let cluster = LocalCluster::open(&dir.dir)?;
    let processes = Processes::of(&cluster)?;
    for server in &cluster.servers {
        processes.kill(server.id)?;
    }
    std::fs::remove_dir_all(&cluster.dir)
        .map_err(|error| Error::system("remove", &cluster.dir, &error))?;
    invocation.output.print(&Removed { removed: cluster.dir })
}

#[derive(Serialize)]
struct Removed {
    removed: PathBuf,
}

impl fmt::Display for Removed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "removed {}", self.removed.display())
    }
}

fn logs(invocation: &Invocation, arguments: &Logs) -> Result<()> {
    let cluster = LocalCluster::open(&arguments.dir.dir)?;
    let server = Processes::of(&cluster)?.server(ReplicaId(arguments.on))?;
    let path = log_file(server);
    let text = end_of_log(server, LOG_TAIL_BYTES);
    let text = text.map_err(|error| Error::system("read", &path, &error))?;
    invocation.output.write(&text)
}
