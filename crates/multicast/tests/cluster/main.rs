//! Ordering as its users see it: whole groups in virtual time, with a hostile network and intruders.

#![allow(clippy::indexing_slicing, reason = "a test that indexes wrongly fails, as it should")]

#[allow(dead_code, reason = "each test file uses its part of it")]
#[path = "../common/dice.rs"]
mod dice;
#[allow(dead_code, reason = "each test file uses its part of it")]
#[path = "../common/keys.rs"]
mod keys;

mod agreement;
mod checker;
mod intruder;
mod intrusion;
mod limits;
#[allow(dead_code, reason = "tests look at some of what a hop carries")]
mod network;
mod restart;
mod waiting;
