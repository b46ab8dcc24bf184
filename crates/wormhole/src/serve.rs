//! The wormhole's process: how it starts, its loop, and how it ends.
//!
//! **Guarantee:** outputs of the core are performed in their order, and nothing is shown that should
//! have been stored and was not. Keys and state live in [`Secret`] memory, and what a step leaves on
//! the stack is erased after it; only the session with a hardware counter is on the heap. No payload can make the loop wait: one that sends what is no frame,
//! or does not take its answers, loses its connection. Every doubt ends in silence.
//!
//! After the process is closed the loop allocates nothing and makes the system calls of
//! [`crate::sandbox`]'s list only; both are enforced, by death.

pub mod arguments;
mod doors;
pub mod selftest;

use std::error::Error;
use std::fmt;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::event::Timespec;
use rustix::net::{AddressFamily, SocketType};
use rustix::rand::GetRandomFlags;
use rustix::time::ClockId;
use zeroize::{Zeroize as _, Zeroizing};

use crate::attestation::RollbackProof;
use crate::core::{self, Action, Config, Core, Input, Nanos, Output, Outputs, Seed};
use crate::counter::CounterError;
use crate::frame::{Frame, REQUEST_BYTES};
use crate::hex;
use crate::keys::{InstanceSecret, Keys, ProvisionedKey};
use crate::os::{self, Secret};
use crate::sandbox::{self, Kept, Protection, Protections, SandboxError, Store};
use crate::state::{Continuity, ContinuityError, Lease, StateDir, StateError};
use crate::tpm::{NvCounter, NvIndex, Transport};

use arguments::{Command, Place, Serve, USAGE};
use doors::{Arrival, Doors};

/// The longest line for the operator.
const LINE_BYTES: usize = 512;
/// How much of the stack is erased after a step, in words of 8 bytes: four times as deep as the
/// deepest goes, which signs.
const WORDS_OF_STEP: usize = (32 << 10) / 8;

/// Does what the command line says. Answers the exit status; see [`USAGE`].
pub fn main(arguments: impl Iterator<Item = std::ffi::OsString>) -> u8 {
    let command = match Command::parse(arguments) {
        Ok(command) => command,
        Err(error) => {
            complain(&error);
            eprintln!("`ravelin-wormhole --help` lists the commands");
            return 2;
        }
    };
    let done = match command {
        Command::Help => show(USAGE),
        Command::SelfTest => self_test(),
        Command::Provision(place) => provision(&place),
        Command::Anchor(place, index, tpm) => anchor(&place, index, tpm),
        Command::Serve(options) => serve(options),
    };
    match done {
        Ok(()) => 0,
        Err(error) => {
            complain(&error);
            1
        }
    }
}

/// Writes the error and its causes to standard error.
fn complain(error: &dyn Error) {
    say(format_args!("{}", Causes(error)));
}

/// Writes one line to standard error, at once and without allocation; what is too long is cut. If
/// nobody can read it there is nobody to tell.
fn say(text: fmt::Arguments<'_>) {
    let mut line = [b'\n'; LINE_BYTES];
    let mut free = &mut line[..LINE_BYTES - 1];
    let _ = write!(free, "ravelin-wormhole: {text}");
    let written = LINE_BYTES - free.len();
    let _ = io::stderr().write_all(line.get(..written).unwrap_or_default());
}

/// An error and what caused it.
struct Causes<'a>(&'a dyn Error);

impl fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        self.0.source().map_or(Ok(()), |cause| write!(f, ": {}", Causes(cause)))
    }
}

fn provision(place: &Place) -> Result<(), ServeError> {
    let mut seed = Zeroizing::new([0; 32]);
    fill(&mut seed)?;
    StateDir::provision(&place.state, user_of(place), &seed)?;
    show(format_args!("{}\n", hex::encode(&ProvisionedKey::from_seed(&seed).id().0)))
}

fn self_test() -> Result<(), ServeError> {
    show(selftest::measure(&std::env::current_exe()?)?)
}

/// Writes a result to standard output.
fn show(result: impl fmt::Display) -> Result<(), ServeError> {
    Ok(write!(io::stdout(), "{result}")?)
}

fn anchor(place: &Place, index: NvIndex, tpm: PathBuf) -> Result<(), ServeError> {
    let mut state = StateDir::open(&place.state, user_of(place))?;
    let anchor = state.new_anchor(index)?;
    let no_owner_password = &[];
    NvCounter::define(
        Transport::open(&tpm)?,
        index,
        &state.auth_value(&anchor),
        no_owner_password,
    )?;
    Ok(())
}

fn user_of(place: &Place) -> u32 {
    place.owner.map_or_else(|| rustix::process::geteuid().as_raw(), |owner| owner.user())
}

/// Starts, serves and ends the process; returns only when it could not start.
fn serve(options: Serve) -> Result<(), ServeError> {
    let sockets = options.connections.iter().map(|fd| connection(*fd)).collect::<Result<_, _>>()?;
    let transport = options.store.as_ref().map(|(tpm, _)| Transport::open(tpm)).transpose()?;
    let store = if transport.is_some() { Store::Present } else { Store::Absent };
    os::keep_heap();
    let protections = sandbox::leave_privileges(options.place.owner)?;
    let mut doors = Doors::new(sockets, os::termination_requests()?);
    let mut service = Secret::new(|is_hidden| {
        let protections = match is_hidden {
            true => protections.with(Protection::HiddenMemory),
            false => protections,
        };
        Service::open(&options, transport, protections)
    })?;
    sandbox::close(Kept { signals: doors.signals(), store })?;
    report(service.protections);
    let ending = service.run(&mut doors);
    drop(service);
    os::exit(ending)
}

/// Takes over an inherited socket, if it is one.
fn connection(number: i32) -> Result<OwnedFd, ServeError> {
    let wrong = |source| ServeError::Connection { number, source };
    let socket = os::inherited(number).map_err(wrong)?;
    let kind = rustix::net::sockopt::socket_type(&socket).map_err(|e| wrong(e.into()))?;
    let family = rustix::net::sockopt::socket_domain(&socket).map_err(|e| wrong(e.into()))?;
    if (family, kind) == (AddressFamily::UNIX, SocketType::SEQPACKET) {
        Ok(socket)
    } else {
        Err(wrong(io::Error::other("not a SEQPACKET socket of the Unix family")))
    }
}

fn report(protections: Protections) {
    for one in protections.missing() {
        say(format_args!("MISSING {}: {}", one.name(), one.stops()));
    }
}

/// Everything that must not be seen or changed from outside, in one piece.
struct Service {
    core: Core,
    /// `None` once the instance is stored as ended.
    continuity: Option<Continuity>,
    protections: Protections,
    outputs: Outputs,
    frame: Frame,
    started: Nanos,
}

impl Service {
    /// Opens the state directory and the instance; the process opens no file after that.
    fn open(
        options: &Serve,
        transport: Option<Transport>,
        protections: Protections,
    ) -> Result<Self, ServeError> {
        let state = StateDir::open(&options.place.state, user_of(&options.place))?;
        let lease = options.store.as_ref().map(|(_, lease)| *lease);
        let mut continuity = match transport.zip(lease) {
            None => Continuity::volatile(),
            Some((transport, lease)) => {
                let anchor = state.anchor()?;
                let auth_value = state.auth_value(&anchor);
                let counter = NvCounter::open(transport, anchor.index, &auth_value)?;
                Continuity::anchored(&state, Box::new(counter), lease)?
            }
        };
        let protections = sandbox::deny_files(protections)?.with(Protection::FewCalls);

        let (mut fresh, mut seed) = (InstanceSecret([0; 32]), Seed([0; 32]));
        fill(&mut fresh.0)?;
        fill(&mut seed.0)?;
        let opened = continuity.open(fresh)?;
        let rollback_proof = match lease {
            None => RollbackProof::Absent,
            Some(_) => RollbackProof::Present,
        };
        let keys = Keys::new(state.into_key(), &opened.secret, options.member, rollback_proof);
        let lease = match lease {
            None | Some(Lease::Run) => core::Lease::Run,
            Some(Lease::Every) => core::Lease::Every,
        };
        let config = Config { lease, protections: protections.bits() };
        Ok(Self {
            core: Core::new(config, keys, seed, opened.counters),
            continuity: Some(continuity),
            protections,
            outputs: Outputs::new(),
            frame: [0; REQUEST_BYTES],
            started: clock(),
        })
    }

    /// Serves until it is asked to end or nobody is left; answers the exit status.
    fn run(&mut self, doors: &mut Doors) -> u8 {
        loop {
            let timeout = self.core.next_deadline().map(|at| timespec(at.since(self.now())));
            let Ok(ready) = doors.wait(timeout.as_ref()) else { return STOPPED_IN_DOUBT };
            if ready.is_end {
                return os::without_trace::<WORDS_OF_STEP, _>(|| self.end());
            }
            os::without_trace::<WORDS_OF_STEP, _>(|| {
                if !ready.connections.contains(&true) {
                    self.take(Input::Time, doors);
                }
                for (number, _) in (0..).zip(ready.connections).filter(|(_, is_ready)| *is_ready) {
                    self.on_ready(number, doors);
                }
            });
        }
    }

    fn on_ready(&mut self, connection: u8, doors: &mut Doors) {
        match doors.receive(usize::from(connection), &mut self.frame) {
            Arrival::Frame => {
                let frame = self.frame;
                self.take(Input::Call { connection, frame: &frame }, doors);
            }
            Arrival::Closed => self.take(Input::Closed { connection }, doors),
            Arrival::Nothing => {}
        }
    }

    /// One step of the core and what it asks for. If the store fails, nothing after that is done,
    /// and the core halts.
    fn take(&mut self, input: Input<'_>, doors: &mut Doors) {
        let now = self.now();
        self.core.step(now, input, &mut self.outputs);
        if let Err(error) = self.perform(doors) {
            complain(&error);
            self.core.step(self.now(), Input::StoreFailed, &mut self.outputs);
            // What a halt asks for needs no store.
            let _ = self.perform(doors);
        }
    }

    fn perform(&mut self, doors: &mut Doors) -> Result<(), ContinuityError> {
        for output in self.outputs.iter() {
            match output {
                Output::Answer { connection, frame } => doors.send(usize::from(*connection), frame),
                Output::Keep | Output::Act(Action::EraseKey) => {
                    let continuity = self.continuity.as_mut().ok_or(ContinuityError::NotOpen)?;
                    continuity.keep(self.core.counters())?;
                }
                Output::Act(Action::FailSafeLock | Action::SignedHeartbeat) => {}
                Output::Halt(reason) => complain(reason),
            }
        }
        Ok(())
    }

    /// Stores the instance as stopped, unless it is in doubt.
    fn end(&mut self) -> u8 {
        if self.core.halted().is_some() {
            return STOPPED_IN_DOUBT;
        }
        let Some(continuity) = self.continuity.take() else { return STOPPED_IN_DOUBT };
        match continuity.close(self.core.counters()) {
            Ok(()) => 0,
            Err(error) => {
                complain(&error);
                STOPPED_IN_DOUBT
            }
        }
    }

    /// Since the start of this process. A clock that goes back halts the core.
    fn now(&self) -> Nanos {
        clock().since(self.started)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.frame.zeroize();
        self.outputs.clear();
    }
}

const STOPPED_IN_DOUBT: u8 = 3;

/// The clock that goes on while the machine is suspended.
fn clock() -> Nanos {
    let time = rustix::time::clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let nanos = u64::try_from(time.tv_nsec).unwrap_or_default();
    Nanos(seconds.saturating_mul(1_000_000_000).saturating_add(nanos))
}

fn timespec(span: Nanos) -> Timespec {
    let nanos = i64::try_from(span.0).unwrap_or(i64::MAX);
    Timespec { tv_sec: nanos / 1_000_000_000, tv_nsec: nanos % 1_000_000_000 }
}

/// Fills with random bytes of the system's, waiting for it to have any.
fn fill(bytes: &mut [u8; 32]) -> io::Result<()> {
    match rustix::rand::getrandom(bytes.as_mut_slice(), GetRandomFlags::empty())? {
        32 => Ok(()),
        _ => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
    }
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
    /// Another call to the system failed.
    #[error("the system refused")]
    System(#[from] io::Error),
    /// The self-test could not be done.
    #[error("the self-test failed")]
    SelfTest(#[from] selftest::SelfTestError),
}
