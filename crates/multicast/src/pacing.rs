//! When to make the next block: waiting for leaders as long as it helps, and being quiet when idle.
//!
//! **Guarantee:** a correct and timely leader of a round is waited for, and so are the votes that
//! its certificates need; a dead one costs one wait and is then no longer awaited, and one that is
//! later than the wait in most rounds costs none. Early delays or
//! faked fast round trips cannot switch the waiting off: while the order stands still, the wait
//! doubles with each slot for which it ran out and which was not committed directly.
//!
//! Only a wait that ran out can have been too short, and while the order stands still there always
//! is one: let a correct leader's slot fail that all correct replicas awaited. Some correct replica
//! then made a block without the leader's, or without the votes. The first to do so saw neither a
//! quorum ahead of it nor `n-q+1` blocks without the vote (they would hold one of a correct replica
//! that did so earlier), so its wait ran out. A wait shrinks only with slots that did their part in
//! the order; otherwise those that are committed in vain, between an intruder's skipped slots and a
//! leader for whom the waits are too short, outweigh its failures, and nothing is ever delivered.
//! Why in this form: `docs/adr/0006-what-a-wait-learns-from.md`.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use ravelin_model::limits::LEADER_WAIT_MAX;
use ravelin_model::{Group, ReplicaId, Round, Time, mutants};

use crate::committer::Slot;

/// Rounds over which arrival lags are remembered.
const LAG_ROUNDS: usize = 20;
/// Own blocks of which is remembered when they were made.
const MADE_MAX: usize = 2 * LAG_ROUNDS;
/// A leader is awaited while a block of it at most so many rounds old has arrived.
const AWAITED_ROUNDS: u64 = 20;
/// Smallest unit of the wait: below it, a wait would only measure the scheduler.
const WAIT_MIN: Duration = Duration::from_micros(500);

/// How an awaited leader's slot ended, as seen a wave and a round later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotEnd {
    /// Committed directly, and so are, or skipped, all before it.
    Delivered,
    /// Committed directly, but an earlier slot is undecided.
    HeldUp,
    /// Not committed directly.
    Missed,
}

/// What is known of how timely each member is.
#[derive(Clone, Debug)]
pub struct Pacing {
    group: Group,
    own: ReplicaId,
    lags: Vec<VecDeque<Duration>>,
    newest_arrival: Vec<Round>,
    made: VecDeque<(Round, Time)>,
    /// What the wait ran out for, and how often it had grown by then.
    given_up: BTreeMap<Slot, u64>,
    growths: u64,
    /// What was learned from waits that were too short, or long enough.
    patience: Duration,
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
            given_up: BTreeMap::new(),
            growths: 0,
            patience: Duration::ZERO,
        }
    }

    /// Notes that this replica made its block of `round`.
    pub fn on_made(&mut self, now: Time, round: Round) {
        self.made.push_back((round, now));
        if self.made.len() > MADE_MAX {
            self.made.pop_front();
        }
    }

    /// Notes that `author`'s own block of `round` arrived from itself, however late, and even if
    /// others had handed it on before. Repetitions, and blocks that newer ones overtook, say nothing.
    pub fn on_arrival(&mut self, now: Time, author: ReplicaId, round: Round) {
        let Some(newest) = self.newest_arrival.get_mut(author.index()) else { return };
        if round <= *newest {
            return;
        }
        *newest = round;
        // Of a round so old that it is forgotten, the lag is at least that of the oldest one known.
        let own = self.made.iter().find(|(made, _)| *made >= round);
        let own = own.filter(|(made, _)| *made == round || self.made.len() == MADE_MAX);
        if let (Some((_, made)), Some(lags)) = (own, self.lags.get_mut(author.index())) {
            lags.push_back(now.since(*made));
            if lags.len() > LAG_ROUNDS {
                lags.pop_front();
            }
        }
    }

    /// Notes that the wait ran out before `slot`'s leader, or the votes for it, had come.
    pub fn on_given_up(&mut self, slot: Slot) {
        self.given_up.entry(slot).or_insert(self.growths);
    }

    /// Notes how an awaited leader's slot ended; slots end in rising order.
    pub fn on_awaited_slot(&mut self, slot: Slot, end: SlotEnd) {
        let growths = self.given_up.get(&slot).copied();
        self.given_up = self.given_up.split_off(&slot);
        match (end, growths) {
            (SlotEnd::Delivered, _) => self.patience /= 2,
            (SlotEnd::Missed, Some(growths)) if growths == self.growths => self.double(),
            (SlotEnd::HeldUp | SlotEnd::Missed, _) => {}
        }
    }

    fn double(&mut self) {
        self.growths += 1;
        if !mutants::is_active("wait_never_doubles") {
            self.patience = (self.wait() * 2).min(LEADER_WAIT_MAX);
        }
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

    /// Whether waiting for `leader` promises anything: its blocks commonly come within the wait, and the
    /// last of it that could be `used` is not long past. For one of whom nothing is to be hoped the wait
    /// is given up at once, and counts as one that ran out: so it grows while the order stands still,
    /// and once it is as long as it gets, everybody is waited for.
    #[must_use]
    pub fn may_come(&self, leader: ReplicaId, used: Round, round: Round) -> bool {
        let wait = self.wait();
        let is_used = used.plus(AWAITED_ROUNDS) >= round;
        (self.median(leader) <= wait && is_used) || wait >= LEADER_WAIT_MAX
    }

    /// How long a round's leaders, and the votes for the last round's, are waited for.
    #[must_use]
    pub fn wait(&self) -> Duration {
        if mutants::is_active("wait_always_longest") {
            return LEADER_WAIT_MAX;
        }
        (self.lag() * 2).max(WAIT_MIN).max(self.patience).min(LEADER_WAIT_MAX)
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
    fn who_is_later_than_the_wait_is_awaited_only_when_that_has_grown_long_enough() {
        let mut pacing = pacing();
        let ms = Duration::from_millis;
        for round in 1..=LAG_ROUNDS as u64 {
            let made = Time(round * 1_000_000);
            pacing.on_made(made, Round(round));
            for (member, lag) in [(1, ms(2)), (2, ms(3)), (3, ms(11))] {
                pacing.on_arrival(made.after(lag), ReplicaId(member), Round(round));
            }
        }
        let may_come = |pacing: &Pacing| {
            [1, 2, 3].map(|id| pacing.may_come(ReplicaId(id), Round(20), Round(20)))
        };
        assert_eq!((pacing.wait(), may_come(&pacing)), (ms(6), [true, true, false]));
        let slot = Slot { round: Round(9), index: 0 };
        pacing.on_given_up(slot);
        pacing.on_awaited_slot(slot, SlotEnd::Missed);
        assert_eq!((pacing.wait(), may_come(&pacing)), (ms(12), [true; 3]));
        let quick = ReplicaId(1);
        assert!(pacing.may_come(quick, Round(20), Round(40)));
        assert!(
            !pacing.may_come(quick, Round(20), Round(41)),
            "nothing of it could be used lately"
        );
        for number in 10..30 {
            let slot = Slot { round: Round(number), index: 0 };
            pacing.on_given_up(slot);
            pacing.on_awaited_slot(slot, SlotEnd::Missed);
        }
        assert!(
            pacing.may_come(quick, Round(20), Round(100)),
            "when waits are as long as they get"
        );
    }

    #[test]
    fn blocks_of_rounds_long_past_are_late_too() {
        let mut pacing = pacing();
        let made = |round: u64| Time(round * 1_000);
        let late = ReplicaId(1);
        for round in 1..=200 {
            pacing.on_made(made(round), Round(round));
            if let Some(old @ 1..) = round.checked_sub(100) {
                pacing.on_arrival(made(round), late, Round(old));
            }
        }
        let may_come = |pacing: &Pacing, id| pacing.may_come(id, Round(200), Round(200));
        assert!(!may_come(&pacing, late), "100 rounds of a millisecond late");
        pacing.on_arrival(made(201), ReplicaId(2), Round(230));
        assert!(may_come(&pacing, ReplicaId(2)), "who is ahead is not late");
    }

    #[test]
    fn the_wait_doubles_up_to_its_cap_and_comes_back() {
        let mut pacing = pacing();
        let base = pacing.wait();
        let slots =
            |from: u64| (from..from + 40).map(|round| Slot { round: Round(round), index: 0 });
        for slot in slots(0) {
            pacing.on_given_up(slot);
            pacing.on_awaited_slot(slot, SlotEnd::Missed);
        }
        assert_eq!(pacing.wait(), LEADER_WAIT_MAX);
        for slot in slots(100) {
            pacing.on_awaited_slot(slot, SlotEnd::Delivered);
        }
        assert_eq!(pacing.wait(), base);
    }

    #[test]
    fn a_wait_grows_once_for_all_slots_that_it_was_too_short_for() {
        let mut pacing = pacing();
        let base = pacing.wait();
        let slot = |round| Slot { round: Round(round), index: 0 };
        (1..=3).for_each(|round| pacing.on_given_up(slot(round)));
        (1..=3).for_each(|round| pacing.on_awaited_slot(slot(round), SlotEnd::Missed));
        assert_eq!(pacing.wait(), 2 * base);
        pacing.on_awaited_slot(slot(4), SlotEnd::HeldUp);
        assert_eq!(pacing.wait(), 2 * base, "committed in vain");
        pacing.on_awaited_slot(slot(5), SlotEnd::Delivered);
        assert_eq!(pacing.wait(), base);
    }

    #[test]
    fn a_wait_that_ran_out_before_the_last_growth_says_nothing_even_after_it_shrank() {
        let mut pacing = pacing();
        let base = pacing.wait();
        let slot = |round| Slot { round: Round(round), index: 0 };
        [1, 3].into_iter().for_each(|round| pacing.on_given_up(slot(round)));
        pacing.on_awaited_slot(slot(1), SlotEnd::Missed);
        assert_eq!(pacing.wait(), 2 * base);
        pacing.on_awaited_slot(slot(2), SlotEnd::Delivered);
        pacing.on_awaited_slot(slot(3), SlotEnd::Missed);
        assert_eq!(pacing.wait(), base);
    }

    #[test]
    fn repeated_and_overtaken_blocks_say_nothing_about_lags() {
        let mut pacing = pacing();
        for round in 1..=3 {
            pacing.on_made(Time(round), Round(round));
        }
        for member in [1, 2, 3] {
            pacing.on_arrival(Time(3), ReplicaId(member), Round(3));
            pacing.on_arrival(Time(9_000_000), ReplicaId(member), Round(3));
            pacing.on_arrival(Time(9_000_000), ReplicaId(member), Round(2));
        }
        assert_eq!(pacing.wait(), WAIT_MIN);
    }

    #[test]
    fn a_wait_that_did_not_run_out_was_not_too_short() {
        let mut pacing = pacing();
        let base = pacing.wait();
        let slot = |round| Slot { round: Round(round), index: 0 };
        pacing.on_awaited_slot(slot(1), SlotEnd::Missed);
        assert_eq!(pacing.wait(), base);
        pacing.on_given_up(slot(2));
        pacing.on_awaited_slot(slot(3), SlotEnd::Missed);
        assert_eq!(pacing.wait(), base, "another slot's");
        pacing.on_given_up(slot(4));
        pacing.on_awaited_slot(slot(4), SlotEnd::Missed);
        assert_eq!(pacing.wait(), 2 * base);
    }
}
