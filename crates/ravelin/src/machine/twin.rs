//! A second process with a server's key and data: what comes of a cloned machine.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use ravelin_model::ReplicaId;
use rustix::process::Signal;

use super::decay;
use crate::cluster_dir::LocalCluster;
use crate::exit::{Error, Result};
use crate::processes::Processes;

/// How long the others may take to notice.
const NOTICED_MAX: Duration = Duration::from_secs(20);
/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The second process. It ends, and its files go, when dropped.
pub(super) struct Twin {
    child: Child,
    home: PathBuf,
    /// What the others named before.
    known: BTreeSet<String>,
    /// Says which process it is.
    file: PathBuf,
}

impl Twin {
    /// Starts it from a copy of what `server` has now, at other addresses; the server runs on.
    pub(super) fn start(cluster: &LocalCluster, server: ReplicaId) -> Result<Self> {
        let processes = Processes::of(cluster)?;
        let known = named(cluster, server)?.into_iter().flatten().collect();
        let home = cluster.dir.join("twin");
        processes.signal(server, Signal::STOP)?;
        let copied = copy(cluster, server, &home);
        processes.signal(server, Signal::CONT)?;
        copied.map_err(|error| Error::system("copy a server to", &home, &error))?;
        let node_file = node_dir(&home, server).join("node.toml");
        let child = processes.start_copy(server, (&home, &node_file))?;
        Ok(Self { child, home, known, file: processes.copy_file(server)? })
    }

    /// Waits until `f+1` others name both processes' addresses; how many do.
    pub(super) fn wait_named(
        &mut self,
        cluster: &LocalCluster,
        server: ReplicaId,
    ) -> Result<usize> {
        let begun = Instant::now();
        loop {
            let is_news = |named: &BTreeSet<String>| named.difference(&self.known).count() >= 2;
            let count = named(cluster, server)?.iter().filter(|named| is_news(named)).count();
            let has_ended = self.child.try_wait().is_ok_and(|status| status.is_some());
            let is_over = has_ended || begun.elapsed() > NOTICED_MAX;
            if count >= cluster.group.one_correct() || is_over {
                return Ok(count);
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

impl Drop for Twin {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may have ended
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.file);
        let _ = fs::remove_dir_all(&self.home); // it lies in the cluster's directory, and goes with it
    }
}

/// The addresses that each of the others names for the key of `server`.
fn named(cluster: &LocalCluster, server: ReplicaId) -> Result<Vec<BTreeSet<String>>> {
    let processes = Processes::of(cluster)?;
    let others = cluster.group.members().filter(|other| *other != server);
    let named = others.map(|other| {
        let shared = processes.findings(other)?.unwrap_or_default().shared_keys.into_iter();
        let of_it = shared.filter(|(whose, _)| *whose == server);
        Ok(of_it.map(|(_, address)| address).collect())
    });
    named.collect()
}

fn node_dir(home: &Path, server: ReplicaId) -> PathBuf {
    home.join(format!("servers/{server}"))
}

/// Copies what one server has, in the places where its node file looks for it.
fn copy(cluster: &LocalCluster, server: ReplicaId, home: &Path) -> std::io::Result<()> {
    let (from, to) = (node_dir(&cluster.dir, server), node_dir(home, server));
    fs::create_dir_all(&to)?;
    fs::create_dir_all(home.join("identities"))?;
    for file in ["plan.toml".to_owned(), format!("identities/{server}.toml")] {
        fs::copy(cluster.dir.join(&file), home.join(&file))?;
    }
    fs::copy(from.join("node.toml"), to.join("node.toml"))?;
    decay::copy(&from.join("data"), &to.join("data"))
}
