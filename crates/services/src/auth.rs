//! Who may use the cluster.
//!
//! **Guarantee:** after genesis, clients change only by an order that as many distinct administrators
//! signed as the plan demands. An order names cluster, incarnation and its own serial, one above the
//! last carried out: so of all orders ever signed at most one a serial is carried out, once, and an
//! old enrolment cannot be replayed after its client was revoked.
//!
//! An order that gives a server another block key ([`AuthAction::Rekey`]) is judged here as to its
//! approvals alone: this service does not know the plan in force. [`Outcome::rekey`] hands the rest
//! on to whoever executes; if that refuses, it undoes the operation, and the serial stays free. The
//! key stands in the next epoch's plan, not in this store, so watchers are told of no change.
//!
//! Assumes that fewer administrators' keys than needed are in wrong hands, and that signatures cannot
//! be forged. Anyone who is admitted may submit an order; the approvals count, not the bearer. What a
//! revoked client began (leases, locks, sessions) runs out by itself; it can do nothing more.
//!
//! # Layout of the store
//!
//! | key | value | |
//! |---|---|---|
//! | `c` name | `ClientRecord` | a client |
//! | `k` key | its name | the same, found by key |
//! | `a` key | empty | an administrator |
//! | `p` | `Policy` | which orders count |
//!
//! # Reads without ordering
//! Replies of `List` and `WhoAmI` name the next serial, which grows with every change there is: equal
//! replies come from equal states.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use borsh::{BorshDeserialize, BorshSerialize};
use ravelin_crypto::{Domain, Scheme, plan_digest};
use ravelin_model::limits::{CLIENTS_LISTED_MAX, NAME_BYTES_MAX};
use ravelin_model::requests::auth::{
    AuthAction, AuthOrder, AuthReply, AuthRequest, CLIENT_TAG, ClientRecord, client_key,
};
use ravelin_model::{
    Change, ClusterId, ClusterPlan, Context, Encode as _, Incarnation, Outcome, Position,
    PublicKey, QueryContext, Service, ServiceId, Signature, Store, Time, View,
};

/// What checking a signature counts as, in [`View::spend`]: 40 us where reading takes 0.25 ns a byte.
const CHECK_WORK: usize = 160 << 10;
const KEY_TAG: u8 = b'k';
const ADMINISTRATOR_TAG: u8 = b'a';
const POLICY_KEY: &[u8] = b"p";

/// The service of clients and administrators.
#[derive(Clone, Debug)]
pub struct Auth {
    scheme: Scheme,
}

/// Which orders count.
#[derive(Debug, BorshSerialize, BorshDeserialize)]
struct Policy {
    cluster: ClusterId,
    incarnation: Incarnation,
    administrators: u16,
    administrators_needed: u16,
    next_serial: u64,
}

impl Auth {
    /// The service; approvals are judged by `scheme`.
    #[must_use]
    pub fn new(scheme: Scheme) -> Self {
        Self { scheme }
    }

    /// Writes the clients and administrators that a cluster's first plan names.
    ///
    /// # Panics
    /// If `plan` follows another one.
    pub fn genesis(&self, plan: &ClusterPlan, store: &mut dyn Store) {
        assert!(plan.previous.is_none(), "the state begins with the first plan");
        let administrators: BTreeSet<_> = plan.administrators.iter().collect();
        let policy = Policy {
            cluster: ClusterId(plan_digest(plan)),
            incarnation: plan.incarnation,
            administrators: u16::try_from(administrators.len()).unwrap_or(u16::MAX),
            administrators_needed: plan.administrators_needed,
            next_serial: 1,
        };
        store.put(POLICY_KEY, policy.encode());
        for key in administrators {
            store.put(&tagged(ADMINISTRATOR_TAG, key), Vec::new());
        }
        for client in &plan.clients {
            let since = Position(0);
            let record = ClientRecord { name: client.name.clone(), key: client.key, since };
            store.put(&tagged(KEY_TAG, &record.key), record.name.as_bytes().to_vec());
            store.put(&client_key(&record.name), record.encode());
        }
    }

    /// Whether `key` is enrolled.
    #[must_use]
    pub fn is_client(&self, view: &dyn View, key: &PublicKey) -> bool {
        view.get(&tagged(KEY_TAG, key)).is_some()
    }

    /// Whether `key` is an administrator's.
    #[must_use]
    pub fn is_administrator(&self, view: &dyn View, key: &PublicKey) -> bool {
        view.get(&tagged(ADMINISTRATOR_TAG, key)).is_some()
    }

    /// Carries out an order, or says why not.
    ///
    /// # Errors
    /// The reply that refuses it; nothing has changed then.
    fn change(
        &self,
        position: Position,
        store: &mut dyn Store,
        order: &AuthOrder,
        approvals: &[(PublicKey, Signature)],
    ) -> Result<Outcome, AuthReply> {
        let mut policy = policy(store);
        if !is_action(&order.action) || approvals.len() > usize::from(policy.administrators) {
            return Err(AuthReply::Invalid);
        }
        if let AuthAction::Enroll { key, .. } = &order.action
            && self.scheme.is_weak(key)
        {
            return Err(AuthReply::Invalid); // anybody could speak in its name
        }
        if (order.cluster, order.incarnation) != (policy.cluster, policy.incarnation) {
            return Err(AuthReply::WrongCluster);
        }
        if order.serial != policy.next_serial {
            return Err(AuthReply::WrongSerial { next: policy.next_serial });
        }
        let (got, needed) = (self.approved(store, order, approvals), policy.administrators_needed);
        if got < needed {
            return Err(AuthReply::NotApproved { got, needed });
        }
        let mut outcome = Outcome::default();
        match &order.action {
            AuthAction::Enroll { name, key } => {
                outcome.changes.push(enroll(position, store, name, key)?);
            }
            AuthAction::Revoke { name } => outcome.changes.push(revoke(store, name)?),
            AuthAction::Rekey { member, block } => outcome.rekey = Some((*member, *block)),
        }
        policy.next_serial = policy.next_serial.saturating_add(1);
        store.put(POLICY_KEY, policy.encode());
        outcome.reply = AuthReply::Changed { next_serial: policy.next_serial }.encode();
        Ok(outcome)
    }

    /// Distinct administrators whose signatures hold, up to the first that does not: so an order
    /// that nobody approved costs one check, however many approvals are claimed.
    fn approved(
        &self,
        view: &dyn View,
        order: &AuthOrder,
        approvals: &[(PublicKey, Signature)],
    ) -> u16 {
        let message = order.encode();
        let mut seen = BTreeSet::new();
        let holding = approvals
            .iter()
            .filter(|(key, _)| self.is_administrator(view, key) && seen.insert(*key))
            .take_while(|(key, signature)| {
                view.spend(CHECK_WORK);
                self.scheme.verify(Domain::AuthOrder, key, &message, signature)
            });
        u16::try_from(holding.count()).unwrap_or(u16::MAX)
    }

    fn read(&self, view: &dyn View, asker: &PublicKey, request: &AuthRequest) -> Option<AuthReply> {
        match request {
            AuthRequest::Change { .. } => None,
            AuthRequest::List { after, limit } => Some(list(view, after, *limit)),
            AuthRequest::WhoAmI => Some(AuthReply::You {
                client: client(view, asker),
                administrator: self.is_administrator(view, asker),
                next_serial: policy(view).next_serial,
            }),
        }
    }
}

impl Service for Auth {
    const ID: ServiceId = ServiceId::AUTH;
    type Request = AuthRequest;

    fn execute(&self, context: &Context, store: &mut dyn Store, request: AuthRequest) -> Outcome {
        if let Some(reply) = self.read(store, &context.client, &request) {
            return replied(&reply);
        }
        let AuthRequest::Change { order, approvals } = request else {
            unreachable!("all other requests only read")
        };
        self.change(context.position, store, &order, &approvals)
            .unwrap_or_else(|refused| replied(&refused))
    }

    fn query(
        &self,
        context: &QueryContext,
        store: &dyn View,
        request: AuthRequest,
    ) -> Option<Vec<u8>> {
        self.read(store, &context.client, &request).map(|reply| reply.encode())
    }

    fn sweep(&self, _: Time, _: &mut dyn Store) -> Vec<Change> {
        Vec::new() // nothing here ends by itself
    }
}

/// An outcome that changes nothing.
fn replied(reply: &AuthReply) -> Outcome {
    Outcome { reply: reply.encode(), ..Outcome::default() }
}

fn enroll(
    position: Position,
    store: &mut dyn Store,
    name: &str,
    key: &PublicKey,
) -> Result<Change, AuthReply> {
    let by_name = client_key(name);
    let by_key = tagged(KEY_TAG, key);
    if store.get(&by_name).is_some() || store.get(&by_key).is_some() {
        return Err(AuthReply::Exists);
    }
    let record = ClientRecord { name: name.to_owned(), key: *key, since: position }.encode();
    store.put(&by_key, name.as_bytes().to_vec());
    store.put(&by_name, record.clone());
    Ok(Change { key: by_name, value: Some(record) })
}

fn revoke(store: &mut dyn Store, name: &str) -> Result<Change, AuthReply> {
    let by_name = client_key(name);
    let record: ClientRecord = store.get(&by_name).map(stored).ok_or(AuthReply::NotFound)?;
    store.delete(&tagged(KEY_TAG, &record.key));
    store.delete(&by_name);
    Ok(Change { key: by_name, value: None })
}

fn list(view: &dyn View, after: &str, limit: u16) -> AuthReply {
    if limit == 0 || limit > CLIENTS_LISTED_MAX || after.len() > NAME_BYTES_MAX {
        return AuthReply::Invalid;
    }
    let mut from = client_key(after);
    if !after.is_empty() {
        from.push(0); // the smallest key above it
    }
    let (mut clients, mut more) = (Vec::new(), false);
    view.scan(&from, Some(&[CLIENT_TAG + 1]), &mut |_, record| {
        if clients.len() == usize::from(limit) {
            more = true;
            return ControlFlow::Break(());
        }
        clients.push(stored(record.to_vec()));
        ControlFlow::Continue(())
    });
    let Policy { next_serial, administrators_needed, .. } = policy(view);
    AuthReply::Clients { clients, more, next_serial, administrators_needed }
}

fn client(view: &dyn View, key: &PublicKey) -> Option<ClientRecord> {
    let name = view.get(&tagged(KEY_TAG, key))?;
    let record = view.get(&[&[CLIENT_TAG][..], &name].concat());
    Some(record.map(stored).expect("every enrolled key has its client"))
}

fn policy(view: &dyn View) -> Policy {
    view.get(POLICY_KEY).map(stored).expect("genesis wrote the policy")
}

fn is_action(action: &AuthAction) -> bool {
    let (AuthAction::Enroll { name, .. } | AuthAction::Revoke { name }) = action else {
        return true; // whether there is such a member is for whoever knows the plan
    };
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic())
}

fn tagged(tag: u8, key: &PublicKey) -> [u8; 33] {
    let mut tagged = [tag; 33];
    tagged.iter_mut().skip(1).zip(key.0).for_each(|(to, from)| *to = from);
    tagged
}

/// Reads what this service wrote.
fn stored<T: BorshDeserialize>(bytes: Vec<u8>) -> T {
    borsh::from_slice(&bytes).expect("the store gives back the records that were put")
}

#[cfg(test)]
pub(crate) mod tests;
