use std::os::unix::fs::MetadataExt as _;

use super::*;
use crate::files::tests::Scratch;
use crate::seat::Seat;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it is there").mode() & 0o777
}

#[test]
fn every_server_of_a_new_cluster_could_start() {
    let scratch = Scratch::new();
    let cluster = LocalCluster::create(&scratch.path("c"), 4, FaultModel::Arbitrary).expect("made");
    assert_eq!((cluster.group.size(), cluster.group.faults()), (4, 1));
    assert_eq!(cluster.plan.plan.purpose, Purpose::Local);
    for server in &cluster.servers {
        let seat = Seat::inspect(&server.config).seat().expect("it could start");
        assert_eq!((seat.replica, seat.cluster), (server.id, cluster.id));
        assert!(!server.config.identity.starts_with(&server.dir), "identities live elsewhere");
    }
    let client = ClientFile::read(&cluster.client_file()).expect("a client file");
    assert_eq!(client.plan().expect("its plan"), cluster.plan);
    assert_eq!(client.key, Some(cluster.client_key()));
    let key = KeyFile::read(&cluster.client_key()).expect("a key");
    assert_eq!(cluster.plan.plan.clients[0].key, key.public());
    let key = KeyFile::read(&cluster.dir.join("keys/administrator.key")).expect("a key");
    assert_eq!(cluster.plan.plan.administrators, [key.public()]);
}

#[test]
fn others_can_read_no_secret() {
    let scratch = Scratch::new();
    let cluster = LocalCluster::create(&scratch.path("c"), 4, FaultModel::Arbitrary).expect("made");
    for dir in ["", "keys", "identities", "servers", "servers/3", "servers/3/data"] {
        assert_eq!(mode(&cluster.dir.join(dir)), 0o700, "{dir}");
    }
    for file in ["keys/client.key", "keys/administrator.key", "identities/0.toml"] {
        assert_eq!(mode(&cluster.dir.join(file)), 0o600, "{file}");
    }
}

#[test]
fn a_cluster_can_be_moved() {
    let scratch = Scratch::new();
    let cluster = LocalCluster::create(&scratch.path("c"), 4, FaultModel::Arbitrary).expect("made");
    fs::rename(scratch.path("c"), scratch.path("moved")).expect("moved");
    let moved = LocalCluster::open(&scratch.path("moved")).expect("opened");
    assert_eq!(moved.id, cluster.id);
    assert!(Seat::inspect(&moved.servers[2].config).seat().is_ok());
}

#[test]
fn ports_are_distinct_and_out_of_the_way_of_outgoing_connections() {
    let scratch = Scratch::new();
    let cluster = LocalCluster::create(&scratch.path("c"), 7, FaultModel::Arbitrary).expect("made");
    let addresses = cluster.servers.iter().flat_map(|server| server.config.listeners());
    let mut ports: Vec<u16> = addresses.map(|(_, address)| address.port()).collect();
    assert!(ports.iter().all(|port| PORTS.contains(port)));
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 21);
}

#[test]
fn a_server_can_be_reached_elsewhere_than_where_it_listens() {
    let scratch = Scratch::new();
    let front = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
    let fronts: Vec<_> =
        (0..4).map(|id| Front { peer: front(100 + id), client: front(200 + id) }).collect();
    let cluster =
        LocalCluster::create_behind(&fronts, &scratch.path("c"), 4, FaultModel::Arbitrary);
    let cluster = cluster.expect("made");
    for ((server, member), front) in
        cluster.servers.iter().zip(&cluster.plan.plan.members).zip(&fronts)
    {
        assert_eq!(member.peer_address, front.peer.to_string());
        assert_eq!(member.client_address, front.client.to_string());
        assert!(PORTS.contains(&server.config.peer_listen.port()));
        assert!(PORTS.contains(&server.config.client_listen.port()));
        assert!(Seat::inspect(&server.config).seat().is_ok(), "it could start");
    }
}

#[test]
fn nothing_foreign_is_touched_and_nothing_half_made_is_left() {
    let scratch = Scratch::new();
    let foreign = scratch.path("foreign");
    fs::create_dir(&foreign).expect("made");
    fs::write(foreign.join("mine"), "x").expect("written");
    let refused = |dir: &Path, servers, model| {
        LocalCluster::create(dir, servers, model).err().expect("refused").exit()
    };
    assert_eq!(refused(&foreign, 4, FaultModel::Arbitrary), Exit::Conflict);
    let free = scratch.path("free");
    assert_eq!(refused(&free, 3, FaultModel::Arbitrary), Exit::Usage);
    assert_eq!(refused(&free, 2, FaultModel::Hybrid), Exit::Usage);
    let entries = fs::read_dir(scratch.path("")).expect("listed").count();
    assert_eq!(entries, 1, "only the foreign directory is there");
    LocalCluster::create(&free, 4, FaultModel::Arbitrary).expect("made");
    assert_eq!(refused(&free, 4, FaultModel::Arbitrary), Exit::Conflict);
    assert_eq!(LocalCluster::open(&foreign).err().expect("none").exit(), Exit::NotFound);
}
