//! What came of all runs, as a page of the documentation.

use std::fmt::Write as _;
use std::path::Path;

use ravelin_wormhole::core::Engine;

use super::verdict::{Tally, Verdict};
use super::{COUNT, INTRUDERS, OD, Options};
use crate::campaign::machine;
use crate::files::date;

/// The page, which is to stand in this file.
pub(super) fn markdown(options: &Options, path: &Path, verdict: &Verdict) -> String {
    let mut page = format!(
        "# Reliable multicast on real wormholes\n\n\
         `{}`, ended {}. Processors: {}.\n\n\
         {COUNT} wormholes and {COUNT} processes on one machine, `Od` = {OD}, wormholes that talk over {}; \
         first figure 10, then runs by chance: copies lost, corrupted and late, and 0 to {INTRUDERS} \
         malicious processes (`n >= f + 2`). *Broken*: runs that broke the promise. *Undecided*: the \
         sender's proposal came too late, or was refused. *Undelivered*: nobody correct delivered, though \
         the sender was correct: each is a failure.\n\n\
         | malicious | runs | correct | of them delivered | Validity broken | Agreement broken | \
         Integrity broken | undecided | undelivered |\n|---|---|---|---|---|---|---|---|---|\n",
        command(options, path),
        date::now(),
        machine::processors(),
        if verdict.is_private() { "a network of their own" } else { "the loopback" },
    );
    for (malicious, tally) in verdict.tallies().iter().enumerate() {
        let Tally { runs, correct, delivered, undecided, undelivered, .. } = tally;
        let Tally { broken_validity, broken_agreement, broken_integrity, .. } = tally;
        let _ = writeln!(
            page,
            "| {malicious} | {runs} | {correct} | {delivered} | {broken_validity} | \
             {broken_agreement} | {broken_integrity} | {undecided} | {undelivered} |"
        );
    }
    page
}

/// What does the same again.
fn command(options: &Options, path: &Path) -> String {
    let Options { runs, seed, engine, .. } = options;
    let mut command = format!("ravelin wormhole demo --runs {runs} --seed {seed}");
    if let Engine::RealTime { bound } = engine {
        let _ = write!(command, " --real-time {}", bound.0 / 1_000_000);
    }
    format!("{command} --report {}", path.display())
}
