//! `ravelin bench --targets`: everything that is wanted of Ravelin's speed, measured in one run, and whether
//! it is had.
//!
//! Runs of what is compared are in turn, each with a new cluster, so that what else the machine does meets
//! both. A load that cannot be measured here, for want of etcd or of room in memory, has a row that says so.
//! What grows with the group and the state is another command, `bench --growth`, and that nothing
//! acknowledged is lost is judged by `attack campaign`.

mod criterion;
mod killed;
mod yardsticks;

use std::fmt;
use std::path::Path;
use std::time::Duration;

use ravelin_model::{FaultModel, ReplicaId};
use serde::Serialize;

use super::figures::{Figures, Measured, of_own};
use super::load::{PeerFigures, Shape};
use super::named::Named;
use super::peer::System;
use super::testbed::{Layout, Storage};
use super::{against, attack, away, etcd, idle, load, models, offer, page, survey};
use crate::exit::Result;
use crate::files::disk::{self, Privacy};
use crate::output::Output;

use criterion::{Bound, Criterion, Row, Table, Unit};
use killed::Leave;
use yardsticks::Yardsticks;

use Bound::{AtLeast, AtMost};

/// How long a server is away, and the same where nobody has time.
const AWAY: Duration = Duration::from_secs(600);
const AWAY_QUICK: Duration = Duration::from_secs(30);
/// How long twice the load there is room for goes on, and how long nobody asks anything.
const MINUTE: u64 = 60;
const MINUTE_QUICK: u64 = 10;
/// Those of which most was feared: a slow leader, blocks as late as possible, votes that never come, blocks
/// that few get; and clients that flood, or hide bad signatures among good ones.
const ATTACKS: [&str; 7] = [
    "slow-leader",
    "delayer",
    "late-heaps",
    "never-votes-first",
    "withholder",
    "client-flood",
    "client-bad-signatures",
];
/// By how much p99 may be higher than before, for chance: it is of a few seconds.
const AS_BEFORE: f64 = 1.2;
/// By how much memory may grow in a third of the time and be called flat.
const FLAT: f64 = 1.02;

/// What is wanted of one load of writes beside etcd's: times its throughput, microseconds of CPU an
/// operation, times its p50.
struct Wanted {
    what: &'static str,
    shape: Shape,
    throughput: f64,
    cpu_us: Option<f64>,
    p50: Option<f64>,
}

/// How it is measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) rounds: usize,
    /// Seconds of a run.
    pub(super) seconds: u64,
    pub(super) is_quick: bool,
}

/// What is wanted and what there is.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct Targets(Table);

/// Measures all of it, one load after the other: half an hour, or some minutes with `is_quick`.
pub(super) async fn measure(output: Output, plan: Plan) -> Result<Targets> {
    let yardsticks = tokio::task::block_in_place(Yardsticks::measure)?;
    output.note(yardsticks);
    let mut rows = Vec::new();
    let mut take = |what: &str, measured: Result<Vec<Row>>| {
        let more = measured.unwrap_or_else(|error| vec![Row::not_measured(what, &error)]);
        more.iter().for_each(|row| output.note(row));
        rows.extend(more);
    };
    take("writes beside etcd", beside_etcd(plan).await);
    take("the most", most(plan).await);
    for (model, storage, most_ms) in [
        (FaultModel::Arbitrary, Storage::Disk, 3.2),
        (FaultModel::Arbitrary, Storage::Memory, 1.5),
        (FaultModel::Hybrid, Storage::Disk, 2.0),
        (FaultModel::Hybrid, Storage::Memory, 0.8),
    ] {
        let what = one_client_of(model, storage);
        take(&what, one_client(plan, model, storage, most_ms).await);
    }
    take("linearizable reads beside etcd", reads(plan).await);
    for leave in [Leave::Killed, Leave::Silent] {
        take(leave.what(), a_server_goes(plan, leave).await);
    }
    take("one server or client malicious", attacks(output, plan).await);
    take("twice the load there is room for", overload(output, plan).await);
    take("a server that was away", returns(output, plan).await);
    take("hybrid beside arbitrary", hybrid(plan).await);
    take("nobody asks anything", quiet(plan).await);
    Ok(Targets(Table::of(plan.rounds, plan.seconds, yardsticks, rows)))
}

impl Plan {
    fn shaped(self, named: Named) -> Shape {
        Shape { seconds: self.seconds, ..named.configuration().1 }
    }

    fn minute(self) -> u64 {
        if self.is_quick { MINUTE_QUICK } else { MINUTE }
    }
}

async fn beside_etcd(plan: Plan) -> Result<Vec<Row>> {
    let etcd = System::Etcd(etcd::Program::find()?);
    let wanted = [
        ("128 B in envelopes of 32", Named::Default, 5.0, Some(25.0), Some(0.5)),
        ("128 B in envelopes of 1", Named::Singles, 1.5, Some(90.0), Some(1.0)),
        ("1 KiB in envelopes of 32", Named::Kilobyte, 5.0, None, None),
        ("1 KiB in envelopes of 1", Named::KilobyteSingles, 1.5, None, None),
    ];
    let wanted = wanted.map(|(what, named, throughput, cpu_us, p50)| Wanted {
        what,
        shape: plan.shaped(named),
        throughput,
        cpu_us,
        p50,
    });
    let mut runs: Vec<Vec<(Measured, Measured)>> = wanted.iter().map(|_| Vec::new()).collect();
    for _ in 0..plan.rounds {
        // It has no envelopes: as many writes in flight, each by itself, are beside either of ours.
        for (wanted, runs) in wanted.chunks(2).zip(runs.chunks_mut(2)) {
            let Some(single) = wanted.last() else { continue };
            let theirs: PeerFigures = against::theirs(&etcd, single.shape).await?;
            for (one, runs) in wanted.iter().zip(runs) {
                let ours = against::ours(one.shape).await?;
                runs.push((ours.measured, theirs.measured));
            }
        }
    }
    Ok(wanted.iter().zip(runs).map(|(wanted, runs)| wanted.row(&runs)).collect())
}

impl Wanted {
    fn row(&self, runs: &[(Measured, Measured)]) -> Row {
        let throughput =
            runs.iter().map(|(o, t)| o.operations_per_second / t.operations_per_second);
        let mut criteria = vec![Criterion::of(
            "throughput over etcd's",
            Unit::Times,
            AtLeast(self.throughput),
            throughput,
        )];
        if let Some(most) = self.cpu_us {
            let cpu = runs.iter().map(|(ours, _)| of_own(ours.cpu_us_per_op));
            criteria.push(Criterion::of(
                "CPU an operation, all servers",
                Unit::Microseconds,
                AtMost(most),
                cpu,
            ));
        }
        if let Some(most) = self.p50 {
            let p50 = runs.iter().map(|(ours, theirs)| ours.p50_ms / theirs.p50_ms);
            criteria.push(Criterion::of("p50 over etcd's", Unit::Times, AtMost(most), p50));
        }
        Row::of(format!("{}, 256 in flight", self.what), criteria)
    }
}

async fn most(plan: Plan) -> Result<Vec<Row>> {
    let runs = of_ours(plan, Layout::DEFAULT, plan.shaped(Named::Best)).await?;
    let throughput = runs.iter().map(|run| run.measured.operations_per_second);
    let cpu = runs.iter().map(|run| of_own(run.measured.cpu_us_per_op));
    let criteria = vec![
        Criterion::of("throughput", Unit::OperationsPerSecond, AtLeast(150_000.0), throughput),
        Criterion::of("CPU an operation, all servers", Unit::Microseconds, AtMost(10.0), cpu),
    ];
    Ok(vec![Row::of("the most: 4096 in flight, envelopes of 256", criteria)])
}

/// Several runs of a load of ours.
async fn of_ours(plan: Plan, layout: Layout, shape: Shape) -> Result<Vec<Figures>> {
    layout.check()?;
    let mut runs = Vec::new();
    for _ in 0..plan.rounds {
        runs.push(load::measure_on_new(layout, shape).await?);
    }
    Ok(runs)
}

fn one_client_of(model: FaultModel, storage: Storage) -> String {
    let durable = match storage {
        Storage::Disk => "durable",
        Storage::Memory => "not durable",
    };
    format!("one client, one in flight, {}, {durable}", model.name())
}

async fn one_client(
    plan: Plan,
    model: FaultModel,
    storage: Storage,
    most_ms: f64,
) -> Result<Vec<Row>> {
    let layout = Layout { storage, ..Layout::of(model) };
    let runs = of_ours(plan, layout, plan.shaped(Named::OneClient)).await?;
    let p50 = runs.iter().map(|run| run.measured.p50_ms);
    let criterion = Criterion::of("p50", Unit::Milliseconds, AtMost(most_ms), p50);
    Ok(vec![Row::of(one_client_of(model, storage), vec![criterion])])
}

async fn reads(plan: Plan) -> Result<Vec<Row>> {
    let etcd = System::Etcd(etcd::Program::find()?);
    let shape = plan.shaped(Named::Reads);
    let mut ratios = Vec::new();
    for _ in 0..plan.rounds {
        let ours = against::ours(shape).await?.measured.operations_per_second;
        let theirs = against::theirs(&etcd, shape).await?.measured.operations_per_second;
        ratios.push(ours / theirs);
    }
    let criterion = Criterion::of("throughput over etcd's", Unit::Times, AtLeast(0.5), ratios);
    Ok(vec![Row::of("linearizable reads beside etcd's", vec![criterion])])
}

impl Leave {
    fn what(self) -> &'static str {
        match self {
            Self::Killed => "a server killed under load",
            Self::Silent => "a server that falls silent under load",
        }
    }
}

async fn a_server_goes(plan: Plan, leave: Leave) -> Result<Vec<Row>> {
    let mut seen = Vec::new();
    for _ in 0..plan.rounds {
        seen.push(killed::measure(leave, plan.shaped(Named::Default)).await?);
    }
    let gap = seen.iter().map(|seen| seen.gap_ms);
    let p99 = seen.iter().map(|seen| seen.p99_ratio);
    let criteria = vec![
        Criterion::of("longest time without an answer", Unit::Milliseconds, AtMost(300.0), gap),
        Criterion::of(
            "p99 from a second later on, over before",
            Unit::Times,
            AtMost(AS_BEFORE),
            p99,
        ),
    ];
    Ok(vec![Row::of(leave.what(), criteria)])
}

async fn attacks(output: Output, plan: Plan) -> Result<Vec<Row>> {
    let layout = Layout::DEFAULT;
    let (on, shape) = (ReplicaId(layout.servers - 1), plan.shaped(Named::Default));
    let plan = attack::Plan { on, pairs: plan.rounds, layout, shape };
    let names = ATTACKS.map(str::to_owned);
    let survey = survey::compare(output, &names, plan).await?;
    let criteria = survey.ratios().map(|(attack, ratios)| {
        Criterion::of(attack, Unit::Times, AtLeast(attack::PROMISED_RATIO), ratios)
    });
    let what = "throughput over fault-free, one server or client malicious, equal quotas of CPU";
    Ok(vec![Row::of(what, criteria.collect())])
}

async fn overload(output: Output, plan: Plan) -> Result<Vec<Row>> {
    let shape = Shape { seconds: plan.minute(), ..Shape::DEFAULT };
    let offer =
        offer::measure(output, offer::Plan { times: 2.0, layout: Layout::DEFAULT, shape }).await?;
    let growth = offer.memory_mib_last_third / offer.memory_mib_second_third;
    // What is in flight is answered in this time, on the average.
    let drained_ms = 1e3 * f64::from(offer.in_flight) / offer.answered_per_second;
    let criteria = vec![
        Criterion::of(
            "memory of a server at most",
            Unit::Mebibytes,
            AtMost(160.0),
            [offer.memory_mib_max],
        ),
        Criterion::of(
            "memory of the last third over the second",
            Unit::Times,
            AtMost(FLAT),
            [growth],
        ),
        Criterion::of(
            "p99 over the time that all in flight takes",
            Unit::Times,
            AtMost(3.0),
            [offer.p99_ms / drained_ms],
        ),
    ];
    Ok(vec![Row::of(format!("twice the load there is room for, {} s", shape.seconds), criteria)])
}

async fn returns(output: Output, plan: Plan) -> Result<Vec<Row>> {
    let away = if plan.is_quick { AWAY_QUICK } else { AWAY };
    let shape = plan.shaped(Named::Default);
    let plan = away::Plan { away, keys: 0, is_lost: false, is_unlimited: true, shape };
    let back = away::measure(output, plan).await?;
    let criteria = vec![
        Criterion::of("back after", Unit::Seconds, AtMost(30.0), [back.back_seconds]),
        Criterion::of("its memory at most", Unit::Mebibytes, AtMost(160.0), [back.memory_mib]),
    ];
    Ok(vec![Row::of(format!("a server away for {} s, under load", away.as_secs()), criteria)])
}

async fn hybrid(plan: Plan) -> Result<Vec<Row>> {
    let shape = plan.shaped(Named::Default);
    let mut runs = Vec::new();
    for _ in 0..plan.rounds {
        let hybrid = load::measure_on_new(Layout::of(FaultModel::Hybrid), shape).await?;
        runs.push((hybrid, load::measure_on_new(Layout::of(FaultModel::Arbitrary), shape).await?));
    }
    let ratios = |of: fn(&Figures) -> f64| {
        runs.iter().map(move |(hybrid, other)| of(hybrid) / of(other)).collect::<Vec<_>>()
    };
    let throughput = ratios(|it| it.measured.operations_per_second);
    let p50 = ratios(|it| it.measured.p50_ms);
    let cpu = ratios(models::cpu_of_one);
    let criteria = vec![
        Criterion::of("throughput", Unit::Times, AtLeast(1.25), throughput),
        Criterion::of("p50", Unit::Times, AtMost(0.8), p50),
        Criterion::of("CPU an operation and server", Unit::Times, AtMost(0.9), cpu),
    ];
    Ok(vec![Row::of("hybrid (3 servers) over arbitrary (4), envelopes of 32", criteria)])
}

async fn quiet(plan: Plan) -> Result<Vec<Row>> {
    let figures = idle::measure(Layout::DEFAULT, plan.minute()).await?;
    let criterion = Criterion::of(
        "of the server that uses most",
        Unit::PercentOfACore,
        AtMost(0.5),
        [figures.cpu_percent],
    );
    Ok(vec![Row::of("nobody asks anything", vec![criterion])])
}

impl Targets {
    /// Writes what was measured as a page of its own.
    pub(super) fn write_report(&self, path: &Path) -> Result<()> {
        let page = format!(
            "{}{}.\n\nEach of ours is authenticated (every envelope, block and answer root by Ed25519; TLS 1.3 on \
             every link) and, but where it says so, durable. etcd: {}.\n\n{}",
            page::head("What is wanted, and what there is"),
            self.0.heading(),
            etcd::LACKS,
            self.0.markdown(),
        );
        disk::replace(path, &page, Privacy::Public)
    }
}

impl fmt::Display for Targets {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}
