//! How soon envelopes are answered by way of each member, and when another way is tried.
//!
//! **Guarantee:** a home by way of which answers take clearly longer on the whole than by another member's
//! is found out and left, whatever makes them late: delays, also of some only, or refusals that come late.
//! What is compared is how long it took until a quorum had answered. (A member that withholds its own
//! answers where others were the way makes those wait for the slowest correct one, and gains that much.)
//! Trials go on for ever, ever more rarely by way of those that were slow: so who was slow may come back,
//! and costs few envelopes a little time if it did not change.

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
/// Answers by way of a home that looks slow before it is judged.
const FRESH_MIN: u32 = 4;
/// Envelopes after which a suspicion that could not be judged is dropped.
const SUSPICION_MAX: u64 = 64;
/// Who takes so many times as long as another is slow,
const SLOW: u32 = 2;
/// if that is more than this: below it the difference is noise.
const SLOW_LEAST: Duration = Duration::from_millis(2);
/// What a trial may take longer than the home would, besides as long as that again.
const TRIAL_GRACE: Duration = Duration::from_millis(10);

/// Which envelope of all it is.
pub(crate) type Number = u64;

/// What is known of all members.
#[derive(Clone, Debug, Default)]
pub(crate) struct Paces {
    known: BTreeMap<ReplicaId, Pace>,
    /// Envelopes sent so far.
    sent: Number,
    suspicion: Option<Suspicion>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    /// A running mean, in which each answer weighs a quarter.
    mean: Duration,
    /// The latest answer, and to which envelope.
    latest: Duration,
    answered: Number,
    samples: u32,
    trials: u32,
    /// The envelope from which on it is tried next.
    next_trial: Number,
    doublings: u32,
}

/// The home looks slow.
#[derive(Clone, Debug)]
struct Suspicion {
    /// Only what is sent after it counts.
    since: Number,
    /// Beside whom.
    better: Vec<ReplicaId>,
    /// What the home took since then, in all, for so many.
    took: Duration,
    answers: u32,
}

impl Paces {
    /// Counts one more envelope, and says whom of the `others` than the home it tries, if it tries any.
    pub(crate) fn launch(
        &mut self,
        others: impl Iterator<Item = ReplicaId>,
    ) -> (Number, Option<ReplicaId>) {
        self.sent += 1;
        let tried = self.sent.is_multiple_of(TRIAL_SPACING).then(|| self.due(others)).flatten();
        if let Some(pace) = tried.map(|tried| self.known.entry(tried).or_default()) {
            pace.trials = pace.trials.saturating_add(1);
            if pace.trials >= SAMPLES_MIN {
                pace.next_trial = self.sent + (TRIAL_PAUSE << pace.doublings);
            }
        }
        (self.sent, tried)
    }

    /// Whom to try: whoever seems better than the home; then who was tried once, before those that never
    /// were, since it is known then.
    fn due(&self, others: impl Iterator<Item = ReplicaId>) -> Option<ReplicaId> {
        let pace = |other: &ReplicaId| self.known.get(other).copied().unwrap_or_default();
        let is_awaited = |other: &ReplicaId| {
            let suspicion = self.suspicion.as_ref();
            suspicion
                .is_some_and(|it| it.better.contains(other) && pace(other).answered <= it.since)
        };
        let due = others.filter(|other| pace(other).next_trial <= self.sent);
        due.min_by_key(|other| match pace(other).trials {
            _ if is_awaited(other) => 0,
            0 => 2,
            trials if trials < SAMPLES_MIN => 1,
            _ => 3,
        })
    }

    /// The envelope of that number, which went to `member` first, was answered after that time, or was not
    /// for as long.
    pub(crate) fn record(
        &mut self,
        number: Number,
        member: ReplicaId,
        took: Duration,
        home: ReplicaId,
    ) {
        let pace = self.known.entry(member).or_default();
        pace.mean = if pace.samples == 0 { took } else { (pace.mean * 3 + took) / 4 };
        (pace.latest, pace.answered) = (took, pace.answered.max(number));
        pace.samples = pace.samples.saturating_add(1);
        if member == home {
            if let Some(suspicion) = self.suspicion.as_mut().filter(|it| number > it.since) {
                suspicion.took = suspicion.took.saturating_add(took);
                suspicion.answers = suspicion.answers.saturating_add(1);
            }
            return;
        }
        let of_home = self.mean(home);
        let Some(pace) = self.known.get_mut(&member) else { return };
        let is_slow = of_home.is_some_and(|of_home| is_slower(pace.mean, of_home));
        pace.doublings = if is_slow {
            (pace.doublings + 1).min(PAUSE_DOUBLINGS_MAX)
        } else {
            pace.doublings.saturating_sub(1)
        };
    }

    /// How long a trial may take before the home is sent the envelope, too.
    pub(crate) fn trial_patience(&self, home: ReplicaId) -> Option<Duration> {
        self.mean(home).map(|mean| mean.saturating_mul(SLOW) + TRIAL_GRACE)
    }

    /// Those of `others` for which `home` should be left. Once it looks slow beside some, those are tried
    /// anew, and it is left if it is slow beside them by what was sent since: on the whole, so that
    /// neither single answers nor what slows all down moves anybody, nor a quick answer now and then
    /// saves a home that is slow.
    pub(crate) fn better_than(
        &mut self,
        home: ReplicaId,
        others: Vec<ReplicaId>,
    ) -> Vec<ReplicaId> {
        let Some(of_home) = self.mean(home) else { return Vec::new() };
        let Some(Suspicion { since, better, took, answers }) = self.suspicion.as_ref() else {
            self.suspect(of_home, others);
            return Vec::new();
        };
        let latest = |other: &ReplicaId| {
            let pace = self.known.get(other).filter(|pace| pace.answered > *since);
            pace.map(|pace| pace.latest)
        };
        let still = better.iter().filter(|it| others.contains(it));
        let fresh: Vec<_> = still.filter_map(|it| Some((*it, latest(it)?))).collect();
        let is_over = self.sent > since + SUSPICION_MAX;
        if !is_over && (*answers < FRESH_MIN || fresh.is_empty()) {
            return Vec::new();
        }
        let of_home = took.checked_div(*answers).unwrap_or(of_home);
        let left_for = fresh.into_iter().filter(|(_, other)| is_slower(of_home, *other));
        let left_for: Vec<_> = left_for.map(|(other, _)| other).collect();
        self.suspicion = None;
        if let Some(pace) = self.known.get_mut(&home) {
            pace.mean = of_home; // as it was just measured
        }
        left_for
    }

    fn suspect(&mut self, of_home: Duration, others: Vec<ReplicaId>) {
        let mut better = self.quick(others);
        better.retain(|it| self.mean(*it).is_some_and(|mean| is_slower(of_home, mean)));
        if better.is_empty() {
            return;
        }
        for (_, pace) in self.known.iter_mut().filter(|(member, _)| better.contains(member)) {
            pace.next_trial = pace.next_trial.min(self.sent);
        }
        let (since, took, answers) = (self.sent, Duration::ZERO, 0);
        self.suspicion = Some(Suspicion { since, better, took, answers });
    }

    /// Another member is the home from now on.
    pub(crate) fn begin_home(&mut self) {
        self.suspicion = None;
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
        for _ in 0..envelopes {
            let (number, other) = paces.launch(OTHERS.into_iter());
            tried.extend(other);
            let member = other.unwrap_or(HOME);
            paces.record(number, member, ms(took(number, member)), HOME);
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
        let (first, better) = tried(&mut paces, 32, each([30, 31, 199, 200]));
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
    fn quick_answers_now_and_then_do_not_save_a_home_that_is_slow() {
        // It sees which envelopes go elsewhere, and is quick just before them.
        let took = |number, member| match member == HOME && number % TRIAL_SPACING != 3 {
            true => 400,
            false => 10,
        };
        let (_, better) = tried(&mut Paces::default(), 100, took);
        assert!(!better.is_empty());
    }

    #[test]
    fn what_was_sent_before_a_home_looked_slow_says_nothing_about_it() {
        let mut paces = Paces::default();
        tried(&mut paces, 200, each([20, 20, 20, 20]));
        // All of these were sent when everybody was held up, and are answered now, one after the other.
        let sent: Vec<_> = (0..64).map(|_| paces.launch(OTHERS.into_iter())).collect();
        for (number, other) in sent {
            let took = if other.is_some() { 20 } else { 90 };
            paces.record(number, other.unwrap_or(HOME), ms(took), HOME);
            assert_eq!(paces.better_than(HOME, OTHERS.to_vec()), [], "{number}");
        }
        assert_eq!(tried(&mut paces, 200, each([20, 20, 20, 20])).1, []);
    }

    #[test]
    fn who_is_slow_is_tried_ever_more_rarely_and_is_known_when_it_is_quick_again() {
        let mut paces = Paces::default();
        let of_slow = |tried: &[ReplicaId]| tried.iter().filter(|it| **it == OTHERS[2]).count();
        let (early, _) = tried(&mut paces, 1_000, each([20, 20, 900, 20]));
        assert!(of_slow(&early) <= 7 && early.len() > 50, "{} of {}", of_slow(&early), early.len());
        let (late, _) = tried(&mut paces, 20_000, each([20, 20, 900, 20]));
        assert!((3..=7).contains(&of_slow(&late)), "{}", of_slow(&late));
        let uneven = |number: u64, member: ReplicaId| match (member, number % 3) {
            (HOME, 0) => 10,
            (HOME, _) => 25,
            (member, _) => [10, 20, 900, 0][member.index()],
        };
        let (late, _) = tried(&mut paces, 20_000, uneven);
        assert!(of_slow(&late) <= 10, "{}", of_slow(&late));
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
                (_, Some(other)) if other == OTHERS[1] => of_mute += 1,
                (number, other) => paces.record(number, other.unwrap_or(HOME), ms(20), HOME),
            }
        }
        assert!(of_mute <= 40, "{of_mute} of 1000");
    }
}
