//! Minimal sets of labels, against going through all of them.

use super::*;

fn label(name: &str, servers: &[usize]) -> Label {
    Label { name: name.into(), servers: servers.to_vec() }
}

#[test]
fn a_shared_room_is_a_cut_of_one() {
    let labels = [
        label("site=room", &[0, 1, 2, 3]),
        label("os=debian", &[0, 1]),
        label("os=freebsd", &[2, 3]),
        label("admin=ann", &[0]),
        label("admin=bob", &[1]),
        label("admin=cyd", &[2]),
    ];
    let found = minimal_cuts(4, 1, &labels, 2).expect("valid");
    let wanted: Vec<Vec<usize>> =
        vec![vec![0], vec![1], vec![2], vec![3, 4], vec![3, 5], vec![4, 5]];
    assert_eq!(found, Cuts { sets: wanted, complete: true });
}

#[test]
fn supersets_and_idle_labels_are_left_out() {
    let labels = [label("a", &[0]), label("b", &[0]), label("c", &[1]), label("nobody", &[])];
    let found = minimal_cuts(4, 1, &labels, 4).expect("valid").sets;
    assert_eq!(found, vec![vec![0, 2], vec![1, 2]]);
    // {a, c} breaks with b too, but b adds nobody to it.
    let labels = [label("a", &[0]), label("b", &[0, 1]), label("c", &[1, 2])];
    let found = minimal_cuts(4, 2, &labels, 3).expect("valid").sets;
    assert_eq!(found, vec![vec![0, 2], vec![1, 2]]);
}

#[test]
fn every_minimal_set_of_a_random_assignment_is_found() {
    let mut state = 7_u64;
    let mut draw = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        usize::try_from(state >> 33).expect("small")
    };
    for round in 0..50 {
        let labels: Vec<Label> = (0..8)
            .map(|number| {
                let servers: Vec<usize> = (0..7).filter(|_| draw() % 3 == 0).collect();
                Label { name: number.to_string(), servers }
            })
            .collect();
        let tolerated = draw() % 4;
        let found = minimal_cuts(7, tolerated, &labels, 8).expect("valid").sets;
        let breaks = |set: u32| {
            let fallen = (0..7).filter(|server| {
                (0..8).any(|label| set >> label & 1 == 1 && labels[label].servers.contains(server))
            });
            fallen.count() > tolerated
        };
        let minimal = |set: &u32| {
            breaks(*set)
                && (0..8).all(|label| set >> label & 1 == 0 || !breaks(set & !(1 << label)))
        };
        let wanted: std::collections::BTreeSet<u32> = (0..256).filter(minimal).collect();
        let found: std::collections::BTreeSet<u32> =
            found.iter().map(|set| set.iter().map(|label| 1 << label).sum()).collect();
        assert_eq!(found, wanted, "round {round}");
    }
}

#[test]
fn the_search_is_bounded_and_says_so() {
    let labels: Vec<Label> = (0..CUT_LABELS_MAX).map(|i| label("x", &[i % 128])).collect();
    let found = minimal_cuts(128, 40, &labels, 41).expect("valid");
    assert!(!found.complete && found.sets.is_empty());
    let found = minimal_cuts(128, 1, &labels, 2).expect("valid");
    assert!(!found.complete && found.sets.len() == CUTS_MAX);
}

#[test]
fn what_has_no_meaning_is_refused() {
    assert!(matches!(minimal_cuts(0, 0, &[], 1), Err(CalculusError::Count { .. })));
    assert!(matches!(minimal_cuts(129, 0, &[], 1), Err(CalculusError::Count { .. })));
    assert!(matches!(minimal_cuts(4, 4, &[], 1), Err(CalculusError::Threshold { .. })));
    let strange = [label("x", &[4])];
    assert!(matches!(minimal_cuts(4, 1, &strange, 1), Err(CalculusError::Unknown { .. })));
    let many = vec![label("x", &[0]); CUT_LABELS_MAX + 1];
    assert!(matches!(minimal_cuts(4, 1, &many, 1), Err(CalculusError::Count { .. })));
    assert_eq!(minimal_cuts(4, 1, &[], 5), Ok(Cuts { sets: vec![], complete: true }));
    assert_eq!(minimal_cuts(4, 1, &[], 0), Ok(Cuts { sets: vec![], complete: true }));
}
