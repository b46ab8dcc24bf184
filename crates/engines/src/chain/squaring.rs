//! Distributions of small chains over any time, however far apart their rates are.
//!
//! The matrix of transition probabilities over a short time comes from uniformisation and is squared until
//! the time is reached. All entries are positive and every row is scaled back to 1 after each squaring,
//! so that rounding neither grows nor drowns rare transitions.

use super::Chain;
use super::sparse::at;
use super::uniform::{as_float, size_of_step};

/// The most states: the work grows with their third power.
const STATES: usize = 300;
/// Terms of the short time: its mean number of ticks is at most 1.
const TERMS: u32 = 24;
/// Doublings that reach any finite time from any finite rate.
const DOUBLINGS: f64 = 1_100.0;

/// Whether it is possible and cheaper than `steps` ticks.
pub(super) fn is_better(chain: &Chain, steps: f64) -> bool {
    chain.state_count() <= STATES
        && steps.is_finite()
        && work(chain, steps) < steps * size_of_step(chain)
}

/// The multiplications that it takes.
pub(super) fn work(chain: &Chain, steps: f64) -> f64 {
    let row = as_float(chain.state_count());
    row * row * row * doublings(steps) + row * size_of_step(chain) * f64::from(TERMS)
}

fn doublings(steps: f64) -> f64 {
    steps.log2().ceil().clamp(0.0, DOUBLINGS)
}

/// Transition probabilities over some time, row after row.
pub(super) struct Matrix {
    states: usize,
    entries: Vec<f64>,
}

impl Matrix {
    /// Over `time` hours; few states and a finite number of ticks, as of [`is_better`].
    pub(super) fn over(chain: &Chain, time: f64) -> Self {
        let (fastest, _) = chain.fastest();
        let states = chain.state_count();
        let doublings = doublings(fastest * time);
        // In two halves, since 2^-1100 is no number.
        let half = (-doublings / 2.0).exp2();
        let mut entries = over(chain, fastest, fastest * time * half * half);
        let mut left = doublings;
        while left > 0.0 {
            entries = squared(&entries, states);
            left -= 1.0;
        }
        Self { states, entries }
    }

    /// The distribution that `state` becomes.
    pub(super) fn apply(&self, state: &[f64]) -> Vec<f64> {
        let mut next = vec![0.0; state.len()];
        for (row, share) in self.entries.chunks_exact(self.states.max(1)).zip(state) {
            for (next, value) in next.iter_mut().zip(row) {
                *next += share * value;
            }
        }
        next
    }
}

/// Transition probabilities over the time of `mean` ticks, at most about 1; row after row.
fn over(chain: &Chain, fastest: f64, mean: f64) -> Vec<f64> {
    let states = chain.state_count();
    let mut matrix = Vec::with_capacity(states * states);
    for start in 0..states {
        let mut now = vec![0.0; states];
        if let Some(first) = now.get_mut(start) {
            *first = 1.0;
        }
        let mut sum = vec![0.0; states];
        let mut chance = (-mean).exp();
        for term in 0..TERMS {
            for (sum, value) in sum.iter_mut().zip(&now) {
                *sum += chance * value;
            }
            chance *= mean / f64::from(term + 1);
            now = ticked(chain, fastest, &now);
        }
        normalise(&mut sum);
        matrix.append(&mut sum);
    }
    matrix
}

fn ticked(chain: &Chain, fastest: f64, now: &[f64]) -> Vec<f64> {
    let staying = now.iter().zip(&chain.exits);
    let mut next: Vec<f64> = staying.map(|(value, exit)| value * (1.0 - exit / fastest)).collect();
    for (from, value) in now.iter().enumerate().filter(|(_, value)| **value > 0.0) {
        for (to, rate) in chain.rates.row(from) {
            if let Some(next) = next.get_mut(to) {
                *next += value * (rate / fastest);
            }
        }
    }
    next
}

fn squared(matrix: &[f64], states: usize) -> Vec<f64> {
    let mut result = Vec::with_capacity(matrix.len());
    for row in matrix.chunks_exact(states.max(1)) {
        let mut sum = vec![0.0; states];
        for (middle, other) in matrix.chunks_exact(states.max(1)).enumerate() {
            let share = at(row, middle);
            if share > 0.0 {
                for (sum, value) in sum.iter_mut().zip(other) {
                    *sum += share * value;
                }
            }
        }
        normalise(&mut sum);
        result.append(&mut sum);
    }
    result
}

fn normalise(row: &mut [f64]) {
    let sum: f64 = row.iter().sum();
    for value in row {
        *value /= sum;
    }
}
