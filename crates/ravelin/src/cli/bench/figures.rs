//! The figures of one run: what scripts read, and what people do.

use std::fmt;

use ravelin_client::ReadPath;
use serde::Serialize;

use super::samples::{Kind, Samples};

/// How a load of ours reads, in the words of every result.
const READS: &str = "linearizable, as `ravelin kv get`: equal replies of a quorum without ordering, \
                     ordered where they differ or are late";

/// What is measured of any system, ours or a peer. What only the system of the servers tells is
/// missing where they are elsewhere.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Measured {
    pub(super) operations_per_second: f64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) cpu_us_per_op: Option<f64>,
    pub(super) memory_mib_per_server: Option<f64>,
    pub(super) fsyncs_per_op: Option<f64>,
}

/// What scripts read: its fields are stable.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Figures {
    #[serde(flatten)]
    pub(super) measured: Measured,
    pub(super) bytes_per_op: Option<f64>,
    /// Nothing where it is not known from outside.
    pub(super) durable: Option<bool>,
    pub(super) authenticated: &'static str,
    pub(super) fault_model: &'static str,
    pub(super) servers: usize,
    /// Servers that may be in an intruder's hands.
    pub(super) tolerated: usize,
    pub(super) value_bytes: u32,
    pub(super) in_flight: u32,
    pub(super) envelope: u32,
    pub(super) rate: Option<u32>,
    /// Nothing where all operations write.
    pub(super) reads: Option<Reads>,
    pub(super) operations: u64,
    pub(super) seconds: f64,
}

/// The reads of a load, apart from its writes.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Reads {
    /// Of a hundred operations, as asked for.
    pub(super) percent: u8,
    how: &'static str,
    operations: u64,
    /// Those that had to be ordered.
    ordered: u64,
    p50_ms: Option<f64>,
    p99_ms: Option<f64>,
    /// Of the writes beside them.
    write_p50_ms: Option<f64>,
    write_p99_ms: Option<f64>,
}

impl Reads {
    /// Those of a load in which so many of a hundred operations read.
    pub(super) fn of(percent: u8, samples: &Samples) -> Self {
        let is_write = |kind: Kind| !kind.is_read();
        Self {
            percent,
            how: READS,
            operations: samples.operations_of(Kind::is_read),
            ordered: samples.operations_of(|kind| kind == Kind::Read(ReadPath::Ordered)),
            p50_ms: samples.percentile_ms(50, Kind::is_read),
            p99_ms: samples.percentile_ms(99, Kind::is_read),
            write_p50_ms: samples.percentile_ms(50, is_write),
            write_p99_ms: samples.percentile_ms(99, is_write),
        }
    }
}

/// What is known of servers that run on this machine.
///
/// # Panics
/// Of those that run elsewhere.
pub(super) fn of_own(figure: Option<f64>) -> f64 {
    figure.expect("these servers are processes of this machine")
}

/// Whether what is acknowledged outlives the machine, in words.
pub(super) fn durability(durable: Option<bool>) -> &'static str {
    match durable {
        Some(true) => "durable: one fsync a round before anything is said",
        Some(false) => "NOT DURABLE: all data lies in memory, where a sync costs nothing",
        None => "whether it is durable is not known from outside",
    }
}

/// The median of figures in order; of an even number the mean of the two in the middle.
pub(super) fn middle(ascending: &[f64]) -> f64 {
    let at = |place: usize| ascending.get(place).copied().unwrap_or_default();
    let half = ascending.len() / 2;
    if ascending.len() % 2 == 1 { at(half) } else { (at(half.saturating_sub(1)) + at(half)) / 2.0 }
}

/// One system's figures over another's: medians of the ratios of rounds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Ratios {
    pub(super) throughput_ratio: f64,
    pub(super) throughput_ratio_min: f64,
    pub(super) throughput_ratio_max: f64,
    pub(super) p50_ratio: f64,
    pub(super) p99_ratio: f64,
    pub(super) cpu_ratio: f64,
}

impl Ratios {
    /// Of the first over the second, round by round.
    pub(super) fn of(rounds: &[(Measured, Measured)]) -> Self {
        let ratios = |of: &dyn Fn(&Measured) -> f64| {
            let mut ratios: Vec<f64> =
                rounds.iter().map(|(one, other)| of(one) / of(other)).collect();
            ratios.sort_by(f64::total_cmp);
            ratios
        };
        let throughput = ratios(&|it| it.operations_per_second);
        Self {
            throughput_ratio: middle(&throughput),
            throughput_ratio_min: throughput.first().copied().unwrap_or_default(),
            throughput_ratio_max: throughput.last().copied().unwrap_or_default(),
            p50_ratio: middle(&ratios(&|it| it.p50_ms)),
            p99_ratio: middle(&ratios(&|it| it.p99_ms)),
            cpu_ratio: middle(&ratios(&|it| of_own(it.cpu_us_per_op))),
        }
    }
}

/// The run of median throughput, of an even number the better of the two in the middle.
///
/// # Panics
/// Without any run.
pub(super) fn median(mut runs: Vec<Figures>) -> Figures {
    runs.sort_by(|one, other| {
        one.measured.operations_per_second.total_cmp(&other.measured.operations_per_second)
    });
    let half = runs.len() / 2;
    runs.swap_remove(half)
}

impl fmt::Display for Figures {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "{} servers (f = {}), {}, values of {} B, {} operations in flight in envelopes of {}",
            self.servers,
            self.tolerated,
            self.fault_model,
            self.value_bytes,
            self.in_flight,
            self.envelope
        )?;
        writeln!(out, "authenticated: {}; {}", self.authenticated, durability(self.durable))?;
        if let Some(reads) = &self.reads {
            writeln!(out, "{} % of the operations read, {}", reads.percent, reads.how)?;
        }
        let Measured { operations_per_second, p50_ms, p99_ms, .. } = self.measured;
        write!(out, "{operations_per_second:>12.0} operations/s")?;
        match self.rate {
            Some(rate) => writeln!(out, ", of {rate} that came due")?,
            None => writeln!(out)?,
        }
        writeln!(out, "{p50_ms:>12.2} ms p50, {p99_ms:.2} ms p99")?;
        if let Some(reads) = &self.reads {
            write!(out, "{reads}")?;
        }
        let (measured, unknown) =
            (&self.measured, "CPU, memory and syncs are not known from outside");
        let (Some(cpu), Some(memory)) = (measured.cpu_us_per_op, measured.memory_mib_per_server)
        else {
            return write!(out, "{:>12} {unknown}", "");
        };
        let syncs = (measured.fsyncs_per_op.unwrap_or(0.0), self.bytes_per_op.unwrap_or(0.0));
        writeln!(out, "{cpu:>12.1} us of CPU an operation, all servers")?;
        writeln!(out, "{memory:>12.1} MiB a server")?;
        write!(
            out,
            "{:>12.4} fsyncs and {:.0} bytes of log an operation, all servers",
            syncs.0, syncs.1
        )
    }
}

impl fmt::Display for Reads {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds =
            [("reads", self.p50_ms, self.p99_ms), ("writes", self.write_p50_ms, self.write_p99_ms)];
        for (kind, p50, p99) in kinds {
            if let (Some(p50), Some(p99)) = (p50, p99) {
                writeln!(out, "{p50:>12.2} ms p50, {p99:.2} ms p99 of {kind}")?;
            }
        }
        writeln!(out, "{:>12} of {} reads were ordered", self.ordered, self.operations)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Figures that nobody measured.
    pub(in crate::cli::bench) fn figures(operations_per_second: f64) -> Figures {
        let measured = Measured {
            operations_per_second,
            p50_ms: 2.0,
            p99_ms: 9.0,
            cpu_us_per_op: None,
            memory_mib_per_server: None,
            fsyncs_per_op: None,
        };
        Figures {
            measured,
            bytes_per_op: None,
            durable: None,
            authenticated: "all",
            fault_model: "arbitrary",
            servers: 4,
            tolerated: 1,
            value_bytes: 128,
            in_flight: 256,
            envelope: 32,
            rate: None,
            reads: None,
            operations: 1,
            seconds: 1.0,
        }
    }

    #[test]
    fn the_median_of_an_even_number_favours_nobody() {
        assert_eq!(middle(&[1.0, 2.0, 9.0]), 2.0);
        assert_eq!(middle(&[1.0, 2.0]), 1.5);
        assert_eq!(middle(&[4.0]), 4.0);
        assert_eq!(middle(&[]), 0.0);
    }

    #[test]
    fn the_run_in_the_middle_stands_for_all() {
        let of = |runs: &[f64]| {
            let runs = runs.iter().map(|operations| figures(*operations)).collect();
            median(runs).measured.operations_per_second
        };
        assert_eq!(of(&[9.0, 1.0, 5.0]), 5.0);
        assert_eq!(of(&[7.0]), 7.0);
        assert_eq!(of(&[2.0, 1.0]), 2.0);
    }

    #[test]
    fn what_is_not_known_from_outside_is_null_and_said() {
        let figures = figures(10.0);
        let json = serde_json::to_value(&figures).expect("plain fields");
        for field in
            ["cpu_us_per_op", "memory_mib_per_server", "fsyncs_per_op", "bytes_per_op", "durable"]
        {
            assert_eq!(json.get(field), Some(&serde_json::Value::Null), "{field}");
        }
        assert!(figures.to_string().contains("not known from outside"));
    }
}
