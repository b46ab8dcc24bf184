//! Authenticated, encrypted channels between replicas, and from clients to replicas.
//!
//! **Guarantee:** whatever is handed up as coming from a key was sent by a holder of that key over
//! this very channel, unmodified and in the order sent. Not guaranteed: that what is sent arrives.
//! A frame may be lost when a channel breaks, and the oldest are dropped when a queue is full, so
//! whoever sends must be ready to be asked again. Nothing a remote does makes this module panic,
//! block a sender, or hold more memory than the limits that it was given.
//!
//! **Assumptions:** keys are pinned by the cluster's plan; the network may lose, delay, reorder,
//! forge and replay; the host's clock ticks. An intruder who holds a replica's key is that replica.
//!
//! # On the wire
//!
//! TLS 1.3 only, both ends authenticated by raw Ed25519 public keys (RFC 7250), X25519MLKEM768
//! preferred, no resumption and no early data. ALPN [`ALPN_PEER`] between replicas, [`ALPN_CLIENT`]
//! from clients. Inside it, frames in both directions:
//!
//! | length (`u32`, little-endian) | then | meaning |
//! |---|---|---|
//! | `1..=` the receiver's limit | as many bytes | a message |
//! | `u32::MAX` | nothing | keepalive, sent when there was nothing to say for a while |
//! | 0, or anything else | - | an offence: the channel is closed, counted and logged |
//!
//! The accepting end speaks first, with one keepalive: in TLS 1.3 a dialer ends its handshake
//! before its key has been judged, and takes this frame as the sign that it was welcome.
//!
//! One channel per pair of replicas: the higher id dials the lower, so a joining replica needs to
//! know addresses and nobody needs to know its own. A newer channel from the same key replaces the
//! older, which is how half-open connections end when the other host restarts; otherwise silence
//! ends them. Where live channels from one key replace each other again and again, two processes hold
//! it: [`PeerEvent::KeyShared`] names their addresses.

pub mod ask;
pub mod clients;
pub mod connect;
pub mod crowd;
pub mod peers;

mod accept;
mod counters;
mod frame;
mod identity;
mod outbox;
mod pace;
mod rivals;
mod session;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::time::Duration;

use ravelin_model::ReplicaId;
use ravelin_model::limits::{
    CLIENT_MESSAGE_BYTES_MAX, PEER_MESSAGE_BYTES_MAX, SERVER_MESSAGE_BYTES_MAX,
};

pub use accept::{HANDSHAKES_PER_SECOND_MAX, HandshakeLimits, site};
pub use counters::{Counter, Counters};
pub use frame::Received;
pub use identity::TransportKey;
pub use outbox::Priority;

/// The protocol that replicas speak to each other.
pub const ALPN_PEER: &[u8] = b"ravelin-peer/2";
/// The protocol that clients speak to a replica.
pub const ALPN_CLIENT: &[u8] = b"ravelin-client/1";
/// Events that wait for their reader, beyond which nothing more is read from the network.
pub const EVENTS_MAX: usize = 1024;

/// What happened on the channel to a replica.
#[derive(Debug)]
pub enum PeerEvent {
    /// The channel is up; what was queued meanwhile goes out.
    Connected(ReplicaId),
    /// A message arrived.
    Frame {
        /// Who sent it.
        from: ReplicaId,
        /// What it says. Counts against its sender's share of memory until dropped.
        bytes: Received,
    },
    /// The channel is down. It comes back by itself.
    Disconnected(ReplicaId),
    /// Connections from these two addresses, both alive, take each other's place: two processes hold
    /// this replica's key.
    KeyShared(ReplicaId, [SocketAddr; 2]),
}

/// How much one channel may hold, and how long its messages may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelLimits {
    /// Bytes of a message that is accepted from the other end.
    pub received_bytes_max: usize,
    /// Bytes of a message that the other end accepts.
    pub sent_bytes_max: usize,
    /// Bytes received, or about to be, that nobody has dropped yet. At it, reading stops.
    pub inbox_bytes_max: usize,
    /// Bytes waiting to be sent, beside the batch being written.
    pub outbox_bytes_max: usize,
    /// Messages waiting to be sent, beside the batch being written.
    pub outbox_frames_max: usize,
}

impl ChannelLimits {
    /// Between two replicas: room for a few of the largest blocks each way.
    pub const PEER: Self = Self {
        received_bytes_max: PEER_MESSAGE_BYTES_MAX,
        sent_bytes_max: PEER_MESSAGE_BYTES_MAX,
        inbox_bytes_max: 4 * PEER_MESSAGE_BYTES_MAX,
        outbox_bytes_max: 8 * PEER_MESSAGE_BYTES_MAX,
        outbox_frames_max: 8192,
    };
    /// A replica's end of a client's channel.
    pub const CLIENT: Self = Self {
        received_bytes_max: CLIENT_MESSAGE_BYTES_MAX,
        sent_bytes_max: SERVER_MESSAGE_BYTES_MAX,
        inbox_bytes_max: 2 * CLIENT_MESSAGE_BYTES_MAX,
        outbox_bytes_max: 2 * SERVER_MESSAGE_BYTES_MAX,
        outbox_frames_max: 8192,
    };
    /// A client's end of the same channel.
    pub const LINK: Self = Self {
        received_bytes_max: SERVER_MESSAGE_BYTES_MAX,
        sent_bytes_max: CLIENT_MESSAGE_BYTES_MAX,
        inbox_bytes_max: 4 * SERVER_MESSAGE_BYTES_MAX,
        outbox_bytes_max: 8 * CLIENT_MESSAGE_BYTES_MAX,
        outbox_frames_max: 8192,
    };
}

/// How long anything may take.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// From the first packet of a connection to its mutual authentication.
    pub handshake_max: Duration,
    /// Time without a message after which a keepalive is sent.
    pub keepalive_every: Duration,
    /// Time without a byte after which the other end counts as gone.
    pub silence_max: Duration,
    /// Time in which the other end takes no byte of what is being sent, after which it counts as
    /// gone, whatever it sends itself.
    pub stall_max: Duration,
    /// Pause before the second attempt to connect; it doubles from there on.
    pub backoff_min: Duration,
    /// Longest pause between two attempts to connect.
    pub backoff_max: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            handshake_max: Duration::from_secs(3),
            keepalive_every: Duration::from_millis(500),
            silence_max: Duration::from_secs(3),
            stall_max: Duration::from_secs(10),
            backoff_min: Duration::from_millis(20),
            backoff_max: Duration::from_secs(1),
        }
    }
}
