//! Results as text for a terminal.

mod advice;
mod closed_forms;
mod outcomes;

use std::fmt::{self, Write as _};

use crate::analysis::{Assessment, Finding, ServiceResult, Severity};

use super::explain::wrapped;
use super::pictures::labels_in_words;
use super::table::{Align, Table, plain};
use super::words::{figure, listed, mean_time, money, probability, rate, servers, time, value};

pub(crate) use advice::tables;
pub(crate) use outcomes::compared;

/// Rows of long lists that are shown; the JSON and the page have all.
const ROWS_SHOWN: usize = 8;

/// Something to be shown on a terminal: its text is made when asked for.
#[derive(Clone, Copy, Debug)]
pub struct Summary<'a, T>(pub &'a T);

impl fmt::Display for Summary<'_, Assessment> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let assessment = self.0;
        let header = &assessment.design;
        writeln!(
            out,
            "{}: {} hosts, mission {}, acceptable risk {}",
            plain(&header.name),
            header.hosts,
            time(header.mission_h),
            probability(header.acceptable_risk)
        )?;
        writeln!(out, "Inputs: {}", origins(assessment))?;
        for service in &assessment.services {
            write_service(out, assessment, service)?;
        }
        write_trust(out, assessment)?;
        write_trees(out, assessment)?;
        write_findings(out, "Warnings", &assessment.warnings)?;
        write_findings(out, "Conclusions", &assessment.conclusions)?;
        write!(
            out,
            "\n`ravelin assess explain QUANTITY` says what a number means and what it does not."
        )
    }
}

/// How many inputs have each origin, as `2 measured, 11 assumed`.
pub(crate) fn origins(assessment: &Assessment) -> String {
    let each = assessment.design.origins.iter().filter(|(_, count)| *count > 0);
    let each: Vec<String> =
        each.map(|(origin, count)| format!("{count} {}", origin.name())).collect();
    listed(&each)
}

fn write_service(
    out: &mut fmt::Formatter<'_>,
    assessment: &Assessment,
    service: &ServiceResult,
) -> fmt::Result {
    writeln!(
        out,
        "\nService {}: {}, f = {}, {}, {}",
        plain(&service.name),
        servers(service.n),
        service.f,
        service.fault_model.name(),
        service.strategy.name()
    )?;
    writeln!(out, "{}", promises(assessment, service))?;
    writeln!(out, "{}", comparison_with_one(service))?;
    let causes = causes(service);
    if !causes.is_empty() {
        writeln!(out, "{causes}")?;
    }
    if !service.cuts.is_empty() {
        writeln!(out, "{}", cuts(service, ROWS_SHOWN))?;
        write_rest(out, service.cuts.len())?;
    }
    if let Some(limits) = cut_limits(service) {
        writeln!(out, "  {}", wrapped(&limits, 2))?;
    }
    if !service.tornado.is_empty() {
        writeln!(out, "{}", sensitivity(service, &assessment.design.currency, ROWS_SHOWN))?;
        write_rest(out, service.tornado.len())?;
    }
    writeln!(
        out,
        "  {}",
        wrapped(&plain_text(&economics(service, &assessment.design.currency)), 2)
    )?;
    writeln!(out, "  {}", wrapped(&plain_text(&service.strategy_numbers.text), 2))
}

fn write_rest(out: &mut fmt::Formatter<'_>, count: usize) -> fmt::Result {
    let left_out = count.saturating_sub(ROWS_SHOWN);
    if left_out > 0 { writeln!(out, "  and {left_out} more") } else { Ok(()) }
}

/// The promises of a service and what becomes of them.
pub(crate) fn promises(assessment: &Assessment, service: &ServiceResult) -> Table {
    let currency = &assessment.design.currency;
    let mut table = Table::new(
        "",
        &[
            ("promise", Align::Left),
            ("risk", Align::Right),
            ("mean time to it", Align::Right),
            ("share of time held", Align::Right),
            ("loss", Align::Right),
            ("expected loss", Align::Right),
        ],
    );
    for promise in &service.properties {
        table.row([
            promise.property.name().to_owned(),
            probability(promise.risk),
            if service.is_simulated { "-".to_owned() } else { mean_time(promise.mttf_h) },
            promise.availability.map_or_else(|| "-".to_owned(), probability),
            money(promise.loss, currency),
            money(promise.expected_loss, currency),
        ]);
    }
    for promise in service.simulated.iter().flat_map(|it| &it.promises) {
        let range = format!("{} to {}", probability(promise.low), probability(promise.high));
        table.row([
            format!("{} simulated, {range}", promise.property.name()),
            probability(promise.risk),
            String::new(),
            String::new(),
            String::new(),
            String::new(),
        ]);
    }
    let verdict = if service.is_acceptable { "accepted" } else { "not accepted" };
    table.row([
        format!("decides, against {}", probability(assessment.design.acceptable_risk)),
        probability(service.risk_any),
        verdict.to_owned(),
        String::new(),
        String::new(),
        money(service.economics.expected_loss, currency),
    ]);
    table
}

/// The service beside one of its servers.
pub(crate) fn comparison_with_one(service: &ServiceResult) -> Table {
    let mut table = Table::new(
        "More than f intruded within the mission:",
        &[("", Align::Left), ("probability", Align::Right)],
    );
    let mut row = |name: String, value: f64| table.row([name, probability(value)]);
    row(format!("one server, intruded {}", rate(service.intrusion_rate)), service.one_server);
    row("all servers, never recovered, independent".into(), service.no_repair.independent);
    let beta = figure(service.no_repair.beta);
    row(format!("the same, common share {beta}"), service.no_repair.common_mode);
    row("all servers, as designed".into(), service.risk);
    if let Some(simulated) = &service.simulated {
        let level = figure(simulated.level * 100.0);
        let range = format!("{} to {}", probability(simulated.low), probability(simulated.high));
        let name = format!("simulated in {} missions, {level} %: {range}", simulated.missions);
        row(name, simulated.risk);
    }
    if let Some(crossover) = service.crossover {
        row("worse than one server beyond p =".into(), crossover);
    }
    table
}

/// What the risk comes from.
pub(crate) fn causes(service: &ServiceResult) -> Table {
    let mut table = Table::new(
        "What the risk comes from:",
        &[("cause", Align::Left), ("risk without it", Align::Right), ("share", Align::Right)],
    );
    for cause in &service.causes {
        table.row([cause.name.clone(), probability(cause.risk_without), per_cent(cause.share)]);
    }
    table
}

fn per_cent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// The smallest sets of labels that break the service.
pub(crate) fn cuts(service: &ServiceResult, rows: usize) -> Table {
    let caption = format!("Smallest sets of labels whose fall intrudes more than {}:", service.f);
    let mut table = Table::new(caption, &[("labels", Align::Left), ("servers", Align::Left)]);
    for cut in service.cuts.iter().take(rows) {
        table.row([labels_in_words(&cut.labels), listed(&cut.servers)]);
    }
    table
}

/// What the table of sets leaves out, if anything.
pub(crate) fn cut_limits(service: &ServiceResult) -> Option<String> {
    let (search, told) = (service.cut_search, service.cuts.len());
    if search.is_complete {
        return None;
    }
    let mut limits = Vec::new();
    if search.found > told {
        limits.push(format!("{told} of the {} that were found are told", search.found));
    }
    if search.labels_max <= service.f {
        limits.push(format!("sets of more than {} labels are not looked for", search.labels_max));
    }
    if limits.is_empty() {
        limits.push(format!("the search ended after {} sets", search.found));
    }
    Some(format!("These are not surely all such sets: {}.", limits.join(", and ")))
}

/// What the risk depends on most.
pub(crate) fn sensitivity(service: &ServiceResult, currency: &str, rows: usize) -> Table {
    let mut table = Table::new(
        "What the risk depends on:",
        &[
            ("input", Align::Left),
            ("value", Align::Right),
            ("origin", Align::Left),
            ("elasticity", Align::Right),
            ("risk, halved", Align::Right),
            ("risk, doubled", Align::Right),
        ],
    );
    for input in service.tornado.iter().take(rows) {
        table.row([
            input.input.clone(),
            value(Some(input.value), input.unit, currency),
            input.origin.name().to_owned(),
            figure(input.elasticity),
            probability(input.low),
            probability(input.high),
        ]);
    }
    table
}

/// Cost of intruding against value of assets.
pub(crate) fn economics(service: &ServiceResult, currency: &str) -> String {
    let economics = &service.economics;
    let Some(cost) = economics.cost_of_intruding else {
        return "No attack of the model intrudes as many servers as break a promise.".to_owned();
    };
    let wanted = economics.servers_to_intrude;
    let goal = if wanted as u64 > service.f as u64 {
        format!("more than {}", service.f)
    } else {
        format!("{wanted} of {}, which may break a promise,", service.n)
    };
    format!(
        "Intruding {goal} costs {} ({}); the budget of {} {}, and assets of {} make that {}.",
        money(cost, currency),
        listed(&economics.cheapest_way),
        money(economics.budget, currency),
        if economics.is_affordable { "pays it" } else { "does not pay it" },
        money(economics.value_of_assets, currency),
        if economics.is_worthwhile { "worthwhile" } else { "a loss for the intruder" }
    )
}

/// As [`plain`], however long.
fn plain_text(text: &str) -> String {
    text.split(' ').map(plain).collect::<Vec<_>>().join(" ")
}

fn write_trust(out: &mut fmt::Formatter<'_>, assessment: &Assessment) -> fmt::Result {
    if assessment.trust.nodes.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nTrust")?;
    writeln!(out, "{}", components(assessment))?;
    writeln!(out, "{}", dependences(assessment))
}

/// Components with their coverage.
pub(crate) fn components(assessment: &Assessment) -> Table {
    let mut table = Table::new(
        "",
        &[
            ("component", Align::Left),
            ("alone", Align::Right),
            ("with all below", Align::Right),
            ("importance", Align::Right),
        ],
    );
    for node in &assessment.trust.nodes {
        table.row([
            node.name.clone(),
            probability(node.own),
            probability(node.assessed),
            figure(node.importance),
        ]);
    }
    table
}

/// Who trusts whom, and whether that is deserved.
pub(crate) fn dependences(assessment: &Assessment) -> Table {
    let mut table = Table::new(
        "",
        &[
            ("relies on", Align::Left),
            ("requires", Align::Right),
            ("assessed", Align::Right),
            ("", Align::Left),
        ],
    );
    for edge in &assessment.trust.edges {
        let verdict = if edge.is_over_trusted { "beyond trustworthiness" } else { "" };
        table.row([
            format!("{} -> {}", edge.from, edge.to),
            probability(edge.required),
            probability(edge.assessed),
            verdict.to_owned(),
        ]);
    }
    table
}

/// What leads to what, and what lowers it.
pub(crate) fn avi_edges(assessment: &Assessment) -> Table {
    let mut table = Table::new(
        "",
        &[
            ("leads", Align::Left),
            ("lowered by", Align::Left),
            ("without it", Align::Right),
            ("rate", Align::Right),
        ],
    );
    let label = |id: &str| {
        let node = assessment.avi.nodes.iter().find(|node| node.id == id);
        node.map_or_else(|| id.to_owned(), |node| node.label.clone())
    };
    for edge in &assessment.avi.edges {
        table.row([
            format!("{} -> {}", label(&edge.from), label(&edge.to)),
            edge.technique.clone(),
            if edge.technique.is_empty() { String::new() } else { rate(edge.rate_before) },
            rate(edge.rate),
        ]);
    }
    table
}

fn write_trees(out: &mut fmt::Formatter<'_>, assessment: &Assessment) -> fmt::Result {
    if assessment.attack_trees.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nAttack trees")?;
    writeln!(out, "{}", trees(assessment))
}

/// Attack trees with their cheapest paths.
pub(crate) fn trees(assessment: &Assessment) -> Table {
    let mut table = Table::new(
        "",
        &[
            ("tree", Align::Left),
            ("breaks", Align::Left),
            ("probability", Align::Right),
            ("cheapest path", Align::Left),
            ("cost", Align::Right),
            ("for the intruder", Align::Left),
        ],
    );
    for tree in &assessment.attack_trees {
        let Some(cost) = tree.cost else {
            table.row([
                tree.name.clone(),
                format!("{} of {}", tree.property.name(), tree.service),
                probability(tree.probability),
                "no way".to_owned(),
            ]);
            continue;
        };
        let verdict = match (tree.is_affordable, tree.is_worthwhile) {
            (true, true) => "affordable, worthwhile",
            (true, false) => "affordable, a loss",
            (false, true) => "beyond the budget",
            (false, false) => "beyond the budget, a loss",
        };
        table.row([
            tree.name.clone(),
            format!("{} of {}", tree.property.name(), tree.service),
            probability(tree.probability),
            listed(&tree.path),
            money(cost, &assessment.design.currency),
            verdict.to_owned(),
        ]);
    }
    table
}

fn write_findings(out: &mut fmt::Formatter<'_>, name: &str, all: &[Finding]) -> fmt::Result {
    if all.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{name}")?;
    for finding in all {
        let word = match finding.severity {
            Severity::Grave => "GRAVE: ",
            Severity::Warning => "WARNING: ",
            Severity::Note => "",
        };
        writeln!(out, "  - {}", wrapped(&format!("{word}{}", plain_text(&finding.text)), 4))?;
        if !finding.hint.is_empty() {
            writeln!(out, "    Try: {}", wrapped(&plain_text(&finding.hint), 4))?;
        }
    }
    Ok(())
}

fn write_lines(out: &mut fmt::Formatter<'_>, lines: &[String]) -> fmt::Result {
    if !lines.is_empty() {
        out.write_char('\n')?;
    }
    lines.iter().try_for_each(|line| write!(out, "\n  - {}", wrapped(&plain_text(line), 4)))
}
