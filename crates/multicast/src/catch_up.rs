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
//!
//! **No liar keeps it from the others.** One that answers with a round at a time, as slowly as is just
//! taken, is asked no longer than its period: [`Sources`] chooses who brings most.

mod sources;

use std::time::Duration;

use ravelin_model::{BlockRef, Group, ReplicaId, Round, Time, mutants};

use crate::Dag;
use crate::following::Page;

pub(crate) use sources::Sources;

/// Rounds ahead of the DAG at which a replay is cheaper than fetching parents one by one.
const REPLAY_GAP: u64 = 16;
/// How long a peer may take to answer before another one is asked.
const REPLAY_PATIENCE: Duration = Duration::from_secs(1);
/// Pause after an answer that did not help.
const REPLAY_PAUSE: Duration = Duration::from_millis(50);

/// What is known of the others' progress, and the request under way.
#[derive(Clone, Debug)]
pub(crate) struct CatchUp {
    group: Group,
    seen: Vec<Round>,
    sources: Sources,
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
    /// Answers that held only what was known of the round. Each shows a block at least, so no honest one
    /// needs more of them than there are members.
    known: usize,
}

impl CatchUp {
    pub(crate) fn new(group: Group, own: ReplicaId) -> Self {
        let sources = Sources::new(group.size(), own);
        Self { group, seen: vec![Round(0); group.size()], sources, asked: None }
    }

    /// What is known of those who may be asked.
    pub(crate) fn sources(&self) -> &Sources {
        &self.sources
    }

    /// Takes over what an earlier one knew of those who may be asked.
    pub(crate) fn take_over(&mut self, earlier: &Sources) {
        self.sources.take_over(earlier);
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
        self.is_behind_at(dag.highest())
    }

    fn is_behind_at(&self, highest: Round) -> bool {
        self.frontier() > highest.plus(REPLAY_GAP)
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

    /// The next request, if one is due, of a replica whose highest round is this.
    pub(crate) fn next_request(&mut self, now: Time, highest: Round) -> Option<(ReplicaId, Round)> {
        if !self.is_behind_at(highest) {
            self.asked = None;
            self.sources.rest();
            return None;
        }
        match &mut self.asked {
            Some(asked) if asked.goes_on && asked.at == highest && now < asked.until => {
                asked.goes_on = false;
                return Some((self.sources.whom(), highest));
            }
            Some(asked) if now < asked.until && !asked.goes_on => return None,
            Some(asked) if now >= asked.until => self.sources.give_up(),
            Some(_) | None => {}
        }
        let whom = self.sources.choose(now);
        let until = now.after(REPLAY_PATIENCE);
        self.asked = Some(Asked { at: highest, until, goes_on: false, known: 0 });
        Some((whom, highest))
    }

    /// Takes note of an answer: goes on at once with a peer that helped, else with another soon. Large
    /// blocks come one a page, so what helps may be a part of a round, or those of the round asked from
    /// that are held already and fill the first page.
    pub(crate) fn on_replayed(&mut self, now: Time, from: ReplicaId, page: Page, highest: Round) {
        self.sources.credit(from, page.rounds);
        let is_asked = from == self.sources.whom();
        let Some(asked) = self.asked.as_mut().filter(|_| is_asked) else { return };
        let is_of_round = page.last >= asked.at && page.last > Round(0);
        asked.known += usize::from(is_of_round && !page.is_news);
        let is_part = page.is_news || (is_of_round && asked.known <= self.group.size());
        match (highest > asked.at, is_part) {
            (true, _) => self.asked = None,
            (false, true) => asked.goes_on = true,
            (false, false) => asked.until = asked.until.min(now.after(REPLAY_PAUSE)),
        }
    }

    /// When to look again.
    pub(crate) fn next_deadline(&self) -> Option<Time> {
        self.asked.map(|asked| asked.until)
    }
}

#[cfg(test)]
mod tests;
