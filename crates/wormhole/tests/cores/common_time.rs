//! What the wormholes of a cluster promise about their common time: at every moment one instant lies in
//! all synchronised intervals, and it goes on at the speed of a clock.

use std::collections::BTreeSet;

use crate::cluster::{self, Chance, Cluster, MILLI, SECOND, Weather, Wire};
use ravelin_wormhole::client::Client;
use ravelin_wormhole::core::{Engine, Nanos};

/// Clocks are that much wrong at most, in millionths.
const DRIFT_MAX: u64 = 1_000;

/// The times that could be the common one, given all intervals so far: it runs at some clock's speed.
struct Possible {
    at: u64,
    times: Option<(u64, u64)>,
    /// The end of the latest interval so far: a time that is founded anew is after it.
    latest: u64,
    checked: u64,
}

impl Possible {
    fn new(at: u64) -> Self {
        Self { at, times: None, latest: 0, checked: 0 }
    }

    fn check(&mut self, now: u64, intervals: &[(u64, u64)], seed: u64) {
        let span = now - self.at;
        let (slow, fast) = (span - span / 999, span + span / 999 + 1);
        self.at = now;
        self.times = self.times.map(|(earliest, latest)| (earliest + slow, latest + fast));
        if intervals.iter().all(|(earliest, _)| *earliest > self.latest) {
            self.times = None; // it may be a new one
        }
        for (earliest, latest) in intervals {
            let (least, most) = self.times.unwrap_or((*earliest, *latest));
            let cut = (least.max(*earliest), most.min(*latest));
            assert!(cut.0 <= cut.1, "seed {seed} at {now}: {intervals:?} against {least}..{most}");
            self.times = Some(cut);
            self.latest = self.latest.max(*latest);
            self.checked += 1;
        }
    }
}

/// A client at each host, one a life.
struct Watch {
    cluster: Cluster,
    clients: Vec<Option<(u64, Client<Wire>)>>,
}

impl Watch {
    fn new(cluster: &Cluster) -> Self {
        let clients = cluster.world().nodes.iter().map(|_| None).collect();
        Self { cluster: cluster.clone(), clients }
    }

    /// The intervals that are synchronised now.
    fn intervals(&mut self) -> Vec<(u64, u64)> {
        let mut intervals = Vec::new();
        for (node, client) in self.clients.iter_mut().enumerate() {
            let (life, is_up) = {
                let one = &self.cluster.world().nodes[node];
                (one.lives, one.core.is_some())
            };
            if !is_up {
                continue;
            }
            if client.as_ref().is_none_or(|(of, _)| *of != life) {
                *client = Some((life, self.cluster.client_at(node, 1)));
            }
            let time = client.as_mut().unwrap().1.timestamp().unwrap();
            intervals.extend(time.synchronised.then_some((time.earliest.0, time.latest.0)));
        }
        intervals
    }
}

#[test]
fn calm_cluster_agrees_on_the_time_within_little() {
    let cluster = Cluster::new(4, 1);
    let mut watch = Watch::new(&cluster);
    for (node, drift) in [(0, 1_000), (1, -1_000), (2, 0), (3, 500)] {
        cluster.world().nodes[node].drift = drift;
    }
    cluster.run(SECOND);
    assert_eq!(watch.intervals(), [], "nobody can know yet that no time is led");
    cluster.run(3 * SECOND);
    let mut possible = Possible::new(cluster.world().now);
    for _ in 0..600 {
        cluster.run(97 * MILLI);
        let all = watch.intervals();
        assert_eq!(all.len(), 4, "all are synchronised");
        possible.check(cluster.world().now, &all, 1);
        for (earliest, latest) in all {
            assert!(latest - earliest < 2 * MILLI, "{} ns wide", latest - earliest);
        }
    }
}

#[test]
fn time_goes_on_when_its_leader_stops_and_never_back() {
    let cluster = Cluster::new(4, 2);
    let mut watch = Watch::new(&cluster);
    cluster.run(4 * SECOND);
    let mut latest = 0;
    for round in 0..12 {
        let node = round % 4;
        cluster.stop(node);
        cluster.run(3 * SECOND);
        let all = watch.intervals();
        assert_eq!(all.len(), 3, "round {round}: a majority keeps the time");
        assert!(all.iter().all(|(_, end)| *end > latest));
        latest = all.iter().map(|(start, _)| *start).max().unwrap();
        cluster.start(node);
        cluster.run(3 * SECOND);
        assert_eq!(watch.intervals().len(), 4);
    }
}

#[test]
fn who_hears_nobody_says_so_soon() {
    let cluster = Cluster::new(4, 3);
    let mut watch = Watch::new(&cluster);
    cluster.run(4 * SECOND);
    cluster.isolate(&[0]);
    cluster.run(3 * SECOND);
    let mut alone = cluster.client(0);
    assert!(!alone.timestamp().unwrap().synchronised);
    assert_eq!(watch.intervals().len(), 3);
    cluster.heal();
    cluster.run(SECOND);
    assert!(alone.timestamp().unwrap().synchronised);
}

#[test]
fn two_who_hear_only_each_other_do_not_keep_each_other_young() {
    let cluster = Cluster::new(5, 6);
    let mut watch = Watch::new(&cluster);
    cluster.run(4 * SECOND);
    assert_eq!(watch.intervals().len(), 5);
    cluster.isolate(&[3, 4]);
    (0..3).for_each(|node| cluster.start(node));
    cluster.run(1_700 * MILLI);
    assert_eq!(watch.intervals(), []);
}

/// Two that do not hear each other, and a third that hears both: one of them leads.
#[test]
fn a_lease_is_granted_to_one_at_a_time() {
    let cluster = Cluster::new(3, 7);
    let mut watch = Watch::new(&cluster);
    for (node, drift) in [(0, 1_000), (1, -1_000)] {
        cluster.world().nodes[node].drift = drift;
    }
    cluster.run(4 * SECOND);
    cluster.world().cuts.extend([(0, 1), (1, 0)]);
    let mut possible = Possible::new(cluster.world().now);
    for _ in 0..1_000 {
        cluster.run(23 * MILLI);
        let all = watch.intervals();
        assert_eq!(all.len(), 3);
        possible.check(cluster.world().now, &all, 7);
    }
}

/// Only its readings get lost: it leads on, and nobody hears the times that it hands out.
#[test]
fn a_new_time_is_after_what_only_the_leader_handed_out() {
    let cluster = Cluster::new(3, 8);
    let mut watch = Watch::new(&cluster);
    cluster.run(4 * SECOND);
    let reading = 3;
    cluster.world().muted.push((0, reading));
    cluster.run(30 * SECOND);
    let old = watch.intervals();
    assert_eq!(old.len(), 1, "the first leads, and the others know no time: {old:?}");
    cluster.isolate(&[0]);
    let (mut latest, mut first) = (old[0].1, cluster.client_at(0, 2));
    let new = (0..1_000).find_map(|_| {
        cluster.run(10 * MILLI); // it hands out times for two seconds that nobody can hear of
        let now = watch.intervals();
        let is_alone = first.timestamp().unwrap().synchronised;
        latest = latest.max(now.first().filter(|_| is_alone).map_or(0, |(_, end)| *end));
        (!is_alone && !now.is_empty()).then_some(now)
    });
    assert!(latest > old[0].1 + SECOND);
    let new = new.expect("the others found a new one");
    assert!(new.iter().all(|(start, _)| *start > latest), "{new:?} after {latest}");
}

/// The second granted the lease and forgot it; the third was away all the time.
#[test]
fn who_forgot_a_lease_founds_no_time_before_it_knows_more() {
    let cluster = Cluster::new(3, 9);
    let mut watch = Watch::new(&cluster);
    cluster.run(4 * SECOND);
    cluster.isolate(&[2]);
    cluster.run(60 * SECOND);
    let old = watch.intervals().iter().map(|(_, end)| *end).max().unwrap();
    cluster.heal();
    cluster.isolate(&[0]);
    cluster.start(1);
    cluster.run(8 * SECOND);
    let alone = watch.intervals();
    assert!(alone.iter().all(|(start, _)| *start > old), "{alone:?} after {old}");
    cluster.heal();
    cluster.run(8 * SECOND);
    let new = watch.intervals();
    assert_eq!(new.len(), 3);
    assert!(new.iter().all(|(start, _)| *start > old), "{new:?} after {old}");
}

/// Nobody may know any more what was handed out last, so no time is founded that could be before that.
#[test]
fn where_most_forgot_at_once_all_begin_anew() {
    let cluster = Cluster::new(3, 4);
    let mut watch = Watch::new(&cluster);
    cluster.run(60 * SECOND);
    cluster.start(1);
    cluster.start(2);
    cluster.isolate(&[0]);
    cluster.run(6 * SECOND);
    assert_eq!(watch.intervals(), []);
    cluster.heal();
    cluster.run(10 * SECOND);
    assert_eq!(watch.intervals(), [], "one of three knows, and that is not enough");
    cluster.start(0);
    cluster.run(6 * SECOND);
    assert_eq!(watch.intervals().len(), 3);
}

#[test]
fn one_who_knows_the_time_tells_all_who_forgot_it() {
    let cluster = Cluster::new(3, 5);
    let mut watch = Watch::new(&cluster);
    cluster.run(60 * SECOND);
    let old = watch.intervals().iter().map(|(start, _)| *start).max().unwrap();
    cluster.start(0);
    cluster.start(1);
    cluster.isolate(&[2]);
    cluster.run(SECOND);
    cluster.heal();
    cluster.run(5 * SECOND);
    let all = watch.intervals();
    assert_eq!(all.len(), 3);
    assert!(all.iter().all(|(_, end)| *end > old), "{all:?} after {old}");
}

/// Drifts, delays, losses, cuts, restarts: one time at most, and a new one is later than all before. That
/// all forget before any has learned from others is left out: then the time begins anew.
fn run_wild(seed: u64) -> u64 {
    let mut chance = Chance::new(seed);
    let count = 3 + usize::try_from(chance.below(3)).unwrap();
    let cluster = Cluster::new(count, seed);
    let mut watch = Watch::new(&cluster);
    for node in &mut cluster.world().nodes {
        node.drift = i64::try_from(chance.below(2 * DRIFT_MAX + 1)).unwrap()
            - i64::try_from(DRIFT_MAX).unwrap();
    }
    cluster.run(4 * SECOND);
    let mut possible = Possible::new(cluster.world().now);
    cluster.weather(Weather {
        loss_permille: chance.below(300),
        twice_permille: chance.below(200),
        delay: (10_000, 50_000 + chance.below(400 * MILLI)),
    });
    let mut forgot = BTreeSet::new();
    for _ in 0..150 {
        match chance.below(12) {
            0 => cluster.isolate(&[(); 2].map(|()| cluster::drawn(count, &mut chance))),
            1 | 2 => cluster.heal(),
            3 => {
                let node = cluster::drawn(count, &mut chance);
                if forgot.len() + 1 < count {
                    forgot.insert(node);
                    cluster.start(node);
                }
            }
            4 => cluster.world().muted.push((usize::from(chance.is(500)), 3)),
            5 | 6 => cluster.world().muted.clear(),
            _ => {}
        }
        cluster.run(chance.below(300 * MILLI));
        let now = cluster.world().now;
        let all = watch.intervals();
        if all.len() == count {
            forgot.clear();
        }
        possible.check(now, &all, seed);
    }
    possible.checked
}

#[test]
fn one_instant_lies_in_all_intervals_whatever_happens() {
    let seeds = std::env::var("RAVELIN_SEEDS").ok().and_then(|seeds| seeds.parse().ok());
    let seeds = seeds.unwrap_or(40);
    let checked: u64 = (0..seeds).map(run_wild).sum();
    println!("{checked} intervals checked in {seeds} runs");
    assert!(checked > seeds * 100, "too little was synchronised: {checked}");
}

/// Hosts are started one after the other: none is needed to be there first.
#[test]
fn a_first_start_may_take_long() {
    for engine in [Engine::Quorum, Engine::RealTime { bound: Nanos(5 * MILLI) }] {
        for between in [300 * MILLI, SECOND, 7 * SECOND] {
            let cluster = Cluster::of(4, engine, 10);
            (1..4).for_each(|node| cluster.stop(node));
            for node in 1..4 {
                cluster.run(between);
                cluster.start(node);
            }
            cluster.run(6 * SECOND);
            let mut watch = Watch::new(&cluster);
            assert_eq!(watch.intervals().len(), 4, "{engine:?} {between}");
        }
    }
}

/// However rough a cluster's first seconds are: once all run and hear each other, all know the time.
#[test]
fn who_is_up_and_heard_knows_the_time() {
    let seeds = std::env::var("RAVELIN_SEEDS").ok().and_then(|seeds| seeds.parse().ok());
    let mut stuck = Vec::new();
    for seed in 0..seeds.unwrap_or(40) {
        let mut chance = Chance::new(seed);
        let count = 2 + usize::try_from(chance.below(3)).unwrap();
        let cluster = Cluster::new(count, seed);
        cluster.weather(Weather {
            loss_permille: chance.below(600),
            twice_permille: chance.below(200),
            delay: (10_000, 50_000 + chance.below(1_500 * MILLI)),
        });
        for _ in 0..chance.below(20) {
            let node = cluster::drawn(count, &mut chance);
            match chance.below(4) {
                0 => cluster.freeze(node),
                1 => cluster.thaw(node),
                _ => {}
            }
            cluster.run(chance.below(700 * MILLI));
        }
        (0..count).for_each(|node| cluster.thaw(node));
        cluster.weather(Weather::CALM);
        cluster.run(15 * SECOND);
        let mut watch = Watch::new(&cluster);
        if watch.intervals().len() < count {
            stuck.push(seed);
        }
    }
    assert_eq!(stuck, [] as [u64; 0], "they never find a time");
}
