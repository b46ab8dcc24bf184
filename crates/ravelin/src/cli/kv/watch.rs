//! Changes as they happen.

use clap::Args;
use ravelin_model::requests::kv::{ENTRY_TAG, LeaseId, StoredEntry, entry_key};
use ravelin_model::wire::ChangeItem;
use ravelin_model::{Decode as _, Position, ServiceId};
use serde::Serialize;

use super::bytes::{Named, Shown};
use super::{Invocation, prefix};
use crate::client_command::trouble::senseless;
use crate::client_command::{self, Interruption, Speaker};
use crate::connection::Watched;
use crate::exit::{Error, Exit, Result};
use crate::output::{Format, Output};

/// Arguments of `kv watch`.
#[derive(Args)]
pub(crate) struct Watch {
    /// Only keys that begin with this [default: all]
    #[arg(default_value = "", hide_default_value = true)]
    prefix: String,
    /// Begin with the changes at this position [default: with those from now on]
    #[arg(long, value_name = "POSITION", value_parser = clap::value_parser!(u64).range(1..))]
    from: Option<u64>,
}

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

/// Prints changes until interrupted.
pub(super) fn watch(invocation: &Invocation, arguments: Watch) -> Result<()> {
    let prefix = entry_key(&prefix(&arguments.prefix)?);
    let output = invocation.output;
    client_command::run(invocation, &Speaker::Client, async |client| {
        let mut interruption = Interruption::listen()?;
        // Also tells at once whether the cluster knows us: who it does not know hears nothing.
        let now = tokio::select! {
            session = client.session() => session?,
            _ = interruption.next() => return Err(Interruption::error("nothing was watched yet")),
        };
        let from = arguments.from.unwrap_or(now.0 + 1);
        let mut watch = client.watch(ServiceId::KV, prefix, Position(from)).await?;
        output.note(format_args!("watching from position {from}"));
        loop {
            let news = tokio::select! {
                news = watch.next() => news,
                _ = interruption.next() => {
                    return Err(Interruption::error("the watch has ended"));
                }
            };
            match news {
                Some(Watched::Changes(items)) => {
                    if !print(output, items)? {
                        return Ok(());
                    }
                }
                Some(Watched::Compacted(oldest)) => return Err(compacted(from, oldest)),
                None => {
                    let cause = "the watch has ended";
                    return Err(Error::new(Exit::NoQuorum, cause, "begin it again"));
                }
            }
        }
    })
}

fn compacted(from: u64, oldest: Position) -> Error {
    let cause = format!("the changes since position {from} are forgotten");
    let hint = format!(
        "read what is there with `ravelin kv list`, then watch from now on; servers still have \
         changes from about position {}",
        oldest.0
    );
    Error::new(Exit::NotFound, cause, hint)
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
