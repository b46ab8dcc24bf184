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
//! - An instance lives under one lease, of a run or of each attestation: under another than that of
//!   its record, nothing starts. Who wants the other gives the instance up, by making a counter anew.
//!
//! | | NV writes of a start | of a stop | of an attestation | a crash | a restored image of the running machine |
//! |---|---|---|---|---|---|
//! | [`Lease::Run`] | 1 | 1 | 0 | closes the instance | **attests again from the old state** |
//! | [`Lease::Every`] | 2 | 1 | 1 | resumes (if not within the start) | halts at its next attestation |
//! | [`Lease::EveryUnmetered`] | 2 | 1 | 1, at any rate | as above | as above |
//!
//! # Security
//! The counter must not be restored together with the machine: that of a virtual TPM lives on the
//! disk of its host, and whoever restores that disk too is not stopped. [`Lease::Run`] says nothing
//! about memory: a snapshot that resumes a *running* wormhole is stopped by [`Lease::Every`] only.
//! Whoever reads the provisioned key (full root, a backup) can forge records and answers of the
//! counter alike.
//!
//! An erased instance's secret is overwritten in memory and in both slots. Underneath the files that
//! may leave copies behind: a copy-on-write file system, a journal of data and a flash drive write
//! elsewhere and free the old place some time later, and a snapshot keeps it. Where an erased key must
//! be gone from the disk too, the directory belongs on an encrypted volume whose key can be destroyed.
//!
//! The instance's secret and the records' key are in ordinary memory here, not in hidden memory:
//! who could read them there can read them in the state directory.

use rustix::io::Errno;
use zeroize::{Zeroize as _, Zeroizing};

use super::record::{self, RECORD_BYTES, Record, RecordBytes, RecordKey, Slots};
use super::{StateDir, StateError};
pub use crate::core::Lease;
use crate::core::{Counters, Lock};
use crate::counter::{CounterError, MonotonicCounter};
use crate::keys::InstanceSecret;
use crate::mutants;

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
    /// The record can be resumed, but not under this lease. Nothing changed: a start under the other
    /// one resumes.
    #[error("the instance lives under the other lease")]
    OtherLease,
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
    /// The instance's; zeros before there is one and once it is erased. It never moves: what is moved
    /// leaves a copy behind.
    secret: InstanceSecret,
    buffer: RecordBytes,
}

enum Phase {
    Before,
    /// The counter was confirmed at this number.
    Open(u64),
    /// The secret is gone, here and in the slots: there is nothing left to keep.
    Erased,
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
        let (phase, secret) = (Phase::Before, InstanceSecret([0; 32]));
        Self(Some(Anchored { slots, key, counter, lease, phase, secret, buffer }))
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
    /// anything shows that depends on them. Only a lease of each attestation does anything here, and,
    /// under any lease, counters that are [`Lock::Erased`]: they end the instance, and its secret is
    /// overwritten here and in its record (what that is worth on which disk: see *Security* above).
    /// Allocates nothing.
    ///
    /// # Errors
    /// [`ContinuityError`]: what depends on `counters` must never be shown.
    pub fn keep(&mut self, counters: &Counters) -> Result<(), ContinuityError> {
        match &mut self.0 {
            Some(anchored) if anchored.lease.keeps_each() || is_erased(counters) => {
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
        self.secret.0.copy_from_slice(&opened.secret.0);
        let mut number = match mutants::is_active("counter_reused_after_restart") {
            true => seen,
            false => self.advance(seen, None)?,
        };
        match self.lease {
            // The old record's number has passed: it is of no use but to a thief of its secret.
            Lease::Run => self.wipe(slot_of(seen))?,
            Lease::Every | Lease::EveryUnmetered => {
                let counters = opened.counters.clone().unwrap_or_default();
                number = self.advance(number, Some(&counters))?;
            }
        }
        self.phase = Phase::Open(number);
        Ok(opened)
    }

    fn keep(&mut self, counters: &Counters) -> Result<(), ContinuityError> {
        self.phase = match (self.take_phase(), is_erased(counters)) {
            (Phase::Open(number), false) => Phase::Open(self.advance(number, Some(counters))?),
            (Phase::Open(number), true) => {
                self.secret.zeroize(); // whatever comes of the rest
                self.advance(number, None)?;
                self.wipe(slot_of(number))?;
                Phase::Erased
            }
            (Phase::Erased, true) => Phase::Erased,
            _ => return Err(ContinuityError::NotOpen),
        };
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
            Some(Record::OtherLease) => return Err(ContinuityError::OtherLease),
            None => new(Origin::NoRecord),
        })
    }

    /// Takes the counter from `number` to the next, with a record that is durable before: open, or
    /// resumable with these counters. The caller must be the one that confirmed `number`, unless the
    /// record is open.
    fn advance(
        &mut self,
        number: u64,
        resumable: Option<&Counters>,
    ) -> Result<u64, ContinuityError> {
        let next = number.checked_add(1).ok_or(ContinuityError::Exhausted)?;
        let resumable = resumable.map(|counters| (&self.secret, counters));
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
