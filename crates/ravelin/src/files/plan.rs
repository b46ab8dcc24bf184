//! The plan file: a [`SignedPlan`] that people can read. The signatures cover its canonical bytes,
//! not its spelling: comments and order of keys do not matter.

use std::fmt;
use std::path::Path;

use ravelin_crypto::{ChainError, Scheme, check_first_plan, plan_digest};
use ravelin_model::limits::LEADERS_PER_ROUND_DEFAULT;
use ravelin_model::{
    ClientEntry, ClusterId, ClusterPlan, CommitIndex, Digest, Epoch, FaultModel, Group,
    Incarnation, Member, PlanError, Position, Previous, PublicKey, Purpose, Signature, SignedPlan,
    Time,
};
use serde::{Deserialize, Serialize};

use super::card::{RawMember, check_address, check_name, set_member};
use super::disk;
use super::hex::Hex;
use super::syntax::{Text, parse};
use crate::exit::{Error, Exit, Result};

/// Agreed seconds between two key changes that a server may ask for, unless the plan says otherwise.
pub(crate) const REKEY_INTERVAL_MIN_S_DEFAULT: u64 = 3600;
/// Bytes of a plan's label.
const LABEL_BYTES_MAX: usize = 128;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPlan {
    version: u16,
    name: String,
    purpose: RawPurpose,
    incarnation: u32,
    epoch: u64,
    fault_model: RawFaultModel,
    f: u16,
    leaders_per_round: u16,
    rekey_interval_min_s: u64,
    checkpoint_every: u64,
    administrators_needed: u16,
    administrators: Vec<Hex<32>>,
    previous: Option<RawPrevious>,
    #[serde(default)]
    members: Vec<RawMember>,
    #[serde(default)]
    clients: Vec<RawClient>,
    #[serde(default)]
    signatures: Vec<RawSignature>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum RawPurpose {
    Production,
    Local,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum RawFaultModel {
    Arbitrary,
    Hybrid,
    Asynchronous,
}

/// How the epoch before ended, as plans write it.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawPrevious {
    plan: Hex<32>,
    commit: u64,
    time_us: u64,
    position: u64,
    state: Hex<32>,
    ordering: Hex<32>,
}

impl fmt::Display for RawPrevious {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { plan, commit, time_us, position, state, ordering } = self;
        writeln!(
            out,
            "epoch before    ended at commit {commit}, position {position}, {time_us} us"
        )?;
        writeln!(out, "  plan          {plan}")?;
        writeln!(out, "  state         {state}")?;
        write!(out, "  ordering      {ordering}")
    }
}

impl From<Previous> for RawPrevious {
    fn from(previous: Previous) -> Self {
        Self {
            plan: Hex(previous.plan.0),
            commit: previous.commit.0,
            time_us: previous.time.0,
            position: previous.position.0,
            state: Hex(previous.state.0),
            ordering: Hex(previous.ordering.0),
        }
    }
}

impl From<RawPrevious> for Previous {
    fn from(raw: RawPrevious) -> Self {
        Self {
            plan: Digest(raw.plan.0),
            commit: CommitIndex(raw.commit),
            time: Time(raw.time_us),
            position: Position(raw.position),
            state: Digest(raw.state.0),
            ordering: Digest(raw.ordering.0),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawClient {
    name: String,
    key: Hex<32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSignature {
    key: Hex<32>,
    signature: Hex<64>,
}

/// Reads a plan. Neither its sense nor its signatures are judged: see [`check_fit`] and
/// [`check_signed`].
pub(crate) fn read(path: &Path) -> Result<SignedPlan> {
    plan(path, &disk::read(path, disk::Privacy::Public)?)
}

/// The plan that `text`, the text of `path`, spells.
pub(crate) fn plan(path: &Path, text: &str) -> Result<SignedPlan> {
    let raw: RawPlan = parse(path, text)?;
    let key = |key: Hex<32>| PublicKey(key.0);
    let client = |raw: RawClient| ClientEntry { name: raw.name, key: key(raw.key) };
    let signature = |raw: RawSignature| (key(raw.key), Signature(raw.signature.0));
    let plan = ClusterPlan {
        version: raw.version,
        name: raw.name,
        purpose: match raw.purpose {
            RawPurpose::Production => Purpose::Production,
            RawPurpose::Local => Purpose::Local,
        },
        incarnation: Incarnation(raw.incarnation),
        epoch: Epoch(raw.epoch),
        previous: raw.previous.map(Previous::from),
        fault_model: match raw.fault_model {
            RawFaultModel::Arbitrary => FaultModel::Arbitrary,
            RawFaultModel::Hybrid => FaultModel::Hybrid,
            RawFaultModel::Asynchronous => FaultModel::Asynchronous,
        },
        f: raw.f,
        leaders_per_round: raw.leaders_per_round,
        members: raw.members.into_iter().map(Member::from).collect(),
        administrators: raw.administrators.into_iter().map(key).collect(),
        administrators_needed: raw.administrators_needed,
        clients: raw.clients.into_iter().map(client).collect(),
        rekey_interval_min_s: raw.rekey_interval_min_s,
        checkpoint_every: raw.checkpoint_every,
    };
    let signatures = raw.signatures.into_iter().map(signature).collect();
    Ok(SignedPlan { plan, signatures })
}

/// The text of a plan, from which [`plan`] reads the same canonical bytes.
pub(crate) fn text(signed: &SignedPlan) -> String {
    let plan = &signed.plan;
    let mut text = Text::new(&format!(
        "A Ravelin cluster's plan. Public. Any change but to signatures makes it another cluster's.\n\
         Fingerprint: {}",
        plan_digest(plan)
    ));
    text.number("version", plan.version.into());
    text.set("name", plan.name.as_str());
    text.set("purpose", purpose_name(plan.purpose));
    text.number("incarnation", plan.incarnation.0.into());
    text.number("epoch", plan.epoch.0);
    text.set("fault_model", plan.fault_model.name());
    text.number("f", plan.f.into());
    text.number("leaders_per_round", plan.leaders_per_round.into());
    text.number("rekey_interval_min_s", plan.rekey_interval_min_s);
    text.number("checkpoint_every", plan.checkpoint_every);
    text.number("administrators_needed", plan.administrators_needed.into());
    text.line("administrators = [");
    for key in &plan.administrators {
        text.line(&format!("  \"{key}\","));
    }
    text.line("]");
    if let Some(previous) = plan.previous {
        text.table("[previous]");
        text.set("plan", previous.plan.to_string());
        text.number("commit", previous.commit.0);
        text.number("time_us", previous.time.0);
        text.number("position", previous.position.0);
        text.set("state", previous.state.to_string());
        text.set("ordering", previous.ordering.to_string());
    }
    for member in &plan.members {
        text.table("[[members]]");
        set_member(&mut text, member);
    }
    for client in &plan.clients {
        text.table("[[clients]]");
        text.set("name", client.name.as_str());
        text.set("key", client.key.to_string());
    }
    for (key, signature) in &signed.signatures {
        text.table("[[signatures]]");
        text.set("key", key.to_string());
        text.set("signature", Hex(signature.0).to_string());
    }
    text.finish()
}

/// The name of a purpose in files and outputs.
pub(crate) fn purpose_name(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Production => "production",
        Purpose::Local => "local",
    }
}

/// Checks that a plan holds together, and that this release can carry it out.
pub(crate) fn check_fit(plan: &ClusterPlan) -> Result<Group> {
    check_name(&plan.name)?;
    let group = plan.check().map_err(|error| {
        let hint = remedy(&error);
        Error::caused(Exit::Usage, error, hint)
    })?;
    for member in &plan.members {
        check_address(&member.peer_address).and_then(|()| check_address(&member.client_address))?;
        let labels = &member.labels;
        for label in [&labels.zone, &labels.os, &labels.administrator] {
            if label.len() > LABEL_BYTES_MAX || label.chars().any(char::is_control) {
                let cause =
                    format!("a label of server `{}` is too long or not printable", member.name);
                return Err(Error::usage(cause, format!("at most {LABEL_BYTES_MAX} bytes")));
            }
        }
    }
    check_keys(plan)?;
    match plan.fault_model {
        FaultModel::Arbitrary | FaultModel::Hybrid => Ok(group),
        FaultModel::Asynchronous => {
            let cause = format!(
                "the fault model `{}` is not available in this release",
                plan.fault_model.name()
            );
            let hint = "use `arbitrary`, with at least 3f+1 servers, or `hybrid`, with 2f+1";
            Err(Error::usage(cause, hint))
        }
    }
}

/// Leader slots of a round, unless the plan says otherwise.
pub(crate) fn leaders_default(fault_model: FaultModel) -> u16 {
    match fault_model {
        // A dead leader's slot holds up those after it: there is no direct skip.
        FaultModel::Hybrid => 1,
        FaultModel::Arbitrary | FaultModel::Asynchronous => LEADERS_PER_ROUND_DEFAULT,
    }
}

/// Refuses a plan with a key in whose name anybody could sign.
fn check_keys(plan: &ClusterPlan) -> Result<()> {
    let members = plan
        .members
        .iter()
        .flat_map(|member| member.keys().map(|key| (format!("server `{}`", member.name), key)));
    let clients =
        plan.clients.iter().map(|client| (format!("client `{}`", client.name), client.key));
    let administrators =
        plan.administrators.iter().map(|key| ("an administrator".to_owned(), *key));
    for (whose, key) in members.chain(administrators).chain(clients) {
        check_key(&whose, &key)?;
    }
    Ok(())
}

/// Refuses a key in whose name anybody could sign, or nobody.
pub(crate) fn check_key(whose: &str, key: &PublicKey) -> Result<()> {
    if !scheme()?.is_weak(key) {
        return Ok(());
    }
    let cause = format!(
        "the key {key} of {whose} is weak: it binds nobody, since others can sign \
                         in its name, or it is no key at all"
    );
    Err(Error::usage(cause, "use a public key that `ravelin auth keygen` or `node card` printed"))
}

/// Checks that enough administrators signed a cluster's first plan.
pub(crate) fn check_signed(signed: &SignedPlan) -> Result<ClusterId> {
    check_first_plan(signed, &scheme()?).map_err(|error| match error {
        ChainError::Plan(error) => {
            let hint = remedy(&error);
            Error::caused(Exit::Usage, error, hint)
        }
        ChainError::NotFirst => Error::caused(
            Exit::VerificationFailed,
            error,
            "start from the cluster's first plan: the one with the fingerprint that you trust",
        ),
        // Rules of later plans, which are not judged here.
        ChainError::NotNext { .. } | ChainError::NotHandedOver { .. } => {
            Error::caused(Exit::VerificationFailed, error, "ask another server for the plans")
        }
        ChainError::NotSigned { .. } => Error::caused(
            Exit::VerificationFailed,
            error,
            "have administrators look at it with `ravelin cluster sign-plan FILE`, and sign it with \
             `--key KEY --yes`; a change after a signature makes it void",
        ),
    })
}

/// Refuses a plan with a signature that does not hold; one that lacks signatures passes.
pub(crate) fn check_signatures(signed: &SignedPlan) -> Result<()> {
    let good = good_signers(signed)?;
    let Some((key, _)) = signed.signatures.iter().find(|(key, _)| !good.contains(key)) else {
        return Ok(());
    };
    let cause = format!("a signature is bad: that of {key} does not hold for this plan");
    let hint = "a change after a signature makes it void: get the plan anew, or remove the signature \
                and have its administrator look at the plan and sign it";
    Err(Error::new(Exit::VerificationFailed, cause, hint))
}

/// Which of a plan's signatures are good and by one of its administrators.
pub(crate) fn good_signers(signed: &SignedPlan) -> Result<Vec<PublicKey>> {
    let scheme = scheme()?;
    let bytes = ravelin_model::Encode::encode(&signed.plan);
    let mut signers: Vec<PublicKey> = signed
        .signatures
        .iter()
        .filter(|(key, signature)| {
            signed.plan.administrators.contains(key)
                && scheme.verify(ravelin_crypto::Domain::Plan, key, &bytes, signature)
        })
        .map(|(key, _)| *key)
        .collect();
    signers.sort_unstable();
    signers.dedup();
    Ok(signers)
}

/// How this process judges signatures.
pub(crate) fn scheme() -> Result<Scheme> {
    Ok(Scheme::ed25519(disk::random()?))
}

/// What to do about a plan that does not hold together.
fn remedy(error: &PlanError) -> &'static str {
    match error {
        PlanError::Version { .. } => "use the version of ravelin that wrote the plan",
        PlanError::Epoch { .. } => {
            "only the first plan is written by people; servers make the others"
        }
        PlanError::Group(_) => "change the number of servers, or f",
        PlanError::TooManyEntries { .. } => "enrol further clients later",
        PlanError::Leaders { .. } | PlanError::Checkpoints { .. } => "leave it at its default",
        PlanError::Administrators { .. } => "name administrators, and how many of them must sign",
        PlanError::Name { .. } => "for example the host's name",
        PlanError::SameName { .. } => "give every server and client a name of its own",
        PlanError::Address { .. } => "write host:port",
        PlanError::SameAddress { .. } => "give every listener an address of its own",
        PlanError::SameKey { .. } => "is one card there twice, or one identity on two servers?",
        PlanError::SameAdministrator => "name each administrator once",
        PlanError::Wormhole { .. } => {
            "make all servers and their plan for one fault model: `ravelin node init --fault-model`"
        }
    }
}
