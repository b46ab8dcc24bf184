//! `ravelin sim brm`: reliable multicast with the wormholes' help, in a world of its own.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroUsize;

use clap::{Args, ValueEnum};
use ravelin_sim::brm::{self, Report, Settings, intruder};
use serde::Serialize;

use super::super::Invocation;
use super::{SEEDS_MAX, cores};
use crate::exit::{Error, Exit, Result};
use crate::suggest;

/// Which of the two protocols.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Variant {
    /// BRM-T: few delays
    T,
    /// BRM-M: few messages
    M,
}

/// How wormholes agree.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Engine {
    /// By a majority of them
    Quorum,
    /// By rounds in real time
    RealTime,
}

const HELP: &str = "\
Examples:
  ravelin sim brm --seeds 10000
  ravelin sim brm --seeds 1000 --variant m --engine quorum --intruder to-one

Each seed is a group of 3 to 7 processes of which all but one may be intruded, ideal wormholes,
and a network that loses, changes, holds up and repeats copies. A run that breaks Validity,
Agreement or Integrity is told with its seed, which shows it again with --from SEED --seeds 1, and
the exit code is 6.";

/// Arguments of `sim brm`.
#[derive(Args)]
#[command(after_long_help = HELP)]
pub(crate) struct Brm {
    /// How many seeds
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=SEEDS_MAX))]
    seeds: u64,
    /// The first seed
    #[arg(long, value_name = "S", default_value_t = 0)]
    from: u64,
    /// The protocol [default: drawn from the seed]
    #[arg(long)]
    variant: Option<Variant>,
    /// How the wormholes agree [default: drawn from the seed]
    #[arg(long)]
    engine: Option<Engine>,
    /// The only kind of intruder, at least one of them [default: drawn from the seed]
    #[arg(long, value_name = "NAME")]
    intruder: Option<String>,
    /// Runs at a time; the report does not depend on it [default: one a core]
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
}

impl Brm {
    fn settings(&self) -> Result<Settings> {
        Ok(Settings {
            variant: self.variant.map(|variant| match variant {
                Variant::T => ravelin_multicast::brm::Variant::T,
                Variant::M => ravelin_multicast::brm::Variant::M,
            }),
            engine: self.engine.map(|engine| match engine {
                Engine::Quorum => ravelin_multicast::brm::Engine::Quorum,
                Engine::RealTime => ravelin_multicast::brm::Engine::RealTime,
            }),
            intruder: self.intruder.as_deref().map(known_intruder).transpose()?,
        })
    }
}

fn known_intruder(name: &str) -> Result<&'static str> {
    let known = intruder::NAMES.into_iter().find(|known| *known == name);
    known.ok_or_else(|| {
        let hint = suggest::nearest(name, intruder::NAMES).map_or_else(
            || format!("there are: {}", intruder::NAMES.join(", ")),
            |nearest| format!("did you mean `{nearest}`?"),
        );
        Error::usage(format!("there is no intruder `{name}`"), hint)
    })
}

/// Runs the seeds.
pub(super) fn run(invocation: &Invocation, arguments: &Brm) -> Result<()> {
    let settings = arguments.settings()?;
    let bar = invocation.output.progress(arguments.seeds);
    let threads = arguments.threads.unwrap_or_else(cores::all);
    let one = |seed| brm::run_seed(seed, settings);
    let report = cores::run((arguments.from, arguments.seeds), threads, &one, &|| bar.inc(1));
    bar.finish_and_clear();
    for (options, violation) in &report.violations {
        invocation.output.note(format_args!("{options}: breaks a promise: {violation}"));
    }
    invocation.output.print(&Summary::of(&report))?;
    let Some((first, _)) = report.violations.first() else { return Ok(()) };
    let cause = format!("{} of {} seeds break a promise", report.violations.len(), report.seeds);
    let hint = format!("seed {} is the first: run it with --from {0} --seeds 1", first.seed);
    Err(Error::new(Exit::VerificationFailed, cause, hint))
}

/// What scripts read: its fields are stable.
#[derive(Serialize)]
struct Summary {
    seeds: u64,
    violations: usize,
    trace_hash: String,
    events: u64,
    virtual_seconds: f64,
    deliveries: u64,
    demanded: u64,
    refused: u64,
    silent: u64,
    faults: BTreeMap<&'static str, u64>,
    acts: BTreeMap<&'static str, u64>,
    groups: BTreeMap<String, u64>,
}

impl Summary {
    fn of(report: &Report) -> Self {
        let groups = report.groups.iter().map(|((protocol, n, intruded), runs)| {
            (format!("{protocol}, {intruded} of {n} intruded"), *runs)
        });
        Self {
            seeds: report.seeds,
            violations: report.violations.len(),
            trace_hash: report.trace_hash().to_string(),
            events: report.events,
            virtual_seconds: report.virtual_us as f64 / 1e6,
            deliveries: report.deliveries,
            demanded: report.demanded,
            refused: report.refused,
            silent: report.silent,
            faults: report.faults.clone(),
            acts: report.acts.clone(),
            groups: groups.collect(),
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "{} seeds, {} violations, {} deliveries, {} multicasts that had to be delivered, {} \
             refused by wormholes, {} events in {:.0} virtual seconds",
            self.seeds,
            self.violations,
            self.deliveries,
            self.demanded,
            self.refused,
            self.events,
            self.virtual_seconds
        )?;
        for (name, count) in self.faults.iter().chain(&self.acts) {
            writeln!(out, "{count:>10}  {name}")?;
        }
        write!(out, "trace {}", self.trace_hash)
    }
}
