//! Channels from clients: anybody with a key may come, within limits, and is told apart by it.
//!
//! **Guarantee:** of each connection there is one `Opened`, then its frames, then one `Closed`. One
//! client that floods, does not read, or says nothing costs its own connection and its own share of
//! memory; one address or key, a bounded number of them. What a key may do is judged elsewhere:
//! whoever has no business here is to be [closed](ClientListener::close).

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ravelin_model::PublicKey;
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;

use super::accept::{Gate, Reception};
use super::frame::Received;
use super::identity::{Accepted, server_config};
use super::session::{Channel, SecureStream};
use super::{ALPN_CLIENT, ChannelLimits, Counters, EVENTS_MAX, Priority, Timing, TransportKey};

/// One connection of one client; never used twice by a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// What happened on a client's connection.
#[derive(Debug)]
pub enum ClientEvent {
    /// Somebody came who holds this key.
    Opened {
        /// The connection.
        connection: ConnectionId,
        /// Whose it is.
        key: PublicKey,
    },
    /// A message arrived.
    Frame {
        /// The connection.
        connection: ConnectionId,
        /// What it says. Counts against the connection's share of memory until dropped.
        bytes: Received,
    },
    /// The connection is over; its id means nothing any more.
    Closed {
        /// The connection.
        connection: ConnectionId,
    },
}

/// How many clients, and how patient with them.
#[derive(Clone, Copy, Debug)]
pub struct ClientLimits {
    /// Connections in all.
    pub connections_max: usize,
    /// Connections of one address, those in their handshake included. Of IPv6, the first 64 bits
    /// are the address, since one host can have all the rest.
    pub per_address_max: usize,
    /// Connections of one key.
    pub per_key_max: usize,
    /// Handshakes under way at once.
    pub handshakes_max: usize,
    /// Time without a whole message after which a connection is closed.
    pub idle_max: Duration,
    /// How much one connection may hold.
    pub channel: ChannelLimits,
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self {
            connections_max: 512,
            per_address_max: 64,
            per_key_max: 16,
            handshakes_max: 256,
            idle_max: Duration::from_secs(300),
            channel: ChannelLimits::CLIENT,
        }
    }
}

/// What a [`ClientListener`] needs to know.
#[derive(Debug)]
pub struct ClientConfig {
    /// Our key.
    pub key: TransportKey,
    /// Where clients reach us.
    pub listener: TcpListener,
    /// How many clients, and how patient with them.
    pub limits: ClientLimits,
    /// How long anything may take.
    pub timing: Timing,
}

/// The channels from clients. Dropping it closes them and the listener.
pub struct ClientListener {
    lobby: Arc<Lobby>,
    _accepting: JoinSet<()>,
}

impl ClientListener {
    /// Starts to listen.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn start(config: ClientConfig) -> (Self, mpsc::Receiver<ClientEvent>) {
        let (events, received) = mpsc::channel(EVENTS_MAX);
        let counters = Arc::new(Counters::default());
        let lobby = Arc::new(Lobby {
            limits: config.limits,
            timing: config.timing,
            events,
            counters: Arc::clone(&counters),
            places: Arc::default(),
            open: Mutex::default(),
            opened: AtomicU64::new(0),
        });
        let gate = Gate {
            listener: config.listener,
            tls: server_config(&config.key, Accepted::AnyKey, ALPN_CLIENT),
            handshakes_max: config.limits.handshakes_max,
            handshake_max: config.timing.handshake_max,
            counters,
            reception: Arc::clone(&lobby),
        };
        let mut accepting = JoinSet::new();
        accepting.spawn(gate.run());
        (Self { lobby, _accepting: accepting }, received)
    }

    /// Queues a message, never waiting. Full, the connection is closed and counted: who does not
    /// read its answers asks again. A message to a closed connection is dropped.
    pub fn send(&self, connection: ConnectionId, message: Arc<[u8]>) {
        let Some(open) = self.lobby.open().get(&connection).cloned() else { return };
        if !open.channel.push(Priority::Protocol, message) {
            self.lobby.counters.closed_slow_reader.add(1);
            self.close(connection);
        }
    }

    /// Closes a connection at once; what is queued for it is lost.
    pub fn close(&self, connection: ConnectionId) {
        if let Some(open) = self.lobby.open().remove(&connection) {
            open.close.notify_one();
        }
    }

    /// What happened so far.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.lobby.counters
    }
}

#[derive(Clone)]
struct Open {
    channel: Arc<Channel>,
    close: Arc<Notify>,
}

/// Where clients are let in, seated and served.
struct Lobby {
    limits: ClientLimits,
    timing: Timing,
    events: mpsc::Sender<ClientEvent>,
    counters: Arc<Counters>,
    places: Arc<Mutex<Places>>,
    open: Mutex<BTreeMap<ConnectionId, Open>>,
    opened: AtomicU64,
}

impl Lobby {
    fn open(&self) -> MutexGuard<'_, BTreeMap<ConnectionId, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reception for Lobby {
    type Admission = Place;

    fn admit(&self, from: IpAddr) -> Option<Place> {
        let place = Place::of_address(&self.places, site(from), self.limits.per_address_max);
        if place.is_none() {
            self.counters.refused_address.add(1);
        }
        place
    }

    fn welcome(&self, place: &mut Place, key: PublicKey) -> bool {
        let refused = match place.take_seat(key, &self.limits) {
            Ok(()) => return true,
            Err(Full::Key) => &self.counters.refused_key,
            Err(Full::Total) => &self.counters.refused_total,
        };
        refused.add(1);
        false
    }

    async fn serve(&self, stream: SecureStream, key: PublicKey, place: Place) {
        let connection = ConnectionId(self.opened.fetch_add(1, Ordering::Relaxed));
        let (limits, idle_max) = (self.limits.channel, Some(self.limits.idle_max));
        let counters = Arc::clone(&self.counters);
        let channel = Arc::new(Channel::new(limits, self.timing, idle_max, counters));
        let close = Arc::new(Notify::new());
        let open = Open { channel: Arc::clone(&channel), close: Arc::clone(&close) };
        self.open().insert(connection, open);
        // An error means that nobody listens, which the session notices.
        let _ = self.events.send(ClientEvent::Opened { connection, key }).await;
        let event = |bytes| ClientEvent::Frame { connection, bytes };
        tokio::select! {
            end = channel.run(stream, &self.events, event) => {
                let end = &end as &dyn std::error::Error;
                tracing::debug!(connection = connection.0, end, "connection of a client ended");
            }
            () = close.notified() => {}
        }
        self.open().remove(&connection);
        let _ = self.events.send(ClientEvent::Closed { connection }).await;
        drop(place); // only now: connections that nobody has been told about hold their places
    }
}

/// The part of an address that costs something to have.
pub(super) fn site(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)))
        }
    }
}

#[derive(Default)]
struct Places {
    by_site: BTreeMap<IpAddr, usize>,
    by_key: BTreeMap<PublicKey, usize>,
    seated: usize,
}

enum Full {
    Key,
    Total,
}

/// What one connection takes of the limits, given back on drop.
struct Place {
    places: Arc<Mutex<Places>>,
    site: IpAddr,
    key: Option<PublicKey>,
}

impl Place {
    fn of_address(places: &Arc<Mutex<Places>>, site: IpAddr, max: usize) -> Option<Self> {
        let mut taken = lock(places);
        let of_site = taken.by_site.get(&site).copied().unwrap_or(0);
        if of_site >= max {
            return None;
        }
        taken.by_site.insert(site, of_site + 1);
        drop(taken);
        Some(Self { places: Arc::clone(places), site, key: None })
    }

    fn take_seat(&mut self, key: PublicKey, limits: &ClientLimits) -> Result<(), Full> {
        let mut taken = lock(&self.places);
        let of_key = taken.by_key.get(&key).copied().unwrap_or(0);
        if taken.seated >= limits.connections_max {
            return Err(Full::Total);
        }
        if of_key >= limits.per_key_max {
            return Err(Full::Key);
        }
        taken.seated += 1;
        taken.by_key.insert(key, of_key + 1);
        drop(taken);
        self.key = Some(key);
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = lock(&self.places);
        give_back(&mut taken.by_site, &self.site);
        if let Some(key) = &self.key {
            give_back(&mut taken.by_key, key);
            taken.seated -= 1;
        }
    }
}

fn give_back<K: Ord>(counts: &mut BTreeMap<K, usize>, of: &K) {
    if let Some(count) = counts.get_mut(of) {
        *count -= 1;
        if *count == 0 {
            counts.remove(of);
        }
    }
}

fn lock(places: &Mutex<Places>) -> MutexGuard<'_, Places> {
    places.lock().unwrap_or_else(PoisonError::into_inner)
}
