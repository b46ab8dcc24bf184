//! The attestation counters of one instance: the heart of the trusted component.
//!
//! **Guarantee:** positions, pairs of epoch and value, only rise, and each is bound at most once.
//! This module alone decides it; whoever stores these bytes must never bring back older ones.

use crate::attestation::{COUNTERS, Counter, CounterValue, Digest, Epoch, Signature};
use crate::frame::{AttestCall, FrameError, Reader, Refusal, Writer};

/// How much of an instance's power to attest is left. It only shrinks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Lock {
    /// Attests.
    Open = 0,
    /// Attests no more: the fail-safe lock was executed.
    Locked = 1,
    /// Attests no more, and the instance key is gone.
    Erased = 2,
}

impl Lock {
    pub(crate) fn take(from: &mut Reader<'_>) -> Result<Self, FrameError> {
        match from.u8()? {
            0 => Ok(Self::Open),
            1 => Ok(Self::Locked),
            2 => Ok(Self::Erased),
            _ => Err(FrameError::UnknownCode),
        }
    }
}

/// The position of a counter, what is bound to it, and the signature that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bound {
    pub(crate) epoch: Epoch,
    pub(crate) old: CounterValue,
    pub(crate) new: CounterValue,
    pub(crate) digest: Digest,
    /// None only between the binding and its signature.
    pub(crate) signature: Option<Signature>,
}

/// The counters of an instance and its lock: all that must survive for it to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counters {
    lock: Lock,
    bound: [Option<Bound>; COUNTERS],
}

impl Default for Counters {
    fn default() -> Self {
        Self::new()
    }
}

impl Counters {
    /// Size of [`Self::to_bytes`]: the lock; then for each counter epoch, old, new, digest and
    /// signature.
    pub const BYTES: usize = 1 + COUNTERS * (8 + 8 + 8 + 32 + 64);

    /// Those of a fresh instance: nothing is bound.
    #[must_use]
    pub const fn new() -> Self {
        Self { lock: Lock::Open, bound: [None; COUNTERS] }
    }

    /// What may still be attested. A store must not keep the secret of an [`Lock::Erased`]
    /// instance.
    #[must_use]
    pub fn lock(&self) -> Lock {
        self.lock
    }

    /// The counters as bytes of fixed size; little-endian, zeros where nothing is bound.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        let mut to = Writer::new(&mut bytes);
        to.u8(self.lock as u8);
        for bound in &self.bound {
            let Some(bound) = bound else {
                to.bytes(&[0; 8 + 8 + 8 + 32 + 64]);
                continue;
            };
            to.u64(bound.epoch.0);
            to.u64(bound.old.0);
            to.u64(bound.new.0);
            to.bytes(&bound.digest.0);
            to.bytes(&bound.signature.map_or([0; 64], |signature| signature.0));
        }
        bytes
    }

    /// Reads what [`Self::to_bytes`] wrote. Says nothing about who wrote it: that is the store's.
    ///
    /// # Errors
    /// When no counters have these bytes.
    pub fn from_bytes(bytes: &[u8; Self::BYTES]) -> Result<Self, FrameError> {
        let mut from = Reader::new(bytes);
        let mut counters = Self { lock: Lock::take(&mut from)?, bound: [None; COUNTERS] };
        for bound in &mut counters.bound {
            *bound = take_bound(&mut from)?;
        }
        Ok(counters)
    }

    /// Takes away power, never gives any back; says whether that changed anything.
    pub(crate) fn tighten(&mut self, lock: Lock) -> bool {
        let is_tighter = lock > self.lock;
        if is_tighter {
            self.lock = lock;
        }
        is_tighter
    }

    /// Binds `call.digest` to `call.new`, or refuses and changes nothing.
    ///
    /// # Errors
    /// - [`Refusal::Locked`]: not in this instance any more.
    /// - [`Refusal::Exhausted`]: the epoch has no values left.
    /// - [`Refusal::Conflict`]: the position is not above the last, or the caller is mistaken
    ///   about the last.
    pub(crate) fn bind(&mut self, call: &AttestCall) -> Result<(), Refusal> {
        if self.lock != Lock::Open {
            return Err(Refusal::Locked);
        }
        let slot = self.slot_mut(call.counter);
        let (epoch, value) =
            slot.map_or((Epoch(0), CounterValue(0)), |last| (last.epoch, last.new));
        if call.epoch < epoch {
            return Err(Refusal::Conflict);
        }
        // A new epoch begins at 0; in the last one the caller must know where the counter stands.
        let old = if call.epoch == epoch { value } else { CounterValue(0) };
        if old == CounterValue(u64::MAX) {
            return Err(Refusal::Exhausted);
        }
        if call.expected_old != old || call.new <= old {
            return Err(Refusal::Conflict);
        }
        let AttestCall { epoch, new, digest, .. } = *call;
        *slot = Some(Bound { epoch, old, new, digest, signature: None });
        Ok(())
    }

    /// Keeps the signature of what was bound last, for [`Self::last`].
    pub(crate) fn keep_signature(&mut self, counter: Counter, signature: Signature) {
        if let Some(bound) = self.slot_mut(counter) {
            bound.signature = Some(signature);
        }
    }

    /// What was bound last.
    pub(crate) fn last(&self, counter: Counter) -> Option<&Bound> {
        self.bound.get(usize::from(counter as u8))?.as_ref()
    }

    fn slot_mut(&mut self, counter: Counter) -> &mut Option<Bound> {
        let slot = self.bound.get_mut(usize::from(counter as u8));
        slot.expect("the numbers of the counters are 0..COUNTERS")
    }
}

fn take_bound(from: &mut Reader<'_>) -> Result<Option<Bound>, FrameError> {
    let epoch = Epoch(from.u64()?);
    let (old, new) = (CounterValue(from.u64()?), CounterValue(from.u64()?));
    let digest = Digest(from.bytes()?);
    let signature = from.bytes()?;
    if new == CounterValue(0) {
        let is_zero = epoch.0 == 0 && old.0 == 0 && digest.0 == [0; 32] && signature == [0; 64];
        return if is_zero { Ok(None) } else { Err(FrameError::Padding) };
    }
    if new <= old {
        return Err(FrameError::NotRising);
    }
    let signature = Some(Signature(signature));
    Ok(Some(Bound { epoch, old, new, digest, signature }))
}
