//! `ravelin bench --against arbitrary`: three servers with wormholes beside four without, side by side.
//!
//! Both tolerate one intrusion, and both are durable and authenticated. Rounds of runs in turn, each with a
//! new cluster, so that what else the machine does meets both.

use std::fmt;
use std::path::Path;

use ravelin_model::FaultModel;
use serde::Serialize;

use super::figures::{Figures, Measured, Ratios, median, of_own};
use super::load::{self, Shape};
use super::page;
use super::testbed::Layout;
use crate::exit::Result;
use crate::files::disk::{self, Privacy};
use crate::output::Output;

/// What scripts read; the fields of a run are those of `hybrid`.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    #[serde(flatten)]
    hybrid: Figures,
    against: &'static str,
    peer: Figures,
    rounds: usize,
    #[serde(flatten)]
    ratios: Ratios,
}

/// Rows, the one that it is about first.
#[derive(Debug)]
pub(super) struct Comparison {
    rows: Vec<Row>,
}

/// Measures, round by round: in envelopes, and one by one.
pub(super) async fn compare(output: Output, rounds: usize, shape: Shape) -> Result<Comparison> {
    let single = Shape { envelope: 1, ..shape };
    let shapes = if shape.envelope > 1 { vec![shape, single] } else { vec![single] };
    let mut runs: Vec<Vec<(Figures, Figures)>> = shapes.iter().map(|_| Vec::new()).collect();
    for round in 1..=rounds {
        for (shape, runs) in shapes.iter().zip(&mut runs) {
            let hybrid = load::measure_on_new(Layout::of(FaultModel::Hybrid), *shape).await?;
            let arbitrary = load::measure_on_new(Layout::of(FaultModel::Arbitrary), *shape).await?;
            output.note(format_args!(
                "round {round} of {rounds}, envelopes of {}: hybrid {:.0} operations/s, arbitrary {:.0}",
                shape.envelope,
                hybrid.measured.operations_per_second,
                arbitrary.measured.operations_per_second
            ));
            runs.push((hybrid, arbitrary));
        }
    }
    Ok(Comparison { rows: runs.into_iter().map(Row::of).collect() })
}

impl Row {
    fn of(runs: Vec<(Figures, Figures)>) -> Self {
        let rounds = runs.len();
        let measured = runs.iter().map(|(hybrid, other)| (hybrid.measured, other.measured));
        let ratios = Ratios::of(&measured.collect::<Vec<_>>());
        let (hybrid, arbitrary) = runs.into_iter().unzip();
        Self {
            hybrid: median(hybrid),
            against: "arbitrary",
            peer: median(arbitrary),
            rounds,
            ratios,
        }
    }
}

impl Comparison {
    /// Prints the rows, the one that it is about last.
    pub(super) fn print(&self, output: Output) -> Result<()> {
        self.rows.iter().rev().try_for_each(|row| output.print(row))
    }

    /// Writes what was measured as a page of its own.
    pub(super) fn write_report(&self, path: &Path) -> Result<()> {
        let mut page = format!(
            "{}Three servers with wormholes, whose attestations are among what is measured, beside four \
             without, both durable; one intrusion is tolerated by both. Ratios are those of `hybrid` over \
             `arbitrary`, medians of runs in turn; figures are those of the run of median throughput.\n\n\
             | load | operations/s | ratio (least, most) | p50 | ratio | p99 | ratio | CPU us an operation, \
             all servers | ratio | a server | ratio |\n\
             |---|---|---|---|---|---|---|---|---|---|---|\n",
            page::head("Hybrid beside arbitrary"),
        );
        for row in &self.rows {
            let Row { hybrid, peer, ratios, .. } = row;
            let (one, other) = (hybrid.measured, peer.measured);
            page.push_str(&format!(
                "| {} in flight in envelopes of {} | {:.0}, {:.0} | {:.2} ({:.2}, {:.2}) | {:.1}, {:.1} ms \
                 | {:.2} | {:.1}, {:.1} ms | {:.2} | {:.0}, {:.0} | {:.2} | {:.0}, {:.0} | {:.2} |\n",
                hybrid.in_flight,
                hybrid.envelope,
                one.operations_per_second,
                other.operations_per_second,
                ratios.throughput_ratio,
                ratios.throughput_ratio_min,
                ratios.throughput_ratio_max,
                one.p50_ms,
                other.p50_ms,
                ratios.p50_ratio,
                one.p99_ms,
                other.p99_ms,
                ratios.p99_ratio,
                of_own(one.cpu_us_per_op),
                of_own(other.cpu_us_per_op),
                ratios.cpu_ratio,
                cpu_of_one(hybrid),
                cpu_of_one(peer),
                row.ratio_of_one(),
            ));
        }
        disk::replace(path, &page, Privacy::Public)
    }
}

/// What an operation costs one server.
pub(super) fn cpu_of_one(figures: &Figures) -> f64 {
    of_own(figures.measured.cpu_us_per_op) / figures.servers as f64
}

impl Row {
    /// The ratio of that.
    fn ratio_of_one(&self) -> f64 {
        self.ratios.cpu_ratio * self.peer.servers as f64 / self.hybrid.servers as f64
    }
}

impl fmt::Display for Row {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { hybrid, peer, ratios, rounds, .. } = self;
        writeln!(
            out,
            "hybrid, {} servers, against arbitrary, {} servers: {} operations in flight in envelopes of {}",
            hybrid.servers, peer.servers, hybrid.in_flight, hybrid.envelope
        )?;
        writeln!(out, "{rounds} rounds                 hybrid    arbitrary       ratio")?;
        let mut row = |name: &str, of: &dyn Fn(&Measured) -> f64, ratio: f64| {
            let (one, other) = (of(&hybrid.measured), of(&peer.measured));
            writeln!(out, "{name:<18} {one:>12.1} {other:>12.1} {ratio:>11.2}")
        };
        row("operations/s", &|it| it.operations_per_second, ratios.throughput_ratio)?;
        row("p50 ms", &|it| it.p50_ms, ratios.p50_ratio)?;
        row("p99 ms", &|it| it.p99_ms, ratios.p99_ratio)?;
        row("CPU us/operation", &|it| of_own(it.cpu_us_per_op), ratios.cpu_ratio)?;
        let (one, other) = (cpu_of_one(hybrid), cpu_of_one(peer));
        write!(
            out,
            "{:<18} {one:>12.1} {other:>12.1} {:>11.2}",
            "... a server",
            self.ratio_of_one()
        )
    }
}
