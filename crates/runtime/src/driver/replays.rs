//! What laggards are answered from the log, page by page.
//!
//! **Guarantee:** an answer costs little time at either end, so that neither is silent towards others
//! because one server comes back from an absence.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ravelin_model::reading::Readings;
use ravelin_model::{LogPart, LogRecord, Place, ReplicaId};

use super::chains::ChainIndex;
use crate::log::{Archive, LogError, Position, Selection, Tag};

/// Bytes of log records in one answer: a laggard checks and executes as much within a tenth of a
/// second. (With pages of 4 MiB it took ten seconds, in which it neither heard nor said anything.)
pub const REPLAY_BYTES_MAX: usize = 256 << 10;
/// Shortest rest between two answers to one peer.
const REPLAY_PAUSE: Duration = Duration::from_millis(1);
/// The rest is at least so many times as long as the answer took: a peer that asks and asks costs
/// a tenth of the thread at the most.
const REST_FACTOR: u32 = 9;

type Records = Vec<(Tag, Vec<u8>)>;

/// What peers asked for last.
pub(super) struct Replays {
    archive: Archive,
    /// Until when nothing is read for a peer.
    rests: BTreeMap<ReplicaId, Instant>,
    readings: Readings<Position>,
    chains: BTreeMap<Reader, ChainIndex>,
    /// What waits for its peer's rest, the oldest first; the newest question of each reader.
    waiting: Vec<(Reader, LogPart)>,
}

/// A peer and whose chain it reads, if not all: whatever it asks for beside that changes nothing.
type Reader = (ReplicaId, Option<ReplicaId>);

impl Replays {
    pub(super) fn new(archive: Archive) -> Self {
        let (rests, readings, chains) = (BTreeMap::new(), Readings::default(), BTreeMap::new());
        Self { archive, rests, readings, chains, waiting: Vec::new() }
    }

    /// The records that answer `to`, who asks for `part`: a replay in the order of the log, a chain
    /// from its newest block on. `None` if there are none yet, for its rest is not over, or there is
    /// more of the log to look through: [`Self::due`] tells when to go on. (Who had to ask again would
    /// lose a second.)
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
        self.waiting.retain(|(waiting, _)| *waiting != reader);
        if self.rests.get(&to).is_some_and(|until| now < *until) {
            self.waiting.push((reader, part));
            return None;
        }
        let begun = Instant::now();
        let read = match part {
            LogPart::From(from) => self.replay(to, from),
            LogPart::Chain { .. } => self.chain(reader, part),
        };
        let took = begun.elapsed();
        self.rests.insert(to, now + took + REPLAY_PAUSE.max(took * REST_FACTOR));
        match read {
            Ok((records, is_all)) if records.is_empty() && !is_all => {
                self.waiting.push((reader, part));
                None
            }
            Ok((records, _)) => Some(Ok(records
                .into_iter()
                .map(|(tag, bytes)| LogRecord { place: Place::from_number(tag.0), bytes })
                .collect())),
            Err(error) => Some(Err(error)),
        }
    }

    /// Records from a place on, and whether the log ends with them.
    fn replay(&mut self, to: ReplicaId, from: Place) -> Result<(Records, bool), LogError> {
        let resume = self.readings.resume(to, from);
        let part = LogPart::From(from);
        let holds = |_, tag: Tag, bytes: &[u8]| part.holds(Place::from_number(tag.0), bytes);
        let rest = Selection { tags: Tag(from.number())..=Tag(u64::MAX), holds: &holds };
        let page = self.archive.read(&rest, resume, REPLAY_BYTES_MAX)?;
        let places = page.records.iter().map(|(tag, _)| Place::from_number(tag.0));
        self.readings.shown(to, from, places, page.next);
        Ok((page.records, page.next.is_none()))
    }

    /// Records of a chain, and whether the log was looked through.
    fn chain(&mut self, reader: Reader, part: LogPart) -> Result<(Records, bool), LogError> {
        if !self.chains.get(&reader).is_some_and(|index| index.covers(part)) {
            let wider = ChainIndex::new(part, self.chains.get(&reader));
            self.chains.insert(reader, wider);
        }
        let index = self.chains.get_mut(&reader).expect("it is there now");
        let found = index.look(&self.archive, part, REPLAY_BYTES_MAX)?;
        Ok((found.records, found.is_all))
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

#[cfg(test)]
mod tests {
    use ravelin_model::{Block, Epoch, Round};

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
            log.append(Tag(at(round).number()), &vec![1; 100 << 10]).expect("appended");
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
        record.resize(bytes, 1);
        record
    }

    /// Three authors' records of `rounds` rounds, and then a fourth's, which came late.
    fn late_log(scratch: &Scratch, rounds: u64, (of_three, late): (usize, usize)) -> Log {
        let mut log = open(scratch);
        for round in 1..=rounds {
            for author in [0, 1, 2] {
                let record = block_of(author, of_three);
                log.append(Tag(at(round).number()), &record).expect("appended");
            }
            log.sync().expect("synced");
        }
        for round in 1..=rounds {
            log.append(Tag(at(round).number()), &block_of(3, late)).expect("appended");
        }
        log.sync().expect("synced");
        log
    }

    fn chain(first: u64, last: u64) -> LogPart {
        let rounds = (Round(first), Round(last));
        LogPart::Chain { epoch: Epoch::FIRST, author: ReplicaId(3), rounds }
    }

    fn rounds_of(page: Option<Result<Vec<LogRecord>, LogError>>) -> Option<Vec<u64>> {
        let records = page?.expect("readable");
        Some(records.iter().map(|record| record.place.round.0).collect())
    }

    #[test]
    fn a_chain_that_came_late_is_found_whatever_else_is_asked_and_without_asking_again() {
        let scratch = Scratch::new();
        let log = late_log(&scratch, 100, (100 << 10, 100));
        let mut replays = Replays::new(log.archive());
        let mut now = Instant::now();
        // Of 30 MiB, 8 are looked through at a time; other parts of the chain begin nothing anew.
        assert_eq!(rounds_of(replays.page(now, PEER, chain(41, 45))), None);
        let mut found = None;
        for step in 0..4 {
            now += Duration::from_secs(10);
            assert!(replays.page(now, PEER, all(step + 1)).is_some(), "replays go on beside it");
            now += Duration::from_secs(10);
            let other = rounds_of(replays.page(now, PEER, chain(50, 52)));
            found = found.or(other);
        }
        assert_eq!(found, Some(vec![52, 51, 50]), "the newest first");
        now += Duration::from_secs(10);
        assert_eq!(
            rounds_of(replays.page(now, PEER, chain(41, 45))),
            Some(vec![45, 44, 43, 42, 41])
        );
        assert_eq!(replays.due(now), None);

        let mut replays = Replays::new(log.archive());
        let mut answer = rounds_of(replays.page(now, PEER, chain(99, 100)));
        while answer.is_none() {
            now = replays.next_due().expect("it goes on by itself");
            let (to, part) = replays.due(now).expect("it is time");
            answer = rounds_of(replays.page(now, to, part));
        }
        assert_eq!(answer, Some(vec![100, 99]));
    }

    /// Who is a little late asks for what its peers let go of: that must not take a walk through the log.
    #[test]
    fn a_block_that_is_not_old_is_found_at_once_however_long_the_log_is() {
        let scratch = Scratch::new();
        let mut log = open(&scratch);
        for round in 1..=200 {
            for author in [0, 1, 2, 3] {
                let record = block_of(author, 100 << 10);
                log.append(Tag(at(round).number()), &record).expect("appended");
            }
            log.sync().expect("synced");
        }
        let mut replays = Replays::new(log.archive());
        let now = Instant::now();
        let page = rounds_of(replays.page(now, PEER, chain(190, 190)));
        assert_eq!(page, Some(vec![190]));
    }

    #[test]
    fn a_long_chain_comes_from_its_tip_downwards_in_as_many_pages_as_it_fills() {
        let scratch = Scratch::new();
        let log = late_log(&scratch, 50, (100 << 10, 200 << 10));
        let mut replays = Replays::new(log.archive());
        let (mut now, mut tip, mut pages) = (Instant::now(), 50_u64, 0);
        while tip > 0 {
            now += Duration::from_secs(10);
            // Who knows of a fork asks for more with each block that it has.
            let first = tip.saturating_sub(50 - tip).max(1);
            let page = rounds_of(replays.page(now, PEER, chain(first, tip)));
            if let Some(&[newest, ..]) = page.as_deref() {
                assert_eq!(newest, tip);
                tip -= page.map_or(0, |page| page.len() as u64);
            }
            pages += 1;
        }
        assert!(pages < 60, "{pages} pages");
    }

    #[test]
    fn a_damaged_log_is_not_read_without_pause() {
        let scratch = Scratch::new();
        let log = late_log(&scratch, 5, (100, 100));
        let file = std::fs::read_dir(&scratch.0).expect("there").map(|file| file.expect("a file"));
        let is_segment =
            |path: &std::path::PathBuf| path.extension().is_some_and(|it| it == "segment");
        let segment = file.map(|file| file.path()).find(is_segment).expect("one");
        let mut bytes = std::fs::read(&segment).expect("readable");
        bytes[300] ^= 1;
        std::fs::write(&segment, bytes).expect("written");
        let mut replays = Replays::new(log.archive());
        let now = Instant::now();
        assert!(matches!(replays.page(now, PEER, all(1)), Some(Err(_))));
        assert!(replays.page(now, PEER, all(1)).is_none(), "not before it has rested");
    }

    /// What the third server writes down in `hybrid`: of each round its draft, its block, another's.
    fn hybrid_log(scratch: &Scratch, rounds: u64, bytes: usize) -> Log {
        let mut log = open(scratch);
        for round in 1..=rounds {
            let tag = Tag(at(round).number());
            append_draft(&mut log, tag, bytes);
            log.complete(tag, &[2; 64]).expect("completed");
            log.append(tag, &block_of(1, bytes)).expect("appended");
            log.sync().expect("synced");
        }
        log
    }

    fn append_draft(log: &mut Log, tag: Tag, bytes: usize) {
        let mut draft = block_of(3, bytes - 64);
        draft.extend(Block::UNATTESTED.0);
        log.append_draft(tag, draft).expect("appended");
        log.sync().expect("synced");
    }

    /// A page that ended with a draft would tell its reader nothing of the last round in it, and be told
    /// again for ever.
    #[test]
    fn drafts_are_no_part_of_a_page_however_large_the_blocks_are() {
        for (kib, rounds_in_a_page) in [(60, 2), (100, 1)] {
            let scratch = Scratch::new();
            let log = hybrid_log(&scratch, 6, kib << 10);
            let mut replays = Replays::new(log.archive());
            let (mut now, mut from, mut pages) = (Instant::now(), 1, 0);
            while from <= 6 {
                now += Duration::from_secs(10);
                let page = replays.page(now, PEER, all(from)).expect("answered").expect("good");
                assert!(page.iter().all(|record| !Block::is_draft(&record.bytes)));
                assert_eq!(page.len(), 2 * rounds_in_a_page, "{kib} KiB from {from}");
                from = page.last().expect("some").place.round.0 + 1;
                pages += 1;
            }
            assert_eq!(pages, 6 / rounds_in_a_page);
        }
    }

    #[test]
    fn drafts_are_no_part_of_a_chain_whatever_their_size_and_number() {
        let scratch = Scratch::new();
        let mut log = hybrid_log(&scratch, 3, 300 << 10);
        let last = Tag(at(4).number());
        for _ in 0..10 {
            append_draft(&mut log, last, 1000); // each time it stopped before it was attested
        }
        log.complete(last, &[2; 64]).expect("completed");
        log.sync().expect("synced");
        let mut replays = Replays::new(log.archive());
        let now = Instant::now();
        assert_eq!(rounds_of(replays.page(now, PEER, chain(3, 3))), Some(vec![3]));
        let later = now + Duration::from_secs(10);
        let page = replays.page(later, PEER, chain(4, 4)).expect("answered").expect("good");
        assert_eq!(page.len(), 1);
        assert!(page.iter().all(|record| !Block::is_draft(&record.bytes)));
    }
}
