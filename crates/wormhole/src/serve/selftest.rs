//! `--selftest`: one wormhole in a directory of its own, measured from a payload's side.

use std::path::PathBuf;
use std::time::{Duration, Instant};
use std::{fs, io};

use zeroize::Zeroizing;

use crate::attestation::{ClusterId, Counter, CounterValue, Digest, Epoch, Peer, ReplicaId};
use crate::client::{CallError, Client, HelloError, SeqPacket};
use crate::frame::AttestCall;
use crate::launcher::{Launch, LaunchError, Launched};
use crate::sandbox::{Attacker, Owner, Protection, Protections, Restart};

/// Calls of each kind: fewer than what an entity may make at once.
const CALLS: usize = 1_000;
const ATTESTATIONS: usize = 1_000;
/// A user that nobody is, for a test by root.
const NOBODY_ELSE: u32 = 64_001;

/// Measures and prints; leaves nothing behind.
///
/// # Errors
/// [`SelfTestError`]
pub fn run() -> Result<(), SelfTestError> {
    let home = std::env::temp_dir().join(format!("ravelin-wormhole-{}", std::process::id()));
    let result = measure(home.clone());
    fs::remove_dir_all(home)?;
    result
}

fn measure(home: PathBuf) -> Result<(), SelfTestError> {
    let is_root = rustix::process::geteuid().is_root();
    let member = (ClusterId([0; 32]), ReplicaId(0));
    let launch = Launch {
        program: std::env::current_exe()?,
        state: home,
        owner: Owner::new(NOBODY_ELSE, NOBODY_ELSE).filter(|_| is_root),
        connection_count: 1,
        member,
        store: None,
    };
    let provisioned = launch.provision()?;
    let peer = Peer { cluster: member.0, replica: member.1, provisioned };

    let start = Instant::now();
    let Launched { mut process, mut ends } = launch.start()?;
    let end = ends.pop().ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected))?;
    let mut entropy = Zeroizing::new([0; 32]);
    super::fill(&mut entropy)?;
    let mut client = Client::hello(SeqPacket::new(end), &peer, &entropy)?;
    println!("{:<28}{:>9.1} ms", "start, to the first answer", start.elapsed().as_secs_f64() * 1e3);

    let mut value = 0;
    show("random", &mut times(CALLS, || client.random().map(drop))?);
    show("timestamp", &mut times(CALLS, || client.timestamp().map(drop))?);
    show(
        "attest",
        &mut times(ATTESTATIONS, || {
            let (expected_old, new) = (CounterValue(value), CounterValue(value + 1));
            value += 1;
            let (counter, epoch, digest) = (Counter::Ordering, Epoch(0), Digest([7; 32]));
            client.attest(AttestCall { counter, epoch, expected_old, new, digest }).map(drop)
        })?,
    );
    let status = fs::read_to_string(format!("/proc/{}/status", process.id()))?;
    for name in ["VmLck:", "VmRSS:", "VmSize:"] {
        let found = status.lines().find_map(|line| line.strip_prefix(name));
        println!("{name:<28}{:>12}", found.unwrap_or("unknown").trim());
    }
    let protections = Protections::from_bits(client.status()?.protections);
    for one in Protection::ALL {
        let state = if protections.has(one) { "in force" } else { "MISSING" };
        println!("{:<28}{state:<10}{}", one.name(), one.stops());
    }
    for attacker in Attacker::ALL {
        let verdict = protections.against(attacker, Restart::NewInstance);
        println!("{:<28}{verdict}", format!("{attacker:?}"));
    }
    drop(client);
    process.wait()?;
    Ok(())
}

/// How long each of so many calls took.
fn times(
    count: usize,
    mut call: impl FnMut() -> Result<(), CallError>,
) -> Result<Vec<Duration>, CallError> {
    (0..count)
        .map(|_| {
            let start = Instant::now();
            call()?;
            Ok(start.elapsed())
        })
        .collect()
}

fn show(name: &str, times: &mut [Duration]) {
    times.sort_unstable();
    let micros = |permille: usize| {
        let place = times.len().saturating_sub(1) * permille / 1_000;
        times.get(place).copied().unwrap_or_default().as_secs_f64() * 1e6
    };
    println!("{name:<28}{:>9.1} us p50 {:>9.1} us p99", micros(500), micros(990));
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
