//! Health and metrics of a server, for monitors on its own host.
//!
//! **Guarantee:** a monitor is answered while the server is stuck, too, as in a call of a wormhole that
//! says nothing: this has a thread of its own.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::get;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use ravelin_model::wire::StatusReport;
use ravelin_runtime::driver::Totals;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Sleep, sleep, timeout};

use crate::room::{self, Stage};
use crate::wormhole::standing::{Silence, Watch};

/// A server that has not turned for so long counts as stuck.
const STUCK_AFTER: Duration = Duration::from_secs(5);
/// Connections of monitors at once.
pub(crate) const ADMIN_CONNECTIONS_MAX: usize = 32;
/// How long one of them lasts; a monitor asks again over another.
const ADMIN_CONNECTION_MAX: Duration = Duration::from_secs(10);
/// How long the wormhole may take to answer a monitor.
const WORMHOLE_ANSWER_MAX: Duration = Duration::from_secs(1);

/// What there is to see of a server.
#[derive(Clone)]
pub(crate) struct Shown {
    /// How it stands.
    pub(crate) window: Window,
    /// How many faults its cluster tolerates.
    pub(crate) tolerated: usize,
    /// Its wormhole, if it has one.
    pub(crate) wormhole: Option<Watch>,
}

/// What serves monitors; it ends when this is dropped, and with it what it has of the wormhole.
pub(crate) struct Serving {
    thread: Option<JoinHandle<()>>,
    end: Option<oneshot::Sender<()>>,
}

impl Serving {
    /// Serves `/livez`, `/readyz`, `/metrics` and `/wormhole` on `listener`.
    pub(crate) fn start(listener: TcpListener, shown: Shown) -> io::Result<Self> {
        let listener = listener.into_std()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (end, ended) = oneshot::channel();
        let thread = std::thread::Builder::new().name("admin".into()).spawn(move || {
            let served = runtime.block_on(async {
                tokio::select! {
                    served = serve(TcpListener::from_std(listener)?, shown) => served,
                    _ = ended => Ok(()),
                }
            });
            if let Err(error) = served {
                tracing::warn!(%error, "monitors are served no more");
            }
            // One that looks at a silent wormhole just now is not waited for.
            runtime.shutdown_background();
        })?;
        Ok(Self { thread: Some(thread), end: Some(end) })
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        drop(self.end.take());
        let _ = self.thread.take().map(JoinHandle::join); // it panics where a handler does
    }
}

async fn serve(listener: TcpListener, shown: Shown) -> io::Result<()> {
    let router = Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/wormhole", get(wormhole))
        .with_state(shown);
    axum::serve(Few::new(listener), router).await
}

/// A listener with few connections at once, each of which ends in time. Others wait unaccepted.
struct Few {
    listener: TcpListener,
    places: Arc<Semaphore>,
}

impl Few {
    fn new(listener: TcpListener) -> Self {
        Self { listener, places: Arc::new(Semaphore::new(ADMIN_CONNECTIONS_MAX)) }
    }
}

impl axum::serve::Listener for Few {
    type Io = Brief;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Brief, SocketAddr) {
        let place = Arc::clone(&self.places).acquire_owned().await;
        let place = place.expect("the semaphore is never closed");
        let (stream, from) = axum::serve::Listener::accept(&mut self.listener).await;
        (Brief { stream, end: Box::pin(sleep(ADMIN_CONNECTION_MAX)), _place: place }, from)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that breaks off when its time is over.
struct Brief {
    stream: TcpStream,
    end: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

impl Brief {
    fn step<T>(
        &mut self,
        context: &mut Context<'_>,
        step: impl FnOnce(Pin<&mut TcpStream>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if self.end.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        step(Pin::new(&mut self.stream), context)
    }
}

impl AsyncRead for Brief {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.get_mut().step(context, |stream, context| stream.poll_read(context, into))
    }
}

impl AsyncWrite for Brief {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().step(context, |stream, context| stream.poll_write(context, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().step(context, |stream, context| stream.poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().step(context, |stream, context| stream.poll_shutdown(context))
    }
}

/// How a server stands, for health checks and monitors.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    /// As it would answer a client.
    pub(crate) report: StatusReport,
    /// States that it fetched from the others since its start.
    pub(crate) states_fetched: u64,
    /// What its host has done.
    pub(crate) totals: Totals,
    /// The room on its disk.
    pub(crate) room: room::View,
    /// When this was taken.
    pub(crate) taken: Instant,
}

/// Where a server leaves its snapshots; `None` until it has taken part once.
pub(crate) type Window = Arc<Mutex<Option<Snapshot>>>;

fn latest(window: &Window) -> Option<Snapshot> {
    let snapshot = window.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
    (snapshot.taken.elapsed() < STUCK_AFTER).then_some(snapshot)
}

/// 200 while the server turns; 503 when it is stuck or has not begun.
async fn livez(State(Shown { window, .. }): State<Shown>) -> StatusCode {
    match latest(&window) {
        Some(_) => StatusCode::OK,
        None => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// 200 while the server orders and answers; 503 otherwise. The body is what it calls itself.
async fn readyz(State(Shown { window, .. }): State<Shown>) -> (StatusCode, String) {
    let state = latest(&window).map(|snapshot| snapshot.report.state).unwrap_or_default();
    let is_ready = state == "correct";
    (if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, state)
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ByState {
    state: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ByProperty {
    property: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ByPeerAndKind {
    peer: String,
    kind: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ByPeerAndAddress {
    peer: String,
    address: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ByStage {
    stage: &'static str,
}

/// How the wormhole stands: 200 with that as JSON, 404 without one, 503 with the reason when it does not
/// answer in time.
async fn wormhole(State(Shown { wormhole, .. }): State<Shown>) -> (StatusCode, String) {
    let Some(watch) = wormhole else { return (StatusCode::NOT_FOUND, String::new()) };
    let looking = tokio::task::spawn_blocking(move || watch.look());
    let reason = match timeout(WORMHOLE_ANSWER_MAX, looking).await {
        Ok(Ok(Ok(standing))) => {
            let json = serde_json::to_string(&standing).expect("plain fields");
            return (StatusCode::OK, json);
        }
        Ok(Ok(Err(silence))) => silence.reason(),
        Ok(Err(_)) | Err(_) => Silence::Late.reason(),
    };
    (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n"))
}

async fn metrics(State(Shown { window, tolerated, .. }): State<Shown>) -> impl IntoResponse {
    let Some(snapshot) = latest(&window) else {
        return (StatusCode::SERVICE_UNAVAILABLE, String::new());
    };
    let mut text = String::new();
    match encode(&mut text, &registry(&snapshot, tolerated)) {
        Ok(()) => (StatusCode::OK, text),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, String::new()),
    }
}

/// What this server knows of each member; how many of them are correct.
fn register_members(registry: &mut Registry, report: &StatusReport) -> usize {
    let states = Family::<ByState, Gauge>::default();
    let evidence = Family::<ByPeerAndKind, Gauge>::default();
    let shared_keys = Family::<ByPeerAndAddress, Gauge>::default();
    let mut healthy = 0;
    for (id, member) in report.members.iter().enumerate() {
        states.get_or_create(&ByState { state: member.state.clone() }).inc();
        healthy += usize::from(member.state == "correct");
        for (kind, count) in &member.evidence {
            let labels = ByPeerAndKind { peer: id.to_string(), kind: kind.clone() };
            evidence.get_or_create(&labels).set(i64::from(*count));
        }
        for address in &member.shared_key_at {
            let labels = ByPeerAndAddress { peer: id.to_string(), address: address.clone() };
            shared_keys.get_or_create(&labels).set(1);
        }
    }
    registry.register("replicas", "Servers by state, as this server sees them", states);
    registry.register("evidence", "Kinds of proof held against a server", evidence);
    registry.register(
        "shared_key",
        "From where two processes speak that hold one server's key",
        shared_keys,
    );
    healthy
}

/// The metrics of one snapshot. Names are stable: dashboards rely on them.
fn registry(snapshot: &Snapshot, tolerated: usize) -> Registry {
    let mut registry = Registry::with_prefix("ravelin");
    let report = &snapshot.report;
    let healthy = register_members(&mut registry, report);
    let unhealthy = report.members.len() - healthy;
    let budget = i64::try_from(tolerated).unwrap_or(0) - i64::try_from(unhealthy).unwrap_or(0);
    let properties = Family::<ByProperty, Gauge>::default();
    let is_correct = report.state != "fail_safe";
    properties.get_or_create(&ByProperty { property: "correct" }).set(i64::from(is_correct));
    let is_available = report.state == "correct" && budget >= 0;
    properties.get_or_create(&ByProperty { property: "available" }).set(i64::from(is_available));
    registry.register(
        "service_state",
        "1 while the property holds, as this server sees it",
        properties,
    );
    let gauge = |value: i64| {
        let gauge = Gauge::<i64>::default();
        gauge.set(value);
        gauge
    };
    let number = |value: u64| gauge(i64::try_from(value).unwrap_or(i64::MAX));
    registry.register(
        "fault_budget_remaining",
        "Intrusions that may still be tolerated",
        gauge(budget),
    );
    registry.register("round", "The server's newest round", number(report.round.0));
    registry.register("commit_index", "Commits executed", number(report.commit.0));
    registry.register("position", "Envelopes executed", number(report.position.0));
    let total = |value: u64| ConstCounter::<u64>::new(value);
    let fetched = total(snapshot.states_fetched);
    registry.register("states_fetched", "States taken from the others", fetched);
    let Totals { log, sent_bytes, received_bytes } = snapshot.totals;
    let stages = Family::<ByStage, Gauge>::default();
    for stage in Stage::ALL {
        let is_it = snapshot.room.stage == stage;
        stages.get_or_create(&ByStage { stage: stage.name() }).set(i64::from(is_it));
    }
    let free = number(snapshot.room.free_bytes);
    registry.register("disk_free_bytes", "Bytes free on the disk of the data directory", free);
    registry.register("disk_stage", "1 for what the room on that disk allows", stages);
    registry.register(
        "log_fsync_microseconds",
        "Time spent in completed syncs of the log",
        total(log.fsync_micros),
    );
    registry.register(
        "log_fsync_slowest_microseconds",
        "The slowest sync of the log since the start",
        number(log.fsync_slowest_micros),
    );
    registry.register("log_fsyncs", "Completed syncs of the log", total(log.fsync_count));
    registry.register("log_bytes", "Bytes written to the log", total(log.written_bytes));
    registry.register("sent_bytes", "Bytes of messages sent", total(sent_bytes));
    registry.register("received_bytes", "Bytes of messages received", total(received_bytes));
    registry
}
