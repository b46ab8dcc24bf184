//! Many changes at once: each node on the way to any of them is visited, copied and hashed once.

use ravelin_model::Digest;

use super::node::{Entry, Path, Side, Subtree};
use super::{StateTree, slab::Id};

/// What shall be under a path, and which of the changes says so.
struct Change {
    path: Path,
    value: Option<Digest>,
    index: usize,
}

impl StateTree {
    /// Sets the value digests of keys, or removes the keys (`None`); returns what each had before, in the
    /// order of the changes. No key may come twice. Cost: one hash of each key, and one of each node
    /// above any change.
    ///
    /// # Panics
    /// If a key comes twice.
    pub fn apply(&mut self, changes: &[(&[u8], Option<Digest>)]) -> Vec<Option<Digest>> {
        self.root();
        let sorted = changes.iter().enumerate();
        let sorted = sorted.map(|(index, (key, value))| Change {
            path: Path::of(key),
            value: *value,
            index,
        });
        let mut sorted: Vec<Change> = sorted.collect();
        sorted.sort_unstable_by_key(|change| change.path);
        assert!(sorted.is_sorted_by(|one, next| one.path < next.path), "a key changes once");
        let mut before = vec![None; changes.len()];
        self.root = self.update(self.root, 0, &sorted, &mut before);
        for Change { path, value, index } in sorted {
            match (before.get(index).copied().flatten(), value) {
                (None, Some(value)) => self.insert_entry(Entry { path, value }),
                (Some(_), None) => self.remove_path(&path),
                (None, None) | (Some(_), Some(_)) => {}
            }
        }
        before
    }

    /// Sets the values of those of `changes`, ascending, whose keys are in `subtree`, notes what they had
    /// `before`, and returns the subtree, hashed. What is to be removed stays. Recursion is as deep as
    /// the tree: at most 257.
    fn update(
        &mut self,
        subtree: Subtree,
        depth: usize,
        changes: &[Change],
        before: &mut [Option<Digest>],
    ) -> Subtree {
        let Some(id) = subtree.top.filter(|_| !changes.is_empty()) else { return subtree };
        let node = *self.nodes.get(id);
        // The smallest path of the subtree stands here: smaller ones are not in it.
        let smaller = changes.partition_point(|change| change.path < node.entry.path);
        let mut rest = changes.get(smaller..).unwrap_or_default();
        let mut value = node.entry.value;
        if let Some((first, others)) = rest.split_first()
            && first.path == node.entry.path
        {
            rest = others;
            if let Some(had) = before.get_mut(first.index) {
                *had = Some(value);
            }
            value = first.value.unwrap_or(value);
        }
        let middle = rest.partition_point(|change| change.path.side(depth) == Side::Left);
        let (lefts, rights) = rest.split_at(middle);
        let left = self.update(node.left, depth + 1, lefts, before);
        let right = self.update(node.right, depth + 1, rights, before);
        if (value, left, right) == (node.entry.value, node.left, node.right) {
            return subtree;
        }
        let id = self.own(id);
        let owned = self.nodes.get_mut(id);
        (owned.entry.value, owned.left, owned.right) = (value, left, right);
        Subtree { top: Some(id), digest: owned.digest() }
    }

    /// The node for changing: a copy of it if a version needs it as it is.
    pub(super) fn own(&mut self, id: Id) -> Id {
        let node = self.nodes.get(id);
        match self.kept.back_mut() {
            Some(newest) if node.era <= newest.number => {
                let copy = super::Node { era: self.era, ..*node };
                newest.superseded.push(id);
                self.superseded_nodes += 1;
                self.nodes.add(copy)
            }
            _ => id,
        }
    }
}
