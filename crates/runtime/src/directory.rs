//! A directory that one process owns: made durable, and locked while in use.

use rustix::fs::{FlockOperation, flock};
use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

/// Name of the file that carries the lock; it holds nothing.
pub(crate) const LOCK_NAME: &str = "lock";

/// A directory that nobody else opens until this is dropped.
pub(crate) struct DirectoryLock(File);

impl Drop for DirectoryLock {
    /// Unlocks rather than only closing: a child that this process has begun and that does not run its
    /// own program yet holds a copy of the file, and with it would keep the lock.
    fn drop(&mut self) {
        let _ = flock(&self.0, FlockOperation::Unlock); // closing it does the same, if later
    }
}

/// Makes `dir` if need be, and locks it against every other opening, also by this process.
/// `None`: it is locked already.
pub(crate) fn lock(dir: &Path) -> io::Result<Option<DirectoryLock>> {
    if !dir.try_exists()? {
        std::fs::create_dir_all(dir)?;
        let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
        sync(parent.unwrap_or_else(|| Path::new(".")))?;
    }
    let options = OpenOptions::new().write(true).create(true).truncate(false).clone();
    let file = options.open(dir.join(LOCK_NAME))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(DirectoryLock(file))),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// Makes the names in `dir` durable.
pub(crate) fn sync(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Whether `dir` holds nothing but the lock, the files called `known`, and what a new file system
/// brings along.
pub(crate) fn is_unused(dir: &Path, known: &[&str]) -> io::Result<bool> {
    for entry in std::fs::read_dir(dir)? {
        let name = entry?.file_name();
        let is_known = |known: &str| name == known;
        if !is_known(LOCK_NAME) && !is_known("lost+found") && !known.iter().copied().any(is_known) {
            return Ok(false);
        }
    }
    Ok(true)
}
