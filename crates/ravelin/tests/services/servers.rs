//! Servers in trouble, as clients see them.

use std::fs;
use std::time::{Duration, Instant};

use crate::cluster::{Cluster, Local, finish};

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
    cluster.fails(&["kv", "get", "one", "--timeout", "1s"], 5, "0 of 4 servers answer");
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
    let removed = cluster.json(&["local", "reset"]);
    assert!(removed["removed"].as_str().is_some_and(|dir| dir.ends_with('D')), "{removed}");
    assert!(!cluster.path("D").exists());
}
