//! A throw-away cluster of this machine to measure.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use ravelin_model::{FaultModel, ReplicaId};
use rustix::fs::{statfs, statvfs};

use super::usage::{Usage, cpu_seconds};
use crate::cluster_dir::LocalCluster;
use crate::cpu_quota::{CpuQuota, Hierarchy};
use crate::drill::{self, SERVERS, servers_of};
use crate::exit::{Error, Exit, Result};
use crate::output::Output;
use crate::processes::{Hands, Logging, Processes, wormhole_of};

/// Where control groups are mounted.
const CONTROL_GROUPS: &str = "/sys/fs/cgroup";
/// Where Linux has a file system in memory.
const MEMORY: &str = "/dev/shm";
/// What the system calls a file system in memory.
const TMPFS_MAGIC: u64 = 0x0102_1994;
/// Room that a server takes at most, for the loads that are measured: its log, its store, its ballast.
const SERVER_BYTES: u64 = 512 << 20;

/// What a throw-away cluster is made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    pub(super) servers: u16,
    pub(super) model: FaultModel,
    pub(super) storage: Storage,
}

/// Where servers keep their logs and stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Storage {
    /// Where temporary things lie: what is synced outlives the machine.
    Disk,
    /// In memory: a sync costs nothing, and keeps nothing.
    Memory,
}

impl Layout {
    /// Four servers that keep what they promise.
    pub(super) const DEFAULT: Self =
        Self { servers: SERVERS, model: FaultModel::Arbitrary, storage: Storage::Disk };

    /// As many servers as tolerate one intrusion in this model, on disks.
    pub(super) fn of(model: FaultModel) -> Self {
        Self { servers: servers_of(model), model, storage: Storage::Disk }
    }

    /// Refuses what this machine has no place for.
    pub(super) fn check(self) -> Result<()> {
        match self.storage {
            Storage::Disk => Ok(()),
            Storage::Memory => {
                check_memory(Path::new(MEMORY), u64::from(self.servers) * SERVER_BYTES)
            }
        }
    }
}

/// Refuses a directory that does not lie in memory, or has no room for `needed` bytes.
fn check_memory(dir: &Path, needed: u64) -> Result<()> {
    let hint = "leave --not-durable out, or mount a larger tmpfs there";
    let failed = |error: rustix::io::Errno| Error::system("use", dir, &error.into()).hint(hint);
    let kind = u64::try_from(statfs(dir).map_err(failed)?.f_type);
    let cause = if kind == Ok(TMPFS_MAGIC) {
        let room = statvfs(dir).map_err(failed)?;
        let free = room.f_bavail.saturating_mul(room.f_frsize);
        if free >= needed {
            return Ok(());
        }
        let (free, needed) = (free >> 20, needed >> 20);
        format!("{} has {free} MiB left, and {needed} are needed", dir.display())
    } else {
        format!("{} is no file system in memory", dir.display())
    };
    Err(Error::new(Exit::Failed, cause, hint))
}

/// A cluster in a temporary directory. Dropping it kills the servers and leaves nothing behind.
pub(super) struct TestBed {
    pub(super) cluster: LocalCluster,
    pub(super) layout: Layout,
    pids: Vec<u32>,
    /// After the servers: a group goes away once it is empty.
    quotas: Vec<CpuQuota>,
    _dir: TestDir,
}

/// A directory that goes away.
pub(super) struct TestDir(PathBuf);

impl TestDir {
    /// One for `what`; whoever uses it makes it.
    pub(super) fn new(what: &str) -> Self {
        Self::below(&std::env::temp_dir(), what)
    }

    /// The same in another directory.
    fn below(parent: &Path, what: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("ravelin-{what}-{}-{count}", std::process::id());
        Self(parent.join(name))
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TestDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0); // it lies where temporary things lie
    }
}

/// A server that is not in its own hands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owned<'a> {
    pub(super) server: ReplicaId,
    pub(super) intruder: &'a str,
}

/// What each server may use of the processor: as much as each other, and as `left` parts for clients.
#[derive(Debug)]
pub(super) struct Quota {
    left: u16,
    /// Cores; nothing where the system does not let us say.
    pub(super) cores: Option<f64>,
    was_refused: bool,
}

impl Quota {
    /// Leaves so many parts as large as a server's to the clients.
    pub(super) fn leaving(left: u16) -> Self {
        Self { left, cores: None, was_refused: false }
    }

    /// Limits the servers of `bed` if the system lets us; says so once if not.
    pub(super) fn set(&mut self, output: Output, bed: &mut TestBed) {
        if self.was_refused {
            return;
        }
        let part = cores() as f64 / f64::from(bed.layout.servers + self.left);
        match bed.limit(part) {
            Ok(()) => self.cores = Some(part),
            Err(why) => {
                output.note(format_args!(
                    "NO QUOTA: {why}. One server may take the processor from the others: run this \
                     as root on Linux for figures that mean something."
                ));
                (self.cores, self.was_refused) = (None, true);
            }
        }
    }
}

/// The machine in a few words.
pub(super) fn machine() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("model name"));
    let model = line.and_then(|line| line.split_once(": ")).map_or("unknown", |(_, model)| model);
    format!("{} cores of {model}", cores())
}

/// Processors of this machine.
pub(super) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

impl TestBed {
    /// Starts servers and waits until all but the owned one serve.
    pub(super) async fn start(
        layout: Layout,
        owned: Option<Owned<'_>>,
        logging: Logging,
    ) -> Result<Self> {
        let dir = match layout.storage {
            Storage::Disk => TestDir::new("bench"),
            Storage::Memory => TestDir::below(Path::new(MEMORY), "bench"),
        };
        let cluster = LocalCluster::create(dir.path(), layout.servers, layout.model)?;
        let mut bed = Self { cluster, layout, pids: Vec::new(), quotas: Vec::new(), _dir: dir };
        let processes = Processes::of(&bed.cluster)?.logging(logging);
        for server in &bed.cluster.servers {
            let hands = match owned {
                Some(owned) if owned.server == server.id => Hands::Intruder(owned.intruder),
                _ => Hands::Own,
            };
            bed.pids.push(processes.start(server.id, hands)?);
        }
        drill::open(&bed.cluster).await?;
        for server in &bed.cluster.servers {
            if owned.is_none_or(|owned| owned.server != server.id) {
                drill::wait_ready(server, &processes).await?;
            }
        }
        Ok(bed)
    }

    /// Starts a server again that is down, under its quota if it has one. Its process.
    pub(super) fn start_again(&mut self, id: ReplicaId) -> Result<u32> {
        let pid = Processes::of(&self.cluster)?.start(id, Hands::Own)?;
        if let Some(known) = self.pids.get_mut(id.index()) {
            *known = pid;
        }
        if let Some(quota) = self.quotas.get(id.index()) {
            let hint = "run this as root, with nothing that moves processes between control groups";
            quota.add(pid).map_err(|error| {
                let cause = format!("cannot limit the processor of server {id}: {error}");
                Error::new(Exit::Failed, cause, hint)
            })?;
        }
        Ok(pid)
    }

    /// Gives each server at most `cores`; says why, if this system does not let it.
    fn limit(&mut self, cores: f64) -> Result<(), String> {
        let hierarchy = Hierarchy::find(Path::new(CONTROL_GROUPS))
            .ok_or_else(|| format!("{CONTROL_GROUPS} has no controller of the processor"))?;
        for (server, pid) in self.cluster.servers.iter().zip(&self.pids) {
            let name = format!("ravelin-bench-{}-{}", std::process::id(), server.id);
            let quota = CpuQuota::limit(&hierarchy, &name, *pid, cores)
                .map_err(|error| format!("{CONTROL_GROUPS} may not be written: {error}"))?;
            self.quotas.push(quota);
        }
        Ok(())
    }

    /// What each server has used so far.
    pub(super) fn usage(&self) -> Vec<Usage> {
        let servers = self.cluster.servers.iter().zip(&self.pids);
        servers.map(|(server, pid)| Usage::of(server, *pid)).collect()
    }

    /// Processor time that each server's wormhole has used so far; of those servers that have one.
    pub(super) fn wormhole_cpu_seconds(&self) -> Vec<f64> {
        let wormholes = self.pids.iter().filter_map(|server| wormhole_of(*server));
        wormholes.filter_map(cpu_seconds).collect()
    }

    /// All processes.
    pub(super) fn pids(&self) -> impl Iterator<Item = u32> + '_ {
        self.pids.iter().copied()
    }

    /// The processes of all but one.
    pub(super) fn others(&self, but: ReplicaId) -> impl Iterator<Item = u32> + '_ {
        let servers = self.cluster.servers.iter().zip(&self.pids);
        servers.filter(move |(server, _)| server.id != but).map(|(_, pid)| *pid)
    }

    /// What all servers together have used so far.
    pub(super) fn total_usage(&self) -> Usage {
        self.usage().iter().fold(Usage::default(), |sum, server| sum.plus(server))
    }

    /// What a server has logged.
    pub(super) fn log(&self, server: ReplicaId) -> Result<String> {
        let server = self.cluster.servers.get(server.index()).expect("one of this cluster");
        let path = crate::processes::log_file(server);
        std::fs::read_to_string(&path).map_err(|error| Error::system("read", &path, &error))
    }
}

impl Drop for TestBed {
    fn drop(&mut self) {
        if let Ok(processes) = Processes::of(&self.cluster) {
            for server in &self.cluster.servers {
                let _ = processes.kill(server.id); // nothing more can be done about it
            }
        }
        self.quotas.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_refused_where_it_is_none_or_too_small() {
        let refusal = |dir: &str, needed| {
            check_memory(Path::new(dir), needed).expect_err("refused").message()
        };
        assert_eq!(refusal("/proc", 1), "/proc is no file system in memory");
        assert!(refusal(MEMORY, u64::MAX).starts_with(MEMORY));
        assert!(refusal("/nowhere", 1).contains("it does not exist"));
    }
}
