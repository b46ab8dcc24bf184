//! `ravelin bench --offer`: what a cluster does with more, or less, than it can take, and in how much
//! memory.
//!
//! First a closed-loop load shows how much is answered at most. Then so many times that comes due a
//! second. What is due and finds all places in flight taken is shed, as a service that stands before a
//! cluster would do, and so is what is not acknowledged; the rest is timed from its sending. Memory is
//! looked at all the while.

use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::figures::middle;
use super::load::{AT_A_RATE_IN_FLIGHT, OFFERED_IN_FLIGHT, Running, Shape};
use super::page;
use super::plot::{Line, Plot, Scale};
use super::target::Target;
use super::testbed::{Layout, TestBed};
use super::usage;
use crate::exit::{Error, Exit, Result};
use crate::files::disk::{self, Privacy};
use crate::output::Output;
use crate::processes::Logging;

/// How long the most that is answered is measured, after as long a warm-up.
const MOST_SECONDS: u64 = 5;
/// Looks at memory while the load goes on.
const LOOKS: u32 = 120;
/// The shortest time between two.
const LOOK_EVERY_MIN: Duration = Duration::from_millis(250);

/// What the plot beside a report is called.
pub(super) const PLOT: &str = "memory";

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// Of what is answered at most.
    pub(super) times: f64,
    pub(super) layout: Layout,
    pub(super) shape: Shape,
}

/// Memory at one time.
#[derive(Clone, Copy, Debug, Serialize)]
struct Look {
    seconds: f64,
    /// Of the server that has most, and the mean.
    most_mib: f64,
    mean_mib: f64,
}

/// What scripts read: its fields are stable.
#[derive(Debug, Serialize)]
pub(super) struct Offer {
    times: f64,
    servers: usize,
    value_bytes: u32,
    envelope: u32,
    /// Operations in flight at most, and before, when the most was measured.
    pub(super) in_flight: u32,
    most_in_flight: u32,
    seconds: f64,
    /// Operations a second that were answered at most before.
    most_per_second: f64,
    offered_per_second: f64,
    pub(super) answered_per_second: f64,
    /// For want of a place in flight.
    shed_per_second: f64,
    /// Sent, and refused or given up.
    unacknowledged_per_second: f64,
    /// From its sending, of what was answered.
    p50_ms: f64,
    pub(super) p99_ms: f64,
    longest_ms: f64,
    /// Of the server that had most: at most since it began, and in the middle of the second and of the
    /// last third of the time.
    pub(super) memory_mib_max: f64,
    pub(super) memory_mib_second_third: f64,
    pub(super) memory_mib_last_third: f64,
    memory: Vec<Look>,
}

/// Offers a load to a cluster and watches what becomes of it.
pub(super) async fn measure(output: Output, plan: Plan) -> Result<Offer> {
    let bed = TestBed::start(plan.layout, None, Logging::AsFiled).await?;
    output.note("measuring how much is answered at most");
    let most = most(&bed, Shape { in_flight: AT_A_RATE_IN_FLIGHT, ..plan.shape }).await?;
    let rate = (most * plan.times).max(f64::from(plan.shape.envelope));
    let rate = format!("{rate:.0}").parse().unwrap_or(u32::MAX);
    let shape = Shape { rate: Some(rate), ..plan.shape };
    output.note(format_args!(
        "offering {rate} operations/s for {} s, {} times that",
        shape.seconds, plan.times
    ));
    let load = Running::shedding(Target::Own(&bed), shape).await?;
    tokio::time::sleep(Duration::from_secs(shape.seconds) / 4).await;
    load.forget();
    let (unsent, unacknowledged) = load.shed();
    let begun = Instant::now();
    let (memory, memory_mib_max) = watch(&bed, Duration::from_secs(shape.seconds)).await?;
    let seconds = begun.elapsed().as_secs_f64();
    let (unsent_after, unacknowledged_after) = load.shed();
    let mut answered = load.forget();
    answered.sort();
    if answered.operations() == 0 {
        let why = load.refusal().map(|why| format!(": {why}")).unwrap_or_default();
        let hint = "the machine may be too slow or too busy: try fewer --offer";
        return Err(Error::new(Exit::Failed, format!("no operation was answered{why}"), hint));
    }
    let percentile = |percent| answered.percentile_ms(percent, |_| true).unwrap_or_default();
    Ok(Offer {
        times: plan.times,
        servers: bed.cluster.group.size(),
        value_bytes: shape.value_bytes,
        envelope: shape.envelope,
        in_flight: OFFERED_IN_FLIGHT,
        most_in_flight: AT_A_RATE_IN_FLIGHT,
        seconds,
        most_per_second: most,
        offered_per_second: rate.into(),
        answered_per_second: answered.operations() as f64 / seconds,
        shed_per_second: (unsent_after - unsent) as f64 / seconds,
        unacknowledged_per_second: (unacknowledged_after - unacknowledged) as f64 / seconds,
        p50_ms: percentile(50),
        p99_ms: percentile(99),
        longest_ms: answered.longest_ms(),
        memory_mib_max,
        memory_mib_second_third: middle_of(&memory, 1),
        memory_mib_last_third: middle_of(&memory, 2),
        memory,
    })
}

async fn most(bed: &TestBed, shape: Shape) -> Result<f64> {
    let load = Running::start(Target::Own(bed), shape).await?;
    tokio::time::sleep(Duration::from_secs(MOST_SECONDS)).await;
    load.forget();
    let begun = Instant::now();
    tokio::time::sleep(Duration::from_secs(MOST_SECONDS)).await;
    let most = load.forget().operations() as f64 / begun.elapsed().as_secs_f64();
    if most == 0.0 {
        let cause = "no operation was answered before anything was offered";
        return Err(Error::new(Exit::Failed, cause, "the machine may be too slow or too busy"));
    }
    Ok(most)
}

/// Looks at the servers' memory for a while; beside it the most that one had since it began.
async fn watch(bed: &TestBed, time: Duration) -> Result<(Vec<Look>, f64)> {
    let every = (time / LOOKS).max(LOOK_EVERY_MIN);
    let begun = Instant::now();
    let (mut looks, mut most) = (Vec::new(), 0.0_f64);
    while begun.elapsed() < time {
        tokio::time::sleep(every.min(time.saturating_sub(begun.elapsed()))).await;
        let mut memory = Vec::new();
        for (server, pid) in bed.pids().enumerate() {
            let known = usage::memory_now_and_most_mib(pid);
            let (now, at_most) = known.ok_or_else(|| ended(server))?;
            memory.push(now);
            most = most.max(at_most);
        }
        looks.push(Look {
            seconds: begun.elapsed().as_secs_f64(),
            most_mib: memory.iter().copied().fold(0.0, f64::max),
            mean_mib: memory.iter().sum::<f64>() / memory.len().max(1) as f64,
        });
    }
    Ok((looks, most))
}

fn ended(server: usize) -> Error {
    let hint = "look whether the machine has room for it, in memory and on disk";
    Error::new(Exit::Failed, format!("server {server} ended under the load"), hint)
}

/// The median of the memory in one third of the time.
fn middle_of(memory: &[Look], third: usize) -> f64 {
    let looks = memory.iter().skip(memory.len() * third / 3);
    let looks = looks.take(memory.len() * (third + 1) / 3 - memory.len() * third / 3);
    let mut most: Vec<f64> = looks.map(|look| look.most_mib).collect();
    most.sort_by(f64::total_cmp);
    middle(&most)
}

impl Offer {
    /// Writes a page with the figures, and a plot of the memory beside it.
    pub(super) fn write_report(&self, path: &Path) -> Result<()> {
        let of = |mib: fn(&Look) -> f64| {
            self.memory.iter().map(|look| (look.seconds, mib(look))).collect()
        };
        let plot = Plot {
            title: "Memory of a server",
            across: ("seconds", Scale::FromZero),
            up: "MiB",
            lines: vec![
                Line { name: "who has most", points: of(|look| look.most_mib) },
                Line { name: "mean", points: of(|look| look.mean_mib) },
            ],
        };
        let file = plot.write_beside(path, PLOT)?;
        let page = format!(
            "{}```text\n{self}\n```\n\n![memory]({file})\n",
            page::head(&format!("{} times what is answered at most", self.times)),
        );
        disk::replace(path, &page, Privacy::Public)
    }
}

impl fmt::Display for Offer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "{} servers, values of {} B in envelopes of {}, {} times the {:.0} operations/s that are answered at most with {} in flight, for {:.0} s",
            self.servers,
            self.value_bytes,
            self.envelope,
            self.times,
            self.most_per_second,
            self.most_in_flight,
            self.seconds
        )?;
        writeln!(
            out,
            "{:>12.0} operations/s offered with up to {} in flight, {:.0} answered, {:.0} shed, {:.0} not acknowledged",
            self.offered_per_second,
            self.in_flight,
            self.answered_per_second,
            self.shed_per_second,
            self.unacknowledged_per_second
        )?;
        writeln!(
            out,
            "{:>12.2} ms p50, {:.2} ms p99, {:.0} ms at most",
            self.p50_ms, self.p99_ms, self.longest_ms
        )?;
        write!(
            out,
            "{:>12.1} MiB at most of the server that has most; {:.1} in the second third of the time, {:.1} in the last",
            self.memory_mib_max, self.memory_mib_second_third, self.memory_mib_last_third
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_third_of_the_time_has_its_own_middle() {
        let look = |second: u32| Look {
            seconds: second.into(),
            most_mib: f64::from(second),
            mean_mib: 0.0,
        };
        let memory: Vec<Look> = (0..9).map(look).collect();
        assert_eq!([0, 1, 2].map(|third| middle_of(&memory, third)), [1.0, 4.0, 7.0]);
        assert_eq!(middle_of(&[], 2), 0.0);
    }
}
