//! One server's part in the replicated service: ordering, execution, and answers to clients.
//!
//! **Guarantee:** clients that accept a quorum of equal answers see each operation executed exactly
//! once in one order, while at most `f` servers are intruded. A replica that sees what cannot happen
//! within `f` intrusions takes part in nothing more, now and after every restart: it says nothing to
//! the others and refuses its clients, but for how it stands and who the members are.
//!
//! Where to read on: [`crate::execution`]; what clients ask, `replica/clients.rs`; misbehaviour and
//! halting, `replica/findings.rs`.
//!
//! # Source
//! The paper, sections 5.2 (masking), 5.6 (fail-safe), 8.2 (replication on atomic multicast).

mod clients;
mod epochs;
mod findings;
mod release;
mod reopening;
mod report;
mod transfers;
mod wormhole;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use ravelin_crypto::{Keyring, SigningKey, VerifiedEnvelope};
use ravelin_model::transfer::StateRequest;
use ravelin_model::wire::{ClientMessage, ServerMessage};
use ravelin_model::{
    Action, Actions, Application, Block, BlockHeader, BlockRef, CommitIndex, CommitStatement,
    Decode as _, Digest, Encode as _, Envelope, Evidence, LogPart, LogRecord, Place, Position,
    Protocol, ReplicaId, Round, Signature, SignedPlan, SignedStatement, StateBackend, Suspicion,
    Time, Vote, mutants,
};
use ravelin_multicast::ordering::{self, Start, Views};
use ravelin_multicast::{Committed, Message, Ordering, OrderingState, Payload as _, Standing};

use crate::clients::{Clients, ConnectionId};
use crate::execution::{self, Deferred, Executed, Execution};
use crate::members::Members;
use crate::mempool::{Mempool, RETRY_AFTER_MS};
use crate::offering::Offering;
use crate::read_quota::ReadQuota;
use crate::state::State;
use crate::statements::Statements;

use epochs::Epochs;
use release::Released;
use transfers::Transfers;

pub(crate) use epochs::epoch_start;
pub use epochs::{question, recorded_place, recorded_plans};
pub use release::{Halt, Halted, ReleaseError};
pub use wormhole::OwnWormhole;

/// Key of this replica's newest block, in the private state.
const LAST_BLOCK: &[u8] = b"l";

/// What happens at a replica that its host must carry out.
#[derive(Clone, Debug)]
pub enum Event {
    /// Send this to a client.
    ToClient(ConnectionId, ServerMessage),
    /// `to` asked for blocks that are in the log only: send it what [`crate::peer::logged`] makes of
    /// their records.
    Archive {
        /// Who asked.
        to: ReplicaId,
        /// Which.
        part: LogPart,
    },
    /// `to` asks for a part of the state: answer it with [`Replica::state_part`], at leisure.
    Serve {
        /// Who asked.
        to: ReplicaId,
        /// For what.
        request: StateRequest,
    },
    /// The state is durable; log records of places below this are needed by laggards only.
    Prunable(Place),
    /// A new epoch began: others' messages are checked against this plan from now on.
    Epoch(Box<SignedPlan>),
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
    /// Fetches its state from the others: takes part in nothing until it has it.
    Fetching,
    /// Saw what cannot happen within `f` intrusions: takes part in nothing more.
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
    /// `f+1` members, or an earlier life of this replica, contradict its own result of a commit.
    Diverged {
        /// The commit.
        commit: CommitIndex,
    },
    /// A quorum signed each of two plans for one epoch.
    TwoPlans {
        /// The epoch.
        epoch: ravelin_model::Epoch,
    },
    /// The wormhole of a member said two things where a sound one says one: in `hybrid` all agreement
    /// rests on that.
    BrokenWormhole {
        /// Whose.
        member: ReplicaId,
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
    /// The cluster's first plan.
    pub plan: SignedPlan,
    /// The first epoch's keys.
    pub keyring: Keyring,
    /// This replica's keys for blocks and statements: the one in force, and a spare one that no plan
    /// names, if it is to ask for another by itself.
    pub keys: Vec<Arc<SigningKey>>,
    /// This replica's identity key, which never signs blocks.
    pub identity: Arc<SigningKey>,
    /// What its wormhole said at this start: in `hybrid`.
    pub wormhole: Option<OwnWormhole>,
    /// This replica.
    pub own: ReplicaId,
    /// The services.
    pub application: Box<dyn Application + Send>,
    /// Where the state lives.
    pub backend: Box<dyn StateBackend + Send>,
    /// A number never used for a start before.
    pub nonce: u64,
    /// Rounds behind the others at which it fetches their state rather than the blocks.
    pub transfer_lag: u64,
}

/// One server's part in the replicated service.
pub struct Replica {
    /// From the first to the present one.
    plans: Vec<SignedPlan>,
    keyring: Keyring,
    keys: Vec<Arc<SigningKey>>,
    /// The one in force, if `speaks`.
    key: Arc<SigningKey>,
    speaks: bool,
    identity: Arc<SigningKey>,
    wormhole: Option<OwnWormhole>,
    own: ReplicaId,
    nonce: u64,
    epochs: Epochs,
    transfers: Transfers,
    offering: Offering,
    ordering: Ordering<Mempool>,
    execution: Execution,
    statements: Statements,
    clients: Clients,
    read_quota: ReadQuota,
    status: Status,
    /// Proofs against each member, one of a kind; in the private state too.
    evidence: BTreeMap<ReplicaId, Vec<Evidence>>,
    /// What administrators excused; in the private state too.
    released: Released,
    suspicions: BTreeMap<(ReplicaId, Suspicion), u32>,
    /// What the log may forget once the state that the number stands for is durable, oldest first.
    prunable: VecDeque<(u64, Place)>,
}

type Out = Actions<Replica>;

impl Replica {
    /// Goes on from what `setup.backend` and the log hold; at the very first start, from the plan.
    ///
    /// `log`: the records of this replica's own log, in order. Follow with [`Replica::resume`].
    pub fn new(setup: Setup, log: impl IntoIterator<Item = LogRecord>) -> Self {
        let Setup { plan, keyring, keys, identity, own, application, backend, .. } = setup;
        let Setup { nonce, transfer_lag, wormhole, .. } = setup;
        let mut plans = vec![plan];
        plans.extend(recorded_plans(&*backend));
        let plan = plans.last().expect("the first one is there").plan.clone();
        let mut state = State::open(backend);
        if state.root() == Digest::default() && state.fetching_since().is_none() {
            application.genesis(&plan, &mut state);
            state.finish_commit(CommitIndex(0));
        }
        let keyring = keyring_of(&keyring, &plans);
        let (key, speaks) = epochs::own_key(&keyring, own, &keys);
        let (authorship, speaks) = epochs::authorship(&keyring, own, (&key, speaks), wormhole);
        let offering = Offering::recall(&mut state, plans.last().expect("as above"), &keyring);
        let ended = execution::recorded_successor(&state);
        let (progress, delivered) = execution::progress(&state).unzip();
        let position = progress.as_ref().map_or(Position(0), |known| known.position);
        let mut ordering = Ordering::new(Start {
            keyring: keyring.clone(),
            authorship,
            own,
            leaders: plan.leaders_per_round,
            checkpoint_every: plan.checkpoint_every,
            payload: Mempool::default(),
            state: progress.as_ref().map(|known| known.ordering.clone()),
            delivered: delivered.unwrap_or_default(),
            nonce: question(nonce, plan.epoch),
            views: Views::Total,
        });
        if let Some(last) = last_block(&state).filter(|last| ordering.dag().has(last)) {
            ordering.restore_last(last);
        }
        if ended.is_some() {
            ordering.end();
        }
        reopening::hold_if_held(&mut ordering, &state, keyring.epoch());
        restore(&mut ordering, &keyring, log);
        let mut replica = Self {
            statements: Statements::new(keyring.clone(), own),
            clients: Clients::new(position),
            read_quota: ReadQuota::default(),
            execution: Execution::new(
                application,
                state,
                Members::new(keyring.clone(), plan, ended),
                progress.as_ref(),
            ),
            plans,
            keyring,
            keys,
            key,
            speaks,
            identity,
            wormhole,
            own,
            nonce,
            epochs: Epochs::default(),
            transfers: Transfers::new(transfer_lag),
            offering,
            ordering,
            status: Status::Asking,
            evidence: BTreeMap::new(),
            released: Released::default(),
            suspicions: BTreeMap::new(),
            prunable: VecDeque::new(),
        };
        replica.recall_findings();
        replica
    }

    /// Executes what the log alone decides, and asks the others what they know of this replica; or
    /// stays halted.
    pub fn resume(&mut self, now: Time, out: &mut Out) {
        if self.is_halted() {
            return out.push(Action::Emit(Event::Status(self.status.clone())));
        }
        self.resume_fetching(out);
        if self.is_fetching() {
            return self.advance_transfer(now, out);
        }
        if let Some(next) = self.execution.successor() {
            self.on_end(next, out);
        }
        self.repeat_findings();
        let mut inner = Vec::new();
        self.hold_again();
        self.ordering.resume(now, &mut inner);
        if !self.speaks {
            self.ordering.mute(&mut inner);
        }
        self.carry_out(inner, out);
        self.advance_epoch(now, out);
    }

    /// Does what the time demands beside ordering.
    fn advance_others(&mut self, now: Time, out: &mut Out) {
        if !self.is_fetching() {
            self.advance_epoch(now, out);
        }
        self.advance_transfer(now, out);
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

    /// Maps the ordering core's actions into this core's own, executing what was committed. Once the
    /// replica halts, nothing of the rest shows.
    fn carry_out(&mut self, inner: Actions<Ordering<Mempool>>, out: &mut Out) {
        for action in inner {
            if self.is_halted() {
                return;
            }
            if self.has_ended() && !mutants::is_active("epoch_goes_on") {
                self.on_void(action, out);
                continue;
            }
            if let Action::Emit(ordering::Event::Committed(committed)) = &action
                && self.epochs.end_elsewhere().is_some_and(|end| committed.state.commit > end)
            {
                self.on_void(action, out);
                continue;
            }
            match action {
                Action::Persist(entry) => out.push(Action::Persist(entry)),
                Action::Send(to, message) => out.push(Action::Send(to, message)),
                Action::Broadcast(message) => out.push(Action::Broadcast(message)),
                Action::Attest(header) => out.push(Action::Attest(header)),
                Action::Accuse(who, offence) => self.on_offence(who, offence, out),
                Action::Emit(ordering::Event::Committed(committed)) => {
                    self.on_committed(&committed, out);
                }
                Action::Emit(ordering::Event::Archive { to, part }) => {
                    out.push(Action::Emit(Event::Archive { to, part }));
                }
                Action::Emit(ordering::Event::Standing(standing)) => {
                    self.on_standing(standing, out);
                }
                Action::Emit(ordering::Event::Entered(_) | ordering::Event::Certified(_)) => {}
            }
        }
    }

    fn on_standing(&mut self, standing: Standing, out: &mut Out) {
        self.status = match standing {
            Standing::Asking => Status::Asking,
            Standing::Active => Status::Active,
            Standing::Learner => Status::Learner,
        };
        out.push(Action::Emit(Event::Status(self.status.clone())));
    }

    /// Proofs first: what they prove may forbid to answer.
    fn on_committed(&mut self, committed: &Committed, out: &mut Out) {
        let votes = || committed.blocks.iter().flat_map(|block| &block.body.votes);
        for vote in votes() {
            if let Vote::Evidence(evidence) = vote {
                self.on_evidence(evidence.clone(), out);
            }
        }
        if self.is_halted() {
            return;
        }
        self.note_last_block();
        let mut executed = self.execution.execute(committed);
        let mempool = self.ordering.payload_mut();
        let ordered = committed.blocks.iter().flat_map(|block| &block.body.envelopes);
        ordered.for_each(|envelope| mempool.note_present(envelope.client));
        executed.envelopes.iter().for_each(|digest| mempool.on_executed(digest));
        self.on_deferred(std::mem::take(&mut executed.deferred), out);
        let bytes = committed.blocks.iter().map(|block| block.size() as u64).sum();
        self.offering.on_commit(bytes);
        if checkpoint_of(committed, &executed).is_some() {
            let state = self.execution.state_mut();
            let (progress, delivered) =
                execution::progress(state).unwrap_or_else(|| unreachable!());
            self.offering.on_checkpoint(state, &progress, delivered);
        }
        let signed = self.sign_commit(committed, &executed);
        let mut findings = self.statements.state(signed);
        for vote in votes() {
            if let Vote::Statement(theirs) = vote {
                findings.extend(self.statements.hear(*theirs));
            }
        }
        for finding in findings {
            self.on_finding(finding, out);
        }
        if !self.is_halted() {
            self.ordering.payload_mut().add_vote(Vote::Statement(signed));
            let successor = executed.successor.take();
            self.answer(signed, executed, out);
            if let Some(next) = successor {
                self.on_end(next, out);
            }
        }
        self.prune(out);
    }

    /// Tells clients of envelopes whose turn did not come to send them again, unless they wait here for
    /// the next block.
    fn on_deferred(&mut self, deferred: Vec<Deferred>, out: &mut Out) {
        for envelope in self.ordering.payload_mut().on_deferred(deferred) {
            let Envelope { client, session, first, .. } = envelope;
            for connection in self.clients.of(&client, session) {
                let message =
                    ServerMessage::Busy { session, first, retry_after_ms: RETRY_AFTER_MS };
                out.push(Action::Emit(Event::ToClient(connection, message)));
            }
        }
    }

    /// The name of this replica's newest block goes into the state, for the log forgets blocks and a
    /// next one must name it.
    fn note_last_block(&mut self) {
        let last = self.ordering.last();
        self.execution.state_mut().private_put(LAST_BLOCK, last.encode());
    }

    /// Signs what this replica computed for a commit.
    fn sign_commit(&self, committed: &Committed, executed: &Executed) -> SignedStatement {
        let statement = CommitStatement {
            cluster: self.keyring.cluster(),
            incarnation: self.keyring.incarnation(),
            epoch: self.keyring.epoch(),
            commit: committed.state.commit,
            position: executed.position,
            time: committed.state.time,
            answers: executed.answers.root(),
            state: executed.state_root,
            ordering: checkpoint_of(committed, executed),
        };
        self.keyring.sign_statement(&self.key, self.own, statement)
    }

    fn answer(&mut self, signed: SignedStatement, executed: Executed, out: &mut Out) {
        for (batch, path) in executed.answers.into_parts() {
            let connections: Vec<_> = self.clients.of(&batch.client, batch.session).collect();
            let Some((last, others)) = connections.split_last() else { continue };
            let answers = ServerMessage::Answers { statement: signed, batch, path };
            let to = |connection: &_, answers| Action::Emit(Event::ToClient(*connection, answers));
            out.extend(others.iter().map(|other| to(other, answers.clone())));
            out.push(to(last, answers));
        }
        let execution = &self.execution;
        let may_see = |service, client: &_| execution.may_see(service, client);
        let told = self.clients.on_commit(executed.changes, executed.position, may_see);
        for (connection, message) in told {
            out.push(Action::Emit(Event::ToClient(connection, message)));
        }
    }

    /// Whether nothing of what this replica asked for since the last call may show before its state is
    /// durable: see [`Self::settle`].
    pub fn take_urgent(&mut self) -> bool {
        self.execution.state_mut().take_urgent()
    }

    /// The log is durable with all that this replica asked to persist, so its state may become so, too; if
    /// `is_urgent`, it is when this returns. What a log has lost others may decide otherwise.
    pub fn settle(&mut self, is_urgent: bool) {
        let state = self.execution.state_mut();
        state.settle_commits();
        if is_urgent {
            state.sync();
        }
    }

    /// Makes the state durable, as the log is: the server stops in good order.
    pub fn close(&mut self) {
        self.execution.state_mut().sync();
    }
}

/// Gives the ordering the blocks of a log.
fn restore(
    ordering: &mut Ordering<Mempool>,
    keyring: &Keyring,
    log: impl IntoIterator<Item = LogRecord>,
) {
    for record in log {
        if Block::is_draft(&record.bytes) {
            let draft = Block::decode("recorded draft", &record.bytes).ok();
            draft.into_iter().for_each(|draft| ordering.restore_draft(draft));
        } else if let Some(block) = crate::peer::recorded_block(keyring, ordering.dag(), &record) {
            ordering.restore(block);
        }
    }
}

/// The keys of the last of `plans`, where `first` are those of the first.
fn keyring_of(first: &Keyring, plans: &[SignedPlan]) -> Keyring {
    let last = plans.last().expect("the first one is there");
    let keyring = Keyring::new(first.cluster(), last, first.scheme().clone());
    keyring.expect("a plan in force holds together")
}

/// What is signed of the order after a commit, if it is a checkpoint. One that ended the epoch is none:
/// who went on from it in that epoch would not know of the end. The next plan names its state.
fn checkpoint_of(committed: &Committed, executed: &Executed) -> Option<Digest> {
    committed.checkpoint.filter(|_| executed.successor.is_none())
}

/// The newest block that this replica had made when it last wrote its state. Above the horizon it
/// says nothing: there the log tells, and a block that is not in it was never sent.
fn last_block(state: &State) -> Option<BlockRef> {
    let bytes = state.private_get(LAST_BLOCK)?;
    let last = BlockRef::decode("own last block", &bytes);
    Some(last.expect("the state holds what this replica wrote"))
}

impl Protocol for Replica {
    type Message = Message;
    type Event = Event;

    fn on_message(&mut self, now: Time, from: ReplicaId, message: Message, out: &mut Out) {
        if self.is_halted() {
            return;
        }
        let message = self.of_this_epoch(message);
        match message {
            Message::Epoch(message) => {
                self.on_epoch_message(now, from, message, out);
                return self.advance_others(now, out);
            }
            Message::Transfer(message) => {
                self.on_transfer_message(now, from, message, out);
                return self.advance_others(now, out);
            }
            _ => {}
        }
        let is_block = matches!(message, Message::Block(_));
        let mut inner = Vec::new();
        self.ordering.on_message(now, from, message, &mut inner);
        self.carry_out(inner, out);
        if is_block && self.has_ended() && !mutants::is_active("old_epoch_not_served") {
            self.hint(now, from, self.keyring.epoch(), out);
        }
        self.advance_others(now, out);
    }

    fn on_time(&mut self, now: Time, out: &mut Out) {
        if self.is_halted() {
            return;
        }
        let mut inner = Vec::new();
        self.ordering.on_time(now, &mut inner);
        self.carry_out(inner, out);
        self.advance_others(now, out);
    }

    fn next_deadline(&self) -> Option<Time> {
        if self.is_halted() {
            return None;
        }
        let epochs = self.next_of_epochs().filter(|_| !self.is_fetching());
        let others = epochs.into_iter().chain(self.next_of_transfers());
        self.ordering.next_deadline().into_iter().chain(others).min()
    }
}

#[cfg(test)]
mod tests;
