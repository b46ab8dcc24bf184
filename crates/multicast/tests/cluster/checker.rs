//! What must hold at every step, whatever the network and the intruders do.

use std::collections::{BTreeMap, BTreeSet};

use ravelin_crypto::Verified;
use ravelin_model::{Block, BlockRef, CommitIndex, Misbehaviour, ReplicaId, Round};
use ravelin_multicast::{Committed, Event, Message, OrderingState};

/// Compares everything that correct replicas say, deliver and accuse.
pub(crate) struct Checker {
    seed: u64,
    intruders: BTreeSet<ReplicaId>,
    order: BTreeMap<CommitIndex, (BlockRef, Vec<BlockRef>, OrderingState)>,
    said: BTreeMap<(ReplicaId, Round), BlockRef>,
    certified: BTreeMap<(Round, ReplicaId), BlockRef>,
    /// Members against whom a correct replica holds a proof.
    pub(crate) proven: BTreeSet<ReplicaId>,
    /// Members of whom a correct replica thinks badly without proof.
    pub(crate) suspected: BTreeSet<ReplicaId>,
}

impl Checker {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed,
            intruders: BTreeSet::new(),
            order: BTreeMap::new(),
            said: BTreeMap::new(),
            certified: BTreeMap::new(),
            proven: BTreeSet::new(),
            suspected: BTreeSet::new(),
        }
    }

    pub(crate) fn on_intrusion(&mut self, intruder: ReplicaId) {
        self.intruders.insert(intruder);
    }

    /// A correct replica says one thing a round, in all its lives.
    pub(crate) fn on_said(&mut self, by: ReplicaId, message: &Message) {
        let Message::Block(block) = message else { return };
        let reference = block.reference();
        if reference.author == by {
            let first = self.said.entry((by, reference.round)).or_insert(reference);
            assert_eq!(*first, reference, "seed {}: {by} equivocates", self.seed);
        }
    }

    /// No correct replica is accused, even without proof.
    pub(crate) fn on_accused(&mut self, by: ReplicaId, whom: ReplicaId, what: &Misbehaviour) {
        let seed = self.seed;
        assert!(self.intruders.contains(&whom), "seed {seed}: {by} accuses {whom} of {what:?}");
        match what {
            Misbehaviour::Proven(_) => self.proven.insert(whom),
            Misbehaviour::Suspected(_) => self.suspected.insert(whom),
        };
    }

    pub(crate) fn on_event(
        &mut self,
        by: ReplicaId,
        horizon: Round,
        entered: &mut BTreeSet<BlockRef>,
        event: &Event,
    ) {
        match event {
            Event::Committed(committed) => self.on_committed(by, committed),
            Event::Certified(reference) => self.on_certified(by, reference),
            Event::Entered(block) => self.on_entered(by, horizon, entered, block),
            Event::Archive { .. } | Event::Standing(_) => {}
        }
    }

    fn on_committed(&mut self, by: ReplicaId, committed: &Committed) {
        let blocks: Vec<BlockRef> = committed.blocks.iter().map(Verified::reference).collect();
        let found = (committed.leader, blocks, committed.state.clone());
        let index = committed.state.commit;
        let first = self.order.entry(index).or_insert_with(|| found.clone());
        assert_eq!(*first, found, "seed {}: {by} differs in commit {index:?}", self.seed);
    }

    fn on_certified(&mut self, by: ReplicaId, reference: &BlockRef) {
        let slot = (reference.round, reference.author);
        let first = self.certified.entry(slot).or_insert(*reference);
        assert_eq!(first, reference, "seed {}: {by} has two certified blocks", self.seed);
    }

    fn on_entered(
        &self,
        by: ReplicaId,
        horizon: Round,
        entered: &mut BTreeSet<BlockRef>,
        block: &Verified<Block>,
    ) {
        let reference = block.reference();
        assert!(entered.insert(reference), "seed {}: {reference:?} enters twice", self.seed);
        for parent in &block.body.parents {
            let is_there = parent.round <= horizon || entered.contains(parent);
            assert!(is_there, "seed {}: {by} has {reference:?} before its parent", self.seed);
        }
    }

    /// Commits that any correct replica delivered.
    pub(crate) fn commits(&self) -> u64 {
        self.order.len() as u64
    }

    /// Authors of committed leaders, in order.
    pub(crate) fn leaders(&self) -> impl Iterator<Item = &BlockRef> {
        self.order.values().map(|(leader, _, _)| leader)
    }

    /// The ordering states after the commits, in order.
    pub(crate) fn states(&self) -> impl Iterator<Item = &OrderingState> {
        self.order.values().map(|(_, _, state)| state)
    }
}
