//! Says nothing to anybody.

use super::{Deed, Intruder, Scene};
use ravelin_model::Action;

/// Says nothing to anybody.
#[derive(Debug, Default)]
pub(super) struct Mute;

impl Intruder for Mute {
    fn name(&self) -> &'static str {
        "mute"
    }

    fn on_deed(&mut self, scene: &mut Scene<'_>, deed: Deed) {
        match deed {
            Deed::Act(Action::Accuse(..)) => scene.let_pass(deed),
            _ => scene.act(),
        }
    }
}
