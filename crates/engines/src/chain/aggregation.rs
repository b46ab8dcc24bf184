//! Iteration for wide chains: blocks are weighed against each other exactly, states within them by sweeps.
//!
//! It settles within a few dozen sweeps where failures come one after another and recoveries lead back, as in services.
//! Wide chains through which it takes very many steps to get anywhere may not settle, and are refused.

use super::EngineError;
use super::elimination;
use super::sparse::{Sparse, at, number};
use super::stationary::{Flow, exits, normalise};
use super::uniform::as_float;

/// The most blocks: weighing them costs the third power.
const BLOCKS: usize = 300;
/// The largest relative change of any share after which the iteration has settled.
const SETTLED: f64 = 1e-12;
/// The most multiplications of all sweeps: about a minute.
const WORK: f64 = 5e10;
/// The most sweeps.
const SWEEPS: u32 = 5_000;
/// Shares below it have no digits to compare.
const TINY: f64 = 1e-290;

/// The share of time in each position.
pub(super) fn solve(flow: &Flow) -> Result<Vec<f64>, EngineError> {
    let incoming = incoming(flow);
    let exits = exits(flow);
    let states = flow.len();
    let mut shares = vec![as_float(states).recip(); states];
    let mut before = shares.clone();
    let mut change = f64::INFINITY;
    let mut work = 0.0;
    for sweep in 1..=SWEEPS {
        weigh_blocks(flow, &mut shares)?;
        for position in (0..states).chain((0..states).rev()) {
            let arriving: f64 =
                incoming.row(position).map(|(from, rate)| at(&shares, from) * rate).sum();
            if let Some(share) = shares.get_mut(position) {
                *share = arriving / at(&exits, position);
            }
        }
        normalise(&mut shares)?;
        change = largest_change(&before, &shares);
        if change <= SETTLED {
            return Ok(shares);
        }
        before.clone_from(&shares);
        work += 3.0 * as_float(incoming.entries());
        if work > WORK {
            return Err(EngineError::NoConvergence { sweeps: sweep, change, states });
        }
    }
    Err(EngineError::NoConvergence { sweeps: SWEEPS, change, states })
}

fn largest_change(before: &[f64], after: &[f64]) -> f64 {
    let pairs = before.iter().zip(after).filter(|(_, after)| **after > TINY);
    pairs.map(|(before, after)| (after - before).abs() / after).fold(0.0, f64::max)
}

fn incoming(flow: &Flow) -> Sparse {
    let mut all = Sparse::with_capacity(flow.len(), flow.rates.entries() + flow.len());
    let mut row = Vec::new();
    for position in 0..flow.len() {
        row.clear();
        row.extend(flow.rates.row(position).map(|(to, rate)| (number(to), rate)));
        let home = at(&flow.home, position);
        if position > 0 && home > 0.0 {
            row.push((0, home));
        }
        all.push_row(&mut row);
    }
    all.transposed(1.0)
}

/// Scales every block to the share of time that the chain of blocks gives it.
fn weigh_blocks(flow: &Flow, shares: &mut [f64]) -> Result<(), EngineError> {
    let states = flow.len();
    let blocks = BLOCKS.min(states);
    let block = |position: usize| position * blocks / states;
    let mut weights = vec![0.0; blocks];
    let mut rates = vec![0.0; blocks * blocks];
    for (position, share) in shares.iter().enumerate() {
        let from = block(position);
        if let Some(weight) = weights.get_mut(from) {
            *weight += share;
        }
        let home = (0, at(&flow.home, position));
        for (to, rate) in flow.rates.row(position).chain([home]) {
            if let Some(sum) = rates.get_mut(from * blocks + block(to)) {
                *sum += share * rate;
            }
        }
    }
    let mut coarse =
        Flow { rates: Sparse::with_capacity(blocks, blocks), home: Vec::with_capacity(blocks) };
    for ((from, row), weight) in rates.chunks_exact(blocks).enumerate().zip(&weights) {
        let rate = |to: usize| at(row, to) / weight;
        coarse.home.push(if from == 0 { 0.0 } else { rate(0) });
        let others = (1..blocks).filter(|to| *to != from && rate(*to) > 0.0);
        let mut entries: Vec<(u32, f64)> = others.map(|to| (number(to), rate(to))).collect();
        coarse.rates.push_row(&mut entries);
    }
    let exact = elimination::solve(&coarse, coarse.band())?;
    for (position, share) in shares.iter_mut().enumerate() {
        let block = block(position);
        *share *= at(&exact, block) / at(&weights, block);
    }
    Ok(())
}
