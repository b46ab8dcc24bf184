//! The configurations that have a name: fixed, so that anyone can measure them again.

use clap::ValueEnum;

use super::load::Shape;

/// What `bench --named` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Named {
    /// Every one below in turn, as a table
    All,
    /// 128 B, 256 in flight, envelopes of 32
    Default,
    /// 128 B, 256 in flight, envelopes of 1
    Singles,
    /// 1 KiB, 256 in flight, envelopes of 32
    Kilobyte,
    /// 1 KiB, 256 in flight, envelopes of 1
    KilobyteSingles,
    /// 128 B, 4096 in flight, envelopes of 256
    Best,
    /// 128 B, 1 in flight, envelopes of 1
    OneClient,
    /// 128 B, 256 in flight: an envelope of 32 writes, then 32 reads
    Mixed,
    /// 128 B, 256 reads in flight
    Reads,
    /// 128 B, envelopes of 1, 2000 a second, each timed from when it was due
    Paced,
}

/// All that stand for one configuration, the most important first.
const EACH: [Named; 9] = [
    Named::Default,
    Named::Singles,
    Named::Kilobyte,
    Named::KilobyteSingles,
    Named::Best,
    Named::OneClient,
    Named::Mixed,
    Named::Reads,
    Named::Paced,
];

impl Named {
    /// The configurations that it stands for, with their names.
    pub(super) fn configurations(self) -> Vec<(&'static str, Shape)> {
        let chosen = EACH.iter().filter(|each| self == Self::All || self == **each);
        chosen.map(|each| each.configuration()).collect()
    }

    /// The one that it stands for, with its name; of all of them the first.
    pub(super) fn configuration(self) -> (&'static str, Shape) {
        let plain = Shape::DEFAULT;
        match self {
            Self::All | Self::Default => ("default", plain),
            Self::Singles => ("singles", Shape { envelope: 1, ..plain }),
            Self::Kilobyte => ("kilobyte", Shape { value_bytes: 1024, ..plain }),
            Self::KilobyteSingles => {
                ("kilobyte-singles", Shape { value_bytes: 1024, envelope: 1, ..plain })
            }
            Self::Best => ("best", Shape { in_flight: 4096, envelope: 256, ..plain }),
            Self::OneClient => ("one-client", Shape { in_flight: 1, envelope: 1, ..plain }),
            Self::Mixed => ("mixed", Shape { reads: 50, ..plain }),
            Self::Reads => ("reads", Shape { envelope: 1, reads: 100, ..plain }),
            Self::Paced => ("paced", Shape { envelope: 1, rate: Some(2000), ..plain }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_chosen_by_the_name_that_its_figures_have() {
        for each in EACH {
            let name = each.configuration().0;
            assert_eq!(Named::from_str(name, false), Ok(each));
            let chosen: Vec<_> = each.configurations().into_iter().map(|(name, _)| name).collect();
            assert_eq!(chosen, [name]);
        }
        assert_eq!(Named::All.configurations().len(), Named::value_variants().len() - 1);
    }

    #[test]
    fn each_is_one_that_servers_take() {
        for (name, shape) in Named::All.configurations() {
            assert!(shape.check().is_ok(), "{name}");
        }
    }
}
