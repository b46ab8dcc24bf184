//! `cargo xtask fuzz`: every decoder against bytes that nobody should send, and the result file.
//!
//! The program in `fuzz/` is a workspace of its own, built with counters of coverage, which the stable
//! compiler adds when asked; no tool is needed. With `--libfuzzer` it is built for libFuzzer instead,
//! whose sources come with a crate.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, bail};

use crate::results;
use crate::run::{cargo, run};

/// Where the result is kept.
const KEPT: &str = "docs/results/fuzzing.md";
/// What makes the compiler count the edges that are run.
const COUNTERS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=3 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Ccodegen-units=1";
/// What libFuzzer wants beside it.
const LIBFUZZER: &str = "-Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing";
const USAGE: &str = "\
`fuzz` takes --seconds N (for each target, 10), --target T, --seed S, --keep (what is worth keeping \
goes into fuzz/corpus), --libfuzzer (with --target), --output FILE";
/// What stands before the table.
const EXPLAINED: &str = "\
Every decoder of what a peer, a client or a disk may say, against changed inputs: none may panic, hold
more memory than its bound, take half a second, or break the property that its target states
(`fuzz/src/targets/`). `taken`: inputs that decoded; `edges`: branches of the program that were run;
`corpus`: inputs kept in the repository before the run, which the crates' ordinary tests replay.
";

/// What is to be run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted<'a> {
    seconds: Option<&'a str>,
    target: Option<&'a str>,
    seed: Option<&'a str>,
    keeps: bool,
    by_libfuzzer: bool,
    output: Option<&'a str>,
    /// The words as they were given.
    given: String,
}

impl<'a> Wanted<'a> {
    /// Reads what follows `cargo xtask fuzz`.
    ///
    /// # Errors
    /// When a word says nothing.
    pub(crate) fn parse(words: &[&'a str]) -> Result<Self> {
        let given = words.iter().map(|word| format!(" {word}")).collect();
        let mut wanted = Self { given, ..Self::default() };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value =
                || words.next().copied().with_context(|| format!("`{word}` of what? {USAGE}"));
            match *word {
                "--seconds" => wanted.seconds = Some(number(word, value()?)?),
                "--seed" => wanted.seed = Some(number(word, value()?)?),
                "--target" => wanted.target = Some(value()?),
                "--keep" => wanted.keeps = true,
                "--libfuzzer" => wanted.by_libfuzzer = true,
                "--output" => wanted.output = Some(value()?),
                _ => bail!("`{word}` says nothing; {USAGE}"),
            }
        }
        if wanted.by_libfuzzer && (wanted.target.is_none() || wanted.keeps) {
            bail!("--libfuzzer takes one --target and writes into its corpus itself; {USAGE}");
        }
        Ok(wanted)
    }

    /// The words for our own driver.
    fn words(&self) -> Vec<&'a str> {
        let valued =
            [("--seconds", self.seconds), ("--target", self.target), ("--seed", self.seed)];
        let given = valued.into_iter().filter_map(|(flag, value)| Some([flag, value?])).flatten();
        given.chain(self.keeps.then_some("--keep")).collect()
    }
}

fn number<'a>(flag: &str, text: &'a str) -> Result<&'a str> {
    text.parse::<u64>().with_context(|| format!("{flag} takes a number"))?;
    Ok(text)
}

/// Builds the fuzzer and runs it; the table of a run over all targets is kept.
pub(crate) fn fuzz(root: &Path, wanted: &Wanted<'_>) -> Result<()> {
    if wanted.by_libfuzzer {
        return libfuzzer(root, wanted);
    }
    let mut command = cargo(root, &["run", "--release", "--locked"]);
    // Naming the machine keeps the counters out of build scripts and macros.
    command.args(["--manifest-path", "fuzz/Cargo.toml", "--target-dir", "target/fuzz"]);
    command.args(["--target", &host(root)?, "--"]).args(wanted.words());
    let output = command
        .env("RUSTFLAGS", COUNTERS)
        .stdout(Stdio::piped())
        .spawn()
        .and_then(std::process::Child::wait_with_output)
        .context("cannot start the fuzzer")?;
    let table = String::from_utf8(output.stdout).context("the fuzzer writes text")?;
    print!("{table}");
    if !output.status.success() {
        bail!("a target failed, or the fuzzer could not run ({})", output.status);
    }
    let kept = wanted.output.or_else(|| wanted.target.is_none().then_some(KEPT));
    let Some(file) = kept else { return Ok(()) };
    let heading = results::heading("Fuzzing", &format!("cargo xtask fuzz{}", wanted.given));
    results::write(root, file, &format!("{heading}\n{EXPLAINED}\n{table}"))?;
    eprintln!("written to {file}");
    Ok(())
}

/// Hands one target to libFuzzer, which adds what it finds to the corpus.
fn libfuzzer(root: &Path, wanted: &Wanted<'_>) -> Result<()> {
    let target = wanted.target.unwrap_or_default();
    let mut command = cargo(root, &["run", "--release", "--features", "libfuzzer"]);
    command.args(["--manifest-path", "fuzz/Cargo.toml", "--target-dir", "target/libfuzzer"]);
    command.args(["--target", &host(root)?, "--"]);
    let corpus = root.join("fuzz/corpus").join(target);
    command.arg(format!("-max_total_time={}", wanted.seconds.unwrap_or("10")));
    command.arg(format!("-seed={}", wanted.seed.unwrap_or("1")));
    command.args(["-artifact_prefix=fuzz/failures/", "-max_len=16384"]).arg(corpus);
    std::fs::create_dir_all(root.join("fuzz/failures")).context("cannot make fuzz/failures")?;
    command.env("RAVELIN_FUZZ_TARGET", target);
    run(command.env("RUSTFLAGS", format!("{COUNTERS} {LIBFUZZER}")))
}

/// The machine that we build for.
fn host(root: &Path) -> Result<String> {
    let output = cargo(root, &["--version", "--verbose"]).output().context("cannot ask cargo")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("cargo does not say for which machine it builds")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_passed_on_and_senseless_ones_refused() {
        let words = ["--seconds", "5", "--target", "block", "--keep"];
        let wanted = Wanted::parse(&words).expect("sound");
        assert_eq!(wanted.words(), words);
        assert_eq!(Wanted::parse(&[]).expect("sound").words(), [""; 0]);
        for senseless in [
            &["--seconds"][..],
            &["--seconds", "soon"],
            &["--turbo"],
            &["--libfuzzer"],
            &["--libfuzzer", "--target", "block", "--keep"],
        ] {
            let error = Wanted::parse(senseless).expect_err("refused");
            assert!(!error.to_string().is_empty());
        }
    }
}
