//! `ravelin node release` and `node evidence`: what administrators do about a server that halted.
//!
//! **Guarantee:** nothing is written into a server's state but a release that enough administrators
//! signed for its present halt; a running server is left alone.

use std::fmt;
use std::path::{Path, PathBuf};

use clap::Args;
use ravelin_crypto::{ApprovalError, sign_release};
use ravelin_model::{Evidence, ReplicaId, SignedRelease};
use ravelin_replication::{Halt, Halted, ReleaseError};
use ravelin_runtime::store::{DiskState, StoreConfig, StoreError};
use serde::Serialize;

use super::{Invocation, Node, configuration};
use crate::data;
use crate::evidence_file::EvidenceFile;
use crate::exit::{Error, Exit, Result};
use crate::files::disk::{self, Privacy};
use crate::files::key::KeyFile;
use crate::files::node::NodeConfig;
use crate::files::{date, plan, release};
use crate::seat::Place;

const HELP: &str = "\
Examples, for each server that halted, once it is stopped and whoever is accused is repaired:
  ravelin node release --config node.toml --draft release.toml
  ravelin node release --approve release.toml
  ravelin node release --approve release.toml --key admin.key --yes
  ravelin node release --config node.toml --signed release.toml

Colluders beyond f may have framed correct servers: a `wrong_statement` counts only as far as
f+1 of those who sign it alike were honest. Compare what all halted servers can prove
(`ravelin node evidence`), and name everybody whom any of them accuses, each with --repaired.
As many administrators sign the file, one after the other, as the plan demands. It is good for
this halt only, once. Servers named as repaired count no longer as offenders on this one, until
they have other block keys: give them those by `ravelin auth rekey` once the cluster serves.
Proofs are kept. What was acknowledged is on the disks of the servers that halted.

Exit codes: 0 done; 2 for another cluster or server, or it names a server that there is not;
3 too few administrators signed, or somebody who is none; 4 the server has not halted, or has no
data; 6 a signature does not hold; 8 the state is wrong, or the server would halt again: it stays
halted; 9 for another halt, or the server runs.";

/// Arguments of `node release`.
#[derive(Args)]
#[command(after_long_help = HELP)]
#[group(id = "step", required = true, multiple = false, args = ["draft", "approve", "signed"])]
pub(crate) struct Release {
    #[command(flatten)]
    node: Node,
    /// Write the order that would let the server go on, for administrators to sign
    #[arg(long, value_name = "FILE")]
    draft: Option<PathBuf>,
    /// An offender that was repaired, by its number; several times for several [default: all whom
    /// this server accuses]
    #[arg(long, value_name = "SERVER", requires = "draft")]
    repaired: Vec<u16>,
    /// Show an order that waits for signatures; with --yes, add yours
    #[arg(long, value_name = "FILE")]
    approve: Option<PathBuf>,
    /// The administrator's key file
    #[arg(long, value_name = "FILE", requires = "approve")]
    key: Option<PathBuf>,
    /// Sign the order of --approve: you have seen what it says
    #[arg(long, requires = "approve", requires = "key")]
    yes: bool,
    /// Give the server the order that administrators signed; it goes on at its next start
    #[arg(long, value_name = "FILE")]
    signed: Option<PathBuf>,
}

const EVIDENCE_HELP: &str = "\
Example:
  ravelin node evidence --config node.toml --out proofs

The server must be stopped. Each line is one proof, which whoever has the plan can check.";

/// Arguments of `node evidence`.
#[derive(Args)]
#[command(after_long_help = EVIDENCE_HELP)]
pub(crate) struct Export {
    #[command(flatten)]
    node: Node,
    /// The file to which lines are added
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Does one step of a release.
pub(super) fn run(invocation: &Invocation, arguments: Release) -> Result<()> {
    let Release { node, draft, repaired, approve: to_approve, key, yes, signed } = arguments;
    if let Some(path) = &to_approve {
        let key = key.as_deref().map(KeyFile::read).transpose()?;
        return approve(invocation, path, key.filter(|_| yes));
    }
    let config = configuration(invocation, node)?;
    match (&draft, &signed) {
        (Some(path), _) => {
            disk::refuse_existing(path)?;
            let repaired = repaired.into_iter().map(ReplicaId).collect();
            write(invocation, &config, (path, repaired))
        }
        (None, Some(path)) => give(invocation, &config, path),
        (None, None) => Err(Error::usage("nothing to do", "see `ravelin node release --help`")),
    }
}

/// Appends the server's proofs to a file.
pub(super) fn export(invocation: &Invocation, arguments: Export) -> Result<()> {
    let file = EvidenceFile::at(&arguments.out)?;
    let config = configuration(invocation, arguments.node)?;
    let (member, halted) = open(&config)?;
    let proofs = halted.proofs();
    file.append(member.cluster, halted.plan(), &proofs)?;
    let halt = halted.halt().map(|halt| reason(&halt));
    let proofs = proofs.iter().map(Proof::from).collect();
    invocation.output.print(&Exported {
        server: member.replica.0,
        halt,
        proofs,
        file: arguments.out,
    })
}

fn write(
    invocation: &Invocation,
    config: &NodeConfig,
    (path, repaired): (&Path, Vec<ReplicaId>),
) -> Result<()> {
    let (_, halted) = open(config)?;
    let halt = halted.halt().ok_or_else(not_halted)?;
    halt.reason.check_mendable().map_err(|error| explained(config, error))?;
    let repaired = (!repaired.is_empty()).then_some(repaired);
    let order = halted.draft(repaired, date::now()).ok_or_else(not_halted)?;
    let signed = SignedRelease { order, approvals: vec![] };
    let why = format!("Halted in epoch {}, {}.", halt.epoch.0, reason(&halt));
    disk::create(path, &release::text(&signed, &why), Privacy::Public)?;
    invocation.output.note(format_args!(
        "judge what is proven (`ravelin node evidence`), repair the servers named, then: ravelin node \
         release --approve {} --key FILE --yes",
        path.display()
    ));
    let needed = halted.plan().plan.administrators_needed;
    let told =
        Told { needed: Some(needed), halt: Some(reason(&halt)), ..Told::of("drafted", &signed) };
    invocation.output.print(&told)
}

/// Shows what an order says, and has it signed by the key of somebody who said that it is known.
fn approve(invocation: &Invocation, path: &Path, key: Option<KeyFile>) -> Result<()> {
    let mut signed = release::read(path)?;
    let Some(key) = key else {
        invocation.output.note(format_args!(
            "nothing is signed; if this is what you want: ravelin node release --approve {} --key FILE \
             --yes",
            path.display()
        ));
        return invocation.output.print(&Told::of("shown", &signed));
    };
    sign_release(&mut signed, &key.signing_key());
    disk::replace(path, &release::text(&signed, "Signed by those below."), Privacy::Public)?;
    invocation.output.print(&Told::of("approved", &signed))
}

fn give(invocation: &Invocation, config: &NodeConfig, path: &Path) -> Result<()> {
    let signed = release::read(path)?;
    let (_, mut halted) = open(config)?;
    let refused = |error| explained(config, error).context(path.display());
    halted.release(&signed, &plan::scheme()?).map_err(refused)?;
    let named: Vec<String> = signed.order.repaired.iter().map(ToString::to_string).collect();
    invocation.output.note(format_args!(
        "start the server; once the cluster serves, give other block keys to the servers {}: `ravelin \
         auth rekey`",
        named.join(", ")
    ));
    invocation.output.print(&Told::of("released", &signed))
}

/// The state of the server, which is not running.
fn open(config: &NodeConfig) -> Result<(Place, Halted)> {
    let member = Place::of(config)?;
    let dir = config.data_dir.join("state");
    if !dir.is_dir() {
        let cause = format!("there is no state of a server in {}", dir.display());
        return Err(Error::new(Exit::NotFound, cause, "check `data_dir` in the node file"));
    }
    let owner = data::owner(&member.cluster, &member.identity);
    let state = DiskState::open(&dir, &StoreConfig::new(owner)).map_err(|error| match &error {
        StoreError::Locked { .. } => {
            let cause = "the server runs: its state can be looked into once it is stopped";
            Error::new(Exit::Conflict, cause, "stop it, then try again").code("server_runs")
        }
        StoreError::ForeignOwner { .. } => Error::caused(
            Exit::Conflict,
            error,
            "name the node file of the server whose data it is",
        ),
        _ => Error::caused(Exit::Failed, error, "`ravelin node start` says what to do about it"),
    })?;
    let first = (member.cluster, member.plan.clone());
    let halted = Halted::open(Box::new(state), first, member.replica);
    Ok((member, halted))
}

/// Why the server halted, in words.
fn reason(halt: &Halt) -> String {
    format!("after commit {}: {}", halt.commit.0, halt.reason)
}

fn not_halted() -> Error {
    let hint = "it needs no release: start it; `ravelin status` says how the servers fare";
    Error::new(Exit::NotFound, ReleaseError::NotHalted, hint).code("not_halted")
}

/// Why a release has no effect, and what to do.
fn explained(config: &NodeConfig, error: ReleaseError) -> Error {
    let anew = "write another for this halt: `ravelin node release --draft FILE`";
    let (exit, code, hint) = match &error {
        ReleaseError::NotHalted => return not_halted(),
        ReleaseError::OtherCluster => {
            (Exit::Usage, "other_cluster", "was the right file and the right node file named?")
        }
        ReleaseError::OtherServer { .. } => {
            (Exit::Usage, "other_server", "each server has a release of its own: give it that one")
        }
        ReleaseError::NotApproved(ApprovalError::TooFew { .. }) => {
            let hint =
                "another administrator signs: ravelin node release --approve FILE --key FILE --yes";
            (Exit::Denied, "too_few_signatures", hint)
        }
        ReleaseError::NotApproved(ApprovalError::Stranger { .. }) => {
            let hint =
                "`ravelin cluster show` lists the administrators; have a new draft signed by them";
            (Exit::Denied, "not_an_administrator", hint)
        }
        ReleaseError::NotApproved(ApprovalError::BadSignature { .. }) => {
            let hint = "the file was changed after it was signed: have a new draft signed";
            (Exit::VerificationFailed, "bad_signature", hint)
        }
        ReleaseError::OtherHalt { .. } => (Exit::Conflict, "other_halt", anew),
        ReleaseError::Diverged { .. } => {
            let dir = config.data_dir.display();
            let hint = format!(
                "move `state` and `log` out of {dir}, keep them for whoever looks into it, and start \
                 the server: it fetches its state from the others, and needs another block key"
            );
            return Error::caused(Exit::FailSafe, error, hint).code("diverged");
        }
        ReleaseError::TwoPlans { .. } => {
            let hint = "keep the data of all servers, find out which history is right, and begin a new \
                        cluster from it: nothing that clients were told since the split is sure";
            (Exit::FailSafe, "two_plans", hint)
        }
        ReleaseError::NoMember { .. } => (Exit::Usage, "no_member", anew),
        ReleaseError::TooManyLeft { .. } => {
            let hint = "it would halt again at once: repair them too, and name them in a new draft";
            (Exit::FailSafe, "too_many_left", hint)
        }
    };
    Error::caused(exit, error, hint).code(code)
}

/// A release, as a step left it.
#[derive(Serialize)]
struct Told {
    step: &'static str,
    /// The cluster, and the epoch in which the server halted.
    cluster: String,
    incarnation: u32,
    epoch: u64,
    /// Names that halt: an order is for no other.
    halt_digest: String,
    server: u16,
    serial: u64,
    repaired: Vec<u16>,
    issued: String,
    signatures: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    needed: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    halt: Option<String>,
}

impl Told {
    fn of(step: &'static str, signed: &SignedRelease) -> Self {
        Self {
            step,
            cluster: signed.order.cluster.0.to_string(),
            incarnation: signed.order.incarnation.0,
            halt_digest: signed.order.halt.to_string(),
            epoch: signed.order.epoch.0,
            server: signed.order.server.0,
            serial: signed.order.serial,
            repaired: signed.order.repaired.iter().map(|member| member.0).collect(),
            issued: signed.order.issued.clone(),
            signatures: signed.approvals.len(),
            needed: None,
            halt: None,
        }
    }
}

impl fmt::Display for Told {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { step, cluster, epoch, server, serial, issued, signatures, .. } = self;
        let Self { incarnation, halt_digest, .. } = self;
        if let Some(halt) = &self.halt {
            writeln!(out, "halted    {halt}")?;
        }
        let repaired: Vec<String> = self.repaired.iter().map(u16::to_string).collect();
        writeln!(out, "release   {serial} of server {server}: {step}")?;
        writeln!(out, "cluster   {cluster}, incarnation {incarnation}")?;
        writeln!(out, "issued    {issued}, for a halt in epoch {epoch}")?;
        writeln!(out, "of halt   {halt_digest}")?;
        writeln!(out, "repaired  servers {}", repaired.join(", "))?;
        match self.needed {
            Some(needed) => write!(out, "signed    by {signatures} of the {needed} needed"),
            None => write!(out, "signed    by {signatures}"),
        }
    }
}

/// What a server could prove.
#[derive(Serialize)]
struct Exported {
    server: u16,
    halt: Option<String>,
    proofs: Vec<Proof>,
    file: PathBuf,
}

#[derive(Serialize)]
struct Proof {
    server: u16,
    kind: &'static str,
}

impl From<&Evidence> for Proof {
    fn from(proof: &Evidence) -> Self {
        Self { server: proof.accused().0, kind: proof.kind() }
    }
}

impl fmt::Display for Exported {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.halt {
            Some(halt) => writeln!(out, "server {} halted {halt}", self.server)?,
            None => writeln!(out, "server {} has not halted", self.server)?,
        }
        for Proof { server, kind } in &self.proofs {
            writeln!(out, "proof     {kind} of server {server}")?;
        }
        if self.proofs.iter().any(|proof| proof.kind == "wrong_statement") {
            writeln!(
                out,
                "note      f+1 colluders can frame a server by wrong_statement, and by nothing else"
            )?;
        }
        write!(out, "{} proofs written to {}", self.proofs.len(), self.file.display())
    }
}
