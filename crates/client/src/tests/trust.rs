//! From a fingerprint to a plan.

use ravelin_crypto::{ChainError, Scheme, SigningKey, plan_digest, sign_handover, sign_plan};
use ravelin_model::{Digest, Epoch, FaultModel, SignedPlan};

use super::fixture::{Keys, keys, seed};
use crate::chain::{FollowError, follow};

fn cluster() -> (Keys, Digest, Scheme) {
    let keys = keys(4, 1, FaultModel::Arbitrary);
    let fingerprint = plan_digest(&keys.plan.plan);
    let scheme = keys.keyring.scheme().clone();
    (keys, fingerprint, scheme)
}

/// A cluster in its third epoch, and a fourth plan that nobody has signed.
fn successor() -> (Keys, Digest, Scheme, SignedPlan) {
    let (mut keys, fingerprint, scheme) = cluster();
    keys.rekey(&[0, 1, 2, 3]);
    keys.rekey(&[1]);
    let (next, _) = keys.successor(&[2, 3], 20);
    (keys, fingerprint, scheme, next)
}

/// Why the chain does not lead to `next`.
fn check_refused(
    (keys, fingerprint, scheme): (&Keys, Digest, &Scheme),
    next: SignedPlan,
) -> ChainError {
    let chain = [keys.chain.clone(), vec![next]].concat();
    match follow(fingerprint, &chain, scheme) {
        Err(FollowError::Later(error)) => error,
        other => panic!("{other:?}"),
    }
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
fn the_fingerprint_leads_along_a_chain_of_epochs() {
    let (mut keys, fingerprint, scheme) = cluster();
    for epoch in 2..=5 {
        keys.rekey(if epoch % 2 == 0 { &[0, 1, 2, 3] } else { &[3] });
        let (cluster, plan) = follow(fingerprint, &keys.chain, &scheme).unwrap();
        assert_eq!((cluster.0, plan), (fingerprint, &keys.plan));
        assert_eq!(plan.plan.epoch, Epoch(epoch));
    }
    let later = &keys.chain[1..];
    let found = follow(fingerprint, later, &scheme);
    assert!(matches!(found, Err(FollowError::AnotherCluster { .. })), "the first plan is needed");
    let found = follow(plan_digest(&later[0].plan), later, &scheme);
    assert!(matches!(found, Err(FollowError::First(ChainError::NotFirst))));
}

#[test]
fn a_quorum_of_the_old_block_keys_must_sign() {
    let (keys, fingerprint, scheme, next) = successor();
    let trust = (&keys, fingerprint, &scheme);
    let too_few = ChainError::NotHandedOver { epoch: Epoch(4), got: 2, needed: 3 };

    let mut few = next.clone();
    keys.hand_over(&mut few, [0, 3]);
    assert_eq!(check_refused(trust, few.clone()), too_few);

    let mut doubled = few.clone();
    keys.hand_over(&mut doubled, [3, 3]);
    assert_eq!(check_refused(trust, doubled), too_few, "one signer counts once");

    let (_, seeds) = keys.successor(&[2, 3], 20);
    let new = seeds.iter().map(|seed| SigningKey::simulated(seed, &keys.registry));
    let mut by_new = next.clone();
    let digest = plan_digest(&next.plan);
    by_new.signatures = new.map(|key| (key.public(), sign_handover(&digest, &key))).collect();
    assert_eq!(check_refused(trust, by_new), too_few, "members 0 and 1 kept their keys");

    let mut by_administrator = few.clone();
    sign_plan(&mut by_administrator, &SigningKey::simulated(&seed(4, 0), &keys.registry));
    assert_eq!(check_refused(trust, by_administrator), too_few);

    let (another, _) = keys.successor(&[0], 20);
    let mut signed = another;
    keys.hand_over(&mut signed, 0..4);
    let moved = SignedPlan { signatures: signed.signatures, ..next.clone() };
    let none = ChainError::NotHandedOver { epoch: Epoch(4), got: 0, needed: 3 };
    assert_eq!(check_refused(trust, moved), none, "signatures to another plan");

    let mut good = few;
    keys.hand_over(&mut good, [1]);
    let chain = [keys.chain.clone(), vec![good.clone()]].concat();
    assert_eq!(follow(fingerprint, &chain, &scheme).unwrap().1, &good);
}

#[test]
fn a_plan_follows_the_one_before_it_and_no_other() {
    let (keys, fingerprint, scheme, next) = successor();
    let check = |change: fn(&mut SignedPlan)| {
        let mut broken = next.clone();
        change(&mut broken);
        keys.hand_over(&mut broken, 0..4);
        check_refused((&keys, fingerprint, &scheme), broken)
    };
    let skipped = check(|next| next.plan.epoch = Epoch(5));
    assert_eq!(skipped, ChainError::NotNext { epoch: Epoch(5) });
    let not_next = ChainError::NotNext { epoch: Epoch(4) };
    let another = check(|next| next.plan.previous.as_mut().unwrap().plan = Digest([1; 32]));
    assert_eq!(another, not_next);
    assert_eq!(check(|next| next.plan.previous = None), not_next);
    let unsound = check(|next| next.plan.members[1].block = next.plan.members[2].block);
    assert!(matches!(unsound, ChainError::Plan(_)), "{unsound:?}");

    let mut next = next;
    keys.hand_over(&mut next, 0..4);
    let chain = [keys.chain[0].clone(), keys.chain[2].clone(), next];
    let found = follow(fingerprint, &chain, &scheme);
    assert!(matches!(found, Err(FollowError::Later(ChainError::NotNext { epoch: Epoch(3) }))));
}
