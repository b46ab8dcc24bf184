//! The order by which administrators let a server go on that halted.
//!
//! An order is good for one halt of one server: it names the digest of why and where the server
//! halted, and the number of the release. Who it names as repaired counts no longer as an offender
//! there, until an epoch gives it another key.

use borsh::{BorshDeserialize, BorshSerialize};

use crate::{ClusterId, Digest, Epoch, Incarnation, PublicKey, ReplicaId, Signature};

/// What administrators sign.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct ReleaseOrder {
    /// The cluster.
    pub cluster: ClusterId,
    /// Its incarnation.
    pub incarnation: Incarnation,
    /// The epoch in which the server halted.
    pub epoch: Epoch,
    /// The server that may go on.
    pub server: ReplicaId,
    /// Digest of its reason to halt and of its last commit.
    pub halt: Digest,
    /// Number of the release: one more than the releases of this server before.
    pub serial: u64,
    /// Offenders that the administrators have repaired, in ascending order.
    pub repaired: Vec<ReplicaId>,
    /// When the order was written, for people.
    pub issued: String,
}

/// An order with administrators' signatures over its canonical bytes.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct SignedRelease {
    /// What is signed.
    pub order: ReleaseOrder,
    /// Who signed it.
    pub approvals: Vec<(PublicKey, Signature)>,
}
