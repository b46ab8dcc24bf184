//! What stands on the client's side of the trust boundary and votes for those who cannot.
//!
//! **Guarantee:** what a gateway answers is what the correct replicas computed, as long as at most
//! `f` of them are intruded: it believes no server, as the command line does not. It holds the client
//! keys that it was given, digests of tokens, and nothing else that outlives a request.
//!
//! Assumes: the gateway's own host is not intruded. One that several people use is a trusted node,
//! and says so.
//!
//! Where to start reading: [`gateway::Gateway`], then `customer.rs`, then `http/service.rs`. The
//! command line uses [`connection`], [`picture`] and [`base64`] too.

pub mod base64;
pub mod connection;
pub mod gateway;
pub mod http;
pub mod limits;
pub mod picture;
pub mod problem;
pub mod tls;
pub mod tokens;

mod customer;

pub use customer::Cluster;
