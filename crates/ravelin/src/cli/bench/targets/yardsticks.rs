//! What this machine needs for the things that every request is made of, measured right before: times are
//! told in terms of them.

use std::fmt;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::thread;
use std::time::Instant;

use ravelin_crypto::{Domain, Scheme, SigningKey};
use serde::Serialize;

use super::super::testbed::TestDir;
use crate::exit::{Error, Exit, Result};

/// How often each is done.
const TIMES: usize = 300;
/// Bytes of a write that is synced, and of the file it lies in.
const WRITE_BYTES: usize = 4096;
const FILE_BYTES: usize = 1 << 20;
/// Bytes of a message that goes to and fro.
const MESSAGE_BYTES: usize = 128;

/// Medians.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Yardsticks {
    /// Four kibibytes overwritten in a file that has its size, and synced.
    pub(super) sync_ms: f64,
    /// 128 bytes over loopback, and back.
    pub(super) round_trip_us: f64,
    /// One Ed25519 signature by itself.
    pub(super) verification_us: f64,
}

impl Yardsticks {
    /// Measures them: well below a second each.
    pub(super) fn measure() -> Result<Self> {
        let dir = TestDir::new("yardsticks");
        let failed = |error: std::io::Error| {
            let hint = "look whether the directory for temporary files has room";
            Error::caused(Exit::Failed, error, hint).context("cannot measure what a sync takes")
        };
        let sync_us = syncs(dir.path()).map_err(failed)?;
        let round_trip_us = round_trips().map_err(|error| {
            let hint = "look whether this machine has a loopback interface";
            Error::caused(Exit::Failed, error, hint).context("cannot measure a round trip")
        })?;
        Ok(Self { sync_ms: sync_us / 1e3, round_trip_us, verification_us: verifications() })
    }
}

/// The median time of a step, in microseconds.
fn median_us<E>(mut step: impl FnMut(usize) -> Result<(), E>) -> Result<f64, E> {
    let mut took = Vec::with_capacity(TIMES);
    for turn in 0..TIMES {
        let begun = Instant::now();
        step(turn)?;
        took.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    took.sort_by(f64::total_cmp);
    Ok(took.get(TIMES / 2).copied().unwrap_or_default())
}

fn syncs(dir: &Path) -> std::io::Result<f64> {
    std::fs::create_dir_all(dir)?;
    let path = dir.join("written");
    std::fs::write(&path, vec![0; FILE_BYTES])?;
    let file = std::fs::File::options().write(true).open(&path)?;
    file.sync_all()?;
    let page = [7; WRITE_BYTES];
    median_us(|turn| {
        let place = turn * WRITE_BYTES % FILE_BYTES;
        file.write_all_at(&page, place as u64)?;
        file.sync_data()
    })
}

fn round_trips() -> std::io::Result<f64> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut near = TcpStream::connect(listener.local_addr()?)?;
    let (mut far, _) = listener.accept()?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let echo = thread::spawn(move || -> std::io::Result<()> {
        let mut message = [0; MESSAGE_BYTES];
        for _ in 0..TIMES {
            far.read_exact(&mut message)?;
            far.write_all(&message)?;
        }
        Ok(())
    });
    let mut message = [7; MESSAGE_BYTES];
    let median = median_us(|_| {
        near.write_all(&message)?;
        near.read_exact(&mut message)
    });
    drop(near);
    echo.join().expect("it does not panic")?;
    median
}

fn verifications() -> f64 {
    let scheme = Scheme::ed25519([7; 32]);
    let key = SigningKey::ed25519(&[7; 32]);
    let (message, domain) = ([7; MESSAGE_BYTES], Domain::Block);
    let signature = key.sign(domain, &message);
    let verified =
        median_us(|_| match scheme.verify(domain, &key.public(), &message, &signature) {
            true => Ok(()),
            false => Err("an own signature is good"),
        });
    verified.expect("it verifies what it signed")
}

impl fmt::Display for Yardsticks {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "one sync takes {:.2} ms here, one round trip over loopback {:.0} us, one signature verified {:.0} us",
            self.sync_ms, self.round_trip_us, self.verification_us
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_takes_some_time_and_leaves_nothing_behind() {
        let Yardsticks { sync_ms, round_trip_us, verification_us } =
            Yardsticks::measure().expect("a disk and a loopback interface");
        assert!(sync_ms > 0.0 && round_trip_us > 0.0 && verification_us > 0.0);
    }
}
