//! State transfer: how a replica that is too far behind, or has lost its state, gets that of the others.
//!
//! **Guarantee:** what it ends with is the state of a commit for which a quorum vouches, whatever `f`
//! of those whom it asks say: every part is checked by itself against the quorum's root, as it comes.
//! Assumes that one correct member keeps the state of a checkpoint for as long as it is asked for it,
//! or keeps a newer one; then the fetching ends.
//!
//! The others show which states they keep ([`TransferMessage::Offer`]); the newest that `f+1` of them
//! show is fetched from all of them at once. Of those that keep none, since they were restarted, `f+1`
//! that stand at the same commit will do. It is a tree of digests, fetched from the root downwards:
//! what the own state already has at a place is skipped, what it has too much goes, and what it lacks
//! is asked for by its path. So nothing is fetched twice: not after a restart, not when the state
//! sought is forgotten meanwhile and a newer one takes its place, and a state that differs in one entry
//! costs one entry. Where much is missing it is looked for in ranges of keys, which cost the others a
//! fraction of it (`transfer/bulk.rs`).
//!
//! | message | sent when | believed when |
//! |---|---|---|
//! | `Ask` | the own state will not do; once a second | - |
//! | `Offer` | asked | a quorum signed the checkpoint's statement, or the epoch's plan; where one stands, of `f+1` |
//! | `Want` | a peer is free, one at a time each | - |
//! | `Have` | asked | each node and value has the digest that the node above names |
//!
//! Bounded: entries agreed on and still to come ([`MISSING_MAX`]), one request a peer.
//!
//! # Source
//! The paper, section 4.5 (forward recovery) and 5.2 (masking needs as many correct states as votes).
//! The tree of digests as in M. Castro, *Practical Byzantine Fault Tolerance* (thesis, 2001), section
//! 5.3.2.

mod bulk;
mod fetch;
mod target;

use std::collections::BTreeMap;
use std::time::Duration;

use ravelin_crypto::{Keyring, check_successor};
use ravelin_model::transfer::{Offer, StateReply, StateRequest, TransferMessage};
use ravelin_model::{CommitIndex, Epoch, Group, ReplicaId, SignedPlan, Suspicion, Time, mutants};

use crate::state::State;

pub use bulk::{RANGE_KEY_BYTES_MAX, RANGES_FROM};
use fetch::Fetch;
pub use fetch::{ENTRIES_MAX, LEVELS_MAX, MISSING_MAX, SPOTS_MAX};
pub use target::Target;

/// Pause between two questions for what the others keep.
const ASK_PAUSE: Duration = Duration::from_secs(1);
/// How long other offers are waited for after the first.
const OFFERS_PATIENCE: Duration = Duration::from_secs(2);
/// How long a peer may take for an answer; doubles up to [`REPLY_PATIENCE_MAX`] each time it takes
/// longer, until it is fast again.
const REPLY_PATIENCE: Duration = Duration::from_secs(2);
/// Longest time for an answer.
const REPLY_PATIENCE_MAX: Duration = Duration::from_secs(8);
/// First rest of a peer that did not help; doubles up to [`REST_MAX`].
const REST: Duration = Duration::from_millis(250);
/// Longest rest.
const REST_MAX: Duration = Duration::from_secs(8);

/// The fetching of a state.
#[derive(Debug)]
pub struct Transfer {
    group: Group,
    /// The last commit that this replica was past when it began.
    since: CommitIndex,
    /// Plans shown and checked that follow the ones this replica has: more than fit into one offer.
    plans: Vec<SignedPlan>,
    peers: BTreeMap<ReplicaId, Peer>,
    ask_at: Time,
    /// States shown and not yet chosen from; when to choose.
    offers: BTreeMap<ReplicaId, Target>,
    choose_at: Time,
    /// Where others stand who keep no state that a quorum signed.
    presents: BTreeMap<ReplicaId, Target>,
    fetch: Option<Fetch>,
    /// As [`MISSING_MAX`].
    missing_max: usize,
    /// When to look again.
    next: Option<Time>,
}

/// One of the others.
#[derive(Debug, Default)]
struct Peer {
    /// What it was asked for, and when to give up on it.
    asked: Option<(fetch::Asked, Time)>,
    asked_at: Time,
    /// The epoch beyond which it was asked for plans and a state, until it answers.
    offer_of: Option<Epoch>,
    patience: Duration,
    /// Answers given up on, which may come yet.
    owed: u32,
    rest_until: Time,
    rest: Duration,
    /// Whether it no longer keeps the state that is being fetched.
    is_without: bool,
}

/// What a transfer wants sent.
pub type Sent = Vec<(ReplicaId, TransferMessage)>;

impl Transfer {
    /// Begins to look for a state beyond `since`.
    #[must_use]
    pub fn new(group: Group, own: ReplicaId, since: CommitIndex) -> Self {
        let others = group.members().filter(|member| *member != own);
        Self {
            group,
            since,
            plans: Vec::new(),
            peers: others.map(|member| (member, Peer::default())).collect(),
            ask_at: Time(0),
            offers: BTreeMap::new(),
            choose_at: Time(u64::MAX),
            presents: BTreeMap::new(),
            fetch: None,
            missing_max: MISSING_MAX,
            next: Some(Time(0)),
        }
    }

    /// Whether a state was chosen: the own one is no commit's any more.
    #[must_use]
    pub fn is_fetching(&self) -> bool {
        self.fetch.is_some()
    }

    /// Learns that this replica is past `commit` meanwhile, by itself: no older state will do.
    pub fn pass(&mut self, commit: CommitIndex) {
        self.since = self.since.max(commit);
        self.offers.retain(|_, target| target.commit > commit);
    }

    /// Takes what `from` shows to a replica whose last plan is `known`, with these keys. Cost: a
    /// signature for each member and epoch that was not shown before; one offer for each question.
    ///
    /// # Errors
    /// A [`Suspicion`] to count against its sender: no quorum vouches for it.
    pub fn on_offer(
        &mut self,
        now: Time,
        from: ReplicaId,
        (known, keyring): (&SignedPlan, &Keyring),
        offer: Offer,
    ) -> Result<(), Suspicion> {
        let asked = self.peers.get_mut(&from).and_then(|peer| peer.offer_of.take());
        let Some(asked) = asked.filter(|_| self.is_asking()) else { return Ok(()) };
        self.plans.retain(|signed| signed.plan.epoch > known.plan.epoch);
        let shown = offer.plans.last().map_or(asked, |signed| signed.plan.epoch);
        for next in offer.plans {
            let last = self.plans.last().unwrap_or(known);
            if next.plan.epoch > last.plan.epoch {
                check_successor(&last.plan, &next, keyring.scheme())
                    .map_err(|_| Suspicion::BadSignature)?;
                self.plans.push(next);
                self.presents.clear(); // those of the epoch before
            }
        }
        let last = self.plans.last().unwrap_or(known);
        if shown < last.plan.epoch {
            return Ok(()); // by now others have shown a later epoch
        }
        let Offer { checkpoint, present, .. } = offer;
        let offer = Offer { plans: Vec::new(), checkpoint, present: None };
        let certified = Target::judge(last, keyring, offer)?;
        let present = present.map(|present| Target::shown(last, keyring, present));
        let present = present.transpose()?.filter(|_| certified.is_none());
        if let Some(target) = certified.or_else(|| self.vouched(from, present)) {
            let plans = self.plans.clone();
            self.on_target(now, from, Target { plans, ..target });
        }
        Ok(())
    }

    /// Takes it that `from` stands there. The state, if enough stand there with it.
    fn vouched(&mut self, from: ReplicaId, present: Option<Target>) -> Option<Target> {
        let Some(present) = present.filter(|_| self.peers.contains_key(&from)) else {
            self.presents.remove(&from);
            return None;
        };
        let others = self.presents.iter().filter(|(member, _)| **member != from);
        let alike = 1 + others.filter(|(_, other)| other.is_as(&present)).count();
        self.presents.insert(from, present.clone());
        let needed = match mutants::is_active("place_of_one_believed") {
            true => 1,
            false => self.group.one_correct(),
        };
        (alike >= needed).then_some(present)
    }

    /// Takes a state that `from` shows, checked. Unasked ones have no effect.
    pub fn on_target(&mut self, now: Time, from: ReplicaId, target: Target) {
        let known = self.fetch.as_ref().map(Fetch::commit);
        if let Some(peer) = self.peers.get_mut(&from).filter(|_| Some(target.commit) == known) {
            peer.is_without = false; // it was meanwhile, of another
        }
        let is_news = target.commit > self.since && Some(target.commit) > known;
        if !is_news || !self.is_asking() || !self.peers.contains_key(&from) {
            return;
        }
        if self.offers.is_empty() {
            self.choose_at = now.after(OFFERS_PATIENCE);
        }
        self.offers.insert(from, target);
        if self.offers.len() >= self.group.one_correct() {
            self.choose_at = now;
        }
    }

    /// Takes a peer's answer.
    ///
    /// # Errors
    /// [`Suspicion::BadState`] to count against it: this is not what a quorum vouches for.
    pub fn on_reply(
        &mut self,
        now: Time,
        from: ReplicaId,
        reply: StateReply,
        state: &mut State,
    ) -> Result<(), Suspicion> {
        let Some(peer) = self.peers.get_mut(&from) else { return Ok(()) };
        let is_asked = |asked: &fetch::Asked| asked.commit() == reply.commit;
        if !peer.asked.as_ref().is_some_and(|(asked, _)| is_asked(asked)) {
            peer.owed = peer.owed.saturating_sub(1);
            return Ok(()); // late, or never asked for: it helps nobody
        }
        let (Some((asked, until)), Some(fetch)) = (peer.asked.take(), &mut self.fetch) else {
            return Ok(());
        };
        let still = (peer.owed > 0).then(|| asked.clone());
        let taken = fetch.take(asked, reply.found, state);
        if let (Err(_), Some(still)) = (&taken, still) {
            // The answer to an earlier request, which took too long: the one to this is to come.
            peer.owed -= 1;
            peer.asked = Some((still, until));
            return Ok(());
        }
        match taken {
            Ok(fetch::Taken::Helped) => peer.has_helped(now),
            Ok(fetch::Taken::Gone) => peer.is_without = reply.commit == fetch.commit(),
            Ok(fetch::Taken::Nothing) | Err(_) => peer.must_rest(now),
        }
        taken.map(drop)
    }

    /// Chooses a state to fetch, once enough were shown; whether it did. [`State::begin_fetching`] must
    /// follow, before [`Self::advance`].
    pub fn choose(&mut self, now: Time) -> bool {
        if now < self.choose_at {
            return false;
        }
        self.presents.clear();
        let newest = std::mem::take(&mut self.offers).into_values();
        self.choose_at = Time(u64::MAX);
        let Some(target) = newest.max_by_key(|target| target.commit) else { return false };
        match &mut self.fetch {
            Some(fetch) => fetch.redirect(target),
            None => self.fetch = Some(Fetch::new(target, self.missing_max)),
        }
        self.peers.values_mut().for_each(|peer| peer.is_without = false);
        true
    }

    /// Asks for what is missing. Returns what was sought, once all of it is in `state`.
    pub fn advance(
        &mut self,
        now: Time,
        (epoch, commit): (Epoch, CommitIndex),
        state: &mut State,
        out: &mut Sent,
    ) -> Option<Target> {
        if self.is_asking() && now >= self.ask_at {
            self.ask_at = now.after(ASK_PAUSE);
            // What the last plan follows is the oldest state of its epoch.
            let last = self.plans.last().map(|signed| &signed.plan);
            let begun = last.and_then(|plan| plan.previous).map(|it| it.commit.0.saturating_sub(1));
            let epoch = last.map_or(epoch, |plan| plan.epoch);
            let commit = commit.max(CommitIndex(begun.unwrap_or_default()));
            for (id, peer) in &mut self.peers {
                peer.offer_of = Some(epoch);
                out.push((*id, TransferMessage::Ask { epoch, commit }));
            }
        }
        let is_complete = self.ask_peers(now, state, out);
        self.next = self.next_after(now);
        if is_complete { self.fetch.take().map(Fetch::into_target) } else { None }
    }

    /// Asks every peer that is free for something; whether nothing is missing any more.
    fn ask_peers(&mut self, now: Time, state: &mut State, out: &mut Sent) -> bool {
        let Some(fetch) = &mut self.fetch else { return false };
        for peer in self.peers.values_mut() {
            if peer.asked.as_ref().is_some_and(|(_, until)| now >= *until)
                && !mutants::is_active("state_requests_never_expire")
                && let Some((asked, _)) = peer.asked.take()
            {
                fetch.give_back(asked, state);
                peer.has_kept_waiting(now);
            }
        }
        let mut asked = self.peers.values().filter_map(|peer| peer.asked.as_ref());
        let mut is_walking = asked.any(|(asked, _)| asked.is_walking());
        let peers = self.peers.iter_mut();
        let mut free: Vec<_> = peers.filter(|(_, peer)| peer.is_free(now)).collect();
        // Who did not help comes last, and all in turn: else those who never answer may take the one
        // thing that is wanted from each other for ever.
        free.sort_by_key(|(_, peer)| (peer.rest, peer.asked_at));
        for (id, peer) in free {
            if let Some(asked) = fetch.next(is_walking, state) {
                is_walking |= asked.is_walking();
                let request = StateRequest { commit: asked.commit(), wanted: asked.wanted() };
                out.push((*id, TransferMessage::Want(request)));
                let until = now.after(peer.patience.max(REPLY_PATIENCE));
                (peer.asked, peer.asked_at) = (Some((asked, until)), now);
            }
        }
        let is_waiting = self.peers.values().any(|peer| peer.asked.is_some());
        !is_waiting && fetch.is_complete(state)
    }

    /// When to look again, as [`Self::advance`] left it.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        self.next
    }

    /// When the next of what is waited for comes; who is free and was asked for nothing waits for what
    /// others are asked for.
    fn next_after(&self, now: Time) -> Option<Time> {
        let ask = self.is_asking().then_some(self.ask_at);
        let choose = (!self.offers.is_empty()).then_some(self.choose_at);
        let peers = self.peers.values().filter(|_| self.fetch.is_some());
        let peers = peers.filter_map(|peer| match &peer.asked {
            Some((_, until)) => Some(*until),
            None => (peer.rest_until > now && !peer.is_without).then_some(peer.rest_until),
        });
        let peers: Vec<Time> = peers.collect();
        let is_at_rest = peers.is_empty() && self.fetch.is_some() && ask.is_none();
        let again = is_at_rest.then(|| now.after(REST));
        ask.into_iter().chain(choose).chain(peers).chain(again).min()
    }

    /// Whether the others are to show what they keep: nothing was chosen, or a correct one no longer
    /// keeps it. One alone may say so to have everything begun anew, again and again. It is believed where
    /// nobody else helps: in `hybrid` only `f` others need be correct. This costs nothing that was fetched,
    /// and a liar must wait until all who are correct failed to help at once.
    fn is_asking(&self) -> bool {
        let without = self.peers.values().filter(|peer| peer.is_without).count();
        let is_alone = without > 0
            && self.peers.values().all(|peer| peer.is_without || !peer.is_helping())
            && !mutants::is_active("lone_gone_never_believed");
        let needed = match mutants::is_active("gone_of_one_believed") {
            true => 1,
            false => self.group.one_correct(),
        };
        self.fetch.is_none() || without >= needed || is_alone
    }
}

impl Peer {
    fn is_free(&self, now: Time) -> bool {
        self.asked.is_none() && !self.is_without && now >= self.rest_until
    }

    /// Whether it has not failed to help since it last did.
    fn is_helping(&self) -> bool {
        self.rest.is_zero()
    }

    fn has_helped(&mut self, now: Time) {
        (self.rest, self.rest_until) = (Duration::ZERO, now);
        if now.since(self.asked_at) <= REPLY_PATIENCE {
            self.patience = REPLY_PATIENCE;
        }
    }

    fn has_kept_waiting(&mut self, now: Time) {
        self.owed = self.owed.saturating_add(1);
        self.patience = (self.patience * 2).clamp(REPLY_PATIENCE * 2, REPLY_PATIENCE_MAX);
        self.must_rest(now);
    }

    fn must_rest(&mut self, now: Time) {
        self.rest = (self.rest * 2).clamp(REST, REST_MAX);
        self.rest_until = now.after(self.rest);
    }
}

#[cfg(test)]
mod tests;
