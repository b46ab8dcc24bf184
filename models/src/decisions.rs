//! Four servers, one of which forks: every choice of parents, every view.
//!
//! Rounds 1 to 3 propose, vote and certify for one slot, whose leader is server 1; the block
//! of round 4 by server 0, a leader, is the anchor through which the slot is decided where it is not
//! decided directly. Two more rounds, in which all correct servers link each other, commit the
//! anchor. A state is what the correct servers have chosen so far; the forking server says, in each
//! round, every block that it can, and each view holds what it likes of that.
//!
//! Left out, because the slot's decision does not depend on it: which blocks beside the leader's and
//! the forking server's are linked in round 2 (unless [`Scope::Large`]), and gaps.

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

/// The slot that is followed.
const SLOT: Slot = Slot { round: Round(1), index: 0 };

/// How much is enumerated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Tens of seconds on two cores.
    Small,
    /// Every choice of parents in round 2 too.
    Large,
}

/// The model: which server forks, and how much is enumerated.
pub struct Decisions {
    keys: Keys,
    rule: CommitRule,
    forker: ReplicaId,
    scope: Scope,
}

/// What the servers have said so far.
#[derive(Clone)]
pub struct State {
    /// The option that each correct server chose, in order of (round, server).
    choices: Vec<u16>,
    dag: Arc<Dag>,
    /// What views without the anchor decide.
    direct: BTreeSet<Option<BlockRef>>,
    /// What a view with the anchor decides, and how.
    last: Option<(Option<BlockRef>, Option<Path>)>,
}

impl State {
    fn outcomes(&self) -> BTreeSet<Option<BlockRef>> {
        let mut outcomes = self.direct.clone();
        outcomes.extend(self.last.map(|(leader, _)| leader));
        outcomes
    }
}

impl Decisions {
    /// All runs in which `forker` forks.
    #[must_use]
    pub fn new(forker: u16, scope: Scope) -> Self {
        let keys = Keys::new(4, 1, FaultModel::Arbitrary);
        let rule = CommitRule::new(keys.keyring.group(), 1);
        Self { keys, rule, forker: ReplicaId(forker), scope }
    }

    fn correct(&self) -> Vec<ReplicaId> {
        self.rule.group.members().filter(|member| *member != self.forker).collect()
    }

    /// Who chooses next, and for which round; `None` when all have chosen.
    fn turn(&self, state: &State) -> Option<(ReplicaId, Round)> {
        let correct = self.correct();
        let turn = state.choices.len();
        let rounds = turn / correct.len();
        match rounds {
            0 | 1 => Some((correct[turn % correct.len()], Round(2 + rounds as u64))),
            2 if turn == 2 * correct.len() => Some((ReplicaId(0), Round(4))),
            _ => None,
        }
    }

    /// Every block that `author` can make for `round` over `dag`.
    fn options(&self, dag: &Dag, author: ReplicaId, round: Round) -> Vec<Verified<Block>> {
        let of = |member| {
            let before = dag.of(round.minus(1), member);
            before.map(|(at, _)| *at).collect::<Vec<_>>()
        };
        let leader = self.rule.leader(SLOT);
        let links_all = round == Round(2) && self.scope == Scope::Small || author == self.forker;
        let mut seen: Vec<BTreeMap<ReplicaId, BlockRef>> = vec![BTreeMap::new()];
        for member in self.rule.group.members().filter(|member| *member != author) {
            let mut longer = vec![];
            for given in &seen {
                if member == self.forker || member == leader || !links_all {
                    longer.push(given.clone());
                }
                for block in of(member) {
                    let mut given = given.clone();
                    given.insert(member, block);
                    longer.push(given);
                }
            }
            seen = longer;
        }
        let mut found: BTreeMap<BlockRef, Verified<Block>> = BTreeMap::new();
        for own in of(author) {
            for seen in &seen {
                let Some((parents, fork)) = complete(dag, own, seen.clone()) else { continue };
                let block = self.keys.block(author, round, parents, &fork, 0);
                let is_valid = validity::is_well_formed(dag, &block)
                    && validity::is_consistent(dag, &block, &|_| false);
                if is_valid {
                    found.insert(block.reference(), block);
                }
            }
        }
        found.into_values().collect()
    }

    /// What a view of `dag` decides for the slot.
    fn decide(&self, dag: &Dag) -> Option<(Option<BlockRef>, Option<Path>)> {
        match self.rule.decide(dag, SLOT).first() {
            Some((_, Decision::Commit(leader, path))) => Some((Some(*leader), Some(*path))),
            Some((_, Decision::Skip)) => Some((None, None)),
            _ => None,
        }
    }

    fn view(&self, dag: &Dag, tips: impl IntoIterator<Item = BlockRef>) -> Dag {
        let mut view = Dag::new(self.rule.group, self.keys.keyring.genesis(), Round(0));
        for reference in dag.history(tips, Round(0)) {
            view.insert(dag.block(&reference).expect("of this DAG").clone());
        }
        view
    }

    /// What all views of rounds up to 3 decide: any correct servers' blocks with any one of the
    /// forking server's, or all of those.
    fn direct_outcomes(&self, dag: &Dag) -> BTreeSet<Option<BlockRef>> {
        let mut outcomes = BTreeSet::new();
        for round in [Round(2), Round(3)] {
            let forked: Vec<BlockRef> = dag.of(round, self.forker).map(|(at, _)| *at).collect();
            let mut choices: Vec<Vec<BlockRef>> = forked.iter().map(|at| vec![*at]).collect();
            choices.extend([vec![], forked]);
            let of_correct: Vec<BlockRef> =
                dag.round(round).map(|(at, _)| *at).filter(|at| at.author != self.forker).collect();
            for mask in 0..1u32 << of_correct.len() {
                let chosen = of_correct.iter().enumerate();
                let chosen = chosen.filter(|(bit, _)| mask >> bit & 1 == 1).map(|(_, at)| *at);
                for forked in &choices {
                    let tips = chosen.clone().chain(forked.iter().copied());
                    let decided = self.decide(&self.view(dag, tips));
                    outcomes.extend(decided.map(|(leader, _)| leader));
                }
            }
        }
        outcomes
    }

    /// Two rounds in which all correct servers link each other, over the anchor in `dag`.
    fn complete_wave(&self, dag: &mut Dag) -> Dag {
        for round in [Round(4), Round(5), Round(6)] {
            for author in self.correct() {
                if dag.of(round, author).next().is_some() {
                    continue;
                }
                let newest = |member| dag.newest_until(member, round.minus(1)).expect("a block");
                let others = self.correct().into_iter().filter(|member| *member != author);
                let seen = others.map(|member| (member, newest(member))).collect();
                let (parents, fork) =
                    complete(dag, newest(author), seen).expect("correct servers do not fork");
                let block = self.keys.block(author, round, parents, &fork, 0);
                dag.insert(block);
            }
        }
        let tips: Vec<BlockRef> = dag.round(Round(6)).map(|(at, _)| *at).collect();
        self.view(dag, tips)
    }
}

impl Model for Decisions {
    type State = State;
    type Action = u16;

    fn init_states(&self) -> Vec<State> {
        let mut dag = Dag::new(self.rule.group, self.keys.keyring.genesis(), Round(0));
        for author in self.rule.group.members() {
            let others = self.rule.group.members().filter(|member| *member != author);
            let parents: Vec<BlockRef> =
                std::iter::once(author).chain(others).map(|from| self.keys.genesis(from)).collect();
            let copies = if author == self.forker { 2 } else { 1 };
            for salt in 0..copies {
                dag.insert(self.keys.block(
                    author,
                    Round(1),
                    parents.clone(),
                    &Fork::default(),
                    salt,
                ));
            }
        }
        let direct = BTreeSet::new();
        vec![State { choices: vec![], dag: Arc::new(dag), direct, last: None }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<u16>) {
        if let Some((author, round)) = self.turn(state) {
            let count = self.options(&state.dag, author, round).len();
            actions.extend(0..u16::try_from(count).expect("few options"));
        }
    }

    fn next_state(&self, state: &State, option: u16) -> Option<State> {
        let (author, round) = self.turn(state)?;
        let block = self.options(&state.dag, author, round).swap_remove(usize::from(option));
        let mut next = state.clone();
        next.choices.push(option);
        let dag = Arc::make_mut(&mut next.dag);
        dag.insert(block);
        let is_round_over = Some(&author) == self.correct().last();
        if round < Round(4) && is_round_over {
            for block in self.options(dag, self.forker, round) {
                dag.insert(block);
            }
        }
        if round == Round(3) && is_round_over {
            next.direct = self.direct_outcomes(&next.dag);
        } else if round == Round(4) {
            next.last = self.decide(&self.complete_wave(Arc::make_mut(&mut next.dag)));
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("all views decide alike", |_, state: &State| {
                state.outcomes().len() <= 1
            }),
            Property::sometimes("committed directly", |_, state: &State| {
                matches!(state.last, Some((Some(_), Some(Path::Direct))))
            }),
            Property::sometimes("committed through the anchor", |_, state: &State| {
                matches!(state.last, Some((Some(_), Some(Path::Indirect))))
            }),
            Property::sometimes("skipped at once", |_, state: &State| state.direct.contains(&None)),
            Property::sometimes("skipped through the anchor", |_, state: &State| {
                state.direct.is_empty() && matches!(state.last, Some((None, _)))
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
        write!(out, "{:?}: {:?} {:?}", self.choices, self.direct, self.last)
    }
}
