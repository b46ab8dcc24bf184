//! What a server finds on its disk: a log, and the mark of the state store.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use ravelin_runtime::log::{Log, LogConfig, LogEnd, Tag};
use ravelin_runtime::store::{DiskState, StoreConfig};

use super::target::{Memory, Target, Verdict};

/// Recovery holds one group, and searches for markers in steps of 1 MiB.
const LOG_MEMORY: Memory = Memory { base: 16 << 20, factor: 8 };
/// The engine's caches.
const STORE_MEMORY: Memory = Memory { base: 64 << 20, factor: 8 };
const OWNER: [u8; 32] = [5; 32];

/// The targets.
pub(crate) const TARGETS: &[Target] = &[
    Target { name: "log", run: log, seeds: logs, memory: LOG_MEMORY },
    Target { name: "store_mark", run: mark, seeds: marks, memory: STORE_MEMORY },
];

/// A directory in memory where there is such a thing; gone when dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let memory = Path::new("/dev/shm");
        let root = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = root.join(format!("ravelin-fuzz-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).expect("a scratch directory");
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn config() -> LogConfig {
    LogConfig { segment_bytes: 4096, ..LogConfig::new(OWNER) }
}

/// Files of a directory in one input: how many bytes each has (`u16`), its number, and the bytes. A
/// run of zero bytes at a file's end is left out and put back, up to the segment's size.
fn unpack(mut input: &[u8], name: impl Fn(u8) -> String, dir: &Path) {
    while let Some((&[low, high, number], rest)) = input.split_first_chunk::<3>() {
        let length = usize::from(u16::from_le_bytes([low, high])).min(rest.len());
        let (bytes, rest) = rest.split_at(length);
        let mut whole = bytes.to_vec();
        if bytes.len() < 4096 && number & 0x80 == 0 {
            whole.resize(4096, 0);
        }
        fs::write(dir.join(name(number & 0x7f)), whole).expect("written");
        input = rest;
    }
}

fn pack(files: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut input = Vec::new();
    for (number, bytes) in files {
        let length = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        input.extend_from_slice(&(length as u16).to_le_bytes());
        input.push(*number);
        input.extend_from_slice(&bytes[..length]);
    }
    input
}

/// What a log holds, or that it is refused.
fn open(dir: &Path) -> Option<(Vec<(u64, Vec<u8>)>, LogEnd, Log)> {
    let mut records = Vec::new();
    let mut keep = |tag: Tag, bytes: &[u8]| records.push((tag.0, bytes.to_vec()));
    let (log, recovery) = Log::open(dir, config(), &mut keep).ok()?;
    assert_eq!(recovery.record_count as usize, records.len());
    Some((records, recovery.end, log))
}

/// A log that is refused is left as it is; one that opens goes on: what it held is there again, with
/// what was appended, at the next opening.
fn log(input: &[u8]) -> Verdict {
    let scratch = Scratch::new();
    unpack(input, |number| format!("{:016x}.segment", u64::from(number)), &scratch.0);
    let Some((mut records, _, mut log)) = open(&scratch.0) else {
        assert!(open(&scratch.0).is_none(), "a log that was refused opens at the second try");
        return Verdict::Refused;
    };
    let is_empty = records.is_empty();
    log.append(Tag(u64::MAX), b"more").expect("written");
    records.push((u64::MAX, b"more".to_vec()));
    log.sync().expect("synced");
    log.close().expect("closed");
    let (again, end, _log) = open(&scratch.0).expect("it opens again");
    assert_eq!(again, records, "what was recovered is not there any more");
    assert_eq!(end, LogEnd::Clean);
    (!is_empty).into()
}

fn logs() -> Vec<Vec<u8>> {
    let written = |records: usize, is_closed: bool| {
        let scratch = Scratch::new();
        let (_, _, mut log) = open(&scratch.0).expect("made");
        for record in 0..records {
            log.append(Tag(record as u64), &vec![record as u8; 40 * record]).expect("written");
            if record % 3 == 2 {
                log.sync().expect("synced");
            }
        }
        log.sync().expect("synced");
        if is_closed {
            log.close().expect("closed");
        }
        pack(&segments(&scratch.0))
    };
    vec![written(3, true), written(8, true), written(20, true), written(5, false)]
}

/// The segments of a log, by number; other files are not its own.
fn segments(dir: &Path) -> Vec<(u8, Vec<u8>)> {
    let mut segments = Vec::new();
    for entry in fs::read_dir(dir).expect("listed") {
        let path = entry.expect("listed").path();
        let number = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        let number = number.and_then(|stem| u64::from_str_radix(&stem, 16).ok());
        if let Some(number) = number.filter(|_| path.extension().is_some()) {
            segments.push((number as u8, fs::read(&path).expect("readable")));
        }
    }
    segments.sort();
    segments
}

/// The version of a mark that this program knows.
const MARK_VERSION: u64 = 2;

/// The mark alone, without the engine's files. An even first byte: the file is what follows. An odd
/// one: what follows are the fields of a slot, and its checksum is added, so that it is sound.
fn mark(input: &[u8]) -> Verdict {
    let Some((&kind, bytes)) = input.split_first() else { return Verdict::Refused };
    let mut file = bytes.to_vec();
    if kind % 2 == 1 {
        file.resize(56, 0);
        let checksum = blake3::hash(&file);
        file.extend_from_slice(checksum.as_bytes());
    }
    let scratch = Scratch::new();
    let dir = scratch.0.join("state");
    fs::create_dir(&dir).expect("made");
    fs::write(dir.join("mark"), &file).expect("written");
    let is_opened = DiskState::open(&dir, &StoreConfig::new(OWNER)).is_ok();
    if kind % 2 == 1 && file.starts_with(b"RVLNSTAT") {
        let is_ours = file[8..16] == MARK_VERSION.to_le_bytes() && file[16..48] == OWNER;
        assert!(is_ours || !is_opened, "a store of another owner or version is taken for ours");
    }
    is_opened.into()
}

fn marks() -> Vec<Vec<u8>> {
    let fields =
        [b"RVLNSTAT", &MARK_VERSION.to_le_bytes()[..], &OWNER, &0u64.to_le_bytes()].concat();
    vec![[&[1][..], &fields].concat(), vec![0]]
}
