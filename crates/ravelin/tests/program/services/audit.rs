//! Who had what done: shown to administrators, exported, and checked by two programs.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::services::cluster::{Cluster, finish};

#[test]
fn who_had_what_done_is_shown_exported_and_verified() {
    let cluster = Cluster::start("audit", 1);
    cluster.done(&["kv", "put", "color", "blue"]);
    cluster.run(&["kv", "put", "color", "red", "--if-absent"]);
    cluster.done(&["kv", "delete", "color"]);
    cluster.fails(&["audit", "tail"], 3, "the audit log is for administrators");
    cluster.fails(&["audit", "export", "--out", "denied"], 3, "for administrators");
    assert!(!cluster.path("denied").exists());
    tails(&cluster);
    exports(&cluster);
    follows(&cluster);
}

/// The latest operations, as JSON lines.
fn tail(cluster: &Cluster, lines: &str) -> Vec<Value> {
    let key = ["--key", "admin0.key", "--lines", lines, "--output", "json"];
    let text = cluster.done(&[&["audit", "tail"][..], &key].concat());
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn tails(cluster: &Cluster) {
    let writes = |told: Vec<Value>| {
        let of_kv = told.into_iter().filter(|told| told["service"] == 2);
        let words = of_kv
            .map(|told| [&told["name"], &told["what"], &told["outcome"]].map(Value::to_string));
        words.collect::<Vec<_>>()
    };
    let expected = |what: [&str; 3]| {
        let outcomes = ["written", "conflict", "written"];
        let line = |(what, outcome)| ["first", what, outcome].map(|word| format!("\"{word}\""));
        what.into_iter().zip(outcomes).map(line).collect::<Vec<_>>()
    };
    // The last one shows once a quorum has signed it.
    let shows = |expected: &[[String; 3]]| {
        let mut told = Vec::new();
        for _ in 0..100 {
            told = writes(tail(cluster, "100"));
            if told.ends_with(expected) {
                return;
            }
        }
        panic!("{told:?}, not {expected:?}");
    };
    shows(&expected(["kv write"; 3])); // an approving key opens no data
    let key = fs::read_to_string(cluster.path("admin0.key")).expect("written");
    let public = key.lines().find_map(|line| line.strip_prefix("public = ")).expect("a public key");
    let public = public.trim_matches('"');
    cluster.done(&["auth", "enroll", "auditor", public, "--key", "admin0.key"]);
    shows(&expected(["kv put color", "kv put color", "kv delete color"]));
    let enrolled = |_| {
        let text = cluster.done(&["audit", "tail", "--key", "admin0.key"]);
        text.contains("  auditor  auth enroll auditor ")
    };
    assert!((0..100).any(enrolled));
    assert_eq!(tail(cluster, "2").len(), 2);
}

/// What a file is said to be by `audit verify` and by the independent program.
pub(crate) fn verdicts(cluster: &Cluster, file: &str, fingerprint: &str) -> [Option<i32>; 2] {
    let run = cluster.run(&["audit", "verify", file, "--fingerprint", fingerprint]);
    assert!(run.exit == 0 || run.stderr.contains("hint: "), "{run:?}");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tools/verify_audit.py");
    let output =
        Command::new("python3").arg(script).arg(cluster.path(file)).arg(fingerprint).output();
    match output {
        Ok(output) => [Some(run.exit), output.status.code()],
        Err(error) => {
            eprintln!("python3 does not run ({error}): verify_audit.py is NOT tried");
            [Some(run.exit); 2]
        }
    }
}

fn exports(cluster: &Cluster) {
    let export = ["audit", "export", "--key", "admin0.key", "--out", "log.jsonl"];
    let exported = cluster.json(&export);
    cluster.fails(&export, 9, "it exists already");
    let fingerprint = cluster.done(&["cluster", "fingerprint", "plan.toml"]).trim().to_owned();
    assert_eq!(verdicts(cluster, "log.jsonl", &fingerprint), [Some(0); 2]);
    assert_eq!(verdicts(cluster, "log.jsonl", &"1".repeat(64)), [Some(6); 2]);
    let verified = cluster.json(&["audit", "verify", "log.jsonl"]);
    for field in ["lists", "operations", "commit"] {
        assert_eq!(verified[field], exported[field], "{field}");
    }
    assert_eq!(verified["first"], 1);
    let text = fs::read_to_string(cluster.path("log.jsonl")).expect("written");
    let lines: Vec<&str> = text.lines().collect();
    let (header, list) = (lines[0], lines[1]);
    let header_with = |change: fn(&mut Value)| {
        let mut header: Value = serde_json::from_str(header).expect("JSON");
        change(&mut header);
        text.replacen(lines[0], &header.to_string(), 1)
    };
    let list_with = |change: fn(&mut Value)| {
        let at = lines.iter().position(|line| line.contains("\"bytes\":\"02")).expect("a write");
        let mut list: Value = serde_json::from_str(lines[at]).expect("JSON");
        change(&mut list);
        text.replacen(lines[at], &list.to_string(), 1)
    };
    let without = |at: usize| [&lines[..at], &lines[at + 1..]].concat().join("\n") + "\n";
    let tampered = [
        list_with(|list| list["envelopes"][0]["client"] = "11".repeat(32).into()),
        list_with(|list| list["envelopes"][0]["position"] = 77.into()),
        list_with(|list| list["envelopes"][0]["operations"][0]["outcome"] = "malformed".into()),
        list_with(|list| list["envelopes"][0]["operations"][0]["kind"] = 4.into()),
        list_with(|list| list["envelopes"][0]["operations"][0]["bytes"] = "0201".into()),
        list_with(|list| list["time_us"] = 1.into()),
        list_with(|list| list["before"] = "22".repeat(32).into()),
        list_with(|list| list["list"] = 1.into()),
        header_with(|header| header["statements"].as_array_mut().expect("a list").truncate(2)),
        header_with(|header| {
            let statements = header["statements"].as_array_mut().expect("a list");
            *statements = vec![statements[0].clone(); 3];
        }),
        header_with(|header| {
            let signed = header["statements"][0].as_str().expect("digits").to_owned();
            let last = if signed.ends_with('0') { "1" } else { "0" };
            header["statements"][0] = format!("{}{last}", &signed[..signed.len() - 1]).into();
        }),
        header_with(|header| header["plans"] = Value::Array(vec![])),
        header_with(|header| drop(header["path"].as_array_mut().expect("a list").pop())),
        header_with(|header| header["operations"] = 1.into()),
        header_with(|header| header["digest"] = "33".repeat(32).into()),
        without(1),
        without(lines.len() - 1),
        without(lines.len() - 2),
        format!("{header}\n{list}\n{list}\n"),
        format!("{text}{list}\n"),
    ];
    for (case, text) in tampered.iter().enumerate() {
        fs::write(cluster.path("tampered.jsonl"), text).expect("written");
        let verdicts = verdicts(cluster, "tampered.jsonl", &fingerprint);
        assert_eq!(verdicts, [Some(6); 2], "case {case}");
    }
    // A request may be left out: it stands beside the chain.
    let redacted = list_with(|list| {
        let operation = list["envelopes"][0]["operations"][0].as_object_mut();
        operation.expect("an object").remove("bytes");
    });
    fs::write(cluster.path("redacted.jsonl"), redacted).expect("written");
    assert_eq!(verdicts(cluster, "redacted.jsonl", &fingerprint), [Some(0); 2]);
}

fn follows(cluster: &Cluster) {
    let arguments = ["audit", "tail", "--key", "admin0.key", "--lines", "0", "--follow"];
    let mut child = cluster.command(&arguments).spawn().expect("started");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut puts = 0;
    let seen = std::thread::scope(|scope| {
        let seen = scope.spawn(|| {
            lines.find(|line| line.as_ref().is_ok_and(|line| line.contains("kv put followed")))
        });
        // It may not look yet.
        while !seen.is_finished() && puts < 50 {
            cluster.done(&["kv", "put", "followed", "1"]);
            puts += 1;
        }
        if !seen.is_finished() {
            child.kill().expect("ours"); // nothing is to be seen any more
        }
        seen.join().expect("no panic")
    });
    assert!(seen.is_some(), "after {puts} changes");
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().expect("run").success());
    assert_eq!(finish(child).exit, 130);
}
