//! A campaign's results as a page of the documentation.

use std::fmt::Write as _;

use super::machine::{self, Noise};
use super::record::Verdict;
use crate::files::date;

/// What the page tells.
pub(super) struct Facts<'a> {
    /// What does the same again.
    pub(super) command: String,
    pub(super) before: Noise,
    pub(super) after: Noise,
    pub(super) verdict: &'a Verdict<'a>,
}

/// The page.
pub(super) fn markdown(facts: &Facts<'_>) -> String {
    let Verdict { fault_model, servers, seconds, clusters, gap_max_ms, totals, attacks, .. } =
        facts.verdict;
    let judged = gap_max_ms.map_or_else(
        || "gaps are told, not judged".to_owned(),
        |most| format!("a gap over {most} ms breaks a promise"),
    );
    let mut page = format!(
        "# Real processes under attack\n\n\
         `{}`, begun {seconds} s before {}.\n\n\
         {servers} servers (`{fault_model}`) as processes of one machine, 4 clients at work all the \
         while, {clusters} clusters one after the other. Processors: {}, of which other work took \
         {} before and {} after the campaign; it inflates the times.\n\n\
         **{}**\n\n\
         After each step everything that clients were told is judged (linearizability), every \
         acknowledged receipt of the cluster is read back, and the server must serve, have caught \
         up, and be called correct by most others, by itself, within {} s and as long as it was away; {judged}. *Exposed*: the \
         server's key is spent, since proof against it is out; it stays out until administrators give \
         it another, and the campaign goes on with a fresh cluster. *Suspected*: others remember what they cannot prove. The gap of `kill-all` is its downtime. Not shown: \
         power loss, other machines, other builds.\n\n\
         | step | server | what | outcome | longest gap | slowest answer | back after | answers \
         judged | lies refused |\n|---|---|---|---|---|---|---|---|---|\n",
        facts.command,
        date::now(),
        machine::processors(),
        facts.before,
        facts.after,
        totals.in_words(),
        super::site::BACK_MAX.as_secs(),
    );
    for step in *attacks {
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
    page
}
