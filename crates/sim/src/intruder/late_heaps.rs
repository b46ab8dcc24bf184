//! Hands its blocks out in heaps, late and to a bare quorum, and now and then to nobody for long.
//!
//! Each heap takes the rounds of all who got it with it. Whoever got none must fetch a long chain, one
//! whose other end the others' horizons may have passed by then; and once the intruder is silent, no
//! quorum is left without it.

use ravelin_model::Round;

use super::{Deed, Intruder, Scene};

/// Rounds in one heap: less than a horizon is deep, or nobody would take it.
const HEAP: u64 = 96;
/// Every so many heaps, one is handed out with the next only.
const SILENT: u64 = 4;

/// What it holds back, in order.
#[derive(Debug, Default)]
pub(super) struct LateHeaps {
    held: Vec<Deed>,
    newest: Round,
}

impl Intruder for LateHeaps {
    fn name(&self) -> &'static str {
        "late-heaps"
    }

    fn on_deed(&mut self, scene: &mut Scene<'_>, deed: Deed) {
        let Some((to, block)) = scene.own_block(&deed) else { return scene.let_pass(deed) };
        let quorum = scene.means.keyring.group().quorum();
        scene.act();
        let round = block.body.round;
        let (heap, before) = (round.0 / HEAP, self.newest.0 / HEAP);
        if heap != before && heap % SILENT != 0 {
            self.held.drain(..).for_each(|held| scene.let_pass(held));
        }
        self.newest = self.newest.max(round);
        if scene.is_favoured(to, quorum - 1) {
            self.held.push(deed);
        }
    }
}
