//! `ravelin assess prism`: a service for a model checker, so that others can check our numbers.

use std::fmt;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use ravelin_assess::analysis;
use ravelin_assess::design::Property;
use serde::Serialize;

use super::super::Invocation;
use super::model;
use super::run::refused;
use crate::exit::Result;

const HELP: &str = "\
Examples:
  ravelin assess prism model.toml
  ravelin assess prism model.toml --questions
  ravelin assess prism model.toml --promise confidentiality

PRISM and Storm read both, kept as model.sm and model.csl; `-const T=8760` is a mission of a year.
With --output json one value has both texts.";

/// Arguments of `assess prism`.
#[derive(Args)]
#[command(after_long_help = HELP)]
pub(crate) struct Prism {
    /// The model file
    file: PathBuf,
    /// The service, where the file has several
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// The promise whose failure is modelled
    #[arg(long, default_value = "integrity")]
    promise: Promise,
    /// Print what to ask of the model instead of the model
    #[arg(long)]
    questions: bool,
}

/// What a service may promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Promise {
    /// The intruder learns no secret
    Confidentiality,
    /// No wrong answer is accepted
    Integrity,
    /// It goes on answering
    Availability,
}

impl From<Promise> for Property {
    fn from(promise: Promise) -> Self {
        match promise {
            Promise::Confidentiality => Self::Confidentiality,
            Promise::Integrity => Self::Integrity,
            Promise::Availability => Self::Availability,
        }
    }
}

/// Prints the model, or what to ask of it.
pub(super) fn run(invocation: &Invocation, arguments: &Prism) -> Result<()> {
    let design = model::read(&arguments.file)?;
    let written =
        analysis::to_prism(&design, arguments.service.as_deref(), arguments.promise.into())
            .map_err(|error| refused(&error))?;
    let shows_questions = arguments.questions;
    let shown = Written { model: written.model, properties: written.properties, shows_questions };
    invocation.output.print(&shown)
}

#[derive(Serialize)]
struct Written {
    model: String,
    properties: String,
    #[serde(skip)]
    shows_questions: bool,
}

impl fmt::Display for Written {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = if self.shows_questions { &self.properties } else { &self.model };
        out.write_str(text.trim_end())
    }
}
