//! The one driver of a server's core: network, log and clock on one side, a [`Node`] on the other.
//!
//! Each turn takes everything that has arrived (bounded), checks its signatures in one batch, lets
//! the core act, makes what it persisted durable with one fsync, and only then lets anything out
//! that the core asked for later. A round closes because the last one is done: nothing here waits
//! for a timer but the core's own deadline.
//!
//! One thread: on small machines an inline write and fdatasync beat a helper thread, which costs two
//! switches for each turn.

mod chains;
mod replays;
mod serving;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ravelin_model::transfer::StateRequest;
use ravelin_model::{
    Action, Actions, BlockHeader, LogEntry, LogPart, LogRecord, Misbehaviour, Place, Protocol,
    PublicKey, ReplicaId, Suspicion,
};
use tokio::sync::{mpsc, oneshot};

use crate::clock::Clock;
use crate::log::{Log, LogCounters, LogError, Tag};
use crate::transport::clients::{ClientEvent, ClientListener, ConnectionId};
use crate::transport::peers::PeerNetwork;
use crate::transport::{PeerEvent, Priority, Received};

pub use chains::INDEXED_ROUNDS_MAX;
pub use replays::REPLAY_BYTES_MAX;
use replays::Replays;
use serving::Serving;

/// Target of the lines at level `trace` that follow requests hop by hop.
pub const HOPS: &str = "ravelin::hops";

/// Events of the network taken in one turn.
const TURN_EVENTS_MAX: usize = 512;
/// Time between two snapshots for monitors.
const SNAPSHOT_EVERY: Duration = Duration::from_millis(200);

/// A server's core as the driver sees it: a [`Protocol`] that also speaks bytes and has clients.
pub trait Node: Protocol {
    /// Decodes and checks what peers sent, in one batch of signatures; verdicts in order.
    fn check(&self, frames: &[(ReplicaId, Received)]) -> Vec<Result<Self::Message, Suspicion>>;

    /// The bytes by which a message travels, and how urgent it is.
    fn bytes(&self, message: &Self::Message) -> (Priority, Vec<u8>);

    /// The messages that answer a request for a part of the log, from its records.
    fn logged(&self, part: &LogPart, records: Vec<LogRecord>) -> Vec<Vec<u8>>;

    /// The bytes that answer a request for a part of the state.
    fn state_part(&self, request: &StateRequest) -> Vec<u8>;

    /// What to do about an event.
    fn effect(&mut self, event: Self::Event) -> Effect;

    /// Begins: executes what the log decides, asks the others.
    fn resume(&mut self, now: ravelin_model::Time, out: &mut Actions<Self>);

    /// A peer sent something that is no message.
    fn on_suspicion(&mut self, who: ReplicaId, suspicion: Suspicion, out: &mut Actions<Self>);

    /// Two processes hold this peer's key, and speak from these addresses.
    fn on_key_shared(
        &mut self,
        who: ReplicaId,
        addresses: [SocketAddr; 2],
        out: &mut Actions<Self>,
    );

    /// A client connected.
    fn on_client_opened(&mut self, connection: u64, key: PublicKey);

    /// A client's connection ended.
    fn on_client_closed(&mut self, connection: u64);

    /// Decodes, checks and takes what clients sent, in order. Returns the connections that are not to
    /// go on as they do.
    fn on_client_frames(
        &mut self,
        now: ravelin_model::Time,
        frames: &[(u64, Received)],
        out: &mut Actions<Self>,
    ) -> Vec<(u64, Curb)>;

    /// Has the wormhole of this host attest a block, which is durable, and takes the answer.
    ///
    /// # Errors
    /// [`WormholeGone`]: this server can say nothing more.
    fn attest(
        &mut self,
        clock: &Clock,
        header: &BlockHeader,
        out: &mut Actions<Self>,
    ) -> Result<(), WormholeGone>;

    /// Shows how things stand, for monitors.
    fn show(&self, totals: &Totals);

    /// Whether nothing that the core asked for since the last call may show before its state is durable.
    fn take_urgent(&mut self) -> bool;

    /// All that the core persisted is durable, so its state may become so; if `is_urgent`, it is when this
    /// returns.
    fn settle(&mut self, is_urgent: bool);

    /// Makes the state durable, as the log is: the server stops.
    fn close(&mut self);
}

/// What is done with the connection of a client that is too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Curb {
    /// It is closed.
    Close,
    /// Nothing is read from it for so long.
    Rest(Duration),
}

/// What a server's host has done since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// With the log.
    pub log: LogCounters,
    /// Bytes of messages sent to peers and clients.
    pub sent_bytes: u64,
    /// Bytes of messages received from them.
    pub received_bytes: u64,
}

/// What the driver does about an event of the core.
#[derive(Debug)]
pub enum Effect {
    /// Send these bytes to a client.
    ToClient(u64, Vec<u8>),
    /// Answer a peer from the log.
    Archive {
        /// The peer.
        to: ReplicaId,
        /// What it wants.
        part: LogPart,
    },
    /// Answer a peer from the state.
    Serve {
        /// The peer.
        to: ReplicaId,
        /// What it wants.
        request: StateRequest,
    },
    /// Log records below this place may go.
    Prune(Place),
    /// Nothing.
    None,
}

/// The wormhole of this host stopped, or refused what only it can attest.
#[derive(Debug, thiserror::Error)]
#[error("the wormhole of this server attests nothing more")]
pub struct WormholeGone(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// Why a run ended that was not asked to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The log failed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The wormhole stopped.
    #[error(transparent)]
    Wormhole(#[from] WormholeGone),
}

/// The world around a node.
pub struct World {
    /// This replica.
    pub own: ReplicaId,
    /// Channels to the other replicas, and what comes over them.
    pub peers: (PeerNetwork, mpsc::Receiver<PeerEvent>),
    /// The listener for clients, and what comes over it.
    pub clients: (ClientListener, mpsc::Receiver<ClientEvent>),
    /// The log; the node was built from its records.
    pub log: Log,
    /// Ends the run.
    pub stop: oneshot::Receiver<()>,
}

/// Runs `node` until asked to stop.
///
/// # Errors
/// [`RunError`]: the process must end.
pub async fn run<N: Node>(node: N, world: World) -> Result<(), RunError> {
    let World { own, peers, clients, log, stop } = world;
    let (network, network_events) = peers;
    let (listener, client_events) = clients;
    let replays = Replays::new(log.archive());
    let mut driver = Driver {
        node,
        own,
        network,
        listener,
        log,
        clock: Clock::start(),
        actions: Vec::new(),
        own_messages: VecDeque::new(),
        replays,
        serving: Serving::default(),
        shown: tokio::time::Instant::now(),
        is_appended: false,
        is_urgent: false,
    };
    driver.node.resume(driver.clock.now(), &mut driver.actions);
    driver.carry_out()?;
    driver.turn_until_stopped(network_events, client_events, stop).await?;
    driver.append_rest()?;
    driver.log.sync()?;
    driver.node.close();
    Ok(driver.log.close()?)
}

struct Driver<N: Node> {
    node: N,
    own: ReplicaId,
    network: PeerNetwork,
    listener: ClientListener,
    log: Log,
    clock: Clock,
    actions: Actions<N>,
    /// Own broadcasts on their way back: a replica counts its own vote by the same code path.
    own_messages: VecDeque<N::Message>,
    replays: Replays,
    serving: Serving,
    shown: tokio::time::Instant,
    /// Whether records were appended since the last sync of the log.
    is_appended: bool,
    /// Whether nothing may show before the state is durable.
    is_urgent: bool,
}

/// What arrived before a turn, in order for each sender.
#[derive(Default)]
struct Arrived {
    peers: Vec<(ReplicaId, Received)>,
    shared_keys: Vec<(ReplicaId, [SocketAddr; 2])>,
    clients: Vec<ClientEvent>,
}

impl<N: Node> Driver<N> {
    async fn turn_until_stopped(
        &mut self,
        mut network: mpsc::Receiver<PeerEvent>,
        mut clients: mpsc::Receiver<ClientEvent>,
        mut stop: oneshot::Receiver<()>,
    ) -> Result<(), RunError> {
        loop {
            let mut arrived = Arrived::default();
            let pause = self.pause();
            tokio::select! {
                biased;
                _ = &mut stop => return Ok(()),
                Some(event) = network.recv() => arrived.add_peer(event),
                Some(event) = clients.recv() => arrived.clients.push(event),
                () = tokio::time::sleep(pause) => {}
            }
            for _ in 0..TURN_EVENTS_MAX {
                match (network.try_recv(), clients.try_recv()) {
                    (Err(_), Err(_)) => break,
                    (peer, client) => {
                        peer.into_iter().for_each(|event| arrived.add_peer(event));
                        arrived.clients.extend(client);
                    }
                }
            }
            self.turn(arrived)?;
            // Lets the sockets' tasks run between two turns, however busy the core is.
            tokio::task::yield_now().await;
        }
    }

    fn pause(&self) -> Duration {
        if !self.own_messages.is_empty() || !self.actions.is_empty() || self.is_urgent {
            return Duration::ZERO;
        }
        let deadline = self.node.next_deadline().map(|time| self.clock.until(time));
        let dues = self.replays.next_due().into_iter().chain(self.serving.next_due());
        let dues = dues.map(|due| due.saturating_duration_since(Instant::now()));
        deadline.into_iter().chain(dues).fold(SNAPSHOT_EVERY, Duration::min)
    }

    fn turn(&mut self, arrived: Arrived) -> Result<(), RunError> {
        self.trace_deadline();
        while let Some(message) = self.own_messages.pop_front() {
            self.node.on_message(self.clock.now(), self.own, message, &mut self.actions);
        }
        let verdicts = self.node.check(&arrived.peers);
        for ((from, _), verdict) in arrived.peers.iter().zip(verdicts) {
            let now = self.clock.now();
            match verdict {
                Ok(message) => self.node.on_message(now, *from, message, &mut self.actions),
                Err(suspicion) => self.node.on_suspicion(*from, suspicion, &mut self.actions),
            }
        }
        for (who, addresses) in arrived.shared_keys {
            self.node.on_key_shared(who, addresses, &mut self.actions);
        }
        self.take_clients(arrived.clients);
        self.node.on_time(self.clock.now(), &mut self.actions);
        self.carry_out()?;
        if self.is_urgent {
            return Ok(()); // nothing shows before the next turn has made it durable
        }
        // One a turn: however many peers ask, what they say is heard in between.
        if let Some((to, part)) = self.replays.due(Instant::now()) {
            self.answer_from_log(to, part);
        }
        self.answer_from_state();
        if self.shown.elapsed() >= SNAPSHOT_EVERY {
            self.shown = tokio::time::Instant::now();
            self.node.show(&self.totals());
        }
        Ok(())
    }

    fn totals(&self) -> Totals {
        let counters = [self.network.counters(), self.listener.counters()];
        Totals {
            log: self.log.counters(),
            sent_bytes: counters.iter().map(|counters| counters.bytes_out.value()).sum(),
            received_bytes: counters.iter().map(|counters| counters.bytes_in.value()).sum(),
        }
    }

    /// Shows when the core's own time has come, rather than a message.
    fn trace_deadline(&self) {
        if tracing::enabled!(target: HOPS, tracing::Level::TRACE) {
            let now = self.clock.now();
            if self.node.next_deadline().is_some_and(|deadline| deadline <= now) {
                tracing::trace!(target: HOPS, at_us = now.0, hop = "deadline");
            }
        }
    }

    fn take_clients(&mut self, events: Vec<ClientEvent>) {
        let mut frames: Vec<(u64, Received)> = Vec::new();
        for event in events {
            match event {
                ClientEvent::Frame { connection, bytes } => frames.push((connection.0, bytes)),
                ClientEvent::Opened { connection, key } => {
                    self.node.on_client_opened(connection.0, key);
                }
                ClientEvent::Closed { connection } => {
                    frames.retain(|(of, _)| *of != connection.0);
                    self.node.on_client_closed(connection.0);
                }
            }
        }
        let now = self.clock.now();
        for (connection, curb) in self.node.on_client_frames(now, &frames, &mut self.actions) {
            match curb {
                Curb::Close => self.listener.close(ConnectionId(connection)),
                Curb::Rest(time) => self.listener.rest(ConnectionId(connection), time),
            }
        }
    }

    /// Performs the core's actions in order, with one sync of the log: everything persisted in the turn
    /// is covered, which is more than each needs. The state follows the log: what is executed may become
    /// durable only when what decided it is. What an attestation brings goes out at once as far as
    /// nothing of it must be durable first; the rest waits for the next turn's sync.
    fn carry_out(&mut self) -> Result<(), RunError> {
        let actions = std::mem::take(&mut self.actions);
        let mut held = Vec::with_capacity(actions.len());
        let mut appended = false;
        for action in actions {
            match action {
                Action::Persist(entry) => {
                    self.append(entry)?;
                    appended = true;
                }
                shows => held.push(shows),
            }
        }
        self.is_urgent |= self.node.take_urgent();
        self.is_appended |= appended;
        // Whoever only follows shows nothing, and settles all the same.
        let is_due = self.is_appended && self.shown.elapsed() >= SNAPSHOT_EVERY;
        if !held.is_empty() || self.is_urgent || is_due {
            self.sync(appended)?;
            self.is_appended = false;
        }
        if !self.is_appended {
            self.node.settle(std::mem::take(&mut self.is_urgent));
        }
        let mut attested = Vec::new();
        for action in held {
            match action {
                Action::Attest(header) => {
                    self.node.attest(&self.clock, &header, &mut attested)?;
                }
                shows => self.show(shows),
            }
        }
        self.is_urgent = self.node.take_urgent();
        let must_wait = attested
            .iter()
            .position(|action| self.is_urgent || matches!(action, Action::Persist(_)));
        let rest = attested.split_off(must_wait.unwrap_or(attested.len()));
        attested.into_iter().for_each(|action| self.show(action));
        self.actions = rest;
        Ok(())
    }

    /// Appends what an attestation brought at the end of the last turn: the state may rest on it. Nothing of
    /// it shows any more.
    fn append_rest(&mut self) -> Result<(), LogError> {
        for action in std::mem::take(&mut self.actions) {
            if let Action::Persist(entry) = action {
                self.append(entry)?;
            }
        }
        Ok(())
    }

    fn append(&mut self, entry: LogEntry) -> Result<(), LogError> {
        match entry {
            LogEntry::Whole(record) => self.log.append(Tag(record.place.number()), &record.bytes),
            LogEntry::Draft(record) => {
                self.log.append_draft(Tag(record.place.number()), record.bytes)
            }
            LogEntry::Attested { place, attestation } => {
                self.log.complete(Tag(place.number()), &attestation.0)
            }
        }
    }

    /// Makes durable what was `appended`, which the trace tells.
    fn sync(&mut self, appended: bool) -> Result<(), LogError> {
        let begun = self.clock.now();
        self.log.sync()?;
        let at = self.clock.now();
        let took_us = at.0.saturating_sub(begun.0);
        tracing::trace!(target: HOPS, at_us = at.0, hop = "durable", appended, took_us);
        Ok(())
    }

    /// Lets out what has nothing to wait for.
    fn show(&mut self, action: Action<N::Message, N::Event>) {
        match action {
            Action::Persist(_) | Action::Attest(_) => {}
            Action::Send(to, message) if to == self.own => self.own_messages.push_back(message),
            Action::Send(to, message) => self.send(to, &message),
            Action::Broadcast(message) => self.broadcast(message),
            Action::Emit(event) => self.on_event(event),
            Action::Accuse(who, offence) => report(who, &offence),
        }
    }

    fn send(&mut self, to: ReplicaId, message: &N::Message) {
        let (priority, bytes) = self.node.bytes(message);
        self.network.send(to, priority, Arc::from(bytes));
    }

    fn broadcast(&mut self, message: N::Message) {
        let (priority, bytes) = self.node.bytes(&message);
        let bytes: Arc<[u8]> = Arc::from(bytes);
        for peer in self.network.peers() {
            self.network.send(peer, priority, Arc::clone(&bytes));
        }
        self.own_messages.push_back(message);
    }

    fn on_event(&mut self, event: N::Event) {
        match self.node.effect(event) {
            Effect::ToClient(connection, bytes) => {
                self.listener.send(ConnectionId(connection), Arc::from(bytes));
            }
            Effect::Archive { to, part } => self.answer_from_log(to, part),
            Effect::Serve { to, request } => self.serving.ask(to, request),
            Effect::Prune(below) => self.log.prune(Tag(below.number())),
            Effect::None => {}
        }
    }

    /// One part of the state, if anyone waits for one and it is time.
    fn answer_from_state(&mut self) {
        let begun = Instant::now();
        let Some((to, request)) = self.serving.due(begun) else { return };
        let bytes = self.node.state_part(&request);
        self.network.send(to, Priority::Bulk, Arc::from(bytes));
        let now = Instant::now();
        self.serving.served(now, now - begun);
    }

    /// One page of the log; the peer asks again for the next.
    fn answer_from_log(&mut self, to: ReplicaId, part: LogPart) {
        match self.replays.page(Instant::now(), to, part) {
            Some(Ok(records)) => {
                for bytes in self.node.logged(&part, records) {
                    self.network.send(to, Priority::Bulk, Arc::from(bytes));
                }
            }
            Some(Err(cause)) => tracing::warn!(
                %cause,
                %to,
                "cannot read the log for a server that is behind; it asks others, but look at this disk"
            ),
            None => {}
        }
    }
}

impl Arrived {
    fn add_peer(&mut self, event: PeerEvent) {
        match event {
            PeerEvent::Frame { from, bytes } => self.peers.push((from, bytes)),
            PeerEvent::Connected(peer) => tracing::info!(%peer, "connected"),
            PeerEvent::Disconnected(peer) => tracing::info!(%peer, "disconnected"),
            PeerEvent::KeyShared(peer, addresses) => self.shared_keys.push((peer, addresses)),
        }
    }
}

fn report(who: ReplicaId, offence: &Misbehaviour) {
    match offence {
        Misbehaviour::Proven(evidence) => {
            let kind = evidence.kind();
            tracing::warn!(
                server = %who,
                kind,
                "proven misbehaviour: one of the f faults is spent until that server has another \
                 key; take it off the network, and see `ravelin doctor`"
            );
        }
        Misbehaviour::Suspected(suspicion) => {
            tracing::debug!(server = %who, kind = suspicion.kind(), "suspicious message");
        }
    }
}

#[cfg(test)]
mod tests;
