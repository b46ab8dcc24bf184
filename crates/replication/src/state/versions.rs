//! Recent versions of the state, from which proofs are made.
//!
//! A client accepts a proof once a quorum has signed the commit's root, and that takes a few more
//! commits; by then the backend has moved on. A version is the tree after its commit, which shares
//! all that did not change with its neighbours, and the values that later commits overwrote.

use std::collections::{BTreeMap, VecDeque};

use ravelin_crypto::state_tree::{NODE_BYTES, StateTree, Version};
use ravelin_model::wire::StateNode;
use ravelin_model::{CommitIndex, Digest};

/// Versions kept. A quorum signs a commit within a few rounds of it; the rest is for replicas whose
/// statements come late.
pub const STATE_VERSIONS_MAX: usize = 64;
/// Memory of the versions before the last, estimated: beyond it the oldest are forgotten, and a
/// client that wanted one asks again for a newer.
pub const STATE_VERSION_BYTES_MAX: usize = 32 << 20;

/// Memory of one value kept, beside its bytes and its key's: two vectors and a map's share.
const ENTRY_BYTES: usize = 80;

/// What one commit overwrote: the values before it, `None` where there was none.
pub(super) type Undo = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// The tree with its last versions, oldest first; the newest is the tree as it is.
pub(super) struct Versions {
    tree: StateTree,
    kept: VecDeque<Kept>,
    undo_bytes: usize,
}

/// The state after one commit.
struct Kept {
    commit: CommitIndex,
    version: Version,
    /// The way back to the version before; empty in the oldest.
    undo: Undo,
    undo_bytes: usize,
}

impl Versions {
    /// Begins with the tree of `commit`.
    pub(super) fn new(commit: CommitIndex, mut tree: StateTree) -> Self {
        let version = tree.keep();
        let first = Kept { commit, version, undo: Undo::new(), undo_bytes: 0 };
        Self { tree, kept: VecDeque::from([first]), undo_bytes: 0 }
    }

    /// The tree, for the changes of the next commit.
    pub(super) fn tree_mut(&mut self) -> &mut StateTree {
        &mut self.tree
    }

    /// Keeps the tree as it is now as the state after `commit`, forgets old versions as the limits
    /// demand, and returns the root. The newest version always stays.
    pub(super) fn remember(&mut self, commit: CommitIndex, undo: Undo) -> Digest {
        let is_again = self.kept.back().is_some_and(|newest| newest.commit == commit);
        let version = self.tree.keep();
        let undo_bytes = undo.iter().fold(0, |sum, (key, value)| {
            sum + ENTRY_BYTES + key.len() + value.as_ref().map_or(0, Vec::len)
        });
        self.undo_bytes += undo_bytes;
        self.kept.push_back(Kept { commit, version, undo, undo_bytes });
        while self.kept.len() > 1 && (is_again || self.is_too_much()) {
            self.forget_oldest();
        }
        self.tree.root()
    }

    /// The search path of `key` in the state after `commit`.
    pub(super) fn prove(&self, commit: CommitIndex, key: &[u8]) -> Option<Vec<StateNode>> {
        self.tree.prove_at(self.kept.get(self.place(commit)?)?.version, key)
    }

    /// The value that `key` had after `commit`, if a later commit has overwritten it: the first one
    /// to do so knows. `Some(&None)` means that there was none.
    pub(super) fn overwritten_since(
        &self,
        commit: CommitIndex,
        key: &[u8],
    ) -> Option<&Option<Vec<u8>>> {
        let later = self.place(commit)? + 1;
        self.kept.range(later..).find_map(|version| version.undo.get(key))
    }

    fn place(&self, commit: CommitIndex) -> Option<usize> {
        self.kept.binary_search_by_key(&commit, |version| version.commit).ok()
    }

    fn is_too_much(&self) -> bool {
        let bytes = self.undo_bytes + self.tree.superseded_nodes() * NODE_BYTES;
        self.kept.len() > STATE_VERSIONS_MAX || bytes > STATE_VERSION_BYTES_MAX
    }

    /// Forgets the oldest version, and what only led back to it.
    fn forget_oldest(&mut self) {
        self.tree.forget_oldest();
        self.kept.pop_front();
        if let Some(oldest) = self.kept.front_mut() {
            self.undo_bytes -= oldest.undo_bytes;
            oldest.undo_bytes = 0;
            oldest.undo.clear();
        }
    }
}
