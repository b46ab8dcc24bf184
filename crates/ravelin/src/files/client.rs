//! The client file: which cluster to trust, where it is, and with which key to speak.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ravelin_crypto::plan_digest;
use ravelin_model::{ClusterId, Digest, PublicKey, SignedPlan};
use serde::Deserialize;

use super::card::check_address;
use super::disk::{self, beside};
use super::hex::Hex;
use super::plan;
use super::syntax::{Text, parse, path_text};
use crate::exit::{Error, Exit, Result};
use crate::settings::SPAN_MAX_MS;

/// A client file, checked. Paths are absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClientFile {
    /// The digest of the cluster's first plan: what all trust in it rests on.
    pub(crate) fingerprint: ClusterId,
    /// Where its servers are.
    pub(crate) whereabouts: Whereabouts,
    /// The file of the key that signs; `None`: only what needs no key works.
    pub(crate) key: Option<PathBuf>,
    /// How long a command waits for the cluster.
    pub(crate) timeout: Option<Duration>,
    /// Where proof of servers' misbehaviour is kept.
    pub(crate) evidence: Option<PathBuf>,
}

/// How a client finds the servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Whereabouts {
    /// By the cluster's first plan, in a file.
    Plan(PathBuf),
    /// By the addresses of some servers; their plan is believed if it has the fingerprint.
    Servers(Vec<ServerAddress>),
}

/// Where one server may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerAddress {
    /// `host:port`.
    pub(crate) address: String,
    /// The key that it must have, where it is known.
    pub(crate) transport: Option<PublicKey>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawClientFile {
    fingerprint: Hex<32>,
    plan: Option<PathBuf>,
    key: Option<PathBuf>,
    timeout_ms: Option<u64>,
    evidence: Option<PathBuf>,
    #[serde(default)]
    servers: Vec<RawServer>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawServer {
    address: String,
    transport: Option<Hex<32>>,
}

impl ClientFile {
    /// Reads a client file.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        Self::checked(path, &disk::read(path, disk::Privacy::Public)?)
    }

    /// The client file that `text`, the text of `path`, spells.
    pub(crate) fn checked(path: &Path, text: &str) -> Result<Self> {
        let raw: RawClientFile = parse(path, text)?;
        let wrong =
            |what: &str, hint: &str| Err(Error::usage(format!("{}: {what}", path.display()), hint));
        let whereabouts = match (raw.plan, raw.servers) {
            (Some(_), servers) if !servers.is_empty() => {
                return wrong("it has both a plan and servers", "keep the plan: it names them");
            }
            (None, servers) if servers.is_empty() => {
                return wrong("it has neither a plan nor servers", "add `plan = \"plan.toml\"`");
            }
            (Some(plan), _) => Whereabouts::Plan(beside(path, &plan)),
            (None, servers) => {
                for server in &servers {
                    check_address(&server.address)
                        .map_err(|error| error.context(path.display()))?;
                }
                let server = |raw: RawServer| ServerAddress {
                    address: raw.address,
                    transport: raw.transport.map(|key| PublicKey(key.0)),
                };
                Whereabouts::Servers(servers.into_iter().map(server).collect())
            }
        };
        if raw.timeout_ms.is_some_and(|timeout| !(1..=SPAN_MAX_MS).contains(&timeout)) {
            return wrong("timeout_ms is out of range", "from 1 to 86400000, which is a day");
        }
        Ok(Self {
            fingerprint: ClusterId(Digest(raw.fingerprint.0)),
            whereabouts,
            key: raw.key.map(|key| beside(path, &key)),
            timeout: raw.timeout_ms.map(Duration::from_millis),
            evidence: raw.evidence.map(|evidence| beside(path, &evidence)),
        })
    }

    /// The text of the file.
    pub(crate) fn text(&self) -> Result<String> {
        let mut text = Text::new(
            "A Ravelin client. Relative paths start here; `ravelin config example client` explains.",
        );
        text.set("fingerprint", self.fingerprint.0.to_string());
        if let Whereabouts::Plan(plan) = &self.whereabouts {
            text.set("plan", path_text(plan)?);
        }
        if let Some(key) = &self.key {
            text.set("key", path_text(key)?);
        }
        if let Some(timeout) = self.timeout {
            text.number("timeout_ms", u64::try_from(timeout.as_millis()).unwrap_or(SPAN_MAX_MS));
        }
        if let Some(evidence) = &self.evidence {
            text.set("evidence", path_text(evidence)?);
        }
        if let Whereabouts::Servers(servers) = &self.whereabouts {
            for server in servers {
                text.table("[[servers]]");
                text.set("address", server.address.as_str());
                if let Some(key) = server.transport {
                    text.set("transport", key.to_string());
                }
            }
        }
        Ok(text.finish())
    }

    /// The cluster's first plan, if it is at hand: signed, and with the fingerprint.
    pub(crate) fn plan(&self) -> Result<SignedPlan> {
        let Whereabouts::Plan(path) = &self.whereabouts else {
            let cause = "the plan of this cluster is not at hand, only addresses";
            let hint = "get the plan file and use `ravelin trust add NAME --plan FILE`";
            return Err(Error::new(Exit::NotFound, cause, hint));
        };
        let signed = plan::read(path)?;
        check_fingerprint(&signed, self.fingerprint)
            .and_then(|()| plan::check_signed(&signed))
            .map_err(|error| error.context(path.display()))?;
        Ok(signed)
    }
}

/// Refuses the plan of another cluster than the trusted one.
pub(crate) fn check_fingerprint(signed: &SignedPlan, trusted: ClusterId) -> Result<()> {
    let found = plan_digest(&signed.plan);
    if found == trusted.0 {
        return Ok(());
    }
    let cause = format!("the plan's fingerprint is {found}, not {}, which is trusted", trusted.0);
    let hint =
        "this plan is another cluster's, or was changed: ask an administrator which is right";
    Err(Error::new(Exit::VerificationFailed, cause, hint))
}
