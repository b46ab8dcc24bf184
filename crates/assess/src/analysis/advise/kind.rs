//! What kinds of change there are, and which of them go together.

use crate::design::LabelKind;

/// What a change does; of one situation no two do the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Servers that tolerate one more intrusion.
    MoreServers,
    /// Servers of which one more may be absent.
    SpareServers,
    /// Only as many servers as the intrusions tolerated take.
    LeastServers,
    /// One server instead of all.
    OneServer,
    /// Another value of this label for every server that shares its own.
    Diversity(LabelKind),
    /// Another value of this label for one server.
    Move(LabelKind),
    Rejuvenation,
    RecoveryRoot,
    ShareEpoch,
    SealState,
    Hybrid,
    Arbitrary,
    Isolation,
}

impl Kind {
    /// As results call it; two that people see as one have one name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::MoreServers => "more-servers",
            Self::SpareServers => "spare-servers",
            Self::LeastServers | Self::OneServer => "fewer-servers",
            Self::Diversity(_) => "diversity",
            Self::Move(_) => "move",
            Self::Rejuvenation => "shorter-rejuvenation",
            Self::RecoveryRoot => "recovery-root",
            Self::ShareEpoch => "shorter-share-epoch",
            Self::SealState => "seal-state",
            Self::Hybrid => "hybrid",
            Self::Arbitrary => "arbitrary",
            Self::Isolation => "isolation",
        }
    }

    /// Whether a second change of this kind says all that the first says, and more.
    pub(super) fn goes_further(self) -> bool {
        matches!(
            self,
            Self::MoreServers | Self::SpareServers | Self::Rejuvenation | Self::ShareEpoch
        )
    }

    /// Whether it takes the other one back, or the other one it: only one of them stands in a plan.
    pub(super) fn is_opposite(self, other: Self) -> bool {
        self.takes_back(other) || other.takes_back(self)
    }

    fn takes_back(self, other: Self) -> bool {
        match self {
            Self::LeastServers | Self::OneServer => {
                matches!(other, Self::MoreServers | Self::SpareServers)
            }
            Self::Arbitrary => other == Self::Hybrid,
            _ => false,
        }
    }
}
