//! Changes as they happen.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::Args;
use ravelin_model::requests::kv::{ENTRY_TAG, LeaseId, StoredEntry, entry_key};
use ravelin_model::wire::ChangeItem;
use ravelin_model::{Decode as _, Position, ServiceId};
use serde::Serialize;

use super::bytes::{Named, Shown};
use super::{Invocation, prefix};
use crate::client_command::trouble::senseless;
use crate::client_command::{self, Client, Interruption, Speaker};
use crate::connection::{self, Watched};
use crate::exit::{Error, Exit, Result};
use crate::output::{Format, Output};

/// How long a quorum may be out of reach, unless said otherwise.
const PATIENCE_DEFAULT: Duration = Duration::from_secs(5 * 60);
/// Pause between two looks whether the cluster still serves us.
const CHECK_EVERY: Duration = Duration::from_secs(5);

/// Arguments of `kv watch`.
#[derive(Args)]
#[command(after_long_help = HELP)]
pub(crate) struct Watch {
    /// Only keys that begin with this [default: all]
    #[arg(default_value = "", hide_default_value = true)]
    prefix: String,
    /// Begin with the changes at this position [default: with those from now on]
    #[arg(long, value_name = "POSITION", value_parser = clap::value_parser!(u64).range(1..))]
    from: Option<u64>,
}

const HELP: &str = "\
Examples:
  ravelin kv watch config/ --output json
  ravelin kv watch config/ --from 120

A watch goes on while servers come and go, and says so on stderr. It ends with exit code
  3    once this client is shut out
  5    once no quorum could be reached for 5 minutes, or for --timeout (RAVELIN_TIMEOUT)
  8    once the servers halted (fail-safe stop)
  9    once changes that it has yet to print are forgotten: servers keep the latest 4 MiB, and
       perhaps none over a restart; the others carry it on while fewer than f+1 restart at a
       time. Read what is there with `ravelin kv list`, and watch from now on.
Whether the cluster still serves is looked at every 5 seconds.";

/// A change as scripts see it.
#[derive(Serialize)]
struct Shape {
    position: u64,
    r#type: &'static str,
    #[serde(flatten)]
    key: Named,
    #[serde(flatten)]
    entry: Option<Put>,
}

#[derive(Serialize)]
struct Put {
    #[serde(flatten)]
    value: Named,
    created: u64,
    version: u64,
    lease: Option<u64>,
}

/// Prints changes until interrupted, or until the watch is dead.
pub(super) fn watch(invocation: &Invocation, arguments: Watch) -> Result<()> {
    let prefix = entry_key(&prefix(&arguments.prefix)?);
    let patience = invocation.globals.timeout.unwrap_or(PATIENCE_DEFAULT);
    client_command::run(invocation, &Speaker::Client, async |client| {
        let mut interruption = Interruption::listen()?;
        // Also tells at once whether the cluster knows us: who it does not know hears nothing.
        let now = tokio::select! {
            session = client.session() => session?,
            _ = interruption.next() => return Err(Interruption::error("nothing was watched yet")),
        };
        let from = arguments.from.unwrap_or(now.0 + 1);
        let news = client.watch(ServiceId::KV, prefix, Position(from)).await?;
        client.output().note(format_args!("watching from position {from}"));
        tokio::select! {
            ended = follow(client, news, from) => ended,
            error = death(client, patience) => Err(error),
            () = tell_servers(client) => Ok(()), // never
            _ = interruption.next() => Err(Interruption::error("the watch has ended")),
        }
    })
}

/// Prints the news until there can be no more, or nobody reads it.
async fn follow(client: &Client, mut news: connection::Watch, from: u64) -> Result<()> {
    let mut last = None;
    loop {
        match news.next().await {
            Some(Watched::Changes(items)) => {
                last = items.last().map(|item| item.position).or(last);
                if !print(client.output(), items)? {
                    return Ok(());
                }
            }
            Some(Watched::Compacted(oldest)) => return Err(compacted(from, last, oldest)),
            Some(Watched::Overrun) => {
                let cause = "changes came faster than they were printed, and some were dropped";
                let hint = "begin again with --from and the position after the last one printed";
                return Err(Error::new(Exit::Conflict, cause, hint));
            }
            None => {
                let cause = "the watch has ended";
                return Err(Error::new(Exit::NoQuorum, cause, "begin it again"));
            }
        }
    }
}

/// Why no change can come any more, once that is so. A watch by itself would not notice: where
/// nothing changes, servers have nothing to say.
async fn death(client: &Client, patience: Duration) -> Error {
    loop {
        tokio::time::sleep(CHECK_EVERY).await;
        match tokio::time::timeout(patience, client.still_served()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return error,
            Err(_) => {
                let hint = "begin it again with --from and the position of the last change; \
                            --timeout waits longer for servers";
                let error = client.silence(patience).await;
                return if error.exit() == Exit::NoQuorum { error.hint(hint) } else { error };
            }
        }
    }
}

/// Says which servers are lost, and which come back. Never ends.
async fn tell_servers(client: &Client) {
    let (mut known, size) = (client.servers(), client.group().size());
    let mut lost = BTreeSet::new();
    loop {
        let now = client.others_than(&known).await;
        let connected = now.len();
        for server in known.difference(&now) {
            lost.insert(*server);
            let told = format_args!("server {server} is lost: {connected} of {size} connected");
            client.output().note(told);
        }
        for server in now.difference(&known).filter(|server| lost.remove(server)) {
            let told = format_args!("server {server} is back: {connected} of {size} connected");
            client.output().note(told);
        }
        known = now;
    }
}

/// Servers forgot what the watch still wants. `last`: the last change printed.
fn compacted(from: u64, last: Option<Position>, oldest: Position) -> Error {
    let cause = match last {
        None => format!("the changes since position {from} are forgotten"),
        Some(last) => format!("changes after position {} are forgotten", last.0),
    };
    let hint = format!(
        "servers keep the latest changes, and perhaps none over a restart: read what is there with `ravelin \
         kv list`, then watch from now on; they still have those from about position {}",
        oldest.0
    );
    Error::new(Exit::Conflict, cause, hint)
}

/// Prints changes, one a line, and says whether anybody still reads them.
fn print(output: Output, items: Vec<ChangeItem>) -> Result<bool> {
    let mut text = String::new();
    for ChangeItem { position, change, .. } in items {
        let Some((&ENTRY_TAG, key)) = change.key.split_first() else { continue };
        let stored = change.value.map(|value| StoredEntry::decode("stored entry", &value));
        let stored = stored.transpose().map_err(senseless)?;
        text.push_str(&match output.format() {
            Format::Text => match &stored {
                Some(stored) => format!("put\t{}\t{}\n", Shown(key), Shown(&stored.value)),
                None => format!("delete\t{}\n", Shown(key)),
            },
            Format::Json => format!("{}\n", json(position, key, stored)),
        });
    }
    output.write_bytes(text.as_bytes())
}

fn json(position: Position, key: &[u8], stored: Option<StoredEntry>) -> String {
    let shape = Shape {
        position: position.0,
        r#type: if stored.is_some() { "put" } else { "delete" },
        key: Named("key", key.to_vec()),
        entry: stored.map(|stored| Put {
            value: Named("value", stored.value),
            created: stored.created.0,
            version: stored.version,
            lease: stored.lease.map(|LeaseId(lease)| lease),
        }),
    };
    serde_json::to_string(&shape).expect("results have plain fields")
}
