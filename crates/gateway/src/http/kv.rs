//! Keys and values.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::StatusCode;
use hyper::header;
use ravelin_model::limits::{KV_VALUE_BYTES_MAX, LIST_ENTRIES_MAX};
use ravelin_model::requests::kv::{
    Condition, Entry, KvReply, KvRequest, LeaseId, StoredEntry, StoredLease, Write, entry_key,
    lease_key,
};
use ravelin_model::{CommitStatement, Decode as _, ServiceId, Time};
use serde::{Deserialize, Serialize};

use super::answer::Answer;
use super::request::{Asked, check_prefix};
use super::shapes::{EntryShape, refused};
use super::spelling::Base64;
use crate::customer::Customer;
use crate::problem::{Code, Problem};

/// One key.
pub(crate) async fn get(customer: &Customer, asked: &Asked) -> Result<Answer, Problem> {
    asked.check_query(&["stale_ok"])?;
    let key = asked.key()?;
    let (entry, age) = if asked.choice("stale_ok")? {
        let (entry, statement) = stale(customer, key).await?;
        (entry, Some(statement))
    } else {
        (fresh(customer, key).await?, None)
    };
    let dated = |answer: Answer| match &age {
        None => answer.at(customer.seen()),
        Some(statement) => aged(answer, statement),
    };
    let Some(entry) = entry else {
        let problem = Problem::new(Code::NotFound, "the key has no value", "GET /v1/kv lists keys");
        return Ok(dated(problem.into()));
    };
    let changed = entry.changed;
    if asked.known_position()? == Some(changed) {
        return Ok(dated(Answer::empty(StatusCode::NOT_MODIFIED)).tagged(changed));
    }
    let answer = if asked.wants_bytes() {
        Answer::bytes(entry.value)
    } else {
        Answer::json(&EntryShape::of(entry, true))
    };
    Ok(dated(answer).tagged(changed).field(header::VARY, "Accept"))
}

async fn fresh(customer: &Customer, key: Vec<u8>) -> Result<Option<Entry>, Problem> {
    match customer.read(ServiceId::KV, &KvRequest::Get { key }).await? {
        KvReply::Entry(entry) => {
            customer.see(entry.changed);
            Ok(Some(entry))
        }
        KvReply::Absent { removed } => {
            customer.see(removed);
            Ok(None)
        }
        other => Err(refused(other)),
    }
}

/// The entry in the newest state that a server can prove, and what a quorum signed about that state.
async fn stale(
    customer: &Customer,
    key: Vec<u8>,
) -> Result<(Option<Entry>, CommitStatement), Problem> {
    let proven = customer.prove(ServiceId::KV, entry_key(&key)).await?;
    let statement = proven.statement;
    let stored = proven.value.map(|value| StoredEntry::decode("stored entry", &value));
    let senseless = |error: ravelin_model::DecodeError| Problem::senseless(error.to_string());
    let Some(stored) = stored.transpose().map_err(senseless)? else { return Ok((None, statement)) };
    // A key has its value only while its lease lives.
    if let Some(lease) = stored.lease {
        let proven = customer.prove(ServiceId::KV, lease_key(lease)).await?;
        let lease = proven.value.map(|value| StoredLease::decode("stored lease", &value));
        let lease = lease.transpose().map_err(senseless)?;
        if lease.is_none_or(|lease| lease.expires <= statement.time) {
            return Ok((None, statement));
        }
    }
    let StoredEntry { created, changed, version, lease, value } = stored;
    Ok((Some(Entry { key, value, created, changed, version, lease }), statement))
}

/// Says how old the state is that an answer shows, by this host's clock.
fn aged(answer: Answer, statement: &CommitStatement) -> Answer {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = Time(u64::try_from(now.as_micros()).unwrap_or(u64::MAX));
    let age: Duration = now.since(statement.time);
    let milliseconds = header::HeaderName::from_static("ravelin-age-ms");
    let answer = answer.field(milliseconds, age.as_millis().to_string());
    answer.field(header::AGE, age.as_secs().to_string()).at(statement.position)
}

#[derive(Serialize)]
struct Page {
    entries: Vec<EntryShape>,
    /// Where to go on, if more may follow.
    next_base64: Option<Base64>,
}

/// One page of keys.
pub(crate) async fn list(customer: &Customer, asked: &Asked) -> Result<Answer, Problem> {
    asked.check_query(&["prefix", "after", "after_base64", "limit", "keys_only"])?;
    let prefix = asked.bytes("prefix").unwrap_or_default().to_vec();
    check_prefix(&prefix)?;
    let after = match (asked.bytes("after"), asked.bytes("after_base64")) {
        (Some(_), Some(_)) => {
            return Err(Problem::invalid("both `after` and `after_base64`", "leave one out"));
        }
        (Some(after), None) => after.to_vec(),
        (None, Some(text)) => {
            let decoded = std::str::from_utf8(text).ok().and_then(crate::base64::decode);
            let wrong = || Problem::invalid("`after_base64` is not base64", "take `next_base64`");
            decoded.ok_or_else(wrong)?
        }
        (None, None) => Vec::new(),
    };
    check_prefix(&after)?;
    let limit = asked.number("limit")?.unwrap_or_else(|| LIST_ENTRIES_MAX.into());
    let limit = u16::try_from(limit).ok().filter(|limit| (1..=LIST_ENTRIES_MAX).contains(limit));
    let wrong = || Problem::invalid("`limit` is out of range", format!("1 to {LIST_ENTRIES_MAX}"));
    let (limit, keys_only) = (limit.ok_or_else(wrong)?, asked.choice("keys_only")?);
    let request = KvRequest::List { prefix, after, limit, keys_only };
    match customer.read(ServiceId::KV, &request).await? {
        KvReply::Entries { entries, next, removed } => {
            customer.see(removed);
            for entry in &entries {
                customer.see(entry.changed);
            }
            let entries = entries.into_iter().map(|entry| EntryShape::of(entry, !keys_only));
            let page = Page { entries: entries.collect(), next_base64: next.map(Base64) };
            Ok(Answer::json(&page).at(customer.seen()))
        }
        other => Err(refused(other)),
    }
}

/// What is put, as JSON.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Put {
    value_base64: Base64,
    lease: Option<u64>,
}

/// Sets a key.
pub(crate) async fn put(customer: &Customer, asked: Asked) -> Result<Answer, Problem> {
    let (key, condition) = (asked.key()?, asked.condition()?);
    let (value, lease) = if asked.brings_bytes()? {
        asked.check_query(&["lease"])?;
        let lease = asked.number("lease")?;
        (asked.into_body(), lease)
    } else {
        asked.check_query(&[])?;
        let put: Put = asked.json()?;
        (put.value_base64.0, put.lease)
    };
    check_value(&value)?;
    write(customer, Write { key, value: Some(value), condition, lease: lease.map(LeaseId) }).await
}

/// Removes a key.
pub(crate) async fn delete(customer: &Customer, asked: &Asked) -> Result<Answer, Problem> {
    asked.check_query(&[])?;
    let (key, condition) = (asked.key()?, asked.condition()?);
    write(customer, Write { key, value: None, condition, lease: None }).await
}

/// Refuses what cannot be a value.
pub(crate) fn check_value(value: &[u8]) -> Result<(), Problem> {
    if value.len() > KV_VALUE_BYTES_MAX {
        let detail = format!("a value of {} bytes is too large", value.len());
        let hint = format!("at most {KV_VALUE_BYTES_MAX} bytes fit: split it");
        return Err(Problem::new(Code::TooLarge, detail, hint));
    }
    Ok(())
}

#[derive(Serialize)]
struct Written {
    position: u64,
    existed: bool,
}

async fn write(customer: &Customer, write: Write) -> Result<Answer, Problem> {
    let is_set = write.value.is_some();
    let is_bound = write.condition != Condition::Always;
    let (reply, _) = customer.order(ServiceId::KV, &KvRequest::Write(write)).await?;
    match reply {
        KvReply::Written { position, existed } => {
            customer.see(position);
            let answer = Answer::json(&Written { position: position.0, existed }).at(position);
            match (is_set, existed) {
                (true, false) => Ok(answer.tagged(position).status(StatusCode::CREATED)),
                (true, true) => Ok(answer.tagged(position)),
                (false, _) => Ok(answer),
            }
        }
        KvReply::Conflict { found, value_left_out } if is_bound => {
            let changed = found.as_ref().map(|entry| entry.changed);
            let shape = found.map(|entry| EntryShape::of(entry, !value_left_out));
            let found = serde_json::to_value(&shape).expect("shapes have plain fields");
            let detail = match changed {
                Some(changed) => format!("nothing was changed: the key changed at {}", changed.0),
                None => "nothing was changed: the key has no value".to_owned(),
            };
            let hint = "read it again and decide anew";
            let problem = Problem::new(Code::ConditionFailed, detail, hint).with("found", found);
            let answer = Answer::from(problem).at(customer.seen());
            Ok(changed.into_iter().fold(answer, Answer::tagged))
        }
        other => Err(refused(other)),
    }
}
