//! Signs of misbehaviour: proven ones, which anyone can check, and suspicions, which only count.
//!
//! # Source
//! The paper, section 4.4, keeps detection (an error was seen) apart from diagnosis (who is at
//! fault). Here: [`Evidence`] proves who; a [`Suspicion`] only says what was seen.

use borsh::{BorshDeserialize, BorshSerialize};

use crate::{ReplicaId, SignedHeader, SignedStatement};

/// A peer did what no correct replica does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Misbehaviour {
    /// Provable to others.
    Proven(Evidence),
    /// Seen here only: counted and logged, never evidence.
    Suspected(Suspicion),
}

/// Transferable proof that a member misbehaved: signed bytes that contradict each other.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Evidence {
    /// Two blocks on two branches of one author's chain.
    Equivocation {
        /// One block's header.
        first: SignedHeader,
        /// The contradicting one.
        second: SignedHeader,
    },
    /// One replica stated two things about one commit.
    TwoStatements {
        /// One statement.
        first: SignedStatement,
        /// The contradicting one.
        second: SignedStatement,
    },
    /// A replica's statement contradicts what `f+1` others of the same epoch stated alike.
    WrongStatement {
        /// The accused's statement.
        accused: SignedStatement,
        /// `f+1` equal statements by distinct other members.
        correct: Vec<SignedStatement>,
    },
}

impl Evidence {
    /// The member that it accuses.
    #[must_use]
    pub fn accused(&self) -> ReplicaId {
        match self {
            Self::Equivocation { first, .. } => first.header.reference.author,
            Self::TwoStatements { first, .. } => first.replica,
            Self::WrongStatement { accused, .. } => accused.replica,
        }
    }

    /// The kind's name in metrics and outputs.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Equivocation { .. } => "equivocation",
            Self::TwoStatements { .. } => "two_statements",
            Self::WrongStatement { .. } => "wrong_statement",
        }
    }
}

/// What was seen of a peer without proof for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Suspicion {
    /// Bytes that are no message.
    Malformed,
    /// Another cluster's, epoch's or genesis's message.
    Foreign,
    /// A signature that does not hold, on the sender's own message or on a relayed one.
    BadSignature,
    /// A block that carries an envelope with a bad signature.
    BadEnvelope,
    /// A block that breaks a rule about its parents.
    BadParents,
    /// A message beyond a limit.
    TooLarge,
    /// An answer to nothing that was asked.
    Unsolicited,
    /// A part of a state that is not what a quorum vouches for.
    BadState,
    /// Connections with its key, both alive, from two places.
    SharedKey,
}

impl Suspicion {
    /// The kind's name in metrics and outputs.
    #[must_use]
    pub fn kind(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Foreign => "foreign",
            Self::BadSignature => "bad_signature",
            Self::BadEnvelope => "bad_envelope",
            Self::BadParents => "bad_parents",
            Self::TooLarge => "too_large",
            Self::Unsolicited => "unsolicited",
            Self::BadState => "bad_state",
            Self::SharedKey => "shared_key",
        }
    }
}
