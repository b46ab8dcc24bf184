//! Continuous-time Markov chains: exact numbers for whatever has no memory.
//!
//! | question | method | where |
//! |---|---|---|
//! | where at time T, absorbed by time T | uniformisation, all terms positive, with detection of rest | `uniform` |
//! | the same for few states and rates far apart | scaling and squaring of positive matrices | `squaring` |
//! | long run, mean time to absorption | elimination without subtraction (GTH), in a band | `elimination` |
//! | the same where the band is too wide | aggregation and disaggregation with Gauss-Seidel sweeps | `aggregation` |
//!
//! No method subtracts, so that probabilities of 1e-12 keep their digits. What would take too long is
//! refused with its size ([`EngineError::Stiff`], [`EngineError::TooManyStates`],
//! [`EngineError::NoConvergence`]): chains are for tens of thousands of states in seconds, and
//! [`super::mission`] for what is larger.
//!
//! A [`ServiceChain`] counts equal servers in the same state instead of naming them. A fixed period
//! ([`super::Schedule::Fixed`]) has memory, which a chain has not: it becomes a number of exponential
//! *stages* one after another (Erlang), with the same mean and, with `k` stages, a deviation of
//! `1/sqrt(k)` of it. One stage is an exponential period: it overstates how long an intrusion nobody noticed
//! lasts, about twofold. More stages come closer and cost states.
//!
//! # Source
//! A. Jensen, *Markoff chains as an aid in the study of Markoff processes*, Skand. Aktuarietidskr. 36
//! (1953); B. Fox and P. Glynn, *Computing Poisson probabilities*, CACM 31(4) 1988; W. Grassmann, M.
//! Taksar, D. Heyman, *Regenerative analysis and steady state distributions for Markov chains*, Oper.
//! Res. 33(5) 1985; R. Koury, D. McAllister, W. Stewart, *Iterative methods for computing stationary
//! distributions of nearly completely decomposable Markov chains*, SIAM J. Alg. Disc. Meth. 5(2) 1984.

mod aggregation;
mod elimination;
pub(crate) mod local;
mod lumped;
mod size;
mod sparse;
mod squaring;
mod stationary;
mod transitions;
mod uniform;

use super::EngineError;
use super::error::{at_least_zero, positive};
pub use lumped::ServiceChain;
use sparse::Sparse;

/// The most states of a chain.
pub const STATES_MAX: usize = 1_000_000;
/// The most transitions of a chain: about 200 bytes of memory for a state with ten.
pub const TRANSITIONS_MAX: usize = 20_000_000;
/// The most Erlang stages that stand for a fixed period.
pub const STAGES_MAX: u32 = 64;
/// The most probabilities in one answer: 160 MB.
pub const TRANSIENT_NUMBERS_MAX: usize = 20_000_000;
/// The most points in time of one curve.
pub const CURVE_POINTS_MAX: usize = 10_000;

/// A chain: states by number, the rates between them, and the state it begins in.
#[derive(Clone, Debug)]
pub struct Chain {
    /// Row `i`: where state `i` goes, at which rates.
    rates: Sparse,
    /// Sum of the rates out of each state.
    exits: Vec<f64>,
    initial: usize,
}

/// Collects the transitions of a [`Chain`].
#[derive(Clone, Debug)]
pub struct ChainBuilder {
    states: usize,
    transitions: Vec<(u32, u32, f64)>,
}

impl ChainBuilder {
    /// A chain of states `0..states` without transitions.
    ///
    /// # Errors
    /// [`EngineError::TooManyStates`], also for none.
    pub fn new(states: usize) -> Result<Self, EngineError> {
        if states == 0 || states > STATES_MAX {
            let wanted = u64::try_from(states).unwrap_or(u64::MAX);
            return Err(EngineError::TooManyStates { wanted, most: STATES_MAX });
        }
        Ok(Self { states, transitions: Vec::new() })
    }

    /// Adds a transition; several between the same states add up.
    ///
    /// `rate`: per hour, above 0.
    ///
    /// # Errors
    /// [`EngineError::NotPositive`], [`EngineError::BadTransition`], [`EngineError::TooManyTransitions`].
    pub fn transition(&mut self, from: usize, to: usize, rate: f64) -> Result<(), EngineError> {
        let rate = positive("the rate of a transition", rate)?;
        let states = self.states;
        let numbers = (u32::try_from(from), u32::try_from(to));
        let (Ok(row), Ok(column)) = numbers else {
            return Err(EngineError::BadTransition { from, to, states });
        };
        if from >= states || to >= states || from == to {
            return Err(EngineError::BadTransition { from, to, states });
        }
        if self.transitions.len() >= TRANSITIONS_MAX {
            let wanted = self.transitions.len() as u64 + 1;
            return Err(EngineError::TooManyTransitions { wanted, most: TRANSITIONS_MAX });
        }
        self.transitions.push((row, column, rate));
        Ok(())
    }

    /// The chain that begins in `initial`. Cost: sorting the transitions.
    ///
    /// # Errors
    /// [`EngineError::BadTransition`] when `initial` is no state.
    pub fn build(mut self, initial: usize) -> Result<Chain, EngineError> {
        if initial >= self.states {
            let states = self.states;
            return Err(EngineError::BadTransition { from: initial, to: initial, states });
        }
        self.transitions.sort_unstable_by_key(|(from, to, _)| (*from, *to));
        let mut rates = Sparse::with_capacity(self.states, self.transitions.len());
        let mut transitions = self.transitions.into_iter().peekable();
        let mut row = Vec::new();
        for state in 0..self.states {
            row.clear();
            while let Some((_, to, rate)) =
                transitions.next_if(|(from, _, _)| usize::try_from(*from) == Ok(state))
            {
                row.push((to, rate));
            }
            rates.push_row(&mut row);
        }
        Ok(Chain::new(rates, initial))
    }
}

impl Chain {
    fn new(rates: Sparse, initial: usize) -> Self {
        let exits =
            (0..rates.rows()).map(|row| rates.row(row).map(|(_, rate)| rate).sum()).collect();
        Self { rates, exits, initial }
    }

    /// Number of states.
    #[must_use]
    pub fn state_count(&self) -> usize {
        self.exits.len()
    }

    /// Number of transitions, those between the same states joined.
    #[must_use]
    pub fn transition_count(&self) -> usize {
        self.rates.entries()
    }

    /// The state it begins in.
    #[must_use]
    pub fn initial(&self) -> usize {
        self.initial
    }

    /// Where `state` goes, at which rates per hour; nothing for a state that does not exist.
    pub fn transitions_of(&self, state: usize) -> impl Iterator<Item = (usize, f64)> {
        self.rates.row(state)
    }

    /// The probability of every state at each of `times` (hours, not decreasing).
    ///
    /// Cost: largest exit rate x last time x transitions. Relative error below 1e-8, small values
    /// included.
    ///
    /// # Errors
    /// [`EngineError::Negative`], [`EngineError::Unordered`], [`EngineError::OutOfRange`] (of the answer too: at
    /// most [`TRANSIENT_NUMBERS_MAX`]); [`EngineError::Stiff`] when it would take minutes.
    pub fn transient(&self, times: &[f64]) -> Result<Vec<Vec<f64>>, EngineError> {
        let numbers = times.len().saturating_mul(self.state_count());
        let most = u64::try_from(TRANSIENT_NUMBERS_MAX).unwrap_or(u64::MAX);
        let numbers = u64::try_from(numbers).unwrap_or(u64::MAX);
        super::error::within("states times points in time", numbers, 0, most)?;
        self.curve(times, |state| state.to_vec())
    }

    /// The probability to be in one of the `marked` states at each of `times` (hours, not decreasing). If
    /// these are never left, it is the probability to have reached them by then.
    ///
    /// `marked`: one entry a state; missing ones are not marked.
    ///
    /// # Errors
    /// As [`Chain::transient`].
    pub fn probability_in(&self, marked: &[bool], times: &[f64]) -> Result<Vec<f64>, EngineError> {
        let longest = check_times(times)?;
        let mut clock = uniform::Clock::new(self, longest)?;
        match clock.marked(&self.beginning(), marked, times) {
            Some(found) => Ok(found?.into_iter().map(|share| share.min(1.0)).collect()),
            None => self.curve(times, |state| sum_of(state, marked)),
        }
    }

    /// The mean share of the time from 0 to `time` (hours, above 0) spent in the `marked` states.
    ///
    /// # Errors
    /// As [`Chain::transient`], [`EngineError::NotPositive`] for no time.
    pub fn share_in(&self, marked: &[bool], time: f64) -> Result<f64, EngineError> {
        let time = positive("the time", time)?;
        let mut clock = uniform::Clock::new(self, time)?;
        Ok(sum_of(&clock.mean_until(&self.beginning(), time)?, marked))
    }

    /// The mean time to the first of the `marked` states, hours.
    ///
    /// # Errors
    /// [`EngineError::NeverFails`] when it may never come, [`EngineError::NoConvergence`],
    /// [`EngineError::Overflow`].
    pub fn mean_time_to(&self, marked: &[bool]) -> Result<f64, EngineError> {
        stationary::mean_time_to(self, marked)
    }

    /// The share of time that it spends in each state in the long run.
    ///
    /// # Errors
    /// [`EngineError::NeverFails`] when the long run depends on chance, [`EngineError::NoConvergence`].
    pub fn long_run(&self) -> Result<Vec<f64>, EngineError> {
        stationary::long_run(self)
    }

    /// `read` of the distribution at each of `times`.
    fn curve<T>(&self, times: &[f64], read: impl Fn(&[f64]) -> T) -> Result<Vec<T>, EngineError> {
        let mut clock = uniform::Clock::new(self, check_times(times)?)?;
        let mut state = self.beginning();
        let mut now = 0.0;
        let mut values = Vec::with_capacity(times.len());
        for &time in times {
            if time > now {
                state = clock.advance(&state, time - now)?;
                now = time;
            }
            values.push(read(&state));
        }
        Ok(values)
    }

    /// The distribution at time 0.
    fn beginning(&self) -> Vec<f64> {
        let mut state = vec![0.0; self.state_count()];
        if let Some(first) = state.get_mut(self.initial) {
            *first = 1.0;
        }
        state
    }

    /// The largest exit rate, and how many times the smallest it is.
    fn fastest(&self) -> (f64, f64) {
        let fastest = self.exits.iter().copied().fold(0.0, f64::max);
        let slowest = self.rates.values().fold(f64::INFINITY, f64::min);
        (fastest, if fastest > 0.0 { fastest / slowest } else { 1.0 })
    }
}

/// Checks points in time, and gives the last.
fn check_times(times: &[f64]) -> Result<f64, EngineError> {
    super::error::within(
        "the number of points in time",
        u64::try_from(times.len()).unwrap_or(u64::MAX),
        0,
        u64::try_from(CURVE_POINTS_MAX).unwrap_or(u64::MAX),
    )?;
    let mut earlier = 0.0;
    for &later in times {
        at_least_zero("a point in time", later)?;
        if later < earlier {
            return Err(EngineError::Unordered { earlier, later });
        }
        earlier = later;
    }
    Ok(earlier)
}

fn sum_of(state: &[f64], marked: &[bool]) -> f64 {
    let chosen = state.iter().zip(marked).filter(|(_, marked)| **marked);
    chosen.map(|(probability, _)| probability).sum::<f64>().min(1.0)
}

#[cfg(test)]
mod tests;
