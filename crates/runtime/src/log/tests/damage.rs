//! Every way to spoil a log by hand, and what its opening says.

use super::*;

/// Where the groups of a segment start, with the end of the last.
fn groups(scratch: &Scratch, number: u64) -> Vec<u64> {
    let segment = Segment::open(&scratch.0, SegmentNumber(number), &OWNER).unwrap().unwrap();
    let mut starts = vec![HEADER_BYTES];
    while let Some(marker) = segment.marker_at(*starts.last().unwrap()).unwrap() {
        starts.push(starts.last().unwrap() + u64::from(marker.bytes));
    }
    starts
}

/// A log with records 0..20 in one segment, each its own group, not closed.
fn small() -> (Scratch, Vec<u64>) {
    let scratch = Scratch::new();
    let (mut log, ..) = open(&scratch.0);
    fill(&mut log, 0..20, 1);
    drop(log);
    let starts = groups(&scratch, 1);
    (scratch, starts)
}

fn refusal(scratch: &Scratch) -> LogError {
    let before = scratch.segments();
    let error = try_open(&scratch.0, config()).err().expect("refused");
    assert_eq!(before, scratch.segments(), "a refusal changes nothing");
    error
}

#[test]
fn a_tail_torn_at_any_byte_loses_its_group_only_and_the_log_goes_on() {
    let (scratch, starts) = small();
    let (start, end) = (starts[starts.len() - 2], *starts.last().unwrap());
    let whole = std::fs::read(scratch.segment(1)).unwrap();
    for cut in start..end {
        let mut torn = whole.clone();
        torn[cut as usize..].fill(0);
        let is_loss = torn[start as usize..end as usize] != whole[start as usize..end as usize];
        std::fs::write(scratch.segment(1), &torn).unwrap();
        let (mut log, entries, found) = open(&scratch.0);
        if !is_loss {
            continue; // the last bytes of a record were zeroes
        }
        assert_eq!(entries, expected(0..19), "cut at {cut}");
        let torn_end = LogEnd::Torn { segment: SegmentNumber(1), offset: start };
        assert_eq!(found, if cut < start + 64 { LogEnd::Clean } else { torn_end }, "cut at {cut}");
        fill(&mut log, 19..23, 2);
        drop(log);
        assert_eq!(open(&scratch.0).1, expected(0..23), "cut at {cut}");
    }
}

#[test]
fn a_flipped_bit_anywhere_before_the_last_group_is_damage() {
    let (scratch, starts) = small();
    let written = |number: &u64| (*number, std::fs::read(scratch.segment(*number)).unwrap());
    let whole: Vec<(u64, Vec<u8>)> = scratch.segments().iter().map(written).collect();
    for offset in (0..starts[starts.len() - 2]).step_by(5) {
        let group = starts.iter().rev().find(|start| **start <= offset);
        let marker_end = group.map_or(0, |start| start + 64);
        scratch.flip(1, offset);
        match try_open(&scratch.0, config()) {
            Err(LogError::Damaged { segment: SegmentNumber(1), offset: found }) => {
                let wanted = if offset < HEADER_BYTES {
                    0
                } else if offset < marker_end {
                    *group.unwrap()
                } else {
                    marker_end
                };
                assert_eq!(found, wanted, "flip at {offset}");
            }
            Err(error) if offset < 16 => {
                assert!(matches!(error, LogError::Version { .. }), "flip at {offset}");
            }
            Err(error) => panic!("flip at {offset}: {error}"),
            // Padding means nothing.
            Ok((_, entries, _)) => assert_eq!(entries, expected(0..20), "flip at {offset}"),
        }
        // An opening that succeeds writes.
        let now = scratch.segments();
        now.iter().for_each(|number| std::fs::remove_file(scratch.segment(*number)).unwrap());
        whole.iter().for_each(|(number, bytes)| {
            std::fs::write(scratch.segment(*number), bytes).unwrap();
        });
    }
}

#[test]
fn damage_of_the_last_group_is_told_from_a_torn_end_if_the_log_was_closed() {
    let scratch = Scratch::new();
    let (mut log, ..) = open(&scratch.0);
    fill(&mut log, 0..20, 1);
    log.close().unwrap();
    let starts = groups(&scratch, 1);
    let last = starts[starts.len() - 3];
    scratch.flip(1, last + 70);
    assert!(matches!(refusal(&scratch), LogError::Damaged { offset, .. } if offset == last + 64));
}

#[test]
fn valid_groups_behind_a_hole_are_damage_only_if_they_know_it_as_durable() {
    let scratch = Scratch::new();
    let large = LogConfig { segment_bytes: 16 << 20, ..config() };
    let (mut log, ..) = try_open(&scratch.0, large.clone()).unwrap();
    log.append(Tag(0), b"durable").unwrap();
    log.sync().unwrap();
    for tag in 1..30 {
        log.append(Tag(tag), &vec![1; 200_000]).unwrap(); // several groups, one sync
    }
    log.sync().unwrap();
    drop(log);
    let starts = groups(&scratch, 1);
    assert!(starts.len() > 6);
    scratch.flip(1, starts[2] + 100); // the first group of the last sync
    let (mut log, entries, recovery) = try_open(&scratch.0, large.clone()).unwrap();
    assert_eq!(entries, vec![(0, b"durable".to_vec())]);
    assert_eq!(recovery.end, LogEnd::Torn { segment: SegmentNumber(1), offset: starts[2] });
    log.append(Tag(1), b"instead").unwrap();
    log.sync().unwrap();
    drop(log);
    let (log, entries, _) = try_open(&scratch.0, large.clone()).unwrap();
    assert_eq!(entries.last(), Some(&(1, b"instead".to_vec())));
    drop(log);
    scratch.flip(1, starts[1] + 70); // the same for a group that a later one calls durable
    let refused = try_open(&scratch.0, large).err();
    assert!(matches!(refused, Some(LogError::Damaged { offset, .. }) if offset == starts[1] + 64));
}

#[test]
fn a_group_written_to_the_wrong_place_is_not_taken() {
    let (scratch, starts) = small();
    let bytes = std::fs::read(scratch.segment(1)).unwrap();
    let (from, end) = (starts[starts.len() - 2], *starts.last().unwrap());
    scratch.overwrite(1, end, &bytes[from as usize..end as usize]);
    let (log, entries, _) = open(&scratch.0);
    assert_eq!(entries, expected(0..20));
    drop(log);
    // A group that is one of the log's own, at the place of another of the same length; no disk moves
    // so few bytes.
    let (scratch, starts) = small();
    let bytes = std::fs::read(scratch.segment(1)).unwrap();
    scratch.overwrite(1, starts[3], &bytes[starts[2] as usize..starts[3] as usize]);
    assert!(matches!(refusal(&scratch), LogError::Damaged { offset, .. } if offset == starts[3]));
}

#[test]
fn records_that_changed_places_are_not_taken() {
    let scratch = Scratch::new();
    let (mut log, ..) = open(&scratch.0);
    for payload in [b"12345678", b"abcdefgh"] {
        log.append(Tag(5), payload).unwrap();
    }
    log.sync().unwrap();
    log.close().unwrap();
    let first = groups(&scratch, 1)[1] as usize + 64;
    let bytes = std::fs::read(scratch.segment(1)).unwrap();
    scratch.overwrite(1, first as u64, &bytes[first + 32..first + 64]);
    scratch.overwrite(1, first as u64 + 32, &bytes[first..first + 32]);
    let error = refusal(&scratch);
    assert!(matches!(error, LogError::Damaged { offset, .. } if offset == first as u64), "{error}");
}

#[test]
fn the_first_group_of_a_pruned_log_is_missed_too() {
    let scratch = Scratch::new();
    let (mut log, ..) = open(&scratch.0);
    fill(&mut log, 0..200, 5);
    log.prune(Tag(100));
    log.sync().unwrap();
    drop(log);
    let first = scratch.segments()[0];
    scratch.flip(first, HEADER_BYTES + 20);
    let error = refusal(&scratch);
    assert!(matches!(error, LogError::Damaged { segment, .. } if segment.0 == first), "{error}");
}

#[test]
fn dropped_groups_do_not_come_back_when_new_ones_end_where_they_start() {
    let scratch = Scratch::new();
    let large = LogConfig { segment_bytes: 16 << 20, ..config() };
    let (mut log, ..) = try_open(&scratch.0, large.clone()).unwrap();
    for tag in 0..24 {
        log.append(Tag(tag), &vec![1; 200_000]).unwrap();
    }
    log.sync().unwrap();
    drop(log);
    let starts = groups(&scratch, 1);
    assert!(starts.len() > 4);
    scratch.flip(1, starts[1] + 100); // group 2 of the groups 2, 3, 4 of one sync
    let (mut log, entries, _) = try_open(&scratch.0, large.clone()).unwrap();
    assert!(entries.is_empty());
    // Group 2 is now the marker of the opening; group 3 ends where group 4 was.
    let payload = vec![2; (starts[3] - starts[1]) as usize - 64 - 64 - 24];
    log.append(Tag(100), &payload).unwrap();
    log.sync().unwrap();
    drop(log);
    assert_eq!(groups(&scratch, 1).last(), Some(&starts[3]));
    assert_eq!(try_open(&scratch.0, large).unwrap().1, vec![(100, payload)]);
}

#[test]
fn a_segment_under_the_name_of_another_is_not_taken() {
    let scratch = Scratch::new();
    let (mut log, ..) = open(&scratch.0);
    fill(&mut log, 0..200, 5);
    drop(log);
    std::fs::copy(scratch.segment(2), scratch.segment(3)).unwrap();
    assert!(matches!(
        refusal(&scratch),
        LogError::Damaged { segment: SegmentNumber(3), offset: 0 }
    ));
}

#[test]
fn a_missing_segment_is_missed_wherever_it_was() {
    for missing in [1, 3] {
        let scratch = Scratch::new();
        let (mut log, ..) = open(&scratch.0);
        fill(&mut log, 0..200, 5);
        drop(log);
        std::fs::remove_file(scratch.segment(missing)).unwrap();
        let error = refusal(&scratch);
        assert!(matches!(error, LogError::MissingSegment { segment } if segment.0 == missing));
    }
    // The newest segments: the one before was sealed.
    let scratch = Scratch::new();
    let (mut log, ..) = open(&scratch.0);
    fill(&mut log, 0..200, 5);
    let last = log.tail.segment.number.0;
    drop(log);
    for number in scratch.segments().into_iter().filter(|number| *number >= last) {
        std::fs::remove_file(scratch.segment(number)).unwrap();
    }
    assert!(matches!(refusal(&scratch), LogError::MissingSegment { segment } if segment.0 == last));
}

#[test]
fn a_pruned_log_misses_its_first_segment_too() {
    let scratch = Scratch::new();
    let (mut log, ..) = open(&scratch.0);
    fill(&mut log, 0..200, 5);
    log.prune(Tag(100));
    log.sync().unwrap();
    drop(log);
    let first = scratch.segments()[0];
    assert!(first > 1);
    std::fs::remove_file(scratch.segment(first)).unwrap();
    assert!(
        matches!(refusal(&scratch), LogError::MissingSegment { segment } if segment.0 == first)
    );
}

#[test]
fn bytes_that_a_client_chose_are_not_taken_for_groups() {
    let (scratch, _) = small();
    let old = std::fs::read(scratch.segment(1)).unwrap();
    let (mut log, ..) = open(&scratch.0);
    // Whole groups of this very log as the payload of a record, behind a hole at its end.
    log.append(Tag(20), &old[128..1500]).unwrap();
    log.sync().unwrap();
    drop(log);
    let starts = groups(&scratch, 1);
    scratch.flip(1, starts[starts.len() - 2] + 20);
    assert_eq!(open(&scratch.0).1, expected(0..20));
}

/// A log of two segments of 64 KiB and more, with groups of `payload_bytes` and a little.
fn sectors(payload_bytes: usize) -> (Scratch, LogConfig) {
    let scratch = Scratch::new();
    let config = LogConfig { segment_bytes: 64 << 10, ..config() };
    let (mut log, ..) = try_open(&scratch.0, config.clone()).unwrap();
    for tag in 0..(200_000 / payload_bytes as u64) {
        log.append(Tag(tag), &vec![tag as u8; payload_bytes]).unwrap();
        log.sync().unwrap();
    }
    drop(log);
    (scratch, config)
}

#[test]
fn sectors_that_a_disk_put_elsewhere_are_told_from_rot() {
    // Whole pages of the log over others: (from segment, from), (to segment, to).
    for (from, to) in [((1, 4096), (1, 20_480)), ((2, 8192), (1, 8192)), ((1, 512), (2, 33_280))] {
        let (scratch, config) = sectors(200);
        let bytes = std::fs::read(scratch.segment(from.0)).unwrap();
        scratch.overwrite(to.0, to.1, &bytes[from.1 as usize..from.1 as usize + 4096]);
        let before = scratch.segments();
        let error = try_open(&scratch.0, config).err().expect("refused");
        assert!(error.is_loss());
        assert_eq!(before, scratch.segments(), "a refusal changes nothing");
        let LogError::Misdirected { segment, offset, from: found, from_offset } = error else {
            panic!("{from:?} to {to:?}: {error}");
        };
        assert_eq!((segment.0, found.0), (to.0, from.0));
        // The group that the page cuts starts before it; what is named lies in it.
        assert!((to.1 - 400..to.1 + 4096).contains(&offset), "{offset}");
        assert!((from.1..from.1 + 4096).contains(&from_offset), "{from_offset}");
    }
}

#[test]
fn a_record_that_fills_a_sector_is_known_by_itself() {
    let (scratch, config) = sectors(512 - 64 - 24); // a group is a sector
    let starts = {
        let segment = Segment::open(&scratch.0, SegmentNumber(1), &OWNER).unwrap().unwrap();
        let mut starts = vec![HEADER_BYTES];
        while let Some(marker) = segment.marker_at(*starts.last().unwrap()).unwrap() {
            starts.push(starts.last().unwrap() + u64::from(marker.bytes));
        }
        starts
    };
    let bytes = std::fs::read(scratch.segment(1)).unwrap();
    let (record, other) = (starts[5] as usize + 64, starts[9] as usize + 64);
    scratch.overwrite(1, other as u64, &bytes[record..record + 448]);
    let error = try_open(&scratch.0, config).err().expect("refused");
    let wanted = (record as u64, other as u64);
    assert!(
        matches!(error, LogError::Misdirected { offset, from_offset, .. } if (from_offset, offset) == wanted),
        "{error}"
    );
}

#[test]
fn rot_is_not_called_misdirected() {
    for offset in [300, 5000, 40_000] {
        let (scratch, config) = sectors(200);
        scratch.flip(1, offset);
        let error = try_open(&scratch.0, config).err().expect("refused");
        assert!(matches!(error, LogError::Damaged { .. }), "{error}");
    }
    let (scratch, config) = sectors(200);
    scratch.overwrite(1, 8192, &[0xEE; 4096]);
    let error = try_open(&scratch.0, config).err().expect("refused");
    assert!(matches!(error, LogError::Damaged { .. }), "{error}");
}
