//! Leases: what hangs on one goes when its time is up.

use std::time::Duration;

use ravelin_model::limits::{LEASE_ATTACHED_MAX, LEASE_TTL_MAX, LEASE_TTL_MIN};
use ravelin_model::requests::kv::{KvReply, LeaseId, StoredLease, lease_key};
use ravelin_model::{Context, Encode as _, Position, Time, View};

use super::{Turn, layout};

/// Grants a lease to the asker.
pub(super) fn grant(turn: &mut Turn<'_>, context: &Context, ttl_ms: u64) -> KvReply {
    let ttl = Duration::from_millis(ttl_ms);
    if !(LEASE_TTL_MIN..=LEASE_TTL_MAX).contains(&ttl) {
        return KvReply::Invalid;
    }
    let lease = LeaseId(layout::next_number(turn.store));
    let expires = turn.now.after(ttl);
    let record = StoredLease { owner: context.client, ttl_ms, expires, attached: 0 };
    schedule(turn, lease, &record);
    KvReply::Lease { lease, ttl_ms, expires }
}

/// Starts the lease's time anew.
pub(super) fn renew(turn: &mut Turn<'_>, context: &Context, lease: LeaseId) -> KvReply {
    let Some(mut record) = of_asker(turn, context, lease) else { return KvReply::NoLease };
    let ttl_ms = record.ttl_ms;
    let expires = turn.now.after(Duration::from_millis(ttl_ms));
    turn.store.delete(&layout::expiry_key(record.expires, lease));
    record.expires = expires;
    schedule(turn, lease, &record);
    KvReply::Lease { lease, ttl_ms, expires }
}

/// Ends the lease now; sweeps remove what hung on it.
pub(super) fn revoke(turn: &mut Turn<'_>, context: &Context, lease: LeaseId) -> KvReply {
    let Some(mut record) = of_asker(turn, context, lease) else { return KvReply::NoLease };
    turn.store.delete(&layout::expiry_key(record.expires, lease));
    record.expires = turn.now;
    schedule(turn, lease, &record);
    KvReply::LeaseEnded
}

/// Reads a lease.
pub(super) fn show(view: &dyn View, now: Time, lease: LeaseId) -> KvReply {
    match living(view, now, lease) {
        Some(StoredLease { ttl_ms, expires, .. }) => KvReply::Lease { lease, ttl_ms, expires },
        None => KvReply::NoLease,
    }
}

/// Reads a lease without ordering; `None` for one that was not yet granted here.
pub(super) fn query(view: &dyn View, now: Time, lease: LeaseId) -> Option<KvReply> {
    (lease.0 <= layout::last_number(view)).then(|| show(view, now, lease))
}

/// Whether an entry that hangs on `lease`, or on none, has its value.
pub(super) fn holds(view: &dyn View, now: Time, lease: Option<LeaseId>) -> bool {
    lease.is_none_or(|lease| is_alive(view, now, lease))
}

/// Whether agreed time has not reached the end of `lease`.
pub(super) fn is_alive(view: &dyn View, now: Time, lease: LeaseId) -> bool {
    living(view, now, lease).is_some()
}

/// The lease, if it lives and is the asker's.
pub(super) fn of_asker(turn: &Turn<'_>, context: &Context, lease: LeaseId) -> Option<StoredLease> {
    living(turn.view(), turn.now, lease).filter(|record| record.owner == context.client)
}

/// Whether `more` keys and locks may hang on the lease beside those that do.
pub(super) fn has_room(record: &StoredLease, more: i64) -> bool {
    i64::from(record.attached) + more <= i64::from(LEASE_ATTACHED_MAX)
}

/// Hangs what lies under `thing`, changed at `position`, on the lease, or notes that it changed.
pub(super) fn attach(turn: &mut Turn<'_>, lease: LeaseId, thing: &[u8], position: Position) {
    let key = layout::attached_key(lease, thing);
    if turn.store.get(&key).is_none() {
        count(turn, lease, 1);
    }
    turn.store.put(&key, position.encode());
}

/// Takes off the lease what lies under `thing`.
pub(super) fn detach(turn: &mut Turn<'_>, lease: LeaseId, thing: &[u8]) {
    turn.store.delete(&layout::attached_key(lease, thing));
    count(turn, lease, -1);
}

fn count(turn: &mut Turn<'_>, lease: LeaseId, change: i32) {
    let mut record =
        layout::lease(turn.view(), lease).expect("a lease stays while things hang on it");
    record.attached =
        record.attached.checked_add_signed(change).expect("what is taken off hung there");
    turn.store.put(&lease_key(lease), record.encode());
}

fn living(view: &dyn View, now: Time, lease: LeaseId) -> Option<StoredLease> {
    layout::lease(view, lease).filter(|record| now < record.expires)
}

/// Writes the lease and its place among those that will end.
fn schedule(turn: &mut Turn<'_>, lease: LeaseId, record: &StoredLease) {
    turn.store.put(&layout::expiry_key(record.expires, lease), Vec::new());
    turn.show(lease_key(lease), record);
}
