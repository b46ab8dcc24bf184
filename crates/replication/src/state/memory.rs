//! A backend in memory, for tests and for the simulator, which can lose power.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::sync::{Arc, Mutex, MutexGuard};

use ravelin_model::StateBackend;

/// A disk in memory: what it holds, and what a crash may take back.
///
/// The value is a handle. Whoever simulates the machine keeps one ([`Self::handle`]) while the
/// replica owns another, and may take power away ([`Self::crash`]) once the replica is gone.
#[derive(Debug, Default)]
pub struct MemoryBackend {
    disk: Arc<Mutex<Disk>>,
}

#[derive(Clone, Debug, Default)]
struct Disk {
    /// Shared with running scans and snapshots, copied when written under them.
    entries: Arc<BTreeMap<Vec<u8>, Vec<u8>>>,
    /// For each batch not synced, oldest first: what undoes it.
    unsynced: Vec<Batch>,
}

/// Changes that apply together: `None` deletes.
type Batch = Vec<(Vec<u8>, Option<Vec<u8>>)>;

impl MemoryBackend {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Another handle of the same disk.
    #[must_use]
    pub fn handle(&self) -> Self {
        Self { disk: Arc::clone(&self.disk) }
    }

    /// Another disk that holds the same now, unsynced batches included.
    #[must_use]
    pub fn snapshot(&self) -> Self {
        Self { disk: Arc::new(Mutex::new(self.disk().clone())) }
    }

    /// All entries, as they are now.
    #[must_use]
    pub fn entries(&self) -> Arc<BTreeMap<Vec<u8>, Vec<u8>>> {
        Arc::clone(&self.disk().entries)
    }

    /// How many batches were written since the last sync.
    #[must_use]
    pub fn unsynced_batches(&self) -> usize {
        self.disk().unsynced.len()
    }

    /// Takes power away: of the batches not synced, the first `keep_batches` survive.
    pub fn crash(&self, keep_batches: usize) {
        let mut disk = self.disk();
        while disk.unsynced.len() > keep_batches {
            let lost = disk.unsynced.pop().expect("it is longer than something");
            disk.apply(&lost);
        }
        disk.unsynced.clear();
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().expect("no holder of the lock panics")
    }
}

impl Disk {
    /// Applies the batch, and returns what undoes it.
    fn apply(&mut self, batch: &[(Vec<u8>, Option<Vec<u8>>)]) -> Batch {
        let entries = Arc::make_mut(&mut self.entries);
        let mut undo: Batch = batch
            .iter()
            .map(|(key, value)| {
                let old = match value {
                    Some(value) => entries.insert(key.clone(), value.clone()),
                    None => entries.remove(key),
                };
                (key.clone(), old)
            })
            .collect();
        undo.reverse();
        undo
    }
}

impl StateBackend for MemoryBackend {
    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.disk().entries.get(key).cloned()
    }

    /// Shows the entries of the moment in which it was called.
    fn scan(
        &self,
        from: &[u8],
        until: Option<&[u8]>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) {
        if until.is_some_and(|until| until <= from) {
            return;
        }
        let end = until.map_or(Bound::Unbounded, Bound::Excluded);
        let entries = self.entries(); // without the lock: `visit` may read this backend
        let mut range = entries.range::<[u8], _>((Bound::Included(from), end));
        let _ = range.try_for_each(|(key, value)| visit(key, value));
    }

    fn write(&mut self, batch: &[(Vec<u8>, Option<Vec<u8>>)]) {
        let mut disk = self.disk();
        let undo = disk.apply(batch);
        disk.unsynced.push(undo);
    }

    fn sync(&mut self) {
        self.disk().unsynced.clear();
    }
}
