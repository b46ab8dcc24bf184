//! Beyond `f`: every server halts, administrators release them, and nothing that was acknowledged is
//! lost.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use crate::services::cluster::Local;

const CLIENT: [&str; 2] = ["--config", "D/client.toml"];
const OFFENDERS: [&str; 2] = ["1", "2"];

/// Keys whose writes were acknowledged before the servers halted, which two liars brought about.
fn halt(cluster: &Local) -> Vec<String> {
    for server in OFFENDERS {
        cluster.done(&["attack", "run", "liar", "--on", server]);
    }
    let mut acknowledged = Vec::new();
    let until = Instant::now() + Duration::from_secs(60);
    for count in 0.. {
        assert!(Instant::now() < until, "the servers do not halt");
        let key = format!("key{count}");
        let put = ["--evidence", "proof", "kv", "put", &key, &key, "--timeout", "5s"];
        match cluster.run(&[&CLIENT[..], &put[..]].concat()).exit {
            0 => acknowledged.push(key),
            8 => break,
            _ => {}
        }
    }
    acknowledged
}

/// Everybody whom any server can accuse: liars beyond `f` frame others too.
fn accused(cluster: &Local) -> BTreeSet<String> {
    let mut accused = BTreeSet::new();
    for server in 0..4 {
        let (node, out) = (format!("D/servers/{server}/node.toml"), format!("proofs{server}"));
        let told = cluster.json(&["node", "evidence", "--config", &node, "--out", &out]);
        let proofs = told["proofs"].as_array().expect("a list");
        accused.extend(proofs.iter().map(|proof| proof["server"].to_string()));
        let lines = fs::read_to_string(cluster.path(&out)).expect("text").lines().count();
        assert_eq!(lines, proofs.len());
        assert!(proofs.len() >= 2 || server == 1 || server == 2, "{told}");
    }
    accused
}

fn release(cluster: &Local, server: usize, file: &str, arguments: &[&str]) -> i32 {
    let node = format!("D/servers/{server}/node.toml");
    let arguments = [&["node", "release", "--config", &node], arguments, &[file]].concat();
    let run = cluster.run(&arguments);
    assert!(run.exit == 0 || run.stderr.contains("hint: "), "{run:?}");
    run.exit
}

fn approve(cluster: &Local, file: &str) {
    let key = ["--key", "D/keys/administrator.key", "--yes"];
    cluster.done(&[&["node", "release", "--approve", file], &key[..]].concat());
}

/// Whoever does not say that the order is known is shown it, with or without a key, and signs nothing.
fn show(cluster: &Local, file: &str) {
    let text = fs::read_to_string(cluster.path(file)).expect("drafted");
    let entry = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(&format!("{name} = "))).expect(name);
        line.split(" = ").nth(1).expect("a value").trim_matches('"').to_owned()
    };
    for key in [&[][..], &["--key", "D/keys/administrator.key"]] {
        let command = [&["node", "release", "--approve", file], key].concat();
        let shown = cluster.json(&command);
        assert_eq!((&shown["step"], &shown["signatures"]), (&"shown".into(), &0.into()), "{shown}");
        assert_eq!(shown["cluster"], entry("cluster"), "{shown}");
        assert_eq!(shown["issued"], entry("issued"), "{shown}");
        for number in ["epoch", "server", "serial"] {
            assert_eq!(shown[number].to_string(), entry(number), "{shown}");
        }
        let repaired = entry("repaired").replace(' ', "");
        assert_eq!(shown["repaired"].to_string(), repaired, "{shown}");
        let run = cluster.run(&command);
        assert!(
            run.stderr.contains("nothing is signed") && run.stdout.contains("shown"),
            "{run:?}"
        );
    }
    assert_eq!(fs::read_to_string(cluster.path(file)).expect("there"), text, "it is as it was");
}

/// Every release but the right one.
fn refuse(cluster: &Local) {
    let text = fs::read_to_string(cluster.path("r0")).expect("drafted");
    assert!(text.contains("more than are tolerated"), "{text}");
    let repaired = text.lines().find(|line| line.starts_with("repaired")).expect("there");
    assert_eq!(release(cluster, 0, "r0", &["--draft"]), 9, "nothing is overwritten");
    assert_eq!(release(cluster, 0, "r0", &["--signed"]), 3, "nobody signed");
    cluster.done(&["auth", "keygen", "--out", "stranger"]);
    fs::copy(cluster.path("r0"), cluster.path("strange")).expect("copied");
    cluster.done(&["node", "release", "--approve", "strange", "--key", "stranger", "--yes"]);
    assert_eq!(release(cluster, 0, "strange", &["--signed"]), 3, "a stranger signed");
    let halt = text.lines().find(|line| line.starts_with("halt")).expect("there");
    for (name, old, new, exit) in [
        ("other-halt", halt, &format!("halt = \"{}\"", "0".repeat(64))[..], 9),
        ("other-serial", "serial = 1", "serial = 2", 9),
        ("other-server", "server = 0", "server = 3", 2),
        ("nobody", repaired, "repaired = [1, 2, 3, 4]", 2),
        ("too-few", repaired, "repaired = []", 8),
    ] {
        fs::write(cluster.path(name), text.replace(old, new)).expect("written");
        approve(cluster, name);
        assert_eq!(release(cluster, 0, name, &["--signed"]), exit, "{name}");
        // What was changed after it was signed.
        let signed = fs::read_to_string(cluster.path(name)).expect("signed");
        let issued = signed.replace("issued = \"2", "issued = \"3");
        fs::write(cluster.path(name), issued).expect("written");
        let expected = if name == "other-server" { 2 } else { 6 };
        assert_eq!(release(cluster, 0, name, &["--signed"]), expected, "{name}");
    }
}

#[test]
fn halted_servers_are_released_and_nothing_acknowledged_is_lost() {
    let cluster = Local::up("release");
    let put = |key: &str| {
        cluster.done(&[&CLIENT[..], &["kv", "put", key, key, "--timeout", "20s"]].concat());
    };
    put("before");
    let mut acknowledged = halt(&cluster);
    acknowledged.push("before".to_owned());
    let run = cluster.run(&[&CLIENT[..], &["status"]].concat());
    assert!(run.exit == 8 && run.stdout.contains("`ravelin node evidence` shows"), "{run:?}");
    assert!(cluster.run(&["doctor"]).stdout.contains("ravelin node release --config"));
    for server in OFFENDERS {
        let run = cluster.run(&["attack", "stop", "--on", server]);
        assert!(run.exit == 0 || run.exit == 7, "{run:?}"); // 7 once proof is seen to be held
    }
    assert_eq!(release(&cluster, 0, "r0", &["--draft"]), 9, "it runs");
    cluster.done(&["local", "down"]);
    let log = fs::read_to_string(cluster.path("D/servers/0/server.log")).expect("a log");
    assert!(log.contains("halted: there is proof against servers"), "{log}");
    assert!(log.contains("`ravelin node release --help` says how"), "{log}");
    let accused = accused(&cluster);
    let named: Vec<String> = accused.iter().map(|id| format!("--repaired={id}")).collect();
    let mut draft: Vec<&str> = named.iter().map(String::as_str).collect();
    draft.push("--draft");
    for server in 0..4 {
        let file = format!("r{server}");
        let drafted = release(&cluster, server, &file, &draft);
        if drafted == 4 && server != 0 && server != 3 {
            continue; // whoever lied need not have noticed
        }
        assert_eq!(drafted, 0);
        if server == 0 {
            show(&cluster, &file);
            refuse(&cluster);
        }
        approve(&cluster, &file);
        assert_eq!(release(&cluster, server, &file, &["--signed"]), 0);
        assert_eq!(release(&cluster, server, &file, &["--signed"]), 4, "it is used up");
    }
    // Those who were repaired still count as proven, until they have other keys.
    assert_eq!(cluster.run(&["local", "up"]).exit, 1);
    put("after");
    assert_eq!(cluster.run(&[&CLIENT[..], &["status"]].concat()).exit, 7);
    for server in &accused {
        let check = ["--config", &format!("D/servers/{server}/node.toml"), "node", "check"];
        let run = cluster.run(&check);
        let next = run.stdout.split("next ").nth(1).and_then(|rest| rest.split_whitespace().next());
        let next = next.unwrap_or_else(|| panic!("no next key: {run:?}"));
        let rekey = ["auth", "rekey", server, "--block", next, "--key", "D/keys/administrator.key"];
        let rekey = [&CLIENT[..], &rekey[..], &["--timeout", "20s"]].concat();
        let until = Instant::now() + Duration::from_secs(60);
        while cluster.run(&rekey).exit != 0 {
            assert!(Instant::now() < until, "server {server} gets no other key");
        }
    }
    let until = Instant::now() + Duration::from_secs(60);
    while cluster.run(&[&CLIENT[..], &["status"]].concat()).exit != 0 {
        assert!(Instant::now() < until, "the cluster does not come back");
    }
    acknowledged.push("after".to_owned());
    for key in acknowledged {
        assert_eq!(cluster.done(&[&CLIENT[..], &["kv", "get", &key]].concat()), format!("{key}\n"));
    }
}
