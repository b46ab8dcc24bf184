//! Channels from clients: anybody with a key may come, within limits, and is told apart by it.
//!
//! **Guarantee:** of each connection there is at most one `Opened`, then its frames, then one
//! `Closed`. One client that floods, does not read, or says nothing costs its own connection and its
//! own share of memory; one address or key, a bounded number of them. Whoever comes is a *stranger*
//! until the caller says that its key is enrolled ([`Guests::set_enrolled`]): strangers have places of
//! their own, in which they displace each other and nobody else, so that no number of unknown keys
//! keeps an enrolled client out. What a key may do is judged elsewhere: whoever has no business here
//! is to be [closed](ClientListener::close).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ravelin_model::PublicKey;
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;

use super::accept::{Gate, HANDSHAKES_PER_SECOND_MAX, HandshakeLimits, Reception};
use super::crowd::{Crowd, Full, Ticket};
use super::frame::Received;
use super::identity::{Accepted, server_config};
use super::session::{Channel, SecureStream};
use super::{
    ALPN_CLIENT, ChannelLimits, Counter, Counters, EVENTS_MAX, Priority, Timing, TransportKey,
};

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

/// How many clients, and how patient with them. Of IPv6 the first 64 bits are an address, since one
/// host can have all the rest. Loopback addresses have no limit but those in all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientLimits {
    /// Connections of enrolled clients in all. Beyond it, a key that would have fewer than another
    /// displaces that one's oldest.
    pub connections_max: usize,
    /// Connections of enrolled clients from one address.
    pub per_address_max: usize,
    /// Connections of one enrolled key.
    pub per_key_max: usize,
    /// Connections of strangers in all. Beyond it, the oldest of the address with the most goes.
    pub strangers_max: usize,
    /// Connections of strangers from one address. Beyond it, its oldest goes.
    pub strangers_per_address_max: usize,
    /// Handshakes under way at once.
    pub handshakes: HandshakeLimits,
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
            strangers_max: 64,
            strangers_per_address_max: 8,
            handshakes: HandshakeLimits {
                total_max: 256,
                per_address_max: 32,
                per_second_max: HANDSHAKES_PER_SECOND_MAX,
            },
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
            strangers: Crowd::new(config.limits.strangers_max),
            by_key: Crowd::new(config.limits.connections_max),
            by_site: Crowd::new(usize::MAX), // as many as keys have places
            open: Mutex::default(),
            opened: AtomicU64::new(0),
        });
        let gate = Gate {
            listener: config.listener,
            tls: server_config(&config.key, Accepted::AnyKey, ALPN_CLIENT),
            handshakes: config.limits.handshakes,
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
        let Some(channel) = self.lobby.channel(connection) else { return };
        if !channel.push(Priority::Protocol, message) {
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

    /// Reads nothing from a connection for so long; what was read of it before still comes.
    pub fn rest(&self, connection: ConnectionId, time: Duration) {
        if let Some(channel) = self.lobby.channel(connection) {
            channel.rest(time);
        }
    }

    /// The list by which the caller tells strangers from enrolled clients.
    #[must_use]
    pub fn guests(&self) -> Guests {
        Guests(Arc::clone(&self.lobby))
    }

    /// What happened so far.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.lobby.counters
    }
}

/// Who of those connected is enrolled.
#[derive(Clone)]
pub struct Guests(Arc<Lobby>);

impl Guests {
    /// Says whether the client of a connection is enrolled, as often as that is found out. An enrolled
    /// client that is one too many is closed.
    pub fn set_enrolled(&self, connection: ConnectionId, is_enrolled: bool) {
        let lobby = &self.0;
        let mut open = lobby.open();
        let Some(guest) = open.get(&connection) else { return };
        let mut place = lock(&guest.place);
        if matches!(*place, Place::Enrolled { .. }) == is_enrolled {
            return;
        }
        let (key, site) = (guest.key, guest.site);
        match lobby.place(key, site, is_enrolled, &guest.close) {
            Ok(other) => *place = other,
            Err(refused) => {
                refused.add(1);
                drop(place);
                if let Some(guest) = open.remove(&connection) {
                    guest.close.notify_one();
                }
            }
        }
    }
}

struct Open {
    key: PublicKey,
    site: IpAddr,
    channel: Arc<Channel>,
    close: Arc<Notify>,
    place: Arc<Mutex<Place>>,
}

/// What one connection takes of the limits, given back on drop.
enum Place {
    Stranger { _ticket: Ticket<IpAddr> },
    Enrolled { _of_key: Ticket<PublicKey>, _of_site: Ticket<IpAddr> },
}

/// Where clients are let in, seated and served.
struct Lobby {
    limits: ClientLimits,
    timing: Timing,
    events: mpsc::Sender<ClientEvent>,
    counters: Arc<Counters>,
    strangers: Crowd<IpAddr>,
    by_key: Crowd<PublicKey>,
    by_site: Crowd<IpAddr>,
    open: Mutex<BTreeMap<ConnectionId, Open>>,
    opened: AtomicU64,
}

impl Lobby {
    fn open(&self) -> MutexGuard<'_, BTreeMap<ConnectionId, Open>> {
        lock(&self.open)
    }

    fn channel(&self, connection: ConnectionId) -> Option<Arc<Channel>> {
        self.open().get(&connection).map(|open| Arc::clone(&open.channel))
    }

    /// A place for a connection, or the counter of those refused for the same reason.
    fn place(
        &self,
        key: PublicKey,
        site: IpAddr,
        is_enrolled: bool,
        close: &Arc<Notify>,
    ) -> Result<Place, &Counter> {
        let limits = &self.limits;
        let of_site = |most, all| if site.is_loopback() { all } else { most };
        if !is_enrolled {
            let most = of_site(limits.strangers_per_address_max, limits.strangers_max);
            let ticket = self.strangers.push_in(site, most, Arc::clone(close));
            return Ok(Place::Stranger { _ticket: ticket });
        }
        // First what displaces nobody.
        let most = of_site(limits.per_address_max, usize::MAX);
        let Ok(of_site) = self.by_site.ask_in(site, most, Arc::clone(close)) else {
            return Err(&self.counters.refused_address);
        };
        match self.by_key.ask_in(key, limits.per_key_max, Arc::clone(close)) {
            Ok(of_key) => Ok(Place::Enrolled { _of_key: of_key, _of_site: of_site }),
            Err(Full::Group) => Err(&self.counters.refused_key),
            Err(Full::Total) => Err(&self.counters.refused_total),
        }
    }
}

impl Reception for Lobby {
    async fn serve(&self, stream: SecureStream, key: PublicKey, site: IpAddr) {
        let connection = ConnectionId(self.opened.fetch_add(1, Ordering::Relaxed));
        let (limits, idle_max) = (self.limits.channel, Some(self.limits.idle_max));
        let counters = Arc::clone(&self.counters);
        let channel = Arc::new(Channel::new(limits, self.timing, idle_max, counters));
        let close = Arc::new(Notify::new());
        let Ok(place) = self.place(key, site, false, &close) else { return };
        let place = Arc::new(Mutex::new(place));
        let open = Open {
            key,
            site,
            channel: Arc::clone(&channel),
            close: Arc::clone(&close),
            place: Arc::clone(&place),
        };
        self.open().insert(connection, open);
        tokio::select! {
            // An error means that nobody listens, which the session notices.
            _ = self.events.send(ClientEvent::Opened { connection, key }) => {}
            () = close.notified() => {
                // Nobody has been told of it, so its end is no news either.
                self.open().remove(&connection);
                return self.counters.closed_displaced.add(1);
            }
        }
        let event = |bytes| ClientEvent::Frame { connection, bytes };
        let is_asked_to_leave = tokio::select! {
            end = channel.run(stream, &self.events, event) => {
                let end = &end as &dyn std::error::Error;
                tracing::debug!(connection = connection.0, end, "connection of a client ended");
                false
            }
            () = close.notified() => true,
        };
        // Whom the caller closes is no longer in the list; whom another displaces is.
        if self.open().remove(&connection).is_some() && is_asked_to_leave {
            self.counters.closed_displaced.add(1);
        }
        let _ = self.events.send(ClientEvent::Closed { connection }).await;
        drop(place); // only now: connections that nobody has been told about hold their places
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lobby(limits: ClientLimits) -> Lobby {
        Lobby {
            limits,
            timing: Timing::default(),
            events: mpsc::channel(1).0,
            counters: Arc::default(),
            strangers: Crowd::new(limits.strangers_max),
            by_key: Crowd::new(limits.connections_max),
            by_site: Crowd::new(usize::MAX),
            open: Mutex::default(),
            opened: AtomicU64::new(0),
        }
    }

    /// How many of 100 enrolled keys get a place from this address.
    fn placed(address: &str, is_enrolled: bool) -> usize {
        let limits = ClientLimits {
            connections_max: 60,
            per_address_max: 10,
            strangers_max: 40,
            strangers_per_address_max: 5,
            ..ClientLimits::default()
        };
        let lobby = lobby(limits);
        let site = super::super::accept::site(address.parse().unwrap());
        let mut kept = Vec::new();
        for seed in 0..100 {
            let leave = Arc::new(Notify::new());
            if let Ok(place) = lobby.place(PublicKey([seed; 32]), site, is_enrolled, &leave) {
                kept.push((place, leave));
            }
        }
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        kept.retain(|(_, leave)| std::pin::pin!(leave.notified()).poll(&mut context).is_pending());
        kept.len()
    }

    #[test]
    fn one_address_has_few_places_and_loopback_all() {
        for (address, enrolled, strangers) in
            [("192.0.2.1", 10, 5), ("2001:db8::1", 10, 5), ("127.0.0.1", 60, 40), ("::1", 60, 40)]
        {
            assert_eq!(placed(address, true), enrolled, "{address}");
            assert_eq!(placed(address, false), strangers, "{address}");
        }
    }

    #[test]
    fn a_place_that_is_refused_leaves_nothing_behind() {
        let limits = ClientLimits { per_address_max: 2, per_key_max: 1, ..ClientLimits::default() };
        let lobby = lobby(limits);
        let site = "192.0.2.1".parse().unwrap();
        let seat = |seed| lobby.place(PublicKey([seed; 32]), site, true, &Arc::default());
        let first = seat(1).expect("free");
        for _ in 0..100 {
            assert!(seat(1).is_err(), "the key has one");
        }
        let second = seat(2).expect("the address has another");
        for _ in 0..100 {
            assert!(seat(3).is_err(), "the address has two");
        }
        drop((first, second));
        assert!(seat(1).is_ok() && seat(3).is_ok());
    }
}
