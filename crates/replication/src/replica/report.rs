//! How a replica sees itself and the others, for people and monitors: one server's word.

use ravelin_model::wire::{MemberReport, StatusReport};

use super::*;

/// Rounds without a block after which a member is shown as down.
const DOWN_AFTER_ROUNDS: u64 = 20;

impl Replica {
    /// How this replica sees itself and the others.
    pub fn report(&self) -> StatusReport {
        StatusReport {
            state: self.state_name().into(),
            round: self.ordering.round(),
            commit: self.execution.state().commit(),
            position: self.execution.position(),
            time: self.execution.time(),
            state_root: self.execution.state().root(),
            members: self.keyring.group().members().map(|id| self.report_on(id)).collect(),
        }
    }

    fn state_name(&self) -> &'static str {
        match &self.status {
            Status::FailSafe(_) => "fail_safe",
            Status::Learner => "learner",
            Status::Asking | Status::Fetching => "catching_up",
            Status::Active if self.ordering.is_behind() => "catching_up",
            Status::Active => "correct",
        }
    }

    fn report_on(&self, member: ReplicaId) -> MemberReport {
        let newest = self.ordering.dag().newest(member).map_or(Round(0), |newest| newest.round);
        let proofs = self.evidence.get(&member).map(Vec::as_slice).unwrap_or_default();
        let suspicions: Vec<(String, u32)> = self
            .suspicions
            .iter()
            .filter(|((who, _), _)| *who == member)
            .map(|((_, suspicion), count)| (suspicion.kind().into(), *count))
            .collect();
        let is_silent = newest.plus(DOWN_AFTER_ROUNDS) < self.ordering.dag().highest();
        let state = if member == self.own {
            self.state_name()
        } else if !proofs.is_empty() {
            "faulty"
        } else if is_silent {
            "down"
        } else if !suspicions.is_empty() {
            "suspected"
        } else {
            "correct"
        };
        let evidence = proofs.iter().map(|proof| (proof.kind().into(), 1)).collect();
        MemberReport {
            state: state.into(),
            round: newest,
            evidence,
            suspicions,
            shared_key_at: Vec::new(), // who holds the channels knows
        }
    }
}
