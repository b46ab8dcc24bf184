//! The AVI graph: from attacks to failures, with what lowers each rate (figure 2 of the paper).

use super::result::{AviEdge, AviGraph, AviKind, AviNode, ServiceResult};
use super::threats;
use crate::design::{Attack, Design, Vulnerability};

/// A rate that is this share of the one before it, or more, is not lowered: rounding alone makes as much of it.
const NOT_LOWERED: f64 = 1.0 - 1e-9;

/// The graph of a design. Rates are per hour over all hosts; a service's failures follow from its
/// mean times.
pub(super) fn graph(design: &Design, services: &[ServiceResult]) -> AviGraph {
    let mut graph = AviGraph { nodes: Vec::new(), edges: Vec::new() };
    for vulnerability in &design.vulnerabilities {
        let kept = 1.0 - vulnerability.prevented.value.0;
        let id = vulnerability_id(vulnerability);
        let rate = vulnerability.disclosure.value.0 * kept;
        node(&mut graph, &id, &vulnerability.name, AviKind::Vulnerability, rate);
    }
    for attack in &design.attacks {
        attack_edges(design, attack, &mut graph);
    }
    for (position, host) in design.hosts.iter().enumerate() {
        let rate = threats::intrusion_rate(design, position);
        let label = format!("intrusion of {}", host.name);
        node(&mut graph, &intrusion_id(&host.name), &label, AviKind::Intrusion, rate);
    }
    for (service, result) in design.services.iter().zip(services) {
        failure_edges(design, service, result, &mut graph);
    }
    // What lowers nothing here is not told, and not drawn as if it did.
    for edge in graph.edges.iter_mut().filter(|it| it.rate >= it.rate_before * NOT_LOWERED) {
        edge.technique.clear();
    }
    graph
}

fn node(graph: &mut AviGraph, id: &str, label: &str, kind: AviKind, rate: f64) {
    let (id, label) = (id.to_owned(), label.to_owned());
    graph.nodes.push(AviNode { id, label, kind, rate });
}

fn vulnerability_id(vulnerability: &Vulnerability) -> String {
    format!("vulnerability:{}", vulnerability.name)
}

fn intrusion_id(host: &str) -> String {
    format!("intrusion:{host}")
}

/// Hosts on which an attack meets one of its vulnerabilities.
fn targets(attack: &Attack, design: &Design) -> usize {
    let has = |host: &usize| {
        attack.exploits.iter().any(|exploit| {
            let target = design.vulnerabilities.get(exploit.vulnerability);
            target.is_some_and(|it| it.hosts.contains(host))
        })
    };
    (0..design.hosts.len()).filter(has).count()
}

/// From an attack over vulnerabilities to intrusions.
fn attack_edges(design: &Design, attack: &Attack, graph: &mut AviGraph) {
    let from = format!("attack:{}", attack.name);
    let tried = attack.rate.value.0 * targets(attack, design) as f64;
    node(graph, &from, &attack.name, AviKind::Attack, tried);
    for exploit in &attack.exploits {
        let Some(target) = design.vulnerabilities.get(exploit.vulnerability) else { continue };
        let hosts = target.hosts.len() as f64;
        let before = attack.rate.value.0 * hosts;
        graph.edges.push(AviEdge {
            from: from.clone(),
            to: vulnerability_id(target),
            rate: threats::attempts(attack) * hosts,
            rate_before: before,
            technique: "attack prevention".to_owned(),
        });
    }
    for exploit in &attack.exploits {
        let Some(target) = design.vulnerabilities.get(exploit.vulnerability) else { continue };
        for host in target.hosts.iter().filter_map(|it| design.hosts.get(*it)) {
            let rate = threats::exploit_rate(design, attack, exploit);
            // Were every vulnerability of the kind open all the time.
            let open = threats::attempts(attack) * exploit.success.value.0;
            let technique = if target.prevented.value.0 > 0.0 {
                "vulnerability prevention and removal"
            } else {
                "vulnerability removal"
            };
            let (from, to) = (vulnerability_id(target), intrusion_id(&host.name));
            // Several attacks on one vulnerability are one edge.
            match graph.edges.iter_mut().find(|edge| edge.from == from && edge.to == to) {
                Some(edge) => {
                    edge.rate += rate;
                    edge.rate_before += open;
                }
                None => graph.edges.push(AviEdge {
                    from,
                    to,
                    rate,
                    rate_before: open,
                    technique: technique.to_owned(),
                }),
            }
        }
    }
}

/// From intrusions over errors to broken promises.
fn failure_edges(
    design: &Design,
    service: &crate::design::Service,
    result: &ServiceResult,
    graph: &mut AviGraph,
) {
    let error = format!("error:{}", service.name);
    let mut intrusions = 0.0;
    for position in &service.hosts {
        let Some(host) = design.hosts.get(*position) else { continue };
        let rate = threats::intrusion_rate(design, *position);
        intrusions += rate;
        graph.edges.push(AviEdge {
            from: intrusion_id(&host.name),
            to: error.clone(),
            rate,
            rate_before: rate,
            technique: String::new(),
        });
    }
    let label = format!("errors of {}", service.name);
    node(graph, &error, &label, AviKind::Error, intrusions);
    for property in &result.properties {
        let name = property.property.name();
        let id = format!("failure:{}:{name}", service.name);
        let rate = match property.mttf_h {
            Some(hours) => 1.0 / hours,
            // Missions know no mean time: the rate that gives their risk.
            None if result.is_simulated => {
                -(-property.risk.min(1.0 - f64::EPSILON)).ln_1p() / design.mission.value.0
            }
            None => 0.0,
        };
        let label = format!("{}: {name} lost", service.name);
        node(graph, &id, &label, AviKind::Failure, rate);
        graph.edges.push(AviEdge {
            from: error.clone(),
            to: id,
            rate,
            rate_before: intrusions.max(rate),
            technique: match property.tolerated {
                0 => "detection and recovery".to_owned(),
                _ => "masking, detection and recovery".to_owned(),
            },
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::analysis::{Effort, assess};

    #[test]
    fn an_edge_names_what_lowers_it_only_where_its_rate_is_lower() {
        let mut is_plain = 0;
        for name in ["single-hsm", "one-room", "hybrid-weak-isolation"] {
            let path = format!("{}/../../examples/assess/{name}.toml", env!("CARGO_MANIFEST_DIR"));
            let design = Design::parse(name, &std::fs::read_to_string(path).unwrap()).unwrap();
            let effort = Effort { points: 2, ..Effort::default() };
            let found = assess(&design, &effort, &|_, _| {}, &AtomicBool::new(false)).unwrap();
            for edge in &found.avi.edges {
                let is_lower = edge.rate < edge.rate_before * 0.999_999;
                assert_eq!(edge.technique.is_empty(), !is_lower, "{name}: {edge:?}");
                is_plain += usize::from(!is_lower && edge.to.starts_with("failure:"));
            }
        }
        assert!(is_plain >= 2, "the first intrusion of a single server breaks what it promises");
    }
}
