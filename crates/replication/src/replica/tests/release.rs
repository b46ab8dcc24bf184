//! A halted replica goes on by an order for this halt, and by nothing else.

use ravelin_crypto::{ApprovalError, plan_digest, sign_release};
use ravelin_model::{ClusterId, Epoch, SignedRelease};

use super::*;

const OFFENDERS: [ReplicaId; 2] = [ReplicaId(2), ReplicaId(3)];

/// The disk of a server, for whoever judges its halt.
fn halted(cluster: &Cluster, id: u16) -> Halted {
    let first = cluster.world.plan.clone();
    let backend = cluster.nodes[usize::from(id)].backend.handle();
    let identity = ClusterId(plan_digest(&first.plan));
    Halted::open(Box::new(backend), (identity, first), ReplicaId(id))
}

/// What the administrators sign for the present halt.
fn signed(cluster: &Cluster, id: u16, repaired: Option<Vec<ReplicaId>>) -> SignedRelease {
    let order = halted(cluster, id).draft(repaired, "today".into()).expect("it halted");
    let mut signed = SignedRelease { order, approvals: vec![] };
    sign_release(&mut signed, &cluster.world.administrator());
    signed
}

fn release(cluster: &Cluster, id: u16, signed: &SignedRelease) -> Result<(), ReleaseError> {
    halted(cluster, id).release(signed, cluster.world.keyring.scheme())
}

/// Power fails right after the halt, and only what was durable is left.
fn halt_and_crash(cluster: &mut Cluster, id: u16) {
    halt(cluster, id);
    cluster.crash(id);
    cluster.node(id).backend.crash(0);
}

#[test]
fn released_replicas_go_on_from_their_last_states_and_lose_nothing() {
    for seed in 0..5 {
        let mut cluster = Cluster::new(seed);
        let session = cluster.open_session();
        let connection = cluster.connect(0, 8, cluster.world.client(0));
        let envelope = cluster.write(session, 1, b"k");
        cluster.submit(0, connection, &envelope);
        cluster.run_until("an answer", |cluster| cluster.nodes[0].heard.contains_key(&connection));
        let commit = cluster.replica(0).execution().state().commit();
        for id in [0, 1] {
            halt_and_crash(&mut cluster, id);
            let halt = halted(&cluster, id).halt().expect("it halted");
            assert_eq!(halt.reason, HaltReason::TooManyOffenders { members: OFFENDERS.to_vec() });
            assert_eq!((halt.serial, halt.epoch), (1, Epoch::FIRST));
            let release_of_it = signed(&cluster, id, None);
            assert_eq!(release_of_it.order.repaired, OFFENDERS);
            assert_eq!(release(&cluster, id, &release_of_it), Ok(()));
            assert_eq!(release(&cluster, id, &release_of_it), Err(ReleaseError::NotHalted));
        }
        for id in [0, 1] {
            cluster.start(id);
        }
        cluster.run_until("they take part", |cluster| {
            [0, 1].iter().all(|id| {
                *cluster.replica(*id).status() == Status::Active
                    && cluster.replica(*id).execution().state().commit() > commit
            })
        });
        let connection = cluster.connect(0, 9, cluster.world.client(0));
        let envelope = cluster.write(session, 2, b"k2");
        cluster.submit(0, connection, &envelope);
        cluster.run_until("another answer", |cluster| {
            cluster.nodes[0].heard.contains_key(&connection)
        });
        for id in [0, 1] {
            let known: Vec<_> = cluster.replica(id).evidence().keys().copied().collect();
            assert_eq!(known, OFFENDERS, "what was proven is shown until they have other keys");
            assert_eq!(cluster.replica(id).report().members[3].state, "faulty");
        }
    }
}

#[test]
fn a_release_of_another_halt_has_no_effect() {
    let mut cluster = Cluster::new(20);
    cluster.open_session();
    halt_and_crash(&mut cluster, 0);
    let first = signed(&cluster, 0, Some(vec![ReplicaId(2)]));
    let refused = |cluster: &Cluster, signed: &SignedRelease| {
        let refused = release(cluster, 0, signed);
        assert!(matches!(refused, Err(ReleaseError::OtherHalt { .. })), "{refused:?}");
        assert!(halted(cluster, 0).halt().is_some(), "it stays halted");
    };
    let changes: [fn(&mut SignedRelease); 3] = [
        |release| release.order.halt.0[0] ^= 1,
        |release| release.order.serial += 1,
        |release| release.order.epoch = release.order.epoch.next(),
    ];
    for change in changes {
        let mut other = first.clone();
        change(&mut other);
        sign_release(&mut other, &cluster.world.administrator());
        refused(&cluster, &other);
    }
    // It halts again later, for another reason at the same place: the old order is good no more.
    assert_eq!(release(&cluster, 0, &first), Ok(()));
    cluster.start(0);
    for message in cluster.fork(1) {
        cluster.act(0, |replica, now, out| replica.on_message(now, ReplicaId(1), message, out));
    }
    let reason = HaltReason::TooManyOffenders { members: vec![ReplicaId(1), ReplicaId(3)] };
    assert_eq!(*cluster.replica(0).status(), Status::FailSafe(reason));
    cluster.crash(0);
    refused(&cluster, &first);
    cluster.start(0);
    assert!(matches!(cluster.replica(0).status(), Status::FailSafe(_)));
    let second = signed(&cluster, 0, Some(vec![ReplicaId(1)]));
    assert_eq!(second.order.serial, 2);
    cluster.crash(0);
    assert_eq!(release(&cluster, 0, &second), Ok(()));
}

#[test]
fn what_too_few_or_others_signed_releases_nobody() {
    let mut cluster = Cluster::new(21);
    halt_and_crash(&mut cluster, 0);
    let good = signed(&cluster, 0, None);
    let check = |signed: &SignedRelease, expected: ReleaseError| {
        assert_eq!(release(&cluster, 0, signed), Err(expected));
        assert!(halted(&cluster, 0).halt().is_some());
    };
    let mut unsigned = good.clone();
    unsigned.approvals.clear();
    check(&unsigned, ApprovalError::TooFew { got: 0, needed: 1 }.into());
    let mut strange = unsigned.clone();
    let stranger = cluster.world.client_key(0);
    sign_release(&mut strange, &stranger);
    check(&strange, ApprovalError::Stranger { key: stranger.public() }.into());
    let mut forged = good.clone();
    forged.order.repaired.pop();
    let key = cluster.world.administrator().public();
    check(&forged, ApprovalError::BadSignature { key }.into());
    let mut elsewhere = good.clone();
    elsewhere.order.server = ReplicaId(1);
    check(&elsewhere, ReleaseError::OtherServer { server: ReplicaId(1) });
    let mut elsewhere = good.clone();
    elsewhere.order.incarnation.0 += 1;
    check(&elsewhere, ReleaseError::OtherCluster);
    assert_eq!(release(&cluster, 0, &good), Ok(()));
}

#[test]
fn a_release_excuses_whom_it_names_and_nobody_else() {
    let mut cluster = Cluster::new(22);
    halt_and_crash(&mut cluster, 0);
    let nobody = signed(&cluster, 0, Some(vec![]));
    let left = ReleaseError::TooManyLeft { members: OFFENDERS.to_vec() };
    assert_eq!(release(&cluster, 0, &nobody), Err(left));
    let stranger = signed(&cluster, 0, Some(vec![ReplicaId(2), ReplicaId(3), ReplicaId(4)]));
    let refused = ReleaseError::NoMember { member: ReplicaId(4) };
    assert_eq!(release(&cluster, 0, &stranger), Err(refused));
    // Who is not named counts as before, in every later life.
    let one = signed(&cluster, 0, Some(vec![ReplicaId(2)]));
    assert_eq!(release(&cluster, 0, &one), Ok(()));
    for _ in 0..2 {
        cluster.start(0);
        assert!(!matches!(cluster.replica(0).status(), Status::FailSafe(_)));
        assert_eq!(cluster.replica(0).evidence().len(), 2);
        cluster.crash(0);
    }
    cluster.start(0);
    for message in cluster.fork(1) {
        cluster.act(0, |replica, now, out| replica.on_message(now, ReplicaId(1), message, out));
    }
    let reason = HaltReason::TooManyOffenders { members: vec![ReplicaId(1), ReplicaId(3)] };
    assert_eq!(*cluster.replica(0).status(), Status::FailSafe(reason));
}

#[test]
fn a_member_with_another_key_is_excused_no_more() {
    let mut cluster = Cluster::new(23);
    halt_and_crash(&mut cluster, 0);
    let both = signed(&cluster, 0, None);
    assert_eq!(release(&cluster, 0, &both), Ok(()));
    cluster.start(0);
    let replica = cluster.node(0).replica.as_mut().expect("it is up");
    let old = replica.plans()[0].plan.clone();
    let mut next = old.clone();
    next.members[3].block.0[0] ^= 1;
    let writes = replica.forgive_changed(&old, &next, |_| false);
    replica.execution.state_mut().private_write(writes);
    let known: Vec<_> = replica.evidence().keys().copied().collect();
    assert_eq!(known, [ReplicaId(2)]);
    cluster.crash(0);
    cluster.node(0).backend.crash(0);
    cluster.start(0);
    assert!(!cluster.replica(0).released.excuses(ReplicaId(3)));
    assert!(cluster.replica(0).released.excuses(ReplicaId(2)));
}

#[test]
fn who_diverged_is_not_released() {
    let mut cluster = Cluster::new(24);
    cluster.open_session();
    cluster.act(0, |replica, _, out| {
        replica.halt(HaltReason::Diverged { commit: CommitIndex(1) }, out);
    });
    cluster.crash(0);
    let order = signed(&cluster, 0, None);
    let refused = ReleaseError::Diverged { commit: CommitIndex(1) };
    assert_eq!(release(&cluster, 0, &order), Err(refused));
    cluster.start(0);
    assert!(matches!(cluster.replica(0).status(), Status::FailSafe(HaltReason::Diverged { .. })));
}

/// The plan of the second epoch that a quorum signs, with this state at the end of the first.
fn handed_over(cluster: &Cluster, state: u8) -> SignedPlan {
    let mut next = cluster.world.plan.clone();
    next.plan.epoch = Epoch(2);
    next.plan.previous = Some(ravelin_model::Previous {
        plan: plan_digest(&cluster.world.plan.plan),
        commit: CommitIndex(1_000_000),
        time: Time(0),
        position: Position(0),
        state: Digest([state; 32]),
        ordering: Digest::default(),
    });
    let digest = plan_digest(&next.plan);
    let keys = [1, 2, 3].map(|member| cluster.world.block_key(ReplicaId(member)));
    let signature = |key: &SigningKey| ravelin_crypto::sign_handover(&digest, key);
    next.signatures = keys.iter().map(|key| (key.public(), signature(key))).collect();
    next
}

#[test]
fn two_plans_that_quorums_signed_stop_a_replica_and_no_release_lets_it_go_on() {
    let mut cluster = Cluster::new(25);
    let say = |cluster: &mut Cluster, plan: SignedPlan| {
        let began = ravelin_model::EpochMessage::Began(Box::new(plan));
        cluster.act(0, |replica, now, out| {
            replica.on_message(now, ReplicaId(1), Message::Epoch(began), out);
        });
    };
    let is_halted = |cluster: &Cluster| matches!(cluster.replica(0).status(), Status::FailSafe(_));
    let (one, other) = (handed_over(&cluster, 1), handed_over(&cluster, 2));
    let mut forged = other.clone();
    forged.signatures.truncate(2);
    for plan in [&one, &one, &forged] {
        say(&mut cluster, plan.clone());
        assert!(!is_halted(&cluster));
    }
    say(&mut cluster, other);
    let reason = HaltReason::TwoPlans { epoch: Epoch(2) };
    assert_eq!(*cluster.replica(0).status(), Status::FailSafe(reason));
    cluster.crash(0);
    let order = signed(&cluster, 0, None);
    let refused = ReleaseError::TwoPlans { epoch: Epoch(2) };
    assert_eq!(release(&cluster, 0, &order), Err(refused));
    cluster.start(0);
    assert!(is_halted(&cluster));
}

#[test]
fn a_halted_replica_says_who_the_members_are_and_how_it_stands_and_nothing_of_the_state() {
    let mut cluster = Cluster::new(26);
    cluster.open_session();
    halt(&mut cluster, 0);
    let stranger = cluster.connect(0, 7, cluster.world.client(9));
    cluster.ask(0, stranger, ClientMessage::Plans);
    assert_eq!(cluster.take(0, stranger), [ServerMessage::Plans(vec![cluster.world.plan.clone()])]);
    cluster.ask(0, stranger, ClientMessage::Status { id: 1 });
    let [ServerMessage::Status { report, .. }] = &cluster.take(0, stranger)[..] else {
        panic!("no report")
    };
    assert_eq!(report.state, "fail_safe");
    for offender in OFFENDERS {
        assert_eq!(report.members[offender.index()].evidence, [("equivocation".into(), 1)]);
    }
    let client = cluster.connect(0, 8, cluster.world.client(0));
    for question in questions() {
        cluster.ask(0, client, question);
        assert_eq!(cluster.take(0, client), [denied(7, Refusal::Halted)]);
    }
}

/// A server sees two attestations of server 3's wormhole for one value of its counter.
fn halt_on_two_attestations(cluster: &mut Cluster, id: u16) {
    for message in cluster.fork(3) {
        cluster.act(id, |replica, now, out| replica.on_message(now, ReplicaId(3), message, out));
    }
}

#[test]
fn two_attestations_for_one_value_stop_whoever_sees_them() {
    let mut cluster = Cluster::hybrid(30);
    let reason = HaltReason::BrokenWormhole { member: ReplicaId(3) };
    let [first, _] = cluster.fork(3);
    cluster.act(0, |replica, now, out| replica.on_message(now, ReplicaId(3), first, out));
    assert_eq!(*cluster.replica(0).status(), Status::Active, "one attestation proves nothing");
    halt_on_two_attestations(&mut cluster, 0);
    assert_eq!(*cluster.replica(0).status(), Status::FailSafe(reason.clone()));
    assert!(cluster.nodes[0].accused.contains(&ReplicaId(3)));
    // It stays so, also where power fails at once.
    cluster.crash(0);
    cluster.node(0).backend.crash(0);
    cluster.start(0);
    assert_eq!(*cluster.replica(0).status(), Status::FailSafe(reason.clone()));
    // Nobody else saw the second one, or need believe it of the halted.
    let others = [1, 2].map(|id| cluster.replica(id).status().clone());
    assert_eq!(others, [Status::Active, Status::Active]);
    halt_on_two_attestations(&mut cluster, 1);
    assert_eq!(*cluster.replica(1).status(), Status::FailSafe(reason));
}

#[test]
fn without_wormholes_one_fork_stops_nobody() {
    let mut cluster = Cluster::new(31);
    halt_on_two_attestations(&mut cluster, 0);
    assert!(!matches!(cluster.replica(0).status(), Status::FailSafe(_)));
}

#[test]
fn who_halted_on_two_attestations_goes_on_once_the_wormhole_is_called_repaired() {
    let mut cluster = Cluster::hybrid(32);
    let session = cluster.open_session();
    halt_on_two_attestations(&mut cluster, 0);
    cluster.crash(0);
    cluster.node(0).backend.crash(0);
    let halt = halted(&cluster, 0).halt().expect("it halted");
    assert_eq!(halt.reason, HaltReason::BrokenWormhole { member: ReplicaId(3) });
    let nobody = signed(&cluster, 0, Some(vec![]));
    let left = ReleaseError::TooManyLeft { members: vec![ReplicaId(3)] };
    assert_eq!(release(&cluster, 0, &nobody), Err(left), "it would halt again at once");
    let repaired = signed(&cluster, 0, None);
    assert_eq!(repaired.order.repaired, [ReplicaId(3)]);
    assert_eq!(release(&cluster, 0, &repaired), Ok(()));
    cluster.start(0);
    let connection = cluster.connect(0, 9, cluster.world.client(0));
    let envelope = cluster.write(session, 2, b"k2");
    cluster.submit(0, connection, &envelope);
    cluster.run_until("an answer", |cluster| cluster.nodes[0].heard.contains_key(&connection));
    assert_eq!(*cluster.replica(0).status(), Status::Active);
}
