use ravelin_model::{Digest, FaultModel};

use super::*;

use crate::dag::tests::drawing::Drawing;
use crate::dag::tests::keys::{Fork, Keys, bogus};
use crate::dag::tests::view;

const OWN: ReplicaId = ReplicaId(0);
const ALL: Round = Round(u64::MAX);
/// Nothing of any chain is held.
const NONE: &dyn Fn(ReplicaId) -> Option<Round> = &|_| Some(Round(0));
const NOW: Time = Time(1_000_000);

/// `A3` waits for `B2` and `C2`; only round 1 and `A2` are in the DAG.
fn waiting() -> (Drawing, Dag, Parking) {
    let drawing =
        Drawing::new(4, 1, FaultModel::Arbitrary, "A1 B1 C1 D1 A2:ABC B2:ABC C2:ABC D3:ABC A3:ABC");
    let dag = view(&drawing, &["A2", "D1"]);
    let mut parking = Parking::new(dag.group(), OWN);
    parking.park(NOW, ReplicaId(3), drawing.block("A3").clone(), &dag);
    (drawing, dag, parking)
}

#[test]
fn missing_parents_are_asked_for_after_a_short_patience() {
    let (drawing, _, mut parking) = waiting();
    assert!(parking.due(NOW, ALL, NONE).is_empty(), "blocks commonly overtake their parents");
    let deadline = parking.next_deadline(ALL).expect("something is missing");
    assert_eq!(deadline, NOW.after(FETCH_PATIENCE));
    let asked = parking.due(deadline, ALL, NONE);
    let wanted = ["B2", "C2"].map(|name| Chain { tip: drawing.at(name), after: Round(0) });
    assert_eq!(asked, BTreeMap::from([(ReplicaId(3), wanted.to_vec())]), "of whoever sent it");
}

#[test]
fn a_missing_block_is_asked_for_with_what_is_lacking_of_its_authors_chain() {
    let rounds = (2..=6).map(|round| ["A", "B", "C", "D"].map(|it| format!("{it}{round}:ABCD")));
    let text = format!("A1 B1 C1 D1 {}", rounds.flatten().collect::<Vec<_>>().join(" "));
    let drawing = Drawing::new(4, 1, FaultModel::Arbitrary, &text);
    let dag = view(&drawing, &["A3", "B3", "C3"]);
    let mut parking = Parking::new(dag.group(), OWN);
    for waiting in ["A4", "A6"] {
        parking.park(NOW, ReplicaId(1), drawing.block(waiting).clone(), &dag);
    }
    let mut asked = |held: u64| {
        let later = NOW.after(FETCH_PATIENCE * 1_000 * u32::try_from(held).unwrap());
        let asked = parking.due(later, ALL, &|_| Some(Round(held))).into_values().flatten();
        let of_d = asked.filter(|chain| chain.tip.author == ReplicaId(3));
        of_d.map(|chain| (chain.tip, chain.after.0)).collect::<Vec<_>>()
    };
    let (d3, d5) = (drawing.at("D3"), drawing.at("D5"));
    assert_eq!(asked(1), [(d3, 1), (d5, 3)], "from what else is waited for on");
    assert_eq!(asked(2), [(d3, 2), (d5, 3)]);
    assert_eq!(asked(4), [(d3, 2), (d5, 4)], "itself, whatever is held");
}

#[test]
fn of_a_forked_chain_as_much_more_is_asked_for_as_waits_already() {
    let names = (1..=90u64).map(|round| BlockRef {
        round: Round(round),
        author: ReplicaId(3),
        digest: Digest([7; 32]),
    });
    let names: Vec<BlockRef> = names.collect();
    let (_, dag, _) = waiting();
    let mut parking = Parking::new(dag.group(), OWN);
    let another = BlockRef { author: ReplicaId(1), ..names[89] };
    parking.missing.add(names[89], another, ReplicaId(1), NOW);
    let mut now = NOW;
    let mut rounds = vec![];
    let mut lowest = 90;
    while lowest > 1 {
        now = now.after(FETCH_PATIENCE * 10_000);
        let asked = parking.due(now, ALL, &|_| None).into_values().flatten();
        let asked: Vec<Chain> = asked.filter(|chain| chain.tip.round.0 == lowest).collect();
        let [Chain { tip, after }] = asked[..] else { panic!("{asked:?}") };
        rounds.push(tip.round.0 - after.0);
        // All of it comes, and each block waits for the one before it.
        for round in (after.0.max(1) + 1..=tip.round.0).rev() {
            let (block, parent) = (names[round as usize - 1], names[round as usize - 2]);
            parking.missing.add(parent, block, ReplicaId(1), now);
        }
        lowest = after.0.max(1);
    }
    assert_eq!(rounds, [1, 2, 4, 8, 16, 32, 27], "seven round trips");
}

#[test]
fn another_member_is_asked_next_and_ever_more_rarely() {
    let (_, _, mut parking) = waiting();
    let mut asked = vec![];
    let mut pauses = vec![];
    let mut now = NOW;
    for _ in 0..12 {
        let next = parking.next_deadline(ALL).expect("still missing");
        pauses.push(next.since(now));
        now = next;
        asked.extend(parking.due(now, ALL, NONE).into_keys());
    }
    assert_eq!(asked[..3], [ReplicaId(3), ReplicaId(1), ReplicaId(2)], "never itself");
    assert!(pauses.is_sorted() && pauses[11] > pauses[1], "{pauses:?}");
}

#[test]
fn a_block_is_released_by_its_last_missing_parent() {
    let (drawing, mut dag, mut parking) = waiting();
    dag.insert(drawing.block("B2").clone());
    assert!(parking.release(&drawing.at("B2"), &dag).is_empty());
    dag.insert(drawing.block("C2").clone());
    let released = parking.release(&drawing.at("C2"), &dag);
    assert_eq!(released.len(), 1);
    assert!(parking.is_empty() && parking.next_deadline(ALL).is_none() && parking.bytes() == 0);
}

#[test]
fn what_the_horizon_passes_is_neither_kept_nor_asked_for() {
    let (mut drawing, mut dag, mut parking) = waiting();
    drawing.draw("B3:ABC");
    drawing.draw("B4:BC2");
    parking.park(NOW, ReplicaId(3), drawing.block("C2").clone(), &dag);
    parking.park(NOW, ReplicaId(3), drawing.block("B4").clone(), &dag);
    dag.forget(Round(2));
    let ready = parking.reexamine(&dag);
    let ready: Vec<BlockRef> = ready.iter().map(|(_, block)| block.reference()).collect();
    assert_eq!(ready, [drawing.at("A3")], "its parents count as present now");
    assert!(!parking.has(&drawing.at("C2")), "it is too old to be of use");
    let asked = parking.due(NOW.after(FETCH_PATIENCE), ALL, NONE);
    let asked: Vec<BlockRef> = asked.into_values().flatten().map(|chain| chain.tip).collect();
    assert_eq!(asked, [drawing.at("B3")], "not C2, which B4 links too");
}

#[test]
fn what_came_for_a_broken_block_alone_goes_with_it() {
    //  A3 links D1 and B2, which links D1': a contradiction as soon as B2 is known.
    let drawing = Drawing::new(
        4,
        1,
        FaultModel::Arbitrary,
        "A1 B1 C1 D1 D1' A2:ABCD B2:ABCD' C2:ABCD A3:ABCD1 C3:ABC!D",
    );
    let dag = view(&drawing, &["A1", "B1", "C1"]);
    let mut parking = Parking::new(dag.group(), OWN);
    parking.park(NOW, ReplicaId(3), drawing.block("A3").clone(), &dag);
    assert!(parking.contradicted(&drawing.at("A3"), &dag).is_empty());
    parking.park(NOW, ReplicaId(3), drawing.block("B2").clone(), &dag);
    assert_eq!(parking.contradicted(&drawing.at("B2"), &dag), [drawing.at("A3")]);
    let mut other = parking.clone();
    parking.discard(&drawing.at("A3"));
    assert!(parking.is_empty() && parking.next_deadline(ALL).is_none());

    other.park(NOW, ReplicaId(2), drawing.block("C3").clone(), &dag);
    other.discard(&drawing.at("A3"));
    assert!(other.has(&drawing.at("B2")), "C3 waits for it too");
}

#[test]
fn colluding_floods_of_the_far_future_keep_no_block_from_its_parents() {
    let keys = Keys::new(10, 3, FaultModel::Arbitrary);
    let group = keys.keyring.group();
    let mut dag = Dag::new(group, keys.keyring.genesis(), Round(0));
    let mut parking = Parking::new(group, OWN);
    let of = |author: u16, round: u64, own: BlockRef, others: &dyn Fn(ReplicaId) -> BlockRef| {
        let author = ReplicaId(author);
        let others = group.members().filter(|member| *member != author).map(others);
        let parents = std::iter::once(own).chain(others).collect();
        keys.block(author, Round(round), parents, &Fork::default(), 0)
    };
    let firsts: Vec<_> = (0..10)
        .map(|author| of(author, 1, keys.genesis(ReplicaId(author)), &|id| keys.genesis(id)))
        .collect();
    for flooder in 7..10 {
        let mut own = bogus(ReplicaId(flooder), Round(999), 0);
        for round in 1000..1000 + PARKED_BLOCKS_MAX as u64 {
            let unknown = |id: ReplicaId| bogus(id, Round(round - 1), u64::from(flooder));
            let block = of(flooder, round, own, &unknown);
            own = block.reference();
            parking.park(NOW, ReplicaId(flooder), block, &dag);
        }
    }
    assert!(parking.missing.len() <= MISSING_MAX && parking.missing.len() > MISSING_MAX - 10);
    let (late, rest) = firsts.split_last().unwrap();
    rest.iter().for_each(|block| dag.insert(block.clone()));
    let own = firsts[1].reference();
    let waiting = of(1, 2, own, &|id| firsts[id.index()].reference());
    parking.park(NOW, ReplicaId(1), waiting.clone(), &dag);
    assert!(parking.has(&waiting.reference()), "a nearer one than theirs");
    let due = parking.due(NOW.after(FETCH_PATIENCE), Round(2), NONE);
    let tips = due.values().flatten().map(|chain| chain.tip);
    assert_eq!(tips.collect::<Vec<_>>(), [late.reference()]);
    dag.insert(late.clone());
    let ready = parking.release(&late.reference(), &dag);
    assert_eq!(ready.into_iter().map(|(_, block)| block).collect::<Vec<_>>(), [waiting]);
}
