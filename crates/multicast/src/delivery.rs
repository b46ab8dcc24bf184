//! Total order: turns committed leaders into a sequence of blocks, the same at every replica.
//!
//! For each committed leader, the not yet delivered part of its history above the horizon is
//! delivered, sorted by (round, author, digest). The boundary depends on committed leaders only, so
//! two replicas that committed the same leaders delivered the same blocks, whatever else they hold.

use std::collections::BTreeSet;

use borsh::{BorshDeserialize, BorshSerialize};
use ravelin_crypto::{Verified, domain_digest};
use ravelin_model::limits::GC_DEPTH;
use ravelin_model::{Block, BlockRef, CommitIndex, Digest, Encode as _, Group, Round, Time};

use crate::{Dag, Slot};

/// The ordering state after a commit: what a restored replica needs to deliver as all others do.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct OrderingState {
    /// The first slot not yet decided.
    pub next: Slot,
    /// Commits so far.
    pub commit: CommitIndex,
    /// Digest over all committed leaders, each chained to the one before.
    pub chain: Digest,
    /// Round of the last committed leader.
    pub leader_round: Round,
    /// Agreed time.
    pub time: Time,
    /// Each member's newest delivered round and its timestamp.
    pub clocks: Vec<(Round, Time)>,
}

/// One commit: a leader and all blocks that it brings into the order.
#[derive(Clone, Debug)]
pub struct Committed {
    /// The leader's block.
    pub leader: BlockRef,
    /// In the order in which they are to be executed.
    pub blocks: Vec<Verified<Block>>,
    /// The ordering state after this commit.
    pub state: OrderingState,
    /// Delivered references that the horizon passed with this commit: nobody needs them any more.
    pub forgotten: Vec<BlockRef>,
    /// At checkpoints: digest of the ordering state, references delivered above the horizon
    /// included.
    pub checkpoint: Option<Digest>,
}

/// Delivers committed leaders.
#[derive(Clone, Debug)]
pub struct Delivery {
    group: Group,
    checkpoint_every: u64,
    state: OrderingState,
    delivered: BTreeSet<BlockRef>,
}

/// The horizon while the last committed leader is of this round.
pub(crate) fn horizon_at(leader_round: Round) -> Round {
    leader_round.minus(GC_DEPTH)
}

impl OrderingState {
    /// The state at the beginning of an epoch.
    #[must_use]
    pub fn first(group: Group, genesis: Digest, next: Slot) -> Self {
        Self {
            next,
            commit: CommitIndex(0),
            chain: genesis,
            leader_round: Round(0),
            time: Time(0),
            clocks: vec![(Round(0), Time(0)); group.size()],
        }
    }

    /// The state at the beginning of an epoch that follows one which ended with `commit` at `time`.
    #[must_use]
    pub fn following(self, commit: CommitIndex, time: Time) -> Self {
        Self { commit, time, ..self }
    }

    /// Rounds up to this one are forgotten.
    #[must_use]
    pub fn horizon(&self) -> Round {
        horizon_at(self.leader_round)
    }

    /// Digest of the ordering state with the references delivered above the horizon: what a
    /// checkpoint signs beside the state's root.
    #[must_use]
    pub fn digest(&self, delivered: &BTreeSet<BlockRef>) -> Digest {
        domain_digest("ravelin ordering state v1", &[&self.encode(), &delivered.encode()])
    }
}

impl Delivery {
    /// Goes on from `state`, with `delivered` the references delivered above its horizon; every
    /// `checkpoint_every` commits are a checkpoint.
    #[must_use]
    pub fn new(
        group: Group,
        checkpoint_every: u64,
        state: OrderingState,
        delivered: BTreeSet<BlockRef>,
    ) -> Self {
        Self { group, checkpoint_every, state, delivered }
    }

    /// The state after the last commit.
    #[must_use]
    pub fn state(&self) -> &OrderingState {
        &self.state
    }

    /// References delivered above the horizon, ascending.
    pub fn delivered(&self) -> impl Iterator<Item = &BlockRef> {
        self.delivered.iter()
    }

    /// Whether `reference` was delivered.
    #[must_use]
    pub fn has(&self, reference: &BlockRef) -> bool {
        self.delivered.contains(reference)
    }

    /// Notes that every slot before `next` is decided.
    pub fn decided_until(&mut self, next: Slot) {
        self.state.next = next;
    }

    /// Delivers what `leader` brings into the order.
    pub fn commit(&mut self, dag: &Dag, leader: BlockRef, next: Slot) -> Committed {
        self.state.next = next;
        self.state.commit.0 += 1;
        self.state.leader_round = self.state.leader_round.max(leader.round);
        let link = [self.state.chain.0.as_slice(), &leader.encode()];
        self.state.chain = domain_digest("ravelin commit chain v1", &link);
        let horizon = self.state.horizon();
        let delivered = &self.delivered;
        let fresh = dag.walk([leader], |reference| {
            reference.round > horizon && !delivered.contains(reference)
        });
        let blocks: Vec<_> =
            fresh.iter().filter_map(|reference| dag.block(reference)).cloned().collect();
        assert!(blocks.iter().all(Verified::is_whole), "only delivered blocks let go of anything");
        self.delivered.extend(fresh);
        self.advance_time(&blocks);
        let forgotten = self.forget(horizon);
        let is_checkpoint = self.state.commit.0.is_multiple_of(self.checkpoint_every);
        let checkpoint = is_checkpoint.then(|| self.state.digest(&self.delivered));
        Committed { leader, blocks, state: self.state.clone(), forgotten, checkpoint }
    }

    /// Agreed time: the (f+1)-th largest of the members' newest timestamps, so at least one correct
    /// clock is not behind it and none need be; never going back.
    ///
    /// # Source
    /// The paper, section 4.1, on correlating imprecise sensor values: agreement on a value that no
    /// intruder can push past the correct ones.
    fn advance_time(&mut self, blocks: &[Verified<Block>]) {
        for block in blocks {
            if let Some(clock) = self.state.clocks.get_mut(block.body.author.index())
                && clock.0 < block.body.round
            {
                *clock = (block.body.round, block.body.timestamp);
            }
        }
        let mut stamps: Vec<Time> = self.state.clocks.iter().map(|(_, time)| *time).collect();
        stamps.sort_unstable_by(|one, other| other.cmp(one));
        let rank = if ravelin_model::mutants::is_active("agreed_time_is_the_maximum") {
            0
        } else {
            self.group.one_correct() - 1
        };
        let agreed = stamps.get(rank).copied().unwrap_or_default();
        self.state.time = self.state.time.max(agreed);
    }

    fn forget(&mut self, horizon: Round) -> Vec<BlockRef> {
        let kept = self.delivered.split_off(&BlockRef {
            round: horizon.next(),
            author: ravelin_model::ReplicaId(0),
            digest: Digest([0; 32]),
        });
        std::mem::replace(&mut self.delivered, kept).into_iter().collect()
    }
}

#[cfg(test)]
mod tests;
