//! Uniformisation: a chain watched at the ticks of a clock that is at least as fast as every state.
//!
//! The number of ticks by time `t` is Poisson with mean `q` = fastest exit rate x `t`; the distribution
//! is the average of those after each number of ticks. All terms are positive.

use super::sparse::{Sparse, at};
use super::{Chain, EngineError, squaring};

/// The most multiplications of one computation: about twenty seconds.
const WORK: f64 = 2e10;
/// Weights below the largest one times this are left out on the side of few ticks.
const TAIL_BELOW: f64 = 1e-22;
/// And on the side of many, where rare events live: as long as they are numbers at all.
const TAIL_ABOVE: f64 = 1e-300;
/// Rest is looked for once in so many ticks.
const WATCH_EVERY: usize = 16;
/// What rest may cost: the largest relative error of a probability.
const REST_ERROR: f64 = 1e-10;
/// A relative change in one tick that is rounding alone.
const ROUNDING: f64 = 8e-16;
/// Below it, numbers lose their digits.
const TINY: f64 = 1e-290;

/// Refuses what would take too long, before anything is computed.
pub(super) fn check_work(chain: &Chain, time: f64) -> Result<(), EngineError> {
    let (fastest, ratio) = chain.fastest();
    let steps = fastest * time;
    if steps * size_of_step(chain) <= WORK || squaring::is_better(chain, steps) {
        return Ok(());
    }
    Err(EngineError::Stiff { steps, transitions: chain.transition_count(), time, ratio })
}

fn size_of_step(chain: &Chain) -> f64 {
    as_float(chain.transition_count().saturating_add(chain.state_count()))
}

/// Exact for every count that occurs here.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
pub(super) fn as_float(count: usize) -> f64 {
    count as f64
}

/// The distribution `time` hours after `state`.
pub(super) fn advance(chain: &Chain, state: &[f64], time: f64) -> Result<Vec<f64>, EngineError> {
    let (fastest, _) = chain.fastest();
    if fastest <= 0.0 {
        return Ok(state.to_vec());
    }
    if squaring::is_better(chain, fastest * time) {
        return Ok(squaring::advance(chain, state, time));
    }
    check_work(chain, time)?;
    let weights = Weights::of(fastest * time);
    Ok(Ticks::new(chain, fastest).average(state, &weights))
}

/// The distribution averaged over the time from 0 to `time`.
pub(super) fn mean_until(chain: &Chain, time: f64) -> Result<Vec<f64>, EngineError> {
    let (fastest, ratio) = chain.fastest();
    let mut initial = vec![0.0; chain.state_count()];
    if let Some(first) = initial.get_mut(chain.initial) {
        *first = 1.0;
    }
    if fastest <= 0.0 {
        return Ok(initial);
    }
    let steps = fastest * time;
    if steps * size_of_step(chain) > WORK {
        let transitions = chain.transition_count();
        return Err(EngineError::Stiff { steps, transitions, time, ratio });
    }
    // The share of time after exactly k ticks is the chance of more than k, divided by the mean.
    let weights = Weights::of(steps).tails();
    Ok(Ticks::new(chain, fastest).average(&initial, &weights))
}

/// One tick of the clock, as a matrix of incoming probabilities.
struct Ticks {
    incoming: Sparse,
    staying: Vec<f64>,
}

impl Ticks {
    fn new(chain: &Chain, fastest: f64) -> Self {
        let staying = chain.exits.iter().map(|exit| 1.0 - exit / fastest).collect();
        Self { incoming: chain.rates.transposed(fastest.recip()), staying }
    }

    /// The sum over ticks of the weight of each times the distribution after it.
    fn average(&self, state: &[f64], weights: &Weights) -> Vec<f64> {
        let mut now = state.to_vec();
        let mut next = vec![0.0; now.len()];
        let mut sum = vec![0.0; now.len()];
        let mut left = 1.0;
        for tick in 0..=weights.last() {
            let share = weights.at(tick);
            if share > 0.0 {
                add(&mut sum, &now, share);
                left -= share;
            }
            if tick == weights.last() {
                break;
            }
            self.tick(&now, &mut next);
            let rests = tick % WATCH_EVERY == 0 && is_at_rest(&now, &next, weights.last() - tick);
            std::mem::swap(&mut now, &mut next);
            if rests {
                add(&mut sum, &now, left.max(0.0));
                break;
            }
        }
        sum
    }

    fn tick(&self, now: &[f64], next: &mut [f64]) {
        for (state, next) in next.iter_mut().enumerate() {
            let arriving: f64 = self.incoming.row(state).map(|(from, p)| p * at(now, from)).sum();
            *next = arriving + at(&self.staying, state) * at(now, state);
        }
    }
}

fn add(sum: &mut [f64], state: &[f64], share: f64) {
    for (sum, value) in sum.iter_mut().zip(state) {
        *sum += share * value;
    }
}

/// Whether the ticks left cannot change any probability by more than [`REST_ERROR`] of it: a relative
/// change never grows from tick to tick, since every tick only averages.
fn is_at_rest(now: &[f64], next: &[f64], ticks_left: usize) -> bool {
    let allowed = (REST_ERROR / as_float(ticks_left.max(1))).max(ROUNDING);
    let rests =
        |now: f64, next: f64| (next - now).abs() <= allowed * now || (now > 0.0 && next < TINY);
    now.iter().zip(next).all(|(now, next)| rests(*now, *next))
}

/// The chances of every number of ticks that matters.
struct Weights {
    first: usize,
    chances: Vec<f64>,
    /// Numbers below `first` count with this.
    before: f64,
}

impl Weights {
    /// Poisson with mean `mean`, which the limit of work keeps below 1e10.
    fn of(mean: f64) -> Self {
        let mode = mean.floor();
        let mut below = Vec::new();
        let (mut ticks, mut chance) = (mode, 1.0_f64);
        while ticks > 0.0 && chance > TAIL_BELOW {
            chance *= ticks / mean;
            ticks -= 1.0;
            below.push(chance);
        }
        let first = mode - as_float(below.len());
        below.reverse();
        let mut chances = below;
        let (mut ticks, mut chance) = (mode, 1.0_f64);
        while chance > TAIL_ABOVE {
            chances.push(chance);
            ticks += 1.0;
            chance *= mean / ticks;
        }
        let sum: f64 = chances.iter().sum();
        for chance in &mut chances {
            *chance /= sum;
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 1e10")]
        let first = first as usize;
        Self { first, chances, before: 0.0 }
    }

    /// For each number of ticks the share of time that passes after exactly so many.
    fn tails(mut self) -> Self {
        let mut tail = 0.0;
        for chance in self.chances.iter_mut().rev() {
            tail += std::mem::replace(chance, tail);
        }
        let sum = as_float(self.first) + self.chances.iter().sum::<f64>();
        for chance in &mut self.chances {
            *chance /= sum;
        }
        self.before = sum.recip();
        self
    }

    fn at(&self, tick: usize) -> f64 {
        match tick.checked_sub(self.first) {
            Some(place) => at(&self.chances, place),
            None => self.before,
        }
    }

    fn last(&self) -> usize {
        (self.first + self.chances.len()).saturating_sub(1)
    }
}
