//! What the compiler cannot check: every `unsafe` of this crate, each with its invariant.
//!
//! **Guarantee:** each function is safe to call with any argument, but for the one contract that it
//! states. Memory from here is mapped once, belongs to one owner and is never unmapped before the
//! process ends. What rustix offers safely is called where it is needed, not here.

#![allow(unsafe_code)]

use std::ffi::{c_int, c_long};
use std::io;
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::ptr::NonNull;

use rustix::io::FdFlags;
use rustix::mm::{Advice, MapFlags, ProtFlags};
use rustix::process::Signal;
use rustix::thread::UnshareFlags;
use zeroize::Zeroize;

/// The smallest page of any supported machine: what a mapping is aligned to at least.
const PAGE_BYTES: usize = 4096;
/// How much of the stack is erased after a value was made, in words: a start goes half as deep.
const WORDS_OF_START: usize = (384 << 10) / size_of::<u64>();

unsafe extern "C" {
    fn syscall(number: c_long, ...) -> c_long;
    fn _exit(status: c_int) -> !;
}

/// One value in memory that the kernel itself does not map: other processes, `/proc/PID/mem`, core
/// dumps, swap and hibernation cannot show it.
///
/// Where the kernel has no `memfd_secret`, the memory is locked and left out of core dumps only.
///
/// # Security
/// Dropping it drops the value, which erases its own secrets. The mapping stays until the process
/// ends, so that no system call is needed for it.
pub struct Secret<T> {
    value: NonNull<T>,
}

impl<T> Secret<T> {
    /// Makes a value, moves it into secret memory and erases the stack on which it was made. `make`
    /// learns whether the memory is hidden.
    ///
    /// # Errors
    /// That of `make`; or when no memory can be mapped, which retrying does not help.
    pub fn new<E: From<io::Error>>(make: impl FnOnce(bool) -> Result<T, E>) -> Result<Self, E> {
        const { assert!(align_of::<T>() <= PAGE_BYTES, "a page aligns every value") };
        let bytes = size_of::<T>().max(1).next_multiple_of(PAGE_BYTES);
        let (address, is_hidden) = match map_hidden(bytes) {
            Ok(address) => (address, true),
            Err(_) => (map_locked(bytes)?, false),
        };
        let value = NonNull::new(address.cast::<T>())
            .expect("the kernel maps nothing at address zero unless it is asked to");
        without_trace::<WORDS_OF_START, _>(|| {
            let made = make(is_hidden)?;
            // SAFETY: `value` is the start of a private, writable mapping of at least
            // `size_of::<T>()` bytes, aligned to a page; nothing else points into it.
            unsafe { value.write(made) };
            Ok(Self { value })
        })
    }
}

impl<T> Deref for Secret<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: `new` wrote a value there, and only `drop` ends it.
        unsafe { self.value.as_ref() }
    }
}

impl<T> DerefMut for Secret<T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`; `&mut self` makes this the only reference.
        unsafe { self.value.as_mut() }
    }
}

impl<T> Drop for Secret<T> {
    fn drop(&mut self) {
        // SAFETY: the value is there since `new`, and nobody can reach it after this.
        unsafe { self.value.drop_in_place() }
    }
}

/// Maps memory of its own file descriptor, which is closed before anyone could pass it on.
fn map_hidden(bytes: usize) -> io::Result<*mut u8> {
    let close_on_exec = 0o2_000_000_usize;
    // SAFETY: the call takes a number and gives a new descriptor, or an error.
    let made = checked(unsafe { syscall(number::MEMFD_SECRET, close_on_exec) })?;
    let raw = RawFd::try_from(made).map_err(io::Error::other)?;
    // SAFETY: the kernel just made this descriptor, so nobody else owns it.
    let file = unsafe { OwnedFd::from_raw_fd(raw) };
    rustix::fs::ftruncate(&file, bytes as u64)?;
    let access = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new mapping at an address that the kernel chooses touches no other memory. It is
    // shared with the descriptor alone, which is closed on return.
    let address = unsafe {
        rustix::mm::mmap(std::ptr::null_mut(), bytes, access, MapFlags::SHARED, &file, 0)?
    };
    // SAFETY: the range is the mapping just made. A child would share its pages; there is none.
    unsafe { rustix::mm::madvise(address, bytes, Advice::LinuxDontFork)? };
    Ok(address.cast())
}

/// Maps ordinary memory, locked and left out of core dumps.
fn map_locked(bytes: usize) -> io::Result<*mut u8> {
    let access = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: as in `map_hidden`.
    let address = unsafe {
        rustix::mm::mmap_anonymous(std::ptr::null_mut(), bytes, access, MapFlags::PRIVATE)?
    };
    // SAFETY: the range is the mapping just made; neither call changes what it holds.
    unsafe {
        rustix::mm::madvise(address, bytes, Advice::LinuxDontDump)?;
        rustix::mm::madvise(address, bytes, Advice::LinuxDontFork)?;
        // The process may have no limit left for it; then the protection counts as missing anyway.
        let _ = rustix::mm::mlock(address, bytes);
    }
    Ok(address.cast())
}

/// Runs `step` and erases the stack that it used, secrets in the frames of libraries included: `WORDS`
/// of 8 bytes, which must be deeper than it goes. Takes about 1 microsecond for 32 KiB.
pub fn without_trace<const WORDS: usize, R>(step: impl FnOnce() -> R) -> R {
    /// In a frame of its own, so that all of it lies in what is erased.
    #[inline(never)]
    fn apart<R>(step: impl FnOnce() -> R) -> R {
        step()
    }
    #[inline(never)]
    fn scrub<const WORDS: usize>() {
        // Written word by word by `zeroize`, which no compiler leaves out.
        std::hint::black_box(&mut [0_u64; WORDS]).zeroize();
    }
    let result = apart(step);
    scrub::<WORDS>();
    result
}

/// Takes a descriptor that the parent handed over by its number.
///
/// Contract: the number came from the parent, by the command line, and is taken once: before this
/// process opened anything with that number, and never again.
///
/// # Errors
/// When no such descriptor is open.
pub(crate) fn inherited(number: RawFd) -> io::Result<OwnedFd> {
    if number < 0 {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    // SAFETY: borrowed for one call, which answers with an error if the number is not open.
    rustix::io::fcntl_getfd(unsafe { BorrowedFd::borrow_raw(number) })?;
    // SAFETY: it is open and, by the contract, nobody else in this process owns it.
    let owned = unsafe { OwnedFd::from_raw_fd(number) };
    rustix::io::fcntl_setfd(&owned, FdFlags::CLOEXEC)?;
    Ok(owned)
}

/// Closes every descriptor but the standard three and `kept`: whoever started this process may have
/// left it more, and what a closed process writes to must be its own.
///
/// Contract: called before this process opened anything.
///
/// # Errors
/// On a kernel before 5.9.
pub(crate) fn close_others(kept: &[RawFd]) -> io::Result<()> {
    let mut kept = kept.to_vec();
    kept.sort_unstable();
    let mut first = 3;
    for end in kept.into_iter().chain([RawFd::MAX]) {
        if first < end {
            // SAFETY: it takes numbers; by the contract nothing in this process owns what it closes.
            checked(unsafe { syscall(number::CLOSE_RANGE, first, end - 1, 0) })?;
        }
        first = end.saturating_add(1);
    }
    Ok(())
}

/// Has the kernel refuse every message to this Unix socket that carries descriptors. Whoever receives
/// one without asking closes it, and a socket can be made to linger: the closing thread waits. What was
/// sent before still comes.
///
/// # Errors
/// On a kernel before 6.16.
pub(crate) fn refuse_passed_files(socket: &OwnedFd) -> io::Result<()> {
    const SOL_SOCKET: c_int = 1;
    const SO_PASSRIGHTS: c_int = 83;
    let (off, bytes): (c_int, usize) = (0, size_of::<c_int>());
    let off = &raw const off;
    // SAFETY: the value is one live integer of this size; read only.
    let set = unsafe {
        syscall(number::SETSOCKOPT, socket.as_raw_fd(), SOL_SOCKET, SO_PASSRIGHTS, off, bytes)
    };
    checked(set).map(drop)
}

/// How many messages this socket had no room for, or refused, since it was made. It wraps around.
///
/// # Errors
/// On a kernel before 4.12.
pub(crate) fn lost_at(socket: &OwnedFd) -> io::Result<u32> {
    const SOL_SOCKET: c_int = 1;
    /// Numbers about a socket's memory, of which later kernels may have more.
    const WORDS: usize = 16;
    const DROPS: usize = 8;
    let mut words = [0_u32; WORDS];
    let mut bytes = size_of_val(&words) as u32; // 64
    let (to, length) = (words.as_mut_ptr(), &raw mut bytes);
    // SAFETY: `to` points to as many live bytes as `length` says; the kernel writes no more than that.
    let got = unsafe {
        syscall(number::GETSOCKOPT, socket.as_raw_fd(), SOL_SOCKET, SO_MEMINFO, to, length)
    };
    checked(got)?;
    Ok(words.get(DROPS).copied().unwrap_or_default())
}

/// The option of a socket that tells how many messages were lost at it.
pub(crate) const SO_MEMINFO: c_int = 55;

/// Has the program that `command` starts inherit `descriptors`, and no other that is started meanwhile.
pub fn hand_over(command: &mut Command, descriptors: Vec<OwnedFd>) {
    let keep_open = move || {
        for descriptor in &descriptors {
            rustix::io::fcntl_setfd(descriptor, FdFlags::empty())?;
        }
        Ok(())
    };
    // SAFETY: between fork and exec it makes system calls only; it takes no memory and no lock.
    unsafe { command.pre_exec(keep_open) };
}

/// Moves this process into a network namespace of its own, which has no interface but a loopback
/// that is down.
///
/// # Errors
/// Without `CAP_SYS_ADMIN`.
pub(crate) fn leave_network() -> io::Result<()> {
    // SAFETY: the flag concerns sockets made from now on; no descriptor table is split.
    Ok(unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }?)
}

/// Raises the loopback interface of the network that `socket` was made in.
///
/// # Errors
/// Without `CAP_NET_ADMIN` there.
pub(crate) fn raise_loopback(socket: BorrowedFd<'_>) -> io::Result<()> {
    const SIOCSIFFLAGS: usize = 0x8914;
    const IFF_UP: u16 = 1;
    /// `struct ifreq`: a name, then a union that begins with flags.
    #[repr(C)]
    struct Request {
        name: [u8; 16],
        flags: u16,
        rest: [u8; 22],
    }
    let name = *b"lo\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let request = Request { name, flags: IFF_UP, rest: [0; 22] };
    let request = std::ptr::from_ref(&request);
    // SAFETY: the third argument points to a live `struct ifreq` of this size, which the kernel reads.
    checked(unsafe { syscall(number::IOCTL, socket.as_raw_fd(), SIOCSIFFLAGS, request) }).map(drop)
}

/// Schedules this thread before every ordinary one (`SCHED_FIFO`).
///
/// # Errors
/// Without `CAP_SYS_NICE`, or where a control group has no real time to give.
pub(crate) fn run_first(priority: c_int) -> io::Result<()> {
    const SCHED_FIFO: usize = 1;
    // SAFETY: the third argument points to a live `struct sched_param`, one integer; read only.
    let result = unsafe {
        syscall(number::SCHED_SETSCHEDULER, 0_usize, SCHED_FIFO, std::ptr::from_ref(&priority))
    };
    checked(result).map(drop)
}

/// Turns SIGTERM, SIGINT and SIGHUP into something to read: the descriptor becomes readable when one
/// is pending. Every other signal waits for ever: a terminal can neither stop this process nor end it
/// without a record. What cannot be blocked, and what a fault brings about, still ends it; nothing runs
/// in a signal handler.
///
/// # Errors
/// When the process has no descriptor left.
pub fn termination_requests() -> io::Result<OwnedFd> {
    const SIG_SETMASK: usize = 2;
    const MASK_BYTES: usize = size_of::<u64>();
    let close_on_exec_nonblocking = 0o2_004_000_usize;
    let (all, stops) = (u64::MAX, bit(Signal::TERM) | bit(Signal::INT) | bit(Signal::HUP));
    let (all, stops) = (&raw const all, &raw const stops);
    let no_old_mask = std::ptr::null_mut::<u64>();
    // SAFETY: `all` points to a live kernel signal set of `MASK_BYTES`; read only. The old set is
    // not asked for.
    checked(unsafe { syscall(number::RT_SIGPROCMASK, SIG_SETMASK, all, no_old_mask, MASK_BYTES) })?;
    // SAFETY: as before; -1 asks for a new descriptor.
    let made = checked(unsafe {
        syscall(number::SIGNALFD4, -1_isize, stops, MASK_BYTES, close_on_exec_nonblocking)
    })?;
    let raw = RawFd::try_from(made).map_err(io::Error::other)?;
    // SAFETY: the kernel just made this descriptor, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

/// The bit of `signal` in a kernel signal set.
fn bit(signal: Signal) -> u64 {
    1 << (signal.as_raw() - 1)
}

/// Has the C library's heap keep what is freed: giving it back is a call for which a closed process is
/// killed.
pub(crate) fn keep_heap() {
    #[cfg(target_env = "gnu")]
    {
        unsafe extern "C" {
            fn mallopt(parameter: c_int, value: c_int) -> c_int;
        }
        const M_TRIM_THRESHOLD: c_int = -1;
        // SAFETY: it takes two numbers and has its own lock. Should it refuse, a closed process may
        // die at its very end.
        let _ = unsafe { mallopt(M_TRIM_THRESHOLD, c_int::MAX) };
    }
}

/// Ends the process at once. Nothing is unwound or flushed: the library's way out makes system calls
/// for which a closed process is killed.
pub fn exit(status: u8) -> ! {
    // SAFETY: it takes a number and does not return.
    unsafe { _exit(c_int::from(status)) }
}

fn checked(result: c_long) -> io::Result<c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Numbers of the system calls that this process makes, by the kernel's tables.
pub mod number {
    #![allow(missing_docs)] // their names are the kernel's
    use std::ffi::c_long;

    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    compile_error!("the numbers of this machine's system calls are not here");

    const fn of(x86_64: c_long, aarch64: c_long) -> c_long {
        if cfg!(target_arch = "x86_64") { x86_64 } else { aarch64 }
    }

    pub const READ: c_long = of(0, 63);
    pub const WRITE: c_long = of(1, 64);
    pub const CLOSE: c_long = of(3, 57);
    pub const RT_SIGPROCMASK: c_long = of(14, 135);
    pub const IOCTL: c_long = of(16, 29);
    pub const PREAD64: c_long = of(17, 67);
    pub const PWRITE64: c_long = of(18, 68);
    pub const SENDTO: c_long = of(44, 206);
    pub const RECVFROM: c_long = of(45, 207);
    pub const SETSOCKOPT: c_long = of(54, 208);
    pub const GETSOCKOPT: c_long = of(55, 209);
    pub const FCNTL: c_long = of(72, 25);
    pub const FDATASYNC: c_long = of(75, 83);
    pub const SCHED_SETSCHEDULER: c_long = of(144, 119);
    pub const CLOCK_GETTIME: c_long = of(228, 113);
    pub const EXIT_GROUP: c_long = of(231, 94);
    pub const PPOLL: c_long = of(271, 73);
    pub const SIGNALFD4: c_long = of(289, 74);
    pub const GETRANDOM: c_long = of(318, 278);
    pub const CLOSE_RANGE: c_long = of(436, 436);
    pub const MEMFD_SECRET: c_long = of(447, 447);
}
