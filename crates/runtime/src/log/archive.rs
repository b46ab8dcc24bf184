//! Reading the durable part of a log while it is being written: what laggards ask for.

use super::format::{HEADER_BYTES, Records, TagRange, record_bytes};
use super::segment::Segment;
use super::{LogError, SegmentNumber, Tag};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes that one page may cost to find, whatever comes of them: some 10 ms.
const SCANNED_BYTES_MAX: u64 = 8 << 20;
/// What a group that is skipped counts: a read of its marker costs as much as so many bytes.
const SKIPPED_COSTS: u64 = 1 << 10;

/// A place in the log, given by one page of an archive read and taken by the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    segment: SegmentNumber,
    /// Where the group begins.
    group: u64,
    offset: u64,
}

/// Which records are read.
pub struct Selection<'a> {
    /// Their tags.
    pub tags: RangeInclusive<Tag>,
    /// Whether a record with such a tag is one of them. Told of each in the order of the log, once.
    pub holds: &'a dyn Fn(Position, Tag, &[u8]) -> bool,
}

/// Some records, in the order of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Tag and payload of each.
    pub records: Vec<(Tag, Vec<u8>)>,
    /// Where the next page starts; `None`: the durable part of the log ends here.
    pub next: Option<Position>,
    /// Where reading stopped, if anything was read: what is written later lies behind it.
    pub end: Option<Position>,
}

/// Reads durable records of a log that another thread goes on writing.
#[derive(Clone)]
pub struct Archive(pub(super) Arc<Index>);

/// What is durable, segment by segment.
#[derive(Default)]
pub(super) struct Index(Mutex<BTreeMap<SegmentNumber, Indexed>>);

/// One segment's entry.
#[derive(Clone)]
pub(super) struct Indexed {
    pub(super) segment: Segment,
    /// Tags of its durable records.
    pub(super) tags: TagRange,
    /// End of its durable groups.
    pub(super) end: u64,
}

/// A page being filled.
struct Filling<'a> {
    selection: &'a Selection<'a>,
    resume: Option<Position>,
    bytes_left: usize,
    scanned: u64,
    page: Page,
}

impl Index {
    /// The entries; a thread that panicked in between left them whole.
    pub(super) fn lock(&self) -> MutexGuard<'_, BTreeMap<SegmentNumber, Indexed>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that the groups of `segment` up to `end` are durable.
    pub(super) fn publish(&self, segment: &Segment, tags: TagRange, end: u64) {
        let entry = Indexed { segment: segment.clone(), tags, end };
        self.lock().insert(segment.number, entry);
    }

    /// The first entry at or after `at` that can hold such tags.
    fn next(&self, at: SegmentNumber, tags: &RangeInclusive<Tag>) -> Option<Indexed> {
        let index = self.lock();
        let mut entries = index.range(at..).map(|(_, entry)| entry);
        entries.find(|entry| can_hold(&entry.tags, tags)).cloned()
    }

    fn holds(&self, number: SegmentNumber) -> bool {
        self.lock().contains_key(&number)
    }
}

impl Archive {
    /// Reads the durable records of `selection`, in the order of the log.
    ///
    /// `resume`: the `next` of the page before, `None` for the first. `bytes_max` bounds a
    /// page, 24 bytes and a payload a record, but for its first record. A page may be empty although
    /// others follow: what one may cost to find is bounded, too.
    /// Cost: reads the groups that can hold such tags, at most 8 MiB of them, and 64 bytes of each
    /// group that it skips in segments that can, at most 8192 of them.
    ///
    /// # Errors
    ///
    /// [`LogError::Io`] and [`LogError::Damaged`]; the rest of the log may still be readable.
    pub fn read(
        &self,
        selection: &Selection<'_>,
        resume: Option<Position>,
        bytes_max: usize,
    ) -> Result<Page, LogError> {
        let page = Page { records: Vec::new(), next: None, end: None };
        let mut filling = Filling { selection, resume, bytes_left: bytes_max, scanned: 0, page };
        let mut at = resume.map_or(SegmentNumber(0), |position| position.segment);
        let mut body = Vec::new();
        while filling.page.next.is_none() {
            let Some(entry) = self.0.next(at, &selection.tags) else { break };
            let read = read_segment(&entry, &mut filling, &mut body);
            let number = entry.segment.number;
            at = SegmentNumber(number.0 + 1);
            filling.page.end = filling.page.next.or(filling.page.end);
            let pruned = read.is_err() && !self.0.holds(number); // and its file recycled meanwhile
            if !pruned {
                read?;
            }
        }
        Ok(filling.page)
    }
}

impl Archive {
    /// The records at these positions, in this order, as far as `bytes_max` goes: the first one
    /// whatever its size. Those that are pruned are left out. Cost: reads each of their groups once, as
    /// far as neighbours share one.
    ///
    /// # Errors
    ///
    /// [`LogError::Io`] and [`LogError::Damaged`].
    pub fn records_at(
        &self,
        positions: impl IntoIterator<Item = Position>,
        bytes_max: usize,
    ) -> Result<Vec<(Tag, Vec<u8>)>, LogError> {
        let io = |source: io::Error| LogError::Io { doing: "read the archive", source };
        let mut left = bytes_max;
        let mut found: Vec<(Tag, Vec<u8>)> = Vec::new();
        let (mut body, mut held) = (Vec::new(), None);
        for position in positions {
            let Position { segment: number, group, offset } = position;
            let entry = self.0.lock().get(&number).cloned();
            let Some(entry) = entry.filter(|entry| group < entry.end) else { continue };
            let damaged = |offset| LogError::Damaged { segment: number, offset };
            let start = match held {
                Some((of, start)) if of == (number, group) => start,
                _ => {
                    let marker = entry.segment.marker_at(group).map_err(io)?;
                    let marker = marker.ok_or_else(|| damaged(group))?;
                    entry.segment.read_body(group, &marker, &mut body).map_err(io)?
                }
            };
            held = Some(((number, group), start));
            let records = Records::new(&entry.segment.key, start, &body);
            for record in records {
                let (at, tag, content) = record.map_err(damaged)?;
                if at != offset {
                    continue;
                }
                let payload = entry.segment.payload(at, tag, &content).map_err(io)?;
                let payload = payload.ok_or_else(|| damaged(at))?;
                let bytes = record_bytes(payload.len());
                if bytes > left && !found.is_empty() {
                    return Ok(found);
                }
                left = left.saturating_sub(bytes);
                found.push((tag, payload.into_owned()));
            }
        }
        Ok(found)
    }
}

fn read_segment(
    entry: &Indexed,
    filling: &mut Filling<'_>,
    body: &mut Vec<u8>,
) -> Result<(), LogError> {
    let io = |source: io::Error| LogError::Io { doing: "read the archive", source };
    let segment = &entry.segment;
    let damaged = |offset| LogError::Damaged { segment: segment.number, offset };
    let begin = filling.resume.filter(|resume| resume.segment == segment.number);
    let mut group = begin.map_or(HEADER_BYTES, |resume| resume.group);
    while group < entry.end && filling.page.next.is_none() {
        let position = |offset| Position { segment: segment.number, group, offset };
        let marker = segment.marker_at(group).map_err(io)?.ok_or_else(|| damaged(group))?;
        if can_hold(&marker.tags, &filling.selection.tags) {
            if !filling.may_scan(u64::from(marker.bytes)) {
                filling.page.next = Some(position(group));
                break;
            }
            let start = segment.read_body(group, &marker, body).map_err(io)?;
            for record in Records::new(&segment.key, start, body) {
                let (at, tag, content) = record.map_err(damaged)?;
                if !filling.is_wanted(position(at), tag) {
                    continue;
                }
                let payload = segment.payload(at, tag, &content).map_err(io)?;
                let payload = payload.ok_or_else(|| damaged(at))?;
                if let Cow::Owned(elsewhere) = &payload {
                    filling.scanned += elsewhere.len() as u64; // told by the next group
                }
                if !filling.add(position(at), tag, payload) {
                    break;
                }
            }
        } else if !filling.may_scan(SKIPPED_COSTS) {
            filling.page.next = Some(position(group));
        }
        group += u64::from(marker.bytes);
        filling.page.end = Some(Position { segment: segment.number, group, offset: group });
    }
    Ok(())
}

/// Whether records of the range can have such tags.
fn can_hold(range: &TagRange, tags: &RangeInclusive<Tag>) -> bool {
    !range.is_empty() && range.max >= *tags.start() && range.min <= *tags.end()
}

impl Filling<'_> {
    /// Whether the page may cost so much more; its first step always may.
    fn may_scan(&mut self, bytes: u64) -> bool {
        let is_first = self.scanned == 0;
        self.scanned += bytes;
        is_first || self.scanned <= SCANNED_BYTES_MAX
    }

    /// Whether a record with this tag may belong to the page.
    fn is_wanted(&self, at: Position, tag: Tag) -> bool {
        self.resume.is_none_or(|resume| at >= resume) && self.selection.tags.contains(&tag)
    }

    /// Adds the record, which may belong to the page, if it does; `false`: the page is full without it.
    fn add(&mut self, at: Position, tag: Tag, payload: Cow<'_, [u8]>) -> bool {
        if !(self.selection.holds)(at, tag, &payload) {
            return true;
        }
        let bytes = record_bytes(payload.len());
        if bytes > self.bytes_left && !self.page.records.is_empty() {
            self.page.next = Some(at);
            return false;
        }
        self.bytes_left = self.bytes_left.saturating_sub(bytes);
        self.page.records.push((tag, payload.into_owned()));
        true
    }
}
