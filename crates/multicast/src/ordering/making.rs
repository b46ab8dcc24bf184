//! When a replica makes its next block, and what stands in it.
//!
//! Self-clocked: a block is due as soon as the quorum, the awaited leaders and their votes are
//! there. A laggard makes the block of every round in order, without waiting for anything.

use super::*;
use ravelin_model::limits::{BLOCK_BYTES_MAX, BLOCK_VOTES_MAX, HEARTBEAT};

/// Blocks that a laggard makes in one go.
const RUN_MAX: usize = 64;
/// Bytes of a block that its payload may not use: header, parents, evidence.
const BLOCK_OVERHEAD: usize = 64 << 10;

impl<P: Payload> Ordering<P> {
    /// Makes the next block if it may and should be made now; a laggard, a run of them.
    pub(super) fn advance(&mut self, now: Time, out: &mut Actions<Self>) {
        if !self.is_open() {
            return;
        }
        for _ in 0..RUN_MAX {
            let before = self.last;
            self.make_if_due(now, out);
            let made = self.dag.has(&self.last) && self.last != before;
            if !made {
                return;
            }
        }
    }

    fn make_if_due(&mut self, now: Time, out: &mut Actions<Self>) {
        if self.recall.standing() != Standing::Active
            || !self.dag.has(&self.last)
            || self.drafted.is_some()
        {
            return; // its last block has yet to come back from its own disk, or its wormhole
        }
        let Some(base) = self.base() else { return };
        if self.builders(base) < self.builders_needed() {
            self.ready_since = None;
            return self.say_again(now, out);
        }
        let since = *self.ready_since.get_or_insert(now);
        if self.is_overtaken(base) {
            // The others have moved on: nobody waits for this vote, and the next block need not wait
            // for this one to come back from the disk. Whatever it decides is asked for after its
            // `Persist`, so nothing of it shows before it is durable.
            if let Some(block) = self.make_block(now, base.next(), out) {
                self.insert_and_report(block, out);
            }
        } else if self.is_due(now, base, since) {
            self.make_block(now, base.next(), out);
        }
    }

    /// Whether a quorum is a round ahead already.
    fn is_overtaken(&self, base: Round) -> bool {
        self.builders(base.next()) >= self.builders_needed()
    }

    /// Sends the last block once more: the others may have been down, or it may be lost, and no
    /// other message would tell them that this replica waits for theirs.
    fn say_again(&mut self, now: Time, out: &mut Actions<Self>) {
        if now >= self.said.after(HEARTBEAT)
            && let Some(block) = self.dag.whole(&self.last)
        {
            out.push(Action::Broadcast(Message::Block(block.clone())));
            self.said = now;
        }
    }

    /// How many blocks of a round the next one must name: fewer when members are exposed, see
    /// [`validity`].
    fn builders_needed(&self) -> usize {
        let members = self.rule.group.members();
        let exposed = members.filter(|member| self.forks.has(*member)).count();
        self.rule.group.quorum().saturating_sub(exposed).max(1)
    }

    /// How many members have a block of `round` that a next block may name.
    fn builders(&self, round: Round) -> usize {
        let members = self.rule.group.members();
        let has_block = |member| round == Round(0) || self.dag.of(round, member).next().is_some();
        members.filter(|member| !self.forks.has(*member) && has_block(*member)).count()
    }

    /// The round that the next block builds on: that of this replica's last block, for a laggard
    /// makes the block of every round. Only when the horizon has passed its last block, by a replay
    /// of what the others committed without it, does it join them where they are.
    pub(super) fn base(&self) -> Option<Round> {
        let last = self.last.round;
        if last > self.dag.horizon() || self.dag.horizon() == Round(0) {
            return Some(last);
        }
        if !self.catch_up.is_caught_up(&self.dag) {
            return None;
        }
        let mut round = self.dag.highest();
        while self.builders(round) < self.builders_needed() && round > self.dag.horizon() {
            round = round.minus(1);
        }
        Some(round)
    }

    fn is_due(&mut self, now: Time, base: Round, since: Time) -> bool {
        let is_beat = now >= self.last_made.after(HEARTBEAT);
        if self.is_idle(base) {
            return is_beat;
        }
        if self.decides_nothing(base) && !is_beat {
            return false;
        }
        let lacking = self.lacking(base);
        if lacking.is_empty() {
            return true;
        }
        let is_over = now >= since.after(self.pacing.wait())
            || !lacking.iter().any(|slot| self.may_come(*slot));
        if is_over {
            lacking.into_iter().for_each(|slot| self.pacing.on_given_up(slot));
        }
        is_over
    }

    /// The slots that the next block on `base` is worth waiting for: those of `base` whose awaited
    /// leader's block is not here, and those of the round before whose votes may still come.
    fn lacking(&self, base: Round) -> Vec<Slot> {
        let slots = |round| (0..self.rule.leaders).map(move |index| Slot { round, index });
        let leaders = slots(base).filter(|slot| !self.has_leader(*slot));
        let votes = slots(base.minus(1))
            .filter(|_| !self.rule.is_hybrid()) // the votes of whoever is slow count all the same
            .filter(|slot| !mutants::is_active("votes_not_awaited") && !self.has_votes(*slot));
        leaders.chain(votes).filter(|slot| self.is_awaited(*slot)).collect()
    }

    fn is_awaited(&self, slot: Slot) -> bool {
        let leader = self.rule.leader(slot);
        slot.round > Round(0)
            && self.fork_of(leader).is_none()
            && self.pacing.is_awaited(leader, slot.round)
    }

    /// Whether waiting for an awaited slot promises anything. Who shows blocks and keeps their parents is
    /// heard, too, and nothing of it can be used.
    fn may_come(&self, slot: Slot) -> bool {
        let leader = self.rule.leader(slot);
        self.pacing.may_come(leader, self.dag.newest_held(leader), slot.round)
    }

    /// Nothing to order here, nothing under way, and nobody ahead.
    fn is_idle(&self, base: Round) -> bool {
        !self.payload.is_waiting() && self.undelivered.is_empty() && !self.is_anyone_ahead(base)
    }

    /// Whether fewer than a quorum have a block of `base`, which may be enough for one of the next where
    /// members are exposed, and nobody needs that. Two members beside a proven forker and a silent one
    /// would else go through one undecided round after the other as fast as they can.
    fn decides_nothing(&self, base: Round) -> bool {
        self.builders(base) < self.rule.group.quorum()
            && !self.is_anyone_ahead(base)
            && !mutants::is_active("rounds_without_quorum")
    }

    /// When the next block on `base` is due at the latest, if enough have been there since `since`.
    pub(super) fn due(&self, base: Round, since: Time) -> Time {
        let (beat, is_over) = (self.last_made.after(HEARTBEAT), since.after(self.pacing.wait()));
        if self.is_idle(base) {
            beat
        } else if !self.decides_nothing(base) {
            is_over
        } else if self.lacking(base).is_empty() {
            beat
        } else {
            beat.max(is_over)
        }
    }

    /// Whether a member that has not forked has a block of a round after `base`.
    fn is_anyone_ahead(&self, base: Round) -> bool {
        let is_ahead = |member| self.dag.newest_held(member) > base;
        self.rule.group.members().any(|member| !self.forks.has(member) && is_ahead(member))
    }

    /// Whether the block of `slot`'s leader is here, or on its way back from the own disk.
    fn has_leader(&self, slot: Slot) -> bool {
        let leader = self.rule.leader(slot);
        leader == self.own || self.dag.of(slot.round, leader).next().is_some()
    }

    /// Whether a quorum's votes for `slot`'s leader are here, or cannot come any more.
    fn has_votes(&self, slot: Slot) -> bool {
        let leader = self.rule.leader(slot);
        let mut voters = BTreeSet::new();
        let mut others = BTreeSet::new();
        for (reference, block) in self.dag.round(slot.round.next()) {
            let votes = self.rule.vote(&self.dag, block, slot.round, leader).is_some();
            if votes { &mut voters } else { &mut others }.insert(reference.author);
        }
        voters.len() >= self.rule.group.quorum() || others.len() >= self.rule.group.blocking()
    }

    /// Makes the block of `round`; `None`: it has to be attested first.
    fn make_block(
        &mut self,
        now: Time,
        round: Round,
        out: &mut Actions<Self>,
    ) -> Option<Verified<Block>> {
        self.judge_waiting(round);
        // What stands in rounds that decide nothing is kept by all until some are decided.
        let room = match self.decides_nothing(round.minus(1)) {
            true => 0,
            false => BLOCK_BYTES_MAX - BLOCK_OVERHEAD,
        };
        let (envelopes, mut votes) = self.payload.draw(room, BLOCK_VOTES_MAX / 2);
        let exposed: Vec<ReplicaId> =
            self.rule.group.members().filter(|member| self.fork_of(*member).is_some()).collect();
        let parents = self.parents(round, &exposed);
        let proofs = self.forks.due(round, self.dag.block(&self.last));
        votes.extend(proofs.map(Vote::Evidence));
        let body = BlockBody {
            cluster: self.keyring.cluster(),
            genesis: self.keyring.genesis(),
            epoch: self.keyring.epoch(),
            author: self.own,
            round,
            parents,
            exposed,
            timestamp: now,
            envelopes,
            votes,
        };
        self.last_made = now;
        self.said = now;
        self.ready_since = None;
        self.pacing.on_made(now, round);
        let Authorship::Key(key) = &self.authorship else {
            self.ask_to_attest(body, out);
            return None;
        };
        let block = self.keyring.sign_block(key, body);
        self.last = block.reference();
        self.made = Some(block.clone());
        out.push(record(&block));
        out.push(Action::Broadcast(Message::Block(block.clone())));
        Some(block)
    }

    /// The own last block, then the newest block before `round` of every member not exposed.
    fn parents(&self, round: Round, exposed: &[ReplicaId]) -> Vec<BlockRef> {
        let others = self.rule.group.members().filter(|member| *member != self.own);
        let others = others.filter(|member| !exposed.contains(member));
        let newest = others.filter_map(|member| self.dag.newest_until(member, round.minus(1)));
        std::iter::once(self.last).chain(newest).collect()
    }

    /// Learns from the slots whose wave is a round ago as this replica makes its block of `round`:
    /// whoever was waited for long enough, and its votes, is committed directly by now.
    fn judge_waiting(&mut self, round: Round) {
        let proposed = round.minus(self.rule.wave + 1);
        for index in 0..self.rule.leaders {
            let slot = Slot { round: proposed, index };
            if self.is_awaited(slot) {
                let end = if !self.rule.is_committed_directly(&self.dag, slot) {
                    SlotEnd::Missed
                } else if slot < self.delivery.state().next {
                    SlotEnd::Delivered
                } else {
                    SlotEnd::HeldUp
                };
                self.pacing.on_awaited_slot(slot, end);
            }
        }
    }
}
