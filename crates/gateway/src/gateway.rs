//! A gateway: its tokens, their clients of the cluster, and whether the cluster serves.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ravelin_model::{ClusterId, Digest, Misbehaviour, ReplicaId, SignedPlan};
use tokio::time::{sleep, timeout};

use crate::customer::{Cluster, Customer, Dismissal};
use crate::limits::{READY_LOOK_EVERY, READY_LOOK_MAX};
use crate::problem::{Code, Problem};
use crate::tokens::{self, Bearer, TokensError};

/// A look older than this says nothing any more.
const LOOK_AGE_MAX: Duration = READY_LOOK_EVERY.saturating_mul(3);

/// How a gateway serves.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Whether it can be reached from beyond its host.
    pub is_exposed: bool,
    /// How long each request may take at the cluster.
    pub timeout: Duration,
}

/// A gateway. Its front ends share it.
pub struct Gateway {
    cluster: Cluster,
    settings: Settings,
    tokens: Mutex<BTreeMap<Digest, Held>>,
    look: Mutex<Option<(Instant, Result<(), &'static str>)>>,
}

/// A token, with its client once it was used.
struct Held {
    bearer: Bearer,
    customer: Option<Arc<Customer>>,
}

impl Gateway {
    /// A gateway to `cluster`, without tokens yet.
    #[must_use]
    pub fn new(cluster: Cluster, settings: Settings) -> Self {
        Self { cluster, settings, tokens: Mutex::default(), look: Mutex::default() }
    }

    /// Serves these from here on. What goes on under others ends; what goes on under these does not.
    ///
    /// # Errors
    /// [`TokensError`]; nothing has changed.
    pub fn replace(&self, bearers: Vec<Bearer>) -> Result<(), TokensError> {
        tokens::check(&bearers)?;
        let mut tokens = self.tokens();
        let mut old = std::mem::take(&mut *tokens);
        for bearer in bearers {
            let known = old.remove(&bearer.digest);
            let known = known.filter(|held| held.bearer.seed == bearer.seed);
            let customer = known.and_then(|held| held.customer);
            tokens.insert(bearer.digest, Held { bearer, customer });
        }
        for customer in old.into_values().filter_map(|held| held.customer) {
            customer.dismiss(Dismissal::Removed);
        }
        Ok(())
    }

    /// Ends the streams that go on; requests under way are not touched.
    pub(crate) fn stop(&self) {
        for customer in self.tokens().values().filter_map(|held| held.customer.as_ref()) {
            customer.dismiss(Dismissal::Stopped);
        }
    }

    /// Whether those who use it must trust somebody else than themselves.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.settings.is_exposed || self.token_count() > 1
    }

    /// How many tokens it serves.
    #[must_use]
    pub fn token_count(&self) -> usize {
        self.tokens().len()
    }

    /// What was found against servers since it was last asked.
    #[must_use]
    pub fn take_accused(&self) -> Vec<(ReplicaId, Misbehaviour)> {
        let customers: Vec<_> =
            self.tokens().values().filter_map(|held| held.customer.clone()).collect();
        customers.iter().flat_map(|customer| customer.connection().take_accused()).collect()
    }

    /// Looks again and again whether the cluster serves the first token. Never ends.
    pub async fn look(&self) {
        loop {
            let looked = match self.first() {
                None => Err("no token"),
                Some(customer) => match timeout(READY_LOOK_MAX, customer.check_served()).await {
                    Ok(Ok(())) => Ok(()),
                    Ok(Err(problem)) => Err(problem.code().name()),
                    Err(_) => Err(Code::NoQuorum.name()),
                },
            };
            *self.look.lock().unwrap_or_else(PoisonError::into_inner) =
                Some((Instant::now(), looked));
            sleep(READY_LOOK_EVERY).await;
        }
    }

    /// The cluster that it serves.
    #[must_use]
    pub fn cluster_id(&self) -> ClusterId {
        self.cluster.keyring.cluster()
    }

    /// The plan that it began with.
    #[must_use]
    pub fn plan(&self) -> &SignedPlan {
        &self.cluster.plan
    }

    pub(crate) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.settings.timeout
    }

    /// What the last look showed.
    pub(crate) fn readiness(&self) -> Result<(), &'static str> {
        let look = *self.look.lock().unwrap_or_else(PoisonError::into_inner);
        match look {
            Some((at, looked)) if at.elapsed() < LOOK_AGE_MAX + READY_LOOK_MAX => looked,
            _ => Err("not looked yet"),
        }
    }

    /// The client that a token stands for, with the token's name; `None` if it is not known.
    pub(crate) fn customer(
        &self,
        token: &[u8],
    ) -> Result<Option<(String, Arc<Customer>)>, Problem> {
        let mut tokens = self.tokens();
        let found = tokens::find(token, tokens.iter_mut());
        found.map(|held| Ok((held.bearer.name.clone(), self.connected(held)?))).transpose()
    }

    /// The client of the first token by name.
    fn first(&self) -> Option<Arc<Customer>> {
        let mut tokens = self.tokens();
        let first = tokens.values_mut().min_by(|a, b| a.bearer.name.cmp(&b.bearer.name))?;
        self.connected(first).ok()
    }

    /// The client of a token, which connects when it is first used.
    fn connected(&self, held: &mut Held) -> Result<Arc<Customer>, Problem> {
        if let Some(customer) = &held.customer {
            return Ok(Arc::clone(customer));
        }
        let failed = |error: io::Error| {
            let hint = "check the gateway's limit of open files";
            Problem::new(Code::Failed, format!("cannot connect: {error}"), hint)
        };
        let customer = Arc::new(Customer::start(&self.cluster, &held.bearer).map_err(failed)?);
        held.customer = Some(Arc::clone(&customer));
        Ok(customer)
    }

    fn tokens(&self) -> MutexGuard<'_, BTreeMap<Digest, Held>> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
