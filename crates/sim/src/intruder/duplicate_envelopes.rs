//! Puts clients' envelopes into its blocks again and again, long after they were executed.

use std::collections::VecDeque;

use ravelin_model::Envelope;

use super::maker::{Draft, Maker};
use super::{Intruder, Scene};

/// Envelopes remembered.
const KNOWN_MAX: usize = 64;
/// Envelopes put into one block.
const EACH: usize = 6;

/// Makes blocks full of other blocks' envelopes.
#[derive(Debug, Default)]
pub(super) struct DuplicateEnvelopes {
    maker: Maker,
    known: VecDeque<Envelope>,
}

impl Intruder for DuplicateEnvelopes {
    fn name(&self) -> &'static str {
        "duplicate-envelopes"
    }

    fn on_turn(&mut self, scene: &mut Scene<'_>) {
        let Some(base) = self.maker.base(scene) else { return };
        let seen = scene.dag().round(base).flat_map(|(_, block)| block.body.envelopes.clone());
        let seen: Vec<Envelope> = seen.collect();
        self.known.extend(seen);
        while self.known.len() > KNOWN_MAX {
            self.known.pop_front();
        }
        let known = self.known.make_contiguous();
        let mut envelopes: Vec<Envelope> =
            (0..EACH).filter_map(|_| scene.means.dice.pick(known).cloned()).collect();
        envelopes.extend(envelopes.first().cloned());
        self.maker.make(scene, base, Draft { envelopes, ..Draft::default() });
    }
}
