//! Services as deterministic state machines over an ordered key-value store.
//!
//! **Guarantee:** the same requests in the same order, with equal contexts, leave equal bytes in the
//! store and give equal replies and changes at every replica. No request, however malformed or
//! hostile, panics or costs more than its named limit; a request that is refused changes nothing,
//! but that what had ended by agreed time may be cleared away on the occasion.
//!
//! Assumes that the store gives back what was put (a record that cannot be read is our bug or a rotten
//! disk, and stops the replica), that agreed time never goes back, and that no two operations share
//! position and index. Nothing here knows of replicas, epochs or sessions.
//!
//! | service | who may ask | what |
//! |---|---|---|
//! | [`Auth`] | enrolled clients and administrators | who is let in |
//! | [`Kv`] | enrolled clients | entries, transactions, leases, locks |
//! | the audit log, which `replication` keeps | administrators | who had what executed |
//!
//! An administrator's key that is not enrolled as a client is let in for [`Auth`] alone: so an order
//! can be submitted while no client is left, and an approving key opens no data.

pub mod auth;
pub mod kv;

pub use auth::Auth;
pub use kv::Kv;

use ravelin_crypto::Scheme;
use ravelin_model::{
    Application, Change, ClusterPlan, Context, Decode as _, Outcome, PublicKey, QueryContext,
    Refusal, Service, ServiceId, ServiceStores, Time,
};

/// All services of a replica.
#[derive(Clone, Debug)]
pub struct Services {
    auth: Auth,
    kv: Kv,
}

impl Services {
    /// The services; administrators' approvals are judged by `scheme`.
    #[must_use]
    pub fn new(scheme: Scheme) -> Self {
        Self { auth: Auth::new(scheme), kv: Kv }
    }
}

impl Application for Services {
    fn genesis(&self, plan: &ClusterPlan, store: &mut dyn ServiceStores) {
        self.auth.genesis(plan, store.of(ServiceId::AUTH));
    }

    fn admits(&self, store: &mut dyn ServiceStores, client: &PublicKey) -> bool {
        let store = store.of(ServiceId::AUTH);
        self.auth.is_client(store, client) || self.auth.is_administrator(store, client)
    }

    fn may_ask(
        &self,
        service: ServiceId,
        store: &mut dyn ServiceStores,
        client: &PublicKey,
    ) -> bool {
        match service {
            ServiceId::AUTH => self.admits(store, client),
            ServiceId::AUDIT => self.auth.is_administrator(store.of(ServiceId::AUTH), client),
            _ => self.auth.is_client(store.of(ServiceId::AUTH), client),
        }
    }

    fn execute(
        &self,
        service: ServiceId,
        context: &Context,
        store: &mut dyn ServiceStores,
        request: &[u8],
    ) -> Result<Outcome, Refusal> {
        if !self.may_ask(service, store, &context.client) {
            return Err(Refusal::UnknownClient);
        }
        match service {
            ServiceId::AUTH => execute(&self.auth, context, store, request),
            ServiceId::KV => execute(&self.kv, context, store, request),
            _ => Err(Refusal::UnknownService),
        }
    }

    fn query(
        &self,
        service: ServiceId,
        context: &QueryContext,
        store: &mut dyn ServiceStores,
        request: &[u8],
    ) -> Option<Vec<u8>> {
        let may_read = match service {
            ServiceId::AUTH => Auth::may_read(request),
            ServiceId::KV => Kv::may_read(request),
            _ => false,
        };
        if !may_read || !self.may_ask(service, store, &context.client) {
            return None;
        }
        match service {
            ServiceId::AUTH => query(&self.auth, context, store, request),
            ServiceId::KV => query(&self.kv, context, store, request),
            _ => None,
        }
    }

    fn sweep(&self, now: Time, store: &mut dyn ServiceStores) -> Vec<(ServiceId, Change)> {
        sweep(&self.kv, now, store)
    }
}

fn execute<S: Service>(
    service: &S,
    context: &Context,
    store: &mut dyn ServiceStores,
    request: &[u8],
) -> Result<Outcome, Refusal> {
    let request = S::Request::decode("service request", request).map_err(|_| Refusal::Malformed)?;
    Ok(service.execute(context, store.of(S::ID), request))
}

fn query<S: Service>(
    service: &S,
    context: &QueryContext,
    store: &mut dyn ServiceStores,
    request: &[u8],
) -> Option<Vec<u8>> {
    let request = S::Request::decode("service request", request).ok()?;
    service.query(context, store.of(S::ID), request)
}

fn sweep<S: Service>(
    service: &S,
    now: Time,
    store: &mut dyn ServiceStores,
) -> Vec<(ServiceId, Change)> {
    service.sweep(now, store.of(S::ID)).into_iter().map(|change| (S::ID, change)).collect()
}

#[cfg(test)]
mod tests;
