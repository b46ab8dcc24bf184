//! What an intruder, or bad luck, tries when an epoch ends.

use ravelin_model::{EpochMessage, OperationResult, PublicKey};

use super::epochs::{all_in, change_key, epoch_of};
use super::*;

/// Envelopes that an own block took at the very end of an epoch are proposed again.
#[test]
fn no_envelope_is_lost_with_the_epoch() {
    for seed in 0..10 {
        let mut cluster = Cluster::with_keys(seed, 2);
        let session = cluster.open_session();
        let connection = cluster.connect(0, 7, cluster.world.client(0));
        change_key(&mut cluster, 1);
        let mut envelopes = Vec::new();
        let mut first = 0;
        while epoch_of(&cluster, 0) == 1 {
            first += 1;
            let envelope = cluster.write(session, first, &first.to_le_bytes());
            cluster.submit(0, connection, &envelope);
            envelopes.push(envelope);
            (0..4).for_each(|_| cluster.step());
        }
        cluster.run_until("the next epoch", all_in(2));
        cluster.run(10 * SECOND);
        // As its client does.
        for envelope in &envelopes {
            cluster.submit(0, connection, envelope);
        }
        cluster.run(10 * SECOND);
        check_executed(&cluster, &envelopes, seed);
    }
}

fn check_executed(cluster: &Cluster, envelopes: &[Envelope], seed: u64) {
    let execution = cluster.replica(0).execution();
    let lost = envelopes.iter().filter(|it| !execution.is_repeated(it)).count();
    assert_eq!(lost, 0, "seed {seed}: of {}", envelopes.len());
}

/// Submits the order by which administrators give `member` the next key of its own.
fn readmit(cluster: &mut Cluster, session: u64, first: u64, member: u16) {
    let block = cluster.world.block_key_of(ReplicaId(member), 1).public();
    order_key(cluster, (session, first), (ReplicaId(member), block));
}

/// Submits administrators' first order: this key for that member.
fn order_key(
    cluster: &mut Cluster,
    (session, first): (u64, u64),
    (member, block): (ReplicaId, PublicKey),
) -> ConnectionId {
    let order = AuthOrder {
        cluster: cluster.world.keyring.cluster(),
        incarnation: cluster.world.keyring.incarnation(),
        serial: 1,
        action: AuthAction::Rekey { member, block },
    };
    let key = cluster.world.administrator();
    let approval = key.sign(ravelin_crypto::Domain::AuthOrder, &order.encode());
    let change = AuthRequest::Change { order, approvals: vec![(key.public(), approval)] };
    let operation = Operation { service: ServiceId::AUTH, request: change.encode() };
    let envelope = cluster.world.envelope(0, session, first, vec![operation]);
    let connection = cluster.connect(0, 70 + first, cluster.world.client(0));
    cluster.submit(0, connection, &envelope);
    connection
}

/// Orders that administrators signed, and that no plan fits: of a member that is none, with a key that
/// another one has, or the same again.
#[test]
fn an_order_that_no_plan_fits_is_refused_and_stops_nobody() {
    let mut cluster = Cluster::with_keys(3, 2);
    let session = cluster.open_session();
    let present = |member: u16| cluster.world.block_key_of(ReplicaId(member), 0).public();
    let next = cluster.world.block_key_of(ReplicaId(2), 1).public();
    let unfit = [
        (ReplicaId(2), present(1)),
        (ReplicaId(2), present(2)),
        (ReplicaId(4), next),
        (ReplicaId(u16::MAX), next),
    ];
    for (first, (member, block)) in (1..).zip(unfit) {
        let connection = order_key(&mut cluster, (session, first), (member, block));
        cluster.run(2 * SECOND);
        let heard = cluster.take(0, connection);
        let refused = |message: &ServerMessage| match message {
            ServerMessage::Answers { batch, .. } => batch
                .answers
                .iter()
                .any(|answer| answer.result == OperationResult::Refused(Refusal::Unfit)),
            _ => false,
        };
        assert!(heard.iter().any(refused), "order {first}: {heard:?}");
    }
    assert!(all_in(1)(&cluster), "nobody went anywhere, and nobody stopped");
    order_key(&mut cluster, (session, 9), (ReplicaId(2), next));
    cluster.run_until("an order that fits", all_in(2));
}

/// Who was readmitted stays so, though a replica restarted between the end and the beginning.
#[test]
fn forgiven_proofs_do_not_come_back() {
    let mut cluster = Cluster::with_keys(1, 2);
    let session = cluster.open_session();
    cluster.run(SECOND);
    let mut forks = Vec::new();
    for message in cluster.fork(3) {
        forks.push(message);
    }
    cluster.crash(3);
    for message in forks {
        cluster.act(0, |replica, now, out| replica.on_message(now, ReplicaId(3), message, out));
    }
    let filed = cluster.replica(0).evidence().len();
    assert!(filed <= 1);
    cluster.run(5 * SECOND);
    let proof = cluster.replica(0).evidence().values().flatten().next().cloned();
    assert!(proof.is_some(), "the fork is proven");
    readmit(&mut cluster, session, 1, 3);
    cluster.run_until("an end", |cluster| cluster.replica(0).has_ended());
    cluster.crash(0);
    cluster.start(0);
    assert!(cluster.replica(0).has_ended(), "restarted in the Ended stage");
    cluster.run_until("epoch 2", |cluster| (0..3).all(|id| epoch_of(cluster, id) == 2));
    cluster.start(3);
    cluster.run_until("all are back", all_in(2));
    cluster.run(3 * SECOND);
    assert!(cluster.replica(0).evidence().is_empty(), "forgiven in memory");
    let connection = cluster.connect(0, 99, cluster.world.client(0));
    let envelope = cluster.write(session, 2, b"k");
    cluster.submit(0, connection, &envelope);
    cluster.run(5 * SECOND);
    cluster.node(0).replica.as_mut().unwrap().close();
    cluster.crash(0);
    cluster.start(0);
    assert!(cluster.replica(0).evidence().is_empty(), "the proof came back from the disk");
}

/// A member orders, for itself, the key for which another one asks: that one never gets a key again.
#[test]
fn nobody_takes_anothers_next_key() {
    let mut cluster = Cluster::with_keys(2, 2);
    cluster.open_session();
    let rekey = ravelin_model::Rekey {
        cluster: cluster.world.keyring.cluster(),
        incarnation: cluster.world.keyring.incarnation(),
        epoch: ravelin_model::Epoch(1),
        member: ReplicaId(3),
        block: cluster.world.block_key_of(ReplicaId(2), 1).public(), // seen in 2's own order
        instance: None,
    };
    let identity = cluster.world.identity_key(ReplicaId(3));
    let signature = identity.sign(ravelin_crypto::Domain::Rekey, &rekey.encode());
    let stolen = ravelin_model::SignedRekey { rekey, signature, possession: signature };
    cluster.act(0, |replica, now, out| {
        replica.on_message(now, ReplicaId(3), Message::Epoch(EpochMessage::Rekey(stolen)), out);
    });
    cluster.run(20 * SECOND);
    cluster.crash(2);
    cluster.node(2).log.clear();
    cluster.node(2).backend = Default::default();
    cluster.start(2);
    cluster.run(60 * SECOND);
    assert_eq!(*cluster.replica(2).status(), Status::Active, "epoch {}", epoch_of(&cluster, 2));
}

/// The same where the client told all four servers: nobody proposes it any more.
#[test]
fn no_envelope_is_lost_at_all_servers_at_once() {
    for seed in 10..20 {
        let mut cluster = Cluster::with_keys(seed, 2);
        let session = cluster.open_session();
        let client = cluster.world.client(0);
        let connections: Vec<_> = (0..4).map(|id| cluster.connect(id, 7, client)).collect();
        change_key(&mut cluster, 1);
        let mut envelopes = Vec::new();
        let mut first = 0;
        while epoch_of(&cluster, 0) == 1 {
            first += 1;
            let envelope = cluster.write(session, first, &first.to_le_bytes());
            for id in 0..4 {
                cluster.submit(id, connections[usize::from(id)], &envelope);
            }
            envelopes.push(envelope);
            (0..4).for_each(|_| cluster.step());
        }
        cluster.run_until("the next epoch", all_in(2));
        for _ in 0..6 {
            cluster.run(10 * SECOND);
            for envelope in &envelopes {
                for id in 0..4 {
                    cluster.submit(id, connections[usize::from(id)], envelope);
                }
            }
        }
        cluster.run(10 * SECOND);
        check_executed(&cluster, &envelopes, seed);
    }
}

/// One intruded server, one laggard: the intruder says nothing in epoch 2, and answers the laggard's
/// questions about the rest of epoch 1 with a block of its own each time. The cluster stands still.
#[test]
fn one_liar_cannot_keep_a_laggard_and_so_the_cluster_in_place() {
    let mut cluster = Cluster::with_keys(3, 2);
    let session = cluster.open_session();
    cluster.run(2 * SECOND);
    cluster.node(2).is_cut_off = true;
    cluster.run(SECOND);
    change_key(&mut cluster, 1);
    cluster
        .run_until("the others", |cluster| [0, 1, 3].iter().all(|id| epoch_of(cluster, *id) == 2));
    cluster.crash(3); // from now on the intruder acts for it
    let (liar, world) = (ReplicaId(3), cluster.world.clone());
    let block = |round: u64| {
        let genesis = |member| BlockRef::genesis(member, world.keyring.genesis());
        let others = (0..3).map(ReplicaId);
        let body = ravelin_model::BlockBody {
            cluster: world.keyring.cluster(),
            genesis: world.keyring.genesis(),
            epoch: world.keyring.epoch(),
            author: liar,
            round: Round(round),
            parents: std::iter::once(liar).chain(others).map(genesis).collect(),
            exposed: vec![],
            timestamp: Time(0),
            envelopes: vec![],
            votes: vec![],
        };
        world.keyring.sign_block(&world.block_key(liar), body)
    };
    let vote = ravelin_model::HandoverVote {
        replica: liar,
        epoch: ravelin_model::Epoch(1),
        commit: CommitIndex(u64::MAX),
        plan: Digest([7; 32]),
        signature: Signature([7; 64]),
    };
    let until = cluster.now.after(20 * SECOND); // honestly it takes 1 to 3
    let mut round = 1 << 20;
    let mut say = |cluster: &mut Cluster, with_vote: bool| {
        round += 1;
        let page = Message::Replayed(vec![block(round)]);
        cluster.act(2, |replica, now, out| {
            if with_vote {
                let vote = EpochMessage::Handover(vote);
                replica.on_message(now, liar, Message::Epoch(vote), out);
            }
            if replica.keyring().epoch().0 == 1 {
                replica.on_message(now, liar, page, out);
            }
        });
    };
    say(&mut cluster, true);
    cluster.node(2).is_cut_off = false;
    while cluster.now < until && epoch_of(&cluster, 2) == 1 {
        say(&mut cluster, false); // at once after each question
        cluster.step();
    }
    assert_eq!(epoch_of(&cluster, 2), 2, "the laggard is still there after 20 s");
    let connection = cluster.connect(0, 9, cluster.world.client(0));
    let envelope = cluster.write(session, 1, b"k");
    cluster.submit(0, connection, &envelope);
    cluster.run(20 * SECOND);
    assert!(cluster.nodes[0].heard.contains_key(&connection));
}
