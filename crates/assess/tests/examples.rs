//! The four example designs, each with the conclusions that `docs/guide/assess.md` tells of it.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;

use ravelin_assess::analysis::{Assessment, Better, Effort, Severity, advise, assess, compare};
use ravelin_assess::design::{Design, InputUnit, Property};
use serde_json::Value;

fn repository(path: &str) -> String {
    let path = format!("{}/../../{path}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn design(name: &str) -> Design {
    let file = format!("examples/assess/{name}.toml");
    Design::parse(&file, &repository(&file)).unwrap_or_else(|error| panic!("{error}"))
}

fn assessed(name: &str) -> Assessment {
    assess(&design(name), &Effort::default(), &|_, _| {}, &AtomicBool::new(false))
        .expect("the examples can be computed")
}

/// The ids of findings that are grave or warn, which a change of the engines must not change.
fn alarms(assessment: &Assessment) -> BTreeSet<&str> {
    let all = assessment.warnings.iter().chain(&assessment.conclusions);
    all.filter(|it| it.severity != Severity::Note).map(|it| it.id.as_str()).collect()
}

#[track_caller]
fn says(assessment: &Assessment, id: &str, words: &[&str]) {
    let all = assessment.warnings.iter().chain(&assessment.conclusions);
    let texts: Vec<&str> = all.filter(|it| it.id == id).map(|it| it.text.as_str()).collect();
    for word in words {
        assert!(texts.iter().any(|text| text.contains(word)), "{id} lacks `{word}`: {texts:?}");
    }
}

#[track_caller]
fn about(found: f64, wanted: f64) {
    assert!((found / wanted - 1.0).abs() < 0.01, "{found}, and {wanted} is told");
}

fn risk(assessment: &Assessment, property: Property) -> f64 {
    let services = assessment.services.iter().take(1);
    let promise = services.flat_map(|it| &it.properties).find(|it| it.property == property);
    promise.expect("it is promised").risk
}

#[test]
fn four_servers_in_one_room_fall_together() {
    let room = assessed("one-room");
    let expected = [
        "risk-too-high",
        "risk-not-accepted",
        "diversity-over-servers",
        "one-label-breaks",
        "no-slack",
        "exhaustion",
        "over-trusted",
        "worth-attacking",
        "cheapest-path",
    ];
    assert_eq!(alarms(&room), BTreeSet::from(expected));
    about(risk(&room, Property::Confidentiality), 0.0707);
    about(risk(&room, Property::Integrity), 0.0487);
    about(room.services[0].one_server, 0.194);
    says(&room, "replication-crossover", &["0.232", "0.194"]);
    says(&room, "diversity-over-servers", &["0.20", "diversity, not more servers, is the lever"]);
    says(&room, "one-label-breaks", &["`room 1`", "`alice`", "`debian 13`", "`release 1`"]);
    says(&room, "over-trusted", &["`administration` is trusted beyond its trustworthiness"]);
    says(&room, "at-rest-file", &["logically only"]);
    says(&room, "worth-attacking", &["2 100 EUR", "within the attacker's budget"]);
    says(&room, "sweep-diversity", &["Halfway is no gain"]);
    // Refreshing and rejuvenating are not enough: other systems and administrators are needed.
    let advice = advise(&design("one-room"), 2, &|_, _| {}).unwrap();
    let advice = &advice.services[0];
    assert!(advice.is_reached, "{:?}", advice.text);
    let diverse = advice.plan.iter().filter(|change| change.kind == "diversity").count();
    assert!(diverse >= 2, "{:?}", advice.plan);
    let cost: f64 = advice.plan.iter().filter_map(|change| change.cost).sum();
    // With what the rejuvenations of three more servers cost.
    assert_eq!(cost.round(), 90_548.0, "{:?}", advice.plan);
    let kinds: Vec<&str> = advice.plan.iter().map(|change| change.kind.as_str()).collect();
    let epochs = kinds.iter().filter(|kind| **kind == "shorter-share-epoch").count();
    assert_eq!(epochs, 1, "steps in one direction are one: {kinds:?}");
    // Shorter rejuvenation lowers the risk that decides, and availability pays more for it than it saves.
    assert!(advice.plan.iter().all(|it| it.kind != "shorter-rejuvenation"), "{:?}", advice.plan);
    let all = advice.plan.iter();
    assert!(all.clone().all(|it| it.expected_loss_after <= it.expected_loss_before));
    let turns = advice.changes.iter().find(|it| it.kind == "shorter-rejuvenation").unwrap();
    let worse: Vec<Property> =
        turns.promises.iter().filter(|it| it.is_worse).map(|it| it.property).collect();
    assert_eq!(worse, [Property::Availability]);
    // More servers at the same f answer more often, and disclose more often.
    let spare = advice.changes.iter().find(|it| it.kind == "spare-servers").unwrap();
    assert!(spare.promises[2].after < spare.promises[2].before / 5.0 && spare.promises[0].is_worse);
}

#[test]
fn three_clouds_are_too_few_for_seven_servers() {
    let clouds = assessed("three-clouds");
    let expected =
        ["one-label-breaks", "no-slack", "exhaustion", "worth-attacking", "cheapest-path"];
    assert_eq!(alarms(&clouds), BTreeSet::from(expected));
    assert!(clouds.services[0].is_acceptable);
    about(risk(&clouds, Property::Confidentiality), 0.003_04);
    says(&clouds, "one-label-breaks", &["site `cloud a`."]);
    says(&clouds, "main-cause", &["site: cloud a", "87 % less"]);
    let advice = advise(&design("three-clouds"), 2, &|_, _| {}).unwrap();
    let advice = &advice.services[0];
    assert!(advice.plan.is_empty() && advice.text[0].contains("nothing need be changed"));
    assert_eq!(advice.changes[0].kind, "diversity");
    assert!(advice.changes[0].text.contains("site"), "{:?}", advice.changes[0]);
    // One server elsewhere does nearly as much for a quarter of the price.
    assert_eq!(advice.changes[1].text, "another site for a1 (3 share cloud a)");
    about(advice.changes[1].risk_after, 0.000_435);
    assert_eq!((advice.changes[0].cost, advice.changes[1].cost), (Some(24_000.0), Some(6_000.0)));
    // Three more servers gain next to nothing: one of three clouds has four of ten.
    let more = advice.changes.iter().find(|it| it.kind == "more-servers").unwrap();
    assert!(more.risk_after < more.risk_before && more.risk_after > more.risk_before * 0.95);
    // Two more at the same f only give an intruder more to choose from.
    let spare = advice.changes.iter().find(|it| it.kind == "spare-servers").unwrap();
    about(spare.risk_after, 0.0146);
}

#[test]
fn hybrid_is_as_good_as_its_isolation() {
    let hybrid = assessed("hybrid-weak-isolation");
    let expected = [
        "risk-too-high",
        "risk-not-accepted",
        "weak-isolation",
        "no-slack",
        "wormhole-breaks-all",
        "hybrid-worse-than-arbitrary",
        "replication-crossover",
        "one-label-breaks",
        "restart-not-recovery",
        "hidden-intrusions-stay",
        "over-trusted",
        "worth-attacking",
        "cheapest-path",
    ];
    assert_eq!(alarms(&hybrid), BTreeSet::from(expected));
    about(risk(&hybrid, Property::Integrity), 0.191);
    // Without recovery a wormhole that falls with its host counts, in the closed forms too.
    about(hybrid.services[0].no_repair.independent, 0.224);
    says(&hybrid, "worth-attacking", &["Intruding 1 of 3 servers"]);
    assert!((hybrid.services[0].crossover.unwrap() - 1.0 / 11.0).abs() < 1e-6);
    says(&hybrid, "main-cause", &["wormholes that fall with their host", "93 % less"]);
    says(&hybrid, "sweep-wormhole-coverage", &["better than arbitrary from", "about 0.95"]);
    says(&hybrid, "over-trusted", &["`ordering` counts on 0.999", "`wormhole` counts on 0.99"]);
    says(&hybrid, "sweep-tolerated", &["beyond, more servers make it worse"]);
    let advice = advise(&design("hybrid-weak-isolation"), 2, &|_, _| {}).unwrap();
    let advice = &advice.services[0];
    assert!(advice.is_reached, "{:?}", advice.text);
    let kinds: BTreeSet<&str> = advice.plan.iter().map(|change| change.kind.as_str()).collect();
    assert_eq!(kinds, BTreeSet::from(["isolation", "more-servers"]));
    // Before the wormholes are isolated more servers are more that one intruder breaks all with.
    let is_told = |it: &String| it.starts_with("More servers make things worse: 5 servers");
    assert!(advice.text.iter().any(is_told), "{:?}", advice.text);
}

#[test]
fn one_module_is_as_good_as_itself() {
    let module = assessed("single-hsm");
    let expected = [
        "risk-too-high",
        "risk-not-accepted",
        "single-server",
        "hidden-intrusions-stay",
        "over-trusted",
        "worth-attacking",
        "cheapest-path",
    ];
    assert_eq!(alarms(&module), BTreeSet::from(expected));
    about(risk(&module, Property::Confidentiality), 0.0560);
    about(risk(&module, Property::Integrity), 0.0560);
    says(&module, "over-trusted", &["`tamper resistance` is trusted beyond"]);
    assert_eq!(module.services[0].crossover, None);
    // It is better than the four servers in one room at keeping a secret.
    let room = assessed("one-room");
    let compared = compare(&room, &module);
    assert!(compared.conclusions[0].contains("`single HSM` is 1.3 times better"), "{compared:?}");
    let advice = advise(&design("single-hsm"), 2, &|_, _| {}).unwrap();
    assert!(advice.services[0].is_reached);
    assert_eq!(advice.services[0].plan[0].kind, "more-servers");
}

/// Attack trees and components of one name are held against each other as services are.
#[test]
fn designs_that_differ_beside_their_services_are_told_apart() {
    let (room, mut dearer) = (assessed("one-room"), design("one-room"));
    dearer.visit_inputs(&mut |input| {
        if input.path.starts_with("attack_trees.") && input.unit == InputUnit::Money {
            *input.value *= 2.0;
        }
        if input.path.starts_with("components.") && input.path.ends_with(".coverage") {
            *input.value *= 0.5;
        }
    });
    let dearer = assess(&dearer, &Effort::default(), &|_, _| {}, &AtomicBool::new(false)).unwrap();
    let compared = compare(&room, &dearer);
    let judged = |quantity: &str| {
        let rows = compared.rows.iter().filter(|row| row.quantity == quantity);
        rows.map(|row| row.better).collect::<Vec<_>>()
    };
    assert!(!judged("path_cost").is_empty() && !judged("coverage").is_empty());
    assert!(judged("path_cost").iter().all(|it| *it == Better::Second), "{compared:?}");
    assert!(judged("coverage").contains(&Better::First), "{compared:?}");
    assert!(judged("path_probability").iter().all(|it| *it == Better::Equal), "{compared:?}");
}

/// Every path in a JSON value, with `[]` for the entries of lists.
fn paths(value: &Value, at: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(entries) => {
            for (key, value) in entries {
                paths(value, &format!("{at}.{key}"), found);
            }
        }
        Value::Array(entries) => {
            for value in entries {
                paths(value, &format!("{at}[]"), found);
            }
        }
        _ => {
            found.insert(at.trim_start_matches('.').to_owned());
        }
    }
}

/// Scripts read the JSON: what is there stays there under its name.
#[test]
fn the_json_form_is_stable() {
    let mut found = BTreeSet::new();
    for name in ["one-room", "three-clouds", "hybrid-weak-isolation", "single-hsm"] {
        paths(&serde_json::to_value(assessed(name)).unwrap(), "", &mut found);
    }
    let told = found.into_iter().collect::<Vec<_>>().join("\n") + "\n";
    let kept = include_str!("golden/assessment-paths.txt");
    assert!(told == kept, "the paths are now:\n{told}");
}

/// Where `null` has a meaning: no end, no way, not applicable.
const NULLABLE: [&str; 11] = [
    "availability",
    "cost",
    "cost_of_intruding",
    "cost_of_one",
    "crossover",
    "current",
    "duty_cycle",
    "hint",
    "knee",
    "probability",
    "value",
];

/// A number that is missing where it may not be, or a risk that is none.
fn nonsense(value: &Value, key: &str) -> Option<String> {
    match value {
        Value::Object(entries) => entries.iter().find_map(|(key, value)| nonsense(value, key)),
        Value::Array(entries) => entries.iter().find_map(|value| nonsense(value, key)),
        Value::Null => {
            let is_known = NULLABLE.contains(&key) || key.ends_with("_h");
            let is_known = is_known || ["property", "service", "simulated"].contains(&key);
            let is_known = is_known || key == "is_exhaustion_safe";
            (!is_known).then(|| format!("{key} is null"))
        }
        Value::Number(number) if ["risk", "risk_any", "y", "low", "high"].contains(&key) => {
            let risk = number.as_f64().unwrap_or(f64::NAN);
            (!(0.0..=1.0).contains(&risk)).then(|| format!("{key} is {risk}"))
        }
        _ => None,
    }
}

/// Any single number of a model may be as large or small as its range allows: an answer comes, or a
/// refusal, and soon.
#[test]
fn the_least_numbers_are_answered_or_refused() {
    answer_or_refuse_extremes(0);
}

#[test]
fn the_greatest_numbers_are_answered_or_refused() {
    answer_or_refuse_extremes(1);
}

fn answer_or_refuse_extremes(extreme: usize) {
    let (alone, group) = (design("single-hsm"), design("hybrid-weak-isolation"));
    each_extreme(&alone, extreme, assess_or_refuse);
    // Three systems are attacked alike: one stands for all.
    let is_told = |path: &str| path.contains("system b") || path.contains("system c");
    each_extreme(&group, extreme, |design, path| {
        if !is_told(path) {
            assess_or_refuse(design, path);
        }
    });
    // Where no change reaches what is wanted, all are tried.
    for design in [alone, for_a_month(with_one_system(group))] {
        each_extreme(&design, extreme, |design, _| {
            let _ = advise(design, 2, &|_, _| {});
        });
    }
}

/// All servers have the first of the systems, so chains stay small.
fn with_one_system(mut design: Design) -> Design {
    let hosts: Vec<usize> = (0..design.hosts.len()).collect();
    design.vulnerabilities.truncate(1);
    design.vulnerabilities.iter_mut().for_each(|system| system.hosts.clone_from(&hosts));
    design.attacks.iter_mut().for_each(|attack| attack.exploits.truncate(1));
    design
}

/// A shorter mission that may be missed as seldom in a year.
fn for_a_month(mut design: Design) -> Design {
    design.mission.value.0 /= 12.0;
    design.acceptable_risk.value.0 /= 12.0;
    design
}

fn assess_or_refuse(design: &Design, told: &str) {
    let effort = Effort { points: 5, ..Effort::default() };
    let found = assess(design, &effort, &|_, _| {}, &AtomicBool::new(false));
    if let Ok(found) = found {
        let json = serde_json::to_value(&found).expect("a result has a JSON form");
        assert_eq!(nonsense(&json, ""), None, "{}: {told}", design.name);
    }
}

/// The design with each of its numbers in turn as far as it goes; which one it is comes with it.
fn each_extreme(base: &Design, extreme: usize, visit: impl Fn(&Design, &str)) {
    let mut count = 0;
    base.clone().visit_inputs(&mut |_| count += 1);
    for number in 0..count {
        let mut changed = base.clone();
        let (mut next, mut told) = (0, String::new());
        changed.visit_inputs(&mut |input| {
            if next == number {
                let values = match input.unit {
                    InputUnit::Hours | InputUnit::PerHour => [1e-300, 1e300],
                    InputUnit::Probability => [0.0, 1.0],
                    InputUnit::Money => [0.0, 1e300],
                };
                *input.value = *values.get(extreme).expect("two extremes");
                told = format!("{} = {}", input.path, input.value);
            }
            next += 1;
        });
        visit(&changed, &told);
    }
}
