//! `ravelin node start`: one server, until it is told to stop.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ravelin_model::Purpose;
use ravelin_model::limits::REPLICAS_MAX;
use ravelin_runtime::log::SEGMENT_BYTES_DEFAULT as SEGMENT_BYTES;
use ravelin_runtime::transport::clients::ClientLimits;
use ravelin_sim::intruder;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::admin;
use crate::data::{self, DataDir, FILES, FULL};
use crate::exit::{Error, Exit, Result};
use crate::files::identity::Identity;
use crate::files::node::{LogFormat, LogLevel, NodeConfig};
use crate::room::{self, Room};
use crate::seat::Seat;
use crate::server::{self, Ending, ServerConfig, Stop, Window};

/// Descriptors for what is neither a client nor a file of the log: the store's files and tables,
/// connections and handshakes with servers, monitors.
const DESCRIPTORS_APART: u64 = 448;
/// How long connections of a server that stopped may take to end.
const LISTEN_AGAIN_MAX: Duration = Duration::from_secs(10);
/// Time between two attempts.
const LISTEN_RETRY: Duration = Duration::from_millis(20);
/// Clients that a server must be able to serve at once.
const CLIENTS_MIN: usize = 32;

/// Starts the server that `config` describes, in the hands of `intruders` if named, and serves until
/// a signal ends it.
pub(crate) fn start(config: &NodeConfig, intruders: Option<&str>) -> Result<()> {
    let seat = Seat::inspect(config).seat()?;
    if let Some(names) = intruders {
        check_drill(&seat, names)?;
    }
    start_logging(config);
    if let Some(warning) = &seat.warning {
        tracing::warn!("{warning}");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::caused(Exit::Failed, error, "check the limit of open files"))?;
    runtime.block_on(run(config, seat, intruders))
}

/// Makes the identity ready for another key; if that fails, the server runs with those that it has.
fn prepare(identity: &mut Identity) {
    if let Err(error) = identity.prepare() {
        tracing::warn!("{}; {}", error.message(), error.advice());
    }
}

async fn run(config: &NodeConfig, mut seat: Seat, intruders: Option<&str>) -> Result<()> {
    let clients = client_limits(config)?;
    let mut listeners =
        Some((listen(config.peer_listen).await?, listen(config.client_listen).await?));
    let window: Window = Arc::new(Mutex::new(None));
    if let Some(address) = config.admin_listen {
        let listener = listen(address).await?;
        let tolerated = seat.group.faults();
        tokio::spawn(admin::serve(listener, Arc::clone(&window), tolerated));
    }
    tracing::info!(
        server = %seat.replica,
        name = %seat.name,
        cluster = %seat.cluster.0,
        peers = %config.peer_listen,
        clients = %config.client_listen,
        "starting"
    );
    // Whoever has the listeners is alone in running as this server.
    prepare(&mut seat.identity);
    let stop = Arc::new(Stop::default());
    let told = Arc::clone(&stop);
    tokio::spawn(async move {
        wait_for_signal().await;
        told.ask(Ending::Told);
    });
    let data = data_dir(config, &seat)?;
    let mut identity = Some(seat.identity);
    loop {
        let (peer_listener, client_listener) = match listeners.take() {
            Some(listeners) => listeners,
            None => {
                (listen_again(config.peer_listen).await?, listen_again(config.client_listen).await?)
            }
        };
        let server = ServerConfig {
            plan: seat.plan.clone(),
            cluster: seat.cluster,
            own: seat.replica,
            group: seat.group,
            identity: match identity.take() {
                Some(identity) => identity,
                None => reread(config)?,
            },
            room: Room::open(&config.data_dir, config.ballast_bytes)?,
            data: data.clone(),
            clients,
            peer_listener,
            client_listener,
            intruders: intruders.map(str::to_owned),
        };
        match server::serve(server, Arc::clone(&window), Arc::clone(&stop)).await? {
            Ending::Told => break,
            Ending::NoSpace => return Err(stopped_for_room(config)),
            Ending::Diverged(commit) => {
                let mut known = reread(config)?;
                data::give_up_diverged(&data, &mut known, commit)?;
                identity = Some(known);
            }
        }
    }
    tracing::info!("stopped in good order");
    Ok(())
}

/// The identity as the server that ran a moment ago left it.
fn reread(config: &NodeConfig) -> Result<Identity> {
    let mut identity = Identity::read(&config.identity)?;
    prepare(&mut identity);
    Ok(identity)
}

/// Where the server's data are, and whose they must be.
fn data_dir(config: &NodeConfig, seat: &Seat) -> Result<DataDir> {
    let dir = config.data_dir.clone();
    let member = seat.plan.plan.members.get(seat.replica.index());
    let member =
        member.ok_or_else(|| Error::usage("not a member of the plan", "check the plan"))?;
    let owner = data::owner(&seat.cluster, &member.identity);
    Ok(DataDir {
        dir,
        owner,
        member: seat.replica,
        log_retention_bytes: config.log_retention_bytes,
    })
}

fn stopped_for_room(config: &NodeConfig) -> Error {
    let cause = format!(
        "less than {} MiB left on the disk of {}: the server stopped in good order, and takes one of \
         the f faults that the cluster tolerates",
        room::STOP_BELOW_BYTES >> 20,
        config.data_dir.display()
    );
    Error::new(Exit::NoSpace, cause, FULL)
}

/// So many clients that the log and the store always find a descriptor.
fn client_limits(config: &NodeConfig) -> Result<ClientLimits> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // What we may have, we take: the low limit is for programs of another age.
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let allowed = if raised.is_ok() { maximum } else { current };
    limits_within(allowed, config.log_retention_bytes)
}

fn limits_within(allowed: Option<u64>, log_retention_bytes: u64) -> Result<ClientLimits> {
    let default = ClientLimits::default();
    let Some(allowed) = allowed else { return Ok(default) };
    let of_log = log_retention_bytes / SEGMENT_BYTES + 4;
    let of_peers = REPLICAS_MAX as u64;
    let apart = DESCRIPTORS_APART + of_log + of_peers;
    let left = usize::try_from(allowed.saturating_sub(apart)).unwrap_or(usize::MAX);
    let handshakes_max = default.handshakes_max.min(left / 3);
    let connections_max = default.connections_max.min(left.saturating_sub(handshakes_max));
    if handshakes_max + connections_max < 2 * CLIENTS_MIN {
        let cause = format!(
            "{allowed} open files are allowed, and a server with this much log needs {} at least",
            apart + 2 * CLIENTS_MIN as u64
        );
        return Err(Error::new(Exit::Failed, cause, FILES));
    }
    if connections_max < default.connections_max {
        tracing::warn!(
            "{allowed} open files are allowed: {connections_max} clients at once, where {} could be",
            default.connections_max
        );
    }
    Ok(ClientLimits { connections_max, handshakes_max, ..default })
}

/// Refuses an intruder that nobody knows, or where there is something to lose.
fn check_drill(seat: &Seat, names: &str) -> Result<()> {
    if seat.plan.plan.purpose != Purpose::Local {
        let cause = "an intruder runs in local clusters only, and this plan is for production";
        return Err(Error::new(
            Exit::Denied,
            cause,
            "make a cluster to attack: `ravelin local up`",
        ));
    }
    if intruder::by_names(names).is_none() {
        let cause = format!("there is no intruder `{names}`");
        return Err(Error::usage(cause, "`ravelin attack list` names them; join several by `+`"));
    }
    Ok(())
}

/// Listens where a server of this process did until a moment ago.
async fn listen_again(address: std::net::SocketAddr) -> Result<TcpListener> {
    let until = Instant::now() + LISTEN_AGAIN_MAX;
    loop {
        match listen(address).await {
            Err(_) if Instant::now() < until => tokio::time::sleep(LISTEN_RETRY).await,
            listening => return listening,
        }
    }
}

async fn listen(address: std::net::SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        let hint = "another process may use it: `ravelin node check` tells";
        Error::caused(Exit::Failed, error, hint).context(format!("cannot listen on {address}"))
    })
}

async fn wait_for_signal() {
    let (Ok(mut terminated), Ok(mut interrupted)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminated.recv() => {}
        _ = interrupted.recv() => {}
    }
}

fn start_logging(config: &NodeConfig) {
    let level = match config.log_level {
        LogLevel::Error => tracing::Level::ERROR,
        LogLevel::Warn => tracing::Level::WARN,
        LogLevel::Info => tracing::Level::INFO,
        LogLevel::Debug => tracing::Level::DEBUG,
        LogLevel::Trace => tracing::Level::TRACE,
    };
    let ours = tracing_subscriber::filter::Targets::new()
        .with_default(tracing::Level::WARN.min(level))
        .with_target("ravelin", level);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false);
    let registry = tracing_subscriber::registry().with(ours);
    // A second start in one process keeps the first one's log.
    let _ = match config.log_format {
        LogFormat::Text => registry.with(lines).try_init(),
        LogFormat::Json => registry.with(lines.json()).try_init(),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_never_get_the_descriptors_of_log_and_store() {
        let default = ClientLimits::default();
        let all = limits_within(None, 1 << 30).expect("no limit");
        assert_eq!(all.connections_max, default.connections_max);
        for allowed in [700, 1024, 1200, 4096] {
            for retention in [64 << 20, 1 << 30] {
                let limits = limits_within(Some(allowed), retention).expect("so many suffice");
                let clients = (limits.connections_max + limits.handshakes_max) as u64;
                let of_log = retention / SEGMENT_BYTES + 4;
                assert!(clients + of_log + DESCRIPTORS_APART + REPLICAS_MAX as u64 <= allowed);
                assert!(clients >= 2 * CLIENTS_MIN as u64);
                assert!(limits.per_key_max == default.per_key_max);
            }
        }
        let error = limits_within(Some(256), 1 << 30).expect_err("too few");
        assert!(error.advice().contains("ulimit"), "{}", error.advice());
    }
}
