//! `ravelin config`: show, check and explain configuration.

use std::fmt;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::Invocation;
use crate::client_settings::{self, ClientSettings};
use crate::exit::{Error, Result};
use crate::files::disk::{self, Privacy};
use crate::files::kind::Kind;
use crate::files::node::{NodeConfig, NodeOverrides};
use crate::settings::Shown;

/// The verbs.
#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Show the settings in force and where each comes from, of a client or of the node file of `--config`
    Show(Show),
    /// Check a file without using it
    Validate(Validate),
    /// Print an example with comments
    Example(Example),
}

/// Arguments of `config show`.
#[derive(Args)]
pub(crate) struct Show {
    #[command(flatten)]
    overrides: NodeOverrides,
}

/// Arguments of `config validate`.
#[derive(Args)]
pub(crate) struct Validate {
    /// The file
    file: PathBuf,
    /// What it is, if that is not plain from its keys
    #[arg(long)]
    kind: Option<Kind>,
}

/// Arguments of `config example`.
#[derive(Args)]
pub(crate) struct Example {
    /// Of what
    kind: Kind,
}

/// Runs a verb.
pub(crate) fn run(invocation: &Invocation, verb: Verb) -> Result<()> {
    match verb {
        Verb::Show(arguments) => show(invocation, arguments),
        Verb::Validate(arguments) => validate(invocation, arguments),
        Verb::Example(arguments) => invocation.output.write(arguments.kind.example()),
    }
}

fn show(invocation: &Invocation, arguments: Show) -> Result<()> {
    let node_file = match client_settings::file_in_use(invocation)? {
        Some(path) => {
            let text = disk::read(&path, Privacy::Public)?;
            let kind = Kind::recognise(&path, &text);
            Some(path).filter(|_| matches!(kind, Ok(Kind::Node)))
        }
        None => None,
    };
    let (kind, file, settings) = match node_file {
        Some(path) => {
            let (_, settings) = NodeConfig::load(&path, arguments.overrides, &invocation.sources)?;
            (Kind::Node, Some(path), settings)
        }
        None => {
            if let Some(flag) = NodeOverrides::flag(&invocation.sources) {
                let cause = format!("{flag} is a setting of servers, and no node file is in use");
                return Err(Error::usage(cause, "name a node file by `--config`"));
            }
            let settings = ClientSettings::load(invocation)?;
            (Kind::Client, settings.path().cloned(), settings.shown())
        }
    };
    invocation.output.print(&Settings { kind, file, settings })
}

/// The settings in force.
#[derive(Serialize)]
struct Settings {
    kind: Kind,
    file: Option<PathBuf>,
    settings: Vec<Shown>,
}

impl fmt::Display for Settings {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => write!(out, "# {} file {}", self.kind.name(), file.display())?,
            None => write!(out, "# no file")?,
        }
        self.settings.iter().try_for_each(|setting| write!(out, "\n{setting}"))
    }
}

fn validate(invocation: &Invocation, arguments: Validate) -> Result<()> {
    let text = disk::read(&arguments.file, Privacy::Public)?;
    let kind = match arguments.kind {
        Some(kind) => kind,
        None => Kind::recognise(&arguments.file, &text)?,
    };
    kind.check(&arguments.file, &text)?;
    invocation.output.print(&Valid { file: arguments.file, kind, valid: true })
}

#[derive(Serialize)]
struct Valid {
    file: PathBuf,
    kind: Kind,
    valid: bool,
}

impl fmt::Display for Valid {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: a valid {} file", self.file.display(), self.kind.name())
    }
}
