//! The authenticated state: a set of keys and value digests under one root, from which the presence
//! or absence of every key is proven by a short path.
//!
//! **Guarantee:** equal sets have equal roots, whatever the order of the operations that made them;
//! [`verify_proof`] accepts at most one answer for each root and key. Assumes that BLAKE3 has no
//! collisions and that the root was made by a correct replica (in Ravelin: a quorum signed it).
//!
//! The tree holds neither keys nor values, only their hashes. It keeps *versions* ([`StateTree::keep`]), from which proofs are made
//! later: a version costs nothing but the nodes that change after it, which are copied once and freed
//! when it is forgotten. Hashing is lazy: [`StateTree::root`] hashes what changed since it was last
//! asked.
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
//! keys such a set is to be expected only up to `D = min over k of k + (k w - log2 k!) / (k - 1)`: 28
//! for `w = 20` (measured in a tree of a million keys that nobody chose: 26), 51 for `2^40` hashes,
//! 96 for `2^80`; never more than 257 nodes. And only the attacker's own keys lie that deep. A treap,
//! where keys order the tree and hashes balance it, would give way: `2^40` hashes find a chain of
//! `2^20` keys through which everyone's updates go (docs/adr/0004-authenticated-state.md).
//!
//! # Source
//! E. McCreight, *Priority Search Trees*, SIAM J. Comput. 14(2) 1985 (the radix form, with the hash
//! for both coordinates); R. Merkle, CRYPTO '87; J. Driscoll et al., *Making Data Structures
//! Persistent*, JCSS 38(1) 1989; S. Crosby and D. Wallach, *Denial of Service via Algorithmic
//! Complexity Attacks*, USENIX Security 2003.

mod node;
mod proof;
mod slab;
mod spots;

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::mem::{replace, swap};

use ravelin_model::wire::StateNode;
use ravelin_model::{Digest, ServiceId};

use node::{Entry, Node, Path, Side, Subtree, TOGETHER_MAX};
use slab::{Id, Slab};

pub use node::NODE_BYTES;
pub use proof::verify_proof;
pub use spots::{below, is_node};

/// The key under which the state holds `key` of `service`.
#[must_use]
pub fn state_key(service: ServiceId, key: &[u8]) -> Vec<u8> {
    let mut whole = Vec::with_capacity(1 + key.len());
    whole.push(service.0);
    whole.extend_from_slice(key);
    whole
}

/// The path of a state key: where the tree holds it.
#[must_use]
pub fn path_of(key: &[u8]) -> Digest {
    Digest(Path::of(key).0)
}

/// The digest by which the tree knows a value.
#[must_use]
pub fn value_digest(value: &[u8]) -> Digest {
    node::value_digest(value)
}

/// The authenticated state, and the versions of it that are kept.
#[derive(Clone, Debug, Default)]
pub struct StateTree {
    root: Subtree,
    len: usize,
    nodes: Slab<Node>,
    /// Oldest first.
    kept: VecDeque<Kept>,
    /// The number of the next version.
    era: u64,
    superseded_nodes: usize,
}

/// The name of a version that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(u64);

/// A version, and what no later one needs.
#[derive(Clone, Debug)]
struct Kept {
    number: u64,
    root: Subtree,
    superseded: Vec<Id>,
}

/// Where a subtree hangs.
#[derive(Clone, Copy)]
enum Place {
    Root,
    Below(Id, Side),
}

impl StateTree {
    /// The empty state.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the value digest of `key`, and returns the one it had. Cost: one hash of the key, and a
    /// visit to each node on its search path.
    pub fn insert(&mut self, key: &[u8], value: Digest) -> Option<Digest> {
        self.insert_at(Path::of(key), value)
    }

    /// [`Self::insert`] or, without a value, [`Self::remove`] by the key's path.
    pub fn set(&mut self, path: &Digest, value: Option<Digest>) -> Option<Digest> {
        let path = Path(path.0);
        match value {
            Some(value) => self.insert_at(path, value),
            None => self.remove_at(&path),
        }
    }

    /// Walks down once: an entry with a smaller path takes the node, and the one it displaces walks on.
    /// Nodes above the place of an entry have smaller paths, so what is there is met before anything is
    /// displaced.
    fn insert_at(&mut self, path: Path, value: Digest) -> Option<Digest> {
        let mut entry = Entry { path, value };
        let (mut place, mut depth) = (Place::Root, 0);
        while let Some(id) = self.own_id(place) {
            let node = self.nodes.get_mut(id);
            match entry.path.cmp(&node.entry.path) {
                Ordering::Equal => return Some(replace(&mut node.entry.value, entry.value)),
                Ordering::Less => swap(&mut entry, &mut node.entry),
                Ordering::Greater => {}
            }
            place = Place::Below(id, entry.path.side(depth));
            depth += 1;
        }
        let (left, right, era) = (Subtree::default(), Subtree::default(), self.era);
        let leaf = self.nodes.add(Node { entry, left, right, era });
        *self.subtree_mut(place) = Subtree { top: Some(leaf), digest: Digest::default() };
        self.len += 1;
        None
    }

    /// Removes `key`, and returns the value digest it had.
    pub fn remove(&mut self, key: &[u8]) -> Option<Digest> {
        self.remove_at(&Path::of(key))
    }

    fn remove_at(&mut self, path: &Path) -> Option<Digest> {
        let old = self.find(path).map(|node| node.entry.value);
        if old.is_some() {
            self.remove_path(path);
        }
        old
    }

    /// The value digest of `key`.
    #[must_use]
    pub fn value(&self, key: &[u8]) -> Option<Digest> {
        self.find(&Path::of(key)).map(|node| node.entry.value)
    }

    /// The digest that commits to the whole set; zero if it is empty. Hashes what changed.
    pub fn root(&mut self) -> Digest {
        if let Some(top) = self.root.changed() {
            self.root.digest = self.hash(top);
        }
        self.root.digest
    }

    /// Keeps the state as it is now, until it is forgotten.
    pub fn keep(&mut self) -> Version {
        self.root();
        let number = self.era;
        self.era += 1;
        self.kept.push_back(Kept { number, root: self.root, superseded: Vec::new() });
        Version(number)
    }

    /// Forgets a version, and frees what it alone needed: what an older one needs, too, stays for
    /// that.
    pub fn forget(&mut self, version: Version) {
        let Some(place) = self.place(version) else { return };
        let Some(forgotten) = self.kept.remove(place) else { return };
        let mut older = place.checked_sub(1).and_then(|place| self.kept.get_mut(place));
        for id in forgotten.superseded {
            let made = self.nodes.get(id).era;
            match &mut older {
                Some(older) if made <= older.number => older.superseded.push(id),
                _ => {
                    self.superseded_nodes -= 1;
                    self.nodes.remove(id);
                }
            }
        }
    }

    /// The search path of `key`, from the root to the key's node or to the empty subtree where it
    /// would be: with the value, a proof. At most 257 nodes, none in an empty state.
    pub fn prove(&mut self, key: &[u8]) -> Vec<StateNode> {
        self.root();
        self.search_path(&self.root, key)
    }

    /// The search path of `key` in a version; `None` if that is forgotten.
    #[must_use]
    pub fn prove_at(&self, version: Version, key: &[u8]) -> Option<Vec<StateNode>> {
        let kept = self.kept.get(self.place(version)?)?;
        Some(self.search_path(&kept.root, key))
    }

    /// The paths of all keys with their value digests, ascending: not in the order of keys, but in
    /// the same order at every replica.
    pub fn iter(&self) -> impl Iterator<Item = (Digest, Digest)> {
        let mut waiting: Vec<Id> = self.root.top.into_iter().collect();
        std::iter::from_fn(move || {
            let node = self.nodes.get(waiting.pop()?);
            waiting.extend([node.right.top, node.left.top].into_iter().flatten());
            Some((Digest(node.entry.path.0), node.entry.value))
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

    /// How many nodes exist only for versions before the present state: what keeping them costs, in
    /// units of [`NODE_BYTES`].
    #[must_use]
    pub fn superseded_nodes(&self) -> usize {
        self.superseded_nodes
    }

    fn find(&self, path: &Path) -> Option<&Node> {
        self.find_in(&self.root, path)
    }

    fn find_in(&self, root: &Subtree, path: &Path) -> Option<&Node> {
        let mut next = root.top;
        let mut depth = 0;
        while let Some(node) = next.map(|id| self.nodes.get(id)) {
            if node.entry.path == *path {
                return Some(node);
            }
            next = node.child(path.side(depth)).top;
            depth += 1;
        }
        None
    }

    fn search_path(&self, root: &Subtree, key: &[u8]) -> Vec<StateNode> {
        let path = Path::of(key);
        let mut shown = Vec::new();
        let mut next = root.top;
        while let Some(node) = next.map(|id| self.nodes.get(id)) {
            let is_last = node.entry.path == path;
            next = node.child(path.side(shown.len())).top.filter(|_| !is_last);
            shown.push(node.show());
        }
        shown
    }

    /// Removes an entry that is there: the smallest one below it moves up, and so on downwards.
    /// Everything on the left is smaller than anything on the right.
    fn remove_path(&mut self, path: &Path) {
        let (mut place, mut id) = self.own_path(path);
        loop {
            let node = self.nodes.get(id);
            let side = if node.left.top.is_some() { Side::Left } else { Side::Right };
            let below = Place::Below(id, side);
            let Some(heir) = self.own_id(below) else { break };
            self.nodes.get_mut(id).entry = self.nodes.get(heir).entry;
            (place, id) = (below, heir);
        }
        *self.subtree_mut(place) = Subtree::default();
        self.nodes.remove(id);
        self.len -= 1;
    }

    /// Owns all nodes on the way to an entry that is there; where it hangs, and its node.
    fn own_path(&mut self, path: &Path) -> (Place, Id) {
        let mut place = Place::Root;
        let mut depth = 0;
        loop {
            let id = self.own_id(place).expect("the entry was found");
            if self.nodes.get(id).entry.path == *path {
                return (place, id);
            }
            place = Place::Below(id, path.side(depth));
            depth += 1;
        }
    }

    /// The node at `place`, for changing: a copy in its place if a version needs it as it is. Its
    /// digest is forgotten.
    fn own_id(&mut self, place: Place) -> Option<Id> {
        let subtree = self.subtree_mut(place);
        subtree.digest = Digest::default();
        let id = subtree.top?;
        let newest = self.kept.back_mut();
        let Some(newest) = newest.filter(|newest| self.nodes.get(id).era <= newest.number) else {
            return Some(id);
        };
        newest.superseded.push(id);
        self.superseded_nodes += 1;
        let node = *self.nodes.get(id);
        let owned = self.nodes.add(Node { era: self.era, ..node });
        self.subtree_mut(place).top = Some(owned);
        Some(owned)
    }

    fn subtree_mut(&mut self, place: Place) -> &mut Subtree {
        match place {
            Place::Root => &mut self.root,
            Place::Below(id, side) => self.nodes.get_mut(id).child_mut(side),
        }
    }

    fn place(&self, version: Version) -> Option<usize> {
        self.kept.binary_search_by_key(&version.0, |kept| kept.number).ok()
    }

    /// Hashes a changed node after what changed below it: level by level from below, many nodes at once.
    /// Levels are as many as the tree is deep: at most 257.
    fn hash(&mut self, top: Id) -> Digest {
        let mut changed = vec![(None, top)];
        let mut levels = Vec::new();
        let mut begin = 0;
        while begin < changed.len() {
            let end = changed.len();
            levels.push(begin..end);
            for at in begin..end {
                let Some((_, id)) = changed.get(at).copied() else { break };
                let node = self.nodes.get(id);
                for side in [Side::Left, Side::Right] {
                    let below = node.child(side).changed();
                    changed.extend(below.map(|below| (Some((id, side)), below)));
                }
            }
            begin = end;
        }
        let mut digest = Digest::default();
        for level in levels.into_iter().rev() {
            for together in changed.get(level).unwrap_or_default().chunks(TOGETHER_MAX) {
                let nodes = together.iter().map(|(_, id)| self.nodes.get(*id));
                let digests = node::digests(nodes);
                for ((above, _), made) in together.iter().zip(digests) {
                    match *above {
                        Some((id, side)) => self.nodes.get_mut(id).child_mut(side).digest = made,
                        None => digest = made,
                    }
                }
            }
        }
        digest
    }
}

#[cfg(test)]
mod tests;
