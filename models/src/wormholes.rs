//! Wormholes whose every future can be tried: the product's own [`Core`], step for step.
//!
//! A core is a function of what it was told, and cannot be copied. So a *past* stands for it, a number,
//! and another future of the same past is tried by telling a new core all of it again. What follows from
//! a past and one more deed is kept, so each is worked out about once.
//!
//! All begin with a common time, and with a process of each host that said hello. A process asks how
//! its agreement is after every step of its wormhole, until it is told.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::rc::Rc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use ravelin_wormhole::attestation::{ClusterId, Peer, ReplicaId, RollbackProof};
use ravelin_wormhole::client::{CallError, Channel, Client};
use ravelin_wormhole::core::{
    Config, Core, Engine, Input, Lease, Member, Nanos, Output, Outputs, Rights, Seed,
};
use ravelin_wormhole::frame::{
    Agreement, Decision, Entity, Frame, Progress, REQUEST_BYTES, Refusal, Standing, Tag, Value,
};
use ravelin_wormhole::keys::{InstanceSecret, Keys, ProvisionedKey};
use zeroize::Zeroizing;

const CLUSTER: ClusterId = ClusterId([7; 32]);
/// How long a frame takes until the common time is found.
const WAY: Nanos = Nanos(75_000);
/// When it is, a while after everybody asked everybody for it.
pub(crate) const BEGINNING: Nanos = Nanos(4_001_000_000);
/// Nobody asks for the time again before this.
pub(crate) const HORIZON: Nanos = Nanos(4_100_000_000);
/// Cores that a thread keeps as they are.
const KEPT: usize = 64;

/// Where a frame has what it says, between who says it and the MAC.
const BODY: std::ops::Range<usize> = 16..480;

/// The number of a past.
pub(crate) type Past = u32;
/// The number of a frame.
pub(crate) type FrameId = u32;

/// What a core is told, and at what time of its clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Deed {
    pub(crate) at: Nanos,
    pub(crate) what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum What {
    /// This frame arrived.
    Hear(FrameId),
    /// Time passed.
    Wake,
    /// Its host's process proposes.
    Propose(Option<Value>),
}

/// What a past has come to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Come {
    /// The last time of its clock.
    pub(crate) now: Nanos,
    /// What its last step sent, and to whom.
    pub(crate) sent: Vec<(usize, FrameId)>,
    /// When it wants to be woken.
    pub(crate) due: Option<Nanos>,
    /// How its host's process stands, if it proposed.
    pub(crate) standing: Option<Standing>,
    /// What that was told.
    pub(crate) told: Option<Decision>,
    /// What it told other wormholes that was decided, each by a number.
    pub(crate) decided: Vec<FrameId>,
    pub(crate) is_halted: bool,
}

impl Come {
    /// Whether it certainly has a decision.
    pub(crate) fn has_ended(&self) -> bool {
        self.told.is_some() || !self.decided.is_empty()
    }
}

/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An answer to an attempt: nothing to who has ended.
    Answer,
    /// The decision.
    Decided,
    /// What a process proposed.
    Proposal,
    /// Another.
    Other,
}

impl Kind {
    fn of(frame: &Frame) -> Self {
        match frame[1] {
            6 | 8 => Self::Answer,
            9 => Self::Decided,
            4 => Self::Proposal,
            _ => Self::Other,
        }
    }
}

/// All pasts of the wormholes of one cluster.
pub(crate) struct Wormholes {
    number: usize,
    count: usize,
    engine: Engine,
    /// What each was told until there was a common time.
    beginnings: Vec<Vec<(Nanos, Option<Frame>)>>,
    agreement: Option<Agreement>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// Of each past, the one before it and what it was told since.
    pasts: Vec<(Past, Option<Deed>, Come)>,
    followed: BTreeMap<(Past, Deed), Past>,
    frames: Vec<Frame>,
    numbers: HashMap<Frame, FrameId>,
}

thread_local! {
    static LIVE: RefCell<VecDeque<(usize, Past, Host)>> = const { RefCell::new(VecDeque::new()) };
}

/// A core and its host's process.
struct Host {
    seat: Rc<RefCell<Seat>>,
    client: Client<Wire<Seat>>,
    come: Come,
    tag: Option<Tag>,
}

struct Seat {
    core: Core,
    now: Nanos,
    sent: Vec<(usize, Frame)>,
    answers: VecDeque<Frame>,
}

/// What runs a core that clients call.
pub(crate) trait Called {
    /// Takes a call.
    fn step(&mut self, input: Input<'_>);
    /// The next answer.
    fn answer(&mut self) -> Option<Frame>;
}

/// A client's way to a core, which answers at once.
pub(crate) struct Wire<H>(pub(crate) Rc<RefCell<H>>);

impl<H: Called> Channel for Wire<H> {
    fn send(&mut self, frame: &Frame) -> io::Result<()> {
        self.0.borrow_mut().step(Input::Call { connection: 0, frame });
        Ok(())
    }

    fn receive(&mut self) -> io::Result<Frame> {
        self.0.borrow_mut().answer().ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

impl Called for Seat {
    fn step(&mut self, input: Input<'_>) {
        let mut out = Outputs::new();
        self.core.step(self.now, input, &mut out);
        for output in out.iter() {
            match output {
                Output::Answer { frame, .. } => self.answers.push_back(*frame),
                Output::Control { to, frame } => self.sent.push((usize::from(to.0), *frame)),
                Output::Keep | Output::Act(_) | Output::Halt(_) => {}
            }
        }
    }

    fn answer(&mut self) -> Option<Frame> {
        self.answers.pop_front()
    }
}

impl Seat {
    fn take(&mut self, (at, frame): &(Nanos, Option<Frame>)) {
        self.now = *at;
        self.step(frame.as_ref().map_or(Input::Time, |frame| Input::Control { frame }));
    }
}

fn key(at: usize) -> ProvisionedKey {
    ProvisionedKey::from_seed(&[100 + at as u8; 32])
}

fn replica(at: usize) -> ReplicaId {
    ReplicaId(at as u16)
}

fn seat(at: usize, count: usize, engine: Engine) -> Seat {
    let secret = InstanceSecret([at as u8; 32]);
    let keys = Keys::new(key(at), &secret, (CLUSTER, replica(at)), RollbackProof::Absent);
    let config = Config { lease: Lease::Run, protections: 0, rights: Rights::BY_DEFAULT };
    let mut core = Core::new(config, keys, Seed([at as u8; 32]), None);
    let member = |at| Member { replica: replica(at), provisioned: key(at).id() };
    let members: Vec<Member> = (0..count).map(member).collect();
    core.join(&members, engine).expect("a cluster");
    Seat { core, now: Nanos(0), sent: vec![], answers: VecDeque::new() }
}

/// What each wormhole is told until all have a common time.
fn beginnings(count: usize, engine: Engine) -> Vec<Vec<(Nanos, Option<Frame>)>> {
    let mut seats: Vec<Seat> = (0..count).map(|at| seat(at, count, engine)).collect();
    let mut told = vec![vec![]; count];
    let mut on_way: BTreeMap<(Nanos, usize), (usize, Frame)> = BTreeMap::new();
    let mut sent = 0;
    loop {
        let dues =
            seats.iter().zip(0..).filter_map(|(it, at)| Some((it.core.next_deadline()?, at)));
        let (due, at) = dues.min().expect("everybody asks for the time");
        let arrival = on_way.first_key_value().map(|((arrives, _), (to, _))| (*arrives, *to));
        let arrival = arrival.filter(|(arrives, _)| *arrives <= due);
        let (now, at) = arrival.unwrap_or((due, at));
        if now > BEGINNING {
            return told;
        }
        let frame = arrival.and_then(|_| on_way.pop_first()).map(|(_, (_, frame))| frame);
        told[at].push((now, frame));
        seats[at].take(&(now, frame));
        for (to, frame) in seats[at].sent.drain(..) {
            sent += 1;
            on_way.insert((now.after(WAY), sent), (to, frame));
        }
    }
}

impl Host {
    fn new(at: usize, wormholes: &Wormholes) -> Self {
        let mut seat = seat(at, wormholes.count, wormholes.engine);
        for heard in &wormholes.beginnings[at] {
            seat.take(heard);
        }
        seat.now = BEGINNING;
        seat.sent.clear();
        let seat = Rc::new(RefCell::new(seat));
        let peer = Peer { cluster: CLUSTER, replica: replica(at), provisioned: key(at).id() };
        let entropy = Zeroizing::new([at as u8 + 1; 32]);
        let client = Client::hello(Wire(Rc::clone(&seat)), &peer, &entropy).expect("welcome");
        let come =
            Come { now: BEGINNING, due: seat.borrow().core.next_deadline(), ..Come::default() };
        Self { seat, client, come, tag: None }
    }

    /// Is told one thing more; gives what it sent.
    fn follow(
        &mut self,
        deed: Deed,
        frame: Option<&Frame>,
        agreement: &Agreement,
    ) -> Vec<(usize, Frame)> {
        self.seat.borrow_mut().now = deed.at;
        match deed.what {
            What::Hear(_) => {
                let frame = frame.expect("it was sent");
                self.seat.borrow_mut().step(Input::Control { frame });
            }
            What::Wake => self.seat.borrow_mut().step(Input::Time),
            What::Propose(value) => match self.client.propose(*agreement, value) {
                Ok(proposed) => {
                    self.tag = Some(proposed.tag);
                    self.come.standing = Some(proposed.standing);
                }
                Err(CallError::Refused(Refusal::Halted { .. })) => {}
                Err(error) => panic!("refused: {error}"),
            },
        }
        if let (Some(tag), None) = (self.tag, self.come.told) {
            match self.client.decide(tag) {
                Ok(Progress::Ended(decision)) => self.come.told = Some(decision),
                Ok(Progress::Running { .. } | Progress::GivenUp) => {}
                Err(CallError::Refused(Refusal::Halted { .. })) => {}
                Err(error) => panic!("refused: {error}"),
            }
        }
        let mut seat = self.seat.borrow_mut();
        self.come.now = deed.at;
        self.come.due = seat.core.next_deadline();
        self.come.is_halted = seat.core.halted().is_some();
        std::mem::take(&mut seat.sent)
    }
}

impl Wormholes {
    /// As many as `count`, which have a common time.
    pub(crate) fn new(count: usize, engine: Engine) -> Self {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let beginnings = beginnings(count, engine);
        let known = Mutex::default();
        let wormholes = Self { number, count, engine, beginnings, agreement: None, known };
        let pasts = (0..count).map(|at| (at as Past, None, Host::new(at, &wormholes).come));
        let pasts = pasts.collect();
        Self { known: Mutex::new(Known { pasts, ..Known::default() }), ..wormholes }
    }

    /// What all will be about: `of_first` makes it of their processes and of the first one's latest time.
    pub(crate) fn about(mut self, of_first: impl FnOnce(&[Entity], Nanos) -> Agreement) -> Self {
        let mut hosts: Vec<Host> = (0..self.count).map(|at| Host::new(at, &self)).collect();
        let entities: Vec<Entity> =
            hosts.iter().map(|host| host.client.entity().expect("it is named")).collect();
        let time = hosts[0].client.timestamp().expect("it tells the time");
        assert!(time.synchronised, "there is a common time");
        self.agreement = Some(of_first(&entities, time.latest));
        self
    }

    /// The past of one that was told nothing yet.
    pub(crate) fn beginning(&self, at: usize) -> Past {
        at as Past
    }

    pub(crate) fn come(&self, past: Past) -> Come {
        self.known.lock().expect("no thread failed").pasts[past as usize].2.clone()
    }

    /// What has come of the past once that is done, too.
    pub(crate) fn follow(&self, past: Past, deed: Deed) -> (Past, Come) {
        {
            let known = self.known.lock().expect("no thread failed");
            if let Some(next) = known.followed.get(&(past, deed)) {
                return (*next, known.pasts[*next as usize].2.clone());
            }
        }
        let mut host = self.host(past);
        let sent = self.tell(&mut host, deed);
        let mut come = host.come.clone();
        let mut known = self.known.lock().expect("no thread failed");
        for (to, frame) in sent {
            if Kind::of(&frame) == Kind::Decided {
                let mut what = [0; REQUEST_BYTES];
                what[BODY].copy_from_slice(&frame[BODY]);
                come.decided.push(known.number(what));
            }
            come.sent.push((to, known.number(frame)));
        }
        come.decided.sort_unstable();
        come.decided.dedup();
        host.come.decided.clone_from(&come.decided);
        if let Some(next) = known.followed.get(&(past, deed)) {
            return (*next, come); // another thread was faster
        }
        let next = known.pasts.len() as Past;
        known.pasts.push((past, Some(deed), come.clone()));
        known.followed.insert((past, deed), next);
        drop(known);
        LIVE.with_borrow_mut(|live| {
            live.push_back((self.number, next, host));
            live.drain(..live.len().saturating_sub(KEPT));
        });
        (next, come)
    }

    /// What it is for.
    pub(crate) fn kind(&self, frame: FrameId) -> Kind {
        Kind::of(&self.known.lock().expect("no thread failed").frames[frame as usize])
    }

    /// Whose wormhole sent it.
    pub(crate) fn sender(&self, frame: FrameId) -> usize {
        let frame = &self.known.lock().expect("no thread failed").frames[frame as usize];
        usize::from(u16::from_le_bytes([frame[2], frame[3]]))
    }

    /// A host with this past.
    fn host(&self, past: Past) -> Host {
        let live = LIVE.with_borrow_mut(|live| {
            let is_it =
                |(number, of, _): &(usize, Past, Host)| (*number, *of) == (self.number, past);
            live.iter().position(is_it).and_then(|place| live.remove(place))
        });
        if let Some((.., host)) = live {
            return host;
        }
        let (at, deeds) = {
            let known = self.known.lock().expect("no thread failed");
            let (mut first, mut deeds) = (past, vec![]);
            while let (before, Some(deed), _) = &known.pasts[first as usize] {
                deeds.push(*deed);
                first = *before;
            }
            (first as usize, deeds)
        };
        let mut host = Host::new(at, self);
        for deed in deeds.into_iter().rev() {
            self.tell(&mut host, deed);
        }
        host.come.decided = self.come(past).decided;
        host
    }

    fn tell(&self, host: &mut Host, deed: Deed) -> Vec<(usize, Frame)> {
        let frame = match deed.what {
            What::Hear(frame) => {
                Some(self.known.lock().expect("no thread failed").frames[frame as usize])
            }
            What::Wake | What::Propose(_) => None,
        };
        host.follow(deed, frame.as_ref(), self.agreement.as_ref().expect("all know what about"))
    }
}

impl Known {
    fn number(&mut self, frame: Frame) -> FrameId {
        let next = self.frames.len() as FrameId;
        let number = *self.numbers.entry(frame).or_insert(next);
        if number == next {
            self.frames.push(frame);
        }
        number
    }
}
