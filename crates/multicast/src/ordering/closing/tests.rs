use ravelin_model::FaultModel;

use super::*;
use crate::dag::tests::keys::{Fork, Keys};

/// Carries nothing.
struct Nothing;

impl Payload for Nothing {
    fn is_waiting(&self) -> bool {
        false
    }

    fn draw(&mut self, _: usize, _: usize) -> (Vec<Envelope>, Vec<Vote>) {
        (vec![], vec![])
    }

    fn give_back(&mut self, _: &[Envelope]) {}
}

const NOW: Time = Time(5_000_000);
/// The server whose ordering it is makes no blocks; two others do, the last one seldom.
const OWN: ReplicaId = ReplicaId(3);
const SILENT: ReplicaId = ReplicaId(2);
const TALKING: [ReplicaId; 3] = [ReplicaId(0), ReplicaId(1), ReplicaId(4)];

struct World {
    keys: Keys,
    core: Ordering<Nothing>,
    last: [Option<BlockRef>; 5],
    out: Actions<Ordering<Nothing>>,
}

impl World {
    fn new() -> Self {
        let keys = Keys::new(5, 2, FaultModel::Hybrid);
        let core = Ordering::new(Start {
            keyring: keys.keyring.clone(),
            authorship: Authorship::Wormhole(None),
            own: OWN,
            leaders: 1,
            checkpoint_every: 1024,
            payload: Nothing,
            state: None,
            delivered: BTreeSet::new(),
            nonce: 1,
            views: Views::Total,
        });
        Self { keys, core, last: [None; 5], out: vec![] }
    }

    fn last_of(&self, author: ReplicaId) -> BlockRef {
        self.last[author.index()].unwrap_or_else(|| self.keys.genesis(author))
    }

    /// A block on what all that talk said last.
    fn make(
        &self,
        author: ReplicaId,
        round: Round,
        before: [Option<BlockRef>; 5],
    ) -> Verified<Block> {
        let others = TALKING.into_iter().filter(|other| *other != author);
        let of =
            |other: ReplicaId| before[other.index()].unwrap_or_else(|| self.keys.genesis(other));
        let parents = std::iter::once(self.last_of(author)).chain(others.map(of)).collect();
        self.keys.block(author, round, parents, &Fork::default(), 0)
    }

    fn hear(&mut self, block: &Verified<Block>) {
        let message = Message::Block(block.clone());
        self.core.on_message(NOW, block.body.author, message, &mut self.out);
    }

    /// A round of those that talk.
    fn talk(&mut self, round: u64) {
        let before = self.last;
        for author in TALKING {
            let block = self.make(author, Round(round), before);
            self.last[author.index()] = Some(block.reference());
            self.hear(&block);
        }
    }
}

/// A block waits for one that its author withholds, until a commit puts the horizon above that.
fn waiting(end: impl Fn(&mut Ordering<Nothing>, &mut Actions<Ordering<Nothing>>)) -> (bool, bool) {
    let mut world = World::new();
    (1..6).for_each(|round| world.talk(round));
    let withheld = world.make(SILENT, Round(6), world.last);
    let mut round = 6;
    while world.core.dag().horizon() == Round(0) {
        world.talk(round);
        round += 1;
    }
    assert!(world.core.dag().horizon() < withheld.body.round, "it is still missing");
    world.last[SILENT.index()] = Some(withheld.reference());
    let waits = world.make(SILENT, Round(round), world.last);
    world.hear(&waits);
    assert!(world.core.parking().has(&waits.reference()));
    world.core.hold();
    for _ in 0..12 {
        world.talk(round);
        round += 1;
    }
    assert!(!world.core.dag().has(&waits.reference()), "who holds decides nothing");
    end(&mut world.core, &mut world.out);
    let has_moved = world.core.dag().horizon() >= withheld.body.round;
    (has_moved, world.core.dag().has(&waits.reference()))
}

#[test]
fn nothing_enters_once_all_say_that_they_hold_the_same() {
    assert_eq!(waiting(|core, out| core.seal(NOW, out)), (true, false));
    assert_eq!(waiting(|core, out| core.go_on(NOW, out)), (true, true), "else it could");
}

#[test]
fn tips_are_what_is_here() {
    let mut world = World::new();
    for round in 1..4 {
        world.talk(round);
    }
    let unknown = world.make(SILENT, Round(3), world.last);
    world.last[SILENT.index()] = Some(unknown.reference());
    let waits = world.make(SILENT, Round(4), world.last);
    world.hear(&waits);
    let tips: Vec<_> = TALKING.into_iter().map(|author| world.last_of(author)).collect();
    assert_eq!(world.core.tips(), tips);
}
