//! What laggards are answered from the log, page by page.
//!
//! **Guarantee:** an answer costs little time at either end, so that neither is silent towards others
//! because one server comes back from an absence.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ravelin_model::{LogRecord, Place, ReplicaId};

use crate::log::{Archive, LogError, Position, Tag};

/// Bytes of log records in one answer: a laggard checks and executes as much within a tenth of a
/// second. (With pages of 4 MiB it took ten seconds, in which it neither heard nor said anything.)
pub const REPLAY_BYTES_MAX: usize = 256 << 10;
/// Shortest rest between two answers to one peer.
const REPLAY_PAUSE: Duration = Duration::from_millis(1);
/// The rest is at least so many times as long as the answer took: a peer that asks and asks costs
/// a tenth of the thread at the most.
const REST_FACTOR: u32 = 9;

/// What peers asked for last.
pub(super) struct Replays {
    archive: Archive,
    asked: BTreeMap<ReplicaId, Asked>,
    /// What peers asked for during their rest; the newest question of each.
    waiting: BTreeMap<ReplicaId, Place>,
}

struct Asked {
    rest_until: Instant,
    from: Place,
    next: Option<Position>,
    /// Whether the answer had records of later rounds, with which the peer gets further.
    is_further: bool,
}

impl Replays {
    pub(super) fn new(archive: Archive) -> Self {
        Self { archive, asked: BTreeMap::new(), waiting: BTreeMap::new() }
    }

    /// The records that answer `to`, who asks for those of rounds from `from` on; `None` if its rest is
    /// not over: [`Self::due`] tells when it is. (Who had to ask again would lose a second.)
    ///
    /// Whoever got further since its last question is answered from where the last answer ended, and
    /// so is whoever could not, since that answer held less than a round. Any other one has lost it,
    /// and is answered from the beginning.
    pub(super) fn page(
        &mut self,
        now: Instant,
        to: ReplicaId,
        from: Place,
    ) -> Option<Result<Vec<LogRecord>, LogError>> {
        let earlier = self.asked.get(&to);
        if earlier.is_some_and(|earlier| now < earlier.rest_until) {
            self.waiting.insert(to, from);
            return None;
        }
        self.waiting.remove(&to);
        let goes_on =
            |earlier: &&Asked| earlier.from < from || (earlier.from == from && !earlier.is_further);
        let resume = earlier.filter(goes_on).and_then(|earlier| earlier.next);
        let begun = Instant::now();
        let page = match self.archive.read_from(Tag(from.number()), resume, REPLAY_BYTES_MAX) {
            Ok(page) => page,
            Err(error) => return Some(Err(error)),
        };
        let took = begun.elapsed();
        let rest_until = now + took + REPLAY_PAUSE.max(took * REST_FACTOR);
        let is_further = page.records.iter().any(|(tag, _)| tag.0 > from.number());
        self.asked.insert(to, Asked { rest_until, from, next: page.next, is_further });
        let records = page.records.into_iter();
        Some(Ok(records
            .map(|(tag, bytes)| LogRecord { place: Place::from_number(tag.0), bytes })
            .collect()))
    }

    /// A question whose peer has rested, if there is one: it is to be asked for a page now.
    pub(super) fn due(&mut self, now: Instant) -> Option<(ReplicaId, Place)> {
        let is_over = |peer: &&ReplicaId| self.rest_until(peer).is_none_or(|until| until <= now);
        let peer = *self.waiting.keys().find(is_over)?;
        self.waiting.remove_entry(&peer)
    }

    /// When the next question is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.waiting.keys().filter_map(|peer| self.rest_until(peer)).min()
    }

    fn rest_until(&self, peer: &ReplicaId) -> Option<Instant> {
        self.asked.get(peer).map(|asked| asked.rest_until)
    }
}

#[cfg(test)]
mod tests {
    use ravelin_model::{Epoch, Round};

    use super::*;
    use crate::log::tests::Scratch;
    use crate::log::{Log, LogConfig};

    const PEER: ReplicaId = ReplicaId(1);

    fn at(round: u64) -> Place {
        Place { epoch: Epoch::FIRST, round: Round(round) }
    }

    fn open(scratch: &Scratch) -> Log {
        let config = LogConfig { owner: [7; 32], segment_bytes: 1 << 20, retention_bytes: 0 };
        Log::open(&scratch.0, config, &mut |_, _| ()).expect("opened").0
    }

    /// Records of 100 KiB for rounds 1 to 9, and the answers to `questions` 10 s apart.
    fn answers(questions: &[u64]) -> Vec<Vec<u64>> {
        answers_of(1..10, questions)
    }

    /// The same for records of `rounds`.
    fn answers_of(rounds: impl Iterator<Item = u64>, questions: &[u64]) -> Vec<Vec<u64>> {
        let scratch = Scratch::new();
        let mut log = open(&scratch);
        for round in rounds {
            log.append(Tag(at(round).number()), &vec![0; 100 << 10]).expect("appended");
            log.sync().expect("synced");
        }
        let mut replays = Replays::new(log.archive());
        let mut now = Instant::now();
        let rounds = questions.iter().map(|from| {
            now += Duration::from_secs(10);
            let page = replays.page(now, PEER, at(*from)).expect("answered").expect("readable");
            page.iter().map(|record| record.place.round.0).collect()
        });
        rounds.collect()
    }

    #[test]
    fn pages_are_small_and_follow_each_other() {
        assert_eq!(answers(&[1, 2, 4]), [vec![1, 2], vec![3, 4], vec![5, 6]]);
    }

    #[test]
    fn who_lost_an_answer_gets_it_again() {
        assert_eq!(answers(&[1, 1, 2]), [vec![1, 2], vec![1, 2], vec![3, 4]]);
        assert_eq!(answers(&[1, 5, 3]), [vec![1, 2], vec![5, 6], vec![3, 4]]);
    }

    #[test]
    fn who_gets_less_than_a_round_in_a_page_is_not_told_the_same_for_ever() {
        let rounds = [1, 1, 1, 1, 1, 2, 2];
        let told = answers_of(rounds.into_iter(), &[1, 1, 1, 1]);
        assert_eq!(told, [vec![1, 1], vec![1, 1], vec![1, 2], vec![1, 1]]);
    }

    #[test]
    fn who_asks_without_pause_is_not_answered_each_time() {
        let scratch = Scratch::new();
        let log = open(&scratch);
        let mut replays = Replays::new(log.archive());
        let now = Instant::now();
        assert!(replays.page(now, PEER, at(1)).is_some());
        assert!(replays.page(now, PEER, at(1)).is_none());
        assert!(replays.page(now, ReplicaId(2), at(1)).is_some(), "others are");
        let rested = replays.asked.get(&PEER).expect("it asked").rest_until;
        assert!(rested >= now + REPLAY_PAUSE);
        assert_eq!((replays.due(now), replays.next_due()), (None, Some(rested)));
        assert_eq!(replays.due(rested), Some((PEER, at(1))));
        assert!(replays.page(rested, PEER, at(1)).is_some(), "without being asked again");
        assert_eq!((replays.due(rested), replays.next_due()), (None, None));
    }
}
