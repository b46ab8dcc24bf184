//! Clients' commands against a real cluster: four processes of the real binary.

mod cluster;
mod clients;
mod kv;
mod locks;
mod servers;
