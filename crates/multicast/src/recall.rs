//! May this replica speak? After every start it first asks the others what they know of it.
//!
//! With an intact log the answers of `q-1` others show no newer block of its own, and it goes on
//! with its next round. If a newer own block appears, now or later, its log is not all it said: it
//! becomes a learner, for another block of a round that it already used would be equivocation.
//! Members answer from their log before they have asked themselves, so a cold start of all cannot
//! deadlock.

use std::collections::BTreeSet;
use std::time::Duration;

use ravelin_model::{Action, BlockRef, Group, ReplicaId, SignedHeader, Time, mutants};

use crate::{Event, Message};

/// First pause between two questions; doubles up to [`ASK_PAUSE_MAX`].
const ASK_PAUSE: Duration = Duration::from_millis(100);
/// Longest pause between two questions.
const ASK_PAUSE_MAX: Duration = Duration::from_secs(2);

/// Whether a replica may make blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Started; asks the others first.
    Asking,
    /// Speaks.
    Active,
    /// Lost its promises: makes no blocks, follows only; in this epoch, unless its own last block, which its
    /// wormhole names, came back from others, was recorded, and is found at the next start.
    Learner,
}

#[derive(Debug)]
pub(crate) struct Recall {
    group: Group,
    own: ReplicaId,
    nonce: u64,
    standing: Standing,
    answered: BTreeSet<ReplicaId>,
    next: Time,
    pause: Duration,
}

type Out = Vec<Action<Message, Event>>;

impl Recall {
    pub(crate) fn new(group: Group, own: ReplicaId, nonce: u64) -> Self {
        Self {
            group,
            own,
            nonce,
            standing: Standing::Asking,
            answered: BTreeSet::new(),
            next: Time(0),
            pause: ASK_PAUSE,
        }
    }

    pub(crate) fn standing(&self) -> Standing {
        self.standing
    }

    pub(crate) fn ask(&mut self, now: Time, out: &mut Out) {
        if self.standing != Standing::Asking {
            return;
        }
        for member in self.group.members() {
            if member != self.own && !self.answered.contains(&member) {
                out.push(Action::Send(member, Message::Recall(self.nonce)));
            }
        }
        self.next = now.after(self.pause);
        self.pause = (self.pause * 2).min(ASK_PAUSE_MAX);
    }

    pub(crate) fn on_time(&mut self, now: Time, out: &mut Out) {
        if self.standing == Standing::Asking && now >= self.next {
            self.ask(now, out);
        }
    }

    /// Takes an answer; `newest` is checked to be a header of this replica.
    pub(crate) fn on_recalled(
        &mut self,
        from: ReplicaId,
        nonce: u64,
        newest: Option<SignedHeader>,
        last: &BlockRef,
        out: &mut Out,
    ) {
        if self.standing != Standing::Asking || nonce != self.nonce || from == self.own {
            return;
        }
        let is_newer = newest.is_some_and(|signed| {
            let reference = signed.header.reference;
            reference.round > last.round || (reference.round == last.round && reference != *last)
        });
        if is_newer && !mutants::is_active("amnesia_ignored") {
            return self.on_unknown_own_block(out);
        }
        self.answered.insert(from);
        if self.answered.len() >= self.group.quorum() - 1 {
            self.become_standing(Standing::Active, out);
        }
    }

    /// Nobody need be asked: the replica's wormhole knows of all of its blocks.
    pub(crate) fn on_whole(&mut self, out: &mut Out) {
        if self.standing == Standing::Asking {
            self.become_standing(Standing::Active, out);
        }
    }

    /// A block of this replica appeared that its log does not know.
    pub(crate) fn on_unknown_own_block(&mut self, out: &mut Out) {
        if self.standing != Standing::Learner && !mutants::is_active("amnesia_ignored") {
            self.become_standing(Standing::Learner, out);
        }
    }

    pub(crate) fn next_deadline(&self) -> Option<Time> {
        (self.standing == Standing::Asking).then_some(self.next)
    }

    fn become_standing(&mut self, standing: Standing, out: &mut Out) {
        self.standing = standing;
        out.push(Action::Emit(Event::Standing(standing)));
    }
}
