//! `ravelin bench --attack all`: what each intruder leaves of the throughput, in one table.
//!
//! Runs of two intruders have a fault-free one between them, which both are compared with: each attacked
//! run lies beside its own in time, and two of three runs are attacked.

use std::fmt;
use std::path::Path;

use ravelin_sim::intruder;
use serde::Serialize;

use super::attack::{self, Attacker, PROMISED_RATIO, Plan};
use super::figures::{Figures, durability, middle};
use super::hostile_client::HostileClient;
use super::page;
use super::testbed::{Quota, Storage};
use crate::cli::attack::check_live;
use crate::exit::Result;
use crate::files::disk::{self, Privacy};
use crate::output::Output;

/// What stands for all of them.
const ALL: &str = "all";

/// Who attacks, as `--attack` says it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Attackers {
    /// An intruder in a server, or several in one: compared in detail.
    One(String),
    /// Several, in turn: a table.
    Several(Vec<String>),
}

impl Attackers {
    /// Reads `--attack`.
    ///
    /// # Errors
    /// A name is nobody's.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let clients = HostileClient::ALL.iter().map(|client| client.name());
        if text == ALL {
            let live = intruder::all().iter().filter(|known| known.is_live);
            let names = live.map(|known| known.name).chain(clients);
            return Ok(Self::Several(names.map(str::to_owned).collect()));
        }
        let names: Vec<String> = text.split(',').map(str::to_owned).collect();
        for name in &names {
            if let Attacker::Server(names) = attacker(name) {
                names.split('+').try_for_each(check_live)?;
            }
        }
        match names.as_slice() {
            [one] if matches!(attacker(one), Attacker::Server(_)) => Ok(Self::One(one.clone())),
            _ => Ok(Self::Several(names)),
        }
    }
}

/// Whom a name stands for.
fn attacker(name: &str) -> Attacker<'_> {
    let client = HostileClient::ALL.into_iter().find(|client| client.name() == name);
    client.map_or(Attacker::Server(name), Attacker::Client)
}

/// What scripts read.
#[derive(Debug, Serialize)]
pub(super) struct Survey {
    servers: u16,
    /// The server that intruders have, one after the other.
    on: u16,
    value_bytes: u32,
    in_flight: u32,
    envelope: u32,
    /// Of a hundred operations, how many read.
    reads_percent: u8,
    rate: Option<u32>,
    durable: bool,
    /// Cores that each server may use; nothing where the system does not let us say.
    cpu_quota: Option<f64>,
    pairs: usize,
    promised_ratio: f64,
    /// Those that left less.
    below: Vec<String>,
    attacks: Vec<Row>,
}

/// What one of them leaves.
#[derive(Clone, Debug, Serialize)]
struct Row {
    attack: String,
    /// Operations a second, medians.
    fault_free: f64,
    attacked: f64,
    /// Attacked over fault-free, the median of the pairs' ratios; likewise below.
    throughput_ratio: f64,
    throughput_ratio_min: f64,
    throughput_ratio_max: f64,
    /// Nothing if no attacked run had an answer.
    p99_ratio: Option<f64>,
    /// Operations a second of each pair: fault-free, attacked.
    throughputs: Vec<(f64, f64)>,
}

/// One fault-free run, and an attacked one beside it.
#[derive(Clone, Copy, Debug)]
struct Pair {
    throughputs: (f64, f64),
    p99_ratio: Option<f64>,
}

/// Measures, two intruders at a time.
pub(super) async fn compare(output: Output, names: &[String], plan: Plan) -> Result<Survey> {
    let mut quota = Quota::leaving(1);
    let mut rows = Vec::new();
    for couple in names.chunks(2) {
        let mut pairs: Vec<Vec<Pair>> = couple.iter().map(|_| Vec::new()).collect();
        for _ in 0..plan.pairs {
            let mut names = couple.iter();
            let mut attacked = Vec::new();
            if let Some(name) = names.next() {
                attacked.push(run_attacked(output, &mut quota, name, plan).await);
            }
            let fault_free = attack::run(output, &mut quota, None, plan).await?;
            for name in names {
                attacked.push(run_attacked(output, &mut quota, name, plan).await);
            }
            for (pairs, attacked) in pairs.iter_mut().zip(attacked) {
                pairs.push(Pair::of(&fault_free, attacked.as_ref()));
            }
        }
        for (name, pairs) in couple.iter().zip(pairs) {
            let row = Row::of(name, &pairs);
            output.note(&row);
            rows.push(row);
        }
    }
    Ok(Survey::of(plan, quota.cores, rows))
}

/// One attacked run; nothing if the attack left nothing to measure, which is noted.
async fn run_attacked(
    output: Output,
    quota: &mut Quota,
    name: &str,
    plan: Plan,
) -> Option<Figures> {
    let run = attack::run(output, quota, Some(attacker(name)), plan).await;
    run.inspect_err(|error| output.note(format_args!("{name}: {}", error.message()))).ok()
}

impl Pair {
    fn of(fault_free: &Figures, attacked: Option<&Figures>) -> Self {
        let before = fault_free.measured;
        let under = attacked.map(|figures| figures.measured);
        let left = under.map_or(0.0, |under| under.operations_per_second);
        Self {
            throughputs: (before.operations_per_second, left),
            p99_ratio: under.map(|under| under.p99_ms / before.p99_ms),
        }
    }

    fn ratio(&self) -> f64 {
        let (fault_free, attacked) = self.throughputs;
        attacked / fault_free
    }
}

/// Figures in ascending order.
fn ascending(figures: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures
}

impl Row {
    fn of(attack: &str, pairs: &[Pair]) -> Self {
        let ratios = ascending(pairs.iter().map(Pair::ratio));
        let p99_ratios = ascending(pairs.iter().filter_map(|pair| pair.p99_ratio));
        Self {
            attack: attack.to_owned(),
            fault_free: middle(&ascending(pairs.iter().map(|pair| pair.throughputs.0))),
            attacked: middle(&ascending(pairs.iter().map(|pair| pair.throughputs.1))),
            throughput_ratio: middle(&ratios),
            throughput_ratio_min: ratios.first().copied().unwrap_or_default(),
            throughput_ratio_max: ratios.last().copied().unwrap_or_default(),
            p99_ratio: (!p99_ratios.is_empty()).then(|| middle(&p99_ratios)),
            throughputs: pairs.iter().map(|pair| pair.throughputs).collect(),
        }
    }

    /// Whether it leaves less than is promised.
    fn is_below(&self) -> bool {
        self.throughput_ratio < PROMISED_RATIO
    }

    fn p99(&self) -> String {
        self.p99_ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"))
    }
}

impl Survey {
    fn of(plan: Plan, cpu_quota: Option<f64>, attacks: Vec<Row>) -> Self {
        let below = attacks.iter().filter(|row| row.is_below());
        Self {
            servers: plan.layout.servers,
            on: plan.on.0,
            value_bytes: plan.shape.value_bytes,
            in_flight: plan.shape.in_flight,
            envelope: plan.shape.envelope,
            reads_percent: plan.shape.reads,
            rate: plan.shape.rate,
            durable: plan.layout.storage == Storage::Disk,
            cpu_quota,
            pairs: plan.pairs,
            promised_ratio: PROMISED_RATIO,
            below: below.map(|row| row.attack.clone()).collect(),
            attacks,
        }
    }

    /// What each attack left of the throughput, pair by pair.
    pub(super) fn ratios(&self) -> impl Iterator<Item = (&str, Vec<f64>)> {
        let of = |row: &Row| {
            row.throughputs.iter().map(|(fault_free, attacked)| attacked / fault_free).collect()
        };
        self.attacks.iter().map(move |row| (row.attack.as_str(), of(row)))
    }

    /// Writes what was measured as a page of its own.
    pub(super) fn write_report(&self, path: &Path) -> Result<()> {
        let mut page = format!(
            "{}{}.\n\n\
             | intruder | fault-free, op/s | attacked, op/s | ratio (least, most) | p99 ratio | |\n\
             |---|---|---|---|---|---|\n",
            page::head("What intruders leave of the throughput"),
            self.heading(),
        );
        for row in &self.attacks {
            page.push_str(&format!(
                "| {} | {:.0} | {:.0} | {:.2} ({:.2}, {:.2}) | {} | {} |\n",
                row.attack,
                row.fault_free,
                row.attacked,
                row.throughput_ratio,
                row.throughput_ratio_min,
                row.throughput_ratio_max,
                row.p99(),
                if row.is_below() { "**below**" } else { "" },
            ));
        }
        disk::replace(path, &page, Privacy::Public)
    }

    /// What holds of all rows.
    fn heading(&self) -> String {
        let quota = match self.cpu_quota {
            Some(cores) => format!("each server may use {cores:.2} cores, in both arms"),
            None => "NO QUOTA: intruders may have taken the others' processor".to_owned(),
        };
        let load = match self.rate {
            Some(rate) => format!("{rate} operations a second that come due"),
            None => format!("{} operations in flight", self.in_flight),
        };
        format!(
            "{} servers, server {} in the hands of each intruder in turn; values of {} B, {load} in \
             envelopes of {}, of which {} % read; {}; {quota}; medians of {} pairs; {:.0} % of the \
             fault-free throughput are promised",
            self.servers,
            self.on,
            self.value_bytes,
            self.envelope,
            self.reads_percent,
            durability(Some(self.durable)),
            self.pairs,
            self.promised_ratio * 100.0
        )
    }
}

impl fmt::Display for Row {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{:<24} {:>10.0} {:>10.0} {:>6.0} % {:>6.0} % {:>6.0} % {:>8}",
            self.attack,
            self.fault_free,
            self.attacked,
            self.throughput_ratio * 100.0,
            self.throughput_ratio_min * 100.0,
            self.throughput_ratio_max * 100.0,
            self.p99()
        )?;
        if self.is_below() { write!(out, "  BELOW") } else { Ok(()) }
    }
}

impl fmt::Display for Survey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{}", self.heading())?;
        writeln!(
            out,
            "{:<24} {:>10} {:>10} {:>8} {:>8} {:>8} {:>8}",
            "", "fault-free", "attacked", "left", "least", "most", "p99"
        )?;
        for row in &self.attacks {
            writeln!(out, "{row}")?;
        }
        match self.below.as_slice() {
            [] => write!(out, "none leaves less than is promised"),
            below => write!(out, "less than is promised is left by: {}", below.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::figures::tests::figures;
    use super::*;

    fn pair(fault_free: f64, attacked: f64) -> Pair {
        Pair::of(&figures(fault_free), Some(&figures(attacked)))
    }

    #[test]
    fn a_row_has_the_median_of_ratios_and_their_spread() {
        let row = Row::of("mute", &[pair(10.0, 5.0), pair(20.0, 18.0), pair(10.0, 8.0)]);
        assert_eq!((row.throughput_ratio, row.throughput_ratio_min), (0.8, 0.5));
        assert_eq!((row.throughput_ratio_max, row.p99_ratio), (0.9, Some(1.0)));
        assert!(!row.is_below());
        assert!(Row::of("mute", &[pair(10.0, 6.0)]).to_string().ends_with("BELOW"));
    }

    #[test]
    fn an_attack_that_leaves_nothing_counts_as_nothing() {
        let row = Row::of("mute", &[Pair::of(&figures(10.0), None)]);
        assert_eq!((row.throughput_ratio, row.p99_ratio), (0.0, None));
        assert!(row.is_below());
    }

    #[test]
    fn names_make_a_table_where_there_are_several_or_a_client() {
        let parsed = |text| Attackers::parse(text).expect("known");
        assert_eq!(parsed("mute+liar"), Attackers::One("mute+liar".to_owned()));
        let several = vec!["mute".to_owned(), "client-flood".to_owned()];
        assert_eq!(parsed("mute,client-flood"), Attackers::Several(several));
        assert_eq!(parsed("client-flood"), Attackers::Several(vec!["client-flood".to_owned()]));
        let Attackers::Several(all) = parsed("all") else { panic!("a table") };
        assert!(all.len() > 20 && all.contains(&"client-bad-signatures".to_owned()));
        for wrong in ["", "mute,", "mute,nobody", "all,mute", "twin"] {
            assert!(Attackers::parse(wrong).is_err(), "{wrong}");
        }
    }
}
