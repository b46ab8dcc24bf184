//! The real binary, as a person or a script runs it.

mod assess;
mod bad_designs;
mod bad_drills;
mod bad_input;
mod bad_services;
mod fixture;
mod help;
mod hostile;
mod use_cases;
