//! Sockets, disks and clocks for servers and clients: where the sans-IO cores meet the world.
//!
//! **Guarantee:** what a core asks to persist is durable before anything that it asked for later can
//! be seen by others. Knows no concrete protocol: a server's core is a [`driver::Node`], a client's
//! a [`client::ClientCore`].

pub mod client;
pub mod clock;
mod directory;
pub mod driver;
pub mod log;
pub mod store;
pub mod transport;
pub mod ttcb;
pub mod wormhole;
