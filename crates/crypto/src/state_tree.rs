//! The authenticated state: a set of keys and value digests under one root, from which the presence
//! or absence of every key is proven by a short path.
//!
//! **Guarantee:** equal sets have equal roots, whatever the order of the operations that made them;
//! [`verify_proof`] accepts at most one answer for each root and key. Assumes that BLAKE3 has no
//! collisions and that the root was made by a correct replica (in Ravelin: a quorum signed it).
//!
//! The tree holds no values. It is *persistent*: a clone costs nothing and stays as it was, because
//! later changes copy the nodes on their way and share the rest. Hashing is lazy: [`StateTree::root`]
//! hashes what changed since it was last asked.
//!
//! # Shape
//! The *path* of a key is its hash. The root node holds the entry with the smallest path of all; the
//! others are below it, on the left if the first bit of their path is 0, on the right if it is 1;
//! each side is built alike with the next bit. So a node at depth `d` shares `d` bits of path with
//! everything below it, the set alone decides the shape, and preorder is ascending order of paths.
//!
//! | digest | BLAKE3 keyed with the domain (ASCII, zero-padded to 32 bytes) of |
//! |---|---|
//! | state key | not hashed: service id (1 byte) ‖ the service's key |
//! | path | `ravelin state path v1`: state key |
//! | value | `ravelin state value v1`: value |
//! | node | `ravelin state node v1`: path ‖ value digest ‖ left ‖ right (128 bytes) |
//! | empty subtree, root of the empty state | 32 zero bytes |
//!
//! # Security
//! Clients choose keys and can hash offline, so the depth must not be theirs to choose. A path of
//! length `D` needs, for every `i < D`, `D - i` keys that share `i` bits of path; among `2^w` hashed
//! keys such a set is to be expected only up to `D = min over k of k + (k w - log2 k!) / (k - 1)`:
//! about 28 for `w = 20` (what a random tree of a million keys has anyway), 51 for `2^40` hashes, 97
//! for `2^80`, and never more than 257 nodes. A treap, where keys order the tree and hashes balance
//! it, would give way: `2^40` hashes find a chain of `2^20` keys, through which everyone's updates
//! would have to go (docs/adr/0004-authenticated-state.md).
//!
//! # Source
//! E. McCreight, *Priority Search Trees*, SIAM J. Comput. 14(2) 1985 (the radix form, with the hash
//! for both coordinates); R. Merkle, CRYPTO '87; J. Driscoll et al., *Making Data Structures
//! Persistent*, JCSS 38(1) 1989; S. Crosby and D. Wallach, *Denial of Service via Algorithmic
//! Complexity Attacks*, USENIX Security 2003.

mod node;
mod proof;

use std::sync::Arc;

use ravelin_model::wire::StateNode;
use ravelin_model::{Digest, ServiceId};

use node::{Entry, Node, Path, Subtree};

pub use node::NODE_BYTES;
pub use proof::{PROOF_NODES_MAX, verify_proof};

/// The key under which the state holds `key` of `service`.
#[must_use]
pub fn state_key(service: ServiceId, key: &[u8]) -> Vec<u8> {
    let mut whole = Vec::with_capacity(1 + key.len());
    whole.push(service.0);
    whole.extend_from_slice(key);
    whole
}

/// The digest by which the tree knows a value.
#[must_use]
pub fn value_digest(value: &[u8]) -> Digest {
    node::value_digest(value)
}

/// One version of the authenticated state.
#[derive(Clone, Debug, Default)]
pub struct StateTree {
    root: Subtree,
    len: usize,
    copied_nodes: u64,
}

impl StateTree {
    /// The empty state.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the value digest of `key`. Cost: one hash of the key, and one node on each level of the
    /// path.
    pub fn insert(&mut self, key: &[u8], value: Digest) {
        self.insert_entry(Entry::new(key, value));
    }

    /// Removes `key`, and says whether it was there.
    pub fn remove(&mut self, key: &[u8]) -> bool {
        let path = Path::of(key);
        let found = self.find(&path).is_some();
        if found {
            self.remove_path(&path);
        }
        found
    }

    /// The value digest of `key`.
    #[must_use]
    pub fn value(&self, key: &[u8]) -> Option<Digest> {
        self.find(&Path::of(key)).map(|node| node.entry.value)
    }

    /// The digest that commits to the whole set; zero if it is empty. Hashes what changed.
    #[must_use]
    pub fn root(&self) -> Digest {
        node::digest_of(&self.root)
    }

    /// The search path of `key`, from the root to its node or to the empty subtree where it would
    /// be: together with the value, a proof. At most 257 nodes, empty for the empty state.
    #[must_use]
    pub fn prove(&self, key: &[u8]) -> Vec<StateNode> {
        let path = Path::of(key);
        let mut shown = Vec::new();
        let mut next = self.root.as_ref();
        while let Some(node) = next {
            next = node.child(path.bit(shown.len())).as_ref();
            shown.push(node.show());
            if node.entry.path == path {
                break;
            }
        }
        shown
    }

    /// All keys with their value digests, in ascending order of paths: not in the order of keys, but
    /// in the same order at every replica.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Digest)> {
        let mut waiting: Vec<&Node> = self.root.as_deref().into_iter().collect();
        std::iter::from_fn(move || {
            let node = waiting.pop()?;
            waiting.extend([true, false].into_iter().filter_map(|bit| node.child(bit).as_deref()));
            Some((&*node.entry.key, node.entry.value))
        })
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many nodes were copied, ever, because another version shared them: what keeping versions
    /// costs, in units of [`NODE_BYTES`].
    #[must_use]
    pub fn copied_nodes(&self) -> u64 {
        self.copied_nodes
    }

    fn find(&self, path: &Path) -> Option<&Node> {
        let mut next = self.root.as_deref();
        let mut depth = 0;
        while let Some(node) = next.filter(|node| node.entry.path != *path) {
            next = node.child(path.bit(depth)).as_deref();
            depth += 1;
        }
        next
    }

    /// Walks down; an entry with a smaller path takes the node, and the one it displaces walks on.
    fn insert_entry(&mut self, mut entry: Entry) {
        let mut slot = &mut self.root;
        let mut depth = 0;
        while let Some(shared) = slot {
            let node = Node::own(shared, &mut self.copied_nodes);
            if node.entry.path == entry.path {
                assert!(node.entry.key == entry.key, "two keys with one BLAKE3 digest");
                node.entry.value = entry.value;
                return;
            }
            if entry.path < node.entry.path {
                std::mem::swap(&mut entry, &mut node.entry);
            }
            slot = node.child_mut(entry.path.bit(depth));
            depth += 1;
        }
        *slot = Some(Arc::new(Node::leaf(entry)));
        self.len += 1;
    }

    /// Removes an entry that is there: the smallest entry below it moves up, and so on downwards.
    fn remove_path(&mut self, path: &Path) {
        let mut slot = &mut self.root;
        let mut depth = 0;
        while slot.as_ref().is_some_and(|node| node.entry.path != *path) {
            let shared = slot.as_mut().expect("just looked at");
            slot = Node::own(shared, &mut self.copied_nodes).child_mut(path.bit(depth));
            depth += 1;
        }
        while let Some((side, heir)) = slot.as_ref().and_then(|node| node.heir()) {
            let shared = slot.as_mut().expect("it has an heir");
            let node = Node::own(shared, &mut self.copied_nodes);
            node.entry = heir;
            slot = node.child_mut(side);
        }
        *slot = None;
        self.len -= 1;
    }
}

#[cfg(test)]
mod tests;
