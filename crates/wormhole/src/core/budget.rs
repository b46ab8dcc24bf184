//! Admission control: who may make the wormhole work, how much, and when again.
//!
//! **Guarantee:** work is admitted or refused, never queued; over any span the work admitted is at
//! most the burst and the share of that span. What an entity may do of its own share, no other can
//! take from it. A refusal is paid for too, out of what is left of the same share, without debt: who
//! keeps asking gets nothing of it. That bounds what is served; the frames are the loop's to bound.
//!
//! A token bucket, kept as the instant at which it will be full again: one integer, no rounding
//! that many small calls could exploit.

use crate::frame::{Kind, Nanos};

/// What every entity has for itself: 2% of one core, 250 attestations at once.
pub(crate) const ENTITY: Rate = Rate { share_permille: 20, burst: Nanos::from_millis(20) };
/// What the entities of a host have together beyond that, for who comes first: 40% of one core,
/// 1,250 attestations at once.
pub(crate) const HOST: Rate = Rate { share_permille: 400, burst: Nanos::from_millis(100) };
/// What a connection has for who has no session: 1% of one core, 20 `hello`s at once.
pub(crate) const STRANGERS: Rate = Rate { share_permille: 10, burst: Nanos::from_millis(8) };
/// What a connection has of the hardware counter under [`Lease::Every`](super::Lease): 4 writes at
/// once, then one in 2,000 s. At that rate the 100,000 writes that a TPM promises last 6.3 years.
/// And as much again for locks, which must not wait because attestations used it up; of these at most
/// two in an instance are written.
pub(crate) const WRITES: Rate = Rate { share_permille: 1, burst: Nanos(4 * WRITE.0) };
/// What a write may take. Nobody is served meanwhile.
pub(crate) const WRITE: Nanos = Nanos::from_millis(2_000);
/// What it costs to find out that a frame is not served, and to say so.
const REFUSAL: Nanos = Nanos(5_000);

/// Work that a call stands for: what it costs a slow core, generously, in thread time.
pub(crate) const fn work(kind: Option<Kind>) -> Nanos {
    Nanos(match kind {
        Some(Kind::Hello) => 400_000,
        // Signs, or plans what may sign.
        Some(Kind::Attest | Kind::ExecAt) => 80_000,
        // Tells every other wormhole, twice, and takes part in what follows.
        Some(Kind::Propose) => 300_000,
        _ => 10_000,
    })
}

/// How fast a budget comes back, and how much it holds.
#[derive(Clone, Copy)]
pub(crate) struct Rate {
    /// Thousandths of one core.
    share_permille: u64,
    /// Work that may come at once.
    burst: Nanos,
}

impl Rate {
    /// How long it takes to fill.
    const fn time_to_fill(self) -> Nanos {
        self.time_for(self.burst)
    }

    /// How long so much work takes to come back.
    const fn time_for(self, work: Nanos) -> Nanos {
        Nanos(work.0.saturating_mul(1_000).div_ceil(self.share_permille))
    }
}

/// A token bucket.
pub(crate) struct Budget {
    rate: Rate,
    full_at: Nanos,
}

impl Budget {
    /// A full one.
    pub(crate) const fn new(rate: Rate) -> Self {
        Self { rate, full_at: Nanos(0) }
    }

    /// Takes `work` out.
    ///
    /// # Errors
    /// When there is not enough: the instant at which there will be. Nothing is taken.
    pub(crate) fn admit(&mut self, now: Nanos, work: Nanos) -> Result<(), Nanos> {
        let full_at = self.full_at.max(now).after(self.rate.time_for(work));
        let not_before = full_at.since(self.rate.time_to_fill());
        if not_before > now {
            return Err(not_before);
        }
        self.full_at = full_at;
        Ok(())
    }

    /// Takes out what a refusal costs, or all there is; says from when on `work` will be admitted.
    pub(crate) fn refuse(&mut self, now: Nanos, work: Nanos) -> Nanos {
        let full_at = self.full_at.max(now).after(self.rate.time_for(REFUSAL));
        self.full_at = full_at.min(now.after(self.rate.time_to_fill()));
        self.full_at.after(self.rate.time_for(work)).since(self.rate.time_to_fill())
    }
}
