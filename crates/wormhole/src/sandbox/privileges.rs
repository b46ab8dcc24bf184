//! Giving up a user and capabilities: for the wormhole, and for its payload.

use std::io;

use rustix::fs::{Gid, Uid};
use rustix::io::Errno;
use rustix::thread::{CapabilitySet, CapabilitySets};

/// The user and the group that a process runs as. Neither is root's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    user: u32,
    group: u32,
}

impl Owner {
    /// Both ids, unless one is 0 or the kernel's "unchanged" (`u32::MAX`).
    #[must_use]
    pub fn new(user: u32, group: u32) -> Option<Self> {
        let is_fit = |id| id != 0 && id != u32::MAX;
        (is_fit(user) && is_fit(group)).then_some(Self { user, group })
    }

    /// The user's id.
    #[must_use]
    pub fn user(self) -> u32 {
        self.user
    }

    /// The group's id.
    #[must_use]
    pub fn group(self) -> u32 {
        self.group
    }
}

/// Makes sure that this is the only thread: users, capabilities and filters are each thread's own, so
/// that another thread would keep what this one gives up.
pub(crate) fn require_only_thread() -> io::Result<()> {
    match std::fs::read_dir("/proc/self/task")?.count() {
        1 => Ok(()),
        _ => Err(io::Error::other("another thread runs, which would keep its privileges")),
    }
}

/// Becomes `owner` for good: real, effective and saved ids, and no other group.
pub(crate) fn become_owner(owner: Owner) -> io::Result<()> {
    let (user, group) = (Uid::from_raw(owner.user), Gid::from_raw(owner.group));
    rustix::thread::set_thread_groups(&[])?;
    rustix::thread::set_thread_res_gid(group, group, group)?;
    rustix::thread::set_thread_res_uid(user, user, user)?;
    Ok(())
}

/// Removes everything but `keep` from the bounding set, capabilities that this program does not know
/// included. Without the right to do so it changes nothing: then there is nothing to gain either, once
/// execution gives no privileges.
pub(crate) fn bound(keep: CapabilitySet) -> io::Result<()> {
    for bit in 0..u64::BITS {
        let one = CapabilitySet::from_bits_retain(1 << bit);
        if keep.contains(one) {
            continue;
        }
        match rustix::thread::remove_capability_from_bounding_set(one) {
            Ok(()) => {}
            // The kernel's last capability was the one before.
            Err(Errno::INVAL) => break,
            Err(Errno::PERM) => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Keeps `keep` of the capabilities, over executions too, and gives up every other; then makes sure.
pub(crate) fn keep_only(keep: CapabilitySet) -> io::Result<()> {
    rustix::thread::clear_ambient_capability_set()?;
    let sets = CapabilitySets { effective: keep, permitted: keep, inheritable: keep };
    rustix::thread::set_capabilities(None, sets)?;
    for one in keep.iter() {
        rustix::thread::configure_capability_in_ambient_set(one, true)?;
    }
    let left = rustix::thread::capabilities(None)?;
    if left == sets { Ok(()) } else { Err(io::Error::other("capabilities are left over")) }
}
