//! `ravelin cluster`: plan clusters and sign plans.

use std::fmt;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use ravelin_crypto::{plan_digest, sign_plan};
use ravelin_model::limits::CHECKPOINT_EVERY_DEFAULT;
use ravelin_model::plan::PLAN_VERSION;
use ravelin_model::{
    ClientEntry, ClusterPlan, Epoch, FaultModel, Incarnation, PublicKey, Purpose, SignedPlan,
};
use serde::Serialize;

use super::Invocation;
use super::backup;
use crate::client_settings::ClientSettings;
use crate::exit::{Error, Exit, Result};
use crate::files::card::{self, RawMember};
use crate::files::client::Whereabouts;
use crate::files::disk::{self, Privacy};
use crate::files::hex;
use crate::files::key::KeyFile;
use crate::files::plan::{self, RawPrevious};

/// The verbs.
#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Make a plan from the servers' cards
    Plan(Plan),
    /// Show what a plan says, and add an administrator's signature
    SignPlan(SignPlan),
    /// Show a plan, and whether it is in force
    Show(Which),
    /// Print a plan's fingerprint, on which clients rest their trust
    Fingerprint(Which),
}

const PLAN_HELP: &str = "\
Example:
  ravelin cluster plan --name prod --administrator PUBLIC_KEY --client ops=PUBLIC_KEY *.card.toml

Servers print their cards with `ravelin node card`, keys come from `ravelin auth keygen`. f
intrusions need 3f+1 servers; with `--fault-model hybrid`, where each has a wormhole, 2f+1.
Administrators then sign with `ravelin cluster sign-plan`.";

/// Arguments of `cluster plan`.
#[derive(Args)]
#[command(after_long_help = PLAN_HELP)]
pub(crate) struct Plan {
    /// The servers' cards, from `node card`; their order numbers the servers
    #[arg(required = true, value_name = "CARD")]
    cards: Vec<PathBuf>,
    /// The cluster's name
    #[arg(long)]
    name: String,
    /// Intruded servers to tolerate
    #[arg(long, default_value_t = 1)]
    f: u16,
    /// What is assumed of intruded servers
    #[arg(long, value_name = "MODEL", default_value = "arbitrary")]
    fault_model: Model,
    /// An administrator's public key, from `auth keygen`; several times for several
    #[arg(long, required = true, value_name = "KEY", value_parser = public_key)]
    administrator: Vec<PublicKey>,
    /// How many administrators must sign [default: more than half]
    #[arg(long, value_name = "M")]
    administrators_needed: Option<u16>,
    /// A client known from the start; several times for several
    #[arg(long, value_name = "NAME=KEY", value_parser = client_entry)]
    client: Vec<ClientEntry>,
    /// A backup that the cluster is to be restored from: its clients are known from the start, and
    /// the incarnation is the one after its own
    #[arg(long, value_name = "FILE")]
    backup: Option<PathBuf>,
    /// Leader slots of a round, at most f+1 [default: 2, with `hybrid` 1]
    #[arg(long, value_name = "N")]
    leaders_per_round: Option<u16>,
    /// The file to write
    #[arg(long, value_name = "FILE", default_value = "plan.toml")]
    out: PathBuf,
}

const SIGN_HELP: &str = "\
Examples:
  ravelin cluster sign-plan plan.toml
  ravelin cluster sign-plan plan.toml --key admin.key --yes

The first shows all that a signature would cover, and signs nothing: compare the servers' keys
with their cards, and those of administrators and clients with what they told you, and keep the
fingerprint. The second adds your signature to the file, and shows the fingerprint of what you
signed. The file goes from one administrator that the plan needs to the next: two copies with one
signature each cannot be joined. `ravelin cluster show` says who has signed, and whether enough
have. A plan that was changed after somebody signed it is refused.";

/// Arguments of `cluster sign-plan`.
#[derive(Args)]
#[command(after_long_help = SIGN_HELP)]
pub(crate) struct SignPlan {
    /// The plan
    plan: PathBuf,
    /// The administrator's key file
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Sign the plan: you have seen what it says
    #[arg(long, requires = "key")]
    yes: bool,
}

/// Which plan.
#[derive(Args)]
pub(crate) struct Which {
    /// The plan [default: that of the cluster in use]
    plan: Option<PathBuf>,
}

/// A fault model, as an argument.
#[derive(Clone, Copy, ValueEnum)]
enum Model {
    /// Nothing: 3f+1 servers
    Arbitrary,
    /// Their wormholes only stop: 2f+1 servers
    Hybrid,
    /// Nothing, not even of time: not in this release
    Asynchronous,
}

/// Runs a verb.
pub(crate) fn run(invocation: &Invocation, verb: Verb) -> Result<()> {
    match verb {
        Verb::Plan(arguments) => make_plan(invocation, arguments),
        Verb::SignPlan(arguments) => sign(invocation, &arguments),
        Verb::Show(which) => show(invocation, &which),
        Verb::Fingerprint(which) => {
            let (_, signed) = find(invocation, &which)?;
            let fingerprint = plan_digest(&signed.plan).to_string();
            invocation.output.print(&Fingerprint { fingerprint })
        }
    }
}

fn make_plan(invocation: &Invocation, arguments: Plan) -> Result<()> {
    let members = arguments.cards.iter().map(|path| card::read(path)).collect::<Result<_>>()?;
    let backup = arguments.backup.as_deref().map(backup::read).transpose()?;
    let (incarnation, clients) = match &backup {
        Some(backup) => (backup.next_incarnation()?, backup.clients_beside(arguments.client)),
        None => (Incarnation(1), arguments.client),
    };
    let majority = arguments.administrator.len() / 2 + 1;
    let majority = u16::try_from(majority).unwrap_or(u16::MAX);
    let fault_model = match arguments.fault_model {
        Model::Arbitrary => FaultModel::Arbitrary,
        Model::Hybrid => FaultModel::Hybrid,
        Model::Asynchronous => FaultModel::Asynchronous,
    };
    let plan = ClusterPlan {
        version: PLAN_VERSION,
        name: arguments.name,
        purpose: Purpose::Production,
        incarnation,
        epoch: Epoch(1),
        previous: None,
        fault_model,
        f: arguments.f,
        leaders_per_round: arguments
            .leaders_per_round
            .unwrap_or_else(|| plan::leaders_default(fault_model)),
        members,
        administrators: arguments.administrator,
        administrators_needed: arguments.administrators_needed.unwrap_or(majority),
        clients,
        rekey_interval_min_s: plan::REKEY_INTERVAL_MIN_S_DEFAULT,
        checkpoint_every: CHECKPOINT_EVERY_DEFAULT,
    };
    plan::check_fit(&plan)?;
    let signed = SignedPlan { plan, signatures: Vec::new() };
    disk::create(&arguments.out, &plan::text(&signed), Privacy::Public)?;
    invocation.output.note(format_args!(
        "next: administrators look at it: ravelin cluster sign-plan {}",
        arguments.out.display()
    ));
    invocation.output.print(&Summary::of(&arguments.out, &signed)?)
}

/// Shows what a plan says, and signs it if that is said to be known.
fn sign(invocation: &Invocation, arguments: &SignPlan) -> Result<()> {
    let path = &arguments.plan;
    let mut signed = plan::read(path)?;
    check(path, &signed)?;
    let key = arguments.key.as_deref().map(KeyFile::read).transpose()?;
    if let Some(key) = &key
        && !signed.plan.administrators.contains(&key.public())
    {
        let cause = format!("{} is no administrator of {}", key.public(), path.display());
        let hint = "use the key of one of its administrators, or make a plan that names this one";
        return Err(Error::new(Exit::Denied, cause, hint));
    }
    let Some(key) = key else {
        invocation.output.print(&Whole::of(path, &signed)?)?;
        invocation.output.note(format_args!(
            "nothing was signed now; if this is what you want: ravelin cluster sign-plan {} --key FILE \
             --yes",
            path.display()
        ));
        return Ok(());
    };
    if !arguments.yes {
        let cause = "nothing is signed: `--key` signs with `--yes` only";
        let hint = format!(
            "look at the plan: `ravelin cluster sign-plan {}`; if it is what you want, add `--yes`",
            path.display()
        );
        return Err(Error::new(Exit::Usage, cause, hint));
    }
    sign_plan(&mut signed, &key.signing_key());
    disk::replace(path, &plan::text(&signed), Privacy::Public)?;
    invocation.output.print(&Summary::of(path, &signed)?)
}

/// Refuses a plan that does not hold together, and one that was changed after somebody signed it.
fn check(path: &Path, signed: &SignedPlan) -> Result<()> {
    let checked = plan::check_fit(&signed.plan).and_then(|_| plan::check_signatures(signed));
    checked.map_err(|error| error.context(path.display()))
}

fn show(invocation: &Invocation, which: &Which) -> Result<()> {
    let (path, signed) = find(invocation, which)?;
    check(&path, &signed)?;
    invocation.output.print(&Whole::of(&path, &signed)?)
}

/// The plan that was named, or that of the cluster in use.
fn find(invocation: &Invocation, which: &Which) -> Result<(PathBuf, SignedPlan)> {
    if let Some(path) = &which.plan {
        return Ok((path.clone(), plan::read(path)?));
    }
    let settings = ClientSettings::load(invocation)?;
    let client = settings.cluster()?;
    let signed = client.plan()?;
    let path = match &client.whereabouts {
        Whereabouts::Plan(path) => path.clone(),
        Whereabouts::Servers(_) => PathBuf::new(),
    };
    Ok((path, signed))
}

/// Reads a public key as an argument.
fn public_key(text: &str) -> Result<PublicKey, String> {
    let key = hex::decode(text).map(PublicKey);
    key.ok_or_else(|| "a public key is 64 hexadecimal digits".to_owned())
}

/// Reads `NAME=KEY`.
fn client_entry(text: &str) -> Result<ClientEntry, String> {
    let (name, key) = text.split_once('=').ok_or("write NAME=KEY")?;
    Ok(ClientEntry { name: name.to_owned(), key: public_key(key)? })
}

#[derive(Serialize)]
struct Fingerprint {
    fingerprint: String,
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.fingerprint)
    }
}

/// A plan in short.
#[derive(Serialize)]
struct Summary {
    plan: PathBuf,
    fingerprint: String,
    signatures: usize,
    signatures_needed: u16,
    /// Administrators whose signatures hold.
    signed_by: Vec<String>,
    in_force: bool,
}

impl Summary {
    fn of(path: &Path, signed: &SignedPlan) -> Result<Self> {
        let signers = plan::good_signers(signed)?;
        let signatures = signers.len();
        Ok(Self {
            plan: path.to_owned(),
            fingerprint: plan_digest(&signed.plan).to_string(),
            signatures,
            signatures_needed: signed.plan.administrators_needed,
            signed_by: signers.iter().map(ToString::to_string).collect(),
            in_force: signatures >= usize::from(signed.plan.administrators_needed),
        })
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.in_force { "in force" } else { "not in force yet" };
        writeln!(out, "plan            {}", self.plan.display())?;
        writeln!(out, "fingerprint     {}", self.fingerprint)?;
        write!(
            out,
            "signatures      {} of {}: {verdict}",
            self.signatures, self.signatures_needed
        )?;
        self.signed_by.iter().try_for_each(|key| write!(out, "\nsigned by       {key}"))
    }
}

/// A plan with all that it says, and that its signatures cover.
#[derive(Serialize)]
struct Whole {
    #[serde(flatten)]
    summary: Summary,
    name: String,
    purpose: &'static str,
    incarnation: u32,
    epoch: u64,
    fault_model: &'static str,
    servers: usize,
    f: u16,
    leaders_per_round: u16,
    rekey_interval_min_s: u64,
    checkpoint_every: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous: Option<RawPrevious>,
    members: Vec<RawMember>,
    administrators: Vec<String>,
    clients: Vec<Client>,
}

#[derive(Serialize)]
struct Client {
    name: String,
    key: String,
}

impl Whole {
    fn of(path: &Path, signed: &SignedPlan) -> Result<Self> {
        let plan = &signed.plan;
        let client =
            |entry: &ClientEntry| Client { name: entry.name.clone(), key: entry.key.to_string() };
        Ok(Self {
            summary: Summary::of(path, signed)?,
            name: plan.name.clone(),
            purpose: plan::purpose_name(plan.purpose),
            incarnation: plan.incarnation.0,
            epoch: plan.epoch.0,
            fault_model: plan.fault_model.name(),
            servers: plan.members.len(),
            f: plan.f,
            leaders_per_round: plan.leaders_per_round,
            rekey_interval_min_s: plan.rekey_interval_min_s,
            checkpoint_every: plan.checkpoint_every,
            previous: plan.previous.map(RawPrevious::from),
            members: plan.members.iter().map(RawMember::from).collect(),
            administrators: plan.administrators.iter().map(ToString::to_string).collect(),
            clients: plan.clients.iter().map(client).collect(),
        })
    }
}

impl fmt::Display for Whole {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "name            {}  ({})", self.name, self.purpose)?;
        writeln!(out, "{}", self.summary)?;
        writeln!(
            out,
            "assumes         at most {} of {} servers intruded, `{}`",
            self.f, self.servers, self.fault_model
        )?;
        writeln!(out, "epoch           {}, incarnation {}", self.epoch, self.incarnation)?;
        if let Some(previous) = &self.previous {
            writeln!(out, "{previous}")?;
        }
        for (id, member) in self.members.iter().enumerate() {
            writeln!(out, "server {id:<8} {member}")?;
        }
        for key in &self.administrators {
            writeln!(out, "administrator   {key}")?;
        }
        for client in &self.clients {
            writeln!(out, "client          {}  {}", client.name, client.key)?;
        }
        writeln!(out, "leaders         {} a round", self.leaders_per_round)?;
        writeln!(out, "checkpoints     every {} commits", self.checkpoint_every)?;
        write!(out, "key changes     {} s apart, or more", self.rekey_interval_min_s)
    }
}
