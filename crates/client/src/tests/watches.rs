//! Changes come in order, each once, none left out, whoever lies.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore as _, SeedableRng as _};
use ravelin_model::wire::{ChangeItem, ClientMessage, ServerMessage};
use ravelin_model::{Change, FaultModel, Position, Sequence, ServiceId, SessionId};

use super::fixture::{Fixture, id};
use crate::event::{Event, Ticket};
use crate::limits::WATCH_AHEAD_BYTES_MAX;

fn item(position: u64, index: u16, value: &[u8]) -> ChangeItem {
    let change = Change { key: b"key".to_vec(), value: Some(value.to_vec()) };
    ChangeItem { position: Position(position), index, change }
}

/// A feed with gaps, and several items at some positions.
fn feed(random: &mut ChaCha8Rng, last: u64) -> Vec<ChangeItem> {
    let mut items = Vec::new();
    for position in 1..=last {
        for index in 0..(random.next_u32() % 4).saturating_sub(1) {
            items.push(item(position, index as u16, &random.next_u64().to_le_bytes()));
        }
    }
    items
}

fn watch(fixture: &mut Fixture, from: u64) -> Ticket {
    let (service, prefix, from) = (ServiceId::KV, b"k".to_vec(), Position(from));
    fixture.act(|session, _, out| session.watch(service, prefix, from, out)).unwrap()
}

/// The latest subscription of each member, as (id, from).
fn subscriptions(fixture: &mut Fixture, known: &mut [(u64, u64)]) {
    for (to, message) in fixture.take_sends() {
        if let ClientMessage::Watch { id, from, .. } = message {
            known[to.index()] = (id, from.0);
        }
    }
}

fn changes(id: u64, through: u64, items: &[ChangeItem]) -> ServerMessage {
    ServerMessage::Changes { id, through: Position(through), items: items.to_vec() }
}

/// The items handed out since the last look; members contradicted go to `named`.
fn handed_out(fixture: &mut Fixture, named: &mut Vec<usize>) -> Vec<ChangeItem> {
    let mut found = Vec::new();
    for event in fixture.take_events() {
        match event {
            Event::Changed { items, through, .. } => {
                assert!(items.iter().all(|item| item.position <= through));
                found.extend(items);
            }
            Event::Contradicted { replica, .. } => named.push(replica.index()),
            other => panic!("{other:?}"),
        }
    }
    found
}

/// What a liar tells of `items`: left out, made up, changed.
fn spoiled(random: &mut ChaCha8Rng, items: &[ChangeItem]) -> Vec<ChangeItem> {
    let mut lie = Vec::new();
    for true_one in items {
        match random.next_u32() % 5 {
            0 => {}
            1 => lie.push(item(true_one.position.0, true_one.index, b"changed")),
            2 => lie.extend([true_one.clone(), true_one.clone()]),
            3 => {
                lie.push(true_one.clone());
                lie.push(item(true_one.position.0 + 1, 9, b"made up"));
            }
            _ => lie.push(true_one.clone()),
        }
    }
    lie
}

#[test]
fn liars_neither_add_nor_hide_nor_hold_up_changes() {
    let shapes =
        [(4, 1, FaultModel::Arbitrary), (7, 2, FaultModel::Arbitrary), (3, 1, FaultModel::Hybrid)];
    for (seed, (n, f, model)) in (0..500).zip(shapes.into_iter().cycle()) {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut fixture = Fixture::new(n, f, model);
        let (last, from) = (60, random.next_u64() % 20);
        let feed = feed(&mut random, last);
        let (n, f) = (usize::from(n), usize::from(f));
        let liars: Vec<_> = (0..f).map(|i| (i + seed as usize) % n).collect();
        watch(&mut fixture, from);
        let mut asked = vec![(0, 0); n];
        subscriptions(&mut fixture, &mut asked);
        let mut told = vec![from.saturating_sub(1); n];
        let (mut got, mut named) = (Vec::new(), Vec::new());
        while told.iter().any(|through| *through < last) {
            let member = random.next_u32() as usize % n;
            if random.next_u32().is_multiple_of(20) {
                // The connection breaks, and comes back.
                fixture.act(|session, now, out| session.on_disconnected(now, id(member), out));
                fixture.act(|session, now, out| session.on_connected(now, id(member), out));
                subscriptions(&mut fixture, &mut asked);
                told[member] = asked[member].1.saturating_sub(1);
            }
            let through = (told[member] + random.next_u64() % 8).min(last);
            let range = told[member] + 1..=through;
            let mut items: Vec<_> =
                feed.iter().filter(|item| range.contains(&item.position.0)).cloned().collect();
            if liars.contains(&member) {
                items = spoiled(&mut random, &items);
            }
            fixture.tell(member, changes(asked[member].0, through, &items));
            told[member] = through;
            got.extend(handed_out(&mut fixture, &mut named));
        }
        let wanted: Vec<_> = feed.into_iter().filter(|item| item.position.0 >= from).collect();
        assert_eq!(got, wanted, "seed {seed}");
        assert!(named.iter().all(|member| liars.contains(member)), "seed {seed}: {named:?}");
    }
}

#[test]
fn an_item_is_handed_out_when_one_correct_members_told_it() {
    let mut fixture = Fixture::new(7, 2, FaultModel::Arbitrary);
    let ticket = watch(&mut fixture, 1);
    let mut asked = vec![(0, 0); 7];
    subscriptions(&mut fixture, &mut asked);
    let items = [item(3, 0, b"v")];
    let mut named = Vec::new();
    for member in [0, 0, 1, 1] {
        fixture.tell(member, changes(asked[member].0, 5, &items));
        assert_eq!(handed_out(&mut fixture, &mut named), []);
    }
    fixture.tell(2, changes(asked[2].0, 4, &items));
    assert_eq!(handed_out(&mut fixture, &mut named), items);
    assert_eq!(fixture.session.watched_through(ticket), Some(Position(4)));
    assert_eq!(named, []);
}

#[test]
fn what_an_ended_subscription_still_tells_is_ignored() {
    let mut fixture = Fixture::four();
    let ticket = watch(&mut fixture, 1);
    let mut old = vec![(0, 0); 4];
    subscriptions(&mut fixture, &mut old);
    for member in 0..4 {
        fixture.act(|session, now, out| session.on_disconnected(now, id(member), out));
        fixture.act(|session, now, out| session.on_connected(now, id(member), out));
    }
    for (member, (id, _)) in old.iter().enumerate() {
        fixture.tell(member, changes(*id, 9, &[]));
    }
    assert_eq!(fixture.session.watched_through(ticket), Some(Position(0)));
}

#[test]
fn one_liar_cannot_say_that_a_watch_is_compacted() {
    let mut fixture = Fixture::four();
    let ticket = watch(&mut fixture, 1);
    let mut asked = vec![(0, 0); 4];
    subscriptions(&mut fixture, &mut asked);
    let oldest = Position(30);
    for _ in 0..3 {
        fixture.tell(2, ServerMessage::Compacted { id: asked[2].0, oldest: Position(40) });
    }
    assert_eq!(fixture.take_events(), []);
    let before = asked.clone();
    subscriptions(&mut fixture, &mut asked);
    let anew: Vec<_> = (0..4).filter(|member| asked[*member] != before[*member]).collect();
    assert_eq!(anew, [0, 1, 3], "asked anew once, however often it says so");
    fixture.tell(0, ServerMessage::Compacted { id: asked[0].0, oldest });
    assert_eq!(fixture.take_events(), [Event::Compacted { ticket, oldest }]);
    let unwatched = fixture.take_sends();
    assert!(unwatched.iter().all(|(_, sent)| matches!(sent, ClientMessage::Unwatch { .. })));
    assert_eq!(unwatched.len(), 4);
}

#[test]
fn members_that_restart_one_after_another_do_not_end_a_watch() {
    let mut fixture = Fixture::four();
    let ticket = watch(&mut fixture, 1);
    let mut asked = vec![(0, 0); 4];
    subscriptions(&mut fixture, &mut asked);
    for restarted in 0..4 {
        fixture.act(|session, now, out| session.on_disconnected(now, id(restarted), out));
        fixture.act(|session, now, out| session.on_connected(now, id(restarted), out));
        subscriptions(&mut fixture, &mut asked);
        // Positions that concern others passed, so that it lacks some, and holds the next ones.
        let through = 10 * (restarted as u64 + 1);
        let oldest = Position(through + 1);
        let before = asked.clone();
        fixture.tell(restarted, ServerMessage::Compacted { id: asked[restarted].0, oldest });
        subscriptions(&mut fixture, &mut asked);
        for other in (0..4).filter(|other| *other != restarted) {
            // Nothing that the watch wants changed, so they speak only if they are asked.
            assert_ne!(asked[other].0, before[other].0);
            fixture.tell(other, changes(asked[other].0, through, &[]));
        }
        assert_eq!(fixture.take_events(), []);
        subscriptions(&mut fixture, &mut asked);
        assert_eq!(asked[restarted].1, through + 1, "it is asked for what it has");
    }
    assert_eq!(fixture.session.watched_through(ticket), Some(Position(40)));
}

#[test]
fn a_member_that_is_too_busy_for_a_watch_is_asked_again_after_its_rest() {
    let mut fixture = Fixture::four();
    let ticket = watch(&mut fixture, 1);
    let mut asked = vec![(0, 0); 4];
    subscriptions(&mut fixture, &mut asked);
    let before = asked.clone();
    let busy = |first: u64| {
        let (session, first) = (SessionId(0), Sequence(first));
        ServerMessage::Busy { session, first, retry_after_ms: 300 }
    };
    for (member, (subscription, _)) in asked.iter().enumerate().take(2) {
        fixture.tell(member, busy(*subscription));
    }
    assert_eq!(fixture.take_sends(), []);
    let begin = fixture.now;
    fixture.act(|session, now, out| session.on_disconnected(now, id(1), out));
    fixture.wait();
    assert_eq!(fixture.now.since(begin).as_millis(), 300);
    subscriptions(&mut fixture, &mut asked);
    assert_ne!(asked[0], before[0], "under another id");
    assert_eq!(asked[1..], before[1..], "whoever left is asked when it comes back");
    for member in [0, 2] {
        fixture.tell(member, changes(asked[member].0, 9, &[]));
    }
    assert_eq!(fixture.session.watched_through(ticket), Some(Position(9)));
}

#[test]
fn a_member_far_ahead_is_cut_and_asked_again_when_others_caught_up() {
    let mut fixture = Fixture::four();
    watch(&mut fixture, 1);
    let mut asked = vec![(0, 0); 4];
    subscriptions(&mut fixture, &mut asked);
    let value = vec![7; 1 << 20];
    let feed: Vec<_> = (1..=20).map(|position| item(position, 0, &value)).collect();
    for item in &feed {
        let through = item.position.0;
        fixture.tell(0, changes(asked[0].0, through, std::slice::from_ref(item)));
    }
    assert!(fixture.session.footprint().watch_bytes <= WATCH_AHEAD_BYTES_MAX);
    let (mut got, mut named) = (Vec::new(), Vec::new());
    for item in &feed {
        fixture.tell(1, changes(asked[1].0, item.position.0, std::slice::from_ref(item)));
        got.extend(handed_out(&mut fixture, &mut named));
    }
    let before = asked[0];
    subscriptions(&mut fixture, &mut asked);
    let (id, from) = asked[0];
    assert!(id != before.0 && from > 1 && from as usize == got.len() + 1);
    for item in feed.iter().filter(|item| item.position.0 >= from) {
        fixture.tell(0, changes(id, item.position.0, std::slice::from_ref(item)));
        got.extend(handed_out(&mut fixture, &mut named));
        subscriptions(&mut fixture, &mut asked);
        if asked[1].1 > 1 && asked[1].1 <= item.position.0 + 1 {
            let (id, from) = asked[1];
            for item in feed.iter().filter(|item| item.position.0 >= from) {
                fixture.tell(1, changes(id, item.position.0, std::slice::from_ref(item)));
                got.extend(handed_out(&mut fixture, &mut named));
            }
            asked[1].1 = 0;
        }
    }
    assert_eq!(got, feed);
    assert_eq!(named, []);
}
