//! Fetching the state from the others, and showing it to them ([`crate::transfer`]).
//!
//! A replica looks for another state when its own will not do: it is further behind than can be read
//! from the others' logs in good time, be it by rounds or because whole epochs passed it by; or it gets no
//! further that way, or too slowly. It goes on as before until it finds
//! one. From then on it takes part in nothing and answers no client, for what it holds is no commit's,
//! until it has all of the other; then it goes on from there as after any start: it asks what the others
//! know of its blocks before it makes another.

use std::time::Duration;

use ravelin_model::transfer::{Found, StateReply, StateRequest, TransferMessage};
use ravelin_model::{Epoch, Group};

use super::*;
use crate::offering;
use crate::transfer::{Sent, Target, Transfer};

/// How long a replica that is behind may get no further before it looks for another's state.
const STALLED_MAX: Duration = Duration::from_secs(5);
/// How long a replica reads blocks before it looks for a state if it is still far behind by then: it is
/// slower than it seemed, and a state may bring it further than it comes by itself.
const READING_MAX: Duration = Duration::from_secs(5);
/// The part of the lag beyond which a state is fetched at once that is far behind by then. With 2048
/// rounds and a checkpoint every 1024 commits, nearer there is hardly a state that helps.
const FAR_PART: u64 = 4;
/// Shortest pause between two offers to one peer.
const OFFER_PAUSE: Duration = Duration::from_millis(500);
/// How long nothing was committed before a replica shows where it stands.
const STANDING_MIN: Duration = Duration::from_millis(500);
/// Commits that a replica makes up for about as fast as it does for one round.
const COMMITS_OF_ROUND: u64 = 2;
/// Rounds for which an epoch counts that both began and ended while a replica was behind: how long it was
/// is known only once its blocks are read, and each takes its own reading, its own end on the disk, and
/// its own question what followed. Twice the rounds that a server reads of one epoch.
const EPOCH_ROUNDS: u64 = 4096;

/// Where this replica stands with others' states and its own.
#[derive(Debug, Default)]
pub(super) struct Transfers {
    /// Rounds behind at which a state is fetched rather than the blocks.
    lag_max: u64,
    pub(super) after_fetch: AfterFetch,
    under_way: Option<Transfer>,
    /// The commit at which this replica stands, and since when, while it is behind.
    stalled: Option<(CommitIndex, Time)>,
    /// Since when this replica has been behind.
    behind_since: Option<Time>,
    /// The last commit when this replica was last asked for a state, and since when it was that.
    standing: Option<(CommitIndex, Time)>,
    /// The epoch in which each peer last said something, if that was after this replica's.
    epochs: BTreeMap<ReplicaId, Epoch>,
    /// When each peer was last offered something.
    offered: BTreeMap<ReplicaId, Time>,
    /// How many states were fetched in this life.
    count: u64,
}

/// How far the others came while this replica fetched the state that it goes on from. Another fetch
/// would leave it as far behind, so only one that is much further behind fetches again: else none of
/// whom the others outrun by [`Transfers::lag_max`] in that time would ever read their blocks.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum AfterFetch {
    /// It fetched none since it was last level with them.
    #[default]
    None,
    /// It has one now, and has not heard yet where they are.
    Unheard,
    /// So many rounds.
    Behind(u64),
}

/// How many times as far behind as the last fetch left it a replica is that does better to fetch again.
const LAG_AGAIN: u64 = 2;

impl Transfers {
    pub(super) fn new(lag_max: u64) -> Self {
        Self { lag_max, ..Self::default() }
    }

    /// Learns that `member` speaks in `epoch`.
    pub(super) fn on_epoch_of(&mut self, member: ReplicaId, epoch: Epoch) {
        let known = self.epochs.entry(member).or_insert(epoch);
        *known = epoch.max(*known);
    }

    /// Forgets in which epochs others spoke: who lied in one need not be the same as who lies in the next.
    pub(super) fn forget_epochs(&mut self) {
        self.epochs.clear();
    }

    /// How many epochs after `here` both began and ended, at least as one correct member shows.
    pub(super) fn epochs_missed(&self, here: Epoch, group: Group) -> u64 {
        let mut epochs: Vec<Epoch> = self.epochs.values().copied().collect();
        epochs.sort_unstable_by(|one, other| other.cmp(one));
        let rank = match mutants::is_active("epochs_of_one_believed") {
            true => 0,
            false => group.one_correct() - 1,
        };
        let present = epochs.get(rank).copied().unwrap_or(here);
        present.0.saturating_sub(here.next().0)
    }

    /// Whether a replica which is behind does better to fetch a state than to read blocks: it is at `here`,
    /// `lag` rounds behind, and lacks so many commits of an epoch that has ended.
    pub(super) fn is_another_better(
        &mut self,
        now: Time,
        here: CommitIndex,
        lag: u64,
        missing: u64,
    ) -> bool {
        let stalled = self.stalled.filter(|(at, _)| *at == here);
        let (_, stalled_since) = *self.stalled.insert(stalled.unwrap_or((here, now)));
        let behind_since = *self.behind_since.get_or_insert(now);
        let lag_max = self.lag_allowed(lag);
        let is_beyond = |most: u64| lag > most || missing > most.saturating_mul(COMMITS_OF_ROUND);
        // Who goes on from a state that it fetched reads as long as that takes.
        let is_slow =
            now.since(behind_since) >= READING_MAX && matches!(self.after_fetch, AfterFetch::None);
        is_beyond(lag_max)
            || (is_slow && is_beyond(lag_max / FAR_PART))
            || now.since(stalled_since) >= STALLED_MAX
    }

    /// Rounds that a replica which is `lag` behind now makes up for by the others' blocks.
    pub(super) fn lag_allowed(&mut self, lag: u64) -> u64 {
        if matches!(self.after_fetch, AfterFetch::Unheard) && lag > 0 {
            self.after_fetch = AfterFetch::Behind(lag);
        }
        match self.after_fetch {
            AfterFetch::Behind(lag) => self.lag_max.max(lag.saturating_mul(LAG_AGAIN)),
            AfterFetch::None | AfterFetch::Unheard => self.lag_max,
        }
    }
}

impl Replica {
    /// Whether what this replica holds is no commit's: it is fetching another's state.
    #[must_use]
    pub fn is_fetching(&self) -> bool {
        self.status == Status::Fetching
    }

    /// How many states this replica fetched since its start.
    #[must_use]
    pub fn fetched_count(&self) -> u64 {
        self.transfers.count
    }

    /// The part of this replica's state that a peer asks for, to be sent to it.
    #[must_use]
    pub fn state_part(&self, request: &StateRequest) -> Message {
        match self.is_fetching() {
            true => {
                let gone = StateReply { commit: request.commit, found: Found::Gone };
                Message::Transfer(TransferMessage::Have(gone))
            }
            false => Message::Transfer(offering::answer(self.execution.state(), request)),
        }
    }

    pub(super) fn on_transfer_message(
        &mut self,
        now: Time,
        from: ReplicaId,
        message: TransferMessage,
        out: &mut Out,
    ) {
        match message {
            TransferMessage::Ask { epoch, commit } => {
                let last = self.transfers.offered.get(&from);
                let is_due = last.is_none_or(|last| now.since(*last) >= OFFER_PAUSE);
                if is_due && from != self.own && !self.is_fetching() {
                    self.transfers.offered.insert(from, now);
                    self.offering.on_ask(self.execution.state_mut());
                    self.keep_if_standing(now, commit);
                    let state = self.execution.state();
                    let offer = self.offering.offer(&self.plans, (epoch, commit), state);
                    let offer = TransferMessage::Offer(Box::new(offer));
                    out.push(Action::Send(from, Message::Transfer(offer)));
                }
            }
            TransferMessage::Want(request) => {
                self.offering.on_want(self.execution.state_mut(), request.commit);
                out.push(Action::Emit(Event::Serve { to: from, request }));
            }
            TransferMessage::Offer(offer) => {
                let Some(transfer) = &mut self.transfers.under_way else { return };
                let known = self.plans.last().expect("the first plan is there");
                let here = (known, &self.keyring);
                if let Err(suspicion) = transfer.on_offer(now, from, here, *offer) {
                    self.on_suspicion(from, suspicion, out);
                }
            }
            TransferMessage::Have(reply) => {
                let Some(transfer) = &mut self.transfers.under_way else { return };
                let state = self.execution.state_mut();
                if let Err(suspicion) = transfer.on_reply(now, from, reply, state) {
                    self.on_suspicion(from, suspicion, out);
                }
            }
        }
    }

    /// Keeps the state as it is for one who is past `asker`, if nothing changes it.
    fn keep_if_standing(&mut self, now: Time, asker: CommitIndex) {
        let commit = self.execution.state().commit();
        let since = self.transfers.standing.filter(|(at, _)| *at == commit);
        let (_, since) = *self.transfers.standing.insert(since.unwrap_or((commit, now)));
        if now.since(since) >= STANDING_MIN && !self.has_ended() {
            self.offering.on_standstill(self.execution.state_mut(), asker);
        }
    }

    /// Goes on with what an earlier life began to fetch.
    pub(super) fn resume_fetching(&mut self, out: &mut Out) {
        let Some(since) = self.execution.state().fetching_since() else { return };
        self.execution.state_mut().begin_fetching();
        self.ordering.end();
        let group = self.keyring.group();
        self.transfers.under_way = Some(Transfer::new(group, self.own, since));
        self.status = Status::Fetching;
        out.push(Action::Emit(Event::Status(self.status.clone())));
    }

    /// Looks for another state if it must, and does what is due in fetching it.
    pub(super) fn advance_transfer(&mut self, now: Time, out: &mut Out) {
        if self.is_halted() || self.has_ended() {
            return;
        }
        if !self.is_fetching() {
            match (self.needs_state(now), &self.transfers.under_way) {
                (false, _) => return self.transfers.under_way = None,
                (true, None) => {
                    let (group, since) = (self.keyring.group(), self.execution.state().commit());
                    self.transfers.under_way = Some(Transfer::new(group, self.own, since));
                }
                (true, Some(_)) => {}
            }
        }
        let Some(mut transfer) = self.transfers.under_way.take() else { return };
        if !self.is_fetching() {
            transfer.pass(self.execution.state().commit());
        }
        if transfer.choose(now) && !self.is_fetching() {
            self.execution.state_mut().begin_fetching();
            self.ordering.end();
            self.status = Status::Fetching;
            out.push(Action::Emit(Event::Status(self.status.clone())));
        }
        let mut sent = Sent::new();
        let state = self.execution.state_mut();
        let since = state.fetching_since().unwrap_or_else(|| state.commit());
        let done = transfer.advance(now, (self.keyring.epoch(), since), state, &mut sent);
        let messages = sent.into_iter();
        out.extend(messages.map(|(to, it)| Action::Send(to, Message::Transfer(it))));
        match done {
            Some(target) => self.install(now, target, out),
            None => self.transfers.under_way = Some(transfer),
        }
    }

    /// When [`Self::advance_transfer`] has something to do.
    pub(super) fn next_of_transfers(&self) -> Option<Time> {
        if self.has_ended() {
            return None;
        }
        let stalled = self.transfers.stalled.map(|(_, since)| since.after(STALLED_MAX));
        let is_looking = self.transfers.under_way.is_some();
        let under_way = self.transfers.under_way.as_ref().and_then(Transfer::next_deadline);
        under_way.into_iter().chain(stalled.filter(|_| !is_looking)).min()
    }

    /// Whether this replica does better to fetch a state than to go on as it does.
    fn needs_state(&mut self, now: Time) -> bool {
        let commit = self.execution.state().commit();
        let known = self.epochs.known_end();
        let missed = self.transfers.epochs_missed(self.keyring.epoch(), self.keyring.group());
        if known.is_none() && !self.ordering.is_behind() && missed == 0 {
            (self.transfers.stalled, self.transfers.behind_since) = (None, None);
            if self.status == Status::Active {
                self.transfers.after_fetch = AfterFetch::None;
            }
            return false;
        }
        let lag = self.ordering.lag().saturating_add(missed.saturating_mul(EPOCH_ROUNDS));
        let missing = known.map_or(0, |end| end.0.saturating_sub(commit.0));
        self.transfers.is_another_better(now, commit, lag, missing)
    }

    /// Goes on from `target`, which the state holds now.
    fn install(&mut self, now: Time, target: Target, out: &mut Out) {
        let Target { mut plans, keyring, commit, position, root, ordering, delivered } = target;
        let old = self.plans.last().map(|signed| signed.plan.clone()).expect("there is a first");
        plans.retain(|next| next.plan.epoch > old.epoch);
        self.plans.extend(plans.iter().cloned());
        let plan = self.plans.last().map(|signed| signed.plan.clone()).expect("there is a first");
        let is_same = plan.epoch == old.epoch;
        let mut also = self.forgive_changed(&old, &plan, |_| false);
        also.extend(
            plans.iter().map(|next| (epochs::plan_key(next.plan.epoch), Some(next.encode()))),
        );
        also.push((LAST_BLOCK.to_vec(), is_same.then(|| self.ordering.last().encode())));
        let horizon = ordering.horizon();
        let members = Members::new(keyring.clone(), plan.clone(), None);
        let progress = execution::Progress { position, ordering: ordering.clone() };
        self.execution.install(members, (commit, root), (progress, &delivered), also);
        let authorship = self.take_key(&keyring);
        self.keyring = keyring;
        self.statements = Statements::new(self.keyring.clone(), self.own);
        self.offering = Offering::default();
        self.transfers.count += 1;
        (self.transfers.stalled, self.transfers.behind_since) = (None, None);
        self.transfers.forget_epochs();
        self.transfers.after_fetch = AfterFetch::Unheard;
        let nonce = question(self.nonce, plan.epoch).wrapping_add(self.transfers.count);
        let next = Ordering::new(Start {
            keyring: self.keyring.clone(),
            authorship,
            own: self.own,
            leaders: plan.leaders_per_round,
            checkpoint_every: plan.checkpoint_every,
            payload: Mempool::default(),
            state: Some(ordering),
            delivered,
            nonce,
            views: Views::Total,
        });
        let ended = std::mem::replace(&mut self.ordering, next);
        self.ordering.take_over_sources(&ended);
        reopening::hold_if_held(&mut self.ordering, self.execution.state(), plan.epoch);
        let left = ended.into_remains(horizon);
        let payload = match is_same {
            true => self.ordering.take_over(left),
            false => left.into_void_payload(),
        };
        *self.ordering.payload_mut() = payload;
        if !is_same {
            self.ordering.payload_mut().begin_epoch();
            self.forget_keys();
        }
        self.epochs = Epochs::default();
        for (connection, message) in self.clients.jump(position) {
            out.push(Action::Emit(Event::ToClient(connection, message)));
        }
        self.status = Status::Asking;
        if let Some(signed) = self.plans.last().filter(|_| !is_same) {
            out.push(Action::Emit(Event::Epoch(Box::new(signed.clone()))));
        }
        out.push(Action::Emit(Event::Status(self.status.clone())));
        self.resume(now, out);
    }
}
