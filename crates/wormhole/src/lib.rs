//! The wormhole: the trusted component of a server. It may stop, it never lies.
//!
//! **Guarantee:** whatever the rest of the server does, this process binds a counter value at most
//! once, ever; its attestations cannot be forged, name what they bind and who bound it, and cover
//! positions that only rise. On any doubt it halts. Assumes that nobody reads or writes its memory:
//! which attackers the host withstands is said by the protections of its process, and `status`
//! tells which of them are in force.
//!
//! # Services
//!
//! | service | calls | |
//! |---|---|---|
//! | local authentication | `hello`, `bye` | the provisioned key signs the exchange; then every frame has a MAC and a rising number |
//! | random numbers | `random` | 32 bytes |
//! | absolute timestamp | `timestamp` | an interval of the wormholes' common time, or of the local clock |
//! | duration measurement | `duration_start`, `duration_stop` | span with a bound of its error |
//! | timing failure detection | `arm`, `end` | timely, or late by how much |
//! | timely execution | `exec_at`, `outcome` | fail-safe lock, key erasure, signed heartbeat |
//! | attestation (added) | `attest`, `last` | Ed25519 over cluster, replica, instance, counter, epoch, old, new, digest |
//! | trusted block agreement | `propose`, `decide` | among the wormholes of a cluster: see [`core::Core::join`] |
//! | key of two processes (section 7.5) | `pair_key` | of different hosts of a cluster |
//!
//! `status` says how the wormhole is. Attestations, locks and erasure are for connections with the
//! right to them: the first one only, unless its configuration says otherwise.
//!
//! # What is trusted
//!
//! [`core`] decides and signs, with [`frame`], [`attestation`] and [`keys`] below it: a state
//! machine without I/O, without a clock and without allocation. Around it the process reads
//! frames, performs outputs in their order, and keeps what must survive. [`client`] is the
//! payload's side and trusts nothing but the provisioned public key.
//!
//! # Source
//! Veríssimo, Neves and Correia, *Intrusion-Tolerant Architectures: Concepts and Design*, sections
//! 7.5 and 8.2.

pub mod attestation;
pub mod client;
pub mod core;
pub mod counter;
pub mod frame;
pub mod hex;
pub mod keys;
pub mod launcher;
mod mutants;
mod operator;
pub mod os;
pub mod sandbox;
pub mod serve;
pub mod state;
pub mod tpm;
mod words;
