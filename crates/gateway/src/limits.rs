//! Every limit and default of gateways. `docs/limits.md` gives reasons, and what happens at each.

/// Proofs and suspicions against servers that one connection to a cluster keeps.
pub const ACCUSATIONS_MAX: usize = 1024;
/// Bytes of changes that wait for the reader of one watch.
pub const WATCH_QUEUE_BYTES_MAX: usize = 8 << 20;
