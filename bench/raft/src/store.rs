//! The log as openraft sees it.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};

use openraft::storage::{LogFlushed, RaftLogStorage};
use openraft::{
    AnyError, Entry, LogId, LogState, RaftLogReader, StorageError, StorageIOError, Vote,
};

use crate::TypeConfig;
use crate::log::Log;

/// Bytes of entries that are sent to another server at once, about.
const SENT_BYTES_MAX: usize = 1 << 20;

impl RaftLogReader<TypeConfig> for Log {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + Send>(
        &mut self,
        range: R,
    ) -> Result<Vec<Entry<TypeConfig>>, StorageError<u64>> {
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(before) => before.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(last) => last.saturating_add(1),
            Bound::Excluded(end) => *end,
            Bound::Unbounded => u64::MAX,
        };
        self.entries(start, end, usize::MAX).map_err(|error| unreadable(&error))
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry<TypeConfig>>, StorageError<u64>> {
        self.entries(start, end, SENT_BYTES_MAX).map_err(|error| unreadable(&error))
    }
}

impl RaftLogStorage<TypeConfig> for Log {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, StorageError<u64>> {
        Ok(LogState { last_purged_log_id: None, last_log_id: self.last_log_id() })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote<u64>) -> Result<(), StorageError<u64>> {
        let failed = |error: io::Error| StorageIOError::write_vote(AnyError::new(&error));
        Self::save_vote(self, *vote).map_err(failed)?.wait().await.map_err(failed)?;
        Ok(())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote<u64>>, StorageError<u64>> {
        Ok(self.vote())
    }

    async fn append<I>(
        &mut self,
        entries: I,
        callback: LogFlushed<TypeConfig>,
    ) -> Result<(), StorageError<u64>>
    where
        I: IntoIterator<Item = Entry<TypeConfig>> + Send,
        I::IntoIter: Send,
    {
        let done = |outcome| callback.log_io_completed(outcome);
        Self::append(self, entries.into_iter(), done).map_err(|error| unwritable(&error))
    }

    async fn truncate(&mut self, log_id: LogId<u64>) -> Result<(), StorageError<u64>> {
        let failed = |error: io::Error| unwritable(&error);
        self.cut(log_id.index).map_err(failed)?.wait().await.map_err(failed)
    }

    async fn purge(&mut self, _: LogId<u64>) -> Result<(), StorageError<u64>> {
        let why = AnyError::error("there are no snapshots, so nothing may be forgotten");
        Err(StorageIOError::write_logs(why).into())
    }
}

fn unreadable(error: &io::Error) -> StorageError<u64> {
    StorageIOError::read_logs(AnyError::new(error)).into()
}

fn unwritable(error: &io::Error) -> StorageError<u64> {
    StorageIOError::write_logs(AnyError::new(error)).into()
}
