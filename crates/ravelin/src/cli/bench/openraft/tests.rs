use std::os::unix::fs::PermissionsExt as _;

use super::super::peer::System;
use super::super::testbed::TestDir;
use super::*;

/// The program, if somebody built it; says so if not.
async fn built() -> Option<Program> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bench/raft/target");
    let own = std::env::current_exe().expect("this test");
    let targets = [source].into_iter().chain(own.ancestors().map(Path::to_owned));
    let places = targets
        .flat_map(|target| ["release", "debug"].map(|profile| target.join(profile).join(PROGRAM)));
    match first_file(&places.collect::<Vec<_>>()) {
        Ok(path) => Some(Program::find(Some(&path)).await.expect("a raft-peer")),
        Err(error) => {
            let _ = writeln!(io::stderr(), "SKIPPED the test of openraft: {}", error.message());
            None
        }
    }
}

#[tokio::test]
async fn a_cluster_keeps_what_it_is_told() {
    let Some(program) = built().await else { return };
    let mut cluster = System::Openraft(program).start().await.expect("three servers");
    let door = cluster.connect().await.expect("a leader");
    door.put(&[1], b"alone").await.expect("written");
    door.put(&(2..TRANSACTION_MAX + 2).collect::<Vec<_>>(), b"together").await.expect("written");
    for key in [1, 2, TRANSACTION_MAX + 1] {
        door.get(key).await.expect("there");
    }
    assert!(door.get(0).await.expect_err("nobody wrote it").contains("does not have"));
    let mut under_way = tokio::task::JoinSet::new();
    for key in 0..200 {
        let door = door.clone();
        under_way.spawn(async move { door.put(&[key], b"at once").await });
    }
    assert!(under_way.join_all().await.into_iter().all(|outcome| outcome.is_ok()));
    let used = cluster.total_usage();
    assert!(used.fsyncs >= 3.0 && used.memory_mib > 0.0 && used.cpu_seconds > 0.0, "{used:?}");
    cluster.check().expect("all run");
    let processes = cluster.pids();
    drop(cluster);
    for pid in processes {
        assert!(!Path::new(&format!("/proc/{pid}")).exists(), "{pid} still runs");
    }
    let gone = door.put(&[1], b"gone").await.expect_err("nobody is there");
    assert!(gone.contains("the connection ended"), "{gone}");
}

#[test]
fn where_it_is_not_built_the_hint_says_how() {
    let missing = first_file(&["/nowhere/raft-peer".into(), "/".into()]).expect_err("not there");
    assert_eq!(missing.message(), "the program `raft-peer` is not built");
    let command = "cargo build --release --manifest-path bench/raft/Cargo.toml";
    assert!(missing.advice().contains(command), "{}", missing.advice());
}

#[tokio::test]
async fn another_program_is_not_taken_for_it() {
    let dir = TestDir::new("no-raft-peer");
    std::fs::create_dir(dir.path()).expect("new");
    let path = dir.path().join("program");
    for says in ["true", "echo etcd Version: 3", "yes raft-peer-like", "exec sleep 60"] {
        std::fs::write(&path, format!("#!/bin/sh\n{says}\n")).expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).expect("ours");
        let refused = Program::find(Some(&path)).await.expect_err(says);
        assert!(refused.message().ends_with("is no raft-peer"), "{says}: {}", refused.message());
    }
    std::fs::write(&path, "#!/bin/sh\necho raft-peer 0.9\n").expect("written");
    assert_eq!(Program::find(Some(&path)).await.expect("one").version(), "0.9");
}
