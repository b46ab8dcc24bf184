use ravelin_model::limits::{
    KV_KEY_BYTES_MAX, KV_VALUE_BYTES_MAX, LIST_ENTRIES_MAX, REPLY_BYTES_MAX,
};
use ravelin_model::{Change, Encode as _, requests::kv::entry_key};

use super::*;

#[test]
fn what_was_put_is_read_with_its_history() {
    let mut world = World::new();
    assert_eq!(world.ask(1, put(b"k", b"one")), written(1, false));
    assert_eq!(world.ask(2, put(b"k", b"two")), written(2, true));
    let expected = Entry {
        key: b"k".to_vec(),
        value: b"two".to_vec(),
        created: Position(1),
        changed: Position(2),
        version: 2,
        lease: None,
    };
    assert_eq!(world.ask(1, get(b"k")), KvReply::Entry(expected.clone()));
    assert_eq!(world.query(get(b"k")), Some(KvReply::Entry(expected)));
}

#[test]
fn a_removed_key_is_absent_and_begins_anew() {
    let mut world = World::new();
    world.ask(1, put(b"k", b"one"));
    assert_eq!(world.ask(1, delete(b"k")), written(2, true));
    assert_eq!(world.ask(1, get(b"k")), KvReply::Absent { removed: Position(2) });
    assert_eq!(world.ask(1, delete(b"k")), written(4, false));
    assert_eq!(world.ask(1, get(b"k")), KvReply::Absent { removed: Position(2) });
    world.ask(1, put(b"k", b"again"));
    let entry = world.entry(b"k").expect("put");
    assert_eq!((entry.created, entry.version), (Position(6), 1));
}

#[test]
fn each_condition_holds_when_it_says_and_else_shows_what_is_there() {
    let holds = |world: &mut World, condition: Condition| {
        let before = world.store.clone();
        let reply = world.ask(1, write(b"k", Some(b"new"), condition));
        match reply {
            KvReply::Written { .. } => {
                world.store = before;
                true
            }
            KvReply::Conflict { found, value_left_out: false } => {
                assert_eq!(world.store, before, "a refused write changed something");
                assert_eq!(found, world.entry(b"k"));
                false
            }
            other => panic!("{other:?}"),
        }
    };
    let mut world = World::new();
    assert!(holds(&mut world, Condition::Always));
    assert!(holds(&mut world, Condition::Absent));
    assert!(!holds(&mut world, Condition::Present));
    assert!(!holds(&mut world, Condition::ValueIs(b"".to_vec())));
    assert!(!holds(&mut world, Condition::ChangedAt(Position(0))));
    assert!(!holds(&mut world, Condition::LockedWith(Token(1))));
    world.ask(1, put(b"k", b"old"));
    let changed = world.position;
    assert!(holds(&mut world, Condition::Always));
    assert!(!holds(&mut world, Condition::Absent));
    assert!(holds(&mut world, Condition::Present));
    assert!(holds(&mut world, Condition::ValueIs(b"old".to_vec())));
    assert!(!holds(&mut world, Condition::ValueIs(b"older".to_vec())));
    assert!(holds(&mut world, Condition::ChangedAt(changed)));
    assert!(!holds(&mut world, Condition::ChangedAt(Position(changed.0 - 1))));
}

#[test]
fn keys_and_values_outside_the_limits_are_refused() {
    let mut world = World::new();
    let long_key = vec![1; KV_KEY_BYTES_MAX + 1];
    let large_value = vec![1; KV_VALUE_BYTES_MAX + 1];
    let with_lease = Write {
        key: b"k".to_vec(),
        value: None,
        condition: Condition::Always,
        lease: Some(LeaseId(1)),
    };
    for request in [
        get(b""),
        get(&long_key),
        put(b"", b"v"),
        put(&long_key, b"v"),
        put(b"k", &large_value),
        delete(b""),
        KvRequest::Write(with_lease),
        list(&long_key, b"", 1),
        list(b"", &long_key, 1),
        list(b"", b"", 0),
        list(b"", b"", LIST_ENTRIES_MAX + 1),
        lock(b"", LeaseId(1)),
        unlock(&long_key, LeaseId(1)),
        show_lock(b""),
    ] {
        assert_eq!(world.ask(1, request.clone()), KvReply::Invalid, "{request:?}");
    }
    assert!(world.store.0.is_empty() && world.feed.is_empty());
    let key = vec![1; KV_KEY_BYTES_MAX];
    let value = vec![2; KV_VALUE_BYTES_MAX];
    assert!(matches!(world.ask(1, put(&key, &value)), KvReply::Written { .. }));
    assert_eq!(world.value(&key), Some(value));
}

#[test]
fn pages_follow_each_other_without_gap_or_overlap() {
    let mut world = World::new();
    for key in [&b"a"[..], b"ab", b"ab\0", b"ab\xff", b"ab\xff\xff", b"abc", b"ac", b"\xff\xff"] {
        world.ask(1, put(key, b"v"));
    }
    let expected: Vec<&[u8]> = vec![b"ab", b"ab\0", b"abc", b"ab\xff", b"ab\xff\xff"];
    for limit in 1..=6 {
        let (mut found, mut after, mut pages) = (Vec::new(), Vec::new(), 0);
        loop {
            pages += 1;
            let reply = world.ask(1, list(b"ab", &after, limit));
            assert_eq!(world.query(list(b"ab", &after, limit)).as_ref(), Some(&reply));
            let KvReply::Entries { entries, next, .. } = reply else { panic!("{reply:?}") };
            assert!(entries.len() <= usize::from(limit));
            found.extend(entries.into_iter().map(|entry| entry.key));
            let Some(next) = next else { break };
            after = next;
        }
        assert_eq!(found, expected, "by {limit}");
        assert_eq!(pages, 5usize.div_ceil(usize::from(limit)));
    }
}

#[test]
fn a_start_outside_the_prefix_is_no_mistake() {
    let mut world = World::new();
    world.ask(1, put(b"b", b"v"));
    let keys = |world: &mut World, prefix: &[u8], after: &[u8]| match world
        .ask(1, list(prefix, after, 10))
    {
        KvReply::Entries { entries, next: None, .. } => entries.len(),
        other => panic!("{other:?}"),
    };
    assert_eq!(keys(&mut world, b"b", b"a"), 1);
    assert_eq!(keys(&mut world, b"b", b"b"), 0);
    assert_eq!(keys(&mut world, b"b", b"z"), 0);
    assert_eq!(keys(&mut world, b"", b""), 1);
    assert_eq!(keys(&mut world, b"\xff", b"\xff\xff"), 0);
}

#[test]
fn a_page_is_bounded_in_bytes_with_values_and_without() {
    let mut world = World::new();
    for number in 0..20u8 {
        world.ask(1, put(&[1, number], &vec![number; KV_VALUE_BYTES_MAX]));
    }
    let reply = world.ask(1, list(&[1], b"", 100));
    assert!(reply.encode().len() <= REPLY_BYTES_MAX);
    let KvReply::Entries { entries, next, .. } = reply else { panic!("no page") };
    assert_eq!((entries.len(), next), (1, Some(vec![1, 0])));
    let (prefix, after) = (vec![1], vec![]);
    let reply = world.ask(1, KvRequest::List { prefix, after, limit: 100, keys_only: true });
    let KvReply::Entries { entries, next, .. } = reply else { panic!("no page") };
    assert_eq!(entries.len(), 7, "4 MiB looked at");
    assert!(entries.iter().all(|entry| entry.value.is_empty()));
    assert_eq!(next, Some(vec![1, 6]));
}

#[test]
fn a_full_page_of_the_longest_keys_fits_a_reply() {
    let mut world = World::new();
    for number in 0..1024u32 {
        let mut key = vec![b'k'; KV_KEY_BYTES_MAX - 4];
        key.extend(number.to_be_bytes());
        world.ask(1, put(&key, &[7; 40]));
    }
    let reply = world.ask(1, list(b"k", b"", LIST_ENTRIES_MAX));
    let KvReply::Entries { entries, next, .. } = reply else { panic!("no page") };
    assert!(entries.len() > 900 && next.is_some(), "{} entries", entries.len());
}

#[test]
fn the_feed_shows_each_change_and_nothing_else() {
    let mut world = World::new();
    world.ask(1, put(b"k", b"one"));
    world.ask(1, write(b"k", Some(b"two"), Condition::Absent));
    world.ask(1, get(b"k"));
    world.ask(1, delete(b"k"));
    world.ask(1, delete(b"k"));
    let key = entry_key(b"k");
    let [first, second] = &world.feed[..] else { panic!("{:?}", world.feed) };
    assert_eq!((&first.key, &first.value.is_some()), (&key, &true));
    assert_eq!(second, &Change { key, value: None });
}

#[test]
fn whatever_may_change_state_must_be_ordered() {
    let mut world = World::new();
    let lease = world.grant(1, 5_000);
    for request in [
        put(b"k", b"v"),
        delete(b"k"),
        KvRequest::Transaction { conditions: vec![], then: vec![], otherwise: vec![] },
        KvRequest::LeaseGrant { ttl_ms: 5_000 },
        KvRequest::LeaseRenew { lease },
        KvRequest::LeaseRevoke { lease },
        lock(b"m", lease),
        unlock(b"m", lease),
    ] {
        assert_eq!(world.query(request.clone()), None, "{request:?}");
    }
    assert_eq!(world.query(get(b"")), Some(KvReply::Invalid));
    assert_eq!(world.query(show_lock(b"")), Some(KvReply::Invalid));
}
