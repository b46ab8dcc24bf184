//! What laggards are answered from the log, page by page.
//!
//! **Guarantee:** an answer costs little time at either end, so that neither is silent towards others
//! because one server comes back from an absence.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ravelin_model::{LogPart, LogRecord, Place, ReplicaId};

use crate::log::{Archive, LogError, Position, Selection, Tag};

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
    /// Until when nothing is read for a peer.
    rests: BTreeMap<ReplicaId, Instant>,
    asked: BTreeMap<Reader, Asked>,
    /// What peers asked for during their rest, the oldest first; the newest question of each reader.
    waiting: Vec<(Reader, LogPart)>,
}

/// A peer and whose chain it reads, if not all: each goes on where it was, whatever the peer asks for
/// beside it.
type Reader = (ReplicaId, Option<ReplicaId>);

struct Asked {
    part: LogPart,
    next: Option<Position>,
    /// Whether the answer had records of later rounds, with which the peer gets further.
    is_further: bool,
}

impl Replays {
    pub(super) fn new(archive: Archive) -> Self {
        Self { archive, rests: BTreeMap::new(), asked: BTreeMap::new(), waiting: Vec::new() }
    }

    /// The records that answer `to`, who asks for `part`; `None` if its rest is not over:
    /// [`Self::due`] tells when it is. (Who had to ask again would lose a second.)
    ///
    /// A replay goes on where the last answer ended for whoever got further since, and for whoever
    /// could not, since that answer held less than a round. Any other one has lost it, and is answered
    /// from the beginning. A chain is looked for to the log's end, and then from its beginning again.
    pub(super) fn page(
        &mut self,
        now: Instant,
        to: ReplicaId,
        part: LogPart,
    ) -> Option<Result<Vec<LogRecord>, LogError>> {
        let reader = match part {
            LogPart::From(_) => (to, None),
            LogPart::Chain { author, .. } => (to, Some(author)),
        };
        if self.rests.get(&to).is_some_and(|until| now < *until) {
            match self.waiting.iter_mut().find(|(waiting, _)| *waiting == reader) {
                Some((_, earlier)) => *earlier = part,
                None => self.waiting.push((reader, part)),
            }
            return None;
        }
        self.waiting.retain(|(waiting, _)| *waiting != reader);
        let (first, last) = part.places();
        let resume = self.asked.get(&reader).filter(|earlier| earlier.leads_to(&part));
        let resume = resume.and_then(|earlier| earlier.next);
        let selection = Selection {
            tags: Tag(first.number())..=Tag(last.number()),
            holds: &|tag, bytes| part.holds(Place::from_number(tag.0), bytes),
        };
        let begun = Instant::now();
        let page = match self.archive.read(&selection, resume, REPLAY_BYTES_MAX) {
            Ok(page) => page,
            Err(error) => return Some(Err(error)),
        };
        let took = begun.elapsed();
        self.rests.insert(to, now + took + REPLAY_PAUSE.max(took * REST_FACTOR));
        let is_further = page.records.iter().any(|(tag, _)| tag.0 > first.number());
        self.asked.insert(reader, Asked { part, next: page.next, is_further });
        let records = page.records.into_iter();
        Some(Ok(records
            .map(|(tag, bytes)| LogRecord { place: Place::from_number(tag.0), bytes })
            .collect()))
    }

    /// A question whose peer has rested, if there is one: it is to be asked for a page now.
    pub(super) fn due(&mut self, now: Instant) -> Option<(ReplicaId, LogPart)> {
        let is_over = |(reader, _): &(Reader, LogPart)| self.rest_until(reader) <= now;
        let index = self.waiting.iter().position(is_over)?;
        let ((to, _), part) = self.waiting.remove(index);
        Some((to, part))
    }

    /// When the next question is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.waiting.iter().map(|(reader, _)| self.rest_until(reader)).min()
    }

    fn rest_until(&self, (to, _): &Reader) -> Instant {
        self.rests.get(to).copied().expect("who waits is at rest")
    }
}

impl Asked {
    /// Whether the next page of `part` begins where this one's answer ended.
    fn leads_to(&self, part: &LogPart) -> bool {
        match (&self.part, part) {
            (LogPart::From(earlier), LogPart::From(place)) => {
                earlier < place || (earlier == place && !self.is_further)
            }
            (earlier, part) => earlier == part,
        }
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

    fn all(from: u64) -> LogPart {
        LogPart::From(at(from))
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
            let page = replays.page(now, PEER, all(*from)).expect("answered").expect("readable");
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
        assert!(replays.page(now, PEER, all(1)).is_some());
        assert!(replays.page(now, PEER, all(1)).is_none());
        assert!(replays.page(now, ReplicaId(2), all(1)).is_some(), "others are");
        let rested = replays.rests[&PEER];
        assert!(rested >= now + REPLAY_PAUSE);
        assert_eq!((replays.due(now), replays.next_due()), (None, Some(rested)));
        assert_eq!(replays.due(rested), Some((PEER, all(1))));
        assert!(replays.page(rested, PEER, all(1)).is_some(), "without being asked again");
        assert_eq!((replays.due(rested), replays.next_due()), (None, None));
    }

    /// A record that reads like the beginning of a block by `author`.
    fn block_of(author: u16, bytes: usize) -> Vec<u8> {
        let mut record = [vec![0; 72], author.to_le_bytes().to_vec()].concat();
        record.resize(bytes, 0);
        record
    }

    #[test]
    fn a_chain_that_came_late_is_found_however_much_lies_before_it_and_whatever_else_is_asked() {
        let scratch = Scratch::new();
        let mut log = open(&scratch);
        for round in 1..=100 {
            for author in [0, 1, 2] {
                let record = block_of(author, 100 << 10);
                log.append(Tag(at(round).number()), &record).expect("appended");
            }
            log.sync().expect("synced");
        }
        for round in 40..=45 {
            log.append(Tag(at(round).number()), &block_of(3, 100)).expect("appended");
        }
        log.sync().expect("synced");
        let rounds = (Round(41), Round(60));
        let chain = LogPart::Chain { epoch: Epoch::FIRST, author: ReplicaId(3), rounds };
        let mut replays = Replays::new(log.archive());
        let mut now = Instant::now();
        let mut read = |part| {
            now += Duration::from_secs(10);
            let page = replays.page(now, PEER, part).expect("answered").expect("readable");
            page.iter().map(|record| record.place.round.0).collect::<Vec<_>>()
        };
        for from in 1..10 {
            assert_eq!(read(all(from)).first(), Some(&from), "a replay goes on beside it");
            let found = read(chain);
            if !found.is_empty() {
                assert_eq!(found, [41, 42, 43, 44, 45]);
                return;
            }
        }
        panic!("not found");
    }
}
