//! Who forked its chain: the proofs, and what a block must say of them.
//!
//! **Guarantee:** whoever holds a block that exposes a member holds the proof too, or gets it with
//! the first block of a correct replica that refers there. A correct replica proves in the first of
//! its blocks that exposes, whatever its parents say already, and again every [`REPEATED`] rounds,
//! so that the horizon never hides a proof and a restarted replica finds it in its log.

use ravelin_crypto::Verified;
use ravelin_model::limits::GC_DEPTH;
use ravelin_model::{Block, Evidence, Group, ReplicaId, Round};

/// Rounds after which a proof is given again.
const REPEATED: u64 = GC_DEPTH / 2;

/// Proof against each member that forked its chain.
#[derive(Clone, Debug)]
pub(crate) struct Forks(Vec<Option<Evidence>>);

impl Forks {
    pub(crate) fn new(group: Group) -> Self {
        Self(vec![None; group.size()])
    }

    pub(crate) fn of(&self, member: ReplicaId) -> Option<&Evidence> {
        self.0.get(member.index())?.as_ref()
    }

    pub(crate) fn has(&self, member: ReplicaId) -> bool {
        self.of(member).is_some()
    }

    /// Keeps the first proof against a member; returns whether this is it.
    pub(crate) fn learn(&mut self, evidence: &Evidence) -> bool {
        match self.0.get_mut(evidence.accused().index()) {
            Some(known @ None) => {
                *known = Some(evidence.clone());
                true
            }
            _ => false,
        }
    }

    /// The proofs that the author's block of `round` carries; `previous` is its block before.
    pub(crate) fn due(
        &self,
        round: Round,
        previous: Option<&Verified<Block>>,
    ) -> impl Iterator<Item = Evidence> {
        let is_repeated = round.0.is_multiple_of(REPEATED);
        let is_new = move |member: ReplicaId| {
            previous.is_none_or(|block| !block.body.exposed.contains(&member))
        };
        let proofs = self.0.iter().flatten();
        proofs.filter(move |proof| is_repeated || is_new(proof.accused())).cloned()
    }
}
