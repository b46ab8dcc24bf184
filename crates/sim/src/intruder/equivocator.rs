//! Forks its chain: each half of the group sees a branch of its own, for as long as that lasts.

use ravelin_crypto::Verified;
use ravelin_model::{Action, Block, ReplicaId, Round};
use ravelin_multicast::Message;

use super::{Deed, Intruder, Scene};

/// Branches of a forked chain, each continued from block to block.
#[derive(Debug, Default)]
pub(super) struct Branches {
    /// The newest block of each branch beside the replica's own.
    tips: Vec<Option<Verified<Block>>>,
    round: Round,
}

impl Branches {
    /// The block of `branch` that stands for the replica's own `block`; branch 0 is the replica's.
    pub(super) fn block_for(
        &mut self,
        scene: &Scene<'_>,
        branch: u64,
        block: &Verified<Block>,
    ) -> Verified<Block> {
        let Ok(index) = usize::try_from(branch) else { return block.clone() };
        if index == 0 {
            return block.clone();
        }
        self.tips.resize(self.tips.len().max(index + 1), None);
        let Some(tip) = self.tips.get_mut(index) else { return block.clone() };
        if tip.as_ref().is_some_and(|tip| tip.body.round == block.body.round) {
            return tip.clone().unwrap_or_else(|| block.clone());
        }
        let mut body = block.body.clone();
        if let (Some(tip), Some(own)) = (&tip, body.parents.first_mut()) {
            *own = tip.reference();
        }
        body.timestamp.0 = body.timestamp.0.saturating_add(branch);
        body.envelopes.reverse();
        let fork = scene.sign(body);
        *tip = Some(fork.clone());
        self.round = block.body.round;
        fork
    }
}

/// Sends `deed`, or instead of an own block the one of the recipient's branch.
pub(super) fn send_branch(
    branches: &mut Branches,
    scene: &mut Scene<'_>,
    deed: Deed,
    branch_of: impl Fn(&Scene<'_>, ReplicaId) -> u64,
) {
    let Some((to, block)) = scene.own_block(&deed) else { return scene.let_pass(deed) };
    let branch = branch_of(scene, to);
    let fork = branches.block_for(scene, branch, &block);
    if fork == block {
        scene.let_pass(Deed::Act(Action::Send(to, Message::Block(block))));
    } else {
        scene.send_block(to, &fork);
    }
}

/// Forks its chain into two branches.
#[derive(Debug, Default)]
pub(super) struct Equivocator(Branches);

impl Intruder for Equivocator {
    fn name(&self) -> &'static str {
        "equivocator"
    }

    fn on_deed(&mut self, scene: &mut Scene<'_>, deed: Deed) {
        send_branch(&mut self.0, scene, deed, |scene, to| scene.means.part_of(to, 2));
    }
}
