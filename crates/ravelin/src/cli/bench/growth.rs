//! `ravelin bench --growth`: what an operation costs as the group grows, and as its state does; and how
//! long a server takes to start, and to fetch the state, at each size.

use std::fmt;
use std::path::Path;
use std::time::Instant;

use ravelin_model::{FaultModel, ReplicaId};
use serde::Serialize;

use super::away;
use super::figures::{Figures, of_own};
use super::load::{self, Running, Shape};
use super::page;
use super::plot::{Line, Plot, Scale};
use super::target::Target;
use super::testbed::{Layout, Storage, TestBed};
use crate::exit::Result;
use crate::files::disk::{self, Privacy};
use crate::output::Output;
use crate::processes::{Logging, Processes};

/// Servers of the groups.
const GROUPS: [u16; 4] = [4, 7, 10, 13];
/// Servers of the largest.
pub(super) const SERVERS_MAX: u16 = 13;
/// What the plots beside a report are called.
pub(super) const PLOTS: [&str; 3] = ["groups", "states", "starts"];
/// Keys of the smallest state; each other one has ten times as many as the one before, and the largest as
/// many as were asked for.
pub(super) const KEYS_MIN: usize = 10_000;
/// The server that starts again.
const WHO: ReplicaId = ReplicaId(3);
/// Operations a second that go on meanwhile.
const MEANWHILE: u32 = 320;

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// Keys of the largest state.
    pub(super) keys: usize,
    pub(super) storage: Storage,
    pub(super) shape: Shape,
}

/// One group.
#[derive(Debug, Serialize)]
struct OfGroup {
    #[serde(flatten)]
    figures: Figures,
    cpu_us_per_op_and_server: f64,
}

/// One state.
#[derive(Debug, Serialize)]
struct OfState {
    keys: usize,
    #[serde(flatten)]
    figures: Figures,
    /// From its start until a server stands where the others stood then, and its memory at most until
    /// then: with its data, and without.
    restart_seconds: f64,
    restart_memory_mib: f64,
    transfer_seconds: f64,
    transfer_memory_mib: f64,
    /// How often that took the others' state: a server that is not far behind reads blocks instead.
    states_fetched: f64,
}

/// What scripts read: its fields are stable.
#[derive(Debug, Serialize)]
pub(super) struct Growth {
    groups: Vec<OfGroup>,
    states: Vec<OfState>,
}

/// Measures groups and states of all sizes, one after the other.
pub(super) async fn measure(output: Output, plan: Plan) -> Result<Growth> {
    let mut groups = Vec::new();
    for servers in GROUPS {
        output.note(format_args!("a group of {servers} servers"));
        let layout = Layout { servers, model: FaultModel::Arbitrary, storage: plan.storage };
        let figures = load::measure_on_new(layout, plan.shape).await?;
        let cpu = of_own(figures.measured.cpu_us_per_op) / f64::from(servers);
        groups.push(OfGroup { figures, cpu_us_per_op_and_server: cpu });
    }
    let mut states = Vec::new();
    let tenfold = std::iter::successors(Some(KEYS_MIN), |keys| keys.checked_mul(10));
    for keys in tenfold.take_while(|keys| *keys < plan.keys).chain([plan.keys]) {
        output.note(format_args!("a state of {keys} keys"));
        states.push(state(plan, keys).await?);
    }
    Ok(Growth { groups, states })
}

async fn state(plan: Plan, keys: usize) -> Result<OfState> {
    let layout = Layout { storage: plan.storage, ..Layout::DEFAULT };
    let mut bed = TestBed::start(layout, None, Logging::AsFiled).await?;
    load::fill(Target::Own(&bed), keys, plan.shape.value_bytes).await?;
    let shape = Shape { keys: Some(keys), ..plan.shape };
    let figures = load::measure(Target::Own(&bed), shape).await?;
    let shape = Shape { rate: Some(MEANWHILE.max(shape.envelope)), ..shape };
    let meanwhile = Running::start(Target::Own(&bed), shape).await?;
    let (restart_seconds, restart_memory_mib) = start_again(&mut bed, false).await?;
    let (transfer_seconds, transfer_memory_mib) = start_again(&mut bed, true).await?;
    let states_fetched = away::states_fetched(&bed, WHO);
    drop(meanwhile);
    Ok(OfState {
        keys,
        figures,
        restart_seconds,
        restart_memory_mib,
        transfer_seconds,
        transfer_memory_mib,
        states_fetched,
    })
}

/// Kills a server and starts it again, without its data if they are lost; how long it takes, and how
/// much memory.
async fn start_again(bed: &mut TestBed, is_lost: bool) -> Result<(f64, f64)> {
    Processes::of(&bed.cluster)?.kill(WHO)?;
    if is_lost {
        bed.cluster.wipe(WHO)?;
    }
    let stands = away::commits(bed);
    let pid = bed.start_again(WHO)?;
    let begun = Instant::now();
    let (memory, _) = away::wait_until_back(bed, pid, stands).await?;
    Ok((begun.elapsed().as_secs_f64(), memory))
}

impl Growth {
    /// Writes a page with the figures, and plots beside it.
    pub(super) fn write_report(&self, path: &Path) -> Result<()> {
        let [name_of_groups, name_of_states, name_of_starts] = PLOTS;
        let of_groups = |of: fn(&OfGroup) -> f64| -> Vec<(f64, f64)> {
            self.groups.iter().map(|group| (group.figures.servers as f64, of(group))).collect()
        };
        let of_states = |of: fn(&OfState) -> f64| -> Vec<(f64, f64)> {
            self.states.iter().map(|state| (state.keys as f64, of(state))).collect()
        };
        let groups = Plot {
            title: "CPU an operation as the group grows",
            across: ("servers", Scale::FromZero),
            up: "us",
            lines: vec![
                Line {
                    name: "each server",
                    points: of_groups(|group| group.cpu_us_per_op_and_server),
                },
                Line {
                    name: "all servers",
                    points: of_groups(|group| of_own(group.figures.measured.cpu_us_per_op)),
                },
            ],
        };
        let states = Plot {
            title: "CPU an operation as the state grows, four servers",
            across: ("keys", Scale::Logarithmic),
            up: "us",
            lines: vec![Line {
                name: "all servers",
                points: of_states(|state| of_own(state.figures.measured.cpu_us_per_op)),
            }],
        };
        let starts = Plot {
            title: "A server that starts again",
            across: ("keys", Scale::Logarithmic),
            up: "seconds",
            lines: vec![
                Line { name: "with its data", points: of_states(|state| state.restart_seconds) },
                Line { name: "without", points: of_states(|state| state.transfer_seconds) },
            ],
        };
        let page = format!(
            "{}```text\n{self}\n```\n\n\
             ![groups]({})\n\n![states]({})\n\n![starts]({})\n",
            page::head("Growth"),
            groups.write_beside(path, name_of_groups)?,
            states.write_beside(path, name_of_states)?,
            starts.write_beside(path, name_of_starts)?,
        );
        disk::replace(path, &page, Privacy::Public)
    }
}

impl fmt::Display for Growth {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "   servers       op/s     p50 ms  us CPU/op  of a server   MiB each")?;
        for OfGroup { figures, cpu_us_per_op_and_server } in &self.groups {
            let measured = figures.measured;
            writeln!(
                out,
                "{:>10} {:>10.0} {:>10.1} {:>10.1} {:>12.1} {:>10.1}",
                figures.servers,
                measured.operations_per_second,
                measured.p50_ms,
                of_own(measured.cpu_us_per_op),
                cpu_us_per_op_and_server,
                of_own(measured.memory_mib_per_server)
            )?;
        }
        write!(
            out,
            "\n      keys       op/s     p50 ms     p99 ms  us CPU/op   MiB each  start again, MiB*  fetch all, MiB*"
        )?;
        for state in &self.states {
            let measured = state.figures.measured;
            write!(
                out,
                "\n{:>10} {:>10.0} {:>10.1} {:>10.1} {:>10.1} {:>10.1} {:>9.1} s {:>5.0} {:>8.1} s {:>5.0}{}",
                state.keys,
                measured.operations_per_second,
                measured.p50_ms,
                measured.p99_ms,
                of_own(measured.cpu_us_per_op),
                of_own(measured.memory_mib_per_server),
                state.restart_seconds,
                state.restart_memory_mib,
                state.transfer_seconds,
                state.transfer_memory_mib,
                if state.states_fetched > 0.0 { "" } else { " (by blocks alone)" }
            )?;
        }
        write!(
            out,
            "\n* anonymous memory at most until it is back; MiB each: all memory after the load"
        )
    }
}
