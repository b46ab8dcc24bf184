//! Many hostile clients at once, against four servers of the real binary on one machine.
//!
//! Addresses of flood and honest client differ as they would on a network: all of 127.0.0.0/8 is this
//! host. Each test prints what it measured: `--nocapture` shows it. They run one after the other, and
//! apart from tests that look at the clock, since a flood takes all the processors there are.

#![allow(clippy::indexing_slicing, reason = "a test that indexes wrongly fails, as it should")]

#[allow(dead_code, reason = "shared with the tests of services, which use more of it")]
#[path = "../program/services/cluster.rs"]
mod cluster;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ravelin_crypto::{Keyring, Scheme, SigningKey, check_first_plan};
use ravelin_model::wire::{ClientMessage, ServerMessage};
use ravelin_model::{
    ClusterId, Decode as _, Digest, Encode as _, Envelope, Incarnation, Operation, PublicKey,
    ReplicaId, Sequence, ServiceId, SessionId, Signature,
};
use ravelin_runtime::transport::ask::ask;
use ravelin_runtime::transport::connect::{Link, LinkConfig};
use ravelin_runtime::transport::{ChannelLimits, PeerEvent, Timing, TransportKey};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpSocket;
use tokio::sync::mpsc;

use crate::cluster::Cluster;

/// Connections of the first flood, over all servers.
const CONNECTIONS: usize = 10_000;
/// What a flood may add to the resident memory of a server.
const GROWTH_MAX: u64 = 128 << 20;
/// How long one operation of an honest client may take meanwhile, its process's start included. A
/// busy test machine with one core or two eats most of it up.
const OPERATION_MAX: Duration = Duration::from_secs(10);

/// One flood at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a flood beside this thread until dropped.
struct Flood {
    over: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Flood {
    /// `flood` gets the sign to stop and counts what it did.
    fn start<F>(flood: impl FnOnce(Arc<AtomicBool>, Arc<AtomicU64>) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()>,
    {
        let (over, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (its_over, its_done) = (Arc::clone(&over), Arc::clone(&done));
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(flood(its_over, its_done));
        });
        Self { over, done, thread: Some(thread) }
    }

    fn count(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Waits until so much is done.
    fn reach(&self, count: u64) {
        let until = Instant::now() + Duration::from_secs(60);
        while self.count() < count {
            assert!(Instant::now() < until, "{} of {count}", self.count());
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(thread::panicking() || matches!(ended, Some(Ok(()))), "the flood failed");
    }
}

/// Resident bytes of each server.
fn resident(cluster: &Cluster) -> Vec<u64> {
    let of = |pid: u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("shown");
        let kib = line.trim().trim_end_matches("kB").trim().parse::<u64>().expect("a number");
        kib << 10
    };
    (0..4).map(|id| of(cluster.pid(id))).collect()
}

/// Writes and reads for a while, each within [`OPERATION_MAX`]; returns the longest.
fn serves(cluster: &Cluster, more: &[&str], seconds: u64) -> (u64, Duration) {
    let until = Instant::now() + Duration::from_secs(seconds);
    let (mut count, mut longest) = (0, Duration::ZERO);
    while Instant::now() < until {
        let value = count.to_string();
        let begun = Instant::now();
        cluster.done(&[&["kv", "put", "flooded", &value], more].concat());
        longest = longest.max(begun.elapsed());
        let begun = Instant::now();
        assert_eq!(cluster.done(&[&["kv", "get", "flooded"], more].concat()).trim(), value);
        longest = longest.max(begun.elapsed());
        count += 1;
    }
    assert!(longest < OPERATION_MAX, "{longest:?}");
    (2 * count, longest)
}

/// Checks what a flood did to the memory of servers, and says it.
fn judge(name: &str, before: &[u64], after: &[u64], (count, longest): (u64, Duration)) {
    let growth =
        before.iter().zip(after).map(|(before, after)| after.saturating_sub(*before)).max();
    let growth = growth.unwrap_or(0);
    println!(
        "{name}: {count} operations, the longest {} ms; memory grew by {} MiB at most",
        longest.as_millis(),
        growth >> 20
    );
    assert!(growth < GROWTH_MAX, "{name}: {} MiB more", growth >> 20);
}

/// As many connections as descriptors allow, of those wanted.
fn descriptors(wanted: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.or(limit.current).unwrap_or(u64::MAX);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum: limit.maximum });
    let have = usize::try_from(most).unwrap_or(usize::MAX).saturating_sub(512);
    if have < wanted {
        println!("only {have} of {wanted} connections: the hard limit of open files is {most}");
    }
    have.min(wanted)
}

async fn connect(from: u8, to: SocketAddr) -> Option<tokio::net::TcpStream> {
    let socket = TcpSocket::new_v4().ok()?;
    socket.bind(SocketAddr::from((Ipv4Addr::new(127, 0, 0, from), 0))).ok()?;
    tokio::time::timeout(Duration::from_secs(1), socket.connect(to)).await.ok()?.ok()
}

/// Silent, slow and senseless connections, all held open, and new ones in place of the oldest.
async fn half_open(
    targets: Vec<SocketAddr>,
    count: usize,
    over: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
) {
    let mut held = std::collections::VecDeque::new();
    let mut number = 0usize;
    while !over.load(Ordering::Relaxed) {
        let to = targets[number % targets.len()];
        let from = 2 + (number % 8) as u8;
        if let Some(mut stream) = connect(from, to).await {
            let said: &[u8] = match number % 3 {
                0 => b"",
                1 => b"\x16\x03\x01", // the beginning of a handshake, and no more
                _ => b"GET / HTTP/1.1\r\n",
            };
            let _ = stream.write_all(said).await;
            held.push_back(stream);
            done.fetch_add(1, Ordering::Relaxed);
        }
        number += 1;
        if held.len() > count {
            held.pop_front();
            tokio::time::sleep(Duration::from_millis(1)).await; // a thousand more each second
        }
    }
}

#[test]
fn ten_thousand_half_open_connections_keep_no_client_out() {
    let _alone = alone();
    let cluster = Cluster::start("half-open", 1);
    let count = descriptors(CONNECTIONS);
    let before = resident(&cluster);
    let addresses = (0..4).flat_map(|id| [cluster.client_address(id), cluster.peer_address(id)]);
    let targets: Vec<SocketAddr> =
        addresses.map(|address| address.parse().expect("an address")).collect();
    let flood = Flood::start(move |over, done| half_open(targets, count, over, done));
    flood.reach(count as u64);
    let served = serves(&cluster, &[], 5);
    println!("{} connections", flood.count());
    judge("half-open connections", &before, &resident(&cluster), served);
}

/// One server's address and key, and the cluster that it belongs to.
struct Target {
    address: String,
    key: PublicKey,
    cluster: ClusterId,
}

async fn find(address: String) -> Target {
    let own = TransportKey::from_seed(&[9; 32]);
    let question = ClientMessage::Plans.encode();
    let answer = ask(&own, &address, &question, Duration::from_secs(10)).await.expect("an answer");
    let Ok(ServerMessage::Plans(plans)) = ServerMessage::decode("plans", &answer.bytes) else {
        panic!("no plans");
    };
    let first = plans.first().expect("a first plan");
    let cluster = check_first_plan(first, &Scheme::ed25519([5; 32])).expect("a sound plan");
    Target { address, key: answer.server_key, cluster }
}

fn link(target: &Target, seed: &[u8; 32], events: &mpsc::Sender<PeerEvent>) -> Link {
    let config = LinkConfig {
        key: TransportKey::from_seed(seed),
        server: ReplicaId(0),
        address: target.address.clone(),
        server_key: target.key,
        limits: ChannelLimits::LINK,
        timing: Timing::default(),
    };
    Link::start(config, events.clone())
}

/// An envelope that writes nothing of use.
fn envelope(cluster: ClusterId, key: &SigningKey, number: u64) -> Envelope {
    let operation = Operation { service: ServiceId::KV, request: vec![0xff; 64] };
    let unsigned = Envelope {
        cluster,
        incarnation: Incarnation(1),
        client: key.public(),
        session: SessionId(number),
        first: Sequence(1),
        operations: vec![operation],
        signature: Signature([0; 64]),
    };
    Keyring::sign_envelope(key, unsigned)
}

/// Asks and submits over `links` connections, each of a key of `seeds`, and reads no answers.
async fn talk(
    addresses: Vec<String>,
    seeds: Vec<[u8; 32]>,
    over: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
) {
    let (events, mut received) = Link::events();
    tokio::spawn(async move { while received.recv().await.is_some() {} });
    let mut links = Vec::new();
    for address in addresses {
        let target = find(address).await;
        for seed in &seeds {
            let key = SigningKey::ed25519(seed);
            let good = envelope(target.cluster, &key, 1);
            let mut bad = good.clone();
            bad.signature.0[7] ^= 1;
            let elsewhere = envelope(ClusterId(Digest([7; 32])), &key, 1);
            let messages = [
                ClientMessage::Plans,
                ClientMessage::Status { id: 1 },
                ClientMessage::Submit(good),
                ClientMessage::Submit(elsewhere),
                ClientMessage::Submit(bad),
            ];
            let messages = messages.map(|message| Arc::<[u8]>::from(message.encode()));
            links.push((link(&target, seed, &events), messages));
        }
    }
    let mut turn = 0;
    while !over.load(Ordering::Relaxed) {
        for (link, messages) in &links {
            // What closes the connection comes last, and not always.
            let some = if turn % 10 == 0 { messages.len() } else { 3 };
            messages[..some].iter().for_each(|message| link.send(Arc::clone(message)));
            done.fetch_add(some as u64, Ordering::Relaxed);
        }
        turn += 1;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[test]
fn floods_by_keys_that_nobody_knows_keep_no_client_out() {
    let _alone = alone();
    let cluster = Cluster::start("strangers", 1);
    descriptors(CONNECTIONS);
    let before = resident(&cluster);
    let addresses: Vec<_> = (0..4).map(|id| cluster.client_address(id).to_owned()).collect();
    // More strangers at each server than there are places for them.
    let seeds = (0..100).map(|seed| [seed + 100; 32]).collect();
    let flood = Flood::start(move |over, done| talk(addresses, seeds, over, done));
    flood.reach(20_000);
    let served = serves(&cluster, &[], 5);
    println!("{} messages of strangers", flood.count());
    judge("strangers", &before, &resident(&cluster), served);
    // And whoever is not enrolled yet can still learn who the servers are.
    let fingerprint = cluster.done(&["cluster", "fingerprint", "plan.toml"]);
    cluster.done(&[
        "trust",
        "add",
        "again",
        "--address",
        cluster.client_address(1),
        "--fingerprint",
        fingerprint.trim(),
        "--key",
        "client.key",
    ]);
}

#[test]
fn a_flood_by_an_enrolled_key_leaves_the_others_their_share() {
    let _alone = alone();
    let cluster = Cluster::start("greedy", 1);
    descriptors(CONNECTIONS);
    let bob = cluster.done(&["auth", "keygen", "--out", "bob.key"]);
    cluster.done(&["auth", "enroll", "bob", bob.trim(), "--key", "admin0.key"]);
    let text = fs::read_to_string(cluster.path("bob.key")).expect("there");
    let digits = text.lines().find_map(|line| line.strip_prefix("seed = \"")).expect("a seed");
    let mut seed = [0; 32];
    for (index, byte) in seed.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&digits[2 * index..2 * index + 2], 16).expect("digits");
    }
    let before = resident(&cluster);
    let addresses: Vec<_> = (0..4).map(|id| cluster.client_address(id).to_owned()).collect();
    // More connections of the key than it has places.
    let flood = Flood::start(move |over, done| talk(addresses, vec![seed; 24], over, done));
    flood.reach(20_000);
    let served = serves(&cluster, &[], 5);
    println!("{} messages of an enrolled client", flood.count());
    judge("an enrolled client", &before, &resident(&cluster), served);
}
