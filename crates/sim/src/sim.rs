//! The simulator's driver: one seeded loop over virtual time that feeds the product's own replicas
//! and client sessions, and performs what they ask for as the real drivers do.
//!
//! **Guarantee:** a run is a function of its [`Options`]. `Persist` is a barrier for what follows
//! it: it shows once the sync that covers it has ended, while the replica takes further inputs.

mod disks;
mod judging;
mod posting;
mod reopening;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ravelin_client::ClientAction;
use ravelin_model::wire::{ClientMessage, ServerMessage};
use ravelin_model::{
    Action, ClusterPlan, CommitIndex, Digest, Encode as _, Epoch, EpochMessage, Misbehaviour,
    ReplicaId, Suspicion, Vote,
};
use ravelin_multicast::{CommitRule, Message};
use ravelin_replication::{ClientInput, ConnectionId, Event as ReplicaEvent, Status, peer};

use crate::checker::{History, Order, Violation};
use crate::customer::Customer;
use crate::dice::Dice;
use crate::faults::{self, Fault};
use crate::host::{Host, Maxima};
use crate::intruder::{Deed, Server};
use crate::network::{Header, Micros, Network};
use crate::options::{FaultClass, Mode, Options, Travel};
use crate::queue::{Event, Letter, Queue};
use crate::trace::Trace;
use crate::world::World;

use judging::{is_faulty, mark_of, read_letter, travelled};
use reopening::{Administrators, Closings};

/// After healing, every operation is answered and every correct replica caught up within this.
pub const PATIENCE: Micros = 60_000_000;
/// The longest run, and in liveness mode the longest after healing.
const END: Micros = 120_000_000;
/// How often someone looks whether all is well.
const LOOK_EVERY: Micros = 100_000;
/// The shortest run in safety mode with troubles.
const SAFETY_MIN: Micros = 1_500_000;
/// When a run in liveness mode without troubles counts as healed.
const CALM: Micros = 300_000;
/// How long clients go on asking after everything is healed.
const HEALTHY: Micros = 300_000;
/// Crashes between two actions of one run at most.
const CRASH_POINTS_MAX: u64 = 12;

/// One run.
pub struct Sim {
    options: Options,
    world: World,
    rule: CommitRule,
    now: Micros,
    heal: Micros,
    queue: Queue,
    hosts: Vec<Host>,
    customers: Vec<Customer>,
    network: Network,
    dice: Dice,
    next_connection: u64,
    order: Order,
    history: History,
    trace: Trace,
    maxima: Maxima,
    faults: BTreeMap<FaultClass, u64>,
    phase: Phase,
    slowest: Micros,
    suspicions: Suspicions,
    /// Correct servers that saw two attestations of the broken wormhole for one value.
    witnesses: BTreeSet<ReplicaId>,
    /// The plans of later epochs.
    epochs: BTreeMap<Epoch, ClusterPlan>,
    administrators: Administrators,
    closings: Closings,
    violation: Option<Violation>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Clients ask.
    Working,
    /// They only wait for what they asked, and replicas are to reach this commit.
    Draining { since: Micros, target: CommitIndex },
    /// It is over.
    Finished,
}

/// Suspicions of correct replicas, by kind.
#[derive(Clone, Debug, Default)]
pub struct Suspicions {
    /// Of intruders.
    pub of_intruders: BTreeMap<&'static str, u64>,
    /// Of correct ones: to be explained, not wrong.
    pub of_correct: BTreeMap<&'static str, u64>,
}

/// What a run showed.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The promise that was broken, if one was.
    pub violation: Option<Violation>,
    /// Commits of the furthest correct replica.
    pub commits: u64,
    /// Digest over all that happened.
    pub trace: Digest,
    /// How much happened.
    pub events: u64,
    /// How long it took, in virtual microseconds.
    pub virtual_us: u64,
    /// Troubles that came to pass.
    pub faults: BTreeMap<FaultClass, u64>,
    /// How often each intruder did what no correct server does.
    pub acts: BTreeMap<&'static str, u64>,
    /// What correct replicas saw of others without proof.
    pub suspicions: Suspicions,
    /// Proofs that correct replicas and clients held against intruders.
    pub proofs: u64,
    /// The most that any correct replica held.
    pub maxima: Maxima,
    /// The longest wait of a client, from its question or the healing on.
    pub slowest_us: u64,
    /// Epochs that correct replicas began after the first.
    pub epochs: usize,
    /// Correct servers that saw two attestations of the broken wormhole, and halted.
    pub halted: usize,
    /// What correct servers came to that only an intruder leads them to.
    pub reached: BTreeSet<&'static str>,
    /// What clients asked and were told.
    pub history: History,
}

impl Sim {
    /// Sets a run up.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let world = World::new(&options);
        let mut dice = Dice::new(options.seed, "sim");
        let heal = match options.mode {
            Mode::Liveness if options.classes.is_empty() => CALM,
            Mode::Liveness => dice.between(1_000_000, 4_000_000),
            Mode::Safety => Micros::MAX,
        };
        let group = world.keyring.group();
        let order = Order::new(
            group.members().filter(|id| is_faulty(&options, *id)).collect(),
            world.plan.plan.clients.iter().map(|client| client.key).collect(),
        );
        let mut sim = Self {
            rule: CommitRule::new(group, world.plan.plan.leaders_per_round),
            now: 0,
            heal,
            queue: Queue::default(),
            hosts: group.members().map(|id| Host::new(&options, id)).collect(),
            customers: (0..options.clients).map(|i| Customer::new(&options, &world, i)).collect(),
            network: Network::new(&options, heal, END),
            dice,
            next_connection: 1,
            order,
            history: History::default(),
            trace: Trace::default(),
            maxima: Maxima::default(),
            faults: BTreeMap::new(),
            phase: Phase::Working,
            slowest: 0,
            suspicions: Suspicions::default(),
            witnesses: BTreeSet::new(),
            epochs: BTreeMap::new(),
            administrators: Administrators::new(&options),
            closings: Closings::default(),
            violation: None,
            options,
            world,
        };
        sim.set_out();
        sim
    }

    fn set_out(&mut self) {
        for (at, class, fault) in faults::schedule(&self.options, self.heal.min(END)) {
            self.queue.push(at, Event::Trouble(class, fault));
        }
        for id in self.world.keyring.group().members() {
            let at = self.dice.between(0, 20_000);
            self.queue.push(at, Event::Start(id, 0));
            for client in 0..self.options.clients {
                let at = self.dice.between(0, 60_000);
                self.queue.push(at, Event::Connect(client, id));
            }
        }
        self.queue.push(LOOK_EVERY, Event::Look);
        self.queue.push(LOOK_EVERY, Event::Administer);
    }

    /// Runs to the end.
    #[must_use]
    pub fn run(mut self) -> Outcome {
        while self.phase != Phase::Finished
            && self.violation.is_none()
            && let Some((at, event)) = self.queue.pop()
        {
            self.now = at;
            self.happen(event);
        }
        self.finish()
    }

    fn finish(mut self) -> Outcome {
        let judged = self.look_at_witnesses();
        self.judge(judged);
        let operations = self.history.operations();
        let judged = crate::checker::linear::check(operations)
            .and_then(|()| crate::checker::locks::check(operations));
        let mut acts = BTreeMap::new();
        for host in &self.hosts {
            if let Some(Server::Intruded(intruded)) = &host.server {
                for name in intruded.names() {
                    acts.entry(name).or_insert(0);
                }
                intruded.acts().for_each(|(name, count)| *acts.entry(name).or_default() += count);
            }
        }
        self.faults.extend(self.network.counts.iter().map(|(class, count)| (*class, *count)));
        Outcome {
            violation: self.violation.or_else(|| judged.err()),
            commits: self.order.highest().0,
            trace: self.trace.digest(),
            events: self.trace.events,
            virtual_us: self.now,
            faults: self.faults,
            acts,
            suspicions: self.suspicions,
            proofs: self.order.proof_count(),
            maxima: self.maxima,
            slowest_us: self.slowest,
            epochs: self.epochs.len(),
            halted: self.witnesses.len(),
            reached: self.closings.reached,
            history: self.history,
        }
    }

    fn happen(&mut self, event: Event) {
        if let Some(host) = event.server().and_then(|id| self.hosts.get_mut(id.index()))
            && host.paused_until > self.now
        {
            if matches!(event, Event::Timer(_)) && host.timer == Some(self.now) {
                host.timer = Some(host.paused_until);
            }
            return self.queue.push(host.paused_until, event);
        }
        match event {
            Event::Deliver { to, life, from, letter } => self.deliver(to, life, from, letter),
            Event::ToServer { to, connection, message } => {
                self.serve(to, connection, *message);
            }
            Event::ToClient { to, from, connection, message } => {
                self.reply(to, from, connection, *message);
            }
            Event::Timer(id) => self.ring(id),
            Event::ClientTimer(client) => self.wake(client),
            Event::Synced(id, life) => self.synced(id, life),
            Event::Trouble(class, fault) => self.trouble(class, fault),
            Event::Start(id, life) => self.start(id, life),
            Event::Connect(client, id) => self.connect(client, id),
            Event::Lost(client, id, connection) => self.lose(client, id, connection),
            Event::Look => self.look(),
            Event::Administer => self.administer(),
            Event::Reopen => self.reopen(),
        }
    }

    // ---- Servers.

    fn start(&mut self, id: ReplicaId, life: u64) {
        let Some(host) = self.hosts.get_mut(id.index()) else { return };
        if host.server.is_some() || host.life != life {
            return;
        }
        self.trace.note(self.now, b's', (id.0, 0), &[]);
        host.start(&self.options, &self.world);
        self.feed(id, |server, now, out| server.resume(now, out));
        for client in 0..self.options.clients {
            let at = self.now + self.dice.between(1_000, 60_000);
            self.queue.push(at, Event::Connect(client, id));
        }
    }

    fn deliver(&mut self, to: ReplicaId, life: u64, from: ReplicaId, letter: Letter) {
        let Some(host) = self.hosts.get(to.index()) else { return };
        let Some(server) = host.server.as_ref().filter(|_| host.life == life) else { return };
        let server = server.replica();
        let verdict = match letter {
            Letter::Message(epoch, message) => Ok(peer::heard(server.keyring(), epoch, message)),
            Letter::Bytes(bytes) => read_letter(server.keyring(), &bytes),
        };
        self.trace.note(self.now, b'd', (to.0, from.0), &mark_of(&verdict));
        match verdict {
            Ok(message) => {
                self.feed(to, |server, now, out| server.on_message(now, from, message, out));
            }
            Err(suspicion) => {
                self.feed(to, |server, _, out| server.on_suspicion(from, suspicion, out));
            }
        }
    }

    fn serve(&mut self, to: ReplicaId, connection: ConnectionId, message: ClientMessage) {
        let Some(host) = self.hosts.get(to.index()) else { return };
        let Some(client) = host.connections.get(&connection).copied() else { return };
        self.trace.note(self.now, b'c', (to.0, client), &[]);
        let input = match message {
            ClientMessage::Submit(envelope) => {
                let verdict = self.world.keyring.verify_envelopes(vec![envelope]).pop();
                let Some(Ok(envelope)) = verdict else { return };
                ClientInput::Submit(envelope)
            }
            other => ClientInput::Other(other),
        };
        self.feed(to, |server, now, out| server.on_client(now, connection, input, out));
    }

    fn ring(&mut self, id: ReplicaId) {
        let Some(host) = self.hosts.get_mut(id.index()) else { return };
        if host.timer != Some(self.now) {
            return; // set anew since
        }
        host.timer = None;
        self.feed(id, |server, now, out| server.on_time(now, out));
        let Some(host) = self.hosts.get_mut(id.index()) else { return };
        if !self.options.intruders.contains_key(&id) {
            let judged = host.note_turn(self.now).and_then(|()| host.note_memory(&mut self.maxima));
            self.judge(judged);
        }
    }

    /// Gives a server one input and performs what it wants done; it may lose power in between.
    fn feed(
        &mut self,
        id: ReplicaId,
        give: impl FnOnce(&mut Server, ravelin_model::Time, &mut Vec<Deed>),
    ) {
        let Some(host) = self.hosts.get_mut(id.index()) else { return };
        let now = host.clock.show(self.now);
        let Some(server) = &mut host.server else { return };
        let mut deeds = Vec::new();
        give(server, now, &mut deeds);
        let is_record = |deed: &&Deed| matches!(deed, Deed::Act(Action::Persist(_)));
        host.begin_input(deeds.iter().filter(is_record).count());
        let life = host.life;
        let crashes = self.draw_crash_point(id, deeds.len());
        for (index, deed) in deeds.into_iter().enumerate() {
            if crashes == Some(index) {
                self.count(FaultClass::CrashPoint);
                let down = self.dice.between(500, 100_000);
                return self.crash(id, down);
            }
            self.perform(id, deed);
        }
        let Some(host) = self.hosts.get_mut(id.index()).filter(|host| host.life == life) else {
            return; // power went at an input within
        };
        host.end_input();
        self.inspect(id);
        self.let_out(id);
        self.set_timer(id);
    }

    /// Shows what waited for the disk.
    fn let_out(&mut self, id: ReplicaId) {
        while let Some(deed) = self.hosts.get_mut(id.index()).and_then(Host::release) {
            self.show(id, deed);
        }
    }

    fn draw_crash_point(&mut self, id: ReplicaId, count: usize) -> Option<usize> {
        let is_other = self.options.restarting.is_some_and(|only| only != id);
        let spared = is_other || self.options.intruders.contains_key(&id) || self.now >= self.heal;
        let used = self.faults.get(&FaultClass::CrashPoint).copied().unwrap_or(0);
        if count == 0
            || spared
            || used >= CRASH_POINTS_MAX
            || !self.options.has(FaultClass::CrashPoint)
            || !self.dice.once_in(250)
        {
            return None;
        }
        usize::try_from(self.dice.below(count as u64)).ok()
    }

    fn perform(&mut self, id: ReplicaId, deed: Deed) {
        let Some(host) = self.hosts.get_mut(id.index()) else { return };
        match deed {
            Deed::Act(Action::Persist(entry)) => {
                host.disk.append(entry);
                self.sync(id);
            }
            Deed::Act(Action::Accuse(who, misbehaviour)) => self.accused(id, who, &misbehaviour),
            deed => {
                if let Some(deed) = host.admit(deed) {
                    self.show(id, deed);
                }
            }
        }
    }

    /// Does what is seen outside the server.
    fn show(&mut self, id: ReplicaId, deed: Deed) {
        match deed {
            Deed::Act(Action::Send(to, message)) => self.post(id, to, &self.letter(id, &message)),
            Deed::Act(Action::Broadcast(message)) => {
                if let Message::Block(block) = &message {
                    self.stated(id, &block.body.votes);
                    self.see_order_of_key(&block.body.votes);
                }
                if let Message::Epoch(EpochMessage::Closed(closing)) = &message {
                    self.told(id, closing);
                }
                let letter = self.letter(id, &message);
                for to in self.world.keyring.group().members() {
                    self.post(id, to, &letter);
                }
            }
            Deed::Bytes(to, bytes) => self.post(id, to, &Letter::Bytes(Arc::new(bytes))),
            Deed::Act(Action::Emit(event)) => self.emitted(id, event),
            Deed::Act(Action::Attest(header)) => self.attest(id, &header),
            Deed::Act(Action::Persist(_) | Action::Accuse(..)) => {}
        }
    }

    fn set_timer(&mut self, id: ReplicaId) {
        let Some(host) = self.hosts.get_mut(id.index()) else { return };
        let Some(deadline) = host.server.as_ref().and_then(Server::next_deadline) else { return };
        // A deadline that lies in the past is served soon, not at once for ever.
        let least = if deadline <= host.clock.show(self.now) { 200 } else { 1 };
        let at = host.clock.when(self.now, deadline).max(self.now + least);
        if host.timer.is_none_or(|timer| at < timer) {
            host.timer = Some(at);
            self.queue.push(at, Event::Timer(id));
        }
    }

    fn trouble(&mut self, class: FaultClass, fault: Fault) {
        self.count(class);
        match fault {
            Fault::Crash(id, down) => self.crash(id, down),
            Fault::Wipe(id, down) => {
                self.crash(id, down);
                if let Some(host) = self.hosts.get_mut(id.index()) {
                    host.disk.wipe();
                    host.is_wiped = true;
                }
            }
            Fault::Pause(id, span) => {
                if let Some(host) = self.hosts.get_mut(id.index()) {
                    host.paused_until = self.now + span;
                }
            }
            Fault::Jump(id, by) => {
                if let Some(host) = self.hosts.get_mut(id.index()) {
                    host.clock.jump(by);
                }
                self.set_timer(id);
            }
            Fault::KeyChange(id) => {
                self.feed(id, |server, now, out| server.change_key(now, out));
            }
            Fault::Reopening => self.await_order_of_key(),
            Fault::Disconnect(client, id) => {
                let link = self.customers.get(usize::from(client)).and_then(|c| c.links.get(&id));
                if let Some(connection) = link.copied() {
                    self.lose(client, id, connection);
                }
            }
        }
    }

    // ---- Clients.

    fn connect(&mut self, client: u16, id: ReplicaId) {
        let Some(host) = self.hosts.get_mut(id.index()) else { return };
        let Some(customer) = self.customers.get_mut(usize::from(client)) else { return };
        let Some(server) = &mut host.server else { return };
        if customer.links.contains_key(&id) {
            return;
        }
        let connection = ConnectionId(self.next_connection);
        self.next_connection += 1;
        server.on_client_opened(connection, customer.key);
        host.connections.insert(connection, client);
        customer.links.insert(id, connection);
        let (now, mut out) = (customer.clock.show(self.now), Vec::new());
        customer.session.on_connected(now, id, &mut out);
        let has_enough = customer.links.len() >= self.rule.group.quorum();
        if has_enough && customer.session.id().is_none() {
            let _ = customer.session.open(now, &mut out); // no effect while one is being opened
        }
        self.carry_out(client, out);
    }

    fn lose(&mut self, client: u16, id: ReplicaId, connection: ConnectionId) {
        if let Some(host) = self.hosts.get_mut(id.index())
            && host.connections.remove(&connection).is_some()
            && let Some(server) = &mut host.server
        {
            server.on_client_closed(connection);
        }
        let Some(customer) = self.customers.get_mut(usize::from(client)) else { return };
        if customer.links.get(&id) != Some(&connection) {
            return;
        }
        customer.links.remove(&id);
        let (now, mut out) = (customer.clock.show(self.now), Vec::new());
        customer.session.on_disconnected(now, id, &mut out);
        let at = self.now + self.dice.between(1_000, 100_000);
        self.queue.push(at, Event::Connect(client, id));
        self.carry_out(client, out);
    }

    fn wake(&mut self, client: u16) {
        let Some(customer) = self.customers.get_mut(usize::from(client)) else { return };
        if customer.timer != Some(self.now) {
            return;
        }
        customer.timer = None;
        let (now, mut out) = (customer.clock.show(self.now), Vec::new());
        customer.session.on_time(now, &mut out);
        if self.phase == Phase::Working {
            customer.work(self.now, &mut self.history, &mut self.order, &mut out);
        }
        self.carry_out(client, out);
    }

    fn reply(
        &mut self,
        client: u16,
        from: ReplicaId,
        connection: ConnectionId,
        message: ServerMessage,
    ) {
        let Some(customer) = self.customers.get_mut(usize::from(client)) else { return };
        if customer.links.get(&from) != Some(&connection) {
            return;
        }
        self.trace.note(self.now, b'r', (client, from.0), &[]);
        let (now, mut out) = (customer.clock.show(self.now), Vec::new());
        customer.session.on_message(now, from, message, &mut out);
        self.carry_out(client, out);
    }

    fn carry_out(&mut self, client: u16, actions: Vec<ClientAction>) {
        let Some(customer) = self.customers.get_mut(usize::from(client)) else { return };
        let mut judged = Ok(());
        for action in actions {
            match action {
                ClientAction::Send(to, message) => {
                    let Some(connection) = customer.links.get(&to).copied() else { continue };
                    let delay = self.dice.between(100, 2_000);
                    let at = customer.arrival(to, true, self.now + delay);
                    let message = Box::new(travelled(&self.options, message));
                    self.queue.push(at, Event::ToServer { to, connection, message });
                }
                ClientAction::Deliver(event) => {
                    let heard = customer.hear(self.now, event, &mut self.history, &mut self.order);
                    match heard {
                        Ok(Some(wait)) => {
                            let since_heal = self.now.saturating_sub(self.heal);
                            if self.now > self.heal {
                                self.slowest = self.slowest.max(wait.min(since_heal));
                            }
                        }
                        Ok(None) => {}
                        Err(violation) => judged = Err(violation),
                    }
                }
            }
        }
        if let Some(at) = customer.deadline(self.now, self.phase == Phase::Working)
            && customer.timer.is_none_or(|timer| at < timer || timer < self.now)
        {
            customer.timer = Some(at.max(self.now + 1));
            self.queue.push(at.max(self.now + 1), Event::ClientTimer(client));
        }
        self.judge(judged);
    }
}
