//! What wormholes promise, of cores in virtual time: no test here starts a process, or looks at the clock.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that is wrong fails, as it should"
)]

mod agreement;
mod calls;
mod cluster;
mod common_time;
mod continuity;
mod core;
mod deadline;
mod host;
mod pair_key;
mod real_time;
#[path = "../scratch/mod.rs"]
mod scratch;
mod sessions;
mod time;
