//! Leaves own blocks out of its own chain: names an older one as its last.

use ravelin_crypto::Verified;
use ravelin_model::{Block, BlockRef};

use super::{Deed, Intruder, Scene};

/// How far back the older block is.
const GAP: usize = 2;

/// Sends half of the group blocks that jump over its own last ones.
#[derive(Debug, Default)]
pub(super) struct ChainGap {
    made: Vec<BlockRef>,
    gapped: Option<Verified<Block>>,
}

impl Intruder for ChainGap {
    fn name(&self) -> &'static str {
        "chain-gap"
    }

    fn on_deed(&mut self, scene: &mut Scene<'_>, deed: Deed) {
        let Some((to, block)) = scene.own_block(&deed) else { return scene.let_pass(deed) };
        if self.made.last() != Some(&block.reference()) {
            self.made.push(block.reference());
            self.gapped = self.made.iter().rev().nth(GAP).map(|older| {
                let mut body = block.body.clone();
                if let Some(own) = body.parents.first_mut() {
                    *own = *older;
                }
                scene.sign(body)
            });
        }
        match self.gapped.clone() {
            Some(gapped) if scene.means.part_of(to, 2) == 1 => scene.send_block(to, &gapped),
            _ => scene.let_pass(deed),
        }
    }
}
