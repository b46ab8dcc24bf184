//! `cargo xtask campaign --hybrid`: many seeds of servers with wormholes, and their result file.

use std::path::Path;

use anyhow::Result;

use super::{Cell, MODES, Wanted, judge, keep, simulate_with, text};

/// Where the result is kept.
const KEPT: &str = "docs/results/hybrid.md";
/// Seeds of a campaign for each kind of wormhole in each mode, and of a small one.
const SEEDS: (u64, u64) = (10_000, 40);
/// What `--rollback-proof` takes, and the name in the result.
const WORMHOLES: [(&str, &str); 2] = [("true", "outlive crashes"), ("false", "do not")];

/// Runs the campaign on all cores and writes its result.
pub(super) fn campaign(root: &Path, wanted: &Wanted) -> Result<()> {
    let seeds = wanted.seeds.unwrap_or(if wanted.is_quick { SEEDS.1 } else { SEEDS.0 });
    let mut cells = Vec::new();
    for (are_lasting, group) in WORMHOLES {
        for mode in MODES {
            eprintln!("== {seeds} seeds with wormholes that {group} in {mode} mode");
            let mut what = vec!["--fault-model", "hybrid", "--rollback-proof", are_lasting];
            what.extend(wanted.group.iter().flat_map(|one| ["--group", one]));
            let summary = simulate_with(root, mode, &what, (wanted.from, seeds))?;
            cells.push(Cell { group, mode, summary });
        }
    }
    let groups = match wanted.group {
        Some(group) => format!("All groups are ({group})"),
        None => "Groups of three servers and, one in five, of five".to_owned(),
    };
    let text = format!(
        "{groups}. Where wormholes do not outlive crashes one \
         server crashes as one of the `f`; in one run of four all lose power at once.\n\n{}",
        text(&cells, "wormholes")?
    );
    keep(root, wanted, (KEPT, "Simulator campaign with wormholes"), &text)?;
    judge(&cells)
}
