//! One vote per voter.

use ravelin_model::{ReplicaId, mutants};

/// The latest vote of each member about one thing. At most one entry a member.
///
/// The latest counts, not the first: a correct member may truthfully tell two things in turn (an
/// opening it executed, then that the number is used up), and at no moment does a liar count for two.
#[derive(Clone, Debug)]
pub(crate) struct Tally<V>(Vec<(ReplicaId, V)>);

impl<V> Default for Tally<V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<V> Tally<V> {
    /// Records what `voter` says now. Only members may be passed: that bounds the tally.
    pub(crate) fn record(&mut self, voter: ReplicaId, vote: V) {
        match self.0.iter_mut().find(|(known, _)| *known == voter) {
            Some((_, latest)) if !mutants::is_active("members_counted_per_answer") => {
                *latest = vote
            }
            _ => self.0.push((voter, vote)),
        }
    }

    /// Forgets what `voter` said.
    pub(crate) fn withdraw(&mut self, voter: ReplicaId) {
        self.0.retain(|(known, _)| *known != voter);
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Whether `voter` has a vote.
    pub(crate) fn has(&self, voter: ReplicaId) -> bool {
        self.0.iter().any(|(known, _)| *known == voter)
    }

    /// All votes, in the order in which voters first came.
    pub(crate) fn votes(&self) -> impl Iterator<Item = (ReplicaId, &V)> {
        self.0.iter().map(|(voter, vote)| (*voter, vote))
    }

    /// The voters whose vote is like this, ascending.
    pub(crate) fn who(&self, is_like: impl Fn(&V) -> bool) -> Vec<ReplicaId> {
        let mut voters: Vec<_> =
            self.0.iter().filter(|(_, vote)| is_like(vote)).map(|(voter, _)| *voter).collect();
        voters.sort_unstable();
        voters
    }

    /// How many vote like this.
    pub(crate) fn count(&self, is_like: impl Fn(&V) -> bool) -> usize {
        self.0.iter().filter(|(_, vote)| is_like(vote)).count()
    }

    /// How many have a vote.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_voter_counts_once_and_for_what_it_says_last() {
        let mut tally = Tally::default();
        for vote in ["a", "b", "b"] {
            tally.record(ReplicaId(1), vote);
        }
        tally.record(ReplicaId(0), "b");
        assert_eq!(tally.count(|vote| *vote == "a"), 0);
        assert_eq!(tally.who(|vote| *vote == "b"), [ReplicaId(0), ReplicaId(1)]);
        tally.withdraw(ReplicaId(1));
        assert_eq!((tally.len(), tally.has(ReplicaId(1))), (1, false));
    }
}
