//! `cargo xtask campaign --brm`: many seeds of reliable multicast, and the result file.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Result, bail};
use serde_json::Value;

use super::{Cell, Wanted, told};
use crate::results;

/// Where the result is kept.
const KEPT: &str = "docs/results/brm.md";
/// Seeds, and those of a small campaign.
const SEEDS: (u64, u64) = (10_000, 300);

/// Runs the seeds on all cores and writes the result.
///
/// # Errors
/// When a promise is broken: the simulator told the seeds.
pub(super) fn campaign(root: &Path, wanted: &Wanted<'_>) -> Result<()> {
    let usual = if wanted.is_quick { SEEDS.1 } else { SEEDS.0 };
    let (from, seeds) = (wanted.from.to_string(), wanted.seeds.unwrap_or(usual).to_string());
    // In any build it is a matter of a minute.
    let summary = told(root, &[], &["brm", "--from", &from, "--seeds", &seeds])?;
    let command = format!("cargo xtask campaign{}", wanted.given);
    let heading = results::heading("Reliable multicast with wormholes", &command);
    let text = format!("{heading}\n{}", text(&summary)?);
    let file = wanted.output.unwrap_or(KEPT);
    results::write(root, file, &text)?;
    eprintln!("written to {file}");
    print!("{text}");
    match cell(&summary).count("violations")? {
        0 => Ok(()),
        violations => bail!("{violations} seeds break a promise; the simulator told them"),
    }
}

fn cell(summary: &Value) -> Cell {
    Cell { group: "-", mode: "-", summary: summary.clone() }
}

/// The result in Markdown.
fn text(summary: &Value) -> Result<String> {
    let cell = cell(summary);
    let mut text = String::from(
        "Each seed is a group of 3 to 7 processes, of which all but one may be intruded, and kinds of \
         trouble by chance. *Demanded*: multicasts of correct processes on which the wormholes could \
         decide; each was delivered by a correct process. *Refused*: by the sender's wormhole, so \
         that nothing was sent. *Silent*: runs in which nobody delivered anything.\n\n\
         | seeds | violations | demanded | deliveries | refused | silent | events | virtual hours | trace hash |\n\
         |---:|---:|---:|---:|---:|---:|---:|---:|---|\n|",
    );
    for field in ["seeds", "violations", "demanded", "deliveries", "refused", "silent", "events"] {
        let _ = write!(text, " {} |", cell.count(field)?);
    }
    let _ = writeln!(text, " {:.2} | `{}` |", cell.virtual_hours(), cell.trace());
    for (heading, column, field) in [
        ("Runs by protocol and intruded processes", "group", "groups"),
        ("Troubles that came to pass", "class", "faults"),
        ("What intruders did", "intruder", "acts"),
    ] {
        let _ = write!(text, "\n## {heading}\n\n| {column} | count |\n|---|---:|\n");
        for (name, count) in cell.counts(field) {
            let _ = writeln!(text, "| {name} | {count} |");
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_result_has_every_number() {
        let summary = serde_json::json!({
            "seeds": 5, "violations": 0, "demanded": 12, "deliveries": 90, "refused": 3,
            "silent": 1, "events": 77, "virtual_seconds": 7200.0, "trace_hash": "abc",
            "groups": { "BRM-T Quorum, 1 of 3 intruded": 5 },
            "faults": { "loss": 7 },
            "acts": { "mute": 9 },
        });
        let text = text(&summary).unwrap();
        for line in [
            "| 5 | 0 | 12 | 90 | 3 | 1 | 77 | 2.00 | `abc` |",
            "| BRM-T Quorum, 1 of 3 intruded | 5 |",
            "| loss | 7 |",
            "| mute | 9 |",
        ] {
            assert!(text.lines().any(|other| other == line), "{line}\n{text}");
        }
        assert!(super::text(&serde_json::json!({})).is_err());
    }
}
