//! A client that asks for as much as it can.

use ravelin_model::requests::kv::{Condition, Write};
use ravelin_model::{Envelope, Sequence};

use super::*;
use crate::execution::CLIENT_WORK_MAX;
use crate::read_quota::READ_WORK_BURST_MAX;

const VALUE_BYTES: usize = 500_000;
/// Entries that a page of keys looks at.
const ENTRIES: usize = 8;

/// Stores some large entries and returns a session.
fn with_large_entries(cluster: &mut Cluster) -> u64 {
    let session = cluster.open_session();
    let connection = cluster.connect(0, 9, cluster.world.client(0));
    for first in 1..=ENTRIES as u64 {
        let write = Write {
            key: format!("large/{first}").into_bytes(),
            value: Some(vec![7; VALUE_BYTES]),
            condition: Condition::Always,
            lease: None,
        };
        let operation = Operation { service: KV, request: KvRequest::Write(write).encode() };
        let envelope = cluster.world.envelope(0, session, first, vec![operation]);
        cluster.submit(0, connection, &envelope);
    }
    cluster.run(2 * SECOND);
    cluster.take(0, connection);
    session
}

fn list() -> Vec<u8> {
    let (prefix, after) = (b"large/".to_vec(), vec![]);
    KvRequest::List { prefix, after, limit: 100, keys_only: true }.encode()
}

#[test]
fn envelopes_whose_turn_did_not_come_are_busy_and_done_when_asked_again() {
    let mut cluster = Cluster::new(3);
    let session = with_large_entries(&mut cluster);
    let connection = cluster.connect(0, 10, cluster.world.client(0));
    let operation = || Operation { service: KV, request: list() };
    let count = 4 * CLIENT_WORK_MAX / (ENTRIES * VALUE_BYTES);
    let envelopes: Vec<Envelope> = (100..100 + count as u64)
        .map(|first| cluster.world.envelope(0, session, first, vec![operation()]))
        .collect();
    let (mut answered, mut was_busy) = (BTreeSet::new(), 0);
    // They wait together, so that one block brings many.
    cluster.node(0).is_cut_off = true;
    for round in 0..100 {
        let open = envelopes.iter().filter(|envelope| !answered.contains(&envelope.first));
        open.for_each(|envelope| cluster.submit(0, connection, envelope));
        cluster.node(0).is_cut_off = false;
        cluster.run(SECOND);
        for message in cluster.take(0, connection) {
            match message {
                ServerMessage::Answers { batch, .. } => {
                    let done = batch.answers.iter().filter(|it| it.result.bytes() > 50);
                    answered.extend(done.map(|answer| answer.sequence));
                }
                ServerMessage::Busy { first, .. } => {
                    assert!((100..).contains(&first.0), "round {round}");
                    was_busy += 1;
                }
                other => panic!("{other:?}"),
            }
        }
        if answered.len() == count {
            break;
        }
    }
    assert!(was_busy > 0, "the client was never held back");
    let all: BTreeSet<Sequence> = envelopes.iter().map(|envelope| envelope.first).collect();
    assert_eq!(answered, all);
}

#[test]
fn one_that_floods_reads_is_busy_and_another_is_answered() {
    let mut cluster = Cluster::new(4);
    with_large_entries(&mut cluster);
    let greedy = cluster.connect(1, 11, cluster.world.client(0));
    let modest = cluster.connect(1, 12, cluster.world.client(1));
    let count = 2 * READ_WORK_BURST_MAX / (ENTRIES * VALUE_BYTES) as u64;
    for id in 0..count {
        cluster.ask(1, greedy, ClientMessage::Read { id, service: KV, request: list() });
    }
    let heard = cluster.take(1, greedy);
    let is_busy = |message: &&ServerMessage| matches!(message, ServerMessage::Busy { .. });
    let busy = heard.iter().filter(is_busy).count() as u64;
    assert!((count / 2 - 2..count).contains(&busy), "{busy} of {count}");
    cluster.ask(1, modest, ClientMessage::Read { id: 5, service: KV, request: list() });
    let heard = cluster.take(1, modest);
    assert!(matches!(heard[..], [ServerMessage::ReadReply { id: 5, reply: Some(_), .. }]));
    cluster.ask(1, greedy, ClientMessage::Prove { id: 7, service: KV, key: vec![1] });
    let watch = |id| ClientMessage::Watch { id, service: KV, prefix: vec![], from: Position(0) };
    cluster.ask(1, greedy, watch(8));
    let heard = cluster.take(1, greedy);
    let first = |message: &ServerMessage| match message {
        ServerMessage::Busy { first, .. } => first.0,
        other => panic!("{other:?}"),
    };
    assert_eq!(heard.iter().map(first).collect::<Vec<_>>(), [7, 8]);
    cluster.run(SECOND);
    cluster.ask(1, greedy, ClientMessage::Read { id: 6, service: KV, request: list() });
    let heard = cluster.take(1, greedy);
    assert!(matches!(heard[..], [ServerMessage::ReadReply { id: 6, .. }]), "time forgives");
}

#[test]
fn proofs_and_watches_count_as_work() {
    let mut cluster = Cluster::new(5);
    with_large_entries(&mut cluster);
    let watch = |id| {
        let (service, prefix, from) = (KV, b"none".to_vec(), Position(1 << 40));
        ClientMessage::Watch { id, service, prefix, from }
    };
    let prove = |id| ClientMessage::Prove { id, service: KV, key: vec![7] };
    for (index, question) in [(0, &prove as &dyn Fn(u64) -> ClientMessage), (1, &watch)] {
        let connection = cluster.connect(1, 20 + u64::from(index), cluster.world.client(index));
        let asked = (0..20_000).find(|id| {
            cluster.ask(1, connection, question(*id));
            let heard = cluster.take(1, connection);
            heard.iter().any(|message| matches!(message, ServerMessage::Busy { .. }))
        });
        assert!(asked.is_some_and(|asked| asked > 10), "{asked:?} questions, way {index}");
    }
}
