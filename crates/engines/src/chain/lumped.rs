//! A service as a chain that counts the servers of each group in each state.

use std::collections::HashMap;
use std::rc::Rc;

use super::local::Local;
use super::size;
use super::sparse::{Sparse, number};
use super::transitions;
use super::{Chain, EngineError, STAGES_MAX, STATES_MAX, TRANSITIONS_MAX};
use crate::error::{positive, within};
use crate::service::{Property, Schedule, Service};

/// The most outcomes of events that are looked at, equal ones included: half a minute.
const OUTCOMES: usize = 5 * TRANSITIONS_MAX;
/// The most outcomes of one shock.
const SPREAD: usize = 100_000;
/// The state that stands for all failures in a chain that ends with the first.
const FAILED: u32 = 1;

/// A service as a chain, with the states in which one property fails.
#[derive(Clone, Debug)]
pub struct ServiceChain {
    chain: Chain,
    failed: Vec<bool>,
}

impl ServiceChain {
    /// The chain that ends at the first failure of `property`: for [`ServiceChain::failed_at`] as the
    /// probability to have failed by then, and for [`ServiceChain::mean_time_to_failure`].
    ///
    /// `stages`: how many Erlang stages stand for each fixed period, from 1 (exponential) to
    /// [`STAGES_MAX`]; without fixed periods it changes nothing. Cost: states x events that can happen in
    /// each.
    ///
    /// # Errors
    /// Those of [`Service::check`]; [`EngineError::TooManyStates`], [`EngineError::TooManyTransitions`],
    /// [`EngineError::OutOfRange`] of the stages.
    pub fn until_failure(
        service: &Service,
        property: Property,
        stages: u32,
    ) -> Result<Self, EngineError> {
        Explorer::new(service, property, stages, true)?.explore(STATES_MAX)
    }

    /// The chain that goes on after failures: for [`ServiceChain::failed_at`] as the probability to be
    /// failed just then, and for [`ServiceChain::failed_share`].
    ///
    /// # Errors
    /// As [`ServiceChain::until_failure`]; [`EngineError::NoRecovery`] for confidentiality.
    pub fn with_repair(
        service: &Service,
        property: Property,
        stages: u32,
    ) -> Result<Self, EngineError> {
        if property == Property::Confidentiality {
            return Err(EngineError::NoRecovery);
        }
        Explorer::new(service, property, stages, false)?.explore(STATES_MAX)
    }

    /// The most states that the chain may have, counted without building it; saturates.
    ///
    /// `ends`: of [`ServiceChain::until_failure`], otherwise of [`ServiceChain::with_repair`].
    ///
    /// # Errors
    /// Those of [`Service::check`].
    pub fn state_bound(
        service: &Service,
        property: Property,
        stages: u32,
        ends: bool,
    ) -> Result<u64, EngineError> {
        Ok(Explorer::new(service, property, stages, ends)?.bound())
    }

    /// How many outcomes of events are looked at while the chain is built, or transitions where these are more,
    /// counted without building it; saturates.
    ///
    /// # Errors
    /// Those of [`Service::check`].
    pub fn outcome_bound(
        service: &Service,
        property: Property,
        stages: u32,
        ends: bool,
    ) -> Result<u64, EngineError> {
        let count = Explorer::new(service, property, stages, ends)?.transitions();
        Ok(whole(count.outcomes.max(count.transitions)))
    }

    /// Refuses a chain for its transitions as building it does, without building it; that it has too many states
    /// is not looked at.
    ///
    /// # Errors
    /// Those of [`Service::check`]; [`EngineError::TooManyTransitions`].
    pub fn check_transitions(
        service: &Service,
        property: Property,
        stages: u32,
        ends: bool,
    ) -> Result<(), EngineError> {
        Explorer::new(service, property, stages, ends)?.check_transitions()
    }

    /// Number of states.
    #[must_use]
    pub fn state_count(&self) -> usize {
        self.chain.state_count()
    }

    /// The chain itself. It begins in state 0.
    #[must_use]
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// Whether the property fails in each state.
    #[must_use]
    pub fn failed_states(&self) -> &[bool] {
        &self.failed
    }

    /// The probability to be failed at `time`, hours.
    ///
    /// # Errors
    /// As [`Chain::transient`].
    pub fn failed_at(&self, time: f64) -> Result<f64, EngineError> {
        Ok(self.failed_curve(&[time])?.into_iter().sum())
    }

    /// The probability to be failed at each of `times`, hours, not decreasing.
    ///
    /// # Errors
    /// As [`Chain::transient`].
    pub fn failed_curve(&self, times: &[f64]) -> Result<Vec<f64>, EngineError> {
        self.chain.probability_in(&self.failed, times)
    }

    /// The mean hours until the property first fails.
    ///
    /// # Errors
    /// As [`Chain::mean_time_to`].
    pub fn mean_time_to_failure(&self) -> Result<f64, EngineError> {
        self.chain.mean_time_to(&self.failed)
    }

    /// The share of time failed in the long run, of a chain [`ServiceChain::with_repair`]: one minus it is
    /// the availability. 1 for one that ends with the first failure.
    ///
    /// # Errors
    /// As [`Chain::long_run`].
    pub fn failed_share(&self) -> Result<f64, EngineError> {
        let shares = self.chain.long_run()?;
        let failed = shares.iter().zip(&self.failed).filter(|(_, failed)| **failed);
        Ok(failed.map(|(share, _)| share).sum::<f64>().min(1.0))
    }

    /// The mean share of the time from 0 to `time` (hours, above 0) during which it is failed.
    ///
    /// # Errors
    /// As [`Chain::share_in`].
    pub fn failed_share_by(&self, time: f64) -> Result<f64, EngineError> {
        self.chain.share_in(&self.failed, time)
    }
}

/// How many servers are in each local state, group after group; last the stage of the share epoch. Kept once,
/// known by number and by content.
type Census = Rc<[u8]>;

/// A possible state after an event, with its probability.
type Outcomes = Vec<(Census, f64)>;

pub(super) struct Explorer<'a> {
    service: &'a Service,
    property: Property,
    ends: bool,
    locals: Vec<Local>,
    /// Where the counts of each group begin.
    offsets: Vec<usize>,
    /// Rate of the stages of a share epoch, and how many there are, where epochs matter.
    epoch: Option<(f64, u8)>,
    numbers: HashMap<Census, u32>,
    found: Vec<Census>,
    states_max: usize,
    /// Outcomes of events looked at so far.
    looked_at: usize,
}

impl<'a> Explorer<'a> {
    pub(super) fn new(
        service: &'a Service,
        property: Property,
        stages: u32,
        ends: bool,
    ) -> Result<Self, EngineError> {
        service.check()?;
        within("the number of stages", stages.into(), 1, STAGES_MAX.into())?;
        let of = |(number, group)| Local::of(group, service.turns(number), property, stages);
        let locals: Vec<Local> = service.groups.iter().enumerate().map(of).collect();
        let mut offsets = Vec::with_capacity(locals.len());
        let mut offset = 0;
        for local in &locals {
            offsets.push(offset);
            offset += local.states.len();
        }
        let confidential = property == Property::Confidentiality;
        let epoch = service.refresh.filter(|_| confidential).map(|refresh| {
            let stages = if refresh.schedule == Schedule::Fixed { stages } else { 1 };
            (f64::from(stages) / refresh.every, u8::try_from(stages).unwrap_or(u8::MAX))
        });
        let (numbers, found) = (HashMap::new(), Vec::new());
        Ok(Self {
            service,
            property,
            ends,
            locals,
            offsets,
            epoch,
            numbers,
            found,
            states_max: 0,
            looked_at: 0,
        })
    }

    /// Finds every state, unless there are more than `states_max`.
    pub(super) fn explore(mut self, states_max: usize) -> Result<ServiceChain, EngineError> {
        // Counting is quick, and building what is refused in the end is not.
        if self.bound() <= u64::try_from(states_max).unwrap_or(u64::MAX) {
            self.check_transitions()?;
        }
        self.states_max = states_max;
        self.number_of(self.initial())?;
        if self.ends {
            // State 1 is all failures; nothing counts its servers.
            self.found.push(Census::from([]));
        }
        let mut rates = Sparse::with_capacity(0, 0);
        let mut next = 0;
        let mut row = Vec::new();
        while let Some(census) = self.found.get(next).cloned() {
            next += 1;
            row.clear();
            if !census.is_empty() {
                self.events(&census, &mut row)?;
            }
            rates.push_row(&mut row);
            if rates.entries() > TRANSITIONS_MAX {
                return Err(too_many(rates.entries()));
            }
        }
        let failed = self.found.iter().map(|census| census.is_empty() || self.is_failed(census));
        let failed = failed.collect();
        Ok(ServiceChain { chain: Chain::new(rates, 0), failed })
    }

    fn initial(&self) -> Census {
        let length = self.locals.iter().map(|local| local.states.len()).sum::<usize>() + 1;
        let mut census = vec![0; length];
        for (local, offset) in self.locals.iter().zip(&self.offsets) {
            for state in &local.initial {
                bump(&mut census, offset + state, 1);
            }
        }
        census.into()
    }

    /// The number of a state, a new one if it was not seen before.
    fn number_of(&mut self, census: Census) -> Result<u32, EngineError> {
        if self.ends && !self.found.is_empty() && self.is_failed(&census) {
            return Ok(FAILED);
        }
        if let Some(known) = self.numbers.get(&census) {
            return Ok(*known);
        }
        if self.found.len() >= self.states_max {
            let most = self.states_max;
            return Err(EngineError::TooManyStates { wanted: self.bound(), most });
        }
        let number = number(self.found.len());
        self.found.push(census.clone());
        self.numbers.insert(census, number);
        Ok(number)
    }

    /// How many states there are when every count occurs with every other.
    fn bound(&self) -> u64 {
        let epoch = self.epoch.map_or(1, |(_, stages)| u64::from(stages));
        size::bound(self.service, self.property, &self.locals, epoch, self.ends)
    }

    /// Refuses what would have too many transitions, or take too long to build, by their number.
    fn check_transitions(&self) -> Result<(), EngineError> {
        let count = self.transitions();
        let is_large = count.transitions > TRANSITIONS_MAX as f64;
        if is_large || count.outcomes > OUTCOMES as f64 {
            let wanted = whole(if is_large { count.transitions } else { count.outcomes });
            return Err(EngineError::TooManyTransitions { wanted, most: TRANSITIONS_MAX });
        }
        Ok(())
    }

    /// What its events come to, counted.
    pub(super) fn transitions(&self) -> transitions::Count {
        let epoch = self.epoch.map_or(1, |(_, stages)| u64::from(stages));
        transitions::count(self.service, self.property, &self.locals, epoch, self.ends)
    }

    fn is_failed(&self, census: &[u8]) -> bool {
        let (mut intruded, mut exposed, mut missing) = (0_u32, 0_u32, 0_u32);
        let states =
            self.locals.iter().flat_map(|local| local.states.iter().map(move |it| (local, it)));
        for ((local, state), count) in states.zip(census) {
            let count = u32::from(*count);
            intruded += if state.is_intruded() { count } else { 0 };
            exposed += if state.is_exposed { count } else { 0 };
            missing += count * local.missing(*state);
        }
        let spare = self.service.server_count().saturating_sub(self.service.quorum);
        match self.property {
            Property::Confidentiality => exposed > self.service.tolerated,
            Property::Integrity => intruded > self.service.tolerated,
            Property::Availability => missing > spare,
        }
    }

    /// Everything that can happen in a state.
    fn events(&mut self, census: &[u8], row: &mut Vec<(u32, f64)>) -> Result<(), EngineError> {
        let crowd = self.crowd(census);
        for group in 0..self.locals.len() {
            self.events_of_group(group, crowd, census, row)?;
        }
        if let Some((rate, stages)) = self.epoch {
            let next = self.refreshed(census, stages);
            self.happen(census, vec![(next, 1.0)], rate, row)?;
        }
        let service = self.service;
        for shock in &service.shocks {
            let mut outcomes = vec![(Census::from(census), 1.0)];
            for hit in &shock.hits {
                outcomes = self.hit(hit.group, hit.count, outcomes)?;
            }
            self.happen(census, outcomes, shock.rate, row)?;
        }
        Ok(())
    }

    fn happen(
        &mut self,
        census: &[u8],
        outcomes: Outcomes,
        rate: f64,
        row: &mut Vec<(u32, f64)>,
    ) -> Result<(), EngineError> {
        self.looked_at = self.looked_at.saturating_add(outcomes.len());
        if self.looked_at > OUTCOMES {
            return Err(too_many(self.looked_at));
        }
        for (next, probability) in outcomes {
            let rate = rate * probability;
            if *next != *census && rate > 0.0 {
                positive("the rate of a transition", rate)?;
                row.push((self.number_of(next)?, rate));
            }
        }
        Ok(())
    }

    /// How many servers of all groups wait for the one crew.
    fn crowd(&self, census: &[u8]) -> f64 {
        let groups = self.locals.iter().zip(&self.offsets);
        let waiting = groups.flat_map(|(local, offset)| {
            let shared = local.transitions.iter().filter(|it| it.is_shared);
            shared.filter_map(move |it| census.get(offset + it.from))
        });
        waiting.map(|count| f64::from(*count)).sum()
    }

    fn events_of_group(
        &mut self,
        group: usize,
        crowd: f64,
        census: &[u8],
        row: &mut Vec<(u32, f64)>,
    ) -> Result<(), EngineError> {
        let (Some(offset), Some(local)) = (self.offsets.get(group), self.locals.get(group)) else {
            return Ok(());
        };
        let offset = *offset;
        let count = |state: usize| f64::from(census.get(offset + state).copied().unwrap_or(0));
        let mut events = Vec::new();
        for transition in &local.transitions {
            let servers = count(transition.from);
            let share =
                if transition.is_shared && servers > 0.0 { servers / crowd } else { servers };
            events.push((transition.from, transition.to, share * transition.rate));
        }
        let attack = self.service.groups.get(group).map_or(0.0, |group| group.intrusion_rate);
        for (from, outcomes) in local.struck.iter().enumerate() {
            for (to, probability) in outcomes {
                events.push((from, *to, count(from) * attack * probability));
            }
        }
        for (from, to, rate) in events.into_iter().filter(|(_, _, rate)| *rate > 0.0) {
            let next = moved(census, offset + from, offset + to, 1);
            self.happen(census, vec![(next, 1.0)], rate, row)?;
        }
        Ok(())
    }

    fn refreshed(&self, census: &[u8], stages: u8) -> Census {
        let mut next: Vec<u8> = census.to_vec();
        let stage = next.last().copied().unwrap_or_default() + 1;
        if let Some(last) = next.last_mut() {
            *last = if stage < stages { stage } else { 0 };
        }
        if stage < stages {
            return next.into();
        }
        for (local, offset) in self.locals.iter().zip(&self.offsets) {
            for (from, to) in local.refreshed.iter().enumerate().filter(|(from, to)| from != *to) {
                let count = census.get(offset + from).copied().unwrap_or_default();
                next = moved(&next, offset + from, offset + to, count).to_vec();
            }
        }
        next.into()
    }

    /// Draws `count` servers of a group at random and intrudes those that are clean.
    fn hit(&self, group: usize, count: u32, outcomes: Outcomes) -> Result<Outcomes, EngineError> {
        let (Some(offset), Some(local)) = (self.offsets.get(group), self.locals.get(group)) else {
            return Ok(outcomes);
        };
        let servers = self.service.groups.get(group).map_or(0, |group| group.count);
        let mut result = Vec::new();
        for (census, probability) in outcomes {
            // Who was hit so far, of how many: the draw without putting back, state by state.
            let mut partial = vec![(census.clone(), probability, count)];
            let mut rest = servers;
            for (state, struck) in local.struck.iter().enumerate().filter(|(_, to)| !to.is_empty())
            {
                let there = u32::from(census.get(offset + state).copied().unwrap_or_default());
                if there == 0 {
                    continue;
                }
                let mut next = Vec::new();
                for (census, probability, left) in partial {
                    for (hit, chance) in drawn(rest, there, left) {
                        let split = spread(&census, *offset, state, struck, hit);
                        let split = split.into_iter();
                        next.extend(
                            split.map(|(to, p)| (to, probability * chance * p, left - hit)),
                        );
                    }
                }
                if result.len() + next.len() > SPREAD {
                    return Err(too_many(OUTCOMES));
                }
                partial = next;
                rest -= there;
            }
            result
                .extend(partial.into_iter().map(|(census, probability, _)| (census, probability)));
        }
        Ok(result)
    }
}

/// Saturates.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts are positive")]
fn whole(count: f64) -> u64 {
    count as u64
}

fn too_many(wanted: usize) -> EngineError {
    let wanted = u64::try_from(wanted).unwrap_or(u64::MAX);
    EngineError::TooManyTransitions { wanted, most: TRANSITIONS_MAX }
}

/// The chances to find 0, 1, ... of `there` servers among `left` drawn out of `all`.
fn drawn(all: u32, there: u32, left: u32) -> Vec<(u32, f64)> {
    let others = all - there;
    let least = left.saturating_sub(others);
    let most = left.min(there);
    // Ratios of neighbouring terms; the sum then scales them.
    let mut term = 1.0;
    let mut terms = Vec::new();
    for hit in least..=most {
        terms.push((hit, term));
        let (hit, left) = (f64::from(hit), f64::from(left));
        let missing = f64::from(others) - left + hit + 1.0;
        term *= (f64::from(there) - hit) * (left - hit) / ((hit + 1.0) * missing);
    }
    let sum: f64 = terms.iter().map(|(_, term)| term).sum();
    terms.into_iter().map(|(hit, term)| (hit, term / sum)).collect()
}

/// `hit` servers of one state spread over what an intrusion leads to.
fn spread(
    census: &[u8],
    offset: usize,
    state: usize,
    struck: &[(usize, f64)],
    hit: u32,
) -> Outcomes {
    let count = u8::try_from(hit).unwrap_or(u8::MAX);
    match struck {
        [(first, p), (second, q)] => {
            let mut chance = q.powi(i32::from(count));
            let mut outcomes = Vec::with_capacity(usize::from(count) + 1);
            for noticed in 0..=count {
                let next = moved(census, offset + state, offset + first, noticed);
                let next = moved(&next, offset + state, offset + second, count - noticed);
                outcomes.push((next, chance));
                chance *= f64::from(count - noticed) / f64::from(noticed + 1) * (p / q);
            }
            outcomes
        }
        [(only, _)] => vec![(moved(census, offset + state, offset + only, count), 1.0)],
        _ => vec![(Census::from(census), 1.0)],
    }
}

fn moved(census: &[u8], from: usize, to: usize, count: u8) -> Census {
    let mut next = census.to_vec();
    if let Some(place) = next.get_mut(from) {
        *place -= count;
    }
    bump(&mut next, to, count);
    next.into()
}

fn bump(census: &mut [u8], place: usize, count: u8) {
    if let Some(place) = census.get_mut(place) {
        *place += count;
    }
}
