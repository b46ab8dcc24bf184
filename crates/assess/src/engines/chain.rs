//! Continuous-time Markov chains.
use super::{EngineError, Property, Service};

/// The most states of a chain.
pub const STATES_MAX: usize = 1_000_000;
/// The most Erlang stages that stand for a fixed period.
pub const STAGES_MAX: u32 = 64;

/// A chain with its rates, sparse.
#[derive(Clone, Debug)]
pub struct Chain {}

/// A service as a chain, with the states in which one property fails.
#[derive(Clone, Debug)]
pub struct ServiceChain {}

impl ServiceChain {
    /// Ends at the first failure of `property`; `stages` Erlang stages stand for each fixed period
    /// (1: exponential).
    pub fn until_failure(
        _service: &Service,
        _property: Property,
        _stages: u32,
    ) -> Result<Self, EngineError> {
        todo!()
    }
    /// Goes on after failures (integrity, availability).
    pub fn with_repair(
        _service: &Service,
        _property: Property,
        _stages: u32,
    ) -> Result<Self, EngineError> {
        todo!()
    }
    /// States.
    pub fn state_count(&self) -> usize {
        todo!()
    }
    /// The chain itself.
    pub fn chain(&self) -> &Chain {
        todo!()
    }
    /// Probability to be failed at `time` (hours). Of [`Self::until_failure`]: that it failed by then.
    pub fn failed_at(&self, _time: f64) -> Result<f64, EngineError> {
        todo!()
    }
    /// As `failed_at` at every one of `times`, which must not decrease.
    pub fn failed_curve(&self, _times: &[f64]) -> Result<Vec<f64>, EngineError> {
        todo!()
    }
    /// Mean hours to the first failure.
    pub fn mean_time_to_failure(&self) -> Result<f64, EngineError> {
        todo!()
    }
    /// Share of time failed in the long run (1 - availability).
    pub fn failed_share(&self) -> Result<f64, EngineError> {
        todo!()
    }
}
