//! Garbage that looks valid does not grow a session's memory.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore as _, SeedableRng as _};
use ravelin_model::wire::{ChangeItem, ClientMessage, ServerMessage};
use ravelin_model::{Change, CommitIndex, Position, Refusal, Sequence, ServiceId, SessionId};

use super::fixture::{Fixture, SESSION};
use crate::limits::{SETTLED_MAX, STATEMENTS_PER_MEMBER_MAX, WATCH_AHEAD_BYTES_MAX};

#[test]
fn a_flood_of_valid_looking_garbage_is_bounded() {
    let mut fixture = Fixture::four().open();
    let first = fixture.submit(600);
    fixture.submit(400);
    let get = || b"get".to_vec();
    let read =
        fixture.act(|session, now, out| session.read(now, ServiceId::KV, get(), out)).unwrap();
    fixture.act(|session, _, out| session.watch(ServiceId::KV, vec![], Position(1), out)).unwrap();
    let watch = fixture.take_sends().into_iter().find_map(|(to, message)| match message {
        ClientMessage::Watch { id, .. } if to.0 == 3 => Some(id),
        _ => None,
    });
    let watch = watch.unwrap();
    let mut random = ChaCha8Rng::seed_from_u64(1);
    for step in 0..20_000u64 {
        let garbage = random.next_u64().to_le_bytes().repeat(64);
        let sequence = first + random.next_u64() % 2000;
        let message = match step % 8 {
            0 | 1 => {
                let position = random.next_u64();
                let batch = fixture.batch(&[(sequence, position, &garbage)]);
                fixture.answers(3, 10 + random.next_u64() % 100_000, &batch)
            }
            2 => ServerMessage::Repeated(fixture.batch(&[(sequence, 20, &garbage)])),
            3 => ServerMessage::Busy {
                session: SESSION,
                first: Sequence(sequence),
                retry_after_ms: u32::MAX,
            },
            4 => ServerMessage::Denied { session: SESSION, first, refusal: Refusal::TooLarge },
            5 => {
                let id = read.0 + random.next_u64() % 3;
                ServerMessage::ReadReply { id, commit: CommitIndex(step), reply: Some(garbage) }
            }
            6 => {
                let session = SessionId(random.next_u64() % 10);
                let first = random.next_u64() % 2000;
                ServerMessage::Denied { session, first, refusal: Refusal::UnknownSession }
            }
            _ => {
                let position = Position(1 + random.next_u64() % 1000 + step);
                let change = Change { key: garbage.repeat(20), value: Some(garbage) };
                let items = vec![ChangeItem { position, index: 0, change }];
                ServerMessage::Changes { id: watch, through: position, items }
            }
        };
        fixture.tell(3, message);
        fixture.take_events();
        let kept = fixture.session.footprint();
        assert!(kept.statements <= 4 * STATEMENTS_PER_MEMBER_MAX, "{kept:?}");
        assert!(kept.agreed <= SETTLED_MAX, "{kept:?}");
        assert!(kept.votes <= 1001, "at most one vote of it an operation or read: {kept:?}");
        assert!(kept.watch_bytes <= WATCH_AHEAD_BYTES_MAX, "{kept:?}");
        assert_eq!((kept.flights, kept.reads, kept.watches), (2, 1, 1), "{kept:?}");
    }
}
