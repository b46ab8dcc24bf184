//! The payload's half of the frames: it writes calls and reads answers. No wormhole runs this.

use crate::attestation::{
    Attestation, Heartbeat, InstanceCertificate, InstanceId, ProcessId, RollbackProof, Signature,
};
use crate::core::{Engine, HaltReason, Lock};
use crate::frame::{
    Answer, Call, Decision, EntityId, Frame, FrameError, Header, Kind, Mode, Nanos, Outcome,
    Progress, Proposed, Reader, Refusal, Sequence, Standing, Status, Tag, Timeliness, Timestamp,
    Welcome, Writer, body, frame_of, put_value, take_value,
};

/// The frame of a call, without MAC.
#[must_use]
pub fn encode_call(eid: EntityId, sequence: Sequence, call: &Call) -> Frame {
    let header = Header { kind: call.kind() as u8, code: 0, eid, sequence };
    frame_of(header, |to| put(call, to))
}

/// The answer in a frame. Says nothing about who gave it.
///
/// # Errors
/// When the frame is no answer: see [`FrameError`].
pub fn decode_answer(frame: &Frame) -> Result<Result<Answer, Refusal>, FrameError> {
    let header = Header::take(frame)?;
    let mut from = body(frame)?;
    let answer = if header.code == 0 {
        let kind = Kind::from_number(header.kind).ok_or(FrameError::UnknownKind)?;
        Ok(take_answer(kind, &mut from)?)
    } else {
        Err(take_refusal(header.code, &mut from)?)
    };
    from.finish()?;
    Ok(answer)
}

impl Call {
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Hello(_) => Kind::Hello,
            Self::Bye => Kind::Bye,
            Self::Random => Kind::Random,
            Self::Timestamp => Kind::Timestamp,
            Self::DurationStart => Kind::DurationStart,
            Self::DurationStop(_) => Kind::DurationStop,
            Self::Arm(_) => Kind::Arm,
            Self::End(_) => Kind::End,
            Self::ExecAt(_) => Kind::ExecAt,
            Self::Outcome(_) => Kind::Outcome,
            Self::Attest(_) => Kind::Attest,
            Self::Last(_) => Kind::Last,
            Self::Status => Kind::Status,
            Self::Propose(_) => Kind::Propose,
            Self::Decide(_) => Kind::Decide,
            Self::PairKey(_) => Kind::PairKey,
        }
    }
}

fn put(call: &Call, to: &mut Writer<'_>) {
    match call {
        Call::Hello(hello) => {
            to.bytes(&hello.public);
            to.bytes(&hello.challenge);
        }
        Call::DurationStop(tag) | Call::End(tag) | Call::Outcome(tag) => to.u64(tag.0),
        Call::Arm(after) => to.u64(after.0),
        Call::ExecAt(exec) => {
            to.u8(exec.action as u8);
            to.u64(exec.not_before.0);
            to.u64(exec.within.0);
        }
        Call::Attest(attest) => {
            to.u8(attest.counter as u8);
            to.u64(attest.epoch.0);
            to.u64(attest.expected_old.0);
            to.u64(attest.new.0);
            to.bytes(&attest.digest.0);
        }
        Call::Last(counter) => to.u8(*counter as u8),
        Call::Bye | Call::Random | Call::Timestamp | Call::DurationStart | Call::Status => {}
        Call::Propose(propose) => {
            propose.agreement.put(to);
            put_value(propose.value, to);
        }
        Call::Decide(tag) => to.u64(tag.0),
        Call::PairKey(other) => other.put(to),
    }
}

fn take_answer(kind: Kind, from: &mut Reader<'_>) -> Result<Answer, FrameError> {
    Ok(match kind {
        Kind::Hello => Answer::Welcome(Welcome {
            eid: EntityId(from.u64()?),
            public: from.bytes()?,
            signature: Signature(from.bytes()?),
            certificate: InstanceCertificate::take(from)?,
        }),
        Kind::Bye => Answer::Bye,
        Kind::Random => Answer::Random(from.bytes()?),
        Kind::Timestamp => Answer::Timestamp(Timestamp {
            earliest: Nanos(from.u64()?),
            latest: Nanos(from.u64()?),
            synchronised: from.flag()?,
        }),
        Kind::DurationStart | Kind::Arm | Kind::ExecAt => Answer::Tagged(Tag(from.u64()?)),
        Kind::DurationStop => {
            Answer::Duration { elapsed: Nanos(from.u64()?), error: Nanos(from.u64()?) }
        }
        Kind::End => Answer::Ended(take_timeliness(from)?),
        Kind::Outcome => Answer::Outcome(take_outcome(from)?),
        Kind::Attest => Answer::Attested(Attestation::take(from)?),
        Kind::Last => Answer::Last(match from.flag()? {
            true => Some(Attestation::take(from)?),
            false => None,
        }),
        Kind::Status => Answer::Status(take_status(from)?),
        Kind::Propose => {
            let tag = Tag(from.u64()?);
            Answer::Proposed(Proposed { tag, standing: Standing::take(from)? })
        }
        Kind::Decide => Answer::Progress(match from.u8()? {
            0 => Progress::Running { ends_by: Nanos(from.u64()?) },
            1 => Progress::Ended(Decision::take(from)?),
            2 => Progress::GivenUp,
            _ => return Err(FrameError::UnknownCode),
        }),
        Kind::PairKey => Answer::PairKey(take_value(from)?),
    })
}

fn take_timeliness(from: &mut Reader<'_>) -> Result<Timeliness, FrameError> {
    Ok(match (from.flag()?, Nanos(from.u64()?)) {
        (false, took) => Timeliness::Timely { took },
        (true, by) => Timeliness::Late { by },
    })
}

fn take_outcome(from: &mut Reader<'_>) -> Result<Outcome, FrameError> {
    Ok(match from.u8()? {
        0 => Outcome::Pending,
        1 => Outcome::Done {
            at: Nanos(from.u64()?),
            heartbeat: match from.flag()? {
                true => Some(Heartbeat {
                    at_nanos: from.u64()?,
                    number: from.u64()?,
                    signature: Signature(from.bytes()?),
                }),
                false => None,
            },
        },
        2 => Outcome::Missed,
        3 => Outcome::Refused,
        _ => return Err(FrameError::UnknownCode),
    })
}

fn take_status(from: &mut Reader<'_>) -> Result<Status, FrameError> {
    let mode = match (from.u8()?, Nanos(from.u64()?)) {
        (0, Nanos(0)) => Mode::Local,
        (1, Nanos(0)) => Mode::Distributed(Engine::Quorum),
        (2, bound) if bound > Nanos(0) => Mode::Distributed(Engine::RealTime { bound }),
        _ => return Err(FrameError::UnknownCode),
    };
    let instance = InstanceId(from.bytes()?);
    let process = ProcessId(from.bytes()?);
    let rollback_proof = RollbackProof::take(from)?;
    let lock = Lock::take(from)?;
    let [entities, durations, armed, actions] = from.bytes()?;
    let mut calls = [0; 17];
    for count in &mut calls {
        *count = from.u64()?;
    }
    Ok(Status {
        mode,
        instance,
        process,
        rollback_proof,
        lock,
        entities,
        durations,
        armed,
        actions,
        calls,
        refused: from.u64()?,
        protections: from.u64()?,
    })
}

fn take_refusal(number: u8, from: &mut Reader<'_>) -> Result<Refusal, FrameError> {
    Ok(match number {
        1 => Refusal::NotAuthenticated,
        2 => Refusal::BadMac,
        3 => Refusal::Replay,
        4 => Refusal::Malformed,
        5 => Refusal::UnknownTag,
        6 => Refusal::Conflict,
        7 => Refusal::Exhausted,
        8 => Refusal::NoResources { next_free: Nanos(from.u64()?) },
        9 => Refusal::NotDistributed,
        10 => Refusal::UnknownAction,
        11 => Refusal::TooFar,
        12 => Refusal::Locked,
        13 => Refusal::Halted { reason: take_halt_reason(from)? },
        14 => Refusal::NotSynchronised,
        15 => Refusal::Denied,
        16 => Refusal::NotInElist,
        17 => Refusal::TstartExpired,
        _ => return Err(FrameError::UnknownCode),
    })
}

fn take_halt_reason(from: &mut Reader<'_>) -> Result<HaltReason, FrameError> {
    match from.u8()? {
        1 => Ok(HaltReason::ClockWentBack),
        2 => Ok(HaltReason::Store),
        3 => Ok(HaltReason::NamesUsedUp),
        4 => Ok(HaltReason::NotResumable),
        5 => Ok(HaltReason::WokeLate),
        _ => Err(FrameError::UnknownCode),
    }
}
