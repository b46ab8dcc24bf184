//! The states that this replica keeps for those who fetch one.
//!
//! **Guarantee:** what is offered is a checkpoint for which a quorum vouches, or the state in which
//! the epoch began; it is shown as it was, while execution goes on. Bounded: [`HELD_MAX`] states, and
//! the memory that [`crate::state`] grants them.
//!
//! What vouches for the newest of them stands beside the state, with what leads back to it: so a replica
//! that was restarted has it again. Where that did not outlast the stop, there is none until the next
//! checkpoint, which may never come: the others may need the one who fetches for any further commit. So
//! while nothing is committed they show where they stand, which is believed of `f+1` that stand there.

use std::collections::VecDeque;
use std::ops::ControlFlow;

use crate::execution::{self, Progress};
use crate::state::State;
use crate::transfer::{ENTRIES_MAX, LEVELS_MAX, Target};
use ravelin_crypto::Keyring;
use ravelin_model::limits::PEER_MESSAGE_BYTES_MAX;
use ravelin_model::transfer::{
    Checkpoint, Found, Offer, Present, StateReply, StateRequest, TransferMessage, Wanted,
};
use ravelin_model::{
    BlockRef, CommitIndex, Decode as _, Encode as _, Epoch, Position, Round, SignedPlan,
    SignedStatement, mutants,
};

/// States kept at once: the newest that a quorum signed, one before it that is being fetched, one that a
/// quorum has not signed yet, and the last one, for who is past all of these.
pub const HELD_MAX: usize = 4;
/// Bytes of blocks that may be committed after a state while it is kept for who asks for it: the log
/// from there on is kept too, so who asks for ever, or lies, must not decide how long.
pub const OUTLIVED_BYTES_MAX: u64 = 256 << 20;
/// Nodes in one answer, 128 bytes each.
pub const NODES_MAX: usize = 1024;
/// Bytes of entries in one answer, beyond its first entry.
pub const ENTRY_BYTES_MAX: usize = 128 << 10;
/// Entries in one answer about a range.
pub const RANGE_ENTRIES_MAX: usize = 1024;
/// Entries looked at for it: some are new since the commit.
pub const RANGE_LOOKS_MAX: usize = 2048;
/// Bytes of present values, beyond which a range is answered with what was found: they are read even
/// where another one was there then.
const RANGE_READ_BYTES_MAX: usize = 1 << 20;
/// Bytes of plans in one offer.
const PLANS_BYTES_MAX: usize = 1 << 20;

/// Checkpoints that a quorum signs after somebody last asked, until nobody is thought to need a state.
const INTEREST: u8 = 2;

/// The states kept, oldest first.
#[derive(Debug, Default)]
pub struct Offering {
    held: VecDeque<Held>,
    /// How many more such checkpoints may take the memory that a fetched state may.
    interest: u8,
    /// Bytes of blocks committed since the start.
    committed_bytes: u64,
}

#[derive(Debug)]
struct Held {
    commit: CommitIndex,
    /// The last position given out by then.
    position: Position,
    /// Who goes on from it needs the blocks of later rounds.
    horizon: Round,
    checkpoint: Checkpoint,
    kind: Kind,
    /// Whether somebody asked for a part of it since a quorum last signed a checkpoint.
    is_asked_for: bool,
    /// Bytes of blocks committed until then.
    at_bytes: u64,
}

/// What vouches for a state that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Nothing yet: a checkpoint that a quorum has not signed.
    Checkpoint,
    /// A quorum, or the epoch's plan.
    Certified,
    /// Only that others stand there too.
    Present,
}

impl Offering {
    /// Takes back what an earlier life vouched for, if `state` leads back to it, and a quorum of the epoch
    /// of `plan` signed it, or that began with it: what stands on the disk is not believed. Cost: a
    /// signature for each member.
    #[must_use]
    pub fn recall(state: &mut State, plan: &SignedPlan, keyring: &Keyring) -> Self {
        let mut all = Self::default();
        if state.fetching_since().is_some() || mutants::is_active("vouched_state_forgotten") {
            return all;
        }
        let recorded = state.vouched();
        let recorded = recorded.and_then(|word| Checkpoint::decode("checkpoint", &word).ok());
        let is_recalled =
            recorded.is_some_and(|known| all.take_back(state, (plan, keyring), known));
        if !is_recalled {
            state.forget_way_back();
            let beginning = Checkpoint::of_beginning();
            if all.take_back(state, (plan, keyring), beginning.clone()) {
                state.vouch(state.commit(), beginning.encode());
            }
        }
        all
    }

    /// Keeps the state that `checkpoint` vouches for, if the present one leads back to it; whether it
    /// does.
    fn take_back(
        &mut self,
        state: &mut State,
        (plan, keyring): (&SignedPlan, &Keyring),
        checkpoint: Checkpoint,
    ) -> bool {
        let offer =
            Offer { plans: Vec::new(), checkpoint: Some(checkpoint.clone()), present: None };
        let Ok(Some(target)) = Target::judge(plan, keyring, offer) else { return false };
        let is_back = state.lead_back(target.commit, target.root);
        if is_back {
            // The rest of the log is executed again before anybody can ask: nor may that take it away.
            self.on_ask(state);
            let horizon = target.ordering.horizon();
            self.held.push_back(Held {
                commit: target.commit,
                position: target.position,
                horizon,
                checkpoint,
                kind: Kind::Certified,
                is_asked_for: false,
                at_bytes: 0,
            });
        }
        is_back
    }

    /// Takes note of blocks that a commit ordered.
    pub fn on_commit(&mut self, bytes: u64) {
        self.committed_bytes += bytes;
    }

    /// Keeps the state after the last commit, a checkpoint at which the order stood thus.
    pub fn on_checkpoint(
        &mut self,
        state: &mut State,
        progress: &Progress,
        delivered: impl IntoIterator<Item = BlockRef>,
    ) {
        self.keep(state, progress, delivered, Kind::Checkpoint);
    }

    /// Keeps the state after the last commit, for which no quorum may ever vouch, for one who is past
    /// `asker`. One such state is kept, and none where there is something better to show.
    pub fn on_standstill(&mut self, state: &mut State, asker: CommitIndex) {
        let last = state.commit();
        let is_known = self.held.iter().any(|held| held.commit == last);
        if last <= asker || is_known || self.certified_after(asker, state).is_some() {
            return;
        }
        let Some((progress, delivered)) = execution::progress(state) else { return };
        self.held.retain(|held| {
            let stays = held.kind != Kind::Present;
            if !stays {
                state.release(held.commit);
            }
            stays
        });
        self.keep(state, &progress, delivered, Kind::Present);
    }

    fn keep(
        &mut self,
        state: &mut State,
        Progress { position, ordering }: &Progress,
        delivered: impl IntoIterator<Item = BlockRef>,
        kind: Kind,
    ) {
        let horizon = ordering.horizon();
        let (ordering, delivered) = (ordering.encode(), delivered.into_iter().collect());
        let checkpoint = Checkpoint { statements: Vec::new(), ordering, delivered };
        self.hold(state, checkpoint, (*position, horizon, kind));
    }

    /// Keeps the state after the last commit, which ended an epoch, and forgets those of that epoch:
    /// its keys prove nothing any more.
    pub fn on_epoch(&mut self, state: &mut State) {
        for held in self.held.drain(..) {
            state.release(held.commit);
        }
        let checkpoint = Checkpoint::of_beginning();
        let word = checkpoint.encode();
        self.hold(state, checkpoint, (Position(0), Round(0), Kind::Certified)); // the plan has both
        state.vouch(state.commit(), word);
    }

    /// A quorum signed the checkpoint of this commit: older ones go, but for one that is being fetched.
    pub fn on_certified(
        &mut self,
        state: &mut State,
        commit: CommitIndex,
        statements: Vec<SignedStatement>,
    ) {
        let Some(certified) = self.held.iter_mut().find(|held| held.commit == commit) else {
            return;
        };
        certified.checkpoint.statements = statements;
        certified.kind = Kind::Certified;
        state.vouch(commit, certified.checkpoint.encode());
        self.interest = self.interest.saturating_sub(1);
        state.set_fetched(self.is_needed());
        self.held.retain_mut(|held| {
            let is_asked_for = std::mem::take(&mut held.is_asked_for);
            let is_in_use = is_asked_for && state.has_version(held.commit);
            let outlived = self.committed_bytes - held.at_bytes;
            let may_stay = held.kind == Kind::Certified && outlived < OUTLIVED_BYTES_MAX;
            let stays = held.commit >= commit || (is_in_use && may_stay);
            if !stays {
                state.release(held.commit);
            }
            stays
        });
    }

    /// What there is for one who knows `plans` up to that of `epoch`, and is past `commit`.
    #[must_use]
    pub fn offer(
        &self,
        plans: &[SignedPlan],
        (epoch, commit): (Epoch, CommitIndex),
        state: &State,
    ) -> Offer {
        let mut room = PLANS_BYTES_MAX;
        let later = plans.iter().filter(|signed| signed.plan.epoch > epoch);
        let fitting = later.clone().take_while(|signed| {
            let left = room.checked_sub(signed.encode().len());
            room = left.unwrap_or_default();
            left.is_some()
        });
        let shown: Vec<SignedPlan> = fitting.cloned().collect();
        let is_all = shown.len() == later.count();
        let certified = self.certified_after(commit, state).filter(|_| is_all);
        let last = self.held.back().filter(|held| held.commit == state.commit());
        let is_bare = certified.is_none() && is_all && state.commit() > commit;
        let last = last.filter(|held| is_bare && held.kind != Kind::Certified);
        Offer {
            plans: shown,
            checkpoint: certified.map(|held| held.checkpoint.clone()),
            present: last.map(|held| held.present(state)),
        }
    }

    /// The newest state that a quorum vouches for and one who is past `commit` may fetch.
    fn certified_after(&self, commit: CommitIndex, state: &State) -> Option<&Held> {
        let certified = self.held.iter().filter(|held| held.kind == Kind::Certified);
        certified.rev().find(|held| held.commit > commit && state.has_version(held.commit))
    }

    /// Who goes on from a state that is kept needs nothing of the log up to this round.
    #[must_use]
    pub fn horizon(&self) -> Option<Round> {
        self.held.iter().map(|held| held.horizon).min()
    }

    /// Notes that somebody asked for a state. One that is kept, or is next to be, may then take more
    /// memory: under load it would go before who needs it learns of it.
    pub fn on_ask(&mut self, state: &mut State) {
        self.interest = INTEREST;
        state.set_fetched(true);
    }

    /// Whether somebody is thought to need a state.
    #[must_use]
    pub fn is_needed(&self) -> bool {
        self.interest > 0
    }

    /// Notes that a part of the state after `commit` was asked for.
    pub fn on_want(&mut self, state: &mut State, commit: CommitIndex) {
        if let Some(held) = self.held.iter_mut().find(|held| held.commit == commit) {
            held.is_asked_for = true;
            self.on_ask(state);
        }
    }

    fn hold(
        &mut self,
        state: &mut State,
        checkpoint: Checkpoint,
        (position, horizon, kind): (Position, Round, Kind),
    ) {
        let Some(commit) = state.hold() else { return };
        self.held.push_back(Held {
            commit,
            position,
            horizon,
            checkpoint,
            kind,
            is_asked_for: false,
            at_bytes: self.committed_bytes,
        });
        while self.held.len() > HELD_MAX {
            let newest = self.held.iter().rposition(|held| held.kind == Kind::Certified);
            let oldest = self.held.remove(usize::from(newest == Some(0)));
            oldest.into_iter().for_each(|held| state.release(held.commit));
        }
    }
}

impl Held {
    /// As the state of one who stands there.
    fn present(&self, state: &State) -> Present {
        let Checkpoint { ordering, delivered, .. } = self.checkpoint.clone();
        let (commit, position) = (self.commit, self.position);
        Present { commit, position, state: state.root(), ordering, delivered }
    }
}

/// The part of `state` that `request` asks for, or the beginning of it. Cost: a lookup for each node,
/// two reads of the backend for each entry by path; ranges are read in a row.
#[must_use]
pub fn answer(state: &State, request: &StateRequest) -> TransferMessage {
    let commit = request.commit;
    let found = match &request.wanted {
        _ if !state.has_version(commit) => Found::Gone,
        Wanted::Nodes { levels, spots } => {
            let levels = usize::from(*levels.min(&LEVELS_MAX));
            let mut left = NODES_MAX;
            let shown = spots.iter().map_while(|spot| {
                let nodes = state.expand(commit, spot, levels, left).filter(|_| left > 0)?;
                left -= nodes.len();
                Some(nodes)
            });
            Found::Nodes(shown.collect())
        }
        Wanted::Entries(paths) => {
            let mut left = ENTRY_BYTES_MAX;
            let mut shown = Vec::new();
            for path in paths.iter().take(ENTRIES_MAX) {
                let Some(entry) = state.entry_at(commit, path) else { break };
                let bytes = entry.0.len() + entry.1.len();
                if bytes > left && !shown.is_empty() {
                    break;
                }
                left = left.saturating_sub(bytes);
                shown.push(entry);
            }
            Found::Entries(shown)
        }
        Wanted::Range { from, until } => range((state, commit), from, until.as_deref()),
    };
    TransferMessage::Have(StateReply { commit, found })
}

/// The beginning of a range as it was after a commit, but for what was removed since.
fn range((state, commit): (&State, CommitIndex), from: &[u8], until: Option<&[u8]>) -> Found {
    let (mut entries, mut next) = (Vec::new(), None);
    let (mut left, mut looks, mut read) = (ENTRY_BYTES_MAX, 0, 0);
    state.visit_at(commit, (from, until), &mut |key, present, value| {
        let bytes = value.map_or(0, |value| key.len() + value.len());
        let is_full = entries.len() == RANGE_ENTRIES_MAX
            || looks == RANGE_LOOKS_MAX
            || read >= RANGE_READ_BYTES_MAX;
        if is_full || (bytes > left && !entries.is_empty()) {
            next = Some(key.to_vec());
            return ControlFlow::Break(());
        }
        looks += 1;
        read += key.len() + present.len();
        left = left.saturating_sub(bytes);
        entries.extend(value.map(|value| (key.to_vec(), value.to_vec())));
        ControlFlow::Continue(())
    });
    Found::Range { entries, next }
}

const _: () = assert!(NODES_MAX * 128 + ENTRY_BYTES_MAX + PLANS_BYTES_MAX < PEER_MESSAGE_BYTES_MAX);

#[cfg(test)]
mod tests;
