//! Records that hold the end of another one.

use super::*;

const ATTESTATION: [u8; 8] = [0xA7; 8];

fn draft(tag: u64) -> Vec<u8> {
    [&payload(tag)[..], &[0; 8]].concat()
}

fn completed(tag: u64) -> Vec<u8> {
    [&payload(tag)[..], &ATTESTATION].concat()
}

/// Appends a draft and what completes it, each with a sync of its own and something in between.
fn put(log: &mut Log, tag: u64) -> Entries {
    log.append_draft(Tag(tag), draft(tag)).unwrap();
    log.sync().unwrap();
    log.append(Tag(tag + 1000), b"others").unwrap();
    log.complete(Tag(tag), &ATTESTATION).unwrap();
    log.sync().unwrap();
    vec![(tag, draft(tag)), (tag + 1000, b"others".to_vec()), (tag, completed(tag))]
}

#[test]
fn a_completed_draft_reads_as_two_whole_records_wherever_segments_end() {
    let scratch = Scratch::new();
    let (mut log, ..) = open(&scratch.0);
    let entries: Entries = (0..300).flat_map(|tag| put(&mut log, tag)).collect();
    assert!(log.counters().segment_count > 10, "some drafts are the last of their segment");
    assert_eq!(read_all(&log.archive(), 0, 500), entries);
    let pair = Selection { tags: Tag(7)..=Tag(7), holds: &|_, _, _| true };
    let page = log.archive().read(&pair, None, 0).unwrap();
    assert_eq!(page.records, [(Tag(7), draft(7))]);
    let page = log.archive().read(&pair, page.next, 0).unwrap();
    assert_eq!(page.records, [(Tag(7), completed(7))], "also in a page of its own");
    drop(log);
    assert_eq!(open(&scratch.0).1, entries);
}

#[test]
fn what_completes_a_draft_takes_little_room() {
    let scratch = Scratch::new();
    let config = LogConfig { segment_bytes: 1 << 20, ..config() };
    let (mut log, ..) = try_open(&scratch.0, config).unwrap();
    log.append_draft(Tag(1), vec![9; 100_000]).unwrap();
    log.sync().unwrap();
    let before = log.counters().written_bytes;
    log.complete(Tag(1), &[1; 64]).unwrap();
    log.sync().unwrap();
    assert_eq!(
        log.counters().written_bytes - before,
        64 + 24 + 8 + 64,
        "marker, header, place, end"
    );
}

#[test]
fn a_draft_is_completed_once_and_the_latest_alone() {
    let scratch = Scratch::new();
    let (mut log, ..) = open(&scratch.0);
    let is_refused = |log: &mut Log, tag, end: &[u8]| {
        assert!(matches!(log.complete(Tag(tag), end), Err(LogError::NoDraft)), "{tag}");
    };
    is_refused(&mut log, 1, &ATTESTATION);
    log.append_draft(Tag(1), draft(1)).unwrap();
    log.append_draft(Tag(2), draft(2)).unwrap();
    is_refused(&mut log, 1, &ATTESTATION);
    is_refused(&mut log, 2, &[7; 100]);
    log.complete(Tag(2), &ATTESTATION).unwrap();
    is_refused(&mut log, 2, &ATTESTATION);
    log.append_draft(Tag(3), draft(3)).unwrap();
    let too_large = log.append_draft(Tag(3), vec![1; 5000]);
    assert!(matches!(too_large, Err(LogError::TooLarge { .. })));
    is_refused(&mut log, 3, &ATTESTATION);
    log.append(Tag(4), b"goes on").unwrap();
    log.close().unwrap();
    let (mut log, entries, _) = open(&scratch.0);
    let goes_on = (4, b"goes on".to_vec());
    let drafts = [(1, draft(1)), (2, draft(2)), (2, completed(2)), (3, draft(3))];
    assert_eq!(entries, [&drafts[..], &[goes_on]].concat());
    is_refused(&mut log, 3, &ATTESTATION); // it is of an earlier opening
}

/// A program of before reads a segment that it began, and says which one it cannot read.
#[test]
fn a_segment_of_the_version_before_takes_whole_records() {
    let scratch = Scratch::new();
    let (log, ..) = open(&scratch.0);
    drop(log);
    let mut bytes = std::fs::read(scratch.segment(1)).unwrap();
    let header = Header::decode(bytes[..128].try_into().unwrap()).unwrap();
    let older = Header { version: 2, ..header };
    bytes[..128].copy_from_slice(&older.encode());
    bytes[128..].fill(0);
    std::fs::write(scratch.segment(1), bytes).unwrap();
    let (mut log, ..) = open(&scratch.0);
    let entries: Entries = (0..100).flat_map(|tag| put(&mut log, tag)).collect();
    drop(log);
    for number in [1, 2] {
        let segment = Segment::open(&scratch.0, SegmentNumber(number), &OWNER).unwrap().unwrap();
        let contents = contents(&segment);
        let has_ends = contents.iter().any(|(_, content)| matches!(content, Kind::End));
        assert_eq!((segment.takes_ends, has_ends), (number == 2, number == 2));
    }
    assert_eq!(open(&scratch.0).1, entries);
}

enum Kind {
    Whole,
    End,
}

/// The records of a segment: where each is, and what it holds.
fn contents(segment: &Segment) -> Vec<(u64, Kind)> {
    let (mut group, mut body, mut records) = (HEADER_BYTES, Vec::new(), vec![]);
    while let Some(marker) = segment.marker_at(group).unwrap() {
        let start = segment.read_body(group, &marker, &mut body).unwrap();
        for (at, _, content) in Records::new(&segment.key, start, &body).flatten() {
            let is_whole = matches!(content, Content::Whole(_));
            records.push((at, if is_whole { Kind::Whole } else { Kind::End }));
        }
        group += u64::from(marker.bytes);
    }
    records
}

/// What is on the disk is not believed: a checksum holds for whatever a program with the key writes.
#[test]
fn the_end_of_what_is_no_record_is_damage() {
    let scratch = Scratch::new();
    let (mut log, ..) = open(&scratch.0);
    put(&mut log, 5);
    fill(&mut log, 40..41, 1);
    let archive = log.archive();
    log.close().unwrap();
    let segment = Segment::open(&scratch.0, SegmentNumber(1), &OWNER).unwrap().unwrap();
    let [(of, Kind::Whole), (other, Kind::Whole), (at, Kind::End), (later, Kind::Whole)] =
        contents(&segment)[..]
    else {
        panic!("four records");
    };
    let whole = std::fs::read(scratch.segment(1)).unwrap();
    // Before the segment's records, inside one, itself, behind it, with another tag, and what would
    // overflow.
    for elsewhere in [0, of + 8, other, at, at - 8, later, u64::MAX, u64::MAX - 23] {
        let mut record = Vec::new();
        let content = Content::End { of: elsewhere, end: &ATTESTATION };
        format::encode_record(&segment.key, at, Tag(5), content, &mut record);
        scratch.overwrite(1, at, &record);
        let selection = Selection { tags: Tag(5)..=Tag(5), holds: &|_, _, _| true };
        let read = archive.read(&selection, None, 1000);
        assert!(matches!(read, Err(LogError::Damaged { offset, .. }) if offset == at));
        match try_open(&scratch.0, config()) {
            Err(LogError::Damaged { offset, .. }) => assert_eq!(offset, at, "of {elsewhere}"),
            Err(error) => panic!("of {elsewhere}: {error}"),
            Ok(_) => panic!("of {elsewhere}: believed"),
        }
        std::fs::write(scratch.segment(1), &whole).unwrap();
    }
}
