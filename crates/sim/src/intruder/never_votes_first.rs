//! Never votes for another's leader block, but its own block is always there first: so its vote is
//! among those that a hasty replica builds on, and no leader gets a certificate.

use super::maker::{Draft, Maker};
use super::{Intruder, Scene};

/// Makes its blocks at once and without links to leader blocks.
#[derive(Debug, Default)]
pub(super) struct NeverVotesFirst(Maker);

impl Intruder for NeverVotesFirst {
    fn name(&self) -> &'static str {
        "never-votes-first"
    }

    fn is_first(&self) -> bool {
        true
    }

    fn on_turn(&mut self, scene: &mut Scene<'_>) {
        if let Some(base) = self.0.base(scene) {
            let shunned = Maker::leaders(scene, base);
            self.0.make(scene, base, Draft { shunned, ..Draft::default() });
        }
    }
}
