//! Leases: what hangs on one goes when its time is up.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand};
use ravelin_model::limits::{LEASE_TTL_MAX, LEASE_TTL_MIN};
use ravelin_model::requests::kv::{KvReply, KvRequest, LeaseId};
use ravelin_model::{ServiceId, Time};
use serde::Serialize;

use super::{Invocation, lease, refused};
use crate::client_command::{self, Client, Speaker};
use crate::exit::{Error, Result};
use crate::settings::{SPAN_BOUNDS, duration};

/// The verbs.
#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Grant a lease; prints its number
    Grant(Grant),
    /// Start a lease's time anew
    Renew(Which),
    /// End a lease: its keys go, its locks pass on
    Revoke(Which),
    /// Show a lease
    Show(Which),
}

const GRANT_HELP: &str = "\
Example:
  ravelin kv lease grant 10m

Prints the number of the lease; then, with that number:
  ravelin kv put host/a up --lease 17
  ravelin kv lease renew 17

A lease lasts from 1s to 24h. Its end is judged at the time that the servers agree on, which on
an idle cluster moves with their heartbeat: what hangs on it may go 1 to 3 seconds late.";

/// Arguments of `kv lease grant`.
#[derive(Args)]
#[command(after_long_help = GRANT_HELP)]
pub(crate) struct Grant {
    /// How long it lasts unless renewed, as 30s or 10m
    #[arg(value_parser = ttl)]
    ttl: Duration,
}

/// Which lease.
#[derive(Args)]
pub(crate) struct Which {
    /// The lease
    #[arg(value_name = "ID", value_parser = lease)]
    lease: LeaseId,
}

/// Reads how long a lease lasts.
pub(super) fn ttl(text: &str) -> Result<Duration, String> {
    let bounds = || format!("a lease lasts from {LEASE_TTL_MIN:?} to 24h");
    match duration(text) {
        Ok(ttl) if (LEASE_TTL_MIN..=LEASE_TTL_MAX).contains(&ttl) => Ok(ttl),
        Err(error) if error != SPAN_BOUNDS => Err(error),
        _ => Err(bounds()),
    }
}

/// Runs a verb.
pub(super) fn run(invocation: &Invocation, verb: Verb) -> Result<()> {
    let (request, is_ordered) = match &verb {
        Verb::Grant(grant) => (KvRequest::LeaseGrant { ttl_ms: milliseconds(grant.ttl) }, true),
        Verb::Renew(which) => (KvRequest::LeaseRenew { lease: which.lease }, true),
        Verb::Revoke(which) => (KvRequest::LeaseRevoke { lease: which.lease }, true),
        Verb::Show(which) => (KvRequest::LeaseShow { lease: which.lease }, false),
    };
    let reply = client_command::run(invocation, &Speaker::Client, async |client| {
        if is_ordered {
            client.order(ServiceId::KV, &request).await
        } else {
            client.read(ServiceId::KV, &request).await
        }
    })?;
    match (verb, reply) {
        (Verb::Grant(_), KvReply::Lease { lease, ttl_ms, .. }) => {
            invocation.output.print(&Granted { lease: lease.0, ttl_ms })
        }
        (_, KvReply::Lease { lease, ttl_ms, expires }) => {
            let left_ms = milliseconds(expires.since(now()));
            invocation.output.print(&Shown { lease: lease.0, ttl_ms, left_ms })
        }
        (Verb::Revoke(which), KvReply::LeaseEnded) => {
            invocation.output.print(&Ended { lease: which.lease.0 })
        }
        (_, other) => Err(refused(other)),
    }
}

/// Grants a lease.
pub(super) async fn grant(client: &Client, ttl: Duration) -> Result<LeaseId> {
    let request = KvRequest::LeaseGrant { ttl_ms: milliseconds(ttl) };
    match client.order(ServiceId::KV, &request).await? {
        KvReply::Lease { lease, .. } => Ok(lease),
        other => Err(refused(other)),
    }
}

/// Renews a lease, and says how long it lasts from now on.
pub(super) async fn renew(client: &Client, lease: LeaseId) -> Result<Duration> {
    match client.order(ServiceId::KV, &KvRequest::LeaseRenew { lease }).await? {
        KvReply::Lease { ttl_ms, .. } => Ok(Duration::from_millis(ttl_ms)),
        other => Err(refused(other)),
    }
}

/// Ends a lease.
pub(super) async fn revoke(client: &Client, lease: LeaseId) -> Result<()> {
    match client.order(ServiceId::KV, &KvRequest::LeaseRevoke { lease }).await? {
        // One that has ended by itself is as good.
        KvReply::LeaseEnded | KvReply::NoLease => Ok(()),
        other => Err(refused(other)),
    }
}

fn milliseconds(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

fn now() -> Time {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time(u64::try_from(now.as_micros()).unwrap_or(u64::MAX))
}

#[derive(Serialize)]
struct Granted {
    lease: u64,
    ttl_ms: u64,
}

impl fmt::Display for Granted {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lease.fmt(out)
    }
}

#[derive(Serialize)]
struct Shown {
    lease: u64,
    ttl_ms: u64,
    /// By this host's clock; the cluster goes by agreed time.
    left_ms: u64,
}

impl fmt::Display for Shown {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |milliseconds| Duration::from_millis(milliseconds).as_secs_f64();
        let (left, ttl) = (seconds(self.left_ms), seconds(self.ttl_ms));
        write!(out, "lease {} has {left:.1} s left of {ttl:.1} s", self.lease)
    }
}

#[derive(Serialize)]
struct Ended {
    lease: u64,
}

impl fmt::Display for Ended {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "lease {} has ended", self.lease)
    }
}

/// A lease that could not be kept.
pub(super) fn lost(lease: LeaseId, error: &Error) -> String {
    format!("lease {} is lost: {}", lease.0, error.message())
}
