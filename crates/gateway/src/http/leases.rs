//! Leases, and the locks that hang on them.

use std::time::{SystemTime, UNIX_EPOCH};

use hyper::StatusCode;
use ravelin_model::requests::kv::{KvReply, KvRequest, LeaseId};
use ravelin_model::{ServiceId, Time};
use serde::{Deserialize, Serialize};

use super::answer::Answer;
use super::request::Asked;
use super::shapes::refused;
use crate::customer::Customer;
use crate::problem::Problem;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Grant {
    ttl_ms: u64,
}

#[derive(Serialize)]
struct Lease {
    lease: u64,
    ttl_ms: u64,
    /// By this host's clock; the cluster goes by agreed time.
    left_ms: u64,
}

/// Grants a lease.
pub(crate) async fn grant(customer: &Customer, asked: &Asked) -> Result<Answer, Problem> {
    asked.check_query(&[])?;
    let Grant { ttl_ms } = asked.json()?;
    let answer = ordered(customer, &KvRequest::LeaseGrant { ttl_ms }).await?;
    Ok(answer.status(StatusCode::CREATED))
}

/// Starts a lease's time anew.
pub(crate) async fn renew(customer: &Customer, asked: &Asked) -> Result<Answer, Problem> {
    asked.check_query(&[])?;
    ordered(customer, &KvRequest::LeaseRenew { lease: asked.lease()? }).await
}

/// Ends a lease.
pub(crate) async fn revoke(customer: &Customer, asked: &Asked) -> Result<Answer, Problem> {
    asked.check_query(&[])?;
    ordered(customer, &KvRequest::LeaseRevoke { lease: asked.lease()? }).await
}

/// Shows a lease.
pub(crate) async fn show(customer: &Customer, asked: &Asked) -> Result<Answer, Problem> {
    asked.check_query(&[])?;
    let request = KvRequest::LeaseShow { lease: asked.lease()? };
    let reply = customer.read(ServiceId::KV, &request).await?;
    answer(reply).map(|answer| answer.at(customer.seen()))
}

async fn ordered(customer: &Customer, request: &KvRequest) -> Result<Answer, Problem> {
    let (reply, place) = customer.order(ServiceId::KV, request).await?;
    answer(reply).map(|answer| answer.at(place.unwrap_or_else(|| customer.seen())))
}

fn answer(reply: KvReply) -> Result<Answer, Problem> {
    match reply {
        KvReply::Lease { lease, ttl_ms, expires } => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let now = Time(u64::try_from(now.as_micros()).unwrap_or(u64::MAX));
            let left_ms = u64::try_from(expires.since(now).as_millis()).unwrap_or(u64::MAX);
            Ok(Answer::json(&Lease { lease: lease.0, ttl_ms, left_ms }))
        }
        KvReply::LeaseEnded => Ok(Answer::empty(StatusCode::NO_CONTENT)),
        other => Err(refused(other)),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Under {
    lease: u64,
}

/// How an attempt at a lock stands.
#[derive(Serialize)]
struct Attempt {
    locked: bool,
    /// The fencing token: what the lock protects refuses a smaller one than it has seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<u64>,
    /// How many are before the asker.
    #[serde(skip_serializing_if = "Option::is_none")]
    ahead: Option<u32>,
}

#[derive(Serialize)]
struct Lock {
    holder: Option<Holder>,
    waiting: u32,
    revision: u64,
}

#[derive(Serialize)]
struct Holder {
    lease: u64,
    token: u64,
}

/// Takes a lock, or queues for it. Asking again with the same lease tells how it stands.
pub(crate) async fn lock(customer: &Customer, asked: &Asked) -> Result<Answer, Problem> {
    asked.check_query(&[])?;
    let (name, Under { lease }) = (asked.key()?, asked.json()?);
    let request = KvRequest::Lock { name, lease: LeaseId(lease) };
    let (reply, place) = customer.order(ServiceId::KV, &request).await?;
    let answer = match reply {
        KvReply::Locked { token } => {
            Answer::json(&Attempt { locked: true, token: Some(token.0), ahead: None })
        }
        KvReply::Queued { ahead } => {
            let attempt = Attempt { locked: false, token: None, ahead: Some(ahead) };
            Answer::json(&attempt).status(StatusCode::ACCEPTED)
        }
        other => return Err(refused(other)),
    };
    Ok(answer.at(place.unwrap_or_else(|| customer.seen())))
}

/// Gives a lock up, or leaves its queue.
pub(crate) async fn unlock(customer: &Customer, asked: &Asked) -> Result<Answer, Problem> {
    asked.check_query(&["lease"])?;
    let Some(lease) = asked.number("lease")? else {
        return Err(Problem::invalid("no lease is named", "add ?lease=ID to the path"));
    };
    let request = KvRequest::Unlock { name: asked.key()?, lease: LeaseId(lease) };
    let (reply, place) = customer.order(ServiceId::KV, &request).await?;
    match reply {
        KvReply::Unlocked => {
            let position = place.unwrap_or_else(|| customer.seen());
            Ok(Answer::empty(StatusCode::NO_CONTENT).at(position))
        }
        other => Err(refused(other)),
    }
}

/// Shows a lock.
pub(crate) async fn show_lock(customer: &Customer, asked: &Asked) -> Result<Answer, Problem> {
    asked.check_query(&[])?;
    let request = KvRequest::LockShow { name: asked.key()? };
    match customer.read(ServiceId::KV, &request).await? {
        KvReply::Lock { holder, waiting, revision } => {
            let holder = holder.map(|(lease, token)| Holder { lease: lease.0, token: token.0 });
            Ok(Answer::json(&Lock { holder, waiting, revision }).at(customer.seen()))
        }
        other => Err(refused(other)),
    }
}
