//! Conclusions: what follows from the numbers.

use super::super::result::{AttackTreeResult, Finding, ServiceResult, Severity};
use super::super::sweeps::percent;
use super::{finding, money};
use crate::design::units::time_text;
use crate::design::{Design, FaultModel, Property};

/// Everything about one service.
pub(super) fn of_service(design: &Design, result: &ServiceResult, found: &mut Vec<Finding>) {
    verdict(design, result, found);
    comparison(result, found);
    cause(result, found);
    economics(design, result, found);
    availability(result, found);
    for sweep in &result.sweeps {
        let id = format!("sweep-{}", sweep.parameter.replace('_', "-"));
        let text = sweep.text.clone();
        found.push(finding(&id, Severity::Note, Some(&result.name), text, ""));
    }
}

fn verdict(design: &Design, result: &ServiceResult, found: &mut Vec<Finding>) {
    let risks = result.properties.iter().map(|it| {
        if result.is_simulated {
            return format!("{} {}", it.property.name(), percent(it.risk));
        }
        let mean = it.mttf_h.map_or_else(|| "never".to_owned(), time_text);
        format!("{} {} (mean time to it {mean})", it.property.name(), percent(it.risk))
    });
    let text = format!(
        "Within {} the risk is: {}. Accepted: {}.",
        time_text(design.mission.value.0),
        risks.collect::<Vec<_>>().join("; "),
        percent(design.acceptable_risk.value.0)
    );
    let (id, severity) = match result.is_acceptable {
        true => ("risk-accepted", Severity::Note),
        false => ("risk-not-accepted", Severity::Grave),
    };
    found.push(finding(id, severity, Some(&result.name), text, ""));
}

/// Replication against one server, by the promise that is broken most.
fn comparison(result: &ServiceResult, found: &mut Vec<Finding>) {
    if result.fault_model == FaultModel::Single || result.risk_any <= 0.0 {
        return;
    }
    let promise = super::super::service::worst(result).map_or("a promise", Property::name);
    let factor = result.one_server / result.risk_any;
    let (id, often) = if factor >= 1.0 {
        ("replication-pays", format!("{factor:.1} times less often than"))
    } else {
        ("replication-does-not-pay", format!("{:.1} times as often as", 1.0 / factor))
    };
    let text = format!(
        "With {} servers {promise} is lost {often} one server alone is intruded.",
        result.n
    );
    found.push(finding(id, Severity::Note, Some(&result.name), text, ""));
}

/// What makes the most of the risk.
fn cause(result: &ServiceResult, found: &mut Vec<Finding>) {
    let Some(first) = result.causes.first().filter(|it| it.share > 0.0) else { return };
    let text = format!(
        "Most of the risk comes from {}: without it {} would be left, {:.0} % less.",
        first.name,
        percent(first.risk_without),
        first.share * 100.0
    );
    found.push(finding("main-cause", Severity::Note, Some(&result.name), text, ""));
}

/// Cost of intruding against value of assets and budget.
fn economics(design: &Design, result: &ServiceResult, found: &mut Vec<Finding>) {
    let name = Some(result.name.as_str());
    let numbers = &result.economics;
    let amount = |it: f64| money(it, &design.currency);
    let value = amount(numbers.value_of_assets);
    let Some(cost) = numbers.cost_of_intruding else {
        let text = format!(
            "No attack of the model intrudes as many servers as break a promise; what is guarded is worth {value}."
        );
        return found.push(finding("no-way-in", Severity::Note, name, text, ""));
    };
    let way = numbers.cheapest_way.join(" and ");
    let (id, severity, told) = match (numbers.is_affordable, numbers.is_worthwhile) {
        (true, true) => {
            ("worth-attacking", Severity::Warning, "within the attacker's budget, and worth it")
        }
        (false, true) => ("beyond-budget", Severity::Note, "worth it, but beyond the budget"),
        (true, false) => ("not-worth-attacking", Severity::Note, "affordable, but not worth it"),
        (false, false) => {
            ("not-worth-attacking", Severity::Note, "beyond the budget, and not worth it")
        }
    };
    let wanted = numbers.servers_to_intrude;
    let goal = if wanted > result.f {
        "more than f servers".to_owned()
    } else {
        format!("{wanted} of {} servers, which may break a promise,", result.n)
    };
    let text = format!(
        "Intruding {goal} costs {} at least ({way}); what is guarded is worth {value} and \
         the attacker has {}: {told}. Expected loss over the mission: {}.",
        amount(cost),
        amount(numbers.budget),
        amount(numbers.expected_loss)
    );
    found.push(finding(id, severity, name, text, ""));
}

fn availability(result: &ServiceResult, found: &mut Vec<Finding>) {
    for property in &result.properties {
        let Some(share) = property.availability else { continue };
        let away = (1.0 - share) * crate::design::estimate::HOURS_PER_YEAR;
        let text = format!(
            "{} holds {:.5} % of the time: it is missing for {} a year.",
            capital(property.property.name()),
            share * 100.0,
            time_text(away.max(0.0))
        );
        let id = format!("{}-share", property.property.name());
        found.push(finding(&id, Severity::Note, Some(&result.name), text, ""));
    }
}

/// The word with a capital letter.
fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// The cheapest path through an attack tree.
pub(super) fn of_tree(design: &Design, tree: &AttackTreeResult, found: &mut Vec<Finding>) {
    let Some(cost) = tree.cost else {
        let text = format!(
            "There is no way to `{}`: every one goes through a step whose probability is 0.",
            tree.name
        );
        return found.push(finding("no-path", Severity::Note, Some(&tree.service), text, ""));
    };
    let told = match (tree.is_affordable, tree.is_worthwhile) {
        (true, true) => "the attacker can pay it, and it is worth it",
        (true, false) => "the attacker can pay it, but it is not worth it",
        (false, true) => "it is worth it, but beyond the attacker's budget",
        (false, false) => "neither worth it nor within the attacker's budget",
    };
    let text = format!(
        "The cheapest way to `{}` costs {} ({}): {told}. With everything tried it succeeds with \
         probability {}.",
        tree.name,
        money(cost, &design.currency),
        tree.path.join(" and "),
        percent(tree.probability)
    );
    let severity = match (tree.is_affordable, tree.is_worthwhile) {
        (true, true) => Severity::Warning,
        _ => Severity::Note,
    };
    found.push(finding("cheapest-path", severity, Some(&tree.service), text, ""));
}
