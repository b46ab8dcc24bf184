//! Missing, malformed and contradictory arguments and files: one line of cause, one of hint, the
//! right exit code, and nothing changed on disk.

use std::os::unix::fs::symlink;

use crate::cli::bad_designs;
use crate::cli::bad_drills;
use crate::cli::bad_services;
use crate::cli::fixture::{Fixture, Run};
use crate::cli::help::leaves;

/// What is typed, how it ends, and words of the cause.
pub(crate) type Case = (&'static str, i32, &'static str);

pub(crate) const FAILED: i32 = 1;
pub(crate) const USAGE: i32 = 2;
pub(crate) const DENIED: i32 = 3;
pub(crate) const ABSENT: i32 = 4;
pub(crate) const UNVERIFIED: i32 = 6;
pub(crate) const CONFLICT: i32 = 9;

const PROGRAM: &[Case] = &[
    ("", USAGE, "needs a command"),
    ("nod", USAGE, "unrecognized subcommand 'nod'"),
    ("node", USAGE, "`ravelin node` needs a command"),
    ("version --output xml", USAGE, "invalid value 'xml'"),
    ("version -q -v", USAGE, "cannot be used with"),
    ("version extra", USAGE, "extra"),
    ("version --timeout 5", USAGE, "a number with a unit"),
    ("version --timeout 0s", USAGE, "from 1ms to 24h"),
    ("completion", USAGE, "<SHELL>"),
    ("completion tcsh", USAGE, "invalid value 'tcsh'"),
    ("man --dir plan.toml/man", FAILED, "cannot make the directory"),
    ("man page", USAGE, "page"),
];

const NODE: &[Case] = &[
    ("node init", USAGE, "--dir <DIR>"),
    ("node init --dri new", USAGE, "unexpected argument '--dri'"),
    ("node init --dir new --name= --peer-address a:1 --client-address a:2", USAGE, "no name"),
    ("node init --dir new --name \u{e9} --peer-address a:1 --client-address a:2", USAGE, "no name"),
    ("node init --dir new --name n --peer-address a --client-address a:2", USAGE, "no port"),
    ("node init --dir new --name n --peer-address a:0 --client-address a:2", USAGE, "its port"),
    ("node init --dir new --name n --peer-address a:65536 --client-address a:2", USAGE, "its port"),
    (
        "node init --dir new --name n --peer-address 0.0.0.0:1 --client-address a:2",
        USAGE,
        "unspecified",
    ),
    (
        "node init --dir new --name n --peer-address a:1 --client-address a:1",
        USAGE,
        "the same address",
    ),
    (
        "node init --dir new --name n --peer-address a:1 --client-address a:2 --admin-listen on",
        USAGE,
        "neither ip:port nor `off`",
    ),
    (
        "node init --dir new --name n --peer-address a:1 --client-address a:2 --identity new/data/i",
        USAGE,
        "lies in the data directory",
    ),
    (
        "node init --dir new --name n --peer-address a:1 --client-address a:2 --identity admin.key",
        CONFLICT,
        "exists already",
    ),
    (
        "node init --dir s0 --name n --peer-address a:1 --client-address a:2",
        CONFLICT,
        "exists already",
    ),
    (
        "node init --dir plan.toml/new --name n --peer-address a:1 --client-address a:2",
        FAILED,
        "cannot create",
    ),
    (
        "node init --dir new --name n --peer-address a:1 --client-address a:2 --wormhole-state w",
        USAGE,
        "--wormhole-state is for servers that have a wormhole",
    ),
    (
        "node init --dir new --name n --peer-address a:1 --client-address a:2 --fault-model hybrid \
         --wormhole-user root",
        USAGE,
        "not UID:GID",
    ),
    (
        "node init --dir new --name n --peer-address a:1 --client-address a:2 --fault-model hybrid \
         --wormhole-user 9:9 --server-user 9:9",
        USAGE,
        "are the same",
    ),
    (
        "node init --dir new --name n --peer-address a:1 --client-address a:2 --fault-model hybrid \
         --wormhole-state new/data/w",
        USAGE,
        "is not apart",
    ),
    (
        "node init --dir new --name n --peer-address a:1 --client-address a:2 --fault-model hybrid \
         --wormhole-state plan.toml",
        FAILED,
        "plan.toml is no directory",
    ),
    ("node card --config no_wormhole.toml", ABSENT, "there is no wormhole's key in"),
    ("node card", USAGE, "no node file was named"),
    ("node card --config nowhere.toml", ABSENT, "it does not exist"),
    ("node card --config s0", USAGE, "not a regular file"),
    ("node card --config junk.toml", USAGE, "junk.toml:2"),
    ("node card --config typo.toml", USAGE, "unknown key `peer_lisetn`"),
    ("node card --config signed.toml", USAGE, "unknown key"),
    ("node card --config bare.toml", ABSENT, "nowhere.toml: it does not exist"),
    ("node card --config open.toml", DENIED, "others can read this secret"),
    ("node card --config broken.toml", USAGE, "64 hexadecimal digits"),
    ("node card --config s0/node.toml --log-level loud", USAGE, "invalid value 'loud'"),
    ("node check", USAGE, "no node file was named"),
    ("node check --config s0/node.toml --peer-listen here", USAGE, "invalid value 'here'"),
    ("node check --config s0/node.toml --peer-listen 127.0.0.1:0", USAGE, "no port"),
    ("node check --config s0/node.toml --data-dir .", USAGE, "lies in the data directory"),
    ("node check --config s0/node.toml --data-dir nowhere", ABSENT, "nowhere: it does not exist"),
    ("node check --config s0/node.toml --data-dir link", USAGE, "lies in"),
    ("node check --config s0/node.toml --data-dir shared", DENIED, "others can write into it"),
    ("node check --config s0/node.toml --data-dir plan.toml", USAGE, "not a directory"),
    ("node check --config s0/node.toml --client-listen PEER0", USAGE, "the same address"),
    ("node check --config s1/node.toml", CONFLICT, "cannot listen at PEER1"),
    ("node check --config bare.toml", ABSENT, "nowhere.toml: it does not exist"),
    ("node check --config plan_unsigned.toml", UNVERIFIED, "0 of the 1 administrators' signatures"),
    ("node check --config plan_tampered.toml", UNVERIFIED, "0 of the 1 administrators' signatures"),
    ("node check --config plan_forged.toml", UNVERIFIED, "0 of the 1 administrators' signatures"),
    ("node check --config plan_later.toml", UNVERIFIED, "not a cluster's first one"),
    ("node check --config plan_orphan.toml", USAGE, "must say what it follows"),
    ("node check --config plan_greedy.toml", USAGE, "4 replicas cannot tolerate f = 2"),
    ("node check --config plan_idle.toml", USAGE, "f = 0 tolerates no intrusion"),
    ("node check --config plan_hybrid.toml", USAGE, "the wormhole of `s0` does not fit `hybrid`"),
    ("node check --config plan_asynchronous.toml", USAGE, "`asynchronous` is not available"),
    ("node check --config plan_twice.toml", USAGE, "stands in two places"),
    ("node check --config plan_namesake.toml", USAGE, "two entries are named `s0`"),
    ("node check --config plan_crowded.toml", USAGE, "two listeners share"),
    ("node check --config plan_leaders.toml", USAGE, "3 leaders per round"),
    ("node check --config plan_needy.toml", USAGE, "2 of 1 administrators"),
    ("node check --config plan_new.toml", USAGE, "plan format 3"),
    ("node check --config plan_chaos.toml", USAGE, "unknown value `chaotic`"),
    ("node check --config stranger.toml", USAGE, "is the identity of no server"),
    ("node check --config stale.toml", USAGE, "has another transport key than server 0"),
];

const CLUSTER: &[Case] = &[
    ("cluster plan", USAGE, "--name <NAME>"),
    ("cluster plan --name c --administrator KEY", USAGE, "<CARD>"),
    ("cluster plan --name c --administrator 12 CARDS", USAGE, "64 hexadecimal digits"),
    ("cluster plan --name c --administrator KEY nowhere.card", ABSENT, "it does not exist"),
    ("cluster plan --name c --administrator KEY plan.toml", USAGE, "unknown key"),
    ("cluster plan --name c --administrator KEY admin.key", USAGE, "unknown key"),
    ("cluster plan --name c --administrator KEY s0.card s1.card s2.card", USAGE, "at least 4"),
    ("cluster plan --name c --administrator KEY CARDS s0.card", USAGE, "two entries are named"),
    (
        "cluster plan --name c --administrator KEY s0.card s1.card s2.card copy.card",
        USAGE,
        "two places",
    ),
    ("cluster plan --name c --administrator KEY --f 2 CARDS", USAGE, "cannot tolerate f = 2"),
    ("cluster plan --name c --administrator KEY --f 0 CARDS", USAGE, "f = 0"),
    ("cluster plan --name c --administrator KEY --f -1 CARDS", USAGE, "-1"),
    (
        "cluster plan --name c --administrator KEY --fault-model hybrid CARDS",
        USAGE,
        "the wormhole of `s0` does not fit `hybrid`",
    ),
    (
        "cluster plan --name c --administrator KEY --fault-model asynchronous CARDS",
        USAGE,
        "not available",
    ),
    (
        "cluster plan --name c --administrator KEY --fault-model hybird CARDS",
        USAGE,
        "invalid value",
    ),
    ("cluster plan --name c --administrator KEY --administrators-needed 2 CARDS", USAGE, "2 of 1"),
    ("cluster plan --name c --administrator KEY --administrators-needed 0 CARDS", USAGE, "0 of 1"),
    ("cluster plan --name c --administrator KEY --administrator KEY CARDS", USAGE, "named twice"),
    ("cluster plan --name c --administrator KEY --client first CARDS", USAGE, "write NAME=KEY"),
    ("cluster plan --name c --administrator KEY --client s0=KEY CARDS", USAGE, "are named `s0`"),
    ("cluster plan --name c --administrator KEY --leaders-per-round 3 CARDS", USAGE, "3 leaders"),
    ("cluster plan --name= --administrator KEY CARDS", USAGE, "is no name"),
    ("cluster plan --name c --administrator WEAK CARDS", USAGE, "of an administrator is weak"),
    ("cluster plan --name c --administrator KEY --client c=WEAK CARDS", USAGE, "is weak"),
    ("cluster plan --name c --administrator KEY CARDS", CONFLICT, "plan.toml: it exists already"),
    (
        "cluster plan --name c --administrator KEY CARDS --out no/where.toml",
        ABSENT,
        "does not exist",
    ),
    ("cluster sign-plan", USAGE, "<PLAN>"),
    ("cluster sign-plan plan.toml --yes", USAGE, "--key <FILE>"),
    ("cluster sign-plan plan.toml --key admin.key", USAGE, "`--key` signs with `--yes` only"),
    ("cluster sign-plan plan.toml --key nowhere.key", ABSENT, "nowhere.key: it does not exist"),
    ("cluster sign-plan nowhere.toml --key admin.key", ABSENT, "nowhere.toml: it does not exist"),
    ("cluster sign-plan junk.toml --key admin.key", USAGE, "junk.toml:2"),
    ("cluster sign-plan greedy.toml --key admin.key", USAGE, "cannot tolerate f = 2"),
    ("cluster sign-plan plan.toml --key stranger.key", DENIED, "is no administrator"),
    ("cluster sign-plan plan.toml --key stranger.key --yes", DENIED, "is no administrator"),
    ("cluster sign-plan greedy.toml", USAGE, "cannot tolerate f = 2"),
    ("cluster sign-plan disguised.toml", USAGE, "is no name"),
    ("cluster sign-plan plan.toml --key open.key", DENIED, "others can read this secret"),
    ("cluster sign-plan plan.toml --key s0/identity.toml", USAGE, "unknown key"),
    ("cluster sign-plan plan.toml --key mixed.key", UNVERIFIED, "do not belong together"),
    ("cluster sign-plan plan.toml --key newer.key", USAGE, "format 2 is not 1"),
    ("cluster show nowhere.toml", ABSENT, "it does not exist"),
    ("cluster show greedy.toml", USAGE, "cannot tolerate f = 2"),
    ("cluster show chaos.toml", USAGE, "unknown value `chaotic`"),
    ("cluster show --context unknown", ABSENT, "no cluster is known as `unknown`"),
    ("cluster show tampered.toml", UNVERIFIED, "a signature is bad"),
    ("config validate tampered.toml", UNVERIFIED, "a signature is bad"),
    ("cluster show --config astray.toml", UNVERIFIED, "which is trusted"),
    ("cluster fingerprint nowhere.toml", ABSENT, "it does not exist"),
    ("cluster fingerprint s0.card", USAGE, "unknown key"),
    ("cluster fingerprint --config client.toml --context known", USAGE, "both"),
];

const TRUST: &[Case] = &[
    ("trust add", USAGE, "<NAME>"),
    ("trust add new", USAGE, "--plan <FILE>"),
    ("trust add new --address a:1", USAGE, "--fingerprint"),
    ("trust add new --plan signed.toml --address a:1", USAGE, "cannot be used with"),
    ("trust add new --address a --fingerprint KEY", USAGE, "no port"),
    ("trust add new --plan signed.toml --fingerprint 12", USAGE, "64 hexadecimal digits"),
    ("trust add new --plan signed.toml --fingerprint KEY", UNVERIFIED, "which is trusted"),
    ("trust add new --plan plan.toml", UNVERIFIED, "administrators' signatures"),
    ("trust add new --plan tampered.toml", UNVERIFIED, "administrators' signatures"),
    ("trust add new --plan nowhere.toml", ABSENT, "it does not exist"),
    ("trust add new --plan signed.toml --key nowhere.key", ABSENT, "it does not exist"),
    ("trust add new --plan signed.toml --key open.key", DENIED, "others can read this secret"),
    ("trust add known --plan signed.toml", CONFLICT, "already known as `known`"),
    ("trust add ../new --plan signed.toml", USAGE, "no name for a cluster"),
    ("trust list extra", USAGE, "extra"),
    ("trust remove", USAGE, "<NAME>"),
    ("trust remove unknown", ABSENT, "no cluster is known as `unknown`"),
    ("trust remove ../known", USAGE, "no name for a cluster"),
    ("trust use", USAGE, "<NAME>"),
    ("trust use unknown", ABSENT, "no cluster is known as `unknown`"),
    ("trust use ../known", USAGE, "no name for a cluster"),
    ("auth keygen", USAGE, "--out <FILE>"),
    ("auth keygen --out admin.key", CONFLICT, "admin.key: it exists already"),
    ("auth keygen --out no/where.key", ABSENT, "the directory no does not exist"),
    ("auth keygen --out ..", USAGE, "names no file"),
];

const CONFIG: &[Case] = &[
    ("config show --config nowhere.toml", ABSENT, "it does not exist"),
    ("config show --context unknown", ABSENT, "no cluster is known as `unknown`"),
    ("config show --config client.toml --context known", USAGE, "both"),
    ("config show --config both.toml", USAGE, "both a plan and servers"),
    ("config show --config neither.toml", USAGE, "neither a plan nor servers"),
    ("config show --config forever.toml", USAGE, "timeout_ms is out of range"),
    ("config show --config client.toml --data-dir .", USAGE, "--data-dir is a setting of servers"),
    ("config show --config s0/node.toml --data-dir .", USAGE, "lies in the data directory"),
    ("config validate", USAGE, "<FILE>"),
    ("config validate nowhere.toml", ABSENT, "it does not exist"),
    ("config validate junk.toml", USAGE, "junk.toml:2"),
    ("config validate empty.toml", USAGE, "cannot tell what kind"),
    ("config validate typo.toml", USAGE, "unknown key `peer_lisetn`"),
    ("config validate both.toml", USAGE, "both a plan and servers"),
    ("config validate greedy.toml", USAGE, "greedy.toml: the group does not fit together"),
    ("config validate s0/node.toml --kind plan", USAGE, "unknown key"),
    ("config validate s0/node.toml --kind house", USAGE, "invalid value 'house'"),
    ("config example", USAGE, "<KIND>"),
    ("config example nodes", USAGE, "invalid value 'nodes'"),
];

const ALL: [&[Case]; 12] = [
    PROGRAM,
    NODE,
    CLUSTER,
    TRUST,
    CONFIG,
    bad_services::RECORDS,
    bad_services::KV,
    bad_services::AUTH,
    bad_services::GATEWAY,
    bad_services::STATUS,
    bad_drills::DRILLS,
    bad_designs::DESIGNS,
];

#[test]
fn bad_input_is_refused_and_changes_nothing() {
    let fixture = Fixture::cluster("bad-input");
    damage(&fixture);
    bad_services::damage(&fixture);
    bad_drills::damage(&fixture);
    bad_designs::damage(&fixture);
    let before = fixture.contents();
    let key = fixture.public("admin.key");
    let mut failures = Vec::new();
    for (typed, exit, cause) in ALL.iter().copied().flatten() {
        let cards = "s0.card s1.card s2.card s3.card";
        let line = typed.replace("KEY", &key).replace("CARDS", cards);
        let line = line.replace("LONG", &"k".repeat(1025)).replace("OTHER", &"9".repeat(64));
        let line = fixture.addressed(&line.replace("WEAK", &"00".repeat(32)));
        let cause = &fixture.addressed(cause);
        let arguments: Vec<&str> = line.split_whitespace().collect();
        let run = fixture.run(&arguments, &[]);
        let reports = typed.starts_with("node check");
        let mut failure = wrong(*exit, cause, &run);
        if !typed.contains("--output") {
            let run = fixture.run(&[&arguments[..], &["--output", "json"]].concat(), &[]);
            failure = failure.or_else(|| wrong_json(*exit, cause, &run));
        }
        if typed.starts_with("node check --config plan_") {
            let run = fixture.run(&[&["node", "start"], &arguments[2..]].concat(), &[]);
            failure =
                failure.or_else(|| wrong(*exit, cause, &run).map(|what| format!("start: {what}")));
        }
        if !run.stdout.is_empty() && !reports {
            failure = Some(format!("printed a result: {}", run.stdout));
        }
        if fixture.contents() != before {
            failure = Some("changed something on disk".to_owned());
        }
        failures.extend(failure.map(|failure| format!("`{typed}`: {failure}")));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn the_environment_is_checked_like_arguments() {
    let fixture = Fixture::cluster("bad-environment");
    let before = fixture.contents();
    let home = [("XDG_CONFIG_HOME", ""), ("HOME", "")];
    for (arguments, environment, exit, cause) in [
        (&["version"][..], &[("RAVELIN_OUTPUT", "xml")][..], USAGE, "invalid value 'xml'"),
        (&["config", "show"], &[("RAVELIN_TIMEOUT", "soon")], USAGE, "a number with a unit"),
        (&["version"], &[("RAVELIN_TIMEOUT", "soon")], USAGE, "(from RAVELIN_TIMEOUT)"),
        (&["version"], &[("RAVELIN_OUTPUT", "xml")], USAGE, "(from RAVELIN_OUTPUT)"),
        (&["config", "show"], &[("RAVELIN_CONTEXT", "unknown")], ABSENT, "unknown"),
        (
            &["config", "show"],
            &[("RAVELIN_CONTEXT", "known"), ("RAVELIN_CONFIG", "client.toml")],
            USAGE,
            "both",
        ),
        (&["node", "check"], &[("RAVELIN_CONFIG", "nowhere.toml")], ABSENT, "does not exist"),
        (
            &["node", "check", "--config", "s0/node.toml"],
            &[("RAVELIN_ADMIN_LISTEN", "on")],
            USAGE,
            "neither ip:port nor `off`",
        ),
        (&["trust", "list"], &home, USAGE, "no place for contexts"),
        (&["cluster", "show"], &home, ABSENT, "no cluster was named"),
    ] {
        let run = fixture.run(arguments, environment);
        let failure = wrong(exit, cause, &run);
        assert_eq!(failure, None, "{arguments:?} with {environment:?}");
        assert!(fixture.contents() == before, "{arguments:?} changed something on disk");
    }
}

#[test]
fn what_the_environment_gives_is_not_shown_as_needed() {
    let fixture = Fixture::cluster("usage");
    let run = fixture.run(&["kv", "put"], &[("RAVELIN_CONFIG", "client.toml")]);
    let hint = "hint: usage: ravelin kv put [OPTIONS] <KEY>";
    assert!(run.exit == USAGE && run.stderr.contains(hint), "{}", run.stderr);
}

#[test]
fn whoever_has_no_cluster_yet_learns_how_to_make_one() {
    let run = Fixture::empty("first").run(&["kv", "get", "a"], &[]);
    assert!(run.exit == ABSENT && run.stderr.contains("ravelin local up"), "{}", run.stderr);
}

#[test]
fn every_command_has_a_case() {
    let fixture = Fixture::empty("coverage");
    for leaf in leaves(&fixture) {
        let command = leaf.path.join(" ");
        let is_of = |(typed, _, _): &&Case| {
            typed
                .strip_prefix(&command)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
        };
        assert!(ALL.iter().copied().flatten().any(|case| is_of(&case)), "`{command}` has none");
    }
}

/// Files with one thing wrong in each. Node files `plan_X.toml` name the plan `X.toml`.
fn damage(fixture: &Fixture) {
    let node = |name: &str, key: &str, old: &str, new: &str| {
        fixture.change("s0/node.toml", name, &format!("{key} = \"{old}\""), new);
    };
    let relative = |name: &str, plan: &str, identity: &str| {
        node(name, "plan", "plan.toml", &format!("plan = \"{plan}\""));
        fixture.change(name, name, "\"identity.toml\"", &format!("\"{identity}\""));
        fixture.change(name, name, "\"data\"", "\"s0/data\"");
    };
    fixture.write("junk.toml", "name = \"x\"\nthis is not TOML\n");
    fixture.write("empty.toml", "");
    fixture.change("s0/node.toml", "typo.toml", "peer_listen", "peer_lisetn");
    relative("bare.toml", "signed.toml", "nowhere.toml");
    relative("no_wormhole.toml", "signed.toml", "s0/identity.toml");
    let with_table = fixture.read("no_wormhole.toml") + "[wormhole]\n";
    fixture.write("no_wormhole.toml", &with_table);
    relative("open.toml", "signed.toml", "open-identity.toml");
    fixture.change("s0/identity.toml", "open-identity.toml", "SECRET", "secret");
    fixture.chmod("open-identity.toml", 0o644);
    relative("broken.toml", "signed.toml", "broken-identity.toml");
    fixture.change(
        "s0/identity.toml",
        "broken-identity.toml",
        "block_seed = \"",
        "block_seed = \"x",
    );
    symlink(fixture.path("s0"), fixture.path("link")).expect("linked");
    std::fs::create_dir(fixture.path("shared")).expect("made");
    fixture.chmod("shared", 0o777);
    damage_plans(fixture);
    for plan in [
        "unsigned",
        "tampered",
        "forged",
        "later",
        "orphan",
        "greedy",
        "idle",
        "hybrid",
        "asynchronous",
        "twice",
        "namesake",
        "crowded",
        "leaders",
        "needy",
        "new",
        "chaos",
    ] {
        relative(&format!("plan_{plan}.toml"), &format!("{plan}.toml"), "s0/identity.toml");
    }
    let text = fixture.read("s0/identity.toml");
    let seed = text.lines().find(|line| line.starts_with("transport_seed")).expect("there");
    let other = format!("transport_seed = \"{}\"", "2".repeat(64));
    fixture.change("s0/identity.toml", "stale-identity.toml", seed, &other);
    relative("stale.toml", "signed.toml", "stale-identity.toml");
    relative("stranger.toml", "signed.toml", "s9/identity.toml");
    let init = ["node", "init", "--dir", "s9", "--name", "s9", "--admin-listen", "off"];
    let addresses = ["--peer-address", "127.0.0.1:9", "--client-address", "127.0.0.1:10"];
    fixture.done(&[&init[..], &addresses].concat());
    damage_keys(fixture);
}

/// Cards, keys and client files with one thing wrong in each.
fn damage_keys(fixture: &Fixture) {
    let digest = "1".repeat(64);
    let token = |name: &str| {
        let rest = format!("digest = \"{digest}\"\nkey = \"client.key\"\ncreated = \"now\"\n");
        format!("[[tokens]]\nname = \"{name}\"\n{rest}")
    };
    fixture.write("tokens.toml", &format!("version = 1\n{}{}", token("one"), token("two")));
    fixture.chmod("tokens.toml", 0o600);
    fixture.change("s0.card", "copy.card", "\"s0\"", "\"copy\"");
    for (address, other) in fixture.addresses(0).into_iter().zip(["127.0.0.1:8", "127.0.0.1:7"]) {
        fixture.change("copy.card", "copy.card", address, other);
    }
    fixture.change("admin.key", "open.key", "SECRET", "secret");
    fixture.chmod("open.key", 0o640);
    fixture.change("admin.key", "newer.key", "version = 1", "version = 2");
    let public = |key: &str| {
        let text = fixture.read(key);
        text.lines().find(|line| line.starts_with("public")).expect("there").to_owned()
    };
    fixture.change("admin.key", "mixed.key", &public("admin.key"), &public("client.key"));
    let client = "xdg/ravelin/contexts/known/client.toml";
    fixture.change(client, "client.toml", "plan.toml", "signed.toml");
    let servers = "[[servers]]\naddress = \"a:1\"\n";
    fixture.write("both.toml", &format!("{}{servers}", fixture.read("client.toml")));
    fixture.change("client.toml", "neither.toml", "plan = \"signed.toml\"\n", "");
    fixture.change("client.toml", "forever.toml", "key =", "timeout_ms = 86400001\nkey =");
    fixture.change("client.toml", "astray.toml", "signed.toml", "tampered.toml");
}

/// Plans with one thing wrong in each.
fn damage_plans(fixture: &Fixture) {
    let signed = fixture.read("signed.toml");
    let lines: Vec<&str> = signed.lines().collect();
    let quoted = |beginning: &str, nth: usize| {
        let mut found = lines.iter().filter(|line| line.starts_with(beginning));
        let line = found.nth(nth).expect("there");
        line.split('"').nth(1).expect("quoted").to_owned()
    };
    fixture.change("plan.toml", "unsigned.toml", "# A", "# a");
    for (name, old, new) in [
        ("tampered", "name = \"test\"", "name = \"tent\""),
        ("forged", &quoted("signature = ", 0), &"0".repeat(128)),
        ("later", "epoch = 1", "epoch = 2"),
        ("orphan", "epoch = 1", "epoch = 2"),
        ("greedy", "\nf = 1", "\nf = 2"),
        ("idle", "\nf = 1", "\nf = 0"),
        ("hybrid", "arbitrary", "hybrid"),
        ("asynchronous", "arbitrary", "asynchronous"),
        ("chaos", "arbitrary", "chaotic"),
        ("twice", &quoted("block = ", 1), &quoted("block = ", 0)),
        ("namesake", "\"s1\"", "\"s0\""),
        ("crowded", &fixture.addressed("PEER1"), &fixture.addressed("PEER0")),
        ("leaders", "leaders_per_round = 2", "leaders_per_round = 3"),
        ("needy", "administrators_needed = 1", "administrators_needed = 2"),
        ("new", "version = 2", "version = 3"),
        ("disguised", "name = \"test\"", "name = \"test\\nepoch\""),
    ] {
        fixture.change("signed.toml", &format!("{name}.toml"), old, new);
    }
    let digest = format!("\"{}\"", "1".repeat(64));
    let digests = format!("plan = {digest}\nstate = {digest}\nordering = {digest}\n");
    let previous =
        format!("[previous]\n{digests}commit = 7\ntime_us = 8\nposition = 9\n\n[[members]]");
    fixture.change("later.toml", "later.toml", "[[members]]", &previous);
}

/// What is wrong with how a case ended, if anything.
pub(crate) fn wrong(exit: i32, cause: &str, run: &Run) -> Option<String> {
    let lines: Vec<&str> = run.stderr.lines().collect();
    let has_form = match lines.as_slice() {
        [error, hint] => {
            error.strip_prefix("error: ").is_some_and(|error| error.contains(cause))
                && hint.strip_prefix("hint: ").is_some_and(|hint| hint.len() > 4)
        }
        _ => false,
    };
    let holds = run.exit == exit && has_form;
    (!holds).then(|| {
        format!("exit {} instead of {exit}, or without `{cause}`: {}", run.exit, run.stderr)
    })
}

/// The same with JSON errors.
fn wrong_json(exit: i32, cause: &str, run: &Run) -> Option<String> {
    let json: serde_json::Value = serde_json::from_str(&run.stderr).unwrap_or_default();
    let text = |key: &str| {
        let value = json.pointer(&format!("/error/{key}"));
        value.and_then(serde_json::Value::as_str).unwrap_or_default().to_owned()
    };
    let code = match exit {
        FAILED => "failed",
        USAGE => "usage",
        DENIED => "denied",
        ABSENT => "not_found",
        bad_services::NO_QUORUM => "no_quorum",
        UNVERIFIED => "verification_failed",
        _ => "conflict",
    };
    let has_form =
        text("code") == code && text("message").contains(cause) && !text("hint").is_empty();
    let holds = run.exit == exit && has_form;
    (!holds).then(|| format!("exit {} instead of {exit}, as JSON: {}", run.exit, run.stderr))
}
