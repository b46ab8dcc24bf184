//! From a fingerprint to a plan.

use ravelin_crypto::{Scheme, SigningKey, plan_digest, sign_plan};
use ravelin_model::{Digest, Epoch, FaultModel, SignedPlan};

use super::fixture::{Keys, keys, seed};
use crate::chain::{FollowError, follow};

fn cluster() -> (Keys, Digest, Scheme) {
    let keys = keys(4, 1, FaultModel::Arbitrary);
    let fingerprint = plan_digest(&keys.plan.plan);
    let scheme = keys.keyring.scheme().clone();
    (keys, fingerprint, scheme)
}

fn successor(of: &SignedPlan) -> SignedPlan {
    let mut next = SignedPlan { plan: of.plan.clone(), signatures: Vec::new() };
    next.plan.epoch = Epoch(of.plan.epoch.0 + 1);
    next.plan.previous = Some(plan_digest(&of.plan));
    next
}

#[test]
fn the_fingerprint_leads_to_the_first_plan() {
    let (keys, fingerprint, scheme) = cluster();
    let chain = [keys.plan];
    let (cluster, plan) = follow(fingerprint, &chain, &scheme).unwrap();
    assert_eq!((cluster.0, plan), (fingerprint, &chain[0]));
}

#[test]
fn no_other_plan_is_believed() {
    let (keys, fingerprint, scheme) = cluster();
    assert!(matches!(follow(fingerprint, &[], &scheme), Err(FollowError::Empty)));

    let mut changed = keys.plan.clone();
    changed.plan.members[3].block = SigningKey::simulated(&seed(9, 9), &keys.registry).public();
    sign_plan(&mut changed, &SigningKey::simulated(&seed(4, 0), &keys.registry));
    let chain = [changed];
    let found = follow(fingerprint, &chain, &scheme);
    assert!(matches!(found, Err(FollowError::AnotherCluster { .. })));

    let unsigned = SignedPlan { signatures: Vec::new(), ..keys.plan };
    let chain = [unsigned];
    let found = follow(fingerprint, &chain, &scheme);
    assert!(matches!(found, Err(FollowError::First(_))));
}

#[test]
fn a_later_plan_is_refused_and_the_error_says_why() {
    let (keys, fingerprint, scheme) = cluster();
    let next = successor(&keys.plan);
    let mut unlinked = next.clone();
    unlinked.plan.previous = Some(Digest([1; 32]));
    let mut skipping = next.clone();
    skipping.plan.epoch = Epoch(7);
    for broken in [unlinked, skipping] {
        let chain = [keys.plan.clone(), broken];
        let found = follow(fingerprint, &chain, &scheme);
        assert!(matches!(found, Err(FollowError::Broken { .. })));
    }
    let chain = [keys.plan, next];
    let found = follow(fingerprint, &chain, &scheme).unwrap_err();
    assert!(matches!(found, FollowError::NoRule { epoch: Epoch(2) }));
    let said = found.to_string();
    assert!(said.contains("epoch 2") && said.contains("cannot follow"), "{said}");
}
