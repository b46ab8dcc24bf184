//! What replicas answer, and the signed statement that makes a wrong answer evidence.

use borsh::{BorshDeserialize, BorshSerialize};

use crate::{
    ClusterId, CommitIndex, Digest, Epoch, Incarnation, Position, PublicKey, ReplicaId, Sequence,
    SessionId, Signature, Time,
};

/// The outcome of one operation, the same at every correct replica.
#[derive(Clone, Debug, PartialEq, Eq, Hash, BorshSerialize, BorshDeserialize)]
pub struct Answer {
    /// The operation's number within its session.
    pub sequence: Sequence,
    /// Where the envelope that was executed stands in the total order.
    pub position: Position,
    /// The operation's place in that envelope.
    pub index: u16,
    /// What came of it.
    pub result: OperationResult,
}

/// What came of an operation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, BorshSerialize, BorshDeserialize)]
pub enum OperationResult {
    /// Executed: canonical bytes of the service's reply type.
    Done(Vec<u8>),
    /// Not executed.
    Refused(Refusal),
}

impl OperationResult {
    /// Bytes of the reply.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Done(reply) => reply.len(),
            Self::Refused(_) => 0,
        }
    }
}

/// Why an operation was not executed. Replicas agree on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, BorshSerialize, BorshDeserialize)]
pub enum Refusal {
    /// The client's key is not enrolled, or was revoked.
    UnknownClient,
    /// The session does not exist, belongs to another client, or has expired.
    UnknownSession,
    /// The sequence number has left the session's window.
    Forgotten,
    /// The client has as many live sessions as it may.
    TooManySessions,
    /// A session was opened with a number not above the client's last; the last one used is named.
    StaleOpening {
        /// The client's last opening number.
        last: u64,
    },
    /// The request's bytes are not a request of that service.
    Malformed,
    /// No such service.
    UnknownService,
    /// The reply would exceed a limit; ask for less at once.
    TooLarge,
    /// This replica saw what cannot happen within `f` intrusions and answers nothing more.
    Halted,
    /// The envelope's operations before it took as much work as one envelope may cause: send it in
    /// another.
    TooMuchWork,
    /// An approved change of a member does not fit: there is no such member, the key is in use, or an
    /// order before it ends the epoch.
    Unfit,
}

/// Answers of one commit to one session: a leaf of the commit's answer tree.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct AnswerBatch {
    /// Who asked.
    pub client: PublicKey,
    /// The session; 0 for an opening, which its number tells apart.
    pub session: SessionId,
    /// In order of execution.
    pub answers: Vec<Answer>,
}

/// What a replica computed for one commit; it signs this once for all sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct CommitStatement {
    /// The cluster.
    pub cluster: ClusterId,
    /// The cluster's incarnation.
    pub incarnation: Incarnation,
    /// The epoch.
    pub epoch: Epoch,
    /// The commit.
    pub commit: CommitIndex,
    /// Last position executed.
    pub position: Position,
    /// Agreed time of the commit.
    pub time: Time,
    /// Merkle root over the [`AnswerBatch`]es, ascending by client and session.
    pub answers: Digest,
    /// Merkle root of the public state after the commit.
    pub state: Digest,
    /// At checkpoints: digest of the ordering state after the commit.
    pub ordering: Option<Digest>,
}

/// A statement with the signature of one replica's block key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct SignedStatement {
    /// Who signed.
    pub replica: ReplicaId,
    /// What it stated.
    pub statement: CommitStatement,
    /// Signature over the statement's canonical bytes.
    pub signature: Signature,
}

/// The siblings on the way from a leaf to the root of an answer tree.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct MerklePath {
    /// The leaf's index.
    pub index: u32,
    /// How many leaves the tree has.
    pub leaves: u32,
    /// Sibling digests, from the leaf upwards.
    pub siblings: Vec<Digest>,
}
