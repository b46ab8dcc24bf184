//! One server's part in the replicated service: ordering, execution, and answers to clients.
//!
//! **Guarantee:** clients that accept a quorum of equal answers see each operation executed exactly
//! once in one order, while at most `f` servers are intruded. A replica that sees what cannot happen
//! within `f` intrusions answers nothing more.
//!
//! # Source
//! The paper, sections 5.2 (masking), 5.6 (fail-safe), 8.2 (replication on atomic multicast).

use std::collections::BTreeMap;
use std::sync::Arc;

use ravelin_crypto::{Keyring, SigningKey, VerifiedEnvelope};
use ravelin_model::wire::{ClientMessage, MemberReport, ServerMessage, StatusReport};
use ravelin_model::{
    Action, Actions, AnswerBatch, Application, CommitStatement, Decode as _, Encode as _, Evidence,
    LogRecord, Misbehaviour, Position, Protocol, QueryContext, Refusal, ReplicaId, Round,
    SessionId, SignedPlan, StateBackend, Suspicion, Time, Vote,
};
use ravelin_multicast::ordering::{self, Start, Views};
use ravelin_multicast::{Committed, Message, Ordering, Standing};

use crate::clients::{Clients, ConnectionId};
use crate::execution::{self, Executed, Execution};
use crate::mempool::Mempool;
use crate::state::State;
use crate::statements::{Finding, Statements};

/// Proofs of one kind kept against one member.
const EVIDENCE_MAX: usize = 16;
/// Rounds without a block after which a member is shown as down.
const DOWN_AFTER_ROUNDS: u64 = 20;
/// Key of the reason to stay halted, in the private state.
const HALTED: &[u8] = b"h";

/// What happens at a replica that its host must carry out.
#[derive(Clone, Debug)]
pub enum Event {
    /// Send this to a client.
    ToClient(ConnectionId, ServerMessage),
    /// `to` asked for blocks from `from` on: send it [`Message::Replayed`] from the log.
    Archive {
        /// Who asked.
        to: ReplicaId,
        /// The first round wanted.
        from: Round,
    },
    /// The state is durable; log records of rounds below this are needed by laggards only.
    Prunable(Round),
    /// The replica's own state changed.
    Status(Status),
}

/// What a replica is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// Started; asks the others what they know of it.
    Asking,
    /// Orders and answers.
    Active,
    /// Restarted without its promises: follows, makes no blocks.
    Learner,
    /// Saw what cannot happen within `f` intrusions: answers nothing more.
    FailSafe(HaltReason),
}

/// What cannot happen within `f` intrusions.
#[derive(Clone, Debug, PartialEq, Eq, borsh::BorshSerialize, borsh::BorshDeserialize)]
pub enum HaltReason {
    /// More than `f` members are proven offenders.
    TooManyOffenders {
        /// Who.
        members: Vec<ReplicaId>,
    },
    /// `f+1` members contradict this replica's own result of a commit.
    Diverged {
        /// The commit.
        commit: ravelin_model::CommitIndex,
    },
}

/// A client's message, with its signature checked where it has one.
#[derive(Clone, Debug)]
pub enum ClientInput {
    /// An envelope to order.
    Submit(VerifiedEnvelope),
    /// Anything else; [`ClientMessage::Submit`] here has no effect.
    Other(ClientMessage),
}

/// What a [`Replica`] needs to begin.
pub struct Setup {
    /// The plan in force.
    pub plan: SignedPlan,
    /// The epoch's keys.
    pub keyring: Keyring,
    /// This replica's key for blocks and statements.
    pub key: Arc<SigningKey>,
    /// This replica.
    pub own: ReplicaId,
    /// The services.
    pub application: Box<dyn Application + Send>,
    /// Where the state lives.
    pub backend: Box<dyn StateBackend + Send>,
    /// A number never used for a start before.
    pub nonce: u64,
}

/// One server's part in the replicated service.
pub struct Replica {
    plan: SignedPlan,
    keyring: Keyring,
    key: Arc<SigningKey>,
    own: ReplicaId,
    ordering: Ordering<Mempool>,
    execution: Execution,
    statements: Statements,
    clients: Clients,
    status: Status,
    evidence: BTreeMap<ReplicaId, Vec<Evidence>>,
    suspicions: BTreeMap<(ReplicaId, Suspicion), u32>,
}

type Out = Actions<Replica>;

impl Replica {
    /// Goes on from what `setup.backend` and the log hold; at the very first start, from the plan.
    ///
    /// `log`: the records of this replica's own log, in order. Follow with [`Replica::resume`].
    pub fn new(setup: Setup, log: impl IntoIterator<Item = LogRecord>) -> Self {
        let Setup { plan, keyring, key, own, application, backend, nonce } = setup;
        let mut state = State::open(backend);
        if state.root() == ravelin_model::Digest::default() {
            application.genesis(&plan.plan, &mut state);
            state.finish_commit(ravelin_model::CommitIndex(0));
        }
        let progress = execution::progress(&state);
        let position = progress.as_ref().map_or(Position(0), |(known, _)| known.position);
        let (ordering_state, delivered) = match progress {
            Some((known, delivered)) => (Some(known.ordering), delivered),
            None => (None, Default::default()),
        };
        let halted = state.private_get(HALTED);
        let mut ordering = Ordering::new(Start {
            keyring: keyring.clone(),
            key: Arc::clone(&key),
            own,
            leaders: plan.plan.leaders_per_round,
            payload: Mempool::default(),
            state: ordering_state,
            delivered,
            nonce,
            views: Views::Total,
        });
        for record in log {
            if let Some(block) = crate::peer::recorded_block(&keyring, ordering.dag(), &record) {
                ordering.restore(block);
            }
        }
        let mut replica = Self {
            statements: Statements::new(keyring.clone(), own),
            clients: Clients::new(position),
            execution: Execution::new(application, state, position),
            plan,
            keyring,
            key,
            own,
            ordering,
            status: Status::Asking,
            evidence: BTreeMap::new(),
            suspicions: BTreeMap::new(),
        };
        replica.stay_halted(halted.as_deref());
        replica
    }

    /// Executes what the log alone decides, and asks the others what they know of this replica.
    pub fn resume(&mut self, now: Time, out: &mut Out) {
        let mut inner = Vec::new();
        self.ordering.resume(now, &mut inner);
        self.carry_out(now, inner, out);
    }

    /// What the replica is doing.
    pub fn status(&self) -> &Status {
        &self.status
    }

    /// Its part in ordering.
    pub fn ordering(&self) -> &Ordering<Mempool> {
        &self.ordering
    }

    /// Its state machine.
    pub fn execution(&self) -> &Execution {
        &self.execution
    }

    /// Proofs of misbehaviour, by member.
    pub fn evidence(&self) -> &BTreeMap<ReplicaId, Vec<Evidence>> {
        &self.evidence
    }

    /// A client connected and proved that it holds `key`.
    pub fn on_client_opened(&mut self, connection: ConnectionId, key: ravelin_model::PublicKey) {
        self.clients.open(connection, key);
    }

    /// A client's connection ended.
    pub fn on_client_closed(&mut self, connection: ConnectionId) {
        self.clients.close(connection);
    }

    /// Takes one message of a client.
    pub fn on_client(
        &mut self,
        now: Time,
        connection: ConnectionId,
        input: ClientInput,
        out: &mut Out,
    ) {
        let Some(key) = self.clients.key(connection) else { return };
        let mut say = |message| out.push(Action::Emit(Event::ToClient(connection, message)));
        match input {
            // Anyone may learn who the servers are and how they fare; the rest is for the enrolled.
            ClientInput::Other(ClientMessage::Plans) => {
                return say(ServerMessage::Plans(vec![self.plan.clone()]));
            }
            ClientInput::Other(ClientMessage::Status { id }) => {
                let report = Box::new(self.report());
                return say(ServerMessage::Status { id, report });
            }
            _ => {}
        }
        let (session, first) = named(&input);
        if matches!(self.status, Status::FailSafe(_)) {
            return say(ServerMessage::Denied { session, first, refusal: Refusal::Halted });
        }
        if !self.execution.admits(&key) {
            let refusal = Refusal::UnknownClient;
            return say(ServerMessage::Denied { session, first, refusal });
        }
        match input {
            ClientInput::Submit(envelope) if envelope.client == key => {
                self.on_submit(now, connection, &envelope, out);
            }
            ClientInput::Submit(_) => {
                let refusal = Refusal::UnknownClient;
                say(ServerMessage::Denied { session, first, refusal });
            }
            ClientInput::Other(message) => self.on_question(connection, key, message, out),
        }
    }

    fn on_submit(
        &mut self,
        now: Time,
        connection: ConnectionId,
        envelope: &VerifiedEnvelope,
        out: &mut Out,
    ) {
        let (client, session) = (envelope.client, envelope.session);
        let mut say = |message| out.push(Action::Emit(Event::ToClient(connection, message)));
        if session != SessionId(0) {
            self.clients.attach(connection, session);
        }
        if let Some(answers) = self.execution.repeated(envelope) {
            return say(ServerMessage::Repeated(AnswerBatch { client, session, answers }));
        }
        match self.ordering.payload_mut().admit(envelope) {
            Ok(()) => self.on_time(now, out),
            Err(busy) => say(ServerMessage::Busy {
                session,
                first: envelope.first,
                retry_after_ms: busy.retry_after_ms,
            }),
        }
    }

    fn on_question(
        &mut self,
        connection: ConnectionId,
        client: ravelin_model::PublicKey,
        message: ClientMessage,
        out: &mut Out,
    ) {
        let mut say = |message| out.push(Action::Emit(Event::ToClient(connection, message)));
        match message {
            ClientMessage::Attach { session } => self.clients.attach(connection, session),
            ClientMessage::Read { id, service, request } => {
                let commit = self.execution.state().commit();
                let time = self.ordering.delivery().state().time;
                let context = QueryContext { commit, time, client };
                let reply = self.execution.query(service, &context, &request);
                say(ServerMessage::ReadReply { id, commit, reply });
            }
            ClientMessage::Prove { id, service, key } => {
                let statements = self.statements.certificate().unwrap_or_default().to_vec();
                let proof = statements.first().and_then(|signed| {
                    self.execution.state().prove_at(signed.statement.commit, service, &key)
                });
                say(ServerMessage::Proof { id, statements, proof });
            }
            ClientMessage::Watch { id, service, prefix, from } => {
                let last = self.execution.position();
                for message in self.clients.watch(connection, id, service, prefix, from, last) {
                    say(message);
                }
            }
            ClientMessage::Unwatch { id } => self.clients.unwatch(connection, id),
            ClientMessage::Submit(_) | ClientMessage::Plans | ClientMessage::Status { .. } => {}
        }
    }

    /// Maps the ordering core's actions into this core's own, executing what was committed.
    fn carry_out(&mut self, now: Time, inner: Actions<Ordering<Mempool>>, out: &mut Out) {
        for action in inner {
            match action {
                Action::Persist(record) => out.push(Action::Persist(record)),
                Action::Send(to, message) => out.push(Action::Send(to, message)),
                Action::Broadcast(message) => {
                    if !matches!(self.status, Status::FailSafe(_)) {
                        out.push(Action::Broadcast(message));
                    }
                }
                Action::Accuse(who, offence) => self.on_offence(now, who, offence, out),
                Action::Emit(ordering::Event::Committed(committed)) => {
                    self.on_committed(now, &committed, out);
                }
                Action::Emit(ordering::Event::Archive { to, from }) => {
                    out.push(Action::Emit(Event::Archive { to, from }));
                }
                Action::Emit(ordering::Event::Standing(standing)) => {
                    self.on_standing(standing, out);
                }
                Action::Emit(ordering::Event::Entered(_) | ordering::Event::Certified(_)) => {}
            }
        }
    }

    fn on_standing(&mut self, standing: Standing, out: &mut Out) {
        if !matches!(self.status, Status::FailSafe(_)) {
            self.status = match standing {
                Standing::Asking => Status::Asking,
                Standing::Active => Status::Active,
                Standing::Learner => Status::Learner,
            };
            out.push(Action::Emit(Event::Status(self.status.clone())));
        }
    }

    fn on_committed(&mut self, now: Time, committed: &Committed, out: &mut Out) {
        if committed.state.commit <= self.execution.state().commit() {
            return;
        }
        let executed = self.execution.execute(committed);
        for envelope in &executed.envelopes {
            self.ordering.payload_mut().on_executed(envelope);
        }
        let signed = self.state_commit(committed, &executed);
        self.answer(signed, executed, out);
        let theirs = committed.blocks.iter().flat_map(|block| &block.body.votes);
        let mut heard = vec![signed];
        for vote in theirs {
            match vote {
                Vote::Statement(signed) => heard.push(*signed),
                Vote::Evidence(evidence) => self.on_evidence(evidence.clone(), out),
            }
        }
        for statement in heard {
            for finding in self.statements.record(statement) {
                self.on_finding(now, finding, out);
            }
        }
    }

    /// Signs what this replica computed for a commit and queues it for its next block.
    fn state_commit(
        &mut self,
        committed: &Committed,
        executed: &Executed,
    ) -> ravelin_model::SignedStatement {
        let statement = CommitStatement {
            cluster: self.keyring.cluster(),
            incarnation: self.keyring.incarnation(),
            epoch: self.keyring.epoch(),
            commit: committed.state.commit,
            position: executed.position,
            time: committed.state.time,
            answers: executed.answers.root(),
            state: executed.state_root,
            ordering: committed.checkpoint,
        };
        let signed = self.keyring.sign_statement(&self.key, self.own, statement);
        self.ordering.payload_mut().add_vote(Vote::Statement(signed));
        signed
    }

    fn answer(&self, signed: ravelin_model::SignedStatement, executed: Executed, out: &mut Out) {
        for (batch, path) in executed.answers.into_parts() {
            for connection in self.clients.of(&batch.client, batch.session) {
                let (batch, path) = (batch.clone(), path.clone());
                let answers = ServerMessage::Answers { statement: signed, batch, path };
                out.push(Action::Emit(Event::ToClient(connection, answers)));
            }
        }
    }

    fn on_finding(&mut self, now: Time, finding: Finding, out: &mut Out) {
        match finding {
            Finding::Certified(statement) if statement.ordering.is_some() => {
                // The state must be on disk before the log below it may go.
                self.execution.state_mut().sync();
                let horizon = self.ordering.delivery().state().horizon();
                out.push(Action::Emit(Event::Prunable(horizon)));
            }
            Finding::Certified(_) => {}
            Finding::Wrong(evidence) => {
                self.ordering.payload_mut().add_vote(Vote::Evidence(evidence.clone()));
                let who = evidence.accused();
                self.on_offence(now, who, Misbehaviour::Proven(evidence), out);
            }
            Finding::Diverged(commit) => self.halt(HaltReason::Diverged { commit }, out),
        }
    }

    /// Takes evidence that an ordered block carries; its proof was checked on arrival.
    fn on_evidence(&mut self, evidence: Evidence, out: &mut Out) {
        let known = self.evidence.entry(evidence.accused()).or_default();
        let is_new = known.iter().all(|other| other.kind() != evidence.kind());
        if is_new && known.len() < EVIDENCE_MAX {
            known.push(evidence.clone());
            out.push(Action::Accuse(evidence.accused(), Misbehaviour::Proven(evidence)));
        }
        self.judge_group(out);
    }

    fn on_offence(&mut self, _now: Time, who: ReplicaId, offence: Misbehaviour, out: &mut Out) {
        match offence {
            Misbehaviour::Proven(evidence) => self.on_evidence(evidence, out),
            Misbehaviour::Suspected(suspicion) => {
                let count = self.suspicions.entry((who, suspicion)).or_default();
                *count = count.saturating_add(1);
                out.push(Action::Accuse(who, Misbehaviour::Suspected(suspicion)));
            }
        }
    }

    /// Notes what the transport or the verifier saw of a peer.
    pub fn on_suspicion(&mut self, who: ReplicaId, suspicion: Suspicion, out: &mut Out) {
        let count = self.suspicions.entry((who, suspicion)).or_default();
        *count = count.saturating_add(1);
        out.push(Action::Accuse(who, Misbehaviour::Suspected(suspicion)));
    }

    /// More than `f` proven offenders: nothing this replica could say is sure to be right.
    fn judge_group(&mut self, out: &mut Out) {
        let members: Vec<ReplicaId> = self.evidence.keys().copied().collect();
        if members.len() > self.keyring.group().faults() {
            self.halt(HaltReason::TooManyOffenders { members }, out);
        }
    }

    fn halt(&mut self, reason: HaltReason, out: &mut Out) {
        if matches!(self.status, Status::FailSafe(_)) {
            return;
        }
        self.execution.state_mut().private_put(HALTED, reason.encode());
        self.status = Status::FailSafe(reason);
        out.push(Action::Emit(Event::Status(self.status.clone())));
    }

    fn stay_halted(&mut self, recorded: Option<&[u8]>) {
        if let Some(bytes) = recorded {
            let reason = HaltReason::decode("halt reason", bytes)
                .expect("the state holds what this replica wrote");
            self.status = Status::FailSafe(reason);
        }
    }

    /// Makes the state durable: the server stops in good order.
    pub fn close(&mut self) {
        self.execution.state_mut().sync();
    }

    /// How this replica sees itself and the others.
    pub fn report(&self) -> StatusReport {
        let delivery = self.ordering.delivery().state();
        StatusReport {
            state: self.state_name().into(),
            round: self.ordering.round(),
            commit: delivery.commit,
            position: self.execution.position(),
            time: delivery.time,
            state_root: self.execution.state().root(),
            members: self.keyring.group().members().map(|id| self.report_on(id)).collect(),
        }
    }

    fn state_name(&self) -> &'static str {
        match &self.status {
            Status::FailSafe(_) => "fail_safe",
            Status::Learner => "learner",
            Status::Asking => "catching_up",
            Status::Active if self.ordering.is_behind() => "catching_up",
            Status::Active => "correct",
        }
    }

    fn report_on(&self, member: ReplicaId) -> MemberReport {
        let newest = self.ordering.dag().newest(member).map_or(Round(0), |newest| newest.round);
        let proofs = self.evidence.get(&member).map(Vec::as_slice).unwrap_or_default();
        let suspicions: Vec<(String, u32)> = self
            .suspicions
            .iter()
            .filter(|((who, _), _)| *who == member)
            .map(|((_, suspicion), count)| (suspicion.kind().into(), *count))
            .collect();
        let is_silent = newest.plus(DOWN_AFTER_ROUNDS) < self.ordering.dag().highest();
        let state = if member == self.own {
            self.state_name()
        } else if !proofs.is_empty() {
            "faulty"
        } else if is_silent {
            "down"
        } else if !suspicions.is_empty() {
            "suspected"
        } else {
            "correct"
        };
        let evidence = proofs.iter().map(|proof| (proof.kind().into(), 1)).collect();
        MemberReport { state: state.into(), round: newest, evidence, suspicions }
    }
}

impl Protocol for Replica {
    type Message = Message;
    type Event = Event;

    fn on_message(&mut self, now: Time, from: ReplicaId, message: Message, out: &mut Out) {
        let mut inner = Vec::new();
        self.ordering.on_message(now, from, message, &mut inner);
        self.carry_out(now, inner, out);
    }

    fn on_time(&mut self, now: Time, out: &mut Out) {
        let mut inner = Vec::new();
        self.ordering.on_time(now, &mut inner);
        self.carry_out(now, inner, out);
    }

    fn next_deadline(&self) -> Option<Time> {
        self.ordering.next_deadline()
    }
}

/// The session and number by which a client knows its request.
fn named(input: &ClientInput) -> (SessionId, u64) {
    match input {
        ClientInput::Submit(envelope) => (envelope.session, envelope.first.0),
        ClientInput::Other(
            ClientMessage::Read { id, .. }
            | ClientMessage::Prove { id, .. }
            | ClientMessage::Watch { id, .. },
        ) => (SessionId(0), *id),
        ClientInput::Other(_) => (SessionId(0), 0),
    }
}
