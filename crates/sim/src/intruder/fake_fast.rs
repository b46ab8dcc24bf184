//! Seems to be faster than anybody: makes its block the moment it may, without waiting for leaders,
//! and so lets the others believe that short waits suffice.

use super::maker::{Draft, Maker};
use super::{Intruder, Scene};

/// Makes its blocks at once.
#[derive(Debug, Default)]
pub(super) struct FakeFast(Maker);

impl Intruder for FakeFast {
    fn name(&self) -> &'static str {
        "fake-fast"
    }

    fn is_first(&self) -> bool {
        true
    }

    fn on_turn(&mut self, scene: &mut Scene<'_>) {
        if let Some(base) = self.0.base(scene) {
            self.0.make(scene, base, Draft::default());
        }
    }
}
