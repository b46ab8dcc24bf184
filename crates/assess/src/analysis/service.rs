//! What is computed of one service.

use std::sync::atomic::AtomicBool;

use super::error::AnalysisError;
use super::result::{Measure, Point, PropertyResult, Series, ServiceResult, Simulated};
use super::risk;
use super::simulate::{Simulation, simulate};
use super::situation::{Situation, label_numbers};
use super::solve::{self, Grade, Question};
use super::{Effort, economics, strategy, structures, sweeps};
use crate::design::{Design, FaultModel, LabelKind, Property, Service};
use crate::engines::{EngineError, closed};

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
    let times = times(&situation, effort.points);
    let simulation = simulate(&situation, effort, &times, watch).map_err(told)?;
    let grade = if effort.is_exact { Grade::Exact } else { Grade::Result };
    let solved = match &simulation {
        Some(simulation) if is_for_missions(&situation, grade) => simulated(service, simulation),
        Some(simulation) => match by_chains(&situation, service, grade, &times) {
            // Only while it is built or solved does a chain show what else makes it too much.
            Err(error) if error.is_of_chains() => simulated(service, simulation),
            solved => solved.map_err(told)?,
        },
        None => by_chains(&situation, service, grade, &times).map_err(told)?,
    };
    let Solved { properties, risk, mttf, over_time, is_simulated } = solved;
    let decisive = risk::decisive(&situation);
    let of_decisive = properties.iter().filter(|it| decisive.contains(&it.property));
    let risk_any = of_decisive.map(|it| it.risk).fold(0.0, f64::max);
    // Missions in which nothing happened do not say that it cannot: the upper end of the interval counts.
    let by_missions = simulation.as_ref().filter(|_| is_simulated);
    let decides = by_missions.map_or(risk_any, |it| highest_of(&it.told, &decisive));
    let expected: f64 = properties.iter().map(|it| it.expected_loss).sum();
    let rate = situation.mean_rate();
    let p = closed::intruded_by(rate, situation.mission).map_err(told)?;
    let value_name = |kind: LabelKind, value: usize| label_name(design, service, kind, value);
    let engines = Engines { has_chains: !is_simulated, has_missions: simulation.is_some() };
    let falls = |grade| strategy::Falls::of(&situation, mttf, risk, grade);
    let falls = falls((!is_simulated).then_some(grade))
        .or_else(|error| if engines.may_leave_out(&error) { falls(None) } else { Err(error) });
    let falls = falls.map_err(told)?;
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
        is_simulated,
        simulated: simulation.map(|it| it.told),
        risk_any,
        is_acceptable: decides <= design.acceptable_risk.value.0,
        risk_over_time: with_one_server(&situation, over_time, &times).map_err(told)?,
        sweeps: unless_refused(engines, || sweeps::sweeps(&situation)).map_err(told)?,
        causes: unless_refused(engines, || risk::causes(&situation, &value_name)).map_err(told)?,
        cuts,
        cut_search,
        tornado: unless_refused(engines, || risk::elasticities(design, position)).map_err(told)?,
        economics: economics::economics(design, service, expected),
        strategy_numbers,
        properties,
    })
}

/// The highest upper end of an interval, of the promises that decide.
fn highest_of(simulated: &Simulated, decisive: &[Property]) -> f64 {
    let decisive = simulated.promises.iter().filter(|it| decisive.contains(&it.property));
    decisive.map(|it| it.high).fold(0.0, f64::max)
}

/// The numbers that an engine gives.
struct Solved {
    properties: Vec<PropertyResult>,
    /// More than `f` intruded at once.
    risk: f64,
    mttf: Option<f64>,
    over_time: Vec<Series>,
    is_simulated: bool,
}

/// Whether the chain of a promise, or of more than `f` intruded, is refused for its size or would be that of
/// other servers than those that missions simulate.
fn is_for_missions(situation: &Situation, grade: Grade) -> bool {
    let promised = situation.promises.iter().map(|it| Question::Broken(*it));
    let mut questions = [Question::Exceeded].into_iter().chain(promised);
    questions.any(|it| {
        solve::is_merged(situation, it, grade) || solve::is_too_large(situation, it, grade)
    })
}

/// What computes the numbers of a service.
#[derive(Clone, Copy)]
struct Engines {
    has_chains: bool,
    has_missions: bool,
}

impl Engines {
    /// Whether a number that is refused so may be missing: one that is too large for many chains, and where
    /// missions answer the main question every number that takes a chain.
    fn may_leave_out(self, refusal: &EngineError) -> bool {
        solve::is_of_size(refusal) || (self.has_missions && refusal.is_of_chains())
    }
}

/// Points of sweeps and sensitivities are many, and their chains smaller than those of results: what is
/// too large for them is left out, and a warning says so.
fn unless_refused<T>(
    engines: Engines,
    compute: impl FnOnce() -> Result<Vec<T>, EngineError>,
) -> Result<Vec<T>, EngineError> {
    if !engines.has_chains {
        return Ok(Vec::new());
    }
    match compute() {
        Err(refusal) if engines.may_leave_out(&refusal) => Ok(Vec::new()),
        computed => computed,
    }
}

fn by_chains(
    situation: &Situation,
    service: &Service,
    grade: Grade,
    times: &[f64],
) -> Result<Solved, EngineError> {
    let (mut properties, mut over_time) = (Vec::new(), Vec::new());
    for (property, loss) in &service.promises {
        let question = Question::Broken(*property);
        let risks = solve::over_time(situation, question, grade, times)?;
        // The last point is the end of the mission.
        let risk = risks.last().copied().unwrap_or_default();
        properties.push(PropertyResult {
            property: *property,
            tolerated: situation.tolerated(*property),
            risk,
            mttf_h: solve::mean_time(situation, question, grade)?,
            availability: solve::availability(situation, *property, grade)?,
            loss: loss.value.0,
            expected_loss: risk * loss.value.0,
        });
        over_time.push(series(property.name(), times, &risks));
    }
    Ok(Solved {
        properties,
        risk: solve::by_mission(situation, Question::Exceeded, grade)?,
        mttf: solve::mean_time(situation, Question::Exceeded, grade)?,
        over_time,
        is_simulated: false,
    })
}

/// The numbers of missions, where no chain is small enough to stand beside them.
fn simulated(service: &Service, simulation: &Simulation) -> Solved {
    let promises = service.promises.iter().zip(&simulation.told.promises);
    let properties = promises.map(|((property, loss), found)| PropertyResult {
        property: *property,
        tolerated: found.tolerated,
        risk: found.risk,
        mttf_h: None,
        availability: None,
        loss: loss.value.0,
        expected_loss: found.risk * loss.value.0,
    });
    Solved {
        properties: properties.collect(),
        risk: simulation.told.risk,
        mttf: None,
        over_time: simulation.over_time.clone(),
        is_simulated: true,
    }
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

/// Hours from the beginning to the end of the mission, evenly.
fn times(situation: &Situation, points: usize) -> Vec<f64> {
    let last = points.max(2) - 1;
    (0..=last).map(|step| situation.mission * step as f64 / last as f64).collect()
}

/// The risk of each promise over the mission, and that of one server alone.
fn with_one_server(
    situation: &Situation,
    mut lines: Vec<Series>,
    times: &[f64],
) -> Result<Vec<Series>, EngineError> {
    if situation.model != FaultModel::Single {
        let one: Result<Vec<f64>, EngineError> =
            times.iter().map(|time| closed::intruded_by(situation.mean_rate(), *time)).collect();
        lines.push(series("one server intruded", times, &one?));
    }
    Ok(lines)
}

fn series(name: &str, times: &[f64], risks: &[f64]) -> Series {
    let points = times.iter().zip(risks).map(|(x, y)| Point { x: *x, y: *y });
    Series { name: name.to_owned(), points: points.collect() }
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
