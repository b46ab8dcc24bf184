//! Prepares a tree of equivocating blocks, shows its leaves only, and hands out the rest on request:
//! whoever walked all branches would fetch without end.

use ravelin_crypto::Verified;
use ravelin_model::{Block, BlockRef};

use super::{Deed, Intruder, Scene};

/// Rounds over which the tree grows: so many doublings.
const DEPTH: u32 = 4;
/// Its own blocks between two trees.
const PAUSE: u64 = 3;

/// Grows trees of forks from its own blocks.
#[derive(Debug, Default)]
pub(super) struct OfflineTree {
    made: u64,
    branches: Vec<BlockRef>,
}

impl OfflineTree {
    /// Two children for every branch, in the place of `block`.
    fn grow(&mut self, scene: &mut Scene<'_>, block: &Verified<Block>) -> Vec<Verified<Block>> {
        let roots = match self.branches.is_empty() {
            true => block.body.previous().copied().into_iter().collect(),
            false => std::mem::take(&mut self.branches),
        };
        let mut leaves = Vec::new();
        for (root, twin) in roots.iter().flat_map(|root| [(root, 1), (root, 2)]) {
            let mut body = block.body.clone();
            if let Some(own) = body.parents.first_mut() {
                *own = *root;
            }
            body.timestamp.0 = body.timestamp.0.saturating_add(twin);
            let leaf = scene.sign(body);
            scene.keep(&leaf);
            leaves.push(leaf);
        }
        self.branches = leaves.iter().map(Verified::reference).collect();
        leaves
    }
}

impl Intruder for OfflineTree {
    fn name(&self) -> &'static str {
        "offline-tree"
    }

    fn on_deed(&mut self, scene: &mut Scene<'_>, deed: Deed) {
        let first = scene.others().next();
        let Some((to, block)) = scene.own_block(&deed) else { return scene.let_pass(deed) };
        scene.let_pass(deed);
        if Some(to) != first {
            return;
        }
        self.made += 1;
        let step = self.made % (PAUSE + u64::from(DEPTH));
        if step < PAUSE {
            return self.branches.clear();
        }
        let leaves = self.grow(scene, &block);
        if step + 1 == PAUSE + u64::from(DEPTH) {
            let others: Vec<_> = scene.others().collect();
            for (turn, leaf) in leaves.iter().enumerate() {
                if let Some(to) = others.get(turn % others.len().max(1)) {
                    scene.send_block(*to, leaf);
                }
            }
        }
    }
}
