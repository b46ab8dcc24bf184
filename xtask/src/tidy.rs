//! `cargo xtask tidy`: the house rules that no other tool knows.
//!
//! Each rule reads the [`Tree`] and returns its [`Finding`]s. Rules read text, not syntax trees:
//! simple enough to trust, fast enough to run on every save. Every rule has a test that plants a
//! violation.

mod dependencies;
mod docs;
mod exceptions;
mod finding;
mod floors;
mod manifest;
mod sizes;
mod source;
mod tree;
mod words;

use std::path::Path;

use anyhow::{Result, bail};

use exceptions::Exceptions;
use finding::Finding;
use tree::Tree;

/// One rule: everything in the tree that breaks it.
type Rule = fn(&Tree, &Exceptions) -> Vec<Finding>;

const RULES: &[Rule] = &[
    exceptions::rule_exceptions_are_justified,
    sizes::rule_files_are_short,
    sizes::rule_functions_are_short,
    sizes::rule_trusted_core_is_small,
    words::rule_nothing_is_left_undone,
    words::rule_unsafe_is_listed,
    words::rule_no_path_of_a_machine,
    floors::rule_crates_import_their_floor,
    floors::rule_pure_crates_are_pure,
    floors::rule_pure_crates_have_a_clippy_file,
    floors::rule_three_drivers,
    dependencies::rule_dependencies_have_reasons,
    dependencies::rule_dependencies_are_few,
    docs::rule_readme_has_the_two_commands,
    docs::rule_links_lead_somewhere,
    docs::rule_limits_are_documented,
];

/// Checks the repository at `root`.
///
/// # Errors
/// When a rule is broken; each violation has been printed to stderr.
pub(crate) fn tidy(root: &Path) -> Result<()> {
    let tree = Tree::read(root)?;
    let findings = findings(&tree);
    for finding in &findings {
        eprintln!("{finding}");
    }
    if !findings.is_empty() {
        bail!("tidy: {} violations", findings.len());
    }
    println!("tidy: {} rules hold over {} files", RULES.len(), tree.files().count());
    Ok(())
}

fn findings(tree: &Tree) -> Vec<Finding> {
    let exceptions = Exceptions::parse(tree.text(exceptions::PATH).unwrap_or_default());
    let mut findings: Vec<Finding> =
        RULES.iter().flat_map(|rule| rule(tree, &exceptions)).collect();
    findings.sort();
    findings
}

#[cfg(test)]
mod tests;
