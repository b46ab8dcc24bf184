use ravelin_crypto::{Registry, SigningKey};
use ravelin_model::{
    ClientEntry, CommitIndex, Decode as _, Digest, Epoch, FaultModel, Member, Previous, Purpose,
    ReplicaId,
};

use super::*;
use crate::tests::world::MemoryStore;

/// A cluster on paper, with its administrators' keys.
pub(crate) struct Cluster {
    pub(crate) plan: ClusterPlan,
    pub(crate) administrators: Vec<SigningKey>,
    pub(crate) client: PublicKey,
    scheme: Scheme,
}

/// A cluster whose orders need `needed` of `administrators` approvals, under simulated signatures.
pub(crate) fn cluster(administrators: u8, needed: u16) -> Cluster {
    let registry = Registry::default();
    let keys = (0..administrators)
        .map(|number| SigningKey::simulated(&[50 + number; 32], &registry))
        .collect();
    Cluster::new(keys, needed, Scheme::Simulated(registry))
}

impl Cluster {
    pub(crate) fn with_ed25519(administrators: u8, needed: u16) -> Self {
        let keys = (0..administrators).map(|number| SigningKey::ed25519(&[50 + number; 32]));
        Self::new(keys.collect(), needed, Scheme::ed25519([0; 32]))
    }

    fn new(administrators: Vec<SigningKey>, needed: u16, scheme: Scheme) -> Self {
        let client = PublicKey([60; 32]);
        let key = |kind: u8, index: u8| PublicKey([kind + index; 32]);
        let members = (0..4).map(|index| Member {
            name: format!("s{index}"),
            identity: key(100, index),
            block: key(120, index),
            transport: key(140, index),
            wormhole: None,
            peer_address: format!("127.0.0.1:{}", 7000 + u16::from(index)),
            client_address: format!("127.0.0.1:{}", 8000 + u16::from(index)),
            labels: Default::default(),
        });
        let plan = ClusterPlan {
            version: ravelin_model::plan::PLAN_VERSION,
            name: "test".into(),
            purpose: Purpose::Local,
            incarnation: Incarnation(1),
            epoch: Epoch(1),
            previous: None,
            fault_model: FaultModel::Arbitrary,
            f: 1,
            leaders_per_round: 2,
            members: members.collect(),
            administrators: administrators.iter().map(SigningKey::public).collect(),
            administrators_needed: needed,
            clients: vec![ClientEntry { name: "alice".into(), key: client }],
            rekey_interval_min_s: 3600,
            checkpoint_every: 1024,
        };
        plan.check().expect("a sound plan");
        Self { plan, administrators, client, scheme }
    }

    pub(crate) fn scheme(&self) -> Scheme {
        self.scheme.clone()
    }

    pub(crate) fn order(&self, serial: u64, action: AuthAction) -> AuthOrder {
        let (cluster, incarnation) = (ClusterId(plan_digest(&self.plan)), self.plan.incarnation);
        AuthOrder { cluster, incarnation, serial, action }
    }

    pub(crate) fn approved(&self, order: &AuthOrder, by: &[usize]) -> AuthRequest {
        let approvals = by.iter().map(|index| {
            let key = &self.administrators[*index];
            (key.public(), key.sign(Domain::AuthOrder, &order.encode()))
        });
        AuthRequest::Change { order: order.clone(), approvals: approvals.collect() }
    }
}

/// The service with its state, asked one envelope after the other.
struct World {
    cluster: Cluster,
    auth: Auth,
    store: MemoryStore,
    position: u64,
}

fn world(administrators: u8, needed: u16) -> World {
    let cluster = cluster(administrators, needed);
    let auth = Auth::new(cluster.scheme());
    let mut store = MemoryStore::default();
    auth.genesis(&cluster.plan, &mut store);
    World { cluster, auth, store, position: 0 }
}

fn key(number: u8) -> PublicKey {
    PublicKey([number; 32])
}

fn enroll_as(name: &str, number: u8) -> AuthAction {
    AuthAction::Enroll { name: name.into(), key: key(number) }
}

fn revoke_of(name: &str) -> AuthAction {
    AuthAction::Revoke { name: name.into() }
}

fn rekey_of(member: u16, number: u8) -> AuthAction {
    AuthAction::Rekey { member: ReplicaId(member), block: key(number) }
}

impl World {
    fn ask(&mut self, request: AuthRequest) -> AuthReply {
        let is_rekey = |order: &AuthOrder| matches!(order.action, AuthAction::Rekey { .. });
        let is_rekey = matches!(&request, AuthRequest::Change { order, .. } if is_rekey(order));
        let (reply, rekey) = self.outcome(request);
        assert_eq!(rekey.is_some(), is_rekey && matches!(reply, AuthReply::Changed { .. }));
        reply
    }

    /// The reply, and the key change that is asked of whoever executes.
    fn outcome(&mut self, request: AuthRequest) -> (AuthReply, Option<(ReplicaId, PublicKey)>) {
        self.position += 1;
        let context = Context {
            position: Position(self.position),
            index: 0,
            time: Time(1),
            client: self.cluster.client,
        };
        let before = self.store.clone();
        let outcome = self.auth.execute(&context, &mut self.store, request);
        let reply = AuthReply::decode("reply", &outcome.reply).expect("canonical");
        let is_change = matches!(reply, AuthReply::Changed { .. });
        let told = usize::from(is_change && outcome.rekey.is_none());
        assert_eq!(outcome.changes.len(), told);
        assert_eq!(is_change, self.store != before, "{reply:?}");
        for change in outcome.changes {
            assert_eq!(self.store.get(&change.key), change.value);
        }
        (reply, outcome.rekey)
    }

    /// Submits an order with the approvals of the administrators named by `by`.
    fn submit(&mut self, serial: u64, action: AuthAction, by: &[usize]) -> AuthReply {
        let order = self.cluster.order(serial, action);
        self.ask(self.cluster.approved(&order, by))
    }

    fn names(&mut self) -> Vec<String> {
        match self.ask(AuthRequest::List { after: String::new(), limit: 100 }) {
            AuthReply::Clients { clients, more: false, .. } => {
                clients.into_iter().map(|client| client.name).collect()
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn genesis_writes_what_the_plan_names() {
    let mut world = world(3, 2);
    let alice = ClientRecord { name: "alice".into(), key: key(60), since: Position(0) };
    let expected = AuthReply::Clients {
        clients: vec![alice.clone()],
        more: false,
        next_serial: 1,
        administrators_needed: 2,
    };
    assert_eq!(world.ask(AuthRequest::List { after: String::new(), limit: 1 }), expected);
    let you = AuthReply::You { client: Some(alice), administrator: false, next_serial: 1 };
    assert_eq!(world.ask(AuthRequest::WhoAmI), you);
}

#[test]
#[should_panic(expected = "the state begins with the first plan")]
fn genesis_refuses_a_plan_that_follows_another() {
    let mut cluster = cluster(1, 1);
    let digest = Digest([1; 32]);
    cluster.plan.previous = Some(Previous {
        plan: digest,
        commit: CommitIndex(1),
        time: Time(1),
        position: Position(1),
        state: digest,
        ordering: digest,
    });
    Auth::new(cluster.scheme()).genesis(&cluster.plan, &mut MemoryStore::default());
}

#[test]
fn enough_administrators_let_a_client_in_and_shut_it_out() {
    let mut world = world(3, 2);
    assert!(!world.auth.is_client(&world.store, &key(8)));
    let reply = world.submit(1, enroll_as("bob", 8), &[2, 0]);
    assert_eq!(reply, AuthReply::Changed { next_serial: 2 });
    assert!(world.auth.is_client(&world.store, &key(8)));
    assert_eq!(world.names(), ["alice", "bob"]);
    let reply = world.submit(2, revoke_of("bob"), &[0, 1, 2]);
    assert_eq!(reply, AuthReply::Changed { next_serial: 3 });
    assert!(!world.auth.is_client(&world.store, &key(8)));
    assert_eq!(world.names(), ["alice"]);
}

#[test]
fn one_administrator_fewer_than_needed_is_not_enough() {
    for needed in 1..=4u16 {
        let mut world = world(4, needed);
        let all: Vec<_> = (0..usize::from(needed)).collect();
        let (_, fewer) = all.split_last().expect("one at least");
        let reply = world.submit(1, enroll_as("bob", 8), fewer);
        assert_eq!(reply, AuthReply::NotApproved { got: needed - 1, needed });
        let reply = world.submit(1, enroll_as("bob", 8), &all);
        assert_eq!(reply, AuthReply::Changed { next_serial: 2 });
    }
}

#[test]
fn an_administrator_who_approves_twice_counts_once() {
    let mut world = world(3, 2);
    let reply = world.submit(1, enroll_as("bob", 8), &[1, 1, 1]);
    assert_eq!(reply, AuthReply::NotApproved { got: 1, needed: 2 });
    let reply = world.submit(1, enroll_as("bob", 8), &[1, 1, 2]);
    assert_eq!(reply, AuthReply::Changed { next_serial: 2 });
}

#[test]
fn strangers_and_forgers_do_not_count() {
    let mut world = world(3, 2);
    let order = world.cluster.order(1, enroll_as("bob", 8));
    let approvals_of = |request| match request {
        AuthRequest::Change { approvals, .. } => approvals,
        other => panic!("{other:?}"),
    };
    let good = approvals_of(world.cluster.approved(&order, &[0, 1]));
    let elsewhere = world.cluster.order(1, enroll_as("mallory", 9));
    let other = approvals_of(world.cluster.approved(&elsewhere, &[0, 1, 2]));
    let registry = Registry::default();
    let stranger = SigningKey::simulated(&[77; 32], &registry);
    let strange = (stranger.public(), stranger.sign(Domain::AuthOrder, &order.encode()));
    let administrator = &world.cluster.administrators[1];
    let wrong_domain = (administrator.public(), administrator.sign(Domain::Plan, &order.encode()));
    for (approvals, got) in [
        (vec![good[0], other[1]], 1),
        (vec![good[0], strange], 1),
        (vec![good[0], (good[1].0, good[0].1)], 1),
        (vec![good[0], wrong_domain], 1),
        (vec![other[0], good[1]], 0), // the check ends at the first that does not hold
        (vec![], 0),
    ] {
        let reply = world.ask(AuthRequest::Change { order: order.clone(), approvals });
        assert_eq!(reply, AuthReply::NotApproved { got, needed: 2 });
    }
    let approvals = vec![strange, good[0], good[1]];
    let reply = world.ask(AuthRequest::Change { order, approvals });
    assert_eq!(reply, AuthReply::Changed { next_serial: 2 }, "a stranger does no harm");
}

#[test]
fn more_approvals_than_administrators_are_refused_unchecked() {
    let mut world = world(2, 1);
    assert_eq!(world.submit(1, enroll_as("bob", 8), &[0, 1, 0]), AuthReply::Invalid);
}

#[test]
fn a_key_that_anybody_could_sign_for_is_not_let_in() {
    let cluster = Cluster::with_ed25519(1, 1);
    let auth = Auth::new(cluster.scheme());
    let mut store = MemoryStore::default();
    auth.genesis(&cluster.plan, &mut store);
    let mut world = World { cluster, auth, store, position: 0 };
    let enroll = |key| AuthAction::Enroll { name: "bob".into(), key };
    assert_eq!(world.submit(1, enroll(PublicKey([0; 32])), &[0]), AuthReply::Invalid);
    assert_eq!(world.submit(1, enroll(PublicKey([2; 32])), &[0]), AuthReply::Invalid, "no point");
    let sound = SigningKey::ed25519(&[8; 32]).public();
    assert_eq!(world.submit(1, enroll(sound), &[0]), AuthReply::Changed { next_serial: 2 });
}

#[test]
fn an_old_enrolment_cannot_be_replayed_after_a_revocation() {
    let mut world = world(3, 2);
    let enrolment = world.cluster.order(1, enroll_as("bob", 8));
    let enrolment = world.cluster.approved(&enrolment, &[0, 1]);
    assert_eq!(world.ask(enrolment.clone()), AuthReply::Changed { next_serial: 2 });
    world.submit(2, revoke_of("bob"), &[0, 1]);
    assert_eq!(world.ask(enrolment), AuthReply::WrongSerial { next: 3 });
    assert!(!world.auth.is_client(&world.store, &key(8)));
}

#[test]
fn orders_from_the_future_are_refused() {
    let mut world = world(1, 1);
    for serial in [0, 2, u64::MAX] {
        let reply = world.submit(serial, enroll_as("bob", 8), &[0]);
        assert_eq!(reply, AuthReply::WrongSerial { next: 1 });
    }
}

#[test]
fn orders_for_another_cluster_or_incarnation_are_refused() {
    let mut world = world(1, 1);
    let mut elsewhere = world.cluster.order(1, enroll_as("bob", 8));
    elsewhere.cluster = ClusterId(Digest([9; 32]));
    let request = world.cluster.approved(&elsewhere, &[0]);
    assert_eq!(world.ask(request), AuthReply::WrongCluster);
    let mut restored = world.cluster.order(1, enroll_as("bob", 8));
    restored.incarnation = Incarnation(2);
    let request = world.cluster.approved(&restored, &[0]);
    assert_eq!(world.ask(request), AuthReply::WrongCluster);
}

#[test]
fn enough_administrators_give_a_server_another_key() {
    let mut world = world(3, 2);
    let order = world.cluster.order(1, rekey_of(3, 9));
    let few = world.cluster.approved(&order, &[1]);
    let refused = AuthReply::NotApproved { got: 1, needed: 2 };
    assert_eq!(world.outcome(few), (refused, None));
    let twice = world.cluster.approved(&order, &[1, 1]);
    let refused = AuthReply::NotApproved { got: 1, needed: 2 };
    assert_eq!(world.outcome(twice), (refused, None));
    let enough = world.cluster.approved(&order, &[1, 2]);
    let changed = AuthReply::Changed { next_serial: 2 };
    let asked = Some((ReplicaId(3), key(9)));
    assert_eq!(world.outcome(enough.clone()), (changed, asked));
    let replayed = world.outcome(enough);
    assert_eq!(replayed, (AuthReply::WrongSerial { next: 2 }, None), "once");
    assert_eq!(world.names(), ["alice"], "clients stay who they are");
}

#[test]
fn an_approval_of_one_key_change_is_good_for_no_other() {
    let mut world = world(3, 2);
    let order = world.cluster.order(1, rekey_of(3, 9));
    let AuthRequest::Change { approvals, .. } = world.cluster.approved(&order, &[0, 1]) else {
        unreachable!("an order")
    };
    for action in [rekey_of(2, 9), rekey_of(3, 8), enroll_as("bob", 9), revoke_of("alice")] {
        let order = world.cluster.order(1, action);
        let request = AuthRequest::Change { order, approvals: approvals.clone() };
        let refused = AuthReply::NotApproved { got: 0, needed: 2 };
        assert_eq!(world.outcome(request), (refused, None));
    }
}

#[test]
fn key_changes_for_another_cluster_or_incarnation_are_refused() {
    let mut world = world(1, 1);
    let order = world.cluster.order(1, rekey_of(0, 9));
    let elsewhere = AuthOrder { cluster: ClusterId(Digest([9; 32])), ..order.clone() };
    let restored = AuthOrder { incarnation: Incarnation(2), ..order };
    for order in [elsewhere, restored] {
        let request = world.cluster.approved(&order, &[0]);
        assert_eq!(world.outcome(request), (AuthReply::WrongCluster, None));
    }
}

#[test]
fn whether_there_is_such_a_server_is_for_others_to_judge() {
    let mut world = world(1, 1);
    for (serial, member) in [(1, 0), (2, 4), (3, u16::MAX)] {
        let order = world.cluster.order(serial, rekey_of(member, 9));
        let request = world.cluster.approved(&order, &[0]);
        let changed = AuthReply::Changed { next_serial: serial + 1 };
        assert_eq!(world.outcome(request), (changed, Some((ReplicaId(member), key(9)))));
    }
}

#[test]
fn names_and_keys_are_unique_and_free_again_after_a_revocation() {
    let mut world = world(1, 1);
    assert_eq!(world.submit(1, enroll_as("alice", 8), &[0]), AuthReply::Exists);
    assert_eq!(world.submit(1, enroll_as("alias", 60), &[0]), AuthReply::Exists);
    assert_eq!(world.submit(1, revoke_of("bob"), &[0]), AuthReply::NotFound);
    let changed = |next_serial| AuthReply::Changed { next_serial };
    assert_eq!(world.submit(1, revoke_of("alice"), &[0]), changed(2));
    assert_eq!(world.submit(2, enroll_as("alice", 8), &[0]), changed(3));
    assert!(world.auth.is_client(&world.store, &key(8)));
    assert!(!world.auth.is_client(&world.store, &key(60)), "the old key stays out");
    assert_eq!(world.submit(3, enroll_as("alias", 60), &[0]), changed(4));
}

#[test]
fn names_that_do_not_fit_are_refused() {
    let mut world = world(1, 1);
    for name in [String::new(), "a".repeat(129), "a b".into(), "a\n".into(), "ä".into()] {
        let reply = world.submit(1, enroll_as(&name, 8), &[0]);
        assert_eq!(reply, AuthReply::Invalid, "{name:?}");
        assert_eq!(world.submit(1, revoke_of(&name), &[0]), AuthReply::Invalid);
    }
    let longest = "a".repeat(128);
    assert!(matches!(world.submit(1, enroll_as(&longest, 8), &[0]), AuthReply::Changed { .. }));
}

#[test]
fn lists_come_in_pages() {
    let mut world = world(1, 1);
    for number in 1..=9u8 {
        world.submit(number.into(), enroll_as(&format!("c{number}"), number), &[0]);
    }
    let (mut names, mut after) = (Vec::new(), String::new());
    loop {
        let reply = world.ask(AuthRequest::List { after: after.clone(), limit: 4 });
        let AuthReply::Clients { clients, more, next_serial: 10, .. } = reply else {
            panic!("{reply:?}")
        };
        names.extend(clients.into_iter().map(|client| client.name));
        if !more {
            break;
        }
        after = names.last().expect("a page before more").clone();
    }
    assert_eq!(names, ["alice", "c1", "c2", "c3", "c4", "c5", "c6", "c7", "c8", "c9"]);
    for (after, limit) in [("", 0), ("", 1025), ("a".repeat(129).as_str(), 1)] {
        let request = AuthRequest::List { after: after.into(), limit };
        assert_eq!(world.ask(request), AuthReply::Invalid);
    }
}

#[test]
fn everyone_learns_who_they_are_without_ordering() {
    let world = world(2, 1);
    let asked = |client| {
        let context = QueryContext { commit: CommitIndex(1), time: Time(1), client };
        let reply = world.auth.query(&context, &world.store, AuthRequest::WhoAmI);
        AuthReply::decode("reply", &reply.expect("a read")).expect("canonical")
    };
    let you = |administrator| AuthReply::You { client: None, administrator, next_serial: 1 };
    assert_eq!(asked(world.cluster.administrators[1].public()), you(true));
    assert_eq!(asked(key(99)), you(false));
    let order = world.cluster.order(1, enroll_as("bob", 8));
    let context = QueryContext { commit: CommitIndex(1), time: Time(1), client: key(60) };
    let change = world.cluster.approved(&order, &[0]);
    assert_eq!(world.auth.query(&context, &world.store, change), None);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_store_holds_these_bytes() {
    let mut world = world(1, 1);
    world.submit(1, enroll_as("b", 8), &[0]);
    let held: Vec<_> = world
        .store
        .0
        .iter()
        .filter(|(key, _)| key[0] != b'a' && !key.ends_with(b"alice"))
        .map(|(key, value)| (hex(key), hex(value)))
        .collect();
    let (cluster, eight) = (plan_digest(&world.cluster.plan).to_string(), "08".repeat(32));
    let expected = [
        ("6362".to_owned(), format!("0100000062{eight}0100000000000000")),
        (format!("6b{eight}"), "62".into()),
        (format!("6b{}", "3c".repeat(32)), hex(b"alice")),
        ("70".into(), format!("{cluster}01000000010001000200000000000000")),
    ];
    assert_eq!(held, expected);
    let administrator = world.cluster.administrators[0].public();
    assert_eq!(world.store.get(&[&b"a"[..], &administrator.0].concat()), Some(vec![]));
    assert_eq!(client_key("b"), b"cb");
}

/// Each kind of request with its bytes.
fn requests() -> Vec<(AuthRequest, String)> {
    let order = |action| AuthOrder {
        cluster: ClusterId(Digest([1; 32])),
        incarnation: Incarnation(2),
        serial: 3,
        action,
    };
    let approvals = vec![(key(4), Signature([5; 64]))];
    let head = format!("00{}020000000300000000000000", "01".repeat(32));
    let tail = format!("01000000{}{}", "04".repeat(32), "05".repeat(64));
    let change =
        |action| AuthRequest::Change { order: order(action), approvals: approvals.clone() };
    vec![
        (change(enroll_as("b", 6)), format!("{head}000100000062{}{tail}", "06".repeat(32))),
        (change(revoke_of("b")), format!("{head}010100000062{tail}")),
        (change(rekey_of(0x0102, 6)), format!("{head}020201{}{tail}", "06".repeat(32))),
        (AuthRequest::List { after: "b".into(), limit: 7 }, "0101000000620700".into()),
        (AuthRequest::WhoAmI, "02".into()),
    ]
}

#[test]
fn requests_and_replies_have_these_bytes() {
    for (request, bytes) in requests() {
        assert_eq!(hex(&request.encode()), bytes, "{request:?}");
    }
    let client = ClientRecord { name: "b".into(), key: key(6), since: Position(7) };
    let record = format!("0100000062{}0700000000000000", "06".repeat(32));
    let clients = AuthReply::Clients {
        clients: vec![client.clone()],
        more: true,
        next_serial: 8,
        administrators_needed: 9,
    };
    let you = AuthReply::You { client: Some(client), administrator: true, next_serial: 8 };
    for (reply, bytes) in [
        (AuthReply::Changed { next_serial: 8 }, "000800000000000000".to_owned()),
        (clients, format!("0101000000{record}0108000000000000000900")),
        (you, format!("0201{record}010800000000000000")),
        (AuthReply::NotApproved { got: 1, needed: 2 }, "0301000200".into()),
        (AuthReply::WrongSerial { next: 8 }, "040800000000000000".into()),
        (AuthReply::WrongCluster, "05".into()),
        (AuthReply::Exists, "06".into()),
        (AuthReply::NotFound, "07".into()),
        (AuthReply::Invalid, "08".into()),
    ] {
        assert_eq!(hex(&reply.encode()), bytes, "{reply:?}");
    }
}

#[test]
fn damaged_requests_are_refused_or_mean_something_and_never_panic() {
    let mut world = world(2, 1);
    let order = world.cluster.order(1, enroll_as("bob", 8));
    let approved = world.cluster.approved(&order, &[0]);
    let all = requests().into_iter().map(|(request, _)| request).chain([approved]);
    for bytes in all.map(|request| request.encode()) {
        for cut in 0..bytes.len() {
            assert!(AuthRequest::decode("request", &bytes[..cut]).is_err());
        }
        for place in 0..bytes.len() {
            for flip in [1, 2, 4, 8, 16, 32, 64, 128, 255] {
                let mut damaged = bytes.clone();
                damaged[place] ^= flip;
                if let Ok(request) = AuthRequest::decode("request", &damaged) {
                    let is_change = matches!(request, AuthRequest::Change { .. });
                    let reply = world.ask(request);
                    assert!(!is_change || !matches!(reply, AuthReply::Changed { .. }), "{reply:?}");
                }
            }
        }
    }
}
