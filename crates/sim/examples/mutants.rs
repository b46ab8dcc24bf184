//! What `cargo xtask mutants` asks a build with planted bugs:
//!
//! ```text
//! mutants list               every planted bug, a line each: name, core or other, what it breaks,
//!                            its scenarios, its tests; separated by tabs
//! mutants hunt FROM COUNT    runs up to COUNT seeds from FROM on, each in both modes, until one
//!                            breaks a promise: `killed SEEDS KIND`, or `survived SEEDS`
//! ```
//!
//! Bugs of reliable multicast, whose names begin with `brm_`, are hunted in its own world.

use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;

use ravelin_sim::brm;
use ravelin_sim::mutants::{self, Planted};
use ravelin_sim::runner::replay;
use ravelin_sim::{Mode, Options, Settings};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["list"] => {
            mutants::ALL.iter().for_each(|planted| println!("{}", line(planted)));
            ExitCode::SUCCESS
        }
        ["hunt", from, count] => match (from.parse(), count.parse()) {
            (Ok(from), Ok(count)) => {
                println!("{}", hunt(from, count));
                ExitCode::SUCCESS
            }
            _ => usage(),
        },
        _ => usage(),
    }
}

fn usage() -> ExitCode {
    eprintln!("usage: mutants list | mutants hunt FROM COUNT");
    ExitCode::from(2)
}

fn line(planted: &Planted) -> String {
    let scenarios: Vec<String> =
        planted.scenarios().map(|scenario| scenario.number.to_string()).collect();
    let tests: Vec<String> =
        planted.killers().map(|(file, test)| format!("{file}::{test}")).collect();
    let kind = if planted.is_core { "core" } else { "other" };
    [planted.name, kind, planted.breaks, &scenarios.join(" "), &tests.join(" ")].join("\t")
}

fn hunt(from: u64, count: u64) -> String {
    let is_brm = std::env::var("RAVELIN_MUTANT").is_ok_and(|name| name.starts_with("brm_"));
    // A panic is a kill like any other; its text is of no use here.
    panic::set_hook(Box::new(|_| {}));
    for seed in from..from.saturating_add(count) {
        let broken = panic::catch_unwind(AssertUnwindSafe(|| {
            if is_brm { in_brm(seed) } else { in_both_modes(seed) }
        }));
        let seeds = seed - from + 1;
        match broken {
            Ok(None) => {}
            Ok(Some(kind)) => return format!("killed {seeds} {kind}"),
            Err(_) => return format!("killed {seeds} panic"),
        }
    }
    format!("survived {count}")
}

/// The promise that a seed breaks, if it does.
fn in_both_modes(seed: u64) -> Option<&'static str> {
    [Mode::Safety, Mode::Liveness].into_iter().find_map(|mode| {
        let violation = replay(&Options::draw(seed, mode, Settings::default())).violation?;
        Some(violation.kind)
    })
}

fn in_brm(seed: u64) -> Option<&'static str> {
    let report = brm::run_seed(seed, brm::Settings::default());
    report.violations.first().map(|(_, violation)| violation.kind)
}
