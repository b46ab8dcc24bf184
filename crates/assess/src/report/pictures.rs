//! The pictures of an assessment.

use crate::analysis::{
    Assessment, AttackTreeResult, AviGraph, AviKind, ServiceResult, Sweep, TrustGraph, Unit,
};
use crate::design::LabelKind;
use crate::design::estimate::HOURS_PER_DAY;

use super::chart::{Chart, Direction, Marker, Series};
use super::graph::{Edge, Graph, Look, Node};
use super::matrix::{Matrix, Row};
use super::scale::Scale;
use super::svg::Picture;
use super::tornado::{Bar, Tornado};
use super::words::{figure, listed, money, probability, rate, servers, time};

/// Days that a mission must have for its time to be shown in days.
const DAYS_SHOWN: f64 = 4.0;

/// Risk over the mission, a line for each promise.
pub fn risk_over_time(assessment: &Assessment, service: &ServiceResult) -> Picture {
    let mission = assessment.design.mission_h;
    let (unit, word) = if mission >= DAYS_SHOWN * HOURS_PER_DAY {
        (HOURS_PER_DAY, "days")
    } else {
        (1.0, "hours")
    };
    let mut series: Vec<Series> = Vec::new();
    for line in &service.risk_over_time {
        // At first nothing is broken, and a logarithm has no place for that.
        let points = line.points.iter().filter(|point| point.x > 0.0 || point.y > 0.0);
        let points = points.map(|point| (point.x / unit, point.y)).collect();
        series.push(Series::line(line.name.clone(), points));
    }
    if let Some(simulated) = &service.simulated {
        let at = mission / unit;
        let mut line = Series::line("simulated", vec![(at, simulated.risk)]);
        line.band =
            vec![(at * 0.985, simulated.low, simulated.high), (at, simulated.low, simulated.high)];
        series.push(line);
    }
    let level = assessment.design.acceptable_risk;
    let lines: Vec<&str> = service.risk_over_time.iter().map(|line| line.name.as_str()).collect();
    Chart {
        title: format!("{}: risk over time", service.name),
        description: format!(
            "Probability that a promise has been broken by a time, for {}. What does not come back by itself \
             is lost within the mission ({}) with probability {}; {} is accepted.",
            listed(&lines),
            time(mission),
            probability(service.risk_any),
            probability(level)
        ),
        across: Direction { label: format!("time, {word}"), scale: Scale::FromZero },
        up: Direction { label: "probability of failure by then".into(), scale: Scale::Logarithmic },
        series,
        markers: Vec::new(),
        levels: vec![Marker { at: level, label: format!("acceptable {}", probability(level)) }],
    }
    .draw()
}

/// How the risk changes with one property of the design, and where going on stops to pay.
pub fn sweep(assessment: &Assessment, service: &ServiceResult, sweep: &Sweep) -> Picture {
    let is_in_days = sweep.unit == Unit::Hours
        && sweep.series.iter().flat_map(|line| &line.points).any(|point| point.x >= 96.0);
    let unit = if is_in_days { HOURS_PER_DAY } else { 1.0 };
    let mut markers = Vec::new();
    let in_words = |x: f64| match sweep.unit {
        Unit::Hours => time(x),
        _ => figure(x),
    };
    let knee = sweep.knee.map(|knee| knee.x);
    let is_there = knee.is_some() && knee == sweep.current;
    let marked = [
        ("now and knee", knee.filter(|_| is_there)),
        ("now", sweep.current.filter(|_| !is_there)),
        ("knee", knee.filter(|_| !is_there)),
    ];
    for (word, at) in marked {
        let label = |at: f64| format!("{word} {}", in_words(at));
        markers.extend(at.map(|at| Marker { at: at / unit, label: label(at) }));
    }
    let series = sweep.series.iter().map(|line| {
        let points = line.points.iter().map(|point| (point.x / unit, point.y)).collect();
        Series::line(line.name.clone(), points)
    });
    let scale = match sweep.unit {
        // Periods are swept by factors, and would crowd at one end.
        Unit::Hours => Scale::Logarithmic,
        Unit::Number => Scale::Whole,
        _ => Scale::Linear,
    };
    let unit_word = match (sweep.unit, is_in_days) {
        (Unit::Hours, true) => ", days",
        (Unit::Hours, false) => ", hours",
        (Unit::PerHour, _) => ", per hour",
        _ => "",
    };
    let level = assessment.design.acceptable_risk;
    Chart {
        title: format!("{}: {}", service.name, sweep.label),
        description: sweep.text.clone(),
        across: Direction { label: format!("{}{unit_word}", sweep.label), scale },
        up: Direction { label: "risk within the mission".into(), scale: Scale::Logarithmic },
        series: series.collect(),
        markers,
        levels: vec![Marker { at: level, label: format!("acceptable {}", probability(level)) }],
    }
    .draw()
}

/// What the risk depends on most.
pub fn tornado(service: &ServiceResult) -> Picture {
    let bars = service.tornado.iter().map(|input| Bar {
        name: input.input.clone(),
        low: input.low,
        high: input.high,
    });
    let strongest = service.tornado.first().map_or_else(String::new, |input| {
        format!(
            " The strongest is {}: one per cent more of it changes the risk by {} per cent.",
            input.input,
            figure(input.elasticity)
        )
    });
    Tornado {
        title: format!("{}: what the risk depends on", service.name),
        description: format!(
            "Risk within the mission when one input alone is halved or doubled.{strongest}"
        ),
        label: "risk within the mission".into(),
        scale: Scale::Logarithmic,
        base: service.risk_any,
        low_and_high: ("input halved".into(), "input doubled".into()),
        bars: bars.collect(),
    }
    .draw()
}

/// Figure 2 of the paper, with the rates of the design.
pub fn avi(graph: &AviGraph) -> Picture {
    let position = |id: &str| graph.nodes.iter().position(|node| node.id == id);
    let nodes = graph.nodes.iter().map(|node| {
        let (kind, look) = match node.kind {
            AviKind::Attack => ("attack", Look::Plain),
            AviKind::Vulnerability => ("vulnerability", Look::Plain),
            AviKind::Intrusion => ("intrusion", Look::Plain),
            AviKind::Error => ("error", Look::Plain),
            AviKind::Failure => ("failure", Look::Bad),
        };
        Node { name: node.label.clone(), lines: vec![kind.into(), rate(node.rate)], look }
    });
    let edges = graph.edges.iter().filter_map(|edge| {
        let (from, to) = (position(&edge.from)?, position(&edge.to)?);
        let (label, look) = if edge.technique.is_empty() {
            (rate(edge.rate), Look::Plain)
        } else {
            (format!("{}\nto {}", edge.technique, rate(edge.rate)), Look::Good)
        };
        Some(Edge { from, to, label, look })
    });
    Graph {
        title: "From attacks to failures".into(),
        description: "Attacks meet vulnerabilities and make intrusions, these make errors, and errors \
                      that are not processed make failures. Numbers are rates; a green dashed edge is \
                      one that prevention, removal or tolerance has lowered. The table has the numbers of edges \
                      that lie too close for a text."
            .into(),
        nodes: nodes.collect(),
        edges: edges.collect(),
    }
    .draw()
}

/// Who trusts whom, with edges in red where trust exceeds trustworthiness.
pub fn trust(graph: &TrustGraph) -> Picture {
    let position = |name: &str| graph.nodes.iter().position(|node| node.name == name);
    let wrong = graph.edges.iter().filter(|edge| edge.is_over_trusted).count();
    let nodes = graph.nodes.iter().map(|node| Node {
        name: node.name.clone(),
        lines: vec![
            format!("alone {}", probability(node.own)),
            format!("with all below {}", probability(node.assessed)),
        ],
        look: Look::Plain,
    });
    let edges = graph.edges.iter().filter_map(|edge| {
        let (from, to) = (position(&edge.from)?, position(&edge.to)?);
        let (label, look) = if edge.is_over_trusted {
            let label = format!(
                "needs {},\nhas {}",
                probability(edge.required),
                probability(edge.assessed)
            );
            (label, Look::Bad)
        } else {
            (format!("needs {}", probability(edge.required)), Look::Plain)
        };
        Some(Edge { from, to, label, look })
    });
    Graph {
        title: "Trust and trustworthiness".into(),
        description: format!(
            "An edge leads from a component to one that it relies on. {wrong} of {} edges are red: there \
             the coverage that is required exceeds the one that was assessed.",
            graph.edges.len()
        ),
        nodes: nodes.collect(),
        edges: edges.collect(),
    }
    .draw()
}

/// Which servers fall with each minimal set of labels.
pub fn cut_sets(service: &ServiceResult) -> Picture {
    let mut columns: Vec<String> = Vec::new();
    for server in service.cuts.iter().flat_map(|cut| &cut.servers) {
        if !columns.contains(server) {
            columns.push(server.clone());
        }
    }
    columns.sort();
    let rows = service.cuts.iter().map(|cut| Row {
        name: labels_in_words(&cut.labels),
        members: columns.iter().map(|server| cut.servers.contains(server)).collect(),
        breaks: cut.labels.len() == 1,
    });
    let rows: Vec<Row> = rows.collect();
    let alone = rows.iter().filter(|row| row.breaks).count();
    Matrix {
        title: format!("{}: what falls together", service.name),
        description: format!(
            "Each row is a smallest set of labels whose fall intrudes more than {} of {}; \
             crosses mark the servers. {alone} of {} sets are a single label, in red: it breaks the \
             service alone.",
            service.f,
            servers(service.n),
            rows.len()
        ),
        columns,
        rows,
    }
    .draw()
}

/// Labels as `site = room`.
pub(crate) fn labels_in_words(labels: &[(LabelKind, String)]) -> String {
    let each = labels.iter().map(|(kind, value)| format!("{} = {value}", kind.name()));
    each.collect::<Vec<_>>().join(" + ")
}

/// An attack tree, its cheapest path in red.
pub fn attack_tree(tree: &AttackTreeResult, currency: &str) -> Picture {
    let nodes = tree.nodes.iter().map(|node| {
        let mut lines = vec![node.gate.clone()];
        if let Some(cost) = node.cost {
            lines = vec![money(cost, currency)];
        }
        lines.extend(node.probability.map(|p| format!("succeeds {}", probability(p))));
        let look = if node.is_on_path { Look::Bad } else { Look::Plain };
        Node { name: node.name.clone(), lines, look }
    });
    let is_on_path = |id: usize| tree.nodes.get(id).is_some_and(|node| node.is_on_path);
    let edges = tree.nodes.iter().enumerate().flat_map(|(parent, node)| {
        node.children.iter().map(move |child| {
            let look =
                if is_on_path(parent) && is_on_path(*child) { Look::Bad } else { Look::Plain };
            Edge { from: parent, to: *child, label: String::new(), look }
        })
    });
    let path = match tree.cost {
        Some(cost) => {
            format!(
                "In red the cheapest path: {}, for {}.",
                listed(&tree.path),
                money(cost, currency)
            )
        }
        None => "No path has steps that can all succeed.".to_owned(),
    };
    Graph {
        title: format!("{}: attack tree", tree.name),
        description: format!("The goal on the left, its steps to the right. {path}"),
        nodes: nodes.collect(),
        edges: edges.collect(),
    }
    .draw()
}
