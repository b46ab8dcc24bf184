//! Ranges of keys of which the tables are known to hold none.
//!
//! Every commit looks whether something has expired, and mostly nothing has: in the engine that is a
//! search in each run of tables, to find nothing. Here it is a look at a few ranges.
//!
//! **Guarantee:** what is said to be empty is, as long as it is told of every overlay that the engine
//! takes in.

use std::collections::VecDeque;

use super::overlay::Overlay;

/// Ranges that are remembered: those of a few services, and of a few who list nothing.
const GAPS_MAX: usize = 8;

/// Those last asked for stand last: what each commit asks for stays, whoever asks once for others.
#[derive(Debug, Default)]
pub(super) struct Gaps(VecDeque<Gap>);

/// From a key on, below another.
#[derive(Debug)]
struct Gap {
    from: Box<[u8]>,
    until: Box<[u8]>,
}

impl Gaps {
    /// Whether all of this range is known to be empty.
    pub(super) fn hold(&mut self, from: &[u8], until: &[u8]) -> bool {
        let holds = |gap: &Gap| *gap.from <= *from && *until <= *gap.until;
        let found = self.0.iter().position(holds).and_then(|place| self.0.remove(place));
        let is_held = found.is_some();
        self.0.extend(found);
        is_held
    }

    /// Remembers that the tables hold nothing in this range, in place of what was longest not asked for.
    pub(super) fn note(&mut self, from: &[u8], until: &[u8]) {
        self.0.retain(|gap| !(*from <= *gap.from && *gap.until <= *until));
        if self.0.len() == GAPS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(Gap { from: from.into(), until: until.into() });
    }

    /// Forgets the ranges into which an overlay puts something.
    pub(super) fn fill(&mut self, overlay: &Overlay) {
        self.0.retain(|Gap { from, until }| {
            overlay.changes(from, Some(until)).all(|(_, value)| value.is_none())
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_gap_are_empty_until_something_is_put_there() {
        let mut gaps = Gaps::default();
        gaps.note(b"b", b"f");
        assert!(gaps.hold(b"b", b"f") && gaps.hold(b"c", b"d"));
        assert!(!gaps.hold(b"a", b"c") && !gaps.hold(b"e", b"g"));
        let mut overlay = Overlay::default();
        overlay.put(b"c", None);
        overlay.put(b"f", Some(b"1".as_slice().into()));
        gaps.fill(&overlay);
        assert!(gaps.hold(b"b", b"f"), "nothing was put into it");
        overlay.put(b"b", Some(b"1".as_slice().into()));
        gaps.fill(&overlay);
        assert!(!gaps.hold(b"c", b"d"));
    }

    #[test]
    fn few_are_remembered_and_a_larger_one_takes_the_place_of_its_parts() {
        let mut gaps = Gaps::default();
        for number in 0..20_u8 {
            gaps.note(&[number], &[number, 1]);
        }
        assert_eq!(gaps.0.len(), GAPS_MAX);
        assert!(!gaps.hold(&[11], &[11, 1]) && gaps.hold(&[12], &[12, 1]));
        gaps.note(&[0], &[99]);
        assert_eq!(gaps.0.len(), 1);
    }

    #[test]
    fn what_is_asked_for_again_and_again_stays_whatever_is_asked_for_once() {
        let mut gaps = Gaps::default();
        gaps.note(b"x", b"y");
        for number in 0..100_u8 {
            assert!(gaps.hold(b"x", b"y"), "before {number}");
            gaps.note(&[b'r', number], &[b'r', number, 1]);
        }
    }
}
