//! Leases and locks.

use std::fs;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use crate::services::cluster::{Cluster, finish};

#[test]
fn leases_end_and_locks_have_one_holder() {
    let cluster = Cluster::start("locks", 1);
    std::thread::scope(|scope| {
        for part in [leases, plain_locks, guarded_commands, lost_locks] {
            let cluster = &cluster;
            scope.spawn(move || part(cluster));
        }
    });
}

fn leases(cluster: &Cluster) {
    let lease = cluster.done(&["kv", "lease", "grant", "90s"]);
    let lease = lease.trim();
    assert!(cluster.done(&["kv", "lease", "show", lease]).contains("s left of 90.0 s"));
    cluster.done(&["kv", "lease", "renew", lease]);
    let lease = cluster.done(&["kv", "lease", "grant", "5s"]);
    let lease = lease.trim();
    cluster.done(&["kv", "put", "mortal", "x", "--lease", lease]);
    let begun = Instant::now();
    while cluster.run(&["kv", "get", "mortal"]).exit != 4 {
        assert!(begun.elapsed() < Duration::from_secs(30), "the key outlives its lease");
        std::thread::sleep(Duration::from_millis(200));
    }
    cluster.fails(&["kv", "lease", "renew", lease], 4, "there is no such lease");
    cluster.fails(&["kv", "put", "m", "x", "--lease", lease], 4, "there is no such lease");
    let lease = cluster.number(&["kv", "lease", "grant", "1h"], "lease").to_string();
    cluster.done(&["kv", "put", "mortal", "x", "--lease", &lease]);
    cluster.done(&["kv", "lease", "revoke", &lease]);
    cluster.fails(&["kv", "get", "mortal"], 4, "no value");
    cluster.fails(&["kv", "lease", "show", &lease], 4, "there is no such lease");
}

fn plain_locks(cluster: &Cluster) {
    let first = cluster.json(&["kv", "lock", "plain", "--ttl", "5m"]);
    let lease = first["lease"].as_u64().expect("a lease").to_string();
    let waiting = cluster.command(&["kv", "lock", "plain", "--output", "json"]);
    let waiting = { waiting }.spawn().expect("started");
    let other = cluster.number(&["kv", "lease", "grant", "1m"], "lease").to_string();
    let begun = Instant::now();
    let patient = ["kv", "lock", "plain", "--ttl", "5m", "--timeout", "2s"];
    cluster.fails(&patient, 5, &format!("not free within 2s: lease {lease} holds it"));
    let run = cluster.run(&[&patient[..], &["--output", "json"]].concat());
    assert!(run.exit == 5 && run.stderr.contains("\"code\":\"locked\""), "{run:?}");
    run.says_json();
    let impatient = [&patient[..3], &["--lease", &other, "--timeout", "1s"]].concat();
    cluster.fails(&impatient, 5, "not free within 1s");
    assert!(begun.elapsed() < Duration::from_secs(20), "the timeouts hold");
    cluster.fails(&["kv", "unlock", "plain", "--lease", &other], 9, "neither holds");
    std::thread::sleep(Duration::from_millis(500));
    cluster.done(&["kv", "unlock", "plain", "--lease", &lease]);
    let second = finish(waiting);
    let second: serde_json::Value = serde_json::from_str(&second.stdout).expect("JSON");
    assert!(second["token"].as_u64() > first["token"].as_u64(), "tokens grow");
}

fn guarded_commands(cluster: &Cluster) {
    // Without mutual exclusion, additions would be lost.
    fs::write(cluster.path("count"), "0\n").expect("written");
    let add = "n=$(cat count); sleep 0.1; echo $((n + 1)) > count; test -n \"$RAVELIN_LOCK_TOKEN\"";
    let adders: Vec<_> = (0..4)
        .map(|_| cluster.command(&["kv", "lock", "count", "--", "sh", "-c", add]).spawn())
        .collect();
    for adder in adders {
        let run = finish(adder.expect("started"));
        assert_eq!(run.exit, 0, "{run:?}");
    }
    assert_eq!(fs::read_to_string(cluster.path("count")).expect("there"), "4\n");
    let run = cluster.run(&["kv", "lock", "l", "--", "sh", "-c", "echo out; echo err >&2; exit 7"]);
    assert_eq!((run.exit, run.stdout.as_str()), (7, "out\n"));
    assert_eq!(cluster.run(&["kv", "lock", "l", "--", "sh", "-c", "kill -9 $$"]).exit, 137);
    cluster.fails(&["kv", "lock", "l", "--", "no-such-program"], 4, "cannot start");
    // It waits for nothing: all of these gave the lock up.
    assert_eq!(cluster.run(&["kv", "lock", "l", "--", "true"]).exit, 0);
    let held = begun(cluster, &["kv", "lock", "l"]);
    let begun = Instant::now();
    let pid = held.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("run").success());
    assert_eq!(finish(held).exit, 143, "the command was told to end");
    assert!(begun.elapsed() < Duration::from_secs(30));
}

/// A command that the lock guards, which has begun and goes on for a minute.
fn begun(cluster: &Cluster, lock: &[&str]) -> Child {
    let name = format!("begun-{}", lock[2]);
    let script = format!("touch {name}; exec sleep 60");
    let command = cluster.command(&[lock, &["--", "sh", "-c", &script]].concat()).spawn();
    let since = Instant::now();
    while !cluster.path(&name).exists() {
        assert!(since.elapsed() < Duration::from_secs(60), "the command begins");
        std::thread::sleep(Duration::from_millis(50));
    }
    command.expect("started")
}

fn lost_locks(cluster: &Cluster) {
    let lease = cluster.number(&["kv", "lease", "grant", "5s"], "lease").to_string();
    let held = begun(cluster, &["kv", "lock", "lost", "--lease", &lease]);
    cluster.done(&["kv", "lease", "revoke", &lease]);
    let run = finish(held);
    assert_eq!(run.exit, 9, "{run:?}");
    assert!(run.stderr.contains("the lock was lost"), "{run:?}");
}
