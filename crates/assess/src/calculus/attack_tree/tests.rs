//! Cheapest ways and probabilities, with what is shared counted once.

use super::*;

fn step(cost: f64, probability: f64) -> AttackNode {
    AttackNode { name: "step".into(), kind: AttackKind::Step { cost, probability } }
}

fn goal(name: &str, kind: AttackKind) -> AttackNode {
    AttackNode { name: name.into(), kind }
}

fn tree(nodes: Vec<AttackNode>) -> AttackTree {
    let root = nodes.len() - 1;
    AttackTree::new(nodes, root).expect("a tree")
}

#[test]
fn the_cheapest_of_several_ways_is_found() {
    // (phish and escalate) or bribe.
    let mut nodes = vec![
        step(100.0, 0.5),
        step(300.0, 0.2),
        step(500.0, 0.9),
        goal("remote", AttackKind::All(vec![0, 1])),
        goal("root", AttackKind::Any(vec![3, 2])),
    ];
    let found = tree(nodes.clone()).cheapest().expect("a way");
    assert_eq!((found.steps.clone(), found.cost), (vec![0, 1], 400.0));
    assert!((found.probability - 0.1).abs() < 1e-15, "{found:?}");
    let p = tree(nodes.clone()).probability().expect("valid");
    assert!((p - (1.0 - 0.9 * 0.1)).abs() < 1e-15, "{p}");
    nodes[2] = step(399.0, 0.9);
    assert_eq!(tree(nodes).cheapest().expect("a way").steps, vec![2]);
}

#[test]
fn a_shared_step_is_paid_and_counted_once() {
    // Two of three servers, each by the shared exploit and a step of its own, or by a dear way of its own.
    let mut nodes = vec![step(1_000.0, 0.5)];
    let mut servers = Vec::new();
    for _ in 0..3 {
        let first = nodes.len();
        nodes.push(step(10.0, 1.0));
        nodes.push(step(600.0, 0.1));
        nodes.push(goal("with the exploit", AttackKind::All(vec![0, first])));
        nodes.push(goal("server", AttackKind::Any(vec![first + 1, first + 2])));
        servers.push(first + 3);
    }
    nodes.push(goal("two servers", AttackKind::AtLeast(2, servers)));
    let attack = tree(nodes);
    // As if apart, two exploits would cost 2,020, and two dear ways 1,200: in truth 1,020.
    let found = attack.cheapest().expect("a way");
    assert_eq!(found.cost, 1_020.0, "{found:?}");
    assert_eq!(found.steps[0], 0);
    // With the exploit all fall; without it two of three by 0.1 each.
    let wanted = 0.5 + 0.5 * (3.0 * 0.01 * 0.9 + 0.001);
    assert!((attack.probability().expect("valid") - wanted).abs() < 1e-15);
    let importance = attack.importance().expect("valid");
    assert_eq!(importance[0].0, 0);
    assert!((importance[0].1 - (1.0 - 0.028)).abs() < 1e-12, "{importance:?}");
    assert!(importance.iter().all(|(_, it)| *it <= importance[0].1));
}

/// What never succeeds is no way, however little it costs.
#[test]
fn no_way_goes_through_a_step_that_never_succeeds() {
    let with = |bribe: f64, escalate: f64| {
        tree(vec![
            step(100.0, 0.5),
            step(1.0, escalate),
            step(500.0, bribe),
            goal("remote", AttackKind::All(vec![0, 1])),
            goal("root", AttackKind::Any(vec![3, 2])),
        ])
    };
    let found = with(0.9, 0.0).cheapest().expect("a way");
    assert_eq!((found.steps, found.cost, found.probability), (vec![2], 500.0, 0.9));
    assert_eq!(with(0.9, 1e-300).cheapest().expect("a way").cost, 101.0);
    let none = with(0.0, 0.0);
    assert_eq!(none.cheapest(), None);
    assert_eq!(none.probability(), Ok(0.0));
}

#[test]
fn the_cheapest_way_is_that_of_all_sets_of_steps() {
    let mut state = 3_u64;
    let mut draw = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        usize::try_from(state >> 33).expect("small") % below
    };
    for round in 0..50 {
        let mut nodes: Vec<AttackNode> =
            (0..8).map(|_| step(f64::from(u32::try_from(draw(50)).expect("small")), 0.5)).collect();
        for number in 8..14 {
            let parts: Vec<usize> = (0..3).map(|_| draw(number)).collect();
            let kind = match draw(3) {
                0 => AttackKind::All(parts),
                1 => AttackKind::Any(parts),
                _ => AttackKind::AtLeast(2, parts),
            };
            nodes.push(goal("goal", kind));
        }
        let reaches = |set: u32| {
            let mut holds: Vec<bool> = (0..8).map(|step| set >> step & 1 == 1).collect();
            for node in &nodes[8..] {
                let count = node.kind.parts().iter().filter(|part| holds[**part]).count();
                holds.push(match node.kind {
                    AttackKind::Any(_) => count >= 1,
                    AttackKind::AtLeast(k, _) => count >= k,
                    _ => count == 3,
                });
            }
            holds[13]
        };
        let cost = |set: u32| -> f64 {
            let steps = (0..8).filter(|step| set >> step & 1 == 1);
            steps
                .map(|step: usize| match nodes[step].kind {
                    AttackKind::Step { cost, .. } => cost,
                    _ => f64::NAN,
                })
                .sum()
        };
        let ways: Vec<u32> = (0..256).filter(|set| reaches(*set)).collect();
        let wanted = ways.iter().map(|set| cost(*set)).fold(f64::INFINITY, f64::min);
        let attack = tree(nodes.clone());
        let found = attack.cheapest().expect("all steps reach it");
        assert_eq!(found.cost, wanted, "round {round}");
        assert!(reaches(found.steps.iter().map(|step| 1 << step).sum()), "round {round}");
        let p = attack.probability().expect("valid");
        let share = f64::from(u32::try_from(ways.len()).expect("few")) / 256.0;
        assert!((p - share).abs() < 1e-12, "round {round}: {p} is not {share}");
    }
}

#[test]
fn trees_without_meaning_are_refused() {
    let new = |nodes: Vec<AttackNode>, root| AttackTree::new(nodes, root).map(|_| ());
    assert!(matches!(new(vec![], 0), Err(CalculusError::Count { .. })));
    assert!(matches!(new(vec![step(1.0, 0.5)], 1), Err(CalculusError::Unknown { .. })));
    let many = vec![step(1.0, 0.5); ATTACK_NODES_MAX + 1];
    assert!(matches!(new(many, 0), Err(CalculusError::Count { .. })));
    let wide = goal("wide", AttackKind::Any(vec![1; ATTACK_PARTS_MAX + 1]));
    assert!(matches!(new(vec![wide, step(1.0, 0.5)], 0), Err(CalculusError::Count { .. })));
    let astray = goal("astray", AttackKind::All(vec![7]));
    assert!(matches!(new(vec![astray], 0), Err(CalculusError::Unknown { .. })));
    for kind in [
        AttackKind::All(vec![]),
        AttackKind::Any(vec![]),
        AttackKind::AtLeast(0, vec![1]),
        AttackKind::AtLeast(2, vec![1]),
    ] {
        let refused = new(vec![goal("empty", kind.clone()), step(1.0, 0.5)], 0);
        assert!(matches!(refused, Err(CalculusError::Threshold { .. })), "{kind:?}");
    }
    for bad in [f64::NAN, f64::INFINITY, -1.0] {
        let refused = new(vec![step(bad, 0.5)], 0);
        assert!(matches!(refused, Err(CalculusError::Negative { .. })), "{bad}");
        let refused = new(vec![step(1.0, bad)], 0);
        assert!(matches!(refused, Err(CalculusError::NotAProbability { .. })), "{bad}");
    }
    let cycle = vec![goal("a", AttackKind::All(vec![1])), goal("b", AttackKind::Any(vec![0, 0]))];
    let names = vec!["a".into(), "b".into(), "a".into()];
    assert_eq!(new(cycle, 0), Err(CalculusError::Cycle { names }));
}
