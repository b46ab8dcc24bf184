//! `cargo xtask campaign`: many seeds of the simulator, and the result file.

mod brm;
mod hybrid;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::results;
use crate::run::cargo;

/// Where the result is kept.
const KEPT: &str = "docs/results/campaign.md";
/// Groups, the seeds of a campaign in each mode, and those of a small one.
const GROUPS: [(&str, u64, u64); 2] = [("4,1", 10_000, 40), ("7,2", 2_000, 10)];
const MODES: [&str; 2] = ["safety", "liveness"];
const USAGE: &str = "\
`campaign` takes --quick, --seeds N (at 4,1; a fifth of it at 7,2), --from SEED, --output FILE, and \
--brm (reliable multicast alone) or --hybrid (servers with wormholes alone; with --group N,F all of one group)";

/// What is to be run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted<'a> {
    is_quick: bool,
    is_brm: bool,
    is_hybrid: bool,
    /// The one group of `--hybrid`, where it is not drawn from each seed.
    group: Option<&'a str>,
    seeds: Option<u64>,
    from: u64,
    output: Option<&'a str>,
    /// The words as they were given.
    given: String,
}

impl<'a> Wanted<'a> {
    /// Reads what follows `cargo xtask campaign`.
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
                "--quick" => wanted.is_quick = true,
                "--brm" => wanted.is_brm = true,
                "--hybrid" => wanted.is_hybrid = true,
                "--seeds" => {
                    wanted.seeds = Some(value()?.parse().context("--seeds takes a number")?)
                }
                "--from" => wanted.from = value()?.parse().context("--from takes a number")?,
                "--group" => wanted.group = Some(value()?),
                "--output" => wanted.output = Some(value()?),
                _ => bail!("`{word}` says nothing; {USAGE}"),
            }
        }
        if wanted.group.is_some() && !(wanted.is_hybrid && wanted.output.is_some()) {
            bail!("--group needs --hybrid, and --output, for its result is another; {USAGE}");
        }
        Ok(wanted)
    }

    fn seeds(&self, (group, all, few): (&str, u64, u64)) -> u64 {
        let usual = if self.is_quick { few } else { all };
        match self.seeds {
            Some(seeds) if group == GROUPS[0].0 => seeds.max(1),
            Some(seeds) => (seeds / 5).max(1),
            None => usual,
        }
    }
}

/// One call of the simulator and what it printed.
#[derive(Clone, Debug)]
struct Cell {
    group: &'static str,
    mode: &'static str,
    summary: Value,
}

/// Runs the campaign on all cores and writes its result.
///
/// # Errors
/// When a promise is broken; the world that shows it is then under `crates/sim/regressions/`.
pub(crate) fn campaign(root: &Path, wanted: &Wanted) -> Result<()> {
    if wanted.is_brm {
        return brm::campaign(root, wanted);
    }
    if wanted.is_hybrid {
        return hybrid::campaign(root, wanted);
    }
    let mut cells = Vec::new();
    for group in GROUPS {
        for mode in MODES {
            let seeds = wanted.seeds(group);
            eprintln!("== {seeds} seeds at {} in {mode} mode", group.0);
            let summary = simulate(root, (group.0, mode), (wanted.from, seeds))?;
            cells.push(Cell { group: group.0, mode, summary });
        }
    }
    keep(root, wanted, (KEPT, "Simulator campaign"), &text(&cells, "n, f")?)?;
    judge(&cells)
}

/// Writes the result, where it is wanted or kept.
fn keep(root: &Path, wanted: &Wanted, (kept, title): (&str, &str), text: &str) -> Result<()> {
    let command = format!("cargo xtask campaign{}", wanted.given);
    let text = format!("{}\n{text}", results::heading(title, &command));
    let file = wanted.output.unwrap_or(kept);
    results::write(root, file, &text)?;
    eprintln!("written to {file}");
    print!("{text}");
    Ok(())
}

fn judge(cells: &[Cell]) -> Result<()> {
    let violations: u64 = cells.iter().map(|cell| cell.count("violations")).sum::<Result<_>>()?;
    if violations > 0 {
        bail!("{violations} seeds break a promise; their worlds are in crates/sim/regressions");
    }
    Ok(())
}

/// One call of the simulator. A broken promise is a result, not an error.
fn simulate(root: &Path, (group, mode): (&str, &str), seeds: (u64, u64)) -> Result<Value> {
    simulate_with(root, mode, &["--group", group], seeds)
}

/// The same with arguments of its own.
fn simulate_with(
    root: &Path,
    mode: &str,
    what: &[&str],
    (from, seeds): (u64, u64),
) -> Result<Value> {
    let (from, seeds) = (from.to_string(), seeds.to_string());
    let run = ["run", "--mode", mode, "--from", &from, "--seeds", &seeds];
    let kept = ["--regressions", "crates/sim/regressions"];
    told(root, &["--release"], &[&run[..], what, &kept].concat())
}

/// What `ravelin sim` with these arguments tells, in a build with these flags.
fn told(root: &Path, build: &[&str], arguments: &[&str]) -> Result<Value> {
    let ravelin = ["--quiet", "--package", "ravelin", "--", "sim"];
    let mut command = cargo(root, &["run"]);
    command.args(build).args(ravelin).args(arguments).args(["--output", "json"]);
    let output = command.stderr(Stdio::inherit()).output().context("cannot start the simulator")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let summary = text.lines().find_map(|line| serde_json::from_str::<Value>(line).ok());
    summary
        .filter(|summary| summary.get("trace_hash").is_some())
        .with_context(|| format!("the simulator told no result, and ended with {}", output.status))
}

impl Cell {
    fn count(&self, field: &str) -> Result<u64> {
        let value = self.summary.get(field).and_then(Value::as_u64);
        value.with_context(|| format!("the simulator told no {field}"))
    }

    fn counts(&self, field: &str) -> impl Iterator<Item = (&str, u64)> {
        let map = self.summary.get(field).and_then(Value::as_object);
        map.into_iter().flatten().filter_map(|(key, value)| Some((key.as_str(), value.as_u64()?)))
    }

    fn virtual_hours(&self) -> f64 {
        self.summary.get("virtual_seconds").and_then(Value::as_f64).unwrap_or_default() / 3600.0
    }

    fn trace(&self) -> &str {
        self.summary.get("trace_hash").and_then(Value::as_str).unwrap_or("-")
    }
}

/// The result in Markdown; `of_what`: what tells groups apart.
fn text(cells: &[Cell], of_what: &str) -> Result<String> {
    let mut text = format!(
        "A seed counts if at least 200 commits were reached and each intruder acted.\n\n\
         | {of_what} | mode | seeds | counted | violations | commits | operations | virtual hours | trace hash |\n\
         |---|---|---:|---:|---:|---:|---:|---:|---|\n",
    );
    for cell in cells {
        let _ = write!(text, "| {} | {} |", cell.group, cell.mode);
        for field in ["seeds", "counted", "violations", "commits", "operations"] {
            let _ = write!(text, " {} |", cell.count(field)?);
        }
        let _ = writeln!(text, " {:.2} | `{}` |", cell.virtual_hours(), cell.trace());
    }
    text.push_str("\n## Faults that came to pass\n\n| class |");
    let columns: Vec<String> =
        cells.iter().map(|cell| format!("{} at {}", cell.mode, cell.group)).collect();
    let _ = writeln!(text, " {} |\n|---|{}", columns.join(" | "), "---:|".repeat(cells.len()));
    let classes: BTreeSet<&str> =
        cells.iter().flat_map(|cell| cell.counts("faults")).map(|(class, _)| class).collect();
    for class in classes {
        let of = |cell: &Cell| {
            let found = cell.counts("faults").find(|(other, _)| *other == class);
            found.map_or(0, |(_, count)| count).to_string()
        };
        let row: Vec<String> = cells.iter().map(of).collect();
        let _ = writeln!(text, "| {class} | {} |", row.join(" | "));
    }
    text.push_str("\n## Counted runs by intruder and network class\n\n");
    text.push_str(&pairs(cells));
    Ok(text)
}

/// Intruders in rows, classes of network trouble in columns, over all groups and modes.
fn pairs(cells: &[Cell]) -> String {
    let mut sums: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for (pair, count) in cells.iter().flat_map(|cell| cell.counts("pairs")) {
        if let Some(pair) = pair.split_once(" x ") {
            *sums.entry(pair).or_default() += count;
        }
    }
    let classes: BTreeSet<&str> = sums.keys().map(|(_, class)| *class).collect();
    let intruders: BTreeSet<&str> = sums.keys().map(|(intruder, _)| *intruder).collect();
    let names: Vec<&str> = classes.iter().copied().collect();
    let mut text =
        format!("| intruder | {} |\n|---|{}\n", names.join(" | "), "---:|".repeat(names.len()));
    for intruder in intruders {
        let of = |class: &&str| sums.get(&(intruder, *class)).copied().unwrap_or(0).to_string();
        let row: Vec<String> = names.iter().map(of).collect();
        let _ = writeln!(text, "| {intruder} | {} |", row.join(" | "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(group: &'static str, mode: &'static str) -> Cell {
        let summary = serde_json::json!({
            "seeds": 5, "counted": 4, "violations": 0, "commits": 1000, "operations": 900,
            "virtual_seconds": 7200.0, "trace_hash": "abc",
            "faults": { "loss": 7, "crash": 2 },
            "pairs": { "mute x loss": 3, "twin x calm": 1 },
        });
        Cell { group, mode, summary }
    }

    #[test]
    fn the_flags_are_read() {
        let wanted = Wanted::parse(&["--seeds", "100", "--from", "7", "--output", "x.md"]).unwrap();
        assert_eq!((wanted.seeds(GROUPS[0]), wanted.seeds(GROUPS[1])), (100, 20));
        assert_eq!((wanted.from, wanted.output), (7, Some("x.md")));
        let all = Wanted::parse(&[]).unwrap();
        assert_eq!((all.seeds(GROUPS[0]), all.seeds(GROUPS[1])), (10_000, 2_000));
        assert!(Wanted::parse(&["--quick"]).unwrap().seeds(GROUPS[0]) < 100);
        assert!(Wanted::parse(&["--hybrid"]).unwrap().is_hybrid);
        let one = Wanted::parse(&["--hybrid", "--group", "5,2", "--output", "x.md"]).unwrap();
        assert_eq!(one.group, Some("5,2"));
        assert!(Wanted::parse(&["--group", "5,2", "--output", "x.md"]).is_err());
        assert!(Wanted::parse(&["--hybrid", "--group", "5,2"]).is_err());
        assert!(Wanted::parse(&["--seeds"]).is_err());
        assert!(Wanted::parse(&["--sedes", "4"]).is_err());
    }

    #[test]
    fn the_result_has_every_number() {
        let text = text(&[cell("4,1", "safety"), cell("7,2", "liveness")], "n, f").unwrap();
        for line in [
            "| 4,1 | safety | 5 | 4 | 0 | 1000 | 900 | 2.00 | `abc` |",
            "| class | safety at 4,1 | liveness at 7,2 |",
            "| loss | 7 | 7 |",
            "| intruder | calm | loss |",
            "| mute | 0 | 6 |",
            "| twin | 2 | 0 |",
        ] {
            assert!(text.lines().any(|other| other == line), "{line}\n{text}");
        }
    }

    #[test]
    fn a_summary_without_a_number_is_an_error() {
        let mut bad = cell("4,1", "safety");
        bad.summary["violations"] = Value::Null;
        assert!(text(&[bad], "n, f").is_err());
    }
}
