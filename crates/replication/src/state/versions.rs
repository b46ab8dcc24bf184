//! Recent versions of the state, from which proofs are made, and older ones that others fetch.
//!
//! A client accepts a proof once a quorum has signed the commit's root, and that takes a few more
//! commits; by then the backend has moved on. A version is the tree after its commit, which shares
//! all that did not change with its neighbours, and the values that later commits overwrote. A version
//! that is *held* stays while others go, for whoever fetches the state meanwhile.
//!
//! What a version costs is a copy of each node that changes after it, so of large commits in a row not
//! each one has one: [`Versions::begin`].

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::slice;

use ravelin_crypto::state_tree::{NODE_BYTES, StateTree, Version, path_of};
use ravelin_model::transfer::Spot;
use ravelin_model::wire::StateNode;
use ravelin_model::{CommitIndex, Digest};

/// Versions kept. A quorum signs a commit within a few rounds of it; the rest is for replicas whose
/// statements come late.
pub const STATE_VERSIONS_MAX: usize = 64;
/// Memory of the versions before the last, estimated: beyond it the oldest are forgotten, held or not. A
/// client that wanted one asks again; whoever fetches a state waits for the next that is held.
pub const STATE_VERSION_BYTES_MAX: usize = 28 << 20;
/// As much more while somebody needs a version that is held: beyond it the held ones go, the oldest first,
/// and who fetches it goes on with a newer one.
pub const STATE_HELD_BYTES_MAX: usize = 128 << 20;

/// Versions that are not held and stay all the same while others go for one that is: a quorum signs a
/// commit within so many.
const PROOF_VERSIONS_MIN: usize = 12;

/// Keys that a commit writes from which on the state before it may go without a version.
const LARGE_WRITES_MIN: usize = 48;
/// Of so many large commits in a row one has a version. Proofs are of a state as much older at most.
const LARGE_COMMITS_SHARE: usize = 8;
/// States that are kept so that some go without a version: one that has one is still there when a quorum
/// has signed the last of those that go without.
const SHARED_STATES_MIN: usize = PROOF_VERSIONS_MIN + LARGE_COMMITS_SHARE;

/// Memory of one value kept, beside its bytes and its key's: two vectors, and what a list has room for.
const ENTRY_BYTES: usize = 80;

/// What one commit overwrote, or several in a row: the values before, `None` where there was none.
///
/// Lists, for what a commit writes comes in the order of the keys, and is looked at rarely. Those of
/// several commits are joined when one is not much longer than the next, so they are few, and no key is
/// moved often: a tree would search its way for each key of each commit.
#[derive(Debug, Default)]
pub(super) struct Undo {
    /// The earliest first, each in the order of its keys. Of one key the first that has it knows.
    lists: Vec<Vec<(Vec<u8>, Former)>>,
    /// The keys that it removed, by their paths.
    removed: BTreeMap<Digest, Vec<u8>>,
    bytes: usize,
}

impl Undo {
    /// Begins with what one commit overwrote, with room for so many keys.
    pub(super) fn of_one(keys: usize) -> Self {
        Self { lists: vec![Vec::with_capacity(keys)], ..Self::default() }
    }

    /// Notes that `key` had this value before. `is_removed`: it has none after.
    ///
    /// # Panics
    /// If `key` is not above those noted before.
    pub(super) fn note(&mut self, key: Vec<u8>, value: Option<Vec<u8>>, is_removed: bool) {
        let list = self.lists.last_mut().expect("what one commit overwrote is a list");
        assert!(list.last().is_none_or(|(last, _)| *last < key), "keys are noted in order");
        self.bytes += bytes_of(&key, &value);
        if is_removed {
            self.bytes += ENTRY_BYTES + key.len();
            self.removed.insert(path_of(&key), key.clone());
        }
        list.push((key, value));
    }

    /// The keys with the values that they had. Of several commits a key may come several times, first with
    /// the value before the first.
    pub(super) fn values(&self) -> impl DoubleEndedIterator<Item = (&Vec<u8>, &Former)> {
        self.lists.iter().flatten().map(|(key, value)| (key, value))
    }

    /// The value that `key` had, if it was overwritten.
    fn get(&self, key: &[u8]) -> Option<&Former> {
        self.lists.iter().find_map(|list| {
            let place = list.binary_search_by(|(known, _)| known.as_slice().cmp(key)).ok()?;
            list.get(place).map(|(_, value)| value)
        })
    }

    /// Makes this the way back over an earlier commit's changes, too.
    fn precede(&mut self, earlier: Self) {
        let later = std::mem::replace(self, earlier);
        self.bytes += later.bytes;
        self.lists.extend(later.lists.into_iter().filter(|list| !list.is_empty()));
        while let [.., one, next] = self.lists.as_slice()
            && one.len() < 2 * next.len()
        {
            self.join_last();
        }
        for (path, key) in later.removed {
            if let Some(again) = self.removed.insert(path, key) {
                self.bytes -= ENTRY_BYTES + again.len();
            }
        }
    }

    /// Makes one list of the last two.
    fn join_last(&mut self) {
        let later = self.lists.pop().unwrap_or_default();
        let earlier = self.lists.pop().unwrap_or_default();
        let mut joined = Vec::with_capacity(earlier.len() + later.len());
        let mut later = later.into_iter().peekable();
        for (key, value) in earlier {
            while let Some(before) = later.next_if(|(next, _)| *next < key) {
                joined.push(before);
            }
            if let Some((again, value)) = later.next_if(|(next, _)| *next == key) {
                self.bytes -= bytes_of(&again, &value);
            }
            joined.push((key, value));
        }
        joined.extend(later);
        joined.shrink_to_fit();
        self.lists.push(joined);
    }
}

/// Memory of a key with the value that it had.
fn bytes_of(key: &[u8], value: &Former) -> usize {
    ENTRY_BYTES + key.len() + value.as_ref().map_or(0, Vec::len)
}

/// The tree with its last versions, oldest first; the newest is the tree as it is. Without any while
/// the state is no commit's.
#[derive(Default)]
pub(super) struct Versions {
    tree: StateTree,
    kept: VecDeque<Kept>,
    undo_bytes: usize,
    /// Whether somebody needs one that is held.
    is_fetched: bool,
}

/// What later commits overwrote, in the order of the keys. Of one key the earliest of them knows.
pub(super) struct Overwritten<'a> {
    later: Vec<Later<'a>>,
    /// The next key of each, and which it is.
    heads: BinaryHeap<Reverse<(&'a Vec<u8>, usize, &'a Former)>>,
}

/// A list of them, and where the walk is in it.
struct Later<'a> {
    values: &'a [(Vec<u8>, Former)],
    next: slice::Iter<'a, (Vec<u8>, Former)>,
}

/// The value that a key had; `None` if it had none.
type Former = Option<Vec<u8>>;

impl<'a> Overwritten<'a> {
    fn new(later: impl Iterator<Item = &'a Undo>, from: &[u8]) -> Self {
        let later = later.flat_map(|undo| &undo.lists);
        let later = later.map(|values| Later { values, next: seek(values, from) });
        let mut all = Self { later: later.collect(), heads: BinaryHeap::new() };
        (0..all.later.len()).for_each(|which| all.go_on(which, None));
        all
    }

    /// Takes the next key of one commit, from `from` on.
    fn go_on(&mut self, which: usize, from: Option<&[u8]>) {
        let Some(later) = self.later.get_mut(which) else { return };
        if let Some(from) = from {
            later.next = seek(later.values, from);
        }
        let next = later.next.next();
        self.heads.extend(next.map(|(key, former)| Reverse((key, which, former))));
    }

    /// What `key` had; nothing if no later commit has overwritten it. Keys must ascend from one question
    /// to the next. Cost: at most one search in each list, however many keys lie in between.
    pub(super) fn of(&mut self, key: &[u8]) -> Option<&'a Former> {
        let mut found = None;
        while let Some(Reverse((next, which, former))) = self.heads.peek().copied()
            && next.as_slice() <= key
        {
            self.heads.pop();
            if next == key {
                found.get_or_insert(former);
                self.go_on(which, None);
            } else {
                self.go_on(which, Some(key));
            }
        }
        found
    }
}

fn seek<'a>(values: &'a [(Vec<u8>, Former)], from: &[u8]) -> slice::Iter<'a, (Vec<u8>, Former)> {
    let before = values.partition_point(|(key, _)| key.as_slice() < from);
    values.get(before..).unwrap_or_default().iter()
}

/// The state after one commit.
struct Kept {
    commit: CommitIndex,
    /// The tree then, unless a large commit followed.
    version: Option<Version>,
    /// The way back to the version before; empty in the oldest.
    undo: Undo,
    is_held: bool,
}

impl Versions {
    /// Begins with the tree of `commit`.
    pub(super) fn new(commit: CommitIndex, mut tree: StateTree) -> Self {
        let version = Some(tree.keep());
        let first = Kept { commit, version, undo: Undo::default(), is_held: false };
        Self { tree, kept: VecDeque::from([first]), undo_bytes: 0, is_fetched: false }
    }

    /// Begins with the tree of `commit`, and an earlier version, which is held, to which `undo` leads.
    pub(super) fn leading_back(
        (held, version): (CommitIndex, Version),
        (commit, undo): (CommitIndex, Undo),
        mut tree: StateTree,
    ) -> Self {
        let undo_bytes = undo.bytes;
        let version = Some(version);
        let held = Kept { commit: held, version, undo: Undo::default(), is_held: true };
        let version = Some(tree.keep());
        let newest = Kept { commit, version, undo, is_held: false };
        Self { tree, kept: VecDeque::from([held, newest]), undo_bytes, is_fetched: false }
    }

    /// What commits after `commit` overwrote, each key once with the value before the first of them, or
    /// an earlier one that a version kept before `commit` has. In the order of the keys.
    pub(super) fn former_since(&self, commit: CommitIndex) -> Vec<(&Vec<u8>, &Former)> {
        let later = self.kept.iter().filter(|kept| kept.commit > commit);
        let mut former: Vec<_> = later.flat_map(|kept| kept.undo.values()).collect();
        former.sort_by_key(|(key, _)| *key); // the earlier of two stays first
        former.dedup_by_key(|(key, _)| *key);
        former
    }

    /// The tree, for the changes of the next commit.
    pub(super) fn tree_mut(&mut self) -> &mut StateTree {
        &mut self.tree
    }

    /// The tree as it is.
    pub(super) fn tree(&self) -> &StateTree {
        &self.tree
    }

    /// Forgets all versions.
    pub(super) fn unkept(self) -> Self {
        Self { tree: self.into_tree(), ..Self::default() }
    }

    /// Forgets all versions, and gives the tree as it is.
    pub(super) fn into_tree(mut self) -> StateTree {
        let versions = self.kept.iter().filter_map(|kept| kept.version);
        versions.for_each(|version| self.tree.forget(version));
        self.tree
    }

    /// Begins a commit that writes so many keys of the tree. If they are many, the state as it is now loses
    /// its version: nobody has signed it yet, and one who wants a proof is shown a state that is a little
    /// older. After few writes a state keeps its version, so what is written at rest is proven at once; and
    /// where memory is so short that few states are kept, each has its own.
    pub(super) fn begin(&mut self, writes: usize) {
        let is_short = self.kept.len() < SHARED_STATES_MIN;
        let is_short = is_short && 2 * self.bytes() > STATE_VERSION_BYTES_MAX;
        let mut latest = self.kept.iter_mut().rev();
        let Some(newest) = latest.next().filter(|newest| !newest.is_held) else { return };
        let without = latest.take_while(|kept| kept.version.is_none()).count();
        if writes >= LARGE_WRITES_MIN
            && without < LARGE_COMMITS_SHARE - 1
            && !is_short
            && let Some(version) = newest.version.take()
        {
            self.tree.forget(version);
        }
    }

    /// Memory of the versions before the last, estimated.
    fn bytes(&self) -> usize {
        self.undo_bytes + self.tree.superseded_nodes() * NODE_BYTES
    }

    /// Keeps the tree as it is now as the state after `commit`, forgets old versions as the limits
    /// demand, and returns the root. The newest version always stays.
    pub(super) fn remember(&mut self, commit: CommitIndex, undo: Undo) -> Digest {
        let is_again = self.kept.back().is_some_and(|newest| newest.commit == commit);
        let version = Some(self.tree.keep());
        self.undo_bytes += undo.bytes;
        self.kept.push_back(Kept { commit, version, undo, is_held: false });
        while let Some(place) = self.superfluous(is_again) {
            self.forget(place);
        }
        self.tree.root()
    }

    /// Keeps the newest version until it is released, or too much would be kept. Its commit.
    pub(super) fn hold(&mut self) -> Option<CommitIndex> {
        let newest = self.kept.back_mut()?;
        newest.is_held = true;
        Some(newest.commit)
    }

    /// Keeps `commit` no longer than others.
    pub(super) fn release(&mut self, commit: CommitIndex) {
        let Some(kept) = self.place(commit).and_then(|place| self.kept.get_mut(place)) else {
            return;
        };
        kept.is_held = false;
    }

    /// Says whether somebody needs a version that is held: then more may be kept.
    pub(super) fn set_fetched(&mut self, is_fetched: bool) {
        self.is_fetched = is_fetched;
    }

    /// Whether the state after `commit` has a version.
    pub(super) fn has(&self, commit: CommitIndex) -> bool {
        self.version(commit).is_some()
    }

    /// The search path of `key` in the state after `commit`.
    pub(super) fn prove(&self, commit: CommitIndex, key: &[u8]) -> Option<Vec<StateNode>> {
        self.tree.prove_at(self.version(commit)?, key)
    }

    /// The nodes of the state after `commit` at and below a place.
    pub(super) fn expand(
        &self,
        commit: CommitIndex,
        spot: &Spot,
        levels: usize,
        nodes_max: usize,
    ) -> Option<Vec<StateNode>> {
        self.tree.expand(self.version(commit)?, spot, levels, nodes_max)
    }

    /// The value digest of a path after `commit`; `None` as well if that is forgotten.
    pub(super) fn value_at(&self, commit: CommitIndex, path: &Digest) -> Option<Digest> {
        self.tree.value_in(self.version(commit)?, path)
    }

    /// The value that `key` had after `commit`, if a later commit has overwritten it: the first one
    /// to do so knows. `Some(&None)` means that there was none.
    pub(super) fn overwritten_since(
        &self,
        commit: CommitIndex,
        key: &[u8],
    ) -> Option<&Option<Vec<u8>>> {
        self.later(commit)?.find_map(|undo| undo.get(key))
    }

    /// What [`Self::overwritten_since`] says of one key after the other, from `from` on.
    pub(super) fn overwritten_from(&self, commit: CommitIndex, from: &[u8]) -> Overwritten<'_> {
        Overwritten::new(self.later(commit).into_iter().flatten(), from)
    }

    /// The key with this path, if it was there after `commit` and a later commit removed it.
    pub(super) fn removed_since(&self, commit: CommitIndex, path: &Digest) -> Option<&Vec<u8>> {
        self.later(commit)?.find_map(|undo| undo.removed.get(path))
    }

    fn later(&self, commit: CommitIndex) -> Option<impl Iterator<Item = &Undo>> {
        let later = self.place(commit)? + 1;
        Some(self.kept.range(later..).map(|version| &version.undo))
    }

    fn version(&self, commit: CommitIndex) -> Option<Version> {
        self.kept.get(self.place(commit)?)?.version
    }

    fn place(&self, commit: CommitIndex) -> Option<usize> {
        self.kept.binary_search_by_key(&commit, |version| version.commit).ok()
    }

    /// What must go: the oldest that is not held; or, where those held are too much, the oldest of them.
    fn superfluous(&self, is_again: bool) -> Option<usize> {
        let last = self.kept.len() - 1;
        let held = self.kept.iter().filter(|kept| kept.is_held).count();
        let oldest = |is_held| self.kept.range(..last).position(|kept| kept.is_held == is_held);
        if is_again && last > 0 {
            return Some(0);
        }
        let bytes = self.bytes();
        let (oldest_held, oldest) = (oldest(true), oldest(false));
        if held > 0 && self.is_fetched {
            if bytes > STATE_VERSION_BYTES_MAX + STATE_HELD_BYTES_MAX {
                // Those for proofs hold most of it where commits are large; a few are enough for them.
                let spare = oldest.filter(|_| self.kept.len() - held > PROOF_VERSIONS_MIN);
                return spare.or(oldest_held).or(oldest);
            }
        } else if bytes > STATE_VERSION_BYTES_MAX {
            return (last > 0).then_some(0);
        }
        (self.kept.len() - held > STATE_VERSIONS_MAX).then_some(oldest)?
    }

    /// Forgets a version, and what only led back to it.
    fn forget(&mut self, place: usize) {
        let Some(Kept { version, undo, .. }) = self.kept.remove(place) else { return };
        version.into_iter().for_each(|version| self.tree.forget(version));
        self.undo_bytes -= undo.bytes;
        let Some(next) = self.kept.get_mut(place) else { return };
        self.undo_bytes -= next.undo.bytes;
        match place {
            0 => next.undo = Undo::default(),
            _ => next.undo.precede(undo),
        }
        self.undo_bytes += next.undo.bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Commits of different sizes, some of which write the same keys.
    #[test]
    fn of_several_commits_the_first_knows_what_a_key_had_and_few_lists_tell() {
        let mut first = BTreeMap::new();
        let mut all = Undo::of_one(0);
        for commit in 0_u32..800 {
            // At last nothing changes.
            let keys = if commit < 400 { commit % 7..4 * commit } else { 0..0 };
            let keys = keys.step_by(1 + commit as usize % 23);
            let mut next = Undo::of_one(keys.len());
            for key in keys {
                let (key, value) = (key.to_be_bytes().to_vec(), Some(vec![commit as u8; 9]));
                next.note(key.clone(), value.clone(), commit % 3 == 0);
                first.entry(key).or_insert(value);
            }
            next.precede(all);
            all = next;
            assert!(all.lists.len() <= 14, "{} lists after {commit}", all.lists.len());
            let is_exact = |list: &Vec<_>| list.capacity() == list.len();
            assert!(all.lists.iter().all(is_exact), "room that is not counted");
        }
        let mut walk = Overwritten::new([&all].into_iter(), &[]);
        for key in (0..1_700_u32).map(u32::to_be_bytes) {
            assert_eq!(all.get(&key), first.get(key.as_slice()), "{key:?}");
            assert_eq!(walk.of(&key), first.get(key.as_slice()), "{key:?}");
        }
        let mut told = BTreeMap::new();
        for (key, value) in all.values() {
            told.entry(key).or_insert(value);
        }
        assert!(told.into_iter().eq(&first));
        let values = all.values().map(|(key, value)| bytes_of(key, value)).sum::<usize>();
        let removed = all.removed.values().map(|key| ENTRY_BYTES + key.len()).sum::<usize>();
        assert_eq!(all.bytes, values + removed);
    }
}
