//! What replicas tell each other about the end of an epoch and the beginning of the next.

use borsh::{BorshDeserialize, BorshSerialize};

use crate::{
    Closing, CommitIndex, Digest, Epoch, LogPart, ReplicaId, Signature, SignedPlan, SignedRekey,
    SignedReopening,
};

/// A member's signature to the plan that follows its epoch, by which it also vouches for the state in
/// which the epoch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct HandoverVote {
    /// Who signs.
    pub replica: ReplicaId,
    /// The epoch that has ended.
    pub epoch: Epoch,
    /// Its last commit.
    pub commit: CommitIndex,
    /// Digest of the next epoch's plan.
    pub plan: Digest,
    /// The signature over that digest, by the member's block key of the ended epoch.
    pub signature: Signature,
}

/// About epochs; understood in whatever epoch its receiver is.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum EpochMessage {
    /// This epoch has ended at the sender.
    Handover(HandoverVote),
    /// The sender is in this epoch and has heard of a later one: how did its own end?
    Ask(Epoch),
    /// The plan of the epoch that follows the asker's.
    Began(Box<SignedPlan>),
    /// The sender wants another key; whoever hears it puts the order into a block.
    Rekey(SignedRekey),
    /// Administrators end the sender's epoch, to let new instances of wormholes in.
    Reopen(Box<SignedReopening>),
    /// What the sender holds of the epoch that they end.
    Closed(Closing),
    /// Not sent: stands for a message of another epoch than the receiver's.
    Elsewhen {
        /// The sender's epoch.
        epoch: Epoch,
        /// What it asks for of the log.
        wanted: Vec<LogPart>,
    },
}
