//! An assessment in which every name is hostile: neither the page nor the terminal obeys it.

use super::*;
use crate::analysis::{
    Advice, AttackTreeResult, AviEdge, AviGraph, AviKind, AviNode, Cause, Change, CutSearch,
    CutSet, Economics, Elasticity, Header, Measure, Point, PromiseEffect, PropertyResult, Quantity,
    Series, ServiceAdvice, StrategyResult, Sweep, TreeNodeResult, TrustEdge, TrustGraph, TrustNode,
    Unit, compare, result,
};
use crate::design::{FaultModel, LabelKind, Origin, Property, Strategy};
use crate::report::summary::Summary;

const HOSTILE: &str = "</title></style></text><script>x()</script>\u{1b}]0;t\u{7}\u{202e}\"'&";

fn text() -> String {
    HOSTILE.to_owned()
}

fn finding(severity: Severity) -> Finding {
    Finding { id: "x".into(), severity, service: Some(text()), text: text(), hint: text() }
}

fn series(name: &str) -> Series {
    let point = |x: f64, y: f64| Point { x, y };
    Series {
        name: name.into(),
        points: vec![point(0.0, 0.0), point(4000.0, 1e-4), point(8760.0, 2e-3)],
    }
}

fn service() -> ServiceResult {
    let promise = |property, risk| PropertyResult {
        property,
        tolerated: 1,
        risk,
        mttf_h: Some(1e6),
        availability: Some(0.999_999),
        loss: 400_000.0,
        expected_loss: risk * 400_000.0,
    };
    ServiceResult {
        name: text(),
        n: 4,
        f: 1,
        fault_model: FaultModel::Arbitrary,
        strategy: Strategy::Confidential,
        intrusion_rate: 1e-5,
        intrusion_probability: 0.08,
        no_repair: Measure { independent: 0.03, common_mode: 0.05, beta: 0.3 },
        one_server: 0.08,
        crossover: Some(0.232),
        risk: 0.012,
        mttf_h: None,
        simulated: Some(result::Simulated {
            missions: 1000,
            risk: 0.011,
            low: 0.008,
            high: 0.015,
            level: 0.99,
            promises: Vec::new(),
        }),
        is_simulated: false,
        properties: vec![
            promise(Property::Confidentiality, 0.02),
            promise(Property::Availability, f64::NAN),
        ],
        risk_any: 0.03,
        is_acceptable: false,
        risk_over_time: vec![series("confidentiality"), series(HOSTILE)],
        sweeps: vec![Sweep {
            parameter: "rejuvenation_period".into(),
            label: text(),
            unit: Unit::Hours,
            series: vec![series(HOSTILE)],
            current: Some(720.0),
            knee: Some(Point { x: 4000.0, y: 1e-4 }),
            text: text(),
        }],
        causes: vec![Cause { name: text(), risk_without: 0.001, share: 0.9 }],
        cut_search: CutSearch { labels_max: 2, found: 1, is_complete: true },
        cuts: vec![CutSet {
            labels: vec![(LabelKind::Site, text())],
            servers: vec![text(), "b".into()],
        }],
        tornado: vec![Elasticity {
            input: text(),
            value: 720.0,
            unit: Unit::Hours,
            origin: Origin::Assumed,
            elasticity: 1.9,
            low: 0.003,
            high: 0.04,
        }],
        economics: economics(),
        strategy_numbers: strategy(),
    }
}

fn economics() -> Economics {
    Economics {
        cost_of_one: Some(1.0),
        cost_of_intruding: Some(60_000.0),
        servers_to_intrude: 2,
        cheapest_way: vec![text()],
        value_of_assets: 400_000.0,
        budget: 50_000.0,
        is_affordable: false,
        is_worthwhile: true,
        expected_loss: 8000.0,
    }
}

fn strategy() -> StrategyResult {
    StrategyResult {
        slack: -2,
        time_to_fall_h: Some(90.0),
        time_to_recover_h: Some(10.0),
        duty_cycle: Some(0.9),
        is_exhaustion_safe: Some(false),
        text: text(),
    }
}

fn tree() -> AttackTreeResult {
    AttackTreeResult {
        name: text(),
        service: text(),
        property: Property::Integrity,
        cost: Some(1e4),
        path: vec![text()],
        probability: 0.2,
        is_affordable: true,
        is_worthwhile: false,
        nodes: vec![TreeNodeResult {
            name: text(),
            gate: text(),
            children: vec![7],
            is_on_path: true,
            cost: Some(1e4),
            probability: Some(0.2),
        }],
    }
}

fn assessment() -> Assessment {
    let node = |kind| AviNode { id: text(), label: text(), kind, rate: 1e-4 };
    let coverage =
        |name: &str| TrustNode { name: name.into(), own: 0.99, assessed: 0.9, importance: 0.5 };
    Assessment {
        format: 1,
        design: Header {
            name: text(),
            description: text(),
            currency: text(),
            mission_h: 8760.0,
            acceptable_risk: 1e-3,
            hosts: 4,
            origins: vec![(Origin::Measured, 3), (Origin::Expert, 0), (Origin::Assumed, 9)],
        },
        warnings: vec![finding(Severity::Grave), finding(Severity::Warning)],
        conclusions: vec![finding(Severity::Note)],
        services: vec![service()],
        avi: AviGraph {
            nodes: vec![
                node(AviKind::Attack),
                AviNode { id: "b".into(), ..node(AviKind::Failure) },
            ],
            edges: vec![AviEdge {
                from: text(),
                to: "b".into(),
                rate: 1e-5,
                rate_before: 1e-4,
                technique: text(),
            }],
        },
        trust: TrustGraph {
            nodes: vec![coverage(HOSTILE), coverage("below")],
            edges: vec![TrustEdge {
                from: text(),
                to: "below".into(),
                required: 0.99,
                assessed: 0.9,
                is_over_trusted: true,
            }],
        },
        attack_trees: vec![tree()],
        quantities: vec![Quantity {
            quantity: "risk".into(),
            subject: text(),
            property: Some(Property::Integrity),
            value: None,
            unit: Unit::Hours,
            formula: text(),
            source: text(),
            origin: Origin::Expert,
        }],
    }
}

fn has_what_a_terminal_obeys(text: &str) -> bool {
    text.chars().any(|letter| (letter.is_control() && letter != '\n') || letter == '\u{202e}')
}

/// Advice whose every text is hostile: one change with a price, one without.
fn hostile_advice() -> Advice {
    let effect = PromiseEffect {
        property: Property::Availability,
        before: 0.39,
        after: 0.87,
        is_worse: true,
    };
    let change = |cost| Change {
        kind: "diversity".into(),
        text: text(),
        assumed: None,
        cost,
        risk_before: 0.1,
        risk_after: 0.01,
        promises: vec![effect],
        expected_loss_before: 1000.0,
        expected_loss_after: 2000.0,
    };
    let service = ServiceAdvice {
        service: text(),
        risk: 0.1,
        acceptable_risk: 0.01,
        promises: vec![effect],
        expected_loss: 1000.0,
        expected_loss_after: 2000.0,
        changes: vec![change(Some(5.0)), change(None)],
        plan: vec![change(Some(5.0))],
        risk_after: 0.01,
        is_reached: true,
        unpriced_plan: vec![change(None)],
        unpriced_risk_after: Some(0.01),
        text: vec![text()],
    };
    Advice { design: text(), currency: text(), services: vec![service] }
}

#[track_caller]
fn is_contained(html: &str) {
    assert!(!html.contains("<script") && !has_what_a_terminal_obeys(html));
    for once in ["</title></head>", "</style></head>", "</main>", "<body>"] {
        assert!(html.matches(once).count() <= 1, "{once}");
    }
    assert_eq!(html.matches("</style>").count(), 1);
    assert_eq!(html.matches("<svg").count(), html.matches("</svg>").count());
    for loaded in ["http:", "https:", "url(", "@import", " src=", " href=\"/"] {
        assert!(!html.contains(loaded), "{loaded}");
    }
}

#[test]
fn no_name_of_a_model_file_becomes_part_of_the_page() {
    let html = html(&assessment());
    is_contained(&html);
    assert!(!html.contains("NaN") && html.contains("unknown"));
}

#[test]
fn no_name_becomes_part_of_the_pages_of_comparisons_and_advice() {
    let one = assessment();
    let compared = comparison(&one, &one, &compare(&one, &one));
    is_contained(&compared);
    assert_eq!(compared.matches("<svg").count(), 2, "the risk over time of both");
    let page = advice(&hostile_advice());
    is_contained(&page);
    assert_eq!(page.matches("<svg").count(), 2, "the plan, and each change");
    assert!(page.contains("worse: availability 0.39 -&gt; 0.87"), "{page}");
    assert!(page.contains("worse: expected loss 1 000 -&gt; 2 000"), "{page}");
    assert!(page.contains("no price") && page.contains("Another way, whose price is not known"));
    let shown = Summary(&hostile_advice()).to_string();
    assert!(!has_what_a_terminal_obeys(&shown), "{shown}");
}

#[test]
fn no_name_of_a_model_file_commands_the_terminal() {
    let shown = Summary(&assessment()).to_string();
    assert!(!has_what_a_terminal_obeys(&shown), "{shown}");
    for part in
        ["GRAVE", "WARNING", "not accepted", "beyond trustworthiness", "3 measured, 9 assumed"]
    {
        assert!(shown.contains(part), "{part}: {shown}");
    }
}

#[test]
fn the_page_says_what_is_wrong_before_it_says_why() {
    let html = html(&assessment());
    let place = |text: &str| html.find(text).unwrap_or_else(|| panic!("no {text}"));
    assert!(place("What follows") < place("GRAVE:") && place("GRAVE:") < place("WARNING:"));
    assert!(place("WARNING:") < place("<svg"));
    assert!(html.contains("class=\"edge-bad\"") && html.contains("class=\"limit\""));
}

#[test]
fn a_sweep_of_what_is_counted_has_marks_at_whole_numbers_and_one_name_for_a_place() {
    let assessment = assessment();
    let mut sweep = assessment.services[0].sweeps[0].clone();
    let drawn =
        |sweep: &Sweep| pictures::sweep(&assessment, &assessment.services[0], sweep).inline();
    assert!(drawn(&sweep).contains(">now 30 d<"), "a place of its own");
    for (x, point) in [0.0, 1.0, 2.0].into_iter().zip(&mut sweep.series[0].points) {
        point.x = x;
    }
    (sweep.unit, sweep.current) = (Unit::Number, Some(1.0));
    sweep.knee = Some(Point { x: 1.0, y: 1e-4 });
    let svg = drawn(&sweep);
    assert!(svg.contains(">now and knee 1<") && !svg.contains(">knee 1<"), "{svg}");
    assert!(svg.contains(">1<") && !svg.contains(">0.5<") && !svg.contains(">1.5<"), "{svg}");
}

#[test]
fn risk_over_time_begins_where_there_is_some_on_an_axis_from_zero() {
    let assessment = assessment();
    let svg = pictures::risk_over_time(&assessment, &assessment.services[0]).inline();
    let line = svg.split("<polyline class=\"s0\" points=\"").nth(1).unwrap();
    let points: Vec<&str> = line.split('"').next().unwrap().split(' ').collect();
    assert_eq!(points.len(), 2, "of three, the first of which is at time 0 and has no risk: {svg}");
    assert!(svg.contains("text-anchor=\"middle\" class=\"dim\">0<"), "{svg}");
}
