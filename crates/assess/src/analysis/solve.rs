//! From a situation to probabilities, by chains.
//!
//! Exact form: servers with the same rate, coverage and shared labels are one group, and each shared
//! label strikes exactly the servers that have it. Merged form: all servers are one group with the mean
//! rate, and a shared label strikes as many servers, drawn at random. The merged form has a few dozen
//! states for any number of servers; it serves where the exact one is too large.
//!
//! Promises about secrets and answers are computed without absences, during which nobody is intruded:
//! the risk is a little higher than it is. Detection and recovery in parallel are one step of the same
//! mean.

use super::situation::{Shared, Situation};
use crate::design::{FaultModel, LabelKind, Property};
use crate::engines::chain::{STATES_MAX, ServiceChain};
use crate::engines::{
    Crew, Detection, EngineError, Hit, Outage, Recovery, Refresh, Rejuvenation, Schedule,
    ServerGroup, Service, Shock,
};

/// States up to which the exact form is computed for a result.
const EXACT_STATES_MAX: u64 = 30_000;
/// Outcomes of events in each of those states, up to which it is.
const EXACT_OUTCOMES_MAX: u64 = 40;
/// States up to which a result is computed, unless the exact form is asked for: seconds a chain. The exact
/// form is computed up to [`STATES_MAX`].
const RESULT_STATES_MAX: usize = 100_000;
/// States up to which the exact form is computed for one of the many points of a sweep.
const SWEPT_STATES_MAX: u64 = 1_000;
/// States up to which a point of a sweep is computed at all.
const POINT_STATES_MAX: usize = 20_000;

/// How much a number is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grade {
    /// A result.
    Result,
    /// A result in the exact form, however long it takes.
    Exact,
    /// One of many points.
    Swept,
    /// Missions: every server by itself, however many states a chain would have.
    Simulated,
}

/// Something that is taken out of a situation to see what it contributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Without {
    /// Nothing.
    Nothing,
    /// Intrusions of single servers whose wormhole holds.
    Independent,
    /// One shared value of a label, by kind and number.
    Label(LabelKind, usize),
    /// Wormholes that fall.
    Wormholes,
}

/// What is asked of a situation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// More than `f` servers intruded at once.
    Exceeded,
    /// A promise broken.
    Broken(Property),
}

impl Question {
    pub(super) fn property(self) -> Property {
        match self {
            Self::Exceeded => Property::Integrity,
            Self::Broken(property) => property,
        }
    }

    fn has_absence(self) -> bool {
        self == Self::Broken(Property::Availability)
    }
}

/// Refuses what would take too long, by its size, before anything is built. `ends`: the chain that ends with
/// the first failure.
fn check_size(
    service: &Service,
    question: Question,
    grade: Grade,
    ends: bool,
) -> Result<(), EngineError> {
    let most = match grade {
        Grade::Result => RESULT_STATES_MAX,
        Grade::Exact | Grade::Simulated => STATES_MAX,
        Grade::Swept => POINT_STATES_MAX,
    };
    let wanted = ServiceChain::state_bound(service, question.property(), 1, ends)?;
    if wanted > most as u64 {
        return Err(EngineError::TooManyStates { wanted, most });
    }
    ServiceChain::check_transitions(service, question.property(), 1, ends)
}

/// Whether the chain of a number of this grade is refused for its size.
pub(super) fn is_too_large(situation: &Situation, question: Question, grade: Grade) -> bool {
    let service = service(situation, question, grade, Without::Nothing);
    let checked = check_size(&service, question, grade, true);
    checked.is_err_and(|error| is_of_size(&error))
}

/// Whether a chain is refused for its size.
pub(super) fn is_of_size(error: &EngineError) -> bool {
    matches!(error, EngineError::TooManyStates { .. } | EngineError::TooManyTransitions { .. })
}

/// The chain that ends with the first failure.
fn until_failure(
    service: &Service,
    question: Question,
    grade: Grade,
) -> Result<ServiceChain, EngineError> {
    check_size(service, question, grade, true)?;
    ServiceChain::until_failure(service, question.property(), 1)
}

/// The probability that it happens by the end of the mission.
pub(super) fn by_mission(
    situation: &Situation,
    question: Question,
    grade: Grade,
) -> Result<f64, EngineError> {
    without(situation, question, grade, Without::Nothing)
}

/// The same were something absent.
pub(super) fn without(
    situation: &Situation,
    question: Question,
    grade: Grade,
    absent: Without,
) -> Result<f64, EngineError> {
    let service = service(situation, question, grade, absent);
    broken_by(&service, question, grade, situation.mission)
}

/// What is asked of the engines for [`by_mission`]: situations of which that is the same have the same risk.
pub(super) fn asked(situation: &Situation, question: Question, grade: Grade) -> Service {
    let mut service = service(situation, question, grade, Without::Nothing);
    if question.property() != Property::Confidentiality {
        // Epochs matter to secrets alone.
        service.refresh = None;
    }
    service
}

/// The probability that it happens within so many hours to the service as the engines take it.
pub(super) fn broken_by(
    service: &Service,
    question: Question,
    grade: Grade,
    hours: f64,
) -> Result<f64, EngineError> {
    if never(service, question) {
        return Ok(0.0);
    }
    until_failure(service, question, grade)?.failed_at(hours)
}

/// The probability that it happens by each of these times, which must not decrease.
pub(super) fn over_time(
    situation: &Situation,
    question: Question,
    grade: Grade,
    times: &[f64],
) -> Result<Vec<f64>, EngineError> {
    let service = service(situation, question, grade, Without::Nothing);
    if never(&service, question) {
        return Ok(vec![0.0; times.len()]);
    }
    until_failure(&service, question, grade)?.failed_curve(times)
}

/// The mean time until it happens; `None`: never.
pub(super) fn mean_time(
    situation: &Situation,
    question: Question,
    grade: Grade,
) -> Result<Option<f64>, EngineError> {
    let service = service(situation, question, grade, Without::Nothing);
    if never(&service, question) {
        return Ok(None);
    }
    let chain = until_failure(&service, question, grade)?;
    match chain.mean_time_to_failure() {
        Ok(hours) => Ok(Some(hours)),
        Err(EngineError::NeverFails { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Points in time over which a share of the mission is averaged.
const SHARE_POINTS: usize = 33;

/// The share of time in which a promise holds; `None` for confidentiality, which does not come back, and
/// where the chain that goes on after failures is too large.
///
/// In the long run, if every intrusion ends; otherwise that share is 0, and the mean over the mission is
/// given, by the trapezoidal rule.
pub(super) fn availability(
    situation: &Situation,
    property: Property,
    grade: Grade,
) -> Result<Option<f64>, EngineError> {
    if property == Property::Confidentiality {
        return Ok(None);
    }
    let question = Question::Broken(property);
    let is_merged = is_share_merged(situation, property, grade);
    let service = formed(situation, question, is_merged, Without::Nothing);
    if never(&service, question) {
        return Ok(Some(1.0));
    }
    if let Err(error) = check_size(&service, question, grade, false) {
        return if is_of_size(&error) { Ok(None) } else { Err(error) };
    }
    let chain = ServiceChain::with_repair(&service, question.property(), 1)?;
    let ends = situation.care.detection >= 1.0 || situation.care.expelling().is_some();
    let failed = if ends { chain.failed_share()? } else { mean_over(&chain, situation.mission)? };
    Ok(Some((1.0 - failed).clamp(0.0, 1.0)))
}

fn mean_over(chain: &ServiceChain, mission: f64) -> Result<f64, EngineError> {
    let last = (SHARE_POINTS - 1) as f64;
    let times: Vec<f64> = (0..SHARE_POINTS).map(|step| mission * step as f64 / last).collect();
    let failed = chain.failed_curve(&times)?;
    let ends = failed.first().copied().unwrap_or(0.0) + failed.last().copied().unwrap_or(0.0);
    Ok((failed.iter().sum::<f64>() - ends / 2.0) / last)
}

/// Whether nothing can make it happen.
fn never(service: &Service, question: Question) -> bool {
    let is_attacked =
        service.groups.iter().any(|group| group.intrusion_rate > 0.0) || !service.shocks.is_empty();
    let is_absent = service.groups.iter().any(|group| {
        group.outage.is_some() || group.rejuvenation.is_some_and(|turns| turns.downtime > 0.0)
    });
    !(is_attacked || (question.has_absence() && is_absent))
}

/// The service as the engines take it for what ends with the first failure.
pub(super) fn service(
    situation: &Situation,
    question: Question,
    grade: Grade,
    absent: Without,
) -> Service {
    formed(situation, question, is_merged(situation, question, grade), absent)
}

/// The service in the exact or the merged form.
fn formed(situation: &Situation, question: Question, is_merged: bool, absent: Without) -> Service {
    let groups = if is_merged { vec![(0..situation.n()).collect()] } else { groups(situation) };
    let mut shocks = shocks(situation, &groups, absent);
    shocks.retain(|shock| shock.rate > 0.0 && !shock.hits.is_empty());
    let tolerated = match question {
        Question::Exceeded | Question::Broken(Property::Availability) => situation.f,
        Question::Broken(property) => situation.tolerated(property),
    };
    Service {
        groups: groups.iter().map(|it| group(situation, it, question, absent)).collect(),
        tolerated: count(tolerated),
        quorum: count(situation.quorum()),
        shocks,
        refresh: situation.care.epoch.map(|every| Refresh { every, schedule: Schedule::Random }),
    }
}

/// Whether a number of this grade, of what ends with the first failure, is computed in the merged form.
pub(super) fn is_merged(situation: &Situation, question: Question, grade: Grade) -> bool {
    merges(situation, question, grade, true)
}

/// Whether the share of time of this grade in which a promise holds is computed in the merged form.
pub(super) fn is_share_merged(situation: &Situation, property: Property, grade: Grade) -> bool {
    property != Property::Confidentiality
        && merges(situation, Question::Broken(property), grade, false)
}

/// Whether the exact form is too large for a number of this grade; `ends`: the chain that ends with the first
/// failure.
fn merges(situation: &Situation, question: Question, grade: Grade, ends: bool) -> bool {
    let most = match grade {
        Grade::Result => EXACT_STATES_MAX,
        Grade::Swept => SWEPT_STATES_MAX,
        Grade::Exact | Grade::Simulated => return false,
    };
    let exact = formed(situation, question, false, Without::Nothing);
    if exact.groups.len() < 2 {
        return false;
    }
    let property = question.property();
    // What has no meaning is refused in either form.
    let states = ServiceChain::state_bound(&exact, property, 1, ends).unwrap_or(u64::MAX);
    let is_small = states <= most
        && ServiceChain::outcome_bound(&exact, property, 1, ends)
            .is_ok_and(|outcomes| outcomes <= most.saturating_mul(EXACT_OUTCOMES_MAX));
    !is_small
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Servers that cannot be told apart, together: same rate, same coverage, same shared labels.
fn groups(situation: &Situation) -> Vec<Vec<usize>> {
    let shared = situation.shared();
    let mut groups: Vec<(Vec<u64>, Vec<usize>)> = Vec::new();
    for (position, server) in situation.servers.iter().enumerate() {
        let memberships = shared.iter().zip(0..).filter(|(it, _)| it.servers.contains(&position));
        let mut key = vec![server.rate.to_bits(), server.coverage.to_bits()];
        key.extend(memberships.map(|(_, number): (_, u64)| number));
        match groups.iter_mut().find(|(known, _)| *known == key) {
            Some((_, members)) => members.push(position),
            None => groups.push((key, vec![position])),
        }
    }
    groups.into_iter().map(|(_, members)| members).collect()
}

/// The rate at which each server is intruded by itself.
fn own_rate(situation: &Situation, shared: &[Shared], position: usize) -> f64 {
    let total = situation.servers.get(position).map_or(0.0, |server| server.rate);
    let common = shared.iter().filter(|it| it.servers.contains(&position)).map(|it| it.rate);
    (total - common.sum::<f64>()).max(0.0)
}

/// Probability that the wormholes of these servers all hold once they are intruded; 1 where none is
/// counted on.
fn all_hold(situation: &Situation, servers: &[usize], absent: Without) -> f64 {
    if situation.model != FaultModel::Hybrid || absent == Without::Wormholes {
        return 1.0;
    }
    servers.iter().filter_map(|it| situation.servers.get(*it)).map(|it| it.coverage).product()
}

fn group(
    situation: &Situation,
    members: &[usize],
    question: Question,
    absent: Without,
) -> ServerGroup {
    let shared = situation.shared();
    // What a wormhole that falls with its host does is a shock to all.
    let rate = |position: &usize| {
        own_rate(situation, &shared, *position) * all_hold(situation, &[*position], absent)
    };
    let sum: f64 = members.iter().map(rate).sum();
    let care = &situation.care;
    let is_one_step = !care.is_one_by_one;
    let recovery = if is_one_step { care.recovery + care.latency } else { care.recovery };
    let has_absence = question.has_absence();
    // Restarts matter to nothing but absences.
    let rejuvenation = care.rejuvenation.filter(|turns| turns.is_recovery() || has_absence);
    let rejuvenation = rejuvenation.map(|turns| Rejuvenation {
        every: turns.period,
        downtime: if has_absence { turns.downtime } else { 0.0 },
        at_once: count(turns.at_once.min(situation.n())),
        expels: turns.expels,
        schedule: Schedule::Random,
    });
    ServerGroup {
        count: count(members.len()),
        intrusion_rate: if absent == Without::Independent {
            0.0
        } else {
            sum / members.len().max(1) as f64
        },
        detection: Detection {
            probability: care.detection,
            latency: if is_one_step { 0.0 } else { care.latency },
        },
        recovery: (care.detection > 0.0).then(|| Recovery {
            rate: 1.0 / recovery,
            crew: if care.is_one_by_one { Crew::Single } else { Crew::Parallel },
        }),
        rejuvenation,
        outage: care
            .outage
            .filter(|_| has_absence)
            .map(|(rate, duration)| Outage { rate, duration }),
    }
}

fn shocks(situation: &Situation, groups: &[Vec<usize>], absent: Without) -> Vec<Shock> {
    let shared = situation.shared();
    let mut shocks = Vec::new();
    // The rate at which a wormhole falls, and everything with it.
    let mut fallen = 0.0;
    for set in &shared {
        if absent == Without::Label(set.kind, set.value) {
            continue;
        }
        let hold = all_hold(situation, &set.servers, absent);
        fallen += set.rate * (1.0 - hold);
        let hit = |(group, members): (usize, &Vec<usize>)| {
            let struck = members.iter().filter(|it| set.servers.contains(it)).count();
            (struck > 0).then(|| Hit { group, count: count(struck) })
        };
        let hits: Vec<Hit> = groups.iter().enumerate().filter_map(hit).collect();
        let rate = set.rate * hold;
        // Labels that strike alike are one shock: fewer transitions.
        match shocks.iter_mut().find(|it: &&mut Shock| it.hits == hits) {
            Some(same) => same.rate += rate,
            None => shocks.push(Shock { rate, hits }),
        }
    }
    for position in 0..situation.n() {
        let falls = 1.0 - all_hold(situation, &[position], absent);
        fallen += own_rate(situation, &shared, position) * falls;
    }
    if fallen > 0.0 {
        let all =
            |(group, members): (usize, &Vec<usize>)| Hit { group, count: count(members.len()) };
        let hits = groups.iter().enumerate().map(all).collect();
        shocks.push(Shock { rate: fallen, hits });
    }
    shocks
}
