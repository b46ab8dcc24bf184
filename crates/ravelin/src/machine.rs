//! What befalls the machines of servers, done to real processes: disks that rot, go back in time, are
//! slow, full or fail; processors and memory that are scarce; clocks that are wrong; power that goes.
//!
//! The campaign plays these beside what it does to processes and connections. Each needs something of
//! the system; where that is missing, the trouble is skipped, and the run says so.

pub(crate) mod decay;
mod grip;
mod memory;
pub(crate) mod network;
pub(crate) mod power;
pub(crate) mod slope;
pub(crate) mod soak;
mod swap;
pub(crate) mod tools;
pub(crate) mod tpm;
mod trouble;
mod twin;

pub(crate) use grip::Grip;
pub(crate) use trouble::Trouble;
