//! `ravelin assess run`, `compare`, `advise` and `backtest`: what is computed of model files.

use std::fmt;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use clap::{Args, ValueEnum};
use ravelin_assess::analysis::{self, AnalysisError, Assessment, Effort};
use ravelin_assess::design::Design;
use ravelin_assess::engines::EngineError;
use ravelin_assess::report::document;
use ravelin_assess::report::summary::Summary;
use serde::Serialize;

use super::super::Invocation;
use super::model;
use crate::exit::{Error, Result};
use crate::files::disk::{self, Privacy};

/// Missions of a simulation, unless asked otherwise.
const MISSIONS_DEFAULT: u64 = 1_000_000;

const RUN_HELP: &str = "\
Examples:
  ravelin assess run model.toml
  ravelin assess run model.toml --html report.html
  ravelin assess run model.toml --engine monte-carlo --missions 10000000 --seed 7
  ravelin assess run model.toml --engine closed
  ravelin assess run model.toml --output json

`ravelin assess example one-room` prints a model file to begin with; `ravelin assess explain` says
what the numbers mean. An unacceptable risk is a result, not an error: the exit code is 0.";

/// How numbers are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Engine {
    /// Formulas of a line: risks without recovery, mean times and shares of time with recovery side by side. What
    /// they do not give is told, and a service of which they give nothing is refused
    Closed,
    /// Markov chains of every server by itself, up to 1000000 states: minutes for large services
    Chain,
    /// Simulated missions with confidence intervals, beside chains where these are small enough
    MonteCarlo,
}

/// Arguments of `assess run`.
#[derive(Args)]
#[command(after_long_help = RUN_HELP)]
pub(crate) struct Run {
    /// The model file
    file: PathBuf,
    /// Write a page with pictures, which needs nothing else
    #[arg(long, value_name = "OUT")]
    html: Option<PathBuf>,
    /// How numbers are computed [default: chains, in which many different servers are merged]
    #[arg(long)]
    engine: Option<Engine>,
    /// Missions to simulate for each service [default: 1000000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    missions: Option<u64>,
    /// Seed of the missions: the same seed gives the same numbers
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
}

/// Something computed: its fields for scripts, its summary for people.
#[derive(Serialize)]
#[serde(transparent)]
pub(super) struct Shown<T>(pub(super) T);

impl<T> fmt::Display for Shown<T>
where
    for<'a> Summary<'a, T>: fmt::Display,
{
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        Summary(&self.0).fmt(out)
    }
}

const COMPARE_HELP: &str = "\
Examples:
  ravelin assess compare before.toml after.toml
  ravelin assess compare before.toml after.toml --html report.html";

/// Arguments of `assess compare`.
#[derive(Args)]
#[command(after_long_help = COMPARE_HELP)]
pub(crate) struct Compare {
    /// A model file
    first: PathBuf,
    /// Another one
    second: PathBuf,
    /// Write a page with pictures, which needs nothing else
    #[arg(long, value_name = "OUT")]
    html: Option<PathBuf>,
}

const ADVISE_HELP: &str = "\
Examples:
  ravelin assess advise model.toml
  ravelin assess advise model.toml --html report.html

Prices come from [costs] of the model file; changes without a price stand apart. What makes a
promise worse is marked, and no step of the plan loses more than it saves.";

/// Arguments of `assess advise`.
#[derive(Args)]
#[command(after_long_help = ADVISE_HELP)]
pub(crate) struct Advise {
    /// The model file
    file: PathBuf,
    /// Write a page with pictures, which needs nothing else
    #[arg(long, value_name = "OUT")]
    html: Option<PathBuf>,
}

/// Computes all of a model file.
pub(super) fn run(invocation: &Invocation, arguments: &Run) -> Result<()> {
    let design = model::read(&arguments.file)?;
    check_page(arguments.html.as_deref())?;
    let missions = missions(arguments)?;
    if arguments.engine == Some(Engine::Closed) {
        return by_formulas(invocation, arguments, &design);
    }
    let effort = Effort {
        missions,
        seed: arguments.seed,
        is_exact: arguments.engine == Some(Engine::Chain),
        threads: threads(),
        ..Effort::default()
    };
    let bar = invocation.output.progress(missions);
    let progress = |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    };
    let computed = analysis::assess(&design, &effort, &progress, &AtomicBool::new(false));
    let assessment = computed.map_err(|error| refused(&error))?;
    bar.finish_and_clear();
    write_page(invocation, arguments.html.as_deref(), || document::html(&assessment))?;
    invocation.output.print(&Shown(assessment))
}

/// Prints what closed forms give.
fn by_formulas(invocation: &Invocation, arguments: &Run, design: &Design) -> Result<()> {
    if arguments.html.is_some() {
        return Err(Error::usage(
            "--html shows what chains give, and `--engine closed` builds none",
            "leave one of them out",
        ));
    }
    let forms = analysis::closed_forms(design).map_err(|error| refused(&error))?;
    invocation.output.print(&Shown(forms))
}

/// As many as the machine runs at once.
fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

/// Told now, not after minutes of computing.
fn check_page(out: Option<&Path>) -> Result<()> {
    out.map_or(Ok(()), disk::check_replaceable)
}

fn write_page(
    invocation: &Invocation,
    out: Option<&Path>,
    page: impl FnOnce() -> String,
) -> Result<()> {
    let Some(out) = out else { return Ok(()) };
    disk::replace(out, &page(), Privacy::Public)?;
    invocation.output.note(format_args!("written: {}", out.display()));
    Ok(())
}

fn missions(arguments: &Run) -> Result<u64> {
    match (arguments.engine, arguments.missions) {
        (Some(Engine::MonteCarlo), missions) => Ok(missions.unwrap_or(MISSIONS_DEFAULT)),
        (_, None) => Ok(0),
        (_, Some(_)) => Err(Error::usage(
            "--missions says something about simulated missions",
            "use it with `--engine monte-carlo`",
        )),
    }
}

/// The refusal of a design that is right and cannot be computed.
pub(super) fn refused(error: &AnalysisError) -> Error {
    let hint = match error {
        AnalysisError::UnknownService { .. } => "name one of them with --service",
        AnalysisError::NoClosedForm { .. } => {
            "leave --engine out, and chains compute it; `ravelin assess closed-form` has the formulas \
             by themselves"
        }
        AnalysisError::Service {
            source: EngineError::TooManyStates { .. } | EngineError::TooManyTransitions { .. },
            ..
        } => {
            "`ravelin assess run --engine monte-carlo` simulates it however large it is; `--engine \
             chain` computes chains up to 1000000 states"
        }
        AnalysisError::Service {
            source: EngineError::Stiff { .. } | EngineError::NoConvergence { .. },
            ..
        } => {
            "or have it simulated: `ravelin assess run --engine monte-carlo` minds no rates far apart"
        }
        _ => "docs/limits.md has the limits of chains and graphs; `closed-form` has none of them",
    };
    Error::usage(error, hint)
}

/// Holds two designs against each other.
pub(super) fn compare(invocation: &Invocation, arguments: &Compare) -> Result<()> {
    check_page(arguments.html.as_deref())?;
    let first = assessed(&arguments.first)?;
    let second = assessed(&arguments.second)?;
    let compared = analysis::compare(&first, &second);
    let page = || document::comparison(&first, &second, &compared);
    write_page(invocation, arguments.html.as_deref(), page)?;
    invocation.output.print(&Shown(compared))
}

fn assessed(file: &Path) -> Result<Assessment> {
    let design = model::read(file)?;
    let computed =
        analysis::assess(&design, &Effort::default(), &|_, _| {}, &AtomicBool::new(false));
    computed.map_err(|error| refused(&error))
}

/// Looks for the cheapest changes that reach the acceptable risk.
pub(super) fn advise(invocation: &Invocation, arguments: &Advise) -> Result<()> {
    let design = model::read(&arguments.file)?;
    check_page(arguments.html.as_deref())?;
    let bar = invocation.output.progress(0);
    let progress = |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    };
    let advised = analysis::advise(&design, threads(), &progress);
    bar.finish_and_clear();
    let advice = advised.map_err(|error| refused(&error))?;
    write_page(invocation, arguments.html.as_deref(), || document::advice(&advice))?;
    invocation.output.print(&Shown(advice))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_asks_for_a_stiff_chain_is_told_what_else_computes_it() {
        let source = EngineError::Stiff { steps: 1e12, transitions: 9, time: 1e6, ratio: 1e9 };
        let place = "model.toml:7: ".to_owned();
        let error = refused(&AnalysisError::Service { place, service: "s".to_owned(), source });
        assert!(error.message().starts_with("model.toml:7: service `s`"), "{error:?}");
        assert!(error.advice().contains("--engine monte-carlo"), "{error:?}");
    }
}
