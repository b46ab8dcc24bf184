//! Numbers that were measured, assumed or judged, each with its unit and its origin.

use serde::Serialize;

/// Where a number comes from: what an assessment is worth depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// Counted or timed on the real system.
    Measured,
    /// The judgement of somebody who knows the field.
    Expert,
    /// Taken for granted so that there is a number at all.
    Assumed,
}

impl Origin {
    /// All origins, most reliable first.
    pub const ALL: [Self; 3] = [Self::Measured, Self::Expert, Self::Assumed];

    /// The name used in files and outputs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Measured => "measured",
            Self::Expert => "expert",
            Self::Assumed => "assumed",
        }
    }

    /// The origin of what is computed from both: the less reliable one.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        self.max(other)
    }
}

/// A number with its origin.
#[derive(Clone, Debug, PartialEq)]
pub struct Estimate<T> {
    /// The number.
    pub value: T,
    /// Where it comes from.
    pub origin: Origin,
    /// Who said so, or how it was measured; for people.
    pub note: Option<String>,
}

impl<T> Estimate<T> {
    /// A number taken for granted.
    pub fn assumed(value: T) -> Self {
        Self { value, origin: Origin::Assumed, note: None }
    }
}

/// A time in hours: above zero, at most [`super::limits::SPAN_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Hours(pub f64);

/// A rate per hour: above zero, at most [`super::limits::SPAN_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct PerHour(pub f64);

/// A probability or a share, within `0..=1`.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Probability(pub f64);

/// An amount of the design's currency: not negative, at most [`super::limits::MONEY_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Money(pub f64);

/// Hours of a day.
pub const HOURS_PER_DAY: f64 = 24.0;
/// Hours of a year of 365 days.
pub const HOURS_PER_YEAR: f64 = 8760.0;
