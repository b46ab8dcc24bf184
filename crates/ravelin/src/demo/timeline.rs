//! What happened when, for the report.

use std::collections::BTreeMap;

use ravelin_model::ReplicaId;
use ravelin_model::wire::StatusReport;
use serde::Serialize;

use crate::drill::Outcome;

/// One attack, from its beginning to its end.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Attack {
    /// Its name.
    pub(crate) name: String,
    /// The server attacked.
    pub(crate) server: u16,
    /// How it ended.
    pub(crate) outcome: Outcome,
    /// The longest time without an answer to any client while it lasted.
    pub(crate) longest_gap_ms: u64,
    /// Answers to clients while it lasted.
    pub(crate) answers: usize,
    #[serde(skip)]
    pub(crate) from_us: u64,
    #[serde(skip)]
    pub(crate) until_us: u64,
    /// What it does, in words.
    #[serde(skip)]
    pub(crate) what: String,
}

/// How a server looked at some moment, as itself and the others say.
#[derive(Clone, Debug)]
pub(crate) struct Look {
    pub(crate) at_us: u64,
    pub(crate) server: u16,
    /// `correct`, `catching_up`, `faulty`, `down`, ...
    pub(crate) state: String,
}

/// Everything that the report draws beside latencies.
#[derive(Clone, Debug, Default)]
pub(crate) struct Timeline {
    pub(crate) attacks: Vec<Attack>,
    pub(crate) looks: Vec<Look>,
}

/// How each server looks to most others; to itself where it admits to be no more than catching up.
pub(super) fn looks(at_us: u64, reports: &BTreeMap<ReplicaId, StatusReport>) -> Vec<Look> {
    let count = reports.values().map(|report| report.members.len()).max().unwrap_or(0);
    (0..count)
        .map(|index| {
            let server = u16::try_from(index).unwrap_or(u16::MAX);
            let mut votes = BTreeMap::<&str, usize>::new();
            for (_, report) in reports.iter().filter(|(id, _)| id.0 != server) {
                if let Some(member) = report.members.get(index) {
                    *votes.entry(&member.state).or_default() += 1;
                }
            }
            let most = votes.into_iter().max_by_key(|(_, count)| *count);
            let own = reports.get(&ReplicaId(server)).map(|report| report.state.as_str());
            let state = match (most.map(|(state, _)| state), own) {
                (Some("correct" | "suspected"), None) | (None, None) => "down",
                (Some("correct"), Some(own)) => own,
                (Some(seen), _) => seen,
                (None, Some(own)) => own,
            };
            Look { at_us, server, state: state.to_owned() }
        })
        .collect()
}
