//! What an ordering learns of members that forked their chains.

use super::*;

impl<P: Payload> Ordering<P> {
    /// Gives up on waiting blocks that break a rule by what is known since `arrived` came.
    pub(super) fn discard_contradicted(&mut self, arrived: &BlockRef, out: &mut Actions<Self>) {
        for broken in self.parking.contradicted(arrived, &self.dag) {
            self.parking.discard(&broken);
            out.push(bad_parents(broken.author));
        }
    }

    /// Compares a block with what is known of its author's chain. Returns whether another block of
    /// its author and round is known.
    pub(super) fn note_forks(&mut self, block: &Verified<Block>, out: &mut Actions<Self>) -> bool {
        let reference = block.reference();
        let signed = block.signed_header();
        let in_dag = self.dag.neighbours(&reference);
        let parked = self.parking.of(reference.author);
        let known: Vec<SignedHeader> =
            in_dag.chain(parked).map(|known| known.signed_header()).collect();
        let contradicting = known.iter().find(|known| known.header.contradicts(&signed.header));
        if let Some(first) = contradicting {
            self.learn_fork(Evidence::Equivocation { first: *first, second: signed }, out);
        }
        known.iter().any(|known| known.header.reference.round == reference.round)
    }

    /// Takes note of the proofs in a block even if the block has to wait: some that it refers to can
    /// only be judged with them.
    pub(super) fn learn_proofs(&mut self, block: &Block, out: &mut Actions<Self>) {
        for vote in &block.body.votes {
            if let Vote::Evidence(evidence @ Evidence::Equivocation { .. }) = vote {
                self.learn_fork(evidence.clone(), out);
            }
        }
    }

    pub(super) fn learn_fork(&mut self, evidence: Evidence, out: &mut Actions<Self>) {
        let accused = evidence.accused();
        if accused == self.own {
            return self.recall.on_unknown_own_block(out);
        }
        if self.forks.learn(&evidence) {
            out.push(Action::Accuse(accused, Misbehaviour::Proven(evidence)));
        }
    }
}
