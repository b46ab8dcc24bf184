//! The pages of a comparison and of advice.

use crate::analysis::{Advice, Assessment, Change, Comparison, ServiceAdvice};

use super::super::chart::{Chart, Direction, Marker, Series};
use super::super::page::{Page, Weight};
use super::super::pictures;
use super::super::scale::Scale;
use super::super::summary;
use super::super::svg::Picture;
use super::super::tornado::{Bar, Tornado};
use super::super::words::probability;

/// The page of a comparison, with the risk of both designs over time: HTML that loads nothing.
///
/// Cost: linear in both assessments.
pub fn comparison(first: &Assessment, second: &Assessment, compared: &Comparison) -> String {
    let mut page = Page::new(&format!("{} and {}", compared.first, compared.second));
    page.section("What follows");
    for text in &compared.conclusions {
        page.note(Weight::Note, text);
    }
    for name in &compared.only_in_one {
        page.note(Weight::Note, &format!("Only in one of them: {name}."));
    }
    page.section("Side by side");
    page.table(&summary::compared(compared));
    for assessment in [first, second] {
        page.section(&assessment.design.name);
        for service in &assessment.services {
            page.picture(&pictures::risk_over_time(assessment, service));
        }
    }
    page.html()
}

/// The page of advice, with what each change does: HTML that loads nothing.
///
/// Cost: linear in the advice.
pub fn advice(advice: &Advice) -> String {
    let mut page = Page::new(&format!("Advice for {}", advice.design));
    page.paragraph(&format!(
        "What each change does to every promise within one mission, and to the loss to expect. Amounts \
         of money are in {}.",
        advice.currency
    ));
    for service in &advice.services {
        page.section(&format!("Service {}", service.service));
        for (at, text) in service.text.iter().enumerate() {
            let weight = match (at, service.is_reached) {
                (0, true) => Weight::Fine,
                (0, false) => Weight::Warning,
                _ => Weight::Note,
            };
            page.note(weight, text);
        }
        if !service.plan.is_empty() {
            page.picture(&step_by_step(service));
        }
        if !service.changes.is_empty() {
            page.picture(&effects(service));
        }
        for table in summary::tables(service) {
            page.table(&table);
        }
    }
    page.html()
}

/// The risk of every promise after each step of the plan.
fn step_by_step(service: &ServiceAdvice) -> Picture {
    let series = service.promises.iter().enumerate().map(|(at, promise)| {
        let risk = |change: &Change| change.promises.get(at).map(|it| it.after);
        let after = service.plan.iter().filter_map(risk);
        let points = std::iter::once(promise.before).chain(after).enumerate();
        let points = points.map(|(step, risk)| (step as f64, risk)).collect();
        Series::line(promise.property.name(), points)
    });
    let level = service.acceptable_risk;
    Chart {
        title: format!("{}: the cheapest way, step by step", service.service),
        description: format!(
            "The probability that each promise is broken within the mission, as it is (0) and after each \
             of {} steps. The risk that decides goes from {} to {}.",
            service.plan.len(),
            probability(service.risk),
            probability(service.risk_after)
        ),
        across: Direction { label: "steps of the plan".into(), scale: Scale::Whole },
        up: Direction { label: "risk within the mission".into(), scale: Scale::Logarithmic },
        series: series.collect(),
        markers: Vec::new(),
        levels: vec![Marker { at: level, label: format!("acceptable {}", probability(level)) }],
    }
    .draw()
}

/// The risk that decides with each change by itself.
fn effects(service: &ServiceAdvice) -> Picture {
    let bars = service.changes.iter().map(|change| Bar {
        name: change.text.clone(),
        low: change.risk_after.min(service.risk),
        high: change.risk_after.max(service.risk),
    });
    Tornado {
        title: format!("{}: each change by itself", service.service),
        description: "The risk that decides, within the mission, with each change alone: left of the line \
                      it helps, right of it it harms. What it does to other promises is in the tables."
            .into(),
        label: "risk within the mission".into(),
        scale: Scale::Logarithmic,
        base: service.risk,
        low_and_high: ("less risk".into(), "more risk".into()),
        bars: bars.collect(),
    }
    .draw()
}
