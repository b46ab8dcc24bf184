//! A campaign's results as a page of the documentation.

use std::fmt::Write as _;

use super::Length;
use super::machine::{self, Noise};
use super::record::Verdict;
use crate::files::date;

/// What the page tells.
pub(super) struct Facts<'a> {
    pub(super) length: Length,
    /// What does the same again.
    pub(super) command: String,
    pub(super) before: Noise,
    pub(super) after: Noise,
    pub(super) verdict: &'a Verdict<'a>,
    /// Whether servers have wormholes, and if so, whether those outlive a loss of power.
    pub(super) wormholes: Option<bool>,
}

/// The page.
pub(super) fn markdown(facts: &Facts<'_>) -> String {
    let Verdict { fault_model, servers, seconds, clusters, totals, .. } = facts.verdict;
    let mut page = format!(
        "# {}\n\n\
         `{}`, begun {seconds} s before {}.\n\n\
         {servers} servers (`{fault_model}`) as processes of one machine, 4 clients at work all the \
         while, {clusters} clusters one after the other. Processors: {}, of which other work took \
         {} before and {} after the campaign; it inflates the times.\n\n\
         **{}**\n\n\
         {} {}\n\n",
        title(facts.length),
        facts.command,
        date::now(),
        machine::processors(),
        facts.before,
        facts.after,
        totals.in_words(),
        method(facts),
        facts.length.not_shown(),
    );
    skipped(facts.verdict, &mut page);
    slopes(facts.verdict, &mut page);
    steps(facts.verdict, &mut page);
    page
}

fn title(length: Length) -> &'static str {
    match length {
        Length::Full | Length::Part(_) => "Real processes under attack",
        Length::Machine(_) => "Machines in trouble",
        Length::PowerLosses(_) => "Power lost everywhere",
        Length::Soak(_) => "What servers hold over time",
        Length::Network(_) => "A bad network",
    }
}

fn method(facts: &Facts<'_>) -> String {
    let judged = facts.verdict.gap_max_ms.map_or_else(
        || "gaps are told, not judged".to_owned(),
        |most| format!("a gap over {most} ms breaks a promise"),
    );
    let always = "After each step everything that clients were told is judged (linearizability), and \
                  every acknowledged receipt of the cluster is read back";
    match facts.length {
        Length::PowerLosses(_) => format!(
            "{always}. Each server's data has a disk of its own: a file with ext4.{} At a random moment \
             under load all file systems are stopped by `EXT4_IOC_SHUTDOWN` without a flush of \
             their journals, then the servers are killed; each disk is unmounted, mounted (which \
             replays its journal), checked by `e2fsck`, which must find nothing, and the servers are \
             started again. A file written and not synced just before each cut must be gone \
             afterwards, or the cut was none. The gap is the downtime.",
            wormholes(facts.wormholes)
        ),
        Length::Soak(_) => {
            "Each minute everything that clients were told is judged (linearizability). *Spread*: \
             standard deviation from the line that fits best after the first quarter. *Flat*: over \
             the rest the line rises by no more than twice the spread, or than 2 MiB of memory, one \
             descriptor, one segment of the log (16 MiB)."
                .to_owned()
        }
        Length::Network(_) => format!(
            "{always}. Each server is in a network namespace of its own; every frame between them \
             passes a switch that loses, doubles, delays and cuts as the simulator does for the same \
             file. Then the network heals, and every server must have caught up by itself within {} s.",
            super::site::BACK_MAX.as_secs()
        ),
        _ => format!(
            "{always}, and the server must serve, have caught up, and be called correct by most \
             others, by itself, within {} s and as long as it was away; {judged}. *Exposed*: the \
             server's key is spent, since proof against it is out; it stays out until administrators \
             give it another, and the campaign goes on with a fresh cluster. *Suspected*: others \
             remember what they cannot prove. The gaps of `kill-all` and `swapped` are their downtimes.",
            super::site::BACK_MAX.as_secs()
        ),
    }
}

/// What a loss of power does to wormholes.
fn wormholes(are_lasting: Option<bool>) -> &'static str {
    match are_lasting {
        None => "",
        Some(false) => {
            " So has the state of its wormhole, which is killed with it and begins anew: for three seconds no \
             server may serve, then an administrator opens the cluster."
        }
        Some(true) => {
            " So has the state of its wormhole, which is killed with it, and whose TPM (`swtpm`, killed and \
             started again, too) keeps each attestation before it shows: the lease `every-unmetered`. No \
             administrator does anything."
        }
    }
}

fn skipped(verdict: &Verdict<'_>, page: &mut String) {
    for skipped in verdict.skipped {
        let _ = writeln!(page, "- skipped here: `{}`, which needs {}", skipped.name, skipped.why);
    }
    if !verdict.skipped.is_empty() {
        page.push('\n');
    }
}

fn slopes(verdict: &Verdict<'_>, page: &mut String) {
    if verdict.slopes.is_empty() {
        return;
    }
    page.push_str(
        "| server | what | at the end | at most | an hour | spread | samples | flat |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    for slope in verdict.slopes {
        let _ = writeln!(
            page,
            "| {} | {} | {:.1} | {:.1} | {:+.1} | {:.2} | {} | {} |",
            slope.server,
            slope.holding.word(),
            slope.value,
            slope.most,
            slope.per_hour,
            slope.spread,
            slope.samples,
            if slope.flat { "yes" } else { "no" },
        );
    }
    page.push('\n');
}

fn steps(verdict: &Verdict<'_>, page: &mut String) {
    page.push_str(
        "| step | server | what | outcome | longest gap | slowest answer | back after | answers \
         judged | lies refused |\n|---|---|---|---|---|---|---|---|---|\n",
    );
    for step in verdict.attacks {
        let server = step.server.map_or_else(|| "all".to_owned(), |server| server.to_string());
        let suspected = if step.is_suspected { ", suspected" } else { "" };
        let back = step.back_ms.map_or_else(|| "-".to_owned(), |it| format!("{it} ms{suspected}"));
        let reason = step.exposed_by.iter().chain(&step.why);
        let reason: String =
            reason.map(|reason| format!(": {}", reason.replace('|', "/"))).collect();
        let _ = writeln!(
            page,
            "| {} | {server} | {} | {}{reason} | {} ms | {} ms | {back} | {} | {} |",
            step.name,
            step.what,
            step.outcome.word(),
            step.longest_gap_ms,
            step.slowest_ms,
            step.operations,
            step.lies,
        );
    }
}
