//! Runs of the simulator. One program, so that no processor is idle while the longest of a kind goes on.

mod brm;
mod regressions;
mod reopening;
mod scenarios;
mod seeds;
