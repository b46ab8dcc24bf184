//! Advice as text.

use std::fmt::{self, Write as _};

use super::super::explain::wrapped;
use super::super::table::{Align, Table, plain};
use super::super::words::{money, probability};
use super::{Summary, plain_text};
use crate::analysis::{Advice, Change, PromiseEffect, ServiceAdvice};

impl fmt::Display for Summary<'_, Advice> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut texts = Vec::new();
        for service in &self.0.services {
            let mut text = String::new();
            write_advice(&mut text, service, &self.0.currency)?;
            texts.push(text);
        }
        out.write_str(texts.join("\n\n").trim_end())
    }
}

fn write_advice(out: &mut String, service: &ServiceAdvice, currency: &str) -> fmt::Result {
    writeln!(
        out,
        "Service {}: risk {}, {} accepted; money in {}",
        plain(&service.service),
        probability(service.risk),
        probability(service.acceptable_risk),
        plain(currency)
    )?;
    for table in tables(service) {
        writeln!(out, "{table}")?;
    }
    for text in &service.text {
        writeln!(out, "  - {}", wrapped(&plain_text(text), 4))?;
    }
    Ok(())
}

/// All tables of the advice for a service: changes by themselves, those without a price apart, the plan,
/// and another way of which not every price is known.
pub(crate) fn tables(service: &ServiceAdvice) -> Vec<Table> {
    let (priced, others): (Vec<&Change>, Vec<&Change>) =
        service.changes.iter().partition(|change| change.cost.is_some());
    let word = if service.is_reached { "accepted" } else { "still not accepted" };
    let after = probability(service.risk_after);
    let cheapest = format!("Cheapest way, step by step (risk after it: {after}, {word}):");
    let unpriced = match service.plan.is_empty() {
        true => "A way whose price is not known, step by step:",
        false => "Another way, whose price is not known, step by step:",
    };
    let all = [
        ("Each change by itself:", priced),
        ("Without a price in the design, each by itself:", others),
        (&cheapest, service.plan.iter().collect()),
        (unpriced, service.unpriced_plan.iter().collect()),
    ];
    let told = all.into_iter().filter(|(_, changes)| !changes.is_empty());
    told.map(|(caption, all)| changes(caption, service, all)).collect()
}

/// Changes with what each does to every promise and to the expected loss, below what they are compared with.
/// What one makes worse, and what is assumed of it, have lines of their own.
fn changes(caption: &str, service: &ServiceAdvice, changes: Vec<&Change>) -> Table {
    let mut columns = vec![("change", Align::Left), ("cost", Align::Right)];
    let names = service.promises.iter().map(|it| (it.property.name(), Align::Right));
    columns.extend(names);
    columns.push(("expected loss", Align::Right));
    let mut table = Table::new(caption, &columns);
    let mut now = vec!["as it is".to_owned(), String::new()];
    now.extend(service.promises.iter().map(|it| probability(it.before)));
    now.push(money(service.expected_loss, ""));
    table.row(now);
    for change in changes {
        let cost = change.cost.map_or_else(|| "no price".to_owned(), |cost| money(cost, ""));
        let mut cells = vec![change.text.clone(), cost];
        cells.extend(change.promises.iter().map(|it| probability(it.after)));
        cells.push(money(change.expected_loss_after, ""));
        table.row(cells);
        if let Some(assumed) = &change.assumed {
            table.row([format!("  assumed: {assumed}")]);
        }
        for worse in worse(change) {
            table.row([format!("  worse: {worse}")]);
        }
    }
    table
}

/// What a change makes worse.
fn worse(change: &Change) -> Vec<String> {
    let told = |it: &PromiseEffect| {
        format!("{} {} -> {}", it.property.name(), probability(it.before), probability(it.after))
    };
    let mut all: Vec<String> = change.promises.iter().filter(|it| it.is_worse).map(told).collect();
    let (before, after) = (change.expected_loss_before, change.expected_loss_after);
    if change.is_dearer() {
        all.push(format!("expected loss {} -> {}", money(before, ""), money(after, "")));
    }
    all
}
