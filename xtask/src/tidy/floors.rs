//! The floors of the house: who may import whom, what a pure crate may never contain, and where
//! protocols meet the world.

use super::exceptions::Exceptions;
use super::finding::Finding;
use super::manifest::{Table, dependencies};
use super::source::{Source, has_word};
use super::tree::Tree;

/// How the names of our packages begin.
pub(crate) const OURS: &str = "ravelin-";

/// The floors, lowest first: a crate, and what it may import of ours.
const FLOORS: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("wormhole", &[]),
    ("crypto", &["model"]),
    ("multicast", &["model", "crypto"]),
    ("services", &["model", "crypto"]),
    ("client", &["model", "crypto"]),
    ("replication", &["model", "crypto", "multicast"]),
    ("runtime", &["model", "crypto", "wormhole"]),
    ("sim", SIM),
    ("engines", &[]),
    ("assess", &["model", "engines"]),
    ("gateway", &["client", "runtime", "model", "crypto"]),
    ("ravelin", EVERYTHING),
];

const SIM: &[&str] =
    &["model", "crypto", "wormhole", "multicast", "replication", "services", "client"];

const EVERYTHING: &[&str] = &[
    "model",
    "wormhole",
    "crypto",
    "multicast",
    "services",
    "client",
    "replication",
    "runtime",
    "sim",
    "assess",
    "gateway",
];

/// The crates without clock, sockets, threads and chance.
const PURE: &[&str] = &["model", "crypto", "multicast", "replication", "services", "client"];

/// What a pure crate never says outside its tests, and what it says instead.
const IMPURE: &[(&str, &str)] = &[
    ("tokio", "return actions; a driver performs them"),
    ("async", "return actions; a driver performs them"),
    ("std::net", "take addresses as `core::net` types; sockets belong to runtime"),
    ("std::fs", "emit `Action::Persist`; files belong to runtime"),
    ("std::thread", "threads belong to runtime"),
    ("Instant::now", "take the time as an argument"),
    ("SystemTime", "take the time as an argument"),
    ("macro_rules!", "write a function, or the code itself"),
];

/// The three files in which the network, the disk and the clock meet the protocols.
const DRIVERS: [&str; 3] =
    ["crates/runtime/src/driver.rs", "crates/runtime/src/client.rs", "crates/sim/src/sim.rs"];
/// They only give a core the codec or the face that its driver asks for: one call becomes one call.
const ADAPTERS: [&str; 2] =
    ["crates/ravelin/src/server/host.rs", "crates/gateway/src/connection.rs"];
/// What protocols execute is counted there: no network, no disk and no clock of the world is in it.
const COUNTED: &str = "crates/ravelin/examples/instructions.rs";
/// An intruder is a protocol around another one: it may hand it messages.
const INTRUDERS: [&str; 2] = ["crates/sim/src/intruder/", "crates/sim/src/brm/intruder/"];
/// The worlds of reliable multicast, which no server runs: the virtual one, and that of its
/// demonstration.
const BESIDE: [&str; 2] =
    ["crates/sim/src/brm/world.rs", "crates/ravelin/src/multicast_demo/party.rs"];
/// The calls that feed a protocol.
const FEEDING: [&str; 2] = ["on_message(", "on_time("];

/// Whether the file belongs to a crate below `runtime`.
pub(crate) fn below_runtime(path: &str) -> bool {
    crate_of(path).is_some_and(|name| PURE.contains(&name) || name == "wormhole")
}

/// A crate imports only what its floor allows; its tests may also use the simulator and what the
/// simulator drives.
pub(crate) fn rule_crates_import_their_floor(tree: &Tree, _: &Exceptions) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.files_ending("/Cargo.toml") {
        let Some(name) = crate_of(path) else { continue };
        let Some((_, allowed)) = FLOORS.iter().find(|(floor, _)| *floor == name) else {
            let what = format!("crate `{name}` has no floor");
            let why = "nobody knows what it may import";
            let remedy = "write an ADR and add it to xtask/src/tidy/floors.rs";
            findings.push(Finding::new(path, 1, &what, why, remedy));
            continue;
        };
        for entry in dependencies(text) {
            let Some(import) = entry.name.strip_prefix(OURS) else { continue };
            let for_tests =
                entry.table == Table::Tests && (import == "sim" || SIM.contains(&import));
            if !allowed.contains(&import) && !for_tests {
                let what = format!("`{name}` imports `{import}`");
                let why = "its floor does not allow that";
                let remedy = "move the code to the floor where it belongs";
                findings.push(Finding::new(path, entry.line, &what, why, remedy));
            }
        }
    }
    findings
}

/// Pure crates have no clock, socket, file, thread or macro.
pub(crate) fn rule_pure_crates_are_pure(tree: &Tree, _: &Exceptions) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.files_ending(".rs") {
        if !crate_of(path).is_some_and(|name| PURE.contains(&name)) {
            continue;
        }
        for line in Source::new(path, text).product_lines() {
            for (word, remedy) in IMPURE.iter().filter(|(word, _)| has_word(line.code, word)) {
                let what = format!("`{word}` in a pure crate");
                let why = "protocols must run alike under the simulator";
                findings.push(Finding::new(path, line.number, &what, why, remedy));
            }
        }
    }
    findings
}

/// Each pure crate has the `clippy.toml` that bans what this file cannot see.
pub(crate) fn rule_pure_crates_have_a_clippy_file(tree: &Tree, _: &Exceptions) -> Vec<Finding> {
    let mut findings = Vec::new();
    for name in PURE {
        let manifest = format!("crates/{name}/Cargo.toml");
        let clippy = tree.text(&format!("crates/{name}/clippy.toml")).unwrap_or_default();
        let has_both = clippy.contains("disallowed-methods") && clippy.contains("disallowed-types");
        if tree.contains(&manifest) && !has_both {
            let what = "no `clippy.toml` with disallowed-methods and disallowed-types beside it";
            let why = "clocks and hash maps would pass";
            let remedy = "copy that of crates/model";
            findings.push(Finding::new(&manifest, 1, what, why, remedy));
        }
    }
    findings
}

/// Above the pure crates, protocols are fed in three files only.
pub(crate) fn rule_three_drivers(tree: &Tree, _: &Exceptions) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.files_ending(".rs") {
        let above = crate_of(path).is_some_and(|name| !PURE.contains(&name));
        let may_feed = DRIVERS.contains(&path) || ADAPTERS.contains(&path);
        let may_feed = may_feed || path == COUNTED || BESIDE.contains(&path);
        if !above || may_feed || INTRUDERS.iter().any(|below| path.starts_with(below)) {
            continue;
        }
        for line in Source::new(path, text).product_lines() {
            let feeds =
                |call| has_word(line.code, call) && !line.code.contains(&format!("fn {call}"));
            if FEEDING.into_iter().any(feeds) {
                let what = "feeds a protocol";
                let why = "the world meets protocols in three files, so that a reader can check all \
                           of them";
                let remedy = "let runtime/src/driver.rs, runtime/src/client.rs or sim/src/sim.rs \
                              do it";
                findings.push(Finding::new(path, line.number, what, why, remedy));
            }
        }
    }
    findings
}

/// The crate that a path belongs to.
fn crate_of(path: &str) -> Option<&str> {
    path.strip_prefix("crates/")?.split('/').next()
}
