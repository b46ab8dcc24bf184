//! The mark beside the engine's files: whose store it is, and how much the engine has durably.
//!
//! Two slots, written in turn, so that a torn write spoils the older one only. The engine drops
//! what it cannot read at the end of its journal without asking whether it was durable: the mark
//! remembers.
//!
//! | offset in the slot | field |
//! |---|---|
//! | 0 | magic `RVLNSTAT` |
//! | 8 | version, u64 |
//! | 16 | owner, 32 bytes |
//! | 48 | how many overlays the engine has taken in, u64 |
//! | 56 | BLAKE3 of the bytes before |

use super::StoreError;
use crate::directory;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

const NAME: &str = "mark";
const MAGIC: [u8; 8] = *b"RVLNSTAT";
const VERSION: u64 = 2;
const SLOT_BYTES: usize = 88;
/// Far enough apart that no sector or page holds both.
const SLOT_OFFSETS: [u64; 2] = [0, 4096];

type Slot = [u8; SLOT_BYTES];

/// The open mark.
pub(super) struct Mark {
    file: File,
    owner: [u8; 32],
    count: u64,
}

impl Mark {
    /// Opens the mark in `dir`, or makes it if `dir` is unused.
    pub(super) fn open(dir: &Path, engine: &str, owner: &[u8; 32]) -> Result<Self, StoreError> {
        let io = |source| StoreError::Io { doing: "open the store's mark", source };
        let options = OpenOptions::new().read(true).write(true).clone();
        let has_engine = dir.join(engine).try_exists().map_err(io)?;
        let found = match options.open(dir.join(NAME)) {
            Ok(file) => Self::read(&file, dir, owner)?.map(|count| (file, count)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(io(error)),
        };
        if let Some((file, count)) = found {
            return Ok(Self { file, owner: *owner, count });
        }
        // The mark comes before everything else: without one, there is no store yet.
        if has_engine {
            return Err(StoreError::MarkLost { dir: dir.to_path_buf() });
        }
        if !directory::is_unused(dir, &[NAME]).map_err(io)? {
            return Err(StoreError::NotAStore { dir: dir.to_path_buf() });
        }
        let file = options.clone().create(true).open(dir.join(NAME)).map_err(io)?;
        let mark = Self { file, owner: *owner, count: 0 };
        for offset in SLOT_OFFSETS {
            mark.file.write_all_at(&encode(owner, 0), offset).map_err(io)?;
        }
        mark.file.sync_all().and_then(|()| directory::sync(dir)).map_err(io)?;
        Ok(mark)
    }

    /// Refuses the mark in `dir`, if one is there and sound, when it is not `owner`'s.
    pub(super) fn check_owner(dir: &Path, owner: &[u8; 32]) -> Result<(), StoreError> {
        match File::open(dir.join(NAME)) {
            Ok(file) => Self::read(&file, dir, owner).map(drop),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(StoreError::Io { doing: "open the store's mark", source }),
        }
    }

    /// The highest count of the slots; `None`: none is sound.
    fn read(file: &File, dir: &Path, owner: &[u8; 32]) -> Result<Option<u64>, StoreError> {
        let mut found = None;
        for offset in SLOT_OFFSETS {
            let mut slot = [0; SLOT_BYTES];
            match file.read_exact_at(&mut slot, offset) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => continue,
                Err(source) => {
                    return Err(StoreError::Io { doing: "read the store's mark", source });
                }
                Ok(()) => {}
            }
            let Some((version, of, count)) = decode(&slot) else { continue };
            if version != VERSION {
                return Err(StoreError::Version { found: version });
            }
            if of != *owner {
                return Err(StoreError::ForeignOwner { dir: dir.to_path_buf() });
            }
            found = found.max(Some(count));
        }
        Ok(found)
    }

    /// How many overlays the engine has taken in.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Counts from a later number on. Promises nothing yet.
    pub(super) fn skip_to(&mut self, count: u64) {
        self.count = count;
    }

    /// Remembers that the engine has taken `count` overlays in.
    pub(super) fn set_count(&mut self, count: u64) -> io::Result<()> {
        let [even, odd] = SLOT_OFFSETS;
        let offset = if count.is_multiple_of(2) { even } else { odd };
        self.file.write_all_at(&encode(&self.owner, count), offset)?;
        self.file.sync_data()?;
        self.count = count;
        Ok(())
    }
}

fn encode(owner: &[u8; 32], count: u64) -> Slot {
    let mut bytes = Vec::with_capacity(SLOT_BYTES);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(owner);
    bytes.extend_from_slice(&count.to_le_bytes());
    let digest = blake3::hash(&bytes);
    bytes.extend_from_slice(digest.as_bytes());
    bytes.try_into().expect("the fields of a slot fill it")
}

fn decode(slot: &Slot) -> Option<(u64, [u8; 32], u64)> {
    let (fields, digest) = slot.split_last_chunk::<32>()?;
    let (magic, version, owner, count) =
        borsh::from_slice::<([u8; 8], u64, [u8; 32], u64)>(fields).ok()?;
    (magic == MAGIC && blake3::hash(fields) == *digest).then_some((version, owner, count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_on_disk_are_those_of_the_documentation() {
        let slot = encode(&[0xAA; 32], 0x0102);
        let hex: String = slot.iter().map(|byte| format!("{byte:02x}")).collect();
        let fields = format!("52564c4e535441540200000000000000{}0201000000000000", "aa".repeat(32));
        assert_eq!(hex, fields + &blake3::hash(&slot[..56]).to_hex());
        assert_eq!(decode(&slot), Some((2, [0xAA; 32], 0x0102)));
    }
}
