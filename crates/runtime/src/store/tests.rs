#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod damage;

use super::engine::open_database;
use super::*;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A directory that goes when the test ends.
pub(super) struct Scratch(pub(super) PathBuf);

impl Scratch {
    pub(super) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("ravelin-store-{}-{count}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&dir);
        Self(dir)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(super) const OWNER: [u8; 32] = [7; 32];

pub(super) fn try_open(dir: &Path) -> Result<DiskState, StoreError> {
    DiskState::open(dir, &StoreConfig::new(OWNER))
}

fn open(dir: &Path) -> DiskState {
    try_open(dir).unwrap()
}

pub(super) fn put(key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> (Vec<u8>, Option<Vec<u8>>) {
    (key.as_ref().to_vec(), Some(value.as_ref().to_vec()))
}

pub(super) fn keys(
    store: &DiskState,
    from: &[u8],
    until: Option<&[u8]>,
    count: usize,
) -> Vec<Vec<u8>> {
    let mut keys = Vec::new();
    store.scan(from, until, &mut |key, value| {
        assert_eq!(store.get(key).as_deref(), Some(value));
        keys.push(key.to_vec());
        if keys.len() == count { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    keys
}

#[test]
fn what_was_written_is_read_scanned_in_order_and_there_after_reopening() {
    let scratch = Scratch::new();
    let mut store = open(&scratch.0);
    assert_eq!(store.get(b"a"), None);
    store.write(&[put([9], "nine"), put([1, 255], "y"), put([1], ""), put([1, 0], "x")]);
    store.write(&[put([9], "new"), ([1, 0].to_vec(), None), put([2], vec![5; 1 << 20])]);
    store.write(&[]);
    store.sync();
    for _ in 0..2 {
        assert_eq!(store.get(&[9]).as_deref(), Some(b"new".as_slice()));
        assert_eq!(store.get(&[1]).as_deref(), Some(b"".as_slice()));
        assert_eq!(store.get(&[1, 0]), None);
        assert_eq!(keys(&store, &[], None, 9), [vec![1], vec![1, 255], vec![2], vec![9]]);
        assert_eq!(keys(&store, &[], None, 2), [vec![1], vec![1, 255]]);
        assert_eq!(keys(&store, &[1, 0], Some(&[2]), 9), [vec![1, 255]]);
        assert!(keys(&store, &[3], Some(&[3]), 9).is_empty());
        assert!(keys(&store, &[9], Some(&[3]), 9).is_empty());
        drop(store);
        store = open(&scratch.0);
    }
}

/// A store that keeps 8 pieces of 1 MiB of history.
fn open_short(dir: &Path) -> DiskState {
    let config = StoreConfig { history_bytes: 8 << 20, ..StoreConfig::new(OWNER) };
    DiskState::open(dir, &config).unwrap()
}

/// A record of 8 KiB.
pub(super) fn record(number: u64) -> Vec<u8> {
    number.to_le_bytes().repeat(1024)
}

/// The numbers of the records kept, all of which are what they must be, none is missing between them.
fn kept(store: &mut DiskState) -> std::ops::RangeInclusive<u64> {
    store.sync();
    let numbers = store.engine.history().read_through().unwrap();
    let (first, last) = (numbers[0], *numbers.last().unwrap());
    assert!(numbers.iter().copied().eq(first..=last), "{numbers:?}");
    for number in first..=last {
        assert_eq!(store.record(number), Some(record(number)));
    }
    assert_eq!((store.record(first - 1), store.record(last + 1)), (None, None));
    first..=last
}

/// Files below `dir` that this process keeps open, and those of them that are deleted.
fn kept_open(dir: &Path) -> (Vec<String>, Vec<String>) {
    let all = std::fs::read_dir("/proc/self/fd").unwrap();
    let targets = all.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok());
    let targets = targets.map(|target| target.to_string_lossy().into_owned());
    let here = dir.to_string_lossy();
    let open: Vec<String> = targets.filter(|target| target.starts_with(&*here)).collect();
    let deleted = open.iter().filter(|target| target.ends_with("(deleted)")).cloned().collect();
    (open, deleted)
}

#[test]
fn of_a_history_that_may_be_shorter_the_oldest_go() {
    let scratch = Scratch::new();
    let write = |mut store: DiskState, numbers: std::ops::RangeInclusive<u64>| {
        for number in numbers {
            store.write_with(&[], &[(number, record(number))]);
            store.settle();
        }
        kept(&mut store).count() * 8200
    };
    let bytes = write(open_short(&scratch.0), 1..=1500);
    assert!((7 << 20..=8 << 20).contains(&bytes), "{bytes}");
    let config = StoreConfig { history_bytes: 4 << 20, ..StoreConfig::new(OWNER) };
    let bytes = write(DiskState::open(&scratch.0, &config).unwrap(), 1501..=2000);
    assert!((2 << 20..=4 << 20).contains(&bytes), "{bytes}");
    let bytes = write(open_short(&scratch.0), 2001..=3500);
    assert!((7 << 20..=8 << 20).contains(&bytes), "{bytes}");
}

#[test]
fn of_a_batch_larger_than_all_that_is_kept_the_end_is_kept() {
    let scratch = Scratch::new();
    let mut store = open_short(&scratch.0);
    store.write_with(&[], &[(1, record(1))]);
    let all: Vec<_> = (2..=3000).map(|number| (number, record(number))).collect();
    store.write_with(&[], &all);
    for _ in 0..2 {
        let numbers = kept(&mut store);
        assert_eq!(*numbers.end(), 3000);
        let bytes = numbers.count() * 8200;
        assert!((7 << 20..=8 << 20).contains(&bytes), "{bytes}");
        drop(store);
        store = open_short(&scratch.0);
    }
    store.write_with(&[], &[(3001, record(3001))]);
    assert_eq!(*kept(&mut store).end(), 3001);
}

/// However often the oldest goes: no descriptor, no file and no space more.
#[test]
fn a_history_that_is_full_takes_no_more_of_anything() {
    let scratch = Scratch::new();
    let mut store = open_short(&scratch.0);
    for number in 1..=6000 {
        store.write_with(&[], &[(number, record(number))]);
        store.settle();
    }
    let (open, deleted) = kept_open(&scratch.0);
    assert!(deleted.len() < 4 && open.len() < 24, "{deleted:?} {open:?}");
    let found = Command::new("find").arg(&scratch.0).args(["-type", "f"]).output().unwrap();
    let files = String::from_utf8(found.stdout).unwrap();
    assert!(files.lines().count() < 80, "{files}");
    assert_eq!(*kept(&mut store).end(), 6000);
}

#[test]
fn of_the_history_the_latest_records_are_kept_whatever_happens_between() {
    let scratch = Scratch::new();
    let mut store = open_short(&scratch.0);
    for number in 1..=3000u64 {
        store.write_with(&[put("last", number.to_le_bytes())], &[(number, record(number))]);
        store.settle();
        if number % 700 == 0 {
            store.sync();
            drop(store);
            store = open_short(&scratch.0);
        }
        if number > 1 && number % 250 == 0 {
            let range = kept(&mut store);
            let bytes = range.clone().count() * 8192;
            assert_eq!(*range.end(), number);
            assert!(number < 1100 || bytes > 6 << 20, "{bytes}: more than must has gone");
            assert!(bytes <= 8 << 20, "{bytes}");
        }
    }
    // Space comes back: what is gone is gone from the disk, too.
    let listed = Command::new("du").args(["-s", "--block-size=1M"]).arg(&scratch.0).output();
    let text = String::from_utf8(listed.unwrap().stdout).unwrap();
    let mebibytes: u64 = text.split_whitespace().next().unwrap().parse().unwrap();
    assert!(mebibytes < 140, "{mebibytes} MiB with up to 128 of journals");
}

/// A state fetched from others may lie before what this replica believed.
#[test]
fn records_written_again_are_the_later_ones_and_those_left_out_are_absent() {
    let scratch = Scratch::new();
    let mut store = open_short(&scratch.0);
    let write = |store: &mut DiskState, number: u64, byte: u8| {
        store.write_with(&[], &[(number, vec![byte; 300 << 10])]);
        store.settle();
    };
    for number in 1..=10 {
        write(&mut store, number, 1);
    }
    for number in 5..=8 {
        write(&mut store, number, 2);
    }
    write(&mut store, 40, 3);
    for _ in 0..2 {
        let bytes = |number: u64| store.record(number).map(|record| record[0]);
        let found: Vec<_> = [4, 5, 8, 9, 11, 39, 40].into_iter().map(bytes).collect();
        assert_eq!(found, [Some(1), Some(2), Some(2), Some(1), None, None, Some(3)]);
        store.sync();
        drop(store);
        store = open_short(&scratch.0);
    }
}

#[test]
#[should_panic(expected = "a key of the state has a length")]
fn an_empty_key_is_the_callers_fault() {
    open(&Scratch::new().0).write(&[put("", "value")]);
}

#[test]
fn a_store_of_another_owner_is_refused() {
    let scratch = Scratch::new();
    drop(open(&scratch.0));
    let foreign = DiskState::open(&scratch.0, &StoreConfig::new([8; 32]));
    assert!(matches!(foreign, Err(StoreError::ForeignOwner { .. })));
    open(&scratch.0);
}

#[test]
fn a_second_opener_is_refused_until_the_first_is_done() {
    let scratch = Scratch::new();
    let store = open(&scratch.0);
    let second = DiskState::open(&scratch.0, &StoreConfig::new(OWNER));
    assert!(matches!(second, Err(StoreError::Locked { .. })));
    drop(store);
    open(&scratch.0);
}

#[test]
fn a_directory_of_other_things_is_refused_and_a_store_without_its_mark_is_a_loss() {
    let scratch = Scratch::new();
    std::fs::create_dir_all(&scratch.0).unwrap();
    std::fs::write(scratch.0.join("thesis.txt"), b"the only copy").unwrap();
    assert!(matches!(try_open(&scratch.0), Err(StoreError::NotAStore { .. })));
    std::fs::remove_file(scratch.0.join("thesis.txt")).unwrap();
    drop(open(&scratch.0));
    assert!(DiskState::is_in(&scratch.0).unwrap());
    std::fs::remove_file(scratch.0.join("mark")).unwrap();
    let refused = try_open(&scratch.0).err().unwrap();
    assert!(matches!(refused, StoreError::MarkLost { .. }) && refused.is_loss());
    std::fs::write(scratch.0.join("mark"), [7; 8192]).unwrap();
    assert!(matches!(try_open(&scratch.0), Err(StoreError::MarkLost { .. })));
}

/// A store of some megabytes in tables, closed, and its files of tables.
fn with_tables() -> (Scratch, Vec<PathBuf>) {
    let scratch = Scratch::new();
    // So few runs of tables that the engine lets them be.
    let (overlay_bytes, history_bytes) = (2 << 20, 8 << 20);
    let config = StoreConfig { overlay_bytes, history_bytes, ..StoreConfig::new(OWNER) };
    let mut store = DiskState::open(&scratch.0, &config).unwrap();
    for number in 0..400u64 {
        let value = blake3::hash(&number.to_le_bytes()).as_bytes().repeat(400);
        store.write_with(&[put(number.to_be_bytes(), &value)], &[(number, record(number))]);
        store.settle();
    }
    store.sync();
    let tables = |dir: &Path| -> Vec<PathBuf> {
        let mut find = Command::new("find");
        let found = find.arg(dir).args(["-path", "*tables/*", "-type", "f"]).output().unwrap();
        let text = found.stdout;
        String::from_utf8(text).unwrap().lines().map(PathBuf::from).collect()
    };
    let begun = Instant::now();
    while tables(&scratch.0).is_empty() {
        assert!(begun.elapsed().as_secs() < 20, "nothing goes into a table");
        std::thread::sleep(Duration::from_millis(20));
    }
    drop(store);
    let tables = tables(&scratch.0);
    (scratch, tables)
}

#[test]
fn rot_in_a_table_is_found_when_all_is_read_and_is_no_failure_of_the_disk() {
    let (scratch, tables) = with_tables();
    open(&scratch.0).engine.read_through().unwrap();
    let mut found = 0;
    for table in &tables {
        let whole = std::fs::read(table).unwrap();
        let mut rotten = whole.clone();
        rotten[whole.len() / 3] ^= 1;
        std::fs::write(table, rotten).unwrap();
        let result = try_open(&scratch.0).and_then(|store| store.engine.read_through());
        if let Err(error) = &result {
            assert!(error.is_loss(), "{error}: {error:?}");
        }
        found += usize::from(result.is_err());
        std::fs::write(table, whole).unwrap();
    }
    assert!(!tables.is_empty() && found == tables.len(), "{found} of {}", tables.len());
    open(&scratch.0).engine.read_through().unwrap();
}

#[test]
fn a_table_that_is_gone_or_cut_is_a_loss() {
    let (scratch, tables) = with_tables();
    let table = &tables[0];
    let whole = std::fs::read(table).unwrap();
    std::fs::write(table, &whole[..whole.len() / 2]).unwrap();
    let result = try_open(&scratch.0).and_then(|store| store.engine.read_through());
    assert!(result.as_ref().is_err_and(StoreError::is_loss), "{result:?}");
    std::fs::remove_file(table).unwrap();
    let result = try_open(&scratch.0).and_then(|store| store.engine.read_through());
    assert!(result.as_ref().is_err_and(StoreError::is_loss), "{result:?}");
}

#[test]
fn what_was_found_rotten_while_serving_is_remembered() {
    let scratch = Scratch::new();
    drop(open(&scratch.0));
    leave_note(&scratch.0, "a rotten table");
    let refused = try_open(&scratch.0).err().unwrap();
    let is_it = matches!(&refused, StoreError::KnownDamaged { what } if what == "a rotten table");
    assert!(is_it && refused.is_loss());
}

#[test]
fn a_full_or_read_only_disk_is_no_damage() {
    let of = |code| fjall::Error::Io(io::Error::from_raw_os_error(code));
    for code in [28, 30, 24, 13, 5] {
        // ENOSPC, EROFS, EMFILE, EACCES, EIO
        assert!(!is_corruption(&of(code)), "{code}");
        assert!(matches!(refused(of(code)), StoreError::Io { .. }));
    }
    assert!(is_corruption(&of(2)), "a file of its own is gone");
    assert!(is_corruption(&fjall::Error::Io(io::ErrorKind::UnexpectedEof.into())));
    assert!(
        !is_corruption(&fjall::Error::Poisoned) && is_corruption(&fjall::Error::InvalidTrailer)
    );
}

#[test]
fn a_creation_that_a_crash_cut_short_is_begun_again() {
    let scratch = Scratch::new();
    std::fs::create_dir_all(&scratch.0).unwrap();
    std::fs::write(scratch.0.join("mark"), []).unwrap();
    open(&scratch.0);
}

#[test]
fn a_store_that_lost_what_a_sync_promised_is_refused() {
    let scratch = Scratch::new();
    let mut store = open(&scratch.0);
    store.write(&[put("a", "1")]);
    store.sync();
    drop(store);
    let old = scratch.0.with_extension("old");
    let status = Command::new("cp").arg("-r").arg(scratch.0.join(ENGINE_DIR)).arg(&old).status();
    assert!(status.unwrap().success());
    let mut store = open(&scratch.0);
    store.write(&[put("a", "2")]);
    store.sync();
    drop(store);
    std::fs::remove_dir_all(scratch.0.join(ENGINE_DIR)).unwrap();
    std::fs::rename(old, scratch.0.join(ENGINE_DIR)).unwrap();
    let refused = try_open(&scratch.0).err();
    assert!(matches!(refused, Some(StoreError::RolledBack { found: 1, promised: 2 })));
    std::fs::remove_dir_all(scratch.0.join(ENGINE_DIR)).unwrap();
    let refused = try_open(&scratch.0).err();
    assert!(matches!(refused, Some(StoreError::RolledBack { found: 0, promised: 2 })));
}

const CHILD: &str = "RAVELIN_STORE_TEST_CHILD";
const SYNC_EVERY: u64 = 40;

/// Batch `number`: a key of its own, and some that every batch overwrites.
fn batch(number: u64) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    let mut changes = vec![put(format!("batch/{number:08}"), number.to_le_bytes())];
    for slot in 0..20 {
        let length = [50, 700, 9_000][(number % 3) as usize];
        let mut value = number.to_le_bytes().to_vec();
        value.resize(length, slot);
        changes.push(put([b's', slot], value));
    }
    changes.push((vec![b't', (number % 7) as u8], None));
    changes.push(put([b't', ((number + 1) % 7) as u8], "here"));
    changes
}

/// Writes batch `number` with a record.
fn write_batch(store: &mut DiskState, number: u64) {
    store.write_with(&batch(number), &[(number + 1, record(number + 1))]);
}

/// Checks that `store` holds the batches `0..=last`, and nothing else; returns `last`.
fn last_of_prefix(store: &mut DiskState) -> Option<u64> {
    let own = keys(store, b"batch/", Some(b"batch0"), usize::MAX);
    let last = own.len().checked_sub(1)? as u64;
    let wanted: Vec<_> = (0..=last).map(|n| format!("batch/{n:08}").into_bytes()).collect();
    assert_eq!(own, wanted, "no batch is missing");
    for (key, value) in batch(last) {
        assert_eq!(store.get(&key), value, "the last batch is whole");
    }
    assert!(*kept(store).end() > last, "with its record, and perhaps later ones");
    Some(last)
}

/// Not a test: the process that the next test kills.
#[test]
fn child_that_writes_until_it_is_killed() {
    let Ok(dir) = std::env::var(CHILD) else { return };
    let mut store = open_short(Path::new(&dir));
    let start = last_of_prefix(&mut store).map_or(0, |last| last + 1);
    for number in start.. {
        write_batch(&mut store, number);
        if number % SYNC_EVERY == SYNC_EVERY - 1 {
            store.sync();
            println!("\nsynced {number}");
            io::stdout().flush().unwrap();
        }
    }
}

/// Runs the child until it has said `syncs` times that it synced, and kills it; returns the
/// last batch that is durable.
fn kill_after(dir: &Path, syncs: usize) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "store::tests::child_that_writes_until_it_is_killed", "--nocapture"])
        .env(CHILD, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut synced = lines.filter_map(|line| line.strip_prefix("synced ")?.parse().ok());
    let last = synced.nth(syncs).unwrap();
    child.kill().unwrap(); // SIGKILL
    child.wait().unwrap();
    last
}

#[test]
fn after_a_kill_the_store_holds_a_prefix_of_the_batches_with_all_synced_ones() {
    let scratch = Scratch::new();
    for syncs in [0, 3, 1, 9] {
        let synced = kill_after(&scratch.0, syncs);
        let last = last_of_prefix(&mut open_short(&scratch.0)).unwrap();
        assert!(last >= synced, "{last} of {synced}");
    }
}

#[test]
fn a_power_loss_that_tears_the_journal_costs_only_what_was_not_synced() {
    let scratch = Scratch::new();
    let mut store = open(&scratch.0);
    for number in 0..10 {
        write_batch(&mut store, number);
    }
    store.sync();
    let journal = journal(&scratch);
    let size = |path: &Path| std::fs::read(path).unwrap().iter().rposition(|byte| *byte != 0);
    let synced = size(&journal).unwrap();
    // As far as the engine comes with an overlay before the power goes.
    let mut overlay = Overlay::default();
    (11..=100).for_each(|number| overlay.append(number, &record(number)));
    store.engine.take_records(&overlay).unwrap();
    drop(store);
    let end = size(&journal).unwrap();
    let file = File::options().write(true).open(&journal).unwrap();
    let page = (synced + (end - synced) / 2) & !4095;
    let inside_a_value = (0..).map(|i| page + 4096 * i);
    let whole = std::fs::read(&journal).unwrap();
    let is_plain = |at: &usize| {
        let (here, later) = (&whole[at - 64..at + 4152], &whole[at - 56..at + 4160]);
        here == later
    };
    let lost =
        inside_a_value.take_while(|at| at + 4160 < end).find(is_plain).expect("a long value");
    file.write_all_at(&[0xEE; 4096], lost as u64).unwrap();
    assert!(open_database(&scratch.0.join(ENGINE_DIR), &StoreConfig::new(OWNER)).is_err());
    let mut store = open(&scratch.0);
    assert_eq!(last_of_prefix(&mut store), Some(9));
    let records = kept(&mut store);
    assert!((11..100).contains(records.end()), "{records:?}");
    write_batch(&mut store, 10);
    store.sync();
    drop(store);
    assert_eq!(last_of_prefix(&mut open(&scratch.0)), Some(10));
}

#[test]
fn a_repair_that_a_crash_cut_short_is_done_again() {
    let scratch = Scratch::new();
    let mut store = open(&scratch.0);
    for number in 0..10 {
        write_batch(&mut store, number);
    }
    store.sync();
    drop(store);
    let journal = journal(&scratch);
    std::fs::rename(&journal, journal.with_extension("jnl.torn")).unwrap();
    std::fs::write(&journal, []).unwrap();
    assert_eq!(last_of_prefix(&mut open(&scratch.0)), Some(9));
}

/// The newest file of the engine's journal.
fn journal(scratch: &Scratch) -> PathBuf {
    let files = std::fs::read_dir(scratch.0.join(ENGINE_DIR)).unwrap();
    let files = files.map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|end| end == "jnl")).max().unwrap()
}
