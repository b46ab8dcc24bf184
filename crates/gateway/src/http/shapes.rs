//! How what the services reply looks in JSON. `docs/openapi.json` describes the same shapes.

use ravelin_model::requests::auth::ClientRecord;
use ravelin_model::requests::kv::{Entry, KvReply};
use serde::Serialize;

use super::spelling::Base64;
use crate::problem::{Code, Problem};

/// Bytes that are mostly text.
#[derive(Serialize)]
pub(crate) struct Key {
    /// Only if they are text.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    key_base64: Base64,
}

impl From<Vec<u8>> for Key {
    fn from(bytes: Vec<u8>) -> Self {
        Self { key: String::from_utf8(bytes.clone()).ok(), key_base64: Base64(bytes) }
    }
}

/// A key with its value and history.
#[derive(Serialize)]
pub(crate) struct EntryShape {
    #[serde(flatten)]
    key: Key,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<Base64>,
    created: u64,
    changed: u64,
    version: u64,
    lease: Option<u64>,
}

impl EntryShape {
    /// `has_value`: whether the value was asked for.
    pub(crate) fn of(entry: Entry, has_value: bool) -> Self {
        Self {
            key: entry.key.into(),
            value_base64: has_value.then_some(Base64(entry.value)),
            created: entry.created.0,
            changed: entry.changed.0,
            version: entry.version,
            lease: entry.lease.map(|lease| lease.0),
        }
    }
}

/// One client of the cluster.
#[derive(Serialize)]
pub(crate) struct ClientShape {
    name: String,
    key: String,
    since: u64,
}

impl From<ClientRecord> for ClientShape {
    fn from(record: ClientRecord) -> Self {
        Self { name: record.name, key: record.key.to_string(), since: record.since.0 }
    }
}

/// A reply that is not what was asked for, as a problem.
pub(crate) fn refused(reply: KvReply) -> Problem {
    let (code, detail, hint) = match reply {
        KvReply::NoLease => (
            Code::NotFound,
            "there is no such lease: it ended, or belongs to another client, or never was",
            "grant one with POST /v1/leases",
        ),
        KvReply::NotHolder => (
            Code::Conflict,
            "this lease neither holds the lock nor waits for it",
            "name the lease with which it was asked for",
        ),
        KvReply::LeaseFull => (
            Code::Conflict,
            "as many keys and locks hang on the lease as may",
            "grant another lease",
        ),
        KvReply::QueueFull => {
            (Code::Conflict, "as many wait for the lock as may", "try again later")
        }
        KvReply::TooLarge => (
            Code::TooLarge,
            "too much for one step, and nothing was done",
            "read or change less at once",
        ),
        KvReply::Invalid => (
            Code::InvalidRequest,
            "a key, value, list or time is outside the cluster's limits",
            "docs/limits.md names them",
        ),
        other => return Problem::senseless(other),
    };
    Problem::new(code, detail, hint)
}
