//! Uniformisation: a chain watched at the ticks of a clock that is at least as fast as every state.
//!
//! The number of ticks by time `t` is Poisson with mean `q` = fastest exit rate x `t`; the distribution
//! is the average of those after each number of ticks. All terms are positive.

use super::sparse::{Sparse, at};
use super::{Chain, EngineError, squaring, sum_of};

/// The most multiplications of one question: about half a minute.
const WORK: f64 = 2e10;
/// The most ticks, as long as they are simply counted.
const TICKS: f64 = 2e9;
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

/// Numbers of ticks, in square roots of their mean, that all points in time of one pass may span: 40 MB.
const WINDOWS: f64 = 1e5;

/// Distances in time that differ by less than this share of them are the same.
const SAME: f64 = 1e-12;

/// Moves a distribution through time, as long as that is worth waiting for.
pub(super) struct Clock<'a> {
    chain: &'a Chain,
    fastest: f64,
    ticks: Option<Ticks>,
    /// What the last distance in time that was squared does.
    squared: Option<(f64, squaring::Matrix)>,
    /// Hours asked for.
    time: f64,
    work: f64,
}

impl<'a> Clock<'a> {
    /// For `time` hours in all; refuses what takes too long however it is done.
    pub(super) fn new(chain: &'a Chain, time: f64) -> Result<Self, EngineError> {
        let (fastest, _) = chain.fastest();
        let clock = Self { chain, fastest, ticks: None, squared: None, time, work: 0.0 };
        let steps = fastest * time;
        if steps <= TICKS || squaring::is_better(chain, steps) {
            Ok(clock)
        } else {
            Err(clock.lost())
        }
    }

    /// The distribution `time` hours after `state`.
    pub(super) fn advance(&mut self, state: &[f64], time: f64) -> Result<Vec<f64>, EngineError> {
        let steps = self.fastest * time;
        if steps <= 0.0 {
            return Ok(state.to_vec());
        }
        if !squaring::is_better(self.chain, steps) {
            return self.average(state, &Weights::of(steps));
        }
        let is_same = |known: f64| (known - time).abs() <= SAME * time;
        let known = self.squared.take().filter(|(known, _)| is_same(*known));
        let (time, matrix) = match known {
            Some(known) => known,
            None => {
                self.spend(squaring::work(self.chain, steps))?;
                (time, squaring::Matrix::over(self.chain, time))
            }
        };
        let next = matrix.apply(state);
        self.squared = Some((time, matrix));
        Ok(next)
    }

    /// The probability to be in one of the `marked` states at each of `times`, from `state` at 0, in one pass over
    /// all ticks. `None` where stepping from one time to the next by squares is cheaper.
    pub(super) fn marked(
        &mut self,
        state: &[f64],
        marked: &[bool],
        times: &[f64],
    ) -> Option<Result<Vec<f64>, EngineError>> {
        let longest = times.iter().copied().fold(0.0, f64::max) * self.fastest;
        let each = longest / as_float(times.len().max(1));
        let is_wide = longest.sqrt() * as_float(times.len()) > WINDOWS;
        if is_wide || squaring::is_better(self.chain, each) {
            return None;
        }
        let weights: Vec<Weights> =
            times.iter().map(|time| Weights::of(self.fastest * time)).collect();
        let ticks = match self.ticks.take() {
            Some(ticks) => ticks,
            None => Ticks::new(self.chain, self.fastest),
        };
        let result = ticks.marked(state, marked, &weights, self);
        self.ticks = Some(ticks);
        Some(result)
    }

    /// The distribution averaged over the time from 0 to `time`.
    pub(super) fn mean_until(&mut self, state: &[f64], time: f64) -> Result<Vec<f64>, EngineError> {
        let steps = self.fastest * time;
        if steps <= 0.0 {
            return Ok(state.to_vec());
        }
        if steps > TICKS {
            return Err(self.lost());
        }
        // The share of time after exactly k ticks is the chance of more than k, divided by the mean.
        self.average(state, &Weights::of(steps).tails())
    }

    /// The sum over ticks of the weight of each times the distribution after it.
    fn average(&mut self, state: &[f64], weights: &Weights) -> Result<Vec<f64>, EngineError> {
        let ticks = match self.ticks.take() {
            Some(ticks) => ticks,
            None => Ticks::new(self.chain, self.fastest),
        };
        let result = ticks.average(state, weights, self);
        self.ticks = Some(ticks);
        result
    }

    fn spend(&mut self, work: f64) -> Result<(), EngineError> {
        self.work += work;
        if self.work <= WORK { Ok(()) } else { Err(self.lost()) }
    }

    fn lost(&self) -> EngineError {
        let (fastest, ratio) = self.chain.fastest();
        let transitions = self.chain.transition_count();
        EngineError::Stiff { steps: fastest * self.time, transitions, time: self.time, ratio }
    }
}

/// The multiplications of one tick.
pub(super) fn size_of_step(chain: &Chain) -> f64 {
    as_float(chain.transition_count().saturating_add(chain.state_count()))
}

/// Exact for every count that occurs here.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
pub(super) fn as_float(count: usize) -> f64 {
    count as f64
}

/// One tick of the clock, as a matrix of incoming probabilities.
struct Ticks {
    incoming: Sparse,
    staying: Vec<f64>,
    /// States that are never left.
    absorbing: Vec<bool>,
    /// Multiplications of one.
    size: f64,
}

impl Ticks {
    fn new(chain: &Chain, fastest: f64) -> Self {
        let staying = chain.exits.iter().map(|exit| 1.0 - exit / fastest).collect();
        let absorbing = chain.exits.iter().map(|exit| *exit <= 0.0).collect();
        let incoming = chain.rates.transposed(fastest);
        Self { incoming, staying, absorbing, size: size_of_step(chain) }
    }

    /// The sum over ticks of the weight of each times the distribution after it.
    fn average(
        &self,
        state: &[f64],
        weights: &Weights,
        clock: &mut Clock<'_>,
    ) -> Result<Vec<f64>, EngineError> {
        let mut now = state.to_vec();
        let mut next = vec![0.0; now.len()];
        let mut sum = vec![0.0; now.len()];
        for tick in 0..=weights.last() {
            let share = weights.at(tick);
            if share > 0.0 {
                add(&mut sum, &now, share);
            }
            if tick == weights.last() {
                break;
            }
            if tick % WATCH_EVERY == 0
                && let Some(rest) = self.rest(&now, weights.last() - tick)
            {
                rest.add_ticks(&mut sum, &now, weights, tick + 1);
                break;
            }
            clock.spend(self.size)?;
            self.tick(&now, &mut next);
            std::mem::swap(&mut now, &mut next);
        }
        Ok(sum)
    }

    /// For each of these weights the sum over ticks of the probability to be in a marked state.
    fn marked(
        &self,
        state: &[f64],
        marked: &[bool],
        weights: &[Weights],
        clock: &mut Clock<'_>,
    ) -> Result<Vec<f64>, EngineError> {
        let last = weights.iter().map(Weights::last).max().unwrap_or_default();
        let mut now = state.to_vec();
        let mut next = vec![0.0; now.len()];
        let mut sums = vec![0.0; weights.len()];
        for tick in 0..=last {
            let here = sum_of(&now, marked);
            if here > 0.0 {
                for (sum, weights) in sums.iter_mut().zip(weights) {
                    *sum += weights.at(tick) * here;
                }
            }
            if tick == last {
                break;
            }
            if tick % WATCH_EVERY == 0
                && let Some(rest) = self.rest(&now, last - tick)
            {
                rest.add_marked(&mut sums, (&now, marked), weights, tick + 1..last + 1);
                break;
            }
            clock.spend(self.size)?;
            self.tick(&now, &mut next);
            std::mem::swap(&mut now, &mut next);
        }
        Ok(sums)
    }

    /// Whether the states that can be left have come to rest among themselves: then they keep their proportions
    /// and only lose to the others. Relative changes never grow from tick to tick, since every tick only
    /// averages.
    fn rest(&self, now: &[f64], ticks_left: usize) -> Option<Rest<'_>> {
        let leaves = |state: usize| !self.absorbing.get(state).copied().unwrap_or_default();
        let mut lost = vec![0.0; now.len()];
        for (state, lost) in lost.iter_mut().enumerate().filter(|(state, _)| !leaves(*state)) {
            *lost = self.arriving(state, now);
        }
        let inside = now.iter().enumerate().filter(|(state, _)| leaves(*state));
        let inside: f64 = inside.map(|(_, value)| value).sum();
        let loss = if inside > 0.0 { lost.iter().sum::<f64>() / inside } else { 0.0 };
        let allowed = (REST_ERROR / as_float(ticks_left.max(1))).max(ROUNDING);
        let rests = |(state, now_here): (usize, &f64)| {
            let kept = (1.0 - loss) * now_here;
            let next = self.arriving(state, now) + at(&self.staying, state) * now_here;
            (next - kept).abs() <= allowed * kept || (*now_here > 0.0 && next < TINY)
        };
        let mut inside = now.iter().enumerate().filter(|(state, _)| leaves(*state));
        inside.all(rests).then_some(Rest { loss, lost, absorbing: &self.absorbing })
    }

    fn arriving(&self, state: usize, now: &[f64]) -> f64 {
        self.incoming.row(state).map(|(from, p)| p * at(now, from)).sum()
    }

    fn tick(&self, now: &[f64], next: &mut [f64]) {
        let staying = self.staying.iter().zip(now);
        for ((next, arriving), (stay, here)) in
            next.iter_mut().zip(self.incoming.products(now)).zip(staying)
        {
            *next = arriving + stay * here;
        }
    }
}

fn add(sum: &mut [f64], state: &[f64], share: f64) {
    for (sum, value) in sum.iter_mut().zip(state) {
        *sum += share * value;
    }
}

/// A chain of which nothing changes any more but what it loses to states that are never left.
struct Rest<'a> {
    /// The share lost in each tick.
    loss: f64,
    /// To which states it goes.
    lost: Vec<f64>,
    absorbing: &'a [bool],
}

impl Rest<'_> {
    /// Adds all ticks from `tick` on; `before` is the distribution one tick earlier.
    fn add_ticks(&self, sum: &mut [f64], before: &[f64], weights: &Weights, tick: usize) {
        let (mut kept, mut gone) = (1.0, 0.0);
        let (mut all, mut left, mut moved) = (0.0, 0.0, 0.0);
        for tick in tick..=weights.last() {
            // Shares of one tick's loss that have gone so far, without a difference anywhere.
            gone += kept;
            kept *= 1.0 - self.loss;
            let share = weights.at(tick);
            all += share;
            left += share * kept;
            moved += share * gone;
        }
        let states = sum.iter_mut().zip(before).zip(self.lost.iter().zip(self.absorbing));
        for ((sum, before), (lost, absorbs)) in states {
            *sum += if *absorbs { all * before + moved * lost } else { left * before };
        }
    }
}

impl Rest<'_> {
    /// Adds what is in marked states in all of these ticks; `before` is the distribution one tick earlier.
    fn add_marked(
        &self,
        sums: &mut [f64],
        (before, marked): (&[f64], &[bool]),
        weights: &[Weights],
        ticks: std::ops::Range<usize>,
    ) {
        let absorbs = |state: usize| self.absorbing.get(state).copied().unwrap_or_default();
        let chosen = marked.iter().enumerate().filter(|(_, marked)| **marked);
        let (mut absorbed, mut leaving, mut lost) = (0.0, 0.0, 0.0);
        for (state, _) in chosen {
            *(if absorbs(state) { &mut absorbed } else { &mut leaving }) += at(before, state);
            lost += at(&self.lost, state);
        }
        let (mut kept, mut gone) = (1.0, 0.0);
        for tick in ticks {
            gone += kept;
            kept *= 1.0 - self.loss;
            let here = absorbed + gone * lost + kept * leaving;
            for (sum, weights) in sums.iter_mut().zip(weights) {
                *sum += weights.at(tick) * here;
            }
        }
    }
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
