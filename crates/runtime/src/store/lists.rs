//! The engine's lists of its tables, checked before it believes them.
//!
//! **Guarantee:** a list with other bytes than those written is found. The engine notes a checksum of
//! each list beside its number and does not look at it again (lsm-tree 3.1): with one flipped byte it
//! opened without a table, and what that held was gone without a word.
//!
//! A keyspace's `current`: number of the list (`u64`), XXH3-128 of the file `v` and that number
//! (`u128`), a zero byte; little-endian.

use std::io;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_128;

/// Where the engine keeps a directory for each keyspace.
const KEYSPACES: &str = "keyspaces";
const CURRENT: &str = "current";

/// The first list below `engine` that is not what was written; `None` where all are, or none is there
/// yet.
pub(super) fn rotten(engine: &Path) -> io::Result<Option<PathBuf>> {
    let keyspaces = engine.join(KEYSPACES);
    if !keyspaces.try_exists()? {
        return Ok(None);
    }
    for entry in std::fs::read_dir(keyspaces)? {
        let keyspace = entry?.path();
        let current = keyspace.join(CURRENT);
        if !current.try_exists()? {
            continue; // the engine says so, if there must be one
        }
        let Some((list, sum)) = named(&std::fs::read(&current)?) else { return Ok(Some(current)) };
        let list = keyspace.join(format!("v{list}"));
        if !list.try_exists()? {
            continue; // likewise; or a crash cut short how a keyspace was removed
        }
        if xxh3_128(&std::fs::read(&list)?) != sum {
            return Ok(Some(list));
        }
    }
    Ok(None)
}

/// The number of the list that is in force, and its checksum.
fn named(current: &[u8]) -> Option<(u64, u128)> {
    let (number, rest) = current.split_first_chunk()?;
    let (sum, kind) = rest.split_first_chunk()?;
    (kind == [0]).then(|| (u64::from_le_bytes(*number), u128::from_le_bytes(*sum)))
}
