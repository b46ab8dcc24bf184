//! Three processes, one multicast: every order of steps, proposals, copies and crashes.
//!
//! At most one process is intruded: the sender, which proposes and tells what it likes to whom it
//! likes, or a recipient. Correct processes are the product's own [`Brm`] over ideal wormholes of which
//! every proposal may be counted or, under [`Engine::Quorum`], come too late for the majority; the
//! sender's host may take so long that its proposal is refused. A process or its wormhole may stop
//! between any two steps, or, under a majority, a wormhole may give up learning what is decided. The network takes up to `od` copies between two processes, or changes their
//! data.
//!
//! Left out: how wormholes agree, which is what [`agreement`](crate::agreement) and [`rounds`](crate::rounds)
//! are about. Time is what it can be for the protocol: before `tstart`, and after.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ravelin_model::ttcb::{Entity, TrustedTime, Ttcb as _};
use ravelin_model::{Digest, ReplicaId, Time};
use ravelin_multicast::brm::{
    Action as Deed, Brm, Engine, Event, Header, Message, Packet, PairKey, Settings, Variant,
};
use stateright::{Model, Property};

use crate::ideal::Ideal;

/// Processes; the first one is the sender.
const PROCESSES: usize = 3;
/// Local time does not matter: everything is due at once.
const NOW: Time = Time(0);
/// From the multicast to its `tstart`.
const T0: Duration = Duration::from_millis(1);

/// What a message says: the sender's word, if that is correct, or something else.
const WORDS: [u8; 2] = [0, 1];

/// Who follows the protocol, what it is, and what else may happen.
#[derive(Clone, Copy, Debug)]
pub struct Multicasts {
    /// The protocol.
    pub variant: Variant,
    /// How the wormholes agree.
    pub engine: Engine,
    /// The intruded process, if one is.
    pub intruded: Option<usize>,
    /// Copies that may be taken between two processes.
    pub od: u16,
    /// Processes and wormholes that may stop.
    pub stops_max: usize,
}

/// Everything at a moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    processes: Vec<Brm>,
    wormholes: Ideal,
    /// Copies on their way to a correct process, and how many are alike.
    transit: BTreeMap<(usize, Packet), u8>,
    /// Copies taken between two processes.
    taken: BTreeMap<(usize, usize), u16>,
    /// What the intruder told whom.
    told: BTreeSet<(usize, u8)>,
    delivered: Vec<Vec<Arc<Message>>>,
    /// Processes that stopped, or whose wormhole did.
    stopped: BTreeSet<usize>,
    /// Processes that go on, but whose wormhole gives up.
    untold: BTreeSet<usize>,
    /// Whether an honest sender said that its multicast has ended.
    has_ended: bool,
    /// Whether the correct sender has begun, and its proposal was taken.
    begun: Option<bool>,
    has_started: bool,
}

/// What happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The correct sender multicasts.
    Multicast,
    /// A copy arrives.
    Arrive(usize, Packet),
    /// The network takes a copy, or changes its data.
    Take(usize, Packet, bool),
    /// A correct process looks at what is due.
    Turn(usize),
    /// `tstart` passes.
    Start,
    /// The intruder's wormhole proposes.
    Propose(Option<u8>),
    /// The intruder makes a copy.
    Tell(usize, u8),
    /// A process stops, or its wormhole.
    Stop(usize, bool),
    /// A wormhole gives up learning what is decided.
    GiveUp(usize),
}

fn entity(index: usize) -> Entity {
    Entity { replica: ReplicaId(index as u16), local: 1 }
}

fn key(one: usize, other: usize) -> PairKey {
    PairKey::new([(one.min(other) * PROCESSES + one.max(other)) as u8; 32])
}

/// The only multicast.
fn header() -> Header {
    let elist = (0..PROCESSES).map(entity).collect();
    Header { elist, tstart: TrustedTime(1_000_000_000).after(T0) }
}

fn message(word: u8) -> Arc<Message> {
    Arc::new(Message { header: header(), data: vec![word] })
}

impl Multicasts {
    fn hash(&self, word: u8) -> Digest {
        message(word).digest(self.variant)
    }

    fn settings(&self) -> Settings {
        Settings {
            od: self.od,
            t0: T0,
            resend_every: Duration::ZERO,
            poll_every: Duration::ZERO,
            ..Settings::new(self.engine, T0)
        }
    }

    fn is_running(&self, state: &State, at: usize) -> bool {
        self.intruded != Some(at) && !state.stopped.contains(&at)
    }

    /// Who is told nothing counts as failed, and goes on.
    fn is_correct(&self, state: &State, at: usize) -> bool {
        self.is_running(state, at) && !state.untold.contains(&at)
    }

    fn running(&self, state: &State) -> Vec<usize> {
        (0..PROCESSES).filter(|at| self.is_running(state, *at)).collect()
    }

    fn correct(&self, state: &State) -> Vec<usize> {
        (0..PROCESSES).filter(|at| self.is_correct(state, *at)).collect()
    }

    /// A beginning: whose proposals come too late to count, and whether the sender's is refused.
    fn beginning(&self, late: usize, is_refused: bool) -> State {
        let entities: Vec<Entity> = (0..PROCESSES).map(entity).collect();
        let needed = if self.engine == Engine::Quorum { PROCESSES / 2 + 1 } else { 0 };
        let mut wormholes = Ideal::new(&entities, needed);
        wormholes.takes = Duration::ZERO;
        wormholes.gives_up = Duration::ZERO;
        for at in (0..PROCESSES).filter(|at| late >> at & 1 == 1) {
            wormholes.seat(entity(at)).to_count = 2 * T0;
        }
        wormholes.seat(entity(0)).stall = if is_refused { 2 * T0 } else { Duration::ZERO };
        let process = |own: usize| {
            let others = (0..PROCESSES).filter(|other| *other != own);
            let keys = others.map(|other| (entity(other), key(own, other))).collect();
            Brm::new(self.variant, entity(own), self.settings(), keys)
        };
        State {
            processes: (0..PROCESSES).map(process).collect(),
            wormholes,
            transit: BTreeMap::new(),
            taken: BTreeMap::new(),
            told: BTreeSet::new(),
            delivered: vec![vec![]; PROCESSES],
            stopped: BTreeSet::new(),
            untold: BTreeSet::new(),
            has_ended: false,
            begun: None,
            has_started: false,
        }
    }

    fn perform(&self, state: &mut State, at: usize, deeds: Vec<Deed>) {
        for deed in deeds {
            match deed {
                Deed::Send(to, packet) => {
                    let to = to.replica.index();
                    if self.is_running(state, to) {
                        *state.transit.entry((to, packet)).or_default() += 1;
                    }
                }
                Deed::Emit(Event::Delivered(message)) => state.delivered[at].push(message),
                Deed::Emit(Event::Ended(_)) => state.has_ended = true,
                Deed::Emit(Event::Undecided(_) | Event::Halted(_)) => {}
            }
        }
    }

    fn bring(&self, state: &mut State, to: usize, packet: &Packet) {
        let mut deeds = vec![];
        let mut port = state.wormholes.at(entity(to));
        state.processes[to].on_packet(NOW, &mut port, packet, &mut deeds);
        self.perform(state, to, deeds);
    }

    fn turn(&self, state: &mut State, at: usize) {
        let mut deeds = vec![];
        let mut port = state.wormholes.at(entity(at));
        state.processes[at].on_time(NOW, &mut port, &mut deeds);
        self.perform(state, at, deeds);
    }

    fn multicast(&self, state: &mut State) {
        let recipients: Vec<Entity> = (1..PROCESSES).map(entity).collect();
        let mut deeds = vec![];
        let mut port = state.wormholes.at(entity(0));
        let said = (recipients.as_slice(), vec![WORDS[0]]);
        let begun = state.processes[0].multicast(NOW, &mut port, said, &mut deeds);
        state.begun = Some(begun.is_ok());
        self.perform(state, 0, deeds);
    }

    /// Removes one of the copies that are alike.
    fn remove(state: &mut State, to: usize, packet: &Packet) {
        let place = (to, packet.clone());
        if let Some(count) = state.transit.get_mut(&place) {
            *count -= 1;
            if *count == 0 {
                state.transit.remove(&place);
            }
        }
    }

    fn take(&self, state: &mut State, to: usize, packet: &Packet, is_changed: bool) {
        Self::remove(state, to, packet);
        *state.taken.entry((packet.from.replica.index(), to)).or_default() += 1;
        if is_changed {
            let mut changed = packet.clone();
            Arc::make_mut(&mut changed.message).data[0] ^= 0x80;
            *state.transit.entry((to, changed)).or_default() += 1;
        }
    }

    /// Whether correct processes can do nothing more by themselves.
    fn is_quiet(&self, state: &State) -> bool {
        let is_idle = |at: &usize| {
            let mut after = state.clone();
            self.turn(&mut after, *at);
            after == *state
        };
        state.has_started && state.transit.is_empty() && self.running(state).iter().all(is_idle)
    }

    /// What correct processes deliver, those that did.
    fn agree(&self, state: &State) -> bool {
        let correct = self.correct(state);
        let mut delivered: Vec<&Arc<Message>> =
            correct.iter().flat_map(|at| &state.delivered[*at]).collect();
        delivered.dedup();
        let is_quiet = self.is_quiet(state);
        let has = |at: &usize| !state.delivered[*at].is_empty();
        delivered.len() <= 1 && (!is_quiet || delivered.is_empty() || correct.iter().all(has))
    }

    fn is_valid(&self, state: &State) -> bool {
        let is_owed = self.is_correct(state, 0)
            && state.begun == Some(true)
            && state.wormholes.running() >= state.wormholes.needed
            && state.wormholes.clone().seat(entity(0)).to_count.is_zero();
        let is_delivered = || self.correct(state).iter().any(|at| !state.delivered[*at].is_empty());
        !is_owed || !self.is_quiet(state) || is_delivered()
    }

    fn has_integrity(&self, state: &State) -> bool {
        (0..PROCESSES).filter(|at| self.intruded != Some(*at)).all(|at| {
            let delivered = &state.delivered[at];
            let is_said = |it: &Arc<Message>| {
                self.intruded == Some(0) || (it.data == [WORDS[0]] && (state.begun == Some(true)))
            };
            delivered.len() <= 1 && delivered.iter().all(is_said)
        })
    }

    fn intruders_steps(&self, state: &State, intruded: usize, steps: &mut Vec<Step>) {
        steps.extend([None, Some(0), Some(1)].map(Step::Propose));
        for to in self.running(state) {
            let untold = |word: &&u8| !state.told.contains(&(to, **word)) && to != intruded;
            steps.extend(WORDS.iter().filter(untold).map(|word| Step::Tell(to, *word)));
        }
    }
}

impl Model for Multicasts {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        let late = if self.engine == Engine::Quorum { 1 << PROCESSES } else { 1 };
        let refused: &[bool] = if self.intruded == Some(0) { &[false] } else { &[false, true] };
        let all = (0..late).flat_map(|late| refused.iter().map(move |refused| (late, *refused)));
        all.map(|(late, is_refused)| self.beginning(late, is_refused)).collect()
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        if state.begun.is_none() && !state.has_started && self.is_running(state, 0) {
            steps.push(Step::Multicast);
        }
        for (to, packet) in state.transit.keys() {
            steps.push(Step::Arrive(*to, packet.clone()));
            let pair = (packet.from.replica.index(), *to);
            if state.taken.get(&pair).copied().unwrap_or(0) < self.od {
                steps.extend([true, false].map(|it| Step::Take(*to, packet.clone(), it)));
            }
        }
        steps.extend(self.running(state).into_iter().map(Step::Turn));
        if !state.has_started {
            steps.push(Step::Start);
        }
        if let Some(intruded) = self.intruded {
            self.intruders_steps(state, intruded, steps);
        }
        if state.stopped.len() + state.untold.len() < self.stops_max {
            for at in self.correct(state) {
                steps.extend([true, false].map(|it| Step::Stop(at, it)));
                steps.extend((self.engine == Engine::Quorum).then_some(Step::GiveUp(at)));
            }
        }
    }

    fn next_state(&self, state: &State, step: Step) -> Option<State> {
        let mut next = state.clone();
        match step {
            Step::Multicast => self.multicast(&mut next),
            Step::Arrive(to, packet) => {
                Self::remove(&mut next, to, &packet);
                self.bring(&mut next, to, &packet);
            }
            Step::Take(to, packet, is_changed) => self.take(&mut next, to, &packet, is_changed),
            Step::Turn(at) => self.turn(&mut next, at),
            Step::Start => {
                next.has_started = true;
                next.wormholes.now = header().tstart.after(Duration::from_nanos(1));
            }
            Step::Propose(word) => {
                let value = word.map(|word| self.hash(word).0);
                let mut port = next.wormholes.at(entity(self.intruded?));
                port.propose(&header().agreement(), value).ok()?;
            }
            Step::Tell(to, word) => {
                next.told.insert((to, word));
                let from = self.intruded?;
                let pair = (entity(from), entity(to));
                let said = (message(word), &self.hash(word));
                let packet = Packet::new(self.variant, pair, &key(from, to), said);
                self.bring(&mut next, to, &packet);
            }
            Step::Stop(at, is_wormhole) => {
                next.stopped.insert(at);
                next.wormholes.seat(entity(at)).is_halted = is_wormhole;
                next.transit.retain(|(to, _), _| *to != at);
            }
            Step::GiveUp(at) => {
                next.untold.insert(at);
                next.wormholes.seat(entity(at)).is_untold = true;
            }
        }
        (next != *state).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("validity", |model: &Self, state| model.is_valid(state)),
            Property::always("agreement", |model: &Self, state| model.agree(state)),
            Property::always("integrity", |model: &Self, state| model.has_integrity(state)),
            Property::always("what ended is not delivered", |model: &Self, state| {
                let correct = model.correct(state);
                !state.has_ended || correct.iter().all(|at| state.delivered[*at].is_empty())
            }),
            Property::sometimes("all deliver", |model: &Self, state| {
                let correct = model.correct(state);
                correct.len() > 1 && correct.iter().all(|at| !state.delivered[*at].is_empty())
            }),
            Property::sometimes("nobody delivers in the end", |model: &Self, state| {
                model.is_quiet(state) && state.delivered.iter().all(Vec::is_empty)
            }),
        ]
    }
}
