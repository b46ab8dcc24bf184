//! Nodes of the state tree, and what is hashed of them.

use std::sync::{Arc, OnceLock};

use ravelin_model::Digest;
use ravelin_model::wire::StateNode;

const PATH: &[u8; 32] = b"ravelin state path v1\0\0\0\0\0\0\0\0\0\0\0";
const VALUE: &[u8; 32] = b"ravelin state value v1\0\0\0\0\0\0\0\0\0\0";
const NODE: &[u8; 32] = b"ravelin state node v1\0\0\0\0\0\0\0\0\0\0\0";

/// Memory of one node without its key, reference counts included.
pub const NODE_BYTES: usize = size_of::<Node>() + 2 * size_of::<usize>();

/// The hash of a key: its way through the tree, and its rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Path(pub(super) [u8; 32]);

impl Path {
    /// The path of a key.
    pub(super) fn of(key: &[u8]) -> Self {
        Self(*blake3::keyed_hash(PATH, key).as_bytes())
    }

    /// Where the way goes on at `depth`: `true` is right. The first bit is the highest of the first
    /// byte; beyond the last one there is nothing to decide.
    pub(super) fn bit(&self, depth: usize) -> bool {
        self.0.get(depth / 8).is_some_and(|byte| (byte >> (7 - depth % 8)) & 1 == 1)
    }

    /// How many leading bits both have in common.
    pub(super) fn common_bits(&self, other: &Self) -> usize {
        let pairs = self.0.iter().zip(&other.0);
        let difference = pairs.map(|(one, two)| one ^ two).enumerate().find(|(_, bits)| *bits != 0);
        difference.map_or(256, |(place, bits)| 8 * place + bits.leading_zeros() as usize)
    }
}

/// A key and what the tree holds under it.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: Arc<[u8]>,
    pub(super) path: Path,
    pub(super) value: Digest,
}

impl Entry {
    pub(super) fn new(key: &[u8], value: Digest) -> Self {
        Self { key: key.into(), path: Path::of(key), value }
    }
}

/// A tree or a part of it.
pub(super) type Subtree = Option<Arc<Node>>;

/// An entry with everything below it.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) entry: Entry,
    left: Subtree,
    right: Subtree,
    digest: OnceLock<Digest>,
}

impl Node {
    pub(super) fn leaf(entry: Entry) -> Self {
        Self { entry, left: None, right: None, digest: OnceLock::new() }
    }

    /// The node for changing: a copy if another version shares it. Its digest is forgotten.
    pub(super) fn own<'a>(shared: &'a mut Arc<Self>, copied: &mut u64) -> &'a mut Self {
        if Arc::strong_count(shared) > 1 {
            *copied += 1;
        }
        let node = Arc::make_mut(shared);
        node.digest.take();
        node
    }

    pub(super) fn child(&self, right: bool) -> &Subtree {
        if right { &self.right } else { &self.left }
    }

    pub(super) fn child_mut(&mut self, right: bool) -> &mut Subtree {
        if right { &mut self.right } else { &mut self.left }
    }

    /// The smallest entry below this one, and its side: everything on the left is smaller than
    /// anything on the right.
    pub(super) fn heir(&self) -> Option<(bool, Entry)> {
        let sides = [(false, &self.left), (true, &self.right)];
        sides.into_iter().find_map(|(side, below)| Some((side, below.as_ref()?.entry.clone())))
    }

    /// The node as a proof shows it.
    pub(super) fn show(&self) -> StateNode {
        StateNode {
            key: self.entry.key.to_vec(),
            value: self.entry.value,
            left: digest_of(&self.left),
            right: digest_of(&self.right),
        }
    }

    /// Recursion is as deep as the tree: at most 257.
    fn digest(&self) -> Digest {
        *self.digest.get_or_init(|| {
            let (left, right) = (digest_of(&self.left), digest_of(&self.right));
            node_digest(&self.entry.path, &self.entry.value, &left, &right)
        })
    }
}

/// The digest of a subtree; zero if it is empty.
pub(super) fn digest_of(subtree: &Subtree) -> Digest {
    subtree.as_ref().map_or_else(Digest::default, |node| node.digest())
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
