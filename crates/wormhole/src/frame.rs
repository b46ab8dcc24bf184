//! Calls and answers: frames of one fixed size, written and read by hand.
//!
//! **Guarantee:** reading is total: any 512 bytes are a frame of exactly one meaning or an error,
//! without panic and without allocation. A frame that was read writes back to the same bytes.
//!
//! | bytes | call | answer |
//! |---|---|---|
//! | 0 | version, 1 | version, 1 |
//! | 1 | kind | kind of the call |
//! | 2 | 0 | 0, or the number of a [`Refusal`] |
//! | 3 | 0 | 0 |
//! | 4..12 | entity | entity |
//! | 12..20 | sequence number | that of the call |
//! | 20..480 | body, then zeros | body, then zeros |
//! | 480..512 | MAC of all before | MAC of all before |
//!
//! Integers are little-endian. The MAC is keyed BLAKE3 under the session's key of that direction;
//! zeros in `hello`, in its answer (which is signed), and in refusals of what was not
//! authenticated: those prove nothing.

mod agreement;
mod answers;
mod bytes;
mod calls;
mod control;
mod said;

pub use agreement::{
    Agreement, Decision, DecisionFunction, ELIST_MAX, Entity, Progress, ProposeCall, Proposed,
    Standing, Value,
};
pub(crate) use agreement::{put_value, take_value};
pub use answers::{Answer, Mode, Outcome, Refusal, Status, Timeliness, Timestamp, Welcome};
pub use bytes::FrameError;
pub(crate) use bytes::{Reader, Writer};
pub use calls::{Action, AttestCall, Call, ExecCall, Hello, Kind};
pub use control::WORMHOLES_MAX;
pub(crate) use control::{
    Ballot, ControlHeader, Greeting, KeyWish, Life, Lives, Message, Poll, Reading, Report, Wish,
    control_header, decode_control, encode_control,
};
pub(crate) use said::Said;

use subtle::ConstantTimeEq as _;

use crate::keys::MacKey;

/// Size of a call's frame.
pub const REQUEST_BYTES: usize = 512;
/// Size of an answer's frame.
pub const ANSWER_BYTES: usize = 512;
/// A call or an answer.
pub type Frame = [u8; REQUEST_BYTES];

const VERSION: u8 = 1;
const HEADER_BYTES: usize = 20;
const MAC_BYTES: usize = 32;

/// Nanoseconds since the start of the wormhole's process, or between two instants.
///
/// The loop reads CLOCK_BOOTTIME: it goes on while the machine is suspended, so that a deadline
/// which passed in its sleep is late. CLOCK_MONOTONIC would stand still and call it timely.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Nanos(pub u64);

impl Nanos {
    /// The largest, where nobody knows the instant.
    pub const NEVER: Self = Self(u64::MAX);

    /// That many milliseconds.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// The instant `span` later, [`Self::NEVER`] at most.
    #[must_use]
    pub const fn after(self, span: Self) -> Self {
        Self(self.0.saturating_add(span.0))
    }

    /// The span from `earlier`, 0 if that is not earlier.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Self {
        Self(self.0.saturating_sub(earlier.0))
    }
}

/// An entity that the wormhole authenticated to: a session of one process. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntityId(pub u64);

/// A measurement, an armed deadline or a planned action of one entity. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tag(pub u64);

/// The number of a call within its session, from 1: each is above the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sequence(pub u64);

/// What stands before the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What is called or answered; not yet known to be a [`Kind`].
    pub kind: u8,
    /// 0, or the number of a refusal.
    pub code: u8,
    /// Whose call.
    pub eid: EntityId,
    /// Which call of theirs.
    pub sequence: Sequence,
}

impl Header {
    /// Reads the header of a frame.
    ///
    /// # Errors
    /// Another version, or bytes that must be zero and are not.
    pub fn take(frame: &Frame) -> Result<Self, FrameError> {
        let mut from = Reader::new(frame);
        if from.u8()? != VERSION {
            return Err(FrameError::Version);
        }
        let (kind, code) = (from.u8()?, from.u8()?);
        if from.u8()? != 0 {
            return Err(FrameError::Padding);
        }
        let (eid, sequence) = (EntityId(from.u64()?), Sequence(from.u64()?));
        Ok(Self { kind, code, eid, sequence })
    }

    fn put(&self, to: &mut Writer<'_>) {
        to.u8(VERSION);
        to.u8(self.kind);
        to.u8(self.code);
        to.u8(0);
        to.u64(self.eid.0);
        to.u64(self.sequence.0);
    }
}

/// The call in a frame. Says nothing about who made it.
///
/// # Errors
/// When the frame is no call: see [`FrameError`].
pub fn decode_call(frame: &Frame) -> Result<Call, FrameError> {
    let header = Header::take(frame)?;
    if header.code != 0 {
        return Err(FrameError::UnknownCode);
    }
    let kind = Kind::from_number(header.kind).ok_or(FrameError::UnknownKind)?;
    let mut from = body(frame)?;
    let call = Call::take(kind, &mut from)?;
    from.finish()?;
    Ok(call)
}

/// The frame of an answer, without MAC. `header.code` is set by `answer`.
#[must_use]
pub fn encode_answer(header: Header, answer: &Result<Answer, Refusal>) -> Frame {
    match answer {
        Ok(answer) => frame_of(Header { code: 0, ..header }, |to| answer.put(to)),
        Err(refusal) => frame_of(Header { code: refusal.number(), ..header }, |to| refusal.put(to)),
    }
}

/// Puts the MAC under `key` at the frame's end.
pub(crate) fn seal(frame: &mut Frame, key: &MacKey) {
    if let Some((said, mac)) = frame.split_last_chunk_mut::<MAC_BYTES>() {
        *mac = *blake3::keyed_hash(&key.0, said).as_bytes();
    }
}

/// Whether the frame ends with its MAC under `key`; takes the same time wherever they differ.
pub(crate) fn is_sealed(frame: &Frame, key: &MacKey) -> bool {
    frame
        .split_last_chunk::<MAC_BYTES>()
        .is_some_and(|(said, mac)| blake3::keyed_hash(&key.0, said).as_bytes().ct_eq(mac).into())
}

/// Whether the frame is in nobody's name: no entity, no number, no MAC.
pub(crate) fn is_plain(frame: &Frame) -> bool {
    let is_nobody = |header: Header| header.eid.0 == 0 && header.sequence.0 == 0;
    Header::take(frame).is_ok_and(is_nobody) && frame.last_chunk() == Some(&[0; MAC_BYTES])
}

/// A frame with this header and body, without MAC.
pub(crate) fn frame_of(header: Header, put_body: impl FnOnce(&mut Writer<'_>)) -> Frame {
    let mut frame = [0; REQUEST_BYTES];
    let mut to = Writer::new(&mut frame);
    header.put(&mut to);
    put_body(&mut to);
    frame
}

/// What stands between header and MAC.
pub(crate) fn body(frame: &Frame) -> Result<Reader<'_>, FrameError> {
    frame.get(HEADER_BYTES..REQUEST_BYTES - MAC_BYTES).map(Reader::new).ok_or(FrameError::Short)
}
