//! `ravelin gateway http`: from files and flags to a gateway that serves until it is told to stop.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use ravelin_crypto::Keyring;
use ravelin_gateway::gateway::{Gateway, Settings};
use ravelin_gateway::tls::Certificate;
use ravelin_gateway::{Cluster, http};
use ravelin_model::Misbehaviour;
use ravelin_runtime::transport::TransportKey;
use serde::Serialize;

use super::Invocation;
use super::access_log::AccessLog;
use crate::client_command::Interruption;
use crate::client_settings::ClientSettings;
use crate::evidence_file::EvidenceFile;
use crate::exit::{Error, Exit, Result};
use crate::files::disk::{self, Privacy};
use crate::files::plan;
use crate::files::tokens::TokenFile;
use crate::output::Output;
use crate::plan_source;

/// Where a gateway listens unless told otherwise.
const LISTEN_DEFAULT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 7780);
/// Pause between two looks at the token file, and at what was found against servers.
const LOOK_EVERY: Duration = Duration::from_secs(1);

const HELP: &str = "\
Examples:
  ravelin gateway token add me --tokens tokens.toml --key client.key
  ravelin gateway http --tokens tokens.toml
  curl -H 'Authorization: Bearer TOKEN' http://127.0.0.1:7780/v1/kv/color

Prints the address that it serves at, and serves until SIGINT or SIGTERM. What there is:
/v1/openapi.json; for monitors: /livez and /readyz.

A gateway votes on the servers' answers for those who use it. Whoever controls it can lie to
them and act as they: run one on each user's host. One that listens beyond its host or serves
several tokens says that it is a trusted node: here, in each response (Ravelin-Trust) and in
/v1/status. Beyond its host it wants TLS, unless --insecure-plaintext says that something else
protects the way. --timeout bounds each request at the cluster; without a quorum it is answered
with 503 after that. The token file may change while the gateway runs.

--access-log adds to FILE, and never holds up a request; lines that the disk does not take in time
are counted. Keys and names of tokens are in it, values and tokens are not. Move it away to rotate
it: another is made with the next line, once a second has passed.";

/// Arguments of `gateway http`.
#[derive(Args)]
#[command(after_long_help = HELP)]
pub(crate) struct Http {
    /// The token file, as `gateway token add` makes it
    #[arg(long, value_name = "FILE")]
    tokens: PathBuf,
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value_t = LISTEN_DEFAULT)]
    listen: SocketAddr,
    /// The certificates to show, in PEM, its own first
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The private key of the first certificate, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Add a line of JSON for each answer to this file: who asked for what, and what came of it
    #[arg(long, value_name = "FILE")]
    access_log: Option<PathBuf>,
    /// Serve beyond this host without TLS: whoever is on the way reads tokens and answers
    #[arg(long, conflicts_with = "tls_cert")]
    insecure_plaintext: bool,
}

/// What is printed once it serves.
#[derive(Serialize)]
struct Serving {
    url: String,
    trust: &'static str,
    tokens: usize,
}

impl fmt::Display for Serving {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.url)
    }
}

/// Serves until a signal ends it.
pub(super) fn serve(invocation: &Invocation, arguments: &Http) -> Result<()> {
    let is_exposed = !arguments.listen.ip().is_loopback();
    if is_exposed && arguments.tls_cert.is_none() && !arguments.insecure_plaintext {
        let cause = format!("{} is reachable from beyond this host", arguments.listen);
        let hint = "give --tls-cert and --tls-key, or --insecure-plaintext if something else \
                    protects the way";
        return Err(Error::usage(cause, hint));
    }
    let certificate = certificate(arguments)?;
    let watched = Watched::read(&arguments.tokens)?;
    let settings = ClientSettings::load(invocation)?;
    let access_log = arguments.access_log.as_deref().map(AccessLog::open).transpose()?;
    let evidence = settings.evidence.as_deref().map(EvidenceFile::at).transpose()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime
        .map_err(|error| Error::caused(Exit::Failed, error, "check the limit of open files"))?;
    runtime.block_on(async {
        let gateway = gateway(&settings, &watched, is_exposed).await?;
        let listener = http::listen(arguments.listen).await.map_err(|error| {
            let hint = "another process may use it: choose another with --listen";
            let cause = format!("cannot listen on {}", arguments.listen);
            Error::caused(Exit::Failed, error, hint).context(cause)
        })?;
        let address = listener
            .local_addr()
            .map_err(|error| Error::caused(Exit::Failed, error, "choose another with --listen"))?;
        let mut interruption = Interruption::listen()?;
        announce(invocation.output, &gateway, address, certificate.is_some())?;
        tokio::spawn({
            let gateway = Arc::clone(&gateway);
            async move { gateway.look().await }
        });
        let stop = async {
            tokio::select! {
                _ = interruption.next() => {}
                () = keep_watch(invocation.output, &gateway, watched, evidence) => {}
                () = tell_of(invocation.output, access_log.as_ref()) => {}
            }
        };
        let observer = access_log.as_ref().map(AccessLog::observer);
        http::serve(Arc::clone(&gateway), listener, certificate, observer, stop).await;
        if access_log.is_some_and(|log| !log.close()) {
            invocation.output.note("the disk did not take the end of the access log");
        }
        invocation.output.note("stopped in good order");
        Ok(())
    })
}

fn certificate(arguments: &Http) -> Result<Option<Certificate>> {
    let (Some(certificates), Some(key)) = (&arguments.tls_cert, &arguments.tls_key) else {
        return Ok(None);
    };
    let text = disk::read(certificates, Privacy::Public)?;
    let secret = disk::read(key, Privacy::Secret)?;
    Certificate::read(&text, &secret).map(Some).map_err(|error| {
        let cause = format!("cannot serve with {} and {}", certificates.display(), key.display());
        let hint = "give PEM files: the chain of certificates, and the key of the first one";
        Error::caused(Exit::Usage, error, hint).context(cause)
    })
}

/// A gateway with the tokens of the file.
async fn gateway(
    settings: &ClientSettings,
    watched: &Watched,
    is_exposed: bool,
) -> Result<Arc<Gateway>> {
    let client = settings.cluster()?;
    let bearers = watched.file.bearers()?;
    let Some(first) = bearers.first() else {
        let cause = format!("there is no token in {}", watched.path.display());
        return Err(Error::usage(cause, "make one: `ravelin gateway token add --help`"));
    };
    let key = TransportKey::from_seed(&first.seed);
    let plan = plan_source::find(client, &key, settings.timeout).await?;
    let keyring = Keyring::new(client.fingerprint, &plan, plan::scheme()?)
        .map_err(|error| Error::caused(Exit::Usage, error, "`ravelin cluster show` judges it"))?;
    let settings = Settings { is_exposed, timeout: settings.timeout };
    let gateway = Gateway::new(Cluster { plan, keyring }, settings);
    let unfit = |error| Error::caused(Exit::Conflict, error, "one token, one client key");
    gateway.replace(bearers).map_err(unfit)?;
    Ok(Arc::new(gateway))
}

/// Says where the gateway serves, and how it stands to those who use it.
fn announce(output: Output, gateway: &Gateway, address: SocketAddr, has_tls: bool) -> Result<()> {
    warn_if_shared(output, gateway);
    let scheme = if has_tls { "https" } else { "http" };
    let trust = if gateway.is_shared() { "shared_gateway" } else { "own_gateway" };
    let (url, tokens) = (format!("{scheme}://{address}"), gateway.token_count());
    output.print(&Serving { url, trust, tokens })
}

fn warn_if_shared(output: Output, gateway: &Gateway) {
    if gateway.is_shared() {
        output.note(
            "WARNING: this gateway is a trusted node. Others than one user of this host can use it: \
             whoever controls it can lie to them and act as they. It says so in each response \
             (Ravelin-Trust: shared-gateway) and in /v1/status.",
        );
    }
}

/// Says when lines of the access log are lost, and why. Never ends.
async fn tell_of(output: Output, log: Option<&AccessLog>) {
    let Some(log) = log else { return std::future::pending().await };
    let mut told = 0;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let lost = log.lost();
        if lost > told {
            let why =
                log.failure().unwrap_or_else(|| "the disk is slower than the requests".into());
            output.note(format_args!("{lost} lines of the access log are lost: {why}"));
            told = lost;
        }
    }
}

/// A token file that may change.
struct Watched {
    path: PathBuf,
    file: TokenFile,
    seen: Option<Stamp>,
}

/// What tells two states of a file apart.
type Stamp = (u64, i64, i64, u64);

fn stamp(path: &Path) -> Option<Stamp> {
    let found = fs::metadata(path).ok()?;
    Some((found.ino(), found.mtime(), found.mtime_nsec(), found.len()))
}

impl Watched {
    fn read(path: &Path) -> Result<Self> {
        // Before the file, so that a change meanwhile is seen later.
        let (path, seen) = (path.to_owned(), stamp(path));
        Ok(Self { file: TokenFile::read(&path)?, path, seen })
    }

    /// Takes the file over if it changed.
    fn follow(&mut self, output: Output, gateway: &Gateway) {
        let now = stamp(&self.path);
        if now == self.seen {
            return;
        }
        self.seen = now;
        let read = TokenFile::read(&self.path).and_then(|file| Ok((file.bearers()?, file)));
        let (was_shared, replaced) = (
            gateway.is_shared(),
            read.and_then(|(bearers, file)| {
                let unfit = |error| Error::caused(Exit::Conflict, error, "change the file");
                gateway.replace(bearers).map(|()| file).map_err(unfit)
            }),
        );
        match replaced {
            Ok(file) => {
                self.file = file;
                let count = gateway.token_count();
                output.note(format_args!("the token file changed: {count} tokens now"));
                if !was_shared {
                    warn_if_shared(output, gateway);
                }
            }
            Err(error) => output.note(format_args!(
                "the token file changed and cannot be used, so that the tokens before it stay in \
                 force: {}; {}",
                error.message(),
                error.advice()
            )),
        }
    }
}

/// Follows the token file, and keeps what was proven against servers. Never ends.
async fn keep_watch(
    output: Output,
    gateway: &Gateway,
    mut watched: Watched,
    evidence: Option<EvidenceFile>,
) {
    let mut suspected = BTreeSet::new();
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        watched.follow(output, gateway);
        let mut proofs = Vec::new();
        for (server, misbehaviour) in gateway.take_accused() {
            match misbehaviour {
                Misbehaviour::Proven(proof) => proofs.push(proof),
                Misbehaviour::Suspected(what) => {
                    if suspected.insert((server, what.kind())) {
                        let kind = what.kind();
                        output.detail(format_args!("server {server} sent something {kind}"));
                    }
                }
            }
        }
        for proof in &proofs {
            let (server, kind) = (proof.accused(), proof.kind());
            output.note(format_args!("server {server} is proven faulty: {kind}"));
        }
        match &evidence {
            _ if proofs.is_empty() => {}
            None => output.note("the proof is lost unless you name a file with --evidence"),
            Some(file) => match file.append(gateway.cluster_id(), gateway.plan(), &proofs) {
                Ok(()) => output.note(format_args!("the proof is in {}", file.path().display())),
                Err(error) => output.note(error.message()),
            },
        }
    }
}
