//! `cargo xtask instructions`: how many instructions the hot paths of a server execute.
//!
//! Time on a busy machine says little about a change of a few percent; the number of instructions says it
//! exactly. The example `instructions` of the crate `ravelin` runs under valgrind's callgrind, whose
//! counts are compared with those of `docs/results/instructions.md`: more than the tolerance above
//! them is an error. So is less, until the file is renewed: what was won once must not be lost unseen.
//!
//! What is counted is not what a release executes: valgrind knows no AVX-512, and the store is memory.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::results;
use crate::run::{cargo, run};

const FILE: &str = "docs/results/instructions.md";
const BUILD: [&str; 7] =
    ["build", "--release", "--locked", "--package", "ravelin", "--example", "instructions"];
/// How much more than the baseline is too much, in percent. Seeds of hash tables alone move the figures
/// by a tenth of that.
const TOLERANCE: f64 = 3.0;

/// What is counted: its name in the table, and a part of its function's name. Each is counted with
/// all that it calls.
const STAGES: &[(&str, &str)] = &[
    ("decode and verify an envelope", "instructions::stage::take_envelope"),
    ("admit it, and make blocks of it", "instructions::stage::submit"),
    ("decode and verify a peer's message", "instructions::stage::take_message"),
    ("take it into the DAG, order and execute", "instructions::stage::act"),
    ("of that: decide", "Ordering<P>::decide"),
    ("of that: execute", "execution::Execution::execute"),
    ("of executing: write, and hash the state", "state::State::finish_commit"),
    ("encode a message", "instructions::stage::encode_message"),
    ("encode answers", "instructions::stage::encode_reply"),
];

/// Counts, and compares with the baseline or renews it.
///
/// # Errors
/// When something takes more instructions than the baseline allows, or fewer, or cannot be counted.
pub(crate) fn instructions(root: &Path, is_renewed: bool) -> Result<()> {
    let is_there = Command::new("valgrind").arg("--version").stdout(Stdio::null()).status();
    if !is_there.is_ok_and(|status| status.success()) {
        println!(
            "SKIPPED: instructions are not counted without valgrind (apt-get install valgrind)"
        );
        return Ok(());
    }
    // Built by parts, as some like it, it inlines less and executes more.
    run(cargo(root, &BUILD).env("CARGO_INCREMENTAL", "0"))?;
    let counted = count(root)?;
    if is_renewed {
        return results::write(root, FILE, &page(&counted)?);
    }
    let text =
        fs::read_to_string(root.join(FILE)).with_context(|| format!("cannot read {FILE}"))?;
    if !text.contains(&rustc()?) {
        println!("SKIPPED: the baseline was made by another compiler; these are the figures here:");
        counted.iter().for_each(|(stage, count)| println!("{count:>9.0}  {stage}"));
        return Ok(());
    }
    compare(&baseline(&text)?, &counted)
}

/// Runs the example under callgrind: instructions of each stage for an operation, over all servers.
fn count(root: &Path) -> Result<Vec<(&'static str, f64)>> {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), Into::into);
    let program = target.join("release/examples/instructions");
    let out = target.join("instructions.callgrind");
    let mut option = std::ffi::OsString::from("--callgrind-out-file=");
    option.push(&out);
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--quiet", "--tool=callgrind"]).arg(option).arg(&program);
    let told = text_of(&mut valgrind)?;
    let operations: f64 = told
        .split_whitespace()
        .nth(1)
        .and_then(|word| word.parse().ok())
        .with_context(|| format!("the example does not tell its operations, but `{told}`"))?;
    let mut annotate = Command::new("callgrind_annotate");
    annotate.args(["--inclusive=yes", "--auto=no", "--threshold=100"]).arg(&out);
    let functions = text_of(&mut annotate)?;
    let counts = STAGES.iter().map(|(stage, function)| {
        let count = count_of(&functions, function);
        Ok((
            *stage,
            count.with_context(|| format!("nothing is counted of {function}"))? / operations,
        ))
    });
    counts.collect()
}

/// What a table of callgrind_annotate says of the function whose name contains `function`. Parts of it
/// that come from other files have lines of their own; the whole is the largest.
fn count_of(table: &str, function: &str) -> Option<f64> {
    let lines = table.lines().filter(|line| line.contains(function));
    let counts = lines.filter_map(|line| {
        let count = line.trim_start().split(' ').next()?;
        count.replace(',', "").parse().ok()
    });
    counts.reduce(f64::max)
}

fn text_of(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot start {command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?} failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn rustc() -> Result<String> {
    Ok(text_of(Command::new("rustc").arg("--version"))?.trim().to_owned())
}

fn page(counted: &[(&str, f64)]) -> Result<String> {
    let mut text =
        results::heading("Instructions of the hot paths", "cargo xtask instructions --renew");
    text.push_str(&format!(
        "\n{}. For an operation of an envelope of 32, 128 bytes a value, over all four servers, each with \
         all that it calls; under callgrind, which knows no AVX-512, and with the state in memory. CI fails \
         where one grows, or falls unnoticed, by more than {TOLERANCE} %.\n\n| what | instructions |\n|---|---|\n",
        rustc()?
    ));
    for (stage, count) in counted {
        text.push_str(&format!("| {stage} | {count:.0} |\n"));
    }
    Ok(text)
}

/// The figures of a page.
fn baseline(page: &str) -> Result<Vec<(String, f64)>> {
    let rows = page.lines().filter_map(|line| {
        let (stage, count) = line.strip_prefix("| ")?.strip_suffix(" |")?.rsplit_once(" | ")?;
        Some((stage.to_owned(), count.parse().ok()?))
    });
    let rows: Vec<(String, f64)> = rows.collect();
    ensure!(!rows.is_empty(), "{FILE} has no figures: renew it with --renew");
    Ok(rows)
}

fn compare(baseline: &[(String, f64)], counted: &[(&str, f64)]) -> Result<()> {
    let (mut grown, mut fallen) = (Vec::new(), Vec::new());
    for (stage, count) in counted {
        let known = baseline.iter().find(|(known, _)| known == stage);
        let (_, before) =
            known.with_context(|| format!("{FILE} lacks `{stage}`: renew it with --renew"))?;
        let change = (count / before - 1.0) * 100.0;
        println!("{count:>9.0}  {change:>+6.1} %  {stage}");
        if change > TOLERANCE {
            grown.push(*stage);
        } else if change < -TOLERANCE {
            fallen.push(*stage);
        }
    }
    if !grown.is_empty() {
        bail!(
            "more instructions than {FILE} allows: {}; find out why, or, if it is worth it, renew the \
             file with `cargo xtask instructions --renew`",
            grown.join("; ")
        );
    }
    ensure!(
        fallen.is_empty(),
        "fewer instructions than {FILE} says, which is good: {}; renew the file with `cargo xtask \
         instructions --renew`, so that it stays so",
        fallen.join("; ")
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_of_a_function_is_found_among_its_parts() {
        let table = "1,234,567 (10.00%)  lib.rs:ravelin::stage::act [program]\n   \
                     987 ( 0.10%)  core.rs:ravelin::stage::act'2 [program]\n\
                     99 ( 0.00%)  lib.rs:other [program]\n";
        assert_eq!(count_of(table, "stage::act"), Some(1_234_567.0));
        assert_eq!(count_of(table, "stage::gone"), None);
    }

    #[test]
    fn what_was_written_is_read_and_growth_is_refused() {
        let page = "# Title\n\n| what | instructions |\n|---|---|\n| a | 1000 |\n| b: c | 2000 |\n";
        let known = baseline(page).expect("figures");
        assert_eq!(known, [("a".to_owned(), 1000.0), ("b: c".to_owned(), 2000.0)]);
        assert!(compare(&known, &[("a", 1020.0), ("b: c", 1950.0)]).is_ok());
        let error = compare(&known, &[("a", 1000.0), ("b: c", 1.0)]).expect_err("it fell");
        assert!(error.to_string().contains(": b: c;"), "{error}");
        let error = compare(&known, &[("a", 1040.0), ("b: c", 2000.0)]).expect_err("it grew");
        assert!(error.to_string().contains(": a;"), "{error}");
        assert!(compare(&known, &[("new", 1.0)]).is_err());
        assert!(baseline("nothing").is_err());
    }
}
