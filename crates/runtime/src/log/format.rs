//! Bytes of the log: the header of a segment, the marker of a group, a record.
//!
//! All integers are little-endian; every part starts at a multiple of 8. A checksum is keyed by
//! the whole header of its segment and covers its own offset, so that bytes written to the wrong
//! place, bytes of an earlier use of a recycled file and bytes that a client chose (it cannot know
//! the salt) are never taken for records.

use super::{GroupNumber, RECORD_BYTES_MAX, SegmentNumber, Tag};

/// Bytes of a segment's header; the first group follows.
pub(super) const HEADER_BYTES: u64 = 128;
/// Bytes of a group's marker; its records follow.
pub(super) const MARKER_BYTES: usize = 64;
/// Bytes of a record before its content.
pub(super) const RECORD_HEADER_BYTES: usize = 24;
/// Every header, marker and record starts at a multiple of this.
pub(super) const ALIGNMENT: usize = 8;
/// First bytes of every marker.
pub(super) const MARKER_MAGIC: [u8; 4] = *b"RVLG";

const SEGMENT_MAGIC: [u8; 8] = *b"RVLNSEGM";
pub(super) const VERSION: u64 = 3;
/// The first version that can still be read: without [`Content::End`].
const VERSION_MIN: u64 = 2;
/// The first version with [`Content::End`].
const ENDS_SINCE: u64 = 3;
const KEY_CONTEXT: &str = "ravelin 2026-11-23 log segment checksums";
const CHECKSUM_BYTES: usize = 8;
/// In the field for the length of a record's content: it is a [`Content::End`].
const IS_END: u64 = 1 << 63;

/// Who wrote a segment, as what, and how large it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) version: u64,
    pub(super) number: SegmentNumber,
    pub(super) segment_bytes: u64,
    pub(super) owner: [u8; 32],
    /// Fresh randomness of every use of a file.
    pub(super) salt: [u8; 32],
}

/// Why a header is not one that this build can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeaderFault {
    /// Not a header, or a rotten one.
    Corrupt,
    /// A header of another format version.
    Version(u64),
}

impl Header {
    /// The header's bytes.
    pub(super) fn encode(&self) -> [u8; HEADER_BYTES as usize] {
        let mut fields = Vec::with_capacity(HEADER_BYTES as usize);
        fields.extend_from_slice(&SEGMENT_MAGIC);
        fields.extend_from_slice(&self.version.to_le_bytes());
        fields.extend_from_slice(&self.number.0.to_le_bytes());
        fields.extend_from_slice(&self.segment_bytes.to_le_bytes());
        fields.extend_from_slice(&self.owner);
        fields.extend_from_slice(&self.salt);
        let digest = blake3::hash(&fields);
        fields.extend_from_slice(digest.as_bytes());
        fields.try_into().expect("the fields of a header fill it")
    }

    /// Reads a header.
    pub(super) fn decode(bytes: &[u8; HEADER_BYTES as usize]) -> Result<Self, HeaderFault> {
        let (fields, digest) = bytes.split_last_chunk::<32>().ok_or(HeaderFault::Corrupt)?;
        let (magic, version, number, segment_bytes, owner, salt) =
            borsh::from_slice::<([u8; 8], u64, u64, u64, [u8; 32], [u8; 32])>(fields)
                .map_err(|_| HeaderFault::Corrupt)?;
        if magic != SEGMENT_MAGIC || blake3::hash(fields) != *digest {
            return Err(HeaderFault::Corrupt);
        }
        if !(VERSION_MIN..=VERSION).contains(&version) {
            return Err(HeaderFault::Version(version));
        }
        Ok(Self { version, number: SegmentNumber(number), segment_bytes, owner, salt })
    }

    /// Whether a [`Content::End`] may be written into the segment.
    pub(super) fn takes_ends(&self) -> bool {
        self.version >= ENDS_SINCE
    }

    /// The key of every checksum in the segment.
    pub(super) fn key(&self) -> SegmentKey {
        SegmentKey(blake3::derive_key(KEY_CONTEXT, &self.encode()))
    }
}

/// The key of one use of one file.
#[derive(Clone)]
pub(super) struct SegmentKey([u8; 32]);

impl SegmentKey {
    fn checksum<const N: usize>(
        &self,
        offset: u64,
        fields: &[u8],
        content: [&[u8]; N],
    ) -> [u8; CHECKSUM_BYTES] {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(&offset.to_le_bytes()).update(fields);
        content.iter().for_each(|part| _ = hasher.update(part));
        let digest = *hasher.finalize().as_bytes();
        *digest.first_chunk().expect("a digest is longer than a checksum")
    }
}

/// Smallest and largest tag of some records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TagRange {
    pub(super) min: Tag,
    pub(super) max: Tag,
}

impl TagRange {
    /// The range of no records.
    pub(super) const EMPTY: Self = Self { min: Tag(u64::MAX), max: Tag(0) };

    /// Whether no record is in it.
    pub(super) fn is_empty(self) -> bool {
        self.min > self.max
    }

    /// The smallest range that holds both.
    pub(super) fn union(self, other: Self) -> Self {
        Self { min: self.min.min(other.min), max: self.max.max(other.max) }
    }
}

/// What a marker says of the records behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MarkerKind {
    /// Records, possibly none.
    Group,
    /// None, and none after it in this segment: the log goes on in the next.
    Seal,
}

/// The start of a group: records that are recovered together or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Marker {
    /// Extent of the group, this marker included.
    pub(super) bytes: u32,
    pub(super) record_count: u32,
    pub(super) kind: MarkerKind,
    /// One more than that of the group before.
    pub(super) group: GroupNumber,
    /// The last group known to be durable when this one was written.
    pub(super) durable: GroupNumber,
    /// Segments below are pruned; all others must be there.
    pub(super) oldest: SegmentNumber,
    pub(super) tags: TagRange,
}

impl Marker {
    /// The marker's bytes, for `offset` in the segment of `key`.
    pub(super) fn encode(&self, key: &SegmentKey, offset: u64) -> [u8; MARKER_BYTES] {
        let mut bytes = Vec::with_capacity(MARKER_BYTES);
        bytes.extend_from_slice(&MARKER_MAGIC);
        bytes.extend_from_slice(&self.bytes.to_le_bytes());
        bytes.extend_from_slice(&self.record_count.to_le_bytes());
        bytes.extend_from_slice(&u32::from(self.kind == MarkerKind::Seal).to_le_bytes());
        bytes.extend_from_slice(&self.group.0.to_le_bytes());
        bytes.extend_from_slice(&self.durable.0.to_le_bytes());
        bytes.extend_from_slice(&self.oldest.0.to_le_bytes());
        bytes.extend_from_slice(&self.tags.min.0.to_le_bytes());
        bytes.extend_from_slice(&self.tags.max.0.to_le_bytes());
        let checksum = key.checksum(offset, &bytes, []);
        bytes.extend_from_slice(&checksum);
        bytes.try_into().expect("the fields of a marker fill it")
    }

    /// Reads the marker at `offset` of the segment of `key`, if there is one.
    pub(super) fn decode(key: &SegmentKey, offset: u64, bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; MARKER_BYTES] = bytes.first_chunk()?;
        if !bytes.starts_with(&MARKER_MAGIC) {
            return None;
        }
        let (fields, checksum) = bytes.split_last_chunk::<CHECKSUM_BYTES>()?;
        if key.checksum(offset, fields, []) != *checksum {
            return None;
        }
        let (_, bytes, record_count, kind, group, durable, oldest, min, max) =
            borsh::from_slice::<([u8; 4], u32, u32, u32, u64, u64, u64, u64, u64)>(fields).ok()?;
        let kind = if kind == 0 { MarkerKind::Group } else { MarkerKind::Seal };
        Some(Self {
            bytes,
            record_count,
            kind,
            group: GroupNumber(group),
            durable: GroupNumber(durable),
            oldest: SegmentNumber(oldest),
            tags: TagRange { min: Tag(min), max: Tag(max) },
        })
    }
}

/// What a record holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content<'a> {
    /// Its payload.
    Whole(&'a [u8]),
    /// How its payload ends: all before that is as in the record that begins at `of` in the same segment.
    End { of: u64, end: &'a [u8] },
}

impl Content<'_> {
    /// Bytes of a record with this.
    pub(super) fn record_bytes(&self) -> usize {
        record_bytes(match self {
            Self::Whole(payload) => payload.len(),
            Self::End { of, end } => size_of_val(of) + end.len(),
        })
    }
}

/// Bytes of a record whose content has so many.
pub(super) fn record_bytes(content_bytes: usize) -> usize {
    (RECORD_HEADER_BYTES + content_bytes).next_multiple_of(ALIGNMENT)
}

/// Bytes of the record with this header, if it holds its whole payload and that is no larger than any.
pub(super) fn whole_record_bytes(header: [u8; RECORD_HEADER_BYTES]) -> Option<usize> {
    let length = u64::from_le_bytes(*header.first_chunk()?);
    let length = usize::try_from(length).ok().filter(|length| *length <= RECORD_BYTES_MAX);
    length.map(record_bytes)
}

/// Appends the record to `buffer`, for `offset` in the segment of `key`.
pub(super) fn encode_record(
    key: &SegmentKey,
    offset: u64,
    tag: Tag,
    content: Content<'_>,
    buffer: &mut Vec<u8>,
) {
    let (of, bytes, flag) = match content {
        Content::Whole(payload) => (None, payload, 0),
        Content::End { of, end } => (Some(of.to_le_bytes()), end, IS_END),
    };
    let of = of.as_ref().map_or(&[][..], |of| of);
    let length = u32::try_from(of.len() + bytes.len()).expect("a record's length was checked");
    let mut fields = [0; RECORD_HEADER_BYTES - CHECKSUM_BYTES];
    let (front, back) = fields.split_at_mut(CHECKSUM_BYTES);
    front.copy_from_slice(&(u64::from(length) | flag).to_le_bytes());
    back.copy_from_slice(&tag.0.to_le_bytes());
    let end = buffer.len() + content.record_bytes();
    buffer.extend_from_slice(&fields);
    buffer.extend_from_slice(&key.checksum(offset, &fields, [of, bytes]));
    buffer.extend_from_slice(of);
    buffer.extend_from_slice(bytes);
    buffer.resize(end, 0);
}

/// The records of a group, in order, each checked. Ends after the first bad one.
pub(super) struct Records<'a> {
    key: &'a SegmentKey,
    /// What follows the records already given.
    rest: &'a [u8],
    offset: u64,
}

/// A record, or the offset where one should have been.
pub(super) type RecordAt<'a> = Result<(u64, Tag, Content<'a>), u64>;

impl<'a> Records<'a> {
    /// `body`: the group's bytes after its marker; `offset`: where they start in the segment.
    pub(super) fn new(key: &'a SegmentKey, offset: u64, body: &'a [u8]) -> Self {
        Self { key, rest: body, offset }
    }

    fn decode(&self) -> Option<(Tag, Content<'a>, &'a [u8])> {
        let (fields, after) = self.rest.split_at_checked(RECORD_HEADER_BYTES - CHECKSUM_BYTES)?;
        let (checksum, after) = after.split_first_chunk::<CHECKSUM_BYTES>()?;
        let (length, tag) = borsh::from_slice::<(u64, u64)>(fields).ok()?;
        let bytes = after.get(..usize::try_from(length & !IS_END).ok()?)?;
        let rest = self.rest.get(record_bytes(bytes.len())..)?;
        if self.key.checksum(self.offset, fields, [bytes]) != *checksum {
            return None;
        }
        let content = if length & IS_END == 0 {
            Content::Whole(bytes)
        } else {
            let (of, end) = bytes.split_first_chunk()?;
            Content::End { of: u64::from_le_bytes(*of), end }
        };
        Some((Tag(tag), content, rest))
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = RecordAt<'a>;

    fn next(&mut self) -> Option<RecordAt<'a>> {
        if self.rest.is_empty() {
            return None;
        }
        let at = self.offset;
        let Some((tag, content, rest)) = self.decode() else {
            self.rest = &[];
            return Some(Err(at));
        };
        self.offset += (self.rest.len() - rest.len()) as u64;
        self.rest = rest;
        Some(Ok((at, tag, content)))
    }
}
