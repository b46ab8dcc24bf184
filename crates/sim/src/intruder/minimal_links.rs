//! Links as few blocks as it may: a quorum of the round before, and the oldest of the rest.

use super::maker::{Draft, Maker};
use super::{Intruder, Scene};

/// Makes blocks with as few links as allowed.
#[derive(Debug, Default)]
pub(super) struct MinimalLinks(Maker);

impl Intruder for MinimalLinks {
    fn name(&self) -> &'static str {
        "minimal-links"
    }

    fn on_turn(&mut self, scene: &mut Scene<'_>) {
        if let Some(base) = self.0.base(scene) {
            let mut shunned: Vec<_> = scene.others().collect();
            let turn = scene.means.dice.below(shunned.len() as u64);
            shunned.rotate_left(usize::try_from(turn).unwrap_or(0));
            self.0.make(scene, base, Draft { shunned, ..Draft::default() });
        }
    }
}
