//! Signing and judging orders that reopen a cluster.

use ravelin_model::{ClusterPlan, Encode as _, Reopening, SignedReopening};

use crate::releases::check_approvals;
use crate::{ApprovalError, Domain, Scheme, SigningKey};

/// Adds `key`'s signature to `signed`, in place of an older one by the same key.
pub fn sign_reopening(signed: &mut SignedReopening, key: &SigningKey) {
    signed.approvals.retain(|(signer, _)| *signer != key.public());
    let signature = key.sign(Domain::Reopening, &signed.order.encode());
    signed.approvals.push((key.public(), signature));
}

/// Checks that as many administrators as `plan` demands signed the order, and that nobody else's and
/// no bad signature is among theirs.
///
/// Cost: at most one signature for each administrator, and one that is bad.
///
/// # Errors
/// [`ApprovalError`]; retrying does not help.
pub fn check_reopening(
    signed: &SignedReopening,
    plan: &ClusterPlan,
    scheme: &Scheme,
) -> Result<(), ApprovalError> {
    let bytes = Reopening::encode(&signed.order);
    check_approvals(Domain::Reopening, &bytes, &signed.approvals, plan, scheme)
}
