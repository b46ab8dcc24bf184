//! Bad input to the commands that talk to a cluster; nobody listens where the fixture's servers are.

use crate::bad_input::{ABSENT, CONFLICT, Case, DENIED, FAILED, UNVERIFIED, USAGE};
use crate::fixture::Fixture;

pub(crate) const NO_QUORUM: i32 = 5;

pub(crate) const KV: &[Case] = &[
    ("kv", USAGE, "`ravelin kv` needs a command"),
    ("kv putt a 1", USAGE, "unrecognized subcommand 'putt'"),
    ("kv put", USAGE, "<KEY>"),
    ("kv put a", USAGE, "<VALUE>"),
    ("kv put a 1 2", USAGE, "2"),
    ("kv put a 1 --file plan.toml", USAGE, "cannot be used with"),
    ("kv put a --file nowhere", ABSENT, "nowhere: it does not exist"),
    ("kv put a --file s0", FAILED, "cannot read s0"),
    ("kv put a --file large", USAGE, "large: a value of more than 524288 bytes"),
    ("kv put LONG 1", USAGE, "a key of 1025 bytes is too long"),
    ("kv put a 1 --lease x", USAGE, "a lease is a number"),
    ("kv put a 1 --if-absent --if-value 1", USAGE, "cannot be used with"),
    ("kv put a 1 --if-absent --if-changed-at 1", USAGE, "cannot be used with"),
    ("kv put a 1 --if-value 1 --if-changed-at 1", USAGE, "cannot be used with"),
    ("kv put a 1 --if-changed-at x", USAGE, "invalid value 'x'"),
    ("kv put a 1 --config keyless.toml", DENIED, "keyless.toml names no key"),
    ("kv put a 1 --config astray.toml", UNVERIFIED, "which is trusted"),
    ("kv put a 1 --config both.toml", USAGE, "both a plan and servers"),
    ("kv put a 1 --context unknown", ABSENT, "no cluster is known as `unknown`"),
    ("kv put a 1 --evidence no/where", ABSENT, "cannot keep evidence in"),
    ("kv put a 1 --evidence s0", USAGE, "evidence cannot be kept in"),
    ("kv put a 1 --evidence plan.toml/e", USAGE, "evidence cannot be kept in"),
    ("kv put a 1 --timeout 100ms", NO_QUORUM, "0 of 4 servers answer, 3 must agree"),
    (
        "kv put a 1 --config silent.toml --timeout 100ms",
        NO_QUORUM,
        "127.0.0.1:6200: cannot connect",
    ),
    ("kv get a --config s0/node.toml", USAGE, "is the file of a server, not of a client"),
    ("kv lease grant 25h", USAGE, "a lease lasts from 1s to 24h"),
    ("kv get", USAGE, "<KEY>"),
    ("kv get a b", USAGE, "b"),
    ("kv get LONG", USAGE, "too long"),
    ("kv get a --timeout 100ms", NO_QUORUM, "0 of 4 servers answer"),
    ("kv get a --stale-ok --timeout 100ms", NO_QUORUM, "0 of 4 servers answer"),
    ("kv delete", USAGE, "<KEY>"),
    ("kv delete a --if-value 1 --if-changed-at 1", USAGE, "cannot be used with"),
    ("kv delete LONG", USAGE, "too long"),
    ("kv cas a 1", USAGE, "<NEW>"),
    ("kv cas LONG 1 2", USAGE, "too long"),
    ("kv list --limit 0", USAGE, "0 is not in 1.."),
    ("kv list a b", USAGE, "b"),
    ("kv list LONG", USAGE, "too long"),
    ("kv watch --from 0", USAGE, "0 is not in 1.."),
    ("kv watch --from x", USAGE, "invalid value 'x'"),
    ("kv watch a --timeout 100ms", NO_QUORUM, "0 of 4 servers answer"),
    ("kv txn", USAGE, "<FILE>"),
    ("kv txn nowhere", ABSENT, "nowhere: it does not exist"),
    ("kv txn -", USAGE, "there is no `then`"),
    ("kv txn bad.txn", USAGE, "bad.txn:4: `move` is no step"),
    ("kv txn noise", USAGE, "noise: it is not text"),
    ("kv lease", USAGE, "`ravelin kv lease` needs a command"),
    ("kv lease grant", USAGE, "<TTL>"),
    ("kv lease grant 60", USAGE, "a number with a unit"),
    ("kv lease grant 500ms", USAGE, "a lease lasts from 1s to 24h"),
    ("kv lease renew", USAGE, "<ID>"),
    ("kv lease renew x", USAGE, "a lease is a number"),
    ("kv lease revoke 1.5", USAGE, "a lease is a number"),
    ("kv lease show 1 2", USAGE, "2"),
    ("kv lease show 1 --timeout 100ms", NO_QUORUM, "0 of 4 servers answer"),
    ("kv lock", USAGE, "<NAME>"),
    ("kv lock LONG", USAGE, "too long"),
    ("kv lock a --ttl 25h", USAGE, "a lease lasts from 1s to 24h"),
    ("kv lock a --ttl 5s --lease 1", USAGE, "cannot be used with"),
    ("kv lock a touch made", USAGE, "touch"),
    ("kv lock a --timeout 100ms --output text -- touch made", NO_QUORUM, "0 of 4 servers answer"),
    ("kv unlock a", USAGE, "--lease <ID>"),
    ("kv unlock a --lease x", USAGE, "a lease is a number"),
];

pub(crate) const AUTH: &[Case] = &[
    ("auth enroll", USAGE, "<NAME>"),
    ("auth enroll bob", USAGE, "<KEY>"),
    ("auth enroll bob WEAK --key admin.key", USAGE, "of client `bob` is weak"),
    ("auth approve enroll bob WEAK --key admin.key --out new", USAGE, "of client `bob` is weak"),
    ("auth enroll bob KEY", USAGE, "--key <FILE>"),
    ("auth enroll bob 12 --key admin.key", USAGE, "64 hexadecimal digits"),
    ("auth enroll b\u{e9} KEY --key admin.key", USAGE, "no name"),
    ("auth enroll bob KEY --key nowhere.key", ABSENT, "nowhere.key: it does not exist"),
    ("auth enroll bob KEY --key open.key", DENIED, "others can read this secret"),
    ("auth enroll bob KEY --key mixed.key", UNVERIFIED, "do not belong together"),
    ("auth enroll bob KEY --key stranger.key", DENIED, "is no administrator"),
    ("auth enroll bob KEY --approval nowhere.toml", ABSENT, "it does not exist"),
    ("auth enroll bob KEY --approval plan.toml", USAGE, "unknown key"),
    ("auth enroll bob KEY --key admin.key --timeout 100ms", NO_QUORUM, "0 of 4 servers answer"),
    ("auth revoke", USAGE, "<NAME>"),
    ("auth revoke bob", USAGE, "--key <FILE>"),
    ("auth revoke bob --key stranger.key", DENIED, "is no administrator"),
    ("auth revoke bob --key admin.key --timeout 100ms", NO_QUORUM, "0 of 4 servers answer"),
    ("auth approve", USAGE, "`ravelin auth approve` needs a command"),
    ("auth approve enroll bob KEY --key admin.key", USAGE, "--out <FILE>"),
    ("auth approve enroll bob KEY --key admin.key --out client.key", CONFLICT, "exists already"),
    ("auth approve enroll bob KEY --key stranger.key --out new", DENIED, "is no administrator"),
    ("auth approve revoke bob --key nowhere.key --out new", ABSENT, "it does not exist"),
    ("auth approve revoke bob --key admin.key --out new --timeout 100ms", NO_QUORUM, "0 of 4"),
    ("auth list extra", USAGE, "extra"),
    ("auth list --config keyless.toml", DENIED, "names no key"),
    ("auth list --timeout 100ms", NO_QUORUM, "0 of 4 servers answer"),
    ("auth whoami extra", USAGE, "extra"),
    ("auth whoami --timeout 100ms", NO_QUORUM, "0 of 4 servers answer"),
    ("trust add known --address 127.0.0.1:6200 --fingerprint KEY", CONFLICT, "already known"),
    (
        "trust add new --address 127.0.0.1:6200 --fingerprint KEY --timeout 100ms",
        NO_QUORUM,
        "127.0.0.1:6200: cannot connect",
    ),
];

pub(crate) const STATUS: &[Case] = &[
    ("status extra", USAGE, "extra"),
    ("status --context unknown", ABSENT, "no cluster is known as `unknown`"),
    ("status --config neither.toml", USAGE, "neither a plan nor servers"),
    ("status --timeout 100ms", NO_QUORUM, "none of 4 servers answers"),
    ("status --config keyless.toml --timeout 100ms", NO_QUORUM, "none of 4 servers answers"),
];

/// Files with one thing wrong in each.
pub(crate) fn damage(fixture: &Fixture) {
    fixture.change("client.toml", "keyless.toml", "key = ", "# key = ");
    let servers = "\n[[servers]]\naddress = \"127.0.0.1:6200\"\n";
    fixture.change("client.toml", "silent.toml", "plan = \"signed.toml\"\n", "");
    fixture.write("silent.toml", &format!("{}{servers}", fixture.read("silent.toml")));
    fixture.write("large", &"x".repeat(524_289));
    fixture.write("bad.txn", "if\n  absent a\nthen\n  move a b\n");
    std::fs::write(fixture.path("noise"), [0xff, 0xfe, b'\n']).expect("written");
}
