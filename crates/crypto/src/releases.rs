//! Signing and judging orders that let a halted server go on.

use std::collections::BTreeSet;

use ravelin_model::{ClusterPlan, Encode as _, PublicKey, Signature, SignedRelease};

use crate::{Domain, Scheme, SigningKey};

/// Adds `key`'s signature to `signed`, in place of an older one by the same key.
pub fn sign_release(signed: &mut SignedRelease, key: &SigningKey) {
    signed.approvals.retain(|(signer, _)| *signer != key.public());
    let signature = key.sign(Domain::Release, &signed.order.encode());
    signed.approvals.push((key.public(), signature));
}

/// Checks that as many administrators as `plan` demands signed the order, and that nobody else's and
/// no bad signature is among theirs.
///
/// Cost: at most one signature for each administrator, and one that is bad.
///
/// # Errors
/// [`ApprovalError`]; retrying does not help.
pub fn check_release(
    signed: &SignedRelease,
    plan: &ClusterPlan,
    scheme: &Scheme,
) -> Result<(), ApprovalError> {
    let bytes = signed.order.encode();
    check_approvals(Domain::Release, &bytes, &signed.approvals, plan, scheme)
}

/// Checks the approvals of an order with these canonical bytes.
pub(crate) fn check_approvals(
    domain: Domain,
    bytes: &[u8],
    approvals: &[(PublicKey, Signature)],
    plan: &ClusterPlan,
    scheme: &Scheme,
) -> Result<(), ApprovalError> {
    let mut signers: BTreeSet<PublicKey> = BTreeSet::new();
    for (key, signature) in approvals {
        if !plan.administrators.contains(key) {
            return Err(ApprovalError::Stranger { key: *key });
        }
        if signers.contains(key) {
            continue;
        }
        if !scheme.verify(domain, key, bytes, signature) {
            return Err(ApprovalError::BadSignature { key: *key });
        }
        signers.insert(*key);
    }
    let (got, needed) = (signers.len(), usize::from(plan.administrators_needed));
    if got < needed { Err(ApprovalError::TooFew { got, needed }) } else { Ok(()) }
}

/// Why an order is not approved. Retrying does not help.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApprovalError {
    /// Somebody signed who is no administrator.
    #[error("{key} is no administrator of this cluster")]
    Stranger {
        /// Who.
        key: PublicKey,
    },
    /// A signature does not hold.
    #[error("the signature of {key} does not hold for this order")]
    BadSignature {
        /// Whose it claims to be.
        key: PublicKey,
    },
    /// Too few signed.
    #[error("{got} of the {needed} administrators needed signed")]
    TooFew {
        /// Distinct administrators who signed.
        got: usize,
        /// Signatures needed.
        needed: usize,
    },
}

#[cfg(test)]
mod tests {
    use ravelin_model::{
        ClusterId, Digest, Epoch, FaultModel, Incarnation, Purpose, ReleaseOrder, ReplicaId,
        plan::PLAN_VERSION,
    };

    use super::*;

    fn key(seed: u8) -> SigningKey {
        SigningKey::ed25519(&[seed; 32])
    }

    fn plan(needed: u16) -> ClusterPlan {
        ClusterPlan {
            version: PLAN_VERSION,
            name: "test".into(),
            purpose: Purpose::Local,
            incarnation: Incarnation(1),
            epoch: Epoch::FIRST,
            previous: None,
            fault_model: FaultModel::Arbitrary,
            f: 1,
            leaders_per_round: 2,
            members: vec![],
            administrators: vec![key(1).public(), key(2).public(), key(3).public()],
            administrators_needed: needed,
            clients: vec![],
            rekey_interval_min_s: 3600,
            checkpoint_every: 1024,
        }
    }

    fn order() -> SignedRelease {
        let order = ReleaseOrder {
            cluster: ClusterId(Digest([1; 32])),
            incarnation: Incarnation(1),
            epoch: Epoch::FIRST,
            server: ReplicaId(2),
            halt: Digest([2; 32]),
            serial: 1,
            repaired: vec![ReplicaId(0), ReplicaId(1)],
            issued: "today".into(),
        };
        SignedRelease { order, approvals: vec![] }
    }

    fn check(signed: &SignedRelease, needed: u16) -> Result<(), ApprovalError> {
        check_release(signed, &plan(needed), &Scheme::ed25519([7; 32]))
    }

    #[test]
    fn as_many_administrators_as_needed_must_sign() {
        let mut signed = order();
        assert_eq!(check(&signed, 2), Err(ApprovalError::TooFew { got: 0, needed: 2 }));
        sign_release(&mut signed, &key(1));
        sign_release(&mut signed, &key(1));
        signed.approvals.extend(signed.approvals.clone());
        assert_eq!(check(&signed, 2), Err(ApprovalError::TooFew { got: 1, needed: 2 }));
        sign_release(&mut signed, &key(3));
        assert_eq!(check(&signed, 2), Ok(()));
        assert_eq!(check(&signed, 3), Err(ApprovalError::TooFew { got: 2, needed: 3 }));
    }

    #[test]
    fn a_strangers_signature_counts_for_nothing() {
        let mut signed = order();
        sign_release(&mut signed, &key(1));
        sign_release(&mut signed, &key(9));
        let stranger = ApprovalError::Stranger { key: key(9).public() };
        assert_eq!(check(&signed, 1), Err(stranger));
    }

    #[test]
    fn every_field_is_signed() {
        let mut signed = order();
        sign_release(&mut signed, &key(2));
        let changes: [fn(&mut ReleaseOrder); 8] = [
            |order| order.cluster.0.0[0] ^= 1,
            |order| order.incarnation.0 += 1,
            |order| order.epoch = order.epoch.next(),
            |order| order.server.0 += 1,
            |order| order.halt.0[0] ^= 1,
            |order| order.serial += 1,
            |order| order.repaired.truncate(1),
            |order| order.issued.push('s'),
        ];
        for change in changes {
            let mut forged = signed.clone();
            change(&mut forged.order);
            let refused = ApprovalError::BadSignature { key: key(2).public() };
            assert_eq!(check(&forged, 1), Err(refused));
        }
        assert_eq!(check(&signed, 1), Ok(()));
    }

    #[test]
    fn a_signature_for_anything_else_is_none() {
        let mut signed = order();
        let bytes = signed.order.encode();
        for domain in [Domain::AuthOrder, Domain::Plan, Domain::Rekey] {
            signed.approvals = vec![(key(1).public(), key(1).sign(domain, &bytes))];
            assert!(matches!(check(&signed, 1), Err(ApprovalError::BadSignature { .. })));
        }
    }
}
