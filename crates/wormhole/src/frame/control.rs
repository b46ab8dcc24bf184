//! What wormholes say to each other: frames of the same fixed size, each for one reader.
//!
//! **Guarantee:** as for calls, reading is total and a message has one frame.
//!
//! | bytes | |
//! |---|---|
//! | 0 | version, 1 |
//! | 1 | kind |
//! | 2..4, 4..6 | from, to: members of the cluster |
//! | 6..8 | 0 |
//! | 8..16 | sequence number; 0 in a greeting |
//! | 16..480 | body, then zeros |
//! | 480..512 | MAC of all before |
//!
//! The MAC of a greeting is under the key that two wormholes share for life, that of any other message
//! under the key of two of their processes in one direction.

use super::agreement::{put_value, take_value};
use super::said::Said;
use super::{
    Agreement, Decision, Entity, Frame, FrameError, Nanos, REQUEST_BYTES, Reader, Value, Writer,
};
use crate::attestation::ReplicaId;

/// Wormholes of one cluster.
pub const WORMHOLES_MAX: usize = 16;

const VERSION: u8 = 1;
const HEADER_BYTES: usize = 16;
const MAC_BYTES: usize = 32;

/// One life of a wormhole: a name of its process, drawn at its start. 0 is nobody's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Life(pub(crate) u64);

impl Life {
    pub(crate) const UNKNOWN: Self = Self(0);
}

/// Of each member, the life that somebody knows.
pub(crate) type Lives = [Life; WORMHOLES_MAX];

/// What stands before the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ControlHeader {
    pub(crate) from: ReplicaId,
    pub(crate) to: ReplicaId,
    pub(crate) sequence: u64,
}

/// An attempt to decide: attempts have an order, and no two processes make the same one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ballot {
    pub(crate) number: u64,
    pub(crate) life: Life,
}

/// How two processes come to share keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Greeting {
    /// Who greets.
    pub(crate) life: Life,
    /// Fresh bytes that go into the keys.
    pub(crate) nonce: [u8; 32],
    /// Those of the greeted, as last heard; zeros if never.
    pub(crate) echo: [u8; 32],
    /// Whether the greeter has keys from these two: then no answer is due.
    pub(crate) has_keys: bool,
}

/// A question for the time; and for the lease of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Poll {
    /// The asker's clock when it asked.
    pub(crate) sent: Nanos,
    pub(crate) wish: Wish,
    /// The latest common time that the asker ever knew of; of a founding, where the new one is to begin.
    pub(crate) known: Nanos,
}

/// What a poll asks for beyond the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Wish {
    Nothing = 0,
    /// To be the only one whose clock the common time follows.
    Lease = 1,
    /// The same, by one who does not know the common time and so cannot lead it.
    BareLease = 2,
    /// The same, to begin a common time where there is none any more.
    Founding = 3,
    /// Never wished: a bare lease is granted, and so would a founding be.
    Ready = 4,
}

/// The answer to a poll, and what the answering wormhole knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reading {
    /// Of the poll.
    pub(crate) sent: Nanos,
    /// What is granted of its wish.
    pub(crate) granted: Wish,
    /// The common time now, and how long ago its lease was held; none if not synchronised.
    pub(crate) time: Option<(Nanos, Nanos, Nanos)>,
    /// The latest common time that the answering one ever knew of.
    pub(crate) known: Nanos,
    pub(crate) report: Report,
}

/// What must be known of others before one may vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Report {
    /// Whether the reporter may vote.
    pub(crate) has_joined: bool,
    /// Whether it joined when it listened to others than now: then a life that is over may have decided
    /// with it.
    pub(crate) is_elder: bool,
    /// The latest `tstart` of any agreement that the reporter, or one it relies on, knew.
    pub(crate) fence: Nanos,
    /// Whom the reporter listens to.
    pub(crate) lives: Lives,
}

/// That a process wishes for a key with another one, of an earlier host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyWish {
    pub(crate) from: Entity,
    pub(crate) to: Entity,
    /// Above those of earlier wishes of this life.
    pub(crate) number: u64,
    pub(crate) nonce: [u8; 32],
}

impl KeyWish {
    pub(crate) const BYTES: usize = 6 + 6 + 8 + 32;

    pub(crate) fn put(&self, to: &mut Writer<'_>) {
        self.from.put(to);
        self.to.put(to);
        to.u64(self.number);
        to.bytes(&self.nonce);
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, FrameError> {
        let (own, to) = (Entity::take(from)?, Entity::take(from)?);
        Ok(Self { from: own, to, number: from.u64()?, nonce: from.bytes()? })
    }
}

/// One message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    Greeting(Greeting),
    Poll(Poll),
    Reading(Reading),
    /// What the process in a place of the list proposed; after the place, which host is charged.
    Proposal(Agreement, [u8; 2], Option<Value>),
    /// Phase 1: take part in no attempt before this one. The agreement is charged to that host.
    Prepare(Agreement, u8, Ballot, Lives),
    /// Its answer: the attempt that the sender is bound to, and what it voted for last.
    Promise(Agreement, Ballot, Option<(Ballot, Decision)>),
    /// Phase 2: vote. Charged likewise.
    Accept(Agreement, u8, Ballot, Lives, Decision),
    /// Its answer.
    Accepted(Agreement, Ballot),
    /// A majority voted for it.
    Decided(Agreement, Decision),
    /// A wish, said again until it is answered.
    KeyWish(KeyWish),
    /// Its answer: the last part of the key.
    KeyGiven(KeyWish, [u8; 32]),
    /// By rounds: in this one, what was proposed. Charged as above.
    Round(Agreement, u8, u8, Said),
}

impl Message {
    fn kind(&self) -> u8 {
        match self {
            Self::Greeting(_) => 1,
            Self::Poll(_) => 2,
            Self::Reading(_) => 3,
            Self::Proposal(..) => 4,
            Self::Prepare(..) => 5,
            Self::Promise(..) => 6,
            Self::Accept(..) => 7,
            Self::Accepted(..) => 8,
            Self::Decided(..) => 9,
            Self::KeyWish(..) => 10,
            Self::KeyGiven(..) => 11,
            Self::Round(..) => 12,
        }
    }

    fn put(&self, to: &mut Writer<'_>) {
        match self {
            Self::Greeting(greeting) => {
                to.u64(greeting.life.0);
                to.bytes(&greeting.nonce);
                to.bytes(&greeting.echo);
                to.u8(greeting.has_keys.into());
            }
            Self::Poll(poll) => {
                to.u64(poll.sent.0);
                to.u8(poll.wish as u8);
                to.u64(poll.known.0);
            }
            Self::Reading(reading) => reading.put(to),
            Self::Proposal(agreement, place_and_charged, value) => {
                agreement.put(to);
                to.bytes(place_and_charged);
                put_value(*value, to);
            }
            Self::Prepare(agreement, charged, ballot, lives) => {
                agreement.put(to);
                to.u8(*charged);
                ballot.put(to);
                put_lives(lives, to);
            }
            Self::Promise(agreement, ballot, voted) => {
                agreement.put(to);
                ballot.put(to);
                to.u8(voted.is_some().into());
                if let Some((ballot, decision)) = voted {
                    ballot.put(to);
                    decision.put(to);
                }
            }
            Self::Accept(agreement, charged, ballot, lives, decision) => {
                agreement.put(to);
                to.u8(*charged);
                ballot.put(to);
                put_lives(lives, to);
                decision.put(to);
            }
            Self::Accepted(agreement, ballot) => {
                agreement.put(to);
                ballot.put(to);
            }
            Self::Decided(agreement, decision) => {
                agreement.put(to);
                decision.put(to);
            }
            Self::KeyWish(wish) => wish.put(to),
            Self::KeyGiven(wish, nonce) => {
                wish.put(to);
                to.bytes(nonce);
            }
            Self::Round(agreement, charged, round, said) => {
                agreement.put(to);
                to.bytes(&[*charged, *round]);
                said.put(to);
            }
        }
    }

    fn take(kind: u8, from: &mut Reader<'_>) -> Result<Self, FrameError> {
        Ok(match kind {
            1 => Self::Greeting(Greeting {
                life: Life(from.u64()?),
                nonce: from.bytes()?,
                echo: from.bytes()?,
                has_keys: from.flag()?,
            }),
            2 => Self::Poll(Poll {
                sent: Nanos(from.u64()?),
                wish: Wish::take(from)?,
                known: Nanos(from.u64()?),
            }),
            3 => Self::Reading(Reading::take(from)?),
            4 => Self::Proposal(Agreement::take(from)?, from.bytes()?, take_value(from)?),
            5 => Self::Prepare(
                Agreement::take(from)?,
                from.u8()?,
                Ballot::take(from)?,
                take_lives(from)?,
            ),
            6 => Self::Promise(
                Agreement::take(from)?,
                Ballot::take(from)?,
                match from.flag()? {
                    true => Some((Ballot::take(from)?, Decision::take(from)?)),
                    false => None,
                },
            ),
            7 => Self::Accept(
                Agreement::take(from)?,
                from.u8()?,
                Ballot::take(from)?,
                take_lives(from)?,
                Decision::take(from)?,
            ),
            8 => Self::Accepted(Agreement::take(from)?, Ballot::take(from)?),
            9 => Self::Decided(Agreement::take(from)?, Decision::take(from)?),
            10 => Self::KeyWish(KeyWish::take(from)?),
            11 => Self::KeyGiven(KeyWish::take(from)?, from.bytes()?),
            12 => {
                let (agreement, [charged, round]) = (Agreement::take(from)?, from.bytes()?);
                Self::Round(agreement, charged, round, Said::take(from)?)
            }
            _ => return Err(FrameError::UnknownKind),
        })
    }
}

impl Wish {
    fn take(from: &mut Reader<'_>) -> Result<Self, FrameError> {
        match from.u8()? {
            0 => Ok(Self::Nothing),
            1 => Ok(Self::Lease),
            2 => Ok(Self::BareLease),
            3 => Ok(Self::Founding),
            4 => Ok(Self::Ready),
            _ => Err(FrameError::UnknownCode),
        }
    }
}

impl Reading {
    fn put(&self, to: &mut Writer<'_>) {
        to.u64(self.sent.0);
        to.u8(self.granted as u8);
        to.u8(self.time.is_some().into());
        let (earliest, latest, age) = self.time.unwrap_or_default();
        for time in [earliest, latest, age, self.known, self.report.fence] {
            to.u64(time.0);
        }
        to.u8(self.report.has_joined.into());
        to.u8(self.report.is_elder.into());
        put_lives(&self.report.lives, to);
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, FrameError> {
        let (sent, granted, has_time) = (Nanos(from.u64()?), Wish::take(from)?, from.flag()?);
        let mut times = [Nanos(0); 5];
        for time in &mut times {
            *time = Nanos(from.u64()?);
        }
        let [earliest, latest, age, known, fence] = times;
        let (has_joined, is_elder) = (from.flag()?, from.flag()?);
        let report = Report { has_joined, is_elder, fence, lives: take_lives(from)? };
        let time = match has_time {
            true => Some((earliest, latest, age)),
            false if [earliest, latest, age] == [Nanos(0); 3] => None,
            false => return Err(FrameError::Padding),
        };
        Ok(Self { sent, granted, time, known, report })
    }
}

impl Ballot {
    fn put(self, to: &mut Writer<'_>) {
        to.u64(self.number);
        to.u64(self.life.0);
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, FrameError> {
        Ok(Self { number: from.u64()?, life: Life(from.u64()?) })
    }
}

fn put_lives(lives: &Lives, to: &mut Writer<'_>) {
    for life in lives {
        to.u64(life.0);
    }
}

fn take_lives(from: &mut Reader<'_>) -> Result<Lives, FrameError> {
    let mut lives = [Life::UNKNOWN; WORMHOLES_MAX];
    for life in &mut lives {
        *life = Life(from.u64()?);
    }
    Ok(lives)
}

/// The frame of a message, without MAC.
pub(crate) fn encode_control(header: ControlHeader, message: &Message) -> Frame {
    let mut frame = [0; REQUEST_BYTES];
    let mut to = Writer::new(&mut frame);
    to.bytes(&[VERSION, message.kind()]);
    to.u16(header.from.0);
    to.u16(header.to.0);
    to.u16(0);
    to.u64(header.sequence);
    message.put(&mut to);
    frame
}

/// Who claims to have sent a frame, and to whom.
pub(crate) fn control_header(frame: &Frame) -> Result<ControlHeader, FrameError> {
    let mut from = Reader::new(frame);
    let [version, _] = from.bytes()?;
    if version != VERSION {
        return Err(FrameError::Version);
    }
    let header = (ReplicaId(from.u16()?), ReplicaId(from.u16()?), from.u16()?, from.u64()?);
    match header {
        (from, to, 0, sequence) => Ok(ControlHeader { from, to, sequence }),
        _ => Err(FrameError::Padding),
    }
}

/// What a frame says. Says nothing about who sent it.
pub(crate) fn decode_control(frame: &Frame) -> Result<Message, FrameError> {
    let kind = *frame.get(1).ok_or(FrameError::Short)?;
    let body = frame.get(HEADER_BYTES..REQUEST_BYTES - MAC_BYTES).ok_or(FrameError::Short)?;
    let mut from = Reader::new(body);
    let message = Message::take(kind, &mut from)?;
    from.finish()?;
    Ok(message)
}
