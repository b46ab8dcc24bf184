//! `ravelin wormhole`: the trusted component of a server, a process of its own.
//!
//! Its program is `ravelin-wormhole`, which stands beside this one. Where it does not, as after `cargo
//! run`, this program acts as it: the same code in the same closed process, but from a program that
//! nobody audits in a day.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use ravelin_wormhole::core::{Engine, Nanos};
use ravelin_wormhole::launcher::PROGRAM_NAME;
use ravelin_wormhole::sandbox::{Attacker, Protection, Restart, Verdict};
use ravelin_wormhole::serve::selftest::{self, SelfTest, Times};
use serde::Serialize;

use super::Invocation;
use crate::exit::{Error, Exit, Result};
use crate::{multicast_demo, wormhole};

/// Runs of `wormhole demo` at most: some forty minutes.
const RUNS_MAX: i64 = 5_000;

/// The verbs.
#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Start one, measure it, and say whom it withstands here
    Selftest(Selftest),
    /// Have four agree what a multicast's hash is, on a network that loses and corrupts
    Demo(Demo),
}

const SELFTEST_HELP: &str = "\
Examples:
  ravelin wormhole selftest
  ravelin wormhole selftest --program /usr/libexec/ravelin-wormhole --output json

It runs in a directory of its own, with a key that nobody trusts, and leaves nothing behind.
As root it gets a user of its own. What is said holds for a wormhole that is started the same
way on this host.";

/// Arguments of `wormhole selftest`.
#[derive(Args)]
#[command(after_long_help = SELFTEST_HELP)]
pub(crate) struct Selftest {
    /// The program [default: ravelin-wormhole beside this one, or else this one]
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
}

const DEMO_HELP: &str = "\
Examples:
  ravelin wormhole demo
  ravelin wormhole demo --svg figure10.svg
  ravelin wormhole demo --runs 100 --seed 7 --output json
  ravelin wormhole demo -v
  ravelin wormhole demo --real-time 20

Four wormholes, and beside each a process P1 to P4 that runs the reliable multicast BRM-T. First
the paper's figure 10: P2 receives both copies of P1's message, P3 the first one corrupted and
the second well, P4 only the second, late. Then runs in which copies are lost, corrupted and late
by chance, about half of them with a malicious process. -v shows the timelines of these, too.

Each run is judged: Validity, Agreement, Integrity. If one is broken, the exit code is 6. As root
the wormholes have a network of their own; otherwise they use the loopback, and it is said so.";

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
    /// Let the wormholes agree by rounds of their common clock, with this bound
    #[arg(long, value_name = "MILLISECONDS", value_parser = clap::value_parser!(u64).range(1..=20))]
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
        Verb::Selftest(arguments) => self_test(invocation, arguments),
        Verb::Demo(Demo { svg, runs, seed, real_time }) => {
            let bound = real_time.map(Nanos::from_millis);
            let engine = bound.map_or(Engine::Quorum, |bound| Engine::RealTime { bound });
            let options = multicast_demo::Options { svg, runs, seed, engine };
            multicast_demo::run(invocation.output, &options)
        }
    }
}

fn self_test(invocation: &Invocation, arguments: Selftest) -> Result<()> {
    let (program, is_small) = match arguments.program {
        Some(program) => {
            std::fs::metadata(&program).map_err(|error| Error::system("run", &program, &error))?;
            (program, true)
        }
        None => wormhole::program()?,
    };
    let measured = selftest::measure(&program).map_err(|error| {
        let hint = "run `ravelin doctor`, or name a `ravelin-wormhole` with --program";
        Error::caused(Exit::Failed, error, hint)
    })?;
    invocation.output.print(&Report::new(program, is_small, measured))
}

#[derive(Serialize)]
struct Report {
    mode: &'static str,
    program: PathBuf,
    small_program: bool,
    rollback_proof: bool,
    start_ms: f64,
    calls: Vec<Row>,
    wakeup_p50_us: f64,
    wakeup_p99_us: f64,
    wakeup_longest_us: f64,
    locked_kib: u64,
    resident_kib: u64,
    protections: Vec<InForce>,
    attackers: Vec<Against>,
    #[serde(skip)]
    text: String,
}

#[derive(Serialize)]
struct Row {
    call: &'static str,
    p50_us: f64,
    p99_us: f64,
}

#[derive(Serialize)]
struct InForce {
    name: &'static str,
    in_force: bool,
    stops: &'static str,
}

#[derive(Serialize)]
struct Against {
    attacker: &'static str,
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    because: Option<&'static str>,
}

impl Report {
    fn new(program: PathBuf, small_program: bool, measured: SelfTest) -> Self {
        let us = |times: &Times, permille| micros(times.permille(permille));
        let row = |times: &Times| Row {
            call: times.what,
            p50_us: us(times, 500),
            p99_us: us(times, 990),
        };
        let protections = measured.protections;
        let in_force = |one: Protection| InForce {
            name: one.name(),
            in_force: protections.has(one),
            stops: one.stops(),
        };
        Self {
            mode: "local",
            small_program,
            rollback_proof: false,
            start_ms: micros(measured.start) / 1e3,
            calls: measured.calls.iter().map(row).collect(),
            wakeup_p50_us: us(&measured.wakeups, 500),
            wakeup_p99_us: us(&measured.wakeups, 990),
            wakeup_longest_us: us(&measured.wakeups, 1_000),
            locked_kib: measured.locked_kib,
            resident_kib: measured.resident_kib,
            protections: Protection::ALL.into_iter().map(in_force).collect(),
            attackers: Attacker::ALL
                .into_iter()
                .map(|one| Against::new(one, protections.against(one, Restart::NewInstance)))
                .collect(),
            text: measured.to_string(),
            program,
        }
    }
}

impl Against {
    fn new(attacker: Attacker, verdict: Verdict) -> Self {
        let (verdict, because) = match verdict {
            Verdict::Withstood => ("withstood", None),
            Verdict::Partly(what) => ("partly", Some(what)),
            Verdict::Lost(how) => ("lost", Some(how)),
        };
        Self { attacker: attacker.name(), verdict, because }
    }
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<28}{}", "program", self.program.display())?;
        if !self.small_program {
            writeln!(f, "{:<28}MISSING   The small program can be audited; this one is all.", "")?;
        }
        write!(f, "{}", self.text.trim_end())
    }
}
