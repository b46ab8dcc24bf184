//! What tests of the order share.

use super::*;

/// Carries nothing.
pub(super) struct Nothing;

impl Payload for Nothing {
    fn is_waiting(&self) -> bool {
        false
    }

    fn draw(&mut self, _: usize, _: usize) -> (Vec<Envelope>, Vec<Vote>) {
        (vec![], vec![])
    }

    fn give_back(&mut self, _: &[Envelope]) {}
}
