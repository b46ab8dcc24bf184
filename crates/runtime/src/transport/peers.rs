//! Channels between this replica and every other.
//!
//! **Guarantee:** a message handed up as from replica `i` was sent by a holder of the key pinned
//! for `i`. Sending never waits, and one replica that does not read, floods, or breaks the framing
//! costs its own channel and its own share of memory only.
//!
//! The higher id dials the lower; see [the module above](super).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ravelin_model::{PublicKey, ReplicaId};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::accept::{Gate, HANDSHAKES_PER_SECOND_MAX, HandshakeLimits, Reception};
use super::connect::Line;
use super::identity::{Accepted, client_config, server_config};
use super::session::{Channel, SecureStream};
use super::{
    ALPN_PEER, ChannelLimits, Counters, EVENTS_MAX, PeerEvent, Priority, Timing, TransportKey,
};

/// Handshakes under way at once with replicas that dial us, and with whoever pretends to be one.
pub const HANDSHAKES_MAX: usize = 128;
/// The same from one address.
pub const HANDSHAKES_PER_ADDRESS_MAX: usize = 16;

/// Another replica.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its index in the plan.
    pub id: ReplicaId,
    /// `host:port`, resolved at each attempt to connect.
    pub address: String,
    /// The only key it may hold.
    pub key: PublicKey,
}

/// What a [`PeerNetwork`] needs to know.
#[derive(Debug)]
pub struct PeerConfig {
    /// Our index in the plan.
    pub me: ReplicaId,
    /// Our key.
    pub key: TransportKey,
    /// Where the replicas of higher id reach us.
    pub listener: TcpListener,
    /// Everybody else.
    pub peers: Vec<Peer>,
    /// How much the channel to one replica may hold.
    pub limits: ChannelLimits,
    /// How long anything may take.
    pub timing: Timing,
}

/// Why a network cannot be: the plan is contradictory. Retrying does not help.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PeerConfigError {
    /// An id stands for two replicas.
    #[error("replica {} is named twice", .0.0)]
    RepeatedId(ReplicaId),
    /// A key stands for two replicas, so it would not say which one speaks.
    #[error("replica {} has the key of another", .0.0)]
    RepeatedKey(ReplicaId),
}

/// The channels to all other replicas. Dropping it closes them and the listener.
pub struct PeerNetwork {
    channels: BTreeMap<ReplicaId, Arc<Channel>>,
    counters: Arc<Counters>,
    _tasks: JoinSet<()>,
}

impl PeerNetwork {
    /// Starts to listen and to connect.
    ///
    /// # Errors
    /// [`PeerConfigError`], if ids or keys repeat.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(config: PeerConfig) -> Result<(Self, mpsc::Receiver<PeerEvent>), PeerConfigError> {
        check(&config)?;
        let PeerConfig { me, key, listener, peers, limits, timing } = config;
        let (events, received) = mpsc::channel(EVENTS_MAX);
        let counters = Arc::new(Counters::default());
        let mut channels = BTreeMap::new();
        let mut tasks = JoinSet::new();
        let mut dialing_us = BTreeMap::new();
        for peer in peers {
            let channel = Arc::new(Channel::new(limits, timing, None, Arc::clone(&counters)));
            channels.insert(peer.id, Arc::clone(&channel));
            let (events, counters) = (events.clone(), Arc::clone(&counters));
            let line = Line { id: peer.id, channel, events, timing, counters };
            if peer.id < me {
                let tls = client_config(&key, peer.key, ALPN_PEER);
                tasks.spawn(line.keep_dialing(peer.address, tls));
            } else {
                let (arrivals, accepted) = mpsc::channel(1);
                dialing_us.insert(peer.key, arrivals);
                tasks.spawn(line.keep_accepting(accepted));
            }
        }
        let accepted = Accepted::Pinned(dialing_us.keys().copied().collect());
        let gate = Gate {
            listener,
            tls: server_config(&key, accepted, ALPN_PEER),
            handshakes: HandshakeLimits {
                total_max: HANDSHAKES_MAX,
                per_address_max: HANDSHAKES_PER_ADDRESS_MAX,
                per_second_max: HANDSHAKES_PER_SECOND_MAX,
            },
            handshake_max: timing.handshake_max,
            counters: Arc::clone(&counters),
            reception: Arc::new(Switchboard(dialing_us)),
        };
        tasks.spawn(gate.run());
        Ok((Self { channels, counters, _tasks: tasks }, received))
    }

    /// Queues a message, never waiting. A message to nobody is counted and dropped.
    pub fn send(&self, to: ReplicaId, priority: Priority, message: Arc<[u8]>) {
        match self.channels.get(&to) {
            Some(channel) => {
                channel.push(priority, message);
            }
            None => self.counters.dropped_unsendable.add(1),
        }
    }

    /// All other replicas, ascending.
    pub fn peers(&self) -> impl Iterator<Item = ReplicaId> + '_ {
        self.channels.keys().copied()
    }

    /// What happened so far.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }
}

fn check(config: &PeerConfig) -> Result<(), PeerConfigError> {
    let mut ids = BTreeSet::from([config.me]);
    let mut keys = BTreeSet::from([config.key.public_key()]);
    for peer in &config.peers {
        if !ids.insert(peer.id) {
            return Err(PeerConfigError::RepeatedId(peer.id));
        }
        if !keys.insert(peer.key) {
            return Err(PeerConfigError::RepeatedKey(peer.id));
        }
    }
    Ok(())
}

/// Connects who dialed to the channel that waits for it.
struct Switchboard(BTreeMap<PublicKey, mpsc::Sender<SecureStream>>);

impl Reception for Switchboard {
    async fn serve(&self, stream: SecureStream, key: PublicKey, _site: IpAddr) {
        // The handshake lets no other key pass.
        if let Some(arrivals) = self.0.get(&key) {
            // Full only while nobody takes our events; then the dialer tries again later.
            let _ = arrivals.try_send(stream);
        }
    }
}
