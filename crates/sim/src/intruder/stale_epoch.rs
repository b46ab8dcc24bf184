//! Speaks for another epoch, another beginning, another cluster.

use ravelin_model::{ClusterId, Digest, Epoch};

use super::{Deed, Intruder, Scene};

/// Sends its blocks again, signed for where they do not belong.
#[derive(Debug, Default)]
pub(super) struct StaleEpoch {
    turn: u64,
}

impl Intruder for StaleEpoch {
    fn name(&self) -> &'static str {
        "stale-epoch"
    }

    fn on_deed(&mut self, scene: &mut Scene<'_>, deed: Deed) {
        if let Some((to, block)) = scene.own_block(&deed) {
            self.turn += 1;
            let mut body = block.body.clone();
            match self.turn % 3 {
                0 => body.epoch = Epoch(body.epoch.0.wrapping_sub(1)),
                1 => body.genesis = Digest([7; 32]),
                _ => body.cluster = ClusterId(Digest([7; 32])),
            }
            let foreign = scene.sign(body);
            scene.send_bad_block(to, (*foreign).clone());
        }
        scene.let_pass(deed);
    }
}
