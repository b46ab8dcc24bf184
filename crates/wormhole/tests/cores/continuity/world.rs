//! A world of one counter and many disks, in which every process can be stopped at every step, and
//! which remembers what was shown to others and every record that was ever written.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use ravelin_wormhole::core::Counters;
use ravelin_wormhole::counter::{CounterError, MonotonicCounter};
use ravelin_wormhole::keys::InstanceSecret;
use ravelin_wormhole::state::record::RecordKey;
use ravelin_wormhole::state::{Continuity, ContinuityError, Lease, Opened, RECORD_BYTES, Slots};
use rustix::io::Errno;
use zeroize::Zeroizing;

type Record = [u8; RECORD_BYTES];

/// Where the first counter's new value and digest stand in the bytes of [`Counters`].
const VALUE: std::ops::Range<usize> = 17..25;
const DIGEST: usize = 25;

fn counters_with(lock: u8, value: u64, digest: u8) -> Counters {
    let mut bytes = [0; Counters::BYTES];
    bytes[0] = lock;
    bytes[VALUE].copy_from_slice(&value.to_le_bytes());
    bytes[DIGEST] = digest;
    Counters::from_bytes(&bytes).unwrap()
}

/// The first counter stands at `value`, bound to `digest`.
pub(crate) fn counters(value: u64, digest: u8) -> Counters {
    counters_with(0, value, digest)
}

pub(crate) fn locked(value: u64, digest: u8) -> Counters {
    counters_with(1, value, digest)
}

pub(crate) fn erased(value: u64, digest: u8) -> Counters {
    counters_with(2, value, digest)
}

/// Where the first counter stands.
pub(crate) fn exposed_value(counters: &Counters) -> u64 {
    u64::from_le_bytes(counters.to_bytes()[VALUE].try_into().unwrap())
}

pub(crate) fn instance_of(opened: &Opened) -> u8 {
    opened.secret.0[0]
}

/// What the world remembers.
pub(crate) struct World {
    counter: Cell<u64>,
    /// By instance and value: the digest that others saw.
    exposed: RefCell<BTreeMap<(u8, u64), u8>>,
    records: RefCell<BTreeSet<Record>>,
    trace: RefCell<Vec<&'static str>>,
}

impl World {
    pub(crate) fn new() -> Rc<Self> {
        Rc::new(Self {
            counter: Cell::new(0),
            exposed: RefCell::default(),
            records: RefCell::default(),
            trace: RefCell::default(),
        })
    }

    /// The same past, another future.
    pub(crate) fn fork(&self) -> Rc<Self> {
        Rc::new(Self {
            counter: self.counter.clone(),
            exposed: self.exposed.clone(),
            records: RefCell::default(),
            trace: RefCell::default(),
        })
    }

    pub(crate) fn records(&self) -> Vec<Record> {
        self.records.borrow().iter().copied().collect()
    }

    pub(crate) fn trace(&self) -> String {
        self.trace.borrow().join(" ")
    }

    /// An instance starts: what it shows from the first moment on, by `last`.
    pub(crate) fn expose(&self, opened: &Opened) {
        let Some(counters) = &opened.counters else { return };
        let instance = instance_of(opened);
        let shown = self.exposed.borrow();
        let highest = shown.keys().filter(|key| key.0 == instance).map(|key| key.1).max();
        assert!(
            highest.is_none_or(|highest| exposed_value(counters) >= highest),
            "instance {instance} came back at {} below {highest:?}",
            exposed_value(counters)
        );
        drop(shown);
        self.show(instance, exposed_value(counters), counters.to_bytes()[DIGEST]);
    }

    fn show(&self, instance: u8, value: u64, digest: u8) {
        let before = *self.exposed.borrow_mut().entry((instance, value)).or_insert(digest);
        assert_eq!(before, digest, "instance {instance} bound {value} to two digests");
    }
}

/// What becomes of a write that was not made durable before the power failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Kept,
    Lost,
    Torn,
}

/// Two slots, and what is written to them but not durable.
#[derive(Clone)]
pub(crate) struct Disk {
    durable: [Record; 2],
    pending: [Option<Record>; 2],
}

impl Default for Disk {
    fn default() -> Self {
        Self { durable: [[0; RECORD_BYTES]; 2], pending: [None; 2] }
    }
}

impl Disk {
    /// One record wherever it may be looked for.
    pub(crate) fn of(record: &Record) -> Self {
        Self { durable: [*record; 2], pending: [None; 2] }
    }

    /// What another process would read now.
    pub(crate) fn as_seen(&self) -> Self {
        let mut seen = self.clone();
        seen.crash(Fate::Kept);
        seen
    }

    pub(crate) fn crash(&mut self, fate: Fate) {
        for (durable, pending) in self.durable.iter_mut().zip(&mut self.pending) {
            let Some(written) = pending.take() else { continue };
            let kept = match fate {
                Fate::Kept => RECORD_BYTES,
                Fate::Lost => 0,
                Fate::Torn => RECORD_BYTES / 2,
            };
            durable[..kept].copy_from_slice(&written[..kept]);
        }
    }

    pub(crate) fn holds(&self, secret: &[u8; 32]) -> bool {
        self.as_seen().durable.iter().any(|record| record.windows(32).any(|part| part == secret))
    }
}

/// One process: it fails from some step on, and may be paused before one.
pub(crate) struct Run {
    world: Rc<World>,
    disk: Rc<RefCell<Disk>>,
    taken: Cell<usize>,
    stops_at: Cell<usize>,
    pause: RefCell<Option<(usize, Box<dyn FnOnce()>)>>,
}

impl Run {
    /// A process whose step number `stops_at`, counted from 0, and all later ones do not happen.
    pub(crate) fn new(world: &Rc<World>, disk: &Rc<RefCell<Disk>>, stops_at: usize) -> Rc<Self> {
        Rc::new(Self {
            world: Rc::clone(world),
            disk: Rc::clone(disk),
            taken: Cell::new(0),
            stops_at: Cell::new(stops_at),
            pause: RefCell::default(),
        })
    }

    pub(crate) fn steady(world: &Rc<World>, disk: &Rc<RefCell<Disk>>) -> Rc<Self> {
        Self::new(world, disk, usize::MAX)
    }

    /// Does something else right before step number `step`.
    pub(crate) fn pause(&self, step: usize, meanwhile: impl FnOnce() + 'static) {
        *self.pause.borrow_mut() = Some((step, Box::new(meanwhile)));
    }

    pub(crate) fn recover(&self) {
        self.stops_at.set(usize::MAX);
    }

    pub(crate) fn continuity(self: &Rc<Self>, lease: Lease) -> Continuity {
        let key = RecordKey::new(Zeroizing::new([9; 32]));
        Continuity::over(
            Box::new(Part(Rc::clone(self))),
            key,
            Box::new(Part(Rc::clone(self))),
            lease,
        )
    }

    fn step(&self, name: &'static str) -> Result<(), Errno> {
        let step = self.taken.replace(self.taken.get() + 1);
        let paused = self.pause.borrow_mut().take_if(|(at, _)| *at == step);
        if let Some((_, meanwhile)) = paused {
            meanwhile();
        }
        if step >= self.stops_at.get() {
            return Err(Errno::IO);
        }
        self.world.trace.borrow_mut().push(name);
        Ok(())
    }
}

/// A process's hand on its disk and on the counter.
struct Part(Rc<Run>);

impl Slots for Part {
    fn read(&mut self, slot: usize, bytes: &mut Record) -> Result<(), Errno> {
        self.0.step("load")?;
        let disk = self.0.disk.borrow();
        *bytes = disk.pending[slot].unwrap_or(disk.durable[slot]);
        Ok(())
    }

    fn write(&mut self, slot: usize, bytes: &Record) -> Result<(), Errno> {
        self.0.step("write")?;
        self.0.world.records.borrow_mut().insert(*bytes);
        self.0.disk.borrow_mut().pending[slot] = Some(*bytes);
        Ok(())
    }

    fn sync(&mut self, slot: usize) -> Result<(), Errno> {
        self.0.step("sync")?;
        let mut disk = self.0.disk.borrow_mut();
        if let Some(written) = disk.pending[slot].take() {
            disk.durable[slot] = written;
        }
        Ok(())
    }
}

impl MonotonicCounter for Part {
    fn read(&mut self) -> Result<u64, CounterError> {
        self.0.step("read").map_err(CounterError::Unreachable)?;
        Ok(self.0.world.counter.get())
    }

    fn increment(&mut self) -> Result<(), CounterError> {
        self.0.step("increment").map_err(CounterError::Unreachable)?;
        self.0.world.counter.set(self.0.world.counter.get() + 1);
        Ok(())
    }
}

/// A life: open, attest the next values to a digest of one's own, close.
#[derive(Clone, Copy)]
pub(crate) struct Script {
    pub(crate) lease: Lease,
    pub(crate) attestations: u64,
}

impl Script {
    /// Lives it as process `id`: also the instance's secret, if new, and the digest.
    pub(crate) fn perform(self, run: &Rc<Run>, id: u8) -> Result<(), ContinuityError> {
        let mut continuity = run.continuity(self.lease);
        let opened = continuity.open(InstanceSecret([id; 32]))?;
        run.world.expose(&opened);
        let mut last = opened.counters.clone().unwrap_or_default();
        for _ in 0..self.attestations {
            last = counters(exposed_value(&last) + 1, id);
            continuity.keep(&last)?;
            run.world.show(instance_of(&opened), exposed_value(&last), id);
        }
        continuity.close(&last)
    }
}
