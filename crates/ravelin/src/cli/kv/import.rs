//! Entries from a file: all of it is read and judged before anything is sent.
//!
//! What is there already with the same value is not written again, so an import that was interrupted
//! is run again to go on, and one that is done changes nothing.

use std::collections::VecDeque;
use std::fmt;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use ravelin_model::requests::kv::{Condition, Entry, KvReply, KvRequest, Write};
use ravelin_model::{Encode as _, Operation, OperationResult, Refusal, ServiceId};
use serde::Serialize;

use super::bytes::Shown;
use super::{Invocation, entry_file, refused};
use crate::client_command::{self, Client, Speaker};
use crate::exit::{Error, Exit, Result};

/// Operations of an envelope.
const ENVELOPE_OPERATIONS: usize = 256;
/// Bytes of keys and values of an envelope: half of what fits.
const ENVELOPE_BYTES: usize = 512 << 10;

const HELP: &str = "\
Examples:
  ravelin kv import all.jsonl --dry-run
  ravelin kv import all.jsonl --overwrite
  ravelin kv import etcd.json --from etcd-json --if-absent

The file is that of `ravelin kv export`, or with --from etcd-json what this prints:
  etcdctl get --prefix \"\" -w json
`-` is standard input. Keys that hang on a lease in etcd are left out. Keys that have another
value in the cluster are an error (exit code 9, after everything else was imported) unless
--overwrite or --if-absent says what to do. An import that was interrupted is run again to go
on.";

/// Arguments of `kv import`.
#[derive(Args)]
#[command(after_long_help = HELP)]
pub(crate) struct Import {
    /// The file
    file: PathBuf,
    /// What the file is
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Source::Ravelin)]
    from: Source,
    /// Say what would be done; change nothing
    #[arg(long)]
    dry_run: bool,
    /// Replace other values
    #[arg(long)]
    overwrite: bool,
    /// Keep other values
    #[arg(long, conflicts_with = "overwrite")]
    if_absent: bool,
}

/// Where a file comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Source {
    /// `ravelin kv export`
    Ravelin,
    /// `etcdctl get --prefix "" -w json`
    EtcdJson,
}

/// An entry to be set.
pub(crate) struct Item {
    pub(crate) key: Vec<u8>,
    pub(crate) value: Vec<u8>,
}

/// What came of it.
#[derive(Default, Serialize)]
pub(crate) struct Imported {
    entries: u64,
    created: u64,
    changed: u64,
    /// There already, with the same value.
    unchanged: u64,
    /// There already with another value, which was kept.
    kept: u64,
    /// Left out by the file's reader: under a lease.
    left_out: u64,
    dry_run: bool,
    #[serde(skip)]
    first_kept: Option<Vec<u8>>,
}

/// Imports the file.
pub(super) fn import(invocation: &Invocation, arguments: &Import) -> Result<()> {
    let (items, left_out) = entry_file::read(&arguments.file, arguments.from)?;
    let what = match (arguments.dry_run, arguments.overwrite) {
        (true, overwrite) => Effect::Look { overwrite },
        (false, true) => Effect::Overwrite,
        (false, false) => Effect::Add,
    };
    let imported = client_command::run(invocation, &Speaker::Client, async |client| {
        Imported { left_out, ..Imported::default() }.with_all(client, items, what).await
    })?;
    imported.report(invocation, arguments.overwrite || arguments.if_absent)
}

/// What is done with items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Nothing: what would be done is counted.
    Look { overwrite: bool },
    /// Keys without a value get theirs.
    Add,
    /// So do all others.
    Overwrite,
}

/// The next items that fit an envelope.
fn group_of(items: &mut VecDeque<Item>) -> Vec<Item> {
    let (mut group, mut bytes) = (Vec::new(), 0);
    while let Some(item) = items.front() {
        bytes += item.key.len() + item.value.len();
        if !group.is_empty() && (group.len() >= ENVELOPE_OPERATIONS || bytes > ENVELOPE_BYTES) {
            break;
        }
        group.extend(items.pop_front());
    }
    group
}

fn put(item: &Item, condition: Condition) -> Operation {
    let (key, value) = (item.key.clone(), Some(item.value.clone()));
    let write = Write { key, value, condition, lease: None };
    Operation { service: ServiceId::KV, request: KvRequest::Write(write).encode() }
}

async fn current(client: &Client, key: &[u8]) -> Result<Option<Entry>> {
    match client.read(ServiceId::KV, &KvRequest::Get { key: key.to_vec() }).await? {
        KvReply::Entry(entry) => Ok(Some(entry)),
        KvReply::Absent { .. } => Ok(None),
        other => Err(refused(other)),
    }
}

impl Imported {
    /// Does it with all items, or with none if the first are refused.
    pub(crate) async fn with_all(
        mut self,
        client: &Client,
        items: Vec<Item>,
        what: Effect,
    ) -> Result<Self> {
        let mut items: VecDeque<Item> = items.into();
        self.entries = items.len() as u64;
        self.dry_run = matches!(what, Effect::Look { .. });
        let bar = client.output().progress(self.entries);
        while !items.is_empty() {
            let group = group_of(&mut items);
            if let Effect::Look { overwrite } = what {
                self.look_at(client, &group, overwrite).await?;
            } else {
                let again = self.write(client, group, what == Effect::Overwrite).await?;
                again.into_iter().rev().for_each(|item| items.push_front(item));
            }
            bar.set_position(self.entries - items.len() as u64);
        }
        bar.finish_and_clear();
        Ok(self)
    }

    /// Prints what came of it; an error if other values were kept and nobody said that they may be.
    pub(crate) fn report(self, invocation: &Invocation, may_keep: bool) -> Result<()> {
        invocation.output.print(&self)?;
        match self.first_kept.filter(|_| !may_keep) {
            Some(key) => {
                let (kept, key) = (self.kept, Shown(&key));
                let cause =
                    format!("{kept} keys have another value, which was kept: `{key}` first");
                let hint = "decide which values count: `ravelin kv import` has --overwrite and \
                            --if-absent";
                Err(Error::new(Exit::Conflict, cause, hint))
            }
            None => Ok(()),
        }
    }

    /// Counts what would be done.
    async fn look_at(&mut self, client: &Client, group: &[Item], overwrite: bool) -> Result<()> {
        for item in group {
            match current(client, &item.key).await? {
                None => self.created += 1,
                Some(entry) if entry.value == item.value => self.unchanged += 1,
                Some(_) if overwrite => self.changed += 1,
                Some(_) => self.keep(&item.key),
            }
        }
        Ok(())
    }

    /// Sets what is not there, and returns what must be tried again because one envelope's replies
    /// had no room for it.
    async fn write(
        &mut self,
        client: &Client,
        group: Vec<Item>,
        overwrite: bool,
    ) -> Result<Vec<Item>> {
        let operations = group.iter().map(|item| put(item, Condition::Absent)).collect();
        let results = client.order_all(operations).await?;
        let mut again = Vec::new();
        let is_alone = group.len() == 1;
        for (item, result) in group.into_iter().zip(results) {
            match result {
                OperationResult::Refused(Refusal::TooLarge | Refusal::TooMuchWork) if !is_alone => {
                    again.push(item);
                }
                result => match client.done::<KvReply>(result)? {
                    KvReply::Written { .. } => self.created += 1,
                    KvReply::Conflict { found, value_left_out } => {
                        let found =
                            if value_left_out { current(client, &item.key).await? } else { found };
                        self.on_found(client, &item, found, overwrite).await?;
                    }
                    other => return Err(refused(other)),
                },
            }
        }
        Ok(again)
    }

    /// The key has a value.
    async fn on_found(
        &mut self,
        client: &Client,
        item: &Item,
        found: Option<Entry>,
        overwrite: bool,
    ) -> Result<()> {
        if found.is_some_and(|entry| entry.value == item.value) {
            self.unchanged += 1;
        } else if overwrite {
            let result = client.order_all(vec![put(item, Condition::Always)]).await?;
            for result in result {
                match client.done::<KvReply>(result)? {
                    KvReply::Written { .. } => self.changed += 1,
                    other => return Err(refused(other)),
                }
            }
        } else {
            self.keep(&item.key);
        }
        Ok(())
    }

    fn keep(&mut self, key: &[u8]) {
        self.kept += 1;
        self.first_kept.get_or_insert_with(|| key.to_vec());
    }
}

impl fmt::Display for Imported {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let would = if self.dry_run { "would be " } else { "" };
        let Self { entries, created, changed, unchanged, kept, left_out, .. } = self;
        write!(
            out,
            "{entries} entries: {created} {would}created, {changed} {would}changed, {unchanged} as \
             they were, {kept} with another value kept"
        )?;
        if *left_out > 0 {
            write!(out, "; {left_out} under leases left out")?;
        }
        Ok(())
    }
}
