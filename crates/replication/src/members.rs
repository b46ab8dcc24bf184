//! Who the members of the present epoch are, and which orders end it.
//!
//! **Guarantee:** of all orders in one epoch the first fitting one ends it, at the commit that brings
//! it; all replicas judge alike. A member may order a key for itself by its identity key, once in an
//! interval of agreed time, so that whoever steals that key alone cannot keep the cluster busy with
//! epochs, and not while proof against it stands in the order: who was intruded is readmitted by
//! administrators, who may at any time. An order is good in one epoch of one cluster only.
//!
//! In `hybrid` a member's order also names the instance of its wormhole that attests its blocks from then
//! on, with the word of the wormhole's provisioned key: so a member whose wormhole began anew comes back.
//!
//! # Source
//! The paper, section 4.5 on forward recovery and sections 5.4 and 5.5 on strategies that reconfigure
//! and recover: who may have lost its key gets another one by an authority that the intruder of the
//! server's disk cannot reach.

use std::time::Duration;

use ravelin_crypto::{Domain, Keyring, plan_digest};
use ravelin_model::plan::Previous;
use ravelin_model::{
    ClusterPlan, CommitIndex, Decode as _, Digest, Encode as _, InstanceCertificate, Position,
    PublicKey, ReplicaId, SignedRekey, Store, Time, View, mutants,
};
use ravelin_multicast::OrderingState;

use crate::replica::epoch_start;

/// First byte of the keys under which the times of members' own orders lie.
const ORDERED_TAG: u8 = b't';
/// First byte of the keys under which those stand who are proven offenders.
const OFFENDER_TAG: u8 = b'x';

/// The members of an epoch, and its end once there is one.
#[derive(Clone, Debug)]
pub struct Members {
    keyring: Keyring,
    plan: ClusterPlan,
    /// The next epoch's plan, which does not say yet what it follows.
    successor: Option<ClusterPlan>,
    /// Whom administrators gave the key with which the next epoch begins.
    readmitted: Option<ReplicaId>,
}

impl Members {
    /// Those of `plan`, known by `keyring`; `successor` if the epoch has ended.
    #[must_use]
    pub fn new(keyring: Keyring, plan: ClusterPlan, successor: Option<ClusterPlan>) -> Self {
        Self { keyring, plan, successor, readmitted: None }
    }

    /// The plan of the next epoch, if this one has ended, but for what it follows.
    #[must_use]
    pub fn successor(&self) -> Option<&ClusterPlan> {
        self.successor.as_ref()
    }

    /// Carries out a member's own order, if it fits; whether it did. Cost: at most one signature.
    pub fn order(&mut self, now: Time, store: &mut dyn Store, signed: &SignedRekey) -> bool {
        let rekey = &signed.rekey;
        if !self.takes(now, store, signed) {
            return false;
        }
        self.successor = self.changed(rekey.member, rekey.block, rekey.instance);
        store.put(&key(ORDERED_TAG, rekey.member), now.encode());
        true
    }

    /// Whether a member's own order is one of this epoch, signed by its identity, and due.
    #[must_use]
    pub fn takes(&self, now: Time, store: &dyn View, signed: &SignedRekey) -> bool {
        let member = signed.rekey.member;
        !Self::is_convicted(store, member)
            && self.is_due(now, store, member)
            && self.changed(member, signed.rekey.block, signed.rekey.instance).is_some()
            && self.is_authentic(signed)
    }

    /// Whether `member` changed its key by its own order in the commit of time `now`.
    #[must_use]
    pub fn has_ordered(now: Time, store: &dyn View, member: ReplicaId) -> bool {
        ordered_at(store, member) == Some(now)
    }

    /// Whether proof against `member` stands in the order.
    #[must_use]
    pub fn is_convicted(store: &dyn View, member: ReplicaId) -> bool {
        store.get(&key(OFFENDER_TAG, member)).is_some()
    }

    /// Takes note of a proof against `member` in the order, unless it was readmitted since.
    pub fn convict(&self, store: &mut dyn Store, member: ReplicaId) {
        if self.readmitted == Some(member) {
            return;
        }
        store.put(&key(OFFENDER_TAG, member), Vec::new());
    }

    /// Gives `member` another key for blocks, if that fits; whether it did.
    pub fn change(&mut self, store: &mut dyn Store, member: ReplicaId, block: PublicKey) -> bool {
        let Some(next) = self.changed(member, block, None) else { return false };
        store.delete(&key(OFFENDER_TAG, member));
        self.successor = Some(next);
        self.readmitted = Some(member);
        true
    }

    /// Ends the epoch so that `instances`, certified, count in the next one and no others; whether that
    /// fits.
    pub fn reopen(&mut self, instances: &[(ReplicaId, InstanceCertificate)]) -> bool {
        if self.successor.is_some() {
            return false;
        }
        let mut next = self.following();
        for (member, id) in next.members.iter_mut().zip(0..) {
            let named = instances.iter().find(|(of, _)| *of == ReplicaId(id));
            let Some(wormhole) = &mut member.wormhole else { return false };
            wormhole.instance = named.map(|(_, certificate)| certificate.instance);
        }
        if next.check().is_err() {
            return false;
        }
        self.successor = Some(next);
        true
    }

    /// Where the order of the epoch begins.
    #[must_use]
    pub fn epoch_start(&self) -> OrderingState {
        epoch_start(&self.keyring, &self.plan)
    }

    /// The next epoch's plan with another key of `member`, and the instance of its wormhole that
    /// attests from then on, if that fits and this one has not ended.
    fn changed(
        &self,
        member: ReplicaId,
        block: PublicKey,
        instance: Option<InstanceCertificate>,
    ) -> Option<ClusterPlan> {
        if self.successor.is_some() || self.keyring.scheme().is_weak(&block) {
            return None;
        }
        let mut next = self.following();
        let changed = next.members.get_mut(member.index())?;
        if changed.block == block {
            return None;
        }
        changed.block = block;
        if let Some(certificate) = instance {
            changed.wormhole.as_mut()?.instance = Some(certificate.instance);
        }
        let fits = next.check().is_ok() || mutants::is_active("unfit_changes_taken");
        fits.then_some(next)
    }

    /// The next epoch's plan, as yet with nothing changed.
    fn following(&self) -> ClusterPlan {
        ClusterPlan {
            epoch: self.plan.epoch.next(),
            previous: Some(Previous {
                plan: plan_digest(&self.plan),
                commit: CommitIndex(0),
                time: Time(0),
                position: Position(0),
                state: Digest::default(),
                ordering: Digest::default(),
            }),
            ..self.plan.clone()
        }
    }

    fn is_authentic(&self, signed: &SignedRekey) -> bool {
        let rekey = &signed.rekey;
        let here = (self.keyring.cluster(), self.keyring.incarnation(), self.keyring.epoch());
        let there = (rekey.cluster, rekey.incarnation, rekey.epoch);
        if there != here && !mutants::is_active("rekey_of_any_epoch") {
            return false;
        }
        let Some(member) = self.plan.members.get(rekey.member.index()) else { return false };
        let bytes = rekey.encode();
        let scheme = self.keyring.scheme();
        let is_certified = rekey.instance.is_none_or(|certificate| {
            !scheme.is_weak(&certificate.instance)
                && self.keyring.certifies(rekey.member, &certificate)
        });
        scheme.verify(Domain::Rekey, &member.identity, &bytes, &signed.signature)
            && scheme.verify(Domain::Rekey, &rekey.block, &bytes, &signed.possession)
            && (is_certified || mutants::is_active("instances_not_certified"))
    }

    /// Whether the interval since the member's last own order is over.
    fn is_due(&self, now: Time, store: &dyn View, member: ReplicaId) -> bool {
        let interval = Duration::from_secs(self.plan.rekey_interval_min_s);
        ordered_at(store, member).is_none_or(|last| now.since(last) >= interval)
    }
}

/// Agreed time of the member's last own order.
fn ordered_at(store: &dyn View, member: ReplicaId) -> Option<Time> {
    let bytes = store.get(&key(ORDERED_TAG, member))?;
    Some(Time::decode("time of an order", &bytes).expect("the store holds what was put"))
}

fn key(tag: u8, member: ReplicaId) -> Vec<u8> {
    [&[tag], &member.0.to_be_bytes()[..]].concat()
}

#[cfg(test)]
mod tests;
