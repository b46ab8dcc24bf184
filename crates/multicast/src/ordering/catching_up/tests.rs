use ravelin_model::FaultModel;

use super::*;
use crate::dag::tests::keys::{Fork, Keys};
use crate::ordering::testing::Nothing;
use crate::parking::PARKED_BLOCKS_MAX;

const OWN: ReplicaId = ReplicaId(0);
/// Sends its blocks to the other one alone.
const WITHHOLDER: ReplicaId = ReplicaId(1);
const OTHER: ReplicaId = ReplicaId(2);

/// The server that is left behind by two others, and their blocks, by round.
struct World {
    core: Ordering<Nothing>,
    blocks: Vec<[Verified<Block>; 2]>,
    now: Time,
}

fn beginning(keys: &Keys) -> Ordering<Nothing> {
    Ordering::new(Start {
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
    })
}

impl World {
    fn new(rounds: u64) -> Self {
        let keys = Keys::new(3, 1, FaultModel::Hybrid);
        let core = beginning(&keys);
        let mut last = [WITHHOLDER, OTHER].map(|author| keys.genesis(author));
        let mut blocks = Vec::new();
        for round in (1..=rounds).map(Round) {
            let make = |author, own, other| {
                keys.block(author, round, vec![own, other], &Fork::default(), 0)
            };
            let of = [make(WITHHOLDER, last[0], last[1]), make(OTHER, last[1], last[0])];
            last = [of[0].reference(), of[1].reference()];
            blocks.push(of);
        }
        Self { core, blocks, now: Time(5_000_000) }
    }

    /// What it does once the other one's block of `round` has come, and a while has passed.
    fn hear_other(&mut self, round: usize) -> Actions<Ordering<Nothing>> {
        let mut out = Vec::new();
        let block = self.blocks[round - 1][1].clone();
        self.core.on_message(self.now, OTHER, Message::Block(block), &mut out);
        self.now = self.now.after(FETCH_PATIENCE);
        self.core.on_time(self.now, &mut out);
        out
    }

    /// Answers what the other one is asked for by name.
    fn answer(&mut self, asked: &[Action<Message, Event>]) -> Actions<Ordering<Nothing>> {
        let chains = asked.iter().filter_map(|action| match action {
            Action::Send(OTHER, Message::Fetch(chains)) => Some(chains),
            _ => None,
        });
        let names: Vec<BlockRef> = chains.flatten().map(|chain| chain.tip).collect();
        let all = self.blocks.iter().flatten();
        let found: Vec<_> = all.filter(|it| names.contains(&it.reference())).cloned().collect();
        let mut out = Vec::new();
        for block in found {
            self.core.on_message(self.now, OTHER, Message::Block(block), &mut out);
        }
        out
    }
}

fn is_replay(action: &Action<Message, Event>) -> bool {
    matches!(action, Action::Send(_, Message::Replay(_)))
}

#[test]
fn who_hears_one_correct_member_alone_learns_how_far_a_quorum_is() {
    let mut world = World::new(40);
    let asked = world.hear_other(40);
    assert!(!world.core.is_behind(), "one member may say what it likes");
    assert!(!asked.iter().any(is_replay));
    let answered = world.answer(&asked);
    assert_eq!(world.core.lag(), 39, "the withholder made a block of the round before");
    assert!(answered.iter().any(is_replay));
}

/// Who brought nothing is not asked first again by the ordering that goes on from a fetched state.
#[test]
fn the_next_ordering_knows_who_brought_little() {
    let mut world = World::new(40);
    let asked = world.hear_other(40);
    let answered = world.answer(&asked);
    let whom = |actions: &[Action<Message, Event>]| {
        let replays = actions.iter().filter(|action| is_replay(action));
        replays
            .map(|action| match action {
                Action::Send(to, _) => *to,
                _ => unreachable!(),
            })
            .next_back()
    };
    let first = whom(&answered).expect("it is behind");
    let mut out = Vec::new();
    world.now = world.now.after(std::time::Duration::from_secs(1));
    world.core.on_time(world.now, &mut out);
    let second = whom(&out).expect("another is asked");
    assert_ne!(second, first);
    let ended = std::mem::replace(&mut world.core, beginning(&Keys::new(3, 1, FaultModel::Hybrid)));
    world.core.take_over_sources(&ended);
    let asked = world.hear_other(40);
    let answered = world.answer(&asked);
    assert_eq!(whom(&answered), Some(second));
}

#[test]
fn a_block_that_is_too_far_ahead_to_be_kept_shows_who_is_there() {
    let most = PARKED_BLOCKS_MAX;
    let mut world = World::new(most as u64 + 40);
    // What those build on never comes: when it was asked for, nobody answered, and now no log has it.
    (2..most + 2).for_each(|round| drop(world.hear_other(round)));
    assert_eq!(world.core.parking().of(OTHER).count(), most);
    assert!(!world.core.is_behind());
    let asked = world.hear_other(most + 40);
    let answered = world.answer(&asked);
    assert_eq!(world.core.lag(), most as u64 + 39);
    assert!(answered.iter().any(is_replay));
    let wanted =
        |action: &Action<Message, Event>| matches!(action, Action::Send(_, Message::Fetch(_)));
    assert!(!world.hear_other(most + 39).iter().any(wanted), "it knows");
}
