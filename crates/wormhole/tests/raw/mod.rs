//! System calls by number, for tests that try what the product never does.
//!
//! Pointers among the arguments are null, or addresses of live buffers that the caller owns.

#![allow(unsafe_code, dead_code)] // each test uses its part

use std::ffi::c_long;
use std::io;

unsafe extern "C" {
    fn syscall(number: c_long, ...) -> c_long;
}

/// Makes one system call.
pub(crate) fn call(number: c_long, arguments: [usize; 6]) -> io::Result<usize> {
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: what pointers there are lead to live buffers of the size that the call is told.
    let result = unsafe { syscall(number, a, b, c, d, e, f) };
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// The address of a buffer, for a call that reads or writes it.
pub(crate) fn at<T>(buffer: &mut T) -> usize {
    std::ptr::from_mut(buffer) as usize
}
