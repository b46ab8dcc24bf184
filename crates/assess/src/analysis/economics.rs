//! Cost of intruding against value of assets (section 2.3 of the paper).

use super::result::Economics;
use super::threats;
use crate::design::{Design, Service};

/// Exploits of which every combination is tried; larger ones are built step by step, and may be a
/// little dearer than the cheapest.
const COMBINED_MAX: usize = 3;
/// Exploits that are looked at, cheapest first.
const EXPLOITS_MAX: usize = 48;

/// An exploit as an attacker sees it.
#[derive(Clone, Debug, PartialEq)]
struct Tool {
    name: String,
    /// For the first host.
    first: f64,
    /// For each further one.
    again: f64,
    /// Hosts of the service that it intrudes.
    hosts: Vec<usize>,
}

/// What an attacker pays, what it brings, and what is lost.
pub(super) fn economics(design: &Design, service: &Service, expected_loss: f64) -> Economics {
    let tools = tools(design, service);
    let one = cheapest(&tools, 1);
    let many = cheapest(&tools, usize::from(service.f) + 1);
    let value: f64 = service.promises.iter().map(|(_, loss)| loss.value.0).sum();
    let budget = design.attacker.budget.value.0;
    let cost = many.as_ref().map(|(cost, _)| *cost);
    Economics {
        cost_of_one: one.map(|(cost, _)| cost),
        cost_of_intruding: cost,
        cheapest_way: many.map(|(_, way)| way).unwrap_or_default(),
        value_of_assets: value,
        budget,
        is_affordable: cost.is_some_and(|cost| cost <= budget),
        is_worthwhile: cost.is_some_and(|cost| cost < value),
        expected_loss,
    }
}

/// Exploits that can intrude a server of the service, cheapest first.
fn tools(design: &Design, service: &Service) -> Vec<Tool> {
    let mut tools = Vec::new();
    for attack in &design.attacks {
        for exploit in &attack.exploits {
            let Some(target) = design.vulnerabilities.get(exploit.vulnerability) else { continue };
            let hosts = service.hosts.iter().filter(|host| target.hosts.contains(host));
            let tool = Tool {
                name: format!("{}: {}", attack.name, target.name),
                first: attack.cost.value.0,
                again: attack.cost_again.value.0,
                hosts: hosts.copied().collect(),
            };
            if !tool.hosts.is_empty() && threats::exploit_rate(design, attack, exploit) > 0.0 {
                tools.push(tool);
            }
        }
    }
    tools.sort_by(|a, b| a.first.total_cmp(&b.first).then_with(|| a.name.cmp(&b.name)));
    tools.truncate(EXPLOITS_MAX);
    tools
}

/// The cheapest way to intrude `wanted` hosts.
fn cheapest(tools: &[Tool], wanted: usize) -> Option<(f64, Vec<String>)> {
    let mut best: Option<(f64, Vec<String>)> = None;
    let mut chosen: Vec<&Tool> = Vec::new();
    try_all(tools, wanted, &mut chosen, &mut best);
    if let Some((cost, way)) = step_by_step(tools, wanted)
        && best.as_ref().is_none_or(|(least, _)| cost < *least)
    {
        best = Some((cost, way));
    }
    best
}

/// Adds exploits that reach further hosts, cheapest first, until enough are reached.
fn step_by_step(tools: &[Tool], wanted: usize) -> Option<(f64, Vec<String>)> {
    let mut chosen: Vec<&Tool> = Vec::new();
    let mut reached: Vec<usize> = Vec::new();
    for tool in tools {
        if reached.len() >= wanted {
            break;
        }
        let before = reached.len();
        reached.extend(&tool.hosts);
        reached.sort_unstable();
        reached.dedup();
        if reached.len() > before {
            chosen.push(tool);
        }
    }
    let cost = cost_of(&chosen, wanted)?;
    Some((cost, chosen.iter().map(|tool| tool.name.clone()).collect()))
}

/// Tries every set of the remaining exploits with the chosen ones. The depth is at most
/// [`COMBINED_MAX`].
fn try_all<'t>(
    rest: &'t [Tool],
    wanted: usize,
    chosen: &mut Vec<&'t Tool>,
    best: &mut Option<(f64, Vec<String>)>,
) {
    if let Some(cost) = cost_of(chosen, wanted)
        && best.as_ref().is_none_or(|(least, _)| cost < *least)
    {
        *best = Some((cost, chosen.iter().map(|tool| tool.name.clone()).collect()));
    }
    if chosen.len() == COMBINED_MAX {
        return;
    }
    for (position, tool) in rest.iter().enumerate() {
        chosen.push(tool);
        try_all(rest.get(position + 1..).unwrap_or_default(), wanted, chosen, best);
        chosen.pop();
    }
}

/// What it costs to intrude `wanted` hosts with all of these exploits; `None` if they reach fewer.
fn cost_of(tools: &[&Tool], wanted: usize) -> Option<f64> {
    // Each exploit takes at least one host, or it would not be needed; the first is its dear one.
    let mut costs: Vec<(usize, f64)> = Vec::new();
    for tool in tools {
        for host in &tool.hosts {
            match costs.iter_mut().find(|(known, _)| known == host) {
                Some((_, cost)) => *cost = cost.min(tool.again),
                None => costs.push((*host, tool.again)),
            }
        }
    }
    if tools.is_empty() || costs.len() < wanted || tools.len() > wanted {
        return None;
    }
    costs.sort_by(|(_, a), (_, b)| a.total_cmp(b));
    let entry: f64 = tools.iter().map(|tool| tool.first).sum();
    // The hosts that the first uses take are paid for by them.
    let further: f64 =
        costs.iter().take(wanted.saturating_sub(tools.len())).map(|(_, it)| it).sum();
    Some(entry + further)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tool(name: &str, first: f64, again: f64, hosts: &[usize]) -> Tool {
        Tool { name: name.to_owned(), first, again, hosts: hosts.to_vec() }
    }

    #[test]
    fn an_exploit_that_fits_all_hosts_is_paid_once() {
        let all = [tool("a", 100.0, 1.0, &[0, 1, 2, 3]), tool("b", 90.0, 0.0, &[0])];
        assert_eq!(cheapest(&all, 1), Some((90.0, vec!["b".to_owned()])));
        assert_eq!(cheapest(&all, 2), Some((101.0, vec!["a".to_owned()])));
        assert_eq!(cheapest(&all, 5), None);
    }

    #[test]
    fn different_systems_are_paid_one_by_one() {
        let each =
            [tool("a", 100.0, 1.0, &[0]), tool("b", 80.0, 1.0, &[1]), tool("c", 70.0, 1.0, &[2])];
        let way = vec!["b".to_owned(), "c".to_owned()];
        assert_eq!(cheapest(&each, 2), Some((150.0, way)));
        assert_eq!(cheapest(&each, 3).map(|(cost, _)| cost), Some(250.0));
        assert_eq!(cheapest(&[], 1), None);
        let five: Vec<Tool> = (0..5).map(|host| tool("x", 10.0, 0.0, &[host])).collect();
        assert_eq!(cheapest(&five, 5).map(|(cost, _)| cost), Some(50.0), "more than are tried");
    }
}
