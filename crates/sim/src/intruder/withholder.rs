//! Sends its blocks to few: to one other member, or to one fewer than would make a quorum with it.

use super::{Deed, Intruder, Scene};

/// Sends its blocks to few, and hands them to nobody else.
#[derive(Debug, Default)]
pub(super) struct Withholder;

impl Intruder for Withholder {
    fn name(&self) -> &'static str {
        "withholder"
    }

    fn on_deed(&mut self, scene: &mut Scene<'_>, deed: Deed) {
        let Some((to, _)) = scene.own_block(&deed) else { return scene.let_pass(deed) };
        let group = scene.means.keyring.group();
        let favoured = match scene.means.shared(2) % 2 {
            0 => 1,
            _ => group.quorum() - 2,
        };
        if scene.is_favoured(to, favoured.max(1)) {
            scene.let_pass(deed);
        } else {
            scene.act();
        }
    }
}
