//! How long the operations of a load took.
//!
//! Operations of one envelope take as long as it does, and count each.

use std::time::Duration;

use ravelin_client::ReadPath;

/// What was answered in one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub(super) took: Duration,
    pub(super) kind: Kind,
}

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// To write so many keys, in one envelope.
    Write(u32),
    /// To read one key, which went by this path.
    Read(ReadPath),
}

impl Kind {
    fn operations(self) -> u64 {
        match self {
            Self::Write(operations) => operations.into(),
            Self::Read(_) => 1,
        }
    }

    /// Whether it was to read.
    pub(super) fn is_read(self) -> bool {
        matches!(self, Self::Read(_))
    }
}

/// What was answered in some time.
#[derive(Debug, Default)]
pub(super) struct Samples(Vec<Sample>);

impl Samples {
    /// Adds one that was answered.
    pub(super) fn push(&mut self, sample: Sample) {
        self.0.push(sample);
    }

    /// Puts them in order, the fastest first.
    pub(super) fn sort(&mut self) {
        self.0.sort_unstable_by_key(|sample| sample.took);
    }

    /// How long the slowest took, once they are in order.
    pub(super) fn longest_ms(&self) -> f64 {
        self.0.last().map_or(0.0, |sample| sample.took.as_secs_f64() * 1e3)
    }

    /// How many operations were answered.
    pub(super) fn operations(&self) -> u64 {
        self.operations_of(|_| true)
    }

    /// How many of those were answered that `counts` chooses.
    pub(super) fn operations_of(&self, counts: impl Fn(Kind) -> bool) -> u64 {
        let chosen = self.0.iter().filter(|sample| counts(sample.kind));
        chosen.map(|sample| sample.kind.operations()).sum()
    }

    /// The time within which `percent` of a hundred operations were answered, of those that `counts`
    /// chooses, once they are in order; nothing if there were none.
    pub(super) fn percentile_ms(&self, percent: u64, counts: impl Fn(Kind) -> bool) -> Option<f64> {
        let rank = self.operations_of(&counts) * percent / 100;
        let mut passed = 0;
        let mut chosen = self.0.iter().filter(|sample| counts(sample.kind));
        let found = chosen.find(|sample| {
            passed += sample.kind.operations();
            passed > rank
        });
        found.map(|sample| sample.took.as_secs_f64() * 1e3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(samples: &[(u64, Kind)]) -> Samples {
        let mut all = Samples::default();
        for (ms, kind) in samples {
            all.push(Sample { took: Duration::from_millis(*ms), kind: *kind });
        }
        all.sort();
        all
    }

    #[test]
    fn operations_of_an_envelope_count_each() {
        let read = Kind::Read(ReadPath::Fast);
        let all = samples(&[(9, Kind::Write(32)), (1, read), (3, read)]);
        assert_eq!(all.operations(), 34);
        assert_eq!(all.percentile_ms(50, |_| true), Some(9.0));
        assert_eq!(all.percentile_ms(50, Kind::is_read), Some(3.0));
        assert_eq!(all.percentile_ms(0, Kind::is_read), Some(1.0));
        assert_eq!(all.operations_of(|kind| kind == Kind::Read(ReadPath::Ordered)), 0);
    }

    #[test]
    fn percentiles_of_equal_envelopes_are_those_of_envelopes() {
        let all: Vec<(u64, Kind)> = (0..100).rev().map(|ms| (ms, Kind::Write(7))).collect();
        let all = samples(&all);
        assert_eq!(all.percentile_ms(50, |_| true), Some(50.0));
        assert_eq!(all.percentile_ms(99, |_| true), Some(99.0));
        assert_eq!(Samples::default().percentile_ms(50, |_| true), None);
    }
}
