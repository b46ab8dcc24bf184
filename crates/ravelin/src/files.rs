//! The files that people and programs exchange: TOML, each read into a value that was checked.
//!
//! **Guarantee:** what is written is complete or absent, after a loss of power too; what is read is
//! bounded; a key file that others can read is refused. Nothing is overwritten unless a function
//! says so. Unknown keys are errors.

pub(crate) mod approval;
mod approvals;
pub(crate) mod card;
pub(crate) mod client;
pub(crate) mod contexts;
pub(crate) mod date;
pub(crate) mod disk;
pub(crate) mod hex;
pub(crate) mod identity;
pub(crate) mod key;
pub(crate) mod kind;
pub(crate) mod node;
pub(crate) mod plan;
pub(crate) mod release;
pub(crate) mod reopening;
pub(crate) mod syntax;
pub(crate) mod tokens;

#[cfg(test)]
pub(crate) mod tests;
