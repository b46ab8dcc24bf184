use super::*;

/// Every group that can exist up to 100 replicas.
fn groups() -> impl Iterator<Item = Group> {
    [FaultModel::Arbitrary, FaultModel::Hybrid, FaultModel::Asynchronous].into_iter().flat_map(
        |model| {
            (1..=100u16)
                .flat_map(move |n| (1..=n).filter_map(move |f| Group::new(n, f, model).ok()))
        },
    )
}

#[test]
fn a_quorum_answers_even_if_all_intruded_servers_are_silent() {
    for group in groups() {
        assert!(group.quorum() <= group.responsive(), "{group:?}");
    }
}

#[test]
fn two_quorums_share_a_correct_replica_or_one_that_cannot_equivocate() {
    for group in groups() {
        let shared = 2 * group.quorum() - group.size();
        let needed = match group.model() {
            FaultModel::Hybrid => 1,
            _ => group.faults() + 1,
        };
        assert!(shared >= needed, "{group:?} shares {shared}");
    }
}

#[test]
fn a_quorum_is_no_larger_than_it_must_be() {
    for group in groups() {
        let shared = 2 * (group.quorum() - 1);
        let needed = group.size()
            + match group.model() {
                FaultModel::Hybrid => 1,
                _ => group.faults() + 1,
            };
        assert!(shared < needed, "{group:?} could do with one vote less");
    }
}

#[test]
fn a_blocking_set_meets_every_quorum() {
    for group in groups() {
        assert_eq!(group.blocking() + group.quorum(), group.size() + 1, "{group:?}");
    }
}

#[test]
fn the_anchors_of_any_wave_belong_to_more_than_f_servers() {
    for group in groups().filter(|group| group.model() != FaultModel::Asynchronous) {
        let wave = usize::try_from(group.model().wave()).expect("small");
        let mut leaders: Vec<_> =
            (0..group.size()).map(|turn| (turn * wave) % group.size()).collect();
        leaders.sort_unstable();
        leaders.dedup();
        assert!(leaders.len() > group.faults(), "{group:?}");
    }
}

#[test]
fn what_does_not_fit_is_refused_with_its_reason() {
    let refusal = |n, f, model| Group::new(n, f, model).expect_err("refused").to_string();
    assert!(refusal(3, 1, FaultModel::Arbitrary).contains("at least 4"));
    assert!(refusal(2, 1, FaultModel::Hybrid).contains("at least 3"));
    assert!(refusal(4, 0, FaultModel::Arbitrary).contains("f = 0"));
    assert!(refusal(6, 2, FaultModel::Arbitrary).contains("at least 7"));
    assert!(refusal(101, 1, FaultModel::Arbitrary).contains("101 replicas"));
    assert!(Group::new(9, 2, FaultModel::Arbitrary).is_ok());
    assert!(matches!(Group::new(12, 3, FaultModel::Arbitrary).map(Group::size), Ok(12)));
}
