//! Keys and values, leases and locks, in the shape that users of etcd know.
//!
//! Values are public to the servers. Every entry carries positions in the total order: where its
//! key was created, where it last changed, and how often since it was created.
//!
//! What is in the state, as proofs and watches show it, is here too: an entry lies under
//! [`entry_key`] as a [`StoredEntry`], a lease under [`lease_key`] as a [`StoredLease`], a lock
//! under [`lock_key`] as a [`StoredLock`]; a change carries that key and those bytes.
//!
//! # Source
//! The paper, section 8 (OASIS, Fleet): variables and locks on intrusion-tolerant servers.

use borsh::{BorshDeserialize, BorshSerialize};

use crate::{Position, PublicKey, Time};

/// Names a lease: its number among all that were ever granted, so that none is used twice.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize,
)]
pub struct LeaseId(pub u64);

/// A fencing token: larger than every one given before, for any lock. What a lock protects refuses
/// a token below the largest that it has seen.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize,
)]
pub struct Token(pub u64);

/// Asked of [`crate::ServiceId::KV`].
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum KvRequest {
    /// Reads one key. Changes nothing.
    Get {
        /// The key.
        key: Vec<u8>,
    },
    /// Reads entries whose keys begin with `prefix` and lie above `after`, in key order. Changes
    /// nothing.
    List {
        /// Beginning of the keys; empty for all.
        prefix: Vec<u8>,
        /// Start after this key; empty for the beginning.
        after: Vec<u8>,
        /// At most so many entries, up to 1,000; the reply's bytes bound it too.
        limit: u16,
        /// Leave out the values.
        keys_only: bool,
    },
    /// Changes one key if the condition holds.
    Write(Write),
    /// Does `then` if all conditions hold, `otherwise` if not, as one step: all of it or nothing.
    /// Steps see what earlier steps did; a key may be set and removed several times, of which others
    /// see only what comes out in the end.
    Transaction {
        /// All must hold of what is there before; at most 128.
        conditions: Vec<(Vec<u8>, Condition)>,
        /// Done if they do; at most 128 steps.
        then: Vec<Step>,
        /// Done if they do not; at most 128 steps.
        otherwise: Vec<Step>,
    },
    /// Grants a lease.
    LeaseGrant {
        /// Agreed milliseconds that it lasts unless renewed, `1,000..=86,400,000`.
        ttl_ms: u64,
    },
    /// Starts a lease's time anew. Only the client that holds it may.
    LeaseRenew {
        /// The lease.
        lease: LeaseId,
    },
    /// Ends a lease: its keys go, its locks pass on.
    LeaseRevoke {
        /// The lease.
        lease: LeaseId,
    },
    /// Reads a lease. Changes nothing.
    LeaseShow {
        /// The lease.
        lease: LeaseId,
    },
    /// Takes the lock, or queues for it, for as long as the lease lives.
    Lock {
        /// The lock's name.
        name: Vec<u8>,
        /// A lease of the asker.
        lease: LeaseId,
    },
    /// Gives the lock up, or leaves its queue.
    Unlock {
        /// The lock's name.
        name: Vec<u8>,
        /// The lease that it is held or awaited under.
        lease: LeaseId,
    },
    /// Reads a lock. Changes nothing.
    LockShow {
        /// The lock's name.
        name: Vec<u8>,
    },
}

/// One conditional change of one key.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Write {
    /// The key.
    pub key: Vec<u8>,
    /// The new value; `None` deletes.
    pub value: Option<Vec<u8>>,
    /// What must hold.
    pub condition: Condition,
    /// The key goes when this lease ends.
    pub lease: Option<LeaseId>,
}

/// What must hold of a key.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Condition {
    /// Nothing.
    Always,
    /// It has no value.
    Absent,
    /// It has a value.
    Present,
    /// It has this value.
    ValueIs(Vec<u8>),
    /// It last changed here.
    ChangedAt(Position),
    /// The lock of the same name is held under this fencing token, now. (A transaction can name any
    /// lock in a condition; a single write only the lock called like its key.)
    LockedWith(Token),
}

/// One step of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Step {
    /// Reads a key.
    Get(Vec<u8>),
    /// Sets a key, under a lease if named.
    Put {
        /// The key.
        key: Vec<u8>,
        /// The value.
        value: Vec<u8>,
        /// The key goes when this lease ends.
        lease: Option<LeaseId>,
    },
    /// Removes a key.
    Delete(Vec<u8>),
}

/// A key with its value and history.
#[derive(Clone, Debug, PartialEq, Eq, Hash, BorshSerialize, BorshDeserialize)]
pub struct Entry {
    /// The key.
    pub key: Vec<u8>,
    /// The value; empty where only keys were asked for.
    pub value: Vec<u8>,
    /// Where the key came to be.
    pub created: Position,
    /// Where it last changed.
    pub changed: Position,
    /// Changes since it came to be, from 1.
    pub version: u64,
    /// The lease it depends on.
    pub lease: Option<LeaseId>,
}

/// The reply to a [`KvRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, BorshSerialize, BorshDeserialize)]
pub enum KvReply {
    /// The entry.
    Entry(Entry),
    /// The key has no value.
    Absent {
        /// Where a key was last removed, this or another: tells apart two absences of one key.
        removed: Position,
    },
    /// A page of entries.
    Entries {
        /// In key order.
        entries: Vec<Entry>,
        /// Where to go on (`after`), if more may follow. A page can be short, even empty, and yet
        /// not the last.
        next: Option<Vec<u8>>,
        /// Where a key was last removed.
        removed: Position,
    },
    /// The change was made.
    Written {
        /// Where.
        position: Position,
        /// Whether the key had a value before.
        existed: bool,
    },
    /// The condition did not hold.
    Conflict {
        /// What is there.
        found: Option<Entry>,
        /// Whether the value of `found` was left out because the reply would be too large.
        value_left_out: bool,
    },
    /// A transaction's outcome, one result a step.
    Transaction {
        /// Whether the conditions held.
        held: bool,
        /// In order.
        results: Vec<StepResult>,
    },
    /// A lease.
    Lease {
        /// Its id.
        lease: LeaseId,
        /// How long it lasts from a renewal.
        ttl_ms: u64,
        /// Agreed time at which it ends unless renewed.
        expires: Time,
    },
    /// A lease is gone.
    LeaseEnded,
    /// The lock is held under this fencing token: it grows with every holder.
    Locked {
        /// The fencing token.
        token: Token,
    },
    /// The lock is held by another; the asker waits as number `ahead` + 1.
    Queued {
        /// How many are before the asker, the holder included.
        ahead: u32,
    },
    /// The lock was given up, or its queue left.
    Unlocked,
    /// The state of a lock.
    Lock {
        /// The holder's lease and fencing token.
        holder: Option<(LeaseId, Token)>,
        /// How many wait.
        waiting: u32,
        /// Grows with every change of this lock, and while it is free with others' too.
        revision: u64,
    },
    /// No such lease, or it is another client's, or it has ended.
    NoLease,
    /// The lease neither holds the lock nor waits for it.
    NotHolder,
    /// As many keys and locks hang on the lease as may.
    LeaseFull,
    /// As many wait for the lock as may.
    QueueFull,
    /// The reply would exceed 64 KiB, or more than 4 MiB of entries would be looked at, and nothing
    /// was done: ask for less in one transaction.
    TooLarge,
    /// A key, value, list or time outside the limits, which are named in `docs/limits.md`.
    Invalid,
}

/// The result of one step of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash, BorshSerialize, BorshDeserialize)]
pub enum StepResult {
    /// What was read.
    Entry(Option<Entry>),
    /// A key was set or removed; whether it had a value before.
    Done {
        /// Whether the key had a value before.
        existed: bool,
    },
}

/// An entry in the state, under [`entry_key`]. It has a value only while its lease lives.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct StoredEntry {
    /// Where the key came to be.
    pub created: Position,
    /// Where it last changed.
    pub changed: Position,
    /// Changes since it came to be, from 1.
    pub version: u64,
    /// The lease that it depends on.
    pub lease: Option<LeaseId>,
    /// The value.
    pub value: Vec<u8>,
}

/// A lease in the state, under [`lease_key`].
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct StoredLease {
    /// The client that holds it.
    pub owner: PublicKey,
    /// How long it lasts from a renewal.
    pub ttl_ms: u64,
    /// It lives while agreed time is below this.
    pub expires: Time,
    /// Keys and locks that hang on it.
    pub attached: u32,
}

/// A lock that is held, in the state, under [`lock_key`].
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct StoredLock {
    /// The lease that holds it.
    pub holder: LeaseId,
    /// The holder's fencing token.
    pub token: Token,
    /// Leases that wait, the next holder first.
    pub waiting: Vec<LeaseId>,
    /// Grows with every change.
    pub revision: u64,
}

/// First byte of the keys of entries.
pub const ENTRY_TAG: u8 = b'e';
/// First byte of the keys of leases.
pub const LEASE_TAG: u8 = b'l';
/// First byte of the keys of locks.
pub const LOCK_TAG: u8 = b'm';

/// Where the entry of `key` lies in the state; also the beginning of all keys that begin with `key`.
#[must_use]
pub fn entry_key(key: &[u8]) -> Vec<u8> {
    [&[ENTRY_TAG], key].concat()
}

/// Where `lease` lies in the state.
#[must_use]
pub fn lease_key(lease: LeaseId) -> Vec<u8> {
    [&[LEASE_TAG][..], &lease.0.to_be_bytes()].concat()
}

/// Where the lock of this name lies in the state.
#[must_use]
pub fn lock_key(name: &[u8]) -> Vec<u8> {
    [&[LOCK_TAG], name].concat()
}
