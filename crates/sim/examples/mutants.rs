//! What `cargo xtask mutants` asks a build with planted bugs:
//!
//! ```text
//! mutants list               every planted bug, a line each: name, core or other, what it breaks,
//!                            its scenarios, its tests; separated by tabs
//! mutants hunt FROM COUNT    runs up to COUNT seeds from FROM on, each in both modes, until one
//!                            breaks a promise: `killed SEEDS KIND`, or `survived SEEDS`
//! ```

use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;

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
    // A panic is a kill like any other; its text is of no use here.
    panic::set_hook(Box::new(|_| {}));
    for seed in from..from.saturating_add(count) {
        for mode in [Mode::Safety, Mode::Liveness] {
            let options = Options::draw(seed, mode, Settings::default());
            let seeds = seed - from + 1;
            match panic::catch_unwind(AssertUnwindSafe(|| replay(&options).violation)) {
                Ok(None) => {}
                Ok(Some(violation)) => return format!("killed {seeds} {}", violation.kind),
                Err(_) => return format!("killed {seeds} panic"),
            }
        }
    }
    format!("survived {count}")
}
