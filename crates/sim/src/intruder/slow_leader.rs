//! Is late where it hurts: holds its leader blocks back for just about as long as it is waited for.

use std::time::Duration;

use super::maker::Maker;
use super::{Deed, Intruder, Scene};

/// Delays blocks of rounds that it leads.
#[derive(Debug, Default)]
pub(super) struct SlowLeader;

impl Intruder for SlowLeader {
    fn name(&self) -> &'static str {
        "slow-leader"
    }

    fn on_deed(&mut self, scene: &mut Scene<'_>, deed: Deed) {
        let own = scene.means.own;
        match scene.own_block(&deed) {
            Some((_, block)) if Maker::leaders(scene, block.body.round).contains(&own) => {
                let delay = Duration::from_millis(5 + scene.means.shared(4) % 120);
                scene.later(delay, deed);
            }
            _ => scene.let_pass(deed),
        }
    }
}
