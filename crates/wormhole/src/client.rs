//! The payload's side: a session with the wormhole of this host, and its services as methods.
//!
//! **Guarantee:** what a method returns as `Ok`, or as [`CallError::Refused`], the wormhole said in
//! answer to this very call. Assumes the provisioned key's public half, and that nobody else has
//! this process's memory: who captures the session's keys is this process to the wormhole, and this
//! process then counts as failed.
//!
//! | what may come back | what it means |
//! |---|---|
//! | `Ok` | done |
//! | `Refused` | the wormhole says why not; the session goes on |
//! | any other error | nothing is known about the call; the session is over, say hello again |
//!
//! [`Client::hello`] takes `&mut channel` as well as a channel: who lends it still has it after an
//! error, and says hello again over it. What comes late of an earlier session is passed over there. A
//! session that was given up keeps its place at the wormhole until the connection is closed: after
//! [`ENTITIES_PER_CONNECTION`](crate::core::ENTITIES_PER_CONNECTION) of them no hello is served.

mod deadline;
mod frames;
mod words;

pub use deadline::{Deadline, Verdict};
pub use frames::{decode_answer, encode_call};

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use rustix::net::{RecvFlags, SendFlags};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use crate::attestation::{Attestation, Counter, Forged, InstanceCertificate, Peer, Signature};
use crate::frame::{
    ANSWER_BYTES, Agreement, Answer, AttestCall, Call, Entity, EntityId, ExecCall, Frame, Header,
    Hello, Kind, Nanos, Outcome, Progress, ProposeCall, Proposed, Refusal, Sequence, Status, Tag,
    Timeliness, Timestamp, Value, Welcome, is_plain, is_sealed, seal,
};
use crate::keys::{Handshake, SessionKeys, shared_secret};

/// Longest wait of a [`SeqPacket`] for the wormhole, unless it is told another: longer than that may
/// take for the three exchanges with its hardware counter that one attestation may need.
pub const ANSWER_TIME_MAX: Duration = Duration::from_secs(40);
/// Frames of earlier sessions that [`Client::hello`] passes over.
pub const LATE_FRAMES_MAX: usize = 16;

/// What carries frames to the wormhole and back.
pub trait Channel {
    /// Sends one frame.
    ///
    /// # Errors
    /// When the wormhole cannot be reached: it stopped.
    fn send(&mut self, frame: &Frame) -> io::Result<()>;

    /// Waits for one frame.
    ///
    /// # Errors
    /// When none will come, or something that is no frame came.
    fn receive(&mut self) -> io::Result<Frame>;
}

/// Lent, so that its owner has it back after an error.
impl<C: Channel + ?Sized> Channel for &mut C {
    fn send(&mut self, frame: &Frame) -> io::Result<()> {
        (**self).send(frame)
    }

    fn receive(&mut self) -> io::Result<Frame> {
        (**self).receive()
    }
}

/// One end of a SEQPACKET pair whose other end the wormhole has. Blocks, but for
/// [`ANSWER_TIME_MAX`] at most: then [`io::ErrorKind::TimedOut`].
#[derive(Debug)]
pub struct SeqPacket {
    end: OwnedFd,
    time_max: Duration,
}

impl SeqPacket {
    /// The channel over this end.
    #[must_use]
    pub fn new(end: OwnedFd) -> Self {
        Self { end, time_max: ANSWER_TIME_MAX }
    }

    /// The same, with another limit of a wait.
    #[must_use]
    pub fn with_time_max(self, time_max: Duration) -> Self {
        Self { time_max, ..self }
    }

    /// Waits until the wormhole gives, or has taken, something.
    fn wait(&self, for_what: PollFlags) -> io::Result<()> {
        let start = Instant::now();
        let mut end = [PollFd::new(&self.end, for_what)];
        let ready = retry_on_intr(|| {
            let left = self.time_max.saturating_sub(start.elapsed());
            let seconds = i64::try_from(left.as_secs()).unwrap_or(i64::MAX);
            let left = Timespec { tv_sec: seconds, tv_nsec: left.subsec_nanos().into() };
            poll(&mut end, Some(&left))
        });
        match ready? {
            0 => {
                let what = format!("the wormhole did not answer within {:?}", self.time_max);
                Err(io::Error::new(io::ErrorKind::TimedOut, what))
            }
            _ => Ok(()),
        }
    }
}

impl Channel for SeqPacket {
    fn send(&mut self, frame: &Frame) -> io::Result<()> {
        self.wait(PollFlags::OUT)?;
        // A wormhole that stopped is an error to handle, not a signal to die of.
        let sent = retry_on_intr(|| rustix::net::send(&self.end, frame, SendFlags::NOSIGNAL))?;
        if sent == frame.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }

    fn receive(&mut self) -> io::Result<Frame> {
        self.wait(PollFlags::IN)?;
        let mut frame = [0; ANSWER_BYTES];
        // With this flag the length is that of the packet, even if it did not fit.
        let flags = RecvFlags::TRUNC;
        let (_, length) = retry_on_intr(|| rustix::net::recv(&self.end, &mut frame[..], flags))?;
        match length {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            ANSWER_BYTES => Ok(frame),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

/// A session. One call at a time.
pub struct Client<C> {
    channel: C,
    eid: EntityId,
    keys: SessionKeys,
    sequence: Sequence,
    certificate: InstanceCertificate,
    is_over: bool,
}

impl<C: Channel> Client<C> {
    /// Says hello, and checks that `wormhole` answers and nobody else.
    ///
    /// `entropy`: fresh random bytes, never used before; the session's secrecy rests on them. Answers
    /// to earlier sessions that come late are passed over, [`LATE_FRAMES_MAX`] of them: each may be
    /// waited for as long as the channel waits.
    ///
    /// # Errors
    /// [`HelloError`]; trying again with other entropy may help where it says so, over the same
    /// channel where that was lent.
    pub fn hello(
        mut channel: C,
        wormhole: &Peer,
        entropy: &Zeroizing<[u8; 32]>,
    ) -> Result<Self, HelloError> {
        let secret = derive_secret(entropy);
        let public = PublicKey::from(&secret).to_bytes();
        let challenge = blake3::derive_key("ravelin wormhole client challenge v1", &entropy[..]);
        let hello = Call::Hello(Hello { public, challenge });
        channel.send(&encode_call(EntityId(0), Sequence(0), &hello))?;
        let mut late = None;
        for _ in 0..=LATE_FRAMES_MAX {
            let welcome = match channel.receive().map(|answer| welcome_in(&answer)) {
                Ok(Some(Ok(welcome))) => welcome,
                Ok(Some(Err(refusal))) => return Err(HelloError::Refused(refusal)),
                Ok(None) => {
                    late = late.or(Some(HelloError::NoWelcome));
                    continue;
                }
                // What was passed over says more than that nothing came after it.
                Err(error) => return Err(late.unwrap_or(HelloError::Channel(error))),
            };
            let handshake = Handshake {
                entity_public: public,
                wormhole_public: welcome.public,
                challenge,
                eid: welcome.eid,
                certificate: welcome.certificate,
            };
            match check(wormhole, &handshake, welcome.signature) {
                // Or of a hello that was given up.
                Err(forged) => late = Some(HelloError::Forged(forged)),
                Ok(()) => {
                    let shared = shared_secret(&secret, welcome.public);
                    let shared = shared.ok_or(HelloError::NoWelcome)?;
                    return Ok(Self::new(channel, &handshake, &shared));
                }
            }
        }
        Err(late.unwrap_or(HelloError::NoWelcome))
    }

    fn new(channel: C, handshake: &Handshake, shared: &[u8; 32]) -> Self {
        Self {
            channel,
            eid: handshake.eid,
            keys: handshake.session_keys(shared),
            sequence: Sequence(0),
            certificate: handshake.certificate,
            is_over: false,
        }
    }

    /// Which instance answers: what peers need to check its attestations.
    #[must_use]
    pub fn certificate(&self) -> &InstanceCertificate {
        &self.certificate
    }

    /// Ends the session, and gives the channel back.
    ///
    /// # Errors
    /// [`CallError`]; a channel that was not lent is closed then.
    pub fn bye(mut self) -> Result<C, CallError> {
        match self.call(&Call::Bye)? {
            Answer::Bye => Ok(self.channel),
            _ => Err(self.lost()),
        }
    }

    /// 32 random bytes.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn random(&mut self) -> Result<[u8; 32], CallError> {
        match self.call(&Call::Random)? {
            Answer::Random(bytes) => Ok(bytes),
            _ => Err(self.lost()),
        }
    }

    /// The time of the wormhole's clock.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn timestamp(&mut self) -> Result<Timestamp, CallError> {
        match self.call(&Call::Timestamp)? {
            Answer::Timestamp(timestamp) => Ok(timestamp),
            _ => Err(self.lost()),
        }
    }

    /// Begins a measurement.
    ///
    /// # Errors
    /// [`CallError`]; [`Refusal::NoResources`] if too many are under way.
    pub fn duration_start(&mut self) -> Result<Tag, CallError> {
        self.call_for_tag(&Call::DurationStart)
    }

    /// Ends a measurement: the time since its start, and the bound of its error.
    ///
    /// # Errors
    /// [`CallError`]; [`Refusal::UnknownTag`] if it was ended before, or is older than
    /// [`HORIZON`](crate::core::HORIZON).
    pub fn duration_stop(&mut self, tag: Tag) -> Result<(Nanos, Nanos), CallError> {
        match self.call(&Call::DurationStop(tag))? {
            Answer::Duration { elapsed, error } => Ok((elapsed, error)),
            _ => Err(self.lost()),
        }
    }

    /// Sets a deadline so long after the wormhole's handling of this call.
    ///
    /// # Errors
    /// [`CallError`]; [`Refusal::TooFar`], or [`Refusal::NoResources`] if too many are armed.
    pub fn arm(&mut self, after: Nanos) -> Result<Tag, CallError> {
        self.call_for_tag(&Call::Arm(after))
    }

    /// Says that what had the deadline is over.
    ///
    /// # Errors
    /// [`CallError`]; [`Refusal::UnknownTag`] if that was said before, or the deadline passed longer
    /// ago than [`RETENTION`](crate::core::RETENTION).
    pub fn end(&mut self, tag: Tag) -> Result<Timeliness, CallError> {
        match self.call(&Call::End(tag))? {
            Answer::Ended(timeliness) => Ok(timeliness),
            _ => Err(self.lost()),
        }
    }

    /// Plans an action. Nobody can take it back, this process included.
    ///
    /// # Errors
    /// [`CallError`]; [`Refusal::TooFar`]; [`Refusal::NoResources`] if too many are planned, or the
    /// hardware counter must not be written to so soon; [`Refusal::Denied`].
    pub fn exec_at(&mut self, exec: ExecCall) -> Result<Tag, CallError> {
        self.call_for_tag(&Call::ExecAt(exec))
    }

    /// What became of an action. A final outcome is told once.
    ///
    /// # Errors
    /// [`CallError`]; [`Refusal::UnknownTag`].
    pub fn outcome(&mut self, tag: Tag) -> Result<Outcome, CallError> {
        match self.call(&Call::Outcome(tag))? {
            Answer::Outcome(outcome) => Ok(outcome),
            _ => Err(self.lost()),
        }
    }

    /// Binds a counter value.
    ///
    /// # Errors
    /// [`CallError`]; [`Refusal::Conflict`], [`Refusal::Exhausted`], [`Refusal::Locked`] or
    /// [`Refusal::Denied`] if the wormhole will not bind it, [`Refusal::NoResources`] if not now: where
    /// each attestation is written to a hardware counter, those are few. After any error but a refusal,
    /// [`Self::last`] of a new session tells whether it did.
    pub fn attest(&mut self, attest: AttestCall) -> Result<Attestation, CallError> {
        match self.call(&Call::Attest(attest))? {
            Answer::Attested(attestation) => Ok(attestation),
            _ => Err(self.lost()),
        }
    }

    /// The whole last attestation of a counter in this instance.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn last(&mut self, counter: Counter) -> Result<Option<Attestation>, CallError> {
        match self.call(&Call::Last(counter))? {
            Answer::Last(last) => Ok(last),
            _ => Err(self.lost()),
        }
    }

    /// How the wormhole is.
    ///
    /// # Errors
    /// [`CallError`]; [`Refusal::Halted`] if it stopped itself.
    pub fn status(&mut self) -> Result<Status, CallError> {
        match self.call(&Call::Status)? {
            Answer::Status(status) => Ok(status),
            _ => Err(self.lost()),
        }
    }

    /// The name of this process for processes of other hosts: who puts it into a list of an agreement
    /// means it.
    #[must_use]
    pub fn entity(&self) -> Option<Entity> {
        let local = u32::try_from(self.eid.0).ok()?;
        Some(Entity { replica: self.certificate.identity.replica, local })
    }

    /// Takes part in an agreement: with a value, or with none, to learn what is decided. Whether the
    /// proposal counts, [`Proposed::standing`] says for now, and the decision's masks in the end.
    ///
    /// # Errors
    /// [`CallError`]; [`Refusal::NotDistributed`], [`Refusal::NotSynchronised`],
    /// [`Refusal::NotInElist`], [`Refusal::Conflict`] if the list names a process of no member,
    /// [`Refusal::TooFar`], [`Refusal::TstartExpired`] if it is over and forgotten,
    /// [`Refusal::NoResources`] with the time of this wormhole's clock, not the common one, at which
    /// there will be some.
    pub fn propose(
        &mut self,
        agreement: Agreement,
        value: Option<Value>,
    ) -> Result<Proposed, CallError> {
        match self.call(&Call::Propose(ProposeCall { agreement, value }))? {
            Answer::Proposed(proposed) => Ok(proposed),
            _ => Err(self.lost()),
        }
    }

    /// What was agreed, or that nothing is yet, or that this wormhole could not learn it, or has forgotten
    /// it, within [`AGREEMENT_RETENTION`](crate::core::AGREEMENT_RETENTION). Once told it may be forgotten
    /// as soon as another agreement needs its place.
    ///
    /// # Errors
    /// [`CallError`]; [`Refusal::UnknownTag`] if the tag is forgotten, too.
    pub fn decide(&mut self, tag: Tag) -> Result<Progress, CallError> {
        match self.call(&Call::Decide(tag))? {
            Answer::Progress(progress) => Ok(progress),
            _ => Err(self.lost()),
        }
    }

    /// A key that only this process and `other`, of another host, get, each once and only if it asks for
    /// one with the other; `None` until then: ask again.
    ///
    /// # Errors
    /// [`CallError`]; [`Refusal::NotDistributed`], [`Refusal::Conflict`] if `other` is of this host or of no
    /// member, [`Refusal::NoResources`] if too many are asked for.
    pub fn pair_key(&mut self, other: Entity) -> Result<Option<Zeroizing<[u8; 32]>>, CallError> {
        match self.call(&Call::PairKey(other))? {
            Answer::PairKey(key) => Ok(key.map(Zeroizing::new)),
            _ => Err(self.lost()),
        }
    }

    fn call_for_tag(&mut self, call: &Call) -> Result<Tag, CallError> {
        match self.call(call)? {
            Answer::Tagged(tag) => Ok(tag),
            _ => Err(self.lost()),
        }
    }

    /// Makes any call.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn call(&mut self, call: &Call) -> Result<Answer, CallError> {
        if self.is_over {
            return Err(CallError::Over);
        }
        // Over unless an authentic answer comes: a late one must not pass for that of the next.
        self.is_over = true;
        let sequence = Sequence(self.sequence.0.checked_add(1).ok_or(CallError::Over)?);
        self.sequence = sequence;
        let mut frame = encode_call(self.eid, sequence, call);
        seal(&mut frame, &self.keys.calls);
        self.channel.send(&frame)?;
        let frame = self.channel.receive()?;
        let answer = decode_answer(&frame).map_err(|_| CallError::NotAuthentic(None))?;
        if !is_sealed(&frame, &self.keys.answers) || !self.is_answer_to(call.kind(), &frame) {
            return Err(CallError::NotAuthentic(answer.err()));
        }
        self.is_over = false;
        answer.map_err(CallError::Refused)
    }

    fn is_answer_to(&self, kind: Kind, frame: &Frame) -> bool {
        Header::take(frame).is_ok_and(|header| {
            header.kind == kind as u8 && header.eid == self.eid && header.sequence == self.sequence
        })
    }

    /// For an answer of another kind than asked for, which [`Self::call`] lets nobody give.
    fn lost(&mut self) -> CallError {
        self.is_over = true;
        CallError::NotAuthentic(None)
    }
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub enum HelloError {
    /// The wormhole cannot be reached.
    #[error("cannot reach the wormhole")]
    Channel(#[from] io::Error),
    /// Somebody refused; nothing proves who. Retrying helps after [`Refusal::NoResources`].
    #[error("hello was refused, says who answered: {0}")]
    Refused(Refusal),
    /// What came back is no answer to a hello.
    #[error("what answered is no wormhole")]
    NoWelcome,
    /// What came back is not of the expected wormhole.
    #[error("what answered is not the expected wormhole")]
    Forged(#[from] Forged),
}

/// Why a call brought nothing.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The wormhole refused it. The session goes on.
    #[error("the wormhole refused: {0}")]
    Refused(Refusal),
    /// What came back is not the wormhole's word, and perhaps claims a refusal. The session is
    /// over.
    #[error("the answer is not authentic")]
    NotAuthentic(Option<Refusal>),
    /// The wormhole cannot be reached. The session is over.
    #[error("cannot reach the wormhole")]
    Channel(#[from] io::Error),
    /// An earlier call ended the session.
    #[error("the session is over")]
    Over,
}

/// What a frame says to a hello; none if it is an answer of a session, or no answer at all.
fn welcome_in(frame: &Frame) -> Option<Result<Welcome, Refusal>> {
    match decode_answer(frame).ok().filter(|_| is_plain(frame))? {
        Ok(Answer::Welcome(welcome)) => Some(Ok(welcome)),
        Ok(_) => None,
        Err(refusal) => Some(Err(refusal)),
    }
}

/// Whether this wormhole signed it, and in answer to this very hello.
fn check(wormhole: &Peer, handshake: &Handshake, signature: Signature) -> Result<(), Forged> {
    wormhole.check_certificate(&handshake.certificate)?;
    handshake.check(wormhole.provisioned, signature)
}

fn derive_secret(entropy: &Zeroizing<[u8; 32]>) -> StaticSecret {
    let secret = blake3::derive_key("ravelin wormhole client secret v1", &entropy[..]);
    StaticSecret::from(*Zeroizing::new(secret))
}
