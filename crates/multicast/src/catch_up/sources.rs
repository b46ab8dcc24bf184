//! Which peer is asked for what was missed: whoever brought most lately, while all are tried again and
//! again.
//!
//! Each is judged by the rounds that its answers brought while it was asked, a period at a time; what it
//! brought before counts half as much with each of its periods that brings less. So one bad second of a
//! good source, of which an intruder on the network can make any, does not take its place away; and an
//! intruder that brings much in one period, to do nothing in the next ones, has brought more in the mean
//! than it kept others from bringing: `x` times as much gives it `log2(x)` more periods. Those who were
//! not tried for a while have a turn. Answers that come too late count for who gives them, by the page.
//!
//! **Guarantee:** of two periods for each peer, one that always brings less than a round to another's two
//! has at most two, once both were tried: that in which it is tried again, and the one after the other was
//! given up.

use std::cmp::Reverse;
use std::time::Duration;

use ravelin_model::{ReplicaId, Time, mutants};

/// How long a peer is asked before it is judged.
pub(super) const PERIOD: Duration = Duration::from_secs(1);
/// Each peer is tried once in so many periods, times the number of peers.
const TRIED_AGAIN: u64 = 2;

/// What each peer brought, and who is asked now.
#[derive(Clone, Debug)]
pub(crate) struct Sources {
    own: ReplicaId,
    whom: ReplicaId,
    peers: Vec<Peer>,
    /// When the present period began, and the rounds that it has brought.
    period: Option<(Time, u64)>,
    /// Periods that have ended.
    count: u64,
}

/// One of the others.
#[derive(Clone, Copy, Debug, Default)]
struct Peer {
    /// Rounds that its last period brought, or half of what it was before.
    gained: u64,
    /// The number of that period; 0 if there was none.
    tried: u64,
}

impl Sources {
    /// Nobody has been asked yet.
    pub(super) fn new(size: usize, own: ReplicaId) -> Self {
        Self { own, whom: own, peers: vec![Peer::default(); size], period: None, count: 0 }
    }

    /// Who is asked now.
    pub(super) fn whom(&self) -> ReplicaId {
        self.whom
    }

    /// Takes over what an earlier replica of the same group learned.
    pub(super) fn take_over(&mut self, earlier: &Self) {
        if earlier.peers.len() == self.peers.len() && earlier.own == self.own {
            *self = Self { period: None, ..earlier.clone() };
        }
    }

    /// Chooses whom to ask: the same as before until its period is over.
    pub(super) fn choose(&mut self, now: Time) -> ReplicaId {
        if self.whom == self.own {
            self.turn(false);
        }
        let (begun, _) = *self.period.get_or_insert((now, 0));
        if now.since(begun) >= PERIOD && !mutants::is_active("slow_source_kept") {
            self.end(true);
            self.period = Some((now, 0));
        }
        self.whom
    }

    /// Who is asked does not help any more: another is to be.
    pub(super) fn give_up(&mut self) {
        self.end(false);
    }

    /// A page of this peer's brought so many rounds.
    pub(super) fn credit(&mut self, from: ReplicaId, rounds: u64) {
        match &mut self.period {
            Some((_, gained)) if from == self.whom => *gained += rounds,
            _ => {
                let peer = self.peers.get_mut(from.index());
                peer.into_iter().for_each(|peer| peer.gained = peer.gained.max(rounds));
            }
        }
    }

    /// Nobody need be asked now.
    pub(super) fn rest(&mut self) {
        self.period = None;
    }

    /// Ends the period of who is asked.
    fn end(&mut self, may_stay: bool) {
        let gained = self.period.take().map_or(0, |(_, gained)| gained);
        self.count += 1;
        if let Some(peer) = self.peers.get_mut(self.whom.index()) {
            *peer = Peer { gained: gained.max(peer.gained / 2), tried: self.count };
        }
        self.turn(may_stay);
    }

    /// Who was not tried for long comes first, then who brought most; of equals the one longest ago, and
    /// then the next in the row.
    fn turn(&mut self, may_stay: bool) {
        let size = self.peers.len();
        let row = (1..=size).map(|step| (self.whom.index() + step) % size);
        let row = row.filter(|index| *index != self.own.index());
        let again = TRIED_AGAIN * (size as u64).saturating_sub(1);
        let rank = |peer: &Peer| {
            let is_due = peer.tried == 0 || self.count - peer.tried >= again;
            match is_due {
                true => (1, Reverse(peer.tried), 0),
                false => (0, Reverse(0), peer.gained),
            }
        };
        let candidates = row.filter(|index| may_stay || *index != self.whom.index());
        let candidates = candidates.filter_map(|index| Some((index, self.peers.get(index)?)));
        let best = candidates
            .enumerate()
            .max_by_key(|(place, (_, peer))| (rank(peer), Reverse(peer.tried), Reverse(*place)));
        if let Some((_, (index, _))) = best {
            self.whom = ReplicaId(u16::try_from(index).expect("a group has at most 100 members"));
        }
    }
}
