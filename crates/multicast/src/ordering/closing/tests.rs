use std::collections::BTreeMap;

use ravelin_model::FaultModel;

use super::*;
use crate::dag::tests::keys::{Fork, Keys, bogus};
use crate::ordering::testing::Nothing;
use dice::Dice;

#[allow(dead_code, reason = "each test file uses its part of it")]
#[path = "../../../tests/common/dice.rs"]
mod dice;

const NOW: Time = Time(5_000_000);
/// The server whose ordering it is makes no blocks; two others do, the last one seldom.
const OWN: ReplicaId = ReplicaId(3);
const SILENT: ReplicaId = ReplicaId(2);
const TALKING: [ReplicaId; 3] = [ReplicaId(0), ReplicaId(1), ReplicaId(4)];

/// One server's ordering, and what entered there.
struct Server {
    core: Ordering<Nothing>,
    log: Vec<Verified<Block>>,
}

impl Server {
    fn new(
        keys: &Keys,
        own: ReplicaId,
        state: Option<OrderingState>,
        delivered: BTreeSet<BlockRef>,
    ) -> Self {
        let core = Ordering::new(Start {
            keyring: keys.keyring.clone(),
            authorship: Authorship::Wormhole(None),
            own,
            leaders: 1,
            checkpoint_every: 1024,
            payload: Nothing,
            state,
            delivered,
            nonce: 1,
            views: Views::All,
        });
        Self { core, log: Vec::new() }
    }

    fn hear(&mut self, block: &Verified<Block>) {
        let mut out = Vec::new();
        let message = Message::Block(block.clone());
        self.core.on_message(NOW, block.body.author, message, &mut out);
        self.log.extend(out.into_iter().filter_map(|action| match action {
            Action::Emit(Event::Entered(block)) => Some(block),
            _ => None,
        }));
    }

    fn has(&self, block: &Verified<Block>) -> bool {
        self.core.dag().block(&block.reference()).is_some()
    }

    fn state(&self) -> &OrderingState {
        self.core.delivery().state()
    }

    /// What it would tell others that it holds.
    fn told(&self) -> Cut {
        self.core.cut()
    }

    /// The state in which it ends the epoch.
    fn sealed(mut self) -> OrderingState {
        self.core.seal(NOW, &mut Vec::new());
        self.state().clone()
    }

    /// Itself after a restart, from its state as it is now and its log.
    fn restarted(&self, keys: &Keys, own: ReplicaId, is_held: bool) -> Self {
        let delivered = self.core.delivery().delivered().copied().collect();
        let mut next = Self::new(keys, own, Some(self.state().clone()), delivered);
        if is_held {
            next.core.hold();
        }
        for block in &self.log {
            next.core.restore(block.clone());
        }
        next.core.resume(NOW, &mut Vec::new());
        next.log.clone_from(&self.log);
        next
    }
}

struct World {
    keys: Keys,
    /// The first is the one that holds.
    servers: [Server; 2],
    last: [Option<BlockRef>; 5],
    round: u64,
}

impl World {
    fn new() -> Self {
        let keys = Keys::new(5, 2, FaultModel::Hybrid);
        let servers = [(); 2].map(|()| Server::new(&keys, OWN, None, BTreeSet::new()));
        Self { keys, servers, last: [None; 5], round: 1 }
    }

    fn last_of(&self, author: ReplicaId) -> BlockRef {
        self.last[author.index()].unwrap_or_else(|| self.keys.genesis(author))
    }

    /// A block on what all that talk said last, or had said `before`.
    fn make(&self, author: ReplicaId, before: [Option<BlockRef>; 5]) -> Verified<Block> {
        let others = TALKING.into_iter().filter(|other| *other != author);
        let of =
            |other: ReplicaId| before[other.index()].unwrap_or_else(|| self.keys.genesis(other));
        let parents = std::iter::once(self.last_of(author)).chain(others.map(of)).collect();
        self.keys.block(author, Round(self.round), parents, &Fork::default(), 0)
    }

    fn hear(&mut self, block: &Verified<Block>) {
        self.servers.iter_mut().for_each(|server| server.hear(block));
    }

    /// A round of those that talk.
    fn talk(&mut self) {
        let before = self.last;
        for author in TALKING {
            let block = self.make(author, before);
            self.last[author.index()] = Some(block.reference());
            self.hear(&block);
        }
        self.round += 1;
    }

    /// Until one server's horizon will soon have passed a block that its author shows to nobody, and
    /// another block of that author waits for this: the name of the first, and the second.
    fn until_one_waits() -> (Self, BlockRef, Verified<Block>) {
        let mut world = Self::new();
        (1..6).for_each(|_| world.talk());
        let withheld = world.make(SILENT, world.last).reference();
        while world.servers[0].core.dag().horizon() == Round(0) {
            world.talk();
        }
        assert!(world.servers[0].core.dag().horizon() < withheld.round, "it is still missing");
        world.last[SILENT.index()] = Some(withheld);
        let waits = world.make(SILENT, world.last);
        world.hear(&waits);
        assert!(world.servers.iter().all(|it| it.core.parking().has(&waits.reference())));
        (world, withheld, waits)
    }
}

#[test]
fn who_holds_takes_in_what_it_would_if_it_decided_and_decides_nothing() {
    let (mut world, withheld, waits) = World::until_one_waits();
    world.servers[0].core.hold();
    let before = world.servers[0].state().clone();
    (0..12).for_each(|_| world.talk());
    let [held, open] = world.servers;
    assert!(open.core.dag().horizon() >= withheld.round && open.has(&waits));
    assert!(held.has(&waits), "it is a tip elsewhere");
    assert_eq!(held.told(), open.told());
    assert_eq!(*held.state(), before, "who holds decides nothing");
    assert_eq!(held.sealed(), open.sealed());
}

#[test]
fn what_entered_by_a_foreseen_horizon_enters_and_decides_nothing_after_a_restart() {
    let (mut world, _, waits) = World::until_one_waits();
    world.servers[0].core.hold();
    (0..12).for_each(|_| world.talk());
    let [held, open] = &world.servers;
    let again = held.restarted(&world.keys, OWN, true);
    assert!(again.has(&waits));
    assert_eq!((again.told(), again.state()), (held.told(), held.state()));
    let careless = held.restarted(&world.keys, OWN, false);
    assert_ne!(careless.state(), held.state(), "it would decide beyond what it told");
    assert_eq!(again.sealed(), open.restarted(&world.keys, OWN, false).sealed());
}

#[test]
fn nothing_enters_once_all_say_that_they_hold_the_same() {
    let (mut world, withheld, waits) = World::until_one_waits();
    for server in &mut world.servers {
        // As if it foresaw nothing of the rounds to come.
        let next = Slot { round: Round(1_000), index: 0 };
        server.core.closing = Closing::Held(Foreseen { next, leader_round: Round(0) });
    }
    (0..12).for_each(|_| world.talk());
    let [sealed, goes_on] = &mut world.servers;
    assert!(!sealed.has(&waits) && !goes_on.has(&waits));
    sealed.core.seal(NOW, &mut Vec::new());
    goes_on.core.go_on(NOW, &mut Vec::new());
    assert!(sealed.core.dag().horizon() >= withheld.round);
    assert_eq!([sealed.has(&waits), goes_on.has(&waits)], [false, true], "else it could");
}

#[test]
fn tips_are_what_is_here() {
    let mut world = World::new();
    (1..4).for_each(|_| world.talk());
    let unknown = world.make(SILENT, world.last);
    world.last[SILENT.index()] = Some(unknown.reference());
    world.round += 1;
    let waits = world.make(SILENT, world.last);
    world.hear(&waits);
    let tips: Vec<_> = TALKING.into_iter().map(|author| world.last_of(author)).collect();
    assert_eq!(world.servers[0].core.cut().tips, tips);
}

/// Blocks of a server that is not linked by the others of five: sometimes it pauses, keeps a block to
/// itself for good, or names one that nobody has, of a server that is away and of a round that horizons
/// pass about now.
fn drawn(keys: &Keys, dice: &mut Dice, rounds: u64) -> Vec<Verified<Block>> {
    const STEADY: [ReplicaId; 3] = [ReplicaId(0), ReplicaId(1), ReplicaId(3)];
    const AWAY: ReplicaId = ReplicaId(2);
    const BAD: ReplicaId = ReplicaId(4);
    let mut last: BTreeMap<ReplicaId, BlockRef> = BTreeMap::new();
    let mut shown = Vec::new();
    for round in (1..=rounds).map(Round) {
        let before = last.clone();
        let of = |author| before.get(&author).copied().unwrap_or_else(|| keys.genesis(author));
        let mut make = |author: ReplicaId, named: Option<BlockRef>| {
            let others = STEADY.into_iter().filter(|it| *it != author).map(of);
            let mut others: Vec<BlockRef> = others.chain(named).collect();
            others.sort_by_key(|parent| parent.author);
            let parents = std::iter::once(of(author)).chain(others).collect();
            let block = keys.block(author, round, parents, &Fork::default(), 0);
            last.insert(author, block.reference());
            block
        };
        shown.extend(STEADY.map(|author| make(author, None)));
        if dice.chance(70) {
            let old = Round((round.0 + dice.below(10)).saturating_sub(136));
            let named = (old > Round(0) && dice.chance(30)).then(|| bogus(AWAY, old, round.0));
            let block = make(BAD, named);
            let is_withheld = round < Round(40) && dice.chance(3);
            shown.extend((!is_withheld).then_some(block));
        }
    }
    shown
}

#[test]
fn whoever_holds_from_whatever_moment_on_ends_where_all_others_do() {
    let keys = Keys::new(5, 2, FaultModel::Hybrid);
    let own = ReplicaId(2);
    let mut late = 0;
    for seed in 0..30 {
        let dice = &mut Dice::new(seed);
        let mut blocks = drawn(&keys, dice, 180);
        let tail = blocks.split_off(blocks.len() - 160);
        let at = blocks.len() as u64 + dice.below(tail.len() as u64);
        blocks.extend(dice.shuffle(tail));
        let mut open = Server::new(&keys, own, None, BTreeSet::new());
        let mut held = Server::new(&keys, own, None, BTreeSet::new());
        for (index, block) in (0..).zip(&blocks) {
            open.hear(block);
            held.hear(block);
            if index == at {
                held.core.hold();
            } else if index > at && dice.chance(3) {
                held = held.restarted(&keys, own, true);
            }
        }
        // What waited when it stopped, or was refused as long as it could be judged, is asked for again.
        blocks.sort_by_key(Verified::reference);
        for server in [&mut open, &mut held] {
            (0..2).for_each(|_| blocks.iter().for_each(|block| server.hear(block)));
        }
        assert_eq!(held.told(), open.told(), "seed {seed}");
        late += u64::from(held.state().horizon() < open.state().horizon());
        assert_eq!(held.sealed(), open.sealed(), "seed {seed}");
    }
    assert!(late > 20, "{late}");
}

/// One held with what was there at some moment, and has heard more since; another one has less of that.
#[test]
fn whoever_ends_with_a_part_of_what_it_holds_ends_where_those_do_who_hold_no_more() {
    let keys = Keys::new(5, 2, FaultModel::Hybrid);
    let (mut more, mut refused) = (0, 0);
    for seed in 0..40 {
        let dice = &mut Dice::new(seed);
        let blocks = drawn(&keys, dice, 170);
        let [first, last] = [(); 2].map(|()| blocks.len() as u64 - 1 - dice.below(60));
        let server = || Server::new(&keys, ReplicaId(2), None, BTreeSet::new());
        let [mut held, mut less] = [server(), server()];
        let mut decided = held.told();
        for (index, block) in (0..).zip(&blocks) {
            if index == first {
                held.core.hold();
                decided = held.told();
            }
            held.hear(block);
            if index < last {
                less.hear(block);
            }
        }
        let part = less.told();
        let is_less = last < first && !part.is_as(&decided);
        assert_eq!(held.core.may_seal_at(&part, &decided), !is_less, "seed {seed}: {first} {last}");
        if is_less {
            refused += 1;
            continue;
        }
        for up in 1..4 {
            let mut made_up = Cut { horizon: Round(part.horizon.0 + up), ..part.clone() };
            made_up.tips.retain(|tip| tip.round > made_up.horizon);
            assert!(!held.core.may_seal_at(&made_up, &decided), "seed {seed}: {made_up:?}");
        }
        more += usize::from(!held.told().is_as(&part));
        held.core.seal_at(&part, NOW, &mut Vec::new());
        assert_eq!(held.state(), less.state(), "seed {seed}");
        assert!(held.told().is_as(&part), "seed {seed}");
        assert_eq!(held.core.dag().highest(), less.core.dag().highest(), "seed {seed}");
    }
    assert!(more > 10 && refused > 10, "{more} {refused}");
}
