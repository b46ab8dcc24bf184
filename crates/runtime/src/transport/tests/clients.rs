//! Clients and a replica, over real sockets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ravelin_model::PublicKey;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::{
    TIMING, client_tls, connected, dial, disconnected, hung_up, key, link, listen, message,
    next_frame, soon, until, until_counted,
};
use crate::transport::accept::site;
use crate::transport::clients::{
    ClientConfig, ClientEvent, ClientLimits, ClientListener, ConnectionId,
};
use crate::transport::frame::{KEEPALIVE, write_frames};
use crate::transport::identity::{self, Accepted, server_name};
use crate::transport::{ALPN_CLIENT, ALPN_PEER, ChannelLimits};

struct Server {
    listener: ClientListener,
    events: mpsc::Receiver<ClientEvent>,
    address: SocketAddr,
}

async fn server(change: impl FnOnce(&mut ClientConfig)) -> Server {
    let (listener, address) = listen().await;
    let limits = ClientLimits::default();
    let mut config = ClientConfig { key: key(0), listener, limits, timing: TIMING };
    change(&mut config);
    let (listener, events) = ClientListener::start(config);
    Server { listener, events, address }
}

impl Server {
    async fn opened(&mut self) -> (ConnectionId, PublicKey) {
        match soon(self.events.recv()).await.unwrap() {
            ClientEvent::Opened { connection, key } => (connection, key),
            event => panic!("{event:?}"),
        }
    }

    async fn frame(&mut self) -> (ConnectionId, Vec<u8>) {
        match soon(self.events.recv()).await.unwrap() {
            ClientEvent::Frame { connection, bytes } => (connection, bytes.to_vec()),
            event => panic!("{event:?}"),
        }
    }

    async fn closed(&mut self) -> ConnectionId {
        match soon(self.events.recv()).await.unwrap() {
            ClientEvent::Closed { connection } => connection,
            event => panic!("{event:?}"),
        }
    }

    /// A connection of an enrolled client that is a program of its own.
    async fn enrolled(&mut self, seed: u8) -> (TlsStream<TcpStream>, ConnectionId) {
        let stream = self.dialed_by(seed).await.unwrap();
        loop {
            match soon(self.events.recv()).await.unwrap() {
                ClientEvent::Opened { connection, key: who } => {
                    assert_eq!(who, key(seed).public_key());
                    self.listener.guests().set_enrolled(connection, true);
                    return (stream, connection);
                }
                ClientEvent::Closed { .. } => {}
                event => panic!("{event:?}"),
            }
        }
    }

    /// A connection of a client that is a program of its own.
    async fn dialed_by(&self, seed: u8) -> std::io::Result<TlsStream<TcpStream>> {
        soon(dial(self.address, client_tls(seed, &key(0)))).await
    }
}

#[tokio::test]
async fn request_and_answer_pass_and_the_key_is_told() {
    let mut server = server(|_| {}).await;
    let (alice, mut alice_hears) = link(&key(1), key(0).public_key(), server.address);
    alice.send(message(5, 1000));
    let (connection, who) = server.opened().await;
    assert_eq!(who, key(1).public_key());
    assert_eq!(server.frame().await, (connection, vec![5; 1000]));
    server.listener.send(connection, message(6, 2000));
    assert_eq!(next_frame(&mut alice_hears).await.1, vec![6; 2000]);
    drop(alice);
    assert_eq!(server.closed().await, connection);
}

#[tokio::test]
async fn link_never_speaks_to_another_server() {
    let mut server = server(|_| {}).await;
    let (alice, mut alice_hears) = link(&key(1), key(9).public_key(), server.address);
    alice.send(message(5, 10));
    until_counted(&alice.counters().handshake_wrong_key, 2).await;
    assert!(alice_hears.try_recv().is_err() && server.events.try_recv().is_err());
}

#[tokio::test]
async fn client_that_speaks_the_protocol_of_replicas_is_refused() {
    let mut server = server(|_| {}).await;
    let tls = identity::client_config(&key(1), key(0).public_key(), ALPN_PEER);
    assert!(soon(dial(server.address, tls)).await.is_err());
    until_counted(&server.listener.counters().handshake_wrong_protocol, 1).await;
    assert!(server.events.try_recv().is_err());
}

#[tokio::test]
async fn server_that_agrees_on_no_protocol_is_refused() {
    let (listener, address) = listen().await;
    let mut tls = (*identity::server_config(&key(0), Accepted::AnyKey, ALPN_CLIENT)).clone();
    tls.alpn_protocols.clear();
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let serving = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(mut stream) = acceptor.accept(stream).await {
                let _ = write_frames(&mut stream, &[]).await; // greets like ours
                hung_up(&mut stream).await;
            }
        }
    });
    let (alice, mut alice_hears) = link(&key(1), key(0).public_key(), address);
    until_counted(&alice.counters().handshake_wrong_protocol, 2).await;
    assert!(alice_hears.try_recv().is_err());
    serving.abort();
}

#[tokio::test]
async fn closed_client_comes_back_as_a_new_connection() {
    let mut server = server(|_| {}).await;
    let (_alice, mut alice_hears) = link(&key(1), key(0).public_key(), server.address);
    let (first, _) = server.opened().await;
    connected(&mut alice_hears).await;
    server.listener.close(first);
    server.listener.close(first); // harmless
    disconnected(&mut alice_hears).await;
    assert_eq!(server.closed().await, first);
    let (second, _) = server.opened().await;
    assert_ne!(first, second);
    server.listener.send(first, message(1, 1)); // to nobody
    server.listener.send(second, message(2, 1));
    assert_eq!(next_frame(&mut alice_hears).await.1, [2]);
}

#[tokio::test]
async fn connections_of_one_enrolled_key_are_bounded() {
    let mut server = server(|config| config.limits.per_key_max = 1).await;
    let _alice = server.enrolled(1).await;
    let mut again = server.dialed_by(1).await.unwrap();
    let (connection, _) = server.opened().await;
    server.listener.guests().set_enrolled(connection, true);
    hung_up(&mut again).await;
    assert_eq!(server.closed().await, connection);
    assert_eq!(server.listener.counters().refused_key.value(), 1);
    let _bob = server.enrolled(2).await;
}

#[tokio::test]
async fn who_has_more_connections_makes_room_for_who_has_fewer() {
    let mut server = server(|config| config.limits.connections_max = 3).await;
    let (mut first, oldest) = server.enrolled(1).await;
    let _more = (server.enrolled(1).await, server.enrolled(1).await);
    let _bob = server.enrolled(2).await;
    hung_up(&mut first).await;
    assert_eq!(server.closed().await, oldest);
    assert_eq!(server.listener.counters().closed_displaced.value(), 1);
    let _carol = server.enrolled(3).await; // Alice has one left
    assert_ne!(server.closed().await, oldest);
    let mut dave = server.dialed_by(4).await.unwrap();
    let (connection, _) = server.opened().await;
    server.listener.guests().set_enrolled(connection, true);
    hung_up(&mut dave).await;
    assert_eq!(server.listener.counters().refused_total.value(), 1, "all have one");
}

#[tokio::test]
async fn strangers_displace_each_other_and_no_enrolled_client() {
    let limits = |config: &mut ClientConfig| {
        config.limits.connections_max = 2;
        config.limits.strangers_max = 2;
    };
    let mut server = server(limits).await;
    let (_alice, alice) = server.enrolled(1).await;
    let mut strangers = Vec::new();
    for seed in 10..20 {
        strangers.push(server.dialed_by(seed).await.unwrap());
    }
    let mut opened = Vec::new();
    let mut closed = Vec::new();
    while opened.len() < 10 || closed.len() < 8 {
        match soon(server.events.recv()).await.unwrap() {
            ClientEvent::Opened { connection, .. } => opened.push(connection),
            ClientEvent::Closed { connection } => closed.push(connection),
            event => panic!("{event:?}"),
        }
    }
    assert_eq!(closed, opened[..8], "the oldest first");
    assert!(!closed.contains(&alice));
    let _bob = server.enrolled(2).await;
    server.listener.guests().set_enrolled(alice, false); // revoked: a stranger from now on
    let _carol = server.enrolled(3).await;
}

/// Whoever is displaced before anybody heard of it leaves no trace and no connection behind, however
/// long the caller takes no events.
#[tokio::test]
async fn strangers_that_nobody_hears_of_are_bounded_too() {
    let mut server = server(|config| config.limits.strangers_max = 2).await;
    let tasks = tokio::runtime::Handle::current().metrics();
    let mut strangers = Vec::new();
    // More events than the queue holds: two for each that came and went.
    for seed in 0..1100 {
        strangers.push(server.dialed_by((seed % 200) as u8).await.unwrap());
    }
    until(|| server.listener.counters().closed_displaced.value() >= 1098).await;
    assert!(tasks.num_alive_tasks() < 1100, "{}", tasks.num_alive_tasks());
    drop(strangers);
    server.listener.close(ConnectionId(0)); // harmless
    let mut open = 0i64;
    while let Ok(Some(event)) =
        tokio::time::timeout(Duration::from_millis(500), server.events.recv()).await
    {
        open += match event {
            ClientEvent::Opened { .. } => 1,
            ClientEvent::Closed { .. } => -1,
            event => panic!("{event:?}"),
        };
    }
    assert_eq!(open, 0, "every end was told of what was told of");
}

#[tokio::test]
async fn newest_handshakes_win_over_silent_ones() {
    // The handshakes of strangers would last an hour: only giving them up lets Alice in.
    let mut server = server(|config| {
        config.limits.handshakes.total_max = 4;
        config.timing.handshake_max = Duration::from_secs(3600);
    })
    .await;
    let mut loris = Vec::new();
    for _ in 0..8 {
        loris.push(TcpStream::connect(server.address).await.unwrap());
    }
    let _alice = server.dialed_by(1).await.unwrap();
    server.opened().await;
    assert!(server.listener.counters().handshake_evicted.value() >= 4);
    hung_up(&mut loris[0]).await;
}

#[tokio::test]
async fn connection_outlives_the_handshakes_that_follow_it() {
    let mut server = server(|config| config.limits.handshakes.total_max = 1).await;
    let (alice, _alice_hears) = link(&key(1), key(0).public_key(), server.address);
    let (connection, _) = server.opened().await;
    let _bob = server.dialed_by(2).await.unwrap();
    let _carol = server.dialed_by(3).await.unwrap();
    server.opened().await;
    server.opened().await;
    alice.send(message(1, 1));
    assert_eq!(server.frame().await, (connection, vec![1]));
}

#[tokio::test]
async fn client_that_does_not_read_is_dropped_alone() {
    let limits = ChannelLimits { outbox_bytes_max: 1 << 20, ..ChannelLimits::CLIENT };
    let mut server = server(|config| config.limits.channel = limits).await;
    let _deaf = server.dialed_by(1).await.unwrap();
    let (deaf, _) = server.opened().await;
    let (_alice, mut alice_hears) = link(&key(2), key(0).public_key(), server.address);
    let (alice, _) = server.opened().await;
    // More than the sockets hold between them and the queue.
    for _ in 0..1000 {
        server.listener.send(deaf, message(0, 64 << 10));
        tokio::task::yield_now().await;
    }
    assert_eq!(server.closed().await, deaf);
    assert_eq!(server.listener.counters().closed_slow_reader.value(), 1);
    server.listener.send(alice, message(7, 1));
    assert_eq!(next_frame(&mut alice_hears).await.1, [7]);
}

/// Who goes on sending and takes nothing of its answers, however few they are.
#[tokio::test]
async fn client_that_takes_nothing_is_closed_in_time() {
    let mut server = server(|config| {
        config.timing.stall_max = Duration::from_millis(500);
        config.limits.channel.outbox_bytes_max = 64 << 20;
    })
    .await;
    let deaf = server.dialed_by(1).await.unwrap();
    let (connection, _) = server.opened().await;
    let (_unread, mut sink) = tokio::io::split(deaf);
    let sending = tokio::spawn(async move {
        while sink.write_u32_le(KEEPALIVE).await.is_ok() {
            let _ = sink.flush().await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    for _ in 0..16 {
        server.listener.send(connection, message(0, 1 << 20)); // more than the sockets hold
    }
    assert_eq!(server.closed().await, connection);
    assert_eq!(server.listener.counters().closed_stalled.value(), 1);
    assert_eq!(server.listener.counters().closed_slow_reader.value(), 0);
    sending.abort();
}

#[tokio::test]
async fn nothing_is_read_of_a_connection_at_rest_and_all_of_it_afterwards() {
    const REST: Duration = Duration::from_millis(600);
    let mut server = server(|_| {}).await;
    let (alice, _hears) = link(&key(1), key(0).public_key(), server.address);
    let (connection, _) = server.opened().await;
    let began = Instant::now();
    server.listener.rest(connection, REST);
    for number in 0..3 {
        alice.send(message(number, 10));
    }
    assert_eq!(server.frame().await.1, [0; 10], "one at the most was on its way");
    assert!(began.elapsed() < REST);
    for number in 1..3 {
        assert_eq!(server.frame().await.1, [number; 10]);
    }
    assert!(began.elapsed() >= REST, "{:?}", began.elapsed());
}

#[tokio::test]
async fn client_that_asks_nothing_is_closed() {
    let idle_max = Duration::from_millis(500);
    let mut server = server(|config| config.limits.idle_max = idle_max).await;
    let (_alice, mut alice_hears) = link(&key(1), key(0).public_key(), server.address);
    let (connection, _) = server.opened().await;
    connected(&mut alice_hears).await;
    disconnected(&mut alice_hears).await; // although it sent keepalives
    assert_eq!(server.closed().await, connection);
    assert_eq!(server.listener.counters().closed_idle.value(), 1);
}

#[tokio::test]
async fn message_longer_than_clients_may_send_closes() {
    let mut server = server(|_| {}).await;
    let mut stream = server.dialed_by(1).await.unwrap();
    let (connection, _) = server.opened().await;
    let too_long = ChannelLimits::CLIENT.received_bytes_max as u32 + 1;
    stream.write_u32_le(too_long).await.unwrap();
    stream.flush().await.unwrap();
    assert_eq!(server.closed().await, connection);
    assert_eq!(server.listener.counters().closed_bad_frame.value(), 1);
}

#[tokio::test]
async fn dropping_listener_and_link_ends_everything_they_began() {
    let tasks = tokio::runtime::Handle::current().metrics();
    let before = tasks.num_alive_tasks();
    let mut server = server(|_| {}).await;
    let (alice, mut alice_hears) = link(&key(1), key(0).public_key(), server.address);
    let mut bob = server.dialed_by(2).await.unwrap();
    server.opened().await;
    server.opened().await;
    connected(&mut alice_hears).await;
    drop(server);
    hung_up(&mut bob).await;
    drop(alice);
    until(|| tasks.num_alive_tasks() == before).await;
}

#[test]
fn one_network_of_ipv6_is_one_address() {
    let site_of = |text: &str| site(text.parse().unwrap());
    assert_eq!(site_of("2001:db8::1"), site_of("2001:db8::ffff:1"));
    assert_ne!(site_of("2001:db8::1"), site_of("2001:db8:0:1::1"));
    assert_ne!(site_of("192.0.2.1"), site_of("192.0.2.2"));
    assert_eq!(site_of("::ffff:192.0.2.1"), site_of("192.0.2.1"));
    assert!(site_of("::1").is_loopback() && site_of("127.0.0.2").is_loopback());
}

async fn dial_from(last: u8, to: SocketAddr) -> TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, last], 0))).unwrap();
    socket.connect(to).await.unwrap()
}

#[tokio::test]
async fn flood_from_one_address_displaces_no_handshake_of_another() {
    let server = server(|config| {
        config.limits.handshakes.total_max = 4;
        config.timing.handshake_max = Duration::from_secs(3600);
    })
    .await;
    let slow = dial_from(1, server.address).await;
    let mut flood = Vec::new();
    for _ in 0..40 {
        flood.push(dial_from(2, server.address).await);
    }
    until_counted(&server.listener.counters().handshake_evicted, 37).await;
    let tls = client_tls(1, &key(0));
    let mut stream = soon(TlsConnector::from(tls).connect(server_name(), slow)).await.unwrap();
    assert_eq!(soon(stream.read_u32_le()).await.unwrap(), KEEPALIVE, "it was let in");
    assert_eq!(server.listener.counters().handshake_evicted.value(), 37);
}

/// What somebody on the way recorded of a client's connection is of no use to him.
#[tokio::test]
async fn recorded_traffic_opens_nothing() {
    let mut server = server(|_| {}).await;
    let (between, address) = listen().await;
    let to = server.address;
    let recording = tokio::spawn(async move {
        let (mut client, _) = between.accept().await.unwrap();
        let mut server = TcpStream::connect(to).await.unwrap();
        let mut recorded = Vec::new();
        let (mut said, mut answered) = (vec![0; 65536], vec![0; 65536]);
        loop {
            tokio::select! {
                read = client.read(&mut said) => match read {
                    Ok(1..) => {
                        let bytes = &said[..*read.as_ref().unwrap()];
                        recorded.extend_from_slice(bytes);
                        server.write_all(bytes).await.unwrap();
                    }
                    _ => return recorded,
                },
                read = server.read(&mut answered) => match read {
                    Ok(1..) => client.write_all(&answered[..read.unwrap()]).await.unwrap(),
                    _ => return recorded,
                },
            }
        }
    });
    let (alice, _alice_hears) = link(&key(1), key(0).public_key(), address);
    alice.send(message(5, 1000));
    let (connection, _) = server.opened().await;
    assert_eq!(server.frame().await, (connection, vec![5; 1000]));
    drop(alice);
    assert_eq!(server.closed().await, connection);
    let recorded = soon(recording).await.unwrap();
    assert!(recorded.len() > 1000);
    let mut replay = TcpStream::connect(server.address).await.unwrap();
    replay.write_all(&recorded).await.unwrap();
    hung_up(&mut replay).await;
    until_counted(&server.listener.counters().handshake_failed, 1).await;
    assert!(server.events.try_recv().is_err());
    assert_eq!(server.listener.counters().connected.value(), 1);
}

#[tokio::test]
async fn work_of_handshakes_begins_at_its_pace() {
    let server = server(|config| {
        config.limits.handshakes.total_max = 4;
        config.limits.handshakes.per_second_max = 10;
    })
    .await;
    let began = tokio::time::Instant::now();
    let mut kept = Vec::new();
    for seed in 0..10 {
        kept.push(server.dialed_by(seed).await.unwrap());
    }
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(550), "four at once and six by turns, in {took:?}");
}

#[tokio::test]
async fn connections_that_say_nothing_take_no_turn() {
    let server = server(|config| {
        config.limits.handshakes.total_max = 40;
        config.limits.handshakes.per_second_max = 1;
        config.timing.handshake_max = Duration::from_secs(3600);
    })
    .await;
    let mut silent = Vec::new();
    for _ in 0..40 {
        silent.push(TcpStream::connect(server.address).await.unwrap());
    }
    let began = tokio::time::Instant::now();
    let mut kept = Vec::new();
    for seed in 0..10 {
        kept.push(server.dialed_by(seed).await.unwrap()); // of the forty turns saved up
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}
