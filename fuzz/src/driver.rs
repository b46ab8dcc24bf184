//! The driver that needs no tool: seeded, knows how the formats are built, and goes by coverage where
//! the program was built with counters.

use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::coverage::Coverage;
use crate::mutation::{Dice, mutate};
use crate::target::{Target, Verdict};
use crate::trial::Trial;

/// Inputs that a run remembers of one target.
const POOL_MAX: usize = 4096;
/// Bytes of a corpus that are kept in the repository, for one target.
const CORPUS_BYTES_MAX: usize = 10 << 10;
/// Files of it.
const CORPUS_FILES_MAX: usize = 32;

/// What is wanted.
pub(crate) struct Wanted {
    seconds: f64,
    seed: u64,
    only: Option<String>,
    /// The inputs worth keeping go into the corpora.
    keeps: bool,
    corpora: PathBuf,
}

impl Wanted {
    pub(crate) fn parse(arguments: &[String]) -> Result<Self, String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let (seconds, corpora) = (10.0, root.join("corpus"));
        let mut wanted = Self { seconds, seed: 0, only: None, keeps: false, corpora };
        let mut rest = arguments.iter();
        while let Some(flag) = rest.next() {
            let mut value = || rest.next().ok_or_else(|| format!("{flag} needs a value"));
            let bad = |_| format!("{flag} needs a number");
            match flag.as_str() {
                "--seconds" => wanted.seconds = value()?.parse().map_err(|_| bad(()))?,
                "--seed" => wanted.seed = value()?.parse().map_err(|_| bad(()))?,
                "--target" => wanted.only = Some(value()?.clone()),
                "--corpus" => wanted.corpora = PathBuf::from(value()?),
                "--keep" => wanted.keeps = true,
                _ => return Err(format!("unknown argument `{flag}`")),
            }
        }
        Ok(wanted)
    }
}

/// Fuzzes each target for its time and prints a table; ends at the first failure.
pub(crate) fn fuzz(targets: &[&Target], wanted: &Wanted) -> Result<(), String> {
    let is_wanted = |target: &&&Target| wanted.only.as_ref().is_none_or(|only| only == target.name);
    let targets: Vec<_> = targets.iter().filter(is_wanted).collect();
    if targets.is_empty() {
        return Err("there is no such target".into());
    }
    println!(
        "| target | inputs run | per second | taken | edges | corpus | most memory | longest |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let mut total = 0;
    for target in targets {
        let mut run = Run::new(target, wanted)?;
        run.fuzz(wanted)?;
        total += run.count;
        println!("{}", run.row());
        eprintln!("{}: {} inputs, {} edges", target.name, run.count, run.coverage.edges());
        if wanted.keeps {
            run.keep(wanted)?;
        }
    }
    println!("\n{total} inputs, no failure.");
    Ok(())
}

/// One target's run.
struct Run<'a> {
    target: &'a Target,
    pool: Vec<Vec<u8>>,
    corpus_count: usize,
    /// What became of inputs, where there is no coverage to go by.
    fates: BTreeSet<(Verdict, u32, u8)>,
    coverage: Coverage,
    count: u64,
    taken: u64,
    held: usize,
    longest: Duration,
    took: Duration,
}

impl<'a> Run<'a> {
    fn new(target: &'a Target, wanted: &Wanted) -> Result<Self, String> {
        let mut pool = (target.seeds)();
        let directory = wanted.corpora.join(target.name);
        let mut files: Vec<_> = fs::read_dir(&directory)
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path()))
            .collect();
        files.sort();
        for file in &files {
            pool.push(fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?);
        }
        Ok(Self {
            target,
            pool,
            corpus_count: files.len(),
            fates: BTreeSet::new(),
            coverage: Coverage::new(),
            count: 0,
            taken: 0,
            held: 0,
            longest: Duration::ZERO,
            took: Duration::ZERO,
        })
    }

    fn fuzz(&mut self, wanted: &Wanted) -> Result<(), String> {
        let begun = Instant::now();
        let name = self.target.name.bytes();
        let mut dice = Dice::new(
            name.fold(wanted.seed, |seed, byte| seed.wrapping_mul(31).wrapping_add(byte.into())),
        );
        for input in self.pool.clone() {
            self.try_input(&input)?;
        }
        while begun.elapsed().as_secs_f64() < wanted.seconds {
            for _ in 0..16 {
                // Newer inputs more often: they lead on.
                let recent = self.pool.len().saturating_sub(1 + dice.below(32));
                let chosen = if dice.below(2) == 0 { recent } else { dice.below(self.pool.len()) };
                let other = dice.below(self.pool.len());
                let input = mutate(&mut dice, &self.pool[chosen], &self.pool[other]);
                if self.try_input(&input)? && self.pool.len() < POOL_MAX {
                    self.pool.push(input);
                }
            }
        }
        self.took = begun.elapsed();
        Ok(())
    }

    /// Runs one input; true if it led somewhere new.
    fn try_input(&mut self, input: &[u8]) -> Result<bool, String> {
        self.coverage.reset();
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {})); // a failure is told once, with its input
        let outcome = catch_unwind(AssertUnwindSafe(|| Trial::run(self.target, input)));
        std::panic::set_hook(hook);
        let trial = outcome
            .map_err(|panic| {
                let text = panic.downcast_ref::<String>().cloned();
                text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
                    .unwrap_or_default()
            })
            .and_then(|trial| trial.judge(self.target, input).map(|()| trial))
            .map_err(|failure| self.failed(input, &failure))?;
        self.count += 1;
        self.taken += u64::from(trial.verdict == Verdict::Taken);
        self.held = self.held.max(trial.held);
        self.longest = self.longest.max(trial.took);
        if self.coverage.is_counted() {
            return Ok(self.coverage.is_news());
        }
        let first = input.first().copied().unwrap_or_default();
        Ok(self.fates.insert((trial.verdict, input.len().checked_ilog2().unwrap_or(0), first)))
    }

    fn failed(&self, input: &[u8], failure: &str) -> String {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("failures");
        let file = directory.join(format!("{}-{:016x}", self.target.name, digest(input)));
        let written = fs::create_dir_all(&directory).and_then(|()| fs::write(&file, input));
        let place = match written {
            Ok(()) => file.display().to_string(),
            Err(error) => format!("nowhere ({error})"),
        };
        format!(
            "{} failed after {} inputs: {failure}\nthe input, of {} bytes, is in {place}",
            self.target.name,
            self.count,
            input.len()
        )
    }

    fn row(&self) -> String {
        let edges = match self.coverage.is_counted() {
            true => self.coverage.edges().to_string(),
            false => "not counted".to_owned(),
        };
        format!(
            "| {} | {} | {:.0} | {:.1} % | {edges} | {} | {} KiB | {:.1} ms |",
            self.target.name,
            self.count,
            self.count as f64 / self.took.as_secs_f64().max(0.001),
            100.0 * self.taken as f64 / self.count.max(1) as f64,
            self.corpus_count,
            self.held.div_ceil(1024),
            self.longest.as_secs_f64() * 1000.0
        )
    }

    /// Writes the corpus anew: the shortest inputs that together cover what the run covered, as far
    /// as they fit, and always some of either fate.
    fn keep(&self, wanted: &Wanted) -> Result<(), String> {
        let mut inputs = self.pool.clone();
        inputs.sort_by_key(|input| (input.len(), digest(input)));
        inputs.dedup();
        let mut again = Run { pool: vec![], ..Run::new(self.target, wanted)? };
        again.count = 0;
        let mut kept: Vec<(Vec<u8>, Verdict)> = Vec::new();
        let mut bytes = 0;
        for input in inputs {
            let verdict = (self.target.run)(&input);
            let is_first = kept.iter().all(|(_, other)| *other != verdict);
            let fits = bytes + input.len() <= CORPUS_BYTES_MAX && kept.len() < CORPUS_FILES_MAX;
            if (again.try_input(&input)? && fits) || is_first {
                bytes += input.len();
                kept.push((input, verdict));
            }
        }
        let directory = wanted.corpora.join(self.target.name);
        let io = |error: std::io::Error| format!("{}: {error}", directory.display());
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory).map_err(io)?;
        for (input, _) in kept {
            fs::write(directory.join(format!("{:016x}", digest(&input))), input).map_err(io)?;
        }
        Ok(())
    }
}

/// A name for an input (FNV-1a).
fn digest(input: &[u8]) -> u64 {
    input.iter().fold(0xcbf2_9ce4_8422_2325, |digest, byte| {
        (digest ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
