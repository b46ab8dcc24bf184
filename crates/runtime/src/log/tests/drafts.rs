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
    log.complete(&ATTESTATION).unwrap();
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
    log.complete(&[1; 64]).unwrap();
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
    assert!(matches!(log.complete(&ATTESTATION), Err(LogError::NoDraft)));
    log.append_draft(Tag(1), draft(1)).unwrap();
    log.append_draft(Tag(2), draft(2)).unwrap();
    log.complete(&ATTESTATION).unwrap();
    assert!(matches!(log.complete(&ATTESTATION), Err(LogError::NoDraft)));
    log.append(Tag(3), b"goes on").unwrap();
    log.close().unwrap();
    let (mut log, entries, _) = open(&scratch.0);
    let goes_on = (3, b"goes on".to_vec());
    assert_eq!(entries, [(1, draft(1)), (2, draft(2)), (2, completed(2)), goes_on]);
    assert!(matches!(log.complete(&ATTESTATION), Err(LogError::NoDraft)), "of an earlier opening");
}

/// What is on the disk is not believed: a checksum holds for whatever a program with the key writes.
#[test]
fn the_end_of_what_is_no_record_is_damage() {
    let scratch = Scratch::new();
    let (mut log, ..) = open(&scratch.0);
    put(&mut log, 5);
    fill(&mut log, 40..41, 1);
    log.close().unwrap();
    let segment = Segment::open(&scratch.0, SegmentNumber(1), &OWNER).unwrap().unwrap();
    let (mut group, mut body, mut records) = (HEADER_BYTES, Vec::new(), vec![]);
    while let Some(marker) = segment.marker_at(group).unwrap() {
        let start = segment.read_body(group, &marker, &mut body).unwrap();
        let places = Records::new(&segment.key, start, &body).flatten().map(|(at, ..)| at);
        records.extend(places);
        group += u64::from(marker.bytes);
    }
    let [of, _, at, later] = records[..] else { panic!("four: {records:?}") };
    let whole = std::fs::read(scratch.segment(1)).unwrap();
    // Before the segment's records, inside one, itself, behind it, and what would overflow.
    for elsewhere in [0, of + 8, at, at - 8, later, u64::MAX, u64::MAX - 23] {
        let mut record = Vec::new();
        let content = Content::End { of: elsewhere, end: &ATTESTATION };
        format::encode_record(&segment.key, at, Tag(5), content, &mut record);
        scratch.overwrite(1, at, &record);
        match try_open(&scratch.0, config()) {
            Err(LogError::Damaged { offset, .. }) => assert_eq!(offset, at, "of {elsewhere}"),
            Err(error) => panic!("of {elsewhere}: {error}"),
            Ok(_) => panic!("of {elsewhere}: believed"),
        }
        std::fs::write(scratch.segment(1), &whole).unwrap();
    }
}
