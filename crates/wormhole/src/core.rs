//! The trusted component itself: a deterministic state machine without I/O and without a clock.
//!
//! **Guarantee:** it may stop, it never lies. For every instance: no counter position is bound
//! twice, positions rise, and an attestation exists only after its position is taken. Each call of
//! an entity, by its sequence number, is served at most once and has at most one authentic answer.
//! No input panics, allocates, or takes more than a bounded time; whatever should be impossible
//! halts it, and a halted core answers nothing else ever again. Assumes that its memory and its
//! keys are its own, that Ed25519, X25519 and BLAKE3 hold, and a seed that nobody else has; about
//! time it assumes the clock, and safety does not depend on that.
//!
//! # Source
//! Veríssimo, Neves and Correia, *Intrusion-Tolerant Architectures: Concepts and Design*, sections
//! 7.5 and 8.2: the Trusted Timely Computing Base, local, and distributed after [`Core::join`].
//! Attestation is added.

mod budget;
mod counters;
mod distributed;
mod random;
mod rights;
mod services;
mod sessions;
mod slots;

pub use counters::{Counters, Lock};
pub use distributed::{
    AGREEMENT_BOUND, AGREEMENT_RETENTION, AGREEMENTS_PER_ENTITY, AGREEMENTS_PER_HOST, ClusterError,
    ENDED_PER_HOST, Engine, Member, REAL_TIME_BOUND_MAX, REAL_TIME_WORMHOLES_MAX, TSTART_AHEAD_MAX,
};
pub use random::Seed;
pub use rights::Rights;

pub use crate::frame::{Action, Nanos};

use x25519_dalek::{PublicKey, StaticSecret};

use crate::attestation::{ProcessId, ReplicaId, RollbackProof};
use crate::frame::{
    Answer, Call, EntityId, Frame, FrameError, Header, Hello, Kind, Mode, Refusal, Sequence,
    Welcome, decode_call, encode_answer, is_plain, is_sealed, seal,
};
use crate::keys::{Handshake, Keys, shared_secret};

use budget::{Budget, HOST, WRITE, work};
use distributed::{Distributed, MESSAGES, Turn};
use random::Random;
use sessions::{Connection, Place, Session, Sessions};

/// Connections that a wormhole serves.
pub const CONNECTIONS: usize = 4;
/// Sessions of one connection: nobody can take those of another.
pub const ENTITIES_PER_CONNECTION: usize = 4;
/// Sessions of the whole host.
pub const ENTITIES_MAX: usize = CONNECTIONS * ENTITIES_PER_CONNECTION;
/// Measurements that an entity may have under way.
pub const DURATIONS_PER_ENTITY: usize = 8;
/// Deadlines that an entity may have armed.
pub const ARMED_PER_ENTITY: usize = 8;
/// Actions that an entity may have planned, or not yet asked about.
pub const ACTIONS_PER_ENTITY: usize = 4;
/// How far ahead deadlines and actions may lie, and how long a measurement is kept: a day.
pub const HORIZON: Nanos = Nanos::from_millis(24 * 60 * 60 * 1_000);
/// How long a deadline or an outcome is kept, at least, for who comes late to ask.
pub const RETENTION: Nanos = Nanos::from_millis(60_000);

/// Outputs of one step at most: a halt, an answer, two for each of the two locks, one for an
/// attestation, and messages to other wormholes.
const OUTPUTS: usize = 7 + MESSAGES;

/// What the core must know of its surroundings.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// When the counters must be stored.
    pub lease: Lease,
    /// The protections of the process that are in force, as bits; handed on in `status`.
    pub protections: u64,
    /// What the entities of each connection may do; what not, is refused as [`Refusal::Denied`].
    pub rights: [Rights; CONNECTIONS],
}

/// When the counters of an instance are made durable, where it can resume at all: for how long one
/// step of the hardware counter lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lease {
    /// For a whole run: a clean stop can be resumed, a crash closes the instance.
    Run,
    /// For one attestation: a crash can be resumed too. Each writes to the hardware counter's memory,
    /// which is slow, holds up everybody meanwhile, and wears out: so a connection has 4 of them at
    /// once and then one in 2,000 s. For counters that move rarely: checkpoints, not blocks.
    Every,
    /// As [`Self::Every`], as often as asked: for a counter whose memory does not wear out, like that
    /// of a TPM which a hypervisor keeps. The same instance may live under either.
    EveryUnmetered,
}

impl Lease {
    /// Whether each attestation is durable before it shows.
    #[must_use]
    pub const fn keeps_each(self) -> bool {
        matches!(self, Self::Every | Self::EveryUnmetered)
    }
}

/// One thing that happened to the wormhole.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// A frame arrived. Connections are numbered from 0.
    Call {
        /// On which connection.
        connection: u8,
        /// What arrived.
        frame: &'a Frame,
    },
    /// A frame arrived from the control channel. Who sent it, and whether it means anything, it says
    /// itself.
    Control {
        /// What arrived.
        frame: &'a Frame,
    },
    /// Frames of the control channel came to this host and were lost there, or may have been.
    ControlLost,
    /// A connection is gone: its sessions end. What they planned will still be executed.
    Closed {
        /// Which connection.
        connection: u8,
    },
    /// Time has passed. Early ones are harmless.
    Time,
    /// [`Output::Keep`] could not be done: nothing that follows it was or will be shown.
    StoreFailed,
}

/// One thing the core asks of the world. Performed in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send a frame back.
    Answer {
        /// On which connection.
        connection: u8,
        /// What to send.
        frame: Frame,
    },
    /// Send a frame over the control channel. It may be lost.
    Control {
        /// To which member's wormhole.
        to: ReplicaId,
        /// What to send.
        frame: Frame,
    },
    /// Make [`Core::counters`] durable before any later output shows. Only where the lease is of
    /// each attestation.
    Keep,
    /// An action took effect. [`Action::FailSafeLock`]: nothing is left to do.
    /// [`Action::EraseKey`]: erase every other copy of the instance's secret, in memory and in a
    /// store, now. [`Action::SignedHeartbeat`] is never here: its effect is its outcome.
    Act(Action),
    /// The core halted, for good. An instance must not be stored as cleanly stopped after this.
    Halt(HaltReason),
}

/// Why a core halted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[repr(u8)]
pub enum HaltReason {
    /// A later input came at an earlier time.
    #[error("the clock went back")]
    ClockWentBack = 1,
    /// The counters could not be stored.
    #[error("the store failed")]
    Store = 2,
    /// No entity or tag has a new name any more.
    #[error("names are used up")]
    NamesUsedUp = 3,
    /// Counters were handed in for an instance whose certificate says that it cannot resume.
    #[error("the instance cannot resume")]
    NotResumable = 4,
    /// It takes part in an agreement by rounds, and its host woke it later than the bound allows.
    #[error("it was woken later than the bound of real time allows")]
    WokeLate = 5,
}

/// What one step asks for, in order.
pub struct Outputs {
    outputs: [Option<Output>; OUTPUTS],
    count: usize,
}

impl Default for Outputs {
    fn default() -> Self {
        Self::new()
    }
}

impl Outputs {
    /// None.
    #[must_use]
    pub const fn new() -> Self {
        Self { outputs: [None; OUTPUTS], count: 0 }
    }

    /// Forgets them.
    pub fn clear(&mut self) {
        for output in self.outputs.iter_mut().take(self.count) {
            *output = None;
        }
        self.count = 0;
    }

    /// In the order in which they are to be performed.
    pub fn iter(&self) -> impl Iterator<Item = &Output> {
        self.outputs.iter().flatten()
    }

    fn push(&mut self, output: Output) {
        let place = self.outputs.get_mut(self.count);
        *place.expect("a step begins with an empty list and has at most OUTPUTS") = Some(output);
        self.count += 1;
    }
}

/// Who made an authentic call.
#[derive(Clone, Copy)]
struct Caller {
    connection: u8,
    eid: EntityId,
}

/// The state machine. See the [module](self).
pub struct Core {
    config: Config,
    keys: Keys,
    random: Random,
    counters: Counters,
    sessions: Sessions,
    /// What all entities share beyond what each has for itself.
    host: Budget,
    now: Nanos,
    last_eid: u64,
    last_tag: u64,
    heartbeats: u64,
    process: ProcessId,
    mode: Mode,
    /// None in the local mode.
    distributed: Option<Distributed>,
    halted: Option<HaltReason>,
    calls: [u64; 17],
    refused: u64,
}

impl Core {
    /// A core at the start of its process.
    ///
    /// `resumed`: the counters with which a store proved that the instance of `keys` ended; none
    /// for a fresh instance. The core is halted from the start if the certificate says that the
    /// instance cannot resume: going on would be an equivocation waiting to happen.
    #[must_use]
    pub fn new(config: Config, keys: Keys, random: Seed, resumed: Option<Counters>) -> Self {
        let mut random = Random::new(random);
        let process = ProcessId(random.draw());
        let may_resume = keys.certificate().rollback_proof == RollbackProof::Present;
        let halted = (resumed.is_some() && !may_resume).then_some(HaltReason::NotResumable);
        Self {
            config,
            keys,
            random,
            counters: resumed.unwrap_or_default(),
            sessions: Sessions::new(),
            host: Budget::new(HOST),
            now: Nanos(0),
            last_eid: 0,
            last_tag: 0,
            heartbeats: 0,
            process,
            mode: Mode::Local,
            distributed: None,
            halted,
            calls: [0; 17],
            refused: 0,
        }
    }

    /// Enters the distributed mode, with these wormholes and this one among them, in the same order
    /// everywhere. To be called before the first step; it allocates what the mode needs.
    ///
    /// # Errors
    /// [`ClusterError`]: the list is wrong.
    pub fn join(&mut self, members: &[Member], engine: Engine) -> Result<(), ClusterError> {
        let identity = self.keys.certificate().identity;
        let (own, key) = ((identity.cluster, identity.replica), self.keys.provisioned());
        self.distributed = Some(Distributed::new(members, engine, own, key, &mut self.random)?);
        self.mode = Mode::Distributed(engine);
        // Processes are known to other wormholes by these names, which another life must not repeat.
        let [a, b, c, d, ..] = self.random.draw();
        self.last_eid = u64::from(u32::from_le_bytes([a, b, c, d]) >> 1);
        Ok(())
    }

    /// Takes one input at time `now`, and replaces what `out` holds by what is to be done.
    pub fn step(&mut self, now: Nanos, input: Input<'_>, out: &mut Outputs) {
        out.clear();
        if now < self.now {
            self.halt(HaltReason::ClockWentBack, out);
        } else {
            self.now = now;
        }
        if matches!(input, Input::StoreFailed) {
            self.halt(HaltReason::Store, out); // what is due could not be stored either
        }
        self.run_due(out); // first: no call is served past an action that was due before it
        if matches!(input, Input::ControlLost) {
            self.distributed.iter_mut().for_each(|all| all.on_loss(now)); // so it is not late for that
        }
        let fault = self.distributed.as_ref().and_then(|all| all.timing_fault(now));
        if let Some(reason) = fault {
            self.halt(reason, out);
        }
        match input {
            Input::Call { connection, frame } => self.on_call(connection, frame, out),
            Input::Control { frame } => {
                self.together(out, |all, turn| all.on_control(frame, turn));
            }
            Input::Closed { connection } => self.sessions.close(connection),
            Input::Time => {
                self.together(out, Distributed::on_time);
            }
            Input::ControlLost | Input::StoreFailed => {}
        }
        self.run_due(out);
    }

    /// Whether a step at this time would find that this wormhole woke too late for a round.
    pub(crate) fn is_late(&self, now: Nanos) -> bool {
        self.distributed.as_ref().is_some_and(|all| all.timing_fault(now).is_some())
    }

    /// When [`Input::Time`] is due next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Nanos> {
        let planned = self.earliest_planned().map(|(not_before, _)| not_before);
        let together = self.distributed.as_ref().filter(|_| self.halted.is_none());
        planned.into_iter().chain(together.map(Distributed::next_deadline)).min()
    }

    /// What must survive for the instance to go on.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Why the core halted, if it did.
    #[must_use]
    pub fn halted(&self) -> Option<HaltReason> {
        self.halted
    }

    // Who calls.

    fn on_call(&mut self, connection: u8, frame: &Frame, out: &mut Outputs) {
        let Ok(header) = Header::take(frame) else {
            return self.refuse(connection, Refusal::NotAuthenticated, out);
        };
        if let Some(hello) = plain_hello(frame) {
            return match self.on_hello(connection, &hello, out) {
                Ok(welcome) => {
                    let frame = encode_answer(header, &Ok(Answer::Welcome(welcome)));
                    out.push(Output::Answer { connection, frame });
                }
                Err(refusal) => self.refuse(connection, refusal, out),
            };
        }
        let caller = Caller { connection, eid: header.eid };
        match self.authenticate(caller, header.sequence, frame) {
            Ok(()) => self.on_authentic(caller, header, frame, out),
            Err(refusal) => self.refuse(connection, refusal, out),
        }
    }

    /// Answers what nobody authenticated: coarse, without MAC, and proof of nothing. A MAC here
    /// would let an intruder collect authentic refusals of calls that were served.
    fn refuse(&mut self, connection: u8, mut refusal: Refusal, out: &mut Outputs) {
        self.refused = self.refused.saturating_add(1);
        if let Some(entities) = self.sessions.connection(connection) {
            let hello_free = entities.strangers.refuse(self.now, work(Some(Kind::Hello)));
            if let Refusal::NoResources { next_free } = &mut refusal {
                *next_free = hello_free.max(*next_free); // later by what this refusal costs
            }
        }
        let refusal = self.halted.map_or(refusal, |reason| Refusal::Halted { reason });
        let nobody = Header { kind: 0, code: 0, eid: EntityId(0), sequence: Sequence(0) };
        let frame = encode_answer(nobody, &Err(refusal));
        out.push(Output::Answer { connection, frame });
    }

    /// Whether the frame is the caller's next. From here on its sequence number is used up.
    fn authenticate(
        &mut self,
        caller: Caller,
        sequence: Sequence,
        frame: &Frame,
    ) -> Result<(), Refusal> {
        let session = self.session(caller)?;
        if !is_sealed(frame, &session.keys.calls) {
            return Err(Refusal::BadMac);
        }
        if sequence <= session.sequence {
            return Err(Refusal::Replay);
        }
        session.sequence = sequence;
        Ok(())
    }

    fn on_authentic(&mut self, caller: Caller, header: Header, frame: &Frame, out: &mut Outputs) {
        let kind = Kind::from_number(header.kind);
        self.count(kind);
        let answer = self.admit(caller, kind).and_then(|()| {
            let call = decode_call(frame).map_err(|error| match error {
                FrameError::UnknownAction => Refusal::UnknownAction,
                _ => Refusal::Malformed,
            })?;
            self.serve(caller, &call, out)
        });
        if answer.is_err() {
            self.refused = self.refused.saturating_add(1);
        }
        let mut frame = encode_answer(header, &answer);
        let Ok(place) = self.place(caller) else { return };
        if let Some(session) = &place.session {
            seal(&mut frame, &session.keys.answers);
        }
        if answer == Ok(Answer::Bye) {
            place.session = None;
        }
        out.push(Output::Answer { connection: caller.connection, frame });
    }

    /// Charges the entity's own share, and only beyond it what all share.
    fn admit(&mut self, caller: Caller, kind: Option<Kind>) -> Result<(), Refusal> {
        if let Some(reason) = self.halted {
            return Err(Refusal::Halted { reason });
        }
        let (now, work) = (self.now, work(kind));
        if self.place(caller)?.budget.admit(now, work).is_ok() {
            return Ok(());
        }
        let Err(host_free) = self.host.admit(now, work) else { return Ok(()) };
        let own_free = self.place(caller)?.budget.refuse(now, work);
        Err(Refusal::NoResources { next_free: own_free.min(host_free) })
    }

    /// Charges a write to the hardware counter, where there will be one that wears it out.
    fn admit_write(
        &mut self,
        caller: Caller,
        share: fn(&mut Connection) -> &mut Budget,
    ) -> Result<(), Refusal> {
        if self.config.lease != Lease::Every {
            return Ok(());
        }
        let connection = self.sessions.connection(caller.connection);
        let budget = share(connection.ok_or(Refusal::NotAuthenticated)?);
        budget.admit(self.now, WRITE).map_err(|next_free| Refusal::NoResources { next_free })
    }

    fn permit(&self, caller: Caller, right: Rights) -> Result<(), Refusal> {
        let rights = self.config.rights.get(usize::from(caller.connection));
        let permitted = rights.is_some_and(|rights| rights.include(right));
        permitted.then_some(()).ok_or(Refusal::Denied)
    }

    fn serve(&mut self, caller: Caller, call: &Call, out: &mut Outputs) -> Result<Answer, Refusal> {
        match call {
            Call::Hello(_) => Err(Refusal::Malformed),
            Call::Bye => Ok(Answer::Bye),
            Call::Random => Ok(Answer::Random(self.random.draw())),
            Call::Timestamp => Ok(Answer::Timestamp(self.timestamp())),
            Call::DurationStart => self.duration_start(caller, out),
            Call::DurationStop(tag) => self.duration_stop(caller, *tag),
            Call::Arm(after) => self.arm(caller, *after, out),
            Call::End(tag) => self.end(caller, *tag).map(Answer::Ended),
            Call::ExecAt(exec) => self.exec_at(caller, exec, out),
            Call::Outcome(tag) => self.outcome(caller, *tag).map(Answer::Outcome),
            Call::Attest(attest) => self.attest(caller, attest, out).map(Answer::Attested),
            Call::Last(counter) => Ok(Answer::Last(self.last(*counter))),
            Call::Status => self.status(caller).map(Answer::Status),
            Call::Propose(propose) => self.propose(caller, propose, out).map(Answer::Proposed),
            Call::Decide(tag) => self.decide(caller, *tag).map(Answer::Progress),
            Call::PairKey(other) => self.pair_key(caller, *other, out).map(Answer::PairKey),
        }
    }

    // Local authentication.

    fn on_hello(
        &mut self,
        connection: u8,
        hello: &Hello,
        out: &mut Outputs,
    ) -> Result<Welcome, Refusal> {
        if let Some(reason) = self.halted {
            return Err(Refusal::Halted { reason });
        }
        let now = self.now;
        let entities = self.sessions.connection(connection).ok_or(Refusal::NotAuthenticated)?;
        let work = work(Some(Kind::Hello));
        let admitted = entities.strangers.admit(now, work);
        admitted.map_err(|next_free| Refusal::NoResources { next_free })?;
        self.count(Some(Kind::Hello));
        let own = StaticSecret::from(self.random.draw());
        let shared = shared_secret(&own, hello.public).ok_or(Refusal::NotAuthenticated)?;
        let eid = EntityId(next_name(&mut self.last_eid).ok_or_else(|| self.name_lost(out))?);
        let certificate = *self.keys.certificate();
        let handshake = Handshake {
            entity_public: hello.public,
            wormhole_public: PublicKey::from(&own).to_bytes(),
            challenge: hello.challenge,
            eid,
            certificate,
        };
        let signature = self.keys.welcome(&handshake);
        let session = Session::new(eid, handshake.session_keys(&shared));
        self.sessions.connection(connection).ok_or(Refusal::NotAuthenticated)?.open(session);
        Ok(Welcome { eid, public: handshake.wormhole_public, signature, certificate })
    }

    // Parts that the services share.

    /// Has the distributed part do something, if there is one and nothing is in doubt.
    fn together<R>(
        &mut self,
        out: &mut Outputs,
        act: impl FnOnce(&mut Distributed, &mut Turn<'_>) -> R,
    ) -> Option<R> {
        let all = self.distributed.as_mut().filter(|_| self.halted.is_none())?;
        Some(act(all, &mut Turn { now: self.now, random: &mut self.random, out }))
    }

    fn halt(&mut self, reason: HaltReason, out: &mut Outputs) {
        if self.halted.is_none() {
            self.halted = Some(reason);
            out.push(Output::Halt(reason));
        }
    }

    fn name_lost(&mut self, out: &mut Outputs) -> Refusal {
        let reason = HaltReason::NamesUsedUp;
        self.halt(reason, out);
        Refusal::Halted { reason }
    }

    fn place(&mut self, caller: Caller) -> Result<&mut Place, Refusal> {
        let Caller { connection, eid } = caller;
        self.sessions.place(connection, eid).ok_or(Refusal::NotAuthenticated)
    }

    fn session(&mut self, caller: Caller) -> Result<&mut Session, Refusal> {
        self.place(caller)?.session.as_mut().ok_or(Refusal::NotAuthenticated)
    }

    fn count(&mut self, kind: Option<Kind>) {
        let number = kind.map_or(0, |kind| usize::from(kind as u8));
        if let Some(count) = self.calls.get_mut(number) {
            *count = count.saturating_add(1);
        }
    }
}

/// The `hello` in a frame, if that is one and nothing besides.
fn plain_hello(frame: &Frame) -> Option<Hello> {
    match decode_call(frame) {
        Ok(Call::Hello(hello)) if is_plain(frame) => Some(hello),
        _ => None,
    }
}

/// The name after the last one; none when the numbers are used up.
fn next_name(last: &mut u64) -> Option<u64> {
    *last = last.checked_add(1)?;
    Some(*last)
}

#[cfg(test)]
mod tests;
