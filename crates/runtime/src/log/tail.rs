//! The end of the log: the segment that is being written, and what is not yet in its file.

use super::format::{
    Content, HEADER_BYTES, MARKER_BYTES, Marker, MarkerKind, TagRange, encode_record, record_bytes,
};
use super::segment::Segment;
use super::{GroupNumber, SegmentNumber, Tag};

/// A group longer than this ends with the record that makes it so: what recovery must hold in
/// memory at once is this and one record.
const GROUP_BYTES_MAX: usize = 1 << 20;

/// What every marker says of the log as a whole.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamp {
    /// The number that the next group gets.
    pub(super) next: GroupNumber,
    /// The last group that a completed fsync covers.
    pub(super) durable: GroupNumber,
    /// The first segment that is not pruned.
    pub(super) oldest: SegmentNumber,
}

/// The segment being written.
pub(super) struct Tail {
    pub(super) segment: Segment,
    /// Tags of all its records.
    pub(super) tags: TagRange,
    /// Where `buffer` goes in the file.
    written: u64,
    buffer: Vec<u8>,
    open: Option<OpenGroup>,
}

/// A group that still grows: its marker's place is kept free.
struct OpenGroup {
    start: usize,
    record_count: u32,
    tags: TagRange,
}

impl Tail {
    /// Goes on at `end` in `segment`, whose records so far have `tags`.
    pub(super) fn new(segment: Segment, end: u64, tags: TagRange) -> Self {
        Self { segment, tags, written: end, buffer: Vec::new(), open: None }
    }

    /// Payload of the largest record that an empty segment takes.
    pub(super) fn payload_bytes_max(segment_bytes: u64) -> usize {
        let overhead = HEADER_BYTES as usize + 2 * MARKER_BYTES + record_bytes(0);
        usize::try_from(segment_bytes).unwrap_or(usize::MAX).saturating_sub(overhead)
    }

    /// Where the next byte goes.
    pub(super) fn end(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// Bytes not yet given to the file.
    pub(super) fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// Whether a group with a record of this content (`None`: without records) still fits, and a seal
    /// after it.
    pub(super) fn has_room(&self, content: Option<Content<'_>>) -> bool {
        let marker = if self.open.is_some() { 0 } else { MARKER_BYTES };
        let record = content.map_or(0, |content| content.record_bytes());
        self.end() + (marker + record + MARKER_BYTES) as u64 <= self.segment.bytes
    }

    /// Adds a record to the open group, or to a new one; ends the group if it got too long. Returns where
    /// the record begins.
    pub(super) fn push(&mut self, tag: Tag, content: Content<'_>, stamp: &mut Stamp) -> u64 {
        let (tags, start) = (TagRange { min: tag, max: tag }, self.buffer.len());
        let group = self.open.get_or_insert_with(|| {
            self.buffer.resize(start + MARKER_BYTES, 0);
            OpenGroup { start, record_count: 0, tags: TagRange::EMPTY }
        });
        group.record_count += 1;
        group.tags = group.tags.union(tags);
        self.tags = self.tags.union(tags);
        let is_long = self.buffer.len() - group.start > GROUP_BYTES_MAX;
        let offset = self.written + self.buffer.len() as u64;
        encode_record(&self.segment.key, offset, tag, content, &mut self.buffer);
        if is_long {
            self.end_group(stamp);
        }
        offset
    }

    /// Ends the open group, if there is one.
    pub(super) fn end_group(&mut self, stamp: &mut Stamp) {
        if let Some(group) = self.open.take() {
            self.mark(&group, MarkerKind::Group, stamp);
        }
    }

    /// Adds a group without records: what the marker says is what counts.
    pub(super) fn push_marker(&mut self, kind: MarkerKind, stamp: &mut Stamp) {
        self.end_group(stamp);
        let start = self.buffer.len();
        self.buffer.resize(start + MARKER_BYTES, 0);
        self.mark(&OpenGroup { start, record_count: 0, tags: TagRange::EMPTY }, kind, stamp);
    }

    /// Where the unwritten bytes go, and the bytes; the groups are ended before.
    pub(super) fn unwritten(&self) -> (u64, &[u8]) {
        assert!(self.open.is_none(), "only whole groups are written");
        (self.written, &self.buffer)
    }

    /// Forgets the unwritten bytes: they are in the file now.
    pub(super) fn set_written(&mut self) {
        self.written = self.end();
        self.buffer.clear();
    }

    fn mark(&mut self, group: &OpenGroup, kind: MarkerKind, stamp: &mut Stamp) {
        let offset = self.written + group.start as u64;
        let bytes = u32::try_from(self.buffer.len() - group.start);
        let marker = Marker {
            bytes: bytes.expect("a group is shorter than its limit and one record"),
            record_count: group.record_count,
            kind,
            group: stamp.next,
            durable: stamp.durable,
            oldest: stamp.oldest,
            tags: group.tags,
        };
        stamp.next = GroupNumber(stamp.next.0 + 1);
        let place = self.buffer.get_mut(group.start..group.start + MARKER_BYTES);
        place
            .expect("the marker's place was kept free")
            .copy_from_slice(&marker.encode(&self.segment.key, offset));
    }
}
