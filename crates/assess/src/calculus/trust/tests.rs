//! Chains of coverage, what is shared, and what is trusted beyond its trustworthiness.

use super::*;

fn component(name: &str, coverage: f64) -> Component {
    Component { name: name.into(), coverage, need: Need::All }
}

fn reliance(by: usize, on: usize) -> Reliance {
    Reliance { by, on, required: 0.0 }
}

#[track_caller]
fn deserved(components: &[Component], reliances: &[Reliance]) -> Vec<Trustworthiness> {
    let graph = TrustGraph::new(components.to_vec(), reliances.to_vec()).expect("a graph");
    graph.trustworthiness().expect("small")
}

#[test]
fn coverage_multiplies_along_a_chain() {
    let components = [component("user", 1.0), component("B", 0.9), component("C", 0.8)];
    let found = deserved(&components, &[reliance(0, 1), reliance(1, 2)]);
    assert!((found[1].exact - 0.72).abs() < 1e-15 && (found[0].exact - 0.72).abs() < 1e-15);
    assert_eq!((found[2].own, found[2].exact), (0.8, 0.8));
}

#[test]
fn what_two_rely_on_counts_once() {
    // A diamond: A on B and C, both on D.
    let components =
        [component("A", 1.0), component("B", 0.9), component("C", 0.9), component("D", 0.5)];
    let reliances = [reliance(0, 1), reliance(0, 2), reliance(1, 3), reliance(2, 3)];
    let found = deserved(&components, &reliances)[0];
    assert!((found.exact - 0.9 * 0.9 * 0.5).abs() < 1e-15, "{found:?}");
    assert!((found.as_if_apart - 0.9 * 0.9 * 0.25).abs() < 1e-15, "{found:?}");
    // Of redundant copies the same sharing makes less, not more.
    let mut either = components.clone();
    either[0].need = Need::AtLeast(1);
    let found = deserved(&either, &reliances)[0];
    assert!((found.exact - 0.5 * 0.99).abs() < 1e-15, "{found:?}");
    assert!((found.as_if_apart - (1.0 - 0.55 * 0.55)).abs() < 1e-15, "{found:?}");
}

#[test]
fn trust_beyond_trustworthiness_is_named() {
    let components =
        vec![component("service", 1.0), component("wormhole", 0.9), component("os", 0.8)];
    let reliances = vec![
        Reliance { by: 0, on: 1, required: 0.8 },
        Reliance { by: 0, on: 2, required: 0.8 },
        Reliance { by: 1, on: 2, required: 0.5 },
    ];
    // The wormhole alone would deserve 0.8; with the system below it, it deserves 0.72.
    let graph = TrustGraph::new(components, reliances).expect("a graph");
    let found = graph.over_trusted().expect("small");
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].reliance, found[0].required), (0, 0.8));
    assert!((found[0].deserved - 0.72).abs() < 1e-15);
}

#[test]
fn a_cycle_is_named() {
    let components = vec![component("a", 0.9), component("b", 0.9), component("c", 0.9)];
    let reliances = vec![reliance(0, 1), reliance(1, 2), reliance(2, 1)];
    let refused = TrustGraph::new(components.clone(), reliances).map(|_| ());
    let names = vec!["b".into(), "c".into(), "b".into()];
    assert_eq!(refused, Err(CalculusError::Cycle { names }));
    let message =
        TrustGraph::new(components, vec![reliance(2, 2)]).expect_err("a cycle").to_string();
    assert!(message.starts_with("a cycle: c -> c:"), "{message}");
}

#[test]
fn graphs_without_meaning_are_refused() {
    let one = || vec![component("a", 0.9), component("b", 0.9)];
    let new = |components, reliances| TrustGraph::new(components, reliances).map(|_| ());
    assert!(matches!(new(vec![], vec![]), Err(CalculusError::Count { .. })));
    assert!(matches!(new(one(), vec![reliance(0, 2)]), Err(CalculusError::Unknown { .. })));
    assert!(matches!(new(one(), vec![reliance(2, 0)]), Err(CalculusError::Unknown { .. })));
    let many = vec![reliance(0, 1); RELIANCES_MAX + 1];
    assert!(matches!(new(one(), many), Err(CalculusError::Count { .. })));
    let many = vec![component("a", 0.9); COMPONENTS_MAX + 1];
    assert!(matches!(new(many, vec![]), Err(CalculusError::Count { .. })));
    for bad in [f64::NAN, -0.1, 1.1, f64::INFINITY] {
        let refused = new(vec![component("a", bad)], vec![]);
        assert!(matches!(refused, Err(CalculusError::NotAProbability { .. })), "{bad}");
        let refused = new(one(), vec![Reliance { by: 0, on: 1, required: bad }]);
        assert!(matches!(refused, Err(CalculusError::NotAProbability { .. })), "{bad}");
    }
    for wanted in [0, 2] {
        let mut needing = one();
        needing[0].need = Need::AtLeast(wanted);
        let refused = new(needing, vec![reliance(0, 1)]);
        assert!(matches!(refused, Err(CalculusError::Threshold { .. })), "{wanted}");
    }
}

#[test]
fn the_longest_chain_is_no_trouble() {
    let components: Vec<Component> =
        (0..COMPONENTS_MAX).map(|i| component(&i.to_string(), 0.999)).collect();
    let reliances: Vec<Reliance> = (1..COMPONENTS_MAX).map(|i| reliance(i - 1, i)).collect();
    let found = deserved(&components, &reliances)[0].exact;
    assert!((found - 0.999_f64.powi(1_000)).abs() < 1e-12, "{found}");
}
