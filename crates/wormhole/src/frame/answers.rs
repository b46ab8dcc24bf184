//! What a wormhole answers. (How a payload reads it: [`client`](crate::client).)

use super::{EntityId, Nanos, Progress, Proposed, Tag, Writer, put_value};
use crate::attestation::{
    Attestation, Heartbeat, InstanceCertificate, InstanceId, ProcessId, RollbackProof, Signature,
};
use crate::core::{Engine, HaltReason, Lock};

/// One answer that is no refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To `hello`: the session exists.
    Welcome(Welcome),
    /// To `bye`: it does no more.
    Bye,
    /// To `random`: nobody else has these bytes.
    Random([u8; 32]),
    /// To `timestamp`.
    Timestamp(Timestamp),
    /// To `duration_start`, `arm` and `exec_at`: by this name ask for the rest.
    Tagged(Tag),
    /// To `duration_stop`: the time between the wormhole's readings of its clock for the two calls.
    Duration {
        /// As measured.
        elapsed: Nanos,
        /// How far it may be from the truth, either way.
        error: Nanos,
    },
    /// To `end`.
    Ended(Timeliness),
    /// To `outcome`.
    Outcome(Outcome),
    /// To `attest`: the value is bound.
    Attested(Attestation),
    /// To `last`: the whole last attestation of that counter in this instance.
    Last(Option<Attestation>),
    /// To `status`.
    Status(Status),
    /// To `propose`.
    Proposed(Proposed),
    /// To `decide`.
    Progress(Progress),
    /// To `pair_key`: none, as long as the other has not asked.
    PairKey(Option<[u8; 32]>),
}

/// The wormhole's part of the local authentication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// The entity's name from now on.
    pub eid: EntityId,
    /// The wormhole's X25519 key of this session.
    pub public: [u8; 32],
    /// By the provisioned key, over everything that was said.
    pub signature: Signature,
    /// Which instance answers.
    pub certificate: InstanceCertificate,
}

/// An interval that contains the instant, between call and answer, at which the wormhole read its
/// clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timestamp {
    /// Not before.
    pub earliest: Nanos,
    /// Not after.
    pub latest: Nanos,
    /// Whether other wormholes' timestamps are comparable. False in the local mode, whose clock
    /// began with its process.
    pub synchronised: bool,
}

/// Whether something was over by its deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timeliness {
    /// It was; the deadline itself is in time.
    Timely {
        /// How long it took.
        took: Nanos,
    },
    /// It was not.
    Late {
        /// How much too long.
        by: Nanos,
    },
}

/// What became of a planned action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Its window is not over, and it is not executed.
    Pending,
    /// It was executed inside its window.
    Done {
        /// When.
        at: Nanos,
        /// What a [`SignedHeartbeat`](super::Action::SignedHeartbeat) made.
        heartbeat: Option<Heartbeat>,
    },
    /// The wormhole woke after the window: no heartbeat was made; but a lock was put on all the same.
    Missed,
    /// Its time came when it was not allowed any more.
    Refused,
}

/// Whether the wormholes of the cluster talk to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// They do not: counters, random numbers, local time.
    Local,
    /// They do: agreement, in this way, and a common time as well.
    Distributed(Engine),
}

/// How the wormhole is. (A halted one answers [`Refusal::Halted`] to this too.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Local or distributed.
    pub mode: Mode,
    /// The instance that answers.
    pub instance: InstanceId,
    /// The life of its process, which heartbeats name.
    pub process: ProcessId,
    /// Whether it may outlive a process.
    pub rollback_proof: RollbackProof,
    /// Whether it attests.
    pub lock: Lock,
    /// Sessions that exist on this host.
    pub entities: u8,
    /// Measurements of the asking entity.
    pub durations: u8,
    /// Its armed deadlines.
    pub armed: u8,
    /// Its planned actions, those whose outcome it has not asked for included.
    pub actions: u8,
    /// Authenticated calls and `hello`s by the number of their kind; at 0 those of no kind.
    pub calls: [u64; 17],
    /// Calls that were refused for whatever reason, unauthenticated ones included.
    pub refused: u64,
    /// The protections of the process that are in force, as bits.
    pub protections: u64,
}

/// Why a call is not served. (In words: [`client`](crate::client).)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No session of this connection; also everything that is no call at all.
    NotAuthenticated,
    /// The frame was not made with the session's key.
    BadMac,
    /// The sequence number is not above the last.
    Replay,
    /// The frame is authentic and has no meaning.
    Malformed,
    /// The entity has nothing of this kind under this tag, or not any more.
    UnknownTag,
    /// The counter does not stand where the caller thinks, or would not rise; or an agreement names a
    /// process of no member.
    Conflict,
    /// The counter has no values left in this epoch.
    Exhausted,
    /// Not now: the entity's slots or its share of time are used up.
    NoResources {
        /// When to ask again.
        next_free: Nanos,
    },
    /// This mode has no such service.
    NotDistributed,
    /// No action is registered under this number.
    UnknownAction,
    /// Further ahead than the wormhole plans, or than an agreement may start.
    TooFar,
    /// The instance attests no more.
    Locked,
    /// The wormhole stopped itself.
    Halted {
        /// Why.
        reason: HaltReason,
    },
    /// The clocks of the wormholes are not synchronised. Of the distributed mode.
    NotSynchronised,
    /// The connection has no right to that, ever.
    Denied,
    /// The agreement's list does not name the caller.
    NotInElist,
    /// The agreement's time is so long over that nobody here may know what became of it.
    TstartExpired,
}

impl Answer {
    pub(super) fn put(&self, to: &mut Writer<'_>) {
        match self {
            Self::Welcome(welcome) => {
                to.u64(welcome.eid.0);
                to.bytes(&welcome.public);
                to.bytes(&welcome.signature.0);
                welcome.certificate.put(to);
            }
            Self::Bye => {}
            Self::Random(bytes) => to.bytes(bytes),
            Self::Timestamp(timestamp) => {
                to.u64(timestamp.earliest.0);
                to.u64(timestamp.latest.0);
                to.u8(timestamp.synchronised.into());
            }
            Self::Tagged(tag) => to.u64(tag.0),
            Self::Duration { elapsed, error } => {
                to.u64(elapsed.0);
                to.u64(error.0);
            }
            Self::Ended(timeliness) => timeliness.put(to),
            Self::Outcome(outcome) => outcome.put(to),
            Self::Attested(attestation) => attestation.put(to),
            Self::Last(last) => {
                to.u8(last.is_some().into());
                if let Some(attestation) = last {
                    attestation.put(to);
                }
            }
            Self::Status(status) => status.put(to),
            Self::Proposed(proposed) => {
                to.u64(proposed.tag.0);
                to.u8(proposed.standing as u8);
            }
            Self::Progress(progress) => progress.put(to),
            Self::PairKey(key) => put_value(*key, to),
        }
    }
}

impl Progress {
    fn put(self, to: &mut Writer<'_>) {
        match self {
            Self::Running { ends_by } => {
                to.u8(0);
                to.u64(ends_by.0);
            }
            Self::Ended(decision) => {
                to.u8(1);
                decision.put(to);
            }
            Self::GivenUp => to.u8(2),
        }
    }
}

impl Timeliness {
    fn put(self, to: &mut Writer<'_>) {
        let (code, span) = match self {
            Self::Timely { took } => (0, took),
            Self::Late { by } => (1, by),
        };
        to.u8(code);
        to.u64(span.0);
    }
}

impl Outcome {
    fn put(&self, to: &mut Writer<'_>) {
        match self {
            Self::Pending => to.u8(0),
            Self::Done { at, heartbeat } => {
                to.u8(1);
                to.u64(at.0);
                to.u8(heartbeat.is_some().into());
                if let Some(heartbeat) = heartbeat {
                    to.u64(heartbeat.at_nanos);
                    to.u64(heartbeat.number);
                    to.bytes(&heartbeat.signature.0);
                }
            }
            Self::Missed => to.u8(2),
            Self::Refused => to.u8(3),
        }
    }
}

impl Status {
    fn put(&self, to: &mut Writer<'_>) {
        let (mode, bound) = match self.mode {
            Mode::Local => (0, Nanos(0)),
            Mode::Distributed(Engine::Quorum) => (1, Nanos(0)),
            Mode::Distributed(Engine::RealTime { bound }) => (2, bound),
        };
        to.u8(mode);
        to.u64(bound.0);
        to.bytes(&self.instance.0);
        to.bytes(&self.process.0);
        to.u8(self.rollback_proof as u8);
        to.u8(self.lock as u8);
        to.bytes(&[self.entities, self.durations, self.armed, self.actions]);
        for count in self.calls {
            to.u64(count);
        }
        to.u64(self.refused);
        to.u64(self.protections);
    }
}

impl Refusal {
    pub(super) fn number(self) -> u8 {
        match self {
            Self::NotAuthenticated => 1,
            Self::BadMac => 2,
            Self::Replay => 3,
            Self::Malformed => 4,
            Self::UnknownTag => 5,
            Self::Conflict => 6,
            Self::Exhausted => 7,
            Self::NoResources { .. } => 8,
            Self::NotDistributed => 9,
            Self::UnknownAction => 10,
            Self::TooFar => 11,
            Self::Locked => 12,
            Self::Halted { .. } => 13,
            Self::NotSynchronised => 14,
            Self::Denied => 15,
            Self::NotInElist => 16,
            Self::TstartExpired => 17,
        }
    }

    pub(super) fn put(self, to: &mut Writer<'_>) {
        match self {
            Self::NoResources { next_free } => to.u64(next_free.0),
            Self::Halted { reason } => to.u8(reason as u8),
            _ => {}
        }
    }
}
