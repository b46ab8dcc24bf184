//! Servers in trouble, as clients see them.

use std::time::{Duration, Instant};

use crate::cluster::Cluster;

#[test]
fn trouble_is_told_apart_by_exit_codes() {
    let mut cluster = Cluster::start("servers", 1);
    let status = cluster.json(&["status"]);
    assert_eq!((&status["state"], &status["fault_budget_remaining"]), (&"correct".into(), &1.into()));
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
    assert!(run.stdout.contains("-1 of 1 intrusions"), "{run:?}");

    cluster.kill(0);
    cluster.kill(1);
    cluster.fails(&["status", "--timeout", "1s"], 5, "none of 4 servers answers");
    cluster.fails(&["kv", "get", "one", "--timeout", "1s"], 5, "0 of 4 servers answer");
}
