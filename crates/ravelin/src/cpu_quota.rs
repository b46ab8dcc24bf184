//! Equal shares of the processor for processes of this machine, by Linux control groups.
//!
//! **Guarantee:** a group that was made goes away with its [`CpuQuota`], once its process has ended.
//! Where the system does not let this program limit anybody, nothing is limited and the caller knows.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Time over which a quota is counted: short, so that whoever has used it up stands still for a few
/// milliseconds only.
const PERIOD: Duration = Duration::from_millis(10);
/// How long a group may take to become empty after its process was killed.
const EMPTY_MAX: Duration = Duration::from_secs(2);

/// How this system counts the processor's time of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Hierarchy {
    /// Control groups, version 1: a tree for the processor alone.
    V1(PathBuf),
    /// Control groups, version 2: one tree for everything.
    V2(PathBuf),
}

impl Hierarchy {
    /// The tree under `root` in which this program may make groups with a quota.
    pub(crate) fn find(root: &Path) -> Option<Self> {
        let v1 = root.join("cpu");
        if v1.join("cgroup.procs").exists() {
            return Some(Self::V1(v1));
        }
        let controllers = fs::read_to_string(root.join("cgroup.subtree_control")).ok()?;
        let has_cpu = controllers.split_whitespace().any(|controller| controller == "cpu");
        has_cpu.then(|| Self::V2(root.to_owned()))
    }

    fn root(&self) -> &Path {
        match self {
            Self::V1(root) | Self::V2(root) => root,
        }
    }

    /// The settings of `cores`, by file, in the order in which they are written.
    fn settings(&self, cores: f64) -> Vec<(&'static str, String)> {
        let period = PERIOD.as_micros();
        let quota = (PERIOD.as_micros() as f64 * cores).round().max(1000.0) as u64;
        match self {
            Self::V1(_) => vec![
                ("cpu.cfs_period_us", period.to_string()),
                ("cpu.cfs_quota_us", quota.to_string()),
            ],
            Self::V2(_) => vec![("cpu.max", format!("{quota} {period}"))],
        }
    }
}

/// A group of one process that gets no more than its share. Dropping it takes the group away.
#[derive(Debug)]
pub(crate) struct CpuQuota {
    group: PathBuf,
}

impl CpuQuota {
    /// Limits the process `pid` and its threads to `cores`, in a group called `name`.
    ///
    /// # Errors
    /// Where the system refuses: only few accounts may limit others.
    pub(crate) fn limit(
        hierarchy: &Hierarchy,
        name: &str,
        pid: u32,
        cores: f64,
    ) -> io::Result<Self> {
        let group = hierarchy.root().join(name);
        fs::create_dir(&group)?;
        let quota = Self { group }; // from here on it goes away again, whatever fails
        for (file, value) in hierarchy.settings(cores) {
            fs::write(quota.group.join(file), value)?;
        }
        quota.add(pid)?;
        Ok(quota)
    }

    /// Puts another process under this limit: whatever shares it gets it together.
    ///
    /// # Errors
    /// Where the system refuses.
    pub(crate) fn add(&self, pid: u32) -> io::Result<()> {
        fs::write(self.group.join("cgroup.procs"), pid.to_string())
    }

    /// Periods in which the process was stopped because it had used its share up.
    pub(crate) fn stops(&self) -> u64 {
        let text = fs::read_to_string(self.group.join("cpu.stat")).unwrap_or_default();
        let count = text.lines().find_map(|line| line.strip_prefix("nr_throttled "));
        count.and_then(|count| count.parse().ok()).unwrap_or(0)
    }

    /// Ends the limit; the process lives on.
    pub(crate) fn lift(self) {
        let members = fs::read_to_string(self.group.join("cgroup.procs")).unwrap_or_default();
        let root = self.group.parent().unwrap_or(&self.group).join("cgroup.procs");
        for pid in members.lines() {
            let _ = fs::write(&root, pid); // it may have ended
        }
    }
}

impl Drop for CpuQuota {
    fn drop(&mut self) {
        let begun = Instant::now();
        // A killed process leaves its group a moment after it is gone for its parent.
        while fs::remove_dir(&self.group).is_err() && begun.elapsed() < EMPTY_MAX {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn both_kinds_of_tree_are_told_apart_and_say_the_same() {
        let root = std::env::temp_dir().join(format!("ravelin-quota-{}", std::process::id()));
        fs::create_dir_all(root.join("cpu")).unwrap();
        assert_eq!(Hierarchy::find(&root), None, "nothing there limits the processor");
        fs::write(root.join("cgroup.subtree_control"), "memory cpu pids\n").unwrap();
        let v2 = Hierarchy::find(&root).unwrap();
        assert_eq!(v2, Hierarchy::V2(root.clone()));
        assert_eq!(v2.settings(0.4), [("cpu.max", "4000 10000".to_owned())]);
        fs::write(root.join("cpu/cgroup.procs"), "").unwrap();
        let v1 = Hierarchy::find(&root).unwrap();
        assert_eq!(v1, Hierarchy::V1(root.join("cpu")));
        let settings = v1.settings(0.4);
        assert_eq!(settings.last(), Some(&("cpu.cfs_quota_us", "4000".to_owned())));
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn a_limited_process_gets_its_share_and_its_group_goes_away() {
        // Written past the capture of the test's output, so that it shows.
        let skip = |why: &str| {
            let _ = writeln!(io::stderr(), "SKIPPED the test of CPU quotas: {why}");
        };
        let Some(hierarchy) = Hierarchy::find(Path::new("/sys/fs/cgroup")) else {
            return skip("there are no control groups");
        };
        let mut busy = std::process::Command::new("sh")
            .args(["-c", "while :; do :; done"])
            .spawn()
            .expect("a shell");
        let name = format!("ravelin-quota-test-{}", std::process::id());
        let limited = CpuQuota::limit(&hierarchy, &name, busy.id(), 0.1);
        let begun = Instant::now();
        std::thread::sleep(Duration::from_millis(1000));
        let used = crate::cli::bench::cpu_seconds(busy.id()).unwrap();
        let wall = begun.elapsed().as_secs_f64();
        busy.kill().unwrap();
        busy.wait().unwrap();
        let quota = match limited {
            Ok(quota) => quota,
            Err(error) => return skip(&error.to_string()),
        };
        assert!(quota.stops() > 0, "nobody counts how often it was stopped");
        let group = quota.group.clone();
        drop(quota);
        assert!(!group.exists(), "the group stayed behind");
        assert!(used < wall / 4.0, "{used} s of CPU in {wall} s at a tenth of a core");
    }
}
