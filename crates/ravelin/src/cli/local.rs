//! `ravelin local`: a cluster on this machine, to play with.

use std::fmt;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand, ValueEnum};
use ravelin_model::{FaultModel, ReplicaId};
use serde::Serialize;

use super::Invocation;
use crate::cluster_dir::LocalCluster;
use crate::exit::{Error, Exit, Result};
use crate::files::disk;
use crate::processes::{Hands, Processes, log_file};

/// How long the servers may take to serve.
const READY_MAX: Duration = Duration::from_secs(30);
/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Bytes of a server's log that `logs` prints at most.
const LOG_TAIL_BYTES: u64 = 64 << 10;

/// The verbs.
#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Make the cluster, or start it again; returns when it serves
    Up(Up),
    /// Stop the servers, keeping their data
    Down(Dir),
    /// Show the servers
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
        default_value = "ravelin-local"
    )]
    pub(crate) dir: PathBuf,
}

/// Arguments of `local up`.
#[derive(Args)]
pub(crate) struct Up {
    #[command(flatten)]
    dir: Dir,
    /// Servers of a new cluster [default: 4]
    #[arg(long, value_name = "N")]
    servers: Option<u16>,
    /// Fault model of a new cluster [default: arbitrary]
    #[arg(long, value_name = "MODEL")]
    fault_model: Option<ModelName>,
}

/// Fault models that this release can run.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ModelName {
    /// Nothing is assumed of an intruded server
    Arbitrary,
}

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
        Verb::Status(dir) => invocation.output.print(&look(&LocalCluster::open(&dir.dir)?)?),
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
        let servers = arguments.servers.unwrap_or(4);
        LocalCluster::create(dir, servers, FaultModel::Arbitrary)?
    };
    let processes = Processes::of(&cluster)?;
    for server in &cluster.servers {
        if processes.running(server.id)?.is_none() {
            processes.start(server.id, Hands::Own)?;
        }
    }
    wait_ready(&cluster, &processes)?;
    invocation.output.note(format_args!(
        "try: ravelin --config {} kv put hello world",
        cluster.client_file().display()
    ));
    invocation.output.print(&look(&cluster)?)
}

/// A cluster that exists is not changed by the arguments of its making.
fn check_same(cluster: &LocalCluster, arguments: &Up) -> Result<()> {
    let count = cluster.servers.len();
    match arguments.servers {
        Some(asked) if usize::from(asked) != count => {
            let cause = format!("the cluster in {} has {count} servers", cluster.dir.display());
            Err(Error::new(Exit::Conflict, cause, "leave out --servers, or choose another --dir"))
        }
        _ => Ok(()),
    }
}

fn wait_ready(cluster: &LocalCluster, processes: &Processes<'_>) -> Result<()> {
    let begun = Instant::now();
    for server in &cluster.servers {
        while !processes.is_ready(server.id)? {
            let is_gone = processes.running(server.id)?.is_none();
            if is_gone || begun.elapsed() > READY_MAX {
                let what = if is_gone { "has ended" } else { "does not begin to serve" };
                let hint = format!(
                    "`ravelin local logs --dir {} --on {}` says why",
                    cluster.dir.display(),
                    server.id
                );
                return Err(Error::new(Exit::Failed, format!("server {} {what}", server.id), hint));
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }
    Ok(())
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
    invocation.output.note(format_args!("removed {}", cluster.dir.display()));
    Ok(())
}

fn logs(invocation: &Invocation, arguments: &Logs) -> Result<()> {
    let cluster = LocalCluster::open(&arguments.dir.dir)?;
    let server = cluster.servers.get(usize::from(arguments.on)).ok_or_else(|| {
        let hint = format!("the cluster has servers 0 to {}", cluster.servers.len() - 1);
        Error::usage(format!("there is no server {}", arguments.on), hint)
    })?;
    let path = log_file(server);
    let read = || -> std::io::Result<String> {
        let mut file = std::fs::File::open(&path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().map_err(|error| Error::system("read", &path, &error))?;
    invocation.output.write(&text)
}

/// How the servers of a cluster stand, as they and their processes show.
pub(crate) fn look(cluster: &LocalCluster) -> Result<Servers> {
    let processes = Processes::of(cluster)?;
    let mut servers = Vec::new();
    for server in &cluster.servers {
        let running = processes.running(server.id)?;
        let is_ready = running.is_some() && processes.is_ready(server.id)?;
        let intruder = running.as_ref().and_then(|running| running.intruder.clone());
        let state = match (&running, &intruder, is_ready) {
            (None, _, _) => "down",
            (Some(_), Some(_), _) => "faulty",
            (Some(_), None, true) => "correct",
            (Some(_), None, false) => "catching_up",
        };
        servers.push(ServerLine {
            id: server.id,
            pid: running.map(|running| running.pid),
            state,
            intruder,
            peer_address: server.config.peer_address.clone(),
            client_address: server.config.client_address.clone(),
            admin_address: server.config.admin_listen.map(|address| address.to_string()),
        });
    }
    let client_config = disk::plain(&cluster.client_file());
    Ok(Servers {
        servers,
        client_config,
        fault_model: cluster.group.model().name(),
        f: cluster.group.faults(),
    })
}

/// What scripts read: its fields are stable.
#[derive(Serialize)]
pub(crate) struct Servers {
    servers: Vec<ServerLine>,
    client_config: PathBuf,
    fault_model: &'static str,
    f: usize,
}

#[derive(Serialize)]
struct ServerLine {
    #[serde(serialize_with = "as_number")]
    id: ReplicaId,
    pid: Option<u32>,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    intruder: Option<String>,
    peer_address: String,
    client_address: String,
    admin_address: Option<String>,
}

fn as_number<S: serde::Serializer>(id: &ReplicaId, out: S) -> std::result::Result<S::Ok, S::Error> {
    out.serialize_u16(id.0)
}

impl fmt::Display for Servers {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "server  pid      state         clients at")?;
        for server in &self.servers {
            let pid = server.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
            let state = server.intruder.as_ref().map_or_else(
                || server.state.to_owned(),
                |name| format!("{} ({name})", server.state),
            );
            writeln!(out, "{:<7} {pid:<8} {state:<13} {}", server.id, server.client_address)?;
        }
        write!(
            out,
            "{} of {} may be owned ({}); clients use {}",
            self.f,
            self.servers.len(),
            self.fault_model,
            self.client_config.display()
        )
    }
}
