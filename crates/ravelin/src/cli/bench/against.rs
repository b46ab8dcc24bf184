//! `ravelin bench --against etcd` and `--against openraft`: the same load on both, side by side.
//!
//! Rounds of runs in turn, each with a new cluster: ours, then the peer's, so that what else the machine
//! does meets both. What is compared is not the same: one of our servers may be in an intruder's hands,
//! every request is signed and every link is TLS; the peer's three servers may crash, and here believe
//! whoever speaks to them. Each result says so.

use std::fmt;
use std::path::Path;

use serde::Serialize;

use super::figures::{Figures, Ratios, of_own};
use super::load::{self, PeerFigures, Shape};
use super::page;
use super::peer::System;
use super::testbed::Layout;
use crate::exit::Result;
use crate::files::disk::{self, Privacy};
use crate::output::Output;

/// What is compared.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) rounds: usize,
    /// Leaves out the peer's transactions, unless its servers start at once.
    pub(super) is_quick: bool,
    pub(super) shape: Shape,
}

/// One row: what scripts read. The fields of a run are ours.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    #[serde(flatten)]
    ours: Figures,
    against: &'static str,
    peer_version: String,
    peer: PeerFigures,
    peer_lacks: &'static str,
    rounds: usize,
    /// Ours over theirs.
    #[serde(flatten)]
    ratios: Ratios,
}

/// The rows that a comparison has, the one that it is about first.
#[derive(Debug)]
pub(super) struct Comparison {
    against: &'static str,
    peer_lacks: &'static str,
    rows: Vec<Row>,
}

/// The runs of one row: ours and the peer's, round by round.
type Runs = Vec<(Figures, PeerFigures)>;

/// Measures, round by round.
pub(super) async fn compare(output: Output, system: &System, plan: Plan) -> Result<Comparison> {
    let enveloped = plan.shape;
    let single = Shape { envelope: 1, ..enveloped };
    // Where some operations read there are no envelopes to compare: keys are read one by one.
    let is_enveloped = enveloped.envelope > 1 && enveloped.reads == 0;
    let is_transaction = enveloped.envelope as usize <= system.transaction_max();
    let has_time = !plan.is_quick || system.starts_at_once();
    let has_transactions = is_enveloped && has_time && is_transaction;
    let (mut first, mut alone, mut together) = (Runs::new(), Runs::new(), Runs::new());
    for round in 1..=plan.rounds {
        let ours = ours(if is_enveloped { enveloped } else { single }).await?;
        // It has no envelopes: as many operations in flight, each by itself.
        let theirs = theirs(system, single).await?;
        output.note(format_args!(
            "round {round} of {}: {:.0} operations/s, {} {:.0}",
            plan.rounds,
            ours.measured.operations_per_second,
            system.name(),
            theirs.measured.operations_per_second
        ));
        if is_enveloped {
            alone.push((self::ours(single).await?, theirs.clone()));
        }
        if has_transactions {
            together.push((ours.clone(), self::theirs(system, enveloped).await?));
        }
        first.push((ours, theirs));
    }
    let rows = [first, alone, together].into_iter().filter(|runs| !runs.is_empty());
    Ok(Comparison {
        against: system.name(),
        peer_lacks: system.lacks(),
        rows: rows.map(|runs| Row::of(system, runs)).collect(),
    })
}

/// One run of ours.
pub(super) async fn ours(shape: Shape) -> Result<Figures> {
    load::measure_on_new(Layout::DEFAULT, shape).await
}

/// One run of the peer's.
pub(super) async fn theirs(system: &System, shape: Shape) -> Result<PeerFigures> {
    load::measure_peer(system.start().await?, shape).await
}

impl Row {
    fn of(system: &System, mut runs: Runs) -> Self {
        let measured = runs.iter().map(|(ours, theirs)| (ours.measured, theirs.measured));
        let ratios = Ratios::of(&measured.collect::<Vec<_>>());
        let rounds = runs.len();
        runs.sort_by(|(one, _), (other, _)| {
            one.measured.operations_per_second.total_cmp(&other.measured.operations_per_second)
        });
        let (ours, _) = runs.get((rounds - 1) / 2).cloned().expect("there was a round");
        runs.sort_by(|(_, one), (_, other)| {
            one.measured.operations_per_second.total_cmp(&other.measured.operations_per_second)
        });
        let (_, peer) = runs.swap_remove((rounds - 1) / 2);
        Self {
            ours,
            against: system.name(),
            peer_version: system.version().to_owned(),
            peer,
            peer_lacks: system.lacks(),
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
        let Self { against, peer_lacks, .. } = self;
        let mut page = format!(
            "{}{against}: {peer_lacks}. Ratios are \
             ours over theirs, medians of runs in turn; figures are those of the run of median throughput, the lower of two.\n\n\
             | ours | {against} | operations/s | ratio (least, most) | p50 | ratio | p99 | ratio | CPU us an operation | ratio | memory a server |\n\
             |---|---|---|---|---|---|---|---|---|---|---|\n",
            page::head(&format!("Against {against}")),
        );
        for row in &self.rows {
            let Row { ours, peer, .. } = row;
            let (mine, theirs) = (ours.measured, peer.measured);
            page.push_str(&format!(
                "| {} in flight in envelopes of {} | {} | {:.0}, {:.0} | {:.2} ({:.2}, {:.2}) | {:.1}, {:.1} ms | {:.2} | {:.1}, {:.1} ms | {:.2} | {:.0}, {:.0} | {:.2} | {:.0}, {:.0} MiB |\n",
                ours.in_flight,
                ours.envelope,
                kind(ours, peer),
                mine.operations_per_second,
                theirs.operations_per_second,
                row.ratios.throughput_ratio,
                row.ratios.throughput_ratio_min,
                row.ratios.throughput_ratio_max,
                mine.p50_ms,
                theirs.p50_ms,
                row.ratios.p50_ratio,
                mine.p99_ms,
                theirs.p99_ms,
                row.ratios.p99_ratio,
                of_own(mine.cpu_us_per_op),
                of_own(theirs.cpu_us_per_op),
                row.ratios.cpu_ratio,
                of_own(mine.memory_mib_per_server),
                of_own(theirs.memory_mib_per_server),
            ));
        }
        disk::replace(path, &page, Privacy::Public)
    }
}

/// What the peer was asked.
fn kind(ours: &Figures, peer: &PeerFigures) -> String {
    match (peer.transaction, ours.reads) {
        (1, None) => "single writes".to_owned(),
        (_, None) => format!("transactions of {} writes", peer.transaction),
        (_, Some(reads)) => {
            format!("{} % of the operations linearizable reads, as ours", reads.percent)
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ours, peer, .. } = self;
        let (mine, theirs) = (ours.measured, peer.measured);
        writeln!(
            out,
            "{} servers, {}, envelopes of {}, against {} {}, {}; values of {} B, {} operations in flight",
            ours.servers,
            ours.fault_model,
            ours.envelope,
            self.against,
            self.peer_version,
            kind(ours, peer),
            ours.value_bytes,
            ours.in_flight
        )?;
        writeln!(out, "ours: authenticated: {}; durable", ours.authenticated)?;
        writeln!(out, "{}: {}", self.against, self.peer_lacks)?;
        let (rounds, ratio) = (format!("{} rounds", self.rounds), format!("ours/{}", self.against));
        writeln!(out, "{rounds:<18} {:>12} {:>12} {ratio:>14}", "ours", self.against)?;
        let mut row = |name: &str, ours: f64, peer: f64, digits: usize, ratio: f64| {
            let ratio = if peer == 0.0 { "-".to_owned() } else { format!("{ratio:.2}") };
            writeln!(out, "{name:<18} {ours:>12.digits$} {peer:>12.digits$} {ratio:>14}")
        };
        row(
            "operations/s",
            mine.operations_per_second,
            theirs.operations_per_second,
            0,
            self.ratios.throughput_ratio,
        )?;
        row("p50 ms", mine.p50_ms, theirs.p50_ms, 2, self.ratios.p50_ratio)?;
        row("p99 ms", mine.p99_ms, theirs.p99_ms, 2, self.ratios.p99_ratio)?;
        row(
            "CPU us/operation",
            of_own(mine.cpu_us_per_op),
            of_own(theirs.cpu_us_per_op),
            1,
            self.ratios.cpu_ratio,
        )?;
        let memory = of_own(mine.memory_mib_per_server) / of_own(theirs.memory_mib_per_server);
        row(
            "MiB a server",
            of_own(mine.memory_mib_per_server),
            of_own(theirs.memory_mib_per_server),
            1,
            memory,
        )?;
        let fsyncs = of_own(mine.fsyncs_per_op) / of_own(theirs.fsyncs_per_op);
        row(
            "fsyncs/operation",
            of_own(mine.fsyncs_per_op),
            of_own(theirs.fsyncs_per_op),
            4,
            fsyncs,
        )?;
        write!(
            out,
            "throughput {:.2} times that of {} (rounds: {:.2} to {:.2})",
            self.ratios.throughput_ratio,
            self.against,
            self.ratios.throughput_ratio_min,
            self.ratios.throughput_ratio_max
        )
    }
}
