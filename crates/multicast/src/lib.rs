//! Reliable, causal and atomic multicast: three views of one block DAG.
//!
//! **Guarantee:** while at most `f` members are intruded, all correct replicas deliver the same
//! blocks in the same order, under any network and any clocks; once the network delivers in time,
//! every block of a correct replica is delivered.
//!
//! *Reliable:* [`Event::Certified`], a certificate for the block is in the DAG. *Causal:*
//! [`Event::Entered`], after all its parents. *Total (atomic):* [`Event::Committed`].
//!
//! Beside it, [`brm`]: reliable multicast with the help of wormholes, for any number of intruders.
//!
//! # Source
//! The paper, section 8: multicast with reliability, causal and total order as the layers of
//! Rampart, SecureRing and MAFTIA. Here one structure serves all three.

pub mod brm;
mod catch_up;
pub mod committer;
pub mod dag;
pub mod delivery;
mod following;
mod forks;
pub mod ordering;
pub mod pacing;
pub mod parking;
mod recall;
pub mod validity;

pub use committer::{CommitRule, Decision, Path, Slot};
pub use dag::Dag;
pub use delivery::{Committed, Delivery, OrderingState};
pub use ordering::{Authorship, Event, Message, Ordering, Payload, Start, Views};
pub use pacing::{Pacing, SlotEnd};
pub use parking::Parking;
pub use recall::Standing;
