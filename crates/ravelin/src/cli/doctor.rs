//! `ravelin doctor`: looks for what is wrong with this host, its server, or a local cluster.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;

use super::{Invocation, local};
use crate::cluster_dir::LocalCluster;
use crate::exit::{Error, Exit, Result};
use crate::files::disk;
use crate::files::node::{NodeConfig, NodeOverrides};
use crate::output::Format;
use crate::quarantine;

/// Free space below which a server would soon be in trouble.
const FREE_BYTES_MIN: u64 = 4 << 30;
/// Open files that a server with many clients needs.
const OPEN_FILES_MIN: u64 = 4096;
/// An fsync of a small file that takes longer makes every round slow.
const FSYNC_MAX: Duration = Duration::from_millis(20);

const HELP: &str = "\
Examples:
  ravelin doctor
  ravelin --config ~/ravelin/node.toml doctor

With a server's node file, its data directory is looked at: room, speed, and what the server moved
aside.

Exit codes: 0 nothing needs attention; 7 something does.";

/// Arguments of `doctor`.
#[derive(Args)]
#[command(after_long_help = HELP)]
pub(crate) struct Doctor {
    /// Look at this local cluster too [default: ravelin-local, if it is there]
    #[arg(long, value_name = "DIR", env = "RAVELIN_LOCAL_DIR", hide_env_values = true)]
    dir: Option<PathBuf>,
}

/// What was looked at, what was found, and what to do about it.
#[derive(Serialize)]
struct Finding {
    what: &'static str,
    good: bool,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

#[derive(Serialize)]
struct Findings {
    findings: Vec<Finding>,
}

/// Looks.
pub(crate) fn run(invocation: &Invocation, arguments: &Doctor) -> Result<()> {
    let default = Path::new(local::DIR_DEFAULT);
    let default = LocalCluster::is_in(default).then(|| default.to_owned());
    let dir = arguments.dir.clone().or(default);
    let node = node(invocation)?;
    let data_dir = node.as_ref().map(|node| node.data_dir.clone());
    let place = dir.clone().or(data_dir).unwrap_or_else(std::env::temp_dir);
    let mut findings = vec![free_space(&place)?, open_files(), sync_time(&place)?];
    if let Some(dir) = &dir {
        let cluster = LocalCluster::open(dir)?;
        let servers = local::look(&cluster)?;
        findings.extend(
            servers.judged().map(|(good, found, advice)| finding("server", good, found, advice)),
        );
        for server in &cluster.servers {
            findings.extend(moved_aside(&server.config.data_dir)?);
        }
    }
    if let Some(node) = &node {
        findings.extend(moved_aside(&node.data_dir)?);
    }
    let bad = findings.iter().filter(|finding| !finding.good).count();
    invocation.output.print(&Findings { findings })?;
    if bad == 0 {
        return Ok(());
    }
    let cause = match bad {
        1 => "1 thing needs attention".to_owned(),
        _ => format!("{bad} things need attention"),
    };
    let hint = match invocation.output.format() {
        Format::Text => "the lines above say what to do",
        Format::Json => "the `advice` of each finding that is not good says what to do",
    };
    Err(Error::new(Exit::Degraded, cause, hint))
}

/// The server of this host, if `--config` names its node file, and not a client's.
fn node(invocation: &Invocation) -> Result<Option<NodeConfig>> {
    let Some(path) = &invocation.globals.config else { return Ok(None) };
    let is_node = disk::read(path, disk::Privacy::Public)
        .is_ok_and(|text| text.lines().any(|line| line.trim_start().starts_with("peer_address")));
    if !is_node {
        return Ok(None);
    }
    let (node, _) = NodeConfig::load(path, NodeOverrides::default(), &invocation.sources)?;
    Ok(Some(node))
}

fn finding(what: &'static str, good: bool, found: String, advice: impl Into<String>) -> Finding {
    Finding { what, good, found, advice: (!good).then(|| advice.into()) }
}

fn free_space(place: &Path) -> Result<Finding> {
    let space = rustix::fs::statvfs(place)
        .map_err(|error| Error::system("look at", place, &error.into()))?;
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    let found = format!("{} MiB free at {}", free >> 20, place.display());
    let advice = "free some: a server keeps up to 1 GiB of log beside its state";
    Ok(finding("disk space", free >= FREE_BYTES_MIN, found, advice))
}

/// What a server found damaged and moved aside.
fn moved_aside(data_dir: &Path) -> Result<Vec<Finding>> {
    let advice = "its `why.txt` says what happened: look after the disk, then remove the directory";
    let found = |dir: PathBuf| {
        finding("quarantine", false, format!("data lie aside in {}", dir.display()), advice)
    };
    Ok(quarantine::list(data_dir)?.into_iter().map(found).collect())
}

fn open_files() -> Finding {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let found = limit.map_or_else(|| "no limit".to_owned(), |limit| format!("{limit} allowed"));
    let good = limit.is_none_or(|limit| limit >= OPEN_FILES_MIN);
    finding("open files", good, found, "raise it: `ulimit -n 65536`, or LimitNOFILE= in the unit")
}

fn sync_time(place: &Path) -> Result<Finding> {
    let path = place.join(format!(".ravelin-doctor-{}", std::process::id()));
    let measure = || -> std::io::Result<Duration> {
        let file = std::fs::File::create_new(&path)?;
        let mut took = Vec::new();
        for _ in 0..9 {
            std::os::unix::fs::FileExt::write_all_at(&file, &[7; 4096], 0)?;
            let begun = Instant::now();
            file.sync_data()?;
            took.push(begun.elapsed());
        }
        took.sort_unstable();
        Ok(took.get(took.len() / 2).copied().unwrap_or_default())
    };
    let measured = measure();
    let _ = std::fs::remove_file(&path); // it may never have been made
    let median = measured.map_err(|error| Error::system("sync a file in", place, &error))?;
    let found = format!("{:.2} ms for 4 KiB at {}", median.as_secs_f64() * 1e3, place.display());
    let advice =
        "every round waits for one: use a disk with a write cache that survives power loss";
    Ok(finding("fsync", median <= FSYNC_MAX, found, advice))
}

impl fmt::Display for Findings {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, finding) in self.findings.iter().enumerate() {
            if index > 0 {
                writeln!(out)?;
            }
            let verdict = if finding.good { "ok" } else { "LOOK" };
            write!(out, "{verdict:<5} {}: {}", finding.what, finding.found)?;
            if let Some(advice) = &finding.advice {
                write!(out, "\n      {advice}")?;
            }
        }
        Ok(())
    }
}
