use ravelin_model::{
    CommitIndex, FaultModel, Incarnation, Member, Position, Previous, Purpose, Time,
    plan::PLAN_VERSION,
};

use super::*;

const SIZE: u8 = 4;
/// What three of four sign is in force.
const QUORUM: usize = 3;

fn block_key(member: u8) -> SigningKey {
    SigningKey::ed25519(&[member + 1; 32])
}

fn scheme() -> Scheme {
    Scheme::ed25519([1; 32])
}

fn first() -> ClusterPlan {
    let public = |seed: u8| SigningKey::ed25519(&[seed; 32]).public();
    let member = |index: u8| Member {
        name: format!("s{index}"),
        identity: public(100 + index),
        block: block_key(index).public(),
        transport: public(150 + index),
        wormhole: None,
        peer_address: format!("127.0.0.1:{}", 7000 + u16::from(index)),
        client_address: format!("127.0.0.1:{}", 8000 + u16::from(index)),
        labels: Default::default(),
    };
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
        members: (0..SIZE).map(member).collect(),
        administrators: vec![public(50)],
        administrators_needed: 1,
        clients: vec![],
        rekey_interval_min_s: 3600,
        checkpoint_every: 1024,
    }
}

/// What follows `current`: member 0 has another key.
fn next_of(current: &ClusterPlan) -> ClusterPlan {
    let mut next = current.clone();
    next.epoch = current.epoch.next();
    next.previous = Some(Previous {
        plan: plan_digest(current),
        commit: CommitIndex(9),
        time: Time(7),
        position: Position(5),
        state: Digest([0xd2; 32]),
        ordering: Digest([0xd3; 32]),
    });
    next.members[0].block = SigningKey::ed25519(&[200; 32]).public();
    next
}

fn signed_by(plan: ClusterPlan, keys: &[SigningKey]) -> SignedPlan {
    let digest = plan_digest(&plan);
    let sign = |key: &SigningKey| (key.public(), sign_handover(&digest, key));
    SignedPlan { plan, signatures: keys.iter().map(sign).collect() }
}

fn quorum() -> Vec<SigningKey> {
    (0..SIZE).take(QUORUM).map(block_key).collect()
}

fn check(next: &SignedPlan) -> Result<(), ChainError> {
    check_successor(&first(), next, &scheme())
}

/// So many signatures count.
fn check_counted(next: &SignedPlan, got: usize) {
    let expected = ChainError::NotHandedOver { epoch: Epoch(2), got, needed: QUORUM };
    assert_eq!(check(next), Err(expected));
}

#[test]
fn a_plan_follows_by_a_quorum_of_the_members_before_it() {
    let next = next_of(&first());
    assert_eq!(check(&signed_by(next.clone(), &quorum())), Ok(()));
    let all: Vec<_> = (0..SIZE).map(block_key).collect();
    assert_eq!(check(&signed_by(next.clone(), &all)), Ok(()));
    assert_eq!(check(&signed_by(next.clone(), &all[1..])), Ok(()), "any three do");
    for count in 0..QUORUM {
        check_counted(&signed_by(next.clone(), &all[..count]), count);
    }
}

#[test]
fn only_distinct_members_of_the_epoch_before_count() {
    let next = next_of(&first());
    let twice = [block_key(1), block_key(2), block_key(2), block_key(1)];
    check_counted(&signed_by(next.clone(), &twice), 2);
    let strangers = [
        SigningKey::ed25519(&[200; 32]), // member 0 in the epoch that follows
        SigningKey::ed25519(&[101; 32]), // an identity
        SigningKey::ed25519(&[50; 32]),  // the administrator
        SigningKey::ed25519(&[77; 32]),
    ];
    check_counted(&signed_by(next.clone(), &strangers), 0);
    let mut claimed = signed_by(next, &quorum());
    for (key, _) in &mut claimed.signatures {
        *key = block_key(3).public();
    }
    check_counted(&claimed, 0);
}

#[test]
fn a_signature_is_to_one_plan_and_for_one_purpose() {
    let next = next_of(&first());
    let good = signed_by(next.clone(), &quorum());
    let changes: [fn(&mut ClusterPlan); 6] = [
        |plan| plan.members[0].block = SigningKey::ed25519(&[201; 32]).public(),
        |plan| plan.name.push('x'),
        |plan| plan.previous.as_mut().unwrap().commit.0 += 1,
        |plan| plan.previous.as_mut().unwrap().time.0 += 1,
        |plan| plan.previous.as_mut().unwrap().state.0[0] ^= 1,
        |plan| plan.previous.as_mut().unwrap().ordering.0[0] ^= 1,
    ];
    for change in changes {
        let mut other = good.clone();
        change(&mut other.plan);
        check_counted(&other, 0);
    }
    let mut as_administrators = SignedPlan { plan: next, signatures: vec![] };
    for key in quorum() {
        sign_plan(&mut as_administrators, &key);
    }
    check_counted(&as_administrators, 0);
}

#[test]
fn a_plan_that_does_not_come_next_does_not_follow_whoever_signed_it() {
    let next = next_of(&first());
    let refused = |change: &dyn Fn(&mut ClusterPlan)| {
        let mut other = next.clone();
        change(&mut other);
        let epoch = other.epoch;
        let expected = Err(ChainError::NotNext { epoch });
        assert_eq!(check(&signed_by(other, &quorum())), expected, "{epoch:?}");
    };
    refused(&|plan| plan.epoch = Epoch(1));
    refused(&|plan| plan.epoch = Epoch(3));
    refused(&|plan| plan.epoch = Epoch(0));
    refused(&|plan| plan.previous = None);
    refused(&|plan| plan.previous.as_mut().unwrap().plan = Digest([7; 32]));
    let second = signed_by(next.clone(), &quorum());
    let third = next_of(&ClusterPlan { name: "other".into(), ..next.clone() });
    let third = signed_by(third, &quorum());
    let expected = Err(ChainError::NotNext { epoch: Epoch(3) });
    assert_eq!(check_successor(&second.plan, &third, &scheme()), expected);
}

#[test]
fn a_plan_that_does_not_hold_together_does_not_follow() {
    let mut next = next_of(&first());
    next.members[0].block = next.members[1].block;
    let result = check(&signed_by(next, &quorum()));
    assert!(matches!(result, Err(ChainError::Plan(PlanError::SameKey { .. }))), "{result:?}");
}

#[test]
fn only_the_first_plan_is_the_administrators() {
    let administrator = SigningKey::ed25519(&[50; 32]);
    let mut later = SignedPlan { plan: next_of(&first()), signatures: vec![] };
    sign_plan(&mut later, &administrator);
    assert_eq!(check_first_plan(&later, &scheme()), Err(ChainError::NotFirst));
    later.plan.epoch = Epoch::FIRST;
    let wrong_epoch = Err(ChainError::Plan(PlanError::Epoch { epoch: Epoch::FIRST }));
    assert_eq!(check_first_plan(&later, &scheme()), wrong_epoch);
    let mut skipped = SignedPlan { plan: first(), signatures: vec![] };
    skipped.plan.epoch = Epoch(2);
    sign_plan(&mut skipped, &administrator);
    let wrong_epoch = Err(ChainError::Plan(PlanError::Epoch { epoch: Epoch(2) }));
    assert_eq!(check_first_plan(&skipped, &scheme()), wrong_epoch);
}
