#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics is a test that fails"
)]

mod ask;
mod clients;
mod corpus;
mod parts;
mod peers;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ravelin_model::{PublicKey, ReplicaId};
use rustls::ClientConfig as TlsConfig;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::connect::{Link, LinkConfig};
use super::frame::KEEPALIVE;
use super::identity::{client_config, server_name};
use super::{ALPN_CLIENT, ChannelLimits, Counter, PeerEvent, Timing, TransportKey};

/// Short where tests wait for it, long where only a broken test would.
const TIMING: Timing = Timing {
    handshake_max: Duration::from_secs(5),
    keepalive_every: Duration::from_millis(100),
    silence_max: Duration::from_secs(5),
    stall_max: Duration::from_secs(5),
    backoff_min: Duration::from_millis(5),
    backoff_max: Duration::from_millis(50),
};

fn key(seed: u8) -> TransportKey {
    TransportKey::from_seed(&[seed; 32])
}

fn message(byte: u8, length: usize) -> Arc<[u8]> {
    vec![byte; length].into()
}

/// Waits, but not for ever.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("this takes too long")
}

async fn until(mut happened: impl FnMut() -> bool) {
    soon(async {
        while !happened() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

async fn until_counted(counter: &Counter, count: u64) {
    until(|| counter.value() >= count).await;
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// What an intruder's own program would do to get in.
async fn dial(address: SocketAddr, tls: Arc<TlsConfig>) -> io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    let mut stream = TlsConnector::from(tls).connect(server_name(), stream).await?;
    assert_eq!(stream.read_u32_le().await?, KEEPALIVE);
    Ok(stream)
}

/// Reads until the other end hangs up.
async fn hung_up(stream: &mut (impl AsyncRead + Unpin)) {
    let mut sink = Vec::new();
    let _ = soon(stream.read_to_end(&mut sink)).await; // with or without a farewell
}

fn link(
    ours: &TransportKey,
    server_key: PublicKey,
    address: SocketAddr,
) -> (Link, mpsc::Receiver<PeerEvent>) {
    let (events, received) = Link::events();
    let config = LinkConfig {
        key: ours.clone(),
        server: ReplicaId(0),
        address: address.to_string(),
        server_key,
        limits: ChannelLimits::LINK,
        timing: TIMING,
    };
    (Link::start(config, events), received)
}

fn client_tls(seed: u8, server: &TransportKey) -> Arc<TlsConfig> {
    client_config(&key(seed), server.public_key(), ALPN_CLIENT)
}

async fn next_frame(events: &mut mpsc::Receiver<PeerEvent>) -> (ReplicaId, Vec<u8>) {
    loop {
        match soon(events.recv()).await.unwrap() {
            PeerEvent::Frame { from, bytes } => return (from, bytes.into_bytes()),
            PeerEvent::Connected(_) | PeerEvent::Disconnected(_) | PeerEvent::KeyShared(..) => {}
        }
    }
}

async fn connected(events: &mut mpsc::Receiver<PeerEvent>) {
    let event = soon(events.recv()).await.unwrap();
    assert!(matches!(event, PeerEvent::Connected(_)), "{event:?}");
}

async fn disconnected(events: &mut mpsc::Receiver<PeerEvent>) {
    let event = soon(events.recv()).await.unwrap();
    assert!(matches!(event, PeerEvent::Disconnected(_)), "{event:?}");
}
