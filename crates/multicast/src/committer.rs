//! Which leader blocks are committed, and in which order: one rule with parameters.
//!
//! Slots are decided from the newest down; the committed sequence is the longest decided prefix.
//! The fault models differ in the parameters of [`CommitRule`] alone.
//!
//! | term | meaning | threshold |
//! |---|---|---|
//! | vote | a block of the vote round whose first met block of (leader, round) is the leader block | - |
//! | certificate | a block of the certify round | parents of `q` distinct authors vote |
//! | direct commit | certificates | `q` distinct authors |
//! | direct skip | for each known block of the slot, blocks of the vote round that do not vote for it | `q` distinct authors |
//! | indirect | first later slot, a wave or more on, that is not skipped: is a certificate in its history? | 1 |
//!
//! In `hybrid` nobody has two blocks in a round. So a parent is a vote and the vote a certificate, no slot
//! is skipped directly, and indirectly a leader counts that is itself in the history: any two quorums
//! share a member, whose one block of the round links the leader or does not.
//!
//! # Source
//! After the uncertified-DAG rules of Mysticeti (2023); the paper's atomic multicast, section 8.2.

use std::collections::{BTreeMap, BTreeSet};

use ravelin_crypto::Verified;
use ravelin_model::{Block, BlockRef, FaultModel, Group, ReplicaId, Round, mutants};

use crate::Dag;

/// A leader's turn: the `index`-th leader of a round.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    borsh::BorshSerialize,
    borsh::BorshDeserialize,
)]
pub struct Slot {
    /// The round.
    pub round: Round,
    /// Which of the round's leaders, from 0.
    pub index: u16,
}

/// What became of a slot. A decision never changes as the DAG grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The leader's block is committed.
    Commit(BlockRef, Path),
    /// The slot stays empty.
    Skip,
    /// The DAG does not say yet.
    Undecided,
}

/// How a commit was found: only direct ones show that the leader was waited for long enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// By certificates of a quorum.
    Direct,
    /// By a certificate in a later committed leader's history.
    Indirect,
}

/// The parameters of a fault model's commit rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommitRule {
    /// Size and resilience.
    pub group: Group,
    /// Rounds from proposal to certificates, both included.
    pub wave: u64,
    /// Rounds from proposal to votes.
    pub vote_after: u64,
    /// Leader slots of a round.
    pub leaders: u16,
}

impl CommitRule {
    /// The rule of `group`'s fault model with `leaders` slots a round.
    #[must_use]
    pub fn new(group: Group, leaders: u16) -> Self {
        let wave = group.model().wave();
        let vote_after = match group.model() {
            FaultModel::Arbitrary | FaultModel::Hybrid => 1,
            FaultModel::Asynchronous => 3,
        };
        Self { group, wave, vote_after, leaders }
    }

    /// The first slot of an epoch. Blocks of round 1 lead nothing: agreed time needs the timestamps
    /// of `f+1` members, and they have no history.
    #[must_use]
    pub fn first_slot(&self) -> Slot {
        Slot { round: Round(2), index: 0 }
    }

    /// The slot after `slot`.
    #[must_use]
    pub fn after(&self, slot: Slot) -> Slot {
        if slot.index + 1 < self.leaders {
            Slot { index: slot.index + 1, ..slot }
        } else {
            Slot { round: slot.round.next(), index: 0 }
        }
    }

    /// Who leads `slot`. The rotation moves on by one each round, so that the deciding rounds of a
    /// wave belong to different servers.
    #[must_use]
    pub fn leader(&self, slot: Slot) -> ReplicaId {
        let turn = if mutants::is_active("leader_rotation_fixed") {
            u64::from(slot.index)
        } else {
            slot.round.0 + u64::from(slot.index)
        };
        let member = turn % self.group.size() as u64;
        ReplicaId(u16::try_from(member).expect("a group has at most 100 members"))
    }

    /// The leaders of `round`, in slot order.
    pub fn leaders_of(&self, round: Round) -> impl Iterator<Item = ReplicaId> + '_ {
        (0..self.leaders).map(move |index| self.leader(Slot { round, index }))
    }

    /// Whether an author has one block a round.
    #[must_use]
    pub fn is_hybrid(&self) -> bool {
        self.group.model() == FaultModel::Hybrid
    }

    fn quorum(&self) -> usize {
        let lowered = usize::from(mutants::is_active("quorum_lowered"));
        self.group.quorum() - lowered
    }

    fn vote_round(&self, proposed: Round) -> Round {
        proposed.plus(self.vote_after)
    }

    fn certify_round(&self, proposed: Round) -> Round {
        proposed.plus(self.wave - 1)
    }

    fn anchor_round(&self, proposed: Round) -> Round {
        let early = u64::from(mutants::is_active("anchor_one_round_early"));
        proposed.plus(self.wave - early)
    }

    /// Decides all slots from `from` on as far as `dag` allows, and returns the longest decided
    /// prefix.
    ///
    /// Cost: a few dozen look-ups for each undecided slot, and one walk over the rounds between a
    /// slot and its anchor where it is decided indirectly.
    #[must_use]
    pub fn decide(&self, dag: &Dag, from: Slot) -> Vec<(Slot, Decision)> {
        let mut slots = Vec::new();
        let mut slot = from;
        while self.vote_round(slot.round) <= dag.highest() {
            slots.push(slot);
            slot = self.after(slot);
        }
        let mut later: BTreeMap<Slot, Decision> = BTreeMap::new();
        for slot in slots.into_iter().rev() {
            let decision = match self.decide_directly(dag, slot) {
                Decision::Undecided => self.decide_indirectly(dag, slot, &later),
                decided => decided,
            };
            later.insert(slot, decision);
        }
        later.into_iter().take_while(|(_, decision)| *decision != Decision::Undecided).collect()
    }

    /// Whether certificates of a quorum commit the leader of `slot`.
    #[must_use]
    pub fn is_committed_directly(&self, dag: &Dag, slot: Slot) -> bool {
        matches!(self.decide_directly(dag, slot), Decision::Commit(..))
    }

    /// Blocks that show, with their history, whoever lacks any of them what `dag` decided on a leader of
    /// the round `last`, and before it: each slot's that decide it directly, one an author, but for those
    /// in another one's history. Slots a wave and more before `last` need none, as any leader that late
    /// decides them.
    ///
    /// Cost: twice that of [`Self::decide`] from a wave before `last` on.
    #[must_use]
    pub fn deciders<'a>(&self, dag: &'a Dag, last: Round) -> Vec<&'a Verified<Block>> {
        let is_last_alone = mutants::is_active("last_leader_shown_alone");
        let before = if is_last_alone { 0 } else { self.wave - 1 };
        let first = last.minus(before).max(self.first_slot().round);
        let mut slot = Slot { round: first, index: 0 };
        let mut deciders = BTreeMap::new();
        while self.vote_round(slot.round) <= dag.highest() {
            let proposals = self.proposals(dag, slot);
            match self.decide_directly(dag, slot) {
                Decision::Commit(leader, _) => {
                    deciders.extend(one_an_author(self.certifiers(dag, &leader)));
                }
                Decision::Skip => {
                    for proposal in proposals_or_none(&proposals) {
                        deciders.extend(one_an_author(self.refusers(dag, slot, proposal)));
                    }
                }
                Decision::Undecided => {}
            }
            slot = self.after(slot);
        }
        let mut shown_by_others = BTreeSet::new();
        let mut heads = Vec::new();
        for (name, block) in deciders.into_iter().rev() {
            if !shown_by_others.contains(&name) {
                shown_by_others.extend(dag.history([name], first));
                heads.push(block);
            }
        }
        heads
    }

    fn decide_directly(&self, dag: &Dag, slot: Slot) -> Decision {
        let proposals = self.proposals(dag, slot);
        for proposal in &proposals {
            if self.authors(self.certifiers(dag, proposal)) >= self.quorum() {
                return Decision::Commit(*proposal, Path::Direct);
            }
        }
        if self.is_hybrid() && !mutants::is_active("hybrid_skips_directly") {
            return Decision::Undecided;
        }
        let needed = if mutants::is_active("skip_quorum_dropped") { 1 } else { self.quorum() };
        let is_refused = |proposal| self.authors(self.refusers(dag, slot, proposal)) >= needed;
        let is_skipped = proposals_or_none(&proposals).all(is_refused);
        if is_skipped { Decision::Skip } else { Decision::Undecided }
    }

    /// The known blocks of the slot's leader.
    fn proposals(&self, dag: &Dag, slot: Slot) -> Vec<BlockRef> {
        dag.of(slot.round, self.leader(slot)).map(|(reference, _)| *reference).collect()
    }

    /// The certificates for `proposal`.
    fn certifiers<'a>(
        &self,
        dag: &'a Dag,
        proposal: &BlockRef,
    ) -> impl Iterator<Item = (&'a BlockRef, &'a Verified<Block>)> {
        let round = dag.round(self.certify_round(proposal.round));
        round.filter(move |(_, block)| self.certifies(dag, block, proposal))
    }

    /// The blocks of the slot's vote round that do not vote for `proposal`, or for any block of the slot.
    fn refusers<'a>(
        &self,
        dag: &'a Dag,
        slot: Slot,
        proposal: Option<&BlockRef>,
    ) -> impl Iterator<Item = (&'a BlockRef, &'a Verified<Block>)> {
        let leader = self.leader(slot);
        dag.round(self.vote_round(slot.round)).filter(move |(_, block)| match proposal {
            Some(proposal) => !self.votes_for(dag, block, proposal),
            None => self.vote(dag, block, slot.round, leader).is_none(),
        })
    }

    fn decide_indirectly(
        &self,
        dag: &Dag,
        slot: Slot,
        later: &BTreeMap<Slot, Decision>,
    ) -> Decision {
        let from = Slot { round: self.anchor_round(slot.round), index: 0 };
        let anchor = later.range(from..).find(|(_, decision)| **decision != Decision::Skip);
        let Some((_, Decision::Commit(anchor, _))) = anchor else { return Decision::Undecided };
        if self.is_hybrid() {
            let history = dag.history([*anchor], slot.round);
            let reached = self.proposals(dag, slot).into_iter().find(|it| history.contains(it));
            return reached.map_or(Decision::Skip, |it| Decision::Commit(it, Path::Indirect));
        }
        let certify_round = self.certify_round(slot.round);
        let history = dag.history([*anchor], certify_round);
        let leader = self.leader(slot);
        let certified = dag.of(slot.round, leader).find(|(proposal, _)| {
            history
                .iter()
                .take_while(|reference| reference.round == certify_round)
                .filter_map(|reference| dag.block(reference))
                .any(|block| self.certifies(dag, block, proposal))
        });
        match certified {
            Some((proposal, _)) => Decision::Commit(*proposal, Path::Indirect),
            None => Decision::Skip,
        }
    }

    /// Whether `block`, of the certify round, is a certificate for `proposal`: its parents of the
    /// vote round by a quorum of distinct authors vote for it. In `hybrid`: it is a parent.
    #[must_use]
    pub fn certifies(&self, dag: &Dag, block: &Verified<Block>, proposal: &BlockRef) -> bool {
        if self.is_hybrid() {
            return block.body.parents.contains(proposal);
        }
        let vote_round = self.vote_round(proposal.round);
        // The certify round follows the vote round, so no other block lies between.
        let parents = block.body.parents.iter().copied();
        let voters = parents
            .filter(|reference| reference.round == vote_round)
            .filter_map(|reference| dag.block(&reference).map(|voter| (reference, voter)))
            .filter(|(_, voter)| self.votes_for(dag, voter, proposal));
        let authors: BTreeSet<ReplicaId> = voters.map(|(reference, _)| reference.author).collect();
        authors.len() >= self.quorum()
    }

    /// Whether `block`, of the vote round, votes for `proposal`.
    #[must_use]
    pub fn votes_for(&self, dag: &Dag, block: &Verified<Block>, proposal: &BlockRef) -> bool {
        if mutants::is_active("parent_order_ignored") {
            let parents = block.body.parents.iter().copied();
            return dag.history(parents, proposal.round).contains(proposal);
        }
        self.vote(dag, block, proposal.round, proposal.author) == Some(*proposal)
    }

    /// What `block`, of the vote round, votes for: the first block of (`leader`, `round`) met in a
    /// depth-first walk of its parents, in the order in which they are listed and signed.
    #[must_use]
    pub fn vote(
        &self,
        dag: &Dag,
        block: &Verified<Block>,
        round: Round,
        leader: ReplicaId,
    ) -> Option<BlockRef> {
        if links_none_after(block, round) {
            let mut parents = block.body.parents.iter();
            let is_it = |it: &&BlockRef| it.round == round && it.author == leader;
            return parents.find(is_it).copied(); // the walk would go no further
        }
        let mut seen = BTreeSet::new();
        let mut open: Vec<BlockRef> = block.body.parents.iter().rev().copied().collect();
        while let Some(reference) = open.pop() {
            if reference.round == round && reference.author == leader {
                return Some(reference);
            }
            if reference.round > round
                && seen.insert(reference)
                && let Some(next) = dag.block(&reference)
            {
                open.extend(next.body.parents.iter().rev().copied());
            }
        }
        None
    }

    /// Distinct authors of `blocks`: an equivocator counts once.
    fn authors<'a>(
        &self,
        blocks: impl Iterator<Item = (&'a BlockRef, &'a Verified<Block>)>,
    ) -> usize {
        let authors = blocks.map(|(reference, _)| reference.author);
        if mutants::is_active("votes_counted_per_block") {
            return authors.count();
        }
        authors.collect::<BTreeSet<_>>().len()
    }
}

/// Whether all parents of `block` are of `round`, or older.
fn links_none_after(block: &Block, round: Round) -> bool {
    block.body.parents.iter().all(|parent| parent.round <= round)
}

/// What a slot's vote round may refuse: each known block of it or, while none is known, whichever comes.
fn proposals_or_none(known: &[BlockRef]) -> impl Iterator<Item = Option<&BlockRef>> {
    known.iter().map(Some).chain(known.is_empty().then_some(None))
}

/// The first block of each author.
fn one_an_author<'a>(
    blocks: impl Iterator<Item = (&'a BlockRef, &'a Verified<Block>)>,
) -> impl Iterator<Item = (BlockRef, &'a Verified<Block>)> {
    let mut authors = BTreeSet::new();
    blocks.filter(move |(name, _)| authors.insert(name.author)).map(|(name, block)| (*name, block))
}

#[cfg(test)]
mod tests;
