//! What server processes have used, as the system and their own metrics tell.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::cluster_dir::LocalServer;

/// How long a server's metrics may take to answer.
const METRICS_MAX: Duration = Duration::from_secs(2);

/// What one server, or several together, have used so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Usage {
    pub(super) cpu_seconds: f64,
    pub(super) memory_mib: f64,
    /// Times that a thread slept and was woken.
    pub(super) wakeups: f64,
    pub(super) fsyncs: f64,
    /// Bytes of log.
    pub(super) log_bytes: f64,
    /// Bytes of messages sent to other servers and to clients.
    pub(super) sent_bytes: f64,
}

impl Usage {
    /// What the server that runs as `pid` has used.
    pub(super) fn of(server: &LocalServer, pid: u32) -> Self {
        let metrics = server.config.admin_listen.and_then(|address| scrape(address).ok());
        let metrics = metrics.unwrap_or_default();
        let number = |name: &str| metric(&metrics, name).unwrap_or(0.0);
        Self {
            fsyncs: number("ravelin_log_fsyncs_total"),
            log_bytes: number("ravelin_log_bytes_total"),
            sent_bytes: number("ravelin_sent_bytes_total"),
            ..Self::of_process(pid)
        }
    }

    /// What the system tells of a process.
    pub(super) fn of_process(pid: u32) -> Self {
        Self {
            cpu_seconds: cpu_seconds(pid).unwrap_or(0.0),
            memory_mib: memory_mib(pid).unwrap_or(0.0),
            wakeups: wakeups(pid).unwrap_or(0.0),
            ..Self::default()
        }
    }

    /// What was used since `earlier`; memory is what it is.
    pub(super) fn since(&self, earlier: &Self) -> Self {
        Self {
            cpu_seconds: self.cpu_seconds - earlier.cpu_seconds,
            memory_mib: self.memory_mib,
            wakeups: self.wakeups - earlier.wakeups,
            fsyncs: self.fsyncs - earlier.fsyncs,
            log_bytes: self.log_bytes - earlier.log_bytes,
            sent_bytes: self.sent_bytes - earlier.sent_bytes,
        }
    }

    pub(super) fn plus(&self, other: &Self) -> Self {
        Self {
            cpu_seconds: self.cpu_seconds + other.cpu_seconds,
            memory_mib: self.memory_mib + other.memory_mib,
            wakeups: self.wakeups + other.wakeups,
            fsyncs: self.fsyncs + other.fsyncs,
            log_bytes: self.log_bytes + other.log_bytes,
            sent_bytes: self.sent_bytes + other.sent_bytes,
        }
    }
}

/// Seconds of processor time of a process, over its threads that live: to the nanosecond, where
/// the ticks of `stat` would be too coarse for one that is idle.
pub(crate) fn cpu_seconds(pid: u32) -> Option<f64> {
    let nanoseconds = |text: String| text.split(' ').next()?.parse::<f64>().ok();
    Some(over_threads(pid, "schedstat", nanoseconds)? / 1e9)
}

fn wakeups(pid: u32) -> Option<f64> {
    over_threads(pid, "status", |text| field(&text, "voluntary_ctxt_switches:"))
}

fn over_threads(pid: u32, file: &str, read: impl Fn(String) -> Option<f64>) -> Option<f64> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let texts = threads
        .filter_map(Result::ok)
        .filter_map(|thread| std::fs::read_to_string(thread.path().join(file)).ok());
    Some(texts.filter_map(read).sum())
}

/// What a server's metric of this name shows.
pub(super) fn metric_of(server: &LocalServer, name: &str) -> Option<f64> {
    metric_at(server.config.admin_listen?, name)
}

/// The same of whoever shows metrics at this address.
pub(super) fn metric_at(address: SocketAddr, name: &str) -> Option<f64> {
    metric(&scrape(address).ok()?, name)
}

/// Memory of a process that no file stands behind.
pub(crate) fn anonymous_mib(pid: u32) -> Option<f64> {
    status_mib(pid, "RssAnon:")
}

/// Memory of a process now, and at most since it began; nothing if it is gone.
pub(super) fn memory_now_and_most_mib(pid: u32) -> Option<(f64, f64)> {
    Some((status_mib(pid, "VmRSS:")?, status_mib(pid, "VmHWM:")?))
}

fn memory_mib(pid: u32) -> Option<f64> {
    status_mib(pid, "VmRSS:")
}

fn status_mib(pid: u32, name: &str) -> Option<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    Some(field(&text, name)? / 1024.0)
}

fn field(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
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
