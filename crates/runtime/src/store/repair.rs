//! Cuts the end of the engine's journal where a power loss tore it.
//!
//! The engine drops an incomplete last batch by itself, but refuses to open when a page in the
//! middle of a value was lost while the end of the batch was kept (measured: one power loss in
//! ten with values of 20 kB). Everything before the first such batch is sound. The journal's
//! format is the engine's own affair, so this asks the engine: opening with the first `length`
//! bytes of the journal succeeds up to the end of the last sound batch, and fails from the end of
//! the first bad batch on. Only batches after the last sync can go this way; the mark checks that.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// Suffix of the engine's journals.
const JOURNAL: &str = "jnl";
/// Suffix of the torn journal, kept until the cut is durable.
const TORN: &str = "torn";

/// Whether a crash cut a repair of `dir` short.
pub(super) fn is_unfinished(dir: &Path) -> io::Result<bool> {
    Ok(dir.try_exists()? && !files(dir, TORN)?.is_empty())
}

/// Cuts the newest journal in `dir` to the longest beginning that `is_sound` accepts.
///
/// Cost: about 26 openings.
pub(super) fn cut(dir: &Path, is_sound: impl Fn() -> fjall::Result<bool>) -> fjall::Result<()> {
    let torn = match files(dir, TORN)?.pop() {
        Some((_, torn)) => torn,
        None => set_aside(dir)?,
    };
    let journal = torn.with_extension("");
    // Sound at `low`, not sound at `high`.
    let (mut low, mut high) = (0, std::fs::metadata(&torn)?.len() + 1);
    while high - low > 1 {
        let middle = low.midpoint(high);
        copy_start(&torn, &journal, middle)?;
        if is_sound()? {
            low = middle;
        } else {
            high = middle;
        }
    }
    copy_start(&torn, &journal, low)?.sync_all()?;
    std::fs::remove_file(torn)?;
    File::open(dir)?.sync_all()?;
    Ok(())
}

/// Copies the newest journal to a file of its own, which is there whole or not at all.
fn set_aside(dir: &Path) -> io::Result<PathBuf> {
    let (_, journal) = files(dir, JOURNAL)?.pop().ok_or(io::ErrorKind::NotFound)?;
    let (part, torn) = (journal.with_extension("part"), journal.with_extension("jnl.torn"));
    std::fs::copy(&journal, &part)?;
    File::open(&part)?.sync_all()?;
    std::fs::rename(part, &torn)?;
    File::open(dir)?.sync_all()?;
    Ok(torn)
}

/// Makes `to` the first `length` bytes of `from`.
fn copy_start(from: &Path, to: &Path, length: u64) -> io::Result<File> {
    use io::Read;
    let mut start = File::open(from)?.take(length);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(to)?;
    io::copy(&mut start, &mut file)?;
    Ok(file)
}

/// Files with this suffix, by number.
fn files(dir: &Path, suffix: &str) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let number = name.split('.').next().and_then(|number| number.parse().ok());
        if let (Some(number), true) = (number, path.extension().is_some_and(|end| end == suffix)) {
            found.push((number, path));
        }
    }
    found.sort_unstable();
    Ok(found)
}
