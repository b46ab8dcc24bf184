//! What people do, from the first server to a plan in force.

use std::ffi::OsString;

use crate::cli::fixture::{Fixture, address, hold_ports};

/// Two addresses at which a server can listen, other than those that the fixture holds.
fn free() -> [String; 2] {
    hold_ports().each_ref().map(address)
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).expect("JSON")
}

#[test]
fn four_servers_become_a_cluster() {
    let fixture = Fixture::cluster("becoming");
    let fingerprint = fixture.done(&["cluster", "fingerprint", "plan.toml"]);
    assert_eq!(fingerprint.trim().len(), 64);
    let signed = fixture.done(&["cluster", "fingerprint", "signed.toml"]);
    assert_eq!(signed, fingerprint, "signatures do not change it");
    for id in 0..4 {
        let node = format!("s{id}/node.toml");
        let [peer, client] = free();
        let check = ["node", "check", "--config", &node, "--output", "json"];
        let listen = ["--peer-listen", &peer, "--client-listen", &client];
        let report = fixture.done(&[&check[..], &listen].concat());
        assert_eq!(json(&report)["ready"], true);
    }
    let shown = json(&fixture.done(&["cluster", "show", "signed.toml", "--output", "json"]));
    assert_eq!(shown["in_force"], true);
    assert_eq!(shown["servers"], 4);
    assert_eq!(shown["fingerprint"], fingerprint.trim());
    let of_context = json(&fixture.done(&["cluster", "show", "--output", "json"]));
    assert_eq!(of_context["members"], shown["members"], "that of the cluster in use");
    let shown = json(&fixture.done(&["cluster", "show", "plan.toml", "--output", "json"]));
    assert_eq!(shown["in_force"], false);
}

#[test]
fn two_of_three_administrators_sign() {
    let fixture = Fixture::cluster("signing");
    let key = |name: &str| fixture.done(&["auth", "keygen", "--out", name]).trim().to_owned();
    let (a, b, c) = (key("a.key"), key("b.key"), key("c.key"));
    let plan = ["cluster", "plan", "--name", "three", "--out", "three.toml"];
    let keys = ["--administrator", &a, "--administrator", &b, "--administrator", &c];
    let cards = ["s0.card", "s1.card", "s2.card", "s3.card"];
    fixture.done(&[&plan[..], &keys, &cards].concat());
    let sign = |key: &str| {
        let sign =
            ["cluster", "sign-plan", "three.toml", "--output", "json", "--yes", "--key", key];
        json(&fixture.done(&sign))
    };
    assert_eq!(sign("a.key")["in_force"], false);
    assert_eq!(sign("a.key")["signatures"], 1, "signing twice counts once");
    assert_eq!(sign("c.key")["in_force"], true);
    fixture.done(&["config", "validate", "three.toml"]);
}

/// An administrator sees what a signature covers before giving one.
#[test]
fn a_plan_is_shown_and_signed_by_whoever_says_so_only() {
    let fixture = Fixture::cluster("shown-plan");
    fixture.change("plan.toml", "later.toml", "epoch = 1", "epoch = 2");
    let digests = ["plan", "state", "ordering"].iter().zip(7..);
    let digests: String = digests
        .map(|(key, digit)| format!("{key} = \"{}\"\n", digit.to_string().repeat(64)))
        .collect();
    let previous =
        format!("[previous]\n{digests}commit = 70001\ntime_us = 70002\nposition = 70003\n");
    fixture.change("later.toml", "later.toml", "[[members]]", &format!("{previous}\n[[members]]"));
    let before = fixture.contents();
    for (file, epoch) in [("plan.toml", 1), ("later.toml", 2)] {
        let run = fixture.run(&["cluster", "sign-plan", file], &[]);
        let next = format!(
            "nothing was signed now; if this is what you want: ravelin cluster sign-plan {file} --key FILE \
             --yes"
        );
        assert!(run.exit == 0 && run.stderr.contains(&next), "{}", run.stderr);
        assert_eq!(run.stdout, fixture.done(&["cluster", "show", file]));
        let text = fixture.read(file);
        let covered = text.lines().filter_map(|line| {
            let value = line.split_once(" = ").map_or(line, |(_, value)| value);
            Some(value.trim_matches([' ', ',', '"']))
                .filter(|it| it.len() > 4 && !it.contains(['#', '[']))
        });
        let covered: Vec<&str> = covered.collect();
        assert!(covered.len() > 20, "{covered:?}");
        let numbers = [
            &format!("epoch           {epoch}, incarnation 1"),
            "name            test  (production)",
            "signatures      0 of 1: not in force yet",
            "assumes         at most 1 of 4 servers intruded, `arbitrary`",
            "leaders         2 a round",
            "checkpoints     every 1024 commits",
            "key changes     3600 s apart, or more",
        ];
        for value in covered.into_iter().chain(numbers) {
            assert!(run.stdout.contains(value), "{value}: {}", run.stdout);
        }
    }
    assert!(fixture.contents() == before, "nothing is signed");
    let sign = ["cluster", "sign-plan", "plan.toml", "--key", "admin.key", "--yes"];
    let signed = fixture.done(&sign);
    assert!(signed.contains("1 of 1: in force\nsigned by       "), "{signed}");
    assert_eq!(fixture.read("plan.toml"), fixture.read("signed.toml"));
    // Who signs next is not to take a plan that was changed for the one that others signed.
    fixture.change("plan.toml", "plan.toml", "checkpoint_every = 1024", "checkpoint_every = 2048");
    let changed = fixture.read("plan.toml");
    for arguments in [&sign[..3], &sign[..]] {
        let run = fixture.run(arguments, &[]);
        assert!(run.exit == 6 && run.stderr.contains("a signature is bad"), "{}", run.stderr);
    }
    assert_eq!(fixture.read("plan.toml"), changed);
}

/// With the small program, or where that is not built, with this one in its place.
/// Every field stands in the wormhole's guide.
fn assert_described(report: &serde_json::Value) {
    let guide = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/guide/wormhole.md");
    let guide = std::fs::read_to_string(guide).expect("it is there");
    let (_, described) = guide.split_once("### As JSON").expect("it has the heading");
    let described = described.split("\n## ").next().unwrap_or_default();
    let mut open = vec![report];
    while let Some(value) = open.pop() {
        open.extend(value.as_array().into_iter().flatten());
        for (field, value) in value.as_object().into_iter().flatten() {
            assert!(described.contains(&format!("`{field}`")), "{field} is not described");
            open.push(value);
        }
    }
}

#[test]
fn a_wormhole_is_measured_and_says_whom_it_withstands() {
    let fixture = Fixture::empty("wormhole");
    let own = env!("CARGO_BIN_EXE_ravelin");
    for program in [&[][..], &["--program", own]] {
        let arguments = [&["wormhole", "selftest", "--output", "json"][..], program].concat();
        let run = fixture.run(&[&["-q"][..], &arguments].concat(), &[]);
        assert_eq!((run.exit, &*run.stderr), (0, ""), "what the wormhole says is talk, too");
        let report = json(&run.stdout);
        assert_eq!(report["mode"], "local");
        assert_eq!(report["rollback_proof"], false);
        let mut calls = report["calls"].as_array().expect("calls").iter();
        let attest = calls.find(|row| row["call"] == "attest").expect("it attests");
        assert!(attest["p50_us"].as_f64().is_some_and(|took| took > 1.0), "{attest}");
        let of = |list: &str, name: &str, key: &str, field: &str| {
            let rows = report[list].as_array().expect("a list");
            rows.iter().find(|row| row[key] == name).map(|row| row[field].clone())
        };
        let in_force = of("protections", "few system calls", "name", "in_force");
        assert_eq!(in_force, Some(true.into()));
        let verdict = of("attackers", "full root", "attacker", "verdict");
        assert_eq!(verdict, Some("not withstood".into()), "nobody is told that root cannot");
        assert_described(&report);
    }
    let text = fixture.done(&["wormhole", "selftest"]);
    let says = |what: &str, value: &str| {
        text.lines().any(|line| line.starts_with(what) && line.contains(value))
    };
    assert!(says("mode ", "local") && says("rollback-proof store ", "no"), "{text}");
}

#[test]
fn services_of_wormholes_are_measured_over_several_runs() {
    let fixture = Fixture::empty("wormhole-bench");
    let bench = ["wormhole", "bench", "--runs", "2", "--wormholes", "2", "--output", "json"];
    let report = json(&fixture.done(&bench));
    assert_eq!((&report["runs"], &report["wormholes"]), (&2.into(), &2.into()));
    assert_described(&report);
    let rows = report["rows"].as_array().expect("rows");
    for call in
        ["random", "timestamp", "duration", "deadline", "attest", "last", "status", "agreement"]
    {
        let row = rows.iter().find(|row| row["call"] == call).expect(call);
        let us = |field: &str| row[field].as_f64().expect(field);
        assert!(us("least_p50_us") > 1.0 && us("least_p50_us") <= us("most_p50_us"), "{row}");
        assert!(us("p50_us") <= us("p99_us") && us("p99_us") <= us("longest_us"), "{row}");
        assert!(us("wanted_p50_us") > 0.0, "{row}");
    }
}

#[test]
fn a_network_is_measured_by_probes_from_one_process_to_another() {
    let fixture = Fixture::empty("measure-od");
    let free = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
    let address = free.local_addr().expect("it has one").to_string();
    drop(free);
    let listen = ["wormhole", "measure-od", "--listen", &address].map(OsString::from);
    let mut listening = fixture.start(&listen, &[]);
    let to = ["wormhole", "measure-od", "--to", &address, "--output", "json"];
    let few = ["--probes", "2000", "--rate", "5000", "--wanted", "0.9"];
    let report = json(&fixture.done(&[&to[..], &few].concat()));
    assert_eq!(report["probes"], 2_000);
    assert!(report["od"].is_u64(), "a loopback loses little: {report}");
    assert_described(&report);
    let run = fixture.run(&[&to[..], &["--probes", "9"]].concat(), &[]);
    assert_eq!(run.exit, 1, "nine tell nothing: {}", run.stderr);
    assert_eq!(json(&run.stdout)["od"], serde_json::Value::Null);
    listening.kill().and_then(|()| listening.wait()).expect("it ran");
    let gone = fixture.run(&["wormhole", "measure-od", "--to", &address, "--probes", "9"], &[]);
    assert_eq!(gone.exit, 5, "{}", gone.stderr);
}

#[test]
fn an_idle_wormhole_is_measured_apart_from_its_server() {
    let fixture = Fixture::empty("hybrid-idle");
    let idle = ["bench", "--idle", "--fault-model", "hybrid", "--seconds", "3", "--output", "json"];
    let figures = json(&fixture.done(&idle));
    let shares = figures["wormhole_cpu_percent"].as_array().expect("they have wormholes");
    let servers = figures["cpu_percent_per_server"].as_array().expect("servers");
    assert_eq!((shares.len(), servers.len()), (3, 3), "{figures}");
    for (wormhole, server) in shares.iter().zip(servers) {
        let (wormhole, server) = (wormhole.as_f64().unwrap(), server.as_f64().unwrap());
        // It attests a heartbeat each second: not nothing, and less than what orders it.
        assert!(wormhole > 0.0 && wormhole < server, "{figures}");
    }
}

/// The paper's figure 10 on real wormholes, and chance's variations of it.
#[test]
fn four_wormholes_carry_a_multicast_through_a_network_that_loses_and_lies() {
    let fixture = Fixture::empty("multicast");
    let demo = [
        "wormhole",
        "demo",
        "--output",
        "json",
        "--runs",
        "6",
        "--seed",
        "1",
        "--svg",
        "figure.svg",
        "--report",
        "runs.md",
    ];
    let run = fixture.run(&demo, &[]);
    assert_eq!(run.exit, 0, "{}", run.stderr);
    let said: Vec<_> = run.stderr.lines().map(json).collect();
    let is_of_wormhole = |note: &serde_json::Value| note["note"].to_string().contains("instance");
    assert_eq!(said.iter().filter(|note| is_of_wormhole(note)).count(), 4, "{}", run.stderr);
    let printed = run.stdout;
    let lines: Vec<serde_json::Value> = printed.lines().map(json).collect();
    let (verdict, runs) = lines.split_last().expect("a verdict");
    for promise in ["validity", "agreement", "integrity"] {
        assert_eq!(verdict[promise], true, "{printed}");
    }
    for (field, count) in [("wormholes", 4), ("correct", 4), ("delivered", 4), ("runs", 7)] {
        assert_eq!(verdict[field], count, "{field}: {printed}");
    }
    assert_eq!(runs.len(), 7);
    assert!(verdict["malicious_runs"].as_u64().is_some_and(|count| count > 0), "{verdict}");
    for run in runs.iter().filter(|run| run["undecided"] == false) {
        assert_eq!(run["delivered"], run["correct"], "{run}");
        let malicious = run.get("malicious").and_then(|them| them.as_array()).map_or(0, Vec::len);
        assert_eq!(run["correct"], 4 - malicious, "{run}");
        assert_eq!(run["undelivered"], false, "{run}");
    }
    let events = |process: usize| runs[0]["timelines"][process]["events"].to_string();
    assert!(events(2).contains("receives P1's copy 1, corrupted"), "{printed}");
    assert!(!events(3).contains("receives P1's copy 1"), "P4 loses it: {printed}");
    assert!(events(3).contains("receives P1's copy 2: M"), "{printed}");
    assert!((0..4).all(|process| events(process).contains("DELIVERS M")), "{printed}");
    let drawn = fixture.read("figure.svg");
    assert_eq!(drawn.matches("<circle").count(), 4);
    // Each number of malicious ones is a line of the page, as in the verdict, and none is missing.
    let page = fixture.read("runs.md");
    assert!(page.contains("`ravelin wormhole demo --runs 6 --seed 1 --report runs.md`"), "{page}");
    for malicious in 0..=2 {
        let tally = &verdict["by_malicious"][malicious];
        let count = |field: &str| tally[field].as_u64().expect("a number");
        assert!(count("runs") > 0, "{verdict}");
        let line = format!("| {malicious} | {} | {} |", count("runs"), count("correct"));
        assert!(page.contains(&line), "{line}: {page}");
    }
}

/// The checks of a server, by what they are about.
fn checks(fixture: &Fixture, server: u16) -> impl Fn(&str) -> serde_json::Value + use<> {
    let node = format!("s{server}/node.toml");
    let [peer, client] = free();
    let listen = ["--peer-listen", &peer, "--client-listen", &client, "--output", "json"];
    let report = fixture.done(&[&["node", "check", "--config", &node][..], &listen].concat());
    let report = json(&report);
    move |what| {
        let checks = report.get("checks").and_then(serde_json::Value::as_array);
        checks
            .into_iter()
            .flatten()
            .find(|check| check["what"] == what)
            .expect("it is checked")
            .clone()
    }
}

#[test]
fn a_check_shows_both_block_keys_and_the_card_the_present_one() {
    let fixture = Fixture::cluster("block-keys");
    let card = ["node", "card", "--config", "s0/node.toml", "--output", "json"];
    let card = json(&fixture.done(&card));
    let block = card["block"].as_str().expect("a key");
    let check = checks(&fixture, 0)("block keys");
    let shown = check["detail"].as_str().expect("text");
    let next = shown.strip_prefix(&format!("{block}, next ")).expect("both");
    assert!(next.len() == 64 && next != block, "{shown}");
    assert_eq!(check.get("warning"), None);

    // An earlier release made no next key; checking makes none either.
    let text = fixture.read("s0/identity.toml");
    let seed = text.lines().find(|line| line.starts_with("next_block_seed")).expect("there");
    fixture.change("s0/identity.toml", "s0/identity.toml", seed, "");
    let before = fixture.read("s0/identity.toml");
    let check = checks(&fixture, 0)("block keys");
    assert_eq!(check["detail"], format!("{block}, no next one yet: `node start` makes it"));
    assert_eq!(fixture.read("s0/identity.toml"), before);
}

#[test]
fn a_block_key_that_nothing_explains_is_warned_of_and_no_obstacle() {
    let fixture = Fixture::cluster("strange-key");
    let seed = |key: &str| {
        let text = fixture.read("s0/identity.toml");
        text.lines().find(|line| line.starts_with(key)).expect("there").to_owned()
    };
    let warning = || {
        let check = checks(&fixture, 0)("block keys");
        check.get("warning").map(ToString::to_string)
    };
    let (block, next) = (seed("block_seed"), seed("next_block_seed"));
    let digits = |line: &str| line.split('"').nth(1).expect("quoted").to_owned();
    let swapped = format!("block_seed = \"{}\"", digits(&next));
    let spare = format!("next_block_seed = \"{}\"", digits(&block));
    fixture.change("s0/identity.toml", "s0/identity.toml", &next, &spare);
    fixture.change(
        "s0/identity.toml",
        "s0/identity.toml",
        &format!("\n{block}"),
        &format!("\n{swapped}"),
    );
    assert_eq!(warning(), None, "the plan's key is the next one");

    let other = format!("next_block_seed = \"{}\"", "5".repeat(64));
    fixture.change("s0/identity.toml", "s0/identity.toml", &spare, &other);
    let text = warning().expect("neither key is the plan's");
    assert!(text.contains("must get a new block key before it takes part"), "{text}");
    let [peer, client] = free();
    let check = ["node", "check", "--config", "s0/node.toml", "--peer-listen", &peer];
    let shown = fixture.done(&[&check[..], &["--client-listen", &client]].concat());
    assert!(shown.contains("\nwarning  block keys: the plan gives"), "{shown}");
    assert!(shown.ends_with("the server can start\n"), "{shown}");

    std::fs::create_dir(fixture.path("s0/data/log")).expect("made");
    assert_eq!(warning(), None, "the data tells which epoch it is");
}

#[test]
fn root_is_warned_that_it_may_not_serve_beside_a_wormhole_with_a_user_of_its_own() {
    let fixture = Fixture::cluster("root_check");
    let node = fixture.read("s0/node.toml");
    let warned = |users: &str| {
        fixture
            .write("s0/node.toml", &format!("{node}\n[wormhole]\nstate = \"wormhole\"\n{users}"));
        let run = fixture.run(&["node", "check", "--config", "s0/node.toml"], &[]);
        run.stdout
            .contains("warning  wormhole: started by root it would not: root would serve beside")
    };
    let is_root = rustix::process::geteuid().is_root();
    assert_eq!(warned("user = \"990:990\"\n"), is_root);
    assert!(!warned("user = \"990:990\"\nserver_user = \"991:991\"\n"));
    assert!(!warned(""), "it shares the server's user");
}

#[test]
fn nothing_printed_is_secret() {
    let fixture = Fixture::cluster("secrets");
    let seed = |file: &str, key: &str| {
        let text = fixture.read(file);
        let line = text.lines().find(|line| line.starts_with(key)).expect("there");
        line.split('"').nth(1).expect("quoted").to_owned()
    };
    let seeds = ["identity_seed", "block_seed", "next_block_seed", "transport_seed"];
    let mut secrets: Vec<String> = seeds.map(|key| seed("s0/identity.toml", key)).into();
    secrets.push(seed("admin.key", "seed"));
    let printed = [
        fixture.done(&["node", "card", "--config", "s0/node.toml"]),
        fixture.done(&["node", "check", "--config", "s0/node.toml"]),
        fixture.done(&["config", "show", "--config", "s0/node.toml"]),
        fixture.done(&["config", "show"]),
        fixture.read("signed.toml"),
    ];
    for secret in &secrets {
        assert_eq!(secret.len(), 64);
        assert!(printed.iter().all(|text| !text.contains(secret)));
    }
}

#[test]
fn each_setting_says_where_it_comes_from() {
    let fixture = Fixture::cluster("origins");
    let shown = |arguments: &[&str], environment: &[(&str, &str)], key: &str| {
        let show = ["config", "show", "--output", "json"];
        let run = fixture.run(&[&show[..], arguments].concat(), environment);
        assert_eq!(run.exit, 0, "{}", run.stderr);
        let settings = json(&run.stdout)["settings"].take();
        let settings = settings.as_array().expect("a list").clone();
        let setting = settings.into_iter().find(|setting| setting["key"] == key).expect("there");
        let text = |value: &serde_json::Value| {
            value.as_str().map_or_else(|| value.to_string(), str::to_owned)
        };
        (text(&setting["value"]), text(&setting["origin"]))
    };
    let pair = |value: &str, origin: &str| (value.to_owned(), origin.to_owned());
    let environment = [("RAVELIN_TIMEOUT", "5s")];
    assert_eq!(shown(&[], &[], "timeout_ms"), pair("30000", "default"));
    assert_eq!(shown(&[], &environment, "timeout_ms"), pair("5000", "environment RAVELIN_TIMEOUT"));
    let flag = ["--timeout", "1s"];
    assert_eq!(shown(&flag, &environment, "timeout_ms"), pair("1000", "flag --timeout"));
    let client = fixture.read("xdg/ravelin/contexts/known/client.toml");
    fixture.write(
        "client.toml",
        &format!("{client}timeout_ms = 7\n").replace("plan.toml", "signed.toml"),
    );
    let file = ["--config", "client.toml"];
    assert_eq!(shown(&file, &[], "timeout_ms"), pair("7", "file client.toml"));
    assert_eq!(shown(&file, &environment, "timeout_ms").0, "5000");
    let node = ["--config", "s0/node.toml"];
    let environment = [("RAVELIN_PEER_LISTEN", "127.0.0.1:9"), ("RAVELIN_LOG_LEVEL", "debug")];
    let (value, origin) = shown(&node, &environment, "peer_listen");
    assert_eq!(
        (value.as_str(), origin.as_str()),
        ("127.0.0.1:9", "environment RAVELIN_PEER_LISTEN")
    );
    assert_eq!(shown(&node, &environment, "log.level").0, "debug");
    let [_, client] = fixture.addresses(0);
    assert_eq!(shown(&node, &[], "client_listen"), pair(client, "file s0/node.toml"));
}

#[test]
fn clusters_are_known_by_name() {
    let fixture = Fixture::cluster("known");
    let fingerprint = fixture.done(&["cluster", "fingerprint", "signed.toml"]);
    let fingerprint = fingerprint.trim();
    let add = ["trust", "add", "far", "--plan", "signed.toml", "--fingerprint", fingerprint];
    let added = fixture.run(&add, &[]);
    let note = "not in use, `known` is: `ravelin trust use far` changes that";
    assert!(added.exit == 0 && added.stderr.contains(note), "{}", added.stderr);
    let contexts =
        || json(&fixture.done(&["trust", "list", "--output", "json"]))["contexts"].take();
    let in_use = |contexts: serde_json::Value| -> Vec<(String, bool)> {
        let list = contexts.as_array().expect("a list").clone();
        let pair = |entry: serde_json::Value| {
            (entry["name"].as_str().expect("a name").to_owned(), entry["in_use"] == true)
        };
        list.into_iter().map(pair).collect()
    };
    let known = |far, known| vec![("far".to_owned(), far), ("known".to_owned(), known)];
    assert_eq!(in_use(contexts()), known(false, true), "the first one stays in use");
    fixture.done(&["trust", "use", "far"]);
    let environment = [("RAVELIN_CONFIG", "elsewhere.toml")];
    let overridden = fixture.run(&["trust", "use", "far"], &environment);
    assert!(
        overridden.stderr.contains("elsewhere.toml, which goes before"),
        "{}",
        overridden.stderr
    );
    assert_eq!(in_use(contexts()), known(true, false));
    fixture.done(&["cluster", "show", "--context", "known"]);
    let removed = json(&fixture.done(&["trust", "remove", "far", "--output", "json"]));
    assert_eq!((&removed["removed"], &removed["in_use"]), (&"far".into(), &true.into()));
    assert_eq!(in_use(contexts()), [("known".to_owned(), false)]);
    assert_eq!(fixture.run(&["cluster", "show"], &[]).exit, 4, "none is in use");
    fixture.done(&add);
    let server = "[[servers]]\naddress = \"far.example.org:7702\"\n";
    fixture.write("far.toml", &format!("fingerprint = \"{fingerprint}\"\n{server}"));
    let run = fixture.run(&["cluster", "show", "--config", "far.toml"], &[]);
    assert_eq!(run.exit, 4, "its plan is not at hand");
    let flag_over_environment = ["cluster", "show", "--context", "known"];
    let run = fixture.run(&flag_over_environment, &[("RAVELIN_CONFIG", "nowhere.toml")]);
    assert_eq!(run.exit, 0, "{}", run.stderr);
}

#[test]
fn every_example_is_valid() {
    let fixture = Fixture::empty("examples");
    for kind in ["node", "plan", "client", "card"] {
        let file = format!("{kind}.toml");
        fixture.write(&file, &fixture.done(&["config", "example", kind]));
        let verdict = fixture.done(&["config", "validate", &file, "--output", "json"]);
        assert_eq!(json(&verdict)["kind"], kind);
    }
}

#[test]
fn talk_goes_to_stderr_and_can_be_silenced() {
    let fixture = Fixture::empty("talk");
    let run = fixture.run(&["auth", "keygen", "--out", "a.key"], &[]);
    assert_eq!((run.stdout.lines().count(), run.stderr.lines().count()), (1, 1));
    let run = fixture.run(&["auth", "keygen", "--out", "b.key", "-q"], &[]);
    assert_eq!((run.stdout.lines().count(), run.stderr.as_str()), (1, ""));
}

#[test]
fn a_load_with_a_name_is_measured_twice() {
    let fixture = Fixture::empty("measured");
    let bench = ["bench", "--named", "one-client", "--seconds", "1", "--runs", "2"];
    let printed = fixture.done(&[&bench[..], &["--output", "json"]].concat());
    let figures = json(printed.lines().last().expect("a line"));
    for (field, value) in [
        ("configuration", serde_json::json!("one-client")),
        ("runs", serde_json::json!(2)),
        ("servers", serde_json::json!(4)),
        ("tolerated", serde_json::json!(1)),
        ("in_flight", serde_json::json!(1)),
        ("durable", serde_json::json!(true)),
        ("reads", serde_json::json!(null)),
    ] {
        assert_eq!(figures[field], value, "{field}");
    }
    let number = |field: &str| figures[field].as_f64().expect("a number");
    assert!(number("throughput_min") > 0.0 && number("cpu_us_per_op") > 0.0);
    assert!(number("throughput_min") <= number("operations_per_second"));
    assert!(number("operations_per_second") <= number("throughput_max"));
}
