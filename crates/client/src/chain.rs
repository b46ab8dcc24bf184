//! From one fingerprint to the plan in force.
//!
//! **Guarantee:** a plan that comes out is the one with the fingerprint, signed by enough of its
//! administrators, or follows from it by rules that each hold. Whoever hands the chain over need not
//! be trusted; it can only withhold later plans.

use ravelin_crypto::{ChainError, Scheme, check_first_plan, plan_digest};
use ravelin_model::{ClusterId, Digest, Epoch, SignedPlan};

/// Follows `chain`, the first plan first, and returns the cluster with the last plan.
///
/// Cost: one signature for each administrator of the first plan.
///
/// # Errors
/// [`FollowError`]; retrying helps only with another chain.
pub fn follow<'a>(
    fingerprint: Digest,
    chain: &'a [SignedPlan],
    scheme: &Scheme,
) -> Result<(ClusterId, &'a SignedPlan), FollowError> {
    let (first, later) = chain.split_first().ok_or(FollowError::Empty)?;
    let found = plan_digest(&first.plan);
    if found != fingerprint {
        return Err(FollowError::AnotherCluster { found, expected: fingerprint });
    }
    let cluster = check_first_plan(first, scheme)?;
    let last = later.iter().try_fold(first, |current, next| {
        check_successor(current, next)?;
        Ok::<_, FollowError>(next)
    })?;
    Ok((cluster, last))
}

/// Whether `next` follows `current`. Clusters have one epoch today, so there is no rule by which a
/// well-formed successor could be put in force, and it is refused.
fn check_successor(current: &SignedPlan, next: &SignedPlan) -> Result<(), FollowError> {
    let epoch = next.plan.epoch;
    let is_linked = next.plan.previous == Some(plan_digest(&current.plan));
    if !is_linked || current.plan.epoch.0.checked_add(1) != Some(epoch.0) {
        return Err(FollowError::Broken { epoch });
    }
    Err(FollowError::NoRule { epoch })
}

/// Why a chain of plans does not lead to a plan that can be trusted.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// There is no plan.
    #[error("the chain has no plan; ask another server for it")]
    Empty,
    /// The first plan is another cluster's.
    #[error("the plan's fingerprint is {found}, not {expected}: this is another cluster")]
    AnotherCluster {
        /// The first plan's digest.
        found: Digest,
        /// The fingerprint that is trusted.
        expected: Digest,
    },
    /// The first plan does not hold.
    #[error("the cluster's first plan does not hold")]
    First(#[from] ChainError),
    /// A plan does not name the one before it.
    #[error("the plan of epoch {} does not follow the one before it", epoch.0)]
    Broken {
        /// Its epoch.
        epoch: Epoch,
    },
    /// This program knows no change of epoch.
    #[error("the cluster has moved to epoch {}, which this version cannot follow", epoch.0)]
    NoRule {
        /// The epoch.
        epoch: Epoch,
    },
}
