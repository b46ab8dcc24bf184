//! The node file: what a server's host must know. Who the others are stands in the plan.

// Named by its path, for the fuzzer takes this file from here, too.
#[path = "node/wormhole.rs"]
mod wormhole;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use ravelin_model::limits::{AUDIT_RETENTION_BYTES_DEFAULT, LOG_RETENTION_BYTES_DEFAULT};
use ravelin_model::plan::Labels;
use ravelin_runtime::transport::clients::ClientLimits;
use serde::Deserialize;

use super::card::{check_address, check_name};
use super::disk::{self, beside};
use super::kind::Kind;
use super::syntax::{Text, parse, path_text};
use crate::exit::{Error, Result};
use crate::settings::{Layers, Origin, Setting, Shown, Sources};

pub(crate) use wormhole::{Keeping, NewWormhole, User, WormholeConfig};

/// Bytes kept free by the ballast, unless the file says otherwise.
pub(crate) const BALLAST_BYTES_DEFAULT: u64 = 64 << 20;
/// Where health and metrics are served, unless the file says otherwise.
pub(crate) const ADMIN_LISTEN_DEFAULT: &str = "127.0.0.1:7703";
/// The least that the log keeps: one segment.
const LOG_RETENTION_BYTES_MIN: u64 = 64 << 20;
/// Least of the audit log kept: eight tables of the state store.
const AUDIT_RETENTION_BYTES_MIN: u64 = 32 << 20;
/// The most connections that a node file may ask for.
const CLIENTS_MAX: usize = 65_536;
/// The least ballast: what it gives back must let a server go on for a while.
const BALLAST_BYTES_MIN: u64 = 32 << 20;
/// The most: more would be a waste of the disk.
const BALLAST_BYTES_MAX: u64 = 16 << 30;

/// A node file with all that flags and environment changed in it, checked. Paths are absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NodeConfig {
    /// A name for people; the plan's may differ.
    pub(crate) name: String,
    /// The cluster's plan.
    pub(crate) plan: PathBuf,
    /// The server's secret keys; never inside `data_dir`.
    pub(crate) identity: PathBuf,
    /// Log and state.
    pub(crate) data_dir: PathBuf,
    /// Where other servers are heard.
    pub(crate) peer_listen: SocketAddr,
    /// Where clients are heard.
    pub(crate) client_listen: SocketAddr,
    /// Where health and metrics are served; `None`: nowhere.
    pub(crate) admin_listen: Option<SocketAddr>,
    /// Where others reach `peer_listen`: for the card.
    pub(crate) peer_address: String,
    /// Where others reach `client_listen`: for the card.
    pub(crate) client_address: String,
    /// For judging diversity: for the card.
    pub(crate) labels: Labels,
    /// Bytes of committed blocks kept for laggards.
    pub(crate) log_retention_bytes: u64,
    /// Bytes of the audit log kept.
    pub(crate) audit_retention_bytes: u64,
    /// How many clients, and how patient with them.
    pub(crate) client_limits: ClientLimits,
    /// Bytes kept free on the data directory's disk for when it is full.
    pub(crate) ballast_bytes: u64,
    /// How its wormhole is started: in `hybrid`.
    pub(crate) wormhole: Option<WormholeConfig>,
    /// Least importance of what is logged.
    pub(crate) log_level: LogLevel,
    /// Form of the log on stderr.
    pub(crate) log_format: LogFormat,
}

/// What is worth a line in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// The listener for health and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) enum AdminListen {
    Off,
    At(SocketAddr),
}

/// What flags and environment may change in a node file.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct NodeOverrides {
    /// Where the server keeps log and state
    #[arg(long, env = "RAVELIN_DATA_DIR", hide_env_values = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Where other servers are heard
    #[arg(long, env = "RAVELIN_PEER_LISTEN", hide_env_values = true, value_name = "IP:PORT")]
    peer_listen: Option<SocketAddr>,
    /// Where clients are heard
    #[arg(long, env = "RAVELIN_CLIENT_LISTEN", hide_env_values = true, value_name = "IP:PORT")]
    client_listen: Option<SocketAddr>,
    /// Where health and metrics are served, or `off`
    #[arg(long, env = "RAVELIN_ADMIN_LISTEN", hide_env_values = true, value_name = "IP:PORT")]
    admin_listen: Option<AdminListen>,
    /// Least importance of what is logged
    #[arg(long, env = "RAVELIN_LOG_LEVEL", hide_env_values = true, value_name = "LEVEL")]
    log_level: Option<LogLevel>,
    /// Form of the log
    #[arg(long, env = "RAVELIN_LOG_FORMAT", hide_env_values = true, value_name = "FORMAT")]
    log_format: Option<LogFormat>,
}

impl NodeOverrides {
    /// The first of these flags that was given.
    pub(crate) fn flag(sources: &Sources) -> Option<String> {
        let keys =
            ["data_dir", "peer_listen", "client_listen", "admin_listen", "log_level", "log_format"];
        keys.into_iter().find_map(|key| match sources.origin(key)? {
            Origin::Flag(flag) => Some(flag),
            _ => None,
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawNode {
    name: String,
    plan: Option<PathBuf>,
    identity: PathBuf,
    data_dir: Option<PathBuf>,
    peer_listen: Option<SocketAddr>,
    client_listen: Option<SocketAddr>,
    admin_listen: Option<AdminListen>,
    peer_address: String,
    client_address: String,
    #[serde(default)]
    labels: RawLabels,
    #[serde(default)]
    limits: RawLimits,
    wormhole: Option<wormhole::RawWormhole>,
    #[serde(default)]
    log: RawLog,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawLabels {
    zone: String,
    os: String,
    administrator: String,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLimits {
    log_retention_bytes: Option<u64>,
    audit_retention_bytes: Option<u64>,
    clients_max: Option<u64>,
    clients_per_address_max: Option<u64>,
    clients_per_key_max: Option<u64>,
    strangers_max: Option<u64>,
    ballast_bytes: Option<u64>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLog {
    level: Option<LogLevel>,
    format: Option<LogFormat>,
}

impl NodeConfig {
    /// Reads the node file at `path` and lays flags and environment over it.
    pub(crate) fn load(
        path: &Path,
        overrides: NodeOverrides,
        sources: &Sources,
    ) -> Result<(Self, Vec<Shown>)> {
        let text = disk::read(path, disk::Privacy::Public)?;
        Self::layered(path, &text, overrides, sources).map_err(|error| of_client(path, error))
    }

    /// The configuration that `text`, the text of `path`, spells.
    pub(crate) fn checked(path: &Path, text: &str) -> Result<Self> {
        Ok(Self::layered(path, text, NodeOverrides::default(), &Sources::default())?.0)
    }

    fn layered(
        path: &Path,
        text: &str,
        overrides: NodeOverrides,
        sources: &Sources,
    ) -> Result<(Self, Vec<Shown>)> {
        let raw = parse(path, text)?;
        Self::from_raw(path, raw, overrides, sources).map_err(|error| error.context(path.display()))
    }

    fn from_raw(
        path: &Path,
        raw: RawNode,
        overrides: NodeOverrides,
        sources: &Sources,
    ) -> Result<(Self, Vec<Shown>)> {
        check_name(&raw.name)?;
        check_address(&raw.peer_address)?;
        check_address(&raw.client_address)?;
        let mut layers = Layers::new(Some(path), sources);
        let in_file = |named: PathBuf| beside(path, &named);
        let in_shell = |named: PathBuf| disk::plain(&named);
        let name = layers.pick("name", None, Some(raw.name), String::new());
        let plan = raw.plan.map(in_file);
        let plan = layers.pick("plan", None, plan, beside(path, Path::new("plan.toml")));
        let identity = beside(path, &raw.identity);
        let identity = layers.pick("identity", None, Some(identity), PathBuf::new());
        let (flag, file) = (overrides.data_dir.map(in_shell), raw.data_dir.map(in_file));
        let data_dir = layers.pick("data_dir", flag, file, beside(path, Path::new("data")));
        let default = listen_default(&raw.peer_address);
        let peer_listen =
            layers.pick("peer_listen", overrides.peer_listen, raw.peer_listen, default);
        let default = listen_default(&raw.client_address);
        let client_listen =
            layers.pick("client_listen", overrides.client_listen, raw.client_listen, default);
        let default = AdminListen::try_from(ADMIN_LISTEN_DEFAULT.to_owned())
            .expect("the default is an address");
        let admin_listen =
            layers.pick("admin_listen", overrides.admin_listen, raw.admin_listen, default);
        let peer_address = layers.pick("peer_address", None, Some(raw.peer_address), String::new());
        let client_address =
            layers.pick("client_address", None, Some(raw.client_address), String::new());
        let (kept, default) = (raw.limits.log_retention_bytes, LOG_RETENTION_BYTES_DEFAULT);
        let log_retention_bytes = layers.pick("limits.log_retention_bytes", None, kept, default);
        let (kept, default) = (raw.limits.audit_retention_bytes, AUDIT_RETENTION_BYTES_DEFAULT);
        let audit_retention_bytes =
            layers.pick("limits.audit_retention_bytes", None, kept, default);
        let client_limits = client_limits(&raw.limits, &mut layers)?;
        let ballast = raw.limits.ballast_bytes;
        let ballast_bytes =
            layers.pick("limits.ballast_bytes", None, ballast, BALLAST_BYTES_DEFAULT);
        let wormhole = raw.wormhole.map(|raw| wormhole::checked(path, raw, &mut layers));
        let wormhole = wormhole.transpose()?;
        let log_level =
            layers.pick("log.level", overrides.log_level, raw.log.level, LogLevel::Info);
        let log_format =
            layers.pick("log.format", overrides.log_format, raw.log.format, LogFormat::Text);
        let config = Self {
            name,
            plan,
            identity,
            data_dir,
            peer_listen,
            client_listen,
            admin_listen: admin_listen.address(),
            peer_address,
            client_address,
            labels: raw.labels.into(),
            log_retention_bytes,
            audit_retention_bytes,
            client_limits,
            ballast_bytes,
            wormhole,
            log_level,
            log_format,
        };
        config.check()?;
        Ok((config, layers.shown()))
    }

    /// Refuses what contradicts itself.
    fn check(&self) -> Result<()> {
        if self.identity.starts_with(&self.data_dir) {
            let cause = format!(
                "the identity {} lies in the data directory {}",
                self.identity.display(),
                self.data_dir.display()
            );
            let hint = "move it out: whoever copies the data must not get the server's keys";
            return Err(Error::usage(cause, hint));
        }
        if let Some(state) = self.wormhole.as_ref().map(|it| &it.state)
            && (state.starts_with(&self.data_dir) || self.identity.starts_with(state))
        {
            let cause = format!("the wormhole's state directory {} is not apart", state.display());
            let hint = "keep it outside the data directory, and the identity outside of it: whoever \
                        reads it is that wormhole";
            return Err(Error::usage(cause, hint));
        }
        let listeners = self.listeners();
        for (index, (name, address)) in listeners.iter().enumerate() {
            if address.port() == 0 {
                let cause = format!("{name} has no port: others could not find it");
                return Err(Error::usage(cause, "choose a port from 1 to 65535"));
            }
            let clash = |(_, other): &&(&str, SocketAddr)| {
                let any = address.ip().is_unspecified() || other.ip().is_unspecified();
                other.port() == address.port() && (any || other.ip() == address.ip())
            };
            if let Some((other, _)) = listeners.iter().skip(index + 1).find(clash) {
                let cause = format!("{name} and {other} are the same address, {address}");
                return Err(Error::usage(cause, "give each listener a port of its own"));
            }
        }
        if self.log_retention_bytes < LOG_RETENTION_BYTES_MIN {
            let cause = format!(
                "limits.log_retention_bytes is {}, less than one segment of the log",
                self.log_retention_bytes
            );
            let hint = format!("at least {LOG_RETENTION_BYTES_MIN}");
            return Err(Error::usage(cause, hint));
        }
        if self.audit_retention_bytes < AUDIT_RETENTION_BYTES_MIN {
            let kept = self.audit_retention_bytes;
            let cause = format!("limits.audit_retention_bytes is {kept}");
            let hint = format!("at least {AUDIT_RETENTION_BYTES_MIN}");
            return Err(Error::usage(cause, hint));
        }
        if !(BALLAST_BYTES_MIN..=BALLAST_BYTES_MAX).contains(&self.ballast_bytes) {
            let cause = format!("limits.ballast_bytes is {}", self.ballast_bytes);
            let hint = format!("from {BALLAST_BYTES_MIN} to {BALLAST_BYTES_MAX}");
            return Err(Error::usage(cause, hint));
        }
        Ok(())
    }

    /// The listeners, by the names of their keys.
    pub(crate) fn listeners(&self) -> Vec<(&'static str, SocketAddr)> {
        let admin = self.admin_listen.map(|address| ("admin_listen", address));
        let others = [("peer_listen", self.peer_listen), ("client_listen", self.client_listen)];
        others.into_iter().chain(admin).collect()
    }
}

/// How many clients the file lets in.
/// The error about a node file that cannot be read; it may be a client's.
fn of_client(path: &Path, error: Error) -> Error {
    if !Kind::Client.is_of(path) {
        return error;
    }
    let cause = format!("{} is the file of a client, not of a server", path.display());
    let hint = "name the server's: --config DIR/node.toml, before RAVELIN_CONFIG; local clusters are named \
                by --dir";
    Error::usage(cause, hint)
}

fn client_limits(raw: &RawLimits, layers: &mut Layers<'_>) -> Result<ClientLimits> {
    let limits = ClientLimits::default();
    let mut pick = |key: &str, in_file: Option<u64>, default: usize| {
        let key = format!("limits.{key}");
        let value = layers.pick(&key, None, in_file, default as u64);
        let count = usize::try_from(value).ok().filter(|count| (1..=CLIENTS_MAX).contains(count));
        count.ok_or_else(|| {
            let hint = format!("from 1 to {CLIENTS_MAX}; each connection may hold 10 MiB");
            Error::usage(format!("{key} is {value}"), hint)
        })
    };
    Ok(ClientLimits {
        connections_max: pick("clients_max", raw.clients_max, limits.connections_max)?,
        per_address_max: pick(
            "clients_per_address_max",
            raw.clients_per_address_max,
            limits.per_address_max,
        )?,
        per_key_max: pick("clients_per_key_max", raw.clients_per_key_max, limits.per_key_max)?,
        strangers_max: pick("strangers_max", raw.strangers_max, limits.strangers_max)?,
        ..limits
    })
}

/// A node file in the making. Paths are as seen from the file.
pub(crate) struct NewNode<'a> {
    pub(crate) name: &'a str,
    pub(crate) plan: &'a Path,
    pub(crate) identity: &'a Path,
    pub(crate) data_dir: &'a Path,
    pub(crate) peer_address: &'a str,
    pub(crate) client_address: &'a str,
    /// Where to listen; `None`: as follows from the address.
    pub(crate) peer_listen: Option<SocketAddr>,
    pub(crate) client_listen: Option<SocketAddr>,
    /// An address, or `off`.
    pub(crate) admin_listen: &'a str,
    pub(crate) labels: &'a Labels,
    /// In `hybrid`.
    pub(crate) wormhole: Option<&'a NewWormhole>,
}

impl NewNode<'_> {
    /// The text of the file.
    pub(crate) fn text(&self) -> Result<String> {
        let mut text = Text::new(
            "A Ravelin server. Relative paths start here; `ravelin config example node` explains.",
        );
        text.set("name", self.name);
        text.set("plan", path_text(self.plan)?);
        text.set("identity", path_text(self.identity)?);
        text.set("data_dir", path_text(self.data_dir)?);
        text.line("");
        text.line("# Where others reach this server: goes into its card.");
        text.set("peer_address", self.peer_address);
        text.set("client_address", self.client_address);
        text.line("");
        text.line("# Where it listens.");
        let listen = |chosen: Option<SocketAddr>, address| {
            chosen.unwrap_or_else(|| listen_default(address)).to_string()
        };
        text.set("peer_listen", listen(self.peer_listen, self.peer_address));
        text.set("client_listen", listen(self.client_listen, self.client_address));
        text.set("admin_listen", self.admin_listen);
        let labels = &self.labels;
        if **labels != Labels::default() {
            text.table("[labels]");
            text.set("zone", labels.zone.as_str());
            text.set("os", labels.os.as_str());
            text.set("administrator", labels.administrator.as_str());
        }
        if let Some(wormhole) = self.wormhole {
            wormhole.put(&mut text);
        }
        Ok(text.finish())
    }
}

/// Where to listen so that others reach `address`: on loopback if they are on this host, else on
/// every interface.
fn listen_default(address: &str) -> SocketAddr {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
    let (host, port) = address.rsplit_once(':').unwrap_or((address, "0"));
    let ip = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    let ip = match ip {
        Ok(ip) if ip.is_loopback() => ip,
        Ok(IpAddr::V6(_)) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ if host == "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
        _ => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    };
    SocketAddr::new(ip, port.parse().unwrap_or_default())
}

impl AdminListen {
    fn address(self) -> Option<SocketAddr> {
        match self {
            Self::Off => None,
            Self::At(address) => Some(address),
        }
    }
}

impl From<RawLabels> for Labels {
    fn from(raw: RawLabels) -> Self {
        let RawLabels { zone, os, administrator } = raw;
        Self { zone, os, administrator }
    }
}

impl TryFrom<String> for AdminListen {
    type Error = String;

    fn try_from(text: String) -> std::result::Result<Self, String> {
        text.parse()
    }
}

impl std::str::FromStr for AdminListen {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "off" => Ok(Self::Off),
            _ => match text.parse() {
                Ok(address) => Ok(Self::At(address)),
                Err(_) => Err(format!("`{text}` is neither ip:port nor `off`")),
            },
        }
    }
}

impl Setting for AdminListen {
    fn shown(&self) -> serde_json::Value {
        match self {
            Self::Off => "off".into(),
            Self::At(address) => address.shown(),
        }
    }
}

impl Setting for LogLevel {
    fn shown(&self) -> serde_json::Value {
        shown_variant(self)
    }
}

impl Setting for LogFormat {
    fn shown(&self) -> serde_json::Value {
        shown_variant(self)
    }
}

fn shown_variant(value: &impl ValueEnum) -> serde_json::Value {
    value.to_possible_value().map_or(serde_json::Value::Null, |value| value.get_name().into())
}
