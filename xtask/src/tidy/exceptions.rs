//! The exceptions to the rules, each by name and with its reason.

use super::finding::Finding;
use super::source::{Source, has_word};
use super::tree::Tree;

/// Where the exceptions are written.
pub(crate) const PATH: &str = "xtask/exceptions.txt";

/// The exceptions of the repository.
pub(crate) struct Exceptions(Vec<Exception>);

/// One line: `function PATH NAME: reason`, or `unsafe PATH: reason`.
struct Exception {
    line: usize,
    kind: Kind,
    reason: String,
}

#[derive(PartialEq, Eq)]
enum Kind {
    /// A function that reads better whole.
    Function { path: String, name: String },
    /// A file that must say `unsafe`.
    Unsafe { path: String },
    /// Not one of the two forms.
    Unknown,
}

impl Exceptions {
    pub(crate) fn parse(text: &str) -> Self {
        let lines = text.lines().zip(1..).filter(|(text, _)| {
            let text = text.trim();
            !text.is_empty() && !text.starts_with('#')
        });
        Self(lines.map(|(text, line)| Exception::parse(text, line)).collect())
    }

    pub(crate) fn allows_long_function(&self, path: &str, name: &str) -> bool {
        let kind = Kind::Function { path: path.into(), name: name.into() };
        self.0.iter().any(|exception| exception.kind == kind)
    }

    pub(crate) fn allows_unsafe(&self, path: &str) -> bool {
        let kind = Kind::Unsafe { path: path.into() };
        self.0.iter().any(|exception| exception.kind == kind)
    }
}

impl Exception {
    fn parse(text: &str, line: usize) -> Self {
        let (subject, reason) = text.split_once(':').unwrap_or((text, ""));
        let kind = match subject.split_whitespace().collect::<Vec<_>>().as_slice() {
            ["function", path, name] => {
                Kind::Function { path: (*path).into(), name: (*name).into() }
            }
            ["unsafe", path] => Kind::Unsafe { path: (*path).into() },
            _ => Kind::Unknown,
        };
        Self { line, kind, reason: reason.trim().into() }
    }

    /// Whether what it excuses is still there.
    fn is_needed(&self, tree: &Tree) -> bool {
        match &self.kind {
            Kind::Function { path, name } => tree.text(path).is_some_and(|text| {
                let functions = Source::new(path, text).functions();
                functions.iter().any(|function| function.name == *name && function.is_long())
            }),
            Kind::Unsafe { path } => tree.text(path).is_some_and(|text| {
                Source::new(path, text).lines().any(|line| has_word(line.code, "unsafe"))
            }),
            Kind::Unknown => false,
        }
    }
}

/// Each exception has a known form and a reason, and something that needs it.
pub(crate) fn rule_exceptions_are_justified(tree: &Tree, exceptions: &Exceptions) -> Vec<Finding> {
    let mut findings = Vec::new();
    for exception in &exceptions.0 {
        let mut find = |what, why, remedy| {
            findings.push(Finding::new(PATH, exception.line, what, why, remedy));
        };
        if exception.kind == Kind::Unknown {
            find(
                "unknown form",
                "it excuses nothing",
                "write `function PATH NAME: reason` or `unsafe PATH: reason`",
            );
        } else if exception.reason.is_empty() {
            find("no reason", "a reader cannot judge it", "add one after a colon");
        } else if !exception.is_needed(tree) {
            find("nothing needs it", "it would hide the next one", "delete the line");
        }
    }
    findings
}
