//! The results of comparing, of advising and of testing predictions against campaigns.

use serde::Serialize;

use super::result::Unit;
use crate::design::Property;

/// Something is worse when it grows by what shows in three digits.
pub(super) const WORSE_BY: f64 = 1.005;

/// Two designs side by side.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// Name of the first design.
    pub first: String,
    /// Name of the second.
    pub second: String,
    /// Every quantity of services that both have (by name, or by being the only one).
    pub rows: Vec<Row>,
    /// What one has and the other has not.
    pub only_in_one: Vec<String>,
    /// What follows, in words.
    pub conclusions: Vec<String>,
}

/// One quantity of two designs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Name of the quantity, as in `Quantity`.
    pub quantity: String,
    /// The service; `one against other` where the only services of both designs have not the same name.
    pub subject: String,
    /// The promise, if it is about one.
    pub property: Option<Property>,
    /// Unit of both values.
    pub unit: Unit,
    /// Value of the first design.
    pub first: Option<f64>,
    /// Value of the second design.
    pub second: Option<f64>,
    /// Second over first, where that means something.
    pub ratio: Option<f64>,
    /// Which one is better.
    pub better: Better,
}

/// Which of two designs is better in something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    /// The first.
    First,
    /// The second.
    Second,
    /// Both have the same.
    Equal,
    /// They differ in something of which neither more nor less is better, or one has no such thing.
    Neither,
}

/// The cheapest ways to the acceptable risk.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Advice {
    /// Name of the design.
    pub design: String,
    /// Currency of all money.
    pub currency: String,
    /// One entry for each service.
    pub services: Vec<ServiceAdvice>,
}

/// Advice for one service.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ServiceAdvice {
    /// The service.
    pub service: String,
    /// Its risk as it is.
    pub risk: f64,
    /// The risk that is accepted.
    pub acceptable_risk: f64,
    /// Every promise now and after the plan.
    pub promises: Vec<PromiseEffect>,
    /// Sum over the promises of risk times loss, as it is.
    pub expected_loss: f64,
    /// The same after the plan.
    pub expected_loss_after: f64,
    /// Every change by itself, most effect first; also those that make things worse, and those without a
    /// price.
    pub changes: Vec<Change>,
    /// The cheapest set of changes that reaches the acceptable risk, in the order in which they
    /// were added; empty if none is needed. All of them have a price; none raises the expected loss, and
    /// none breaks a promise whose risk was accepted.
    pub plan: Vec<Change>,
    /// Risk after the plan.
    pub risk_after: f64,
    /// Whether the plan reaches the acceptable risk.
    pub is_reached: bool,
    /// Another way, some changes of which the design gives no price for: it cannot be compared with the
    /// plan. Empty if there is none that reaches the acceptable risk, or goes further than the plan.
    pub unpriced_plan: Vec<Change>,
    /// Risk after that way; `None`: there is none.
    pub unpriced_risk_after: Option<f64>,
    /// What follows, in words; among it that replication makes things worse, where it does.
    pub text: Vec<String>,
}

/// A change of a design.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// Its kind: `more-servers`, `spare-servers`, `fewer-servers`, `diversity`, `move` (another value of one label
    /// for one server), `shorter-rejuvenation`, `recovery-root`, `shorter-share-epoch`, `seal-state`, `hybrid`,
    /// `arbitrary`, `isolation`.
    pub kind: String,
    /// What is done, in words.
    pub text: String,
    /// What is taken for granted of it, beyond what the design says, in words.
    pub assumed: Option<String>,
    /// What it costs over a mission; `None`: the design gives no price.
    pub cost: Option<f64>,
    /// The risk before it.
    pub risk_before: f64,
    /// The risk after it.
    pub risk_after: f64,
    /// What it does to each promise.
    pub promises: Vec<PromiseEffect>,
    /// Sum over the promises of risk times loss, before it.
    pub expected_loss_before: f64,
    /// The same after it.
    pub expected_loss_after: f64,
}

impl Change {
    /// Whether the expected loss grows, by what three digits show.
    #[must_use]
    pub fn is_dearer(&self) -> bool {
        self.expected_loss_after > self.expected_loss_before * WORSE_BY
    }
}

/// What a change does to a promise.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PromiseEffect {
    /// The promise.
    pub property: Property,
    /// Probability that it is broken within the mission, before the change.
    pub before: f64,
    /// The same after it.
    pub after: f64,
    /// Whether that is more, by what three digits show.
    pub is_worse: bool,
}

/// Predicted against measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Backtest {
    /// The service whose prediction was tested.
    pub service: String,
    /// Campaigns read.
    pub campaigns: u64,
    /// Confidence level of all intervals, such as 0.99.
    pub level: f64,
    /// One row for each frequency that the campaigns measured.
    pub rows: Vec<BacktestRow>,
    /// What follows, in words.
    pub conclusions: Vec<String>,
}

/// One frequency.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BacktestRow {
    /// What happened or not.
    pub event: String,
    /// How often it happened.
    pub hits: u64,
    /// How often it could have happened.
    pub trials: u64,
    /// `hits / trials`.
    pub measured: f64,
    /// Lower end of the confidence interval.
    pub low: f64,
    /// Upper end of it.
    pub high: f64,
    /// What the design predicts.
    pub predicted: f64,
    /// Whether the prediction is in the interval.
    pub is_consistent: bool,
}
