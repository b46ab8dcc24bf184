//! A machine put back to an image of its disk, with its identity, its data and its wormhole's state,
//! while the others went on: it comes back as another instance, and contradicts nothing that it said.

use std::fs;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::services::cluster::Local;
use crate::services::hybrid::{HYBRID, copy_dir, epoch, kill, pids, wait_gone};

/// The machine that is put back.
const MACHINE: usize = 1;
/// Its disk, and an image of that.
const DISK: &str = "D/servers/1";
const IMAGE: &str = "image-1";

/// The instance of the machine's wormhole.
fn instance(cluster: &Local) -> String {
    let standing = cluster.json(&["wormhole", "status"]);
    let instance = &standing["servers"][MACHINE]["wormhole"]["instance"];
    instance.as_str().unwrap_or_else(|| panic!("it has one: {standing}")).to_owned()
}

/// Writes `counts`, each of which is acknowledged.
fn write(cluster: &Local, counts: std::ops::Range<u32>) {
    for count in counts {
        cluster.client(&["kv", "put", &format!("k{count}"), &count.to_string()]);
    }
}

/// An image of the machine's disk at one moment of its work: the instance and the epoch in it are in force.
fn take_image(cluster: &Local) {
    let (server, wormhole) = pids(cluster, MACHINE);
    let signal = |signal: &str| {
        let done = Command::new("kill").args([signal, server.as_str(), wormhole.as_str()]).status();
        assert!(done.expect("kill").success());
    };
    signal("-STOP");
    copy_dir(&cluster.path(DISK), &cluster.path(IMAGE));
    signal("-CONT");
}

/// The machine ends at once, whatever it was at.
fn crash(cluster: &Local) {
    let (server, wormhole) = pids(cluster, MACHINE);
    kill(&server);
    [&server, &wormhole].iter().for_each(|pid| wait_gone(pid));
}

fn put_image_back(cluster: &Local) {
    fs::remove_dir_all(cluster.path(DISK)).expect("ours");
    copy_dir(&cluster.path(IMAGE), &cluster.path(DISK));
}

/// After its image was put back, the machine is let in by an epoch as another instance. So whatever its
/// data made it say twice, it says under another counter: nobody can hold proof against it.
fn check_let_in_anew(cluster: &Local, before: &str, epoch_before: u64, written: u32) {
    let run = cluster.run(&["local", "up"]);
    assert!(run.exit == 0 && !run.stderr.contains("opened"), "the others let it in: {run:?}");
    cluster.wait_until_all_are_correct();
    assert_ne!(instance(cluster), before, "what its wormhole attested since is not in the image");
    assert_eq!(epoch(cluster), epoch_before + 1);
    // It signs blocks again, and must: of three servers, two are a quorum.
    kill(&pids(cluster, 0).0);
    write(cluster, written..written + 5);
    for count in 0..written + 5 {
        assert_eq!(cluster.client(&["kv", "get", &format!("k{count}")]), format!("{count}\n"));
    }
    let run = cluster.run(&["--config", "D/client.toml", "status"]);
    assert!(!run.stdout.contains("hold proof"), "{run:?}");
}

#[test]
fn a_machine_put_back_to_an_image_comes_back_as_another_instance() {
    let cluster = Local::up_with("hybrid-image", &HYBRID);
    write(&cluster, 0..5);
    let (before, epoch_before) = (instance(&cluster), epoch(&cluster));
    take_image(&cluster);
    write(&cluster, 5..15);
    crash(&cluster);
    write(&cluster, 15..20);
    put_image_back(&cluster);
    check_let_in_anew(&cluster, &before, epoch_before, 20);
}

/// The counter of a TPM is not in the image. Without the image the same crash ends nothing.
#[test]
fn a_tpm_tells_a_machine_put_back_from_one_that_crashed() {
    let cluster = Local::up_with("hybrid-image-tpm", &HYBRID);
    let Some(_tpm) = Tpm::insert(&cluster) else { return };
    write(&cluster, 0..5);
    let (before, epoch_before) = (instance(&cluster), epoch(&cluster));
    take_image(&cluster);
    write(&cluster, 5..15);
    crash(&cluster);
    cluster.done(&["local", "up"]);
    assert_eq!((instance(&cluster), epoch(&cluster)), (before.clone(), epoch_before));
    write(&cluster, 15..20);
    crash(&cluster);
    put_image_back(&cluster);
    check_let_in_anew(&cluster, &before, epoch_before, 20);
}

/// A software TPM of the machine's wormhole, whose memory is not on the machine's disk.
struct Tpm(Child);

impl Tpm {
    /// Gives the machine one, and starts the cluster again; `None`, said aloud, where there is none.
    fn insert(cluster: &Local) -> Option<Self> {
        cluster.done(&["local", "down"]);
        // The path of a socket is short: it may hold 107 bytes.
        let dir = Self::dir();
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir(&dir).expect("made");
        let socket = dir.join("socket");
        let started = Command::new("swtpm")
            .args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear"])
            .args(["--server", &format!("type=unixio,path={}", socket.display())])
            .args(["--tpmstate", &format!("dir={}", dir.display())])
            .stderr(Stdio::null())
            .spawn();
        let Ok(process) = started else {
            let _ = fs::remove_dir_all(&dir);
            let _ =
                writeln!(std::io::stderr(), "SKIPPED: a machine put back with a TPM needs `swtpm`");
            return None;
        };
        let tpm = Self(process);
        let until = Instant::now() + Duration::from_secs(10);
        while !socket.exists() {
            assert!(Instant::now() < until, "swtpm does not listen");
            std::thread::sleep(Duration::from_millis(5));
        }
        anchor(&socket, &cluster.path(DISK).join("wormhole"));
        let file = cluster.path(DISK).join("node.toml");
        let text = fs::read_to_string(&file).expect("there");
        let table = "[wormhole]\n";
        let named = format!("{table}tpm = \"{}\"\nlease = \"every-unmetered\"\n", socket.display());
        assert!(text.contains(table), "{text}");
        fs::write(&file, text.replacen(table, &named, 1)).expect("written");
        cluster.done(&["local", "up"]);
        Some(tpm)
    }

    fn dir() -> PathBuf {
        std::env::temp_dir().join(format!("ravelin-image-tpm-{}", std::process::id()))
    }
}

impl Drop for Tpm {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
        let _ = fs::remove_dir_all(Self::dir());
    }
}

/// Makes a counter in the TPM, to which the wormhole's state is tied from now on.
fn anchor(socket: &Path, state: &Path) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ravelin"));
    command.arg0("ravelin-wormhole").args(["--anchor", "0x1800001", "--tpm"]).arg(socket);
    let output = command.arg("--state").arg(state).output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
