//! Every limit and default that more than one floor must agree on. `docs/limits.md` gives reasons.

use std::ops::RangeInclusive;
use std::time::Duration;

/// Replicas of a cluster.
pub const REPLICAS_MAX: u16 = 100;
/// Leader slots of a round, unless the plan says otherwise (`arbitrary`).
pub const LEADERS_PER_ROUND_DEFAULT: u16 = 2;
/// Operations of an envelope.
pub const ENVELOPE_OPERATIONS_MAX: usize = 1024;
/// Canonical bytes of an envelope.
pub const ENVELOPE_BYTES_MAX: usize = 1 << 20;
/// Canonical bytes of a block, authenticator included.
pub const BLOCK_BYTES_MAX: usize = 4 << 20;
/// Envelopes of a block.
pub const BLOCK_ENVELOPES_MAX: usize = 4096;
/// Votes (signed statements and evidence) of a block.
pub const BLOCK_VOTES_MAX: usize = 64;
/// Rounds below the last committed leader that are kept and may still be delivered.
pub const GC_DEPTH: u64 = 128;
/// Chains in one fetch.
pub const FETCH_MAX: usize = 64;
/// Canonical bytes of one message between replicas: a block, or several in a catch-up reply.
pub const PEER_MESSAGE_BYTES_MAX: usize = BLOCK_BYTES_MAX + (64 << 10);
/// Canonical bytes of one message from a client to a replica.
pub const CLIENT_MESSAGE_BYTES_MAX: usize = ENVELOPE_BYTES_MAX + (4 << 10);
/// Canonical bytes of one message from a replica to a client.
pub const SERVER_MESSAGE_BYTES_MAX: usize = 4 << 20;
/// Bytes of one reply; a service pages or refuses rather than exceed it.
pub const REPLY_BYTES_MAX: usize = 1 << 20;
/// Bytes of a reply that changes state and so enters the reply cache.
pub const CACHED_REPLY_BYTES_MAX: usize = 64 << 10;
/// Sequence numbers that a session remembers.
pub const SESSION_WINDOW: u64 = 1024;
/// Live sessions of one client.
pub const SESSIONS_PER_CLIENT_MAX: u32 = 64;
/// Agreed time without an operation after which a session ends.
pub const SESSION_IDLE_MAX: Duration = Duration::from_secs(3600);
/// Commits between two checkpoints that a plan may ask for.
pub const CHECKPOINT_EVERY: RangeInclusive<u64> = 16..=65_536;
/// Commits between two checkpoints, unless the plan says otherwise.
pub const CHECKPOINT_EVERY_DEFAULT: u64 = 1024;
/// Rounds behind the others at which a replica fetches their state rather than the blocks: they take
/// longer to execute than the state to fetch, unless that is large.
pub const TRANSFER_LAG_DEFAULT: u64 = 2048;
/// Bytes of committed blocks kept on disk below the checkpoint.
pub const LOG_RETENTION_BYTES_DEFAULT: u64 = 1 << 30;
/// Bytes of the audit log kept on disk: about two million operations.
pub const AUDIT_RETENTION_BYTES_DEFAULT: u64 = 256 << 20;
/// How long a client waits for its home replica before it asks others.
pub const CLIENT_PATIENCE: Duration = Duration::from_millis(500);
/// Heartbeat of an idle cluster.
pub const HEARTBEAT: Duration = Duration::from_secs(1);
/// Upper bound of the adaptive wait for a leader's block or for its votes.
pub const LEADER_WAIT_MAX: Duration = Duration::from_secs(10);
/// Members, clients and administrators named in one plan.
pub const PLAN_ENTRIES_MAX: usize = 1024;
/// Bytes of a name in a plan or an enrolment.
pub const NAME_BYTES_MAX: usize = 128;
/// Bytes of a key of the kv service.
pub const KV_KEY_BYTES_MAX: usize = 1 << 10;
/// Bytes of a value of the kv service.
pub const KV_VALUE_BYTES_MAX: usize = 512 << 10;
/// Conditions of a transaction: they cost a lookup each.
pub const TRANSACTION_CONDITIONS_MAX: usize = 128;
/// Steps of each branch of a transaction, as in etcd.
pub const TRANSACTION_STEPS_MAX: usize = 128;
/// Entries that a page of a list looks at, those of ended leases included.
pub const LIST_ENTRIES_MAX: u16 = 1000;
/// Stored bytes that one list or transaction may look at: what a small request can cost at most.
pub const KV_VISITED_BYTES_MAX: usize = 4 << 20;
/// Shortest time a lease may last: below it, a busy cluster's commits could outlast a renewal.
pub const LEASE_TTL_MIN: Duration = Duration::from_secs(1);
/// Longest time a lease may last: what its client left behind is gone a day later.
pub const LEASE_TTL_MAX: Duration = Duration::from_secs(86_400);
/// Keys and locks that hang on one lease.
pub const LEASE_ATTACHED_MAX: u32 = 1024;
/// Leases that wait for one lock: its record stays near 2 KiB, and passing it on under 256 lookups.
pub const LOCK_WAITING_MAX: usize = 256;
/// Keys, locks and leases that the sweep after one commit removes: a few milliseconds of work. What
/// has ended reads as absent before it is swept.
pub const SWEEP_MAX: usize = 1024;
/// Bytes of a request that the audit log keeps; of longer ones it keeps the digest alone.
pub const AUDIT_REQUEST_BYTES_MAX: usize = 256;
/// Canonical bytes of one list of the audit log, but for those of the envelope that exceeds them.
pub const AUDIT_LIST_BYTES_MAX: usize = 1 << 20;
/// Canonical bytes of a page of the audit log, but for those of its last list.
pub const AUDIT_PAGE_BYTES_MAX: usize = 1 << 20;
/// Clients of a page of a list of clients.
pub const CLIENTS_LISTED_MAX: u16 = 1024;
