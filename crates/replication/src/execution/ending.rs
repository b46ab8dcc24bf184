//! The end of an epoch, as execution sees it: the order that ends it, the plan that follows, and the
//! state in which the next one begins.

use ravelin_model::{ClusterPlan, CommitIndex, InstanceCertificate, ReplicaId, SignedRekey, Vote};

use super::*;

/// Key of the next epoch's plan in the private state, while the epoch has ended and the next one has
/// not begun.
const SUCCESSOR: &[u8] = b"n";

impl Execution {
    /// Takes note of the proofs in a block, and executes the first of its orders of new keys: so one
    /// block costs one signature.
    pub(super) fn execute_votes(&mut self, votes: &[Vote]) {
        let store = self.state.of(ServiceId::MEMBERS);
        for vote in votes {
            if let Vote::Evidence(evidence) = vote {
                self.members.convict(store, evidence.accused());
            }
        }
        let mut orders = votes.iter().filter_map(|vote| match vote {
            Vote::Rekey(signed) => Some(signed),
            Vote::Statement(_) | Vote::Evidence(_) => None,
        });
        if let Some(signed) = orders.next() {
            self.members.order(self.time, store, signed);
        }
    }

    /// Whether a member's own order of a new key would be carried out, as the state stands.
    #[must_use]
    pub fn takes_order(&self, signed: &SignedRekey) -> bool {
        self.members.takes(self.time, &self.state.view(ServiceId::MEMBERS), signed)
    }

    /// Whether the last commit ended the epoch by `member`'s own order.
    #[must_use]
    pub fn has_ordered(&self, member: ReplicaId) -> bool {
        Members::has_ordered(self.time, &self.state.view(ServiceId::MEMBERS), member)
    }

    /// The plan of the next epoch, if this one has ended with the last commit.
    ///
    /// # Panics
    /// If the state was not written by this program.
    #[must_use]
    pub fn successor(&self) -> Option<ClusterPlan> {
        Some(self.following(self.members.successor()?.clone()))
    }

    /// The plan of the next epoch if this one ended with the last commit by an order of administrators
    /// that names `instances`, if that fits.
    #[must_use]
    pub fn reopened(&self, instances: &[(ReplicaId, InstanceCertificate)]) -> Option<ClusterPlan> {
        let mut members = self.members.clone();
        members
            .reopen(instances)
            .then(|| members.successor().cloned())?
            .map(|next| self.following(next))
    }

    /// The plan with what it follows: the state as it stands.
    fn following(&self, mut next: ClusterPlan) -> ClusterPlan {
        let (progress, delivered) = self.progress();
        let previous = next.previous.as_mut().expect("a successor follows");
        previous.commit = self.state.commit();
        previous.time = self.time;
        previous.position = self.position;
        previous.state = self.state.root();
        previous.ordering = progress.ordering.digest(&delivered);
        next
    }

    /// Whether the last commit left all as it was, says `next`, when the epoch before it ended.
    ///
    /// # Panics
    /// If the state was not written by this program.
    #[must_use]
    pub fn stands_before(&self, next: &ClusterPlan) -> bool {
        let Some(previous) = &next.previous else { return false };
        let (progress, delivered) = self.progress();
        previous.commit == self.state.commit()
            && previous.time == self.time
            && previous.position == self.position
            && previous.state == self.state.root()
            && previous.ordering == progress.ordering.digest(&delivered)
    }

    /// Ends the epoch as [`Self::reopened`] says; also sets `also`. Durable.
    pub fn reopen(
        &mut self,
        instances: &[(ReplicaId, InstanceCertificate)],
        mut also: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    ) {
        if self.members.reopen(instances) {
            let plan = self.members.successor().map(ravelin_model::Encode::encode);
            also.push((SUCCESSOR.to_vec(), plan));
            self.state.private_write(also);
        }
    }

    /// How far the order is executed: nowhere, before the first commit of all.
    fn progress(&self) -> (Progress, BTreeSet<BlockRef>) {
        progress(&self.state).unwrap_or_else(|| {
            let ordering = self.members.epoch_start();
            (Progress { position: self.position, ordering }, BTreeSet::new())
        })
    }

    pub(super) fn write_successor(&mut self) {
        if let Some(next) = self.members.successor() {
            self.state.private_put(SUCCESSOR, next.encode());
        }
    }

    /// Goes on from the state after `commit`, with this root, which the store holds now; also sets
    /// `also`. All durable at once.
    pub fn install(
        &mut self,
        members: Members,
        (commit, root): (CommitIndex, Digest),
        (progress, delivered): (Progress, &BTreeSet<BlockRef>),
        also: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    ) {
        let mut batch = also;
        let known = recorded::delivered_keys(&self.state);
        batch.extend(known.into_iter().map(|key| (key, None)));
        batch.extend(delivered.iter().map(|it| (delivered_key(it), Some(Vec::new()))));
        batch.push((SUCCESSOR.to_vec(), None));
        batch.push((PROGRESS.to_vec(), Some(progress.encode())));
        self.state.finish_fetching(commit, root, batch);
        self.position = progress.position;
        self.time = progress.ordering.time;
        self.horizon = progress.ordering.horizon();
        self.members = members;
    }

    /// Begins the next epoch, whose members are `members` and whose order begins at `ordering`; also
    /// sets `also`. All durable at once.
    pub fn begin_epoch(
        &mut self,
        members: Members,
        ordering: OrderingState,
        also: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    ) {
        let (_, delivered) = self.progress();
        let mut batch = also;
        batch.extend(delivered.iter().map(|reference| (delivered_key(reference), None)));
        batch.push((SUCCESSOR.to_vec(), None));
        self.horizon = ordering.horizon();
        let progress = Progress { position: self.position, ordering };
        batch.push((PROGRESS.to_vec(), Some(progress.encode())));
        self.state.private_write(batch);
        self.members = members;
    }
}

/// The plan of the next epoch as `state` holds it, but for what it follows, if the epoch had ended.
///
/// # Panics
/// If the state was not written by this program.
#[must_use]
pub fn recorded_successor(state: &State) -> Option<ClusterPlan> {
    let bytes = state.private_get(SUCCESSOR)?;
    let plan = ClusterPlan::decode("next plan", &bytes);
    Some(plan.expect("the state holds what execution wrote"))
}
