use ravelin_model::FaultModel;

use super::*;
use drawing::Drawing;

#[path = "../../tests/common/drawing.rs"]
pub(crate) mod drawing;
#[allow(dead_code, reason = "each test file uses its part of it")]
#[path = "../../tests/common/keys.rs"]
pub(crate) mod keys;

/// The DAG of a replica that has all that is drawn.
pub(crate) fn dag(drawing: &Drawing) -> Dag {
    let mut dag = empty(drawing);
    drawing.blocks().for_each(|block| dag.insert(block.clone()));
    dag
}

/// The DAG of a replica that has the blocks `tips` and their histories.
pub(crate) fn view(drawing: &Drawing, tips: &[&str]) -> Dag {
    let all = dag(drawing);
    let mut part = empty(drawing);
    for reference in all.history(tips.iter().map(|tip| drawing.at(tip)), Round(0)) {
        part.insert(all.block(&reference).expect("of this DAG").clone());
    }
    part
}

fn empty(drawing: &Drawing) -> Dag {
    let keyring = &drawing.keys.keyring;
    Dag::new(keyring.group(), keyring.genesis(), Round(0))
}

fn four(text: &str) -> Drawing {
    Drawing::new(4, 1, FaultModel::Arbitrary, text)
}

/// `D` forks in round 2, and `A` pauses in round 3.
const DRAWN: &str = "
    A1      B1      C1      D1
    A2:ABCD B2:ABCD C2:ABCD D2:ABCD D2':ABCD
            B3:ABC  C3:ABC  D3:ABCD
    A4:ABC  B4:ABC";

const A: ReplicaId = ReplicaId(0);
const D: ReplicaId = ReplicaId(3);

#[test]
#[should_panic(expected = "after its parents")]
fn a_block_without_its_parents_does_not_enter() {
    let drawing = four(DRAWN);
    empty(&drawing).insert(drawing.block("A2").clone());
}

#[test]
fn a_round_counts_authors_and_holds_both_blocks_of_a_forker() {
    let drawing = four(DRAWN);
    let dag = dag(&drawing);
    assert_eq!([0, 1, 2, 3, 4, 5].map(|round| dag.width(Round(round))), [4, 4, 4, 3, 2, 0]);
    assert_eq!(dag.round(Round(2)).count(), 5);
    assert_eq!(dag.of(Round(2), D).count(), 2);
    assert_eq!(dag.of(Round(3), A).count(), 0);
    assert_eq!(dag.highest(), Round(4));
    assert_eq!(dag.len(), 14);
}

#[test]
fn a_chain_is_followed_across_a_pause() {
    let drawing = four(DRAWN);
    let dag = dag(&drawing);
    let [a1, a2, a4] = ["A1", "A2", "A4"].map(|name| drawing.at(name));
    assert_eq!(dag.newest(A), Some(a4));
    assert_eq!(dag.newest_until(A, Round(3)), Some(a2));
    assert_eq!(dag.newest_until(A, Round(0)), Some(drawing.keys.genesis(A)));
    assert_eq!(dag.on_chain(&a4, Round(3)), Some(a2));
    assert_eq!(dag.on_chain(&a4, Round(1)), Some(a1));
    let neighbours: Vec<_> = dag.neighbours(&a2).map(Verified::reference).collect();
    assert_eq!(neighbours, [a1, a4]);
    let beside: Vec<_> = dag.neighbours(&drawing.at("D2")).map(Verified::reference).collect();
    assert_eq!(beside, [drawing.at("D1"), drawing.at("D2'")], "the proof of a fork is beside it");
}

#[test]
fn a_history_is_what_can_be_reached_down_to_a_round() {
    let drawing = four(DRAWN);
    let dag = dag(&drawing);
    let recent = dag.history([drawing.at("A4")], Round(2));
    let expected = ["A4", "B3", "C3", "A2", "B2", "C2"].map(|name| drawing.at(name));
    assert_eq!(recent, expected.into(), "not D3, which A4 does not link, nor what D3 alone links");
}

#[test]
fn what_lies_behind_the_horizon_counts_as_present_and_is_not_walked() {
    let drawing = four(DRAWN);
    let mut dag = dag(&drawing);
    let before = dag.bytes();
    let forgotten = dag.forget(Round(2));
    assert_eq!(forgotten.len(), 9);
    assert_eq!(dag.bytes() + forgotten.iter().map(Verified::size).sum::<usize>(), before);
    assert!(dag.has(&drawing.at("A1")) && dag.block(&drawing.at("A1")).is_none());
    assert!(dag.has(&keys::bogus(D, Round(2), 7)), "nobody can tell any more");
    assert!(!dag.has(&keys::bogus(D, Round(3), 7)));
    let history = dag.history([drawing.at("A4")], Round(0));
    assert_eq!(history, ["B3", "C3", "A4"].map(|name| drawing.at(name)).into());
    assert_eq!(dag.on_chain(&drawing.at("A4"), Round(1)), None);
    assert_eq!(dag.newest_until(A, Round(3)), None, "A2 is not its newest block");
    assert!(dag.forget(Round(1)).is_empty() && dag.horizon() == Round(2), "it never goes back");
}

#[test]
fn a_horizon_to_come_lets_references_count_as_present_and_forgets_nothing() {
    let drawing = four(DRAWN);
    let mut dag = dag(&drawing);
    dag.pass(Round(2));
    let nobodys = keys::bogus(D, Round(2), 7);
    assert!(dag.horizon() == Round(2) && dag.has(&nobodys));
    assert!(dag.len() == 14 && dag.block(&drawing.at("A1")).is_some(), "it is held and walked");
    assert!(dag.history([drawing.at("A4")], Round(0)).contains(&drawing.at("A1")));
    assert_eq!(dag.forget(Round(1)).len(), 4, "as far as is delivered");
    assert!(dag.horizon() == Round(2) && dag.has(&nobodys), "it does not go back");
    assert_eq!(dag.forget(Round(2)).len(), 5);
}

/// What `cut` leaves of a DAG, if all of that is there.
fn part(dag: &Dag, horizon: Round, tips: &[BlockRef]) -> Option<Dag> {
    let part = dag.part(&Cut { horizon, tips: tips.to_vec() })?;
    let mut rest = dag.clone();
    rest.retain(&part);
    Some(rest)
}

#[test]
fn a_part_is_what_its_tips_lead_to_and_all_up_to_its_horizon() {
    let drawing = four(DRAWN);
    let whole = dag(&drawing);
    let [a1, b3, d3, a4] = ["A1", "B3", "D3", "A4"].map(|name| drawing.at(name));
    let expected = view(&drawing, &["B3"]);
    let rest = part(&whole, Round(0), &[b3]).expect("it is all there");
    assert_eq!(rest.blocks, expected.blocks);
    assert_eq!((rest.bytes, &rest.widths), (expected.bytes, &expected.widths));
    assert_eq!(rest.chains, expected.chains);
    assert_eq!((rest.highest(), rest.newest_held(D)), (Round(3), Round(1)));
    let rest = part(&whole, Round(3), &[a4]).expect("it is all there");
    assert!(rest.block(&d3).is_some(), "nothing tells whether others have it");
    assert_eq!(rest.len(), 13);
    assert!(part(&whole, Round(3), &[a4, keys::bogus(D, Round(4), 7)]).is_none());

    let mut later = whole.clone();
    later.forget(Round(1));
    assert!(part(&later, Round(0), &[b3]).is_none(), "it was decided before");
    later.pass(Round(3));
    let rest = part(&later, Round(1), &[b3]).expect("it is all there");
    assert_eq!((rest.horizon(), rest.has(&a1), rest.has(&d3)), (Round(1), true, false));

    let mut gap = view(&drawing, &["A2"]);
    gap.pass(Round(3));
    gap.insert(drawing.block("A4").clone());
    assert!(part(&gap, Round(3), &[a4]).is_some());
    assert!(part(&gap, Round(2), &[a4]).is_none(), "B3 is missing, which lies above");
}

#[test]
fn the_newest_block_of_a_silent_member_outlives_the_horizon() {
    let drawing = four(DRAWN);
    let mut dag = dag(&drawing);
    dag.forget(Round(4));
    assert!(dag.is_empty() && dag.bytes() == 0);
    let d3 = drawing.block("D3");
    assert_eq!(dag.newest(D), Some(d3.reference()));
    assert_eq!(dag.newest_header(D), Some(d3.signed_header()));
    assert_eq!(dag.newest_until(D, Round(4)), Some(d3.reference()));
}

/// What a log tells of may lack its parents: a next block must not build on it.
#[test]
fn a_block_that_is_only_known_of_is_no_newest_one_to_build_on() {
    let drawing = four(DRAWN);
    let mut dag = view(&drawing, &["B2"]);
    let a1 = drawing.at("A1");
    dag.remember(drawing.block("A4"));
    assert_eq!(dag.newest(A), Some(drawing.at("A4")));
    assert_eq!(dag.newest_until(A, Round(4)), Some(a1));
    dag.forget(Round(1));
    assert_eq!(dag.newest_until(A, Round(4)), None);
    dag.forget(Round(4));
    assert_eq!(dag.newest_until(A, Round(4)), Some(drawing.at("A4")), "it counts as present");
}

#[test]
fn delivered_blocks_give_up_their_envelopes_the_oldest_first_but_for_those_of_a_forked_round() {
    let mut drawing = four("A1 B1 C1 D1");
    for round in 2..=4 {
        for author in ["A", "B", "C", "D"] {
            drawing.draw_carrying(&format!("{author}{round}:ABCD"), CARRIED_BYTES_MAX / 10);
        }
    }
    drawing.draw_carrying("A2':ABCD", CARRIED_BYTES_MAX / 10);
    let mut dag = dag(&drawing);
    let all = dag.bytes();
    let delivered: Vec<_> = drawing.blocks().cloned().collect();
    dag.on_delivered(&delivered);
    let is_whole = |name: &str| dag.whole(&drawing.at(name)).is_some();
    assert_eq!(["A2", "A2'", "A1"].map(is_whole), [true; 3], "two of a round; and one without any");
    assert_eq!(["B2", "C2"].map(is_whole), [false; 2], "four had to be let go of");
    assert_eq!(["D2", "A3", "D4"].map(is_whole), [true; 3], "the newer ones fit");
    let left: usize = dag.blocks.values().map(Verified::size).sum();
    assert!(dag.bytes() == left && left < all, "{left} of {all}");
    let stripped = dag.block(&drawing.at("B2")).expect("it is held");
    let before = drawing.block("B2");
    assert_eq!(stripped.reference(), before.reference());
    assert_eq!(stripped.signed_header(), before.signed_header());
    assert_eq!(stripped.body.parents, before.body.parents);
    assert_ne!(stripped, before, "it is not what its author sent");
    dag.forget(Round(4));
    assert!(dag.carried.is_empty() && dag.carried_bytes == 0 && dag.bytes() == 0);
}
