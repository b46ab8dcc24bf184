//! Administrators end an epoch, with an intruder among those whom it ends for.

use std::time::Duration;

use ravelin_crypto::{Verified, domain_digest, sign_reopening};
use ravelin_model::{
    Closing, ClosingStage, Cut, Epoch, EpochMessage, HandoverVote, LogEntry, Reopening,
    ReopeningVerdict, SignedReopening,
};

use super::epochs::change_key;
use super::*;
use crate::replica::reopening::Choice;

/// Has no voice for long: no block above anybody's horizon refers to one of its own.
const AWAY: ReplicaId = ReplicaId(2);
const INTRUDER: ReplicaId = ReplicaId(3);
const CORRECT: [u16; 3] = [0, 1, 2];

fn order(cluster: &Cluster, number: u64, lost: Vec<ReplicaId>) -> SignedReopening {
    let world = &cluster.world;
    let instance = |member| world.certificate(member, world.instance_key(member).public());
    let order = Reopening {
        cluster: world.keyring.cluster(),
        incarnation: world.keyring.incarnation(),
        epoch: world.keyring.epoch(),
        number,
        instances: (0..4).map(ReplicaId).map(|member| (member, instance(member))).collect(),
        lost,
    };
    let mut signed = SignedReopening { order, approvals: Vec::new() };
    sign_reopening(&mut signed, &world.administrator());
    signed
}

fn reopen(order: &SignedReopening) -> Message {
    Message::Epoch(EpochMessage::Reopen(Box::new(order.clone())))
}

fn bring(cluster: &mut Cluster, order: &SignedReopening) {
    for id in CORRECT {
        let message = reopen(order);
        cluster.act(id, |replica, now, out| {
            replica.on_message(now, ReplicaId(id), message, out);
        });
    }
}

fn say(cluster: &mut Cluster, to: u16, message: Message) {
    cluster.act(to, |replica, now, out| replica.on_message(now, INTRUDER, message, out));
}

fn choice(cluster: &Cluster, id: u16) -> Option<(Choice, u64)> {
    cluster.replica(id).epochs.reopens.as_ref()?.choice.clone()
}

/// What the correct ones say at present, as an intruder repeats it.
fn turns(cluster: &Cluster) -> Vec<(ReplicaId, u64)> {
    let turn = |id: u16| choice(cluster, id).map(|(_, turn)| turn);
    CORRECT.into_iter().filter_map(|id| Some((ReplicaId(id), turn(id)?))).collect()
}

fn has(cluster: &Cluster, id: u16, block: &Verified<Block>) -> bool {
    cluster.replica(id).ordering().dag().block(&block.reference()).is_some()
}

fn commits(cluster: &Cluster) -> [CommitIndex; 2] {
    [0, 2].map(|id| cluster.replica(id).execution().state().commit())
}

/// A cluster whose horizon has left the beginning, without the voice of one member; the intruder's next
/// block decides a leader. Returns what the intruder made last, too. `meanwhile` befalls the cluster when
/// only that leader will decide what comes of it.
fn before_the_attack(seed: u64, meanwhile: impl Fn(&mut Cluster)) -> (Cluster, BlockRef) {
    let mut cluster = Cluster::hybrid(seed);
    cluster.node(AWAY.0).is_cut_off = true;
    cluster.open_session();
    let run_until_round = |cluster: &mut Cluster, of_four: u64| {
        let is_there = |cluster: &Cluster| {
            let last = cluster.replica(INTRUDER.0).ordering().last().round;
            last.0 > GC_DEPTH + 8 && last.0 % 4 == of_four
        };
        let until = cluster.now.after(Duration::from_secs(300));
        while !is_there(cluster) {
            assert!(cluster.now < until, "a round takes a second at most");
            cluster.step();
        }
    };
    // Leaders from this round on wait for that of the last one, as the first of them is away.
    run_until_round(&mut cluster, 2);
    meanwhile(&mut cluster);
    run_until_round(&mut cluster, 0);
    let last = cluster.replica(INTRUDER.0).ordering().last();
    cluster.node(INTRUDER.0).replica = None;
    cluster.run(Duration::from_secs(5));
    for id in [0, 1] {
        assert_eq!(cluster.replica(id).ordering().last().round, last.round.next());
    }
    (cluster, last)
}

fn epochs(cluster: &Cluster) -> [Epoch; 3] {
    CORRECT.map(|id| cluster.replica(id).keyring().epoch())
}

fn run_until_the_epoch_ends(cluster: &mut Cluster) {
    cluster.run_until("the epoch ends", |cluster| {
        epochs(cluster).iter().all(|epoch| *epoch > Epoch::FIRST)
    });
}

fn run_until_all_hold_the_same(cluster: &mut Cluster) {
    cluster.run_until("all correct ones hold the same", |cluster| {
        let tips = CORRECT.map(|id| cluster.replica(id).ordering().cut().tips);
        tips.windows(2).all(|it| it[0] == it[1])
    });
}

/// What the intruder says of what it holds.
fn word(cluster: &Cluster, order: &SignedReopening, cut: &Cut, stage: ClosingStage) -> Message {
    let order = domain_digest("ravelin reopening v1", &[&order.order.encode()]);
    let (epoch, cut, heard) = (Epoch::FIRST, cut.clone(), turns(cluster));
    Message::Epoch(EpochMessage::Closed(Closing { epoch, order, cut, stage, turn: 1, heard }))
}

/// The intruder's next block, which decides, and which nobody has seen.
fn next_block(cluster: &Cluster, last: BlockRef) -> Verified<Block> {
    let others = [0, 1].map(|id| cluster.replica(id).ordering().last());
    let dag = cluster.replica(0).ordering().dag();
    let before = others.map(|it| *dag.block(&it).expect("it is here").body.previous().unwrap());
    let parents = vec![last, before[0], before[1]];
    cluster.block(INTRUDER, last.round.next(), parents, cluster.now)
}

/// The intruder tells all but one that they hold all there is. Returns its next block.
fn lull(cluster: &mut Cluster, last: BlockRef, order: &SignedReopening) -> Verified<Block> {
    let cut = cluster.replica(0).ordering().cut();
    let message = word(cluster, order, &cut, ClosingStage::Holding);
    for id in [0, AWAY.0] {
        assert_eq!(cluster.replica(id).ordering().cut(), cut);
        say(cluster, id, message.clone());
    }
    next_block(cluster, last)
}

/// The intruder tells all but one that they hold all there is. To that one it then shows a block which
/// moves its horizon, and one on top that names as a parent what nobody has: a block of a member that is
/// away, of a round that only this horizon has passed. Returns these two.
fn attack(cluster: &mut Cluster, last: BlockRef, order: &SignedReopening) -> [Verified<Block>; 2] {
    let horizon = cluster.replica(0).ordering().dag().horizon();
    let decides = lull(cluster, last, order);
    let others = [0, 1].map(|id| cluster.replica(id).ordering().last());
    let now = cluster.now;
    let next = Round(last.round.0 + 2);
    let nobodys = BlockRef {
        round: Round(last.round.0 - GC_DEPTH),
        author: AWAY,
        digest: Digest([0xee; 32]),
    };
    assert!(nobodys.round > horizon);
    let parents = vec![decides.reference(), others[0], others[1], nobodys];
    let hangs = cluster.block(INTRUDER, next, parents, now);
    for block in [&decides, &hangs] {
        say(cluster, 1, Message::Block(block.clone()));
    }
    assert!(has(cluster, 1, &hangs), "its parent counts as present there");
    [decides, hangs]
}

#[test]
fn a_block_that_one_horizon_lets_in_does_not_keep_an_epoch_from_ending() {
    for seed in 0..5 {
        let (mut cluster, last) = before_the_attack(seed, |_| ());
        let first = order(&cluster, 1, vec![]);
        bring(&mut cluster, &first);
        cluster.node(AWAY.0).is_cut_off = false;
        run_until_all_hold_the_same(&mut cluster);
        let before = commits(&cluster);
        let [_, hangs] = attack(&mut cluster, last, &first);
        cluster.run_until("the others take it in", |cluster| {
            has(cluster, 0, &hangs) && has(cluster, 2, &hangs)
        });
        assert_eq!(commits(&cluster), before, "who holds decides nothing");
        // What they hold now stands as firmly as what they held at first.
        cluster.crash(0);
        cluster.start(0);
        cluster.run(Duration::from_secs(1));
        assert!(has(&cluster, 0, &hangs));
        assert_eq!(commits(&cluster), before, "not after a restart either");
        let second = order(&cluster, 2, vec![INTRUDER]);
        bring(&mut cluster, &second);
        run_until_the_epoch_ends(&mut cluster);
    }
}

/// Those who hold wait for one that does not, and the intruder lets that one alone decide a change of a
/// key. Of some seeds another leader decides it, and the epoch ends before.
#[test]
fn who_comes_to_an_end_of_its_own_takes_those_along_who_hold() {
    for (seed, is_restarted) in [(1, false), (3, true), (4, false), (5, true)] {
        let (mut cluster, last) = before_the_attack(seed, |cluster| change_key(cluster, 0));
        let key = cluster.replica(0).key().public();
        let first = order(&cluster, 1, vec![]);
        bring(&mut cluster, &first);
        cluster.node(AWAY.0).is_cut_off = false;
        run_until_all_hold_the_same(&mut cluster);
        let decides = lull(&mut cluster, last, &first);
        say(&mut cluster, 1, Message::Block(decides));
        let ended = |cluster: &Cluster| CORRECT.map(|id| cluster.replica(id).has_ended());
        cluster.run(Duration::from_secs(1));
        assert_eq!(ended(&cluster), [false, true, false], "two hold, and decide nothing");
        if is_restarted {
            cluster.crash(1);
            cluster.start(1);
        }
        let second = order(&cluster, 2, vec![INTRUDER]);
        let mut verdict = ReopeningVerdict::Taken;
        cluster.act(1, |replica, now, out| {
            verdict = replica.on_reopening(now, second.clone(), out);
        });
        assert_eq!(verdict, ReopeningVerdict::Ended);
        bring(&mut cluster, &second);
        run_until_the_epoch_ends(&mut cluster);
        assert_ne!(cluster.replica(0).key().public(), key, "by the end that one of them knew");
    }
}

/// The intruder has one sign by its word, and shows the others its next block instead. Returns the order by
/// which that one signed, and what.
fn let_one_sign_alone(seed: u64) -> (Cluster, SignedReopening, Cut) {
    let (mut cluster, last) = before_the_attack(seed, |_| ());
    let order = order(&cluster, 1, vec![]);
    bring(&mut cluster, &order);
    cluster.node(AWAY.0).is_cut_off = false;
    run_until_all_hold_the_same(&mut cluster);
    let cut = cluster.replica(0).ordering().cut();
    let message = word(&cluster, &order, &cut, ClosingStage::Lacking);
    CORRECT.iter().for_each(|id| say(&mut cluster, *id, message.clone()));
    cluster.run(Duration::from_secs(1)); // all correct ones hold, and only its word is missing
    let message = word(&cluster, &order, &cut, ClosingStage::Holding);
    say(&mut cluster, 0, message);
    assert_eq!(cluster.replica(0).closing_end(), Some(ClosingStage::Signed));
    let block = next_block(&cluster, last);
    for id in [1, AWAY.0] {
        say(&mut cluster, id, Message::Block(block.clone()));
        assert!(has(&cluster, id, &block));
        assert_ne!(cluster.replica(id).ordering().cut(), cut);
    }
    (cluster, order, cut)
}

/// Of those that one may lie among, one signature is not to be believed: they end the epoch with what it
/// ended it with only when all say that they can.
#[test]
fn one_that_signed_alone_is_followed_by_those_who_hold_more() {
    for seed in 0..3 {
        let (mut cluster, order, cut) = let_one_sign_alone(seed);
        let before = choice(&cluster, 1).expect("it holds");
        cluster.run(Duration::from_secs(1));
        let after = choice(&cluster, 1).expect("it holds");
        assert_eq!((before.0.part, after.0.part), (None, Some(cut.clone())));
        assert_ne!(before.1, after.1, "what was said to the one must not count for the other");
        assert_eq!(epochs(&cluster), [Epoch::FIRST; 3], "the intruder may be the only correct one");
        let message = word(&cluster, &order, &cut, ClosingStage::Holding);
        say(&mut cluster, 1, message);
        assert_eq!(cluster.replica(1).closing_end(), Some(ClosingStage::Signed));
        // Its log has what it left out.
        cluster.node(1).is_cut_off = true;
        cluster.crash(1);
        cluster.start(1);
        cluster.run(Duration::from_secs(1));
        assert_eq!(choice(&cluster, 1).and_then(|(it, _)| it.part), Some(cut.clone()));
        cluster.node(1).is_cut_off = false;
        let message = word(&cluster, &order, &cut, ClosingStage::Holding);
        say(&mut cluster, AWAY.0, message);
        run_until_the_epoch_ends(&mut cluster);
    }
}

/// Whoever joins signers holds more than they signed, too. Others may have to end the epoch with just that.
#[test]
fn who_joins_those_who_signed_tells_what_they_did() {
    let (mut cluster, order, cut) = let_one_sign_alone(1);
    cluster.node(AWAY.0).is_cut_off = true;
    cluster.run(Duration::from_secs(1));
    let signed = cluster.replica(0).epochs.handover.as_ref().expect("it signed").vote();
    let key = cluster.world.block_key(INTRUDER);
    let signature = ravelin_crypto::sign_handover(&signed.plan, &key);
    let message = word(&cluster, &order, &cut, ClosingStage::Signed);
    say(&mut cluster, 1, message);
    assert_eq!(cluster.replica(1).closing_end(), None);
    let own = HandoverVote { replica: INTRUDER, signature, ..signed };
    say(&mut cluster, 1, Message::Epoch(EpochMessage::Handover(own)));
    assert_eq!(cluster.replica(1).closing_end(), Some(ClosingStage::Signed));
    let signed = cluster.replica(1).epochs.reopens.as_ref().and_then(|it| it.signed.clone());
    assert_eq!(signed.map(|(_, cut)| cut), Some(cut));
}

/// One comes to an end of its own, by the intruder's block; the intruder claims to have signed what was there
/// before. Whoever followed that would leave out what was decided.
#[test]
fn nobody_ends_an_epoch_without_what_another_one_ended_it_by() {
    for seed in [1, 3, 4, 5] {
        let (mut cluster, last) = before_the_attack(seed, |cluster| change_key(cluster, 0));
        let first = order(&cluster, 1, vec![]);
        bring(&mut cluster, &first);
        cluster.node(AWAY.0).is_cut_off = false;
        run_until_all_hold_the_same(&mut cluster);
        let decides = lull(&mut cluster, last, &first);
        let cut = cluster.replica(0).ordering().cut();
        say(&mut cluster, 1, Message::Block(decides));
        assert_eq!(cluster.replica(1).closing_end(), Some(ClosingStage::Ended));
        for _ in 0..10 {
            cluster.run(Duration::from_millis(500));
            for id in [0, AWAY.0] {
                let message = word(&cluster, &first, &cut, ClosingStage::Signed);
                say(&mut cluster, id, message);
            }
        }
        let digest = |id| Some(cluster.replica(id).epochs.handover.as_ref()?.digest());
        let plans: BTreeSet<_> = CORRECT.into_iter().filter_map(digest).collect();
        assert_eq!(plans.len(), 1, "seed {seed}");
        let second = order(&cluster, 2, vec![INTRUDER]);
        bring(&mut cluster, &second);
        run_until_the_epoch_ends(&mut cluster);
    }
}

/// What one claims to have signed is no more than a word: whoever decided something beyond it stays with that,
/// and does not try what else the same one claims with each of its messages.
#[test]
fn nobody_goes_back_behind_what_it_decided() {
    let (mut cluster, order, cut) = let_one_sign_alone(0);
    cluster.node(0).is_cut_off = true;
    let own = cluster.replica(1).ordering().last();
    let mut less = cut.clone();
    less.tips.iter_mut().filter(|tip| tip.author == own.author).for_each(|tip| {
        let dag = cluster.replica(1).ordering().dag();
        *tip = *dag.block(tip).expect("it is here").body.previous().expect("it is not the first");
    });
    let message = |cluster: &Cluster, cut| word(cluster, &order, cut, ClosingStage::Signed);
    let part = |cluster: &Cluster| choice(cluster, 1).expect("it holds").0.part;
    let claim = message(&cluster, &less);
    say(&mut cluster, 1, claim);
    assert_eq!(part(&cluster), None, "it showed more than that, and may have decided by it");
    let claim = message(&cluster, &cut);
    say(&mut cluster, 1, claim);
    assert_eq!(part(&cluster), None, "not so soon");
    cluster.run(Duration::from_secs(1));
    assert_eq!(part(&cluster), Some(cut));
}

/// It began to hold with less. After a crash between what it decides and its signature, that must not be all
/// that it knows to have decided.
#[test]
fn who_ends_an_epoch_knows_with_what_before_it_decides() {
    let (mut cluster, last) = before_the_attack(2, |_| ());
    let order = order(&cluster, 1, vec![]);
    bring(&mut cluster, &order);
    cluster.node(AWAY.0).is_cut_off = false;
    run_until_all_hold_the_same(&mut cluster);
    let first = cluster.replica(0).ordering().cut();
    let message = word(&cluster, &order, &first, ClosingStage::Lacking);
    CORRECT.iter().for_each(|id| say(&mut cluster, *id, message.clone()));
    cluster.run(Duration::from_secs(1));
    assert_eq!(cluster.replica(0).first_held(), Some(first.clone()));
    let block = next_block(&cluster, last);
    CORRECT.iter().for_each(|id| say(&mut cluster, *id, Message::Block(block.clone())));
    cluster.run(Duration::from_secs(1));
    let all = cluster.replica(0).ordering().cut();
    let message = word(&cluster, &order, &all, ClosingStage::Holding);
    say(&mut cluster, 0, message);
    assert_eq!(cluster.replica(0).closing_end(), Some(ClosingStage::Signed));
    assert_ne!(first, all);
    assert_eq!(cluster.replica(0).first_held(), Some(all));
}

/// Each of a few liars claims to have signed by another order. The order that declares them lost is kept.
#[test]
fn claims_to_have_signed_displace_no_later_order() {
    let mut cluster = Cluster::hybrid(1);
    cluster.node(INTRUDER.0).replica = None;
    let orders: Vec<_> = (1..=5).map(|number| order(&cluster, number, vec![])).collect();
    cluster.act(0, |replica, now, out| {
        for (id, order) in (0..).map(ReplicaId).zip(&orders[..4]) {
            replica.on_message(now, ReplicaId(0), reopen(order), out);
            let closing = Closing {
                epoch: Epoch::FIRST,
                order: domain_digest("ravelin reopening v1", &[&order.order.encode()]),
                cut: Cut { horizon: Round(0), tips: vec![] },
                stage: ClosingStage::Signed,
                turn: 1,
                heard: vec![],
            };
            // One of four is this one itself, which has signed nothing.
            let reopens = replica.epochs.reopens.as_mut().expect("an order came");
            reopens.heard.insert(id, closing);
        }
        replica.on_message(now, ReplicaId(0), reopen(&orders[4]), out);
        let reopens = replica.epochs.reopens.as_ref().expect("an order came");
        assert_eq!(reopens.latest().map(|order| order.number), Some(5));
    });
}

/// Whoever joins those who signed has not held; its disk knows by which order it signed all the same.
#[test]
fn who_signed_without_holding_says_so_after_a_restart() {
    let mut cluster = Cluster::hybrid(1);
    let order = order(&cluster, 1, vec![]);
    bring(&mut cluster, &order);
    say(&mut cluster, INTRUDER.0, reopen(&order));
    cluster.run_until("one has signed", |cluster| cluster.replica(0).has_ended());
    assert_eq!(cluster.replica(0).closing_end(), Some(ClosingStage::Signed));
    assert_eq!(cluster.replica(0).keyring().epoch(), Epoch::FIRST);
    cluster.act(0, |replica, _, _| {
        let state = replica.execution.state_mut();
        state.private_write(vec![(crate::replica::reopening::HELD.to_vec(), None)]);
        state.sync();
    });
    cluster.node(0).is_cut_off = true;
    cluster.crash(0);
    cluster.start(0);
    assert_eq!(cluster.replica(0).closing_end(), Some(ClosingStage::Signed));
}

/// One turn may decide the end of an epoch and take in more behind it, which stays among the tips. Own blocks
/// are none of that, unless they were lost and come from others: with a wormhole no other ones come whole.
#[test]
fn what_came_in_behind_the_end_of_an_epoch_is_in_the_log() {
    for (mut cluster, expected) in [
        (Cluster::hybrid(1), vec![ReplicaId(1), ReplicaId(0)]),
        (Cluster::with_keys(1, 4), vec![ReplicaId(1)]),
    ] {
        change_key(&mut cluster, 0);
        cluster.run_until("the epoch ends", |cluster| cluster.replica(0).has_ended());
        let block = |author: u16| {
            let author = ReplicaId(author);
            let block = cluster.block(author, Round(1000), vec![], cluster.now);
            Action::Persist(LogEntry::Whole(LogRecord::of(&block)))
        };
        let actions = vec![block(1), block(0)];
        cluster.act(0, |replica, _, out| {
            replica.carry_out(actions, out);
            let recorded = out.iter().map(|action| match action {
                Action::Persist(LogEntry::Whole(record)) => Block::author_in(&record.bytes),
                other => panic!("{other:?}"),
            });
            assert_eq!(recorded.flatten().collect::<Vec<_>>(), expected);
        });
    }
}

#[test]
fn an_order_is_told_when_another_one_goes_before_it() {
    let mut cluster = Cluster::hybrid(1);
    let mut verdict_on = |number| {
        let order = order(&cluster, number, vec![]);
        let mut verdict = ReopeningVerdict::NotNow;
        cluster.act(0, |replica, now, out| verdict = replica.on_reopening(now, order, out));
        verdict
    };
    assert_eq!(verdict_on(7), ReopeningVerdict::Taken);
    assert_eq!(verdict_on(6), ReopeningVerdict::Superseded(7));
    assert_eq!(verdict_on(6), ReopeningVerdict::Superseded(7), "nor when it is brought again");
    assert_eq!(verdict_on(8), ReopeningVerdict::Taken);
    assert_eq!(verdict_on(7), ReopeningVerdict::Superseded(8));
}

#[test]
fn who_changes_what_a_member_lacks_with_each_message_makes_it_tell_no_more_often() {
    let mut cluster = Cluster::hybrid(1);
    cluster.node(INTRUDER.0).replica = None;
    let order = order(&cluster, 1, vec![]);
    bring(&mut cluster, &order);
    cluster.run(Duration::from_secs(1));
    let tip = |salt| BlockRef { round: Round(9), author: INTRUDER, digest: Digest([salt; 32]) };
    let mut told = 0;
    for salt in 0..100 {
        let closing = Closing {
            epoch: Epoch::FIRST,
            order: domain_digest("ravelin reopening v1", &[&order.order.encode()]),
            cut: Cut {
                horizon: Round(0),
                tips: (salt % 2 == 0).then(|| tip(salt)).into_iter().collect(),
            },
            stage: ClosingStage::Lacking,
            turn: 1,
            heard: vec![],
        };
        cluster.act(0, |replica, now, out| {
            let message = Message::Epoch(EpochMessage::Closed(closing));
            replica.on_message(
                now.after(Duration::from_millis(u64::from(salt))),
                INTRUDER,
                message,
                out,
            );
            told += out.iter().filter(|action| matches!(action, Action::Broadcast(_))).count();
        });
    }
    assert!((2..=8).contains(&told), "{told}");
}

/// More orders than are remembered: those that were given up come again from others.
#[test]
fn orders_that_come_again_make_nobody_tell_more_often() {
    let mut cluster = Cluster::hybrid(1);
    let orders: Vec<_> = (1..=12).map(|number| order(&cluster, number, vec![])).collect();
    let mut told = 0;
    for turn in 0..300 {
        let message = reopen(&orders[turn % orders.len()]);
        cluster.act(0, |replica, now, out| {
            let now = now.after(Duration::from_micros(100 * turn as u64));
            replica.on_message(now, INTRUDER, message, out);
            told += out.iter().filter(|action| matches!(action, Action::Broadcast(_))).count();
        });
    }
    assert!((2..=8).contains(&told), "{told}");
}

/// A member left an order for a later one, and others may count what it said of that. A liar's word leads
/// it back: what the others said to it before must not make it sign.
#[test]
fn who_goes_back_to_an_order_signs_only_by_what_is_said_to_that() {
    let mut cluster = Cluster::hybrid(3);
    cluster.open_session();
    cluster.run(Duration::from_secs(1));
    cluster.node(INTRUDER.0).replica = None;
    let orders = [1, 2].map(|number| order(&cluster, number, vec![]));
    let [first, second] =
        orders.each_ref().map(|it| domain_digest("ravelin reopening v1", &[&it.order.encode()]));
    bring(&mut cluster, &orders[0]);
    let liar = |cluster: &Cluster, stage| {
        let cut = cluster.replica(0).ordering().cut();
        word(cluster, &orders[0], &cut, stage)
    };
    cluster.run(Duration::from_secs(1));
    let message = liar(&cluster, ClosingStage::Lacking);
    CORRECT.iter().for_each(|id| say(&mut cluster, *id, message.clone()));
    cluster.run(Duration::from_secs(1)); // all correct ones hold, and only its word is missing
    cluster.node(0).is_cut_off = true;
    let message = reopen(&orders[1]);
    cluster.act(0, |replica, now, out| {
        replica.on_message(now, ReplicaId(0), message, out);
    });
    let chosen = |cluster: &Cluster| choice(cluster, 0).map(|(choice, _)| choice.order);
    assert_eq!(chosen(&cluster), Some(second));
    for _ in 0..2 {
        let message = liar(&cluster, ClosingStage::Signed);
        say(&mut cluster, 0, message);
    }
    assert_eq!(chosen(&cluster), Some(first), "it joins who claims to have signed");
    assert!(!cluster.replica(0).has_ended(), "the others spoke of an order that it had left since");
    cluster.node(0).is_cut_off = false;
    let third = order(&cluster, 3, vec![INTRUDER]);
    bring(&mut cluster, &third);
    run_until_the_epoch_ends(&mut cluster);
}

/// A block that waits for its attestation may still be shown: until then its author does not hold all.
#[test]
fn nobody_holds_everything_while_a_block_of_its_own_is_at_its_wormhole() {
    let mut cluster = Cluster::hybrid(4);
    cluster.open_session();
    cluster.node(0).waiting = Some(Vec::new());
    cluster.run_until("a block waits", |cluster| cluster.replica(0).ordering().is_drafting());
    let order = order(&cluster, 1, vec![]);
    bring(&mut cluster, &order);
    cluster.run(Duration::from_secs(5));
    assert_eq!(epochs(&cluster), [Epoch::FIRST; 3]);
    let waiting = cluster.node(0).waiting.take().expect("it waited");
    waiting.iter().for_each(|header| cluster.answer(0, header));
    run_until_the_epoch_ends(&mut cluster);
}
