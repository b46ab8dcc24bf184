//! Ending an epoch with a part of what is here, because a member signed no more.

use super::*;

/// Whether an epoch can be ended with a part of what is here.
#[derive(Clone, Debug)]
pub(super) struct Trial {
    part: Cut,
    is_fit: bool,
    /// How many blocks were here.
    blocks: usize,
    at: Time,
}

impl Reopens {
    /// What members signed by this order who are not declared lost.
    pub(super) fn signed_cuts(&self, order: Digest) -> impl Iterator<Item = (ReplicaId, &Cut)> {
        let lost = self.latest().map_or(&[][..], |latest| &latest.lost);
        let is_signed = move |it: &Closing| it.stage == ClosingStage::Signed && it.order == order;
        let heard = self.heard.iter().filter(move |(who, it)| !lost.contains(who) && is_signed(it));
        heard.map(|(who, it)| (*who, &it.cut))
    }

    /// Whether this replica, with so many blocks, can end the epoch with what `member` says that it signed, if
    /// that was tried. Too soon after the last trial it counts as tried: a liar would have it try with each
    /// message.
    fn trial(&self, member: ReplicaId, part: &Cut, blocks: usize, now: Time) -> Option<bool> {
        let last = self.tried.get(&member)?;
        if (&last.part, last.blocks) == (part, blocks) || last.is_fit && last.part == *part {
            return Some(last.is_fit);
        }
        let is_soon = now < last.at.after(TELL_PAUSE) && !mutants::is_active("each_claim_tried");
        is_soon.then_some(false)
    }
}

impl Replica {
    /// What to carry out: with a part of what is here, if a member signed that who is not declared lost, and
    /// this one has decided nothing beyond.
    pub(super) fn choose(&mut self, now: Time) -> Option<Choice> {
        let reopens = self.epochs.reopens.as_ref()?;
        let order = reopens.chosen()?.0;
        if let Some((_, cut)) = &reopens.signed {
            return Some(Choice { order, part: Some(cut.clone()) });
        }
        let may_leave_out = !self.has_ended()
            && self.epochs.until.is_none()
            && !mutants::is_active("one_that_signed_is_not_followed");
        let part = may_leave_out.then(|| self.part_to_end_with(order, now)).flatten();
        Some(Choice { order, part })
    }

    /// What a member signed by this order, if it is less than what this one holds, and not than it decided.
    fn part_to_end_with(&mut self, order: Digest, now: Time) -> Option<Cut> {
        let reopens = self.epochs.reopens.as_ref()?;
        let before = reopens.choice.as_ref().and_then(|(choice, _)| choice.part.as_ref());
        if let Some((_, kept)) = reopens.signed_cuts(order).find(|(_, cut)| Some(*cut) == before) {
            return Some(kept.clone());
        }
        let (own, blocks) = (self.ordering.cut(), self.ordering.dag().len());
        let parts = || reopens.signed_cuts(order).filter(|(_, cut)| !cut.is_as(&own));
        let trial = |(member, cut): &(ReplicaId, &Cut)| reopens.trial(*member, cut, blocks, now);
        if let Some((_, fit)) = parts().find(|it| trial(it) == Some(true)) {
            return Some(fit.clone());
        }
        // One in a turn, the others in the next ones.
        let untried = parts().find(|it| trial(it).is_none());
        let (member, part) = untried.map(|(member, part)| (member, part.clone()))?;
        let is_fit = self.ordering.may_seal_at(&part, &self.first_held()?);
        let trial = Trial { part: part.clone(), is_fit, blocks, at: now };
        self.epochs.reopens.as_mut()?.tried.insert(member, trial);
        is_fit.then_some(part)
    }
}
