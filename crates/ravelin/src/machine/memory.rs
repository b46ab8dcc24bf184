//! A limit on the memory of one process, by Linux control groups.
//!
//! **Guarantee:** a group that was made goes away with its [`MemoryLimit`], and its process lives on.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Memory that a squeezed server may have, caches of the system's included.
pub(super) const SQUEEZED_BYTES: u64 = 256 << 20;

/// How this system counts the memory of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Tree {
    /// Control groups, version 1: a tree for memory alone.
    V1(PathBuf),
    /// Control groups, version 2: one tree for everything.
    V2(PathBuf),
}

impl Tree {
    /// The tree under `root` in which this program may make groups with a limit.
    pub(super) fn find(root: &Path) -> Option<Self> {
        let v1 = root.join("memory");
        if v1.join("memory.usage_in_bytes").exists() {
            return Some(Self::V1(v1));
        }
        let controllers = fs::read_to_string(root.join("cgroup.subtree_control")).ok()?;
        let has_memory = controllers.split_whitespace().any(|controller| controller == "memory");
        has_memory.then(|| Self::V2(root.to_owned()))
    }

    fn root(&self) -> &Path {
        match self {
            Self::V1(root) | Self::V2(root) => root,
        }
    }

    fn limit_file(&self) -> &'static str {
        match self {
            Self::V1(_) => "memory.limit_in_bytes",
            Self::V2(_) => "memory.max",
        }
    }

    /// The file that counts killings, a line `oom_kill N` of it.
    fn events_file(&self) -> &'static str {
        match self {
            Self::V1(_) => "memory.oom_control",
            Self::V2(_) => "memory.events",
        }
    }
}

/// A group of one process that gets no more memory than this.
#[derive(Debug)]
pub(super) struct MemoryLimit {
    tree: Tree,
    group: PathBuf,
}

impl MemoryLimit {
    /// Limits the process `pid`, in a group called `name`.
    pub(super) fn set(tree: Tree, name: &str, pid: u32, bytes: u64) -> io::Result<Self> {
        let group = tree.root().join(name);
        fs::create_dir(&group)?;
        let limit = Self { tree, group }; // from here on it goes away again, whatever fails
        fs::write(limit.group.join(limit.tree.limit_file()), bytes.to_string())?;
        fs::write(limit.group.join("cgroup.procs"), pid.to_string())?;
        Ok(limit)
    }

    /// How often the system killed a process of the group for its memory.
    pub(super) fn killings(&self) -> u64 {
        let path = self.group.join(self.tree.events_file());
        killings(&fs::read_to_string(path).unwrap_or_default())
    }
}

fn killings(events: &str) -> u64 {
    let count = events.lines().find_map(|line| line.strip_prefix("oom_kill "));
    count.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
}

impl Drop for MemoryLimit {
    fn drop(&mut self) {
        release(&self.group, self.tree.root());
    }
}

/// Lets the processes of `group` go back to `root`, and removes it.
pub(super) fn release(group: &Path, root: &Path) {
    let members = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    for pid in members.lines() {
        let _ = fs::write(root.join("cgroup.procs"), pid); // it may have ended
    }
    let _ = fs::remove_dir(group); // an empty group that stays limits nobody
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn killings_are_counted_in_both_versions() {
        assert_eq!(killings("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"), 2);
        assert_eq!(killings("low 0\nhigh 0\nmax 3\noom 1\noom_kill 1\noom_group_kill 0\n"), 1);
        assert_eq!(killings(""), 0);
    }

    #[test]
    fn who_takes_more_than_its_limit_is_killed_and_counted_and_the_group_goes_away() {
        // Written past the capture of the test's output, so that it shows.
        let skip = |why: &str| {
            let _ = writeln!(io::stderr(), "SKIPPED the test of memory limits: {why}");
        };
        let Some(tree) = Tree::find(Path::new("/sys/fs/cgroup")) else {
            return skip("there are no control groups");
        };
        let mut greedy = std::process::Command::new("sh")
            .args(["-c", "read go; x=a; while :; do x=$x$x; done"])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .expect("a shell");
        let name = format!("ravelin-memory-test-{}", std::process::id());
        let limit = match MemoryLimit::set(tree, &name, greedy.id(), 16 << 20) {
            Ok(limit) => limit,
            Err(error) => {
                greedy.kill().expect("it runs");
                greedy.wait().expect("it ended");
                return skip(&error.to_string());
            }
        };
        assert_eq!(limit.killings(), 0);
        greedy.stdin.take().expect("piped").write_all(b"go\n").expect("heard");
        assert!(!greedy.wait().expect("it ended").success());
        assert!(limit.killings() >= 1, "nobody counted it");
        let group = limit.group.clone();
        drop(limit);
        assert!(!group.exists(), "the group stayed behind");
    }
}
