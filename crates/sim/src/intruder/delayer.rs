//! Does everything right, and late.

use std::time::Duration;

use super::{Deed, Intruder, Scene};
use ravelin_model::Action;

/// Delays everything that it sends.
#[derive(Debug, Default)]
pub(super) struct Delayer;

impl Intruder for Delayer {
    fn name(&self) -> &'static str {
        "delayer"
    }

    fn on_deed(&mut self, scene: &mut Scene<'_>, deed: Deed) {
        if let Deed::Act(Action::Accuse(..)) = deed {
            return scene.let_pass(deed);
        }
        let most = [20, 200, 1500];
        let place = usize::try_from(scene.means.shared(7) % 3).unwrap_or(0);
        let most = most.get(place).copied().unwrap_or(20);
        let delay = scene.means.dice.between(most / 4, most);
        scene.later(Duration::from_millis(delay), deed);
    }
}
