//! The accepting end: listens, authenticates, and hands over what passed.
//!
//! **Guarantee:** a stranger holds at most one of a bounded number of handshakes, for a bounded
//! time, and all handshakes together cost a bounded part of the processor. When an address has as
//! many as it may have, its oldest gives way to its newest; when all are taken, the oldest of the
//! address that has the most does. An honest handshake is over in two round trips, so those that
//! wait longest are the least likely to be honest, and a flood from few addresses displaces itself.

use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use ravelin_model::PublicKey;
use rustls::{CertificateError, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::Counters;
use super::crowd::{Crowd, Ticket};
use super::frame::write_frames;
use super::identity::key_of_other_end;
use super::pace::Pace;
use super::session::{SecureStream, buffered};

/// Pause after the system refused to accept, for want of descriptors for example.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);
/// Handshakes whose work begins in one second at most, at one listener: each costs about 0.2 ms, so
/// strangers get a tenth of a core.
pub const HANDSHAKES_PER_SECOND_MAX: u32 = 500;

/// What becomes of connections.
pub(super) trait Reception: Send + Sync + 'static {
    /// Serves an authenticated connection, which comes from `site`, to its end.
    fn serve(
        &self,
        stream: SecureStream,
        key: PublicKey,
        site: IpAddr,
    ) -> impl Future<Output = ()> + Send;
}

/// How many handshakes may be under way at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandshakeLimits {
    /// In all.
    pub total_max: usize,
    /// From one address; of IPv6, from one /64. Loopback addresses may have all.
    pub per_address_max: usize,
    /// Begun in one second; as many as may be under way are saved up.
    pub per_second_max: u32,
}

/// The accepting end of one listener.
pub(super) struct Gate<R> {
    pub(super) listener: TcpListener,
    pub(super) tls: Arc<ServerConfig>,
    pub(super) handshakes: HandshakeLimits,
    pub(super) handshake_max: Duration,
    pub(super) counters: Arc<Counters>,
    pub(super) reception: Arc<R>,
}

impl<R: Reception> Gate<R> {
    /// Accepts until dropped, and then every connection accepted ends as well.
    pub(super) async fn run(self) {
        let mut connections = JoinSet::new();
        let HandshakeLimits { total_max, per_address_max, per_second_max } = self.handshakes;
        let handshakes = Crowd::new(total_max);
        let saved_max = u32::try_from(total_max).unwrap_or(u32::MAX);
        let pace = Arc::new(Pace::new(per_second_max, saved_max));
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                Some(_) = connections.join_next() => continue,
            };
            match accepted {
                Ok((stream, from)) => {
                    let site = site(from.ip());
                    let most = if site.is_loopback() { total_max } else { per_address_max };
                    let evict = Arc::new(Notify::new());
                    let place = handshakes.push_in(site, most, Arc::clone(&evict));
                    let arrival = Arrival { stream, site, evict, place };
                    connections.spawn(self.one_connection(arrival, Arc::clone(&pace)));
                }
                Err(error) => {
                    tracing::warn!(
                        %error,
                        "cannot accept a connection, and tries again; if it goes on, raise the \
                         limit of open files"
                    );
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            }
        }
    }

    fn one_connection(
        &self,
        arrival: Arrival,
        pace: Arc<Pace>,
    ) -> impl Future<Output = ()> + Send + use<R> {
        let acceptor = TlsAcceptor::from(Arc::clone(&self.tls));
        let (reception, counters) = (Arc::clone(&self.reception), Arc::clone(&self.counters));
        let handshake_max = self.handshake_max;
        async move {
            let Arrival { stream, site, evict, place } = arrival;
            let outcome = tokio::select! {
                outcome = timeout(handshake_max, handshake(acceptor, stream, &pace)) => {
                    outcome.unwrap_or(Err(HandshakeError::Timeout))
                }
                () = evict.notified() => Err(HandshakeError::Evicted),
            };
            drop(place); // from here on it counts as a connection
            match outcome {
                Ok((stream, key)) => {
                    counters.connected.add(1);
                    reception.serve(stream, key, site).await;
                }
                Err(error) => error.count(&counters),
            }
        }
    }
}

/// A connection that has just come, and its place among those in their handshake.
struct Arrival {
    stream: TcpStream,
    site: IpAddr,
    evict: Arc<Notify>,
    place: Ticket<IpAddr>,
}

/// The part of an address that costs something to have: of IPv6, the first half.
#[must_use]
pub fn site(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) if !address.is_loopback() => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)))
        }
        address => address,
    }
}

async fn handshake(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    pace: &Pace,
) -> Result<(SecureStream, PublicKey), HandshakeError> {
    // Who says nothing takes no turn. (Only a byte tells: some systems report more than there is.)
    if stream.peek(&mut [0]).await? == 0 {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    pace.turn().await;
    let expected = acceptor.config().alpn_protocols.first().cloned();
    let mut stream = SecureStream::from(acceptor.accept(buffered(stream)?).await?);
    let (_, connection) = stream.get_ref();
    if connection.alpn_protocol() != expected.as_deref() {
        return Err(HandshakeError::WrongProtocol);
    }
    let key = key_of_other_end(connection).ok_or(HandshakeError::WrongKey)?;
    write_frames(&mut stream, &[]).await?; // tells the dialer that it was let in
    Ok((stream, key))
}

/// Why a connection did not come about.
#[derive(Debug, thiserror::Error)]
pub(super) enum HandshakeError {
    #[error("nobody there")]
    Unreachable(#[source] io::Error),
    #[error("the handshake took too long")]
    Timeout,
    #[error("the handshake gave way to newer ones")]
    Evicted,
    #[error("the other end holds another key")]
    WrongKey,
    #[error("the other end speaks another protocol")]
    WrongProtocol,
    #[error("the handshake failed")]
    Failed(#[source] io::Error),
}

impl From<io::Error> for HandshakeError {
    fn from(error: io::Error) -> Self {
        use rustls::{AlertDescription, Error};
        match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
            Some(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure)) => {
                Self::WrongKey
            }
            Some(
                Error::NoApplicationProtocol
                | Error::AlertReceived(AlertDescription::NoApplicationProtocol),
            ) => Self::WrongProtocol,
            _ => Self::Failed(error),
        }
    }
}

impl HandshakeError {
    pub(super) fn count(&self, counters: &Counters) {
        let counter = match self {
            Self::Unreachable(_) => &counters.unreachable,
            Self::Timeout => &counters.handshake_timeout,
            Self::Evicted => &counters.handshake_evicted,
            Self::WrongKey => &counters.handshake_wrong_key,
            Self::WrongProtocol => &counters.handshake_wrong_protocol,
            Self::Failed(_) => &counters.handshake_failed,
        };
        counter.add(1);
        tracing::debug!(error = self as &dyn std::error::Error, "no connection");
    }
}
