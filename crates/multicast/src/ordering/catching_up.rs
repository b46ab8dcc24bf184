//! What a replica asks of others that it missed, and what it answers them.

use super::*;
use crate::following::Page;
use crate::parking::FETCH_PATIENCE;

/// How a block came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// By itself.
    Sent,
    /// With a page of its sender's log.
    Replayed,
}

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
        let before = self.dag.highest();
        let mut waiting = 0;
        for block in blocks {
            if !has_parents(&block, &self.dag) && !self.parking.wants(&block.reference()) {
                waiting += 1;
                if waiting > REPLAYED_WAITING_MAX {
                    self.learn_proofs(&block, out);
                    continue;
                }
            }
            self.on_block(now, (from, Way::Replayed), block, out);
            self.decide(now, out);
        }
        let entered: Vec<_> = names.iter().filter(|name| self.dag.has(name)).collect();
        let last = entered.iter().map(|name| name.round).max().unwrap_or_default();
        let rounds = self.dag.highest().0.saturating_sub(before.0);
        let page = Page { last, is_news: entered.len() > known, rounds };
        self.catch_up.on_replayed(now, from, page, self.dag.highest());
        self.following.on_replayed(now, from, page);
    }

    /// Answers a fetch, newest blocks first: each is then one that another waits for, and so is taken
    /// even if its author forked its chain. What lies behind the horizon, or is not held whole, is in the
    /// log.
    /// A peer that asks more often than it need is answered within the same bounds.
    pub(super) fn on_fetch(
        &mut self,
        now: Time,
        from: ReplicaId,
        wanted: &[Chain],
        out: &mut Actions<Self>,
    ) {
        let Some(fetched) = self.fetched.get_mut(from.index()) else { return };
        if now.since(fetched.since) >= FETCH_PATIENCE {
            *fetched = Fetched { since: now, blocks: 0, bytes: 0 };
        }
        let Fetched { mut blocks, mut bytes, .. } = *fetched;
        let mut archived = Vec::new();
        'wanted: for chain in wanted.iter().take(FETCH_MAX) {
            let mut next = Some(chain.tip);
            while let Some(name) = next.filter(|name| name.round > chain.after) {
                let block = self.dag.whole(&name).or_else(|| self.parking.block(&name));
                let Some(block) = block else {
                    if self.dag.has(&name) {
                        archived.push(Chain { tip: name, after: chain.after });
                    }
                    break;
                };
                (blocks, bytes) = (blocks + 1, bytes + block.size());
                if blocks > FETCHED_BLOCKS_MAX || (blocks > 1 && bytes > FETCHED_BYTES_MAX) {
                    break 'wanted;
                }
                out.push(Action::Send(from, Message::Block(block.clone())));
                next = block.body.previous().copied();
            }
        }
        if mutants::is_active("late_blocks_looked_for_in_their_rounds") {
            let oldest = archived.iter().map(|chain| chain.after.next()).min();
            let parts = oldest.into_iter().map(|round| LogPart::From(self.place(round)));
            return out.extend(parts.map(|part| Action::Emit(Event::Archive { to: from, part })));
        }
        let since = fetched.since;
        *fetched = Fetched { since, blocks, bytes };
        for part in LogPart::of_chains(self.keyring.epoch(), self.rule.group, &archived) {
            out.push(Action::Emit(Event::Archive { to: from, part }));
        }
    }

    /// The newest header that is known of `author`, for one who restarted.
    pub(super) fn newest_of(&self, author: ReplicaId) -> Option<SignedHeader> {
        let parked = self.parking.of(author).map(Verified::signed_header);
        let known = self.dag.newest_header(author).into_iter().chain(parked);
        known.max_by_key(|signed| signed.header.reference.round)
    }

    /// Asks the author of a block that was too far ahead to be kept for others' blocks on which that
    /// builds: they show that it is not alone there. What is kept has them asked for in any case.
    pub(super) fn ask_who_else_is_there(&self, block: &Verified<Block>, out: &mut Actions<Self>) {
        let reference = block.reference();
        let is_kept = self.dag.has(&reference) || self.parking.has(&reference);
        if is_kept || self.is_behind() || mutants::is_active("blocks_not_kept_show_nothing") {
            return;
        }
        let others = block.body.parents.iter().skip(1).filter(|parent| !self.dag.has(parent));
        let chain = |tip: &BlockRef| Chain { tip: *tip, after: tip.round.minus(1) };
        let wanted: Vec<Chain> = others.take(FETCH_MAX).map(chain).collect();
        if !wanted.is_empty() {
            out.push(Action::Send(reference.author, Message::Fetch(wanted)));
        }
    }

    /// The last round of which missing blocks are asked for one by one. While this replica is behind, a
    /// replay brings the later ones; asking for them, too, would only take the answerers' time from it.
    pub(super) fn fetched_until(&self) -> Round {
        if self.is_behind() { self.dag.highest() } else { Round(u64::MAX) }
    }

    pub(super) fn request_missing(&mut self, now: Time, out: &mut Actions<Self>) {
        let held = |author| (!self.forks.has(author)).then(|| self.dag.newest_held(author));
        let until = self.fetched_until();
        for (whom, wanted) in self.parking.due(now, until, &held) {
            for some in wanted.chunks(FETCH_MAX) {
                out.push(Action::Send(whom, Message::Fetch(some.to_vec())));
            }
        }
        let behind = self.catch_up.next_request(now, self.dag.highest());
        let followed = self.following.next_request(now, self.foreseen_leader());
        for (whom, from) in behind.into_iter().chain(followed) {
            out.push(Action::Send(whom, Message::Replay(from)));
        }
    }

    pub(super) fn place(&self, round: Round) -> Place {
        Place { epoch: self.keyring.epoch(), round }
    }
}

#[cfg(test)]
mod tests;
