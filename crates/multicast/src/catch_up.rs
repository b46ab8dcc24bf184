//! Coming back after an absence: asks one peer at a time to replay what was missed.
//!
//! How far the others are is judged by the (f+1)-th newest of the rounds that members themselves
//! showed, so `f` liars cannot make a replica believe that it is behind.

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
    /// The highest round held when the request under way was made, and when to give up on it.
    asked: Option<(Round, Time)>,
}

impl CatchUp {
    pub(crate) fn new(group: Group, own: ReplicaId) -> Self {
        Self { group, own, seen: vec![Round(0); group.size()], whom: own, asked: None }
    }

    /// Notes a block that its author showed itself.
    pub(crate) fn on_seen(&mut self, reference: BlockRef) {
        if let Some(seen) = self.seen.get_mut(reference.author.index()) {
            *seen = (*seen).max(reference.round);
        }
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
        if !self.is_behind(dag) {
            self.asked = None;
            return None;
        }
        match self.asked {
            Some((_, until)) if now < until => return None,
            Some(_) => self.turn(),
            None => {}
        }
        if self.whom == self.own {
            self.turn();
        }
        self.asked = Some((dag.highest(), now.after(REPLAY_PATIENCE)));
        Some((self.whom, dag.highest()))
    }

    /// Takes note of an answer: goes on at once with a peer that helped, be it by some of the blocks of
    /// a round (large ones come one a page), else with another soon. One that took its time is not asked
    /// next, however it helped: it may want to be the only source.
    pub(crate) fn on_replayed(&mut self, now: Time, from: ReplicaId, page: Page, highest: Round) {
        let Some((asked_at, until)) = self.asked else { return };
        if from != self.whom {
            return;
        }
        if page.is_news || highest > asked_at {
            if until < now.after(REPLAY_PATIENCE - REPLAY_PATIENCE / SLOW_PART) {
                self.turn();
            }
            self.asked = None;
        } else {
            self.asked = Some((asked_at, until.min(now.after(REPLAY_PAUSE))));
        }
    }

    /// When to look again.
    pub(crate) fn next_deadline(&self) -> Option<Time> {
        self.asked.map(|(_, until)| until)
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

    /// Whom a replica that is behind asks at once after an answer that took so long, if anybody.
    fn asked_next(took: Duration, is_news: bool) -> (ReplicaId, Option<ReplicaId>) {
        let group = Group::new(4, 1, FaultModel::Arbitrary).expect("fits");
        let dag = Dag::new(group, Digest([7; 32]), Round(0));
        let mut catch_up = CatchUp::new(group, ReplicaId(0));
        for author in [1, 2].map(ReplicaId) {
            catch_up.on_seen(BlockRef { author, round: Round(500), digest: Digest([1; 32]) });
        }
        let now = Time(1_000_000);
        let (first, _) = catch_up.next_request(now, &dag).expect("it is behind");
        assert_eq!(catch_up.next_request(now, &dag), None, "one at a time");
        let now = now.after(took);
        let page = Page { last: Round(0), is_news };
        catch_up.on_replayed(now, first, page, Round(0));
        (first, catch_up.next_request(now, &dag).map(|(whom, _)| whom))
    }

    #[test]
    fn who_answers_fast_is_asked_again_and_who_takes_its_time_is_not() {
        let slow = REPLAY_PATIENCE / SLOW_PART;
        let (first, second) = asked_next(slow - Duration::from_millis(10), true);
        assert_eq!(second, Some(first), "part of a round, too, gets it further");
        let (first, second) = asked_next(slow + Duration::from_millis(10), true);
        assert!(second.is_some_and(|second| second != first));
    }

    #[test]
    fn who_shows_nothing_new_is_not_asked_again_at_once() {
        assert_eq!(asked_next(Duration::from_millis(10), false).1, None);
    }
}
