//! Which parents a block can have that keeps the rules: shared by random search and models.

use std::collections::{BTreeMap, BTreeSet};

use ravelin_crypto::Verified;
use ravelin_model::{Block, BlockRef, Evidence, ReplicaId, Round};
use ravelin_multicast::Dag;

use crate::keys::{Fork, proof};

/// Makes the parents of a block that has seen `seen` consistent: links what they link, and exposes
/// whom they show to have forked. `None` if its author would have to expose itself.
pub(crate) fn complete(
    dag: &Dag,
    own: BlockRef,
    mut seen: BTreeMap<ReplicaId, BlockRef>,
) -> Option<(Vec<BlockRef>, Fork)> {
    let mut exposed = BTreeSet::new();
    loop {
        let parents = || std::iter::once(own).chain(seen.values().copied());
        let blocks: Vec<_> = parents().filter_map(|at| dag.block(&at)).collect();
        let before = (exposed.len(), seen.clone());
        exposed.extend(blocks.iter().flat_map(|block| block.body.exposed.iter().copied()));
        for link in blocks.iter().flat_map(|block| &block.body.parents) {
            if link.round == Round(0) || exposed.contains(&link.author) {
                continue;
            }
            if link.author == own.author {
                if !is_below(dag, link, &own) {
                    return None;
                }
                continue;
            }
            match seen.get(&link.author).copied() {
                Some(tip) if is_below(dag, link, &tip) => {}
                Some(tip) if !is_below(dag, &tip, link) => {
                    exposed.insert(link.author);
                }
                _ => {
                    seen.insert(link.author, *link);
                }
            }
        }
        seen.retain(|member, _| !exposed.contains(member));
        if before == (exposed.len(), seen.clone()) {
            break;
        }
    }
    let proofs = exposed.iter().filter_map(|member| proof_against(dag, *member)).collect();
    let parents = std::iter::once(own).chain(seen.into_values()).collect();
    Some((parents, Fork { exposed: exposed.into_iter().collect(), proofs }))
}

/// Whether `old` lies on the own chain that ends in `new`.
fn is_below(dag: &Dag, old: &BlockRef, new: &BlockRef) -> bool {
    let reached = (new.round >= old.round).then(|| dag.on_chain(new, old.round)).flatten();
    old.round == Round(0) || reached == Some(*old)
}

/// The proof that `member` forked, from any two of its blocks.
pub(crate) fn proof_against(dag: &Dag, member: ReplicaId) -> Option<Evidence> {
    let rounds = (1..=dag.highest().0).map(Round);
    let blocks: Vec<&Verified<Block>> =
        rounds.flat_map(|round| dag.of(round, member)).map(|(_, block)| block).collect();
    let pairs = blocks.iter().flat_map(|one| blocks.iter().map(move |other| (*one, *other)));
    let mut contradicting = pairs.filter(|(one, other)| {
        one.signed_header().header.contradicts(&other.signed_header().header)
    });
    contradicting.next().map(|(one, other)| proof(one, other))
}
