//! A server that goes away under load: how long nobody is answered, and when all is as before.

use std::time::{Duration, Instant};

use ravelin_model::ReplicaId;
use rustix::process::Signal;

use super::super::load::{Running, Shape};
use super::super::samples::Samples;
use super::super::target::Target;
use super::super::testbed::{Layout, TestBed};
use crate::exit::{Error, Exit, Result};
use crate::processes::{Logging, Processes};

/// Who goes away.
const WHO: ReplicaId = ReplicaId(3);
/// Time between two looks at what was answered.
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// After so long all is to be as before.
const BACK_AFTER: Duration = Duration::from_secs(1);

/// How a server goes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leave {
    /// Its process ends, and its connections with it.
    Killed,
    /// Its process stands still: its connections stay open, and nothing comes over them.
    Silent,
}

/// What clients saw of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    /// The longest time in which nothing was answered, from the moment it went.
    pub(super) gap_ms: f64,
    /// How long 99 of 100 operations took at most from a second later on, over before.
    pub(super) p99_ratio: f64,
}

/// Lets a server go in the middle of a load that lasts `shape.seconds` before and after.
pub(super) async fn measure(leave: Leave, shape: Shape) -> Result<Seen> {
    let bed = TestBed::start(Layout::DEFAULT, None, Logging::AsFiled).await?;
    let processes = Processes::of(&bed.cluster)?;
    let load = Running::start(Target::Own(&bed), shape).await?;
    let time = Duration::from_secs(shape.seconds);
    tokio::time::sleep(time / 4).await;
    load.forget();
    tokio::time::sleep(time).await;
    let before = p99_ms(load.forget())?;
    let signal = match leave {
        Leave::Killed => Signal::KILL,
        Leave::Silent => Signal::STOP,
    };
    processes.signal(WHO, signal)?;
    let gap_ms = longest_gap(&load, BACK_AFTER).await;
    load.forget();
    let later = longest_gap(&load, time).await;
    Ok(Seen { gap_ms: gap_ms.max(later), p99_ratio: p99_ms(load.forget())? / before })
}

/// The longest time without an answer, in milliseconds, for so long.
async fn longest_gap(load: &Running, time: Duration) -> f64 {
    let begun = Instant::now();
    let (mut answered, mut since, mut longest) = (load.operations(), begun, Duration::ZERO);
    while begun.elapsed() < time {
        tokio::time::sleep(LOOK_EVERY).await;
        let now = load.operations();
        if now > answered {
            (answered, since) = (now, Instant::now());
        }
        longest = longest.max(since.elapsed());
    }
    longest.as_secs_f64() * 1e3
}

fn p99_ms(mut answered: Samples) -> Result<f64> {
    answered.sort();
    answered.percentile_ms(99, |_| true).ok_or_else(|| {
        let hint = "the machine may be too slow or too busy: try --seconds 30";
        Error::new(Exit::Failed, "no operation was answered", hint)
    })
}
