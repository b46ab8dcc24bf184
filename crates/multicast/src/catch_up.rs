//! Coming back after an absence: asks one peer at a time to replay what was missed.
//!
//! How far the others are is judged by the (f+1)-th newest of the rounds of which members are known to
//! have made blocks, so `f` liars cannot make a replica believe that it is behind. Whoever sends such a
//! block: it is authentic, so its author made it.
//!
//! **It is live.** Nobody gets a round further without blocks of a quorum, more than `f`, in the round
//! before, and whoever is left behind has none there. A correct member that goes on sends its blocks, and
//! gives what they build on to whoever asks. So one correct member in touch is enough to learn of `f+1`
//! that are there. Were only a member's own sending to count, then in `hybrid`, where no more than `f`
//! others need be correct, an intruder that helps these on and sends nothing to one server could keep
//! that one from ever noticing that it is behind the others' logs.

use std::time::Duration;

use ravelin_model::{BlockRef, Group, ReplicaId, Round, Time, mutants};

use crate::Dag;
use crate::following::Page;

/// Rounds ahead of the DAG at which a replay is cheaper than fetching parents one by one.
const REPLAY_GAP: u64 = 16;
/// How long a peer may take to answer before another one is asked.
const REPLAY_PATIENCE: Duration = Duration::from_secs(1);
/// An answer that took more than this part of the patience was slow.
const SLOW_PART: u32 = 4;
/// Pause after an answer that did not help.
const REPLAY_PAUSE: Duration = Duration::from_millis(50);

/// What is known of the others' progress, and the request under way.
#[derive(Clone, Debug)]
pub(crate) struct CatchUp {
    group: Group,
    own: ReplicaId,
    seen: Vec<Round>,
    whom: ReplicaId,
    asked: Option<Asked>,
}

/// What a peer was asked.
#[derive(Clone, Copy, Debug)]
struct Asked {
    /// The highest round held when it was.
    at: Round,
    /// When to give up on it. However many of its answers show something new: until it has got this
    /// replica a round further it has no more time, or it could make do with what it kept from others.
    until: Time,
    /// Whether it has answered with a part of a round, and is to be asked for the next.
    goes_on: bool,
}

impl CatchUp {
    pub(crate) fn new(group: Group, own: ReplicaId) -> Self {
        Self { group, own, seen: vec![Round(0); group.size()], whom: own, asked: None }
    }

    /// Notes that a block exists; whether its author was not known to be as far.
    pub(crate) fn on_seen(&mut self, reference: BlockRef) -> bool {
        let Some(seen) = self.seen.get_mut(reference.author.index()) else { return false };
        let is_farther = reference.round > *seen;
        *seen = (*seen).max(reference.round);
        is_farther
    }

    /// Whether the others are far ahead of `dag`.
    pub(crate) fn is_behind(&self, dag: &Dag) -> bool {
        self.frontier() > dag.highest().plus(REPLAY_GAP)
    }

    /// How many rounds `dag` is behind what a correct member has reached.
    pub(crate) fn lag(&self, dag: &Dag) -> u64 {
        self.frontier().0.saturating_sub(dag.highest().0)
    }

    /// Whether enough members showed where they are, and `dag` is there too.
    pub(crate) fn is_caught_up(&self, dag: &Dag) -> bool {
        self.frontier() > Round(0) && !self.is_behind(dag)
    }

    /// A round that at least one correct member has reached.
    fn frontier(&self) -> Round {
        let mut seen = self.seen.clone();
        seen.sort_unstable_by(|one, other| other.cmp(one));
        let rank = match mutants::is_active("lag_of_one_believed") {
            true => 0,
            false => self.group.one_correct() - 1,
        };
        seen.get(rank).copied().unwrap_or_default()
    }

    /// The next request, if one is due.
    pub(crate) fn next_request(&mut self, now: Time, dag: &Dag) -> Option<(ReplicaId, Round)> {
        let highest = dag.highest();
        if !self.is_behind(dag) {
            self.asked = None;
            return None;
        }
        match &mut self.asked {
            Some(asked) if asked.goes_on && asked.at == highest => {
                asked.goes_on = false;
                return Some((self.whom, highest));
            }
            Some(asked) if !asked.goes_on && now < asked.until => return None,
            Some(asked) if !asked.goes_on => self.turn(),
            Some(_) | None => {}
        }
        if self.whom == self.own {
            self.turn();
        }
        let until = now.after(REPLAY_PATIENCE);
        self.asked = Some(Asked { at: highest, until, goes_on: false });
        Some((self.whom, highest))
    }

    /// Takes note of an answer: goes on at once with a peer that helped, be it by a part of a round (large
    /// blocks come one a page), else with another soon. One that took its time is not asked next, however
    /// it helped: it may want to be the only source.
    pub(crate) fn on_replayed(&mut self, now: Time, from: ReplicaId, page: Page, highest: Round) {
        let Some(asked) = self.asked.as_mut().filter(|_| from == self.whom) else { return };
        let is_slow = asked.until < now.after(REPLAY_PATIENCE - REPLAY_PATIENCE / SLOW_PART);
        match (highest > asked.at, page.is_news) {
            (true, _) | (_, true) if is_slow => {
                self.turn();
                self.asked = None;
            }
            (true, _) => self.asked = None,
            (false, true) => asked.goes_on = true,
            (false, false) => asked.until = asked.until.min(now.after(REPLAY_PAUSE)),
        }
    }

    /// When to look again.
    pub(crate) fn next_deadline(&self) -> Option<Time> {
        self.asked.map(|asked| asked.until)
    }

    fn turn(&mut self) {
        let size = u16::try_from(self.group.size()).expect("a group has at most 100 members");
        self.whom = ReplicaId((self.whom.0 + 1) % size);
        if self.whom == self.own {
            self.whom = ReplicaId((self.whom.0 + 1) % size);
        }
    }
}

#[cfg(test)]
mod tests {
    use ravelin_model::{Digest, FaultModel};

    use super::*;

    const LIMIT: Duration = REPLAY_PATIENCE.checked_div(SLOW_PART).expect("not 0");

    /// A replica that has nothing while others are at round 500, and whom it asks at first.
    fn behind(now: Time) -> (CatchUp, Dag, ReplicaId) {
        let group = Group::new(4, 1, FaultModel::Arbitrary).expect("fits");
        let dag = Dag::new(group, Digest([7; 32]), Round(0));
        let mut catch_up = CatchUp::new(group, ReplicaId(0));
        for author in [1, 2].map(ReplicaId) {
            catch_up.on_seen(BlockRef { author, round: Round(500), digest: Digest([1; 32]) });
        }
        let (first, _) = catch_up.next_request(now, &dag).expect("it is behind");
        assert_eq!(catch_up.next_request(now, &dag), None, "one at a time");
        (catch_up, dag, first)
    }

    fn page(is_news: bool) -> Page {
        Page { last: Round(0), is_news }
    }

    /// Whom it asks at once after an answer that took so long, if anybody; and whom it asked first.
    fn asked_next(took: Duration, is_news: bool, highest: Round) -> [Option<ReplicaId>; 2] {
        let (mut catch_up, dag, first) = behind(Time(1_000_000));
        let now = Time(1_000_000).after(took);
        catch_up.on_replayed(now, first, page(is_news), highest);
        [catch_up.next_request(now, &dag).map(|(whom, _)| whom), Some(first)]
    }

    #[test]
    fn who_answers_fast_is_asked_again_and_who_takes_its_time_is_not() {
        for (is_news, highest) in [(true, Round(10)), (true, Round(0)), (false, Round(10))] {
            let [next, first] = asked_next(LIMIT, is_news, highest);
            assert_eq!(next, first, "a part of a round, too, gets it further");
            let [next, first] = asked_next(LIMIT + Duration::from_millis(1), is_news, highest);
            assert!(next.is_some() && next != first);
        }
        assert_eq!(asked_next(Duration::ZERO, false, Round(0))[0], None, "nothing new: a pause");
    }

    #[test]
    fn who_shows_ever_new_blocks_of_old_rounds_does_not_keep_others_from_being_asked() {
        let (mut catch_up, dag, first) = behind(Time(0));
        let mut now = Time(0);
        for _ in 0..LIMIT.as_millis() / 10 {
            now = now.after(Duration::from_millis(10));
            catch_up.on_replayed(now, first, page(true), Round(0));
            assert_eq!(catch_up.next_request(now, &dag), Some((first, Round(0))));
        }
        now = now.after(Duration::from_millis(10));
        catch_up.on_replayed(now, first, page(true), Round(0));
        assert!(catch_up.next_request(now, &dag).is_some_and(|(next, _)| next != first));
    }
}
