//! How the program ends: its exit codes, and errors that say what happened and what to try.
//!
//! **Guarantee:** an error is one line of cause and one line of hint, whatever a file or a peer put
//! into it: control characters are shown escaped, so they cannot command the terminal.

use std::fmt;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use crate::output::Format;

/// The result of everything that can end the program.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// How the program ended. Scripts rely on the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Done,
    Failed,
    Usage,
    Denied,
    NotFound,
    NoQuorum,
    VerificationFailed,
    Degraded,
    FailSafe,
    Conflict,
    NoSpace,
    Interrupted,
}

impl Exit {
    /// All of them, by number.
    pub(crate) const ALL: [Self; 12] = [
        Self::Done,
        Self::Failed,
        Self::Usage,
        Self::Denied,
        Self::NotFound,
        Self::NoQuorum,
        Self::VerificationFailed,
        Self::Degraded,
        Self::FailSafe,
        Self::Conflict,
        Self::NoSpace,
        Self::Interrupted,
    ];

    /// The exit code.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Denied => 3,
            Self::NotFound => 4,
            Self::NoQuorum => 5,
            Self::VerificationFailed => 6,
            Self::Degraded => 7,
            Self::FailSafe => 8,
            Self::Conflict => 9,
            Self::NoSpace => 10,
            Self::Interrupted => 130,
        }
    }

    /// The code in JSON errors.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Usage => "usage",
            Self::Denied => "denied",
            Self::NotFound => "not_found",
            Self::NoQuorum => "no_quorum",
            Self::VerificationFailed => "verification_failed",
            Self::Degraded => "degraded",
            Self::FailSafe => "fail_safe",
            Self::Conflict => "conflict",
            Self::NoSpace => "no_space",
            Self::Interrupted => "interrupted",
        }
    }

    /// What it means, for the help text and the manual.
    pub(crate) fn meaning(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Usage => "malformed arguments or files",
            Self::Denied => "denied",
            Self::NotFound => "not found",
            Self::NoQuorum => "no quorum reachable",
            Self::VerificationFailed => "verification failed: signature, answer, proof or log",
            Self::Degraded => "degraded",
            Self::FailSafe => "fail-safe stop",
            Self::Conflict => "conflict: compare failed, exists already, or another server's data",
            Self::NoSpace => "no space: the disk is full, and the server stopped in good order",
            Self::Interrupted => "interrupted",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.number())
    }
}

/// Why a command failed, and what to try.
#[derive(Debug)]
pub(crate) struct Error {
    exit: Exit,
    /// What JSON calls it, where that is finer than the exit code.
    code: Option<&'static str>,
    cause: anyhow::Error,
    hint: String,
}

impl Error {
    /// An error that begins here.
    pub(crate) fn new(exit: Exit, cause: impl fmt::Display, hint: impl Into<String>) -> Self {
        let (code, cause) = (None, anyhow::Error::msg(cause.to_string()));
        Self { exit, code, cause, hint: hint.into() }
    }

    /// An error that another one caused.
    pub(crate) fn caused(
        exit: Exit,
        cause: impl Into<anyhow::Error>,
        hint: impl Into<String>,
    ) -> Self {
        Self { exit, code: None, cause: cause.into(), hint: hint.into() }
    }

    /// Arguments or a file that make no sense.
    pub(crate) fn usage(cause: impl fmt::Display, hint: impl Into<String>) -> Self {
        Self::new(Exit::Usage, cause, hint)
    }

    /// The system refused to `action` (a verb) the file or directory at `path`.
    pub(crate) fn system(action: &str, path: &Path, error: &io::Error) -> Self {
        let (exit, reason, hint) = match error.kind() {
            io::ErrorKind::NotFound => {
                (Exit::NotFound, "it does not exist".to_owned(), "check the path")
            }
            io::ErrorKind::PermissionDenied => {
                (Exit::Denied, "permission denied".to_owned(), "check its owner and mode")
            }
            io::ErrorKind::AlreadyExists => {
                let hint = "nothing is ever overwritten: move it away, or choose another name";
                (Exit::Conflict, "it exists already".to_owned(), hint)
            }
            _ => (Exit::Failed, error.to_string(), "check the path, the disk and its free space"),
        };
        Self::new(exit, format!("cannot {action} {}: {reason}", path.display()), hint)
    }

    /// Says what was being done, or where.
    #[must_use]
    pub(crate) fn context(self, what: impl fmt::Display) -> Self {
        Self { cause: self.cause.context(what.to_string()), ..self }
    }

    /// Replaces the hint by a better informed one.
    #[must_use]
    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: hint.into(), ..self }
    }

    /// Gives it a code of its own in JSON.
    #[must_use]
    pub(crate) fn code(self, code: &'static str) -> Self {
        Self { code: Some(code), ..self }
    }

    /// How the program ends with it.
    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }

    /// The whole chain of causes, in one line.
    pub(crate) fn message(&self) -> String {
        one_line(&format!("{:#}", self.cause))
    }

    /// What to try, in one line.
    pub(crate) fn advice(&self) -> String {
        one_line(&self.hint)
    }

    /// What goes to stderr.
    pub(crate) fn render(&self, format: Format, coloured: bool) -> String {
        let (message, hint) = (self.message(), self.advice());
        match format {
            Format::Json => {
                let error = serde_json::json!({
                    "error": {"code": self.code.unwrap_or_else(|| self.exit.name()), "message": message, "hint": hint},
                });
                format!("{error}\n")
            }
            Format::Text if coloured => {
                format!("\u{1b}[1;31merror:\u{1b}[0m {message}\n\u{1b}[1mhint:\u{1b}[0m {hint}\n")
            }
            Format::Text => format!("error: {message}\nhint: {hint}\n"),
        }
    }
}

/// `text` without line breaks and without anything that a terminal would obey.
fn one_line(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let mut line = String::new();
    for letter in lines.join("; ").chars() {
        if letter.is_control() {
            line.extend(letter.escape_default());
        } else {
            line.push(letter);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_distinct() {
        for (index, exit) in Exit::ALL.iter().enumerate() {
            for other in Exit::ALL.iter().skip(index + 1) {
                assert_ne!(exit.number(), other.number());
                assert_ne!(exit.name(), other.name());
            }
        }
    }

    #[test]
    fn an_error_is_two_lines_whatever_it_quotes() {
        let error = Error::usage("bad \u{1b}[2Jname\nsecond", "try\nagain").context("reading");
        assert_eq!(
            error.render(Format::Text, false),
            "error: reading: bad \\u{1b}[2Jname; second\nhint: try; again\n"
        );
    }

    #[test]
    fn json_errors_have_the_promised_shape() {
        let error = Error::new(Exit::NotFound, "no \"x\"", "look");
        assert_eq!(
            error.render(Format::Json, true),
            "{\"error\":{\"code\":\"not_found\",\"hint\":\"look\",\"message\":\"no \\\"x\\\"\"}}\n"
        );
    }
}
