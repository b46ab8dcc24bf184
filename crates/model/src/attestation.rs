//! What a server's wormhole vouches for, as everybody else sees it.
//!
//! In [`crate::FaultModel::Hybrid`] a block counts only if its author's wormhole attested it, and that
//! binds each value of its counter, (epoch, round), to one digest, ever. The counter lives in one
//! *instance* of the wormhole; the wormhole's *provisioned* key, which stands in the plan for good,
//! certifies instances.
//!
//! The bytes are those that the wormhole itself signs (`docs/wire.md`): a domain, length before it,
//! then fields of fixed size, integers little-endian.
//!
//! # Source
//! The paper, sections 7.3 and 7.5: an unpredictable payload with a small part that fails in a known
//! way.

use std::sync::{Arc, Mutex};

use borsh::{BorshDeserialize, BorshSerialize};

use crate::{BlockHeader, ClusterId, Digest, Epoch, PublicKey, ReplicaId, Round, Signature};

/// The number of the counter that orders blocks.
const ORDERING_COUNTER: u8 = 0;

/// A member's wormhole in the plan of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct WormholeKeys {
    /// Certifies instances; the same in every epoch.
    pub provisioned: PublicKey,
    /// The instance whose counter counts in this epoch; `None`: the member makes no blocks in it.
    pub instance: Option<PublicKey>,
}

/// The provisioned key's word that an instance is this member's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct InstanceCertificate {
    /// The instance: the public half of the key with which it attests.
    pub instance: PublicKey,
    /// Whether it may outlive a process, because no host can bring back an old state of it.
    pub is_rollback_proof: bool,
    /// By the provisioned key, over [`Self::signed_bytes`] after its domain.
    pub signature: Signature,
}

/// What a wormhole attested last of its member's blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastAttested {
    /// The epoch.
    pub epoch: Epoch,
    /// Round of the block before.
    pub previous: Round,
    /// Round of the block.
    pub round: Round,
    /// Its digest.
    pub digest: Digest,
    /// The attestation.
    pub signature: Signature,
}

impl InstanceCertificate {
    /// What the provisioned key signs after the domain.
    #[must_use]
    pub fn signed_bytes(&self, cluster: ClusterId, member: ReplicaId) -> Vec<u8> {
        let mut bytes = identity(cluster, member, &self.instance);
        bytes.push(self.is_rollback_proof.into());
        bytes
    }
}

impl BlockHeader {
    /// What `instance`, the author's, signs after the domain when it attests the block: that its
    /// counter went from the round of the author's block before to that of this one.
    #[must_use]
    pub fn attested_bytes(&self, instance: &PublicKey) -> Vec<u8> {
        let mut bytes = identity(self.cluster, self.reference.author, instance);
        bytes.push(ORDERING_COUNTER);
        bytes.extend_from_slice(&self.epoch.0.to_le_bytes());
        bytes.extend_from_slice(&self.previous.0.to_le_bytes());
        bytes.extend_from_slice(&self.reference.round.0.to_le_bytes());
        bytes.extend_from_slice(&self.reference.digest.0);
        bytes
    }
}

fn identity(cluster: ClusterId, member: ReplicaId, instance: &PublicKey) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(32 + 2 + 32 + 1 + 3 * 8 + 32);
    bytes.extend_from_slice(&cluster.0.0);
    bytes.extend_from_slice(&member.0.to_le_bytes());
    bytes.extend_from_slice(&instance.0);
    bytes
}

/// A server's wormhole, as its payload calls it.
pub trait Wormhole: Send {
    /// Has the wormhole attest a block with this header: that its counter goes on from the round of the
    /// author's block before.
    ///
    /// # Errors
    /// [`NotAttested`].
    fn attest(&mut self, header: &BlockHeader) -> Result<Signature, NotAttested>;
}

/// Why a block was not attested.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAttested {
    /// The counter stands elsewhere: this block contradicts one that was attested, or the epoch is over.
    #[error("the wormhole's counter stands elsewhere: it attested another block")]
    Counter,
    /// There is no wormhole any more; a new instance of it must be let in by an epoch.
    #[error("the wormhole does not answer: {0}")]
    Gone(String),
}

/// A wormhole that several parts of a server call.
pub type SharedWormhole = Arc<Mutex<dyn Wormhole>>;
