//! A binary Merkle tree over a list of digests: one root commits to all leaves, their order and
//! their number, and a path of at most 32 digests proves one of them.
//!
//! **Guarantee:** no two different lists have the same root, and [`verify`] accepts a leaf only at
//! the index where the list has it. Assumes that BLAKE3 has no collisions.
//!
//! | digest | BLAKE3 keyed with the domain (ASCII, zero-padded to 32 bytes) of |
//! |---|---|
//! | bottom | `ravelin merkle leaf v1`: leaf |
//! | inner | `ravelin merkle node v1`: left ‖ right |
//! | root | `ravelin merkle root v1`: number of leaves (`u32`, little endian) ‖ topmost digest |
//! | root of no leaves | 32 zero bytes |
//!
//! The last digest of a level of odd width goes up unchanged; it is never paired with itself, which
//! would give two lists one root.
//!
//! # Source
//! R. Merkle, *A Digital Signature Based on a Conventional Encryption Function*, CRYPTO '87; the
//! separation of leaves from nodes as in RFC 6962, section 2.1. Deviation: the number of leaves is
//! in the root.

use ravelin_model::{Digest, MerklePath};

const LEAF: &[u8; 32] = b"ravelin merkle leaf v1\0\0\0\0\0\0\0\0\0\0";
const NODE: &[u8; 32] = b"ravelin merkle node v1\0\0\0\0\0\0\0\0\0\0";
const ROOT: &[u8; 32] = b"ravelin merkle root v1\0\0\0\0\0\0\0\0\0\0";

/// All levels of a tree.
#[derive(Clone, Debug)]
pub struct MerkleTree {
    /// From the bottom to a level of at most one digest.
    levels: Vec<Vec<Digest>>,
    leaves: u32,
}

impl MerkleTree {
    /// Builds the tree. Cost: two hashes a leaf, 64 bytes of memory a leaf.
    ///
    /// # Panics
    /// With more than `u32::MAX` leaves.
    #[must_use]
    pub fn new(leaves: Vec<Digest>) -> Self {
        let count = u32::try_from(leaves.len()).expect("a tree has fewer than 2^32 leaves");
        let mut level: Vec<Digest> = leaves.iter().map(leaf_digest).collect();
        let mut levels = Vec::new();
        while level.len() > 1 {
            let above = level.chunks(2).map(|pair| match pair {
                [left, right] => node_digest(left, right),
                lone => lone.first().copied().unwrap_or_default(),
            });
            let above = above.collect();
            levels.push(std::mem::replace(&mut level, above));
        }
        levels.push(level);
        Self { levels, leaves: count }
    }

    /// The digest that commits to the whole list; zero if it is empty.
    #[must_use]
    pub fn root(&self) -> Digest {
        let top = self.levels.last().and_then(|level| level.first());
        top.map_or_else(Digest::default, |top| root_digest(self.leaves, top))
    }

    /// The proof for the leaf at `index`; `None` beyond the last.
    #[must_use]
    pub fn path(&self, index: usize) -> Option<MerklePath> {
        let short = u32::try_from(index).ok().filter(|index| *index < self.leaves)?;
        let levels = self.levels.iter().enumerate();
        let siblings = levels.filter_map(|(height, level)| level.get((index >> height) ^ 1));
        Some(MerklePath {
            index: short,
            leaves: self.leaves,
            siblings: siblings.copied().collect(),
        })
    }
}

/// Whether `leaf` is in the list with this `root`, at the index and among as many leaves as `path`
/// says. Cost: at most 34 hashes, whatever the path's length.
#[must_use]
pub fn verify(root: &Digest, leaf: &Digest, path: &MerklePath) -> bool {
    if path.index >= path.leaves {
        return false;
    }
    let mut siblings = path.siblings.iter();
    let (mut index, mut last) = (path.index, path.leaves - 1);
    let mut digest = leaf_digest(leaf);
    while last > 0 {
        let is_right = index % 2 == 1;
        if is_right || index < last {
            let Some(sibling) = siblings.next() else { return false };
            let (left, right) = if is_right { (sibling, &digest) } else { (&digest, sibling) };
            digest = node_digest(left, right);
        }
        (index, last) = (index / 2, last / 2);
    }
    siblings.next().is_none() && root_digest(path.leaves, &digest) == *root
}

fn leaf_digest(leaf: &Digest) -> Digest {
    Digest(*blake3::keyed_hash(LEAF, &leaf.0).as_bytes())
}

fn node_digest(left: &Digest, right: &Digest) -> Digest {
    let mut bytes = [0; 64];
    let (first, second) = bytes.split_at_mut(32);
    first.copy_from_slice(&left.0);
    second.copy_from_slice(&right.0);
    Digest(*blake3::keyed_hash(NODE, &bytes).as_bytes())
}

fn root_digest(leaves: u32, top: &Digest) -> Digest {
    let mut bytes = [0; 36];
    let (first, second) = bytes.split_at_mut(4);
    first.copy_from_slice(&leaves.to_le_bytes());
    second.copy_from_slice(&top.0);
    Digest(*blake3::keyed_hash(ROOT, &bytes).as_bytes())
}

#[cfg(test)]
mod tests;
