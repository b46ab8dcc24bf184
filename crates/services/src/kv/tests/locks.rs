use ravelin_model::limits::LOCK_WAITING_MAX;

use super::*;

/// Whether a write of the key called like the lock is let through under `token`.
fn is_fenced_in(world: &mut World, name: &[u8], token: Token) -> bool {
    let request = write(name, Some(b"v"), Condition::LockedWith(token));
    matches!(world.ask(9, request), KvReply::Written { .. })
}

#[test]
fn a_lock_has_one_holder_and_passes_on_first_come_first_served() {
    let mut world = World::new();
    let [a, b, c] = [1, 2, 3].map(|asker| world.grant(asker, 60_000));
    let first = world.take(1, b"m", a);
    assert_eq!(world.ask(2, lock(b"m", b)), KvReply::Queued { ahead: 1 });
    assert_eq!(world.ask(3, lock(b"m", c)), KvReply::Queued { ahead: 2 });
    assert_eq!(world.holder(b"m"), Some((a, first)));
    assert_eq!(world.ask(1, unlock(b"m", a)), KvReply::Unlocked);
    let (holder, second) = world.holder(b"m").expect("passed on");
    assert_eq!(holder, b);
    assert!(second > first);
    assert_eq!(world.ask(3, lock(b"m", c)), KvReply::Queued { ahead: 1 });
    assert_eq!(world.ask(2, unlock(b"m", b)), KvReply::Unlocked);
    let third = world.take(3, b"m", c);
    assert!(third > second);
    assert_eq!(world.ask(3, unlock(b"m", c)), KvReply::Unlocked);
    assert_eq!(world.holder(b"m"), None);
    world.fsck();
}

#[test]
fn asking_again_changes_nothing() {
    let mut world = World::new();
    let (a, b) = (world.grant(1, 60_000), world.grant(2, 60_000));
    let token = world.take(1, b"m", a);
    world.ask(2, lock(b"m", b));
    let before = world.store.clone();
    assert_eq!(world.take(1, b"m", a), token);
    assert_eq!(world.ask(2, lock(b"m", b)), KvReply::Queued { ahead: 1 });
    assert_eq!(world.store, before);
}

#[test]
fn tokens_grow_within_one_envelope_too() {
    let mut world = World::new();
    let lease = world.grant(1, 60_000);
    let requests =
        vec![lock(b"m", lease), unlock(b"m", lease), lock(b"m", lease), lock(b"n", lease)];
    let tokens: Vec<_> = world
        .ask_all(1, requests)
        .into_iter()
        .filter_map(|reply| match reply {
            KvReply::Locked { token } => Some(token),
            _ => None,
        })
        .collect();
    assert_eq!(tokens.len(), 3);
    assert!(tokens.is_sorted_by(|one, other| one < other), "{tokens:?}");
}

#[test]
fn a_lock_passes_to_the_next_living_waiter_when_its_holder_ends() {
    let mut world = World::new();
    let a = world.grant(1, 1_000);
    let b = world.grant(2, 1_000);
    let c = world.grant(3, 60_000);
    let first = world.take(1, b"m", a);
    world.ask(2, lock(b"m", b));
    world.ask(3, lock(b"m", c));
    world.wait_ms(1_000);
    assert_eq!(world.query(show_lock(b"m")), None, "it must be passed on first");
    assert!(!is_fenced_in(&mut world, b"m", first), "an ended holder's token is worth nothing");
    let (holder, second) = world.holder(b"m").expect("passed on by the read");
    assert_eq!(holder, c);
    assert!(second > first);
    assert!(is_fenced_in(&mut world, b"m", second));
    world.fsck();
    assert_eq!(world.sweep(), 2, "two leases, nothing hangs on them any more");
    assert_eq!(world.holder(b"m"), Some((c, second)));
    world.fsck();
}

#[test]
fn a_sweep_passes_locks_on_and_tells_watchers() {
    let mut world = World::new();
    let (a, b) = (world.grant(1, 1_000), world.grant(2, 60_000));
    let first = world.take(1, b"m", a);
    world.ask(2, lock(b"m", b));
    world.take(1, b"alone", a);
    world.wait_ms(1_000);
    world.feed.clear();
    assert_eq!(world.sweep(), 3, "{:?}", world.feed);
    assert_eq!(world.feed[0].key, b"malone");
    assert_eq!(world.feed[0].value, None);
    assert!(world.feed[1].key == b"mm" && world.feed[1].value.is_some());
    world.fsck();
    let reply = world.query(show_lock(b"m"));
    let Some(KvReply::Lock { holder: Some((holder, token)), waiting: 0, .. }) = reply else {
        panic!("{reply:?}")
    };
    assert!(holder == b && token > first);
}

#[test]
fn a_revoked_holder_loses_the_lock_at_once() {
    let mut world = World::new();
    let a = world.grant(1, 60_000);
    let token = world.take(1, b"m", a);
    assert!(is_fenced_in(&mut world, b"m", token));
    world.ask(1, KvRequest::LeaseRevoke { lease: a });
    assert!(!is_fenced_in(&mut world, b"m", token));
    assert_eq!(world.holder(b"m"), None);
    world.fsck();
}

#[test]
fn a_stale_token_fences_a_late_write_out() {
    let mut world = World::new();
    let (a, b) = (world.grant(1, 60_000), world.grant(2, 60_000));
    let old = world.take(1, b"m", a);
    world.ask(2, lock(b"m", b));
    world.ask(1, unlock(b"m", a));
    let (_, new) = world.holder(b"m").expect("passed on");
    let fenced = |token| KvRequest::Transaction {
        conditions: vec![(b"m".to_vec(), Condition::LockedWith(token))],
        then: vec![Step::Put { key: b"data".to_vec(), value: b"v".to_vec(), lease: None }],
        otherwise: vec![],
    };
    assert!(matches!(world.ask(1, fenced(old)), KvReply::Transaction { held: false, .. }));
    assert_eq!(world.value(b"data"), None);
    assert!(matches!(world.ask(2, fenced(new)), KvReply::Transaction { held: true, .. }));
    assert_eq!(world.value(b"data"), Some(b"v".to_vec()));
    assert!(!is_fenced_in(&mut world, b"other", new), "a token is good for its lock only");
}

#[test]
fn who_waits_may_leave_and_who_does_not_is_told() {
    let mut world = World::new();
    let (a, b) = (world.grant(1, 60_000), world.grant(2, 60_000));
    let token = world.take(1, b"m", a);
    assert_eq!(world.ask(2, unlock(b"m", b)), KvReply::NotHolder);
    world.ask(2, lock(b"m", b));
    let revision = |world: &World| match world.query(show_lock(b"m")) {
        Some(KvReply::Lock { revision, .. }) => revision,
        other => panic!("{other:?}"),
    };
    let before = revision(&world);
    assert_eq!(world.ask(2, unlock(b"m", b)), KvReply::Unlocked);
    assert!(revision(&world) > before, "every change shows");
    assert_eq!(world.holder(b"m"), Some((a, token)), "the holder did not change");
    assert_eq!(world.ask(2, unlock(b"other", b)), KvReply::NotHolder);
    world.fsck();
}

#[test]
fn a_full_queue_is_refused_until_someone_leaves() {
    let mut world = World::new();
    let leases: Vec<_> = (0..LOCK_WAITING_MAX + 2).map(|_| world.grant(1, 60_000)).collect();
    let (last, first) = leases.split_last().expect("many");
    for lease in first {
        let reply = world.ask(1, lock(b"m", *lease));
        assert!(matches!(reply, KvReply::Locked { .. } | KvReply::Queued { .. }), "{reply:?}");
    }
    let before = world.store.clone();
    assert_eq!(world.ask(1, lock(b"m", *last)), KvReply::QueueFull);
    assert_eq!(world.store, before);
    // One in the middle ends: its place is free at once, without a sweep.
    world.ask(1, KvRequest::LeaseRevoke { lease: leases[100] });
    let ahead = u32::try_from(LOCK_WAITING_MAX).expect("small");
    assert_eq!(world.ask(1, lock(b"m", *last)), KvReply::Queued { ahead });
    world.fsck();
}

#[test]
fn a_lock_waited_for_counts_among_what_hangs_on_the_lease() {
    let mut world = World::new();
    let (a, b) = (world.grant(1, 60_000), world.grant(2, 60_000));
    world.take(1, b"m", a);
    world.ask(2, lock(b"m", b));
    world.fsck();
    world.ask(2, KvRequest::LeaseRevoke { lease: b });
    world.sweep();
    world.fsck();
    let reply = world.query(show_lock(b"m"));
    assert!(matches!(reply, Some(KvReply::Lock { holder: Some(_), waiting: 0, .. })), "{reply:?}");
}

#[test]
fn a_lock_that_was_held_in_between_shows_another_revision() {
    let mut world = World::new();
    let a = world.grant(1, 60_000);
    let free = world.query(show_lock(b"m"));
    world.take(1, b"m", a);
    let held = world.query(show_lock(b"m"));
    world.ask(1, unlock(b"m", a));
    let free_again = world.query(show_lock(b"m"));
    assert_ne!(free, free_again);
    world.take(1, b"m", a);
    assert_ne!(world.query(show_lock(b"m")), held);
}
