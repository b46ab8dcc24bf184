//! One wormhole in a directory of its own, measured from a payload's side: `--selftest`.
//!
//! Measurements and deadlines are two calls each.

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::{DirBuilderExt as _, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fmt, io};

use zeroize::Zeroizing;

use crate::attestation::{ClusterId, Counter, CounterValue, Digest, Epoch, Peer, ReplicaId};
use crate::client::{CallError, Client, HelloError, SeqPacket};
use crate::frame::{Action, AttestCall, ExecCall, Nanos, Outcome};
use crate::hex;
use crate::launcher::{COMMAND_MAX, Ending, Launch, LaunchError, Launched};
use crate::sandbox::{Attacker, Owner, Protection, Protections, Restart};

/// Calls of each kind: altogether fewer than what a connection may make at once.
const CALLS: usize = 500;
/// Actions whose delay is measured.
const WAKEUPS: usize = 100;
/// How far ahead each of them lies: the wormhole sleeps until then.
const AHEAD: Nanos = Nanos::from_millis(2);
/// Longest wait for an answer: it has no counter to wait for.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// A user that nobody is, for a test by root.
const NOBODY_ELSE: u32 = 64_001;

/// What was measured.
#[derive(Debug)]
pub struct SelfTest {
    /// From before the process was started to its first answer.
    pub start: Duration,
    /// How long calls took, from the payload and back.
    pub calls: Vec<Times>,
    /// How late planned actions were executed, by the wormhole's own clock.
    pub wakeups: Times,
    /// Memory that cannot be swapped out, in KiB, as the system says.
    pub locked_kib: u64,
    /// Memory in use, in KiB.
    pub resident_kib: u64,
    /// What closes the process.
    pub protections: Protections,
}

/// Durations of one kind.
#[derive(Debug)]
pub struct Times {
    /// What took them.
    pub what: &'static str,
    /// Ascending.
    sorted: Vec<Duration>,
}

impl Times {
    /// Those of `what`, in any order.
    #[must_use]
    pub fn new(what: &'static str, mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self { what, sorted: times }
    }

    /// The duration that so many of a thousand do not exceed; 1000 for the longest.
    #[must_use]
    pub fn permille(&self, permille: usize) -> Duration {
        let place = self.sorted.len().saturating_sub(1) * permille / 1_000;
        self.sorted.get(place).copied().unwrap_or_default()
    }
}

/// A directory that nobody had before and nobody else can open; gone when this is dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new(owner: Option<Owner>) -> io::Result<Self> {
        let mut random = [0; 32];
        super::fill(&mut random)?;
        let name = format!("ravelin-wormhole-{}", hex::encode(&random));
        let path = std::env::temp_dir().join(name);
        DirBuilder::new().mode(0o700).create(&path)?;
        let scratch = Self(path); // from here on it is ours to remove
        if let Some(owner) = owner {
            chown(&scratch.0, Some(owner.user()), Some(owner.group()))?;
        }
        Ok(scratch)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left, if anything, holds the key of a wormhole that nobody trusts.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Starts `program` (`ravelin-wormhole`, or what acts as it) and measures it; leaves nothing behind.
/// By root, it gets a user of its own. What it says to people goes to `words`, or standard error.
///
/// # Errors
/// [`SelfTestError`]
pub fn measure(program: &Path, words: Option<Arc<File>>) -> Result<SelfTest, SelfTestError> {
    let is_root = rustix::process::geteuid().is_root();
    let owner = Owner::new(NOBODY_ELSE, NOBODY_ELSE).filter(|_| is_root);
    let home = Scratch::new(owner)?;
    let member = (ClusterId([0; 32]), ReplicaId(0));
    let launch = Launch {
        program: program.to_owned(),
        state: home.0.clone(),
        owner,
        connection_count: 1,
        member,
        store: None,
        words,
    };
    let provisioned = launch.provision()?;
    let peer = Peer { cluster: member.0, replica: member.1, provisioned };

    let start = Instant::now();
    let Launched { process, mut ends } = launch.start()?;
    let mut process = Ending(process);
    let end = ends.pop().ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected))?;
    let mut entropy = Zeroizing::new([0; 32]);
    super::fill(&mut entropy)?;
    let mut client = Client::hello(SeqPacket::new(end).with_time_max(ANSWER_MAX), &peer, &entropy)?;
    let start = start.elapsed();

    let calls = vec![
        times("random", || client.random().map(drop))?,
        times("timestamp", || client.timestamp().map(drop))?,
        times("duration", || {
            let tag = client.duration_start()?;
            client.duration_stop(tag).map(drop)
        })?,
        times("deadline", || {
            let tag = client.arm(AHEAD)?;
            client.end(tag).map(drop)
        })?,
        attestations(&mut client)?,
        times("last", || client.last(Counter::Ordering).map(drop))?,
        times("status", || client.status().map(drop))?,
    ];
    let wakeups = wakeups(&mut client)?;
    let status = fs::read_to_string(format!("/proc/{}/status", process.0.id()))?;
    let protections = Protections::from_bits(client.status()?.protections);
    drop(client);
    if process.wait(Instant::now() + COMMAND_MAX)?.is_none() {
        return Err(LaunchError::Silent.into());
    }
    Ok(SelfTest {
        start,
        calls,
        wakeups,
        locked_kib: kib(&status, "VmLck:"),
        resident_kib: kib(&status, "VmRSS:"),
        protections,
    })
}

fn attestations(client: &mut Client<SeqPacket>) -> Result<Times, CallError> {
    let mut value = 0;
    times("attest", || {
        let (expected_old, new) = (CounterValue(value), CounterValue(value + 1));
        value += 1;
        let (counter, epoch, digest) = (Counter::Ordering, Epoch(0), Digest([7; 32]));
        client.attest(AttestCall { counter, epoch, expected_old, new, digest }).map(drop)
    })
}

fn wakeups(client: &mut Client<SeqPacket>) -> Result<Times, CallError> {
    let late = (0..WAKEUPS).map(|_| wake_up(client)).collect::<Result<_, _>>()?;
    Ok(Times::new("wakeup", late))
}

/// How late the wormhole wakes for what is due while nobody calls it: a signed heartbeat 2 ms ahead. Takes
/// some 4 ms.
///
/// # Errors
/// [`CallError`]
pub fn wake_up(client: &mut Client<SeqPacket>) -> Result<Duration, CallError> {
    let not_before = client.timestamp()?.latest.after(AHEAD);
    let within = Nanos::from_millis(10_000);
    let action = Action::SignedHeartbeat;
    let tag = client.exec_at(ExecCall { action, not_before, within })?;
    let at = loop {
        std::thread::sleep(Duration::from_nanos(2 * AHEAD.0));
        match client.outcome(tag)? {
            Outcome::Pending => {}
            Outcome::Done { at, .. } => break at,
            Outcome::Missed | Outcome::Refused => break not_before.after(within),
        }
    };
    Ok(Duration::from_nanos(at.since(not_before).0))
}

/// How long each of [`CALLS`] calls took.
fn times(
    what: &'static str,
    mut call: impl FnMut() -> Result<(), CallError>,
) -> Result<Times, CallError> {
    let times = (0..CALLS).map(|_| {
        let start = Instant::now();
        call()?;
        Ok(start.elapsed())
    });
    Ok(Times::new(what, times.collect::<Result<_, CallError>>()?))
}

/// The number of a line of `/proc/PID/status`; 0 if it is not there.
fn kib(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

impl fmt::Display for SelfTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = |time: Duration| time.as_secs_f64() * 1e6;
        let millis = self.start.as_secs_f64() * 1e3;
        writeln!(f, "{:<28}{millis:>9.1} ms", "start, to the first answer")?;
        for times in self.calls.iter().chain([&self.wakeups]) {
            let [half, most, all] = [500, 990, 1_000].map(|share| micros(times.permille(share)));
            let what = if times.what == "wakeup" { "woken late by" } else { times.what };
            writeln!(f, "{what:<28}{half:>9.1} us p50 {most:>9.1} us p99 {all:>9.1} us at most")?;
        }
        writeln!(f, "{:<28}{:>9} KiB", "locked memory", self.locked_kib)?;
        writeln!(f, "{:<28}{:>9} KiB", "memory", self.resident_kib)?;
        for one in Protection::ALL {
            let state = if self.protections.has(one) { "in force" } else { "MISSING" };
            writeln!(f, "{:<28}{state:<10}{}", one.name(), one.stops())?;
        }
        for attacker in Attacker::ALL {
            let verdict = self.protections.against(attacker, Restart::NewInstance);
            writeln!(f, "{:<28}{verdict}", attacker.name())?;
        }
        Ok(())
    }
}

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum SelfTestError {
    /// The wormhole could not be started.
    #[error("no wormhole")]
    Launch(#[from] LaunchError),
    /// It did not welcome a payload.
    #[error("no session")]
    Hello(#[from] HelloError),
    /// It did not answer a call.
    #[error("no answer")]
    Call(#[from] CallError),
    /// The system refused something around it.
    #[error("the system refused")]
    System(#[from] io::Error),
}
