//! Two servers' data exchanged: disks that come back in each other's machine.

use std::fs;
use std::time::{Duration, Instant};

use ravelin_model::ReplicaId;

use crate::cluster_dir::LocalCluster;
use crate::exit::{Error, Result};
use crate::processes::{Hands, Processes, log_file};

/// How long a server may take to see whose data it has, or to be ready with its own.
const PATIENCE: Duration = Duration::from_secs(30);
/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// What both must say, and how it came about.
const SAID: [&str; 2] = ["belongs to another replica", "exchanged"];

/// Two servers with each other's data.
pub(super) struct Swap {
    server: ReplicaId,
    partner: ReplicaId,
    /// What their logs held before.
    logged: [usize; 2],
}

impl Swap {
    /// Stops `server` and the one after it, exchanges their data, and starts both.
    pub(super) fn start(cluster: &LocalCluster, server: ReplicaId) -> Result<Self> {
        let after = cluster.group.members().cycle().skip(server.index() + 1);
        let partner = after.take(1).next().unwrap_or(server);
        let mut swap = Self { server, partner, logged: [0; 2] };
        let processes = Processes::of(cluster)?;
        for id in swap.both() {
            processes.kill(id)?;
        }
        swap.logged = swap.logs(&processes)?.map(|text| text.len());
        swap.exchange(&processes)?;
        for id in swap.both() {
            processes.start(id, Hands::Own)?;
        }
        Ok(swap)
    }

    /// Sees that both refused to start and said why, and gives each its own data back. The partner
    /// runs then; says which promises were broken.
    pub(super) fn end(self, cluster: &LocalCluster) -> Result<Vec<String>> {
        let processes = Processes::of(cluster)?;
        let runs = |id| processes.running(id).is_ok_and(|running| running.is_some());
        wait_until(|| !self.both().into_iter().any(runs));
        let mut broken = Vec::new();
        let logs = self.logs(&processes)?;
        for ((id, text), before) in self.both().into_iter().zip(logs).zip(self.logged) {
            let said = text.get(before..).unwrap_or_default();
            if runs(id) {
                broken.push(format!("server {id} runs with another server's data"));
                processes.kill(id)?;
            } else if !SAID.iter().all(|part| said.contains(part)) {
                broken.push(format!("server {id} does not say that its data is another server's"));
            }
        }
        self.exchange(&processes)?;
        processes.start(self.partner, Hands::Own)?;
        let is_ready = || processes.is_ready(self.partner).unwrap_or(false);
        processes.start(self.server, Hands::Own)?; // or there is no quorum to be ready with
        if !wait_until(is_ready) {
            broken.push(format!("server {} is not ready with its own data", self.partner));
        }
        Ok(broken)
    }

    fn both(&self) -> [ReplicaId; 2] {
        [self.server, self.partner]
    }

    fn logs(&self, processes: &Processes<'_>) -> Result<[String; 2]> {
        let read = |id| {
            let path = log_file(processes.server(id)?);
            fs::read_to_string(&path).map_err(|error| Error::system("read", &path, &error))
        };
        Ok([read(self.server)?, read(self.partner)?])
    }

    fn exchange(&self, processes: &Processes<'_>) -> Result<()> {
        let [one, other] = self.both().map(|id| processes.server(id));
        let (one, other) = (&one?.config.data_dir, &other?.config.data_dir);
        let aside = one.with_extension("swapped");
        for (from, to) in [(one, &aside), (other, one), (&aside, other)] {
            fs::rename(from, to).map_err(|error| Error::system("exchange", from, &error))?;
        }
        Ok(())
    }
}

/// Whether it came about in time.
fn wait_until(is_so: impl Fn() -> bool) -> bool {
    let begun = Instant::now();
    while !is_so() {
        if begun.elapsed() > PATIENCE {
            return false;
        }
        std::thread::sleep(LOOK_EVERY);
    }
    true
}
