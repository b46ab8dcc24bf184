//! Signing cluster plans and following a chain of them from one fingerprint.

use ravelin_model::{
    ClusterId, ClusterPlan, Digest, Encode as _, PlanError, PublicKey, SignedPlan,
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
}
