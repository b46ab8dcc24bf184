//! Clients that are enrolled and hostile, beside a load.
//!
//! What they send is made before anything is measured, and sent from a thread of their own: what is
//! measured is what it costs the servers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use ravelin_crypto::{Keyring, SigningKey};
use ravelin_model::wire::ClientMessage;
use ravelin_model::{
    ClusterId, Encode as _, Envelope, Incarnation, Operation, Sequence, ServiceId, SessionId,
    Signature,
};
use ravelin_runtime::transport::connect::{Link, LinkConfig};
use ravelin_runtime::transport::{Timing, TransportKey};

use crate::cluster_dir::LocalCluster;
use crate::exit::{Error, Exit, Result};
use crate::files::key::KeyFile;

/// The client's name in the cluster.
const NAME: &str = "hostile-client";
/// Envelopes that it has: more than servers let one client have waiting.
const ENVELOPES: u64 = 4096;
/// Time between two turns.
const TURN: Duration = Duration::from_millis(5);
/// Envelopes that it sends over each connection in a turn.
const ENVELOPES_PER_TURN: usize = 64;
/// Connections to each server of a client whose connections servers close.
const CONNECTIONS: usize = 8;

/// What such a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HostileClient {
    /// It has more envelopes ordered than its quota allows, correctly signed and of no use.
    Flood,
    /// It sends envelopes whose signatures do not hold, over many connections, again and again.
    BadSignatures,
}

impl HostileClient {
    /// All of them.
    pub(super) const ALL: [Self; 2] = [Self::Flood, Self::BadSignatures];

    /// Its name in arguments and results.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Flood => "client-flood",
            Self::BadSignatures => "client-bad-signatures",
        }
    }

    /// Enrolls it at `cluster`, and lets it begin.
    pub(super) async fn start(self, cluster: &LocalCluster) -> Result<Nuisance> {
        let key = KeyFile::generate()?;
        enroll(cluster, &key).await?;
        let messages = self.messages(cluster, &key.signing_key());
        let connections = match self {
            Self::Flood => 1,
            Self::BadSignatures => CONNECTIONS,
        };
        let links = links(cluster, &key, connections);
        let is_over = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&is_over);
        let thread = std::thread::Builder::new().name(NAME.to_owned());
        let thread = thread
            .spawn(move || pester(links, &messages, &ended))
            .map_err(|error| Error::caused(Exit::Failed, error, "check the limit of threads"))?;
        Ok(Nuisance { is_over, thread: Some(thread) })
    }

    fn messages(self, cluster: &LocalCluster, key: &SigningKey) -> Vec<Arc<[u8]>> {
        let incarnation = cluster.plan.plan.incarnation;
        let envelopes = (1..=ENVELOPES).map(|number| {
            let mut envelope = envelope(cluster.id, incarnation, key, number);
            if self == Self::BadSignatures {
                let byte = envelope.signature.0.first_mut().expect("64 bytes");
                *byte ^= 1;
            }
            Arc::from(ClientMessage::Submit(envelope).encode())
        });
        envelopes.collect()
    }
}

/// A hostile client at work. It ends when dropped.
pub(super) struct Nuisance {
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Nuisance {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // the servers are about to go as well
        }
    }
}

/// Has the cluster's administrator let it in.
async fn enroll(cluster: &LocalCluster, key: &KeyFile) -> Result<()> {
    let failed = |why: String| {
        Error::new(Exit::Failed, why, "look whether the machine is busy, and try again")
            .context("cannot enroll the hostile client")
    };
    let program = std::env::current_exe().map_err(|error| failed(error.to_string()))?;
    let outcome = tokio::process::Command::new(program)
        .arg("--config")
        .arg(cluster.client_file())
        .args(["auth", "enroll", NAME, &key.public().to_string(), "--key"])
        .arg(cluster.administrator_key())
        .output()
        .await
        .map_err(|error| failed(error.to_string()))?;
    if outcome.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&outcome.stderr);
    Err(failed(said.lines().next().unwrap_or("the command said nothing").to_owned()))
}

/// What it takes to connect to each server, so many times.
fn links(cluster: &LocalCluster, key: &KeyFile, connections: usize) -> Vec<LinkConfig> {
    let key = TransportKey::from_seed(&key.seed);
    // It does not wait longer than it must.
    let timing = Timing { backoff_min: TURN, backoff_max: TURN, ..Timing::default() };
    LinkConfig::to_all(&key, &cluster.plan.plan, timing)
        .flat_map(|link| std::iter::repeat_n(link, connections))
        .collect()
}

/// An envelope that changes nothing: the session is none, and the request is no request.
fn envelope(
    cluster: ClusterId,
    incarnation: Incarnation,
    key: &SigningKey,
    number: u64,
) -> Envelope {
    let operation = Operation { service: ServiceId::KV, request: vec![0xff; 64] };
    let unsigned = Envelope {
        cluster,
        incarnation,
        client: key.public(),
        session: SessionId(number),
        first: Sequence(1),
        operations: vec![operation],
        signature: Signature([0; 64]),
    };
    Keyring::sign_envelope(key, unsigned)
}

/// Sends these messages in turn, over and over, and reads no answers.
fn pester(links: Vec<LinkConfig>, messages: &[Arc<[u8]>], is_over: &AtomicBool) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let Ok(runtime) = runtime else { return };
    runtime.block_on(async {
        let (events, mut received) = Link::events();
        tokio::spawn(async move { while received.recv().await.is_some() {} });
        let links: Vec<Link> =
            links.into_iter().map(|link| Link::start(link, events.clone())).collect();
        let mut turns = messages.chunks(ENVELOPES_PER_TURN).cycle();
        while !is_over.load(Ordering::Relaxed) {
            let some = turns.next().expect("it has messages");
            for link in &links {
                some.iter().for_each(|message| link.send(Arc::clone(message)));
            }
            tokio::time::sleep(TURN).await;
        }
    });
}
