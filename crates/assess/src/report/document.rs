//! An assessment as one page: first what follows, then why, last what it rests on.

mod outcomes;

use crate::analysis::{Assessment, Finding, ServiceResult, Severity};

use super::page::{Page, Weight};
use super::pictures;
use super::summary;
use super::table::{Align, Table};
use super::words::{probability, servers, time, value};

pub use outcomes::{advice, comparison};

/// The page of an assessment: HTML that loads nothing.
///
/// Cost: linear in the assessment; lists that are too long for a picture are cut in it, and whole in
/// the tables.
pub fn html(assessment: &Assessment) -> String {
    let header = &assessment.design;
    let mut page = Page::new(&header.name);
    if !header.description.is_empty() {
        page.paragraph(&header.description);
    }
    page.paragraph(&format!(
        "{} hosts, mission {}, acceptable risk {} for each service. Inputs: {}.",
        header.hosts,
        time(header.mission_h),
        probability(header.acceptable_risk),
        summary::origins(assessment)
    ));
    page.section("What follows");
    for finding in assessment.warnings.iter().chain(&assessment.conclusions) {
        page.note(weight(finding), &in_one(finding));
    }
    for service in &assessment.services {
        add_service(&mut page, assessment, service);
    }
    if !assessment.avi.nodes.is_empty() {
        page.section("Attacks, vulnerabilities, intrusions");
        page.picture(&pictures::avi(&assessment.avi));
        page.table(&summary::avi_edges(assessment));
    }
    if !assessment.trust.nodes.is_empty() {
        page.section("Trust");
        page.picture(&pictures::trust(&assessment.trust));
        page.table(&summary::components(assessment));
        page.table(&summary::dependences(assessment));
    }
    if !assessment.attack_trees.is_empty() {
        page.section("Attack trees");
        page.table(&summary::trees(assessment));
        for tree in &assessment.attack_trees {
            page.picture(&pictures::attack_tree(tree, &header.currency));
        }
    }
    page.section("Numbers, formulas and sources");
    page.table(&quantities(assessment));
    page.small_print(
        "`ravelin assess explain QUANTITY` says what each quantity means, what it assumes and what it \
         does not say. Probabilities are for one mission from servers that are all correct at its \
         beginning. A number is worth what its inputs are: the least certain one is named beside it.",
    );
    page.html()
}

fn weight(finding: &Finding) -> Weight {
    match finding.severity {
        Severity::Grave => Weight::Grave,
        Severity::Warning => Weight::Warning,
        Severity::Note => Weight::Note,
    }
}

fn in_one(finding: &Finding) -> String {
    if finding.hint.is_empty() {
        return finding.text.clone();
    }
    format!("{} Try: {}", finding.text, finding.hint)
}

fn add_service(page: &mut Page, assessment: &Assessment, service: &ServiceResult) {
    page.section(&format!("Service {}", service.name));
    let what = format!(
        "{}, of which {} may be intruded; fault model {}; strategy {}.",
        servers(service.n),
        service.f,
        service.fault_model.name(),
        service.strategy.name()
    );
    page.paragraph(&what);
    let level = probability(assessment.design.acceptable_risk);
    let risk = probability(service.risk_any);
    let lost = format!("What does not come back by itself is lost with probability {risk};");
    if service.is_acceptable {
        page.note(Weight::Fine, &format!("{lost} {level} is accepted."));
    } else {
        page.note(Weight::Grave, &format!("{lost} no more than {level} is accepted."));
    }
    page.table(&summary::promises(assessment, service));
    page.picture(&pictures::risk_over_time(assessment, service));
    page.table(&summary::comparison_with_one(service));
    if !service.causes.is_empty() {
        page.table(&summary::causes(service));
    }
    if !service.sweeps.is_empty() {
        page.part("What if");
    }
    for sweep in &service.sweeps {
        page.picture(&pictures::sweep(assessment, service, sweep));
    }
    if !service.tornado.is_empty() {
        page.part("Sensitivity");
        page.picture(&pictures::tornado(service));
        page.table(&summary::sensitivity(service, &assessment.design.currency, usize::MAX));
    }
    if !service.cuts.is_empty() {
        page.part("Common labels");
        page.picture(&pictures::cut_sets(service));
        page.table(&summary::cuts(service, usize::MAX));
    }
    if let Some(limits) = summary::cut_limits(service) {
        page.small_print(&limits);
    }
    page.part("Costs and strategy");
    page.paragraph(&summary::economics(service, &assessment.design.currency));
    page.paragraph(&service.strategy_numbers.text);
}

/// Every number once more, with where it comes from.
fn quantities(assessment: &Assessment) -> Table {
    let mut table = Table::new(
        "",
        &[
            ("quantity", Align::Left),
            ("of", Align::Left),
            ("value", Align::Right),
            ("by", Align::Left),
            ("source", Align::Left),
            ("inputs at least", Align::Left),
        ],
    );
    for quantity in &assessment.quantities {
        let subject = quantity.property.map_or_else(
            || quantity.subject.clone(),
            |property| format!("{} of {}", property.name(), quantity.subject),
        );
        table.row([
            quantity.quantity.clone(),
            subject,
            value(quantity.value, quantity.unit, &assessment.design.currency),
            quantity.formula.clone(),
            quantity.source.clone(),
            quantity.origin.name().to_owned(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests;
