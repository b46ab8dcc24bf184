//! What intruders can make others hold and fetch is bounded.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use ravelin_crypto::Verified;
use ravelin_model::limits::{ENVELOPE_BYTES_MAX, GC_DEPTH};
use ravelin_model::{
    Action, Block, BlockRef, Chain, LogPart, Protocol as _, ReplicaId, Round, Time,
};
use ravelin_multicast::dag::CARRIED_BYTES_MAX;
use ravelin_multicast::ordering::{FETCHED_BLOCKS_MAX, REPLAYED_WAITING_MAX};
use ravelin_multicast::parking::{FETCH_PATIENCE, PARKED_BLOCKS_MAX, Parking};
use ravelin_multicast::{Dag, Event, Message};

use crate::intruder::{Bomber, Mute, Wrapped};
use crate::keys::{Fork, Keys, bogus};
use crate::network::{Cluster, Core, Disk, steady};

/// Shows trees of two colluders, and returns how many, how many blocks of them one replica fetched
/// on average for each, and how many the fullest DAG holds in the end.
fn bombed(depth: u64, skip: u64) -> (u64, u64, usize) {
    let cluster = Cluster::new(1, 7, 2, 2).network(steady(Duration::from_millis(2)));
    let counts = Rc::new(Cell::new((0, 0)));
    let colluders = [ReplicaId(6), ReplicaId(5)].map(|id| (id, cluster.keys.key(id)));
    let keyring = cluster.keys.keyring.clone();
    let bomber = Bomber::new(keyring, colluders, (depth, skip), Rc::clone(&counts));
    let mut cluster = cluster.intrude(6, Box::new(bomber)).intrude(5, Box::new(Mute)).up();
    for number in 0..40 {
        cluster.request(0, number);
        cluster.run_for(Duration::from_millis(20));
    }
    cluster.run_until_delivered(Duration::from_secs(5), 0..40);
    let (shown, served) = counts.get();
    let held = |core: &Core| {
        let rounds = (1..=core.dag().highest().0).map(Round);
        let blocks = rounds.flat_map(|round| core.dag().round(round));
        blocks.filter(|(at, _)| at.author >= ReplicaId(5)).count()
    };
    let held = cluster.correct().map(|(_, core)| held(core)).max().expect("correct replicas");
    (shown, served / shown / 5, held)
}

#[test]
fn a_prepared_tree_of_forked_blocks_is_fetched_as_far_as_its_first_contradiction() {
    for (depth, skip, fetched_max) in [(8, 1, 2), (11, 2, 16), (13, 3, 32)] {
        let (shown, fetched, held) = bombed(depth, skip);
        println!("depth {depth}, skip {skip}: {shown} trees, {fetched} fetched, {held} held");
        assert!(shown > 2, "the intruders acted");
        assert!(fetched <= fetched_max, "{fetched} blocks of each tree fetched by each replica");
        assert!(held <= 100, "{held} blocks of {shown} trees in one DAG");
    }
}

#[test]
fn blocks_of_the_far_future_displace_each_other_and_nothing_else() {
    let keys = Keys::new(4, 1, ravelin_model::FaultModel::Arbitrary);
    let group = keys.keyring.group();
    let dag = Dag::new(group, keys.keyring.genesis(), Round(0));
    let mut parking = Parking::new(group, ReplicaId(0));
    let flood = |author: u16, round: u64| {
        let parents = [author, 0, 1, 2].map(|id| bogus(ReplicaId(id), Round(round - 1), round));
        keys.block(ReplicaId(author), Round(round), parents.to_vec(), &Fork::default(), 0)
    };
    let needed = flood(1, 9);
    parking.park(Time(0), ReplicaId(1), needed.clone(), &dag);
    for round in (2..2_000).rev() {
        parking.park(Time(0), ReplicaId(3), flood(3, round), &dag);
    }
    assert!(parking.len() <= PARKED_BLOCKS_MAX + 1, "{} blocks wait", parking.len());
    assert!(parking.has(&needed.reference()), "one author's flood costs no other a block");
    assert!(parking.has(&flood(3, 2).reference()), "the nearest rounds are kept");
}

#[test]
fn a_flood_of_future_rounds_stops_nobody_and_is_soon_forgotten() {
    let cluster = Cluster::new(2, 4, 1, 2).network(steady(Duration::from_millis(2)));
    let core = Core::new(cluster.start(3, 1));
    let keys = Keys::new(4, 1, ravelin_model::FaultModel::Arbitrary);
    let mut far = 1_000;
    let flood = Box::new(move |_, message| match &message {
        Message::Block(block) if block.body.author == ReplicaId(3) => {
            let junk = (0..5).map(|_| {
                far += 1;
                let parents =
                    [3, 0, 1, 2].map(|id| bogus(ReplicaId(id), Round(far - 1), far)).to_vec();
                let block = keys.block(ReplicaId(3), Round(far), parents, &Fork::default(), far);
                Message::Block(block)
            });
            junk.chain([message]).collect()
        }
        _ => vec![message],
    });
    let flooder = Wrapped::boxed(core, ReplicaId(3), flood);
    let mut cluster = cluster.intrude(3, flooder).up();
    for number in 0..40 {
        cluster.request(0, number);
        cluster.run_for(Duration::from_millis(10));
        let parked = cluster.correct().map(|(_, core)| core.parking().len()).max();
        assert!(parked.is_some_and(|parked| parked <= 2 * PARKED_BLOCKS_MAX), "{parked:?} wait");
    }
    cluster.run_until_delivered(Duration::from_secs(5), 0..40);
}

#[test]
fn a_long_run_holds_no_more_than_the_horizon_allows() {
    let mut cluster = Cluster::new(3, 4, 1, 2).up();
    let mut number = 0;
    while cluster.core(0).round().0 < 3 * GC_DEPTH {
        cluster.request(0, number);
        number += 1;
        cluster.run_for(Duration::from_millis(5));
        let held = cluster.core(0).dag().len() as u64;
        assert!(held <= 4 * (GC_DEPTH + 8), "{held} blocks");
    }
    assert!(cluster.core(0).delivery().delivered().count() as u64 <= 4 * (GC_DEPTH + 8));
}

/// What was executed is needed by laggards only, and they can have it from the log.
#[test]
fn large_blocks_are_let_go_of_once_delivered_and_answered_from_the_log() {
    const SIZE: usize = ENVELOPE_BYTES_MAX / 2;
    let mut cluster = Cluster::new(6, 4, 1, 2).up();
    let count = (2 * CARRIED_BYTES_MAX / SIZE) as u64;
    for number in 0..count {
        cluster.request_of(0, number, SIZE);
        cluster.run_until_delivered(Duration::from_secs(5), [number]);
        let held = cluster.core(1).dag().bytes();
        assert!(held <= CARRIED_BYTES_MAX + 2 * SIZE, "{held} bytes");
    }
    let core = cluster.core(1);
    let names = core.delivery().delivered().copied();
    let (young, old): (Vec<_>, Vec<_>) = names.partition(|name| core.dag().whole(name).is_some());
    let carries = |name: &&BlockRef| {
        core.dag().whole(name).is_some_and(|block| !block.body.envelopes.is_empty())
    };
    let young = *young.iter().rfind(carries).expect("the last ones are held");
    let old = *old.first().expect("the first ones are not");
    let ask = |tip: BlockRef| Message::Fetch(vec![Chain { tip, after: tip.round.minus(1) }]);
    let out = cluster.tell(1, ReplicaId(3), ask(young));
    assert!(matches!(&out[..], [Action::Send(ReplicaId(3), Message::Block(sent))]
        if sent.reference() == young && sent.is_whole()));
    let out = cluster.tell(1, ReplicaId(3), ask(old));
    let rounds = (old.round, old.round);
    let epoch = cluster.keys.keyring.epoch();
    let wanted = LogPart::Chain { epoch, author: old.author, rounds };
    assert!(matches!(&out[..], [Action::Emit(Event::Archive { to: ReplicaId(3), part })]
        if *part == wanted));
}

/// Also after a start, when all that the log brings is delivered already.
#[test]
fn a_restart_holds_no_more_of_what_is_delivered() {
    const SIZE: usize = ENVELOPE_BYTES_MAX / 2;
    let mut cluster = Cluster::new(7, 4, 1, 2).up();
    for number in 0..(2 * CARRIED_BYTES_MAX / SIZE) as u64 {
        cluster.request_of(0, number, SIZE);
        cluster.run_until_delivered(Duration::from_secs(5), [number]);
    }
    cluster.crash(1);
    cluster.restart(1, Disk::Checkpoint);
    let held = cluster.core(1).dag().bytes();
    assert!(held <= CARRIED_BYTES_MAX + 2 * SIZE, "{held} bytes");
}

/// Blocks of 60 rounds, each after its parents, of which replica 0 has none.
fn sixty_rounds(keys: &Keys) -> Vec<Verified<Block>> {
    let mut newest = [0, 1, 2, 3].map(|id| keys.genesis(ReplicaId(id)));
    let mut replay = vec![];
    for round in (1..=60).map(Round) {
        let parents = newest;
        for author in 1..4u16 {
            let own = usize::from(author);
            let others = parents.iter().filter(|at| at.author.0 != author && at.author.0 != 0);
            let parents = std::iter::once(parents[own]).chain(others.copied()).collect();
            let block = keys.block(ReplicaId(author), round, parents, &Fork::default(), 0);
            newest[own] = block.reference();
            replay.push(block);
        }
    }
    replay
}

#[test]
fn a_replay_whose_beginning_is_missing_leaves_little_to_wait() {
    let keys = Keys::new(4, 1, ravelin_model::FaultModel::Arbitrary);
    let mut core = Core::new(Cluster::new(4, 4, 1, 2).start(0, 1));
    let replay = sixty_rounds(&keys);
    let (first, rest) = replay.split_at(3);
    let mut out = vec![];
    for _ in 0..3 {
        core.on_message(Time(0), ReplicaId(1), Message::Replayed(rest.to_vec()), &mut out);
    }
    let parked = core.parking().len();
    assert!((1..=3 * REPLAYED_WAITING_MAX).contains(&parked), "{parked} wait");
    for missing in first {
        core.on_message(Time(0), ReplicaId(1), Message::Block(missing.clone()), &mut out);
    }
    core.on_message(Time(0), ReplicaId(1), Message::Replayed(rest.to_vec()), &mut out);
    assert_eq!(core.dag().highest(), Round(60));
    assert!(core.parking().is_empty());
}

/// A replay brings what lies ahead; asking for it block by block, too, would take its place.
#[test]
fn who_is_behind_asks_for_a_replay_and_for_no_block_that_it_will_bring() {
    let keys = Keys::new(4, 1, ravelin_model::FaultModel::Arbitrary);
    let mut core = Core::new(Cluster::new(5, 4, 1, 2).start(0, 1));
    let rounds = sixty_rounds(&keys);
    let mut out = vec![];
    for newest in &rounds[rounds.len() - 6..] {
        let from = newest.body.author;
        core.on_message(Time(0), from, Message::Block(newest.clone()), &mut out);
    }
    assert!(core.is_behind());
    core.on_time(Time(900_000), &mut out);
    let is_fetch = |action: &_| matches!(action, Action::Send(_, Message::Fetch(_)));
    let is_replay = |action: &_| matches!(action, Action::Send(_, Message::Replay(_)));
    assert_eq!(out.iter().filter(|action| is_replay(action)).count(), 1);
    assert_eq!(out.iter().filter(|action| is_fetch(action)).count(), 0);
    // A block at or below what it has is in no further replay.
    let hidden = rounds[3 * 4 + 2].reference();
    let replayed = rounds.iter().filter(|block| block.reference() != hidden).take(90).cloned();
    let now = Time(900_000);
    core.on_message(now, ReplicaId(1), Message::Replayed(replayed.collect()), &mut out);
    assert_eq!(core.dag().highest(), hidden.round);
    core.on_time(now.after(FETCH_PATIENCE), &mut out);
    let asked = out.iter().any(|action| match action {
        Action::Send(_, Message::Fetch(wanted)) => {
            *wanted == [Chain { tip: hidden, after: Round(4) }]
        }
        _ => false,
    });
    assert!(asked && core.is_behind());
}

#[test]
fn who_fetches_more_often_than_it_need_is_answered_within_bounds() {
    let keys = Keys::new(4, 1, ravelin_model::FaultModel::Arbitrary);
    let mut core = Core::new(Cluster::new(5, 4, 1, 2).start(0, 1));
    let rounds = sixty_rounds(&keys);
    let mut out = vec![];
    core.on_message(Time(0), ReplicaId(1), Message::Replayed(rounds.clone()), &mut out);
    let tip = rounds.last().expect("sixty rounds").reference();
    let mut fetched = |now: Time, from: u16, times: usize| {
        out.clear();
        let wanted = vec![Chain { tip, after: Round(0) }; 5];
        for _ in 0..times {
            core.on_message(now, ReplicaId(from), Message::Fetch(wanted.clone()), &mut out);
        }
        out.iter().filter(|action| matches!(action, Action::Send(_, Message::Block(_)))).count()
    };
    assert_eq!(fetched(Time(1), 3, 512), FETCHED_BLOCKS_MAX);
    assert_eq!(fetched(Time(1), 2, 1), FETCHED_BLOCKS_MAX, "others are");
    assert_eq!(
        fetched(Time(1).after(FETCH_PATIENCE), 3, 1),
        FETCHED_BLOCKS_MAX,
        "and it is, later"
    );
}

/// What others say of a member's newest block tells nothing of which of its blocks are here.
#[test]
fn a_chain_is_asked_for_whole_after_its_newest_block_was_seen_and_a_state_fetched() {
    let keys = Keys::new(4, 1, ravelin_model::FaultModel::Arbitrary);
    let rounds = sixty_rounds(&keys);
    let mut out = vec![];
    let mut before = Core::new(Cluster::new(5, 4, 1, 2).start(0, 1));
    let last = rounds.last().expect("sixty rounds").clone();
    before.on_message(Time(0), last.body.author, Message::Block(last), &mut out);
    let mut core = Core::new(Cluster::new(5, 4, 1, 2).start(0, 2));
    let _ = core.take_over(before.into_remains(Round(0)));
    core.on_message(Time(0), ReplicaId(1), Message::Replayed(rounds[..9].to_vec()), &mut out);
    let is_wanted = |block: &&Verified<Block>| block.reference().round == Round(40);
    let waiting = rounds.iter().find(is_wanted).expect("sixty rounds").clone();
    core.on_message(Time(0), ReplicaId(2), Message::Block(waiting), &mut out);
    out.clear();
    core.on_time(Time(0).after(FETCH_PATIENCE), &mut out);
    let asked = out.iter().filter_map(|action| match action {
        Action::Send(_, Message::Fetch(wanted)) => Some(wanted.clone()),
        _ => None,
    });
    let of_d = asked.flatten().find(|chain| chain.tip.author == ReplicaId(3));
    let Chain { tip, after } = of_d.expect("it is missing");
    assert!((tip.round, after) == (Round(39), Round(3)), "{tip:?} after {after:?}");
}
