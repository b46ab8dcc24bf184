//! Two designs side by side.

use super::outcomes::{Better, Comparison, Row};
use super::result::{Assessment, Quantity, ServiceResult};
use super::sweeps::percent;

/// Quantities of which more is better; of all others less is.
const MORE_IS_BETTER: [&str; 7] =
    ["mttf", "availability", "cost_of_intruding", "slack", "duty_cycle", "path_cost", "coverage"];
/// Quantities that are compared without saying which is better.
const NEITHER: [&str; 1] = ["crossover"];
/// Shares of time. One that is not known, or of what never ends, is no better than one that is.
const SHARES: [&str; 2] = ["availability", "duty_cycle"];
/// Quantities of what is no service: of components and of attack trees.
const OF_OTHERS: [&str; 3] = ["coverage", "path_cost", "path_probability"];
/// Differences that are told as equal.
const EQUAL_WITHIN: f64 = 1e-9;

/// Compares two assessments: services of the same name, or the only ones of both; components and attack trees of
/// the same name.
#[must_use]
pub fn compare(first: &Assessment, second: &Assessment) -> Comparison {
    let pairs = pairs(first, second);
    let mut rows = Vec::new();
    for (a, b) in &pairs {
        let of = |all: &[Quantity], name: &str| -> Vec<Quantity> {
            let is_told = |it: &&Quantity| it.subject == name && !is_of_others(it);
            all.iter().filter(is_told).cloned().collect()
        };
        let others = of(&second.quantities, &b.name);
        for quantity in of(&first.quantities, &a.name) {
            let other = others
                .iter()
                .find(|it| it.quantity == quantity.quantity && it.property == quantity.property);
            if let Some(other) = other {
                rows.push(row(&quantity, other));
            }
        }
    }
    for quantity in first.quantities.iter().filter(|it| is_of_others(it)) {
        let other = second.quantities.iter().find(|it| {
            (&it.quantity, &it.subject, it.property)
                == (&quantity.quantity, &quantity.subject, quantity.property)
        });
        rows.extend(other.map(|other| row(quantity, other)));
    }
    let mut only_in_one = alone(first, &pairs.iter().map(|(a, _)| *a).collect::<Vec<_>>());
    only_in_one.extend(alone(second, &pairs.iter().map(|(_, b)| *b).collect::<Vec<_>>()));
    let conclusions = pairs.iter().map(|(a, b)| conclusion(first, second, a, b)).collect();
    Comparison {
        first: first.design.name.clone(),
        second: second.design.name.clone(),
        rows,
        only_in_one,
        conclusions,
    }
}

fn is_of_others(quantity: &Quantity) -> bool {
    OF_OTHERS.contains(&quantity.quantity.as_str())
}

/// Services that are compared with each other.
fn pairs<'a>(
    first: &'a Assessment,
    second: &'a Assessment,
) -> Vec<(&'a ServiceResult, &'a ServiceResult)> {
    if let ([a], [b]) = (first.services.as_slice(), second.services.as_slice()) {
        return vec![(a, b)];
    }
    let partner =
        |a: &'a ServiceResult| second.services.iter().find(|b| b.name == a.name).map(|b| (a, b));
    first.services.iter().filter_map(partner).collect()
}

fn alone(assessment: &Assessment, paired: &[&ServiceResult]) -> Vec<String> {
    let services = assessment.services.iter();
    let alone = services.filter(|it| !paired.iter().any(|known| known.name == it.name));
    alone.map(|it| format!("service `{}` of `{}`", it.name, assessment.design.name)).collect()
}

fn row(first: &Quantity, second: &Quantity) -> Row {
    let ratio = match (first.value, second.value) {
        (Some(a), Some(b)) if a != 0.0 && (b / a).is_finite() => Some(b / a),
        _ => None,
    };
    Row {
        quantity: first.quantity.clone(),
        subject: named(&first.subject, &second.subject, ""),
        property: first.property,
        unit: first.unit,
        first: first.value,
        second: second.value,
        ratio,
        better: better(&first.quantity, first.value, second.value),
    }
}

/// Both names, each between two of `mark`; one where they are the same.
fn named(first: &str, second: &str, mark: &str) -> String {
    match first == second {
        true => format!("{mark}{first}{mark}"),
        false => format!("{mark}{first}{mark} against {mark}{second}{mark}"),
    }
}

/// What has no end counts as infinite.
fn better(quantity: &str, first: Option<f64>, second: Option<f64>) -> Better {
    let (a, b) = (first.unwrap_or(f64::INFINITY), second.unwrap_or(f64::INFINITY));
    let is_near = (a - b).abs() <= EQUAL_WITHIN * a.abs().max(b.abs());
    // Any time is far from one that never comes.
    let is_equal = a == b || (a.is_finite() && b.is_finite() && is_near);
    if is_equal {
        return Better::Equal;
    }
    let is_unknown = SHARES.contains(&quantity) && (first.is_none() || second.is_none());
    if NEITHER.contains(&quantity) || is_unknown {
        return Better::Neither;
    }
    if MORE_IS_BETTER.contains(&quantity) == (a > b) { Better::First } else { Better::Second }
}

fn conclusion(
    first: &Assessment,
    second: &Assessment,
    a: &ServiceResult,
    b: &ServiceResult,
) -> String {
    let (one, two) = (&first.design.name, &second.design.name);
    let told = |risk: f64, name: &str, is_acceptable: bool| {
        let accepted = if is_acceptable { "accepted" } else { "not accepted" };
        format!("`{name}` {} ({accepted})", percent(risk))
    };
    let mut text = format!(
        "Risk of {}: {}, {}",
        named(&a.name, &b.name, "`"),
        told(a.risk_any, one, a.is_acceptable),
        told(b.risk_any, two, b.is_acceptable)
    );
    let (least, most) = (a.risk_any.min(b.risk_any), a.risk_any.max(b.risk_any));
    let name = if a.risk_any < b.risk_any { one } else { two };
    if most <= least * 1.01 {
        text.push_str(": there is no difference that matters.");
    } else if least > 0.0 {
        text.push_str(&format!(": `{name}` is {:.1} times better.", most / least));
    } else {
        text.push_str(&format!(": `{name}` has none."));
    }
    let is_other_mission = (first.design.mission_h - second.design.mission_h).abs() > 1e-9;
    if is_other_mission {
        text.push_str(" Their missions last differently: compare with care.");
    }
    if first.design.currency != second.design.currency {
        text.push_str(" Their currencies differ: amounts of money cannot be compared.");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_is_better_of_some_and_less_of_others() {
        let judged = |quantity: &str, a: f64, b: f64| better(quantity, Some(a), Some(b));
        assert_eq!(judged("risk", 0.1, 0.2), Better::First);
        assert_eq!(judged("risk", 0.2, 0.1), Better::Second);
        for quantity in MORE_IS_BETTER {
            assert_eq!(judged(quantity, 0.2, 0.1), Better::First, "{quantity}");
        }
        assert_eq!(judged("crossover", 0.2, 0.1), Better::Neither);
        assert_eq!(judged("crossover", 0.2, 0.2), Better::Equal);
        assert_eq!(judged("risk", 0.1, 0.1 * (1.0 + 1e-12)), Better::Equal);
        // A time that never comes is longer than any.
        assert_eq!(better("mttf", None, Some(1e9)), Better::First);
        assert_eq!(better("mttf", None, None), Better::Equal);
        // Where there is no way none can be cheaper, and more of what is trusted is better.
        assert_eq!(better("path_cost", None, Some(5.0)), Better::First);
        assert_eq!(judged("coverage", 0.8, 0.9), Better::Second);
        // Intrusions that never end have no duty cycle: nobody can tell which is better.
        for share in SHARES {
            assert_eq!(better(share, None, Some(0.9)), Better::Neither, "{share}");
            assert_eq!(better(share, Some(0.9), None), Better::Neither, "{share}");
        }
    }
}
