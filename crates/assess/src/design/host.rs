//! Hosts, and what they have in common.

use serde::Serialize;

use super::estimate::{Estimate, Probability};

/// One server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// A name for people.
    pub name: String,
    /// One value for each [`LabelKind`], in the order of [`LabelKind::ALL`]; `None` where the file
    /// names none, which is shared with nobody.
    pub labels: [Option<String>; LabelKind::ALL.len()],
}

impl Host {
    /// The host's value of a label.
    #[must_use]
    pub fn label(&self, kind: LabelKind) -> Option<&str> {
        self.labels.get(kind as usize).and_then(Option::as_deref)
    }
}

/// What hosts may share, and so may fall to together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LabelKind {
    /// Room, data centre or cloud region.
    Site,
    /// Who administers it.
    Administrator,
    /// Operating system.
    OperatingSystem,
    /// Processor and board.
    Hardware,
    /// Compiler and source of the server program.
    Build,
    /// How the wormhole is isolated from the payload: the name of a [`Wormhole`].
    Wormhole,
}

impl LabelKind {
    /// All kinds.
    pub const ALL: [Self; 6] = [
        Self::Site,
        Self::Administrator,
        Self::OperatingSystem,
        Self::Hardware,
        Self::Build,
        Self::Wormhole,
    ];

    /// The name used in files and outputs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Site => "site",
            Self::Administrator => "administrator",
            Self::OperatingSystem => "operating_system",
            Self::Hardware => "hardware",
            Self::Build => "build",
            Self::Wormhole => "wormhole",
        }
    }
}

/// For each label, the share of a host's intrusions that reaches all hosts with the same value at
/// once: the beta factors. Together at most 1.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CommonMode {
    /// In the order of [`LabelKind::ALL`]; `None` counts as 0.
    pub shares: [Option<Estimate<Probability>>; LabelKind::ALL.len()],
}

impl CommonMode {
    /// The beta factor of a label, 0 where the file has none.
    #[must_use]
    pub fn share(&self, kind: LabelKind) -> f64 {
        let share = self.shares.get(kind as usize).and_then(Option::as_ref);
        share.map_or(0.0, |share| share.value.0)
    }
}

/// A kind of wormhole, and how far it may be trusted.
#[derive(Clone, Debug, PartialEq)]
pub struct Wormhole {
    /// The name that hosts' labels use, such as `process` or `tpm`.
    pub name: String,
    /// Probability that it is intact once its host is intruded.
    pub coverage: Estimate<Probability>,
}
