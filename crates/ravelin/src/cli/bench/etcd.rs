//! A throw-away etcd cluster of this machine to compare with: Debian's `etcd-server`, as it comes.
//!
//! It tolerates crashes alone, and is given every advantage: clients speak to its leader, in plain
//! text, and nobody is authenticated.

mod grpc;

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::testbed::TestDir;
use super::usage::{Usage, metric_at};
use crate::cluster_dir::free_listeners;
use crate::drill;
use crate::exit::{Error, Exit, Result};

pub(super) use grpc::Client;

/// Servers: as many as it takes to go on when one has crashed.
pub(super) const SERVERS: usize = 3;
const PROGRAM: &str = "etcd";
/// How long it may take to choose a leader.
const READY_MAX: Duration = Duration::from_secs(20);
const HINT: &str = "look whether `etcd` starts by itself, and whether the machine is busy";
const INSTALL: &str = "install it: apt-get install etcd-server";

/// Three servers. Dropping them kills them and removes what they wrote.
pub(super) struct Etcd {
    servers: Vec<Server>,
    /// Where clients find the leader.
    pub(super) leader: SocketAddr,
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

/// The version of the etcd that is installed.
pub(super) fn version() -> Result<String> {
    let output = Command::new(PROGRAM).arg("--version").output();
    let output = output
        .map_err(|error| Error::caused(Exit::Failed, error, INSTALL).context("cannot run etcd"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find_map(|line| line.strip_prefix("etcd Version: "));
    line.map(str::to_owned).ok_or_else(|| {
        Error::new(Exit::Failed, "the program `etcd` does not tell its version", INSTALL)
    })
}

impl Etcd {
    /// Starts the servers and waits until they have a leader.
    pub(super) async fn start() -> Result<Self> {
        let dir = TestDir::new("etcd");
        let listeners = free_listeners(2 * SERVERS)?;
        let addresses: Vec<SocketAddr> =
            listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect();
        drop(listeners);
        let (clients, peers) = addresses.split_at(SERVERS);
        let names = || (0..SERVERS).map(|server| format!("e{server}"));
        let members: Vec<String> =
            names().zip(peers).map(|(name, peer)| format!("{name}=http://{peer}")).collect();
        let members = members.join(",");
        let mut servers = Vec::new();
        for ((name, peer), clients) in names().zip(peers).zip(clients) {
            let (at, of_peers) = (format!("http://{clients}"), format!("http://{peer}"));
            let process = Command::new(PROGRAM)
                .args(["--name", &name, "--data-dir"])
                .arg(dir.path().join(&name))
                .args(["--listen-client-urls", &at, "--advertise-client-urls", &at])
                .args(["--listen-peer-urls", &of_peers])
                .args(["--initial-advertise-peer-urls", &of_peers])
                .args(["--initial-cluster", &members, "--initial-cluster-state", "new"])
                .args(["--logger", "zap", "--log-level", "error"])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn();
            let process = process.map_err(|error| {
                Error::caused(Exit::Failed, error, INSTALL).context("cannot start etcd")
            })?;
            servers.push(Server { process, clients: *clients });
        }
        let mut leader = None;
        let is_ready = drill::wait_until(READY_MAX, || {
            let mut leading = servers.iter().filter(|server| server.shows("etcd_server_is_leader"));
            leader = leading.next().map(|server| server.clients);
            leader.is_some() && servers.iter().all(|server| server.shows("etcd_server_has_leader"))
        });
        match (is_ready.await, leader) {
            (true, Some(leader)) => Ok(Self { servers, leader, _dir: dir }),
            _ => Err(Error::new(Exit::Failed, "etcd does not begin to serve", HINT)),
        }
    }

    /// Whether all servers still run: two of three would go on alone.
    pub(super) fn check(&mut self) -> Result<()> {
        let mut ended =
            self.servers.iter_mut().filter_map(|server| server.process.try_wait().ok()?);
        ended.next().map_or(Ok(()), |status| {
            Err(Error::new(Exit::Failed, format!("an etcd server ended ({status})"), HINT))
        })
    }

    /// What all servers together have used so far.
    pub(super) fn total_usage(&self) -> Usage {
        let of = |server: &Server| Usage {
            fsyncs: metric_at(server.clients, "etcd_disk_wal_fsync_duration_seconds_count")
                .unwrap_or(0.0),
            ..Usage::of_process(server.process.id())
        };
        self.servers.iter().map(of).fold(Usage::default(), |sum, server| sum.plus(&server))
    }
}

impl Server {
    /// Whether it shows a metric as true.
    fn shows(&self, name: &str) -> bool {
        metric_at(self.clients, name) == Some(1.0)
    }
}
