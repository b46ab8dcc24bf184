//! Setting and removing one key, if a condition holds.

use std::fmt;

use clap::Args;
use ravelin_model::requests::kv::{Condition, Entry, KvReply, KvRequest, LeaseId, Write as Change};
use ravelin_model::{Position, ServiceId};
use serde::Serialize;

use super::bytes::{Named, Shown};
use super::values::{self, Value};
use super::{Invocation, key, lease, refused};
use crate::client_command::{self, Speaker};
use crate::exit::{Error, Exit, Result};

const PUT_HELP: &str = "\
Examples:
  ravelin kv put color blue
  ravelin kv put motto --file motto.txt
  ravelin kv put color green --if-value blue

Exit code 9 says that a condition did not hold. Without a quorum (5) a change that was sent may
still take effect: read first, for the same command again is a new change.";

/// Arguments of `kv put`.
#[derive(Args)]
#[command(after_long_help = PUT_HELP)]
pub(crate) struct Put {
    /// The key
    key: String,
    #[command(flatten)]
    value: Value,
    /// Let the key go when this lease ends
    #[arg(long, value_name = "ID", value_parser = lease)]
    lease: Option<LeaseId>,
    /// Only if the key has no value
    #[arg(long, conflicts_with_all = ["if_value", "if_changed_at"])]
    if_absent: bool,
    #[command(flatten)]
    expected: Expected,
}

/// Arguments of `kv delete`.
#[derive(Args)]
pub(crate) struct Delete {
    /// The key
    key: String,
    #[command(flatten)]
    expected: Expected,
}

/// Arguments of `kv cas`.
#[derive(Args)]
pub(crate) struct Cas {
    /// The key
    key: String,
    /// The value that it must have
    #[arg(allow_negative_numbers = true)]
    old: String,
    /// The value to set
    #[arg(allow_negative_numbers = true)]
    new: String,
}

/// What the key must have.
#[derive(Args)]
struct Expected {
    /// Only if the key has this value
    #[arg(long, value_name = "VALUE", conflicts_with = "if_changed_at")]
    if_value: Option<String>,
    /// Only if the key last changed at this position, as `kv get --output json` shows it
    #[arg(long, value_name = "POSITION")]
    if_changed_at: Option<u64>,
}

impl Expected {
    fn condition(&self) -> Result<Condition> {
        match (&self.if_value, self.if_changed_at) {
            (Some(value), _) => values::of(value).map(Condition::ValueIs),
            (None, Some(position)) => Ok(Condition::ChangedAt(Position(position))),
            (None, None) => Ok(Condition::Always),
        }
    }
}

/// Sets a key.
pub(super) fn put(invocation: &Invocation, arguments: Put) -> Result<()> {
    let condition = match arguments.if_absent {
        true => Condition::Absent,
        false => arguments.expected.condition()?,
    };
    let key = key(&arguments.key)?;
    let value = Some(arguments.value.bytes()?);
    write(invocation, Change { key, value, condition, lease: arguments.lease })
}

/// Removes a key.
pub(super) fn delete(invocation: &Invocation, arguments: Delete) -> Result<()> {
    let (key, condition) = (key(&arguments.key)?, arguments.expected.condition()?);
    write(invocation, Change { key, value: None, condition, lease: None })
}

/// Sets a key that has the value expected.
pub(super) fn cas(invocation: &Invocation, arguments: Cas) -> Result<()> {
    let condition = Condition::ValueIs(values::of(&arguments.old)?);
    let (key, value) = (key(&arguments.key)?, Some(values::of(&arguments.new)?));
    write(invocation, Change { key, value, condition, lease: None })
}

fn write(invocation: &Invocation, change: Change) -> Result<()> {
    let (key, is_set) = (change.key.clone(), change.value.is_some());
    let request = KvRequest::Write(change);
    let reply = client_command::run(invocation, &Speaker::Client, async |client| {
        client.order(ServiceId::KV, &request).await
    })?;
    match reply {
        KvReply::Written { position, existed } => {
            let key = Named("key", key);
            invocation.output.print(&Written { key, position: position.0, existed, is_set })
        }
        KvReply::Conflict { found, value_left_out } => {
            Err(conflict(&key, found.as_ref(), value_left_out))
        }
        other => Err(refused(other)),
    }
}

/// The condition did not hold.
fn conflict(key: &[u8], found: Option<&Entry>, value_left_out: bool) -> Error {
    let (key, hint) = (Shown(key), "read it again and decide anew");
    let cause = match found {
        None => format!("`{key}` has no value"),
        Some(entry) if value_left_out => {
            format!("`{key}` has another value, which changed at {}", entry.changed.0)
        }
        Some(entry) => {
            let (value, changed) = (Shown(&entry.value), entry.changed.0);
            format!("`{key}` has the value `{value}`, which changed at {changed}")
        }
    };
    Error::new(Exit::Conflict, format!("nothing was changed: {cause}"), hint)
}

/// A change that was made.
#[derive(Serialize)]
struct Written {
    #[serde(flatten)]
    key: Named,
    position: u64,
    existed: bool,
    #[serde(skip)]
    is_set: bool,
}

impl fmt::Display for Written {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let position = self.position;
        match (self.is_set, self.existed) {
            (true, true) => write!(out, "changed at {position}"),
            (true, false) => write!(out, "created at {position}"),
            (false, true) => write!(out, "deleted at {position}"),
            (false, false) => out.write_str("there was nothing to delete"),
        }
    }
}
