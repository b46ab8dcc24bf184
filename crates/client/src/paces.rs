//! How soon envelopes are answered by way of each member, and when another way is tried.
//!
//! **Guarantee:** a home by way of which answers take clearly longer on average than by another member's is
//! found out and left, whatever makes them late: delays, also of some only, or refusals that come late.
//! What slows all down moves nobody. What is compared is how long it took until a quorum had answered. (A
//! member that withholds its own answers where others were the way makes those wait for the slowest correct
//! one, and gains that much.) Trials go on for ever, ever more rarely by way of those that were slow: so who
//! was slow may come back, and costs few envelopes a little time if it did not change.
//!
//! Each trial is compared with what the home took since the trial before, and both means take that in
//! together: so neither is older than the other.

use std::collections::BTreeMap;
use std::time::Duration;

use ravelin_model::ReplicaId;

/// Of so many envelopes one may be a trial.
const TRIAL_SPACING: u64 = 4;
/// Envelopes between two trials of a member that is known and not slow.
const TRIAL_PAUSE: u64 = 32;
/// Doublings of that pause, one for each trial that showed it slow.
const PAUSE_DOUBLINGS_MAX: u32 = 7;
/// What leaving a home counts as: a member that is quick in trials only gains nothing.
const PAUSE_DOUBLINGS_LEFT: u32 = 5;
/// Trials, and comparisons with the home, after which a member counts as known.
const TRIALS_MIN: u32 = 4;
/// Of how many the latest one is in a mean, and in the means that are compared.
const MEMORY: u32 = 4;
const MEMORY_COMPARED: u32 = 16;
/// Who takes so many times as long as another is slow,
const SLOW: u32 = 2;
/// if that is more than this: below it the difference is noise.
const SLOW_LEAST: Duration = Duration::from_millis(2);
/// What a trial may take longer than the home would, besides as long as that again.
const TRIAL_GRACE: Duration = Duration::from_millis(10);

/// What is known of all members.
#[derive(Clone, Debug, Default)]
pub(crate) struct Paces {
    known: BTreeMap<ReplicaId, Pace>,
    /// Envelopes sent so far.
    sent: u64,
    home: Option<ReplicaId>,
    /// What the home took since the last trial.
    lately: Total,
}

#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    mean: Mean,
    /// The same of its trials beside the present home, and what that took.
    beside: Comparison,
    trials: u32,
    /// The envelope from which on it is tried next.
    next_trial: u64,
    doublings: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Comparison {
    own: Mean,
    of_home: Mean,
}

#[derive(Clone, Copy, Debug, Default)]
struct Total {
    took: Duration,
    answers: u32,
}

/// A running mean.
#[derive(Clone, Copy, Debug, Default)]
struct Mean {
    value: Duration,
    count: u32,
}

impl Mean {
    fn add(&mut self, took: Duration, memory: u32) {
        self.count = self.count.saturating_add(1);
        let weight = self.count.min(memory);
        self.value = (self.value * (weight - 1) + took) / weight;
    }

    fn known(self, least: u32) -> Option<Duration> {
        (self.count >= least).then_some(self.value)
    }
}

impl Paces {
    /// Counts one more envelope, and says whom of the `others` than the home it tries, if it tries any:
    /// whoever was tried too little to be known, before those that never were.
    pub(crate) fn launch(&mut self, others: impl Iterator<Item = ReplicaId>) -> Option<ReplicaId> {
        self.sent += 1;
        if !self.sent.is_multiple_of(TRIAL_SPACING) {
            return None;
        }
        let pace = |other: &ReplicaId| self.known.get(other).copied().unwrap_or_default();
        let due = others.filter(|other| pace(other).next_trial <= self.sent);
        let tried = due.min_by_key(|other| match pace(other).trials {
            0 => (1, 0),
            trials if trials < TRIALS_MIN => (0, 0),
            _ => (2, pace(other).next_trial),
        })?;
        let pace = self.known.entry(tried).or_default();
        pace.trials = pace.trials.saturating_add(1);
        if pace.trials >= TRIALS_MIN {
            pace.next_trial = self.sent + (TRIAL_PAUSE << pace.doublings);
        }
        Some(tried)
    }

    /// An envelope that went to `member` first was answered after that time, or was not for as long.
    pub(crate) fn record(&mut self, member: ReplicaId, took: Duration, home: ReplicaId) {
        self.begin_home(home);
        self.known.entry(member).or_default().mean.add(took, MEMORY);
        if member == home {
            self.lately.took = self.lately.took.saturating_add(took);
            self.lately.answers = self.lately.answers.saturating_add(1);
            return self.hasten(home);
        }
        let Some(of_home) = self.lately.took.checked_div(self.lately.answers) else { return };
        self.lately = Total::default();
        let Some(pace) = self.known.get_mut(&member) else { return };
        pace.beside.own.add(took, MEMORY_COMPARED);
        pace.beside.of_home.add(of_home, MEMORY_COMPARED);
        pace.doublings = if is_slower(took, of_home) {
            (pace.doublings + 1).min(PAUSE_DOUBLINGS_MAX)
        } else {
            pace.doublings.saturating_sub(1)
        };
    }

    /// Lets those be tried soon beside whom the home looks slow.
    fn hasten(&mut self, home: ReplicaId) {
        let Some(of_home) = self.mean(home) else { return };
        let sent = self.sent;
        let is_better =
            |pace: &Pace| pace.mean.known(TRIALS_MIN).is_some_and(|mean| is_slower(of_home, mean));
        for pace in self.known.values_mut().filter(|pace| is_better(pace)) {
            pace.next_trial = pace.next_trial.min(sent);
        }
    }

    /// How long a trial may take before the home is sent the envelope, too.
    pub(crate) fn trial_patience(&self, home: ReplicaId) -> Option<Duration> {
        let mean = self.known.get(&home)?.mean.known(2)?;
        Some(mean.saturating_mul(SLOW) + TRIAL_GRACE)
    }

    /// Those of `others` for which `home` should be left: it is slow beside each of them, and none of
    /// them is slow beside another.
    pub(crate) fn better_than(
        &mut self,
        home: ReplicaId,
        others: Vec<ReplicaId>,
    ) -> Vec<ReplicaId> {
        self.begin_home(home);
        let is_better = |other: &ReplicaId| {
            let beside = self.known.get(other).map(|pace| pace.beside).unwrap_or_default();
            // Of few comparisons only much is more than chance.
            let of_home =
                beside.of_home.value / if beside.own.count < MEMORY_COMPARED { 2 } else { 1 };
            beside.own.known(TRIALS_MIN).is_some_and(|own| is_slower(of_home, own))
        };
        self.quick(others).into_iter().filter(is_better).collect()
    }

    /// `members` without those that are known to be slow beside another of them.
    pub(crate) fn quick(&self, members: Vec<ReplicaId>) -> Vec<ReplicaId> {
        let best = members.iter().filter_map(|member| self.mean(*member)).min();
        let is_quick = |member: &ReplicaId| match (self.mean(*member), best) {
            (Some(mean), Some(best)) => !is_slower(mean, best),
            _ => true,
        };
        members.into_iter().filter(is_quick).collect()
    }

    /// `home` was left because it was slow.
    pub(crate) fn leave(&mut self, home: ReplicaId) {
        let pace = self.known.entry(home).or_default();
        pace.doublings = (pace.doublings + 1).clamp(PAUSE_DOUBLINGS_LEFT, PAUSE_DOUBLINGS_MAX);
        pace.trials = pace.trials.max(TRIALS_MIN); // it is known
        pace.next_trial = self.sent + (TRIAL_PAUSE << pace.doublings);
    }

    /// What was compared with another home says nothing about this one.
    fn begin_home(&mut self, home: ReplicaId) {
        if self.home != Some(home) {
            self.home = Some(home);
            self.lately = Total::default();
            self.known.values_mut().for_each(|pace| pace.beside = Comparison::default());
        }
    }

    fn mean(&self, member: ReplicaId) -> Option<Duration> {
        self.known.get(&member)?.mean.known(TRIALS_MIN)
    }
}

fn is_slower(one: Duration, other: Duration) -> bool {
    one > other.saturating_mul(SLOW) && one > other + SLOW_LEAST
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::{RngCore as _, SeedableRng as _};

    use super::*;

    const HOME: ReplicaId = ReplicaId(3);
    const OTHERS: [ReplicaId; 3] = [ReplicaId(0), ReplicaId(1), ReplicaId(2)];

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Sends so many envelopes; `took` says how many milliseconds each takes by way of a member. Who was
    /// tried, and after how many of them the home would first have been left.
    fn tried(
        paces: &mut Paces,
        envelopes: u64,
        mut took: impl FnMut(u64, ReplicaId) -> u64,
    ) -> (Vec<ReplicaId>, Option<u64>) {
        let (mut tried, mut left) = (Vec::new(), None);
        for number in 0..envelopes {
            let other = paces.launch(OTHERS.into_iter());
            tried.extend(other);
            let member = other.unwrap_or(HOME);
            paces.record(member, ms(took(number, member)), HOME);
            if !paces.better_than(HOME, OTHERS.to_vec()).is_empty() {
                left = left.or(Some(number));
            }
        }
        (tried, left)
    }

    /// The time of each member, the home's last.
    fn each(times: [u64; 4]) -> impl FnMut(u64, ReplicaId) -> u64 {
        move |_, member| times[member.index()]
    }

    #[test]
    fn a_home_that_is_slow_beside_others_is_left_for_them_soon() {
        let mut paces = Paces::default();
        let (first, left) = tried(&mut paces, 24, each([30, 31, 199, 200]));
        assert_eq!(first[..4], [OTHERS[0]; 4], "one after the other");
        assert_eq!(left, Some(15), "as soon as one is known");
        tried(&mut paces, 24, each([30, 31, 199, 200]));
        assert_eq!(paces.better_than(HOME, OTHERS.to_vec()), OTHERS[..2]);
        assert_eq!(
            paces.quick(vec![OTHERS[2], HOME]),
            [OTHERS[2], HOME],
            "neither beside the other"
        );
        assert_eq!(paces.quick(OTHERS.to_vec()), OTHERS[..2]);
        assert_eq!(paces.trial_patience(HOME), Some(ms(200) * SLOW + TRIAL_GRACE));
    }

    #[test]
    fn neither_little_nor_what_slows_down_all_moves_anybody() {
        let left = |took: &mut dyn FnMut(u64, ReplicaId) -> u64| {
            tried(&mut Paces::default(), 8_000, took).1
        };
        assert_eq!(left(&mut each([2, 1, 2, 3])), None, "two milliseconds");
        assert_eq!(left(&mut each([100, 100, 100, 190])), None, "less than twice as long");
        let phases = |number, _| if number / 500 % 2 == 0 { 10 } else { 60 };
        assert_eq!(left(&mut { phases }), None, "all are slow, and quick again");
        assert_eq!(
            left(&mut |number, _| if number % 97 == 96 { 80 } else { 10 }),
            None,
            "one answer"
        );
    }

    #[test]
    fn homes_whose_answers_vary_as_those_of_the_others_are_left_rarely() {
        let of = |times: &'static [u64], seed| {
            let mut generator = ChaCha8Rng::seed_from_u64(seed);
            let mut paces = Paces::default();
            let mut draw = |_, _| times[generator.next_u32() as usize % times.len()];
            let mut left = 0;
            for _ in 0..20_000 {
                if tried(&mut paces, 1, &mut draw).1.is_some() {
                    left += 1;
                    paces.leave(HOME);
                    paces.begin_home(OTHERS[0]); // and back, so that it begins anew
                }
            }
            left
        };
        for seed in 0..4 {
            let uniform: &[u64] = &[5, 10, 15, 20, 25, 30, 35, 40];
            let tailed: &[u64] = &[10, 10, 10, 10, 10, 10, 10, 10, 10, 150];
            let (uniform, tailed) = (of(uniform, seed), of(tailed, seed));
            assert!(uniform <= 10 && tailed <= 60, "{uniform}, {tailed} of 20000");
        }
    }

    #[test]
    fn a_home_that_delays_some_of_its_answers_is_left() {
        let mut patterns: Vec<Box<dyn FnMut(u64) -> bool>> = vec![
            Box::new(|number| number % TRIAL_SPACING != 2), // it is quick just before a trial
            Box::new(|number| number % 7 == 0),
            Box::new(|number| number % 16 < 4),
        ];
        for (which, delays) in patterns.iter_mut().enumerate() {
            let took = |number, member| if member == HOME && delays(number) { 400 } else { 10 };
            let (_, left) = tried(&mut Paces::default(), 400, took);
            assert!(left.is_some_and(|number| number < 100), "{which}: {left:?}");
        }
    }

    #[test]
    fn who_is_slow_is_tried_ever_more_rarely_and_is_known_when_it_is_quick_again() {
        let mut paces = Paces::default();
        let of_slow = |tried: &[ReplicaId]| tried.iter().filter(|it| **it == OTHERS[2]).count();
        let (early, _) = tried(&mut paces, 1_000, each([20, 20, 900, 20]));
        assert!(of_slow(&early) <= 9 && early.len() > 50, "{} of {}", of_slow(&early), early.len());
        let uneven = |number: u64, member: ReplicaId| match (member, number % 3) {
            (HOME, 0) => 10,
            (HOME, _) => 25,
            (member, _) => [10, 20, 900, 0][member.index()],
        };
        let (late, _) = tried(&mut paces, 20_000, uneven);
        assert!((3..=10).contains(&of_slow(&late)), "{}", of_slow(&late));
        tried(&mut paces, 60_000, each([20, 20, 20, 20]));
        assert_eq!(paces.quick(OTHERS.to_vec()), OTHERS, "it came back");
    }

    #[test]
    fn who_was_left_is_not_tried_soon_however_quick_it_was() {
        let mut paces = Paces::default();
        tried(&mut paces, 200, each([20, 20, 20, 20]));
        paces.leave(OTHERS[1]);
        let (later, _) = tried(&mut paces, 1_000, each([20, 20, 20, 20]));
        assert!(!later.contains(&OTHERS[1]) && later.contains(&OTHERS[0]));
        assert!(tried(&mut paces, 100, each([20, 20, 20, 20])).0.contains(&OTHERS[1]));
    }

    #[test]
    fn of_who_never_lets_itself_be_measured_few_are_tried() {
        let mut paces = Paces::default();
        let mut of_mute = 0;
        for _ in 0..1_000 {
            match paces.launch(OTHERS.into_iter()) {
                Some(other) if other == OTHERS[1] => of_mute += 1,
                other => paces.record(other.unwrap_or(HOME), ms(20), HOME),
            }
        }
        assert!(of_mute <= 40, "{of_mute} of 1000");
    }
}
