//! What is believed of what members answer.
//!
//! Answers are equal if they agree in epoch, session, sequence and result. Epoch: that of the signed
//! statement, whose keys must be known, even if the session has gone on since; an unsigned
//! repetition is a vote of the newest epoch known when it comes, since nothing in it tells another.
//! So `f` counts the members intruded in an epoch and from its end until the session follows.
//! The place in the total order is not part of the comparison: a read whose envelope was ordered
//! twice is answered at two places, and either result is right. It is reported where `one_correct`
//! of those who agree name the same.

use ravelin_crypto::answers::answer_leaf;
use ravelin_crypto::merkle;
use ravelin_model::{
    Answer, AnswerBatch, Digest, Epoch, MerklePath, OperationResult, SignedStatement, Suspicion,
};

use super::*;
use crate::epochs::Standing;
use crate::event::{ReadPath, Voted};
use crate::limits::SETTLED_MAX;

/// Answers of one commit to one session, as a member signed them.
#[derive(Debug)]
pub(super) struct SignedAnswers {
    pub(super) statement: SignedStatement,
    pub(super) batch: AnswerBatch,
    pub(super) path: MerklePath,
}

impl SignedAnswers {
    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        let results = self.batch.answers.iter().map(|answer| answer.result.bytes()).sum::<usize>();
        let answers = self.batch.answers.len() * size_of::<Answer>();
        size_of::<Self>() + results + answers + self.path.siblings.len() * size_of::<Digest>()
    }
}

impl Session {
    /// Takes answers of one commit. Says of `from` only what no correct member does: one that is
    /// epochs ahead, or late, is not at fault.
    pub(super) fn on_answers(
        &mut self,
        now: Time,
        from: ReplicaId,
        answers: SignedAnswers,
        out: &mut Vec<ClientAction>,
    ) {
        let epoch = answers.statement.statement.epoch;
        match self.judge_answers(from, &answers, out) {
            Ok(Standing::Signed) => self.count(now, from, epoch, answers.batch, out),
            Ok(Standing::Later) => {
                if self.on_later_epoch(now, from, epoch, out) {
                    self.following.keep(from, answers);
                }
            }
            Ok(Standing::Forgotten) => {}
            Err(suspicion) => self.accuse(from, Misbehaviour::Suspected(suspicion), out),
        }
    }

    /// Whether the answers are what `from` signed for a commit.
    fn judge_answers(
        &mut self,
        from: ReplicaId,
        SignedAnswers { statement, batch, path }: &SignedAnswers,
        out: &mut Vec<ClientAction>,
    ) -> Result<Standing, Suspicion> {
        if statement.replica != from {
            return Err(Suspicion::BadSignature);
        }
        let standing = self.epochs.judge(statement)?;
        if standing == Standing::Signed {
            self.remember(*statement, out);
            if !merkle::verify(&statement.statement.answers, &answer_leaf(batch), path) {
                return Err(Suspicion::Malformed);
            }
        }
        Ok(standing)
    }

    /// Compares a good statement with what else was stated in its epoch.
    pub(super) fn remember(&mut self, signed: SignedStatement, out: &mut Vec<ClientAction>) {
        for evidence in self.epochs.record(signed) {
            self.accuse(evidence.accused(), Misbehaviour::Proven(evidence), out);
        }
    }

    /// Counts the answers of one member of `epoch`. They are its own word: it signed them, or they
    /// came over its connection.
    pub(super) fn count(
        &mut self,
        now: Time,
        from: ReplicaId,
        epoch: Epoch,
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
            self.count_one(now, (from, epoch), answer, out);
        }
    }

    fn count_one(
        &mut self,
        now: Time,
        (from, epoch): (ReplicaId, Epoch),
        answer: Answer,
        out: &mut Vec<ClientAction>,
    ) {
        let (sequence, is_newest) = (answer.sequence, epoch == self.epoch());
        let Some(group) = self.epochs.keyring(epoch).map(Keyring::group) else { return };
        let agreed = self.agreed.get(&sequence);
        if agreed.is_some_and(|agreed| agreed.is_contradicted(epoch, &answer)) {
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
            // Whether the session is unknown now is for the newest epoch to say.
            if is_newest {
                self.on_shut_out(from, refusal, out);
            }
            return;
        }
        let first = *first;
        if is_newest {
            self.shut_out.withdraw(from);
        }
        let agreed = flight.vote((epoch, group), from, answer);
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
        if let Some((member, since)) = flight.begun_with {
            self.peers.on_answered(member, now.since(since));
        }
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
