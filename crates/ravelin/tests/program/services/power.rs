//! Power that goes at four servers of the real binary, on real file systems. Where this machine
//! cannot do it, that is said, past the capture of the test's output.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, PoisonError};

/// One run after the other: each has four servers and four disks.
static ALONE: Mutex<()> = Mutex::new(());

/// A loss of power of a cluster as `model` says, with programs in `first` preferred to the system's; `None`
/// where it cannot be.
fn lose_power(scratch: &Path, model: &[&str], first: Option<&Path>) -> Option<Output> {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let path = std::env::var("PATH").unwrap_or_default();
    let path = first.map_or_else(|| path.clone(), |dir| format!("{}:{path}", dir.display()));
    let output = Command::new(env!("CARGO_BIN_EXE_ravelin"))
        .args(["attack", "power-loss", "--times", "1", "--output", "json", "--report"])
        .arg(scratch.join("results.md"))
        .args(model)
        .env("PATH", path)
        .env("TMPDIR", scratch)
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(3) && said.contains("SKIPPED") {
        let _ = writeln!(std::io::stderr(), "SKIPPED the test of power loss: {}", said.trim());
        return None;
    }
    Some(output)
}

fn scratch(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).expect("the target directory is ours");
    dir
}

fn words(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Whether any disk of a run in `scratch` is still mounted.
fn is_mounted(scratch: &Path) -> bool {
    let mounts = fs::read_to_string("/proc/mounts").expect("this is Linux");
    mounts.contains(scratch.to_str().expect("a plain name"))
}

#[test]
fn nothing_acknowledged_is_lost_with_the_power_of_all_servers() {
    check_kept("power-loss", &[]);
}

/// By itself no server may serve then; once an administrator opened the cluster, all must.
#[test]
fn nothing_is_lost_with_the_power_of_all_wormholes_either() {
    check_kept("power-loss-hybrid", &["--fault-model", "hybrid"]);
}

/// No administrator does anything: each wormhole goes on as the one it was.
#[test]
fn with_tpms_servers_and_wormholes_go_on_by_themselves_when_the_power_is_back() {
    check_kept("power-loss-tpm", &["--fault-model", "hybrid", "--rollback-proof"]);
}

fn check_kept(name: &str, model: &[&str]) {
    let scratch = scratch(name);
    let Some(output) = lose_power(&scratch, model, None) else { return };
    let (out, errors) = (words(&output.stdout), words(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{out}{errors}");
    let verdict = out.lines().last().unwrap_or_default();
    for kept in ["\"event\":\"verdict\"", "\"lost\":0", "\"wrong\":0", "\"failed\":0"] {
        assert!(verdict.contains(kept), "{verdict}");
    }
    assert!(!is_mounted(&scratch), "a disk is still mounted");
    let report = fs::read_to_string(scratch.join("results.md")).expect("written");
    assert!(report.starts_with("# Power lost everywhere\n"), "{report}");
    let left: Vec<_> = fs::read_dir(&scratch).expect("there").flatten().collect();
    assert_eq!(left.len(), 1, "only the report is left: {left:?}");
}

/// The check that looks whether the power really went: a cut that writes its file and stops nothing.
#[test]
fn a_cut_that_is_none_is_noticed() {
    let scratch = scratch("no-power-loss");
    let fake = scratch.join("bin");
    fs::create_dir_all(&fake).expect("made");
    let program = fake.join("python3");
    let text = "#!/bin/sh\nshift 2\nname=$1 text=$2\nshift 2\n\
                for mount in \"$@\"; do echo \"$text\" >\"$mount/$name\"; done\n";
    fs::write(&program, text).expect("written");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("ours");
    let Some(output) = lose_power(&scratch, &[], Some(&fake)) else { return };
    let errors = words(&output.stderr);
    assert_eq!(output.status.code(), Some(6), "{}{errors}", words(&output.stdout));
    assert!(errors.contains("its power was not cut"), "{errors}");
    assert!(!is_mounted(&scratch), "a disk is still mounted");
}
