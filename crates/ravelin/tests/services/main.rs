//! Clients' commands against a real cluster: four processes of the real binary.

#![allow(clippy::indexing_slicing, reason = "a test that indexes wrongly fails, as it should")]

mod clients;
mod cluster;
mod kv;
mod locks;
mod release;
mod servers;
mod watches;
