//! What is wanted of a figure, what was measured, and how both are told.

use std::fmt;

use serde::Serialize;

use super::super::figures::middle;
use super::yardsticks::Yardsticks;
use crate::exit::Error;

/// What a figure must be at least, or may be at most.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Bound {
    fn is_kept_by(self, figure: f64) -> bool {
        match self {
            Self::AtLeast(least) => figure >= least,
            Self::AtMost(most) => figure <= most,
        }
    }
}

/// What a figure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Unit {
    /// A ratio.
    Times,
    OperationsPerSecond,
    /// Microseconds of CPU.
    Microseconds,
    Milliseconds,
    Seconds,
    Mebibytes,
    PercentOfACore,
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Self::Times => "",
            Self::OperationsPerSecond => " operations/s",
            Self::Microseconds => " us",
            Self::Milliseconds => " ms",
            Self::Seconds => " s",
            Self::Mebibytes => " MiB",
            Self::PercentOfACore => " % of a core",
        }
    }

    /// A figure with as many digits as say something.
    fn show(self, figure: f64) -> String {
        let digits = if figure.abs() >= 100.0 { 0 } else { 2 };
        format!("{figure:.digits$}{}", self.name())
    }
}

/// One figure, of several runs, and what it must be.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Criterion {
    figure: String,
    unit: Unit,
    wanted: Bound,
    /// The median of the runs, and the extremes.
    measured: f64,
    least: f64,
    most: f64,
    held: bool,
}

impl Criterion {
    /// What several runs showed; without any it is not held.
    pub(super) fn of(
        figure: impl Into<String>,
        unit: Unit,
        wanted: Bound,
        runs: impl IntoIterator<Item = f64>,
    ) -> Self {
        let mut runs: Vec<f64> = runs.into_iter().collect();
        runs.sort_by(f64::total_cmp);
        let measured = middle(&runs);
        Self {
            figure: figure.into(),
            unit,
            wanted,
            measured,
            least: runs.first().copied().unwrap_or_default(),
            most: runs.last().copied().unwrap_or_default(),
            held: !runs.is_empty() && wanted.is_kept_by(measured),
        }
    }

    fn wanted(&self) -> String {
        match self.wanted {
            Bound::AtLeast(least) => format!(">= {}", self.unit.show(least)),
            Bound::AtMost(most) => format!("<= {}", self.unit.show(most)),
        }
    }

    fn measured(&self) -> String {
        let (least, most) = (self.unit.show(self.least), self.unit.show(self.most));
        let spread =
            if self.least < self.most { format!(" ({least} to {most})") } else { String::new() };
        format!("{}{spread}", self.unit.show(self.measured))
    }

    /// An absolute time in terms of what this machine does: its like in syncs, or in signatures verified.
    fn in_terms_of(&self, yardsticks: &Yardsticks) -> String {
        match self.unit {
            Unit::Milliseconds => format!("{:.1} syncs", self.measured / yardsticks.sync_ms),
            Unit::Microseconds => {
                format!("{:.1} verifications", self.measured / yardsticks.verification_us)
            }
            _ => String::new(),
        }
    }

    fn verdict(&self) -> &'static str {
        if self.held { "held" } else { "MISSED" }
    }
}

/// What is wanted of one load, or why it was not measured.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Row {
    what: String,
    criteria: Vec<Criterion>,
    not_measured: Option<String>,
}

impl Row {
    pub(super) fn of(what: impl Into<String>, criteria: Vec<Criterion>) -> Self {
        Self { what: what.into(), criteria, not_measured: None }
    }

    /// A load that cannot be measured here: why, and what would help.
    pub(super) fn not_measured(what: &str, why: &Error) -> Self {
        let why = format!("{}; {}", why.message(), why.advice());
        Self { what: what.to_owned(), criteria: Vec::new(), not_measured: Some(why) }
    }
}

/// All that is wanted, and what scripts read.
#[derive(Debug, Serialize)]
pub(super) struct Table {
    /// Runs of each load; what takes long is measured once.
    pub(super) rounds: usize,
    pub(super) seconds: u64,
    pub(super) yardsticks: Yardsticks,
    pub(super) rows: Vec<Row>,
    /// Figures that are not what is wanted.
    pub(super) missed: usize,
    pub(super) not_measured: usize,
}

impl Table {
    pub(super) fn of(rounds: usize, seconds: u64, yardsticks: Yardsticks, rows: Vec<Row>) -> Self {
        let criteria = rows.iter().flat_map(|row| &row.criteria);
        let missed = criteria.filter(|one| !one.held).count();
        let not_measured = rows.iter().filter(|row| row.not_measured.is_some()).count();
        Self { rounds, seconds, yardsticks, rows, missed, not_measured }
    }

    /// The rows as a table of Markdown.
    pub(super) fn markdown(&self) -> String {
        let mut table = "| what | figure | wanted | measured (least to most) | that is | |\n\
                         |---|---|---|---|---|---|\n"
            .to_owned();
        for row in &self.rows {
            if let Some(why) = &row.not_measured {
                table.push_str(&format!("| {} | | | not measured: {why} | | |\n", row.what));
            }
            for one in &row.criteria {
                table.push_str(&format!(
                    "| {} | {} | {} | {} | {} | {} |\n",
                    row.what,
                    one.figure,
                    one.wanted(),
                    one.measured(),
                    one.in_terms_of(&self.yardsticks),
                    if one.held { "held" } else { "**missed**" },
                ));
            }
        }
        table
    }

    /// How it was measured, in a sentence.
    pub(super) fn heading(&self) -> String {
        format!(
            "medians of {} runs of {} s in turn; {}",
            self.rounds, self.seconds, self.yardsticks
        )
    }
}

impl fmt::Display for Row {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.what)?;
        if let Some(why) = &self.not_measured {
            return write!(out, "\n   not measured: {why}");
        }
        for one in &self.criteria {
            let (figure, wanted) = (&one.figure, one.wanted());
            write!(out, "\n{:>9}  {figure:<38} {wanted:>22}  {}", one.verdict(), one.measured())?;
        }
        Ok(())
    }
}

impl fmt::Display for Table {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{}", self.heading())?;
        for row in &self.rows {
            writeln!(out, "{row}")?;
        }
        let figures: usize = self.rows.iter().map(|row| row.criteria.len()).sum();
        write!(out, "{} of {figures} figures are what is wanted", figures - self.missed)?;
        match self.not_measured {
            0 => Ok(()),
            few => write!(out, "; {few} loads were not measured"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    const YARDSTICKS: Yardsticks =
        Yardsticks { sync_ms: 0.5, round_trip_us: 20.0, verification_us: 40.0 };

    #[test]
    fn the_median_of_the_runs_is_judged_and_the_extremes_are_shown() {
        let of =
            |wanted, runs: &[f64]| Criterion::of("p50", Unit::Milliseconds, wanted, runs.to_vec());
        let most = of(Bound::AtMost(3.0), &[9.0, 1.0, 3.0]);
        assert!(most.held);
        assert_eq!(most.measured(), "3.00 ms (1.00 ms to 9.00 ms)");
        assert_eq!(most.in_terms_of(&YARDSTICKS), "6.0 syncs");
        assert!(!of(Bound::AtMost(2.9), &[9.0, 1.0, 3.0]).held);
        assert!(of(Bound::AtLeast(3.0), &[3.0]).held);
        assert!(!of(Bound::AtLeast(3.1), &[3.0]).held);
    }

    #[test]
    fn what_nobody_measured_is_not_held() {
        for bound in [Bound::AtMost(1.0), Bound::AtLeast(0.0)] {
            assert!(!Criterion::of("none", Unit::Times, bound, []).held);
        }
    }

    #[test]
    fn a_table_counts_what_was_missed_and_what_was_not_measured() {
        let criterion = |most| Criterion::of("p50", Unit::Times, Bound::AtMost(most), [2.0]);
        let rows = vec![
            Row::of("one", vec![criterion(3.0), criterion(1.0)]),
            Row::not_measured(
                "other",
                &Error::new(Exit::Failed, "etcd is not there", "install it"),
            ),
        ];
        let table = Table::of(1, 3, YARDSTICKS, rows);
        assert_eq!((table.missed, table.not_measured), (1, 1));
        let text = table.to_string();
        assert!(
            text.contains("1 of 2 figures are what is wanted; 1 loads were not measured"),
            "{text}"
        );
        assert!(
            text.contains("etcd is not there; install it") && text.contains("MISSED"),
            "{text}"
        );
        let json = serde_json::to_value(&table).expect("plain fields");
        let first = json.pointer("/rows/0/criteria/1").expect("it has two");
        assert_eq!(first.pointer("/wanted/at_most"), Some(&1.0.into()));
        assert_eq!(first.pointer("/held"), Some(&false.into()));
        assert_eq!(table.markdown().matches("**missed**").count(), 1);
    }
}
