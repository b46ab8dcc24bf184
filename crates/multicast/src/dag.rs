//! The block DAG: what this replica knows, closed under "parent of" above the horizon.
//!
//! **Guarantee:** a block is in the DAG only with all its parents; a reference at or below the
//! horizon counts as present and is never walked. What delivered blocks carried for clients is held as
//! far as [`CARRIED_BYTES_MAX`] goes: later it matters to laggards only, and they find it in the log.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ravelin_crypto::Verified;
use ravelin_model::{Block, BlockRef, Cut, Digest, Group, ReplicaId, Round, SignedHeader};

/// Bytes of delivered blocks that are held whole. The oldest give up their envelopes first.
pub const CARRIED_BYTES_MAX: usize = 4 << 20;

/// Blocks by reference, and each author's chain.
#[derive(Clone, Debug)]
pub struct Dag {
    group: Group,
    genesis: Digest,
    /// Rounds up to this one count as present.
    horizon: Round,
    /// Rounds up to this one are gone: the same, but while a horizon to come is foreseen.
    forgotten: Round,
    blocks: BTreeMap<BlockRef, Verified<Block>>,
    /// Each author's rounds that hold a block: what makes "newest up to a round" cheap.
    chains: Vec<BTreeSet<BlockRef>>,
    /// The newest block ever seen of each author, also when it lies below the horizon by now.
    newest: Vec<BlockRef>,
    /// The header of each author's newest block, for authors that restart without their log.
    headers: Vec<Option<SignedHeader>>,
    /// How many authors have a block in each round.
    widths: BTreeMap<Round, usize>,
    bytes: usize,
    /// Delivered blocks that are held whole, with their bytes, as they were delivered.
    carried: VecDeque<(BlockRef, usize)>,
    carried_bytes: usize,
}

impl Dag {
    /// The DAG of an epoch that begins at `genesis`, with everything up to `horizon` forgotten.
    #[must_use]
    pub fn new(group: Group, genesis: Digest, horizon: Round) -> Self {
        Self {
            group,
            genesis,
            horizon,
            forgotten: horizon,
            blocks: BTreeMap::new(),
            chains: vec![BTreeSet::new(); group.size()],
            newest: group.members().map(|author| BlockRef::genesis(author, genesis)).collect(),
            headers: vec![None; group.size()],
            widths: BTreeMap::new(),
            bytes: 0,
            carried: VecDeque::new(),
            carried_bytes: 0,
        }
    }

    /// Size and resilience of the group.
    #[must_use]
    pub fn group(&self) -> Group {
        self.group
    }

    /// References to rounds up to this one count as present: they are forgotten, or will be.
    #[must_use]
    pub fn horizon(&self) -> Round {
        self.horizon
    }

    /// Canonical bytes of all blocks held.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many blocks are held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Whether no block is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Adds a block whose parents are all present.
    ///
    /// # Panics
    /// If a parent is missing: the caller parks such blocks.
    pub fn insert(&mut self, block: Verified<Block>) {
        let reference = block.reference();
        assert!(
            block.body.parents.iter().all(|parent| self.has(parent)),
            "a block enters the DAG after its parents"
        );
        if self.of(reference.round, reference.author).next().is_none() {
            *self.widths.entry(reference.round).or_default() += 1;
        }
        self.remember(&block);
        if let Some(chain) = self.chains.get_mut(reference.author.index()) {
            chain.insert(reference);
        }
        self.bytes += block.size();
        self.blocks.insert(reference, block);
    }

    /// Notes that `block` exists, though it may lie below the horizon.
    pub fn remember(&mut self, block: &Verified<Block>) {
        self.remember_header(&block.signed_header());
    }

    /// Notes that a block with this header exists.
    pub fn remember_header(&mut self, signed: &SignedHeader) {
        let reference = signed.header.reference;
        let index = reference.author.index();
        if let (Some(newest), Some(header)) =
            (self.newest.get_mut(index), self.headers.get_mut(index))
            && newest.round < reference.round
        {
            (*newest, *header) = (reference, Some(*signed));
        }
    }

    /// Whether `reference` is here or counts as present.
    #[must_use]
    pub fn has(&self, reference: &BlockRef) -> bool {
        match reference.round {
            Round(0) => reference.digest == self.genesis,
            round => round <= self.horizon || self.blocks.contains_key(reference),
        }
    }

    /// The block with all that it carried, if it is held so.
    #[must_use]
    pub fn whole(&self, reference: &BlockRef) -> Option<&Verified<Block>> {
        self.block(reference).filter(|block| block.is_whole())
    }

    /// The block, if it is held, maybe without its envelopes.
    #[must_use]
    pub fn block(&self, reference: &BlockRef) -> Option<&Verified<Block>> {
        self.blocks.get(reference)
    }

    /// All blocks of `round`, by author and digest.
    pub fn round(&self, round: Round) -> impl Iterator<Item = (&BlockRef, &Verified<Block>)> {
        self.blocks.range(first_of(round, ReplicaId(0))..first_of(round.next(), ReplicaId(0)))
    }

    /// All blocks that `author` made for `round`; more than one if it equivocated.
    pub fn of(
        &self,
        round: Round,
        author: ReplicaId,
    ) -> impl Iterator<Item = (&BlockRef, &Verified<Block>)> {
        let end = first_of(round, ReplicaId(author.0.saturating_add(1)));
        self.blocks.range(first_of(round, author)..end)
    }

    /// How many authors have a block in `round`. Everybody has one in round 0.
    #[must_use]
    pub fn width(&self, round: Round) -> usize {
        if round == Round(0) {
            return self.group.size();
        }
        self.widths.get(&round).copied().unwrap_or(0)
    }

    /// The highest round that holds a block.
    #[must_use]
    pub fn highest(&self) -> Round {
        self.widths.last_key_value().map_or(self.horizon, |(round, _)| *round)
    }

    /// The newest block of `author` up to `round` that is here or counts as present; one below the
    /// horizon only if it is its newest of all.
    #[must_use]
    pub fn newest_until(&self, author: ReplicaId, round: Round) -> Option<BlockRef> {
        let newest = *self.newest.get(author.index())?;
        // A log may tell of a block whose parents it holds no more.
        if newest.round <= round && self.has(&newest) {
            return Some(newest);
        }
        let chain = self.chains.get(author.index())?;
        let held = chain.range(..first_of(round.next(), ReplicaId(0))).next_back().copied();
        let genesis = || BlockRef::genesis(author, self.genesis);
        held.or_else(|| (self.horizon == Round(0)).then(genesis))
    }

    /// The newest block ever seen of `author`.
    #[must_use]
    pub fn newest(&self, author: ReplicaId) -> Option<BlockRef> {
        self.newest.get(author.index()).copied()
    }

    /// The round of the newest block of `author` that is held, or that of the horizon.
    #[must_use]
    pub fn newest_held(&self, author: ReplicaId) -> Round {
        let held = self.chains.get(author.index()).and_then(|chain| chain.last());
        held.map_or(self.horizon, |newest| newest.round)
    }

    /// The header of the newest block ever seen of `author`.
    #[must_use]
    pub fn newest_header(&self, author: ReplicaId) -> Option<SignedHeader> {
        *self.headers.get(author.index())?
    }

    /// The neighbours of `reference` on its author's chain: the last block before its round, and
    /// the first one of its round or later that is not itself.
    pub fn neighbours(&self, reference: &BlockRef) -> impl Iterator<Item = &Verified<Block>> {
        let chain = self.chains.get(reference.author.index());
        let start = first_of(reference.round, ReplicaId(0));
        let before = chain.and_then(|chain| chain.range(..start).next_back());
        let after = chain.and_then(|chain| chain.range(start..).find(|other| *other != reference));
        before.into_iter().chain(after).filter_map(|neighbour| self.blocks.get(neighbour))
    }

    /// The part of the histories of `from`, themselves included, in rounds of at least `down_to`
    /// and above the horizon.
    #[must_use]
    pub fn history(
        &self,
        from: impl IntoIterator<Item = BlockRef>,
        down_to: Round,
    ) -> BTreeSet<BlockRef> {
        self.walk(from, |reference| reference.round >= down_to)
    }

    /// All blocks that can be reached from `from`, themselves included, through blocks that `enter`
    /// admits.
    pub fn walk(
        &self,
        from: impl IntoIterator<Item = BlockRef>,
        enter: impl Fn(&BlockRef) -> bool,
    ) -> BTreeSet<BlockRef> {
        let mut seen = BTreeSet::new();
        let mut open: Vec<BlockRef> = from.into_iter().collect();
        while let Some(reference) = open.pop() {
            // Most references are refused: that must cost no look-up.
            if !enter(&reference) || seen.contains(&reference) {
                continue;
            }
            if let Some(block) = self.blocks.get(&reference) {
                seen.insert(reference);
                open.extend(block.body.parents.iter().copied());
            }
        }
        seen
    }

    /// The block of `author` of the highest round up to `round` on the own chain that ends in
    /// `tip`. `None` when the chain leaves the DAG before.
    #[must_use]
    pub fn on_chain(&self, tip: &BlockRef, round: Round) -> Option<BlockRef> {
        let mut current = *tip;
        while current.round > round {
            current = *self.blocks.get(&current)?.body.previous()?;
        }
        Some(current)
    }

    /// Notes that `blocks`, which are held, are delivered, and lets go of what the oldest such carried:
    /// but of an author's two blocks of one round, since asking the log for one may bring the other.
    pub fn on_delivered(&mut self, blocks: &[Verified<Block>]) {
        let carrying = blocks.iter().filter(|block| !block.body.envelopes.is_empty());
        for block in carrying {
            self.carried.push_back((block.reference(), block.size()));
            self.carried_bytes += block.size();
        }
        while self.carried_bytes > CARRIED_BYTES_MAX
            && let Some((oldest, bytes)) = self.carried.pop_front()
        {
            self.carried_bytes -= bytes;
            let is_forked = self.of(oldest.round, oldest.author).nth(1).is_some();
            if let Some(block) = self.blocks.get_mut(&oldest).filter(|_| !is_forked) {
                let left = block.without_envelopes();
                self.bytes -= block.size() - left.size();
                *block = left;
            }
        }
    }

    /// What of this can be reached from the tips of `cut`, or lies at its horizon or below. `None` if anything
    /// is missing that its tips lead to above that horizon, or if that was forgotten.
    #[must_use]
    pub fn part(&self, cut: &Cut) -> Option<BTreeSet<BlockRef>> {
        let part = self.walk(cut.tips.iter().copied(), |reference| reference.round > cut.horizon);
        let parents = part.iter().filter_map(|reference| self.blocks.get(reference));
        let mut named = parents.flat_map(|block| &block.body.parents).chain(&cut.tips);
        let is_there = |it: &BlockRef| it.round <= cut.horizon || part.contains(it);
        if self.forgotten > cut.horizon || !named.all(is_there) {
            return None;
        }
        let below = self.blocks.range(..first_of(cut.horizon.next(), ReplicaId(0)));
        Some(below.map(|(reference, _)| *reference).chain(part.iter().copied()).collect())
    }

    /// Lets go of all that is not in `part`, of this DAG, and of any horizon that was only foreseen.
    pub fn retain(&mut self, part: &BTreeSet<BlockRef>) {
        self.horizon = self.forgotten;
        self.blocks.retain(|reference, _| part.contains(reference));
        self.chains.iter_mut().for_each(|chain| chain.retain(|it| part.contains(it)));
        self.carried.retain(|(reference, _)| part.contains(reference));
        self.carried_bytes = self.carried.iter().map(|(_, bytes)| bytes).sum();
        self.bytes = self.blocks.values().map(Verified::size).sum();
        let mut authors = BTreeSet::new();
        authors.extend(self.blocks.keys().map(|reference| (reference.round, reference.author)));
        self.widths.clear();
        authors.into_iter().for_each(|(round, _)| *self.widths.entry(round).or_default() += 1);
    }

    /// Has references to rounds up to `horizon` count as present, and forgets nothing: it is where the
    /// horizon will be once what is decided is delivered.
    pub fn pass(&mut self, horizon: Round) {
        self.horizon = self.horizon.max(horizon);
    }

    /// Forgets everything up to `horizon`, and returns it.
    pub fn forget(&mut self, horizon: Round) -> Vec<Verified<Block>> {
        if horizon <= self.forgotten {
            return Vec::new();
        }
        self.pass(horizon);
        self.forgotten = horizon;
        let end = first_of(horizon.next(), ReplicaId(0));
        let kept = self.blocks.split_off(&end);
        let forgotten = std::mem::replace(&mut self.blocks, kept);
        self.widths = self.widths.split_off(&horizon.next());
        for chain in &mut self.chains {
            *chain = chain.split_off(&end);
        }
        self.bytes -= forgotten.values().map(Verified::size).sum::<usize>();
        self.carried.retain(|(name, bytes)| {
            let is_held = name.round > horizon;
            self.carried_bytes -= if is_held { 0 } else { *bytes };
            is_held
        });
        forgotten.into_values().collect()
    }
}

/// The smallest reference of `author` in `round`.
fn first_of(round: Round, author: ReplicaId) -> BlockRef {
    BlockRef { round, author, digest: Digest([0; 32]) }
}

#[cfg(test)]
pub(crate) mod tests;
