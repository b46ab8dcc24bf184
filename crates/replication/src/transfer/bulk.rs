//! Fetching many entries at once: all that lie in a range of keys, instead of each by its path.
//!
//! Whoever shows the state keeps its entries in the order of their keys, while paths are hashes. So one
//! entry by its path costs a search on the disk, and in a row a twentieth of that. Once so much is missing
//! that most of a range is wanted, ranges are asked for. They prove nothing and need not be whole: each
//! entry in them is compared with what is agreed for its path, and what they left out is asked for by
//! path afterwards. So an answer of no use is no lie, and who gives some is asked for more.

use crate::state::StateEntry;

/// Entries missing from which on ranges are asked for.
pub const RANGES_FROM: usize = 1024;
/// Bytes of a key at which a range begins or ends: no key of the state is longer.
pub const RANGE_KEY_BYTES_MAX: usize = 65_535;
/// Into how many ranges the keys are cut: enough for all peers to end at about the same time.
const RANGES: usize = 16;
/// Entries that show well enough how keys lie: with fewer, one liar would decide it.
const SAMPLE_MIN: usize = 64;
/// Answers about one range, one after the other, that bring nothing; then it is given up.
const USELESS_MAX: u32 = 64;
/// Entries in a row that cost as much as one by its path.
const ROW_OF_ONE: usize = 20;

/// Ranges of keys still to be asked for.
#[derive(Debug, Default)]
pub(super) struct Bulk {
    ranges: Vec<Range>,
    /// Whether the ranges of all keys were asked for since there was little missing.
    is_spent: bool,
}

/// Keys from one on, and below another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) from: Vec<u8>,
    pub(super) until: Option<Vec<u8>>,
    /// Answers of no use, one after the other.
    useless: u32,
    /// Entries shown of late, and those of use.
    shown: usize,
    useful: usize,
}

impl Bulk {
    /// Begins, where so much is missing; `sample` are entries by no order of their keys, which show
    /// how those lie.
    pub(super) fn begin(&mut self, missing: usize, sample: &[StateEntry]) {
        if self.is_spent || missing < RANGES_FROM || sample.len() < SAMPLE_MIN {
            return;
        }
        self.is_spent = true;
        let mut keys: Vec<&[u8]> = sample.iter().map(|(key, _)| key.as_slice()).collect();
        keys.sort_unstable();
        let mut cuts: Vec<Vec<u8>> = keys
            .chunks(keys.len().div_ceil(RANGES))
            .filter_map(|some| Some(some.first()?.to_vec()))
            .collect();
        if let Some(first) = cuts.first_mut() {
            first.clear(); // from the first of all keys on
        }
        let ends = cuts.iter().skip(1).cloned().map(Some).chain([None]);
        let ranges = cuts.iter().cloned().zip(ends);
        self.ranges = ranges
            .map(|(from, until)| Range { from, until, useless: 0, shown: 0, useful: 0 })
            .collect();
    }

    /// The next range to ask for, where so much is missing; with little, the next that is much begins
    /// anew.
    pub(super) fn next(&mut self, missing: usize) -> Option<Range> {
        if missing == 0 {
            self.ranges.clear();
        }
        self.is_spent &= missing >= RANGES_FROM || !self.ranges.is_empty();
        self.ranges.pop()
    }

    /// Takes back a range that was not answered, or wrongly.
    pub(super) fn give_back(&mut self, range: Range) {
        self.ranges.push(range);
    }

    /// Takes it that the keys of `range` below `next` were answered, of which so many were of use and so
    /// many shown. Where little is, the rest is cheaper by path.
    pub(super) fn go_on(
        &mut self,
        range: Range,
        next: Option<Vec<u8>>,
        (useful, shown): (usize, usize),
    ) {
        let useless = if useful > 0 { 0 } else { range.useless + 1 };
        let (useful, shown) = (range.useful / 2 + useful, range.shown / 2 + shown);
        let is_worth = useful * ROW_OF_ONE >= shown || shown < RANGES_FROM;
        if let Some(from) = next.filter(|_| useless < USELESS_MAX && is_worth) {
            self.ranges.push(Range { from, useless, shown, useful, ..range });
        }
    }
}

impl Range {
    /// Whether `shown` are ascending keys of this range, and `next` is one behind them.
    pub(super) fn may_hold(&self, shown: &[StateEntry], next: Option<&Vec<u8>>) -> bool {
        let keys = shown.iter().map(|(key, _)| key);
        let keys: Vec<&Vec<u8>> = keys.chain(next).collect();
        let are_ascending = keys.windows(2).all(|pair| match pair {
            [one, other] => one < other,
            _ => true,
        });
        let is_below = |key: &Vec<u8>| self.until.as_ref().is_none_or(|until| key < until);
        are_ascending
            && keys.first().is_none_or(|first| **first >= self.from)
            && keys.last().is_none_or(|last| is_below(last))
            && next.is_none_or(|next| *next > self.from && next.len() <= RANGE_KEY_BYTES_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: u8) -> StateEntry {
        (vec![key], vec![])
    }

    #[test]
    fn ranges_cover_all_keys_and_each_once() {
        for count in [64, 65, 127, 256] {
            let sample: Vec<StateEntry> =
                (0..count).map(|key| entry((key * 7 % 256) as u8)).collect();
            let mut bulk = Bulk::default();
            bulk.begin(RANGES_FROM, &sample);
            let mut ranges: Vec<Range> = std::iter::from_fn(|| bulk.next(RANGES_FROM)).collect();
            ranges.reverse();
            assert!(ranges.len() <= RANGES && !ranges.is_empty());
            assert!(ranges[0].from.is_empty() && ranges[ranges.len() - 1].until.is_none());
            for pair in ranges.windows(2) {
                assert_eq!(pair[0].until.as_ref(), Some(&pair[1].from));
                assert!(pair[0].from < pair[1].from);
            }
            bulk.begin(RANGES_FROM, &sample);
            assert_eq!(bulk.next(RANGES_FROM), None, "once, while so much is missing");
            assert_eq!(bulk.next(RANGES_FROM - 1), None);
            bulk.begin(RANGES_FROM, &sample);
            assert!(bulk.next(RANGES_FROM).is_some(), "and again later");
        }
    }

    #[test]
    fn a_range_of_little_use_is_given_up_and_few_entries_show_no_order() {
        let mut bulk = Bulk::default();
        let sample: Vec<StateEntry> = (0..SAMPLE_MIN as u8).map(entry).collect();
        bulk.begin(RANGES_FROM, &sample[1..]);
        assert_eq!(bulk.next(RANGES_FROM), None);
        bulk.begin(RANGES_FROM, &sample);
        let mut left = bulk.ranges.len();
        for useful in [1000, 100, 40] {
            let range = bulk.next(RANGES_FROM).unwrap();
            bulk.go_on(range, Some(vec![200]), (useful, 1000));
            assert_eq!(bulk.ranges.len(), left, "{useful} of 1000");
        }
        for _ in 0..4 {
            let range = bulk.next(RANGES_FROM).unwrap();
            bulk.go_on(range, Some(vec![201]), (1, 1000));
        }
        assert!(bulk.ranges.len() < left, "one of 1000");
        left = bulk.ranges.len();
        for _ in 0..USELESS_MAX {
            let range = bulk.next(RANGES_FROM).unwrap();
            bulk.go_on(range, Some(vec![202]), (0, 0));
        }
        assert_eq!(bulk.ranges.len(), left - 1, "nothing, again and again");
    }

    #[test]
    fn an_answer_about_a_range_ascends_in_it_and_goes_on_behind_it() {
        let (from, until) = (vec![3], Some(vec![9]));
        let range = Range { from, until, useless: 0, shown: 0, useful: 0 };
        let may_hold = |keys: &[u8], next: Option<Vec<u8>>| {
            let shown: Vec<StateEntry> = keys.iter().map(|key| entry(*key)).collect();
            range.may_hold(&shown, next.as_ref())
        };
        assert!(may_hold(&[], None) && may_hold(&[3, 4, 8], None) && may_hold(&[3], Some(vec![4])));
        assert!(may_hold(&[], Some(vec![3, 0])), "nothing in the beginning");
        assert!(!may_hold(&[2, 4], None) && !may_hold(&[4, 9], None));
        assert!(!may_hold(&[4, 3], None) && !may_hold(&[4, 4], None));
        assert!(!may_hold(&[4], Some(vec![4])) && !may_hold(&[4], Some(vec![9])));
        assert!(!may_hold(&[], Some(vec![3])), "it would never end");
        assert!(
            !may_hold(&[], Some(vec![4; RANGE_KEY_BYTES_MAX + 1])),
            "others refuse to be asked"
        );
    }
}
