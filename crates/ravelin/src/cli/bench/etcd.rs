//! A throw-away etcd cluster of this machine to compare with: Debian's `etcd-server`, as it comes.
//!
//! It tolerates crashes alone, and is given every advantage: clients speak to its leader, in plain
//! text, and nobody is authenticated.

mod grpc;

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};

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
const INSTALL: &str = "install it: apt-get install etcd-server";

/// Three servers. Dropping them kills them and removes what they wrote.
pub(super) struct Etcd {
    servers: Vec<Server>,
    /// Where clients find the leader.
    pub(super) leader: SocketAddr,
    _dir: TestDir,
}

struct Server {
    pid: u32,
    clients: SocketAddr,
    _process: Child,
}

/// The version of the etcd that is installed.
pub(super) async fn version() -> Result<String> {
    let output = Command::new(PROGRAM).arg("--version").output().await;
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
                .kill_on_drop(true)
                .spawn();
            let process = process.map_err(|error| {
                Error::caused(Exit::Failed, error, INSTALL).context("cannot start etcd")
            })?;
            let pid = process.id().expect("it was not waited for");
            servers.push(Server { pid, clients: *clients, _process: process });
        }
        let leader = || servers.iter().find(|server| server.leads()).map(|server| server.clients);
        if !drill::wait_until(READY_MAX, || leader().is_some()).await {
            let hint = "look whether `etcd` starts by itself, and whether the machine is busy";
            return Err(Error::new(Exit::Failed, "etcd does not begin to serve", hint));
        }
        let leader = leader().expect("there was one a moment ago");
        Ok(Self { servers, leader, _dir: dir })
    }

    /// What all servers together have used so far.
    pub(super) fn total_usage(&self) -> Usage {
        let of = |server: &Server| Usage {
            fsyncs: metric_at(server.clients, "etcd_disk_wal_fsync_duration_seconds_count")
                .unwrap_or(0.0),
            ..Usage::of_process(server.pid)
        };
        self.servers.iter().map(of).fold(Usage::default(), |sum, server| sum.plus(&server))
    }
}

impl Server {
    fn leads(&self) -> bool {
        metric_at(self.clients, "etcd_server_is_leader") == Some(1.0)
    }
}
