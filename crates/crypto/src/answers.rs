//! The digest by which a commit's answer tree knows the answers to one session.
//!
//! **Guarantee:** two different batches have different digests, and none is the digest of anything
//! else. Assumes that BLAKE3 has no collisions.

use ravelin_model::{AnswerBatch, Digest, Encode as _};

use crate::domain_digest;

/// The leaf of `batch` in the tree whose root a replica signs: see [`crate::merkle`].
#[must_use]
pub fn answer_leaf(batch: &AnswerBatch) -> Digest {
    domain_digest("ravelin answer leaf v1", &[&batch.encode()])
}

#[cfg(test)]
mod tests {
    use ravelin_model::{Answer, OperationResult, Position, PublicKey, Sequence, SessionId};

    use super::*;

    fn batch(session: u64, reply: &[u8]) -> AnswerBatch {
        let result = OperationResult::Done(reply.to_vec());
        let answer = Answer { sequence: Sequence(1), position: Position(7), index: 0, result };
        let session = SessionId(session);
        AnswerBatch { client: PublicKey([3; 32]), session, answers: vec![answer] }
    }

    #[test]
    fn what_is_answered_and_to_whom_changes_the_leaf() {
        let leaf = answer_leaf(&batch(1, b"yes"));
        assert_eq!(leaf, answer_leaf(&batch(1, b"yes")));
        assert_ne!(leaf, answer_leaf(&batch(2, b"yes")));
        assert_ne!(leaf, answer_leaf(&batch(1, b"no")));
    }
}
