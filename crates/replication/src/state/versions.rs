//! Recent versions of the state, from which proofs are made.
//!
//! A client accepts a proof once a quorum has signed the commit's root, and that takes a few more
//! commits; by then the backend has moved on. A version is the tree after its commit, which shares
//! all that did not change with its neighbours, and the values that the commit overwrote.

use std::collections::{BTreeMap, VecDeque};

use ravelin_crypto::state_tree::{NODE_BYTES, StateTree};
use ravelin_model::CommitIndex;

/// Versions kept. A quorum signs a commit within a few rounds of it; the rest is for replicas whose
/// statements come late.
pub const STATE_VERSIONS_MAX: usize = 64;
/// Memory of the versions before the last, estimated: beyond it the oldest are forgotten, and a
/// client that asks for one must ask again.
pub const STATE_VERSION_BYTES_MAX: usize = 32 << 20;

/// Bookkeeping of one value kept, beside its bytes and its key's: two vectors and a map's share.
const ENTRY_BYTES: usize = 80;

/// What one commit overwrote: the values before it, `None` where there was none.
pub(super) type Undo = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// The last versions, oldest first.
#[derive(Default)]
pub(super) struct Versions {
    kept: VecDeque<Version>,
    bytes: usize,
}

/// The state after one commit.
struct Version {
    commit: CommitIndex,
    tree: StateTree,
    /// The way back to the version before; of no use in the oldest one.
    undo: Undo,
    /// What keeping the version before costs.
    bytes: usize,
}

impl Versions {
    /// Adds the newest version, and forgets old ones as the limits demand; the newest stays. A
    /// version of the same commit is replaced.
    pub(super) fn remember(&mut self, commit: CommitIndex, tree: StateTree, undo: Undo) {
        if self.kept.back().is_some_and(|newest| newest.commit == commit) {
            *self = Self::default();
        }
        let copied = self.kept.back().map_or(0, |newest| {
            tree.copied_nodes().saturating_sub(newest.tree.copied_nodes())
        });
        let nodes = usize::try_from(copied).unwrap_or(usize::MAX).saturating_mul(NODE_BYTES);
        let bytes = undo.iter().fold(nodes, |sum, (key, value)| {
            let value = value.as_ref().map_or(0, Vec::len);
            sum.saturating_add(ENTRY_BYTES + key.len() + value)
        });
        self.bytes = self.bytes.saturating_add(bytes);
        self.kept.push_back(Version { commit, tree, undo, bytes });
        let is_too_much = |versions: &Self| {
            versions.kept.len() > STATE_VERSIONS_MAX || versions.bytes > STATE_VERSION_BYTES_MAX
        };
        while is_too_much(self) && self.kept.len() > 1 {
            self.forget_oldest();
        }
        if self.kept.len() == 1 {
            self.forget_way_back();
        }
    }

    /// The tree after `commit`.
    pub(super) fn tree(&self, commit: CommitIndex) -> Option<&StateTree> {
        self.place(commit).and_then(|place| self.kept.get(place)).map(|version| &version.tree)
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

    fn forget_oldest(&mut self) {
        self.kept.pop_front();
        self.forget_way_back();
    }

    /// Drops what only led back to a version that is forgotten.
    fn forget_way_back(&mut self) {
        if let Some(oldest) = self.kept.front_mut() {
            oldest.undo.clear();
            self.bytes -= oldest.bytes;
            oldest.bytes = 0;
        }
    }
}
