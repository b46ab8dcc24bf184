//! What the metrics show of a transport. Counts only grow; none is evidence against anybody.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// The count so far.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn add(&self, count: usize) {
        // usize is at most 64 bits wide on every target.
        self.0.fetch_add(count as u64, Ordering::Relaxed);
    }
}

/// Traffic and mishaps of one transport, over all its channels.
#[derive(Debug, Default)]
pub struct Counters {
    /// Messages received.
    pub frames_in: Counter,
    /// Bytes of messages received.
    pub bytes_in: Counter,
    /// Messages written to a socket.
    pub frames_out: Counter,
    /// Bytes of messages written to a socket.
    pub bytes_out: Counter,
    /// Bulk messages dropped because a queue was full.
    pub dropped_bulk: Counter,
    /// Protocol messages dropped because a queue was full.
    pub dropped_protocol: Counter,
    /// Messages refused because they were empty, too long, or for an unknown receiver.
    pub dropped_unsendable: Counter,
    /// Authenticated connections.
    pub connected: Counter,
    /// Channels closed because a frame's length was not allowed.
    pub closed_bad_frame: Counter,
    /// Channels closed because nothing was heard for too long.
    pub closed_silent: Counter,
    /// Channels closed because no whole message arrived for too long.
    pub closed_idle: Counter,
    /// Channels closed because their client did not read its answers.
    pub closed_slow_reader: Counter,
    /// Channels closed because the other end took nothing of what was sent.
    pub closed_stalled: Counter,
    /// Connections of clients that gave their place to others.
    pub closed_displaced: Counter,
    /// Clients turned away: too many from one address.
    pub refused_address: Counter,
    /// Clients turned away: too many of one key.
    pub refused_key: Counter,
    /// Clients turned away: too many in all.
    pub refused_total: Counter,
    /// Attempts to connect that found nobody.
    pub unreachable: Counter,
    /// Handshakes not over in time.
    pub handshake_timeout: Counter,
    /// Handshakes given up for newer ones.
    pub handshake_evicted: Counter,
    /// Handshakes with a key that is not the pinned one.
    pub handshake_wrong_key: Counter,
    /// Handshakes for another protocol.
    pub handshake_wrong_protocol: Counter,
    /// Handshakes that failed otherwise: garbage, refusal, a broken connection.
    pub handshake_failed: Counter,
}
