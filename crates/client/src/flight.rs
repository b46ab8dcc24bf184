//! One envelope on its way: where it was sent, and what members answered.
//!
//! **Guarantee:** a slot settles only when a quorum of the members of one epoch, all distinct, tell
//! one result for its sequence. The signed envelope never changes, so every retry sends the same
//! bytes.
//!
//! Votes of two epochs are never added up: each epoch may have `f` intruded members of its own. A
//! member that voted in one epoch may vote again in the next, and counts once in each.

use std::collections::{BTreeMap, BTreeSet};

use ravelin_crypto::domain_digest;
use ravelin_model::{
    Answer, Digest, Encode as _, Envelope, Epoch, Group, OperationResult, Position, Refusal,
    ReplicaId, Sequence, Time,
};

use crate::event::{Ticket, Voted};
use crate::tally::Tally;

/// What an envelope is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// It opens the session.
    Open,
    /// The caller's operations.
    Operations,
    /// A read that had to be ordered.
    Read,
    /// It ends the session.
    Close,
}

/// An envelope in flight.
#[derive(Debug)]
pub(crate) struct Flight {
    pub(crate) ticket: Ticket,
    pub(crate) purpose: Purpose,
    pub(crate) envelope: Envelope,
    /// Canonical bytes of the envelope.
    pub(crate) size: usize,
    /// Members to which this attempt sent it.
    pub(crate) sent: BTreeSet<ReplicaId>,
    /// What members denied in this attempt.
    pub(crate) denials: Tally<Refusal>,
    /// Attempts before this one.
    pub(crate) attempt: u32,
    /// When this attempt has failed.
    pub(crate) deadline: Time,
    /// In its first attempt, whom it was sent to first, and when: however it is answered, that is how
    /// long it took by that way.
    pub(crate) begun_with: Option<(ReplicaId, Time)>,
    /// If it was not the home replica: when the first attempt has failed where that member refuses.
    pub(crate) trial_until: Option<Time>,
    slots: Vec<Slot>,
    /// Slots without a result.
    open: usize,
}

/// One operation's answer.
#[derive(Debug)]
enum Slot {
    /// By the epoch in which members voted.
    Voting(BTreeMap<Epoch, Tally<Vote>>),
    Settled(Voted),
}

/// What one member told of one operation. The result's bytes are not kept: the message that
/// completes a quorum brings them again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Vote {
    result: Digest,
    place: (Position, u16),
}

/// What was agreed about one operation, for comparing other answers with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Agreed {
    ticket: Ticket,
    epoch: Epoch,
    vote: Vote,
}

impl Flight {
    pub(crate) fn new(
        ticket: Ticket,
        purpose: Purpose,
        envelope: Envelope,
        deadline: Time,
    ) -> Self {
        let slots: Vec<_> =
            envelope.operations.iter().map(|_| Slot::Voting(BTreeMap::new())).collect();
        Self {
            ticket,
            purpose,
            size: envelope.encode().len(),
            envelope,
            sent: BTreeSet::new(),
            denials: Tally::default(),
            attempt: 0,
            deadline,
            begun_with: None,
            trial_until: None,
            open: slots.len(),
            slots,
        }
    }

    /// Whether `sequence` is one of its operations.
    pub(crate) fn has(&self, sequence: Sequence) -> bool {
        self.index(sequence).is_some()
    }

    /// Begins the next attempt.
    pub(crate) fn start_over(&mut self, deadline: Time) {
        self.attempt = self.attempt.saturating_add(1);
        (self.begun_with, self.trial_until) = (None, None);
        self.sent.clear();
        self.denials.clear();
        self.deadline = deadline;
    }

    /// Forgets what was told before `oldest`, and what members denied before a new epoch began.
    pub(crate) fn begin_epoch(&mut self, oldest: Epoch) {
        self.begun_with = None; // the change took its time, too
        self.denials.clear();
        for slot in &mut self.slots {
            if let Slot::Voting(votes) = slot {
                votes.retain(|epoch, _| *epoch >= oldest);
            }
        }
    }

    /// Counts what `from` answered as a member of an epoch with this group. The answer that
    /// completes a quorum settles the slot and returns what was agreed, if enough name one place,
    /// with the members that told otherwise of it in that epoch.
    pub(crate) fn vote(
        &mut self,
        (epoch, group): (Epoch, Group),
        from: ReplicaId,
        answer: Answer,
    ) -> Option<(Agreed, Vec<ReplicaId>)> {
        let index = self.index(answer.sequence)?;
        let slot = self.slots.get_mut(index)?;
        let Slot::Voting(votes) = slot else { return None };
        let tally = votes.entry(epoch).or_default();
        let result = digest_of(&answer.result);
        tally.record(from, Vote { result, place: (answer.position, answer.index) });
        let by = tally.who(|vote| vote.result == result);
        if by.len() < group.quorum() {
            return None;
        }
        let place = agreed_place(tally, result, group);
        let agreed = place.map(|place| {
            let agreed = Agreed { ticket: self.ticket, epoch, vote: Vote { result, place } };
            (agreed, tally.who(|vote| agreed.is_contradicted_by(vote)))
        });
        let (sequence, outcome) = (answer.sequence, answer.result);
        *slot = Slot::Settled(Voted { sequence, outcome, place, epoch, by });
        self.open -= 1;
        agreed
    }

    /// Whether every operation has its result.
    pub(crate) fn is_settled(&self) -> bool {
        self.open == 0
    }

    /// The results, in order; of those settled.
    pub(crate) fn into_results(self) -> Vec<Voted> {
        let settled = self.slots.into_iter().filter_map(|slot| match slot {
            Slot::Settled(voted) => Some(voted),
            Slot::Voting(_) => None,
        });
        settled.collect()
    }

    /// Votes kept now.
    #[cfg(test)]
    pub(crate) fn vote_count(&self) -> usize {
        let count = |slot: &Slot| match slot {
            Slot::Voting(votes) => votes.values().map(Tally::len).sum(),
            Slot::Settled(_) => 0,
        };
        self.slots.iter().map(count).sum()
    }

    fn index(&self, sequence: Sequence) -> Option<usize> {
        let offset = sequence.0.checked_sub(self.envelope.first.0)?;
        usize::try_from(offset).ok().filter(|offset| *offset < self.slots.len())
    }
}

impl Agreed {
    /// What was asked for.
    pub(crate) fn ticket(&self) -> Ticket {
        self.ticket
    }

    /// Whether a correct member of `epoch` cannot have told this, given what was agreed. Only about
    /// one place, since an ordered read whose envelope was ordered twice has two true results; and
    /// only about the epoch in which it was agreed.
    pub(crate) fn is_contradicted(&self, epoch: Epoch, answer: &Answer) -> bool {
        let place = (answer.position, answer.index);
        epoch == self.epoch
            && self.is_contradicted_by(&Vote { result: digest_of(&answer.result), place })
    }

    fn is_contradicted_by(&self, vote: &Vote) -> bool {
        vote.place == self.vote.place && vote.result != self.vote.result
    }
}

/// The place that `one_correct` of those name who told this result.
fn agreed_place(tally: &Tally<Vote>, result: Digest, group: Group) -> Option<(Position, u16)> {
    let places = tally.votes().filter(|(_, vote)| vote.result == result);
    places
        .map(|(_, vote)| *vote)
        .find(|vote| tally.count(|other| other == vote) >= group.one_correct())
        .map(|vote| vote.place)
}

fn digest_of(result: &OperationResult) -> Digest {
    domain_digest("ravelin client result v1", &[&result.encode()])
}
