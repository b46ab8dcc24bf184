//! Random numbers from one seed.
//!
//! **Guarantee:** who sees all numbers given and, later, the generator itself, can compute neither
//! a number given before nor another entity's. Assumes a seed that nobody else has: two processes
//! that run on from one snapshot of memory give the same numbers.

use zeroize::{Zeroize, ZeroizeOnDrop};

/// What the generator starts with: 32 bytes of the operating system's. Erased on drop.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Seed(pub [u8; 32]);

/// The generator: keyed BLAKE3, whose key is replaced with every number.
pub(crate) struct Random(Seed);

impl Random {
    pub(crate) fn new(seed: Seed) -> Self {
        Self(seed)
    }

    /// 32 bytes.
    pub(crate) fn draw(&mut self) -> [u8; 32] {
        let number = *blake3::keyed_hash(&self.0.0, b"ravelin wormhole random: number").as_bytes();
        self.0.0 = *blake3::keyed_hash(&self.0.0, b"ravelin wormhole random: next").as_bytes();
        number
    }
}
