//! The order by which administrators open a cluster whose members' wormholes are not those of the plan:
//! at its very first start, and when more than `n - q` of them began anew at once.
//!
//! In [`crate::FaultModel::Hybrid`] only instances that the plan names count, and an instance that is gone
//! cannot come back. The order closes all instances of the epoch, ends it at what the union of the logs
//! of all members decides, but for those declared lost, and names the instances that count in the next.
//! Blocks prove themselves, so a liar can only withhold; what it withholds was shown to no correct
//! member, or is in that one's log.

use borsh::{BorshDeserialize, BorshSerialize};

use crate::{
    BlockRef, ClusterId, Digest, Epoch, Incarnation, InstanceCertificate, PublicKey, ReplicaId,
    Round, Signature,
};

/// What administrators sign.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Reopening {
    /// The cluster.
    pub cluster: ClusterId,
    /// Its incarnation.
    pub incarnation: Incarnation,
    /// The epoch that this ends; the order is void in any other.
    pub epoch: Epoch,
    /// Of several orders for one epoch the one with the highest number counts, unless a member has carried
    /// out another one.
    pub number: u64,
    /// The instances that count from then on, ascending by member. A member that is missing here makes
    /// no blocks until it has its own instance let in.
    pub instances: Vec<(ReplicaId, InstanceCertificate)>,
    /// Members whose logs are not waited for, ascending: at most `f`. What is declared lost counts as
    /// intruded: of the others, only `f` less so many may be.
    pub lost: Vec<ReplicaId>,
}

/// An order with administrators' signatures over its canonical bytes.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct SignedReopening {
    /// What is signed.
    pub order: Reopening,
    /// Who signed it.
    pub approvals: Vec<(PublicKey, Signature)>,
}

/// A part of an epoch's blocks that is closed under "parent of" above a horizon.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Cut {
    /// Up to this round no single blocks are judged.
    pub horizon: Round,
    /// The newest block of each member above it, ascending by member.
    pub tips: Vec<BlockRef>,
}

impl Cut {
    /// Whether two members that hold these hold the same: what one's horizon has passed does not count.
    #[must_use]
    pub fn is_as(&self, other: &Self) -> bool {
        let horizon = self.horizon.max(other.horizon);
        let above = |cut: &Self| -> Vec<BlockRef> {
            cut.tips.iter().filter(|tip| tip.round > horizon).copied().collect()
        };
        above(self) == above(other)
    }
}

/// What a member holds of the epoch that an order ends.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Closing {
    /// The epoch.
    pub epoch: Epoch,
    /// Digest of the order that the member carries out.
    pub order: Digest,
    /// What it holds, or as much of that as it would end the epoch with, or did. Up to the horizon it judges
    /// no single blocks any more, or will not once it has decided what it holds.
    pub cut: Cut,
    /// How far it has come.
    pub stage: ClosingStage,
    /// Names the member's present choice of an order and of what to end the epoch with: another number each
    /// time that it takes up a choice, also one that it had before.
    pub turn: u64,
    /// The turn of each other member of which this one heard last, ascending by member: who reads its own
    /// here knows that this was said to what it says now, not to what it said earlier.
    pub heard: Vec<(ReplicaId, u64)>,
}

/// How far a member has come on the way to the end of an epoch that administrators end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum ClosingStage {
    /// It lacks something of what it has heard of, or may yet make a block.
    Lacking,
    /// It holds all of that, or what it tells at least, and decides nothing beyond what it tells until the
    /// order is carried out, or it tells more.
    Holding,
    /// It has signed the plan that follows by this order: it never signs another one.
    Signed,
    /// What it decided ended the epoch, and it signed what follows from that: whoever holds all that it
    /// does decides the same end.
    Ended,
}

/// What a server made of an order that a client brought it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum ReopeningVerdict {
    /// It carries it out, together with the other servers.
    Taken,
    /// Not in this fault model.
    NotHybrid,
    /// It is for another cluster, or another epoch than this one.
    OtherEpoch(Epoch),
    /// The epoch has an end of its own here: the server helps those who hold to get there.
    Ended,
    /// Too few administrators signed it, or somebody who is none.
    NotApproved,
    /// An instance is not certified by the wormhole of that member, or named twice.
    NotCertified(ReplicaId),
    /// Too few instances for a quorum, or too many members declared lost.
    NoQuorum,
    /// The server is halted, or fetches its state first.
    NotNow,
    /// The plan that would follow does not hold together.
    Unfit,
    /// The order with this number goes before it: it is later, or somebody has signed by it already.
    Superseded(u64),
}
