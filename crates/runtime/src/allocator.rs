//! How the C library's allocator gives memory back.
//!
//! It takes large pieces from the system and returns each when it is freed; but each that is freed moves
//! the size from which it does so up, to 32 MiB at last. From then on what a busy moment took stays in a
//! heap with small pieces between. With a size that stays, a saturated server needed 12 MiB less, and no
//! more processor. It also stays at what else the library begins with: it gives the end of a heap back as
//! soon as 128 KiB of it are free.

#![allow(unsafe_code)]

/// From how many bytes on a piece comes straight from the system.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGE_BYTES: i32 = 128 << 10;
/// The C library's number for that.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const M_MMAP_THRESHOLD: i32 = -3;

#[cfg(all(target_os = "linux", target_env = "gnu"))]
unsafe extern "C" {
    fn mallopt(parameter: i32, value: i32) -> i32;
}

/// Has large pieces of memory returned to the system when they are freed. Where the system has another C
/// library, this does nothing.
pub fn return_large_pieces() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // SAFETY: it takes two numbers by value and has its own lock; what is allocated already is freed
        // as it was allocated.
        let is_taken = unsafe { mallopt(M_MMAP_THRESHOLD, LARGE_BYTES) };
        if is_taken == 0 {
            tracing::warn!("the C library keeps its own limit for large pieces of memory");
        }
    }
}
