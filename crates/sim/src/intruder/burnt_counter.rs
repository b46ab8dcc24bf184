//! Has the counter of the server's wormhole jump over all values to come, so that no block of the server
//! can be attested any more: in this epoch, or, where that is possible, in any.

use ravelin_model::{Action, BlockHeader, Epoch, Round};

use super::{Deed, Intruder, Scene};

/// Spends each counter on nothing.
#[derive(Debug, Default)]
pub(super) struct BurntCounter;

impl Intruder for BurntCounter {
    fn name(&self) -> &'static str {
        "burnt-counter"
    }

    fn on_deed(&mut self, scene: &mut Scene<'_>, deed: Deed) {
        if let Deed::Act(Action::Attest(header)) = &deed {
            let mut last = *header;
            last.reference.round = Round(u64::MAX);
            let for_good = BlockHeader { epoch: Epoch(u64::MAX), previous: Round(0), ..last };
            let is_for_good = scene.means.dice.once_in(2);
            if scene.attest(if is_for_good { &for_good } else { &last }).is_some() {
                scene.act();
            }
        }
        scene.let_pass(deed); // in vain
    }
}
