//! `ravelin bench --idle`: what a cluster costs that nobody asks anything.

use std::fmt;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::testbed::{Layout, TestBed};
use crate::drill;
use crate::exit::Result;
use crate::processes::Logging;

/// How long the cluster may take to become quiet.
const SETTLE: Duration = Duration::from_secs(5);

/// What scripts read.
#[derive(Debug, Serialize)]
pub(super) struct IdleFigures {
    servers: usize,
    fault_model: &'static str,
    seconds: f64,
    /// Of a core, of the server that used most.
    pub(super) cpu_percent: f64,
    cpu_percent_per_server: Vec<f64>,
    /// Of a core, of each server's wormhole, which is a process of its own; none where there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    wormhole_cpu_percent: Vec<f64>,
    /// Means over the servers.
    wakeups_per_second: f64,
    sent_bytes_per_second: f64,
    log_bytes_per_second: f64,
    fsyncs_per_second: f64,
    memory_mib_per_server: f64,
}

/// Leaves a cluster alone, with one client connected, and measures what it uses.
pub(super) async fn measure(layout: Layout, seconds: u64) -> Result<IdleFigures> {
    let bed = TestBed::start(layout, None, Logging::AsFiled).await?;
    let _client = drill::connect(&bed.cluster).await?;
    tokio::time::sleep(SETTLE).await;
    let before = bed.usage();
    let wormholes_before = bed.wormhole_cpu_seconds();
    let begun = Instant::now();
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let seconds = begun.elapsed().as_secs_f64();
    let used: Vec<_> =
        bed.usage().iter().zip(&before).map(|(after, before)| after.since(before)).collect();
    let wormholes = bed.wormhole_cpu_seconds().into_iter().zip(wormholes_before);
    let wormhole_cpu_percent =
        wormholes.map(|(after, before)| (after - before) / seconds * 100.0).collect();
    let servers = used.len();
    let sum = used.iter().fold(super::usage::Usage::default(), |sum, server| sum.plus(server));
    let mean = |total: f64| total / servers as f64 / seconds;
    let percent = |cpu_seconds: f64| cpu_seconds / seconds * 100.0;
    let cpu_percent_per_server: Vec<f64> =
        used.iter().map(|server| percent(server.cpu_seconds)).collect();
    Ok(IdleFigures {
        servers,
        fault_model: bed.cluster.group.model().name(),
        seconds,
        cpu_percent: cpu_percent_per_server.iter().copied().fold(0.0, f64::max),
        cpu_percent_per_server,
        wormhole_cpu_percent,
        wakeups_per_second: mean(sum.wakeups),
        sent_bytes_per_second: mean(sum.sent_bytes),
        log_bytes_per_second: mean(sum.log_bytes),
        fsyncs_per_second: mean(sum.fsyncs),
        memory_mib_per_server: sum.memory_mib / servers as f64,
    })
}

impl fmt::Display for IdleFigures {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "{} servers, {}, one client connected, nothing asked for {:.0} s",
            self.servers, self.fault_model, self.seconds
        )?;
        let shares: Vec<String> =
            self.cpu_percent_per_server.iter().map(|share| format!("{share:.3}")).collect();
        writeln!(out, "{:>12.3} % of a core at most ({})", self.cpu_percent, shares.join(", "))?;
        if !self.wormhole_cpu_percent.is_empty() {
            let most = self.wormhole_cpu_percent.iter().copied().fold(0.0, f64::max);
            let shares: Vec<String> =
                self.wormhole_cpu_percent.iter().map(|share| format!("{share:.3}")).collect();
            let shares = shares.join(", ");
            writeln!(out, "{most:>12.3} % of a core at most for its wormhole, apart ({shares})")?;
        }
        writeln!(out, "a server and second:")?;
        writeln!(out, "{:>12.1} wakeups", self.wakeups_per_second)?;
        writeln!(out, "{:>12.0} bytes of messages sent", self.sent_bytes_per_second)?;
        writeln!(
            out,
            "{:>12.0} bytes of log in {:.1} fsyncs",
            self.log_bytes_per_second, self.fsyncs_per_second
        )?;
        write!(out, "{:>12.1} MiB a server", self.memory_mib_per_server)
    }
}
