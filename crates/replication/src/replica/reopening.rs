//! An epoch that administrators end, because the wormholes that count in it are gone.
//!
//! Whoever hears of the order makes no more blocks, tells the others the newest block that it holds of
//! each member, and reads from them what it lacks. Once it has heard from all who are not declared lost
//! and lacks nothing of what they hold, it *holds*: it decides nothing beyond what it then says again.
//! When all say the same, each decides what there is to decide, and signs the plan that follows, like
//! after any end of an epoch.
//!
//! **Guarantee:** with at most `f` members intruded or declared lost, the plan that follows names a state
//! in which all is executed that any correct member ever showed, and only one such plan gets a quorum's
//! signatures. For a correct member signs only what all correct members hold and decide nothing beyond
//! of, and only once; one that holds more since then said so before it decided it, and signs no other
//! plan than what the rest signed. A crash in between: that a member holds is durable before it says so.
//!
//! # Source
//! Sections 4.5 and 5.5 of the paper: forward recovery by an authority outside the intruder's reach.

use std::time::Duration;

use ravelin_crypto::{check_reopening, domain_digest};
use ravelin_model::{
    Closing, EpochMessage, FaultModel, Reopening, ReopeningVerdict, SignedReopening,
};

use super::*;

/// Key of the epoch in which this replica holds, in the private state.
const HELD: &[u8] = b"c";
/// Pause before a member tells again what it holds.
const TELL_PAUSE: Duration = Duration::from_millis(200);

/// An order under way.
#[derive(Debug)]
pub(super) struct Reopens {
    signed: SignedReopening,
    digest: Digest,
    /// What the others hold.
    heard: BTreeMap<ReplicaId, Closing>,
    /// What was said last.
    said: Option<Closing>,
    /// When to say it again.
    next: Time,
    /// Who is read from next.
    turn: u16,
}

impl Reopens {
    pub(super) fn next(&self) -> Time {
        self.next
    }
}

impl Replica {
    /// Takes an order that reopens the cluster.
    pub(super) fn on_reopening(
        &mut self,
        now: Time,
        signed: SignedReopening,
        out: &mut Out,
    ) -> ReopeningVerdict {
        let digest = digest_of(&signed.order);
        if self.epochs.reopens.as_ref().is_some_and(|known| known.digest == digest) {
            return ReopeningVerdict::Taken;
        }
        let verdict = self.judge_reopening(&signed);
        if verdict == ReopeningVerdict::Taken {
            let (heard, said, turn) = (BTreeMap::new(), None, 0);
            self.epochs.reopens = Some(Reopens { signed, digest, heard, said, next: now, turn });
            self.ordering.close();
            self.advance_reopening(now, out);
        }
        verdict
    }

    /// Whether an order fits this epoch. Cost: a signature for each administrator and instance, once the
    /// rest is right.
    fn judge_reopening(&self, signed: &SignedReopening) -> ReopeningVerdict {
        let order = &signed.order;
        let (keyring, group) = (&self.keyring, self.keyring.group());
        if self.is_halted() || self.is_fetching() {
            return ReopeningVerdict::NotNow;
        }
        if group.model() != FaultModel::Hybrid {
            return ReopeningVerdict::NotHybrid;
        }
        let here = (keyring.cluster(), keyring.incarnation(), keyring.epoch());
        if (order.cluster, order.incarnation, order.epoch) != here {
            return ReopeningVerdict::OtherEpoch(keyring.epoch());
        }
        if self.has_ended() {
            return ReopeningVerdict::Ended;
        }
        let are_lost_few = order.lost.len() <= group.faults()
            && order.lost.is_sorted_by(|one, other| one < other)
            && order.lost.iter().all(|member| group.has(*member));
        if !are_lost_few || order.instances.len() < group.quorum() {
            return ReopeningVerdict::NoQuorum;
        }
        let plan = &self.plans.last().expect("there is a first plan").plan;
        if signed.approvals.len() > plan.administrators.len()
            || check_reopening(signed, plan, keyring.scheme()).is_err()
        {
            return ReopeningVerdict::NotApproved;
        }
        let mut before = None;
        for (member, certificate) in &order.instances {
            let is_weak = keyring.scheme().is_weak(&certificate.instance);
            if before >= Some(*member) || is_weak || !keyring.certifies(*member, certificate) {
                return ReopeningVerdict::NotCertified(*member);
            }
            before = Some(*member);
        }
        ReopeningVerdict::Taken
    }

    /// Takes what a member holds of the epoch.
    pub(super) fn on_closed(
        &mut self,
        now: Time,
        from: ReplicaId,
        closing: Closing,
        out: &mut Out,
    ) {
        if closing.epoch < self.keyring.epoch() || self.has_ended() {
            return self.hint(now, from, closing.epoch, out);
        }
        let group = self.keyring.group();
        let are_tips = closing.tips.is_sorted_by(|one, other| one.author < other.author)
            && closing.tips.iter().all(|tip| group.has(tip.author));
        let own = closing.tips.iter().find(|tip| tip.author == from).copied();
        let Some(reopens) = &mut self.epochs.reopens else { return };
        if from == self.own || closing.order != reopens.digest || !are_tips {
            return;
        }
        reopens.heard.insert(from, closing);
        own.into_iter().for_each(|tip| self.ordering.on_tip(tip));
        self.advance_reopening(now, out);
    }

    /// Does what the time and what was heard demand.
    pub(super) fn advance_reopening(&mut self, now: Time, out: &mut Out) {
        if self.has_ended() || self.is_fetching() || self.is_halted() {
            return;
        }
        let Some(reopens) = &self.epochs.reopens else { return };
        let lost = &reopens.signed.order.lost;
        let others = self.keyring.group().members().filter(|it| *it != self.own);
        let awaited: Vec<ReplicaId> = others.filter(|it| !lost.contains(it)).collect();
        let lacks = |member: &ReplicaId| {
            let closing = reopens.heard.get(member);
            closing.is_none_or(|it| it.tips.iter().any(|tip| !self.ordering.dag().has(tip)))
        };
        let lacking: Vec<ReplicaId> = awaited.iter().copied().filter(lacks).collect();
        let closing = Closing {
            epoch: self.keyring.epoch(),
            order: reopens.digest,
            horizon: self.ordering.dag().horizon(),
            tips: self.ordering.tips(),
            is_complete: lacking.is_empty() || mutants::is_active("reopening_without_union"),
        };
        let is_same = |member: &ReplicaId| {
            reopens.heard.get(member).is_some_and(|it| it.is_complete && are_same(it, &closing))
        };
        let is_agreed = closing.is_complete
            && (awaited.iter().all(is_same) || mutants::is_active("reopening_without_union"));
        if closing.is_complete {
            self.hold();
        }
        if self.epochs.reopens.as_ref().is_some_and(|reopens| now >= reopens.next) {
            self.ask_for_tips(&lacking, out);
        }
        self.tell(now, closing, out);
        self.read_from(now, &lacking, out);
        if is_agreed {
            self.reopen(now, out);
        }
    }

    /// Decides nothing more, after a crash neither.
    fn hold(&mut self) {
        let epoch = self.keyring.epoch();
        if held(self.execution.state()) != Some(epoch) {
            self.execution.state_mut().private_write(vec![(HELD.to_vec(), Some(epoch.encode()))]);
        }
        self.ordering.hold();
    }

    /// Holds again if an earlier life did.
    pub(super) fn hold_again(&mut self) {
        if held(self.execution.state()) == Some(self.keyring.epoch()) {
            self.ordering.hold();
        }
    }

    fn tell(&mut self, now: Time, closing: Closing, out: &mut Out) {
        let Some(reopens) = &mut self.epochs.reopens else { return };
        if now < reopens.next && reopens.said.as_ref() == Some(&closing) {
            return;
        }
        reopens.next = now.after(TELL_PAUSE);
        reopens.said = Some(closing.clone());
        let order = EpochMessage::Reopen(Box::new(reopens.signed.clone()));
        for message in [order, EpochMessage::Closed(closing)] {
            out.push(Action::Broadcast(Message::Epoch(message)));
        }
    }

    /// Asks by name for what others hold and this replica lacks.
    fn ask_for_tips(&mut self, lacking: &[ReplicaId], out: &mut Out) {
        let Some(reopens) = &self.epochs.reopens else { return };
        let mut inner = Vec::new();
        for member in lacking {
            if let Some(closing) = reopens.heard.get(member) {
                self.ordering.ask_for(*member, &closing.tips, &mut inner);
            }
        }
        self.carry_out(inner, out);
    }

    /// Reads the log of one who holds what this replica lacks; they take turns.
    fn read_from(&mut self, now: Time, lacking: &[ReplicaId], out: &mut Out) {
        let Some(reopens) = &mut self.epochs.reopens else { return };
        let turn = reopens.turn;
        let holders = lacking.iter().filter(|member| reopens.heard.contains_key(member));
        let Some(next) = holders.min_by_key(|id| (id.0 < turn, id.0)).copied() else { return };
        if self.ordering.may_follow() {
            reopens.turn = next.0 + 1;
            self.follow(now, next, out);
        }
    }

    /// All hold the same: executes what that decides, and ends the epoch there.
    fn reopen(&mut self, now: Time, out: &mut Out) {
        let mut inner = Vec::new();
        self.ordering.go_on(now, &mut inner);
        self.carry_out(inner, out);
        let Some(reopens) = self.epochs.reopens.take() else { return };
        if self.has_ended() || self.is_halted() {
            return; // what was decided had an end of its own
        }
        if self.execution.reopen(&reopens.signed.order.instances)
            && let Some(next) = self.execution.successor()
        {
            self.on_end(next, out);
        }
    }

    /// The epoch has ended elsewhere, at a commit that says nothing of it: executes up to there.
    pub(super) fn end_where_others_did(&mut self, now: Time, out: &mut Out) {
        if self.epochs.known_end().is_none() || self.is_fetching() {
            return;
        }
        let mut inner = Vec::new();
        if held(self.execution.state()) == Some(self.keyring.epoch()) {
            self.ordering.go_on(now, &mut inner);
        }
        self.carry_out(inner, out);
        if let Some(known) =
            self.epochs.known.take_if(|known| self.execution.stands_before(&known.plan))
        {
            self.begin(now, known, out);
        }
    }
}

/// What is left of [`Reopens`] in the state of the next epoch: nothing.
pub(super) fn forget_held() -> (Vec<u8>, Option<Vec<u8>>) {
    (HELD.to_vec(), None)
}

fn held(state: &State) -> Option<ravelin_model::Epoch> {
    let bytes = state.private_get(HELD)?;
    Some(
        ravelin_model::Epoch::decode("held epoch", &bytes)
            .expect("the state holds what was written"),
    )
}

/// Whether two members hold the same: what one's horizon has passed does not count.
fn are_same(one: &Closing, other: &Closing) -> bool {
    let horizon = one.horizon.max(other.horizon);
    let above = |closing: &Closing| -> Vec<BlockRef> {
        closing.tips.iter().filter(|tip| tip.round > horizon).copied().collect()
    };
    above(one) == above(other)
}

/// What an order is known by.
fn digest_of(order: &Reopening) -> Digest {
    domain_digest("ravelin reopening v1", &[&order.encode()])
}
