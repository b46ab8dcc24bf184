use ravelin_model::Time;
use ravelin_model::limits::SWEEP_MAX;

use super::*;

fn renew(lease: LeaseId) -> KvRequest {
    KvRequest::LeaseRenew { lease }
}

fn revoke(lease: LeaseId) -> KvRequest {
    KvRequest::LeaseRevoke { lease }
}

fn show(lease: LeaseId) -> KvRequest {
    KvRequest::LeaseShow { lease }
}

#[test]
fn leases_of_one_envelope_have_different_ids() {
    let mut world = World::new();
    let grants = vec![KvRequest::LeaseGrant { ttl_ms: 1_000 }; 3];
    let mut ids = Vec::new();
    for reply in world.ask_all(1, grants) {
        let KvReply::Lease { lease, ttl_ms: 1_000, expires: Time(2_000_000) } = reply else {
            panic!("{reply:?}")
        };
        ids.push(lease);
    }
    assert_eq!(ids, [LeaseId(1), LeaseId(2), LeaseId(3)]);
}

#[test]
fn a_key_goes_at_the_instant_at_which_its_lease_ends() {
    let mut world = World::new();
    let lease = world.grant(1, 5_000);
    world.ask(1, put_under(lease, b"k", b"v"));
    world.wait_ms(4_999);
    assert!(world.entry(b"k").is_some_and(|entry| entry.lease == Some(lease)));
    world.wait_ms(1);
    assert_eq!(world.value(b"k"), None, "read in order");
    assert_eq!(world.query(get(b"k")), Some(KvReply::Absent { removed: Position(2) }));
    let listed = world.query(list(b"", b"", 10));
    let (entries, removed) = (vec![], Position(2));
    assert_eq!(listed, Some(KvReply::Entries { entries, next: None, removed }));
    assert_eq!(world.ask(1, show(lease)), KvReply::NoLease);
    assert_eq!(
        world.ask(1, write(b"k", None, Condition::Present)),
        KvReply::Conflict { found: None, value_left_out: false }
    );
    let before = world.query(get(b"k"));
    assert_eq!(world.sweep(), 2, "the key and the lease");
    assert_eq!(world.query(get(b"k")), before, "the sweep is seen in no read");
    world.fsck();
}

#[test]
fn a_key_set_anew_over_an_ended_lease_stays() {
    let mut world = World::new();
    let lease = world.grant(1, 1_000);
    world.ask(1, put_under(lease, b"k", b"old"));
    world.wait_ms(1_000);
    assert_eq!(world.ask(2, put(b"k", b"new")), written(3, false));
    world.fsck();
    assert_eq!(world.sweep(), 1, "the lease alone");
    let entry = world.entry(b"k").expect("it hangs on nothing");
    assert_eq!((entry.created, entry.version, entry.lease), (Position(3), 1, None));
}

#[test]
fn a_key_hangs_on_the_lease_of_its_last_change_only() {
    let mut world = World::new();
    let (first, second) = (world.grant(1, 1_000), world.grant(2, 2_000));
    world.ask(1, put_under(first, b"moved", b"v"));
    world.ask(2, put_under(second, b"moved", b"v"));
    world.ask(1, put_under(first, b"freed", b"v"));
    world.ask(2, put(b"freed", b"v"));
    world.fsck();
    world.wait_ms(1_000);
    world.sweep();
    assert!(world.value(b"moved").is_some() && world.value(b"freed").is_some());
    world.wait_ms(1_000);
    world.sweep();
    assert!(world.value(b"moved").is_none() && world.value(b"freed").is_some());
    world.fsck();
}

#[test]
fn a_renewed_lease_lasts_from_the_renewal() {
    let mut world = World::new();
    let lease = world.grant(1, 2_000);
    world.ask(1, put_under(lease, b"k", b"v"));
    world.wait_ms(1_999);
    let renewed = KvReply::Lease { lease, ttl_ms: 2_000, expires: Time(4_999_000) };
    assert_eq!(world.ask(1, renew(lease)), renewed);
    assert_eq!(world.query(show(lease)), Some(renewed));
    world.wait_ms(1_999);
    assert_eq!(world.sweep(), 0);
    assert!(world.value(b"k").is_some());
    world.wait_ms(1);
    assert_eq!(world.ask(1, renew(lease)), KvReply::NoLease, "too late");
    assert_eq!(world.sweep(), 2);
    world.fsck();
}

#[test]
fn a_revoked_lease_is_gone_at_once() {
    let mut world = World::new();
    let lease = world.grant(1, 60_000);
    world.ask(1, put_under(lease, b"k", b"v"));
    assert_eq!(world.ask(1, revoke(lease)), KvReply::LeaseEnded);
    assert_eq!(world.value(b"k"), None);
    assert_eq!(world.ask(1, revoke(lease)), KvReply::NoLease);
    assert_eq!(world.ask(1, renew(lease)), KvReply::NoLease);
    world.sweep();
    world.fsck();
    assert_eq!(world.store.0.len(), 2, "the last number and the last removal remain");
}

#[test]
fn only_the_client_that_holds_a_lease_may_use_it() {
    let mut world = World::new();
    let lease = world.grant(1, 60_000);
    let before = world.store.clone();
    for request in [
        renew(lease),
        revoke(lease),
        lock(b"m", lease),
        unlock(b"m", lease),
        put_under(lease, b"k", b"v"),
    ] {
        assert_eq!(world.ask(2, request.clone()), KvReply::NoLease, "{request:?}");
    }
    assert_eq!(world.store, before);
    assert!(matches!(world.ask(2, show(lease)), KvReply::Lease { .. }));
}

#[test]
fn times_outside_the_limits_are_refused() {
    let mut world = World::new();
    for ttl_ms in [0, 999, 86_400_001, u64::MAX] {
        assert_eq!(world.ask(1, KvRequest::LeaseGrant { ttl_ms }), KvReply::Invalid);
    }
    world.grant(1, 1_000);
    world.grant(1, 86_400_000);
}

#[test]
fn at_the_end_of_time_nothing_overflows() {
    let mut world = World::new();
    world.now = Time(u64::MAX - 1);
    let lease = world.grant(1, 1_000);
    assert!(matches!(world.ask(1, show(lease)), KvReply::Lease { .. }));
    world.now = Time(u64::MAX);
    assert_eq!(world.ask(1, show(lease)), KvReply::NoLease);
    assert_eq!(world.sweep(), 1);
}

#[test]
fn a_sweep_is_bounded_and_takes_what_ended_first() {
    let mut world = World::new();
    let (late, early) = (world.grant(1, 3_000), world.grant(1, 2_000));
    for number in 0..1_000u32 {
        world.ask(1, put_under(early, &[&b"early"[..], &number.to_be_bytes()].concat(), b"v"));
        world.ask(1, put_under(late, &[&b"late"[..], &number.to_be_bytes()].concat(), b"v"));
    }
    world.wait_ms(3_000);
    let count = |world: &World, prefix: &[u8]| {
        let prefix = [b"e", prefix].concat();
        world.store.0.keys().filter(|key| key.starts_with(&prefix)).count()
    };
    assert_eq!(world.sweep(), SWEEP_MAX);
    world.fsck();
    assert_eq!((count(&world, b"early"), count(&world, b"late")), (0, 977));
    assert_eq!(world.sweep(), 2_002 - SWEEP_MAX);
    assert_eq!(world.sweep(), 0);
    world.fsck();
    assert_eq!((count(&world, b"early"), count(&world, b"late")), (0, 0));
}

/// All replicas must clear it away after the same commit, whatever each of them asks its store.
#[test]
fn a_lease_is_cleared_away_by_the_first_sweep_after_its_end() {
    for end in [1_999_999, 2_000_000, 2_000_001, 2_500_000, u64::MAX] {
        let mut world = World::new();
        world.now.0 = end - 1_000_000;
        world.grant(1, 1_000);
        world.now.0 = end - 1;
        assert_eq!(world.sweep(), 0, "before {end}");
        world.now.0 = end;
        assert_eq!(world.sweep(), 1, "at {end}");
    }
}

#[test]
fn pages_leave_out_what_hangs_on_ended_leases_and_still_go_on() {
    let mut world = World::new();
    let lease = world.grant(1, 1_000);
    for key in [b"a", b"b", b"c"] {
        world.ask(1, put_under(lease, key, b"v"));
    }
    world.ask(1, put(b"d", b"v"));
    world.wait_ms(1_000);
    let page = |entries, next: Option<&[u8]>, removed| KvReply::Entries {
        entries,
        next: next.map(<[u8]>::to_vec),
        removed: Position(removed),
    };
    assert_eq!(world.ask(1, list(b"", b"", 2)), page(vec![], Some(b"b"), 3));
    let last = world.entry(b"d").expect("put");
    assert_eq!(world.ask(1, list(b"", b"b", 2)), page(vec![last], None, 4));
}

#[test]
fn a_lease_not_granted_here_yet_is_not_answered_without_ordering() {
    let mut world = World::new();
    assert_eq!(world.query(show(LeaseId(1))), None, "another replica may be ahead");
    assert_eq!(world.ask(1, show(LeaseId(1))), KvReply::NoLease);
    let lease = world.grant(1, 1_000);
    world.wait_ms(1_000);
    assert_eq!(world.query(show(lease)), Some(KvReply::NoLease), "ended for good");
}
