//! Closing the process: from a root's child to something that can only answer calls.
//!
//! **Guarantee:** after [`leave_privileges`] the process has its own user, no capability, no way to
//! get one, and shows its memory to nobody who lacks `CAP_SYS_PTRACE`; after [`close`] it opens no
//! file and makes a handful of system calls, or dies. What the host cannot give is reported missing,
//! never passed over; what must hold anywhere is an error if it does not.
//!
//! The order, each step as early as the ones after it allow:
//!
//! 1. not dumpable, before any secret is in memory;
//! 2. what needs privileges: an empty network namespace, all memory locked, real time;
//! 3. empty bounding set, own user, no capabilities, no new privileges, not dumpable once more
//!    (a change of user resets it);
//! 4. the caller opens the state directory as that user and reads its keys: with no privilege left
//!    there is none to misuse while files are parsed. A hardware counter's device, which may need
//!    root, is opened before step 3;
//! 5. Landlock, then keys and state in hidden memory, then the list of system calls.
//!
//! # Security
//! A process of the same user can trace this one before step 1; one that root starts as a user of its
//! own knows no such moment, as long as no payload runs yet. What a payload learns from caches and
//! branch predictors of a processor that it shares with the wormhole is not closed here.

mod calls;
mod privileges;
mod protection;

use std::io;

use landlock::{
    ABI, Access, AccessFs, AccessNet, Ruleset, RulesetAttr, RulesetError, RulesetStatus, Scope,
};
use rustix::mm::MlockAllFlags;
use rustix::process::{DumpableBehavior, Resource, Rlimit};
use rustix::thread::CapabilitySet;

pub use calls::{Kept, Store};
pub use privileges::Owner;
pub(crate) use privileges::{become_owner, bound, keep_only, require_only_thread};
pub use protection::{Attacker, Protection, Protections, Restart, Verdict};

use crate::os;

/// The lowest of the real-time priorities: before every ordinary process, behind every other of the
/// host's that is there for a reason.
const REAL_TIME_PRIORITY: i32 = 1;
/// What a process may lock after it left root; four times what this one needs.
const LOCKED_BYTES_MAX: u64 = 16 << 20;
/// What the process maps after it locked what it had: hidden memory, and a little heap.
const LOCKED_SPARE_BYTES: u64 = 1 << 20;
/// The kernel interface of Landlock whose denials count as complete: files, TCP, abstract sockets,
/// signals.
const LANDLOCK: ABI = ABI::V6;

/// Steps 1 to 3. `owner`: the wormhole's own user, which only root can become; `None` keeps the user
/// that started it, and [`Protection::OwnUser`] is missing.
///
/// # Errors
/// When something failed that works on every host: the process must not go on.
pub fn leave_privileges(owner: Option<Owner>) -> Result<Protections, SandboxError> {
    let mut protections = Protections::default();
    must(Protection::NotDumpable, not_dumpable())?;
    must(Protection::NoCapabilities, require_only_thread())?;

    let attempts = [
        (Protection::OwnNetwork, os::leave_network()),
        (Protection::LockedMemory, lock_memory()),
        (Protection::RealTime, os::run_first(REAL_TIME_PRIORITY)),
    ];
    for (protection, _) in attempts.iter().filter(|(_, attempt)| attempt.is_ok()) {
        protections = protections.with(*protection);
    }

    must(Protection::NoCapabilities, bound(CapabilitySet::empty()))?;
    if let Some(owner) = owner {
        must(Protection::OwnUser, become_owner(owner))?;
        protections = protections.with(Protection::OwnUser);
    }
    must(Protection::NoCapabilities, keep_only(CapabilitySet::empty()))?;
    let no_new_privileges = rustix::thread::set_no_new_privs(true).map_err(io::Error::from);
    must(Protection::NoNewPrivileges, no_new_privileges)?;
    must(Protection::NotDumpable, not_dumpable())?;
    Ok(protections
        .with(Protection::NoCapabilities)
        .with(Protection::NoNewPrivileges)
        .with(Protection::NotDumpable))
}

/// Step 5, first half: no files, no network, no signals to others from here on.
///
/// # Errors
/// When the kernel has Landlock and refuses it.
pub fn deny_files(protections: Protections) -> Result<Protections, SandboxError> {
    let status = deny_all().map_err(|error| SandboxError {
        protection: Protection::NoFiles,
        source: io::Error::other(error),
    })?;
    Ok(match status {
        RulesetStatus::FullyEnforced => protections.with(Protection::NoFiles),
        RulesetStatus::PartiallyEnforced | RulesetStatus::NotEnforced => protections,
    })
}

/// Step 5, second half: from here on any system call outside of the list ends the process.
///
/// # Errors
/// When the filter cannot be installed. There is no wormhole without it.
pub fn close(kept: Kept) -> Result<(), SandboxError> {
    let install = || {
        let filter = calls::filter(kept).map_err(io::Error::other)?;
        seccompiler::apply_filter(&filter).map_err(io::Error::other)
    };
    must(Protection::FewCalls, install())
}

fn not_dumpable() -> io::Result<()> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    Ok(rustix::process::setrlimit(Resource::Core, none)?)
}

fn lock_memory() -> io::Result<()> {
    let limit = Rlimit { current: Some(LOCKED_BYTES_MAX), maximum: Some(LOCKED_BYTES_MAX) };
    // Most hosts allow less to a user. Where it cannot be raised, what there is may still suffice.
    let _ = rustix::process::setrlimit(Resource::Memlock, limit);
    let allowed = rustix::process::getrlimit(Resource::Memlock).current;
    // Root may lock beyond the limit, but after it gave its capabilities up nothing more could be mapped.
    if allowed.is_some_and(|allowed| mapped_bytes().saturating_add(LOCKED_SPARE_BYTES) > allowed) {
        return Err(io::Error::from(io::ErrorKind::OutOfMemory));
    }
    Ok(rustix::mm::mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE)?)
}

/// Everything that this process has mapped, as the system says; without its word, more than any limit.
fn mapped_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split_whitespace().next().and_then(|pages| pages.parse::<u64>().ok());
    let page = rustix::param::page_size() as u64;
    pages.map_or(u64::MAX, |pages| pages.saturating_mul(page))
}

fn deny_all() -> Result<RulesetStatus, RulesetError> {
    let status = Ruleset::default()
        .handle_access(AccessFs::from_all(LANDLOCK))?
        .handle_access(AccessNet::from_all(LANDLOCK))?
        .scope(Scope::from_all(LANDLOCK))?
        .create()?
        .restrict_self()?;
    Ok(status.ruleset)
}

fn must(protection: Protection, step: io::Result<()>) -> Result<(), SandboxError> {
    step.map_err(|source| SandboxError { protection, source })
}

/// A protection that every host can give did not come into force; trying again will not help.
#[derive(Debug, thiserror::Error)]
#[error("cannot bring `{}` into force", protection.name())]
pub struct SandboxError {
    /// Which.
    pub protection: Protection,
    /// Why.
    #[source]
    pub source: io::Error,
}
