//! Reliable multicast with the wormholes' help, in a world of its own: ideal wormholes, a hostile
//! payload network, and any number of intruded processes.
//!
//! **Guarantee:** a run is a function of its [`Options`], which are a function of a seed; the correct
//! processes in it are the product's [`ravelin_multicast::brm::Brm`]. [`checker`] judges Validity,
//! Agreement and Integrity by the paper's definition of a correct process.
//!
//! # Source
//! The paper, section 8.2, figures 9 and 10.

pub mod checker;
pub mod ideal;
pub mod intruder;
pub mod options;
pub mod runner;

mod network;
mod world;

pub use options::{Class, Options, Settings};
pub use runner::{Report, run_seed, run_seeds};
pub use world::{Outcome, World};
