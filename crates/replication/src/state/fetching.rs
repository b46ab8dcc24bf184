//! The state as one replica shows it to another, and as that one makes its own equal to it.
//!
//! While a state is being fetched it is no commit's. A mark says so, durably before the first change,
//! so that a replica which stops in between goes on fetching and believes nothing of what it holds.

use ravelin_crypto::state_tree::{path_of, value_digest};
use ravelin_model::transfer::Spot;
use ravelin_model::wire::StateNode;

use super::*;

/// Beginning of the keys under which the key of each path is found.
const INDEX: [u8; 2] = [COMMIT, b'i'];
/// Whether the index is there: states of earlier versions of this program have none.
const INDEXED: [u8; 2] = [COMMIT, b'I'];
/// While the state is being fetched: the commit that this replica was past before.
const FETCHING: &[u8] = b"t";
/// Entries that are indexed or removed with one batch.
const BATCH_ENTRIES: usize = 1024;

/// An entry: its state key and its value.
pub type StateEntry = (Vec<u8>, Vec<u8>);

impl State {
    /// Keeps the state as it is after the last commit for those who fetch it, until released.
    pub fn hold(&mut self) -> Option<CommitIndex> {
        self.versions.hold()
    }

    /// Keeps the state after `commit` no longer than others.
    pub fn release(&mut self, commit: CommitIndex) {
        self.versions.release(commit);
    }

    /// Says whether somebody needs a state that is held: then more memory may go to it.
    pub fn set_fetched(&mut self, is_fetched: bool) {
        self.versions.set_fetched(is_fetched);
    }

    /// Whether the state after `commit` can be shown: it is not forgotten, and was the last one or
    /// followed by a small commit, or one of a few large ones.
    #[must_use]
    pub fn has_version(&self, commit: CommitIndex) -> bool {
        self.versions.has(commit)
    }

    /// The nodes of the state after `commit` at and below a place; `None` if it is forgotten.
    #[must_use]
    pub fn expand(
        &self,
        commit: CommitIndex,
        spot: &Spot,
        levels: usize,
        nodes_max: usize,
    ) -> Option<Vec<StateNode>> {
        self.versions.expand(commit, spot, levels, nodes_max)
    }

    /// The entry with this path after `commit`; `None` if there was none, or the state is forgotten.
    /// Cost: two reads of the backend; where the entry changed since, a look at each later commit.
    #[must_use]
    pub fn entry_at(&self, commit: CommitIndex, path: &Digest) -> Option<StateEntry> {
        let digest = self.versions.value_at(commit, path)?;
        let present = self.key_of(path).and_then(|key| {
            let value = self.running.backend().get(&key)?;
            Some((key, value))
        });
        let is_it = |(_, value): &StateEntry| value_digest(value) == digest;
        present.filter(is_it).or_else(|| self.former_entry(commit, path))
    }

    /// Visits the public entries of now with `from <= key`, below `until` if given, in key order until
    /// `visit` breaks: the key, its present value, and the one that it had after `commit`, `None` if it is
    /// new since. Cost: for each a look at it and, at most, at what each commit since has overwritten next
    /// to it.
    pub fn visit_at(
        &self,
        commit: CommitIndex,
        (from, until): (&[u8], Option<&[u8]>),
        visit: &mut dyn FnMut(&[u8], &[u8], Option<&[u8]>) -> ControlFlow<()>,
    ) {
        let end: &[u8] = &[COMMIT];
        let until = until.map_or(end, |until| until.min(end));
        let mut overwritten = self.versions.overwritten_from(commit, from);
        self.running.backend().scan(from, Some(until), &mut |key, present| {
            let former = overwritten.of(key).map(Option::as_deref);
            visit(key, present, former.unwrap_or(Some(present)))
        });
    }

    /// The entry with this path after `commit`, which has changed since.
    fn former_entry(&self, commit: CommitIndex, path: &Digest) -> Option<StateEntry> {
        let removed = self.versions.removed_since(commit, path).cloned();
        let key = removed.or_else(|| self.key_of(path))?;
        let value = self.versions.overwritten_since(commit, &key)?.clone()?;
        Some((key, value))
    }

    /// The commit that this replica was past when it began to fetch the state it holds, if it has not
    /// ended.
    ///
    /// # Panics
    /// If the state was not written by this program.
    #[must_use]
    pub fn fetching_since(&self) -> Option<CommitIndex> {
        let bytes = self.private_get(FETCHING)?;
        let commit = bytes.try_into().expect("the state holds what this replica wrote");
        Some(CommitIndex(u64::from_le_bytes(commit)))
    }

    /// Begins to fetch another state: from now on this is no commit's.
    pub fn begin_fetching(&mut self) {
        if self.fetching_since().is_none() {
            self.forget_way_back();
            let since = self.commit.0.to_le_bytes().to_vec();
            self.private_write(vec![(FETCHING.to_vec(), Some(since))]);
            self.sync(); // what it overwrites from here on is given up, whatever the log has of it
        }
        self.versions = std::mem::take(&mut self.versions).unkept();
    }

    /// The value digest that is agreed on for a path.
    #[must_use]
    pub fn value_at(&self, path: &Digest) -> Option<Digest> {
        self.versions.tree().value_at(path)
    }

    /// The digest of what is held at a place.
    pub fn digest_at(&mut self, spot: &Spot) -> Digest {
        self.versions.tree_mut().digest_at(spot)
    }

    /// Agrees with the state being fetched that `path` is at `spot` with this value digest, and nothing
    /// with a smaller path; returns whether the value is still to come, and the paths of what is gone.
    pub fn settle(&mut self, spot: &Spot, path: Digest, value: Digest) -> (bool, Vec<Digest>) {
        let (gone, is_known) = self.versions.tree_mut().settle(spot, path, value);
        self.erase(&gone);
        (!is_known, gone)
    }

    /// Agrees with the state being fetched that nothing is at `spot`; returns what is gone.
    pub fn clear(&mut self, spot: &Spot) -> Vec<Digest> {
        let gone = self.versions.tree_mut().clear(spot);
        self.erase(&gone);
        gone
    }

    /// Stores entries of the state being fetched, whose digests were checked.
    pub fn store(&mut self, entries: Vec<StateEntry>) {
        let mut batch = Vec::with_capacity(2 * entries.len());
        for (key, value) in entries {
            batch.push((index_key(&path_of(&key)), Some(key.clone())));
            batch.push((key, Some(value)));
        }
        self.running.backend_mut().write(&batch);
    }

    /// Ends the fetching: this is the state after `commit`, with `private` as its ordering state. All
    /// durable when this returns.
    ///
    /// # Panics
    /// If the tree's root is not `root`: then the state was not fetched to its end.
    pub fn finish_fetching(
        &mut self,
        commit: CommitIndex,
        root: Digest,
        private: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    ) {
        assert_eq!(self.versions.tree_mut().root(), root, "the state is fetched to its end");
        // Proofs wait for the next commit there; nothing of the public state does.
        let mut writes = self.running.take_writes();
        writes.retain(|key, _| !is_public(key));
        writes.extend(private.into_iter().map(|(key, value)| (private_key(&key), value)));
        writes.insert(private_key(FETCHING), None);
        let mut batch: Vec<_> = writes.into_iter().collect();
        batch.push((vec![COMMIT], Some(commit.0.to_le_bytes().to_vec())));
        self.running.backend_mut().write(&batch);
        self.sync();
        let versions = std::mem::take(&mut self.versions);
        self.versions = Versions::new(commit, versions.into_tree());
        (self.commit, self.root) = (commit, root);
    }

    /// Writes the index of a state that has none, unless that is empty. Whether its mark is there.
    pub(super) fn index(backend: &mut dyn StateBackend) -> bool {
        if backend.get(&INDEXED).is_some() {
            return true;
        }
        let (mut from, mut is_begun) = (Vec::new(), false);
        loop {
            let mut batch = Vec::new();
            backend.scan(&from, Some(&[COMMIT]), &mut |key, _| {
                batch.push((index_key(&path_of(key)), Some(key.to_vec())));
                match batch.len() < BATCH_ENTRIES {
                    true => ControlFlow::Continue(()),
                    false => ControlFlow::Break(()),
                }
            });
            let Some((_, Some(last))) = batch.last() else {
                if is_begun {
                    backend.write(&[index_mark()]);
                }
                return is_begun;
            };
            is_begun = true;
            from = [last.as_slice(), &[0]].concat();
            if batch.len() < BATCH_ENTRIES {
                batch.push(index_mark());
            }
            backend.write(&batch);
            backend.settle(); // nothing of it is executed
        }
    }

    fn key_of(&self, path: &Digest) -> Option<Vec<u8>> {
        self.running.backend().get(&index_key(path))
    }

    fn erase(&mut self, paths: &[Digest]) {
        for some in paths.chunks(BATCH_ENTRIES) {
            let mut batch = Vec::with_capacity(2 * some.len());
            for path in some {
                // One that was agreed on and never came is not there.
                let key = self.key_of(path);
                batch.extend(key.map(|key| (key, None)));
                batch.push((index_key(path), None));
            }
            self.running.backend_mut().write(&batch);
            self.running.backend_mut().settle(); // what was executed is given up already
        }
    }
}

/// Where the key of a path is found.
pub(super) fn index_key(path: &Digest) -> Vec<u8> {
    [INDEX.as_slice(), &path.0].concat()
}

/// What says that the index is there.
pub(super) fn index_mark() -> (Vec<u8>, Option<Vec<u8>>) {
    (INDEXED.to_vec(), Some(Vec::new()))
}
