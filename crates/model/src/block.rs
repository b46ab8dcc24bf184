//! Blocks of the DAG: what a replica says in one round.
//!
//! A block's digest covers its body; its authenticator signs the small [`BlockHeader`], so that two
//! headers alone prove that their author forked its chain, however large the bodies are.

use borsh::{BorshDeserialize, BorshSerialize};

use crate::{
    ClusterId, Digest, Envelope, Epoch, Evidence, Incarnation, InstanceCertificate, PublicKey,
    ReplicaId, Round, Signature, SignedStatement, Time,
};

/// Names one block.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize,
)]
pub struct BlockRef {
    /// Its round.
    pub round: Round,
    /// Who made it.
    pub author: ReplicaId,
    /// BLAKE3 of its body's canonical bytes.
    pub digest: Digest,
}

/// Part of an author's chain: a block, and the own blocks before it since a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Chain {
    /// Its newest block.
    pub tip: BlockRef,
    /// Blocks up to this round do not belong to it.
    pub after: Round,
}

/// A block as it travels.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Block {
    /// What is said.
    pub body: BlockBody,
    /// The author's signature over the block's [`BlockHeader`]; in [`crate::FaultModel::Hybrid`] its
    /// wormhole's attestation of that.
    pub authenticator: Signature,
}

/// What a block says.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct BlockBody {
    /// The cluster it belongs to.
    pub cluster: ClusterId,
    /// Digest of the epoch's beginning.
    pub genesis: Digest,
    /// The epoch.
    pub epoch: Epoch,
    /// Who made it.
    pub author: ReplicaId,
    /// Its round, from 1.
    pub round: Round,
    /// The author's own last block, then the newest known block of every other member that is not
    /// exposed: at most one a member.
    pub parents: Vec<BlockRef>,
    /// Members that this block's history proves to have forked their chain, ascending.
    pub exposed: Vec<ReplicaId>,
    /// The author's clock.
    pub timestamp: Time,
    /// Client envelopes, in the order in which they are to be executed.
    pub envelopes: Vec<Envelope>,
    /// Statements about executed commits, and evidence.
    pub votes: Vec<Vote>,
}

/// What a replica adds to its block beside client envelopes.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Vote {
    /// What the author computed for one commit.
    Statement(SignedStatement),
    /// Proof that a member misbehaved.
    Evidence(Evidence),
    /// A member's order to change its key, on its way into the order.
    Rekey(SignedRekey),
}

/// A member's order that it shall sign blocks with another key, and so begin a new epoch: it lost its
/// promises, or fears for its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Rekey {
    /// The cluster.
    pub cluster: ClusterId,
    /// Its incarnation.
    pub incarnation: Incarnation,
    /// The epoch that this ends; the order is void in any other.
    pub epoch: Epoch,
    /// The member.
    pub member: ReplicaId,
    /// Its key for blocks and statements from then on.
    pub block: PublicKey,
    /// The instance of its wormhole that attests its blocks from then on: in
    /// [`crate::FaultModel::Hybrid`], and there only.
    pub instance: Option<InstanceCertificate>,
}

/// An order with the signature of the member's identity key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct SignedRekey {
    /// The order.
    pub rekey: Rekey,
    /// The identity's signature over its canonical bytes.
    pub signature: Signature,
    /// The new key's signature over them: nobody can ask for a key that is another's.
    pub possession: Signature,
}

/// What an authenticator signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct BlockHeader {
    /// The cluster it belongs to.
    pub cluster: ClusterId,
    /// Digest of the epoch's beginning.
    pub genesis: Digest,
    /// The epoch.
    pub epoch: Epoch,
    /// Round of the author's block before this one.
    pub previous: Round,
    /// The block itself.
    pub reference: BlockRef,
}

/// A header with its authenticator: half of a proof of equivocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct SignedHeader {
    /// The header.
    pub header: BlockHeader,
    /// The author's signature over it.
    pub signature: Signature,
}

impl BlockRef {
    /// The reference by which round 1 names its parents: `genesis` itself, for each author.
    #[must_use]
    pub fn genesis(author: ReplicaId, genesis: Digest) -> Self {
        Self { round: Round(0), author, digest: genesis }
    }
}

impl Block {
    /// Stands in a [draft](Self::is_draft) for the attestation. No key has it for a signature that holds.
    pub const UNATTESTED: Signature = Signature([0; 64]);

    /// Whether canonical bytes of a block are those of a draft: on its author's disk before the
    /// wormhole is asked to attest it, and never sent.
    #[must_use]
    pub fn is_draft(bytes: &[u8]) -> bool {
        bytes.ends_with(&Self::UNATTESTED.0)
    }

    /// The author that canonical bytes of a block name, if they begin like one. Reads nothing else.
    #[must_use]
    pub fn author_in(mut bytes: &[u8]) -> Option<ReplicaId> {
        let before = <(ClusterId, Digest, Epoch)>::deserialize(&mut bytes);
        before.and_then(|_| ReplicaId::deserialize(&mut bytes)).ok()
    }
}

impl BlockBody {
    /// The author's own last block: its first parent.
    #[must_use]
    pub fn previous(&self) -> Option<&BlockRef> {
        self.parents.first()
    }

    /// The parent by `author`, if there is one.
    #[must_use]
    pub fn parent(&self, author: ReplicaId) -> Option<&BlockRef> {
        self.parents.iter().find(|parent| parent.author == author)
    }

    /// The header that names this body by `digest`.
    #[must_use]
    pub fn header(&self, digest: Digest) -> BlockHeader {
        BlockHeader {
            cluster: self.cluster,
            genesis: self.genesis,
            epoch: self.epoch,
            previous: self.previous().map_or(Round(0), |previous| previous.round),
            reference: BlockRef { round: self.round, author: self.author, digest },
        }
    }
}

impl BlockHeader {
    /// Whether no correct author can have signed both: two different blocks whose spans
    /// `(previous, round]` overlap lie on two branches of one chain.
    #[must_use]
    pub fn contradicts(&self, other: &Self) -> bool {
        self.reference.author == other.reference.author
            && self.genesis == other.genesis
            && self.epoch == other.epoch
            && self.reference != other.reference
            && self.previous < other.reference.round
            && other.previous < self.reference.round
    }
}
