//! Ending an epoch from outside its order: everybody stops speaking, shows what it holds, and decides
//! what the union of that decides.
//!
//! Who plans what follows an epoch must know that nobody decides more in it. So a replica that says what
//! it holds decides nothing beyond that until it is told to go on.
//!
//! **What enters meanwhile.** A reference counts as present up to the horizon, and that moves with what is
//! decided. Were it to stand still while a replica holds, an intruder could show a block to another one
//! alone that does not hold yet, and have that one's horizon pass a parent which nobody has: what builds
//! on it would be a tip there that could never enter here, and all would wait for ever. So whoever holds
//! *foresees*: it goes through the decisions that it does not make, and judges what enters by the horizon
//! that they lead to.
//!
//! This is safe, for it is what deciding would do, but that nothing is delivered or forgotten. Let `D` be
//! what is foreseen, `h` the horizon after it, and `Y` a block that enters although a parent of a round
//! up to `h` is missing.
//! - The leaders in `D` were in the DAG before `Y`, with histories that lack nothing above the horizon at
//!   which each block of them entered. So `Y` is in none of these; and later blocks change no decision,
//!   so whoever goes on decides `D` first, of the same blocks.
//! - Leaders after `D` are committed with a horizon of at least `h`. Their histories are walked down to
//!   it, never to what is missing; and what decides them lies in rounds a whole depth above it.
//!
//! Two that held the same tips above the higher of their horizons hold the same blocks there. Both go on
//! to the same decisions, wherever each of them stood when it began to hold.
//!
//! **Less than what is here.** Who holds may end the epoch with a part of that ([`Ordering::seal_at`]), if all
//! that it decided comes of this part: what was there when it began to hold lies in it. Later blocks change
//! no decision, so the part leads whoever has it to the same ones.
//!
//! And it is live: what another one took in, it took in after what had moved its horizon as far as was
//! needed. Whoever holds takes it in in the same order, once it has all that the other one has.

use ravelin_model::{CommitIndex, Cut};

use super::*;
use crate::delivery::horizon_at;

/// How far an epoch is on its way to an end that its order does not know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Closing {
    /// It is not.
    #[default]
    Open,
    /// No more blocks are made here.
    Silent,
    /// Nor is anything decided, but foreseen.
    Held(Foreseen),
    /// What is here is decided, and nothing enters any more.
    Sealed,
}

/// How far the DAG decides the order, for one who does not apply that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Foreseen {
    /// The first slot that it does not decide.
    next: Slot,
    /// The round of the last leader that would be committed.
    leader_round: Round,
}

impl<P: Payload> Ordering<P> {
    /// Makes no more blocks. What arrives is taken, and decided.
    pub fn close(&mut self) {
        if self.closing == Closing::Open {
            self.closing = Closing::Silent;
        }
    }

    /// Decides nothing more, and makes no more blocks, until [`Self::go_on`]. What enters is judged as if
    /// it did. Whoever held in an earlier life holds before it takes its log back: that may hold blocks
    /// which entered only so.
    pub fn hold(&mut self) {
        if !self.is_held() {
            let state = self.delivery.state();
            let foreseen = Foreseen { next: state.next, leader_round: state.leader_round };
            self.closing = Closing::Held(foreseen);
        }
    }

    /// Decides what can be decided, and goes on to: whoever does so must know where to stop.
    pub fn go_on(&mut self, now: Time, out: &mut Actions<Self>) {
        self.closing = Closing::Silent;
        self.decide(now, out);
    }

    /// Decides what the blocks in the DAG decide, and nothing more ever. Those that wait for parents stay
    /// out: others do not have them.
    pub fn seal(&mut self, now: Time, out: &mut Actions<Self>) {
        self.closing = Closing::Sealed;
        self.decide(now, out);
        self.end();
    }

    /// Whether all that leads to `cut` is here, leads to just its horizon, and is led to by all that led to
    /// `decided`.
    ///
    /// Of what lies at a horizon or below, others may have more or less. It makes no difference if decisions
    /// led to that horizon; if a liar made it up, it does.
    ///
    /// Cost: a walk through the DAG, and as much as deciding it.
    #[must_use]
    pub fn may_seal_at(&self, cut: &Cut, decided: &Cut) -> bool {
        let Some(part) = self.dag.part(cut) else { return false };
        let mut tips = decided.tips.iter().filter(|tip| tip.round > cut.horizon);
        (tips.all(|tip| part.contains(tip)) || mutants::is_active("cut_below_what_was_decided"))
            && self.commit_of(cut, &part).is_some()
    }

    /// The last commit to which `cut` alone leads, if all that leads to it is here, and leads to just its
    /// horizon.
    ///
    /// Cost: a walk through the DAG, and as much as deciding it.
    #[must_use]
    pub fn commit_at(&self, cut: &Cut) -> Option<CommitIndex> {
        self.commit_of(cut, &self.dag.part(cut)?)
    }

    fn commit_of(&self, cut: &Cut, part: &BTreeSet<BlockRef>) -> Option<CommitIndex> {
        let mut rest = self.dag.clone();
        rest.retain(part);
        let state = self.delivery.state();
        let decisions = self.rule.decide(&rest, state.next);
        let commits = decisions.iter().filter(|(_, it)| matches!(it, Decision::Commit(..))).count();
        let leads_there = horizon_at(last_leader(&decisions, state.leader_round)) == cut.horizon
            || mutants::is_active("horizon_of_a_part_believed");
        leads_there.then_some(CommitIndex(state.commit.0 + commits as u64))
    }

    /// Decides what `cut` alone decides, and nothing more ever, as [`Self::seal`] does with all that is here.
    ///
    /// # Panics
    /// If [`Self::may_seal_at`] says no.
    pub fn seal_at(&mut self, cut: &Cut, now: Time, out: &mut Actions<Self>) {
        let part = self.dag.part(cut).expect("all that leads to the cut is here");
        self.dag.retain(&part);
        self.seal(now, out);
    }

    /// Goes through what the DAG decides, applies nothing of it, and takes in what waited for nothing
    /// above the horizon to which that leads.
    pub(super) fn foresee(&mut self, now: Time, out: &mut Actions<Self>) {
        if mutants::is_active("horizon_stands_still_while_held") {
            return;
        }
        while let Closing::Held(Foreseen { next, leader_round }) = self.closing
            && !self.is_over
        {
            let decisions = self.rule.decide(&self.dag, next);
            let Some((last, _)) = decisions.last() else { return };
            let leader_round = last_leader(&decisions, leader_round);
            self.closing = Closing::Held(Foreseen { next: self.rule.after(*last), leader_round });
            self.dag.pass(horizon_at(leader_round));
            for (from, block) in self.parking.reexamine(&self.dag) {
                self.enter_or_park(now, from, block, out);
            }
        }
    }

    /// The round of the last leader that is committed, or would be.
    pub(super) fn foreseen_leader(&self) -> Round {
        match self.closing {
            Closing::Held(foreseen) => foreseen.leader_round,
            Closing::Open | Closing::Silent | Closing::Sealed => self.delivery.state().leader_round,
        }
    }

    pub(super) fn is_held(&self) -> bool {
        matches!(self.closing, Closing::Held(_))
    }

    pub(super) fn is_sealed(&self) -> bool {
        self.closing == Closing::Sealed
    }

    /// What is here: the newest blocks with their histories, of each member that has any above the horizon.
    #[must_use]
    pub fn cut(&self) -> Cut {
        let members = self.rule.group.members();
        let held = |member| self.dag.newest_until(member, self.dag.newest_held(member));
        let horizon = self.dag.horizon();
        let is_above = |tip: &BlockRef| tip.round > horizon && tip.round > Round(0);
        Cut { horizon, tips: members.filter_map(held).filter(is_above).collect() }
    }

    /// Takes note of a member's own newest block, by its own word.
    pub fn on_tip(&mut self, tip: BlockRef) {
        self.catch_up.on_seen(tip);
    }

    /// Asks `member` by name for those of its tips that are not here. Reading its log does not bring them
    /// all: that begins at the last commit, and a block that nobody refers to may lie before it.
    pub fn ask_for(&self, member: ReplicaId, tips: &[BlockRef], out: &mut Actions<Self>) {
        let lacking = tips.iter().filter(|tip| !self.dag.has(tip));
        let chain = |tip: &BlockRef| Chain { tip: *tip, after: self.dag.newest_held(tip.author) };
        let wanted: Vec<Chain> = lacking.take(FETCH_MAX).map(chain).collect();
        if !wanted.is_empty() {
            out.push(Action::Send(member, Message::Fetch(wanted)));
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.closing == Closing::Open
    }
}

/// The round of the last leader, where the one before was of the round `before`.
fn last_leader(decisions: &[(Slot, Decision)], before: Round) -> Round {
    let leaders = decisions.iter().filter_map(|(_, decision)| match decision {
        Decision::Commit(leader, _) => Some(leader.round),
        Decision::Skip | Decision::Undecided => None,
    });
    leaders.fold(before, Round::max)
}

#[cfg(test)]
mod tests;
