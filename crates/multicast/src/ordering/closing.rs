//! Ending an epoch from outside its order: everybody stops speaking, shows what it holds, and decides
//! what the union of that decides.
//!
//! Who plans what follows an epoch must know that nobody decides more in it. So a replica that says what
//! it holds decides nothing beyond that until it is told to go on.

use super::*;

/// How far an epoch is on its way to an end that its order does not know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Closing {
    /// It is not.
    #[default]
    Open,
    /// No more blocks are made here.
    Silent,
    /// Nor is anything decided.
    Held,
    /// What is here is decided, and nothing enters any more.
    Sealed,
}

impl<P: Payload> Ordering<P> {
    /// Makes no more blocks. What arrives is taken, and decided.
    pub fn close(&mut self) {
        if self.closing == Closing::Open {
            self.closing = Closing::Silent;
        }
    }

    /// Decides nothing more, and makes no more blocks, until [`Self::go_on`].
    pub fn hold(&mut self) {
        self.closing = Closing::Held;
    }

    /// Decides what can be decided, and goes on to: whoever does so must know where to stop.
    pub fn go_on(&mut self, now: Time, out: &mut Actions<Self>) {
        self.closing = Closing::Silent;
        self.decide(now, out);
    }

    /// Decides what the blocks in the DAG decide, and nothing more ever. Those that wait for parents stay
    /// out, although a commit may put the horizon above what they wait for: others do not have them.
    pub fn seal(&mut self, now: Time, out: &mut Actions<Self>) {
        self.closing = Closing::Sealed;
        self.decide(now, out);
        self.end();
    }

    pub(super) fn is_sealed(&self) -> bool {
        self.closing == Closing::Sealed
    }

    /// The newest blocks that are here with their histories, of each member that has any above the
    /// horizon.
    #[must_use]
    pub fn tips(&self) -> Vec<BlockRef> {
        let members = self.rule.group.members();
        let held = |member| self.dag.newest_until(member, self.dag.newest_held(member));
        let newest = members.filter_map(held);
        newest.filter(|tip| tip.round > self.dag.horizon() && tip.round > Round(0)).collect()
    }

    /// Takes note of a member's own newest block, by its own word.
    pub fn on_tip(&mut self, tip: BlockRef) {
        self.catch_up.on_seen(tip);
    }

    /// Asks `member` by name for those of its tips that are not here. Reading its log does not bring them
    /// all: that begins at the last commit, and a block that nobody refers to may lie before it.
    pub fn ask_for(&self, member: ReplicaId, tips: &[BlockRef], out: &mut Actions<Self>) {
        let lacking = tips.iter().filter(|tip| !self.dag.has(tip));
        let chain = |tip: &BlockRef| Chain { tip: *tip, after: self.dag.newest_held(tip.author) };
        let wanted: Vec<Chain> = lacking.take(FETCH_MAX).map(chain).collect();
        if !wanted.is_empty() {
            out.push(Action::Send(member, Message::Fetch(wanted)));
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.closing == Closing::Open
    }
}

#[cfg(test)]
mod tests;
