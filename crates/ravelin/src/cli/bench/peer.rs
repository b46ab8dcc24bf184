//! Another system to compare with, as a throw-away cluster of this machine.
//!
//! Those that there are tolerate crashes alone, and are given every advantage: clients speak to the server
//! that leads, in plain text, and nobody is authenticated.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use super::door::Door;
use super::testbed::TestDir;
use super::usage::Usage;
use super::{etcd, openraft};
use crate::cluster_dir::free_listeners;
use crate::drill;
use crate::exit::{Error, Exit, Result};

/// Servers: as many as it takes to go on when one has crashed.
pub(super) const SERVERS: usize = 3;
/// How long they may take to choose a leader.
const READY_MAX: Duration = Duration::from_secs(20);

/// A system whose program is there, and can be started.
#[derive(Clone, Debug)]
pub(super) enum System {
    /// Debian's `etcd-server`, as it comes.
    Etcd(etcd::Program),
    /// The `raft-peer` of `bench/raft`.
    Openraft(openraft::Program),
}

/// Where one of its servers has its place.
pub(super) struct Place {
    pub(super) number: usize,
    /// Where all of them hear clients, and each other.
    pub(super) clients: Vec<SocketAddr>,
    pub(super) members: Vec<SocketAddr>,
    /// Where it keeps what it writes.
    pub(super) dir: PathBuf,
}

/// What a server says of itself.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Standing {
    pub(super) leads: bool,
    pub(super) knows_leader: bool,
}

impl System {
    /// What it is called, as `--against` has it.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Etcd(_) => "etcd",
            Self::Openraft(_) => "openraft",
        }
    }

    /// Which version of it was found.
    pub(super) fn version(&self) -> &str {
        match self {
            Self::Etcd(program) => program.version(),
            Self::Openraft(program) => program.version(),
        }
    }

    /// What it leaves out, in the words of every result.
    pub(super) fn lacks(&self) -> &'static str {
        match self {
            Self::Etcd(_) => etcd::LACKS,
            Self::Openraft(_) => openraft::LACKS,
        }
    }

    /// Writes of one of its transactions at most.
    pub(super) fn transaction_max(&self) -> usize {
        match self {
            Self::Etcd(_) => etcd::TRANSACTION_MAX,
            Self::Openraft(_) => openraft::TRANSACTION_MAX,
        }
    }

    /// Whether `--quick` has time for its transactions, too.
    pub(super) fn starts_at_once(&self) -> bool {
        matches!(self, Self::Openraft(_))
    }

    /// Starts servers and waits until they have a leader.
    pub(super) async fn start(&self) -> Result<Cluster> {
        let dir = TestDir::new(self.name());
        let listeners = free_listeners(2 * SERVERS)?;
        let addresses: Vec<SocketAddr> =
            listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect();
        drop(listeners);
        let (clients, members) = addresses.split_at(SERVERS);
        let mut servers = Vec::new();
        for (number, address) in clients.iter().enumerate() {
            let dir = dir.path().join(format!("e{number}"));
            let (clients, members) = (clients.to_vec(), members.to_vec());
            let place = Place { number, clients, members, dir };
            servers.push(Server { process: self.spawn(&place)?, clients: *address });
        }
        let mut leader = None;
        let is_ready = drill::wait_until(READY_MAX, || {
            let standings = servers.iter().map(|server| self.standing(server.clients));
            let standings: Vec<Standing> = standings.collect();
            let mut leading = servers.iter().zip(&standings).filter(|(_, one)| one.leads);
            leader = leading.next().map(|(server, _)| server.clients);
            leader.is_some() && standings.iter().all(|one| one.knows_leader)
        });
        match (is_ready.await, leader) {
            (true, Some(leader)) => {
                Ok(Cluster { system: self.clone(), servers, leader, _dir: dir })
            }
            _ => {
                let cause = format!("{} does not begin to serve", self.name());
                Err(Error::new(Exit::Failed, cause, self.hint()))
            }
        }
    }

    fn spawn(&self, place: &Place) -> Result<Child> {
        let mut command = match self {
            Self::Etcd(_) => etcd::command(place),
            Self::Openraft(program) => program.command(place),
        };
        let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().map_err(|error| {
            let failed = Error::caused(Exit::Failed, error, self.hint());
            failed.context(format!("cannot start {}", self.name()))
        })
    }

    fn standing(&self, server: SocketAddr) -> Standing {
        match self {
            Self::Etcd(_) => etcd::standing(server),
            Self::Openraft(_) => openraft::standing(server),
        }
    }

    /// How often a server has synced its log.
    fn fsyncs(&self, server: SocketAddr) -> f64 {
        match self {
            Self::Etcd(_) => etcd::fsyncs(server),
            Self::Openraft(_) => openraft::fsyncs(server),
        }
    }

    fn hint(&self) -> String {
        let program = match self {
            Self::Etcd(_) => Path::new(etcd::PROGRAM),
            Self::Openraft(program) => program.path(),
        };
        let program = program.display();
        format!("look whether `{program}` starts by itself, and whether the machine is busy")
    }
}

/// Three servers. Dropping them kills them and removes what they wrote.
pub(super) struct Cluster {
    pub(super) system: System,
    servers: Vec<Server>,
    /// Where clients find the leader.
    leader: SocketAddr,
    _dir: TestDir,
}

struct Server {
    process: Child,
    clients: SocketAddr,
}

impl Drop for Server {
    /// Killed and gone, so that what it wrote can be removed.
    fn drop(&mut self) {
        let _ = self.process.kill(); // it may have ended by itself
        let _ = self.process.wait();
    }
}

impl Cluster {
    /// A connection to its leader.
    pub(super) async fn connect(&self) -> Result<Door> {
        match self.system {
            System::Etcd(_) => {
                let client = etcd::Client::connect(self.leader).await;
                client.map(Door::Etcd).map_err(|error| self.unreachable(error))
            }
            System::Openraft(_) => {
                let client = openraft::Client::connect(self.leader).await;
                client.map(Door::Openraft).map_err(|error| self.unreachable(error))
            }
        }
    }

    fn unreachable(&self, error: impl Into<anyhow::Error>) -> Error {
        let hint = "look whether the machine is busy, and try again";
        Error::caused(Exit::Failed, error, hint)
            .context(format!("cannot speak to {}", self.system.name()))
    }

    /// Whether all servers still run: two of three would go on alone.
    pub(super) fn check(&mut self) -> Result<()> {
        let mut ended =
            self.servers.iter_mut().filter_map(|server| server.process.try_wait().ok()?);
        ended.next().map_or(Ok(()), |status| {
            let cause = format!("a server of {} ended ({status})", self.system.name());
            Err(Error::new(Exit::Failed, cause, self.system.hint()))
        })
    }

    /// All processes.
    #[cfg(test)]
    pub(super) fn pids(&self) -> Vec<u32> {
        self.servers.iter().map(|server| server.process.id()).collect()
    }

    /// What all servers together have used so far.
    pub(super) fn total_usage(&self) -> Usage {
        let of = |server: &Server| Usage {
            fsyncs: self.system.fsyncs(server.clients),
            ..Usage::of_process(server.process.id())
        };
        self.servers.iter().map(of).fold(Usage::default(), |sum, server| sum.plus(&server))
    }
}
