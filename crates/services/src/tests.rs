pub(crate) mod world;

use ravelin_crypto::{Registry, SigningKey};
use ravelin_model::requests::auth::{AuthAction, AuthOrder, AuthReply, AuthRequest};
use ravelin_model::requests::kv::{Condition, KvReply, KvRequest, Write};
use ravelin_model::{CommitIndex, Encode, Position};

use super::*;
use crate::auth::tests::{Cluster, cluster};
use world::{Choices, MemoryStores};

fn context(client: PublicKey, position: u64) -> Context {
    Context { position: Position(position), index: 0, time: Time(1), client }
}

fn put() -> Vec<u8> {
    let (key, value) = (b"k".to_vec(), Some(b"v".to_vec()));
    KvRequest::Write(Write { key, value, condition: Condition::Always, lease: None }).encode()
}

fn begun() -> (Services, Cluster, MemoryStores) {
    let cluster = cluster(3, 2);
    let services = Services::new(cluster.scheme());
    let mut stores = MemoryStores::default();
    services.genesis(&cluster.plan, &mut stores);
    (services, cluster, stores)
}

#[test]
fn only_enrolled_clients_and_administrators_are_admitted() {
    let (services, cluster, mut stores) = begun();
    assert!(services.admits(&mut stores, &cluster.client));
    assert!(services.admits(&mut stores, &cluster.administrators[0].public()));
    assert!(!services.admits(&mut stores, &PublicKey([99; 32])));
    assert!(!services.admits(&mut stores, &cluster.plan.members[0].block));
}

#[test]
fn an_administrator_who_is_no_client_may_ask_auth_alone() {
    let (services, cluster, mut stores) = begun();
    let administrator = context(cluster.administrators[0].public(), 1);
    let who = AuthRequest::WhoAmI.encode();
    let refused = services.execute(ServiceId::KV, &administrator, &mut stores, &put());
    assert_eq!(refused, Err(Refusal::UnknownClient));
    assert!(services.execute(ServiceId::AUTH, &administrator, &mut stores, &who).is_ok());
    let asks = QueryContext {
        commit: CommitIndex(1),
        time: Time(1),
        client: cluster.administrators[0].public(),
    };
    let get = KvRequest::Get { key: b"k".to_vec() }.encode();
    assert_eq!(services.query(ServiceId::KV, &asks, &mut stores, &get), None);
    assert!(services.query(ServiceId::AUTH, &asks, &mut stores, &who).is_some());
}

#[test]
fn a_client_reads_and_writes_through_the_one_door() {
    let (services, cluster, mut stores) = begun();
    let client = context(cluster.client, 1);
    let outcome = services.execute(ServiceId::KV, &client, &mut stores, &put()).expect("let in");
    assert_eq!(outcome.changes.len(), 1);
    let get = KvRequest::Get { key: b"k".to_vec() }.encode();
    let asks = QueryContext { commit: CommitIndex(1), time: Time(1), client: cluster.client };
    let read = services.query(ServiceId::KV, &asks, &mut stores, &get);
    let ordered = services.execute(ServiceId::KV, &client, &mut stores, &get).expect("let in");
    assert_eq!(read, Some(ordered.reply));
    assert_eq!(services.query(ServiceId::KV, &asks, &mut stores, &put()), None);
}

#[test]
fn strangers_unknown_services_and_malformed_requests_leave_the_stores_untouched() {
    let (services, cluster, mut stores) = begun();
    let before = stores.clone();
    let mut refused = |client: PublicKey, service: ServiceId, request: &[u8]| {
        let refused = services.execute(service, &context(client, 1), &mut stores, request);
        assert_eq!(stores, before);
        refused.expect_err("refused")
    };
    let client = cluster.client;
    assert_eq!(refused(PublicKey([99; 32]), ServiceId::KV, &put()), Refusal::UnknownClient);
    let who = AuthRequest::WhoAmI.encode();
    assert_eq!(refused(PublicKey([99; 32]), ServiceId::AUTH, &who), Refusal::UnknownClient);
    assert_eq!(refused(client, ServiceId(77), &put()), Refusal::UnknownService);
    assert_eq!(refused(client, ServiceId::SESSION, &put()), Refusal::UnknownService);
    assert_eq!(refused(client, ServiceId::KV, &[]), Refusal::Malformed);
    assert_eq!(refused(client, ServiceId::AUTH, &[0xff]), Refusal::Malformed);
    let with_tail = [put(), vec![0]].concat();
    assert_eq!(refused(client, ServiceId::KV, &with_tail), Refusal::Malformed);
}

#[test]
fn a_revoked_client_is_refused_from_the_next_operation_on() {
    let (services, cluster, mut stores) = begun();
    let order = cluster.order(1, AuthAction::Revoke { name: "alice".into() });
    let request = cluster.approved(&order, &[0, 1]).encode();
    let administrator = context(cluster.administrators[0].public(), 1);
    let outcome = services.execute(ServiceId::AUTH, &administrator, &mut stores, &request);
    assert_eq!(outcome.expect("let in").reply, AuthReply::Changed { next_serial: 2 }.encode());
    assert!(!services.admits(&mut stores, &cluster.client));
    let mut late = context(cluster.client, 1);
    late.index = 1;
    let refused = services.execute(ServiceId::KV, &late, &mut stores, &put());
    assert_eq!(refused, Err(Refusal::UnknownClient));
}

#[test]
fn a_sweep_tells_whose_changes_it_made() {
    let (services, cluster, mut stores) = begun();
    let grant = KvRequest::LeaseGrant { ttl_ms: 1_000 }.encode();
    let client = context(cluster.client, 1);
    services.execute(ServiceId::KV, &client, &mut stores, &grant).expect("let in");
    assert_eq!(services.sweep(Time(1_000_000), &mut stores), []);
    let changes = services.sweep(Time(1_000_001), &mut stores);
    assert!(matches!(&changes[..], [(ServiceId::KV, Change { value: None, .. })]), "{changes:?}");
}

#[test]
fn bytes_drawn_at_random_never_panic() {
    let (services, cluster, mut stores) = begun();
    let mut choices = Choices(7);
    for position in 1..20_000 {
        let length = choices.below(40);
        let mut bytes: Vec<_> =
            (0..length).map(|_| u8::try_from(choices.below(256)).expect("a byte")).collect();
        if let Some(first) = bytes.first_mut() {
            *first %= 12;
        }
        for service in [ServiceId::KV, ServiceId::AUTH] {
            let context = context(cluster.client, position);
            let _ = services.execute(service, &context, &mut stores, &bytes);
        }
    }
}

#[test]
fn the_reply_to_a_write_is_what_the_contract_names() {
    let (services, cluster, mut stores) = begun();
    let client = context(cluster.client, 5);
    let outcome = services.execute(ServiceId::KV, &client, &mut stores, &put()).expect("let in");
    let expected = KvReply::Written { position: Position(5), existed: false };
    assert_eq!(outcome.reply, expected.encode());
}

#[test]
fn real_signatures_approve_too() {
    let cluster = Cluster::with_ed25519(2, 2);
    let services = Services::new(cluster.scheme());
    let mut stores = MemoryStores::default();
    services.genesis(&cluster.plan, &mut stores);
    let key = SigningKey::ed25519(&[8; 32]).public();
    let order = cluster.order(1, AuthAction::Enroll { name: "bob".into(), key });
    let request = cluster.approved(&order, &[0, 1]).encode();
    let client = context(cluster.client, 1);
    let outcome = services.execute(ServiceId::AUTH, &client, &mut stores, &request);
    assert_eq!(outcome.expect("let in").reply, AuthReply::Changed { next_serial: 2 }.encode());
    let forger = Services::new(Scheme::Simulated(Registry::default()));
    let outcome = forger.execute(ServiceId::AUTH, &client, &mut stores, &request);
    let AuthOrder { serial, .. } = order;
    let refused = AuthReply::WrongSerial { next: serial + 1 }.encode();
    assert_eq!(outcome.expect("let in").reply, refused);
}
