//! Where bytes that lie in the wrong place belong.
//!
//! A checksum covers the place of what it protects, so bytes that a disk put elsewhere are never
//! taken for records. Once something that was durable cannot be read, this tells such a write from
//! rot: disks move whole sectors, so the place where the checksum holds is some sectors away, or the
//! same in another segment. It is told only if a marker or the start of a record lies in what was
//! moved; pure payload has no name.

use super::SegmentNumber;
use super::format::{ALIGNMENT, HEADER_BYTES, MARKER_BYTES, MARKER_MAGIC, Marker, Records};
use super::segment::Segment;
use std::io;
use std::os::unix::fs::FileExt;

/// Disks move multiples of this.
const SECTOR_BYTES: u64 = 512;
/// How far behind the first bad place something whole is looked for.
const LOOK_BYTES: u64 = 8 << 10;
/// Markers tried at most; a try is a hash for each sector of the log.
const TRIES_MAX: usize = 4;

/// Where what lies in `here` at or soon after `offset` belongs; `is_marker`: a marker should be there.
pub(super) fn find<'a>(
    segments: impl Iterator<Item = &'a Segment> + Clone,
    here: &Segment,
    offset: u64,
    is_marker: bool,
) -> io::Result<Option<(SegmentNumber, u64)>> {
    let length = here.bytes.saturating_sub(offset).min(LOOK_BYTES + MARKER_BYTES as u64);
    let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
    here.file.read_exact_at(&mut bytes, offset)?;
    let mut tries = 0;
    if !is_marker
        && !is_record(here, offset, &bytes)
        && let Some(from) = elsewhere(segments.clone(), offset, &bytes, is_record)
    {
        return Ok(Some(from));
    }
    for place in (0..bytes.len().saturating_sub(MARKER_BYTES)).step_by(ALIGNMENT) {
        let found = bytes.get(place..).unwrap_or_default();
        let at = offset + place as u64;
        if !found.starts_with(&MARKER_MAGIC) || is_marker_of(here, at, found) {
            continue;
        }
        tries += 1;
        if tries > TRIES_MAX {
            break;
        }
        if let Some(from) = elsewhere(segments.clone(), at, found, is_marker_of) {
            return Ok(Some(from));
        }
    }
    Ok(None)
}

/// The place, whole sectors away from `at` or in another segment, for which `fits` holds.
fn elsewhere<'a>(
    segments: impl Iterator<Item = &'a Segment>,
    at: u64,
    found: &[u8],
    fits: impl Fn(&Segment, u64, &[u8]) -> bool,
) -> Option<(SegmentNumber, u64)> {
    let within = at % SECTOR_BYTES;
    for segment in segments {
        let mut place = within;
        while place < segment.bytes {
            if place >= HEADER_BYTES && fits(segment, place, found) {
                return Some((segment.number, place));
            }
            place += SECTOR_BYTES;
        }
    }
    None
}

fn is_marker_of(segment: &Segment, place: u64, found: &[u8]) -> bool {
    Marker::decode(&segment.key, place, found).is_some()
}

/// Whether a record starts here whose payload is short enough to be all here.
fn is_record(segment: &Segment, place: u64, found: &[u8]) -> bool {
    matches!(Records::new(&segment.key, place, found).next(), Some(Ok(_)))
}
