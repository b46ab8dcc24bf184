//! What a [`crate::Session`] wants done, and what it tells its caller.

use std::collections::BTreeMap;

use ravelin_model::wire::{ChangeItem, ClientMessage, StateProof, StatusReport};
use ravelin_model::{
    AuditHead, AuditRecord, CommitStatement, Epoch, Misbehaviour, OperationResult, Position,
    Refusal, ReplicaId, Sequence, SessionId, SignedPlan, SignedStatement,
};

/// Names one thing that the caller asked for; never used twice by one [`crate::Session`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// One thing that a session asks of its caller. Performed in order.
#[derive(Clone, Debug)]
pub enum ClientAction {
    /// To one replica; dropped if it is not connected.
    Send(ReplicaId, ClientMessage),
    /// To the caller.
    Deliver(Event),
}

/// What a session tells its caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The session is open: operations can be submitted.
    Opened {
        /// Its id: the position of the operation that created it.
        session: SessionId,
    },
    /// The session could not be opened; it is idle again.
    Refused {
        /// Why.
        refusal: Refusal,
    },
    /// All operations of an envelope have their results.
    Answered {
        /// The submission.
        ticket: Ticket,
        /// One for each operation, in order.
        results: Vec<Voted>,
    },
    /// A read has its result.
    Read {
        /// The read.
        ticket: Ticket,
        /// What came of it.
        outcome: Outcome,
        /// Whether it had to be ordered.
        path: ReadPath,
        /// The members that agreed.
        by: Vec<ReplicaId>,
    },
    /// An entry of the state, or its absence, was proven.
    Proven {
        /// The question.
        ticket: Ticket,
        /// The value; `None` if the key is absent.
        value: Option<Vec<u8>>,
        /// What a quorum stated: the commit, and the agreed time that tells the value's age.
        statement: CommitStatement,
        /// What shows it to others: statements of a quorum, and the way to their root.
        proof: Box<(Vec<SignedStatement>, StateProof)>,
        /// The member that showed the proof; nothing depends on its word.
        shown_by: ReplicaId,
    },
    /// Lists of the audit log that lead to the head asked for.
    Audited {
        /// The question.
        ticket: Ticket,
        /// The head before them: where to ask on.
        before: AuditHead,
        /// The lists in order; never empty.
        records: Vec<AuditRecord>,
        /// The member that showed them; nothing depends on its word.
        shown_by: ReplicaId,
    },
    /// The next changes, in order, without a gap.
    Changed {
        /// The watch.
        ticket: Ticket,
        /// The changes.
        items: Vec<ChangeItem>,
        /// Nothing else changed up to here.
        through: Position,
    },
    /// The changes that a watch wants are forgotten. It has ended: read anew, and watch from there.
    Compacted {
        /// The watch.
        ticket: Ticket,
        /// The smallest position that some of these members would still serve; a hint.
        oldest: Position,
    },
    /// How members see themselves and the others; each its own word.
    Status {
        /// The question.
        ticket: Ticket,
        /// One for each member that answered in time.
        reports: BTreeMap<ReplicaId, StatusReport>,
    },
    /// The end of a ticket without an answer.
    Unanswered {
        /// What was asked for.
        ticket: Ticket,
        /// Why, and so what is known of it.
        why: Unanswered,
    },
    /// Envelopes were sent to every reachable member and too few answered in time. They stay in
    /// flight and are sent again.
    NoQuorum {
        /// Members connected.
        connected: usize,
        /// Members needed.
        needed: usize,
    },
    /// The session has ended, as asked.
    Closed,
    /// The cluster ended the session, or shut this client out. What was in flight is reported as
    /// [`Event::Unanswered`] before this, and is not asked again in a later session.
    Lost {
        /// What `one_correct` members said.
        refusal: Refusal,
    },
    /// The cluster has begun later epochs, and the session goes on in the last of them. Servers that
    /// it did not know before are for the caller to connect to; where a member's transport key
    /// changed, the caller reports the old connection as broken.
    Followed {
        /// Their plans, each following the one before it; never empty.
        plans: Vec<SignedPlan>,
    },
    /// Two plans follow one plan, each signed by a quorum of its members. More than `f` of them are
    /// intruded, so nothing is promised any more; every one who signed both is. The session stays
    /// with the first. Told once of each plan.
    Forked {
        /// Who showed the second plan; it need not be at fault.
        shown_by: ReplicaId,
        /// The plan that the session followed, and the other one.
        plans: Box<[SignedPlan; 2]>,
    },
    /// A member told something else than what was agreed for the same place. Its word stands alone:
    /// where it signed it, [`Event::Accused`] follows once it is proven.
    Contradicted {
        /// Who.
        replica: ReplicaId,
        /// About what.
        ticket: Ticket,
    },
    /// A member did what no correct one does.
    Accused {
        /// Who.
        replica: ReplicaId,
        /// What. Of each kind of proof against a member of an epoch, the first one only.
        misbehaviour: Box<Misbehaviour>,
    },
}

/// The result of one operation, with who agreed on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voted {
    /// The operation's number.
    pub sequence: Sequence,
    /// What came of it.
    pub outcome: Outcome,
    /// Where it stands in the total order, with its index in the envelope; `None` if fewer than
    /// `one_correct` of those who agreed name one place.
    pub place: Option<(Position, u16)>,
    /// The epoch of the members that agreed.
    pub epoch: Epoch,
    /// The members that agreed.
    pub by: Vec<ReplicaId>,
}

/// What came of an operation: the model's own word for it.
pub type Outcome = OperationResult;

/// How a read was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadPath {
    /// By equal replies, without ordering.
    Fast,
    /// By an ordered operation, because fast replies differed, were missing or cannot exist.
    Ordered,
}

/// Why a ticket ended without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// The session ended first. Whether the operations were executed is unknown.
    SessionLost,
    /// `one_correct` members denied the envelope. Whether an earlier copy of it was or will be
    /// executed is unknown, unless the refusal is about its bytes.
    Denied(Refusal),
    /// A read must be ordered, and there is no session.
    NoSession,
    /// No member showed a proof that holds, or lists that lead to the head asked for.
    NotProven,
}
