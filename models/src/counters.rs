//! Attestation counters over restarts: no instance ever binds a position to two digests.
//!
//! A server's wormhole is the product's own [`Core`] with the product's own [`Continuity`], as its process
//! puts them together: an attestation shows once what had to be kept is kept. Processes start on any files
//! that ever were: the present ones, earlier ones put back, none; two may run at once, a server and a
//! clone on a copy of its files, which share the hardware counter alone. They attest what the intruder
//! likes, stop cleanly, or are killed.
//!
//! Left out: kills within a start, an attestation or a stop, which the tests of [`Continuity`] try at
//! every step, and counters beside the ordering's.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{Hash, Hasher};
use std::rc::Rc;

use ravelin_wormhole::attestation::{
    Attestation, ClusterId, Counter, CounterValue, Digest, Epoch, Peer, ReplicaId, RollbackProof,
};
use ravelin_wormhole::client::Client;
use ravelin_wormhole::core::{Config, Core, Input, Lease, Nanos, Output, Outputs, Rights, Seed};
use ravelin_wormhole::counter::{CounterError, MonotonicCounter};
use ravelin_wormhole::frame::{AttestCall, Frame};
use ravelin_wormhole::keys::{InstanceSecret, Keys, ProvisionedKey};
use ravelin_wormhole::state::record::RecordKey;
use ravelin_wormhole::state::{Continuity, RECORD_BYTES, Slots};
use rustix::io::Errno;
use stateright::{Model, Property};
use zeroize::Zeroizing;

use crate::wormholes::{Called, Wire};

const CLUSTER: ClusterId = ClusterId([7; 32]);
const REPLICA: ReplicaId = ReplicaId(2);
/// Processes that run at once: a server's and a clone's.
const MACHINES: usize = 2;

type Record = [u8; RECORD_BYTES];
type Files = [Record; 2];

/// The model.
#[derive(Clone, Copy, Debug)]
pub struct Counters {
    /// How the instance is kept; none: it is not.
    pub lease: Option<Lease>,
    /// What happens, at most.
    pub steps_max: usize,
    /// Processes that start, at most.
    pub starts_max: usize,
}

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A process starts on a machine, with the files that were there so many changes ago.
    Start(usize, usize),
    /// It is asked to attest the next position, with a digest of its own.
    Attest(usize),
    /// It stops cleanly.
    Stop(usize),
    /// It is killed.
    Kill(usize),
}

/// What has happened, and what came of it.
#[derive(Clone, Debug)]
pub struct State {
    steps: Vec<Step>,
    seen: Seen,
}

/// All that can make a difference.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Seen {
    counter: u64,
    starts: usize,
    /// All files that ever were, in their order; none at first.
    files: Vec<Files>,
    running: Vec<Option<Running>>,
    /// By instance and position: all digests that were attested.
    shown: BTreeMap<([u8; 32], u64), BTreeSet<u8>>,
    /// Whether some instance went on in another process.
    has_resumed: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Running {
    /// The number of its start.
    name: u8,
    instance: [u8; 32],
    position: u64,
    /// The hardware counter after its last step.
    confirmed: u64,
    files: Files,
}

/// Everything, while it is brought about.
struct World {
    model: Counters,
    counter: Rc<Cell<u64>>,
    seen: Seen,
    machines: [Option<Process>; MACHINES],
}

/// A wormhole's process, and the one that calls it.
struct Process {
    host: Rc<RefCell<Host>>,
    files: Rc<RefCell<Files>>,
    client: Client<Wire<Host>>,
    running: Running,
}

/// The core with what keeps its instance.
struct Host {
    core: Core,
    continuity: Option<Continuity>,
    answers: VecDeque<Frame>,
}

impl Called for Host {
    /// One step; what follows something that could not be kept is not shown.
    fn step(&mut self, input: Input<'_>) {
        let mut out = Outputs::new();
        self.core.step(Nanos(0), input, &mut out);
        for output in out.iter() {
            match output {
                Output::Answer { frame, .. } => self.answers.push_back(*frame),
                Output::Keep => {
                    let kept = self.continuity.as_mut().map(|it| it.keep(self.core.counters()));
                    if !matches!(kept, Some(Ok(()))) {
                        return self.continuity = None;
                    }
                }
                Output::Control { .. } | Output::Act(_) | Output::Halt(_) => {}
            }
        }
    }

    fn answer(&mut self) -> Option<Frame> {
        self.answers.pop_front()
    }
}

/// A machine's files.
struct Disk(Rc<RefCell<Files>>);

impl Slots for Disk {
    fn read(&mut self, slot: usize, bytes: &mut Record) -> Result<(), Errno> {
        *bytes = self.0.borrow()[slot];
        Ok(())
    }

    fn write(&mut self, slot: usize, bytes: &Record) -> Result<(), Errno> {
        self.0.borrow_mut()[slot] = *bytes;
        Ok(())
    }

    fn sync(&mut self, _: usize) -> Result<(), Errno> {
        Ok(())
    }
}

/// The counter that nobody puts back.
struct Hardware(Rc<Cell<u64>>);

impl MonotonicCounter for Hardware {
    fn read(&mut self) -> Result<u64, CounterError> {
        Ok(self.0.get())
    }

    fn increment(&mut self) -> Result<(), CounterError> {
        self.0.set(self.0.get() + 1);
        Ok(())
    }
}

impl World {
    fn new(model: Counters) -> Self {
        let seen = Seen {
            counter: 0,
            starts: 0,
            files: vec![[[0; RECORD_BYTES]; 2]],
            running: vec![None; MACHINES],
            shown: BTreeMap::new(),
            has_resumed: false,
        };
        Self { model, counter: Rc::default(), seen, machines: [None, None] }
    }

    fn perform(&mut self, step: Step) {
        match step {
            Step::Start(machine, ago) => self.start(machine, ago),
            Step::Attest(machine) => self.attest(machine),
            Step::Stop(machine) => self.stop(machine),
            Step::Kill(machine) => self.machines[machine] = None,
        }
        self.seen.counter = self.counter.get();
        for (seen, process) in self.seen.running.iter_mut().zip(&self.machines) {
            *seen = process.as_ref().map(|process| process.running.clone());
            let files = process.as_ref().map(|process| *process.files.borrow());
            self.seen.files.extend(files.filter(|files| !self.seen.files.contains(files)));
        }
    }

    fn start(&mut self, machine: usize, ago: usize) {
        self.seen.starts += 1;
        let files = Rc::new(RefCell::new(self.seen.files[self.seen.files.len() - 1 - ago]));
        let mut continuity = match self.model.lease {
            None => Continuity::volatile(),
            Some(lease) => Continuity::over(
                Box::new(Disk(Rc::clone(&files))),
                RecordKey::new(Zeroizing::new([9; 32])),
                Box::new(Hardware(Rc::clone(&self.counter))),
                lease,
            ),
        };
        let fresh = self.seen.starts as u8;
        let Ok(opened) = continuity.open(InstanceSecret([fresh; 32])) else { return };
        let proof = self.model.lease.map_or(RollbackProof::Absent, |_| RollbackProof::Present);
        let provisioned = ProvisionedKey::from_seed(&[9; 32]);
        let peer = Peer { cluster: CLUSTER, replica: REPLICA, provisioned: provisioned.id() };
        let keys = Keys::new(provisioned, &opened.secret, (CLUSTER, REPLICA), proof);
        let lease = self.model.lease.unwrap_or(Lease::Run);
        let config = Config { lease, protections: 0, rights: Rights::BY_DEFAULT };
        self.seen.has_resumed |= opened.counters.is_some();
        let core = Core::new(config, keys, Seed([fresh; 32]), opened.counters);
        let continuity = Some(continuity);
        let host = Rc::new(RefCell::new(Host { core, continuity, answers: VecDeque::new() }));
        let entropy = Zeroizing::new([fresh; 32]);
        let mut client =
            Client::hello(Wire(Rc::clone(&host)), &peer, &entropy).expect("it welcomes");
        let instance = client.certificate().identity.instance.0;
        let last = client.last(Counter::Ordering).expect("it tells");
        let position = last.as_ref().map_or(0, |last| last.statement.new.0);
        last.iter().for_each(|last| self.show(last));
        let confirmed = self.counter.get();
        let running =
            Running { name: fresh, instance, position, confirmed, files: *files.borrow() };
        self.machines[machine] = Some(Process { host, files, client, running });
    }

    fn attest(&mut self, machine: usize) {
        let Some(process) = &mut self.machines[machine] else { return };
        let position = process.running.position;
        let call = AttestCall {
            counter: Counter::Ordering,
            epoch: Epoch(1),
            expected_old: CounterValue(position),
            new: CounterValue(position + 1),
            digest: Digest([process.running.name; 32]),
        };
        match process.client.attest(call) {
            Ok(attested) => {
                process.running.position = position + 1;
                process.running.confirmed = self.counter.get();
                process.running.files = *process.files.borrow();
                self.show(&attested);
            }
            Err(_) => self.machines[machine] = None, // it is in doubt, and stops
        }
    }

    fn stop(&mut self, machine: usize) {
        let Some(process) = self.machines[machine].take() else { return };
        let host = &mut *process.host.borrow_mut();
        host.core.finish(Nanos(0), &mut Outputs::new());
        if let Some(continuity) = host.continuity.take() {
            // One that fails leaves what it wrote.
            let _ = continuity.close(host.core.counters());
        }
        let files = *process.files.borrow();
        self.seen.files.extend(Some(files).filter(|files| !self.seen.files.contains(files)));
    }

    fn show(&mut self, attested: &Attestation) {
        let statement = attested.statement;
        let position = (statement.identity.instance.0, statement.new.0);
        self.seen.shown.entry(position).or_default().insert(statement.digest.0[0]);
    }
}

impl Model for Counters {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![State { steps: vec![], seen: World::new(*self).seen }]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        if state.steps.len() == self.steps_max {
            return;
        }
        let first_idle = state.seen.running.iter().position(Option::is_none); // they are alike
        for (running, machine) in state.seen.running.iter().zip(0..) {
            if running.is_some() {
                steps.extend([Step::Attest, Step::Stop, Step::Kill].map(|step| step(machine)));
            } else if state.seen.starts < self.starts_max && first_idle == Some(machine) {
                let files = state.seen.files.len();
                steps.extend((0..files).map(|ago| Step::Start(machine, ago)));
            }
        }
    }

    fn next_state(&self, state: &State, step: Step) -> Option<State> {
        let mut world = World::new(*self);
        let steps: Vec<Step> = state.steps.iter().copied().chain([step]).collect();
        steps.iter().for_each(|step| world.perform(*step));
        (world.seen != state.seen).then_some(State { steps, seen: world.seen })
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("one statement for a position", |_, state: &State| {
                state.seen.shown.values().all(|digests| digests.len() == 1)
            }),
            Property::sometimes("an instance goes on", |model: &Self, state: &State| {
                state.seen.has_resumed || model.lease.is_none()
            }),
            Property::sometimes("two instances attested", |_, state: &State| {
                let instances: BTreeSet<[u8; 32]> =
                    state.seen.shown.keys().map(|(instance, _)| *instance).collect();
                instances.len() > 1
            }),
        ]
    }
}

impl Hash for State {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        (self.steps.len(), &self.seen).hash(hasher);
    }
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        (self.steps.len(), &self.seen) == (other.steps.len(), &other.seen)
    }
}

impl Eq for State {}
