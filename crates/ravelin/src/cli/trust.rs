//! `ravelin trust`: remember clusters by their fingerprint.

use std::fmt;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use ravelin_crypto::plan_digest;
use ravelin_model::{ClusterId, Digest};
use ravelin_runtime::transport::TransportKey;
use serde::Serialize;

use super::Invocation;
use crate::client_command;
use crate::client_settings::ClientSettings;
use crate::exit::{Error, Result};
use crate::files::card::check_address;
use crate::files::client::{ClientFile, ServerAddress, Whereabouts, check_fingerprint};
use crate::files::key::KeyFile;
use crate::files::{disk, hex, plan};
use crate::plan_source;

/// The verbs.
#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Remember a cluster under a name; the first one comes into use
    Add(Add),
    /// List the known clusters
    List,
    /// Bring a known cluster into use
    Use(Use),
    /// Forget a cluster; keys that lie elsewhere stay
    Remove(Use),
}

const ADD_HELP: &str = "\
Either the plan is at hand, or the fingerprint and the address of one server or more:
  ravelin trust add prod --plan plan.toml --key client.key
  ravelin trust add prod --address paris:7702 --fingerprint FINGERPRINT --key client.key

With --plan, --fingerprint is compared if it is given. Without --key only what needs none works,
as `ravelin status`. The first cluster comes into use; of others `ravelin trust use NAME` does
that.";

/// Arguments of `trust add`.
#[derive(Args)]
#[command(after_long_help = ADD_HELP)]
pub(crate) struct Add {
    /// The name to know it by
    name: String,
    /// The cluster's signed plan
    #[arg(
        long,
        value_name = "FILE",
        required_unless_present = "address",
        conflicts_with = "address"
    )]
    plan: Option<PathBuf>,
    /// Where clients reach one of its servers; several times for several
    #[arg(long, value_name = "HOST:PORT", requires = "fingerprint")]
    address: Vec<String>,
    /// The cluster's fingerprint; a plan that has another is refused
    #[arg(long, value_name = "DIGEST", value_parser = fingerprint)]
    fingerprint: Option<ClusterId>,
    /// The key file to speak with
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

/// Arguments of `trust use` and `trust remove`.
#[derive(Args)]
pub(crate) struct Use {
    /// The cluster's name
    name: String,
}

/// Runs a verb.
pub(crate) fn run(invocation: &Invocation, verb: Verb) -> Result<()> {
    match verb {
        Verb::Add(arguments) => add(invocation, arguments),
        Verb::List => list(invocation),
        Verb::Remove(arguments) => remove(invocation, &arguments.name),
        Verb::Use(arguments) => {
            invocation.contexts()?.select(&arguments.name)?;
            note_override(invocation);
            invocation.output.print(&known(invocation, &arguments.name)?)
        }
    }
}

fn remove(invocation: &Invocation, name: &str) -> Result<()> {
    let contexts = invocation.contexts()?;
    let in_use = contexts.current()?.as_deref() == Some(name);
    contexts.remove(name)?;
    if in_use {
        invocation.output.note("no cluster is in use now: `ravelin trust use NAME` chooses one");
    }
    invocation.output.print(&Removed { removed: name.to_owned(), in_use })
}

#[derive(Serialize)]
struct Removed {
    removed: String,
    /// Whether it was the one in use.
    in_use: bool,
}

impl fmt::Display for Removed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} is forgotten", self.removed)
    }
}

fn add(invocation: &Invocation, arguments: Add) -> Result<()> {
    // Refuses a key that could not be used.
    arguments.key.as_deref().map(KeyFile::read).transpose()?;
    let key = arguments.key.as_deref().map(disk::plain);
    let client = |fingerprint, whereabouts| ClientFile {
        fingerprint,
        whereabouts,
        key,
        timeout: None,
        evidence: None,
    };
    let contexts = invocation.contexts()?;
    match (&arguments.plan, arguments.fingerprint) {
        (Some(path), fingerprint) => {
            let signed = plan::read(path)?;
            plan::check_fit(&signed.plan)
                .and_then(|_| plan::check_signed(&signed))
                .and_then(|_| {
                    fingerprint.map_or(Ok(()), |trusted| check_fingerprint(&signed, trusted))
                })
                .map_err(|error| error.context(path.display()))?;
            let id = ClusterId(plan_digest(&signed.plan));
            let client = client(id, Whereabouts::Plan(PathBuf::from("plan.toml")));
            contexts.add(&arguments.name, &client, Some(&plan::text(&signed)))?;
        }
        (None, Some(fingerprint)) => {
            for address in &arguments.address {
                check_address(address)?;
            }
            contexts.refuse_known(&arguments.name)?;
            let server = |address| ServerAddress { address, transport: None };
            let servers: Vec<_> = arguments.address.into_iter().map(server).collect();
            // Anybody may ask for the plan: the key that will speak need not be known yet.
            let seed = zeroize::Zeroizing::new(disk::random()?);
            let patience = ClientSettings::timeout(invocation);
            let signed = client_command::runtime()?.block_on(plan_source::fetch(
                &servers,
                fingerprint,
                &TransportKey::from_seed(&seed),
                patience,
            ))?;
            let client = client(fingerprint, Whereabouts::Plan(PathBuf::from("plan.toml")));
            contexts.add(&arguments.name, &client, Some(&plan::text(&signed)))?;
        }
        (None, None) => {
            let hint = "give --plan FILE, or --address with --fingerprint";
            return Err(Error::usage("nothing says which cluster to trust", hint));
        }
    }
    let known = known(invocation, &arguments.name)?;
    if !known.in_use {
        let current = contexts.current()?.unwrap_or_default();
        invocation.output.note(format_args!(
            "not in use, `{current}` is: `ravelin trust use {}` changes that",
            known.name
        ));
    }
    note_override(invocation);
    invocation.output.print(&known)
}

/// Says if commands will use another cluster than the one chosen here.
fn note_override(invocation: &Invocation) {
    if let Some(config) = &invocation.globals.config {
        let config = config.display();
        invocation.output.note(format!(
            "note: RAVELIN_CONFIG or --config names {config}, which goes before the cluster in use"
        ));
    }
}

fn list(invocation: &Invocation) -> Result<()> {
    let names = invocation.contexts()?.names()?;
    let contexts = names.iter().map(|name| known(invocation, name)).collect::<Result<_>>()?;
    invocation.output.print(&List { contexts })
}

/// What is known of a cluster.
fn known(invocation: &Invocation, name: &str) -> Result<Known> {
    let contexts = invocation.contexts()?;
    let client = ClientFile::read(&contexts.client_file(name)?)?;
    Ok(Known {
        name: name.to_owned(),
        fingerprint: client.fingerprint.0.to_string(),
        in_use: contexts.current()?.as_deref() == Some(name),
    })
}

/// Reads a fingerprint as an argument.
fn fingerprint(text: &str) -> Result<ClusterId, String> {
    let digest = hex::decode(text).map(|digest| ClusterId(Digest(digest)));
    digest.ok_or_else(|| "a fingerprint is 64 hexadecimal digits".to_owned())
}

#[derive(Serialize)]
struct Known {
    name: String,
    fingerprint: String,
    in_use: bool,
}

impl fmt::Display for Known {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.in_use { '*' } else { ' ' };
        write!(out, "{mark} {}  {}", self.name, self.fingerprint)
    }
}

#[derive(Serialize)]
struct List {
    contexts: Vec<Known>,
}

impl fmt::Display for List {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.contexts.iter().map(ToString::to_string).collect();
        if lines.is_empty() {
            out.write_str("no cluster is known")
        } else {
            out.write_str(&lines.join("\n"))
        }
    }
}
