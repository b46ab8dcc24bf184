//! A disk that says what is about to become durable, and forgets what no sync covers.

use super::*;

/// Asked at each sync with the bytes that it would make durable. If it answers an error, the sync fails
/// and they are lost; if it does not return, the power is gone.
pub(crate) type Watch = Box<dyn FnMut(&[u8]) -> io::Result<()> + Send>;

/// A log in `dir`, which is new, on such a disk.
pub(crate) fn open_watched(dir: &Path, config: LogConfig, watch: Watch) -> Log {
    let disk = Box::new(WatchedDisk { written: vec![], watch });
    Log::open_on(disk, dir, config, &mut |_, _| ()).unwrap().0
}

struct WatchedDisk {
    /// What no sync covers yet.
    written: Vec<(Arc<File>, u64, Vec<u8>)>,
    watch: Watch,
}

impl Disk for WatchedDisk {
    fn write(&mut self, file: &Arc<File>, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.written.push((Arc::clone(file), offset, bytes.to_vec()));
        Ok(())
    }

    fn sync(&mut self, file: &Arc<File>) -> io::Result<()> {
        let of_file = |(of, ..): &mut (Arc<File>, u64, Vec<u8>)| Arc::ptr_eq(of, file);
        let writes: Vec<_> = self.written.extract_if(.., of_file).collect();
        let bytes: Vec<u8> = writes.iter().flat_map(|(_, _, bytes)| bytes).copied().collect();
        (self.watch)(&bytes)?;
        writes.iter().try_for_each(|(_, offset, bytes)| file.write_all_at(bytes, *offset))?;
        file.sync_data()
    }
}
