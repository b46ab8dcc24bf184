//! `ravelin completion`, `man` and `version`: know the program.

use std::fmt;
use std::path::PathBuf;

use clap::Args;
use ravelin_model::plan::PLAN_VERSION;
use serde::Serialize;

use super::{Invocation, definition};
use crate::exit::{Error, Exit, Result};
use crate::files::disk;

/// Arguments of `completion`.
#[derive(Args)]
pub(crate) struct Completion {
    /// The shell
    shell: clap_complete::Shell,
}

/// Arguments of `man`.
#[derive(Args)]
pub(crate) struct Man {
    /// Write a page for every command into this directory
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Prints the completions of a shell.
pub(crate) fn completion(invocation: &Invocation, arguments: &Completion) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut definition(), "ravelin", &mut script);
    invocation.output.write(&String::from_utf8_lossy(&script))
}

/// Prints the manual's first page, or writes all pages.
pub(crate) fn man(invocation: &Invocation, arguments: &Man) -> Result<()> {
    let hint = "check the directory and its free space";
    match &arguments.dir {
        Some(dir) => {
            disk::create_dir(dir)?;
            clap_mangen::generate_to(definition(), dir).map_err(|error| {
                let what = format!("cannot write the manual into {}", dir.display());
                Error::caused(Exit::Failed, error, hint).context(what)
            })
        }
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(definition())
                .render(&mut page)
                .map_err(|error| Error::caused(Exit::Failed, error, hint))?;
            invocation.output.write(&String::from_utf8_lossy(&page))
        }
    }
}

/// Prints versions.
pub(crate) fn version(invocation: &Invocation) -> Result<()> {
    invocation.output.print(&Version {
        version: env!("CARGO_PKG_VERSION"),
        plan_format: PLAN_VERSION,
        fault_models: &["arbitrary"],
    })
}

#[derive(Serialize)]
struct Version {
    version: &'static str,
    plan_format: u16,
    fault_models: &'static [&'static str],
}

impl fmt::Display for Version {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "ravelin {} (plan format {})", self.version, self.plan_format)
    }
}
