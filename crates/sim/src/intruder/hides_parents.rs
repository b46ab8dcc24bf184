//! Shows a block and keeps its parent: every other block of its own goes to nobody.

use super::{Deed, Intruder, Scene};

/// Keeps every other block, and refuses to hand it out.
#[derive(Debug, Default)]
pub(super) struct HidesParents;

impl Intruder for HidesParents {
    fn name(&self) -> &'static str {
        "hides-parents"
    }

    fn on_deed(&mut self, scene: &mut Scene<'_>, deed: Deed) {
        match scene.own_block(&deed) {
            Some((_, block)) if block.body.round.0 % 2 == 0 => scene.hide(block.reference()),
            _ => scene.let_pass(deed),
        }
    }
}
