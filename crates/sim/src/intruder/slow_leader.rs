//! Is late where it hurts: holds its leader blocks back for just about as long as it is waited for.

use std::time::Duration;

use ravelin_model::Round;

use super::maker::Maker;
use super::{Deed, Intruder, Scene};

/// The first delay.
const LEAST: Duration = Duration::from_millis(5);
/// Leader blocks after which the delay doubles.
const PATIENT: u32 = 6;
/// Doublings, up to two and a half seconds; then from the beginning.
const DOUBLINGS: u32 = 10;

/// Delays blocks of rounds that it leads, feeling for the longest wait that it is granted.
#[derive(Debug, Default)]
pub(super) struct SlowLeader {
    led: u32,
    newest: Round,
}

impl Intruder for SlowLeader {
    fn name(&self) -> &'static str {
        "slow-leader"
    }

    fn on_deed(&mut self, scene: &mut Scene<'_>, deed: Deed) {
        let own = scene.means.own;
        match scene.own_block(&deed) {
            Some((_, block)) if Maker::leaders(scene, block.body.round).contains(&own) => {
                if self.newest < block.body.round {
                    self.newest = block.body.round;
                    self.led += 1;
                }
                let delay = LEAST * (1 << (self.led / PATIENT % DOUBLINGS));
                scene.later(delay, deed);
            }
            _ => scene.let_pass(deed),
        }
    }
}
