use ravelin_model::{BlockBody, FaultModel};

use super::*;
use crate::dag::tests::dag;
use crate::dag::tests::drawing::Drawing;

/// `D` forks in round 1: `D1` and `D1'` stand on two branches.
const FORKED: &str = "
    A1      B1      C1       D1 D1'
    A2:ABCD B2:ABCD C2:ABCD'";

/// What a replica that holds `before` says of the block that `word` draws.
fn judge(before: &str, word: &str) -> (bool, bool) {
    let mut drawing = Drawing::new(4, 1, FaultModel::Arbitrary, before);
    let dag = dag(&drawing);
    drawing.draw(word);
    let name = word.split([':', '!']).next().expect("a name");
    let block = drawing.block(name);
    (is_well_formed(&dag, block), is_consistent(&dag, block, &|_| false))
}

#[track_caller]
fn check(before: &str, word: &str, expected: (bool, bool)) {
    assert_eq!(judge(before, word), expected, "(well-formed, consistent) of {word}");
}

/// A well-formed block of round 3 after two full rounds, but for what `change` does to it.
fn is_formed_after(change: impl FnOnce(&mut BlockBody, &Drawing)) -> bool {
    let drawing =
        Drawing::new(4, 1, FaultModel::Arbitrary, "A1 B1 C1 D1 A2 B2 C2 D2 A3:ABC A3':ABC");
    let mut body = drawing.block("A3").body.clone();
    change(&mut body, &drawing);
    is_well_formed(&dag(&drawing), &drawing.keys.sign(body))
}

#[test]
fn a_block_links_a_quorum_of_the_round_before() {
    let before = "A1 B1 C1 D1 A2 B2 C2 D2";
    check(before, "A3:ABCD", (true, true));
    check(before, "A3:ABCD1", (true, true));
    check(before, "A3:ABC1D1", (false, true));
}

#[test]
fn parents_are_ones_own_block_first_and_then_others_by_author_once_each() {
    assert!(is_formed_after(|_, _| {}));
    assert!(!is_formed_after(|body, _| body.parents.clear()));
    assert!(!is_formed_after(|body, _| body.parents.rotate_left(1)), "own block first");
    assert!(!is_formed_after(|body, _| body.parents.swap(1, 2)), "ascending by author");
    assert!(!is_formed_after(|body, drawn| body.parents.insert(1, drawn.at("B1"))), "one each");
    assert!(!is_formed_after(|body, drawn| body.parents.insert(1, drawn.at("A1"))), "own once");
}

#[test]
fn parents_are_of_members_and_of_earlier_rounds() {
    let stranger = |body: &mut BlockBody, drawn: &Drawing| {
        body.parents.push(BlockRef { author: ReplicaId(4), ..drawn.at("D2") });
    };
    assert!(!is_formed_after(stranger));
    assert!(!is_formed_after(|body, _| body.round = Round(2)), "parents of its own round");
    assert!(!is_formed_after(|body, _| body.round = Round(4)), "no parent of the round before");
    assert!(!is_formed_after(|body, _| body.round = Round(0)));
}

#[test]
fn exposed_members_are_listed_once_ascending_and_are_no_parents() {
    let exposing = |exposed: &'static [u16]| {
        move |body: &mut BlockBody, _: &Drawing| {
            body.exposed = exposed.iter().copied().map(ReplicaId).collect();
        }
    };
    assert!(is_formed_after(exposing(&[3])));
    assert!(!is_formed_after(exposing(&[2])), "C is a parent");
    assert!(!is_formed_after(exposing(&[3, 3])));
    assert!(!is_formed_after(exposing(&[4])), "no member");
}

#[test]
fn each_exposed_member_is_one_parent_less() {
    check(FORKED, "A3:ABC1!D", (true, true));
    check(FORKED, "A3:ABC1D1", (false, true));
    check(FORKED, "A3:AB1C1!D", (false, true));
}

#[test]
fn nobody_is_exposed_without_a_proof() {
    //  No second block of D: the drawing finds no proof to give.
    check("A1 B1 C1 D1 A2 B2 C2", "A3:ABC!D", (true, false));
    check(FORKED, "A3:ABC!D", (true, true));
}

#[test]
fn whom_a_parent_exposes_the_block_exposes() {
    let before = format!("{FORKED} A3:ABC!D B3:AB!D C3:ABC!D");
    check(&before, "B4:ABC!D", (true, true));
    check(&before, "B4:ABC", (true, false));
}

#[test]
fn an_exposure_is_inherited_from_the_round_before_and_no_older_one() {
    let drawing = Drawing::new(
        4,
        1,
        FaultModel::Arbitrary,
        &format!("{FORKED} A3:ABC!D B3:AB!D C3:ABC!D A4:ABC!D B4:ABC!D"),
    );
    let mut whole = dag(&drawing);
    let mut body = drawing.block("B4").body.clone();
    assert!(!body.votes.is_empty(), "the drawing gives a proof with each exposure");
    body.votes.clear();
    let inherits = drawing.keys.sign(body.clone());
    assert!(is_consistent(&whole, &inherits, &|_| false));
    body.round = Round(5);
    let too_late = drawing.keys.sign(body);
    assert!(!is_consistent(&whole, &too_late, &|_| false), "no parent of round 4 says so");
    whole.forget(Round(4));
    assert!(!is_consistent(&whole, &too_late, &|_| false));
    assert!(is_consistent(&whole, &too_late, &|member| member == ReplicaId(3)), "a proof is held");
}

#[test]
fn two_branches_cannot_be_linked_without_exposing_their_author() {
    check(FORKED, "A3:ABCD", (true, false));
    check(FORKED, "A3:ABC", (true, false));
    check(FORKED, "A3:ABC!D", (true, true));
}

#[test]
fn what_a_parent_links_lies_on_the_blocks_own_view_of_that_chain() {
    let before = "A1 B1 C1 D1 A2:ABC B2:ABCD C2:ABCD D2:ABCD";
    check(before, "A3:ABC", (true, false));
    check(before, "A3:ABCD1", (true, true));
    check(before, "A3:ABCD", (true, true));
}

#[test]
fn what_is_not_known_speaks_for_a_block() {
    let mut drawing = Drawing::new(4, 1, FaultModel::Arbitrary, FORKED);
    drawing.draw("A3:ABCD");
    let whole = dag(&drawing);
    let block = drawing.block("A3");
    assert!(is_contradicted(block, Round(0), &|at| whole.block(at)));
    let c2 = drawing.at("C2");
    let without = |at: &BlockRef| whole.block(at).filter(|_| *at != c2);
    assert!(!is_contradicted(block, Round(0), &without));
    assert!(!is_contradicted(block, Round(1), &|at| whole.block(at)), "behind the horizon");
}

#[test]
fn a_blocks_own_evidence_names_who_forked() {
    let mut drawing = Drawing::new(4, 1, FaultModel::Arbitrary, FORKED);
    drawing.draw("A3:ABC!D");
    assert_eq!(forkers(drawing.block("A3")).collect::<Vec<_>>(), [ReplicaId(3)]);
    assert_eq!(forkers(drawing.block("A2")).count(), 0);
}
