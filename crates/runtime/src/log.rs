//! The append-only log: after `sync` returns, what was appended survives any crash of the host.
//!
//! A log is a directory of segments: files of one size, made and zero-filled ahead of need by a
//! helper thread, so that a sync overwrites blocks that exist (0.1 ms) instead of growing a file
//! (2-3 ms). Everything appended since the last sync becomes durable by one write and one
//! fdatasync. Records carry a tag (the protocol's round), by which old segments are pruned and
//! laggards read.
//!
//! Assumptions: an fdatasync that succeeds keeps its promise; a power loss keeps or loses each
//! sector written since, in any combination. What fails is told apart: an end torn by a crash is
//! dropped ([`LogEnd::Torn`]), corruption of what was durable is [`LogError::Damaged`], a write that
//! went to the wrong place [`LogError::Misdirected`] where that can be told, a lost file
//! [`LogError::MissingSegment`]. A log that was rolled back as a whole looks intact: the protocol
//! asks the other replicas. The bytes: `docs/wire.md`.
//!
//! # Source
//!
//! T. S. Pillai et al., *All File Systems Are Not Created Equal*, OSDI 2014 (what may be assumed
//! of a file system); A. Rebello et al., *Can Applications Recover from fsync Failures?*, USENIX
//! ATC 2020 (a failed fsync is fatal).

mod archive;
mod disk;
mod format;
mod origin;
mod preparer;
mod recover;
mod segment;
mod tail;

pub use archive::{Archive, Page, Position, Selection};
pub use recover::LogEnd;

use crate::directory::{self, DirectoryLock};
use archive::Index;
use disk::{Disk, SystemDisk};
use format::{Content, HEADER_BYTES, MarkerKind, TagRange};
use preparer::Preparer;
use recover::Recovered;
use segment::Segment;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
use tail::{Stamp, Tail};

/// Payload of a record at most, in segments that are large enough.
pub const RECORD_BYTES_MAX: usize = 8 << 20;
/// Size of a segment by default: the least that holds any record, and soon zeroed.
pub const SEGMENT_BYTES_DEFAULT: u64 = 16 << 20;
/// Smallest segment.
pub const SEGMENT_BYTES_MIN: u64 = 1024;
/// Appended bytes held in memory at most; more are written ahead of the sync.
const PENDING_BYTES_MAX: usize = 8 << 20;

/// What a record is about: the protocol's round. Pruning and archive reads go by it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(pub u64);

/// Number of a segment, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentNumber(pub u64);

/// Number of a group, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct GroupNumber(u64);

/// Receives the records of a log at its opening, in order.
pub type Visit<'a> = &'a mut dyn FnMut(Tag, &[u8]);

/// Configuration of a log.
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// Whose log it is: a log of any other owner is refused.
    pub owner: [u8; 32],
    /// Size of a new segment: a multiple of 8, at least [`SEGMENT_BYTES_MIN`].
    pub segment_bytes: u64,
    /// Pruned segments stay for laggards while all together are no larger than this.
    pub retention_bytes: u64,
}

impl LogConfig {
    /// The defaults: segments of [`SEGMENT_BYTES_DEFAULT`]; 1 GiB of them kept.
    pub fn new(owner: [u8; 32]) -> Self {
        Self { owner, segment_bytes: SEGMENT_BYTES_DEFAULT, retention_bytes: 1 << 30 }
    }
}

/// What an opening found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// Records given to the visitor.
    pub record_count: u64,
    /// How they end.
    pub end: LogEnd,
}

/// What a log has done since its opening.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogCounters {
    /// Records appended.
    pub record_count: u64,
    /// Bytes given to files, markers and padding included.
    pub written_bytes: u64,
    /// Completed calls of fdatasync.
    pub fsync_count: u64,
    /// Time that they took, in microseconds.
    pub fsync_micros: u64,
    /// Time of the slowest of them, in microseconds.
    pub fsync_slowest_micros: u64,
    /// Segments begun.
    pub segment_count: u64,
}

/// Why a log cannot be opened, or cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The disk failed. The log does nothing more: what is durable is known only after a restart.
    #[error("cannot {doing}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// What came of it.
        #[source]
        source: io::Error,
    },
    /// An earlier call failed; the process must end.
    #[error("the log failed before and does nothing more")]
    Failed,
    /// Another process (or another part of this one) has it open.
    #[error("the log in {dir} is in use by another process")]
    Locked {
        /// The log's directory.
        dir: PathBuf,
    },
    /// It belongs to another replica or cluster.
    #[error("the log in {dir} belongs to another replica")]
    ForeignOwner {
        /// The log's directory.
        dir: PathBuf,
    },
    /// The directory holds other things.
    #[error("{dir} is not empty and not a log")]
    NotALog {
        /// The directory.
        dir: PathBuf,
    },
    /// Another version of this program wrote it.
    #[error("the log has format version {found}, which this program does not know")]
    Version {
        /// The version in the segment's header.
        found: u64,
    },
    /// Something that was durable cannot be read: the replica has lost promises and must not
    /// vote. Opening again does not help.
    #[error("the log is damaged in segment {} at offset {offset}", segment.0)]
    Damaged {
        /// The segment.
        segment: SegmentNumber,
        /// Offset of the first bad marker or record; 0: the header.
        offset: u64,
    },
    /// What belongs elsewhere in the log was written over what was durable: as
    /// [`LogError::Damaged`]. The disk, its controller or its firmware mixes up addresses.
    #[error(
        "the log is damaged in segment {} at offset {offset}: what is there belongs into segment {} \
         at offset {from_offset}",
        segment.0, from.0
    )]
    Misdirected {
        /// The segment.
        segment: SegmentNumber,
        /// Offset of the first bad marker or record.
        offset: u64,
        /// Where what is there belongs.
        from: SegmentNumber,
        /// Its offset there.
        from_offset: u64,
    },
    /// A segment that must exist does not: as [`LogError::Damaged`].
    #[error("segment {} of the log is missing", segment.0)]
    MissingSegment {
        /// The first one missing.
        segment: SegmentNumber,
    },
    /// No such record waits for its end; the log goes on without it.
    #[error("a record's end came without its beginning")]
    NoDraft,
    /// The record does not fit; the log goes on without it.
    #[error("a record of {bytes} bytes is over the limit of {max}")]
    TooLarge {
        /// Bytes of its payload.
        bytes: usize,
        /// The limit.
        max: usize,
    },
}

impl LogError {
    /// Whether the log has lost what it promised to keep, and not merely cannot be opened now.
    #[must_use]
    pub fn is_loss(&self) -> bool {
        match self {
            Self::Damaged { .. } | Self::Misdirected { .. } | Self::MissingSegment { .. } => true,
            Self::Io { .. }
            | Self::Failed
            | Self::Locked { .. }
            | Self::ForeignOwner { .. }
            | Self::NotALog { .. }
            | Self::Version { .. }
            | Self::NoDraft
            | Self::TooLarge { .. } => false,
        }
    }
}

/// An open log: one writer, any number of [`Archive`] readers.
pub struct Log {
    disk: Box<dyn Disk>,
    tail: Tail,
    /// Segments filled since the last sync.
    filled: Vec<Tail>,
    stamp: Stamp,
    /// Whether the next sync writes a marker even without records.
    is_marker_due: bool,
    /// Pruned segments; their files go when a durable marker says so.
    pruned: Vec<SegmentNumber>,
    index: Arc<Index>,
    counters: LogCounters,
    payload_bytes_max: usize,
    retention_bytes: u64,
    draft: Option<Draft>,
    has_failed: bool,
    preparer: Preparer,
    /// Released last, when the helper thread is gone.
    _lock: DirectoryLock,
}

/// A record that may be [completed](Log::complete), and where it is.
struct Draft {
    segment: SegmentNumber,
    offset: u64,
    tag: Tag,
    payload: Vec<u8>,
}

impl Log {
    /// Opens the log in `dir`, or creates it if `dir` is absent or empty.
    ///
    /// Every record goes to `visit`, in order, before it is known whether the whole log is sound:
    /// what the visitor built is void unless this returns `Ok`. Memory: one group and one record.
    ///
    /// # Errors
    ///
    /// [`LogError::Locked`], [`LogError::ForeignOwner`], [`LogError::NotALog`] and
    /// [`LogError::Version`]: this is not ours to open. Those of which [`LogError::is_loss`] is true:
    /// nothing was changed; the replica goes on as a learner with a new log. [`LogError::Io`]: the
    /// disk.
    ///
    /// # Panics
    ///
    /// If `config.segment_bytes` is not a multiple of 8 or below [`SEGMENT_BYTES_MIN`].
    pub fn open(
        dir: &Path,
        config: LogConfig,
        visit: Visit<'_>,
    ) -> Result<(Self, Recovery), LogError> {
        Self::open_on(Box::new(SystemDisk), dir, config, visit)
    }

    /// Whether `dir` holds a log, whole or not.
    ///
    /// # Errors
    /// The disk failed.
    pub fn is_in(dir: &Path) -> io::Result<bool> {
        match segment::list(dir) {
            Ok(segments) => Ok(!segments.is_empty()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Refuses the log in `dir`, if there is one, when it is not `owner`'s. Changes nothing, locks nothing.
    ///
    /// # Errors
    /// [`LogError::ForeignOwner`], [`LogError::Version`], [`LogError::Io`].
    pub fn check_owner(dir: &Path, owner: &[u8; 32]) -> Result<(), LogError> {
        if !Self::is_in(dir).map_err(|source| LogError::Io { doing: "look for a log", source })? {
            return Ok(());
        }
        let io = |source| LogError::Io { doing: "list the segments", source };
        for number in segment::list(dir).map_err(io)? {
            Segment::open(dir, number, owner)?;
        }
        Ok(())
    }

    fn open_on(
        disk: Box<dyn Disk>,
        dir: &Path,
        config: LogConfig,
        visit: Visit<'_>,
    ) -> Result<(Self, Recovery), LogError> {
        let is_aligned = config.segment_bytes.is_multiple_of(format::ALIGNMENT as u64);
        assert!(is_aligned && config.segment_bytes >= SEGMENT_BYTES_MIN, "size of a segment");
        let io = |source| LogError::Io { doing: "prepare the log's directory", source };
        let lock = directory::lock(dir).map_err(io)?;
        let lock = lock.ok_or_else(|| LogError::Locked { dir: dir.to_path_buf() })?;
        segment::remove_spare(dir).map_err(io)?;
        let is_new = segment::list(dir).map_err(io)?.is_empty();
        if is_new {
            if !directory::is_unused(dir, &[]).map_err(io)? {
                return Err(LogError::NotALog { dir: dir.to_path_buf() });
            }
            Segment::create(dir, SegmentNumber(1), &config).map_err(io)?;
        }
        let recovered = recover::recover(dir, &config, visit)?;
        let end = if is_new { LogEnd::Created } else { recovered.end };
        let recovery = Recovery { record_count: recovered.record_count, end };
        Ok((Self::start(disk, dir, config, recovered, lock)?, recovery))
    }

    /// Goes on after `recovered`: makes durable that it is what there is, then tidies up.
    fn start(
        disk: Box<dyn Disk>,
        dir: &Path,
        config: LogConfig,
        mut recovered: Recovered,
        lock: DirectoryLock,
    ) -> Result<Self, LogError> {
        let io = |source| LogError::Io { doing: "start the log", source };
        let index = Arc::new(Index::default());
        for (segment, tags, end) in &recovered.live {
            index.publish(segment, *tags, *end);
        }
        let oldest = recovered.live.first().map_or(SegmentNumber(1), |(first, _, _)| first.number);
        let (last, tags, end) = recovered.live.pop().expect("a log has a segment");
        let durable = recovered.last_group;
        let payload_bytes_max = Tail::payload_bytes_max(config.segment_bytes).min(RECORD_BYTES_MAX);
        let retention_bytes = config.retention_bytes;
        let preparer = Preparer::start(dir.to_path_buf(), config, recovered.next).map_err(io)?;
        let mut log = Self {
            disk,
            tail: Tail::new(last, end, tags),
            filled: Vec::new(),
            stamp: Stamp { next: durable.next(), durable, oldest },
            is_marker_due: true,
            pruned: recovered.leftovers,
            index,
            counters: LogCounters::default(),
            payload_bytes_max,
            retention_bytes,
            draft: None,
            has_failed: false,
            preparer,
            _lock: lock,
        };
        log.sync()?;
        Ok(log)
    }

    /// Appends a record; durable when the next [`Log::sync`] has returned.
    ///
    /// Cost: one BLAKE3 of the payload and a copy; a full segment adds a write, and a wait if the
    /// next one is not ready.
    ///
    /// # Errors
    ///
    /// [`LogError::TooLarge`] changes nothing; after any other the process must end.
    pub fn append(&mut self, tag: Tag, payload: &[u8]) -> Result<(), LogError> {
        self.append_at(tag, payload).map(drop)
    }

    /// As [`Log::append`], of a record whose end may come later: see [`Log::complete`]. Forgets the draft
    /// before, if that has none yet.
    ///
    /// # Errors
    ///
    /// As [`Log::append`].
    pub fn append_draft(&mut self, tag: Tag, payload: Vec<u8>) -> Result<(), LogError> {
        self.draft = None;
        let offset = self.append_at(tag, &payload)?;
        self.draft = Some(Draft { segment: self.tail.segment.number, offset, tag, payload });
        Ok(())
    }

    /// Appends a record with the payload of the draft, whose tag is `tag`, but for its last bytes, which are
    /// `end` here. The draft stays a record, too.
    ///
    /// Cost: that of [`Log::append`] for `end` alone, where the draft is in the segment that is written.
    ///
    /// # Errors
    ///
    /// [`LogError::NoDraft`] changes nothing; otherwise as [`Log::append`].
    pub fn complete(&mut self, tag: Tag, end: &[u8]) -> Result<(), LogError> {
        if self.has_failed {
            return Err(LogError::Failed);
        }
        let fits = |draft: &mut Draft| draft.tag == tag && draft.payload.len() >= end.len();
        let draft = self.draft.take_if(fits).ok_or(LogError::NoDraft)?;
        let Draft { segment, offset, mut payload, .. } = draft;
        let content = Content::End { of: offset, end };
        let is_near = segment == self.tail.segment.number && self.tail.segment.takes_ends;
        if is_near && self.tail.has_room(Some(content)) {
            return self.push(tag, content).map(drop);
        }
        segment::replace_end(&mut payload, end);
        self.append(tag, &payload)
    }

    /// Makes everything appended so far durable. Does nothing if nothing was.
    ///
    /// # Errors
    ///
    /// The process must end: after a failed fsync nobody knows what the disk holds.
    pub fn sync(&mut self) -> Result<(), LogError> {
        if self.has_failed {
            return Err(LogError::Failed);
        }
        let outcome = self.try_sync();
        self.remember("sync the log", outcome)
    }

    /// Drops the oldest segments whose records all have tags below `below`, while all segments
    /// together are larger than the retention. Their files go after the next [`Log::sync`].
    pub fn prune(&mut self, below: Tag) {
        let first_unsynced = self.filled.first().unwrap_or(&self.tail).segment.number;
        let mut index = self.index.lock();
        let mut total: u64 = index.values().map(|entry| entry.segment.bytes).sum();
        while total > self.retention_bytes {
            let Some(oldest) = index.first_entry() else { break };
            let entry = oldest.get();
            let is_needed = !entry.tags.is_empty() && entry.tags.max >= below;
            if *oldest.key() >= first_unsynced || is_needed {
                break;
            }
            total -= entry.segment.bytes;
            self.stamp.oldest = oldest.key().next();
            self.is_marker_due = true;
            self.pruned.push(*oldest.key());
            oldest.remove();
        }
    }

    /// A reader of what is durable, for other threads.
    pub fn archive(&self) -> Archive {
        Archive(Arc::clone(&self.index))
    }

    /// What the log has done since it was opened.
    pub fn counters(&self) -> LogCounters {
        self.counters
    }

    /// Syncs, and marks the end: corruption of the last records is then told from a torn end.
    ///
    /// # Errors
    ///
    /// As [`Log::sync`].
    pub fn close(mut self) -> Result<(), LogError> {
        self.sync()?;
        self.is_marker_due = true;
        self.sync()
    }

    /// Appends a record, and returns where it begins.
    fn append_at(&mut self, tag: Tag, payload: &[u8]) -> Result<u64, LogError> {
        if payload.len() > self.payload_bytes_max {
            return Err(LogError::TooLarge { bytes: payload.len(), max: self.payload_bytes_max });
        }
        self.push(tag, Content::Whole(payload))
    }

    fn push(&mut self, tag: Tag, content: Content<'_>) -> Result<u64, LogError> {
        if self.has_failed {
            return Err(LogError::Failed);
        }
        let outcome = self.try_push(tag, content);
        self.remember("append to the log", outcome)
    }

    fn try_push(&mut self, tag: Tag, content: Content<'_>) -> io::Result<u64> {
        if !self.tail.has_room(Some(content)) {
            self.begin_segment()?;
        }
        let offset = self.tail.push(tag, content, &mut self.stamp);
        self.counters.record_count += 1;
        if self.tail.end() > self.tail.segment.bytes / 2 {
            self.preparer.prepare(self.tail.segment.number.next());
        }
        if self.tail.buffered() > PENDING_BYTES_MAX {
            self.write_out()?;
        }
        Ok(offset)
    }

    fn try_sync(&mut self) -> io::Result<()> {
        self.preparer.check()?;
        self.tail.end_group(&mut self.stamp);
        if self.is_marker_due {
            if !self.tail.has_room(None) {
                self.begin_segment()?;
            }
            self.tail.push_marker(MarkerKind::Group, &mut self.stamp);
            self.is_marker_due = false;
        }
        if self.stamp.next == self.stamp.durable.next() {
            return Ok(());
        }
        self.write_out()?;
        let filled = std::mem::take(&mut self.filled);
        for tail in filled.iter().chain([&self.tail]) {
            let begun = Instant::now();
            self.disk.sync(&tail.segment.file)?;
            let took = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
            self.counters.fsync_count += 1;
            self.counters.fsync_micros = self.counters.fsync_micros.saturating_add(took);
            self.counters.fsync_slowest_micros = self.counters.fsync_slowest_micros.max(took);
        }
        for tail in filled.iter().chain([&self.tail]) {
            self.index.publish(&tail.segment, tail.tags, tail.end());
        }
        self.stamp.durable = GroupNumber(self.stamp.next.0 - 1);
        for number in self.pruned.drain(..) {
            self.preparer.retire(number);
        }
        Ok(())
    }

    /// Seals the segment being written and goes on in the next, which is there first: a seal promises it.
    fn begin_segment(&mut self) -> io::Result<()> {
        let next = self.preparer.take(self.tail.segment.number.next())?;
        self.tail.push_marker(MarkerKind::Seal, &mut self.stamp);
        self.write_out()?;
        let filled =
            std::mem::replace(&mut self.tail, Tail::new(next, HEADER_BYTES, TagRange::EMPTY));
        self.filled.push(filled);
        self.counters.segment_count += 1;
        Ok(())
    }

    /// Gives the file what is buffered.
    fn write_out(&mut self) -> io::Result<()> {
        self.tail.end_group(&mut self.stamp);
        let (offset, bytes) = self.tail.unwritten();
        if !bytes.is_empty() {
            self.disk.write(&self.tail.segment.file, offset, bytes)?;
            self.counters.written_bytes += bytes.len() as u64;
        }
        self.tail.set_written();
        Ok(())
    }

    fn remember<T>(&mut self, doing: &'static str, outcome: io::Result<T>) -> Result<T, LogError> {
        self.has_failed = outcome.is_err();
        outcome.map_err(|source| LogError::Io { doing, source })
    }
}

impl SegmentNumber {
    fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl GroupNumber {
    fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

#[cfg(test)]
pub(crate) mod tests;
