use std::collections::BTreeSet;
use std::time::Duration;

use ravelin_crypto::answers::answer_leaf;
use ravelin_crypto::{merkle, state_tree};
use ravelin_model::limits::{CHECKPOINT_EVERY_DEFAULT, GC_DEPTH};
use ravelin_model::requests::auth::{AuthAction, AuthOrder, AuthRequest};
use ravelin_model::requests::kv::{KvRequest, entry_key};
use ravelin_model::requests::session::SessionRequest;
use ravelin_model::{Block, LogEntry, Operation, Refusal, ServiceId, SessionId, StateBackend as _};

use super::*;

mod audit;
mod cluster;
mod epoch_attacks;
mod epochs;
mod greedy;
mod release;
mod reopening;
mod transfers;

use crate::testing::session_operation;
use cluster::Cluster;

const KV: ServiceId = ServiceId::KV;
const SECOND: Duration = Duration::from_secs(1);

fn denied(first: u64, refusal: Refusal) -> ServerMessage {
    ServerMessage::Denied { session: SessionId(0), first, refusal }
}

fn watch(id: u64, service: ServiceId) -> ClientMessage {
    ClientMessage::Watch { id, service, prefix: vec![], from: Position(0) }
}

/// Everything that a client may ask, by the number 7 where it has one.
fn questions() -> Vec<ClientMessage> {
    let request = KvRequest::Get { key: b"k".to_vec() }.encode();
    vec![
        ClientMessage::Read { id: 7, service: KV, request },
        ClientMessage::Prove { id: 7, service: KV, key: entry_key(b"k") },
        watch(7, KV),
    ]
}

#[test]
fn equal_answers_come_from_all_replicas_each_under_its_signature() {
    for seed in 0..10 {
        let mut cluster = Cluster::new(seed);
        let session = cluster.open_session();
        let client = cluster.world.client(0);
        let connections = (0..4).map(|id| cluster.connect(id, 5, client)).collect::<Vec<_>>();
        // To all of them: it happens once all the same.
        let envelope = cluster.write(session, 1, b"k");
        for (id, connection) in (0..4).zip(&connections) {
            cluster.submit(id, *connection, &envelope);
        }
        cluster.run(5 * SECOND);
        let mut results = BTreeSet::new();
        for (id, connection) in (0..4).zip(&connections) {
            let heard = cluster.take(id, *connection);
            assert!(!heard.is_empty(), "seed {seed}: replica {id} answers");
            for message in heard {
                let ServerMessage::Answers { statement, batch, path } = message else {
                    panic!("seed {seed}: {message:?}")
                };
                if batch.session == SessionId(0) {
                    continue; // the opening, at those who were late
                }
                assert_eq!(statement.replica, ReplicaId(id));
                assert!(cluster.world.keyring.holds(&statement));
                let leaf = answer_leaf(&batch);
                assert!(merkle::verify(&statement.statement.answers, &leaf, &path));
                results.extend(batch.answers.iter().map(|answer| answer.encode()));
            }
        }
        assert_eq!(results.len(), 1, "seed {seed}");
        cluster.submit(3, connections[3], &envelope);
        let [ServerMessage::Repeated(batch)] = &cluster.take(3, connections[3])[..] else {
            panic!("seed {seed}")
        };
        assert!(results.contains(&batch.answers[0].encode()));
    }
}

#[test]
fn a_stranger_learns_who_the_members_are_and_how_they_fare_and_nothing_else() {
    let mut cluster = Cluster::new(1);
    let session = cluster.open_session();
    let stranger = cluster.connect(0, 7, cluster.world.client(9));
    let mut all = questions();
    all.extend([
        ClientMessage::Attach { session: SessionId(session) },
        ClientMessage::Unwatch { id: 7 },
    ]);
    for question in all {
        cluster.ask(0, stranger, question.clone());
        let heard = cluster.take(0, stranger);
        let is_denied = |first| heard == [denied(first, Refusal::UnknownClient)];
        assert!(is_denied(7) || is_denied(0), "{question:?}: {heard:?}");
    }
    let own = cluster.world.envelope(9, session, 1, cluster.write(1, 1, b"k").operations);
    cluster.submit(0, stranger, &own);
    // Nor does another's signature help.
    let stolen = cluster.write(session, 1, b"k");
    cluster.submit(0, stranger, &stolen);
    let refused: Vec<_> = [7, 7].map(|_| Refusal::UnknownClient).into();
    let heard = cluster.take(0, stranger);
    let refusals = heard.iter().map(|message| match message {
        ServerMessage::Denied { refusal, .. } => *refusal,
        other => panic!("{other:?}"),
    });
    assert_eq!(refusals.collect::<Vec<_>>(), refused);
    assert!(cluster.replica(0).ordering().payload().is_empty());
    cluster.run(SECOND);
    assert_eq!(cluster.take(0, stranger), []);
    cluster.ask(0, stranger, ClientMessage::Plans);
    cluster.ask(0, stranger, ClientMessage::Status { id: 3 });
    let heard = cluster.take(0, stranger);
    assert_eq!(heard[0], ServerMessage::Plans(vec![cluster.world.plan.clone()]));
    assert!(
        matches!(&heard[1], ServerMessage::Status { id: 3, report } if report.state == "correct")
    );
    // A connection that was never opened, or is closed, hears nothing at all.
    cluster.ask(0, ConnectionId(99), ClientMessage::Plans);
    cluster.act(0, |replica, _, _| replica.on_client_closed(stranger));
    cluster.ask(0, stranger, ClientMessage::Plans);
    assert!(cluster.nodes[0].heard.is_empty());
}

#[test]
fn a_client_submits_in_its_own_name_alone() {
    let mut cluster = Cluster::new(2);
    let session = cluster.open_session();
    let other = cluster.connect(0, 7, cluster.world.client(1));
    let envelope = cluster.write(session, 1, b"k");
    cluster.submit(0, other, &envelope);
    let session = SessionId(session);
    let refusal = Refusal::UnknownClient;
    assert_eq!(cluster.take(0, other), [ServerMessage::Denied { session, first: 1, refusal }]);
    assert!(cluster.replica(0).ordering().payload().is_empty());
    // What was not checked is not taken, whoever brings it.
    cluster.ask(0, other, ClientMessage::Submit(envelope));
    assert!(cluster.nodes[0].heard.is_empty());
    assert!(cluster.replica(0).ordering().payload().is_empty());
}

/// Neither proofs nor watches pass the services by.
#[test]
fn a_key_that_only_approves_opens_no_data() {
    let mut cluster = Cluster::new(3);
    cluster.open_session();
    let administrator = cluster.connect(0, 7, cluster.world.administrator().public());
    cluster.run(3 * SECOND);
    for question in &questions()[1..] {
        cluster.ask(0, administrator, question.clone());
        assert_eq!(cluster.take(0, administrator), [denied(7, Refusal::UnknownClient)]);
    }
    // Who is let in is its business, how others' sessions stand is nobody's.
    cluster.ask(0, administrator, watch(7, ServiceId::AUTH));
    let heard = cluster.take(0, administrator);
    assert!(matches!(heard[..], [ServerMessage::Changes { .. }]), "{heard:?}");
    let client = cluster.connect(0, 8, cluster.world.client(0));
    for service in [ServiceId::SESSION, ServiceId(0xfe), ServiceId(0xff)] {
        let key = b"s".to_vec();
        cluster.ask(0, client, ClientMessage::Prove { id: 7, service, key });
        cluster.ask(0, client, watch(7, service));
        let refused = denied(7, Refusal::UnknownClient);
        assert_eq!(cluster.take(0, client), [refused.clone(), refused]);
    }
}

#[test]
fn watchers_are_told_of_changes_until_they_are_shut_out() {
    let mut cluster = Cluster::new(4);
    let session = cluster.open_session();
    let watcher = cluster.connect(2, 7, cluster.world.client(1));
    cluster.ask(2, watcher, watch(7, KV));
    assert_eq!(cluster.take(2, watcher).len(), 1);
    let connection = cluster.connect(0, 8, cluster.world.client(0));
    let first = cluster.write(session, 1, b"k");
    cluster.submit(0, connection, &first);
    cluster.run_until("a change told", |cluster| cluster.nodes[2].heard.contains_key(&watcher));
    let [ServerMessage::Changes { items, .. }] = &cluster.take(2, watcher)[..] else { panic!() };
    assert_eq!(items[0].change.key, entry_key(b"k"));
    // An administrators' order revokes the watcher.
    let order = AuthOrder {
        cluster: cluster.world.keyring.cluster(),
        incarnation: cluster.world.keyring.incarnation(),
        serial: 1,
        action: AuthAction::Revoke { name: "c1".into() },
    };
    let key = cluster.world.administrator();
    let approval = key.sign(ravelin_crypto::Domain::AuthOrder, &order.encode());
    let change = AuthRequest::Change { order, approvals: vec![(key.public(), approval)] };
    let operation = Operation { service: ServiceId::AUTH, request: change.encode() };
    let revoking = cluster.world.envelope(0, session, 2, vec![operation]);
    cluster.submit(0, connection, &revoking);
    cluster.run(3 * SECOND);
    let second = cluster.write(session, 3, b"k");
    cluster.submit(0, connection, &second);
    cluster.run(3 * SECOND);
    assert_eq!(cluster.take(2, watcher), [denied(7, Refusal::UnknownClient)]);
}

#[test]
fn an_entry_is_proven_against_what_a_quorum_signed() {
    let mut cluster = Cluster::new(5);
    let session = cluster.open_session();
    let connection = cluster.connect(0, 8, cluster.world.client(0));
    let envelope = cluster.write(session, 1, b"k");
    cluster.submit(0, connection, &envelope);
    cluster.run(15 * SECOND); // heartbeats bring the statements round
    let client = cluster.connect(3, 9, cluster.world.client(2));
    for (key, is_there) in [(b"k", true), (b"x", false)] {
        let key = entry_key(key);
        cluster.ask(3, client, ClientMessage::Prove { id: 1, service: KV, key: key.clone() });
        let [ServerMessage::Proof { id: 1, statements, proof: Some(proof) }] =
            &cluster.take(3, client)[..]
        else {
            panic!("no proof")
        };
        let members: BTreeSet<_> = statements.iter().map(|signed| signed.replica).collect();
        assert!(members.len() >= 3 && members.len() == statements.len());
        assert!(statements.iter().all(|signed| cluster.world.keyring.holds(signed)));
        let root = statements[0].statement.state;
        assert!(state_tree::verify_proof(&root, &state_tree::state_key(KV, &key), proof));
        assert_eq!(proof.value.is_some(), is_there);
    }
}

/// Two of four members prove to be offenders: more than `f`.
fn halt(cluster: &mut Cluster, id: u16) {
    for member in [2, 3] {
        for message in cluster.fork(member) {
            let from = ReplicaId(member);
            cluster.act(id, |replica, now, out| replica.on_message(now, from, message, out));
        }
    }
}

fn check_is_halted(cluster: &mut Cluster, id: u16) {
    let reason = HaltReason::TooManyOffenders { members: vec![ReplicaId(2), ReplicaId(3)] };
    assert_eq!(*cluster.replica(id).status(), Status::FailSafe(reason));
    let client = cluster.connect(id, 7, cluster.world.client(0));
    for question in questions() {
        cluster.ask(id, client, question);
        assert_eq!(cluster.take(id, client), [denied(7, Refusal::Halted)]);
    }
    let opening = cluster.world.opening(0, 9);
    cluster.submit(id, client, &opening);
    assert_eq!(cluster.take(id, client), [denied(9, Refusal::Halted)]);
    cluster.ask(id, client, ClientMessage::Status { id: 3 });
    let heard = cluster.take(id, client);
    assert!(
        matches!(&heard[..], [ServerMessage::Status { report, .. }] if report.state == "fail_safe")
    );
    assert_eq!(cluster.replica(id).next_deadline(), None);
    let now = cluster.now.after(60 * SECOND);
    let replica = cluster.node(id).replica.as_mut().expect("it is up");
    let mut out = Vec::new();
    replica.on_time(now, &mut out);
    replica.on_message(now, ReplicaId(1), Message::Recall(1), &mut out);
    replica.on_message(now, ReplicaId(1), Message::Replay(Round(1)), &mut out);
    assert!(out.is_empty(), "{out:?}");
}

#[test]
fn more_than_f_proven_offenders_stop_a_replica_for_good() {
    for seed in 0..10 {
        let mut cluster = Cluster::new(seed);
        if seed % 2 == 1 {
            cluster.open_session();
        }
        halt(&mut cluster, 0);
        check_is_halted(&mut cluster, 0);
        let said = cluster.nodes[0].log.len();
        cluster.run(3 * SECOND);
        assert_eq!(cluster.nodes[0].log.len(), said, "it writes nothing either");
        // Power fails right then, and whatever was not synced is gone.
        for _ in 0..2 {
            cluster.crash(0);
            cluster.node(0).backend.crash(0);
            cluster.node(0).statuses.clear();
            cluster.start(0);
            check_is_halted(&mut cluster, 0);
            assert_eq!(cluster.nodes[0].statuses.len(), 1, "whoever starts it is told");
        }
    }
}

#[test]
fn nothing_shows_of_what_was_decided_after_the_reason_to_halt() {
    let mut cluster = Cluster::new(12);
    let proofs = [2, 3].map(|member| {
        let [Message::Block(first), Message::Block(second)] = cluster.fork(member) else {
            panic!("two blocks")
        };
        let (first, second) = (first.signed_header(), second.signed_header());
        Evidence::Equivocation { first, second }
    });
    let [Message::Block(block), _] = cluster.fork(1) else { panic!("two blocks") };
    let record = LogRecord::of(&block);
    let replica = cluster.node(0).replica.as_mut().expect("it is up");
    let accuse = |proof: &Evidence| {
        Action::Accuse(proof.accused(), ravelin_model::Misbehaviour::Proven(proof.clone()))
    };
    let inner = vec![
        accuse(&proofs[0]),
        accuse(&proofs[1]),
        Action::Persist(LogEntry::Whole(record)),
        Action::Send(ReplicaId(1), Message::Replay(Round(1))),
        Action::Broadcast(Message::Block(block)),
    ];
    let mut out = Vec::new();
    replica.carry_out(inner, &mut out);
    assert!(matches!(
        out[..],
        [Action::Accuse(..), Action::Accuse(..), Action::Emit(Event::Status(Status::FailSafe(_)))]
    ));
}

/// Clients see lies that members never tell each other.
#[test]
fn what_a_client_files_counts_if_it_proves_what_it_says() {
    let mut cluster = Cluster::new(13);
    let client = cluster.connect(0, 7, cluster.world.client(0));
    let stranger = cluster.connect(0, 8, cluster.world.client(9));
    let proof = |member| {
        let statement = |result: u8| {
            let keyring = &cluster.world.keyring;
            let statement = CommitStatement {
                cluster: keyring.cluster(),
                incarnation: keyring.incarnation(),
                epoch: keyring.epoch(),
                commit: CommitIndex(1),
                position: Position(1),
                time: Time(1),
                answers: Digest([result; 32]),
                state: Digest([result; 32]),
                ordering: None,
            };
            let key = cluster.world.block_key(ReplicaId(member));
            keyring.sign_statement(&key, ReplicaId(member), statement)
        };
        Evidence::TwoStatements { first: statement(1), second: statement(2) }
    };
    let (of_2, of_3) = (proof(2), proof(3));
    let Evidence::TwoStatements { first, mut second } = of_2.clone() else { panic!() };
    second.replica = ReplicaId(1);
    for slander in [
        Evidence::TwoStatements { first, second },
        Evidence::TwoStatements { first, second: first },
        Evidence::WrongStatement { accused: first, correct: vec![first; 50_000 / 231] },
    ] {
        cluster.ask(0, client, ClientMessage::File(slander));
    }
    cluster.ask(0, stranger, ClientMessage::File(of_2.clone()));
    assert!(cluster.replica(0).evidence().is_empty());
    for _ in 0..3 {
        cluster.ask(0, client, ClientMessage::File(of_2.clone()));
    }
    assert_eq!(cluster.replica(0).evidence()[&ReplicaId(2)], std::slice::from_ref(&of_2));
    // It goes to the others in the next block.
    cluster.run(10 * SECOND);
    assert_eq!(cluster.replica(1).evidence()[&ReplicaId(2)], [of_2]);
    cluster.ask(1, ConnectionId(7), ClientMessage::Plans);
    let client = cluster.connect(1, 7, cluster.world.client(0));
    cluster.ask(1, client, ClientMessage::File(of_3));
    check_is_halted(&mut cluster, 1);
}

#[test]
fn f_proven_offenders_stop_nobody() {
    let mut cluster = Cluster::new(6);
    for message in cluster.fork(3) {
        for id in 0..3 {
            let message = message.clone();
            cluster.act(id, |replica, now, out| {
                replica.on_message(now, ReplicaId(3), message, out);
            });
        }
    }
    cluster.open_session();
    for id in 0..3 {
        assert_eq!(*cluster.replica(id).status(), Status::Active);
        assert_eq!(cluster.nodes[usize::from(id)].accused, BTreeSet::from([ReplicaId(3)]));
        assert_eq!(cluster.replica(id).report().members[3].state, "faulty");
    }
}

/// A proof that one replica found and had not said before all stopped comes into the order after that.
#[test]
fn a_proof_found_just_before_a_stop_of_all_is_ordered_after_it() {
    let mut cluster = Cluster::new(8);
    cluster.open_session();
    for message in cluster.fork(3) {
        cluster.act(0, |replica, now, out| replica.on_message(now, ReplicaId(3), message, out));
    }
    assert!(cluster.replica(1).evidence().is_empty(), "it is not said yet");
    (0..4).for_each(|id| cluster.crash(id));
    (0..3).for_each(|id| cluster.start(id));
    cluster.run_until("all know", |cluster| {
        (0..3).all(|id| !cluster.replica(id).evidence().is_empty())
    });
}

/// A proof that was ordered counts in all later lives.
#[test]
fn no_restart_forgets_a_proof() {
    let mut cluster = Cluster::new(7);
    for message in cluster.fork(3) {
        cluster.act(0, |replica, now, out| replica.on_message(now, ReplicaId(3), message, out));
    }
    cluster.crash(3);
    // The proof travels in replica 0's next block and is ordered.
    cluster.run_until("all know", |cluster| {
        (0..3).all(|id| !cluster.replica(id).evidence().is_empty())
    });
    cluster.run(3 * SECOND);
    let known = cluster.replica(1).evidence().clone();
    cluster.crash(1);
    cluster.node(1).log.clear(); // not by its log alone
    let backend = cluster.nodes[1].backend.snapshot();
    let again = cluster.build(1, &backend, &[]);
    assert_eq!(*again.evidence(), known);
    assert_eq!(again.report().members[3].state, "faulty");
    cluster.node(1).replica = Some(again);
    for message in cluster.fork(2) {
        cluster.act(1, |replica, now, out| replica.on_message(now, ReplicaId(2), message, out));
    }
    check_is_halted(&mut cluster, 1);
}

#[test]
fn a_replica_whose_state_is_wrong_stops_and_the_others_prove_it_and_go_on() {
    let mut cluster = Cluster::new(8);
    let session = cluster.open_session();
    cluster.run(2 * SECOND);
    cluster.crash(3);
    cluster.rot(3);
    cluster.start(3);
    let connection = cluster.connect(0, 8, cluster.world.client(0));
    let envelope = cluster.write(session, 1, b"k");
    cluster.submit(0, connection, &envelope);
    cluster.run(10 * SECOND);
    assert!(matches!(cluster.replica(3).status(), Status::FailSafe(HaltReason::Diverged { .. })));
    for id in 0..3 {
        assert_eq!(*cluster.replica(id).status(), Status::Active);
        let kinds: Vec<_> =
            cluster.replica(id).evidence()[&ReplicaId(3)].iter().map(Evidence::kind).collect();
        assert_eq!(kinds, ["wrong_statement"]);
    }
    let commit = cluster.replica(0).execution().state().commit();
    cluster.crash(3);
    cluster.start(3);
    cluster.run(3 * SECOND);
    assert!(matches!(cluster.replica(3).status(), Status::FailSafe(_)));
    assert!(cluster.replica(0).execution().state().commit() > commit);
}

/// Whatever survives of log and state: what is executed again gives what it gave before.
#[test]
fn a_restart_from_any_prefix_of_log_and_state_executes_the_same() {
    for seed in 0..8 {
        let mut cluster = Cluster::new(seed);
        let session = cluster.open_session();
        let connection = cluster.connect(0, 8, cluster.world.client(0));
        for first in 1..=12 {
            let envelope =
                cluster.write(session, first, &[b'a' + u8::try_from(first % 3).unwrap()]);
            cluster.submit(0, connection, &envelope);
            cluster.run(Duration::from_millis(7));
        }
        cluster.run(2 * SECOND);
        let node = &cluster.nodes[1];
        let (batches, records) = (node.backend.unsynced_batches(), node.log.len());
        assert!(batches > 10);
        for _ in 0..60 {
            let backend = cluster.nodes[1].backend.snapshot();
            backend.crash(cluster.chance.index(batches + 1));
            let log = cluster.nodes[1].log[..cluster.chance.index(records + 1)].to_vec();
            let mut replica = cluster.build(1, &backend, &log);
            let before = replica.execution().state().commit();
            replica.resume(cluster.now, &mut Vec::new());
            let execution = replica.execution();
            let commit = execution.state().commit();
            assert!(commit >= before);
            let stands = (execution.state().root(), execution.position(), execution.time());
            let known = cluster.roots.get(&commit);
            assert!(known.is_none_or(|known| *known == stands), "seed {seed}: {commit:?}");
            assert!(known.is_some() || commit == CommitIndex(0));
            if log.len() == records {
                let last = cluster.replica(1).execution().state();
                assert_eq!((commit, stands.0), (last.commit(), last.root()), "seed {seed}");
            }
        }
    }
}

#[test]
fn replicas_that_crash_at_any_moment_agree_and_forget_nothing_they_answered() {
    for seed in 0..12 {
        let mut cluster = Cluster::new(seed);
        let session = cluster.open_session();
        for first in 1..=20 {
            let victim = u16::try_from(cluster.chance.below(4)).unwrap();
            let home = (victim + 1) % 4;
            let connection = cluster.connect(home, 8, cluster.world.client(0));
            cluster.take(home, connection);
            let envelope = cluster.write(session, first, b"k");
            cluster.submit(home, connection, &envelope);
            let span = Duration::from_micros(cluster.chance.below(15_000));
            cluster.run(span);
            cluster.crash(victim);
            cluster.run_until("an answer with one down", |cluster| {
                let heard = cluster.nodes[usize::from(home)].heard.get(&connection);
                heard.into_iter().flatten().any(|message| answers(message, first))
            });
            cluster.start(victim);
            cluster.run_until("it is back", |cluster| {
                *cluster.replica(victim).status() == Status::Active
            });
        }
        cluster.run(15 * SECOND);
        for id in 0..4 {
            let replica = cluster.replica(id);
            let view = replica.execution().state().view(KV);
            let stored = ravelin_model::View::get(&view, &entry_key(b"k")).expect("written");
            assert!(stored.ends_with(&20u64.to_le_bytes()), "seed {seed}: replica {id}");
            assert!(cluster.nodes[usize::from(id)].accused.is_empty(), "seed {seed}");
            assert!(replica.evidence().is_empty());
        }
    }
}

/// Whether a message answers the operation with this number.
fn answers(message: &ServerMessage, number: u64) -> bool {
    let (ServerMessage::Answers { batch, .. } | ServerMessage::Repeated(batch)) = message else {
        return false;
    };
    batch.answers.iter().any(|answer| answer.sequence.0 == number)
}

/// The second restart finds a state that has passed the replica's last block, of which the log
/// below says nothing any more. Its next block must name it all the same.
#[test]
fn a_replica_that_was_away_for_long_and_restarts_twice_contradicts_itself_never() {
    for seed in 0..6 {
        let mut cluster = Cluster::new(seed);
        cluster.open_session();
        cluster.node(3).is_cut_off = true;
        let last = cluster.replica(3).ordering().round();
        let far = last.plus(3 * GC_DEPTH);
        while cluster.replica(0).ordering().round() < far {
            cluster.step();
        }
        cluster.node(3).is_cut_off = false;
        cluster.crash(3);
        cluster.start(3);
        let until = cluster.now.after(60 * SECOND);
        let passed = |cluster: &Cluster| cluster.replica(3).execution().horizon() > last;
        while !passed(&cluster) && cluster.now < until {
            cluster.step();
        }
        assert!(passed(&cluster), "seed {seed}: it catches up");
        cluster.node(3).backend.sync();
        cluster.crash(3);
        cluster.start(3);
        let until = cluster.now.after(60 * SECOND);
        while cluster.replica(3).ordering().round() < far && cluster.now < until {
            cluster.step();
        }
        assert!(cluster.replica(3).ordering().round() >= far, "seed {seed}: it speaks again");
        assert_eq!(*cluster.replica(3).status(), Status::Active, "seed {seed}");
        check_chain(&cluster, ReplicaId(3));
        assert!(cluster.nodes.iter().all(|node| node.accused.is_empty()), "seed {seed}");
    }
}

/// No two blocks that a member ever sent contradict each other.
fn check_chain(cluster: &Cluster, member: ReplicaId) {
    let records = cluster.nodes.iter().flat_map(|node| &node.log);
    let blocks = records.map(|record| Block::decode("block", &record.bytes).expect("a block"));
    let own = blocks.filter(|block| block.body.author == member);
    let mut headers: Vec<_> = own
        .map(|block| {
            let digest = ravelin_crypto::keyring::block_reference(&block).digest;
            block.body.header(digest)
        })
        .collect();
    headers.sort_by_key(|header| header.reference);
    headers.dedup();
    for pair in headers.windows(2) {
        assert!(!pair[0].contradicts(&pair[1]), "{pair:?}");
    }
}

/// The state may outlive the end of the log: a block that only the state knows of was never sent.
#[test]
fn a_block_that_the_log_lost_before_it_was_sent_is_not_missed() {
    let mut cluster = Cluster::new(14);
    cluster.open_session();
    cluster.run(5 * SECOND);
    let node = &cluster.nodes[2];
    let is_own = |record: &&LogRecord| {
        let block = Block::decode("block", &record.bytes).expect("a block");
        block.body.author == ReplicaId(2)
    };
    let rounds: Vec<_> = node.log.iter().filter(is_own).map(|record| record.place.round).collect();
    let known = last_block(cluster.replica(2).execution().state()).expect("written").round;
    let before = *rounds.iter().rev().find(|round| **round < known).expect("it made more");
    let kept = node.log.iter().filter(|record| !is_own(record) || record.place.round < known);
    let kept: Vec<_> = kept.cloned().collect();
    let again = cluster.build(2, &node.backend.snapshot(), &kept);
    assert_eq!(again.ordering().round(), before);
}

/// A learner that restarts must not take what it heard of itself for what it remembers.
#[test]
fn a_learner_stays_one_through_restarts() {
    let mut cluster = Cluster::new(9);
    cluster.open_session();
    cluster.run(2 * SECOND);
    cluster.crash(2);
    cluster.node(2).log.clear();
    cluster.node(2).backend = Default::default();
    cluster.start(2);
    cluster.run_until("it notices", |cluster| *cluster.replica(2).status() == Status::Learner);
    cluster.run(10 * SECOND);
    let commit = cluster.replica(0).execution().state().commit();
    assert!(cluster.replica(2).execution().state().commit().0 + 20 > commit.0, "it follows");
    for _ in 0..3 {
        cluster.node(2).backend.sync();
        cluster.crash(2);
        cluster.start(2);
        cluster.run(5 * SECOND);
        assert_eq!(*cluster.replica(2).status(), Status::Learner);
    }
    check_chain(&cluster, ReplicaId(2));
}

/// The digest covers the state and the ordering state, so that a restored replica delivers alike.
#[test]
fn checkpoints_are_equal_at_all_replicas_and_make_the_log_below_prunable() {
    let mut cluster = Cluster::new(10);
    cluster.open_session();
    let checkpoint = CommitIndex(CHECKPOINT_EVERY_DEFAULT);
    // What is said to be prunable is not needed to start again, whenever the power goes.
    let (mut tried, mut records) = (BTreeSet::new(), Vec::new());
    while tried.len() < 4 {
        cluster.step();
        assert!(cluster.now.0 < 20_000_000_000, "no checkpoint becomes stable");
        for id in 0..4 {
            let Some(prunable) = cluster.node(id).prunable.first().copied() else { continue };
            if tried.insert(id) {
                assert!(prunable.round > Round(0));
                records.extend(cluster.node(id).log.iter().cloned());
                cluster.node(id).log.retain(|record| record.place > prunable);
                cluster.node(id).backend.crash(0);
                cluster.crash(id);
                cluster.start(id);
                let back = |cluster: &Cluster| *cluster.replica(id).status() == Status::Active;
                cluster.run_until("it is back", back);
            }
        }
    }
    cluster.run(SECOND);
    records.extend(cluster.nodes.iter().flat_map(|node| &node.log).cloned());
    let mut stated = BTreeSet::new();
    let mut digests = BTreeSet::new();
    for record in &records {
        let block = Block::decode("block", &record.bytes).expect("a block");
        for vote in &block.body.votes {
            if let Vote::Statement(signed) = vote
                && signed.statement.commit == checkpoint
            {
                stated.insert(signed.replica);
                digests.insert((signed.statement.ordering, signed.statement.state));
            }
        }
    }
    assert!(stated.len() >= 3, "{stated:?}");
    assert!(digests.len() == 1 && digests.iter().all(|(ordering, _)| ordering.is_some()));
    cluster.run(3 * SECOND);
}

#[test]
fn a_full_replica_says_when_to_come_back() {
    let mut cluster = Cluster::new(11);
    let session = cluster.open_session();
    let connection = cluster.connect(0, 8, cluster.world.client(0));
    cluster.node(0).is_cut_off = true;
    let mut first = 1;
    while !cluster.nodes[0].heard.contains_key(&connection) {
        let mut operations = cluster.write(session, first, b"k").operations;
        operations[0].request.resize(900_000, 0);
        let envelope = cluster.world.envelope(0, session, first, operations);
        cluster.submit(0, connection, &envelope);
        first += 1;
        assert!(first < 30, "never full");
    }
    let heard = cluster.take(0, connection);
    assert!(matches!(heard[..], [ServerMessage::Busy { retry_after_ms: 20, .. }]), "{heard:?}");
}

#[test]
fn a_replica_without_room_takes_nothing_new_and_answers_and_follows() {
    let mut cluster = Cluster::new(12);
    let session = cluster.open_session();
    let (key, known) = (cluster.world.client(0), cluster.write(session, 1, b"k"));
    let [connection, other] = [(0, 8), (1, 9)].map(|(id, number)| cluster.connect(id, number, key));
    cluster.submit(0, connection, &known);
    cluster.run(2 * SECOND);
    assert!(!cluster.take(0, connection).is_empty(), "answered");
    cluster.act(0, |replica, _, _| replica.close_admission(Some(1000)));
    let new = cluster.write(session, 2, b"k");
    cluster.submit(0, connection, &new);
    let heard = cluster.take(0, connection);
    assert!(matches!(heard[..], [ServerMessage::Busy { retry_after_ms: 1000, .. }]), "{heard:?}");
    cluster.submit(0, connection, &known);
    let heard = cluster.take(0, connection);
    assert!(matches!(heard[..], [ServerMessage::Repeated(_)]), "{heard:?}");
    let before = cluster.replica(0).execution().position();
    cluster.submit(1, other, &new);
    cluster.run(2 * SECOND);
    assert!(cluster.replica(0).execution().position() > before, "it executes what others propose");
    cluster.act(0, |replica, _, _| replica.close_admission(None));
    cluster.submit(0, connection, &cluster.write(session, 3, b"k"));
    cluster.run(2 * SECOND);
    let heard = cluster.take(0, connection);
    assert!(!heard.iter().any(|heard| matches!(heard, ServerMessage::Busy { .. })), "{heard:?}");
}
