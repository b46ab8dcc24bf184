//! Reading one key, and listing many.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use ravelin_model::limits::LIST_ENTRIES_MAX;
use ravelin_model::requests::kv::{
    Entry, KvReply, KvRequest, StoredEntry, StoredLease, entry_key, lease_key,
};
use ravelin_model::{CommitStatement, Decode as _, ServiceId, Time};
use serde::Serialize;

use super::bytes::{Named, Shown};
use super::{Invocation, key, prefix, refused};
use crate::client_command::trouble::senseless;
use crate::client_command::{self, Client, Speaker};
use crate::exit::{Error, Exit, Result};
use crate::output::Format;

const GET_HELP: &str = "\
Examples:
  ravelin kv get color
  ravelin kv get color --output json
  ravelin kv get color --stale-ok

Prints the value and a newline; JSON has its position, version and lease too. Exit code 4 says
that the key has no value.";

/// Arguments of `kv get`.
#[derive(Args)]
#[command(after_long_help = GET_HELP)]
pub(crate) struct Get {
    /// The key
    key: String,
    /// Take a value that may be old, from one server, with proof that a quorum signed that state
    #[arg(long)]
    stale_ok: bool,
}

/// Arguments of `kv list`.
#[derive(Args)]
pub(crate) struct List {
    /// Only keys that begin with this [default: all]
    #[arg(default_value = "", hide_default_value = true)]
    prefix: String,
    /// Leave out the values
    #[arg(long)]
    keys_only: bool,
    /// Stop after so many entries
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
}

/// An entry as scripts see it.
#[derive(Serialize)]
pub(super) struct Shape {
    #[serde(flatten)]
    key: Named,
    #[serde(flatten)]
    value: Option<Named>,
    created: u64,
    changed: u64,
    version: u64,
    lease: Option<u64>,
}

impl From<Entry> for Shape {
    fn from(entry: Entry) -> Self {
        Self {
            key: Named("key", entry.key),
            value: Some(Named("value", entry.value)),
            created: entry.created.0,
            changed: entry.changed.0,
            version: entry.version,
            lease: entry.lease.map(|lease| lease.0),
        }
    }
}

/// Prints the value of a key.
pub(super) fn get(invocation: &Invocation, arguments: Get) -> Result<()> {
    let key = key(&arguments.key)?;
    let found = client_command::run(invocation, &Speaker::Client, async |client| {
        if arguments.stale_ok {
            stale(client, key.clone()).await
        } else {
            fresh(client, key.clone()).await.map(|entry| (entry, None))
        }
    })?;
    let (Some(entry), age) = found else {
        let cause = format!("`{}` has no value", Shown(&key));
        return Err(Error::new(Exit::NotFound, cause, "`ravelin kv list` shows what is there"));
    };
    match invocation.output.format() {
        Format::Text => {
            let mut line = entry.value;
            line.push(b'\n');
            invocation.output.write_bytes(&line).map(drop)
        }
        Format::Json => {
            #[derive(Serialize)]
            struct Result {
                #[serde(flatten)]
                entry: Shape,
                #[serde(skip_serializing_if = "Option::is_none")]
                stale: Option<Age>,
            }
            let result = Result { entry: entry.into(), stale: age };
            let text = serde_json::to_string(&result).expect("results have plain fields");
            invocation.output.write(&format!("{text}\n"))
        }
    }
}

async fn fresh(client: &Client, key: Vec<u8>) -> Result<Option<Entry>> {
    match client.read(ServiceId::KV, &KvRequest::Get { key }).await? {
        KvReply::Entry(entry) => Ok(Some(entry)),
        KvReply::Absent { .. } => Ok(None),
        other => Err(refused(other)),
    }
}

/// How old a value may be.
#[derive(Serialize)]
struct Age {
    commit: u64,
    position: u64,
    age_ms: u64,
}

/// The entry in the newest state that a server can prove, and how old that state is.
async fn stale(client: &Client, key: Vec<u8>) -> Result<(Option<Entry>, Option<Age>)> {
    let proven = client.prove(ServiceId::KV, entry_key(&key)).await?;
    let statement = proven.statement;
    let age = age(&statement);
    client.output().note(format_args!(
        "as of {:.1} s ago by agreed time: commit {}, signed by a quorum",
        age.as_secs_f64(),
        statement.commit.0
    ));
    let age = Age {
        commit: statement.commit.0,
        position: statement.position.0,
        age_ms: u64::try_from(age.as_millis()).unwrap_or(u64::MAX),
    };
    let stored = proven.value.map(|value| StoredEntry::decode("stored entry", &value));
    let Some(stored) = stored.transpose().map_err(senseless)? else {
        return Ok((None, Some(age)));
    };
    // A key has its value only while its lease lives.
    if let Some(lease) = stored.lease {
        let proven = client.prove(ServiceId::KV, lease_key(lease)).await?;
        let lease = proven.value.map(|value| StoredLease::decode("stored lease", &value));
        let lease = lease.transpose().map_err(senseless)?;
        if lease.is_none_or(|lease| lease.expires <= statement.time) {
            return Ok((None, Some(age)));
        }
    }
    let StoredEntry { created, changed, version, lease, value } = stored;
    Ok((Some(Entry { key, value, created, changed, version, lease }), Some(age)))
}

/// How long ago a commit was, by this host's clock.
fn age(statement: &CommitStatement) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time(u64::try_from(now.as_micros()).unwrap_or(u64::MAX)).since(statement.time)
}

/// Lists entries, page after page.
pub(super) fn list(invocation: &Invocation, arguments: List) -> Result<()> {
    let prefix = prefix(&arguments.prefix)?;
    let output = invocation.output;
    let mut collected = Vec::new();
    client_command::run(invocation, &Speaker::Client, async |client| {
        let mut left = arguments.limit.unwrap_or(u64::MAX);
        let mut after = Some(Vec::new());
        while let (1.., Some(from)) = (left, after.take()) {
            let page = KvRequest::List {
                prefix: prefix.clone(),
                after: from,
                limit: u16::try_from(left).unwrap_or(u16::MAX).min(LIST_ENTRIES_MAX),
                keys_only: arguments.keys_only,
            };
            let (entries, next) = match client.read(ServiceId::KV, &page).await? {
                KvReply::Entries { entries, next, .. } => (entries, next),
                other => return Err(refused(other)),
            };
            left = left.saturating_sub(entries.len() as u64);
            after = next;
            match output.format() {
                Format::Json => collected.extend(entries.into_iter().map(|entry| {
                    let mut shape = Shape::from(entry);
                    shape.value = shape.value.filter(|_| !arguments.keys_only);
                    shape
                })),
                Format::Text => {
                    if !output.write_bytes(&lines(&entries, arguments.keys_only))? {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    })?;
    if output.format() == Format::Text {
        return Ok(());
    }
    let text = serde_json::json!({ "entries": collected }).to_string();
    output.write(&format!("{text}\n"))
}

/// One line an entry: the key, a tab, the value.
fn lines(entries: &[Entry], keys_only: bool) -> Vec<u8> {
    let mut text = String::new();
    for entry in entries {
        text.push_str(&Shown(&entry.key).to_string());
        if !keys_only {
            text.push_str(&format!("\t{}", Shown(&entry.value)));
        }
        text.push('\n');
    }
    text.into_bytes()
}
