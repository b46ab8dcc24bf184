//! What tests execute on: stores in memory, a seeded generator, and a world of clients.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

use ravelin_model::limits::{CACHED_REPLY_BYTES_MAX, REPLY_BYTES_MAX};
use ravelin_model::requests::kv::{KvReply, KvRequest, LeaseId};
use ravelin_model::{
    Change, CommitIndex, Context, Decode as _, Position, PublicKey, QueryContext, Service as _,
    ServiceId, ServiceStores, Store, Time, View,
};

use crate::Kv;

/// A namespace in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct MemoryStore(pub(crate) BTreeMap<Vec<u8>, Vec<u8>>);

impl View for MemoryStore {
    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.0.get(key).cloned()
    }

    fn scan(
        &self,
        from: &[u8],
        until: Option<&[u8]>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) {
        let until = until.map_or(Bound::Unbounded, Bound::Excluded);
        for (key, value) in self.0.range::<[u8], _>((Bound::Included(from), until)) {
            if visit(key, value).is_break() {
                return;
            }
        }
    }

    fn spend(&self, _: usize) {}
}

impl Store for MemoryStore {
    fn put(&mut self, key: &[u8], value: Vec<u8>) {
        self.0.insert(key.to_vec(), value);
    }

    fn delete(&mut self, key: &[u8]) {
        self.0.remove(key);
    }
}

/// A namespace whose writes wait in a batch until there are `batch_writes` of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct BatchedStore {
    pub(crate) written: MemoryStore,
    pub(crate) batch: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    pub(crate) batch_writes: usize,
}

impl BatchedStore {
    pub(crate) fn flush(&mut self) {
        for (key, value) in std::mem::take(&mut self.batch) {
            match value {
                Some(value) => self.written.put(&key, value),
                None => self.written.delete(&key),
            }
        }
    }

    fn note(&mut self, key: &[u8], value: Option<Vec<u8>>) {
        self.batch.insert(key.to_vec(), value);
        if self.batch.len() >= self.batch_writes {
            self.flush();
        }
    }
}

impl View for BatchedStore {
    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.batch.get(key).cloned().unwrap_or_else(|| self.written.get(key))
    }

    fn scan(
        &self,
        from: &[u8],
        until: Option<&[u8]>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) {
        let mut whole = self.clone();
        whole.flush();
        whole.written.scan(from, until, visit);
    }

    fn spend(&self, _: usize) {}
}

impl Store for BatchedStore {
    fn put(&mut self, key: &[u8], value: Vec<u8>) {
        self.note(key, Some(value));
    }

    fn delete(&mut self, key: &[u8]) {
        self.note(key, None);
    }
}

/// The state of all services.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct MemoryStores(pub(crate) BTreeMap<ServiceId, MemoryStore>);

impl ServiceStores for MemoryStores {
    fn of(&mut self, service: ServiceId) -> &mut dyn Store {
        self.0.entry(service).or_default()
    }
}

/// A generator of choices: SplitMix64.
pub(crate) struct Choices(pub(crate) u64);

impl Choices {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    pub(crate) fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::try_from(self.below(choices.len() as u64)).expect("small")]
    }
}

/// Client number `number`.
pub(crate) fn client(number: u8) -> PublicKey {
    PublicKey([number; 32])
}

/// The kv service with clients who ask it one envelope after the other.
pub(crate) struct World<S = MemoryStore> {
    pub(crate) store: S,
    pub(crate) position: Position,
    pub(crate) now: Time,
    pub(crate) feed: Vec<Change>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::on(MemoryStore::default())
    }
}

impl<S: Store> World<S> {
    pub(crate) fn on(store: S) -> Self {
        Self { store, position: Position(0), now: Time(1_000_000), feed: Vec::new() }
    }

    /// Executes an envelope of one request.
    pub(crate) fn ask(&mut self, asker: u8, request: KvRequest) -> KvReply {
        self.ask_all(asker, vec![request]).pop().expect("one reply a request")
    }

    /// Executes an envelope of these requests.
    pub(crate) fn ask_all(&mut self, asker: u8, requests: Vec<KvRequest>) -> Vec<KvReply> {
        self.position.0 += 1;
        let mut replies = Vec::new();
        for (request, index) in requests.into_iter().zip(0..) {
            let reads = matches!(request, KvRequest::Get { .. } | KvRequest::List { .. });
            let context =
                Context { position: self.position, index, time: self.now, client: client(asker) };
            let outcome = Kv.execute(&context, &mut self.store, request);
            let bytes_max = if reads { REPLY_BYTES_MAX } else { CACHED_REPLY_BYTES_MAX };
            assert!(outcome.reply.len() <= bytes_max, "a reply of {}", outcome.reply.len());
            self.feed.extend(outcome.changes);
            replies.push(KvReply::decode("reply", &outcome.reply).expect("canonical"));
        }
        replies
    }

    /// Reads without ordering.
    pub(crate) fn query(&self, request: KvRequest) -> Option<KvReply> {
        let context = QueryContext { commit: CommitIndex(1), time: self.now, client: client(9) };
        let reply = Kv.query(&context, &self.store, request)?;
        Some(KvReply::decode("reply", &reply).expect("canonical"))
    }

    pub(crate) fn wait_ms(&mut self, ms: u64) {
        self.now.0 += ms * 1_000;
    }

    /// Sweeps as after a commit; how many changes that made.
    pub(crate) fn sweep(&mut self) -> usize {
        let changes = Kv.sweep(self.now, &mut self.store);
        let count = changes.len();
        self.feed.extend(changes);
        count
    }

    pub(crate) fn grant(&mut self, asker: u8, ttl_ms: u64) -> LeaseId {
        match self.ask(asker, KvRequest::LeaseGrant { ttl_ms }) {
            KvReply::Lease { lease, .. } => lease,
            other => panic!("no lease but {other:?}"),
        }
    }
}
