//! A server's disk: what was appended, what of it is durable, and what a crash takes back.

use std::collections::VecDeque;

use ravelin_model::{LogEntry, LogRecord};
use ravelin_replication::state::MemoryBackend;

use crate::dice::Dice;

/// A log with group syncs, and the state store beside it, which never is ahead of the log.
pub(crate) struct Disk {
    log: Vec<LogRecord>,
    /// What an attestation may follow.
    draft: Option<LogRecord>,
    durable: usize,
    /// What the sync under way will make durable.
    covering: Option<usize>,
    backend: MemoryBackend,
    /// What of the state settles once so many records are durable.
    unsettled: VecDeque<Unsettled>,
}

/// What was written to the state by the end of an input.
struct Unsettled {
    /// Records appended by then.
    records: usize,
    /// Batches written by then.
    batches: u64,
    /// Whether the state must be durable before anything shows that came of it.
    is_urgent: bool,
}

impl Default for Disk {
    fn default() -> Self {
        Self {
            log: Vec::new(),
            draft: None,
            durable: 0,
            covering: None,
            backend: MemoryBackend::beside_a_log(),
            unsettled: VecDeque::new(),
        }
    }
}

impl Disk {
    /// Appends an entry; [`Disk::begin_sync`] should follow.
    pub(crate) fn append(&mut self, entry: LogEntry) {
        self.log.push(entry.into_record(&mut self.draft));
    }

    /// Records appended: what is held until then waits for this many to be durable.
    pub(crate) fn appended(&self) -> usize {
        self.log.len()
    }

    /// Records that a crash leaves.
    pub(crate) fn durable(&self) -> usize {
        self.durable
    }

    /// Starts a sync of everything appended, unless one runs or none is needed. True if it started.
    pub(crate) fn begin_sync(&mut self) -> bool {
        let is_needed = self.covering.is_none() && self.durable < self.log.len();
        if is_needed {
            self.covering = Some(self.log.len());
        }
        is_needed
    }

    /// Ends the sync under way.
    pub(crate) fn finish_sync(&mut self) {
        if let Some(covered) = self.covering.take() {
            self.durable = covered;
            self.settle();
        }
    }

    /// An input has ended, and all is appended that it brought.
    pub(crate) fn end_input(&mut self, is_urgent: bool) {
        let (records, batches) = (self.log.len(), self.backend.written());
        self.unsettled.push_back(Unsettled { records, batches, is_urgent });
        self.settle();
    }

    /// Lets the state follow the log.
    fn settle(&mut self) {
        while let Some(next) = self.unsettled.front()
            && next.records <= self.durable
        {
            self.backend.settle_until(next.batches, next.is_urgent);
            self.unsettled.pop_front();
        }
    }

    /// Takes power away. What was not synced is lost, or, where writes are torn, kept in part.
    pub(crate) fn crash(&mut self, dice: &mut Dice, is_torn: bool) {
        let (mut records, mut batches) = (self.durable, 0);
        if is_torn {
            let lost = (self.log.len() - self.durable) as u64;
            records += usize::try_from(dice.below(lost + 1)).unwrap_or(0);
            let unsynced = self.backend.unsynced_batches() as u64;
            batches = usize::try_from(dice.below(unsynced + 1)).unwrap_or(0);
        }
        self.log.truncate(records);
        self.draft = None;
        self.durable = records;
        self.covering = None;
        self.unsettled.clear();
        self.backend.crash(batches);
    }

    /// Loses everything.
    pub(crate) fn wipe(&mut self) {
        *self = Self::default();
    }

    /// The records that are durable.
    pub(crate) fn records(&self) -> &[LogRecord] {
        self.log.get(..self.durable).unwrap_or_default()
    }

    /// The store, for a replica.
    pub(crate) fn backend(&self) -> MemoryBackend {
        self.backend.handle()
    }
}

#[cfg(test)]
mod tests {
    use ravelin_model::{Epoch, Place, Round};

    use super::*;

    fn record(round: u64) -> LogRecord {
        let place = Place { epoch: Epoch::FIRST, round: Round(round) };
        LogRecord { place, bytes: vec![0; 3] }
    }

    #[test]
    fn a_sync_covers_what_was_appended_before_it_began() {
        let mut disk = Disk::default();
        disk.append(LogEntry::Whole(record(1)));
        assert!(disk.begin_sync());
        disk.append(LogEntry::Whole(record(2)));
        assert!(!disk.begin_sync(), "one runs");
        disk.finish_sync();
        assert_eq!((disk.durable(), disk.appended()), (1, 2));
        disk.crash(&mut Dice::new(1, "test"), false);
        assert_eq!(disk.records(), [record(1)]);
    }

    #[test]
    fn a_torn_end_is_a_prefix() {
        for seed in 0..20 {
            let mut disk = Disk::default();
            (1..6).for_each(|round| disk.append(LogEntry::Whole(record(round))));
            disk.crash(&mut Dice::new(seed, "test"), true);
            let expected: Vec<LogRecord> = (1..=disk.appended() as u64).map(record).collect();
            assert_eq!(disk.records(), expected);
        }
    }
}
