//! Entries out of a cluster and into one.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::services::cluster::Cluster;

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
        let entry =
            |id: u32| format!(r#"{{"key":"{}","value":"{value}"}}"#, four_of(&format!("{id:03}")));
        let entries: Vec<String> = (0..250).map(entry).collect();
        format!(r#"{{"header":{{}},"kvs":[{}],"count":250}}"#, entries.join(","))
    };
    let import = ["kv", "import", "-", "--from", "etcd-json", "--output", "json"];
    for (value, created) in [("QUFB".repeat(5000), 250), ("QUFB".repeat(5000), 0)] {
        let run = cluster.run_with(&import, text(&value).as_bytes());
        assert_eq!(run.exit, 0, "{run:?}");
        assert!(run.stdout.contains(&format!("\"created\":{created}")), "{run:?}");
    }
    let run = cluster.run_with(&import, text("QkJC").as_bytes());
    assert_eq!(run.exit, 9, "{run:?}");
    assert!(run.stdout.contains("\"kept\":250"), "{run:?}");
    assert_eq!(cluster.done(&["kv", "get", "000"]).len(), 15_001);
}

/// Ends what others do when it goes, also when a test fails.
struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Two keys, far apart in the order of keys, are always changed together.
#[test]
fn an_export_is_of_one_moment_whatever_others_do() {
    let cluster = Cluster::start("moments", 1);
    fs::write(cluster.path("large"), "x".repeat(500_000)).expect("written");
    for key in ["m/1", "m/2", "m/3", "m/4", "m/5"] {
        cluster.done(&["kv", "put", key, "--file", "large"]);
    }
    let both = |round: u32| {
        let text = format!("then\n put m/0 {round}\n put m/9 {round}\n");
        let run = cluster.run_with(&["kv", "txn", "-"], text.as_bytes());
        assert_eq!(run.exit, 0, "{run:?}");
    };
    both(0);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            let goes_on = |_: &u32| !is_over.load(Ordering::SeqCst);
            scope.spawn(move || (1..).take_while(goes_on).for_each(both));
        }
        let _end = Ending(&is_over);
        let mut refused = 0;
        for turn in 0..8 {
            let file = format!("moment-{turn}");
            let run = cluster.run(&["kv", "export", "--prefix", "m/", "--out", &file]);
            if run.exit != 0 {
                assert!(run.exit == 9 && run.stderr.contains("others changed entries"), "{run:?}");
                assert!(!cluster.path(&file).exists());
                refused += 1;
                continue;
            }
            let text = fs::read_to_string(cluster.path(&file)).expect("written");
            let of = |key: &str| {
                let line = text.lines().find(|line| line.contains(&four_of(key))).expect("there");
                line.split_once("\"value\":").expect("a value").1.to_owned()
            };
            assert_eq!(of("m/0"), of("m/9"), "turn {turn}");
        }
        eprintln!("{refused} of 8 exports were refused");
    });
    let run = cluster.run(&["kv", "export", "--prefix", "m/", "--out", "calm", "--fuzzy"]);
    assert!(run.exit == 0 && run.stdout.contains("as of position"), "{run:?}");
}

#[test]
fn a_backup_comes_back_in_a_new_cluster_and_nowhere_else() {
    let old = Cluster::start("backup-old", 1);
    for key in ["a", "b", "c"] {
        old.done(&["kv", "put", key, &format!("{key} of old")]);
    }
    let other = old.done(&["auth", "keygen", "--out", "other.key"]).trim().to_owned();
    old.done(&["auth", "enroll", "other", &other, "--key", "admin0.key"]);
    let created = old.json(&["backup", "create", "--out", "b.jsonl"]);
    // The key by which the cluster was found to serve is there, too.
    assert_eq!((&created["entries"], &created["clients"]), (&4.into(), &2.into()));
    let verified = old.json(&["backup", "verify", "b.jsonl"]);
    assert_eq!((&verified["entries"], &verified["incarnation"]), (&4.into(), &1.into()));
    let maker = verified["by"].as_str().expect("a key").to_owned();
    old.fails(&["backup", "verify", "b.jsonl", "--by", &other], 6, "it is signed by");
    let text = fs::read_to_string(old.path("b.jsonl")).expect("written");
    let lines: Vec<&str> = text.lines().collect();
    let tampered = [
        text.replacen("\"value\":\"", "\"value\":\"AAAA", 1),
        [&lines[..2], &lines[3..]].concat().join("\n") + "\n",
        lines[..lines.len() - 1].join("\n") + "\n",
    ];
    for text in tampered {
        fs::write(old.path("tampered.jsonl"), text).expect("written");
        assert_eq!(old.run(&["backup", "verify", "tampered.jsonl"]).exit, 6);
        assert_eq!(old.run(&["backup", "restore", "tampered.jsonl"]).exit, 6);
    }
    old.fails(&["backup", "restore", "b.jsonl"], 9, "this cluster is incarnation 1");
    let file = old.path("b.jsonl").display().to_string();
    let new = Cluster::start_with("backup-new", 1, &format!("--backup {file}"));
    let restore = ["backup", "restore", &file, "--by", &maker];
    new.fails(&restore[..3], 6, "it is signed by");
    let restored = new.json(&restore);
    assert_eq!((&restored["created"], &restored["unchanged"]), (&3.into(), &1.into()));
    assert_eq!(new.done(&["kv", "get", "b"]), "b of old\n");
    assert_eq!(new.json(&restore)["unchanged"], 4, "once is enough");
    assert_eq!(new.json(&["cluster", "show", "plan.toml"])["incarnation"], 2);
    let clients = new.done(&["auth", "list"]);
    assert!(clients.contains(&other), "{clients}");
    let units = old.done(&["backup", "schedule", "--dir", "/var/backups", "--every", "hourly"]);
    for part in ["OnCalendar=hourly", "backup create --out", "/var/backups/$(date"] {
        assert!(units.contains(part), "{units}");
    }
}

/// Four letters of base64 that stand for three of text.
fn four_of(text: &str) -> String {
    let letters: Vec<u8> = (b'A'..=b'Z').chain(b'a'..=b'z').chain(b'0'..=b'9').collect();
    let bits = text.bytes().fold(0, |bits, byte| bits << 8 | usize::from(byte));
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
