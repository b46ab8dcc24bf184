//! Executes what was ordered: the same envelopes in the same order give the same state and answers.
//!
//! **Guarantee:** an operation that is refused changes nothing; what one client or one replica can
//! make a commit answer is bounded, and nobody else pays for it. So is the work that one client can
//! cause with one block, and all clients together with it, whoever made the block: an intruder that
//! repeats old envelopes spends what its own block may, and nothing of what others' blocks may.
//!
//! # Source
//! The paper, section 5.2 (masking by replicated deterministic execution); exactly-once execution
//! as in the MAFTIA transaction service, section 8.

mod audit;
mod ending;
mod gathered;
mod recorded;

use std::collections::BTreeSet;

use ravelin_crypto::answers::answer_leaf;
use ravelin_crypto::keyring::envelope_digest;
use ravelin_crypto::merkle::MerkleTree;
use ravelin_model::limits::{CACHED_REPLY_BYTES_MAX, REPLY_BYTES_MAX};
use ravelin_model::requests::session::{SessionReply, SessionRequest};
use ravelin_model::wire::ChangeItem;
use ravelin_model::{
    Answer, AnswerBatch, Application, BlockRef, ClusterPlan, Context, Decode as _, Digest,
    Encode as _, Envelope, MerklePath, Operation, OperationResult, Outcome, Position, PublicKey,
    QueryContext, Refusal, ReplicaId, Round, Sequence, ServiceId, ServiceStores as _, SessionId,
    StateBackend, Time, mutants,
};
use ravelin_multicast::{Committed, OrderingState};

use crate::members::Members;
use crate::sessions::{self, Known, SessionRecord};
use crate::state::{ENTRY_WORK, SERVICE_ID_MAX, State};

use audit::Audited;
pub use ending::recorded_successor;
use gathered::Gathered;
pub use gathered::{
    BLOCK_WORK_MAX, CLIENT_FRESH_BYTES_MAX, CLIENT_REPEATED_BYTES_MAX, CLIENT_WORK_MAX, Deferral,
    Deferred,
};
use recorded::{PROGRESS, delivered_key};
pub use recorded::{Progress, progress, recorded_horizon};

/// Bytes of all replies to one envelope; operations beyond are refused before they are executed.
pub const ENVELOPE_REPLY_BYTES_MAX: usize = 1 << 20;
/// Work of reading that one envelope may cause; operations beyond are refused before they are
/// executed.
pub const ENVELOPE_WORK_MAX: usize = 32 << 20;
/// Work that an operation which leaves a trace may cause without its client being charged: it is done
/// once, so what clients may submit bounds it. One that only reads is done as often as its envelope is
/// ordered, and pays for all.
pub const OPERATION_WORK_FREE: usize = 64 << 10;

/// What one commit did.
#[derive(Debug)]
pub struct Executed {
    /// The last position given out.
    pub position: Position,
    /// Root of the public state afterwards.
    pub state_root: Digest,
    /// The commit's answers, ascending by client and session.
    pub answers: Answers,
    /// What changed, for watchers.
    pub changes: Vec<(ServiceId, ChangeItem)>,
    /// Digests of the envelopes executed.
    pub envelopes: Vec<Digest>,
    /// Envelopes not executed, as if they had not been ordered: the block had used up what it may, or
    /// their client its share of it.
    pub deferred: Vec<Deferred>,
    /// The next epoch's plan, if this commit ended the epoch.
    pub successor: Option<ClusterPlan>,
}

/// The answers of a commit under one root.
#[derive(Debug)]
pub struct Answers {
    batches: Vec<AnswerBatch>,
    tree: MerkleTree,
}

impl Answers {
    fn new(batches: Vec<AnswerBatch>) -> Self {
        let tree = MerkleTree::new(batches.iter().map(answer_leaf).collect());
        Self { batches, tree }
    }

    /// The root that replicas sign.
    #[must_use]
    pub fn root(&self) -> Digest {
        self.tree.root()
    }

    /// Each session's answers with their way to the root.
    pub fn into_parts(self) -> impl Iterator<Item = (AnswerBatch, MerklePath)> {
        let Self { batches, tree } = self;
        batches.into_iter().enumerate().filter_map(move |(index, batch)| {
            let path = tree.path(index)?;
            Some((batch, path))
        })
    }
}

/// Whether an envelope brings something to execute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Fresh,
    Repeated,
}

/// An envelope on its way through its session.
struct Run {
    session: SessionRecord,
    /// The answers under the envelope's first number, with those of this run.
    kept: Vec<Answer>,
    answers: Vec<Answer>,
    /// Bytes of the replies in `kept` and in `answers`.
    kept_bytes: usize,
    reply_bytes: usize,
    /// Work charged so far.
    work: usize,
    /// What was executed for the first time.
    audited: Audited,
}

impl Run {
    fn new(
        session: SessionRecord,
        mut kept: Vec<Answer>,
        envelope: &Envelope,
        position: Position,
    ) -> Self {
        let kept_bytes = kept.iter().map(|answer| answer.result.bytes()).sum();
        let count = envelope.operations.len();
        kept.reserve_exact(count);
        let (answers, reply_bytes, work) = (Vec::with_capacity(count), 0, 0);
        let audited = Audited::of(position, envelope);
        Self { session, kept, answers, kept_bytes, reply_bytes, work, audited }
    }

    fn push(&mut self, answer: Answer) {
        self.reply_bytes += answer.result.bytes();
        self.answers.push(answer);
    }

    fn keep(&mut self, answer: &Answer) {
        self.session.mark(answer.sequence);
        self.kept_bytes += answer.result.bytes();
        self.kept.push(answer.clone());
    }

    /// Whether there is room for the reply to an operation that is kept.
    fn has_room(&self) -> bool {
        self.kept_bytes.max(self.reply_bytes) <= ENVELOPE_REPLY_BYTES_MAX
    }
}

/// What came of an operation that was not known before.
enum Executing {
    /// It read.
    Read(Result<Vec<u8>, Refusal>),
    /// It changed something, or may have, or was refused for good.
    Done(Result<Vec<u8>, Refusal>),
}

/// The replicated state machine.
pub struct Execution {
    application: Box<dyn Application + Send>,
    state: State,
    members: Members,
    position: Position,
    /// Agreed time and horizon of the last commit executed.
    time: Time,
    horizon: Round,
}

impl Execution {
    /// Goes on from what `state` holds, where it stood at `progress`.
    pub fn new(
        application: Box<dyn Application + Send>,
        state: State,
        members: Members,
        progress: Option<&Progress>,
    ) -> Self {
        Self {
            application,
            state,
            members,
            position: progress.map_or(Position(0), |known| known.position),
            time: progress.map_or(Time(0), |known| known.ordering.time),
            horizon: progress.map_or(Round(0), |known| known.ordering.horizon()),
        }
    }

    /// The state.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The state, for making it durable.
    pub fn state_mut(&mut self) -> &mut State {
        &mut self.state
    }

    /// The last position executed.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Agreed time of the last commit executed.
    pub fn time(&self) -> Time {
        self.time
    }

    /// Rounds up to which the state needs nothing of the log any more.
    pub fn horizon(&self) -> Round {
        self.horizon
    }

    /// Whether `client` may use the cluster, as the state stands.
    pub fn admits(&self, client: &PublicKey) -> bool {
        self.application.admits(&mut self.state.queries(), client)
    }

    /// Whether `client` may be shown what `service` holds. What sessions hold is nobody's business.
    pub fn may_see(&self, service: ServiceId, client: &PublicKey) -> bool {
        (is_asked(service) || service == ServiceId::AUDIT)
            && self.application.may_ask(service, &mut self.state.queries(), client)
    }

    /// Answers a request that only reads, from the state after the last commit. Beside the reply: the
    /// work that it took, as in [`State::take_work`].
    pub fn query(
        &self,
        service: ServiceId,
        client: PublicKey,
        request: &[u8],
    ) -> (Option<Vec<u8>>, usize) {
        if !is_asked(service) {
            return (None, 0);
        }
        let context = QueryContext { commit: self.state.commit(), time: self.time, client };
        let mut stores = self.state.queries();
        let reply = self.application.query(service, &context, &mut stores, request);
        (reply.filter(|reply| reply.len() <= REPLY_BYTES_MAX), stores.take_work())
    }

    /// Agreed time, as services see it.
    fn shown_time(&self) -> Time {
        if mutants::is_active("execution_not_deterministic") {
            return Time(self.time.0 ^ std::ptr::from_ref(self).addr() as u64);
        }
        self.time
    }

    /// Whether all of an envelope was executed before.
    pub fn is_repeated(&self, envelope: &Envelope) -> bool {
        let view = self.state.view(ServiceId::SESSION);
        let record = sessions::find(&view, envelope.session, &envelope.client);
        record.is_ok_and(|record| {
            sequences(envelope).all(|sequence| record.knows(sequence) == Known::Executed)
        })
    }

    /// The answers that are kept of an envelope. Beside them: the work that it took to find them.
    pub fn kept_answers(&self, envelope: &Envelope) -> (Vec<Answer>, usize) {
        let view = self.state.view(ServiceId::SESSION);
        let answers = sessions::replies(&view, envelope.session, envelope.first);
        let work = work_of(&answers);
        (answers, work)
    }

    /// Executes a commit and writes it, with the ordering state, as one batch.
    pub fn execute(&mut self, committed: &Committed) -> Executed {
        let mut gathered = Gathered::default();
        let mut envelopes = Vec::new();
        self.time = committed.state.time;
        for block in &committed.blocks {
            gathered.begin_block(block.body.author);
            for envelope in &block.body.envelopes {
                if gathered.defers(envelope) {
                    continue;
                }
                self.position.0 += 1;
                self.execute_envelope(envelope, &mut gathered);
                envelopes.push(envelope_digest(envelope));
            }
            self.execute_votes(&block.body.votes);
        }
        self.sweep(&mut gathered.changes);
        self.write_audit(committed.state.commit, std::mem::take(&mut gathered.audited));
        self.write_progress(committed);
        self.write_successor();
        self.horizon = committed.state.horizon();
        let state_root = self.state.finish_commit(committed.state.commit);
        let Gathered { batches, changes, deferred, .. } = gathered;
        let batches = batches.into_values().flatten().map(|(batch, _)| batch);
        let answers = Answers::new(batches.collect());
        let (position, successor) = (self.position, self.successor());
        Executed { position, state_root, answers, changes, envelopes, deferred, successor }
    }

    fn execute_envelope(&mut self, envelope: &Envelope, gathered: &mut Gathered) {
        if !self.application.admits(&mut self.state, &envelope.client) {
            let answers = self.refuse_all(envelope, Refusal::UnknownClient);
            return gathered.answer(envelope, answers, Kind::Fresh);
        }
        if !has_numbers(envelope) {
            let answers = self.refuse_all(envelope, Refusal::Malformed);
            return gathered.answer(envelope, answers, Kind::Fresh);
        }
        if envelope.session == SessionId(0) {
            let answer = self.open_session(envelope, gathered);
            return gathered.answer(envelope, vec![answer], Kind::Fresh);
        }
        let store = self.state.of(ServiceId::SESSION);
        let session = match sessions::find(store, envelope.session, &envelope.client) {
            Ok(session) => session,
            Err(refusal) => {
                let answers = self.refuse_all(envelope, refusal);
                return gathered.answer(envelope, answers, Kind::Fresh);
            }
        };
        let is_new = |sequence| knows(&session, sequence) == Known::New;
        let kind = if sequences(envelope).any(is_new) { Kind::Fresh } else { Kind::Repeated };
        if kind == Kind::Repeated && gathered.is_spent(&envelope.client, kind) {
            return;
        }
        let kept = sessions::replies_of(store, envelope.session, &session, envelope.first);
        if !kept.is_empty() {
            gathered.charge(envelope.client, work_of(&kept), 0);
        }
        let run = Run::new(session, kept, envelope, self.position);
        let answers = self.run(envelope, run, kind, gathered);
        gathered.answer(envelope, answers, kind);
    }

    /// Executes what is new of an envelope, in order. A repetition leaves no trace.
    fn run(
        &mut self,
        envelope: &Envelope,
        mut run: Run,
        kind: Kind,
        gathered: &mut Gathered,
    ) -> Vec<Answer> {
        let known = run.kept.len();
        for (index, (sequence, operation)) in numbered(envelope) {
            match knows(&run.session, sequence) {
                Known::Forgotten => {
                    run.push(self.answer(sequence, index, Err(Refusal::Forgotten)));
                }
                Known::Executed => {
                    let kept = run.kept.iter().find(|answer| answer.sequence == sequence).cloned();
                    let forgotten = || self.answer(sequence, index, Err(Refusal::Forgotten));
                    run.push(kept.unwrap_or_else(forgotten));
                }
                Known::New if is_close(operation) => {
                    return self.close_session(envelope, run, index, gathered);
                }
                Known::New => {
                    let context = Context {
                        position: self.position,
                        index,
                        time: self.shown_time(),
                        client: envelope.client,
                    };
                    self.state.take_work(); // what came before was not this operation's
                    let executing = self.operate(operation, &context, &run, &mut gathered.changes);
                    let work = self.state.take_work();
                    let (work, free) = match executing {
                        Executing::Read(_) => (work, 0),
                        // What is noted of it costs at least that much.
                        Executing::Done(_) => (work.max(ENTRY_WORK), OPERATION_WORK_FREE),
                    };
                    run.work += work.saturating_sub(free);
                    gathered.charge(envelope.client, work, free);
                    match executing {
                        Executing::Read(result) => run.push(self.answer(sequence, index, result)),
                        Executing::Done(result) => {
                            let answer = self.answer(sequence, index, result);
                            run.audited.note(index, operation, &answer.result);
                            run.keep(&answer);
                            run.push(answer);
                        }
                    }
                }
            }
        }
        if kind == Kind::Fresh {
            let store = self.state.of(ServiceId::SESSION);
            let Run { session, kept, audited, .. } = run;
            // A repetition with reads in it keeps nothing new.
            let kept = if kept.len() > known { kept.as_slice() } else { &[] };
            sessions::save(store, envelope.session, session, envelope.first, kept, self.time);
            gathered.audit(audited);
        }
        run.answers
    }

    /// Ends the session at the operation with this index; the ones after it find none.
    fn close_session(
        &mut self,
        envelope: &Envelope,
        mut run: Run,
        closing: u16,
        gathered: &mut Gathered,
    ) -> Vec<Answer> {
        sessions::close(self.state.of(ServiceId::SESSION), envelope.session, &run.session);
        let rest = numbered(envelope).filter(|(index, _)| *index >= closing);
        for (index, (sequence, operation)) in rest {
            let is_closing = index == closing;
            let closed = || Ok(SessionReply::Closed.encode());
            let result = if is_closing { closed() } else { Err(Refusal::UnknownSession) };
            let answer = self.answer(sequence, index, result);
            if is_closing {
                run.audited.note(index, operation, &answer.result);
            }
            run.push(answer);
        }
        gathered.audit(run.audited);
        run.answers
    }

    /// Executes one operation as a unit.
    fn operate(
        &mut self,
        operation: &Operation,
        context: &Context,
        run: &Run,
        changes: &mut Vec<(ServiceId, ChangeItem)>,
    ) -> Executing {
        let service = operation.service;
        if !is_asked(service) {
            return Executing::Done(Err(Refusal::UnknownService));
        }
        if run.reply_bytes > ENVELOPE_REPLY_BYTES_MAX {
            return Executing::Done(Err(Refusal::TooLarge));
        }
        if run.work > ENVELOPE_WORK_MAX {
            return Executing::Done(Err(Refusal::TooMuchWork));
        }
        let query = QueryContext {
            commit: self.state.commit(),
            time: context.time,
            client: context.client,
        };
        let read = self.application.query(service, &query, &mut self.state, &operation.request);
        if let Some(reply) = read {
            let fits = reply.len() <= REPLY_BYTES_MAX;
            return Executing::Read(if fits { Ok(reply) } else { Err(Refusal::TooLarge) });
        }
        if !run.has_room() {
            return Executing::Done(Err(Refusal::TooLarge));
        }
        self.state.begin();
        let outcome =
            self.application.execute(service, context, &mut self.state, &operation.request);
        let outcome = outcome.and_then(|outcome: Outcome| {
            if outcome.reply.len() > CACHED_REPLY_BYTES_MAX {
                return Err(Refusal::TooLarge);
            }
            match outcome.rekey {
                Some((member, block)) => {
                    let store = self.state.of(ServiceId::MEMBERS);
                    let fits = self.members.change(store, member, block);
                    if fits { Ok(outcome) } else { Err(Refusal::Unfit) }
                }
                None => Ok(outcome),
            }
        });
        match outcome {
            Ok(Outcome { reply, changes: told, .. }) => {
                self.state.keep();
                let (position, index) = (context.position, context.index);
                let told = told.into_iter().map(|change| ChangeItem { position, index, change });
                changes.extend(told.map(|item| (service, item)));
                Executing::Done(Ok(reply))
            }
            Err(refusal) => {
                self.state.undo();
                Executing::Done(Err(refusal))
            }
        }
    }

    fn open_session(&mut self, envelope: &Envelope, gathered: &mut Gathered) -> Answer {
        let opening = match envelope.operations.as_slice() {
            [only] if only.service == ServiceId::SESSION => {
                let request = SessionRequest::decode("session request", &only.request);
                (request == Ok(SessionRequest::Open)).then_some(only)
            }
            _ => None,
        };
        let Some(opening) = opening else {
            return self.answer(envelope.first, 0, Err(Refusal::Malformed));
        };
        let (position, time) = (self.position, self.time);
        let store = self.state.of(ServiceId::SESSION);
        let opened = sessions::open(store, envelope.client, envelope.first.0, position, time);
        let is_new = opened == Ok(SessionId(position.0)); // otherwise it is told again
        let result = opened.map(|session| SessionReply::Opened(session).encode());
        let answer = self.answer(envelope.first, 0, result);
        if is_new {
            let mut audited = Audited::of(position, envelope);
            audited.note(0, opening, &answer.result);
            gathered.audit(audited);
        }
        answer
    }

    fn refuse_all(&self, envelope: &Envelope, refusal: Refusal) -> Vec<Answer> {
        numbered(envelope)
            .map(|(index, (sequence, _))| self.answer(sequence, index, Err(refusal)))
            .collect()
    }

    fn answer(&self, sequence: Sequence, index: u16, result: Result<Vec<u8>, Refusal>) -> Answer {
        let result = match result {
            Ok(reply) => OperationResult::Done(reply),
            Err(refusal) => OperationResult::Refused(refusal),
        };
        Answer { sequence, position: self.position, index, result }
    }

    /// Lets services clear away what has expired. What that changes gets a position of its own, for
    /// watchers have been told everything up to the last.
    fn sweep(&mut self, changes: &mut Vec<(ServiceId, ChangeItem)>) {
        let swept = self.application.sweep(self.time, &mut self.state);
        if !swept.is_empty() {
            self.position.0 += 1;
        }
        let (position, index) = (self.position, u16::MAX);
        let items = swept.into_iter();
        changes.extend(
            items.map(|(service, change)| (service, ChangeItem { position, index, change })),
        );
        sessions::expire(self.state.of(ServiceId::SESSION), self.time);
    }
}

/// Whether clients may ask `service`.
fn is_asked(service: ServiceId) -> bool {
    const OWN: [ServiceId; 3] = [ServiceId::SESSION, ServiceId::MEMBERS, ServiceId::AUDIT];
    service <= SERVICE_ID_MAX && !OWN.contains(&service)
}

fn knows(session: &SessionRecord, sequence: Sequence) -> Known {
    if mutants::is_active("exactly_once_dropped") { Known::New } else { session.knows(sequence) }
}

/// The work of finding the answers that are kept of an envelope.
fn work_of(kept: &[Answer]) -> usize {
    ENTRY_WORK + kept.iter().map(|answer| answer.result.bytes()).sum::<usize>()
}

/// Whether there is a number for each of an envelope's operations.
fn has_numbers(envelope: &Envelope) -> bool {
    envelope.first.0.checked_add(envelope.operations.len() as u64).is_some()
}

/// The numbers of an envelope's operations.
fn sequences(envelope: &Envelope) -> impl Iterator<Item = Sequence> + '_ {
    (0..envelope.operations.len() as u64)
        .map(|step| Sequence(envelope.first.0.saturating_add(step)))
}

/// An envelope's operations with their places and numbers.
fn numbered(envelope: &Envelope) -> impl Iterator<Item = (u16, (Sequence, &Operation))> {
    (0..).zip(sequences(envelope).zip(&envelope.operations))
}

fn is_close(operation: &Operation) -> bool {
    operation.service == ServiceId::SESSION
        && SessionRequest::decode("session request", &operation.request)
            == Ok(SessionRequest::Close)
}

#[cfg(test)]
mod tests;
