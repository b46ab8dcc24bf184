//! Plans as designs.

use ravelin_model::plan::{ClusterPlan, Labels, Member, PLAN_VERSION, Purpose};
use ravelin_model::{Epoch, Incarnation, PublicKey};

use crate::design::{Design, FaultModel, LabelKind, Origin};

fn member(name: &str, labels: Labels) -> Member {
    let key = PublicKey([0; 32]);
    Member {
        name: name.to_owned(),
        identity: key,
        block: key,
        transport: key,
        wormhole: None,
        peer_address: "a:1".to_owned(),
        client_address: "a:2".to_owned(),
        labels,
    }
}

fn plan(fault_model: ravelin_model::FaultModel, servers: usize) -> ClusterPlan {
    let labels = |zone: &str| Labels {
        zone: zone.to_owned(),
        os: "debian".to_owned(),
        administrator: String::new(),
    };
    let zones = ["north", "south"].into_iter().cycle();
    let members = zones.zip(0..servers).map(|(zone, at)| member(&format!("s{at}"), labels(zone)));
    ClusterPlan {
        version: PLAN_VERSION,
        name: "blue".to_owned(),
        purpose: Purpose::Production,
        incarnation: Incarnation(1),
        epoch: Epoch::FIRST,
        previous: None,
        fault_model,
        f: 1,
        leaders_per_round: 1,
        members: members.collect(),
        administrators: Vec::new(),
        administrators_needed: 1,
        clients: Vec::new(),
        rekey_interval_min_s: 1,
        checkpoint_every: 1024,
    }
}

#[test]
fn a_plan_becomes_a_design_with_its_servers_and_labels() {
    let design = Design::from_plan(&plan(ravelin_model::FaultModel::Arbitrary, 4));
    assert_eq!(design.name, "blue");
    let service = &design.services[0];
    assert_eq!((service.n(), service.f), (4, 1));
    assert_eq!(service.fault_model, FaultModel::Arbitrary);
    let sites: Vec<_> = design.hosts.iter().map(|it| it.label(LabelKind::Site)).collect();
    assert_eq!(sites, [Some("north"), Some("south"), Some("north"), Some("south")]);
    assert_eq!(design.hosts[0].label(LabelKind::Administrator), None, "the plan names none");
    assert_eq!(design.hosts[0].label(LabelKind::OperatingSystem), Some("debian"));
}

#[test]
fn everything_that_the_plan_does_not_say_is_marked_as_assumed() {
    let mut design = Design::from_plan(&plan(ravelin_model::FaultModel::Arbitrary, 4));
    design.visit_inputs(&mut |input| assert_eq!(input.origin, Origin::Assumed, "{}", input.path));
    assert!(design.to_toml().contains("how often is one server attacked?"));
}

#[test]
fn what_comes_of_a_plan_is_a_model_file() {
    for (model, servers) in [
        (ravelin_model::FaultModel::Arbitrary, 4),
        (ravelin_model::FaultModel::Asynchronous, 7),
        (ravelin_model::FaultModel::Hybrid, 3),
    ] {
        let design = Design::from_plan(&plan(model, servers));
        let read = Design::parse("plan", &design.to_toml()).unwrap_or_else(|it| panic!("{it}"));
        assert_eq!(read.services[0].n(), servers);
        assert_eq!(read.hosts, design.hosts);
        assert_eq!(read.attacks, design.attacks);
    }
}
