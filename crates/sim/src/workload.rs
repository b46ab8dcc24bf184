//! What clients ask for: reads, writes and transactions on a few keys, and a lock.

use ravelin_model::requests::kv::{Condition, KvReply, KvRequest, LeaseId, Step, Write};

use crate::dice::Dice;

/// Pairs of keys; a transaction touches both keys of a pair.
const PAIRS: u64 = 3;
/// Lease under which locks are taken, in agreed milliseconds: longer than any run.
const LEASE_TTL_MS: u64 = 3_600_000;
const LOCK: &[u8] = b"lock";

/// One client's script.
pub(crate) struct Workload {
    client: u16,
    dice: Dice,
    /// How many operations were drawn: makes values unique.
    drawn: u64,
    /// Values that the client read or wrote lately, to compare with.
    known: Vec<Vec<u8>>,
    lock: Lock,
}

/// Where the client stands with the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lock {
    /// It takes no locks.
    Without,
    /// It has asked for a lease, or is about to.
    NoLease,
    /// It has a lease.
    Free(LeaseId),
    /// It has asked for the lock.
    Asked(LeaseId),
}

impl Workload {
    pub(crate) fn new(seed: u64, client: u16) -> Self {
        let mut dice = Dice::new(seed ^ u64::from(client) << 32, "workload");
        let lock = if dice.once_in(4) { Lock::NoLease } else { Lock::Without };
        Self { client, dice, drawn: 0, known: Vec::new(), lock }
    }

    /// The next request.
    pub(crate) fn draw(&mut self) -> KvRequest {
        self.drawn += 1;
        if self.lock != Lock::Without && self.dice.once_in(6) {
            return self.draw_lock();
        }
        let pair = self.dice.below(PAIRS);
        let (key, other) = (self.key(pair, 0), self.key(pair, 1));
        let (key, other) = if self.dice.once_in(2) { (key, other) } else { (other, key) };
        match self.dice.below(100) {
            0..35 => KvRequest::Get { key },
            35..60 => write(key, Some(self.value(b'p')), Condition::Always),
            60..78 => {
                let condition = self.condition();
                write(key, Some(self.value(b's')), condition)
            }
            78..85 => write(key, None, Condition::Always),
            _ => {
                let conditions = vec![(key.clone(), self.condition())];
                let then = vec![
                    Step::Put { key: other.clone(), value: self.value(b't'), lease: None },
                    Step::Get(other.clone()),
                    match self.dice.once_in(2) {
                        true => Step::Delete(key.clone()),
                        false => {
                            Step::Put { key: key.clone(), value: self.value(b'u'), lease: None }
                        }
                    },
                ];
                let otherwise = vec![Step::Get(key), Step::Get(other)];
                KvRequest::Transaction { conditions, then, otherwise }
            }
        }
    }

    /// Learns from a reply.
    pub(crate) fn learn(&mut self, request: &KvRequest, reply: &KvReply) {
        match (request, reply) {
            (_, KvReply::Entry(entry) | KvReply::Conflict { found: Some(entry), .. }) => {
                self.remember(entry.value.clone());
            }
            (KvRequest::LeaseGrant { .. }, KvReply::Lease { lease, .. }) => {
                self.lock = Lock::Free(*lease);
            }
            _ => {}
        }
    }

    fn draw_lock(&mut self) -> KvRequest {
        match self.lock {
            Lock::Without | Lock::NoLease => {
                // The time is unique, so that each asking is told apart.
                KvRequest::LeaseGrant { ttl_ms: LEASE_TTL_MS + self.unique() }
            }
            Lock::Free(lease) => {
                self.lock = Lock::Asked(lease);
                KvRequest::Lock { name: LOCK.to_vec(), lease }
            }
            Lock::Asked(lease) => {
                self.lock = Lock::Free(lease);
                KvRequest::Unlock { name: LOCK.to_vec(), lease }
            }
        }
    }

    fn unique(&self) -> u64 {
        self.drawn * 16 + u64::from(self.client)
    }

    fn key(&self, pair: u64, side: u64) -> Vec<u8> {
        format!("pair{pair}/{side}").into_bytes()
    }

    fn value(&mut self, kind: u8) -> Vec<u8> {
        let value = format!("{}{}.{}", char::from(kind), self.client, self.drawn).into_bytes();
        self.remember(value.clone());
        value
    }

    fn remember(&mut self, value: Vec<u8>) {
        self.known.push(value);
        if self.known.len() > 4 {
            self.known.remove(0);
        }
    }

    fn condition(&mut self) -> Condition {
        match self.dice.below(4) {
            0 => Condition::Absent,
            1 => Condition::Present,
            _ => match self.dice.pick(&self.known) {
                Some(value) => Condition::ValueIs(value.clone()),
                None => Condition::Absent,
            },
        }
    }
}

fn write(key: Vec<u8>, value: Option<Vec<u8>>, condition: Condition) -> KvRequest {
    KvRequest::Write(Write { key, value, condition, lease: None })
}
