//! Messages as they travel, before anything in them is believed.

use borsh::{BorshDeserialize, BorshSerialize};

use crate::transfer::TransferMessage;
use crate::{
    AnswerBatch, AuditRecord, Block, Chain, Change, CommitIndex, Digest, Envelope, Epoch,
    EpochMessage, InstanceCertificate, MerklePath, Position, ReopeningVerdict, Round, ServiceId,
    SessionId, SignedHeader, SignedPlan, SignedReopening, SignedStatement, Time,
};

/// Between replicas, as it travels.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct PeerFrame {
    /// The sender's epoch, or that of the blocks handed over.
    pub epoch: Epoch,
    /// What it says.
    pub message: PeerMessage,
}

/// Between replicas.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum PeerMessage {
    /// A block, from its author or from someone asked for it.
    Block(Block),
    /// Asks for blocks by name, each with the part of its author's chain that the asker lacks.
    Fetch(Vec<Chain>),
    /// Asks for all blocks of rounds from this one on, as many as one answer may hold.
    Replay {
        /// The first round wanted.
        from: Round,
    },
    /// The answer to `Replay`: as many blocks as fit, each after its parents.
    Replayed(Vec<Block>),
    /// After a restart: asks for the newest block of the asker that the other knows.
    Recall {
        /// Ties the answer to the question.
        nonce: u64,
    },
    /// The answer to `Recall`.
    Recalled {
        /// The question's.
        nonce: u64,
        /// The newest header of the asker, if any.
        newest: Option<SignedHeader>,
    },
    /// About epochs.
    Epoch(EpochMessage),
    /// About the state, for whoever fetches it.
    Transfer(TransferMessage),
}

/// From a client to a replica.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum ClientMessage {
    /// Asks that the answers for this session be sent here.
    Attach {
        /// The session.
        session: SessionId,
    },
    /// Asks that an envelope be ordered.
    Submit(Envelope),
    /// Reads without ordering.
    Read {
        /// Ties the answer to the question.
        id: u64,
        /// The service.
        service: ServiceId,
        /// Canonical bytes of a request that changes nothing.
        request: Vec<u8>,
    },
    /// Reads one entry of the state of the newest commit that a quorum signed, with proof.
    Prove {
        /// Ties the answer to the question.
        id: u64,
        /// The service.
        service: ServiceId,
        /// The key in the service's store.
        key: Vec<u8>,
    },
    /// Follows the changes of a service from a position on.
    Watch {
        /// Ties the items to the question.
        id: u64,
        /// The service.
        service: ServiceId,
        /// Beginning of the keys.
        prefix: Vec<u8>,
        /// The first position wanted.
        from: Position,
    },
    /// Ends a watch.
    Unwatch {
        /// The watch.
        id: u64,
    },
    /// Hands over proof that a member misbehaved.
    File(crate::Evidence),
    /// Asks for the chain of plans.
    Plans,
    /// Asks how the replica sees itself and the others.
    Status {
        /// Ties the answer to the question.
        id: u64,
    },
    /// Asks for lists of the audit log, up to this one.
    Audit {
        /// Ties the answer to the question.
        id: u64,
        /// The number of the last list wanted.
        last: u64,
    },
    /// Asks for the instance of the server's wormhole.
    Wormhole {
        /// Ties the answer to the question.
        id: u64,
    },
    /// Brings an order of administrators to reopen the cluster.
    Reopen {
        /// Ties the answer to the question.
        id: u64,
        /// The order.
        order: Box<SignedReopening>,
    },
}

/// From a replica to a client.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum ServerMessage {
    /// Answers of one commit to one session.
    Answers {
        /// The replica's signature over the commit, `answers` root included.
        statement: SignedStatement,
        /// The session's answers.
        batch: AnswerBatch,
        /// From the batch to the root.
        path: MerklePath,
    },
    /// Answers to operations executed earlier, from the reply cache: signed by nobody, so only good
    /// for voting.
    Repeated(AnswerBatch),
    /// Not admitted now.
    Busy {
        /// The session of the envelope.
        session: SessionId,
        /// Its first sequence.
        first: crate::Sequence,
        /// When to try again.
        retry_after_ms: u32,
    },
    /// Not admitted, and trying again will not help.
    Denied {
        /// The session of the envelope, or 0.
        session: SessionId,
        /// Its first sequence, or the read's id.
        first: u64,
        /// Why.
        refusal: crate::Refusal,
    },
    /// The answer to `Read`; `None` if the request must be ordered.
    ReadReply {
        /// The question's.
        id: u64,
        /// The replica's last commit.
        commit: CommitIndex,
        /// Canonical bytes of the service's reply.
        reply: Option<Vec<u8>>,
    },
    /// The answer to `Prove`; `None` while no commit is signed by a quorum.
    Proof {
        /// The question's.
        id: u64,
        /// Statements of a quorum about one commit.
        statements: Vec<SignedStatement>,
        /// The value, or its absence, in that state.
        proof: Option<StateProof>,
    },
    /// Changes in order.
    Changes {
        /// The watch.
        id: u64,
        /// Everything up to here is told.
        through: Position,
        /// The changes.
        items: Vec<ChangeItem>,
    },
    /// The watch asked for changes that are forgotten.
    Compacted {
        /// The watch.
        id: u64,
        /// The oldest position that can be asked for.
        oldest: Position,
    },
    /// The chain of plans, the first one first.
    Plans(Vec<SignedPlan>),
    /// How the replica sees itself and the others.
    Status {
        /// The question's.
        id: u64,
        /// The report.
        report: Box<StatusReport>,
    },
    /// The answer to `Audit`.
    Audit {
        /// The question's.
        id: u64,
        /// Consecutive lists up to the one asked for; none if the replica does not have that.
        records: Vec<AuditRecord>,
    },
    /// The answer to `Wormhole`.
    Wormhole {
        /// The question's.
        id: u64,
        /// The epoch in which the replica is.
        epoch: Epoch,
        /// The instance of its wormhole, if it has one.
        certificate: Option<InstanceCertificate>,
        /// Whether that is the one that the plan names.
        is_open: bool,
    },
    /// The answer to `Reopen`.
    Reopening {
        /// The question's.
        id: u64,
        /// What becomes of the order.
        verdict: ReopeningVerdict,
    },
}

/// One change, where it happened.
#[derive(Clone, Debug, PartialEq, Eq, Hash, BorshSerialize, BorshDeserialize)]
pub struct ChangeItem {
    /// The envelope's position.
    pub position: Position,
    /// The operation's place in it.
    pub index: u16,
    /// The change.
    pub change: Change,
}

/// One entry of the authenticated state, or the proof that it is absent.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct StateProof {
    /// The value; `None` if the key is absent.
    pub value: Option<Vec<u8>>,
    /// The search path from the root to where the key is or would be.
    pub path: Vec<StateNode>,
}

/// A node of the authenticated state as a proof shows it.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct StateNode {
    /// Hash of the node's key: its way through the tree. The key itself, another's, is not shown.
    pub path: Digest,
    /// Digest of its value.
    pub value: Digest,
    /// Digest of the subtree with paths whose bit at this node's depth is 0; zero if empty.
    pub left: Digest,
    /// Digest of the subtree with paths whose bit at this node's depth is 1; zero if empty.
    pub right: Digest,
}

/// What a replica knows, for people and monitors; one server's word.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct StatusReport {
    /// Its own state: `correct`, `catching_up`, `learner` or `fail_safe`.
    pub state: String,
    /// Its newest round.
    pub round: Round,
    /// Its last commit.
    pub commit: CommitIndex,
    /// Its last position.
    pub position: Position,
    /// Agreed time of the last commit.
    pub time: Time,
    /// Digest of its state after the last commit.
    pub state_root: Digest,
    /// How it sees each member, in order.
    pub members: Vec<MemberReport>,
}

/// How one replica sees one member.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct MemberReport {
    /// `correct`, `suspected`, `faulty`, `catching_up` or `down`.
    pub state: String,
    /// The newest round of a block of it.
    pub round: Round,
    /// Proofs of misbehaviour held against it, by kind.
    pub evidence: Vec<(String, u32)>,
    /// Suspicions counted against it, by kind.
    pub suspicions: Vec<(String, u32)>,
    /// From where two processes speak that hold its key, as `address:port`; empty if none do.
    pub shared_key_at: Vec<String>,
}
