//! Elimination of states from last to first, without subtraction (GTH), within a band.
//!
//! Whoever would go through an eliminated state goes where that leads instead; the exit rate of the next state
//! is then the sum of what is left, never a difference. Every share is exact to some digits, however
//! small it is and however far apart the rates are.

use super::EngineError;
use super::sparse::at;
use super::stationary::{Flow, normalise, work};

/// The most numbers in the band: 240 MB.
const ENTRIES: usize = 30_000_000;
/// The most multiplications: a second or two.
const WORK: f64 = 2e9;

/// Whether the band fits memory and patience.
pub(super) fn is_possible(states: usize, band: usize) -> bool {
    let width = band.saturating_mul(2).saturating_add(1);
    states.saturating_mul(width) <= ENTRIES && work(states, band) <= WORK
}

/// The share of time in each position. `band`: the largest distance of a transition.
pub(super) fn solve(flow: &Flow, band: usize) -> Result<Vec<f64>, EngineError> {
    let mut matrix = Band::of(flow, band);
    let mut home = flow.home.clone();
    let mut exits = vec![0.0; flow.len()];
    for last in (1..flow.len()).rev() {
        let exit = matrix.eliminate(last, &mut home);
        if exit <= 0.0 {
            return Err(EngineError::NeverFails { why: "some states are never left again" });
        }
        if let Some(place) = exits.get_mut(last) {
            *place = exit;
        }
    }
    let mut shares = Vec::with_capacity(flow.len());
    shares.push(1.0);
    for position in 1..flow.len() {
        let arriving = matrix.arriving(position, &shares);
        shares.push(arriving / at(&exits, position));
    }
    normalise(&mut shares)?;
    Ok(shares)
}

/// Row after row, each with the columns from `row - band` to `row + band`.
struct Band {
    band: usize,
    width: usize,
    entries: Vec<f64>,
}

impl Band {
    fn of(flow: &Flow, band: usize) -> Self {
        let width = 2 * band + 1;
        let mut entries = vec![0.0; flow.len() * width];
        for (row, values) in entries.chunks_exact_mut(width).enumerate() {
            for (to, rate) in flow.rates.row(row) {
                if let Some(place) = values.get_mut(to + band - row) {
                    *place = rate;
                }
            }
        }
        Self { band, width, entries }
    }

    /// Sends what goes to `last` to where that goes, and returns the exit rate of `last`.
    fn eliminate(&mut self, last: usize, home: &mut [f64]) -> f64 {
        let (before, rest) = self.entries.split_at_mut(last * self.width);
        let lower = rest.get(..self.band).unwrap_or_default();
        let last_home = at(home, last);
        let exit = lower.iter().sum::<f64>() + last_home;
        if exit <= 0.0 {
            return 0.0;
        }
        let first = last.saturating_sub(self.band);
        let rows = before.chunks_exact_mut(self.width).enumerate().skip(first);
        for (row, values) in rows {
            let share = at(values, last + self.band - row) / exit;
            if share <= 0.0 {
                continue;
            }
            if let Some(home) = home.get_mut(row) {
                *home += share * last_home;
            }
            let columns = values.iter_mut().skip(last - row);
            for (value, onward) in columns.zip(lower) {
                *value += share * onward;
            }
        }
        exit
    }

    /// The flow into `position` from those before it.
    fn arriving(&self, position: usize, shares: &[f64]) -> f64 {
        let first = position.saturating_sub(self.band);
        let rows = self.entries.chunks_exact(self.width).enumerate();
        let before = rows.skip(first).take(position - first);
        before.map(|(row, values)| at(shares, row) * at(values, position + self.band - row)).sum()
    }
}
