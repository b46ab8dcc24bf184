//! Block agreement by a majority of wormholes: every order of proposals, frames and wake-ups.
//!
//! The wormholes are the product's own cores (`wormholes.rs`). Each has a clock of its
//! own, and a frame arrives at any time after it was sent, or never: whoever is not woken or not told is
//! late or silent. How often wormholes are woken is bounded, in all. Who decides tells the others; that
//! frame counts as told, and is heard only where all are timely, since who heard it says the same.
//!
//! Left out: other frames than those of the agreement, and wormholes that start again.

use std::collections::BTreeSet;

use ravelin_wormhole::core::{Engine, Nanos};
use ravelin_wormhole::frame::{Agreement, DecisionFunction, Standing, Value};
use stateright::{Model, Property};

use crate::wormholes::{Come, Deed, FrameId, HORIZON, Kind, Past, What, Wormholes};

/// From the beginning to the agreement's start.
const T0: Nanos = Nanos::from_millis(1);

/// What is agreed on by how many wormholes.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    /// Wormholes.
    pub count: usize,
    /// What the processes of the first of them propose; the agreement's list holds these processes.
    pub proposals: &'static [Option<Value>],
    /// How that becomes one value.
    pub function: DecisionFunction,
}

impl Question {
    pub(crate) fn wormholes(self, engine: Engine) -> Wormholes {
        Wormholes::new(self.count, engine).about(|entities, latest| {
            let elist = &entities[..self.proposals.len()];
            Agreement::new(elist, latest.after(T0), self.function).expect("a list")
        })
    }

    /// Whether nobody told another decision than anybody else, and what they told is of what was proposed.
    pub(crate) fn is_kept(self, come: &[Come]) -> bool {
        let said: BTreeSet<FrameId> = come.iter().flat_map(|come| come.decided.clone()).collect();
        let mut told = come.iter().filter_map(|come| come.told);
        let Some(first) = told.next() else { return said.len() <= 1 };
        let is_in = |mask: u16, at: usize| mask >> at & 1 == 1;
        let (value, any, ok) = (first.value, first.proposed_any, first.proposed_ok);
        let is_true = |at: usize| {
            let has_proposed = come[at].standing == Some(Standing::Taken);
            let supports = is_in(any, at) && value.is_some() && self.proposals[at] == value;
            (!is_in(any, at) || has_proposed) && is_in(ok, at) == supports
        };
        let is_senders = match self.function {
            DecisionFunction::ReliableMulticast => {
                value == self.proposals[0].filter(|_| is_in(any, 0))
            }
            _ => true,
        };
        said.len() <= 1
            && told.all(|other| other == first)
            && (0..self.proposals.len()).all(is_true)
            && (value.is_none() || ok != 0)
            && is_senders
    }
}

/// The model.
pub struct Majority {
    wormholes: Wormholes,
    question: Question,
    /// How often anybody may be woken.
    wakes_max: usize,
    /// Whether all propose, and each frame arrives before anybody is woken.
    is_timely: bool,
}

/// Everything at a moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pasts: Vec<Past>,
    /// Frames on their way, and to whom.
    on_way: BTreeSet<(usize, FrameId)>,
    wakes: usize,
}

/// What happens at which wormhole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Its host's process proposes.
    Propose(usize),
    /// A frame arrives.
    Hear(usize, FrameId),
    /// It is woken, when that is due by its clock.
    Wake(usize),
}

impl Step {
    /// Where that is, and what it is.
    pub(crate) fn of(self, question: &Question) -> (usize, What) {
        match self {
            Self::Propose(at) => (at, What::Propose(question.proposals[at])),
            Self::Hear(at, frame) => (at, What::Hear(frame)),
            Self::Wake(at) => (at, What::Wake),
        }
    }
}

impl Majority {
    /// All runs in which wormholes are woken so many times at most.
    #[must_use]
    pub fn new(question: Question, wakes_max: usize) -> Self {
        let wormholes = question.wormholes(Engine::Quorum);
        Self { wormholes, question, wakes_max, is_timely: false }
    }

    /// All runs in which every process proposes, and frames arrive in time.
    #[must_use]
    pub fn timely(question: Question) -> Self {
        Self { is_timely: true, ..Self::new(question, 0) }
    }

    fn come(&self, state: &State) -> Vec<Come> {
        state.pasts.iter().map(|past| self.wormholes.come(*past)).collect()
    }

    /// Whether all are told, where that must be.
    fn are_told(&self, state: &State) -> bool {
        let mut steps = vec![];
        self.actions(state, &mut steps);
        let come = self.come(state);
        let mut proposers = come.iter().take(self.question.proposals.len());
        !self.is_timely || !steps.is_empty() || proposers.all(|come| come.told.is_some())
    }
}

impl Model for Majority {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        let pasts = (0..self.question.count).map(|at| self.wormholes.beginning(at)).collect();
        vec![State { pasts, on_way: BTreeSet::new(), wakes: 0 }]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        let come = self.come(state);
        let places = || come.iter().zip(0..);
        let proposers = places().take(self.question.proposals.len());
        let silent = proposers.filter(|(come, _)| come.standing.is_none());
        steps.extend(silent.map(|(_, at)| Step::Propose(at)));
        steps.extend(state.on_way.iter().map(|(to, frame)| Step::Hear(*to, *frame)));
        let due = |come: &Come| come.due.filter(|due| *due < HORIZON);
        let dues = places().filter_map(|(come, at)| Some((due(come)?, at)));
        if !self.is_timely && state.wakes < self.wakes_max {
            steps.extend(dues.map(|(_, at)| Step::Wake(at)));
        } else if self.is_timely && steps.is_empty() {
            steps.extend(dues.min().map(|(_, at)| Step::Wake(at)));
        }
    }

    fn next_state(&self, state: &State, step: Step) -> Option<State> {
        let mut next = state.clone();
        let (at, what) = step.of(&self.question);
        let before = self.wormholes.come(state.pasts[at]);
        let due = before.due.filter(|_| what == What::Wake);
        let now = due.unwrap_or_default().max(before.now);
        let (past, come) = self.wormholes.follow(state.pasts[at], Deed { at: now, what });
        next.pasts[at] = past;
        match step {
            Step::Hear(_, frame) => drop(next.on_way.remove(&(at, frame))),
            Step::Wake(_) if !self.is_timely => next.wakes += 1,
            Step::Wake(_) | Step::Propose(_) => {}
        }
        let kind = |frame: &FrameId| self.wormholes.kind(*frame);
        let is_heard = |frame: &FrameId| self.is_timely || kind(frame) != Kind::Decided;
        next.on_way.extend(come.sent.iter().filter(|(_, frame)| is_heard(frame)));
        if come.has_ended() {
            next.on_way.retain(|(to, frame)| *to != at || kind(frame) != Kind::Answer);
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("one decision, of what was proposed", |model: &Self, state| {
                model.question.is_kept(&model.come(state))
            }),
            Property::always("all are told in the end", |model: &Self, state| {
                model.are_told(state)
            }),
            Property::sometimes("a value is decided", |model: &Self, state| {
                let come = model.come(state);
                come.iter().any(|come| come.told.is_some_and(|told| told.value.is_some()))
            }),
        ]
    }
}
