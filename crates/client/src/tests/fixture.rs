//! A session and the keys of all members: a test says what each member tells.

use std::time::Duration;

use ravelin_crypto::answers::answer_leaf;
use ravelin_crypto::merkle::MerkleTree;
use ravelin_crypto::state_tree::{StateTree, state_key, value_digest};
use ravelin_crypto::{Keyring, Registry, Scheme, SigningKey, plan_digest, sign_plan};
use ravelin_model::plan::{Labels, PLAN_VERSION};
use ravelin_model::requests::session::SessionReply;
use ravelin_model::wire::{ClientMessage, ServerMessage, StateProof};
use ravelin_model::{
    Answer, AnswerBatch, ClientEntry, ClusterId, ClusterPlan, CommitIndex, CommitStatement, Digest,
    Encode as _, Envelope, Epoch, FaultModel, Group, Incarnation, Member, Misbehaviour, Operation,
    OperationResult, Position, PublicKey, Purpose, ReplicaId, Sequence, ServiceId, SessionId,
    SignedPlan, SignedStatement, Time,
};

use crate::event::{ClientAction, Event};
use crate::session::{Session, SessionConfig};

/// Where the virtual clock starts.
pub(super) const START: Time = Time(1_700_000_000_000_000);
/// Patience of sessions in tests.
pub(super) const PATIENCE: Duration = Duration::from_millis(100);
/// The session that [`Fixture::open`] gets.
pub(super) const SESSION: SessionId = SessionId(5);

/// The keys of a cluster and its clients.
pub(super) struct Keys {
    pub(super) registry: Registry,
    pub(super) members: Vec<SigningKey>,
    pub(super) plan: SignedPlan,
    pub(super) keyring: Keyring,
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
    };
    let mut plan = SignedPlan { plan, signatures: Vec::new() };
    sign_plan(&mut plan, &key(4, 0));
    let cluster = ClusterId(plan_digest(&plan.plan));
    let keyring = Keyring::new(cluster, &plan, Scheme::Simulated(registry.clone())).unwrap();
    let members = (0..u8::try_from(n).unwrap()).map(|index| key(2, index)).collect();
    Keys { registry, members, plan, keyring }
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
        let session = Session::new(keys.keyring.clone(), key, config);
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
        self.keys.keyring.sign_statement(&self.keys.members[member], id(member), statement)
    }

    /// `member`'s signed answers, between those to two other sessions.
    pub(super) fn answers(&self, member: usize, commit: u64, batch: &AnswerBatch) -> ServerMessage {
        let leaves = vec![Digest([1; 32]), answer_leaf(batch), Digest([2; 32])];
        let tree = MerkleTree::new(leaves);
        let statement = self.sign(member, self.statement(commit, tree.root()));
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
