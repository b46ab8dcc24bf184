//! The end of an ordering: its epoch is over, here or elsewhere.

use super::*;

impl<P: Payload> Ordering<P> {
    /// Learns that the epoch is over at `member`, which must hold what decided that: this replica asks it
    /// for everything from its own last commit on, until [`Self::into_payload`] ends this ordering. Cost
    /// of a lie: the liar's own answers.
    pub fn follow(&mut self, now: Time, member: ReplicaId, out: &mut Actions<Self>) {
        self.following.follow(now, member);
        self.request_missing(now, out);
    }

    /// Whether nobody is being followed now: the one before did not help.
    #[must_use]
    pub fn may_follow(&self) -> bool {
        !self.is_over && self.following.is_free()
    }

    /// Ends this ordering: gives up where blocks got their contents from, with the envelopes of own
    /// blocks that were not delivered given back.
    #[must_use]
    pub fn into_payload(mut self) -> P {
        let is_void =
            |reference: &&BlockRef| reference.author == self.own && !self.delivery.has(reference);
        let void = self.undelivered.iter().filter(is_void);
        let void = void.filter_map(|reference| self.dag.block(reference));
        let is_coming = |made: &&Verified<Block>| {
            made.body.round >= self.dag.horizon() && !self.dag.has(&made.reference())
        };
        let coming = self.made.iter().filter(is_coming);
        for block in void.chain(coming) {
            if !mutants::is_active("void_envelopes_lost") {
                self.payload.give_back(&block.body.envelopes);
            }
        }
        self.payload
    }

    /// Forbids this replica to speak: none of its keys is a member's.
    pub fn mute(&mut self, out: &mut Actions<Self>) {
        self.recall.on_unknown_own_block(out);
    }

    /// The epoch is over: this replica makes and takes no more blocks, and answers those who are not
    /// there yet.
    pub fn end(&mut self) {
        self.is_over = true;
    }
}
