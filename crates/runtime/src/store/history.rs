//! The history beside the state: numbered records, of which the latest are kept.
//!
//! **Guarantee:** what is kept is some seven eighths of the bytes allowed, once so many have come, and no
//! more than is allowed unless one batch brings more. Records are part of the batch that brings them.
//!
//! Records lie in pieces, each a keyspace of the engine, and the oldest piece goes as a whole. A queue
//! in one tree would pay for each record that goes with a mark of its deletion, and for both again at
//! each compaction: it took half of a cluster's throughput after two million operations. Numbers rise,
//! so the tables of a piece do not overlap, and no compaction writes them again.
//!
//! The keyspaces, called slots, are made once and used in turn: for each that was ever made the engine
//! keeps a table open.

use std::collections::VecDeque;

use fjall::config::{BlockSizePolicy, FilterPolicy, PinningPolicy};
use fjall::{AbstractTree as _, Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch};

/// What the names of slots begin with; a number follows.
const NAME: &str = "history-";
/// Into how many pieces the bytes allowed are cut.
const PIECES: u64 = 8;
/// Where a slot keeps the place of its piece in the order of all: a key shorter than those of records,
/// and before them, so that tables do not overlap. Its value is empty where the slot is.
const PLACE: &[u8] = &[0];
/// Bytes of records that wait in memory to go into a table.
const MEMTABLE_BYTES: u64 = 4 << 20;
/// Records are read in runs: larger blocks need a smaller index.
const BLOCK_BYTES: u32 = 16 << 10;

/// The records kept.
pub(super) struct History {
    /// The oldest first; the last one takes what comes.
    pieces: VecDeque<Piece>,
    /// Slots without a piece.
    free: Vec<Keyspace>,
    bytes_max: u64,
}

struct Piece {
    slot: Keyspace,
    /// Its place in the order of all pieces.
    place: u64,
    /// Of its records; of those from an earlier life of the process, as the engine holds them.
    bytes: u64,
}

impl History {
    /// What `database` keeps of it.
    pub(super) fn open(database: &Database, bytes_max: u64) -> fjall::Result<Self> {
        let (mut pieces, mut free) = (Vec::new(), Vec::new());
        for number in 0..PIECES {
            let slot = database.keyspace(&format!("{NAME}{number}"), options)?;
            let place = slot.get(PLACE)?.and_then(|place| place.first_chunk().copied());
            match place.map(u64::from_be_bytes) {
                Some(place) => {
                    // What the journal brought back is in no table yet.
                    let bytes = slot.disk_space() + slot.tree.active_memtable().size();
                    pieces.push(Piece { slot, place, bytes });
                }
                None => {
                    empty(&slot)?; // a crash may have cut that short
                    free.push(slot);
                }
            }
        }
        pieces.sort_by_key(|piece| piece.place);
        for full in pieces.iter().rev().skip(1) {
            full.slot.rotate_memtable()?;
        }
        Ok(Self { pieces: pieces.into(), free, bytes_max })
    }

    /// The record that was last given this number. Cost: a look into each piece.
    pub(super) fn get(&self, number: u64) -> fjall::Result<Option<Vec<u8>>> {
        for piece in self.pieces.iter().rev() {
            if let Some(record) = piece.slot.get(number.to_be_bytes())? {
                return Ok(Some(record.to_vec()));
            }
        }
        Ok(None)
    }

    /// Adds records to a batch.
    pub(super) fn append<'a>(
        &mut self,
        records: impl Iterator<Item = (u64, &'a [u8])>,
        batch: &mut OwnedWriteBatch,
    ) -> fjall::Result<()> {
        let begun = self.pieces.back().map_or(0, |last| last.place);
        for (number, record) in records {
            let bytes = (size_of::<u64>() + record.len()) as u64;
            let piece = self.piece(bytes, begun, batch)?;
            batch.insert(&piece.slot, number.to_be_bytes(), record);
            piece.bytes += bytes;
        }
        Ok(())
    }

    /// The piece that takes the next record, of `bytes`; another one where the last has no room for it.
    /// `begun`: the place of the last piece that was there before `batch`. What is in the batch alone
    /// cannot be forgotten, so that a batch larger than everything kept ends with a larger piece.
    fn piece(
        &mut self,
        bytes: u64,
        begun: u64,
        batch: &mut OwnedWriteBatch,
    ) -> fjall::Result<&mut Piece> {
        let piece_bytes = self.bytes_max / PIECES;
        if self.pieces.back().is_none_or(|last| last.bytes + bytes > piece_bytes) {
            self.forget(self.bytes_max - piece_bytes, begun)?;
            if let Some(slot) = self.free.pop() {
                if let Some(full) = self.pieces.back() {
                    full.slot.rotate_memtable()?;
                }
                let place = self.pieces.back().map_or(0, |last| last.place + 1);
                batch.insert(&slot, PLACE, place.to_be_bytes());
                self.pieces.push_back(Piece { slot, place, bytes: 0 });
            }
        }
        Ok(self.pieces.back_mut().expect("without pieces all slots are free"))
    }

    /// Lets the oldest pieces go, of those before `begun`, until no more than `bytes_max` are left and a
    /// slot is free.
    fn forget(&mut self, bytes_max: u64, begun: u64) -> fjall::Result<()> {
        let mut bytes: u64 = self.pieces.iter().map(|piece| piece.bytes).sum();
        while (bytes > bytes_max || self.free.is_empty())
            && self.pieces.front().is_some_and(|oldest| oldest.place < begun)
            && let Some(oldest) = self.pieces.pop_front()
        {
            bytes -= oldest.bytes;
            empty(&oldest.slot)?;
            self.free.push(oldest.slot);
        }
        Ok(())
    }

    /// Reads every record once.
    #[cfg(test)]
    pub(super) fn read_through(&self) -> fjall::Result<Vec<u64>> {
        let entries = self.pieces.iter().flat_map(|piece| piece.slot.iter());
        let keys = entries.map(|entry| Ok(entry.into_inner()?.0));
        let keys: Vec<_> = keys.collect::<fjall::Result<_>>()?;
        let numbers = keys.iter().filter_map(|key| key.first_chunk());
        Ok(numbers.map(|number| u64::from_be_bytes(*number)).collect())
    }
}

/// Empties a slot, unless it is. Its tables go first: of those that a keyspace loses otherwise the
/// engine keeps the files open, and so their space. The engine keeps a journal until each keyspace has
/// in a table what came later, for which it must hold something.
fn empty(slot: &Keyspace) -> fjall::Result<()> {
    let last = slot.last_key_value().map(|entry| entry.key()).transpose()?;
    if last.is_some_and(|key| *key != *PLACE) {
        slot.tree.drop_range::<&[u8], _>(..)?;
        slot.clear()?;
        slot.insert(PLACE, [])?;
    }
    Ok(())
}

fn options() -> KeyspaceCreateOptions {
    KeyspaceCreateOptions::default()
        .max_memtable_size(MEMTABLE_BYTES)
        .data_block_size_policy(BlockSizePolicy::all(BLOCK_BYTES))
        .index_block_pinning_policy(PinningPolicy::all(false))
        .filter_policy(FilterPolicy::disabled())
}
