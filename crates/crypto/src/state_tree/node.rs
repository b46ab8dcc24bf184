//! Nodes of the state tree, and what is hashed of them.

use blake3::IncrementCounter;
use blake3::platform::{Platform, words_from_le_bytes_32};
use ravelin_model::Digest;
use ravelin_model::wire::StateNode;

use super::slab::Id;

const PATH: &[u8; 32] = b"ravelin state path v1\0\0\0\0\0\0\0\0\0\0\0";
const VALUE: &[u8; 32] = b"ravelin state value v1\0\0\0\0\0\0\0\0\0\0";
const NODE: &[u8; 32] = b"ravelin state node v1\0\0\0\0\0\0\0\0\0\0\0";

/// Nodes that are hashed at once at most: as many as the widest registers hold.
pub(super) const TOGETHER_MAX: usize = 16;
/// Bytes of a node that are hashed.
const HASHED_BYTES: usize = 128;

// Flags of the compression function (the BLAKE3 paper, section 2.2).
const CHUNK_START: u8 = 1 << 0;
const CHUNK_END: u8 = 1 << 1;
const ROOT: u8 = 1 << 3;
const KEYED: u8 = 1 << 4;

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
    Digest(*blake3::keyed_hash(NODE, &node_bytes(path, value, left, right)).as_bytes())
}

/// The digests of up to [`TOGETHER_MAX`] nodes, of which those below must be right. Where the processor has wide
/// registers that costs little more than the digest of one.
pub(super) fn digests<'a>(nodes: impl Iterator<Item = &'a Node>) -> [Digest; TOGETHER_MAX] {
    let mut bytes = [[0; HASHED_BYTES]; TOGETHER_MAX];
    let mut count = 0;
    for (place, node) in bytes.iter_mut().zip(nodes) {
        let Node { entry, left, right, .. } = node;
        *place = node_bytes(&entry.path, &entry.value, &left.digest, &right.digest);
        count += 1;
    }
    let mut inputs = [&[0; HASHED_BYTES]; TOGETHER_MAX];
    inputs.iter_mut().zip(&bytes).for_each(|(input, bytes)| *input = bytes);
    let mut out = [0; 32 * TOGETHER_MAX];
    Platform::detect().hash_many(
        inputs.get(..count).unwrap_or_default(),
        &words_from_le_bytes_32(NODE),
        0,
        IncrementCounter::No,
        KEYED,
        CHUNK_START,
        CHUNK_END | ROOT,
        &mut out,
    );
    let mut digests = [Digest::default(); TOGETHER_MAX];
    let parts = out.as_chunks::<32>().0;
    digests.iter_mut().zip(parts).for_each(|(digest, part)| *digest = Digest(*part));
    digests
}

fn node_bytes(path: &Path, value: &Digest, left: &Digest, right: &Digest) -> [u8; HASHED_BYTES] {
    let mut bytes = [0; HASHED_BYTES];
    let parts = [&path.0, &value.0, &left.0, &right.0];
    for (place, part) in bytes.as_chunks_mut::<32>().0.iter_mut().zip(parts) {
        *place = *part;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The engine under the public function is not promised to stay as it is; an upgrade that changes
    /// it must not pass.
    #[test]
    fn many_nodes_at_once_have_the_digests_that_each_has_by_itself() {
        let digest = |number: usize| Digest(*blake3::hash(&number.to_le_bytes()).as_bytes());
        let subtree = |number| Subtree { top: None, digest: digest(number) };
        let node = |number: usize| {
            let entry = Entry { path: Path(digest(number).0), value: digest(number + 1) };
            Node { entry, left: subtree(number + 2), right: subtree(number + 3), era: 7 }
        };
        for count in 0..=TOGETHER_MAX {
            let nodes: Vec<_> = (0..count).map(node).collect();
            let made = digests(nodes.iter());
            for (node, made) in nodes.iter().zip(made) {
                let Entry { path, value } = &node.entry;
                assert_eq!(made, node_digest(path, value, &node.left.digest, &node.right.digest));
            }
        }
    }
}
