//! `ravelin wormhole measure-od`: how many copies of a message a network loses.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs as _, UdpSocket};
use std::time::{Duration, Instant};

use clap::{ArgGroup, Args};
use ravelin_multicast::brm::omission_degree;
use serde::Serialize;

use super::Invocation;
use crate::exit::{Error, Exit, Result};
use crate::omissions::{PROBE_BYTES_MAX, PROBE_BYTES_MIN, PROBES_MAX, Probing, listen, probe};

const HELP: &str = "\
Examples:
  ravelin wormhole measure-od --listen 0.0.0.0:9000
  ravelin wormhole measure-od --to 192.0.2.7:9000
  ravelin wormhole measure-od --to 192.0.2.7:9000 --wanted 0.999999 --probes 1000000 --output json

One host listens until it is interrupted, another one sends.
The reliable multicast sends each message `od + 1` times. This finds the least `od` with which one
of these copies arrives with the wanted probability, from probes at the distance of copies: losses
that come together count as they come. What happened to none of the probes counts as if it had
happened three times (95 % confidence), so that a small probability of loss needs many probes: at
least three for each loss that is allowed in so many. It tells of the network as it is now, and of
nobody on it who drops messages and lets probes pass.

Exit codes: 0 measured; 1 too few probes to tell, or too many lost; 5 nobody listens.";

/// Arguments of `wormhole measure-od`.
#[derive(Args)]
#[command(
    after_long_help = HELP,
    group = ArgGroup::new("side").args(["listen", "to"]).required(true),
)]
pub(crate) struct MeasureOd {
    /// Wait here for probes
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// How long to wait, as 30s or 2m [default: until interrupted]
    #[arg(long = "for", value_name = "TIME", conflicts_with = "to", value_parser = crate::settings::duration)]
    listen_for: Option<Duration>,
    /// Send probes to whoever listens there
    #[arg(long, value_name = "HOST:PORT")]
    to: Option<String>,
    /// How probable it must be that one copy arrives
    #[arg(long, value_name = "P", default_value_t = 0.9999, value_parser = probability)]
    wanted: f64,
    /// How many
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=i64::from(PROBES_MAX)))]
    probes: u32,
    /// How many in a second
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: u32,
    /// How large each is, as your messages are
    #[arg(long, value_name = "BYTES", default_value_t = 1_024, value_parser = clap::value_parser!(u16).range(i64::from(PROBE_BYTES_MIN)..=i64::from(PROBE_BYTES_MAX)))]
    bytes: u16,
}

fn probability(text: &str) -> std::result::Result<f64, String> {
    match text.parse() {
        Ok(value) if (0.0..1.0).contains(&value) => Ok(value),
        _ => Err("a probability from 0 to less than 1, as 0.9999".to_owned()),
    }
}

pub(super) fn run(invocation: &Invocation, arguments: &MeasureOd) -> Result<()> {
    match (&arguments.to, arguments.listen) {
        (Some(to), _) => measure(invocation, arguments, to),
        (None, Some(address)) => wait(invocation, address, arguments.listen_for),
        (None, None) => Err(Error::usage("nobody to send to", "name --to or --listen")),
    }
}

fn wait(invocation: &Invocation, address: SocketAddr, time: Option<Duration>) -> Result<()> {
    let network = |error| {
        let hint = "name an address of this host, with a port that is free";
        Error::caused(Exit::Failed, error, hint).context(format_args!("cannot listen on {address}"))
    };
    let socket = UdpSocket::bind(address).map_err(network)?;
    let bound = socket.local_addr().map_err(network)?;
    invocation.output.note(format_args!("listening on {bound}"));
    listen(&socket, time.map(|time| Instant::now() + time)).map_err(network)
}

fn measure(invocation: &Invocation, arguments: &MeasureOd, to: &str) -> Result<()> {
    let hint = "as 192.0.2.7:9000: a host and the port on which `measure-od --listen` waits";
    let found = to.to_socket_addrs().map_err(|error| {
        Error::caused(Exit::Usage, error, hint).context(format_args!("`{to}` is no address"))
    })?;
    let Some(address) = found.into_iter().next() else {
        return Err(Error::usage(format!("`{to}` has no address"), hint));
    };
    let MeasureOd { probes, rate, bytes, wanted, .. } = *arguments;
    let mut name = [0; 16];
    getrandom::fill(&mut name)
        .map_err(|error| Error::caused(Exit::Failed, error, "the system gives no random bytes"))?;
    let bar = invocation.output.progress(u64::from(probes));
    let probing = Probing { to: address, probes, rate, bytes };
    let arrived = probe(&probing, name, |sent| bar.set_position(u64::from(sent)));
    bar.finish_and_clear();
    let arrived = arrived.map_err(|error| {
        let (exit, hint) = match error.kind() {
            std::io::ErrorKind::TimedOut => (
                Exit::NoQuorum,
                "start `ravelin wormhole measure-od --listen ADDRESS` there, and let UDP pass",
            ),
            _ => (Exit::Failed, "see whether this host has a way there"),
        };
        Error::caused(exit, error, hint).context(format_args!("nothing is measured to {address}"))
    })?;
    let report = Report::new(&arrived, wanted, bytes, rate);
    invocation.output.print(&report)?;
    match report.od {
        Some(_) => Ok(()),
        None => {
            let cause = format!("{probes} probes do not show an `od` for {wanted}");
            Err(Error::new(Exit::Failed, cause, "send more of them, or want less"))
        }
    }
}

#[derive(Serialize)]
struct Report {
    probes: usize,
    lost: usize,
    /// The most lost in a row.
    longest_run: usize,
    wanted: f64,
    bytes: u16,
    rate: u32,
    od: Option<u16>,
}

impl Report {
    fn new(arrived: &[bool], wanted: f64, bytes: u16, rate: u32) -> Self {
        let runs = arrived.split(|came| *came).map(<[bool]>::len);
        Self {
            probes: arrived.len(),
            lost: arrived.iter().filter(|came| !**came).count(),
            longest_run: runs.max().unwrap_or(0),
            wanted,
            bytes,
            rate,
            od: omission_degree(arrived, wanted),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} probes of {} bytes, {} a second: {} lost, {} in a row at most",
            self.probes, self.bytes, self.rate, self.lost, self.longest_run
        )?;
        match self.od {
            Some(od) => write!(
                f,
                "od {od}: of {} copies one arrives with a probability of {}",
                u32::from(od) + 1,
                self.wanted
            ),
            None => write!(f, "no od: too few probes for {}, or too many lost", self.wanted),
        }
    }
}
