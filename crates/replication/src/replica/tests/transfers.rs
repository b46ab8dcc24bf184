//! Replicas that get the others' state: who does, when, and what goes on meanwhile.

use ravelin_model::transfer::{Checkpoint, Found, Offer, StateReply, TransferMessage, Wanted};
use ravelin_model::{Epoch, EpochMessage, FaultModel, Group, Sequence};

use crate::state::MemoryBackend;
use crate::testing::World;

use super::super::transfers::{AfterFetch, Transfers};
use super::epochs::{all_in, change_key, epoch_of};
use super::*;

/// Writes one key after the other through replica 0, so many times.
fn work(cluster: &mut Cluster, session: u64, numbers: std::ops::Range<u64>) {
    let connection = cluster.connect(0, 500 + numbers.start, cluster.world.client(0));
    for number in numbers {
        let key = format!("key {}", number % 50);
        let envelope = cluster.write(session, number, key.as_bytes());
        cluster.submit(0, connection, &envelope);
        cluster.run_until("an answer", |cluster| {
            let heard = cluster.nodes[0].heard.get(&connection);
            heard.into_iter().flatten().any(|message| answers(message, number))
        });
    }
}

fn commit_of(cluster: &Cluster, id: u16) -> u64 {
    cluster.replica(id).execution().state().commit().0
}

/// A cluster in which replica 3 was away for so long that the others' logs do not reach back.
fn away(seed: u64, lag: u64) -> (Cluster, u64) {
    let mut cluster = Cluster::with_short_logs(seed, 4, lag);
    let session = cluster.open_session();
    work(&mut cluster, session, 1..5);
    cluster.crash(3);
    work(&mut cluster, session, 5..150);
    cluster.run(30 * SECOND);
    (cluster, session)
}

fn is_back(cluster: &Cluster) -> bool {
    let [own, other] = [3, 0].map(|id| commit_of(cluster, id));
    *cluster.replica(3).status() == Status::Active && own + 20 > other
}

#[test]
fn who_is_far_behind_fetches_the_state_and_takes_part_again() {
    for seed in 0..4 {
        let (mut cluster, session) = away(seed, 20);
        cluster.start(3);
        let fetches = |cluster: &Cluster| *cluster.replica(3).status() == Status::Fetching;
        cluster.run_until("it fetches", fetches);
        let knows = |id: &u16| cluster.replica(*id).offering.is_needed();
        let knowing = [0, 1, 2].iter().filter(|id| knows(id)).count();
        assert!(knowing >= 2, "who offered one keeps one meanwhile: {knowing}");
        cluster.run_until("it is back", is_back);
        assert_eq!(cluster.replica(3).fetched_count(), 1, "seed {seed}");
        assert!(cluster.node(3).statuses.contains(&Status::Fetching));
        assert!(!cluster.node(3).statuses.contains(&Status::Learner), "it forgot nothing");
        work(&mut cluster, session, 150..160);
        cluster.crash(1);
        work(&mut cluster, session, 160..165);
        assert!(cluster.nodes.iter().all(|node| node.accused.is_empty()));
    }
}

/// Whom replica 3 asked last for their log before something changed, and whom first after that.
fn asked_about(cluster: &Cluster, is_after: impl Fn(Epoch, u64) -> bool) -> [Option<ReplicaId>; 2] {
    let asked = || cluster.nodes[3].asked.iter();
    let is_after = |(epoch, fetched, _): &&_| is_after(*epoch, *fetched);
    let before = asked().rfind(|asked| !is_after(asked));
    [before, asked().find(is_after)].map(|asked| Some(asked?.2))
}

/// Else who brought nothing would be the first to be asked again.
#[test]
fn what_is_known_of_the_others_outlasts_a_fetched_state() {
    let mut told = 0;
    for seed in 0..6 {
        let (mut cluster, _) = away(seed, 1_000_000);
        cluster.start(3);
        cluster.run_until("it is back", is_back);
        let [before, after] = asked_about(&cluster, |_, fetched| fetched > 0);
        assert!(after.is_none() || after == before, "seed {seed}: {before:?}, {after:?}");
        told += u32::from(after.is_some_and(|whom| whom != ReplicaId(0)));
    }
    assert!(told > 0, "whom an ordering that knows nothing asks");
}

/// Else who brought nothing in one epoch would be the first to be asked in the next.
#[test]
fn what_is_known_of_the_others_outlasts_an_epoch() {
    let mut cluster = Cluster::with_keys(3, 4);
    let session = cluster.open_session();
    cluster.crash(3);
    work(&mut cluster, session, 1..30);
    cluster.node(0).log.clear(); // it can show nothing of what was missed
    cluster.start(3);
    cluster.run_until("it is back", is_back);
    cluster.node(3).is_cut_off = true;
    change_key(&mut cluster, 1);
    cluster.run_until("the next epoch", |cluster| (0..3).all(|id| epoch_of(cluster, id) == 2));
    work(&mut cluster, session, 30..60);
    cluster.node(3).is_cut_off = false;
    cluster.run_until("it is back", is_back);
    let [_, after] = asked_about(&cluster, |epoch, _| epoch > Epoch(1));
    assert!(
        after.is_some_and(|whom| whom != ReplicaId(0)),
        "whom an ordering that knows nothing asks"
    );
}

#[test]
fn who_is_a_little_behind_reads_the_blocks() {
    let (mut cluster, _) = away(5, 1_000_000);
    cluster.node(0).prunable.clear();
    cluster.node(1).prunable.clear();
    cluster.start(3);
    cluster.run_until("it is back", is_back);
    assert_eq!(cluster.replica(3).fetched_count(), 0);
}

#[test]
fn who_gets_no_further_by_blocks_fetches_the_state() {
    let (mut cluster, _) = away(6, 1_000_000);
    cluster.start(3);
    cluster.run_until("it is back", is_back);
    assert_eq!(cluster.replica(3).fetched_count(), 1, "the logs do not reach back");
}

/// Who keeps a state to be shown forgets that with a restart, and the next one never comes where every
/// commit needs the one who fetches: one of four is gone for good here.
#[test]
fn those_who_were_all_restarted_show_where_they_stand() {
    let mut seen = 0;
    for seed in 0..6 {
        let (mut cluster, session) = away(seed, 20);
        cluster.start(3);
        while !cluster.replica(3).is_fetching() {
            cluster.step();
        }
        for id in [1, 0, 2] {
            cluster.crash(id);
        }
        for id in [0, 2] {
            cluster.start(id);
        }
        seen += u64::from(cluster.replica(3).is_fetching());
        cluster.run_until("it is back", is_back);
        work(&mut cluster, session, 150..170);
        assert_eq!(cluster.replica(3).fetched_count(), 1, "seed {seed}");
        assert!(cluster.nodes.iter().all(|node| node.accused.is_empty()), "seed {seed}");
    }
    assert!(seen > 3);
}

/// The certificate of the last checkpoint, and what leads back to it, outlast a stop: one correct server
/// that was restarted is enough for who fetches the state, though all others say nothing.
#[test]
fn one_that_was_restarted_shows_the_last_checkpoint_by_itself() {
    let stops: [fn(&mut Cluster, u16); 2] = [Cluster::stop, Cluster::crash_at_once];
    for (seed, stop) in (0..6).zip(stops.iter().cycle()) {
        let (mut cluster, _) = away(seed, 20);
        cluster.start(3);
        while !cluster.replica(3).is_fetching() {
            cluster.step();
        }
        for id in [0, 1, 2] {
            stop(&mut cluster, id);
        }
        let asker = CommitIndex(5);
        let shown = |cluster: &Cluster| {
            let replica = cluster.replica(0);
            let state = replica.execution().state();
            let offer = replica.offering.offer(replica.plans(), (Epoch(1), asker), state);
            offer.checkpoint.map(|checkpoint| checkpoint.statements[0].statement.commit)
        };
        cluster.start(0);
        let first = shown(&cluster).expect("a checkpoint");
        assert_eq!(first.0 % 16, 0);
        // And after another one, with what it has executed again meanwhile.
        stop(&mut cluster, 0);
        cluster.start(0);
        assert!(shown(&cluster) >= Some(first), "seed {seed}");
        assert!(cluster.replica(0).offering.is_needed(), "it may take the memory it needs");
        assert!(cluster.replica(3).is_fetching());
        cluster.run_until("it has the state", |cluster| cluster.replica(3).fetched_count() == 1);
        assert!(commit_of(&cluster, 3) >= first.0);
        assert!(cluster.nodes.iter().all(|node| node.accused.is_empty()), "seed {seed}");
    }
}

/// A disk that holds something else than was written shows nothing that no quorum signed.
#[test]
fn what_stands_beside_the_state_is_not_believed() {
    type Step = Vec<(Vec<u8>, Option<Vec<u8>>)>;
    let rotten_word = |word: &[u8]| {
        let mut word = word.to_vec();
        word[100] ^= 1; // in the first statement
        word
    };
    let rotten_step = |step: &[u8]| {
        let mut step = Step::decode("step", step).expect("it was written");
        step.iter_mut().for_each(|(_, value)| value.get_or_insert_default().push(1));
        step.encode()
    };
    let rot: [(u8, &dyn Fn(&[u8]) -> Vec<u8>); 2] = [(b'w', &rotten_word), (b'W', &rotten_step)];
    for (place, rot) in rot {
        let (mut cluster, session) = away(1, 20);
        work(&mut cluster, session, 150..153);
        cluster.stop(0);
        let entries = cluster.nodes[0].backend.entries();
        let known = entries.iter().filter(|(key, _)| key.starts_with(&[0xfe, place]));
        let batch: Vec<_> = known.map(|(key, it)| (key.clone(), Some(rot(it)))).collect();
        drop(entries);
        assert!(!batch.is_empty(), "it is written");
        cluster.node(0).backend.write(&batch);
        cluster.node(0).backend.sync();
        cluster.start(0);
        let replica = cluster.replica(0);
        let asker = (Epoch(1), CommitIndex(5));
        let offer = replica.offering.offer(replica.plans(), asker, replica.execution().state());
        assert_eq!(offer.checkpoint, None, "{}", char::from(place));
        assert!(cluster.replica(0).execution().state().vouched().is_none());
    }
}

/// Without its disk it has the state of the others first, and another key after that.
#[test]
fn who_lost_everything_gets_the_state_and_another_key() {
    for seed in 0..4 {
        let (mut cluster, session) = away(seed, 20);
        cluster.node(3).backend = MemoryBackend::new();
        cluster.node(3).log.clear();
        cluster.start(3);
        cluster.run_until("the next epoch", all_in(2));
        assert!(cluster.replica(3).fetched_count() > 0, "seed {seed}");
        work(&mut cluster, session, 150..160);
        cluster.run_until("it is back", is_back);
        assert!(cluster.nodes.iter().all(|node| node.accused.is_empty()), "seed {seed}");
    }
}

/// Epochs that ended meanwhile come with the state; nobody reads through them.
#[test]
fn who_was_away_for_epochs_goes_on_in_the_present_one() {
    for is_lost in [false, true] {
        let (mut cluster, session) = away(7, 20);
        for (turn, member) in [(2, 1), (3, 2)] {
            change_key(&mut cluster, member);
            cluster.run_until("the next epoch", |cluster| {
                (0..3).all(|id| epoch_of(cluster, id) == turn)
            });
        }
        if is_lost {
            cluster.node(3).backend = MemoryBackend::new();
            cluster.node(3).log.clear();
        }
        cluster.start(3);
        cluster.run_until("it is back", is_back);
        let plans = cluster.replica(3).plans().len();
        assert!(plans >= 3 && cluster.replica(3).fetched_count() >= 1);
        work(&mut cluster, session, 150..155);
        // And it has them after a restart.
        cluster.crash(3);
        cluster.start(3);
        assert!(cluster.replica(3).plans().len() >= 3);
        cluster.run_until("it is back", is_back);
    }
}

/// At every step: what it had is not lost, and nothing of it is believed before it is whole.
#[test]
fn a_crash_at_any_moment_of_it_is_made_up_for() {
    for seed in 0..6 {
        let (mut cluster, session) = away(seed, 20);
        cluster.start(3);
        let mut is_seen = false;
        for _ in 0..6 {
            for _ in 0..cluster.chance.index(120) {
                cluster.step();
            }
            is_seen |= cluster.replica(3).is_fetching();
            cluster.crash(3);
            cluster.start(3);
            let since = cluster.replica(3).execution().state().fetching_since();
            assert_eq!(since.is_some(), cluster.replica(3).is_fetching(), "seed {seed}");
        }
        cluster.run_until("it is back", is_back);
        work(&mut cluster, session, 150..152);
        assert!(cluster.nodes.iter().all(|node| node.accused.is_empty()), "seed {seed}");
        assert!(is_seen || seed > 0);
    }
}

/// Clients hear from who has no state only that they should ask others, and watchers that theirs have
/// ended.
#[test]
fn who_fetches_the_state_sends_clients_away() {
    let (mut cluster, _) = away(8, 20);
    cluster.start(3);
    let connection = cluster.connect(3, 7, cluster.world.client(0));
    cluster.ask(3, connection, watch(9, KV));
    cluster.take(3, connection);
    cluster.run_until("it fetches", |cluster| cluster.replica(3).is_fetching());
    cluster.take(3, connection);
    questions().into_iter().for_each(|question| cluster.ask(3, connection, question));
    let told = cluster.take(3, connection);
    assert!(!told.is_empty());
    assert!(told.iter().all(|message| matches!(message, ServerMessage::Busy { .. })), "{told:?}");
    let envelope = cluster.write(8, 1000, b"key");
    cluster.submit(3, connection, &envelope);
    let told = cluster.take(3, connection);
    let [ServerMessage::Busy { first, retry_after_ms, .. }] = told[..] else { panic!("{told:?}") };
    assert!(first == Sequence(1000) && retry_after_ms > 0);
    cluster.ask(3, connection, ClientMessage::Status { id: 1 });
    let told = cluster.take(3, connection);
    let [ServerMessage::Status { report, .. }] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!(report.state, "catching_up");
    cluster.run_until("it is back", is_back);
    let told = cluster.take(3, connection);
    let ended = |message: &ServerMessage| matches!(message, ServerMessage::Compacted { id: 9, .. });
    assert!(told.iter().any(ended), "{told:?}");
}

/// However short they were, and though the logs reach back.
#[test]
fn who_missed_whole_epochs_fetches_the_state_and_does_not_read_through_them() {
    for (missed, fetched) in [(1, 0), (3, 1)] {
        let mut cluster = Cluster::of(World::new(4, 1), 3, (4, 2048));
        let session = cluster.open_session();
        cluster.crash(3);
        for turn in 0..missed {
            work(&mut cluster, session, 1 + turn * 5..6 + turn * 5);
            change_key(&mut cluster, u16::try_from(turn).unwrap());
            cluster.run_until("the next epoch", |cluster| {
                (0..3).all(|id| epoch_of(cluster, id) == turn + 2)
            });
        }
        cluster.start(3);
        let since = cluster.now;
        cluster.run_until("it is back", is_back);
        assert_eq!(cluster.replica(3).fetched_count(), fetched);
        assert!(cluster.now.since(since) < 3 * SECOND);
        assert_eq!(epoch_of(&cluster, 3), missed + 1);
        assert!(cluster.nodes.iter().all(|node| node.accused.is_empty()));
        work(&mut cluster, session, 100..105);
    }
}

/// What one member says of the epoch may be a lie; what it says later does not take it back.
#[test]
fn epochs_are_missed_if_a_correct_member_says_so() {
    let group = Group::new(4, 1, FaultModel::Arbitrary).unwrap();
    let mut transfers = Transfers::new(20);
    let missed = |transfers: &Transfers, here| transfers.epochs_missed(Epoch(here), group);
    assert_eq!(missed(&transfers, 1), 0);
    transfers.on_epoch_of(ReplicaId(2), Epoch(900));
    assert_eq!(missed(&transfers, 1), 0, "one says so");
    transfers.on_epoch_of(ReplicaId(0), Epoch(4));
    assert_eq!(missed(&transfers, 1), 2, "those between");
    transfers.on_epoch_of(ReplicaId(0), Epoch(3));
    assert_eq!(missed(&transfers, 1), 2);
    assert_eq!(missed(&transfers, 3), 0);
    assert_eq!(missed(&transfers, 5), 0);
}

/// Of two that are intruded one after the other, each in another epoch, no more than one lies at a time.
#[test]
fn what_was_said_of_epochs_counts_in_that_epoch_alone() {
    let mut cluster = Cluster::with_keys(4, 4);
    let session = cluster.open_session();
    for (turn, liar) in [(0, 1), (1, 2)] {
        let word = EpochMessage::Elsewhen { epoch: Epoch(u64::MAX), wanted: Vec::new() };
        cluster.act(0, |replica, now, out| {
            replica.on_message(now, ReplicaId(liar), Message::Epoch(word), out);
        });
        let replica = cluster.replica(0);
        let (epoch, group) = (replica.keyring().epoch(), replica.keyring().group());
        assert_eq!(replica.transfers.epochs_missed(epoch, group), 0, "one lies");
        change_key(&mut cluster, liar);
        cluster.run_until("the next epoch", |cluster| {
            (0..4).all(|id| epoch_of(cluster, id) == turn + 2)
        });
    }
    work(&mut cluster, session, 1..5);
}

/// Who comes back so slowly that the others are far ahead again by then reads their blocks.
#[test]
fn who_has_fetched_a_state_fetches_another_only_if_it_falls_behind_further() {
    let mut transfers = Transfers::new(20);
    assert_eq!(transfers.lag_allowed(50), 20);
    transfers.after_fetch = AfterFetch::Unheard;
    assert_eq!(transfers.lag_allowed(0), 20, "it has heard nobody");
    assert_eq!(transfers.lag_allowed(50), 100);
    assert_eq!(transfers.lag_allowed(90), 100);
    transfers.after_fetch = AfterFetch::Behind(3);
    assert_eq!(transfers.lag_allowed(9), 20);
}

/// Reading blocks may be slower than it seemed. Who is nearly there reads on.
#[test]
fn who_is_still_far_behind_after_a_while_fetches_the_state() {
    let mut commit = 0;
    let mut decides = |transfers: &mut Transfers, second: u32, lag: u64, missing: u64| {
        commit += 1; // it gets further all the time
        let now = Time(0).after(SECOND * second);
        transfers.is_another_better(now, CommitIndex(commit), lag, missing)
    };
    for (lag, missing) in [(600, 0), (0, 1200)] {
        let mut transfers = Transfers::new(2048);
        assert!(!decides(&mut transfers, 1, lag, missing));
        assert!(!decides(&mut transfers, 5, lag, missing));
        assert!(decides(&mut transfers, 6, lag, missing), "for five seconds");
        assert!(!decides(&mut transfers, 7, lag / 2, missing / 2), "it is nearly there");
        transfers.after_fetch = AfterFetch::Unheard;
        assert!(!decides(&mut transfers, 20, lag, missing), "it goes on from a state");
    }
}

/// Who makes no blocks now would keep its clients waiting for one.
#[test]
fn who_is_behind_sends_clients_away_until_it_is_not() {
    let (mut cluster, session) = away(9, 1_000_000);
    cluster.node(0).prunable.clear();
    cluster.node(1).prunable.clear();
    cluster.start(3);
    cluster.run_until("it knows that it is behind", |cluster| {
        *cluster.replica(3).status() == Status::Active
            && cluster.replica(3).report().state == "catching_up"
    });
    let connection = cluster.connect(3, 7, cluster.world.client(0));
    let envelope = cluster.write(session, 150, b"key");
    cluster.submit(3, connection, &envelope);
    let told = cluster.take(3, connection);
    assert!(matches!(told[..], [ServerMessage::Busy { .. }]), "{told:?}");
    cluster.run_until("it is level", |cluster| cluster.replica(3).report().state == "correct");
    cluster.submit(3, connection, &envelope);
    cluster.run_until("an answer", |cluster| {
        let heard = cluster.nodes[3].heard.get(&connection);
        heard.into_iter().flatten().any(|message| answers(message, 150))
    });
}

/// Nobody who works is made to give up its state: not by offers, nor by parts of states.
#[test]
fn what_was_not_asked_for_has_no_effect() {
    let (mut cluster, _) = away(9, 20);
    cluster.act(0, |replica, now, out| {
        let ask = TransferMessage::Ask { epoch: Epoch(1), commit: CommitIndex(0) };
        replica.on_message(now, ReplicaId(1), Message::Transfer(ask), out);
    });
    let ask = TransferMessage::Ask { epoch: Epoch(1), commit: CommitIndex(0) };
    let mut out = Vec::new();
    let now = cluster.now.after(SECOND);
    let replica = cluster.node(0).replica.as_mut().unwrap();
    replica.on_message(now, ReplicaId(2), Message::Transfer(ask), &mut out);
    let offer = out.into_iter().find_map(|action| match action {
        Action::Send(_, offer @ Message::Transfer(TransferMessage::Offer(_))) => Some(offer),
        _ => None,
    });
    let offer = offer.expect("an offer");
    let reply = StateReply { commit: CommitIndex(16), found: Found::Gone };
    for message in [offer, Message::Transfer(TransferMessage::Have(reply))] {
        for from in [0, 2, 3].map(ReplicaId) {
            cluster.act(1, |replica, now, out| replica.on_message(now, from, message.clone(), out));
        }
    }
    cluster.run(SECOND);
    assert_eq!(*cluster.replica(1).status(), Status::Active);
    assert_eq!(cluster.replica(1).fetched_count(), 0);
}

/// Who has no state to show says so.
#[test]
fn who_fetches_the_state_shows_none() {
    let (mut cluster, _) = away(10, 20);
    cluster.start(3);
    cluster.run_until("it fetches", |cluster| cluster.replica(3).is_fetching());
    let commit = cluster.replica(3).execution().state().commit();
    let request = StateRequest { commit, wanted: Wanted::Entries(vec![Digest::default()]) };
    let part = cluster.replica(3).state_part(&request);
    let Message::Transfer(TransferMessage::Have(reply)) = part else { panic!() };
    assert_eq!(reply.found, Found::Gone);
}

/// What members signed at the last commit of replica 0, as a client that heard their answers may show
/// it.
fn shown_by_clients(cluster: &Cluster) -> Message {
    let execution = cluster.replica(0).execution();
    let (progress, delivered) = execution::progress(execution.state()).expect("commits");
    let keyring = &cluster.world.keyring;
    let statement = CommitStatement {
        cluster: keyring.cluster(),
        incarnation: keyring.incarnation(),
        epoch: keyring.epoch(),
        commit: execution.state().commit(),
        position: execution.position(),
        time: execution.time(),
        answers: Digest::default(),
        state: execution.state().root(),
        ordering: Some(progress.ordering.digest(&delivered)),
    };
    let sign = |member| {
        let key = cluster.world.block_key(member);
        keyring.sign_statement(&key, member, statement)
    };
    let checkpoint = Checkpoint {
        statements: [0, 1, 2].map(|member| sign(ReplicaId(member))).to_vec(),
        ordering: progress.ordering.encode(),
        delivered: delivered.into_iter().collect(),
    };
    let offer = Offer { plans: Vec::new(), checkpoint: Some(checkpoint), present: None };
    Message::Transfer(TransferMessage::Offer(Box::new(offer)))
}

/// Epoch 1 has just ended at replica 0, with a commit at which a checkpoint was due; replica 3 is cut off.
fn ended_with_checkpoint() -> Cluster {
    let ended = |seed: u64| {
        let mut cluster = Cluster::with_short_logs(seed, 4, 20);
        let session = cluster.open_session();
        cluster.node(3).is_cut_off = true;
        work(&mut cluster, session, 1..20 + seed % 16);
        change_key(&mut cluster, 1);
        cluster.run_until("an end", |cluster| cluster.replica(0).has_ended());
        commit_of(&cluster, 0).is_multiple_of(16).then_some(cluster)
    };
    (0..200).find_map(ended).expect("one of 16 does")
}

/// The last commit of an epoch is a checkpoint, and a liar shows it as one of that epoch: who goes on
/// from it sees no end there, but did not diverge.
#[test]
fn who_fetched_the_last_state_of_an_epoch_goes_on_in_the_next() {
    let mut cluster = ended_with_checkpoint();
    let offer = shown_by_clients(&cluster);
    cluster.run_until("the next", |cluster| (0..3).all(|id| epoch_of(cluster, id) == 2));
    let began = cluster.replica(0).plans()[1].clone();
    let began = Message::Epoch(EpochMessage::Began(Box::new(began)));
    cluster.act(3, |replica, now, out| replica.on_message(now, ReplicaId(2), began, out));
    cluster.run(8 * SECOND);
    cluster.act(3, |replica, now, out| replica.on_message(now, ReplicaId(2), offer, out));
    cluster.run(3 * SECOND);
    assert!(cluster.replica(3).is_fetching(), "{:?}", cluster.replica(3).status());
    cluster.node(3).is_cut_off = false;
    cluster.run_until("it is back", is_back);
    assert_eq!(epoch_of(&cluster, 3), 2);
}

/// Who has lost its promises does not speak again for having fetched a state: those who know of its
/// blocks may not be heard the next time.
#[test]
fn who_may_not_speak_in_an_epoch_may_not_after_a_transfer() {
    let mut cluster = Cluster::with_short_logs(12, 1, 20);
    let session = cluster.open_session();
    work(&mut cluster, session, 1..5);
    let (backend, log) = (cluster.node(3).backend.snapshot(), cluster.node(3).log.clone());
    work(&mut cluster, session, 5..20);
    cluster.crash(3);
    (cluster.node(3).backend, cluster.node(3).log) = (backend, log);
    cluster.start(3);
    let is_learner = |cluster: &Cluster| *cluster.replica(3).status() == Status::Learner;
    cluster.run_until("it knows", is_learner);
    cluster.node(3).is_cut_off = true;
    work(&mut cluster, session, 20..150);
    cluster.run(30 * SECOND);
    cluster.node(3).is_cut_off = false;
    cluster.run_until("it fetched", |cluster| cluster.replica(3).fetched_count() == 1);
    let standing = cluster.replica(3).ordering().standing();
    assert_eq!(standing, Standing::Learner);
    assert_eq!(*cluster.replica(3).status(), Status::Learner);
}

/// A state that was shown while it lay ahead is not fetched once this replica is past it.
#[test]
fn nobody_is_taken_back_by_what_lay_ahead_when_it_was_shown() {
    let mut cluster = Cluster::with_short_logs(13, 1, 20);
    let session = cluster.open_session();
    work(&mut cluster, session, 1..3);
    cluster.node(3).is_cut_off = true;
    work(&mut cluster, session, 3..12);
    let (offer, old) = (shown_by_clients(&cluster), commit_of(&cluster, 0));
    work(&mut cluster, session, 12..80);
    let keyring = cluster.world.keyring.clone();
    let log: Vec<_> = cluster.node(0).log.iter().take(200).cloned().collect();
    for author in [0, 1] {
        let dag = cluster.replica(author).ordering().dag();
        let newest = dag.newest(ReplicaId(author)).expect("it made blocks");
        let newest = Message::Block(dag.block(&newest).expect("above the horizon").clone());
        cluster.act(3, |replica, now, out| replica.on_message(now, ReplicaId(author), newest, out));
    }
    cluster.act(3, |replica, now, out| replica.on_message(now, ReplicaId(2), offer, out));
    let all = LogPart::From(Place { epoch: Epoch(1), round: Round(1) });
    let blocks = crate::peer::verify(&keyring, crate::peer::logged(&all, log)).pop();
    let blocks = blocks.expect("one verdict").expect("they were checked");
    cluster.act(3, |replica, now, out| replica.on_message(now, ReplicaId(0), blocks, out));
    let commit = commit_of(&cluster, 3);
    assert!(commit > old, "{commit} > {old}");
    assert!(cluster.replica(3).ordering().lag() > 20, "it goes on looking");
    cluster.run(4 * SECOND);
    assert!(!cluster.replica(3).is_fetching(), "it is past {old}");
}

/// More epochs than one offer tells of: each offer leads further, and none is judged by what came
/// after its question.
#[test]
fn plans_that_do_not_fit_into_one_offer_come_with_the_next() {
    let mut cluster = Cluster::with_short_logs(14, 4, 20);
    let session = cluster.open_session();
    work(&mut cluster, session, 1..3);
    for (turn, member) in [(2, 1), (3, 2)] {
        change_key(&mut cluster, member);
        cluster.run_until("the next epoch", all_in(turn));
    }
    let plans = cluster.replica(0).plans().to_vec();
    let known = (&plans[0], &cluster.world.keyring);
    let begun = Checkpoint { statements: vec![], ordering: vec![], delivered: vec![] };
    let offer = |plan: usize, is_last| {
        let checkpoint = Some(begun.clone()).filter(|_| is_last);
        Offer { plans: vec![plans[plan].clone()], checkpoint, present: None }
    };
    let group = cluster.world.keyring.group();
    let mut transfer = crate::transfer::Transfer::new(group, ReplicaId(3), CommitIndex(0));
    let mut state = State::open(Box::new(MemoryBackend::new()));
    let mut ask = |transfer: &mut crate::transfer::Transfer, now| {
        let mut sent = crate::transfer::Sent::new();
        transfer.advance(now, (Epoch(1), CommitIndex(0)), &mut state, &mut sent);
        sent
    };
    let (now, first) = (Time(1), ReplicaId(0));
    assert_eq!(transfer.on_offer(now, first, known, offer(2, true)), Ok(()), "not asked for");
    ask(&mut transfer, now);
    let before = offer(1, true);
    assert_eq!(transfer.on_offer(now, first, known, offer(1, false)), Ok(()));
    let now = now.after(SECOND);
    let asked = ask(&mut transfer, now);
    let previous = plans[1].plan.previous.expect("it follows").commit;
    let again = TransferMessage::Ask { epoch: Epoch(2), commit: CommitIndex(previous.0 - 1) };
    assert_eq!(asked, [0, 1, 2].map(|peer| (ReplicaId(peer), again.clone())).to_vec());
    assert_eq!(transfer.on_offer(now, first, known, offer(2, true)), Ok(()));
    assert_eq!(transfer.on_offer(now, ReplicaId(1), known, before), Ok(()), "by then older");
    assert!(!transfer.choose(now), "one showed it");
    assert_eq!(transfer.on_offer(now, ReplicaId(2), known, offer(2, true)), Ok(()));
    assert!(transfer.choose(now));
}

/// Who fetched it as a state of that epoch would not see its end: were it needed for the quorum that
/// signs the next plan, the cluster would stand still.
#[test]
fn nobody_signs_the_last_state_of_an_epoch_as_a_checkpoint_of_it() {
    let mut cluster = ended_with_checkpoint();
    let commit = CommitIndex(commit_of(&cluster, 0));
    let replica = cluster.node(0).replica.as_mut().unwrap();
    let (_, votes) = replica.ordering.payload_mut().draw(1 << 20, 1000);
    let stated = votes.iter().find_map(|vote| match vote {
        Vote::Statement(signed) if signed.statement.commit == commit => Some(signed.statement),
        _ => None,
    });
    assert_eq!(stated.expect("it states what it did").ordering, None);
}
