//! Ordering as its users see it: whole groups in virtual time, with a hostile network and intruders; and the
//! commit rule alone, on whatever one may see of a DAG.

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
#[allow(dead_code, reason = "tests look at some of what a hop carries")]
mod network;
#[path = "../common/parents.rs"]
mod parents;
mod restart;
mod views;
mod waiting;
