//! Keys and values, leases and locks, in the shape that users of etcd know.
//!
//! Values are public to the servers. Every entry carries positions in the total order: where its
//! key was created, where it last changed, and how often since it was created.
//!
//! # Source
//! The paper, section 8 (OASIS, Fleet): variables and locks on intrusion-tolerant servers.

use borsh::{BorshDeserialize, BorshSerialize};

use crate::{Position, Time};

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
    /// Does `then` if all conditions hold, `otherwise` if not, as one step.
    Transaction {
        /// All must hold.
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
        lease: Position,
    },
    /// Ends a lease: its keys go, its locks pass on.
    LeaseRevoke {
        /// The lease.
        lease: Position,
    },
    /// Reads a lease. Changes nothing.
    LeaseShow {
        /// The lease.
        lease: Position,
    },
    /// Takes the lock, or queues for it, for as long as the lease lives.
    Lock {
        /// The lock's name.
        name: Vec<u8>,
        /// A lease of the asker.
        lease: Position,
    },
    /// Gives the lock up, or leaves its queue.
    Unlock {
        /// The lock's name.
        name: Vec<u8>,
        /// The lease that it is held or awaited under.
        lease: Position,
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
    pub lease: Option<Position>,
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
    /// The lock that it names is held under this fencing token, now.
    LockedWith(Position),
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
        lease: Option<Position>,
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
    pub lease: Option<Position>,
}

/// The reply to a [`KvRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, BorshSerialize, BorshDeserialize)]
pub enum KvReply {
    /// The entry, if there is one.
    Entry(Option<Entry>),
    /// A page of entries, and whether more follow.
    Entries {
        /// In key order.
        entries: Vec<Entry>,
        /// Whether more follow.
        more: bool,
    },
    /// The change was made.
    Written {
        /// Where.
        position: Position,
        /// Whether the key had a value before.
        existed: bool,
    },
    /// The condition did not hold; this is what is there.
    Conflict(Option<Entry>),
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
        lease: Position,
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
        token: Position,
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
        holder: Option<(Position, Position)>,
        /// How many wait.
        waiting: u32,
    },
    /// No such lease, or it is another client's, or it has ended.
    NoLease,
    /// The lease neither holds the lock nor waits for it.
    NotHolder,
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
