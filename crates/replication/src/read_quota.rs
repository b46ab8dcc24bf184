//! How much work without ordering one client may cause: reads, proofs, beginnings of watches.
//!
//! **Guarantee:** over any span, the questions of one client cost at most [`READ_WORK_BURST_MAX`] and
//! [`READ_WORK_PER_SECOND_MAX`] for each second of it, and one question more, over all its connections
//! and however often it connects. Bounded by the clients that asked of late, who are enrolled.

use std::collections::BTreeMap;

use ravelin_model::{PublicKey, Time};

use crate::mempool::Busy;

/// Work that a client may cause at once, as counted by
/// [`State::take_work`](crate::state::State::take_work).
pub const READ_WORK_BURST_MAX: u64 = 64 << 20;
/// The same for each second: less than a tenth of a core.
pub const READ_WORK_PER_SECOND_MAX: u64 = 256 << 20;
/// What a proof counts as: it looks up a hash at each step of its path.
pub const PROOF_WORK: usize = 64 << 10;

/// What each client has caused and time has not yet forgiven.
#[derive(Debug, Default)]
pub struct ReadQuota {
    owed: BTreeMap<PublicKey, u64>,
    /// Up to when time was taken into account.
    forgiven: Time,
}

impl ReadQuota {
    /// Whether `client` may ask now.
    ///
    /// # Errors
    /// [`Busy`] until so much time has passed that it may.
    pub fn admit(&mut self, now: Time, client: &PublicKey) -> Result<(), Busy> {
        self.forgive(now);
        let owed = self.owed.get(client).copied().unwrap_or_default();
        let excess = owed.saturating_sub(READ_WORK_BURST_MAX);
        if excess == 0 {
            return Ok(());
        }
        let milliseconds = (excess * 1000).div_ceil(READ_WORK_PER_SECOND_MAX);
        Err(Busy { retry_after_ms: u32::try_from(milliseconds).unwrap_or(u32::MAX) })
    }

    /// Counts what a question of `client` took.
    pub fn charge(&mut self, client: PublicKey, work: usize) {
        *self.owed.entry(client).or_default() += work as u64;
    }

    fn forgive(&mut self, now: Time) {
        let micros = u64::try_from(now.since(self.forgiven).as_micros()).unwrap_or(u64::MAX);
        // Less than a unit is left for the next time.
        let forgiven = micros.saturating_mul(READ_WORK_PER_SECOND_MAX) / 1_000_000;
        if forgiven > 0 {
            self.forgiven = now;
            self.owed.retain(|_, owed| {
                *owed = owed.saturating_sub(forgiven);
                *owed > 0
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const CLIENT: PublicKey = PublicKey([1; 32]);
    const OTHER: PublicKey = PublicKey([2; 32]);
    const READ: usize = 5 << 20;

    /// How many reads are admitted if one is asked each millisecond.
    fn admitted(quota: &mut ReadQuota, from: Time, milliseconds: u64) -> u64 {
        let mut count = 0;
        for step in 0..milliseconds {
            if quota.admit(from.after(Duration::from_millis(step)), &CLIENT).is_ok() {
                quota.charge(CLIENT, READ);
                count += 1;
            }
        }
        count
    }

    #[test]
    fn one_that_floods_gets_its_share_and_the_others_theirs() {
        let mut quota = ReadQuota::default();
        let start = Time(1_000_000_000);
        let count = admitted(&mut quota, start, 10_000);
        let most = (READ_WORK_BURST_MAX + 10 * READ_WORK_PER_SECOND_MAX) / READ as u64 + 1;
        assert!((most - 2..=most).contains(&count), "{count} of {most}");
        let now = start.after(Duration::from_secs(10));
        assert!(quota.admit(now, &CLIENT).is_err());
        assert!(quota.admit(now, &OTHER).is_ok(), "it pays for nobody else");
    }

    #[test]
    fn a_busy_client_may_read_when_it_was_told_to() {
        let mut quota = ReadQuota::default();
        let now = Time(1_000_000_000);
        quota.admit(now, &CLIENT).unwrap();
        quota.charge(CLIENT, (READ_WORK_BURST_MAX + READ_WORK_PER_SECOND_MAX) as usize);
        let busy = quota.admit(now, &CLIENT).unwrap_err();
        assert_eq!(busy.retry_after_ms, 1000);
        let wait = Duration::from_millis(busy.retry_after_ms.into());
        assert!(quota.admit(now.after(wait / 2), &CLIENT).is_err());
        assert!(quota.admit(now.after(wait), &CLIENT).is_ok());
    }

    #[test]
    fn who_owes_nothing_is_forgotten() {
        let mut quota = ReadQuota::default();
        quota.charge(CLIENT, 1);
        quota.admit(Time(1_000_000_000), &OTHER).unwrap();
        assert!(quota.owed.is_empty());
    }
}
