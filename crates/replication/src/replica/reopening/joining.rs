//! Following others to an epoch's end that they signed, without having been asked first.

use super::*;

impl Replica {
    /// Executes what is decided, but for what comes after the commit `end`: from then on the order is past
    /// what is executed here, and nothing but that end can follow.
    fn execute_until(&mut self, end: CommitIndex, now: Time, out: &mut Out) {
        self.epochs.until = Some(end);
        let mut inner = Vec::new();
        self.ordering.go_on(now, &mut inner);
        self.carry_out(inner, out);
    }

    /// Signs what members signed who are not declared lost, if they are more than can lie among those.
    pub(super) fn join_signers(&mut self, now: Time, out: &mut Out) {
        let Some(reopens) = &self.epochs.reopens else { return };
        let Some(latest) = reopens.latest() else { return };
        let liars = self.keyring.group().faults().saturating_sub(latest.lost.len());
        let is_good = |vote: &&HandoverVote| {
            !latest.lost.contains(&vote.replica)
                && self.keyring.member(vote.replica).is_some_and(|key| {
                    let scheme = self.keyring.scheme();
                    ravelin_crypto::is_handover(&vote.plan, key, &vote.signature, scheme)
                })
        };
        let mut ends: BTreeMap<(CommitIndex, Digest, Digest), usize> = BTreeMap::new();
        for vote in self.epochs.early.values() {
            let closing = reopens.heard.get(&vote.replica);
            let closing = closing.filter(|it| it.stage == ClosingStage::Signed);
            let order = closing.map(|it| it.order).filter(|order| reopens.knows(order));
            if let Some(order) = order.filter(|_| is_good(&vote)) {
                *ends.entry((vote.commit, vote.plan, order)).or_default() += 1;
            }
        }
        let joined = ends.into_iter().find(|(_, count)| *count > liars);
        let here = self.execution.state().commit();
        let Some(((commit, plan, order), _)) = joined.filter(|((commit, ..), _)| *commit >= here)
        else {
            return;
        };
        if self.epochs.until.is_some_and(|until| until != commit) {
            return;
        }
        if self.epochs.until.is_none() {
            let joined = self.signed_until(order, commit); // what enters later is not of that
            self.epochs.reopens.iter_mut().for_each(|reopens| reopens.joined.clone_from(&joined));
        }
        self.execute_until(commit, now, out);
        if self.execution.state().commit() < commit {
            return; // what it lacks is being read
        }
        let joined = self.epochs.reopens.as_mut().and_then(|reopens| reopens.joined.take());
        let cut = joined.unwrap_or_else(|| self.ordering.cut());
        if !self.has_ended() && !self.sign_by(&order, cut, Some(plan), out) {
            self.halt(HaltReason::Diverged { commit: self.execution.state().commit() }, out);
        }
    }

    /// What a member signed by this order that ends at this commit, if all of it is here: whoever joins the
    /// signers tells the same, not all that it holds, for others may have to end the epoch with just that.
    fn signed_until(&self, order: Digest, end: CommitIndex) -> Option<Cut> {
        let reopens = self.epochs.reopens.as_ref()?;
        let mut cuts = reopens.signed_cuts(order).map(|(_, cut)| cut);
        let ends = |cut: &&Cut| {
            self.ordering.commit_at(cut) == Some(end)
                && !mutants::is_active("joined_with_all_it_holds")
        };
        cuts.find(ends).cloned()
    }

    /// The epoch has ended elsewhere, at a commit that says nothing of it: executes up to there.
    pub(in crate::replica) fn end_where_others_did(&mut self, now: Time, out: &mut Out) {
        let Some(end) = self.epochs.known_end().filter(|_| !self.is_fetching()) else { return };
        if held(self.execution.state()) == Some(self.keyring.epoch()) {
            self.execute_until(end, now, out);
        }
        let stands = |known: &mut SignedPlan| self.execution.stands_before(&known.plan);
        if let Some(known) = self.epochs.known.take_if(stands) {
            self.begin(now, known, out);
        }
    }
}
