//! A durable log of entries and votes, in preallocated files.
//!
//! **Guarantee:** what is reported as written is on disk, and so is all that was appended before it.
//!
//! Files of a fixed size lie ready, filled with zeros, so that a sync has no metadata to write. One
//! thread takes all that was appended meanwhile, writes it, and syncs once. A record is the length of
//! what it says (four bytes), a checksum (eight) and that; each checksum goes on from the one before, so
//! nothing that an earlier run left behind the end is taken for a record. Nothing is changed in place: a
//! record says that entries are cut off. The end of the log is where no record follows, whatever the
//! reason: damage within it looks like an end.

mod disk;

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, ensure};
use openraft::{Entry, LogId, Vote};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::TypeConfig;
use disk::{Disk, Piece, Work};

/// Length and checksum.
const HEAD_BYTES: usize = 12;
/// What the checksum of the first record goes on from.
const SEED: u64 = 0x7261_6674_2d70_6565;
/// Bytes of entries at most that are kept in memory for those that are behind, once they are on disk.
const RECENT_BYTES_MAX: usize = 8 << 20;

/// How large the files are, and how many there may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    /// No record may be longer.
    pub(crate) segment_bytes: usize,
    pub(crate) segments_max: usize,
}

impl Layout {
    /// Two gibibytes in all: as much as etcd takes by default.
    pub(crate) const DEFAULT: Self = Self { segment_bytes: 16 << 20, segments_max: 128 };
}

/// What a record says.
#[derive(Deserialize, Serialize)]
enum Record {
    Vote(Vote<u64>),
    Entry(Entry<TypeConfig>),
    /// Entries from this index on are no more.
    Cut(u64),
}

/// The log. Copies are the same log.
#[derive(Clone)]
pub(crate) struct Log(Arc<Shared>);

struct Shared {
    layout: Layout,
    contents: Mutex<Contents>,
    disk: Disk,
}

/// Where something lies, counted through all files.
type Position = u64;

/// Where an entry lies.
#[derive(Clone, Copy, Debug)]
struct Place {
    log_id: LogId<u64>,
    at: Position,
    bytes: usize,
}

#[derive(Default)]
struct Contents {
    vote: Option<Vote<u64>>,
    /// All entries, from index 0 on.
    places: Vec<Place>,
    /// The last of them, with all that are not yet on disk.
    recent: VecDeque<Entry<TypeConfig>>,
    recent_bytes: usize,
    /// Where the next record goes.
    end: Position,
    checksum: u64,
}

impl Log {
    /// Opens the log in `dir`, or begins one.
    ///
    /// # Errors
    /// The directory cannot be used, or what lies in it is no log.
    pub(crate) fn open(dir: &Path, layout: Layout) -> anyhow::Result<Self> {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let mut contents = Contents { checksum: SEED, ..Contents::default() };
        let mut used = 0;
        for number in 0..layout.segments_max {
            let Some(bytes) = disk::read_segment(dir, number, layout)? else { break };
            let begin = layout.position(number, 0);
            let end = contents.replay(&bytes, begin)?;
            if end == begin && number > 0 {
                break; // nothing was written to it yet
            }
            (contents.end, used) = (end, number + 1);
        }
        let disk = Disk::start(dir, layout, used.max(1), contents.end)?;
        Ok(Self(Arc::new(Shared { layout, contents: Mutex::new(contents), disk })))
    }

    /// Whether there is no place for what clients write. What servers agree on still has some.
    pub(crate) fn is_full(&self) -> bool {
        let contents = self.lock();
        self.0.layout.segment_of(contents.end) + 1 >= self.0.layout.segments_max
    }

    /// Times that it was synced.
    pub(crate) fn fsync_count(&self) -> u64 {
        self.0.disk.fsync_count()
    }

    pub(crate) fn vote(&self) -> Option<Vote<u64>> {
        self.lock().vote
    }

    pub(crate) fn last_log_id(&self) -> Option<LogId<u64>> {
        self.lock().places.last().map(|place| place.log_id)
    }

    /// Appends entries, and calls `done` once they are on disk. They can be read at once.
    ///
    /// # Errors
    /// They do not follow what is there, or there is no place.
    pub(crate) fn append(
        &self,
        entries: impl Iterator<Item = Entry<TypeConfig>>,
        done: impl FnOnce(io::Result<()>) + Send + 'static,
    ) -> io::Result<()> {
        let mut contents = self.lock();
        contents.forget(self.0.disk.written());
        let mut pieces = Vec::new();
        for entry in entries {
            if entry.log_id.index != contents.places.len() as u64 {
                let why = format!("entry {} does not follow the log", entry.log_id.index);
                return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
            }
            let log_id = entry.log_id;
            let record = Record::Entry(entry);
            let (at, bytes) = contents.push(&record, self.0.layout, &mut pieces)?;
            contents.places.push(Place { log_id, at, bytes });
            contents.recent_bytes += bytes;
            if let Record::Entry(entry) = record {
                contents.recent.push_back(entry);
            }
        }
        self.0.disk.write(Work { pieces, done: Box::new(done) }) // in the order of the lock
    }

    /// Makes a vote durable. The answer comes when it is.
    ///
    /// # Errors
    /// There is no place.
    pub(crate) fn save_vote(&self, vote: Vote<u64>) -> io::Result<Written> {
        let mut contents = self.lock();
        contents.vote = Some(vote);
        self.write(&mut contents, &Record::Vote(vote))
    }

    /// Cuts off entries from this index on. The answer comes when that is durable.
    ///
    /// # Errors
    /// There is no place.
    pub(crate) fn cut(&self, from: u64) -> io::Result<Written> {
        let mut contents = self.lock();
        contents.cut(from);
        self.write(&mut contents, &Record::Cut(from))
    }

    fn write(&self, contents: &mut Contents, record: &Record) -> io::Result<Written> {
        let (sender, written) = oneshot::channel();
        let mut pieces = Vec::new();
        contents.push(record, self.0.layout, &mut pieces)?;
        let done = Box::new(|outcome| drop(sender.send(outcome))); // who asked may be gone
        self.0.disk.write(Work { pieces, done })?;
        Ok(Written(written))
    }

    /// The entries from `start` up to and without `end` that there are; of more than `bytes_max` bytes
    /// the first, at least one.
    ///
    /// # Errors
    /// They cannot be read.
    pub(crate) fn entries(
        &self,
        start: u64,
        end: u64,
        bytes_max: usize,
    ) -> io::Result<Vec<Entry<TypeConfig>>> {
        let (places, recent) = self.lock().find(start, end, bytes_max);
        let read = |place: Place| {
            let number = self.0.layout.segment_of(place.at);
            let offset = self.0.layout.offset_of(place.at);
            let bytes = self.0.disk.read(number, offset, place.bytes)?;
            match bytes.get(HEAD_BYTES..).map(postcard::from_bytes) {
                Some(Ok(Record::Entry(entry))) if entry.log_id == place.log_id => Ok(entry),
                _ => Err(io::Error::new(io::ErrorKind::InvalidData, "the log is damaged")),
            }
        };
        let older: io::Result<Vec<_>> = places.into_iter().map(read).collect();
        older.map(|mut entries| {
            entries.extend(recent);
            entries
        })
    }

    fn lock(&self) -> MutexGuard<'_, Contents> {
        self.0.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Something that will be on disk.
pub(crate) struct Written(oneshot::Receiver<io::Result<()>>);

impl Written {
    /// Waits until it is.
    ///
    /// # Errors
    /// It will not be.
    pub(crate) async fn wait(self) -> io::Result<()> {
        self.0.await.unwrap_or_else(|_| Err(io::Error::other("the log ended")))
    }
}

impl Layout {
    fn position(self, segment: usize, offset: usize) -> Position {
        (segment * self.segment_bytes + offset) as Position
    }

    fn segment_of(self, at: Position) -> usize {
        at as usize / self.segment_bytes
    }

    fn offset_of(self, at: Position) -> usize {
        at as usize % self.segment_bytes
    }

    /// Where a record of so many bytes goes that comes after `end`: no record lies in two files.
    fn place(self, end: Position, bytes: usize) -> io::Result<Position> {
        let (segment, offset) = (self.segment_of(end), self.offset_of(end));
        let fits = offset + bytes <= self.segment_bytes;
        let at = if fits { end } else { self.position(segment + 1, 0) };
        if bytes > self.segment_bytes || self.segment_of(at) >= self.segments_max {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "the log is full"));
        }
        Ok(at)
    }
}

impl Contents {
    /// Takes the records at the beginning of a file; gives where they end.
    fn replay(&mut self, segment: &[u8], begin: Position) -> anyhow::Result<Position> {
        let mut rest = segment;
        let mut at = begin;
        while let Some((said, checksum, after)) = record(rest, self.checksum) {
            let bytes = HEAD_BYTES + said.len();
            match postcard::from_bytes(said).context("a record of the log says nothing known")? {
                Record::Vote(vote) => self.vote = Some(vote),
                Record::Cut(from) => self.cut(from),
                Record::Entry(Entry { log_id, .. }) => {
                    let follows = log_id.index == self.places.len() as u64;
                    ensure!(follows, "entry {} of the log does not follow", log_id.index);
                    self.places.push(Place { log_id, at, bytes });
                }
            }
            (self.checksum, rest) = (checksum, after);
            at += bytes as Position;
        }
        Ok(at)
    }

    /// Appends a record to what is to be written; gives where it will lie, and its bytes.
    fn push(
        &mut self,
        record: &Record,
        layout: Layout,
        pieces: &mut Vec<Piece>,
    ) -> io::Result<(Position, usize)> {
        let said = postcard::to_stdvec(record).map_err(io::Error::other)?;
        let bytes = HEAD_BYTES + said.len();
        let at = layout.place(self.end, bytes)?;
        let length = u32::try_from(said.len()).map_err(io::Error::other)?;
        let checksum = xxh3_64_with_seed(&said, self.checksum);
        let segment = layout.segment_of(at);
        let piece = match pieces.last_mut() {
            Some(piece) if piece.segment == segment => piece,
            _ => {
                let offset = layout.offset_of(at);
                pieces.push(Piece { segment, offset, bytes: Vec::new() });
                pieces.last_mut().expect("it was just pushed")
            }
        };
        piece.bytes.extend_from_slice(&length.to_le_bytes());
        piece.bytes.extend_from_slice(&checksum.to_le_bytes());
        piece.bytes.extend_from_slice(&said);
        (self.checksum, self.end) = (checksum, at + bytes as Position);
        Ok((at, bytes))
    }

    fn cut(&mut self, from: u64) {
        let kept = usize::try_from(from).unwrap_or(usize::MAX);
        while self.places.len() > kept {
            let place = self.places.pop();
            if self.recent.pop_back().is_some() {
                self.recent_bytes -= place.map_or(0, |place| place.bytes);
            }
        }
    }

    /// Forgets what is on disk, up to `written`, and more than is kept.
    fn forget(&mut self, written: Position) {
        while self.recent_bytes > RECENT_BYTES_MAX {
            let first = self.places.len() - self.recent.len();
            match self.places.get(first) {
                Some(place) if place.at + place.bytes as Position <= written => {
                    self.recent_bytes -= place.bytes;
                    self.recent.pop_front();
                }
                _ => break,
            }
        }
    }

    /// Entries to read from disk, and those after them that are in memory.
    fn find(&self, start: u64, end: u64, bytes_max: usize) -> (Vec<Place>, Vec<Entry<TypeConfig>>) {
        let start = usize::try_from(start).unwrap_or(usize::MAX);
        let count = usize::try_from(end).unwrap_or(usize::MAX).saturating_sub(start);
        let mut bytes = 0;
        let chosen = self.places.iter().skip(start).take(count).take_while(|place| {
            let is_wanted = bytes < bytes_max;
            bytes += place.bytes;
            is_wanted
        });
        let mut places: Vec<Place> = chosen.copied().collect();
        let first_recent = self.places.len() - self.recent.len();
        let older = first_recent.saturating_sub(start).min(places.len());
        let skipped = start.saturating_sub(first_recent);
        let recent = self.recent.iter().skip(skipped).take(places.len() - older);
        let recent = recent.cloned().collect();
        places.truncate(older);
        (places, recent)
    }
}

/// The first record of some bytes that goes on from `checksum`: what it says, its own checksum, and what
/// comes after it.
fn record(bytes: &[u8], checksum: u64) -> Option<(&[u8], u64, &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (own, rest) = rest.split_first_chunk()?;
    let (said, after) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    let own = u64::from_le_bytes(*own);
    (!said.is_empty() && own == xxh3_64_with_seed(said, checksum)).then_some((said, own, after))
}

#[cfg(test)]
mod tests;
