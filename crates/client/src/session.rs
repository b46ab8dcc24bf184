//! One client's session with the cluster: commands and messages in, sends and events out.
//!
//! **Guarantee:** see the crate. Everything kept is bounded by the limits of [`crate::limits`], the
//! session's window and the size of the group.
//!
//! Beginning and end: `session/lifecycle.rs`. Sending: `session/sending.rs`. Believing:
//! `session/answers.rs`, and beside it what needs no ordering: reads, proofs, watches, status. From
//! epoch to epoch: `session/following.rs`.

mod answers;
mod auditing;
mod following;
mod lifecycle;
mod proofs;
mod reads;
mod sending;
mod statuses;
mod watching;

use std::collections::BTreeMap;
use std::time::Duration;

use ravelin_crypto::{Keyring, SigningKey};
use ravelin_model::limits::{CLIENT_PATIENCE, ENVELOPE_OPERATIONS_MAX, SESSION_WINDOW};
use ravelin_model::wire::{ClientMessage, ServerMessage};
use ravelin_model::{
    Encode as _, Group, Misbehaviour, Operation, Position, PublicKey, Refusal, ReplicaId, Sequence,
    ServiceId, SessionId, SignedPlan, Time,
};

use crate::epochs::Epochs;
use crate::event::{ClientAction, Event, Ticket, Unanswered};
use crate::flight::{Agreed, Flight, Purpose};
use crate::limits::IN_FLIGHT_BYTES_MAX;
use crate::misuse::Misuse;
use crate::peers::Peers;
use crate::tally::Tally;
use crate::watch::Watch;

use answers::SignedAnswers;
use auditing::AuditQuestion;
use following::Following;
use proofs::Proof;
use reads::Read;
use statuses::StatusQuestion;

/// How a session behaves.
#[derive(Clone, Copy, Debug)]
pub struct SessionConfig {
    /// How long to wait for the home replica before asking others.
    pub patience: Duration,
    /// Chooses the home replica and the jitter of retries; need not be secret.
    pub seed: [u8; 32],
}

impl SessionConfig {
    /// The default patience.
    #[must_use]
    pub fn new(seed: [u8; 32]) -> Self {
        Self { patience: CLIENT_PATIENCE, seed }
    }
}

/// What may be submitted now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Operations, in one envelope or several.
    pub operations: usize,
    /// Canonical bytes of all their envelopes.
    pub bytes: usize,
}

/// The voting client's core: commands and messages in, actions out; no I/O, no clock.
#[derive(Debug)]
pub struct Session {
    epochs: Epochs,
    following: Following,
    key: SigningKey,
    peers: Peers,
    phase: Phase,
    /// The number of the last opening.
    opening: Sequence,
    next_ticket: u64,
    /// The next operation's number.
    next: Sequence,
    /// By the number of their first operation.
    flights: BTreeMap<Sequence, Flight>,
    flight_bytes: usize,
    /// What was agreed lately, for comparing late answers with.
    agreed: BTreeMap<Sequence, Agreed>,
    /// Members that say that the session or the client is unknown.
    shut_out: Tally<Refusal>,
    reads: BTreeMap<Ticket, Read>,
    proofs: BTreeMap<Ticket, Proof>,
    audits: BTreeMap<Ticket, AuditQuestion>,
    watches: BTreeMap<Ticket, Watch>,
    statuses: BTreeMap<Ticket, StatusQuestion>,
}

/// Where the session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// There is none.
    Idle,
    /// Its opening is in flight.
    Opening,
    /// Operations can be submitted.
    Open(SessionId),
    /// It ends once everything in flight is answered.
    Closing(SessionId),
}

impl Session {
    /// An idle session of the client that holds `key`, with the cluster of `keyring`, in the epoch
    /// that `plan` begins: the newest that is known to the caller, as [`crate::chain::follow`] gives
    /// it. The session follows later ones.
    ///
    /// # Panics
    /// If `keyring` is of another epoch than the plan's.
    #[must_use]
    pub fn new(keyring: Keyring, plan: SignedPlan, key: SigningKey, config: SessionConfig) -> Self {
        assert_eq!(keyring.epoch(), plan.plan.epoch, "the keys are those of the plan");
        let group = keyring.group();
        Self {
            peers: Peers::new(group, config.patience, config.seed),
            epochs: Epochs::new(keyring, plan),
            following: Following::default(),
            key,
            phase: Phase::Idle,
            opening: Sequence(0),
            next_ticket: 1,
            next: Sequence(1),
            flights: BTreeMap::new(),
            flight_bytes: 0,
            agreed: BTreeMap::new(),
            shut_out: Tally::default(),
            reads: BTreeMap::new(),
            proofs: BTreeMap::new(),
            audits: BTreeMap::new(),
            watches: BTreeMap::new(),
            statuses: BTreeMap::new(),
        }
    }

    /// Opens a session; [`Event::Opened`] or [`Event::Refused`] follows.
    ///
    /// # Errors
    /// [`Misuse::NotIdle`] if there is one already.
    pub fn open(&mut self, now: Time, out: &mut Vec<ClientAction>) -> Result<(), Misuse> {
        if self.phase != Phase::Idle {
            return Err(Misuse::NotIdle);
        }
        self.open_above(now, self.opening.0, out);
        Ok(())
    }

    /// Submits 1..=1024 operations as one signed envelope; [`Event::Answered`] follows once a quorum
    /// agrees on each result, or [`Event::Unanswered`].
    ///
    /// # Errors
    /// [`Misuse`]. After `WindowFull` and `BytesFull` the caller waits for answers.
    pub fn submit(
        &mut self,
        now: Time,
        operations: Vec<Operation>,
        out: &mut Vec<ClientAction>,
    ) -> Result<Ticket, Misuse> {
        let Phase::Open(session) = self.phase else { return Err(Misuse::NotOpen) };
        self.check_room(&operations)?;
        let ticket = self.take_ticket();
        self.launch(now, Purpose::Operations, ticket, session, operations, out);
        Ok(ticket)
    }

    /// Ends the session once everything in flight is answered; [`Event::Closed`] follows. Reads that
    /// wait to be ordered end unanswered.
    ///
    /// # Errors
    /// [`Misuse::NotOpen`] if there is no open session.
    pub fn close(&mut self, now: Time, out: &mut Vec<ClientAction>) -> Result<(), Misuse> {
        let Phase::Open(session) = self.phase else { return Err(Misuse::NotOpen) };
        self.phase = Phase::Closing(session);
        self.drop_waiting_reads(out);
        self.start_waiting(now, out);
        Ok(())
    }

    /// What may be submitted now; nothing unless the session is open.
    #[must_use]
    pub fn capacity(&self) -> Capacity {
        if !matches!(self.phase, Phase::Open(_) | Phase::Closing(_)) {
            return Capacity { operations: 0, bytes: 0 };
        }
        // The window is the server's: it begins at the oldest operation without an answer.
        let oldest = self.flights.keys().next().copied().unwrap_or(self.next);
        let used = self.next.0.saturating_sub(oldest.0);
        let operations = usize::try_from(SESSION_WINDOW.saturating_sub(used)).unwrap_or(0);
        Capacity { operations, bytes: IN_FLIGHT_BYTES_MAX.saturating_sub(self.flight_bytes) }
    }

    /// The open session's id.
    #[must_use]
    pub fn id(&self) -> Option<SessionId> {
        match self.phase {
            Phase::Open(session) | Phase::Closing(session) => Some(session),
            Phase::Idle | Phase::Opening => None,
        }
    }

    /// Takes a message that came over the connection of `from`.
    pub fn on_message(
        &mut self,
        now: Time,
        from: ReplicaId,
        message: ServerMessage,
        out: &mut Vec<ClientAction>,
    ) {
        if !self.group().has(from) {
            return;
        }
        match message {
            ServerMessage::Answers { statement, batch, path } => {
                self.on_answers(now, from, SignedAnswers { statement, batch, path }, out);
            }
            ServerMessage::Repeated(batch) => self.count(now, from, self.epoch(), batch, out),
            ServerMessage::Busy { session, first, retry_after_ms } => {
                self.on_busy(now, from, (session, first), retry_after_ms, out);
            }
            ServerMessage::Denied { session, first, refusal } => {
                self.on_denied(now, from, (session, first), refusal, out);
            }
            ServerMessage::ReadReply { id, reply, commit: _ } => {
                self.on_read_reply(now, from, Ticket(id), reply, out);
            }
            ServerMessage::Proof { id, statements, proof } => {
                self.on_proof(now, from, Ticket(id), &statements, proof, out);
            }
            ServerMessage::Changes { id, through, items } => {
                self.on_changes(from, id, through, items, out);
            }
            ServerMessage::Compacted { id, oldest } => self.on_compacted(from, id, oldest, out),
            ServerMessage::Status { id, report } => {
                self.on_status(from, Ticket(id), *report, out);
            }
            ServerMessage::Plans(chain) => self.on_plans(now, from, chain, out),
            ServerMessage::Audit { id, records } => {
                self.on_audit(now, from, Ticket(id), records, out);
            }
            // What administrators ask, and no session.
            ServerMessage::Wormhole { .. } | ServerMessage::Reopening { .. } => {}
        }
    }

    /// Takes it that `replica` can be sent to.
    pub fn on_connected(&mut self, now: Time, replica: ReplicaId, out: &mut Vec<ClientAction>) {
        if !self.group().has(replica) {
            return;
        }
        self.peers.connect(replica);
        self.attach(replica, out);
        self.resend_to(replica, out);
        self.ask_reads_of(replica, out);
        self.ask_proofs_again(now, out);
        self.ask_audits_again(now, out);
        self.watch_at(replica, out);
    }

    /// Takes it that the connection to `replica` broke.
    pub fn on_disconnected(&mut self, now: Time, replica: ReplicaId, out: &mut Vec<ClientAction>) {
        self.peers.disconnect(replica);
        self.send_due(out);
        self.order_hopeless_reads(now, out);
        self.pass_on_proofs_of(now, replica, out);
        self.pass_on_audits_of(now, replica, out);
        self.inquire_further_than(now, replica, out);
        self.unwatch_at(replica);
        self.await_no_status_of(replica, out);
    }

    /// Takes the passing of time; early calls are harmless.
    pub fn on_time(&mut self, now: Time, out: &mut Vec<ClientAction>) {
        self.peers.release(now);
        self.retry(now, out);
        self.order_overdue_reads(now, out);
        self.pass_on_overdue_proofs(now, out);
        self.pass_on_overdue_audits(now, out);
        self.tell_overdue_statuses(now, out);
        self.resume_watches(now, out);
        self.inquire_overdue(now, out);
    }

    /// When [`Session::on_time`] should be called at the latest.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        let flights = self.flights.values().map(|flight| flight.deadline);
        let release = self.peers.next_release().filter(|_| !self.flights.is_empty());
        flights
            .chain(release)
            .chain(self.reads.values().filter_map(Read::deadline))
            .chain(self.proofs.values().map(|proof| proof.deadline))
            .chain(self.audits.values().map(|question| question.deadline))
            .chain(self.statuses.values().map(|question| question.deadline))
            .chain(self.watches.values().filter_map(Watch::deadline))
            .chain(self.following.deadline())
            .min()
    }

    /// What is kept now, for tests of its bounds.
    #[cfg(test)]
    pub(crate) fn footprint(&self) -> Footprint {
        let votes = self.flights.values().map(Flight::vote_count).sum::<usize>();
        Footprint {
            statements: self.epochs.statement_count(),
            epochs: self.epochs.len(),
            early_bytes: self.following.early_bytes(),
            agreed: self.agreed.len(),
            votes: votes + self.reads.values().map(Read::vote_count).sum::<usize>(),
            watch_bytes: self.watches.values().map(Watch::bytes).sum(),
            flights: self.flights.len(),
            reads: self.reads.len(),
            watches: self.watches.len(),
        }
    }

    fn group(&self) -> Group {
        self.epochs.newest().group()
    }

    fn client(&self) -> PublicKey {
        self.key.public()
    }

    fn take_ticket(&mut self) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        ticket
    }

    /// The session that envelopes name now.
    fn named_session(&self) -> Option<SessionId> {
        match self.phase {
            Phase::Idle => None,
            Phase::Opening => Some(SessionId(0)),
            Phase::Open(session) | Phase::Closing(session) => Some(session),
        }
    }

    fn check_room(&self, operations: &[Operation]) -> Result<(), Misuse> {
        let count = operations.len();
        if count == 0 || count > ENVELOPE_OPERATIONS_MAX {
            return Err(Misuse::OperationCount { operations: count });
        }
        let (size, capacity) = (sending::size_of_envelope(operations)?, self.capacity());
        if count > capacity.operations {
            return Err(Misuse::WindowFull { left: capacity.operations });
        }
        if size > capacity.bytes {
            return Err(Misuse::BytesFull { left: capacity.bytes });
        }
        Ok(())
    }

    /// Tells the caller what a member did, and files the proof, where there is one, with all members:
    /// their own view of each other may not show what that member told a client.
    fn accuse(&self, replica: ReplicaId, misbehaviour: Misbehaviour, out: &mut Vec<ClientAction>) {
        if let Misbehaviour::Proven(evidence) = &misbehaviour {
            for member in self.group().members() {
                let filed = ClientMessage::File(evidence.clone());
                out.push(ClientAction::Send(member, filed));
            }
        }
        let misbehaviour = Box::new(misbehaviour);
        out.push(ClientAction::Deliver(Event::Accused { replica, misbehaviour }));
    }
}

/// What a session keeps.
#[cfg(test)]
#[derive(Debug)]
pub(crate) struct Footprint {
    pub(crate) statements: usize,
    pub(crate) epochs: usize,
    pub(crate) early_bytes: usize,
    pub(crate) agreed: usize,
    pub(crate) votes: usize,
    pub(crate) watch_bytes: usize,
    pub(crate) flights: usize,
    pub(crate) reads: usize,
    pub(crate) watches: usize,
}
