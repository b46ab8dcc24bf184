//! Stopping anywhere and coming back: with the whole log, from a checkpoint, or with nothing left.

use std::time::Duration;

use ravelin_model::ReplicaId;
use ravelin_multicast::Standing;

use crate::intruder::{Wrapped, equivocate};
use crate::network::{Cluster, Core, Crash, Disk, shuffled, steady};

/// Keeps the members in `to` busy until member `who` has made its block of `round`.
fn busy_until(cluster: &mut Cluster, who: u16, round: u64, to: &[u16]) {
    let mut number = 1_000_000 + cluster.now.0;
    while cluster.core(who).round().0 < round {
        for id in to {
            number += 1;
            cluster.request(*id, number);
        }
        cluster.run_for(Duration::from_millis(5));
    }
}

#[test]
fn a_stop_at_any_write_neither_splits_the_order_nor_equivocates() {
    for at_persist in 1..30 {
        for is_written in [false, true] {
            let seed = at_persist as u64;
            let mut cluster = Cluster::new(seed, 4, 1, 2)
                .network(shuffled(Duration::from_millis(8)))
                .fsync(Duration::from_millis(seed % 3))
                .up();
            cluster.nodes[1].crash = Some(Crash { at_persist, is_written });
            for number in 0..12 {
                cluster.request((number % 4) as u16, number);
                cluster.run_for(Duration::from_millis(12));
                if !cluster.is_up(1) {
                    cluster.restart(1, Disk::Log);
                }
            }
            cluster.request(1, 100);
            cluster.run_until_delivered(Duration::from_secs(20), [100]);
            assert!(!cluster.nodes[1].standings.contains(&Standing::Learner), "seed {seed}");
        }
    }
}

#[test]
fn all_stop_at_once_and_all_come_back() {
    for seed in 0..60 {
        let disk = if seed % 2 == 0 { Disk::Log } else { Disk::Checkpoint };
        let mut cluster = Cluster::new(seed, 4, 1, 2)
            .network(shuffled(Duration::from_millis(8)))
            .fsync(Duration::from_millis(seed % 3))
            .up();
        for number in 0..4 {
            cluster.request(number as u16, number);
        }
        cluster.run_for(Duration::from_millis(20 + seed));
        for id in 0..4 {
            cluster.crash(id);
        }
        for id in cluster.dice.shuffle((0..4).collect()) {
            cluster.run_for(Duration::from_millis(seed % 5));
            cluster.restart(id, disk);
        }
        cluster.run_for(Duration::from_millis(300));
        for id in 0..4 {
            cluster.request(id, 100 + u64::from(id));
        }
        cluster.run_until_delivered(Duration::from_secs(5), 100..104);
    }
}

#[test]
fn all_stop_and_only_a_quorum_comes_back() {
    for seed in 0..40 {
        let mut cluster =
            Cluster::new(seed, 4, 1, 2).network(shuffled(Duration::from_millis(8))).up();
        for number in 0..4 {
            cluster.request(number as u16, number);
        }
        cluster.run_for(Duration::from_millis(15 + seed));
        for id in 0..4 {
            cluster.crash(id);
        }
        for id in (0..4).filter(|id| u64::from(*id) != seed % 4) {
            cluster.restart(id, Disk::Log);
        }
        cluster.request(((seed + 1) % 4) as u16, 100);
        cluster.run_until_delivered(Duration::from_secs(10), [100]);
    }
}

#[test]
fn a_replica_that_lost_its_log_follows_and_says_nothing() {
    for seed in 0..10 {
        let mut cluster =
            Cluster::new(seed, 4, 1, 2).network(shuffled(Duration::from_millis(5))).up();
        busy_until(&mut cluster, 1, 20, &[0, 1, 2]);
        cluster.crash(1);
        cluster.run_for(Duration::from_millis(10));
        cluster.restart(1, Disk::Wiped);
        cluster.request(1, 1);
        cluster.request(0, 2);
        cluster.run_until_delivered(Duration::from_secs(5), [2]);
        assert_eq!(cluster.core(1).standing(), Standing::Learner, "seed {seed}");
        assert!(!cluster.nodes[1].delivered.contains_key(&1), "a learner orders nothing");
    }
}

#[test]
fn a_lost_log_is_noticed_however_long_ago_its_last_block_was() {
    for restart_others in [false, true] {
        let mut cluster = Cluster::new(1, 4, 1, 2).up();
        busy_until(&mut cluster, 1, 20, &[0, 2]);
        cluster.crash(1);
        busy_until(&mut cluster, 0, 200, &[0, 2]);
        if restart_others {
            for id in [0, 2, 3] {
                cluster.crash(id);
                cluster.restart(id, Disk::Checkpoint);
                cluster.run_for(Duration::from_millis(300));
            }
        }
        cluster.restart(1, Disk::Wiped);
        cluster.run_for(Duration::from_secs(3));
        assert_eq!(cluster.core(1).standing(), Standing::Learner);
    }
}

#[test]
fn a_replica_away_for_a_thousand_rounds_replays_and_takes_part_again() {
    for disk in [Disk::Log, Disk::Checkpoint] {
        let mut cluster = Cluster::new(1, 4, 1, 2).up();
        busy_until(&mut cluster, 3, 10, &[0, 1, 2]);
        cluster.crash(3);
        busy_until(&mut cluster, 0, 1_000, &[0, 1, 2]);
        cluster.restart(3, disk);
        let before = cluster.now;
        busy_until(&mut cluster, 3, 1_001, &[0, 1, 2]);
        println!("{disk:?}: takes part again after {:?}", cluster.now.since(before));
        cluster.request(3, 1);
        cluster.run_until_delivered(Duration::from_secs(5), [1]);
        assert_eq!(cluster.core(3).standing(), Standing::Active);
    }
}

#[test]
fn a_replica_replays_what_an_equivocator_left_in_the_order() {
    for seed in 0..2 {
        let equivocator = ReplicaId(6);
        let cluster = Cluster::new(seed, 7, 2, 2).network(shuffled(Duration::from_millis(3)));
        let half = vec![ReplicaId(0), ReplicaId(1), ReplicaId(2)];
        let rewrite = equivocate(cluster.keys.keyring.clone(), cluster.keys.key(equivocator), half);
        let core = Core::new(cluster.start(6, 1));
        let mut cluster = cluster.intrude(6, Wrapped::boxed(core, equivocator, rewrite)).up();
        cluster.crash(5);
        busy_until(&mut cluster, 0, 200, &[0, 1]);
        cluster.set_network(steady(Duration::from_millis(1)));
        cluster.restart(5, Disk::Log);
        cluster.run_for(Duration::from_secs(2));
        cluster.request(5, 1);
        cluster.run_until_delivered(Duration::from_secs(10), [1]);
    }
}

#[test]
fn a_short_absence_leaves_no_gap_in_its_chain() {
    let mut cluster = Cluster::new(1, 4, 1, 2).up();
    busy_until(&mut cluster, 3, 10, &[0, 1, 2]);
    cluster.crash(3);
    busy_until(&mut cluster, 0, 60, &[0, 1, 2]);
    cluster.restart(3, Disk::Log);
    busy_until(&mut cluster, 3, 70, &[0, 1, 2]);
    cluster.run_for(Duration::from_millis(20));
    let dag = cluster.core(0).dag();
    let left_out: Vec<u64> = (1..60)
        .filter(|round| dag.of(ravelin_model::Round(*round), ReplicaId(3)).next().is_none())
        .collect();
    assert!(left_out.is_empty(), "a laggard makes the block of every round: {left_out:?}");
}

#[test]
fn a_whole_log_is_taken_back_whole_though_the_horizon_had_passed_a_parent_that_never_came() {
    let mut cluster = Cluster::new(1, 4, 1, 2).up();
    busy_until(&mut cluster, 3, 10, &[0, 1, 2]);
    // The next block of 3 is on its own disk and nowhere else, and is still the parent of the one
    // that it makes when it is back, past the others' horizon.
    let next = cluster.nodes[3].persists + 1;
    cluster.nodes[3].crash = Some(Crash { at_persist: next, is_written: true });
    busy_until(&mut cluster, 0, 400, &[0, 1, 2]);
    assert!(!cluster.is_up(3));
    cluster.restart(3, Disk::Log);
    busy_until(&mut cluster, 3, 450, &[0, 1, 2]);
    let held = cluster.core(2).dag().highest();
    cluster.crash(2);
    cluster.restart(2, Disk::Log);
    assert!(cluster.core(2).dag().highest() >= held, "{}", cluster.describe());
    cluster.request(2, 1);
    cluster.run_until_delivered(Duration::from_secs(5), [1]);
    assert_eq!(cluster.core(2).standing(), Standing::Active);
}
