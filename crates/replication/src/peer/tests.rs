use ravelin_model::{
    BlockRef, Chain, CommitIndex, Digest, Envelope, Evidence, FaultModel, Group, ReplicaId, Round,
    Signature,
};

use super::*;
use crate::testing::{Chance, Toy, World};
use ravelin_model::Place;

fn block(world: &World, round: u64, envelopes: Vec<Envelope>) -> Verified<Block> {
    world.block(ReplicaId(1), Round(round), envelopes, vec![])
}

fn reference(round: u64) -> BlockRef {
    BlockRef { round: Round(round), author: ReplicaId(2), digest: Digest([7; 32]) }
}

/// Three blocks of one author.
fn chain(round: u64) -> Chain {
    Chain { tip: reference(round + 3), after: Round(round) }
}

/// One of each kind.
fn messages(world: &World) -> Vec<Message> {
    let envelope = world.toys(0, 1, 1, &[Toy::Count]);
    let one = block(world, 1, vec![envelope]);
    vec![
        Message::Block(one.clone()),
        Message::Fetch(vec![chain(1), chain(2)]),
        Message::Replay(Round(9)),
        Message::Replayed(vec![one.clone(), block(world, 2, vec![])]),
        Message::Replayed(vec![]),
        Message::Recall(77),
        Message::Recalled(77, Some(one.signed_header())),
        Message::Recalled(77, None),
        Message::Epoch(EpochMessage::Ask(Epoch(3))),
        Message::Transfer(TransferMessage::Ask { epoch: Epoch(3), commit: CommitIndex(7) }),
    ]
}

const EPOCH: Epoch = Epoch::FIRST;

fn at(round: u64) -> Place {
    Place { epoch: EPOCH, round: Round(round) }
}

fn frames(messages: Vec<PeerMessage>) -> Vec<PeerFrame> {
    messages.into_iter().map(|message| PeerFrame { epoch: EPOCH, message }).collect()
}

/// What is of another epoch is told apart, and never costs a signature or a suspicion.
#[test]
fn messages_of_another_epoch_are_not_taken_for_this_ones() {
    let world = World::new(4, 1);
    let block = Block::clone(&block(&world, 5, vec![]));
    let epoch = Epoch(2);
    let mut of_nobody = chain(1);
    of_nobody.tip.author = ReplicaId(4);
    let chains = LogPart::Chain { epoch, author: ReplicaId(2), rounds: (Round(8), Round(12)) };
    let sent = [
        (PeerMessage::Block(block.clone()), vec![]),
        (PeerMessage::Replayed(vec![block]), vec![]),
        (PeerMessage::Fetch(vec![chain(9), chain(7), of_nobody]), vec![chains]),
        (PeerMessage::Fetch(vec![chain(9); FETCH_MAX + 1]), vec![]),
        (
            PeerMessage::Replay { from: Round(3) },
            vec![LogPart::From(Place { epoch, round: Round(3) })],
        ),
        (PeerMessage::Recall { nonce: 1 }, vec![]),
    ];
    for (message, expected) in sent {
        let frame = PeerFrame { epoch, message };
        let verdict = verify(&world.keyring, vec![frame]).pop().unwrap().unwrap();
        let Message::Epoch(EpochMessage::Elsewhen { epoch, wanted }) = verdict else {
            panic!("{verdict:?}")
        };
        assert_eq!((epoch, wanted), (Epoch(2), expected));
    }
    let ask = PeerFrame { epoch: Epoch(2), message: PeerMessage::Epoch(EpochMessage::Ask(EPOCH)) };
    let verdict = verify(&world.keyring, vec![ask]).pop().unwrap();
    assert!(matches!(verdict, Ok(Message::Epoch(EpochMessage::Ask(_)))));
    let feigned = EpochMessage::Elsewhen { epoch: Epoch(2), wanted: vec![] };
    let feigned = PeerFrame { epoch: EPOCH, message: PeerMessage::Epoch(feigned) };
    assert_eq!(
        verify(&world.keyring, vec![feigned]).pop().unwrap().err(),
        Some(Suspicion::Malformed)
    );
}

#[test]
fn every_message_arrives_as_it_was_sent() {
    let world = World::new(4, 1);
    let messages = messages(&world);
    let sent: Vec<Vec<u8>> = messages.iter().map(|message| encode(EPOCH, message)).collect();
    let read = sent.iter().map(|bytes| decode(bytes).unwrap()).collect();
    let verdicts = verify(&world.keyring, read);
    assert_eq!(verdicts.len(), messages.len());
    for ((verdict, message), bytes) in verdicts.into_iter().zip(&messages).zip(&sent) {
        let arrived = verdict.unwrap();
        assert_eq!(format!("{arrived:?}"), format!("{message:?}"));
        assert_eq!(encode(EPOCH, &arrived), *bytes);
    }
}

#[test]
fn bytes_that_are_no_message_are_told_from_those_that_are_too_many() {
    let world = World::new(4, 1);
    assert_eq!(decode(&[]), Err(Suspicion::Malformed));
    assert_eq!(decode(&[1, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0]), Err(Suspicion::Malformed));
    let mut tail = encode(EPOCH, &Message::Recall(1));
    tail.push(0);
    assert_eq!(decode(&tail), Err(Suspicion::Malformed));
    assert_eq!(decode(&vec![0; PEER_MESSAGE_BYTES_MAX + 1]), Err(Suspicion::TooLarge));
    let endless = [&EPOCH.encode()[..], &[3], &u32::MAX.to_le_bytes(), &[0; 100]].concat();
    assert_eq!(decode(&endless), Err(Suspicion::Malformed));
    // Whatever is changed or cut: a verdict, never a panic, and never a message that was not sent.
    for seed in 0..400 {
        let mut chance = Chance(seed);
        let messages = messages(&world);
        let sent = encode(EPOCH, &messages[chance.index(messages.len())]);
        let mut bytes = sent.clone();
        for _ in 0..=chance.below(3) {
            let place = chance.index(bytes.len());
            bytes[place] ^= 1 << chance.below(8);
        }
        bytes.truncate(bytes.len() - chance.index(2) * chance.index(bytes.len()));
        let Ok(message) = decode(&bytes) else { continue };
        let block_kind = matches!(message.message, PeerMessage::Block(_));
        let verdict = verify(&world.keyring, vec![message]).pop().unwrap();
        assert!(!block_kind || bytes == sent || verdict.is_err(), "seed {seed}");
    }
}

#[test]
fn a_fetch_asks_for_a_limited_number_of_blocks() {
    let world = World::new(4, 1);
    let fetch = |count: u64| PeerMessage::Fetch((0..count).map(chain).collect());
    let most = FETCH_MAX as u64;
    let verdicts = verify(&world.keyring, frames(vec![fetch(most), fetch(most + 1)]));
    assert!(matches!(verdicts[..], [Ok(Message::Fetch(_)), Err(Suspicion::TooLarge)]));
}

/// Blocks that must not hold, each for one reason.
fn bad_blocks(world: &World) -> Vec<(Block, Suspicion)> {
    let envelope = world.toys(0, 1, 1, &[Toy::Count]);
    let good = Block::clone(&block(world, 1, vec![envelope.clone()]));
    let mut forged = good.clone();
    forged.authenticator = Signature([1; 64]);
    let mut claimed = good.clone();
    claimed.body.author = ReplicaId(2);
    let mut stranger = good.clone();
    stranger.body.author = ReplicaId(4);
    let mut unsigned = envelope.clone();
    unsigned.signature = Signature([2; 64]);
    let carries_unsigned = Block::clone(&block(world, 1, vec![envelope, unsigned]));
    let foreign = World::new(7, 2);
    let foreign = Block::clone(&foreign.block(ReplicaId(1), Round(1), vec![], vec![]));
    let header = block(world, 1, vec![]).signed_header();
    let baseless = Evidence::Equivocation { first: header, second: header };
    let slander = ravelin_model::Vote::Evidence(baseless);
    let slander = Block::clone(&world.block(ReplicaId(1), Round(1), vec![], vec![slander]));
    vec![
        (forged, Suspicion::BadSignature),
        (claimed, Suspicion::BadSignature),
        (stranger, Suspicion::Foreign),
        (carries_unsigned, Suspicion::BadEnvelope),
        (foreign, Suspicion::Foreign),
        (slander, Suspicion::BadSignature),
    ]
}

#[test]
fn a_bad_block_is_refused_wherever_it_stands_and_takes_no_good_one_with_it() {
    let world = World::new(4, 1);
    let bad = bad_blocks(&world);
    for seed in 0..100 {
        let mut chance = Chance(seed);
        let (mut sent, mut expected) = (Vec::new(), Vec::new());
        for round in 0..8 {
            let (refused, suspicion) = &bad[chance.index(bad.len())];
            let good = block(&world, round + 1, vec![]);
            match chance.below(5) {
                0 => {
                    sent.push(PeerMessage::Block(refused.clone()));
                    expected.push(Err(*suspicion));
                }
                1 => {
                    sent.push(PeerMessage::Replayed(vec![refused.clone(), refused.clone()]));
                    expected.push(Err(*suspicion));
                }
                2 => {
                    sent.push(PeerMessage::Replayed(vec![refused.clone(), Block::clone(&good)]));
                    expected.push(Ok(vec![good.reference()]));
                }
                3 => {
                    sent.push(PeerMessage::Recall { nonce: 3 });
                    expected.push(Ok(vec![]));
                }
                _ => {
                    sent.push(PeerMessage::Block(Block::clone(&good)));
                    expected.push(Ok(vec![good.reference()]));
                }
            }
        }
        let verdicts = verify(&world.keyring, frames(sent));
        let seen = verdicts.into_iter().map(|verdict| {
            verdict.map(|message| match message {
                Message::Block(block) => vec![block.reference()],
                Message::Replayed(blocks) => blocks.iter().map(Verified::reference).collect(),
                _ => vec![],
            })
        });
        assert_eq!(seen.collect::<Vec<_>>(), expected, "seed {seed}");
    }
}

#[test]
fn a_replay_holds_as_many_records_as_fit_one_message() {
    let world = World::new(4, 1);
    let large = |round: u64| {
        let mut envelope = world.toys(0, 1, 1, &[Toy::Count]);
        envelope.operations[0].request = vec![0; 900_000];
        Block::clone(&block(&world, round, vec![envelope]))
    };
    let blocks: Vec<Block> = (1..=6).map(large).collect();
    let all = LogPart::From(at(1));
    let message = logged(&all, blocks.iter().map(LogRecord::of).collect()).remove(0);
    let PeerMessage::Replayed(sent) = &message.message else { panic!() };
    assert_eq!(*sent, blocks[..4]);
    assert!(message.encode().len() <= PEER_MESSAGE_BYTES_MAX);
    // What cannot be read is left out; the rest goes on.
    let rotten = LogRecord { place: at(1), bytes: vec![1, 2, 3] };
    let mut later = LogRecord::of(&blocks[1]);
    later.place.epoch = Epoch(2);
    let records = vec![rotten, LogRecord::of(&blocks[0]), later, LogRecord::of(&blocks[2])];
    let frame = logged(&all, records.clone()).remove(0);
    let kept = [blocks[0].clone(), blocks[2].clone()];
    assert_eq!(frame.message, PeerMessage::Replayed(kept.to_vec()));
    // A chain: each by itself.
    let chain = LogPart::Chain { epoch: EPOCH, author: ReplicaId(1), rounds: (Round(1), Round(3)) };
    let sent = logged(&chain, records).into_iter().map(|frame| frame.message);
    let single = kept.into_iter().map(PeerMessage::Block);
    assert_eq!(sent.collect::<Vec<_>>(), single.collect::<Vec<_>>());
}

#[test]
fn records_are_checked_again_and_those_below_the_horizon_left_alone() {
    let world = World::new(4, 1);
    let group = Group::new(4, 1, FaultModel::Arbitrary).unwrap();
    let dag = Dag::new(group, world.keyring.genesis(), Round(10));
    let read = |block: &Block| recorded_block(&world.keyring, &dag, &LogRecord::of(block));
    let good = block(&world, 11, vec![]);
    assert_eq!(read(&good).map(|block| block.reference()), Some(good.reference()));
    assert_eq!(read(&block(&world, 10, vec![])), None);
    for (mut bad, _) in bad_blocks(&world) {
        bad.body.round = Round(11); // whatever was signed, this was not
        assert_eq!(read(&bad), None);
    }
    let unreadable = LogRecord { place: at(11), bytes: vec![0; 9] };
    assert_eq!(recorded_block(&world.keyring, &dag, &unreadable), None);
}
