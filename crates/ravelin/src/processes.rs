//! Servers of a local cluster as processes of this machine.
//!
//! Each server leaves its process id beside its directory. A process counts as ours only if its
//! command line names that server's own file, so a recycled id is never signalled.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ravelin_model::ReplicaId;
use rustix::process::{Pid, Signal, kill_process};

use crate::cluster_dir::{LocalCluster, LocalServer};
use crate::exit::{Error, Exit, Result};

/// How long a server may take to end by itself before it is killed.
const STOP_MAX: Duration = Duration::from_secs(10);
/// Time between two looks at a process.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// How long a server's health listener may take to answer.
const HEALTH_MAX: Duration = Duration::from_millis(500);

/// The processes of a local cluster.
pub(crate) struct Processes<'a> {
    cluster: &'a LocalCluster,
    program: PathBuf,
    logging: Logging,
}

/// In whose hands a server is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hands<'a> {
    /// Its own.
    Own,
    /// An intruder's, by name.
    Intruder(&'a str),
}

/// What servers log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Logging {
    /// What their node files say.
    AsFiled,
    /// Every hop of every request, as lines of JSON.
    Hops,
}

/// What is found running.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Running {
    /// The process.
    pub(crate) pid: u32,
    /// The intruder in charge, if any.
    pub(crate) intruder: Option<String>,
}

impl<'a> Processes<'a> {
    /// The processes of `cluster`, run by this very program.
    pub(crate) fn of(cluster: &'a LocalCluster) -> Result<Self> {
        let program = std::env::current_exe().map_err(|error| {
            Error::caused(Exit::Failed, error, "start the program by its full path")
                .context("cannot find this program's own file")
        })?;
        Ok(Self { cluster, program, logging: Logging::AsFiled })
    }

    /// The same, whose servers log so.
    pub(crate) fn logging(self, logging: Logging) -> Self {
        Self { logging, ..self }
    }

    fn server(&self, id: ReplicaId) -> Result<&'a LocalServer> {
        self.cluster.servers.get(id.index()).ok_or_else(|| {
            let count = self.cluster.servers.len();
            Error::usage(
                format!("there is no server {id}"),
                format!("the cluster has servers 0 to {}", count.saturating_sub(1)),
            )
        })
    }

    /// Starts a server that is not running. Its output goes to `server.log` in its directory.
    pub(crate) fn start(&self, id: ReplicaId, hands: Hands<'_>) -> Result<u32> {
        let server = self.server(id)?;
        let log_path = log_file(server);
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log_path)
            .map_err(|error| Error::system("write", &log_path, &error))?;
        let errors = log.try_clone().map_err(|error| Error::system("write", &log_path, &error))?;
        let mut command = Command::new(&self.program);
        command.arg("node").arg("start").arg("--config").arg(&server.node_file);
        if let Hands::Intruder(name) = hands {
            command.arg("--intruder").arg(name);
        }
        if self.logging == Logging::Hops {
            command.args(["--log-level", "trace", "--log-format", "json"]);
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .process_group(0)
            .spawn()
            .map_err(|error| Error::system("start", &self.program, &error))?;
        let pid = child.id();
        // The child outlives this command; whoever started it and stays reaps it by waiting.
        reap_in_background(child);
        fs::write(pid_file(server), format!("{pid}\n"))
            .map_err(|error| Error::system("write", &pid_file(server), &error))?;
        Ok(pid)
    }

    /// The running process of a server.
    pub(crate) fn running(&self, id: ReplicaId) -> Result<Option<Running>> {
        let server = self.server(id)?;
        let Ok(text) = fs::read_to_string(pid_file(server)) else { return Ok(None) };
        let Ok(pid) = text.trim().parse::<u32>() else { return Ok(None) };
        let Some(words) = command_line(pid) else { return Ok(None) };
        if words.is_empty() {
            return Ok(Some(Running { pid, intruder: None })); // it is ending, and holds its sockets
        }
        let is_ours = words.iter().any(|word| Path::new(word) == server.node_file);
        let mut words = words.into_iter();
        let intruder = words.find(|word| word == "--intruder").and_then(|_| words.next());
        Ok(is_ours.then_some(Running { pid, intruder }))
    }

    /// Sends `signal` to a running server.
    pub(crate) fn signal(&self, id: ReplicaId, signal: Signal) -> Result<bool> {
        let Some(running) = self.running(id)? else { return Ok(false) };
        let pid = i32::try_from(running.pid).ok().and_then(Pid::from_raw);
        let Some(pid) = pid else { return Ok(false) };
        match kill_process(pid, signal) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::SRCH) => Ok(false),
            Err(error) => {
                Err(Error::caused(Exit::Denied, error, "use the account that started it")
                    .context(format!("cannot signal server {id}")))
            }
        }
    }

    /// Stops a server in good order; kills it if it does not end.
    pub(crate) fn stop(&self, id: ReplicaId) -> Result<()> {
        self.signal(id, Signal::CONT)?;
        self.signal(id, Signal::TERM)?;
        if self.wait_gone(id, STOP_MAX)? {
            return Ok(());
        }
        self.kill(id)
    }

    /// Kills a server: it gets no chance to say or write anything more.
    pub(crate) fn kill(&self, id: ReplicaId) -> Result<()> {
        self.signal(id, Signal::KILL)?;
        if self.wait_gone(id, STOP_MAX)? {
            return Ok(());
        }
        let cause = format!("server {id} does not end");
        Err(Error::new(Exit::Failed, cause, "its disk may hang: look at `dmesg`"))
    }

    fn wait_gone(&self, id: ReplicaId, most: Duration) -> Result<bool> {
        let begun = Instant::now();
        while begun.elapsed() < most {
            if self.running(id)?.is_none() {
                return Ok(true);
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(false)
    }

    /// Whether a server says that it serves.
    pub(crate) fn is_ready(&self, id: ReplicaId) -> Result<bool> {
        let server = self.server(id)?;
        Ok(server.config.admin_listen.is_some_and(answers_ready))
    }
}

/// The file that a server's output goes to.
pub(crate) fn log_file(server: &LocalServer) -> PathBuf {
    server.dir.join("server.log")
}

fn pid_file(server: &LocalServer) -> PathBuf {
    server.dir.join("pid")
}

/// The words of a process's command line; none while it is ending, `None` once it has ended.
fn command_line(pid: u32) -> Option<Vec<String>> {
    let status = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after_name) = status.rsplit_once(')')?;
    if after_name.trim_start().starts_with(['Z', 'X']) {
        return None;
    }
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let words = bytes.split(|byte| *byte == 0).filter(|word| !word.is_empty());
    Some(words.map(|word| String::from_utf8_lossy(word).into_owned()).collect())
}

/// Waits for `child` in a thread, so that it does not stay behind as a zombie.
fn reap_in_background(mut child: std::process::Child) {
    std::thread::spawn(move || child.wait());
}

fn answers_ready(address: SocketAddr) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect_timeout(&address, HEALTH_MAX)?;
        stream.set_read_timeout(Some(HEALTH_MAX))?;
        stream.write_all(b"GET /readyz HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
        let mut head = [0; 12];
        stream.read_exact(&mut head)?;
        Ok(head.ends_with(b"200"))
    };
    ask().unwrap_or(false)
}
