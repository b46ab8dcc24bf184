//! `ravelin wormhole status`: how the wormholes of running servers stand.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use serde_json::Value;

use super::Invocation;
use crate::cli::local::DIR_DEFAULT;
use crate::cluster_dir::LocalCluster;
use crate::exit::{Error, Exit, Result};
use crate::files::disk::{self, Privacy};
use crate::files::kind::Kind;
use crate::files::node::{NodeConfig, NodeOverrides};
use crate::processes::ask_admin;
use crate::settings::Origin;
use crate::wormhole::drawing::{self, Host};
use crate::wormhole::standing::{NOT_WITHSTOOD, Standing, Wakeup};

/// How long a server may take to ask its wormhole.
const ANSWER_MAX: Duration = Duration::from_secs(3);

/// What is wrong where a server answers, and says nothing of its wormhole.
const SILENT: &str = "the server's wormhole does not answer it";

const HELP: &str = "\
Examples:
  ravelin wormhole status
  ravelin wormhole status --dir ravelin-local --svg servers.svg
  ravelin --config /var/lib/ravelin/node.toml wormhole status --output json

Asks the servers of a local cluster, or the one of a node file, on their admin listeners, which
ask their wormholes. It is the servers' word: one in an intruder's hands says what it likes.
`wormhole selftest` tries a wormhole apart from any server.

Exit codes: 0 all answer; 7 one does not; 5 none does.";

/// Arguments of `wormhole status`.
#[derive(Args)]
#[command(after_long_help = HELP)]
pub(crate) struct Status {
    /// The local cluster's directory, where no node file is named
    #[arg(
        long,
        env = "RAVELIN_LOCAL_DIR",
        hide_env_values = true,
        value_name = "DIR",
        default_value = DIR_DEFAULT
    )]
    dir: PathBuf,
    /// Draw the servers and what protects their wormholes
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

/// Shows the wormholes of a local cluster's servers, or of the one whose node file is named.
pub(super) fn run(invocation: &Invocation, arguments: &Status) -> Result<()> {
    if let Some(svg) = &arguments.svg {
        disk::check_replaceable(svg)?;
    }
    let report = Report { servers: servers(invocation, arguments)?.into_iter().map(ask).collect() };
    if let Some(svg) = &arguments.svg {
        let hosts: Vec<Host<'_>> = report
            .servers
            .iter()
            .map(|server| Host { name: &server.name, wormhole: server.wormhole.as_ref() })
            .collect();
        disk::replace(svg, &drawing::svg(&hosts), Privacy::Public)?;
    }
    invocation.output.print(&report)?;
    report.verdict(node_file(invocation))
}

/// The node file that was named. A client's file, as `RAVELIN_CONFIG` may be for other commands, is none.
fn node_file(invocation: &Invocation) -> Option<&Path> {
    let path = invocation.globals.config.as_deref()?;
    let is_for_all = matches!(invocation.sources.origin("config"), Some(Origin::Environment(_)));
    (!is_for_all || !Kind::Client.is_of(path)).then_some(path)
}

/// Whom to ask: names and admin listeners.
fn servers(invocation: &Invocation, arguments: &Status) -> Result<Vec<(String, SocketAddr)>> {
    let nodes: Vec<NodeConfig> = match node_file(invocation) {
        Some(path) => {
            vec![NodeConfig::load(path, NodeOverrides::default(), &invocation.sources)?.0]
        }
        None => {
            let cluster = LocalCluster::open(&arguments.dir)?;
            cluster.servers.into_iter().map(|server| server.config).collect()
        }
    };
    let with_listener = |node: NodeConfig| {
        if node.wormhole.is_none() {
            let cause = format!("server `{}` has no wormhole", node.name);
            return Err(Error::usage(cause, "only servers of a `hybrid` cluster have one"));
        }
        node.admin_listen.map(|address| (node.name, address)).ok_or_else(|| {
            Error::usage("the server has no admin listener", "set `admin_listen` in its node file")
        })
    };
    nodes.into_iter().map(with_listener).collect()
}

fn ask((name, address): (String, SocketAddr)) -> Server {
    let answer = ask_admin(address, "/wormhole", ANSWER_MAX);
    let (wormhole, trouble) = match answer {
        None => (None, Some("the server does not answer")),
        Some(body) => match read(&body) {
            Some(standing) => (Some(standing), None),
            None => (None, Some(SILENT)),
        },
    };
    Server { name, admin_address: address, trouble, wormhole }
}

/// What a server says; nothing if it would command a terminal, or is something else.
fn read(body: &str) -> Option<Standing> {
    let value: Value = serde_json::from_str(body).ok()?;
    is_plain(&value).then(|| serde_json::from_value(value).ok())?
}

fn is_plain(value: &Value) -> bool {
    match value {
        Value::String(text) => !text.contains(char::is_control),
        Value::Array(all) => all.iter().all(is_plain),
        Value::Object(all) => all.values().all(is_plain),
        Value::Null | Value::Bool(_) | Value::Number(_) => true,
    }
}

#[derive(Serialize)]
struct Report {
    servers: Vec<Server>,
}

#[derive(Serialize)]
struct Server {
    name: String,
    admin_address: SocketAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    trouble: Option<&'static str>,
    wormhole: Option<Standing>,
}

impl Report {
    /// Whether all answer; `node_file`: of the one server that was asked.
    fn verdict(&self, node_file: Option<&Path>) -> Result<()> {
        let silent: Vec<&Server> =
            self.servers.iter().filter(|server| server.wormhole.is_none()).collect();
        let exit = match silent.len() {
            0 => return Ok(()),
            all if all == self.servers.len() => Exit::NoQuorum,
            _ => Exit::Degraded,
        };
        let names: Vec<&str> = silent.iter().map(|server| server.name.as_str()).collect();
        let cause = format!("nothing is known of the wormhole of {}", names.join(", "));
        let is_silent = |server: &&&Server| server.trouble == Some(SILENT);
        let hint = match (silent.iter().find(is_silent), node_file) {
            (Some(Server { name, .. }), _) => format!(
                "the wormhole of {name} does not answer its server, which ends with exit code 1 if that \
                 lasts: see whether the process `ravelin-wormhole` is stopped or starved, then start the \
                 server again"
            ),
            (None, Some(path)) => {
                format!("see whether the server of {} runs, and in its log why not", path.display())
            }
            (None, None) => {
                "see whether the servers run: `ravelin local status`, or their logs".to_owned()
            }
        };
        Err(Error::new(exit, cause, hint))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, server) in self.servers.iter().enumerate() {
            if number > 0 {
                write!(f, "\n\n")?;
            }
            write!(f, "{server}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(wormhole) = &self.wormhole else {
            let trouble = self.trouble.unwrap_or_default();
            return write!(f, "{}  {trouble}", self.name);
        };
        write!(f, "{}  {} wormhole", self.name, wormhole.mode)?;
        if !wormhole.attests {
            write!(f, ", LOCKED: it attests nothing more")?;
        }
        let mut row = |name: &str, what: &dyn fmt::Display| write!(f, "\n  {name:<14}{what}");
        if let Some(agreement) = &wormhole.agreement {
            row("agreement", agreement)?;
        }
        row("instance", &wormhole.instance)?;
        row("restart", &wormhole.restart)?;
        for bound in &wormhole.counters {
            let what = format!("{} in epoch {}", bound.value, bound.epoch);
            row(&bound.counter, &what)?;
        }
        let whose = if wormhole.clock.synchronised { "common time" } else { "its own clock" };
        row("clock", &format_args!("{whose}, known to {:.1} us", wormhole.clock_width_us()))?;
        row("answered in", &format_args!("{:.1} us", wormhole.answer_us))?;
        if let Some(Wakeup { samples, p50_us, longest_us }) = &wormhole.wakeup {
            let what = format!("{p50_us:.1} us p50, {longest_us:.1} us at most, of {samples}");
            row("woken late by", &what)?;
        }
        row("calls", &format_args!("{}, {} refused", wormhole.calls, wormhole.refused))?;
        let in_force = |wanted| {
            let those = wormhole.protections.iter().filter(move |one| one.in_force == wanted);
            those.map(|one| one.name.as_ref()).collect::<Vec<_>>().join(", ")
        };
        row("in force", &in_force(true))?;
        let missing = in_force(false);
        if !missing.is_empty() {
            row("MISSING", &missing)?;
        }
        for one in &wormhole.attackers {
            let because = one.because.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
            let verdict = match one.verdict.as_ref() {
                NOT_WITHSTOOD => "NOT withstood", // as `wormhole selftest` writes it
                verdict => verdict,
            };
            write!(f, "\n  {:<28}{verdict}{because}", one.attacker)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a wormhole of an earlier release says, with `more` of a later one.
    fn said(more: Value) -> String {
        let mut said = serde_json::json!({
            "mode": "distributed", "instance": "ab", "rollback_proof": false, "restart": "r",
            "attests": true, "counters": [], "answer_us": 1.0, "wakeup": null, "calls": 1,
            "clock": { "earliest_ns": 1, "latest_ns": 2, "synchronised": false },
            "refused": 0, "protections": [], "attackers": [],
        });
        if let (Value::Object(said), Value::Object(more)) = (&mut said, more) {
            said.extend(more);
        }
        said.to_string()
    }

    #[test]
    fn the_engine_of_agreement_is_named_where_it_is_known() {
        let shown = |more| {
            let wormhole = read(&said(more));
            assert!(wormhole.is_some());
            let admin_address = ([127, 0, 0, 1], 1).into();
            Server { name: "s0".into(), admin_address, trouble: None, wormhole }.to_string()
        };
        let of = |agreement: Value| shown(serde_json::json!({ "agreement": agreement }));
        let quorum = of(serde_json::json!({ "engine": "quorum", "because": "of that" }));
        assert!(
            quorum.contains("agreement     by a majority of the wormholes: of that"),
            "{quorum}"
        );
        let real_time =
            serde_json::json!({ "engine": "real_time", "bound_us": 5e3, "because": "b" });
        let real_time = of(real_time);
        assert!(real_time.contains("in real time, with a bound of 5000.0 us: b"), "{real_time}");
        assert!(
            !shown(serde_json::json!({})).contains("agreement"),
            "an earlier release is silent"
        );
    }

    #[test]
    fn what_would_command_a_terminal_is_not_shown() {
        let of = |instance: &str| said(serde_json::json!({ "instance": instance }));
        assert!(read(&of("ab")).is_some());
        assert!(read(&of("a\u{1b}]0;b")).is_none());
        assert!(read("{}").is_none() && read("").is_none());
    }
}
