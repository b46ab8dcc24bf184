//! Compares embedded stores under the access pattern of a replica's state.
//!
//! `cargo run --release` prints a table, and JSON with `--json`; every measurement runs in a
//! process of its own. `-- quick` measures 100 k keys only, `-- crash` crashes every candidate.

mod crash;
mod load;
mod store;

use load::Report;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["one", name, dir, value_bytes, key_count, ms] => {
            let each = Duration::from_millis(ms.parse().expect("milliseconds"));
            let (value_bytes, key_count) = (number(value_bytes), number(key_count));
            let report = load::measure(name, Path::new(dir), value_bytes as usize, key_count, each);
            println!("{}", serde_json::to_string(&report).expect("a report is JSON"));
        }
        ["child", name, dir, value_bytes] => {
            crash::child(name, Path::new(dir), number(value_bytes) as usize);
        }
        ["crash", runs @ ..] => crashes(runs.first().map_or(30, |runs| number(runs))),
        ["quick", json @ ..] => table(&[100_000], 1500, json.contains(&"--json")),
        json => table(&[100_000, 1_000_000], 2000, json.contains(&"--json")),
    }
}

fn number(text: &str) -> u64 {
    text.parse().expect("a number")
}

fn scratch() -> PathBuf {
    std::env::temp_dir().join(format!("store-bench-{}", std::process::id()))
}

fn crashes(runs: u64) {
    println!("{:<12} {:<11} outcomes", "store", "crash");
    for name in store::NAMES {
        for (kind, tally) in crash::campaign(name, &scratch(), runs) {
            println!("{name:<12} {kind:<11} {:?}", tally.0);
        }
    }
}

fn table(key_counts: &[u64], ms: u64, json: bool) {
    println!(
        "{:<11} {:>6} {:>8} {:>5} {:>9} {:>7} {:>8} {:>8} {:>8} {:>8} | {:>8} {:>8} {:>9} {:>7} {:>6} {:>7} {:>8}",
        "store",
        "value",
        "keys",
        "batch",
        "puts/s",
        "cpu us",
        "p50 us",
        "p99 us",
        "max ms",
        "sync ms",
        "load/s",
        "gets/s",
        "scanned/s",
        "reopen",
        "MiB",
        "disk",
        "written"
    );
    let mut reports = Vec::new();
    for &key_count in key_counts {
        for value_bytes in [128, 1024] {
            for name in store::NAMES {
                let Some(report) = one(name, value_bytes, key_count, ms) else {
                    println!("{name:<11} {value_bytes:>6} {key_count:>8} failed");
                    continue;
                };
                print(&report);
                reports.push(report);
            }
        }
    }
    if json {
        println!("{}", serde_json::to_string(&reports).expect("reports are JSON"));
    }
}

fn one(name: &str, value_bytes: usize, key_count: u64, ms: u64) -> Option<Report> {
    let dir = scratch();
    let _ = std::fs::remove_dir_all(&dir);
    let output = Command::new(std::env::current_exe().expect("this program"))
        .args(["one", name])
        .arg(&dir)
        .args([value_bytes.to_string(), key_count.to_string(), ms.to_string()])
        .output()
        .expect("a child starts");
    let _ = std::fs::remove_dir_all(&dir);
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).ok()
}

fn print(report: &Report) {
    for (row, b) in report.batches.iter().enumerate() {
        print!(
            "{:<11} {:>6} {:>8} {:>5} {:>9.0} {:>7.2} {:>8.0} {:>8.0} {:>8.1} {:>8.1} |",
            report.store,
            report.value_bytes,
            report.key_count,
            b.puts_per_batch,
            b.puts_per_s,
            b.cpu_us_per_put,
            b.batch_p50_us,
            b.batch_p99_us,
            b.batch_max_ms,
            b.sync_max_ms
        );
        if row > 0 {
            println!();
            continue;
        }
        println!(
            " {:>8.0} {:>8.0} {:>9.0} {:>5.0}ms {:>6.0} {:>7.0} {:>8.0}",
            report.load_puts_per_s,
            report.gets_per_s,
            report.scanned_per_s,
            report.reopen_ms,
            report.peak_anonymous_mib,
            report.disk_mib,
            report.written_mib
        );
    }
}
