//! The kv service as its documentation tells it, over plain maps: everything ends at its instant.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ravelin_model::requests::kv::{
    ENTRY_TAG, LEASE_TAG, LOCK_TAG, StepResult, StoredEntry, StoredLease, StoredLock, lease_key,
};
use ravelin_model::{Encode as _, Time};

use super::*;
use crate::tests::world::MemoryStore;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Reference {
    entries: BTreeMap<Vec<u8>, Entry>,
    leases: BTreeMap<LeaseId, Lease>,
    locks: BTreeMap<Vec<u8>, Vec<LeaseId>>,
    granted: Vec<Token>,
    holders: BTreeMap<Vec<u8>, (LeaseId, Token)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Lease {
    owner: u8,
    ttl_ms: u64,
    expires: Time,
}

/// What is visible of what a request asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Visible {
    Entries(Vec<Entry>),
    Lease(Option<Time>),
    Lock(Vec<LeaseId>),
}

impl Reference {
    /// Lets end what ended since the last request.
    pub(super) fn catch_up(&mut self, world: &World) {
        self.pass_time(world.now);
        self.note_tokens(world);
    }

    fn pass_time(&mut self, now: Time) {
        self.leases.retain(|_, lease| now < lease.expires);
        let leases = &self.leases;
        self.entries.retain(|_, entry| entry.lease.is_none_or(|lease| leases.contains_key(&lease)));
        self.locks.retain(|_, members| {
            members.retain(|lease| leases.contains_key(lease));
            !members.is_empty()
        });
    }

    fn is_of(&self, asker: u8, lease: LeaseId) -> bool {
        self.leases.get(&lease).is_some_and(|lease| lease.owner == asker)
    }

    /// Does what `request` asks, and checks what was replied to it.
    pub(super) fn follow(&mut self, world: &World, asker: u8, request: &KvRequest, got: &KvReply) {
        match request {
            KvRequest::Get { .. } | KvRequest::List { .. } => self.check_read(request, got),
            KvRequest::Write(write) => {
                let then = match write.value.clone() {
                    Some(value) => Step::Put { key: write.key.clone(), value, lease: write.lease },
                    None => Step::Delete(write.key.clone()),
                };
                let expected = if self.meets(&write.key, &write.condition) {
                    match self.take_all(world.position, asker, &[then]).as_deref() {
                        Some([StepResult::Done { existed }]) => {
                            KvReply::Written { position: world.position, existed: *existed }
                        }
                        _ => KvReply::NoLease,
                    }
                } else {
                    let found = self.entries.get(&write.key).cloned();
                    KvReply::Conflict { found, value_left_out: false }
                };
                assert_eq!(*got, expected);
            }
            KvRequest::Transaction { conditions, then, otherwise } => {
                let held = conditions.iter().all(|(key, condition)| self.meets(key, condition));
                let steps = if held { then } else { otherwise };
                let expected = match self.take_all(world.position, asker, steps) {
                    Some(results) => KvReply::Transaction { held, results },
                    None => KvReply::NoLease,
                };
                assert_eq!(*got, expected);
            }
            KvRequest::Lock { .. } | KvRequest::Unlock { .. } | KvRequest::LockShow { .. } => {
                self.follow_lock(asker, request, got);
            }
            _ => self.follow_lease(world.now, asker, request, got),
        }
    }

    /// Looks up which tokens were given when locks passed on: nobody need have been told yet.
    fn note_tokens(&mut self, world: &World) {
        for (key, bytes) in world.store.0.iter().filter(|(key, _)| key[0] == LOCK_TAG) {
            let held: StoredLock = borsh::from_slice(bytes).expect("a lock");
            self.hold(&key[1..], held.holder, held.token);
        }
    }

    fn check_read(&self, request: &KvRequest, got: &KvReply) {
        let Visible::Entries(expected) = self.visible(request) else { panic!("no read") };
        match (request, got) {
            (KvRequest::Get { .. }, KvReply::Entry(entry)) => {
                assert_eq!(expected, std::slice::from_ref(entry))
            }
            (KvRequest::Get { .. }, KvReply::Absent { .. }) => assert_eq!(expected, []),
            (KvRequest::List { .. }, KvReply::Entries { entries, next: None, .. }) => {
                assert_eq!(*entries, expected);
            }
            (KvRequest::List { .. }, KvReply::Entries { entries, next: Some(next), .. }) => {
                let here: Vec<_> = expected.into_iter().filter(|it| it.key <= *next).collect();
                assert_eq!(*entries, here);
            }
            _ => panic!("{got:?}"),
        }
    }

    /// What a read shows when all is told.
    pub(super) fn visible(&self, request: &KvRequest) -> Visible {
        match request {
            KvRequest::Get { key } => {
                Visible::Entries(self.entries.get(key).cloned().into_iter().collect())
            }
            KvRequest::List { prefix, after, .. } => Visible::Entries(
                self.entries
                    .values()
                    .filter(|it| {
                        it.key.starts_with(prefix) && (after.is_empty() || it.key > *after)
                    })
                    .cloned()
                    .collect(),
            ),
            KvRequest::LeaseShow { lease } => {
                Visible::Lease(self.leases.get(lease).map(|lease| lease.expires))
            }
            KvRequest::LockShow { name } => {
                Visible::Lock(self.locks.get(name).cloned().unwrap_or_default())
            }
            _ => panic!("no read: {request:?}"),
        }
    }

    fn meets(&self, key: &[u8], condition: &Condition) -> bool {
        let entry = self.entries.get(key);
        match condition {
            Condition::Always => true,
            Condition::Absent => entry.is_none(),
            Condition::Present => entry.is_some(),
            Condition::ValueIs(value) => entry.is_some_and(|entry| entry.value == *value),
            Condition::ChangedAt(at) => entry.is_some_and(|entry| entry.changed == *at),
            Condition::LockedWith(token) => {
                let holder = self.locks.get(key).and_then(|members| members.first());
                self.holders
                    .get(key)
                    .is_some_and(|(lease, held)| held == token && holder == Some(lease))
            }
        }
    }

    fn take_all(
        &mut self,
        position: Position,
        asker: u8,
        steps: &[Step],
    ) -> Option<Vec<StepResult>> {
        let before = self.entries.clone();
        let mut results = Vec::new();
        for step in steps {
            results.push(match step {
                Step::Get(key) => StepResult::Entry(self.entries.get(key).cloned()),
                Step::Delete(key) => {
                    StepResult::Done { existed: self.entries.remove(key).is_some() }
                }
                Step::Put { key, value, lease } => {
                    if lease.is_some_and(|lease| !self.is_of(asker, lease)) {
                        self.entries = before;
                        return None;
                    }
                    let old = self.entries.remove(key);
                    let existed = old.is_some();
                    let created = old.as_ref().map_or(position, |old| old.created);
                    let version = old.map_or(1, |old| old.version + 1);
                    let (changed, lease) = (position, *lease);
                    let entry = Entry {
                        key: key.clone(),
                        value: value.clone(),
                        created,
                        changed,
                        version,
                        lease,
                    };
                    self.entries.insert(key.clone(), entry);
                    StepResult::Done { existed }
                }
            });
        }
        Some(results)
    }

    fn follow_lease(&mut self, now: Time, asker: u8, request: &KvRequest, got: &KvReply) {
        match (request, got) {
            (KvRequest::LeaseGrant { ttl_ms }, KvReply::Lease { lease, ttl_ms: ttl, expires }) => {
                assert!(self.leases.keys().all(|other| other < lease));
                assert_eq!((ttl, *expires), (ttl_ms, now.after(Duration::from_millis(*ttl_ms))));
                let granted = Lease { owner: asker, ttl_ms: *ttl_ms, expires: *expires };
                self.leases.insert(*lease, granted);
            }
            (KvRequest::LeaseRenew { lease }, KvReply::Lease { expires, .. }) => {
                assert!(self.is_of(asker, *lease));
                let record = self.leases.get_mut(lease).expect("its holder's");
                record.expires = now.after(Duration::from_millis(record.ttl_ms));
                assert_eq!(record.expires, *expires);
            }
            (KvRequest::LeaseRevoke { lease }, KvReply::LeaseEnded) => {
                assert!(self.is_of(asker, *lease));
                self.leases.remove(lease);
                self.pass_time(now);
            }
            (
                KvRequest::LeaseRenew { lease } | KvRequest::LeaseRevoke { lease },
                KvReply::NoLease,
            ) => assert!(!self.is_of(asker, *lease)),
            (KvRequest::LeaseShow { lease }, KvReply::Lease { expires, .. }) => {
                assert_eq!(self.leases.get(lease).map(|lease| lease.expires), Some(*expires));
            }
            (KvRequest::LeaseShow { lease }, KvReply::NoLease) => {
                assert!(!self.leases.contains_key(lease));
            }
            _ => panic!("{request:?} got {got:?}"),
        }
    }

    fn follow_lock(&mut self, asker: u8, request: &KvRequest, got: &KvReply) {
        match request {
            KvRequest::Lock { lease, .. } | KvRequest::Unlock { lease, .. }
                if !self.is_of(asker, *lease) =>
            {
                assert_eq!(*got, KvReply::NoLease);
            }
            KvRequest::Lock { name, lease } => {
                let members = self.locks.entry(name.clone()).or_default();
                if !members.contains(lease) {
                    members.push(*lease);
                }
                let place = members.iter().position(|member| member == lease).expect("a member");
                match got {
                    KvReply::Locked { token } if place == 0 => self.hold(name, *lease, *token),
                    KvReply::Queued { ahead } => assert_eq!(usize::try_from(*ahead), Ok(place)),
                    _ => panic!("place {place} got {got:?}"),
                }
            }
            KvRequest::Unlock { name, lease } => {
                let members = self.locks.entry(name.clone()).or_default();
                let was_member = members.contains(lease);
                members.retain(|member| member != lease);
                if members.is_empty() {
                    self.locks.remove(name);
                }
                let expected = if was_member { KvReply::Unlocked } else { KvReply::NotHolder };
                assert_eq!(*got, expected);
            }
            KvRequest::LockShow { name } => {
                let members = self.locks.get(name).cloned().unwrap_or_default();
                let KvReply::Lock { holder, waiting, .. } = got else { panic!("{got:?}") };
                assert_eq!(holder.map(|(lease, _)| lease), members.first().copied());
                assert_eq!(usize::try_from(*waiting), Ok(members.len().saturating_sub(1)));
                if let Some((lease, token)) = holder {
                    self.hold(name, *lease, *token);
                }
            }
            _ => panic!("no lock: {request:?}"),
        }
    }

    /// A holder is seen: its token is the one it had, or larger than all that this lock ever gave.
    fn hold(&mut self, name: &[u8], lease: LeaseId, token: Token) {
        let before = self.holders.insert(name.to_vec(), (lease, token));
        match before {
            Some((_, held)) if held == token => assert_eq!(before, Some((lease, token))),
            Some((_, held)) => assert!(token > held, "{token:?} after {held:?}"),
            None => {}
        }
    }
}

impl World {
    /// Checks what `layout` says of the store.
    pub(super) fn fsck(&self) {
        let MemoryStore(store) = &self.store;
        let mut expected: BTreeSet<Vec<u8>> = BTreeSet::new();
        let mut attached: BTreeMap<LeaseId, u32> = BTreeMap::new();
        let mut hang = |lease: LeaseId, thing: &[u8]| {
            *attached.entry(lease).or_default() += 1;
            let key = [b"a", &lease.0.to_be_bytes()[..], thing].concat();
            assert!(store.contains_key(&key), "{thing:?} hangs on {lease:?} without a note");
            assert!(store.contains_key(&lease_key(lease)), "{lease:?} went too early");
            key
        };
        for (key, bytes) in store {
            match key[0] {
                ENTRY_TAG => {
                    let entry: StoredEntry = borsh::from_slice(bytes).expect("an entry");
                    assert!(entry.created <= entry.changed && entry.changed <= self.position);
                    if let Some(lease) = entry.lease {
                        let note = hang(lease, key);
                        assert_eq!(store[&note], entry.changed.encode());
                        expected.insert(note);
                    }
                }
                LOCK_TAG => {
                    let held: StoredLock = borsh::from_slice(bytes).expect("a lock");
                    let members: Vec<_> = [&[held.holder], &held.waiting[..]].concat();
                    expected.extend(members.iter().map(|lease| hang(*lease, key)));
                    assert_eq!(members.iter().collect::<BTreeSet<_>>().len(), members.len());
                    assert!(held.revision >= held.token.0);
                }
                _ => {}
            }
        }
        for (key, bytes) in store.iter().filter(|(key, _)| key[0] == LEASE_TAG) {
            let lease: StoredLease = borsh::from_slice(bytes).expect("a lease");
            let id = LeaseId(u64::from_be_bytes(key[1..].try_into().expect("an id")));
            assert_eq!(lease.attached, attached.get(&id).copied().unwrap_or_default());
            let expires = lease.expires.0.to_be_bytes();
            expected.insert([b"x", &expires[..], &id.0.to_be_bytes()].concat());
        }
        let notes: BTreeSet<_> =
            store.keys().filter(|key| matches!(key[0], b'a' | b'x')).cloned().collect();
        assert_eq!(notes, expected);
    }
}
