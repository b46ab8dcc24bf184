//! A real disk that fills up, stage by stage.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::services::cluster::Local;

/// A small file system of its own, unmounted when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts it; `None`: we may not.
    fn mount(at: &Path, megabytes: u32) -> Option<Self> {
        let size = format!("size={megabytes}m,mode=700");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(at).stderr(Stdio::null());
        mount.status().is_ok_and(|status| status.success()).then(|| Self(at.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Bytes free on the disk of `dir`.
fn free(dir: &Path) -> u64 {
    let space = rustix::fs::statvfs(dir).expect("mounted");
    space.f_bavail * space.f_frsize
}

/// Leaves so many megabytes free.
fn fill(dir: &Path, left: u64) {
    let bytes = free(dir).saturating_sub(left << 20);
    let name = dir.join(format!("other-peoples-data-{left}"));
    fs::write(name, vec![1; usize::try_from(bytes).expect("small")]).expect("written");
}

/// A server in the foreground; it ends with the test.
struct Foreground(Child);

impl Foreground {
    fn wait(&mut self) -> Option<i32> {
        self.0.wait().expect("ours").code()
    }
}

impl Drop for Foreground {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs server 1 in the foreground.
fn start(cluster: &Local) -> Foreground {
    start_under(cluster, &[])
}

/// The same, as an argument of another program.
fn start_under(cluster: &Local, outer: &[&str]) -> Foreground {
    let log = fs::File::options().append(true).open(cluster.path("D/servers/1/server.log"));
    let node = cluster.path("D/servers/1/node.toml"); // by which `local` knows it
    let node = node.to_str().expect("text");
    let start = ["--config", node, "node", "start"];
    let mut command = match outer {
        [] => cluster.command(&start),
        [program, arguments @ ..] => {
            let mut command = Command::new(program);
            command.args(arguments).arg(env!("CARGO_BIN_EXE_ravelin")).args(start);
            command.stdin(Stdio::null());
            command
        }
    };
    let child = command.stdout(Stdio::null()).stderr(log.expect("there")).spawn().expect("started");
    fs::write(cluster.path("D/servers/1/pid"), child.id().to_string()).expect("written");
    Foreground(child)
}

fn wait(what: &str, cluster: &Local, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < until, "never {what}: {}", cluster.log(1));
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_server_whose_disk_fills_up_refuses_then_follows_then_stops_and_loses_nothing() {
    let cluster = Local::up("room");
    cluster.client(&["kv", "put", "a", "1"]);
    cluster.done(&["local", "down"]);
    let data = cluster.path("D/servers/1/data");
    fs::rename(&data, cluster.path("before")).expect("moved");
    fs::create_dir(&data).expect("made");
    let Some(disk) = SmallDisk::mount(&data, 320) else {
        eprintln!("SKIPPED: mounting a file system needs root");
        return;
    };
    let copied = Command::new("cp").arg("-a").arg(cluster.path("before/.")).arg(&data).status();
    assert!(copied.expect("cp").success());
    cluster.done(&["local", "up"]);
    cluster.kill(1); // and again in the foreground, for its exit code
    let ballast = data.join("ballast");
    assert!(ballast.exists(), "{}", cluster.log(1));
    let mut server = start(&cluster);
    cluster.wait_until_all_are_correct();
    let state = || {
        let status = cluster.run(&["--config", "D/client.toml", "status", "--output", "json"]);
        let status: serde_json::Value = serde_json::from_str(&status.stdout).unwrap_or_default();
        status["servers"][1]["state"].as_str().unwrap_or_default().to_owned()
    };

    fill(&data, 100);
    wait("refuses", &cluster, || state() == "disk_full");
    assert!(ballast.exists());
    for value in 2..12 {
        cluster.client(&["kv", "put", "a", &value.to_string()]); // the others take it
    }

    fill(&data, 40);
    wait("gives up its ballast", &cluster, || !ballast.exists());
    assert_eq!(state(), "disk_full");
    cluster.client(&["kv", "put", "a", "12"]);
    let doctor = cluster.run(&["doctor"]);
    assert!(doctor.stdout.contains("takes no new requests"), "{doctor:?}");
    assert!(server.0.try_wait().expect("ours").is_none(), "it follows still");

    fill(&data, 20);
    assert_eq!(server.wait(), Some(10), "{}", cluster.log(1));
    assert!(cluster.log(1).contains("stopped in good order"), "{}", cluster.log(1));
    cluster.client(&["kv", "put", "a", "13"]);
    assert_eq!(start(&cluster).wait(), Some(10), "and does not start without room");

    for left in [100, 40, 20] {
        fs::remove_file(data.join(format!("other-peoples-data-{left}"))).expect("removed");
    }
    let mut server = start(&cluster);
    cluster.wait_until_all_are_correct();
    assert!(ballast.exists(), "the room is held again");
    assert_eq!(cluster.client(&["kv", "get", "a"]), "13\n");
    assert!(cluster.aside(1).is_empty(), "a full disk is no damage");
    let pid = server.0.id().to_string();
    assert!(Command::new("kill").arg(&pid).status().expect("kill").success());
    assert_eq!(server.wait(), Some(0));
    drop(disk);
}

/// The server under `strace`, whose process id is of no use.
fn served_under(strace: &str) -> Option<String> {
    let listed = Command::new("pgrep").args(["-P", strace]).output().ok()?;
    let text = String::from_utf8(listed.stdout).ok()?;
    text.lines().next().map(str::to_owned)
}

#[test]
fn a_sync_that_fails_ends_the_process_whatever_file_it_was_of() {
    if !Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_ok_and(|it| it.success())
    {
        eprintln!("SKIPPED: strace is not installed");
        return;
    }
    let cluster = Local::up("syncs");
    cluster.client(&["kv", "put", "a", "1"]);
    let data = cluster.path("D/servers/1/data");
    let of = |name: &str| data.join(name).to_str().expect("text").to_owned();
    for (file, call, exit) in [
        (of("log/0000000000000001.segment"), "fdatasync:error=EIO:when=20+", 1),
        (of("state/mark"), "fdatasync:error=EIO", 74),
    ] {
        cluster.kill(1);
        let inject = format!("inject={call}");
        let strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-P", &file, "-e", &inject];
        let mut server = start_under(&cluster, &strace);
        if exit == 74 {
            // The state is synced at a checkpoint, and at the end.
            let strace = server.0.id().to_string();
            let inner = || served_under(&strace);
            wait("starts", &cluster, || inner().is_some());
            cluster.wait_until_all_are_correct();
            let inner = inner().expect("it runs");
            assert!(Command::new("kill").arg(inner).status().expect("kill").success());
        } else {
            let write = ["--config", "D/client.toml", "kv", "put", "busy", "1"];
            wait("fails", &cluster, || {
                cluster.run(&write); // each brings a few syncs, a heartbeat one
                server.0.try_wait().expect("asked").is_some()
            });
        }
        assert_eq!(server.wait(), Some(exit), "{}", cluster.log(1));
        assert!(cluster.log(1).contains("Input/output error"), "{}", cluster.log(1));
        cluster.client(&["kv", "put", "a", "2"]);
        cluster.done(&["local", "up"]);
        cluster.wait_until_all_are_correct();
        assert!(cluster.aside(1).is_empty(), "a failed sync is no damage");
    }
    assert_eq!(cluster.client(&["kv", "get", "a"]), "2\n");
    // With too few descriptors for log and store beside clients, it does not begin.
    cluster.kill(1);
    let few = ["sh", "-c", "ulimit -n 300; exec \"$@\"", "sh"];
    assert_eq!(start_under(&cluster, &few).wait(), Some(1));
    assert!(cluster.log(1).contains("the system allows 300 open files"), "{}", cluster.log(1));
}
