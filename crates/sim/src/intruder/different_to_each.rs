//! Sends every replica a block of its own.

use super::equivocator::{Branches, send_branch};
use super::{Deed, Intruder, Scene};

/// Forks its chain into a branch for each member.
#[derive(Debug, Default)]
pub(super) struct DifferentToEach(Branches);

impl Intruder for DifferentToEach {
    fn name(&self) -> &'static str {
        "different-to-each"
    }

    fn on_deed(&mut self, scene: &mut Scene<'_>, deed: Deed) {
        send_branch(&mut self.0, scene, deed, |_, to| u64::from(to.0) + 1);
    }
}
