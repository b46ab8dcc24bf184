//! Blocks whose parents are missing, and what is fetched for them.
//!
//! Bounded per author in blocks and bytes, and altogether in what is looked for. When an author's quota is
//! full its farthest round goes first; when too much is looked for, the farthest round of that author for
//! whose blocks the most is. So floods displace themselves, whatever rounds they are of, and what an
//! n-th part of the whole is enough for, nobody else can displace. What was dropped is fetched again when
//! it is needed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ravelin_crypto::Verified;
use ravelin_model::{Block, BlockRef, Chain, Group, ReplicaId, Round, Time, mutants};

use crate::{Dag, validity};

use missing::{AllMissing, Missing};

mod missing;

/// Blocks of one author that may wait for parents.
pub const PARKED_BLOCKS_MAX: usize = 256;
/// Bytes of one author's blocks that may wait for parents.
pub const PARKED_BYTES_MAX: usize = 16 << 20;
/// References that are looked for at once; in large groups more, see [`MISSING_ROUNDS`].
pub const MISSING_MAX: usize = 4096;
/// Rounds of each author of which blocks may wait at once although none of their parents is there.
pub const MISSING_ROUNDS: usize = 8;
/// Rounds over which an arrival is compared with the blocks that wait for it. A prepared tree with
/// branches farther apart has few of them within the horizon.
const COMPARED_ROUNDS: u64 = 16;
/// How long a missing parent may be on its way before it is asked for: blocks commonly overtake
/// their parents.
pub const FETCH_PATIENCE: Duration = Duration::from_millis(5);
/// Time between two requests for one block, doubling with each.
const FETCH_RETRY: Duration = Duration::from_millis(40);
/// Doublings of the time between requests.
const FETCH_DOUBLINGS_MAX: u32 = 5;
/// Blocks overtake their parents by as much without anybody being to blame.
const OVERTAKEN_MAX: Duration = Duration::from_millis(1);
/// What a block that nothing waited for takes from the time for which its author made others wait.
const HELD_UP_LESS: Duration = Duration::from_micros(500);
/// The most of that time that is remembered: after it, 22 blocks in time bring the patience back.
const HELD_UP_MAX: Duration = Duration::from_millis(16);

/// Blocks that wait, by what they wait for.
#[derive(Clone, Debug)]
pub struct Parking {
    group: Group,
    own: ReplicaId,
    parked: BTreeMap<BlockRef, Parked>,
    missing: AllMissing,
    bytes: Vec<usize>,
    /// By author: for how long others' blocks waited for its own lately.
    held_up: Vec<Duration>,
}

#[derive(Clone, Debug)]
struct Parked {
    block: Verified<Block>,
    from: ReplicaId,
    /// Whether another block waited for it when it came.
    is_asked: bool,
}

impl Parking {
    /// Nothing waits.
    #[must_use]
    pub fn new(group: Group, own: ReplicaId) -> Self {
        Self {
            group,
            own,
            parked: BTreeMap::new(),
            missing: AllMissing::default(),
            bytes: vec![0; group.size()],
            held_up: vec![Duration::ZERO; group.size()],
        }
    }

    /// A block that is new here has come. An author that sends its blocks to few, or to some of them late,
    /// makes those wait that build on them: beyond [`FETCH_PATIENCE`] in all, what is missing of it is
    /// asked for at once, until its blocks come in time again, with all their parents here.
    pub fn on_arrival(&mut self, now: Time, block: &Verified<Block>, dag: &Dag) {
        let reference = block.reference();
        let Some(held_up) = self.held_up.get_mut(reference.author.index()) else { return };
        if let Some(missing) = self.missing.get(&reference) {
            let waited = now.since(missing.since()).saturating_sub(OVERTAKEN_MAX);
            *held_up = (*held_up + waited).min(HELD_UP_MAX);
        } else if !held_up.is_zero() && has_parents(block, dag) {
            *held_up = held_up.saturating_sub(HELD_UP_LESS);
        }
    }

    /// How long a missing block of `author` may be on its way.
    fn patience(&self, author: ReplicaId) -> Duration {
        let held_up = self.held_up.get(author.index()).copied().unwrap_or_default();
        if held_up > FETCH_PATIENCE { Duration::ZERO } else { FETCH_PATIENCE }
    }

    /// Whether the block waits already.
    #[must_use]
    pub fn has(&self, reference: &BlockRef) -> bool {
        self.parked.contains_key(reference)
    }

    /// The block, if it waits.
    #[must_use]
    pub fn block(&self, reference: &BlockRef) -> Option<&Verified<Block>> {
        self.parked.get(reference).map(|parked| &parked.block)
    }

    /// Whether a waiting block refers to `reference`.
    #[must_use]
    pub fn wants(&self, reference: &BlockRef) -> bool {
        self.missing.has(reference)
    }

    /// All waiting blocks of `author`.
    pub fn of(&self, author: ReplicaId) -> impl Iterator<Item = &Verified<Block>> {
        self.parked
            .values()
            .map(|parked| &parked.block)
            .filter(move |block| block.body.author == author)
    }

    /// How many blocks wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.parked.len()
    }

    /// Bytes of all waiting blocks.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.iter().sum()
    }

    /// Whether no block waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parked.is_empty()
    }

    /// Lets `block`, sent by `from`, wait for the parents that `dag` lacks.
    pub fn park(&mut self, now: Time, from: ReplicaId, block: Verified<Block>, dag: &Dag) {
        let reference = block.reference();
        let author = reference.author;
        self.charge(author, block.size());
        let is_asked = self.wants(&reference);
        self.parked.insert(reference, Parked { block, from, is_asked });
        self.missing.set_here(&reference, true);
        self.enforce_quota(author);
        self.look_for_parents(now, &reference, dag);
    }

    /// The waiting blocks, `arrived` and those that wait for it, that break a rule by all that is
    /// known now.
    ///
    /// Cost: n² look-ups for each of at most 16 n blocks.
    #[must_use]
    pub fn contradicted(&self, arrived: &BlockRef, dag: &Dag) -> Vec<BlockRef> {
        let known = |reference: &BlockRef| dag.block(reference).or_else(|| self.block(reference));
        let is_broken = |reference: &BlockRef| {
            self.block(reference)
                .is_some_and(|block| validity::is_contradicted(block, dag.horizon(), &known))
        };
        let mut seen = BTreeSet::new();
        let mut open = vec![*arrived];
        while let Some(reference) = open.pop() {
            let is_near = reference.round <= arrived.round.plus(COMPARED_ROUNDS);
            if is_near && seen.insert(reference) {
                open.extend(self.missing.get(&reference).iter().flat_map(|one| &one.children));
            }
        }
        seen.into_iter().filter(is_broken).collect()
    }

    /// Drops a waiting block that breaks a rule, and what came on its behalf alone.
    pub fn discard(&mut self, broken: &BlockRef) {
        let mut open = vec![*broken];
        while let Some(reference) = open.pop() {
            let Some((_, block)) = self.drop_parked(&reference) else { continue };
            open.extend(block.body.parents.iter().filter(|parent| {
                !self.wants(parent) && self.parked.get(parent).is_some_and(|one| one.is_asked)
            }));
        }
    }

    fn look_for_parents(&mut self, now: Time, reference: &BlockRef, dag: &Dag) {
        let Some(Parked { block, from, .. }) = self.parked.get(reference).cloned() else { return };
        let is_asked = self.missing.get(reference).is_some_and(Missing::is_asked);
        let most = self.group.one_correct();
        let parents = block.body.parents.iter().filter(|parent| !dag.has(parent));
        // What nobody looks for would never free who waits for it, so whoever waits for the most makes room.
        let new = |missing: &AllMissing| parents.clone().filter(|name| !missing.has(name)).count();
        while self.missing.len() + new(&self.missing) > self.missing_max() {
            let greediest = self.missing.greediest(reference.author, parents.clone().count());
            let mut theirs = self.parked.keys().filter(|waiting| waiting.author == greediest);
            let farthest = theirs.next_back().copied();
            farthest.map(|farthest| self.drop_parked(&farthest));
            if farthest.is_none_or(|farthest| farthest == *reference) {
                return;
            }
        }
        for parent in parents {
            // What was asked for comes with its chain, from the newest block on; and what else it builds on
            // is not looked for deeper and deeper in no time.
            let patience = if is_asked { FETCH_PATIENCE } else { self.patience(parent.author) };
            self.missing.add(now, *parent, *reference, (from, patience));
            if is_asked && parent.author == reference.author {
                self.missing.expect(parent);
            }
            if patience.is_zero()
                && let Some(lacking) = self.lacking_of_chain(parent)
            {
                self.missing.ask_another(now, &lacking, from, (FETCH_PATIENCE, most));
            }
            self.missing.set_here(parent, self.parked.contains_key(parent));
        }
    }

    /// What `reference` waits for of its author's chain: itself, if it is not here. At most
    /// [`PARKED_BLOCKS_MAX`] look-ups.
    fn lacking_of_chain(&self, reference: &BlockRef) -> Option<BlockRef> {
        let previous = |name: &BlockRef| self.block(name)?.body.previous().copied();
        std::iter::successors(Some(*reference), previous).find(|name| !self.has(name))
    }

    /// References that this group's members may look for at once.
    fn missing_max(&self) -> usize {
        MISSING_MAX.max(MISSING_ROUNDS * self.group.size() * self.group.size())
    }

    /// Takes out the blocks that wait for nothing but `arrived`, as far as `dag` shows.
    pub fn release(&mut self, arrived: &BlockRef, dag: &Dag) -> Vec<(ReplicaId, Verified<Block>)> {
        let children = self.missing.remove(arrived).map(|missing| missing.children);
        self.take_ready(children.unwrap_or_default(), dag)
    }

    /// Looks through all waiting blocks again: a commit moved the horizon.
    pub fn reexamine(&mut self, dag: &Dag) -> Vec<(ReplicaId, Verified<Block>)> {
        let horizon = dag.horizon();
        let old: Vec<BlockRef> =
            self.parked.keys().take_while(|waiting| waiting.round <= horizon).copied().collect();
        for reference in old {
            self.drop_parked(&reference);
        }
        self.missing.forget(horizon);
        self.take_ready(self.parked.keys().copied().collect(), dag)
    }

    fn take_ready(
        &mut self,
        candidates: BTreeSet<BlockRef>,
        dag: &Dag,
    ) -> Vec<(ReplicaId, Verified<Block>)> {
        let is_ready = |reference: &BlockRef| {
            self.parked.get(reference).is_some_and(|parked| has_parents(&parked.block, dag))
        };
        let ready: Vec<BlockRef> =
            candidates.into_iter().filter(|reference| is_ready(reference)).collect();
        ready.iter().filter_map(|reference| self.drop_parked(reference)).collect()
    }

    fn drop_parked(&mut self, reference: &BlockRef) -> Option<(ReplicaId, Verified<Block>)> {
        let Parked { block, from, .. } = self.parked.remove(reference)?;
        self.missing.set_here(reference, false);
        if let Some(bytes) = self.bytes.get_mut(reference.author.index()) {
            *bytes -= block.size();
        }
        for parent in &block.body.parents {
            self.missing.remove_child(parent, reference);
        }
        Some((from, block))
    }

    fn charge(&mut self, author: ReplicaId, size: usize) {
        if let Some(bytes) = self.bytes.get_mut(author.index()) {
            *bytes += size;
        }
    }

    /// Drops the farthest rounds of `author` until it is within its quota.
    fn enforce_quota(&mut self, author: ReplicaId) {
        if mutants::is_active("parking_unbounded") {
            return;
        }
        loop {
            let mine = || self.parked.keys().filter(|waiting| waiting.author == author);
            let bytes = self.bytes.get(author.index()).copied().unwrap_or(0);
            if mine().count() <= PARKED_BLOCKS_MAX && bytes <= PARKED_BYTES_MAX {
                return;
            }
            let Some(farthest) = mine().next_back().copied() else { return };
            self.drop_parked(&farthest);
        }
    }

    /// The requests that are due: whom to ask for which blocks of rounds up to `until`, each with its
    /// author's chain since what is `held` of it, or waited for: were it asked for block by block, an
    /// author that shows a long chain late would cost as many round trips as it has blocks. Of one that
    /// forked its chain, `None`, nobody knows where the branches part: as many blocks more are asked for
    /// as already wait for this one.
    pub fn due(
        &mut self,
        now: Time,
        until: Round,
        held: &dyn Fn(ReplicaId) -> Option<Round>,
    ) -> BTreeMap<ReplicaId, Vec<Chain>> {
        let due = self.missing.by_time().take_while(|(next, _)| *next <= now);
        let due = due.map(|(_, name)| *name).filter(|name| name.round <= until);
        let chain = |tip: BlockRef| {
            let before = tip.round.minus(1);
            let earlier = self.missing.before(&tip).map(|name| name.round).unwrap_or_default();
            let after = match held(tip.author) {
                _ if mutants::is_active("chains_fetched_block_by_block") => before,
                Some(held) => held.max(earlier).min(before),
                None => before.minus(self.waiting_on_chain(&tip)),
            };
            Chain { tip, after }
        };
        let mut due: Vec<Chain> = due.map(chain).collect();
        due.sort_unstable_by_key(|chain| chain.tip);
        let mut requests: BTreeMap<ReplicaId, Vec<Chain>> = BTreeMap::new();
        for chain in due {
            if let Some(whom) = self.ask(now, &chain.tip)
                && !mutants::is_active("fetch_never")
            {
                requests.entry(whom).or_default().push(chain);
            }
        }
        requests
    }

    /// Whom to ask for a missing block now; another member each time.
    fn ask(&mut self, now: Time, reference: &BlockRef) -> Option<ReplicaId> {
        let missing = self.missing.get(reference)?;
        let turn = missing.asked;
        let whom = self.group.members().cycle().skip(missing.ask.index());
        let mut whom = whom.filter(|member| *member != self.own).skip(turn as usize);
        let whom = whom.next()?;
        let doublings =
            (turn / u32::try_from(self.group.size()).unwrap_or(1)).min(FETCH_DOUBLINGS_MAX);
        let next = now.after(FETCH_RETRY * (1 << doublings));
        self.missing.on_asked(now, reference, turn.saturating_add(1) % 1024, next);
        Some(whom)
    }

    /// How many blocks of its author wait one for the other, and the last of them for `reference`.
    fn waiting_on_chain(&self, reference: &BlockRef) -> u64 {
        let next = |on: &BlockRef| {
            let children = self.missing.get(on)?.children.iter();
            children.copied().find(|child| child.author == on.author)
        };
        let chain = std::iter::successors(next(reference), next).take(PARKED_BLOCKS_MAX);
        chain.count() as u64
    }

    /// When the next request for a block of a round up to `until` is due.
    #[must_use]
    pub fn next_deadline(&self, until: Round) -> Option<Time> {
        let mut open = self.missing.by_time();
        open.find(|(_, missing)| missing.round <= until).map(|(next, _)| next)
    }
}

/// Whether all that the block builds on is here.
pub(crate) fn has_parents(block: &Block, dag: &Dag) -> bool {
    block.body.parents.iter().all(|parent| dag.has(parent))
}

#[cfg(test)]
mod tests;
