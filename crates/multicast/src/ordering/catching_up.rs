//! What a replica asks of others that it missed, and what it answers them.

use super::*;
use crate::following::Page;

impl<P: Payload> Ordering<P> {
    /// Takes a replay. Its blocks come after their parents, so one that cannot enter lacks something
    /// from before it, and so do those that build on it: a few of them show what to fetch. Were all
    /// of them to wait, each would be compared with the others at every replay, in vain.
    pub(super) fn on_replayed(
        &mut self,
        now: Time,
        from: ReplicaId,
        blocks: Vec<Verified<Block>>,
        out: &mut Actions<Self>,
    ) {
        let names: Vec<BlockRef> = blocks.iter().map(Verified::reference).collect();
        let known = names.iter().filter(|name| self.dag.has(name)).count();
        let mut waiting = 0;
        for block in blocks {
            if !self.has_parents(&block) && !self.parking.wants(&block.reference()) {
                waiting += 1;
                if waiting > REPLAYED_WAITING_MAX {
                    self.learn_proofs(&block, out);
                    continue;
                }
            }
            self.on_block(now, from, block, out);
            self.decide(now, out);
        }
        self.catch_up.on_replayed(now, from, self.dag.highest());
        let entered: Vec<_> = names.iter().filter(|name| self.dag.has(name)).collect();
        let last = entered.iter().map(|name| name.round).max().unwrap_or_default();
        let page = Page { last, is_news: entered.len() > known };
        self.following.on_replayed(now, from, page);
    }

    pub(super) fn on_fetch(&self, from: ReplicaId, wanted: &[BlockRef], out: &mut Actions<Self>) {
        let mut archived: Option<Round> = None;
        for reference in wanted.iter().take(FETCH_MAX) {
            let block = self.dag.block(reference).or_else(|| self.parking.block(reference));
            if let Some(block) = block {
                out.push(Action::Send(from, Message::Block(block.clone())));
            } else if reference.round <= self.dag.horizon() {
                let oldest = archived.map_or(reference.round, |round| round.min(reference.round));
                archived = Some(oldest);
            }
        }
        if let Some(oldest) = archived {
            out.push(Action::Emit(Event::Archive { to: from, from: self.place(oldest) }));
        }
    }

    /// The newest header that is known of `author`, for one who restarted.
    pub(super) fn newest_of(&self, author: ReplicaId) -> Option<SignedHeader> {
        let parked = self.parking.of(author).map(Verified::signed_header);
        let known = self.dag.newest_header(author).into_iter().chain(parked);
        known.max_by_key(|signed| signed.header.reference.round)
    }

    /// The last round of which missing blocks are asked for one by one. While this replica is behind, a
    /// replay brings the later ones; asking for them, too, would only take the answerers' time from it.
    pub(super) fn fetched_until(&self) -> Round {
        if self.is_behind() { self.dag.highest() } else { Round(u64::MAX) }
    }

    pub(super) fn request_missing(&mut self, now: Time, out: &mut Actions<Self>) {
        for (whom, wanted) in self.parking.due(now, self.fetched_until()) {
            for some in wanted.chunks(FETCH_MAX) {
                out.push(Action::Send(whom, Message::Fetch(some.to_vec())));
            }
        }
        let behind = self.catch_up.next_request(now, &self.dag);
        let committed = self.delivery.state().leader_round;
        let followed = self.following.next_request(now, committed);
        for (whom, from) in behind.into_iter().chain(followed) {
            out.push(Action::Send(whom, Message::Replay(from)));
        }
    }

    pub(super) fn place(&self, round: Round) -> Place {
        Place { epoch: self.keyring.epoch(), round }
    }
}
