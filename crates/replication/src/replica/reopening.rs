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
//! signatures. For a correct member signs once, and only what all correct members hold and decide nothing
//! beyond of; that it holds, and what it signed, is durable before it says so.
//!
//! **Nobody is kept waiting by what only one can take in.** What a member takes in depends on its horizon, and
//! who holds decides nothing that would move it. So it judges by where its decisions would lead
//! ([`Ordering::hold`]), and tells that horizon and the tips above it. All that it hears of later changes
//! what it tells, never what it has decided; after a crash it holds again before it reads its log.
//!
//! **An end of its own.** Who does not hold yet goes on deciding, and what it decides may end the epoch by
//! itself: those who hold would wait for its word for ever. So it stays with them: it takes orders, tells its
//! tips, and that it is at an end. Whoever holds needs no more of it than to hold all that, for whoever has
//! its blocks decides what it did. A liar gains nothing: it could as well say that it holds the same.
//!
//! **Several orders.** Administrators give another one when servers restarted meanwhile, or one must be
//! declared lost. Who has signed stays with the order by which it did; the others join it. So a member may
//! go back to an order that it had left, on the word of a liar, too. Others may then still count what it
//! said of the one it left: two orders would each have all words that they need. Therefore each word names
//! the words that it answers, and counts only for whoever still says that one (`turn`, `heard`): what I
//! count was said after I took up this order, and whoever said it cannot have counted me for another one
//! since, but by what I said before.
//!
//! **One that signed alone.** A liar may let one member sign, and show the others more instead of that one's
//! words. It can be declared lost; but what the one signed is less than what the others hold, and as long as
//! another one may lie, a single signature is not to be believed. It need not be: whoever began to hold with no
//! more than the one signed has decided nothing beyond it, and can end the epoch with just that part of its
//! blocks ([`Ordering::seal_at`]). So that is what it tells instead of all that it holds, and it signs when
//! all others do. What is left out is no correct member's: each began to hold with all its own blocks, and whoever came to
//! an end of its own decided that by blocks of the part, or nobody signs. For
//! this, whoever holds remembers with what it began to, and whoever signs, what it signed; durable, both. A
//! change of what it tells from all to a part, or back, is a new choice as a change of orders is.
//!
//! # Source
//! Sections 4.5 and 5.5 of the paper: forward recovery by an authority outside the intruder's reach.

use std::cell::LazyCell;
use std::time::Duration;

use ravelin_crypto::{check_reopening, domain_digest};
use ravelin_model::{
    Closing, ClosingStage, Cut, Epoch, EpochMessage, FaultModel, HandoverVote, Reopening,
    ReopeningVerdict, SignedReopening,
};

use super::*;

mod joining;
mod parts;

/// Key of the epoch in which this replica holds, in the private state.
pub(super) const HELD: &[u8] = b"H";
/// Key of what it held when it began to hold, or when it began to decide all that it held.
const FIRST_HELD: &[u8] = b"F";
/// Key of the order by which it signed what follows.
const SIGNED: &[u8] = b"S";
/// Key of what it then ended the epoch with.
const SIGNED_CUT: &[u8] = b"C";
/// Pause before a member tells again what it holds.
const TELL_PAUSE: Duration = Duration::from_millis(200);
/// The shortest pause between two such messages, however often it changes: whoever can change it, by
/// what it says or shows, makes nobody flood the others.
const CHANGE_PAUSE: Duration = Duration::from_millis(20);
/// Orders for one epoch that are remembered: the latest.
const ORDERS_MAX: usize = 4;

/// Orders under way.
#[derive(Debug, Default)]
pub(super) struct Reopens {
    /// By number, the latest last.
    orders: Vec<(Digest, SignedReopening)>,
    /// By which of them this replica signed what follows, and what it ended the epoch with.
    pub(super) signed: Option<(Digest, Cut)>,
    /// What the others hold.
    pub(super) heard: BTreeMap<ReplicaId, Closing>,
    /// What was said last.
    said: Option<Closing>,
    /// When to say it again.
    next: Time,
    /// Until when nothing is said, even if it has changed.
    rest_until: Time,
    /// Whether it has, since.
    is_changed: bool,
    /// Who is read from next.
    turn: u16,
    /// What is carried out, and the number of this choice.
    pub(super) choice: Option<(Choice, u64)>,
    /// Of each member, what it said that it signed, and whether this one can end the epoch with it.
    tried: BTreeMap<ReplicaId, parts::Trial>,
    /// What those had signed whom this replica joined.
    joined: Option<Cut>,
}

/// What a member carries out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    /// By which order.
    pub(super) order: Digest,
    /// With what it ends the epoch, if not with all that it holds.
    pub(super) part: Option<Cut>,
}

impl Reopens {
    pub(super) fn next(&self) -> Time {
        if self.is_changed { self.rest_until } else { self.next.max(self.rest_until) }
    }

    /// Whether it is time to tell again what this replica holds, and by which order.
    fn is_due(&self, now: Time) -> bool {
        now >= self.next && (now >= self.rest_until || mutants::is_active("changes_told_at_once"))
    }

    fn knows(&self, digest: &Digest) -> bool {
        self.orders.iter().any(|(known, _)| known == digest)
    }

    pub(super) fn latest(&self) -> Option<&Reopening> {
        self.orders.last().map(|(_, signed)| &signed.order)
    }

    /// The order to carry out: that by which this replica signed; or else one by which another member
    /// did, who is not declared lost; or else the latest.
    fn chosen(&self) -> Option<&(Digest, SignedReopening)> {
        let lost = &self.latest()?.lost;
        let is_signer = |who, it: &Closing| it.stage == ClosingStage::Signed && !lost.contains(who);
        let signers = self.heard.iter().filter(|(who, it)| is_signer(who, it));
        let joined = signers.map(|(_, it)| it.order).filter(|order| self.knows(order)).min();
        match self.signed.as_ref().map(|(order, _)| *order).or(joined) {
            Some(digest) => self.orders.iter().find(|(known, _)| *known == digest),
            None => self.orders.last(),
        }
    }

    /// The number of this choice, a new one if it was another one before. No number comes again, in a later
    /// life neither: what others said to an earlier one must not count for it.
    fn turn_for(&mut self, choice: Choice, now: Time) -> u64 {
        let is_kept = |(known, _): &&(Choice, u64)| {
            let is_part_kept =
                known.part == choice.part || mutants::is_active("turn_kept_with_a_part");
            known.order == choice.order && is_part_kept
        };
        if let Some((_, turn)) = self.choice.as_ref().filter(is_kept) {
            return *turn;
        }
        let before = self.choice.as_ref().map_or(0, |(_, turn)| *turn);
        let drawn = domain_digest(
            "ravelin reopening turn v1",
            &[&choice.order.0, &now.0.to_le_bytes(), &before.to_le_bytes()],
        );
        let turn = drawn.0.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        self.choice = Some((choice, turn));
        turn
    }

    fn take(&mut self, digest: Digest, signed: SignedReopening) {
        self.orders.push((digest, signed));
        self.orders.sort_by_key(|(digest, signed)| (signed.order.number, *digest));
        if self.orders.len() > ORDERS_MAX {
            // Those by which somebody signed are not given up, for the others may have to join them; nor is the
            // latest, for it may say that who claims to have signed by all others is lost.
            let lost = self.latest().map_or(&[][..], |latest| &latest.lost);
            let is_signer =
                |who, it: &Closing| it.stage == ClosingStage::Signed && !lost.contains(who);
            let signers = self.heard.iter().filter(|(who, it)| is_signer(who, it));
            let signed: BTreeSet<Digest> = signers.map(|(_, it)| it.order).collect();
            let own = self.signed.as_ref().map(|(order, _)| *order);
            let is_kept = |known: &Digest| Some(*known) == own || signed.contains(known);
            let spared = usize::from(!mutants::is_active("latest_order_given_up"));
            let mut earlier = self.orders.iter().take(self.orders.len() - spared);
            let oldest = earlier.position(|(known, _)| !is_kept(known));
            oldest.into_iter().for_each(|at| drop(self.orders.remove(at)));
        }
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
        if self.epochs.reopens.as_ref().is_some_and(|known| known.knows(&digest)) {
            return self.superseded(&digest).unwrap_or(ReopeningVerdict::Taken);
        }
        let verdict = self.judge_reopening(&signed);
        if matches!(verdict, ReopeningVerdict::Taken | ReopeningVerdict::Ended) {
            let reopens = self.epochs.reopens.get_or_insert_default();
            reopens.take(digest, signed);
            // One that was given up comes again from those who have not: it is no news.
            if reopens.knows(&digest) {
                reopens.next = now;
            }
            if !self.has_ended() {
                self.ordering.close();
            }
            self.advance_reopening(now, out);
            return self.superseded(&digest).unwrap_or(verdict);
        }
        verdict
    }

    /// The verdict on an order, if another one is carried out instead.
    fn superseded(&self, order: &Digest) -> Option<ReopeningVerdict> {
        let (chosen, signed) = self.epochs.reopens.as_ref()?.chosen()?;
        (chosen != order).then_some(ReopeningVerdict::Superseded(signed.order.number))
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
        match (self.closing_end(), self.execution.reopened(&order.instances)) {
            (Some(ClosingStage::Ended), _) => ReopeningVerdict::Ended,
            (Some(_), _) | (None, Some(_)) => ReopeningVerdict::Taken,
            (None, None) => ReopeningVerdict::Unfit,
        }
    }

    /// Takes what a member holds of the epoch.
    pub(super) fn on_closed(
        &mut self,
        now: Time,
        from: ReplicaId,
        closing: Closing,
        out: &mut Out,
    ) {
        let has_no_order = self.has_ended() && self.epochs.reopens.is_none();
        if closing.epoch < self.keyring.epoch() || has_no_order {
            return self.hint(now, from, closing.epoch, out);
        }
        if closing.epoch > self.keyring.epoch() {
            return self.ask_how_it_ended(now, from, out); // nobody makes blocks that would show it
        }
        let group = self.keyring.group();
        let tips = &closing.cut.tips;
        let are_tips = tips.is_sorted_by(|one, other| one.author < other.author)
            && tips.iter().all(|tip| group.has(tip.author))
            && closing.heard.is_sorted_by(|one, other| one.0 < other.0)
            && closing.heard.iter().all(|(member, _)| group.has(*member));
        let own = tips.iter().find(|tip| tip.author == from).copied();
        let Some(reopens) = &mut self.epochs.reopens else { return };
        if from == self.own || !are_tips {
            return;
        }
        reopens.heard.insert(from, closing);
        own.into_iter().for_each(|tip| self.ordering.on_tip(tip));
        self.advance_reopening(now, out);
    }

    /// Does what the time and what was heard demand.
    pub(super) fn advance_reopening(&mut self, now: Time, out: &mut Out) {
        if self.is_fetching() || self.is_halted() {
            return;
        }
        let end = self.closing_end();
        if end == Some(ClosingStage::Ended) && mutants::is_active("own_end_keeps_nobody_company") {
            self.epochs.reopens = None;
        }
        let Some(choice) = self.choose(now) else { return };
        let (digest, part) = (choice.order, choice.part.clone());
        let Some(reopens) = &mut self.epochs.reopens else { return };
        let turn = reopens.turn_for(choice, now);
        let Some(reopens) = &self.epochs.reopens else { return };
        let others = self.keyring.group().members().filter(|it| *it != self.own);
        // Who was declared lost by an earlier order only is waited for all the same.
        let lost = reopens.latest().map_or(&[][..], |latest| &latest.lost);
        let awaited: Vec<ReplicaId> = others.filter(|member| !lost.contains(member)).collect();
        let lacks = |member: &ReplicaId| {
            let closing = reopens.heard.get(member);
            closing.is_none_or(|it| it.cut.tips.iter().any(|tip| !self.ordering.dag().has(tip)))
        };
        let lacking: Vec<ReplicaId> = awaited.iter().copied().filter(lacks).collect();
        let closing = Closing {
            epoch: self.keyring.epoch(),
            order: digest,
            stage: end.unwrap_or_else(|| self.closing_stage(&lacking, part.as_ref())),
            cut: part.clone().unwrap_or_else(|| self.ordering.cut()),
            turn,
            heard: reopens.heard.iter().map(|(member, it)| (*member, it.turn)).collect(),
        };
        let is_agreed = closing.stage == ClosingStage::Holding
            && (self.are_same(&awaited, &lacking, &closing, part.as_ref())
                || mutants::is_active("reopening_without_union"));
        let is_due = reopens.is_due(now);
        let cut = closing.cut.clone();
        if closing.stage == ClosingStage::Holding {
            self.hold();
        }
        self.tell(now, closing, out);
        if self.has_ended() {
            return;
        }
        if is_due {
            self.ask_for_tips(&lacking, out);
        }
        self.read_from(now, &lacking, out);
        if is_agreed && self.epochs.until.is_none() {
            // From now on it has decided all of this: after a crash it must not end the epoch with less, though
            // its signature may not have come to the disk.
            if !mutants::is_active("sealed_without_a_trace") {
                let decided = vec![(FIRST_HELD.to_vec(), Some(cut.encode()))];
                self.execution.state_mut().private_write(decided);
            }
            let mut inner = Vec::new();
            match part {
                Some(part) => self.ordering.seal_at(&part, now, &mut inner),
                None => self.ordering.seal(now, &mut inner),
            }
            self.carry_out(inner, out);
            self.sign_by(&digest, cut, None, out);
        } else {
            self.join_signers(now, out);
        }
    }

    /// Whether all that are awaited say the same as this replica is about to, in answer to that.
    fn are_same(
        &self,
        awaited: &[ReplicaId],
        lacking: &[ReplicaId],
        own: &Closing,
        part: Option<&Cut>,
    ) -> bool {
        let Some(reopens) = &self.epochs.reopens else { return false };
        // Whoever ends the epoch with a part decides what those did who came to an end of their own only if
        // their blocks are in it.
        let within = LazyCell::new(|| self.ordering.dag().part(part?));
        let is_within = |it: &Closing| {
            part.is_none_or(|cut| {
                let mut above = it.cut.tips.iter().filter(|tip| tip.round > cut.horizon);
                above.all(|tip| within.as_ref().is_some_and(|within| within.contains(tip)))
            }) || mutants::is_active("part_without_ends_of_their_own")
        };
        let agrees = |member: &&ReplicaId| {
            reopens.heard.get(member).is_some_and(|it| {
                let answers = it.heard.contains(&(self.own, own.turn))
                    || mutants::is_active("turns_of_reopenings_ignored");
                answers && it.order == own.order
            })
        };
        // What costs a walk through the DAG comes last.
        let is_had = |member: &ReplicaId, it: &Closing| match it.stage {
            ClosingStage::Lacking => false,
            ClosingStage::Holding | ClosingStage::Signed => it.cut.is_as(&own.cut),
            ClosingStage::Ended => !lacking.contains(member),
        };
        let heard =
            || awaited.iter().filter_map(|member| Some((member, reopens.heard.get(member)?)));
        awaited.iter().filter(agrees).count() == awaited.len()
            && heard().all(|(member, it)| is_had(member, it))
            && heard().all(|(_, it)| it.stage != ClosingStage::Ended || is_within(it))
    }

    /// How the epoch has ended here, if it has: by an order that reopens the cluster, or by itself.
    pub(super) fn closing_end(&self) -> Option<ClosingStage> {
        let signed = self.epochs.reopens.as_ref().and_then(|reopens| reopens.signed.as_ref());
        let end = if signed.is_some() { ClosingStage::Signed } else { ClosingStage::Ended };
        self.has_ended().then_some(end)
    }

    /// How far the epoch's end is here, where it has not ended.
    fn closing_stage(&self, lacking: &[ReplicaId], part: Option<&Cut>) -> ClosingStage {
        let has_all = part.is_some() || (lacking.is_empty() && !self.ordering.is_drafting());
        match has_all || mutants::is_active("reopening_without_union") {
            true => ClosingStage::Holding,
            false => ClosingStage::Lacking,
        }
    }

    /// Decides nothing more, after a crash neither.
    fn hold(&mut self) {
        let epoch = self.keyring.epoch();
        if held(self.execution.state()) != Some(epoch) {
            let first = self.ordering.cut().encode();
            let writes = [(HELD, epoch.encode()), (FIRST_HELD, first)];
            let writes = writes.map(|(key, value)| (key.to_vec(), Some(value)));
            self.execution.state_mut().private_write(writes.to_vec());
        }
        self.ordering.hold();
    }

    /// All that led to what it decided in this epoch, if it holds or did: what it began to hold with, or more.
    pub(super) fn first_held(&self) -> Option<Cut> {
        let state = self.execution.state();
        let bytes = state.private_get(FIRST_HELD)?;
        let is_of_now = held(state) == Some(self.keyring.epoch());
        is_of_now.then(|| Cut::decode("held", &bytes).expect("the state holds what was written"))
    }

    /// Holds again if an earlier life did, and stays with the order by which that signed: it may have joined
    /// the signers without having held.
    pub(super) fn hold_again(&mut self) {
        let state = self.execution.state();
        let has_held = held(state) == Some(self.keyring.epoch());
        let bytes = state.private_get(SIGNED).filter(|_| self.epochs.reopens.is_none());
        if let Some(bytes) = bytes {
            let signed = SignedReopening::decode("order", &bytes);
            let signed = signed.expect("the state holds what this replica wrote");
            debug_assert_eq!(
                signed.order.epoch,
                self.keyring.epoch(),
                "epochs begin without orders"
            );
            let digest = digest_of(&signed.order);
            let cut = state.private_get(SIGNED_CUT);
            let cut = cut.filter(|_| !mutants::is_active("what_was_signed_forgotten"));
            let cut = cut.map_or_else(
                || self.ordering.cut(),
                |it| Cut::decode("signed", &it).expect("the state holds what this replica wrote"),
            );
            let mut reopens = Reopens { signed: Some((digest, cut)), ..Reopens::default() };
            reopens.take(digest, signed);
            self.epochs.reopens = Some(reopens);
        }
        if has_held {
            self.ordering.hold();
        }
    }

    /// Tells the others what it holds: the order with it, now and then, for those who have not heard of it.
    fn tell(&mut self, now: Time, closing: Closing, out: &mut Out) {
        let Some(reopens) = &mut self.epochs.reopens else { return };
        let said = reopens.said.as_ref();
        let is_due = reopens.is_due(now);
        let is_changed = said != Some(&closing);
        let may_rest = now < reopens.rest_until && !mutants::is_active("changes_told_at_once");
        if !is_due && (!is_changed || may_rest) {
            reopens.is_changed = is_changed;
            return;
        }
        let is_order_new = said.is_none_or(|said| said.order != closing.order);
        let chosen = reopens.orders.iter().find(|(known, _)| *known == closing.order);
        let chosen = chosen.filter(|_| is_due || is_order_new);
        let order = chosen.map(|(_, signed)| EpochMessage::Reopen(Box::new(signed.clone())));
        if is_due {
            reopens.next = now.after(TELL_PAUSE);
        }
        reopens.rest_until = now.after(CHANGE_PAUSE);
        reopens.is_changed = false;
        reopens.said = Some(closing.clone());
        for message in order.into_iter().chain([EpochMessage::Closed(closing)]) {
            out.push(Action::Broadcast(Message::Epoch(message)));
        }
    }

    /// Asks by name for what others hold and this replica lacks.
    fn ask_for_tips(&mut self, lacking: &[ReplicaId], out: &mut Out) {
        let Some(reopens) = &self.epochs.reopens else { return };
        let mut inner = Vec::new();
        for member in lacking {
            if let Some(closing) = reopens.heard.get(member) {
                self.ordering.ask_for(*member, &closing.cut.tips, &mut inner);
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

    /// Ends the epoch with the last commit, by an order, if what follows is the plan of this digest, or no
    /// digest is asked for.
    fn sign_by(&mut self, order: &Digest, cut: Cut, plan: Option<Digest>, out: &mut Out) -> bool {
        if self.has_ended() || self.is_halted() {
            return false; // what was decided had an end of its own
        }
        let Some(reopens) = &mut self.epochs.reopens else { return false };
        let chosen = reopens.orders.iter().find(|(known, _)| known == order);
        let Some((_, signed)) = chosen.cloned() else { return false };
        let instances = &signed.order.instances;
        let Some(next) = self.execution.reopened(instances) else { return false };
        if plan.is_some_and(|plan| plan != ravelin_crypto::plan_digest(&next)) {
            return false;
        }
        let also = [(SIGNED, signed.encode()), (SIGNED_CUT, cut.encode())];
        reopens.signed = Some((*order, cut));
        let also = also.map(|(key, value)| (key.to_vec(), Some(value)));
        self.execution.reopen(instances, also.to_vec());
        self.on_end(next, out);
        true
    }
}

/// What the next epoch's state holds of the reopening: nothing.
pub(super) fn forget_reopening() -> [(Vec<u8>, Option<Vec<u8>>); 4] {
    [HELD, FIRST_HELD, SIGNED, SIGNED_CUT].map(|key| (key.to_vec(), None))
}

/// Has an ordering hold before it takes blocks back, if in `epoch` this replica did in an earlier life:
/// some may have entered by a horizon that was only foreseen, and must not decide anything now.
pub(super) fn hold_if_held(ordering: &mut Ordering<Mempool>, state: &State, epoch: Epoch) {
    if held(state) == Some(epoch) && !mutants::is_active("log_taken_back_before_holding") {
        ordering.hold();
    }
}

fn held(state: &State) -> Option<Epoch> {
    let bytes = state.private_get(HELD)?;
    Some(Epoch::decode("held epoch", &bytes).expect("the state holds what was written"))
}

/// What an order is known by.
fn digest_of(order: &Reopening) -> Digest {
    domain_digest("ravelin reopening v1", &[&order.encode()])
}
