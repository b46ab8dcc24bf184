//! A group of cores in virtual time: every delay, loss and duplicate from a seed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use ravelin_model::limits::CHECKPOINT_EVERY_DEFAULT;
use ravelin_model::{
    Action, Block, BlockRef, CommitIndex, Decode as _, Envelope, FaultModel, LogEntry, LogPart,
    LogRecord, Protocol as _, ReplicaId, Round, Time, Vote,
};
use ravelin_multicast::{
    Committed, Event, Message, Ordering, OrderingState, Payload, Standing, Start, Views,
};

use crate::checker::Checker;
use crate::dice::Dice;
use crate::intruder::Intruder;
use crate::keys::Keys;

/// Blocks in one answer to a replay.
const REPLAYED_BLOCKS: usize = 64;

pub(crate) type Core = Ordering<Requests>;

/// Envelopes that wait to be ordered.
#[derive(Default)]
pub(crate) struct Requests(pub(crate) VecDeque<Envelope>);

impl Payload for Requests {
    fn is_waiting(&self) -> bool {
        !self.0.is_empty()
    }

    fn draw(&mut self, _: usize, _: usize) -> (Vec<Envelope>, Vec<Vote>) {
        (self.0.drain(..).collect(), vec![])
    }

    fn give_back(&mut self, envelopes: &[Envelope]) {
        self.0.extend(envelopes.iter().cloned());
    }
}

/// One message on its way.
pub(crate) struct Hop<'a> {
    pub(crate) now: Time,
    pub(crate) from: ReplicaId,
    pub(crate) to: ReplicaId,
    pub(crate) message: &'a Message,
}

/// When the copies of a message arrive; none if it is lost.
pub(crate) type Delays = Box<dyn FnMut(&mut Dice, &Hop<'_>) -> Vec<Duration>>;

/// Everything arrives after the same time.
pub(crate) fn steady(delay: Duration) -> Delays {
    Box::new(move |_, _| vec![delay])
}

/// Anything between nothing and `most`, so that messages overtake each other; some twice.
pub(crate) fn shuffled(most: Duration) -> Delays {
    Box::new(move |dice, _| {
        let copies = if dice.chance(10) { 2 } else { 1 };
        let most = u64::try_from(most.as_micros()).expect("short");
        (0..copies).map(|_| Duration::from_micros(dice.below(most))).collect()
    })
}

/// What a restarted replica finds on its disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disk {
    /// Its whole log.
    Log,
    /// Its log, and the ordering state after its last commit.
    Checkpoint,
    /// Nothing.
    Wiped,
}

/// When a replica stops, and whether what it was just writing is on its disk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crash {
    pub(crate) at_persist: usize,
    pub(crate) is_written: bool,
}

enum Seat {
    Up(Box<Core>),
    Down,
    Intruder(Box<dyn Intruder>),
}

pub(crate) struct Node {
    seat: Seat,
    disk: Vec<LogRecord>,
    held: VecDeque<(Time, Action<Message, Event>)>,
    pub(crate) persists: usize,
    pub(crate) crash: Option<Crash>,
    pub(crate) clock_ahead: Duration,
    wake: Option<Time>,
    nonce: u64,
    entered: BTreeSet<BlockRef>,
    checkpoint: Option<(OrderingState, BTreeSet<BlockRef>)>,
    /// When each request was first delivered here, by its number.
    pub(crate) delivered: BTreeMap<u64, Time>,
    pub(crate) standings: Vec<Standing>,
}

enum Happening {
    Arrival { from: ReplicaId, to: ReplicaId, message: Message },
    Wake(ReplicaId),
}

pub(crate) struct Cluster {
    pub(crate) seed: u64,
    pub(crate) keys: Keys,
    pub(crate) now: Time,
    pub(crate) checker: Checker,
    pub(crate) dice: Dice,
    pub(crate) nodes: Vec<Node>,
    /// Messages sent to others, and those among them that carry no block.
    pub(crate) sent: (usize, usize),
    /// Deadlines of cores that came.
    pub(crate) timers: usize,
    leaders: u16,
    fsync: Duration,
    delays: Delays,
    queue: BTreeMap<(Time, u64), Happening>,
    happenings: u64,
}

impl Cluster {
    /// A group of `n` that tolerates `f`, nobody started yet.
    pub(crate) fn new(seed: u64, n: u16, f: u16, leaders: u16) -> Self {
        let node = || Node {
            seat: Seat::Down,
            disk: vec![],
            held: VecDeque::new(),
            persists: 0,
            crash: None,
            clock_ahead: Duration::ZERO,
            wake: None,
            nonce: 0,
            entered: BTreeSet::new(),
            checkpoint: None,
            delivered: BTreeMap::new(),
            standings: vec![],
        };
        Self {
            seed,
            keys: Keys::new(n, f, FaultModel::Arbitrary),
            now: Time(1_000_000),
            checker: Checker::new(seed),
            dice: Dice::new(seed),
            nodes: (0..n).map(|_| node()).collect(),
            sent: (0, 0),
            timers: 0,
            leaders,
            fsync: Duration::ZERO,
            delays: steady(Duration::from_millis(1)),
            queue: BTreeMap::new(),
            happenings: 0,
        }
    }

    pub(crate) fn network(mut self, delays: Delays) -> Self {
        self.delays = delays;
        self
    }

    pub(crate) fn set_network(&mut self, delays: Delays) {
        self.delays = delays;
    }

    pub(crate) fn fsync(mut self, takes: Duration) -> Self {
        self.fsync = takes;
        self
    }

    pub(crate) fn intrude(mut self, id: u16, intruder: Box<dyn Intruder>) -> Self {
        self.checker.on_intrusion(ReplicaId(id));
        self.nodes[usize::from(id)].seat = Seat::Intruder(intruder);
        self
    }

    /// Starts everyone who is not an intruder.
    pub(crate) fn up(mut self) -> Self {
        for id in 0..self.nodes.len() {
            if matches!(self.nodes[id].seat, Seat::Down) {
                self.restart(u16::try_from(id).expect("small"), Disk::Log);
            } else {
                self.schedule(self.now, Happening::Wake(replica(id)));
            }
        }
        self
    }

    pub(crate) fn correct(&self) -> impl Iterator<Item = (u16, &Core)> {
        self.nodes.iter().enumerate().filter_map(|(id, node)| match &node.seat {
            Seat::Up(core) => Some((replica(id).0, &**core)),
            _ => None,
        })
    }

    pub(crate) fn core(&self, id: u16) -> &Core {
        match &self.nodes[usize::from(id)].seat {
            Seat::Up(core) => core,
            _ => panic!("seed {}: {id} is not up", self.seed),
        }
    }

    /// Tells `id` something, and returns what it would do about it.
    pub(crate) fn tell(
        &mut self,
        id: u16,
        from: ReplicaId,
        message: Message,
    ) -> Vec<Action<Message, Event>> {
        let mut out = vec![];
        if let Seat::Up(core) = &mut self.nodes[usize::from(id)].seat {
            core.on_message(self.now, from, message, &mut out);
        }
        out
    }

    pub(crate) fn is_up(&self, id: u16) -> bool {
        matches!(self.nodes[usize::from(id)].seat, Seat::Up(_))
    }

    /// What a new core of `id` begins with.
    pub(crate) fn start(&self, id: u16, nonce: u64) -> Start<Requests> {
        Start {
            keyring: self.keys.keyring.clone(),
            authorship: ravelin_multicast::Authorship::Key(std::sync::Arc::new(
                self.keys.key(ReplicaId(id)),
            )),
            own: ReplicaId(id),
            leaders: self.leaders,
            checkpoint_every: CHECKPOINT_EVERY_DEFAULT,
            payload: Requests::default(),
            state: None,
            delivered: BTreeSet::new(),
            nonce,
            views: Views::All,
        }
    }

    pub(crate) fn crash(&mut self, id: u16) {
        let node = &mut self.nodes[usize::from(id)];
        node.seat = Seat::Down;
        node.held.clear();
    }

    pub(crate) fn restart(&mut self, id: u16, disk: Disk) {
        let nonce = self.nodes[usize::from(id)].nonce + 1;
        let mut start = self.start(id, nonce);
        let node = &mut self.nodes[usize::from(id)];
        (node.nonce, node.wake, node.crash, node.persists) = (nonce, None, None, 0);
        node.entered.clear();
        match (disk, &node.checkpoint) {
            (Disk::Wiped, _) => {
                node.disk.clear();
                node.checkpoint = None;
            }
            (Disk::Checkpoint, Some((state, delivered))) => {
                (start.state, start.delivered) = (Some(state.clone()), delivered.clone());
            }
            _ => node.checkpoint = None,
        }
        let mut core = Core::new(start);
        for record in &node.disk {
            let block = Block::decode("block", &record.bytes).expect("own log");
            let block = self.keys.keyring.verify_block(block).expect("own log");
            core.restore(block);
        }
        node.entered.extend(core.dag().history(
            core.dag().group().members().filter_map(|author| core.dag().newest(author)),
            core.dag().horizon(),
        ));
        let mut out = vec![];
        core.resume(self.now.after(node.clock_ahead), &mut out);
        node.seat = Seat::Up(Box::new(core));
        self.perform(replica(usize::from(id)), out);
    }

    /// Hands a request to `id`; its number tells it from others.
    pub(crate) fn request(&mut self, id: u16, number: u64) {
        self.request_of(id, number, 16);
    }

    /// Hands a request of `size` bytes to `id`.
    pub(crate) fn request_of(&mut self, id: u16, number: u64, size: usize) {
        let envelope = self.keys.envelope(number, size);
        if let Seat::Up(core) = &mut self.nodes[usize::from(id)].seat {
            core.payload_mut().0.push_back(envelope);
            self.on_time(ReplicaId(id));
        }
    }

    /// Runs until `is_done` or `most` has passed; returns whether it is done.
    pub(crate) fn run(&mut self, most: Duration, mut is_done: impl FnMut(&Self) -> bool) -> bool {
        let end = self.now.after(most);
        while !is_done(self) {
            match self.queue.first_key_value() {
                Some((&(at, _), _)) if at <= end => self.step(),
                _ => {
                    self.now = end;
                    return is_done(self);
                }
            }
        }
        true
    }

    pub(crate) fn run_for(&mut self, span: Duration) {
        self.run(span, |_| false);
    }

    /// Runs until every correct replica delivered all of `numbers`; fails after `most`.
    pub(crate) fn run_until_delivered(
        &mut self,
        most: Duration,
        numbers: impl IntoIterator<Item = u64> + Clone,
    ) {
        let is_done = self.run(most, |cluster| {
            cluster.correct().all(|(id, _)| {
                let delivered = &cluster.nodes[usize::from(id)].delivered;
                numbers.clone().into_iter().all(|number| delivered.contains_key(&number))
            })
        });
        assert!(is_done, "seed {}: {}", self.seed, self.describe());
    }

    /// Where everyone stands, for failures.
    pub(crate) fn describe(&self) -> String {
        let mut text = format!("at {:?}, {} commits", self.now, self.checker.commits());
        for (id, core) in self.correct() {
            let state = core.delivery().state();
            text += &format!(
                "\n  {id}: {:?}, own {:?}, dag {:?}, next {:?}, commit {:?}, {} delivered",
                core.standing(),
                core.round(),
                core.dag().highest(),
                state.next,
                state.commit,
                self.nodes[usize::from(id)].delivered.len(),
            );
        }
        text
    }

    fn step(&mut self) {
        let Some(((at, _), happening)) = self.queue.pop_first() else { return };
        self.now = at;
        match happening {
            Happening::Wake(id) => {
                self.timers += usize::from(self.is_due(id));
                self.on_time(id);
            }
            Happening::Arrival { from, to, message } => self.on_arrival(from, to, message),
        }
    }

    /// Whether a deadline of the core has come.
    fn is_due(&self, id: ReplicaId) -> bool {
        let node = &self.nodes[id.index()];
        let Seat::Up(core) = &node.seat else { return false };
        core.next_deadline().is_some_and(|at| at <= self.now.after(node.clock_ahead))
    }

    fn on_arrival(&mut self, from: ReplicaId, to: ReplicaId, message: Message) {
        let now = self.now;
        let node = &mut self.nodes[to.index()];
        match &mut node.seat {
            Seat::Down => {}
            Seat::Up(core) => {
                let mut out = vec![];
                core.on_message(now.after(node.clock_ahead), from, message, &mut out);
                self.perform(to, out);
            }
            Seat::Intruder(intruder) => {
                let mut out = vec![];
                intruder.on_message(now, from, &message, &mut out);
                self.send_all(to, out);
            }
        }
    }

    fn on_time(&mut self, id: ReplicaId) {
        let (seed, now) = (self.seed, self.now);
        self.flush(id);
        let node = &mut self.nodes[id.index()];
        match &mut node.seat {
            Seat::Down => {}
            Seat::Up(core) => {
                let mut out = vec![];
                let clock = now.after(node.clock_ahead);
                core.on_time(clock, &mut out);
                let spins = core.next_deadline().is_some_and(|deadline| deadline <= clock);
                assert!(!spins, "seed {seed}: {id} wants to be called again at once");
                node.wake = None;
                self.perform(id, out);
            }
            Seat::Intruder(intruder) => {
                let mut out = vec![];
                intruder.on_time(now, &mut out);
                let deadline = intruder.next_deadline();
                self.send_all(id, out);
                if let Some(deadline) = deadline {
                    self.schedule(deadline, Happening::Wake(id));
                }
            }
        }
    }

    fn send_all(&mut self, from: ReplicaId, messages: Vec<(ReplicaId, Message)>) {
        for (to, message) in messages {
            self.send(from, to, message);
        }
    }

    fn perform(&mut self, id: ReplicaId, actions: Vec<Action<Message, Event>>) {
        for action in actions {
            let node = &mut self.nodes[id.index()];
            let is_record = matches!(action, Action::Persist(_));
            let ready = if is_record { self.now.after(self.fsync) } else { self.now };
            node.held.push_back((ready, action));
            if is_record {
                node.persists += 1;
                if let Some(crash) = node.crash.filter(|crash| crash.at_persist == node.persists) {
                    return self.crash_now(id, crash.is_written);
                }
            }
        }
        self.flush(id);
        self.plan_wake(id);
    }

    fn crash_now(&mut self, id: ReplicaId, is_written: bool) {
        let held = std::mem::take(&mut self.nodes[id.index()].held);
        for (_, action) in held {
            match action {
                Action::Persist(entry) if is_written => self.nodes[id.index()].write(entry),
                _ => {}
            }
        }
        self.crash(id.0);
    }

    /// Does what is not held behind a write any more.
    fn flush(&mut self, id: ReplicaId) {
        while let Some((ready, _)) = self.nodes[id.index()].held.front() {
            if *ready > self.now {
                return self.schedule(*ready, Happening::Wake(id));
            }
            let held = self.nodes[id.index()].held.pop_front();
            let Some((_, action)) = held else { return };
            match action {
                Action::Persist(entry) => self.nodes[id.index()].write(entry),
                Action::Send(to, message) => self.send(id, to, message),
                Action::Broadcast(message) => {
                    self.checker.on_said(id, &message);
                    for to in 0..self.nodes.len() {
                        self.send(id, replica(to), message.clone());
                    }
                }
                Action::Emit(event) => self.on_event(id, event),
                Action::Attest(_) => {}
                Action::Accuse(whom, what) => self.checker.on_accused(id, whom, &what),
            }
        }
    }

    pub(crate) fn send(&mut self, from: ReplicaId, to: ReplicaId, message: Message) {
        if from == to {
            return self.schedule(self.now, Happening::Arrival { from, to, message });
        }
        self.sent.0 += 1;
        self.sent.1 += usize::from(!matches!(message, Message::Block(_)));
        let hop = Hop { now: self.now, from, to, message: &message };
        for delay in (self.delays)(&mut self.dice, &hop) {
            let message = message.clone();
            self.schedule(self.now.after(delay), Happening::Arrival { from, to, message });
        }
    }

    fn on_event(&mut self, id: ReplicaId, event: Event) {
        let node = &mut self.nodes[id.index()];
        let horizon = match &node.seat {
            Seat::Up(core) => core.dag().horizon(),
            _ => Round(0),
        };
        self.checker.on_event(id, horizon, &mut node.entered, &event);
        match event {
            Event::Committed(committed) => node.on_committed(self.now, *committed),
            Event::Archive { to, part } => {
                let mut records: Vec<_> = node.disk.iter().collect();
                records.retain(|record| part.holds(record.place, &record.bytes));
                if matches!(part, LogPart::Chain { .. }) {
                    records.reverse();
                }
                let blocks = records.into_iter().take(REPLAYED_BLOCKS).map(|record| {
                    let block = Block::decode("block", &record.bytes).expect("own log");
                    self.keys.keyring.verify_block(block).expect("own log")
                });
                let blocks: Vec<_> = blocks.collect();
                match part {
                    LogPart::From(_) => self.send(id, to, Message::Replayed(blocks)),
                    LogPart::Chain { .. } => {
                        let messages = blocks.into_iter().map(Message::Block);
                        messages.for_each(|message| self.send(id, to, message));
                    }
                }
            }
            Event::Standing(standing) => node.standings.push(standing),
            Event::Entered(_) | Event::Certified(_) => {}
        }
    }

    fn plan_wake(&mut self, id: ReplicaId) {
        let node = &mut self.nodes[id.index()];
        let Seat::Up(core) = &node.seat else { return };
        let Some(deadline) = core.next_deadline() else { return };
        let ahead = u64::try_from(node.clock_ahead.as_micros()).expect("short");
        let at = Time(deadline.0.saturating_sub(ahead)).max(self.now);
        if node.wake.is_none_or(|planned| at < planned) {
            node.wake = Some(at);
            self.schedule(at, Happening::Wake(id));
        }
    }

    fn schedule(&mut self, at: Time, happening: Happening) {
        self.happenings += 1;
        self.queue.insert((at, self.happenings), happening);
    }
}

impl Node {
    fn write(&mut self, entry: LogEntry) {
        self.disk.push(entry.into_record(&mut None)); // nobody here has a wormhole
    }

    fn on_committed(&mut self, now: Time, committed: Committed) {
        let envelopes = committed.blocks.iter().flat_map(|block| &block.body.envelopes);
        for envelope in envelopes {
            self.delivered.entry(envelope.first.0).or_insert(now);
        }
        let first = committed.state.commit == CommitIndex(1);
        let (_, mut delivered) = self
            .checkpoint
            .take()
            .filter(|_| !first)
            .unwrap_or_else(|| (committed.state.clone(), BTreeSet::new()));
        delivered.extend(committed.blocks.iter().map(|block| block.reference()));
        for forgotten in &committed.forgotten {
            delivered.remove(forgotten);
        }
        self.checkpoint = Some((committed.state, delivered));
    }
}

fn replica(index: usize) -> ReplicaId {
    ReplicaId(u16::try_from(index).expect("small groups"))
}
