#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod crash;
mod damage;
mod drafts;
mod full;
pub(crate) mod watched;

use super::*;
use format::{HEADER_BYTES, Header, MARKER_BYTES, Marker, Records};
use std::fs::File;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// A directory that goes when the test ends.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("ravelin-log-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&dir);
        Self(dir)
    }

    fn segment(&self, number: u64) -> PathBuf {
        self.0.join(format!("{number:016x}.segment"))
    }

    /// Changes the bytes of a segment at `offset`.
    fn overwrite(&self, number: u64, offset: u64, bytes: &[u8]) {
        let file = OpenOptions::new().write(true).open(self.segment(number)).unwrap();
        file.write_all_at(bytes, offset).unwrap();
    }

    fn flip(&self, number: u64, offset: u64) {
        let byte = std::fs::read(self.segment(number)).unwrap()[offset as usize];
        self.overwrite(number, offset, &[byte ^ 0x10]);
    }

    fn segments(&self) -> Vec<u64> {
        segment::list(&self.0).unwrap().into_iter().map(|number| number.0).collect()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

type Entries = Vec<(u64, Vec<u8>)>;

const OWNER: [u8; 32] = [7; 32];

fn config() -> LogConfig {
    LogConfig { owner: OWNER, segment_bytes: 4096, retention_bytes: 0 }
}

fn try_open(dir: &Path, config: LogConfig) -> Result<(Log, Entries, Recovery), LogError> {
    let mut entries = Vec::new();
    let mut visit = |tag: Tag, payload: &[u8]| entries.push((tag.0, payload.to_vec()));
    let (log, recovery) = Log::open(dir, config, &mut visit)?;
    assert_eq!(recovery.record_count, entries.len() as u64);
    Ok((log, entries, recovery))
}

fn open(dir: &Path) -> (Log, Entries, LogEnd) {
    let (log, entries, recovery) = try_open(dir, config()).unwrap();
    (log, entries, recovery.end)
}

fn payload(tag: u64) -> Vec<u8> {
    (0..tag % 97).map(|i| (i + tag) as u8).collect()
}

/// Appends records `tags`, a sync after every `group`.
fn fill(log: &mut Log, tags: std::ops::Range<u64>, group: u64) {
    for tag in tags {
        log.append(Tag(tag), &payload(tag)).unwrap();
        if tag % group == group - 1 {
            log.sync().unwrap();
        }
    }
    log.sync().unwrap();
}

fn expected(tags: std::ops::Range<u64>) -> Entries {
    tags.map(|tag| (tag, payload(tag))).collect()
}

#[test]
fn what_was_appended_comes_back_over_many_segments_and_openings() {
    let scratch = Scratch::new();
    let (mut log, entries, end) = open(&scratch.0);
    assert_eq!((entries, end), (vec![], LogEnd::Created));
    fill(&mut log, 0..300, 7);
    assert!(log.counters().segment_count > 5);
    assert_eq!(log.counters().record_count, 300);
    drop(log);
    for round in 0..3 {
        let start = 300 + round * 50;
        let (mut log, entries, end) = open(&scratch.0);
        assert_eq!((entries, end), (expected(0..start), LogEnd::Clean));
        fill(&mut log, start..start + 50, 1);
        log.close().unwrap();
    }
    assert_eq!(open(&scratch.0).1, expected(0..450));
}

#[test]
fn a_sync_makes_one_fsync_and_an_idle_one_none() {
    let scratch = Scratch::new();
    let (mut log, ..) = open(&scratch.0);
    let before = log.counters().fsync_count;
    for tag in 0..10 {
        log.append(Tag(tag), b"0123456789").unwrap();
    }
    log.sync().unwrap();
    log.sync().unwrap();
    assert_eq!(log.counters().fsync_count, before + 1);
}

#[test]
fn a_group_larger_than_memory_should_hold_is_written_ahead_and_split() {
    let scratch = Scratch::new();
    let large = LogConfig { segment_bytes: 16 << 20, ..config() };
    let (mut log, ..) = try_open(&scratch.0, large.clone()).unwrap();
    let record = vec![3; 600_000];
    for tag in 0..60 {
        log.append(Tag(tag), &record).unwrap();
    }
    assert!(log.counters().written_bytes > 16 << 20, "before any sync");
    log.append(Tag(60), &vec![1; RECORD_BYTES_MAX]).unwrap();
    let refused = log.append(Tag(61), &vec![1; RECORD_BYTES_MAX + 1]);
    assert!(matches!(refused, Err(LogError::TooLarge { .. })));
    log.append(Tag(62), b"after a refusal").unwrap();
    log.sync().unwrap();
    drop(log);
    let (_, entries, _) = try_open(&scratch.0, large).unwrap();
    assert_eq!(entries.iter().map(|(tag, _)| *tag).sum::<u64>(), 60 * 61 / 2 + 62);
    assert_eq!(entries[60].1.len(), RECORD_BYTES_MAX);
}

#[test]
fn the_largest_record_of_a_small_segment_fits_and_a_larger_one_does_not() {
    let scratch = Scratch::new();
    let (mut log, ..) = open(&scratch.0);
    let max = 4096 - 128 - 64 - 64 - 24;
    assert!(matches!(
        log.append(Tag(1), &vec![0; max + 1]),
        Err(LogError::TooLarge { bytes, max: limit }) if bytes == limit + 1
    ));
    log.append(Tag(1), &vec![9; max]).unwrap();
    log.append(Tag(2), &vec![8; max]).unwrap();
    log.sync().unwrap();
    drop(log);
    assert_eq!(open(&scratch.0).1, vec![(1, vec![9; max]), (2, vec![8; max])]);
}

#[test]
fn a_second_opener_is_refused_until_the_first_is_done() {
    let scratch = Scratch::new();
    let (log, ..) = open(&scratch.0);
    assert!(matches!(try_open(&scratch.0, config()), Err(LogError::Locked { .. })));
    drop(log);
    open(&scratch.0);
}

#[test]
fn a_log_of_another_owner_is_refused() {
    let scratch = Scratch::new();
    drop(open(&scratch.0));
    let foreign = LogConfig { owner: [8; 32], ..config() };
    assert!(matches!(try_open(&scratch.0, foreign), Err(LogError::ForeignOwner { .. })));
    open(&scratch.0);
}

#[test]
fn a_directory_of_other_things_is_refused() {
    let scratch = Scratch::new();
    std::fs::create_dir_all(&scratch.0).unwrap();
    std::fs::write(scratch.0.join("thesis.txt"), b"the only copy").unwrap();
    assert!(matches!(try_open(&scratch.0, config()), Err(LogError::NotALog { .. })));
}

#[test]
fn another_version_is_refused() {
    let scratch = Scratch::new();
    drop(open(&scratch.0));
    let mut bytes = std::fs::read(scratch.segment(1)).unwrap();
    bytes[8] = 4;
    let digest = blake3::hash(&bytes[..96]);
    bytes[96..128].copy_from_slice(digest.as_bytes());
    std::fs::write(scratch.segment(1), bytes).unwrap();
    assert!(matches!(try_open(&scratch.0, config()), Err(LogError::Version { found: 4 })));
}

#[test]
fn segments_of_another_size_are_read_and_new_ones_get_the_new_size() {
    let scratch = Scratch::new();
    let (mut log, ..) = open(&scratch.0);
    fill(&mut log, 0..100, 5);
    drop(log);
    let larger = LogConfig { segment_bytes: 8192, ..config() };
    let (mut log, entries, _) = try_open(&scratch.0, larger.clone()).unwrap();
    assert_eq!(entries, expected(0..100));
    fill(&mut log, 100..300, 5);
    drop(log);
    assert_eq!(try_open(&scratch.0, larger).unwrap().1, expected(0..300));
    let last = *scratch.segments().last().unwrap();
    assert_eq!(std::fs::metadata(scratch.segment(last)).unwrap().len(), 8192);
}

#[test]
fn pruning_keeps_the_retention_the_tags_and_the_segment_being_written() {
    let scratch = Scratch::new();
    let kept = LogConfig { retention_bytes: 5 * 4096, ..config() };
    let (mut log, ..) = try_open(&scratch.0, kept.clone()).unwrap();
    fill(&mut log, 0..400, 5);
    let all = log.index.lock().len();
    assert!(all > 8);
    log.prune(Tag(0));
    assert_eq!(log.index.lock().len(), all, "every segment has a tag that is needed");
    log.prune(Tag(60));
    log.sync().unwrap();
    let first = log.archive().read(&from(0), None, 1).unwrap().records[0].0;
    assert!(first > Tag(0) && first <= Tag(60), "{first:?}");
    log.prune(Tag(u64::MAX));
    log.sync().unwrap();
    assert_eq!(log.index.lock().len(), 5, "the retention");
    drop(log);
    let (mut log, entries, _) = try_open(&scratch.0, kept).unwrap();
    assert_eq!(entries, expected(entries[0].0..400));
    fill(&mut log, 400..401, 1);
    drop(log);
    let (mut log, ..) = open(&scratch.0);
    log.prune(Tag(u64::MAX));
    log.sync().unwrap();
    assert_eq!(log.index.lock().len(), 1, "the one being written");
}

#[test]
fn recycled_segments_show_nothing_of_their_former_life() {
    let scratch = Scratch::new();
    let (mut log, ..) = open(&scratch.0);
    for tag in 0..2000 {
        fill(&mut log, tag..tag + 1, 1);
        log.prune(Tag(tag.saturating_sub(50)));
    }
    log.sync().unwrap();
    drop(log);
    let number = *scratch.segments().last().unwrap();
    let bytes = std::fs::read(scratch.segment(number)).unwrap();
    assert!(bytes[128..].iter().any(|byte| *byte != 0), "a file was recycled");
    let (log, entries, end) = open(&scratch.0);
    assert_eq!((entries.clone(), end), (expected(entries[0].0..2000), LogEnd::Clean));
    assert!(entries[0].0 > 1900);
    assert!(scratch.segments().len() <= log.index.lock().len() + 1);
}

#[test]
fn leftovers_of_a_pruning_that_a_crash_cut_short_are_removed() {
    let scratch = Scratch::new();
    let (mut log, ..) = open(&scratch.0);
    fill(&mut log, 0..200, 5);
    let saved = std::fs::read(scratch.segment(2)).unwrap();
    log.prune(Tag(150));
    log.sync().unwrap();
    drop(log);
    assert!(!scratch.segments().contains(&2));
    std::fs::write(scratch.segment(2), saved).unwrap();
    let (log, entries, _) = open(&scratch.0);
    assert_eq!(entries, expected(entries[0].0..200));
    drop(log);
    assert!(!scratch.segments().contains(&2));
}

/// All records of tags from this one on.
fn from(tag: u64) -> Selection<'static> {
    Selection { tags: Tag(tag)..=Tag(u64::MAX), holds: &|_, _, _| true }
}

fn read_all(archive: &Archive, from: u64, bytes_max: usize) -> Entries {
    let (mut entries, mut resume) = (Vec::new(), None);
    loop {
        let page = archive.read(&self::from(from), resume, bytes_max).unwrap();
        let total: usize = page.records.iter().map(|(_, payload)| payload.len()).sum();
        assert!(total <= bytes_max || page.records.len() == 1);
        entries.extend(page.records.into_iter().map(|(tag, payload)| (tag.0, payload)));
        match page.next {
            None => return entries,
            next => resume = next,
        }
    }
}

#[test]
fn the_archive_gives_exactly_the_durable_records_from_a_tag_on_in_pages_of_any_size() {
    let scratch = Scratch::new();
    let (mut log, ..) = open(&scratch.0);
    let tags: Vec<u64> = (0..200u64).map(|i| i / 3 + 2 * (i % 2)).collect();
    for (i, tag) in tags.iter().enumerate() {
        log.append(Tag(*tag), &payload(i as u64)).unwrap();
        if i % 4 == 3 {
            log.sync().unwrap();
        }
    }
    log.append(Tag(1000), b"not synced").unwrap();
    let archive = log.archive();
    for (from, bytes_max) in [(0, 0), (0, 100), (7, 1000), (40, 64), (68, 1 << 20), (69, 1)] {
        let all = tags.iter().enumerate().map(|(i, tag)| (*tag, payload(i as u64)));
        let wanted: Entries = all.filter(|(tag, _)| *tag >= from).collect();
        assert_eq!(read_all(&archive, from, bytes_max), wanted, "from {from}");
    }
    log.sync().unwrap();
    assert_eq!(read_all(&archive, 1000, 10), vec![(1000, b"not synced".to_vec())]);
}

#[test]
fn a_page_costs_no_more_than_it_may_whatever_is_found() {
    let scratch = Scratch::new();
    let config = LogConfig { segment_bytes: 4 << 20, ..config() };
    let (mut log, ..) = try_open(&scratch.0, config).unwrap();
    for tag in 0..100 {
        log.append(Tag(tag), &vec![u8::from(tag == 99); 200 << 10]).unwrap();
        log.sync().unwrap();
    }
    let archive = log.archive();
    let is_marked = |_, _, payload: &[u8]| payload[0] == 1;
    let selection = Selection { tags: Tag(0)..=Tag(u64::MAX), holds: &is_marked };
    let (mut pages, mut resume) = (vec![], None);
    loop {
        let page = archive.read(&selection, resume, 1 << 20).unwrap();
        pages.push(page.records.len());
        resume = page.next;
        if resume.is_none() {
            break;
        }
    }
    assert_eq!(pages, [0, 0, 1], "8 MiB of 20 each");
}

#[test]
fn the_archive_is_read_while_the_log_is_written_and_pruned() {
    let scratch = Scratch::new();
    let (mut log, ..) = open(&scratch.0);
    let archive = log.archive();
    let reader = std::thread::spawn(move || {
        loop {
            let entries = read_all(&archive, 0, 700);
            let tags: Vec<u64> = entries.iter().map(|(tag, _)| *tag).collect();
            assert!(tags.is_sorted());
            assert!(entries.iter().all(|(tag, bytes)| *bytes == payload(*tag)));
            if tags.last() == Some(&1499) {
                return;
            }
        }
    });
    for tag in 0..1500 {
        fill(&mut log, tag..tag + 1, 1);
        log.prune(Tag(tag.saturating_sub(100)));
    }
    reader.join().unwrap();
}

/// A disk that fails on command.
struct FailingDisk {
    inner: SystemDisk,
    writes_left: u32,
    syncs_left: u32,
}

impl Disk for FailingDisk {
    fn write(&mut self, file: &Arc<File>, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let Some(left) = self.writes_left.checked_sub(1) else {
            let full = OpenOptions::new().write(true).open("/dev/full")?;
            return full.write_all_at(bytes, offset); // ENOSPC
        };
        self.writes_left = left;
        self.inner.write(file, offset, bytes)
    }

    fn sync(&mut self, file: &Arc<File>) -> io::Result<()> {
        self.syncs_left = self.syncs_left.checked_sub(1).ok_or(io::ErrorKind::Other)?;
        self.inner.sync(file)
    }
}

#[test]
fn a_failed_write_or_fsync_is_the_last_thing_that_a_log_does() {
    for (writes_left, syncs_left) in [(2, 9), (9, 2)] {
        let scratch = Scratch::new();
        let disk = Box::new(FailingDisk { inner: SystemDisk, writes_left, syncs_left });
        let (mut log, _) = Log::open_on(disk, &scratch.0, config(), &mut |_, _| {}).unwrap();
        fill(&mut log, 0..1, 1);
        log.append(Tag(1), b"lost").unwrap();
        assert!(matches!(log.sync(), Err(LogError::Io { .. })));
        assert!(matches!(log.sync(), Err(LogError::Failed)));
        assert!(matches!(log.append(Tag(2), b"refused"), Err(LogError::Failed)));
        assert!(matches!(log.close(), Err(LogError::Failed)));
    }
}

#[test]
fn a_directory_that_cannot_be_made_is_an_error() {
    let refused = try_open(Path::new("/dev/null/log"), config());
    assert!(matches!(refused, Err(LogError::Io { .. })));
}

#[test]
fn the_bytes_on_disk_are_those_of_the_documentation() {
    let (number, owner, salt) = (SegmentNumber(0x0102), [0xAA; 32], [0xBB; 32]);
    let header = Header { version: 3, number, segment_bytes: 64 << 20, owner, salt };
    assert_eq!(Header::decode(&header.encode()), Ok(header.clone()));
    let marker = Marker {
        bytes: 64 + 32 + 40,
        record_count: 2,
        kind: MarkerKind::Group,
        group: GroupNumber(10),
        durable: GroupNumber(9),
        oldest: SegmentNumber(3),
        tags: TagRange { min: Tag(77), max: Tag(77) },
    };
    let key = header.key();
    let mut group = marker.encode(&key, HEADER_BYTES).to_vec();
    assert_eq!(Marker::decode(&key, HEADER_BYTES, &group), Some(marker));
    let (first, second) = (HEADER_BYTES + 64, HEADER_BYTES + 64 + 32);
    let (whole, end) = (Content::Whole(b"vote"), Content::End { of: first, end: b"ed" });
    format::encode_record(&key, first, Tag(77), whole, &mut group);
    format::encode_record(&key, second, Tag(77), end, &mut group);
    let body = &group[MARKER_BYTES..];
    let records: Vec<_> = Records::new(&key, first, body).collect();
    assert_eq!(records, [Ok((first, Tag(77), whole)), Ok((second, Tag(77), end))]);
    let golden = include_str!("tests/golden.hex").split_whitespace().collect::<String>();
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(hex(&header.encode()) + &hex(&group), golden);
}
