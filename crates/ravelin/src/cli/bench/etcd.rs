//! Debian's `etcd-server`, as it comes: how it is started, and what its metrics say.

mod grpc;

use std::net::SocketAddr;
use std::process::Command;

use super::peer::{Place, Standing};
use super::usage::metric_at;
use crate::exit::{Error, Exit, Result};

pub(super) use grpc::Client;

/// What it leaves out.
pub(super) const LACKS: &str = "three servers that may crash, none that lies; plain text, nobody \
                                authenticated; clients speak to the leader; durable";
/// Writes of one of its transactions at most, unless it is told otherwise.
pub(super) const TRANSACTION_MAX: usize = 128;
pub(super) const PROGRAM: &str = "etcd";
const INSTALL: &str = "install it: apt-get install etcd-server";

/// The etcd that is installed.
#[derive(Clone, Debug)]
pub(super) struct Program {
    version: String,
}

impl Program {
    /// Looks for it.
    ///
    /// # Errors
    /// It is not installed.
    pub(super) fn find() -> Result<Self> {
        let output = Command::new(PROGRAM).arg("--version").output();
        let output = output.map_err(|error| {
            Error::caused(Exit::Failed, error, INSTALL).context("cannot run etcd")
        })?;
        let text = String::from_utf8_lossy(&output.stdout);
        let line = text.lines().find_map(|line| line.strip_prefix("etcd Version: "));
        let version = line.map(str::to_owned).ok_or_else(|| {
            Error::new(Exit::Failed, "the program `etcd` does not tell its version", INSTALL)
        })?;
        Ok(Self { version })
    }

    pub(super) fn version(&self) -> &str {
        &self.version
    }
}

/// What starts a server.
pub(super) fn command(place: &Place) -> Command {
    let Place { number, clients, members, dir } = place;
    let url = |addresses: &[SocketAddr]| {
        addresses.get(*number).map(|address| format!("http://{address}")).unwrap_or_default()
    };
    let (at, of_peers) = (url(clients), url(members));
    let named = |(number, address): (usize, &SocketAddr)| format!("e{number}=http://{address}");
    let members: Vec<String> = members.iter().enumerate().map(named).collect();
    let mut command = Command::new(PROGRAM);
    command
        .args(["--name", &format!("e{number}"), "--data-dir"])
        .arg(dir)
        .args(["--listen-client-urls", &at, "--advertise-client-urls", &at])
        .args(["--listen-peer-urls", &of_peers])
        .args(["--initial-advertise-peer-urls", &of_peers])
        .args(["--initial-cluster", &members.join(","), "--initial-cluster-state", "new"])
        .args(["--logger", "zap", "--log-level", "error"]);
    command
}

/// What the server that hears clients there says of itself.
pub(super) fn standing(server: SocketAddr) -> Standing {
    let shows = |name| metric_at(server, name) == Some(1.0);
    Standing {
        leads: shows("etcd_server_is_leader"),
        knows_leader: shows("etcd_server_has_leader"),
    }
}

/// How often it has synced its log.
pub(super) fn fsyncs(server: SocketAddr) -> f64 {
    metric_at(server, "etcd_disk_wal_fsync_duration_seconds_count").unwrap_or(0.0)
}
