//! Closed forms of model files against the chains of the same.

use std::sync::atomic::AtomicBool;

use super::*;
use crate::analysis::{Effort, assess};

const ROOM: &str = include_str!("../../../../../examples/assess/one-room.toml");
const HSM: &str = include_str!("../../../../../examples/assess/single-hsm.toml");

/// The four servers of one room, with some lines replaced.
fn room(replaced: &[(&str, &str)]) -> Design {
    let mut text = ROOM.to_owned();
    for (from, to) in replaced {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    Design::parse("room.toml", &text).unwrap_or_else(|error| panic!("{error}"))
}

const DETECTION: &str = "detection = { value = 0.8";
const SHARES: [(&str, &str); 4] = [
    ("site = { value = 0.01", "site = { value = 0"),
    ("administrator = { value = 0.05", "administrator = { value = 0"),
    ("operating_system = { value = 0.1", "operating_system = { value = 0"),
    ("build = { value = 0.04", "build = { value = 0"),
];

fn without_turns(design: &mut Design) {
    design.services[0].rejuvenation = None;
    design.services[0].outages = None;
}

/// Every number that formulas give is that of the chain; how many there are.
#[track_caller]
fn agrees(design: &Design) -> usize {
    let found = closed_forms(design).expect("it has closed forms");
    let chains = assess(design, &Effort::default(), &|_, _| {}, &AtomicBool::new(false));
    let chains = &chains.expect("computed").services[0].properties;
    let mut compared = 0;
    for value in &found.services[0].values {
        let Some(property) = value.property else { continue };
        let chain = chains.iter().find(|it| it.property == property).expect("promised");
        let wanted = match value.quantity.as_str() {
            "risk" => Some(chain.risk),
            "mttf" => chain.mttf_h,
            _ => chain.availability,
        };
        let wanted = wanted.expect("the chain gives it");
        let apart = (value.value / wanted - 1.0).abs();
        assert!(apart < 1e-6, "{property:?} {}: {} and {wanted}", value.quantity, value.value);
        compared += 1;
    }
    compared
}

#[test]
fn without_recovery_formulas_give_every_risk() {
    let mut design = room(&[(DETECTION, "detection = { value = 0")]);
    without_turns(&mut design);
    // Three risks; no mean time, since a common share comes between.
    assert_eq!(agrees(&design), 3);
    let mut design = room(&[&[(DETECTION, "detection = { value = 0")][..], &SHARES].concat());
    without_turns(&mut design);
    assert_eq!(agrees(&design), 6);
}

#[test]
fn with_recovery_side_by_side_formulas_give_mean_times_and_shares() {
    let mut design = room(&[&[(DETECTION, "detection = { value = 1")][..], &SHARES].concat());
    without_turns(&mut design);
    // Of integrity and of availability.
    assert_eq!(agrees(&design), 4);
    let missing = &closed_forms(&design).expect("some").services[0].missing;
    let told: Vec<&str> = missing.iter().map(|it| it.why.as_str()).collect();
    assert!(told.iter().any(|it| it.contains("disclosed its share")), "{told:?}");
    // Rejuvenation is a rate, and the servers that it takes away are not in any formula.
    let design = room(&[&[(DETECTION, "detection = { value = 0")][..], &SHARES].concat());
    assert_eq!(agrees(&design), 2);
}

#[test]
fn one_server_needs_no_more_than_a_formula() {
    let design = Design::parse("single-hsm.toml", HSM).expect("an example");
    assert!(agrees(&design) >= 2);
}

#[test]
fn where_no_formula_holds_the_reasons_are_told() {
    let refusal = closed_forms(&room(&[])).expect_err("two ways to be intruded");
    let told = refusal.to_string();
    for reason in ["room.toml:", "`secrets`", "recovered", "absent"] {
        assert!(told.contains(reason), "{told}");
    }
}
