use super::*;
use crate::dag::tests::drawing::Drawing;
use crate::dag::tests::{dag, view};

fn four(text: &str) -> Drawing {
    Drawing::new(4, 1, FaultModel::Arbitrary, text)
}

fn rule(drawing: &Drawing) -> CommitRule {
    CommitRule::new(drawing.keys.keyring.group(), 1)
}

/// What a replica that holds `dag` has decided, slot by slot: a block's name, with `~` when it was
/// committed indirectly, or `-` for a skipped slot.
fn decided(drawing: &Drawing, dag: &Dag) -> Vec<String> {
    let rule = rule(drawing);
    let name = |leader| drawing.names().find(|name| drawing.at(name) == leader).expect("drawn");
    let told =
        rule.decide(dag, rule.first_slot()).into_iter().map(|(_, decision)| match decision {
            Decision::Commit(leader, Path::Direct) => name(leader).to_string(),
            Decision::Commit(leader, Path::Indirect) => format!("{}~", name(leader)),
            Decision::Skip => "-".to_string(),
            Decision::Undecided => panic!("decided slots only"),
        });
    told.collect()
}

#[test]
fn the_lead_moves_on_by_one_member_each_round() {
    let rule = CommitRule { leaders: 2, ..rule(&four("")) };
    let slots = std::iter::successors(Some(rule.first_slot()), |slot| Some(rule.after(*slot)));
    let leaders: Vec<_> =
        slots.take(6).map(|slot| (slot.round.0, slot.index, rule.leader(slot).0)).collect();
    assert_eq!(leaders, [(2, 0, 2), (2, 1, 3), (3, 0, 3), (3, 1, 0), (4, 0, 0), (4, 1, 1)]);
    assert_eq!(rule.leaders_of(Round(3)).collect::<Vec<_>>(), [ReplicaId(3), ReplicaId(0)]);
}

#[test]
fn certificates_of_a_quorum_commit_a_leader_and_no_fewer() {
    let drawing = four("A1 B1 C1 D1 A2 B2 C2 D2 A3 B3 C3 D3 A4 B4 C4 D4");
    assert_eq!(decided(&drawing, &dag(&drawing)), ["C2"]);
    assert_eq!(decided(&drawing, &view(&drawing, &["A4", "B4", "C4"])), ["C2"]);
    assert!(decided(&drawing, &view(&drawing, &["A4", "B4", "C3", "D3"])).is_empty());
}

#[test]
fn a_certificate_needs_votes_of_a_quorum() {
    //  A4 sees three votes for C2, B4 only two.
    let drawing = four(
        "A1 B1 C1 D1 A2 B2 C2 D2
         A3:ABC B3:ABC C3:ABC D3:ABD
         A4:ABC B4:ABD",
    );
    let (dag, rule, proposal) = (dag(&drawing), rule(&drawing), drawing.at("C2"));
    assert!(rule.votes_for(&dag, drawing.block("A3"), &proposal));
    assert!(!rule.votes_for(&dag, drawing.block("D3"), &proposal));
    assert!(rule.certifies(&dag, drawing.block("A4"), &proposal));
    assert!(!rule.certifies(&dag, drawing.block("B4"), &proposal));
}

#[test]
fn a_forker_certifies_once_however_many_blocks_it_makes() {
    let drawing = four("A1 B1 C1 D1 A2 B2 C2 D2 A3 B3 C3 D3 A4 D4 D4'");
    assert_eq!(dag(&drawing).round(Round(4)).count(), 3);
    assert!(decided(&drawing, &dag(&drawing)).is_empty());
}

#[test]
fn a_slot_is_skipped_when_a_quorum_does_not_vote_for_it() {
    let drawing = four(
        "A1 B1 C1 D1 A2 B2 C2 D2
         A3:ABD B3:ABD C3:ABC D3:ABD D3':ABD",
    );
    assert_eq!(decided(&drawing, &dag(&drawing)), ["-"]);
    assert_eq!(
        decided(&drawing, &view(&drawing, &["A3", "B3", "D3"])),
        ["-"],
        "also where the leader's block never came"
    );
    assert!(decided(&drawing, &view(&drawing, &["A3", "B3", "C3"])).is_empty());
    let forked = view(&drawing, &["A3", "C3", "D3", "D3'"]);
    assert!(decided(&drawing, &forked).is_empty(), "a forker refuses once");
}

/// `C2` has votes of a quorum, but `A4` alone certifies it; `B5` links `round_five`.
fn one_certificate(round_five: &str) -> Drawing {
    four(&format!(
        "A1 B1 C1 D1 A2 B2 C2 D2
         A3:ABC B3:ABC C3:ABC D3:ABD
         A4:ABC B4:BCD C4:BCD D4:BCD
         A5     B5:{round_five} C5:{round_five} D5:{round_five}
         A6 B6 C6 D6 A7 B7 C7 D7"
    ))
}

#[test]
fn one_certificate_in_a_later_leaders_history_commits() {
    let drawing = one_certificate("ABCD");
    assert_eq!(decided(&drawing, &dag(&drawing)), ["C2~", "D3", "A4", "B5"]);
    let early = view(&drawing, &["A6", "B6", "C6", "D6"]);
    assert!(decided(&drawing, &early).is_empty(), "not before that leader is committed");
}

#[test]
fn a_slot_without_a_certificate_in_the_later_leaders_history_is_skipped() {
    let drawing = one_certificate("BCD");
    let all = dag(&drawing);
    assert!(rule(&drawing).certifies(&all, drawing.block("A4"), &drawing.at("C2")));
    assert_eq!(decided(&drawing, &all)[0], "-", "A4 is not in the history of B5");
}

#[test]
fn of_two_blocks_of_one_leader_only_the_one_with_a_quorum_is_committed() {
    let drawing = four(
        "A1 B1 C1 D1 A2 B2 C2 C2' D2
         A3:ABC B3:ABC C3:ABC D3:ABC'
         A4:ABCD B4:ABCD C4:ABCD",
    );
    assert_eq!(decided(&drawing, &dag(&drawing)), ["C2"]);
    let split = four(
        "A1 B1 C1 D1 A2 B2 C2 C2' D2
         A3:ABC B3:ABC C3:ABC' D3:ABC'",
    );
    assert!(decided(&split, &dag(&split)).is_empty(), "either may still be certified");
}

#[test]
fn a_vote_goes_to_the_first_of_a_leaders_blocks_on_the_way() {
    //  Votes come three rounds after a proposal: A5 reaches C2 by A4 and C2' by B4.
    let drawing = Drawing::new(
        4,
        1,
        FaultModel::Asynchronous,
        "A1 B1 C1 D1 A2 B2 C2 C2' D2
         A3:ABC B3:ABC' D3:ABD
         A4:AD  B4:BD
         A5:AB  B5:AB",
    );
    let (dag, rule) = (dag(&drawing), rule(&drawing));
    let [first, second] = ["C2", "C2'"].map(|name| drawing.at(name));
    assert!(dag.history([drawing.at("A5")], Round(2)).is_superset(&[first, second].into()));
    let vote = |name| rule.vote(&dag, drawing.block(name), Round(2), ReplicaId(2));
    assert_eq!(vote("A5"), Some(first), "its own chain is listed first");
    assert_eq!(vote("B5"), Some(second));
    assert!(!rule.votes_for(&dag, drawing.block("A5"), &second), "nobody votes twice");
}

#[test]
fn an_undecided_slot_holds_its_successors_back() {
    //  C2 has two certificates; D3 is committed, and must wait.
    let drawing = four(
        "A1 B1 C1 D1 A2 B2 C2 D2
         A3:ABC B3:ABC C3:ABC D3:ABD
         A4:ABCD B4:ABCD C4:BCD D4:BCD
         A5 B5 C5 D5",
    );
    let (dag, rule) = (dag(&drawing), rule(&drawing));
    let third = Slot { round: Round(3), index: 0 };
    assert!(!rule.is_committed_directly(&dag, rule.first_slot()));
    assert!(rule.is_committed_directly(&dag, third));
    assert!(decided(&drawing, &dag).is_empty());
}

fn three(text: &str) -> Drawing {
    Drawing::new(3, 1, FaultModel::Hybrid, text)
}

#[test]
fn in_hybrid_a_quorum_of_parents_commits_a_leader_and_no_fewer() {
    //  With three members C leads round 2.
    let drawing = three("A1 B1 C1 A2 B2 C2 A3:ABC B3:AB C3:BC A4:AB");
    assert_eq!(decided(&drawing, &dag(&drawing)), ["C2"], "linked by A3 and C3");
    assert!(decided(&drawing, &view(&drawing, &["A3", "B3"])).is_empty());
    assert_eq!(decided(&drawing, &view(&drawing, &["A3", "C3"])), ["C2"]);
    let rule = rule(&drawing);
    assert!(rule.certifies(&dag(&drawing), drawing.block("A3"), &drawing.at("C2")));
    assert!(!rule.certifies(&dag(&drawing), drawing.block("B3"), &drawing.at("C2")));
}

#[test]
fn in_hybrid_no_slot_is_skipped_before_a_later_leader_is_committed() {
    //  Nobody links C2, which A alone has; A3 is committed by round 4, but two rounds on is B4.
    let text = "A1 B1 C1 A2 B2 C2 A3:AB B3:AB A4:AB B4:AB";
    assert!(decided(&three(text), &dag(&three(text))).is_empty(), "C2 may yet count somewhere");
    let longer = three(&format!("{text} A5:AB B5:AB"));
    assert_eq!(decided(&longer, &dag(&longer)), ["-", "A3", "B4"], "C2 is not below B4");
}

#[test]
fn in_hybrid_a_leader_below_a_later_one_is_committed_however_few_linked_it() {
    let drawing = three("A1 B1 C1 A2 B2 C2 A3:ABC B3:AB A4:AB B4:AB A5:AB B5:AB");
    assert_eq!(decided(&drawing, &dag(&drawing)), ["C2~", "A3", "B4"]);
    assert!(decided(&drawing, &view(&drawing, &["A4", "B4"])).is_empty(), "B4 is not committed");
}

#[test]
fn in_hybrid_a_leader_a_round_later_decides_nothing() {
    //  A3 is committed and does not link C2, which a quorum links: it is committed all the same.
    let drawing = three("A1 B1 C1 A2 B2 C2 A3:AB B3:BC C3:BC A4:ABC B4:ABC C4:ABC");
    assert_eq!(decided(&drawing, &dag(&drawing)), ["C2", "A3"]);
    let without = view(&drawing, &["A4", "B4"]);
    assert_eq!(decided(&drawing, &without), ["C2", "A3"]);
    let one_vote = three("A1 B1 C1 A2 B2 C2 A3:AB B3:BC A4:AB B4:AB");
    assert!(decided(&one_vote, &dag(&one_vote)).is_empty(), "C3 may link C2, or not");
}
