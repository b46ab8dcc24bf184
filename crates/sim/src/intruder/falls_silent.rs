//! Does everything right until the others rely on it, and then says nothing to anybody.

use ravelin_model::{Action, Round};

use super::{Deed, Intruder, Scene};

/// The first round of its own after which it may fall silent.
const SILENT_FROM: u64 = 40;
/// So many rounds later it has, at the latest.
const SILENT_SPAN: u64 = 400;

/// Falls silent. Where `f` others are left that go on without it, as in `hybrid`, these must have all that
/// they need from each other.
#[derive(Debug, Default)]
pub(super) struct FallsSilent {
    is_silent: bool,
}

impl Intruder for FallsSilent {
    fn name(&self) -> &'static str {
        "falls-silent"
    }

    fn on_deed(&mut self, scene: &mut Scene<'_>, deed: Deed) {
        let from = Round(SILENT_FROM + scene.means.shared(11) % SILENT_SPAN);
        self.is_silent |= scene.core.ordering().round() >= from;
        match deed {
            Deed::Act(Action::Accuse(..)) => scene.let_pass(deed),
            _ if self.is_silent => scene.act(),
            _ => scene.let_pass(deed),
        }
    }
}
