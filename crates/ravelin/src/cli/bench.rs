//! `ravelin bench`: measures on throw-away clusters of this machine.
//!
//! Every figure comes with what was authenticated and synced: all of it, always.

mod against;
mod attack;
mod away;
mod door;
mod etcd;
mod idle;
mod load;
mod testbed;
mod trace;
mod usage;

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args, ValueEnum};
use ravelin_model::ReplicaId;

use super::Invocation;
use super::attack::check_live;
use crate::client_command::Interruption;
use crate::exit::{Error, Exit, Result};
use crate::files::disk;
use crate::processes::Logging;

use load::Shape;
use testbed::TestBed;
pub(crate) use usage::anonymous_mib;
#[cfg(test)]
pub(crate) use usage::cpu_seconds;

/// How long a load is measured, unless asked otherwise.
const SECONDS_DEFAULT: u64 = 10;
/// The same for a cluster that does nothing, of which there is little to measure.
const IDLE_SECONDS_DEFAULT: u64 = 60;
/// How long `--quick` measures.
const QUICK_SECONDS: u64 = 3;
/// Rounds of a comparison, unless asked otherwise.
const PAIRS_DEFAULT: u16 = 5;
/// The same with `--quick`.
const QUICK_PAIRS: u16 = 2;

const HELP: &str = "\
Examples:
  ravelin bench --quick
  ravelin bench --attack equivocator --pairs 3
  ravelin bench --against etcd --report etcd.md
  ravelin bench --idle
  ravelin bench --trace
  ravelin bench --away 60 --keys 100000 --lost --rate 3000

Each makes a cluster of its own in a temporary directory, and removes it.";

/// Arguments of `bench`.
#[derive(Args)]
#[command(after_long_help = HELP, group = ArgGroup::new("reported").args(["attack", "against", "away"]), group = ArgGroup::new("paired").args(["attack", "against"]))]
pub(crate) struct Bench {
    /// Bytes of a value
    #[arg(long, value_name = "BYTES", default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    value_bytes: u32,
    /// Operations in flight; with --rate as many as 4096
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=4096))]
    in_flight: u32,
    /// Operations of an envelope
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=1024))]
    envelope: u32,
    /// Operations a second that come due, however long earlier ones take; without it the next one
    /// is sent when one is answered
    #[arg(long, value_name = "N", conflicts_with_all = ["idle", "trace"], value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    rate: Option<u32>,
    /// How long to measure, after a warm-up of a quarter of it [default: 10, with --idle 60]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: Option<u64>,
    /// Measure for three seconds only
    #[arg(long)]
    quick: bool,
    /// Compare with a cluster that has a server in this intruder's hands
    #[arg(long, value_name = "INTRUDER")]
    attack: Option<String>,
    /// The server in its hands
    #[arg(long, value_name = "SERVER", requires = "attack", default_value_t = 3, value_parser = clap::value_parser!(u16).range(0..=3))]
    on: u16,
    /// Compare with another system that is installed here, under the same load
    #[arg(long, value_name = "PEER", conflicts_with_all = ["attack", "rate"])]
    against: Option<Peer>,
    /// Pairs of runs, fault-free and attacked, or ours and the peer's [default: 5, with --quick and
    /// --against 2]
    #[arg(long, value_name = "N", requires = "paired", value_parser = clap::value_parser!(u16).range(1..=100))]
    pairs: Option<u16>,
    /// Write the comparison to a file, or add a row of --away to it
    #[arg(long, value_name = "FILE", requires = "reported")]
    report: Option<PathBuf>,
    /// Measure a cluster that nobody asks anything
    #[arg(long, conflicts_with_all = ["attack", "against"])]
    idle: bool,
    /// Measure how a server comes back that was away for so long, under load
    #[arg(long, value_name = "SECONDS", conflicts_with_all = ["attack", "against", "idle", "trace"], value_parser = clap::value_parser!(u64).range(5..=86_400))]
    away: Option<u64>,
    /// Delete its data while it is away
    #[arg(long, requires = "away")]
    lost: bool,
    /// Keys to write before
    #[arg(long, value_name = "N", requires = "away", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=10_000_000))]
    keys: u32,
    /// Let every server take what the others leave of the processor, instead of an equal part
    #[arg(long, requires = "away")]
    no_quota: bool,
    /// Follow one request on an idle cluster hop by hop, and show where the time of requests goes
    #[arg(long, conflicts_with_all = ["attack", "against", "idle"])]
    trace: bool,
}

/// Whom to compare with.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Peer {
    /// Three etcd servers (Debian's etcd-server), which tolerate a crash.
    Etcd,
}

/// Measures.
pub(crate) fn run(invocation: &Invocation, arguments: &Bench) -> Result<()> {
    if arguments.envelope > arguments.in_flight {
        let cause = format!(
            "envelopes of {} do not fit {} operations in flight",
            arguments.envelope, arguments.in_flight
        );
        return Err(Error::usage(cause, "make --in-flight a multiple of --envelope"));
    }
    let shape = arguments.shape();
    if !shape.fits() {
        let cause = format!(
            "envelopes of {} values of {} bytes are more than the 1 MiB that servers take",
            arguments.envelope, arguments.value_bytes
        );
        return Err(Error::usage(cause, "make --envelope or --value-bytes smaller"));
    }
    if arguments.rate.is_some_and(|rate| rate < arguments.envelope) {
        let cause = "less than one envelope a second comes due";
        return Err(Error::usage(cause, "raise --rate, or make --envelope smaller"));
    }
    for name in arguments.attack.iter().flat_map(|names| names.split('+')) {
        check_live(name)?;
    }
    if let Some(path) = &arguments.report {
        disk::check_replaceable(path)?;
    }
    // The load has a thread of its own: whoever asks servers how they fare must not hold it up.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| Error::caused(Exit::Failed, error, "check the limit of open files"))?;
    runtime.block_on(async {
        let mut interruption = Interruption::listen()?;
        tokio::select! {
            outcome = measure(invocation, arguments) => outcome,
            _ = interruption.next() => Err(Interruption::error("all servers are stopped")),
        }
    })
}

impl Bench {
    fn seconds(&self, default: u64) -> u64 {
        let asked = self.seconds.unwrap_or(default);
        if self.quick { QUICK_SECONDS } else { asked }
    }

    fn shape(&self) -> Shape {
        Shape {
            value_bytes: self.value_bytes,
            in_flight: self.in_flight,
            envelope: self.envelope,
            rate: self.rate,
            seconds: self.seconds(SECONDS_DEFAULT),
        }
    }
}

async fn measure(invocation: &Invocation, arguments: &Bench) -> Result<()> {
    let shape = arguments.shape();
    if arguments.idle {
        let figures = idle::measure(arguments.seconds(IDLE_SECONDS_DEFAULT)).await?;
        return invocation.output.print(&figures);
    }
    if let Some(seconds) = arguments.away {
        let keys = usize::try_from(arguments.keys).unwrap_or(usize::MAX);
        let away = Duration::from_secs(seconds);
        let (is_lost, is_unlimited) = (arguments.lost, arguments.no_quota);
        let plan = away::Plan { away, keys, is_lost, is_unlimited, shape };
        let figures = away::measure(invocation.output, plan).await?;
        if let Some(path) = &arguments.report {
            figures.write_report(path)?;
        }
        return invocation.output.print(&figures);
    }
    if arguments.trace {
        return invocation.output.print(&trace::measure().await?);
    }
    if let Some(Peer::Etcd) = arguments.against {
        let default = if arguments.quick { QUICK_PAIRS } else { PAIRS_DEFAULT };
        let rounds = arguments.pairs.unwrap_or(default).into();
        let plan = against::Plan { rounds, is_quick: arguments.quick, shape };
        let comparison = against::compare(invocation.output, plan).await?;
        if let Some(path) = &arguments.report {
            comparison.write_report(path)?;
        }
        return comparison.print(invocation.output);
    }
    if let Some(intruder) = &arguments.attack {
        let pairs = arguments.pairs.unwrap_or(PAIRS_DEFAULT).into();
        let on = ReplicaId(arguments.on);
        let plan = attack::Plan { intruder, on, pairs, shape };
        let comparison = attack::compare(invocation.output, plan).await?;
        if let Some(path) = &arguments.report {
            comparison.write_report(path)?;
        }
        return invocation.output.print(&comparison);
    }
    let bed = TestBed::start(None, Logging::AsFiled).await?;
    let figures = load::measure(&bed, shape).await?;
    drop(bed);
    invocation.output.print(&figures)
}
