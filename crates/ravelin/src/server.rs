//! One server: its replica, disk and sockets put together.

mod host;

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use ravelin_crypto::{Keyring, Scheme, SigningKey};
use ravelin_model::limits::TRANSFER_LAG_DEFAULT;
use ravelin_model::{
    ClusterId, CommitIndex, Group, PublicKey, Purpose, ReplicaId, SharedWormhole, SignedPlan,
};
use ravelin_replication::{OwnWormhole, Replica, Setup, recorded_plans};
use ravelin_runtime::clock::Clock;
use ravelin_runtime::driver::{self, RunError, World};
use ravelin_runtime::log::{Log, LogError};
use ravelin_runtime::transport::clients::{ClientConfig, ClientLimits, ClientListener};
use ravelin_runtime::transport::peers::{PeerConfig, PeerNetwork};
use ravelin_runtime::transport::{ChannelLimits, Timing, TransportKey};
use ravelin_services::Services;
use ravelin_sim::intruder::{self, Intruded, Means, Server};
use tokio::net::TcpListener;
use tokio::sync::{Notify, oneshot};

use crate::admin::Window;
use crate::data::{self, DataDir};
use crate::exit::{Error, Exit, Result};
use crate::files::identity::Identity;
use crate::intake::Intake;
use crate::opinion::Others;
use crate::room::Room;
use crate::shared_keys::SharedKeys;
use crate::wormhole;

use host::Host;

/// What a server needs to start.
pub(crate) struct ServerConfig {
    /// The plan in force, checked.
    pub(crate) plan: SignedPlan,
    /// The cluster that it belongs to.
    pub(crate) cluster: ClusterId,
    /// Which member this server is.
    pub(crate) own: ReplicaId,
    /// Size and resilience.
    pub(crate) group: Group,
    /// Its keys.
    pub(crate) identity: Identity,
    /// Where its log and state live.
    pub(crate) data: DataDir,
    /// The room on that disk.
    pub(crate) room: Room,
    /// Where it listens to the other servers.
    pub(crate) peer_listener: TcpListener,
    /// Where it listens to clients.
    pub(crate) client_listener: TcpListener,
    /// How many clients, and how patient with them.
    pub(crate) client_limits: ClientLimits,
    /// Names of the intruders in whose hands it is, for drills.
    pub(crate) intruders: Option<String>,
    /// Its wormhole, in `hybrid`, and what that said at this start.
    pub(crate) wormhole: Option<OwnInstance>,
}

/// A server's wormhole, and what that says of itself and of what it attested last.
pub(crate) type OwnInstance = (SharedWormhole, OwnWormhole);

/// Why a server stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It was told to.
    Told,
    /// Its disk is full.
    NoSpace,
    /// The others agree on another state after this commit than it has.
    Diverged(CommitIndex),
    /// Its wormhole stopped.
    NoWormhole,
}

/// Asks a server to stop; the first reason counts.
#[derive(Debug, Default)]
pub(crate) struct Stop {
    reason: Mutex<Option<Ending>>,
    bell: Notify,
}

impl Stop {
    /// Asks for it.
    pub(crate) fn ask(&self, why: Ending) {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(why);
        self.bell.notify_one();
    }

    /// Waits until somebody asks.
    async fn asked(&self) {
        while self.reason.lock().unwrap_or_else(PoisonError::into_inner).is_none() {
            self.bell.notified().await;
        }
    }

    fn take(&self) -> Option<Ending> {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Opens the disk, starts the sockets and serves until somebody asks it to stop.
///
/// # Errors
/// The disk; the process must end.
pub(crate) async fn serve(
    mut config: ServerConfig,
    window: Window,
    stop: Arc<Stop>,
) -> Result<Ending> {
    let wired = |error: anyhow::Error| Error::caused(Exit::Failed, error, LOOK);
    let keyring = keyring(&config).map_err(wired)?;
    let (replica, log) = open(&mut config, &keyring)?;
    let server = in_hands(&config, replica).map_err(wired)?;
    let transport = TransportKey::from_seed(&config.identity.transport);
    let others = Others {
        members: config.plan.plan.members.clone().into(),
        own: config.own,
        group: config.group,
        key: transport.clone(),
    };
    let peers = others.peers().collect();
    let network = PeerNetwork::start(PeerConfig {
        me: config.own,
        key: transport.clone(),
        listener: config.peer_listener,
        peers,
        limits: ChannelLimits::PEER,
        timing: Timing::default(),
    })
    .context("the plan's members cannot be told apart")
    .map_err(wired)?;
    let clients = ClientListener::start(ClientConfig {
        key: transport,
        listener: config.client_listener,
        limits: config.client_limits,
        timing: Timing::default(),
    });
    let (ring, rung) = oneshot::channel();
    let asked = Arc::clone(&stop);
    let bell = tokio::spawn(async move {
        asked.asked().await;
        let _ = ring.send(()); // the server may have ended by itself
    });
    let intake = Intake::new(clients.0.guests());
    let world = World { own: config.own, peers: network, clients, log, stop: rung };
    let mut host = Host {
        epoch: server.replica().keyring().epoch(),
        server,
        own: config.own,
        identity: config.identity,
        data: config.data,
        room: config.room,
        others,
        stop: Arc::clone(&stop),
        window,
        intake,
        shared_keys: SharedKeys::default(),
        wormhole: config.wormhole.map(|(wormhole, _)| wormhole),
        clock: Clock::start(),
        deeds: Vec::new(),
    };
    host.follow_room(host.room.view().stage);
    let ended = driver::run(host, world).await;
    bell.abort();
    ended.map_err(of_run)?;
    Ok(stop.take().unwrap_or(Ending::Told))
}

fn of_run(error: RunError) -> Error {
    let (exit, hint) = match &error {
        RunError::Log(LogError::Io { source, .. }) => data::of_io(source),
        RunError::Log(_) => (Exit::Failed, LOOK),
        RunError::Wormhole(_) => (Exit::Failed, wormhole::GONE),
    };
    let what = match &error {
        RunError::Log(_) => "the log failed; this server must not go on",
        RunError::Wormhole(_) => "this server can say nothing more",
    };
    Error::caused(exit, error, hint).context(what)
}

/// What to do where the cause says it all.
const LOOK: &str = "the log above says what happened; `ravelin doctor` looks further";

/// The server as the drill wants it: correct, or in the hands of intruders, which only a local
/// cluster permits.
fn in_hands(config: &ServerConfig, replica: Replica) -> anyhow::Result<Server> {
    let Some(names) = &config.intruders else { return Ok(Server::Correct(Box::new(replica))) };
    anyhow::ensure!(
        config.plan.plan.purpose == Purpose::Local,
        "an intruder runs in local clusters only, and this plan is for production"
    );
    let intruders =
        intruder::by_names(names).with_context(|| format!("there is no intruder `{names}`"))?;
    let ring = u64::from_le_bytes(*config.cluster.0.0.first_chunk().expect("a digest is longer"));
    let seed = Clock::start().now().0;
    let plan = replica.plans().last().expect("there is a first plan").clone();
    let (keyring, key) = (replica.keyring().clone(), Arc::clone(replica.key()));
    let mut means = Means::new(plan, keyring, key, config.own, (ring, seed));
    if let Some((wormhole, own)) = &config.wormhole {
        means = means.with_wormhole(Arc::clone(wormhole), *own);
    }
    tracing::warn!(%names, "this server is in the hands of an intruder");
    let intruded = Intruded::new(replica, means, intruders, intruder::Window::ALWAYS);
    Ok(Server::Intruded(Box::new(intruded)))
}

/// Follows the plan in force, and gives the key for which this server may ask next.
fn follow(identity: &mut Identity, in_force: &PublicKey) -> Option<Arc<SigningKey>> {
    if let Err(error) = identity.advance(in_force) {
        tracing::warn!("{}; {}", error.message(), error.advice());
    }
    identity.spare().map(|seed| Arc::new(SigningKey::ed25519(seed)))
}

fn keyring(config: &ServerConfig) -> anyhow::Result<Keyring> {
    let mut batch_secret = [0; 32];
    getrandom::fill(&mut batch_secret).context("the system gives no random bytes")?;
    let scheme = Scheme::ed25519(batch_secret);
    Keyring::new(config.cluster, &config.plan, scheme).context("the plan does not hold together")
}

/// Opens state and log and builds the replica that they describe.
fn open(config: &mut ServerConfig, keyring: &Keyring) -> Result<(Replica, Log)> {
    let data::Opened { state, log, records } = data::open(&config.data, &mut config.identity)?;
    let in_force = recorded_plans(&state).pop().unwrap_or_else(|| config.plan.clone());
    let member = in_force.plan.members.get(config.own.index());
    let in_force = member.map(|member| member.block).ok_or_else(|| {
        let cause = "this server is not a member of the plan in force";
        Error::new(Exit::Failed, cause, LOOK)
    })?;
    let spare = follow(&mut config.identity, &in_force);
    let present = config.identity.block_seed(&in_force);
    let present = present.or_else(|| config.identity.block_seeds().next());
    let present = present.map(|seed| Arc::new(SigningKey::ed25519(seed)));
    let keys = present.into_iter().chain(spare).collect();
    let services = Services::new(keyring.scheme().clone());
    let setup = Setup {
        plan: config.plan.clone(),
        keyring: keyring.clone(),
        keys,
        identity: Arc::new(SigningKey::ed25519(&config.identity.identity)),
        wormhole: config.wormhole.as_ref().map(|(_, own)| *own),
        own: config.own,
        application: Box::new(services),
        backend: Box::new(state),
        nonce: Clock::start().now().0,
        transfer_lag: TRANSFER_LAG_DEFAULT,
    };
    Ok((Replica::new(setup, records), log))
}
