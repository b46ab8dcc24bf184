//! The dialing end: one channel to one server, brought back whenever it breaks.
//!
//! **Guarantee:** it only ever speaks to the holder of the pinned key; it tries again for as long
//! as it lives, with pauses that double up to a bound and are spread at random, so that replicas
//! that restart are not met by everybody at once.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ravelin_model::{ClusterPlan, PublicKey, ReplicaId};
use rustls::ClientConfig;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsConnector;

use super::accept::HandshakeError;
use super::frame::KEEPALIVE;
use super::identity::{client_config, server_name};
use super::rivals::Rivals;
use super::session::{Channel, SecureStream, buffered};
use super::{
    ALPN_CLIENT, ChannelLimits, Counters, EVENTS_MAX, PeerEvent, Priority, Timing, TransportKey,
};

/// What a [`Link`] needs to know.
#[derive(Clone, Debug)]
pub struct LinkConfig {
    /// Our key.
    pub key: TransportKey,
    /// What the events call the server.
    pub server: ReplicaId,
    /// `host:port`, resolved at each attempt.
    pub address: String,
    /// The only key that the server may hold.
    pub server_key: PublicKey,
    /// How much it may hold.
    pub limits: ChannelLimits,
    /// How long anything may take.
    pub timing: Timing,
}

impl LinkConfig {
    /// What it takes to connect to each server of a plan, in its order.
    pub fn to_all(
        key: &TransportKey,
        plan: &ClusterPlan,
        timing: Timing,
    ) -> impl Iterator<Item = Self> {
        (0..).map(ReplicaId).zip(&plan.members).map(move |(server, member)| Self {
            key: key.clone(),
            server,
            address: member.client_address.clone(),
            server_key: member.transport,
            limits: ChannelLimits::LINK,
            timing,
        })
    }
}

/// A client's channel to one server. Dropping it closes the channel.
pub struct Link {
    channel: Arc<Channel>,
    counters: Arc<Counters>,
    _dialing: JoinSet<()>,
}

impl Link {
    /// Starts to connect. All links of a client may share one queue of events: make it with
    /// [`Link::events`].
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn start(config: LinkConfig, events: mpsc::Sender<PeerEvent>) -> Self {
        let counters = Arc::new(Counters::default());
        let channel =
            Arc::new(Channel::new(config.limits, config.timing, None, Arc::clone(&counters)));
        let line = Line {
            id: config.server,
            channel: Arc::clone(&channel),
            events,
            timing: config.timing,
            counters: Arc::clone(&counters),
        };
        let tls = client_config(&config.key, config.server_key, ALPN_CLIENT);
        let mut dialing = JoinSet::new();
        dialing.spawn(line.keep_dialing(config.address, tls));
        Self { channel, counters, _dialing: dialing }
    }

    /// A queue of events of the right length.
    #[must_use]
    pub fn events() -> (mpsc::Sender<PeerEvent>, mpsc::Receiver<PeerEvent>) {
        mpsc::channel(EVENTS_MAX)
    }

    /// Queues a message, never waiting. Full, the queue drops its oldest, and counts it.
    pub fn send(&self, message: Arc<[u8]>) {
        self.channel.push(Priority::Protocol, message);
    }

    /// What happened so far.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }
}

/// The two ends of a channel to a replica have this in common.
pub(super) struct Line {
    pub(super) id: ReplicaId,
    pub(super) channel: Arc<Channel>,
    pub(super) events: mpsc::Sender<PeerEvent>,
    pub(super) timing: Timing,
    pub(super) counters: Arc<Counters>,
}

impl Line {
    /// Connects, carries, and connects again, until nobody takes the events any more.
    pub(super) async fn keep_dialing(self, address: String, tls: Arc<ClientConfig>) {
        let mut backoff = Backoff::new(self.timing);
        while !self.events.is_closed() {
            let began = Instant::now();
            match dial(&address, &tls, self.timing.handshake_max).await {
                Ok(stream) => {
                    self.counters.connected.add(1);
                    self.carry(stream, std::future::pending::<Option<SecureStream>>()).await;
                    if began.elapsed() >= self.timing.backoff_max {
                        backoff = Backoff::new(self.timing); // it worked, and not only just
                    }
                }
                Err(error) => error.count(&self.counters),
            }
            sleep(backoff.pause()).await;
        }
    }

    /// Carries connections that somebody else accepts, a new one in place of the old.
    pub(super) async fn keep_accepting(self, mut accepted: mpsc::Receiver<SecureStream>) {
        let mut rivals = Rivals::default();
        let mut next = accepted.recv().await;
        while let Some(stream) = next {
            let older = address_of(&stream);
            next = match self.carry(stream, accepted.recv()).await {
                Some(newer) => {
                    if self.channel.is_alive() {
                        self.displaced(&mut rivals, older, address_of(&newer)).await;
                    }
                    Some(newer)
                }
                None => accepted.recv().await,
            };
        }
    }

    /// A connection took the place of a live one.
    async fn displaced(
        &self,
        rivals: &mut Rivals,
        older: io::Result<SocketAddr>,
        newer: io::Result<SocketAddr>,
    ) {
        let (Ok(older), Ok(newer)) = (older, newer) else { return }; // it has gone already
        if let Some(addresses) = rivals.displace(Instant::now(), older, newer) {
            // An error means that nobody listens, which the session and the caller notice.
            let _ = self.events.send(PeerEvent::KeyShared(self.id, addresses)).await;
        }
    }

    /// Carries one connection until it ends or something comes to take its place.
    async fn carry(
        &self,
        stream: SecureStream,
        newer: impl Future<Output = Option<SecureStream>>,
    ) -> Option<SecureStream> {
        let from = self.id;
        // An error means that nobody listens, which the session and the caller notice.
        let _ = self.events.send(PeerEvent::Connected(from)).await;
        let event = |bytes| PeerEvent::Frame { from, bytes };
        let newer = tokio::select! {
            end = self.channel.run(stream, &self.events, event) => {
                let end = &end as &dyn std::error::Error;
                tracing::info!(replica = from.0, end, "connection to a replica ended");
                None
            }
            newer = newer => newer,
        };
        let _ = self.events.send(PeerEvent::Disconnected(from)).await;
        newer
    }
}

/// Where the other end is.
fn address_of(stream: &SecureStream) -> io::Result<SocketAddr> {
    stream.get_ref().0.get_ref().peer_addr()
}

/// Connects once, and says hello: the stream that comes out was welcomed by the other end.
pub(super) async fn dial(
    address: &str,
    tls: &Arc<ClientConfig>,
    handshake_max: Duration,
) -> Result<SecureStream, HandshakeError> {
    let attempt = async {
        let stream = TcpStream::connect(address).await.map_err(HandshakeError::Unreachable)?;
        let stream = buffered(stream)?;
        let stream = TlsConnector::from(Arc::clone(tls)).connect(server_name(), stream).await?;
        let mut stream = SecureStream::from(stream);
        let agreed = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
        if agreed.as_ref() != tls.alpn_protocols.first() {
            return Err(HandshakeError::WrongProtocol);
        }
        match stream.read_u32_le().await? {
            KEEPALIVE => Ok(stream),
            _ => Err(HandshakeError::WrongProtocol),
        }
    };
    timeout(handshake_max, attempt).await.unwrap_or(Err(HandshakeError::Timeout))
}

/// Pauses between attempts: doubling, bounded, spread over their second half.
struct Backoff {
    next: Duration,
    max: Duration,
}

impl Backoff {
    fn new(timing: Timing) -> Self {
        Self { next: timing.backoff_min, max: timing.backoff_max }
    }

    fn pause(&mut self) -> Duration {
        let full = self.next.min(self.max);
        self.next = full.saturating_mul(2);
        // The hasher's random keys are luck enough for a pause.
        let luck = RandomState::new().build_hasher().finish() % 1024;
        full / 2 + (full / 2).mul_f64(luck as f64 / 1024.0)
    }
}
