//! The history beside the state: numbered records, of which the latest are kept.
//!
//! **Guarantee:** what is kept is at least seven eighths of the bytes allowed, once so many have come,
//! and no more than is allowed but for one piece. Records are part of the batch that brings them.
//!
//! Records lie in pieces, each a keyspace of the engine, and the oldest piece goes as a whole. A queue
//! in one tree would pay for each record that goes with a mark of its deletion, and for both again at
//! each compaction: it took half of a cluster's throughput after two million operations. Numbers rise, so the
//! tables of a piece do not overlap, and no compaction writes them again.

use std::collections::VecDeque;

use fjall::config::{BlockSizePolicy, FilterPolicy, PinningPolicy};
use fjall::{AbstractTree as _, Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch};

/// What the names of pieces begin with; a number follows.
const NAME: &str = "history-";
/// Into how many pieces the bytes allowed are cut.
const PIECES: u64 = 8;
/// Bytes of records that wait in memory to go into a table.
const MEMTABLE_BYTES: u64 = 4 << 20;
/// Records are read in runs: larger blocks need a smaller index.
const BLOCK_BYTES: u32 = 16 << 10;

/// The records kept.
pub(super) struct History {
    /// The oldest first; the last one takes what comes.
    pieces: VecDeque<Piece>,
    /// Those without tables, which go with the next.
    emptied: Vec<Piece>,
    bytes_max: u64,
}

struct Piece {
    number: u64,
    keyspace: Keyspace,
    /// Of its records; of those from an earlier life of the process, as the engine holds them.
    bytes: u64,
}

impl History {
    /// What `database` keeps of it.
    pub(super) fn open(database: &Database, bytes_max: u64) -> fjall::Result<Self> {
        let mut numbers: Vec<u64> = database
            .list_keyspace_names()
            .iter()
            .filter_map(|name| name.strip_prefix(NAME)?.parse().ok())
            .collect();
        numbers.sort_unstable();
        let pieces = numbers.into_iter().map(|number| Piece::open(database, number));
        let pieces: VecDeque<Piece> = pieces.collect::<fjall::Result<_>>()?;
        for full in pieces.iter().rev().skip(1) {
            full.keyspace.rotate_memtable()?;
        }
        Ok(Self { pieces, emptied: Vec::new(), bytes_max })
    }

    /// The record that was last given this number. Cost: a look into each piece.
    pub(super) fn get(&self, number: u64) -> fjall::Result<Option<Vec<u8>>> {
        for piece in self.pieces.iter().rev() {
            if let Some(record) = piece.keyspace.get(number.to_be_bytes())? {
                return Ok(Some(record.to_vec()));
            }
        }
        Ok(None)
    }

    /// Adds records to a batch.
    pub(super) fn append(
        &mut self,
        database: &Database,
        records: &[(u64, Vec<u8>)],
        batch: &mut OwnedWriteBatch,
    ) -> fjall::Result<()> {
        for (number, record) in records {
            let piece = self.piece(database)?;
            batch.insert(&piece.keyspace, number.to_be_bytes(), record.as_slice());
            piece.bytes += record.len() as u64;
        }
        Ok(())
    }

    /// The piece that takes the next record; another one once that is full.
    fn piece(&mut self, database: &Database) -> fjall::Result<&mut Piece> {
        let piece_bytes = self.bytes_max / PIECES;
        if self.pieces.back().is_none_or(|last| last.bytes >= piece_bytes) {
            let number = self.pieces.back().map_or(0, |last| last.number + 1);
            if let Some(full) = self.pieces.back() {
                full.keyspace.rotate_memtable()?;
            }
            self.forget(database, self.bytes_max.saturating_sub(piece_bytes))?;
            self.pieces.push_back(Piece::open(database, number)?);
        }
        Ok(self.pieces.back_mut().expect("one was made if there was none"))
    }

    /// Lets the oldest pieces go until no more than `bytes_max` are left. Of a keyspace that goes with
    /// its tables the engine would keep the files open, and so their space; so they go first.
    fn forget(&mut self, database: &Database, bytes_max: u64) -> fjall::Result<()> {
        for piece in self.emptied.drain(..) {
            database.delete_keyspace(piece.keyspace)?;
        }
        let mut bytes: u64 = self.pieces.iter().map(|piece| piece.bytes).sum();
        while bytes > bytes_max
            && let Some(oldest) = self.pieces.pop_front()
        {
            bytes -= oldest.bytes;
            oldest.keyspace.tree.drop_range::<&[u8], _>(..)?;
            self.emptied.push(oldest);
        }
        Ok(())
    }

    /// Reads every record once.
    #[cfg(test)]
    pub(super) fn read_through(&self) -> fjall::Result<Vec<u64>> {
        let entries = self.pieces.iter().flat_map(|piece| piece.keyspace.iter());
        entries
            .map(|entry| Ok(u64::from_be_bytes((*entry.into_inner()?.0).try_into().unwrap())))
            .collect()
    }
}

impl Piece {
    fn open(database: &Database, number: u64) -> fjall::Result<Self> {
        let keyspace = database.keyspace(&format!("{NAME}{number}"), options)?;
        // What the journal brought back is in no table yet.
        let bytes = keyspace.disk_space() + keyspace.tree.active_memtable().size();
        Ok(Self { number, keyspace, bytes })
    }
}

fn options() -> KeyspaceCreateOptions {
    KeyspaceCreateOptions::default()
        .max_memtable_size(MEMTABLE_BYTES)
        .data_block_size_policy(BlockSizePolicy::all(BLOCK_BYTES))
        .index_block_pinning_policy(PinningPolicy::all(false))
        .filter_policy(FilterPolicy::disabled())
}
