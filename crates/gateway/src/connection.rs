//! A client's connection to a cluster: the voting session behind an async face.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ravelin_client::{
    ClientAction, Event, Misuse, Outcome, ReadPath, Session, SessionConfig, Ticket, Unanswered,
    Voted,
};
use ravelin_crypto::{Keyring, SigningKey};
use ravelin_model::limits::{CLIENT_PATIENCE, SERVER_MESSAGE_BYTES_MAX};
use ravelin_model::wire::{ChangeItem, ServerMessage, StateProof, StatusReport};
use ravelin_model::{
    AuditHead, AuditRecord, CommitStatement, Decode as _, Encode as _, Group, Misbehaviour,
    Operation, Position, Refusal, ReplicaId, ServiceId, SessionId, SignedPlan, SignedStatement,
    Time,
};
use ravelin_runtime::client::{self, ClientCore, ClientOut, Command};
use ravelin_runtime::transport::connect::{Link, LinkConfig};
use ravelin_runtime::transport::{Timing, TransportKey};
use tokio::sync::{mpsc, oneshot, watch};

use crate::limits::{ACCUSATIONS_MAX, WATCH_QUEUE_BYTES_MAX};

/// How long a call may wait for window room before it is tried again.
const ROOM_PAUSE: Duration = Duration::from_millis(2);

/// A connection to all servers of a cluster. Cheap to clone; the last clone closes it.
#[derive(Clone)]
pub struct Connection {
    commands: mpsc::Sender<Command<Core>>,
    shared: Arc<Mutex<Shared>>,
    connected: watch::Receiver<BTreeSet<ReplicaId>>,
}

/// What the session's task and the callers share.
#[derive(Default)]
struct Shared {
    waiting: HashMap<Ticket, oneshot::Sender<Event>>,
    watches: HashMap<Ticket, Feed>,
    opening: Option<oneshot::Sender<Result<SessionId, Refusal>>>,
    closing: Option<oneshot::Sender<()>>,
    accused: Vec<(ReplicaId, Misbehaviour)>,
    /// How often each server was caught in a lie.
    contradicted: BTreeMap<ReplicaId, usize>,
    lost: Option<Refusal>,
}

/// Where the news of a watch go. Its queue is bounded by bytes, of which the task that fills it and
/// the reader keep one account.
struct Feed {
    tell: mpsc::UnboundedSender<Event>,
    account: Arc<Account>,
}

/// What of a watch is told and not yet read.
#[derive(Default)]
struct Account {
    bytes: AtomicUsize,
    /// The reader was too slow, and news were dropped.
    is_overrun: AtomicBool,
}

impl Feed {
    /// Queues `event`, and says whether the watch goes on.
    fn take(&self, event: Event) -> bool {
        let size = size_of_news(&event);
        let queued = self.account.bytes.fetch_add(size, Ordering::Relaxed);
        // The first one always fits, so that a watch gets on whatever a change holds.
        if queued > 0 && queued + size > WATCH_QUEUE_BYTES_MAX {
            self.account.is_overrun.store(true, Ordering::Relaxed);
            return false;
        }
        self.tell.send(event).is_ok()
    }
}

/// What the news of a watch cost to keep.
fn size_of_news(event: &Event) -> usize {
    let Event::Changed { items, .. } = event else { return 0 };
    let size = |item: &ChangeItem| {
        let value = item.change.value.as_ref().map_or(0, Vec::len);
        size_of::<ChangeItem>() + item.change.key.len() + value
    };
    items.iter().map(size).sum()
}

/// Why a call has no result.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
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
pub struct Proven {
    /// The value, if the key is there.
    pub value: Option<Vec<u8>>,
    /// What a quorum signed about the state that it comes from.
    pub statement: CommitStatement,
    /// What shows it to others: statements of a quorum, and the way to their root.
    pub proof: Box<(Vec<SignedStatement>, StateProof)>,
}

/// How a connection is made.
pub struct ConnectionConfig {
    /// The plan in force, checked.
    pub plan: SignedPlan,
    /// The epoch's keys.
    pub keyring: Keyring,
    /// The client's key.
    pub seed: zeroize::Zeroizing<[u8; 32]>,
    /// How long to wait for one server before asking others.
    pub patience: Duration,
}

impl Connection {
    /// Connects to all servers; nothing is sent yet. Must run inside a tokio runtime.
    ///
    /// # Errors
    /// The operating system gives no randomness.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(config: &ConnectionConfig) -> io::Result<Self> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|error| io::Error::other(error.to_string()))?;
        let session = Session::new(
            config.keyring.clone(),
            config.plan.clone(),
            SigningKey::ed25519(&config.seed),
            SessionConfig { patience: config.patience, seed },
        );
        let key = TransportKey::from_seed(&config.seed);
        let (events, network) = Link::events();
        let links = LinkConfig::to_all(&key, &config.plan.plan, Timing::default())
            .map(|link| (link.server, Link::start(link, events.clone())))
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
    pub async fn connected(&self, count: usize) {
        // The task that tells ends with this connection only.
        let _ = self.connected.clone().wait_for(|servers| servers.len() >= count).await;
    }

    /// Waits until as many servers are connected as may answer a read without ordering. Where those are
    /// more than a quorum, their rest is waited for as long as a client is patient: one that is down must
    /// not hold reads up, which are ordered then.
    pub async fn connected_to_read(&self, group: Group) {
        self.connected(group.quorum()).await;
        let rest = self.connected(group.fast_read());
        let _ = tokio::time::timeout(CLIENT_PATIENCE, rest).await;
    }

    /// The servers that are connected now.
    pub fn servers(&self) -> BTreeSet<ReplicaId> {
        self.connected.borrow().clone()
    }

    /// Waits until the servers that are connected are others than `known`, and says which they are.
    pub async fn others_than(&self, known: &BTreeSet<ReplicaId>) -> BTreeSet<ReplicaId> {
        let mut connected = self.connected.clone();
        match connected.wait_for(|servers| servers != known).await {
            Ok(servers) => servers.clone(),
            Err(_) => std::future::pending().await, // the task that tells ends with this connection
        }
    }

    /// Opens the session; its id is the position where it began.
    pub async fn open(&self) -> Result<SessionId, CallError> {
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
    pub async fn submit(&self, operations: Vec<Operation>) -> Result<Vec<Voted>, CallError> {
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
    pub async fn read(&self, service: ServiceId, request: Vec<u8>) -> Result<Outcome, CallError> {
        self.read_with_path(service, request).await.map(|(outcome, _)| outcome)
    }

    /// The same, with how it was answered.
    pub async fn read_with_path(
        &self,
        service: ServiceId,
        request: Vec<u8>,
    ) -> Result<(Outcome, ReadPath), CallError> {
        let ask =
            self.ask(move |session, now, out| session.read(now, service, request.clone(), out));
        match ask.await? {
            Event::Read { outcome, path, .. } => Ok((outcome, path)),
            _ => Err(CallError::Unanswered),
        }
    }

    /// Reads one entry from a state that a quorum signed, by one server's word and its proof.
    pub async fn prove(&self, service: ServiceId, key: Vec<u8>) -> Result<Proven, CallError> {
        let ask = self.ask(move |session, now, out| session.prove(now, service, key.clone(), out));
        match ask.await? {
            Event::Proven { value, statement, proof, .. } => Ok(Proven { value, statement, proof }),
            _ => Err(CallError::Unanswered),
        }
    }

    /// Reads lists of the audit log that lead to `head`, by one server's word and the chain; beside
    /// them, the head before them.
    pub async fn audit(&self, head: AuditHead) -> Result<(AuditHead, Vec<AuditRecord>), CallError> {
        match self.ask(move |session, now, out| session.audit(now, head, out)).await? {
            Event::Audited { before, records, .. } => Ok((before, records)),
            _ => Err(CallError::Unanswered),
        }
    }

    /// Asks every server how it sees itself and the others.
    pub async fn status(&self) -> Result<BTreeMap<ReplicaId, StatusReport>, CallError> {
        match self.ask(|session, now, out| session.status(now, out)).await? {
            Event::Status { reports, .. } => Ok(reports),
            _ => Err(CallError::Unanswered),
        }
    }

    /// Follows the changes of a service from `from` on.
    pub async fn watch(
        &self,
        service: ServiceId,
        prefix: Vec<u8>,
        from: Position,
    ) -> Result<Watch, CallError> {
        let (tell, told) = mpsc::unbounded_channel();
        let account = Arc::new(Account::default());
        let feed = Feed { tell, account: Arc::clone(&account) };
        let shared = Arc::clone(&self.shared);
        let ticket = self
            .command(move |session, _, out| {
                let ticket = session.watch(service, prefix, from, out)?;
                lock(&shared).watches.insert(ticket, feed);
                Ok::<Ticket, Misuse>(ticket)
            })
            .await??;
        Ok(Watch { ticket, told, account, connection: self.clone() })
    }

    /// The open session, if there is one.
    ///
    /// # Errors
    /// The connection has ended.
    pub async fn session(&self) -> Result<Option<SessionId>, CallError> {
        self.command(|session, _, _| session.id()).await
    }

    /// Ends the session in good order.
    pub async fn close(&self) -> Result<(), CallError> {
        let (tell, told) = oneshot::channel();
        self.lock().closing = Some(tell);
        self.command(|session, now, out| session.close(now, out)).await??;
        told.await.map_err(|_| CallError::Unanswered)
    }

    /// Proofs and contradictions that this session came upon.
    pub fn accused(&self) -> Vec<(ReplicaId, Misbehaviour)> {
        self.lock().accused.clone()
    }

    /// The same, of which this connection keeps nothing from here on.
    pub fn take_accused(&self) -> Vec<(ReplicaId, Misbehaviour)> {
        std::mem::take(&mut self.lock().accused)
    }

    /// Servers that told something else than what was agreed.
    pub fn contradicted(&self) -> BTreeSet<ReplicaId> {
        self.lock().contradicted.keys().copied().collect()
    }

    /// How often `server` was caught telling something else than what was agreed.
    pub fn refused_of(&self, server: ReplicaId) -> usize {
        let shared = self.lock();
        let accused = shared.accused.iter().filter(|(who, _)| *who == server).count();
        accused + shared.contradicted.get(&server).copied().unwrap_or_default()
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
    pub fn lost(&self) -> Option<Refusal> {
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

/// Changes as they come. Dropping it ends the watch at the servers too.
pub struct Watch {
    ticket: Ticket,
    told: mpsc::UnboundedReceiver<Event>,
    account: Arc<Account>,
    connection: Connection,
}

/// News of a watch.
pub enum Watched {
    /// The next changes, in order, without a gap.
    Changes(Vec<ChangeItem>),
    /// They are forgotten; begin again with a read. A hint where a watch could begin.
    Compacted(Position),
    /// They were read too slowly, and the watch has ended: begin again after the last one.
    Overrun,
}

impl Watch {
    /// The next news; `None` when the watch has ended.
    pub async fn next(&mut self) -> Option<Watched> {
        let Some(event) = self.told.recv().await else {
            let is_overrun = self.account.is_overrun.swap(false, Ordering::Relaxed);
            return is_overrun.then_some(Watched::Overrun);
        };
        self.account.bytes.fetch_sub(size_of_news(&event), Ordering::Relaxed);
        match event {
            Event::Changed { items, .. } => Some(Watched::Changes(items)),
            Event::Compacted { oldest, .. } => Some(Watched::Compacted(oldest)),
            _ => None,
        }
    }

    /// Up to where everything was told, news that wait to be read included.
    pub async fn through(&self) -> Option<Position> {
        let ticket = self.ticket;
        let asked = self.connection.command(move |session, _, _| session.watched_through(ticket));
        asked.await.ok().flatten()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.connection.lock().watches.remove(&self.ticket);
        let (connection, ticket) = (self.connection.clone(), self.ticket);
        // Outside a runtime the connection has ended, and the watch with it.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                // One that has ended by itself is not known any more.
                let _ =
                    connection.command(move |session, _, out| session.unwatch(ticket, out)).await;
            });
        }
    }
}

fn lock(shared: &Mutex<Shared>) -> std::sync::MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn deliver(shared: &Mutex<Shared>, event: Event) {
    let mut shared = lock(shared);
    match &event {
        Event::Opened { session } => {
            // What ended an earlier session is over; that nothing is believed any more is not.
            shared.lost = shared.lost.filter(|lost| *lost == Refusal::Halted);
            tell_opening(&mut shared, Ok(*session));
        }
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
            let gone = shared.watches.get(&ticket).is_none_or(|feed| !feed.take(event));
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
        Event::Contradicted { replica, .. } => {
            *shared.contradicted.entry(*replica).or_default() += 1;
        }
        Event::Accused { .. } if shared.accused.len() >= ACCUSATIONS_MAX => {} // the first ones will do
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
