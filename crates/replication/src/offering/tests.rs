use std::collections::BTreeSet;

use ravelin_model::transfer::Spot;
use ravelin_model::{
    CommitStatement, Digest, Position, ReplicaId, ServiceId, ServiceStores as _, Suspicion, Time,
};

use ravelin_multicast::OrderingState;

use super::*;
use crate::replica::epoch_start;
use crate::state::MemoryBackend;
use crate::state::StateEntry;
use crate::testing::World;
use crate::transfer::Target;

fn state() -> State {
    let mut state = State::open(Box::new(MemoryBackend::new()));
    state.of(ServiceId::KV).put(b"key", b"value".to_vec());
    state.finish_commit(CommitIndex(1));
    state
}

/// The order after the last commit of `state`.
fn ordering(world: &World, state: &State) -> OrderingState {
    let first = epoch_start(&world.keyring, &world.plan.plan);
    first.following(state.commit(), Time(7))
}

fn progress(world: &World, state: &State) -> Progress {
    Progress { position: Position(4), ordering: ordering(world, state) }
}

fn delivered(world: &World) -> BTreeSet<BlockRef> {
    let digest = world.keyring.genesis();
    let reference = |author| BlockRef { author: ReplicaId(author), round: Round(3), digest };
    (0..3).map(reference).collect()
}

/// The statements of `members` about the last commit of `state`.
fn statements(world: &World, state: &State, members: &[u16]) -> Vec<SignedStatement> {
    let statement = CommitStatement {
        cluster: world.keyring.cluster(),
        incarnation: world.keyring.incarnation(),
        epoch: world.keyring.epoch(),
        commit: state.commit(),
        position: Position(4),
        time: Time(7),
        answers: Digest([1; 32]),
        state: state.root(),
        ordering: Some(ordering(world, state).digest(&delivered(world))),
    };
    let sign = |member: &u16| {
        let member = ReplicaId(*member);
        world.keyring.sign_statement(&world.block_key(member), member, statement)
    };
    members.iter().map(sign).collect()
}

/// An offer of the last state, signed by `members`.
fn offer(world: &World, state: &mut State, members: &[u16]) -> Offer {
    let mut offering = Offering::default();
    let (progress, commit) = (progress(world, state), state.commit());
    offering.on_checkpoint(state, &progress, delivered(world));
    offering.on_certified(state, commit, statements(world, state, members));
    offering.offer(std::slice::from_ref(&world.plan), (Epoch(1), CommitIndex(0)), state)
}

fn judge(world: &World, offer: Offer) -> Result<Option<Target>, Suspicion> {
    Target::judge(&world.plan, &world.keyring, offer)
}

#[test]
fn what_a_quorum_signed_is_offered_and_believed() {
    let (world, mut state) = (World::new(4, 1), state());
    let offer = offer(&world, &mut state, &[0, 1, 3]);
    let target = judge(&world, offer).unwrap().expect("a state");
    assert_eq!((target.commit, target.root), (CommitIndex(1), state.root()));
    assert_eq!((target.position, target.ordering.time), (Position(4), Time(7)));
    assert_eq!(target.delivered, delivered(&world));
}

#[test]
fn what_a_quorum_did_not_sign_is_not_believed() {
    let (world, mut state) = (World::new(4, 1), state());
    let good = offer(&world, &mut state, &[0, 1, 3]);
    let forge = |forge: fn(&mut Checkpoint)| {
        let mut offer = good.clone();
        offer.checkpoint.iter_mut().for_each(forge);
        assert_eq!(judge(&world, offer).unwrap_err(), Suspicion::BadState);
    };
    forge(|it| it.statements.truncate(2));
    forge(|it| it.statements[2] = it.statements[1]);
    forge(|it| it.statements[2].replica = ReplicaId(2));
    forge(|it| it.statements[0].statement.state = Digest([9; 32]));
    forge(|it| it.statements.iter_mut().for_each(|it| it.statement.state = Digest([9; 32])));
    forge(|it| it.statements.iter_mut().for_each(|it| it.statement.ordering = None));
    forge(|it| it.statements.extend(vec![it.statements[0]; 2]));
    forge(|it| it.delivered.truncate(2));
    forge(|it| it.ordering[0] ^= 1);
    forge(|it| it.ordering.truncate(20));
    forge(|it| it.ordering.clear());
    forge(|it| it.statements.clear());
    let stranger = World::new(7, 2);
    let offer = offer(&stranger, &mut state, &[0, 1, 2, 3, 4]);
    assert_eq!(judge(&world, offer).unwrap_err(), Suspicion::BadState, "another cluster's");
}

#[test]
fn plans_that_do_not_follow_are_not_believed() {
    let (world, mut state) = (World::new(4, 1), state());
    let mut offer = offer(&world, &mut state, &[0, 1, 3]);
    offer.plans = vec![world.plan.clone()];
    assert_eq!(judge(&world, offer).unwrap_err(), Suspicion::BadSignature);
}

#[test]
fn nothing_is_offered_before_a_quorum_signed_it_nor_to_who_is_past_it() {
    let (world, mut state) = (World::new(4, 1), state());
    let plans = [world.plan.clone()];
    let mut offering = Offering::default();
    let progress = progress(&world, &state);
    offering.on_checkpoint(&mut state, &progress, delivered(&world));
    let offered = |offering: &Offering, state: &State, commit| {
        offering.offer(&plans, (Epoch(1), CommitIndex(commit)), state).checkpoint
    };
    assert_eq!(offered(&offering, &state, 0), None);
    let signed = statements(&world, &state, &[0, 1, 2]);
    offering.on_certified(&mut state, CommitIndex(1), signed);
    assert!(offered(&offering, &state, 0).is_some());
    assert_eq!(offered(&offering, &state, 1), None);
}

#[test]
fn a_state_that_is_asked_for_outlives_the_next_and_no_more_are_held_than_may_be() {
    let (world, mut state) = (World::new(4, 1), state());
    let mut offering = Offering::default();
    for commit in 2..300 {
        state.of(ServiceId::KV).put(b"key", commit.encode());
        state.finish_commit(CommitIndex(commit));
        offering.on_commit(OUTLIVED_BYTES_MAX / 80);
        if commit % 10 == 0 {
            let progress = progress(&world, &state);
            offering.on_checkpoint(&mut state, &progress, delivered(&world));
            let signed = statements(&world, &state, &[0, 1, 2]);
            if commit < 250 {
                offering.on_certified(&mut state, CommitIndex(commit), signed);
            }
            if commit < 200 {
                offering.on_want(&mut state, CommitIndex(10));
            }
        }
        assert!(offering.held.len() <= HELD_MAX);
        let is_held = (10..90).contains(&commit);
        assert!(!is_held || state.has_version(CommitIndex(10)), "{commit}");
    }
    assert!(!state.has_version(CommitIndex(10)));
    let newest = offering.offer(&[], (Epoch(1), CommitIndex(0)), &state).checkpoint.unwrap();
    assert_eq!(newest.statements[0].statement.commit, CommitIndex(240));
}

/// A state with the record of where its last commit left the order.
fn recorded(world: &World, state: &mut State, commit: u64) {
    state.of(ServiceId::KV).put(b"key", commit.encode());
    let first = epoch_start(&world.keyring, &world.plan.plan);
    let ordering = first.following(CommitIndex(commit), Time(7));
    state.private_put(b"o", Progress { position: Position(4), ordering }.encode());
    state.finish_commit(CommitIndex(commit));
}

#[test]
fn who_keeps_no_state_that_a_quorum_signed_shows_where_it_stands() {
    let (world, mut state) = (World::new(4, 1), state());
    let plans = [world.plan.clone()];
    let mut offering = Offering::default();
    let offered = |offering: &Offering, state: &State, asker| {
        offering.offer(&plans, (Epoch(1), CommitIndex(asker)), state)
    };
    recorded(&world, &mut state, 2);
    assert_eq!(offered(&offering, &state, 1).present, None, "not yet");
    offering.on_standstill(&mut state, CommitIndex(2));
    assert_eq!(offered(&offering, &state, 1).present, None, "kept for nobody");
    offering.on_standstill(&mut state, CommitIndex(1));
    let present = offered(&offering, &state, 1).present.expect("it stands there");
    assert_eq!((present.commit, present.position, present.state), {
        (CommitIndex(2), Position(4), state.root())
    });
    assert_eq!(
        offered(&offering, &state, 2),
        Offer { plans: vec![], checkpoint: None, present: None }
    );
    // It can be fetched after the next commit, but is no place to stand any more; one is kept.
    for commit in 3..90 {
        recorded(&world, &mut state, commit);
        assert_eq!(offered(&offering, &state, 1).present, None);
        assert!(state.has_version(CommitIndex(commit - 1)));
        offering.on_standstill(&mut state, CommitIndex(1));
        assert_eq!(offering.held.len(), 1);
    }
    assert!(!state.has_version(CommitIndex(2)));
    // A checkpoint is better.
    recorded(&world, &mut state, 90);
    let signed = statements(&world, &state, &[0, 1, 2]);
    let progress = progress(&world, &state);
    offering.on_checkpoint(&mut state, &progress, delivered(&world));
    offering.on_certified(&mut state, CommitIndex(90), signed);
    recorded(&world, &mut state, 91);
    offering.on_standstill(&mut state, CommitIndex(80));
    assert!(offered(&offering, &state, 80).checkpoint.is_some());
    assert_eq!(offered(&offering, &state, 80).present, None);
    offering.on_standstill(&mut state, CommitIndex(90));
    let present = offered(&offering, &state, 90).present.expect("of no use to that one");
    assert_eq!(present.commit, CommitIndex(91));
}

/// Under load, when commits overwrite more than is kept of them, a checkpoint is there for who asked
/// before it came, however long others go on; and for nobody else for long.
#[test]
fn a_state_that_somebody_needs_is_kept_while_commits_overwrite_much() {
    for is_needed in [false, true] {
        let (world, mut state) = (World::new(4, 1), state());
        let mut offering = Offering::default();
        let overwrite = |state: &mut State, commits: std::ops::Range<u64>| {
            for commit in commits {
                state.of(ServiceId::KV).put(b"key", vec![commit as u8; 1 << 20]);
                state.finish_commit(CommitIndex(commit));
            }
        };
        let checkpoint = |offering: &mut Offering, state: &mut State, commit: u64| {
            recorded(&world, state, commit);
            let progress = progress(&world, state);
            offering.on_checkpoint(state, &progress, delivered(&world));
        };
        overwrite(&mut state, 2..70);
        if is_needed {
            offering.on_ask(&mut state);
        }
        checkpoint(&mut offering, &mut state, 70);
        overwrite(&mut state, 71..91);
        assert!(state.has_version(CommitIndex(70)), "until a quorum signs it");
        let signed = statements(&world, &state, &[0, 1, 2]);
        offering.on_certified(&mut state, CommitIndex(70), signed);
        overwrite(&mut state, 91..130);
        assert_eq!(state.has_version(CommitIndex(70)), is_needed);
        let offer = offering.offer(&[], (Epoch(1), CommitIndex(1)), &state);
        assert_eq!(offer.checkpoint.is_some(), is_needed);
        // Who asks no more is forgotten after the next one.
        checkpoint(&mut offering, &mut state, 130);
        let signed = statements(&world, &state, &[0, 1, 2]);
        offering.on_certified(&mut state, CommitIndex(130), signed);
        overwrite(&mut state, 131..170);
        assert!(!state.has_version(CommitIndex(130)));
    }
}

/// Commits so large that those kept for proofs alone would take all that a needed state may.
#[test]
fn a_state_that_somebody_needs_outlives_larger_commits_too() {
    let (world, mut state) = (World::new(4, 1), state());
    let mut offering = Offering::default();
    offering.on_ask(&mut state);
    recorded(&world, &mut state, 2);
    let progress = progress(&world, &state);
    offering.on_checkpoint(&mut state, &progress, delivered(&world));
    for commit in 3..60 {
        state.of(ServiceId::KV).put(b"key", vec![commit as u8; 8 << 20]);
        state.finish_commit(CommitIndex(commit));
        assert!(state.has_version(CommitIndex(2)), "{commit}");
    }
    let proven = |commit: &u64| state.has_version(CommitIndex(*commit));
    assert!((3..60).filter(proven).count() > 12, "some are there for proofs");
}

/// Whoever asks for an old state, or lies that it does, must not keep the last one from being shown.
#[test]
fn where_it_stands_is_shown_beside_all_that_is_under_way() {
    let (world, mut state) = (World::new(4, 1), state());
    let mut offering = Offering::default();
    for commit in [10, 20, 30] {
        recorded(&world, &mut state, commit);
        let progress = progress(&world, &state);
        offering.on_checkpoint(&mut state, &progress, delivered(&world));
        if commit < 30 {
            let signed = statements(&world, &state, &[0, 1, 2]);
            offering.on_certified(&mut state, CommitIndex(commit), signed);
        }
        offering.on_want(&mut state, CommitIndex(10));
    }
    recorded(&world, &mut state, 33);
    offering.on_standstill(&mut state, CommitIndex(20));
    let plans = [world.plan.clone()];
    let shown = offering.offer(&plans, (Epoch(1), CommitIndex(20)), &state);
    assert_eq!(shown.present.expect("it stands there").commit, CommitIndex(33));
    assert!([10, 20, 30].iter().all(|commit| state.has_version(CommitIndex(*commit))));
}

#[test]
fn answers_are_bounded_and_say_when_a_state_is_gone() {
    let mut state = State::open(Box::new(MemoryBackend::new()));
    for entry in 0..600_u32 {
        state.of(ServiceId::KV).put(&entry.to_be_bytes(), vec![0; 2 << 10]);
    }
    state.finish_commit(CommitIndex(1));
    let spots = vec![Spot::ROOT; 16];
    let wanted = Wanted::Nodes { levels: 255, spots };
    let nodes = StateRequest { commit: CommitIndex(1), wanted };
    let TransferMessage::Have(StateReply { found: Found::Nodes(shown), .. }) =
        answer(&state, &nodes)
    else {
        panic!("nodes")
    };
    assert!(shown.iter().map(Vec::len).sum::<usize>() <= NODES_MAX);
    let top = state.expand(CommitIndex(1), &Spot::ROOT, 9, 400).unwrap();
    let paths = top.iter().map(|node| node.path).collect();
    let entries = StateRequest { commit: CommitIndex(1), wanted: Wanted::Entries(paths) };
    let TransferMessage::Have(StateReply { found: Found::Entries(shown), .. }) =
        answer(&state, &entries)
    else {
        panic!("entries")
    };
    assert_eq!(shown.len(), ENTRY_BYTES_MAX / ((2 << 10) + 5));
    let gone = answer(&state, &StateRequest { commit: CommitIndex(2), ..entries });
    let reply = StateReply { commit: CommitIndex(2), found: Found::Gone };
    assert_eq!(gone, TransferMessage::Have(reply));
}

/// As it was after the commit, but for what was removed since, in as many answers as it takes.
#[test]
fn a_range_is_shown_as_it_was() {
    let mut state = State::open(Box::new(MemoryBackend::new()));
    let key = |entry: u32| entry.to_be_bytes();
    let value = |entry: u32| vec![1; (entry % 7) as usize * 10];
    for entry in (0..6000).step_by(2) {
        state.of(ServiceId::KV).put(&key(entry), value(entry));
    }
    state.finish_commit(CommitIndex(1));
    state.hold();
    for entry in 0..6000 {
        match entry % 10 {
            0 => state.of(ServiceId::KV).delete(&key(entry)),
            1..5 => state.of(ServiceId::KV).put(&key(entry), vec![2; 9]),
            _ => {}
        }
    }
    state.finish_commit(CommitIndex(2));
    // So many that what the first of them overwrote is kept as one.
    for commit in 3..90 {
        for entry in (0..6000).step_by(if commit < 9 { 3 } else { 300 }) {
            state.of(ServiceId::KV).put(&key(entry), vec![commit as u8; 4]);
        }
        state.finish_commit(CommitIndex(commit));
    }
    let (from, until) = (1000, 5000);
    let whole = |entry: u32| [&[ServiceId::KV.0], key(entry).as_slice()].concat();
    let (shown, answers) = range_after_first(&state, whole(from), Some(whole(until)));
    let is_there = |entry: &u32| !entry.is_multiple_of(10) || entry.is_multiple_of(3);
    let there = (from..until).step_by(2).filter(is_there);
    let expected: Vec<_> = there.map(|entry| (whole(entry), value(entry))).collect();
    assert_eq!(shown, expected);
    assert!((2..5).contains(&answers), "{answers}");
}

/// The entries of a range after commit 1, asked for until there are no more, and in how many answers.
fn range_after_first(
    state: &State,
    from: Vec<u8>,
    until: Option<Vec<u8>>,
) -> (Vec<StateEntry>, u32) {
    let (mut shown, mut next, mut answers) = (Vec::new(), Some(from), 0);
    while let Some(from) = next {
        let wanted = Wanted::Range { from, until: until.clone() };
        let request = StateRequest { commit: CommitIndex(1), wanted };
        let TransferMessage::Have(StateReply {
            found: Found::Range { entries, next: rest }, ..
        }) = answer(state, &request)
        else {
            panic!("a range")
        };
        assert!(entries.len() <= RANGE_ENTRIES_MAX);
        shown.extend(entries);
        (next, answers) = (rest, answers + 1);
    }
    (shown, answers)
}

/// What is large and new since is read, too, and must not make an answer take long.
#[test]
fn a_range_of_large_new_values_is_shown_bit_by_bit() {
    let mut state = State::open(Box::new(MemoryBackend::new()));
    let key = |entry: u8| [entry, 0];
    state.of(ServiceId::KV).put(&key(99), vec![1]);
    state.finish_commit(CommitIndex(1));
    state.hold();
    for entry in 0..99 {
        state.of(ServiceId::KV).put(&key(entry), vec![2; RANGE_READ_BYTES_MAX / 10]);
    }
    state.finish_commit(CommitIndex(2));
    let (shown, answers) = range_after_first(&state, Vec::new(), None);
    assert_eq!(shown, [([&[ServiceId::KV.0], key(99).as_slice()].concat(), vec![1])]);
    assert!((9..=11).contains(&answers), "{answers}");
}

/// Who asks for one old state again and again must not keep everybody's log from being pruned.
#[test]
fn nobody_keeps_a_state_and_the_log_above_it_for_ever() {
    let (world, mut state) = (World::new(4, 1), state());
    let mut offering = Offering::default();
    for commit in 2..60 {
        state.finish_commit(CommitIndex(commit));
        offering.on_commit(OUTLIVED_BYTES_MAX / 8);
        let mut progress = progress(&world, &state);
        progress.ordering.leader_round = Round(1000 * commit);
        offering.on_checkpoint(&mut state, &progress, delivered(&world));
        let signed = statements(&world, &state, &[0, 1, 2]);
        offering.on_certified(&mut state, CommitIndex(commit), signed);
        offering.on_want(&mut state, CommitIndex(2));
    }
    let horizon = offering.horizon().expect("states are kept");
    assert!(horizon > Round(40_000), "the log from {horizon:?} on is kept");
}
