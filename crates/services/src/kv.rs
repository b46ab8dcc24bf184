//! Keys and values, leases and locks, in the shape that users of etcd know.
//!
//! **Guarantee:** every request is one atomic step in the total order. A key has a value only while
//! the lease that it hangs on lives; a lock has at most one holder, and each holder a larger fencing
//! token than all before.
//!
//! Assumes that agreed time never goes back. Values are public to the servers.
//!
//! # Time
//! A lease lives while agreed time is below its expiry; what hangs on an ended lease reads as absent
//! at once, whether or not [`Service::sweep`] has come to it. After each commit a sweep removes up to
//! [`SWEEP_MAX`](ravelin_model::limits::SWEEP_MAX) keys, locks and leases, those that ended first
//! before others. An ordered request about a lock first passes it on if its holder's lease has ended.
//!
//! # Reads without ordering
//! A quorum's equal replies are as fresh as an ordered read because no two states of what was asked
//! give one reply unless it never changed in between:
//!
//! - an entry names the position of its last change;
//! - an absent key and a page name the last removal of any key (that of an entry whose lease ended
//!   counts as the position of its last change, swept or not), so that "absent, set, absent" shows;
//! - a lease's expiry only grows, an ended lease stays ended, and one that was never granted here is
//!   not answered;
//! - a lock's revision grows with every change; a free lock shows the last number given to anything;
//!   a lock that has an ended lease among its members is not answered, for it must change first.
//!
//! # Changes
//! A change shows the record as it lies in the store, under its key there: entries, leases (granted,
//! renewed, revoked, gone) and locks. A transaction shows each key once, as it left it.
//!
//! # Source
//! The paper, section 8 (OASIS, Fleet): variables and locks on intrusion-tolerant servers. Leases:
//! C. Gray, D. Cheriton, *Leases: An Efficient Fault-Tolerant Mechanism for Distributed File Cache
//! Consistency*, SOSP 1989; here on agreed time, so no clock of a client or server matters.

mod entries;
mod layout;
mod leases;
mod locks;
mod sweep;
mod transactions;

use ravelin_model::requests::kv::KvRequest;
use ravelin_model::{
    Change, Context, Encode, Outcome, QueryContext, Service, ServiceId, Store, Time, View,
};

/// First bytes of the requests that only read: get, list, the look at a lease and at a lock.
const READING_TAGS: [u8; 4] = [0, 1, 7, 10];

/// The service of keys and values, leases and locks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Kv;

impl Service for Kv {
    const ID: ServiceId = ServiceId::KV;
    type Request = KvRequest;

    fn may_read(request: &[u8]) -> bool {
        request.first().is_some_and(|tag| READING_TAGS.contains(tag))
    }

    fn execute(&self, context: &Context, store: &mut dyn Store, request: KvRequest) -> Outcome {
        let now = context.time;
        let mut turn = Turn { store, now, changes: Vec::new() };
        let reply = match request {
            KvRequest::Get { key } => entries::get(turn.view(), now, key),
            KvRequest::List { prefix, after, limit, keys_only } => {
                let page = entries::Page { prefix, after, limit, keys_only };
                entries::list(turn.view(), now, &page)
            }
            KvRequest::Write(write) => transactions::write(&mut turn, context, write),
            KvRequest::Transaction { conditions, then, otherwise } => {
                transactions::transaction(&mut turn, context, &conditions, [then, otherwise])
            }
            KvRequest::LeaseGrant { ttl_ms } => leases::grant(&mut turn, context, ttl_ms),
            KvRequest::LeaseRenew { lease } => leases::renew(&mut turn, context, lease),
            KvRequest::LeaseRevoke { lease } => leases::revoke(&mut turn, context, lease),
            KvRequest::LeaseShow { lease } => leases::show(turn.view(), now, lease),
            KvRequest::Lock { name, lease } => locks::lock(&mut turn, context, &name, lease),
            KvRequest::Unlock { name, lease } => locks::unlock(&mut turn, context, &name, lease),
            KvRequest::LockShow { name } => locks::show(&mut turn, &name),
        };
        Outcome { reply: reply.encode(), changes: turn.changes, rekey: None }
    }

    fn query(
        &self,
        context: &QueryContext,
        store: &dyn View,
        request: KvRequest,
    ) -> Option<Vec<u8>> {
        let now = context.time;
        let reply = match request {
            KvRequest::Get { key } => entries::get(store, now, key),
            KvRequest::List { prefix, after, limit, keys_only } => {
                entries::list(store, now, &entries::Page { prefix, after, limit, keys_only })
            }
            KvRequest::LeaseShow { lease } => leases::query(store, now, lease)?,
            KvRequest::LockShow { name } => locks::query(store, now, &name)?,
            KvRequest::Write(_)
            | KvRequest::Transaction { .. }
            | KvRequest::LeaseGrant { .. }
            | KvRequest::LeaseRenew { .. }
            | KvRequest::LeaseRevoke { .. }
            | KvRequest::Lock { .. }
            | KvRequest::Unlock { .. } => return None,
        };
        Some(reply.encode())
    }

    fn sweep(&self, now: Time, store: &mut dyn Store) -> Vec<Change> {
        let mut turn = Turn { store, now, changes: Vec::new() };
        sweep::sweep(&mut turn);
        turn.changes
    }
}

/// One request, or one sweep, under way.
struct Turn<'a> {
    store: &'a mut dyn Store,
    now: Time,
    changes: Vec<Change>,
}

impl Turn<'_> {
    fn view(&self) -> &dyn View {
        &*self.store
    }

    /// Puts a record that watchers are told of.
    fn show(&mut self, key: Vec<u8>, record: &impl Encode) {
        let bytes = record.encode();
        self.store.put(&key, bytes.clone());
        self.changes.push(Change { key, value: Some(bytes) });
    }

    /// Removes a record that watchers are told of.
    fn remove(&mut self, key: Vec<u8>) {
        self.store.delete(&key);
        self.changes.push(Change { key, value: None });
    }
}

#[cfg(test)]
mod tests;
