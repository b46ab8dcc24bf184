//! `ravelin sim`: the product's own protocol objects in a hostile virtual world.

mod brm;
mod cores;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use ravelin_model::{FaultModel, Group};
use ravelin_sim::runner::{self, Failure, Report};
use ravelin_sim::{Mode, Options, Settings, intruder};
use serde::Serialize;

use super::Invocation;
use crate::exit::{Error, Exit, Result};
use crate::files::disk::{self, Privacy};
use crate::suggest;

/// Runs of one call at most.
const SEEDS_MAX: u64 = 10_000_000;

/// The verbs.
#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Run many seeds, each a world of its own
    Run(Run),
    /// Run one world again, from its file
    Replay(Replay),
    /// Run many seeds of reliable multicast with wormholes
    Brm(brm::Brm),
}

/// What is demanded of a run.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ModeName {
    /// Faults without end; nothing wrong may happen
    Safety,
    /// Faults within the budget, then healed; everything must be answered
    Liveness,
}

/// What is assumed of intruded servers.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ModelName {
    /// They may do anything
    Arbitrary,
    /// Anything, but for their wormholes
    Hybrid,
}

const RUN_HELP: &str = "\
Examples:
  ravelin sim run --seeds 500 --mode safety
  ravelin sim run --seeds 1 --from 17 --group 7,2 --intruder equivocator
  ravelin sim run --fault-model hybrid --rollback-proof false --group 3,1
  ravelin sim run --seeds 500 --regressions broken

A world that breaks a promise is written to the directory of --regressions, for `ravelin sim
replay`, and the exit code is 6. Seeds of which too little can be said are told, and are not
counted.";

/// Arguments of `sim run`.
#[derive(Args)]
#[command(after_long_help = RUN_HELP)]
pub(crate) struct Run {
    /// How many seeds
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=SEEDS_MAX))]
    seeds: u64,
    /// The first seed
    #[arg(long, value_name = "S", default_value_t = 0)]
    from: u64,
    /// What is demanded
    #[arg(long, default_value = "safety")]
    mode: ModeName,
    /// What is assumed of intruded servers
    #[arg(long, value_name = "MODEL", default_value = "arbitrary")]
    fault_model: ModelName,
    /// In `hybrid`, whether wormholes outlive their servers' crashes [default: drawn from the seed]
    #[arg(long, value_name = "BOOL")]
    rollback_proof: Option<bool>,
    /// Servers and intrusions tolerated, as 4,1 [default: drawn from the seed]
    #[arg(long, value_name = "N,F", value_parser = group)]
    group: Option<(u16, u16)>,
    /// The only intruder [default: drawn from the seed]; `ravelin attack list` names them
    #[arg(long, value_name = "NAME")]
    intruder: Option<String>,
    /// Runs at a time; the report does not depend on it [default: one a core]
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
    /// Where to write worlds that break a promise
    #[arg(long, value_name = "DIR")]
    regressions: Option<PathBuf>,
}

const REPLAY_HELP: &str = "\
Example:
  ravelin sim replay crates/sim/regressions/WORLD

Worlds that once broke a promise are kept in crates/sim/regressions of the source; `sim run
--regressions DIR` writes new ones.";

/// Arguments of `sim replay`.
#[derive(Args)]
#[command(after_long_help = REPLAY_HELP)]
pub(crate) struct Replay {
    /// The world's file
    file: PathBuf,
}

/// Runs a verb.
pub(crate) fn run(invocation: &Invocation, verb: Verb) -> Result<()> {
    match verb {
        Verb::Run(arguments) => run_seeds(invocation, &arguments),
        Verb::Replay(arguments) => replay(invocation, &arguments.file),
        Verb::Brm(arguments) => brm::run(invocation, &arguments),
    }
}

fn group(text: &str) -> std::result::Result<(u16, u16), String> {
    let parsed = text.split_once(',').and_then(|(n, f)| Some((n.parse().ok()?, f.parse().ok()?)));
    Ok(parsed.ok_or("write it as 4,1")?)
}

/// What is settled for all seeds.
fn settings(arguments: &Run) -> Result<Settings> {
    let model = match arguments.fault_model {
        ModelName::Arbitrary => FaultModel::Arbitrary,
        ModelName::Hybrid => FaultModel::Hybrid,
    };
    if let Some((n, f)) = arguments.group {
        let told = |error: ravelin_model::group::GroupError| {
            Error::usage(
                format!("--group {n},{f}: {error}"),
                "name more servers, or fewer intrusions",
            )
        };
        Group::new(n, f, model).map_err(told)?;
    }
    if arguments.rollback_proof.is_some() && model != FaultModel::Hybrid {
        return Err(Error::usage(
            "--rollback-proof says something about wormholes",
            "use it with `--fault-model hybrid`",
        ));
    }
    Ok(Settings {
        group: arguments.group,
        model: Some(model),
        are_rollback_proof: arguments.rollback_proof,
        intruder: arguments.intruder.as_deref().map(known_intruder).transpose()?,
    })
}

fn known_intruder(name: &str) -> Result<&'static str> {
    let all = intruder::all();
    let known = all.iter().find(|known| known.name == name);
    known.map(|known| known.name).ok_or_else(|| {
        let names = all.iter().map(|known| known.name);
        let hint = suggest::nearest(name, names).map_or_else(
            || "`ravelin attack list` names them".to_owned(),
            |nearest| format!("did you mean `{nearest}`?"),
        );
        Error::usage(format!("there is no intruder `{name}`"), hint)
    })
}

fn run_seeds(invocation: &Invocation, arguments: &Run) -> Result<()> {
    let settings = settings(arguments)?;
    let mode = match arguments.mode {
        ModeName::Safety => Mode::Safety,
        ModeName::Liveness => Mode::Liveness,
    };
    if let Some(dir) = &arguments.regressions {
        // Told now, not after an hour of seeds.
        disk::create_dir(dir)?;
    }
    let bar = invocation.output.progress(arguments.seeds);
    let threads = arguments.threads.unwrap_or_else(cores::all);
    let one = |seed| runner::run_seed(seed, mode, settings);
    let report = cores::run((arguments.from, arguments.seeds), threads, &one, &|| bar.inc(1));
    bar.finish_and_clear();
    for failure in &report.violations {
        let smallest = runner::shrink(failure);
        invocation.output.note(format_args!(
            "seed {} breaks a promise: {}",
            failure.options.seed, smallest.violation
        ));
        if let Some(dir) = &arguments.regressions {
            keep(invocation, dir, &smallest)?;
        }
    }
    invocation.output.print(&Summary::of(&report))?;
    match report.violations.first() {
        None => Ok(()),
        Some(first) => {
            let cause =
                format!("{} of {} seeds break a promise", report.violations.len(), report.seeds);
            let hint =
                format!("seed {} is the first: run it with --regressions DIR", first.options.seed);
            Err(Error::new(Exit::VerificationFailed, cause, hint))
        }
    }
}

fn keep(invocation: &Invocation, dir: &Path, failure: &Failure) -> Result<()> {
    let path = dir.join(format!("{}-{}.txt", failure.violation.kind, failure.options.seed));
    disk::replace(&path, &failure.to_file(), Privacy::Public)?;
    invocation.output.note(format_args!("kept as {}", path.display()));
    Ok(())
}

fn replay(invocation: &Invocation, file: &Path) -> Result<()> {
    let text = disk::read(file, Privacy::Public)?;
    let options = Options::parse(&text).map_err(|error| {
        Error::usage(
            format!("{}: {error}", file.display()),
            "`ravelin sim run --regressions` writes such files",
        )
    })?;
    let outcome = runner::replay(&options);
    invocation.output.print(&Replayed {
        seed: options.seed,
        trace_hash: outcome.trace.to_string(),
        commits: outcome.commits,
        violation: outcome.violation.as_ref().map(ToString::to_string),
    })?;
    outcome.violation.map_or(Ok(()), |violation| {
        let hint = "the file's first lines say what broke when it was written";
        Err(Error::new(Exit::VerificationFailed, violation, hint))
    })
}

#[derive(Serialize)]
struct Replayed {
    seed: u64,
    trace_hash: String,
    commits: u64,
    violation: Option<String>,
}

impl fmt::Display for Replayed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "seed {}: {} commits, trace {}", self.seed, self.commits, self.trace_hash)
    }
}

/// What scripts read: its fields are stable.
#[derive(Serialize)]
struct Summary {
    seeds: u64,
    violations: usize,
    trace_hash: String,
    events: u64,
    virtual_seconds: f64,
    faults: BTreeMap<String, u64>,
    reached: BTreeMap<String, u64>,
    commits: u64,
    operations: u64,
    counted: u64,
    uncounted: BTreeMap<u64, String>,
    pairs: BTreeMap<String, u64>,
    #[serde(skip)]
    table: BTreeMap<(&'static str, &'static str), u64>,
}

impl Summary {
    fn of(report: &Report) -> Self {
        let named = |counts: &BTreeMap<&'static str, u64>| {
            counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
        };
        let pairs = report
            .pairs
            .iter()
            .map(|((intruder, class), count)| (format!("{intruder} x {class}"), *count))
            .collect();
        Self {
            seeds: report.seeds,
            violations: report.violations.len(),
            trace_hash: report.trace_hash().to_string(),
            events: report.events,
            virtual_seconds: report.virtual_us as f64 / 1e6,
            faults: named(&report.faults),
            reached: named(&report.reached),
            commits: report.commits,
            operations: report.operations,
            counted: report.seeds - report.uncounted.len() as u64,
            uncounted: report.uncounted.clone(),
            pairs,
            table: report.pairs.clone(),
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "{} seeds ({} counted), {} violations, {} commits, {} operations, {} events in {:.0} virtual seconds",
            self.seeds,
            self.counted,
            self.violations,
            self.commits,
            self.operations,
            self.events,
            self.virtual_seconds
        )?;
        let mut reasons: BTreeMap<&str, u64> = BTreeMap::new();
        for reason in self.uncounted.values() {
            *reasons.entry(reason).or_default() += 1;
        }
        for (reason, count) in reasons {
            writeln!(out, "{count:>10}  not counted: {reason}")?;
        }
        for (class, count) in &self.faults {
            writeln!(out, "{count:>10}  {class}")?;
        }
        for (what, count) in &self.reached {
            writeln!(out, "{count:>10}  seeds: {what}")?;
        }
        self.write_pairs(out)?;
        write!(out, "trace {}", self.trace_hash)
    }
}

impl Summary {
    /// Counted runs by intruder, a row each, and network class, a column each.
    fn write_pairs(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let classes: BTreeSet<&str> = self.table.keys().map(|(_, class)| *class).collect();
        let intruders: BTreeSet<&str> = self.table.keys().map(|(intruder, _)| *intruder).collect();
        write!(out, "{:>20}", "")?;
        classes.iter().try_for_each(|class| write!(out, " {class:>11}"))?;
        writeln!(out)?;
        for intruder in intruders {
            write!(out, "{intruder:>20}")?;
            for class in &classes {
                let count = self.table.get(&(intruder, *class)).copied().unwrap_or(0);
                write!(out, " {count:>11}")?;
            }
            writeln!(out)?;
        }
        Ok(())
    }
}
