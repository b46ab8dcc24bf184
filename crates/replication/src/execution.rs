//! Executes what was ordered: the same envelopes in the same order give the same state and answers.
//!
//! # Source
//! The paper, section 5.2 (masking by replicated deterministic execution); exactly-once execution
//! as in the MAFTIA transaction service, section 8.

use std::collections::{BTreeMap, BTreeSet};

use ravelin_crypto::answers::answer_leaf;
use ravelin_crypto::keyring::envelope_digest;
use ravelin_crypto::merkle::MerkleTree;
use ravelin_model::limits::{CACHED_REPLY_BYTES_MAX, REPLY_BYTES_MAX};
use ravelin_model::requests::session::{SessionReply, SessionRequest};
use ravelin_model::wire::ChangeItem;
use ravelin_model::{
    Answer, AnswerBatch, Application, Context, Decode as _, Digest, Encode as _, Envelope,
    MerklePath, OperationResult, Outcome, Position, PublicKey, QueryContext, Refusal, Sequence,
    ServiceId, ServiceStores as _, SessionId, mutants,
};
use ravelin_multicast::Committed;

use crate::sessions::{self, Known};
use crate::state::{SERVICE_ID_MAX, State};

/// Bytes of all replies to one envelope; operations beyond are refused before they are executed.
pub const ENVELOPE_REPLY_BYTES_MAX: usize = 1 << 20;
/// Bytes of answers after which a session's next answers of the commit go into another batch.
const BATCH_BYTES_MAX: usize = 1 << 20;
/// Key of [`Progress`] in the private state.
const PROGRESS: &[u8] = b"o";
/// Prefix of delivered references in the private state.
const DELIVERED: u8 = b'd';

/// Where execution stands; written with each commit.
#[derive(Clone, Debug, PartialEq, Eq, borsh::BorshSerialize, borsh::BorshDeserialize)]
pub struct Progress {
    /// The last position given out.
    pub position: Position,
    /// The ordering state after the last commit executed.
    pub ordering: ravelin_multicast::OrderingState,
}

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

/// Answers of a commit as they gather, in batches that fit a message.
#[derive(Default)]
struct Batches {
    full: BTreeMap<(PublicKey, SessionId), Vec<(AnswerBatch, usize)>>,
}

impl Batches {
    fn add(&mut self, envelope: &Envelope, answers: Vec<Answer>) {
        let (client, session) = (envelope.client, envelope.session);
        let bytes: usize = answers.iter().map(|answer| 64 + answer.result.bytes()).sum();
        let of_session = self.full.entry((client, session)).or_default();
        match of_session.last_mut() {
            Some((batch, held)) if *held + bytes <= BATCH_BYTES_MAX => {
                batch.answers.extend(answers);
                *held += bytes;
            }
            _ => of_session.push((AnswerBatch { client, session, answers }, bytes)),
        }
    }

    fn into_vec(self) -> Vec<AnswerBatch> {
        self.full.into_values().flatten().map(|(batch, _)| batch).collect()
    }
}

/// The replicated state machine.
pub struct Execution {
    application: Box<dyn Application + Send>,
    state: State,
    position: Position,
}

impl Execution {
    /// Goes on from what `state` holds.
    pub fn new(application: Box<dyn Application + Send>, state: State, position: Position) -> Self {
        Self { application, state, position }
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

    /// Whether `client` may use the cluster, as the state stands.
    pub fn admits(&self, client: &PublicKey) -> bool {
        self.application.admits(&mut self.state.queries(), client)
    }

    /// Answers a request that only reads, from the state after the last commit.
    pub fn query(
        &self,
        service: ServiceId,
        context: &QueryContext,
        request: &[u8],
    ) -> Option<Vec<u8>> {
        if service > SERVICE_ID_MAX || service == ServiceId::SESSION {
            return None;
        }
        self.application
            .query(service, context, &mut self.state.queries(), request)
            .filter(|reply| reply.len() <= REPLY_BYTES_MAX)
    }

    /// The kept answers to an envelope, if all of it was executed before.
    pub fn repeated(&self, envelope: &Envelope) -> Option<Vec<Answer>> {
        let view = self.state.view(ServiceId::SESSION);
        let record = sessions::find(&view, envelope.session, &envelope.client).ok()?;
        let is_known =
            sequences(envelope).all(|sequence| record.knows(sequence) == Known::Executed);
        let answers = sessions::replies(&view, envelope.session, envelope.first);
        (is_known && !answers.is_empty()).then_some(answers)
    }

    /// Executes a commit and writes it, with the ordering state, as one batch.
    pub fn execute(&mut self, committed: &Committed) -> Executed {
        let mut batches = Batches::default();
        let mut changes = Vec::new();
        let mut envelopes = Vec::new();
        for block in &committed.blocks {
            for envelope in &block.body.envelopes {
                self.position.0 += 1;
                let answers = self.execute_envelope(envelope, committed, &mut changes);
                batches.add(envelope, answers);
                envelopes.push(envelope_digest(envelope));
            }
        }
        self.sweep(committed, &mut changes);
        self.write_progress(committed);
        let state_root = self.state.finish_commit(committed.state.commit);
        let answers = Answers::new(batches.into_vec());
        Executed { position: self.position, state_root, answers, changes, envelopes }
    }

    fn execute_envelope(
        &mut self,
        envelope: &Envelope,
        committed: &Committed,
        changes: &mut Vec<(ServiceId, ChangeItem)>,
    ) -> Vec<Answer> {
        if !self.application.admits(&mut self.state, &envelope.client) {
            return self.refuse_all(envelope, Refusal::UnknownClient);
        }
        if envelope.session == SessionId(0) {
            return vec![self.open_session(envelope, committed)];
        }
        let store = self.state.of(ServiceId::SESSION);
        let mut record = match sessions::find(store, envelope.session, &envelope.client) {
            Ok(record) => record,
            Err(refusal) => return self.refuse_all(envelope, refusal),
        };
        let kept = sessions::replies(store, envelope.session, envelope.first);
        let mut answers = Vec::with_capacity(envelope.operations.len());
        let mut to_keep = kept.clone();
        let mut reply_bytes = 0;
        for (index, (sequence, operation)) in
            sequences(envelope).zip(&envelope.operations).enumerate()
        {
            let index = u16::try_from(index).expect("an envelope has at most 1024 operations");
            let known = if mutants::is_active("exactly_once_dropped") {
                Known::New
            } else {
                record.knows(sequence)
            };
            let answer = match known {
                Known::Forgotten => self.answer(sequence, index, Err(Refusal::Forgotten)),
                Known::Executed => kept
                    .iter()
                    .find(|answer| answer.sequence == sequence)
                    .cloned()
                    .unwrap_or_else(|| self.answer(sequence, index, Err(Refusal::Forgotten))),
                Known::New => {
                    if is_close(operation) {
                        let store = self.state.of(ServiceId::SESSION);
                        sessions::close(store, envelope.session, &record);
                        let reply = SessionReply::Closed.encode();
                        answers.push(self.answer(sequence, index, Ok(reply)));
                        return answers;
                    }
                    let context = Context {
                        position: self.position,
                        index,
                        time: committed.state.time,
                        client: envelope.client,
                    };
                    let (result, only_reads) = if reply_bytes > ENVELOPE_REPLY_BYTES_MAX {
                        (Err(Refusal::TooLarge), false)
                    } else {
                        self.operate(operation, &context, changes)
                    };
                    let answer = self.answer(sequence, index, result);
                    reply_bytes += answer.result.bytes();
                    if !only_reads {
                        record.mark(sequence);
                        to_keep.push(answer.clone());
                    }
                    answer
                }
            };
            answers.push(answer);
        }
        let store = self.state.of(ServiceId::SESSION);
        let time = committed.state.time;
        sessions::save(store, envelope.session, record, envelope.first, &to_keep, time);
        answers
    }

    /// Executes one operation as a unit: its result, and whether it could change nothing.
    fn operate(
        &mut self,
        operation: &ravelin_model::Operation,
        context: &Context,
        changes: &mut Vec<(ServiceId, ChangeItem)>,
    ) -> (Result<Vec<u8>, Refusal>, bool) {
        let service = operation.service;
        if service > SERVICE_ID_MAX || service == ServiceId::SESSION {
            return (Err(Refusal::UnknownService), false);
        }
        let query = QueryContext {
            commit: self.state.commit(),
            time: context.time,
            client: context.client,
        };
        let read = self.application.query(service, &query, &mut self.state, &operation.request);
        if let Some(reply) = read {
            let fits = reply.len() <= REPLY_BYTES_MAX;
            return (if fits { Ok(reply) } else { Err(Refusal::TooLarge) }, true);
        }
        self.state.begin();
        let outcome =
            self.application.execute(service, context, &mut self.state, &operation.request);
        let outcome = outcome.and_then(|outcome: Outcome| {
            let fits = outcome.reply.len() <= CACHED_REPLY_BYTES_MAX;
            if fits { Ok(outcome) } else { Err(Refusal::TooLarge) }
        });
        match outcome {
            Ok(Outcome { reply, changes: told }) => {
                self.state.keep();
                let (position, index) = (context.position, context.index);
                changes.extend(
                    told.into_iter()
                        .map(|change| (service, ChangeItem { position, index, change })),
                );
                (Ok(reply), false)
            }
            Err(refusal) => {
                self.state.undo();
                (Err(refusal), false)
            }
        }
    }

    fn open_session(&mut self, envelope: &Envelope, committed: &Committed) -> Answer {
        let is_opening = match envelope.operations.as_slice() {
            [only] if only.service == ServiceId::SESSION => {
                SessionRequest::decode("session request", &only.request) == Ok(SessionRequest::Open)
            }
            _ => false,
        };
        let (position, time) = (self.position, committed.state.time);
        let result = if is_opening {
            let store = self.state.of(ServiceId::SESSION);
            sessions::open(store, envelope.client, envelope.first.0, position, time)
        } else {
            Err(Refusal::Malformed)
        };
        let result = result.map(|session| SessionReply::Opened(session).encode());
        self.answer(envelope.first, 0, result)
    }

    fn refuse_all(&self, envelope: &Envelope, refusal: Refusal) -> Vec<Answer> {
        sequences(envelope)
            .enumerate()
            .map(|(index, sequence)| {
                let index = u16::try_from(index).expect("an envelope has at most 1024 operations");
                self.answer(sequence, index, Err(refusal))
            })
            .collect()
    }

    fn answer(&self, sequence: Sequence, index: u16, result: Result<Vec<u8>, Refusal>) -> Answer {
        let result = match result {
            Ok(reply) => OperationResult::Done(reply),
            Err(refusal) => OperationResult::Refused(refusal),
        };
        Answer { sequence, position: self.position, index, result }
    }

    fn sweep(&mut self, committed: &Committed, changes: &mut Vec<(ServiceId, ChangeItem)>) {
        let time = committed.state.time;
        let position = self.position;
        let swept = self.application.sweep(time, &mut self.state);
        changes.extend(
            swept.into_iter().map(|(service, change)| {
                (service, ChangeItem { position, index: u16::MAX, change })
            }),
        );
        sessions::expire(self.state.of(ServiceId::SESSION), time);
    }

    fn write_progress(&mut self, committed: &Committed) {
        for block in &committed.blocks {
            self.state.private_put(&delivered_key(&block.reference()), Vec::new());
        }
        for reference in &committed.forgotten {
            self.state.private_delete(&delivered_key(reference));
        }
        let progress = Progress { position: self.position, ordering: committed.state.clone() };
        self.state.private_put(PROGRESS, progress.encode());
    }
}

/// Where execution stood when `state` was last written, and the references delivered above the
/// horizon; `None` before the first commit.
///
/// # Panics
/// If the state was not written by this program.
#[must_use]
pub fn progress(state: &State) -> Option<(Progress, BTreeSet<ravelin_model::BlockRef>)> {
    let bytes = state.private_get(PROGRESS)?;
    let progress =
        Progress::decode("progress", &bytes).expect("the state holds what execution wrote");
    let mut delivered = BTreeSet::new();
    state.private_scan(&[DELIVERED], Some(&[DELIVERED + 1]), &mut |key, _| {
        let reference = key.get(1..).and_then(reference_of);
        delivered.insert(reference.expect("the state holds what execution wrote"));
        std::ops::ControlFlow::Continue(())
    });
    Some((progress, delivered))
}

/// Rounds up to which `backend` needs nothing of the log any more.
///
/// # Panics
/// If the state was not written by this program.
#[must_use]
pub fn recorded_horizon(backend: &dyn ravelin_model::StateBackend) -> ravelin_model::Round {
    let recorded = backend.get(&crate::state::private_key(PROGRESS));
    recorded.map_or(ravelin_model::Round(0), |bytes| {
        let progress =
            Progress::decode("progress", &bytes).expect("the state holds what execution wrote");
        progress.ordering.horizon()
    })
}

fn delivered_key(reference: &ravelin_model::BlockRef) -> Vec<u8> {
    let (round, author) = (reference.round.0.to_be_bytes(), reference.author.0.to_be_bytes());
    [&[DELIVERED], round.as_slice(), &author, &reference.digest.0].concat()
}

fn reference_of(key: &[u8]) -> Option<ravelin_model::BlockRef> {
    let (round, rest) = key.split_first_chunk::<8>()?;
    let (author, digest) = rest.split_first_chunk::<2>()?;
    Some(ravelin_model::BlockRef {
        round: ravelin_model::Round(u64::from_be_bytes(*round)),
        author: ravelin_model::ReplicaId(u16::from_be_bytes(*author)),
        digest: Digest(digest.try_into().ok()?),
    })
}

/// The numbers of an envelope's operations.
fn sequences(envelope: &Envelope) -> impl Iterator<Item = Sequence> + '_ {
    (0..envelope.operations.len() as u64)
        .map(|step| Sequence(envelope.first.0.saturating_add(step)))
}

fn is_close(operation: &ravelin_model::Operation) -> bool {
    operation.service == ServiceId::SESSION
        && SessionRequest::decode("session request", &operation.request)
            == Ok(SessionRequest::Close)
}
