//! A client's connection to a cluster: the voting session behind an async face.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ravelin_client::{
    ClientAction, Event, Misuse, Outcome, Session, SessionConfig, Ticket, Unanswered, Voted,
};
use ravelin_crypto::{Keyring, SigningKey};
use ravelin_model::limits::SERVER_MESSAGE_BYTES_MAX;
use ravelin_model::wire::{ChangeItem, ServerMessage, StateProof, StatusReport};
use ravelin_model::{
    AuditHead, AuditRecord, CommitStatement, Decode as _, Encode as _, Misbehaviour, Operation,
    Position, Refusal, ReplicaId, ServiceId, SessionId, SignedPlan, SignedStatement, Time,
};
use ravelin_runtime::client::{self, ClientCore, ClientOut, Command};
use ravelin_runtime::transport::connect::{Link, LinkConfig};
use ravelin_runtime::transport::{ChannelLimits, Timing, TransportKey};
use tokio::sync::{mpsc, oneshot, watch};

/// How long a call may wait for window room before it is tried again.
const ROOM_PAUSE: Duration = Duration::from_millis(2);

/// A connection to all servers of a cluster. Cheap to clone; the last clone closes it.
#[derive(Clone)]
pub(crate) struct Connection {
    commands: mpsc::Sender<Command<Core>>,
    shared: Arc<Mutex<Shared>>,
    connected: watch::Receiver<BTreeSet<ReplicaId>>,
}

/// What the session's task and the callers share.
#[derive(Default)]
struct Shared {
    waiting: HashMap<Ticket, oneshot::Sender<Event>>,
    watches: HashMap<Ticket, mpsc::UnboundedSender<Event>>,
    opening: Option<oneshot::Sender<Result<SessionId, Refusal>>>,
    closing: Option<oneshot::Sender<()>>,
    accused: Vec<(ReplicaId, Misbehaviour)>,
    contradicted: Vec<ReplicaId>,
    lost: Option<Refusal>,
}

/// Why a call has no result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// The caller must change something.
    #[error("the request cannot be sent")]
    Misuse(#[from] Misuse),
    /// The cluster refuses this client or session.
    #[error("the cluster refuses: {0:?}")]
    Refused(Refusal),
    /// The end without an answer; whether it was executed is not known.
    #[error("no answer, and it is not known whether the request was executed")]
    Unanswered,
    /// A read must be ordered, for which a session must be opened first.
    #[error("the servers do not agree on a reply, and no session is open to have the read ordered")]
    NoSession,
    /// No server that answered could prove the entry.
    #[error("no server showed a proof that holds")]
    NotProven,
}

/// The result of a proven read.
pub(crate) struct Proven {
    /// The value, if the key is there.
    pub(crate) value: Option<Vec<u8>>,
    /// What a quorum signed about the state that it comes from.
    pub(crate) statement: CommitStatement,
    /// What shows it to others: statements of a quorum, and the way to their root.
    pub(crate) proof: Box<(Vec<SignedStatement>, StateProof)>,
}

/// How a connection is made.
pub(crate) struct ConnectionConfig {
    /// The plan in force, checked.
    pub(crate) plan: SignedPlan,
    /// The epoch's keys.
    pub(crate) keyring: Keyring,
    /// The client's key.
    pub(crate) seed: zeroize::Zeroizing<[u8; 32]>,
    /// How long to wait for one server before asking others.
    pub(crate) patience: Duration,
}

impl Connection {
    /// Connects to all servers; nothing is sent yet. Must run inside a tokio runtime.
    pub(crate) fn start(config: &ConnectionConfig) -> anyhow::Result<Self> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed)?;
        let session = Session::new(
            config.keyring.clone(),
            config.plan.clone(),
            SigningKey::ed25519(&config.seed),
            SessionConfig { patience: config.patience, seed },
        );
        let key = TransportKey::from_seed(&config.seed);
        let (events, network) = Link::events();
        let members = config.plan.plan.members.iter().enumerate();
        let links = members
            .map(|(index, member)| {
                let server = ReplicaId(u16::try_from(index).unwrap_or(u16::MAX));
                let link = LinkConfig {
                    key: key.clone(),
                    server,
                    address: member.client_address.clone(),
                    server_key: member.transport,
                    limits: ChannelLimits::LINK,
                    timing: Timing::default(),
                };
                (server, Link::start(link, events.clone()))
            })
            .collect();
        let (commands, received) = mpsc::channel(client::COMMANDS_MAX);
        let shared = Arc::new(Mutex::new(Shared::default()));
        let of_task = Arc::clone(&shared);
        let (now_connected, connected) = watch::channel(BTreeSet::new());
        let core = Core(session, now_connected);
        tokio::spawn(client::run(core, links, network, received, move |event| {
            deliver(&of_task, event);
            true
        }));
        Ok(Self { commands, shared, connected })
    }

    /// Waits until at least `count` servers are connected.
    pub(crate) async fn connected(&self, count: usize) {
        // The task that tells ends with this connection only.
        let _ = self.connected.clone().wait_for(|servers| servers.len() >= count).await;
    }

    /// The servers that are connected now.
    pub(crate) fn servers(&self) -> BTreeSet<ReplicaId> {
        self.connected.borrow().clone()
    }

    /// Waits until the servers that are connected are others than `known`, and says which they are.
    pub(crate) async fn others_than(&self, known: &BTreeSet<ReplicaId>) -> BTreeSet<ReplicaId> {
        let mut connected = self.connected.clone();
        match connected.wait_for(|servers| servers != known).await {
            Ok(servers) => servers.clone(),
            Err(_) => std::future::pending().await, // the task that tells ends with this connection
        }
    }

    /// Opens the session; its id is the position where it began.
    pub(crate) async fn open(&self) -> Result<SessionId, CallError> {
        let (tell, told) = oneshot::channel();
        self.lock().opening = Some(tell);
        self.command(|session, now, out| session.open(now, out)).await??;
        match told.await {
            Ok(Ok(session)) => Ok(session),
            Ok(Err(refusal)) => Err(CallError::Refused(refusal)),
            Err(_) => Err(CallError::Unanswered),
        }
    }

    /// Submits one envelope of operations and waits for the voted results.
    pub(crate) async fn submit(&self, operations: Vec<Operation>) -> Result<Vec<Voted>, CallError> {
        let operations = Arc::new(operations);
        let answer = self
            .ask(move |session, now, out| session.submit(now, operations.as_ref().clone(), out))
            .await?;
        match answer {
            Event::Answered { results, .. } => Ok(results),
            _ => Err(CallError::Unanswered),
        }
    }

    /// Reads without ordering where a quorum agrees, by ordering otherwise.
    pub(crate) async fn read(
        &self,
        service: ServiceId,
        request: Vec<u8>,
    ) -> Result<Outcome, CallError> {
        let ask =
            self.ask(move |session, now, out| session.read(now, service, request.clone(), out));
        match ask.await? {
            Event::Read { outcome, .. } => Ok(outcome),
            _ => Err(CallError::Unanswered),
        }
    }

    /// Reads one entry from a state that a quorum signed, by one server's word and its proof.
    pub(crate) async fn prove(
        &self,
        service: ServiceId,
        key: Vec<u8>,
    ) -> Result<Proven, CallError> {
        let ask = self.ask(move |session, now, out| session.prove(now, service, key.clone(), out));
        match ask.await? {
            Event::Proven { value, statement, proof, .. } => Ok(Proven { value, statement, proof }),
            _ => Err(CallError::Unanswered),
        }
    }

    /// Reads lists of the audit log that lead to `head`, by one server's word and the chain; beside
    /// them, the head before them.
    pub(crate) async fn audit(
        &self,
        head: AuditHead,
    ) -> Result<(AuditHead, Vec<AuditRecord>), CallError> {
        match self.ask(move |session, now, out| session.audit(now, head, out)).await? {
            Event::Audited { before, records, .. } => Ok((before, records)),
            _ => Err(CallError::Unanswered),
        }
    }

    /// Asks every server how it sees itself and the others.
    pub(crate) async fn status(
        &self,
    ) -> Result<std::collections::BTreeMap<ReplicaId, StatusReport>, CallError> {
        match self.ask(|session, now, out| session.status(now, out)).await? {
            Event::Status { reports, .. } => Ok(reports),
            _ => Err(CallError::Unanswered),
        }
    }

    /// Follows the changes of a service from `from` on.
    pub(crate) async fn watch(
        &self,
        service: ServiceId,
        prefix: Vec<u8>,
        from: Position,
    ) -> Result<Watch, CallError> {
        let (tell, told) = mpsc::unbounded_channel();
        let shared = Arc::clone(&self.shared);
        self.command(move |session, _, out| {
            let ticket = session.watch(service, prefix, from, out)?;
            lock(&shared).watches.insert(ticket, tell);
            Ok::<(), Misuse>(())
        })
        .await??;
        Ok(Watch { told })
    }

    /// Ends the session in good order.
    pub(crate) async fn close(&self) -> Result<(), CallError> {
        let (tell, told) = oneshot::channel();
        self.lock().closing = Some(tell);
        self.command(|session, now, out| session.close(now, out)).await??;
        told.await.map_err(|_| CallError::Unanswered)
    }

    /// Proofs and contradictions that this session came upon.
    pub(crate) fn accused(&self) -> Vec<(ReplicaId, Misbehaviour)> {
        self.lock().accused.clone()
    }

    /// Servers that told something else than what was agreed, once for each time.
    pub(crate) fn contradicted(&self) -> Vec<ReplicaId> {
        self.lock().contradicted.clone()
    }

    /// How often `server` was caught telling something else than what was agreed.
    pub(crate) fn refused_of(&self, server: ReplicaId) -> usize {
        let shared = self.lock();
        let accused = shared.accused.iter().filter(|(who, _)| *who == server).count();
        accused + shared.contradicted.iter().filter(|who| **who == server).count()
    }

    /// Asks and waits for the answer, trying again while there is no room for the question.
    async fn ask<F>(&self, question: F) -> Result<Event, CallError>
    where
        F: Fn(&mut Session, Time, &mut Vec<ClientAction>) -> Result<Ticket, Misuse>
            + Clone
            + Send
            + 'static,
    {
        loop {
            let (tell, told) = oneshot::channel();
            let shared = Arc::clone(&self.shared);
            let question = question.clone();
            let asked = self
                .command(move |session, now, out| {
                    let ticket = question(session, now, out)?;
                    lock(&shared).waiting.insert(ticket, tell);
                    Ok::<(), Misuse>(())
                })
                .await?;
            match asked {
                Ok(()) => {}
                Err(
                    Misuse::WindowFull { .. } | Misuse::BytesFull { .. } | Misuse::TooMany { .. },
                ) => {
                    tokio::time::sleep(ROOM_PAUSE).await;
                    continue;
                }
                Err(misuse) => return Err(misuse.into()),
            }
            return match told.await {
                Ok(Event::Unanswered { why, .. }) => Err(Self::unanswered(why)),
                Err(_) => Err(CallError::Unanswered),
                Ok(event) => Ok(event),
            };
        }
    }

    fn unanswered(why: Unanswered) -> CallError {
        match why {
            Unanswered::Denied(refusal) => CallError::Refused(refusal),
            Unanswered::NoSession => CallError::NoSession,
            Unanswered::NotProven => CallError::NotProven,
            Unanswered::SessionLost => CallError::Unanswered,
        }
    }

    /// Why the cluster ended the session, if it did.
    pub(crate) fn lost(&self) -> Option<Refusal> {
        self.lock().lost
    }

    /// Runs `action` on the session, in its task.
    async fn command<T: Send + 'static>(
        &self,
        action: impl FnOnce(&mut Session, Time, &mut Vec<ClientAction>) -> T + Send + 'static,
    ) -> Result<T, CallError> {
        let (tell, told) = oneshot::channel();
        let command: Command<Core> = Box::new(move |core, now, out| {
            let mut actions = Vec::new();
            let result = action(&mut core.0, now, &mut actions);
            // Whoever asked is registered before what was asked can be answered.
            let _ = tell.send(result);
            perform(actions, out);
        });
        self.commands.send(command).await.map_err(|_| CallError::Unanswered)?;
        told.await.map_err(|_| CallError::Unanswered)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Shared> {
        lock(&self.shared)
    }
}

/// Changes as they come.
pub(crate) struct Watch {
    told: mpsc::UnboundedReceiver<Event>,
}

/// News of a watch.
pub(crate) enum Watched {
    /// The next changes, in order, without a gap.
    Changes(Vec<ChangeItem>),
    /// They are forgotten; begin again with a read. A hint where a watch could begin.
    Compacted(Position),
}

impl Watch {
    /// The next news; `None` when the watch has ended.
    pub(crate) async fn next(&mut self) -> Option<Watched> {
        match self.told.recv().await? {
            Event::Changed { items, .. } => Some(Watched::Changes(items)),
            Event::Compacted { oldest, .. } => Some(Watched::Compacted(oldest)),
            _ => None,
        }
    }
}

fn lock(shared: &Mutex<Shared>) -> std::sync::MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn deliver(shared: &Mutex<Shared>, event: Event) {
    let mut shared = lock(shared);
    match &event {
        Event::Opened { session } => tell_opening(&mut shared, Ok(*session)),
        Event::Refused { refusal } => tell_opening(&mut shared, Err(*refusal)),
        Event::Lost { refusal } => {
            shared.lost = Some(*refusal);
            tell_opening(&mut shared, Err(*refusal));
        }
        Event::Answered { ticket, .. }
        | Event::Read { ticket, .. }
        | Event::Proven { ticket, .. }
        | Event::Audited { ticket, .. }
        | Event::Status { ticket, .. }
        | Event::Unanswered { ticket, .. } => {
            if let Some(tell) = shared.waiting.remove(ticket) {
                let _ = tell.send(event); // the caller may have given up
            }
        }
        Event::Changed { ticket, .. } | Event::Compacted { ticket, .. } => {
            let ticket = *ticket;
            let gone = shared.watches.get(&ticket).is_none_or(|tell| tell.send(event).is_err());
            if gone {
                shared.watches.remove(&ticket);
            }
        }
        Event::NoQuorum { .. } => {} // whoever waits has a deadline of its own
        Event::Closed => {
            if let Some(tell) = shared.closing.take() {
                let _ = tell.send(());
            }
        }
        Event::Followed { .. } => {} // members come and go in no release yet
        // More than `f` are intruded: whatever they say now, this client believes no more.
        Event::Forked { .. } => shared.lost = Some(Refusal::Halted),
        Event::Contradicted { replica, .. } => shared.contradicted.push(*replica),
        Event::Accused { replica, misbehaviour } => {
            let accusation = (*replica, (**misbehaviour).clone());
            shared.accused.push(accusation);
        }
    }
}

fn tell_opening(shared: &mut Shared, outcome: Result<SessionId, Refusal>) {
    if let Some(tell) = shared.opening.take() {
        let _ = tell.send(outcome);
    }
}

/// The session as the driver sees it, and where it tells who is connected.
struct Core(Session, watch::Sender<BTreeSet<ReplicaId>>);

fn perform(actions: Vec<ClientAction>, out: &mut ClientOut<Event>) {
    for action in actions {
        match action {
            ClientAction::Send(to, message) => {
                out.sends.push((to, Arc::from(message.encode())));
            }
            ClientAction::Deliver(event) => out.events.push(event),
        }
    }
}

impl ClientCore for Core {
    type Event = Event;

    fn on_frame(&mut self, now: Time, from: ReplicaId, bytes: &[u8], out: &mut ClientOut<Event>) {
        if bytes.len() > SERVER_MESSAGE_BYTES_MAX {
            return;
        }
        if let Ok(message) = ServerMessage::decode("server message", bytes) {
            let mut actions = Vec::new();
            self.0.on_message(now, from, message, &mut actions);
            perform(actions, out);
        }
    }

    fn on_connected(&mut self, now: Time, server: ReplicaId, out: &mut ClientOut<Event>) {
        let mut actions = Vec::new();
        self.0.on_connected(now, server, &mut actions);
        self.1.send_modify(|connected| {
            connected.insert(server);
        });
        perform(actions, out);
    }

    fn on_disconnected(&mut self, now: Time, server: ReplicaId, out: &mut ClientOut<Event>) {
        let mut actions = Vec::new();
        self.0.on_disconnected(now, server, &mut actions);
        self.1.send_modify(|connected| {
            connected.remove(&server);
        });
        perform(actions, out);
    }

    fn on_time(&mut self, now: Time, out: &mut ClientOut<Event>) {
        let mut actions = Vec::new();
        self.0.on_time(now, &mut actions);
        perform(actions, out);
    }

    fn next_deadline(&self) -> Option<Time> {
        self.0.next_deadline()
    }
}
