//! Golden bytes: a change here is a change of format, and needs a new version of it.

use std::fmt::Write as _;

use ravelin_model::requests::kv::{StepResult, StoredEntry, StoredLease, StoredLock};
use ravelin_model::{Decode as _, Encode as _, PublicKey, Service as _, Time};

use super::super::{Kv, layout};
use super::*;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("memory");
        text
    })
}

#[test]
fn keys_of_the_store_have_these_bytes() {
    use ravelin_model::requests::kv::{entry_key, lease_key, lock_key};
    let lease = LeaseId(0x0102);
    assert_eq!(hex(&entry_key(b"k")), "656b");
    assert_eq!(hex(&lock_key(b"k")), "6d6b");
    assert_eq!(hex(&lease_key(lease)), "6c0000000000000102");
    assert_eq!(hex(&layout::attached_key(lease, b"ek")), "610000000000000102656b");
    let expiry = layout::expiry_key(Time(0x0304), lease);
    assert_eq!(hex(&expiry), "7800000000000003040000000000000102");
    assert_eq!(layout::expiry_parts(&expiry), (Time(0x0304), lease));
    assert_eq!(layout::attached_thing(&layout::attached_key(lease, b"ek")), b"ek");
}

#[test]
fn a_store_holds_these_bytes() {
    let mut world = World::new();
    let lease = world.grant(1, 1_000);
    world.ask(1, put_under(lease, b"k", b"v"));
    world.ask(1, lock(b"m", lease));
    world.ask(1, put(b"x", b""));
    world.ask(1, delete(b"x"));
    let held: Vec<_> = world.store.0.iter().map(|(key, value)| (hex(key), hex(value))).collect();
    let owner = "01".repeat(32);
    let expected = [
        ("610000000000000001656b".into(), "0200000000000000".into()),
        ("6100000000000000016d6d".into(), "0300000000000000".into()),
        (
            "656b".into(),
            "02000000000000000200000000000000010000000000000001010000000000000001000000".to_owned()
                + "76",
        ),
        ("6c0000000000000001".into(), format!("{owner}e80300000000000080841e000000000002000000")),
        ("6d6d".into(), "01000000000000000200000000000000000000000200000000000000".into()),
        ("6e".into(), "0200000000000000".into()),
        ("72".into(), "0500000000000000".into()),
        ("7800000000001e84800000000000000001".to_owned(), String::new()),
    ];
    assert_eq!(held, expected);
}

#[test]
fn the_key_above_a_prefix_is_the_smallest() {
    assert_eq!(layout::above_prefix(b"ea"), Some(b"eb".to_vec()));
    assert_eq!(layout::above_prefix(b"e\xff\xff"), Some(b"f".to_vec()));
    assert_eq!(layout::above_prefix(b"\xff"), None);
    assert_eq!(layout::above_prefix(b""), None);
}

/// Each kind of request with its bytes.
fn requests() -> Vec<(KvRequest, &'static str)> {
    let lease = LeaseId(5);
    let conditions = vec![
        (b"a".to_vec(), Condition::Present),
        (b"b".to_vec(), Condition::ChangedAt(Position(2))),
        (b"m".to_vec(), Condition::LockedWith(Token(3))),
    ];
    let then = vec![
        Step::Get(b"a".to_vec()),
        Step::Put { key: b"a".to_vec(), value: b"v".to_vec(), lease: None },
    ];
    let otherwise = vec![Step::Delete(b"a".to_vec())];
    vec![
        (get(b"k"), "00010000006b"),
        (list(b"p", b"a", 9), "0101000000700100000061090000"),
        (put_under(lease, b"k", b"v"), "02010000006b01010000007600010500000000000000"),
        (write(b"k", None, Condition::Absent), "02010000006b000100"),
        (write(b"k", None, Condition::ValueIs(b"v".to_vec())), "02010000006b0003010000007600"),
        (
            KvRequest::Transaction { conditions, then, otherwise },
            "0303000000010000006102010000006204020000000000000001000000\
             6d0503000000000000000200000000010000006101010000006101000000760001000000020100000061",
        ),
        (KvRequest::LeaseGrant { ttl_ms: 1_000 }, "04e803000000000000"),
        (KvRequest::LeaseRenew { lease }, "050500000000000000"),
        (KvRequest::LeaseRevoke { lease }, "060500000000000000"),
        (KvRequest::LeaseShow { lease }, "070500000000000000"),
        (lock(b"m", lease), "08010000006d0500000000000000"),
        (unlock(b"m", lease), "09010000006d0500000000000000"),
        (show_lock(b"m"), "0a010000006d"),
    ]
}

/// Each kind of reply with its bytes.
fn replies() -> Vec<(KvReply, &'static str)> {
    let entry = Entry {
        key: b"k".to_vec(),
        value: b"v".to_vec(),
        created: Position(1),
        changed: Position(2),
        version: 3,
        lease: Some(LeaseId(4)),
    };
    let (lease, token) = (LeaseId(4), Token(5));
    let removed = Position(6);
    let results = vec![StepResult::Entry(None), StepResult::Done { existed: true }];
    let page = vec![entry.clone()];
    vec![
        (
            KvReply::Entry(entry.clone()),
            "00010000006b0100000076010000000000000002000000000000000300000000000000\
             010400000000000000",
        ),
        (KvReply::Absent { removed }, "010600000000000000"),
        (
            KvReply::Entries { entries: page, next: Some(b"k".to_vec()), removed },
            "0201000000010000006b0100000076010000000000000002000000000000000300000000000000\
             01040000000000000001010000006b0600000000000000",
        ),
        (written(7, true), "03070000000000000001"),
        (KvReply::Conflict { found: None, value_left_out: false }, "040000"),
        (KvReply::Transaction { held: true, results }, "05010200000000000101"),
        (
            KvReply::Lease { lease, ttl_ms: 8, expires: Time(9) },
            "06040000000000000008000000000000000900000000000000",
        ),
        (KvReply::LeaseEnded, "07"),
        (KvReply::Locked { token }, "080500000000000000"),
        (KvReply::Queued { ahead: 2 }, "0902000000"),
        (KvReply::Unlocked, "0a"),
        (
            KvReply::Lock { holder: Some((lease, token)), waiting: 1, revision: 6 },
            "0b0104000000000000000500000000000000010000000600000000000000",
        ),
        (KvReply::NoLease, "0c"),
        (KvReply::NotHolder, "0d"),
        (KvReply::LeaseFull, "0e"),
        (KvReply::QueueFull, "0f"),
        (KvReply::TooLarge, "10"),
        (KvReply::Invalid, "11"),
    ]
}

#[test]
fn requests_have_these_bytes() {
    for (request, bytes) in requests() {
        assert_eq!(hex(&request.encode()), bytes, "{request:?}");
        assert_eq!(KvRequest::decode("request", &request.encode()), Ok(request));
    }
}

#[test]
fn replies_have_these_bytes() {
    for (reply, bytes) in replies() {
        assert_eq!(hex(&reply.encode()), bytes, "{reply:?}");
        assert_eq!(KvReply::decode("reply", &reply.encode()), Ok(reply));
    }
}

#[test]
fn records_have_these_bytes() {
    let lease = Some(LeaseId(4));
    let (created, changed) = (Position(1), Position(2));
    let entry = StoredEntry { created, changed, version: 3, lease, value: b"v".to_vec() };
    assert_eq!(
        hex(&entry.encode()),
        "0100000000000000020000000000000003000000000000000104000000000000000100000076"
    );
    let owner = PublicKey([1; 32]);
    let lease = StoredLease { owner, ttl_ms: 2, expires: Time(3), attached: 4 };
    let tail = "0200000000000000030000000000000004000000";
    assert_eq!(hex(&lease.encode()), "01".repeat(32) + tail);
    let (holder, token) = (LeaseId(1), Token(2));
    let held = StoredLock { holder, token, waiting: vec![LeaseId(3)], revision: 4 };
    let expected = "010000000000000002000000000000000100000003000000000000000400000000000000";
    assert_eq!(hex(&held.encode()), expected);
}

#[test]
fn damaged_requests_are_refused_or_mean_something_and_never_panic() {
    let mut world = World::new();
    let lease = world.grant(1, 60_000);
    world.ask(1, lock(b"m", lease));
    let mut understood = 0;
    for (request, _) in requests() {
        let bytes = request.encode();
        for cut in 0..bytes.len() {
            assert!(KvRequest::decode("request", &bytes[..cut]).is_err());
        }
        for place in 0..bytes.len() {
            for flip in 1..=u8::MAX {
                let mut damaged = bytes.clone();
                damaged[place] ^= flip;
                if let Ok(request) = KvRequest::decode("request", &damaged) {
                    assert_eq!(request.encode(), damaged);
                    world.query(request.clone());
                    world.ask(1, request);
                    understood += 1;
                }
            }
        }
    }
    world.fsck();
    assert!(understood > 1_000, "{understood}");
}

#[test]
fn requests_that_only_read_are_told_by_their_first_byte() {
    let (key, name, lease) = (|| b"k".to_vec(), || b"m".to_vec(), LeaseId(1));
    let list = KvRequest::List { prefix: key(), after: vec![], limit: 1, keys_only: true };
    let reads = [
        KvRequest::Get { key: key() },
        list,
        KvRequest::LeaseShow { lease },
        KvRequest::LockShow { name: name() },
    ];
    let transaction =
        KvRequest::Transaction { conditions: vec![], then: vec![], otherwise: vec![] };
    let others = [
        put(b"k", b"v"),
        transaction,
        KvRequest::LeaseGrant { ttl_ms: 1_000 },
        KvRequest::LeaseRenew { lease },
        KvRequest::LeaseRevoke { lease },
        KvRequest::Lock { name: name(), lease },
        KvRequest::Unlock { name: name(), lease },
    ];
    for (requests, may_read) in [(&reads[..], true), (&others[..], false)] {
        for request in requests {
            assert_eq!(Kv::may_read(&request.encode()), may_read, "{request:?}");
        }
    }
    assert!(!Kv::may_read(&[]));
}
