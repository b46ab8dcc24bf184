//! `ravelin bench --away`: how a server comes back that was away while the others worked.
//!
//! The load goes on all the time. The server is killed, stays away, and is started again, with its data
//! or without; it is back when it calls itself correct and stands where the others stood at its start.
//! All servers have equal quotas of the processor, unless told otherwise: here the one that comes back
//! shares the machine with those whose throughput is measured.

use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use ravelin_model::ReplicaId;
use serde::Serialize;

use super::load::{Running, Shape, fill};
use super::samples::Samples;
use super::target::Target;
use super::testbed::{Layout, Quota, TestBed};
use super::usage;
use crate::exit::{Error, Exit, Result};
use crate::files::date;
use crate::files::disk::{self, Privacy};
use crate::output::Output;
use crate::processes::{Logging, Processes};

/// The server that is away.
const WHO: ReplicaId = ReplicaId(3);
/// How long the throughput without it is measured before it comes back, at most, and at most half the
/// time that it is away: long enough for what the stores do now and then.
const BEFORE_MAX: Duration = Duration::from_secs(30);
/// How long it may take to be back.
const BACK_MAX: Duration = Duration::from_secs(600);
/// Time between two looks at it.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) away: Duration,
    /// Keys that are there before.
    pub(super) keys: usize,
    /// Whether its data is deleted meanwhile.
    pub(super) is_lost: bool,
    /// Whether it may take what the others leave of the processor.
    pub(super) is_unlimited: bool,
    pub(super) shape: Shape,
}

/// What scripts read.
#[derive(Debug, Serialize)]
pub(super) struct Return {
    away_seconds: f64,
    keys: usize,
    lost: bool,
    /// Operations that the others executed while it was away.
    missed_operations: f64,
    /// From its start until it serves and stands where the others stood at its start.
    pub(super) back_seconds: f64,
    /// How often it took the others' state.
    states_fetched: f64,
    /// Its anonymous memory at most until then, and that of the others.
    pub(super) memory_mib: f64,
    memory_mib_of_others: f64,
    /// Operations a second of the others: before its return, and until it was back.
    operations_per_second_before: f64,
    operations_per_second_meanwhile: f64,
    throughput_ratio: f64,
    /// How long an envelope of 99 in 100 took at most, as seconds before.
    p99_ms_before: f64,
    p99_ms_meanwhile: f64,
    /// Operations a second that came due; as many as were answered, without it.
    rate: Option<u32>,
    /// Cores that each server may use; nothing where they share all.
    cpu_quota: Option<f64>,
}

/// Lets a server be away, and measures how it comes back.
pub(super) async fn measure(output: Output, plan: Plan) -> Result<Return> {
    let mut bed = TestBed::start(Layout::DEFAULT, None, Logging::AsFiled).await?;
    if plan.keys > 0 {
        output.note(format_args!("writing {} keys", plan.keys));
        fill(Target::Own(&bed), plan.keys, plan.shape.value_bytes).await?;
    }
    // What looks at the servers needs some too.
    let mut quota = Quota::leaving(2);
    if !plan.is_unlimited {
        quota.set(output, &mut bed);
    }
    let load = Running::start(Target::Own(&bed), plan.shape).await?;
    Processes::of(&bed.cluster)?.kill(WHO)?;
    if plan.is_lost {
        bed.cluster.wipe(WHO)?;
    }
    output.note(format_args!("server {WHO} is away for {:.0} s", plan.away.as_secs_f64()));
    load.forget();
    let before = BEFORE_MAX.min(plan.away / 2);
    tokio::time::sleep(plan.away.saturating_sub(before)).await;
    let missed = load.forget().operations() as f64;
    let begun = Instant::now();
    tokio::time::sleep(before).await;
    let before = load.operations() / begun.elapsed().as_secs_f64();
    let missed = missed + load.operations();
    let p99_ms_before = p99_ms(load.forget());
    let others = commits(&bed);
    let pid = bed.start_again(WHO)?;
    let begun = Instant::now();
    let (memory, memory_of_others) = wait_until_back(&bed, pid, others).await?;
    let back_seconds = begun.elapsed().as_secs_f64();
    let meanwhile = load.operations() / back_seconds;
    let p99_ms_meanwhile = p99_ms(load.forget());
    let states_fetched = states_fetched(&bed, WHO);
    drop(load);
    Ok(Return {
        away_seconds: plan.away.as_secs_f64(),
        keys: plan.keys,
        lost: plan.is_lost,
        missed_operations: missed,
        back_seconds,
        states_fetched,
        memory_mib: memory,
        memory_mib_of_others: memory_of_others,
        operations_per_second_before: before,
        operations_per_second_meanwhile: meanwhile,
        throughput_ratio: meanwhile / before,
        p99_ms_before,
        p99_ms_meanwhile,
        rate: plan.shape.rate,
        cpu_quota: quota.cores,
    })
}

/// Commits that the first server has executed.
pub(super) fn commits(bed: &TestBed) -> f64 {
    usage::metric_of(server(bed, ReplicaId(0)), COMMITS).unwrap_or_default()
}

/// How often a server took the others' state since it began.
pub(super) fn states_fetched(bed: &TestBed, who: ReplicaId) -> f64 {
    usage::metric_of(server(bed, who), FETCHED).unwrap_or_default()
}

/// Waits until the server stands at `commit` and serves; its anonymous memory at most until then, and that
/// of the others.
pub(super) async fn wait_until_back(bed: &TestBed, pid: u32, commit: f64) -> Result<(f64, f64)> {
    let processes = Processes::of(&bed.cluster)?;
    let begun = Instant::now();
    let (mut memory, mut memory_of_others) = (0.0_f64, 0.0_f64);
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        memory = memory.max(usage::anonymous_mib(pid).unwrap_or_default());
        memory_of_others =
            bed.others(WHO).filter_map(usage::anonymous_mib).fold(memory_of_others, f64::max);
        let stands = usage::metric_of(server(bed, WHO), COMMITS).unwrap_or_default();
        if stands >= commit && processes.is_ready(WHO)? {
            return Ok((memory, memory_of_others));
        }
        if begun.elapsed() > BACK_MAX {
            let word = processes.own_word(WHO)?.unwrap_or_else(|| "nothing".to_owned());
            let cause = format!(
                "server {WHO} is not back after {} s: it calls itself {word} and stands at commit \
                 {stands}, of {commit} at its start",
                BACK_MAX.as_secs()
            );
            return Err(Error::new(Exit::Failed, cause, "read its log, or use a faster machine"));
        }
    }
}

fn p99_ms(mut answered: Samples) -> f64 {
    answered.sort();
    answered.percentile_ms(99, |_| true).unwrap_or_default()
}

/// Names of metrics.
const COMMITS: &str = "ravelin_commit_index";
const FETCHED: &str = "ravelin_states_fetched_total";

fn server(bed: &TestBed, id: ReplicaId) -> &crate::cluster_dir::LocalServer {
    bed.cluster.servers.get(id.index()).expect("there are four at least")
}

impl Return {
    /// Adds a row to the table in a file, or begins it.
    pub(super) fn write_report(&self, path: &Path) -> Result<()> {
        let known = std::fs::read_to_string(path).unwrap_or_default();
        let begun = if known.is_empty() { HEADING.to_owned() } else { known };
        let row = format!(
            "| {} | {:.0} s{} | {} | {} | {} | {:.0} | {:.1} s | {:.0} | {:.0} MiB | {:.0} MiB | {:.0} | {:.0} | {:.0} % | {:.0} ms, then {:.0} ms |\n",
            date::now(),
            self.away_seconds,
            if self.lost { ", data deleted" } else { "" },
            self.cpu_quota.map_or_else(|| "none".to_owned(), |cores| format!("{cores:.1}")),
            self.rate.map_or_else(|| "all".to_owned(), |rate| rate.to_string()),
            self.keys,
            self.missed_operations,
            self.back_seconds,
            self.states_fetched,
            self.memory_mib,
            self.memory_mib_of_others,
            self.operations_per_second_before,
            self.operations_per_second_meanwhile,
            self.throughput_ratio * 100.0,
            self.p99_ms_before,
            self.p99_ms_meanwhile
        );
        disk::replace(path, &(begun + &row), Privacy::Public)
    }
}

const HEADING: &str = "\
# Servers that come back

Each row is one run of `ravelin bench --away SECONDS [--lost] [--keys N] [--rate N] --report FILE` on a
machine of two shared processors, which four servers and the clients share. *Quota*: the processors that
each server may use at most, and that are left to the clients; none with `--no-quota`. *Load*: operations a
second that come due, or as many as are answered. *Back*: from the server's start until it serves and stands
where the others stood then, the load going on. *Ratio*: operations a second until it was back, over those
before its start. *p99*: of how long envelopes took, before its start and until it was back.

| when | away | quota | load | keys before | operations missed | back after | states fetched | its memory | others' | op/s before | op/s until back | ratio | p99 |
|---|---|---|---|---|---|---|---|---|---|---|---|---|---|
";

impl fmt::Display for Return {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let data = if self.lost { "its data deleted" } else { "its data kept" };
        writeln!(
            out,
            "a server away for {:.0} s, {data}, {} keys before, {:.0} operations missed",
            self.away_seconds, self.keys, self.missed_operations
        )?;
        writeln!(
            out,
            "{:>12.2} s until it was back; states fetched: {:.0}",
            self.back_seconds, self.states_fetched
        )?;
        writeln!(
            out,
            "{:>12.1} MiB of memory at most, {:.1} of others",
            self.memory_mib, self.memory_mib_of_others
        )?;
        write!(
            out,
            "{:>12.0} operations/s meanwhile, {:.0} before: {:.0} %",
            self.operations_per_second_meanwhile,
            self.operations_per_second_before,
            self.throughput_ratio * 100.0
        )?;
        if let Some(rate) = self.rate {
            write!(out, ", of {rate} that came due")?;
        }
        write!(
            out,
            "\n{:>12.0} ms p99 meanwhile, {:.0} before",
            self.p99_ms_meanwhile, self.p99_ms_before
        )?;
        match self.cpu_quota {
            Some(cores) => write!(out, "; each server may use {cores:.1} processors"),
            None => write!(out, "; servers share all processors"),
        }
    }
}
