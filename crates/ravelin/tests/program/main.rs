//! The real binary, by its commands: alone, and against clusters of its processes. Some of these tests
//! compute while others wait.

#![allow(clippy::indexing_slicing, reason = "a test that indexes wrongly fails, as it should")]

mod cli;
mod services;
