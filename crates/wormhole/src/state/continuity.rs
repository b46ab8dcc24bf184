//! Continuity: one instance over several lives of its process, and never at an earlier state.
//!
//! **Guarantee:** of everything that an instance ever exposed, nothing is missing when it is taken
//! up again, and of all processes that took it up only the last can still attest. It holds against
//! whoever can copy, restore, swap, tear or delete the files, start clones, and stop or kill any of
//! them at any step.
//!
//! # How
//! A hardware counter numbers the records. A process that sees the number `n` *advances*: it makes
//! a record numbered `n + 1` durable, raises the counter, reads it back, and goes on only if it
//! reads exactly `n + 1`. Of all clones that saw `n` at most one reads that. At the start, a record
//! counts only if it is authentic and has the counter's very number.
//!
//! - Opening advances to a record that says *open*, and an open record is never taken up. A clone
//!   that opens and is stopped half-way leaves nothing of use.
//! - Only the one process that confirmed `n` writes a *resumable* record `n + 1`, and at most one:
//!   after any error it is finished. It holds all that was bound so far, and nothing more is
//!   exposed before `n + 1` is confirmed. So for each number there is at most one resumable record
//!   in the world, and whoever finds it under the counter's number has the whole past.
//! - An instance lives under one lease: another lease than that of its record closes it.
//!
//! | | NV writes of a start | of a stop | of an attestation | a crash | a restored image of the running machine |
//! |---|---|---|---|---|---|
//! | [`Lease::Run`] | 1 | 1 | 0 | closes the instance | **attests again from the old state** |
//! | [`Lease::Every`] | 2 | 1 | 1 | resumes (if not within the start) | halts at its next attestation |
//!
//! # Security
//! The counter must not be restored together with the machine: that of a virtual TPM lives on the
//! disk of its host, and whoever restores that disk too is not stopped. [`Lease::Run`] says nothing
//! about memory: a snapshot that resumes a *running* wormhole is stopped by [`Lease::Every`] only.
//! Whoever reads the provisioned key (full root, a backup) can forge records and answers of the
//! counter alike.
//!
//! The instance's secret and the records' key are in ordinary memory here, not in hidden memory:
//! who could read them there can read them in the state directory.

use rustix::io::Errno;
use zeroize::Zeroizing;

use super::record::{self, RECORD_BYTES, Record, RecordBytes, RecordKey, Slots};
use super::{StateDir, StateError};
use crate::core::{Counters, Lock};
use crate::counter::{CounterError, MonotonicCounter};
use crate::keys::InstanceSecret;

/// For how long one step of the hardware counter lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lease {
    /// For a whole run: a clean stop can be resumed, a crash closes the instance.
    Run,
    /// For one attestation: a crash can be resumed too. Slow, and wears the counter's memory out:
    /// TPMs promise some 100,000 to a million writes.
    Every,
}

/// Why an instance is the one it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Without a counter every start is a new instance.
    Volatile,
    /// The record proved to be the last.
    Resumed,
    /// A new instance: the last one did not stop cleanly.
    AfterCrash,
    /// A new instance: no record has the counter's number. The first start, or the files are older
    /// than the counter (put back, copied), or belong to another counter, or were changed.
    NoRecord,
}

/// The instance to run.
pub struct Opened {
    /// Its secret.
    pub secret: InstanceSecret,
    /// What it has bound; `None` for a new instance.
    pub counters: Option<Counters>,
    /// Where it comes from: for the operator.
    pub origin: Origin,
}

/// Why continuity cannot be had. Whoever gets this must expose nothing more and stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContinuityError {
    /// The files cannot be used.
    #[error("cannot use the state directory")]
    State(#[from] StateError),
    /// A record could not be read, written or made durable.
    #[error("cannot use the record")]
    Record(#[source] Errno),
    /// The counter cannot be relied on.
    #[error("cannot rely on the counter")]
    Counter(#[from] CounterError),
    /// Somebody else moved the counter: a clone of this wormhole runs.
    #[error("the counter stands at {found} instead of {expected}: a clone runs")]
    Clone {
        /// What this process raised it to.
        expected: u64,
        /// What it read.
        found: u64,
    },
    /// The counter has no numbers left.
    #[error("the counter is at its end")]
    Exhausted,
    /// Not open: never opened, opened already, or failed before.
    #[error("no instance is open")]
    NotOpen,
}

/// Keeps an instance over restarts, or says that it is a new one.
pub struct Continuity(Option<Anchored>);

struct Anchored {
    slots: Box<dyn Slots>,
    key: RecordKey,
    counter: Box<dyn MonotonicCounter>,
    lease: Lease,
    phase: Phase,
    buffer: RecordBytes,
}

enum Phase {
    Before,
    /// The counter was confirmed at `number`.
    Open {
        number: u64,
        secret: InstanceSecret,
    },
    /// Closed, or in doubt after an error.
    Ended,
}

impl Continuity {
    /// Keeps nothing: every start is a new instance, so that nothing can be put back.
    #[must_use]
    pub const fn volatile() -> Self {
        Self(None)
    }

    /// Keeps the instance in `directory`, numbered by `counter`, the one of its anchor.
    ///
    /// # Errors
    /// [`StateError::NotAnchored`], [`StateError::Io`]
    pub fn anchored(
        directory: &StateDir,
        counter: Box<dyn MonotonicCounter>,
        lease: Lease,
    ) -> Result<Self, StateError> {
        let key = directory.record_key(&directory.anchor()?);
        Ok(Self::over(Box::new(directory.slots()?), key, counter, lease))
    }

    /// Keeps the instance in `slots`.
    #[must_use]
    pub fn over(
        slots: Box<dyn Slots>,
        key: RecordKey,
        counter: Box<dyn MonotonicCounter>,
        lease: Lease,
    ) -> Self {
        let buffer = Zeroizing::new([0; RECORD_BYTES]);
        Self(Some(Anchored { slots, key, counter, lease, phase: Phase::Before, buffer }))
    }

    /// Opens the instance that the record proves, or a new one with the secret `fresh`. Once, and
    /// before anything is attested.
    ///
    /// # Errors
    /// [`ContinuityError`]
    pub fn open(&mut self, fresh: InstanceSecret) -> Result<Opened, ContinuityError> {
        match &mut self.0 {
            None => Ok(Opened { secret: fresh, counters: None, origin: Origin::Volatile }),
            Some(anchored) => anchored.open(fresh),
        }
    }

    /// Makes `counters` what a crash resumes from: to be called, and to have succeeded, before
    /// anything shows that depends on them. Only [`Lease::Every`] does anything here, and, under
    /// any lease, counters that are [`Lock::Erased`]: they end the instance, and its secret leaves
    /// the disk. Allocates nothing.
    ///
    /// # Errors
    /// [`ContinuityError`]: what depends on `counters` must never be shown.
    pub fn keep(&mut self, counters: &Counters) -> Result<(), ContinuityError> {
        match &mut self.0 {
            Some(anchored) if anchored.lease == Lease::Every || is_erased(counters) => {
                anchored.keep(counters)
            }
            _ => Ok(()),
        }
    }

    /// Stops cleanly: the next start resumes with `counters`. Nothing may be attested once this was
    /// called, whatever comes of it.
    ///
    /// # Errors
    /// [`ContinuityError`]: the instance may turn out to be closed.
    pub fn close(mut self, counters: &Counters) -> Result<(), ContinuityError> {
        self.0.as_mut().map_or(Ok(()), |anchored| anchored.keep(counters))
    }
}

fn is_erased(counters: &Counters) -> bool {
    counters.lock() == Lock::Erased
}

impl Anchored {
    fn open(&mut self, fresh: InstanceSecret) -> Result<Opened, ContinuityError> {
        let Phase::Before = self.take_phase() else {
            return Err(ContinuityError::NotOpen);
        };
        let seen = self.counter.read()?;
        let opened = self.find(seen, fresh)?;
        let mut number = self.advance(seen, None)?;
        match self.lease {
            // The old record's number has passed: it is of no use but to a thief of its secret.
            Lease::Run => self.wipe(slot_of(seen))?,
            Lease::Every => {
                let counters = opened.counters.clone().unwrap_or_default();
                number = self.advance(number, Some((&opened.secret, &counters)))?;
            }
        }
        let secret = InstanceSecret(opened.secret.0);
        self.phase = Phase::Open { number, secret };
        Ok(opened)
    }

    fn keep(&mut self, counters: &Counters) -> Result<(), ContinuityError> {
        let Phase::Open { number, secret } = self.take_phase() else {
            return Err(ContinuityError::NotOpen);
        };
        let resumable = (!is_erased(counters)).then_some((&secret, counters));
        let next = self.advance(number, resumable)?;
        if resumable.is_none() {
            self.wipe(slot_of(number))?;
        }
        self.phase = Phase::Open { number: next, secret };
        Ok(())
    }

    /// The instance that goes on at the counter's number.
    fn find(&mut self, number: u64, fresh: InstanceSecret) -> Result<Opened, ContinuityError> {
        let slot = slot_of(number);
        self.slots.read(slot, &mut self.buffer).map_err(ContinuityError::Record)?;
        let new = |origin| Opened { secret: fresh, counters: None, origin };
        Ok(match record::decode(&self.key, number, self.lease, &self.buffer) {
            Some(Record::Resumable(secret, counters)) => {
                Opened { secret, counters: Some(counters), origin: Origin::Resumed }
            }
            Some(Record::Open) => new(Origin::AfterCrash),
            None => new(Origin::NoRecord),
        })
    }

    /// Takes the counter from `number` to the next, with a record that is durable before: open, or
    /// resumable with this secret and these counters. The caller must be the one that confirmed
    /// `number`, unless the record is open.
    fn advance(
        &mut self,
        number: u64,
        resumable: Option<(&InstanceSecret, &Counters)>,
    ) -> Result<u64, ContinuityError> {
        let next = number.checked_add(1).ok_or(ContinuityError::Exhausted)?;
        record::encode(&self.key, next, self.lease, resumable, &mut self.buffer);
        self.write(slot_of(next))?;
        self.counter.increment()?;
        let found = self.counter.read()?;
        if found != next {
            return Err(ContinuityError::Clone { expected: next, found });
        }
        Ok(next)
    }

    fn wipe(&mut self, slot: usize) -> Result<(), ContinuityError> {
        self.buffer.fill(0);
        self.write(slot)
    }

    /// Writes the buffer, durably.
    fn write(&mut self, slot: usize) -> Result<(), ContinuityError> {
        self.slots.write(slot, &self.buffer).map_err(ContinuityError::Record)?;
        self.slots.sync(slot).map_err(ContinuityError::Record)
    }

    /// Leaves [`Phase::Ended`] behind, so that whatever fails before a new phase is set is final.
    fn take_phase(&mut self) -> Phase {
        std::mem::replace(&mut self.phase, Phase::Ended)
    }
}

/// Neighbouring numbers lie in different slots: a write never touches the record that still counts.
fn slot_of(number: u64) -> usize {
    usize::from(number % 2 == 1)
}
