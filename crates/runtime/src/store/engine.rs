//! The tables on disk: an embedded log-structured merge tree (fjall), and what it lacks.
//!
//! **Guarantee:** takes changes in as a whole or not at all, durably, in the order in which it is given
//! them. It takes in an overlay's records before its changes: after a crash between the two there are
//! records of batches that are executed again, and then written again.
//!
//! Changes go straight into sorted tables. The engine's own way, a journal and a tree in memory, would
//! write everything twice that our log has anyway. The records of the history do go that way, for there
//! are few and their tables must be large.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use fjall::compaction::Leveled;
use fjall::config::{PartitioningPolicy, PinningPolicy};
use fjall::{
    AbstractTree as _, Database, Iter, Keyspace, KeyspaceCreateOptions, PersistMode, UserValue,
};

use super::history::History;
use super::mark::Mark;
use super::overlay::Overlay;
use super::{StoreConfig, StoreError, lists, refused, repair};

/// The engine's files, beside the mark.
pub(super) const ENGINE_DIR: &str = "engine";
const STATE: &str = "state";
/// The store's own key among those of the state: how many overlays the engine has taken in.
pub(super) const OWN_KEY: &[u8] = &[0xff];
/// Where that number is beside the records.
const TAKEN: &str = "taken";
const TAKEN_COUNT: &[u8] = b"count";
/// Three: one alone falls behind; of several the engine's first one takes no part in compaction, and
/// turns round and round while one waits for the others. With three instead of two a loaded cluster
/// does 15 % more, and the slowest answers take a third less (measured).
const WORKER_THREADS: usize = 3;
/// The engine's journal is cut into files of about this size; its least.
const JOURNAL_BYTES_MAX: u64 = 64 << 20;
/// Tables that the engine keeps open: descriptors are few, and clients take the rest.
const FILES_MAX: usize = 128;
/// Bytes of records in one batch of the engine.
const RECORDS_BYTES_MAX: usize = 256 << 10;
/// Runs of tables that wait for compaction, each of which a read may have to look into. Whoever brings
/// another one waits until there are fewer, and looks so often. (The engine cannot keep 256.)
pub(super) const RUNS_MAX: usize = 8;
const RUNS_PAUSE: Duration = Duration::from_millis(5);
/// How long a child's copy of a lock is waited for: until it runs its own program.
const COPIES_GO_AWAY_IN: Duration = Duration::from_secs(2);

/// The open engine.
pub(super) struct Engine {
    dir: PathBuf,
    database: Database,
    state: Keyspace,
    history: Mutex<History>,
    taken: Keyspace,
}

impl Engine {
    /// Opens the engine of the store in `dir`, which must hold everything that `mark` says, or makes it.
    /// What it holds beyond, for a crash came before the mark was written, the mark counts from here on.
    pub(super) fn open(
        dir: &Path,
        config: &StoreConfig,
        mark: &mut Mark,
    ) -> Result<Self, StoreError> {
        let io = |source| StoreError::Io { doing: "prepare the store's directory", source };
        let engine = dir.join(ENGINE_DIR);
        if let Some(file) = lists::rotten(&engine).map_err(io)? {
            return Err(StoreError::ListDamaged { file });
        }
        let database = open_or_repair(&engine, config).map_err(refused)?;
        let state = database.keyspace(STATE, state_options).map_err(refused)?;
        let taken = database.keyspace(TAKEN, KeyspaceCreateOptions::default).map_err(refused)?;
        let history = History::open(&database, config.history_bytes).map_err(refused)?;
        let (dir, history) = (dir.to_path_buf(), Mutex::new(history));
        let engine = Self { dir, database, state, history, taken };
        engine.check(mark)?;
        Ok(engine)
    }

    /// Every overlay that the mark knows of must be in the tables, and its records in the journal.
    fn check(&self, mark: &mut Mark) -> Result<(), StoreError> {
        let in_tables = self.state.get(OWN_KEY).map_err(refused)?;
        let in_journal = self.taken.get(TAKEN_COUNT).map_err(refused)?;
        let count = |bytes: Option<UserValue>| {
            bytes.and_then(|bytes| bytes.first_chunk().copied()).map_or(0, u64::from_le_bytes)
        };
        let (in_tables, in_journal) = (count(in_tables), count(in_journal));
        let (found, promised) = (in_tables.min(in_journal), mark.count());
        if found < promised {
            return Err(StoreError::RolledBack { found, promised });
        }
        mark.skip_to(in_tables.max(in_journal));
        Ok(())
    }

    /// The store's directory.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// What the tables have under a key.
    pub(super) fn get(&self, key: &[u8]) -> fjall::Result<Option<UserValue>> {
        self.state.get(key)
    }

    /// Entries of the tables from `from` on, below `until` if given; the store's own may be among them.
    pub(super) fn range(&self, from: &[u8], until: Option<&[u8]>) -> Iter {
        match until {
            Some(until) => self.state.range(from..until),
            None => self.state.range(from..),
        }
    }

    /// The history.
    pub(super) fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().expect("no holder of the lock panics")
    }

    /// Takes an overlay in; it is durable when this returns, and the mark says so.
    pub(super) fn take_in(&self, overlay: &Overlay, mark: &mut Mark) -> fjall::Result<()> {
        let count = mark.count() + 1;
        self.make_way()?;
        self.take_records(overlay)?;
        self.taken.insert(TAKEN_COUNT, count.to_le_bytes())?;
        self.database.persist(PersistMode::SyncData)?;
        let mut tables = self.state.start_ingestion()?;
        let mut enter = |(key, value): (&[u8], Option<&[u8]>)| match value {
            Some(value) => tables.write(key, value),
            None => tables.write_tombstone(key),
        };
        overlay.changes(&[], Some(OWN_KEY)).try_for_each(&mut enter)?;
        enter((OWN_KEY, Some(&count.to_le_bytes())))?;
        overlay.changes(OWN_KEY, None).try_for_each(&mut enter)?;
        tables.finish()?;
        mark.set_count(count)?;
        Ok(())
    }

    /// The records of an overlay, in batches. Not durable yet.
    pub(super) fn take_records(&self, overlay: &Overlay) -> fjall::Result<()> {
        let mut records = overlay.records().peekable();
        while records.peek().is_some() {
            let mut batch = self.database.batch();
            let mut room = RECORDS_BYTES_MAX;
            let fitting = std::iter::from_fn(|| {
                let (number, record) = records.next_if(|_| room > 0)?;
                room = room.saturating_sub(record.len());
                Some((number, record))
            });
            self.history().append(fitting, &mut batch)?;
            batch.commit()?;
        }
        Ok(())
    }

    /// Waits while too many runs of tables wait for compaction, and compacts where no worker does: the
    /// engine asks them once for each run, and what it asks while they are busy is lost.
    fn make_way(&self) -> fjall::Result<()> {
        while self.runs() >= RUNS_MAX {
            self.database.persist(PersistMode::Buffer)?; // fails once a worker has
            let nothing_is_garbage = 0;
            self.state.tree.compact(Arc::new(Leveled::default()), nothing_is_garbage)?;
            std::thread::sleep(RUNS_PAUSE);
        }
        Ok(())
    }

    /// Runs of tables that wait for compaction.
    pub(super) fn runs(&self) -> usize {
        self.state.tree.l0_run_count()
    }

    /// Reads everything once: whatever is rotten is found.
    #[cfg(test)]
    pub(super) fn read_through(&self) -> Result<(), StoreError> {
        for entry in self.state.iter() {
            entry.into_inner().map_err(refused)?;
        }
        self.history().read_through().map_err(refused)?;
        Ok(())
    }
}

/// Filters and indexes of all tables are whole, and stay in memory: ten bits a key, and a key for each block
/// of 4 KiB. (As the engine has it by itself, those of the largest tables are pieces that a read fetches,
/// nearly each time of a million keys: an operation then cost 352 instead of 219 us. A store that exists keeps
/// what it was made with.)
fn state_options() -> KeyspaceCreateOptions {
    KeyspaceCreateOptions::default()
        .index_block_partitioning_policy(PartitioningPolicy::all(false))
        .filter_block_partitioning_policy(PartitioningPolicy::all(false))
        .index_block_pinning_policy(PinningPolicy::all(true))
        .filter_block_pinning_policy(PinningPolicy::all(true))
}

/// Opens the engine, whose own lock is waited for: who calls this holds the store's lock, so only a
/// child can hold it that was begun when the store was last open and does not run its own program yet.
pub(super) fn open_database(dir: &Path, config: &StoreConfig) -> fjall::Result<Database> {
    let begun = Instant::now();
    loop {
        match try_open_database(dir, config) {
            Err(fjall::Error::Locked) if begun.elapsed() < COPIES_GO_AWAY_IN => {
                std::thread::sleep(Duration::from_millis(1));
            }
            opened => return opened,
        }
    }
}

fn try_open_database(dir: &Path, config: &StoreConfig) -> fjall::Result<Database> {
    Database::builder(dir)
        .cache_size(config.cache_bytes)
        .manual_journal_persist(true)
        .max_journaling_size(JOURNAL_BYTES_MAX)
        .max_cached_files(Some(FILES_MAX))
        .worker_threads(WORKER_THREADS)
        .open()
}

/// Opens the engine; if a power loss tore its journal, or a crash cut a repair short, repairs it.
fn open_or_repair(dir: &Path, config: &StoreConfig) -> fjall::Result<Database> {
    if !repair::is_unfinished(dir)? {
        match open_database(dir, config) {
            Err(fjall::Error::JournalRecovery(cause)) => {
                tracing::warn!(?cause, "a power loss tore the end of the state store: cutting it");
            }
            opened => return opened,
        }
    }
    repair::cut(dir, || match open_database(dir, config) {
        Ok(_) => Ok(true),
        Err(fjall::Error::JournalRecovery(_)) => Ok(false),
        Err(error) => Err(error),
    })?;
    open_database(dir, config)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::tests::Scratch;

    #[test]
    fn a_read_of_the_largest_tables_finds_their_filters_and_indexes_in_memory() {
        let scratch = Scratch::new();
        let config = StoreConfig::new([7; 32]);
        let database = open_database(&scratch.0, &config).expect("a new one");
        let state = database.keyspace(STATE, state_options).expect("a new one");
        for key in 0_u32..20_000 {
            state.insert(key.to_be_bytes(), [7; 100]).expect("taken");
        }
        state.rotate_memtable_and_wait().expect("written");
        state.major_compact().expect("compacted");
        let tree = &state.tree;
        assert_eq!((tree.l0_run_count(), tree.table_count() > 0), (0, true), "in the last level");
        let filters = usize::try_from(tree.filter_size()).expect("small");
        let (pinned, indexes) = (tree.pinned_filter_size(), tree.pinned_block_index_size());
        assert!(pinned * 10 >= filters * 9, "{pinned} of {filters} bytes");
        assert!(indexes > 5_000, "{indexes} bytes for a key of each block");
    }
}
