//! `ravelin bench --attack`: what an intruder costs the others.
//!
//! Pairs of runs, one after the other: all servers in their own hands, then one in the intruder's,
//! each with a new cluster and the same load. All servers get equal quotas of the processor in both,
//! since here the intruder shares the machine with those that it wants to slow down.

use std::fmt;
use std::path::Path;

use ravelin_model::ReplicaId;
use serde::Serialize;

use super::figures::{Figures, durability, median, of_own};
use super::hostile_client::HostileClient;
use super::load::{self, Shape};
use super::page;
use super::target::Target;
use super::testbed::{Layout, Owned, Quota, TestBed};
use crate::exit::Result;
use crate::files::disk::{self, Privacy};
use crate::output::Output;
use crate::processes::Logging;

/// The least share of the fault-free throughput that one intruder leaves the others, as promised.
pub(super) const PROMISED_RATIO: f64 = 0.7;

/// Who attacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attacker<'a> {
    /// An intruder, or several joined by `+`, in a server.
    Server(&'a str),
    /// A client that is enrolled and hostile.
    Client(HostileClient),
}

/// What is compared.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// The server in an intruder's hands.
    pub(super) on: ReplicaId,
    pub(super) pairs: usize,
    pub(super) layout: Layout,
    pub(super) shape: Shape,
}

/// What scripts read. The fields of a run are those under attack.
#[derive(Debug, Serialize)]
pub(super) struct Comparison {
    #[serde(flatten)]
    attacked: Figures,
    attack: String,
    on: u16,
    pairs: usize,
    /// Under attack over fault-free, of the median runs.
    throughput_ratio: f64,
    throughput_ratio_min: f64,
    throughput_ratio_max: f64,
    p50_ratio: f64,
    p99_ratio: f64,
    /// Cores that each server may use; nothing where the system does not let us say.
    cpu_quota: Option<f64>,
    fault_free: Figures,
    /// Operations a second of each pair: fault-free, attacked.
    throughputs: Vec<(f64, f64)>,
}

/// Measures, pair by pair.
pub(super) async fn compare(output: Output, intruder: &str, plan: Plan) -> Result<Comparison> {
    let mut quota = Quota::leaving(1);
    let attacker = Attacker::Server(intruder);
    let mut runs = Vec::new();
    for pair in 1..=plan.pairs {
        let fault_free = run(output, &mut quota, None, plan).await?;
        let attacked = run(output, &mut quota, Some(attacker), plan).await?;
        output.note(format_args!(
            "pair {pair} of {}: {:.0} operations/s fault-free, {:.0} attacked",
            plan.pairs,
            fault_free.measured.operations_per_second,
            attacked.measured.operations_per_second
        ));
        runs.push((fault_free, attacked));
    }
    Ok(Comparison::of(intruder, plan, quota.cores, runs))
}

/// One run, fault-free or attacked.
pub(super) async fn run(
    output: Output,
    quota: &mut Quota,
    attacker: Option<Attacker<'_>>,
    plan: Plan,
) -> Result<Figures> {
    let owned = match attacker {
        Some(Attacker::Server(intruder)) => Some(Owned { server: plan.on, intruder }),
        _ => None,
    };
    let mut bed = TestBed::start(plan.layout, owned, Logging::AsFiled).await?;
    quota.set(output, &mut bed);
    let _nuisance = match attacker {
        Some(Attacker::Client(client)) => Some(client.start(&bed.cluster).await?),
        _ => None,
    };
    load::measure(Target::Own(&bed), plan.shape).await
}

impl Comparison {
    fn of(
        intruder: &str,
        plan: Plan,
        cpu_quota: Option<f64>,
        runs: Vec<(Figures, Figures)>,
    ) -> Self {
        let throughputs: Vec<(f64, f64)> = runs
            .iter()
            .map(|(fault_free, attacked)| {
                (fault_free.measured.operations_per_second, attacked.measured.operations_per_second)
            })
            .collect();
        let ratios = || throughputs.iter().map(|(fault_free, attacked)| attacked / fault_free);
        let (fault_free, attacked): (Vec<Figures>, Vec<Figures>) = runs.into_iter().unzip();
        let (fault_free, attacked) = (median(fault_free), median(attacked));
        Self {
            attack: intruder.to_owned(),
            on: plan.on.0,
            pairs: plan.pairs,
            throughput_ratio: attacked.measured.operations_per_second
                / fault_free.measured.operations_per_second,
            throughput_ratio_min: ratios().fold(f64::INFINITY, f64::min),
            throughput_ratio_max: ratios().fold(0.0, f64::max),
            p50_ratio: attacked.measured.p50_ms / fault_free.measured.p50_ms,
            p99_ratio: attacked.measured.p99_ms / fault_free.measured.p99_ms,
            cpu_quota,
            attacked,
            fault_free,
            throughputs,
        }
    }

    /// Writes what was measured as a page of its own.
    pub(super) fn write_report(&self, path: &Path) -> Result<()> {
        let mut page = format!(
            "{}```text\n{self}\n```\n",
            page::head(&format!("{} against the throughput of the others", self.attack)),
        );
        page.push_str(
            "\n| pair | fault-free, op/s | attacked, op/s | ratio |\n|---|---|---|---|\n",
        );
        for (pair, (fault_free, attacked)) in (1..).zip(&self.throughputs) {
            let ratio = attacked / fault_free;
            page.push_str(&format!("| {pair} | {fault_free:.0} | {attacked:.0} | {ratio:.2} |\n"));
        }
        disk::replace(path, &page, Privacy::Public)
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { attacked, fault_free, .. } = self;
        writeln!(
            out,
            "{} servers, {}, server {} in the hands of {}; values of {} B, {} operations in flight \
             in envelopes of {}",
            attacked.servers,
            attacked.fault_model,
            self.on,
            self.attack,
            attacked.value_bytes,
            attacked.in_flight,
            attacked.envelope
        )?;
        let durable = match attacked.durable {
            Some(true) => "durable",
            other => durability(other),
        };
        writeln!(out, "authenticated: {}; {durable}", attacked.authenticated)?;
        match self.cpu_quota {
            Some(cores) => writeln!(out, "each server may use {cores:.2} cores, in both arms")?,
            None => writeln!(out, "NO QUOTA: the intruder may have taken the others' processor")?,
        }
        writeln!(out, "medians of {} pairs   fault-free     attacked", self.pairs)?;
        let (before, under) = (fault_free.measured, attacked.measured);
        let mut row = |name: &str, fault_free: f64, attacked: f64, digits: usize| {
            writeln!(out, "{name:<18} {fault_free:>12.digits$} {attacked:>12.digits$}")
        };
        row("operations/s", before.operations_per_second, under.operations_per_second, 0)?;
        row("p50 ms", before.p50_ms, under.p50_ms, 2)?;
        row("p99 ms", before.p99_ms, under.p99_ms, 2)?;
        row("CPU us/operation", of_own(before.cpu_us_per_op), of_own(under.cpu_us_per_op), 1)?;
        write!(
            out,
            "{:.0} % of the fault-free throughput is left (pairs: {:.0} to {:.0} %); promised: {:.0} %",
            self.throughput_ratio * 100.0,
            self.throughput_ratio_min * 100.0,
            self.throughput_ratio_max * 100.0,
            PROMISED_RATIO * 100.0
        )
    }
}
