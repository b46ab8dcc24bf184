//! Services: hosts, tolerance, promises and schedules that fit together.

use super::faults::Faults;
use super::structure::Node;
use super::{check_unique, hours, money, name, positions, probability, rate};
use crate::calculus::strategy::fits;
use crate::design::fault::Mistake;
use crate::design::host::{Host, LabelKind, Wormhole};
use crate::design::service::{
    AtRest, FaultModel, Outages, Property, Recoverable, Rejuvenation, Repairers, Root, Service,
    State, Strategy,
};

pub(super) fn services(
    root: &Node,
    hosts: &[Host],
    wormholes: &[Wormhole],
    faults: &mut Faults<'_>,
) -> Vec<Service> {
    let nodes = root.many("services");
    check_unique(nodes, "[[services]]", faults);
    let mut services = Vec::new();
    for node in nodes {
        let service = service(node, hosts, faults);
        check_tolerance(node, &service, faults);
        check_wormholes(node, &service, hosts, wormholes, faults);
        check_schedule(node, &service, faults);
        services.push(service);
    }
    services
}

fn service(node: &Node, hosts: &[Host], faults: &mut Faults<'_>) -> Service {
    let names: Vec<&str> = hosts.iter().map(|host| host.name.as_str()).collect();
    Service {
        name: name(node),
        line: node.line,
        hosts: positions(node.names("hosts").unwrap_or_default(), &names, "[[hosts]]", faults),
        f: small(node, "f", 0),
        fault_model: word(node, "fault_model", FaultModel::ALL, FaultModel::name),
        strategy: word(node, "strategy", Strategy::ALL, Strategy::name),
        state: if node.text("state") == Some("clear") { State::Clear } else { State::Sealed },
        at_rest: match node.text("at_rest") {
            Some("tpm") => AtRest::Tpm,
            Some("unseal") => AtRest::Unseal,
            _ => AtRest::File,
        },
        promises: promises(node, faults),
        share_epoch: node.number("share_epoch").map(|_| hours(node, "share_epoch")),
        detection: probability(node, "detection"),
        latency: hours(node, "latency"),
        recovery: hours(node, "recovery"),
        repairers: match node.text("repairers") {
            Some("single") => Repairers::Single,
            _ => Repairers::Parallel,
        },
        rejuvenation: node.one("rejuvenation").map(rejuvenation),
        outages: node.one("outages").map(|outages| Outages {
            rate: rate(outages, "rate"),
            duration: hours(outages, "duration"),
        }),
        recoverable: node.one("recoverable").map(|times| Recoverable {
            time_to_fall: hours(times, "time_to_fall"),
            time_to_recover: hours(times, "time_to_recover"),
            attack: hours(times, "attack"),
        }),
    }
}

/// The value whose name stands behind a key; the structure lets no other word through.
fn word<T: Copy, const COUNT: usize>(
    node: &Node,
    key: &str,
    all: [T; COUNT],
    name: fn(T) -> &'static str,
) -> T {
    let text = node.text(key);
    all.into_iter().find(|value| Some(name(*value)) == text).expect("one of the words")
}

/// A whole number that the structure keeps small.
fn small(node: &Node, key: &str, otherwise: u16) -> u16 {
    node.count(key).and_then(|count| u16::try_from(count).ok()).unwrap_or(otherwise)
}

fn promises(
    node: &Node,
    faults: &mut Faults<'_>,
) -> Vec<(Property, crate::design::Estimate<crate::design::Money>)> {
    let table = node.one("promises").expect("required");
    let made = Property::ALL.into_iter().filter(|it| table.number(it.name()).is_some());
    let promises: Vec<_> = made.map(|it| (it, money(table, it.name()))).collect();
    if promises.is_empty() {
        let what = "a service promises nothing".to_owned();
        let hint = "name confidentiality, integrity or availability with the loss".to_owned();
        faults.add_at(table.line, Mistake::Conflict { what }, hint);
    }
    promises
}

fn rejuvenation(node: &Node) -> Rejuvenation {
    Rejuvenation {
        period: hours(node, "period"),
        downtime: hours(node, "downtime"),
        at_once: small(node, "at_once", 1),
        root: match node.text("root") {
            Some("administrators") => Root::Administrators,
            Some("wormhole") => Root::Wormhole,
            Some("tpm") => Root::Tpm,
            _ => Root::None,
        },
    }
}

/// `n`, `f` and the fault model.
fn check_tolerance(node: &Node, service: &Service, faults: &mut Faults<'_>) {
    // Hosts that are unknown are told as such, and count as servers here.
    let n = node.names("hosts").map_or(0, <[_]>::len);
    let (f, model) = (service.f, service.fault_model);
    let is_single = model == FaultModel::Single;
    if is_single != (f == 0) || (is_single && n != 1) {
        let hint = "`single` is one server with f = 0; all others tolerate at least 1".to_owned();
        faults.add_at(node.line_of("f"), Mistake::Tolerance { model: model.name(), f, n }, hint);
        return;
    }
    let least = model.servers_min(f, 0);
    if n < least {
        let most = (0..f).rev().find(|lower| model.servers_min(*lower, 0) <= n);
        let hint = match most {
            Some(lower) if lower > 0 => format!("name {least} hosts, or lower f to {lower}"),
            _ => format!("name {least} hosts"),
        };
        let mistake = Mistake::TooFewServers { n, f, model: model.name(), least };
        faults.add_at(node.line_of("f"), mistake, hint);
    }
}

/// In `hybrid` every server has a wormhole whose coverage is told.
fn check_wormholes(
    node: &Node,
    service: &Service,
    hosts: &[Host],
    wormholes: &[Wormhole],
    faults: &mut Faults<'_>,
) {
    let needs = service.fault_model == FaultModel::Hybrid
        || service.rejuvenation.as_ref().is_some_and(|it| it.root == Root::Wormhole);
    if !needs {
        return;
    }
    for host in service.hosts.iter().filter_map(|position| hosts.get(*position)) {
        let kind = host.label(LabelKind::Wormhole);
        if kind.is_none_or(|kind| !wormholes.iter().any(|known| known.name == kind)) {
            let what = format!("server `{}` needs a wormhole, and has none", host.name);
            let hint = "give the host `wormhole = \"...\"`, and that kind a coverage".to_owned();
            faults.add_at(node.line, Mistake::Conflict { what }, hint);
        }
    }
}

/// Rejuvenation and the recoverable strategy.
fn check_schedule(node: &Node, service: &Service, faults: &mut Faults<'_>) {
    if let (Some(plan), Some(table)) = (&service.rejuvenation, node.one("rejuvenation")) {
        let turns = service.n().div_ceil(usize::from(plan.at_once)) as f64;
        if usize::from(plan.at_once) > service.n() {
            let what = format!(
                "{} servers are rejuvenated at once, and there are {}",
                plan.at_once,
                service.n()
            );
            let hint = "lower `at_once`".to_owned();
            faults.add_at(table.line_of("at_once"), Mistake::Conflict { what }, hint);
        } else if !fits(plan.downtime.value.0 * turns, plan.period.value.0) {
            let what = "not every server gets its turn within one period".to_owned();
            let hint = format!(
                "{turns} turns of the downtime must fit into the period: lengthen it, or shorten \
                 the downtime"
            );
            faults.add_at(table.line_of("period"), Mistake::Conflict { what }, hint);
        }
    }
    if service.strategy == Strategy::Recoverable && service.recoverable.is_none() {
        let what = "the strategy `recoverable` has no times".to_owned();
        let hint = "add [services.recoverable] with time_to_fall, time_to_recover and attack";
        faults.add_at(node.line_of("strategy"), Mistake::Conflict { what }, hint.to_owned());
    }
}
