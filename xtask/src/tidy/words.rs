//! Words that may not stand in the repository.

use super::exceptions::Exceptions;
use super::finding::Finding;
use super::source::{Source, has_word};
use super::tree::Tree;

/// What marks unfinished work in any text. (Cut in two, so that this file passes its own rule.)
const MARKS: [&str; 2] = [concat!("TO", "DO"), concat!("FIX", "ME")];
/// What marks unfinished work in code.
const MACROS: [&str; 3] = ["dbg!", "todo!", "unimplemented!"];
/// Kinds of file in which unfinished work is looked for; prose may name the marks.
const CODE: [&str; 6] = [".rs", ".toml", ".py", ".sh", ".ci/run", "justfile"];
/// Beginnings of paths that exist on somebody's machine only.
const HOMES: [&str; 4] =
    [concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/Us", "ers/"), concat!("/wo", "rk/")];

/// No reminders, no debugging left behind.
pub(crate) fn rule_nothing_is_left_undone(tree: &Tree, _: &Exceptions) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut find = |path, line, what| {
        let what = format!("`{what}`");
        let remedy = "do it now, or open an issue and describe today's behaviour here";
        findings.push(Finding::new(path, line, &what, "unfinished work", remedy));
    };
    for (path, text) in tree.files() {
        if !CODE.iter().any(|suffix| path.ends_with(suffix)) {
            continue;
        }
        for (line, number) in text.lines().zip(1..) {
            for mark in MARKS.iter().filter(|mark| has_word(line, mark)) {
                find(path, number, mark);
            }
        }
        if path.ends_with(".rs") {
            for line in Source::new(path, text).lines() {
                for word in MACROS.iter().filter(|word| has_word(line.code, word)) {
                    find(path, line.number, word);
                }
            }
        }
    }
    findings
}

/// `unsafe` stands only in the files that the exceptions list.
pub(crate) fn rule_unsafe_is_listed(tree: &Tree, exceptions: &Exceptions) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.files_ending(".rs") {
        if exceptions.allows_unsafe(path) {
            continue;
        }
        for line in Source::new(path, text).lines().filter(|line| has_word(line.code, "unsafe")) {
            let why = "the compiler checks nothing there";
            let remedy = "use a safe interface (rustix has most system calls), or list the file \
                          in xtask/exceptions.txt with its invariant";
            findings.push(Finding::new(path, line.number, "`unsafe`", why, remedy));
        }
    }
    findings
}

/// No path of the machine on which a file was written.
pub(crate) fn rule_no_path_of_a_machine(tree: &Tree, _: &Exceptions) -> Vec<Finding> {
    let mut findings = Vec::new();
    // A clone at the top of the file system, such as `/src`, says nothing about a machine.
    let root = Some(tree.root()).filter(|root| root.matches('/').count() > 1);
    for (path, text) in tree.files() {
        for (line, number) in text.lines().zip(1..) {
            let found = HOMES.into_iter().chain(root).find(|home| has_path(line, home));
            if let Some(home) = found {
                let what = format!("a path below `{home}`");
                let why = "it exists on one machine only";
                let remedy = "write it relative to the repository";
                findings.push(Finding::new(path, number, &what, why, remedy));
            }
        }
    }
    findings
}

/// Whether a path in `line` begins with `home`; a part of a URL or of a longer path does not.
fn has_path(line: &str, home: &str) -> bool {
    line.match_indices(home).any(|(start, _)| {
        let before = line.get(..start).and_then(|text| text.chars().next_back());
        !before.is_some_and(|c| c.is_alphanumeric() || "._-~/}>*$".contains(c))
    })
}
