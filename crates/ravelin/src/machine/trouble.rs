//! The troubles by name.

use super::tools::{self, Tool};

/// What befalls the machine of one server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// One byte of every 4 KiB of its data is another.
    Rot,
    /// A copy of its data from some checkpoints ago is all that is left.
    Rollback,
    /// Another process has its key and a copy of its data.
    Twin,
    /// It and another server have each other's data.
    Swapped,
    /// It gets a twentieth of a processor.
    Throttle,
    /// It gets little memory.
    Squeeze,
    /// Its clock is a day ahead.
    DayAhead,
    /// Its clock is a day behind.
    DayBehind,
    /// Its clock runs twice as fast.
    FastClock,
    /// Each sync of its disk takes long.
    SlowDisk,
    /// A sync of its disk fails.
    FailedSync,
    /// Its disk takes nothing more.
    FullDisk,
}

impl Trouble {
    /// All of them.
    pub(crate) const ALL: [Self; 12] = [
        Self::Rot,
        Self::Rollback,
        Self::Twin,
        Self::Swapped,
        Self::Throttle,
        Self::Squeeze,
        Self::DayAhead,
        Self::DayBehind,
        Self::FastClock,
        Self::SlowDisk,
        Self::FailedSync,
        Self::FullDisk,
    ];

    /// Its name in outputs.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rot => "rot",
            Self::Rollback => "rollback",
            Self::Twin => "twin",
            Self::Swapped => "swapped",
            Self::Throttle => "throttle",
            Self::Squeeze => "squeeze",
            Self::DayAhead => "day-ahead",
            Self::DayBehind => "day-behind",
            Self::FastClock => "fast-clock",
            Self::SlowDisk => "slow-disk",
            Self::FailedSync => "failed-sync",
            Self::FullDisk => "full-disk",
        }
    }

    /// What happens, in words.
    pub(crate) fn what(self) -> &'static str {
        match self {
            Self::Rot => "kill -9, one byte flipped in every 4 KiB of its data",
            Self::Rollback => "its data replaced by an old copy",
            Self::Twin => "its key and a copy of its data run in a second process",
            Self::Swapped => {
                "kill -9, its data exchanged with the next server's, so two refuse to start"
            }
            Self::Throttle => "5 % of a processor",
            Self::Squeeze => "256 MiB of memory",
            Self::DayAhead => "its clock a day ahead",
            Self::DayBehind => "its clock a day behind",
            Self::FastClock => "its clocks run twice as fast",
            Self::SlowDisk => "each sync takes 50 ms more",
            Self::FailedSync => "a sync fails with EIO",
            Self::FullDisk => "the disk is full for its log: ENOSPC",
        }
    }

    /// Why it cannot be played here, if it cannot.
    pub(crate) fn missing(self) -> Option<String> {
        tools::missing(match self {
            Self::Rot | Self::Rollback | Self::Twin | Self::Swapped => &[],
            Self::Throttle => &[Tool::Root, Tool::ProcessorGroups],
            Self::Squeeze => &[Tool::Root, Tool::MemoryGroups],
            Self::DayAhead | Self::DayBehind | Self::FastClock => &[Tool::Faketime],
            Self::SlowDisk | Self::FailedSync | Self::FullDisk => &[Tool::Root, Tool::Strace],
        })
    }

    /// Whether the others may rightly suspect the server: what it says about the time is wrong, it
    /// forgot what it signed, or somebody else signs too.
    pub(crate) fn excuses_suspicion(self) -> bool {
        matches!(
            self,
            Self::DayAhead
                | Self::DayBehind
                | Self::FastClock
                | Self::Rot
                | Self::Rollback
                | Self::Twin
        )
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_distinct() {
        let names: BTreeSet<_> = Trouble::ALL.map(Trouble::name).into_iter().collect();
        assert_eq!(names.len(), Trouble::ALL.len());
    }
}
