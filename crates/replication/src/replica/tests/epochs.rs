//! One epoch after another: who ends them, who is late, who loses power meanwhile.

use ravelin_model::{Epoch, EpochMessage, HandoverVote, Rekey, SignedRekey};

use super::*;

pub(super) fn epoch_of(cluster: &Cluster, id: u16) -> u64 {
    cluster.replica(id).keyring().epoch().0
}

pub(super) fn change_key(cluster: &mut Cluster, id: u16) {
    cluster.act(id, |replica, now, out| replica.change_key(now, out));
}

pub(super) fn all_in(epoch: u64) -> impl Fn(&Cluster) -> bool {
    move |cluster| {
        (0..4).all(|id| {
            epoch_of(cluster, id) == epoch && *cluster.replica(id).status() == Status::Active
        })
    }
}

fn check_write(cluster: &mut Cluster, session: u64, first: u64) {
    for home in 0..4 {
        let connection = cluster.connect(home, 90 + first, cluster.world.client(0));
        cluster.take(home, connection);
        let envelope = cluster.write(session, first + u64::from(home), b"k");
        cluster.submit(home, connection, &envelope);
        cluster.run_until("an answer in the new epoch", |cluster| {
            let heard = cluster.nodes[usize::from(home)].heard.get(&connection);
            heard.into_iter().flatten().any(|message| answers(message, first + u64::from(home)))
        });
    }
}

#[test]
fn a_member_changes_its_key_and_everything_goes_on() {
    for seed in 0..10 {
        let mut cluster = Cluster::with_keys(seed, 4);
        let session = cluster.open_session();
        check_write(&mut cluster, session, 1);
        let before = *cluster.replica(0).keyring().member(ReplicaId(2)).unwrap();
        change_key(&mut cluster, 2);
        cluster.run_until("the next epoch", all_in(2));
        let after = *cluster.replica(0).keyring().member(ReplicaId(2)).unwrap();
        assert_ne!(before, after);
        let kept = cluster.replica(2).keys.iter().any(|key| key.public() == before);
        assert!(!kept, "the old key is erased");
        let plans: BTreeSet<_> = (0..4)
            .map(|id| ravelin_crypto::plan_digest(&cluster.replica(id).plans()[1].plan))
            .collect();
        assert_eq!(plans.len(), 1, "seed {seed}");
        check_write(&mut cluster, session, 10);
        assert!(cluster.nodes.iter().all(|node| node.accused.is_empty()), "seed {seed}");
        // Once in an interval only, though it may ask for more.
        change_key(&mut cluster, 2);
        cluster.run(20 * SECOND);
        assert!((0..4).all(|id| epoch_of(&cluster, id) == 2));
        change_key(&mut cluster, 1);
        cluster.run_until("the third epoch", all_in(3));
        check_write(&mut cluster, session, 20);
    }
}

/// The disk is gone: nobody needs an operator.
#[test]
fn who_lost_its_promises_gets_another_key_and_speaks_again() {
    for seed in 0..6 {
        let mut cluster = Cluster::with_keys(seed, 4);
        let session = cluster.open_session();
        check_write(&mut cluster, session, 1);
        cluster.run(2 * SECOND);
        cluster.crash(2);
        cluster.node(2).log.clear();
        cluster.node(2).backend = Default::default();
        cluster.start(2);
        cluster.run_until("it is readmitted", all_in(2));
        check_write(&mut cluster, session, 10);
        check_chain(&cluster, ReplicaId(2));
        assert!(cluster.nodes.iter().all(|node| node.accused.is_empty()), "seed {seed}");
    }
}

/// It begins that epoch a second time, and must be told that it has spoken in it.
#[test]
fn who_lost_its_promises_of_a_later_epoch_does_not_speak_in_it_again() {
    for seed in 0..6 {
        let mut cluster = Cluster::with_keys(seed, 4);
        let session = cluster.open_session();
        change_key(&mut cluster, 1);
        cluster.run_until("the next epoch", all_in(2));
        check_write(&mut cluster, session, 1);
        cluster.crash(2);
        cluster.node(2).log.clear();
        cluster.node(2).backend = Default::default();
        cluster.start(2);
        cluster.run_until("it is readmitted", all_in(3));
        check_write(&mut cluster, session, 10);
        assert!(cluster.nodes.iter().all(|node| node.accused.is_empty()), "seed {seed}");
    }
}

/// The client asks one server, once.
#[test]
fn what_an_epochs_end_made_void_is_ordered_after_it() {
    for seed in 0..6 {
        let mut cluster = Cluster::with_keys(seed, 4);
        let session = cluster.open_session();
        let connection = cluster.connect(0, 90, cluster.world.client(0));
        for round in 0..4 {
            change_key(&mut cluster, 1 + round % 3);
            for first in 1..=20 {
                let envelope = cluster.write(session, u64::from(round) * 20 + first, b"k");
                cluster.submit(0, connection, &envelope);
                cluster.run(Duration::from_millis(1));
            }
            cluster.run_until("all answers", |cluster| {
                let heard = || cluster.nodes[0].heard.get(&connection).into_iter().flatten();
                let last = u64::from(round) * 20 + 20;
                (1..=last).all(|first| heard().any(|message| answers(message, first)))
            });
        }
        assert!(epoch_of(&cluster, 0) > 2, "seed {seed}");
    }
}

#[test]
fn who_was_away_when_the_epoch_ended_follows_and_nobody_waited() {
    for seed in 0..6 {
        let mut cluster = Cluster::with_keys(seed, 4);
        let session = cluster.open_session();
        cluster.node(3).is_cut_off = true;
        cluster.run(SECOND);
        change_key(&mut cluster, 1);
        let others = |cluster: &Cluster, epoch| (0..3).all(|id| epoch_of(cluster, id) == epoch);
        cluster.run_until("the others", |cluster| others(cluster, 2));
        change_key(&mut cluster, 0);
        cluster.run_until("the others again", |cluster| others(cluster, 3));
        cluster.run(3 * SECOND);
        assert_eq!(epoch_of(&cluster, 3), 1);
        cluster.node(3).is_cut_off = false;
        if seed % 2 == 0 {
            cluster.crash(3);
            cluster.start(3);
        }
        cluster.run_until("it follows", all_in(3));
        check_write(&mut cluster, session, 10);
        assert!(cluster.nodes.iter().all(|node| node.accused.is_empty()), "seed {seed}");
    }
}

/// Whatever survives of log and state at any moment of the change.
#[test]
fn servers_that_crash_while_the_epoch_changes_lose_nothing_and_agree() {
    for seed in 0..20 {
        let mut cluster = Cluster::with_keys(seed, 4);
        let session = cluster.open_session();
        for change in 0..3u16 {
            change_key(&mut cluster, change);
            let span = Duration::from_micros(cluster.chance.below(60_000));
            cluster.run(span);
            for _ in 0..4 {
                let victim = u16::try_from(cluster.chance.below(4)).unwrap();
                cluster.crash(victim);
                let span = Duration::from_micros(cluster.chance.below(8_000));
                cluster.run(span);
                cluster.start(victim);
                // The wish to change a key is an operator's, and does not outlive the process.
                change_key(&mut cluster, change);
            }
            cluster.run_until("the next epoch", |cluster| {
                (0..4).all(|id| {
                    epoch_of(cluster, id) >= u64::from(change) + 2
                        && *cluster.replica(id).status() == Status::Active
                })
            });
        }
        check_write(&mut cluster, session, 10);
        assert!(cluster.nodes.iter().all(|node| node.accused.is_empty()), "seed {seed}");
        let last: BTreeSet<_> = (0..4).map(|id| cluster.replica(id).keyring().genesis()).collect();
        assert_eq!(last.len(), 1, "seed {seed}");
    }
}

/// Whoever is followed may be gone.
#[test]
fn a_laggard_whose_first_teller_dies_follows_another() {
    for seed in 0..3 {
        let mut cluster = left_behind(seed);
        let plan = cluster.replica(0).plans()[1].clone();
        cluster.crash(1);
        cluster.act(3, |replica, now, out| {
            let began = EpochMessage::Began(Box::new(plan));
            replica.on_message(now, ReplicaId(1), Message::Epoch(began), out);
        });
        cluster.node(3).is_cut_off = false;
        cluster.run_until("it follows", |cluster| epoch_of(cluster, 3) == 2);
    }
}

/// Whoever is followed may answer with nothing, as long as it likes.
#[test]
fn a_laggard_is_not_held_up_by_one_who_answers_with_nothing() {
    for seed in 0..3 {
        let mut cluster = left_behind(seed);
        cluster.crash(1);
        let vote = HandoverVote {
            replica: ReplicaId(1),
            epoch: Epoch::FIRST,
            commit: CommitIndex(1_000_000),
            plan: Digest([7; 32]),
            signature: Signature([7; 64]),
        };
        cluster.node(3).is_cut_off = false;
        let until = cluster.now.after(30 * SECOND);
        while epoch_of(&cluster, 3) == 1 {
            assert!(cluster.now < until, "seed {seed}: it follows");
            for lie in [Message::Epoch(EpochMessage::Handover(vote)), Message::Replayed(vec![])] {
                cluster.act(3, |replica, now, out| {
                    replica.on_message(now, ReplicaId(1), lie, out);
                });
            }
            cluster.run(Duration::from_millis(50));
        }
    }
}

/// However often one says so: a correct one says it every two seconds.
#[test]
fn those_who_say_that_the_epoch_ended_are_followed_in_turn() {
    let mut cluster = left_behind(0);
    let vote = |id: u16| HandoverVote {
        replica: ReplicaId(id),
        epoch: Epoch::FIRST,
        commit: CommitIndex(1_000_000),
        plan: Digest([7; 32]),
        signature: Signature([7; 64]),
    };
    cluster.act(3, |replica, now, out| {
        assert_eq!(replica.next_to_follow(), None, "nobody says so");
        for id in [2, 0, 2, 2] {
            let message = Message::Epoch(EpochMessage::Handover(vote(id)));
            replica.on_message(now, ReplicaId(id), message, out);
        }
        let turns: Vec<_> = (0..6).filter_map(|_| replica.next_to_follow()).collect();
        let others: Vec<_> = [0, 2].into_iter().cycle().map(ReplicaId).take(7).collect();
        assert!(turns == others[..6] || turns == others[1..], "{turns:?}");
    });
}

/// Replica 3 was cut off when the others changed the epoch.
/// Of who has ended a later epoch and waits there no block is ever heard, nor an order for a key.
#[test]
fn who_hears_a_vote_or_an_order_of_a_later_epoch_asks_how_its_own_ended() {
    let mut cluster = Cluster::new(1);
    let later = Epoch::FIRST.next();
    let vote = HandoverVote {
        replica: ReplicaId(1),
        epoch: later,
        commit: CommitIndex(9),
        plan: Digest([7; 32]),
        signature: Signature([7; 64]),
    };
    let rekey = Rekey {
        cluster: cluster.world.keyring.cluster(),
        incarnation: cluster.world.keyring.incarnation(),
        epoch: later,
        member: ReplicaId(2),
        block: cluster.world.block_key_of(ReplicaId(2), 1).public(),
        instance: None,
    };
    let signature = Signature([7; 64]);
    let order = SignedRekey { rekey, signature, possession: signature };
    let asks = |to, action: &Action<Message, Event>| {
        let ask = EpochMessage::Ask(Epoch::FIRST);
        matches!(action, Action::Send(id, Message::Epoch(said)) if *id == ReplicaId(to) && *said == ask)
    };
    for (from, message) in [(1, EpochMessage::Handover(vote)), (2, EpochMessage::Rekey(order))] {
        cluster.act(0, |replica, now, out| {
            replica.on_message(now, ReplicaId(from), Message::Epoch(message), out);
            assert!(out.iter().any(|action| asks(from, action)), "{from}: {out:?}");
        });
    }
}

fn left_behind(seed: u64) -> Cluster {
    let mut cluster = Cluster::with_keys(seed, 4);
    cluster.open_session();
    cluster.node(3).is_cut_off = true;
    cluster.run(SECOND);
    change_key(&mut cluster, 1);
    cluster.run_until("the others", |cluster| (0..3).all(|id| epoch_of(cluster, id) == 2));
    cluster.run(2 * SECOND);
    cluster
}

#[test]
fn an_order_counts_in_its_epoch_for_its_own_member_and_with_its_signature_only() {
    let mut cluster = Cluster::with_keys(3, 2);
    cluster.open_session();
    let rekey = |member: u16, epoch: u64, cluster: &Cluster| Rekey {
        cluster: cluster.world.keyring.cluster(),
        incarnation: cluster.world.keyring.incarnation(),
        epoch: Epoch(epoch),
        member: ReplicaId(member),
        block: cluster.world.block_key_of(ReplicaId(1), 1).public(),
        instance: None,
    };
    let sign = |rekey: Rekey, by: u16, cluster: &Cluster| {
        let key = cluster.world.identity_key(ReplicaId(by));
        let signature = key.sign(ravelin_crypto::Domain::Rekey, &rekey.encode());
        let new = cluster.world.block_key_of(ReplicaId(1), 1);
        let possession = new.sign(ravelin_crypto::Domain::Rekey, &rekey.encode());
        SignedRekey { rekey, signature, possession }
    };
    let mut taken = rekey(1, 1, &cluster);
    taken.block = cluster.world.block_key(ReplicaId(2)).public();
    let mut elsewhere = rekey(1, 1, &cluster);
    elsewhere.cluster.0.0[0] ^= 1;
    let mut restored = rekey(1, 1, &cluster);
    restored.incarnation.0 += 1;
    let bad = [
        sign(rekey(1, 1, &cluster), 2, &cluster),
        sign(rekey(1, 2, &cluster), 1, &cluster),
        sign(rekey(9, 1, &cluster), 1, &cluster),
        sign(taken, 1, &cluster),
        sign(elsewhere, 1, &cluster),
        sign(restored, 1, &cluster),
    ];
    for signed in bad {
        for id in 0..4 {
            cluster.act(id, |replica, now, out| {
                let message = Message::Epoch(EpochMessage::Rekey(signed));
                replica.on_message(now, ReplicaId(3), message, out);
                // An intruder puts it into its block all the same.
                replica.ordering.payload_mut().add_vote(Vote::Rekey(signed));
            });
        }
        cluster.run(6 * SECOND);
        assert!((0..4).all(|id| epoch_of(&cluster, id) == 1), "{signed:?}");
    }
    let good = sign(rekey(1, 1, &cluster), 1, &cluster);
    cluster.act(0, |replica, now, out| {
        replica.on_message(now, ReplicaId(3), Message::Epoch(EpochMessage::Rekey(good)), out);
    });
    cluster.run_until("the next epoch", all_in(2));
}

/// One liar can neither end an epoch nor stop others with tales of its end.
#[test]
fn tales_of_an_epochs_end_have_no_effect() {
    let mut cluster = Cluster::with_keys(4, 1);
    let session = cluster.open_session();
    cluster.crash(3);
    let far = CommitIndex(1_000_000);
    let vote = |epoch: u64| HandoverVote {
        replica: ReplicaId(3),
        epoch: Epoch(epoch),
        commit: far,
        plan: Digest([7; 32]),
        signature: Signature([7; 64]),
    };
    let mut next = cluster.world.plan.clone();
    next.plan.epoch = Epoch(2);
    next.plan.previous = Some(ravelin_model::Previous {
        plan: ravelin_crypto::plan_digest(&cluster.world.plan.plan),
        commit: far,
        time: Time(0),
        position: Position(5),
        state: Digest::default(),
        ordering: Digest::default(),
    });
    let digest = ravelin_crypto::plan_digest(&next.plan);
    let key = cluster.world.block_key(ReplicaId(3));
    let own = (key.public(), ravelin_crypto::sign_handover(&digest, &key));
    next.signatures = vec![own; 3]; // one member three times is one
    for first in 1..30 {
        let tales = [
            EpochMessage::Handover(vote(1)),
            EpochMessage::Handover(vote(9)),
            EpochMessage::Began(Box::new(next.clone())),
            EpochMessage::Ask(Epoch(9)),
            EpochMessage::Ask(Epoch(0)),
            EpochMessage::Elsewhen { epoch: Epoch(u64::MAX), wanted: vec![] },
        ];
        for (id, tale) in (0..3).flat_map(|id| tales.clone().map(|tale| (id, tale))) {
            cluster.act(id, |replica, now, out| {
                replica.on_message(now, ReplicaId(3), Message::Epoch(tale), out);
            });
        }
        let connection = cluster.connect(0, 8, cluster.world.client(0));
        let envelope = cluster.write(session, first, b"k");
        cluster.submit(0, connection, &envelope);
        cluster.run_until("an answer", |cluster| {
            let heard = cluster.nodes[0].heard.get(&connection);
            heard.into_iter().flatten().any(|message| answers(message, first))
        });
    }
    assert!((0..3).all(|id| *cluster.replica(id).status() == Status::Active));
}

/// A member that ended the epoch otherwise than a quorum has a wrong state, and says nothing more.
#[test]
fn who_ended_an_epoch_otherwise_than_a_quorum_stops() {
    let mut cluster = Cluster::with_keys(5, 4);
    cluster.open_session();
    cluster.run(2 * SECOND);
    cluster.crash(3);
    cluster.rot(3);
    cluster.start(3);
    change_key(&mut cluster, 1);
    cluster.run(20 * SECOND);
    assert!(matches!(cluster.replica(3).status(), Status::FailSafe(HaltReason::Diverged { .. })));
    assert!((0..3).all(|id| epoch_of(&cluster, id) == 2));
}
