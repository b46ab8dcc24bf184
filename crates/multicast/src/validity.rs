//! Which parents a block may have: rules that every replica judges alike from the block, its direct
//! parents and own chains, and that keep intruders from obliging others to fetch without bound.
//!
//! 1. Round 1 or later; parents of earlier rounds; first the author's own last block, then others
//!    ascending by author, one each.
//! 2. At least `q` parents of the round before, less one for each member that the block exposes. (Two
//!    sets of `q - e` among the `n - e` members that are not exposed still share a correct one, since
//!    at most `f - e` of them are intruded. Without this allowance a laggard and a proven forker could
//!    together leave too few blocks in a round for ever.)
//! 3. *Exposure.* A member is exposed when the history proves that it forked its chain. Whom a parent
//!    exposes, the block exposes; and it exposes nobody else without a proof of its own or a parent
//!    of the round before that does. An exposed member is no parent any more.
//! 4. *One chain an author.* For each member that is not exposed, every block of it that a parent
//!    refers to lies on the own chain of the block's own parent of that member. So the history of a
//!    block holds exactly one chain of every member it does not expose, and a tree of equivocating
//!    blocks prepared offline cannot hang behind one tip: before anyone can link two branches, they
//!    expose their author.
//!
//! A reference at or below the horizon counts as present and is not judged. Replicas with different
//! horizons may so differ for a while; the one that is behind judges again when its horizon, which
//! depends on committed leaders only, has moved on: refused blocks are not remembered.
//!
//! Deviation from the 16-round window first planned: `docs/adr/0005-one-chain-an-author.md`.

use ravelin_crypto::Verified;
use ravelin_model::{Block, BlockRef, Evidence, ReplicaId, Round, Vote, mutants};

use crate::Dag;

/// Whether the block's parents have a permitted shape: rules 1 and 2. Needs no DAG.
#[must_use]
pub fn is_well_formed(dag: &Dag, block: &Block) -> bool {
    let body = &block.body;
    let group = dag.group();
    let Some((own, others)) = body.parents.split_first() else { return false };
    let ascending = others.windows(2).all(|pair| match pair {
        [one, other] => one.author < other.author,
        _ => true,
    });
    let exposed_ascending = body.exposed.windows(2).all(|pair| match pair {
        [one, other] => one < other,
        _ => true,
    });
    let before = body.parents.iter().filter(|parent| parent.round.next() == body.round).count();
    own.author == body.author
        && ascending
        && exposed_ascending
        && others.iter().all(|parent| {
            parent.author != body.author
                && group.has(parent.author)
                && !body.exposed.contains(&parent.author)
        })
        && body.exposed.iter().all(|member| group.has(*member))
        && body.parents.iter().all(|parent| parent.round < body.round)
        && before + body.exposed.len() >= group.quorum()
        && before > 0
}

/// Whether the block keeps rules 3 and 4 toward its parents, all of which are in the DAG.
///
/// `is_proven`: whether this replica holds a proof that a member forked its chain; asked only about
/// blocks whose parents of the round before are forgotten.
#[must_use]
pub fn is_consistent(dag: &Dag, block: &Block, is_proven: &dyn Fn(ReplicaId) -> bool) -> bool {
    exposes_with_proof(dag, block, is_proven)
        && !is_contradicted(block, dag.horizon(), &|reference| dag.block(reference))
}

/// Whether what is known of the block's history shows already that it breaks rule 3 or 4: then
/// nothing more is fetched on its behalf.
///
/// `known`: looks up a block, in the DAG or waiting for it. What is not known speaks for the block.
#[must_use]
pub fn is_contradicted<'a>(
    block: &Block,
    horizon: Round,
    known: &dyn Fn(&BlockRef) -> Option<&'a Verified<Block>>,
) -> bool {
    let exposed = &block.body.exposed;
    block.body.parents.iter().filter_map(known).any(|parent| {
        parent.body.exposed.iter().any(|member| !exposed.contains(member))
            || parent.body.parents.iter().any(|link| {
                link.round > horizon
                    && link.round > Round(0)
                    && !exposed.contains(&link.author)
                    && leaves_chain(block, link, known)
            })
    })
}

/// Rule 4 for one link of a parent, above the horizon: whether it lies beside the own chain of the
/// block's own parent of that author.
fn leaves_chain<'a>(
    block: &Block,
    link: &BlockRef,
    known: &dyn Fn(&BlockRef) -> Option<&'a Verified<Block>>,
) -> bool {
    if mutants::is_active("one_chain_rule_dropped") {
        return false;
    }
    let Some(mut reached) = block.body.parent(link.author).copied() else { return true };
    while reached.round > link.round {
        match known(&reached).and_then(|on_chain| on_chain.body.previous()) {
            Some(previous) => reached = *previous,
            None => return false,
        }
    }
    reached != *link
}

/// Rule 3, second half: nobody is exposed without proof.
fn exposes_with_proof(dag: &Dag, block: &Block, is_proven: &dyn Fn(ReplicaId) -> bool) -> bool {
    let before = Round(block.body.round.0.saturating_sub(1));
    let is_forgotten = before <= dag.horizon() && before > Round(0);
    let near = block.body.parents.iter().filter(|parent| parent.round == before);
    let inherits = |member: &ReplicaId| {
        near.clone()
            .filter_map(|parent| dag.block(parent))
            .any(|parent| parent.body.exposed.contains(member))
    };
    block.body.exposed.iter().all(|member| {
        inherits(member) || proves_fork(block, *member) || (is_forgotten && is_proven(*member))
    })
}

/// Whether the block itself carries the proof that `member` forked its chain.
fn proves_fork(block: &Block, member: ReplicaId) -> bool {
    forkers(block).any(|accused| accused == member)
}

/// The members whose forks the block's own evidence proves.
pub fn forkers(block: &Block) -> impl Iterator<Item = ReplicaId> + '_ {
    block.body.votes.iter().filter_map(|vote| match vote {
        Vote::Evidence(evidence @ Evidence::Equivocation { .. }) => Some(evidence.accused()),
        _ => None,
    })
}

#[cfg(test)]
mod tests;
