//! One server: its replica, disk and sockets put together.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::admin::{Snapshot, Window};
use crate::data::{self, DataDir};
use crate::exit::{Error, Exit, Result};
use crate::files::identity::Identity;
use crate::hops;
use crate::intake::{self, Intake, Taken};
use crate::opinion::Others;
use crate::quarantine;
use crate::room::{self, Room, Stage};
use crate::shared_keys::SharedKeys;
use anyhow::Context as _;
use ravelin_crypto::{Keyring, Scheme, SigningKey};
use ravelin_model::limits::TRANSFER_LAG_DEFAULT;
use ravelin_model::transfer::StateRequest;
use ravelin_model::wire::{ServerMessage, StatusReport};
use ravelin_model::{
    Action, Actions, BlockHeader, ClusterId, CommitIndex, Encode as _, Epoch, Group, LogPart,
    LogRecord, NotAttested, Protocol, PublicKey, Purpose, ReplicaId, SharedWormhole, SignedPlan,
    Suspicion, Time,
};
use ravelin_multicast::Message;
use ravelin_replication::{
    ClientInput, ConnectionId, Event, HaltReason, OwnWormhole, Replica, Setup, Status, peer,
    recorded_plans,
};
use ravelin_runtime::clock::Clock;
use ravelin_runtime::driver::{self, Curb, Effect, Node, RunError, Totals, World, WormholeGone};
use ravelin_runtime::log::{Log, LogError};
use ravelin_runtime::transport::clients::{ClientConfig, ClientLimits, ClientListener};
use ravelin_runtime::transport::peers::{Peer, PeerConfig, PeerNetwork};
use ravelin_runtime::transport::{ChannelLimits, Priority, Received, Timing, TransportKey};
use ravelin_services::Services;
use ravelin_sim::intruder::{self, Deed, Intruded, Means, Server};
use tokio::net::TcpListener;
use tokio::sync::{Notify, oneshot};

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
    pub(crate) wormhole: Option<(SharedWormhole, OwnWormhole)>,
}

/// What a halt means, and what to do.
const HALTED: &str = "beyond f nothing is promised, so this server says nothing more, after restarts \
    neither; what was acknowledged is on its disk; `ravelin node release --help` says how \
    administrators let it go on";

/// Why a server stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It was told to.
    Told,
    /// Its disk is full.
    NoSpace,
    /// The others agree on another state after this commit than it has.
    Diverged(CommitIndex),
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
        RunError::Wormhole(_) => (Exit::Failed, NO_WORMHOLE),
    };
    let what = match &error {
        RunError::Log(_) => "the log failed; this server must not go on",
        RunError::Wormhole(_) => "this server can say nothing more",
    };
    Error::caused(exit, error, hint).context(what)
}

/// What to do about a wormhole that stopped.
const NO_WORMHOLE: &str = "start the server again, with a new wormhole; an epoch lets that in";

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

/// A replica, in its own hands or in an intruder's, with its codec.
struct Host {
    server: Server,
    own: ReplicaId,
    identity: Identity,
    data: DataDir,
    room: Room,
    others: Others,
    stop: Arc<Stop>,
    /// The epoch in which it last said something.
    epoch: Epoch,
    window: Window,
    /// What clients send.
    intake: Intake,
    shared_keys: SharedKeys,
    wormhole: Option<SharedWormhole>,
    /// For the trace alone.
    clock: Clock,
    /// Used by one call at a time.
    deeds: Vec<Deed>,
}

/// What goes over the wire.
#[derive(Clone)]
enum Wire {
    /// A message of the protocol.
    Message(Message),
    /// What only an intruder sends.
    Bytes(Arc<[u8]>),
}

impl Host {
    /// Lets the server act and hands its deeds to the driver.
    fn act(&mut self, out: &mut Actions<Self>, act: impl FnOnce(&mut Server, &mut Vec<Deed>)) {
        act(&mut self.server, &mut self.deeds);
        if hops::are_traced() {
            self.deeds.iter().for_each(|deed| hops::on_deed(&self.clock, deed));
        }
        out.extend(self.deeds.drain(..).map(|deed| match deed {
            Deed::Bytes(to, bytes) => Action::Send(to, Wire::Bytes(bytes.into())),
            Deed::Act(action) => match action {
                Action::Persist(record) => Action::Persist(record),
                Action::Send(to, message) => Action::Send(to, Wire::Message(message)),
                Action::Broadcast(message) => Action::Broadcast(Wire::Message(message)),
                Action::Emit(event) => Action::Emit(event),
                Action::Attest(header) => Action::Attest(header),
                Action::Accuse(who, offence) => Action::Accuse(who, offence),
            },
        }));
    }
}

impl Host {
    /// What to say to an envelope that nobody may send over this connection.
    /// A new epoch began: from now on this server speaks in it, with the key that its plan names.
    fn begin(&mut self, signed: &SignedPlan) {
        self.epoch = signed.plan.epoch;
        tracing::info!(epoch = self.epoch.0, "a new epoch began");
        let Some(member) = signed.plan.members.get(self.own.index()) else { return };
        if let Some(spare) = follow(&mut self.identity, &member.block) {
            self.server.add_key(spare);
        }
    }
}

fn to_client(connection: u64, message: ServerMessage) -> Action<Wire, Event> {
    Action::Emit(Event::ToClient(ConnectionId(connection), message))
}

impl Host {
    /// Does what the room on the disk demands.
    fn follow_room(&mut self, stage: Stage) {
        let free = self.room.view().free_bytes >> 20;
        let dir = self.data.dir.display();
        match stage {
            Stage::Ample => tracing::info!("{free} MiB free on the disk of {dir}"),
            Stage::Busy => tracing::warn!(
                "{free} MiB free on the disk of {dir}: writes of clients are refused until there is more"
            ),
            Stage::ReadOnly => tracing::error!(
                "the disk of {dir} is full: its ballast is given up, writes are refused; with {} MiB \
                 left this server stops",
                room::STOP_BELOW_BYTES >> 20
            ),
            Stage::Stop => {
                tracing::error!(
                    "{free} MiB left on the disk of {dir}: this server stops in good order"
                );
                self.stop.ask(Ending::NoSpace);
            }
        }
        self.server.close_admission(stage.retry_after_ms());
    }

    /// Whether the plan in force gives this server a key that it holds.
    fn has_key(&self) -> bool {
        let replica = self.server.replica();
        replica.keyring().member(self.own) == Some(&replica.key().public())
    }

    /// What this server says of itself, with what its host knows.
    fn amended(&self, mut report: StatusReport) -> StatusReport {
        if self.room.view().stage != Stage::Ample {
            let own = report.members.get_mut(self.own.index()).map(|member| &mut member.state);
            for state in own.into_iter().chain([&mut report.state]) {
                if state == "correct" {
                    room::REPORTED.clone_into(state);
                }
            }
        }
        self.shared_keys.amend(&mut report);
        report
    }

    /// It halted because others contradict its state: asks whether they go on without it.
    fn on_divergence(&self, commit: CommitIndex) {
        if matches!(self.server, Server::Intruded(_)) {
            return; // its state says nothing
        }
        tracing::error!(
            "f+1 servers contradict this server's state after commit {}: it halts, and takes one of \
             the f faults that the cluster tolerates",
            commit.0
        );
        match quarantine::diverged(&self.data.dir) {
            Ok(None) => {
                let (others, stop) = (self.others.clone(), Arc::clone(&self.stop));
                tokio::spawn(async move {
                    others.wait_for_quorum(commit).await;
                    stop.ask(Ending::Diverged(commit));
                });
            }
            Ok(Some(kept)) => tracing::error!(
                "it has given up a state before, in {}: it does so once, and stays halted. Compare the \
                 two with the others' and look at the program's and the machine's soundness; once that \
                 directory is moved away, the server repairs itself again",
                kept.display()
            ),
            Err(error) => tracing::error!("{}; {}", error.message(), error.advice()),
        }
    }
}

impl Protocol for Host {
    type Message = Wire;
    type Event = Event;

    fn on_message(&mut self, now: Time, from: ReplicaId, message: Wire, out: &mut Actions<Self>) {
        if let Wire::Message(message) = message {
            if hops::are_traced() {
                hops::on_heard(&self.clock, &message);
            }
            self.act(out, |server, deeds| server.on_message(now, from, message, deeds));
        }
    }

    fn on_time(&mut self, now: Time, out: &mut Actions<Self>) {
        if let Some(stage) = self.room.look() {
            self.follow_room(stage);
        }
        self.act(out, |server, deeds| server.on_time(now, deeds));
    }

    fn next_deadline(&self) -> Option<Time> {
        self.server.next_deadline()
    }
}

impl Node for Host {
    fn check(&self, frames: &[(ReplicaId, Received)]) -> Vec<Result<Wire, Suspicion>> {
        let mut decoded = Vec::with_capacity(frames.len());
        let shapes: Vec<Option<Suspicion>> = frames
            .iter()
            .map(|(_, bytes)| peer::decode(bytes).map(|message| decoded.push(message)).err())
            .collect();
        let mut verdicts = peer::verify(self.server.replica().keyring(), decoded).into_iter();
        shapes
            .into_iter()
            .map(|shape| match shape {
                Some(suspicion) => Err(suspicion),
                None => verdicts.next().expect("one verdict a decoded message").map(Wire::Message),
            })
            .collect()
    }

    fn bytes(&self, message: &Wire) -> (Priority, Vec<u8>) {
        match message {
            Wire::Message(replayed @ Message::Replayed(_)) => {
                (Priority::Bulk, peer::encode(self.epoch, replayed))
            }
            Wire::Message(message) => (Priority::Protocol, peer::encode(self.epoch, message)),
            Wire::Bytes(bytes) => (Priority::Protocol, bytes.to_vec()),
        }
    }

    fn logged(&self, part: &LogPart, records: Vec<LogRecord>) -> Vec<Vec<u8>> {
        peer::logged(part, records).iter().map(|frame| frame.encode()).collect()
    }

    fn state_part(&self, request: &StateRequest) -> Vec<u8> {
        peer::encode(self.epoch, &self.server.replica().state_part(request))
    }

    fn effect(&mut self, event: Event) -> Effect {
        match event {
            // Nobody would believe what is signed by a key that is no member's.
            Event::ToClient(_, ServerMessage::Answers { .. }) if !self.has_key() => Effect::None,
            Event::ToClient(connection, ServerMessage::Status { id, report }) => {
                let report = Box::new(self.amended(*report));
                Effect::ToClient(connection.0, ServerMessage::Status { id, report }.encode())
            }
            Event::ToClient(connection, message) => {
                Effect::ToClient(connection.0, message.encode())
            }
            Event::Archive { to, part } => Effect::Archive { to, part },
            Event::Serve { to, request } => Effect::Serve { to, request },
            Event::Prunable(below) => Effect::Prune(below),
            Event::Epoch(signed) => {
                self.begin(&signed);
                Effect::None
            }
            Event::Status(status) => {
                if let Status::FailSafe(reason) = &status
                    && !matches!(reason, HaltReason::Diverged { .. })
                {
                    tracing::error!("halted: {reason}; {HALTED}");
                }
                tracing::info!(?status, "status changed");
                if let Status::FailSafe(HaltReason::Diverged { commit }) = status {
                    self.on_divergence(commit);
                }
                Effect::None
            }
        }
    }

    fn resume(&mut self, now: Time, out: &mut Actions<Self>) {
        self.act(out, |server, deeds| server.resume(now, deeds));
    }

    fn on_suspicion(&mut self, who: ReplicaId, suspicion: Suspicion, out: &mut Actions<Self>) {
        self.act(out, |server, deeds| server.on_suspicion(who, suspicion, deeds));
    }

    fn on_key_shared(
        &mut self,
        who: ReplicaId,
        addresses: [SocketAddr; 2],
        out: &mut Actions<Self>,
    ) {
        self.shared_keys.note(who, addresses);
        self.on_suspicion(who, Suspicion::SharedKey, out);
    }

    fn on_client_opened(&mut self, connection: u64, key: PublicKey) {
        let is_enrolled = self.server.replica().execution().admits(&key);
        self.intake.open(connection, key, is_enrolled);
        self.server.on_client_opened(ConnectionId(connection), key);
    }

    fn on_client_closed(&mut self, connection: u64) {
        self.intake.close(connection);
        self.server.on_client_closed(ConnectionId(connection));
    }

    fn on_client_frames(
        &mut self,
        now: Time,
        frames: &[(u64, Received)],
        out: &mut Actions<Self>,
    ) -> Vec<(u64, Curb)> {
        let replica = self.server.replica();
        let (admits, room_of) =
            (|key: &_| replica.execution().admits(key), |key: &_| replica.room_of(key));
        let taken = self.intake.take(now, frames, admits, room_of);
        let mut curbs = Vec::new();
        let mut envelopes = Vec::new();
        let mut inputs = Vec::with_capacity(taken.len());
        for (connection, message) in taken {
            match message {
                Taken::Submit(envelope) => {
                    if hops::are_traced() {
                        hops::on_submitted(&self.clock, &envelope);
                    }
                    envelopes.push(envelope);
                    inputs.push((connection, None));
                }
                Taken::Other(message) => inputs.push((connection, Some(message))),
                Taken::Unwelcome(envelope) => {
                    let denied = intake::denied(&envelope, self.server.replica().status());
                    out.push(to_client(connection, denied));
                }
                Taken::Unheard => {}
                Taken::TooMany(busy) => {
                    out.push(to_client(connection, busy));
                    curbs.push((connection, Curb::Rest(intake::RETRY_AFTER)));
                }
                Taken::Ignored(rest) => curbs.push((connection, Curb::Rest(rest))),
                Taken::Nonsense => curbs.push((connection, Curb::Close)),
            }
        }
        let mut verdicts = self.server.replica().keyring().verify_envelopes(envelopes).into_iter();
        for (connection, message) in inputs {
            let input = match message {
                Some(other) => ClientInput::Other(other),
                None => match verdicts.next().expect("one verdict an envelope") {
                    Ok(envelope) => ClientInput::Submit(envelope),
                    Err(_) => {
                        let rest = self.intake.ignore(now, connection);
                        curbs.push((connection, Curb::Rest(rest)));
                        continue;
                    }
                },
            };
            let connection = ConnectionId(connection);
            self.act(out, |server, deeds| server.on_client(now, connection, input, deeds));
        }
        curbs
    }

    fn attest(
        &mut self,
        clock: &Clock,
        header: &BlockHeader,
        out: &mut Actions<Self>,
    ) -> std::result::Result<(), WormholeGone> {
        let wormhole =
            self.wormhole.as_ref().map(|it| it.lock().unwrap_or_else(PoisonError::into_inner));
        let attested = wormhole.map(|mut wormhole| wormhole.attest(header));
        match attested.unwrap_or_else(|| Err(NotAttested::Gone("there is none".to_owned()))) {
            Ok(attestation) => {
                let now = clock.now();
                self.act(out, |server, deeds| server.on_attested(now, header, attestation, deeds));
                Ok(())
            }
            Err(_) if matches!(self.server, Server::Intruded(_)) => Ok(()), // it used the counter itself
            Err(error) => Err(WormholeGone(error.into())),
        }
    }

    fn show(&self, totals: &Totals) {
        let replica = self.server.replica();
        let (report, states_fetched) = (self.amended(replica.report()), replica.fetched_count());
        let (totals, room, taken) = (*totals, self.room.view(), Instant::now());
        let snapshot = Snapshot { report, states_fetched, totals, room, taken };
        *self.window.lock().unwrap_or_else(PoisonError::into_inner) = Some(snapshot);
    }

    fn close(&mut self) {
        self.server.close();
    }
}
