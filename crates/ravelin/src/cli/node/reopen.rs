//! `ravelin node reopen`: administrators open a cluster whose wormholes are not those of its plan.

use std::fmt;
use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args};
use ravelin_crypto::{ApprovalError, check_reopening, sign_reopening};
use ravelin_model::{SignedPlan, SignedReopening};
use ravelin_runtime::transport::TransportKey;
use serde::Serialize;

use super::Invocation;
use crate::client_command::{no_key, runtime};
use crate::client_settings::ClientSettings;
use crate::exit::{Error, Exit, Result};
use crate::files::client::Whereabouts;
use crate::files::disk::{self, Privacy};
use crate::files::key::KeyFile;
use crate::files::{plan, reopening as file};
use crate::plan_source;
use crate::reopening::{Picture, Reopened, Servers, Words};

const HELP: &str = "\
Examples, where `ravelin trust add` made the cluster known, with the key of somebody enrolled:
  ravelin node reopen --key admin.key
  ravelin node reopen --key admin.key --lost 2

Where several administrators must sign:
  ravelin node reopen --draft reopen.toml
  ravelin node reopen --approve reopen.toml
  ravelin node reopen --approve reopen.toml --key admin.key --yes
  ravelin node reopen --signed reopen.toml

In the fault model `hybrid` only those instances of wormholes count that the plan in force
names, and without a TPM each start is a new instance. A server that starts again while a quorum
runs is let in by the others. After all were down, and at the very first start, administrators
open the cluster by such an order: the epoch ends at what the logs of all servers decide, and the
next one names the instances that are there now. Nothing that was acknowledged is lost, as long
as at most f servers are intruded or declared lost. All others must run; one that starts again in
between needs another order. Who signs by --approve has the plan at hand, for only keys of
administrators sign: `ravelin trust add NAME --plan FILE` is enough, and no server is asked then.

Exit codes: 0 open, or open already; 2 no hybrid cluster, or no such server; 3 too few
administrators signed, or somebody who is none; 4 no cluster is known here; 5 servers are missing,
or the epoch did not begin in time; 6 a signature does not hold; 9 the order is for another epoch
or cluster.";

/// What lets in a server without which the cluster is open.
const LEFT_OUT: &str = "who runs is let in by the others, once in the plan's `rekey_interval_min_s` (an hour):     one that started twice within it waits, or administrators let it in now by --anyway; start who does not answer";

/// Arguments of `node reopen`.
#[derive(Args)]
#[command(
    after_long_help = HELP,
    group = ArgGroup::new("by_file").args(["draft", "approve", "signed"]),
)]
pub(crate) struct Reopen {
    /// An administrator's key file; several times for several
    #[arg(long, value_name = "FILE", required_unless_present_any = ["draft", "approve", "signed"], conflicts_with_all = ["draft", "signed"])]
    key: Vec<PathBuf>,
    /// A server whose disk is gone for good, by its number; several times for several
    #[arg(long, value_name = "SERVER", conflicts_with_all = ["approve", "signed"])]
    lost: Vec<u16>,
    /// Open the cluster even if its plan names the instances of a quorum: they may not be what they say
    #[arg(long, conflicts_with_all = ["approve", "signed"])]
    anyway: bool,
    /// Write the order, for administrators to sign
    #[arg(long, value_name = "FILE")]
    draft: Option<PathBuf>,
    /// Show an order that waits for signatures; with --yes, add yours
    #[arg(long, value_name = "FILE")]
    approve: Option<PathBuf>,
    /// Sign the order of --approve: you have seen what it says
    #[arg(long, requires = "approve", requires = "key")]
    yes: bool,
    /// Bring the servers the order that administrators signed
    #[arg(long, value_name = "FILE")]
    signed: Option<PathBuf>,
}

/// Does one step of a reopening, or all at once.
pub(super) fn run(invocation: &Invocation, arguments: &Reopen) -> Result<()> {
    let keys = arguments.key.iter().map(|path| KeyFile::read(path)).collect::<Result<Vec<_>>>()?;
    if let Some(path) = &arguments.approve {
        return approve(invocation, path, &keys, arguments.yes);
    }
    if let Some(path) = &arguments.draft {
        disk::refuse_existing(path)?;
    }
    let settings = ClientSettings::load(invocation)?;
    let client = settings.cluster()?;
    let own = client.key.as_deref().ok_or_else(|| no_key(&settings))?;
    let key = TransportKey::from_seed(&KeyFile::read(own)?.seed);
    runtime()?.block_on(async {
        let plan = plan_source::find(client, &key, settings.timeout).await?;
        let servers = Servers { cluster: client.fingerprint, plan, key };
        servers.check_model()?;
        let signed = match &arguments.signed {
            Some(path) => file::read(path)?,
            None => {
                let picture = servers.look().await?;
                let lost = picture.lost(&arguments.lost)?;
                if picture.open_count() >= picture.group.quorum() && !arguments.anyway {
                    return tell_open(invocation, arguments, &picture);
                }
                let order = picture.order(servers.cluster, lost)?;
                SignedReopening { order, approvals: Vec::new() }
            }
        };
        if let Some(path) = &arguments.draft {
            disk::create(path, &file::text(&signed), Privacy::Public)?;
            invocation.output.note(format_args!(
                "next: ravelin node reopen --approve {} --key FILE --yes",
                path.display()
            ));
            let needed = Some(needed(&servers.plan));
            return invocation.output.print(&Told { needed, ..Told::step("drafted", &signed) });
        }
        let signed = signed_by(signed, &keys);
        check(&signed, &servers.plan).map_err(|error| match &arguments.signed {
            Some(path) => error.context(path.display()),
            None => error,
        })?;
        let reopened = servers.bring(&signed, settings.timeout).await?;
        invocation.output.print(&Told::done(&signed, &reopened))
    })
}

/// Says that there is nothing to open, who is left out all the same, and what lets those in.
fn tell_open(invocation: &Invocation, arguments: &Reopen, picture: &Picture) -> Result<()> {
    let told = Told::open(picture);
    invocation.output.print(&told)?;
    if let Some(path) = &arguments.draft {
        let path = path.display();
        invocation.output.note(format_args!("{path} is not written: the cluster is open"));
    }
    if !told.left_out.is_empty() {
        invocation.output.note(LEFT_OUT);
    }
    Ok(())
}

/// Shows what an order says, and signs it if that is said to be known.
fn approve(invocation: &Invocation, path: &Path, keys: &[KeyFile], is_known: bool) -> Result<()> {
    let signed = file::read(path)?;
    let named = |error: Error| error.context(path.display());
    if !is_known {
        invocation.output.note(format_args!(
            "nothing is signed; if this is what you want: ravelin node reopen --approve {} --key FILE \
             --yes",
            path.display()
        ));
        // Whoever does not know the cluster may look, too.
        let needed = plan_at_hand(invocation, &signed).ok().map(|plan| needed(&plan));
        return invocation.output.print(&Told { needed, ..Told::step("shown", &signed) });
    }
    let plan = plan_at_hand(invocation, &signed).map_err(named)?;
    let signed = signed_by(signed, keys);
    if let Err(error) = judged(&signed, &plan)?
        && !matches!(error, ApprovalError::TooFew { .. })
    {
        return Err(named(explained(error)));
    }
    disk::replace(path, &file::text(&signed), Privacy::Public)?;
    let told = Told { needed: Some(needed(&plan)), ..Told::step("approved", &signed) };
    invocation.output.print(&told)
}

/// A plan of the cluster that an order is for: who may sign is the same in all.
fn plan_at_hand(invocation: &Invocation, signed: &SignedReopening) -> Result<SignedPlan> {
    let settings = ClientSettings::load(invocation)?;
    let client = settings.cluster()?;
    if signed.order.cluster != client.fingerprint {
        let cause = format!("the order is for another cluster, {}", signed.order.cluster.0);
        let hint = "name the one that it is for: --context NAME, or --config FILE";
        return Err(Error::new(Exit::Conflict, cause, hint));
    }
    if let Whereabouts::Plan(_) = &client.whereabouts {
        return client.plan();
    }
    let own = client.key.as_deref().ok_or_else(|| no_key(&settings))?;
    let key = TransportKey::from_seed(&KeyFile::read(own)?.seed);
    runtime()?.block_on(plan_source::find(client, &key, settings.timeout))
}

fn needed(plan: &SignedPlan) -> u16 {
    plan.plan.administrators_needed
}

fn judged(
    signed: &SignedReopening,
    plan: &SignedPlan,
) -> Result<std::result::Result<(), ApprovalError>> {
    Ok(check_reopening(signed, &plan.plan, &plan::scheme()?))
}

/// Refuses what the servers would refuse for its signatures, and says whose.
fn check(signed: &SignedReopening, plan: &SignedPlan) -> Result<()> {
    judged(signed, plan)?.map_err(explained)
}

fn explained(error: ApprovalError) -> Error {
    match error {
        ApprovalError::TooFew { .. } => {
            let hint = "`ravelin cluster show` lists the administrators; each signs: ravelin node \
                        reopen --approve FILE --key FILE --yes";
            Error::caused(Exit::Denied, error, hint).context("too few administrators signed it")
        }
        ApprovalError::Stranger { .. } => {
            let hint = "sign with a key that `ravelin cluster show` lists; a signature that is in a file \
                        already goes with its table [[signatures]]";
            Error::caused(Exit::Denied, error, hint)
        }
        ApprovalError::BadSignature { .. } => {
            let hint = "the file was changed after it was signed: have a new draft signed";
            Error::caused(Exit::VerificationFailed, error, hint)
        }
    }
}

fn signed_by(mut signed: SignedReopening, keys: &[KeyFile]) -> SignedReopening {
    keys.iter().for_each(|key| sign_reopening(&mut signed, &key.signing_key()));
    signed
}

/// A reopening, as a step left it.
#[derive(Serialize)]
struct Told {
    step: &'static str,
    /// The cluster of the order.
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<String>,
    /// The epoch in force; of an order that waits, the one that it ends.
    epoch: u64,
    /// The servers whose wormholes' instances count then.
    open: Vec<u16>,
    lost: Vec<u16>,
    /// Of a cluster that is open, the servers whose wormholes count for nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    left_out: Vec<LeftOut>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signatures: Option<usize>,
    /// How many the plan demands, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(rename = "signatures_needed")]
    needed: Option<u16>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    signed_by: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    verdicts: Vec<Verdict>,
}

#[derive(Serialize)]
struct LeftOut {
    server: u16,
    why: &'static str,
}

#[derive(Serialize)]
struct Verdict {
    server: u16,
    verdict: String,
}

impl Told {
    fn open(picture: &Picture) -> Self {
        let open = picture.present.keys().filter(|id| picture.is_open(**id));
        let left_out = picture.left_out().into_iter();
        Self {
            step: "open",
            cluster: None,
            epoch: picture.plan.plan.epoch.0,
            open: open.map(|id| id.0).collect(),
            lost: Vec::new(),
            left_out: left_out.map(|(id, why)| LeftOut { server: id.0, why }).collect(),
            signatures: None,
            needed: None,
            signed_by: Vec::new(),
            verdicts: Vec::new(),
        }
    }

    fn step(step: &'static str, signed: &SignedReopening) -> Self {
        let order = &signed.order;
        Self {
            step,
            cluster: Some(order.cluster.0.to_string()),
            epoch: order.epoch.0,
            open: order.instances.iter().map(|(id, _)| id.0).collect(),
            lost: order.lost.iter().map(|id| id.0).collect(),
            left_out: Vec::new(),
            signatures: Some(signed.approvals.len()),
            needed: None,
            signed_by: signed.approvals.iter().map(|(key, _)| key.to_string()).collect(),
            verdicts: Vec::new(),
        }
    }

    fn done(signed: &SignedReopening, reopened: &Reopened) -> Self {
        let verdicts = reopened
            .verdicts
            .iter()
            .map(|(id, verdict)| Verdict { server: id.0, verdict: Words(*verdict).to_string() });
        let is_by_this = reopened.is_by(&signed.order);
        let step = if is_by_this { "reopened" } else { "reopened by another order" };
        let told = Self::step(step, signed);
        Self {
            epoch: reopened.plan.plan.epoch.0,
            open: reopened.instances().iter().map(|(id, _)| id.0).collect(),
            lost: if is_by_this { told.lost } else { Vec::new() },
            signatures: is_by_this.then_some(signed.approvals.len()),
            needed: is_by_this.then_some(needed(&reopened.plan)),
            signed_by: if is_by_this { told.signed_by } else { Vec::new() },
            verdicts: verdicts.collect(),
            ..told
        }
    }
}

impl fmt::Display for Told {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |ids: &[u16]| ids.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
        match self.step {
            "open" => write!(out, "open      already")?,
            step => write!(out, "order     {step}")?,
        }
        if let Some(cluster) = &self.cluster {
            write!(out, "\ncluster   {cluster}")?;
        }
        write!(out, "\nepoch     {}\nwormholes of servers {}", self.epoch, list(&self.open))?;
        if !self.lost.is_empty() {
            write!(out, "\nlost      servers {}", list(&self.lost))?;
        }
        for LeftOut { server, why } in &self.left_out {
            write!(out, "\nleft out  server {server}: {why}")?;
        }
        for Verdict { server, verdict } in &self.verdicts {
            write!(out, "\nserver {server}  {verdict}")?;
        }
        if let Some(count) = self.signatures {
            write!(out, "\nsigned    by {count}")?;
            if let Some(needed) = self.needed {
                write!(out, " of {needed} needed")?;
            }
        }
        self.signed_by.iter().try_for_each(|key| write!(out, "\nsigned by {key}"))
    }
}
