//! The way back from the state that is durable to the last one for which somebody vouches.
//!
//! What a store makes durable is the state after whichever commit came last by then. Who fetches a state
//! needs one that a quorum signed, or with which an epoch began, and that is an earlier one. So beside the
//! state stands what vouches for that one, and, written each time before something is made durable, what
//! the commits since have overwritten. At a start the earlier state is made from the two.
//!
//! **Guarantee:** [`State::lead_back`] gives a state with the root that it is asked for, or none, whatever
//! the disk holds. Bounded: [`WAY_BACK_BYTES_MAX`]; beyond it there is no way back until the next state
//! that is vouched for. Nothing of it is durable ahead of the state that it leads back from.
//!
//! | key, after the namespace | value |
//! |---|---|
//! | `w` | what vouches for the state: bytes of the caller's |
//! | `W` and a commit, eight bytes, big-endian | the keys that changed from the one before up to this commit, with their values before; `None` where there was none |

use ravelin_model::{Decode as _, Encode as _};

use super::versions::Undo;
use super::*;

/// Bytes of what leads back, keys and values.
pub const WAY_BACK_BYTES_MAX: usize = 16 << 20;

/// Where it stands what vouches for the state that is led back to.
const WORD: [u8; 2] = [COMMIT, b'w'];
/// Beginning of the keys of the steps.
const STEPS: [u8; 2] = [COMMIT, b'W'];
/// What follows all of these.
const STEPS_END: [u8; 2] = [COMMIT, b'X'];

/// Keys with the values that they had.
type Former = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// How far the way back is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct WayBack {
    /// The commit that it leads back to.
    to: CommitIndex,
    /// The commit from which it does.
    from: CommitIndex,
    bytes: usize,
}

impl State {
    /// From now on whatever becomes durable leads back to the state after `commit`, for which `word`
    /// vouches, as long as that state is kept here.
    pub fn vouch(&mut self, commit: CommitIndex, word: Vec<u8>) {
        if !self.versions.has(commit) {
            return;
        }
        let mut batch = self.recorded_way();
        batch.push((WORD.to_vec(), Some(word)));
        self.running.backend_mut().write(&batch);
        self.way_back = Some(WayBack { to: commit, from: commit, bytes: 0 });
    }

    /// What an earlier life wrote that vouches for the state which this one leads back to.
    #[must_use]
    pub fn vouched(&self) -> Option<Vec<u8>> {
        self.running.backend().get(&WORD)
    }

    /// Makes the state after `commit`, with this root, from what stands beside the present one, and keeps
    /// it until it is released; whether it could. To be called before the first commit of this life. Cost:
    /// twice that of a commit that changes as much.
    pub fn lead_back(&mut self, commit: CommitIndex, root: Digest) -> bool {
        if commit == self.commit && root == self.root {
            self.versions.hold();
            self.way_back = Some(WayBack { to: commit, from: commit, bytes: 0 });
            return true;
        }
        let Some((undo, bytes)) = self.recorded_steps(commit) else { return false };
        let mut tree = std::mem::take(&mut self.versions).into_tree();
        for (key, value) in undo.values().rev() {
            set(&mut tree, key, value.as_deref()); // of one key the first commit's comes last
        }
        let is_it = tree.root() == root || mutants::is_active("way_back_believed");
        let former = is_it.then(|| tree.keep());
        for (key, _) in undo.values() {
            let present = self.running.backend().get(key);
            set(&mut tree, key, present.as_deref());
        }
        assert_eq!(tree.root(), self.root, "what was taken back is there again");
        self.versions = match former {
            Some(former) => Versions::leading_back((commit, former), (self.commit, undo), tree),
            None => Versions::new(self.commit, tree),
        };
        self.way_back = former.map(|_| WayBack { to: commit, from: self.commit, bytes });
        is_it
    }

    /// Gives up what leads back, and what vouches for where it leads.
    pub fn forget_way_back(&mut self) {
        self.way_back = None;
        let batch = self.recorded_way();
        if !batch.is_empty() {
            self.running.backend_mut().write(&batch);
        }
    }

    /// Writes the last step of the way back, from the last commit: what is there may be made durable now.
    pub(super) fn write_way_back(&mut self) {
        let Some(way) = self.way_back.filter(|way| way.from < self.commit) else { return };
        if !self.versions.has(way.to) {
            return self.forget_way_back();
        }
        let former = self.versions.former_since(way.from);
        let size = |(key, value): &(&Vec<u8>, &Option<Vec<u8>>)| {
            key.len() + value.as_ref().map_or(0, Vec::len)
        };
        let bytes = way.bytes + former.iter().map(size).sum::<usize>();
        if bytes > WAY_BACK_BYTES_MAX {
            return self.forget_way_back();
        }
        let step = former.encode(); // as `Former`, and nothing is copied for it
        self.running.backend_mut().write(&[(step_key(self.commit), Some(step))]);
        self.way_back = Some(WayBack { from: self.commit, bytes, ..way });
    }

    /// What an earlier life wrote of the way from the present state back to that after `commit`, and its
    /// bytes. `None` if it does not lead so far, or is not what was written.
    fn recorded_steps(&self, commit: CommitIndex) -> Option<(Undo, usize)> {
        let (mut steps, mut bytes) = (Vec::new(), 0);
        self.running.backend().scan(&STEPS, Some(&STEPS_END), &mut |key, step| {
            bytes += step.len();
            steps.push((key.to_vec(), step.to_vec()));
            match bytes <= 2 * WAY_BACK_BYTES_MAX {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        });
        let is_whole = commit < self.commit && steps.last()?.0 == step_key(self.commit);
        let mut former = BTreeMap::new();
        for (_, step) in steps.into_iter().filter(|_| is_whole) {
            for (key, value) in Former::decode("step of the way back", &step).ok()? {
                former.entry(key).or_insert(value); // the earliest is the value that is led back to
            }
        }
        let is_of_state = is_whole && former.keys().all(|key| is_public(key));
        is_of_state.then(|| {
            let mut undo = Undo::of_one(former.len());
            for (key, value) in former {
                let is_removed = self.running.backend().get(&key).is_none();
                undo.note(key, value, is_removed);
            }
            (undo, bytes)
        })
    }

    /// What deletes all that was written of a way back.
    fn recorded_way(&self) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
        let mut batch = Vec::new();
        self.running.backend().scan(&STEPS, Some(&STEPS_END), &mut |key, _| {
            batch.push((key.to_vec(), None));
            ControlFlow::Continue(())
        });
        batch.extend(self.vouched().map(|_| (WORD.to_vec(), None)));
        batch
    }
}

fn step_key(commit: CommitIndex) -> Vec<u8> {
    [STEPS.as_slice(), &commit.0.to_be_bytes()].concat()
}

fn set(tree: &mut StateTree, key: &[u8], value: Option<&[u8]>) {
    match value {
        Some(value) => tree.insert(key, value_digest(value)),
        None => tree.remove(key),
    };
}
