//! Replicas in virtual time, with disks that lose power and clients that write down what they hear.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ravelin_crypto::Verified;
use ravelin_model::requests::kv::{Condition, KvRequest, Write};
use ravelin_model::{Envelope, Epoch, LastAttested, Misbehaviour, Operation, PublicKey, ServiceId};
use ravelin_services::Services;

use super::super::*;
use crate::state::MemoryBackend;
use crate::testing::{Chance, World};

/// One server.
pub(super) struct Node {
    pub(super) replica: Option<Replica>,
    pub(super) backend: MemoryBackend,
    pub(super) log: Vec<LogRecord>,
    draft: Option<LogRecord>,
    /// What was said to clients, by connection.
    pub(super) heard: BTreeMap<ConnectionId, Vec<ServerMessage>>,
    pub(super) statuses: Vec<Status>,
    pub(super) prunable: Vec<Place>,
    /// In which it last said something.
    pub(super) epoch: Epoch,
    /// Whom it asked for their logs, each with the epoch in which it did, and after how many fetched states.
    pub(super) asked: Vec<(Epoch, u64, ReplicaId)>,
    /// Whom the replica accused, with proof.
    pub(super) accused: BTreeSet<ReplicaId>,
    /// What its wormhole attested last, in `hybrid`.
    attested: Option<LastAttested>,
    /// Its wormhole takes its time: what it was asked to attest waits here.
    pub(super) waiting: Option<Vec<BlockHeader>>,
    lives: u64,
    /// Reached by nobody and reaching nobody.
    pub(super) is_cut_off: bool,
}

impl Node {
    fn new() -> Self {
        Self {
            replica: None,
            backend: MemoryBackend::default(),
            log: Vec::new(),
            draft: None,
            heard: BTreeMap::new(),
            statuses: Vec::new(),
            prunable: Vec::new(),
            epoch: Epoch::FIRST,
            asked: Vec::new(),
            accused: BTreeSet::new(),
            attested: None,
            waiting: None,
            lives: 0,
            is_cut_off: false,
        }
    }
}

/// A group, and its network: everything arrives, sooner or later.
pub(super) struct Cluster {
    pub(super) world: World,
    pub(super) nodes: Vec<Node>,
    pub(super) now: Time,
    pub(super) chance: Chance,
    /// What every correct replica has after each commit.
    pub(super) roots: BTreeMap<CommitIndex, (Digest, Position, Time)>,
    /// Replicas whose state is not what it should be.
    pub(super) corrupt: BTreeSet<ReplicaId>,
    queue: BTreeMap<(Time, u64), (ReplicaId, ReplicaId, (Epoch, Message))>,
    sent: u64,
    /// Keys for blocks that each server has, the plan's included.
    keys: u8,
    /// Rounds behind at which a replica fetches the others' state.
    transfer_lag: u64,
    are_logs_short: bool,
}

impl Cluster {
    pub(super) fn new(seed: u64) -> Self {
        Self::with_keys(seed, 1)
    }

    /// The same where each server has so many keys for blocks.
    pub(super) fn with_keys(seed: u64, keys: u8) -> Self {
        Self::of(World::new(4, 1), seed, (keys, u64::MAX))
    }

    /// The same with logs of what is above the last checkpoint only, one every 16 commits.
    pub(super) fn with_short_logs(seed: u64, keys: u8, transfer_lag: u64) -> Self {
        Self::of(World::with_checkpoints(4, 1, 16), seed, (keys, transfer_lag))
    }

    /// The same where each server has a wormhole that outlives crashes, and a spare key for blocks.
    pub(super) fn hybrid(seed: u64) -> Self {
        Self::of(World::hybrid(4, 1), seed, (2, u64::MAX))
    }

    /// The same in `world`, where each server has so many keys and so many rounds are read.
    pub(super) fn of(world: World, seed: u64, (keys, transfer_lag): (u8, u64)) -> Self {
        let mut cluster = Self {
            keys,
            transfer_lag,
            are_logs_short: world.plan.plan.checkpoint_every == 16,
            world,
            nodes: (0..4).map(|_| Node::new()).collect(),
            now: Time(1_000_000_000),
            chance: Chance(seed),
            roots: BTreeMap::new(),
            corrupt: BTreeSet::new(),
            queue: BTreeMap::new(),
            sent: 0,
        };
        (0..4).for_each(|id| cluster.start(id));
        cluster
    }

    pub(super) fn replica(&self, id: u16) -> &Replica {
        self.nodes[usize::from(id)].replica.as_ref().expect("it is up")
    }

    pub(super) fn node(&mut self, id: u16) -> &mut Node {
        &mut self.nodes[usize::from(id)]
    }

    /// A replica from what such a disk holds, as the server would build it.
    pub(super) fn build(&self, id: u16, backend: &MemoryBackend, log: &[LogRecord]) -> Replica {
        let own = ReplicaId(id);
        let setup = Setup {
            plan: self.world.plan.clone(),
            keyring: self.world.keyring.clone(),
            keys: (0..self.keys).map(|turn| Arc::new(self.world.block_key_of(own, turn))).collect(),
            identity: Arc::new(self.world.identity_key(own)),
            wormhole: self.world.keyring.wormhole(own).map(|_| OwnWormhole {
                certificate: self.world.certificate(own, self.world.instance_key(own).public()),
                last: self.nodes[usize::from(id)].attested,
            }),
            own,
            application: Box::new(Services::new(self.world.keyring.scheme().clone())),
            backend: Box::new(backend.handle()),
            nonce: self.nodes[usize::from(id)].lives << 8 | u64::from(id),
            transfer_lag: self.transfer_lag,
        };
        let place = recorded_place(backend);
        let records = log.iter().filter(|record| record.place > place);
        Replica::new(setup, records.cloned())
    }

    /// Starts, or starts again, from what is on the disk.
    pub(super) fn start(&mut self, id: u16) {
        self.node(id).lives += 1;
        self.node(id).draft = None;
        let node = &self.nodes[usize::from(id)];
        let replica = self.build(id, &node.backend, &node.log);
        self.node(id).epoch = replica.keyring().epoch();
        self.node(id).replica = Some(replica);
        self.act(id, |replica, now, out| replica.resume(now, out));
    }

    /// Ends the process in good order.
    pub(super) fn stop(&mut self, id: u16) {
        self.node(id).replica.as_mut().expect("it is up").close();
        self.crash(id);
    }

    /// Takes power away from a server whose disk keeps nothing but what was synced.
    pub(super) fn crash_at_once(&mut self, id: u16) {
        self.node(id).replica = None;
        self.node(id).backend.crash(0);
        self.crash(id);
    }

    /// Takes power away. Log records were durable before anything they led to was sent; of the
    /// state's batches any number survives.
    pub(super) fn crash(&mut self, id: u16) {
        let node = &mut self.nodes[usize::from(id)];
        node.replica = None;
        let kept = self.chance.index(node.backend.unsynced_batches() + 1);
        node.backend.crash(kept);
        node.heard.clear();
        self.queue.retain(|_, (from, to, _)| from.0 != id && to.0 != id);
    }

    /// The disk of a server that is down rots, in the public state.
    pub(super) fn rot(&mut self, id: u16) {
        let entries = self.nodes[usize::from(id)].backend.entries();
        let rotten = entries.keys().find(|key| key.first() == Some(&ServiceId::AUTH.0));
        let rotten = rotten.expect("the plan's clients are there").clone();
        let mut state = entries.get(&rotten).expect("it was found").clone();
        state.push(1);
        drop(entries);
        self.node(id).backend.write(&[(rotten, Some(state))]);
        self.node(id).backend.sync();
        self.corrupt.insert(ReplicaId(id));
    }

    /// Lets a replica act, and carries out what it asks for.
    pub(super) fn act(&mut self, id: u16, act: impl FnOnce(&mut Replica, Time, &mut Out)) {
        let now = self.now;
        let mut out = Vec::new();
        let Some(replica) = self.node(id).replica.as_mut() else { return };
        act(replica, now, &mut out);
        let is_urgent = replica.take_urgent();
        replica.settle(is_urgent); // what it persists is durable when it is appended
        for action in out {
            self.carry_out(id, action);
        }
        self.check_root(id);
    }

    fn carry_out(&mut self, id: u16, action: Action<Message, Event>) {
        let own = ReplicaId(id);
        match action {
            Action::Persist(entry) => {
                let node = self.node(id);
                node.log.push(entry.into_record(&mut node.draft));
            }
            Action::Send(to, message) => {
                if matches!(message, Message::Replay(_)) {
                    let asked =
                        (self.nodes[own.index()].epoch, self.replica(id).fetched_count(), to);
                    self.node(id).asked.push(asked);
                }
                self.send(own, to, message);
            }
            Action::Broadcast(message) => {
                (0..4).for_each(|to| self.send(own, ReplicaId(to), message.clone()));
            }
            Action::Accuse(who, Misbehaviour::Proven(evidence)) => {
                assert!(self.world.keyring.proves(&evidence));
                assert_eq!(evidence.accused(), who);
                self.node(id).accused.insert(who);
            }
            Action::Accuse(..) => {}
            Action::Attest(header) => match &mut self.node(id).waiting {
                Some(waiting) => waiting.push(header),
                None => self.answer(id, &header),
            },
            Action::Emit(Event::ToClient(connection, message)) => {
                self.node(id).heard.entry(connection).or_default().push(message);
            }
            Action::Emit(Event::Archive { to, part }) => self.answer_from_log(id, to, part),
            Action::Emit(Event::Serve { to, request }) => {
                let part = self.replica(id).state_part(&request);
                self.send(own, to, part);
            }
            Action::Emit(Event::Prunable(round)) => self.node(id).prunable.push(round),
            Action::Emit(Event::Epoch(plan)) => self.node(id).epoch = plan.plan.epoch,
            Action::Emit(Event::Status(status)) => self.node(id).statuses.push(status),
        }
    }

    /// The wormhole of a node attests.
    pub(super) fn answer(&mut self, id: u16, header: &BlockHeader) {
        let last = self.attest(header);
        self.node(id).attested = Some(last);
        self.act(id, |replica, now, out| {
            replica.on_attested(now, header, last.signature, out);
        });
    }

    /// As the author's wormhole would that attests anything.
    fn attest(&self, header: &BlockHeader) -> LastAttested {
        let instance = self.world.instance_key(header.reference.author);
        let bytes = header.attested_bytes(&instance.public());
        LastAttested {
            epoch: header.epoch,
            previous: header.previous,
            round: header.reference.round,
            digest: header.reference.digest,
            signature: instance.sign(ravelin_crypto::Domain::Attestation, &bytes),
        }
    }

    fn answer_from_log(&mut self, id: u16, to: ReplicaId, part: LogPart) {
        let node = &self.nodes[usize::from(id)];
        let pruned = node.prunable.iter().max().filter(|_| self.are_logs_short);
        let is_kept = |place| pruned.is_none_or(|pruned| place >= *pruned);
        let records = node
            .log
            .iter()
            .filter(|record| is_kept(record.place) && part.holds(record.place, &record.bytes));
        let mut records: Vec<_> = records.cloned().collect();
        if matches!(part, LogPart::Chain { .. }) {
            records.reverse();
        }
        records.truncate(64);
        let Some(asker) = &self.nodes[to.index()].replica else { return };
        let verdicts = crate::peer::verify(asker.keyring(), crate::peer::logged(&part, records));
        for verdict in verdicts {
            let message = verdict.expect("a log holds what was checked");
            self.send_of(part.epoch(), ReplicaId(id), to, message);
        }
    }

    fn send(&mut self, from: ReplicaId, to: ReplicaId, message: Message) {
        self.send_of(self.nodes[from.index()].epoch, from, to, message);
    }

    fn send_of(&mut self, epoch: Epoch, from: ReplicaId, to: ReplicaId, message: Message) {
        let is_cut = self.nodes[from.index()].is_cut_off || self.nodes[to.index()].is_cut_off;
        if from != to && is_cut {
            return;
        }
        let delay = Duration::from_micros(500 + self.chance.below(4_000));
        self.sent += 1;
        self.queue.insert((self.now.after(delay), self.sent), (from, to, (epoch, message)));
    }

    /// Replicas that stand at one commit have one state.
    fn check_root(&mut self, id: u16) {
        let Some(replica) = &self.nodes[usize::from(id)].replica else { return };
        let execution = replica.execution();
        let commit = execution.state().commit();
        let stands = (execution.state().root(), execution.position(), execution.time());
        if !self.corrupt.contains(&ReplicaId(id)) && !replica.is_fetching() {
            assert_eq!(*self.roots.entry(commit).or_insert(stands), stands, "{commit:?}");
        }
    }

    /// Lets the time of the next happening come.
    pub(super) fn step(&mut self) {
        let up = self
            .nodes
            .iter()
            .enumerate()
            .filter_map(|(id, node)| Some((id, node.replica.as_ref()?)));
        let alarm = up.filter_map(|(id, replica)| Some((replica.next_deadline()?, id))).min();
        let arrival = self.queue.first_key_value().map(|((time, _), _)| *time);
        match (alarm, arrival) {
            (Some((time, id)), arrival) if arrival.is_none_or(|arrival| time < arrival) => {
                self.now = self.now.max(time);
                let id = u16::try_from(id).expect("four of them");
                self.act(id, |replica, now, out| replica.on_time(now, out));
            }
            (_, Some(_)) => {
                let ((time, _), (from, to, (epoch, message))) =
                    self.queue.pop_first().expect("something arrives");
                self.now = self.now.max(time);
                let Some(replica) = &self.nodes[to.index()].replica else { return };
                let message = crate::peer::heard(replica.keyring(), epoch, message);
                self.act(to.0, |replica, now, out| replica.on_message(now, from, message, out));
            }
            (_, None) => self.now = self.now.after(Duration::from_millis(100)),
        }
    }

    /// Goes on for so long.
    pub(super) fn run(&mut self, span: Duration) {
        let until = self.now.after(span);
        while self.now < until {
            self.step();
        }
    }

    /// Goes on until something holds; for a minute at most.
    pub(super) fn run_until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        let until = self.now.after(Duration::from_secs(60));
        while !holds(self) {
            assert!(self.now < until, "never: {what}: {}", self.tell());
            self.step();
        }
    }

    /// Where everybody stands.
    fn tell(&self) -> String {
        let up = self.nodes.iter().filter_map(|node| node.replica.as_ref());
        let told = up.map(|replica| {
            let (epoch, commit) = (replica.keyring().epoch(), replica.execution().state().commit());
            let (round, ended) = (replica.ordering().round(), replica.has_ended());
            format!("{epoch:?} {:?} {commit:?} {round:?} ended: {ended}; ", replica.status())
        });
        told.collect()
    }

    /// Connects a client of the plan.
    pub(super) fn connect(&mut self, id: u16, connection: u64, key: PublicKey) -> ConnectionId {
        let connection = ConnectionId(connection);
        self.act(id, |replica, _, _| replica.on_client_opened(connection, key));
        connection
    }

    pub(super) fn ask(&mut self, id: u16, connection: ConnectionId, message: ClientMessage) {
        self.act(id, |replica, now, out| {
            replica.on_client(now, connection, ClientInput::Other(message), out);
        });
    }

    pub(super) fn submit(&mut self, id: u16, connection: ConnectionId, envelope: &Envelope) {
        let envelope = self.world.verified(envelope);
        self.act(id, |replica, now, out| {
            replica.on_client(now, connection, ClientInput::Submit(envelope), out);
        });
    }

    /// Takes what a client was told.
    pub(super) fn take(&mut self, id: u16, connection: ConnectionId) -> Vec<ServerMessage> {
        self.node(id).heard.remove(&connection).unwrap_or_default()
    }

    /// Opens a session for client 0 through replica 0 and waits until all have it.
    pub(super) fn open_session(&mut self) -> u64 {
        let client = self.world.client(0);
        let connection = self.connect(0, 1000, client);
        let opening = self.world.opening(0, self.now.0);
        self.submit(0, connection, &opening);
        self.run_until("an opened session", |cluster| {
            cluster.nodes[0].heard.contains_key(&connection)
        });
        let Some(ServerMessage::Answers { batch, .. }) = self.take(0, connection).pop() else {
            panic!("no answer to an opening")
        };
        crate::testing::opened(&batch.answers[0]).expect("opened")
    }

    pub(super) fn write(&self, session: u64, first: u64, key: &[u8]) -> Envelope {
        let write = Write {
            key: key.to_vec(),
            value: Some(first.to_le_bytes().to_vec()),
            condition: Condition::Always,
            lease: None,
        };
        let request = KvRequest::Write(write).encode();
        let operation = Operation { service: ServiceId::KV, request };
        self.world.envelope(0, session, first, vec![operation])
    }

    /// Blocks of two branches of one member's chain, in its first round.
    pub(super) fn fork(&self, member: u16) -> [Message; 2] {
        [1, 2].map(|timestamp| {
            let author = ReplicaId(member);
            let genesis = |member| BlockRef::genesis(member, self.world.keyring.genesis());
            let others = (0..4).map(ReplicaId).filter(|other| *other != author);
            let parents = std::iter::once(author).chain(others).map(genesis).collect();
            Message::Block(self.block(author, Round(1), parents, Time(timestamp)))
        })
    }

    /// A block as whoever owns its author's server can make it.
    pub(super) fn block(
        &self,
        author: ReplicaId,
        round: Round,
        parents: Vec<BlockRef>,
        timestamp: Time,
    ) -> Verified<Block> {
        let keyring = &self.world.keyring;
        let body = ravelin_model::BlockBody {
            cluster: keyring.cluster(),
            genesis: keyring.genesis(),
            epoch: keyring.epoch(),
            author,
            round,
            parents,
            exposed: vec![],
            timestamp,
            envelopes: vec![],
            votes: vec![],
        };
        if keyring.wormhole(author).is_none() {
            return keyring.sign_block(&self.world.block_key(author), body);
        }
        let draft = keyring.draft_block(body);
        let attestation = self.attest(&draft.header()).signature;
        keyring.attest_block(draft, attestation).expect("by its instance")
    }
}
