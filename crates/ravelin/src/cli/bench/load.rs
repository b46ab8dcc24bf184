//! One load, closed-loop or at a rate, and the figures of one run.
//!
//! At a rate each envelope has a time at which it is due, however long the earlier ones take, and is timed
//! from then: a pause of the cluster shows in all that came due meanwhile. What is not answered when the
//! measuring ends is missing in the throughput, and not in the times.
//!
//! Where a load sheds, what is due is sent at once or not at all, is timed from its sending, and is not
//! tried again.
//!
//! Where some operations read, whoever would send an envelope reads as many keys instead now and then,
//! each by itself and all at once: so many operations are in flight either way.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ravelin_model::limits::ENVELOPE_BYTES_MAX;
use serde::Serialize;

use super::door::Door;
use super::figures::{Figures, Measured, Reads};
use super::peer::{self, Cluster};
use super::samples::{Kind, Sample, Samples};
use super::target::Target;
use super::testbed::{Layout, TestBed};
use super::usage::Usage;
use crate::exit::{Error, Exit, Result};
use crate::processes::Logging;

/// How long a load is measured, unless asked otherwise.
const SECONDS_DEFAULT: u64 = 10;
/// Keys that are written.
const KEYS: usize = 100_000;
/// The same where they are there before, for loads that read, or go away afterwards.
const KEYS_FEW: usize = 10_000;
/// Sessions over which the envelopes in flight are spread, or connections to a peer.
const SESSIONS: usize = 4;
/// The same where more is offered than is taken: together they hold four times as much in flight.
const SESSIONS_OFFERING: usize = 4 * SESSIONS;
/// Operations in flight at most at a rate: as many as the sessions take.
pub(super) const AT_A_RATE_IN_FLIGHT: u32 = 4096;
/// The same of those that offer more than is taken.
pub(super) const OFFERED_IN_FLIGHT: u32 = 4 * AT_A_RATE_IN_FLIGHT;
/// Operations of an envelope that fills a cluster, and its bytes, about.
const FILL_ENVELOPE: usize = 256;
const FILL_BYTES: usize = ENVELOPE_BYTES_MAX / 2;
/// Bytes of an operation beside its value, and of an envelope beside its operations, at most.
const OPERATION_BYTES: u64 = 64;
const ENVELOPE_BYTES: u64 = 256;
/// Such envelopes in flight.
const FILL_IN_FLIGHT: usize = 8;
/// How long such an envelope is tried.
const INSIST_MAX: Duration = Duration::from_secs(60);
/// How long what is due may wait for a place before it is shed.
const SHED_AFTER: Duration = Duration::from_millis(20);
/// How long whoever was not answered waits before trying again.
const RETRY_AFTER: Duration = Duration::from_millis(10);

/// What clients do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) value_bytes: u32,
    pub(super) in_flight: u32,
    pub(super) envelope: u32,
    /// Of a hundred operations, how many read.
    pub(super) reads: u8,
    /// Operations a second that come due; as many as are answered, without it.
    pub(super) rate: Option<u32>,
    /// How long is measured, after a warm-up of a quarter of it.
    pub(super) seconds: u64,
    /// Keys that are read and written, where they are not as many as always.
    pub(super) keys: Option<usize>,
}

impl Shape {
    /// What is measured unless told otherwise.
    pub(super) const DEFAULT: Self = Self {
        value_bytes: 128,
        in_flight: 256,
        envelope: 32,
        reads: 0,
        rate: None,
        seconds: SECONDS_DEFAULT,
        keys: None,
    };

    /// Refuses a shape that makes no sense, or whose envelopes servers do not take.
    pub(super) fn check(&self) -> Result<()> {
        let Self { value_bytes, in_flight, envelope, .. } = self;
        if envelope > in_flight {
            let cause =
                format!("envelopes of {envelope} do not fit {in_flight} operations in flight");
            return Err(Error::usage(cause, "make --in-flight a multiple of --envelope"));
        }
        let operation = u64::from(*value_bytes) + OPERATION_BYTES;
        if u64::from(*envelope) * operation + ENVELOPE_BYTES > ENVELOPE_BYTES_MAX as u64 {
            let cause = format!(
                "envelopes of {envelope} values of {value_bytes} bytes are more than the 1 MiB that \
                 servers take"
            );
            return Err(Error::usage(cause, "make --envelope or --value-bytes smaller"));
        }
        if self.rate.is_some_and(|rate| rate < *envelope) {
            let cause = "less than one envelope a second comes due";
            return Err(Error::usage(cause, "raise --rate, or make --envelope smaller"));
        }
        Ok(())
    }

    /// Keys that are read and written on this target.
    pub(super) fn keys(&self, target: Target<'_>) -> usize {
        let is_throw_away = matches!(target, Target::Own(_));
        let usual = if self.reads == 0 && is_throw_away { KEYS } else { KEYS_FEW };
        self.keys.unwrap_or(usual)
    }

    /// Operations in flight at most.
    fn in_flight(&self) -> u32 {
        if self.rate.is_some() { AT_A_RATE_IN_FLIGHT } else { self.in_flight }
    }
}

/// A load under way. It ends when dropped.
pub(super) struct Running {
    load: Arc<Load>,
    doors: Vec<Door>,
    workers: tokio::task::JoinSet<()>,
}

impl Running {
    /// Puts a load on a cluster of ours.
    pub(super) async fn start(target: Target<'_>, shape: Shape) -> Result<Self> {
        let doors = open(target, SESSIONS).await?;
        Ok(Self::through(doors, shape, shape.keys(target), None))
    }

    /// Puts a load on a cluster of ours that sheds what it does not take, with up to
    /// [`OFFERED_IN_FLIGHT`] operations in flight.
    pub(super) async fn shedding(target: Target<'_>, shape: Shape) -> Result<Self> {
        let doors = open(target, SESSIONS_OFFERING).await?;
        Ok(Self::through(doors, shape, shape.keys(target), Some(Shed::default())))
    }

    /// Puts a load on whom these doors lead to.
    fn through(doors: Vec<Door>, shape: Shape, keys: usize, shed: Option<Shed>) -> Self {
        let in_flight = if shed.is_some() { OFFERED_IN_FLIGHT } else { shape.in_flight() };
        let load = Arc::new(Load {
            envelope: shape.envelope,
            keys,
            value: vec![b'v'; shape.value_bytes as usize],
            pace: shape.rate.map(|rate| Pace::new(rate, shape.envelope)),
            shed,
            answered: Mutex::new(Samples::default()),
            refusal: Mutex::new(None),
        });
        let mut workers = tokio::task::JoinSet::new();
        for worker in 0..(in_flight / shape.envelope) as usize {
            let door = doors.get(worker % doors.len()).cloned();
            let door = door.expect("a remainder is below its divisor");
            let mix = Mix::new(shape.reads, worker);
            workers.spawn(Arc::clone(&load).work(worker, door, mix));
        }
        Self { load, doors, workers }
    }

    /// Ends the load and its sessions in good order.
    async fn close(self) {
        drop(self.workers);
        for door in self.doors {
            door.close().await;
        }
    }

    /// What was answered since this was last asked.
    pub(super) fn forget(&self) -> Samples {
        self.load.forget()
    }

    /// How many operations were shed so far for want of a place, and how many were sent and not
    /// acknowledged.
    pub(super) fn shed(&self) -> (u64, u64) {
        let both = |shed: &Shed| {
            (shed.unsent.load(Ordering::Relaxed), shed.unacknowledged.load(Ordering::Relaxed))
        };
        self.load.shed.as_ref().map_or((0, 0), both)
    }

    /// Why the last one that was not acknowledged was not, if there was one.
    pub(super) fn refusal(&self) -> Option<String> {
        self.load.refusal()
    }

    /// How many operations were answered since then.
    pub(super) fn operations(&self) -> f64 {
        self.load.lock().operations() as f64
    }
}

/// Clients of a cluster of ours.
async fn open(target: Target<'_>, sessions: usize) -> Result<Vec<Door>> {
    let mut doors = Vec::new();
    for _ in 0..sessions {
        doors.push(Door::to_ours(target).await?);
    }
    Ok(doors)
}

/// Writes so many keys, each once.
pub(super) async fn fill(target: Target<'_>, keys: usize, value_bytes: u32) -> Result<()> {
    let value: Arc<[u8]> = vec![b'v'; value_bytes as usize].into();
    sweep(target, keys, Some(value)).await
}

/// Removes so many keys, each once.
pub(super) async fn clear(target: Target<'_>, keys: usize) -> Result<()> {
    sweep(target, keys, None).await
}

/// Writes `value` under so many keys, each once, or removes them.
async fn sweep(target: Target<'_>, keys: usize, value: Option<Arc<[u8]>>) -> Result<()> {
    sweep_through(Door::to_ours(target).await?, keys, value, FILL_ENVELOPE).await
}

/// The same through a door, up to `together` keys at once.
async fn sweep_through(
    door: Door,
    keys: usize,
    value: Option<Arc<[u8]>>,
    together: usize,
) -> Result<()> {
    let mut under_way = tokio::task::JoinSet::new();
    let operation = value.as_ref().map_or(0, |value| value.len()) + OPERATION_BYTES as usize;
    let envelope = together.min(FILL_BYTES / operation).max(1);
    let mut firsts = (0..keys).step_by(envelope);
    loop {
        let next = firsts.next();
        if let Some(first) = next {
            let keys = (first..keys.min(first + envelope)).collect();
            under_way.spawn(insist(door.clone(), keys, value.clone()));
        }
        if next.is_none() || under_way.len() >= FILL_IN_FLIGHT {
            let Some(done) = under_way.join_next().await else { break };
            done.expect("it does not panic").map_err(|why| {
                let cause = format!("cannot write the keys of the load: {why}");
                Error::new(Exit::Failed, cause, "`ravelin status` shows how the servers fare")
            })?;
        }
    }
    door.close().await;
    Ok(())
}

/// Writes `value` under these keys, or removes them, and tries again for a while where it must.
async fn insist(
    door: Door,
    keys: Vec<usize>,
    value: Option<Arc<[u8]>>,
) -> std::result::Result<(), String> {
    let mut refusal = "no answer".to_owned();
    let done = async {
        loop {
            let done = match &value {
                Some(value) => door.put(&keys, value).await,
                None => door.remove(&keys).await,
            };
            match done {
                Ok(()) => break,
                Err(why) => refusal = why,
            }
            tokio::time::sleep(RETRY_AFTER).await;
        }
    };
    let done = tokio::time::timeout(INSIST_MAX, done).await;
    done.map_err(|_| refusal)
}

/// What came of one run.
struct Observed {
    /// What was answered, in order.
    answered: Samples,
    operations: u64,
    elapsed: Duration,
    /// Nothing where the servers are elsewhere.
    used: Option<Usage>,
    /// Why the last operation that was not acknowledged was not, if there was one. Whoever sent it tried
    /// again.
    refusal: Option<String>,
}

impl Observed {
    /// Lets a load warm up for a quarter of the time, and watches it.
    async fn watch(
        load: &Running,
        shape: Shape,
        usage: impl Fn() -> Option<Usage>,
    ) -> Result<Self> {
        tokio::time::sleep(Duration::from_secs(shape.seconds) / 4).await;
        load.forget();
        let before = usage();
        let begun = Instant::now();
        tokio::time::sleep(Duration::from_secs(shape.seconds)).await;
        let elapsed = begun.elapsed();
        let used = usage().zip(before).map(|(after, before)| after.since(&before));
        let mut answered = load.forget();
        answered.sort();
        let operations = answered.operations();
        let refusal = load.load.refusal();
        if operations == 0 {
            let why = refusal.map(|why| format!(": {why}")).unwrap_or_default();
            let hint = "the machine may be too slow or too busy: try --seconds 30";
            return Err(Error::new(Exit::Failed, format!("no operation was answered{why}"), hint));
        }
        Ok(Self { answered, operations, elapsed, used, refusal })
    }

    fn measured(&self, servers: usize) -> Measured {
        let percentile_ms =
            |percent| self.answered.percentile_ms(percent, |_| true).unwrap_or_default();
        Measured {
            operations_per_second: self.operations as f64 / self.elapsed.as_secs_f64(),
            p50_ms: percentile_ms(50),
            p99_ms: percentile_ms(99),
            cpu_us_per_op: self.per_operation(|used| used.cpu_seconds * 1e6),
            memory_mib_per_server: self.used.map(|used| used.memory_mib / servers as f64),
            fsyncs_per_op: self.per_operation(|used| used.fsyncs),
        }
    }

    fn per_operation(&self, of: impl Fn(Usage) -> f64) -> Option<f64> {
        self.used.map(|used| of(used) / self.operations as f64)
    }
}

/// Puts the load on a new cluster of ours and measures.
pub(super) async fn measure_on_new(layout: Layout, shape: Shape) -> Result<Figures> {
    let bed = TestBed::start(layout, None, Logging::AsFiled).await?;
    measure(Target::Own(&bed), shape).await
}

/// Puts the load on a cluster and measures.
pub(super) async fn measure(target: Target<'_>, shape: Shape) -> Result<Figures> {
    if shape.reads > 0 {
        fill(target, shape.keys(target), shape.value_bytes).await?;
    }
    let load = Running::start(target, shape).await?;
    let run = Observed::watch(&load, shape, || target.usage()).await?;
    if let Target::Running(_) = target {
        load.close().await; // of which one client may have so many only
    }
    let group = target.group();
    Ok(Figures {
        measured: run.measured(group.size()),
        bytes_per_op: run.per_operation(|used| used.log_bytes),
        durable: target.is_durable(),
        authenticated: "every envelope, block and answer root by Ed25519; TLS 1.3 on every link",
        fault_model: group.model().name(),
        servers: group.size(),
        tolerated: group.faults(),
        value_bytes: shape.value_bytes,
        in_flight: shape.in_flight(),
        envelope: shape.envelope,
        rate: shape.rate,
        reads: (shape.reads > 0).then(|| Reads::of(shape.reads, &run.answered)),
        operations: run.operations,
        seconds: run.elapsed.as_secs_f64(),
    })
}

/// What scripts read of another system: its fields are stable.
#[derive(Clone, Debug, Serialize)]
pub(super) struct PeerFigures {
    #[serde(flatten)]
    pub(super) measured: Measured,
    pub(super) servers: usize,
    pub(super) in_flight: u32,
    /// Writes of a transaction; 1 for those that stand alone.
    pub(super) transaction: u32,
    pub(super) operations: u64,
}

/// Puts the load on a peer's leader and measures.
pub(super) async fn measure_peer(mut cluster: Cluster, shape: Shape) -> Result<PeerFigures> {
    let mut doors = Vec::new();
    for _ in 0..SESSIONS {
        doors.push(cluster.connect().await?);
    }
    let mut keys = KEYS;
    if let (true, Some(door)) = (shape.reads > 0, doors.first()) {
        keys = KEYS_FEW;
        let value = vec![b'v'; shape.value_bytes as usize].into();
        let together = cluster.system.transaction_max();
        sweep_through(door.clone(), keys, Some(value), together).await?;
    }
    let load = Running::through(doors, shape, keys, None);
    let run = Observed::watch(&load, shape, || Some(cluster.total_usage())).await?;
    cluster.check()?;
    if let Some(refusal) = run.refusal {
        // A peer that refuses some is not what is to be compared with.
        let name = cluster.system.name();
        let hint = format!("smaller values or fewer seconds keep {name} within its limits");
        let cause = format!("{name} did not take all writes: {refusal}");
        return Err(Error::new(Exit::Failed, cause, hint));
    }
    Ok(PeerFigures {
        measured: run.measured(peer::SERVERS),
        servers: peer::SERVERS,
        in_flight: shape.in_flight(),
        transaction: shape.envelope,
        operations: run.operations,
    })
}

/// When envelopes come due.
struct Pace {
    begun: Instant,
    every_ns: u64,
    taken: AtomicU64,
}

impl Pace {
    fn new(rate: u32, envelope: u32) -> Self {
        let every_ns = 1_000_000_000 * u64::from(envelope) / u64::from(rate.max(1));
        Self { begun: Instant::now(), every_ns, taken: AtomicU64::new(0) }
    }

    /// Waits until the next envelope is due; says when it was.
    async fn next(&self) -> Instant {
        let taken = self.taken.fetch_add(1, Ordering::Relaxed);
        let due = self.begun + Duration::from_nanos(self.every_ns.saturating_mul(taken));
        tokio::time::sleep_until(due.into()).await;
        due
    }
}

/// Which steps of a worker read: so many of a hundred, evenly spread.
struct Mix {
    percent: u8,
    /// What the steps so far leave to the next one, in hundredths.
    owed: u8,
}

impl Mix {
    /// Workers begin at different places.
    fn new(percent: u8, worker: usize) -> Self {
        let owed = worker * usize::from(percent) % 100;
        Self { percent, owed: u8::try_from(owed).expect("a remainder of 100") }
    }

    fn next_reads(&mut self) -> bool {
        let owed = self.owed + self.percent;
        self.owed = owed % 100;
        owed >= 100
    }
}

/// Operations that a load sheds.
#[derive(Default)]
struct Shed {
    /// They were due, and all places were taken.
    unsent: AtomicU64,
    unacknowledged: AtomicU64,
}

struct Load {
    envelope: u32,
    keys: usize,
    value: Vec<u8>,
    pace: Option<Pace>,
    /// What was shed, where something is.
    shed: Option<Shed>,
    answered: Mutex<Samples>,
    /// Why the last one that was not acknowledged was not.
    refusal: Mutex<Option<String>>,
}

impl Load {
    /// Sends one envelope after the other, or reads as many keys; each is timed from its sending, or from
    /// when it was due, to its vote.
    async fn work(self: Arc<Self>, worker: usize, door: Door, mut mix: Mix) {
        let mut next = worker * 7919;
        loop {
            let begun = self.due().await;
            let keys = (0..self.envelope).map(|_| {
                next = (next + 104_729) % self.keys;
                next
            });
            let keys: Vec<usize> = keys.collect();
            if mix.next_reads() {
                let mut under_way = tokio::task::JoinSet::new();
                for key in keys {
                    under_way.spawn(Arc::clone(&self).read(door.clone(), key, begun));
                }
                under_way.join_all().await;
            } else {
                self.write(&door, &keys, begun).await;
            }
        }
    }

    /// Waits until something is due; from when on it is timed.
    async fn due(&self) -> Instant {
        let Some(pace) = &self.pace else { return Instant::now() };
        let Some(shed) = &self.shed else { return pace.next().await };
        while pace.next().await.elapsed() > SHED_AFTER {
            shed.unsent.fetch_add(self.envelope.into(), Ordering::Relaxed);
        }
        Instant::now()
    }

    async fn write(&self, door: &Door, keys: &[usize], mut begun: Instant) {
        while let Err(refusal) = door.put(keys, &self.value).await {
            if let Some(shed) = &self.shed {
                shed.unacknowledged.fetch_add(self.envelope.into(), Ordering::Relaxed);
                self.wait_after(refusal, begun).await;
                return;
            }
            begun = self.wait_after(refusal, begun).await;
        }
        self.push(begun, Kind::Write(self.envelope));
    }

    async fn read(self: Arc<Self>, door: Door, key: usize, mut begun: Instant) {
        let path = loop {
            match door.get(key).await {
                Ok(path) => break path,
                Err(refusal) => begun = self.wait_after(refusal, begun).await,
            }
        };
        self.push(begun, Kind::Read(path));
    }

    /// Waits before what was refused is tried again; from when on it is timed.
    async fn wait_after(&self, refusal: String, begun: Instant) -> Instant {
        *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = Some(refusal);
        tokio::time::sleep(RETRY_AFTER).await;
        if self.pace.is_some() { begun } else { Instant::now() } // what is due stays due
    }

    fn push(&self, begun: Instant, kind: Kind) {
        self.lock().push(Sample { took: begun.elapsed(), kind });
    }

    fn forget(&self) -> Samples {
        std::mem::take(&mut *self.lock())
    }

    fn refusal(&self) -> Option<String> {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Samples> {
        self.answered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_are_so_many_of_a_hundred_and_evenly_spread() {
        for percent in [0, 1, 50, 99, 100] {
            for worker in [0, 1, 7] {
                let mut mix = Mix::new(percent, worker);
                let reads = (0..1000).filter(|_| mix.next_reads()).count();
                assert_eq!(reads, usize::from(percent) * 10, "{percent} %, worker {worker}");
            }
        }
        let mut mix = Mix::new(50, 1);
        assert_eq!([(); 4].map(|()| mix.next_reads()), [true, false, true, false]);
    }
}
