//! `ravelin wormhole bench`: what a wormhole's services cost on this host.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::Args;
use ravelin_model::ttcb::{Agreement, DecisionFunction, Progress, TrustedTime, Ttcb as _};
use ravelin_wormhole::core::{AGREEMENTS_PER_ENTITY, Engine};
use ravelin_wormhole::launcher::ControlNetwork;
use ravelin_wormhole::serve::selftest::Times;
use serde::Serialize;

use super::Invocation;
use crate::exit::{Error, Exit, Result};
use crate::wormhole;
use crate::wormhole::standing::micros;
use crate::wormhole::together::{Port, Together};
use crate::wormhole::words::measure;

/// Runs at most.
const RUNS_MAX: i64 = 100;
/// How far ahead the latest start of an agreement lies. It starts as soon as all have proposed.
const AHEAD: Duration = Duration::from_millis(100);
/// Longest wait for one agreement.
const DECIDED_MAX: Duration = Duration::from_secs(10);
/// How one agreement is called in the results.
const AGREEMENT: &str = "agreement";

const HELP: &str = "\
Examples:
  ravelin wormhole bench
  ravelin wormhole bench --runs 5 --wormholes 7 --output json

Each run starts a wormhole of its own and calls each service 500 times, from the payload and
back; then starts several with a control channel, of which each in turn begins agreements: from
the proposal to the known decision. Shown are medians over the runs, the least and most p50 of
a run, and the longest call of all. A call's MACs are part of it; `duration` and `deadline` are
two calls each. As root the wormholes are scheduled in real time and have a network of their own.
What its JSON has says docs/guide/wormhole.md.

Exit codes: 0 measured, whatever is wanted; 1 a wormhole did not start, or an agreement did not
end.";

/// Arguments of `wormhole bench`.
#[derive(Args)]
#[command(after_long_help = HELP)]
pub(crate) struct Bench {
    /// Runs, each with new wormholes
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=RUNS_MAX))]
    runs: u32,
    /// Wormholes that agree
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(2..=16))]
    wormholes: u16,
}

/// What is wanted on a quiet machine with two cores, p50 in microseconds.
fn wanted_us(call: &str) -> f64 {
    match call {
        "attest" => 80.0,
        AGREEMENT => 150.0,
        "duration" | "deadline" => 24.0,
        _ => 12.0,
    }
}

pub(super) fn run(invocation: &Invocation, arguments: &Bench) -> Result<()> {
    let program = wormhole::program()?.0;
    let failed = |error: anyhow::Error| {
        let hint = "`ravelin wormhole selftest` tries one wormhole alone and says what is missing";
        Error::caused(Exit::Failed, error, hint)
    };
    let mut rows: Vec<Row> = Vec::new();
    let mut starts = Vec::new();
    let (mut locked_kib, mut is_private) = (0, true);
    for _ in 0..arguments.runs {
        let measured = measure(invocation.output, &program)?;
        starts.push(micros(measured.start) / 1e3);
        locked_kib = locked_kib.max(measured.locked_kib);
        let count = arguments.wormholes.into();
        let together =
            Together::start(invocation.output, &program, count, Engine::Quorum).map_err(failed)?;
        is_private &= together.network == ControlNetwork::Private;
        let agreements = agree(together).map_err(failed)?;
        for times in measured.calls.iter().chain([&agreements]) {
            add(&mut rows, times);
        }
    }
    rows.iter_mut().for_each(Row::settle);
    starts.sort_by(f64::total_cmp);
    invocation.output.print(&Report {
        runs: arguments.runs,
        wormholes: arguments.wormholes,
        private_control_network: is_private,
        start_ms: median(&starts),
        locked_kib,
        rows,
    })
}

/// Has each wormhole in turn begin agreements of its own process, and ends all.
fn agree(mut together: Together) -> anyhow::Result<Times> {
    let mut times = Vec::new();
    for _ in 0..AGREEMENTS_PER_ENTITY {
        for port in &mut together.ports {
            times.push(agree_once(port)?);
        }
    }
    Ok(Times::new(AGREEMENT, times))
}

fn agree_once(port: &mut Port) -> anyhow::Result<Duration> {
    let entity = port.entity().context("the wormhole has no name left for a process")?;
    let TrustedTime(now) = port.timestamp()?.latest;
    let agreement = Agreement {
        elist: vec![entity],
        tstart: TrustedTime(now).after(AHEAD),
        decision: DecisionFunction::ReliableMulticast,
    };
    let begun = Instant::now();
    let proposed = port.propose(&agreement, Some([1; 32]))?;
    let tag = match (proposed.tag, proposed.error) {
        (Some(tag), None) => tag,
        (_, Some(error)) => bail!("a proposal was refused: {error}"),
        (None, None) => bail!("a proposal has no tag"),
    };
    while begun.elapsed() < DECIDED_MAX {
        if let Progress::Ended { value, .. } = port.decide(tag)? {
            if value != Some([1; 32]) {
                bail!("an agreement ended without what was proposed");
            }
            return Ok(begun.elapsed());
        }
    }
    bail!("an agreement did not end within {DECIDED_MAX:?}")
}

/// A service, over all runs.
#[derive(Serialize)]
struct Row {
    call: &'static str,
    p50_us: f64,
    least_p50_us: f64,
    most_p50_us: f64,
    p99_us: f64,
    longest_us: f64,
    wanted_p50_us: f64,
    #[serde(skip)]
    halves: Vec<f64>,
    #[serde(skip)]
    most: Vec<f64>,
}

fn add(rows: &mut Vec<Row>, times: &Times) {
    let us = |permille| micros(times.permille(permille));
    let (half, most, longest) = (us(500), us(990), us(1_000));
    match rows.iter_mut().find(|row| row.call == times.what) {
        Some(row) => {
            row.halves.push(half);
            row.most.push(most);
            row.longest_us = row.longest_us.max(longest);
        }
        None => rows.push(Row {
            call: times.what,
            p50_us: half,
            least_p50_us: half,
            most_p50_us: half,
            p99_us: most,
            longest_us: longest,
            wanted_p50_us: wanted_us(times.what),
            halves: vec![half],
            most: vec![most],
        }),
    }
}

impl Row {
    /// Takes the medians.
    fn settle(&mut self) {
        self.halves.sort_by(f64::total_cmp);
        self.most.sort_by(f64::total_cmp);
        self.p50_us = median(&self.halves);
        self.p99_us = median(&self.most);
        self.least_p50_us = self.halves.first().copied().unwrap_or_default();
        self.most_p50_us = self.halves.last().copied().unwrap_or_default();
    }
}

/// Of ascending values.
fn median(values: &[f64]) -> f64 {
    values.get(values.len() / 2).copied().unwrap_or_default()
}

#[derive(Serialize)]
struct Report {
    runs: u32,
    wormholes: u16,
    private_control_network: bool,
    start_ms: f64,
    locked_kib: u64,
    rows: Vec<Row>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let network =
            if self.private_control_network { "a network of their own" } else { "the loopback" };
        writeln!(
            f,
            "{} runs; {} wormholes agree, over {network}; microseconds\n",
            self.runs, self.wormholes
        )?;
        writeln!(
            f,
            "{:<12}{:>10}{:>20}{:>10}{:>10}{:>10}",
            "call", "p50", "p50 of runs", "p99", "longest", "wanted"
        )?;
        for row in &self.rows {
            let range = format!("{:.1} to {:.1}", row.least_p50_us, row.most_p50_us);
            writeln!(
                f,
                "{:<12}{:>10.1}{range:>20}{:>10.1}{:>10.1}{:>10.0}",
                row.call, row.p50_us, row.p99_us, row.longest_us, row.wanted_p50_us
            )?;
        }
        writeln!(f, "\nstart, to the first answer  {:.1} ms (50 wanted)", self.start_ms)?;
        write!(f, "locked memory               {} KiB (4096 wanted)", self.locked_kib)
    }
}
