//! Keys and values.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command};

use crate::services::cluster::{Cluster, finish};

#[test]
fn keys_and_values_are_kept_as_users_of_etcd_know_them() {
    let cluster = Cluster::start("kv", 1);
    writes_and_reads(&cluster);
    conditions(&cluster);
    bytes(&cluster);
    lists(&cluster);
    transactions(&cluster);
    stale_reads(&cluster);
    watches(&cluster);
}

fn writes_and_reads(cluster: &Cluster) {
    assert!(cluster.done(&["kv", "put", "a", "1"]).starts_with("created at "));
    assert!(cluster.done(&["kv", "put", "a", "2"]).starts_with("changed at "));
    assert_eq!(cluster.done(&["kv", "get", "a"]), "2\n");
    let entry = cluster.json(&["kv", "get", "a"]);
    assert_eq!((entry["key"].as_str(), entry["value"].as_str()), (Some("a"), Some("2")));
    assert_eq!(entry["version"], 2);
    assert!(entry["created"].as_u64() < entry["changed"].as_u64());
    cluster.fails(&["kv", "get", "nothing"], 4, "`nothing` has no value");
    assert!(cluster.done(&["kv", "delete", "a"]).starts_with("deleted at "));
    assert_eq!(cluster.done(&["kv", "delete", "a"]), "there was nothing to delete\n");
    cluster.fails(&["kv", "get", "a"], 4, "no value");
    assert_eq!(cluster.run(&["kv", "put", "n", "-1"]).exit, 0);
}

fn conditions(cluster: &Cluster) {
    cluster.done(&["kv", "put", "c", "old", "--if-absent"]);
    cluster.fails(&["kv", "put", "c", "x", "--if-absent"], 9, "`c` has the value `old`");
    cluster.fails(&["kv", "put", "c", "x", "--if-value", "new"], 9, "`old`");
    cluster.done(&["kv", "put", "c", "new", "--if-value", "old"]);
    cluster.done(&["kv", "cas", "c", "new", "newer"]);
    cluster.fails(&["kv", "cas", "c", "new", "x"], 9, "`newer`");
    cluster.fails(&["kv", "cas", "absent", "new", "x"], 9, "`absent` has no value");
    let changed = cluster.number(&["kv", "get", "c"], "changed").to_string();
    cluster.done(&["kv", "put", "c", "newest", "--if-changed-at", &changed]);
    cluster.fails(&["kv", "delete", "c", "--if-changed-at", &changed], 9, "`newest`");
    cluster.done(&["kv", "delete", "c", "--if-value", "newest"]);
}

fn bytes(cluster: &Cluster) {
    let random: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    fs::write(cluster.path("binary"), &random).expect("written");
    cluster.done(&["kv", "put", "binary", "--file", "binary"]);
    let output = cluster.command(&["kv", "get", "binary"]).output().expect("run");
    assert_eq!(output.stdout, [&random[..], b"\n"].concat());
    assert!(cluster.json(&["kv", "get", "binary"])["value_base64"].is_string());
    assert_eq!(cluster.run_with(&["kv", "put", "piped", "--file", "-"], b"x\ny").exit, 0);
    assert_eq!(cluster.done(&["kv", "get", "piped"]), "x\ny\n");
    cluster.done(&["kv", "put", "empty", ""]);
    assert_eq!(cluster.done(&["kv", "get", "empty"]), "\n");
}

fn lists(cluster: &Cluster) {
    let puts: Vec<String> = (0..100).map(|id| format!("put list/{id:03} v{id}")).collect();
    let run =
        cluster.run_with(&["kv", "txn", "-"], format!("then\n{}", puts.join("\n")).as_bytes());
    assert_eq!(run.exit, 0, "{run:?}");
    let all = cluster.done(&["kv", "list", "list/"]);
    assert_eq!(all.lines().count(), 100);
    assert_eq!(all.lines().nth(7), Some("list/007\tv7"));
    assert_eq!(cluster.done(&["kv", "list", "list/09", "--keys-only"]).lines().count(), 10);
    assert_eq!(cluster.done(&["kv", "list", "list/", "--limit", "3"]).lines().count(), 3);
    let listed = cluster.json(&["kv", "list", "list/00"]);
    assert_eq!(listed["entries"].as_array().map(Vec::len), Some(10));
    assert_eq!(listed["entries"][1]["key"], "list/001");
    assert_eq!(cluster.done(&["kv", "list", "no such"]), "");
    // More than a page has room for: three values of 400 KB.
    let large = vec![b'x'; 400_000];
    for key in ["large/1", "large/2", "large/3"] {
        assert_eq!(cluster.run_with(&["kv", "put", key, "--file", "-"], &large).exit, 0);
    }
    assert_eq!(cluster.done(&["kv", "list", "large/"]).lines().count(), 3);
}

fn transactions(cluster: &Cluster) {
    let text = "if\n absent t\nthen\n put t 1\n get t\nelse\n get t\n delete t\n";
    fs::write(cluster.path("txn"), text).expect("written");
    assert_eq!(cluster.done(&["kv", "txn", "txn"]), "then\n  put\tt\tcreated\n  get\tt\t1\n");
    let run = cluster.run(&["kv", "txn", "txn"]);
    assert_eq!((run.exit, run.stdout.as_str()), (9, "else\n  get\tt\t1\n  delete\tt\tdeleted\n"));
    assert!(run.stderr.contains("the conditions did not hold"));
    let result = cluster.json(&["kv", "txn", "txn"]);
    assert_eq!(result["held"], true);
    assert_eq!(result["position"], result["results"][1]["entry"]["changed"]);
    assert!(result["position"].is_u64(), "{result}");
    assert_eq!(result["results"][0]["existed"], false);
    assert_eq!(result["results"][1]["entry"]["value"], "1");
}

fn stale_reads(cluster: &Cluster) {
    cluster.done(&["kv", "put", "stale", "old wine"]);
    // The newest state that a quorum signed may be one commit behind.
    cluster.done(&["kv", "put", "other", "1"]);
    let run = cluster.run(&["kv", "get", "stale", "--stale-ok"]);
    assert_eq!((run.exit, run.stdout.as_str()), (0, "old wine\n"), "{run:?}");
    assert!(run.stderr.contains("signed by a quorum"), "{run:?}");
    let entry = cluster.json(&["kv", "get", "stale", "--stale-ok"]);
    assert!(entry["stale"]["age_ms"].as_u64().expect("an age") < 60_000);
    assert_eq!(cluster.run(&["kv", "get", "nothing", "--stale-ok"]).exit, 4);
}

fn watches(cluster: &Cluster) {
    let from = cluster.number(&["kv", "put", "w/0", "first"], "position").to_string();
    let past = cluster.command(&["kv", "watch", "w/", "--from", &from, "--output", "json"]);
    let mut past = watch(past);
    let now = watch(cluster.command(&["kv", "watch", "w/"]));
    // It says on stderr from where it watches, once it does.
    let mut now = now;
    let mut said = String::new();
    BufReader::new(now.stderr.take().expect("piped")).read_line(&mut said).expect("read");
    assert!(said.contains("watching from position"), "{said}");
    cluster.done(&["kv", "put", "w/1", "second line\n"]);
    cluster.done(&["kv", "put", "x", "elsewhere"]);
    cluster.done(&["kv", "delete", "w/0"]);
    let mut lines = BufReader::new(past.stdout.take().expect("piped")).lines();
    let mut next = || {
        let line = lines.next().expect("a change").expect("read");
        serde_json::from_str::<serde_json::Value>(&line).expect("JSON")
    };
    let (first, second, third) = (next(), next(), next());
    assert_eq!((&first["type"], &first["value"]), (&"put".into(), &"first".into()));
    assert_eq!((&second["key"], &second["value"]), (&"w/1".into(), &"second line\n".into()));
    assert_eq!((&third["type"], &third["key"]), (&"delete".into(), &"w/0".into()));
    assert!(first["position"].as_u64() < second["position"].as_u64());
    let mut lines = BufReader::new(now.stdout.take().expect("piped")).lines();
    assert_eq!(lines.next().expect("a change").expect("read"), "put\tw/1\tsecond line\\n");
    assert_eq!(lines.next().expect("a change").expect("read"), "delete\tw/0");
    for child in [past, now] {
        let pid = child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().expect("run").success());
        assert_eq!(finish(child).exit, 130);
    }
}

fn watch(mut command: Command) -> Child {
    command.spawn().expect("started")
}
