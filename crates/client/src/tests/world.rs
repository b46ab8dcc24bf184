//! Sessions, replicas of which some lie, and a network that loses, doubles and reorders: one seed,
//! one schedule.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore as _, SeedableRng as _};
use ravelin_crypto::SigningKey;
use ravelin_model::wire::{ClientMessage, ServerMessage};
use ravelin_model::{
    AnswerBatch, CommitIndex, Encode as _, Envelope, Epoch, FaultModel, Misbehaviour, Operation,
    OperationResult, Refusal, ReplicaId, Sequence, ServiceId, SessionId, SignedPlan,
    SignedStatement, Time,
};

use super::fixture::{Keys, PATIENCE, START, keys, seed};
use super::replicas::{Order, Register, read, signed_answers, write};
use crate::event::{ClientAction, Event, Ticket};
use crate::session::{Session, SessionConfig};

/// Operations of each client.
const OPERATIONS: u64 = 8;
/// Operations that a client has in flight.
const IN_FLIGHT: usize = 3;
/// Epochs of a schedule at most.
const EPOCHS: u64 = 10;
/// When messages are lost no more.
const HEALED: Time = Time(START.0 + 5_000_000);
/// When everything must be answered.
const END: Time = Time(START.0 + 120_000_000);

enum Happening {
    ToReplica(usize, ReplicaId, ClientMessage),
    ToClient(usize, ReplicaId, ServerMessage),
    Order,
    Execute(ReplicaId, usize),
    Reconnect(usize, ReplicaId),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    pub(super) is_write: bool,
    pub(super) begin: Time,
    pub(super) end: Option<(Time, Register)>,
}

pub(super) struct Client {
    session: Session,
    pub(super) calls: BTreeMap<Ticket, Call>,
    made: u64,
}

pub(super) struct World {
    random: ChaCha8Rng,
    now: Time,
    queue: BTreeMap<(Time, u64), Happening>,
    count: u64,
    keys: Keys,
    pub(super) liars: BTreeSet<ReplicaId>,
    pub(super) order: Order,
    pool: Vec<Envelope>,
    /// How many commits each replica executed, and when it has the latest that it was given.
    executed: Vec<(usize, Time)>,
    attached: BTreeSet<(ReplicaId, usize, SessionId)>,
    overheard: Vec<(usize, ServerMessage)>,
    pub(super) clients: Vec<Client>,
    /// Who was accused or contradicted, and whether with proof.
    pub(super) accused: BTreeSet<(ReplicaId, bool)>,
    /// How often a client went on to later epochs.
    pub(super) followed: usize,
}

impl World {
    pub(super) fn new(number: u64, n: u16, f: u16, model: FaultModel) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(number);
        let keys = keys(n, f, model);
        let mut liars = BTreeSet::new();
        while liars.len() < usize::from(f) {
            liars.insert(ReplicaId((random.next_u32() % u32::from(n)) as u16));
        }
        let clients = (0..2u8).map(|index| {
            let key = SigningKey::simulated(&seed(5, index), &keys.registry);
            let mut start = [index; 32];
            start[..8].copy_from_slice(&number.to_le_bytes());
            let config = SessionConfig { patience: PATIENCE, seed: start };
            let session = Session::new(keys.keyring.clone(), keys.plan.clone(), key, config);
            Client { session, calls: BTreeMap::new(), made: 0 }
        });
        let clients = clients.collect();
        let mut world = Self {
            random,
            now: START,
            queue: BTreeMap::new(),
            count: 0,
            executed: vec![(0, START); usize::from(n)],
            keys,
            liars,
            order: Order::default(),
            pool: Vec::new(),
            attached: BTreeSet::new(),
            overheard: Vec::new(),
            clients,
            accused: BTreeSet::new(),
            followed: 0,
        };
        // Clients that were away know the first plan only.
        for _ in 0..number % 5 {
            let members: Vec<_> = (0..usize::from(n)).collect();
            world.keys.rekey(&members);
        }
        for client in 0..2 {
            for member in (0..n).map(ReplicaId) {
                world.act(client, |session, now, out| session.on_connected(now, member, out));
            }
            world.act(client, |session, now, out| session.open(now, out).unwrap());
        }
        world.later(10, Happening::Order);
        world
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.random.next_u32() % 100 < percent
    }

    /// Happens within so many milliseconds.
    fn later(&mut self, within_ms: u64, happening: Happening) {
        let wait = Duration::from_micros(1 + self.random.next_u64() % (within_ms * 1000));
        self.count += 1;
        self.queue.insert((self.now.after(wait), self.count), happening);
    }

    /// Over a network that loses, doubles and reorders.
    fn travel(&mut self, happening: impl Fn() -> Happening) {
        if self.now < HEALED && self.chance(5) {
            return;
        }
        let copies = if self.chance(5) { 2 } else { 1 };
        for _ in 0..copies {
            let within = if self.chance(5) { 300 } else { 20 };
            self.later(within, happening());
        }
    }

    fn act<R>(
        &mut self,
        client: usize,
        act: impl FnOnce(&mut Session, Time, &mut Vec<ClientAction>) -> R,
    ) -> R {
        let mut out = Vec::new();
        let result = act(&mut self.clients[client].session, self.now, &mut out);
        for action in out {
            match action {
                ClientAction::Send(to, message) => {
                    self.travel(|| Happening::ToReplica(client, to, message.clone()));
                }
                ClientAction::Deliver(event) => self.on_event(client, event),
            }
        }
        result
    }

    fn on_event(&mut self, client: usize, event: Event) {
        let now = self.now;
        let mut end = |ticket, outcome: &OperationResult| {
            let OperationResult::Done(reply) = outcome else { panic!("{outcome:?}") };
            let call = self.clients[client].calls.get_mut(&ticket).expect("a call");
            assert!(call.end.is_none(), "answered twice");
            call.end = Some((now, Register::of(reply)));
        };
        match event {
            Event::Answered { ticket, results } => end(ticket, &results[0].outcome),
            Event::Read { ticket, outcome, .. } => end(ticket, &outcome),
            Event::Accused { replica, misbehaviour } => {
                if let Misbehaviour::Proven(evidence) = &*misbehaviour {
                    assert!(self.keys.prove(evidence));
                }
                let is_proven = matches!(*misbehaviour, Misbehaviour::Proven(_));
                self.accused.insert((replica, is_proven));
            }
            Event::Contradicted { replica, .. } => drop(self.accused.insert((replica, false))),
            Event::Followed { plans } => {
                let epoch = plans[0].plan.epoch.0 as usize;
                assert_eq!(plans, self.keys.chain[epoch - 1..][..plans.len()]);
                self.followed += 1;
            }
            Event::Opened { .. } | Event::NoQuorum { .. } => {}
            other => panic!("{other:?}"),
        }
    }

    /// Lets a client that has nothing better to do call the next operation.
    fn call(&mut self, client: usize) {
        let state = &self.clients[client];
        let open = state.calls.values().filter(|call| call.end.is_none()).count();
        if state.session.id().is_none() || open >= IN_FLIGHT || state.made == OPERATIONS {
            return;
        }
        self.clients[client].made += 1;
        let value = 1 + self.clients[client].made * 2 + client as u64;
        let service = ServiceId::KV;
        let kind = self.random.next_u32() % 3;
        let ticket = self.act(client, |session, now, out| match kind {
            0 => session.read(now, service, read(), out).unwrap(),
            1 => session.submit(now, vec![Operation { service, request: read() }], out).unwrap(),
            _ => {
                let operation = Operation { service, request: write(value) };
                session.submit(now, vec![operation], out).unwrap()
            }
        });
        let call = Call { is_write: kind > 1, begin: self.now, end: None };
        self.clients[client].calls.insert(ticket, call);
    }

    fn on_client_message(&mut self, client: usize, replica: ReplicaId, message: ClientMessage) {
        let executed = self.executed[replica.index()].0;
        match message {
            ClientMessage::Attach { session } => {
                self.attached.insert((replica, client, session));
            }
            ClientMessage::Submit(envelope) => {
                let checked = self.keys.keyring.verify_envelopes(vec![envelope.clone()]);
                assert!(checked[0].is_ok(), "an envelope with a bad signature");
                if let Some(batch) = self.order.repetition(&envelope, executed) {
                    self.tell(client, replica, ServerMessage::Repeated(batch));
                } else if !self.liars.contains(&replica) || self.chance(50) {
                    self.pool.push(envelope.clone());
                }
                if self.liars.contains(&replica) && self.chance(50) {
                    let (session, first) = (envelope.session, envelope.first);
                    let lie = self.rebuff(session, first);
                    self.travel(|| Happening::ToClient(client, replica, lie.clone()));
                }
            }
            ClientMessage::Read { id, .. } => {
                let mut commits = executed;
                if self.liars.contains(&replica) {
                    // The liars tell one stale state alike.
                    commits = executed / 2;
                }
                let reply = Some(self.order.register(commits).reply());
                let commit = CommitIndex(commits as u64);
                let message = ServerMessage::ReadReply { id, commit, reply };
                self.travel(|| Happening::ToClient(client, replica, message.clone()));
            }
            ClientMessage::File(evidence) => {
                assert!(self.keys.prove(&evidence), "filed without proof: {evidence:?}");
                assert!(self.liars.contains(&evidence.accused()), "a correct member was accused");
            }
            ClientMessage::Plans => self.show_plans(client, replica),
            other => panic!("{other:?}"),
        }
    }

    /// The epoch in which a replica is that executed so many commits.
    fn epoch_after(&self, commits: usize) -> Epoch {
        self.order
            .commits
            .get(commits)
            .map_or_else(|| self.keys.keyring.epoch(), |commit| commit.epoch)
    }

    fn show_plans(&mut self, client: usize, replica: ReplicaId) {
        let epoch = self.epoch_after(self.executed[replica.index()].0);
        let mut chain = self.keys.chain[..epoch.0 as usize].to_vec();
        if self.liars.contains(&replica) && self.bend(&mut chain) {
            return;
        }
        self.travel(|| Happening::ToClient(client, replica, ServerMessage::Plans(chain.clone())));
    }

    /// What liars make of the chain; whether they do not show it at all.
    fn bend(&mut self, chain: &mut Vec<SignedPlan>) -> bool {
        let (mut forged, _) = self.keys.successor(&[0], 30);
        let liars: Vec<_> = self.liars.iter().map(|liar| liar.index()).collect();
        self.keys.hand_over(&mut forged, liars);
        match self.random.next_u32() % 6 {
            0 => return true,
            1 => chain.truncate(1),
            2 => *chain = self.keys.chain.clone(),
            3 => chain.push(forged),
            4 => *chain = [self.keys.chain.clone(), vec![forged; 9]].concat(),
            _ => chain.reverse(),
        }
        false
    }

    fn rebuff(&mut self, session: SessionId, first: Sequence) -> ServerMessage {
        let refusal = match self.random.next_u32() % 4 {
            0 => return ServerMessage::Busy { session, first, retry_after_ms: u32::MAX },
            1 => Refusal::UnknownSession,
            2 => Refusal::StaleOpening { last: u64::MAX },
            _ => Refusal::UnknownClient,
        };
        ServerMessage::Denied { session, first: first.0, refusal }
    }

    /// A correct replica tells the message, a liar what it likes.
    fn tell(&mut self, client: usize, replica: ReplicaId, message: ServerMessage) {
        if !self.liars.contains(&replica) {
            self.overheard.push((client, message.clone()));
            return self.travel(|| Happening::ToClient(client, replica, message.clone()));
        }
        for _ in 0..=self.random.next_u32() % 2 {
            let lie = self.lie(client, replica, &message);
            self.travel(|| Happening::ToClient(client, replica, lie.clone()));
        }
    }

    fn lie(&mut self, client: usize, replica: ReplicaId, message: &ServerMessage) -> ServerMessage {
        let (batch, index) = match message {
            ServerMessage::Answers { batch, statement, .. } => {
                (batch.clone(), statement.statement.commit.0 as usize - 1)
            }
            ServerMessage::Repeated(batch) => (batch.clone(), self.order.commits.len()),
            other => return other.clone(),
        };
        let wrong = self.wrong(batch.clone());
        let epoch = self.epoch_after(index);
        let past = Epoch(1 + self.random.next_u64() % epoch.0);
        match self.random.next_u32() % 10 {
            0 => message.clone(),
            1 => ServerMessage::Repeated(wrong),
            2 => signed_answers(&self.keys, replica, (epoch, index), &[wrong], 0),
            3 => signed_answers(&self.keys, replica, (epoch, index + 1000), &[wrong], 0),
            // Under another's name.
            4 => {
                let other = ReplicaId((replica.0 + 1) % self.executed.len() as u16);
                let mut forged = signed_answers(&self.keys, replica, (epoch, index), &[wrong], 0);
                if let ServerMessage::Answers { statement, .. } = &mut forged {
                    *statement = SignedStatement { replica: other, ..*statement };
                }
                forged
            }
            // What another told before.
            5 => {
                let place = self.random.next_u32() as usize % (self.overheard.len() + 1);
                let overheard = self.overheard.get(place).filter(|(to, _)| *to == client);
                overheard.map_or_else(|| message.clone(), |(_, told)| told.clone())
            }
            // As if in another epoch.
            6 => signed_answers(&self.keys, replica, (past, index), &[wrong], 0),
            7 => {
                let later = Epoch(epoch.0 + 1 + self.random.next_u64() % 3);
                signed_answers(&self.keys, replica, (later, index), &[wrong], 0)
            }
            8 => {
                let mut chain = self.keys.chain.clone();
                self.bend(&mut chain);
                ServerMessage::Plans(chain)
            }
            // A good signature, and other answers than those signed.
            _ => {
                let mut swapped = signed_answers(&self.keys, replica, (epoch, index), &[batch], 0);
                if let ServerMessage::Answers { batch, .. } = &mut swapped {
                    *batch = wrong;
                }
                swapped
            }
        }
    }

    /// Liars lie alike, so that they are as many as they can be.
    fn wrong(&mut self, mut batch: AnswerBatch) -> AnswerBatch {
        let shift = u64::from(self.chance(30));
        for answer in &mut batch.answers {
            let lie = Register { changed: 1_000_000, value: 666 };
            let reply = if batch.session == SessionId(0) {
                ravelin_model::requests::session::SessionReply::Opened(SessionId(666)).encode()
            } else {
                lie.reply()
            };
            answer.result = OperationResult::Done(reply);
            answer.position.0 += shift;
        }
        batch
    }

    fn order(&mut self) {
        if !self.pool.is_empty() {
            let pool = std::mem::take(&mut self.pool);
            self.order.commit(self.keys.keyring.epoch(), pool);
            if self.chance(25) && self.keys.keyring.epoch().0 < EPOCHS {
                let members = 0..self.executed.len();
                let changed: Vec<_> = members.filter(|_| self.chance(50)).collect();
                self.keys.rekey(&changed);
            }
            for member in 0..self.executed.len() {
                // Each replica executes in order, in its own time; laggards are far behind.
                let within = if self.chance(20) { 400 } else { 15 };
                let wait = Duration::from_micros(1 + self.random.next_u64() % (within * 1000));
                let at = self.now.after(wait).max(self.executed[member].1);
                self.executed[member].1 = at;
                self.count += 1;
                let commit = self.order.commits.len();
                let happening = Happening::Execute(ReplicaId(member as u16), commit);
                self.queue.insert((at, self.count), happening);
            }
        }
        self.later(20, Happening::Order);
    }

    fn execute(&mut self, replica: ReplicaId, commit: usize) {
        self.executed[replica.index()].0 = commit;
        let (epoch, batches) = {
            let commit = &self.order.commits[commit - 1];
            (commit.epoch, commit.batches.clone())
        };
        for (place, batch) in batches.iter().enumerate() {
            for client in 0..self.clients.len() {
                let is_theirs = batch.client
                    == SigningKey::simulated(&seed(5, client as u8), &self.keys.registry).public();
                if is_theirs && self.attached.contains(&(replica, client, batch.session)) {
                    let at = (epoch, commit - 1);
                    let message = signed_answers(&self.keys, replica, at, &batches, place);
                    self.tell(client, replica, message);
                }
            }
        }
        if self.epoch_after(commit) != epoch && self.chance(50) {
            // Who begins an epoch need not remember whom it answered before.
            self.attached.retain(|(attached, _, _)| *attached != replica);
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::ToReplica(client, replica, message) => {
                self.on_client_message(client, replica, message);
            }
            Happening::ToClient(client, replica, message) => {
                self.act(client, |session, now, out| {
                    session.on_message(now, replica, message, out)
                });
                if self.now < HEALED && self.chance(1) {
                    self.act(client, |session, now, out| {
                        session.on_disconnected(now, replica, out)
                    });
                    self.later(200, Happening::Reconnect(client, replica));
                }
            }
            Happening::Order => self.order(),
            Happening::Execute(replica, commit) => self.execute(replica, commit),
            Happening::Reconnect(client, replica) => {
                self.act(client, |session, now, out| session.on_connected(now, replica, out));
            }
        }
    }

    fn is_done(&self) -> bool {
        self.clients.iter().all(|client| {
            client.made == OPERATIONS && client.calls.values().all(|call| call.end.is_some())
        })
    }

    /// Until everything is answered.
    pub(super) fn run(&mut self) {
        while !self.is_done() {
            let deadline = |client: &Client| client.session.next_deadline();
            let timer = self.clients.iter().filter_map(deadline).min();
            let next = self.queue.keys().next().map(|(at, _)| *at).expect("order goes on");
            assert!(self.now < END, "not everything is answered");
            if let Some(timer) = timer.filter(|timer| *timer < next) {
                self.now = timer.max(self.now);
                for client in 0..self.clients.len() {
                    self.act(client, Session::on_time);
                }
            } else if let Some(((at, _), happening)) = self.queue.pop_first() {
                self.now = at;
                self.happen(happening);
            }
            for client in 0..self.clients.len() {
                self.call(client);
            }
        }
    }
}
