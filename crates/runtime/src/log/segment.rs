//! One file of the log: made ahead of need, zero-filled, never grown.
//!
//! A file gets its name only when its header is durable, and its name is durable before anything
//! is written into it: under a segment's name there is always a whole segment.

use super::format::{
    Content, HEADER_BYTES, Header, HeaderFault, MARKER_BYTES, Marker, RECORD_HEADER_BYTES, Records,
    SegmentKey, VERSION, whole_record_bytes,
};
use super::{LogConfig, LogError, SegmentNumber, Tag};
use crate::directory;
use rustix::fs::{FallocateFlags, fallocate};
use std::borrow::Cow;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file on its way to become a segment, or out of use. Never holds anything of value.
const SPARE_NAME: &str = "spare.tmp";
const SUFFIX: &str = ".segment";
/// Zeroes are written in steps of this size, each made durable, so that no other file's fsync
/// finds a large heap of them in its way.
const ZERO_STEP_BYTES: usize = 1 << 20;

/// An open segment.
#[derive(Clone)]
pub(super) struct Segment {
    pub(super) number: SegmentNumber,
    /// Bytes of the file.
    pub(super) bytes: u64,
    pub(super) key: SegmentKey,
    pub(super) takes_ends: bool,
    pub(super) file: Arc<File>,
}

impl Segment {
    /// Makes segment `number` durable and empty, out of the spare file if there is one.
    ///
    /// Cost: writes and syncs `segment_bytes`, less with a spare.
    pub(super) fn create(
        dir: &Path,
        number: SegmentNumber,
        config: &LogConfig,
    ) -> io::Result<Self> {
        let spare = dir.join(SPARE_NAME);
        let options = OpenOptions::new().read(true).write(true).create(true).clone();
        let file = options.open(&spare)?;
        if file.metadata()?.len() != config.segment_bytes {
            file.set_len(0)?;
            fallocate(&file, FallocateFlags::empty(), 0, config.segment_bytes)?;
            zero(&file, 0, config.segment_bytes)?;
            file.sync_all()?;
        }
        let salt = random()?;
        let segment_bytes = config.segment_bytes;
        let owner = config.owner;
        let header = Header { version: VERSION, number, segment_bytes, owner, salt };
        file.write_all_at(&header.encode(), 0)?;
        file.sync_data()?;
        std::fs::rename(&spare, path(dir, number))?;
        directory::sync(dir)?;
        Ok(Self::of(&header, file))
    }

    /// Opens segment `number`, which exists. `None`: its header is rotten.
    pub(super) fn open(
        dir: &Path,
        number: SegmentNumber,
        owner: &[u8; 32],
    ) -> Result<Option<Self>, LogError> {
        let io = |source| LogError::Io { doing: "open a segment", source };
        let file = OpenOptions::new().read(true).write(true).open(path(dir, number)).map_err(io)?;
        let length = file.metadata().map_err(io)?.len();
        let mut bytes = [0; HEADER_BYTES as usize];
        if length < HEADER_BYTES {
            return Ok(None);
        }
        file.read_exact_at(&mut bytes, 0).map_err(io)?;
        let header = match Header::decode(&bytes) {
            Ok(header) => header,
            Err(HeaderFault::Corrupt) => return Ok(None),
            Err(HeaderFault::Version(found)) => return Err(LogError::Version { found }),
        };
        if header.owner != *owner {
            return Err(LogError::ForeignOwner { dir: dir.to_path_buf() });
        }
        if header.number != number || header.segment_bytes != length {
            return Ok(None);
        }
        Ok(Some(Self::of(&header, file)))
    }

    fn of(header: &Header, file: File) -> Self {
        let &Header { number, segment_bytes: bytes, .. } = header;
        let takes_ends = header.takes_ends();
        Self { number, bytes, key: header.key(), takes_ends, file: Arc::new(file) }
    }

    /// The marker at `offset`, if one of this segment is there.
    pub(super) fn marker_at(&self, offset: u64) -> io::Result<Option<Marker>> {
        if offset + MARKER_BYTES as u64 > self.bytes {
            return Ok(None);
        }
        let mut bytes = [0; MARKER_BYTES];
        self.file.read_exact_at(&mut bytes, offset)?;
        let marker = Marker::decode(&self.key, offset, &bytes);
        Ok(marker.filter(|marker| offset + u64::from(marker.bytes) <= self.bytes))
    }

    /// Reads into `body` what follows `marker`, which is at `offset`; returns where it starts.
    pub(super) fn read_body(
        &self,
        offset: u64,
        marker: &Marker,
        body: &mut Vec<u8>,
    ) -> io::Result<u64> {
        let start = offset + MARKER_BYTES as u64;
        let length =
            usize::try_from(marker.bytes).map_or(0, |all| all.saturating_sub(MARKER_BYTES));
        body.resize(length, 0);
        self.file.read_exact_at(body, start)?;
        Ok(start)
    }

    /// The payload of the record at `at` that holds `content`. `None`: that is the end of something that is no
    /// earlier record with this tag.
    pub(super) fn payload<'a>(
        &self,
        at: u64,
        tag: Tag,
        content: &Content<'a>,
    ) -> io::Result<Option<Cow<'a, [u8]>>> {
        match *content {
            Content::Whole(payload) => Ok(Some(Cow::Borrowed(payload))),
            Content::End { of, end } => {
                let payload = self.whole_payload(of, tag, at)?;
                let payload = payload.filter(|payload| payload.len() >= end.len());
                Ok(payload.map(|mut payload| {
                    replace_end(&mut payload, end);
                    Cow::Owned(payload)
                }))
            }
        }
    }

    /// The payload of the record at `offset`, if there is one with this tag that holds it whole and lies
    /// before `limit`.
    fn whole_payload(&self, offset: u64, tag: Tag, limit: u64) -> io::Result<Option<Vec<u8>>> {
        let mut header = [0; RECORD_HEADER_BYTES];
        let is_before = |bytes| offset.checked_add(bytes as u64).is_some_and(|end| end <= limit);
        if !is_before(header.len()) {
            return Ok(None);
        }
        self.file.read_exact_at(&mut header, offset)?;
        let bytes = whole_record_bytes(header).filter(|bytes| is_before(*bytes));
        let Some(bytes) = bytes else { return Ok(None) };
        let mut record = vec![0; bytes];
        self.file.read_exact_at(&mut record, offset)?;
        Ok(match Records::new(&self.key, offset, &record).next() {
            Some(Ok((_, its, Content::Whole(payload)))) if its == tag => Some(payload.to_vec()),
            _ => None,
        })
    }

    /// Erases everything from `offset` on, durably.
    pub(super) fn erase_from(&self, offset: u64) -> io::Result<()> {
        zero(&self.file, offset, self.bytes)
    }
}

/// Gives a payload another end, than which it is no shorter.
pub(super) fn replace_end(payload: &mut Vec<u8>, end: &[u8]) {
    payload.truncate(payload.len().saturating_sub(end.len()));
    payload.extend_from_slice(end);
}

/// The numbers of the segments in `dir`, ascending.
pub(super) fn list(dir: &Path) -> io::Result<Vec<SegmentNumber>> {
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let name = entry?.file_name();
        let digits = name.to_str().and_then(|name| name.strip_suffix(SUFFIX));
        let number = digits.filter(|digits| digits.len() == 16);
        if let Some(Ok(number)) = number.map(|digits| u64::from_str_radix(digits, 16)) {
            numbers.push(SegmentNumber(number));
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Removes a spare file left by a crash: nobody knows how far it got.
pub(super) fn remove_spare(dir: &Path) -> io::Result<()> {
    match std::fs::remove_file(dir.join(SPARE_NAME)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Removes segment `number`, durably.
pub(super) fn remove(dir: &Path, number: SegmentNumber) -> io::Result<()> {
    std::fs::remove_file(path(dir, number))?;
    directory::sync(dir)
}

/// Takes segment `number` out of use: it becomes the spare file, or goes if there is one.
pub(super) fn retire(dir: &Path, number: SegmentNumber) -> io::Result<()> {
    let spare = dir.join(SPARE_NAME);
    if spare.try_exists()? {
        return remove(dir, number);
    }
    std::fs::rename(path(dir, number), spare)?;
    directory::sync(dir) // before the header is overwritten, or the old name could show a new header
}

fn path(dir: &Path, number: SegmentNumber) -> PathBuf {
    dir.join(format!("{:016x}{SUFFIX}", number.0))
}

/// Overwrites `from..upto` with zeroes: written blocks, not promised ones, since the first write
/// into a promised block costs a commit of the file system's journal at the next fsync.
fn zero(file: &File, from: u64, upto: u64) -> io::Result<()> {
    let zeroes = vec![0; ZERO_STEP_BYTES];
    let mut offset = from;
    while offset < upto {
        let step =
            usize::try_from(upto - offset).map_or(ZERO_STEP_BYTES, |n| n.min(ZERO_STEP_BYTES));
        file.write_all_at(zeroes.get(..step).unwrap_or(&zeroes), offset)?;
        file.sync_data()?;
        offset += step as u64;
    }
    Ok(())
}

fn random() -> io::Result<[u8; 32]> {
    let mut bytes = [0; 32];
    let filled = rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty())?;
    assert!(filled == bytes.len(), "up to 256 bytes of randomness come whole");
    Ok(bytes)
}
