//! One of three servers that keep keys and values by Raft, as openraft has it: what `ravelin bench
//! --against openraft` compares with.
//!
//! It tolerates crashes, and no lie: nobody is authenticated, and everything is in plain text. The log is
//! durable (`log.rs`), the state lies in memory (`state.rs`) and is rebuilt from the log. Clients speak to
//! the server that leads (`clients.rs`), in frames that the product's program shares (`frames.rs`).

mod clients;
#[path = "../../../crates/ravelin/src/cli/bench/openraft/frames.rs"]
mod frames;
mod log;
mod network;
mod state;
mod store;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Parser;
use openraft::{BasicNode, Config, Raft, SnapshotPolicy};
use tokio::net::TcpListener;

use clients::Desk;
use log::{Layout, Log};
use network::Network;
use state::State;

openraft::declare_raft_types!(
    /// What servers agree on.
    pub(crate) TypeConfig: D = state::Writes, R = (), SnapshotData = std::io::Cursor<Vec<u8>>,
);

/// What openraft it is, as every result says.
const VERSION: &str = "0.9.25";
/// How often a leader shows that it is there, and how long others wait for that. An answer must come
/// within the first: it leaves room for a slow sync.
const HEARTBEAT_MS: u64 = 500;
const ELECTION_MS: (u64, u64) = (1500, 3000);
/// Entries of one message at most; bytes limit it, too.
const SENT_ENTRIES_MAX: u64 = 1024;
/// How often the first server looks for the others before it begins.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// One of a few servers that keep keys and values by Raft.
#[derive(Debug, Parser)]
#[command(name = "raft-peer", version = VERSION)]
struct Arguments {
    /// Which of the members this is, from 0 on
    #[arg(long)]
    id: u64,
    /// Where members hear each other, in their order
    #[arg(long, value_delimiter = ',', required = true)]
    members: Vec<SocketAddr>,
    /// Where it hears clients
    #[arg(long)]
    clients: SocketAddr,
    /// Where its log lies
    #[arg(long)]
    data_dir: PathBuf,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // One thread, beside that of the log: on two cores three servers with two answered less, for more.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = runtime
        .context("cannot start a runtime")
        .and_then(|runtime| runtime.block_on(serve(&arguments)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(arguments: &Arguments) -> anyhow::Result<()> {
    let own = usize::try_from(arguments.id).ok().and_then(|id| arguments.members.get(id));
    let Some(own) = own else { bail!("--id {} is none of the members", arguments.id) };
    let log = Log::open(&arguments.data_dir, Layout::DEFAULT)?;
    let of_members = listen(*own).await?;
    let of_clients = listen(arguments.clients).await?;
    let is_new = log.last_log_id().is_none();
    let state = State::default();
    let raft = Raft::<TypeConfig>::new(
        arguments.id,
        Arc::new(config()?),
        Network::default(),
        log.clone(),
        state.clone(),
    );
    let raft = raft.await.context("cannot start Raft")?;
    let desk = Desk::open(&raft, &log, &state);
    tokio::select! {
        never = network::serve(of_members, raft.clone()) => match never {},
        never = desk.serve(of_clients) => match never {},
        outcome = watch(&raft) => outcome,
        Err(error) = begin(&raft, arguments, is_new) => Err(error),
    }
}

async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
}

fn config() -> anyhow::Result<Config> {
    let config = Config {
        cluster_name: "raft-peer".to_owned(),
        heartbeat_interval: HEARTBEAT_MS,
        election_timeout_min: ELECTION_MS.0,
        election_timeout_max: ELECTION_MS.1,
        max_payload_entries: SENT_ENTRIES_MAX,
        snapshot_policy: SnapshotPolicy::Never,
        replication_lag_threshold: u64::MAX,
        ..Config::default()
    };
    config.validate().context("openraft refuses its configuration")
}

/// Has the first of new servers tell the others who the members are, once it reaches them.
async fn begin(raft: &Raft<TypeConfig>, arguments: &Arguments, is_new: bool) -> anyhow::Result<()> {
    if arguments.id != 0 || !is_new {
        return Ok(());
    }
    for member in &arguments.members {
        while !network::is_reachable(*member).await {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
    let members = (0..).zip(arguments.members.iter().map(BasicNode::new));
    let members: BTreeMap<u64, BasicNode> = members.collect();
    raft.initialize(members).await.context("cannot begin")
}

/// Waits until Raft has to stop, as it does when its log fails.
async fn watch(raft: &Raft<TypeConfig>) -> anyhow::Result<()> {
    let mut metrics = raft.metrics();
    loop {
        let running = metrics.borrow_and_update().running_state.clone();
        running.context("Raft stopped")?;
        metrics.changed().await.context("Raft is gone")?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_that_of_the_lock_file() {
        let lock = include_str!("../Cargo.lock");
        assert!(lock.contains(&format!("name = \"openraft\"\nversion = \"{VERSION}\"\n")));
    }

    #[test]
    fn openraft_takes_the_configuration() {
        config().expect("taken");
    }
}
