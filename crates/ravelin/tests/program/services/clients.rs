//! Who may use the cluster, and how clients come to trust it.

use std::fs;

use crate::services::cluster::Cluster;

#[test]
fn clients_are_let_in_and_shut_out_by_as_many_administrators_as_the_plan_says() {
    let cluster = Cluster::start("clients", 2);
    let bob = cluster.done(&["auth", "keygen", "--out", "bob.key"]);
    let bob = bob.trim();
    cluster.done(&["trust", "add", "bobs", "--plan", "plan.toml", "--key", "bob.key"]);
    let as_bob = ["--context", "bobs"];
    cluster.fails(
        &[&["kv", "get", "served"], &as_bob[..]].concat(),
        3,
        "does not know this client",
    );
    cluster.fails(&[&["kv", "put", "a", "1"], &as_bob[..]].concat(), 3, "ravelin auth enroll NAME");
    cluster.fails(&[&["kv", "watch"], &as_bob[..]].concat(), 3, "does not know this client");
    assert_eq!(cluster.run(&[&["status"], &as_bob[..]].concat()).exit, 0, "anybody may ask");
    assert_eq!(cluster.done(&["auth", "whoami"]), "first\n");

    // One of two is not enough, nor is one twice, nor a stranger.
    let enroll = ["auth", "enroll", "bob", bob];
    let with = |more: &[&'static str]| [&enroll[..], more].concat();
    cluster.fails(&with(&["--key", "admin0.key"]), 3, "1 of the 2 administrators");
    let twice = with(&["--key", "admin0.key", "--key", "admin0.key"]);
    cluster.fails(&twice, 3, "1 of the 2 administrators");
    cluster.fails(&with(&["--key", "client.key"]), 3, "is no administrator");

    approvals(&cluster, bob, &enroll);
    cluster.done(&[&["kv", "get", "served"], &as_bob[..]].concat());
    let listed = cluster.json(&["auth", "list"]);
    assert_eq!(listed["clients"][0]["name"], "bob");
    assert_eq!(listed["clients"][1]["name"], "first");

    let revoke = ["auth", "revoke", "bob", "--key", "admin0.key", "--key", "admin1.key"];
    assert!(cluster.done(&revoke).contains("bob is shut out"));
    cluster.fails(&revoke, 4, "no client is enrolled");
    let stale = [&["kv", "get", "served", "--stale-ok"], &as_bob[..]].concat();
    cluster.fails(&stale, 3, "does not know this client");
    cluster.fails(
        &[&["kv", "get", "served"], &as_bob[..]].concat(),
        3,
        "does not know this client",
    );
}

fn approvals(cluster: &Cluster, bob: &str, enroll: &[&str]) {
    let approve =
        ["auth", "approve", "enroll", "bob", bob, "--key", "admin1.key", "--out", "ok.toml"];
    assert!(cluster.done(&approve).contains("order 1 is approved in ok.toml"));
    cluster.fails(&approve, 9, "exists already");
    let text = fs::read_to_string(cluster.path("ok.toml")).expect("there");
    let changed = |name: &str, old: &str, new: &str| {
        assert!(text.contains(old), "{text}");
        fs::write(cluster.path(name), text.replace(old, new)).expect("written");
    };
    changed("other.toml", "\"bob\"", "\"eve\"");
    changed("late.toml", "serial = 1", "serial = 2");
    changed("forged.toml", "signature = \"", "signature = \"00");
    let forged = fs::read_to_string(cluster.path("forged.toml")).expect("there");
    fs::write(cluster.path("forged.toml"), forged.replace("00\"\n", "\"\n")).expect("written");
    let with = |file: &'static str| [enroll, &["--key", "admin0.key", "--approval", file]].concat();
    cluster.fails(&with("other.toml"), 2, "for something else");
    cluster.fails(&with("late.toml"), 9, "order 2");
    let enrolled = cluster.done(&with("ok.toml"));
    assert_eq!(enrolled, "bob is enrolled (order 1)\n");
    cluster.fails(&with("ok.toml"), 9, "this approval is for order 1");
    let again = [enroll, &["--key", "admin0.key", "--key", "admin1.key"]].concat();
    cluster.fails(&again, 9, "enrolled already");
    // An administrator's key speaks for itself too.
    cluster.done(&["trust", "add", "admins", "--plan", "plan.toml", "--key", "admin0.key"]);
    let whoami = cluster.json(&["auth", "whoami", "--context", "admins"]);
    assert_eq!((&whoami["administrator"], &whoami["client"]), (&true.into(), &().into()));
}

#[test]
fn a_server_gets_another_block_key_by_as_many_administrators_as_the_plan_says() {
    let cluster = Cluster::start("rekey", 2);
    // It runs, so its ports are taken; what is checked is shown nevertheless.
    let check = cluster.run(&["node", "check", "--config", "s3/node.toml"]);
    assert_eq!(check.exit, 9, "{check:?}");
    let next = check.stdout.lines().find_map(|line| line.split_once(", next ")).expect("shown").1;

    let rekey = ["auth", "rekey", "3", "--block", next];
    let with = |more: &[&'static str]| [&rekey[..], more].concat();
    cluster.fails(&with(&["--key", "admin0.key"]), 3, "1 of the 2 administrators");
    let twice = with(&["--key", "admin0.key", "--key", "admin0.key"]);
    cluster.fails(&twice, 3, "1 of the 2 administrators");
    cluster.fails(&with(&["--key", "client.key"]), 3, "is no administrator");

    let approve = ["auth", "approve", "rekey", "3", "--block", next];
    let signing = ["--key", "admin1.key", "--out", "rekey.toml"];
    let approved = cluster.done(&[&approve[..], &signing].concat());
    assert!(approved.contains("order 1 is approved in rekey.toml"), "{approved}");
    let approvals = ["--key", "admin0.key", "--approval", "rekey.toml"];
    let another = [&["auth", "rekey", "2", "--block", next], &approvals[..]].concat();
    cluster.fails(&another, 2, "for something else");
    let done = cluster.json(&with(&approvals));
    let expected = serde_json::json!({"action": "rekey", "server": 3, "block": next, "serial": 1});
    assert_eq!(done, expected);
    cluster.fails(&with(&["--approval", "rekey.toml"]), 9, "this approval is for order 1");
    cluster.done(&["kv", "put", "after", "it"]);
    assert_eq!(cluster.done(&["kv", "get", "after"]), "it\n");
}

#[test]
fn a_fingerprint_and_one_address_are_enough_to_trust_a_cluster() {
    let cluster = Cluster::start("trust", 1);
    let fingerprint = cluster.done(&["cluster", "fingerprint"]);
    let (fingerprint, address) = (fingerprint.trim(), cluster.client_address(2));
    let add = ["trust", "add", "far", "--fingerprint", fingerprint, "--key", "client.key"];
    cluster.done(&[&add[..], &["--address", "127.0.0.1:1", "--address", address]].concat());
    let plan = fs::read_to_string(cluster.path("xdg/ravelin/contexts/far/plan.toml"));
    assert_eq!(
        plan.expect("stored"),
        fs::read_to_string(cluster.path("plan.toml")).expect("there")
    );
    assert_eq!(cluster.done(&["kv", "get", "served", "--context", "far"]), "yes\n");

    let wrong = "00".repeat(32);
    let add = ["trust", "add", "wrong", "--address", address, "--fingerprint", &wrong];
    cluster.fails(&add, 6, "this is another cluster");
    let add = ["trust", "add", "none", "--address", "127.0.0.1:1", "--fingerprint", fingerprint];
    cluster.fails(&add, 5, "cannot connect");
    assert!(!cluster.path("xdg/ravelin/contexts/wrong").exists());
    assert!(!cluster.path("xdg/ravelin/contexts/none").exists());

    // A client file with addresses instead of a plan works too.
    let file = format!(
        "fingerprint = \"{fingerprint}\"\nkey = \"client.key\"\n[[servers]]\naddress = \"{address}\"\n"
    );
    fs::write(cluster.path("servers.toml"), file).expect("written");
    assert_eq!(cluster.done(&["--config", "servers.toml", "kv", "get", "served"]), "yes\n");
}
