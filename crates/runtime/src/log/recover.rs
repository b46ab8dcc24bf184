//! What a log on disk holds: reads it through, and tells a torn end from damage.
//!
//! Every group has a number, one more than the one before, and says which group was durable when
//! it was written. Where a group cannot be read, number `g` is missing. If any later marker says
//! that `g` was durable, a disk lost what it had promised to keep: damage. Otherwise no fsync that
//! covered `g` was known to have returned, nothing that depends on it has been shown to anyone,
//! and the log ends before `g`; groups behind it, which a power loss may have kept, are erased.

use super::format::{ALIGNMENT, HEADER_BYTES, MARKER_BYTES, Marker, MarkerKind};
use super::format::{Records, TagRange};
use super::segment::{self, Segment};
use super::{GroupNumber, LogConfig, LogError, SegmentNumber, Visit, origin};
use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use ravelin_model::mutants;

/// Bytes searched at once for markers.
const SEARCH_STEP_BYTES: usize = 1 << 20;

/// How the records found at an opening end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogEnd {
    /// There was no log: it was created.
    Created,
    /// After a whole group, without a trace of another.
    Clean,
    /// Groups that were never known to be durable are incomplete; they were dropped.
    ///
    /// A disk that corrupts the very last group after its fsync looks the same, unless the log
    /// was [closed](super::Log::close).
    Torn {
        /// Where the first group was dropped.
        segment: SegmentNumber,
        /// Its offset there.
        offset: u64,
    },
}

/// A log that was read through and can go on.
pub(super) struct Recovered {
    /// Segments with their tags and ends, oldest first; the last is to be written next.
    pub(super) live: Vec<(Segment, TagRange, u64)>,
    /// A segment after the last, if it is ready.
    pub(super) next: Option<Segment>,
    /// Segments below the oldest, to be removed.
    pub(super) leftovers: Vec<SegmentNumber>,
    pub(super) last_group: GroupNumber,
    pub(super) record_count: u64,
    pub(super) end: LogEnd,
}

/// Reads the log in `dir` through, giving every record to `visit`.
pub(super) fn recover(
    dir: &Path,
    config: &LogConfig,
    visit: Visit<'_>,
) -> Result<Recovered, LogError> {
    let io = |source| LogError::Io { doing: "list the segments", source };
    let mut segments = BTreeMap::new();
    for number in segment::list(dir).map_err(io)? {
        segments.insert(number, Segment::open(dir, number, &config.owner)?);
    }
    let oldest = oldest(&segments).map_err(io)?;
    let leftovers: Vec<_> = segments.range(..oldest).map(|(number, _)| *number).collect();
    let segments = segments.split_off(&oldest);
    let mut walk = Walk {
        segments: &segments,
        visit,
        live: Vec::new(),
        expected: GroupNumber(1),
        record_count: 0,
        body: Vec::new(),
    };
    let hole = walk.walk(oldest)?;
    let found = walk.judge(&hole)?;
    let last = hole.segment.number;
    let mut live = walk.live;
    live.push((hole.segment.clone(), hole.tags, hole.group_start));
    let last_group = GroupNumber(walk.expected.0 - 1);
    let record_count = walk.record_count;
    let io = |source| LogError::Io { doing: "repair the end of the log", source };
    let next = mend(dir, config, &segments, &hole, found).map_err(io)?;
    for (segment, _, _) in &live {
        segment.file.sync_data().map_err(io)?; // a killed process leaves groups that no fsync covered
    }
    let end = match found {
        Found::Nothing => LogEnd::Clean,
        Found::Torn => LogEnd::Torn { segment: last, offset: hole.group_start },
    };
    Ok(Recovered { live, next, leftovers, last_group, record_count, end })
}

type Segments = BTreeMap<SegmentNumber, Option<Segment>>;

/// The first segment that must be there: the markers of the last segment in use know.
fn oldest(segments: &Segments) -> io::Result<SegmentNumber> {
    for segment in segments.values().rev().flatten() {
        let (mut offset, mut oldest) = (HEADER_BYTES, None);
        while let Some(marker) = segment.marker_at(offset)? {
            oldest = oldest.max(Some(marker.oldest));
            offset += u64::from(marker.bytes);
        }
        if let Some(oldest) = oldest {
            return Ok(oldest);
        }
    }
    Ok(SegmentNumber(1))
}

/// The state of one reading.
struct Walk<'a, 'v> {
    segments: &'a Segments,
    visit: Visit<'v>,
    /// Segments read to their seal.
    live: Vec<(Segment, TagRange, u64)>,
    /// The number of the next group.
    expected: GroupNumber,
    record_count: u64,
    body: Vec<u8>,
}

/// Where the reading stopped: at the end of the log, or short of it.
struct Hole {
    segment: Segment,
    /// Tags of the segment's records before the hole.
    tags: TagRange,
    /// Where the group that cannot be read starts.
    group_start: u64,
    /// The first thing in it that is bad.
    offset: u64,
}

#[derive(Clone, Copy)]
enum Found {
    /// No trace of later groups.
    Nothing,
    /// Traces of groups that were not durable.
    Torn,
}

impl Walk<'_, '_> {
    /// Follows the groups from the start of `oldest` to where they end.
    fn walk(&mut self, oldest: SegmentNumber) -> Result<Hole, LogError> {
        let mut number = oldest;
        // Of a pruned log the first group tells the number. If that one is bad, `expected` stays at
        // 1, which any later marker calls durable: as it should, since segments are pruned only
        // when groups behind them are durable.
        let mut is_numbered = oldest == SegmentNumber(1);
        loop {
            let segment = match self.segments.get(&number) {
                None => return Err(LogError::MissingSegment { segment: number }),
                Some(None) => return Err(LogError::Damaged { segment: number, offset: 0 }),
                Some(Some(segment)) => segment.clone(),
            };
            if let Some(hole) = self.walk_segment(segment, is_numbered)? {
                return Ok(hole);
            }
            is_numbered = true;
            number = number.next();
        }
    }

    /// `None`: read to the seal.
    fn walk_segment(
        &mut self,
        segment: Segment,
        mut is_numbered: bool,
    ) -> Result<Option<Hole>, LogError> {
        let io = |source| LogError::Io { doing: "read a segment", source };
        let (mut group_start, mut tags) = (HEADER_BYTES, TagRange::EMPTY);
        loop {
            let marker = segment.marker_at(group_start).map_err(io)?;
            let marker = marker.filter(|marker| !is_numbered || marker.group == self.expected);
            let offset = match &marker {
                None => Some(group_start),
                Some(marker) => self.visit_group(&segment, group_start, marker).map_err(io)?,
            };
            let (Some(marker), None) = (marker, offset) else {
                let offset = offset.unwrap_or(group_start);
                return Ok(Some(Hole { segment, tags, group_start, offset }));
            };
            self.expected = marker.group.next();
            is_numbered = true;
            tags = tags.union(marker.tags);
            group_start += u64::from(marker.bytes);
            if marker.kind == MarkerKind::Seal {
                self.live.push((segment, tags, group_start));
                return Ok(None);
            }
        }
    }

    /// Checks the whole group, then gives its records away; or the offset of the first bad one.
    fn visit_group(
        &mut self,
        segment: &Segment,
        offset: u64,
        marker: &Marker,
    ) -> io::Result<Option<u64>> {
        let start = segment.read_body(offset, marker, &mut self.body)?;
        let records = || Records::new(&segment.key, start, &self.body);
        for record in records() {
            let bad = match record {
                Ok((at, tag, content)) => {
                    segment.payload(at, tag, &content)?.is_none().then_some(at)
                }
                Err(bad) => Some(bad),
            };
            if bad.is_some() {
                self.expected = marker.group;
                return Ok(bad);
            }
        }
        for (at, tag, content) in records().flatten() {
            let payload = segment.payload(at, tag, &content)?;
            let payload = payload.ok_or_else(|| io::Error::other("it reads differently now"))?;
            (self.visit)(tag, &payload);
            self.record_count += 1;
        }
        Ok(None)
    }

    /// Tells what lies behind the hole.
    fn judge(&self, hole: &Hole) -> Result<Found, LogError> {
        let io = |source| LogError::Io { doing: "search behind the end of the log", source };
        let mut found = Found::Nothing;
        let last = hole.segment.number;
        let behind = self.segments.range(last..).filter_map(|(_, segment)| segment.as_ref());
        for segment in behind {
            let is_first = segment.number == last;
            let from = if is_first { hole.group_start } else { HEADER_BYTES };
            let Some(durable) = search(segment, from).map_err(io)? else { continue };
            if durable >= self.expected && !mutants::is_active("lost_groups_taken_for_torn") {
                let all = self.segments.values().flatten();
                let is_marker = hole.offset == hole.group_start;
                let from = origin::find(all, &hole.segment, hole.offset, is_marker).map_err(io)?;
                let (segment, offset) = (last, hole.offset);
                return Err(match from {
                    Some((from, from_offset)) => {
                        LogError::Misdirected { segment, offset, from, from_offset }
                    }
                    None => LogError::Damaged { segment, offset },
                });
            }
            found = Found::Torn;
        }
        Ok(found)
    }
}

/// Looks for markers of `segment` at every place from `from` on where one can start; returns the
/// highest group that any of them calls durable.
fn search(segment: &Segment, from: u64) -> io::Result<Option<GroupNumber>> {
    let mut highest = None;
    let mut bytes = vec![0; SEARCH_STEP_BYTES + MARKER_BYTES];
    let never_written = bytes.clone();
    let end = (segment.bytes + 1).saturating_sub(MARKER_BYTES as u64);
    for offset in (from..end).step_by(SEARCH_STEP_BYTES) {
        let left = usize::try_from(segment.bytes - offset).unwrap_or(usize::MAX);
        bytes.truncate(left);
        segment.file.read_exact_at(&mut bytes, offset)?;
        if never_written.starts_with(&bytes) {
            continue;
        }
        for place in (0..bytes.len().min(SEARCH_STEP_BYTES)).step_by(ALIGNMENT) {
            let at = bytes.get(place..).unwrap_or_default();
            let marker = Marker::decode(&segment.key, offset + place as u64, at);
            highest = highest.max(marker.map(|marker| marker.durable));
        }
    }
    Ok(highest)
}

/// Makes the log end where the hole is. Returns the segment after the last, if it is of use.
fn mend(
    dir: &Path,
    config: &LogConfig,
    segments: &Segments,
    hole: &Hole,
    found: Found,
) -> io::Result<Option<Segment>> {
    let last = hole.segment.number;
    let mut next = None;
    for (number, segment) in segments.range(last.next()..).rev() {
        let is_next = *number == last.next() && matches!(found, Found::Nothing);
        next = segment.clone().filter(|next| is_next && next.bytes == config.segment_bytes);
        if next.is_none() {
            segment::remove(dir, *number)?; // the highest first: never a gap
        }
    }
    if matches!(found, Found::Torn) {
        hole.segment.erase_from(hole.group_start)?;
    }
    Ok(next)
}
