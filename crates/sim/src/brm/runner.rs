//! Many runs, one report.

use std::collections::BTreeMap;

use ravelin_model::Digest;

use super::options::{Options, Settings};
use super::world::{Outcome, World};
use crate::checker::Violation;
use crate::runner::add_up;

/// What many runs showed.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Runs made.
    pub seeds: u64,
    /// Runs in which a promise was broken, and how.
    pub violations: Vec<(Options, Violation)>,
    /// Digest over each run's trace, in order.
    pub traces: Vec<Digest>,
    /// Events of all runs.
    pub events: u64,
    /// Virtual time of all runs, in microseconds.
    pub virtual_us: u64,
    /// Deliveries at honest processes.
    pub deliveries: u64,
    /// Multicasts of correct processes that had to be delivered.
    pub demanded: u64,
    /// Multicasts that wormholes refused.
    pub refused: u64,
    /// Runs in which nobody honest delivered anything.
    pub silent: u64,
    /// Troubles that came to pass.
    pub faults: BTreeMap<&'static str, u64>,
    /// What each kind of intruder did.
    pub acts: BTreeMap<&'static str, u64>,
    /// Runs by protocol and engine, and by how many of how many were intruded.
    pub groups: BTreeMap<(String, u16, usize), u64>,
}

/// Runs the seeds `from..from + count`, one after the other.
#[must_use]
pub fn run_seeds(from: u64, count: u64, settings: Settings) -> Report {
    let mut report = Report::default();
    for seed in from..from.saturating_add(count) {
        report.append(run_seed(seed, settings));
    }
    report
}

/// Runs one seed. Runs share nothing: a driver may make many at once, and append their reports in
/// the order of their seeds.
#[must_use]
pub fn run_seed(seed: u64, settings: Settings) -> Report {
    let options = Options::draw(seed, settings);
    let outcome = World::new(options.clone()).run();
    Report::of(options, outcome)
}

impl Report {
    /// What one run showed.
    #[must_use]
    pub fn of(options: Options, outcome: Outcome) -> Self {
        let protocol = format!("BRM-{:?} {:?}", options.variant, options.engine);
        let group = (protocol, options.n, options.intruders.len());
        let violations = outcome.violation.map(|violation| (options, violation));
        Self {
            seeds: 1,
            violations: violations.into_iter().collect(),
            traces: vec![outcome.trace],
            events: outcome.events,
            virtual_us: outcome.virtual_us,
            deliveries: outcome.deliveries,
            demanded: outcome.demanded,
            refused: outcome.refused,
            silent: u64::from(outcome.deliveries == 0),
            faults: outcome.faults.into_iter().map(|(class, n)| (class.name(), n)).collect(),
            acts: outcome.acts,
            groups: [(group, 1)].into(),
        }
    }

    /// Takes in what the runs after these showed.
    pub fn append(&mut self, next: Self) {
        self.seeds += next.seeds;
        self.violations.extend(next.violations);
        self.traces.extend(next.traces);
        self.events += next.events;
        self.virtual_us += next.virtual_us;
        self.deliveries += next.deliveries;
        self.demanded += next.demanded;
        self.refused += next.refused;
        self.silent += next.silent;
        add_up(&mut self.faults, next.faults);
        add_up(&mut self.acts, next.acts);
        add_up(&mut self.groups, next.groups);
    }

    /// Digest over the traces of all runs, in order.
    #[must_use]
    pub fn trace_hash(&self) -> Digest {
        crate::trace::hash_of(&self.traces)
    }
}
