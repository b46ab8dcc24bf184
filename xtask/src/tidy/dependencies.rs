//! Dependencies are few, and each has a reason.

use std::collections::BTreeSet;

use super::exceptions::Exceptions;
use super::finding::Finding;
use super::floors::{OURS, below_runtime};
use super::manifest::{Table, dependencies};
use super::tree::Tree;

/// The most direct dependencies of the workspace.
const DEPENDENCIES_MAX: usize = 60;
/// The most direct dependencies over the crates below `runtime`.
const DEPENDENCIES_BELOW_RUNTIME_MAX: usize = 25;

const ROOT: &str = "Cargo.toml";

/// Every direct dependency stands in the root `Cargo.toml`, with its reason on its line.
pub(crate) fn rule_dependencies_have_reasons(tree: &Tree, _: &Exceptions) -> Vec<Finding> {
    let mut findings = Vec::new();
    for entry in dependencies(tree.text(ROOT).unwrap_or_default()) {
        if entry.comment.is_empty() && !entry.name.starts_with(OURS) {
            let what = format!("`{}` has no reason", entry.name);
            let why = "every dependency is code that we trust";
            let remedy = "say at the end of its line what it is for";
            findings.push(Finding::new(ROOT, entry.line, &what, why, remedy));
        }
    }
    for (path, text) in member_manifests(tree) {
        for entry in dependencies(text).iter().filter(|entry| !entry.from_workspace) {
            let what = format!("`{}` is not taken from the workspace", entry.name);
            let why = "its version and reason belong in one place";
            let remedy = "move it to the root Cargo.toml and write `workspace = true` here";
            findings.push(Finding::new(path, entry.line, &what, why, remedy));
        }
    }
    findings
}

/// At most 60 direct dependencies, at most 25 over the crates below `runtime`.
pub(crate) fn rule_dependencies_are_few(tree: &Tree, _: &Exceptions) -> Vec<Finding> {
    let listed = dependencies(tree.text(ROOT).unwrap_or_default());
    let listed = listed.into_iter().map(|entry| entry.name);
    let below = member_manifests(tree).filter(|(path, _)| below_runtime(path));
    let below = below.flat_map(|(_, text)| {
        dependencies(text).into_iter().filter(|entry| entry.table == Table::Product)
    });
    let below = below.map(|entry| entry.name);
    let mut findings = Vec::new();
    let mut find = |scope: &str, names: BTreeSet<String>, max| {
        if names.len() > max {
            let what = format!("{} direct dependencies {scope}, {max} allowed", names.len());
            let why = "every dependency is code that we trust";
            findings.push(Finding::new(ROOT, 1, &what, why, "do without one"));
        }
    };
    let foreign = |name: &String| !name.starts_with(OURS);
    find("in the workspace", listed.filter(foreign).collect(), DEPENDENCIES_MAX);
    find(
        "over the crates below runtime",
        below.filter(foreign).collect(),
        DEPENDENCIES_BELOW_RUNTIME_MAX,
    );
    findings
}

/// The `Cargo.toml` of every member of the workspace.
fn member_manifests(tree: &Tree) -> impl Iterator<Item = (&str, &str)> {
    tree.files_ending("/Cargo.toml")
        .filter(|(path, _)| path.starts_with("crates/") || path.starts_with("xtask/"))
}
