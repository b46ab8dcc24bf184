//! What became of each step, and of all together.

use std::time::Duration;

use serde::Serialize;

use crate::drill::Outcome;
use crate::machine::soak::Slope;

/// The name of the last step.
pub(super) const ALL_KILLED: &str = "kill-all";

/// The name of a loss of power everywhere.
pub(super) const POWER_LOST: &str = "power-loss";

/// What is enforced beside answers, writes and coming back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Promises {
    /// The longest silence towards all clients; `None`: told, not judged, as where other work shares
    /// the machine.
    pub(super) gap_max: Option<Duration>,
}

/// One step, played.
#[derive(Debug, Serialize)]
pub(super) struct Played {
    pub(super) name: &'static str,
    /// `None`: all.
    pub(super) server: Option<u16>,
    pub(super) what: String,
    pub(super) outcome: Outcome,
    /// The promises that were broken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) why: Option<String>,
    /// What made an exposed server stay out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) exposed_by: Option<String>,
    /// The longest time without an answer to any client.
    pub(super) longest_gap_ms: u64,
    /// The longest that one answer took.
    pub(super) slowest_ms: u64,
    /// How long the server took to serve and to catch up, after it could.
    pub(super) back_ms: Option<u64>,
    /// Whether others still hold against the server what an intruder did.
    pub(super) is_suspected: bool,
    /// Answers that were judged.
    pub(super) operations: usize,
    pub(super) unanswered: u64,
    /// Times that clients caught the server lying.
    pub(super) lies: usize,
    pub(super) wrong: usize,
    pub(super) lost: usize,
}

impl Played {
    /// A step that nothing is known of yet.
    pub(super) fn new(name: &'static str, what: String) -> Self {
        Self {
            name,
            server: None,
            what,
            outcome: Outcome::Recovered,
            why: None,
            exposed_by: None,
            longest_gap_ms: 0,
            slowest_ms: 0,
            back_ms: None,
            is_suspected: false,
            operations: 0,
            unanswered: 0,
            lies: 0,
            wrong: 0,
            lost: 0,
        }
    }

    /// Both one after the other, as one.
    pub(super) fn and(self, next: Self) -> Self {
        let failed = [&self, &next].into_iter().find(|it| it.outcome == Outcome::Failed);
        Self {
            outcome: failed.map_or(self.outcome, |it| it.outcome),
            why: self.why.or(next.why),
            longest_gap_ms: self.longest_gap_ms.max(next.longest_gap_ms),
            slowest_ms: self.slowest_ms.max(next.slowest_ms),
            operations: self.operations + next.operations,
            unanswered: self.unanswered + next.unanswered,
            lies: self.lies + next.lies,
            wrong: self.wrong + next.wrong,
            lost: self.lost + next.lost,
            ..self
        }
    }

    pub(super) fn in_words(&self) -> String {
        let mut words = format!(
            "{}: {} answers judged, longest gap {} ms, slowest answer {} ms",
            self.outcome.word(),
            self.operations,
            self.longest_gap_ms,
            self.slowest_ms
        );
        if let Some(back_ms) = self.back_ms {
            words.push_str(&format!(", back after {back_ms} ms"));
            words.push_str(if self.is_suspected { " and suspected" } else { "" });
        }
        if self.lies > 0 {
            words.push_str(&format!(", {} lies refused", self.lies));
        }
        for reason in self.exposed_by.iter().chain(&self.why) {
            words.push_str(&format!("; {reason}"));
        }
        words
    }
}

/// All steps together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Totals {
    pub(super) operations: usize,
    pub(super) unanswered: u64,
    pub(super) wrong: usize,
    pub(super) lost: usize,
    /// Steps that broke a promise.
    pub(super) failed: usize,
    /// Steps after which the server stays out: its key is spent.
    pub(super) exposed: usize,
    /// The longest of the steps that leave a quorum standing.
    pub(super) longest_gap_ms: u64,
}

impl Totals {
    pub(super) fn of(played: &[Played]) -> Self {
        let mut totals = Self::default();
        for step in played {
            totals.operations += step.operations;
            totals.unanswered += step.unanswered;
            totals.wrong += step.wrong;
            totals.lost += step.lost;
            totals.failed += usize::from(step.outcome == Outcome::Failed);
            totals.exposed += usize::from(step.outcome == Outcome::Exposed);
            if step.name != ALL_KILLED {
                totals.longest_gap_ms = totals.longest_gap_ms.max(step.longest_gap_ms);
            }
        }
        totals
    }

    pub(super) fn in_words(&self) -> String {
        format!(
            "{} operations checked, {} wrong answers, {} lost writes, {} unanswered, longest gap {} \
             ms; {} broke a promise, {} with spent keys.",
            self.operations,
            self.wrong,
            self.lost,
            self.unanswered,
            self.longest_gap_ms,
            counted(self.failed, "step", "steps"),
            counted(self.exposed, "server stays out", "servers stay out")
        )
    }
}

/// The end of a campaign.
#[derive(Debug, Serialize)]
pub(super) struct Verdict<'a> {
    pub(super) fault_model: &'static str,
    pub(super) servers: u16,
    pub(super) seed: u64,
    pub(super) seconds: u64,
    pub(super) clusters: usize,
    /// The limit that gaps were judged by, if they were.
    pub(super) gap_max_ms: Option<u64>,
    #[serde(flatten)]
    pub(super) totals: Totals,
    /// What could not be played here.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub(super) skipped: &'a [Skipped],
    /// How what servers hold grew, in a soak.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub(super) slopes: &'a [Slope],
    pub(super) attacks: &'a [Played],
}

/// What could not be played on this machine.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Skipped {
    pub(super) name: &'static str,
    /// What is missing for it.
    pub(super) why: String,
}

/// A line for scripts.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum Line<'a> {
    Started {
        seed: u64,
        servers: u16,
        /// `None`: as many as the time allows.
        #[serde(skip_serializing_if = "Option::is_none")]
        steps: Option<usize>,
    },
    Skipped(&'a Skipped),
    Slope(&'a Slope),
    AttackBegun {
        at_ms: u64,
        name: &'a str,
        what: &'a str,
    },
    AttackOver {
        at_ms: u64,
        #[serde(flatten)]
        attack: &'a Played,
    },
    FreshCluster {
        clusters: usize,
    },
    Verdict(&'a Verdict<'a>),
}

impl Line<'_> {
    pub(super) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("lines have plain fields")
    }
}

pub(super) fn milliseconds(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// So many of something.
fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_count_every_step_but_the_downtime_of_all() {
        let step = |outcome, longest_gap_ms| Played {
            outcome,
            longest_gap_ms,
            operations: 10,
            unanswered: 1,
            wrong: 2,
            lost: 3,
            ..Played::new("kill", String::new())
        };
        let all = Played { longest_gap_ms: 9000, ..Played::new(ALL_KILLED, String::new()) };
        let steps =
            [step(Outcome::Failed, 700), step(Outcome::Exposed, 90), step(Outcome::Masked, 5), all];
        let totals = Totals {
            operations: 30,
            unanswered: 3,
            wrong: 6,
            lost: 9,
            failed: 1,
            exposed: 1,
            longest_gap_ms: 700,
        };
        assert_eq!(Totals::of(&steps), totals);
    }

    #[test]
    fn the_last_line_is_what_scripts_rely_on() {
        let attacks = [Played { server: Some(2), ..Played::new("mute", "owned".into()) }];
        let verdict = Verdict {
            fault_model: "arbitrary",
            servers: 4,
            seed: 7,
            seconds: 60,
            clusters: 1,
            gap_max_ms: None,
            totals: Totals::of(&attacks),
            skipped: &[],
            slopes: &[],
            attacks: &attacks,
        };
        assert_eq!(
            Line::Verdict(&verdict).to_json(),
            "{\"event\":\"verdict\",\"fault_model\":\"arbitrary\",\"servers\":4,\"seed\":7,\
             \"seconds\":60,\"clusters\":1,\"gap_max_ms\":null,\"operations\":0,\"unanswered\":0,\
             \"wrong\":0,\"lost\":0,\"failed\":0,\"exposed\":0,\"longest_gap_ms\":0,\"attacks\":\
             [{\"name\":\"mute\",\"server\":2,\"what\":\"owned\",\"outcome\":\"recovered\",\
             \"longest_gap_ms\":0,\"slowest_ms\":0,\"back_ms\":null,\"is_suspected\":false,\"operations\":0,\
             \"unanswered\":0,\"lies\":0,\"wrong\":0,\"lost\":0}]}"
        );
    }
}
