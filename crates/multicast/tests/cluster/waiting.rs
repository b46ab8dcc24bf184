//! Liveness depends on waiting well: for leaders, for their votes, and for longer when that fails.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use ravelin_model::ReplicaId;
use ravelin_multicast::Message;

use crate::intruder::{NeverVotes, Rewrite, Wrapped};
use crate::network::{Cluster, Core, Delays};

/// Keeps requests coming for `span`, and returns how many commits that brought.
fn commits_in(cluster: &mut Cluster, span: Duration, to: &[u16]) -> u64 {
    let (start, end) = (cluster.checker.commits(), cluster.now.after(span));
    let mut number = 1_000_000 + start * 1_000;
    while cluster.now < end {
        for id in to {
            number += 1;
            cluster.request(*id, number);
        }
        cluster.run_for(Duration::from_millis(20));
    }
    cluster.checker.commits() - start
}

/// An intruder in seat 3 that never votes, and to and from whom messages take no time.
fn never_votes(seed: u64, others: Delays) -> (Cluster, Rc<Cell<u64>>) {
    let mut others = others;
    let delays: Delays = Box::new(move |dice, hop| {
        let is_near = hop.from == ReplicaId(3) || hop.to == ReplicaId(3);
        if is_near { vec![Duration::ZERO] } else { others(dice, hop) }
    });
    let cluster = Cluster::new(seed, 4, 1, 1).network(delays);
    let own = ReplicaId(3);
    let refused = Rc::new(Cell::new(0));
    let intruder = NeverVotes::new(
        cluster.keys.keyring.clone(),
        cluster.keys.key(own),
        own,
        1,
        Rc::clone(&refused),
    );
    (cluster.intrude(3, Box::new(intruder)).up(), refused)
}

#[test]
fn one_that_never_votes_but_always_arrives_first_stops_nothing() {
    for seed in 0..3 {
        let (mut cluster, refused) = never_votes(
            seed,
            Box::new(|dice, _| vec![Duration::from_micros(5_000 + dice.below(5_000))]),
        );
        let commits = commits_in(&mut cluster, Duration::from_secs(3), &[0, 1, 2]);
        assert!(refused.get() > 10, "seed {seed}: the intruder acted {} times", refused.get());
        assert!(commits > 50, "seed {seed}: {commits} commits; {}", cluster.describe());
    }
}

#[test]
fn early_delays_do_not_switch_off_waiting_for_good() {
    // Replicas 0 and 1 are near each other, 2 is far from both, and the one that never votes is
    // near to all: short waits would leave 2 out, and with it every quorum of votes.
    let (mut cluster, refused) = never_votes(
        1,
        Box::new(|_, hop| {
            let is_far = hop.from == ReplicaId(2) || hop.to == ReplicaId(2);
            vec![Duration::from_millis(if is_far { 200 } else { 1 })]
        }),
    );
    commits_in(&mut cluster, Duration::from_secs(10), &[0, 1, 2]);
    let commits = commits_in(&mut cluster, Duration::from_secs(10), &[0, 1, 2]);
    assert!(refused.get() > 10, "the intruder acted {} times", refused.get());
    assert!(commits > 10, "{commits} commits: {}", cluster.describe());
}

#[test]
fn one_that_never_votes_stops_nothing_whoever_is_far_from_whom() {
    // With the delays of these seeds nothing was committed for good, or hardly anything, while every
    // direct commit shortened the wait, or the blocks that others handed on did not count as heard.
    for seed in [3, 51, 56, 84, 98, 201, 215, 259, 288, 292] {
        let mut dice = crate::dice::Dice::new(seed);
        let far = [1, 1, 3, 10, 40, 100].map(Duration::from_millis);
        let links: Vec<Duration> = (0..16).map(|_| far[dice.below(6) as usize]).collect();
        let described = format!("seed {seed}: {links:?}");
        let delays: Delays =
            Box::new(move |_, hop| vec![links[hop.from.index() * 4 + hop.to.index()]]);
        let (mut cluster, _) = never_votes(seed, delays);
        commits_in(&mut cluster, Duration::from_secs(2), &[0, 1, 2]);
        let commits = commits_in(&mut cluster, Duration::from_secs(3), &[0, 1, 2]);
        assert!(commits >= 6, "{commits} commits; {described}; {}", cluster.describe());
    }
}

#[test]
fn one_that_never_votes_stops_nothing_where_each_thinks_another_late() {
    // To 0, 2 is late, to 1 it is 0, to 2 it is 1: each leader is given up by somebody whose vote is
    // needed, until waits have grown.
    for late in [6, 8, 12, 18, 40] {
        let delays: Delays = Box::new(move |_, hop| {
            let is_late = (hop.to.0 + 2) % 3 == hop.from.0;
            vec![Duration::from_millis(if is_late { late } else { 1 })]
        });
        let (mut cluster, _) = never_votes(late, delays);
        commits_in(&mut cluster, Duration::from_secs(2), &[0, 1, 2]);
        let commits = commits_in(&mut cluster, Duration::from_secs(3), &[0, 1, 2]);
        assert!(commits >= 15, "{commits} commits, {late} ms late; {}", cluster.describe());
    }
}

#[test]
fn a_slow_leader_costs_its_own_slots_only() {
    let delays: Delays = Box::new(|dice, hop| {
        let slow = if hop.from == ReplicaId(2) { 60_000 } else { 4_000 };
        vec![Duration::from_micros(slow + dice.below(1_000))]
    });
    let mut cluster = Cluster::new(2, 4, 1, 2).network(delays).up();
    let commits = commits_in(&mut cluster, Duration::from_secs(3), &[0, 1, 3]);
    assert!(commits > 150, "{commits} commits");
}

#[test]
fn a_dead_leader_is_not_awaited_for_long() {
    let delays: Delays = Box::new(|dice, _| vec![Duration::from_micros(4_000 + dice.below(1_000))]);
    let mut cluster = Cluster::new(2, 4, 1, 2).network(delays).up();
    let before = commits_in(&mut cluster, Duration::from_secs(2), &[0, 1, 3]);
    cluster.crash(2);
    commits_in(&mut cluster, Duration::from_secs(1), &[0, 1, 3]);
    let after = commits_in(&mut cluster, Duration::from_secs(2), &[0, 1, 3]);
    assert!(after * 2 > before, "{before} commits with all, {after} with one dead");
}

/// So many requests are delivered everywhere, each to one server and after the one before, beside a
/// server 3 of which nothing comes before these many microseconds, each message after another time, and
/// to the first `reached` of the others only.
fn delivered_beside(late: std::ops::Range<u64>, reached: u16) -> u64 {
    let delays: Delays = Box::new(move |dice, hop| {
        let near = Duration::from_micros(1_000 + dice.below(200));
        match hop.from == ReplicaId(3) {
            true if hop.to.0 >= reached => vec![],
            true => vec![Duration::from_micros(late.start + dice.below(late.end - late.start))],
            false => vec![near],
        }
    });
    delivered_one_by_one(Cluster::new(late.end, 4, 1, 2).network(delays).up())
}

/// So many requests in a second, after one in which the servers get used to each other.
fn delivered_one_by_one(mut cluster: Cluster) -> u64 {
    commits_in(&mut cluster, Duration::from_secs(1), &[0, 1, 2]);
    let (mut delivered, end) = (0, cluster.now.after(Duration::from_secs(1)));
    while cluster.now < end {
        let to = u16::try_from(delivered % 3).expect("below 3");
        cluster.request(to, delivered);
        cluster.run_until_delivered(Duration::from_secs(10), [delivered]);
        delivered += 1;
    }
    delivered
}

#[test]
fn who_delays_everything_or_withholds_its_blocks_takes_little_from_the_others() {
    let silent = delivered_beside(0..1, 0);
    for (late, reached) in [
        (5_000..20_000, 3),
        (50_000..200_000, 3),
        (300_000..1_500_000, 3),
        (1_000..1_200, 1),
        (1_000..1_200, 2),
    ] {
        let beside = delivered_beside(late.clone(), reached);
        let told =
            format!("{late:?} us, to {reached}: {beside} requests, {silent} beside a silent one");
        assert!(beside * 20 > silent * 9, "{told}"); // half of it, and some chance
    }
}

#[test]
fn who_keeps_the_parents_of_its_blocks_is_not_awaited() {
    let near =
        || -> Delays { Box::new(|dice, _| vec![Duration::from_micros(1_000 + dice.below(200))]) };
    let silent = delivered_beside(0..1, 0);
    let cluster = Cluster::new(1, 4, 1, 2).network(near());
    let own = ReplicaId(3);
    let core = Core::new(cluster.start(own.0, 1));
    let hide: Rewrite = Box::new(move |_, message| match &message {
        Message::Block(block) if block.body.author == own && block.body.round.0 % 2 == 0 => vec![],
        _ => vec![message],
    });
    let beside = delivered_one_by_one(cluster.intrude(3, Wrapped::boxed(core, own, hide)).up());
    assert!(beside * 10 > silent * 9, "{beside} requests, {silent} beside a silent one");
}

#[test]
fn one_that_hands_out_its_blocks_late_and_not_to_all_stops_nothing() {
    // In heaps of seventy rounds and more, to the first two only: with the third they are a quorum, so
    // it must get whatever they have, also what their horizons have passed since. Afterwards it dies.
    for (pause, reached) in [(300, 2), (1_000, 2), (2_000, 1), (2_000, 2), (2_000, 3)] {
        let delays: Delays = Box::new(move |dice, hop| {
            if hop.from != ReplicaId(3) {
                return vec![Duration::from_micros(4_000 + dice.below(1_000))];
            }
            let wait = pause - hop.now.0 / 1_000 % pause;
            if hop.to.0 < reached { vec![Duration::from_millis(wait)] } else { vec![] }
        });
        let mut cluster = Cluster::new(pause, 4, 1, 2).network(delays).up();
        let alive = commits_in(&mut cluster, Duration::from_secs(5), &[0, 1, 2]);
        cluster.crash(3);
        let dead = commits_in(&mut cluster, Duration::from_secs(5), &[0, 1, 2]);
        let counted = format!("heaps every {pause} ms to {reached}: {alive}, {dead} commits");
        assert!(alive > 500 && dead > 1_000, "{counted}; {}", cluster.describe());
    }
}
