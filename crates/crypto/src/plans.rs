//! Signing cluster plans and following a chain of them from one fingerprint.

use ravelin_model::{
    ClusterId, ClusterPlan, Digest, Encode as _, Epoch, Member, PlanError, PublicKey, Signature,
    SignedPlan, mutants,
};

use crate::{Domain, Scheme, SigningKey, domain_digest};

/// The digest of a plan; of the first one, the cluster's fingerprint.
#[must_use]
pub fn plan_digest(plan: &ClusterPlan) -> Digest {
    domain_digest("ravelin plan v1", &[&plan.encode()])
}

/// Adds `key`'s signature to `signed`, in place of an older one by the same key.
pub fn sign_plan(signed: &mut SignedPlan, key: &SigningKey) {
    signed.signatures.retain(|(signer, _)| *signer != key.public());
    let signature = key.sign(Domain::Plan, &signed.plan.encode());
    signed.signatures.push((key.public(), signature));
}

/// Checks a first plan: it holds together and enough of its administrators signed it.
///
/// # Errors
/// [`ChainError`]; retrying does not help.
pub fn check_first_plan(signed: &SignedPlan, scheme: &Scheme) -> Result<ClusterId, ChainError> {
    let plan = &signed.plan;
    plan.check()?;
    if plan.previous.is_some() {
        return Err(ChainError::NotFirst);
    }
    let bytes = plan.encode();
    let mut signers: Vec<PublicKey> = signed
        .signatures
        .iter()
        .filter(|(key, signature)| {
            plan.administrators.contains(key) && scheme.verify(Domain::Plan, key, &bytes, signature)
        })
        .map(|(key, _)| *key)
        .collect();
    signers.sort_unstable();
    signers.dedup();
    let needed = usize::from(plan.administrators_needed);
    if signers.len() < needed {
        return Err(ChainError::NotSigned { got: signers.len(), needed });
    }
    Ok(ClusterId(plan_digest(plan)))
}

/// Signs, with a block key of the epoch before, that `plan` follows.
#[must_use]
pub fn sign_handover(plan: &Digest, key: &SigningKey) -> Signature {
    key.sign(Domain::Handover, &plan.0)
}

/// Whether `signature` is `key`'s to the plan with this digest, as in [`sign_handover`].
#[must_use]
pub fn is_handover(plan: &Digest, key: &PublicKey, signature: &Signature, scheme: &Scheme) -> bool {
    scheme.verify(Domain::Handover, key, &plan.0, signature)
}

/// Checks that `next` follows `current`: it names its place, holds together, and a quorum of the
/// members of `current` signed it.
///
/// Cost: at most one signature for each member of `current`.
///
/// # Errors
/// [`ChainError`]; retrying does not help.
pub fn check_successor(
    current: &ClusterPlan,
    next: &SignedPlan,
    scheme: &Scheme,
) -> Result<(), ChainError> {
    let follows = next.plan.previous.is_some_and(|previous| previous.plan == plan_digest(current));
    if !follows || next.plan.epoch != current.epoch.next() {
        return Err(ChainError::NotNext { epoch: next.plan.epoch });
    }
    next.plan.check()?;
    if next.signatures.len() > current.members.len() {
        return Err(ChainError::NotNext { epoch: next.plan.epoch });
    }
    let digest = plan_digest(&next.plan);
    let signed = |member: &&Member| {
        let signature = next.signatures.iter().find(|(key, _)| *key == member.block);
        signature.is_some_and(|(key, signature)| is_handover(&digest, key, signature, scheme))
    };
    let got = current.members.iter().filter(signed).count();
    let group = current.check()?;
    let needed = match mutants::is_active("handover_quorum_lowered") {
        true => group.one_correct(),
        false => group.quorum(),
    };
    if got < needed {
        return Err(ChainError::NotHandedOver { epoch: next.plan.epoch, got, needed });
    }
    Ok(())
}

/// Why a plan is not believed. Retrying does not help.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// It does not hold together.
    #[error("the plan does not hold together")]
    Plan(#[from] PlanError),
    /// It follows another plan, which is missing.
    #[error("the plan is not a cluster's first one")]
    NotFirst,
    /// Too few of its administrators signed it.
    #[error("{got} of the {needed} administrators' signatures needed are there and good")]
    NotSigned {
        /// Good signatures of distinct administrators.
        got: usize,
        /// Signatures needed.
        needed: usize,
    },
    /// It does not follow the plan that it came with.
    #[error("the plan of epoch {} does not follow the one before it", epoch.0)]
    NotNext {
        /// Its epoch.
        epoch: Epoch,
    },
    /// Too few members of the epoch before signed it.
    #[error(
        "{got} of the {needed} servers' signatures needed for the plan of epoch {} are there and good",
        epoch.0
    )]
    NotHandedOver {
        /// Its epoch.
        epoch: Epoch,
        /// Good signatures of distinct members.
        got: usize,
        /// Signatures needed.
        needed: usize,
    },
}

#[cfg(test)]
mod tests;
