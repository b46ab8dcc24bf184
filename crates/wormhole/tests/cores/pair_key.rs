//! What two processes of different hosts may rely on about a key that their wormholes give them.

use std::collections::BTreeSet;

use crate::cluster::{Cluster, MILLI, SECOND, Weather, Wire, refusal};
use ravelin_wormhole::attestation::ReplicaId;
use ravelin_wormhole::client::Client;
use ravelin_wormhole::frame::{Entity, Refusal};

fn name(client: &Client<Wire>) -> Entity {
    client.entity().expect("it is named")
}

/// Both ask until both have a key.
fn both(cluster: &Cluster, one: &mut Client<Wire>, other: &mut Client<Wire>) -> [[u8; 32]; 2] {
    let (of_one, of_other) = (name(one), name(other));
    let (mut first, mut second) = (None, None);
    for _ in 0..200 {
        first = first.or_else(|| one.pair_key(of_other).unwrap().map(|key| *key));
        second = second.or_else(|| other.pair_key(of_one).unwrap().map(|key| *key));
        if let (Some(first), Some(second)) = (first, second) {
            return [first, second];
        }
        cluster.run(MILLI);
    }
    panic!("no key: {first:?} {second:?}");
}

#[test]
fn two_processes_get_one_new_key_each_time_whatever_is_lost() {
    let cluster = Cluster::synchronised(3, 1);
    let (mut one, mut other) = (cluster.client(0), cluster.client(2));
    cluster.weather(Weather {
        loss_permille: 300,
        twice_permille: 200,
        delay: (10_000, 2 * MILLI),
    });
    let mut keys = BTreeSet::new();
    for _ in 0..50 {
        let [first, second] = both(&cluster, &mut one, &mut other);
        assert_eq!(first, second);
        assert!(keys.insert(first), "every key is new");
        let [first, second] = both(&cluster, &mut other, &mut one);
        assert_eq!(first, second);
        assert!(keys.insert(first), "every key is new");
    }
}

#[test]
fn nobody_gets_a_key_with_one_who_does_not_ask_for_it_or_one_of_others() {
    let cluster = Cluster::synchronised(3, 2);
    let (mut one, mut other) = (cluster.client(0), cluster.client(2));
    let (mut third, mut beside) = (cluster.client(1), cluster.client_at(2, 1));
    let (of_one, of_other) = (name(&one), name(&other));
    for _ in 0..20 {
        assert!(one.pair_key(of_other).unwrap().is_none());
        for stranger in [&mut third, &mut beside] {
            assert!(refusal(stranger.pair_key(of_one)).unwrap_or(None).is_none());
        }
        cluster.run(MILLI);
    }
    let [first, second] = both(&cluster, &mut one, &mut other);
    assert_eq!(first, second);
    let others = name(&third);
    let key = both(&cluster, &mut one, &mut third);
    assert!(key[0] == key[1] && key[0] != first);
    assert!(beside.pair_key(of_one).unwrap().is_none(), "another process of the same host");
    assert!(beside.pair_key(others).unwrap().is_none());
}

#[test]
fn a_wish_for_one_process_is_not_answered_to_another_of_its_host() {
    let cluster = Cluster::synchronised(2, 5);
    let (mut one, mut beside) = (cluster.client(0), cluster.client_at(0, 1));
    let mut other = cluster.client(1);
    let (of_beside, of_other) = (name(&beside), name(&other));
    assert!(other.pair_key(of_beside).unwrap().is_none());
    cluster.run(MILLI);
    assert!(one.pair_key(of_other).unwrap().is_none());
    let [first, second] = both(&cluster, &mut beside, &mut other);
    assert_eq!(first, second);
}

#[test]
fn what_passes_is_not_the_key() {
    let cluster = Cluster::synchronised(2, 3);
    let (mut one, mut other) = (cluster.client(0), cluster.client(1));
    cluster.record();
    let [key, _] = both(&cluster, &mut one, &mut other);
    let recorded = cluster.world().recorded.clone();
    assert!(recorded.iter().any(|(_, frame)| frame[1] == 11));
    assert!(recorded.iter().all(|(_, frame)| frame.windows(32).all(|bytes| *bytes != key)));
}

#[test]
fn errors_by_name_and_places_that_come_back() {
    let cluster = Cluster::synchronised(2, 4);
    let mut one = cluster.client(1);
    let beside = name(&cluster.client_at(1, 1));
    assert_eq!(refusal(one.pair_key(beside)), Err(Refusal::Conflict));
    let stranger = Entity { replica: ReplicaId(99), local: 1 };
    assert_eq!(refusal(one.pair_key(stranger)), Err(Refusal::Conflict));
    let other = |local| Entity { replica: ReplicaId(0), local };
    let mut asked = 0;
    while refusal(one.pair_key(other(asked))).is_ok() {
        asked += 1;
    }
    assert_eq!(asked, 4);
    assert!(one.pair_key(other(0)).unwrap().is_none(), "the same again is no other");
    cluster.run(61 * SECOND);
    assert!(one.pair_key(other(9)).unwrap().is_none());
}
