//! `ravelin node`: prepare, check and run a server.

mod release;
mod reopen;

use std::fmt;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use ravelin_model::plan::Labels;
use ravelin_model::{Member, WormholeKeys};
use serde::Serialize;

use super::{Invocation, ModelName};
use crate::exit::{Error, Result};
use crate::files::card::{self, RawMember, check_address, check_name};
use crate::files::disk::{self, Privacy};
use crate::files::identity::Identity;
use crate::files::node::{
    ADMIN_LISTEN_DEFAULT, AdminListen, NewNode, NewWormhole, NodeConfig, NodeOverrides, User,
};
use crate::files::syntax::path_text;
use crate::output::Format;
use crate::seat::{Check, Seat};
use crate::{node_start, wormhole};

/// The verbs.
#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Make a server's identity and its node file
    Init(Init),
    /// Print a server's card, for `cluster plan`
    Card(Node),
    /// Check everything without which the server would not start
    Check(Node),
    /// Run the server until it is told to stop
    Start(Start),
    /// Let a server go on that halted, by administrators' signatures
    Release(release::Release),
    /// Open a cluster whose wormholes are not those of its plan, by administrators' signatures
    Reopen(reopen::Reopen),
    /// Write down what a stopped server can prove of others' misbehaviour
    Evidence(release::Export),
}

/// Arguments of `node init`.
#[derive(Args)]
pub(crate) struct Init {
    /// Directory for node.toml, the data and, unless named, the identity
    #[arg(long)]
    dir: PathBuf,
    /// The server's name
    #[arg(long)]
    name: String,
    /// Where other servers reach it
    #[arg(long, value_name = "HOST:PORT")]
    peer_address: String,
    /// Where clients reach it
    #[arg(long, value_name = "HOST:PORT")]
    client_address: String,
    /// Where health and metrics are served, or `off`
    #[arg(long, value_name = "IP:PORT", default_value = ADMIN_LISTEN_DEFAULT)]
    admin_listen: String,
    /// Where to keep the secret keys [default: DIR/identity.toml]
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
    /// Site or zone, for judging diversity
    #[arg(long, default_value = "", hide_default_value = true)]
    zone: String,
    /// Operating system, for judging diversity
    #[arg(long, default_value = "", hide_default_value = true)]
    os: String,
    /// Who administers it, for judging diversity
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    administrator: String,
    /// What the cluster will assume of intruded servers; `hybrid` makes a wormhole too
    #[arg(long, value_name = "MODEL", default_value = "arbitrary")]
    fault_model: ModelName,
    /// Where the wormhole keeps its key [default: DIR/wormhole]
    #[arg(long, value_name = "DIR")]
    wormhole_state: Option<PathBuf>,
    /// The wormhole's own user, by number; needs root, now and at each start
    #[arg(long, value_name = "UID:GID")]
    wormhole_user: Option<User>,
    /// Whom the server becomes once its wormhole runs; needs root at each start
    #[arg(long, value_name = "UID:GID")]
    server_user: Option<User>,
}

/// Arguments of verbs about a server that was initialised. The node file is that of `--config`.
#[derive(Args)]
pub(crate) struct Node {
    #[command(flatten)]
    overrides: NodeOverrides,
}

/// Arguments of `node start`.
#[derive(Args)]
#[command(after_long_help = START_HELP)]
pub(crate) struct Start {
    #[command(flatten)]
    node: Node,
    /// Put it in the hands of this intruder: for drills, in local clusters only
    #[arg(long, value_name = "NAME")]
    intruder: Option<String>,
}

const START_HELP: &str = "\
What is damaged or missing of log and state is moved to `quarantine/` in the data directory,
with a note why; the server gives up the block keys that it used, learns from the others what was
agreed, and asks for another key. `ravelin doctor` lists what lies there.

Exit codes: 0 stopped by a signal; 1 the log, the network or the wormhole failed; 2 files that
are malformed or do not fit together; 3 files that others can change, or that we may not read; 4
a file is missing; 6 too few administrators signed the plan; 9 the data are another server's, or
in use; 10 the disk is full; 74 the state store failed. After 1 and 74 start it again: what was
acknowledged is there, and what is damaged is found then. After 2, 3, 4, 6, 9 and 10 a person
must look first.

Example: ravelin node start --config /etc/ravelin/node.toml";

/// Runs a verb.
pub(crate) fn run(invocation: &Invocation, verb: Verb) -> Result<()> {
    match verb {
        Verb::Init(arguments) => init(invocation, &arguments),
        Verb::Card(node) => print_card(invocation, node),
        Verb::Check(node) => check(invocation, node),
        Verb::Start(start) => {
            let config = configuration(invocation, start.node)?;
            node_start::start(&config, start.intruder.as_deref())
        }
        Verb::Release(arguments) => release::run(invocation, arguments),
        Verb::Reopen(arguments) => reopen::run(invocation, &arguments),
        Verb::Evidence(arguments) => release::export(invocation, arguments),
    }
}

/// The configuration of the node that `--config` names.
fn configuration(invocation: &Invocation, node: Node) -> Result<NodeConfig> {
    let Some(path) = &invocation.globals.config else {
        let cause = "no node file was named";
        return Err(Error::usage(cause, "name it: --config DIR/node.toml"));
    };
    Ok(NodeConfig::load(path, node.overrides, &invocation.sources)?.0)
}

fn init(invocation: &Invocation, arguments: &Init) -> Result<()> {
    check_name(&arguments.name)?;
    check_address(&arguments.peer_address)?;
    check_address(&arguments.client_address)?;
    arguments.admin_listen.parse::<AdminListen>().map_err(|what| {
        Error::usage(format!("--admin-listen: {what}"), format!("as {ADMIN_LISTEN_DEFAULT}"))
    })?;
    let dir = disk::plain(&arguments.dir);
    let node_file = dir.join("node.toml");
    let identity_file =
        arguments.identity.as_deref().map_or_else(|| dir.join("identity.toml"), disk::plain);
    // In the file, a path below the directory stays relative, so that both can move together.
    let identity_named = identity_file.strip_prefix(&dir).unwrap_or(&identity_file);
    let labels = Labels {
        zone: arguments.zone.clone(),
        os: arguments.os.clone(),
        administrator: arguments.administrator.clone(),
    };
    let new_wormhole = arguments.wormhole(&dir)?;
    let node = NewNode {
        name: &arguments.name,
        plan: Path::new("plan.toml"),
        identity: identity_named,
        data_dir: Path::new("data"),
        peer_address: &arguments.peer_address,
        client_address: &arguments.client_address,
        peer_listen: None,
        client_listen: None,
        admin_listen: &arguments.admin_listen,
        labels: &labels,
        wormhole: new_wormhole.as_ref(),
    };
    let text = node.text()?;
    let config = NodeConfig::checked(&node_file, &text)?;
    disk::refuse_existing(&node_file)?;
    disk::refuse_existing(&identity_file)?;
    let identity = Identity::generate(&identity_file)?;
    // First, for it may be refused, and then leaves nothing.
    let provisioned = config.wormhole.as_ref().map(wormhole::provision).transpose()?;
    for dir in [&config.data_dir, disk::parent(&identity_file)] {
        disk::create_dir(dir)?;
    }
    identity.create()?;
    disk::create(&node_file, &text, Privacy::Public)?;
    invocation.output.note(format_args!(
        "next: ravelin node card --config {} > {}.card.toml",
        node_file.display(),
        arguments.name
    ));
    let made = Made {
        node_file,
        identity: identity_file,
        data_dir: config.data_dir,
        wormhole: config.wormhole.map(|wormhole| wormhole.state),
        wormhole_key: provisioned.map(|key| key.to_string()),
    };
    invocation.output.print(&made)
}

/// What `node init` made.
#[derive(Serialize)]
struct Made {
    node_file: PathBuf,
    identity: PathBuf,
    data_dir: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    wormhole: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wormhole_key: Option<String>,
}

impl Init {
    /// The wormhole that is asked for; `dir` is that of the node file.
    fn wormhole(&self, dir: &Path) -> Result<Option<NewWormhole>> {
        if self.fault_model != ModelName::Hybrid {
            let given = [
                ("--wormhole-state", self.wormhole_state.is_some()),
                ("--wormhole-user", self.wormhole_user.is_some()),
                ("--server-user", self.server_user.is_some()),
            ];
            let Some((flag, _)) = given.iter().find(|(_, is_given)| *is_given) else {
                return Ok(None);
            };
            let cause = format!("{flag} is for servers that have a wormhole");
            return Err(Error::usage(cause, "add --fault-model hybrid, or leave it out"));
        }
        let state =
            self.wormhole_state.as_deref().map_or_else(|| dir.join("wormhole"), disk::plain);
        let state = path_text(state.strip_prefix(dir).unwrap_or(&state))?;
        let (user, server_user) = (self.wormhole_user, self.server_user);
        Ok(Some(NewWormhole { state, user, server_user }))
    }
}

impl fmt::Display for Made {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "node file  {}", self.node_file.display())?;
        writeln!(
            out,
            "identity   {}  (secret: keep it apart from the data)",
            self.identity.display()
        )?;
        write!(out, "data       {}", self.data_dir.display())?;
        if let Some(wormhole) = &self.wormhole {
            write!(
                out,
                "\nwormhole   {}  (secret: whoever reads it is that wormhole)",
                wormhole.display()
            )?;
        }
        Ok(())
    }
}

fn print_card(invocation: &Invocation, node: Node) -> Result<()> {
    let config = configuration(invocation, node)?;
    let keys = Identity::read(&config.identity)?.public_keys();
    let wormhole = config.wormhole.as_ref().map(wormhole::public).transpose()?;
    let member = Member {
        name: config.name,
        identity: keys.identity,
        block: keys.block,
        transport: keys.transport,
        wormhole: wormhole.map(|provisioned| WormholeKeys { provisioned, instance: None }),
        peer_address: config.peer_address,
        client_address: config.client_address,
        labels: config.labels,
    };
    match invocation.output.format() {
        Format::Text => invocation.output.write(&card::text(&member)),
        Format::Json => invocation.output.print(&Card(RawMember::from(&member))),
    }
}

/// A card as JSON.
#[derive(Serialize)]
struct Card(RawMember);

impl fmt::Display for Card {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

fn check(invocation: &Invocation, node: Node) -> Result<()> {
    let config = configuration(invocation, node)?;
    let mut inspection = Seat::inspect(&config);
    let checks = std::mem::take(&mut inspection.checks);
    let count = checks.len();
    let refused_count = checks.iter().filter(|check| !check.holds).count();
    let report = Report { ready: refused_count == 0, checks };
    invocation.output.print(&report)?;
    let refused = |error: Error| {
        error.context(format_args!("the server would not start, {refused_count} of {count} checks"))
    };
    inspection.seat().map(drop).map_err(refused)
}

/// What `node check` found.
#[derive(Serialize)]
struct Report {
    ready: bool,
    checks: Vec<Check>,
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for check in &self.checks {
            writeln!(out, "{check}")?;
        }
        out.write_str(if self.ready {
            "the server can start"
        } else {
            "the server would not start"
        })
    }
}
