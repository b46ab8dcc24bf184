//! The kill table.

use std::fmt::Write as _;

use super::{Hunt, Row, Verdict};

/// What a reader of the kept table must know.
pub(super) const INTRODUCTION: &str = "\
Each bug is planted alone (`crates/sim/src/mutants.rs`). Every test named must fail with it, and
passes without it. *Seeds*: how many seeds the simulator needs, each run in both modes, until one
breaks a promise; the median over five starting points, with what was seen first.
";

/// The table in Markdown.
pub(super) fn table<'a>(rows: impl Iterator<Item = &'a Row>) -> String {
    let mut text = String::from("| mutant | what it breaks | scenarios | tests | seeds |\n");
    text.push_str("|---|---|---|---|---|\n");
    for row in rows {
        let planted = &row.planted;
        let (name, breaks) = (&planted.name, &planted.breaks);
        let scenarios = if planted.scenarios.is_empty() { "-" } else { &planted.scenarios };
        let _ = writeln!(
            text,
            "| `{name}` | {breaks} | {scenarios} | {} | {} |",
            tests(row),
            seeds(&row.hunts)
        );
    }
    text
}

fn tests(row: &Row) -> String {
    let tests = row.planted.tests.iter().zip(&row.verdicts).map(|(test, verdict)| {
        let how = match verdict {
            Verdict::Failed => "killed by",
            Verdict::Passed => "SURVIVES",
            Verdict::SetAside => "set aside:",
        };
        format!("{how} `{}`", test.name)
    });
    tests.collect::<Vec<_>>().join("; ")
}

/// The median number of seeds, as far as most hunts found something.
pub(super) fn seeds(hunts: &[Hunt]) -> String {
    let mut found: Vec<(u64, &str)> = hunts
        .iter()
        .filter_map(|hunt| match hunt {
            Hunt::Killed { seeds, by } => Some((*seeds, by.as_str())),
            Hunt::Survived { .. } => None,
        })
        .collect();
    found.sort_unstable();
    match found.get(hunts.len() / 2) {
        _ if hunts.is_empty() => "not tried".to_owned(),
        Some((median, _)) => {
            let mut kinds: Vec<&str> = found.iter().map(|(_, by)| *by).collect();
            kinds.sort_unstable();
            kinds.dedup();
            format!("{median} ({})", kinds.join(", "))
        }
        None => {
            let tried = hunts.iter().find_map(|hunt| match hunt {
                Hunt::Survived { seeds } => Some(*seeds),
                Hunt::Killed { .. } => None,
            });
            let (found, starts) = (found.len(), hunts.len());
            format!("not by seeds: {found} of {starts} starts in {}", tried.unwrap_or(0))
        }
    }
}
