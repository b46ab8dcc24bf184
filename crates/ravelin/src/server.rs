//! One server: its replica, disk and sockets put together.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::Context as _;
use ravelin_crypto::{Keyring, Scheme, SigningKey};
use ravelin_model::limits::CLIENT_MESSAGE_BYTES_MAX;
use ravelin_model::wire::{ClientMessage, StatusReport};
use ravelin_model::{
    Actions, ClusterId, Decode as _, Encode as _, LogRecord, Protocol, PublicKey, ReplicaId,
    SignedPlan, Suspicion, Time,
};
use ravelin_multicast::Message;
use ravelin_replication::{
    ClientInput, ConnectionId, Event, Replica, Setup, execution::recorded_horizon, peer,
};
use ravelin_runtime::clock::Clock;
use ravelin_runtime::driver::{self, Effect, Host, Node};
use ravelin_runtime::log::{Log, LogConfig, LogCounters};
use ravelin_runtime::store::{DiskState, StoreConfig};
use ravelin_runtime::transport::clients::{ClientConfig, ClientLimits, ClientListener};
use ravelin_runtime::transport::peers::{Peer, PeerConfig, PeerNetwork};
use ravelin_runtime::transport::{ChannelLimits, Priority, Received, Timing, TransportKey};
use ravelin_services::Services;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use zeroize::Zeroizing;

/// What a server needs to start.
pub(crate) struct ServerConfig {
    /// The plan in force, checked.
    pub(crate) plan: SignedPlan,
    /// The cluster that it belongs to.
    pub(crate) cluster: ClusterId,
    /// Which member this server is.
    pub(crate) own: ReplicaId,
    /// Seed of its key for blocks.
    pub(crate) block_seed: Zeroizing<[u8; 32]>,
    /// Seed of its key for connections.
    pub(crate) transport_seed: Zeroizing<[u8; 32]>,
    /// Where its log and state live.
    pub(crate) data_dir: PathBuf,
    /// Where it listens to the other servers.
    pub(crate) peer_listener: TcpListener,
    /// Where it listens to clients.
    pub(crate) client_listener: TcpListener,
    /// Bytes of committed blocks kept for laggards.
    pub(crate) log_retention_bytes: u64,
}

/// How a server stands, for health checks and monitors.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    /// As it would answer a client.
    pub(crate) report: StatusReport,
    /// What its log has done.
    pub(crate) log: LogCounters,
    /// When this was taken.
    pub(crate) taken: Instant,
}

/// Where a server leaves its snapshots; `None` until it has taken part once.
pub(crate) type Window = Arc<Mutex<Option<Snapshot>>>;

/// Opens the disk, starts the sockets and serves until `stop`.
pub(crate) async fn serve(
    config: ServerConfig,
    window: Window,
    stop: oneshot::Receiver<()>,
) -> anyhow::Result<()> {
    let (replica, log) = open(&config)?;
    let keyring = keyring(&config)?;
    let transport = TransportKey::from_seed(&config.transport_seed);
    let members = config.plan.plan.members.iter().enumerate();
    let peers = members
        .map(|(index, member)| Peer {
            id: ReplicaId(u16::try_from(index).unwrap_or(u16::MAX)),
            address: member.peer_address.clone(),
            key: member.transport,
        })
        .filter(|peer| peer.id != config.own)
        .collect();
    let network = PeerNetwork::start(PeerConfig {
        me: config.own,
        key: transport.clone(),
        listener: config.peer_listener,
        peers,
        limits: ChannelLimits::PEER,
        timing: Timing::default(),
    })
    .context("the plan's members cannot be told apart")?;
    let clients = ClientListener::start(ClientConfig {
        key: transport,
        listener: config.client_listener,
        limits: ClientLimits::default(),
        timing: Timing::default(),
    });
    let host = Host { own: config.own, peers: network, clients, log, stop };
    let server = Server { replica, keyring, window };
    driver::run(server, host).await.context("the log failed; this server must not go on")
}

fn keyring(config: &ServerConfig) -> anyhow::Result<Keyring> {
    let mut batch_secret = [0; 32];
    getrandom::fill(&mut batch_secret).context("the system gives no random bytes")?;
    let scheme = Scheme::ed25519(batch_secret);
    Keyring::new(config.cluster, &config.plan, scheme).context("the plan does not hold together")
}

/// Opens state and log and builds the replica that they describe.
fn open(config: &ServerConfig) -> anyhow::Result<(Replica, Log)> {
    let member = config.plan.plan.members.get(config.own.index());
    let identity = member.map(|member| member.identity).context("not a member of the plan")?;
    let owner = ravelin_crypto::domain_digest(
        "ravelin data owner v1",
        &[&config.cluster.0.0, &identity.0],
    );
    std::fs::create_dir_all(&config.data_dir)
        .with_context(|| format!("cannot create {}", config.data_dir.display()))?;
    let state = DiskState::open(&config.data_dir.join("state"), &StoreConfig::new(owner.0))
        .context("cannot open the state store")?;
    let horizon = recorded_horizon(&state);
    let mut records = Vec::new();
    let mut keep = |tag: ravelin_runtime::log::Tag, bytes: &[u8]| {
        let round = ravelin_model::Round(tag.0);
        if round > horizon {
            records.push(LogRecord { round, bytes: bytes.to_vec() });
        }
    };
    let log_config =
        LogConfig { retention_bytes: config.log_retention_bytes, ..LogConfig::new(owner.0) };
    let (log, recovery) = Log::open(&config.data_dir.join("log"), log_config, &mut keep)
        .context("cannot open the log")?;
    tracing::info!(records = recovery.record_count, end = ?recovery.end, "log opened");
    let keyring = keyring(config)?;
    let services = Services::new(keyring.scheme().clone());
    let setup = Setup {
        plan: config.plan.clone(),
        keyring,
        key: Arc::new(SigningKey::ed25519(&config.block_seed)),
        own: config.own,
        application: Box::new(services),
        backend: Box::new(state),
        nonce: Clock::start().now().0,
    };
    Ok((Replica::new(setup, records), log))
}

/// A replica with its codec.
struct Server {
    replica: Replica,
    keyring: Keyring,
    window: Window,
}

impl Protocol for Server {
    type Message = Message;
    type Event = Event;

    fn on_message(&mut self, now: Time, from: ReplicaId, message: Message, out: &mut Actions<Self>) {
        self.replica.on_message(now, from, message, out);
    }

    fn on_time(&mut self, now: Time, out: &mut Actions<Self>) {
        self.replica.on_time(now, out);
    }

    fn next_deadline(&self) -> Option<Time> {
        self.replica.next_deadline()
    }
}

impl Node for Server {
    fn check(&self, frames: &[(ReplicaId, Received)]) -> Vec<Result<Message, Suspicion>> {
        let mut decoded = Vec::with_capacity(frames.len());
        let shapes: Vec<Option<Suspicion>> = frames
            .iter()
            .map(|(_, bytes)| peer::decode(bytes).map(|message| decoded.push(message)).err())
            .collect();
        let mut verdicts = peer::verify(&self.keyring, decoded).into_iter();
        shapes
            .into_iter()
            .map(|shape| match shape {
                Some(suspicion) => Err(suspicion),
                None => verdicts.next().expect("one verdict a decoded message"),
            })
            .collect()
    }

    fn bytes(&self, message: &Message) -> (Priority, Vec<u8>) {
        let priority = match message {
            Message::Replayed(_) => Priority::Bulk,
            _ => Priority::Protocol,
        };
        (priority, peer::encode(message))
    }

    fn replayed(&self, records: Vec<LogRecord>) -> Vec<u8> {
        peer::replayed(records).encode()
    }

    fn effect(&self, event: Event) -> Effect {
        match event {
            Event::ToClient(connection, message) => {
                Effect::ToClient(connection.0, message.encode())
            }
            Event::Archive { to, from } => Effect::Archive { to, from },
            Event::Prunable(below) => Effect::Prune(below),
            Event::Status(status) => {
                tracing::info!(?status, "status changed");
                Effect::None
            }
        }
    }

    fn resume(&mut self, now: Time, out: &mut Actions<Self>) {
        self.replica.resume(now, out);
    }

    fn on_suspicion(&mut self, who: ReplicaId, suspicion: Suspicion, out: &mut Actions<Self>) {
        self.replica.on_suspicion(who, suspicion, out);
    }

    fn on_client_opened(&mut self, connection: u64, key: PublicKey) {
        self.replica.on_client_opened(ConnectionId(connection), key);
    }

    fn on_client_closed(&mut self, connection: u64) {
        self.replica.on_client_closed(ConnectionId(connection));
    }

    fn on_client_frames(
        &mut self,
        now: Time,
        frames: &[(u64, Received)],
        out: &mut Actions<Self>,
    ) -> Vec<u64> {
        let mut to_close = Vec::new();
        let mut envelopes = Vec::new();
        let mut shapes = Vec::with_capacity(frames.len());
        for (connection, bytes) in frames {
            match decode_client(bytes) {
                Some(ClientMessage::Submit(envelope)) => {
                    envelopes.push(envelope);
                    shapes.push((*connection, None));
                }
                Some(other) => shapes.push((*connection, Some(other))),
                None => to_close.push(*connection),
            }
        }
        let mut verdicts = self.keyring.verify_envelopes(envelopes).into_iter();
        for (connection, message) in shapes {
            let input = match message {
                Some(other) => ClientInput::Other(other),
                None => match verdicts.next().expect("one verdict an envelope") {
                    Ok(envelope) => ClientInput::Submit(envelope),
                    Err(_) => {
                        to_close.push(connection); // it signed nothing: the cost was its own batch
                        continue;
                    }
                },
            };
            self.replica.on_client(now, ConnectionId(connection), input, out);
        }
        to_close
    }

    fn show(&self, log: &LogCounters) {
        let snapshot =
            Snapshot { report: self.replica.report(), log: *log, taken: Instant::now() };
        *self.window.lock().unwrap_or_else(PoisonError::into_inner) = Some(snapshot);
    }

    fn close(&mut self) {
        self.replica.close();
    }
}

fn decode_client(bytes: &[u8]) -> Option<ClientMessage> {
    if bytes.len() > CLIENT_MESSAGE_BYTES_MAX {
        return None;
    }
    ClientMessage::decode("client message", bytes).ok()
}
