//! Block agreement by rounds of the common clock: every order of frames and wake-ups within the bound.
//!
//! The wormholes are the product's own cores (`wormholes.rs`), over one clock. A frame
//! arrives at once or as late as the bound allows, and a wormhole is woken at once or as late; how many of
//! both are late is bounded. One wormhole may fail: it stops at some moment, and of what it sent any part is
//! lost; or it is woken, and hears, as late as may be. Who decides tells the others, which is not heard: all
//! that take part must come to it by themselves.
//!
//! As the process around it does, a wormhole is told all that came before it does what is due, in which a
//! [`Slip`] can be planted.
//!
//! Left out: other frames than those of the agreement, and wormholes that start again.

use std::collections::BTreeSet;

use ravelin_wormhole::core::{Engine, Nanos};
use ravelin_wormhole::frame::Standing;
use stateright::{Model, Property};

use crate::agreement::{Question, Step};
use crate::wormholes::{BEGINNING, Come, Deed, FrameId, HORIZON, Kind, Past, What, Wormholes};

/// How late a wake-up may be, and how long a frame may take.
const BOUND: Nanos = Nanos::from_millis(2);
/// How long it takes at least.
const LEAST: Nanos = Nanos(1);

/// What the wormhole that fails does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failing {
    /// It stops.
    Stops,
    /// It is not woken in time, nor hears.
    IsLate,
}

/// What the process around a core does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slip {
    /// Nothing.
    None,
    /// It lets the core do what is due before that was told all that came.
    ActsUnheard,
}

/// The model.
pub struct Rounds {
    wormholes: Wormholes,
    question: Question,
    failing: Option<(usize, Failing)>,
    /// How many frames and wake-ups are late, of those that do not fail.
    delays_max: usize,
    slip: Slip,
    /// Whether what is said before the rounds is heard.
    is_early_heard: bool,
}

/// A frame on its way: until when, to whom.
type OnWay = (u64, usize, FrameId);

/// Everything at a moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    now: u64,
    pasts: Vec<Past>,
    on_way: BTreeSet<OnWay>,
    has_stopped: bool,
    /// What happens at one moment at several wormholes happens in their order.
    turn: usize,
    delays: usize,
}

/// What happens next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// That, at a wormhole.
    At(Step),
    /// Time passes.
    Tick,
    /// The one that fails stops.
    Stop,
}

impl Rounds {
    /// All runs in which this wormhole fails, if any does, and so much is late.
    #[must_use]
    pub fn new(question: Question, failing: Option<(usize, Failing)>, delays_max: usize) -> Self {
        let wormholes = question.wormholes(Engine::RealTime { bound: BOUND });
        Self { wormholes, question, failing, delays_max, slip: Slip::None, is_early_heard: true }
    }

    /// Those in which nothing is heard that was said before the rounds: they must suffice.
    #[must_use]
    pub fn alone(self) -> Self {
        Self { is_early_heard: false, ..self }
    }

    /// Those in which processes do this wrong.
    #[must_use]
    pub fn with(self, slip: Slip) -> Self {
        Self { slip, ..self }
    }

    fn come(&self, state: &State) -> Vec<Come> {
        state.pasts.iter().map(|past| self.wormholes.come(*past)).collect()
    }

    fn fails(&self, at: usize) -> bool {
        self.failing.is_some_and(|(failing, _)| failing == at)
    }

    fn is_down(&self, state: &State, at: usize) -> bool {
        state.has_stopped && self.fails(at)
    }

    fn is_late(&self, at: usize) -> bool {
        self.failing == Some((at, Failing::IsLate))
    }

    fn due(&self, state: &State, come: &[Come], at: usize) -> Option<u64> {
        let is_up = !self.is_down(state, at) && !come[at].is_halted;
        come[at].due.filter(|due| is_up && *due < HORIZON).map(|due| due.0)
    }

    /// When something may happen next, if ever; none while something must happen now.
    fn tick(&self, state: &State, come: &[Come]) -> Option<Option<u64>> {
        let mut times = vec![];
        for at in 0..self.question.count {
            let Some(due) = self.due(state, come, at) else { continue };
            let latest = due + BOUND.0;
            if latest <= state.now && !self.is_late(at) {
                return None;
            }
            times.extend([due, latest, latest + 1]);
        }
        for (latest, to, frame) in &state.on_way {
            let is_lost = self.is_down(state, self.wormholes.sender(*frame));
            if *latest <= state.now && !is_lost && !self.is_late(*to) {
                return None;
            }
            times.extend([earliest(*latest), *latest]);
        }
        Some(times.into_iter().filter(|time| *time > state.now).min())
    }

    /// How much was late once this moment is over.
    fn delays(&self, state: &State, come: &[Come]) -> usize {
        let is_due = |at: &usize| self.due(state, come, *at) == Some(state.now);
        let woken = (0..self.question.count).filter(|at| !self.fails(*at)).filter(is_due);
        let is_delayed = |(latest, to, frame): &&OnWay| {
            let is_lost = self.is_down(state, self.wormholes.sender(*frame));
            !self.fails(*to) && !is_lost && state.now == earliest(*latest)
        };
        state.delays + woken.count() + state.on_way.iter().filter(is_delayed).count()
    }

    /// Whether it is woken now: as early or as late as may be.
    fn is_woken(&self, state: &State, come: &[Come], at: usize) -> bool {
        let Some(due) = self.due(state, come, at) else { return false };
        let has_come = |(latest, to, _): &OnWay| *to == at && *latest < state.now;
        let is_deaf = self.slip != Slip::ActsUnheard && state.on_way.iter().any(has_come);
        !is_deaf && (state.now == due || state.now >= due + BOUND.0)
    }

    fn next_at(&self, state: &State, step: Step) -> State {
        let mut next = state.clone();
        let (at, what) = step.of(&self.question);
        let follow = |past, what| self.wormholes.follow(past, Deed { at: Nanos(state.now), what });
        let (mut past, mut come) = follow(state.pasts[at], what);
        let mut sent = come.sent.clone();
        while what == What::Wake
            && !come.is_halted
            && come.due.is_some_and(|due| due.0 <= state.now)
        {
            (past, come) = follow(past, what);
            sent.append(&mut come.sent);
        }
        (next.pasts[at], next.turn) = (past, at);
        next.on_way.retain(|(_, to, frame)| step != Step::Hear(*to, *frame));
        let is_heard = |(to, frame): &&(usize, FrameId)| {
            let kind = self.wormholes.kind(*frame);
            let is_early = kind == Kind::Proposal && !self.is_early_heard;
            kind != Kind::Decided && !is_early && !self.is_down(state, *to)
        };
        let latest = state.now + BOUND.0;
        next.on_way.extend(sent.iter().filter(is_heard).map(|(to, frame)| (latest, *to, *frame)));
        if come.is_halted {
            next.on_way.retain(|(_, to, _)| *to != at);
        }
        next
    }

    fn pass(&self, state: &State) -> Option<State> {
        let come = self.come(state);
        let now = self.tick(state, &come)??;
        let (turn, delays) = (0, self.delays(state, &come));
        let mut next = State { now, turn, delays, ..state.clone() };
        let sender = |frame| self.wormholes.sender(frame);
        let is_lost = |latest: u64, frame| latest <= now && self.is_down(state, sender(frame));
        next.on_way.retain(|(latest, _, frame)| !is_lost(*latest, *frame));
        Some(next)
    }

    fn stop(&self, state: &State) -> State {
        let mut next = State { has_stopped: true, ..state.clone() };
        next.on_way.retain(|(_, to, _)| !self.fails(*to));
        next
    }

    /// Whether all that do not fail were told, once nothing happens any more.
    fn are_told(&self, state: &State, come: &[Come]) -> bool {
        let is_owed = |at: usize| !self.fails(at) && come[at].standing == Some(Standing::Taken);
        self.tick(state, come) != Some(None)
            || (0..come.len()).all(|at| !is_owed(at) || come[at].told.is_some())
    }
}

/// When a frame arrives that does not take until `latest`.
fn earliest(latest: u64) -> u64 {
    latest - BOUND.0 + LEAST.0
}

impl Model for Rounds {
    type State = State;
    type Action = Next;

    fn init_states(&self) -> Vec<State> {
        let pasts = (0..self.question.count).map(|at| self.wormholes.beginning(at)).collect();
        let (now, on_way) = (BEGINNING.0, BTreeSet::new());
        vec![State { now, pasts, on_way, has_stopped: false, turn: 0, delays: 0 }]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Next>) {
        let come = self.come(state);
        let is_up = |at: usize| !come[at].is_halted && !self.is_down(state, at);
        let proposers = self.question.proposals.len();
        for at in (state.turn..self.question.count).filter(|at| is_up(*at)) {
            if at < proposers && come[at].standing.is_none() && state.now == BEGINNING.0 {
                steps.push(Next::At(Step::Propose(at)));
            }
            if self.is_woken(state, &come, at) {
                steps.push(Next::At(Step::Wake(at)));
            }
        }
        let is_here = |(latest, to, _): &&OnWay| {
            let arrives = state.now == earliest(*latest) || state.now >= *latest;
            *to >= state.turn && is_up(*to) && arrives
        };
        let here = state.on_way.iter().filter(is_here);
        steps.extend(here.map(|(_, to, frame)| Next::At(Step::Hear(*to, *frame))));
        if self.delays(state, &come) <= self.delays_max {
            steps.extend(self.tick(state, &come).flatten().map(|_| Next::Tick));
        }
        let may_stop = |(at, how): &(usize, Failing)| *how == Failing::Stops && is_up(*at);
        steps.extend(self.failing.filter(may_stop).map(|_| Next::Stop));
    }

    fn next_state(&self, state: &State, step: Next) -> Option<State> {
        match step {
            Next::At(step) => Some(self.next_at(state, step)),
            Next::Tick => self.pass(state),
            Next::Stop => Some(self.stop(state)),
        }
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("one decision, of what was proposed", |model: &Self, state| {
                model.question.is_kept(&model.come(state))
            }),
            Property::always("all are told in the end", |model: &Self, state| {
                model.are_told(state, &model.come(state))
            }),
            Property::always("only who is late stops itself", |model: &Self, state| {
                let come = model.come(state);
                (0..come.len()).all(|at| !come[at].is_halted || model.is_late(at))
            }),
            Property::sometimes("who is late stops itself", |model: &Self, state| {
                let may_be = (0..model.question.count).any(|at| model.is_late(at));
                !may_be || model.come(state).iter().any(|come| come.is_halted)
            }),
            Property::sometimes("a value is decided", |model: &Self, state| {
                let come = model.come(state);
                come.iter().any(|come| come.told.is_some_and(|told| told.value.is_some()))
            }),
        ]
    }
}
