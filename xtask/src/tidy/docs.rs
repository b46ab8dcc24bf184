//! The documents say what is so.

use super::exceptions::Exceptions;
use super::finding::Finding;
use super::source::{Source, has_word};
use super::tree::Tree;

const README: &str = "README.md";
/// What a newcomer types first.
const COMMANDS: [&str; 2] = ["cargo run --release -- demo", "cargo test --workspace"];

const LIMITS: &str = "docs/limits.md";
/// How the names of limits and defaults end outside a file of limits.
const LIMIT_ENDINGS: [&str; 3] = ["_MAX", "_MIN", "_DEFAULT"];

/// The README, once there, shows the two commands.
pub(crate) fn rule_readme_has_the_two_commands(tree: &Tree, _: &Exceptions) -> Vec<Finding> {
    let Some(readme) = tree.text(README) else { return Vec::new() };
    let missing = COMMANDS.into_iter().filter(|command| !readme.contains(command));
    let finding = |command| {
        let what = format!("`{command}` is missing");
        Finding::new(README, 1, &what, "a newcomer types it first", "show it near the top")
    };
    missing.map(finding).collect()
}

/// A relative link of a document leads to a file or directory of the repository.
pub(crate) fn rule_links_lead_somewhere(tree: &Tree, _: &Exceptions) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.files_ending(".md") {
        for (link, line) in links(text) {
            if !tree.contains(&resolved(path, link)) {
                let what = format!("link to `{link}`");
                let why = "no such file";
                findings.push(Finding::new(path, line, &what, why, "correct or drop the link"));
            }
        }
    }
    findings
}

/// The table of limits, once there, names every limit and default of the code.
pub(crate) fn rule_limits_are_documented(tree: &Tree, _: &Exceptions) -> Vec<Finding> {
    let Some(limits) = tree.text(LIMITS) else { return Vec::new() };
    let mut findings = Vec::new();
    for (path, text) in tree.files_ending(".rs").filter(|(path, _)| path.starts_with("crates/")) {
        for line in Source::new(path, text).product_lines() {
            let Some((_, rest)) = line.code.split_once("pub const ") else { continue };
            let name = rest.split(':').next().unwrap_or(rest).trim();
            let is_limit = path.ends_with("/limits.rs")
                || LIMIT_ENDINGS.iter().any(|ending| name.ends_with(ending));
            if is_limit && !has_word(limits, name) {
                let what = format!("`{name}` is not in {LIMITS}");
                let why = "an operator must find every limit in one table";
                let remedy = "add its row: value, reason, and what happens at it";
                findings.push(Finding::new(path, line.number, &what, why, remedy));
            }
        }
    }
    findings
}

/// The relative links of a Markdown text outside code, with their lines.
fn links(text: &str) -> Vec<(&str, usize)> {
    let mut links = Vec::new();
    let mut in_fence = false;
    for (line, number) in text.lines().zip(1..) {
        if line.trim_start().starts_with("```") {
            in_fence = !in_fence;
        }
        if in_fence {
            continue;
        }
        for rest in line.split("](").skip(1) {
            let link = rest.split([')', ' ', '#']).next().unwrap_or_default();
            // Empty: an anchor in the same document.
            if !link.is_empty() && !link.contains(':') {
                links.push((link, number));
            }
        }
    }
    links
}

/// The path that `link` means in the document at `path`.
fn resolved(path: &str, link: &str) -> String {
    if let Some(from_root) = link.strip_prefix('/') {
        return from_root.into();
    }
    let mut parts: Vec<&str> = path.split('/').collect();
    parts.pop();
    for part in link.split('/') {
        match part {
            "." => {}
            ".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    parts.join("/")
}
