//! What the demonstration and the campaign share: a throw-away cluster at work under a checked load.
//!
//! **Guarantee:** whatever ends the run, its servers are killed and their directories removed.

pub(crate) mod judgement;
pub(crate) mod workload;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ravelin_crypto::Keyring;
use ravelin_model::wire::StatusReport;
use ravelin_model::{CommitIndex, FaultModel, ReplicaId};
use serde::Serialize;
use tokio::task::JoinSet;

use crate::client_command::Interruption;
use crate::cluster_dir::{LocalCluster, LocalServer};
use crate::connection::{Connection, ConnectionConfig};
use crate::exit::{Error, Exit, Result};
use crate::files::key::KeyFile;
use crate::files::plan;
use crate::processes::{Hands, Processes};
use crate::reopening;
use workload::Observer;

/// Servers, of which one may be owned.
pub(crate) const SERVERS: u16 = 4;
/// The same where each has a wormhole.
const HYBRID_SERVERS: u16 = 3;

/// Servers of a drill's cluster, of which one may be owned.
pub(crate) fn servers_of(model: FaultModel) -> u16 {
    match model {
        FaultModel::Hybrid => HYBRID_SERVERS,
        FaultModel::Arbitrary | FaultModel::Asynchronous => SERVERS,
    }
}
/// Clients that work all the while.
const CLIENTS: u32 = 4;
/// The longest time that clients may be without any answer.
pub(crate) const GAP_MAX: Duration = Duration::from_secs(2);
/// How long the cluster may take to serve.
pub(crate) const READY_MAX: Duration = Duration::from_secs(15);
/// Time between two looks at what is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How an attack ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    /// The service went on as if nothing were.
    Masked,
    /// Wrong answers were seen and not believed.
    Refused,
    /// The server came back and caught up.
    Recovered,
    /// The server's key is spent: proof against it is out, or others hold blocks that it does not
    /// know. It stays out until it has another key.
    Exposed,
    /// Clients were without answers for too long, or a server did not come back.
    Failed,
}

impl Outcome {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Masked => "masked",
            Self::Refused => "refused",
            Self::Recovered => "recovered",
            Self::Exposed => "exposed",
            Self::Failed => "failed",
        }
    }
}

/// A temporary directory for clusters; kills their servers and goes away at the end.
pub(crate) struct Workplace {
    /// Where the clusters are made.
    pub(crate) root: PathBuf,
    keep: bool,
}

impl Workplace {
    /// A new directory for the command `name`; `keep` leaves its files behind.
    pub(crate) fn new(name: &str, keep: bool) -> Result<Self> {
        let root = std::env::temp_dir().join(format!("ravelin-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&root).map_err(|error| Error::system("create", &root, &error))?;
        Ok(Self { root, keep })
    }

    /// From here on nothing is removed at the end.
    pub(crate) fn keep(&mut self) {
        self.keep = true;
    }

    /// Kills the servers of the cluster in `dir`, and removes it unless it is to be kept.
    pub(crate) fn clear(&self, dir: &Path, is_kept: bool) {
        let Ok(cluster) = LocalCluster::open(dir) else { return };
        let Ok(processes) = Processes::of(&cluster) else { return };
        for server in &cluster.servers {
            let _ = processes.kill(server.id); // nothing more can be done about it
        }
        if !is_kept {
            let _ = std::fs::remove_dir_all(dir);
        }
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        let entries = std::fs::read_dir(&self.root).into_iter().flatten();
        for path in entries.flatten().map(|entry| entry.path()) {
            if LocalCluster::is_in(&path) {
                self.clear(&path, self.keep);
            }
            let _ = std::fs::remove_dir(&path); // a directory for what was never written
        }
        let _ = std::fs::remove_dir(&self.root); // unless something was kept in it
    }
}

/// Runs `drill` until it ends or is interrupted.
pub(crate) fn run(drill: impl Future<Output = Result<()>>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| Error::caused(Exit::Failed, error, "check the limit of threads"))?;
    let outcome = runtime.block_on(async {
        let mut interruption = Interruption::listen()?;
        tokio::select! {
            outcome = drill => outcome,
            _ = interruption.next() => Err(Interruption::error("the servers were killed")),
        }
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome
}

/// Starts all servers and waits until they serve.
pub(crate) async fn start_all(
    cluster: &LocalCluster,
    processes: &Processes<'_>,
) -> Result<Vec<u32>> {
    let mut pids = Vec::new();
    for server in &cluster.servers {
        pids.push(processes.start(server.id, Hands::Own)?);
    }
    open(cluster).await?;
    for server in &cluster.servers {
        wait_ready(server, processes).await?;
    }
    Ok(pids)
}

/// Lets in the wormholes of a cluster whose servers were all started, where it has any.
pub(crate) async fn open(cluster: &LocalCluster) -> Result<()> {
    if cluster.group.model() == FaultModel::Hybrid {
        reopening::open_local(cluster, READY_MAX).await?;
    }
    Ok(())
}

/// Waits until a server that was started serves.
pub(crate) async fn wait_ready(server: &LocalServer, processes: &Processes<'_>) -> Result<()> {
    if wait_until(READY_MAX, || processes.is_ready(server.id).unwrap_or(false)).await {
        return Ok(());
    }
    let cause = format!("server {} does not begin to serve", server.id);
    let hint = format!("look at {}", crate::processes::log_file(server).display());
    Err(Error::new(Exit::Failed, cause, hint))
}

/// A client of `cluster` with an open session.
pub(crate) async fn connect(cluster: &LocalCluster) -> Result<Connection> {
    let scheme = plan::scheme()?;
    let keyring = Keyring::new(cluster.id, &cluster.plan, scheme)
        .map_err(|error| Error::caused(Exit::Failed, error, "make the cluster anew"))?;
    let config = ConnectionConfig {
        plan: cluster.plan.clone(),
        keyring,
        seed: KeyFile::read(&cluster.client_key())?.seed,
        patience: ravelin_model::limits::CLIENT_PATIENCE,
    };
    let unreachable = |error: anyhow::Error| {
        Error::caused(Exit::NoQuorum, error, "`ravelin local status` shows the servers")
    };
    let connection = Connection::start(&config).map_err(|error| unreachable(error.into()))?;
    tokio::time::timeout(READY_MAX, connection.open())
        .await
        .map_err(|late| unreachable(late.into()))?
        .map_err(|error| unreachable(error.into()))?;
    Ok(connection)
}

/// The clients of a drill.
pub(crate) struct Staff {
    /// Those at work.
    pub(crate) workers: JoinSet<()>,
    /// Their connections.
    pub(crate) clients: Vec<Connection>,
    /// One that only asks how things stand.
    pub(crate) monitor: Connection,
}

impl Staff {
    /// Sets clients to work at `cluster`; `observer` sees what they do.
    pub(crate) async fn hire(cluster: &LocalCluster, observer: &Observer) -> Result<Self> {
        let mut workers = JoinSet::new();
        let mut clients = Vec::new();
        for client in 0..CLIENTS {
            let connection = connect(cluster).await?;
            clients.push(connection.clone());
            workers.spawn(observer.clone().work(client, connection));
        }
        Ok(Self { workers, clients, monitor: connect(cluster).await? })
    }
}

/// Waits until something holds; says whether it came to that.
pub(crate) async fn wait_until(most: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < most {
        if holds() {
            return true;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    false
}

/// A server on its way back.
pub(crate) struct Comeback<'a> {
    processes: &'a Processes<'a>,
    server: ReplicaId,
    target: Option<CommitIndex>,
}

impl<'a> Comeback<'a> {
    /// A server that was just started, or let go on.
    pub(crate) fn new(processes: &'a Processes<'a>, server: ReplicaId) -> Self {
        Self { processes, server, target: None }
    }

    /// Whether it serves, and has executed what the others had when this was first asked.
    pub(crate) fn is_over(&mut self, reports: &BTreeMap<ReplicaId, StatusReport>) -> bool {
        let others = reports.iter().filter(|(id, _)| **id != self.server);
        let Some(furthest) = others.map(|(_, report)| report.commit).max() else { return false };
        let target = *self.target.get_or_insert(furthest);
        let own = reports.get(&self.server).map(|report| report.commit);
        let is_ready = self.processes.is_ready(self.server).unwrap_or(false);
        own.is_some_and(|own| own >= target) && is_ready
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interrupted_drill_leaves_nothing_that_is_empty() {
        let workplace = Workplace::new("test-empty", false).expect("made");
        let root = workplace.root.clone();
        std::fs::create_dir(root.join("report")).expect("made");
        drop(workplace);
        assert!(!root.exists());

        let workplace = Workplace::new("test-kept", false).expect("made");
        let root = workplace.root.clone();
        std::fs::create_dir(root.join("report")).expect("made");
        std::fs::write(root.join("report/history.jsonl"), "").expect("written");
        drop(workplace);
        assert!(root.join("report/history.jsonl").exists());
        std::fs::remove_dir_all(root).expect("ours");
    }
}
