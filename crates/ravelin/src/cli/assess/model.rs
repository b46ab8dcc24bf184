//! Model files: reading them, the examples, the schema, and one made of a cluster's plan.

use std::fmt;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use ravelin_assess::design::{self, Design, ModelError};
use serde::Serialize;

use super::super::Invocation;
use crate::exit::{Error, Result};
use crate::files::disk::{self, Privacy};
use crate::files::plan;

/// Model files that come with the program, each with its comments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Example {
    /// Four servers of a secret store in one room, run by one administrator
    OneRoom,
    /// Seven servers over three clouds
    ThreeClouds,
    /// Three servers whose wormholes are hardly isolated
    HybridWeakIsolation,
    /// One hardware security module
    SingleHsm,
}

impl Example {
    fn text(self) -> &'static str {
        match self {
            Self::OneRoom => include_str!("../../../../../examples/assess/one-room.toml"),
            Self::ThreeClouds => include_str!("../../../../../examples/assess/three-clouds.toml"),
            Self::HybridWeakIsolation => {
                include_str!("../../../../../examples/assess/hybrid-weak-isolation.toml")
            }
            Self::SingleHsm => include_str!("../../../../../examples/assess/single-hsm.toml"),
        }
    }
}

const EXAMPLE_HELP: &str = "\
Examples:
  ravelin assess example
  ravelin assess example one-room";

/// Arguments of `assess example`.
#[derive(Args)]
#[command(after_long_help = EXAMPLE_HELP)]
pub(crate) struct ExampleArguments {
    /// Which one; without a name, all are listed
    name: Option<Example>,
}

const FROM_PLAN_HELP: &str = "\
Example:
  ravelin assess from-plan plan.toml --out model.toml

Servers, f, fault model and labels are the plan's; every other number is a guess with origin
`assumed`, for you to replace. The plan need not be signed.";

/// Arguments of `assess from-plan`.
#[derive(Args)]
#[command(after_long_help = FROM_PLAN_HELP)]
pub(crate) struct FromPlan {
    /// The cluster's plan
    #[arg(value_name = "PLAN")]
    plan: PathBuf,
    /// The file to write, which must not exist [default: stdout]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Reads and checks a model file.
pub(super) fn read(path: &Path) -> Result<Design> {
    let text = disk::read(path, Privacy::Public)?;
    Design::parse(&path.display().to_string(), &text).map_err(|error| refused(&error))
}

/// The first mistake of a file with its hint, and where the others are.
fn refused(error: &ModelError) -> Error {
    let Some(first) = error.faults.first() else {
        return Error::usage(
            error,
            "`ravelin assess example one-room` prints a file that is right",
        );
    };
    let cause = format!("{}:{}: {}", error.file, first.line, first.mistake);
    let mut others: Vec<String> =
        error.faults.iter().skip(1).map(|fault| fault.line.to_string()).collect();
    others.dedup();
    let lines = if others.len() == 1 { "line" } else { "lines" };
    let others = others.join(", ");
    let more = match error.faults.len() - 1 {
        0 => String::new(),
        1 => format!(" (and one more mistake, in line {others})"),
        count => format!(" (and {count} more mistakes, in {lines} {others})"),
    };
    Error::usage(cause + &more, first.hint.clone())
}

/// Prints an example, or which there are.
pub(super) fn example(invocation: &Invocation, arguments: &ExampleArguments) -> Result<()> {
    match arguments.name {
        Some(example) => invocation.output.write(example.text()),
        None => {
            let all = Example::value_variants().iter().filter_map(Example::to_possible_value);
            let examples = all.map(|value| Listed {
                name: value.get_name().to_owned(),
                what: value.get_help().map(ToString::to_string).unwrap_or_default(),
            });
            invocation.output.print(&List { examples: examples.collect() })
        }
    }
}

#[derive(Serialize)]
struct List {
    examples: Vec<Listed>,
}

#[derive(Serialize)]
struct Listed {
    name: String,
    what: String,
}

impl fmt::Display for List {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self.examples.iter().map(|Listed { name, what }| format!("{name:<24}{what}"));
        out.write_str(&lines.collect::<Vec<_>>().join("\n"))
    }
}

/// Prints the schema of model files.
pub(super) fn schema(invocation: &Invocation) -> Result<()> {
    let text = serde_json::to_string_pretty(&design::schema()).expect("a schema has plain fields");
    invocation.output.write(&format!("{text}\n"))
}

/// Makes a model file of a cluster's plan.
pub(super) fn from_plan(invocation: &Invocation, arguments: &FromPlan) -> Result<()> {
    let signed = plan::read(&arguments.plan)?;
    let text = Design::from_plan(&signed.plan).to_toml();
    let Some(out) = &arguments.out else { return invocation.output.write(&text) };
    disk::create(out, &text, Privacy::Public)?;
    invocation.output.note(format_args!(
        "written: {}; replace what is `assumed` in it, then `ravelin assess run {}`",
        out.display(),
        out.display()
    ));
    Ok(())
}
