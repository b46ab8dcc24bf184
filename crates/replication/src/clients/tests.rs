use std::collections::BTreeSet;

use ravelin_model::{Change, Encode as _};

use super::*;
use crate::testing::Chance;

const KV: ServiceId = ServiceId::KV;
const ONE: ConnectionId = ConnectionId(1);
const TWO: ConnectionId = ConnectionId(2);

fn key(client: u8) -> PublicKey {
    PublicKey([client; 32])
}

fn item(position: u64, index: u16, key: &[u8], bytes: usize) -> (ServiceId, ChangeItem) {
    let change = Change { key: key.to_vec(), value: Some(vec![b'v'; bytes]) };
    (KV, ChangeItem { position: Position(position), index, change })
}

fn request(id: u64, prefix: &[u8], from: u64) -> WatchRequest {
    WatchRequest { id, service: KV, prefix: prefix.to_vec(), from: Position(from) }
}

fn everyone(_: ServiceId, _: &PublicKey) -> bool {
    true
}

/// A client that keeps what one watch tells, and checks that it is told in order.
#[derive(Default)]
struct Watcher {
    through: Position,
    items: Vec<ChangeItem>,
    compacted: Option<Position>,
}

impl Watcher {
    fn hear(&mut self, message: &ServerMessage) {
        match message {
            ServerMessage::Changes { through, items, .. } => {
                for item in items {
                    assert!(item.position > self.through, "told again");
                    let last = self.items.last().map(|last| (last.position, last.index));
                    assert!(last.is_none_or(|last| last <= (item.position, item.index)));
                    self.items.push(item.clone());
                }
                self.through = self.through.max(*through);
                assert!(message.encode().len() < 2 << 20);
            }
            ServerMessage::Compacted { oldest, .. } => self.compacted = Some(*oldest),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn answers_go_to_the_client_that_asked_and_to_the_sessions_it_attached() {
    let mut clients = Clients::new(Position(0));
    for (connection, client) in [(1, 1), (2, 1), (3, 2)] {
        clients.open(ConnectionId(connection), key(client));
        clients.attach(ConnectionId(connection), SessionId(7));
    }
    clients.attach(TWO, SessionId(8));
    let of = |clients: &Clients, client, session| {
        clients.of(&key(client), SessionId(session)).map(|known| known.0).collect::<Vec<_>>()
    };
    assert_eq!(of(&clients, 1, 7), [1, 2]);
    assert_eq!(of(&clients, 1, 8), [2]);
    assert_eq!(of(&clients, 1, 9), [0; 0]);
    // Who attaches to another's session hears nothing of it.
    assert_eq!(of(&clients, 2, 7), [3]);
    // Openings have no session yet.
    assert_eq!(of(&clients, 1, 0), [1, 2]);
    clients.close(ONE);
    assert_eq!(of(&clients, 1, 0), [2]);
    clients.open(TWO, key(3));
    assert_eq!((of(&clients, 1, 0), of(&clients, 3, 0)), (vec![], vec![2]));
    assert_eq!((clients.key(TWO), clients.key(ONE)), (Some(key(3)), None));
    clients.close(TWO);
    clients.close(ConnectionId(3));
    clients.close(ConnectionId(3));
    assert!(clients.by_key.is_empty() && clients.connections.is_empty());
}

#[test]
fn a_connection_speaks_for_a_limited_number_of_sessions_the_newest_ones() {
    let mut clients = Clients::new(Position(0));
    clients.open(ONE, key(1));
    for session in 1..=100 {
        clients.attach(ONE, SessionId(session));
    }
    let is_attached = |session| clients.of(&key(1), SessionId(session)).count() == 1;
    assert!((1..=36).all(|session| !is_attached(session)));
    assert!((37..=100).all(is_attached));
}

#[test]
fn a_watch_tells_everything_from_its_position_on_once() {
    for seed in 0..40 {
        let mut chance = Chance(seed);
        let mut clients = Clients::new(Position(0));
        clients.open(ONE, key(1));
        let mut all: Vec<ChangeItem> = Vec::new();
        let mut watchers: Vec<(u64, u64, Watcher)> = Vec::new();
        let mut last = 0;
        for step in 0..60 {
            if chance.below(8) == 0 {
                // From the past, the present, the future; sometimes in place of another.
                let (id, from) = (chance.below(6), 1 + chance.below(last + 10));
                watchers.retain(|(known, _, _)| *known != id);
                let mut watcher = Watcher::default();
                for message in clients.watch(ONE, request(id, b"a", from), Position(last)) {
                    watcher.hear(&message);
                }
                assert!(watcher.through >= Position(last), "seed {seed}: all is told");
                watchers.push((id, from, watcher));
            }
            let mut changes = Vec::new();
            for _ in 0..chance.below(3) {
                last += 1;
                let count = if chance.below(10) == 0 { 700 } else { chance.below(5) };
                for index in 0..count {
                    let key: &[u8] = [b"ab".as_slice(), b"b"][chance.index(2)];
                    let bytes = if chance.below(20) == 0 { 10_000 } else { 10 };
                    changes.push(item(last, u16::try_from(index).unwrap(), key, bytes));
                }
            }
            let wanted = changes.iter().filter(|(_, item)| item.change.key.starts_with(b"a"));
            all.extend(wanted.map(|(_, item)| item.clone()));
            clients.feed_bytes = 0; // nothing is forgotten in this test
            for (connection, message) in clients.on_commit(changes, Position(last), everyone) {
                assert_eq!(connection, ONE);
                let (ServerMessage::Changes { id, .. } | ServerMessage::Compacted { id, .. }) =
                    &message
                else {
                    panic!("{message:?}")
                };
                let watcher = watchers.iter_mut().find(|(known, _, _)| known == id);
                watcher.expect("it watches").2.hear(&message);
            }
            for (_, from, watcher) in &watchers {
                let wanted = all.iter().filter(|item| item.position.0 >= *from);
                assert!(watcher.items.iter().eq(wanted), "seed {seed}, step {step}");
                assert_eq!(watcher.compacted, None, "seed {seed}");
            }
        }
    }
}

/// Wherever the connection broke, going on after `through` misses nothing.
#[test]
fn a_watch_that_broke_off_between_pieces_goes_on_without_a_gap() {
    let mut clients = Clients::new(Position(0));
    clients.open(ONE, key(1));
    let changes: Vec<_> = (0..900)
        .map(|number| item(1 + number / 250, u16::try_from(number % 250).unwrap(), b"a", 4_000))
        .collect();
    let all: Vec<_> = changes.iter().map(|(_, item)| item.clone()).collect();
    clients.on_commit(changes, Position(4), everyone);
    let pieces = clients.watch(ONE, request(1, b"", 1), Position(4));
    assert!(pieces.len() > 3);
    for heard in 0..=pieces.len() {
        clients.on_commit(vec![], Position(4), everyone);
        let mut told: BTreeSet<(Position, u16)> = BTreeSet::new();
        let mut through = Position(0);
        let mut hear = |message: &ServerMessage, through: &mut Position| {
            let ServerMessage::Changes { through: told_through, items, .. } = message else {
                panic!("{message:?}")
            };
            told.extend(items.iter().map(|item| (item.position, item.index)));
            *through = (*through).max(*told_through);
        };
        pieces[..heard].iter().for_each(|message| hear(message, &mut through));
        let again = clients.watch(ONE, request(2, b"", through.0 + 1), Position(4));
        again.iter().for_each(|message| hear(message, &mut through));
        assert_eq!(told.len(), all.len(), "broken off after {heard} pieces");
        assert_eq!(through, Position(4));
    }
}

#[test]
fn changes_that_are_forgotten_are_said_to_be() {
    let mut clients = Clients::new(Position(10));
    clients.open(ONE, key(1));
    let ask = |clients: &mut Clients, from| clients.watch(ONE, request(1, b"", from), Position(30));
    let compacted = |oldest| ServerMessage::Compacted { id: 1, oldest: Position(oldest) };
    assert_eq!(ask(&mut clients, 10), [compacted(11)]);
    assert!(matches!(ask(&mut clients, 11)[..], [ServerMessage::Changes { .. }]));
    // Two items of one position: when one of them goes, the position is not told any more.
    let most = FEED_BYTES_MAX - (1 << 20);
    let changes = vec![item(20, 0, b"a", 1 << 20), item(20, 1, b"a", 10), item(21, 0, b"a", most)];
    clients.on_commit(changes, Position(21), everyone);
    assert_eq!(clients.feed.len(), 2);
    assert_eq!(ask(&mut clients, 20), [compacted(21)]);
    let ServerMessage::Changes { items, .. } = &ask(&mut clients, 21)[0] else { panic!() };
    assert_eq!(items.len(), 1);
    // One larger than the whole feed.
    clients.on_commit(vec![item(22, 0, b"a", FEED_BYTES_MAX)], Position(22), everyone);
    assert_eq!((clients.feed.len(), clients.feed_bytes), (0, 0));
    assert_eq!(ask(&mut clients, 22), [compacted(23)]);
}

#[test]
fn a_watch_from_now_on_is_told_nothing_of_the_past() {
    let mut clients = Clients::new(Position(0));
    clients.open(ONE, key(1));
    clients.on_commit(vec![item(1, 0, b"a", 1)], Position(1), everyone);
    let begun = clients.watch(ONE, request(1, b"", 0), Position(1));
    let nothing = ServerMessage::Changes { id: 1, through: Position(1), items: vec![] };
    assert_eq!(begun, [nothing]);
    assert_eq!(clients.on_commit(vec![item(2, 0, b"a", 1)], Position(2), everyone).len(), 1);
    clients.unwatch(ONE, 1);
    assert_eq!(clients.on_commit(vec![item(3, 0, b"a", 1)], Position(3), everyone), []);
}

#[test]
fn a_watch_sees_its_service_and_its_prefix_alone() {
    let mut clients = Clients::new(Position(0));
    clients.open(ONE, key(1));
    clients.watch(ONE, request(1, b"ab", 1), Position(0));
    let mut foreign = item(1, 0, b"abc", 1);
    foreign.0 = ServiceId::AUTH;
    let changes = vec![foreign, item(1, 1, b"a", 1), item(1, 2, b"ac", 1), item(1, 3, b"ab", 1)];
    let told = clients.on_commit(changes, Position(1), everyone);
    let [(ONE, ServerMessage::Changes { items, .. })] = &told[..] else { panic!("{told:?}") };
    assert_eq!(items.iter().map(|item| item.index).collect::<Vec<_>>(), [3]);
}

#[test]
fn the_watch_of_one_who_may_not_see_any_more_ends() {
    let mut clients = Clients::new(Position(0));
    clients.open(ONE, key(1));
    clients.open(TWO, key(2));
    clients.watch(ONE, request(1, b"", 1), Position(0));
    clients.watch(TWO, request(1, b"", 1), Position(0));
    let only_two = |_: ServiceId, client: &PublicKey| *client == key(2);
    let told = clients.on_commit(vec![item(1, 0, b"a", 1)], Position(1), only_two);
    assert!(matches!(
        told[..],
        [(ONE, ServerMessage::Denied { first: 1, .. }), (TWO, ServerMessage::Changes { .. })]
    ));
    let told = clients.on_commit(vec![item(2, 0, b"a", 1)], Position(2), everyone);
    assert!(matches!(told[..], [(TWO, _)]), "it does not come back by itself");
}

#[test]
fn watches_are_limited_in_number_and_prefix() {
    let mut clients = Clients::new(Position(0));
    clients.open(ONE, key(1));
    let too_large = |id| [denied(id, Refusal::TooLarge)];
    for id in 0..WATCHES_MAX as u64 {
        assert_ne!(clients.watch(ONE, request(id, b"", 1), Position(0)), too_large(id));
    }
    assert_eq!(clients.watch(ONE, request(99, b"", 1), Position(0)), too_large(99));
    assert_ne!(clients.watch(ONE, request(5, b"x", 1), Position(0)), too_large(5), "in its place");
    clients.unwatch(ONE, 5);
    let long = vec![0; WATCH_PREFIX_BYTES_MAX + 1];
    assert_eq!(clients.watch(ONE, request(5, &long, 1), Position(0)), too_large(5));
    assert_ne!(clients.watch(ONE, request(5, &long[1..], 1), Position(0)), too_large(5));
    assert_eq!(clients.watch(TWO, request(1, b"", 1), Position(0)), []);
}

/// Asking for the same changes again and again costs the client its watch, not the replica its
/// memory; after the next commit it may go on where it was.
#[test]
fn what_one_client_is_told_between_two_commits_is_bounded() {
    let mut clients = Clients::new(Position(0));
    clients.open(ONE, key(1));
    clients.open(TWO, key(1));
    clients.open(ConnectionId(3), key(2));
    let changes: Vec<_> = (1..=7).map(|position| item(position, 0, b"a", 1 << 19)).collect();
    clients.on_commit(changes, Position(7), everyone);
    let mut bytes = 0;
    for round in 0..50 {
        let connection = [ONE, TWO][round % 2];
        for message in clients.watch(connection, request(1, b"", 1), Position(7)) {
            bytes += message.encode().len();
        }
    }
    assert!(bytes <= TOLD_BYTES_MAX + 50 * 64, "{bytes}");
    let oldest = Position(1);
    let over = clients.watch(ONE, request(1, b"", 1), Position(7));
    assert_eq!(over, [ServerMessage::Compacted { id: 1, oldest }]);
    assert_eq!(clients.watch(ConnectionId(3), request(1, b"", 1), Position(7)).len(), 7);
    clients.on_commit(vec![], Position(7), everyone);
    assert_eq!(clients.watch(ONE, request(1, b"", 1), Position(7)).len(), 7);
    // The same for live changes and many watches.
    for id in 0..40 {
        clients.watch(ONE, request(id, b"", 0), Position(7));
    }
    let told = clients.on_commit(vec![item(8, 0, b"a", 1 << 19)], Position(8), everyone);
    let bytes: usize = told.iter().map(|(_, message)| message.encode().len()).sum();
    assert!(bytes <= 2 * TOLD_BYTES_MAX, "{bytes}"); // two clients
    let ended = told.iter().filter(|(_, told)| matches!(told, ServerMessage::Compacted { .. }));
    assert!(ended.count() > 20);
}
