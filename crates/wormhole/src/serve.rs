//! The wormhole's process: how it starts, its loop, and how it ends.
//!
//! **Guarantee:** outputs of the core are performed in their order, and nothing is shown that should
//! have been stored and was not. Keys and state live in [`Secret`] memory, and what a step leaves on
//! the stack is erased after it; only the session with a hardware counter is on the heap. No payload
//! can make the loop wait: one that sends what is no frame, or does not take its answers, loses its
//! connection, and one that sends too many waits itself. Every doubt ends in silence.
//!
//! After the process is closed the loop allocates nothing and makes the system calls of
//! [`crate::sandbox`]'s list only; both are enforced, by death.

pub mod arguments;
mod doors;
pub mod selftest;

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType};
use rustix::rand::GetRandomFlags;
use rustix::time::ClockId;
use zeroize::Zeroize as _;

use crate::attestation::RollbackProof;
use crate::core::{
    Action, Config, Core, Engine, HaltReason, Input, Nanos, Output, Outputs, Rights, Seed,
};
use crate::frame::{Frame, REQUEST_BYTES};
use crate::keys::{InstanceSecret, Keys};
use crate::operator;
use crate::os::{self, Secret};
use crate::sandbox::{self, Kept, Protection, Protections, Store};
use crate::state::{Continuity, ContinuityError, Lease, Origin, StateDir};
use crate::tpm::{NvCounter, Transport};
use crate::words::{self, complain};

pub use crate::words::ServeError;

use arguments::{Command, Serve};
use doors::{Arrival, Control, Doors, Heard};

/// How much of the stack is erased after a step, in words of 8 bytes: four times as deep as the
/// deepest goes, which signs.
const WORDS_OF_STEP: usize = (32 << 10) / 8;
/// Frames of the control channel that are taken before payloads have their turn.
const FRAMES_IN_A_ROW: usize = 16;
/// Frames that are taken before a step by rounds: more than the channel's socket holds. Where there are
/// more, somebody floods it, and what came in time may be behind that.
const FRAMES_BEFORE_STEP: usize = 512;

/// Does what the command line says. Answers the exit status; see [`arguments::USAGE`].
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
        Command::Help => operator::help(),
        Command::SelfTest => operator::self_test(),
        Command::Provision(place) => operator::provision(&place),
        Command::Public(place) => operator::public(&place),
        Command::Anchor(place, index, tpm) => operator::anchor(&place, index, &tpm),
        Command::Serve(options) => serve(&options),
    };
    match done {
        Ok(()) => 0,
        Err(error) => {
            complain(&error);
            1
        }
    }
}

/// Starts, serves and ends the process; returns only when it could not start.
fn serve(options: &Serve) -> Result<(), ServeError> {
    let control = options.control.as_ref().map(|control| control.socket);
    let inherited: Vec<_> = options.connections.iter().copied().chain(control).collect();
    os::close_others(&inherited)?;
    // No terminal's affair; who leads a group already, as a shell's job, stays in it.
    let _ = rustix::process::setsid();
    let sockets = options.connections.iter().map(|fd| connection(*fd));
    let sockets = sockets.collect::<Result<Vec<_>, _>>()?;
    let has_no_files = sockets.iter().all(|socket| os::refuse_passed_files(socket).is_ok());
    let control = options.control.as_ref().map(channel).transpose()?;
    let transport = options.store.as_ref().map(|(tpm, _)| Transport::open(tpm)).transpose()?;
    let store = if transport.is_some() { Store::Present } else { Store::Absent };
    os::keep_heap();
    let mut protections = sandbox::leave_privileges(options.place.owner)?;
    if has_no_files {
        protections = protections.with(Protection::NoPassedFiles);
    }
    let mut doors = Doors::new(sockets, control, os::termination_requests()?);
    let mut service = Secret::new(|is_hidden| {
        let protections = match is_hidden {
            true => protections.with(Protection::HiddenMemory),
            false => protections,
        };
        Service::open(options, transport, protections)
    })?;
    sandbox::close(Kept { signals: doors.signals(), store })?;
    if let Some(Engine::RealTime { bound }) = options.control.as_ref().map(|it| it.engine)
        && let Some(late_by) = doors.wakes_later_than(bound)
    {
        complain(&ServeError::WakesLate { late_by, bound });
        drop(service);
        os::exit(COULD_NOT_START);
    }
    words::report(service.protections, service.origin);
    let ending = service.run(&mut doors);
    drop(service);
    os::exit(ending)
}

/// Takes over the inherited socket of the control channel, if it is one.
fn channel(control: &arguments::Control) -> Result<Control, ServeError> {
    let number = control.socket;
    let wrong = |source| ServeError::Control { number, source };
    let socket = os::inherited(number).map_err(wrong)?;
    let kind = rustix::net::sockopt::socket_type(&socket).map_err(|e| wrong(e.into()))?;
    let family = rustix::net::sockopt::socket_domain(&socket).map_err(|e| wrong(e.into()))?;
    let is_udp = kind == SocketType::DGRAM && family != AddressFamily::UNIX;
    if !is_udp {
        return Err(wrong(io::Error::other("not a UDP socket")));
    }
    let members = control.members.iter().map(|(member, address)| (member.replica, *address));
    Ok(Control { socket, members: members.collect(), whole_at: Nanos(0), lost: 0 })
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

/// Everything that must not be seen or changed from outside, in one piece.
struct Service {
    core: Core,
    /// `None` once the instance is stored as ended.
    continuity: Option<Continuity>,
    protections: Protections,
    origin: Origin,
    outputs: Outputs,
    frame: Frame,
    started: Nanos,
    /// None in the local mode.
    engine: Option<Engine>,
}

impl Service {
    /// Opens the state directory and the instance; the process opens no file after that.
    fn open(
        options: &Serve,
        transport: Option<Transport>,
        protections: Protections,
    ) -> Result<Self, ServeError> {
        let state = StateDir::open(&options.place.state, options.place.user())?;
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
        let proof = lease.map_or(RollbackProof::Absent, |_| RollbackProof::Present);
        let keys = Keys::new(state.into_key(), &opened.secret, options.member, proof);
        let (lease, rights) = (lease.unwrap_or(Lease::Run), Rights::BY_DEFAULT);
        let config = Config { lease, protections: protections.bits(), rights };
        let mut core = Core::new(config, keys, seed, opened.counters);
        if let Some(control) = &options.control {
            let members: Vec<_> = control.members.iter().map(|(member, _)| *member).collect();
            core.join(&members, control.engine)?;
        }
        Ok(Self {
            core,
            continuity: Some(continuity),
            protections,
            origin: opened.origin,
            outputs: Outputs::new(),
            frame: [0; REQUEST_BYTES],
            started: clock(),
            engine: options.control.as_ref().map(|control| control.engine),
        })
    }

    /// Serves until it is asked to end or nobody is left; answers the exit status.
    fn run(&mut self, doors: &mut Doors) -> u8 {
        loop {
            let Ok(ready) = doors.wait(self.now(), self.core.next_deadline()) else {
                return STOPPED_IN_DOUBT;
            };
            if ready.is_end {
                return os::without_trace::<WORDS_OF_STEP, _>(|| self.end(doors));
            }
            os::without_trace::<WORDS_OF_STEP, _>(|| {
                let due = self.core.next_deadline().filter(|due| *due <= self.now());
                match (due, self.engine) {
                    (Some(due), Some(Engine::RealTime { bound })) => self.pass(due, bound, doors),
                    (due, _) => {
                        if ready.is_control {
                            self.hear(FRAMES_IN_A_ROW, Nanos::NEVER, doors);
                        }
                        if due.is_some() {
                            self.take(Input::Time, doors);
                        }
                    }
                }
                for (number, _) in (0..).zip(ready.connections).filter(|(_, is_ready)| *is_ready) {
                    self.on_ready(number, doors);
                }
            });
            // Whoever waits for what is not shown any more learns it by the closed connection.
            if self.core.halted() == Some(HaltReason::Store) {
                return STOPPED_IN_DOUBT;
            }
        }
    }

    /// Takes so many frames of other wormholes at most, and none after `until`; when there was none left.
    fn hear(&mut self, most: usize, until: Nanos, doors: &mut Doors) -> Option<Nanos> {
        for _ in 0..most {
            let now = self.now();
            match doors.receive_control(now, &mut self.frame) {
                Heard::Nothing => return Some(now),
                _ if self.now() > until => return None,
                Heard::Frame => {
                    let frame = self.frame;
                    self.take(Input::Control { frame: &frame }, doors);
                }
                Heard::Other => {}
            }
        }
        None
    }

    /// Does what is due by rounds. A frame that counts for it came a bound earlier, and so was heard, unless
    /// the host let this process wait for as long since: then it hears again first, for by now something
    /// else may be due as well.
    fn pass(&mut self, due: Nanos, bound: Nanos, doors: &mut Doors) {
        let heard = self.hear_all(due, bound, doors);
        let now = self.now();
        if now.since(heard) < bound {
            self.take_at(now, Input::Time, doors);
        }
    }

    /// By rounds, nothing is decided before all that came was heard; or it is known that some was not. Half
    /// of what is left of the bound is for that: a flood is never heard for so long that the step after it
    /// would be late. Until when all was heard, or is known not to have been.
    fn hear_all(&mut self, due: Nanos, bound: Nanos, doors: &mut Doors) -> Nanos {
        let woke = self.now();
        let left = match due.after(bound).since(woke) {
            Nanos(0) => bound, // too late already, for what was due then
            left => left,
        };
        let all = self.hear(FRAMES_BEFORE_STEP, woke.after(Nanos(left.0 / 2)), doors);
        let heard = all.unwrap_or_else(|| self.now());
        if doors.has_lost() || all.is_none() {
            self.take(Input::ControlLost, doors);
        }
        heard
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

    /// One step of the core and what it asks for.
    fn take(&mut self, input: Input<'_>, doors: &mut Doors) {
        self.take_at(self.now(), input, doors);
    }

    /// What lost frames takes no part in what goes on, before it is asked whether it is late for that: a
    /// flood keeps the host from waking this process, too.
    fn take_at(&mut self, now: Nanos, input: Input<'_>, doors: &mut Doors) {
        if self.core.is_late(now) && doors.has_lost() {
            self.core.step(now, Input::ControlLost, &mut self.outputs);
            self.do_all(doors);
        }
        self.core.step(now, input, &mut self.outputs);
        self.do_all(doors);
    }

    /// Does what the core asks for. If the store fails, nothing after that is done, and the core halts.
    fn do_all(&mut self, doors: &mut Doors) {
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
                Output::Control { to, frame } => doors.send_control(*to, frame),
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

    /// Does what is still planned, and stores the instance as stopped, unless it is in doubt.
    fn end(&mut self, doors: &mut Doors) -> u8 {
        let now = self.now();
        self.core.finish(now, &mut self.outputs);
        self.do_all(doors);
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

const COULD_NOT_START: u8 = 1;
const STOPPED_IN_DOUBT: u8 = 3;

/// The clock that goes on while the machine is suspended.
fn clock() -> Nanos {
    let time = Duration::try_from(rustix::time::clock_gettime(ClockId::Boottime));
    Nanos(time.map_or(0, |time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)))
}

/// Fills with random bytes of the system's, waiting for it to have any.
pub(crate) fn fill(bytes: &mut [u8; 32]) -> io::Result<()> {
    match rustix::rand::getrandom(bytes.as_mut_slice(), GetRandomFlags::empty())? {
        32 => Ok(()),
        _ => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
    }
}

#[cfg(test)]
mod tests;
