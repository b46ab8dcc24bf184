use ravelin_crypto::merkle;
use ravelin_model::requests::auth::{AuthAction, AuthOrder, AuthRequest};
use ravelin_model::requests::kv::{Condition, KvRequest, LeaseId, Step, Token, Write};
use ravelin_model::{ClusterId, Incarnation, Signature, StateBackend as _};
use ravelin_services::Services;

use super::recorded::reference_of;
use super::*;

mod work;
use crate::testing::{Chance, Machine, Toy, Toys, World, all_answers, results, session_operation};

fn count(reply: u64) -> Result<Vec<u8>, Refusal> {
    Ok(reply.encode())
}

fn services() -> Machine {
    let world = World::new(4, 1);
    let services = Services::new(world.keyring.scheme().clone());
    Machine::with(world, services)
}

#[test]
fn every_answer_is_under_the_root_that_replicas_sign() {
    let mut machine = Machine::new();
    let sessions: Vec<u64> = (0..3).map(|client| machine.open(client, 1).unwrap()).collect();
    let envelopes = (0..3u8).zip(&sessions).map(|(client, session)| {
        machine.world.toys(client, *session, 1, &[Toy::Count, Toy::Refuse, Toy::ReadCount])
    });
    let envelopes: Vec<_> = envelopes.chain([machine.world.opening(3, 1)]).collect();
    let executed = machine.commit(envelopes);
    let root = executed.answers.root();
    let parts: Vec<_> = executed.answers.into_parts().collect();
    assert_eq!(parts.len(), 4);
    let owners: Vec<_> = parts.iter().map(|(batch, _)| (batch.client, batch.session)).collect();
    assert!(owners.is_sorted());
    for (batch, path) in &parts {
        assert!(merkle::verify(&root, &answer_leaf(batch), path));
        let sequences: Vec<_> = batch.answers.iter().map(|answer| answer.sequence.0).collect();
        assert!(sequences == [1, 2, 3] || sequences == [1]);
    }
}

#[test]
fn an_operation_that_is_refused_leaves_no_trace() {
    let mut machine = Machine::new();
    let session = machine.open(0, 1).unwrap();
    let toys = [Toy::Count, Toy::Refuse, Toy::Write(70_000), Toy::Count];
    let envelope = machine.world.toys(0, session, 1, &toys);
    let executed = machine.commit(vec![envelope]);
    assert_eq!(executed.changes.len(), 2, "watchers hear of what happened alone");
    let answers = results(&all_answers(executed));
    // Refused by the service; a reply too large for the cache.
    let refused = [Err(Refusal::Malformed), Err(Refusal::TooLarge)];
    assert_eq!(answers, [count(1), refused[0].clone(), refused[1].clone(), count(2)]);
    assert_eq!(machine.backend.get(b"\x02written"), None);
    // A retry is told the same.
    let envelope = machine.world.toys(0, session, 1, &toys);
    assert_eq!(results(&machine.submit(&envelope)), answers);
}

#[test]
fn nobody_reaches_a_service_that_is_not_one() {
    let mut machine = Machine::new();
    let session = machine.open(0, 1).unwrap();
    let operation =
        |service: u8| Operation { service: ServiceId(service), request: Toy::Count.request() };
    let operations = vec![operation(0xff), operation(0xfe), operation(0)];
    let envelope = machine.world.envelope(0, session, 1, operations);
    assert_eq!(results(&machine.submit(&envelope)), vec![Err(Refusal::UnknownService); 3]);
    let request = Toy::ReadCount.request();
    let client = machine.world.client(0);
    for service in [0, 0xfe, 0xff].map(ServiceId) {
        assert_eq!(machine.execution.query(service, client, &request).0, None);
        assert!(!machine.execution.may_see(service, &client));
    }
    assert!(machine.execution.query(ServiceId::KV, client, &request).0.is_some());
    assert!(machine.execution.may_see(ServiceId::KV, &client));
    assert!(!machine.execution.may_see(ServiceId::KV, &machine.world.client(9)));
}

#[test]
fn an_opening_is_one_operation_and_nothing_else() {
    let mut machine = Machine::new();
    let open = || session_operation(SessionRequest::Open);
    let two = machine.world.envelope(0, 0, 1, vec![open(), open()]);
    let closing = machine.world.envelope(0, 0, 1, vec![session_operation(SessionRequest::Close)]);
    let other = machine.world.toys(0, 0, 1, &[Toy::Count]);
    for envelope in [two, closing, other] {
        assert_eq!(results(&machine.submit(&envelope)), [Err(Refusal::Malformed)]);
    }
    assert_eq!(machine.count(), 0);
    assert!(machine.open(0, 1).is_ok(), "the number was not used up");
}

#[test]
fn the_replies_to_one_envelope_are_bounded_and_the_rest_is_refused_unexecuted() {
    let mut machine = Machine::new();
    let session = machine.open(0, 1).unwrap();
    let mut toys = vec![Toy::Write(65_536); 20];
    toys.push(Toy::Count);
    let envelope = machine.world.toys(0, session, 1, &toys);
    let answers = results(&machine.submit(&envelope));
    let done = answers.iter().filter(|answer| answer.is_ok()).count();
    assert_eq!(done, ENVELOPE_REPLY_BYTES_MAX / 65_536 + 1);
    assert!(answers[done..].iter().all(|answer| *answer == Err(Refusal::TooLarge)));
    assert_eq!(machine.count(), 0);
    assert_eq!(results(&machine.submit(&envelope)), answers);
    // The same for reads, each of which may be large.
    let reads = machine.world.toys(0, session, 100, &[Toy::Read(1 << 20); 4]);
    let sizes = results(&machine.submit(&reads)).into_iter().map(|reply| reply.map(|r| r.len()));
    let large = Err(Refusal::TooLarge);
    assert_eq!(sizes.collect::<Vec<_>>(), [Ok(1 << 20), Ok(1 << 20), large, large]);
    let huge = machine.world.toys(0, session, 200, &[Toy::Read((1 << 20) + 1)]);
    assert_eq!(results(&machine.submit(&huge)), [Err(Refusal::TooLarge)]);
}

/// Envelopes that begin with one number share an entry of the reply cache: growing it bit by bit
/// must not make it larger than one envelope could.
#[test]
fn an_entry_of_the_reply_cache_does_not_grow_beyond_one_envelope() {
    let mut machine = Machine::new();
    let session = machine.open(0, 1).unwrap();
    for length in 1..=40 {
        let envelope = machine.world.toys(0, session, 1, &vec![Toy::Write(65_536); length]);
        let bytes: usize =
            machine.submit(&envelope).iter().map(|answer| answer.result.bytes()).sum();
        assert!(bytes <= ENVELOPE_REPLY_BYTES_MAX + 65_536);
    }
    // What has left the window is not answered again, but it is still in the entry.
    for step in 1..40 {
        let ahead = machine.world.toys(0, session, 1024 + 17 * step, &[Toy::Count]);
        machine.submit(&ahead);
        let count = usize::try_from(17 * (step + 1)).unwrap();
        let envelope = machine.world.toys(0, session, 1, &vec![Toy::Write(65_536); count]);
        machine.submit(&envelope);
    }
    let largest = machine.backend.entries().values().map(Vec::len).max().unwrap();
    assert!(largest < ENVELOPE_REPLY_BYTES_MAX + 3 * 65_536, "{largest} bytes");
}

#[test]
fn a_commit_answers_one_client_within_bounds_and_the_others_all_the_same() {
    let mut machine = Machine::new();
    let greedy = machine.open(0, 1).unwrap();
    let modest = machine.open(1, 1).unwrap();
    let mut envelopes: Vec<_> = (0..40u64)
        .map(|index| {
            machine.world.toys(0, greedy, 1 + 2 * index, &[Toy::Read(1 << 20), Toy::Count])
        })
        .collect();
    envelopes.push(machine.world.toys(1, modest, 1, &[Toy::Count]));
    let last = envelopes[39].clone();
    let executed = machine.commit(envelopes);
    let mut bytes = [0, 0];
    for (batch, _) in executed.answers.into_parts() {
        let whose = usize::from(batch.client == machine.world.client(1));
        bytes[whose] += batch.answers.iter().map(|answer| answer.result.bytes()).sum::<usize>();
    }
    assert!(bytes[0] > CLIENT_FRESH_BYTES_MAX && bytes[0] < CLIENT_FRESH_BYTES_MAX + (2 << 20));
    assert_eq!(bytes[1], 8);
    assert_eq!(machine.count(), 41, "what changes something was executed without an answer");
    // Whoever asks again gets the first result of what changed something.
    let again = machine.submit(&last);
    assert_eq!(results(&again)[1], count(40));
    assert_eq!(machine.count(), 41);
}

/// A replica may put a client's old envelopes into its blocks as often as it likes.
#[test]
fn repeating_old_envelopes_neither_floods_a_commit_nor_silences_new_ones() {
    let mut machine = Machine::new();
    let session = machine.open(0, 1).unwrap();
    let old = machine.world.toys(0, session, 1, &[Toy::Write(65_536); 16]);
    machine.submit(&old);
    let mut envelopes = vec![old; 500];
    envelopes.push(machine.world.toys(0, session, 100, &[Toy::Count]));
    let answers = all_answers(machine.commit(envelopes));
    let bytes: usize = answers.iter().map(|answer| answer.result.bytes()).sum();
    assert!(bytes <= CLIENT_REPEATED_BYTES_MAX + ENVELOPE_REPLY_BYTES_MAX + 65_536);
    assert_eq!(results(&answers).pop(), Some(count(1)));
}

/// Reads leave no trace, so a replica may have old ones executed again as often as it likes.
#[test]
fn repeating_old_reads_silences_nobody_but_who_repeats_them() {
    let mut machine = Machine::new();
    let session = machine.open(0, 1).unwrap();
    let old = machine.world.toys(0, session, 1, &[Toy::Read(1 << 20)]);
    machine.submit(&old);
    let new = machine.world.toys(0, session, 100, &[Toy::Count]);
    let (intruder, correct) = (ReplicaId(3), ReplicaId(1));
    let blocks = vec![(intruder, vec![old; 500]), (correct, vec![new])];
    let answers = all_answers(machine.commit_of(blocks));
    let bytes: usize = answers.iter().map(|answer| answer.result.bytes()).sum();
    assert!(bytes <= CLIENT_FRESH_BYTES_MAX + ENVELOPE_REPLY_BYTES_MAX + 65_536);
    assert_eq!(results(&answers).pop(), Some(count(1)));
}

#[test]
fn batches_of_answers_fit_a_message() {
    let mut machine = Machine::new();
    let session = machine.open(0, 1).unwrap();
    let envelopes: Vec<_> = (0..30u64)
        .map(|index| {
            machine.world.toys(0, session, 1 + 2 * index, &[Toy::Write(60_000), Toy::Read(300_000)])
        })
        .collect();
    let executed = machine.commit(envelopes);
    let parts: Vec<_> = executed.answers.into_parts().collect();
    assert!(parts.len() > 1);
    for (batch, path) in parts {
        let bytes = batch.encode().len() + path.encode().len() + 512;
        assert!(bytes <= ravelin_model::limits::SERVER_MESSAGE_BYTES_MAX, "{bytes}");
    }
}

#[test]
fn what_the_sweep_changes_has_a_position_that_no_watcher_was_told_to_be_past() {
    let mut machine = Machine::new();
    let session = machine.open(0, 1).unwrap();
    let leave = machine.world.toys(0, session, 1, &[Toy::Leave]);
    let executed = machine.commit(vec![leave]);
    assert_eq!((executed.position, executed.changes.len()), (Position(3), 1));
    assert_eq!(executed.changes[0].1.position, Position(3));
    let executed = machine.commit(vec![]);
    assert_eq!((executed.position, executed.changes.len()), (Position(3), 0));
    let next = machine.world.toys(0, session, 2, &[Toy::Count]);
    assert_eq!(machine.submit(&next)[0].position, Position(4));
}

/// Random commits for the real services, the same for whoever has the same seed.
fn script(machine: &Machine, seed: u64) -> Vec<Vec<Envelope>> {
    let mut chance = Chance(seed);
    let world = &machine.world;
    let mut next = [1; 3];
    let openings = (0..3).map(|client| world.opening(client, 1)).collect();
    let mut commits: Vec<Vec<Envelope>> = vec![openings];
    for _ in 0..10 {
        let mut envelopes: Vec<Envelope> = Vec::new();
        for _ in 0..chance.below(6) {
            let client = chance.index(3);
            if chance.below(5) == 0 {
                let old: Vec<_> = commits.iter().flatten().collect();
                envelopes.push(old[chance.index(old.len())].clone());
                continue;
            }
            let operations: Vec<Operation> =
                (0..1 + chance.below(4)).map(|_| mutated(&mut chance)).collect();
            let count = operations.len() as u64;
            let session = client as u64 + 1;
            let number = u8::try_from(client).unwrap();
            envelopes.push(world.envelope(number, session, next[client], operations));
            next[client] += count;
        }
        commits.push(envelopes);
    }
    commits
}

fn key(chance: &mut Chance) -> Vec<u8> {
    [b'k', b'0' + u8::try_from(chance.below(4)).unwrap()].to_vec()
}

fn condition(chance: &mut Chance) -> Condition {
    match chance.below(6) {
        0 => Condition::Absent,
        1 => Condition::Present,
        2 => Condition::ValueIs(b"v".to_vec()),
        3 => Condition::ChangedAt(Position(chance.below(9))),
        4 => Condition::LockedWith(Token(chance.below(4))),
        _ => Condition::Always,
    }
}

fn kv_request(chance: &mut Chance) -> KvRequest {
    let lease = LeaseId(chance.below(4));
    let value = || b"v".to_vec();
    match chance.below(10) {
        0 => KvRequest::Get { key: key(chance) },
        1 => KvRequest::List {
            prefix: vec![b'k'],
            after: vec![],
            limit: u16::try_from(chance.below(2000)).unwrap(),
            keys_only: chance.below(2) == 0,
        },
        2 => KvRequest::LeaseGrant { ttl_ms: chance.below(5000) },
        3 => KvRequest::LeaseRevoke { lease },
        4 => KvRequest::Lock { name: key(chance), lease },
        5 => KvRequest::Unlock { name: key(chance), lease },
        6 => KvRequest::Transaction {
            conditions: vec![(key(chance), condition(chance))],
            then: vec![Step::Put { key: key(chance), value: value(), lease: None }],
            otherwise: vec![Step::Get(key(chance)), Step::Delete(key(chance))],
        },
        _ => KvRequest::Write(Write {
            key: key(chance),
            value: (chance.below(3) > 0).then(value),
            condition: condition(chance),
            lease: (chance.below(3) == 0).then_some(lease),
        }),
    }
}

fn auth_request(chance: &mut Chance) -> AuthRequest {
    match chance.below(3) {
        0 => AuthRequest::WhoAmI,
        1 => AuthRequest::List { after: "c".into(), limit: 9 },
        _ => AuthRequest::Change {
            order: AuthOrder {
                cluster: ClusterId(Digest([3; 32])),
                incarnation: Incarnation(1),
                serial: chance.below(3),
                action: AuthAction::Revoke { name: "c1".into() },
            },
            approvals: vec![(PublicKey([1; 32]), Signature([2; 64]))],
        },
    }
}

/// A request of some service, often cut short, lengthened, or with changed bytes.
fn mutated(chance: &mut Chance) -> Operation {
    let service = ServiceId(u8::try_from(chance.below(4)).unwrap());
    let mut request = match service {
        ServiceId::SESSION => SessionRequest::Open.encode(),
        ServiceId::AUTH => auth_request(chance).encode(),
        _ => kv_request(chance).encode(),
    };
    match chance.below(8) {
        0 => request.truncate(chance.index(request.len() + 1)),
        1 => request.push(u8::try_from(chance.below(256)).unwrap()),
        2..4 => {
            for _ in 0..=chance.below(3) {
                let place = chance.index(request.len());
                request[place] = u8::try_from(chance.below(256)).unwrap();
            }
        }
        _ => {}
    }
    Operation { service, request }
}

/// What a replica shows of a commit: its root, its answers' root, its changes.
type Shown = (Digest, Digest, Position, Vec<(ServiceId, ChangeItem)>);

fn run(machine: &mut Machine, envelopes: &[Envelope]) -> Shown {
    let executed = machine.commit(envelopes.to_vec());
    (executed.state_root, executed.answers.root(), executed.position, executed.changes)
}

/// Scenario 35: whatever clients send, in whichever process and after whichever restarts.
#[test]
fn the_same_commits_give_the_same_roots_in_every_life_of_a_process() {
    for seed in 0..60 {
        let mut chance = Chance(seed ^ 0xabcd);
        let (mut one, mut other) = (services(), services());
        for envelopes in script(&one, seed) {
            one.time.0 += 400_000;
            other.time = one.time;
            assert_eq!(run(&mut one, &envelopes), run(&mut other, &envelopes), "seed {seed}");
            if chance.below(3) == 0 {
                let scheme = other.world.keyring.scheme().clone();
                other = other.restarted(Services::new(scheme));
            }
        }
        assert_eq!(*one.backend.entries(), *other.backend.entries(), "seed {seed}");
    }
}

#[test]
fn no_request_however_malformed_stops_a_replica() {
    for seed in 0..40 {
        let mut chance = Chance(seed);
        let mut machine = services();
        let session = machine.open(0, 1).unwrap();
        let mut first = 1;
        for _ in 0..20 {
            machine.time.0 += 700_000;
            let operations: Vec<_> = (0..20).map(|_| mutated(&mut chance)).collect();
            let client = machine.world.client(0);
            for operation in &operations {
                machine.execution.query(operation.service, client, &operation.request);
            }
            let envelope = machine.world.envelope(0, session, first, operations);
            assert_eq!(machine.submit(&envelope).len(), 20, "seed {seed}");
            first += 20;
        }
    }
}

#[test]
fn a_crash_loses_whole_commits_from_the_end_and_executing_them_again_changes_nothing() {
    for seed in 0..40 {
        let mut machine = services();
        let mut chance = Chance(seed);
        let commits = script(&machine, seed);
        let shown: Vec<_> = commits.iter().map(|some| run(&mut machine, some)).collect();
        let left = chance.index(machine.backend.unsynced_batches());
        let scheme = machine.world.keyring.scheme().clone();
        let after = machine.backend.snapshot();
        machine.backend.crash(1 + left);
        let mut machine = machine.restarted(Services::new(scheme));
        let done = usize::try_from(machine.execution.state().commit().0).unwrap();
        assert_eq!(done, left);
        machine.time.0 -= (commits.len() - done) as u64;
        for (envelopes, expected) in commits.iter().zip(shown).skip(done) {
            assert_eq!(run(&mut machine, envelopes), expected, "seed {seed}");
        }
        assert_eq!(*machine.backend.entries(), *after.entries(), "seed {seed}");
    }
}

#[test]
fn where_execution_stands_is_written_with_each_commit() {
    let mut machine = Machine::new();
    assert_eq!(recorded_horizon(&machine.backend), Round(0));
    let session = machine.open(0, 1).unwrap();
    let envelope = machine.world.toys(0, session, 1, &[Toy::Count]);
    machine.submit(&envelope);
    let world = machine.world.clone();
    let mut commit = world.commit(3, machine.time, vec![]);
    commit.state.leader_round = Round(500);
    let (_, delivered) = progress(machine.execution.state()).unwrap();
    let first = *delivered.first().unwrap();
    commit.forgotten = vec![first];
    machine.execution.execute(&commit);
    let (known, delivered) = progress(machine.execution.state()).unwrap();
    assert_eq!((known.position, &known.ordering), (Position(2), &commit.state));
    assert!(delivered.contains(&commit.blocks[0].reference()));
    assert!(!delivered.contains(&first), "{first:?}");
    assert_eq!(delivered.len(), 2, "{delivered:?}");
    assert_eq!(recorded_horizon(&machine.backend), commit.state.horizon());
    assert_eq!(machine.execution.horizon(), commit.state.horizon());
    let again = machine.restarted(Toys).execution;
    assert_eq!((again.position(), again.horizon()), (Position(2), commit.state.horizon()));
    assert_eq!(again.time(), commit.state.time);
}

#[test]
fn references_are_stored_in_the_order_in_which_they_sort() {
    for seed in 0..200 {
        let mut chance = Chance(seed);
        let mut reference = || BlockRef {
            round: Round(chance.below(3) * 255),
            author: ReplicaId(u16::try_from(chance.below(3) * 200).unwrap()),
            digest: Digest([u8::try_from(chance.below(3)).unwrap(); 32]),
        };
        let (one, other) = (reference(), reference());
        assert_eq!(one.cmp(&other), delivered_key(&one).cmp(&delivered_key(&other)));
        assert_eq!(reference_of(&delivered_key(&one)[1..]), Some(one));
    }
}
