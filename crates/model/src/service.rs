//! The contract of services: deterministic state machines over an ordered key-value store.

use std::ops::ControlFlow;

use crate::{
    ClusterPlan, CommitIndex, Decode, Position, PublicKey, Refusal, ReplicaId, ServiceId, Time,
};

/// A deterministic state machine over a store. It keeps nothing between calls but what the store
/// holds: two replicas with equal stores execute alike.
pub trait Service {
    /// The service's id and namespace.
    const ID: ServiceId;
    /// What clients ask.
    type Request: Decode;

    /// Whether an encoded request may be one that only reads, told by its first bytes: the others, most
    /// of a busy group's, are not decoded to learn that [`Self::query`] has nothing to say.
    fn may_read(_request: &[u8]) -> bool {
        true
    }

    /// Executes one request. Depends on the context and the store, and on nothing else.
    fn execute(&self, context: &Context, store: &mut dyn Store, request: Self::Request) -> Outcome;

    /// Answers a request that only reads, without ordering it; `None` if it may change state.
    ///
    /// The reply names the position of the last change of everything in it, so that equal replies
    /// of a quorum are as fresh as an ordered read.
    fn query(
        &self,
        context: &QueryContext,
        store: &dyn View,
        request: Self::Request,
    ) -> Option<Vec<u8>>;

    /// Removes what has expired, a bounded number of entries a commit.
    fn sweep(&self, now: Time, store: &mut dyn Store) -> Vec<Change>;
}

/// All services of a replica behind one door: what `replication` executes.
pub trait Application {
    /// Writes the state that the first plan prescribes.
    fn genesis(&self, plan: &ClusterPlan, store: &mut dyn ServiceStores);

    /// Whether `client` may use the cluster at all, as the state stands.
    fn admits(&self, store: &mut dyn ServiceStores, client: &PublicKey) -> bool;

    /// Whether `client` may ask `service` and see what it holds, as the state stands.
    fn may_ask(
        &self,
        service: ServiceId,
        store: &mut dyn ServiceStores,
        client: &PublicKey,
    ) -> bool;

    /// Executes one request of `service`.
    ///
    /// # Errors
    /// A [`Refusal`], on which all replicas agree and which leaves the store untouched.
    fn execute(
        &self,
        service: ServiceId,
        context: &Context,
        store: &mut dyn ServiceStores,
        request: &[u8],
    ) -> Result<Outcome, Refusal>;

    /// Answers a request that only reads; `None` if it must be ordered or makes no sense.
    fn query(
        &self,
        service: ServiceId,
        context: &QueryContext,
        store: &mut dyn ServiceStores,
        request: &[u8],
    ) -> Option<Vec<u8>>;

    /// Removes what has expired, a bounded number of entries a commit.
    fn sweep(&self, now: Time, store: &mut dyn ServiceStores) -> Vec<(ServiceId, Change)>;
}

/// Hands out each service's own part of the state.
pub trait ServiceStores {
    /// The namespace of `service`.
    fn of(&mut self, service: ServiceId) -> &mut dyn Store;
}

/// Inputs of execution beside the request, equal at all replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    /// Where the envelope stands in the total order.
    pub position: Position,
    /// The operation's place in its envelope.
    pub index: u16,
    /// Agreed time of the commit.
    pub time: Time,
    /// Who signed the envelope.
    pub client: PublicKey,
}

/// Inputs of a read that is not ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueryContext {
    /// The last commit executed.
    pub commit: CommitIndex,
    /// Its agreed time.
    pub time: Time,
    /// Who asks.
    pub client: PublicKey,
}

/// What every replica answers alike.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Canonical bytes of the service's reply type. A refusal by the service is a reply, not an
    /// error: replicas must agree on it.
    pub reply: Vec<u8>,
    /// What watchers are told.
    pub changes: Vec<Change>,
    /// A member's new key for blocks, approved by whoever may: it ends the epoch.
    pub rekey: Option<(ReplicaId, PublicKey)>,
}

/// One entry of the change feed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, borsh::BorshSerialize, borsh::BorshDeserialize)]
pub struct Change {
    /// The key that changed, in the service's own terms.
    pub key: Vec<u8>,
    /// Its new value; `None` when it is gone.
    pub value: Option<Vec<u8>>,
}

/// Reads one namespace in key order.
pub trait View {
    /// The value under `key`.
    fn get(&self, key: &[u8]) -> Option<Vec<u8>>;

    /// Visits entries with `from <= key`, below `until` if given, in key order until `visit`
    /// breaks.
    fn scan(
        &self,
        from: &[u8],
        until: Option<&[u8]>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    );

    /// Counts work of another kind, such as checking a signature, as the bytes that could have been
    /// read in its time. Equal at all replicas, like everything that execution depends on.
    fn spend(&self, work: usize);
}

/// Reads and writes one namespace. Writes are seen at once by the same batch, and become part of
/// the state all together or not at all.
pub trait Store: View {
    /// Sets `key` to `value`.
    fn put(&mut self, key: &[u8], value: Vec<u8>);

    /// Removes `key`.
    fn delete(&mut self, key: &[u8]);
}

/// Where a replica's state lives, and beside it a history: numbered records of which the oldest go by
/// and by. An implementation that can no longer read or write ends the process: a replica that lost
/// its state must not answer.
pub trait StateBackend {
    /// The value under `key`.
    fn get(&self, key: &[u8]) -> Option<Vec<u8>>;

    /// Visits entries with `from <= key`, below `until` if given, in key order until `visit`
    /// breaks.
    fn scan(
        &self,
        from: &[u8],
        until: Option<&[u8]>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    );

    /// Applies all changes (`None` deletes) and takes all records into the history. A crash keeps the
    /// changes of a prefix of the batches written, with all their records, and perhaps later records.
    fn write_with(&mut self, batch: &[(Vec<u8>, Option<Vec<u8>>)], records: &[(u64, Vec<u8>)]);

    /// [`Self::write_with`] without records.
    fn write(&mut self, batch: &[(Vec<u8>, Option<Vec<u8>>)]) {
        self.write_with(batch, &[]);
    }

    /// The record of the history that was last given this number, while it is kept.
    fn record(&self, number: u64) -> Option<Vec<u8>>;

    /// Everything written so far rests on records of the log that are durable: from now on it may
    /// become durable, too. Nothing does before, but by [`Self::sync`]: what a loss of power took from
    /// the log may be decided otherwise, and no state can go back. Begins to make something durable only
    /// if [`Self::hands_over`] said so last.
    fn settle(&mut self);

    /// Whether [`Self::settle`] is to begin to make something durable: what is to become durable with the
    /// rest can still be written before.
    fn hands_over(&mut self) -> bool;

    /// Makes everything written durable, settled or not.
    fn sync(&mut self);

    /// Begins to make everything written so far durable, as soon as it is settled;
    /// [`Self::is_synced`] says of the number returned whether that is done.
    fn begin_sync(&mut self) -> u64;

    /// Whether what [`Self::begin_sync`] returned this number for is durable.
    fn is_synced(&mut self, begun: u64) -> bool;
}

/// Visits the union of two layers in key order, until `visit` breaks: the entries that `scan` visits,
/// and changes over them (`None` deletes), each of which hides the entry under its key.
pub fn scan_over<'a>(
    changes: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>,
    scan: impl FnOnce(&mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>),
    visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
) {
    let mut changes = changes.peekable();
    let mut show = |key: &[u8], value: Option<&[u8]>| match value {
        Some(value) => visit(key, value),
        None => ControlFlow::Continue(()),
    };
    let mut flow = ControlFlow::Continue(());
    scan(&mut |key, value| {
        flow = (|| {
            while let Some((new, change)) = changes.next_if(|(next, _)| *next < key) {
                show(new, change)?;
            }
            match changes.next_if(|(next, _)| *next == key) {
                Some((_, change)) => show(key, change),
                None => show(key, Some(value)),
            }
        })();
        flow
    });
    if flow.is_continue() {
        let _ = changes.try_for_each(|(key, change)| show(key, change));
    }
}
