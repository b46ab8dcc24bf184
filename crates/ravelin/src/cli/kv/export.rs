//! All entries, or those with a prefix, into a file.
//!
//! The entries are those of one moment: a position is ordered first, and everything read after it.
//! If nothing that was read changed since, and no key was removed meanwhile, then all of it is as it
//! was at that position; otherwise it is read again.

use std::fmt;
use std::path::PathBuf;

use clap::Args;
use ravelin_model::limits::LIST_ENTRIES_MAX;
use ravelin_model::requests::kv::{Entry, KvReply, KvRequest};
use ravelin_model::{Position, ServiceId};
use serde::{Deserialize, Serialize};

use super::import::Item;
use super::{Invocation, prefix, refused};
use crate::client_command::{self, Client, Speaker};
use crate::exit::{Error, Exit, Result};
use crate::files::disk::DraftFile;
use ravelin_gateway::base64;

/// How often entries are read anew because others changed some meanwhile.
const ATTEMPTS: u32 = 5;
/// What the first line says it is.
pub(super) const FORMAT: &str = "ravelin-kv/1";

const HELP: &str = "\
Examples:
  ravelin kv export --out all.jsonl
  ravelin kv export --prefix config/ --out config.jsonl

JSON lines with keys and values in base64: `ravelin kv import` reads them. The file holds all
entries as they were at one position in the total order. While others change what is being
read, it is read anew, 5 times; then exit code 9, or with --fuzzy the entries as they were when
each page of them was read. Keys that hang on a lease are left out: they go with their client.";

/// Arguments of `kv export`.
#[derive(Args)]
#[command(after_long_help = HELP)]
pub(crate) struct Export {
    /// Only keys that begin with this [default: all]
    #[arg(long, value_name = "PREFIX", default_value = "", hide_default_value = true)]
    prefix: String,
    /// The file to write; readable by its owner only
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// If others do not stop changing what is read, write what was read all the same
    #[arg(long)]
    fuzzy: bool,
}

/// The first line of the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    pub(super) format: String,
    cluster: String,
    prefix: String,
    /// Where the entries were all as they are in the file; absent if there may be no such place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    position: Option<u64>,
}

/// An entry, in base64.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EntryLine {
    key: String,
    value: String,
}

impl EntryLine {
    pub(crate) fn new(entry: &Entry) -> Self {
        Self { key: base64::encode(&entry.key), value: base64::encode(&entry.value) }
    }

    /// What it stands for.
    pub(crate) fn item(&self) -> Option<Item> {
        Some(Item { key: base64::decode(&self.key)?, value: base64::decode(&self.value)? })
    }
}

/// The last line.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct End {
    pub(super) entries: u64,
}

/// What was read.
pub(crate) struct Snapshot {
    pub(crate) entries: Vec<Entry>,
    /// Keys under a lease.
    pub(crate) left_out: u64,
    /// Where all of it was so.
    pub(crate) position: Option<Position>,
}

/// Writes the file.
pub(super) fn export(invocation: &Invocation, arguments: &Export) -> Result<()> {
    let prefix = prefix(&arguments.prefix)?;
    let mut file = DraftFile::new(&arguments.out)?;
    let written = client_command::run(invocation, &Speaker::Client, async |client| {
        let snapshot = snapshot(client, &prefix, arguments.fuzzy).await?;
        let header = Header {
            format: FORMAT.to_owned(),
            cluster: client.cluster().0.to_string(),
            prefix: base64::encode(&prefix),
            position: snapshot.position.map(|position| position.0),
        };
        file.line(&text(&header))?;
        for entry in &snapshot.entries {
            file.line(&text(&EntryLine::new(entry)))?;
        }
        let entries = snapshot.entries.len() as u64;
        file.line(&text(&End { entries }))?;
        let file = arguments.out.display().to_string();
        let (left_out, position) = (snapshot.left_out, header.position);
        Ok(Exported { file, entries, left_out, position })
    })?;
    file.install()?;
    invocation.output.print(&written)
}

fn text(line: &impl Serialize) -> String {
    serde_json::to_string(line).expect("lines have plain fields")
}

/// The entries with this prefix as they were at one position; at none if that must be.
pub(crate) async fn snapshot(client: &Client, prefix: &[u8], is_fuzzy: bool) -> Result<Snapshot> {
    for attempt in 1.. {
        // Whatever is read from here on is at least as new as this.
        let now = KvRequest::Get { key: vec![0] };
        let (_, position) = client.order_at::<KvReply>(ServiceId::KV, &now).await?;
        let (entries, removed) = all(client, prefix).await?;
        let changed = entries.iter().map(|entry| entry.changed).max().unwrap_or_default();
        let position = position.filter(|position| changed.max(removed) <= *position);
        if position.is_some() || (is_fuzzy && attempt == ATTEMPTS) {
            let count = entries.len() as u64;
            let entries: Vec<_> =
                entries.into_iter().filter(|entry| entry.lease.is_none()).collect();
            return Ok(Snapshot { left_out: count - entries.len() as u64, entries, position });
        }
        if attempt == ATTEMPTS {
            break;
        }
        client.output().detail("others changed entries meanwhile: reading them again");
    }
    let cause = format!("others changed entries while they were read, {ATTEMPTS} times");
    let hint = "try again when there is less to do, export a smaller --prefix, or take --fuzzy";
    Err(Error::new(Exit::Conflict, cause, hint))
}

/// All entries, and where a key was last removed when the last page was read.
async fn all(client: &Client, prefix: &[u8]) -> Result<(Vec<Entry>, Position)> {
    let (mut all, mut last_removal, mut after) = (Vec::new(), Position(0), Some(Vec::new()));
    while let Some(from) = after.take() {
        let page = KvRequest::List {
            prefix: prefix.to_vec(),
            after: from,
            limit: LIST_ENTRIES_MAX,
            keys_only: false,
        };
        match client.read(ServiceId::KV, &page).await? {
            KvReply::Entries { entries, next, removed } => {
                all.extend(entries);
                last_removal = last_removal.max(removed);
                after = next;
            }
            other => return Err(refused(other)),
        }
    }
    Ok((all, last_removal))
}

#[derive(Serialize)]
struct Exported {
    file: String,
    entries: u64,
    /// Keys under a lease.
    left_out: u64,
    position: Option<u64>,
}

impl fmt::Display for Exported {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} entries", self.entries)?;
        match self.position {
            Some(position) => write!(out, " as of position {position}")?,
            None => out.write_str(", each as of when its page was read")?,
        }
        if self.left_out > 0 {
            write!(out, ", {} under leases left out", self.left_out)?;
        }
        write!(out, ": {}", self.file)
    }
}
