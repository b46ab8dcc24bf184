//! The two things that the log asks of a disk while it serves, so that tests can make them fail.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// Writes into files that have their final size, and makes them durable.
pub(super) trait Disk: Send {
    /// Writes all of `bytes` at `offset`; durable at the next `sync` of the file.
    fn write(&mut self, file: &Arc<File>, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Makes all writes to `file` durable.
    fn sync(&mut self, file: &Arc<File>) -> io::Result<()>;
}

/// The operating system's files.
pub(super) struct SystemDisk;

impl Disk for SystemDisk {
    fn write(&mut self, file: &Arc<File>, offset: u64, bytes: &[u8]) -> io::Result<()> {
        file.write_all_at(bytes, offset)
    }

    fn sync(&mut self, file: &Arc<File>) -> io::Result<()> {
        file.sync_data()
    }
}
