//! The state store: a replica's state on disk, in key order, and its history, under a bounded amount
//! of memory.
//!
//! **Guarantee:** a batch is there whole or not at all; after any crash of the process or the host
//! the store holds a prefix of the batches written, which contains every batch that a completed
//! `sync` covers. A store that lost synced batches is refused at its opening, as far as the mark
//! beside it survived. Assumes the same of the disk as the log does.
//!
//! An embedded log-structured merge tree (fjall), chosen by measurement: `docs/adr/0003-state-store.md`.
//! It does not write through: what a crash takes after the last sync, the replica executes again
//! from its log.

mod cache;
mod history;
mod lists;
mod mark;
mod repair;

use crate::directory;
use cache::Cache;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use history::History;
use mark::Mark;
use ravelin_model::StateBackend;
use ravelin_model::limits::AUDIT_RETENTION_BYTES_DEFAULT;
use std::cell::RefCell;
use std::error::Error;
use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// Keys have between one byte and this many.
pub const KEY_BYTES_MAX: usize = 65_535;
/// Exit code of a process whose store failed: `EX_IOERR`.
pub const EXIT_STORE_FAILED: i32 = 74;

/// The engine's files, beside the mark.
const ENGINE_DIR: &str = "engine";
const STATE: &str = "state";
/// What a store says of damage that was found while it served, for its next opening.
const NOTE: &str = "damaged.txt";
/// Bytes of that note that are read.
const NOTE_BYTES_MAX: u64 = 4096;
/// Where the number of the last sync is, apart from the replica's keys.
const SYNCS: &str = "syncs";
const SYNC_COUNT: &[u8] = b"count";
/// Three: one alone compacts while the tree in memory grows without bound; of several the engine's
/// first one only flushes, and turns round and round while a compaction waits for the others. With three
/// instead of two a loaded cluster does 15 % more, and the slowest answers take a third less (measured).
const WORKER_THREADS: usize = 3;
/// The engine's journal is cut into files of about this size; its least.
const JOURNAL_BYTES_MAX: u64 = 64 << 20;

/// Memory for blocks of tables that were read from disk.
pub const BLOCKS_BYTES_MAX: u64 = 8 << 20;
/// Memory for entries of the state that were read lately.
pub const ENTRIES_BYTES_MAX: usize = 32 << 20;

/// Tables that the engine keeps open: descriptors are few, and clients take the rest.
const FILES_MAX: usize = 128;

/// Configuration of a state store.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// Whose state it is: the store of any other owner is refused.
    pub owner: [u8; 32],
    /// Memory for blocks read from disk.
    pub cache_bytes: u64,
    /// Memory for entries read lately.
    pub entries_bytes: usize,
    /// Writes collected in memory before they go into a table; up to five times as much is held.
    pub memtable_bytes: u64,
    /// Bytes kept of the history.
    pub history_bytes: u64,
}

impl StoreConfig {
    /// The defaults: 8 MiB of blocks, 32 MiB of entries, tables of 8 MiB, 256 MiB of history.
    pub fn new(owner: [u8; 32]) -> Self {
        let history_bytes = AUDIT_RETENTION_BYTES_DEFAULT;
        Self {
            owner,
            cache_bytes: BLOCKS_BYTES_MAX,
            entries_bytes: ENTRIES_BYTES_MAX,
            memtable_bytes: 8 << 20,
            history_bytes,
        }
    }
}

/// Why a store cannot be opened. Opening it again does not help, unless it was locked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk failed.
    #[error("cannot {doing}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// What came of it.
        #[source]
        source: io::Error,
    },
    /// Another process (or another part of this one) has it open.
    #[error("the state store in {dir} is in use by another process")]
    Locked {
        /// The store's directory.
        dir: PathBuf,
    },
    /// It belongs to another replica or cluster.
    #[error("the state store in {dir} belongs to another replica")]
    ForeignOwner {
        /// The store's directory.
        dir: PathBuf,
    },
    /// The directory holds other things.
    #[error("{dir} is not empty and not a state store")]
    NotAStore {
        /// The directory.
        dir: PathBuf,
    },
    /// Another version of this program wrote it.
    #[error("the state store has format version {found}, which this program does not know")]
    Version {
        /// The version in its mark.
        found: u64,
    },
    /// It cannot be read; the replica fetches its state from the others into a new store.
    #[error("the state store is damaged")]
    Damaged {
        /// What the engine says.
        #[source]
        source: fjall::Error,
    },
    /// A list of its tables is not what was written: as [`StoreError::Damaged`].
    #[error("the state store is damaged: {file} is not what was written")]
    ListDamaged {
        /// The list.
        file: PathBuf,
    },
    /// It was found damaged while it served: as [`StoreError::Damaged`].
    #[error("the state store was found damaged while it served: {what}")]
    KnownDamaged {
        /// What was found.
        what: String,
    },
    /// Its mark is gone or rotten, so nobody knows what it had promised: as [`StoreError::Damaged`].
    #[error("the mark of the state store in {dir} is missing or rotten")]
    MarkLost {
        /// The store's directory.
        dir: PathBuf,
    },
    /// It has lost batches that were durable: as [`StoreError::Damaged`].
    #[error("the state store holds sync {found}, but sync {promised} was completed")]
    RolledBack {
        /// The last sync in the store.
        found: u64,
        /// The last sync that was completed.
        promised: u64,
    },
}

impl StoreError {
    /// Whether the store has lost or spoiled what it held, and not merely cannot be opened now.
    #[must_use]
    pub fn is_loss(&self) -> bool {
        match self {
            Self::Damaged { .. }
            | Self::ListDamaged { .. }
            | Self::KnownDamaged { .. }
            | Self::MarkLost { .. }
            | Self::RolledBack { .. } => true,
            Self::Io { .. }
            | Self::Locked { .. }
            | Self::ForeignOwner { .. }
            | Self::NotAStore { .. }
            | Self::Version { .. } => false,
        }
    }
}

/// A replica's state on disk.
pub struct DiskState {
    dir: PathBuf,
    database: Database,
    state: Keyspace,
    history: History,
    syncs: Keyspace,
    mark: Mark,
    /// What the state holds under keys that were read lately.
    read: RefCell<Cache>,
    /// Released last, when the engine is closed.
    _lock: File,
}

impl DiskState {
    /// Opens the store in `dir`, or creates it if `dir` is absent or empty.
    ///
    /// Cost: reads up to 128 MiB of journal; seconds if a power loss tore its end.
    ///
    /// # Errors
    ///
    /// Those of which [`StoreError::is_loss`] is true: the replica needs another's state. All others:
    /// an operator must look.
    pub fn open(dir: &Path, config: &StoreConfig) -> Result<Self, StoreError> {
        let io = |source| StoreError::Io { doing: "prepare the store's directory", source };
        let lock = directory::lock(dir).map_err(io)?;
        let lock = lock.ok_or_else(|| StoreError::Locked { dir: dir.to_path_buf() })?;
        let mark = Mark::open(dir, ENGINE_DIR, &config.owner)?;
        if let Some(what) = note(dir).map_err(io)? {
            return Err(StoreError::KnownDamaged { what });
        }
        let engine = dir.join(ENGINE_DIR);
        if let Some(file) = lists::rotten(&engine).map_err(io)? {
            return Err(StoreError::ListDamaged { file });
        }
        let database = open_or_repair(&engine, config).map_err(refused)?;
        let options = || KeyspaceCreateOptions::default().max_memtable_size(config.memtable_bytes);
        let state = database.keyspace(STATE, options).map_err(refused)?;
        let syncs = database.keyspace(SYNCS, options).map_err(refused)?;
        let history = History::open(&database, config.history_bytes).map_err(refused)?;
        let dir = dir.to_path_buf();
        let read = RefCell::new(Cache::new(config.entries_bytes));
        let store = Self { dir, database, state, history, syncs, mark, read, _lock: lock };
        store.check_mark()?;
        Ok(store)
    }

    /// Whether `dir` holds a store, whole or not.
    ///
    /// # Errors
    /// The disk failed.
    pub fn is_in(dir: &Path) -> io::Result<bool> {
        dir.join(ENGINE_DIR).try_exists()
    }

    /// Refuses the store in `dir`, if there is one, when it is not `owner`'s. Changes nothing, locks
    /// nothing.
    ///
    /// # Errors
    /// [`StoreError::ForeignOwner`], [`StoreError::Version`], [`StoreError::Io`].
    pub fn check_owner(dir: &Path, owner: &[u8; 32]) -> Result<(), StoreError> {
        Mark::check_owner(dir, owner)
    }

    /// Reads everything once: whatever is rotten is found.
    #[cfg(test)]
    fn read_through(&self) -> Result<(), StoreError> {
        for entry in self.state.iter() {
            entry.into_inner().map_err(refused)?;
        }
        self.history.read_through().map_err(refused)?;
        Ok(())
    }

    /// Every completed sync must be in the store.
    fn check_mark(&self) -> Result<(), StoreError> {
        let count = self.syncs.get(SYNC_COUNT).map_err(refused)?;
        let count = count.and_then(|bytes| bytes.first_chunk().copied());
        let (found, promised) = (count.map_or(0, u64::from_le_bytes), self.mark.sync_count());
        if found < promised {
            return Err(StoreError::RolledBack { found, promised });
        }
        Ok(())
    }

    fn try_write(
        &mut self,
        batch: &[(Vec<u8>, Option<Vec<u8>>)],
        records: &[(u64, Vec<u8>)],
    ) -> fjall::Result<()> {
        let mut writes = self.database.batch();
        for (key, value) in batch {
            match value {
                Some(value) => writes.insert(&self.state, key.as_slice(), value.as_slice()),
                None => writes.remove(&self.state, key.as_slice()),
            }
        }
        self.history.append(records, &mut writes)?;
        writes.commit()?;
        let read = self.read.get_mut();
        batch.iter().for_each(|(key, value)| read.update(key, value.as_deref()));
        Ok(())
    }

    fn try_sync(&mut self) -> fjall::Result<()> {
        let count = self.mark.sync_count() + 1;
        self.syncs.insert(SYNC_COUNT, count.to_le_bytes())?;
        self.database.persist(PersistMode::SyncData)?;
        self.mark.set_sync_count(count)?;
        Ok(())
    }
}

impl StateBackend for DiskState {
    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        if let Some(known) = self.read.borrow_mut().get(key) {
            return known;
        }
        let value = self.state.get(key);
        let value = value.unwrap_or_else(|error| self.fail("read the state", &error));
        self.read.borrow_mut().insert(key, value.as_deref());
        value.map(|value| value.to_vec())
    }

    fn scan(
        &self,
        from: &[u8],
        until: Option<&[u8]>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) {
        if until.is_some_and(|until| until <= from) {
            return;
        }
        let entries = match until {
            Some(until) => self.state.range(from..until),
            None => self.state.range(from..),
        };
        for entry in entries {
            let entry = entry.into_inner();
            let (key, value) = entry.unwrap_or_else(|error| self.fail("scan the state", &error));
            if visit(&key, &value).is_break() {
                return;
            }
        }
    }

    /// # Panics
    ///
    /// If a key is empty or longer than [`KEY_BYTES_MAX`].
    fn write_with(&mut self, batch: &[(Vec<u8>, Option<Vec<u8>>)], records: &[(u64, Vec<u8>)]) {
        let is_key = |key: &[u8]| (1..=KEY_BYTES_MAX).contains(&key.len());
        assert!(batch.iter().all(|(key, _)| is_key(key)), "a key of the state has a length");
        self.try_write(batch, records).unwrap_or_else(|error| self.fail("write the state", &error));
    }

    fn record(&self, number: u64) -> Option<Vec<u8>> {
        let record = self.history.get(number);
        record.unwrap_or_else(|error| self.fail("read the history", &error))
    }

    fn sync(&mut self) {
        if let Err(error) = self.try_sync() {
            self.fail("sync the state", &error);
        }
    }
}

fn open_engine(dir: &Path, config: &StoreConfig) -> fjall::Result<Database> {
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
        match open_engine(dir, config) {
            Err(fjall::Error::JournalRecovery(cause)) => {
                tracing::warn!(?cause, "a power loss tore the end of the state store: cutting it");
            }
            opened => return opened,
        }
    }
    repair::cut(dir, || match open_engine(dir, config) {
        Ok(_) => Ok(true),
        Err(fjall::Error::JournalRecovery(_)) => Ok(false),
        Err(error) => Err(error),
    })?;
    open_engine(dir, config)
}

impl DiskState {
    /// Ends the process: a replica that cannot read or write its state must not answer, and what a
    /// failed write or fsync left behind is known only after a restart. What is rotten is noted, for
    /// the engine may well open again what it cannot read.
    fn fail(&self, doing: &'static str, error: &fjall::Error) -> ! {
        let cause: &(dyn Error + 'static) = error;
        tracing::error!(error = cause, "cannot {doing}; this server stops");
        if is_corruption(error) {
            leave_note(&self.dir, &format!("cannot {doing}: {error}"));
        }
        std::process::exit(EXIT_STORE_FAILED)
    }
}

/// Why the engine refuses, in the words of callers.
fn refused(error: fjall::Error) -> StoreError {
    if is_corruption(&error) {
        return StoreError::Damaged { source: error };
    }
    let source = io::Error::other(error);
    StoreError::Io { doing: "open the state store", source }
}

/// Whether the engine found its own files spoiled: not that the disk is full, read-only or out of
/// reach, and not that there are no descriptors.
fn is_corruption(error: &fjall::Error) -> bool {
    if matches!(
        error,
        fjall::Error::Poisoned | fjall::Error::Locked | fjall::Error::KeyspaceDeleted
    ) {
        return false;
    }
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    let mut io: Option<&io::Error> = None;
    while let (Some(error), None) = (cause, io) {
        io = error.downcast_ref();
        cause = error.source();
    }
    // A file of its own that is gone, or that ends too early, is a loss.
    io.is_none_or(|io| io.raw_os_error().is_none() || io.kind() == io::ErrorKind::NotFound)
}

/// What an earlier life of the store found.
fn note(dir: &Path) -> io::Result<Option<String>> {
    use io::Read as _;
    let file = match File::open(dir.join(NOTE)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(NOTE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// Leaves a note for the next opening. If that fails too, the store fails again where it did.
fn leave_note(dir: &Path, what: &str) {
    let write = || {
        use io::Write as _;
        let mut file = File::create(dir.join(NOTE))?;
        file.write_all(what.as_bytes())?;
        file.sync_all()?;
        directory::sync(dir)
    };
    if let Err(error) = write() {
        tracing::error!(%error, "cannot note what was found in {}", dir.display());
    }
}

#[cfg(test)]
mod tests;
