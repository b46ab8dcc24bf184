//! The hot paths of a server, for a count of their instructions: `cargo xtask instructions`.
//!
//! Four replicas of the product in one process pass each other encoded messages, with real signatures
//! and the real services, while clients submit envelopes of writes. There are no clock, no threads and
//! no chance in it, so two runs execute the same instructions; what the functions of [`stage`] take
//! themselves is counted from outside. The store is memory, and there are no sockets and no disk.
//!
//! It ends with a count of what was executed, for the figures are given for an operation.

#![allow(clippy::indexing_slicing, reason = "a wrong index ends the count, as it should")]

use std::collections::VecDeque;
use std::sync::Arc;

use ravelin_crypto::{Keyring, Scheme, SigningKey, plan_digest};
use ravelin_model::limits::{CHECKPOINT_EVERY_DEFAULT, TRANSFER_LAG_DEFAULT};
use ravelin_model::requests::kv::{Condition, KvRequest, Write};
use ravelin_model::requests::session::SessionRequest;
use ravelin_model::wire::ClientMessage;
use ravelin_model::{
    Action, ClientEntry, ClusterId, ClusterPlan, Encode as _, Envelope, Epoch, FaultModel,
    Incarnation, Member, Operation, Protocol as _, PublicKey, Purpose, ReplicaId, Sequence,
    ServiceId, SessionId, Signature, SignedPlan, Time,
};
use ravelin_multicast::Message;
use ravelin_replication::state::MemoryBackend;
use ravelin_replication::{ClientInput, ConnectionId, Event, Replica, Setup, Status, peer};
use ravelin_services::Services;

const SERVERS: u16 = 4;
/// Operations of an envelope, and bytes of a value: those of the standard load.
const OPERATIONS: u64 = 32;
const VALUE_BYTES: usize = 128;
/// Keys that are written.
const KEYS: u64 = 10_000;
/// Operations after which it ends: many, so that the start of all servers does not count.
const OPERATIONS_MAX: u64 = 12_000;
/// Time that passes with each message.
const STEP_US: u64 = 20;

/// What is counted: each function with all that it calls.
mod stage {
    use super::*;
    use ravelin_model::Decode as _;

    /// From a client's bytes to a verified envelope.
    #[inline(never)]
    pub(super) fn take_envelope(keyring: &Keyring, bytes: &[u8]) -> ClientInput {
        let message = ClientMessage::decode("client message", bytes).expect("its own bytes");
        let ClientMessage::Submit(envelope) = message else { unreachable!("clients submit") };
        let verdict = keyring.verify_envelopes(vec![envelope]).pop().expect("one verdict");
        ClientInput::Submit(verdict.expect("well signed"))
    }

    /// From peers' bytes to verified messages.
    #[inline(never)]
    pub(super) fn take_message(keyring: &Keyring, bytes: &[u8]) -> Message {
        let frame = peer::decode(bytes).expect("its own bytes");
        let verdict = peer::verify(keyring, vec![frame]).pop().expect("one verdict");
        verdict.expect("well signed")
    }

    /// A message enters the DAG, what it decides is ordered and executed.
    #[inline(never)]
    pub(super) fn act(
        replica: &mut Replica,
        now: Time,
        from: ReplicaId,
        message: Message,
        out: &mut Vec<Action<Message, Event>>,
    ) {
        replica.on_message(now, from, message, out);
    }

    /// A client's envelope is admitted, and perhaps a block made of it.
    #[inline(never)]
    pub(super) fn submit(
        replica: &mut Replica,
        now: Time,
        connection: ConnectionId,
        input: ClientInput,
        out: &mut Vec<Action<Message, Event>>,
    ) {
        replica.on_client(now, connection, input, out);
    }

    /// From a message to the bytes for all peers.
    #[inline(never)]
    pub(super) fn encode_message(epoch: Epoch, message: &Message) -> Vec<u8> {
        peer::encode(epoch, message)
    }

    /// From answers to the bytes for a client.
    #[inline(never)]
    pub(super) fn encode_reply(event: Event) -> usize {
        match event {
            Event::ToClient(_, message) => message.encode().len(),
            _ => 0,
        }
    }
}

/// The key of a kind and number.
fn key(kind: u8, number: u16) -> SigningKey {
    let mut seed = [kind; 32];
    seed[..2].copy_from_slice(&number.to_le_bytes());
    SigningKey::ed25519(&seed)
}

fn plan() -> SignedPlan {
    let public = |kind, number| -> PublicKey { key(kind, number).public() };
    let members = (0..SERVERS).map(|number| Member {
        name: format!("s{number}"),
        identity: public(1, number),
        block: public(2, number),
        transport: public(3, number),
        wormhole: None,
        peer_address: format!("127.0.0.1:{}", 7000 + number),
        client_address: format!("127.0.0.1:{}", 8000 + number),
        labels: Default::default(),
    });
    let clients = (0..SERVERS)
        .map(|number| ClientEntry { name: format!("c{number}"), key: public(4, number) });
    let plan = ClusterPlan {
        version: ravelin_model::plan::PLAN_VERSION,
        name: "counted".into(),
        purpose: Purpose::Local,
        incarnation: Incarnation(1),
        epoch: Epoch::FIRST,
        previous: None,
        fault_model: FaultModel::Arbitrary,
        f: 1,
        leaders_per_round: 2,
        members: members.collect(),
        administrators: vec![public(5, 0)],
        administrators_needed: 1,
        clients: clients.collect(),
        rekey_interval_min_s: 3600,
        checkpoint_every: CHECKPOINT_EVERY_DEFAULT,
    };
    SignedPlan { plan, signatures: vec![] }
}

/// A client at its home server.
struct Client {
    key: SigningKey,
    session: SessionId,
    next: u64,
    written: u64,
}

impl Client {
    fn envelope(&self, cluster: ClusterId, first: u64, operations: Vec<Operation>) -> Envelope {
        let envelope = Envelope {
            cluster,
            incarnation: Incarnation(1),
            client: self.key.public(),
            session: self.session,
            first: Sequence(first),
            operations,
            signature: Signature([0; 64]),
        };
        Keyring::sign_envelope(&self.key, envelope)
    }

    fn opening(&self, cluster: ClusterId) -> Vec<u8> {
        let request = SessionRequest::Open.encode();
        let open = Operation { service: ServiceId::SESSION, request };
        ClientMessage::Submit(self.envelope(cluster, 1, vec![open])).encode()
    }

    fn writes(&mut self, cluster: ClusterId) -> Vec<u8> {
        let operations = (0..OPERATIONS).map(|_| {
            self.written = (self.written + 7_919) % KEYS;
            let write = Write {
                key: format!("bench/{:08}", self.written).into_bytes(),
                value: Some(vec![b'v'; VALUE_BYTES]),
                condition: Condition::Always,
                lease: None,
            };
            Operation { service: ServiceId::KV, request: KvRequest::Write(write).encode() }
        });
        let operations = operations.collect();
        let envelope = self.envelope(cluster, self.next, operations);
        self.next += OPERATIONS;
        ClientMessage::Submit(envelope).encode()
    }
}

/// All servers and what is under way between them.
struct Group {
    cluster: ClusterId,
    keyring: Keyring,
    replicas: Vec<Replica>,
    clients: Vec<Client>,
    /// To whom, from whom, which bytes; a replica hears its own messages as they are.
    under_way: VecDeque<(ReplicaId, ReplicaId, Passing)>,
    now: Time,
    answers_bytes: usize,
}

enum Passing {
    Own(Message),
    Bytes(Arc<[u8]>),
}

impl Group {
    fn new() -> Self {
        let plan = plan();
        let cluster = ClusterId(plan_digest(&plan.plan));
        let scheme = Scheme::ed25519([7; 32]);
        let keyring = Keyring::new(cluster, &plan, scheme.clone()).expect("a sound plan");
        let replicas = (0..SERVERS).map(|number| {
            let setup = Setup {
                plan: plan.clone(),
                keyring: keyring.clone(),
                keys: vec![Arc::new(key(2, number))],
                identity: Arc::new(key(1, number)),
                wormhole: None,
                own: ReplicaId(number),
                application: Box::new(Services::new(scheme.clone())),
                backend: Box::new(MemoryBackend::new()),
                nonce: u64::from(number) + 1,
                transfer_lag: TRANSFER_LAG_DEFAULT,
            };
            Replica::new(setup, [])
        });
        let replicas = replicas.collect();
        let clients = (0..SERVERS).map(|number| Client {
            key: key(4, number),
            session: SessionId(0),
            next: 1,
            written: u64::from(number) * 1_009,
        });
        Self {
            cluster,
            keyring,
            replicas,
            clients: clients.collect(),
            under_way: VecDeque::new(),
            now: Time(1_700_000_000_000_000),
            answers_bytes: 0,
        }
    }

    /// Starts all replicas and lets them find each other, then opens a session for each client.
    fn begin(&mut self) {
        for number in 0..self.replicas.len() {
            let mut out = Vec::new();
            self.replicas[number].resume(self.now, &mut out);
            self.carry_out(number, out);
        }
        while self.replicas.iter().any(|replica| *replica.status() != Status::Active) {
            self.step();
        }
        for number in 0..self.clients.len() {
            let opening = self.clients[number].opening(self.cluster);
            let key = self.clients[number].key.public();
            self.replicas[number].on_client_opened(ConnectionId(0), key);
            let before = self.position();
            self.submit(number, &opening);
            while self.replicas.iter().any(|replica| replica.execution().position().0 <= before) {
                self.step();
            }
            self.clients[number].session = SessionId(before + 1);
        }
    }

    fn position(&self) -> u64 {
        let positions = self.replicas.iter().map(|replica| replica.execution().position().0);
        positions.max().unwrap_or_default()
    }

    /// Delivers one message, or lets time come to the next deadline.
    fn step(&mut self) {
        self.now.0 += STEP_US;
        let Some((to, from, passing)) = self.under_way.pop_front() else {
            let deadlines = self.replicas.iter().filter_map(|replica| replica.next_deadline());
            self.now = deadlines.min().unwrap_or(self.now).max(self.now);
            for number in 0..self.replicas.len() {
                let mut out = Vec::new();
                self.replicas[number].on_time(self.now, &mut out);
                self.carry_out(number, out);
            }
            return;
        };
        let message = match passing {
            Passing::Own(message) => message,
            Passing::Bytes(bytes) => stage::take_message(&self.keyring, &bytes),
        };
        let mut out = Vec::new();
        stage::act(&mut self.replicas[to.index()], self.now, from, message, &mut out);
        self.carry_out(to.index(), out);
    }

    fn submit(&mut self, number: usize, bytes: &[u8]) {
        let input = stage::take_envelope(&self.keyring, bytes);
        let mut out = Vec::new();
        let replica = &mut self.replicas[number];
        stage::submit(replica, self.now, ConnectionId(0), input, &mut out);
        self.carry_out(number, out);
    }

    fn carry_out(&mut self, number: usize, actions: Vec<Action<Message, Event>>) {
        let own = ReplicaId(u16::try_from(number).expect("few servers"));
        for action in actions {
            match action {
                Action::Persist(_) | Action::Attest(_) => {}
                Action::Send(to, message) if to == own => {
                    self.under_way.push_back((own, own, Passing::Own(message)));
                }
                Action::Send(to, message) => {
                    let bytes = stage::encode_message(Epoch::FIRST, &message).into();
                    self.under_way.push_back((to, own, Passing::Bytes(bytes)));
                }
                Action::Broadcast(message) => {
                    let bytes: Arc<[u8]> = stage::encode_message(Epoch::FIRST, &message).into();
                    for to in (0..SERVERS).map(ReplicaId).filter(|to| *to != own) {
                        let bytes = Passing::Bytes(Arc::clone(&bytes));
                        self.under_way.push_back((to, own, bytes));
                    }
                    self.under_way.push_back((own, own, Passing::Own(message)));
                }
                Action::Emit(event) => self.answers_bytes += stage::encode_reply(event),
                Action::Accuse(who, offence) => panic!("{who} is accused: {offence:?}"),
            }
        }
    }
}

fn main() {
    let mut group = Group::new();
    group.begin();
    let (mut submitted, opened) = (0, group.position());
    let executed = |group: &Group| (group.position() - opened) * OPERATIONS;
    // Each server has two envelopes under way, so each of its blocks carries one or two.
    while submitted < OPERATIONS_MAX {
        if submitted - executed(&group) < 8 * OPERATIONS {
            for number in 0..group.clients.len() {
                let envelope = group.clients[number].writes(group.cluster);
                group.submit(number, &envelope);
                submitted += OPERATIONS;
            }
        }
        group.step();
    }
    while executed(&group) < submitted {
        group.step();
    }
    let commits = group.replicas[0].execution().state().commit().0;
    println!("operations {submitted} commits {commits} answers {}", group.answers_bytes);
}
