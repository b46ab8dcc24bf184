//! Nodes of the state tree, and what is hashed of them.

use ravelin_model::Digest;
use ravelin_model::wire::StateNode;

use super::slab::Id;

const PATH: &[u8; 32] = b"ravelin state path v1\0\0\0\0\0\0\0\0\0\0\0";
const VALUE: &[u8; 32] = b"ravelin state value v1\0\0\0\0\0\0\0\0\0\0";
const NODE: &[u8; 32] = b"ravelin state node v1\0\0\0\0\0\0\0\0\0\0\0";

/// Memory of one node.
pub const NODE_BYTES: usize = size_of::<Node>();

/// The hash of a key: its way through the tree, and its rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Path(pub(super) [u8; 32]);

impl Path {
    /// The path of a key.
    pub(super) fn of(key: &[u8]) -> Self {
        Self(*blake3::keyed_hash(PATH, key).as_bytes())
    }

    /// Where the way goes on at `depth`. The first bit is the highest of the first byte; beyond the
    /// last one there is nothing to decide.
    pub(super) fn side(&self, depth: usize) -> Side {
        let bit = self.0.get(depth / 8).map_or(0, |byte| (byte >> (7 - depth % 8)) & 1);
        if bit == 0 { Side::Left } else { Side::Right }
    }

    /// How many leading bits both have in common.
    pub(super) fn common_bits(&self, other: &Self) -> usize {
        let pairs = self.0.iter().zip(&other.0);
        let difference = pairs.map(|(one, two)| one ^ two).enumerate().find(|(_, bits)| *bits != 0);
        difference.map_or(256, |(place, bits)| 8 * place + bits.leading_zeros() as usize)
    }
}

/// Below a node: where the next bit of the path is 0, or 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Left,
    Right,
}

/// The path of a key and what the tree holds under it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) path: Path,
    pub(super) value: Digest,
}

/// An entry with everything below it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    pub(super) entry: Entry,
    pub(super) left: Subtree,
    pub(super) right: Subtree,
    /// The era that made the node; it alone may change it.
    pub(super) era: u64,
}

impl Node {
    pub(super) fn child(&self, side: Side) -> &Subtree {
        match side {
            Side::Left => &self.left,
            Side::Right => &self.right,
        }
    }

    pub(super) fn child_mut(&mut self, side: Side) -> &mut Subtree {
        match side {
            Side::Left => &mut self.left,
            Side::Right => &mut self.right,
        }
    }

    pub(super) fn digest(&self) -> Digest {
        node_digest(&self.entry.path, &self.entry.value, &self.left.digest, &self.right.digest)
    }

    /// The node as a proof shows it.
    pub(super) fn show(&self) -> StateNode {
        StateNode {
            path: Digest(self.entry.path.0),
            value: self.entry.value,
            left: self.left.digest,
            right: self.right.digest,
        }
    }
}

/// A tree or a part of it, as the node above sees it: hashing a node needs no look below.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Subtree {
    pub(super) top: Option<Id>,
    /// Zero if the subtree is empty, or has changed since it was hashed.
    pub(super) digest: Digest,
}

impl Subtree {
    /// The top node of a subtree that is to be hashed.
    pub(super) fn changed(&self) -> Option<Id> {
        self.top.filter(|_| self.digest == Digest::default())
    }
}

pub(super) fn value_digest(value: &[u8]) -> Digest {
    Digest(*blake3::keyed_hash(VALUE, value).as_bytes())
}

pub(super) fn node_digest(path: &Path, value: &Digest, left: &Digest, right: &Digest) -> Digest {
    let mut bytes = [0; 128];
    let parts = [&path.0, &value.0, &left.0, &right.0];
    for (place, part) in bytes.chunks_exact_mut(32).zip(parts) {
        place.copy_from_slice(part);
    }
    Digest(*blake3::keyed_hash(NODE, &bytes).as_bytes())
}
