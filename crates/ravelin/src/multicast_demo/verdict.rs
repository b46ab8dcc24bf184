//! What is said of each run, and of all: Validity, Agreement and Integrity, as the simulator judges
//! them.

use std::collections::BTreeSet;
use std::fmt;

use ravelin_model::ttcb::Entity;
use ravelin_sim::brm::checker::Checker;
use serde::Serialize;

use crate::exit::{Error, Exit, Result};

use super::party::{Note, What};
use super::plan::Plan;
use super::timeline::{Timelines, lines, process};
use super::{COUNT, INTRUDERS, OD};

/// One run.
#[derive(Serialize)]
pub(super) struct Row {
    event: &'static str,
    name: String,
    sender: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    malicious: Vec<Malicious>,
    correct: usize,
    delivered: usize,
    /// The sender's proposal came too late to be counted: nothing had to be delivered.
    undecided: bool,
    /// Nobody correct delivered, though the sender was correct, whatever the reason.
    undelivered: bool,
    #[serde(flatten)]
    promises: Promises,
    timelines: Vec<Timeline>,
    #[serde(skip)]
    text: String,
}

/// A process that did as it liked.
#[derive(Serialize)]
struct Malicious {
    process: String,
    does: &'static str,
}

#[derive(Serialize)]
struct Timeline {
    process: String,
    events: Vec<Happened>,
}

#[derive(Serialize)]
struct Happened {
    at_ms: f64,
    what: String,
}

/// Which promises were kept.
#[derive(Clone, Serialize)]
struct Promises {
    validity: bool,
    agreement: bool,
    integrity: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    violations: Vec<String>,
}

impl Row {
    /// Judges a run that is over.
    pub(super) fn new(plan: &Plan, entities: &[Entity], notes: &[Vec<Note>]) -> Self {
        let checker = checker(plan, entities, notes);
        let correct = checker.correct(OD);
        let has_delivered = |(entity, notes): &(&Entity, &Vec<Note>)| {
            let delivers = |note: &Note| matches!(note.what, What::Delivers(_));
            correct.contains(entity) && notes.iter().any(delivers)
        };
        let timelines = notes.iter().enumerate().map(|(number, notes)| Timeline {
            process: process(number),
            events: lines(notes)
                .into_iter()
                .map(|line| Happened { at_ms: line.at_ms, what: line.what })
                .collect(),
        });
        let malicious = plan.intruders.iter().map(|(number, intrusion)| Malicious {
            process: process(*number),
            does: intrusion.name(),
        });
        let delivered = entities.iter().zip(notes).filter(has_delivered).count();
        let sender = entities.get(plan.sender);
        Self {
            event: "run",
            name: plan.name(),
            sender: process(plan.sender),
            malicious: malicious.collect(),
            correct: correct.len(),
            delivered,
            undecided: is_undecided(notes),
            undelivered: delivered == 0 && sender.is_some_and(|it| correct.contains(it)),
            promises: Promises::of(&checker),
            timelines: timelines.collect(),
            text: if plan.number == 0 { Timelines(notes).to_string() } else { String::new() },
        }
    }
}

fn is_undecided(notes: &[Vec<Note>]) -> bool {
    notes.iter().flatten().any(|note| matches!(note.what, What::Ends | What::Refused(_)))
}

/// What honest processes did, as the simulator's checker is told it.
fn checker(plan: &Plan, entities: &[Entity], notes: &[Vec<Note>]) -> Checker {
    let is_honest = |number: usize| plan.intrusion(number).is_none();
    let numbered = || entities.iter().copied().enumerate();
    let honest: BTreeSet<Entity> =
        numbered().filter(|(number, _)| is_honest(*number)).map(|(_, it)| it).collect();
    let mut checker = Checker::new(honest.clone());
    let by_honest = entities.iter().zip(notes).filter(|(it, _)| honest.contains(it));
    for (own, notes) in by_honest {
        for note in notes {
            match &note.what {
                What::Multicasts(message) => {
                    let is_timely = !notes.iter().any(|note| matches!(note.what, What::Ends));
                    checker.on_multicast(message.clone(), is_timely);
                }
                What::Sends { to, message, .. } => {
                    if let Some(to) = entities.get(*to).filter(|it| honest.contains(it)) {
                        checker.on_sent(*own, *to, &message.header);
                    }
                }
                What::Receives { from, is_sound: true, message, .. } => {
                    if let Some(from) = entities.get(*from).filter(|it| honest.contains(it)) {
                        checker.on_arrived(*from, *own, &message.header);
                    }
                }
                What::Delivers(message) => checker.on_delivered(*own, message.clone()),
                What::IsUntold => checker.on_untold(*own),
                What::Halts(_) => checker.on_stopped(*own),
                _ => {}
            }
        }
    }
    checker
}

impl Promises {
    const KEPT: Self =
        Self { validity: true, agreement: true, integrity: true, violations: vec![] };

    fn of(checker: &Checker) -> Self {
        let mut promises = Self::KEPT;
        for (name, judged) in checker.judged(OD) {
            let Err(violation) = judged else { continue };
            promises.violations.push(format!("{name}: {}", violation.what));
            match name {
                "validity" => promises.validity = false,
                "agreement" => promises.agreement = false,
                _ => promises.integrity = false,
            }
        }
        promises
    }

    fn add(&mut self, other: &Self) {
        self.validity &= other.validity;
        self.agreement &= other.agreement;
        self.integrity &= other.integrity;
        self.violations.extend(other.violations.iter().cloned());
    }
}

impl fmt::Display for Promises {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |is_kept| if is_kept { "kept" } else { "BROKEN" };
        let Self { validity, agreement, integrity, violations } = self;
        let (validity, agreement) = (word(*validity), word(*agreement));
        write!(f, "Validity {validity}, Agreement {agreement}, Integrity {}", word(*integrity))?;
        violations.iter().try_for_each(|violation| write!(f, "\n  {violation}"))
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, sender, correct, delivered, promises, .. } = self;
        write!(f, "{name}: {sender} multicasts")?;
        for Malicious { process, does } in &self.malicious {
            write!(f, ", {process} is malicious ({does})")?;
        }
        if self.undecided {
            write!(f, ", too late for its tstart")?;
        }
        write!(f, "\n{}  {delivered} of {correct} correct delivered; {promises}", self.text)
    }
}

/// Runs with the same number of malicious processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Tally {
    pub(super) runs: u32,
    pub(super) correct: usize,
    pub(super) delivered: usize,
    pub(super) undecided: u32,
    pub(super) undelivered: u32,
    /// Runs in which it did not hold, each.
    pub(super) broken_validity: u32,
    pub(super) broken_agreement: u32,
    pub(super) broken_integrity: u32,
}

impl Tally {
    fn add(&mut self, row: &Row) {
        let Promises { validity, agreement, integrity, .. } = row.promises;
        self.runs += 1;
        self.correct += row.correct;
        self.delivered += row.delivered;
        self.undecided += u32::from(row.undecided);
        self.undelivered += u32::from(row.undelivered);
        self.broken_validity += u32::from(!validity);
        self.broken_agreement += u32::from(!agreement);
        self.broken_integrity += u32::from(!integrity);
    }
}

/// All runs.
#[derive(Serialize)]
pub(super) struct Verdict {
    event: &'static str,
    wormholes: usize,
    /// Of figure 10, as what was delivered there.
    correct: usize,
    delivered: usize,
    od: u16,
    runs: usize,
    malicious_runs: usize,
    undecided_runs: usize,
    /// Runs in which nobody correct delivered, though the sender was correct.
    undelivered_runs: usize,
    /// By the number of malicious processes, from none on.
    by_malicious: [Tally; INTRUDERS + 1],
    /// Correct processes, and those of them that delivered, over all runs.
    correct_total: usize,
    delivered_total: usize,
    #[serde(flatten)]
    promises: Promises,
    private_control_network: bool,
    seed: u64,
}

impl Verdict {
    /// Before the first run.
    pub(super) fn new(private_control_network: bool, seed: u64) -> Self {
        Self {
            event: "verdict",
            wormholes: COUNT,
            correct: 0,
            delivered: 0,
            od: OD,
            runs: 0,
            malicious_runs: 0,
            undecided_runs: 0,
            undelivered_runs: 0,
            by_malicious: [Tally::default(); INTRUDERS + 1],
            correct_total: 0,
            delivered_total: 0,
            promises: Promises::KEPT,
            private_control_network,
            seed,
        }
    }

    /// Counts a run; the first is the figure's.
    pub(super) fn add(&mut self, row: &Row) {
        if self.runs == 0 {
            (self.correct, self.delivered) = (row.correct, row.delivered);
        }
        self.runs += 1;
        self.malicious_runs += usize::from(!row.malicious.is_empty());
        self.undecided_runs += usize::from(row.undecided);
        self.undelivered_runs += usize::from(row.undelivered);
        if let Some(tally) = self.by_malicious.get_mut(row.malicious.len()) {
            tally.add(row);
        }
        self.correct_total += row.correct;
        self.delivered_total += row.delivered;
        self.promises.add(&row.promises);
    }

    /// What came of the runs with each number of malicious processes, from none on.
    pub(super) fn tallies(&self) -> &[Tally] {
        &self.by_malicious
    }

    /// Whether the wormholes had a network of their own.
    pub(super) fn is_private(&self) -> bool {
        self.private_control_network
    }

    /// Whether everything is as promised.
    pub(super) fn outcome(&self) -> Result<()> {
        if let Some(violation) = self.promises.violations.first() {
            let hint = "that must not be: keep the timelines (`-v`) and report it";
            let cause = format!("a promise was broken: {violation}");
            return Err(Error::new(Exit::VerificationFailed, cause, hint));
        }
        if self.delivered < COUNT {
            let cause = format!("{} of {COUNT} processes delivered in figure 10", self.delivered);
            let hint = "the machine was too busy for its timing; run it again";
            return Err(Error::new(Exit::Failed, cause, hint));
        }
        if self.undelivered_runs > 0 {
            let runs = self.undelivered_runs;
            let cause = format!("nobody delivered in {runs} runs whose sender was correct");
            let hint =
                "the machine was too busy for a proposal to arrive by its tstart; run it again";
            return Err(Error::new(Exit::Failed, cause, hint));
        }
        Ok(())
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { runs, malicious_runs, undecided_runs, promises, .. } = self;
        let (delivered, correct) = (self.delivered_total, self.correct_total);
        writeln!(f)?;
        writeln!(f, "{runs} runs, {malicious_runs} of them with malicious processes")?;
        if *undecided_runs > 0 {
            writeln!(f, "{undecided_runs} too late for their tstart: nothing could be delivered")?;
        }
        if self.undelivered_runs > 0 {
            writeln!(f, "{} undelivered though the sender was correct", self.undelivered_runs)?;
        }
        write!(f, "{delivered} deliveries at {correct} correct processes\n{promises}")
    }
}

#[cfg(test)]
mod tests;
