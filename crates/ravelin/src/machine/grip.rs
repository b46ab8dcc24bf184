//! A trouble that holds a server's machine, from its beginning to its end.
//!
//! **Guarantee:** whatever ends a run, what limits or traces the server ends with its [`Grip`].

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ravelin_model::ReplicaId;
use ravelin_sim::Dice;
use rustix::process::{Pid, Signal, kill_process};

use crate::cluster_dir::LocalCluster;
use crate::cpu_quota::{CpuQuota, Hierarchy};
use crate::exit::{Error, Exit, Result};
use crate::processes::{Hands, Processes};

use super::memory::{self, MemoryLimit};
use super::swap::Swap;
use super::tools::{CONTROL_GROUPS, faketime_library, path_of};
use super::twin::Twin;
use super::{Trouble, decay};

/// Processors of a throttled server.
const THROTTLED_CORES: f64 = 0.05;
/// What a slow disk takes more for a sync.
const SLOW_SYNC: Duration = Duration::from_millis(50);
/// How long the tracer may take to hold every thread of a server.
const ATTACH_MAX: Duration = Duration::from_secs(5);
/// Time between two looks at that.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Where decay strikes is drawn from this and what the step says.
const ROT: &str = "rot";

/// A trouble that was none must not pass for one that was borne.
const NOTHING_DONE: &str = "the trouble did not come about, so this shows nothing";

/// What holds a server.
pub(crate) struct Grip {
    trouble: Trouble,
    server: ReplicaId,
    hold: Hold,
}

enum Hold {
    /// Its data decayed, in so many places, while it was down.
    Rotten(u64),
    /// It runs with a wrong clock.
    Clock,
    Quota(CpuQuota),
    Memory(MemoryLimit),
    Tracer(Tracer),
    /// An old copy of its data.
    Copy(PathBuf),
    Twin(Twin),
    Swapped(Swap),
}

impl Grip {
    /// Lets `trouble` befall `server`. `seed` draws its details.
    pub(crate) fn take(
        trouble: Trouble,
        cluster: &LocalCluster,
        server: ReplicaId,
        seed: u64,
    ) -> Result<Self> {
        let processes = &Processes::of(cluster)?;
        let place = processes.server(server)?;
        let data = &place.config.data_dir;
        let hold = match trouble {
            Trouble::Rot => {
                processes.kill(server)?;
                let rotten = decay::rot(data, &mut Dice::new(seed, ROT));
                Hold::Rotten(rotten.map_err(|error| Error::system("rot", data, &error))?)
            }
            Trouble::Rollback => {
                // What a snapshot of a running machine has: nothing is flushed or closed first.
                let copy = place.dir.join("old-data");
                processes.signal(server, Signal::STOP)?;
                let copied = decay::copy(data, &copy);
                processes.signal(server, Signal::CONT)?;
                copied.map_err(|error| Error::system("copy", data, &error))?;
                Hold::Copy(copy)
            }
            Trouble::Twin => Hold::Twin(Twin::start(cluster, server)?),
            Trouble::Swapped => Hold::Swapped(Swap::start(cluster, server)?),
            Trouble::Throttle => Hold::Quota(throttle(pid_of(processes, server)?)?),
            Trouble::Squeeze => Hold::Memory(squeeze(pid_of(processes, server)?)?),
            Trouble::DayAhead | Trouble::DayBehind | Trouble::FastClock => {
                processes.kill(server)?;
                let lying = Processes::of(cluster)?.environment(clock_of(trouble));
                lying.start(server, Hands::Own)?;
                Hold::Clock
            }
            Trouble::SlowDisk | Trouble::FailedSync | Trouble::FullDisk => {
                let pid = pid_of(processes, server)?;
                Hold::Tracer(Tracer::attach(
                    pid,
                    &injection(trouble),
                    place.dir.join("strace.log"),
                )?)
            }
        };
        Ok(Self { trouble, server, hold })
    }

    /// Ends the trouble and sees that the server runs as it should; says which promises were broken.
    pub(crate) fn release(self, cluster: &LocalCluster) -> Result<Vec<String>> {
        let processes = Processes::of(cluster)?;
        let (server, mut broken) = (self.server, Vec::new());
        match self.hold {
            Hold::Rotten(0) => broken.push(NOTHING_DONE.to_owned()),
            Hold::Rotten(_) => {}
            Hold::Clock => {
                let pid = processes.running(server)?.map(|running| running.pid);
                if !pid.is_some_and(is_told_another_time) {
                    broken.push(NOTHING_DONE.to_owned());
                }
                processes.kill(server)?;
            }
            Hold::Quota(quota) => {
                if quota.stops() == 0 {
                    broken.push(NOTHING_DONE.to_owned());
                }
                quota.lift();
            }
            Hold::Memory(limit) => {
                let killings = limit.killings();
                if killings > 0 {
                    broken.push(format!("killed {killings} times for its memory"));
                }
            }
            Hold::Copy(copy) => {
                processes.kill(server)?;
                let data = &processes.server(server)?.config.data_dir;
                let restored = decay::copy(&copy, data);
                restored.map_err(|error| Error::system("restore", data, &error))?;
                let _ = fs::remove_dir_all(copy); // it would only take room
            }
            Hold::Twin(mut twin) => {
                let (named_by, needed) =
                    (twin.wait_named(cluster, server)?, cluster.group.one_correct());
                if named_by < needed {
                    broken.push(format!(
                        "{named_by} servers name both addresses of the key that is run twice, and \
                         {needed} must"
                    ));
                }
            }
            Hold::Swapped(swap) => broken.extend(swap.end(cluster)?),
            Hold::Tracer(tracer) => {
                let runs = processes.running(server)?.is_some();
                if tracer.finish() == 0 {
                    broken.push(NOTHING_DONE.to_owned());
                } else if runs && self.trouble == Trouble::FailedSync {
                    broken.push("the server went on after a failed sync".to_owned());
                }
            }
        }
        if processes.running(server)?.is_none() {
            processes.start(server, Hands::Own)?;
        }
        Ok(broken)
    }
}

/// What makes a server see another time.
fn clock_of(trouble: Trouble) -> Vec<(&'static str, OsString)> {
    let (offset, is_wall_only) = match trouble {
        Trouble::DayAhead => ("+1d", true),
        Trouble::DayBehind => ("-1d", true),
        _ => ("+0 x2", false),
    };
    let library = faketime_library().map(PathBuf::into_os_string).unwrap_or_default();
    let mut variables = vec![("LD_PRELOAD", library), ("FAKETIME", offset.into())];
    if is_wall_only {
        variables.push(("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()));
    }
    variables
}

/// Whether the library that lies about the time is in the process.
fn is_told_another_time(pid: u32) -> bool {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    maps.contains("libfaketime")
}

fn pid_of(processes: &Processes<'_>, server: ReplicaId) -> Result<u32> {
    let running = processes.running(server)?.map(|running| running.pid);
    running.ok_or_else(|| {
        let cause = format!("server {server} does not run");
        Error::new(Exit::Failed, cause, "look at its log")
    })
}

fn refused(what: &str) -> impl FnOnce(std::io::Error) -> Error {
    move |error| {
        Error::system(
            &format!("limit the {what} of a server in"),
            Path::new(CONTROL_GROUPS),
            &error,
        )
    }
}

fn throttle(pid: u32) -> Result<CpuQuota> {
    let hierarchy = Hierarchy::find(Path::new(CONTROL_GROUPS))
        .ok_or_else(|| refused("processor")(std::io::ErrorKind::NotFound.into()))?;
    let name = format!("ravelin-throttled-{pid}");
    CpuQuota::limit(&hierarchy, &name, pid, THROTTLED_CORES).map_err(refused("processor"))
}

fn squeeze(pid: u32) -> Result<MemoryLimit> {
    let tree = memory::Tree::find(Path::new(CONTROL_GROUPS))
        .ok_or_else(|| refused("memory")(std::io::ErrorKind::NotFound.into()))?;
    let name = format!("ravelin-squeezed-{pid}");
    MemoryLimit::set(tree, &name, pid, memory::SQUEEZED_BYTES).map_err(refused("memory"))
}

/// What the tracer does to which calls of the system.
fn injection(trouble: Trouble) -> String {
    match trouble {
        Trouble::SlowDisk => format!("fsync,fdatasync:delay_enter={}", SLOW_SYNC.as_micros()),
        Trouble::FullDisk => "pwrite64,fallocate:error=ENOSPC".to_owned(),
        _ => "fsync,fdatasync:error=EIO".to_owned(),
    }
}

/// A `strace` that tampers with a process.
struct Tracer {
    child: Child,
    output: PathBuf,
}

impl Tracer {
    /// Attaches to every thread of `pid`.
    fn attach(pid: u32, injection: &str, output: PathBuf) -> Result<Self> {
        let program = path_of("strace").unwrap_or_else(|| PathBuf::from("strace"));
        let calls = injection.split(':').next().unwrap_or_default();
        let child = Command::new(&program)
            .args(["-f", "-qq", "-o"])
            .arg(&output)
            .args(["-e", &format!("trace={calls}"), "-e", &format!("inject={injection}")])
            .args(["-p", &pid.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| Error::system("run", &program, &error))?;
        let tracer = Self { child, output };
        let begun = Instant::now();
        while !is_traced(pid) {
            if begun.elapsed() > ATTACH_MAX {
                let cause = format!("strace does not attach to process {pid}");
                let hint = "containers need the capability SYS_PTRACE";
                return Err(Error::new(Exit::Denied, cause, hint));
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(tracer)
    }

    /// Lets the process go; says how many calls were tampered with.
    fn finish(mut self) -> usize {
        self.end();
        let text = fs::read_to_string(&self.output).unwrap_or_default();
        text.lines().filter(|line| is_tampered(line)).count()
    }

    /// The tracer itself must let go: it wakes whom it holds.
    fn end(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let (Some(pid), Ok(None)) = (pid, self.child.try_wait()) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let _ = self.child.wait(); // it has ended, or ends now
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        self.end();
    }
}

/// Whether somebody traces every thread of the process, or it has ended.
fn is_traced(pid: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let texts = threads.filter_map(|thread| fs::read_to_string(thread.path().join("status")).ok());
    texts.into_iter().all(|status| {
        let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:"));
        tracer.is_some_and(|tracer| tracer.trim() != "0")
    })
}

/// Whether the tracer says in this line that it changed or delayed a call.
fn is_tampered(line: &str) -> bool {
    line.contains("(INJECTED)") || line.contains("(DELAYED)")
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn only_calls_that_were_touched_count() {
        assert!(is_tampered("71 fdatasync(9) = -1 EIO (Input/output error) (INJECTED)"));
        assert!(is_tampered("71 fdatasync(9)  = 0 (DELAYED)"));
        assert!(!is_tampered("71 fdatasync(9) = 0"));
    }

    #[test]
    fn a_tracer_makes_syncs_fail_and_lets_go() {
        // Written past the capture of the test's output, so that it shows.
        let skip = |why: &str| {
            let _ = writeln!(std::io::stderr(), "SKIPPED the test of failing syncs: {why}");
        };
        if let Some(why) = Trouble::FailedSync.missing() {
            return skip(&format!("it needs {why}"));
        }
        let dir = std::env::temp_dir().join(format!("ravelin-tracer-{}", std::process::id()));
        fs::create_dir_all(&dir).expect("made");
        let loops = "import os, time, sys\n\
                     fd = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY)\n\
                     while True:\n \
                      try: os.fdatasync(fd)\n \
                      except OSError as error: sys.exit(error.errno)\n \
                      time.sleep(0.01)\n";
        let child = Command::new("python3").args(["-c", loops]).arg(dir.join("file")).spawn();
        let Ok(mut child) = child else { return skip("there is no python3") };
        let injection = injection(Trouble::FailedSync);
        let tracer = match Tracer::attach(child.id(), &injection, dir.join("trace")) {
            Ok(tracer) => tracer,
            Err(error) => {
                child.kill().expect("it runs");
                child.wait().expect("it ended");
                return skip(&error.message());
            }
        };
        let code = child.wait().expect("it ended").code();
        assert_eq!(code, Some(rustix::io::Errno::IO.raw_os_error()), "its sync fails with EIO");
        assert!(tracer.finish() > 0);
        fs::remove_dir_all(dir).expect("ours");
    }

    #[test]
    fn who_runs_untraced_is_told_from_who_is_traced() {
        assert!(!is_traced(std::process::id()));
    }
}
