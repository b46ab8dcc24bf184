//! Ordering as its users see it: whole groups in virtual time, with a hostile network and intruders.

#![allow(clippy::indexing_slicing, reason = "a test that indexes wrongly fails, as it should")]

#[path = "../common/dice.rs"]
mod dice;
#[path = "../common/keys.rs"]
mod keys;

mod agreement;
mod checker;
mod intruder;
mod intrusion;
mod limits;
mod network;
mod restart;
mod waiting;
