//! The system calls of a closed process: this list, and death for anything else.
//!
//! | call | for |
//! |---|---|
//! | `ppoll` | waiting for calls, the next deadline, a request to end |
//! | `recvfrom`, `sendto` | calls and answers; no socket can be made any more |
//! | `close` | a payload that hung up |
//! | `getsockopt` of a socket's memory | whether frames of the control channel were lost at this host |
//! | `clock_gettime` | where the kernel's page does not tell the time |
//! | `read` of the signals' descriptor | a request to end |
//! | `write` to standard error | why it stopped |
//! | `exit_group` | the end |
//! | `pread64`, `pwrite64`, `fdatasync` | record files; only with a store |
//! | `read`, `write`, `getrandom` | commands to a hardware counter; only with a store |
//! | `fcntl` that asks for flags | only in debug builds, whose standard library checks what it closes |
//!
//! There is none that makes, maps or frees memory: a process that needs more is killed. Two numbers of
//! x86-64 never reach a filter, `uretprobe` and `uprobe`: the kernel returns from its own probes with
//! them, and refuses them from anywhere else.

use std::collections::BTreeMap;
use std::ffi::c_long;
use std::os::fd::RawFd;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule,
};

use crate::os::{self, number};

/// What a closed process has beyond its connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// Where requests to end are read.
    pub signals: RawFd,
    /// Whether there is a store.
    pub store: Store,
}

/// Whether a closed process keeps its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Store {
    /// It reads and writes nothing but frames.
    Absent,
    /// It writes record files and talks to a hardware counter. The list does not say to which
    /// descriptors: all that is open is these, the connections, the signals' and the standard three,
    /// for what the process inherited beyond them was closed at its start.
    Present,
}

/// The call of this number; with any arguments, or with this value as that argument, counted from 0.
type Allowed = (c_long, Option<(u8, i32)>);

const STANDARD_ERROR: RawFd = 2;
const F_GETFD: i32 = 1;

/// Every call that a closed process may make.
fn allowed(kept: Kept) -> Vec<Allowed> {
    let mut calls = vec![
        (number::PPOLL, None),
        (number::RECVFROM, None),
        (number::SENDTO, None),
        (number::CLOSE, None),
        (number::CLOCK_GETTIME, None),
        (number::EXIT_GROUP, None),
        (number::GETSOCKOPT, Some((2, os::SO_MEMINFO))),
    ];
    match kept.store {
        Store::Absent => calls.extend([
            (number::READ, Some((0, kept.signals))),
            (number::WRITE, Some((0, STANDARD_ERROR))),
        ]),
        Store::Present => calls.extend([
            (number::READ, None),
            (number::WRITE, None),
            (number::PREAD64, None),
            (number::PWRITE64, None),
            (number::FDATASYNC, None),
            (number::GETRANDOM, None),
        ]),
    }
    if cfg!(debug_assertions) {
        // There the standard library asks whether a descriptor is open before it closes it.
        calls.push((number::FCNTL, Some((1, F_GETFD))));
    }
    calls
}

/// The filter of a closed process.
///
/// # Errors
/// On a machine for which there is no filter.
pub(super) fn filter(kept: Kept) -> Result<BpfProgram, BackendError> {
    let mut rules = BTreeMap::new();
    for (number, argument) in allowed(kept) {
        // A chain without rules allows any argument.
        let chain = argument.map(rule).transpose()?.into_iter().collect();
        rules.insert(number, chain);
    }
    let machine = std::env::consts::ARCH.try_into()?;
    SeccompFilter::new(rules, SeccompAction::KillProcess, SeccompAction::Allow, machine)?.try_into()
}

/// The rule that the argument in this place has this value.
fn rule((place, value): (u8, i32)) -> Result<SeccompRule, BackendError> {
    let value = u64::from(value.cast_unsigned());
    let equal = SeccompCondition::new(place, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value)?;
    SeccompRule::new(vec![equal])
}
