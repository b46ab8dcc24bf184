//! The audit log: who had what ordered, when, and what came of it.
//!
//! Each commit that executed operations adds lists to a chain: the head after a list is a digest of
//! the head before it and the list. The head is public state, so a quorum signs it with every
//! commit; the lists are kept by each replica for itself, and anyone can check them against a head.

use borsh::{BorshDeserialize, BorshSerialize};

use crate::{
    CommitIndex, Digest, Position, PublicKey, Refusal, Sequence, ServiceId, SessionId, Time,
};

/// Where the [`AuditHead`] lies in the state of [`ServiceId::AUDIT`].
pub const AUDIT_HEAD_KEY: &[u8] = b"h";

/// The end of the chain of lists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct AuditHead {
    /// Lists so far: the number of the last one, from 1.
    pub lists: u64,
    /// Operations in all of them.
    pub operations: u64,
    /// Digest of the chain; zero while there is no list.
    pub digest: Digest,
}

/// What one commit executed, or a part of it: long ones are split between envelopes.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct AuditList {
    /// The commit.
    pub commit: CommitIndex,
    /// Its agreed time.
    pub time: Time,
    /// The envelopes of which something was executed, in order.
    pub envelopes: Vec<AuditedEnvelope>,
}

/// One envelope: who asked.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct AuditedEnvelope {
    /// Where it stands in the total order.
    pub position: Position,
    /// Who signed it.
    pub client: PublicKey,
    /// Its session; 0 if it opened one.
    pub session: SessionId,
    /// The number of its first operation.
    pub first: Sequence,
    /// Its operations that were executed now for the first time, in order.
    pub operations: Vec<AuditedOperation>,
}

/// One operation: what was asked, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct AuditedOperation {
    /// Its place in the envelope.
    pub index: u16,
    /// The service asked.
    pub service: ServiceId,
    /// The request's first byte, which tells what kind it is; 0 if it has none.
    pub verb: u8,
    /// Digest of the request's bytes.
    pub request: Digest,
    /// What came of it.
    pub outcome: AuditOutcome,
}

/// What came of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum AuditOutcome {
    /// Executed.
    Done {
        /// The reply's first byte, which tells what kind it is; 0 if it has none.
        kind: u8,
        /// Digest of the reply's bytes.
        reply: Digest,
    },
    /// Refused; nothing was changed.
    Refused(Refusal),
}

/// A list with its place in the chain, and what is known of its requests.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct AuditRecord {
    /// Digest of the chain before it.
    pub before: Digest,
    /// The list.
    pub list: AuditList,
    /// The request of each operation in order; empty where it was too long to keep, or where whoever
    /// asks may not see what its service holds. Not in the chain: the digests are.
    pub requests: Vec<Vec<u8>>,
}

impl AuditList {
    /// All operations, in order.
    pub fn operations(&self) -> impl Iterator<Item = &AuditedOperation> {
        self.envelopes.iter().flat_map(|envelope| &envelope.operations)
    }
}
