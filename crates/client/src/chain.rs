//! From one fingerprint to the plan in force.
//!
//! **Guarantee:** a plan that comes out is the one with the fingerprint, signed by enough of its
//! administrators, or follows from it epoch by epoch, each plan signed by a quorum of the members of
//! the one before it. Whoever hands the chain over need not be trusted; it can only withhold later
//! plans.
//!
//! Assumes: at most `f` members of each epoch were intruded before the correct ones erased its keys.
//! An open [`crate::Session`] learns of later plans, and follows them, by itself.

use ravelin_crypto::{ChainError, Scheme, check_first_plan, check_successor, plan_digest};
use ravelin_model::{ClusterId, Digest, SignedPlan};

/// Follows `chain`, the first plan first, and returns the cluster with the last plan.
///
/// Cost: one signature for each administrator of the first plan, and at most one for each member of
/// every plan but the last. It ends at the first plan that does not hold, so a chain costs little
/// more than its true beginning; what fits a server's message bounds its length.
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
    let cluster = check_first_plan(first, scheme).map_err(FollowError::First)?;
    let last = later.iter().try_fold(first, |current, next| {
        check_successor(&current.plan, next, scheme).map_err(FollowError::Later)?;
        Ok::<_, FollowError>(next)
    })?;
    Ok((cluster, last))
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
    First(#[source] ChainError),
    /// A later plan does not hold, or does not follow the one before it; ask another server.
    #[error("a later plan of the cluster does not hold")]
    Later(#[source] ChainError),
}
