//! What a rule says about a violation.

use std::fmt;

/// One violation: where, what, why it matters, what to do.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    path: String,
    line: usize,
    text: String,
}

impl Finding {
    /// `line` counts from 1; the three texts are lower-case and have no full stop.
    pub(crate) fn new(path: &str, line: usize, what: &str, why: &str, remedy: &str) -> Self {
        Self { path: path.into(), line, text: format!("{what}, {why}, {remedy}") }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.text)
    }
}
