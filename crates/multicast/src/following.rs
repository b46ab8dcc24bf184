//! Reading the rest of an epoch from a member that holds its end.
//!
//! Members that have ended an epoch make no more blocks in it, so nothing new refers to the blocks
//! that somebody else still misses: they lie anywhere after its last commit. Their logs are read page
//! by page, one member's after the other's, until the epoch has ended here too.
//!
//! Of a forker's blocks of one round, members take the first that comes and what others refer to. The
//! end may have been decided by one that nothing refers to any more: a forker can show that to a single
//! member, which then is past the end. So whoever is past it sends what decided that to who reads its
//! log, and from whom a replica follows it takes a few of these, too. It takes none from the log: a
//! forker could have filled that with others.

use std::collections::BTreeMap;
use std::time::Duration;

use ravelin_model::limits::BLOCK_BYTES_MAX;
use ravelin_model::{Group, ReplicaId, Round, Time, mutants};

/// How long the member may take to answer before another one is followed.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long one member's log is read before another one has its turn: what was executed meanwhile need
/// not be read again.
const READING_MAX: Duration = Duration::from_secs(3);
/// Pause after a page that brought nothing new.
const PAUSE: Duration = Duration::from_millis(100);
/// Further blocks of forkers that are taken from one member, times the members of the group; of the
/// largest ones, a quarter. What decides an end lies in four rounds, and some that did not come the first
/// time may be dropped before they enter.
const FURTHER_BLOCKS_MAX: usize = 4;

/// Whom this replica follows, and how far it read. One member at a time, until its log has been read to
/// the end: then another one's turn may come, so that none who answers with nothing holds it up.
#[derive(Clone, Debug, Default)]
pub(crate) struct Following {
    reading: Option<Reading>,
    /// When the next reading may begin.
    rest_until: Time,
    /// How many further blocks of forkers were taken from each member, and their bytes.
    further: BTreeMap<ReplicaId, (usize, usize)>,
}

#[derive(Clone, Copy, Debug)]
struct Reading {
    member: ReplicaId,
    read: Round,
    step: Step,
    until: Time,
}

/// What a page brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Page {
    /// The highest round of its blocks that are in the DAG now.
    pub(crate) last: Round,
    /// Whether any of them was not before.
    pub(crate) is_news: bool,
    /// How many rounds further it brought the DAG.
    pub(crate) rounds: u64,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// Asks for the next page then.
    AskAt(Time),
    /// Asked; gives up on the member then.
    AskedUntil(Time),
}

impl Following {
    /// Whether nobody is followed now.
    pub(crate) fn is_free(&self) -> bool {
        self.reading.is_none()
    }

    /// Learns that `member` holds the end.
    pub(crate) fn follow(&mut self, now: Time, member: ReplicaId) {
        let begin = now.max(self.rest_until);
        let (step, until) = (Step::AskAt(begin), begin.after(READING_MAX));
        self.reading.get_or_insert(Reading { member, read: Round(0), step, until });
    }

    /// Whether to take a block of a forker that `from` sent, of these bytes, beside another one of its
    /// round. Who lies about the end uses up what is its own.
    pub(crate) fn takes_further(&mut self, group: Group, from: ReplicaId, bytes: usize) -> bool {
        let is_followed = self.reading.is_some_and(|reading| reading.member == from);
        if !is_followed || mutants::is_active("ends_without_forked_blocks") {
            return false;
        }
        let (blocks, all_bytes) = self.further.entry(from).or_default();
        let fits = *blocks < group.size() * FURTHER_BLOCKS_MAX
            && *all_bytes + bytes <= group.size() * BLOCK_BYTES_MAX;
        if fits {
            *blocks += 1;
            *all_bytes += bytes;
        }
        fits
    }

    /// The next request, if one is due; `committed` is the round of the last leader committed.
    pub(crate) fn next_request(
        &mut self,
        now: Time,
        committed: Round,
    ) -> Option<(ReplicaId, Round)> {
        let reading = self.reading.as_mut()?;
        match reading.step {
            Step::AskAt(at) if now >= at => {
                reading.step = Step::AskedUntil(now.after(PATIENCE));
                Some((reading.member, reading.read.max(committed)))
            }
            Step::AskedUntil(until) if now >= until => {
                self.reading = None;
                None
            }
            Step::AskAt(_) | Step::AskedUntil(_) => None,
        }
    }

    /// Takes note of a page.
    pub(crate) fn on_replayed(&mut self, now: Time, from: ReplicaId, page: Page) {
        let Some(reading) = &mut self.reading else { return };
        if from != reading.member || matches!(reading.step, Step::AskAt(_)) {
            return;
        }
        let goes_on = (page.is_news || page.last > reading.read) && now < reading.until;
        if goes_on {
            (reading.read, reading.step) = (reading.read.max(page.last), Step::AskAt(now));
        } else if mutants::is_active("one_followed_for_ever") {
            (reading.read, reading.step) = (Round(0), Step::AskAt(now.after(PAUSE)));
        } else {
            self.reading = None;
            self.rest_until = now.after(PAUSE);
        }
    }

    /// When to look again.
    pub(crate) fn next_deadline(&self) -> Option<Time> {
        self.reading.map(|reading| match reading.step {
            Step::AskAt(at) | Step::AskedUntil(at) => at,
        })
    }
}

#[cfg(test)]
mod tests {
    use ravelin_model::FaultModel;

    use super::*;

    fn page(last: u64) -> Page {
        Page { last: Round(last), is_news: false, rounds: 0 }
    }

    #[test]
    fn a_log_is_read_to_its_end_and_then_the_next_member_has_its_turn() {
        let (member, other) = (ReplicaId(2), ReplicaId(3));
        let mut following = Following::default();
        let mut now = Time(1_000_000);
        assert_eq!(following.next_request(now, Round(5)), None);
        following.follow(now, member);
        following.follow(now, other);
        assert_eq!(following.next_request(now, Round(5)), Some((member, Round(5))));
        assert_eq!(following.next_request(now, Round(5)), None, "one page at a time");
        following.on_replayed(now, other, page(90));
        assert_eq!(following.next_request(now, Round(5)), None);
        following.on_replayed(now, member, page(9));
        assert_eq!(following.next_request(now, Round(7)), Some((member, Round(9))));
        following.on_replayed(now, member, page(9));
        assert!(following.is_free());
        following.follow(now, other);
        assert_eq!(following.next_request(now, Round(7)), None, "a pause");
        now = now.after(PAUSE);
        assert_eq!(following.next_deadline(), Some(now));
        assert_eq!(following.next_request(now, Round(7)), Some((other, Round(7))));
    }

    #[test]
    fn further_blocks_of_a_forker_are_taken_from_whom_it_follows_and_not_without_end() {
        let (member, other) = (ReplicaId(2), ReplicaId(3));
        let group = Group::new(4, 1, FaultModel::Arbitrary).unwrap();
        for (bytes, most) in [(400, 4 * FURTHER_BLOCKS_MAX), (BLOCK_BYTES_MAX, 4)] {
            let mut following = Following::default();
            assert!(!following.takes_further(group, member, bytes));
            following.follow(Time(0), member);
            assert!(!following.takes_further(group, other, bytes));
            let takes = |_: &u32| following.takes_further(group, member, bytes);
            assert_eq!((0..1000).filter(takes).count(), most);
        }
    }

    #[test]
    fn who_does_not_answer_is_followed_no_longer() {
        let mut following = Following::default();
        let now = Time(1_000_000);
        following.follow(now, ReplicaId(2));
        assert!(following.next_request(now, Round(0)).is_some());
        let later = now.after(PATIENCE);
        assert_eq!(following.next_request(later, Round(0)), None);
        assert_eq!(following.next_deadline(), None);
        following.follow(later, ReplicaId(3));
        assert_eq!(following.next_request(later, Round(0)), Some((ReplicaId(3), Round(0))));
    }
}
