//! The accepting end: listens, admits, authenticates, and hands over what passed.
//!
//! **Guarantee:** a stranger holds at most one of a bounded number of handshakes, for a bounded
//! time. When all are taken the oldest gives way to the newest: an honest handshake is over in two
//! round trips, so those that wait longest are the least likely to be honest, and connections that
//! say nothing cannot keep others out.

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use ravelin_model::PublicKey;
use rustls::{CertificateError, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::Counters;
use super::frame::write_frames;
use super::identity::key_of_other_end;
use super::session::{SecureStream, buffered};

/// Pause after the system refused to accept, for want of descriptors for example.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// What becomes of connections.
pub(super) trait Reception: Send + Sync + 'static {
    /// What a connection holds from its admission to its end.
    type Admission: Send;

    /// Whether to begin a handshake with this address.
    fn admit(&self, from: IpAddr) -> Option<Self::Admission>;

    /// Whether this key is welcome once it is proven.
    fn welcome(&self, admission: &mut Self::Admission, key: PublicKey) -> bool;

    /// Serves an authenticated connection to its end.
    fn serve(
        &self,
        stream: SecureStream,
        key: PublicKey,
        admission: Self::Admission,
    ) -> impl Future<Output = ()> + Send;
}

/// The accepting end of one listener.
pub(super) struct Gate<R> {
    pub(super) listener: TcpListener,
    pub(super) tls: Arc<ServerConfig>,
    pub(super) handshakes_max: usize,
    pub(super) handshake_max: Duration,
    pub(super) counters: Arc<Counters>,
    pub(super) reception: Arc<R>,
}

impl<R: Reception> Gate<R> {
    /// Accepts until dropped, and then every connection accepted ends as well.
    pub(super) async fn run(self) {
        let mut connections = JoinSet::new();
        let mut handshakes = Handshakes::default();
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                Some(_) = connections.join_next() => continue,
            };
            match accepted {
                Ok((stream, from)) => {
                    let Some(admission) = self.reception.admit(from.ip()) else { continue };
                    let evict = handshakes.begin(self.handshakes_max);
                    connections.spawn(self.one_connection(stream, admission, evict));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            }
        }
    }

    fn one_connection(
        &self,
        stream: TcpStream,
        mut admission: R::Admission,
        evict: Arc<Notify>,
    ) -> impl Future<Output = ()> + Send + use<R> {
        let acceptor = TlsAcceptor::from(Arc::clone(&self.tls));
        let (reception, counters) = (Arc::clone(&self.reception), Arc::clone(&self.counters));
        let handshake_max = self.handshake_max;
        async move {
            let outcome = tokio::select! {
                outcome = timeout(handshake_max, handshake(acceptor, stream)) => {
                    outcome.unwrap_or(Err(HandshakeError::Timeout))
                }
                () = evict.notified() => Err(HandshakeError::Evicted),
            };
            drop(evict); // from here on it counts as a connection
            match outcome {
                Ok((mut stream, key)) => {
                    let welcomed = reception.welcome(&mut admission, key)
                        && greet(&mut stream, handshake_max).await;
                    if welcomed {
                        counters.connected.add(1);
                        reception.serve(stream, key, admission).await;
                    }
                }
                Err(error) => error.count(&counters),
            }
        }
    }
}

async fn handshake(
    acceptor: TlsAcceptor,
    stream: TcpStream,
) -> Result<(SecureStream, PublicKey), HandshakeError> {
    let expected = acceptor.config().alpn_protocols.first().cloned();
    let stream = SecureStream::from(acceptor.accept(buffered(stream)?).await?);
    let (_, connection) = stream.get_ref();
    if connection.alpn_protocol() != expected.as_deref() {
        return Err(HandshakeError::WrongProtocol);
    }
    let key = key_of_other_end(connection).ok_or(HandshakeError::WrongKey)?;
    Ok((stream, key))
}

/// Tells the dialer that it was let in.
async fn greet(stream: &mut SecureStream, patience: Duration) -> bool {
    matches!(timeout(patience, write_frames(stream, &[])).await, Ok(Ok(())))
}

/// Handshakes under way, oldest first.
#[derive(Default)]
struct Handshakes(VecDeque<Weak<Notify>>);

impl Handshakes {
    /// Makes room for one more, and returns what it listens to.
    fn begin(&mut self, handshakes_max: usize) -> Arc<Notify> {
        self.0.retain(|handshake| handshake.strong_count() > 0);
        while self.0.len() >= handshakes_max.max(1) {
            let Some(oldest) = self.0.pop_front() else { break };
            if let Some(evict) = oldest.upgrade() {
                evict.notify_one();
            }
        }
        let evict = Arc::new(Notify::new());
        self.0.push_back(Arc::downgrade(&evict));
        evict
    }
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
