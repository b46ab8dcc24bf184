//! A cluster in miniature: one total order of envelopes, executed by each replica in its own time,
//! on one register. Correct replicas tell the truth; what liars tell is up to the schedule.

use std::collections::{BTreeMap, BTreeSet};

use ravelin_crypto::answers::answer_leaf;
use ravelin_crypto::merkle::MerkleTree;
use ravelin_model::requests::session::{SessionReply, SessionRequest};
use ravelin_model::wire::ServerMessage;
use ravelin_model::{
    Answer, AnswerBatch, CommitIndex, CommitStatement, Decode as _, Digest, Encode as _, Envelope,
    Epoch, OperationResult, Position, PublicKey, Refusal, ReplicaId, Sequence, ServiceId,
    SessionId, Time,
};

use super::fixture::Keys;

/// A request to the register.
pub(super) fn write(value: u64) -> Vec<u8> {
    Some(value).encode()
}

/// A request to the register.
pub(super) fn read() -> Vec<u8> {
    None::<u64>.encode()
}

/// The register: what was written last, and where. Also every reply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Register {
    pub(super) changed: u64,
    pub(super) value: u64,
}

impl Register {
    pub(super) fn reply(self) -> Vec<u8> {
        (self.changed, self.value).encode()
    }

    pub(super) fn of(reply: &[u8]) -> Self {
        let (changed, value) = <(u64, u64)>::decode("register", reply).unwrap();
        Self { changed, value }
    }
}

/// What all correct replicas compute for one commit.
pub(super) struct Commit {
    pub(super) epoch: Epoch,
    pub(super) batches: Vec<AnswerBatch>,
    pub(super) after: Register,
}

/// The total order and what executing it gives.
#[derive(Default)]
pub(super) struct Order {
    pub(super) commits: Vec<Commit>,
    /// Every write executed.
    pub(super) writes: BTreeMap<u64, u64>,
    position: u64,
    register: Register,
    sessions: BTreeMap<SessionId, PublicKey>,
    openings: BTreeMap<PublicKey, u64>,
    cache: BTreeMap<(SessionId, Sequence), Answer>,
    /// Values written, each once.
    written: BTreeSet<u64>,
}

impl Order {
    /// Orders and executes `envelopes` as the next commit, in `epoch`.
    pub(super) fn commit(&mut self, epoch: Epoch, envelopes: Vec<Envelope>) {
        let mut batches: BTreeMap<(PublicKey, SessionId), Vec<Answer>> = BTreeMap::new();
        for envelope in envelopes {
            self.position += 1;
            let answers = self.execute(&envelope);
            batches.entry((envelope.client, envelope.session)).or_default().extend(answers);
        }
        let batches = batches.into_iter().map(|((client, session), answers)| AnswerBatch {
            client,
            session,
            answers,
        });
        let (batches, after) = (batches.collect(), self.register);
        self.commits.push(Commit { epoch, batches, after });
    }

    fn execute(&mut self, envelope: &Envelope) -> Vec<Answer> {
        let sequences = envelope.first.0..;
        let operations = sequences.zip(&envelope.operations).zip(0u16..);
        operations
            .map(|((sequence, operation), index)| {
                let sequence = Sequence(sequence);
                let known = self.cache.get(&(envelope.session, sequence));
                if let Some(answer) = known.filter(|_| envelope.session != SessionId(0)) {
                    return answer.clone();
                }
                let is_write = operation.request != read();
                let result = if envelope.session == SessionId(0) {
                    self.open(envelope)
                } else if self.sessions.get(&envelope.session) != Some(&envelope.client) {
                    OperationResult::Refused(Refusal::UnknownSession)
                } else {
                    OperationResult::Done(self.touch(operation.service, &operation.request))
                };
                let position = Position(self.position);
                let answer = Answer { sequence, position, index, result };
                if is_write {
                    self.cache.insert((envelope.session, sequence), answer.clone());
                }
                answer
            })
            .collect()
    }

    fn open(&mut self, envelope: &Envelope) -> OperationResult {
        let number = envelope.first.0;
        let last = self.openings.entry(envelope.client).or_default();
        if number <= *last {
            return OperationResult::Refused(Refusal::StaleOpening { last: *last });
        }
        *last = number;
        let session = SessionId(self.position);
        self.sessions.insert(session, envelope.client);
        OperationResult::Done(SessionReply::Opened(session).encode())
    }

    fn touch(&mut self, service: ServiceId, request: &[u8]) -> Vec<u8> {
        if service == ServiceId::SESSION {
            assert_eq!(request, SessionRequest::Close.encode());
            return SessionReply::Closed.encode();
        }
        if let Some(value) = Option::<u64>::decode("request", request).unwrap() {
            self.register = Register { value, changed: self.position };
            assert!(self.written.insert(value), "{value} was written twice");
            self.writes.insert(self.position, value);
        }
        self.register.reply()
    }

    /// What a replica that executed `commits` has in its cache for the whole of `envelope`.
    pub(super) fn repetition(&self, envelope: &Envelope, commits: usize) -> Option<AnswerBatch> {
        let told = self.commits.iter().take(commits).flat_map(|commit| &commit.batches);
        let told = told
            .filter(|batch| batch.session == envelope.session && batch.client == envelope.client);
        let answers: Vec<_> = told.flat_map(|batch| &batch.answers).collect();
        let wanted = (envelope.first.0..).take(envelope.operations.len());
        let is_cached = |sequence: &Sequence| {
            self.cache.contains_key(&(envelope.session, *sequence))
                && envelope.session != SessionId(0)
        };
        let answers: Option<Vec<_>> = wanted
            .map(Sequence)
            .map(|sequence| {
                let found = answers.iter().find(|answer| answer.sequence == sequence);
                found.filter(|_| is_cached(&sequence)).map(|answer| (*answer).clone())
            })
            .collect();
        let (client, session) = (envelope.client, envelope.session);
        answers.map(|answers| AnswerBatch { client, session, answers })
    }

    /// The register at a replica that executed `commits`.
    pub(super) fn register(&self, commits: usize) -> Register {
        self.commits.iter().take(commits).next_back().map(|commit| commit.after).unwrap_or_default()
    }
}

/// What `member` tells of commit `index` in `epoch` to the session of `batches[place]`, signed.
pub(super) fn signed_answers(
    keys: &Keys,
    member: ReplicaId,
    (epoch, index): (Epoch, usize),
    batches: &[AnswerBatch],
    place: usize,
) -> ServerMessage {
    let tree = MerkleTree::new(batches.iter().map(answer_leaf).collect());
    let (keyring, members) = keys.at(epoch);
    let statement = CommitStatement {
        cluster: keys.keyring.cluster(),
        incarnation: keys.keyring.incarnation(),
        epoch,
        commit: CommitIndex(index as u64 + 1),
        position: Position(index as u64 + 1),
        time: Time(index as u64),
        answers: tree.root(),
        state: Digest::default(),
        ordering: None,
    };
    let key = &members[member.index()];
    let statement = keyring.sign_statement(key, member, statement);
    let path = tree.path(place).unwrap();
    ServerMessage::Answers { statement, batch: batches[place].clone(), path }
}
