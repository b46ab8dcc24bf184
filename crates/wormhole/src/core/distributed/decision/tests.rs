#![allow(clippy::indexing_slicing, reason = "a test that is wrong fails, as it should")]

use super::*;
use crate::attestation::ReplicaId;
use crate::frame::{Entity, Nanos};

fn check(
    decision: DecisionFunction,
    proposals: &[Proposal],
    value: Option<u8>,
    (ok, any): (u16, u16),
) {
    let count = u16::try_from(proposals.len()).expect("few");
    let elist: Vec<_> =
        (0..count).map(|one| Entity { replica: ReplicaId(one), local: 7 }).collect();
    let agreement = Agreement::new(&elist, Nanos(5), decision).expect("a list");
    let mut all = [Proposal::Missing; ELIST_MAX];
    all[..proposals.len()].copy_from_slice(proposals);
    let expected =
        Decision { value: value.map(|one| [one; 32]), proposed_ok: ok, proposed_any: any };
    assert_eq!(decide(&agreement, &all), expected, "{decision:?}");
}

const NO: Proposal = Proposal::Missing;
const BOTTOM: Proposal = Proposal::Bottom;

fn of(value: u8) -> Proposal {
    Proposal::Of([value; 32])
}

#[test]
fn reliable_multicast_is_the_word_of_the_first() {
    let decision = DecisionFunction::ReliableMulticast;
    check(decision, &[of(1), BOTTOM, of(1), of(2), NO], Some(1), (0b101, 0b1111));
    check(decision, &[NO, of(1), of(1)], None, (0, 0b110));
    check(decision, &[BOTTOM, of(1), of(1)], None, (0, 0b111));
}

#[test]
fn plurality_takes_most_and_of_several_the_one_that_stands_first() {
    let decision = DecisionFunction::Plurality;
    check(decision, &[of(3), of(1), of(1), NO], Some(1), (0b110, 0b111));
    check(decision, &[of(3), of(1), of(1), of(3)], Some(3), (0b1001, 0b1111));
    check(decision, &[NO, of(2), of(1)], Some(2), (0b10, 0b110));
    check(decision, &[BOTTOM, NO, BOTTOM], None, (0, 0b101));
}

#[test]
fn majority_needs_so_many() {
    check(DecisionFunction::MajorityOf(2), &[of(3), of(1), of(1)], Some(1), (0b110, 0b111));
    check(DecisionFunction::MajorityOf(3), &[of(3), of(1), of(1)], None, (0, 0b111));
    check(DecisionFunction::MajorityOf(1), &[BOTTOM, NO, of(9)], Some(9), (0b100, 0b101));
    check(
        DecisionFunction::MajorityOf(2),
        &[of(3), of(1), of(1), of(3)],
        Some(3),
        (0b1001, 0b1111),
    );
}

#[test]
fn all_equal_needs_all_of_the_list() {
    let decision = DecisionFunction::AllEqual;
    check(decision, &[of(4), of(4), of(4)], Some(4), (0b111, 0b111));
    check(decision, &[of(4), of(4), NO], None, (0, 0b11));
    check(decision, &[of(4), of(4), BOTTOM], None, (0, 0b111));
    check(decision, &[of(4), of(5), of(4)], None, (0, 0b111));
}

#[test]
fn min_and_xor_count_values_only() {
    check(DecisionFunction::Min, &[of(4), NO, of(2), BOTTOM, of(2)], Some(2), (0b10100, 0b11101));
    check(DecisionFunction::Min, &[BOTTOM, NO], None, (0, 0b1));
    check(DecisionFunction::Xor, &[of(5), NO, of(3), BOTTOM], Some(6), (0b101, 0b1101));
    check(DecisionFunction::Xor, &[NO, BOTTOM], None, (0, 0b10));
    check(DecisionFunction::Xor, &[of(5), of(5)], Some(0), (0b11, 0b11));
}

#[test]
fn first_byte_counts_most_in_a_comparison() {
    let (mut small, mut large) = ([9; 32], [0; 32]);
    (small[0], large[0]) = (1, 2);
    let elist = [1, 2].map(|one| Entity { replica: ReplicaId(one), local: 7 });
    let agreement = Agreement::new(&elist, Nanos(5), DecisionFunction::Min).expect("a list");
    let mut all = [Proposal::Missing; ELIST_MAX];
    (all[0], all[1]) = (Proposal::Of(large), Proposal::Of(small));
    assert_eq!(decide(&agreement, &all).value, Some(small));
}
