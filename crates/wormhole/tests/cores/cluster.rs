//! Several cores in virtual time, and a network between them that loses, delays, repeats and reorders.

use std::cell::{RefCell, RefMut};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::rc::Rc;

use ravelin_wormhole::attestation::{ClusterId, Peer, ReplicaId, RollbackProof};
use ravelin_wormhole::client::{CallError, Channel, Client};
use ravelin_wormhole::core::{
    ClusterError, Config, Core, Engine, HaltReason, Input, Lease, Member, Nanos, Output, Outputs,
    Rights, Seed,
};
use ravelin_wormhole::frame::{Agreement, Frame, Refusal, Standing, Tag, Value};
use ravelin_wormhole::keys::{InstanceSecret, Keys, ProvisionedKey};
use zeroize::Zeroizing;

pub(crate) const CLUSTER: ClusterId = ClusterId([7; 32]);
pub(crate) const MILLI: u64 = 1_000_000;
pub(crate) const SECOND: u64 = 1_000 * MILLI;

/// A generator of test inputs, from a seed that the test prints.
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5bf0_3635)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    pub(crate) fn is(&mut self, permille: u64) -> bool {
        self.below(1_000) < permille
    }

    pub(crate) fn next(&mut self) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// One of so many nodes.
pub(crate) fn drawn(count: usize, chance: &mut Chance) -> usize {
    usize::try_from(chance.below(count as u64)).unwrap()
}

/// What the network does to frames.
#[derive(Clone, Copy)]
pub(crate) struct Weather {
    pub(crate) loss_permille: u64,
    pub(crate) twice_permille: u64,
    /// Frames take so long at least, and at most.
    pub(crate) delay: (u64, u64),
}

impl Weather {
    pub(crate) const CALM: Self =
        Self { loss_permille: 0, twice_permille: 0, delay: (50_000, 100_000) };
}

/// A host and its wormhole's present life.
pub(crate) struct Node {
    /// None while it is stopped.
    pub(crate) core: Option<Core>,
    /// Real time of its start.
    pub(crate) started: u64,
    /// How much faster its clock is than real time, in millionths.
    pub(crate) drift: i64,
    pub(crate) lives: u64,
    /// What came while it was not scheduled; none while it is.
    frozen: Option<Vec<Frame>>,
    /// Stops once it has sent so many frames of a kind.
    stops_after: Option<(u8, usize)>,
}

impl Node {
    pub(crate) fn local(&self, real: u64) -> Nanos {
        let span = i128::from(real - self.started);
        Nanos(u64::try_from(span + span * i128::from(self.drift) / 1_000_000).unwrap())
    }

    /// The first real time at which its clock shows this.
    fn real(&self, local: Nanos) -> u64 {
        let rate = 1_000_000 + i128::from(self.drift);
        let span = (i128::from(local.0) * 1_000_000 + rate - 1) / rate;
        let mut real = self.started + u64::try_from(span).unwrap();
        while self.local(real) < local {
            real += 1;
        }
        real
    }
}

pub(crate) struct World {
    pub(crate) now: u64,
    pub(crate) nodes: Vec<Node>,
    engine: Engine,
    pub(crate) weather: Weather,
    pub(crate) chance: Chance,
    /// Pairs, from and to, between which nothing passes.
    pub(crate) cuts: Vec<(usize, usize)>,
    /// Senders, and kinds of frames of theirs that are lost.
    pub(crate) muted: Vec<(usize, u8)>,
    /// Frames on their way, by their arrival.
    on_way: BTreeMap<(u64, u64), (usize, Frame)>,
    sent: u64,
    /// Every frame that was ever sent, with its reader.
    pub(crate) recorded: Vec<(usize, Frame)>,
    is_recording: bool,
    pub(crate) hellos: u8,
}

#[derive(Clone)]
pub(crate) struct Cluster(Rc<RefCell<World>>);

fn key(node: usize) -> ProvisionedKey {
    ProvisionedKey::from_seed(&[100 + u8::try_from(node).unwrap(); 32])
}

fn replica(node: usize) -> ReplicaId {
    ReplicaId(u16::try_from(node).unwrap() * 10)
}

/// Whether a wormhole joins such a cluster.
pub(crate) fn join(count: usize, engine: Engine) -> Result<(), ClusterError> {
    local(0, 0).join(&members(count), engine)
}

fn members(count: usize) -> Vec<Member> {
    let member = |node| Member { replica: replica(node), provisioned: key(node).id() };
    (0..count).map(member).collect()
}

fn core(node: usize, (count, engine): (usize, Engine), life: u64) -> Core {
    let mut core = local(node, life);
    core.join(&members(count), engine).unwrap();
    core
}

fn local(node: usize, life: u64) -> Core {
    let mut seed = [u8::try_from(node).unwrap(); 32];
    seed[..8].copy_from_slice(&life.to_le_bytes());
    let member = (CLUSTER, replica(node));
    let keys = Keys::new(key(node), &InstanceSecret(seed), member, RollbackProof::Absent);
    let config = Config { lease: Lease::Run, protections: 0, rights: Rights::BY_DEFAULT };
    Core::new(config, keys, Seed(seed), None)
}

impl Cluster {
    /// All start at once.
    pub(crate) fn new(count: usize, seed: u64) -> Self {
        Self::of(count, Engine::Quorum, seed)
    }

    pub(crate) fn of(count: usize, engine: Engine, seed: u64) -> Self {
        let node = |node| {
            let core = Some(core(node, (count, engine), 0));
            Node { core, started: 0, drift: 0, lives: 0, frozen: None, stops_after: None }
        };
        Self(Rc::new(RefCell::new(World {
            now: 0,
            nodes: (0..count).map(node).collect(),
            engine,
            weather: Weather::CALM,
            chance: Chance::new(seed),
            cuts: Vec::new(),
            muted: Vec::new(),
            on_way: BTreeMap::new(),
            sent: 0,
            recorded: Vec::new(),
            is_recording: false,
            hellos: 0,
        })))
    }

    /// The same, after it has found a common time.
    pub(crate) fn synchronised(count: usize, seed: u64) -> Self {
        let cluster = Self::new(count, seed);
        cluster.run(4 * SECOND);
        cluster
    }

    pub(crate) fn world(&self) -> RefMut<'_, World> {
        self.0.borrow_mut()
    }

    pub(crate) fn record(&self) {
        self.world().is_recording = true;
    }

    pub(crate) fn weather(&self, weather: Weather) {
        self.world().weather = weather;
    }

    /// From now on nothing passes between these and the others.
    pub(crate) fn isolate(&self, nodes: &[usize]) {
        let mut world = self.world();
        let count = world.nodes.len();
        for inside in nodes {
            for outside in (0..count).filter(|node| !nodes.contains(node)) {
                world.cuts.extend([(*inside, outside), (outside, *inside)]);
            }
        }
    }

    /// Its process is not scheduled from now on; frames wait for it.
    pub(crate) fn freeze(&self, node: usize) {
        self.world().nodes[node].frozen = Some(Vec::new());
    }

    /// It goes on, first with what came.
    pub(crate) fn thaw(&self, node: usize) {
        let waiting = self.world().nodes[node].frozen.take().unwrap_or_default();
        for frame in waiting {
            self.inject(node, &frame);
        }
    }

    /// It stops once it has sent so many frames of this kind from now on, and would send another.
    pub(crate) fn stop_after(&self, node: usize, kind: u8, count: usize) {
        self.world().nodes[node].stops_after = Some((kind, count));
    }

    /// Its first life is one of another engine.
    pub(crate) fn replace(&self, node: usize, engine: Engine) {
        let world = &mut *self.world();
        let count = world.nodes.len();
        world.nodes[node].core = Some(core(node, (count, engine), 0));
    }

    pub(crate) fn heal(&self) {
        self.world().cuts.clear();
    }

    pub(crate) fn stop(&self, node: usize) {
        self.world().nodes[node].core = None;
    }

    /// Begins another life, and ends the present one if there is one.
    pub(crate) fn start(&self, node: usize) {
        let world = &mut *self.world();
        let cluster = (world.nodes.len(), world.engine);
        let one = &mut world.nodes[node];
        one.lives += 1;
        one.started = world.now;
        one.core = Some(core(node, cluster, one.lives));
    }

    /// Lets so much real time pass.
    pub(crate) fn run(&self, span: u64) {
        let end = self.world().now + span;
        loop {
            let world = &mut *self.world();
            let frame = world.on_way.first_key_value().map(|((at, _), (to, _))| (*at, *to, true));
            let timers = world.nodes.iter().enumerate().filter_map(|(number, node)| {
                let core = node.core.as_ref().filter(|_| node.frozen.is_none())?;
                let due = core.next_deadline()?;
                Some((node.real(due).max(world.now), number, false))
            });
            let next = timers.chain(frame).min().filter(|(at, ..)| *at <= end);
            let Some((at, node, is_frame)) = next else {
                world.now = end;
                return;
            };
            world.now = at;
            if is_frame {
                let (_, (to, frame)) = world.on_way.pop_first().unwrap();
                match &mut world.nodes[to].frozen {
                    Some(waiting) => waiting.push(frame),
                    None => drop(world.step(to, Input::Control { frame: &frame })),
                }
            } else {
                world.step(node, Input::Time);
            }
        }
    }

    pub(crate) fn client(&self, node: usize) -> Client<Wire> {
        self.client_at(node, 0)
    }

    pub(crate) fn client_at(&self, node: usize, connection: u8) -> Client<Wire> {
        let peer = Peer { cluster: CLUSTER, replica: replica(node), provisioned: key(node).id() };
        let wire = Wire { cluster: self.clone(), node, connection, answers: VecDeque::new() };
        let entropy = {
            let mut world = self.world();
            world.hellos = world.hellos.wrapping_add(1);
            Zeroizing::new([world.hellos; 32])
        };
        Client::hello(wire, &peer, &entropy).expect("the wormhole welcomes")
    }

    /// The latest common time, by the wormhole of a node.
    pub(crate) fn common(&self, client: &mut Client<Wire>) -> Nanos {
        let time = client.timestamp().unwrap();
        assert!(time.synchronised);
        time.latest
    }

    /// A frame comes to a node that nobody sends now; gives what it does about it.
    pub(crate) fn inject(&self, to: usize, frame: &Frame) -> Vec<Output> {
        self.world().step(to, Input::Control { frame })
    }
}

impl World {
    pub(crate) fn step(&mut self, node: usize, input: Input<'_>) -> Vec<Output> {
        let local = self.nodes[node].local(self.now);
        let Some(core) = &mut self.nodes[node].core else { return Vec::new() };
        let mut out = Outputs::new();
        core.step(local, input, &mut out);
        let outputs: Vec<_> = out.iter().copied().collect();
        for output in &outputs {
            match output {
                Output::Control { to, frame } => {
                    if self.stops_now(node, frame) {
                        self.nodes[node].core = None;
                        return Vec::new();
                    }
                    self.send(node, usize::from(to.0) / 10, frame);
                }
                Output::Halt(HaltReason::WokeLate) => {}
                Output::Halt(reason) => panic!("node {node} halted: {reason}"),
                _ => {}
            }
        }
        outputs
    }

    pub(crate) fn halted(&self, node: usize) -> Option<HaltReason> {
        self.nodes[node].core.as_ref().and_then(Core::halted)
    }

    fn stops_now(&mut self, node: usize, frame: &Frame) -> bool {
        match &mut self.nodes[node].stops_after {
            Some((kind, 0)) if *kind == frame[1] => true,
            Some((kind, left)) if *kind == frame[1] => {
                *left -= 1;
                false
            }
            _ => false,
        }
    }

    fn send(&mut self, from: usize, to: usize, frame: &Frame) {
        if self.is_recording {
            self.recorded.push((to, *frame));
        }
        let is_muted = self.muted.contains(&(from, frame[1]));
        if is_muted || self.cuts.contains(&(from, to)) || self.chance.is(self.weather.loss_permille)
        {
            return;
        }
        let copies = 1 + u64::from(self.chance.is(self.weather.twice_permille));
        for _ in 0..copies {
            let (least, most) = self.weather.delay;
            let arrives = self.now + least + self.chance.below(most - least + 1);
            self.sent += 1;
            self.on_way.insert((arrives, self.sent), (to, *frame));
        }
    }
}

/// A client's channel to the core of its node.
pub(crate) struct Wire {
    cluster: Cluster,
    node: usize,
    connection: u8,
    answers: VecDeque<Frame>,
}

impl Channel for Wire {
    fn send(&mut self, frame: &Frame) -> io::Result<()> {
        let connection = self.connection;
        let outputs = self.cluster.world().step(self.node, Input::Call { connection, frame });
        self.answers.extend(outputs.iter().find_map(|output| match output {
            Output::Answer { frame, .. } => Some(*frame),
            _ => None,
        }));
        Ok(())
    }

    fn receive(&mut self) -> io::Result<Frame> {
        self.answers.pop_front().ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

/// An authentic refusal, or success.
pub(crate) fn refusal<T>(result: Result<T, CallError>) -> Result<T, Refusal> {
    result.map_err(|error| match error {
        CallError::Refused(refusal) => refusal,
        other => panic!("no authentic answer: {other:?}"),
    })
}

/// Proposes these values, one a node, and gives the tags.
pub(crate) fn propose_all(
    clients: &mut [Client<Wire>],
    agreement: Agreement,
    values: &[Option<Value>],
) -> Vec<Tag> {
    let each = clients.iter_mut().zip(values);
    each.map(|(client, value)| {
        let proposed = client.propose(agreement, *value).unwrap();
        assert_eq!(proposed.standing, Standing::Taken);
        proposed.tag
    })
    .collect()
}
