//! A backend in memory, for tests and for the simulator, which can lose power. Its history keeps all.

use std::collections::{BTreeMap, VecDeque};
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
    history: Arc<BTreeMap<u64, Vec<u8>>>,
    /// For each batch not synced, oldest first: what undoes its changes.
    unsynced: VecDeque<Undo>,
    /// Batches written so far, and of these how many each sync under way covers.
    written: u64,
    syncing: VecDeque<u64>,
    /// How many batches rest on a log that is durable; all, where nobody says.
    settled: Option<u64>,
}

/// What undoes a batch: `None` deletes. Its records stay, as they may on a real disk.
type Undo = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// A sync that was begun is done when so many more batches are written.
const SYNC_BATCHES: u64 = 2;

impl MemoryBackend {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty disk beside a log that can lose what was executed: no batch outlives a crash before it
    /// is settled.
    #[must_use]
    pub fn beside_a_log() -> Self {
        let disk = Disk { settled: Some(0), ..Disk::default() };
        Self { disk: Arc::new(Mutex::new(disk)) }
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

    /// Forgets the records of the history below `number`, as real ones do with the oldest.
    pub fn forget_before(&self, number: u64) {
        let mut disk = self.disk();
        let kept = Arc::make_mut(&mut disk.history).split_off(&number);
        disk.history = Arc::new(kept);
    }

    /// How many batches were written since the last sync.
    #[must_use]
    pub fn unsynced_batches(&self) -> usize {
        self.disk().unsynced.len()
    }

    /// How many batches were ever written.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.disk().written
    }

    /// The first so many batches rest on a log that is durable. If `is_urgent`, they are made durable now.
    pub fn settle_until(&self, written: u64, is_urgent: bool) {
        let mut disk = self.disk();
        disk.settled = disk.settled.map(|settled| settled.max(written));
        if is_urgent {
            disk.sync_until(written);
        }
        disk.advance();
    }

    /// Takes power away: of the batches not synced, the first `keep_batches` survive, as far as they are
    /// settled.
    pub fn crash(&self, keep_batches: usize) {
        let mut disk = self.disk();
        let unsettled = disk.written - disk.settled().min(disk.written);
        let keep_batches = keep_batches.min(disk.unsynced.len().saturating_sub(unsettled as usize));
        while disk.unsynced.len() > keep_batches {
            let lost = disk.unsynced.pop_back().expect("it is longer than something");
            disk.undo(lost);
            disk.written -= 1;
        }
        disk.sync();
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().expect("no holder of the lock panics")
    }
}

impl Disk {
    /// Applies the batch, and notes what undoes it.
    fn apply(&mut self, batch: &[(Vec<u8>, Option<Vec<u8>>)], records: &[(u64, Vec<u8>)]) {
        let kept = Arc::make_mut(&mut self.entries);
        let entries = batch.iter().map(|(key, value)| {
            let old = match value {
                Some(value) => kept.insert(key.clone(), value.clone()),
                None => kept.remove(key),
            };
            (key.clone(), old)
        });
        self.unsynced.push_back(entries.collect());
        Arc::make_mut(&mut self.history).extend(records.iter().cloned());
        self.written += 1;
        self.advance();
    }

    fn settled(&self) -> u64 {
        self.settled.unwrap_or(u64::MAX)
    }

    /// Ends syncs under way whose time has come.
    fn advance(&mut self) {
        while let Some(covered) = self.syncing.front().copied()
            && covered + SYNC_BATCHES <= self.written
            && covered <= self.settled()
        {
            self.sync_until(covered);
            self.syncing.pop_front();
        }
    }

    fn sync_until(&mut self, covered: u64) {
        while self.unsynced.len() as u64 > self.written.saturating_sub(covered) {
            self.unsynced.pop_front();
        }
    }

    fn sync(&mut self) {
        self.unsynced.clear();
        self.syncing.clear();
        self.settled = self.settled.map(|_| self.written);
    }

    fn undo(&mut self, lost: Undo) {
        let kept = Arc::make_mut(&mut self.entries);
        for (key, old) in lost.into_iter().rev() {
            match old {
                Some(value) => kept.insert(key, value),
                None => kept.remove(&key),
            };
        }
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

    fn write_with(&mut self, batch: &[(Vec<u8>, Option<Vec<u8>>)], records: &[(u64, Vec<u8>)]) {
        self.disk().apply(batch, records);
    }

    fn record(&self, number: u64) -> Option<Vec<u8>> {
        self.disk().history.get(&number).cloned()
    }

    fn settle(&mut self) {
        let written = self.written();
        self.settle_until(written, false);
    }

    /// It makes nothing durable but what it is asked to.
    fn hands_over(&mut self) -> bool {
        false
    }

    fn sync(&mut self) {
        self.disk().sync();
    }

    fn begin_sync(&mut self) -> u64 {
        let mut disk = self.disk();
        let written = disk.written;
        disk.syncing.push_back(written);
        written
    }

    fn is_synced(&mut self, begun: u64) -> bool {
        let disk = self.disk();
        disk.written - disk.unsynced.len() as u64 >= begun
    }
}
