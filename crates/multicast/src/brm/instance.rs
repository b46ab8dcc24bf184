//! One multicast as one process sees it, from the first copy to the delivery.

use std::sync::Arc;

use ravelin_model::ttcb::{
    AgreementTag, Entity, Progress, ProposeError, Ttcb, TtcbError, Value, missing,
};
use ravelin_model::{Digest, Time, mutants};

use super::{Action, Engine, Event, Fixed, Header, Message, Packet, Variant};

/// One multicast that has not ended here.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Instance {
    charged_to: Entity,
    stage: Stage,
    candidates: Vec<Candidate>,
    sending: Option<Sending>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Stage {
    /// Not proposed yet.
    New { ask_at: Time },
    /// Proposed, and not decided as far as the wormhole knows.
    Undecided { tag: AgreementTag, ask_at: Time },
    /// Decided, and no copy is right yet; `lacking`: who may not have the message.
    Decided { value: Value, lacking: Vec<Entity> },
    /// The right message; delivered once it is sent.
    Accepted { message: Arc<Message> },
    /// Delivered.
    Delivered,
    /// Ended without a message. It keeps its place for a while, so that whoever brings up instances
    /// that do not exist cannot have the wormhole asked about them without end.
    Void { until: Time },
}

/// A message of which it is not decided whether it is the right one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Candidate {
    digest: Digest,
    message: Arc<Message>,
    /// Who brought it; each process has one candidate at most.
    by: Vec<Entity>,
}

/// Copies that are to be sent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Sending {
    message: Arc<Message>,
    digest: Digest,
    to: Vec<Entity>,
    left: u32,
    next: Time,
}

/// What an instance needs to go on.
pub(super) struct Turn<'a> {
    pub(super) now: Time,
    pub(super) ttcb: &'a mut dyn Ttcb,
    pub(super) fixed: &'a Fixed,
    pub(super) header: &'a Header,
    /// Whether the wormhole may be asked about one instance more.
    pub(super) may_ask: bool,
}

impl Turn<'_> {
    fn is_sender(&self) -> bool {
        self.header.sender() == Some(self.fixed.own)
    }

    fn poll_at(&self) -> Time {
        self.now.after(self.fixed.settings.poll_every)
    }
}

fn copies(fixed: &Fixed) -> u32 {
    u32::from(fixed.settings.od) + 1
}

impl Instance {
    /// A multicast of this process, whose proposal counts.
    pub(super) fn of_sender(
        now: Time,
        fixed: &Fixed,
        (message, digest): (Arc<Message>, Digest),
        tag: AgreementTag,
    ) -> Self {
        let to = message.header.elist.iter().copied().filter(|it| *it != fixed.own).collect();
        let left = if fixed.variant == Variant::T { copies(fixed) } else { 1 };
        let sending = Sending { message: Arc::clone(&message), digest, to, left, next: now };
        let is_decided_here =
            fixed.settings.engine == Engine::RealTime || mutants::is_active("brm_sender_undecided");
        let (stage, candidates) = if fixed.variant == Variant::T && is_decided_here {
            (Stage::Accepted { message }, vec![])
        } else {
            let candidate = Candidate { digest, message, by: vec![fixed.own] };
            (Stage::Undecided { tag, ask_at: now }, vec![candidate])
        };
        Self { charged_to: fixed.own, stage, candidates, sending: Some(sending) }
    }

    /// A multicast that `from` brought up.
    pub(super) fn of_recipient(from: Entity) -> Self {
        let stage = Stage::New { ask_at: Time(0) };
        Self { charged_to: from, stage, candidates: vec![], sending: None }
    }

    /// Whose share of this process's room it takes.
    pub(super) fn charged_to(&self) -> Entity {
        self.charged_to
    }

    /// Who can be charged: all who brought a copy.
    pub(super) fn payers(&self) -> impl Iterator<Item = Entity> {
        let by = self.candidates.iter().flat_map(|candidate| &candidate.by);
        std::iter::once(&self.charged_to).chain(by).copied()
    }

    /// Charges it to `payer` if it waits for the wormhole to be asked; whether it does.
    pub(super) fn charge(&mut self, payer: Entity) -> bool {
        let waits = matches!(self.stage, Stage::New { .. });
        if waits {
            self.charged_to = payer;
        }
        waits
    }

    pub(super) fn is_asking(&self) -> bool {
        matches!(self.stage, Stage::Undecided { .. })
    }

    pub(super) fn is_delivered(&self) -> bool {
        self.stage == Stage::Delivered
    }

    pub(super) fn is_over(&self, now: Time) -> bool {
        matches!(self.stage, Stage::Void { until } if until <= now)
    }

    /// Whether it has ended without a message, as was told.
    pub(super) fn is_void(&self) -> bool {
        matches!(self.stage, Stage::Void { .. })
    }

    /// Bytes of candidates that `from` brought first.
    pub(super) fn held_bytes(&self, from: Entity) -> usize {
        let of_it = self.candidates.iter().filter(|candidate| candidate.by.first() == Some(&from));
        of_it.map(|candidate| candidate.message.data.len()).sum()
    }

    /// Takes an authentic copy.
    pub(super) fn take(
        &mut self,
        now: Time,
        fixed: &Fixed,
        (packet, digest): (&Packet, Digest),
        has_room: bool,
    ) {
        match &self.stage {
            Stage::New { .. } | Stage::Undecided { .. } => {
                self.remember(packet, digest, has_room);
            }
            Stage::Decided { value, lacking }
                if *value == digest.0 || mutants::is_active("brm_hash_unchecked") =>
            {
                let lacking = lacking.clone();
                self.accept(now, fixed, (Arc::clone(&packet.message), digest), lacking);
            }
            _ => {}
        }
    }

    fn remember(&mut self, packet: &Packet, digest: Digest, has_room: bool) {
        if self.candidates.iter().any(|known| known.by.contains(&packet.from)) {
            return;
        }
        if let Some(known) = self.candidates.iter_mut().find(|known| known.digest == digest) {
            known.by.push(packet.from);
        } else if has_room {
            let message = Arc::clone(&packet.message);
            self.candidates.push(Candidate { digest, message, by: vec![packet.from] });
        }
    }

    /// Does what is due.
    ///
    /// # Errors
    /// [`TtcbError`] if the wormhole is gone.
    pub(super) fn advance(
        &mut self,
        turn: &mut Turn<'_>,
        out: &mut Vec<Action>,
    ) -> Result<(), TtcbError> {
        if matches!(self.stage, Stage::New { ask_at } if ask_at <= turn.now) {
            self.propose(turn)?;
        }
        if let Stage::Undecided { tag, ask_at } = self.stage
            && ask_at <= turn.now
        {
            self.decide(turn, tag, out)?;
        }
        self.send(turn, out);
        if let (Stage::Accepted { message }, None) = (&self.stage, &self.sending) {
            out.push(Action::Emit(Event::Delivered(Arc::clone(message))));
            self.stage = Stage::Delivered;
        }
        Ok(())
    }

    /// A recipient's proposal.
    fn propose(&mut self, turn: &mut Turn<'_>) -> Result<(), TtcbError> {
        self.stage = Stage::New { ask_at: turn.poll_at() };
        let value = match turn.fixed.variant {
            Variant::T => None,
            Variant::M => self.of_the_sender(turn.header),
        };
        // What others hand on does not choose what is proposed: the sender's own copy may still come.
        let waits = turn.fixed.variant == Variant::M && value.is_none() && !has_started(turn)?;
        if waits || !turn.may_ask {
            return Ok(());
        }
        let proposed = turn.ttcb.propose(&turn.header.agreement(), value)?;
        match (proposed.error, proposed.tag) {
            (Some(ProposeError::Halted), _) => return Err(TtcbError::Halted),
            (Some(ProposeError::NoResources { .. } | ProposeError::NotSynchronised), _) => {}
            (_, Some(tag)) => self.stage = Stage::Undecided { tag, ask_at: turn.now },
            (_, None) => self.end(turn),
        }
        Ok(())
    }

    /// The hash of what the sender itself sent here.
    fn of_the_sender(&self, header: &Header) -> Option<Value> {
        let is_its =
            |it: &&Candidate| header.sender().is_some_and(|sender| it.by.contains(&sender));
        self.candidates.iter().find(is_its).map(|candidate| candidate.digest.0)
    }

    fn decide(
        &mut self,
        turn: &mut Turn<'_>,
        tag: AgreementTag,
        out: &mut Vec<Action>,
    ) -> Result<(), TtcbError> {
        match turn.ttcb.decide(tag) {
            Ok(Progress::Running { .. }) => {
                self.stage = Stage::Undecided { tag, ask_at: turn.poll_at() };
            }
            Ok(Progress::Ended { value: Some(value), proposed_ok, proposed_any }) => {
                let all_who_proposed = mutants::is_active("brm_proposal_taken_for_message");
                let mask = if all_who_proposed { proposed_any } else { proposed_ok };
                self.on_value(turn, value, mask);
            }
            Ok(Progress::Ended { value: None, .. }) => self.end(turn),
            Ok(Progress::GivenUp) | Err(TtcbError::UnknownInstance) => {
                self.end(turn);
                if turn.is_sender() && !mutants::is_active("brm_given_up_is_ended") {
                    out.push(Action::Emit(Event::Undecided(turn.header.clone())));
                    return Ok(());
                }
            }
            Err(error) => return Err(error),
        }
        if turn.is_sender() && matches!(self.stage, Stage::Void { .. }) {
            out.push(Action::Emit(Event::Ended(turn.header.clone())));
        }
        Ok(())
    }

    /// It is decided what the message's hash is, and by the mask who has a message with it.
    fn on_value(&mut self, turn: &Turn<'_>, value: Value, has_it: u16) {
        let Header { elist, .. } = turn.header;
        let is_in_doubt = |it: &Entity| *it != turn.fixed.own && Some(*it) != turn.header.sender();
        let lacking: Vec<Entity> = match turn.fixed.variant {
            Variant::T => elist.iter().copied().filter(is_in_doubt).collect(),
            Variant::M => missing(elist, has_it).filter(is_in_doubt).collect(),
        };
        let candidates = std::mem::take(&mut self.candidates);
        let is_right =
            |it: &Candidate| it.digest.0 == value || mutants::is_active("brm_hash_unchecked");
        let right = candidates.into_iter().find(is_right);
        // Of its own message, the sender asks whether its wormhole's proposal was counted, too.
        let is_counted = has_it & 1 == 1;
        match right {
            _ if turn.is_sender() && !is_counted => self.end(turn),
            Some(right) => {
                self.accept(turn.now, turn.fixed, (right.message, right.digest), lacking);
            }
            None if turn.is_sender() => self.end(turn),
            None => self.stage = Stage::Decided { value, lacking },
        }
    }

    /// Whoever has the message sees that others get it before it delivers.
    fn accept(
        &mut self,
        now: Time,
        fixed: &Fixed,
        (message, digest): (Arc<Message>, Digest),
        lacking: Vec<Entity>,
    ) {
        // A sender's copies of BRM-T are on their way since it proposed.
        let is_sent = fixed.variant == Variant::T && message.header.sender() == Some(fixed.own);
        if !is_sent && !lacking.is_empty() && !mutants::is_active("brm_forwarding_dropped") {
            let (message, left) = (Arc::clone(&message), copies(fixed));
            self.sending = Some(Sending { message, digest, to: lacking, left, next: now });
        }
        self.stage = Stage::Accepted { message };
    }

    fn end(&mut self, turn: &Turn<'_>) {
        self.candidates.clear();
        self.sending = None;
        self.stage = Stage::Void { until: turn.now.after(turn.fixed.settings.t0) };
    }

    fn send(&mut self, turn: &Turn<'_>, out: &mut Vec<Action>) {
        let Fixed { own, variant, settings, keys } = turn.fixed;
        while let Some(sending) = self.sending.as_mut().filter(|sending| sending.next <= turn.now) {
            for to in &sending.to {
                // Without a key, nothing can be proven to it: for this process it does not exist.
                let Some(key) = keys.of(*to) else { continue };
                let message = (Arc::clone(&sending.message), &sending.digest);
                out.push(Action::Send(*to, Packet::new(*variant, (*own, *to), key, message)));
            }
            sending.left = sending.left.saturating_sub(1);
            sending.next = turn.now.after(settings.resend_every);
            if sending.left == 0 {
                self.sending = None;
            }
        }
    }

    /// When it must go on at the latest.
    pub(super) fn deadline(&self) -> Option<Time> {
        let of_stage = match self.stage {
            Stage::New { ask_at } | Stage::Undecided { ask_at, .. } => Some(ask_at),
            Stage::Void { until } => Some(until),
            Stage::Decided { .. } | Stage::Accepted { .. } | Stage::Delivered => None,
        };
        let of_sending = self.sending.as_ref().map(|sending| sending.next);
        of_stage.into_iter().chain(of_sending).min()
    }
}

/// Whether the instance's `tstart` is certainly over.
fn has_started(turn: &mut Turn<'_>) -> Result<bool, TtcbError> {
    let stamp = turn.ttcb.timestamp()?;
    Ok(stamp.is_synchronised && stamp.earliest > turn.header.tstart)
}
