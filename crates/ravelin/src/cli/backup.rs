//! `ravelin backup`: what a cluster holds, in a file, and back into a new cluster.
//!
//! A backup has the entries of `kv` and the enrolled clients as they were at one position. It has no
//! sessions, leases and locks: they belong to clients that run. A cluster that is restored is a new
//! one with another fingerprint and the next incarnation, so nothing that was signed for the old one
//! counts in it.

mod file;
mod schedule;

use std::fmt;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use ravelin_model::limits::CLIENTS_LISTED_MAX;
use ravelin_model::requests::auth::{AuthReply, AuthRequest, ClientRecord};
use ravelin_model::{PublicKey, ServiceId};
use serde::Serialize;

use super::Invocation;
use super::kv::export::snapshot;
use super::kv::import::{Effect, Imported};
use crate::client_command::trouble::senseless;
use crate::client_command::{self, Client, Speaker};
use crate::client_settings::ClientSettings;
use crate::exit::{Error, Exit, Result};
use crate::files::disk::DraftFile;
use crate::files::hex;
use crate::files::key::KeyFile;

pub(crate) use file::read;

/// The verbs.
#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Write what the cluster holds to a file
    Create(Create),
    /// Check a file that `backup create` wrote
    Verify(Verify),
    /// Put what a backup has into a cluster that was planned for it
    Restore(Restore),
    /// Print a systemd timer that makes backups
    Schedule(schedule::Schedule),
}

const CREATE_HELP: &str = "\
Example:
  ravelin backup create --out monday.jsonl

The entries of kv and the enrolled clients, as they were at one position; not sessions, locks
and leases, nor keys under leases. Read from a quorum, signed with the client's key. The values
are in it in the clear. While others change entries it is read anew, 5 times; then exit code 9.";

/// Arguments of `backup create`.
#[derive(Args)]
#[command(after_long_help = CREATE_HELP)]
pub(crate) struct Create {
    /// The file to write; readable by its owner only
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

const VERIFY_HELP: &str = "\
Examples:
  ravelin backup verify monday.jsonl
  ravelin backup verify monday.jsonl --by PUBLIC_KEY

Needs no server. Whether the file is what that client wrote: exit code 6 if not. That it is
what the cluster held, is the client's word.";

/// Arguments of `backup verify`.
#[derive(Args)]
#[command(after_long_help = VERIFY_HELP)]
pub(crate) struct Verify {
    /// The file
    file: PathBuf,
    /// The public key of whoever made it [default: the key of the client file in use]
    #[arg(long, value_name = "KEY", value_parser = public_key)]
    by: Option<PublicKey>,
}

const RESTORE_HELP: &str = "\
Example, in a new cluster whose plan was made with `ravelin cluster plan --backup monday.jsonl`:
  ravelin backup restore monday.jsonl

The plan names the backup's clients. Entries come in as new ones: positions and versions begin
anew, and so do fencing tokens, so what locks protect must forget the tokens that it has seen.
Run again, it goes on where it was interrupted. Another value that is there already is an error
(exit code 9).";

/// Arguments of `backup restore`.
#[derive(Args)]
#[command(after_long_help = RESTORE_HELP)]
pub(crate) struct Restore {
    /// The file
    file: PathBuf,
    /// The public key of whoever made it [default: the key of the client file in use]
    #[arg(long, value_name = "KEY", value_parser = public_key)]
    by: Option<PublicKey>,
}

/// Runs a verb.
pub(crate) fn run(invocation: &Invocation, verb: Verb) -> Result<()> {
    match verb {
        Verb::Create(arguments) => create(invocation, &arguments),
        Verb::Verify(arguments) => verify(invocation, &arguments),
        Verb::Restore(arguments) => restore(invocation, &arguments),
        Verb::Schedule(arguments) => schedule::print(invocation, &arguments),
    }
}

fn create(invocation: &Invocation, arguments: &Create) -> Result<()> {
    let draft = DraftFile::new(&arguments.out)?;
    let settings = ClientSettings::load(invocation)?;
    let key = settings.cluster()?.key.as_deref().map(KeyFile::read).transpose()?;
    let mut file = file::Writer::new(draft);
    let (clients, entries, left_out, position) =
        client_command::run(invocation, &Speaker::Client, async |client| {
            let (before, _) = clients(client).await?;
            let snapshot = snapshot(client, b"", false).await?;
            let (serial, records) = clients(client).await?;
            let Some(position) = snapshot.position.filter(|_| serial == before) else {
                let cause = "clients were enrolled or revoked while entries were read";
                return Err(Error::new(Exit::Conflict, cause, "try again"));
            };
            file.begin(client, position)?;
            records.iter().try_for_each(|record| file.client(record))?;
            snapshot.entries.iter().try_for_each(|entry| file.entry(entry))?;
            let counts = (records.len(), snapshot.entries.len());
            Ok((counts.0, counts.1, snapshot.left_out, position.0))
        })?;
    let key = key.expect("who speaks as a client has a key");
    file.end(&key.signing_key())?;
    let file = arguments.out.display().to_string();
    invocation.output.print(&Created { file, position, entries, clients, left_out })
}

/// All clients, and the serial that tells whether they are still the same.
async fn clients(client: &Client) -> Result<(u64, Vec<ClientRecord>)> {
    let (mut all, mut after) = (Vec::new(), String::new());
    let mut serial = None;
    loop {
        let page = AuthRequest::List { after: after.clone(), limit: CLIENTS_LISTED_MAX };
        match client.read(ServiceId::AUTH, &page).await? {
            AuthReply::Clients { clients, more, next_serial, .. } => {
                if *serial.get_or_insert(next_serial) != next_serial {
                    let cause = "clients were enrolled or revoked while they were listed";
                    return Err(Error::new(Exit::Conflict, cause, "try again"));
                }
                after = clients.last().map(|last| last.name.clone()).unwrap_or_default();
                all.extend(clients);
                if !more {
                    return Ok((next_serial, all));
                }
            }
            other => return Err(senseless(format_args!("{other:?}"))),
        }
    }
}

#[derive(Serialize)]
struct Created {
    file: String,
    position: u64,
    entries: usize,
    clients: usize,
    /// Keys under a lease.
    left_out: u64,
}

impl fmt::Display for Created {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, position, entries, clients, left_out } = self;
        write!(out, "{entries} entries and {clients} clients as of position {position}")?;
        if *left_out > 0 {
            write!(out, ", {left_out} entries under leases left out")?;
        }
        write!(out, ": {file}")
    }
}

fn verify(invocation: &Invocation, arguments: &Verify) -> Result<()> {
    let backup = checked(invocation, &arguments.file, arguments.by)?;
    invocation.output.print(&backup.summary())
}

/// The backup in a file, if it is the one that its maker wrote.
fn checked(invocation: &Invocation, path: &Path, by: Option<PublicKey>) -> Result<file::Backup> {
    let by = match by {
        Some(by) => by,
        None => own_key(invocation)?,
    };
    let backup = read(path)?;
    if backup.by == by {
        return Ok(backup);
    }
    let cause = format!("{}: it is signed by {}, not by {by}", path.display(), backup.by);
    let hint = "name its maker's public key with --by, if you trust it";
    Err(Error::new(Exit::VerificationFailed, cause, hint))
}

/// The public key of the client file in use.
fn own_key(invocation: &Invocation) -> Result<PublicKey> {
    let settings = ClientSettings::load(invocation)?;
    let key = settings.cluster().ok().and_then(|client| client.key.clone());
    let key = key.ok_or_else(|| {
        let cause = "nothing says who should have made the backup";
        Error::usage(cause, "name its maker's public key with --by")
    })?;
    Ok(KeyFile::read(&key)?.public())
}

fn restore(invocation: &Invocation, arguments: &Restore) -> Result<()> {
    let backup = checked(invocation, &arguments.file, arguments.by)?;
    let next = backup.next_incarnation()?;
    let imported = client_command::run(invocation, &Speaker::Client, async |client| {
        let plan = &client.plan().plan;
        if plan.incarnation < next {
            let cause = format!(
                "this cluster is incarnation {}, and the backup is of incarnation {}",
                plan.incarnation.0, backup.incarnation.0
            );
            let hint = "plan a new cluster with `ravelin cluster plan --backup FILE`; entries alone \
                        go into any cluster by `ravelin kv export` and `kv import`";
            return Err(Error::new(Exit::Conflict, cause, hint));
        }
        Imported::default().with_all(client, backup.items, Effect::Add).await
    })?;
    imported.report(invocation, false)
}

/// Reads a public key as an argument.
fn public_key(text: &str) -> Result<PublicKey, String> {
    let key = hex::decode(text).map(PublicKey);
    key.ok_or_else(|| "a public key is 64 hexadecimal digits".to_owned())
}
