//! HTTP for everybody: `/v1`, described by `docs/openapi.json`.
//!
//! **Guarantee:** what a client of this front end does to its connection (sends slowly, takes
//! slowly, sends too much, goes away) costs the others nothing but its share of the limits.

mod answer;
mod auth;
mod body;
mod kv;
mod leases;
mod request;
mod routes;
mod service;
mod shapes;
mod spelling;
mod stall;
mod status;
mod transactions;
mod watch;

#[cfg(test)]
mod tests;

use std::io::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch as flag};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use self::service::respond;
use self::stall::Stalling;
use crate::gateway::Gateway;
use crate::limits::{
    CONNECTIONS_MAX, HANDSHAKE_WAIT_MAX, HEAD_BYTES_MAX, HEAD_FIELDS_MAX, HEAD_WAIT_MAX,
    STOP_WAIT_MAX,
};
use crate::tls::Certificate;

/// Pause after a connection could not be accepted, which is so while there are no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// What one connection too many is told.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\n\
    content-length: 0\r\nconnection: close\r\n\r\n";

/// Serves on `listener` until `stop` ends; then requests under way have a moment to end.
///
/// # Errors
/// None of a connection; they concern that connection only.
pub async fn serve(
    gateway: Arc<Gateway>,
    listener: TcpListener,
    certificate: Option<Certificate>,
    stop: impl Future<Output = ()>,
) {
    let acceptor = certificate.map(Certificate::acceptor);
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let (stopping, stopped) = flag::channel(false);
    let accepting = async {
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                sleep(ACCEPT_PAUSE).await;
                continue;
            };
            match Arc::clone(&room).try_acquire_owned() {
                Ok(permit) => {
                    let (gateway, stopped) = (Arc::clone(&gateway), stopped.clone());
                    tokio::spawn(take(gateway, stream, acceptor.clone(), (permit, stopped)));
                }
                Err(_) => refuse(stream),
            }
        }
    };
    tokio::select! {
        () = accepting => {}
        () = stop => {}
    }
    drop(listener);
    stopping.send_replace(true);
    gateway.stop();
    let all = u32::try_from(CONNECTIONS_MAX).unwrap_or(u32::MAX);
    let _ = timeout(STOP_WAIT_MAX, room.acquire_many(all)).await; // those who linger are cut off
}

/// Says that there is no room, as far as that fits what the system buffers.
fn refuse(stream: TcpStream) {
    if let Ok(mut stream) = stream.into_std() {
        let _ = stream.write(FULL); // through TLS it says nothing, which is no worse than silence
    }
}

/// Serves one connection, from its handshake to its end.
async fn take(
    gateway: Arc<Gateway>,
    stream: TcpStream,
    acceptor: Option<TlsAcceptor>,
    (permit, stopped): (OwnedSemaphorePermit, flag::Receiver<bool>),
) {
    let _ = stream.set_nodelay(true); // slower without it, no more
    match acceptor {
        None => converse(gateway, stream, stopped).await,
        Some(acceptor) => {
            if let Ok(Ok(stream)) = timeout(HANDSHAKE_WAIT_MAX, acceptor.accept(stream)).await {
                converse(gateway, stream, stopped).await;
            }
        }
    }
    drop(permit);
}

async fn converse(
    gateway: Arc<Gateway>,
    stream: impl AsyncRead + AsyncWrite + Unpin,
    mut stopped: flag::Receiver<bool>,
) {
    let service = service_fn(move |request| respond(Arc::clone(&gateway), request));
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WAIT_MAX)
        .max_headers(HEAD_FIELDS_MAX)
        .max_buf_size(HEAD_BYTES_MAX);
    let connection = builder.serve_connection(TokioIo::new(Stalling::new(stream)), service);
    let mut connection = std::pin::pin!(connection);
    // What a connection fails of concerns its client, who knows.
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = stopped.wait_for(|stopped| *stopped) => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

/// Listens, and says where.
///
/// # Errors
/// Those of the system: the address is taken, or not ours.
pub async fn listen(address: std::net::SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}
