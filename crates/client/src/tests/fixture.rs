//! A session and the keys of all members: a test says what each member tells.

use std::time::Duration;

use ravelin_crypto::answers::answer_leaf;
use ravelin_crypto::merkle::MerkleTree;
use ravelin_crypto::state_tree::{StateTree, state_key, value_digest};
use ravelin_crypto::{
    Keyring, Registry, Scheme, SigningKey, plan_digest, sign_handover, sign_plan,
};
use ravelin_model::plan::{Labels, PLAN_VERSION};
use ravelin_model::requests::session::SessionReply;
use ravelin_model::wire::{ClientMessage, ServerMessage, StateProof};
use ravelin_model::{
    Answer, AnswerBatch, ClientEntry, ClusterId, ClusterPlan, CommitIndex, CommitStatement, Digest,
    Encode as _, Envelope, Epoch, Evidence, FaultModel, Group, Incarnation, Member, Misbehaviour,
    Operation, OperationResult, Position, Previous, PublicKey, Purpose, ReplicaId, Sequence,
    ServiceId, SessionId, SignedPlan, SignedStatement, Time, WormholeKeys,
};

use crate::event::{ClientAction, Event};
use crate::session::{Session, SessionConfig};

/// Where the virtual clock starts.
pub(super) const START: Time = Time(1_700_000_000_000_000);
/// Patience of sessions in tests.
pub(super) const PATIENCE: Duration = Duration::from_millis(100);
/// The session that [`Fixture::open`] gets.
pub(super) const SESSION: SessionId = SessionId(5);

/// The keys of a cluster and its clients, in the newest epoch and those before it.
pub(super) struct Keys {
    pub(super) registry: Registry,
    pub(super) members: Vec<SigningKey>,
    pub(super) plan: SignedPlan,
    pub(super) keyring: Keyring,
    /// Every plan, the newest included.
    pub(super) chain: Vec<SignedPlan>,
    /// Of the block keys.
    seeds: Vec<[u8; 32]>,
    /// What was signed with in each epoch but the newest.
    older: Vec<(Keyring, Vec<SigningKey>)>,
}

impl Keys {
    /// The plan after the newest, with other block keys of these members, and the seeds
    /// of all block keys.
    pub(super) fn successor(&self, changed: &[usize], kind: u8) -> (SignedPlan, Vec<[u8; 32]>) {
        let mut plan = self.plan.plan.clone();
        plan.epoch = plan.epoch.next();
        plan.previous = Some(Previous {
            plan: plan_digest(&self.plan.plan),
            commit: CommitIndex(plan.epoch.0),
            time: START,
            position: Position(5),
            state: Digest::default(),
            ordering: Digest::default(),
        });
        let mut seeds = self.seeds.clone();
        for member in changed {
            seeds[*member] = seed(kind, u8::try_from(*member).unwrap());
            seeds[*member][1] = u8::try_from(plan.epoch.0).unwrap();
            let key = SigningKey::simulated(&seeds[*member], &self.registry);
            plan.members[*member].block = key.public();
        }
        (SignedPlan { plan, signatures: Vec::new() }, seeds)
    }

    /// Signs `next` with keys of these members of the newest epoch.
    pub(super) fn hand_over(
        &self,
        next: &mut SignedPlan,
        signers: impl IntoIterator<Item = usize>,
    ) {
        for signer in signers {
            let key = &self.members[signer];
            next.signatures.push((key.public(), sign_handover(&plan_digest(&next.plan), key)));
        }
    }

    /// Begins the next epoch, in which these members have other block keys.
    pub(super) fn rekey(&mut self, changed: &[usize]) {
        let (mut next, seeds) = self.successor(changed, 20);
        self.hand_over(&mut next, 0..self.keyring.group().quorum());
        let keys = seeds.iter().map(|seed| SigningKey::simulated(seed, &self.registry));
        let members = keys.collect();
        self.seeds = seeds;
        let scheme = self.keyring.scheme().clone();
        let keyring = Keyring::new(self.keyring.cluster(), &next, scheme).unwrap();
        let keyring = std::mem::replace(&mut self.keyring, keyring);
        self.older.push((keyring, std::mem::replace(&mut self.members, members)));
        self.chain.push(next.clone());
        self.plan = next;
    }

    /// What was signed with in an epoch; in the newest, for one that never was.
    pub(super) fn at(&self, epoch: Epoch) -> (&Keyring, &[SigningKey]) {
        let older = self.older.iter().find(|(keyring, _)| keyring.epoch() == epoch);
        older.map_or((&self.keyring, &self.members), |(keyring, keys)| (keyring, keys.as_slice()))
    }

    /// Whether evidence holds in some epoch.
    pub(super) fn prove(&self, evidence: &Evidence) -> bool {
        let older = self.older.iter().map(|(keyring, _)| keyring);
        older.chain([&self.keyring]).any(|keyring| keyring.proves(evidence))
    }
}

pub(super) fn seed(kind: u8, index: u8) -> [u8; 32] {
    let mut seed = [kind; 32];
    seed[0] = index;
    seed
}

pub(super) fn keys(n: u16, f: u16, fault_model: FaultModel) -> Keys {
    let registry = Registry::default();
    let key = |kind, index| SigningKey::simulated(&seed(kind, index), &registry);
    let members = (0..u8::try_from(n).unwrap()).map(|index| Member {
        name: format!("server-{index}"),
        identity: key(1, index).public(),
        block: key(2, index).public(),
        transport: key(3, index).public(),
        wormhole: (fault_model == FaultModel::Hybrid)
            .then(|| WormholeKeys { provisioned: key(6, index).public(), instance: None }),
        peer_address: format!("server-{index}:1"),
        client_address: format!("server-{index}:2"),
        labels: Labels::default(),
    });
    let plan = ClusterPlan {
        version: PLAN_VERSION,
        name: "test".into(),
        purpose: Purpose::Local,
        incarnation: Incarnation(1),
        epoch: Epoch(1),
        previous: None,
        fault_model,
        f,
        leaders_per_round: 1,
        members: members.collect(),
        administrators: vec![key(4, 0).public()],
        administrators_needed: 1,
        clients: vec![ClientEntry { name: "client".into(), key: key(5, 0).public() }],
        rekey_interval_min_s: 3600,
        checkpoint_every: 1024,
    };
    let mut plan = SignedPlan { plan, signatures: Vec::new() };
    sign_plan(&mut plan, &key(4, 0));
    let cluster = ClusterId(plan_digest(&plan.plan));
    let keyring = Keyring::new(cluster, &plan, Scheme::Simulated(registry.clone())).unwrap();
    let seeds: Vec<_> = (0..u8::try_from(n).unwrap()).map(|index| seed(2, index)).collect();
    let members = seeds.iter().map(|seed| SigningKey::simulated(seed, &registry)).collect();
    let (chain, older) = (vec![plan.clone()], Vec::new());
    Keys { registry, members, plan, keyring, chain, seeds, older }
}

/// A session under test, with all members connected.
pub(super) struct Fixture {
    pub(super) keys: Keys,
    pub(super) group: Group,
    pub(super) client: PublicKey,
    pub(super) session: Session,
    pub(super) now: Time,
    sends: Vec<(ReplicaId, ClientMessage)>,
    events: Vec<Event>,
}

impl Fixture {
    pub(super) fn new(n: u16, f: u16, model: FaultModel) -> Self {
        let keys = keys(n, f, model);
        let key = SigningKey::simulated(&seed(5, 0), &keys.registry);
        let client = key.public();
        let config = SessionConfig { patience: PATIENCE, seed: [7; 32] };
        let session = Session::new(keys.keyring.clone(), keys.plan.clone(), key, config);
        let group = keys.keyring.group();
        let (sends, events) = (Vec::new(), Vec::new());
        let mut fixture = Self { keys, group, client, session, now: START, sends, events };
        for member in group.members() {
            fixture.act(|session, now, out| session.on_connected(now, member, out));
        }
        fixture
    }

    /// Four members of which one may be intruded.
    pub(super) fn four() -> Self {
        Self::new(4, 1, FaultModel::Arbitrary)
    }

    /// With a session opened by the first members of a quorum.
    pub(super) fn open(mut self) -> Self {
        self.act(|session, now, out| session.open(now, out).unwrap());
        self.opened()
    }

    /// The opening under way is answered by the first members of a quorum.
    pub(super) fn opened(mut self) -> Self {
        self.take_events();
        let reply = SessionReply::Opened(SESSION).encode();
        let mut batch = self.batch(&[(START.0, SESSION.0, &reply)]);
        batch.session = SessionId(0);
        for member in 0..self.group.quorum() {
            let message = self.answers(member, 1, &batch);
            self.tell(member, message);
        }
        assert_eq!(self.take_events(), [Event::Opened { session: SESSION }]);
        self.take_sends();
        self
    }

    pub(super) fn act<R>(
        &mut self,
        act: impl FnOnce(&mut Session, Time, &mut Vec<ClientAction>) -> R,
    ) -> R {
        let mut out = Vec::new();
        let result = act(&mut self.session, self.now, &mut out);
        for action in out {
            match action {
                ClientAction::Send(to, message) => self.sends.push((to, message)),
                ClientAction::Deliver(event) => self.events.push(event),
            }
        }
        result
    }

    /// `member` tells something over its connection.
    pub(super) fn tell(&mut self, member: usize, message: ServerMessage) {
        self.act(|session, now, out| session.on_message(now, id(member), message, out));
    }

    /// `member` tells the session of the newest epoch and shows the plans of all.
    pub(super) fn follow(&mut self, member: usize) {
        let message = self.answers(member, 1000, &self.batch(&[]));
        self.tell(member, message);
        self.tell(member, ServerMessage::Plans(self.keys.chain.clone()));
        assert_eq!(self.session.plan(), &self.keys.plan);
    }

    /// Lets time pass up to the session's next deadline.
    pub(super) fn wait(&mut self) {
        self.now = self.session.next_deadline().expect("something is awaited");
        self.act(Session::on_time);
    }

    pub(super) fn take_sends(&mut self) -> Vec<(ReplicaId, ClientMessage)> {
        std::mem::take(&mut self.sends)
    }

    /// The envelopes sent since the last look.
    pub(super) fn take_envelopes(&mut self) -> Vec<(ReplicaId, Envelope)> {
        let sends = self.take_sends().into_iter();
        sends
            .filter_map(|(to, message)| match message {
                ClientMessage::Submit(envelope) => Some((to, envelope)),
                _ => None,
            })
            .collect()
    }

    pub(super) fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// The members accused since the last look, each with whether it is proven; nothing else must
    /// have happened.
    pub(super) fn take_accusations(&mut self) -> Vec<(ReplicaId, bool)> {
        let events = self.take_events().into_iter();
        events
            .map(|event| match event {
                Event::Accused { replica, misbehaviour } => {
                    (replica, matches!(*misbehaviour, Misbehaviour::Proven(_)))
                }
                other => panic!("{other:?}"),
            })
            .collect()
    }

    /// Submits as many operations; their first number.
    pub(super) fn submit(&mut self, operations: usize) -> u64 {
        let operations = vec![operation(b"w"); operations];
        self.act(|session, now, out| session.submit(now, operations, out).unwrap());
        match self.sends.iter().rev().find_map(|(_, message)| match message {
            ClientMessage::Submit(envelope) => Some(envelope.first.0),
            _ => None,
        }) {
            Some(first) => first,
            None => panic!("nothing was sent"),
        }
    }

    /// Answers of the open session: (sequence, position, reply).
    pub(super) fn batch(&self, answers: &[(u64, u64, &[u8])]) -> AnswerBatch {
        let answers = answers.iter().map(|(sequence, position, reply)| Answer {
            sequence: Sequence(*sequence),
            position: Position(*position),
            index: 0,
            result: OperationResult::Done(reply.to_vec()),
        });
        AnswerBatch { client: self.client, session: SESSION, answers: answers.collect() }
    }

    pub(super) fn statement(&self, commit: u64, answers: Digest) -> CommitStatement {
        CommitStatement {
            cluster: self.keys.keyring.cluster(),
            incarnation: self.keys.keyring.incarnation(),
            epoch: self.keys.keyring.epoch(),
            commit: CommitIndex(commit),
            position: Position(commit * 10),
            time: START,
            answers,
            state: Digest([commit as u8; 32]),
            ordering: None,
        }
    }

    pub(super) fn sign(&self, member: usize, statement: CommitStatement) -> SignedStatement {
        let (keyring, keys) = self.keys.at(statement.epoch);
        keyring.sign_statement(&keys[member], id(member), statement)
    }

    /// `member`'s signed answers in the newest epoch, between those to two other sessions.
    pub(super) fn answers(&self, member: usize, commit: u64, batch: &AnswerBatch) -> ServerMessage {
        self.answers_in(self.keys.keyring.epoch(), member, commit, batch)
    }

    /// The same in another epoch.
    pub(super) fn answers_in(
        &self,
        epoch: Epoch,
        member: usize,
        commit: u64,
        batch: &AnswerBatch,
    ) -> ServerMessage {
        let leaves = vec![Digest([1; 32]), answer_leaf(batch), Digest([2; 32])];
        let tree = MerkleTree::new(leaves);
        let statement = CommitStatement { epoch, ..self.statement(commit, tree.root()) };
        let statement = self.sign(member, statement);
        let path = tree.path(1).unwrap();
        ServerMessage::Answers { statement, batch: batch.clone(), path }
    }

    /// A state in which one key of the kv service has a value: its statement, and the proof of what
    /// `key` has in it.
    pub(super) fn state(
        &self,
        (of, value): (&[u8], &[u8]),
        key: &[u8],
    ) -> (CommitStatement, StateProof) {
        let mut tree = StateTree::new();
        tree.insert(&state_key(ServiceId::KV, of), value_digest(value));
        tree.insert(&state_key(ServiceId::KV, b"another"), value_digest(b"x"));
        let path = tree.prove(&state_key(ServiceId::KV, key));
        let statement =
            CommitStatement { state: tree.root(), ..self.statement(9, Digest::default()) };
        (statement, StateProof { value: (of == key).then(|| value.to_vec()), path })
    }
}

pub(super) fn id(member: usize) -> ReplicaId {
    ReplicaId(u16::try_from(member).unwrap())
}

pub(super) fn operation(request: &[u8]) -> Operation {
    Operation { service: ServiceId::KV, request: request.to_vec() }
}

/// Groups of every fault model that clients use.
pub(super) fn groups() -> [(u16, u16, FaultModel); 5] {
    [
        (4, 1, FaultModel::Arbitrary),
        (5, 1, FaultModel::Arbitrary),
        (7, 2, FaultModel::Arbitrary),
        (3, 1, FaultModel::Hybrid),
        (7, 2, FaultModel::Asynchronous),
    ]
}
