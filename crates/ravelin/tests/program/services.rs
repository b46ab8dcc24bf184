//! Clients' commands against a real cluster: four processes of the real binary.

mod audit;
mod clients;
mod cluster;
mod disks;
mod gateway;
mod hybrid;
mod kv;
mod locks;
mod operations;
mod power;
mod release;
mod room;
mod servers;
mod snapshots;
mod transfers;
mod watches;
