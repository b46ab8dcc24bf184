//! HTTP for everybody: `/v1`, described by `docs/openapi.json`.
//!
//! **Guarantee:** what a client of this front end does to its connection (sends slowly, takes
//! slowly, sends too much, goes away) costs the others nothing but its share of the limits.

pub mod observed;

mod answer;
mod auth;
mod body;
mod kv;
mod leases;
mod request;
mod rooms;
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

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch as flag;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use self::observed::Observer;
use self::rooms::{Place, Rooms};
use self::service::respond;
use self::stall::Stalling;
use crate::gateway::Gateway;
use crate::limits::{
    HANDSHAKE_WAIT_MAX, HEAD_BYTES_MAX, HEAD_FIELDS_MAX, HEAD_WAIT_MAX, STOP_WAIT_MAX,
};
use crate::tls::Certificate;

/// Pause after a connection could not be accepted, which is so while there are no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Serves on `listener` until `stop` ends; then requests under way have a moment to end. `observer` is
/// told of each answer.
///
/// # Errors
/// None of a connection; they concern that connection only.
pub async fn serve(
    gateway: Arc<Gateway>,
    listener: TcpListener,
    certificate: Option<Certificate>,
    observer: Option<Observer>,
    stop: impl Future<Output = ()>,
) {
    let acceptor = certificate.map(Certificate::acceptor);
    let rooms = Rooms::new();
    let mut connections = JoinSet::new();
    let (stopping, stopped) = flag::channel(false);
    let accepting = async {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                Some(_) = connections.join_next() => continue,
            };
            let Ok((stream, address)) = accepted else {
                sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let address = address.ip().to_canonical();
            let caller = Caller {
                gateway: Arc::clone(&gateway),
                address,
                place: Arc::new(rooms.enter(address)),
                observer: observer.clone(),
                stopped: stopped.clone(),
            };
            connections.spawn(take(caller, stream, acceptor.clone()));
        }
    };
    tokio::select! {
        () = accepting => {}
        () = stop => {}
    }
    drop(listener);
    stopping.send_replace(true);
    gateway.stop();
    let all = async { while connections.join_next().await.is_some() {} };
    let _ = timeout(STOP_WAIT_MAX, all).await; // those who linger are cut off
}

/// Who is at the other end of a connection, and whom that concerns.
#[derive(Clone)]
struct Caller {
    gateway: Arc<Gateway>,
    address: IpAddr,
    place: Arc<Place>,
    observer: Option<Observer>,
    stopped: flag::Receiver<bool>,
}

/// Serves one connection, from its handshake to its end.
async fn take(caller: Caller, stream: TcpStream, acceptor: Option<TlsAcceptor>) {
    let _ = stream.set_nodelay(true); // slower without it, no more
    let place = Arc::clone(&caller.place);
    let conversation = async {
        match acceptor {
            None => converse(caller, stream).await,
            Some(acceptor) => {
                if let Ok(Ok(stream)) = timeout(HANDSHAKE_WAIT_MAX, acceptor.accept(stream)).await {
                    converse(caller, stream).await;
                }
            }
        }
    };
    tokio::select! {
        () = conversation => {}
        () = place.lost() => {}
    }
}

async fn converse(caller: Caller, stream: impl AsyncRead + AsyncWrite + Unpin) {
    let mut stopped = caller.stopped.clone();
    let service = service_fn(move |request| respond(caller.clone(), request));
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
