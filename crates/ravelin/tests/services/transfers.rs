//! Entries out of a cluster and into one.

use std::fs;

use crate::cluster::Cluster;

#[test]
fn entries_leave_as_of_one_moment_and_come_back_once() {
    let cluster = Cluster::start("transfers", 1);
    round_trip(&cluster);
    conflicts(&cluster);
    of_etcd(&cluster);
    refused(&cluster);
}

fn round_trip(cluster: &Cluster) {
    fs::write(cluster.path("binary"), (0..=255).cycle().take(300_000).collect::<Vec<u8>>())
        .expect("written");
    for key in ["x/1", "x/2", "x/3", "x/4"] {
        cluster.done(&["kv", "put", key, "--file", "binary"]);
    }
    cluster.done(&["kv", "put", "x/empty", ""]);
    let lease = cluster.number(&["kv", "lease", "grant", "60s"], "lease").to_string();
    cluster.done(&["kv", "put", "x/leased", "1", "--lease", &lease]);
    let export = ["kv", "export", "--prefix", "x/", "--out", "x.jsonl"];
    let exported = cluster.json(&export);
    assert_eq!((&exported["entries"], &exported["left_out"]), (&5.into(), &1.into()));
    assert!(exported["position"].is_u64(), "nobody else changed anything");
    cluster.fails(&export, 9, "it exists already");
    for key in ["x/1", "x/2", "x/empty"] {
        cluster.done(&["kv", "delete", key]);
    }
    let version = cluster.number(&["kv", "get", "x/3"], "version");
    let counts = |arguments: &[&str]| {
        let result = cluster.json(&[&["kv", "import", "x.jsonl"][..], arguments].concat());
        ["created", "changed", "unchanged", "kept"].map(|field| result[field].as_u64())
    };
    let [some, none] = [3, 0].map(Some);
    assert_eq!(counts(&["--dry-run"]), [some, none, Some(2), none]);
    cluster.fails(&["kv", "get", "x/1"], 4, "no value");
    assert_eq!(counts(&[]), [some, none, Some(2), none]);
    assert_eq!(counts(&["--overwrite"]), [none, none, Some(5), none], "once is enough");
    assert_eq!(cluster.number(&["kv", "get", "x/3"], "version"), version);
    let output = cluster.command(&["kv", "get", "x/1"]).output().expect("run");
    assert_eq!(output.stdout.len(), 300_001);
    assert_eq!(cluster.done(&["kv", "get", "x/empty"]), "\n");
}

fn conflicts(cluster: &Cluster) {
    cluster.done(&["kv", "put", "x/empty", "not any more"]);
    let import = ["kv", "import", "x.jsonl"];
    let run = cluster.run(&import);
    assert_eq!(run.exit, 9, "{run:?}");
    assert!(run.stderr.contains("1 keys have another value, which was kept: `x/empty`"), "{run:?}");
    assert_eq!(cluster.run(&[&import[..], &["--if-absent"]].concat()).exit, 0);
    assert_eq!(cluster.done(&["kv", "get", "x/empty"]), "not any more\n");
    cluster.done(&[&import[..], &["--overwrite"]].concat());
    assert_eq!(cluster.done(&["kv", "get", "x/empty"]), "\n");
}

fn of_etcd(cluster: &Cluster) {
    // Many with values that leave no room for all replies in one envelope.
    let text = |value: &str| {
        let entry = |id: u32| format!(r#"{{"key":"{}","value":"{value}"}}"#, four(id));
        let entries: Vec<String> = (0..600).map(entry).collect();
        format!(r#"{{"header":{{}},"kvs":[{}],"count":600}}"#, entries.join(","))
    };
    let import = ["kv", "import", "-", "--from", "etcd-json", "--output", "json"];
    for (value, created) in [("QUFB".repeat(5000), 600), ("QUFB".repeat(5000), 0)] {
        let run = cluster.run_with(&import, text(&value).as_bytes());
        assert_eq!(run.exit, 0, "{run:?}");
        assert!(run.stdout.contains(&format!("\"created\":{created}")), "{run:?}");
    }
    let run = cluster.run_with(&import, text("QkJC").as_bytes());
    assert_eq!(run.exit, 9, "{run:?}");
    assert!(run.stdout.contains("\"kept\":600"), "{run:?}");
    assert_eq!(cluster.done(&["kv", "get", "000"]).len(), 15_001);
}

/// Four letters of base64 that stand for three digits.
fn four(id: u32) -> String {
    let letters: Vec<u8> = (b'A'..=b'Z').chain(b'a'..=b'z').chain(b'0'..=b'9').collect();
    let digits = format!("{id:03}");
    let bits = digits.bytes().fold(0, |bits, digit| bits << 8 | usize::from(digit));
    (0..4).map(|place| char::from(letters[bits >> (18 - 6 * place) & 63])).collect()
}

fn refused(cluster: &Cluster) {
    let text = fs::read_to_string(cluster.path("x.jsonl")).expect("written");
    let cut = text.lines().take(3).collect::<Vec<_>>().join("\n");
    fs::write(cluster.path("cut.jsonl"), cut).expect("written");
    cluster.fails(&["kv", "import", "cut.jsonl", "--overwrite"], 6, "it is cut short");
    cluster.fails(&["kv", "import", "plan.toml"], 2, "it is no export");
    let mut snapshot = vec![0; 4096];
    snapshot[16..20].copy_from_slice(&[0xed, 0xda, 0x0c, 0xed]);
    fs::write(cluster.path("snapshot.db"), snapshot).expect("written");
    let import = ["kv", "import", "snapshot.db", "--from", "etcd-json"];
    cluster.fails(&import, 2, "a snapshot of etcd's database");
}
