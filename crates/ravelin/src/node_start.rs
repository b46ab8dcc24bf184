//! `ravelin node start`: one server, until it is told to stop.

use std::process::Child;
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use ravelin_model::Purpose;
use ravelin_sim::intruder;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::admin::{self, Shown, Window};
use crate::data::{self, DataDir, FULL};
use crate::descriptors;
use crate::exit::{Error, Exit, Result};
use crate::files::identity::Identity;
use crate::files::node::{LogFormat, LogLevel, NodeConfig};
use crate::room::{self, Room};
use crate::seat::Seat;
use crate::server::{self, Ending, ServerConfig, Stop};
use crate::wormhole::standing::Watch;
use crate::wormhole::{self, Own, Started};

/// How long connections of a server that stopped may take to end.
const LISTEN_AGAIN_MAX: Duration = Duration::from_secs(10);
/// How long its wormhole may take to end once this server has.
const WORMHOLE_END_MAX: Duration = Duration::from_secs(5);
/// Time between two attempts.
const LISTEN_RETRY: Duration = Duration::from_millis(20);

/// Starts the server that `config` describes, in the hands of `intruders` if named, and serves until
/// a signal ends it.
pub(crate) fn start(config: &NodeConfig, intruders: Option<&str>) -> Result<()> {
    let seat = Seat::inspect(config).seat()?;
    if let Some(names) = intruders {
        check_drill(&seat, names)?;
    }
    // Before there is any thread: see `ravelin_wormhole::launcher`.
    let wormhole = start_wormhole(config, &seat)?;
    start_logging(config);
    if let Some(warning) = &seat.warning {
        tracing::warn!("{warning}");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::caused(Exit::Failed, error, "check the limit of open files"))?;
    let stop = Arc::new(Stop::default());
    let Some(Started { process, wormhole, watch }) = wormhole else {
        let means = Means { intruders, wormhole: None, watch: None, stop };
        return runtime.block_on(run(config, seat, means));
    };
    let end = watch_process(process, Arc::clone(&stop));
    let means = Means { intruders, wormhole: Some(wormhole), watch, stop };
    let outcome = runtime.block_on(run(config, seat, means));
    runtime.shutdown_background();
    // Nobody here has a connection to it any more.
    if end.recv_timeout(WORMHOLE_END_MAX).is_err() {
        tracing::warn!("the wormhole has not ended: the next start waits for it a little");
    }
    outcome
}

/// What a server has beside its seat.
struct Means<'a> {
    intruders: Option<&'a str>,
    wormhole: Option<Own>,
    /// To look at it.
    watch: Option<Watch>,
    /// Stops it.
    stop: Arc<Stop>,
}

/// Starts the wormhole that the plan names for this server, if it names one.
fn start_wormhole(config: &NodeConfig, seat: &Seat) -> Result<Option<Started>> {
    let member = seat.plan.plan.members.get(seat.replica.index());
    let (Some(keys), Some(wormhole)) = (member.and_then(|it| it.wormhole), &config.wormhole) else {
        return Ok(None); // the seat's checks demand both or neither
    };
    Started::start(wormhole, (seat.cluster, seat.replica), keys.provisioned).map(Some)
}

/// Has the server stop once its wormhole has ended, whatever for; says when.
fn watch_process(mut process: Child, stop: Arc<Stop>) -> mpsc::Receiver<()> {
    let (ended, end) = mpsc::channel();
    std::thread::spawn(move || {
        match process.wait() {
            Ok(status) => tracing::info!(%status, "the wormhole ended"),
            Err(error) => tracing::warn!(%error, "nobody knows whether the wormhole runs"),
        }
        stop.ask(Ending::NoWormhole);
        let _ = ended.send(()); // nobody may wait for it
    });
    end
}

/// Makes the identity ready for another key; if that fails, the server runs with those that it has.
fn prepare(identity: &mut Identity) {
    if let Err(error) = identity.prepare() {
        tracing::warn!("{}; {}", error.message(), error.advice());
    }
}

async fn run(config: &NodeConfig, mut seat: Seat, means: Means<'_>) -> Result<()> {
    let Means { intruders, wormhole, watch, stop } = means;
    let client_limits = descriptors::provide(config.client_limits, seat.group.size())?;
    let mut listeners =
        Some((listen(config.peer_listen).await?, listen(config.client_listen).await?));
    let window: Window = Arc::new(Mutex::new(None));
    let tolerated = seat.group.faults();
    let shown = Shown { window: Arc::clone(&window), tolerated, wormhole: watch };
    let _serving = serve_monitors(config, shown).await?;
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
            client_limits,
            peer_listener,
            client_listener,
            intruders: intruders.map(str::to_owned),
            wormhole: wormhole.as_ref().map(Own::presented).transpose()?,
        };
        match server::serve(server, Arc::clone(&window), Arc::clone(&stop)).await? {
            Ending::Told => break,
            Ending::NoSpace => return Err(stopped_for_room(config)),
            Ending::NoWormhole => return Err(wormhole::gone()),
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

/// Serves monitors, if they are to be served, until what comes back is dropped.
async fn serve_monitors(config: &NodeConfig, shown: Shown) -> Result<Option<admin::Serving>> {
    let Some(address) = config.admin_listen else { return Ok(None) };
    let started = admin::Serving::start(listen(address).await?, shown);
    let hint = "check the limits of open files and of threads";
    started.map(Some).map_err(|error| Error::caused(Exit::Failed, error, hint))
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
        audit_retention_bytes: config.audit_retention_bytes,
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
