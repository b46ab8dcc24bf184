//! `ravelin bench`: measures on throw-away clusters of this machine.
//!
//! Every figure comes with what was authenticated and synced: all of it, always.

mod against;
mod attack;
mod away;
mod door;
mod etcd;
mod figures;
mod growth;
mod hostile_client;
mod idle;
mod load;
mod models;
mod named;
mod offer;
mod openraft;
mod page;
mod peer;
mod plot;
mod runs;
mod samples;
mod survey;
mod target;
mod targets;
mod testbed;
mod trace;
mod usage;

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args, ValueEnum};
use ravelin_model::ReplicaId;

use super::{Invocation, ModelName};
use crate::client_command::Interruption;
use crate::exit::{Error, Exit, Result};
use crate::files::disk;

use load::Shape;
use named::Named;
use peer::System;
use runs::Site;
use survey::Attackers;
use target::RunningCluster;
use testbed::{Layout, Storage};
pub(crate) use usage::anonymous_mib;
#[cfg(test)]
pub(crate) use usage::cpu_seconds;

/// How long a cluster is measured that does nothing, of which there is little to measure.
const IDLE_SECONDS_DEFAULT: u64 = 60;
/// How long `--quick` measures.
const QUICK_SECONDS: u64 = 3;
/// Rounds of a comparison, unless asked otherwise.
const PAIRS_DEFAULT: u16 = 5;
/// The same with `--quick`.
const QUICK_PAIRS: u16 = 2;
/// Runs of each configuration where all are measured, unless asked otherwise.
const RUNS_OF_ALL: u16 = 3;
/// Rounds of everything that is wanted, and with `--quick`.
const ROUNDS_OF_TARGETS: u16 = 3;
const QUICK_ROUNDS_OF_TARGETS: u16 = 1;

const HELP: &str = "\
Examples:
  ravelin bench --quick
  ravelin bench --named singles --runs 3
  ravelin bench --named all --report loads.md
  ravelin bench --in-flight 64 --envelope 1 --reads 90
  ravelin bench --servers 7 --not-durable
  ravelin bench --attack equivocator --pairs 3
  ravelin bench --attack all --pairs 3 --report attacks.md
  ravelin bench --against etcd --report etcd.md
  ravelin bench --against etcd --reads 100
  ravelin bench --against openraft --report openraft.md
  ravelin bench --against arbitrary --report models.md
  ravelin bench --targets --report targets.md
  ravelin bench --idle
  ravelin bench --trace
  ravelin bench --away 60 --keys 100000 --lost --rate 3000
  ravelin bench --offer 2 --seconds 60 --report overload.md
  ravelin bench --growth --keys 1000000 --report growth.md
  ravelin bench --running --config client.toml --named default

Each makes a cluster of its own in a temporary directory, and removes it; only --running puts
its load on the cluster that --config or --context names. Its keys begin with
`ravelin-bench/`, and are removed in the end.

Intruders are those that `ravelin attack list` names; beside them, --attack knows two clients
that are enrolled and hostile: client-flood and client-bad-signatures.";

/// What is measured beside a load of writes.
const OTHERS: [&str; 8] =
    ["attack", "against", "idle", "away", "trace", "offer", "growth", "targets"];
/// What stands beside no other measurement.
const ALONE: [&str; 8] =
    ["attack", "against", "idle", "away", "trace", "offer", "growth", "not_durable"];
/// What a configuration with a name says itself.
const SAID_BY_NAME: [&str; 5] = ["value_bytes", "in_flight", "envelope", "reads", "rate"];

/// Arguments of `bench`.
#[derive(Args)]
#[command(
    after_long_help = HELP,
    group = ArgGroup::new("reported").args(["named", "attack", "against", "away", "offer", "growth", "targets"]),
    group = ArgGroup::new("filled").args(["away", "growth"]),
    group = ArgGroup::new("paired").args(["attack", "against", "targets"]),
)]
pub(crate) struct Bench {
    /// Measure a fixed configuration, which says all about the load but for how long
    #[arg(long, value_name = "NAME", conflicts_with_all = OTHERS, conflicts_with_all = SAID_BY_NAME)]
    named: Option<Named>,
    /// Measure so often, and show the run of median throughput, and the least and the most [default: 1,
    /// with --named all 3]
    #[arg(long, value_name = "N", conflicts_with_all = OTHERS, value_parser = clap::value_parser!(u16).range(1..=100))]
    runs: Option<u16>,
    /// Bytes of a value
    #[arg(long, value_name = "BYTES", default_value_t = Shape::DEFAULT.value_bytes, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    value_bytes: u32,
    /// Operations in flight; with --rate as many as 4096
    #[arg(long, value_name = "N", default_value_t = Shape::DEFAULT.in_flight, value_parser = clap::value_parser!(u32).range(1..=4096))]
    in_flight: u32,
    /// Operations of an envelope
    #[arg(long, value_name = "N", default_value_t = Shape::DEFAULT.envelope, value_parser = clap::value_parser!(u32).range(1..=1024))]
    envelope: u32,
    /// Of a hundred operations, how many read, as `kv get` does, and do not write
    #[arg(long, value_name = "PERCENT", default_value_t = Shape::DEFAULT.reads, conflicts_with_all = ["idle", "away", "trace"], value_parser = clap::value_parser!(u8).range(0..=100))]
    reads: u8,
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
    /// Servers of the cluster, which tolerates as many intrusions as fit
    /// [default: 4, with `hybrid` 3]
    #[arg(long, value_name = "N", conflicts_with_all = ["against", "away"], value_parser = clap::value_parser!(u16).range(3..=100))]
    servers: Option<u16>,
    /// What is assumed of intruded servers
    #[arg(long, value_name = "MODEL", conflicts_with_all = ["against", "away", "growth", "running"], default_value = "arbitrary")]
    fault_model: ModelName,
    /// Let the cluster lie in memory (/dev/shm), where a sync costs nothing, and keeps nothing
    #[arg(long, conflicts_with_all = ["against", "idle", "away", "trace"])]
    not_durable: bool,
    /// Measure the cluster that --config or --context names, and that runs already
    #[arg(long, conflicts_with_all = OTHERS, conflicts_with_all = ["servers", "not_durable"])]
    running: bool,
    /// Compare with a cluster that has a server in this intruder's hands; `all` or several, divided by
    /// commas, make a table
    #[arg(long, value_name = "INTRUDER")]
    attack: Option<String>,
    /// The server in its hands [default: the last]
    #[arg(long, value_name = "SERVER", requires = "attack", value_parser = clap::value_parser!(u16).range(0..=99))]
    on: Option<u16>,
    /// Compare with another system that is installed or built here, or `hybrid` with `arbitrary`, under
    /// the same load
    #[arg(long, value_name = "PEER", conflicts_with_all = ["attack", "rate"])]
    against: Option<Peer>,
    /// The `raft-peer` to compare with [default: beside this program, or where `cargo build --release
    /// --manifest-path bench/raft/Cargo.toml` puts it]
    #[arg(long, value_name = "FILE", requires = "against")]
    peer_program: Option<PathBuf>,
    /// Pairs of runs, fault-free and attacked, or ours and the peer's [default: 5, with --quick and
    /// --against 2; with --targets 3, and with --quick 1]
    #[arg(long, value_name = "N", requires = "paired", value_parser = clap::value_parser!(u16).range(1..=100))]
    pairs: Option<u16>,
    /// Write what was measured to a file, or add a row of --away to it
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
    /// Keys to write before; with --growth in the largest state
    #[arg(long, value_name = "N", requires = "filled", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=10_000_000))]
    keys: u32,
    /// Let every server take what the others leave of the processor, instead of an equal part
    #[arg(long, requires = "away")]
    no_quota: bool,
    /// Offer so many times what is answered at most, shed what is not taken, and watch the memory
    #[arg(long, value_name = "TIMES", conflicts_with_all = ["attack", "against", "idle", "away", "trace", "rate", "reads", "in_flight"], value_parser = times)]
    offer: Option<f64>,
    /// Measure what an operation costs as the group grows, and as its state does, tenfold each time; how
    /// long a server takes to start, and to fetch the state
    #[arg(long, requires = "keys", conflicts_with_all = ["attack", "against", "idle", "away", "trace", "offer", "rate", "reads", "servers"])]
    growth: bool,
    /// Measure everything that is wanted of Ravelin's speed, beside etcd where it is installed, and show
    /// what is had: half an hour, with --quick some minutes
    #[arg(long, conflicts_with_all = ALONE, conflicts_with_all = SAID_BY_NAME, conflicts_with_all = ["servers", "fault_model"])]
    targets: bool,
    /// Follow one request on an idle cluster hop by hop, and show where the time of requests goes
    #[arg(long, conflicts_with_all = ["attack", "against", "idle"])]
    trace: bool,
}

/// Whom to compare with.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Peer {
    /// Three etcd servers (Debian's etcd-server), which tolerate a crash.
    Etcd,
    /// Three servers of `raft-peer`, a program on the crate openraft, which tolerate a crash.
    Openraft,
    /// Our own four servers without wormholes, beside three with one each (`hybrid`).
    Arbitrary,
}

/// A factor of `--offer`.
fn times(text: &str) -> std::result::Result<f64, String> {
    let times: f64 = text.parse().map_err(|_| "it is no number".to_owned())?;
    if (0.01..=100.0).contains(&times) {
        Ok(times)
    } else {
        Err("it must be between 0.01 and 100".to_owned())
    }
}

/// Measures.
pub(crate) fn run(invocation: &Invocation, arguments: &Bench) -> Result<()> {
    let shape = arguments.shape();
    let in_flight =
        if arguments.offer.is_some() { load::OFFERED_IN_FLIGHT } else { shape.in_flight };
    Shape { in_flight, ..shape }.check()?;
    arguments.layout().check()?;
    let attackers = arguments.attack.as_deref().map(Attackers::parse).transpose()?;
    let servers = arguments.layout().servers;
    if arguments.attack.is_some() && arguments.on() >= servers {
        let cause = format!("there is no server {}", arguments.on());
        let hint = format!("the cluster has servers 0 to {}", servers - 1);
        return Err(Error::usage(cause, hint));
    }
    if arguments.growth && (arguments.keys as usize) < growth::KEYS_MIN {
        let cause = format!("the smallest state has {} keys", growth::KEYS_MIN);
        return Err(Error::usage(cause, "raise --keys, which is how many the largest has"));
    }
    if arguments.peer_program.is_some() && !matches!(arguments.against, Some(Peer::Openraft)) {
        let cause = "--peer-program names a raft-peer, and none is compared with";
        return Err(Error::usage(cause, "say --against openraft"));
    }
    arguments.reports().iter().try_for_each(|path| disk::check_replaceable(path))?;
    // The load has a thread of its own: whoever asks servers how they fare must not hold it up.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| Error::caused(Exit::Failed, error, "check the limit of open files"))?;
    runtime.block_on(async {
        let mut interruption = Interruption::listen()?;
        tokio::select! {
            outcome = measure(invocation, arguments, attackers) => outcome,
            _ = interruption.next() => Err(Interruption::error(arguments.leaves())),
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
            reads: self.reads,
            rate: self.rate,
            seconds: self.seconds(Shape::DEFAULT.seconds),
            keys: None,
        }
    }

    fn layout(&self) -> Layout {
        let storage = if self.not_durable { Storage::Memory } else { Storage::Disk };
        let layout = Layout::of(self.fault_model.into());
        let servers = self.servers.unwrap_or(layout.servers);
        let servers = if self.growth { growth::SERVERS_MAX } else { servers };
        Layout { servers, storage, ..layout }
    }

    /// All files that are to be written: a report, and the plots beside it.
    fn reports(&self) -> Vec<PathBuf> {
        let Some(report) = &self.report else { return Vec::new() };
        let plots: &[&str] = match (self.growth, self.offer) {
            (true, _) => &growth::PLOTS,
            (false, Some(_)) => &[offer::PLOT],
            (false, None) => &[],
        };
        let plots = plots.iter().map(|name| plot::beside(report, name));
        [report.clone()].into_iter().chain(plots).collect()
    }

    /// The loads that are asked for, with their names if they have one.
    fn configurations(&self) -> Vec<(Option<&'static str>, Shape)> {
        let Some(named) = self.named else { return vec![(None, self.shape())] };
        let seconds = self.seconds(Shape::DEFAULT.seconds);
        let configurations = named.configurations().into_iter();
        configurations.map(|(name, shape)| (Some(name), Shape { seconds, ..shape })).collect()
    }

    fn runs(&self) -> usize {
        let default = if self.named == Some(Named::All) { RUNS_OF_ALL } else { 1 };
        self.runs.unwrap_or(default).into()
    }

    /// The server in an intruder's hands: the last, if none is named.
    fn on(&self) -> u16 {
        self.on.unwrap_or_else(|| self.layout().servers.saturating_sub(1))
    }

    /// What an interruption leaves.
    fn leaves(&self) -> &'static str {
        if self.running { "keys of the load may be left" } else { "all servers are stopped" }
    }
}

async fn measure(
    invocation: &Invocation,
    arguments: &Bench,
    attackers: Option<Attackers>,
) -> Result<()> {
    let layout = arguments.layout();
    if arguments.idle {
        let figures = idle::measure(layout, arguments.seconds(IDLE_SECONDS_DEFAULT)).await?;
        return invocation.output.print(&figures);
    }
    if let Some(seconds) = arguments.away {
        return away(invocation, arguments, seconds).await;
    }
    if let Some(times) = arguments.offer {
        return offer(invocation, arguments, times).await;
    }
    if arguments.growth {
        return growth(invocation, arguments).await;
    }
    if arguments.trace {
        return invocation.output.print(&trace::measure(layout).await?);
    }
    if arguments.targets {
        return targets(invocation, arguments).await;
    }
    if let Some(peer) = arguments.against {
        return against(invocation, arguments, peer).await;
    }
    if let Some(attackers) = attackers {
        return attack(invocation, arguments, attackers).await;
    }
    let site = if arguments.running {
        Site::Running(RunningCluster::find(invocation).await?)
    } else {
        Site::ThrowAway(layout)
    };
    let (configurations, runs) = (arguments.configurations(), arguments.runs());
    let plan = runs::Plan { site, configurations, runs };
    let summaries = runs::measure(invocation.output, &plan).await?;
    if let Some(path) = &arguments.report {
        summaries.write_report(path)?;
    }
    summaries.print(invocation.output)
}

async fn away(invocation: &Invocation, arguments: &Bench, seconds: u64) -> Result<()> {
    let plan = away::Plan {
        away: Duration::from_secs(seconds),
        keys: usize::try_from(arguments.keys).unwrap_or(usize::MAX),
        is_lost: arguments.lost,
        is_unlimited: arguments.no_quota,
        shape: arguments.shape(),
    };
    let figures = away::measure(invocation.output, plan).await?;
    if let Some(path) = &arguments.report {
        figures.write_report(path)?;
    }
    invocation.output.print(&figures)
}

async fn offer(invocation: &Invocation, arguments: &Bench, times: f64) -> Result<()> {
    let plan = offer::Plan { times, layout: arguments.layout(), shape: arguments.shape() };
    let figures = offer::measure(invocation.output, plan).await?;
    if let Some(path) = &arguments.report {
        figures.write_report(path)?;
    }
    invocation.output.print(&figures)
}

async fn growth(invocation: &Invocation, arguments: &Bench) -> Result<()> {
    let plan = growth::Plan {
        keys: usize::try_from(arguments.keys).unwrap_or(usize::MAX),
        storage: arguments.layout().storage,
        shape: arguments.shape(),
    };
    let figures = growth::measure(invocation.output, plan).await?;
    if let Some(path) = &arguments.report {
        figures.write_report(path)?;
    }
    invocation.output.print(&figures)
}

async fn targets(invocation: &Invocation, arguments: &Bench) -> Result<()> {
    let is_quick = arguments.quick;
    let default = if is_quick { QUICK_ROUNDS_OF_TARGETS } else { ROUNDS_OF_TARGETS };
    let rounds = arguments.pairs.unwrap_or(default).into();
    let plan = targets::Plan { rounds, seconds: arguments.shape().seconds, is_quick };
    let targets = targets::measure(invocation.output, plan).await?;
    if let Some(path) = &arguments.report {
        targets.write_report(path)?;
    }
    invocation.output.print(&targets)
}

async fn against(invocation: &Invocation, arguments: &Bench, peer: Peer) -> Result<()> {
    let default = if arguments.quick { QUICK_PAIRS } else { PAIRS_DEFAULT };
    let (rounds, shape) = (arguments.pairs.unwrap_or(default).into(), arguments.shape());
    let (output, report) = (invocation.output, arguments.report.as_deref());
    let system = match peer {
        Peer::Etcd => System::Etcd(etcd::Program::find()?),
        Peer::Openraft => {
            let program = openraft::Program::find(arguments.peer_program.as_deref()).await?;
            System::Openraft(program)
        }
        Peer::Arbitrary => {
            let comparison = models::compare(output, rounds, shape).await?;
            report.map_or(Ok(()), |path| comparison.write_report(path))?;
            return comparison.print(output);
        }
    };
    let plan = against::Plan { rounds, is_quick: arguments.quick, shape };
    let comparison = against::compare(output, &system, plan).await?;
    report.map_or(Ok(()), |path| comparison.write_report(path))?;
    comparison.print(output)
}

async fn attack(invocation: &Invocation, arguments: &Bench, attackers: Attackers) -> Result<()> {
    let output = invocation.output;
    let plan = attack::Plan {
        on: ReplicaId(arguments.on()),
        pairs: arguments.pairs.unwrap_or(PAIRS_DEFAULT).into(),
        layout: arguments.layout(),
        shape: arguments.shape(),
    };
    match attackers {
        Attackers::One(intruder) => {
            let comparison = attack::compare(output, &intruder, plan).await?;
            if let Some(path) = &arguments.report {
                comparison.write_report(path)?;
            }
            output.print(&comparison)
        }
        Attackers::Several(attackers) => {
            let survey = survey::compare(output, &attackers, plan).await?;
            if let Some(path) = &arguments.report {
                survey.write_report(path)?;
            }
            output.print(&survey)
        }
    }
}
