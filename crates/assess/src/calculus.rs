//! Calculus over structures: boolean functions, trust, common labels, attacks, strategies.
//!
//! Exact with shared parts: what is used twice is counted once, through decision diagrams.

pub mod attack_tree;
pub mod cuts;
pub mod diagram;
mod error;
mod graph;
pub mod strategy;
pub mod trust;

pub use error::CalculusError;
