//! The record: an instance at the moment it may be taken up again, and the two places where the
//! last two records lie.
//!
//! | bytes | field |
//! |---|---|
//! | 16 | magic, with the version of this layout |
//! | 8 | number, little-endian |
//! | 8 | state, little-endian: 1 open; resumable under a lease 2 of a run, 3 of every attestation |
//! | 32 | the instance's secret; zeros if open |
//! | [`Counters::BYTES`] | its counters; zeros if open |
//! | 32 | MAC of all before: BLAKE3 under the [`RecordKey`] |

use std::os::fd::OwnedFd;

use rustix::io::{Errno, retry_on_intr};
use zeroize::Zeroizing;

use super::Lease;
use crate::core::Counters;
use crate::frame::{FrameError, Reader, Writer};
use crate::keys::InstanceSecret;

const MAGIC: &[u8; 16] = b"ravelin record 1";
const OPEN: u64 = 1;
const MAC_BYTES: usize = 32;
const BODY_BYTES: usize = 16 + 8 + 8 + 32 + Counters::BYTES;
/// Size of a record, and of each file that holds one.
pub const RECORD_BYTES: usize = BODY_BYTES + MAC_BYTES;

/// The key of the records' MACs. Erased on drop.
pub struct RecordKey(Zeroizing<[u8; 32]>);

impl RecordKey {
    /// Takes a derived secret.
    #[must_use]
    pub fn new(secret: Zeroizing<[u8; 32]>) -> Self {
        Self(secret)
    }
}

/// What a record says about the instance.
pub(super) enum Record {
    /// It runs, or it crashed. Nothing of it is kept.
    Open,
    /// It had bound exactly this, and exposed nothing more.
    Resumable(InstanceSecret, Counters),
    /// It can go on, but under its own lease only.
    OtherLease,
}

/// The bytes of a record. Erased on drop.
pub(super) type RecordBytes = Zeroizing<[u8; RECORD_BYTES]>;

/// Writes the record with this number over `bytes`.
pub(super) fn encode(
    key: &RecordKey,
    number: u64,
    lease: Lease,
    resumable: Option<(&InstanceSecret, &Counters)>,
    bytes: &mut RecordBytes,
) {
    let (body, mac) = bytes.split_at_mut(BODY_BYTES);
    let mut to = Writer::new(body);
    to.bytes(MAGIC);
    to.u64(number);
    match resumable {
        None => {
            to.u64(OPEN);
            to.bytes(&[0; 32 + Counters::BYTES]);
        }
        Some((secret, counters)) => {
            to.u64(resumable_state(lease));
            to.bytes(&secret.0);
            to.bytes(&counters.to_bytes());
        }
    }
    mac.copy_from_slice(blake3::keyed_hash(&key.0, body).as_bytes());
}

/// The record in `bytes`, if it is whole, made under `key`, and has this number.
pub(super) fn decode(
    key: &RecordKey,
    number: u64,
    lease: Lease,
    bytes: &RecordBytes,
) -> Option<Record> {
    let (body, mac) = bytes.split_at(BODY_BYTES);
    // The comparison takes constant time.
    if blake3::keyed_hash(&key.0, body) != blake3::Hash::from_slice(mac).ok()? {
        return None;
    }
    fields(number, lease, body).ok().flatten()
}

fn fields(number: u64, lease: Lease, body: &[u8]) -> Result<Option<Record>, FrameError> {
    let mut from = Reader::new(body);
    let magic: [u8; 16] = from.bytes()?;
    let (found, state) = (from.u64()?, from.u64()?);
    if magic != *MAGIC || found != number {
        return Ok(None);
    }
    if state == OPEN {
        return Ok(Some(Record::Open));
    }
    if state != resumable_state(lease) {
        return Ok([2, 3].contains(&state).then_some(Record::OtherLease));
    }
    let secret = InstanceSecret(from.bytes()?);
    Ok(Some(Record::Resumable(secret, Counters::from_bytes(&from.bytes()?)?)))
}

/// An instance lives under one lease. Under two, a clone with [`Lease::Run`] could attest without
/// moving the counter, unseen by a process with [`Lease::Every`] whose next record lies ready.
fn resumable_state(lease: Lease) -> u64 {
    match lease {
        Lease::Run => 2,
        Lease::Every | Lease::EveryUnmetered => 3,
    }
}

/// Two places for one record each. A write may come to nothing, or to half, until it is synced.
pub trait Slots {
    /// Reads the whole slot (0 or 1).
    ///
    /// # Errors
    /// The system's.
    fn read(&mut self, slot: usize, bytes: &mut [u8; RECORD_BYTES]) -> Result<(), Errno>;

    /// Writes the whole slot (0 or 1), not durably yet.
    ///
    /// # Errors
    /// The system's.
    fn write(&mut self, slot: usize, bytes: &[u8; RECORD_BYTES]) -> Result<(), Errno>;

    /// Makes durable what was written to the slot (0 or 1). A failure is final: the system may
    /// forget a write that it could not make durable, and call the next attempt a success.
    ///
    /// # Errors
    /// The system's.
    fn sync(&mut self, slot: usize) -> Result<(), Errno>;
}

/// Two files of fixed size, opened before the process is closed. They need `pread64`, `pwrite64`
/// and `fdatasync`, and no memory.
pub(super) struct FileSlots {
    files: [OwnedFd; 2],
    _lock: OwnedFd,
}

impl FileSlots {
    /// Takes the files, and a descriptor of the directory for the sake of its lock.
    pub(super) fn new(files: [OwnedFd; 2], lock: OwnedFd) -> Self {
        Self { files, _lock: lock }
    }

    fn file(&self, slot: usize) -> Result<&OwnedFd, Errno> {
        self.files.get(slot).ok_or(Errno::BADF)
    }
}

impl Slots for FileSlots {
    fn read(&mut self, slot: usize, bytes: &mut [u8; RECORD_BYTES]) -> Result<(), Errno> {
        read_at(self.file(slot)?, bytes, 0)
    }

    fn write(&mut self, slot: usize, bytes: &[u8; RECORD_BYTES]) -> Result<(), Errno> {
        write_at(self.file(slot)?, bytes, 0)
    }

    fn sync(&mut self, slot: usize) -> Result<(), Errno> {
        rustix::fs::fdatasync(self.file(slot)?)
    }
}

/// Reads all of `bytes` or fails: the files have the size that is asked of them.
pub(super) fn read_at(file: &OwnedFd, bytes: &mut [u8], offset: u64) -> Result<(), Errno> {
    let wanted = bytes.len();
    let read = retry_on_intr(|| rustix::io::pread(file, &mut *bytes, offset))?;
    if read == wanted { Ok(()) } else { Err(Errno::IO) }
}

/// Writes all of `bytes` or fails: a disk that takes half of some hundred bytes is full or broken.
pub(super) fn write_at(file: &OwnedFd, bytes: &[u8], offset: u64) -> Result<(), Errno> {
    let written = retry_on_intr(|| rustix::io::pwrite(file, bytes, offset))?;
    if written == bytes.len() { Ok(()) } else { Err(Errno::IO) }
}
