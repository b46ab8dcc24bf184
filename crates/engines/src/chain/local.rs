//! The states of one server of a group, and how it moves between them by itself.

use crate::service::Turns;
use crate::{Crew, Property, Schedule, ServerGroup};

/// In which condition a server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    Clean,
    /// Intruded, and will be noticed.
    Latent,
    /// Intruded, and nobody will notice.
    Hidden,
    /// Intruded, noticed, not yet recovered.
    Recovering,
    /// Absent: being rejuvenated.
    Rejuvenating,
    /// Absent: out of order.
    Out,
}

/// A state of one server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LocalState {
    pub(crate) condition: Condition,
    /// Stages of the rejuvenation period that are over.
    pub(crate) stage: u32,
    /// Whether its share leaked in this epoch. Always so while it is intruded.
    pub(crate) is_exposed: bool,
}

impl LocalState {
    pub(crate) fn is_intruded(self) -> bool {
        matches!(self.condition, Condition::Latent | Condition::Hidden | Condition::Recovering)
    }

    pub(crate) fn is_clean(self) -> bool {
        self.condition == Condition::Clean
    }
}

/// What a server does by itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LocalTransition {
    pub(crate) from: usize,
    pub(crate) to: usize,
    /// Per hour, of one server in state `from`.
    pub(crate) rate: f64,
    /// Whether the rate is that of one crew for all servers that wait for it.
    pub(crate) is_shared: bool,
}

/// The automaton of one server.
#[derive(Clone, Debug)]
pub(crate) struct Local {
    pub(crate) states: Vec<LocalState>,
    pub(crate) transitions: Vec<LocalTransition>,
    /// Where an intrusion leads from each state, with which probability; nowhere unless it is clean.
    pub(crate) struck: Vec<Vec<(usize, f64)>>,
    /// Where a refresh of shares leads from each state.
    pub(crate) refreshed: Vec<usize>,
    /// The state in which each server begins.
    pub(crate) initial: Vec<usize>,
    /// Servers that are absent with each that is being rejuvenated.
    pub(crate) others: u32,
}

impl Local {
    /// `turns`: of the group; `stages`: at least 1, of a fixed rejuvenation period.
    pub(crate) fn of(group: &ServerGroup, turns: Turns, property: Property, stages: u32) -> Self {
        let stages = match group.rejuvenation {
            Some(rejuvenation) if rejuvenation.schedule == Schedule::Fixed => stages.max(1),
            _ => 1,
        };
        let mut builder = Builder { group, stages, states: Vec::new(), transitions: Vec::new() };
        builder.enumerate(property == Property::Confidentiality);
        builder.connect();
        let struck = builder.states.iter().map(|state| builder.struck(*state)).collect();
        let refreshed = builder.states.iter().map(|state| builder.refreshed(*state)).collect();
        let initial = builder.initial(turns);
        let Builder { states, transitions, .. } = builder;
        let others = group.rejuvenation.map_or(0, |it| it.others());
        Self { states, transitions, struck, refreshed, initial, others }
    }

    /// Servers that do not answer while one is in this state.
    pub(crate) fn missing(&self, state: LocalState) -> u32 {
        match state.condition {
            Condition::Clean => 0,
            Condition::Rejuvenating => 1 + self.others,
            _ => 1,
        }
    }
}

struct Builder<'a> {
    group: &'a ServerGroup,
    stages: u32,
    states: Vec<LocalState>,
    transitions: Vec<LocalTransition>,
}

impl Builder<'_> {
    fn enumerate(&mut self, tracks_exposure: bool) {
        let (noticed, unnoticed) = self.detected();
        let group = self.group;
        let is_latent = noticed > 0.0 && group.detection.latency > 0.0;
        let is_rejuvenating = group.rejuvenation.is_some_and(|it| it.downtime > 0.0);
        let conditions = [
            (Condition::Clean, true),
            (Condition::Latent, is_latent),
            (Condition::Hidden, unnoticed > 0.0),
            (Condition::Recovering, noticed > 0.0),
            (Condition::Out, group.outage.is_some()),
            (Condition::Rejuvenating, is_rejuvenating),
        ];
        for (condition, _) in conditions.into_iter().filter(|(_, exists)| *exists) {
            let stages = if condition == Condition::Rejuvenating { 1 } else { self.stages };
            for stage in 0..stages {
                let state = LocalState { condition, stage, is_exposed: false };
                if !state.is_intruded() {
                    self.states.push(state);
                }
                if tracks_exposure || state.is_intruded() {
                    self.states.push(LocalState { is_exposed: true, ..state });
                }
            }
        }
    }

    /// The probabilities that an intrusion is noticed and recovered from, and that it is not.
    fn detected(&self) -> (f64, f64) {
        match self.group.recovery {
            Some(_) => {
                let noticed = self.group.detection.probability;
                (noticed, 1.0 - noticed)
            }
            None => (0.0, 1.0),
        }
    }

    fn connect(&mut self) {
        for state in self.states.clone() {
            self.connect_condition(state);
            self.connect_rejuvenation(state);
        }
    }

    fn connect_condition(&mut self, state: LocalState) {
        let clean = LocalState { condition: Condition::Clean, ..state };
        match (state.condition, self.group.recovery, self.group.outage) {
            (Condition::Clean, _, Some(outage)) => {
                self.add(state, LocalState { condition: Condition::Out, ..state }, outage.rate);
            }
            (Condition::Out, _, Some(outage)) => self.add(state, clean, outage.duration.recip()),
            (Condition::Latent, _, _) => {
                let recovering = LocalState { condition: Condition::Recovering, ..state };
                self.add(state, recovering, self.group.detection.latency.recip());
            }
            (Condition::Recovering, Some(recovery), _) => {
                self.add(state, self.left_behind(clean), recovery.rate);
                if let Some(last) = self.transitions.last_mut() {
                    last.is_shared = recovery.crew == Crew::Single;
                }
            }
            _ => {}
        }
    }

    fn connect_rejuvenation(&mut self, state: LocalState) {
        let Some(rejuvenation) = self.group.rejuvenation else { return };
        let clean = LocalState { condition: Condition::Clean, stage: 0, ..state };
        if state.condition == Condition::Rejuvenating {
            return self.add(state, clean, rejuvenation.downtime.recip());
        }
        let rate = f64::from(self.stages) / rejuvenation.uptime();
        if state.stage + 1 < self.stages {
            return self.add(state, LocalState { stage: state.stage + 1, ..state }, rate);
        }
        let expelled = if state.is_intruded() { rejuvenation.expels } else { 1.0 };
        self.add(state, LocalState { stage: 0, ..state }, rate * (1.0 - expelled));
        let absent = match rejuvenation.downtime > 0.0 {
            true => rejuvenation.leads(),
            false => 0.0,
        };
        let away = LocalState { condition: Condition::Rejuvenating, ..clean };
        if absent > 0.0 {
            self.add(state, self.left_behind(away), rate * expelled * absent);
        }
        self.add(state, self.left_behind(clean), rate * expelled * (1.0 - absent));
    }

    /// A server that is no longer intruded still has leaked its share, where that is kept track of.
    fn left_behind(&self, state: LocalState) -> LocalState {
        if self.states.contains(&state) { state } else { LocalState { is_exposed: false, ..state } }
    }

    fn add(&mut self, from: LocalState, to: LocalState, rate: f64) {
        if from == to || rate <= 0.0 {
            return;
        }
        let transition =
            LocalTransition { from: self.index(from), to: self.index(to), rate, is_shared: false };
        self.transitions.push(transition);
    }

    fn struck(&self, state: LocalState) -> Vec<(usize, f64)> {
        if !state.is_clean() {
            return Vec::new();
        }
        let (noticed, unnoticed) = self.detected();
        let first = if self.group.detection.latency > 0.0 {
            Condition::Latent
        } else {
            Condition::Recovering
        };
        let outcomes = [(first, noticed), (Condition::Hidden, unnoticed)];
        let likely = outcomes.into_iter().filter(|(_, probability)| *probability > 0.0);
        likely
            .map(|(condition, probability)| {
                let to = LocalState { condition, is_exposed: true, ..state };
                (self.index(to), probability)
            })
            .collect()
    }

    fn refreshed(&self, state: LocalState) -> usize {
        let is_exposed = state.is_intruded();
        self.index(LocalState { is_exposed, ..state })
    }

    /// Servers take turns: the first is due after one share of the period, the last after all of it.
    fn initial(&self, turns: Turns) -> Vec<usize> {
        let clean = LocalState { condition: Condition::Clean, stage: 0, is_exposed: false };
        let stage = |server: u32| {
            let (turn, all) = turns.of(server);
            self.stages - (self.stages * turn).div_ceil(all.max(1))
        };
        let servers = 0..self.group.count;
        servers.map(|it| self.index(LocalState { stage: stage(it), ..clean })).collect()
    }

    fn index(&self, state: LocalState) -> usize {
        let found = self.states.iter().position(|known| *known == state);
        found.expect("every condition that has transitions is enumerated")
    }
}
