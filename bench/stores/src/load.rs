//! One candidate, one value size, one key count: load, batches, gets, scans, in one process.

use crate::store::{self, Store};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::{Duration, Instant};

/// Batches between two syncs: a checkpoint of a replica.
const SYNC_EVERY: u64 = 1024;
/// Entries of one scan.
const SCAN_ENTRIES: usize = 100;

/// What one process measured.
#[derive(Serialize, Deserialize)]
pub struct Report {
    pub store: String,
    pub value_bytes: usize,
    pub key_count: u64,
    pub load_puts_per_s: f64,
    pub batches: Vec<BatchReport>,
    pub gets_per_s: f64,
    pub get_cpu_us: f64,
    pub scanned_per_s: f64,
    pub reopen_ms: f64,
    pub peak_anonymous_mib: f64,
    pub disk_mib: f64,
    pub written_mib: f64,
}

/// Batches of one size.
#[derive(Serialize, Deserialize)]
pub struct BatchReport {
    pub puts_per_batch: usize,
    pub puts_per_s: f64,
    pub cpu_us_per_put: f64,
    pub batch_p50_us: f64,
    pub batch_p99_us: f64,
    pub batch_max_ms: f64,
    pub sync_max_ms: f64,
}

/// SplitMix64: the same keys and values for every candidate.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        let words = (0..length.div_ceil(8)).flat_map(|_| self.next().to_le_bytes());
        words.take(length).collect()
    }
}

/// The key of entry `index`: a namespace, then digits without any order.
pub fn key(index: u64) -> Vec<u8> {
    format!("kv/data/{:016x}", Random(index).next()).into_bytes()
}

/// Runs everything on candidate `name` in the empty directory `dir`.
pub fn measure(
    name: &str,
    dir: &Path,
    value_bytes: usize,
    key_count: u64,
    each: Duration,
) -> Report {
    let mut store = store::open(name, dir).expect("an empty directory opens");
    let mut random = Random(7);
    let mut peak: f64 = 0.0;
    let start = Instant::now();
    for (number, from) in (0..key_count).step_by(512).enumerate() {
        let upto = key_count.min(from + 512);
        let puts: Vec<_> = (from..upto).map(|i| (key(i), random.bytes(value_bytes))).collect();
        store.write(&puts);
        if number % 64 == 63 {
            store.sync();
            peak = peak.max(anonymous_mib());
        }
    }
    store.sync();
    let load_puts_per_s = key_count as f64 / start.elapsed().as_secs_f64();
    let batches = [8, 64, 512]
        .map(|size| {
            batches(&mut *store, size, value_bytes, key_count, each, &mut random, &mut peak)
        })
        .into();
    let (gets_per_s, get_cpu_us) = gets(&*store, key_count, each / 2, &mut random);
    let scanned_per_s = scans(&*store, key_count, each / 2, &mut random);
    peak = peak.max(anonymous_mib());
    store.sync();
    drop(store);
    let start = Instant::now();
    let store = store::open(name, dir).expect("a closed store opens");
    assert!(store.get(&key(0)).is_some());
    Report {
        store: name.into(),
        value_bytes,
        key_count,
        load_puts_per_s,
        batches,
        gets_per_s,
        get_cpu_us,
        scanned_per_s,
        reopen_ms: start.elapsed().as_secs_f64() * 1e3,
        peak_anonymous_mib: peak,
        disk_mib: disk_bytes(dir) as f64 / f64::from(1 << 20),
        written_mib: written_bytes() as f64 / f64::from(1 << 20),
    }
}

fn batches(
    store: &mut dyn Store,
    size: usize,
    value_bytes: usize,
    key_count: u64,
    each: Duration,
    random: &mut Random,
    peak: &mut f64,
) -> BatchReport {
    let mut times = Vec::new();
    let mut sync_max = Duration::ZERO;
    let (start, cpu) = (Instant::now(), cpu_us());
    let mut making = Duration::ZERO;
    while start.elapsed() < each {
        let made = Instant::now();
        let puts: Vec<_> = (0..size)
            .map(|_| (key(random.next() % key_count), random.bytes(value_bytes)))
            .collect();
        making += made.elapsed();
        let begun = Instant::now();
        store.write(&puts);
        times.push(begun.elapsed());
        if times.len() as u64 % SYNC_EVERY == 0 {
            let begun = Instant::now();
            store.sync();
            sync_max = sync_max.max(begun.elapsed());
        }
        if times.len() % 256 == 0 {
            *peak = peak.max(anonymous_mib());
        }
    }
    let begun = Instant::now();
    store.sync();
    sync_max = sync_max.max(begun.elapsed());
    let puts = (times.len() * size) as f64;
    let elapsed = (start.elapsed() - making).as_secs_f64();
    let cpu = cpu_us() - cpu - making.as_secs_f64() * 1e6;
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e6;
    BatchReport {
        puts_per_batch: size,
        puts_per_s: puts / elapsed,
        cpu_us_per_put: cpu / puts,
        batch_p50_us: at(0.5),
        batch_p99_us: at(0.99),
        batch_max_ms: at(1.0) / 1e3,
        sync_max_ms: sync_max.as_secs_f64() * 1e3,
    }
}

fn gets(store: &dyn Store, key_count: u64, each: Duration, random: &mut Random) -> (f64, f64) {
    let (start, cpu) = (Instant::now(), cpu_us());
    let mut count = 0.0;
    while start.elapsed() < each {
        for _ in 0..64 {
            assert!(store.get(&key(random.next() % key_count)).is_some());
        }
        count += 64.0;
    }
    (count / start.elapsed().as_secs_f64(), (cpu_us() - cpu) / count)
}

fn scans(store: &dyn Store, key_count: u64, each: Duration, random: &mut Random) -> f64 {
    let start = Instant::now();
    let mut count = 0;
    while start.elapsed() < each {
        count += store.scan(&key(random.next() % key_count), SCAN_ENTRIES);
    }
    count as f64 / start.elapsed().as_secs_f64()
}

/// CPU time of all threads of this process.
fn cpu_us() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").expect("procfs is mounted");
    let fields: Vec<&str> = text.rsplit(')').next().expect("a name").split_whitespace().collect();
    let ticks = |at: usize| fields[at].parse::<f64>().expect("a number");
    (ticks(11) + ticks(12)) * 10_000.0
}

/// Memory that is this process's own, without the pages of files.
fn anonymous_mib() -> f64 {
    proc_value("/proc/self/status", "RssAnon:") / 1024.0
}

fn written_bytes() -> u64 {
    proc_value("/proc/self/io", "write_bytes:") as u64
}

fn proc_value(file: &str, name: &str) -> f64 {
    let text = std::fs::read_to_string(file).expect("procfs is mounted");
    let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("a known line");
    line.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
}

fn disk_bytes(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let entries = std::fs::read_dir(dir).expect("a directory");
    let sizes = entries.map(|entry| {
        let entry = entry.expect("an entry");
        let kind = entry.metadata().expect("metadata");
        if kind.is_dir() { disk_bytes(&entry.path()) } else { kind.blocks() * 512 }
    });
    sizes.sum()
}
