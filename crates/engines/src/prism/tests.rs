//! Models read by another program: Storm, through its Python package `stormpy` where that is installed.

use std::io::Write as _;
use std::process::Command;

use super::super::chain::ServiceChain;
use super::super::{
    Crew, Detection, Hit, Outage, Recovery, Refresh, Rejuvenation, ServerGroup, Shock,
};
use super::*;

/// Prints the answer to every property of the model in the first file.
const SCRIPT: &str = r#"
import sys, stormpy
program = stormpy.parse_prism_program(sys.argv[1], prism_compatibility=True)
lines = [l for l in open(sys.argv[2]).read().splitlines() if not l.startswith(("//", "const"))]
text = " ".join(lines).replace("F<=T", "F<=" + sys.argv[3]).rstrip(";")
properties = stormpy.parse_properties(text, program)
model = stormpy.build_model(program, properties)
for p in properties:
    result = stormpy.model_checking(model, p)
    value = getattr(result, "at", None) or result.get_value
    print(repr(value(model.initial_states[0])))
"#;

fn is_storm_there() -> bool {
    let there = Command::new("python3").args(["-c", "import stormpy"]).output();
    let there = there.is_ok_and(|output| output.status.success());
    if !there {
        let why = "Python has no package stormpy (pip install stormpy)";
        let _ = writeln!(std::io::stderr(), "SKIPPED the test against Storm: {why}");
    }
    there
}

fn ask_storm(name: &str, model: &PrismModel, time: f64) -> Vec<f64> {
    let directory = std::env::temp_dir().join(format!("ravelin-prism-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory for models");
    let file = |kind: &str| directory.join(format!("{name}.{kind}"));
    std::fs::write(file("sm"), &model.model).expect("written");
    std::fs::write(file("csl"), &model.properties).expect("written");
    let output = Command::new("python3")
        .args(["-c", SCRIPT])
        .args([file("sm"), file("csl")])
        .arg(time.to_string())
        .output()
        .expect("python runs");
    let told = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}{errors}\n{}", model.model);
    std::fs::remove_dir_all(&directory).expect("removed");
    told.lines().filter_map(|line| line.parse().ok()).collect()
}

fn check(name: &str, service: &Service, property: Property, stages: u32) {
    const TIME: f64 = 150.0;
    let model = super::service(service, property, stages).expect("valid");
    let found = ask_storm(name, &model, TIME);
    let ends = ServiceChain::until_failure(service, property, stages).expect("valid");
    let mut wanted = vec![
        ends.failed_at(TIME).expect("computed"),
        ends.mean_time_to_failure().expect("computed"),
    ];
    if property != Property::Confidentiality {
        let goes_on = ServiceChain::with_repair(service, property, stages).expect("valid");
        wanted.push(goes_on.failed_share().expect("computed"));
    }
    assert_eq!(found.len(), wanted.len(), "{name}: {found:?}");
    for (found, wanted) in found.iter().zip(&wanted) {
        let apart = (found - wanted).abs() / wanted;
        assert!(apart < 1e-4, "{name}, {}: {found} is not {wanted}", property.name());
    }
}

/// Everything at once, small enough for one module a server.
pub(crate) fn mixed(schedule: Schedule) -> Service {
    let watched = ServerGroup {
        count: 3,
        intrusion_rate: 0.01,
        detection: Detection { probability: 0.7, latency: 4.0 },
        recovery: Some(Recovery { rate: 0.25, crew: Crew::Single }),
        rejuvenation: Some(Rejuvenation {
            every: 60.0,
            downtime: 2.0,
            at_once: 1,
            expels: 1.0,
            schedule,
        }),
        outage: None,
    };
    let plain = ServerGroup {
        outage: Some(Outage { rate: 0.01, duration: 5.0 }),
        ..ServerGroup::repaired(2, 0.004, 0.2)
    };
    let hits = vec![Hit { group: 0, count: 2 }, Hit { group: 1, count: 2 }];
    Service {
        groups: vec![watched, plain],
        tolerated: 2,
        quorum: 3,
        shocks: vec![Shock { rate: 0.001, hits }],
        refresh: Some(Refresh { every: 40.0, schedule }),
    }
}

#[test]
fn storm_arrives_at_the_numbers_of_the_chain() {
    if !is_storm_there() {
        return;
    }
    let simple = Service::of(ServerGroup::repaired(4, 0.01, 1.0), 1);
    check("simple", &simple, Property::Integrity, 1);
    for property in Property::ALL {
        check("mixed", &mixed(Schedule::Random), property, 1);
    }
    check("staged", &mixed(Schedule::Fixed), Property::Confidentiality, 2);
    check("staged", &mixed(Schedule::Fixed), Property::Integrity, 3);
    let mut crew = mixed(Schedule::Random);
    crew.groups[1].recovery = Some(Recovery { rate: 0.2, crew: Crew::Single });
    check("one crew for two groups", &crew, Property::Integrity, 1);
    for expels in [0.3, 0.0] {
        let mut pairs = mixed(Schedule::Random);
        let turns = Rejuvenation { at_once: 2, expels, ..pairs.groups[0].rejuvenation.unwrap() };
        pairs.groups[0].rejuvenation = Some(turns);
        check("two at once", &pairs, Property::Availability, 1);
    }
}

#[test]
fn the_text_of_a_small_model_is_this() {
    let service = Service::of(ServerGroup::repaired(1, 0.5, 2.0), 0);
    let text = super::service(&service, Property::Integrity, 1).expect("valid").model;
    let wanted = r#"// Times are hours, rates per hour.
ctmc

formula intruded = (s0_0=1 ? 1 : 0);
formula exposed = (s0_0=1 ? 1 : 0);
formula answering = (s0_0=0 ? 1 : 0);
formula waiting = 0;

module server_0_0
  // 0: clean, stage 0
  // 1: intruded, recovering, stage 0
  s0_0 : [0..1] init 0;
  [] s0_0=1 -> 2.0 : (s0_0'=0);
  [] s0_0=0 -> 0.5 : (s0_0'=1);
endmodule

// integrity fails.
label "failed" = intruded>0;
rewards "hours"
  true : 1;
endrewards
"#;
    assert_eq!(text, wanted);
}

/// One that is absent with two others is three who do not answer.
#[test]
fn the_text_counts_those_who_are_absent_together() {
    let mut service = Service::of(ServerGroup::unattended(3, 0.0), 1);
    let turns = |at_once| {
        let schedule = Schedule::Random;
        Some(Rejuvenation { every: 10.0, downtime: 3.0, at_once, expels: 1.0, schedule })
    };
    let mut text = |at_once| {
        service.groups[0].rejuvenation = turns(at_once);
        super::service(&service, Property::Availability, 1).expect("valid").model
    };
    let three = text(3);
    let wanted =
        ["formula others = (s0_0=2 ? 2 : 0) +", "label \"failed\" = answering-others<2;\n"];
    assert!(wanted.iter().all(|it| three.contains(it)), "{three}");
    let one = text(1);
    assert!(one.contains("label \"failed\" = answering<2;\n") && !one.contains("others"), "{one}");
}

#[test]
fn shocks_on_too_many_sets_of_servers_are_refused() {
    let mut service = Service::of(ServerGroup::unattended(60, 0.01), 20);
    service.shocks.push(Shock { rate: 0.1, hits: vec![Hit { group: 0, count: 30 }] });
    let refused = super::service(&service, Property::Integrity, 1);
    assert!(matches!(refused, Err(EngineError::OutOfRange { .. })), "{refused:?}");
    let refused = super::service(&service, Property::Integrity, 0);
    assert!(matches!(refused, Err(EngineError::OutOfRange { .. })), "{refused:?}");
}
