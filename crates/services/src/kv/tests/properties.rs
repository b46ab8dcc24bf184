use std::collections::BTreeMap;
use std::ops::ControlFlow;

use ravelin_model::Encode as _;
use ravelin_model::requests::kv::{LEASE_TAG, StoredLease};

use super::super::layout;
use super::reference::{Reference, Visible};
use super::*;
use crate::tests::world::{BatchedStore, Choices};

const SEEDS: u64 = 600;
const ENVELOPES: usize = 60;
const KEYS: [&[u8]; 4] = [b"a", b"aa", b"ab", b"\xff"];

fn key(choices: &mut Choices) -> Vec<u8> {
    choices.one_of(&KEYS).to_vec()
}

/// Fewer locks than keys, so that some are waited for.
fn name(choices: &mut Choices) -> Vec<u8> {
    choices.one_of(&KEYS[..2]).to_vec()
}

fn value(choices: &mut Choices) -> Vec<u8> {
    vec![7; usize::try_from(choices.below(3)).expect("small")]
}

/// What requests can refer to.
struct Last {
    position: Position,
    number: u64,
    /// Those not swept yet.
    leases: Vec<LeaseId>,
}

fn last(world: &World<impl Store>) -> Last {
    let mut leases = Vec::new();
    world.store.scan(&[LEASE_TAG], Some(&[LEASE_TAG + 1]), &mut |key, _| {
        leases.push(LeaseId(u64::from_be_bytes(key[1..].try_into().expect("an id"))));
        ControlFlow::Continue(())
    });
    Last { position: world.position, number: layout::last_number(&world.store), leases }
}

fn number(choices: &mut Choices, last: &Last) -> u64 {
    last.number.saturating_sub(choices.below(10))
}

/// A lease that may live, or may have ended, or may never have been one.
fn lease(choices: &mut Choices, last: &Last) -> LeaseId {
    if last.leases.is_empty() || choices.below(8) == 0 {
        return LeaseId(number(choices, last));
    }
    choices.one_of(&last.leases)
}

fn maybe_lease(choices: &mut Choices, last: &Last) -> Option<LeaseId> {
    (choices.below(2) == 0).then(|| lease(choices, last))
}

fn condition(choices: &mut Choices, last: &Last) -> Condition {
    match choices.below(9) {
        0 => Condition::Absent,
        1 => Condition::Present,
        2 => Condition::ValueIs(value(choices)),
        3 => Condition::ChangedAt(Position(last.position.0.saturating_sub(choices.below(6)))),
        4 => Condition::LockedWith(Token(number(choices, last))),
        _ => Condition::Always,
    }
}

fn steps(choices: &mut Choices, last: &Last) -> Vec<Step> {
    (0..choices.below(5))
        .map(|_| match choices.below(4) {
            0 => Step::Get(key(choices)),
            1 => Step::Delete(key(choices)),
            _ => Step::Put {
                key: key(choices),
                value: value(choices),
                lease: maybe_lease(choices, last),
            },
        })
        .collect()
}

fn request(choices: &mut Choices, last: &Last) -> KvRequest {
    match choices.below(20) {
        0..4 => {
            let value = (choices.below(3) > 0).then(|| value(choices));
            let lease = value.as_ref().and_then(|_| maybe_lease(choices, last));
            let condition = condition(choices, last);
            KvRequest::Write(Write { key: key(choices), value, condition, lease })
        }
        4..7 => KvRequest::Transaction {
            conditions: (0..choices.below(3))
                .map(|_| (key(choices), condition(choices, last)))
                .collect(),
            then: steps(choices, last),
            otherwise: steps(choices, last),
        },
        7..9 => KvRequest::LeaseGrant { ttl_ms: 1_000 + choices.below(9_000) },
        9 => KvRequest::LeaseRenew { lease: lease(choices, last) },
        10 => match choices.below(3) {
            0 => KvRequest::LeaseRevoke { lease: lease(choices, last) },
            _ => KvRequest::LeaseRenew { lease: lease(choices, last) },
        },
        11..15 => KvRequest::Lock { name: name(choices), lease: lease(choices, last) },
        15..17 => KvRequest::Unlock { name: name(choices), lease: lease(choices, last) },
        _ => read(choices, last),
    }
}

fn read(choices: &mut Choices, last: &Last) -> KvRequest {
    match choices.below(4) {
        0 => KvRequest::Get { key: key(choices) },
        1 => {
            let prefix = choices.one_of(&[&b""[..], b"a", b"ab", b"\xff"]).to_vec();
            let after = choices.one_of(&[&b""[..], b"a", b"b"]).to_vec();
            let limit = choices.one_of(&[1, 2, 1_000]);
            KvRequest::List { prefix, after, limit, keys_only: false }
        }
        2 => KvRequest::LeaseShow { lease: lease(choices, last) },
        _ => KvRequest::LockShow { name: name(choices) },
    }
}

/// A run of envelopes; `between` is called after each, with its requests and replies.
fn run(
    seed: u64,
    world: &mut World<impl Store>,
    mut between: impl FnMut(&mut Choices, u8, &[KvRequest], &[KvReply]),
) -> Vec<KvReply> {
    let mut choices = Choices(seed);
    let mut all = Vec::new();
    for _ in 0..ENVELOPES {
        let asker = 1 + u8::try_from(choices.below(2)).expect("small");
        let count = 1 + choices.below(2) * choices.below(4);
        let requests: Vec<_> = (0..count).map(|_| request(&mut choices, &last(world))).collect();
        let replies = world.ask_all(asker, requests.clone());
        between(&mut choices, asker, &requests, &replies);
        all.extend(replies);
        world.wait_ms(choices.below(3) * choices.below(600));
        if choices.below(3) == 0 {
            world.sweep();
        }
    }
    all
}

#[test]
fn the_service_does_what_plain_maps_do() {
    let mut kinds: BTreeMap<u8, u32> = BTreeMap::new();
    for seed in 0..SEEDS {
        let mut world = World::new();
        let mut reference = Reference::default();
        let mut choices = Choices(seed);
        for _ in 0..ENVELOPES {
            let asker = 1 + u8::try_from(choices.below(2)).expect("small");
            let request = request(&mut choices, &last(&world));
            reference.catch_up(&world);
            let reply = world.ask(asker, request.clone());
            *kinds.entry(reply.encode()[0]).or_default() += 1;
            reference.follow(&world, asker, &request, &reply);
            world.fsck();
            world.wait_ms(choices.below(3) * choices.below(600));
            if choices.below(3) == 0 {
                world.sweep();
                world.fsck();
            }
        }
    }
    let seen = (0..=13).filter(|kind| kinds.get(kind).is_some_and(|count| *count > 150));
    assert_eq!(seen.count(), 14, "some kind of reply is hardly ever seen: {kinds:?}");
}

#[test]
fn equal_replies_without_ordering_mean_that_nothing_changed_in_between() {
    for seed in 0..SEEDS {
        let mut world = World::new();
        let mut reference = Reference::default();
        let mut choices = Choices(seed ^ 0xf00d);
        let first = Last { position: Position(0), number: 9, leases: vec![] };
        let watched: Vec<_> = (0..8).map(|_| read(&mut choices, &first)).collect();
        let mut told: Vec<Vec<(Option<KvReply>, Visible)>> =
            watched.iter().map(|_| vec![]).collect();
        for _ in 0..ENVELOPES {
            let asker = 1 + u8::try_from(choices.below(2)).expect("small");
            let request = request(&mut choices, &last(&world));
            reference.catch_up(&world);
            let reply = world.ask(asker, request.clone());
            reference.follow(&world, asker, &request, &reply);
            for (read, told) in watched.iter().zip(&mut told) {
                let reply = world.query(read.clone());
                let now = of_page(reference.visible(read), reply.as_ref());
                let is_unchanged = |(_, visible): &(_, Visible)| *visible == now;
                if let Some(last) =
                    told.iter().rposition(|(old, _)| reply.is_some() && *old == reply)
                {
                    assert!(
                        told[last..].iter().all(is_unchanged),
                        "seed {seed}: {read:?} {reply:?}"
                    );
                }
                told.push((reply, now));
            }
            world.wait_ms(choices.below(3) * choices.below(600));
            if choices.below(3) == 0 {
                world.sweep();
            }
        }
    }
}

/// The part of what is visible that the reply speaks of.
fn of_page(visible: Visible, reply: Option<&KvReply>) -> Visible {
    match (visible, reply) {
        (Visible::Entries(mut entries), Some(KvReply::Entries { next: Some(next), .. })) => {
            entries.retain(|entry| entry.key <= *next);
            Visible::Entries(entries)
        }
        (visible, _) => visible,
    }
}

#[test]
fn two_runs_and_runs_in_other_batches_leave_the_same_bytes() {
    for seed in 0..SEEDS / 4 {
        let mut first = World::new();
        let replies = run(seed, &mut first, |_, _, _, _| {});
        let mut second = World::new();
        assert_eq!(run(seed, &mut second, |_, _, _, _| {}), replies);
        assert_eq!((&first.store, &first.feed), (&second.store, &second.feed));
        for batch_writes in [1, 7, usize::MAX] {
            let store = BatchedStore { batch_writes, ..Default::default() };
            let mut batched = World::on(store);
            assert_eq!(run(seed, &mut batched, |_, _, _, _| {}), replies);
            batched.store.flush();
            assert_eq!(
                batched.store.written, first.store,
                "seed {seed}, batches of {batch_writes}"
            );
            assert_eq!(batched.feed, first.feed);
        }
    }
}

#[test]
fn the_feed_alone_rebuilds_all_that_is_public() {
    for seed in 0..SEEDS / 4 {
        let mut world = World::new();
        run(seed, &mut world, |_, _, _, _| {});
        let mut mirror = BTreeMap::new();
        for change in world.feed {
            match change.value {
                Some(value) => mirror.insert(change.key, value),
                None => mirror.remove(&change.key),
            };
        }
        let uncounted = |key: &[u8], bytes: &[u8]| match key[0] {
            LEASE_TAG => {
                let lease: StoredLease = borsh::from_slice(bytes).expect("a lease");
                borsh::to_vec(&StoredLease { attached: 0, ..lease }).expect("memory")
            }
            _ => bytes.to_vec(),
        };
        let mirror: BTreeMap<_, _> =
            mirror.iter().map(|(key, bytes)| (key.clone(), uncounted(key, bytes))).collect();
        let public: BTreeMap<_, _> = world
            .store
            .0
            .iter()
            .filter(|(key, _)| matches!(key[0], b'e' | b'l' | b'm'))
            .map(|(key, bytes)| (key.clone(), uncounted(key, bytes)))
            .collect();
        assert_eq!(mirror, public, "seed {seed}");
    }
}

#[test]
fn a_refused_request_changes_nothing() {
    for seed in 0..SEEDS / 4 {
        let mut world = World::new();
        let mut choices = Choices(seed ^ 0xbad);
        for _ in 0..ENVELOPES {
            let request = request(&mut choices, &last(&world));
            // Nothing is due, so that nothing is cleared away on the occasion.
            while world.sweep() > 0 {}
            let before = world.store.clone();
            let reply = world.ask(1, request);
            let is_refused = matches!(
                reply,
                KvReply::NoLease | KvReply::NotHolder | KvReply::Conflict { .. } | KvReply::Invalid
            );
            assert!(!is_refused || world.store == before, "{reply:?}");
            world.wait_ms(choices.below(900));
        }
    }
}
