//! One load, closed-loop or at a rate, and the figures of one run.
//!
//! At a rate each envelope has a time at which it is due, however long the earlier ones take, and is timed
//! from then: a pause of the cluster shows in all that came due meanwhile. What is not answered when the
//! measuring ends is missing in the throughput, and not in the times.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ravelin_model::limits::ENVELOPE_BYTES_MAX;
use serde::Serialize;

use super::door::Door;
use super::etcd::Etcd;
use super::testbed::TestBed;
use super::usage::Usage;
use crate::exit::{Error, Exit, Result};

/// Keys that are written.
const KEYS: usize = 100_000;
/// Sessions over which the envelopes in flight are spread, or connections to etcd.
const SESSIONS: usize = 4;
/// Operations in flight at most at a rate: as many as the sessions take.
const AT_A_RATE_IN_FLIGHT: u32 = 4096;
/// Operations of an envelope that fills a cluster, and its bytes, about.
const FILL_ENVELOPE: usize = 256;
const FILL_BYTES: usize = ENVELOPE_BYTES_MAX / 2;
/// Bytes of an operation beside its value, and of an envelope beside its operations, at most.
const OPERATION_BYTES: u64 = 64;
const ENVELOPE_BYTES: u64 = 256;
/// Such envelopes in flight.
const FILL_IN_FLIGHT: usize = 8;

/// What clients do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) value_bytes: u32,
    pub(super) in_flight: u32,
    pub(super) envelope: u32,
    /// Operations a second that come due; as many as are answered, without it.
    pub(super) rate: Option<u32>,
    /// How long is measured, after a warm-up of a quarter of it.
    pub(super) seconds: u64,
}

impl Shape {
    /// Whether an envelope of this shape is one that servers take.
    pub(super) fn fits(&self) -> bool {
        let operation = u64::from(self.value_bytes) + OPERATION_BYTES;
        u64::from(self.envelope) * operation + ENVELOPE_BYTES <= ENVELOPE_BYTES_MAX as u64
    }

    /// Operations in flight at most.
    fn in_flight(&self) -> u32 {
        if self.rate.is_some() { AT_A_RATE_IN_FLIGHT } else { self.in_flight }
    }
}

/// What is measured of any system, ours or a peer.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Measured {
    pub(super) operations_per_second: f64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) cpu_us_per_op: f64,
    pub(super) memory_mib_per_server: f64,
    pub(super) fsyncs_per_op: f64,
}

/// What scripts read: its fields are stable.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Figures {
    #[serde(flatten)]
    pub(super) measured: Measured,
    pub(super) bytes_per_op: f64,
    pub(super) durable: bool,
    pub(super) authenticated: &'static str,
    pub(super) fault_model: &'static str,
    pub(super) servers: usize,
    pub(super) value_bytes: u32,
    pub(super) in_flight: u32,
    pub(super) envelope: u32,
    pub(super) rate: Option<u32>,
    pub(super) operations: u64,
    pub(super) seconds: f64,
}

/// A load under way. It ends when dropped.
pub(super) struct Running {
    load: Arc<Load>,
    _workers: tokio::task::JoinSet<()>,
}

impl Running {
    /// Puts a load on a cluster of ours.
    pub(super) async fn start(bed: &TestBed, shape: Shape) -> Result<Self> {
        let mut doors = Vec::new();
        for _ in 0..SESSIONS {
            doors.push(Door::to_ours(bed).await?);
        }
        Ok(Self::through(&doors, shape))
    }

    /// Puts a load on whom these doors lead to.
    fn through(doors: &[Door], shape: Shape) -> Self {
        let load = Arc::new(Load {
            envelope: shape.envelope as usize,
            value: vec![b'v'; shape.value_bytes as usize],
            pace: shape.rate.map(|rate| Pace::new(rate, shape.envelope)),
            took: Mutex::new(Vec::new()),
            refusal: Mutex::new(None),
        });
        let mut workers = tokio::task::JoinSet::new();
        for worker in 0..(shape.in_flight() / shape.envelope) as usize {
            let door = doors.get(worker % doors.len()).cloned();
            let door = door.expect("a remainder is below its divisor");
            workers.spawn(Arc::clone(&load).work(worker, door));
        }
        Self { load, _workers: workers }
    }

    /// How long each envelope took that was answered since this was last asked.
    pub(super) fn forget(&self) -> Vec<Duration> {
        self.load.forget()
    }

    /// How many operations were answered since then.
    pub(super) fn operations(&self) -> f64 {
        (self.load.lock().len() * self.load.envelope) as f64
    }
}

/// Writes so many keys, each once.
pub(super) async fn fill(bed: &TestBed, keys: usize, shape: Shape) -> Result<()> {
    let door = Door::to_ours(bed).await?;
    let value: Arc<[u8]> = vec![b'v'; shape.value_bytes as usize].into();
    let mut under_way = tokio::task::JoinSet::new();
    let operation = shape.value_bytes as usize + OPERATION_BYTES as usize;
    let envelope = FILL_ENVELOPE.min(FILL_BYTES / operation).max(1);
    for first in (0..keys).step_by(envelope) {
        let until = keys.min(first + envelope);
        let (door, value) = (door.clone(), Arc::clone(&value));
        under_way.spawn(async move {
            let keys: Vec<usize> = (first..until).collect();
            while door.put(&keys, &value).await.is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        if under_way.len() >= FILL_IN_FLIGHT {
            under_way.join_next().await;
        }
    }
    while under_way.join_next().await.is_some() {}
    Ok(())
}

/// What came of one run.
struct Observed {
    /// How long each envelope took, ascending.
    took: Vec<Duration>,
    operations: u64,
    elapsed: Duration,
    used: Usage,
    /// Why the last operation that was not acknowledged was not, if there was one. Whoever sent it tried
    /// again.
    refusal: Option<String>,
}

impl Observed {
    /// Lets a load warm up for a quarter of the time, and watches it.
    async fn watch(load: Running, shape: Shape, usage: impl Fn() -> Usage) -> Result<Self> {
        tokio::time::sleep(Duration::from_secs(shape.seconds) / 4).await;
        load.forget();
        let before = usage();
        let begun = Instant::now();
        tokio::time::sleep(Duration::from_secs(shape.seconds)).await;
        let elapsed = begun.elapsed();
        let used = usage().since(&before);
        let mut took = load.forget();
        took.sort_unstable();
        let operations = took.len() as u64 * u64::from(shape.envelope);
        let refusal = load.load.refusal();
        if operations == 0 {
            let why = refusal.map(|why| format!(": {why}")).unwrap_or_default();
            let hint = "the machine may be too slow or too busy: try --seconds 30";
            return Err(Error::new(Exit::Failed, format!("no operation was answered{why}"), hint));
        }
        Ok(Self { took, operations, elapsed, used, refusal })
    }

    fn measured(&self, servers: usize) -> Measured {
        Measured {
            operations_per_second: self.operations as f64 / self.elapsed.as_secs_f64(),
            p50_ms: percentile_ms(&self.took, 50),
            p99_ms: percentile_ms(&self.took, 99),
            cpu_us_per_op: self.per_operation(self.used.cpu_seconds * 1e6),
            memory_mib_per_server: self.used.memory_mib / servers as f64,
            fsyncs_per_op: self.per_operation(self.used.fsyncs),
        }
    }

    fn per_operation(&self, used: f64) -> f64 {
        used / self.operations as f64
    }
}

/// Puts the load on a cluster and measures.
pub(super) async fn measure(bed: &TestBed, shape: Shape) -> Result<Figures> {
    let load = Running::start(bed, shape).await?;
    let run = Observed::watch(load, shape, || bed.total_usage()).await?;
    let servers = bed.cluster.servers.len();
    Ok(Figures {
        measured: run.measured(servers),
        bytes_per_op: run.per_operation(run.used.log_bytes),
        durable: true,
        authenticated: "every envelope, block and answer root by Ed25519; TLS 1.3 on every link",
        fault_model: bed.cluster.group.model().name(),
        servers,
        value_bytes: shape.value_bytes,
        in_flight: shape.in_flight(),
        envelope: shape.envelope,
        rate: shape.rate,
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

/// Puts the load on etcd's leader and measures.
pub(super) async fn measure_etcd(mut etcd: Etcd, shape: Shape) -> Result<PeerFigures> {
    let mut doors = Vec::new();
    for _ in 0..SESSIONS {
        doors.push(Door::to_etcd(&etcd).await?);
    }
    let load = Running::through(&doors, shape);
    let run = Observed::watch(load, shape, || etcd.total_usage()).await?;
    etcd.check()?;
    if let Some(refusal) = run.refusal {
        // A peer that refuses some is not what is to be compared with.
        let hint = "smaller values or fewer seconds keep etcd within its limits";
        return Err(Error::new(
            Exit::Failed,
            format!("etcd did not take all writes: {refusal}"),
            hint,
        ));
    }
    Ok(PeerFigures {
        measured: run.measured(super::etcd::SERVERS),
        servers: super::etcd::SERVERS,
        in_flight: shape.in_flight(),
        transaction: shape.envelope,
        operations: run.operations,
    })
}

/// The time below which `percent` of a hundred lie, of times in order.
pub(super) fn percentile_ms(ascending: &[Duration], percent: usize) -> f64 {
    let at = ascending.get(ascending.len() * percent / 100);
    at.map_or(0.0, |time| time.as_secs_f64() * 1e3)
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

struct Load {
    envelope: usize,
    value: Vec<u8>,
    pace: Option<Pace>,
    took: Mutex<Vec<Duration>>,
    /// Why the last one that was not acknowledged was not.
    refusal: Mutex<Option<String>>,
}

impl Load {
    /// Sends one envelope after the other; each is timed from its sending, or from when it was due, to its
    /// vote.
    async fn work(self: Arc<Self>, worker: usize, door: Door) {
        let mut next = worker * 7919;
        loop {
            let mut begun = match &self.pace {
                Some(pace) => pace.next().await,
                None => Instant::now(),
            };
            let keys = (0..self.envelope).map(|_| {
                next = (next + 104_729) % KEYS;
                next
            });
            let keys: Vec<usize> = keys.collect();
            while let Err(refusal) = door.put(&keys, &self.value).await {
                *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = Some(refusal);
                tokio::time::sleep(Duration::from_millis(10)).await;
                if self.pace.is_none() {
                    begun = Instant::now(); // what is due stays due
                }
            }
            self.lock().push(begun.elapsed());
        }
    }

    fn forget(&self) -> Vec<Duration> {
        std::mem::take(&mut *self.lock())
    }

    fn refusal(&self) -> Option<String> {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Duration>> {
        self.took.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "{} servers, {}, values of {} B, {} operations in flight in envelopes of {}",
            self.servers, self.fault_model, self.value_bytes, self.in_flight, self.envelope
        )?;
        writeln!(
            out,
            "authenticated: {}; durable: one fsync a round before anything is said",
            self.authenticated
        )?;
        write!(out, "{:>12.0} operations/s", self.measured.operations_per_second)?;
        match self.rate {
            Some(rate) => writeln!(out, ", of {rate} that came due")?,
            None => writeln!(out)?,
        }
        writeln!(out, "{:>12.2} ms p50, {:.2} ms p99", self.measured.p50_ms, self.measured.p99_ms)?;
        writeln!(out, "{:>12.1} us of CPU an operation, all servers", self.measured.cpu_us_per_op)?;
        writeln!(out, "{:>12.1} MiB a server", self.measured.memory_mib_per_server)?;
        write!(
            out,
            "{:>12.4} fsyncs and {:.0} bytes of log an operation, all servers",
            self.measured.fsyncs_per_op, self.bytes_per_op
        )
    }
}
