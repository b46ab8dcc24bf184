//! Nothing is too long to be read.

use super::exceptions::Exceptions;
use super::finding::Finding;
use super::source::{FUNCTION_LINES_MAX, Source, is_test_file};
use super::tree::Tree;

/// The most lines of a file, tests apart.
const FILE_LINES_MAX: usize = 600;
/// The most lines of a file of tests.
const TEST_FILE_LINES_MAX: usize = 1_000;

/// The wormhole's sources.
const TRUSTED: &str = "crates/wormhole/src/";
/// What wormholes do together: a local one never enters it.
const TOGETHER: &[&str] = &["core/distributed", "frame/agreement", "frame/control"];
/// Of these, the engine by rounds: a wormhole that agrees by majority never enters it.
const ROUNDS: &[&str] = &["core/distributed/rounds", "frame/said"];
/// What is trusted: a name, its files without those of the parts before, and the most lines of code in
/// these, comments and tests apart. Each is to be read on its own.
const TRUSTED_PARTS: [(&str, &[&str], usize); 4] = [
    ("engine in real time of the trusted core", ROUNDS, 280),
    ("distributed part of the trusted core", TOGETHER, 2_000),
    ("trusted core", &["attestation", "core", "frame", "keys"], 2_000),
    ("process around the trusted core", &["os", "sandbox", "serve"], 1_100),
];
/// And what of these files is not: checks by peers, words for people, arguments, measuring.
const BESIDE: &[&str] =
    &["attestation/peer.rs", "sandbox/protection.rs", "serve/arguments.rs", "serve/selftest.rs"];

/// A file has at most 600 lines without its tests, a file of tests at most 1,000.
pub(crate) fn rule_files_are_short(tree: &Tree, _: &Exceptions) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.files_ending(".rs") {
        let source = Source::new(path, text);
        let (count, max) = if is_test_file(path) {
            (source.lines().count(), TEST_FILE_LINES_MAX)
        } else {
            (source.product_lines().count(), FILE_LINES_MAX)
        };
        if count > max {
            let what = format!("{count} lines, {max} allowed");
            let why = "nobody reads it in one sitting";
            findings.push(Finding::new(path, max + 1, &what, why, "split it by idea"));
        }
    }
    findings
}

/// The wormhole's trusted core is audited in a day, what wormholes do together in another, and the process
/// around them in half of one: what decides and signs; what closes the process and serves there; and the
/// engine in real time where that is chosen. Beside them, and counted apart by nobody: the payload's side, the start, and the state that a hardware counter protects.
pub(crate) fn rule_trusted_core_is_small(tree: &Tree, _: &Exceptions) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, (name, parts, lines_max)) in TRUSTED_PARTS.into_iter().enumerate() {
        let is_of = |parts: &[&str], file: &str| parts.iter().any(|part| file.starts_with(part));
        let before = TRUSTED_PARTS.get(..number).unwrap_or_default();
        let is_part = |path: &str| {
            let Some(file) = path.strip_prefix(TRUSTED) else { return false };
            is_of(parts, file)
                && !before.iter().any(|(_, parts, _)| is_of(parts, file))
                && !BESIDE.contains(&file)
                && !is_test_file(path)
        };
        let is_code = |line: &str| !line.is_empty() && !line.starts_with("//");
        let files = tree.files_ending(".rs").filter(|(path, _)| is_part(path));
        let count: usize = files
            .map(|(path, text)| {
                let source = Source::new(path, text);
                source.product_lines().filter(|line| is_code(line.code.trim())).count()
            })
            .sum();
        if count > lines_max {
            let what = format!("the {name} has {count} lines of code, {lines_max} allowed");
            let why = "whoever trusts it must be able to read all of it";
            let remedy = "move out of it what need not be trusted";
            findings.push(Finding::new(TRUSTED, 1, &what, why, remedy));
        }
    }
    findings
}

/// A function has at most 70 lines, unless it is listed.
pub(crate) fn rule_functions_are_short(tree: &Tree, exceptions: &Exceptions) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.files_ending(".rs") {
        for function in Source::new(path, text).functions() {
            let name = &function.name;
            if function.is_long() && !exceptions.allows_long_function(path, name) {
                let what = format!(
                    "`{name}` has {} lines, {FUNCTION_LINES_MAX} allowed",
                    function.line_count
                );
                let why = "it does more than one thing";
                let remedy = "split it, or list it in xtask/exceptions.txt with the reason it reads \
                     better whole";
                findings.push(Finding::new(path, function.line, &what, why, remedy));
            }
        }
    }
    findings
}
