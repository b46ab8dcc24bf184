//! What wormholes promise, of the real program: tests that wait more than they compute.
//!
//! Apart from those of cores: real time needs a processor when it is due; and whoever forks has, until it
//! executes, what others hold locked.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that is wrong fails, as it should"
)]

mod flood;
mod process;
#[path = "../scratch/mod.rs"]
mod scratch;
mod together;
mod tpm;
