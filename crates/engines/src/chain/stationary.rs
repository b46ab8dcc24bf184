//! Long run and mean times, both as the stationary distribution of a chain that returns to its root.
//!
//! A mean time to absorption is read off the chain that begins again whenever it would be absorbed: the
//! mean time is one over the rate of absorptions. So one pair of solvers answers both questions.

use super::sparse::{Sparse, at, index, number};
use super::uniform::as_float;
use super::{Chain, EngineError, aggregation, elimination};

/// Rounds of looking for the states that are visited for ever; each leaves at least one state behind.
const ROUNDS: usize = 1_000;

/// An irreducible chain over positions, the root at 0. What leads to the root stands apart, since it comes
/// from everywhere and would widen the band.
pub(super) struct Flow {
    /// Rates between positions, those to the root left out.
    pub(super) rates: Sparse,
    /// Rates to the root.
    pub(super) home: Vec<f64>,
}

impl Flow {
    pub(super) fn len(&self) -> usize {
        self.home.len()
    }

    /// The largest distance between two positions with a transition.
    pub(super) fn band(&self) -> usize {
        let rows = 0..self.len();
        let distances =
            rows.flat_map(|row| self.rates.row(row).map(move |(to, _)| to.abs_diff(row)));
        distances.max().unwrap_or_default()
    }
}

/// The mean time to the first marked state.
pub(super) fn mean_time_to(chain: &Chain, marked: &[bool]) -> Result<f64, EngineError> {
    let is_marked = |state: usize| marked.get(state).copied().unwrap_or_default();
    if is_marked(chain.initial) {
        return Ok(0.0);
    }
    let reached = reached(&chain.rates, chain.initial, &is_marked);
    if !(0..chain.state_count()).any(|state| at_flag(&reached, state) && is_marked(state)) {
        return Err(EngineError::NeverFails { why: "no event leads to a failure" });
    }
    let inside = |state: usize| at_flag(&reached, state) && !is_marked(state);
    let order = ordered(chain, chain.initial, &inside);
    let flow = flow(chain, &order, &is_marked);
    let shares = solve(&flow)?;
    let ends = order.iter().zip(&shares).map(|(state, share)| {
        let state = index(*state);
        let rate: f64 =
            chain.rates.row(state).filter(|(to, _)| is_marked(*to)).map(|(_, r)| r).sum();
        share * rate
    });
    let mean = ends.sum::<f64>().recip();
    if mean.is_finite() { Ok(mean) } else { Err(EngineError::Overflow { name: "the mean time" }) }
}

/// The share of time in every state.
pub(super) fn long_run(chain: &Chain) -> Result<Vec<f64>, EngineError> {
    let root = recurrent(chain)?;
    let inside = reached(&chain.rates, root, &|_| false);
    let order = ordered(chain, root, &|state| at_flag(&inside, state));
    let shares = solve(&flow(chain, &order, &|_| false))?;
    let mut result = vec![0.0; chain.state_count()];
    for (state, share) in order.iter().zip(shares) {
        if let Some(place) = result.get_mut(index(*state)) {
            *place = share;
        }
    }
    Ok(result)
}

fn solve(flow: &Flow) -> Result<Vec<f64>, EngineError> {
    let band = flow.band();
    if elimination::is_possible(flow.len(), band) {
        elimination::solve(flow, band)
    } else {
        aggregation::solve(flow)
    }
}

/// A state of the set that is visited for ever, which must be the only such set.
fn recurrent(chain: &Chain) -> Result<usize, EngineError> {
    let backward = chain.rates.transposed(1.0);
    let all = reached(&chain.rates, chain.initial, &|_| false);
    let mut root = chain.initial;
    for _ in 0..ROUNDS {
        let forward = reached(&chain.rates, root, &|_| false);
        let back = reached(&backward, root, &|_| false);
        let strays = |from: &[bool], state: usize| at_flag(from, state) && !at_flag(&back, state);
        match (0..chain.state_count()).rev().find(|state| strays(&forward, *state)) {
            Some(further) => root = further,
            None if (0..chain.state_count()).any(|state| strays(&all, state)) => {
                return Err(EngineError::NeverFails { why: "it depends on chance where it ends" });
            }
            None => return Ok(root),
        }
    }
    let states = chain.state_count();
    Err(EngineError::NoConvergence { sweeps: 0, change: f64::INFINITY, states })
}

/// What can be reached from `start`; marked states are reached and not passed through.
fn reached(rates: &Sparse, start: usize, is_marked: &dyn Fn(usize) -> bool) -> Vec<bool> {
    let mut reached = vec![false; rates.rows()];
    let mut open = vec![start];
    if let Some(first) = reached.get_mut(start) {
        *first = true;
    }
    while let Some(state) = open.pop() {
        if is_marked(state) {
            continue;
        }
        for (to, _) in rates.row(state) {
            if let Some(seen) = reached.get_mut(to).filter(|seen| !**seen) {
                *seen = true;
                open.push(to);
            }
        }
    }
    reached
}

/// The states inside, by their distance from the root along transitions in either direction, those into
/// the root apart (Cuthill and McKee): neighbours get positions close to each other.
fn ordered(chain: &Chain, root: usize, inside: &dyn Fn(usize) -> bool) -> Vec<u32> {
    let backward = chain.rates.transposed(1.0);
    let mut seen = vec![false; chain.state_count()];
    let mut order: Vec<u32> = Vec::new();
    let mut visit = |state: usize, order: &mut Vec<u32>| {
        if let Some(seen) = seen.get_mut(state).filter(|seen| !**seen && inside(state)) {
            *seen = true;
            order.push(number(state));
        }
    };
    visit(root, &mut order);
    let mut next = 0;
    while let Some(&state) = order.get(next) {
        next += 1;
        let state = index(state);
        for (to, _) in chain.rates.row(state) {
            visit(to, &mut order);
        }
        if state != root {
            for (from, _) in backward.row(state) {
                visit(from, &mut order);
            }
        }
    }
    order
}

/// The chain over positions of `order`, in which whatever is marked is the root again.
fn flow(chain: &Chain, order: &[u32], is_marked: &dyn Fn(usize) -> bool) -> Flow {
    let mut positions = vec![0_u32; chain.state_count()];
    for (position, state) in order.iter().enumerate() {
        if let Some(place) = positions.get_mut(index(*state)) {
            *place = number(position);
        }
    }
    let mut rates = Sparse::with_capacity(order.len(), chain.transition_count());
    let mut home = vec![0.0; order.len()];
    let mut row = Vec::new();
    for (position, (state, home)) in order.iter().zip(&mut home).enumerate() {
        row.clear();
        for (to, rate) in chain.rates.row(index(*state)) {
            let to = if is_marked(to) { 0 } else { positions.get(to).copied().unwrap_or_default() };
            if to == 0 {
                *home += rate;
            } else if index(to) != position {
                row.push((to, rate));
            }
        }
        rates.push_row(&mut row);
    }
    Flow { rates, home }
}

/// Scales to a sum of 1.
pub(super) fn normalise(shares: &mut [f64]) -> Result<(), EngineError> {
    let sum: f64 = shares.iter().sum();
    if !sum.is_finite() || sum <= 0.0 {
        return Err(EngineError::Overflow { name: "the ratio of two shares of time" });
    }
    for share in shares {
        *share /= sum;
    }
    Ok(())
}

fn at_flag(flags: &[bool], state: usize) -> bool {
    flags.get(state).copied().unwrap_or_default()
}

/// The exit rate of each position.
pub(super) fn exits(flow: &Flow) -> Vec<f64> {
    let sum = |row| flow.rates.row(row).map(|(_, rate)| rate).sum::<f64>();
    (0..flow.len()).map(|row| sum(row) + if row == 0 { 0.0 } else { at(&flow.home, row) }).collect()
}

/// The work of a direct solution.
pub(super) fn work(states: usize, band: usize) -> f64 {
    as_float(states) * as_float(band) * as_float(band)
}

/// A chain all of whose states are visited for ever, for the comparison of solvers.
#[cfg(test)]
pub(super) fn whole(chain: &Chain) -> Flow {
    let order = ordered(chain, chain.initial, &|_| true);
    flow(chain, &order, &|_| false)
}
