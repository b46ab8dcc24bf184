//! What the program says to people: on standard error, and when it could not start.

use std::error::Error;
use std::fmt;
use std::io::{self, Write as _};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::core::ClusterError;
use crate::counter::CounterError;
use crate::frame::Nanos;
use crate::sandbox::{Protections, SandboxError};
use crate::serve::selftest::SelfTestError;
use crate::state::{ContinuityError, Origin, StateError};

/// The longest line for the operator.
const LINE_BYTES: usize = 512;

/// Writes the error and its causes to standard error.
pub(crate) fn complain(error: &dyn Error) {
    say(format_args!("{}", Causes(error)));
}

/// Writes one line to standard error, at once and without allocation; what is too long is cut. If
/// nobody can read it, or whoever reads does not, there is nobody to tell, and nobody to wait for.
fn say(text: fmt::Arguments<'_>) {
    let mut line = [b'\n'; LINE_BYTES];
    let mut free = &mut line[..LINE_BYTES - 1];
    let _ = write!(free, "ravelin-wormhole: {text}");
    let written = LINE_BYTES - free.len();
    let stderr = io::stderr();
    let mut out = [PollFd::new(&stderr, PollFlags::OUT)];
    if poll(&mut out, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) == Ok(0) {
        return;
    }
    let _ = stderr.lock().write_all(line.get(..written).unwrap_or_default());
}

/// An error and what caused it.
struct Causes<'a>(&'a dyn Error);

impl fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        self.0.source().map_or(Ok(()), |cause| write!(f, ": {}", Causes(cause)))
    }
}

/// Tells what a wormhole that serves from now on lacks, and which instance it is.
pub(crate) fn report(protections: Protections, origin: Origin) {
    for one in protections.missing() {
        say(format_args!("MISSING {}: {}", one.name(), one.stops()));
    }
    say(format_args!("{origin}"));
}

/// Why the program could not do what it was asked to. Nothing was served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// An inherited descriptor is not a payload's socket.
    #[error("descriptor {number} is no connection")]
    Connection {
        /// Its number.
        number: i32,
        /// What is wrong with it.
        #[source]
        source: io::Error,
    },
    /// An inherited descriptor is not the socket of a control channel.
    #[error("descriptor {number} is no control channel")]
    Control {
        /// Its number.
        number: i32,
        /// What is wrong with it.
        #[source]
        source: io::Error,
    },
    /// The wormholes that were named are no cluster of this one.
    #[error("no such cluster")]
    Cluster(#[from] ClusterError),
    /// The host wakes this process later than agreement in real time allows.
    #[error(
        "this host woke the process {} us late, and agreement in real time needs {} us: name a longer \
         bound for all of the cluster, keep other work off the processor, or agree by majority, without \
         --real-time",
        late_by.0.div_ceil(1_000), bound.0 / 1_000
    )]
    WakesLate {
        /// The latest of the wake-ups that were measured.
        late_by: Nanos,
        /// What was asked for.
        bound: Nanos,
    },
    /// The state directory cannot be used.
    #[error("cannot use the state directory")]
    State(#[from] StateError),
    /// The hardware counter cannot be used.
    #[error("cannot use the counter")]
    Counter(#[from] CounterError),
    /// No instance could be opened.
    #[error("cannot open an instance")]
    Continuity(#[from] ContinuityError),
    /// The process could not be closed.
    #[error("cannot close the process")]
    Sandbox(#[from] SandboxError),
    /// What was done could not be told; `--public` tells a key again.
    #[error("nobody reads what this prints")]
    Unread(#[source] io::Error),
    /// Another call to the system failed.
    #[error("the system refused")]
    System(#[from] io::Error),
    /// The self-test could not be done.
    #[error("the self-test failed")]
    SelfTest(#[from] SelfTestError),
}
