//! Nothing is too long to be read.

use super::exceptions::Exceptions;
use super::finding::Finding;
use super::source::{FUNCTION_LINES_MAX, Source, is_test_file};
use super::tree::Tree;

/// The most lines of a file, tests apart.
const FILE_LINES_MAX: usize = 600;
/// The most lines of a file of tests.
const TEST_FILE_LINES_MAX: usize = 1_000;

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
