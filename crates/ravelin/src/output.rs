//! What a command prints: its result on stdout, and talk on stderr.
//!
//! **Guarantee:** what scripts ask for as JSON is JSON on both: talk is `{"note": ...}`, a line each.

use std::fmt;
use std::io::{self, IsTerminal as _, Write as _};

use clap::ValueEnum;
use serde::Serialize;

use crate::exit::{Error, Exit, Result};

/// The form of results and errors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// For people.
    #[default]
    Text,
    /// For scripts: one JSON value.
    Json,
}

/// How much is said on stderr.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Talk {
    /// Errors only.
    Quiet,
    /// What a person would miss.
    Normal,
    /// Each step.
    Verbose,
}

/// Where results and talk go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    format: Format,
    talk: Talk,
}

impl Output {
    pub(crate) fn new(format: Format, talk: Talk) -> Self {
        Self { format, talk }
    }

    /// The form of results.
    pub(crate) fn format(self) -> Format {
        self.format
    }

    /// Prints a result: its `Display` for people, its fields for scripts.
    pub(crate) fn print(self, result: &(impl Serialize + fmt::Display)) -> Result<()> {
        match self.format {
            Format::Text => self.write(&format!("{result}\n")),
            Format::Json => {
                let json = serde_json::to_string(result).expect("results have plain fields");
                self.write(&format!("{json}\n"))
            }
        }
    }

    /// Prints `text` as it is.
    pub(crate) fn write(self, text: &str) -> Result<()> {
        self.write_bytes(text.as_bytes()).map(drop)
    }

    /// Prints bytes as they are, and says whether anybody still reads them.
    pub(crate) fn write_bytes(self, bytes: &[u8]) -> Result<bool> {
        let mut out = io::stdout().lock();
        match out.write_all(bytes).and_then(|()| out.flush()) {
            Ok(()) => Ok(true),
            // Whoever reads has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            Err(error) => {
                let hint = "check where stdout leads";
                Err(Error::caused(Exit::Failed, error, hint).context("cannot write the result"))
            }
        }
    }

    /// Says what a person would miss.
    pub(crate) fn note(self, what: impl fmt::Display) {
        self.say(Talk::Normal, &what);
    }

    /// Says a step, for those who asked with `-v`.
    pub(crate) fn detail(self, what: impl fmt::Display) {
        self.say(Talk::Verbose, &what);
    }

    /// A bar on stderr for work of `steps` steps; invisible where nobody would watch it.
    pub(crate) fn progress(self, steps: u64) -> indicatif::ProgressBar {
        let is_unwanted = self.talk == Talk::Quiet || self.format == Format::Json;
        if is_unwanted || !io::stderr().is_terminal() {
            return indicatif::ProgressBar::hidden();
        }
        indicatif::ProgressBar::new(steps)
    }

    fn say(self, least: Talk, what: &dyn fmt::Display) {
        if self.talk >= least {
            let line = match self.format {
                Format::Text => what.to_string(),
                Format::Json => serde_json::json!({ "note": what.to_string() }).to_string(),
            };
            // Talk that nobody can hear must not end the work.
            let _ = writeln!(io::stderr().lock(), "{line}");
        }
    }
}

/// Whether stderr shows colours: a terminal, and no `NO_COLOR`.
pub(crate) fn is_coloured() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::stderr().is_terminal() && !refused
}
