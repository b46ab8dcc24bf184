//! Newtypes for everything that is counted, named or compared: mixing them does not compile.

use std::fmt;
use std::time::Duration;

use borsh::{BorshDeserialize, BorshSerialize};

/// A member's index in the plan of its epoch: `0..n`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize,
)]
pub struct ReplicaId(pub u16);

/// A layer of the block DAG; blocks start at 1, round 0 is the epoch's genesis.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    BorshSerialize,
    BorshDeserialize,
)]
pub struct Round(pub u64);

/// A period with one set of members and keys; the first is 1.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize,
)]
pub struct Epoch(pub u64);

/// Index of an envelope in the total order, from 1, running across epochs.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    BorshSerialize,
    BorshDeserialize,
)]
pub struct Position(pub u64);

/// Index of a committed leader block with all that it delivered, from 1, running across epochs.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    BorshSerialize,
    BorshDeserialize,
)]
pub struct CommitIndex(pub u64);

/// A client session: the position of the operation that created it. 0 means "none yet".
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    BorshSerialize,
    BorshDeserialize,
)]
pub struct SessionId(pub u64);

/// Number of an operation within its session, from 1.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    BorshSerialize,
    BorshDeserialize,
)]
pub struct Sequence(pub u64);

/// How often the cluster was restored from a backup, from 1.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize,
)]
pub struct Incarnation(pub u32);

/// Which service an operation is for; also the namespace of its state.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize,
)]
pub struct ServiceId(pub u8);

impl ServiceId {
    /// Sessions: handled by `replication` itself.
    pub const SESSION: Self = Self(0);
    /// Clients, administrators and who may do what.
    pub const AUTH: Self = Self(1);
    /// Keys and values, leases and locks.
    pub const KV: Self = Self(2);
    /// Changes of members: kept by `replication` itself, asked by nobody.
    pub const MEMBERS: Self = Self(3);
    /// The head of the audit log: kept by `replication` itself, asked by nobody, shown to
    /// administrators.
    pub const AUDIT: Self = Self(0xf0);
}

/// 32 bytes of BLAKE3.
#[derive(
    Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize,
)]
pub struct Digest(pub [u8; 32]);

/// An Ed25519 public key as it travels: 32 bytes, judged by ZIP-215.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
pub struct PublicKey(pub [u8; 32]);

/// An Ed25519 signature as it travels: 64 bytes, judged by ZIP-215.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub struct Signature(pub [u8; 64]);

/// The digest of a cluster's first plan: its fingerprint and the domain of all its signatures.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize,
)]
pub struct ClusterId(pub Digest);

/// A host's clock: microseconds since the Unix epoch, never going back within one process.
///
/// Only differences matter to protocols; a block's timestamp is the one place where it is shown,
/// and validity never depends on it.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    BorshSerialize,
    BorshDeserialize,
)]
pub struct Time(pub u64);

impl Time {
    /// The instant `span` later, saturating at the end of time.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(span.as_micros()).unwrap_or(u64::MAX)))
    }

    /// How long ago `earlier` was; zero if it lies ahead.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Epoch {
    /// The first.
    pub const FIRST: Self = Self(1);

    /// The following epoch.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl Round {
    /// The following round.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// `rounds` later, saturating.
    #[must_use]
    pub fn plus(self, rounds: u64) -> Self {
        Self(self.0.saturating_add(rounds))
    }

    /// `rounds` earlier, stopping at genesis.
    #[must_use]
    pub fn minus(self, rounds: u64) -> Self {
        Self(self.0.saturating_sub(rounds))
    }
}

impl ReplicaId {
    /// The member's place in a list of all members.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl fmt::Display for ReplicaId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.0)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(4).try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(4).try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(4).try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}
