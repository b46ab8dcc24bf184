//! From one epoch to the next: `ordering.md`'s one rule for every change of who speaks.
//!
//! An operation that changes a member's key ends the epoch at the commit that brings it. That commit is
//! executed to its end; whatever the epoch's order holds beyond it is void, decided or not, and its
//! envelopes are proposed again. This replica then makes no more blocks in the epoch, makes the state
//! durable and signs the next epoch's plan, which names that state ([`crate::handover`]). With a
//! quorum's signatures the next epoch begins at round 0, with an order of its own.
//!
//! At every step a crash is harmless: the end is in the state with the commit that brought it, and the
//! next epoch begins with one durable write. As after any start, a replica asks the others before it
//! speaks in an epoch, for it may have been there in a life that its disk has lost.
//!
//! Whoever is late hears from the others that his epoch is over, reads the rest of it from their logs,
//! and executes the same end; they need not wait for him.

use std::time::Duration;

use ravelin_crypto::{Domain, check_successor, domain_digest, plan_digest};
use ravelin_model::{
    ClusterPlan, Epoch, EpochMessage, FaultModel, HandoverVote, LogEntry, Place, Rekey, SignedRekey,
};
use ravelin_multicast::{Authorship, CommitRule};

use super::reopening::{Reopens, forget_reopening};
use super::*;
use crate::handover::Handover;
use crate::members::Members;
use crate::state::private_key;

/// First byte of the keys of later epochs' plans in the private state; the epoch follows.
const PLAN: u8 = b'p';
/// Shortest pause between two hints to one peer that its epoch, or this replica's, is over.
const HINT_PAUSE: Duration = Duration::from_millis(100);
/// Pause before a replica asks for a key again.
const REKEY_PAUSE: Duration = Duration::from_secs(2);

/// What a replica knows of epochs beside the present one's order.
#[derive(Debug, Default)]
pub(super) struct Epochs {
    /// The end of the present one, while the next has not begun.
    pub(super) handover: Option<Handover>,
    /// Members' signatures to the plan that follows the present epoch, from before its end here.
    pub(super) early: BTreeMap<ReplicaId, HandoverVote>,
    /// The plan that follows, with a quorum's signatures, from before the epoch's end here.
    pub(super) known: Option<SignedPlan>,
    /// Who is followed next, while the present epoch has ended elsewhere.
    turn: u16,
    /// When each peer was last told something.
    hinted: BTreeMap<ReplicaId, Time>,
    /// When to ask for a new key, again.
    rekey_at: Option<Time>,
    /// Orders of administrators that end the present epoch.
    pub(super) reopens: Option<Reopens>,
    /// The last commit of the present epoch, if enough others say so.
    pub(super) until: Option<CommitIndex>,
    /// Whether the key is to be changed for no other reason than that it is wanted.
    is_wanted: bool,
}

impl Epochs {
    /// The last commit that may be executed here, as far as others ended the epoch.
    pub(super) fn end_elsewhere(&self) -> Option<CommitIndex> {
        self.known_end().into_iter().chain(self.until).min()
    }

    /// The last commit of the present epoch, if that has ended elsewhere and not here.
    pub(super) fn known_end(&self) -> Option<CommitIndex> {
        let known = self.known.as_ref().filter(|_| self.handover.is_none())?;
        known.plan.previous.map(|previous| previous.commit)
    }
}

impl Replica {
    /// The plans from the first to the present one.
    pub fn plans(&self) -> &[SignedPlan] {
        &self.plans
    }

    /// The present epoch's keys.
    pub fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// This replica's key in the present epoch.
    pub fn key(&self) -> &Arc<SigningKey> {
        &self.key
    }

    /// Sorts out blocks that were checked before this epoch began.
    pub(super) fn of_this_epoch(&self, message: Message) -> Message {
        let genesis = self.keyring.genesis();
        match message {
            Message::Block(block) if block.body.genesis != genesis => {
                let epoch = block.body.epoch;
                Message::Epoch(EpochMessage::Elsewhen { epoch, wanted: vec![] })
            }
            Message::Replayed(mut blocks) => {
                blocks.retain(|block| block.body.genesis == genesis);
                Message::Replayed(blocks)
            }
            other => other,
        }
    }

    /// Hands over a key that no plan has named, for when this replica needs another.
    pub fn add_key(&mut self, key: Arc<SigningKey>) {
        self.keys.push(key);
    }

    pub(super) fn has_ended(&self) -> bool {
        self.epochs.handover.is_some()
    }

    /// Takes note that the last commit ended the epoch: signs what follows.
    pub(super) fn on_end(&mut self, plan: ClusterPlan, out: &mut Out) {
        self.ordering.end();
        let commit = self.execution.state().commit();
        let mut handover = Handover::new(&self.keyring, (self.own, &self.key), commit, plan);
        if let Some(known) = &self.epochs.known
            && plan_digest(&known.plan) != handover.digest()
        {
            return self.halt(HaltReason::Diverged { commit }, out);
        }
        let mut complete = self.epochs.known.take();
        for vote in std::mem::take(&mut self.epochs.early).values() {
            complete = complete.or_else(|| handover.take(&self.keyring, vote));
        }
        self.epochs.handover = Some(handover);
        self.epochs.known = complete; // begun once the own signature comes back
    }

    /// What the order asks for after the epoch's end has no effect, but for answers to others. Own
    /// envelopes in it are proposed again.
    pub(super) fn on_void(&mut self, action: Action<Message, ordering::Event>, out: &mut Out) {
        match action {
            Action::Emit(ordering::Event::Committed(_))
                if mutants::is_active("void_envelopes_lost") => {}
            Action::Emit(ordering::Event::Committed(committed)) => {
                let own = committed.blocks.iter().filter(|it| it.body.author == self.own);
                for block in own {
                    self.ordering.payload_mut().give_back(&block.body.envelopes);
                }
            }
            Action::Emit(ordering::Event::Archive { to, part }) => {
                out.push(Action::Emit(Event::Archive { to, part }));
            }
            // It is in the DAG, and so among what this replica tells those who hold while the epoch is
            // reopened: they must find it here. That holds for its own, too, where it had lost them.
            Action::Persist(LogEntry::Whole(record)) if self.is_recorded_though_void(&record) => {
                out.push(Action::Persist(LogEntry::Whole(record)));
            }
            Action::Send(to, message) => out.push(Action::Send(to, message)),
            Action::Accuse(who, offence) => self.on_offence(who, offence, out),
            Action::Emit(_) | Action::Persist(_) | Action::Broadcast(_) | Action::Attest(_) => {}
        }
    }

    /// Whether a block that the order asks for after the epoch's end is in its DAG, and not only made and
    /// never said: in `hybrid`, where a wormhole attests what is made, an own one comes whole only from others.
    fn is_recorded_though_void(&self, record: &LogRecord) -> bool {
        let is_hybrid = self.keyring.group().model() == FaultModel::Hybrid;
        let author = Block::author_in(&record.bytes);
        let is_in_dag = author.is_some_and(|author| is_hybrid || author != self.own);
        is_in_dag && !mutants::is_active("void_blocks_not_recorded")
    }

    /// Does what the time demands, and begins the next epoch if it can.
    pub(super) fn advance_epoch(&mut self, now: Time, out: &mut Out) {
        if self.is_halted() {
            return;
        }
        if let Some(handover) = &mut self.epochs.handover
            && handover.is_due(now)
        {
            let vote = handover.vote();
            out.push(Action::Broadcast(Message::Epoch(EpochMessage::Handover(vote))));
        }
        // Its own signature comes back once all that decided the end is on the disk: only then may the
        // state say that the epoch is over.
        let own = self.own;
        if self.epochs.handover.as_ref().is_some_and(|handover| handover.is_signed_by(own))
            && let Some(plan) = self.epochs.known.take()
        {
            self.begin(now, plan, out);
        }
        self.end_where_others_did(now, out);
        self.advance_reopening(now, out);
        if self.ordering.may_follow()
            && let Some(member) = self.next_to_follow()
        {
            self.follow(now, member, out);
        }
        self.ask_for_key(now, out);
    }

    /// Those who hold the end of the epoch take turns, so that none who answers with nothing keeps the
    /// others from theirs. Whom to believe is not known: with a quorum's plan, that most hold it; without
    /// one, that one of those may who say so.
    pub(super) fn next_to_follow(&mut self) -> Option<ReplicaId> {
        let here = self.execution.state().commit();
        let (is_known, early) = (self.epochs.known.is_some(), &self.epochs.early);
        let says_so = |id: &ReplicaId| early.get(id).is_some_and(|vote| vote.commit > here);
        let others = self.keyring.group().members().filter(|id| *id != self.own);
        let holders = others.filter(|id| is_known || says_so(id));
        let turn = self.epochs.turn;
        let next = holders.min_by_key(|id| (id.0 < turn, id.0))?;
        self.epochs.turn = next.0 + 1;
        Some(next)
    }

    /// When [`Self::advance_epoch`] has something to do.
    pub(super) fn next_of_epochs(&self) -> Option<Time> {
        let handover = self.epochs.handover.as_ref().map(Handover::next);
        let reopens = self.epochs.reopens.as_ref().map(Reopens::next);
        handover.into_iter().chain(reopens).chain(self.epochs.rekey_at).min()
    }

    /// Takes what is said about epochs.
    pub(super) fn on_epoch_message(
        &mut self,
        now: Time,
        from: ReplicaId,
        message: EpochMessage,
        out: &mut Out,
    ) {
        match message {
            EpochMessage::Handover(_)
            | EpochMessage::Began(_)
            | EpochMessage::Rekey(_)
            | EpochMessage::Reopen(_)
            | EpochMessage::Closed(_)
                if self.is_fetching() => {} // the state that it goes on from brings the plans
            EpochMessage::Reopen(signed) => drop(self.on_reopening(now, *signed, out)),
            EpochMessage::Closed(closing) => self.on_closed(now, from, closing, out),
            EpochMessage::Handover(vote) => self.on_handover(now, from, vote, out),
            EpochMessage::Began(plan) => self.on_began(now, from, *plan, out),
            EpochMessage::Ask(epoch) => self.hint(now, from, epoch, out),
            EpochMessage::Rekey(signed) => self.on_rekey(now, from, signed, out),
            EpochMessage::Elsewhen { epoch, wanted } if epoch < self.keyring.epoch() => {
                if mutants::is_active("old_epoch_not_served") {
                    return;
                }
                let parts = wanted.into_iter();
                out.extend(parts.map(|part| Action::Emit(Event::Archive { to: from, part })));
                self.hint(now, from, epoch, out);
            }
            EpochMessage::Elsewhen { epoch, .. } => {
                self.transfers.on_epoch_of(from, epoch);
                self.ask_how_it_ended(now, from, out);
            }
        }
    }

    /// Takes a member's order for another key. Where nobody has a voice it may be all that shows who is in
    /// which epoch: learners make no blocks.
    fn on_rekey(&mut self, now: Time, from: ReplicaId, signed: SignedRekey, out: &mut Out) {
        let (theirs, here) = (signed.rekey.epoch, self.keyring.epoch());
        if theirs != here && !mutants::is_active("orders_of_other_epochs_ignored") {
            return match theirs < here {
                true => self.hint(now, from, theirs, out),
                false => self.ask_how_it_ended(now, from, out),
            };
        }
        // Who is known to be an offender gets no help; what is ordered decides for all.
        let is_offender = self.evidence.contains_key(&signed.rekey.member);
        if !self.has_ended() && !is_offender && self.execution.takes_order(&signed) {
            self.ordering.payload_mut().add_vote(Vote::Rekey(signed));
        }
    }

    /// Asks `member`, who is in a later epoch, how this one ended, but not too often.
    pub(super) fn ask_how_it_ended(&mut self, now: Time, member: ReplicaId, out: &mut Out) {
        if self.may_hint(now, member) {
            let ask = EpochMessage::Ask(self.keyring.epoch());
            out.push(Action::Send(member, Message::Epoch(ask)));
        }
    }

    fn on_handover(&mut self, now: Time, from: ReplicaId, vote: HandoverVote, out: &mut Out) {
        if vote.replica != from {
            return;
        }
        if vote.epoch < self.keyring.epoch() {
            return self.hint(now, from, vote.epoch, out);
        }
        if vote.epoch > self.keyring.epoch() {
            // Of who ended a later epoch this may be all that is ever heard.
            return self.ask_how_it_ended(now, from, out);
        }
        match &mut self.epochs.handover {
            Some(handover) => {
                let complete = handover.take(&self.keyring, &vote);
                self.epochs.known = self.epochs.known.take().or(complete);
            }
            None => drop(self.epochs.early.insert(from, vote)), // it is followed in its turn
        }
    }

    /// Takes the plan that follows the present epoch, if enough members signed it.
    fn on_began(&mut self, now: Time, from: ReplicaId, signed: SignedPlan, out: &mut Out) {
        let current = self.plans.last().expect("the first plan is there");
        let is_known = self.epochs.known.as_ref().is_some_and(|known| known.plan == signed.plan);
        if is_known || signed.plan.epoch != current.plan.epoch.next() {
            return;
        }
        if check_successor(&current.plan, &signed, self.keyring.scheme()).is_err() {
            return self.on_suspicion(from, Suspicion::BadSignature, out);
        }
        if self.epochs.known.is_some() {
            return self.halt(HaltReason::TwoPlans { epoch: signed.plan.epoch }, out);
        }
        let here = self.execution.state().commit();
        let ended = signed.plan.previous.map_or(here, |previous| previous.commit);
        let digest = plan_digest(&signed.plan);
        match &self.epochs.handover {
            Some(handover) if handover.digest() == digest => self.epochs.known = Some(signed),
            None if ended > here => {
                self.epochs.known = Some(signed);
                self.follow(now, from, out);
            }
            // This replica fetched that state as a checkpoint of the epoch which ended with it.
            None if self.execution.stands_before(&signed.plan) => self.begin(now, signed, out),
            // A quorum ended the epoch otherwise, or where this replica saw no end.
            Some(_) | None => self.halt(HaltReason::Diverged { commit: here }, out),
        }
    }

    /// Reads the rest of the epoch from `member`, which holds its end.
    pub(super) fn follow(&mut self, now: Time, member: ReplicaId, out: &mut Out) {
        let mut inner = Vec::new();
        self.ordering.follow(now, member, &mut inner);
        self.carry_out(inner, out);
    }

    /// Tells a peer in `epoch` how that ended, as far as this replica knows, but not too often.
    pub(super) fn hint(&mut self, now: Time, to: ReplicaId, epoch: Epoch, out: &mut Out) {
        let next = self.plans.iter().find(|signed| signed.plan.epoch == epoch.next());
        let message = match (&self.epochs.handover, next) {
            (_, Some(next)) => EpochMessage::Began(Box::new(next.clone())),
            (Some(handover), None) if epoch == self.keyring.epoch() => {
                EpochMessage::Handover(handover.vote())
            }
            _ => return,
        };
        if self.may_hint(now, to) {
            out.push(Action::Send(to, Message::Epoch(message)));
        }
    }

    fn may_hint(&mut self, now: Time, to: ReplicaId) -> bool {
        let last = self.epochs.hinted.get(&to);
        let may = to != self.own && last.is_none_or(|last| now.since(*last) >= HINT_PAUSE);
        if may {
            self.epochs.hinted.insert(to, now);
        }
        may
    }

    /// Begins the epoch of `signed`, in which the last commit put the state.
    pub(super) fn begin(&mut self, now: Time, signed: SignedPlan, out: &mut Out) {
        let old = self.plans.last().map(|signed| signed.plan.clone()).expect("there is a first");
        let keyring = Keyring::new(self.keyring.cluster(), &signed, self.keyring.scheme().clone());
        let keyring = keyring.expect("the plan was checked before members signed it");
        let ordering = epoch_start(&keyring, &signed.plan);
        let mut writes =
            vec![(plan_key(signed.plan.epoch), Some(signed.encode())), (LAST_BLOCK.to_vec(), None)];
        writes.extend(forget_reopening());
        let by_itself: BTreeSet<_> = keyring
            .group()
            .members()
            .filter(|member| self.execution.has_ordered(*member))
            .collect();
        writes
            .extend(self.forgive_changed(&old, &signed.plan, |member| by_itself.contains(&member)));
        let members = Members::new(keyring.clone(), signed.plan.clone(), None);
        self.execution.begin_epoch(members, ordering.clone(), writes);
        self.offering.on_epoch(self.execution.state_mut());
        let authorship = self.take_key(&keyring);
        self.keyring = keyring;
        self.transfers.forget_epochs();
        self.statements = Statements::new(self.keyring.clone(), self.own);
        let next = Ordering::new(Start {
            keyring: self.keyring.clone(),
            authorship,
            own: self.own,
            leaders: signed.plan.leaders_per_round,
            checkpoint_every: signed.plan.checkpoint_every,
            payload: Mempool::default(),
            state: Some(ordering),
            delivered: BTreeSet::new(),
            nonce: question(self.nonce, signed.plan.epoch),
            views: Views::Total,
        });
        let ended = std::mem::replace(&mut self.ordering, next);
        self.ordering.take_over_sources(&ended);
        *self.ordering.payload_mut() = ended.into_payload();
        self.ordering.payload_mut().begin_epoch();
        self.plans.push(signed.clone());
        self.forget_keys();
        self.epochs = Epochs::default();
        self.status = Status::Asking;
        out.push(Action::Emit(Event::Epoch(Box::new(signed))));
        self.resume(now, out);
    }

    /// Drops what was proven against members whose keys differ in the next plan, but for those who
    /// ordered that themselves; returns what to write.
    pub(super) fn forgive_changed(
        &mut self,
        old: &ClusterPlan,
        next: &ClusterPlan,
        is_own_order: impl Fn(ReplicaId) -> bool,
    ) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
        let of =
            |plan: &ClusterPlan, id: ReplicaId| plan.members.get(id.index()).map(|it| it.block);
        let accused: Vec<ReplicaId> = self.evidence.keys().copied().collect();
        let changed = accused.into_iter().filter(|id| of(old, *id) != of(next, *id));
        let forgiven: Vec<ReplicaId> = changed.filter(|id| !is_own_order(*id)).collect();
        forgiven.into_iter().flat_map(|id| self.forgive(id)).collect()
    }

    /// Asks for another key until the epoch ends, whatever for: somebody may have had a look at the
    /// present one.
    pub fn change_key(&mut self, now: Time, out: &mut Out) {
        self.epochs.is_wanted = true;
        self.advance_epoch(now, out);
    }

    /// A learner asks for a key that it has never used.
    fn ask_for_key(&mut self, now: Time, out: &mut Out) {
        let needs_key = self.epochs.is_wanted || self.status == Status::Learner;
        let may_ask = needs_key && !self.has_ended();
        let Some(spare) = may_ask.then(|| self.spare()).flatten() else {
            self.epochs.rekey_at = None;
            return;
        };
        if now < *self.epochs.rekey_at.get_or_insert(now) {
            return;
        }
        let rekey = Rekey {
            cluster: self.keyring.cluster(),
            incarnation: self.keyring.incarnation(),
            epoch: self.keyring.epoch(),
            member: self.own,
            block: spare.public(),
            instance: self.wormhole.map(|wormhole| wormhole.certificate),
        };
        let bytes = rekey.encode();
        let signature = self.identity.sign(Domain::Rekey, &bytes);
        let possession = spare.sign(Domain::Rekey, &bytes);
        let order = EpochMessage::Rekey(SignedRekey { rekey, signature, possession });
        self.epochs.rekey_at = Some(now.after(REKEY_PAUSE));
        out.push(Action::Broadcast(Message::Epoch(order)));
    }

    /// Takes the keys that are in force in the epoch of `keyring`.
    pub(super) fn take_key(&mut self, keyring: &Keyring) -> Authorship {
        let (key, speaks) = own_key(keyring, self.own, &self.keys);
        let (authorship, speaks) = authorship(keyring, self.own, (&key, speaks), self.wormhole);
        (self.key, self.speaks) = (key, speaks);
        authorship
    }

    /// An own key that no plan has named.
    fn spare(&self) -> Option<Arc<SigningKey>> {
        self.keys.iter().find(|key| !is_named(&self.plans, key)).cloned()
    }

    /// Erases own keys of earlier epochs: stolen together, a quorum's would forge another history.
    pub(super) fn forget_keys(&mut self) {
        let (present, plans) = (self.key.public(), &self.plans);
        self.keys.retain(|key| key.public() == present || !is_named(plans, key));
    }
}

/// Where the order begins in the epoch of `plan`, whose keys are `keyring`.
pub(crate) fn epoch_start(keyring: &Keyring, plan: &ClusterPlan) -> OrderingState {
    let rule = CommitRule::new(keyring.group(), plan.leaders_per_round);
    let first = OrderingState::first(keyring.group(), keyring.genesis(), rule.first_slot());
    match &plan.previous {
        Some(previous) => first.following(previous.commit, previous.time),
        None => first,
    }
}

fn is_named(plans: &[SignedPlan], key: &SigningKey) -> bool {
    let mut members = plans.iter().flat_map(|signed| &signed.plan.members);
    members.any(|member| member.block == key.public())
}

/// What ties answers to a start's question in an epoch: the nonce of [`Message::Recall`] at a start with
/// `nonce`.
#[must_use]
pub fn question(nonce: u64, epoch: Epoch) -> u64 {
    let digest = domain_digest("ravelin recall v1", &[&nonce.to_le_bytes(), &epoch.encode()]);
    u64::from_le_bytes(*digest.0.first_chunk().expect("a digest is longer"))
}

/// The own key that is a member's in this epoch, and whether there is one.
pub(super) fn own_key(
    keyring: &Keyring,
    own: ReplicaId,
    keys: &[Arc<SigningKey>],
) -> (Arc<SigningKey>, bool) {
    let in_force = keys.iter().find(|key| Some(&key.public()) == keyring.member(own));
    let any = in_force.or_else(|| keys.first()).expect("a replica has a key");
    (Arc::clone(any), in_force.is_some())
}

/// How this replica's blocks become authentic in this epoch, and whether they can: `speaks` if its
/// block key is in force.
pub(super) fn authorship(
    keyring: &Keyring,
    own: ReplicaId,
    (key, speaks): (&Arc<SigningKey>, bool),
    wormhole: Option<OwnWormhole>,
) -> (Authorship, bool) {
    if keyring.group().model() != FaultModel::Hybrid {
        return (Authorship::Key(Arc::clone(key)), speaks);
    }
    let named = keyring.wormhole(own).and_then(|wormhole| wormhole.instance);
    let is_named = wormhole.is_some_and(|it| Some(it.certificate.instance) == named);
    (Authorship::Wormhole(wormhole.and_then(|it| it.last)), speaks && is_named)
}

/// The plans of later epochs than the first that `backend` holds, in order.
///
/// # Panics
/// If the state was not written by this program.
#[must_use]
pub fn recorded_plans(backend: &dyn StateBackend) -> Vec<SignedPlan> {
    let mut plans = Vec::new();
    let (from, until) = (private_key(&[PLAN]), private_key(&[PLAN + 1]));
    backend.scan(&from, Some(&until), &mut |_, bytes| {
        let plan = SignedPlan::decode("plan", bytes);
        plans.push(plan.expect("the state holds what this replica wrote"));
        std::ops::ControlFlow::Continue(())
    });
    plans
}

/// The place up to which `backend` needs nothing of the log any more.
///
/// # Panics
/// If the state was not written by this program.
#[must_use]
pub fn recorded_place(backend: &dyn StateBackend) -> Place {
    let epoch = recorded_plans(backend).last().map_or(Epoch::FIRST, |signed| signed.plan.epoch);
    Place { epoch, round: execution::recorded_horizon(backend) }
}

pub(super) fn plan_key(epoch: Epoch) -> Vec<u8> {
    [&[PLAN], &epoch.0.to_be_bytes()[..]].concat()
}
