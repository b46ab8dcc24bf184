//! `ravelin wormhole`: the trusted component of a server, a process of its own.
//!
//! Its program is `ravelin-wormhole`, which stands beside this one. Where it does not, as after `cargo
//! run`, this program acts as it: the same code in the same closed process, but from a program that
//! nobody audits in a day.

mod bench;
mod measure_od;
mod selftest;
mod status;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use ravelin_wormhole::core::{Engine, Nanos};
use ravelin_wormhole::launcher::PROGRAM_NAME;

use super::Invocation;
use crate::exit::Result;
use crate::multicast_demo;

/// Runs of `wormhole demo` at most: some forty minutes.
const RUNS_MAX: i64 = 5_000;

/// The verbs.
#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Show the wormholes of running servers: what protects them, and whom they withstand
    Status(status::Status),
    /// Start one, measure it, and say whom it withstands here
    Selftest(selftest::Selftest),
    /// Measure what its services cost on this host
    Bench(bench::Bench),
    /// Find how many copies of a message a network loses
    MeasureOd(measure_od::MeasureOd),
    /// Have four agree what a multicast's hash is, on a network that loses and corrupts
    Demo(Demo),
}

const DEMO_HELP: &str = "\
Examples:
  ravelin wormhole demo
  ravelin wormhole demo --svg figure10.svg
  ravelin wormhole demo --runs 100 --seed 7 --output json
  ravelin wormhole demo -v
  ravelin wormhole demo --real-time 20
  ravelin wormhole demo --runs 500 --report brm-processes.md

Four wormholes, and beside each a process P1 to P4 that runs the reliable multicast BRM-T. First
the paper's figure 10: P2 receives both copies of P1's message, P3 the first one corrupted and
the second well, P4 only the second, late. Then runs in which copies are lost, corrupted and late
by chance, with none, one or two of the four malicious. -v shows the timelines of these, too;
--report writes what came of all, by the number of malicious ones.

Each run is judged: Validity, Agreement, Integrity. As root the wormholes have a network of their
own; otherwise they use the loopback, and it is said so. The hash differs in each run of the
command, whatever the seed: it covers an agreement of this run's wormholes, at this time.

Exit codes: 0 all kept; 1 the demonstration could not be run, or nothing was delivered in a run
whose sender was correct; 6 one is broken.";

/// Arguments of `wormhole demo`.
#[derive(Args)]
#[command(after_long_help = DEMO_HELP)]
pub(crate) struct Demo {
    /// Draw what happened in figure 10's case
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// How many runs by chance after it
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(0..=RUNS_MAX))]
    runs: u32,
    /// What chance depends on
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    /// Write what came of all runs, as Markdown
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Let the wormholes agree by rounds of their common clock, with this bound
    #[arg(long, value_name = "MILLISECONDS", value_parser = clap::value_parser!(u64).range(2..=20))]
    real_time: Option<u64>,
}

/// Whether this process was started to be a wormhole.
pub(crate) fn is_wormhole() -> bool {
    let name = std::env::args_os().next();
    name.is_some_and(|name| Path::new(&name).file_name() == Some(OsStr::new(PROGRAM_NAME)))
}

/// Runs a verb.
pub(crate) fn run(invocation: &Invocation, verb: Verb) -> Result<()> {
    match verb {
        Verb::Status(arguments) => status::run(invocation, &arguments),
        Verb::Selftest(arguments) => selftest::run(invocation, arguments),
        Verb::Bench(arguments) => bench::run(invocation, &arguments),
        Verb::MeasureOd(arguments) => measure_od::run(invocation, &arguments),
        Verb::Demo(Demo { svg, runs, seed, report, real_time }) => {
            let bound = real_time.map(Nanos::from_millis);
            let engine = bound.map_or(Engine::Quorum, |bound| Engine::RealTime { bound });
            let options = multicast_demo::Options { svg, runs, seed, engine, report };
            multicast_demo::run(invocation.output, &options)
        }
    }
}
