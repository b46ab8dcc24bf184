//! What is computed of a design: the [`Assessment`].
//!
//! The result is plain and serialisable: reports, scripts and comparisons all read this one
//! structure, and its JSON is stable. Times are in hours, rates per hour, probabilities in `0..=1`,
//! money in the design's currency. A time that has no end is `null`.

mod advise;
mod avi;
mod backtest;
mod closed_forms;
mod compare;
mod economics;
mod error;
mod export;
mod findings;
pub mod outcomes;
mod quantities;
pub mod result;
mod risk;
mod service;
mod simulate;
mod situation;
mod solve;
mod strategy;
mod structures;
mod sweeps;
mod threats;

use std::sync::atomic::AtomicBool;

pub use advise::advise;
pub use backtest::{BacktestError, CampaignError, Cluster, Rerun, backtest};
pub use closed_forms::{ClosedForms, ClosedGap, ClosedService, ClosedValue, closed_forms};
pub use compare::compare;
pub use error::AnalysisError;
pub use export::to_prism;

pub use outcomes::{
    Advice, Backtest, BacktestRow, Better, Change, Comparison, PromiseEffect, Row, ServiceAdvice,
};
pub use result::{
    Assessment, AttackTreeResult, AviEdge, AviGraph, AviKind, AviNode, Cause, CutSearch, CutSet,
    Economics, Elasticity, Finding, Header, Measure, Point, PropertyResult, Quantity, Series,
    ServiceResult, Severity, Simulated, SimulatedPromise, StrategyResult, Sweep, TreeNodeResult,
    TrustEdge, TrustGraph, TrustNode, Unit,
};

use crate::design::Design;

/// Computes everything of a design.
///
/// `progress` is told how many of all missions were simulated, from the calling thread; `cancel` ends
/// them.
///
/// Cost: a few hundred small chains for each service, about a second; missions come on top. Where missions
/// are asked for and a chain is too large, none is built: see [`ServiceResult::is_simulated`].
///
/// # Errors
/// [`AnalysisError`]: a service that no engine can compute, with its place in the model file.
pub fn assess(
    design: &Design,
    effort: &Effort,
    progress: &dyn Fn(u64, u64),
    cancel: &AtomicBool,
) -> Result<Assessment, AnalysisError> {
    let mut services = Vec::new();
    let total = effort.missions * design.services.len() as u64;
    for (position, of) in design.services.iter().enumerate() {
        let before = effort.missions * position as u64;
        let further = |done: u64, _: u64| progress(before + done, total);
        services.push(service::assess(design, position, of, effort, (&further, cancel))?);
    }
    let trust = structures::trust(design)?;
    let attack_trees = structures::trees(design)?;
    let warnings = findings::warnings(design, &services, &trust).map_err(|error| {
        let first = design.services.first();
        first.map_or(AnalysisError::Cancelled, |it| AnalysisError::of(design, it, error))
    })?;
    Ok(Assessment {
        format: result::ASSESSMENT_FORMAT,
        design: Header {
            name: design.name.clone(),
            description: design.description.clone(),
            currency: design.currency.clone(),
            mission_h: design.mission.value.0,
            acceptable_risk: design.acceptable_risk.value.0,
            hosts: design.hosts.len(),
            origins: design.origins(),
        },
        warnings,
        conclusions: findings::conclusions(design, &services, &attack_trees),
        avi: avi::graph(design, &services),
        quantities: quantities::all(design, &services, &trust, &attack_trees),
        trust,
        attack_trees,
        services,
    })
}

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
    /// Whether results are computed in the exact form up to [`crate::engines::chain::STATES_MAX`] states,
    /// which may take minutes for each promise. Otherwise many different servers are merged.
    pub is_exact: bool,
}

impl Default for Effort {
    fn default() -> Self {
        Self { missions: 0, seed: 1, threads: 1, level: 0.99, points: 41, is_exact: false }
    }
}

#[cfg(test)]
mod tests;
