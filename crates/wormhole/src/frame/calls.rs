//! What an entity can ask for. (How a payload writes it: [`client`](crate::client).)

use super::agreement::take_value;
use super::{Agreement, Entity, FrameError, Nanos, ProposeCall, Reader, Tag};
use crate::attestation::{Counter, CounterValue, Digest, Epoch};

/// The calls by their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Local authentication.
    Hello = 1,
    /// End of a session.
    Bye = 2,
    /// Random bytes.
    Random = 3,
    /// The time.
    Timestamp = 4,
    /// A measurement begins.
    DurationStart = 5,
    /// A measurement ends.
    DurationStop = 6,
    /// A deadline is set.
    Arm = 7,
    /// What had the deadline is over.
    End = 8,
    /// An action is planned.
    ExecAt = 9,
    /// What became of an action.
    Outcome = 10,
    /// A counter is bound.
    Attest = 11,
    /// What a counter was bound to last.
    Last = 12,
    /// How the wormhole is.
    Status = 13,
    /// Block agreement, of the distributed mode.
    Propose = 14,
    /// Its result, of the distributed mode.
    Decide = 15,
    /// A key with another process, of the distributed mode.
    PairKey = 16,
}

impl Kind {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 16] = [
        Self::Hello,
        Self::Bye,
        Self::Random,
        Self::Timestamp,
        Self::DurationStart,
        Self::DurationStop,
        Self::Arm,
        Self::End,
        Self::ExecAt,
        Self::Outcome,
        Self::Attest,
        Self::Last,
        Self::Status,
        Self::Propose,
        Self::Decide,
        Self::PairKey,
    ];

    /// The call with this number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == number)
    }
}

/// One call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Authenticate this wormhole to me, and make a session.
    Hello(Hello),
    /// Forget my session and all its slots.
    Bye,
    /// Give me 32 random bytes.
    Random,
    /// What time is it?
    Timestamp,
    /// Begin to measure.
    DurationStart,
    /// How long since the measurement began?
    DurationStop(Tag),
    /// Something must be over after so many nanoseconds.
    Arm(Nanos),
    /// It is over: in time?
    End(Tag),
    /// Execute an action in a window of time.
    ExecAt(ExecCall),
    /// What became of the action?
    Outcome(Tag),
    /// Bind a counter value.
    Attest(AttestCall),
    /// What was this counter bound to last?
    Last(Counter),
    /// How are you?
    Status,
    /// Take part in an agreement. Of the distributed mode.
    Propose(ProposeCall),
    /// What was agreed?
    Decide(Tag),
    /// Give me and that process of another host a key, as soon as it asks for one with me.
    PairKey(Entity),
}

/// The entity's part of the local authentication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The entity's X25519 key.
    pub public: [u8; 32],
    /// Fresh bytes that the wormhole's signature must cover.
    pub challenge: [u8; 32],
}

/// A wish to bind a counter value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttestCall {
    /// Which counter.
    pub counter: Counter,
    /// The epoch: that of the counter, or a later one.
    pub epoch: Epoch,
    /// Where the caller thinks the counter stands in that epoch; 0 in a new one.
    pub expected_old: CounterValue,
    /// The value to bind, above the old one.
    pub new: CounterValue,
    /// What to bind it to.
    pub digest: Digest,
}

/// A wish to have an action executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExecCall {
    /// Which of the registered ones.
    pub action: Action,
    /// Not before this instant of the wormhole's clock.
    pub not_before: Nanos,
    /// And not later than so long after it.
    pub within: Nanos,
}

/// The registered actions: never code of the payload's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Action {
    /// No more attestations in this instance.
    FailSafeLock = 1,
    /// The same, and the instance key is erased.
    EraseKey = 2,
    /// The instance key signs the time.
    SignedHeartbeat = 3,
}

impl Action {
    /// The action with this number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::FailSafeLock),
            2 => Some(Self::EraseKey),
            3 => Some(Self::SignedHeartbeat),
            _ => None,
        }
    }
}

impl Call {
    pub(super) fn take(kind: Kind, from: &mut Reader<'_>) -> Result<Self, FrameError> {
        Ok(match kind {
            Kind::Hello => Self::Hello(Hello { public: from.bytes()?, challenge: from.bytes()? }),
            Kind::Bye => Self::Bye,
            Kind::Random => Self::Random,
            Kind::Timestamp => Self::Timestamp,
            Kind::DurationStart => Self::DurationStart,
            Kind::DurationStop => Self::DurationStop(Tag(from.u64()?)),
            Kind::Arm => Self::Arm(Nanos(from.u64()?)),
            Kind::End => Self::End(Tag(from.u64()?)),
            Kind::ExecAt => Self::ExecAt(ExecCall {
                action: Action::from_number(from.u8()?).ok_or(FrameError::UnknownAction)?,
                not_before: Nanos(from.u64()?),
                within: Nanos(from.u64()?),
            }),
            Kind::Outcome => Self::Outcome(Tag(from.u64()?)),
            Kind::Attest => Self::Attest(AttestCall {
                counter: take_counter(from)?,
                epoch: Epoch(from.u64()?),
                expected_old: CounterValue(from.u64()?),
                new: CounterValue(from.u64()?),
                digest: Digest(from.bytes()?),
            }),
            Kind::Last => Self::Last(take_counter(from)?),
            Kind::Status => Self::Status,
            Kind::Propose => {
                let agreement = Agreement::take(from)?;
                Self::Propose(ProposeCall { agreement, value: take_value(from)? })
            }
            Kind::Decide => Self::Decide(Tag(from.u64()?)),
            Kind::PairKey => Self::PairKey(Entity::take(from)?),
        })
    }
}

fn take_counter(from: &mut Reader<'_>) -> Result<Counter, FrameError> {
    Counter::from_number(from.u8()?).ok_or(FrameError::UnknownCounter)
}
