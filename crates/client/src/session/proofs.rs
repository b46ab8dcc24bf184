//! Values of a state that a quorum signed, shown by any one member.
//!
//! The value may be old: nothing tells how much newer the newest state is. The agreed time of the
//! statement tells its age. A state of an earlier epoch than the newest one known is refused, though
//! nobody is at fault for showing it: its members' keys may be in other hands by now. One of a later
//! epoch is a reason to follow the cluster there, and then to ask again.

use std::collections::BTreeSet;

use ravelin_crypto::state_tree::{state_key, verify_proof};
use ravelin_model::wire::StateProof;
use ravelin_model::{CommitStatement, Epoch, SignedStatement, Suspicion, mutants};

use super::*;
use crate::epochs::Standing;
use crate::limits::PROOFS_MAX;

/// A question that has no proof yet.
#[derive(Debug)]
pub(super) struct Proof {
    service: ServiceId,
    key: Vec<u8>,
    /// Members that were asked.
    tried: BTreeSet<ReplicaId>,
    /// The one whose answer is awaited.
    asked: Option<ReplicaId>,
    pub(super) deadline: Time,
}

/// What is to be made of what a member showed.
enum Shown {
    /// The state that a quorum stated.
    Proven(CommitStatement),
    /// Nothing is proven, and a correct member may show it.
    Nothing,
    /// It is of a later epoch than any known.
    Later(Epoch),
}

impl Session {
    /// Asks one member after the other for the entry under `key`, until one shows it, or its
    /// absence, with proof; [`Event::Proven`] follows, or [`Event::Unanswered`] once all were asked.
    ///
    /// # Errors
    /// [`Misuse::TooMany`], [`Misuse::TooLarge`].
    pub fn prove(
        &mut self,
        now: Time,
        service: ServiceId,
        key: Vec<u8>,
        out: &mut Vec<ClientAction>,
    ) -> Result<Ticket, Misuse> {
        if self.proofs.len() >= PROOFS_MAX {
            return Err(Misuse::TooMany { kind: "proofs", max: PROOFS_MAX });
        }
        sending::size_of_envelope(&[Operation { service, request: key.clone() }])?;
        let ticket = self.take_ticket();
        let (tried, deadline) = (BTreeSet::new(), now.after(self.peers.wait(0)));
        self.proofs.insert(ticket, Proof { service, key, tried, asked: None, deadline });
        if self.peers.connected_count() > 0 {
            self.ask_next(now, ticket, out);
        }
        Ok(ticket)
    }

    pub(super) fn on_proof(
        &mut self,
        now: Time,
        from: ReplicaId,
        ticket: Ticket,
        statements: &[SignedStatement],
        shown: Option<StateProof>,
        out: &mut Vec<ClientAction>,
    ) {
        let Some(proof) = self.proofs.get(&ticket).filter(|proof| proof.tried.contains(&from))
        else {
            return;
        };
        let state_key = state_key(proof.service, &proof.key);
        let is_awaited = proof.asked == Some(from);
        match self.judge_proof(statements, shown.as_ref(), &state_key, out) {
            Ok(Shown::Proven(statement)) => {
                self.proofs.remove(&ticket);
                let shown = shown.expect("what is proven was shown");
                let value = shown.value.clone();
                let proof = Box::new((statements.to_vec(), shown));
                let event = Event::Proven { ticket, value, statement, proof, shown_by: from };
                return out.push(ClientAction::Deliver(event));
            }
            // Asked again where that epoch begins, or where nobody shows it in time.
            Ok(Shown::Later(epoch)) if self.on_later_epoch(now, from, epoch, out) => return,
            Ok(Shown::Later(_) | Shown::Nothing) => {}
            Err(suspicion) => self.accuse(from, Misbehaviour::Suspected(suspicion), out),
        }
        if is_awaited {
            self.ask_next(now, ticket, out);
        }
    }

    /// Takes it that `from` will not show a proof now.
    pub(super) fn on_no_proof(
        &mut self,
        now: Time,
        from: ReplicaId,
        ticket: Ticket,
        out: &mut Vec<ClientAction>,
    ) {
        if self.proofs.get(&ticket).is_some_and(|proof| proof.asked == Some(from)) {
            self.ask_next(now, ticket, out);
        }
    }

    /// What a quorum of distinct members of the newest epoch stated alike, if the entry shown belongs
    /// to that state.
    fn judge_proof(
        &mut self,
        statements: &[SignedStatement],
        shown: Option<&StateProof>,
        state_key: &[u8],
        out: &mut Vec<ClientAction>,
    ) -> Result<Shown, Suspicion> {
        let (Some(first), Some(shown)) = (statements.first(), shown) else {
            return Ok(Shown::Nothing);
        };
        let epoch = first.statement.epoch;
        match self.epochs.judge(first)? {
            Standing::Later => return Ok(Shown::Later(epoch)),
            Standing::Signed if epoch == self.epoch() => {}
            Standing::Signed | Standing::Forgotten => return Ok(Shown::Nothing),
        }
        let members: BTreeSet<_> = statements.iter().map(|signed| signed.replica).collect();
        let is_distinct = members.len() == statements.len()
            || mutants::is_active("signers_counted_per_signature");
        let is_quorum = is_distinct && statements.len() >= self.group().quorum();
        if !is_quorum || statements.iter().any(|signed| signed.statement != first.statement) {
            return Err(Suspicion::Malformed);
        }
        for signed in statements {
            if self.epochs.judge(signed)? != Standing::Signed {
                return Ok(Shown::Nothing);
            }
            self.remember(*signed, out);
        }
        if !verify_proof(&first.statement.state, state_key, shown) {
            return Err(Suspicion::Malformed);
        }
        Ok(Shown::Proven(first.statement))
    }

    /// Asks those that nobody could be asked for before.
    pub(super) fn ask_proofs_again(&mut self, now: Time, out: &mut Vec<ClientAction>) {
        self.pass_on(now, |proof| proof.asked.is_none(), out);
    }

    /// Asks anew, as if nobody had been asked, because what was shown before counts no more.
    pub(super) fn ask_proofs_afresh(&mut self, now: Time, out: &mut Vec<ClientAction>) {
        for proof in self.proofs.values_mut() {
            proof.tried.clear();
            proof.asked = None;
        }
        if self.peers.connected_count() > 0 {
            self.ask_proofs_again(now, out);
        }
    }

    /// Asks the next member where `replica` was asked.
    pub(super) fn pass_on_proofs_of(
        &mut self,
        now: Time,
        replica: ReplicaId,
        out: &mut Vec<ClientAction>,
    ) {
        self.pass_on(now, |proof| proof.asked == Some(replica), out);
    }

    pub(super) fn pass_on_overdue_proofs(&mut self, now: Time, out: &mut Vec<ClientAction>) {
        self.pass_on(now, |proof| proof.deadline <= now, out);
    }

    fn pass_on(
        &mut self,
        now: Time,
        is_meant: impl Fn(&Proof) -> bool,
        out: &mut Vec<ClientAction>,
    ) {
        let meant: Vec<_> =
            self.proofs.iter().filter(|(_, p)| is_meant(p)).map(|(ticket, _)| *ticket).collect();
        for ticket in meant {
            self.ask_next(now, ticket, out);
        }
    }

    /// Asks the next member; without one, the question ends.
    fn ask_next(&mut self, now: Time, ticket: Ticket, out: &mut Vec<ClientAction>) {
        let Some(proof) = self.proofs.get_mut(&ticket) else { return };
        let next = self.peers.usable().find(|replica| !proof.tried.contains(replica));
        let Some(next) = next else {
            self.proofs.remove(&ticket);
            let why = Unanswered::NotProven;
            return out.push(ClientAction::Deliver(Event::Unanswered { ticket, why }));
        };
        proof.tried.insert(next);
        proof.asked = Some(next);
        proof.deadline = now.after(self.peers.wait(0));
        let (id, service, key) = (ticket.0, proof.service, proof.key.clone());
        out.push(ClientAction::Send(next, ClientMessage::Prove { id, service, key }));
    }
}
