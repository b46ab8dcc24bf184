//! How far peers have read a log that is replayed to them page by page.

use std::collections::BTreeMap;

use crate::{Place, ReplicaId};

/// What each peer was shown last; `P` is a position in the log.
#[derive(Clone, Debug)]
pub struct Readings<P> {
    shown: BTreeMap<ReplicaId, Shown<P>>,
}

#[derive(Clone, Copy, Debug)]
struct Shown<P> {
    from: Place,
    next: Option<P>,
    /// Whether the page had records of later rounds, with which the peer gets further.
    is_further: bool,
}

impl<P> Default for Readings<P> {
    fn default() -> Self {
        Self { shown: BTreeMap::new() }
    }
}

impl<P: Copy> Readings<P> {
    /// Where the page begins that `to` is shown, who asks for the records from a place on; `None`: at
    /// the beginning of the log.
    ///
    /// Whoever got further since its last question goes on where the last page ended, and so does
    /// whoever could not, since that page held less than a round. Any other one has lost it.
    #[must_use]
    pub fn resume(&self, to: ReplicaId, from: Place) -> Option<P> {
        let earlier = self.shown.get(&to)?;
        let goes_on = earlier.from < from || (earlier.from == from && !earlier.is_further);
        earlier.next.filter(|_| goes_on)
    }

    /// Notes the page that `to` was shown: the places of its records, and where the next one begins,
    /// unless the log ended.
    pub fn shown(
        &mut self,
        to: ReplicaId,
        from: Place,
        mut places: impl Iterator<Item = Place>,
        next: Option<P>,
    ) {
        let is_further = places.any(|place| place > from);
        self.shown.insert(to, Shown { from, next, is_further });
    }
}

#[cfg(test)]
mod tests {
    use crate::{Epoch, Round};

    use super::*;

    const PEER: ReplicaId = ReplicaId(1);

    fn at(round: u64) -> Place {
        Place { epoch: Epoch::FIRST, round: Round(round) }
    }

    #[test]
    fn a_replay_goes_on_for_who_got_further_and_for_who_could_not() {
        let mut readings = Readings::default();
        assert_eq!(readings.resume(PEER, at(1)), None);
        readings.shown(PEER, at(1), [at(1), at(2)].into_iter(), Some(20));
        assert_eq!(readings.resume(PEER, at(2)), Some(20));
        assert_eq!(readings.resume(PEER, at(1)), None, "the page was lost");
        assert_eq!(readings.resume(ReplicaId(2), at(2)), None, "another peer");
        readings.shown(PEER, at(1), [at(1)].into_iter(), Some(10));
        assert_eq!(readings.resume(PEER, at(1)), Some(10), "less than a round");
        readings.shown(PEER, at(5), [at(5)].into_iter(), None);
        assert_eq!(readings.resume(PEER, at(6)), None, "the log ended");
    }
}
