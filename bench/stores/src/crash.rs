//! What is left after a crash: a prefix of the batches, or not.
//!
//! A child writes numbered batches, syncs after `SYNCED`, and goes on until it is killed. `kill`:
//! the directory as it is. `power`: every 4 KiB page that changed since the sync is kept or lost
//! at random, as a power loss may have it; new files are kept.

use crate::load::Random;
use crate::store::{self, Store};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const SYNCED: u64 = 200;
const PUTS: u64 = 24;
const PAGE: usize = 4096;

/// Outcomes of many crashes of one candidate.
#[derive(Default)]
pub struct Tally(pub BTreeMap<&'static str, u32>);

/// The child: writes for ever, says what it has done.
pub fn child(name: &str, dir: &Path, value_bytes: usize) {
    let mut store = store::open(name, dir).expect("an empty directory opens");
    let mut line = String::new();
    for batch in 0u64.. {
        store.write(&puts(batch, value_bytes));
        if batch + 1 == SYNCED {
            store.sync();
        }
        if batch + 1 >= SYNCED {
            println!("{batch}");
            std::io::stdout().flush().expect("the parent listens");
        }
        if batch + 1 == SYNCED {
            std::io::stdin().read_line(&mut line).expect("the parent speaks");
        }
    }
}

fn puts(batch: u64, value_bytes: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut random = Random(batch);
    let slots = (0..PUTS).map(|slot| {
        let mut value = batch.to_be_bytes().to_vec();
        value.extend(random.bytes(value_bytes));
        (format!("slot/{slot:04}").into_bytes(), value)
    });
    let own = (format!("batch/{batch:08}").into_bytes(), batch.to_be_bytes().to_vec());
    slots.chain([own]).collect()
}

/// Crashes candidate `name` `runs` times in each way.
pub fn campaign(name: &str, base: &Path, runs: u64) -> [(&'static str, Tally); 2] {
    let (mut kills, mut powers) = (Tally::default(), Tally::default());
    for run in 0..runs {
        let value_bytes = [100, 1_000, 20_000][run as usize % 3];
        let dir = base.join("live");
        let _ = std::fs::remove_dir_all(base);
        let (synced, last) = crash(name, &dir, value_bytes, 1 + run * 7 % 60);
        let killed = base.join("killed");
        copy(&dir, &killed);
        kills.count(judge(name, &dir, last));
        for seed in 0..4 {
            let mixed = base.join(format!("mixed-{seed}"));
            mix(&synced, &killed, &mixed, &mut Random(run * 64 + seed));
            powers.count(judge(name, &mixed, SYNCED - 1));
        }
    }
    let _ = std::fs::remove_dir_all(base);
    [("kill -9", kills), ("power loss", powers)]
}

impl Tally {
    fn count(&mut self, outcome: &'static str) {
        *self.0.entry(outcome).or_default() += 1;
    }
}

/// Runs a child, copies its directory at the sync, kills it `more` batches later.
fn crash(name: &str, dir: &Path, value_bytes: usize, more: u64) -> (PathBuf, u64) {
    let program = std::env::current_exe().expect("this program");
    let mut child = Command::new(program)
        .args(["child", name])
        .arg(dir)
        .arg(value_bytes.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a child starts");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let mut next =
        || lines.next().expect("the child lives").expect("text").parse().expect("a number");
    let _: u64 = next();
    let synced = dir.with_file_name("synced");
    copy(dir, &synced);
    child.stdin.take().expect("a pipe").write_all(b"\n").expect("the child listens");
    let mut last = 0;
    for _ in 0..more {
        last = next();
    }
    child.kill().expect("the child can be killed");
    child.wait().expect("the child ends");
    (synced, last)
}

/// Opens what is left, and compares it with the batches: all up to `wanted`
/// may be there, all synced ones must.
fn judge(name: &str, dir: &Path, wanted: u64) -> &'static str {
    match std::panic::catch_unwind(|| store::open(name, dir).map(|store| inspect(&*store, wanted)))
    {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => "refuses to open",
        Err(_) => "fails while reading",
    }
}

fn inspect(store: &dyn Store, wanted: u64) -> &'static str {
    let number = |value: Option<Vec<u8>>| {
        value.and_then(|v| v.get(..8).map(|b| u64::from_be_bytes(b.try_into().expect("8 bytes"))))
    };
    let Some(last) = number(store.get(b"slot/0000")) else { return "synced batches lost" };
    let length = store.get(b"slot/0000").map_or(0, |value| value.len()) - 8;
    let whole = puts(last, length).into_iter().all(|(key, value)| store.get(&key) == Some(value));
    let missing = (0..=last).any(|b| store.get(format!("batch/{b:08}").as_bytes()).is_none());
    let beyond = store.get(format!("batch/{:08}", last + 1).as_bytes()).is_some();
    match whole && !missing && !beyond {
        false => "not a prefix",
        true if last < SYNCED - 1 => "synced batches lost",
        true if last < wanted => "prefix, without unsynced",
        true => "prefix",
    }
}

fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-r").args([from, to]).status().expect("cp runs");
    assert!(status.success(), "cp failed");
}

/// Writes into `out` the files of `after`, with pages of `before` where chance says "lost".
fn mix(before: &Path, after: &Path, out: &Path, random: &mut Random) {
    std::fs::create_dir_all(out).expect("a directory can be made");
    for entry in std::fs::read_dir(after).expect("a directory") {
        let name = entry.expect("an entry").file_name();
        let (old, new) = (before.join(&name), after.join(&name));
        if new.is_dir() {
            mix(&old, &new, &out.join(&name), random);
            continue;
        }
        let mut bytes = std::fs::read(&new).expect("a file");
        if let Ok(mut past) = std::fs::read(&old) {
            past.resize(bytes.len(), 0);
            for (page, lost) in bytes.chunks_mut(PAGE).zip(past.chunks(PAGE)) {
                if random.next() % 2 == 0 {
                    page.copy_from_slice(lost);
                }
            }
        }
        std::fs::write(out.join(&name), bytes).expect("a file can be written");
    }
}
