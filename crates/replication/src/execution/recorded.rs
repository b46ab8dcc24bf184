//! What execution writes of the order with each commit, and reads back at a start.

use super::*;

/// Key of [`Progress`] in the private state.
pub(super) const PROGRESS: &[u8] = b"o";
/// Prefix of delivered references in the private state.
const DELIVERED: u8 = b'd';

/// Where execution stands; written with each commit.
#[derive(Clone, Debug, PartialEq, Eq, borsh::BorshSerialize, borsh::BorshDeserialize)]
pub struct Progress {
    /// The last position given out.
    pub position: Position,
    /// The ordering state after the last commit executed.
    pub ordering: OrderingState,
}

impl Execution {
    pub(super) fn write_progress(&mut self, committed: &Committed) {
        for block in &committed.blocks {
            self.state.private_put(&delivered_key(&block.reference()), Vec::new());
        }
        for reference in &committed.forgotten {
            self.state.private_delete(&delivered_key(reference));
        }
        let progress = Progress { position: self.position, ordering: committed.state.clone() };
        self.state.private_put(PROGRESS, progress.encode());
    }
}

/// Where execution stood when `state` was last written, and the references delivered above the
/// horizon; `None` before the first commit.
///
/// # Panics
/// If the state was not written by this program.
#[must_use]
pub fn progress(state: &State) -> Option<(Progress, BTreeSet<BlockRef>)> {
    let bytes = state.private_get(PROGRESS)?;
    let progress =
        Progress::decode("progress", &bytes).expect("the state holds what execution wrote");
    let mut delivered = BTreeSet::new();
    state.private_scan(&[DELIVERED], Some(&[DELIVERED + 1]), &mut |key, _| {
        let reference = key.get(1..).and_then(reference_of);
        delivered.insert(reference.expect("the state holds what execution wrote"));
        std::ops::ControlFlow::Continue(())
    });
    Some((progress, delivered))
}

/// Rounds up to which `backend` needs nothing of the log any more.
///
/// # Panics
/// If the state was not written by this program.
#[must_use]
pub fn recorded_horizon(backend: &dyn StateBackend) -> Round {
    let recorded = backend.get(&crate::state::private_key(PROGRESS));
    recorded.map_or(Round(0), |bytes| {
        let progress =
            Progress::decode("progress", &bytes).expect("the state holds what execution wrote");
        progress.ordering.horizon()
    })
}

/// The keys of all delivered references.
pub(super) fn delivered_keys(state: &State) -> Vec<Vec<u8>> {
    let mut keys = Vec::new();
    state.private_scan(&[DELIVERED], Some(&[DELIVERED + 1]), &mut |key, _| {
        keys.push(key.to_vec());
        std::ops::ControlFlow::Continue(())
    });
    keys
}

pub(super) fn delivered_key(reference: &BlockRef) -> Vec<u8> {
    let (round, author) = (reference.round.0.to_be_bytes(), reference.author.0.to_be_bytes());
    [&[DELIVERED], round.as_slice(), &author, &reference.digest.0].concat()
}

pub(super) fn reference_of(key: &[u8]) -> Option<BlockRef> {
    let (round, rest) = key.split_first_chunk::<8>()?;
    let (author, digest) = rest.split_first_chunk::<2>()?;
    Some(BlockRef {
        round: Round(u64::from_be_bytes(*round)),
        author: ReplicaId(u16::from_be_bytes(*author)),
        digest: Digest(digest.try_into().ok()?),
    })
}
