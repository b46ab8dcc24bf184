//! Monte Carlo.
use super::{EngineError, Property, Service};
use std::sync::atomic::AtomicBool;

/// The most missions of a run.
pub const MISSIONS_MAX: u64 = 1_000_000_000;
/// The most points in time at which a run is read off.
pub const POINTS_MAX: usize = 1_000;

/// What to simulate.
#[derive(Clone, Debug, PartialEq)]
pub struct Missions {
    /// Missions.
    pub count: u64,
    /// Hours of each.
    pub hours: f64,
    /// Same seed, same result, whatever the number of threads.
    pub seed: u64,
    /// Threads; 0: as many as the machine runs at once.
    pub threads: usize,
    /// Level of the confidence intervals, for instance 0.99.
    pub level: f64,
    /// Hours, not decreasing, within the mission, at which the share of failed missions is read off.
    pub points: Vec<f64>,
}

/// A number with its confidence interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// Best guess.
    pub value: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
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
    /// Probability that it failed at least once within the mission.
    pub failed: Estimate,
    /// The same by each of [`Missions::points`].
    pub curve: Vec<Estimate>,
    /// Mean share of the mission's time during which it was failed.
    pub failed_share: Estimate,
}

/// Runs missions; `progress(done, total)` is called from the calling thread.
pub fn run(
    _service: &Service,
    _missions: &Missions,
    _progress: &dyn Fn(u64, u64),
    _cancel: &AtomicBool,
) -> Result<Outcome, EngineError> {
    todo!()
}

/// Mean hours to the first failure (each mission goes on until it fails; `hours` is not used).
pub fn mean_time(
    _service: &Service,
    _property: Property,
    _missions: &Missions,
    _progress: &dyn Fn(u64, u64),
    _cancel: &AtomicBool,
) -> Result<Estimate, EngineError> {
    todo!()
}

impl Estimate {
    /// Wilson's interval of a share: `hits` of `trials`.
    pub fn of_share(_hits: u64, _trials: u64, _level: f64) -> Result<Self, EngineError> {
        todo!()
    }
}
