//! The replicated state: what services wrote, authenticated commit by commit.
//!
//! **Guarantee:** after [`State::finish_commit`] the backend holds all writes of the commit or none;
//! replicas that wrote the same have the same root; and [`State::prove_at`] proves what the state of
//! a recent commit held, although the backend has moved on. Assumes that the backend keeps what it
//! was given, or ends the process.
//!
//! A key of the backend is one byte of namespace and the owner's key:
//!
//! | first byte | owner | in the tree |
//! |---|---|---|
//! | `0..=0xfd` | the service of that id | yes |
//! | `0xfe` | this module: the last commit; which key has which path; the way back (`state/way_back.rs`) | no |
//! | `0xff` | `replication`: ordering state | no |
//!
//! Beside the keys the backend keeps a history: numbered records, written with their commit.
//!
//! During a commit all writes stay in memory, seen by the services at once. One operation at a time
//! may be tried ([`State::begin`]) and then kept or undone. The tree is in memory alone and is built
//! from the backend at the start, so the two cannot disagree after a crash. It knows keys by their
//! hashes; which key has which is written beside, for those who fetch the state
//! (`state/fetching.rs`).

mod fetching;
mod memory;
mod meter;
mod running;
mod versions;
mod view;
mod way_back;

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use ravelin_crypto::state_tree::{StateTree, path_of, state_key, value_digest};
use ravelin_model::wire::StateProof;
use ravelin_model::{
    CommitIndex, Digest, ServiceId, ServiceStores, StateBackend, Store, View, mutants,
};

use fetching::{index_key, index_mark};
use running::Running;
use versions::{Undo, Versions};

pub use fetching::StateEntry;
pub use memory::MemoryBackend;
pub use meter::ENTRY_WORK;
pub use versions::{STATE_HELD_BYTES_MAX, STATE_VERSION_BYTES_MAX, STATE_VERSIONS_MAX};
pub use view::ReadOnly;
pub use way_back::WAY_BACK_BYTES_MAX;
use way_back::WayBack;

/// The highest id that a service may have; the namespaces above it are ours.
pub const SERVICE_ID_MAX: ServiceId = ServiceId(0xfd);

/// Namespace of the last commit's number, and of the index by paths.
const COMMIT: u8 = 0xfe;
/// Namespace of the ordering state.
const PRIVATE: u8 = 0xff;
/// Entries read at a start between two looks at the tree's root: for that, what changed since is listed.
const HASHED_AT_ONCE: usize = 1 << 16;

/// What a replica's services and its ordering have written.
pub struct State {
    running: Running,
    versions: Versions,
    commit: CommitIndex,
    root: Digest,
    /// What the running commit adds to the history.
    records: Vec<(u64, Vec<u8>)>,
    /// Whether the mark of the index is written.
    is_indexed: bool,
    is_urgent: bool,
    /// How what is durable leads back to a state for which somebody vouches.
    way_back: Option<WayBack>,
}

impl State {
    /// Opens the state that `backend` holds, reading all of it once, one entry at a time. An empty
    /// backend is the state before the first plan is written, at commit 0.
    ///
    /// # Panics
    /// If the backend's record of the last commit is not ours.
    #[must_use]
    pub fn open(mut backend: Box<dyn StateBackend + Send>) -> Self {
        let is_indexed = Self::index(&mut *backend);
        let (mut tree, mut entries) = (StateTree::new(), 0_usize);
        backend.scan(&[], Some(&[COMMIT]), &mut |key, value| {
            tree.insert(key, value_digest(value));
            entries += 1;
            if entries % HASHED_AT_ONCE == 0 {
                tree.root();
            }
            ControlFlow::Continue(())
        });
        let commit = backend.get(&[COMMIT]).map_or(CommitIndex(0), |record| {
            let bytes = record.try_into().expect("the record of the last commit has 8 bytes");
            CommitIndex(u64::from_le_bytes(bytes))
        });
        let root = tree.root();
        let versions = Versions::new(commit, tree);
        let running = Running::new(backend);
        let (records, is_urgent, way_back) = (Vec::new(), false, None);
        Self { running, versions, commit, root, records, is_indexed, is_urgent, way_back }
    }

    /// The last commit finished.
    #[must_use]
    pub fn commit(&self) -> CommitIndex {
        self.commit
    }

    /// The digest of the public state after the last commit finished.
    #[must_use]
    pub fn root(&self) -> Digest {
        self.root
    }

    /// Begins an operation that may come to nothing.
    ///
    /// # Panics
    /// If one has begun already.
    pub fn begin(&mut self) {
        self.running.begin();
    }

    /// Ends the operation; what it wrote belongs to the commit.
    ///
    /// # Panics
    /// If none has begun.
    pub fn keep(&mut self) {
        self.running.keep();
    }

    /// Ends the operation as if it had never begun.
    ///
    /// # Panics
    /// If none has begun.
    pub fn undo(&mut self) {
        self.running.undo();
    }

    /// The work of reading that services caused since this was last asked: bytes of keys and values,
    /// and [`ENTRY_WORK`] for each entry. The same at every replica.
    pub fn take_work(&self) -> usize {
        self.running.take_work()
    }

    /// Sets a key of the ordering state, in the same batch as everything else in the commit.
    pub fn private_put(&mut self, key: &[u8], value: Vec<u8>) {
        self.running.namespace(PRIVATE).put(key, value);
    }

    /// Sets keys of the ordering state (`None` deletes) at once and together; and in the running commit,
    /// so that nothing written before it comes out later. Urgent: nothing of what the replica does next may
    /// show before it is durable ([`Self::take_urgent`]).
    pub fn private_write(&mut self, writes: Vec<(Vec<u8>, Option<Vec<u8>>)>) {
        for (key, value) in &writes {
            match value {
                Some(value) => self.private_put(key, value.clone()),
                None => self.private_delete(key),
            }
        }
        let batch = writes.into_iter().map(|(key, value)| (private_key(&key), value));
        let batch: Vec<_> = batch.collect();
        self.running.backend_mut().write(&batch);
        self.is_urgent = true;
    }

    /// Whether anything urgent was written since the last call.
    pub fn take_urgent(&mut self) -> bool {
        if self.is_urgent {
            self.write_way_back();
        }
        std::mem::take(&mut self.is_urgent)
    }

    /// Removes a key of the ordering state.
    pub fn private_delete(&mut self, key: &[u8]) {
        self.running.namespace(PRIVATE).delete(key);
    }

    /// A value of the ordering state, as the running commit has left it so far.
    #[must_use]
    pub fn private_get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.running.get_in(PRIVATE, key)
    }

    /// Visits entries of the ordering state, as the running commit has left it so far, with
    /// `from <= key`, below `until` if given, in key order until `visit` breaks.
    pub fn private_scan(&self, from: &[u8], until: Option<&[u8]>, visit: &mut Visit<'_>) {
        self.running.scan_in(PRIVATE, from, until, visit);
    }

    /// Adds a record to the history, in the same batch as everything else in the commit.
    pub fn append(&mut self, number: u64, record: Vec<u8>) {
        self.records.push((number, record));
    }

    /// The record of the history that a finished commit added under this number, while it is kept.
    #[must_use]
    pub fn record(&self, number: u64) -> Option<Vec<u8>> {
        self.running.backend().record(number)
    }

    /// Ends the running commit: writes all of it to the backend as one batch, which
    /// [`Self::sync`] makes durable, and returns the digest of the public state. Cost: one read of
    /// the backend for each existing key written, and the hashes of the paths that changed.
    ///
    /// # Panics
    /// If an operation is still open, or `commit` does not follow; only commit 0, which writes the
    /// first plan, may be finished on an empty state at commit 0.
    pub fn finish_commit(&mut self, commit: CommitIndex) -> Digest {
        let is_first = commit == CommitIndex(0) && self.root == Digest::default();
        assert!(commit > self.commit || (is_first && self.commit == commit), "commits only rise");
        // Beside each write of the batch: what it overwrites, if former states need that.
        let writes = self.running.take_writes();
        let room = writes.len() + 2; // of new keys the index comes on top
        let (mut batch, mut overwritten) = (Vec::with_capacity(room), Vec::with_capacity(room));
        self.versions.begin(writes.keys().filter(|key| is_public(key)).count());
        for (key, value) in writes {
            if !is_public(&key) {
                batch.push((key, value));
                overwritten.push(None);
                continue;
            }
            let path = path_of(&key);
            if let Some(old) = self.apply(&key, &path, value.as_deref()) {
                let index = match (&old, &value) {
                    (None, Some(_)) => Some(Some(key.clone())),
                    (Some(_), None) => Some(None),
                    (None, None) | (Some(_), Some(_)) => None,
                };
                if let Some(indexed) = index {
                    batch.push((index_key(&path), indexed));
                    overwritten.push(None);
                }
                batch.push((key, value));
                overwritten.push(Some(old));
            }
        }
        batch.push((vec![COMMIT], Some(commit.0.to_le_bytes().to_vec())));
        if !std::mem::replace(&mut self.is_indexed, true) {
            batch.push(index_mark());
        }
        let records = std::mem::take(&mut self.records);
        self.running.backend_mut().write_with(&batch, &records);
        let mut undo = Undo::of_one(overwritten.iter().flatten().count());
        for ((key, value), old) in batch.into_iter().zip(overwritten) {
            if let Some(old) = old {
                undo.note(key, old, value.is_none());
            }
        }
        self.commit = commit;
        self.root = self.versions.remember(commit, undo);
        self.root
    }

    /// All finished commits rest on a log that is durable: they may become durable, too.
    pub fn settle_commits(&mut self) {
        if self.running.backend_mut().hands_over() {
            self.write_way_back();
        }
        self.running.backend_mut().settle();
    }

    /// Makes all finished commits durable, settled or not.
    pub fn sync(&mut self) {
        self.write_way_back();
        self.running.backend_mut().sync();
    }

    /// Begins to make all finished commits durable, once they are settled; [`Self::is_synced`] says of the
    /// number returned whether that is done.
    pub fn begin_sync(&mut self) -> u64 {
        if mutants::is_active("state_ahead_of_its_log") {
            self.sync();
        }
        self.write_way_back();
        self.running.backend_mut().begin_sync()
    }

    /// Whether what [`Self::begin_sync`] returned this number for is durable.
    pub fn is_synced(&mut self, begun: u64) -> bool {
        self.running.backend_mut().is_synced(begun)
    }

    /// The value of `key` of `service` after `commit`, or its absence, with the proof against that
    /// commit's root; `None` if the commit has no version ([`Self::has_version`]), or if no service can
    /// have that id.
    #[must_use]
    pub fn prove_at(
        &self,
        commit: CommitIndex,
        service: ServiceId,
        key: &[u8],
    ) -> Option<StateProof> {
        if service > SERVICE_ID_MAX {
            return None;
        }
        let key = state_key(service, key);
        let path = self.versions.prove(commit, &key)?;
        let overwritten = self.versions.overwritten_since(commit, &key);
        let value = match overwritten {
            Some(value) => value.clone(),
            None => self.running.backend().get(&key),
        };
        Some(StateProof { value, path })
    }

    /// The namespace of `service` after the last commit finished, whatever the running one wrote.
    ///
    /// # Panics
    /// If `service` is above [`SERVICE_ID_MAX`].
    #[must_use]
    pub fn view(&self, service: ServiceId) -> impl View + '_ {
        ReadOnly::new(self.running.backend(), service_namespace(service))
    }

    /// All namespaces after the last commit finished, for requests that only read. A write through
    /// it is a fault of the service: caught in debug builds, without effect in others.
    #[must_use]
    pub fn queries(&self) -> ReadOnly<'_> {
        ReadOnly::new(self.running.backend(), 0)
    }

    /// Enters one write of the running commit into the tree; the value that it replaces, or `None`
    /// if nothing changes.
    fn apply(
        &mut self,
        key: &[u8],
        path: &Digest,
        value: Option<&[u8]>,
    ) -> Option<Option<Vec<u8>>> {
        let digest = value.map(value_digest);
        let known = self.versions.tree_mut().set(path, digest);
        (known != digest).then(|| known.and_then(|_| self.running.backend().get(key)))
    }
}

impl ServiceStores for State {
    /// # Panics
    /// If `service` is above [`SERVICE_ID_MAX`].
    fn of(&mut self, service: ServiceId) -> &mut dyn Store {
        self.running.namespace(service_namespace(service))
    }
}

/// Called with the key and value of each entry of a scan.
pub type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'a;

/// Writes of a commit: `None` deletes.
type Writes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

fn service_namespace(service: ServiceId) -> u8 {
    assert!(service <= SERVICE_ID_MAX, "the namespaces above {SERVICE_ID_MAX:?} are no service's");
    service.0
}

/// The backend's key for `key` of the ordering state.
pub(crate) fn private_key(key: &[u8]) -> Vec<u8> {
    [&[PRIVATE], key].concat()
}

fn is_public(key: &[u8]) -> bool {
    key.first().is_some_and(|namespace| *namespace <= SERVICE_ID_MAX.0)
}

#[cfg(test)]
mod tests;
