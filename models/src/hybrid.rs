//! Three servers with wormholes, one of which is bad: every choice of parents, every view.
//!
//! A server has at most one block a round. Correct ones make the block of every round and link, beside
//! their own last, one or both of the others' blocks of the round before, with what those link. The bad one
//! may also leave rounds out, and each view holds what it likes of its blocks. Slots are decided from round
//! 1 on; the leader of round 3 is the first that can decide the slot of round 1 indirectly, and the blocks of
//! round 4 commit it. All views of all rounds are compared slot by slot.
//!
//! With [`Counter::Broken`] the bad server makes every block that it can, as if its wormhole attested
//! anything: then views disagree.
//!
//! That a sound wormhole attests one block for a round is what [`counters`](crate::counters) is about.
//!
//! Left out: leaders beside the first of a round, and links to older blocks than a parent's.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use ravelin_crypto::Verified;
use ravelin_model::{Block, BlockRef, FaultModel, ReplicaId, Round};
use ravelin_multicast::committer::{Decision, Path};
use ravelin_multicast::{CommitRule, Dag, Slot, validity};
use stateright::{Model, Property};

use crate::keys::{Fork, Keys};
use crate::parents::complete;

/// The first slot that is followed.
const FIRST: Slot = Slot { round: Round(1), index: 0 };
/// The last round.
const LAST: Round = Round(4);

/// What the bad server's wormhole is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// It attests one block a round.
    Sound,
    /// It attests whatever it is asked to.
    Broken,
}

/// The model: which server is bad.
pub struct Hybrid {
    keys: Keys,
    rule: CommitRule,
    bad: ReplicaId,
    counter: Counter,
}

/// What the servers have said so far.
#[derive(Clone)]
pub struct State {
    /// What each server chose, in order of (round, server).
    choices: Vec<u16>,
    dag: Arc<Dag>,
    /// What was decided for each slot by some view, and how.
    decided: BTreeMap<Slot, BTreeSet<(Option<BlockRef>, bool)>>,
}

impl State {
    fn is_agreed(&self) -> bool {
        let leaders = |of: &BTreeSet<(Option<BlockRef>, bool)>| {
            of.iter().map(|(leader, _)| *leader).collect::<BTreeSet<_>>().len()
        };
        self.decided.values().all(|of| leaders(of) <= 1)
    }

    fn holds(&self, fits: impl Fn(Option<BlockRef>, bool) -> bool) -> bool {
        let first = self.decided.get(&FIRST).into_iter().flatten();
        first.copied().any(|(leader, is_direct)| fits(leader, is_direct))
    }
}

impl Hybrid {
    /// All runs in which `bad` is bad.
    #[must_use]
    pub fn new(bad: u16, counter: Counter) -> Self {
        let keys = Keys::new(3, 1, FaultModel::Hybrid);
        let rule = CommitRule::new(keys.keyring.group(), 1);
        Self { keys, rule, bad: ReplicaId(bad), counter }
    }

    fn forks(&self, author: ReplicaId) -> bool {
        author == self.bad && self.counter == Counter::Broken
    }

    /// Who chooses next, and for which round; `None` when all have chosen.
    fn turn(&self, state: &State) -> Option<(ReplicaId, Round)> {
        let size = self.rule.group.size();
        let (round, turn) = (2 + state.choices.len() / size, state.choices.len() % size);
        let author = self.rule.group.members().nth(turn)?;
        (round as u64 <= LAST.0).then_some((author, Round(round as u64)))
    }

    /// Every block that `author` can make for `round` over `dag`.
    fn options(&self, dag: &Dag, author: ReplicaId, round: Round) -> Vec<Verified<Block>> {
        let of = |member| -> Vec<BlockRef> {
            dag.of(round.minus(1), member).map(|(at, _)| *at).collect()
        };
        let mut seen: Vec<BTreeMap<ReplicaId, BlockRef>> = vec![BTreeMap::new()];
        for member in self.rule.group.members().filter(|member| *member != author) {
            let with = |given: &BTreeMap<ReplicaId, BlockRef>, block| {
                let mut given = given.clone();
                given.insert(member, block);
                given
            };
            let longer =
                seen.iter().flat_map(|given| of(member).into_iter().map(|at| with(given, at)));
            seen = longer.chain(seen.iter().cloned()).collect();
        }
        let own = match self.forks(author) {
            true => of(author),
            false => dag.newest_until(author, round.minus(1)).into_iter().collect(),
        };
        let mut found: BTreeMap<BlockRef, Verified<Block>> = BTreeMap::new();
        for (own, seen) in own.iter().flat_map(|own| seen.iter().map(move |seen| (own, seen))) {
            let Some((parents, fork)) = complete(dag, *own, seen.clone()) else { continue };
            let block = self.keys.block(author, round, parents, &fork, 0);
            let is_valid = validity::is_well_formed(dag, &block)
                && validity::is_consistent(dag, &block, &|_| false);
            if is_valid {
                found.insert(block.reference(), block);
            }
        }
        found.into_values().collect()
    }

    /// What all views decide: each holds of every server's blocks one with all its history, or none.
    fn look(&self, state: &mut State) {
        let dag = &state.dag;
        let blocks_of = |member| {
            let rounds = (1..=LAST.0).map(Round);
            rounds.flat_map(|round| dag.of(round, member)).map(|(at, _)| *at).collect::<Vec<_>>()
        };
        let mut views: Vec<Vec<BlockRef>> = vec![vec![]];
        for member in self.rule.group.members() {
            let with = |tips: &Vec<BlockRef>, tip| tips.iter().copied().chain([tip]).collect();
            let tips = blocks_of(member);
            let longer = views.iter().flat_map(|view| tips.iter().map(move |tip| with(view, *tip)));
            views = longer.collect::<Vec<_>>().into_iter().chain(views.clone()).collect();
        }
        let histories: BTreeSet<BTreeSet<BlockRef>> =
            views.into_iter().map(|tips| dag.history(tips, Round(0))).collect();
        for history in histories {
            let mut view = Dag::new(self.rule.group, self.keys.keyring.genesis(), Round(0));
            history.iter().for_each(|at| view.insert(dag.block(at).expect("of this DAG").clone()));
            for (slot, decision) in self.rule.decide(&view, FIRST) {
                let decided = match decision {
                    Decision::Commit(leader, path) => (Some(leader), path == Path::Direct),
                    Decision::Skip | Decision::Undecided => (None, false),
                };
                state.decided.entry(slot).or_default().insert(decided);
            }
        }
    }
}

impl Model for Hybrid {
    type State = State;
    type Action = u16;

    fn init_states(&self) -> Vec<State> {
        let mut dag = Dag::new(self.rule.group, self.keys.keyring.genesis(), Round(0));
        for author in self.rule.group.members() {
            let others = self.rule.group.members().filter(|member| *member != author);
            let parents: Vec<BlockRef> =
                std::iter::once(author).chain(others).map(|from| self.keys.genesis(from)).collect();
            let copies = if self.forks(author) { 2 } else { 1 };
            for salt in 0..copies {
                let (parents, fork) = (parents.clone(), Fork::default());
                dag.insert(self.keys.block(author, Round(1), parents, &fork, salt));
            }
        }
        vec![State { choices: vec![], dag: Arc::new(dag), decided: BTreeMap::new() }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<u16>) {
        let Some((author, round)) = self.turn(state) else { return };
        let count = match self.forks(author) {
            true => 1, // every block at once
            false => {
                self.options(&state.dag, author, round).len() + usize::from(author == self.bad)
            }
        };
        actions.extend(0..u16::try_from(count).expect("few options"));
    }

    fn next_state(&self, state: &State, option: u16) -> Option<State> {
        let (author, round) = self.turn(state)?;
        let options = self.options(&state.dag, author, round);
        let mut next = state.clone();
        next.choices.push(option);
        let dag = Arc::make_mut(&mut next.dag);
        let is_chosen = |at: usize| self.forks(author) || at == usize::from(option);
        let chosen = options.into_iter().enumerate().filter(|(at, _)| is_chosen(*at));
        chosen.for_each(|(_, block)| dag.insert(block)); // none: the bad server leaves the round out
        if Some(author) == self.rule.group.members().last() && round >= Round(2) {
            self.look(&mut next);
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("all views decide alike", |_, state: &State| state.is_agreed()),
            Property::sometimes("committed directly", |_, state: &State| {
                state.holds(|leader, is_direct| leader.is_some() && is_direct)
            }),
            Property::sometimes("committed through a later leader", |_, state: &State| {
                state.holds(|leader, is_direct| leader.is_some() && !is_direct)
            }),
            Property::sometimes("skipped through a later leader", |_, state: &State| {
                state.holds(|leader, _| leader.is_none())
            }),
        ]
    }
}

impl Hash for State {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.choices.hash(hasher);
    }
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        self.choices == other.choices
    }
}

impl Eq for State {}

impl std::fmt::Debug for State {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{:?}: {:?}", self.choices, self.decided)
    }
}
