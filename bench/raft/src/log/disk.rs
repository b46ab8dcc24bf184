//! The files of a log, and the threads that write them.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use anyhow::Context as _;

use super::{Layout, Position};

/// What may wait to be written: openraft waits for each before it appends more.
const WORK_MAX: usize = 64;
/// Zeros that are written at once: a log that is synced meanwhile waits for no more than these.
const ZEROS: &[u8] = &[0; 1 << 20];

/// Bytes for one file.
pub(super) struct Piece {
    pub(super) segment: usize,
    pub(super) offset: usize,
    pub(super) bytes: Vec<u8>,
}

/// What is to be written, and whom to tell.
pub(super) struct Work {
    pub(super) pieces: Vec<Piece>,
    pub(super) done: Box<dyn FnOnce(io::Result<()>) + Send>,
}

/// The files. Its threads end with it.
pub(super) struct Disk {
    work: Option<SyncSender<Work>>,
    files: Arc<Files>,
    threads: Vec<JoinHandle<()>>,
}

struct Files {
    layout: Layout,
    /// Those in use, by number.
    open: Mutex<Vec<Arc<File>>>,
    fsync_count: AtomicU64,
    /// Up to where all is on disk.
    written: AtomicU64,
}

/// The bytes of a file of the log; nothing if it is not there, or was never finished.
pub(super) fn read_segment(
    dir: &Path,
    number: usize,
    layout: Layout,
) -> anyhow::Result<Option<Vec<u8>>> {
    let path = path(dir, number);
    let mut bytes = Vec::new();
    match File::open(&path) {
        Ok(mut file) => file.read_to_end(&mut bytes).map(drop),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => Err(error),
    }
    .with_context(|| format!("cannot read {}", path.display()))?;
    Ok((bytes.len() == layout.segment_bytes).then_some(bytes))
}

impl Disk {
    /// Opens the first `used` files, which end at `end`, and makes those that are missing.
    pub(super) fn start(
        dir: &Path,
        layout: Layout,
        used: usize,
        end: Position,
    ) -> anyhow::Result<Self> {
        let open: io::Result<Vec<_>> =
            (0..used).map(|number| prepare(dir, number, layout).map(Arc::new)).collect();
        let open = open.with_context(|| format!("cannot write to {}", dir.display()))?;
        let files = Arc::new(Files {
            layout,
            open: Mutex::new(open),
            fsync_count: AtomicU64::new(0),
            written: AtomicU64::new(end),
        });
        if let Some(first) = files.file(0) {
            let in_use = || format!("another process writes to {}", dir.display());
            first.try_lock().with_context(in_use)?;
        }
        let (work, to_write) = sync_channel(WORK_MAX);
        let (spares, next) = sync_channel(0); // one file lies ready, and no more
        let dir = dir.to_owned();
        let preparing = thread::Builder::new().name("spares".to_owned()).spawn(move || {
            for number in used..layout.segments_max {
                if spares.send(prepare(&dir, number, layout)).is_err() {
                    return; // nobody writes any more
                }
            }
        })?;
        let shared = Arc::clone(&files);
        let writing = thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || shared.write_all(&to_write, &next))?;
        Ok(Self { work: Some(work), files, threads: vec![writing, preparing] })
    }

    /// Has something written, after all that was given before.
    ///
    /// # Errors
    /// Too much waits already.
    pub(super) fn write(&self, work: Work) -> io::Result<()> {
        let sent = self.work.as_ref().map(|to_write| to_write.try_send(work));
        match sent {
            Some(Ok(())) => Ok(()),
            _ => Err(io::Error::other("too much waits to be written")),
        }
    }

    /// Reads what is on disk.
    pub(super) fn read(&self, number: usize, offset: usize, bytes: usize) -> io::Result<Vec<u8>> {
        let file = self.files.file(number);
        let file = file.ok_or_else(|| io::Error::other("nothing is written there"))?;
        let mut read = vec![0; bytes];
        file.read_exact_at(&mut read, offset as u64)?;
        Ok(read)
    }

    pub(super) fn fsync_count(&self) -> u64 {
        self.files.fsync_count.load(Ordering::Relaxed)
    }

    /// Up to where all is on disk.
    pub(super) fn written(&self) -> Position {
        self.files.written.load(Ordering::Acquire)
    }
}

impl Drop for Disk {
    /// Ends when all that was given is written.
    fn drop(&mut self) {
        self.work = None;
        for thread in self.threads.drain(..) {
            let _ = thread.join(); // it tells its failures to those who wait
        }
    }
}

impl Files {
    /// Writes until nobody has anything more to write. Once something failed, nothing is written.
    fn write_all(&self, work: &Receiver<Work>, spares: &Receiver<io::Result<File>>) {
        let mut failure: Option<io::Error> = None;
        while let Ok(first) = work.recv() {
            let gathered: Vec<Work> = [first].into_iter().chain(work.try_iter()).collect();
            if failure.is_none() {
                let pieces = gathered.iter().flat_map(|work| &work.pieces);
                failure = self.write(pieces, spares).err();
            }
            for work in gathered {
                let outcome = failure.as_ref().map(|error| {
                    io::Error::new(error.kind(), error.to_string()) // one for each who waits
                });
                (work.done)(outcome.map_or(Ok(()), Err));
            }
        }
    }

    /// Writes pieces in order, and syncs each file once.
    fn write<'a>(
        &self,
        pieces: impl Iterator<Item = &'a Piece>,
        spares: &Receiver<io::Result<File>>,
    ) -> io::Result<()> {
        let mut pieces = pieces.peekable();
        while let Some(first) = pieces.peek() {
            let (segment, offset) = (first.segment, first.offset);
            let mut bytes = Vec::new();
            while let Some(piece) = pieces.next_if(|piece| piece.segment == segment) {
                bytes.extend_from_slice(&piece.bytes);
            }
            let file = self.open(segment, spares)?;
            file.write_all_at(&bytes, offset as u64)?;
            file.sync_data()?;
            self.fsync_count.fetch_add(1, Ordering::Relaxed);
            let end = self.layout.position(segment, offset + bytes.len());
            self.written.store(end, Ordering::Release);
        }
        Ok(())
    }

    /// A file in use, or the one that lies ready, which is in use from now on.
    fn open(&self, number: usize, spares: &Receiver<io::Result<File>>) -> io::Result<Arc<File>> {
        if let Some(file) = self.file(number) {
            return Ok(file);
        }
        let full = |_| io::Error::new(io::ErrorKind::StorageFull, "the log is full");
        let file = Arc::new(spares.recv().map_err(full)??);
        self.open.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&file));
        Ok(file)
    }

    fn file(&self, number: usize) -> Option<Arc<File>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).get(number).cloned()
    }
}

fn path(dir: &Path, number: usize) -> PathBuf {
    dir.join(format!("{number:06}.log"))
}

/// Opens a file of the log; makes it first, all zeros, if it is not there whole.
fn prepare(dir: &Path, number: usize, layout: Layout) -> io::Result<File> {
    let path = path(dir, number);
    let mut options = File::options();
    let file = options.read(true).write(true).create(true).truncate(false).open(path)?;
    if file.metadata()?.len() != layout.segment_bytes as u64 {
        file.set_len(0)?;
        let mut offset = 0;
        while offset < layout.segment_bytes {
            let bytes = ZEROS.len().min(layout.segment_bytes - offset);
            file.write_all_at(ZEROS.get(..bytes).unwrap_or_default(), offset as u64)?;
            file.sync_data()?;
            offset += bytes;
        }
        File::open(dir)?.sync_all()?;
    }
    Ok(file)
}
