use ravelin_model::limits::BLOCK_BYTES_MAX;
use ravelin_model::{CommitIndex, ReplicaId};

use super::*;
use crate::testing::{Chance, Toy, World};

const BYTES_MAX: usize = BLOCK_BYTES_MAX - (64 << 10);

fn world() -> World {
    World::new(4, 1)
}

/// An envelope with about so many bytes.
fn envelope(world: &World, client: u8, first: u64, bytes: usize) -> VerifiedEnvelope {
    let mut operations = world.toys(client, 1, first, &[Toy::Count]).operations;
    operations[0].request.resize(bytes.max(5), 0);
    world.verified(&world.envelope(client, 1, first, operations))
}

fn draw(mempool: &mut Mempool) -> Vec<Envelope> {
    mempool.draw(BYTES_MAX, 32).0
}

fn clients(world: &World, drawn: &[Envelope]) -> Vec<u8> {
    let number = |envelope: &Envelope| (0..4).find(|c| world.client(*c) == envelope.client);
    drawn.iter().map(|envelope| number(envelope).unwrap()).collect()
}

/// Nothing is counted that is not there, and nothing is there that is not counted.
fn check_books(mempool: &Mempool) {
    let queues = mempool.queues.values();
    let bytes: usize = queues.clone().map(|queue| queue.bytes).sum();
    assert_eq!(mempool.bytes, bytes);
    let all = queues.clone().flat_map(|queue| &queue.envelopes);
    assert_eq!(mempool.bytes, all.clone().map(|(_, _, size)| size).sum());
    assert_eq!(mempool.len(), all.count());
    assert!(queues.clone().all(|queue| !queue.envelopes.is_empty()));
    let mut turns: Vec<_> = mempool.turns.iter().copied().collect();
    turns.sort_unstable();
    assert_eq!(turns, mempool.queues.keys().copied().collect::<Vec<_>>());
    assert_eq!(mempool.under_way.len(), mempool.drawings.len());
    assert!(mempool.under_way.iter().all(|(digest, at)| mempool.drawings[at] == *digest));
}

#[test]
fn a_flooding_client_delays_another_by_one_turn_at_most() {
    let world = world();
    let mut mempool = Mempool::default();
    for first in 0..500 {
        mempool.admit(&envelope(&world, 0, first + 1, 10)).unwrap();
    }
    mempool.admit(&envelope(&world, 1, 1, 10)).unwrap();
    let drawn = clients(&world, &draw(&mut mempool));
    assert_eq!(drawn.iter().position(|client| *client == 1), Some(1));
    // Also when the flood fills every block by itself.
    let mut mempool = Mempool::default();
    for first in 0..8 {
        mempool.admit(&envelope(&world, 0, first + 1, 1_000_000)).unwrap();
    }
    draw(&mut mempool);
    for client in [1, 2, 3] {
        mempool.admit(&envelope(&world, client, 1, 900_000)).unwrap();
    }
    let drawn = clients(&world, &draw(&mut mempool));
    assert_eq!(drawn, [0, 1, 2, 3]);
    check_books(&mempool);
}

/// Others refuse a block with more, however much room it has left.
#[test]
fn a_block_draws_no_more_envelopes_than_it_may_have_and_the_next_one_the_rest() {
    let world = world();
    let mut mempool = Mempool::default();
    // So many clients that the shares of all, with the smallest envelopes, are more than a block takes.
    let each = CLIENT_SHARE.div_ceil(ENVELOPE_SHARE + 1);
    let clients = 0..=u16::try_from(BLOCK_ENVELOPES_MAX.div_ceil(each)).unwrap();
    let small = |client| {
        let key = world.crowd_key(client);
        let one = |first| world.toys(0, 1, first, &[Toy::Count]).operations;
        let envelopes = (1..=each as u64).map(|first| world.signed(&key, 1, first, one(first)));
        envelopes.collect::<Vec<_>>()
    };
    let all = clients.flat_map(small);
    for verified in world.keyring.verify_envelopes(all.collect()) {
        mempool.admit(&verified.unwrap()).unwrap();
    }
    let all = mempool.len();
    assert!(all > BLOCK_ENVELOPES_MAX);
    let drawn = draw(&mut mempool);
    assert_eq!(drawn.len(), BLOCK_ENVELOPES_MAX);
    let bytes: usize = drawn.iter().map(|envelope| envelope.encode().len()).sum();
    assert!(bytes < BYTES_MAX / 2, "{bytes}: there was room");
    assert_eq!(draw(&mut mempool).len(), all - BLOCK_ENVELOPES_MAX);
    check_books(&mempool);
}

fn deferred(envelopes: &[Envelope], why: Deferral) -> Vec<Deferred> {
    let deferred = |envelope: &Envelope| Deferred {
        digest: envelope_digest(envelope),
        envelope: envelope.clone(),
        why,
    };
    envelopes.iter().map(deferred).collect()
}

/// Whoever came last in a block that others had used up must not be last in the next one too.
#[test]
fn what_a_full_block_left_over_comes_first_in_the_next() {
    let world = world();
    let mut mempool = Mempool::default();
    for (client, first) in [(0, 1), (1, 1), (2, 1), (0, 2), (1, 2)] {
        mempool.admit(&envelope(&world, client, first, 10)).unwrap();
    }
    let drawn = draw(&mut mempool);
    assert_eq!(clients(&world, &drawn), [0, 1, 2, 0, 1]);
    let (done, left) = drawn.split_at(1);
    mempool.on_executed(&envelope_digest(&done[0]));
    for first in 3..6 {
        mempool.admit(&envelope(&world, 0, first, 10)).unwrap();
    }
    let gone = mempool.on_deferred(deferred(left, Deferral::Block));
    assert_eq!(gone, []);
    check_books(&mempool);
    let drawn = draw(&mut mempool);
    assert_eq!(clients(&world, &drawn), [1, 2, 0, 1, 0, 0, 0]);
    assert!(left.iter().all(|late| drawn.contains(late)));
}

#[test]
fn who_used_up_its_own_share_is_told_to_come_again() {
    let world = world();
    let mut mempool = Mempool::default();
    mempool.admit(&envelope(&world, 0, 1, 10)).unwrap();
    let drawn = draw(&mut mempool);
    let late = deferred(&drawn, Deferral::Client);
    assert_eq!(mempool.on_deferred(late.clone()), drawn);
    assert!(mempool.is_empty());
    assert_eq!(mempool.on_deferred(late), [], "it stood in another's block, too");
    mempool.admit(&envelope(&world, 0, 1, 10)).expect("it is under way no more");
}

#[test]
fn a_block_takes_no_more_operations_than_can_be_executed_with_it() {
    let world = world();
    let mut mempool = Mempool::default();
    for session in 1..=40 {
        let many = world.toys(0, session, 1, &[Toy::Count; 1000]);
        mempool.admit(&world.verified(&many)).unwrap();
    }
    let drawn = draw(&mut mempool);
    assert_eq!(drawn.len(), 33);
    assert_eq!(draw(&mut mempool).len(), 7, "the rest comes next");
}

#[test]
fn each_client_has_its_quota_and_leaves_the_others_theirs() {
    let world = world();
    let mut mempool = Mempool::default();
    let mut taken = 0;
    while mempool.admit(&envelope(&world, 0, taken + 1, 1_000_000)).is_ok() {
        taken += 1;
    }
    assert_eq!(taken, 8);
    let busy = mempool.admit(&envelope(&world, 0, 99, 1_000_000)).unwrap_err();
    assert_eq!(busy.retry_after_ms, RETRY_AFTER_MS);
    mempool.admit(&envelope(&world, 1, 1, 1_000_000)).unwrap();
    let small = (0..).take_while(|first| mempool.admit(&envelope(&world, 2, first + 1, 5)).is_ok());
    assert_eq!(small.count(), PENDING_CLIENT_ENVELOPES_MAX);
    check_books(&mempool);
    draw(&mut mempool);
    mempool.admit(&envelope(&world, 0, 99, 1_000_000)).unwrap();
}

#[test]
fn what_waits_over_all_clients_is_bounded() {
    let world = world();
    let mut mempool = Mempool::default();
    let mut taken = 0;
    for client in 10..=255 {
        while mempool.admit(&envelope(&world, client, taken + 1, 1_000_000)).is_ok() {
            taken += 1;
        }
    }
    assert_eq!(taken, 67); // of 1,000,000 bytes and a little, into 64 MiB
    assert!(mempool.bytes <= PENDING_BYTES_MAX);
    check_books(&mempool); // those who were turned away left nothing behind
}

#[test]
fn an_envelope_waits_once_and_is_not_proposed_while_it_is_under_way() {
    let world = world();
    let mut mempool = Mempool::default();
    let one = envelope(&world, 0, 1, 10);
    mempool.admit(&one).unwrap();
    mempool.admit(&one).unwrap();
    assert_eq!(draw(&mut mempool), [Envelope::clone(&one)]);
    mempool.admit(&one).unwrap();
    assert!(mempool.is_empty() && !mempool.is_waiting());
    mempool.on_executed(&one.digest());
    mempool.admit(&one).unwrap();
    assert!(mempool.is_waiting());
    check_books(&mempool);
}

#[test]
fn what_another_replica_brought_into_the_order_waits_no_more() {
    let world = world();
    let mut mempool = Mempool::default();
    let (one, two) = (envelope(&world, 0, 1, 10), envelope(&world, 0, 2, 10));
    mempool.admit(&one).unwrap();
    mempool.admit(&two).unwrap();
    mempool.on_executed(&one.digest());
    check_books(&mempool);
    assert_eq!(draw(&mut mempool), [Envelope::clone(&two)]);
    mempool.admit(&one).unwrap();
    mempool.on_executed(&one.digest());
    assert!(!mempool.is_waiting() && draw(&mut mempool).is_empty());
    check_books(&mempool);
}

#[test]
fn what_comes_back_undelivered_is_proposed_again() {
    let world = world();
    let mut mempool = Mempool::default();
    let one = envelope(&world, 0, 1, 10);
    mempool.admit(&one).unwrap();
    let drawn = draw(&mut mempool);
    mempool.give_back(&drawn);
    mempool.give_back(&drawn);
    assert_eq!(mempool.len(), 1);
    check_books(&mempool);
    assert_eq!(draw(&mut mempool), drawn);
    check_books(&mempool);
}

#[test]
fn what_comes_back_to_a_full_replica_can_be_sent_again() {
    let world = world();
    let mut mempool = Mempool::default();
    let one = envelope(&world, 0, 1, 1_000_000);
    mempool.admit(&one).unwrap();
    let drawn = draw(&mut mempool);
    for client in 10..=255 {
        while mempool.admit(&envelope(&world, client, 1 + mempool.len() as u64, 1_000_000)).is_ok()
        {
        }
    }
    mempool.give_back(&drawn);
    assert!(mempool.bytes <= PENDING_BYTES_MAX);
    while mempool.is_waiting() {
        draw(&mut mempool);
    }
    mempool.admit(&one).unwrap();
    assert_eq!(draw(&mut mempool), drawn);
}

#[test]
fn the_oldest_under_way_are_forgotten_first() {
    let world = world();
    let mut mempool = Mempool::default();
    let first = envelope(&world, 0, 1, 5);
    mempool.admit(&first).unwrap();
    let drawn = draw(&mut mempool);
    mempool.give_back(&drawn);
    draw(&mut mempool);
    for number in 0..UNDER_WAY_MAX as u64 {
        mempool.remember_under_way(ravelin_crypto::domain_digest("test", &[&number.encode()]));
    }
    assert_eq!(mempool.under_way.len(), UNDER_WAY_MAX);
    check_books(&mempool);
    mempool.admit(&first).unwrap();
    assert_eq!(draw(&mut mempool), drawn);
}

#[test]
fn a_block_is_never_drawn_beyond_its_bytes() {
    for seed in 0..30 {
        let mut chance = Chance(seed);
        let world = world();
        let mut mempool = Mempool::default();
        let mut waiting = Vec::new();
        for first in 0..30 {
            let most = if chance.below(4) == 0 { 1_000_000 } else { 3_000 };
            let bytes = 5 + chance.index(most);
            let client = u8::try_from(chance.below(4)).unwrap();
            let envelope = envelope(&world, client, first + 1, bytes);
            mempool.admit(&envelope).unwrap();
            waiting.push(envelope.digest());
        }
        for _ in 0..chance.below(4) {
            mempool.add_vote(evidence(&world, 34));
        }
        let bytes_max = 1_100_000 + chance.index(3_000_000);
        let mut rounds = 0;
        while mempool.is_waiting() {
            let (envelopes, votes) = mempool.draw(bytes_max, 32);
            let bytes: usize = envelopes.iter().map(|envelope| envelope.encode().len()).sum();
            let proofs: usize = votes.iter().map(|vote| vote.encode().len()).sum();
            assert!(bytes + proofs <= bytes_max, "seed {seed}");
            waiting.retain(|digest| !envelopes.iter().any(|e| envelope_digest(e) == *digest));
            check_books(&mempool);
            rounds += 1;
            assert!(rounds < 100, "seed {seed}: every envelope finds a block");
        }
        assert_eq!(waiting.len(), 0, "seed {seed}");
    }
}

/// One envelope of each of so many operations, and many small ones of a client that floods.
#[test]
fn a_flood_gets_its_share_of_a_block_while_others_are_there_and_all_of_it_alone() {
    let world = world();
    let mut mempool = Mempool::default();
    for first in 0..2000 {
        mempool.admit(&envelope(&world, 0, first + 1, 5)).unwrap();
    }
    for (client, operations) in [(1, 32), (2, 1)] {
        let toys = world.toys(client, 1, 1, &vec![Toy::Count; operations]);
        mempool.admit(&world.verified(&toys)).unwrap();
    }
    let share = CLIENT_SHARE.div_ceil(ENVELOPE_SHARE + 1);
    let drawn = clients(&world, &draw(&mut mempool));
    assert_eq!(drawn.get(..3), Some(&[0, 1, 2][..]), "all have their turns");
    assert_eq!(drawn.len(), share + 2, "and the flood its share");
    for client in [0, 1, 0] {
        mempool.note_present(world.client(client)); // perhaps by another's block
    }
    for block in 0..PRESENT_DRAWS {
        assert_eq!(draw(&mut mempool).len(), share, "others may come again: block {block}");
        mempool.note_present(world.client(0));
    }
    assert_eq!(draw(&mut mempool).len(), 2000 - (PRESENT_DRAWS as usize + 1) * share);
    assert!(mempool.is_empty());
    check_books(&mempool);
}

#[test]
fn clients_with_much_to_do_share_blocks_alike() {
    let world = world();
    let mut mempool = Mempool::default();
    for client in 0..4 {
        for first in 0..10 {
            let toys = world.toys(client, 1, 32 * first + 1, &[Toy::Count; 32]);
            mempool.admit(&world.verified(&toys)).unwrap();
        }
    }
    for _ in 0..10 {
        let mut drawn = clients(&world, &draw(&mut mempool));
        drawn.sort_unstable();
        assert_eq!(drawn, [0, 1, 2, 3]);
    }
    assert!(mempool.is_empty());
}

#[test]
fn who_has_as_much_waiting_as_it_may_is_known_before_its_signature_is_looked_at() {
    let world = world();
    let mut mempool = Mempool::default();
    for first in 0..PENDING_CLIENT_ENVELOPES_MAX {
        assert_eq!(mempool.room_of(&world.client(0)), PENDING_CLIENT_ENVELOPES_MAX - first);
        mempool.admit(&envelope(&world, 0, first as u64 + 1, 5)).unwrap();
    }
    assert_eq!(mempool.room_of(&world.client(0)), 0);
    assert_eq!(mempool.room_of(&world.client(1)), PENDING_CLIENT_ENVELOPES_MAX);
    draw(&mut mempool);
    assert_eq!(mempool.room_of(&world.client(0)), PENDING_CLIENT_ENVELOPES_MAX);
}

fn statement(world: &World, commit: u64) -> SignedStatement {
    let statement = ravelin_model::CommitStatement {
        cluster: world.keyring.cluster(),
        incarnation: world.keyring.incarnation(),
        epoch: world.keyring.epoch(),
        commit: CommitIndex(commit),
        position: Default::default(),
        time: Default::default(),
        answers: Digest::default(),
        state: Digest::default(),
        ordering: None,
    };
    world.keyring.sign_statement(&world.block_key(ReplicaId(0)), ReplicaId(0), statement)
}

/// A proof as large as in a group with `f + 1 = members`.
fn evidence(world: &World, members: usize) -> Vote {
    let accused = statement(world, 1);
    Vote::Evidence(ravelin_model::Evidence::WrongStatement {
        accused,
        correct: vec![accused; members],
    })
}

#[test]
fn proofs_go_before_statements_and_are_not_displaced_by_them() {
    let world = world();
    let mut mempool = Mempool::default();
    mempool.add_vote(evidence(&world, 2));
    for commit in 0..500 {
        mempool.add_vote(Vote::Statement(statement(&world, commit)));
    }
    let (_, votes) = mempool.draw(BYTES_MAX, 32);
    assert_eq!((votes.len(), &votes[0]), (32, &evidence(&world, 2)));
    // Of too many statements the newest stay, in order.
    let commit = |vote: &Vote| match vote {
        Vote::Statement(signed) => signed.statement.commit.0,
        Vote::Evidence(_) | Vote::Rekey(_) => panic!("one proof was added"),
    };
    let stated: Vec<u64> = votes[1..].iter().map(commit).collect();
    assert_eq!(stated, (500 - BLOCK_VOTES_MAX as u64..).take(31).collect::<Vec<_>>());
    (0..100).for_each(|_| mempool.add_vote(evidence(&world, 2)));
    assert_eq!(mempool.evidence.len(), BLOCK_VOTES_MAX);
}

#[test]
fn one_order_of_a_new_key_goes_into_a_block_and_one_of_each_member_waits() {
    let world = world();
    let order = |member: u16, turn: u8| {
        let member = ReplicaId(member);
        let rekey = ravelin_model::Rekey {
            cluster: world.keyring.cluster(),
            incarnation: world.keyring.incarnation(),
            epoch: world.keyring.epoch(),
            member,
            block: world.block_key_of(member, turn).public(),
            instance: None,
        };
        let key = world.identity_key(member);
        let signature = key.sign(ravelin_crypto::Domain::Rekey, &rekey.encode());
        Vote::Rekey(SignedRekey { rekey, signature, possession: signature })
    };
    let mut mempool = Mempool::default();
    assert!(!mempool.is_waiting());
    for (member, turn) in [(3, 1), (1, 1), (1, 2)] {
        mempool.add_vote(order(member, turn));
    }
    assert!(mempool.is_waiting(), "a block is made for it");
    let votes = |mempool: &mut Mempool| mempool.draw(BYTES_MAX, 32).1;
    assert_eq!(votes(&mut mempool), vec![order(1, 2)], "the newer one");
    assert_eq!(votes(&mut mempool), vec![order(3, 1)]);
    assert_eq!(votes(&mut mempool), vec![]);
    assert!(!mempool.is_waiting());
    mempool.add_vote(order(2, 1));
    mempool.begin_epoch();
    assert!(!mempool.is_waiting(), "they are of an epoch that is over");
    assert_eq!(votes(&mut mempool), vec![]);
}

#[test]
fn a_closed_queue_takes_nothing_new_and_gives_what_it_has() {
    let world = world();
    let mut mempool = Mempool::default();
    let (known, new) = (envelope(&world, 0, 1, 10), envelope(&world, 0, 2, 10));
    mempool.admit(&known).unwrap();
    let busy = Busy { retry_after_ms: 7 };
    mempool.close(Some(busy));
    assert_eq!(mempool.admit(&known), Ok(()), "it waits already");
    assert_eq!(mempool.admit(&new), Err(busy));
    mempool.begin_epoch();
    assert_eq!(mempool.admit(&new), Err(busy), "in the next epoch too");
    assert_eq!(draw(&mut mempool).len(), 1);
    mempool.close(None);
    assert_eq!(mempool.admit(&new), Ok(()));
    check_books(&mempool);
}
