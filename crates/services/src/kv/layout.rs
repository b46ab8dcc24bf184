//! Where things lie in the store of the kv service.
//!
//! | key | value | |
//! |---|---|---|
//! | `e` key | `StoredEntry` | an entry |
//! | `l` lease | `StoredLease` | a lease, until all that hung on it is swept |
//! | `m` name | `StoredLock` | a lock that is held |
//! | `a` lease key | `Position` | what hangs on a lease, by its key above; where it last changed |
//! | `x` expires lease | empty | leases in the order in which they end |
//! | `n` | `u64` | the last number given: to leases, fencing tokens and revisions of locks |
//! | `r` | `Position` | the last removal of an entry |
//!
//! Leases and times in keys are 8 bytes, big-endian, so that key order is theirs. Values are borsh.
//! Everything that names a lease in an `e` or `m` record has its `a` key, and nothing else has one;
//! `attached` of the lease counts them.

use borsh::BorshDeserialize;
use ravelin_model::requests::kv::{
    LeaseId, StoredEntry, StoredLease, StoredLock, entry_key, lease_key, lock_key,
};
use ravelin_model::{Encode as _, Position, Store, Time, View};

const ATTACHED_TAG: u8 = b'a';
const EXPIRY_TAG: u8 = b'x';
const NUMBER_KEY: &[u8] = b"n";
const REMOVED_KEY: &[u8] = b"r";

/// The entry of `key`, whether or not its lease lives.
pub(super) fn entry(view: &dyn View, key: &[u8]) -> Option<StoredEntry> {
    view.get(&entry_key(key)).map(|bytes| stored(&bytes))
}

/// The lease, whether or not it lives.
pub(super) fn lease(view: &dyn View, lease: LeaseId) -> Option<StoredLease> {
    view.get(&lease_key(lease)).map(|bytes| stored(&bytes))
}

/// The lock of this name, if it is held, whether or not its holder's lease lives.
pub(super) fn lock(view: &dyn View, name: &[u8]) -> Option<StoredLock> {
    view.get(&lock_key(name)).map(|bytes| stored(&bytes))
}

/// Reads what this service wrote.
pub(super) fn stored<T: BorshDeserialize>(bytes: &[u8]) -> T {
    borsh::from_slice(bytes).expect("the store gives back the records that were put")
}

/// The last number given.
pub(super) fn last_number(view: &dyn View) -> u64 {
    view.get(NUMBER_KEY).map_or(0, |bytes| stored(&bytes))
}

/// Gives the next number.
pub(super) fn next_number(store: &mut dyn Store) -> u64 {
    let next = last_number(store).checked_add(1).expect("nobody counts to 2^64");
    store.put(NUMBER_KEY, next.encode());
    next
}

/// The last removal of an entry.
pub(super) fn last_removal(view: &dyn View) -> Position {
    view.get(REMOVED_KEY).map_or(Position(0), |bytes| stored(&bytes))
}

/// Notes that an entry was removed: at `position`, or, when its lease ended, any time after it.
pub(super) fn note_removal(store: &mut dyn Store, position: Position) {
    if position > last_removal(store) {
        store.put(REMOVED_KEY, position.encode());
    }
}

/// The key that says that what lies under `thing` hangs on `lease`; without `thing`, the beginning
/// of all of them.
pub(super) fn attached_key(lease: LeaseId, thing: &[u8]) -> Vec<u8> {
    [&[ATTACHED_TAG][..], &lease.0.to_be_bytes(), thing].concat()
}

/// What of an [`attached_key`] names the thing.
pub(super) fn attached_thing(key: &[u8]) -> &[u8] {
    key.get(1 + size_of::<LeaseId>()..).expect("a lease stands before the thing")
}

/// The key by which leases are found in the order in which they end.
pub(super) fn expiry_key(expires: Time, lease: LeaseId) -> Vec<u8> {
    [&[EXPIRY_TAG][..], &expires.0.to_be_bytes(), &lease.0.to_be_bytes()].concat()
}

/// The expiry and the lease that an [`expiry_key`] names.
pub(super) fn expiry_parts(key: &[u8]) -> (Time, LeaseId) {
    let number = |at: usize| {
        let bytes = key.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
        u64::from_be_bytes(bytes.expect("a time and a lease stand behind the tag"))
    };
    (Time(number(1)), LeaseId(number(9)))
}

/// The first key of the expiry index, and one behind all that end at `until` or before.
pub(super) fn expiry_range(until: Time) -> ([u8; 1], Vec<u8>) {
    ([EXPIRY_TAG], expiry_key(until, LeaseId(u64::MAX)))
}

/// The smallest key above all that begin with `prefix`; `None` if there is none.
pub(super) fn above_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let kept = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut above = prefix.get(..=kept)?.to_vec();
    *above.last_mut()? += 1;
    Some(above)
}
