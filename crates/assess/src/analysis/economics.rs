//! Cost of intruding against value of assets (section 2.3 of the paper).

use super::result::Economics;
use super::situation::Situation;
use super::threats;
use crate::design::{Design, FaultModel, Service};

/// Exploits of which every combination is tried; larger ones are built step by step, and may be a
/// little dearer than the cheapest.
pub(super) const COMBINED_MAX: usize = 3;
/// Exploits that are looked at, cheapest first.
pub(super) const EXPLOITS_MAX: usize = 48;

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
    let wanted = wanted(&Situation::of(design, service));
    let many = cheapest(&tools, wanted);
    let value: f64 = service.promises.iter().map(|(_, loss)| loss.value.0).sum();
    let budget = design.attacker.budget.value.0;
    let cost = many.as_ref().map(|(cost, _)| *cost);
    Economics {
        cost_of_one: one.map(|(cost, _)| cost),
        cost_of_intruding: cost,
        servers_to_intrude: wanted,
        cheapest_way: many.map(|(_, way)| way).unwrap_or_default(),
        value_of_assets: value,
        budget,
        is_affordable: cost.is_some_and(|cost| cost <= budget),
        is_worthwhile: cost.is_some_and(|cost| cost < value),
        expected_loss,
    }
}

/// The fewest servers whose intrusion breaks a promise. In `hybrid` one is enough, with some luck, where
/// its wormhole may fall with it.
fn wanted(situation: &Situation) -> usize {
    let may_fall = situation.servers.iter().any(|server| server.coverage < 1.0);
    if situation.model == FaultModel::Hybrid && may_fall {
        return 1;
    }
    let tolerated = situation.promises.iter().map(|promise| situation.tolerated(*promise));
    tolerated.min().unwrap_or(situation.f) + 1
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

/// What it costs to intrude `wanted` hosts with all of these exploits; `None` if they reach fewer, or if
/// one of them is not needed.
///
/// The first use of each exploit takes one of its hosts, and each further host is paid at the cheapest
/// price again. The cheapest further hosts are taken one by one, as long as the first uses still find a
/// host each among the others: which sets leave them one is a matroid, so that this is the least sum.
fn cost_of(tools: &[&Tool], wanted: usize) -> Option<f64> {
    let mut costs: Vec<(usize, f64)> = Vec::new();
    for tool in tools {
        for host in &tool.hosts {
            match costs.iter_mut().find(|(known, _)| known == host) {
                Some((_, cost)) => *cost = cost.min(tool.again),
                None => costs.push((*host, tool.again)),
            }
        }
    }
    let further = wanted.checked_sub(tools.len())?;
    if tools.is_empty() || costs.len() < wanted || !is_each_placed(tools, &[]) {
        return None;
    }
    costs.sort_by(|(_, a), (_, b)| a.total_cmp(b));
    let mut total: f64 = tools.iter().map(|tool| tool.first).sum();
    let mut again: Vec<usize> = Vec::new();
    for (host, cost) in costs {
        if again.len() == further {
            break;
        }
        again.push(host);
        if is_each_placed(tools, &again) {
            total += cost;
        } else {
            again.pop();
        }
    }
    (again.len() == further).then_some(total)
}

/// Whether each exploit finds a host of its own outside `taken`, by augmenting paths.
fn is_each_placed(tools: &[&Tool], taken: &[usize]) -> bool {
    let mut owners: Vec<(usize, usize)> = Vec::new();
    (0..tools.len()).all(|tool| place(tools, taken, tool, &mut Vec::new(), &mut owners))
}

/// Gives the exploit a host, moving others where that helps. The depth is at most the number of exploits.
fn place(
    tools: &[&Tool],
    taken: &[usize],
    tool: usize,
    tried: &mut Vec<usize>,
    owners: &mut Vec<(usize, usize)>,
) -> bool {
    let hosts = tools.get(tool).map_or(&[][..], |tool| &tool.hosts);
    for host in hosts.iter().filter(|host| !taken.contains(host)) {
        if tried.contains(host) {
            continue;
        }
        tried.push(*host);
        let held = owners.iter().position(|(known, _)| known == host);
        let owner = held.and_then(|at| owners.get(at)).map(|(_, owner)| *owner);
        if owner.is_none_or(|owner| place(tools, taken, owner, tried, owners)) {
            owners.retain(|(known, _)| known != host);
            owners.push((*host, tool));
            return true;
        }
    }
    false
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

    /// The first use of `a` takes its only host, so that the third host costs what `b` costs again.
    #[test]
    fn what_first_uses_take_is_not_used_again() {
        let two = [tool("a", 100.0, 1.0, &[0]), tool("b", 100.0, 50.0, &[1, 2])];
        assert_eq!(cheapest(&two, 3).map(|(cost, _)| cost), Some(250.0));
        assert_eq!(cheapest(&two, 2).map(|(cost, _)| cost), Some(150.0));
        // Both first uses fit on host 0; one moves, and is then cheapest where it is not used again.
        let both = [tool("a", 100.0, 1.0, &[0, 1]), tool("b", 10.0, 90.0, &[0])];
        assert_eq!(cheapest(&both, 2).map(|(cost, _)| cost), Some(101.0));
        let same = [tool("a", 100.0, 200.0, &[0]), tool("b", 10.0, 90.0, &[0])];
        assert_eq!(cheapest(&same, 2), None);
    }

    /// Against every way to place first uses and further ones.
    #[test]
    fn the_cost_is_the_least_of_all_placements() {
        let tools = [
            tool("a", 5.0, 4.0, &[0, 1]),
            tool("b", 6.0, 1.0, &[1, 2]),
            tool("c", 7.0, 9.0, &[2, 3, 4]),
        ];
        let all: Vec<&Tool> = tools.iter().collect();
        let again = [4.0, 1.0, 1.0, 9.0, 9.0];
        for wanted in 3..=5 {
            let mut least = f64::INFINITY;
            for first in 0..8_usize {
                let places = [first & 1, 1 + (first >> 1 & 1), 2 + (first >> 2)];
                if places[0] == places[1] || places[1] == places[2] {
                    continue;
                }
                for further in 0..32_usize {
                    let is_free = |host: &usize| !places.contains(host);
                    let hosts: Vec<usize> = (0..5).filter(|at| further >> at & 1 == 1).collect();
                    if hosts.len() + 3 == wanted && hosts.iter().all(is_free) {
                        let sum: f64 = hosts.iter().map(|host| again[*host]).sum();
                        least = least.min(18.0 + sum);
                    }
                }
            }
            assert_eq!(cost_of(&all, wanted), Some(least), "{wanted}");
        }
    }

    #[test]
    fn the_promise_that_breaks_first_says_how_many_it_takes() {
        let path = format!("{}/../../examples/assess/", env!("CARGO_MANIFEST_DIR"));
        let read = |name: &str| std::fs::read_to_string(format!("{path}{name}.toml")).unwrap();
        let told = |text: &str| {
            let design = Design::parse("x", text).unwrap();
            wanted(&Situation::of(&design, &design.services[0]))
        };
        assert_eq!(told(&read("one-room")), 2);
        assert_eq!(told(&read("three-clouds")), 3);
        assert_eq!(told(&read("single-hsm")), 1);
        // A wormhole may fall with the first host.
        assert_eq!(told(&read("hybrid-weak-isolation")), 1);
        // In clear one server has the secrets.
        let clear = read("one-room").replace("state = \"sealed\"", "state = \"clear\"");
        assert_eq!(told(&clear), 1);
    }
}
