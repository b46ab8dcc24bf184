//! `ravelin audit`: who had what done, as the cluster recorded and a quorum signed it.
//!
//! Nothing is believed of a server: a head of the log comes with proof, and lists are taken only if
//! they lead to it.

mod file;
mod proof;
mod tail;
mod words;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use ravelin_model::requests::auth::{AuthReply, AuthRequest};
use ravelin_model::{AUDIT_HEAD_KEY, AuditHead, ClusterId, Decode as _, Digest, ServiceId};
use ravelin_runtime::transport::TransportKey;
use serde::Serialize;

use super::Invocation;
use crate::client_command::trouble::senseless;
use crate::client_command::{self, Client, Speaker};
use crate::client_settings::ClientSettings;
use crate::connection::Proven;
use crate::exit::{Error, Exit, Result};
use crate::files::client::ServerAddress;
use crate::files::disk::{self, DraftFile};
use crate::files::hex;
use crate::files::key::KeyFile;
use crate::plan_source;

/// The verbs.
#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Print the latest operations
    Tail(tail::Tail),
    /// Write the log to a file that proves itself
    Export(Export),
    /// Check a file that `audit export` wrote
    Verify(Verify),
}

/// Whose key speaks.
#[derive(Args)]
struct Auditor {
    /// An administrator's key file [default: the client's key]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

const EXPORT_HELP: &str = "\
Example:
  ravelin audit export --key admin.key --out audit.jsonl

The log is for administrators. One who is enrolled as a client too gets the requests with it
(those of up to 256 bytes); others get their digests. JSON lines, the newest list first: each
line proves the next, and the first has the statements that a quorum signed. Servers keep the
latest 256 MiB, or limits.audit_retention_bytes of their node file: export from time to time.
Reads are not in it, for most of them are not ordered.";

/// Arguments of `audit export`.
#[derive(Args)]
#[command(after_long_help = EXPORT_HELP)]
pub(crate) struct Export {
    #[command(flatten)]
    auditor: Auditor,
    /// The file to write; readable by its owner only
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

const VERIFY_HELP: &str = "\
Examples:
  ravelin audit verify audit.jsonl
  ravelin audit verify audit.jsonl --fingerprint FINGERPRINT

Needs no server. Exit code 6 says that the file is not what the cluster of that fingerprint
recorded. tools/verify_audit.py checks the same and shares no code with this program.";

/// Arguments of `audit verify`.
#[derive(Args)]
#[command(after_long_help = VERIFY_HELP)]
pub(crate) struct Verify {
    /// The file
    file: PathBuf,
    /// The cluster's fingerprint [default: that of the cluster in use]
    #[arg(long, value_name = "DIGEST", value_parser = fingerprint)]
    fingerprint: Option<ClusterId>,
}

/// Runs a verb.
pub(crate) fn run(invocation: &Invocation, verb: Verb) -> Result<()> {
    match verb {
        Verb::Tail(arguments) => tail::tail(invocation, &arguments),
        Verb::Export(arguments) => export(invocation, &arguments),
        Verb::Verify(arguments) => verify(invocation, &arguments),
    }
}

impl Auditor {
    /// Runs `task` as the auditor, once it is known that the log will be shown.
    fn run<T>(
        &self,
        invocation: &Invocation,
        task: impl AsyncFnOnce(&Client) -> Result<T>,
    ) -> Result<T> {
        let key = self.key.as_deref().map(KeyFile::read).transpose()?;
        let speaker = key.as_ref().map_or(Speaker::Client, Speaker::Key);
        client_command::run(invocation, &speaker, async |client| {
            match client.read(ServiceId::AUTH, &AuthRequest::WhoAmI).await? {
                AuthReply::You { administrator: true, .. } => task(client).await,
                AuthReply::You { .. } => Err(Error::new(
                    Exit::Denied,
                    "the audit log is for administrators, and this key is not one's",
                    "name an administrator's key with --key; that of a cluster of `ravelin local` \
                     is keys/administrator.key in its directory",
                )),
                other => Err(senseless(format_args!("{other:?}"))),
            }
        })
    }
}

/// The end of the log in the newest state that a server can prove.
async fn head(client: &Client) -> Result<(AuditHead, Proven)> {
    let proven = client.prove(ServiceId::AUDIT, AUDIT_HEAD_KEY.to_vec()).await?;
    let head = match &proven.value {
        Some(bytes) => AuditHead::decode("audit head", bytes).map_err(senseless)?,
        None => AuditHead::default(),
    };
    Ok((head, proven))
}

fn export(invocation: &Invocation, arguments: &Export) -> Result<()> {
    let mut file = DraftFile::new(&arguments.out)?;
    let exported = arguments.auditor.run(invocation, async |client| {
        let (newest, proven) = head(client).await?;
        let plans = plans(client).await?;
        let header = file::Header::new(client.cluster(), &plans, newest, &proven.proof);
        // What would not convince others is not worth writing.
        proof::check(&header, client.cluster())?;
        file.line(&file::text(&header))?;
        let mut left = newest;
        while left.lists > 0 {
            let Some((before, records)) = client.audit(left).await? else { break };
            for (number, record) in (1..=left.lists).rev().zip(records.iter().rev()) {
                file.line(&file::text(&file::ListLine::new(number, record)))?;
            }
            left = before;
        }
        file.line(&file::text(&file::End::after(left)))?;
        Ok(Exported {
            lists: newest.lists - left.lists,
            operations: newest.operations - left.operations,
            first: left.lists + 1,
            commit: proven.statement.commit.0,
            file: arguments.out.display().to_string(),
        })
    })?;
    file.install()?;
    if exported.first > 1 && exported.lists > 0 {
        let first = exported.first;
        invocation.output.note(format_args!(
            "no server shows lists before number {first} any more: earlier exports have them"
        ));
    }
    invocation.output.print(&exported)
}

/// All plans of the cluster, the first one first.
async fn plans(client: &Client) -> Result<Vec<ravelin_model::SignedPlan>> {
    let members = client.plan().plan.members.iter();
    let servers: Vec<_> = members
        .map(|member| ServerAddress { address: member.client_address.clone(), transport: None })
        .collect();
    // Anybody may ask for the plans.
    let key = TransportKey::from_seed(&zeroize::Zeroizing::new(disk::random()?));
    let patience = client.timeout().min(Duration::from_secs(10));
    plan_source::fetch_chain(&servers, client.cluster(), &key, patience).await
}

#[derive(Serialize)]
struct Exported {
    file: String,
    lists: u64,
    operations: u64,
    first: u64,
    commit: u64,
}

impl fmt::Display for Exported {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, operations, lists, commit, .. } = self;
        write!(out, "{operations} operations in {lists} lists, up to commit {commit}: {file}")
    }
}

fn verify(invocation: &Invocation, arguments: &Verify) -> Result<()> {
    let trusted = match arguments.fingerprint {
        Some(fingerprint) => fingerprint,
        None => ClientSettings::load(invocation)?
            .cluster()
            .map(|client| client.fingerprint)
            .map_err(|_| {
                let cause = "nothing says which cluster the file should be of";
                Error::usage(cause, "give its --fingerprint, or bring it into use by `trust use`")
            })?,
    };
    let verified = proof::verify(&arguments.file, trusted)
        .map_err(|error| error.context(arguments.file.display()))?;
    invocation.output.print(&verified)
}

/// Reads a fingerprint as an argument.
fn fingerprint(text: &str) -> Result<ClusterId, String> {
    let digest = hex::decode(text).map(|digest| ClusterId(Digest(digest)));
    digest.ok_or_else(|| "a fingerprint is 64 hexadecimal digits".to_owned())
}
