//! The latest operations, and further ones as they come.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
use ravelin_model::limits::CLIENTS_LISTED_MAX;
use ravelin_model::requests::auth::{AuthReply, AuthRequest};
use ravelin_model::{AuditHead, AuditRecord, AuditedEnvelope, PublicKey, ServiceId, Time};
use serde::Serialize;

use super::{Auditor, Invocation, head, words};
use crate::client_command::{Client, Interruption};
use crate::exit::{Error, Exit, Result};
use crate::files::{date, hex};
use crate::output::Format;

/// How often `--follow` looks for more.
const LOOK_EVERY: Duration = Duration::from_secs(1);

const HELP: &str = "\
Examples:
  ravelin audit tail --key admin.key
  ravelin audit tail --key admin.key --lines 100 --output json
  ravelin audit tail --key admin.key --follow

A line: agreed time, position and index, who, what, and what came of it. An operation shows once a
quorum has signed it, a second later on an idle cluster. The log is for administrators; one who is
not enrolled as a client sees which kind of request it was, not its keys. With --output json, each
line has the request's bytes or digest too.";

/// Arguments of `audit tail`.
#[derive(Args)]
#[command(after_long_help = HELP)]
pub(crate) struct Tail {
    #[command(flatten)]
    auditor: Auditor,
    /// How many operations to begin with
    #[arg(long, value_name = "N", default_value_t = 20)]
    lines: u32,
    /// Go on with further ones until interrupted
    #[arg(long)]
    follow: bool,
}

/// Prints the latest operations.
pub(super) fn tail(invocation: &Invocation, arguments: &Tail) -> Result<()> {
    arguments.auditor.run(invocation, async |client| {
        let mut interruption = Interruption::listen()?;
        let show = async {
            let mut names = Names::load(client).await?;
            let (mut last, _) = head(client).await?;
            let wanted = usize::try_from(arguments.lines).unwrap_or(usize::MAX);
            let operations = latest(client, last, wanted).await?;
            let mut goes_on = names.print(client, operations).await?;
            while arguments.follow && goes_on {
                tokio::time::sleep(LOOK_EVERY).await;
                let (newest, _) = head(client).await?;
                if newest.lists > last.lists {
                    let operations = between(client, last, newest).await?;
                    goes_on = names.print(client, operations).await?;
                    last = newest;
                }
            }
            Ok(())
        };
        tokio::select! {
            ended = show => ended,
            _ = interruption.next() => Err(Interruption::error("nothing more is shown")),
        }
    })
}

/// Up to `wanted` operations before `head`, in order.
async fn latest(client: &Client, head: AuditHead, wanted: usize) -> Result<Vec<Told>> {
    let (mut told, mut left) = (Vec::new(), head);
    while left.lists > 0 && told.len() < wanted {
        let Some((before, records)) = client.audit(left).await? else { break };
        told.splice(..0, records.iter().flat_map(Told::all));
        left = before;
    }
    Ok(told.split_off(told.len().saturating_sub(wanted)))
}

/// The operations from one head to a later one, in order.
async fn between(client: &Client, from: AuditHead, to: AuditHead) -> Result<Vec<Told>> {
    let (mut told, mut left) = (Vec::new(), to);
    while left.lists > from.lists {
        let Some((before, records)) = client.audit(left).await? else {
            let cause = "no server shows what was recorded since the last look";
            let hint = "begin again; `ravelin status` shows the servers";
            return Err(Error::new(Exit::NotFound, cause, hint));
        };
        let extra = from.lists.saturating_sub(before.lists);
        let skipped = usize::try_from(extra).unwrap_or(usize::MAX);
        let is_fork = match records.get(skipped) {
            Some(next) if extra > 0 || before.lists == from.lists => next.before != from.digest,
            _ => false,
        };
        if is_fork {
            let cause = "the log does not go on from where it was: two heads were signed";
            let hint = "more than f servers are intruded: believe nothing from this cluster until \
                        its administrators looked at it";
            return Err(Error::new(Exit::VerificationFailed, cause, hint));
        }
        told.splice(..0, records.iter().skip(skipped).flat_map(Told::all));
        left = before;
    }
    Ok(told)
}

/// An operation as scripts see it.
#[derive(Serialize)]
struct Told {
    position: u64,
    index: u16,
    commit: u64,
    time_us: u64,
    #[serde(serialize_with = "as_digits")]
    client: PublicKey,
    name: Option<String>,
    session: u64,
    sequence: u64,
    service: u8,
    what: String,
    outcome: String,
    request: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<String>,
}

fn as_digits<S: serde::Serializer>(key: &PublicKey, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(key)
}

impl Told {
    /// The operations of a list.
    fn all(record: &AuditRecord) -> Vec<Self> {
        let mut requests = record.requests.iter();
        let of = |envelope: &AuditedEnvelope| {
            let told = envelope.operations.iter().map(|operation| {
                let request = requests.next().map_or(&[][..], Vec::as_slice);
                Self {
                    position: envelope.position.0,
                    index: operation.index,
                    commit: record.list.commit.0,
                    time_us: record.list.time.0,
                    client: envelope.client,
                    name: None,
                    session: envelope.session.0,
                    sequence: envelope.first.0.saturating_add(operation.index.into()),
                    service: operation.service.0,
                    what: words::what(operation, request),
                    outcome: words::outcome(operation),
                    request: operation.request.to_string(),
                    bytes: (!request.is_empty()).then(|| hex::encode(request)),
                }
            });
            told.collect::<Vec<_>>()
        };
        record.list.envelopes.iter().flat_map(of).collect()
    }

    fn line(&self, format: Format) -> String {
        if format == Format::Json {
            return serde_json::to_string(self).expect("operations have plain fields") + "\n";
        }
        let Self { position, index, what, outcome, .. } = self;
        let who = self.name.clone().unwrap_or_else(|| self.client.to_string());
        let time = date::of(Time(self.time_us));
        format!("{time}  {position}.{index}  {who}  {what}  {outcome}\n")
    }
}

/// What clients are called today.
struct Names(BTreeMap<PublicKey, String>);

impl Names {
    async fn load(client: &Client) -> Result<Self> {
        let mut names = BTreeMap::new();
        let administrators = client.plan().plan.administrators.iter();
        names.extend(administrators.map(|key| (*key, "administrator".to_owned())));
        let mut after = String::new();
        loop {
            let page = AuthRequest::List { after: after.clone(), limit: CLIENTS_LISTED_MAX };
            let AuthReply::Clients { clients, more, .. } =
                client.read(ServiceId::AUTH, &page).await?
            else {
                return Ok(Self(names));
            };
            after = clients.last().map(|last| last.name.clone()).unwrap_or_default();
            names.extend(clients.into_iter().map(|client| (client.key, client.name)));
            if !more {
                return Ok(Self(names));
            }
        }
    }

    /// Prints operations, and says whether anybody still reads. Clients may have come since names
    /// were looked up.
    async fn print(&mut self, client: &Client, mut told: Vec<Told>) -> Result<bool> {
        if told.iter().any(|told| !self.0.contains_key(&told.client)) {
            let known = std::mem::take(&mut self.0);
            *self = Self::load(client).await?;
            for (key, name) in known {
                self.0.entry(key).or_insert(name);
            }
        }
        let format = client.output().format();
        let mut text = String::new();
        for told in &mut told {
            told.name = self.0.get(&told.client).cloned();
            text.push_str(&told.line(format));
        }
        client.output().write_bytes(text.as_bytes())
    }
}
