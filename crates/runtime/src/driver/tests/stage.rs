//! A node that plays a script, under the real driver, over a real log on a watched disk.
//!
//! Whatever is played, the stage itself asserts at each thing it sees what the driver promises: nothing
//! shows before the records asked for earlier are durable, nor before the urgent writes made earlier are;
//! the state settles only when all that was ever persisted is durable. A test adds in which order things
//! are seen, and says where the power fails.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ravelin_model::transfer::{StateRequest, Wanted};
use ravelin_model::{
    Action, Actions, Block, BlockHeader, BlockRef, ClusterId, CommitIndex, Digest, Epoch, LogEntry,
    LogPart, LogRecord, Place, Protocol, PublicKey, ReplicaId, Round, Signature, Suspicion, Time,
};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::clock::Clock;
use crate::driver::{Curb, Effect, Node, RunError, Totals, World, WormholeGone, run};
use crate::log::tests::Scratch;
use crate::log::tests::watched::{Watch, open_watched};
use crate::log::{Log, LogConfig};
use crate::transport::clients::{ClientConfig, ClientLimits, ClientListener};
use crate::transport::peers::{PeerConfig, PeerNetwork};
use crate::transport::{ChannelLimits, Priority, Received, Timing, TransportKey};

/// One step of a script.
#[derive(Clone, Debug)]
pub(super) enum Does {
    /// Has a record made durable.
    Persist(String),
    /// The same of one whose end may follow.
    Draft(String),
    /// The same of the last draft with an end.
    Complete(String),
    /// Says something to another server.
    Send(String),
    /// Says something to all.
    Broadcast(String),
    /// Answers a client.
    Reply(String),
    /// Has a part of the state sent to another server.
    Serve,
    /// Writes what must be durable before anything shows that is asked for later.
    WriteUrgently,
    /// Has the wormhole attest a block; these steps follow its answer.
    Attest(Vec<Self>),
    /// The wormhole is gone, if this follows its answer.
    LoseWormhole,
    /// Asks the driver to stop.
    Stop,
}

pub(super) fn persist(name: &str) -> Does {
    Does::Persist(name.into())
}

pub(super) fn draft(name: &str) -> Does {
    Does::Draft(name.into())
}

pub(super) fn complete(name: &str) -> Does {
    Does::Complete(name.into())
}

pub(super) fn send(name: &str) -> Does {
    Does::Send(name.into())
}

pub(super) fn broadcast(name: &str) -> Does {
    Does::Broadcast(name.into())
}

pub(super) fn reply(name: &str) -> Does {
    Does::Reply(name.into())
}

/// What is to be played.
#[derive(Clone, Debug, Default)]
pub(super) struct Play {
    /// What the node does before the first turn.
    pub(super) resumes: Vec<Does>,
    /// What it does in each turn; after the last one it stops.
    pub(super) turns: Vec<Vec<Does>>,
    /// Time between two turns of the script. Without any, no time passes for the driver in the whole play,
    /// however long this machine takes.
    pub(super) pace: Duration,
    /// The sync of the log that fails, from 0.
    pub(super) failing_sync: Option<usize>,
    /// The power fails when so many things were seen.
    pub(super) power_fails_at: Option<usize>,
}

/// How it ended.
#[derive(Debug)]
pub(super) enum Ended {
    Stopped,
    Failed(RunError),
    PowerFailed,
}

/// What was seen, and what is there afterwards.
pub(super) struct Played {
    pub(super) ended: Ended,
    /// In order.
    pub(super) seen: Vec<String>,
    /// When each was seen.
    pub(super) at: Vec<Instant>,
    /// Names of the records that the log holds when it is opened again.
    pub(super) log: Vec<String>,
    /// Names of all records that the node had asked for.
    pub(super) asked: Vec<String>,
    /// How many of them the state may rest on: those asked for when it last settled.
    pub(super) settled: usize,
    /// How many of them what was shown rests on.
    pub(super) shown: usize,
}

/// Plays turns whose end is to be a stop, and answers what was seen.
pub(super) fn seen(turns: Vec<Vec<Does>>) -> Vec<String> {
    let played = Play { turns, ..Play::default() }.run();
    assert!(matches!(played.ended, Ended::Stopped), "{:?}", played.ended);
    assert_eq!(played.log, played.asked, "what was persisted is there after an orderly stop");
    played.of_turns().to_vec()
}

impl Played {
    /// What was seen in the turns: a node that resumes with nothing settles at once.
    pub(super) fn of_turns(&self) -> &[String] {
        assert_eq!(self.seen[0], "settle");
        &self.seen[1..]
    }
}

impl Play {
    pub(super) fn run(self) -> Played {
        let scratch = Scratch::new();
        let journal = Journal::default();
        let config = LogConfig { owner: [7; 32], segment_bytes: 64 << 10, retention_bytes: 0 };
        let log = open_watched(&scratch.0, config.clone(), journal.clone().watch());
        // What opening the log syncs is not of the play.
        let power_fails_at = self.power_fails_at;
        let failing_sync = self.failing_sync;
        *journal.open() = Entries { power_fails_at, failing_sync, ..Entries::default() };
        let (stop, stopped) = oneshot::channel();
        let actor = Actor {
            journal: journal.clone(),
            resumes: self.resumes,
            turns: self.turns.into(),
            attestations: VecDeque::new(),
            pace: self.pace,
            next: Time(0),
            stop: Some(stop),
            is_urgent: false,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(self.pace.is_zero())
            .build()
            .unwrap();
        let played = catch_unwind(AssertUnwindSafe(|| {
            runtime.block_on(async { run(actor, world(log, stopped).await).await })
        }));
        let ended = match played {
            Ok(Ok(())) => Ended::Stopped,
            Ok(Err(error)) => Ended::Failed(error),
            Err(cause) if cause.is::<PowerFailure>() => Ended::PowerFailed,
            Err(cause) => resume_unwind(cause),
        };
        let mut records = Vec::new();
        let mut visit = |_, bytes: &[u8]| records.extend(names(bytes).pop());
        Log::open(&scratch.0, config, &mut visit).unwrap();
        let journal = std::mem::take(&mut *journal.open());
        Played {
            ended,
            seen: journal.seen,
            at: journal.at,
            log: records,
            asked: journal.asked,
            settled: journal.settled,
            shown: journal.shown,
        }
    }
}

/// A world without anybody in it.
async fn world(log: Log, stop: oneshot::Receiver<()>) -> World {
    let listen = async || TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (key, timing) = (TransportKey::from_seed(&[1; 32]), Timing::default());
    let peers = PeerNetwork::start(PeerConfig {
        me: ReplicaId(0),
        key: key.clone(),
        listener: listen().await,
        peers: vec![],
        limits: ChannelLimits::PEER,
        timing,
    });
    let clients = ClientListener::start(ClientConfig {
        key,
        listener: listen().await,
        limits: ClientLimits::default(),
        timing,
    });
    World { own: ReplicaId(0), peers: peers.unwrap(), clients, log, stop }
}

/// What ends a run as a loss of power does: nothing after it happens.
struct PowerFailure;

/// What was seen so far, shared by the node and the disk.
#[derive(Clone, Default)]
struct Journal(Arc<Mutex<Entries>>);

#[derive(Default)]
struct Entries {
    seen: Vec<String>,
    at: Vec<Instant>,
    power_fails_at: Option<usize>,
    failing_sync: Option<usize>,
    /// How many were tried.
    syncs: usize,
    /// Records that the node asked for, and those that are durable.
    asked: Vec<String>,
    durable: Vec<String>,
    /// Urgent writes that the node made, and those that are durable.
    urgent: usize,
    urgent_durable: usize,
    settled: usize,
    shown: usize,
}

impl Entries {
    /// Whether the sync fails that is tried now.
    fn is_sync_failing(&mut self) -> bool {
        self.syncs += 1;
        self.failing_sync == Some(self.syncs - 1)
    }
}

impl Journal {
    fn open(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something is about to happen, unless the power fails before.
    fn note(&self, what: impl Into<String>) -> MutexGuard<'_, Entries> {
        let mut entries = self.open();
        if entries.power_fails_at == Some(entries.seen.len()) {
            drop(entries);
            resume_unwind(Box::new(PowerFailure));
        }
        entries.seen.push(what.into());
        entries.at.push(Instant::now());
        entries
    }

    /// What the disk says when it is to make bytes durable.
    fn watch(self) -> Watch {
        Box::new(move |bytes| {
            let names = names(bytes);
            if self.open().is_sync_failing() {
                drop(self.note("sync fails"));
                return Err(io::Error::other("the disk is gone"));
            }
            let mut entries = self.note(format!("sync {}", names.join(" ")).trim());
            entries.durable.extend(names);
            Ok(())
        })
    }

    /// Something shows that was asked for when so much was there.
    fn show(&self, what: String, rests_on: RestsOn) {
        let mut entries = self.note(what);
        let what = entries.seen.last().cloned();
        assert!(
            entries.durable.len() >= rests_on.records,
            "{what:?} before its records are durable"
        );
        assert!(entries.urgent_durable >= rests_on.urgent, "{what:?} before an urgent write");
        entries.shown = entries.shown.max(rests_on.records);
    }

    /// The state may become durable.
    fn settle(&self, what: &str, is_synced: bool) {
        let mut entries = self.note(what);
        assert_eq!(entries.durable, entries.asked, "the state gets ahead of the log");
        entries.settled = entries.asked.len();
        if is_synced {
            entries.urgent_durable = entries.urgent;
        }
    }
}

/// What stands before the name of a record: longer than what checksums beside it may contain by chance.
const MARK: &str = "<the record ";

/// Names of the records in the bytes of a log.
fn names(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let parts = text.split(MARK).skip(1).filter_map(|part| part.split_once('>'));
    parts.map(|(name, _)| name.to_owned()).collect()
}

/// What must be durable before something shows: so many of the node's records, and urgent writes.
#[derive(Clone, Copy)]
struct RestsOn {
    records: usize,
    urgent: usize,
}

/// Something to be shown.
#[derive(Clone)]
struct Told {
    what: String,
    rests_on: RestsOn,
}

/// What the node has the driver do.
enum Event {
    Reply(Told),
    Serve,
}

struct Actor {
    journal: Journal,
    resumes: Vec<Does>,
    turns: VecDeque<Vec<Does>>,
    /// What follows each answer of the wormhole.
    attestations: VecDeque<Vec<Does>>,
    pace: Duration,
    /// When the next turn of the script is due.
    next: Time,
    stop: Option<oneshot::Sender<()>>,
    is_urgent: bool,
}

impl Actor {
    fn play(&mut self, steps: Vec<Does>, out: &mut Actions<Self>) {
        for step in steps {
            match step {
                Does::Persist(name) => out.push(self.persist(name, LogEntry::Whole)),
                Does::Draft(name) => out.push(self.persist(name, |mut record| {
                    record.bytes.extend(Block::UNATTESTED.0);
                    LogEntry::Draft(record)
                })),
                Does::Complete(name) => out.push(self.persist(name, |mut record| {
                    record.bytes.resize(64, 0);
                    let attestation = Signature(record.bytes.try_into().expect("a short name"));
                    LogEntry::Attested { place: record.place, attestation }
                })),
                Does::Send(what) => {
                    out.push(Action::Send(ReplicaId(1), self.told(&format!("send {what}"))));
                }
                Does::Broadcast(what) => {
                    out.push(Action::Broadcast(self.told(&format!("broadcast {what}"))));
                }
                Does::Reply(what) => {
                    out.push(Action::Emit(Event::Reply(self.told(&format!("reply {what}")))));
                }
                Does::Serve => out.push(Action::Emit(Event::Serve)),
                Does::WriteUrgently => {
                    self.journal.open().urgent += 1;
                    self.is_urgent = true;
                }
                Does::Attest(steps) => {
                    self.attestations.push_back(steps);
                    out.push(Action::Attest(header(self.rests_on())));
                }
                Does::LoseWormhole => {}
                Does::Stop => self.end(),
            }
        }
    }

    fn persist<M, E>(
        &self,
        name: String,
        entry: impl FnOnce(LogRecord) -> LogEntry,
    ) -> Action<M, E> {
        let place = Place { epoch: Epoch(0), round: Round(1) };
        let bytes = format!("{MARK}{name}>").into_bytes();
        self.journal.open().asked.push(name);
        Action::Persist(entry(LogRecord { place, bytes }))
    }

    fn end(&mut self) {
        if let Some(stop) = self.stop.take() {
            stop.send(()).expect("the driver runs");
        }
    }

    fn told(&self, what: &str) -> Told {
        Told { what: what.into(), rests_on: self.rests_on() }
    }

    fn rests_on(&self) -> RestsOn {
        let entries = self.journal.open();
        RestsOn { records: entries.asked.len(), urgent: entries.urgent }
    }
}

/// A block whose round and epoch say what it rests on.
fn header(rests_on: RestsOn) -> BlockHeader {
    let (records, urgent) = (rests_on.records as u64, rests_on.urgent as u64);
    BlockHeader {
        cluster: ClusterId(Digest([0; 32])),
        genesis: Digest([0; 32]),
        epoch: Epoch(urgent),
        previous: Round(0),
        reference: BlockRef {
            round: Round(records),
            author: ReplicaId(0),
            digest: Digest([0; 32]),
        },
    }
}

impl Protocol for Actor {
    type Message = Told;
    type Event = Event;

    fn on_message(&mut self, _: Time, from: ReplicaId, message: Told, _: &mut Actions<Self>) {
        assert_eq!(from, ReplicaId(0), "nobody else is there");
        self.journal.show(format!("own {}", message.what), message.rests_on);
    }

    fn on_time(&mut self, now: Time, out: &mut Actions<Self>) {
        if self.turns.is_empty() {
            self.end();
        } else if now >= self.next {
            self.next = now.after(self.pace);
            let steps = self.turns.pop_front().expect("there is one");
            self.play(steps, out);
        }
    }

    fn next_deadline(&self) -> Option<Time> {
        Some(self.next)
    }
}

impl Node for Actor {
    fn check(&self, frames: &[(ReplicaId, Received)]) -> Vec<Result<Told, Suspicion>> {
        assert!(frames.is_empty(), "nobody else is there");
        vec![]
    }

    fn bytes(&self, message: &Told) -> (Priority, Vec<u8>) {
        self.journal.show(message.what.clone(), message.rests_on);
        (Priority::Protocol, message.what.clone().into_bytes())
    }

    fn logged(&self, _: &LogPart, _: Vec<LogRecord>) -> Vec<Vec<u8>> {
        vec![]
    }

    fn state_part(&self, _: &StateRequest) -> Vec<u8> {
        let RestsOn { urgent, .. } = self.rests_on();
        self.journal.show("state part".into(), RestsOn { records: 0, urgent });
        vec![]
    }

    fn effect(&mut self, event: Event) -> Effect {
        match event {
            Event::Reply(told) => {
                self.journal.show(told.what.clone(), told.rests_on);
                Effect::ToClient(0, told.what.into_bytes())
            }
            Event::Serve => {
                let request =
                    StateRequest { commit: CommitIndex(0), wanted: Wanted::Entries(vec![]) };
                Effect::Serve { to: ReplicaId(1), request }
            }
        }
    }

    fn resume(&mut self, _: Time, out: &mut Actions<Self>) {
        let steps = std::mem::take(&mut self.resumes);
        self.play(steps, out);
    }

    fn on_suspicion(&mut self, _: ReplicaId, _: Suspicion, _: &mut Actions<Self>) {}

    fn on_key_shared(&mut self, _: ReplicaId, _: [SocketAddr; 2], _: &mut Actions<Self>) {}

    fn on_client_opened(&mut self, _: u64, _: PublicKey) {}

    fn on_client_closed(&mut self, _: u64) {}

    fn on_client_frames(
        &mut self,
        _: Time,
        _: &[(u64, Received)],
        _: &mut Actions<Self>,
    ) -> Vec<(u64, Curb)> {
        vec![]
    }

    fn attest(
        &mut self,
        _: &Clock,
        header: &BlockHeader,
        out: &mut Actions<Self>,
    ) -> Result<(), WormholeGone> {
        let (records, urgent) = (header.reference.round.0 as usize, header.epoch.0 as usize);
        self.journal.show("attest".into(), RestsOn { records, urgent });
        let steps = self.attestations.pop_front().expect("one for each");
        if matches!(steps.first(), Some(Does::LoseWormhole)) {
            return Err(WormholeGone("it is gone".into()));
        }
        self.play(steps, out);
        Ok(())
    }

    fn show(&self, _: &Totals) {
        let entries = self.journal.open();
        assert_eq!(entries.urgent_durable, entries.urgent, "monitors see an urgent write");
    }

    fn take_urgent(&mut self) -> bool {
        std::mem::take(&mut self.is_urgent)
    }

    fn settle(&mut self, is_urgent: bool) {
        self.journal.settle(if is_urgent { "settle durably" } else { "settle" }, is_urgent);
    }

    fn close(&mut self) {
        self.journal.settle("close", true);
    }
}
