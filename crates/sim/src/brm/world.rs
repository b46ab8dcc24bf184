//! One run: hosts, their wormholes, the network between them, and virtual time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;
use std::time::Duration;

use ravelin_crypto::domain_digest;
use ravelin_model::ttcb::{Entity, TrustedTime};
use ravelin_model::{Digest, Encode as _, ReplicaId, Time};
use ravelin_multicast::brm::{
    ASKING_PER_PEER_MAX, Action, Brm, Engine, Event, Header, Message, OPENED_PER_PEER_MAX, Packet,
    PairKey, SENDING_MAX, Settings,
};

use super::checker::Checker;
use super::ideal::Ideal;
use super::intruder::{self, Intruder, Scene};
use super::network::{Micros, Network};
use super::options::{Class, Options};
use crate::checker::Violation;
use crate::dice::Dice;
use crate::trace::Trace;

/// When everything is over: also what is remembered, and the copies that come after that.
const END: Micros = 3_500_000;
/// Multicasts of correct processes begin within this time.
const BEGINS_WITHIN: Micros = 80_000;
/// How long block agreement takes at most.
const BOUND: Duration = Duration::from_millis(5);
/// How long processes remember, and wormholes.
const RETENTION: [Duration; 2] = [Duration::from_millis(1_000), Duration::from_millis(1_500)];

/// The key of two processes.
#[must_use]
pub(super) fn pair_key(one: Entity, other: Entity) -> PairKey {
    let (low, high) = (one.min(other).encode(), one.max(other).encode());
    PairKey::new(domain_digest("ravelin simulator pair key v1", &[&low, &high]).0)
}

/// What one run showed.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// The promise that was broken, if one was.
    pub violation: Option<Violation>,
    /// Digest over all that happened.
    pub trace: Digest,
    /// Things that happened.
    pub events: u64,
    /// Virtual time, in microseconds.
    pub virtual_us: u64,
    /// Deliveries at honest processes.
    pub deliveries: u64,
    /// Multicasts that had to be delivered.
    pub demanded: u64,
    /// Multicasts of honest processes that their wormholes refused.
    pub refused: u64,
    /// Troubles that came to pass.
    pub faults: BTreeMap<Class, u64>,
    /// What intruders did.
    pub acts: BTreeMap<&'static str, u64>,
}

enum Happening {
    Arrive { to: usize, packet: Packet, is_intact: bool },
    Turn(usize),
    Multicast(usize),
    Stop(usize),
    Sleep(usize, Micros),
}

enum Mind {
    Honest(Box<Brm>),
    Intruded(&'static str, Box<dyn Intruder>),
}

struct Host {
    entity: Entity,
    mind: Mind,
    dice: Dice,
    asleep_until: Micros,
    /// The next turn that is already planned.
    planned: Option<Micros>,
}

/// A run under way.
pub struct World {
    options: Options,
    settings: Settings,
    hosts: Vec<Host>,
    entities: Vec<Entity>,
    ring: Vec<Entity>,
    wormholes: Ideal,
    network: Network,
    checker: Checker,
    queue: BinaryHeap<Reverse<(Micros, u64, usize)>>,
    happenings: Vec<Option<Happening>>,
    now: Micros,
    trace: Trace,
    dice: Dice,
    outcome: Outcome,
}

impl World {
    /// A run that has not begun.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let mut dice = Dice::new(options.seed, "brm world");
        let entities: Vec<Entity> = (0..options.n)
            .map(|replica| Entity { replica: ReplicaId(replica), local: dice.draw() as u32 })
            .collect();
        let is_intruded = |it: &&Entity| options.intruders.contains_key(&it.replica.0);
        let (ring, honest): (Vec<Entity>, Vec<Entity>) =
            entities.iter().partition(|it| is_intruded(it));
        let settings = Settings {
            od: options.od,
            resend_every: Duration::from_micros(dice.below(6_000)),
            retention: RETENTION[0],
            ..Settings::new(options.engine, BOUND)
        };
        let mut world = Self {
            settings,
            hosts: vec![],
            wormholes: wormholes(&options, &entities),
            network: Network::new(&options, &entities),
            checker: Checker::new(honest),
            queue: BinaryHeap::new(),
            happenings: vec![],
            now: 0,
            trace: Trace::default(),
            outcome: Outcome::default(),
            options,
            entities,
            ring,
            dice,
        };
        world.hosts = world.entities.iter().map(|it| world.host(*it)).collect();
        for entity in world.entities.clone() {
            if world.wormholes.seat(entity).is_untold {
                world.checker.on_untold(entity);
            }
        }
        world
    }

    fn host(&self, entity: Entity) -> Host {
        let mind = match self.options.intruders.get(&entity.replica.0) {
            Some(name) => Mind::Intruded(name, intruder::by_name(name)),
            None => {
                let others = self.entities.iter().filter(|it| **it != entity);
                let keys = others.map(|it| (*it, pair_key(entity, *it))).collect();
                Mind::Honest(Box::new(Brm::new(self.options.variant, entity, self.settings, keys)))
            }
        };
        let dice = Dice::new(self.options.seed, &format!("brm host {}", entity.replica));
        Host { entity, mind, dice, asleep_until: 0, planned: None }
    }

    /// Runs it to its end, or to the first broken promise.
    #[must_use]
    pub fn run(mut self) -> Outcome {
        self.plan_all();
        while let Some(Reverse((at, _, index))) = self.queue.pop() {
            if at > END || self.outcome.violation.is_some() {
                break;
            }
            self.now = at;
            self.wormholes.now = TrustedTime(1_000_000_000 + 1_000 * at);
            if let Some(happening) = self.happenings.get_mut(index).and_then(Option::take) {
                self.happen(happening);
            }
        }
        self.judge();
        self.outcome.trace = self.trace.digest();
        self.outcome.events = self.trace.events;
        self.outcome.virtual_us = self.now;
        self.outcome
    }

    /// What begins by itself.
    fn plan_all(&mut self) {
        for at in 0..self.hosts.len() {
            if self.ring.iter().any(|it| usize::from(it.replica.0) == at) {
                self.intrude(at, |intruder, scene| intruder.on_start(scene));
                continue;
            }
            for _ in 0..self.dice.below(5) {
                let when = self.dice.below(BEGINS_WITHIN);
                self.plan(when, Happening::Multicast(at));
            }
            if self.options.has(Class::Pause) && self.dice.once_in(2) {
                let (when, span) =
                    (self.dice.below(BEGINS_WITHIN), self.dice.between(100, 200_000));
                self.plan(when, Happening::Sleep(at, span));
            }
        }
        self.plan_stops();
    }

    /// Wormholes that stop: fewer than would stop the others, except in one of five runs.
    fn plan_stops(&mut self) {
        if !self.options.has(Class::WormholeCrash) {
            return;
        }
        let n = u64::from(self.options.n);
        let may_be_most = self.options.engine == Engine::RealTime || self.dice.once_in(5);
        let most = if may_be_most { n - 1 } else { (n - 1) / 2 };
        let mut left: Vec<usize> = (0..self.hosts.len()).collect();
        for _ in 0..self.dice.between(1, most) {
            let place = usize::try_from(self.dice.below(left.len() as u64)).unwrap_or(0);
            let when = self.dice.below(2 * BEGINS_WITHIN);
            self.plan(when, Happening::Stop(left.swap_remove(place)));
        }
    }

    fn plan(&mut self, at: Micros, happening: Happening) {
        let index = self.happenings.len();
        self.happenings.push(Some(happening));
        self.queue.push(Reverse((at, index as u64, index)));
    }

    fn happen(&mut self, happening: Happening) {
        let of = match &happening {
            Happening::Arrive { to: at, .. } | Happening::Turn(at) | Happening::Multicast(at) => {
                *at
            }
            Happening::Stop(at) | Happening::Sleep(at, _) => *at,
        };
        let Some(host) = self.hosts.get_mut(of) else { return };
        let is_of_host = !matches!(happening, Happening::Stop(_));
        if is_of_host && host.asleep_until > self.now {
            let wakes = host.asleep_until;
            return self.plan(wakes, happening);
        }
        match happening {
            Happening::Arrive { to, packet, is_intact } => self.arrive(to, &packet, is_intact),
            Happening::Turn(at) => self.turn(at),
            Happening::Multicast(at) => self.multicast(at),
            Happening::Stop(at) => self.stop(at),
            Happening::Sleep(_, span) => {
                host.asleep_until = self.now + span;
                self.count(Class::Pause);
            }
        }
    }

    fn count(&mut self, class: Class) {
        *self.outcome.faults.entry(class).or_default() += 1;
    }

    fn stop(&mut self, at: usize) {
        let Some(entity) = self.entities.get(at).copied() else { return };
        self.trace.note(self.now, b's', (entity.replica.0, 0), &[]);
        self.wormholes.seat(entity).is_halted = true;
        self.count(Class::WormholeCrash);
        self.checker.on_stopped(entity);
    }

    fn arrive(&mut self, to: usize, packet: &Packet, is_intact: bool) {
        let Some(host) = self.hosts.get_mut(to) else { return };
        let (entity, from) = (host.entity, packet.from);
        self.trace.note(self.now, b'a', (from.replica.0, entity.replica.0), &packet.mac.0);
        match &mut host.mind {
            Mind::Intruded(..) => self.intrude(to, |it, scene| it.on_packet(scene, packet)),
            Mind::Honest(brm) => {
                let mut out = vec![];
                let mut port = self.wormholes.at(entity);
                brm.on_packet(Time(self.now), &mut port, packet, &mut out);
                let (running, _) = brm.sizes();
                let most = SENDING_MAX + OPENED_PER_PEER_MAX * (self.entities.len() - 1);
                if running > most {
                    let what = format!("process {} keeps {running} instances", entity.replica);
                    self.outcome.violation = Some(Violation::new("memory", what));
                }
                if is_intact && self.checker.is_honest(from) {
                    self.checker.on_arrived(from, entity, &packet.message.header);
                }
                self.perform(to, out);
            }
        }
    }

    fn turn(&mut self, at: usize) {
        let Some(host) = self.hosts.get_mut(at) else { return };
        host.planned = None;
        match &mut host.mind {
            Mind::Intruded(..) => self.intrude(at, |intruder, scene| intruder.on_turn(scene)),
            Mind::Honest(brm) => {
                let mut out = vec![];
                let mut port = self.wormholes.at(host.entity);
                brm.on_time(Time(self.now), &mut port, &mut out);
                self.perform(at, out);
            }
        }
    }

    /// A correct process multicasts, most often to all.
    fn multicast(&mut self, at: usize) {
        let Some(host) = self.hosts.get_mut(at) else { return };
        let (entity, Mind::Honest(brm)) = (host.entity, &mut host.mind) else { return };
        let mut to: Vec<Entity> =
            self.entities.iter().filter(|it| **it != entity).copied().collect();
        if host.dice.once_in(5) {
            to.truncate(1 + usize::try_from(host.dice.below(to.len() as u64)).unwrap_or(0));
        }
        let stalls = self.options.has(Class::Stall) && host.dice.once_in(2);
        let stall = if stalls { host.dice.below(30_000) } else { 0 };
        let seat = self.wormholes.seat(entity);
        seat.stall = Duration::from_micros(stall);
        let is_timely = seat.stall + seat.to_count <= self.settings.t0;
        let data = host.dice.draw().to_le_bytes().to_vec();
        let mut out = vec![];
        let mut port = self.wormholes.at(entity);
        let begun = brm.multicast(Time(self.now), &mut port, (&to, data.clone()), &mut out);
        self.wormholes.seat(entity).stall = Duration::ZERO;
        match begun {
            Ok(header) => {
                self.checker.on_multicast(Arc::new(Message { header, data }), is_timely);
            }
            Err(_) => self.outcome.refused += 1,
        }
        if stalls {
            self.count(Class::Stall);
        }
        self.perform(at, out);
    }

    fn perform(&mut self, at: usize, actions: Vec<Action>) {
        let Some(entity) = self.entities.get(at).copied() else { return };
        for action in actions {
            match action {
                Action::Send(to, packet) => self.carry(entity, to, packet),
                Action::Emit(Event::Delivered(message)) => {
                    self.trace.note(self.now, b'd', (entity.replica.0, 0), &message.data);
                    self.checker.on_delivered(entity, message);
                }
                Action::Emit(Event::Ended(header)) => {
                    let tstart = header.tstart.0.to_le_bytes();
                    self.trace.note(self.now, b'e', (entity.replica.0, 0), &tstart);
                    self.checker.on_ended(header);
                }
                Action::Emit(Event::Undecided(Header { tstart, .. })) => {
                    self.trace.note(self.now, b'u', (entity.replica.0, 0), &tstart.0.to_le_bytes());
                }
                Action::Emit(Event::Halted(_)) => {
                    self.trace.note(self.now, b'h', (entity.replica.0, 0), &[]);
                }
            }
        }
        let Some(host) = self.hosts.get_mut(at) else { return };
        let Mind::Honest(brm) = &host.mind else { return };
        let due = brm.next_deadline().map(|at| at.0.max(self.now));
        if let Some(due) = due.filter(|due| host.planned.is_none_or(|planned| *due < planned)) {
            host.planned = Some(due);
            self.plan(due, Happening::Turn(at));
        }
    }

    /// Hands an honest process's copy to the network.
    fn carry(&mut self, from: Entity, to: Entity, packet: Packet) {
        if self.checker.is_honest(to) {
            self.checker.on_sent(from, to, &packet.message.header);
        }
        let mut done = vec![];
        let arrivals = self.network.carry(&self.options, to, packet, &mut |class| done.push(class));
        done.into_iter().for_each(|class| self.count(class));
        for arrival in arrivals {
            let (packet, is_intact) = (arrival.packet, arrival.is_intact);
            let to = usize::from(to.replica.0);
            self.plan(self.now + arrival.after, Happening::Arrive { to, packet, is_intact });
        }
    }

    fn intrude(&mut self, at: usize, act: impl FnOnce(&mut dyn Intruder, &mut Scene<'_>)) {
        let Some(host) = self.hosts.get_mut(at) else { return };
        let Mind::Intruded(name, intruder) = &mut host.mind else { return };
        let mut scene = Scene {
            own: host.entity,
            ring: &self.ring,
            all: &self.entities,
            variant: self.options.variant,
            settings: self.settings,
            now: self.now,
            wormholes: &mut self.wormholes,
            dice: &mut host.dice,
            sent: vec![],
            turns: vec![],
            acts: 0,
        };
        act(intruder.as_mut(), &mut scene);
        let (sent, turns) = (scene.sent, scene.turns);
        *self.outcome.acts.entry(name).or_default() += scene.acts;
        for (after, to, packet) in sent {
            let to = usize::from(to.replica.0);
            self.plan(self.now + after, Happening::Arrive { to, packet, is_intact: false });
        }
        for after in turns {
            self.plan(self.now + after, Happening::Turn(at));
        }
    }

    fn judge(&mut self) {
        let od = self.options.od;
        self.outcome.deliveries = self.checker.deliveries();
        // Wormholes do not start again: if enough run now, enough did all the time.
        if self.wormholes.running() < self.wormholes.needed {
            self.checker.owe_nothing();
        }
        self.outcome.demanded = self.checker.demanded(od);
        let judged = self.checker.judge(od).and_then(|()| self.nothing_is_kept());
        if let (None, Err(violation)) = (&self.outcome.violation, judged) {
            self.outcome.violation = Some(violation);
        }
    }

    /// At the end, nobody keeps anything.
    fn nothing_is_kept(&self) -> Result<(), Violation> {
        for host in &self.hosts {
            let Mind::Honest(brm) = &host.mind else { continue };
            let is_up = !self.checker.is_stopped(host.entity);
            if is_up && brm.sizes() != (0, 0) {
                let what = format!("process {} keeps {:?}", host.entity.replica, brm.sizes());
                return Err(Violation::new("memory", what));
            }
        }
        Ok(())
    }
}

/// The wormholes of a run, with what is wrong with them.
fn wormholes(options: &Options, entities: &[Entity]) -> Ideal {
    let mut dice = Dice::new(options.seed, "brm wormholes");
    let is_quorum = options.engine == Engine::Quorum;
    let needed = if is_quorum { entities.len() / 2 + 1 } else { 0 };
    let mut wormholes = Ideal::new(entities, needed);
    wormholes.retention = RETENTION[1];
    wormholes.slots = if options.has(Class::LittleRoom) {
        usize::try_from(dice.between(1, 4)).unwrap_or(1)
    } else {
        ASKING_PER_PEER_MAX * entities.len() + SENDING_MAX
    };
    for entity in entities {
        let seat = wormholes.seat(*entity);
        if options.has(Class::UncertainClocks) {
            seat.error = Duration::from_micros(dice.below(2_000));
        }
        if options.has(Class::LateControl) && is_quorum && dice.once_in(2) {
            seat.to_count = Duration::from_micros(dice.below(40_000));
        }
        if options.has(Class::LateDecisions) {
            let most = if is_quorum { 50_000 } else { 4_000 };
            seat.to_learn = Duration::from_micros(dice.below(most));
        }
        seat.is_untold = options.has(Class::LostDecisions) && is_quorum && dice.once_in(4);
    }
    wormholes
}
