//! How soon envelopes are answered by way of each member, and when another way is tried.
//!
//! **Guarantee:** a member by way of which answers take clearly longer than by another's is found out,
//! whatever it does as a home: what is compared is when a quorum had answered, which none of them can
//! feign. Trials go on for ever, ever more rarely by way of those that were slow: so who was slow may
//! come back, and costs few envelopes a little time if it did not change.

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
}

#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    /// A running mean, in which each answer weighs a quarter.
    mean: Duration,
    samples: u32,
    /// The envelope from which on it is tried next.
    next_trial: u64,
    doublings: u32,
}

impl Paces {
    /// An envelope that went to `member` alone was answered after that time, or was not for as long.
    pub(crate) fn record(&mut self, member: ReplicaId, took: Duration, home: ReplicaId) {
        let pace = self.known.entry(member).or_default();
        pace.mean = if pace.samples == 0 { took } else { (pace.mean * 3 + took) / 4 };
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
        let with_pace = others.map(|other| (self.known.get(&other).copied(), other));
        let due = with_pace.filter(|(pace, _)| pace.is_none_or(|it| it.next_trial <= self.sent));
        // One that was tried once comes before those that never were: it is known then.
        let (_, tried) = due.min_by_key(|(pace, _)| match pace.map_or(0, |pace| pace.samples) {
            0 => 1,
            samples if samples < SAMPLES_MIN => 0,
            _ => 2,
        })?;
        let pace = self.known.entry(tried).or_default();
        if pace.samples >= SAMPLES_MIN - 1 {
            pace.next_trial = self.sent + (TRIAL_PAUSE << pace.doublings);
        }
        Some(tried)
    }

    /// How long a trial may take before the home is sent the envelope, too.
    pub(crate) fn trial_patience(&self, home: ReplicaId) -> Option<Duration> {
        self.mean(home).map(|mean| mean.saturating_mul(SLOW) + TRIAL_GRACE)
    }

    /// Those of `others` for which `home` should be left: they are known, it is slow beside each of
    /// them, and none of them is slow beside another.
    pub(crate) fn better_than(&self, home: ReplicaId, others: Vec<ReplicaId>) -> Vec<ReplicaId> {
        let Some(of_home) = self.mean(home) else { return Vec::new() };
        let is_better =
            |other: &ReplicaId| self.mean(*other).is_some_and(|mean| is_slower(of_home, mean));
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

    /// Members that answer after these times; who is tried in so many envelopes.
    fn tried(paces: &mut Paces, [home, others @ ..]: [u64; 4], envelopes: usize) -> Vec<ReplicaId> {
        let mut tried = Vec::new();
        for _ in 0..envelopes {
            match paces.trial(OTHERS.into_iter()) {
                Some(other) => {
                    paces.record(other, ms(others[other.index()]), HOME);
                    tried.push(other);
                }
                None => paces.record(HOME, ms(home), HOME),
            }
        }
        tried
    }

    #[test]
    fn all_are_known_soon_and_a_home_that_is_slow_beside_them_has_better_ones() {
        let mut paces = Paces::default();
        let first = tried(&mut paces, [200, 30, 31, 199], 24);
        assert_eq!(first, [0, 0, 1, 1, 2, 2].map(ReplicaId), "one after the other");
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
    fn noise_moves_nobody() {
        let mut paces = Paces::default();
        tried(&mut paces, [3, 2, 1, 2], 24);
        assert_eq!(paces.better_than(HOME, OTHERS.to_vec()), [], "by two milliseconds");
        let mut paces = Paces::default();
        tried(&mut paces, [190, 100, 100, 100], 24);
        assert_eq!(paces.better_than(HOME, OTHERS.to_vec()), [], "by less than twice as long");
    }

    #[test]
    fn who_is_slow_is_tried_ever_more_rarely_and_is_known_when_it_is_quick_again() {
        let mut paces = Paces::default();
        let early = tried(&mut paces, [20, 20, 20, 900], 1000);
        let of_slow = |tried: &[ReplicaId]| tried.iter().filter(|it| **it == OTHERS[2]).count();
        assert!(of_slow(&early) <= 7 && early.len() > 50, "{} of {}", of_slow(&early), early.len());
        let late = tried(&mut paces, [20, 20, 20, 900], 20_000);
        assert!((3..=7).contains(&of_slow(&late)), "{}", of_slow(&late));
        tried(&mut paces, [20, 20, 20, 20], 60_000);
        assert_eq!(paces.quick(OTHERS.to_vec()), OTHERS, "it came back");
    }

    #[test]
    fn who_was_left_is_not_tried_soon_however_quick_it_was() {
        let mut paces = Paces::default();
        tried(&mut paces, [20, 20, 20, 20], 200);
        paces.leave(OTHERS[1]);
        let later = tried(&mut paces, [20, 20, 20, 20], 1000);
        assert!(!later.contains(&OTHERS[1]) && later.contains(&OTHERS[0]));
        assert!(tried(&mut paces, [20, 20, 20, 20], 100).contains(&OTHERS[1]));
    }
}
