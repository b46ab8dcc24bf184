//! A second process with a server's key and data: what comes of a cloned machine.

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
}

impl Twin {
    /// Starts it from a copy of what `server` has now, at other addresses; the server runs on.
    pub(super) fn start(cluster: &LocalCluster, server: ReplicaId) -> Result<Self> {
        let processes = Processes::of(cluster)?;
        let home = cluster.dir.join("twin");
        processes.signal(server, Signal::STOP)?;
        let copied = copy(cluster, server, &home);
        processes.signal(server, Signal::CONT)?;
        copied.map_err(|error| Error::system("copy a server to", &home, &error))?;
        let child = processes.start_copy(&node_dir(&home, server).join("node.toml"), &home)?;
        Ok(Self { child, home })
    }

    /// Waits until `f+1` others name both processes' addresses; how many do.
    pub(super) fn wait_named(
        &mut self,
        cluster: &LocalCluster,
        server: ReplicaId,
    ) -> Result<usize> {
        let processes = Processes::of(cluster)?;
        let begun = Instant::now();
        loop {
            let mut count = 0;
            for other in cluster.group.members().filter(|other| *other != server) {
                let shared = processes.findings(other)?.shared_keys;
                let addresses = shared.iter().filter(|(whose, _)| *whose == server).count();
                count += usize::from(addresses >= 2);
            }
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
        let _ = fs::remove_dir_all(&self.home); // it lies in the cluster's directory, and goes with it
    }
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
