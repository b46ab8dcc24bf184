//! The services of a replica, with a witness who writes down what is executed where.

use std::sync::{Arc, Mutex, PoisonError};

use ravelin_model::{
    Application, Change, ClusterPlan, Context, Outcome, PublicKey, QueryContext, Refusal,
    ServiceId, ServiceStores, Time,
};
use ravelin_services::Services;

/// One operation executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Execution {
    /// Where, when and for whom.
    pub context: Context,
    /// The service.
    pub service: ServiceId,
    /// The request's bytes.
    pub request: Vec<u8>,
    /// What came of it.
    pub reply: Result<Vec<u8>, Refusal>,
}

/// What a replica executed since it was last asked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Witness(Arc<Mutex<Vec<Execution>>>);

impl Witness {
    /// Takes what was written down.
    pub(crate) fn take(&self) -> Vec<Execution> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The product's services, watched.
pub(crate) struct Watched {
    pub(crate) services: Services,
    pub(crate) witness: Witness,
}

impl Application for Watched {
    fn genesis(&self, plan: &ClusterPlan, store: &mut dyn ServiceStores) {
        self.services.genesis(plan, store);
    }

    fn admits(&self, store: &mut dyn ServiceStores, client: &PublicKey) -> bool {
        self.services.admits(store, client)
    }

    fn may_ask(
        &self,
        service: ServiceId,
        store: &mut dyn ServiceStores,
        client: &PublicKey,
    ) -> bool {
        self.services.may_ask(service, store, client)
    }

    fn execute(
        &self,
        service: ServiceId,
        context: &Context,
        store: &mut dyn ServiceStores,
        request: &[u8],
    ) -> Result<Outcome, Refusal> {
        let outcome = self.services.execute(service, context, store, request);
        let reply = outcome.as_ref().map(|outcome| outcome.reply.clone()).map_err(|why| *why);
        let (context, request) = (*context, request.to_vec());
        let mut seen = self.witness.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.push(Execution { context, service, request, reply });
        outcome
    }

    fn query(
        &self,
        service: ServiceId,
        context: &QueryContext,
        store: &mut dyn ServiceStores,
        request: &[u8],
    ) -> Option<Vec<u8>> {
        self.services.query(service, context, store, request)
    }

    fn sweep(&self, now: Time, store: &mut dyn ServiceStores) -> Vec<(ServiceId, Change)> {
        self.services.sweep(now, store)
    }
}
