//! What a commit has brought so far, and what each client may cause by it.

use std::collections::BTreeMap;

use ravelin_crypto::keyring::envelope_digest;
use ravelin_model::wire::ChangeItem;
use ravelin_model::{
    Answer, AnswerBatch, Digest, Envelope, PublicKey, Sequence, ServiceId, SessionId,
};

use super::Kind;

/// Bytes of the answers of one commit to fresh envelopes of one client. Envelopes beyond are executed
/// without an answer: the client asks again, and gets what was kept.
pub const CLIENT_FRESH_BYTES_MAX: usize = 4 << 20;
/// Bytes of the answers of one commit to repeated envelopes of one client. Counted apart, so that a
/// replica that repeats a client's old envelopes cannot silence the answers to its new ones.
pub const CLIENT_REPEATED_BYTES_MAX: usize = 1 << 20;
/// Work of reading that one client may cause with one block. Its further envelopes in it are not
/// executed, as if they had not been ordered: the block's author tells the client to try again.
pub const CLIENT_WORK_MAX: usize = 64 << 20;
/// Bytes of answers after which a session's next answers of the commit go into another batch.
const BATCH_BYTES_MAX: usize = 1 << 20;

/// What a commit has brought so far.
#[derive(Default)]
pub(super) struct Gathered {
    /// Answers in batches that fit a message.
    pub(super) batches: BTreeMap<(PublicKey, SessionId), Vec<(AnswerBatch, usize)>>,
    spent: BTreeMap<PublicKey, Spent>,
    /// Work that clients caused with the block under way.
    work: BTreeMap<PublicKey, usize>,
    pub(super) deferred: Vec<Deferred>,
    pub(super) changes: Vec<(ServiceId, ChangeItem)>,
}

/// An envelope whose turn did not come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deferred {
    /// Its digest.
    pub digest: Digest,
    /// Who signed it.
    pub client: PublicKey,
    /// The session.
    pub session: SessionId,
    /// Number of its first operation.
    pub first: Sequence,
}

/// Bytes of a commit's answers to one client.
#[derive(Clone, Copy, Default)]
struct Spent {
    fresh: usize,
    repeated: usize,
}

impl Gathered {
    /// What clients may cause is counted anew for each block.
    pub(super) fn begin_block(&mut self) {
        self.work.clear();
    }

    /// Counts what an operation caused.
    pub(super) fn charge(&mut self, client: PublicKey, work: usize) {
        if work > 0 {
            *self.work.entry(client).or_default() += work;
        }
    }

    /// Whether the envelope's client has used up what it may cause with this block. It is told so.
    pub(super) fn defers(&mut self, envelope: &Envelope) -> bool {
        let used = self.work.get(&envelope.client).copied().unwrap_or_default();
        if used <= CLIENT_WORK_MAX {
            return false;
        }
        let (client, session, first) = (envelope.client, envelope.session, envelope.first);
        let digest = envelope_digest(envelope);
        self.deferred.push(Deferred { digest, client, session, first });
        true
    }

    pub(super) fn answer(&mut self, envelope: &Envelope, answers: Vec<Answer>, kind: Kind) {
        let (client, session) = (envelope.client, envelope.session);
        if self.is_spent(&client, kind) || answers.is_empty() {
            return;
        }
        let bytes: usize = answers.iter().map(|answer| 64 + answer.result.bytes()).sum();
        let spent = self.spent.entry(client).or_default();
        match kind {
            Kind::Fresh => spent.fresh += bytes,
            Kind::Repeated => spent.repeated += bytes,
        }
        let of_session = self.batches.entry((client, session)).or_default();
        match of_session.last_mut() {
            Some((batch, held)) if *held + bytes <= BATCH_BYTES_MAX => {
                batch.answers.extend(answers);
                *held += bytes;
            }
            _ => of_session.push((AnswerBatch { client, session, answers }, bytes)),
        }
    }

    /// Whether the client gets no more answers of this kind with this commit.
    pub(super) fn is_spent(&self, client: &PublicKey, kind: Kind) -> bool {
        let spent = self.spent.get(client).copied().unwrap_or_default();
        match kind {
            Kind::Fresh => spent.fresh > CLIENT_FRESH_BYTES_MAX,
            Kind::Repeated => spent.repeated > CLIENT_REPEATED_BYTES_MAX,
        }
    }
}
