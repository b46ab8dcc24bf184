//! What a commit has brought so far, and what each client may cause by it.

use std::collections::BTreeMap;

use ravelin_crypto::keyring::envelope_digest;
use ravelin_model::wire::ChangeItem;
use ravelin_model::{
    Answer, AnswerBatch, Digest, Envelope, PublicKey, ReplicaId, ServiceId, SessionId,
};

use super::{Audited, Kind};

/// Bytes of the answers of one commit to fresh envelopes of one client in blocks of one author.
/// Envelopes beyond are executed without an answer: the client asks again, and gets what was kept. A
/// read that is repeated counts as fresh, so authors are counted apart.
pub const CLIENT_FRESH_BYTES_MAX: usize = 4 << 20;
/// Bytes of the answers of one commit to repeated envelopes of one client, as above. Counted apart, so that a
/// replica that repeats a client's old envelopes cannot silence the answers to its new ones.
pub const CLIENT_REPEATED_BYTES_MAX: usize = 1 << 20;
/// Work that one client may cause with one block. Its further envelopes in it are not
/// executed, as if they had not been ordered: the block's author tells the client to try again.
pub const CLIENT_WORK_MAX: usize = 64 << 20;
/// Work that all clients together may cause with one block, what they are not charged for included.
/// Envelopes beyond it are not executed either.
pub const BLOCK_WORK_MAX: usize = 512 << 20;
/// Bytes of answers after which a session's next answers of the commit go into another batch.
const BATCH_BYTES_MAX: usize = 1 << 20;

/// What a commit has brought so far.
#[derive(Default)]
pub(super) struct Gathered {
    /// Answers in batches that fit a message.
    pub(super) batches: BTreeMap<(PublicKey, SessionId), Vec<(AnswerBatch, usize)>>,
    spent: BTreeMap<(Option<ReplicaId>, PublicKey), Spent>,
    /// The author of the block under way.
    author: Option<ReplicaId>,
    /// Work that each client is charged for in that block.
    charged: BTreeMap<PublicKey, usize>,
    /// All the work that it caused.
    work: usize,
    pub(super) deferred: Vec<Deferred>,
    pub(super) changes: Vec<(ServiceId, ChangeItem)>,
    /// What was executed for the first time, in order.
    pub(super) audited: Vec<Audited>,
}

/// An envelope whose turn did not come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deferred {
    /// Its digest.
    pub digest: Digest,
    /// The envelope.
    pub envelope: Envelope,
    /// Why.
    pub why: Deferral,
}

/// Why an envelope's turn did not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deferral {
    /// Its client had used up its share of the block.
    Client,
    /// The block had used up what it may.
    Block,
}

/// Bytes of a commit's answers to one client.
#[derive(Clone, Copy, Default)]
struct Spent {
    fresh: usize,
    repeated: usize,
}

impl Gathered {
    /// The work that may be caused is counted anew for each block.
    pub(super) fn begin_block(&mut self, author: ReplicaId) {
        self.author = Some(author);
        self.charged.clear();
        self.work = 0;
    }

    /// Counts what an operation caused, of which its client is not charged for `free`.
    pub(super) fn charge(&mut self, client: PublicKey, work: usize, free: usize) {
        self.work = self.work.saturating_add(work);
        if work > free {
            *self.charged.entry(client).or_default() += work - free;
        }
    }

    /// Whether the envelope's client, or all clients together, have used up what they may cause with
    /// this block.
    pub(super) fn defers(&mut self, envelope: &Envelope) -> bool {
        let used = self.charged.get(&envelope.client).copied().unwrap_or_default();
        let why = if used > CLIENT_WORK_MAX {
            Deferral::Client
        } else if self.work > BLOCK_WORK_MAX {
            Deferral::Block
        } else {
            return false;
        };
        let digest = envelope_digest(envelope);
        self.deferred.push(Deferred { digest, envelope: envelope.clone(), why });
        true
    }

    pub(super) fn answer(&mut self, envelope: &Envelope, answers: Vec<Answer>, kind: Kind) {
        let (client, session) = (envelope.client, envelope.session);
        if self.is_spent(&client, kind) || answers.is_empty() {
            return;
        }
        let bytes: usize = answers.iter().map(|answer| 64 + answer.result.bytes()).sum();
        let spent = self.spent.entry((self.author, client)).or_default();
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

    /// Takes note of what was executed of an envelope, if anything was.
    pub(super) fn audit(&mut self, audited: Audited) {
        if !audited.is_empty() {
            self.audited.push(audited);
        }
    }

    /// Whether the client gets no more answers of this kind by this author's blocks in this commit.
    pub(super) fn is_spent(&self, client: &PublicKey, kind: Kind) -> bool {
        let spent = self.spent.get(&(self.author, *client)).copied().unwrap_or_default();
        match kind {
            Kind::Fresh => spent.fresh > CLIENT_FRESH_BYTES_MAX,
            Kind::Repeated => spent.repeated > CLIENT_REPEATED_BYTES_MAX,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Toy, World};

    #[test]
    fn no_block_causes_more_work_than_it_may_however_many_clients_share_it() {
        let world = World::new(4, 1);
        let envelope = |client: u8| world.toys(client, 1, 1, &[Toy::Count]);
        let mut gathered = Gathered::default();
        gathered.begin_block(ReplicaId(0));
        for client in 0..8 {
            assert!(!gathered.defers(&envelope(client)), "client {client}");
            gathered.charge(world.client(client), CLIENT_WORK_MAX, 0);
        }
        assert!(!gathered.defers(&envelope(0)), "no more than it may");
        gathered.charge(world.client(0), 1, 1);
        assert!(gathered.defers(&envelope(1)), "what nobody is charged for counts");
        let deferred = &gathered.deferred[..];
        let [Deferred { envelope: late, why: Deferral::Block, .. }] = deferred else {
            panic!("{deferred:?}")
        };
        assert_eq!(*late, envelope(1));
        gathered.begin_block(ReplicaId(0));
        assert!(!gathered.defers(&envelope(1)), "the next block is another matter");
    }
}
