//! The real binary, as a person or a script runs it.

mod bad_input;
mod fixture;
mod help;
mod use_cases;
