//! A server's data directory: opened as it is, or what is lost of it moved aside.
//!
//! **Guarantee:** before a server goes on without what it had promised, both block keys of its identity
//! are given up: it cannot sign anything that contradicts what it forgot, whatever the others remember.
//! Nothing is deleted but older things that were moved aside before; data of another server, of another
//! version, in use or out of reach are refused and left as they are.
//!
//! A crash at any step is harmless: the keys go first, and what is still damaged at the next start is
//! found and moved aside then.

use std::fmt;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use ravelin_model::StateBackend as _;
use ravelin_model::{ClusterId, CommitIndex, LogRecord, Place, PublicKey, ReplicaId};
use ravelin_replication::recorded_place;
use ravelin_runtime::log::{Log, LogConfig, LogError, Tag};
use ravelin_runtime::store::{DiskState, StoreConfig, StoreError};

use crate::exit::{Error, Exit, Result};
use crate::files::identity::{Identity, READ_ONLY};
use crate::quarantine;

/// Name of the log in a data directory.
pub(crate) const LOG: &str = "log";
/// Name of the state store in a data directory.
pub(crate) const STATE: &str = "state";
/// Openings of one start: each but the last moves something aside.
const OPENINGS_MAX: usize = 3;

/// Where a server's data are, and whose they must be.
#[derive(Clone, Debug)]
pub(crate) struct DataDir {
    /// The data directory.
    pub(crate) dir: PathBuf,
    /// What log and store name as their owner.
    pub(crate) owner: [u8; 32],
    /// The server, for advice.
    pub(crate) member: ReplicaId,
    /// Bytes of committed blocks kept for laggards.
    pub(crate) log_retention_bytes: u64,
    /// Bytes of the audit log kept.
    pub(crate) audit_retention_bytes: u64,
}

/// Log and state, opened.
pub(crate) struct Opened {
    pub(crate) state: DiskState,
    pub(crate) log: Log,
    /// The log's records that the state does not hold yet, in order.
    pub(crate) records: Vec<LogRecord>,
}

/// What a server has lost of its data.
#[derive(Debug)]
pub(crate) enum Loss {
    /// Records of the log.
    Log(LogError),
    /// All of the log; the store is there.
    LogMissing,
    /// The store.
    Store(StoreError),
    /// All of the store; the log is there.
    StoreMissing,
    /// Both.
    AllMissing,
    /// Nothing, but its state is not what the others agree on.
    Diverged(CommitIndex),
}

impl Loss {
    /// One word for names of directories.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Log(LogError::MissingSegment { .. }) => "log-incomplete",
            Self::Log(LogError::Misdirected { .. }) => "log-misdirected",
            Self::Log(_) => "log-damaged",
            Self::LogMissing => "log-missing",
            Self::Store(StoreError::RolledBack { .. }) => "state-rolled-back",
            Self::Store(_) => "state-damaged",
            Self::StoreMissing => "state-missing",
            Self::AllMissing => "all-missing",
            Self::Diverged(_) => quarantine::DIVERGED,
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Log(error) => error.fmt(out),
            Self::LogMissing => out.write_str("the log is missing, and the state is there"),
            Self::Store(StoreError::Damaged { source }) => {
                write!(out, "the state store is damaged: {source}")
            }
            Self::Store(error) => error.fmt(out),
            Self::StoreMissing => out.write_str("the state is missing, and the log is there"),
            Self::AllMissing => out.write_str("log and state are missing"),
            Self::Diverged(commit) => {
                write!(out, "the state after commit {} is not what the others agree on", commit.0)
            }
        }
    }
}

/// Opens the data of the server with `identity`. What is lost is moved aside, and the server begins
/// anew without it.
///
/// # Errors
/// The data are another's, in use, of another version or out of reach; or the identity cannot be
/// written, without which nothing may be lost.
pub(crate) fn open(place: &DataDir, identity: &mut Identity) -> Result<Opened> {
    for _ in 1..OPENINGS_MAX {
        match try_open(place, identity) {
            Err(Trouble::Lost(loss)) => set_aside(place, identity, &loss)?,
            opened => return finish(opened, identity),
        }
    }
    let opened = try_open(place, identity);
    finish(opened, identity)
}

/// Refuses data that are another server's, or of another version. Changes nothing.
///
/// # Errors
/// As of [`open`].
pub(crate) fn check_owner(dir: &Path, owner: &[u8; 32]) -> Result<()> {
    let (log, state) = (dir.join(LOG), dir.join(STATE));
    if let Err(error) = DiskState::check_owner(&state, owner) {
        return match of_store(error, &state) {
            Trouble::Refused(error) => Err(error),
            Trouble::Lost(_) => Ok(()), // the start does what is to be done
        };
    }
    Log::check_owner(&log, owner).map_err(|error| of_log(error, &log))
}

/// What log and state of a member name as their owner.
pub(crate) fn owner(cluster: &ClusterId, identity: &PublicKey) -> [u8; 32] {
    ravelin_crypto::domain_digest("ravelin data owner v1", &[&cluster.0.0, &identity.0]).0
}

/// Moves log and state aside, because the others agree on another state than this server's.
pub(crate) fn give_up_diverged(
    place: &DataDir,
    identity: &mut Identity,
    commit: CommitIndex,
) -> Result<()> {
    set_aside(place, identity, &Loss::Diverged(commit))
}

/// Why data cannot be opened.
enum Trouble {
    Lost(Loss),
    Refused(Error),
}

impl From<Loss> for Trouble {
    fn from(loss: Loss) -> Self {
        Self::Lost(loss)
    }
}

fn try_open(place: &DataDir, identity: &Identity) -> std::result::Result<Opened, Trouble> {
    let (log_dir, state_dir) = (place.dir.join(LOG), place.dir.join(STATE));
    let looked = |error| Trouble::Refused(Error::system("look into", &place.dir, &error));
    let has_log = Log::is_in(&log_dir).map_err(looked)?;
    let has_state = DiskState::is_in(&state_dir).map_err(looked)?;
    match (has_log, has_state) {
        (false, false) if identity.is_log_begun() => return Err(Loss::AllMissing.into()),
        (true, false) => return Err(Loss::StoreMissing.into()),
        _ => {}
    }
    let config =
        StoreConfig { history_bytes: place.audit_retention_bytes, ..StoreConfig::new(place.owner) };
    let state = DiskState::open(&state_dir, &config);
    let state = state.map_err(|error| of_store(error, &state_dir))?;
    // At a first start the log is there before anything is in the state.
    if !has_log && (identity.is_log_begun() || !is_empty(&state)) {
        return Err(Loss::LogMissing.into());
    }
    let known = recorded_place(&state);
    let mut records = Vec::new();
    let mut keep = |tag: Tag, bytes: &[u8]| {
        let place = Place::from_number(tag.0);
        if place > known {
            records.push(LogRecord { place, bytes: bytes.to_vec() });
        }
    };
    let config =
        LogConfig { retention_bytes: place.log_retention_bytes, ..LogConfig::new(place.owner) };
    let (log, recovery) = match Log::open(&log_dir, config, &mut keep) {
        Ok(opened) => opened,
        Err(error) if error.is_loss() => return Err(Loss::Log(error).into()),
        Err(error) => return Err(Trouble::Refused(of_log(error, &log_dir))),
    };
    tracing::info!(records = recovery.record_count, end = ?recovery.end, "log opened");
    Ok(Opened { state, log, records })
}

fn is_empty(state: &DiskState) -> bool {
    let mut is_empty = true;
    state.scan(&[], None, &mut |_, _| {
        is_empty = false;
        ControlFlow::Break(())
    });
    is_empty
}

/// Notes that the log holds promises from now on.
fn finish(opened: std::result::Result<Opened, Trouble>, identity: &mut Identity) -> Result<Opened> {
    let data = match opened {
        Ok(data) => data,
        Err(Trouble::Refused(error)) => return Err(error),
        Err(Trouble::Lost(loss)) => {
            let hint = "this disk cannot be relied on: `dmesg` may say more; use another one";
            return Err(Error::new(Exit::Failed, format!("lost again at once: {loss}"), hint));
        }
    };
    if let Err(error) = identity.begin_log() {
        tracing::warn!(
            "{}: {READ_ONLY}, and if its log is lost, it must believe the others about what it has \
             said; {}",
            error.message(),
            error.advice()
        );
    }
    Ok(data)
}

/// Gives up the keys, then moves everything aside, the state first: without it the log is known to be
/// lost too, if a crash comes between. A state without the log that led to it says nothing
/// of what followed, and what damaged the one may have met the other.
fn set_aside(place: &DataDir, identity: &mut Identity, loss: &Loss) -> Result<()> {
    tracing::error!("{}: {loss}", place.dir.display());
    identity.give_up_keys().map_err(|error| {
        error
            .context(format!("{loss}; the server must give up the block keys that it used before"))
            .hint(
                "make the identity file and its directory writable for the server, and start it again",
            )
    })?;
    let moved = quarantine::move_aside(&place.dir, &[STATE, LOG], loss.word(), &loss.to_string())?;
    let kept = match moved {
        Some(dir) => format!("what was there lies in {} now", dir.display()),
        None => "nothing of it is left".to_owned(),
    };
    let (member, key) = (place.member, identity.public_keys().block);
    let rekey = format!("`ravelin auth rekey {member} --block {key} --key FILE`");
    let next = match loss {
        Loss::Diverged(_) => format!(
            "It signed what the others know to be wrong, as a server in an intruder's hands does: once \
             it is clear that it is in none, administrators give it a key by {rekey}"
        ),
        _ => format!(
            "It asks for both by itself. If its key was changed a short while ago it waits for the \
             plan's interval, and if others hold proof against it they refuse, unless administrators \
             give it one by {rekey}. If the disk is sick, replace it"
        ),
    };
    tracing::warn!(
        "{kept}; this server takes one of the f faults that the cluster tolerates until it has \
         learned from the others what was agreed, and an epoch gives it a new block key. {next}"
    );
    Ok(())
}

fn of_store(error: StoreError, dir: &Path) -> Trouble {
    if error.is_loss() {
        return Loss::Store(error).into();
    }
    let (exit, hint) = match &error {
        StoreError::ForeignOwner { .. } => (Exit::Conflict, FOREIGN),
        StoreError::Locked { .. } => (Exit::Conflict, LOCKED),
        StoreError::NotAStore { .. } => (Exit::Usage, NOT_OURS),
        StoreError::Version { .. } => (Exit::Usage, VERSION),
        StoreError::Io { source, .. } => of_io(source),
        _ => (Exit::Failed, DISK),
    };
    Trouble::Refused(Error::caused(exit, error, hint).context(dir.display()))
}

fn of_log(error: LogError, dir: &Path) -> Error {
    let (exit, hint) = match &error {
        LogError::ForeignOwner { .. } => (Exit::Conflict, FOREIGN),
        LogError::Locked { .. } => (Exit::Conflict, LOCKED),
        LogError::NotALog { .. } => (Exit::Usage, NOT_OURS),
        LogError::Version { .. } => (Exit::Usage, VERSION),
        LogError::Io { source, .. } => of_io(source),
        _ => (Exit::Failed, DISK),
    };
    Error::caused(exit, error, hint).context(dir.display())
}

/// What to do about what the system refused.
pub(crate) fn of_io(error: &std::io::Error) -> (Exit, &'static str) {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            match io.raw_os_error().map(rustix::io::Errno::from_raw_os_error) {
                Some(rustix::io::Errno::NOSPC | rustix::io::Errno::DQUOT) => {
                    return (Exit::NoSpace, FULL);
                }
                Some(rustix::io::Errno::ROFS) => return (Exit::Failed, READ_ONLY_DISK),
                Some(rustix::io::Errno::MFILE | rustix::io::Errno::NFILE) => {
                    return (Exit::Failed, FILES);
                }
                _ => {}
            }
        }
        cause = error.source();
    }
    (Exit::Failed, DISK)
}

const FOREIGN: &str = "were the data directories of two servers exchanged, or is this the identity or \
    the plan of another one? Put the right one back; nothing was changed";
const LOCKED: &str = "is the server running already? Two of them must never use the same data";
const NOT_OURS: &str = "name an empty directory by `data_dir`, or move away what is in it";
const VERSION: &str = "start the version of the program that wrote it";
const DISK: &str = "look at the disk: `dmesg` may say more; nothing that was acknowledged is lost";
/// What to do about too few descriptors.
const FILES: &str = "raise the limit of open files: `ulimit -n 65536`, or LimitNOFILE= in the unit";
const READ_ONLY_DISK: &str = "the file system is read-only, as after an error of its disk: see \
    `dmesg`, mount it writable and start the server again; nothing that was acknowledged is lost";
/// What to do about a full disk.
pub(crate) const FULL: &str = "nothing that was acknowledged is lost: make room on the disk of the \
    data directory and start the server again";

#[cfg(test)]
mod tests;
