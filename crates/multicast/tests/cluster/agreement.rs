//! Agreement, order and liveness under any schedule. The checker compares at every step; what these
//! tests add is that something happens.

use std::time::Duration;

use ravelin_model::limits::HEARTBEAT;
use ravelin_model::{Protocol as _, ReplicaId};

use crate::intruder::Mute;
use crate::network::{Cluster, shuffled, steady};

/// Runs of a random network: few where the compiler does not optimise, for they are fifty times
/// slower there.
const SEEDS: u64 = if cfg!(debug_assertions) { 100 } else { 500 };

#[test]
fn all_correct_replicas_deliver_the_same_sequence_under_any_schedule() {
    for seed in 0..SEEDS {
        let delays = shuffled(Duration::from_millis(1 + seed % 50));
        let mut cluster = Cluster::new(seed, 4, 1, 1 + (seed % 3) as u16)
            .network(delays)
            .fsync(Duration::from_micros(seed % 7 * 300))
            .up();
        for number in 0..4 {
            cluster.request((number % 4) as u16, number);
        }
        cluster.run_until_delivered(Duration::from_secs(20), 0..4);
    }
}

#[test]
fn a_larger_group_delivers_the_same_sequence() {
    for seed in 0..10 {
        let delays = shuffled(Duration::from_millis(20));
        let mut cluster = Cluster::new(seed, 7, 2, 2).network(delays).up();
        for number in 0..7 {
            cluster.request(number as u16, number);
        }
        cluster.run_until_delivered(Duration::from_secs(20), 0..7);
    }
}

#[test]
fn lost_messages_delay_but_do_not_stop() {
    for seed in 0..30 {
        let mut anything = shuffled(Duration::from_millis(10));
        let lossy = Box::new(
            move |dice: &mut crate::dice::Dice, hop: &crate::network::Hop<'_>| {
                if dice.chance(20) { vec![] } else { anything(dice, hop) }
            },
        );
        let mut cluster = Cluster::new(seed, 4, 1, 2).network(lossy).up();
        for number in 0..4 {
            cluster.request(number as u16, number);
        }
        cluster.run_until_delivered(Duration::from_secs(60), 0..4);
    }
}

#[test]
fn a_mute_member_costs_its_slots_only() {
    for seed in 0..20 {
        let mute = (seed % 4) as u16;
        let mut cluster = Cluster::new(seed, 4, 1, 2)
            .network(shuffled(Duration::from_millis(10)))
            .intrude(mute, Box::new(Mute))
            .up();
        for number in 0..20 {
            cluster.request(((number + u64::from(mute) + 1) % 4) as u16, number);
            cluster.request((u64::from(mute) as u16 + 1) % 4, number + 100);
            cluster.run_for(Duration::from_millis(40));
        }
        cluster.run_until_delivered(Duration::from_secs(5), 100..120);
        assert!(cluster.checker.leaders().all(|leader| leader.author != ReplicaId(mute)));
    }
}

#[test]
fn an_idle_cluster_is_quiet_and_wakes_without_a_timer() {
    let delay = Duration::from_millis(10);
    let mut was_leading = false;
    for asked in 0..4 {
        let mut cluster = Cluster::new(0, 4, 1, 2).network(steady(delay)).up();
        cluster.run_for(Duration::from_secs(20));
        let before = cluster.sent.0;
        cluster.run_for(Duration::from_secs(10));
        let a_second = (cluster.sent.0 - before) / 10;
        assert!(a_second <= 12, "{a_second} messages a second: one block each to three others");

        // A moment at which no heartbeat is near, neither the last nor the next.
        let is_between = |cluster: &Cluster| {
            let deadlines = cluster.correct().filter_map(|(_, core)| core.next_deadline());
            let next = deadlines.min().map(|next| next.since(cluster.now));
            next.is_some_and(|next| (delay * 10..HEARTBEAT - delay * 10).contains(&next))
        };
        while !is_between(&cluster) {
            cluster.run_for(delay);
        }
        let (start, timers) = (cluster.now, cluster.timers);
        let round = cluster.core(asked).round().next();
        cluster.request(asked, 1);
        let at_first =
            |cluster: &Cluster| cluster.nodes.iter().any(|node| node.delivered.contains_key(&1));
        assert!(cluster.run(Duration::from_secs(5), at_first), "{}", cluster.describe());
        let took = cluster.now.since(start);
        assert_eq!(cluster.timers, timers, "asked {asked}: a timer ran");
        // Two others must first make their blocks of the round; a leader's block then commits after
        // three more delays, anyone else's with the next round's leaders.
        let leads = (0..2).any(|index| (round.0 + index) % 4 == u64::from(asked));
        let delays = if leads { 4 } else { 5 };
        assert_eq!(took, delay * delays, "asked {asked} in {round:?}: no waiting");
        was_leading |= leads;
    }
    assert!(was_leading);
}
