//! State-machine replication on the total order of `multicast`.
//!
//! **Guarantee:** correct replicas execute the same operations in the same order, each exactly once,
//! and sign what they answer. Knows no concrete service: [`ravelin_model::Application`] is given.
//!
//! # Source
//! The paper, sections 5.2 and 8.2: replication as error masking on intrusion-tolerant multicast.

pub mod clients;
pub mod execution;
pub mod handover;
pub mod members;
pub mod mempool;
pub mod offering;
pub mod peer;
pub mod read_quota;
pub mod replica;
pub mod sessions;
pub mod state;
pub mod statements;
pub mod transfer;

pub use clients::ConnectionId;
pub use replica::{
    ClientInput, Event, Halt, HaltReason, Halted, OwnWormhole, ReleaseError, Replica, Setup,
    Status, question, recorded_place, recorded_plans,
};

#[cfg(test)]
mod testing;
