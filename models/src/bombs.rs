//! What two colluding servers can hang behind one block: every block that they can make.
//!
//! Seven servers, of which the first two, `A` and `B`, prepare blocks in secret while the five
//! correct ones link each other. In round 1 each of the two has two blocks; in every later round each
//! makes every block that the rules permit: over any own block of an earlier round, with any block
//! of the other one or none, exposing either, both or nobody. Each of these blocks is then the one
//! that they show, and its history is what everybody who links it must fetch.
//!
//! Left out, because it adds nothing to be fetched: blocks of the correct servers that link one of
//! the two (whoever reads them, has checked and fetched what they link before).

use std::collections::BTreeSet;

use ravelin_crypto::Verified;
use ravelin_model::{Block, BlockRef, FaultModel, ReplicaId, Round};
use ravelin_multicast::{Dag, validity};

use crate::keys::{Fork, Keys};
use crate::parents::proof_against;

const COLLUDERS: [ReplicaId; 2] = [ReplicaId(0), ReplicaId(1)];

/// What was found over all blocks that the two can show.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Blocks that the rules permit.
    pub permitted: u64,
    /// Blocks that they refuse.
    pub refused: u64,
    /// Permitted blocks that expose one of the two.
    pub exposing: u64,
    /// The most branches of one author in the history of a block that does not expose it.
    pub branches_unexposed: usize,
    /// The most branches of one author in a history.
    pub branches: usize,
    /// The most blocks of the two in a history.
    pub fetched: usize,
}

/// Explores all blocks of rounds up to `depth`.
#[must_use]
pub fn explore(depth: u64) -> Found {
    let keys = Keys::new(7, 2, FaultModel::Arbitrary);
    let dag = Dag::new(keys.keyring.group(), keys.keyring.genesis(), Round(0));
    let mut bombs = Bombs { keys, dag, found: Found::default() };
    for round in (1..=depth).map(Round) {
        bombs.prepare(round);
    }
    bombs.found
}

/// Everything that anybody has said so far.
struct Bombs {
    keys: Keys,
    dag: Dag,
    found: Found,
}

impl Bombs {
    /// Adds all blocks of `round`.
    fn prepare(&mut self, round: Round) {
        let mut made = self.correct_blocks(round);
        for author in COLLUDERS {
            made.extend(self.permitted_blocks(author, round));
        }
        made.into_iter().for_each(|block| self.dag.insert(block));
    }

    /// The correct servers link each other and nobody else.
    fn correct_blocks(&self, round: Round) -> Vec<Verified<Block>> {
        let newest = |member| self.dag.newest_until(member, round.minus(1)).expect("each round");
        let correct: Vec<ReplicaId> = self.correct().collect();
        let make = |author: &ReplicaId| {
            let others = correct.iter().filter(|member| *member != author);
            let parents = std::iter::once(author).chain(others).map(|member| newest(*member));
            self.keys.block(*author, round, parents.collect(), &Fork::default(), 0)
        };
        correct.iter().map(make).collect()
    }

    fn correct(&self) -> impl Iterator<Item = ReplicaId> {
        self.dag.group().members().filter(|member| !COLLUDERS.contains(member))
    }

    /// Every block of `author` for `round` that the rules permit; each is looked at as if shown.
    fn permitted_blocks(&mut self, author: ReplicaId, round: Round) -> Vec<Verified<Block>> {
        let other = if author == COLLUDERS[0] { COLLUDERS[1] } else { COLLUDERS[0] };
        let correct: Vec<BlockRef> = self
            .correct()
            .filter_map(|member| self.dag.newest_until(member, round.minus(1)))
            .collect();
        let linked = self.blocks_before(other, round).into_iter().map(Some).chain([None]);
        let linked: Vec<Option<BlockRef>> = linked.collect();
        let copies = if round == Round(1) { 2 } else { 1 };
        let mut permitted = vec![];
        for own in self.blocks_before(author, round) {
            for linked in &linked {
                let parents: Vec<BlockRef> =
                    std::iter::once(own).chain(*linked).chain(correct.iter().copied()).collect();
                for fork in self.exposures() {
                    for salt in 0..copies {
                        let block = self.keys.block(author, round, parents.clone(), &fork, salt);
                        if self.is_permitted(&block) {
                            self.look_at(&block);
                            permitted.push(block);
                        }
                    }
                }
            }
        }
        permitted
    }

    /// All blocks of `author` before `round`, its beginning included.
    fn blocks_before(&self, author: ReplicaId, round: Round) -> Vec<BlockRef> {
        let made = (1..round.0).map(Round).flat_map(|earlier| self.dag.of(earlier, author));
        std::iter::once(self.keys.genesis(author)).chain(made.map(|(at, _)| *at)).collect()
    }

    /// Nobody, either or both are exposed, with the proof and without.
    fn exposures(&self) -> Vec<Fork> {
        let mut all = vec![];
        for exposed in [&[][..], &COLLUDERS[..1], &COLLUDERS[1..], &COLLUDERS[..]] {
            let proofs = exposed.iter().filter_map(|member| proof_against(&self.dag, *member));
            all.push(Fork { exposed: exposed.to_vec(), proofs: proofs.collect() });
        }
        all
    }

    fn is_permitted(&mut self, block: &Verified<Block>) -> bool {
        let is_permitted = validity::is_well_formed(&self.dag, block)
            && validity::is_consistent(&self.dag, block, &|_| false);
        *if is_permitted { &mut self.found.permitted } else { &mut self.found.refused } += 1;
        is_permitted
    }

    /// Measures what hangs behind `block`.
    fn look_at(&mut self, block: &Verified<Block>) {
        let exposed = &block.body.exposed;
        self.found.exposing += u64::from(!exposed.is_empty());
        let mut history = self.dag.history(block.body.parents.iter().copied(), Round(1));
        history.insert(block.reference());
        let mut fetched = 0;
        for author in COLLUDERS {
            let blocks: BTreeSet<BlockRef> =
                history.iter().filter(|at| at.author == author).copied().collect();
            let continued: BTreeSet<BlockRef> = blocks
                .iter()
                .filter_map(
                    |at| if *at == block.reference() { Some(block) } else { self.dag.block(at) },
                )
                .filter_map(|made| made.body.previous().copied())
                .collect();
            let branches = blocks.difference(&continued).count();
            fetched += blocks.len();
            self.found.branches = self.found.branches.max(branches);
            if !exposed.contains(&author) {
                self.found.branches_unexposed = self.found.branches_unexposed.max(branches);
            }
        }
        self.found.fetched = self.found.fetched.max(fetched);
    }
}
