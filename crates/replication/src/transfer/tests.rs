use ravelin_model::transfer::{Found, Present, Spot, Wanted};
use ravelin_model::{
    BlockRef, Digest, Encode as _, FaultModel, ServiceId, ServiceStores as _, StateBackend as _,
};

use ravelin_crypto::plan_digest;
use ravelin_model::Previous;

use super::*;
use crate::handover::Handover;
use crate::offering;
use crate::replica::epoch_start;
use crate::state::MemoryBackend;
use crate::testing::{Chance, World};

const OWN: ReplicaId = ReplicaId(3);
const EPOCH: Epoch = Epoch(1);

/// A state with these entries after commit 1, and later with others after further commits.
fn state(entries: impl Iterator<Item = u64>, salt: u64) -> (State, MemoryBackend) {
    let backend = MemoryBackend::new();
    let mut state = State::open(Box::new(backend.handle()));
    for entry in entries {
        put(&mut state, entry, salt);
    }
    state.finish_commit(CommitIndex(1));
    (state, backend)
}

fn put(state: &mut State, entry: u64, salt: u64) {
    let salt = if entry.is_multiple_of(5) { salt } else { 0 };
    let value = format!("{entry} {salt}").into_bytes();
    state.of(ServiceId::KV).put(&entry.to_be_bytes(), value);
}

/// The state of `other` after its last commit, as a quorum would vouch for it.
fn target(world: &World, other: &State) -> Target {
    Target {
        plans: Vec::new(),
        keyring: world.keyring.clone(),
        commit: other.commit(),
        position: ravelin_model::Position(9),
        root: other.root(),
        ordering: epoch_start(&world.keyring, &world.plan.plan),
        delivered: std::collections::BTreeSet::new(),
    }
}

/// What a peer answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Peer {
    Correct,
    Silent,
    /// Answers wrongly, each time in another way.
    Liar,
    /// Says that it has nothing in a range.
    Withholder,
    /// Shows of a range what nobody wants, a little at a time and without end.
    Dripper,
    /// Shows wrong values in a range.
    Poisoner,
}

struct Run<'a> {
    world: World,
    transfer: Transfer,
    own: &'a mut State,
    now: Time,
    requests: Vec<(ReplicaId, StateRequest)>,
    suspected: Vec<(ReplicaId, Suspicion)>,
    /// Entries that were asked for by their paths.
    asked_paths: usize,
    chance: Chance,
}

impl<'a> Run<'a> {
    fn new(own: &'a mut State) -> Self {
        let world = World::new(4, 1);
        let transfer = Transfer::new(world.keyring.group(), OWN, CommitIndex(0));
        let now = Time(1_000_000);
        let (requests, suspected, chance) = (Vec::new(), Vec::new(), Chance(1));
        Self { world, transfer, own, now, requests, suspected, asked_paths: 0, chance }
    }

    /// Two members show the last state of `other`, and it is chosen.
    fn choose(&mut self, other: &State) {
        for member in [0, 1] {
            let target = target(&self.world, other);
            self.transfer.on_target(self.now, ReplicaId(member), target);
        }
        assert!(self.transfer.choose(self.now));
        self.own.begin_fetching();
    }

    fn advance(&mut self) -> Option<Target> {
        let mut sent = Sent::new();
        let done = self.transfer.advance(self.now, (EPOCH, CommitIndex(0)), self.own, &mut sent);
        self.requests.extend(sent.into_iter().filter_map(|(to, message)| match message {
            TransferMessage::Want(request) => Some((to, request)),
            _ => None,
        }));
        done
    }

    fn answer(&mut self, from: ReplicaId, reply: StateReply) {
        if let Err(suspicion) = self.transfer.on_reply(self.now, from, reply, self.own) {
            self.suspected.push((from, suspicion));
        }
    }

    /// Goes on until all of `other` is here, or for so many steps; how many requests were answered.
    fn run(&mut self, other: &State, peers: [Peer; 3], steps: usize) -> (Option<Target>, usize) {
        let mut answered = 0;
        for _ in 0..steps {
            if let Some(done) = self.advance() {
                return (Some(done), answered);
            }
            for (to, request) in std::mem::take(&mut self.requests) {
                let peer = peers[to.index()];
                if let Wanted::Entries(paths) = &request.wanted {
                    self.asked_paths += paths.len();
                }
                let TransferMessage::Have(mut reply) = offering::answer(other, &request) else {
                    unreachable!()
                };
                match peer {
                    Peer::Silent => continue,
                    Peer::Liar => forge(&mut reply.found, &mut self.chance),
                    Peer::Withholder => withhold(&mut reply.found),
                    Peer::Poisoner => poison(&mut reply.found),
                    Peer::Dripper => drip(&mut reply.found, &request.wanted),
                    Peer::Correct => answered += 1,
                }
                self.answer(to, reply);
            }
            let until = self.transfer.next_deadline().unwrap_or(self.now);
            self.now = self
                .now
                .after(Duration::from_millis(1))
                .max(until.min(self.now.after(Duration::from_millis(50))));
        }
        (None, answered)
    }
}

fn withhold(found: &mut Found) {
    if let Found::Range { .. } = found {
        *found = Found::Range { entries: Vec::new(), next: None };
    }
}

fn poison(found: &mut Found) {
    if let Found::Range { entries, .. } = found {
        entries.iter_mut().for_each(|(_, value)| value.push(b'!'));
    }
}

fn drip(found: &mut Found, wanted: &Wanted) {
    if let (Found::Range { .. }, Wanted::Range { from, .. }) = (&found, wanted) {
        let next = [from.as_slice(), &[0]].concat();
        *found = Found::Range { entries: vec![(from.clone(), vec![9])], next: Some(next) };
    }
}

/// Changes something of an answer, but never nothing.
fn forge(found: &mut Found, chance: &mut Chance) {
    match found {
        Found::Nodes(shown) if shown.iter().any(|nodes| !nodes.is_empty()) => {
            let nodes = shown.iter_mut().find(|nodes| !nodes.is_empty()).unwrap();
            match chance.below(4) {
                0 => nodes[0].value.0[0] ^= 1,
                1 => nodes[0].left.0[9] ^= 1,
                2 => nodes.push(nodes[0].clone()),
                _ => shown.extend(vec![Vec::new(); 40]),
            }
        }
        Found::Entries(shown) if !shown.is_empty() => match chance.below(3) {
            0 => shown[0].1.push(1),
            1 => shown[0].0.push(1),
            _ => shown.extend(vec![shown[0].clone(); 300]),
        },
        Found::Range { entries, next } if !entries.is_empty() => match chance.below(4) {
            0 => entries.reverse(),
            1 => entries[0].0.clear(),
            2 => entries.push((vec![255], vec![])),
            _ => *next = Some(entries[0].0.clone()),
        },
        other => {
            *other = match chance.below(2) {
                0 => Found::Entries(vec![(vec![1], vec![2])]),
                _ => Found::Nodes(vec![Vec::new(); 99]),
            }
        }
    }
}

fn check(own: State, backend: &MemoryBackend, other: (&State, &MemoryBackend), done: &Target) {
    let mut own = own;
    own.finish_fetching(done.commit, done.root, Vec::new());
    assert_eq!((own.commit(), own.root()), (other.0.commit(), other.0.root()));
    assert_eq!(own.fetching_since(), None);
    assert_eq!(entries(backend), entries(other.1), "the same entries and the same index");
    let again = State::open(Box::new(backend.handle()));
    assert_eq!((again.commit(), again.root()), (own.commit(), own.root()));
}

type Entries = Vec<(Vec<u8>, Vec<u8>)>;

fn entries(backend: &MemoryBackend) -> Entries {
    let mut entries = Entries::new();
    backend.scan(&[], None, &mut |key, value| {
        entries.push((key.to_vec(), value.to_vec()));
        std::ops::ControlFlow::Continue(())
    });
    entries
}

#[test]
fn an_empty_replica_gets_all_of_the_state_and_only_that() {
    let (other, there) = state(0..2000, 1);
    let (mut own, here) = state(0..0, 0);
    let mut run = Run::new(&mut own);
    run.choose(&other);
    let (done, answered) = run.run(&other, [Peer::Correct; 3], 1000);
    let done = done.expect("it has all");
    assert!(run.suspected.is_empty());
    assert!(answered < 120, "{answered}");
    check(own, &here, (&other, &there), &done);
}

#[test]
fn most_of_a_large_state_comes_in_ranges_of_keys() {
    let (other, there) = state(0..20_000, 1);
    let (mut own, here) = state(0..100, 9);
    let mut run = Run::new(&mut own);
    run.choose(&other);
    let (done, answered) = run.run(&other, [Peer::Correct; 3], 2000);
    let done = done.expect("it has all");
    assert!(run.suspected.is_empty());
    let by_path: usize = run.asked_paths;
    assert!(by_path < 3000, "{by_path} of 20,000 by their paths, {answered} answers");
    check(own, &here, (&other, &there), &done);
}

#[test]
fn whatever_is_left_out_of_ranges_or_put_in_comes_by_path() {
    let (other, there) = state(0..6000, 1);
    for peers in [
        [Peer::Withholder; 3],
        [Peer::Dripper; 3],
        [Peer::Poisoner; 3],
        [Peer::Poisoner, Peer::Correct, Peer::Withholder],
        [Peer::Correct, Peer::Withholder, Peer::Dripper],
        [Peer::Liar, Peer::Correct, Peer::Silent],
    ] {
        let (mut own, here) = state(3000..7000, 7);
        let mut run = Run::new(&mut own);
        run.choose(&other);
        let (done, _) = run.run(&other, peers, 40_000);
        let is_liar = |who: &ReplicaId| peers[who.index()] == Peer::Liar;
        assert!(run.suspected.iter().all(|(who, _)| is_liar(who)), "{peers:?}");
        check(own, &here, (&other, &there), &done.expect("it has all"));
    }
}

#[test]
fn what_is_already_right_is_not_fetched_and_what_is_too_much_goes() {
    let (other, there) = state(0..2000, 1);
    let (mut own, here) = state((0..5).chain(10..2500), 1);
    let mut run = Run::new(&mut own);
    run.choose(&other);
    let (done, _) = run.run(&other, [Peer::Correct; 3], 2000);
    check(own, &here, (&other, &there), &done.expect("it has all"));
    let (mut own, here) = state((0..1999).filter(|entry| *entry != 7), 1);
    let mut run = Run::new(&mut own);
    run.choose(&other);
    let (done, answered) = run.run(&other, [Peer::Correct; 3], 1000);
    assert!(answered < 30, "two entries: {answered}");
    check(own, &here, (&other, &there), &done.expect("it has all"));
}

#[test]
fn one_correct_peer_is_enough_and_liars_are_found_out() {
    let (other, there) = state(0..900, 1);
    for peers in [
        [Peer::Correct, Peer::Liar, Peer::Silent],
        [Peer::Liar, Peer::Correct, Peer::Liar],
        [Peer::Silent, Peer::Silent, Peer::Correct],
    ] {
        let (mut own, here) = state(300..1200, 7);
        let mut run = Run::new(&mut own);
        run.choose(&other);
        let (done, _) = run.run(&other, peers, 20_000);
        let liars: Vec<_> = [0, 1, 2].into_iter().filter(|it| peers[*it] == Peer::Liar).collect();
        for (who, suspicion) in &run.suspected {
            assert!(liars.contains(&who.index()), "{who} is correct");
            assert_eq!(*suspicion, Suspicion::BadState);
        }
        assert_eq!(run.suspected.is_empty(), liars.is_empty());
        check(own, &here, (&other, &there), &done.expect("it has all"));
    }
}

#[test]
fn with_liars_alone_nothing_wrong_is_taken() {
    let (other, _) = state(0..300, 1);
    let (mut own, _) = state(0..0, 1);
    let mut run = Run::new(&mut own);
    run.choose(&other);
    let (done, _) = run.run(&other, [Peer::Liar; 3], 500);
    assert!(done.is_none());
}

#[test]
fn a_stop_in_the_middle_costs_only_what_was_under_way() {
    let (other, there) = state(0..3000, 1);
    let (mut own, here) = state(0..100, 2);
    let (_, before) = {
        let mut run = Run::new(&mut own);
        run.choose(&other);
        run.run(&other, [Peer::Correct; 3], 12)
    };
    drop(own);
    here.crash(here.unsynced_batches() / 2);
    let mut own = State::open(Box::new(here.handle()));
    assert_eq!(own.fetching_since(), Some(CommitIndex(1)), "the mark was durable first");
    let mut run = Run::new(&mut own);
    run.choose(&other);
    let (done, after) = run.run(&other, [Peer::Correct; 3], 1000);
    assert!(before > 10 && after > 0);
    check(own, &here, (&other, &there), &done.expect("it has all"));
}

#[test]
fn when_the_state_is_forgotten_a_newer_one_is_fetched_and_nothing_twice() {
    let (mut other, there) = state(0..3000, 1);
    let (mut own, here) = state(0..0, 0);
    let mut run = Run::new(&mut own);
    run.choose(&other);
    let (none, first) = run.run(&other, [Peer::Correct; 3], 10);
    assert!(none.is_none());
    for entry in 0..20 {
        put(&mut other, entry * 5, 8);
        other.of(ServiceId::KV).delete(&(entry * 7 + 1000).to_be_bytes());
    }
    other.finish_commit(CommitIndex(2));
    for commit in 3..100 {
        other.of(ServiceId::KV).put(b"busy", commit.encode());
        other.finish_commit(CommitIndex(commit));
    }
    let (none, _) = run.run(&other, [Peer::Correct; 3], 10);
    assert!(none.is_none(), "it is gone");
    run.choose(&other);
    let (done, second) = run.run(&other, [Peer::Correct; 3], 1000);
    assert!(run.suspected.is_empty(), "{:?}", run.suspected);
    assert!(first + second < 160, "{first} + {second}");
    check(own, &here, (&other, &there), &done.expect("it has all"));
}

/// Where every value is another meanwhile, who keeps the newer state is not asked for the old ones.
#[test]
fn a_state_in_which_nothing_is_as_before_takes_the_place_of_the_one_sought() {
    for (steps, missing_max) in [(5, 9000), (5, 300), (8, 1000), (8, 9000), (10, 300), (20, 300)] {
        let (mut other, there) = state(0..3000, 1);
        let (mut own, here) = state(0..2000, 5);
        let mut run = Run::new(&mut own);
        run.transfer.missing_max = missing_max;
        run.choose(&other);
        run.run(&other, [Peer::Correct; 3], steps);
        let (none, _) = run.run(&other, [Peer::Correct, Peer::Silent, Peer::Correct], 1);
        assert!(none.is_none());
        for entry in 0..2900u64 {
            other.of(ServiceId::KV).put(&entry.to_be_bytes(), format!("new {entry}").into_bytes());
        }
        (2900..3000u64).for_each(|entry| other.of(ServiceId::KV).delete(&entry.to_be_bytes()));
        for commit in 2..100 {
            other.of(ServiceId::KV).put(b"busy", commit.encode());
            other.finish_commit(CommitIndex(commit));
        }
        let (none, _) = run.run(&other, [Peer::Correct; 3], 10);
        assert!(none.is_none(), "the first is gone");
        run.choose(&other);
        let (done, _) = run.run(&other, [Peer::Correct; 3], 1000);
        assert!(run.suspected.is_empty(), "{steps}: {:?}", run.suspected);
        check(own, &here, (&other, &there), &done.expect("it has all"));
    }
}

#[test]
fn a_state_that_is_held_can_be_fetched_while_execution_goes_on() {
    let (mut other, there) = state(0..1500, 1);
    let held = other.hold().unwrap();
    let (mut frozen, _) = state(0..1500, 1);
    frozen.hold();
    let (mut own, here) = state(0..0, 0);
    let mut run = Run::new(&mut own);
    run.choose(&frozen);
    let mut done = None;
    for commit in 2..400_u64 {
        for entry in 0..30 {
            let entry: u64 = (commit * 31 + entry * 17) % 1500;
            match entry % 3 {
                0 => other.of(ServiceId::KV).delete(&entry.to_be_bytes()),
                _ => put(&mut other, entry, commit),
            }
        }
        other.finish_commit(CommitIndex(commit));
        if done.is_none() {
            done = run.run(&other, [Peer::Correct; 3], 1).0;
        }
    }
    let done = done.expect("it has all");
    assert!(run.suspected.is_empty());
    assert_eq!((done.commit, done.root), (held, frozen.root()));
    own.finish_fetching(done.commit, done.root, Vec::new());
    let kv = |backend: &MemoryBackend| {
        let entries = entries(backend).into_iter();
        entries.filter(|(key, _)| key.first() == Some(&ServiceId::KV.0)).count()
    };
    assert_eq!(kv(&here), 1500);
    assert!(kv(&there) < 1500);
    other.release(held);
    for commit in 400..500 {
        other.finish_commit(CommitIndex(commit));
    }
    assert!(!other.has_version(held));
}

#[test]
fn requests_and_what_is_remembered_of_them_are_bounded() {
    let (other, _) = state(0..40_000, 1);
    let (mut own, _) = state(0..0, 0);
    let mut run = Run::new(&mut own);
    run.transfer.missing_max = 5000;
    run.choose(&other);
    for _ in 0..400 {
        run.advance();
        for (to, request) in std::mem::take(&mut run.requests) {
            match &request.wanted {
                Wanted::Nodes { levels, spots } => {
                    assert!(spots.len() <= SPOTS_MAX && *levels <= LEVELS_MAX);
                    assert!(spots.iter().all(Spot::is_place));
                }
                Wanted::Entries(paths) => {
                    assert!(paths.len() <= ENTRIES_MAX);
                    continue; // never answered
                }
                Wanted::Range { .. } => panic!("nobody knows yet where keys lie"),
            }
            let TransferMessage::Have(reply) = offering::answer(&other, &request) else { panic!() };
            assert!(TransferMessage::Have(reply.clone()).encode().len() < 200 << 10);
            run.answer(to, reply);
        }
        run.now = run.now.after(Duration::from_millis(300));
    }
    let missing = run.transfer.fetch.expect("under way").missing.len();
    assert!((4000..5000 + 3 * offering::NODES_MAX).contains(&missing), "{missing}");
}

#[test]
fn the_newest_of_what_enough_members_show_is_chosen() {
    let (mut other, _) = state(0..10, 1);
    let (mut own, _) = state(0..0, 0);
    let mut run = Run::new(&mut own);
    let old = target(&run.world, &other);
    other.finish_commit(CommitIndex(5));
    let new = target(&run.world, &other);
    run.transfer.on_target(run.now, ReplicaId(2), old);
    assert!(!run.transfer.choose(run.now), "one may be the liar");
    run.transfer.on_target(run.now, ReplicaId(0), new);
    assert!(run.transfer.choose(run.now));
    run.own.begin_fetching();
    run.advance();
    assert!(run.requests.iter().all(|(_, request)| request.commit == CommitIndex(5)));
    assert_eq!(run.requests.len(), 1, "there is one place to look at");
}

/// What a member shows that keeps no state which a quorum signed.
fn standing(world: &World, other: &State, forge: impl FnOnce(&mut Present)) -> Offer {
    let first = epoch_start(&world.keyring, &world.plan.plan);
    let mut present = Present {
        commit: other.commit(),
        position: ravelin_model::Position(9),
        state: other.root(),
        ordering: first.following(other.commit(), Time(7)).encode(),
        delivered: Vec::new(),
    };
    forge(&mut present);
    Offer { plans: Vec::new(), checkpoint: None, present: Some(present) }
}

#[test]
fn where_members_stand_is_believed_of_f_plus_1_that_stand_there() {
    let mut own = State::open(Box::new(MemoryBackend::new()));
    let (other, _) = state(0..40, 0);
    let mut run = Run::new(&mut own);
    let world = World::new(4, 1);
    let here = (&world.plan, &world.keyring);
    let show = |run: &mut Run<'_>, from, offer: Offer| {
        run.transfer.on_offer(run.now, ReplicaId(from), here, offer)
    };
    let honest = |run: &Run<'_>| standing(&run.world, &other, |_| {});
    let forgeries: [fn(&mut Present); 4] = [
        |it| it.state = Digest([9; 32]),
        |it| it.position.0 += 1,
        |it| it.commit.0 += 1,
        |it| it.delivered.push(BlockRef::genesis(ReplicaId(1), Digest([1; 32]))),
    ];
    for forge in forgeries {
        run.now = run.now.after(ASK_PAUSE);
        run.advance();
        let false_one = standing(&run.world, &other, forge);
        let _ = show(&mut run, 0, false_one);
        let offer = honest(&run);
        assert_eq!(show(&mut run, 1, offer), Ok(()));
        run.now = run.now.after(OFFERS_PATIENCE);
        assert!(!run.transfer.choose(run.now), "one member's word, after any time");
    }
    run.now = run.now.after(ASK_PAUSE);
    run.advance();
    for ill in [0, 20] {
        let ill = standing(&run.world, &other, |it| it.ordering.truncate(ill));
        assert_eq!(show(&mut run, 2, ill), Err(Suspicion::BadState));
        run.now = run.now.after(ASK_PAUSE);
        run.advance();
    }
    for member in [1, 2] {
        let offer = honest(&run);
        assert_eq!(show(&mut run, member, offer), Ok(()));
    }
    assert!(run.transfer.choose(run.now.after(OFFERS_PATIENCE)));
    run.own.begin_fetching();
    let (done, _) = run.run(&other, [Peer::Liar, Peer::Correct, Peer::Correct], 4000);
    assert_eq!(done.expect("all of it").root, other.root());
}

/// A plan that follows the first, which ended after `commit`.
fn successor(world: &World, commit: u64) -> SignedPlan {
    let mut next = world.plan.plan.clone();
    next.epoch = next.epoch.next();
    next.previous = Some(Previous {
        plan: plan_digest(&world.plan.plan),
        commit: CommitIndex(commit),
        time: Time(70),
        position: ravelin_model::Position(50),
        state: Digest([0xd2; 32]),
        ordering: Digest([0xd3; 32]),
    });
    next.members[2].block = world.block_key_of(ReplicaId(2), 1).public();
    let of = |member: u16| {
        let key = world.block_key(ReplicaId(member));
        Handover::new(&world.keyring, (ReplicaId(member), &key), CommitIndex(commit), next.clone())
    };
    let mut handover = of(0);
    (0..3).find_map(|member| handover.take(&world.keyring, &of(member).vote())).unwrap()
}

/// Nothing in it says of which epoch it is: what one showed in the last one and another as if of the next
/// would take who fetches it back into an order that is over.
#[test]
fn where_members_stand_in_two_epochs_is_not_the_same_place() {
    let mut own = State::open(Box::new(MemoryBackend::new()));
    let (other, _) = state(0..40, 0);
    let world = World::new(4, 1);
    let here = (&world.plan, &world.keyring);
    for (ended, is_late) in [(1, false), (1, true), (100, false), (100, true)] {
        let mut run = Run::new(&mut own);
        run.advance();
        let honest = standing(&run.world, &other, |_| {});
        let mut lie = honest.clone();
        lie.plans = vec![successor(&world, ended)];
        let mut shown = [(0, honest), (2, lie)];
        if is_late {
            shown.reverse();
        }
        for (member, offer) in shown {
            let _ = run.transfer.on_offer(run.now, ReplicaId(member), here, offer);
        }
        assert!(!run.transfer.choose(run.now.after(OFFERS_PATIENCE)), "{ended} {is_late}");
    }
}

/// Who turns to another state hears late that the first is gone: of the other it says nothing.
#[test]
fn who_no_longer_keeps_the_last_state_is_asked_for_this_one() {
    let (mut other, there) = state(0..3000, 1);
    let (mut own, here) = state(0..0, 0);
    let mut run = Run::new(&mut own);
    run.choose(&other);
    run.advance();
    while run.requests.len() < 3 {
        let (to, request) = run.requests.remove(0);
        let TransferMessage::Have(reply) = offering::answer(&other, &request) else { panic!() };
        run.answer(to, reply);
        run.now = run.now.after(Duration::from_millis(1));
        run.advance();
    }
    put(&mut other, 1, 5);
    other.finish_commit(CommitIndex(2));
    for member in [0, 1] {
        run.transfer.peers.get_mut(&ReplicaId(member)).unwrap().is_without = true;
    }
    run.choose(&other);
    for (to, request) in std::mem::take(&mut run.requests) {
        run.answer(to, StateReply { commit: request.commit, found: Found::Gone });
    }
    let (done, _) = run.run(&other, [Peer::Correct; 3], 1000);
    check(own, &here, (&other, &there), &done.expect("it has all"));
}

/// It gets the first place of all, holds the answer back for as long as it may and then says that the
/// state is gone: with each newer one everything would begin anew.
#[test]
fn one_that_says_again_and_again_that_it_is_gone_stops_nobody() {
    let (mut other, _) = state(0..5000, 1);
    let (mut own, _) = state(0..0, 0);
    let mut run = Run::new(&mut own);
    other.hold();
    run.choose(&other);
    let liar = ReplicaId(0);
    run.transfer.peers.get_mut(&liar).unwrap().patience = REPLY_PATIENCE_MAX;
    let (begun, mut commit) = (run.now, 1);
    let mut replies: Vec<(Time, ReplicaId, StateReply)> = Vec::new();
    loop {
        assert!(run.now.since(begun) < Duration::from_secs(60), "it never ends");
        while run.now.since(begun) > Duration::from_secs(5 * commit) {
            commit += 1;
            (0..50).for_each(|entry| put(&mut other, commit * 977 % 5000 + entry, commit));
            other.finish_commit(CommitIndex(commit));
            other.hold();
        }
        run.transfer.choose(run.now);
        let mut sent = Sent::new();
        let since = (EPOCH, CommitIndex(0));
        if run.transfer.advance(run.now, since, run.own, &mut sent).is_some() {
            break;
        }
        for (to, message) in sent {
            match message {
                TransferMessage::Want(StateRequest { commit, .. }) if to == liar => {
                    let late = run.now.after(REPLY_PATIENCE_MAX - Duration::from_millis(100));
                    replies.push((late, to, StateReply { commit, found: Found::Gone }));
                }
                TransferMessage::Want(request) => {
                    let TransferMessage::Have(reply) = offering::answer(&other, &request) else {
                        panic!()
                    };
                    replies.push((run.now.after(Duration::from_millis(20)), to, reply));
                }
                TransferMessage::Ask { .. } if to != liar => {
                    let newest = target(&run.world, &other);
                    run.transfer.on_target(run.now, to, newest);
                }
                _ => {}
            }
        }
        run.now = run.now.after(Duration::from_millis(10));
        let (due, later) = replies.into_iter().partition(|(at, ..)| *at <= run.now);
        replies = later;
        let due: Vec<_> = due;
        due.into_iter().for_each(|(_, from, reply)| run.answer(from, reply));
    }
    assert!(run.suspected.is_empty());
}

/// With wormholes one of two others may be the only correct one. While the other one, which says nothing,
/// was waited for, it went on from the state that is being fetched.
#[test]
fn one_that_says_that_it_is_gone_is_believed_where_nobody_else_helps() {
    let (mut other, there) = state(0..300, 1);
    let (mut own, here) = state(0..0, 0);
    let mut run = Run::new(&mut own);
    let group = Group::new(3, 1, FaultModel::Hybrid).unwrap();
    run.transfer = Transfer::new(group, ReplicaId(2), CommitIndex(0));
    run.choose(&other);
    put(&mut other, 1, 5);
    other.finish_commit(CommitIndex(2));
    let peers = [Peer::Correct, Peer::Silent, Peer::Silent];
    let begun = run.now;
    while !run.transfer.is_asking() {
        assert!(run.now.since(begun) < Duration::from_secs(5), "it waits for ever");
        run.run(&other, peers, 1);
    }
    run.transfer.on_target(run.now, ReplicaId(0), target(&run.world, &other));
    run.now = run.now.after(OFFERS_PATIENCE);
    assert!(run.transfer.choose(run.now));
    let (done, _) = run.run(&other, peers, 1000);
    check(own, &here, (&other, &there), &done.expect("it has all"));
}

#[test]
fn one_member_is_enough_after_a_while_and_none_for_what_is_past() {
    let (other, _) = state(0..10, 1);
    let (mut own, _) = state(0..0, 0);
    let mut run = Run::new(&mut own);
    run.transfer = Transfer::new(run.world.keyring.group(), OWN, CommitIndex(1));
    let past = target(&run.world, &other);
    run.transfer.on_target(run.now, ReplicaId(2), past.clone());
    assert!(!run.transfer.choose(run.now.after(OFFERS_PATIENCE)), "it is past that");
    run.transfer = Transfer::new(run.world.keyring.group(), OWN, CommitIndex(0));
    run.transfer.on_target(run.now, ReplicaId(2), past);
    assert!(!run.transfer.choose(run.now));
    let later = run.now.after(OFFERS_PATIENCE);
    run.advance();
    assert_eq!(run.transfer.next_deadline(), Some(run.now.after(ASK_PAUSE)), "it asks again");
    assert!(run.transfer.choose(later));
}

/// The network may hold answers back for as long as it likes: that makes no liar of who sent them.
#[test]
fn an_answer_that_comes_too_late_is_no_lie_and_costs_no_other() {
    let (other, there) = state(0..3000, 1);
    let (mut own, here) = state(0..0, 0);
    let mut run = Run::new(&mut own);
    run.choose(&other);
    run.run(&other, [Peer::Correct; 3], 5);
    let answer = |request: &StateRequest| match offering::answer(&other, request) {
        TransferMessage::Have(reply) => reply,
        _ => unreachable!(),
    };
    let mut on_the_way = std::collections::VecDeque::new();
    let mut done = None;
    for _ in 0..2000 {
        done = run.advance();
        if done.is_some() {
            break;
        }
        for (to, request) in std::mem::take(&mut run.requests) {
            let takes = Duration::from_millis(2500);
            on_the_way.push_back((run.now.after(takes), to, answer(&request)));
        }
        run.now = run.now.after(Duration::from_millis(50));
        while on_the_way.front().is_some_and(|(at, ..)| *at <= run.now) {
            let (_, to, reply) = on_the_way.pop_front().unwrap();
            run.answer(to, reply);
        }
        assert_eq!(run.suspected, []);
    }
    check(own, &here, (&other, &there), &done.expect("it has all"));
}

/// Of many members those that never answer may have the lowest numbers: the one place to begin with is
/// asked of the others, too.
#[test]
fn members_that_never_answer_do_not_keep_the_only_request_among_themselves() {
    let (other, _) = state(0..300, 1);
    let (mut own, _) = state(0..0, 0);
    let mut run = Run::new(&mut own);
    run.world = World::new(19, 6);
    run.transfer = Transfer::new(run.world.keyring.group(), ReplicaId(18), CommitIndex(0));
    for member in 0..7 {
        let target = target(&run.world, &other);
        run.transfer.on_target(run.now, ReplicaId(member), target);
    }
    assert!(run.transfer.choose(run.now));
    run.own.begin_fetching();
    let begun = run.now;
    while run.requests.iter().all(|(to, _)| to.0 < 6) {
        assert!(run.now.since(begun) < Duration::from_secs(120), "nobody else was asked");
        run.advance();
        run.now = run.now.after(Duration::from_millis(50));
    }
}
