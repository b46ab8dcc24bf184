//! Locks: one holder at a time, first come first served, each with a larger fencing token.

use ravelin_model::limits::LOCK_WAITING_MAX;
use ravelin_model::requests::kv::{KvReply, LeaseId, StoredLock, Token, lock_key};
use ravelin_model::{Context, Time, View};

use super::{Turn, entries, layout, leases};

/// Takes the lock for a lease of the asker, or queues for it. Asking again changes nothing.
pub(super) fn lock(turn: &mut Turn<'_>, context: &Context, name: &[u8], lease: LeaseId) -> KvReply {
    if !entries::is_key(name) {
        return KvReply::Invalid;
    }
    let Some(record) = leases::of_asker(turn, context, lease) else { return KvReply::NoLease };
    let held = settle(turn, name);
    if let Some(reply) = held.as_ref().and_then(|held| place_of(held, lease)) {
        return reply;
    }
    if held.as_ref().is_some_and(|held| held.waiting.len() >= LOCK_WAITING_MAX) {
        return KvReply::QueueFull;
    }
    if !leases::has_room(&record, 1) {
        return KvReply::LeaseFull;
    }
    leases::attach(turn, lease, &lock_key(name), context.position);
    let number = layout::next_number(turn.store);
    let held = match held {
        None => {
            StoredLock { holder: lease, token: Token(number), waiting: vec![], revision: number }
        }
        Some(mut held) => {
            held.waiting.push(lease);
            held.revision = number;
            held
        }
    };
    turn.show(lock_key(name), &held);
    place_of(&held, lease).expect("it was just given a place")
}

/// Gives the lock up, or leaves its queue.
pub(super) fn unlock(
    turn: &mut Turn<'_>,
    context: &Context,
    name: &[u8],
    lease: LeaseId,
) -> KvReply {
    if !entries::is_key(name) {
        return KvReply::Invalid;
    }
    if leases::of_asker(turn, context, lease).is_none() {
        return KvReply::NoLease;
    }
    match settle(turn, name) {
        Some(held) if place_of(&held, lease).is_some() => {
            take_out(turn, name, held, &[lease]);
            KvReply::Unlocked
        }
        _ => KvReply::NotHolder,
    }
}

/// Reads a lock, after passing it on if that is due.
pub(super) fn show(turn: &mut Turn<'_>, name: &[u8]) -> KvReply {
    if !entries::is_key(name) {
        return KvReply::Invalid;
    }
    let held = settle(turn, name);
    described(turn.view(), held.as_ref())
}

/// Reads a lock without ordering; `None` if it must be passed on first.
pub(super) fn query(view: &dyn View, now: Time, name: &[u8]) -> Option<KvReply> {
    if !entries::is_key(name) {
        return Some(KvReply::Invalid);
    }
    let held = layout::lock(view, name);
    let is_settled = held.as_ref().is_none_or(|held| ended(view, now, held).is_empty());
    is_settled.then(|| described(view, held.as_ref()))
}

/// Whether the lock is held under `token` by a lease that lives.
pub(super) fn is_held_under(view: &dyn View, now: Time, name: &[u8], token: Token) -> bool {
    layout::lock(view, name)
        .is_some_and(|held| held.token == token && leases::is_alive(view, now, held.holder))
}

/// Takes out members whose leases have ended, and passes the lock on if its holder is one of them.
pub(super) fn settle(turn: &mut Turn<'_>, name: &[u8]) -> Option<StoredLock> {
    let held = layout::lock(turn.view(), name)?;
    let ended = ended(turn.view(), turn.now, &held);
    if ended.is_empty() { Some(held) } else { take_out(turn, name, held, &ended) }
}

/// Members whose leases have ended.
fn ended(view: &dyn View, now: Time, held: &StoredLock) -> Vec<LeaseId> {
    let members = std::iter::once(held.holder).chain(held.waiting.iter().copied());
    members.filter(|lease| !leases::is_alive(view, now, *lease)).collect()
}

/// Takes `leaving` out; if the holder is one of them, the first that still waits gets the lock under
/// the next token.
fn take_out(
    turn: &mut Turn<'_>,
    name: &[u8],
    mut held: StoredLock,
    leaving: &[LeaseId],
) -> Option<StoredLock> {
    let key = lock_key(name);
    for lease in leaving {
        leases::detach(turn, *lease, &key);
    }
    held.waiting.retain(|lease| !leaving.contains(lease));
    held.revision = layout::next_number(turn.store);
    if leaving.contains(&held.holder) {
        if held.waiting.is_empty() {
            turn.remove(key);
            return None;
        }
        held.holder = held.waiting.remove(0);
        held.token = Token(held.revision);
    }
    turn.show(key, &held);
    Some(held)
}

/// What `lease` is told of its place, if it has one.
fn place_of(held: &StoredLock, lease: LeaseId) -> Option<KvReply> {
    if held.holder == lease {
        return Some(KvReply::Locked { token: held.token });
    }
    let place = held.waiting.iter().position(|waiting| *waiting == lease)?;
    Some(KvReply::Queued { ahead: length(place + 1) })
}

fn described(view: &dyn View, held: Option<&StoredLock>) -> KvReply {
    match held {
        Some(held) => KvReply::Lock {
            holder: Some((held.holder, held.token)),
            waiting: length(held.waiting.len()),
            revision: held.revision,
        },
        None => KvReply::Lock { holder: None, waiting: 0, revision: layout::last_number(view) },
    }
}

fn length(length: usize) -> u32 {
    u32::try_from(length).expect("queues are short")
}
