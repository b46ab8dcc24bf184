//! A seeded random life of a log against a `Vec`: appends, syncs, prunings, power losses.

use super::*;
use std::fs::File;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

const SECTOR: usize = 512;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

type Writes = Vec<(Arc<File>, u64, Vec<u8>)>;

/// A disk that keeps writes to itself until a sync, and loses some sectors of them otherwise.
#[derive(Clone, Default)]
struct PowerDisk {
    writes: Arc<Mutex<Writes>>,
    /// The next sync fails, and nothing of it is durable.
    is_failing: Arc<AtomicBool>,
}

impl PowerDisk {
    /// Loses power: `lost` of 100 sectors written since the last sync are gone.
    fn lose_power(&self, random: &mut Random, lost: u64) {
        for (file, offset, bytes) in self.writes.lock().unwrap().drain(..) {
            let mut at = 0;
            while at < bytes.len() {
                let place = offset as usize + at;
                let step = (SECTOR - place % SECTOR).min(bytes.len() - at);
                if random.below(100) >= lost {
                    file.write_all_at(&bytes[at..at + step], place as u64).unwrap();
                }
                at += step;
            }
        }
    }
}

impl Disk for PowerDisk {
    fn write(&mut self, file: &Arc<File>, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.writes.lock().unwrap().push((Arc::clone(file), offset, bytes.to_vec()));
        Ok(())
    }

    fn sync(&mut self, file: &Arc<File>) -> io::Result<()> {
        if self.is_failing.swap(false, Ordering::Relaxed) {
            return Err(io::ErrorKind::Other.into());
        }
        let mut writes = self.writes.lock().unwrap();
        for (_, offset, bytes) in writes.extract_if(.., |(of, ..)| Arc::ptr_eq(of, file)) {
            file.write_all_at(&bytes, offset)?;
        }
        file.sync_data()
    }
}

/// The log, and what it should hold.
struct Life {
    scratch: Scratch,
    disk: PowerDisk,
    log: Option<Log>,
    appended: Entries,
    /// How many of them a sync covered.
    synced: usize,
    /// Records with lower tags may be gone.
    pruned_below: u64,
    tag: u64,
    /// The last draft, if it may still be completed.
    draft: Option<(u64, Vec<u8>)>,
}

impl Life {
    fn new() -> Self {
        let mut life = Self {
            scratch: Scratch::new(),
            disk: PowerDisk::default(),
            log: None,
            appended: vec![],
            synced: 0,
            pruned_below: 0,
            tag: 0,
            draft: None,
        };
        life.open();
        life
    }

    fn config() -> LogConfig {
        LogConfig { owner: OWNER, segment_bytes: 2048, retention_bytes: 4 * 2048 }
    }

    /// Opens the log; it must hold all that was synced, and at most what was appended.
    fn open(&mut self) {
        self.draft = None;
        let mut entries = Vec::new();
        let mut visit = |tag: Tag, payload: &[u8]| entries.push((tag.0, payload.to_vec()));
        let disk = Box::new(self.disk.clone());
        let opened = Log::open_on(disk, &self.scratch.0, Self::config(), &mut visit);
        self.log = Some(opened.expect("no disk lost what it promised").0);
        let first = entries.first().map_or(self.synced, |first| {
            self.appended.iter().position(|entry| entry == first).expect("a record of ours")
        });
        let end = first + entries.len();
        assert_eq!(entries, self.appended[first..end]);
        assert!(end >= self.synced, "{} of {} durable records", end, self.synced);
        let needed = self.appended.iter().position(|(tag, _)| *tag >= self.pruned_below);
        assert!(first <= needed.unwrap_or(usize::MAX), "pruned too much");
        self.appended.truncate(end);
        self.synced = end;
    }

    /// An opening that loses power before its end.
    fn fail_to_open(&mut self) {
        self.disk.is_failing.store(true, Ordering::Relaxed);
        let disk = Box::new(self.disk.clone());
        let failed = Log::open_on(disk, &self.scratch.0, Self::config(), &mut |_, _| {});
        assert!(failed.is_err());
    }

    /// Completes the draft, if there is one.
    fn complete(&mut self, random: &mut Random) {
        let Some((tag, mut payload)) = self.draft.take() else { return };
        let end: Vec<u8> = std::iter::repeat_with(|| random.next() as u8).take(8).collect();
        self.log.as_mut().unwrap().complete(Tag(tag), &end).unwrap();
        payload.splice(payload.len() - end.len().., end);
        self.appended.push((tag, payload));
    }

    fn step(&mut self, random: &mut Random) {
        let log = self.log.as_mut().unwrap();
        match random.below(100) {
            0..60 => {
                self.tag += random.below(2);
                let length_max = if random.below(10) == 0 { 1500 } else { 90 };
                let length = random.below(length_max) as usize;
                let mut payload = (self.appended.len() as u64).to_le_bytes().to_vec();
                payload.extend(std::iter::repeat_with(|| random.next() as u8).take(length));
                if random.below(4) == 0 {
                    log.append_draft(Tag(self.tag), payload.clone()).unwrap();
                    self.draft = Some((self.tag, payload.clone()));
                } else {
                    log.append(Tag(self.tag), &payload).unwrap();
                }
                self.appended.push((self.tag, payload));
                if random.below(4) == 0 {
                    self.complete(random);
                }
            }
            60..85 => {
                log.sync().unwrap();
                self.synced = self.appended.len();
            }
            85..92 => {
                let below = self.tag.saturating_sub(random.below(30));
                log.prune(Tag(below));
                self.pruned_below = self.pruned_below.max(below);
            }
            92..96 => {
                let durable = self.appended[..self.synced].iter();
                let wanted: Entries =
                    durable.filter(|(tag, _)| *tag >= self.pruned_below).cloned().collect();
                assert_eq!(read_all(&log.archive(), self.pruned_below, 500), wanted);
            }
            _ => {
                let lost = [0, 30, 70, 100][random.below(4) as usize];
                self.log = None;
                self.disk.lose_power(random, lost);
                if random.below(3) == 0 {
                    self.fail_to_open();
                    self.disk.lose_power(random, lost);
                }
                self.open();
            }
        }
    }
}

#[test]
fn no_schedule_of_power_losses_loses_or_invents_a_record() {
    for seed in 0..30 {
        println!("seed {seed}");
        let mut random = Random(seed);
        let mut life = Life::new();
        for _ in 0..250 {
            life.step(&mut random);
        }
    }
}
