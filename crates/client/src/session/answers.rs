//! What is believed of what members answer.
//!
//! Answers are equal if they agree in epoch, session, sequence and result. Epoch: a signed statement
//! must be of the keyring's, and an unsigned repetition comes over a connection to a member of it.
//! The place in the total order is not part of the comparison: a read whose envelope was ordered
//! twice is answered at two places, and either result is right. It is reported where `one_correct`
//! of those who agree name the same.

use ravelin_crypto::answers::answer_leaf;
use ravelin_crypto::merkle;
use ravelin_model::{Answer, AnswerBatch, MerklePath, OperationResult, SignedStatement, Suspicion};

use super::*;
use crate::event::{ReadPath, Voted};
use crate::limits::SETTLED_MAX;

impl Session {
    /// Whether `batch` is what `from` signed for a commit of this epoch. Says otherwise of `from`
    /// only what no correct member does: one that is an epoch ahead, or late, is not at fault.
    pub(super) fn is_believable(
        &mut self,
        from: ReplicaId,
        signed: &SignedStatement,
        batch: &AnswerBatch,
        path: &MerklePath,
        out: &mut Vec<ClientAction>,
    ) -> bool {
        let suspicion = if signed.replica != from {
            Suspicion::BadSignature
        } else {
            match self.is_current(signed) {
                Err(suspicion) => suspicion,
                Ok(false) => return false,
                Ok(true) => {
                    self.remember(*signed, out);
                    if merkle::verify(&signed.statement.answers, &answer_leaf(batch), path) {
                        return true;
                    }
                    Suspicion::Malformed
                }
            }
        };
        self.accuse(from, Misbehaviour::Suspected(suspicion), out);
        false
    }

    /// Whether a statement is a member's about this epoch. Of another epoch it is nobody's fault.
    pub(super) fn is_current(&self, signed: &SignedStatement) -> Result<bool, Suspicion> {
        let (statement, keyring) = (&signed.statement, &self.keyring);
        if (statement.cluster, statement.incarnation) != (keyring.cluster(), keyring.incarnation())
        {
            return Err(Suspicion::Foreign);
        }
        if statement.epoch != keyring.epoch() {
            return Ok(false);
        }
        if keyring.holds(signed) { Ok(true) } else { Err(Suspicion::BadSignature) }
    }

    /// Compares a good statement with what else was stated.
    pub(super) fn remember(&mut self, signed: SignedStatement, out: &mut Vec<ClientAction>) {
        for evidence in self.statements.record(signed) {
            self.accuse(evidence.accused(), Misbehaviour::Proven(evidence), out);
        }
    }

    /// Counts the answers of one member. They are its own word: it signed them, or they came over
    /// its connection.
    pub(super) fn count(
        &mut self,
        now: Time,
        from: ReplicaId,
        batch: AnswerBatch,
        out: &mut Vec<ClientAction>,
    ) {
        if batch.client != self.client() {
            let misbehaviour = Misbehaviour::Suspected(Suspicion::Unsolicited);
            return self.accuse(from, misbehaviour, out);
        }
        for answer in batch.answers {
            // An answer may end the session; late ones of an earlier session are nobody's fault.
            if self.named_session() != Some(batch.session) {
                return;
            }
            self.count_one(now, from, answer, out);
        }
    }

    fn count_one(
        &mut self,
        now: Time,
        from: ReplicaId,
        answer: Answer,
        out: &mut Vec<ClientAction>,
    ) {
        let (sequence, group) = (answer.sequence, self.group());
        if self.agreed.get(&sequence).is_some_and(|agreed| agreed.is_contradicted(&answer)) {
            self.report_liars(sequence, [from], out);
        }
        let Some((first, flight)) = self.flights.range_mut(..=sequence).next_back() else { return };
        if !flight.has(sequence) {
            return;
        }
        if let OperationResult::Refused(
            refusal @ (Refusal::UnknownSession | Refusal::UnknownClient),
        ) = answer.result
        {
            return self.on_shut_out(from, refusal, out);
        }
        let first = *first;
        self.shut_out.withdraw(from);
        let agreed = flight.vote(from, answer, group);
        let is_settled = flight.is_settled();
        if let Some((agreed, liars)) = agreed {
            self.agreed.insert(sequence, agreed);
            if self.agreed.len() > SETTLED_MAX {
                self.agreed.pop_first();
            }
            self.report_liars(sequence, liars, out);
        }
        if is_settled {
            self.finish(now, first, out);
        }
    }

    /// Says who told otherwise than was agreed about `sequence`.
    fn report_liars(
        &self,
        sequence: Sequence,
        liars: impl IntoIterator<Item = ReplicaId>,
        out: &mut Vec<ClientAction>,
    ) {
        let Some(ticket) = self.agreed.get(&sequence).map(Agreed::ticket) else { return };
        for replica in liars {
            out.push(ClientAction::Deliver(Event::Contradicted { replica, ticket }));
        }
    }

    /// Acts on an envelope of which every operation has its result.
    fn finish(&mut self, now: Time, first: Sequence, out: &mut Vec<ClientAction>) {
        let Some(flight) = self.land(first) else { return };
        let (ticket, purpose) = (flight.ticket, flight.purpose);
        let results = flight.into_results();
        match purpose {
            Purpose::Operations => {
                out.push(ClientAction::Deliver(Event::Answered { ticket, results }));
            }
            Purpose::Read => {
                self.reads.remove(&ticket);
                for Voted { outcome, by, .. } in results {
                    let path = ReadPath::Ordered;
                    out.push(ClientAction::Deliver(Event::Read { ticket, outcome, path, by }));
                }
            }
            Purpose::Open => return self.on_opening_answered(now, results, out),
            Purpose::Close => {
                self.phase = Phase::Idle;
                self.forget_session();
                return out.push(ClientAction::Deliver(Event::Closed));
            }
        }
        self.start_waiting(now, out);
    }
}
