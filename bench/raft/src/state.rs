//! The state machine: keys and values in memory, rebuilt from the log after a restart.
//!
//! There are no snapshots: the log has a bound instead, and keeps everything up to it.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Cursor;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use openraft::storage::RaftStateMachine;
use openraft::{
    AnyError, Entry, EntryPayload, LogId, RaftSnapshotBuilder, Snapshot, SnapshotMeta,
    StorageError, StorageIOError, StoredMembership,
};
use serde::{Deserialize, Serialize};

use crate::TypeConfig;
use crate::frames::Puts;

/// What is proposed: the writes of as many requests as were gathered, one after the other.
#[derive(Clone, Deserialize, Serialize)]
pub(crate) struct Writes(pub(crate) Bytes);

impl fmt::Debug for Writes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} bytes of writes", self.0.len())
    }
}

/// The state. Copies are the same state.
#[derive(Clone, Default)]
pub(crate) struct State(Arc<RwLock<Contents>>);

#[derive(Default)]
struct Contents {
    values: BTreeMap<Vec<u8>, Vec<u8>>,
    applied: Option<LogId<u64>>,
    membership: StoredMembership<u64, openraft::BasicNode>,
}

impl State {
    /// Calls `read` with a way to read values, all of one moment.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&BTreeMap<Vec<u8>, Vec<u8>>) -> T) -> T {
        read(&self.0.read().unwrap_or_else(PoisonError::into_inner).values)
    }
}

impl RaftStateMachine<TypeConfig> for State {
    type SnapshotBuilder = NoSnapshots;

    async fn applied_state(
        &mut self,
    ) -> Result<(Option<LogId<u64>>, StoredMembership<u64, openraft::BasicNode>), StorageError<u64>>
    {
        let contents = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Ok((contents.applied, contents.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<()>, StorageError<u64>>
    where
        I: IntoIterator<Item = Entry<TypeConfig>> + Send,
        I::IntoIter: Send,
    {
        let mut contents = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let mut replies = Vec::new();
        for Entry { log_id, payload } in entries {
            match payload {
                EntryPayload::Blank => {}
                EntryPayload::Membership(membership) => {
                    contents.membership = StoredMembership::new(Some(log_id), membership);
                }
                EntryPayload::Normal(Writes(writes)) => {
                    // Each was checked before it was proposed: all servers find the same.
                    let puts = Puts::of(&writes)
                        .map_err(|error| StorageIOError::apply(log_id, AnyError::new(&error)))?;
                    for (key, value) in puts {
                        contents.values.insert(key.to_vec(), value.to_vec());
                    }
                }
            }
            contents.applied = Some(log_id);
            replies.push(());
        }
        Ok(replies)
    }

    async fn get_snapshot_builder(&mut self) -> NoSnapshots {
        NoSnapshots
    }

    async fn begin_receiving_snapshot(
        &mut self,
    ) -> Result<Box<Cursor<Vec<u8>>>, StorageError<u64>> {
        Err(no_snapshots())
    }

    async fn install_snapshot(
        &mut self,
        _: &SnapshotMeta<u64, openraft::BasicNode>,
        _: Box<Cursor<Vec<u8>>>,
    ) -> Result<(), StorageError<u64>> {
        Err(no_snapshots())
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> Result<Option<Snapshot<TypeConfig>>, StorageError<u64>> {
        Ok(None)
    }
}

/// Who would build snapshots.
pub(crate) struct NoSnapshots;

impl RaftSnapshotBuilder<TypeConfig> for NoSnapshots {
    async fn build_snapshot(&mut self) -> Result<Snapshot<TypeConfig>, StorageError<u64>> {
        Err(no_snapshots())
    }
}

fn no_snapshots() -> StorageError<u64> {
    StorageIOError::write_snapshot(None, AnyError::error("there are no snapshots")).into()
}
