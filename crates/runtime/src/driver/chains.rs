//! Where the blocks of an author's chain stand in the log, for one peer who asks for them.
//!
//! An author may hand its blocks out as late as it likes, so they may stand anywhere after their rounds'
//! other blocks. **Guarantee:** the log is looked through once, in steps of bounded cost, however often
//! and for whichever part of the chain the peer asks; what is found is answered from its newest block
//! downwards, which is the order in which the peer gets to know their names.

use std::cell::RefCell;
use std::collections::BTreeMap;

use ravelin_model::{LogPart, Place, Round};

use crate::log::{Archive, LogError, Position, Selection, Tag};

/// Rounds of a chain that are kept track of for one peer: as many as one may lie behind before it
/// fetches the state instead.
pub const INDEXED_ROUNDS_MAX: u64 = 2048;
/// Rounds below those asked for that are kept track of at first.
const BELOW_MIN: u64 = 16;
/// Blocks of one round; an author that forks its chain may have several.
const INDEXED_BRANCHES_MAX: usize = 8;

/// The part of a chain that was looked for.
pub(super) struct ChainIndex {
    /// What is kept track of: one author's blocks, of some rounds.
    part: LogPart,
    /// How many rounds below those asked for.
    below: u64,
    places: BTreeMap<Round, Vec<Position>>,
    /// Up to where the log was looked through.
    until: Option<Position>,
}

/// An answer.
pub(super) struct Found {
    /// The newest records, from the newest on.
    pub(super) records: Vec<(Tag, Vec<u8>)>,
    /// Whether the log was looked through to its end.
    pub(super) is_all: bool,
}

impl ChainIndex {
    /// Keeps track of the chain around the last round asked for: who walks down a branch asks for
    /// lower rounds each time, and who catches up for higher ones. How far down is read first is how
    /// long an answer takes, so it is little more than what is asked for, and twice as much as `before`
    /// where that was not enough.
    pub(super) fn new(part: LogPart, before: Option<&Self>) -> Self {
        let half = INDEXED_ROUNDS_MAX / 2;
        let below = before.map_or(BELOW_MIN, |before| half.min(2 * before.below));
        let part = match part {
            LogPart::Chain { epoch, author, rounds: (first, last) } => {
                let lowest = last.minus(half).max(first.minus(below));
                let rounds = (lowest, last.plus(half));
                LogPart::Chain { epoch, author, rounds }
            }
            LogPart::From(_) => part,
        };
        Self { part, below, places: BTreeMap::new(), until: None }
    }

    /// Whether it keeps track of all that `part` asks for.
    pub(super) fn covers(&self, part: LogPart) -> bool {
        let (first, last) = self.part.places();
        let (wanted, until) = newest(part).places();
        first.epoch == wanted.epoch && first <= wanted && until <= last
    }

    /// Looks through some more of the log, and answers with what is known by then: nothing, as long as
    /// the part's last round is not among it and there is more to look through.
    pub(super) fn look(
        &mut self,
        archive: &Archive,
        part: LogPart,
        bytes_max: usize,
    ) -> Result<Found, LogError> {
        let (first, last) = self.part.places();
        let places = RefCell::new(&mut self.places);
        let tracked = &self.part;
        let note = |at: Position, tag: Tag, bytes: &[u8]| {
            let place = Place::from_number(tag.0);
            if tracked.holds(place, bytes) {
                let mut places = places.borrow_mut();
                let branches = places.entry(place.round).or_default();
                if branches.len() < INDEXED_BRANCHES_MAX {
                    branches.push(at);
                }
            }
            false
        };
        let tags = Tag(first.number())..=Tag(last.number());
        let page = archive.read(&Selection { tags, holds: &note }, self.until, 0)?;
        self.until = page.end.or(self.until);
        let is_all = page.next.is_none();
        let (from, until) = part.places();
        let has_tip = self.places.contains_key(&until.round);
        let wanted = match from <= until && (has_tip || is_all) {
            true => Some(self.places.range(from.round..=until.round)),
            false => None,
        };
        let newest_first =
            wanted.into_iter().flatten().rev().flat_map(|(_, at)| at.iter().copied());
        let records = archive.records_at(newest_first, bytes_max)?;
        Ok(Found { records, is_all })
    }
}

/// The newest rounds of a part of a chain.
fn newest(part: LogPart) -> LogPart {
    match part {
        LogPart::Chain { epoch, author, rounds: (first, last) } => {
            let first = first.max(last.minus(INDEXED_ROUNDS_MAX / 2));
            LogPart::Chain { epoch, author, rounds: (first, last) }
        }
        LogPart::From(_) => part,
    }
}
