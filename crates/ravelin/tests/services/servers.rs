//! Servers in trouble, as clients see them.

use std::fs;
use std::time::{Duration, Instant};

use crate::cluster::{Cluster, Local};

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

    cluster.done(&["attack", "run", "liar", "--on", "1"]);
    let put = [&client[..], &["kv", "put", "b", "1", "--timeout", "5s"]].concat();
    while cluster.run(&put).exit != 8 {
        assert!(Instant::now() < until, "the servers do not halt");
    }
    assert_eq!(cluster.run(&[&client[..], &["status"]].concat()).exit, 8);
}
