//! How far may this system be trusted, in numbers: sections 2, 3 and 5 of the paper as a library.

pub mod analysis;
pub mod calculus;
pub mod design;
pub mod report;

/// What computes the numbers: closed forms, chains and missions.
pub use ravelin_engines as engines;
