//! What must hold of every run, and the checkers of it.
//!
//! [`History`] and [`linear`] judge what clients saw, wherever they ran: the demonstration with real
//! processes uses them too. [`order`] judges what replicas did, which only the simulator sees.

pub mod history;
pub mod linear;
pub mod locks;
pub mod order;

pub use history::{History, Operation};
pub use order::Order;

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which promise, in one word.
    pub kind: &'static str,
    /// How.
    pub what: String,
}

impl Violation {
    pub(crate) fn new(kind: &'static str, what: String) -> Self {
        Self { kind, what }
    }
}

impl std::fmt::Display for Violation {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}: {}", self.kind, self.what)
    }
}
