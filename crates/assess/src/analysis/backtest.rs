//! Predicted against measured: what campaigns saw, beside what the design foretells.
//!
//! Read are the JSON lines of `ravelin demo`, `ravelin attack campaign` and the like (from `started` to
//! `verdict`), the summary of `ravelin sim run`, and lines of any other experiment in this form:
//!
//! ```json
//! {"event":"mission","hours":720,"intruded":[2],"exceeded":false,"broken":false}
//! ```
//!
//! where `intruded` has the numbers, from 0, of the servers that were intruded at some time, `exceeded` says whether more
//! than `f` were at once, and `broken` whether a promise was. Campaigns run at accelerated rates: each
//! of their hours stands for [`Rerun::acceleration`] hours of the design.
//!
//! # Source
//! The paper, section 3.3: the coverage of assumptions (more than f, Pr_e) and of algorithms (a promise
//! broken although they held, Pr_o) are measured apart. E. Wilson, JASA 22 (1927), for the intervals; L. Kish,
//! *Survey Sampling*, 1965, for servers of one mission, which often fall together and are no independent
//! trials.

mod campaigns;

use super::error::AnalysisError;
use super::outcomes::{Backtest, BacktestRow};
use super::situation::Situation;
use super::solve::{self, Grade, Question};
use crate::design::{Design, Service};
use crate::engines::closed;
use crate::engines::mission::Estimate;
use campaigns::{Campaigns, read};

pub use campaigns::{CampaignError, Cluster};

/// How campaigns stand to the design.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rerun {
    /// Hours of the design for each hour of a campaign; above 0.
    pub acceleration: f64,
    /// Confidence level of the intervals, such as 0.99.
    pub level: f64,
}

/// Why predictions cannot be compared with campaigns. Retrying does not help.
#[derive(Debug, thiserror::Error)]
pub enum BacktestError {
    /// The campaigns cannot be read.
    #[error(transparent)]
    Campaigns(#[from] CampaignError),
    /// The prediction cannot be computed.
    #[error(transparent)]
    Analysis(#[from] AnalysisError),
}

/// Compares what campaigns measured with what a service's design predicts. `service`: its name, or
/// `None` where the design has only one. `file` names `text` in errors.
///
/// # Errors
/// [`BacktestError`]: text that is no campaign, with its line; a service that does not exist.
pub fn backtest(
    design: &Design,
    service: Option<&str>,
    file: &str,
    text: &str,
    rerun: Rerun,
) -> Result<Backtest, BacktestError> {
    let service = chosen(design, service)?;
    let campaigns = read(file, text, service)?;
    let situation = Situation::of(design, service);
    let told = |error| AnalysisError::of(design, service, error);
    let mut rows = Vec::new();
    intrusions(&campaigns, &situation, rerun, &mut rows).map_err(told)?;
    promises(design, &campaigns, rerun, &mut rows).map_err(told)?;
    let conclusions = conclusions(&rows, rerun);
    Ok(Backtest {
        service: service.name.clone(),
        campaigns: campaigns.missions.len() as u64 + campaigns.simulated_runs,
        level: rerun.level,
        rows,
        conclusions,
    })
}

/// The service of that name, or the only one.
pub(super) fn chosen<'d>(
    design: &'d Design,
    name: Option<&str>,
) -> Result<&'d Service, AnalysisError> {
    let found = match (name, design.services.as_slice()) {
        (None, [only]) => Some(only),
        (None, _) => None,
        (Some(name), all) => all.iter().find(|service| service.name == name),
    };
    found.ok_or_else(|| {
        let names = design.services.iter().map(|service| service.name.as_str());
        AnalysisError::UnknownService {
            name: name.unwrap_or("(none named)").to_owned(),
            known: names.collect::<Vec<_>>().join(", "),
        }
    })
}

/// How often servers were intruded, and more than `f` at once.
fn intrusions(
    campaigns: &Campaigns,
    situation: &Situation,
    rerun: Rerun,
    rows: &mut Vec<BacktestRow>,
) -> Result<(), crate::engines::EngineError> {
    let timed: Vec<_> = campaigns.missions.iter().filter(|it| it.hours > 0.0).collect();
    let servers = situation.n() as u64;
    let hit: u64 = timed.iter().map(|it| it.intruded as u64).sum();
    let exceeded = timed.iter().filter(|it| it.is_exceeded).count() as u64;
    // Campaigns last differently: the prediction is the mean of those for each length.
    let (mut one, mut many) = (0.0, 0.0);
    let mut known: Vec<(f64, f64, f64)> = Vec::new();
    for mission in &timed {
        let hours = mission.hours * rerun.acceleration;
        let found = known.iter().find(|(length, _, _)| *length == hours).copied();
        let (_, p, risk) = match found {
            Some(found) => found,
            None => {
                let p = mean_intruded(situation, hours)?;
                let of_length = Situation { mission: hours, ..situation.clone() };
                let risk = solve::by_mission(&of_length, Question::Exceeded, Grade::Swept)?;
                known.push((hours, p, risk));
                (hours, p, risk)
            }
        };
        one += p;
        many += risk;
    }
    let count = timed.len().max(1) as f64;
    let level = rerun.level;
    let trials = timed.len() as u64;
    if trials > 0 && servers > 0 {
        let event = "a server was intruded";
        let counts: Vec<usize> = timed.iter().map(|it| it.intruded).collect();
        let interval = Estimate::of_clusters(&counts, situation.n(), level)?;
        push(event, (hit, trials * servers), interval, one / count, rows);
    }
    row("more than f servers were intruded at once", (exceeded, trials), many / count, level, rows)
}

/// The mean over the servers of the probability that one is intruded.
fn mean_intruded(situation: &Situation, hours: f64) -> Result<f64, crate::engines::EngineError> {
    let mut sum = 0.0;
    for server in &situation.servers {
        sum += closed::intruded_by(server.rate, hours)?;
    }
    Ok(sum / situation.n().max(1) as f64)
}

/// How often promises were broken although no more than `f` servers were intruded.
fn promises(
    design: &Design,
    campaigns: &Campaigns,
    rerun: Rerun,
    rows: &mut Vec<BacktestRow>,
) -> Result<(), crate::engines::EngineError> {
    let predicted = 1.0 - operational_coverage(design);
    let within: Vec<_> = campaigns.missions.iter().filter(|it| !it.is_exceeded).collect();
    let broken = within.iter().filter(|it| it.is_broken).count() as u64;
    let level = rerun.level;
    let event = "a promise was broken with at most f servers intruded";
    row(event, (broken, within.len() as u64), predicted, level, rows)?;
    let event = "a simulated run broke a promise with at most f servers intruded";
    row(event, (campaigns.violations, campaigns.simulated_runs), predicted, level, rows)?;
    let event = "an attack was not tolerated";
    row(event, (campaigns.attacks_failed, campaigns.attacks), predicted, level, rows)
}

/// What the algorithms of the design are taken to add: Pr_o of the components that nothing depends
/// on; 1 without a trust graph.
fn operational_coverage(design: &Design) -> f64 {
    let is_top =
        |at: usize| !design.components.iter().any(|it| it.depends.iter().any(|edge| edge.on == at));
    let tops = design.components.iter().enumerate().filter(|(at, _)| is_top(*at));
    tops.map(|(_, component)| component.coverage.value.0).fold(1.0, f64::min)
}

/// Adds a frequency, if it was measured at all.
fn row(
    event: &str,
    (hits, trials): (u64, u64),
    predicted: f64,
    level: f64,
    rows: &mut Vec<BacktestRow>,
) -> Result<(), crate::engines::EngineError> {
    if trials == 0 {
        return Ok(());
    }
    let interval = Estimate::of_share(hits, trials, level)?;
    push(event, (hits, trials), interval, predicted, rows);
    Ok(())
}

fn push(
    event: &str,
    (hits, trials): (u64, u64),
    interval: Estimate,
    predicted: f64,
    rows: &mut Vec<BacktestRow>,
) {
    rows.push(BacktestRow {
        event: event.to_owned(),
        hits,
        trials,
        measured: hits as f64 / trials as f64,
        low: interval.low,
        high: interval.high,
        predicted,
        is_consistent: interval.holds(predicted),
    });
}

fn conclusions(rows: &[BacktestRow], rerun: Rerun) -> Vec<String> {
    let told = |row: &BacktestRow| {
        let place = match (row.is_consistent, row.predicted < row.low) {
            (true, _) => "the prediction is consistent with that",
            (false, true) => "the design is too optimistic",
            (false, false) => "the design is too pessimistic, or the campaign too gentle",
        };
        format!(
            "{}: {} of {} times ({:.5} to {:.5} with confidence {}), predicted {:.5}: {place}.",
            row.event, row.hits, row.trials, row.low, row.high, rerun.level, row.predicted
        )
    };
    rows.iter().map(told).collect()
}

#[cfg(test)]
mod tests;
