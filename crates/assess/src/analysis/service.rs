//! What is computed of one service.

use std::sync::atomic::AtomicBool;

use super::error::AnalysisError;
use super::result::{Measure, Point, PropertyResult, Series, ServiceResult, Simulated};
use super::risk;
use super::situation::{Situation, label_numbers};
use super::solve::{self, Grade, Question, Without};
use super::{Effort, economics, strategy, structures, sweeps};
use crate::design::{Design, FaultModel, LabelKind, Property, Service};
use crate::engines::mission::{self, Missions};
use crate::engines::{EngineError, Schedule, closed};

/// Everything of the service at a position of the design.
pub(super) fn assess(
    design: &Design,
    position: usize,
    service: &Service,
    effort: &Effort,
    watch: (&dyn Fn(u64, u64), &AtomicBool),
) -> Result<ServiceResult, AnalysisError> {
    let situation = Situation::of(design, service);
    let told = |error| AnalysisError::of(design, service, error);
    let properties = properties(&situation, service).map_err(told)?;
    let mttf = solve::mean_time(&situation, Question::Exceeded).map_err(told)?;
    let decisive = risk::decisive(&situation);
    let of_decisive = properties.iter().filter(|it| decisive.contains(&it.property));
    let risk_any = of_decisive.map(|it| it.risk).fold(0.0, f64::max);
    let expected: f64 = properties.iter().map(|it| it.expected_loss).sum();
    let rate = situation.mean_rate();
    let p = closed::intruded_by(rate, situation.mission).map_err(told)?;
    let value_name = |kind: LabelKind, value: usize| label_name(design, service, kind, value);
    let risk = solve::by_mission(&situation, Question::Exceeded, Grade::Result).map_err(told)?;
    let falls = strategy::Falls::of(&situation, mttf, risk).map_err(told)?;
    let strategy_numbers = strategy::numbers(service, &situation, falls).map_err(|error| {
        AnalysisError::structure(design, &format!("the strategy of `{}`", service.name), error)
    })?;
    let (cuts, cut_search) = structures::cut_sets(design, service)?;
    Ok(ServiceResult {
        name: service.name.clone(),
        n: service.n(),
        f: service.f.into(),
        fault_model: service.fault_model,
        strategy: service.strategy,
        intrusion_rate: rate,
        intrusion_probability: p,
        no_repair: no_repair(&situation, p).map_err(told)?,
        one_server: p,
        crossover: crossover(&situation).map_err(told)?,
        risk,
        mttf_h: mttf,
        simulated: simulated(&situation, effort, watch).map_err(told)?,
        risk_any,
        is_acceptable: risk_any <= design.acceptable_risk.value.0,
        risk_over_time: over_time(&situation, service, effort.points).map_err(told)?,
        sweeps: sweeps::sweeps(&situation).map_err(told)?,
        causes: risk::causes(&situation, &value_name).map_err(told)?,
        cuts,
        cut_search,
        tornado: risk::elasticities(design, position).map_err(told)?,
        economics: economics::economics(design, service, expected),
        strategy_numbers,
        properties,
    })
}

/// Each promise.
fn properties(
    situation: &Situation,
    service: &Service,
) -> Result<Vec<PropertyResult>, EngineError> {
    let mut results = Vec::new();
    for (property, loss) in &service.promises {
        let question = Question::Broken(*property);
        let risk = solve::by_mission(situation, question, Grade::Result)?;
        results.push(PropertyResult {
            property: *property,
            tolerated: situation.tolerated(*property),
            risk,
            mttf_h: solve::mean_time(situation, question)?,
            availability: solve::availability(situation, *property)?,
            loss: loss.value.0,
            expected_loss: risk * loss.value.0,
        });
    }
    Ok(results)
}

/// More than `f` of `n` intruded within the mission, or in `hybrid` one whose wormhole falls, were
/// nobody ever recovered.
fn no_repair(situation: &Situation, p: f64) -> Result<Measure, EngineError> {
    let (n, f) = (count(situation.n()), count(situation.f));
    let (beta, coverage) = (situation.beta(), situation.mean_coverage());
    Ok(Measure {
        independent: closed::hybrid(n, f, p, coverage)?,
        common_mode: closed::hybrid_beta(n, f, p, beta, coverage)?,
        beta,
    })
}

/// The p beyond which replication is worse than one server.
fn crossover(situation: &Situation) -> Result<Option<f64>, EngineError> {
    if situation.model == FaultModel::Single {
        return Ok(None);
    }
    let (n, f) = (count(situation.n()), count(situation.f));
    closed::hybrid_crossover(n, f, situation.mean_coverage()).map(Some)
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// The risk of each promise over the mission, and of one server alone.
fn over_time(
    situation: &Situation,
    service: &Service,
    points: usize,
) -> Result<Vec<Series>, EngineError> {
    let last = points.max(2) - 1;
    let times: Vec<f64> =
        (0..=last).map(|step| situation.mission * step as f64 / last as f64).collect();
    let mut lines = Vec::new();
    for (property, _) in &service.promises {
        let risks = solve::over_time(situation, Question::Broken(*property), &times)?;
        lines.push(series(property.name(), &times, &risks));
    }
    if situation.model != FaultModel::Single {
        let one: Result<Vec<f64>, EngineError> =
            times.iter().map(|time| closed::intruded_by(situation.mean_rate(), *time)).collect();
        lines.push(series("one server intruded", &times, &one?));
    }
    Ok(lines)
}

fn series(name: &str, times: &[f64], risks: &[f64]) -> Series {
    let points = times.iter().zip(risks).map(|(x, y)| Point { x: *x, y: *y });
    Series { name: name.to_owned(), points: points.collect() }
}

/// The risk by simulated missions, in which every server is one of its own and rejuvenation keeps its
/// calendar.
fn simulated(
    situation: &Situation,
    effort: &Effort,
    (progress, cancel): (&dyn Fn(u64, u64), &AtomicBool),
) -> Result<Option<Simulated>, EngineError> {
    if effort.missions == 0 {
        return Ok(None);
    }
    let mut service =
        solve::service(situation, Question::Exceeded, Grade::Simulated, Without::Nothing);
    for group in &mut service.groups {
        if let Some(turns) = &mut group.rejuvenation {
            turns.schedule = Schedule::Fixed;
        }
    }
    let missions = Missions {
        count: effort.missions,
        hours: situation.mission,
        seed: effort.seed,
        threads: effort.threads,
        level: effort.level,
        points: Vec::new(),
    };
    let outcome = mission::run(&service, &missions, progress, cancel)?;
    let integrity = outcome.properties.iter().find(|it| it.property == Property::Integrity);
    Ok(integrity.map(|it| Simulated {
        missions: outcome.missions,
        risk: it.failed.value,
        low: it.failed.low,
        high: it.failed.high,
        level: effort.level,
    }))
}

/// The name of a label's value by its number in the situation.
fn label_name(design: &Design, service: &Service, kind: LabelKind, value: usize) -> String {
    let numbers = label_numbers(design, service);
    let known = numbers.iter().find(|(_, number)| **number == value);
    let name = known.map_or("", |((_, name), _)| *name);
    format!("{}: {name}", kind.name())
}

/// The promise with the largest risk among those that decide.
pub(super) fn worst(result: &ServiceResult) -> Option<Property> {
    let decisive = result.properties.iter().filter(|it| it.risk == result.risk_any);
    decisive.map(|it| it.property).next()
}
