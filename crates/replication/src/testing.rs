//! What tests of this crate share: a group's keys, clients, blocks, a toy service, and a machine that
//! executes commits.

use ravelin_crypto::{
    Domain, Keyring, Registry, Scheme, SigningKey, Verified, VerifiedEnvelope, plan_digest,
};
use ravelin_model::limits::CHECKPOINT_EVERY_DEFAULT;
use ravelin_model::requests::session::{SessionReply, SessionRequest};
use ravelin_model::{
    Answer, Application, Block, BlockBody, BlockRef, Change, ClientEntry, ClusterId, ClusterPlan,
    CommitIndex, Context, Decode as _, Digest, Encode as _, Envelope, Epoch, FaultModel,
    Incarnation, InstanceCertificate, Member, Operation, OperationResult, Outcome, PublicKey,
    Purpose, QueryContext, Refusal, ReplicaId, Round, Sequence, ServiceId, ServiceStores,
    SessionId, Signature, SignedPlan, StateBackend, Store, Time, Vote, WormholeKeys,
};
use ravelin_multicast::{Committed, OrderingState, Slot};

use crate::execution::{Executed, Execution, progress};
use crate::members::Members;
use crate::state::{MemoryBackend, State};

/// SplitMix64: enough chance for tests.
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }

    pub(crate) fn index(&mut self, limit: usize) -> usize {
        usize::try_from(self.below(limit as u64)).unwrap()
    }

    pub(crate) fn shuffle<T>(&mut self, list: &mut [T]) {
        for end in (1..list.len()).rev() {
            list.swap(end, self.index(end + 1));
        }
    }
}

/// Keys of a group and of its clients, with simulated signatures.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) plan: SignedPlan,
    pub(crate) keyring: Keyring,
    registry: Registry,
}

/// Clients that the plan enrols; those with higher numbers are strangers.
pub(crate) const CLIENTS: u8 = 4;

impl World {
    pub(crate) fn new(n: u16, f: u16) -> Self {
        Self::with_checkpoints(n, f, CHECKPOINT_EVERY_DEFAULT)
    }

    pub(crate) fn with_checkpoints(n: u16, f: u16, checkpoint_every: u64) -> Self {
        Self::of((n, f, FaultModel::Arbitrary), checkpoint_every)
    }

    /// A group whose members have wormholes.
    pub(crate) fn hybrid(n: u16, f: u16) -> Self {
        Self::of((n, f, FaultModel::Hybrid), CHECKPOINT_EVERY_DEFAULT)
    }

    fn of((n, f, model): (u16, u16, FaultModel), checkpoint_every: u64) -> Self {
        let registry = Registry::default();
        let public = |kind: u8, index: u16| key(kind, index, &registry).public();
        let members = (0..n).map(|index| Member {
            name: format!("s{index}"),
            identity: public(1, index),
            block: public(2, index),
            transport: public(3, index),
            wormhole: (model == FaultModel::Hybrid).then(|| WormholeKeys {
                provisioned: public(6, index),
                instance: Some(public(7, index)),
            }),
            peer_address: format!("127.0.0.1:{}", 7000 + index),
            client_address: format!("127.0.0.1:{}", 8000 + index),
            labels: Default::default(),
        });
        let client =
            |index: u8| ClientEntry { name: format!("c{index}"), key: public(4, u16::from(index)) };
        let plan = ClusterPlan {
            version: ravelin_model::plan::PLAN_VERSION,
            name: "test".into(),
            purpose: Purpose::Local,
            incarnation: Incarnation(1),
            epoch: Epoch(1),
            previous: None,
            fault_model: model,
            f,
            leaders_per_round: 1,
            members: members.collect(),
            administrators: vec![public(5, 0)],
            administrators_needed: 1,
            clients: (0..CLIENTS).map(client).collect(),
            rekey_interval_min_s: 3600,
            checkpoint_every,
        };
        let cluster = ClusterId(plan_digest(&plan));
        let plan = SignedPlan { plan, signatures: vec![] };
        let scheme = Scheme::Simulated(registry.clone());
        let keyring = Keyring::new(cluster, &plan, scheme).unwrap();
        Self { plan, keyring, registry }
    }

    pub(crate) fn block_key(&self, member: ReplicaId) -> SigningKey {
        key(2, member.0, &self.registry)
    }

    /// A member's key for blocks, before its change of this number.
    pub(crate) fn block_key_of(&self, member: ReplicaId, turn: u8) -> SigningKey {
        key(if turn == 0 { 2 } else { 10 + turn }, member.0, &self.registry)
    }

    /// What a member's wormhole attests with.
    pub(crate) fn instance_key(&self, member: ReplicaId) -> SigningKey {
        key(7, member.0, &self.registry)
    }

    /// The word of a member's wormhole that `instance` is its own.
    pub(crate) fn certificate(
        &self,
        member: ReplicaId,
        instance: PublicKey,
    ) -> InstanceCertificate {
        let signature = Signature([0; 64]);
        let mut certificate = InstanceCertificate { instance, is_rollback_proof: false, signature };
        let bytes = certificate.signed_bytes(self.keyring.cluster(), member);
        let provisioned = key(6, member.0, &self.registry);
        certificate.signature = provisioned.sign(Domain::Instance, &bytes);
        certificate
    }

    pub(crate) fn identity_key(&self, member: ReplicaId) -> SigningKey {
        key(1, member.0, &self.registry)
    }

    pub(crate) fn client_key(&self, client: u8) -> SigningKey {
        key(4, u16::from(client), &self.registry)
    }

    pub(crate) fn client(&self, client: u8) -> PublicKey {
        self.client_key(client).public()
    }

    /// One of more clients than [`Self::client_key`] has.
    pub(crate) fn crowd_key(&self, number: u16) -> SigningKey {
        let mut seed = [9; 32];
        seed[..2].copy_from_slice(&number.to_le_bytes());
        SigningKey::simulated(&seed, &self.registry)
    }

    pub(crate) fn administrator(&self) -> SigningKey {
        key(5, 0, &self.registry)
    }

    /// An envelope for the toy service.
    pub(crate) fn toys(&self, client: u8, session: u64, first: u64, toys: &[Toy]) -> Envelope {
        let operation = |toy: &Toy| Operation { service: ServiceId::KV, request: toy.request() };
        let operations = toys.iter().map(operation).collect();
        self.envelope(client, session, first, operations)
    }

    pub(crate) fn opening(&self, client: u8, number: u64) -> Envelope {
        self.envelope(client, 0, number, vec![session_operation(SessionRequest::Open)])
    }

    pub(crate) fn envelope(
        &self,
        client: u8,
        session: u64,
        first: u64,
        operations: Vec<Operation>,
    ) -> Envelope {
        self.signed(&self.client_key(client), session, first, operations)
    }

    pub(crate) fn signed(
        &self,
        key: &SigningKey,
        session: u64,
        first: u64,
        operations: Vec<Operation>,
    ) -> Envelope {
        let envelope = Envelope {
            cluster: self.keyring.cluster(),
            incarnation: self.keyring.incarnation(),
            client: key.public(),
            session: SessionId(session),
            first: Sequence(first),
            operations,
            signature: Signature([0; 64]),
        };
        Keyring::sign_envelope(key, envelope)
    }

    pub(crate) fn verified(&self, envelope: &Envelope) -> VerifiedEnvelope {
        self.keyring.verify_envelopes(vec![envelope.clone()]).pop().unwrap().unwrap()
    }

    /// A block outside any DAG.
    pub(crate) fn block(
        &self,
        author: ReplicaId,
        round: Round,
        envelopes: Vec<Envelope>,
        votes: Vec<Vote>,
    ) -> Verified<Block> {
        let body = BlockBody {
            cluster: self.keyring.cluster(),
            genesis: self.keyring.genesis(),
            epoch: self.keyring.epoch(),
            author,
            round,
            parents: vec![BlockRef::genesis(author, self.keyring.genesis())],
            exposed: vec![],
            timestamp: Time(round.0),
            envelopes,
            votes,
        };
        self.keyring.sign_block(&self.block_key(author), body)
    }

    /// What the members of a group of four might have committed as number `commit`.
    pub(crate) fn commit(&self, commit: u64, time: Time, envelopes: Vec<Envelope>) -> Committed {
        self.commit_of(commit, time, vec![(ReplicaId(0), envelopes)])
    }

    /// The same, of blocks of several authors.
    pub(crate) fn commit_of(
        &self,
        commit: u64,
        time: Time,
        blocks: Vec<(ReplicaId, Vec<Envelope>)>,
    ) -> Committed {
        let round = Round(commit);
        let block = |(author, envelopes)| self.block(author, round, envelopes, vec![]);
        let blocks: Vec<_> = blocks.into_iter().map(block).collect();
        let slot = Slot { round: round.next(), index: 0 };
        let mut state = OrderingState::first(self.keyring.group(), self.keyring.genesis(), slot);
        state.commit = CommitIndex(commit);
        state.leader_round = round;
        state.time = time;
        let leader = blocks[0].reference();
        Committed { leader, blocks, state, forgotten: vec![], checkpoint: None }
    }
}

fn key(kind: u8, index: u16, registry: &Registry) -> SigningKey {
    let mut seed = [kind; 32];
    seed[0] = u8::try_from(index).unwrap();
    SigningKey::simulated(&seed, registry)
}

pub(crate) fn session_operation(request: SessionRequest) -> Operation {
    Operation { service: ServiceId::SESSION, request: request.encode() }
}

/// Requests of a service whose replies and traces are easy to foresee.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Toy {
    /// Counts up; the reply is the count.
    Count,
    /// Writes, and replies with so many bytes.
    Write(u32),
    /// Reads so many bytes.
    Read(u32),
    /// Reads the count.
    ReadCount,
    /// Writes, and then refuses.
    Refuse,
    /// Leaves something for the sweep to remove.
    Leave,
    /// Looks up the count so often, and counts up.
    Search(u32),
    /// Looks up the count so often; the reply is the count.
    Look(u32),
}

impl Toy {
    pub(crate) fn request(self) -> Vec<u8> {
        let (tag, size) = match self {
            Self::Count => (0u8, 0),
            Self::Write(size) => (1, size),
            Self::Read(size) => (2, size),
            Self::ReadCount => (3, 0),
            Self::Refuse => (4, 0),
            Self::Leave => (5, 0),
            Self::Search(times) => (6, times),
            Self::Look(times) => (7, times),
        };
        (tag, size).encode()
    }

    fn read(request: &[u8]) -> Option<Self> {
        match <(u8, u32)>::decode("toy", request).ok()? {
            (0, 0) => Some(Self::Count),
            (1, size) => Some(Self::Write(size)),
            (2, size) => Some(Self::Read(size)),
            (3, 0) => Some(Self::ReadCount),
            (4, 0) => Some(Self::Refuse),
            (5, 0) => Some(Self::Leave),
            (6, times) => Some(Self::Search(times)),
            (7, times) => Some(Self::Look(times)),
            _ => None,
        }
    }
}

const COUNT: &[u8] = b"count";
const LEFT: &[u8] = b"left";

/// The toy service for all ids but those of sessions and of clients.
pub(crate) struct Toys;

impl Application for Toys {
    fn genesis(&self, plan: &ClusterPlan, store: &mut dyn ServiceStores) {
        for client in &plan.clients {
            store.of(ServiceId::AUTH).put(&client.key.0, Vec::new());
        }
        for key in &plan.administrators {
            store.of(ServiceId::AUTH).put(&key.0, b"a".to_vec());
        }
    }

    fn admits(&self, store: &mut dyn ServiceStores, client: &PublicKey) -> bool {
        store.of(ServiceId::AUTH).get(&client.0).is_some()
    }

    fn may_ask(
        &self,
        service: ServiceId,
        store: &mut dyn ServiceStores,
        client: &PublicKey,
    ) -> bool {
        let is_administrator =
            store.of(ServiceId::AUTH).get(&client.0).is_some_and(|it| it == b"a");
        let is_client = self.admits(store, client);
        service == ServiceId::KV && is_client || service == ServiceId::AUDIT && is_administrator
    }

    fn execute(
        &self,
        service: ServiceId,
        _: &Context,
        store: &mut dyn ServiceStores,
        request: &[u8],
    ) -> Result<Outcome, Refusal> {
        let store = store.of(service);
        let change = |key: &[u8]| Change { key: key.to_vec(), value: None };
        match Toy::read(request).ok_or(Refusal::Malformed)? {
            toy @ (Toy::Count | Toy::Search(_)) => {
                let count = look(store, toy) + 1;
                store.put(COUNT, count.encode());
                Ok(Outcome { reply: count.encode(), changes: vec![change(COUNT)], rekey: None })
            }
            Toy::Write(size) => {
                store.put(b"written", size.encode());
                let reply = vec![7; usize::try_from(size).unwrap()];
                Ok(Outcome { reply, changes: vec![change(b"written")], rekey: None })
            }
            Toy::Leave => {
                store.put(LEFT, Vec::new());
                Ok(Outcome::default())
            }
            Toy::Refuse => {
                store.put(COUNT, 1_000_000u64.encode());
                Err(Refusal::Malformed)
            }
            Toy::Read(_) | Toy::ReadCount | Toy::Look(_) => unreachable!("queries are asked first"),
        }
    }

    fn query(
        &self,
        service: ServiceId,
        _: &QueryContext,
        store: &mut dyn ServiceStores,
        request: &[u8],
    ) -> Option<Vec<u8>> {
        match Toy::read(request)? {
            Toy::Read(size) => Some(vec![9; usize::try_from(size).unwrap()]),
            toy @ (Toy::ReadCount | Toy::Look(_)) => Some(look(store.of(service), toy).encode()),
            _ => None,
        }
    }

    fn sweep(&self, _: Time, store: &mut dyn ServiceStores) -> Vec<(ServiceId, Change)> {
        let store = store.of(ServiceId::KV);
        if store.get(LEFT).is_none() {
            return Vec::new();
        }
        store.delete(LEFT);
        vec![(ServiceId::KV, Change { key: LEFT.to_vec(), value: None })]
    }
}

/// The count, looked up as often as asked.
fn look(store: &dyn Store, toy: Toy) -> u64 {
    let times = if let Toy::Search(times) | Toy::Look(times) = toy { times } else { 1 };
    (0..times).map(|_| count(store.get(COUNT))).last().unwrap_or_default()
}

fn count(stored: Option<Vec<u8>>) -> u64 {
    stored.map_or(0, |bytes| u64::decode("count", &bytes).unwrap())
}

fn members(world: &World) -> Members {
    Members::new(world.keyring.clone(), world.plan.plan.clone(), None)
}

/// A state machine with the commits that it executes.
pub(crate) struct Machine {
    pub(crate) world: World,
    pub(crate) execution: Execution,
    pub(crate) backend: MemoryBackend,
    pub(crate) time: Time,
}

impl Machine {
    pub(crate) fn new() -> Self {
        Self::with(World::new(4, 1), Toys)
    }

    pub(crate) fn with(world: World, application: impl Application + Send + 'static) -> Self {
        let backend = MemoryBackend::new();
        let mut state = State::open(Box::new(backend.handle()));
        application.genesis(&world.plan.plan, &mut state);
        state.finish_commit(CommitIndex(0));
        let members = members(&world);
        let execution = Execution::new(Box::new(application), state, members, None);
        Self { world, execution, backend, time: Time(1_000_000_000) }
    }

    /// The same in another life of the process.
    pub(crate) fn restarted(&self, application: impl Application + Send + 'static) -> Self {
        let backend = self.backend.snapshot();
        let state = State::open(Box::new(backend.handle()));
        let known = progress(&state).map(|(known, _)| known);
        let members = members(&self.world);
        let execution = Execution::new(Box::new(application), state, members, known.as_ref());
        Self { world: self.world.clone(), execution, backend, time: self.time }
    }

    /// Executes the envelopes as one commit.
    pub(crate) fn commit(&mut self, envelopes: Vec<Envelope>) -> Executed {
        self.commit_of(vec![(ReplicaId(0), envelopes)])
    }

    /// Executes envelopes of blocks of several authors as one commit.
    pub(crate) fn commit_of(&mut self, blocks: Vec<(ReplicaId, Vec<Envelope>)>) -> Executed {
        let commit = self.execution.state().commit().0 + 1;
        self.time.0 += 1;
        self.execution.execute(&self.world.commit_of(commit, self.time, blocks))
    }

    /// Executes one envelope as a commit; its answers.
    pub(crate) fn submit(&mut self, envelope: &Envelope) -> Vec<Answer> {
        all_answers(self.commit(vec![envelope.clone()]))
    }

    /// Opens a session.
    pub(crate) fn open(&mut self, client: u8, number: u64) -> Result<u64, Refusal> {
        let opening = self.world.opening(client, number);
        opened(&self.submit(&opening)[0])
    }

    /// How often the toy counted.
    pub(crate) fn count(&self) -> u64 {
        count(self.backend.get(&[&[ServiceId::KV.0], COUNT].concat()))
    }

    /// All that is stored, but for where execution stands.
    pub(crate) fn public_root(&self) -> Digest {
        self.execution.state().root()
    }
}

/// A commit's answers, whoever they are for.
pub(crate) fn all_answers(executed: Executed) -> Vec<Answer> {
    executed.answers.into_parts().flat_map(|(batch, _)| batch.answers).collect()
}

/// What an opening was answered.
pub(crate) fn opened(answer: &Answer) -> Result<u64, Refusal> {
    match &answer.result {
        OperationResult::Refused(refusal) => Err(*refusal),
        OperationResult::Done(reply) => match SessionReply::decode("reply", reply).unwrap() {
            SessionReply::Opened(session) => Ok(session.0),
            SessionReply::Closed => panic!("nothing was closed"),
        },
    }
}

/// The results of answers: replies, and refusals.
pub(crate) fn results(answers: &[Answer]) -> Vec<Result<Vec<u8>, Refusal>> {
    let result = |answer: &Answer| match &answer.result {
        OperationResult::Done(reply) => Ok(reply.clone()),
        OperationResult::Refused(refusal) => Err(*refusal),
    };
    answers.iter().map(result).collect()
}
