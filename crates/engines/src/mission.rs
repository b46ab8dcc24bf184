//! Monte Carlo: many missions of one service, each with its own luck.
//!
//! What a chain only approximates is exact here: a fixed rejuvenation comes exactly when it is due, the
//! servers of a group in turn, and lasts exactly its downtime; share epochs end by the calendar. The price
//! is an interval instead of a number: its level is the share of runs whose interval holds the truth.
//! With a fixed period a chain of one stage (exponential) overstates how long a hidden intrusion lasts and lets
//! two rejuvenations fall together; more stages come closer; only this engine knows the turns.
//!
//! Missions are run in chunks, each with a stream of its own of one seeded generator (ChaCha with 8 rounds), and
//! sums are taken in the order of chunks: the same seed gives the same result, bit by bit, on any number
//! of threads.
//!
//! # Source
//! D. Gillespie, *A general method for numerically simulating the stochastic time evolution of coupled chemical
//! reactions*, J. Comp. Phys. 22 (1976); E. Wilson, *Probable inference, the law of succession, and
//! statistical inference*, JASA 22 (1927).

mod chunks;
mod estimate;
mod world;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::error::{at_least_zero, positive, within};
use super::{EngineError, Property, Service};
use chunks::Chunks;
pub use estimate::Estimate;
use estimate::Sums;
use world::{Budget, World};

/// The most missions of a run.
pub const MISSIONS_MAX: u64 = 1_000_000_000;
/// The most points in time at which a run is read off.
pub const POINTS_MAX: usize = 1_000;
/// The most threads of a run.
pub const THREADS_MAX: usize = 64;
/// The most events of a run: about ten minutes on two cores.
pub const EVENTS_MAX: u64 = 20_000_000_000;

/// Events of one chunk, roughly: how often progress is told.
const CHUNK_EVENTS: f64 = 1e6;
/// The most missions of one chunk.
const CHUNK_MISSIONS: f64 = 10_000.0;

/// What to simulate.
#[derive(Clone, Debug, PartialEq)]
pub struct Missions {
    /// How many, from 2 to [`MISSIONS_MAX`].
    pub count: u64,
    /// Hours of each.
    pub hours: f64,
    /// Same seed, same result, whatever the number of threads.
    pub seed: u64,
    /// Threads, at most [`THREADS_MAX`]; 0: as many as the machine runs at once.
    pub threads: usize,
    /// Level of the confidence intervals, for instance 0.99.
    pub level: f64,
    /// Hours, not decreasing, at which the share of missions that failed by then is read off; at most
    /// [`POINTS_MAX`].
    pub points: Vec<f64>,
}

/// What a run gives.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Missions simulated.
    pub missions: u64,
    /// One entry a property, in the order of [`Property::ALL`].
    pub properties: Vec<PropertyOutcome>,
}

/// What a run gives of one property.
#[derive(Clone, Debug, PartialEq)]
pub struct PropertyOutcome {
    /// Which.
    pub property: Property,
    /// Probability that it fails at least once within the mission (Wilson's interval).
    pub failed: Estimate,
    /// The same by each of [`Missions::points`].
    pub curve: Vec<Estimate>,
    /// Mean share of the mission's time during which it is failed (normal interval).
    pub failed_share: Estimate,
}

/// Runs missions of a service.
///
/// `progress(done, total)` is called from the calling thread after each chunk of its own; `cancel` ends the
/// run within milliseconds. Cost: about 40 ns an event on each thread.
///
/// # Errors
/// Those of [`Service::check`]; [`EngineError::OutOfRange`], [`EngineError::NotPositive`],
/// [`EngineError::Unordered`], [`EngineError::NotAProbability`] of the options;
/// [`EngineError::TooMuchWork`]; [`EngineError::Cancelled`].
pub fn run(
    service: &Service,
    missions: &Missions,
    progress: &dyn Fn(u64, u64),
    cancel: &AtomicBool,
) -> Result<Outcome, EngineError> {
    service.check()?;
    missions.check()?;
    let hours = positive("the length of a mission", missions.hours)?;
    let each = world::events_per_hour(service) * hours;
    let budget = Budget { events: AtomicU64::new(0), cancel };
    budget.allow(each * whole(missions.count))?;
    let size = (CHUNK_EVENTS / each).clamp(1.0, CHUNK_MISSIONS);
    let chunks = Chunks::of(missions, size);
    let failures = Mutex::new(vec![Failures::new(missions.points.len()); Property::ALL.len()]);
    let sums = chunks.run(progress, cancel, |generator, count| {
        let mut world = World::new(service);
        let mut own = vec![Failures::new(missions.points.len()); Property::ALL.len()];
        let mut sums = [Sums::default(); 3];
        for _ in 0..count {
            let mission = world.run(generator, hours, None, &budget)?;
            for ((own, sum), end) in own.iter_mut().zip(&mut sums).zip(mission.ends(hours)) {
                own.record(end.first_failure, hours, &missions.points);
                sum.add(end.failed / hours);
            }
        }
        if let Ok(mut all) = failures.lock() {
            all.iter_mut().zip(&own).for_each(|(all, own)| all.add(own));
        }
        budget.check()?;
        Ok(sums)
    })?;
    let failures = failures.into_inner().unwrap_or_default();
    let properties = Property::ALL.into_iter().zip(failures).enumerate();
    let outcomes = properties.map(|(index, (property, failures))| {
        let sums = sums.iter().filter_map(|sums| sums.get(index));
        let mut failed_share = Sums::total(sums).mean(missions.level)?;
        let failed = Estimate::of_share(failures.missions, missions.count, missions.level)?;
        if failures.missions == 0 {
            // Nothing was seen, so nothing is known of the spread; it cannot be failed for longer
            // than it has failed at all.
            failed_share.high = failed.high;
        }
        failed_share.high = failed_share.high.min(1.0);
        failed_share.low = failed_share.low.max(0.0);
        let curve = failures.curve(missions)?;
        Ok(PropertyOutcome { property, failed, curve, failed_share })
    });
    let properties = outcomes.collect::<Result<_, EngineError>>()?;
    Ok(Outcome { missions: missions.count, properties })
}

/// The mean hours until `property` first fails; each mission goes on until it does (so `hours` and `points`
/// are not used). Normal interval.
///
/// # Errors
/// As [`run`]; [`EngineError::NeverFails`] when nothing can happen any more in a mission;
/// [`EngineError::TooMuchWork`] as soon as [`EVENTS_MAX`] events are simulated.
pub fn mean_time(
    service: &Service,
    property: Property,
    missions: &Missions,
    progress: &dyn Fn(u64, u64),
    cancel: &AtomicBool,
) -> Result<Estimate, EngineError> {
    service.check()?;
    missions.check()?;
    if !service.is_attacked() && property != Property::Availability {
        return Err(EngineError::NeverFails { why: "nothing intrudes any server" });
    }
    let budget = Budget { events: AtomicU64::new(0), cancel };
    let chunks = Chunks::of(missions, (whole(missions.count) / 1e4).clamp(16.0, CHUNK_MISSIONS));
    let sums = chunks.run(progress, cancel, |generator, count| {
        let mut world = World::new(service);
        let mut sums = Sums::default();
        for _ in 0..count {
            let mission = world.run(generator, f64::INFINITY, Some(property), &budget)?;
            let end = mission.ends(f64::INFINITY).into_iter().zip(Property::ALL);
            for (end, _) in end.filter(|(_, of)| *of == property) {
                if !end.first_failure.is_finite() {
                    return Err(EngineError::NeverFails { why: "a mission came to a standstill" });
                }
                sums.add(end.first_failure);
            }
        }
        budget.check()?;
        Ok(sums)
    })?;
    Sums::total(&sums).mean(missions.level)
}

impl Missions {
    fn check(&self) -> Result<(), EngineError> {
        within("the number of missions", self.count, 2, MISSIONS_MAX)?;
        within("the number of threads", count(self.threads), 0, count(THREADS_MAX))?;
        within("the number of points in time", count(self.points.len()), 0, count(POINTS_MAX))?;
        estimate::quantile_of_level(self.level)?;
        let mut earlier = 0.0;
        for &later in &self.points {
            at_least_zero("a point in time", later)?;
            if later < earlier {
                return Err(EngineError::Unordered { earlier, later });
            }
            earlier = later;
        }
        Ok(())
    }
}

impl Budget<'_> {
    /// Refuses what is expected to be too much.
    fn allow(&self, expected: f64) -> Result<(), EngineError> {
        let most = whole(EVENTS_MAX);
        if expected <= most {
            Ok(())
        } else {
            Err(EngineError::TooMuchWork { events: expected, most })
        }
    }

    /// Refuses what has become too much.
    fn check(&self) -> Result<(), EngineError> {
        self.allow(whole(self.events.load(Ordering::Relaxed)))
    }
}

/// How many missions failed, and when.
#[derive(Clone, Debug)]
struct Failures {
    missions: u64,
    /// First failures by each point and after the one before it.
    by_point: Vec<u64>,
}

impl Failures {
    fn new(points: usize) -> Self {
        Self { missions: 0, by_point: vec![0; points] }
    }

    fn record(&mut self, first: f64, hours: f64, points: &[f64]) {
        if first > hours {
            return;
        }
        self.missions += 1;
        let point = points.partition_point(|point| *point < first);
        if let Some(count) = self.by_point.get_mut(point) {
            *count += 1;
        }
    }

    fn add(&mut self, other: &Self) {
        self.missions += other.missions;
        for (sum, count) in self.by_point.iter_mut().zip(&other.by_point) {
            *sum += count;
        }
    }

    fn curve(&self, missions: &Missions) -> Result<Vec<Estimate>, EngineError> {
        let mut failed = 0;
        let by_point = self.by_point.iter().map(|count| {
            failed += count;
            Estimate::of_share(failed, missions.count, missions.level)
        });
        by_point.collect()
    }
}

fn count(of: usize) -> u64 {
    u64::try_from(of).unwrap_or(u64::MAX)
}

/// Exact for every count that occurs here.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
fn whole(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests;
