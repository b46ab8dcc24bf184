//! The tree place by place: what one replica shows of a version, and how another makes its own tree
//! equal to it.
//!
//! Who fetches a state goes from the root downwards. A node with the digest that the node above it
//! names is right, whoever sent it. Since everything below a node has a larger path, whatever the own
//! tree holds at the same place with a smaller one is not in the other: [`StateTree::settle`] removes
//! it, and then both agree down to this node. So a subtree with equal digests at equal places is equal
//! and need not be looked at.

use std::collections::VecDeque;

use ravelin_model::Digest;
use ravelin_model::transfer::Spot;
use ravelin_model::wire::StateNode;

use super::node::{Path, node_digest};
use super::{Id, StateTree, Subtree, Version};

/// Whether `node` is the one at `spot` that has the digest `expected`.
#[must_use]
pub fn is_node(spot: &Spot, expected: &Digest, node: &StateNode) -> bool {
    let path = Path(node.path.0);
    let digest = node_digest(&path, &node.value, &node.left, &node.right);
    digest == *expected && spot.leads_to(&node.path)
}

/// The places below a node at `spot`, with the digests of what is there: zero for nothing.
pub fn below(spot: &Spot, node: &StateNode) -> impl Iterator<Item = (Spot, Digest)> {
    let places = spot.below().into_iter().flatten();
    places.zip([node.left, node.right])
}

impl StateTree {
    /// The nodes of a version at and below `spot`, level by level, each level from the left: at most
    /// `levels` of them and `nodes_max` nodes. `None` if the version is forgotten.
    #[must_use]
    pub fn expand(
        &self,
        version: Version,
        spot: &Spot,
        levels: usize,
        nodes_max: usize,
    ) -> Option<Vec<StateNode>> {
        let kept = self.kept.get(self.place(version)?)?;
        let top = self.subtree_at(&kept.root, spot).top;
        let mut waiting: VecDeque<(Id, usize)> = top.map(|id| (id, 1)).into_iter().collect();
        let mut shown = Vec::new();
        while let Some((id, level)) = waiting.pop_front().filter(|_| shown.len() < nodes_max) {
            let node = self.nodes.get(id);
            shown.push(node.show());
            if level < levels {
                let below = [node.left.top, node.right.top].into_iter().flatten();
                waiting.extend(below.map(|id| (id, level + 1)));
            }
        }
        Some(shown)
    }

    /// The digest of what the tree holds at `spot` and below it. Hashes what changed there.
    pub fn digest_at(&mut self, spot: &Spot) -> Digest {
        let subtree = *self.subtree_at(&self.root, spot);
        match subtree.changed() {
            Some(top) => self.hash(top),
            None => subtree.digest,
        }
    }

    /// Makes the tree hold `path` at `spot`, with this value digest: what is there with a smaller path
    /// is removed, and returned. The nodes on the way to `spot` must be settled. Second, whether the
    /// tree held the entry before.
    pub fn settle(&mut self, spot: &Spot, path: Digest, value: Digest) -> (Vec<Digest>, bool) {
        let removed = self.clear_until(spot, Some(path));
        let is_known = self.value_at(&path) == Some(value);
        if !is_known {
            self.insert_at(Path(path.0), value); // what is known keeps its digests
        }
        (removed, is_known)
    }

    /// Removes everything at `spot` and below it, and returns the paths.
    pub fn clear(&mut self, spot: &Spot) -> Vec<Digest> {
        self.clear_until(spot, None)
    }

    /// The value digest under a path.
    #[must_use]
    pub fn value_at(&self, path: &Digest) -> Option<Digest> {
        self.find(&Path(path.0)).map(|node| node.entry.value)
    }

    /// The value digest that a path had in a version; `None` as well if the version is forgotten.
    #[must_use]
    pub fn value_in(&self, version: Version, path: &Digest) -> Option<Digest> {
        let kept = self.kept.get(self.place(version)?)?;
        self.find_in(&kept.root, &Path(path.0)).map(|node| node.entry.value)
    }

    fn clear_until(&mut self, spot: &Spot, until: Option<Digest>) -> Vec<Digest> {
        let mut removed = Vec::new();
        while let Some(id) = self.subtree_at(&self.root, spot).top {
            let path = self.nodes.get(id).entry.path;
            if until.is_some_and(|until| until.0 <= path.0) {
                break;
            }
            self.remove_at(&path);
            removed.push(Digest(path.0));
        }
        removed
    }

    fn subtree_at<'a>(&'a self, root: &'a Subtree, spot: &Spot) -> &'a Subtree {
        let way = Path(spot.prefix.0);
        let mut subtree = root;
        for depth in 0..usize::from(spot.depth) {
            let Some(id) = subtree.top else { break };
            subtree = self.nodes.get(id).child(way.side(depth));
        }
        subtree
    }
}

#[cfg(test)]
mod tests {
    use super::super::{path_of, value_digest};
    use super::*;

    /// A tree of some of `keys` with values that depend on `salt`.
    fn tree(keys: impl Iterator<Item = u64>, salt: u64) -> StateTree {
        let mut tree = StateTree::new();
        for key in keys {
            let value = format!("{key} {}", if key % 7 == 0 { salt } else { 0 });
            tree.insert(&key.to_le_bytes(), value_digest(value.as_bytes()));
        }
        tree
    }

    /// Makes `own` equal to the version, asking for so many levels at once; how many nodes were shown.
    fn fetch(own: &mut StateTree, (other, version): (&StateTree, Version), levels: usize) -> usize {
        let mut shown = 0;
        let root = other.kept.back().unwrap().root.digest;
        let mut frontier = vec![(Spot::ROOT, root)];
        while let Some((spot, expected)) = frontier.pop() {
            if own.digest_at(&spot) == expected {
                continue;
            }
            if expected == Digest::default() {
                own.clear(&spot);
                continue;
            }
            let nodes = other.expand(version, &spot, levels, 1000).unwrap();
            shown += nodes.len();
            let mut waiting = VecDeque::from([(spot, expected, 1)]);
            for node in nodes {
                let (spot, expected, level) = waiting.pop_front().unwrap();
                assert!(is_node(&spot, &expected, &node));
                own.settle(&spot, node.path, node.value);
                for (spot, digest) in below(&spot, &node) {
                    if level < levels && digest != Digest::default() {
                        waiting.push_back((spot, digest, level + 1));
                    } else {
                        frontier.push((spot, digest));
                    }
                }
            }
            frontier.extend(waiting.into_iter().map(|(spot, digest, _)| (spot, digest)));
        }
        shown
    }

    #[test]
    fn a_walk_from_the_root_makes_trees_equal_whatever_they_were() {
        for levels in 1..6 {
            for (ours, theirs) in
                [(0..0, 0..300), (0..300, 0..0), (0..200, 100..300), (5..6, 0..40)]
            {
                let mut other = tree(theirs, 1);
                let version = other.keep();
                let mut own = tree(ours, 2);
                fetch(&mut own, (&other, version), levels);
                assert_eq!(own.root(), other.root());
                assert_eq!(own.iter().collect::<Vec<_>>(), other.iter().collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn what_is_equal_is_not_shown() {
        let mut other = tree(0..1000, 1);
        let mut own = other.clone();
        other.insert(&3u64.to_le_bytes(), value_digest(b"new"));
        let version = other.keep();
        let shown = fetch(&mut own, (&other, version), 2);
        assert!((1..60).contains(&shown), "{shown}");
        assert_eq!(own.root(), other.root());
    }

    #[test]
    fn a_forged_node_is_none() {
        let mut other = tree(0..10, 1);
        let (root, version) = (other.root(), other.keep());
        let node = other.expand(version, &Spot::ROOT, 1, 10).unwrap().pop().unwrap();
        assert!(is_node(&Spot::ROOT, &root, &node));
        for forge in [
            |node: &mut StateNode| node.path.0[31] ^= 1,
            |node: &mut StateNode| node.value.0[0] ^= 1,
            |node: &mut StateNode| node.left.0[0] ^= 1,
            |node: &mut StateNode| node.right.0[0] ^= 1,
        ] {
            let mut forged = node.clone();
            forge(&mut forged);
            assert!(!is_node(&Spot::ROOT, &root, &forged));
        }
        assert!(!is_node(&Spot::ROOT, &Digest::default(), &node));
        let (left, digest) = below(&Spot::ROOT, &node).next().unwrap();
        let below = other.expand(version, &left, 1, 10).unwrap().pop().unwrap();
        assert!(is_node(&left, &digest, &below));
        let [_, right] = Spot::ROOT.below().unwrap();
        assert!(!is_node(&right, &digest, &below), "another place's");
    }

    #[test]
    fn settled_entries_say_whether_they_are_news() {
        let mut own = tree(0..10, 1);
        let path = path_of(&3u64.to_le_bytes());
        let value = own.value_at(&path).unwrap();
        let (removed, is_known) = own.clone().settle(&Spot::ROOT, path, value);
        assert!(is_known && removed.iter().all(|other| *other < path));
        let (_, is_known) = own.settle(&Spot::ROOT, path, value_digest(b"other"));
        assert!(!is_known);
        assert_eq!(own.value_at(&path), Some(value_digest(b"other")));
    }
}
