use ravelin_crypto::check_successor;
use ravelin_model::{Encode as _, Epoch, Position, Previous};

use super::*;
use crate::testing::World;

const COMMIT: CommitIndex = CommitIndex(9);
const OWN: ReplicaId = ReplicaId(0);

/// What follows the world's epoch, with this state at its end.
fn next_plan(world: &World, state: u8) -> ClusterPlan {
    let mut next = world.plan.plan.clone();
    next.epoch = next.epoch.next();
    next.previous = Some(Previous {
        plan: plan_digest(&world.plan.plan),
        commit: COMMIT,
        time: Time(7),
        position: Position(5),
        state: Digest([state; 32]),
        ordering: Digest([0xd3; 32]),
    });
    next.members[2].block = world.block_key_of(ReplicaId(2), 1).public();
    next
}

fn handover_of(world: &World, own: ReplicaId, plan: ClusterPlan) -> Handover {
    let key = world.block_key(own);
    Handover::new(&world.keyring, (own, &key), COMMIT, plan)
}

fn handover(world: &World) -> Handover {
    handover_of(world, OWN, next_plan(world, 0xd2))
}

/// What a correct member says who ended the epoch alike.
fn vote(world: &World, member: u16) -> HandoverVote {
    handover_of(world, ReplicaId(member), next_plan(world, 0xd2)).vote()
}

/// A handover that lacks one member's signature, and that member's.
fn almost(world: &World) -> (Handover, HandoverVote) {
    let mut handover = handover(world);
    let quorum = u16::try_from(world.keyring.group().quorum()).unwrap();
    for member in 0..quorum - 1 {
        assert_eq!(handover.take(&world.keyring, &vote(world, member)), None);
    }
    (handover, vote(world, quorum - 1))
}

/// The signature does not count, also where it is the last that lacks.
fn check_ignored(world: &World, bad: HandoverVote) {
    let (mut handover, last) = almost(world);
    assert_eq!(handover.take(&world.keyring, &bad), None, "{bad:?}");
    assert!(handover.take(&world.keyring, &last).is_some(), "{bad:?}");
}

#[test]
fn a_quorum_puts_the_plan_in_force_and_one_less_does_not() {
    for (n, f) in [(4, 1), (5, 1), (7, 2), (10, 3)] {
        let world = World::new(n, f);
        let (mut handover, last) = almost(&world);
        let signed = handover.take(&world.keyring, &last).expect("a quorum signed");
        assert_eq!(signed.plan, next_plan(&world, 0xd2));
        assert_eq!(signed.signatures.len(), world.keyring.group().quorum());
        let scheme = world.keyring.scheme();
        assert_eq!(check_successor(&world.plan.plan, &signed, scheme), Ok(()));
    }
}

#[test]
fn a_signature_names_the_end_and_holds_by_the_ended_epochs_key() {
    let world = World::new(4, 1);
    let vote = handover(&world).vote();
    assert_eq!((vote.replica, vote.epoch, vote.commit), (OWN, Epoch::FIRST, COMMIT));
    assert_eq!(vote.plan, plan_digest(&next_plan(&world, 0xd2)));
    assert_eq!(vote.plan, handover(&world).digest());
    let (scheme, key) = (world.keyring.scheme(), world.block_key(OWN).public());
    assert!(is_handover(&vote.plan, &key, &vote.signature, scheme));
}

#[test]
fn one_member_counts_once_however_often_it_signs() {
    let world = World::new(4, 1);
    for member in 0..2 {
        check_ignored(&world, vote(&world, member));
    }
    let mut handover = handover(&world);
    for _ in 0..10 {
        assert_eq!(handover.take(&world.keyring, &vote(&world, 1)), None);
    }
}

#[test]
fn another_end_of_the_epoch_does_not_count() {
    let world = World::new(4, 1);
    let other = handover_of(&world, ReplicaId(2), next_plan(&world, 0xd9)).vote();
    assert_ne!(other.plan, vote(&world, 2).plan);
    check_ignored(&world, other);
    // The good digest under a signature to the other, and the other way round.
    check_ignored(&world, HandoverVote { signature: other.signature, ..vote(&world, 2) });
    check_ignored(&world, HandoverVote { plan: other.plan, ..vote(&world, 2) });
}

#[test]
fn another_epoch_does_not_count() {
    let world = World::new(4, 1);
    for epoch in [Epoch(0), Epoch(2), Epoch(u64::MAX)] {
        check_ignored(&world, HandoverVote { epoch, ..vote(&world, 2) });
    }
}

#[test]
fn a_bad_signature_does_not_count_and_does_not_stand_in_the_way_of_a_good_one() {
    let world = World::new(4, 1);
    let good = vote(&world, 2);
    check_ignored(&world, HandoverVote { signature: Signature([0; 64]), ..good });
    // By another member, by the member's identity, by its key of the next epoch.
    let by = [
        world.block_key(ReplicaId(3)),
        world.identity_key(ReplicaId(2)),
        world.block_key_of(ReplicaId(2), 1),
    ];
    for key in by {
        check_ignored(&world, HandoverVote { signature: sign_handover(&good.plan, &key), ..good });
    }
    // For another purpose.
    let signature = world.block_key(ReplicaId(2)).sign(ravelin_crypto::Domain::Plan, &good.plan.0);
    check_ignored(&world, HandoverVote { signature, ..good });
}

#[test]
fn a_stranger_does_not_count() {
    let world = World::new(4, 1);
    for stranger in [ReplicaId(4), ReplicaId(u16::MAX)] {
        let key = world.block_key(ReplicaId(4));
        let signature = sign_handover(&vote(&world, 2).plan, &key);
        check_ignored(&world, HandoverVote { replica: stranger, signature, ..vote(&world, 2) });
    }
}

#[test]
fn plans_of_different_ends_have_different_digests() {
    let world = World::new(4, 1);
    let plan = next_plan(&world, 0xd2);
    let change = |change: &dyn Fn(&mut Previous)| {
        let mut other = plan.clone();
        change(other.previous.as_mut().unwrap());
        assert_ne!(plan_digest(&other), plan_digest(&plan), "{}", other.encode().len());
    };
    change(&|previous| previous.plan.0[0] ^= 1);
    change(&|previous| previous.commit.0 += 1);
    change(&|previous| previous.time.0 += 1);
    change(&|previous| previous.state.0[31] ^= 1);
    change(&|previous| previous.ordering.0[31] ^= 1);
}

#[test]
fn a_signature_is_told_at_once_and_then_ever_less_often() {
    let world = World::new(4, 1);
    let mut handover = handover(&world);
    let mut now = Time(1_000_000);
    assert!(handover.is_due(now));
    let mut pauses = Vec::new();
    for _ in 0..8 {
        assert!(!handover.is_due(now));
        let next = handover.next();
        assert!(!handover.is_due(Time(next.0 - 1)));
        pauses.push(next.since(now));
        now = next;
        assert!(handover.is_due(now));
    }
    let expected = [100, 200, 400, 800, 1600, 2000, 2000, 2000].map(Duration::from_millis);
    assert_eq!(pauses, expected);
}

#[test]
fn who_has_no_key_in_the_epoch_passes_its_end_and_signs_nothing() {
    let world = World::new(4, 1);
    let key = world.block_key_of(OWN, 1); // no member's
    let mut handover = Handover::new(&world.keyring, (OWN, &key), COMMIT, next_plan(&world, 0xd2));
    let own = handover.vote();
    assert!(!handover.is_signed_by(OWN), "nothing came back yet");
    for member in 1..3 {
        assert_eq!(handover.take(&world.keyring, &vote(&world, member)), None);
    }
    assert!(!handover.is_signed_by(OWN));
    assert_eq!(handover.take(&world.keyring, &own), None, "two are no quorum");
    assert!(handover.is_signed_by(OWN), "it came back");
    let signed = handover.take(&world.keyring, &vote(&world, 3)).expect("three are");
    assert_eq!(signed.signatures.len(), 3);
    assert!(check_successor(&world.plan.plan, &signed, world.keyring.scheme()).is_ok());
}
