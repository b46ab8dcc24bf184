//! What intruders can make others hold and fetch is bounded.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use ravelin_model::ReplicaId;

use crate::intruder::{Bomber, Mute};
use crate::network::{Cluster, steady};

#[test]
fn a_prepared_tree_of_forked_blocks_is_not_fetched() {
    let cluster = Cluster::new(1, 7, 2, 2).network(steady(Duration::from_millis(2)));
    let served = Rc::new(Cell::new(0));
    let colluders = [ReplicaId(6), ReplicaId(5)].map(|id| (id, cluster.keys.key(id)));
    let keyring = cluster.keys.keyring.clone();
    let bomber = Bomber::new(keyring, colluders, 9, Rc::clone(&served));
    let mut cluster =
        cluster.intrude(6, Box::new(bomber)).intrude(5, Box::new(Mute)).up();
    for number in 0..100 {
        cluster.request(0, number);
        cluster.run_for(Duration::from_millis(20));
        if number % 5 == 0 {
        let held: usize = cluster.correct().map(|(_, core)| (1..=core.dag().highest().0).flat_map(|r| core.dag().round(ravelin_model::Round(r))).filter(|(at, _)| at.author.0 >= 5).count()).max().unwrap();
        println!("served {} held {held} parked {:?}", served.get(), cluster.correct().map(|(_, core)| core.parking().len()).collect::<Vec<_>>());
        }
    }
}
