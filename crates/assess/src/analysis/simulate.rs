//! The promises of a service by simulated missions: no chain, however large the service is.
//!
//! Every server is one of its own, and rejuvenation and share epochs keep their calendar, where a chain has
//! them at random with the same mean. Promises about secrets and answers are simulated as chains compute
//! them, without absences.

use std::sync::atomic::AtomicBool;

use super::Effort;
use super::result::{Point, Series, Simulated, SimulatedPromise};
use super::situation::Situation;
use super::solve::{self, Grade, Question, Without};
use crate::design::Property;
use crate::engines::mission::{self, Missions, Outcome, PropertyOutcome};
use crate::engines::{EngineError, Schedule, Service};

/// What missions say of a service.
pub(super) struct Simulation {
    pub(super) told: Simulated,
    /// The risk of each promise over the mission.
    pub(super) over_time: Vec<Series>,
}

/// Runs the missions of each promise, and of more than `f` servers intruded at once; those that are of the
/// same servers are the same missions. `None` where none are asked for.
///
/// `progress` is told of missions out of [`Effort::missions`].
pub(super) fn simulate(
    situation: &Situation,
    effort: &Effort,
    times: &[f64],
    (progress, cancel): (&dyn Fn(u64, u64), &AtomicBool),
) -> Result<Option<Simulation>, EngineError> {
    if effort.missions == 0 {
        return Ok(None);
    }
    let promised = situation.promises.iter().map(|it| Question::Broken(*it));
    let questions: Vec<Question> = [Question::Exceeded].into_iter().chain(promised).collect();
    let mut runs: Vec<(Service, Option<Outcome>)> = Vec::new();
    let services: Vec<Service> = questions.iter().map(|it| by_calendar(situation, *it)).collect();
    for service in &services {
        if !runs.iter().any(|(known, _)| known == service) {
            runs.push((service.clone(), None));
        }
    }
    let count = runs.len() as u64;
    for ((service, outcome), before) in runs.iter_mut().zip(0_u64..) {
        let further = |done: u64, total: u64| progress((before * total + done) / count, total);
        let missions = Missions {
            count: effort.missions,
            hours: situation.mission,
            seed: effort.seed,
            threads: effort.threads,
            level: effort.level,
            points: times.to_vec(),
        };
        *outcome = Some(mission::run(service, &missions, &further, cancel)?);
    }
    let found = |(question, service): (&Question, &Service)| {
        let (_, outcome) = runs.iter().find(|(known, _)| known == service)?;
        let mut properties = outcome.as_ref()?.properties.iter();
        properties.find(|it| it.property == question.property())
    };
    let of_each: Vec<&PropertyOutcome> =
        questions.iter().zip(&services).filter_map(found).collect();
    Ok(of_each.split_first().map(|(exceeded, promises)| Simulation {
        told: Simulated {
            missions: effort.missions,
            risk: exceeded.failed.value,
            low: exceeded.failed.low,
            high: exceeded.failed.high,
            level: effort.level,
            promises: promises.iter().map(|it| promise(situation, it)).collect(),
        },
        over_time: promises.iter().map(|it| series(it, times)).collect(),
    }))
}

/// The service as missions take it: unmerged, and by the calendar.
fn by_calendar(situation: &Situation, question: Question) -> Service {
    let mut service = solve::service(situation, question, Grade::Simulated, Without::Nothing);
    // Turns of which only some expel have no calendar: which ones do is left to chance.
    let turns = situation.care.rejuvenation;
    let is_certain = turns.is_some_and(|turns| turns.expels <= 0.0 || turns.expels >= 1.0);
    for group in service.groups.iter_mut().filter(|_| is_certain) {
        if let Some(turns) = &mut group.rejuvenation {
            turns.schedule = Schedule::Fixed;
        }
    }
    if let Some(refresh) = &mut service.refresh {
        refresh.schedule = Schedule::Fixed;
    }
    // Epochs matter to secrets alone; without them other promises are the same missions.
    if question.property() != Property::Confidentiality && !shares_missions(situation, question) {
        service.refresh = None;
    }
    service
}

/// Whether the missions that simulate secrets answer this question too.
fn shares_missions(situation: &Situation, question: Question) -> bool {
    let tolerated = match question {
        Question::Exceeded => situation.f,
        Question::Broken(property) => situation.tolerated(property),
    };
    question != Question::Broken(Property::Availability)
        && situation.promises.contains(&Property::Confidentiality)
        && tolerated == situation.tolerated(Property::Confidentiality)
}

fn promise(situation: &Situation, of: &PropertyOutcome) -> SimulatedPromise {
    let failed = of.failed;
    SimulatedPromise {
        property: of.property,
        tolerated: situation.tolerated(of.property),
        risk: failed.value,
        low: failed.low,
        high: failed.high,
    }
}

fn series(of: &PropertyOutcome, times: &[f64]) -> Series {
    let points = times.iter().zip(&of.curve).map(|(x, y)| Point { x: *x, y: y.value });
    Series { name: of.property.name().to_owned(), points: points.collect() }
}
