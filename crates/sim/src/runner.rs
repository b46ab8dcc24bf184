//! Many runs, one report; and what becomes of a seed that failed.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use ravelin_model::Digest;

use crate::checker::Violation;
use crate::options::{COMMITS_MIN, FaultClass, Mode, Options, Settings};
use crate::sim::{Outcome, Sim};

/// Runs made anew at most to make a failing one smaller.
const SHRINKS_MAX: usize = 60;

/// What many runs showed.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Runs made.
    pub seeds: u64,
    /// Runs in which a promise was broken.
    pub violations: Vec<Failure>,
    /// Digest over each run's trace, in order.
    pub traces: Vec<Digest>,
    /// Events of all runs.
    pub events: u64,
    /// Virtual time of all runs, in microseconds.
    pub virtual_us: u64,
    /// Commits of all runs.
    pub commits: u64,
    /// Answered operations of all runs.
    pub operations: u64,
    /// Troubles that came to pass.
    pub faults: BTreeMap<&'static str, u64>,
    /// What each intruder did.
    pub acts: BTreeMap<&'static str, u64>,
    /// Runs by intruder and network class, `calm` where there was none.
    pub pairs: BTreeMap<(&'static str, &'static str), u64>,
    /// Runs that came to what only an intruder leads to, by what it is.
    pub reached: BTreeMap<&'static str, u64>,
    /// Runs that do not count, with the reason.
    pub uncounted: BTreeMap<u64, String>,
    /// Suspicions of correct servers against correct ones, by kind.
    pub suspicions: BTreeMap<&'static str, u64>,
    /// Proofs held against intruders.
    pub proofs: u64,
    /// The longest wait of a client after healing, in virtual microseconds, and its seed.
    pub slowest: (u64, u64),
    /// The most blocks in a DAG, bytes in it, blocks parked, envelopes waiting.
    pub maxima: [usize; 4],
}

/// A run in which a promise was broken.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The smallest run found that breaks the same promise.
    pub options: Options,
    /// How.
    pub violation: Violation,
}

impl Failure {
    /// The text of a file under `regressions/`.
    #[must_use]
    pub fn to_file(&self) -> String {
        let mut text = String::new();
        for line in self.violation.to_string().lines() {
            let _ = writeln!(text, "# {line}");
        }
        let _ = write!(text, "{}", self.options);
        text
    }
}

/// Runs the seeds `from..from + count`, one after the other.
#[must_use]
pub fn run_seeds(from: u64, count: u64, mode: Mode, settings: Settings) -> Report {
    let mut report = Report::default();
    for seed in from..from.saturating_add(count) {
        report.append(run_seed(seed, mode, settings));
    }
    report
}

/// Runs one seed. Runs share nothing: a driver may make many at once, and append their reports in
/// the order of their seeds.
#[must_use]
pub fn run_seed(seed: u64, mode: Mode, settings: Settings) -> Report {
    let options = Options::draw(seed, mode, settings);
    let outcome = Sim::new(options.clone()).run();
    Report::of(&options, outcome)
}

/// Runs one file's worth of options again.
#[must_use]
pub fn replay(options: &Options) -> Outcome {
    Sim::new(options.clone()).run()
}

impl Report {
    /// What one run showed.
    #[must_use]
    pub fn of(options: &Options, outcome: Outcome) -> Self {
        let held = &outcome.maxima;
        let mut report = Self {
            seeds: 1,
            traces: vec![outcome.trace],
            events: outcome.events,
            virtual_us: outcome.virtual_us,
            commits: outcome.commits,
            operations: outcome.history.answered_count() as u64,
            proofs: outcome.proofs,
            slowest: (outcome.slowest_us, options.seed),
            maxima: [held.dag_blocks, held.dag_bytes, held.parked_blocks, held.waiting_envelopes],
            ..Self::default()
        };
        match why_uncounted(&outcome) {
            Some(reason) => drop(report.uncounted.insert(options.seed, reason)),
            None => report.pair(options),
        }
        report.faults = outcome.faults.into_iter().map(|(class, n)| (class.name(), n)).collect();
        report.acts = outcome.acts;
        report.reached = outcome.reached.into_iter().map(|what| (what, 1)).collect();
        report.suspicions = outcome.suspicions.of_correct;
        if let Some(violation) = outcome.violation {
            report.violations.push(Failure { options: options.clone(), violation });
        }
        report
    }

    /// Takes in what the runs after these showed.
    pub fn append(&mut self, next: Self) {
        self.seeds += next.seeds;
        self.violations.extend(next.violations);
        self.traces.extend(next.traces);
        self.events += next.events;
        self.virtual_us += next.virtual_us;
        self.commits += next.commits;
        self.operations += next.operations;
        add_up(&mut self.faults, next.faults);
        add_up(&mut self.acts, next.acts);
        add_up(&mut self.reached, next.reached);
        add_up(&mut self.pairs, next.pairs);
        add_up(&mut self.suspicions, next.suspicions);
        self.uncounted.extend(next.uncounted);
        self.proofs += next.proofs;
        self.slowest = self.slowest.max(next.slowest);
        for (most, held) in self.maxima.iter_mut().zip(next.maxima) {
            *most = (*most).max(held);
        }
    }

    /// Digest over the traces of all runs, in order.
    #[must_use]
    pub fn trace_hash(&self) -> Digest {
        crate::trace::hash_of(&self.traces)
    }

    fn pair(&mut self, options: &Options) {
        let mut classes: Vec<&'static str> = options
            .classes
            .iter()
            .filter(|class| class.is_of_network())
            .map(|class| class.name())
            .collect();
        if classes.is_empty() {
            classes.push("calm");
        }
        let mut names: Vec<&'static str> = options.intruders.values().flatten().copied().collect();
        if names.is_empty() {
            names.push("nobody");
        }
        for name in names {
            for class in &classes {
                *self.pairs.entry((name, class)).or_default() += 1;
            }
        }
    }
}

pub(crate) fn add_up<K: Ord>(sums: &mut BTreeMap<K, u64>, counts: BTreeMap<K, u64>) {
    for (of_what, count) in counts {
        *sums.entry(of_what).or_default() += count;
    }
}

/// Why a run proves too little to be counted.
fn why_uncounted(outcome: &Outcome) -> Option<String> {
    if outcome.commits < COMMITS_MIN {
        let seconds = outcome.virtual_us / 1_000_000;
        return Some(format!("{} commits in {seconds} s", outcome.commits));
    }
    let idle: Vec<&str> =
        outcome.acts.iter().filter(|(_, count)| **count == 0).map(|(name, _)| *name).collect();
    (!idle.is_empty()).then(|| format!("{} did nothing", idle.join(" and ")))
}

/// Takes away from a failing run what it does not need to fail in the same way: kinds of trouble,
/// then clients, then intruders.
#[must_use]
pub fn shrink(failure: &Failure) -> Failure {
    let mut best = failure.clone();
    let mut left = SHRINKS_MAX;
    loop {
        let smaller = candidates(&best.options).into_iter().find_map(|options| {
            left = left.checked_sub(1)?;
            let violation = replay(&options).violation?;
            (violation.kind == best.violation.kind).then_some(Failure { options, violation })
        });
        match smaller {
            Some(smaller) => best = smaller,
            None => return best,
        }
    }
}

/// Runs that are one step smaller.
fn candidates(options: &Options) -> Vec<Options> {
    let without = |change: &dyn Fn(&mut Options)| {
        let mut smaller = options.clone();
        change(&mut smaller);
        smaller
    };
    let mut candidates: Vec<Options> = options
        .classes
        .iter()
        .map(|class| {
            without(&|smaller| {
                smaller.classes.remove(class);
                if *class == FaultClass::Wipe {
                    smaller.wiped = None;
                }
            })
        })
        .collect();
    if options.clients > 1 {
        candidates.push(without(&|smaller| smaller.clients -= 1));
    }
    for (who, names) in &options.intruders {
        candidates.push(without(&|smaller| drop(smaller.intruders.remove(who))));
        for name in names.iter().filter(|_| names.len() > 1) {
            candidates.push(without(&|smaller| {
                smaller.intruders.entry(*who).or_default().retain(|other| other != name);
            }));
        }
    }
    candidates
}
