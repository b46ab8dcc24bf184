//! The state store: a replica's state on disk, in key order, and its history, in memory that is bounded but
//! for what grows with the number of keys: ten bits of each, and each block's last one.
//!
//! **Guarantee:** a batch is there whole or not at all; after any crash of the process or the host
//! the store holds a prefix of the batches written, which contains every batch that a completed
//! `sync` covers, and none that was neither settled nor synced. A store that lost synced batches is
//! refused at its opening, as far as the mark beside it survived. Assumes the same of the disk as the
//! log does.
//!
//! It does not write through: changes gather in memory (`overlay.rs`), and a thread of its own
//! (`flusher.rs`) hands them to an embedded log-structured merge tree (`engine.rs`), some megabytes at
//! once and whenever a checkpoint is certified. What a crash takes, the replica executes again from
//! its log. Why: `docs/adr/0003-state-store.md`, `docs/adr/0014-changes-gather-before-the-store.md` and
//! `docs/adr/0020-the-state-follows-the-log.md`.

mod cache;
mod engine;
mod flusher;
mod gaps;
mod history;
mod key;
mod lists;
mod mark;
mod overlay;
mod repair;

use crate::directory::{self, DirectoryLock};
use cache::Cache;
use engine::{ENGINE_DIR, Engine, OWN_KEY};
use flusher::Flusher;
use gaps::Gaps;
use mark::Mark;
use overlay::Overlay;
use ravelin_model::limits::AUDIT_RETENTION_BYTES_DEFAULT;
use ravelin_model::{StateBackend, scan_over};
use std::cell::RefCell;
use std::error::Error;
use std::fs::File;
use std::io;
use std::mem::take;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Keys have between one byte and this many.
pub const KEY_BYTES_MAX: usize = 65_535;
/// Exit code of a process whose store failed: `EX_IOERR`.
pub const EXIT_STORE_FAILED: i32 = 74;

/// What a store says of damage that was found while it served, for its next opening.
const NOTE: &str = "damaged.txt";
/// Bytes of that note that are read.
const NOTE_BYTES_MAX: u64 = 4096;
/// Memory for blocks of tables that were read from disk.
pub const BLOCKS_BYTES_MAX: u64 = 8 << 20;
/// Memory for entries of the state that were read lately.
pub const ENTRIES_BYTES_MAX: usize = 32 << 20;

/// Memory for what was written since the engine last took something in; up to four times as much is
/// held while it does.
pub const OVERLAY_BYTES_MAX: usize = 8 << 20;

/// Configuration of a state store.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// Whose state it is: the store of any other owner is refused.
    pub owner: [u8; 32],
    /// Memory for blocks read from disk.
    pub cache_bytes: u64,
    /// Memory for entries read lately.
    pub entries_bytes: usize,
    /// Memory of what is written before it goes into tables; up to four times as much is held.
    pub overlay_bytes: usize,
    /// Bytes kept of the history.
    pub history_bytes: u64,
}

impl StoreConfig {
    /// The defaults: 8 MiB of blocks, 32 MiB of entries, 8 MiB of writes, 256 MiB of history.
    pub fn new(owner: [u8; 32]) -> Self {
        let history_bytes = AUDIT_RETENTION_BYTES_DEFAULT;
        Self {
            owner,
            cache_bytes: BLOCKS_BYTES_MAX,
            entries_bytes: ENTRIES_BYTES_MAX,
            overlay_bytes: OVERLAY_BYTES_MAX,
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
///
/// Layers, each over the next: what was written lately (`active`), what the engine is taking in
/// (`sealed`), and the engine's tables. What was read lately is known beside them.
pub struct DiskState {
    active: Overlay,
    sealed: Option<Arc<Overlay>>,
    /// Overlays that the engine has taken in.
    taken: u64,
    /// Whether what is active must follow as soon as the engine is done with what is sealed.
    is_due: bool,
    read: RefCell<Cache>,
    gaps: RefCell<Gaps>,
    /// Memory of one overlay.
    overlay_bytes: usize,
    flusher: Flusher,
    engine: Arc<Engine>,
    /// Released last, when the engine is closed.
    _lock: DirectoryLock,
}

impl DiskState {
    /// Opens the store in `dir`, or creates it if `dir` is absent or empty.
    ///
    /// Cost: reads up to 192 MiB of journal; seconds if a power loss tore its end.
    ///
    /// # Errors
    ///
    /// Those of which [`StoreError::is_loss`] is true: the replica needs another's state. All others:
    /// an operator must look.
    pub fn open(dir: &Path, config: &StoreConfig) -> Result<Self, StoreError> {
        let io = |source| StoreError::Io { doing: "prepare the store's directory", source };
        let lock = directory::lock(dir).map_err(io)?;
        let lock = lock.ok_or_else(|| StoreError::Locked { dir: dir.to_path_buf() })?;
        let mut mark = Mark::open(dir, ENGINE_DIR, &config.owner)?;
        if let Some(what) = note(dir).map_err(io)? {
            return Err(StoreError::KnownDamaged { what });
        }
        let engine = Arc::new(Engine::open(dir, config, &mut mark)?);
        let flusher = Flusher::begin(Arc::clone(&engine), mark);
        let flusher = flusher
            .map_err(|source| StoreError::Io { doing: "begin the store's thread", source })?;
        Ok(Self {
            active: Overlay::default(),
            sealed: None,
            taken: 0,
            is_due: false,
            read: RefCell::new(Cache::new(config.entries_bytes)),
            gaps: RefCell::default(),
            overlay_bytes: config.overlay_bytes,
            flusher,
            engine,
            _lock: lock,
        })
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

    /// Hands what is active to the engine, unless that is busy, or there is nothing. All of it must be
    /// settled, or wanted durable whatever the log holds.
    fn seal(&mut self) {
        if self.sealed.is_some() {
            return;
        }
        self.is_due = false;
        if !self.active.is_empty() {
            let overlay = Arc::new(take(&mut self.active));
            self.sealed = Some(Arc::clone(&overlay));
            self.flusher.take_in(overlay);
        }
    }

    /// Lets go of what the engine has taken in.
    fn let_go(&mut self) {
        if let Some(overlay) = self.sealed.take() {
            self.taken += 1;
            self.gaps.get_mut().fill(&overlay);
            self.flusher.forget(overlay);
        }
    }

    /// Takes note of what the engine has done meanwhile.
    fn look(&mut self) {
        if self.sealed.is_some() && self.flusher.is_done() {
            self.let_go();
        }
    }

    /// Whether what is active goes to the engine, were it settled.
    fn is_to_hand_over(&self) -> bool {
        let is_full = self.active.bytes() >= self.overlay_bytes;
        self.sealed.is_none() && (self.is_due || is_full)
    }

    /// Waits until the engine has nothing to do.
    fn wait(&mut self) {
        if self.sealed.is_some() {
            self.flusher.wait();
            self.let_go();
        }
    }

    /// Waits for the engine where that is one overlay behind. Between two settlings no more is handed
    /// over than there was at the first.
    fn bound(&mut self) {
        if self.active.bytes() >= 2 * self.overlay_bytes {
            self.wait();
        }
    }

    /// What the layers have under a key.
    fn find(&self, key: &[u8]) -> Option<Vec<u8>> {
        let sealed = || self.sealed.as_ref().and_then(|sealed| sealed.get(key));
        if let Some(change) = self.active.get(key).or_else(sealed) {
            return change.map(<[u8]>::to_vec);
        }
        let value = self.engine.get(key);
        let value = value.unwrap_or_else(|error| self.fail("read the state", &error));
        value.map(|value| value.to_vec())
    }

    fn scan_tables(&self, from: &[u8], until: Option<&[u8]>, visit: &mut Visit<'_>) {
        if until.is_some_and(|until| self.gaps.borrow_mut().hold(from, until)) {
            return;
        }
        let mut is_empty = true;
        for entry in self.engine.range(from, until) {
            is_empty = false;
            let entry = entry.into_inner();
            let (key, value) = entry.unwrap_or_else(|error| self.fail("scan the state", &error));
            if *key != *OWN_KEY && visit(&key, &value).is_break() {
                return;
            }
        }
        if let (true, Some(until)) = (is_empty, until) {
            self.gaps.borrow_mut().note(from, until);
        }
    }

    /// As the function: a server that cannot read its state must not answer.
    fn fail(&self, doing: &'static str, error: &fjall::Error) -> ! {
        fail(self.engine.dir(), doing, error)
    }
}

/// Called with the key and value of each entry of a scan.
type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'a;

impl StateBackend for DiskState {
    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        if let Some(known) = self.read.borrow_mut().get(key) {
            return known;
        }
        let value = self.find(key);
        self.read.borrow_mut().insert(key, value.as_deref());
        value
    }

    fn scan(&self, from: &[u8], until: Option<&[u8]>, visit: &mut Visit<'_>) {
        if until.is_some_and(|until| until <= from) {
            return;
        }
        let sealed = self.sealed.iter().flat_map(|sealed| sealed.changes(from, until));
        let tables = |visit: &mut Visit<'_>| self.scan_tables(from, until, visit);
        let below = |visit: &mut Visit<'_>| scan_over(sealed, tables, visit);
        scan_over(self.active.changes(from, until), below, visit);
    }

    /// # Panics
    ///
    /// If a key is empty, longer than [`KEY_BYTES_MAX`], or the store's own (`0xff` alone).
    fn write_with(&mut self, batch: &[(Vec<u8>, Option<Vec<u8>>)], records: &[(u64, Vec<u8>)]) {
        let is_key = |key: &[u8]| (1..=KEY_BYTES_MAX).contains(&key.len()) && *key != *OWN_KEY;
        assert!(batch.iter().all(|(key, _)| is_key(key)), "a key of the state has a length");
        self.look();
        let read = self.read.get_mut();
        for (key, value) in batch {
            let change = value.as_deref().map(Arc::from);
            read.update(key, &change);
            self.active.put(key, change);
        }
        records.iter().for_each(|(number, record)| self.active.append(*number, record));
        self.bound();
    }

    fn record(&self, number: u64) -> Option<Vec<u8>> {
        let sealed = || self.sealed.as_ref().and_then(|sealed| sealed.record(number));
        if let Some(record) = self.active.record(number).or_else(sealed) {
            return Some(record.to_vec());
        }
        let record = self.engine.history().get(number);
        record.unwrap_or_else(|error| self.fail("read the history", &error))
    }

    fn settle(&mut self) {
        if self.is_to_hand_over() {
            self.seal();
        }
    }

    /// Of what fills an overlay, or is to be durable. Only this looks whether the engine is done: were it
    /// done between the two, more would be handed over than was said.
    fn hands_over(&mut self) -> bool {
        self.look();
        self.is_to_hand_over()
    }

    fn sync(&mut self) {
        self.wait();
        self.seal();
        self.wait();
    }

    fn begin_sync(&mut self) -> u64 {
        self.look();
        self.is_due = !self.active.is_empty();
        self.taken + u64::from(self.sealed.is_some()) + u64::from(self.is_due)
    }

    fn is_synced(&mut self, begun: u64) -> bool {
        self.look();
        self.taken >= begun
    }
}

/// Ends the process: a replica that cannot read or write its state must not answer, and what a failed
/// write or fsync left behind is known only after a restart. What is rotten is noted in `dir`, for the
/// engine may well open again what it cannot read.
fn fail(dir: &Path, doing: &'static str, error: &fjall::Error) -> ! {
    let cause: &(dyn Error + 'static) = error;
    tracing::error!(error = cause, "cannot {doing}; this server stops");
    if is_corruption(error) {
        leave_note(dir, &format!("cannot {doing}: {error}"));
    }
    std::process::exit(EXIT_STORE_FAILED)
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
