//! The state directory: what a wormhole keeps over restarts.
//!
//! | file | holds | written |
//! |---|---|---|
//! | `key` | the provisioned secret | once, by [`StateDir::provision`] |
//! | `anchor` | which counter numbers the records, and a random id | by [`StateDir::new_anchor`], an operator's act |
//! | `record.0`, `record.1` | the instance and its counters ([`continuity`]) | in place, through descriptors opened at the start |
//!
//! The directory must be 0700 and each file 0600, all of one owner: anything wider is refused.
//! One process at a time: the directory is locked while it is open.
//!
//! # Security
//! Nothing here is encrypted. Whoever can *read* these files, full root or a backup, has the
//! replica's provisioned key and can be its wormhole; leave the directory out of backups. Against
//! whoever can only *put back* older files, see [`continuity`].

pub mod continuity;
pub mod record;

pub use continuity::{Continuity, ContinuityError, Lease, Opened, Origin};
pub use record::{RECORD_BYTES, Slots};

use std::fmt;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags, Uid};
use rustix::io::Errno;
use zeroize::Zeroizing;

use crate::attestation::ProvisionedId;
use crate::keys::ProvisionedKey;
use crate::tpm::{AuthValue, NvIndex};
use record::{FileSlots, RecordKey};

const KEY: &str = "key";
const ANCHOR: &str = "anchor";
const RECORDS: [&str; 2] = ["record.0", "record.1"];

/// First bytes of a file: what it is, and which version of its layout.
const KEY_MAGIC: &[u8; 32] = b"ravelin wormhole key v1\0\0\0\0\0\0\0\0\0";
const ANCHOR_MAGIC: &[u8; 32] = b"ravelin wormhole anchor v1\0\0\0\0\0\0";
/// After the magic: the seed.
const KEY_BYTES: usize = 32;
/// After the magic: the counter's index, little-endian, and the id.
const ANCHOR_BYTES: usize = 4 + 32;

/// Permissions of anybody but the owner.
const OTHERS: Mode = Mode::RWXG.union(Mode::RWXO);
const OPEN_FLAGS: OFlags = OFlags::NOFOLLOW.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK);

/// Why the state directory cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// The system refused.
    #[error("cannot use `{file}` of the state directory")]
    Io {
        /// The file; `.` is the directory itself.
        file: &'static str,
        /// What the system said.
        #[source]
        source: Errno,
    },
    /// Of another kind, or of another owner, or open to others.
    #[error(
        "`{file}` of the state directory must be private: user {owner}'s, mode 0600 (`.`: 0700)"
    )]
    NotPrivate {
        /// The file; `.` is the directory itself.
        file: &'static str,
        /// Who must own it.
        owner: u32,
    },
    /// Wrong length or beginning.
    #[error("`{file}` of the state directory is not what it should be")]
    Malformed {
        /// The file.
        file: &'static str,
    },
    /// There is a key already, and a key is never overwritten.
    #[error("the state directory is provisioned already: `--public` prints its key")]
    AlreadyProvisioned,
    /// Another process has it open.
    #[error("another process uses the state directory")]
    InUse,
    /// There is no `anchor`: no counter was made for this directory.
    #[error("no counter was made for this state directory")]
    NotAnchored,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Volatile => "a new instance: without a counter every start is one",
            Self::Resumed => "the last instance goes on",
            Self::AfterCrash => "a new instance: the last one did not stop cleanly",
            Self::NoRecord => {
                "a new instance: no record has the counter's number (the first start, or the files \
                 were put back, copied or changed)"
            }
        })
    }
}

/// An open, checked and locked state directory.
pub struct StateDir {
    directory: OwnedFd,
    owner: Uid,
    key: ProvisionedKey,
    anchor: Option<Anchor>,
    records: [OwnedFd; 2],
}

/// The tie between a state directory and one counter.
///
/// Its id is random, so the secrets that come of it are of this tie alone: a counter that is made
/// anew, here or on another machine, revives no record of an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// Where in the TPM the counter stands.
    pub index: NvIndex,
    id: [u8; 32],
}

impl StateDir {
    /// Makes the directory (its parent must exist) and the files in it, for a process that will run
    /// as user `owner`, with `seed` as the provisioned key's. An interrupted run may be repeated.
    ///
    /// # Errors
    /// [`StateError::AlreadyProvisioned`] where there is a key: it is left as it is.
    pub fn provision(path: &Path, owner: u32, seed: &[u8; 32]) -> Result<(), StateError> {
        let owner = Uid::from_raw(owner);
        let made = rustix::fs::mkdir(path, Mode::RWXU);
        let directory = open_directory(path)?;
        match made {
            Ok(()) => give(&directory, ".", owner)?,
            Err(Errno::EXIST) => {}
            Err(source) => return Err(StateError::Io { file: ".", source }),
        }
        check_private(&directory, ".", FileType::Directory, owner)?;
        lock(&directory)?;
        match rustix::fs::statat(&directory, KEY, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => {}
            Ok(_) => return Err(StateError::AlreadyProvisioned),
            Err(source) => return Err(StateError::Io { file: KEY, source }),
        }
        for name in RECORDS {
            write_new(&directory, name, owner, &[&[0; RECORD_BYTES]])?;
        }
        put(&directory, [KEY, "key.new"], owner, &[KEY_MAGIC, seed])?;
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        sync(&open_directory(parent.unwrap_or_else(|| Path::new(".")))?, ".")
    }

    /// Opens the directory at `path`, checks that it and its files are private to user `owner`, and
    /// opens every file that is written later.
    ///
    /// # Errors
    /// [`StateError`]. Retrying helps for [`StateError::InUse`] only.
    pub fn open(path: &Path, owner: u32) -> Result<Self, StateError> {
        let owner = Uid::from_raw(owner);
        let directory = open_directory(path)?;
        check_private(&directory, ".", FileType::Directory, owner)?;
        lock(&directory)?;
        let seed = read::<KEY_BYTES>(&directory, KEY, KEY_MAGIC, owner)?;
        let key = ProvisionedKey::from_seed(&seed);
        let anchor = match read::<ANCHOR_BYTES>(&directory, ANCHOR, ANCHOR_MAGIC, owner) {
            Ok(bytes) => Some(Anchor::from_bytes(&bytes)?),
            Err(StateError::Io { source: Errno::NOENT, .. }) => None,
            Err(error) => return Err(error),
        };
        let [first, second] = RECORDS.map(|name| {
            let flags = OPEN_FLAGS | OFlags::RDWR;
            open_file(&directory, name, flags, owner, RECORD_BYTES)
        });
        Ok(Self { directory, owner, key, anchor, records: [first?, second?] })
    }

    /// The public half of the key in the directory at `path`, whether or not a wormhole uses it now.
    ///
    /// # Errors
    /// [`StateError`]
    pub fn public(path: &Path, owner: u32) -> Result<ProvisionedId, StateError> {
        let owner = Uid::from_raw(owner);
        let directory = open_directory(path)?;
        check_private(&directory, ".", FileType::Directory, owner)?;
        let seed = read::<KEY_BYTES>(&directory, KEY, KEY_MAGIC, owner)?;
        Ok(ProvisionedKey::from_seed(&seed).id())
    }

    /// The key by which this wormhole is known. The directory stays locked as long as a
    /// [`Continuity`] that was made of it.
    #[must_use]
    pub fn into_key(self) -> ProvisionedKey {
        self.key
    }

    /// The counter to which the directory is tied.
    ///
    /// # Errors
    /// [`StateError::NotAnchored`]: it is tied to none.
    pub fn anchor(&self) -> Result<Anchor, StateError> {
        self.anchor.ok_or(StateError::NotAnchored)
    }

    /// Has `make` make a counter at `index` with a secret drawn anew, and ties the directory to it: the
    /// instance that it held goes on nowhere but from copies of the old files, while the old counter is
    /// there. If there is no new counter, the old tie stays as it is. Stopped between the counter and
    /// the tie, this leaves a counter that is nobody's: undefine it, or take another index.
    /// For an operator's command only, on a machine trusted at that moment: the counter's secret
    /// goes to the TPM in clear when the counter is made.
    ///
    /// # Errors
    /// [`StateError::Io`], and those of `make`.
    pub fn new_anchor<E: From<StateError>>(
        &mut self,
        index: NvIndex,
        make: impl FnOnce(&AuthValue) -> Result<(), E>,
    ) -> Result<Anchor, E> {
        let id = crate::tpm::nonce().map_err(io(ANCHOR))?;
        let anchor = Anchor { index, id };
        // Durable before there is a counter, whose secret nobody knows without it.
        let draft = "anchor.new";
        let parts: [&[u8]; 2] = [ANCHOR_MAGIC, &anchor.to_bytes()];
        write_new(&self.directory, draft, self.owner, &parts)?;
        sync(&self.directory, ".")?;
        make(&self.auth_value(&anchor))?;
        rename(&self.directory, [ANCHOR, draft])?;
        self.anchor = Some(anchor);
        Ok(anchor)
    }

    /// The secret of the counter to which `anchor` ties the directory.
    #[must_use]
    pub fn auth_value(&self, anchor: &Anchor) -> AuthValue {
        AuthValue::new(self.derive("ravelin wormhole counter authValue v1", anchor))
    }

    /// The key that authenticates the records numbered by that counter.
    #[must_use]
    pub fn record_key(&self, anchor: &Anchor) -> RecordKey {
        RecordKey::new(self.derive("ravelin wormhole record v1", anchor))
    }

    fn derive(&self, context: &str, anchor: &Anchor) -> Zeroizing<[u8; 32]> {
        let base = Zeroizing::new(self.key.derive(context));
        Zeroizing::new(*blake3::keyed_hash(&base, &anchor.to_bytes()).as_bytes())
    }

    /// Descriptors of the record files, and one of the directory, which keeps it locked.
    fn slots(&self) -> Result<FileSlots, StateError> {
        let clone = |file, of: &OwnedFd| rustix::io::fcntl_dupfd_cloexec(of, 0).map_err(io(file));
        let [first, second] = &self.records;
        let [first, second] = [clone(RECORDS[0], first)?, clone(RECORDS[1], second)?];
        Ok(FileSlots::new([first, second], clone(".", &self.directory)?))
    }
}

impl Anchor {
    fn to_bytes(self) -> [u8; ANCHOR_BYTES] {
        let mut bytes = [0; ANCHOR_BYTES];
        bytes[..4].copy_from_slice(&self.index.get().to_le_bytes());
        bytes[4..].copy_from_slice(&self.id);
        bytes
    }

    fn from_bytes(bytes: &[u8; ANCHOR_BYTES]) -> Result<Self, StateError> {
        let [a, b, c, d, id @ ..] = *bytes;
        let index = NvIndex::new(u32::from_le_bytes([a, b, c, d]));
        Ok(Self { index: index.ok_or(StateError::Malformed { file: ANCHOR })?, id })
    }
}

fn io(file: &'static str) -> impl Fn(Errno) -> StateError {
    move |source| StateError::Io { file, source }
}

fn open_directory(path: &Path) -> Result<OwnedFd, StateError> {
    rustix::fs::open(path, OPEN_FLAGS | OFlags::DIRECTORY, Mode::empty()).map_err(io("."))
}

/// Two processes on one directory would close each other's instance.
fn lock(directory: &OwnedFd) -> Result<(), StateError> {
    match rustix::fs::flock(directory, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => Err(StateError::InUse),
        other => other.map_err(io(".")),
    }
}

/// Hands over what root made for another user; nothing to do where they are the same.
fn give(fd: &OwnedFd, file: &'static str, owner: Uid) -> Result<(), StateError> {
    if owner == rustix::process::geteuid() {
        return Ok(());
    }
    rustix::fs::fchown(fd, Some(owner), None).map_err(io(file))
}

/// Checks what was opened, not what the name might mean by now. Answers its size.
fn check_private(
    fd: &OwnedFd,
    file: &'static str,
    kind: FileType,
    owner: Uid,
) -> Result<u64, StateError> {
    let stat = rustix::fs::fstat(fd).map_err(io(file))?;
    let private = FileType::from_raw_mode(stat.st_mode) == kind
        && stat.st_uid == owner.as_raw()
        && !Mode::from_raw_mode(stat.st_mode).intersects(OTHERS)
        && (kind == FileType::Directory || stat.st_nlink == 1);
    if !private {
        return Err(StateError::NotPrivate { file, owner: owner.as_raw() });
    }
    u64::try_from(stat.st_size).map_err(|_| StateError::Malformed { file })
}

fn open_file(
    directory: &OwnedFd,
    file: &'static str,
    flags: OFlags,
    owner: Uid,
    size: usize,
) -> Result<OwnedFd, StateError> {
    let fd = rustix::fs::openat(directory, file, flags, Mode::empty()).map_err(io(file))?;
    if check_private(&fd, file, FileType::RegularFile, owner)? != size as u64 {
        return Err(StateError::Malformed { file });
    }
    Ok(fd)
}

/// The `N` bytes of `file` that follow `magic`.
fn read<const N: usize>(
    directory: &OwnedFd,
    file: &'static str,
    magic: &[u8; 32],
    owner: Uid,
) -> Result<Zeroizing<[u8; N]>, StateError> {
    let fd = open_file(directory, file, OPEN_FLAGS | OFlags::RDONLY, owner, 32 + N)?;
    let (mut found, mut bytes) = ([0; 32], Zeroizing::new([0; N]));
    record::read_at(&fd, &mut found, 0).map_err(io(file))?;
    record::read_at(&fd, bytes.as_mut_slice(), 32).map_err(io(file))?;
    if found == *magic { Ok(bytes) } else { Err(StateError::Malformed { file }) }
}

/// Makes a durable file that nobody had open before: one left by an interrupted run goes first.
fn write_new(
    directory: &OwnedFd,
    file: &'static str,
    owner: Uid,
    parts: &[&[u8]],
) -> Result<(), StateError> {
    match rustix::fs::unlinkat(directory, file, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(source) => return Err(StateError::Io { file, source }),
    }
    let flags = OPEN_FLAGS | OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
    let mode = Mode::RUSR | Mode::WUSR;
    let fd = rustix::fs::openat(directory, file, flags, mode).map_err(io(file))?;
    give(&fd, file, owner)?;
    let mut offset = 0;
    for part in parts {
        record::write_at(&fd, part, offset).map_err(io(file))?;
        offset += part.len() as u64;
    }
    sync(&fd, file)
}

/// Puts a whole file in its place, durably: a crash leaves the old one or the new one.
fn put(
    directory: &OwnedFd,
    [file, temporary]: [&'static str; 2],
    owner: Uid,
    parts: &[&[u8]],
) -> Result<(), StateError> {
    write_new(directory, temporary, owner, parts)?;
    rename(directory, [file, temporary])
}

fn rename(directory: &OwnedFd, [file, temporary]: [&'static str; 2]) -> Result<(), StateError> {
    rustix::fs::renameat(directory, temporary, directory, file).map_err(io(file))?;
    sync(directory, ".")
}

fn sync(fd: &OwnedFd, file: &'static str) -> Result<(), StateError> {
    rustix::fs::fsync(fd).map_err(io(file))
}
