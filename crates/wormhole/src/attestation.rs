//! What a wormhole signs about its counters, and how everybody else checks it.
//!
//! **Guarantee:** an [`Attestation`] that [`Peer::check`] accepts was made by the wormhole of that
//! member, in the instance that its certificate names, for exactly these fields. Two such
//! attestations of one instance for one counter, epoch and value prove a broken wormhole.
//! Assumes that Ed25519 cannot be forged.
//!
//! Signed bytes: a domain of its own, preceded by its length; then the fields in the order in
//! which the types below name them, each of fixed size, integers little-endian.

mod peer;

pub(crate) use peer::check_signature;
pub use peer::{Forged, Peer};

use crate::frame::Writer;

/// The group of servers to which a wormhole belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClusterId(pub [u8; 32]);

/// A server's place in its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplicaId(pub u16);

/// One life in which counters only rise: the public half of its Ed25519 key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InstanceId(pub [u8; 32]);

/// One life of a wormhole's process, of several that one instance may have: random, drawn at its
/// start, and listed in its status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessId(pub [u8; 32]);

/// The public half of a provisioned key: what a cluster's plan knows of a wormhole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProvisionedId(pub [u8; 32]);

/// First half of a counter's position. Membership and keys change with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epoch(pub u64);

/// Second half of a counter's position. 0 is where every epoch begins; nothing is bound to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CounterValue(pub u64);

/// What a counter value is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest(pub [u8; 32]);

/// An Ed25519 signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signature(pub [u8; 64]);

/// How many counters an instance has: one for each [`Counter`].
pub const COUNTERS: usize = 4;

/// The counters of an instance, by role, so that no role waits for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Counter {
    /// Blocks of the ordering.
    Ordering = 0,
    /// Checkpoints.
    Checkpoint = 1,
    /// Statements of a member that returns.
    Recovery = 2,
    /// No role yet.
    Spare = 3,
}

impl Counter {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; COUNTERS] =
        [Self::Ordering, Self::Checkpoint, Self::Recovery, Self::Spare];

    /// The counter with this number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }
}

/// Whether the host can bring back an old state of the wormhole unnoticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RollbackProof {
    /// Nothing outlives the process: every start is a new instance.
    Absent = 0,
    /// An instance may resume, because a counter in hardware says which state is the last.
    Present = 1,
}

/// Who a wormhole is: the member that it serves, and the instance that it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The member's cluster.
    pub cluster: ClusterId,
    /// The member.
    pub replica: ReplicaId,
    /// The instance.
    pub instance: InstanceId,
}

impl Identity {
    pub(crate) fn put(&self, to: &mut Writer<'_>) {
        to.bytes(&self.cluster.0);
        to.u16(self.replica.0);
        to.bytes(&self.instance.0);
    }
}

/// That a counter went from `old` to `new`, and to what `new` is bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Whose counter.
    pub identity: Identity,
    /// Which counter.
    pub counter: Counter,
    /// In which epoch.
    pub epoch: Epoch,
    /// The value before: what lies between it and `new` will never be bound.
    pub old: CounterValue,
    /// The value that is bound.
    pub new: CounterValue,
    /// What it is bound to.
    pub digest: Digest,
}

impl Statement {
    const DOMAIN: &'static [u8] = b"ravelin attestation v1";
    /// Bytes that are signed.
    pub const SIGNED_BYTES: usize = 1 + Self::DOMAIN.len() + 66 + 1 + 8 + 8 + 8 + 32;

    /// The bytes that the instance key signs: every field, and the domain.
    #[must_use]
    pub fn signed_bytes(&self) -> [u8; Self::SIGNED_BYTES] {
        let mut bytes = [0; Self::SIGNED_BYTES];
        let mut to = Writer::new(&mut bytes);
        to.domain(Self::DOMAIN);
        self.put(&mut to);
        bytes
    }

    pub(crate) fn put(&self, to: &mut Writer<'_>) {
        self.identity.put(to);
        to.u8(self.counter as u8);
        to.u64(self.epoch.0);
        to.u64(self.old.0);
        to.u64(self.new.0);
        to.bytes(&self.digest.0);
    }
}

/// A wormhole's proof that it bound a counter value to one digest. Transferable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attestation {
    /// What is attested.
    pub statement: Statement,
    /// By the instance key, over [`Statement::signed_bytes`].
    pub signature: Signature,
}

impl Attestation {
    pub(crate) fn put(&self, to: &mut Writer<'_>) {
        self.statement.put(to);
        to.bytes(&self.signature.0);
    }
}

/// The provisioned key's word that an instance is this member's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InstanceCertificate {
    /// The member and the instance.
    pub identity: Identity,
    /// Whether this instance may outlive a process.
    pub rollback_proof: RollbackProof,
    /// By the provisioned key, over [`Self::signed_bytes`].
    pub signature: Signature,
}

impl InstanceCertificate {
    const DOMAIN: &'static [u8] = b"ravelin wormhole instance v1";
    /// Bytes that are signed.
    pub const SIGNED_BYTES: usize = 1 + Self::DOMAIN.len() + 66 + 1;
    /// Bytes of a whole certificate.
    pub const BYTES: usize = 66 + 1 + 64;

    /// The bytes that the provisioned key signs.
    #[must_use]
    pub fn signed_bytes(
        identity: &Identity,
        rollback_proof: RollbackProof,
    ) -> [u8; Self::SIGNED_BYTES] {
        let mut bytes = [0; Self::SIGNED_BYTES];
        let mut to = Writer::new(&mut bytes);
        to.domain(Self::DOMAIN);
        identity.put(&mut to);
        to.u8(rollback_proof as u8);
        bytes
    }

    /// The whole certificate, as frames carry it.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        self.put(&mut Writer::new(&mut bytes));
        bytes
    }

    pub(crate) fn put(&self, to: &mut Writer<'_>) {
        self.identity.put(to);
        to.u8(self.rollback_proof as u8);
        to.bytes(&self.signature.0);
    }
}

/// That a process of an instance lived at a time of its own clock: what the registered action signs.
/// That of an earlier process is none of this one: clock and number begin anew with each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// Nanoseconds since the start of the wormhole's process.
    pub at_nanos: u64,
    /// Heartbeats of this process so far, this one included.
    pub number: u64,
    /// By the instance key, over [`Self::signed_bytes`].
    pub signature: Signature,
}

impl Heartbeat {
    const DOMAIN: &'static [u8] = b"ravelin heartbeat v1";
    /// Bytes that are signed.
    pub const SIGNED_BYTES: usize = 1 + Self::DOMAIN.len() + 32 + 32 + 8 + 8;

    /// The bytes that the instance key signs.
    #[must_use]
    pub fn signed_bytes(
        instance: InstanceId,
        process: ProcessId,
        at_nanos: u64,
        number: u64,
    ) -> [u8; Self::SIGNED_BYTES] {
        let mut bytes = [0; Self::SIGNED_BYTES];
        let mut to = Writer::new(&mut bytes);
        to.domain(Self::DOMAIN);
        to.bytes(&instance.0);
        to.bytes(&process.0);
        to.u64(at_nanos);
        to.u64(number);
        bytes
    }
}
