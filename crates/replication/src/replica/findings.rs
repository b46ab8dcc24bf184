//! Misbehaviour seen and proven, and when to stop for good.
//!
//! Proofs are in the private state, so that a restart forgets none: those in ordered blocks are
//! written with the commit that brought them. The reason to halt is written at once and durably,
//! before anything that was decided after it can show.

use ravelin_model::{FaultModel, Misbehaviour, ServiceId};

use super::release::{Released, recorded_proofs};
use super::*;
use crate::statements::Finding;

/// Key of the reason to stay halted, in the private state.
pub(super) const HALTED: &[u8] = b"h";
/// First byte of the keys of proofs in the private state; member and kind follow.
pub(super) const EVIDENCE: u8 = b'e';

impl Replica {
    pub(super) fn is_halted(&self) -> bool {
        matches!(self.status, Status::FailSafe(_))
    }

    /// Takes back what earlier lives proved, and why one of them halted.
    pub(super) fn recall_findings(&mut self) {
        let state = self.execution.state();
        let mut proofs = recorded_proofs(state);
        self.released = Released::recorded(state);
        let reason = state.private_get(HALTED).map(|bytes| {
            let reason = HaltReason::decode("halt reason", &bytes);
            reason.expect("the state holds what this replica wrote")
        });
        let forks = self.keyring.group().members();
        proofs.extend(forks.filter_map(|member| self.ordering.fork_of(member).cloned()));
        for evidence in proofs {
            self.learn(&evidence);
        }
        if let Some(reason) = reason {
            self.status = Status::FailSafe(reason);
        }
        self.judge_group(&mut Vec::new()); // a crash may have come between the proof and the halt
    }

    /// Brings proofs into the order that an earlier life found and may not have said. Not against those
    /// whom administrators excused: whoever hears proof against itself speaks no more in the epoch.
    pub(super) fn repeat_findings(&mut self) {
        let members = self.execution.state().view(ServiceId::MEMBERS);
        let is_open = |who: &ReplicaId| {
            !Members::is_convicted(&members, *who) && !self.released.excuses(*who)
        };
        let known = self.evidence.iter().filter(|(who, _)| is_open(who));
        let proofs = known.flat_map(|(_, proofs)| proofs);
        let holding: Vec<Evidence> =
            proofs.filter(|proof| self.keyring.proves(proof)).cloned().collect();
        for proof in holding {
            self.ordering.payload_mut().add_vote(Vote::Evidence(proof));
        }
    }

    /// Lets the log forget what it need not hold: the state must be on disk before the log below it may
    /// go.
    pub(super) fn prune(&mut self, out: &mut Out) {
        let state = self.execution.state_mut();
        while let Some((begun, place)) = self.prunable.front()
            && state.is_synced(*begun)
        {
            out.push(Action::Emit(Event::Prunable(*place)));
            self.prunable.pop_front();
        }
    }

    pub(super) fn on_finding(&mut self, finding: Finding, out: &mut Out) {
        match finding {
            Finding::Certified(statement) if statement.ordering.is_some() => {
                let state = self.execution.state_mut();
                let commit = statement.commit;
                if let Some(signed) = self.statements.certificate_of(commit) {
                    self.offering.on_certified(state, commit, signed);
                }
                let begun = state.begin_sync(); // with what vouches for it
                let here = self.execution.horizon();
                let round = self.offering.horizon().map_or(here, |kept| kept.min(here));
                let epoch = self.keyring.epoch();
                self.prunable.push_back((begun, Place { epoch, round }));
                self.prune(out);
            }
            Finding::Certified(_) => {}
            Finding::Wrong(evidence) => {
                self.ordering.payload_mut().add_vote(Vote::Evidence(evidence.clone()));
                self.on_evidence(evidence, out);
            }
            Finding::Diverged(commit) => self.halt(HaltReason::Diverged { commit }, out),
        }
    }

    pub(super) fn on_offence(&mut self, who: ReplicaId, offence: Misbehaviour, out: &mut Out) {
        match offence {
            Misbehaviour::Proven(evidence) => {
                self.keep(&evidence);
                self.on_evidence(evidence, out);
            }
            Misbehaviour::Suspected(suspicion) => self.on_suspicion(who, suspicion, out),
        }
    }

    /// Notes what the transport, the verifier or the ordering saw of a peer.
    pub fn on_suspicion(&mut self, who: ReplicaId, suspicion: Suspicion, out: &mut Out) {
        let count = self.suspicions.entry((who, suspicion)).or_default();
        *count = count.saturating_add(1);
        out.push(Action::Accuse(who, Misbehaviour::Suspected(suspicion)));
    }

    /// Takes evidence whose proof was checked: made here, or on the arrival of the block with it.
    pub(super) fn on_evidence(&mut self, evidence: Evidence, out: &mut Out) {
        if self.learn(&evidence) {
            out.push(Action::Accuse(evidence.accused(), Misbehaviour::Proven(evidence)));
            self.judge_group(out);
        }
    }

    /// Takes evidence that a client filed: believed only if it proves what it says, and passed on in
    /// this replica's next block. One of a kind that is known already costs nothing more.
    pub(super) fn on_filed(&mut self, evidence: Evidence, out: &mut Out) {
        let known = self.evidence.get(&evidence.accused()).map(Vec::as_slice).unwrap_or_default();
        let is_news = known.iter().all(|other| other.kind() != evidence.kind());
        if is_news && self.keyring.proves(&evidence) {
            self.ordering.payload_mut().add_vote(Vote::Evidence(evidence.clone()));
            self.on_evidence(evidence, out);
        }
    }

    /// Keeps a proof if there is none of its kind against that member.
    fn learn(&mut self, evidence: &Evidence) -> bool {
        let who = evidence.accused();
        let known = self.evidence.entry(who).or_default();
        if known.iter().any(|other| other.kind() == evidence.kind()) {
            return false;
        }
        known.push(evidence.clone());
        let key = evidence_key(who, evidence);
        self.execution.state_mut().private_put(&key, evidence.encode());
        true
    }

    /// Makes a proof durable that is in no log: what shows it may not come again.
    fn keep(&mut self, evidence: &Evidence) {
        let who = evidence.accused();
        let known = self.evidence.get(&who).map(Vec::as_slice).unwrap_or_default();
        if known.iter().all(|other| other.kind() != evidence.kind()) {
            let write = (evidence_key(who, evidence), Some(evidence.encode()));
            self.execution.state_mut().private_write(vec![write]);
        }
    }

    /// Drops what was proven against a member to which administrators gave another key; returns what to
    /// write.
    pub(super) fn forgive(&mut self, member: ReplicaId) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
        let proofs = self.evidence.remove(&member).unwrap_or_default();
        let forgotten = proofs.iter().map(|proof| (evidence_key(member, proof), None));
        forgotten.chain(self.released.on_new_key(member)).collect()
    }

    /// More than `f` proven offenders, or in `hybrid` one whose wormhole attested both branches of a fork:
    /// nothing this replica could say is sure to be right. Those whom administrators called repaired do
    /// not count.
    fn judge_group(&mut self, out: &mut Out) {
        let accused = self.evidence.keys().copied();
        let members: Vec<ReplicaId> =
            accused.filter(|member| !self.released.excuses(*member)).collect();
        let is_forker =
            |member: &&ReplicaId| self.evidence.get(member).into_iter().flatten().any(is_fork);
        if self.keyring.group().model() == FaultModel::Hybrid
            && let Some(member) = members.iter().find(is_forker).copied()
            && !mutants::is_active("broken_wormhole_ignored")
        {
            return self.halt(HaltReason::BrokenWormhole { member }, out);
        }
        if members.len() > self.keyring.group().faults() {
            self.halt(HaltReason::TooManyOffenders { members }, out);
        }
    }

    pub(super) fn halt(&mut self, reason: HaltReason, out: &mut Out) {
        if self.is_halted() {
            return;
        }
        // With the proofs, so that whoever judges the halt has them, whatever happens next.
        let proofs = self.evidence.iter().flat_map(|(who, proofs)| {
            proofs.iter().map(|proof| (evidence_key(*who, proof), Some(proof.encode())))
        });
        let halted = (HALTED.to_vec(), Some(reason.encode()));
        let writes = proofs.chain([halted]).collect();
        self.execution.state_mut().private_write(writes);
        self.status = Status::FailSafe(reason);
        out.push(Action::Emit(Event::Status(self.status.clone())));
    }
}

/// Whether it shows two branches of one chain: in `hybrid`, two attestations for one value.
pub(super) fn is_fork(evidence: &Evidence) -> bool {
    matches!(evidence, Evidence::Equivocation { .. })
}

fn evidence_key(who: ReplicaId, evidence: &Evidence) -> Vec<u8> {
    [&[EVIDENCE], &who.0.to_be_bytes()[..], evidence.kind().as_bytes()].concat()
}
