//! Replicas among themselves, over real sockets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ravelin_model::ReplicaId;
use rustls::{ClientConfig as TlsConfig, NamedGroup, ProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_rustls::client::TlsStream;

use super::{
    TIMING, connected, dial, disconnected, hung_up, key, listen, message, next_frame, soon, until,
    until_counted,
};
use crate::transport::frame::KEEPALIVE;
use crate::transport::identity::client_config;
use crate::transport::peers::{Peer, PeerConfig, PeerConfigError, PeerNetwork};
use crate::transport::{
    ALPN_CLIENT, ALPN_PEER, ChannelLimits, PeerEvent, Priority, Received, Timing,
};

const ZERO: ReplicaId = ReplicaId(0);
const ONE: ReplicaId = ReplicaId(1);

type Network = (PeerNetwork, mpsc::Receiver<PeerEvent>);

fn config(me: ReplicaId, listener: TcpListener, other: (ReplicaId, SocketAddr)) -> PeerConfig {
    let (id, address) = other;
    PeerConfig {
        me,
        key: key(me.0 as u8),
        listener,
        peers: vec![Peer { id, address: address.to_string(), key: key(id.0 as u8).public_key() }],
        limits: ChannelLimits::PEER,
        timing: TIMING,
    }
}

fn start(config: PeerConfig) -> Network {
    PeerNetwork::start(config).unwrap()
}

/// Replica 0, whom replica 1 would dial, changed as wanted.
async fn zero(
    change: impl FnOnce(&mut PeerConfig),
) -> (PeerNetwork, mpsc::Receiver<PeerEvent>, SocketAddr) {
    let (listener, address) = listen().await;
    let mut config = config(ZERO, listener, (ONE, address));
    change(&mut config);
    let (network, events) = start(config);
    (network, events, address)
}

/// Replica 1, dialing replica 0 at this address.
async fn one(address: SocketAddr) -> Network {
    start(config(ONE, listen().await.0, (ZERO, address)))
}

/// Replica 1 as its intruder's own program shows it.
fn tls_of_one(alpn: &[u8]) -> Arc<TlsConfig> {
    client_config(&key(1), key(0).public_key(), alpn)
}

#[tokio::test]
async fn messages_pass_both_ways_in_order() {
    let (zero, mut zero_hears, address) = zero(|_| {}).await;
    let (one, mut one_hears) = one(address).await;
    for byte in 0..100 {
        zero.send(ONE, Priority::Protocol, message(byte, 10));
        one.send(ZERO, Priority::Protocol, message(byte, 10));
    }
    for byte in 0..100 {
        assert_eq!(next_frame(&mut one_hears).await, (ZERO, vec![byte; 10]));
        assert_eq!(next_frame(&mut zero_hears).await, (ONE, vec![byte; 10]));
    }
    assert_eq!(zero.counters().frames_in.value(), 100);
    assert_eq!(zero.counters().bytes_in.value(), 1000);
    until_counted(&zero.counters().bytes_out, 1000).await;
}

#[tokio::test]
async fn largest_block_passes() {
    let (_zero, mut zero_hears, address) = zero(|_| {}).await;
    let (one, _one_hears) = one(address).await;
    one.send(ZERO, Priority::Protocol, message(5, 4 << 20));
    one.send(ZERO, Priority::Protocol, message(6, 1));
    assert!(next_frame(&mut zero_hears).await == (ONE, vec![5; 4 << 20]));
    assert_eq!(next_frame(&mut zero_hears).await, (ONE, vec![6]));
}

#[tokio::test]
async fn dialer_with_another_key_is_refused() {
    let (zero, mut zero_hears, address) = zero(|_| {}).await;
    let mut impostor = config(ONE, listen().await.0, (ZERO, address));
    impostor.key = key(99);
    let (impostor, mut impostor_hears) = start(impostor);
    until_counted(&zero.counters().handshake_wrong_key, 2).await;
    assert!(zero_hears.try_recv().is_err() && impostor_hears.try_recv().is_err());
    assert_eq!(impostor.counters().connected.value(), 0);
}

#[tokio::test]
async fn listener_with_another_key_is_refused() {
    let (impostor, mut impostor_hears, address) = zero(|config| config.key = key(99)).await;
    let (one, mut one_hears) = one(address).await;
    until_counted(&one.counters().handshake_wrong_key, 2).await;
    assert!(one_hears.try_recv().is_err() && impostor_hears.try_recv().is_err());
    assert_eq!(impostor.counters().connected.value(), 0);
}

#[tokio::test]
async fn replica_that_should_be_dialed_may_not_dial() {
    let (listener, address) = listen().await;
    let (one, _hears) = start(config(ONE, listener, (ZERO, listen().await.1)));
    let tls = client_config(&key(0), key(1).public_key(), ALPN_PEER);
    assert!(soon(dial(address, tls)).await.is_err());
    until_counted(&one.counters().handshake_wrong_key, 1).await;
}

#[tokio::test]
async fn another_protocol_or_none_is_refused() {
    let (zero, mut zero_hears, address) = zero(|_| {}).await;
    assert!(soon(dial(address, tls_of_one(ALPN_CLIENT))).await.is_err());
    until_counted(&zero.counters().handshake_wrong_protocol, 1).await;
    let mut none = (*tls_of_one(ALPN_PEER)).clone();
    none.alpn_protocols.clear();
    assert!(soon(dial(address, Arc::new(none))).await.is_err());
    until_counted(&zero.counters().handshake_wrong_protocol, 2).await;
    assert!(zero_hears.try_recv().is_err());
}

#[tokio::test]
async fn garbage_is_refused() {
    let (zero, mut zero_hears, address) = zero(|_| {}).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    hung_up(&mut stream).await;
    until_counted(&zero.counters().handshake_failed, 1).await;
    assert!(zero_hears.try_recv().is_err());
}

#[tokio::test]
async fn channel_is_post_quantum_and_tls_1_3() {
    let (_zero, _hears, address) = zero(|_| {}).await;
    let stream = soon(dial(address, tls_of_one(ALPN_PEER))).await.unwrap();
    let connection = stream.get_ref().1;
    assert_eq!(connection.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    let group = connection.negotiated_key_exchange_group().unwrap();
    assert_eq!(group.name(), NamedGroup::X25519MLKEM768);
}

#[tokio::test]
async fn frame_of_a_length_not_allowed_closes_the_channel() {
    let (zero, mut hears, address) = zero(|_| {}).await;
    let too_long = ChannelLimits::PEER.received_bytes_max as u32 + 1;
    for (times, length) in [0, too_long, u32::MAX - 1].into_iter().enumerate() {
        let mut stream = soon(dial(address, tls_of_one(ALPN_PEER))).await.unwrap();
        connected(&mut hears).await;
        stream.write_u32_le(length).await.unwrap();
        stream.flush().await.unwrap();
        hung_up(&mut stream).await;
        disconnected(&mut hears).await;
        assert_eq!(zero.counters().closed_bad_frame.value(), times as u64 + 1);
    }
}

#[tokio::test]
async fn silent_handshakes_end_and_keep_nobody_out() {
    let timing = Timing { handshake_max: Duration::from_secs(1), ..TIMING };
    let (zero, mut zero_hears, address) = zero(|config| config.timing = timing).await;
    let mut loris = Vec::new();
    for _ in 0..100 {
        loris.push(TcpStream::connect(address).await.unwrap());
    }
    let (one, _one_hears) = one(address).await;
    one.send(ZERO, Priority::Protocol, message(1, 1));
    assert_eq!(next_frame(&mut zero_hears).await, (ONE, vec![1]));
    for stream in &mut loris {
        assert_eq!(soon(stream.read(&mut [0])).await.unwrap_or(0), 0, "hung up");
    }
    until_counted(&zero.counters().handshake_timeout, 100).await;
}

#[tokio::test]
async fn silence_ends_a_channel() {
    let timing = Timing { silence_max: Duration::from_millis(300), ..TIMING };
    let (zero, mut hears, address) = zero(|config| config.timing = timing).await;
    let mut stream = soon(dial(address, tls_of_one(ALPN_PEER))).await.unwrap();
    connected(&mut hears).await;
    hung_up(&mut stream).await;
    disconnected(&mut hears).await;
    assert_eq!(zero.counters().closed_silent.value(), 1);
}

#[tokio::test]
async fn keepalives_save_an_idle_channel() {
    let timing = Timing { silence_max: Duration::from_secs(1), ..TIMING };
    let (_zero, mut zero_hears, address) = zero(|config| config.timing = timing).await;
    let mut config = config(ONE, listen().await.0, (ZERO, address));
    config.timing = timing;
    let (_one, mut one_hears) = start(config);
    connected(&mut zero_hears).await;
    connected(&mut one_hears).await;
    sleep(2 * timing.silence_max).await;
    assert!(zero_hears.try_recv().is_err() && one_hears.try_recv().is_err());
}

#[tokio::test]
async fn newer_connection_replaces_the_older() {
    let (zero, mut hears, address) = zero(|_| {}).await;
    let mut older = soon(dial(address, tls_of_one(ALPN_PEER))).await.unwrap();
    connected(&mut hears).await;
    let mut newer = soon(dial(address, tls_of_one(ALPN_PEER))).await.unwrap();
    hung_up(&mut older).await;
    disconnected(&mut hears).await;
    connected(&mut hears).await;
    zero.send(ONE, Priority::Protocol, message(9, 1));
    while soon(newer.read_u32_le()).await.unwrap() != 1 {} // keepalives
    assert_eq!(soon(newer.read_u8()).await.unwrap(), 9);
}

/// Replica 1 as one more process with its key: connected, and heard.
async fn alive(address: SocketAddr) -> TlsStream<TcpStream> {
    let mut stream = soon(dial(address, tls_of_one(ALPN_PEER))).await.unwrap();
    stream.write_u32_le(KEEPALIVE).await.unwrap();
    stream.flush().await.unwrap();
    sleep(TIMING.keepalive_every / 2).await;
    stream
}

#[tokio::test]
async fn a_key_that_two_processes_hold_is_noticed_with_both_addresses() {
    let (_zero, mut hears, address) = zero(|_| {}).await;
    let mut streams = Vec::new();
    let told = loop {
        streams.push(alive(address).await);
        let events = std::iter::from_fn(|| hears.try_recv().ok());
        let shared = |event| match event {
            PeerEvent::KeyShared(who, addresses) => Some((who, addresses)),
            _ => None,
        };
        if let Some(told) = events.filter_map(shared).last() {
            break told;
        }
        assert!(streams.len() < 10, "nobody notices");
    };
    let places: Vec<SocketAddr> =
        streams.iter().map(|stream| stream.get_ref().0.local_addr().unwrap()).collect();
    assert!(told.0 == ONE && places.ends_with(&told.1), "{told:?}: {places:?}");
}

#[tokio::test]
async fn who_loses_its_connections_is_not_taken_for_two() {
    let (_zero, mut hears, address) = zero(|_| {}).await;
    for _ in 0..6 {
        let stream = alive(address).await;
        connected(&mut hears).await;
        drop(stream);
        disconnected(&mut hears).await;
    }
    assert!(hears.try_recv().is_err());
}

/// What is left of connections whose other end is gone without a word.
#[tokio::test]
async fn connections_that_said_nothing_are_no_rivals() {
    let (_zero, mut hears, address) = zero(|_| {}).await;
    let mut streams = vec![soon(dial(address, tls_of_one(ALPN_PEER))).await.unwrap()];
    connected(&mut hears).await;
    for _ in 0..6 {
        streams.push(soon(dial(address, tls_of_one(ALPN_PEER))).await.unwrap());
        disconnected(&mut hears).await;
        connected(&mut hears).await;
    }
    assert!(hears.try_recv().is_err());
}

#[tokio::test]
async fn messages_flow_again_after_either_restarts() {
    let (first_zero, mut zero_hears, address) = zero(|_| {}).await;
    let (first_one, mut one_hears) = one(address).await;
    connected(&mut zero_hears).await;
    connected(&mut one_hears).await;

    drop((first_zero, zero_hears));
    disconnected(&mut one_hears).await;
    first_one.send(ZERO, Priority::Protocol, message(1, 1)); // waits for the return
    let listener = soon(async {
        loop {
            match TcpListener::bind(address).await {
                Ok(listener) => return listener,
                Err(_) => sleep(Duration::from_millis(10)).await,
            }
        }
    })
    .await;
    let (zero, mut zero_hears) = start(config(ZERO, listener, (ONE, address)));
    assert_eq!(next_frame(&mut zero_hears).await, (ONE, vec![1]));

    drop((first_one, one_hears));
    disconnected(&mut zero_hears).await;
    let (one, mut one_hears) = one(address).await;
    one.send(ZERO, Priority::Protocol, message(2, 1));
    zero.send(ONE, Priority::Protocol, message(3, 1));
    assert_eq!(next_frame(&mut zero_hears).await, (ONE, vec![2]));
    assert_eq!(next_frame(&mut one_hears).await, (ZERO, vec![3]));
}

#[tokio::test]
async fn absent_replica_costs_a_bounded_queue() {
    let limits = ChannelLimits { outbox_frames_max: 10, ..ChannelLimits::PEER };
    let (zero, _hears, address) = zero(|config| config.limits = limits).await;
    for byte in 0..20 {
        zero.send(ONE, Priority::Bulk, message(100 + byte, 1));
    }
    for byte in 0..12 {
        zero.send(ONE, Priority::Protocol, message(byte, 1));
    }
    zero.send(ReplicaId(7), Priority::Protocol, message(0, 1));
    assert_eq!(zero.counters().dropped_bulk.value(), 20);
    assert_eq!(zero.counters().dropped_protocol.value(), 2);
    assert_eq!(zero.counters().dropped_unsendable.value(), 1, "nobody has that id");
    let (_one, mut one_hears) = one(address).await;
    for byte in 2..12 {
        assert_eq!(next_frame(&mut one_hears).await, (ZERO, vec![byte]));
    }
}

#[tokio::test]
async fn undigested_messages_stop_the_reading_from_their_sender() {
    let limits = ChannelLimits { inbox_bytes_max: 40 << 10, ..ChannelLimits::PEER };
    let (zero, mut hears, address) = zero(|config| config.limits = limits).await;
    let (one, _one_hears) = one(address).await;
    for byte in 0..100 {
        one.send(ZERO, Priority::Protocol, message(byte, 10 << 10));
    }
    connected(&mut hears).await;
    let mut kept: Vec<Received> = Vec::new();
    while kept.len() < 4 {
        match soon(hears.recv()).await.unwrap() {
            PeerEvent::Frame { bytes, .. } => kept.push(bytes),
            event => panic!("{event:?}"),
        }
    }
    sleep(Duration::from_millis(300)).await;
    assert!(hears.try_recv().is_err(), "the share is used up");
    assert_eq!(zero.counters().frames_in.value(), 4);
    drop(kept);
    for byte in 4..100 {
        assert_eq!(next_frame(&mut hears).await, (ONE, vec![byte; 10 << 10]));
    }
}

#[tokio::test]
async fn dropping_a_network_ends_everything_it_began() {
    let tasks = tokio::runtime::Handle::current().metrics();
    let before = tasks.num_alive_tasks();
    let (zero, mut zero_hears, address) = zero(|_| {}).await;
    let (one, mut one_hears) = one(address).await;
    let _silent = TcpStream::connect(address).await.unwrap();
    connected(&mut zero_hears).await;
    connected(&mut one_hears).await;
    assert!(tasks.num_alive_tasks() > before);
    drop((zero, one));
    until(|| tasks.num_alive_tasks() == before).await;
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens");
}

#[tokio::test]
async fn contradictory_plans_are_refused() {
    let (listener, address) = listen().await;
    let mut repeated_id = config(ZERO, listener, (ONE, address));
    repeated_id.peers.push(Peer { key: key(2).public_key(), ..repeated_id.peers[0].clone() });
    let refused = PeerNetwork::start(repeated_id).err();
    assert_eq!(refused, Some(PeerConfigError::RepeatedId(ONE)));
    let mut repeated_key = config(ZERO, listen().await.0, (ONE, address));
    repeated_key.peers[0].key = key(0).public_key();
    let refused = PeerNetwork::start(repeated_key).err();
    assert_eq!(refused, Some(PeerConfigError::RepeatedKey(ONE)));
}
