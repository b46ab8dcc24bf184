//! Distributions of small chains over any time, however far apart their rates are.
//!
//! The matrix of transition probabilities over a short time comes from uniformisation and is squared until
//! the time is reached. All entries are positive and every row is scaled back to 1 after each squaring,
//! so that rounding neither grows nor drowns rare transitions.

use super::Chain;
use super::sparse::at;
use super::uniform::as_float;

/// The most states: the work grows with their third power.
const STATES: usize = 300;
/// Terms of the short time: its mean number of ticks is at most 1.
const TERMS: u32 = 24;
/// Doublings that reach any finite time from any finite rate.
const DOUBLINGS: f64 = 1_100.0;

/// Whether it is possible and cheaper than `steps` ticks.
pub(super) fn is_better(chain: &Chain, steps: f64) -> bool {
    let states = chain.state_count();
    if states > STATES || !steps.is_finite() {
        return false;
    }
    let row = as_float(states);
    let work = row * row * row * doublings(steps) + row * ticks_work(chain) * f64::from(TERMS);
    work < steps * ticks_work(chain)
}

fn ticks_work(chain: &Chain) -> f64 {
    as_float(chain.transition_count().saturating_add(chain.state_count()))
}

fn doublings(steps: f64) -> f64 {
    steps.log2().ceil().clamp(0.0, DOUBLINGS)
}

/// The distribution `time` hours after `state`.
pub(super) fn advance(chain: &Chain, state: &[f64], time: f64) -> Vec<f64> {
    let (fastest, _) = chain.fastest();
    let doublings = doublings(fastest * time);
    // In two halves, since 2^-1100 is no number.
    let half = (-doublings / 2.0).exp2();
    let mut matrix = over(chain, fastest, fastest * time * half * half);
    let mut left = doublings;
    while left > 0.0 {
        matrix = squared(&matrix, chain.state_count());
        left -= 1.0;
    }
    let mut next = vec![0.0; state.len()];
    for (row, share) in matrix.chunks_exact(state.len().max(1)).zip(state) {
        for (next, value) in next.iter_mut().zip(row) {
            *next += share * value;
        }
    }
    next
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
