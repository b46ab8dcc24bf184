//! When to make the next block: waiting for leaders as long as it helps, and being quiet when idle.
//!
//! **Guarantee:** a correct and timely leader of a round is waited for, and so are the votes that
//! its certificates need; a dead one costs one wait and is then no longer awaited. Early delays or
//! faked fast round trips cannot switch the waiting off: the wait doubles after each awaited slot
//! that was not committed directly.

use std::collections::VecDeque;
use std::time::Duration;

use ravelin_model::limits::LEADER_WAIT_MAX;
use ravelin_model::{Group, ReplicaId, Round, Time, mutants};

/// Rounds over which arrival lags are remembered.
const LAG_ROUNDS: usize = 20;
/// A leader is awaited while a block of it at most so many rounds old has arrived.
const AWAITED_ROUNDS: u64 = 20;
/// The wait never doubles more often than this: beyond it the cap holds anyway.
const DOUBLINGS_MAX: u32 = 24;
/// Smallest unit of the wait: below it, a wait would only measure the scheduler.
const WAIT_MIN: Duration = Duration::from_micros(500);

/// What is known of how timely each member is.
#[derive(Clone, Debug)]
pub struct Pacing {
    group: Group,
    own: ReplicaId,
    lags: Vec<VecDeque<Duration>>,
    newest_arrival: Vec<Round>,
    made: VecDeque<(Round, Time)>,
    doublings: u32,
}

impl Pacing {
    /// Nothing known yet.
    #[must_use]
    pub fn new(group: Group, own: ReplicaId) -> Self {
        Self {
            group,
            own,
            lags: vec![VecDeque::new(); group.size()],
            newest_arrival: vec![Round(0); group.size()],
            made: VecDeque::new(),
            doublings: 0,
        }
    }

    /// Notes that this replica made its block of `round`.
    pub fn on_made(&mut self, now: Time, round: Round) {
        self.made.push_back((round, now));
        if self.made.len() > 2 * LAG_ROUNDS {
            self.made.pop_front();
        }
    }

    /// Notes that `author`'s own block of `round` arrived, however late.
    pub fn on_arrival(&mut self, now: Time, author: ReplicaId, round: Round) {
        let Some(newest) = self.newest_arrival.get_mut(author.index()) else { return };
        *newest = (*newest).max(round);
        let own = self.made.iter().find(|(made, _)| *made == round);
        if let (Some((_, made)), Some(lags)) = (own, self.lags.get_mut(author.index())) {
            lags.push_back(now.since(*made));
            if lags.len() > LAG_ROUNDS {
                lags.pop_front();
            }
        }
    }

    /// Notes how an awaited leader's slot ended.
    pub fn on_awaited_slot(&mut self, was_committed_directly: bool) {
        self.doublings = if was_committed_directly {
            self.doublings.saturating_sub(1)
        } else if mutants::is_active("wait_never_doubles") {
            0
        } else {
            (self.doublings + 1).min(DOUBLINGS_MAX)
        };
    }

    /// Whether `leader`, and then the votes for it, are worth waiting for in `round`.
    #[must_use]
    pub fn is_awaited(&self, leader: ReplicaId, round: Round) -> bool {
        leader == self.own
            || self
                .newest_arrival
                .get(leader.index())
                .is_some_and(|newest| newest.plus(AWAITED_ROUNDS) >= round && newest.0 > 0)
    }

    /// How long a round's leaders, and the votes for the last round's, are waited for.
    #[must_use]
    pub fn wait(&self) -> Duration {
        if mutants::is_active("wait_always_longest") {
            return LEADER_WAIT_MAX;
        }
        let base = (self.lag() * 2).max(WAIT_MIN);
        base.saturating_mul(1 << self.doublings).min(LEADER_WAIT_MAX)
    }

    /// The (n-f)-th smallest of the members' median lags; this replica's own is zero.
    fn lag(&self) -> Duration {
        let mut medians: Vec<Duration> = self.group.members().map(|id| self.median(id)).collect();
        medians.sort_unstable();
        medians.get(self.group.responsive() - 1).copied().unwrap_or_default()
    }

    fn median(&self, author: ReplicaId) -> Duration {
        if author == self.own {
            return Duration::ZERO;
        }
        let mut lags: Vec<Duration> =
            self.lags.get(author.index()).into_iter().flatten().copied().collect();
        lags.sort_unstable();
        lags.get(lags.len() / 2).copied().unwrap_or(Duration::ZERO)
    }
}

#[cfg(test)]
mod tests {
    use ravelin_model::FaultModel;

    use super::*;

    fn pacing() -> Pacing {
        let group = Group::new(4, 1, FaultModel::Arbitrary).expect("fits");
        Pacing::new(group, ReplicaId(0))
    }

    #[test]
    fn a_silent_leader_is_awaited_for_twenty_rounds_and_a_late_one_always() {
        let mut pacing = pacing();
        assert!(!pacing.is_awaited(ReplicaId(1), Round(1)), "nothing came of it yet");
        pacing.on_arrival(Time(0), ReplicaId(1), Round(5));
        assert!(pacing.is_awaited(ReplicaId(1), Round(25)));
        assert!(!pacing.is_awaited(ReplicaId(1), Round(26)));
        pacing.on_arrival(Time(99_000_000), ReplicaId(1), Round(6));
        assert!(pacing.is_awaited(ReplicaId(1), Round(26)), "late, but it came");
    }

    #[test]
    fn f_liars_about_their_speed_do_not_shorten_the_wait() {
        let mut pacing = pacing();
        for round in 1..=20u64 {
            let made = Time(round * 1_000_000);
            pacing.on_made(made, Round(round));
            pacing.on_arrival(made, ReplicaId(1), Round(round));
            for honest in [2, 3] {
                let arrival = made.after(Duration::from_millis(40));
                pacing.on_arrival(arrival, ReplicaId(honest), Round(round));
            }
        }
        assert_eq!(pacing.wait(), Duration::from_millis(80));
    }

    #[test]
    fn the_wait_doubles_up_to_its_cap_and_comes_back() {
        let mut pacing = pacing();
        let base = pacing.wait();
        for _ in 0..40 {
            pacing.on_awaited_slot(false);
        }
        assert_eq!(pacing.wait(), LEADER_WAIT_MAX);
        for _ in 0..40 {
            pacing.on_awaited_slot(true);
        }
        assert_eq!(pacing.wait(), base);
    }
}
