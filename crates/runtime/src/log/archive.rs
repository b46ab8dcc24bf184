//! Reading the durable part of a log while it is being written: what laggards ask for.

use super::format::{HEADER_BYTES, Marker, Records, TagRange, record_bytes};
use super::segment::Segment;
use super::{LogError, SegmentNumber, Tag};
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A place in the log, given by one page of an archive read and taken by the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    segment: SegmentNumber,
    offset: u64,
}

/// Some records, in the order of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Tag and payload of each.
    pub records: Vec<(Tag, Vec<u8>)>,
    /// Where the next page starts; `None`: the durable part of the log ends here.
    pub next: Option<Position>,
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
struct Filling {
    from: Tag,
    resume: Option<Position>,
    bytes_left: usize,
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

    /// The first entry at or after `at` that can hold a tag not below `from`.
    fn next(&self, at: SegmentNumber, from: Tag) -> Option<Indexed> {
        let index = self.lock();
        let mut entries = index.range(at..).map(|(_, entry)| entry);
        entries.find(|entry| !entry.tags.is_empty() && entry.tags.max >= from).cloned()
    }

    fn holds(&self, number: SegmentNumber) -> bool {
        self.lock().contains_key(&number)
    }
}

impl Archive {
    /// Reads the durable records with a tag of at least `from`, in the order of the log.
    ///
    /// `resume`: the `next` of the page before, `None` for the first. `bytes_max` bounds a
    /// page, 24 bytes and a payload a record; there is at least one record in it if there is one.
    /// Cost: reads the groups that hold such tags, and 64 bytes of each group that it skips in
    /// the segments that may hold one.
    ///
    /// # Errors
    ///
    /// [`LogError::Io`] and [`LogError::Damaged`]; the rest of the log may still be readable.
    pub fn read_from(
        &self,
        from: Tag,
        resume: Option<Position>,
        bytes_max: usize,
    ) -> Result<Page, LogError> {
        let page = Page { records: Vec::new(), next: None };
        let mut filling = Filling { from, resume, bytes_left: bytes_max, page };
        let mut at = resume.map_or(SegmentNumber(0), |position| position.segment);
        let mut body = Vec::new();
        while filling.page.next.is_none() {
            let Some(entry) = self.0.next(at, from) else { break };
            let read = read_segment(&entry, &mut filling, &mut body);
            let number = entry.segment.number;
            at = SegmentNumber(number.0 + 1);
            let pruned = read.is_err() && !self.0.holds(number); // and its file recycled meanwhile
            if !pruned {
                read?;
            }
        }
        Ok(filling.page)
    }
}

fn read_segment(
    entry: &Indexed,
    filling: &mut Filling,
    body: &mut Vec<u8>,
) -> Result<(), LogError> {
    let io = |source: io::Error| LogError::Io { doing: "read the archive", source };
    let segment = &entry.segment;
    let damaged = |offset| LogError::Damaged { segment: segment.number, offset };
    let mut offset = HEADER_BYTES;
    while offset < entry.end && filling.page.next.is_none() {
        let marker = segment.marker_at(offset).map_err(io)?.ok_or_else(|| damaged(offset))?;
        if filling.wants(segment.number, offset, &marker) {
            let start = segment.read_body(offset, &marker, body).map_err(io)?;
            for record in Records::new(&segment.key, start, body) {
                let (at, tag, payload) = record.map_err(damaged)?;
                if !filling.add(Position { segment: segment.number, offset: at }, tag, payload) {
                    break;
                }
            }
        }
        offset += u64::from(marker.bytes);
    }
    Ok(())
}

impl Filling {
    /// Whether the group of `marker` can hold a record for this page.
    fn wants(&self, segment: SegmentNumber, offset: u64, marker: &Marker) -> bool {
        let end = Position { segment, offset: offset + u64::from(marker.bytes) };
        let is_before = self.resume.is_some_and(|resume| end <= resume);
        !is_before && !marker.tags.is_empty() && marker.tags.max >= self.from
    }

    /// Adds the record if it belongs to the page; `false`: the page is full without it.
    fn add(&mut self, at: Position, tag: Tag, payload: &[u8]) -> bool {
        if tag < self.from || self.resume.is_some_and(|resume| at < resume) {
            return true;
        }
        let bytes = record_bytes(payload.len());
        if bytes > self.bytes_left && !self.page.records.is_empty() {
            self.page.next = Some(at);
            return false;
        }
        self.bytes_left = self.bytes_left.saturating_sub(bytes);
        self.page.records.push((tag, payload.to_vec()));
        true
    }
}
