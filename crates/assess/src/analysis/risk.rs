//! The one number that decides, and what it is made of.

use super::result::{Cause, Elasticity, Unit};
use super::situation::Situation;
use super::solve::{self, Grade, Question, Without};
use crate::design::{Design, InputUnit, LabelKind, Property, Service};
use crate::engines::EngineError;

/// Inputs that are told of one service.
pub(super) const TOLD_MAX: usize = 20;

/// The promises whose breaking is the risk of a service: those that do not come back by themselves,
/// confidentiality and integrity; availability where nothing else is promised.
pub(super) fn decisive(situation: &Situation) -> Vec<Property> {
    let lasting = [Property::Confidentiality, Property::Integrity]
        .into_iter()
        .filter(|it| situation.promises.contains(it));
    let lasting: Vec<Property> = lasting.collect();
    if lasting.is_empty() { situation.promises.clone() } else { lasting }
}

/// The promises whose risks have to be known for that of a service.
pub(super) fn asked(situation: &Situation) -> Vec<Property> {
    let mut asked = decisive(situation);
    // With a threshold of shares and the same tolerance, disclosure is at least as likely as a
    // wrong answer: what is intruded at once is intruded within one epoch.
    let is_covered = asked.contains(&Property::Confidentiality)
        && situation.tolerated(Property::Confidentiality)
            <= situation.tolerated(Property::Integrity);
    asked.retain(|it| *it != Property::Integrity || !is_covered);
    asked
}

/// The risk of a service: the largest of its decisive promises. Whatever breaks one of them mostly
/// breaks the other too, by the same intruded servers, and so they do not add up.
pub(super) fn risk(situation: &Situation, grade: Grade) -> Result<f64, EngineError> {
    risk_without(situation, grade, Without::Nothing)
}

/// The same were something absent.
fn risk_without(situation: &Situation, grade: Grade, absent: Without) -> Result<f64, EngineError> {
    let mut most = 0.0_f64;
    for property in asked(situation) {
        let question = Question::Broken(property);
        most = most.max(solve::without(situation, question, grade, absent)?);
    }
    Ok(most)
}

/// What contributes to the risk, most first.
pub(super) fn causes(
    situation: &Situation,
    name_of: &dyn Fn(LabelKind, usize) -> String,
) -> Result<Vec<Cause>, EngineError> {
    let base = risk(situation, Grade::Swept)?;
    let mut candidates = vec![("independent intrusions".to_owned(), Without::Independent)];
    for set in situation.shared() {
        let absent = Without::Label(set.kind, set.value);
        if !candidates.iter().any(|(_, known)| *known == absent) {
            candidates.push((name_of(set.kind, set.value), absent));
        }
    }
    if situation.model == crate::design::FaultModel::Hybrid {
        candidates.push(("wormholes that fall with their host".to_owned(), Without::Wormholes));
    }
    let mut causes = Vec::new();
    for (name, absent) in candidates {
        let risk_without = risk_without(situation, Grade::Swept, absent)?;
        let share = if base > 0.0 { ((base - risk_without) / base).clamp(0.0, 1.0) } else { 0.0 };
        causes.push(Cause { name, risk_without, share });
    }
    causes.sort_by(|a, b| b.share.total_cmp(&a.share).then_with(|| a.name.cmp(&b.name)));
    Ok(causes)
}

/// Elasticities of the risk of a service, strongest first: by how many per cent it grows when an input
/// grows by one.
///
/// Cost: four solutions of a small chain for each input.
pub(super) fn elasticities(
    design: &Design,
    service: usize,
) -> Result<Vec<Elasticity>, EngineError> {
    let with = |number: usize, change: &dyn Fn(f64) -> f64| -> Option<f64> {
        let mut changed = design.clone();
        let mut next = 0;
        changed.visit_inputs(&mut |input| {
            if next == number {
                let most = if input.unit == InputUnit::Probability { 1.0 } else { f64::MAX };
                *input.value = change(*input.value).min(most);
            }
            next += 1;
        });
        let situation = Situation::of(&changed, changed.services.get(service)?);
        // A changed schedule may be impossible.
        if situation.has_turns_for_all() { risk(&situation, Grade::Swept).ok() } else { None }
    };
    let Some(of) = design.services.get(service) else { return Ok(Vec::new()) };
    let base = risk(&Situation::of(design, of), Grade::Swept)?;
    let mut found = Vec::new();
    let mut inputs = Vec::new();
    design.clone().visit_inputs(&mut |input| {
        inputs.push((input.path, input.unit, input.origin, *input.value));
    });
    for (number, (input, unit, origin, value)) in inputs.into_iter().enumerate() {
        if unit == InputUnit::Money || value == 0.0 || !concerns(&input, of) || base <= 0.0 {
            continue;
        }
        let (Some(up), Some(down)) = (with(number, &|it| it * 1.01), with(number, &|it| it * 0.99))
        else {
            continue;
        };
        // A probability of 1 cannot grow: what it really changed by counts.
        let most = if unit == InputUnit::Probability { 1.0 } else { f64::MAX };
        let step = (value * 1.01).min(most) / (value * 0.99);
        let elasticity = (up / down).ln() / step.ln();
        if !elasticity.is_finite() || elasticity.abs() < 1e-4 {
            continue;
        }
        let low = with(number, &|it| it / 2.0).unwrap_or(down);
        let high = with(number, &|it| it * 2.0).unwrap_or(up);
        let unit = unit_of(unit);
        found.push(Elasticity { input, value, unit, origin, elasticity, low, high });
    }
    found.sort_by(|a, b| {
        b.elasticity.abs().total_cmp(&a.elasticity.abs()).then_with(|| a.input.cmp(&b.input))
    });
    found.truncate(TOLD_MAX);
    Ok(found)
}

/// Whether an input can matter to a service: all but those of other services, and of trust and trees.
fn concerns(path: &str, service: &Service) -> bool {
    match path.split_once('.') {
        Some(("services", rest)) => rest.starts_with(&format!("{}.", service.name)),
        Some(("mission", rest)) => rest == "time",
        Some(("attacks" | "vulnerabilities" | "common_mode" | "wormholes", _)) => true,
        _ => false,
    }
}

fn unit_of(unit: InputUnit) -> Unit {
    match unit {
        InputUnit::Hours => Unit::Hours,
        InputUnit::PerHour => Unit::PerHour,
        InputUnit::Probability => Unit::Probability,
        InputUnit::Money => Unit::Money,
    }
}
