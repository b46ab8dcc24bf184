//! Orders by which administrators let clients in, shut them out, and give servers other block keys.
//!
//! An order names its place in the sequence of all orders of the cluster, so it is good once. Where
//! one administrator is enough, `enroll`, `revoke` and `rekey` sign and submit in one go; where
//! several are needed, the others sign beforehand with `approve`, and whoever submits adds their
//! files.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use ravelin_crypto::Domain;
use ravelin_model::requests::auth::{AuthAction, AuthOrder, AuthReply, AuthRequest};
use ravelin_model::{ClusterPlan, Encode as _, PublicKey, ReplicaId, ServiceId, Signature};
use serde::Serialize;

use super::{Invocation, block_key, public_key};
use crate::client_command::trouble::senseless;
use crate::client_command::{self, Client, Speaker};
use crate::exit::{Error, Exit, Result};
use crate::files::approval::Approval;
use crate::files::card::check_name;
use crate::files::disk::{self, Privacy};
use crate::files::key::KeyFile;
use crate::files::plan;

/// What `auth rekey` is for, in its help text.
const REKEY_HELP: &str = "\
A server that lost its data asks for its next key by itself. Administrators give it one when it
cannot: it asked a short while ago, or cannot write its identity file. `ravelin node check` on the
server prints the key that it has ready; with any other it could not speak in the new epoch.

Against a thief of the identity file this is not enough: the next key and the right to ask are
in it too.

Example:
  ravelin auth rekey 2 --block PUBLIC_KEY --key admin.key";

const ENROLL_HELP: &str = "\
Examples:
  ravelin auth enroll ci PUBLIC_KEY --key admin.key
  ravelin auth enroll ci PUBLIC_KEY --key admin.key --approval from-bob.toml

The administrator's key of a cluster of `ravelin local` is keys/administrator.key in its
directory. Where several administrators must sign, the others do so with `ravelin auth approve
enroll`.";

/// Arguments of `auth enroll`.
#[derive(Args)]
#[command(after_long_help = ENROLL_HELP)]
pub(crate) struct Enroll {
    #[command(flatten)]
    who: NewClient,
    #[command(flatten)]
    approvals: Approvals,
}

const REVOKE_HELP: &str = "\
Example:
  ravelin auth revoke ci --key admin.key

The client can do nothing more; its leases and locks end with their time.";

/// Arguments of `auth revoke`.
#[derive(Args)]
#[command(after_long_help = REVOKE_HELP)]
pub(crate) struct Revoke {
    #[command(flatten)]
    who: OldClient,
    #[command(flatten)]
    approvals: Approvals,
}

/// Arguments of `auth rekey`.
#[derive(Args)]
#[command(after_long_help = REKEY_HELP)]
pub(crate) struct Rekey {
    #[command(flatten)]
    what: NewBlockKey,
    #[command(flatten)]
    approvals: Approvals,
}

/// How several administrators sign one order.
pub(super) const APPROVE_HELP: &str = "\
Each other administrator approves the order, and sends the file to the one who carries it out:
  ravelin auth approve enroll ci PUBLIC_KEY --key bob.key --out from-bob.toml
That one adds every file that came, and a key of its own:
  ravelin auth enroll ci PUBLIC_KEY --key admin.key --approval from-bob.toml

The same with `revoke ci` and with `rekey 2 --block PUBLIC_KEY`. An approval is good for the next
order of the cluster only: another order that is carried out first makes it void (exit code 9).";

/// The orders that can be approved.
#[derive(Subcommand)]
pub(crate) enum Approve {
    /// Approve that a client is let in
    #[command(after_long_help = APPROVE_HELP)]
    Enroll {
        #[command(flatten)]
        who: NewClient,
        #[command(flatten)]
        signing: Signing,
    },
    /// Approve that a client is shut out
    #[command(after_long_help = APPROVE_HELP)]
    Revoke {
        #[command(flatten)]
        who: OldClient,
        #[command(flatten)]
        signing: Signing,
    },
    /// Approve that a server gets another block key
    #[command(after_long_help = APPROVE_HELP)]
    Rekey {
        #[command(flatten)]
        what: NewBlockKey,
        #[command(flatten)]
        signing: Signing,
    },
}

/// A client to let in.
#[derive(Args)]
pub(crate) struct NewClient {
    /// The client's name
    name: String,
    /// Its public key, from `auth keygen`
    #[arg(value_name = "KEY", value_parser = public_key)]
    public: PublicKey,
}

/// A client to shut out.
#[derive(Args)]
pub(crate) struct OldClient {
    /// The client's name
    name: String,
}

/// A server's block key from the next epoch on.
#[derive(Args)]
pub(crate) struct NewBlockKey {
    /// The server, by its number in the plan
    server: u16,
    /// The key with which it is to sign from then on: the next one that `node check` prints there
    #[arg(long, value_name = "KEY", value_parser = block_key)]
    block: PublicKey,
}

/// Who approves.
#[derive(Args)]
struct Approvals {
    /// An administrator's key file; several times for several
    #[arg(long = "key", value_name = "FILE", required_unless_present = "approval")]
    keys: Vec<PathBuf>,
    /// What another administrator signed with `auth approve`; several times for several
    #[arg(long, value_name = "FILE")]
    approval: Vec<PathBuf>,
}

/// How to approve.
#[derive(Args)]
pub(crate) struct Signing {
    /// The administrator's key file
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

impl NewClient {
    fn action(&self) -> Result<AuthAction> {
        check_name(&self.name)?;
        plan::check_key(&format!("client `{}`", self.name), &self.public)?;
        Ok(AuthAction::Enroll { name: self.name.clone(), key: self.public })
    }
}

impl OldClient {
    fn action(&self) -> Result<AuthAction> {
        check_name(&self.name)?;
        Ok(AuthAction::Revoke { name: self.name.clone() })
    }
}

impl NewBlockKey {
    fn action(&self) -> AuthAction {
        AuthAction::Rekey { member: ReplicaId(self.server), block: self.block }
    }
}

/// Lets a client in.
pub(super) fn enroll(invocation: &Invocation, arguments: &Enroll) -> Result<()> {
    submit(invocation, arguments.who.action()?, &arguments.approvals)
}

/// Shuts a client out.
pub(super) fn revoke(invocation: &Invocation, arguments: &Revoke) -> Result<()> {
    submit(invocation, arguments.who.action()?, &arguments.approvals)
}

/// Gives a server another block key.
pub(super) fn rekey(invocation: &Invocation, arguments: &Rekey) -> Result<()> {
    submit(invocation, arguments.what.action(), &arguments.approvals)
}

/// Writes an approval of the next order.
pub(super) fn approve(invocation: &Invocation, arguments: &Approve) -> Result<()> {
    let (action, signing) = match arguments {
        Approve::Enroll { who, signing } => (who.action()?, signing),
        Approve::Revoke { who, signing } => (who.action()?, signing),
        Approve::Rekey { what, signing } => (what.action(), signing),
    };
    let key = KeyFile::read(&signing.key)?;
    disk::refuse_existing(&signing.out)?;
    let (order, needed) = client_command::run(invocation, &Speaker::Key(&key), async |client| {
        check_administrator(client, key.public())?;
        check_action(&client.plan().plan, &action)?;
        next_order(client, action.clone()).await
    })?;
    let approval = sign(order, &key);
    disk::create(&signing.out, &approval.text(), Privacy::Public)?;
    let serial = approval.order.serial;
    invocation.output.note(format_args!(
        "{needed} administrators must approve; it is void once another order is carried out"
    ));
    let (administrator, file) = (key.public().to_string(), signing.out.clone());
    invocation.output.print(&Approved { serial, administrator, file })
}

/// Has the next order carried out.
fn submit(invocation: &Invocation, action: AuthAction, arguments: &Approvals) -> Result<()> {
    let keys = arguments.keys.iter().map(|path| KeyFile::read(path)).collect::<Result<Vec<_>>>()?;
    let given = arguments.approval.iter().map(|path| Ok((path, Approval::read(path)?)));
    let given = given.collect::<Result<Vec<_>>>()?;
    // An administrator need not be a client.
    let speaker = keys.first().map_or(Speaker::Client, Speaker::Key);
    let (reply, serial) = client_command::run(invocation, &speaker, async |client| {
        for key in &keys {
            check_administrator(client, key.public())?;
        }
        check_action(&client.plan().plan, &action)?;
        let (order, needed) = next_order(client, action.clone()).await?;
        let mut approvals: BTreeMap<PublicKey, Signature> = BTreeMap::new();
        for (path, approval) in &given {
            check_approval(client, &order, approval)
                .map_err(|error| error.context(path.display()))?;
            approvals.insert(approval.administrator, approval.signature);
        }
        for key in &keys {
            approvals.insert(key.public(), sign(order.clone(), key).signature);
        }
        if approvals.len() < usize::from(needed) {
            return Err(not_approved(approvals.len(), needed));
        }
        let serial = order.serial;
        let request = AuthRequest::Change { order, approvals: approvals.into_iter().collect() };
        Ok((client.order(ServiceId::AUTH, &request).await?, serial))
    })?;
    match reply {
        AuthReply::Changed { .. } => invocation.output.print(&Done::of(action, serial)),
        other => Err(refused(other)),
    }
}

/// The order that would come next, and how many administrators must sign it.
async fn next_order(client: &Client, action: AuthAction) -> Result<(AuthOrder, u16)> {
    let look = AuthRequest::List { after: String::new(), limit: 1 };
    match client.read(ServiceId::AUTH, &look).await? {
        AuthReply::Clients { next_serial: serial, administrators_needed, .. } => {
            let (cluster, incarnation) = (client.cluster(), client.plan().plan.incarnation);
            Ok((AuthOrder { cluster, incarnation, serial, action }, administrators_needed))
        }
        other => Err(refused(other)),
    }
}

fn sign(order: AuthOrder, key: &KeyFile) -> Approval {
    let signature = key.signing_key().sign(Domain::AuthOrder, &order.encode());
    Approval { order, administrator: key.public(), signature }
}

fn check_administrator(client: &Client, key: PublicKey) -> Result<()> {
    if client.plan().plan.administrators.contains(&key) {
        return Ok(());
    }
    let hint = "`ravelin cluster show` lists the administrators";
    Err(Error::new(Exit::Denied, format!("{key} is no administrator of this cluster"), hint))
}

/// Refuses a change of keys that no cluster with this plan carries out. The plan that we know may be
/// an earlier one: its servers are the same, and none may take up a key again that once was one's.
fn check_action(plan: &ClusterPlan, action: &AuthAction) -> Result<()> {
    let AuthAction::Rekey { member, block } = action else { return Ok(()) };
    if plan.members.get(member.index()).is_none() {
        let cause = format!(
            "there is no server {member}: they are numbered 0 to {}",
            plan.members.len() - 1
        );
        return Err(Error::new(Exit::NotFound, cause, "`ravelin cluster show` lists the servers"));
    }
    let servers = plan.members.iter().flat_map(|one| [one.identity, one.block, one.transport]);
    let clients = plan.clients.iter().map(|client| client.key);
    if servers.chain(clients).chain(plan.administrators.iter().copied()).any(|key| key == *block) {
        let cause = format!("the plan gives {block} to somebody already");
        let hint = "take the next key that `ravelin node check` prints on that server";
        return Err(Error::new(Exit::Conflict, cause, hint));
    }
    Ok(())
}

/// Refuses what would make the cluster refuse the whole order.
fn check_approval(client: &Client, order: &AuthOrder, approval: &Approval) -> Result<()> {
    check_administrator(client, approval.administrator)?;
    let approved = &approval.order;
    let anew = "have it approved anew with `ravelin auth approve`";
    if (approved.cluster, approved.incarnation) != (order.cluster, order.incarnation) {
        return Err(Error::usage("this approval is for another cluster", anew));
    }
    if approved.action != order.action {
        return Err(Error::usage("this approval is for something else", anew));
    }
    if approved.serial != order.serial {
        let cause = format!(
            "this approval is for order {}, and order {} comes next",
            approved.serial, order.serial
        );
        return Err(Error::new(Exit::Conflict, cause, anew));
    }
    let (key, signature) = (&approval.administrator, &approval.signature);
    if plan::scheme()?.verify(Domain::AuthOrder, key, &order.encode(), signature) {
        return Ok(());
    }
    let cause = "the administrator's signature does not hold";
    Err(Error::new(Exit::VerificationFailed, cause, "the file was changed: ask for it again"))
}

fn not_approved(got: usize, needed: u16) -> Error {
    let cause = format!("{got} of the {needed} administrators needed approved");
    let hint =
        "others approve with `ravelin auth approve`, and you add their files: --approval FILE";
    Error::new(Exit::Denied, cause, hint)
}

/// A reply that is not what was asked for, as an error.
fn refused(reply: AuthReply) -> Error {
    match reply {
        AuthReply::NotApproved { got, needed } => not_approved(usize::from(got), needed),
        AuthReply::WrongSerial { next } => {
            let cause = format!("another order was carried out meanwhile; order {next} comes next");
            Error::new(Exit::Conflict, cause, "look at `ravelin auth list`, then try again")
        }
        AuthReply::Exists => {
            let cause = "a client with this name or this key is enrolled already";
            Error::new(Exit::Conflict, cause, "`ravelin auth list` shows it")
        }
        AuthReply::NotFound => {
            let cause = "no client is enrolled under this name";
            Error::new(Exit::NotFound, cause, "`ravelin auth list` shows who is")
        }
        AuthReply::WrongCluster => {
            let cause = "the order is for another cluster or incarnation";
            Error::new(Exit::VerificationFailed, cause, "trust the cluster's plan anew")
        }
        AuthReply::Invalid => {
            let hint = "client and servers may be of different versions: see `ravelin version`";
            Error::usage("the order is outside the cluster's limits", hint)
        }
        other => senseless(format_args!("{other:?}")),
    }
}

#[derive(Serialize)]
struct Approved {
    serial: u64,
    administrator: String,
    file: PathBuf,
}

impl fmt::Display for Approved {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "order {} is approved in {}", self.serial, Path::new(&self.file).display())
    }
}

/// An order that was carried out.
#[derive(Serialize)]
struct Done {
    #[serde(flatten)]
    what: What,
    serial: u64,
}

#[derive(Serialize)]
#[serde(tag = "action", rename_all = "lowercase")]
enum What {
    Enroll { name: String, key: String },
    Revoke { name: String },
    Rekey { server: u16, block: String },
}

impl Done {
    fn of(action: AuthAction, serial: u64) -> Self {
        let what = match action {
            AuthAction::Enroll { name, key } => What::Enroll { name, key: key.to_string() },
            AuthAction::Revoke { name } => What::Revoke { name },
            AuthAction::Rekey { member, block } => {
                What::Rekey { server: member.0, block: block.to_string() }
            }
        };
        Self { what, serial }
    }
}

impl fmt::Display for Done {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            What::Enroll { name, .. } => write!(out, "{name} is enrolled")?,
            What::Revoke { name } => write!(out, "{name} is shut out")?,
            What::Rekey { server, block } => {
                write!(out, "server {server} signs with {block} from the next epoch on")?;
            }
        }
        write!(out, " (order {})", self.serial)
    }
}
