//! The audit log as administrators see it, and others do not.

use ravelin_crypto::audit::head_before;
use ravelin_model::{AUDIT_HEAD_KEY, AuditHead, AuditRecord};

use super::*;

const AUDIT: ServiceId = ServiceId::AUDIT;

fn prove_head() -> ClientMessage {
    ClientMessage::Prove { id: 7, service: AUDIT, key: AUDIT_HEAD_KEY.to_vec() }
}

/// Some writes in a cluster; the administrator's connection to each replica.
fn written(seed: u64) -> (Cluster, Vec<ConnectionId>) {
    let mut cluster = Cluster::new(seed);
    let session = cluster.open_session();
    let connection = cluster.connect(0, 8, cluster.world.client(0));
    for first in 1..6 {
        let envelope = cluster.write(session, first, b"k");
        cluster.submit(0, connection, &envelope);
        cluster.run(SECOND);
    }
    cluster.run(15 * SECOND); // heartbeats bring the statements round
    let administrator = cluster.world.administrator().public();
    let connections = (0..4).map(|id| cluster.connect(id, 9, administrator)).collect();
    (cluster, connections)
}

fn lists(cluster: &mut Cluster, id: u16, connection: ConnectionId, last: u64) -> Vec<AuditRecord> {
    cluster.ask(id, connection, ClientMessage::Audit { id: 7, last });
    match &cluster.take(id, connection)[..] {
        [ServerMessage::Audit { id: 7, records }] => records.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_replica_shows_lists_that_lead_to_the_head_that_a_quorum_signed() {
    let (mut cluster, connections) = written(1);
    for (id, connection) in (0..4).zip(connections) {
        cluster.ask(id, connection, prove_head());
        let [ServerMessage::Proof { statements, proof: Some(proof), .. }] =
            &cluster.take(id, connection)[..]
        else {
            panic!("no proof")
        };
        assert!(statements.len() >= 3);
        let root = statements[0].statement.state;
        let key = state_tree::state_key(AUDIT, AUDIT_HEAD_KEY);
        assert!(state_tree::verify_proof(&root, &key, proof));
        let head = AuditHead::decode("head", proof.value.as_ref().unwrap()).unwrap();
        assert_eq!((head.lists, head.operations), (6, 6), "an opening and five writes");
        let records = lists(&mut cluster, id, connection, head.lists);
        assert_eq!(head_before(&head, &records), Some(AuditHead::default()));
        assert!(records[1..].iter().all(|record| record.requests == [[]]), "keys are data");
        for unknown in [0, 7, u64::MAX] {
            assert_eq!(lists(&mut cluster, id, connection, unknown), []);
        }
    }
}

#[test]
fn the_log_is_for_administrators() {
    let (mut cluster, _) = written(2);
    let client = cluster.connect(0, 10, cluster.world.client(0));
    let stranger = cluster.connect(0, 11, cluster.world.client(9));
    for connection in [client, stranger] {
        for question in [prove_head(), ClientMessage::Audit { id: 7, last: 1 }, watch(7, AUDIT)] {
            cluster.ask(0, connection, question);
            assert_eq!(cluster.take(0, connection), [denied(7, Refusal::UnknownClient)]);
        }
    }
}

#[test]
fn nobody_writes_to_the_log() {
    let (mut cluster, connections) = written(3);
    let administrator = cluster.world.administrator();
    let opening = session_operation(SessionRequest::Open);
    let opening = cluster.world.signed(&administrator, 0, 1, vec![opening]);
    cluster.submit(0, connections[0], &opening);
    cluster.run(3 * SECOND);
    let session = cluster.replica(0).execution().position().0;
    let operation = Operation { service: AUDIT, request: AUDIT_HEAD_KEY.to_vec() };
    let forging = cluster.world.signed(&administrator, session, 1, vec![operation]);
    cluster.submit(0, connections[0], &forging);
    cluster.run(3 * SECOND);
    cluster.take(0, connections[0]);
    let records = lists(&mut cluster, 0, connections[0], 8);
    let last = &records.last().unwrap().list.envelopes[0];
    assert_eq!((last.client, last.session), (administrator.public(), SessionId(session)));
    let refused = ravelin_model::AuditOutcome::Refused(Refusal::UnknownService);
    assert_eq!(last.operations[0].outcome, refused);
}

#[test]
fn who_asks_for_too_much_of_it_waits() {
    let (mut cluster, connections) = written(4);
    let asked = (0..20_000).find(|id| {
        cluster.ask(1, connections[1], ClientMessage::Audit { id: *id, last: 6 });
        match &cluster.take(1, connections[1])[..] {
            [ServerMessage::Busy { first, .. }] => first.0 == *id,
            _ => false,
        }
    });
    assert!(asked.is_some_and(|asked| asked > 10), "{asked:?}");
}
