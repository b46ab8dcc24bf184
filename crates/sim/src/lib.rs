//! The other driver: virtual time and a hostile world around the product's own protocol objects.
//!
//! **Guarantee:** a run is a function of its [`Options`], which are a function of a seed; the replicas
//! and client sessions in it are the product's, not models of them. What is checked: [`checker`].
//!
//! Where to start reading: [`sim`], then [`intruder`].
//!
//! # Source
//! The paper, section 5.1: verification by injecting the faults and intrusions that are to be
//! tolerated.

pub mod brm;
pub mod checker;
pub mod intruder;
pub mod mutants;
pub mod options;
pub mod runner;
pub mod scenarios;
pub mod sim;

mod clock;
mod customer;
mod dice;
mod disk;
mod faults;
mod host;
mod network;
mod queue;
mod trace;
mod watched;
mod workload;
mod world;
mod wormhole;

pub use checker::Violation;
pub use dice::Dice;
pub use host::Maxima;
pub use network::Links;
pub use options::{FaultClass, Mode, Options, OptionsError, Settings};
pub use sim::{Outcome, Sim, Suspicions};
pub use watched::Execution;
