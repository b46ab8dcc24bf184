//! Disks that lie: servers come back by themselves, with another key, and nobody hears a wrong answer.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::services::cluster::{Local, free_listeners, tamper};

/// All files below `dir`.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).expect("listed") {
        let path = entry.expect("listed").path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

/// Flips one byte of a file, or one in every 4 KiB.
fn rot(file: &Path, is_everywhere: bool) {
    let mut bytes = fs::read(file).expect("there");
    let places = (1000..bytes.len()).step_by(4096);
    for place in places.take(if is_everywhere { usize::MAX } else { 1 }) {
        bytes[place] ^= 0x04;
    }
    fs::write(file, bytes).expect("written");
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp");
    assert!(copied.success());
}

/// The value of `key` in an identity file.
fn seed(cluster: &Local, id: usize, key: &str) -> String {
    let text = fs::read_to_string(cluster.path(&format!("D/identities/{id}.toml"))).expect("read");
    text.lines().find(|line| line.starts_with(key)).expect("there").to_owned()
}

#[test]
fn each_server_survives_another_loss_of_its_disk() {
    let cluster = Local::up("disks");
    let data = |id: usize| cluster.path(&format!("D/servers/{id}/data"));
    cluster.client(&["kv", "put", "a", "old"]);
    let saved = cluster.path("saved");
    cluster.kill(3);
    copy(&data(3), &saved);
    cluster.done(&["local", "up"]);
    cluster.client(&["kv", "put", "a", "0"]);
    let losses: [(&str, &dyn Fn(), &[&str]); 4] = [
        (
            "log-damaged",
            &|| rot(&data(0).join("log/0000000000000001.segment"), false),
            &["log", "state"],
        ),
        (
            "-damaged",
            &|| files(&data(1)).iter().for_each(|file| rot(file, true)),
            &["log", "state"],
        ),
        (
            "state-missing",
            &|| fs::remove_dir_all(data(2).join("state")).expect("removed"),
            &["log"],
        ),
        (
            "",
            &|| {
                fs::remove_dir_all(data(3)).expect("removed");
                copy(&saved, &data(3));
            },
            &[],
        ),
    ];
    for (id, (word, lose, moved)) in losses.iter().enumerate() {
        let (now, next) = (format!("{id}"), format!("{}", id + 1));
        let old = seed(&cluster, id, "block_seed");
        cluster.kill(id);
        lose();
        cluster.client(&["kv", "put", "b", "without it"]);
        let up = cluster.run(&["local", "up"]);
        assert!([0, 7].contains(&up.exit), "{up:?}");
        cluster.wait_until_all_are_correct();
        assert_ne!(seed(&cluster, id, "block_seed"), old, "server {id} has another key");
        assert_eq!(cluster.client(&["kv", "get", "a"]), format!("{now}\n"));
        cluster.client(&["kv", "cas", "a", &now, &next]);
        let aside = cluster.aside(id);
        match moved {
            [] => assert!(aside.is_empty(), "{aside:?}"),
            moved => {
                let [dir] = &aside[..] else { panic!("{id}: {aside:?}") };
                assert!(dir.contains(word), "{dir}");
                for part in *moved {
                    assert!(data(id).join("quarantine").join(dir).join(part).exists());
                }
                let log = cluster.log(id);
                assert!(log.contains("takes one of the f faults") && log.contains(dir), "{log}");
            }
        }
    }
    assert_eq!(cluster.client(&["kv", "get", "b"]), "without it\n");
    let run = cluster.run(&["doctor"]);
    assert!(run.stdout.contains("quarantine"), "{run:?}");
}

#[test]
fn exchanged_directories_are_refused_by_both() {
    let cluster = Local::up("swapped");
    cluster.client(&["kv", "put", "a", "1"]);
    cluster.done(&["local", "down"]);
    let exchange = || {
        let data = |id: usize| cluster.path(&format!("D/servers/{id}/data"));
        fs::rename(data(0), cluster.path("held")).expect("moved");
        fs::rename(data(1), data(0)).expect("moved");
        fs::rename(cluster.path("held"), data(1)).expect("moved");
    };
    exchange();
    for id in [0, 1] {
        let node = format!("D/servers/{id}/node.toml");
        let run = cluster.run(&["--config", &node, "node", "start"]);
        assert_eq!(run.exit, 9, "{run:?}");
        assert!(run.stderr.contains("belongs to another replica"), "{run:?}");
        assert!(run.stderr.contains("exchanged"), "{run:?}");
        let run = cluster.run(&["--config", &node, "node", "check"]);
        assert!(run.exit == 9 && run.stdout.contains("REFUSED  owner of the data"), "{run:?}");
        assert!(cluster.aside(id).is_empty());
    }
    exchange();
    let keys = [0, 1].map(|id| seed(&cluster, id, "block_seed"));
    cluster.done(&["local", "up"]);
    cluster.wait_until_all_are_correct();
    assert_eq!([0, 1].map(|id| seed(&cluster, id, "block_seed")), keys, "nothing was given up");
    assert_eq!(cluster.client(&["kv", "get", "a"]), "1\n");
}

#[test]
fn who_differs_from_the_others_gives_up_its_state_and_beyond_f_nobody_does() {
    let cluster = Local::up("diverged");
    cluster.client(&["kv", "put", "a", "innocent"]);
    cluster.done(&["local", "down"]);
    let state = |id: usize| cluster.path(&format!("D/servers/{id}/data/state"));
    tamper(&state(1), b"innocent", b"tampered");
    cluster.done(&["local", "up"]);
    // While one other is away, too few go on to say who is wrong.
    cluster.kill(3);
    let cas = ["--config", "D/client.toml", "kv", "cas", "a", "innocent", "changed"];
    assert_eq!(cluster.run(&[&cas[..], &["--timeout", "3s"]].concat()).exit, 5);
    let until = Instant::now() + Duration::from_secs(120);
    while !cluster.log(1).contains("more than f may lie") {
        assert!(Instant::now() < until, "it does not ask: {}", cluster.log(1));
        std::thread::sleep(Duration::from_millis(100));
    }
    std::thread::sleep(Duration::from_secs(3));
    assert!(cluster.aside(1).is_empty(), "{}", cluster.log(1));
    cluster.run(&["local", "up"]);
    while cluster.aside(1).is_empty() {
        assert!(Instant::now() < until, "it is not repaired: {}", cluster.log(1));
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(cluster.aside(1)[0].ends_with("-diverged"), "{:?}", cluster.aside(1));
    // It signed what is wrong, so others hold proof: whoever is in an intruder's hands does the same.
    let advice = "ravelin auth rekey 1 --block ";
    let told = |log: &str| log.split(advice).nth(1)?.get(..64).map(str::to_owned);
    let key = loop {
        if let Some(key) = told(&cluster.log(1)) {
            break key;
        }
        assert!(Instant::now() < until, "it does not say what to do: {}", cluster.log(1));
        std::thread::sleep(Duration::from_millis(100));
    };
    let rekey = ["auth", "rekey", "1", "--block", &key, "--key", "D/keys/administrator.key"];
    cluster.client(&rekey);
    while cluster.run(&["--config", "D/client.toml", "status"]).exit != 0 {
        assert!(Instant::now() < until, "it does not come back: {}", cluster.log(1));
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(cluster.log(1).contains("contradict this server's state"), "{}", cluster.log(1));
    // Whether the swap was in time for an order is open; the tampered value is nobody's.
    assert!(["innocent\n", "changed\n"].contains(&&*cluster.client(&["kv", "get", "a"])));
    cluster.client(&["kv", "put", "a", "innocent"]);
    // Two of four: nobody knows any more who is right.
    cluster.done(&["local", "down"]);
    for id in [2, 3] {
        tamper(&state(id), b"innocent", b"tampered");
    }
    cluster.done(&["local", "up"]);
    let put = ["--config", "D/client.toml", "kv", "cas", "a", "innocent", "x", "--timeout", "5s"];
    while cluster.run(&put).exit != 8 {
        assert!(Instant::now() < until, "the servers do not halt");
    }
    cluster.run(&["local", "down"]);
    cluster.run(&["local", "up"]);
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(cluster.run(&["--config", "D/client.toml", "status"]).exit, 8);
    for id in [0, 2, 3] {
        assert!(cluster.aside(id).is_empty(), "evidence stays where it is");
    }
    assert_eq!(cluster.aside(1).len(), 1);
    let halted = |id: &usize| cluster.log(*id).contains("FailSafe");
    assert!([0, 2, 3].iter().any(halted), "{}", cluster.log(0));
}

/// Two processes with one server's key and data: each of the others hears both in turn.
#[test]
fn one_key_run_twice_is_named_with_both_addresses_and_the_service_goes_on() {
    let cluster = Local::up("twice");
    cluster.client(&["kv", "put", "a", "1"]);
    cluster.kill(3);
    let mut copy = Command::new("cp");
    copy.args(["-r", "D", "copy"]).current_dir(cluster.path(""));
    assert!(copy.status().expect("cp").success());
    cluster.done(&["local", "up"]);
    let mut twin = cluster.command(&["--config", "copy/servers/3/node.toml", "node", "start"]);
    let free = free_listeners(2).into_iter().map(|it| it.local_addr().expect("bound").to_string());
    for (place, address) in ["PEER", "CLIENT"].into_iter().zip(free) {
        twin.env(format!("RAVELIN_{place}_LISTEN"), address);
    }
    let log = File::create(cluster.path("twin.log")).expect("made");
    twin.env("RAVELIN_ADMIN_LISTEN", "off")
        .env("RAVELIN_DATA_DIR", cluster.path("copy/servers/3/data"));
    let mut twin = twin.stdout(Stdio::null()).stderr(log).spawn().expect("started");
    let until = Instant::now() + Duration::from_secs(60);
    let mut writes = 0;
    let advice = loop {
        let value = writes.to_string();
        cluster.client(&["kv", "put", "a", &value]);
        assert_eq!(cluster.client(&["kv", "get", "a"]), format!("{value}\n"));
        writes += 1;
        let run = cluster.run(&["doctor"]);
        if run.stdout.contains("two processes hold the key of server 3") {
            break run.stdout;
        }
        assert!(twin.try_wait().expect("ours").is_none(), "the copy does not run");
        assert!(Instant::now() < until, "nobody notices: {run:?}\n{}", cluster.log(0));
    };
    twin.kill().expect("ours");
    twin.wait().expect("ours");
    assert!(advice.contains("auth rekey") && advice.contains("f faults"), "{advice}");
    let status = ["--config", "D/client.toml", "status", "--output", "json"];
    let status: serde_json::Value =
        serde_json::from_str(&cluster.run(&status).stdout).expect("JSON");
    let places = status["servers"][3]["shared_key_at"].as_array().expect("a list").clone();
    assert!(places.len() >= 2, "{status}");
    for place in places {
        assert!(place.as_str().is_some_and(|place| place.starts_with("127.0.0.1:")), "{place}");
    }
    assert!(cluster.log(0).contains("two processes hold the key of server 3"));
}
