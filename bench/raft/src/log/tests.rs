use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::mpsc::channel;

use openraft::{CommittedLeaderId, EntryPayload};

use super::*;
use crate::state::Writes;

/// Files so small that a few records fill one.
const SMALL: Layout = Layout { segment_bytes: 4096, segments_max: 8 };

/// A directory that goes away.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("raft-peer-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        Self(dir)
    }

    fn open(&self) -> Log {
        Log::open(&self.0, SMALL).expect("a log")
    }

    fn file(&self, number: usize) -> std::fs::File {
        let path = self.0.join(format!("{number:06}.log"));
        std::fs::File::options().read(true).write(true).open(path).expect("made")
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn entry(index: u64, term: u64, bytes: usize) -> Entry<TypeConfig> {
    let log_id = LogId::new(CommittedLeaderId::new(term, 0), index);
    let writes = Writes(vec![index as u8; bytes].into());
    Entry { log_id, payload: EntryPayload::Normal(writes) }
}

/// Appends, and waits until it is on disk.
fn append(log: &Log, entries: Vec<Entry<TypeConfig>>) {
    let (sender, done) = channel();
    log.append(entries.into_iter(), move |outcome| sender.send(outcome).expect("waited for"))
        .expect("there is place");
    done.recv().expect("told").expect("written");
}

fn wait(written: io::Result<Written>) {
    written.expect("there is place").0.blocking_recv().expect("told").expect("written");
}

/// The indices and terms of all entries.
fn read(log: &Log) -> Vec<(u64, u64)> {
    let entries = log.entries(0, u64::MAX, usize::MAX).expect("read");
    for entry in &entries {
        let EntryPayload::Normal(writes) = &entry.payload else { panic!("another payload") };
        assert!(writes.0.iter().all(|byte| *byte == entry.log_id.index as u8));
    }
    entries.iter().map(|entry| (entry.log_id.index, entry.log_id.leader_id.term)).collect()
}

#[test]
fn what_was_written_is_there_again_in_all_files() {
    let dir = Dir::new("again");
    let log = dir.open();
    wait(log.save_vote(Vote::new(3, 1)));
    for index in 0..20 {
        append(&log, vec![entry(index, 1, 700)]);
    }
    assert_eq!(log.fsync_count(), 21, "one sync each");
    drop(log);
    let log = dir.open();
    let all: Vec<(u64, u64)> = (0..20).map(|index| (index, 1)).collect();
    assert_eq!(read(&log), all);
    assert_eq!(log.vote(), Some(Vote::new(3, 1)));
    append(&log, vec![entry(20, 2, 10), entry(21, 2, 4000), entry(22, 2, 10)]);
    drop(log);
    let log = dir.open();
    assert_eq!(read(&log).len(), 23);
    assert_eq!(log.last_log_id().map(|id| id.index), Some(22));
}

#[test]
fn entries_of_one_append_cost_one_sync() {
    let dir = Dir::new("group");
    let log = dir.open();
    append(&log, (0..50).map(|index| entry(index, 1, 10)).collect());
    assert_eq!(log.fsync_count(), 1);
}

#[test]
fn what_was_cut_off_does_not_come_back() {
    let dir = Dir::new("cut");
    let log = dir.open();
    append(&log, (0..5).map(|index| entry(index, 1, 100)).collect());
    wait(log.cut(2));
    append(&log, vec![entry(2, 2, 100)]);
    let all = [(0, 1), (1, 1), (2, 2)];
    assert_eq!(read(&log), all);
    drop(log);
    assert_eq!(read(&dir.open()), all);
}

#[test]
fn a_torn_end_is_an_end_and_is_written_over() {
    let dir = Dir::new("torn");
    let log = dir.open();
    append(&log, (0..3).map(|index| entry(index, 1, 100)).collect());
    let last = log.lock().places.last().expect("three").at;
    drop(log);
    dir.file(0).write_all_at(b"torn", last + 60).expect("written");
    let log = dir.open();
    assert_eq!(read(&log), [(0, 1), (1, 1)]);
    append(&log, vec![entry(2, 2, 1)]);
    drop(log);
    assert_eq!(read(&dir.open()), [(0, 1), (1, 1), (2, 2)]);
}

#[test]
fn no_record_of_an_earlier_run_is_taken_for_one_that_follows() {
    let dir = Dir::new("stale");
    let log = dir.open();
    append(&log, (0..3).map(|index| entry(index, 1, 100)).collect());
    let second = log.lock().places.get(1).expect("three").at;
    drop(log);
    // The second record never came to the disk, the third did.
    dir.file(0).write_all_at(&[0; 8], second).expect("written");
    let log = dir.open();
    assert_eq!(read(&log), [(0, 1)]);
    append(&log, vec![entry(1, 2, 100)]); // as long as the one that was there
    drop(log);
    assert_eq!(read(&dir.open()), [(0, 1), (1, 2)]);
}

#[test]
fn nobody_else_writes_to_it() {
    let dir = Dir::new("locked");
    let log = dir.open();
    let refused = Log::open(&dir.0, SMALL).err().expect("in use");
    assert!(format!("{refused:#}").contains("another process writes to"), "{refused:#}");
    drop(log);
    dir.open();
}

#[test]
fn a_full_log_refuses_and_keeps_what_it_has() {
    let dir = Dir::new("full");
    let log = dir.open();
    let mut index = 0;
    while !log.is_full() {
        append(&log, vec![entry(index, 1, 2000)]);
        index += 1;
    }
    wait(log.save_vote(Vote::new(9, 2)));
    let refused = loop {
        let outcome = log.append([entry(index, 1, 2000)].into_iter(), |_| ());
        match outcome {
            Ok(()) => index += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(refused.kind(), io::ErrorKind::StorageFull);
    assert!(log.append([entry(index, 1, 5000)].into_iter(), |_| ()).is_err(), "too long");
    assert!(log.append([entry(index + 1, 1, 1)].into_iter(), |_| ()).is_err(), "a gap");
    assert_eq!(read(&log).len() as u64, index);
}

#[test]
fn entries_come_from_memory_and_from_disk_alike() {
    let dir = Dir::new("parts");
    let log = dir.open();
    append(&log, (0..10).map(|index| entry(index, 1, 300)).collect());
    {
        let mut contents = log.lock();
        for _ in 0..6 {
            contents.recent.pop_front();
        }
    }
    let indices = |start, end, bytes_max| -> Vec<u64> {
        let entries = log.entries(start, end, bytes_max).expect("read");
        entries.iter().map(|entry| entry.log_id.index).collect()
    };
    assert_eq!(indices(0, 10, usize::MAX), (0..10).collect::<Vec<_>>());
    assert_eq!(indices(4, 8, usize::MAX), [4, 5, 6, 7]);
    assert_eq!(indices(7, 99, usize::MAX), [7, 8, 9]);
    assert_eq!(indices(2, 9, 1), [2]);
    assert_eq!(indices(5, 9, 700), [5, 6, 7]);
    assert!(indices(10, 12, usize::MAX).is_empty() && indices(5, 3, 9).is_empty());
}
