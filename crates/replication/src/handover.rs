//! From one epoch to the next: members of the old one sign the plan of the new one, which names the
//! state in which the old one ended. A quorum's signatures put it in force.
//!
//! **Guarantee:** at most one plan follows an epoch, since correct members sign what they executed,
//! all the same, and each quorum has one. Who comes late needs nobody's word: the signatures tell.

use std::collections::BTreeMap;
use std::time::Duration;

use ravelin_crypto::{Keyring, SigningKey, is_handover, plan_digest, sign_handover};
use ravelin_model::{
    ClusterPlan, CommitIndex, Digest, HandoverVote, ReplicaId, Signature, SignedPlan, Time, mutants,
};

/// First pause before a signature is told again; doubles up to [`TELL_PAUSE_MAX`].
const TELL_PAUSE: Duration = Duration::from_millis(100);
/// Longest pause before it is told again.
const TELL_PAUSE_MAX: Duration = Duration::from_secs(2);

/// The end of an epoch, as this replica executed it, and who signed the same.
#[derive(Debug)]
pub struct Handover {
    plan: ClusterPlan,
    vote: HandoverVote,
    signatures: BTreeMap<ReplicaId, Signature>,
    /// Whether the own signature came back, good or not.
    is_back: bool,
    next: Time,
    pause: Duration,
}

impl Handover {
    /// `plan` follows the epoch of `keyring`, which ended with `commit`; `own` signs by `key`.
    #[must_use]
    pub fn new(
        keyring: &Keyring,
        (own, key): (ReplicaId, &SigningKey),
        commit: CommitIndex,
        plan: ClusterPlan,
    ) -> Self {
        let digest = plan_digest(&plan);
        let signature = sign_handover(&digest, key);
        let epoch = keyring.epoch();
        let vote = HandoverVote { replica: own, epoch, commit, plan: digest, signature };
        let signatures = BTreeMap::new();
        Self { plan, vote, signatures, is_back: false, next: Time(0), pause: TELL_PAUSE }
    }

    /// This replica's signature.
    #[must_use]
    pub fn vote(&self) -> HandoverVote {
        self.vote
    }

    /// Whether `member` signed the same. Of this replica, whether its signature came back: it counts
    /// for nobody else where the replica has no key in the epoch, and tells the same about its disk.
    #[must_use]
    pub fn is_signed_by(&self, member: ReplicaId) -> bool {
        self.signatures.contains_key(&member) || self.is_back && member == self.vote.replica
    }

    /// Digest of the plan that follows.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.vote.plan
    }

    /// Whether the signature is due to be told, again.
    pub fn is_due(&mut self, now: Time) -> bool {
        if now < self.next {
            return false;
        }
        self.next = now.after(self.pause);
        self.pause = (self.pause * 2).min(TELL_PAUSE_MAX);
        true
    }

    /// When it is.
    #[must_use]
    pub fn next(&self) -> Time {
        self.next
    }

    /// Takes a member's signature; the plan with a quorum's, once they are there.
    pub fn take(&mut self, keyring: &Keyring, vote: &HandoverVote) -> Option<SignedPlan> {
        self.is_back |= *vote == self.vote;
        let key = keyring.member(vote.replica)?;
        let is_known = self.signatures.contains_key(&vote.replica);
        let is_same = (vote.epoch, vote.plan) == (self.vote.epoch, self.vote.plan);
        if is_known || !is_same || !is_handover(&vote.plan, key, &vote.signature, keyring.scheme())
        {
            return None;
        }
        self.signatures.insert(vote.replica, vote.signature);
        let group = keyring.group();
        let needed = match mutants::is_active("handover_quorum_lowered") {
            true => group.one_correct(),
            false => group.quorum(),
        };
        if self.signatures.len() < needed {
            return None;
        }
        let signed = self.signatures.iter();
        let signatures = signed.filter_map(|(id, it)| keyring.member(*id).map(|key| (*key, *it)));
        Some(SignedPlan { plan: self.plan.clone(), signatures: signatures.collect() })
    }
}

#[cfg(test)]
mod tests;
