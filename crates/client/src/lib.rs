//! The voting client's core: what to send, to whom, and what to believe. No I/O, no clock.
//!
//! **Guarantee:** what a [`Session`] delivers as an answer, a read, a proven value or a change is
//! what the correct replicas computed, each operation at most once, as long as at most `f` members
//! of each epoch are intruded, whatever the network does. With that many, a session makes progress once messages
//! arrive. A correct member is never accused.
//!
//! Assumes: the caller authenticates connections (a message `from` a member came over that member's
//! connection), a connection delivers in order until it breaks, and signatures cannot be forged.
//!
//! | what is believed | when |
//! |---|---|
//! | an operation's result | `quorum` members of one epoch told it alike |
//! | a fast read | `fast_read` members replied alike; otherwise it is ordered |
//! | a proven value | one member shows equal statements of a `quorum` of the newest epoch known, and the path to their root |
//! | lists of the audit log | they lead to a head that was proven |
//! | a change, or that there was none | `one_correct` members told it alike |
//! | that the session or the client is unknown, or an envelope denied | `one_correct` members say so |
//! | a cluster's first plan | administrators signed it and its digest is the fingerprint |
//! | a later plan | a quorum of the members of the plan before it signed it |
//! | a status report | never: it is one member's word, and is shown as such |
//!
//! Where to start reading: [`Session`], then `session/answers.rs`.
//!
//! # Source
//! The paper, section 8.2: clients vote on the answers of replicas. M. Castro and B. Liskov,
//! *Practical Byzantine Fault Tolerance*, OSDI '99, section 4.1, for matching replies; deviation:
//! a quorum instead of `f+1`, so that reads without ordering are linearizable.

pub mod chain;
pub mod event;
pub mod limits;
pub mod session;

mod epochs;
mod evidence;
mod flight;
mod misuse;
mod paces;
mod peers;
mod tally;
mod watch;

pub use event::{ClientAction, Event, Outcome, ReadPath, Ticket, Unanswered, Voted};
pub use misuse::Misuse;
pub use session::{Capacity, Session, SessionConfig};

#[cfg(test)]
mod tests;
