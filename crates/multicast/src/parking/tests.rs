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

/// Six full rounds; the DAG has two, and the third without `D3`.
fn six_rounds() -> (Drawing, Dag) {
    let rounds = (2..=6).map(|round| ["A", "B", "C", "D"].map(|it| format!("{it}{round}:ABCD")));
    let text = format!("A1 B1 C1 D1 {}", rounds.flatten().collect::<Vec<_>>().join(" "));
    let drawing = Drawing::new(4, 1, FaultModel::Arbitrary, &text);
    let dag = view(&drawing, &["A3", "B3", "C3"]);
    (drawing, dag)
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
fn who_makes_others_wait_is_not_waited_for_until_many_of_its_blocks_came_in_time() {
    let (drawing, dag) = six_rounds();
    let (mut parking, d) = (Parking::new(dag.group(), OWN), ReplicaId(3));
    let wait = OVERTAKEN_MAX + FETCH_PATIENCE * 3 / 5;
    parking.park(NOW, d, drawing.block("A4").clone(), &dag);
    for _ in 0..100 {
        parking.on_arrival(NOW.after(OVERTAKEN_MAX), drawing.block("D3"), &dag);
    }
    parking.on_arrival(NOW.after(wait), drawing.block("D3"), &dag);
    assert_eq!(parking.patience(d), FETCH_PATIENCE, "once");
    parking.on_arrival(NOW.after(wait), drawing.block("D3"), &dag);
    assert_eq!(parking.patience(d), Duration::ZERO, "again and again, whoever brought it");
    assert_eq!(parking.patience(ReplicaId(1)), FETCH_PATIENCE, "the others are not to blame");
    for _ in 0..100 {
        parking.on_arrival(NOW.after(wait), drawing.block("D3"), &dag);
    }
    let enough = (HELD_UP_MAX - FETCH_PATIENCE).as_micros() / HELD_UP_LESS.as_micros();
    for _ in 0..enough {
        assert_eq!(parking.patience(d), Duration::ZERO);
        parking.on_arrival(NOW, drawing.block("D6"), &dag);
        assert_eq!(parking.patience(d), Duration::ZERO, "it is of no use yet");
        parking.on_arrival(NOW, drawing.block("D2"), &dag); // nothing waits for it
    }
    assert_eq!(parking.patience(d), FETCH_PATIENCE);
}

#[test]
fn whoever_builds_on_a_block_of_one_who_withholds_is_asked_for_what_is_lacking_of_its_chain() {
    let (drawing, dag) = six_rounds();
    let (b, c, d, later) = (ReplicaId(1), ReplicaId(2), ReplicaId(3), NOW.after(FETCH_PATIENCE));
    let of_d3 = |asked: BTreeMap<ReplicaId, Vec<Chain>>| {
        let all = asked
            .into_iter()
            .flat_map(|(whom, chains)| chains.into_iter().map(move |it| (whom, it)));
        let of_d3 = all.filter(|(_, chain)| chain.tip == drawing.at("D3"));
        of_d3.map(|(whom, _)| whom).collect::<Vec<_>>()
    };
    for is_distrusted in [false, true] {
        let mut parking = Parking::new(dag.group(), OWN);
        if is_distrusted {
            parking.held_up[d.index()] = HELD_UP_MAX;
        }
        parking.park(NOW, d, drawing.block("D4").clone(), &dag);
        assert_eq!(of_d3(parking.due(later, ALL, NONE)), [d], "nobody else is known to have it");
        parking.park(later, d, drawing.block("D5").clone(), &dag);
        let mut show = |now, from, block| {
            parking.park(now, from, drawing.block(block).clone(), &dag);
            of_d3(parking.due(now, ALL, NONE))
        };
        let asked = |from| if is_distrusted { vec![from] } else { vec![] };
        assert_eq!(show(later, b, "B6"), asked(b), "by way of D5");
        assert_eq!(show(later, b, "A6"), [], "it was");
        assert_eq!(show(later, c, "C6"), [], "it may come of the other");
        assert_eq!(of_d3(parking.due(later.after(FETCH_PATIENCE), ALL, NONE)), asked(c));
    }
}

#[test]
fn what_was_asked_for_comes_with_its_chain_and_is_not_asked_for_again_at_once() {
    let (drawing, _) = six_rounds();
    let dag = view(&drawing, &["A2", "B2", "C2"]);
    let mut parking = Parking::new(dag.group(), OWN);
    parking.held_up = vec![HELD_UP_MAX; 4];
    let asked_next = |parking: &Parking, name: &str| {
        let missing = parking.missing.get(&drawing.at(name)).expect("it is missing");
        missing.next()
    };
    parking.park(NOW, ReplicaId(2), drawing.block("C5").clone(), &dag);
    assert_eq!(asked_next(&parking, "D4"), NOW, "nobody has patience");
    parking.due(NOW, ALL, NONE);
    parking.park(NOW, ReplicaId(2), drawing.block("D4").clone(), &dag);
    assert_eq!(asked_next(&parking, "D3"), NOW.after(FETCH_PATIENCE), "it is on its way");
    parking.park(NOW, ReplicaId(2), drawing.block("D3").clone(), &dag);
    assert_eq!(asked_next(&parking, "D2"), NOW.after(FETCH_PATIENCE), "it is, too");
}

#[test]
fn a_missing_block_is_asked_for_with_what_is_lacking_of_its_authors_chain() {
    let (drawing, dag) = six_rounds();
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
    parking.missing.add(NOW, names[89], another, (ReplicaId(1), Duration::ZERO));
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
            parking.missing.add(now, parent, block, (ReplicaId(1), Duration::ZERO));
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

/// A group whose honest members have blocks of `round`, and of which the others have blocks wait, in each
/// of many rounds, for parents that nobody ever made.
struct Flooded {
    keys: Keys,
    group: Group,
    dag: Dag,
    parking: Parking,
    round: u64,
    /// The last blocks of the honest, which are the first members.
    last: Vec<Verified<Block>>,
}

impl Flooded {
    fn new((size, f): (u16, u16), round: u64, flooded: std::ops::Range<u64>) -> Self {
        let keys = Keys::new(size, f, FaultModel::Arbitrary);
        let group = keys.keyring.group();
        let dag = Dag::new(group, keys.keyring.genesis(), Round(0));
        let (parking, last) = (Parking::new(group, OWN), Vec::new());
        let mut world = Self { keys, group, dag, parking, round, last };
        let honest = size - f;
        for round in 1..=round {
            world.last.iter().for_each(|block| world.dag.insert(block.clone()));
            world.last = (0..honest).map(|author| world.honest_block(author, round)).collect();
        }
        for flooder in honest..size {
            let author = ReplicaId(flooder);
            let mut own = bogus(author, Round(flooded.start - 1), 0);
            for round in flooded.clone() {
                let others = group.members().filter(|member| *member != author);
                let unknown = others.map(|id| bogus(id, Round(round - 1), u64::from(flooder)));
                let parents = std::iter::once(own).chain(unknown).collect();
                let block = world.keys.block(author, Round(round), parents, &Fork::default(), 0);
                own = block.reference();
                world.parking.park(NOW, author, block, &world.dag);
            }
        }
        world.fill();
        world
    }

    /// One flooder fills what little room there is.
    fn fill(&mut self) {
        let (author, max) = (ReplicaId(self.group.size() as u16 - 1), self.parking.missing_max());
        let sought = self.parking.missing.len();
        assert!(sought <= max && sought > max - 2 * self.group.size(), "{sought} of {max}");
        for number in sought as u64..max as u64 {
            let parents = vec![bogus(author, Round(1), number)];
            let block = self.keys.block(author, Round(2), parents, &Fork::default(), 0);
            self.parking.park(NOW, author, block, &self.dag);
        }
        assert_eq!(self.parking.missing.len(), max);
    }

    /// A block on the last ones of the honest.
    fn honest_block(&self, author: u16, round: u64) -> Verified<Block> {
        let author = ReplicaId(author);
        let before: Vec<BlockRef> = match round {
            1 => self.group.members().map(|member| self.keys.genesis(member)).collect(),
            _ => self.last.iter().map(Verified::reference).collect(),
        };
        let (own, others): (Vec<_>, Vec<_>) =
            before.into_iter().partition(|reference| reference.author == author);
        let parents = own.into_iter().chain(others).collect();
        self.keys.block(author, Round(round), parents, &Fork::default(), 0)
    }

    /// A block of the next round comes before so many of its parents, which are looked for and free it.
    fn check_that_a_block_waits_for(mut self, late: usize) {
        let (rest, late) = self.last.split_at(self.last.len() - late);
        rest.iter().for_each(|block| self.dag.insert(block.clone()));
        let waiting = self.honest_block(1, self.round + 1);
        self.parking.park(NOW, ReplicaId(1), waiting.clone(), &self.dag);
        assert!(self.parking.has(&waiting.reference()), "it waits for little");
        let due = self.parking.due(NOW.after(FETCH_PATIENCE), ALL, NONE);
        let tips: BTreeSet<BlockRef> = due.values().flatten().map(|chain| chain.tip).collect();
        let late: Vec<_> = late.to_vec();
        assert!(late.iter().all(|block| tips.contains(&block.reference())), "they are asked for");
        let mut ready = Vec::new();
        for block in late {
            assert!(ready.is_empty(), "before all are there");
            self.dag.insert(block.clone());
            ready.extend(self.parking.release(&block.reference(), &self.dag));
        }
        assert_eq!(ready.into_iter().map(|(_, block)| block).collect::<Vec<_>>(), [waiting]);
    }
}

#[test]
fn colluding_floods_of_the_far_future_keep_no_block_from_its_parents() {
    let flooded = 1000..1000 + PARKED_BLOCKS_MAX as u64;
    Flooded::new((10, 3), 1, flooded).check_that_a_block_waits_for(1);
}

#[test]
fn nor_do_floods_of_the_rounds_before() {
    Flooded::new((13, 4), 110, 2..110).check_that_a_block_waits_for(1);
}

#[test]
fn in_a_large_group_blocks_of_some_rounds_may_wait_for_all_their_parents() {
    let mut flooded = Flooded::new((100, 33), 1, 1000..1026);
    for round in 2..2 + MISSING_ROUNDS as u64 / 2 {
        let block = flooded.honest_block(1, round);
        flooded.last = (0..67).map(|author| flooded.honest_block(author, round)).collect();
        flooded.parking.park(NOW, ReplicaId(1), block, &flooded.dag);
    }
    assert_eq!(flooded.parking.of(ReplicaId(1)).count(), MISSING_ROUNDS / 2);
}
