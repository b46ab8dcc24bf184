//! `cargo xtask mutants`: every planted bug against the tests that must find it.
//!
//! One build with `--cfg ravelin_mutants`, in a target directory of its own; then each test runs once
//! without a planted bug, where it must pass, and once with each bug that it must find, where it must
//! fail; and the simulator runs seeds until one breaks a promise. The list is
//! `crates/sim/src/mutants.rs`; the simulator's example `mutants` tells it.
//!
//! Of the commit rule alone, it begins with all models, nothing planted: CI builds them only once.

mod build;
mod table;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, bail};

use build::{Build, Test};

use crate::results;

/// Where the kill table is kept.
const KEPT: &str = "docs/results/mutants.md";
/// The seeds from which the simulator sets out; the median of what it needs is published.
const STARTS: [u64; 5] = [0, 10_000, 20_000, 30_000, 40_000];
/// Seeds after which a bug counts as not found by seeds, unless others are asked for.
const SEEDS_MAX: u64 = 100;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted<'a> {
    /// Only the bugs of the commit rule, only by models and views, without a file.
    is_core: bool,
    /// Seeds to try from each starting point.
    seeds: u64,
    /// Where to write the table.
    output: &'a str,
    /// The words as they were given.
    given: String,
}

impl<'a> Wanted<'a> {
    /// Reads what follows `cargo xtask mutants`.
    ///
    /// # Errors
    /// When a word says nothing.
    pub(crate) fn parse(words: &[&'a str]) -> Result<Self> {
        let given = words.iter().map(|word| format!(" {word}")).collect();
        let mut wanted = Self { is_core: false, seeds: SEEDS_MAX, output: KEPT, given };
        let mut rest = words;
        loop {
            rest = match rest {
                [] => return Ok(wanted),
                ["--core", rest @ ..] => {
                    wanted.is_core = true;
                    rest
                }
                ["--seeds", seeds, rest @ ..] => {
                    wanted.seeds = seeds.parse().context("--seeds takes a number")?;
                    rest
                }
                ["--output", file, rest @ ..] => {
                    wanted.output = file;
                    rest
                }
                _ => bail!("`mutants` takes --core, --seeds N and --output FILE"),
            };
        }
    }
}

/// A planted bug, as the build lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Planted {
    name: String,
    is_core: bool,
    breaks: String,
    scenarios: String,
    tests: Vec<Test>,
}

/// How a test ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Failed,
    Passed,
    /// It is marked `#[ignore]`.
    SetAside,
}

/// How a hunt from one seed ended.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Hunt {
    Killed { seeds: u64, by: String },
    Survived { seeds: u64 },
}

/// What became of one planted bug.
#[derive(Clone, Debug)]
struct Row {
    planted: Planted,
    verdicts: Vec<Verdict>,
    hunts: Vec<Hunt>,
}

/// Builds, runs everything wanted and prints the kill table.
///
/// # Errors
/// When a planted bug survives a test that must find it, or a test fails without any.
pub(crate) fn mutants(root: &Path, wanted: &Wanted) -> Result<()> {
    let listed = build::list(root)?;
    let mut planted = parse_list(&listed)?;
    if wanted.is_core {
        planted.retain(|planted| planted.is_core);
        for one in &mut planted {
            one.tests.retain(|test| test.is_model() || test.file.ends_with("/views.rs"));
        }
    }
    let tests: Vec<&Test> = planted.iter().flat_map(|one| &one.tests).collect();
    let build = build::tests(root, &tests)?;
    if wanted.is_core {
        build::models(root)?; // the views run in the ordinary tests
    } else {
        build::hunter(root)?;
        pass_without(&build, tests)?;
    }
    let rows = rows(root, &build, &planted, wanted)?;
    println!("{}", table::table(rows.iter()));
    let survivors: Vec<String> = rows.iter().filter_map(Row::survived).collect();
    if survivors.is_empty() {
        return Ok(());
    }
    bail!("planted bugs survive, so their tests prove nothing:\n  {}", survivors.join("\n  "))
}

/// The lines of the build's list.
fn parse_list(text: &str) -> Result<Vec<Planted>> {
    let parse = |line: &str| {
        let fields: Vec<&str> = line.split('\t').collect();
        let [name, kind, breaks, scenarios, tests] = fields.as_slice() else {
            bail!("`{line}` is no line of the list of planted bugs");
        };
        let tests = tests.split(' ').map(Test::parse).collect::<Result<_>>()?;
        Ok(Planted {
            name: (*name).to_owned(),
            is_core: *kind == "core",
            breaks: (*breaks).to_owned(),
            scenarios: (*scenarios).to_owned(),
            tests,
        })
    };
    text.lines().map(parse).collect()
}

/// Demands that every test passes where nothing is planted.
fn pass_without(build: &Build, mut tests: Vec<&Test>) -> Result<()> {
    tests.sort();
    tests.dedup();
    let verdicts = on_all_cores(&tests, &|test| build.run("", test))?;
    let mut failed =
        tests.iter().zip(&verdicts).filter(|(_, verdict)| **verdict == Verdict::Failed);
    match failed.next() {
        Some((test, _)) => bail!("{test} fails though nothing is planted; mend it first"),
        None => Ok(()),
    }
}

/// Runs everything wanted against each bug. The table grows row by row, so that a run which is cut
/// short leaves what it found.
fn rows(root: &Path, build: &Build, planted: &[Planted], wanted: &Wanted) -> Result<Vec<Row>> {
    let done = Mutex::new(BTreeMap::new());
    let jobs: Vec<(usize, &Planted)> = planted.iter().enumerate().collect();
    on_all_cores(&jobs, &|(place, one)| {
        let row = row(build, one, wanted)?;
        let mut done = done.lock().expect("no job panics while it holds this");
        done.insert(*place, row);
        eprintln!("{} of {}: {}", done.len(), planted.len(), one.name);
        if wanted.is_core { Ok(()) } else { keep(root, wanted, done.values(), planted.len()) }
    })?;
    Ok(done.into_inner().expect("no job panics while it holds this").into_values().collect())
}

fn row(build: &Build, planted: &Planted, wanted: &Wanted) -> Result<Row> {
    let verdicts = planted.tests.iter().map(|test| build.run(&planted.name, test));
    let starts: &[u64] = if wanted.is_core { &[] } else { &STARTS };
    let hunts = starts.iter().map(|start| hunt(build, planted, *start, wanted.seeds));
    Ok(Row {
        verdicts: verdicts.collect::<Result<_>>()?,
        hunts: hunts.collect::<Result<_>>()?,
        planted: planted.clone(),
    })
}

/// Runs seeds from `start` until one finds the bug.
fn hunt(build: &Build, planted: &Planted, start: u64, seeds: u64) -> Result<Hunt> {
    let name = &planted.name;
    let mut command = Command::new(&build.hunter);
    command.env("RAVELIN_MUTANT", name);
    command.args(["hunt", &start.to_string(), &seeds.to_string()]);
    let output = command.output().context("cannot start the simulator")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let words: Vec<&str> = text.split_whitespace().collect();
    match words.as_slice() {
        ["killed", seeds, by] => Ok(Hunt::Killed { seeds: seeds.parse()?, by: (*by).to_owned() }),
        ["survived", seeds] => Ok(Hunt::Survived { seeds: seeds.parse()? }),
        _ => bail!("the simulator said `{text}` of {name}, and ended with {}", output.status),
    }
}

/// Writes the table of what is done of so many bugs.
fn keep<'a>(
    root: &Path,
    wanted: &Wanted,
    rows: impl ExactSizeIterator<Item = &'a Row>,
    of: usize,
) -> Result<()> {
    let command = format!("cargo xtask mutants{}", wanted.given);
    let heading = results::heading("Planted bugs", &command);
    let introduction = table::INTRODUCTION;
    let count = rows.len();
    let cut = if count < of {
        format!("\n**Cut short: {count} of {of} bugs.**\n")
    } else {
        String::new()
    };
    let text = format!("{heading}\n{introduction}{cut}\n{}", table::table(rows));
    results::write(root, wanted.output, &text)
}

impl Row {
    /// What the bug survived, if it did: a test that must find it, or everything.
    fn survived(&self) -> Option<String> {
        let tried = self.planted.tests.iter().zip(&self.verdicts);
        let passed: Vec<String> = tried
            .filter(|(_, verdict)| **verdict == Verdict::Passed)
            .map(|(test, _)| test.to_string())
            .collect();
        if !passed.is_empty() {
            return Some(format!("{} survives {}", self.planted.name, passed.join(" and ")));
        }
        let is_killed = self.verdicts.contains(&Verdict::Failed)
            || self.hunts.iter().any(|hunt| matches!(hunt, Hunt::Killed { .. }));
        (!is_killed).then(|| format!("{} is found by nothing that runs", self.planted.name))
    }
}

/// Does all jobs, one a core at a time; the results are in the order of the jobs.
fn on_all_cores<J: Sync, R: Send>(
    jobs: &[J],
    work: &(dyn Fn(&J) -> Result<R> + Sync),
) -> Result<Vec<R>> {
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, Result<R>)>> = Mutex::new(Vec::new());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(job) = jobs.get(index) else { return };
                    let result = work(job);
                    done.lock().expect("no job panics while it holds this").push((index, result));
                }
            });
        }
    });
    let mut done = done.into_inner().expect("no job panics while it holds this");
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests;
