//! Random search for a disagreement: whatever part of one DAG a replica sees, it never decides a
//! slot differently from one who sees another part.
//!
//! DAGs are drawn at random with gaps, older parents, several leaders and up to `f` members that
//! fork as they like, in `hybrid` only where that is asked for; every block passes the product's own validity rules, and decisions are the
//! product's own [`CommitRule`] and [`Delivery`]. The number of runs is [`RUNS`], or the environment
//! variable `RAVELIN_VIEW_RUNS`.

use std::collections::{BTreeMap, BTreeSet};

use ravelin_crypto::Verified;
use ravelin_model::{Block, BlockRef, FaultModel, ReplicaId, Round};
use ravelin_multicast::committer::{Decision, Path};
use ravelin_multicast::{CommitRule, Dag, Delivery, OrderingState, Slot, validity};

use crate::dice::Dice;
use crate::keys::{Fork, Keys};
use crate::parents;

/// Runs for each kind of group, each with [`VIEWS`] views.
const RUNS: u64 = 500;
/// Parts of one DAG that are compared.
const VIEWS: usize = 7;

/// One kind of group.
#[derive(Debug)]
struct Setting {
    n: u16,
    f: u16,
    model: FaultModel,
    rounds: u64,
    /// Whether hostile members fork their chains: in `hybrid` a sound wormhole keeps them from it.
    may_fork: bool,
}

impl Setting {
    fn new(n: u16, f: u16, model: FaultModel, rounds: u64) -> Self {
        Self { n, f, model, rounds, may_fork: model != FaultModel::Hybrid }
    }
}

/// A DAG in the making.
struct World {
    keys: Keys,
    dag: Dag,
    hostile: BTreeSet<ReplicaId>,
    may_fork: bool,
    /// How likely, in percent, others link a member's block in the next round.
    popularity: Vec<u64>,
}

impl World {
    fn draw(dice: &mut Dice, setting: &Setting) -> Self {
        let keys = Keys::new(setting.n, setting.f, setting.model);
        let group = keys.keyring.group();
        let members = dice.shuffle(group.members().collect());
        let hostile_count = dice.below(u64::from(setting.f) + 1).max(dice.below(2)) as usize;
        let mut world = Self {
            dag: Dag::new(group, keys.keyring.genesis(), Round(0)),
            hostile: members.into_iter().take(hostile_count).collect(),
            may_fork: setting.may_fork,
            popularity: group
                .members()
                .map(|_| if dice.chance(30) { dice.below(40) } else { 50 + dice.below(51) })
                .collect(),
            keys,
        };
        let gaps = dice.below(15);
        for round in (1..=setting.rounds).map(Round) {
            for author in dice.shuffle(group.members().collect()) {
                let copies = if world.forks(author) { 1 + dice.below(3) } else { 1 };
                for copy in 0..copies {
                    if !dice.chance(gaps) {
                        world.speak(dice, author, round, copy);
                    }
                }
            }
        }
        world
    }

    fn forks(&self, author: ReplicaId) -> bool {
        self.may_fork && self.hostile.contains(&author)
    }

    /// Adds a block of `author`, if one that keeps the rules is found in a few tries.
    fn speak(&mut self, dice: &mut Dice, author: ReplicaId, round: Round, salt: u64) {
        for eagerness in [0, 0, 40, 100] {
            let own = self.own_parent(dice, author, round);
            let seen = self.choose(dice, author, round, eagerness);
            let completed = if self.hostile.contains(&author) && dice.chance(30) {
                // Whatever it likes; the rules refuse most of it.
                Some((std::iter::once(own).chain(seen.into_values()).collect(), Fork::default()))
            } else {
                parents::complete(&self.dag, own, seen)
            };
            let Some((parents, fork)) = completed else { continue };
            let block = self.keys.block(author, round, parents, &fork, salt);
            let is_valid = validity::is_well_formed(&self.dag, &block)
                && self.judge_at_all_horizons(dice, &block);
            if is_valid && !self.dag.has(&block.reference()) {
                return self.dag.insert(block);
            }
        }
    }

    /// Judges the block, and checks that a replica whose horizon has moved on is never stricter.
    fn judge_at_all_horizons(&self, dice: &mut Dice, block: &Verified<Block>) -> bool {
        let mut dag = self.dag.clone();
        let mut is_consistent = validity::is_consistent(&dag, block, &|_| false);
        let verdict = is_consistent;
        if dice.chance(10) {
            for horizon in (1..block.body.round.0).map(Round) {
                dag.forget(horizon);
                let is_proven = |member| parents::proof_against(&self.dag, member).is_some();
                let later = validity::is_consistent(&dag, block, &is_proven);
                assert!(later || !is_consistent, "refused only beyond horizon {horizon:?}");
                is_consistent = later;
            }
        }
        verdict
    }

    /// Its last block; for an author that forks any of its blocks.
    fn own_parent(&self, dice: &mut Dice, author: ReplicaId, round: Round) -> BlockRef {
        let genesis = self.keys.genesis(author);
        if !self.forks(author) {
            return self.dag.newest_until(author, round.minus(1)).unwrap_or(genesis);
        }
        let back = if dice.chance(75) { 1 } else { 1 + dice.below(4) };
        let of_round: Vec<_> = self.dag.of(round.minus(back), author).map(|(at, _)| *at).collect();
        dice.pick(&of_round).copied().unwrap_or(genesis)
    }

    /// Blocks of others that it has seen: mostly of the round before, sometimes older ones.
    /// `eagerness` makes recent ones likelier.
    fn choose(
        &self,
        dice: &mut Dice,
        author: ReplicaId,
        round: Round,
        eagerness: u64,
    ) -> BTreeMap<ReplicaId, BlockRef> {
        let mut seen = BTreeMap::new();
        for member in self.dag.group().members().filter(|member| *member != author) {
            let likely = self.popularity[member.index()] + eagerness;
            let back = if dice.chance(likely) { 1 } else { 2 + dice.below(3) };
            let of_round: Vec<_> =
                self.dag.of(round.minus(back), member).map(|(at, _)| *at).collect();
            let found = dice.pick(&of_round).copied();
            let found = found.or_else(|| (round == Round(1)).then(|| self.keys.genesis(member)));
            seen.extend(found.map(|found| (member, found)));
        }
        seen
    }

    /// A part of the DAG that some replica may hold: some blocks with all their history.
    fn view(&self, dice: &mut Dice) -> Dag {
        let until = Round(3 + dice.below(self.dag.highest().0));
        let (since, share) = if dice.chance(50) {
            (until, 70) // most of one round
        } else {
            (Round(0), 1 + dice.below(30)) // a few of all
        };
        let is_chosen = |at: &BlockRef| since <= at.round && at.round <= until;
        let tips: Vec<BlockRef> =
            self.tips().into_iter().filter(|at| is_chosen(at) && dice.chance(share)).collect();
        self.part(self.dag.history(tips, Round(0)))
    }

    fn tips(&self) -> Vec<BlockRef> {
        let rounds = (1..=self.dag.highest().0).map(Round);
        rounds.flat_map(|round| self.dag.round(round)).map(|(at, _)| *at).collect()
    }

    fn part(&self, of: BTreeSet<BlockRef>) -> Dag {
        let mut part = Dag::new(self.dag.group(), self.keys.keyring.genesis(), Round(0));
        for reference in of {
            part.insert(self.dag.block(&reference).expect("of this DAG").clone());
        }
        part
    }
}

/// What a replica that sees `dag` decides and delivers.
#[derive(Default)]
struct Decided {
    slots: Vec<(Slot, Option<BlockRef>)>,
    delivered: Vec<(Vec<BlockRef>, OrderingState)>,
    indirect: u64,
}

fn decide(rule: &CommitRule, keys: &Keys, dag: &Dag) -> Decided {
    let group = dag.group();
    let first = OrderingState::first(group, keys.keyring.genesis(), rule.first_slot());
    let mut delivery = Delivery::new(group, 1024, first, BTreeSet::new());
    let mut decided = Decided::default();
    for (slot, decision) in rule.decide(dag, rule.first_slot()) {
        let leader = match decision {
            Decision::Commit(leader, path) => {
                decided.indirect += u64::from(path == Path::Indirect);
                let committed = delivery.commit(dag, leader, rule.after(slot));
                let blocks = committed.blocks.iter().map(Verified::reference).collect();
                decided.delivered.push((blocks, committed.state));
                Some(leader)
            }
            Decision::Skip => None,
            Decision::Undecided => unreachable!("decided slots only"),
        };
        decided.slots.push((slot, leader));
    }
    decided
}

/// What one kind of group showed in all runs.
#[derive(Debug, Default)]
struct Tally {
    committed: u64,
    indirect: u64,
    skipped: u64,
    exposed: u64,
    conflicts: Vec<u64>,
}

fn search(setting: &Setting) -> Tally {
    let mut tally = Tally::default();
    for seed in 0..runs() {
        let mut dice = Dice::new(seed);
        let world = World::draw(&mut dice, setting);
        let rule = CommitRule::new(world.dag.group(), 1 + dice.below(3) as u16);
        let all = std::iter::once(world.dag.clone());
        let parts: Vec<Dag> = (1..VIEWS).map(|_| world.view(&mut dice)).collect();
        let views: Vec<Decided> =
            all.chain(parts).map(|dag| decide(&rule, &world.keys, &dag)).collect();
        let is_conflict = views.iter().enumerate().any(|(at, one)| {
            views[at + 1..].iter().any(|other| {
                one.slots.iter().zip(&other.slots).any(|(one, other)| one != other)
                    || one.delivered.iter().zip(&other.delivered).any(|(one, other)| one != other)
            })
        });
        if is_conflict {
            tally.conflicts.push(seed);
        }
        let whole = &views[0];
        tally.committed += whole.delivered.len() as u64;
        tally.skipped += (whole.slots.len() - whole.delivered.len()) as u64;
        tally.indirect += views.iter().map(|view| view.indirect).sum::<u64>();
        let tips = world.tips();
        let exposes =
            |at: &BlockRef| world.dag.block(at).is_some_and(|b| !b.body.exposed.is_empty());
        tally.exposed += u64::from(tips.iter().any(exposes));
    }
    tally
}

#[expect(clippy::disallowed_methods, reason = "longer runs by hand need no other program")]
fn runs() -> u64 {
    let given = std::env::var("RAVELIN_VIEW_RUNS").ok().and_then(|text| text.parse().ok());
    given.unwrap_or(RUNS)
}

fn check(n: u16, f: u16, model: FaultModel, rounds: u64) {
    let tally = search(&Setting::new(n, f, model, rounds));
    println!("({n},{f}) {}: {tally:?} in {} runs", model.name(), runs());
    assert!(
        tally.conflicts.is_empty(),
        "({n},{f}) {}: {} of {} runs disagree, the first with seed {}",
        model.name(),
        tally.conflicts.len(),
        runs(),
        tally.conflicts[0],
    );
    let reached = [tally.committed, tally.skipped];
    assert!(reached.iter().all(|count| *count > 0), "a case that is never reached: {tally:?}");
    assert_eq!(tally.exposed > 0, model != FaultModel::Hybrid, "who forks is exposed: {tally:?}");
    // With five rounds to a wave nearly everything is decided directly.
    assert!(tally.indirect > 0 || model == FaultModel::Asynchronous, "never reached: {tally:?}");
}

#[test]
fn four_replicas_never_disagree_whatever_they_see() {
    check(4, 1, FaultModel::Arbitrary, 10);
}

#[test]
fn five_replicas_never_disagree_whatever_they_see() {
    check(5, 1, FaultModel::Arbitrary, 10);
}

#[test]
fn seven_replicas_with_two_intruders_never_disagree_whatever_they_see() {
    check(7, 2, FaultModel::Arbitrary, 9);
}

#[test]
fn votes_through_several_rounds_never_disagree_whatever_is_seen() {
    check(4, 1, FaultModel::Asynchronous, 14);
}

#[test]
fn three_replicas_with_wormholes_never_disagree_whatever_they_see() {
    check(3, 1, FaultModel::Hybrid, 10);
}

#[test]
fn four_replicas_with_wormholes_never_disagree_whatever_they_see() {
    check(4, 1, FaultModel::Hybrid, 10);
}

#[test]
fn five_replicas_with_wormholes_and_two_intruders_never_disagree_whatever_they_see() {
    check(5, 2, FaultModel::Hybrid, 9);
}

#[test]
fn one_broken_wormhole_makes_replicas_disagree() {
    for (n, f) in [(3, 1), (5, 2), (4, 1)] {
        let sound = Setting::new(n, f, FaultModel::Hybrid, 10);
        let tally = search(&Setting { may_fork: true, ..sound });
        println!("({n},{f}) without a counter: {} of {} runs", tally.conflicts.len(), runs());
        assert!(!tally.conflicts.is_empty(), "forks split decisions: {tally:?}");
    }
}

#[test]
fn who_is_shown_the_deciders_decides_the_same() {
    let mut shown = 0;
    let settings = [
        Setting::new(4, 1, FaultModel::Arbitrary, 9),
        Setting::new(7, 2, FaultModel::Arbitrary, 9),
        Setting::new(4, 1, FaultModel::Asynchronous, 14),
        Setting::new(3, 1, FaultModel::Hybrid, 9),
        Setting::new(5, 2, FaultModel::Hybrid, 9),
    ];
    for setting in &settings {
        for seed in 0..runs() / 2 {
            let mut dice = Dice::new(seed);
            let world = World::draw(&mut dice, setting);
            let rule = CommitRule::new(world.dag.group(), 1 + dice.below(3) as u16);
            let views: Vec<_> = (1..VIEWS).map(|_| world.view(&mut dice)).collect();
            for view in views.iter().chain([&world.dag]) {
                let slots = decide(&rule, &world.keys, view).slots;
                let commits = slots.iter().enumerate().filter(|(_, (_, leader))| leader.is_some());
                for (at, (slot, _)) in commits {
                    let deciders = rule.deciders(view, slot.round);
                    let deciders = deciders.into_iter().map(Verified::reference);
                    let others = world.tips().into_iter().filter(|_| dice.chance(10));
                    let tips: Vec<_> = deciders.chain(others).collect();
                    let other = world.part(world.dag.history(tips, Round(0)));
                    let decided = decide(&rule, &world.keys, &other).slots;
                    let is_told = decided.starts_with(&slots[..=at]);
                    assert!(is_told, "{setting:?}, seed {seed}, {slot:?}");
                    shown += 1;
                }
            }
        }
    }
    assert!(shown > runs(), "only {shown} commits");
}

#[test]
fn a_history_holds_one_chain_of_every_member_that_it_does_not_expose() {
    for seed in 0..runs() / 2 {
        let mut dice = Dice::new(seed);
        let setting = Setting::new(7, 2, FaultModel::Arbitrary, 7);
        let world = World::draw(&mut dice, &setting);
        for tip in world.tips() {
            let history = world.dag.history([tip], Round(0));
            let exposed = &world.dag.block(&tip).expect("of this DAG").body.exposed;
            for member in world.dag.group().members().filter(|member| !exposed.contains(member)) {
                let mut chain: Vec<_> = history.iter().filter(|at| at.author == member).collect();
                let newest = chain.pop().copied().unwrap_or_else(|| world.keys.genesis(member));
                let is_below = |at: &&BlockRef| world.dag.on_chain(&newest, at.round) == Some(**at);
                assert!(
                    chain.iter().all(is_below),
                    "seed {seed}: two chains of {member} at {tip:?}"
                );
            }
        }
    }
}
