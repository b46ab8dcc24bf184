//! How soon envelopes are answered by way of each member, and when another way is tried.
//!
//! **Guarantee:** a home by way of which answers take clearly longer than by another member's is found
//! out and left, whatever makes them late: delays, or refusals that come late. What is compared is how
//! long it took until a quorum had answered, which no member can feign. Trials go on for ever, ever more
//! rarely by way of those that were slow: so who was slow may come back, and costs few envelopes a little
//! time if it did not change.

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
/// Answers after which a member counts as known.
const SAMPLES_MIN: u32 = 2;
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
    /// Since which of them the home looks slow.
    slow_since: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    /// A running mean, in which each answer weighs a quarter.
    mean: Duration,
    latest: Duration,
    /// How many envelopes had been sent when that was known.
    known_at: u64,
    samples: u32,
    trials: u32,
    /// The envelope from which on it is tried next.
    next_trial: u64,
    doublings: u32,
}

impl Paces {
    /// An envelope that went to `member` first was answered after that time, or was not for as long.
    pub(crate) fn record(&mut self, member: ReplicaId, took: Duration, home: ReplicaId) {
        let pace = self.known.entry(member).or_default();
        pace.mean = if pace.samples == 0 { took } else { (pace.mean * 3 + took) / 4 };
        (pace.latest, pace.known_at) = (took, self.sent);
        pace.samples = pace.samples.saturating_add(1);
        let of_home = self.mean(home);
        let Some(pace) = self.known.get_mut(&member).filter(|_| member != home) else { return };
        let is_slow = of_home.is_some_and(|of_home| is_slower(pace.mean, of_home));
        pace.doublings = if is_slow {
            (pace.doublings + 1).min(PAUSE_DOUBLINGS_MAX)
        } else {
            pace.doublings.saturating_sub(1)
        };
    }

    /// Whom of the `others` than the home the next envelope tries, if it tries any.
    pub(crate) fn trial(&mut self, others: impl Iterator<Item = ReplicaId>) -> Option<ReplicaId> {
        self.sent += 1;
        if !self.sent.is_multiple_of(TRIAL_SPACING) {
            return None;
        }
        let with_pace =
            others.map(|other| (self.known.get(&other).copied().unwrap_or_default(), other));
        let due = with_pace.filter(|(pace, _)| pace.next_trial <= self.sent);
        // First whoever seems better than the home; then who was tried once, before those that never
        // were: it is known then.
        let slow_since = self.slow_since.unwrap_or_default();
        let (_, tried) = due.min_by_key(|(pace, _)| match pace.trials {
            0 => 2,
            trials if trials < SAMPLES_MIN => 1,
            _ if pace.known_at <= slow_since => 0,
            _ => 3,
        })?;
        let pace = self.known.entry(tried).or_default();
        pace.trials = pace.trials.saturating_add(1);
        if pace.trials >= SAMPLES_MIN {
            pace.next_trial = self.sent + (TRIAL_PAUSE << pace.doublings);
        }
        Some(tried)
    }

    /// How long a trial may take before the home is sent the envelope, too.
    pub(crate) fn trial_patience(&self, home: ReplicaId) -> Option<Duration> {
        self.mean(home).map(|mean| mean.saturating_mul(SLOW) + TRIAL_GRACE)
    }

    /// Those of `others` for which `home` should be left: it is slow beside each of them, and still was
    /// when both were used anew; they are tried as soon as it looks slow. What slows all down, or one
    /// answer alone, moves nobody.
    pub(crate) fn better_than(
        &mut self,
        home: ReplicaId,
        others: Vec<ReplicaId>,
    ) -> Vec<ReplicaId> {
        let Some(of_home) = self.mean(home) else { return Vec::new() };
        let latest = |member: &ReplicaId| self.known.get(member).map_or(of_home, |it| it.latest);
        let of_home = of_home.min(latest(&home));
        let quick = self.quick(others);
        let seems_better =
            |other: &&ReplicaId| self.mean(**other).is_some_and(|mean| is_slower(of_home, mean));
        let better: Vec<_> = quick.iter().filter(seems_better).copied().collect();
        if better.is_empty() {
            self.slow_since = None;
            return better;
        }
        let Some(since) = self.slow_since else {
            self.slow_since = Some(self.sent);
            for pace in self.known.values_mut() {
                pace.next_trial = pace.next_trial.min(self.sent);
            }
            return Vec::new();
        };
        let is_anew =
            |member: &ReplicaId| self.known.get(member).is_some_and(|it| it.known_at > since);
        let is_better = |other: &ReplicaId| is_anew(other) && is_slower(of_home, latest(other));
        better.into_iter().filter(|other| is_anew(&home) && is_better(other)).collect()
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
        self.slow_since = None;
        let pace = self.known.entry(home).or_default();
        pace.doublings = (pace.doublings + 1).clamp(PAUSE_DOUBLINGS_LEFT, PAUSE_DOUBLINGS_MAX);
        pace.trials = pace.trials.max(SAMPLES_MIN); // it is known
        pace.next_trial = self.sent + (TRIAL_PAUSE << pace.doublings);
    }

    fn mean(&self, member: ReplicaId) -> Option<Duration> {
        let known = self.known.get(&member).filter(|pace| pace.samples >= SAMPLES_MIN);
        known.map(|pace| pace.mean)
    }
}

fn is_slower(one: Duration, other: Duration) -> bool {
    one > other.saturating_mul(SLOW) && one > other + SLOW_LEAST
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: ReplicaId = ReplicaId(3);
    const OTHERS: [ReplicaId; 3] = [ReplicaId(0), ReplicaId(1), ReplicaId(2)];

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Sends so many envelopes; `took` says how many milliseconds each takes by way of a member. Who was
    /// tried, and for whom the home would have been left.
    fn tried(
        paces: &mut Paces,
        envelopes: u64,
        mut took: impl FnMut(u64, ReplicaId) -> u64,
    ) -> (Vec<ReplicaId>, Vec<ReplicaId>) {
        let (mut tried, mut better) = (Vec::new(), Vec::new());
        for number in 0..envelopes {
            let other = paces.trial(OTHERS.into_iter());
            tried.extend(other);
            let member = other.unwrap_or(HOME);
            paces.record(member, ms(took(number, member)), HOME);
            better.extend(paces.better_than(HOME, OTHERS.to_vec()));
        }
        (tried, better)
    }

    /// The time of each member, the home's last.
    fn each(times: [u64; 4]) -> impl FnMut(u64, ReplicaId) -> u64 {
        move |_, member| times[member.index()]
    }

    #[test]
    fn all_are_known_soon_and_a_home_that_is_slow_beside_them_has_better_ones() {
        let mut paces = Paces::default();
        let (first, better) = tried(&mut paces, 24, each([30, 31, 199, 200]));
        assert_eq!(first[..2], [OTHERS[0]; 2], "one after the other");
        assert!(!better.is_empty() && better.iter().all(|it| OTHERS[..2].contains(it)));
        tried(&mut paces, 24, each([30, 31, 199, 200]));
        assert_eq!(
            paces.quick(vec![OTHERS[2], HOME]),
            [OTHERS[2], HOME],
            "neither beside the other"
        );
        assert_eq!(paces.quick(OTHERS.to_vec()), OTHERS[..2]);
        assert_eq!(paces.trial_patience(HOME), Some(ms(200) * SLOW + TRIAL_GRACE));
    }

    #[test]
    fn noise_and_what_slows_down_all_moves_nobody() {
        let moves = |took: &mut dyn FnMut(u64, ReplicaId) -> u64| {
            tried(&mut Paces::default(), 4_000, took).1
        };
        assert_eq!(moves(&mut each([2, 1, 2, 3])), [], "two milliseconds");
        assert_eq!(moves(&mut each([100, 100, 100, 190])), [], "less than twice as long");
        assert_eq!(
            moves(&mut |number, _| if number < 2_000 { 10 } else { 40 }),
            [],
            "all are slow"
        );
        assert_eq!(
            moves(&mut |number, _| if number % 97 == 96 { 80 } else { 10 }),
            [],
            "one answer"
        );
    }

    #[test]
    fn who_is_slow_is_tried_ever_more_rarely_and_is_known_when_it_is_quick_again() {
        let mut paces = Paces::default();
        let of_slow = |tried: &[ReplicaId]| tried.iter().filter(|it| **it == OTHERS[2]).count();
        let (early, _) = tried(&mut paces, 1_000, each([20, 20, 900, 20]));
        assert!(of_slow(&early) <= 7 && early.len() > 50, "{} of {}", of_slow(&early), early.len());
        let (late, _) = tried(&mut paces, 20_000, each([20, 20, 900, 20]));
        assert!((3..=7).contains(&of_slow(&late)), "{}", of_slow(&late));
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
            match paces.trial(OTHERS.into_iter()) {
                Some(other) if other == OTHERS[1] => of_mute += 1,
                other => paces.record(other.unwrap_or(HOME), ms(20), HOME),
            }
        }
        assert!(of_mute <= 40, "{of_mute} of 1000");
    }
}
