use ravelin_model::limits::{
    CACHED_REPLY_BYTES_MAX, KV_VALUE_BYTES_MAX, LEASE_ATTACHED_MAX, TRANSACTION_CONDITIONS_MAX,
    TRANSACTION_STEPS_MAX,
};
use ravelin_model::requests::kv::StepResult;

use super::*;

fn set(key: &[u8], value: &[u8]) -> Step {
    Step::Put { key: key.to_vec(), value: value.to_vec(), lease: None }
}

fn set_under(lease: LeaseId, key: &[u8]) -> Step {
    Step::Put { key: key.to_vec(), value: b"v".to_vec(), lease: Some(lease) }
}

fn read(key: &[u8]) -> Step {
    Step::Get(key.to_vec())
}

fn remove(key: &[u8]) -> Step {
    Step::Delete(key.to_vec())
}

fn when(conditions: Vec<(&[u8], Condition)>, then: Vec<Step>, otherwise: Vec<Step>) -> KvRequest {
    let conditions =
        conditions.into_iter().map(|(key, condition)| (key.to_vec(), condition)).collect();
    KvRequest::Transaction { conditions, then, otherwise }
}

fn results(reply: KvReply) -> (bool, Vec<StepResult>) {
    match reply {
        KvReply::Transaction { held, results } => (held, results),
        other => panic!("refused: {other:?}"),
    }
}

#[test]
fn all_conditions_must_hold_for_the_first_branch() {
    let mut world = World::new();
    world.ask(1, put(b"a", b"1"));
    let both = || vec![(&b"a"[..], Condition::Present), (&b"b"[..], Condition::Present)];
    let (held, _) = results(world.ask(1, when(both(), vec![set(b"c", b"then")], vec![])));
    assert!(!held);
    assert_eq!(world.value(b"c"), None);
    world.ask(1, when(both(), vec![], vec![set(b"b", b"otherwise")]));
    assert_eq!(world.value(b"b"), Some(b"otherwise".to_vec()));
    let (held, _) = results(world.ask(1, when(both(), vec![set(b"c", b"then")], vec![])));
    assert!(held);
    assert_eq!(world.value(b"c"), Some(b"then".to_vec()));
}

#[test]
fn steps_see_earlier_steps_and_others_see_only_the_end() {
    let mut world = World::new();
    world.ask(1, put(b"a", b"old"));
    world.feed.clear();
    let steps = vec![
        read(b"a"),
        set(b"a", b"new"),
        read(b"a"),
        remove(b"a"),
        read(b"a"),
        remove(b"a"),
        set(b"a", b"newest"),
        set(b"b", b"brief"),
        remove(b"b"),
    ];
    let (_, results) = results(world.ask(1, when(vec![], steps, vec![])));
    let values: Vec<_> = results
        .iter()
        .map(|result| match result {
            StepResult::Entry(entry) => entry.as_ref().map(|entry| entry.value.clone()),
            StepResult::Done { existed } => Some(vec![u8::from(*existed)]),
        })
        .collect();
    let yes = || Some(vec![1]);
    let no = || Some(vec![0]);
    let (old, new) = (Some(b"old".to_vec()), Some(b"new".to_vec()));
    assert_eq!(values, [old, yes(), new, yes(), None, no(), no(), no(), yes()]);
    let entry = world.entry(b"a").expect("set last");
    assert_eq!((entry.value, entry.created, entry.version), (b"newest".to_vec(), Position(2), 1));
    assert_eq!(world.feed.len(), 1, "`b` never was, `a` changed once: {:?}", world.feed);
    assert_eq!(world.ask(1, get(b"b")), KvReply::Absent { removed: Position(0) });
}

#[test]
fn two_puts_of_a_key_count_as_two_changes_of_one_position() {
    let mut world = World::new();
    world.ask(1, when(vec![], vec![set(b"a", b"1"), set(b"a", b"2")], vec![]));
    let entry = world.entry(b"a").expect("set");
    assert_eq!((entry.created, entry.changed, entry.version), (Position(1), Position(1), 2));
}

#[test]
fn conditions_are_judged_on_what_was_there_before() {
    let mut world = World::new();
    let request = when(vec![(b"a", Condition::Absent)], vec![set(b"a", b"1"), read(b"a")], vec![]);
    assert!(results(world.ask(1, request.clone())).0);
    assert!(!results(world.ask(1, request)).0);
}

#[test]
fn a_transaction_that_reads_too_much_changes_nothing() {
    let mut world = World::new();
    let half = vec![7; CACHED_REPLY_BYTES_MAX / 2];
    world.ask(1, put(b"a", &half));
    let before = world.store.clone();
    let steps = vec![set(b"b", b"1"), read(b"a"), read(b"a")];
    assert_eq!(world.ask(1, when(vec![], steps, vec![])), KvReply::TooLarge);
    assert_eq!(world.store, before);
    assert!(results(world.ask(1, when(vec![], vec![read(b"a")], vec![]))).0);
    // Keys, positions and tags count too: 64 reads of 1,000 bytes are below the limit alone.
    world.ask(1, put(&[b'k'; 200], &[7; 1_000]));
    let steps = vec![read(&[b'k'; 200]); 64];
    assert_eq!(world.ask(1, when(vec![], steps, vec![])), KvReply::TooLarge);
}

#[test]
fn a_transaction_that_looks_at_too_much_changes_nothing() {
    let mut world = World::new();
    let keys: Vec<_> = (0..9u8).map(|number| [b'k', number]).collect();
    for key in &keys {
        world.ask(1, put(key, &vec![7; KV_VALUE_BYTES_MAX]));
    }
    let before = world.store.clone();
    let all = || keys.iter().map(|key| (&key[..], Condition::Present)).collect::<Vec<_>>();
    assert_eq!(world.ask(1, when(all(), vec![set(b"a", b"1")], vec![])), KvReply::TooLarge);
    let removals: Vec<_> = keys.iter().map(|key| remove(key)).collect();
    assert_eq!(world.ask(1, when(vec![], removals.clone(), vec![])), KvReply::TooLarge);
    assert_eq!(world.store, before);
    assert!(results(world.ask(1, when(all()[..8].to_vec(), removals[..8].to_vec(), vec![]))).0);
}

#[test]
fn a_conflict_with_a_large_value_leaves_it_out_and_says_so() {
    let mut world = World::new();
    world.ask(1, put(b"k", &vec![7; CACHED_REPLY_BYTES_MAX]));
    let reply = world.ask(1, write(b"k", None, Condition::Absent));
    let KvReply::Conflict { found: Some(entry), value_left_out: true } = reply else {
        panic!("{reply:?}")
    };
    assert!(entry.value.is_empty());
    world.ask(1, put(b"k", &vec![7; CACHED_REPLY_BYTES_MAX - 2_000]));
    let reply = world.ask(1, write(b"k", None, Condition::Absent));
    assert!(matches!(reply, KvReply::Conflict { found: Some(_), value_left_out: false }));
}

#[test]
fn too_many_conditions_or_steps_or_a_bad_key_in_either_branch_are_refused() {
    let mut world = World::new();
    let many = |count: usize| vec![set(b"a", b"1"); count];
    let conditions = |count: usize| vec![(&b"a"[..], Condition::Always); count];
    for request in [
        when(conditions(TRANSACTION_CONDITIONS_MAX + 1), vec![], vec![]),
        when(vec![], many(TRANSACTION_STEPS_MAX + 1), vec![]),
        when(vec![], vec![], many(TRANSACTION_STEPS_MAX + 1)),
        when(vec![(b"", Condition::Always)], vec![], vec![]),
        when(vec![], vec![], vec![read(b"")]),
        when(vec![], vec![remove(b"")], vec![]),
        when(vec![], vec![], vec![set(b"", b"1")]),
    ] {
        assert_eq!(world.ask(1, request), KvReply::Invalid);
    }
    assert!(world.store.0.is_empty());
    let largest = when(
        conditions(TRANSACTION_CONDITIONS_MAX),
        many(TRANSACTION_STEPS_MAX),
        many(TRANSACTION_STEPS_MAX),
    );
    assert!(results(world.ask(1, largest)).0);
}

#[test]
fn a_lease_that_is_gone_or_anothers_undoes_the_whole_transaction() {
    let mut world = World::new();
    let lease = world.grant(1, 5_000);
    let request = when(vec![], vec![set(b"a", b"1"), set_under(lease, b"b")], vec![]);
    let before = world.store.clone();
    assert_eq!(world.ask(2, request.clone()), KvReply::NoLease);
    assert_eq!(world.store, before);
    world.wait_ms(5_000);
    assert_eq!(world.ask(1, request), KvReply::NoLease);
    assert_eq!(world.store, before);
}

#[test]
fn a_full_lease_undoes_the_whole_transaction() {
    let mut world = World::new();
    let lease = world.grant(1, 5_000);
    for number in 0..LEASE_ATTACHED_MAX - 1 {
        world.ask(1, put_under(lease, &number.to_be_bytes(), b"v"));
    }
    let before = world.store.clone();
    let two = vec![set(b"free", b"1"), set_under(lease, b"a"), set_under(lease, b"b")];
    assert_eq!(world.ask(1, when(vec![], two, vec![])), KvReply::LeaseFull);
    assert_eq!(world.store, before);
    // One goes as another comes, in whatever order.
    let swap = vec![
        set_under(lease, b"a"),
        set_under(lease, b"b"),
        remove(&0u32.to_be_bytes()),
        set_under(lease, b"a"),
    ];
    assert!(results(world.ask(1, when(vec![], swap, vec![]))).0);
    assert_eq!(world.ask(1, put_under(lease, b"c", b"v")), KvReply::LeaseFull);
    assert_eq!(world.ask(1, lock(b"m", lease)), KvReply::LeaseFull);
    assert_eq!(world.ask(1, put_under(lease, b"a", b"v")), written(world.position.0, true));
    world.fsck();
}
