//! One server is owned, within `f`: the others go on, agree, and say who it was.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use ravelin_model::{ReplicaId, Time};
use ravelin_multicast::Message;

use crate::intruder::{Mute, Rewrite, Twins, Wrapped, equivocate};
use crate::network::{Cluster, Core, Disk, shuffled, steady};

const INTRUDER: ReplicaId = ReplicaId(3);

/// A cluster in which a correct server's messages are rewritten as `rewrite` says.
fn rewritten(seed: u64, rewrite: impl FnOnce(&Cluster) -> Rewrite) -> Cluster {
    let cluster = Cluster::new(seed, 4, 1, 2).network(shuffled(Duration::from_millis(10)));
    let core = Core::new(cluster.start(INTRUDER.0, 1));
    let rewrite = rewrite(&cluster);
    cluster.intrude(INTRUDER.0, Wrapped::boxed(core, INTRUDER, rewrite)).up()
}

/// Hands a request to each correct member every few milliseconds, and waits for all of them.
fn work(cluster: &mut Cluster, turns: u64) {
    for turn in 0..turns {
        for id in 0..3 {
            cluster.request(id, turn * 3 + u64::from(id));
        }
        cluster.run_for(Duration::from_millis(20));
    }
    cluster.run_until_delivered(Duration::from_secs(20), 0..turns * 3);
}

#[test]
fn an_equivocator_is_exposed_and_excluded_and_stops_nobody() {
    for seed in 0..20 {
        let mut cluster = rewritten(seed, |cluster| {
            let half = (0..1 + (seed % 2) as u16).map(ReplicaId).collect();
            equivocate(cluster.keys.keyring.clone(), cluster.keys.key(INTRUDER), half)
        });
        work(&mut cluster, 20);
        assert!(cluster.checker.proven.contains(&INTRUDER), "seed {seed}");
        for (id, core) in cluster.correct() {
            let dag = core.dag();
            let newest = dag.newest(ReplicaId(id)).and_then(|newest| dag.block(&newest));
            let newest = newest.expect("an own block");
            assert_eq!(newest.body.exposed, [INTRUDER], "seed {seed}");
            assert_eq!(newest.body.parent(INTRUDER), None, "seed {seed}");
        }
    }
}

/// A proven forker and one that is down are more than `f`: nothing can be committed by the other two,
/// although their blocks are enough for a round.
fn two_left(seed: u64) -> Cluster {
    let forks = Rc::new(Cell::new(false));
    let mut cluster = rewritten(seed, |cluster| {
        let keyring = cluster.keys.keyring.clone();
        let mut fork = equivocate(keyring, cluster.keys.key(INTRUDER), vec![ReplicaId(0)]);
        let forks = Rc::clone(&forks);
        Box::new(move |to, message| match forks.get() {
            true => fork(to, message),
            false => vec![message],
        })
    });
    work(&mut cluster, 20);
    // The others learn not to wait for this one, and then lose another.
    cluster.crash(2);
    for number in 1_000..1_100 {
        cluster.request(0, number);
        cluster.run_for(Duration::from_millis(20));
    }
    forks.set(true);
    cluster
}

#[test]
fn two_that_are_left_fill_no_memory_and_go_on_when_the_third_is_back() {
    for (seed, disk) in [(0, Disk::Log), (1, Disk::Checkpoint)] {
        let mut cluster = two_left(seed);
        let before = cluster.core(0).round().0;
        for number in 2_000..2_300 {
            cluster.request(0, number);
            cluster.run_for(Duration::from_secs(2));
        }
        assert!(cluster.checker.proven.contains(&INTRUDER), "seed {seed}");
        let rounds = cluster.core(0).round().0 - before;
        assert!(rounds < 300, "seed {seed}: {rounds} rounds of which none can be decided");
        cluster.restart(2, disk);
        cluster.request(2, 3_000);
        cluster.run_until_delivered(Duration::from_secs(20), (2_000..2_300).chain([3_000]));
        work(&mut cluster, 40);
    }
}

/// Whoever restarts knows no more how long to wait.
#[test]
fn two_that_are_left_fill_no_memory_however_often_they_restart() {
    let mut cluster = two_left(0);
    let before = cluster.core(0).round().0;
    for number in 2_000..2_020 {
        for id in [0, 1] {
            cluster.crash(id);
            cluster.restart(id, Disk::Log);
        }
        cluster.request(0, number);
        cluster.run_for(Duration::from_secs(3));
    }
    let rounds = cluster.core(0).round().0 - before;
    assert!(rounds < 90, "{rounds} rounds of which none can be decided");
    cluster.restart(2, Disk::Log);
    cluster.request(2, 3_000);
    cluster.run_until_delivered(Duration::from_secs(20), [3_000]);
}

#[test]
fn two_servers_with_one_key_are_exposed() {
    for seed in 0..20 {
        let cluster = Cluster::new(seed, 4, 1, 2).network(shuffled(Duration::from_millis(10)));
        let twin = |half: Vec<u16>| {
            let mut core = Core::new(cluster.start(INTRUDER.0, half.len() as u64));
            let own_business = cluster.keys.envelope(1_000 + half.len() as u64, 8);
            core.payload_mut().0.push_back(own_business);
            let plain: Rewrite = Box::new(|_, message| vec![message]);
            (Wrapped::boxed(core, INTRUDER, plain), half.into_iter().map(ReplicaId).collect())
        };
        let twins = Twins([twin(vec![0]), twin(vec![1, 2])]);
        let mut cluster = cluster.intrude(INTRUDER.0, Box::new(twins)).up();
        work(&mut cluster, 20);
        assert!(cluster.checker.proven.contains(&INTRUDER), "seed {seed}");
    }
}

#[test]
fn an_exposed_member_stays_excluded_after_a_cold_start_long_after() {
    for disk in [Disk::Log, Disk::Checkpoint] {
        let mut cluster = rewritten(1, |cluster| {
            let half = vec![ReplicaId(0)];
            equivocate(cluster.keys.keyring.clone(), cluster.keys.key(INTRUDER), half)
        });
        cluster.set_network(steady(Duration::from_millis(1)));
        let mut number = 0;
        while cluster.core(0).round().0 < 400 {
            cluster.request(0, number);
            number += 1;
            cluster.run_for(Duration::from_millis(4));
        }
        for id in 0..3 {
            cluster.crash(id);
        }
        for id in 0..3 {
            cluster.restart(id, disk);
        }
        cluster.run_for(Duration::from_millis(500));
        for id in 0..3 {
            cluster.request(id, 10_000 + u64::from(id));
        }
        cluster.run_until_delivered(Duration::from_secs(10), 10_000..10_003);
        for (_, core) in cluster.correct() {
            assert!(core.fork_of(INTRUDER).is_some(), "the proof came back");
        }
    }
}

#[test]
fn blocks_shown_to_one_replica_only_are_fetched_by_the_others() {
    for seed in 0..10 {
        let mut cluster = rewritten(seed, |_| {
            Box::new(|to, message| match message {
                Message::Block(_) if to != ReplicaId(0) => vec![],
                message => vec![message],
            })
        });
        work(&mut cluster, 20);
        let led = cluster.checker.leaders().filter(|leader| leader.author == INTRUDER).count();
        assert!(led > 0, "seed {seed}: what was fetched counts");
    }
}

#[test]
fn blocks_whose_parents_are_withheld_wait_and_stop_nobody() {
    for answers in [true, false] {
        let withheld = Rc::new(Cell::new(0u64));
        let count = Rc::clone(&withheld);
        let mut cluster = rewritten(5, |_| {
            Box::new(move |_, message| match &message {
                Message::Block(block) if block.body.author == INTRUDER => {
                    let is_answer = count.get() > 0 && answers;
                    if block.body.round.0 % 3 == 0 && !is_answer {
                        count.set(count.get() + 1);
                        vec![]
                    } else {
                        vec![message]
                    }
                }
                _ => vec![message],
            })
        });
        work(&mut cluster, 20);
        assert!(withheld.get() > 0, "the intruder acted");
    }
}

#[test]
fn a_mute_member_is_no_single_point_of_failure_wherever_it_sits() {
    for mute in 0..4 {
        let mut cluster = Cluster::new(7, 4, 1, 1).intrude(mute, Box::new(Mute)).up();
        for turn in 0..20 {
            cluster.request((mute + 1) % 4, turn);
            cluster.run_for(Duration::from_millis(20));
        }
        cluster.run_until_delivered(Duration::from_secs(10), 0..20);
    }
}

#[test]
fn agreed_time_follows_the_correct_clocks_whatever_f_liars_say() {
    let hour = Duration::from_secs(3600);
    for liar_is_ahead in [true, false] {
        let mut cluster = Cluster::new(3, 4, 1, 2).network(shuffled(Duration::from_millis(5)));
        for id in 0..4u16 {
            let is_liar = id == INTRUDER.0;
            let jitter = Duration::from_millis(u64::from(id) * 10);
            let ahead = if is_liar == liar_is_ahead { hour } else { Duration::ZERO };
            cluster.nodes[usize::from(id)].clock_ahead = ahead + jitter;
        }
        let mut cluster = cluster.up();
        for number in 0..50 {
            cluster.request((number % 4) as u16, number);
            cluster.run_for(Duration::from_millis(20));
        }
        cluster.run_until_delivered(Duration::from_secs(5), 0..50);
        let correct = if liar_is_ahead { Duration::ZERO } else { hour };
        let fastest = cluster.now.after(correct + Duration::from_millis(20));
        let slowest = Time(cluster.now.after(correct).0 - 500_000);
        let agreed = cluster.checker.states().last().expect("commits").time;
        assert!(agreed <= fastest, "{agreed:?} passes the fastest correct clock {fastest:?}");
        assert!(agreed >= slowest, "{agreed:?} falls behind the slowest correct clock");
    }
}
