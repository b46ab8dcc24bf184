//! What is computed of a design: the [`Assessment`].
//!
//! The result is plain and serialisable: reports, scripts and comparisons all read this one
//! structure, and its JSON is stable. Times are in hours, rates per hour, probabilities in `0..=1`,
//! money in the design's currency. A time that has no end is `null`.

pub mod outcomes;
pub mod result;

pub use outcomes::{Advice, Backtest, BacktestRow, Better, Change, Comparison, Row, ServiceAdvice};
pub use result::{
    Assessment, AttackTreeResult, AviEdge, AviGraph, AviKind, AviNode, Cause, CutSet, Economics,
    Elasticity, Finding, Header, Measure, Point, PropertyResult, Quantity, Series, ServiceResult,
    Severity, StrategyResult, Sweep, TreeNodeResult, TrustEdge, TrustGraph, TrustNode, Unit,
};

/// How much is computed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Effort {
    /// Missions of the Monte Carlo cross-check of each service; 0: none.
    pub missions: u64,
    /// Seed of the missions.
    pub seed: u64,
    /// Threads for the missions; the result does not depend on it.
    pub threads: usize,
    /// Confidence level of intervals, such as 0.99.
    pub level: f64,
    /// Points of each line over time.
    pub points: usize,
}

impl Default for Effort {
    fn default() -> Self {
        Self { missions: 0, seed: 1, threads: 1, level: 0.99, points: 41 }
    }
}
