//! Servers in trouble, as clients see them.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::services::audit::verdicts;
use crate::services::cluster::{Cluster, Local, finish, is_zombie};

#[test]
fn trouble_is_told_apart_by_exit_codes() {
    let mut cluster = Cluster::start("servers", 1);
    let status = cluster.json(&["status"]);
    assert_eq!(
        (&status["state"], &status["fault_budget_remaining"]),
        (&"correct".into(), &1.into())
    );
    assert_eq!(status["servers"].as_array().map(Vec::len), Some(4));
    assert!(status["commit_index"].as_u64() > Some(0));
    assert!(cluster.done(&["status"]).contains("as told by 3 of 3 others"));

    cluster.kill(3);
    let run = cluster.run(&["status", "--output", "json"]);
    assert_eq!(run.exit, 7, "{run:?}");
    let status: serde_json::Value = serde_json::from_str(&run.stdout).expect("JSON");
    assert_eq!((&status["state"], &status["answered"]), (&"degraded".into(), &3.into()));
    assert_eq!(status["fault_budget_remaining"], 0);
    cluster.done(&["kv", "put", "one", "down"]);
    assert_eq!(cluster.done(&["kv", "get", "one"]), "down\n");

    cluster.kill(2);
    let begun = Instant::now();
    let late = ["kv", "put", "two", "down", "--timeout", "2s"];
    cluster.fails(&late, 5, "2 of 4 servers answer, 3 must agree");
    assert!(cluster.run(&late).stderr.contains("nothing was changed"));
    assert!(begun.elapsed() < Duration::from_secs(10), "the timeout holds");
    cluster.fails(&["kv", "get", "one", "--timeout", "1s"], 5, "no quorum");
    let run = cluster.run(&["status", "--timeout", "3s"]);
    assert_eq!(run.exit, 7, "{run:?}");
    assert!(run.stdout.contains("2 servers in trouble, 1 tolerated"), "{run:?}");

    cluster.kill(0);
    cluster.kill(1);
    cluster.fails(&["status", "--timeout", "1s"], 5, "none of 4 servers answers");
    cluster.fails(
        &["status", "--timeout", "1s"],
        5,
        "restored? Then it is another one: `ravelin trust list`",
    );
    cluster.fails(&["kv", "get", "one", "--timeout", "1s"], 5, "0 of 4 servers answer");
}

#[test]
fn an_identity_of_an_earlier_release_gets_a_next_key_at_the_start() {
    let mut cluster = Cluster::start("upkeep", 1);
    cluster.kill(2);
    let file = cluster.path("s2/identity.toml");
    let text = fs::read_to_string(&file).expect("there");
    let next = text.lines().find(|line| line.starts_with("next_block_seed")).expect("there");
    let old = text.replace(&format!("{next}\n"), "");
    fs::write(&file, &old).expect("written");
    let draft = cluster.path("s2/.identity.toml.0123abcd.draft");
    fs::write(&draft, "of a crash").expect("written");
    cluster.restart(2);
    let until = Instant::now() + Duration::from_secs(30);
    let written = loop {
        let text = fs::read_to_string(&file).expect("there at any time");
        if text.lines().any(|line| line.starts_with("next_block_seed")) {
            break text;
        }
        assert!(Instant::now() < until, "it gets none");
    };
    let lines: Vec<&str> = written.lines().filter(|line| !old.contains(line)).collect();
    assert!(matches!(&lines[..], [line] if line.starts_with("next_block_seed")), "one is added");
    assert!(!draft.exists());
    cluster.done(&["kv", "put", "a", "1"]);
}

#[test]
fn liars_are_outvoted_and_proven_and_beyond_f_the_servers_halt() {
    let cluster = Local::up("liars");
    cluster.done(&["attack", "run", "liar", "--on", "2"]);
    let until = Instant::now() + Duration::from_secs(60);
    let client = ["--config", "D/client.toml", "--evidence", "proof"];
    while !cluster.path("proof").exists() {
        assert!(Instant::now() < until, "the liar is never proven");
        cluster.done(&[&client[..], &["kv", "put", "a", "right"]].concat());
        assert_eq!(cluster.done(&[&client[..], &["kv", "get", "a"]].concat()), "right\n");
    }
    let proof = fs::read_to_string(cluster.path("proof")).expect("text");
    let line: serde_json::Value =
        serde_json::from_str(proof.lines().next().expect("a line")).expect("JSON");
    assert_eq!((&line["server"], &line["kind"]), (&2.into(), &"wrong_statement".into()));
    let digits = line["evidence"].as_str().expect("digits");
    assert!(digits.len() > 100 && digits.chars().all(|digit| digit.is_ascii_hexdigit()));
    let run = cluster.run(&[&client[..], &["status"]].concat());
    assert_eq!(run.exit, 7, "{run:?}");
    assert!(run.stdout.contains("hold proof: wrong_statement"), "{run:?}");

    let run = cluster.run(&["attack", "run", "liar", "--on", "1"]);
    let warning = "2 servers in trouble, 1 tolerated: expect the cluster to stop";
    assert!(run.exit == 0 && run.stderr.contains(warning), "{run:?}");
    let watch =
        cluster.command(&[&client[..], &["kv", "watch"]].concat()).spawn().expect("started");
    let put = [&client[..], &["kv", "put", "b", "1", "--timeout", "5s"]].concat();
    while cluster.run(&put).exit != 8 {
        assert!(Instant::now() < until, "the servers do not halt");
    }
    assert_eq!(cluster.run(&[&client[..], &["status"]].concat()).exit, 8);
    assert_eq!(finish(watch).exit, 8, "a watch notices too");
    let reset = "ravelin local reset --dir";
    let run = cluster.run(&["doctor"]);
    assert!(run.stdout.matches(reset).count() >= 3, "{run:?}");
    let run = cluster.run(&["local", "up"]);
    assert!(run.exit == 1 && run.stderr.contains(reset), "{run:?}");
}

/// Ends its first thread at once, and another one a second later.
const ENDS_IN_A_SECOND: &str = "import ctypes, threading, time; \
    threading.Thread(target=time.sleep, args=(1,)).start(); ctypes.CDLL(None).pthread_exit(None)";

#[test]
fn a_server_that_lost_its_disk_comes_back_by_itself() {
    let cluster = Local::up("wiped");
    let client = ["--config", "D/client.toml"];
    cluster.done(&[&client[..], &["kv", "put", "a", "1"]].concat());
    let identity = fs::read(cluster.path("D/identities/1.toml")).expect("readable");
    let pid = cluster.json(&["local", "status"])["servers"][1]["pid"].to_string();
    let killed = Command::new("kill").args(["-9", &pid]).status().expect("kill");
    assert!(killed.success());
    fs::remove_dir_all(cluster.path("D/servers/1/data/log")).expect("removed");
    fs::remove_dir_all(cluster.path("D/servers/1/data/state")).expect("removed");
    cluster.done(&[&client[..], &["kv", "put", "b", "2"]].concat());
    // As if it were still ending, and held what it held: it is waited for, and not taken for one that runs.
    let ending = Command::new("python3").args(["-c", ENDS_IN_A_SECOND]).spawn().expect("started");
    fs::write(cluster.path("D/servers/1/pid"), ending.id().to_string()).expect("written");
    while !is_zombie(&ending.id().to_string()) {
        std::thread::sleep(Duration::from_millis(5));
    }
    cluster.done(&["local", "up"]);
    finish(ending);
    let until = Instant::now() + Duration::from_secs(30);
    let is_changed = || fs::read(cluster.path("D/identities/1.toml")).expect("read") != identity;
    while !is_changed() || cluster.run(&[&client[..], &["status"]].concat()).exit != 0 {
        assert!(Instant::now() < until, "it does not come back");
    }
    for (key, value) in [("a", "1\n"), ("b", "2\n")] {
        let get = [&client[..], &["kv", "get", key]].concat();
        assert_eq!(cluster.run(&get).stdout, value);
    }
    // Clients that know the first plan only follow, and so do servers that restart.
    cluster.done(&["local", "down"]);
    cluster.done(&["local", "up"]);
    assert_eq!(cluster.run(&[&client[..], &["status"]].concat()).exit, 0);
}

#[test]
fn a_server_with_a_spent_key_stays_out_and_the_others_serve() {
    let cluster = Local::up("spent");
    let before = cluster.json(&["local", "status"]);
    cluster.fails(&["attack", "stop", "--on", "0"], 9, "server 0 is in nobody's hands");
    assert_eq!(cluster.json(&["local", "status"]), before, "it goes on as the same process");
    let list = cluster.json(&["attack", "list"]);
    let known = list["intruders"].as_array().expect("a list");
    let spends = |name: &str| known.iter().any(|it| it["name"] == name && it["spends_key"] == true);
    assert!(spends("equivocator") && spends("liar") && !spends("mute"));
    let run = cluster.run(&["attack", "run", "equivocator", "--on", "2"]);
    assert!(run.exit == 0 && run.stderr.contains("spends the key of server 2"), "{run:?}");
    for way in [
        "auth rekey 2 --block KEY --key /",
        "/D/keys/administrator.key`",
        "/servers/2/node.toml` prints",
    ] {
        assert!(run.stderr.contains(way), "{way}: {run:?}");
    }
    assert!(!run.stderr.contains("in trouble"), "{run:?}");
    let until = Instant::now() + Duration::from_secs(60);
    let client = ["--config", "D/client.toml"];
    while !cluster.run(&[&client[..], &["status"]].concat()).stdout.contains("equivocation") {
        assert!(Instant::now() < until, "the equivocator is never proven");
    }
    cluster.done(&["local", "down"]);
    for _ in 0..2 {
        let begun = Instant::now();
        let run = cluster.run(&["local", "up", "--output", "json"]);
        assert_eq!(run.exit, 7, "{run:?}");
        assert!(run.stderr.contains("{\"note\":\"try: ravelin --config"), "{run:?}");
        run.says_json();
        assert!(run.stderr.contains("server 2 does not serve: its key is spent"), "{run:?}");
        assert!(run.stderr.contains("local reset --dir"), "{run:?}");
        assert!(begun.elapsed() < Duration::from_secs(25), "nothing else is waited for");
        cluster.done(&[&client[..], &["kv", "put", "a", "1"]].concat());
    }
    let run = cluster.run(&["local", "status", "--output", "json"]);
    assert!(run.exit == 0 && run.stderr.contains("key is spent"), "{run:?}");
    let status: serde_json::Value = serde_json::from_str(&run.stdout).expect("JSON");
    assert_eq!(status["servers"][2]["key_spent"], true);
    assert!(status["servers"][2]["evidence"]["equivocation"].as_u64() > Some(0), "{status}");
    cluster.done(&["attack", "run", "mute", "--on", "2"]);
    let run = cluster.run(&["doctor"]);
    assert!(!run.stdout.contains("gives it back"), "it gives back nothing: {run:?}");
    let run = cluster.run(&["attack", "stop", "--on", "2"]);
    assert!(run.exit == 7 && run.stderr.contains("key is spent"), "{run:?}");
    let take = ["attack", "take", "--on", "2", "--exec", "sh", "--", "-c"];
    let exit = "test -r $RAVELIN_TAKEN_IDENTITY && test -d $RAVELIN_TAKEN_DATA && exit 9";
    let run = cluster.run(&[&take[..], &[exit]].concat());
    assert!(run.exit == 9 && run.stderr.contains("the program ended with 9"), "{run:?}");
    assert_eq!(cluster.run(&["attack", "stop", "--on", "2"]).exit, 7);
    let run = cluster.run(&["doctor"]);
    assert!(run.exit == 7 && run.stdout.contains("its key is spent"), "{run:?}");
    assert!(run.stdout.contains("local reset --dir "), "{run:?}");
    gets_another_key(&cluster, &client, until);
    std::thread::sleep(Duration::from_millis(500)); // monitors' snapshots are as old at most
    cluster.done(&["local", "up"]);
    let status = cluster.json(&["local", "status"]);
    assert_eq!(status["servers"][2]["state"], "correct", "{status}");
    cluster.done(&[&client[..], &["kv", "put", "a", "2"]].concat());
    proves_its_log_from_the_first_plan(&cluster, &client);
    let removed = cluster.json(&["local", "reset"]);
    assert!(removed["removed"].as_str().is_some_and(|dir| dir.ends_with('D')), "{removed}");
    assert!(!cluster.path("D").exists());
}

/// Administrators give server 2 another key, the next one that it has ready.
fn gets_another_key(cluster: &Local, client: &[&str], until: Instant) {
    let node = ["--config", "D/servers/2/node.toml", "node", "check"];
    let run = cluster.run(&node);
    let next = run.stdout.split("next ").nth(1).and_then(|rest| rest.split_whitespace().next());
    let next = next.unwrap_or_else(|| panic!("no next key: {run:?}"));
    let rekey = ["auth", "rekey", "2", "--block", next, "--key", "D/keys/administrator.key"];
    cluster.done(&[client, &rekey].concat());
    while cluster.run(&[client, &["status"]].concat()).exit != 0 {
        assert!(Instant::now() < until, "it does not come back");
    }
}

/// What a quorum of a later epoch signed rests on the chain of plans.
fn proves_its_log_from_the_first_plan(cluster: &Cluster, client: &[&str]) {
    let export = ["audit", "export", "--key", "D/keys/administrator.key", "--out", "log.jsonl"];
    cluster.done(&[client, &export[..]].concat());
    let fingerprint = cluster.done(&["cluster", "fingerprint", "D/plan.toml"]).trim().to_owned();
    assert_eq!(verdicts(cluster, "log.jsonl", &fingerprint), [Some(0); 2]);
    let text = fs::read_to_string(cluster.path("log.jsonl")).expect("written");
    let (header, lists) = text.split_once('\n').expect("lines");
    let spoil: [fn(&mut Vec<serde_json::Value>); 4] = [
        |plans| drop(plans.pop()),
        |plans| drop(plans.remove(0)),
        |plans| plans.swap(0, 1),
        // Another name for the cluster, which nobody signed.
        |plans| {
            let last = plans[1].as_str().expect("digits").to_owned();
            plans[1] = last.replacen("6c6f63616c", "6c6f63616d", 1).into();
        },
    ];
    for (case, spoil) in spoil.into_iter().enumerate() {
        let mut header: serde_json::Value = serde_json::from_str(header).expect("JSON");
        let plans = header["plans"].as_array_mut().expect("a list");
        assert!(plans.len() >= 2, "the offender has another key");
        spoil(plans);
        let text = format!("{header}\n{lists}");
        fs::write(cluster.path("tampered.jsonl"), text).expect("written");
        assert_eq!(verdicts(cluster, "tampered.jsonl", &fingerprint), [Some(6); 2], "case {case}");
    }
}
