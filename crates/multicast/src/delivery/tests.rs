use ravelin_model::limits::CHECKPOINT_EVERY_DEFAULT;
use ravelin_model::{FaultModel, ReplicaId};

use super::*;
use crate::dag::tests::dag;
use crate::dag::tests::drawing::Drawing;

/// Three rounds of four members; `D2` is linked by nobody but `D3`.
const DRAWN: &str = "
    A1      B1      C1      D1
    A2:ABCD B2:ABCD C2:ABCD D2:ABCD
    A3:ABC  B3:ABC  C3:ABC  D3:ABCD";

fn delivery(drawing: &Drawing) -> Delivery {
    let keyring = &drawing.keys.keyring;
    let next = Slot { round: Round(1), index: 0 };
    let first = OrderingState::first(keyring.group(), keyring.genesis(), next);
    Delivery::new(keyring.group(), CHECKPOINT_EVERY_DEFAULT, first, BTreeSet::new())
}

fn four(text: &str) -> Drawing {
    Drawing::new(4, 1, FaultModel::Arbitrary, text)
}

fn names(drawing: &Drawing, committed: &Committed) -> Vec<String> {
    let name = |block: &Verified<Block>| {
        let mut names = drawing.names().filter(|name| drawing.at(name) == block.reference());
        names.next().expect("drawn").to_string()
    };
    committed.blocks.iter().map(name).collect()
}

#[test]
fn a_leader_brings_its_undelivered_history_by_round_and_author() {
    let drawing = four(DRAWN);
    let dag = dag(&drawing);
    let mut delivery = delivery(&drawing);
    let next = Slot { round: Round(3), index: 0 };
    let first = delivery.commit(&dag, drawing.at("B2"), next);
    assert_eq!(names(&drawing, &first), ["A1", "B1", "C1", "D1", "B2"]);
    let second = delivery.commit(&dag, drawing.at("C3"), next);
    assert_eq!(names(&drawing, &second), ["A2", "C2", "C3"], "nothing twice, and not D2");
    let third = delivery.commit(&dag, drawing.at("D3"), next);
    assert_eq!(names(&drawing, &third), ["D2", "D3"], "an older block comes with who links it");
    assert_eq!(third.state.commit, CommitIndex(3));
}

#[test]
fn what_is_delivered_depends_on_the_leaders_and_not_on_what_else_is_held() {
    let drawing = four(DRAWN);
    let all = dag(&drawing);
    let part = crate::dag::tests::view(&drawing, &["C3"]);
    let next = Slot { round: Round(3), index: 0 };
    let (mut one, mut other) = (delivery(&drawing), delivery(&drawing));
    for leader in ["B2", "C3"] {
        let one = one.commit(&all, drawing.at(leader), next);
        let other = other.commit(&part, drawing.at(leader), next);
        assert_eq!((one.blocks, one.state), (other.blocks, other.state));
    }
}

#[test]
fn a_restored_delivery_goes_on_as_the_others_do() {
    let drawing = four(DRAWN);
    let dag = dag(&drawing);
    let next = Slot { round: Round(3), index: 0 };
    let mut original = delivery(&drawing);
    original.commit(&dag, drawing.at("B2"), next);
    let delivered: BTreeSet<BlockRef> = original.delivered().copied().collect();
    let group = drawing.keys.keyring.group();
    let mut restored =
        Delivery::new(group, CHECKPOINT_EVERY_DEFAULT, original.state().clone(), delivered);
    let mut forgetful =
        Delivery::new(group, CHECKPOINT_EVERY_DEFAULT, original.state().clone(), BTreeSet::new());
    let [one, other, wrong] = [&mut original, &mut restored, &mut forgetful]
        .map(|delivery| delivery.commit(&dag, drawing.at("C3"), next).blocks);
    assert_eq!(one, other);
    assert_ne!(one, wrong, "without the delivered references it delivers twice");
}

#[test]
fn agreed_time_is_the_second_largest_of_four_clocks_and_never_goes_back() {
    let keys = &four("").keys;
    let stamped = |author: u16, time: u64| {
        let parents = [author, 0, 1, 2, 3].map(|id| keys.genesis(ReplicaId(id))).to_vec();
        let parents = parents.into_iter().enumerate();
        let others = parents.filter(|(at, parent)| *at == 0 || parent.author != ReplicaId(author));
        let parents = others.map(|(_, parent)| parent).collect();
        keys.block(ReplicaId(author), Round(1), parents, &Default::default(), time)
    };
    let drawing = four("");
    let mut delivery = delivery(&drawing);
    delivery.advance_time(&[stamped(0, 50), stamped(1, 40)]);
    assert_eq!(delivery.state().time, Time(40));
    delivery.advance_time(&[stamped(3, u64::MAX)]);
    assert_eq!(delivery.state().time, Time(50), "one liar moves it to the fastest correct clock");
    delivery.advance_time(&[stamped(2, 1)]);
    assert_eq!(delivery.state().time, Time(50));
}

#[test]
fn the_horizon_follows_the_newest_leader_and_forgets_behind_it() {
    let drawing = four(DRAWN);
    let mut delivery = delivery(&drawing);
    let next = Slot { round: Round(3), index: 0 };
    delivery.commit(&dag(&drawing), drawing.at("C3"), next);
    delivery.state.leader_round = Round(GC_DEPTH + 1);
    let committed = delivery.commit(&dag(&drawing), drawing.at("D3"), next);
    assert_eq!(delivery.state().horizon(), Round(1));
    let forgotten: Vec<BlockRef> = ["A1", "B1", "C1", "D1"].map(|name| drawing.at(name)).to_vec();
    assert_eq!(committed.forgotten.len(), 4);
    assert!(forgotten.iter().all(|at| committed.forgotten.contains(at)));
    assert!(delivery.delivered().all(|at| at.round > Round(1)));
}

#[test]
fn the_ordering_state_has_its_golden_bytes() {
    let state = OrderingState {
        next: Slot { round: Round(3), index: 1 },
        commit: CommitIndex(2),
        chain: Digest([0xab; 32]),
        leader_round: Round(4),
        time: Time(5),
        clocks: vec![(Round(6), Time(7)), (Round(8), Time(9))],
    };
    let text: String = state.encode().iter().map(|byte| format!("{byte:02x}")).collect();
    let expected = [
        "0300000000000000 0100",             // next: round, index
        "0200000000000000",                  // commits
        &"ab".repeat(32),                    // chain
        "0400000000000000",                  // leader's round
        "0500000000000000",                  // agreed time
        "02000000",                          // members
        "0600000000000000 0700000000000000", // their clocks: round, time
        "0800000000000000 0900000000000000",
    ];
    assert_eq!(text, expected.concat().replace(' ', ""));
    let delivered = BlockRef { round: Round(1), author: ReplicaId(2), digest: Digest([3; 32]) };
    assert_eq!(state.digest(&BTreeSet::from([delivered])).to_string(), GOLDEN_DIGEST);
    assert_ne!(
        state.digest(&BTreeSet::new()).to_string(),
        GOLDEN_DIGEST,
        "what was delivered is signed too"
    );
}

const GOLDEN_DIGEST: &str = "76513b15c84d23bfb945d981d5dd39a471a4acc2d890d81f1fe146ca44a71c2a";
