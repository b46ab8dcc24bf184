//! `ravelin bench`: one closed-loop configuration on a throw-away cluster of this machine.
//!
//! Every figure comes with what was authenticated and synced: all of it, always.

use std::fmt;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::Args;
use ravelin_model::requests::kv::{Condition, KvRequest, Write};
use ravelin_model::{Encode as _, FaultModel, Operation, ServiceId};
use serde::Serialize;

use super::Invocation;
use crate::cluster_dir::LocalCluster;
use crate::connection::Connection;
use crate::drill;
use crate::exit::{Error, Exit, Result};
use crate::processes::Processes;

/// Keys that are written.
const KEYS: usize = 100_000;
/// Sessions over which the envelopes in flight are spread.
const SESSIONS: usize = 4;
/// Clock ticks a second in `/proc/PID/stat`, as Linux shows them to every program.
const TICKS_PER_SECOND: f64 = 100.0;
/// How long a server's metrics may take to answer.
const METRICS_MAX: Duration = Duration::from_secs(2);

/// Arguments of `bench`.
#[derive(Args)]
pub(crate) struct Bench {
    /// Bytes of a value
    #[arg(long, value_name = "BYTES", default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    value_bytes: u32,
    /// Operations in flight
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=4096))]
    in_flight: u32,
    /// Operations of an envelope
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=1024))]
    envelope: u32,
    /// How long to measure, after a warm-up of a quarter of it
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Measure for three seconds only
    #[arg(long)]
    quick: bool,
}

/// What scripts read: its fields are stable.
#[derive(Serialize)]
struct Figures {
    operations_per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    cpu_us_per_op: f64,
    memory_mib_per_server: f64,
    fsyncs_per_op: f64,
    bytes_per_op: f64,
    durable: bool,
    authenticated: &'static str,
    fault_model: &'static str,
    servers: usize,
    value_bytes: u32,
    in_flight: u32,
    envelope: u32,
    operations: u64,
    seconds: f64,
}

/// Measures.
pub(crate) fn run(invocation: &Invocation, arguments: &Bench) -> Result<()> {
    if arguments.envelope > arguments.in_flight {
        let cause = format!(
            "envelopes of {} do not fit {} operations in flight",
            arguments.envelope, arguments.in_flight
        );
        return Err(Error::usage(cause, "make --in-flight a multiple of --envelope"));
    }
    let dir = std::env::temp_dir().join(format!("ravelin-bench-{}", std::process::id()));
    let cluster = LocalCluster::create(&dir, 4, FaultModel::Arbitrary)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::caused(Exit::Failed, error, "check the limit of open files"))?;
    let figures = runtime.block_on(measure(&cluster, arguments));
    let processes = Processes::of(&cluster)?;
    for server in &cluster.servers {
        processes.kill(server.id)?;
    }
    std::fs::remove_dir_all(&dir).map_err(|error| Error::system("remove", &dir, &error))?;
    invocation.output.print(&figures?)
}

async fn measure(cluster: &LocalCluster, arguments: &Bench) -> Result<Figures> {
    let processes = Processes::of(cluster)?;
    let pids = drill::start_all(cluster, &processes).await?;
    let mut connections = Vec::new();
    for _ in 0..SESSIONS {
        connections.push(drill::connect(cluster).await?);
    }
    let seconds = if arguments.quick { 3 } else { arguments.seconds };
    let load = Load {
        envelope: arguments.envelope as usize,
        value: vec![b'v'; arguments.value_bytes as usize],
        took: Mutex::new(Vec::new()),
    };
    let load = Arc::new(load);
    let mut workers = tokio::task::JoinSet::new();
    for worker in 0..(arguments.in_flight / arguments.envelope) as usize {
        let connection = connections.get(worker % SESSIONS).cloned();
        let connection = connection.expect("a remainder is below its divisor");
        workers.spawn(Arc::clone(&load).work(worker, connection));
    }
    tokio::time::sleep(Duration::from_secs(seconds) / 4).await;
    load.forget();
    let before = Usage::of(cluster, &pids);
    let begun = Instant::now();
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let elapsed = begun.elapsed().as_secs_f64();
    let after = Usage::of(cluster, &pids);
    let mut took = load.forget();
    workers.abort_all();
    took.sort_unstable();
    let operations = took.len() as u64 * u64::from(arguments.envelope);
    if operations == 0 {
        let hint = "the machine is too slow or too busy: try --seconds 30";
        return Err(Error::new(Exit::Failed, "no operation was answered", hint));
    }
    let count = operations as f64;
    let percentile = |percent: usize| {
        took.get(took.len() * percent / 100).map_or(0.0, |took| took.as_secs_f64() * 1e3)
    };
    Ok(Figures {
        operations_per_second: count / elapsed,
        p50_ms: percentile(50),
        p99_ms: percentile(99),
        cpu_us_per_op: (after.cpu_seconds - before.cpu_seconds) * 1e6 / count,
        memory_mib_per_server: after.memory_mib / pids.len() as f64,
        fsyncs_per_op: (after.fsyncs - before.fsyncs) / count,
        bytes_per_op: (after.bytes - before.bytes) / count,
        durable: true,
        authenticated: "every envelope, block and answer root by Ed25519; TLS 1.3 on every link",
        fault_model: cluster.group.model().name(),
        servers: pids.len(),
        value_bytes: arguments.value_bytes,
        in_flight: arguments.in_flight,
        envelope: arguments.envelope,
        operations,
        seconds: elapsed,
    })
}

struct Load {
    envelope: usize,
    value: Vec<u8>,
    took: Mutex<Vec<Duration>>,
}

impl Load {
    /// Sends one envelope after the other; each is timed from its sending to its vote.
    async fn work(self: Arc<Self>, worker: usize, connection: Connection) {
        let mut next = worker * 7919;
        loop {
            let operations = (0..self.envelope)
                .map(|_| {
                    next = (next + 104_729) % KEYS;
                    self.put(next)
                })
                .collect();
            let begun = Instant::now();
            if connection.submit(operations).await.is_ok() {
                self.lock().push(begun.elapsed());
            } else {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }

    fn put(&self, key: usize) -> Operation {
        let write = Write {
            key: format!("bench/{key:08}").into_bytes(),
            value: Some(self.value.clone()),
            condition: Condition::Always,
            lease: None,
        };
        Operation { service: ServiceId::KV, request: KvRequest::Write(write).encode() }
    }

    fn forget(&self) -> Vec<Duration> {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Duration>> {
        self.took.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What all servers have used so far.
struct Usage {
    cpu_seconds: f64,
    memory_mib: f64,
    fsyncs: f64,
    bytes: f64,
}

impl Usage {
    fn of(cluster: &LocalCluster, pids: &[u32]) -> Self {
        let metrics: Vec<String> = cluster
            .servers
            .iter()
            .filter_map(|server| scrape(server.config.admin_listen?).ok())
            .collect();
        let sum = |name: &str| metrics.iter().filter_map(|text| metric(text, name)).sum();
        Self {
            cpu_seconds: pids.iter().filter_map(|pid| cpu_seconds(*pid)).sum(),
            memory_mib: pids.iter().filter_map(|pid| memory_mib(*pid)).sum(),
            fsyncs: sum("ravelin_log_fsyncs_total"),
            bytes: sum("ravelin_log_bytes_total"),
        }
    }
}

fn cpu_seconds(pid: u32) -> Option<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after_name) = text.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS_PER_SECOND)
}

fn memory_mib(pid: u32) -> Option<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: f64 = line.trim().split(' ').next()?.parse().ok()?;
    Some(kib / 1024.0)
}

fn scrape(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, METRICS_MAX)?;
    stream.set_read_timeout(Some(METRICS_MAX))?;
    stream.write_all(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

fn metric(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().parse().ok()
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
        writeln!(out, "{:>12.0} operations/s", self.operations_per_second)?;
        writeln!(out, "{:>12.2} ms p50, {:.2} ms p99", self.p50_ms, self.p99_ms)?;
        writeln!(out, "{:>12.1} us of CPU an operation, all servers", self.cpu_us_per_op)?;
        writeln!(out, "{:>12.1} MiB a server", self.memory_mib_per_server)?;
        write!(
            out,
            "{:>12.4} fsyncs and {:.0} bytes of log an operation, all servers",
            self.fsyncs_per_op, self.bytes_per_op
        )
    }
}
