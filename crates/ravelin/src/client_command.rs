//! A command that talks to a cluster: from its arguments to an open connection, and back to an exit
//! code.
//!
//! **Guarantee:** a command ends within its timeout for each thing that it asks, and what it came
//! upon as proof of a server's misbehaviour is kept or at least mentioned.
//!
//! A session is opened when something must be ordered, and closed at the end. Reads go without one
//! while servers agree.

pub(crate) mod trouble;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ravelin_crypto::Keyring;
use ravelin_model::limits::CLIENT_PATIENCE;
use ravelin_model::requests::auth::AuthRequest;
use ravelin_model::wire::StatusReport;
use ravelin_model::{
    AuditHead, AuditRecord, ClusterId, Decode, Encode, Group, Misbehaviour, Operation,
    OperationResult, Position, PublicKey, Refusal, ReplicaId, ServiceId, SessionId, SignedPlan,
};
use ravelin_runtime::transport::TransportKey;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::OnceCell;
use zeroize::Zeroizing;

use crate::cli::Invocation;
use crate::client_settings::ClientSettings;
use crate::connection::{CallError, Connection, ConnectionConfig, Proven, Watch};
use crate::evidence_file::EvidenceFile;
use crate::exit::{Error, Exit, Result};
use crate::files::client::ClientFile;
use crate::files::disk;
use crate::files::key::KeyFile;
use crate::files::plan;
use crate::output::Output;
use crate::plan_source;

/// How long the end of a session is waited for: the result is there already.
const CLOSE_MAX: Duration = Duration::from_secs(1);

/// How long servers have to say that they refuse this client, when none proved anything to it.
const ADMISSION_MAX: Duration = Duration::from_secs(2);

/// How often all servers are asked for a page of the audit log, and how long to wait in between.
const AUDIT_ATTEMPTS: u32 = 3;
const AUDIT_PAUSE: Duration = Duration::from_millis(500);

/// With whose key a command speaks.
pub(crate) enum Speaker<'a> {
    /// The client's, which the client file names.
    Client,
    /// This one.
    Key(&'a KeyFile),
    /// Whoever: the client's if there is one.
    Anybody,
}

/// A cluster as a command sees it.
pub(crate) struct Client {
    connection: Connection,
    session: OnceCell<SessionId>,
    cluster: ClusterId,
    plan: SignedPlan,
    group: Group,
    public: PublicKey,
    timeout: Duration,
    output: Output,
}

/// Connects to the cluster in use and runs `task` on it.
pub(crate) fn run<T>(
    invocation: &Invocation,
    speaker: &Speaker<'_>,
    task: impl AsyncFnOnce(&Client) -> Result<T>,
) -> Result<T> {
    let settings = ClientSettings::load(invocation)?;
    let client = settings.cluster()?;
    let seed = match (speaker, &client.key) {
        (Speaker::Key(key), _) => key.seed.clone(),
        (Speaker::Client | Speaker::Anybody, Some(path)) => KeyFile::read(path)?.seed,
        (Speaker::Anybody, None) => Zeroizing::new(disk::random()?),
        (Speaker::Client, None) => return Err(no_key(&settings)),
    };
    let evidence = settings.evidence.as_deref().map(EvidenceFile::at).transpose()?;
    runtime()?.block_on(async {
        let public = TransportKey::from_seed(&seed).public_key();
        let config = connection_config(client, seed, settings.timeout).await?;
        let group = config.keyring.group();
        let connection = Connection::start(&config)
            .map_err(|error| Error::caused(Exit::Failed, error, "check the limit of open files"))?;
        let client = Client {
            connection,
            session: OnceCell::new(),
            cluster: client.fingerprint,
            plan: config.plan,
            group,
            public,
            timeout: settings.timeout,
            output: invocation.output,
        };
        let result = task(&client).await;
        client.end(evidence.as_ref()).await;
        result
    })
}

/// What a connection to the cluster that `client` names is made of, with this key.
pub(crate) async fn connection_config(
    client: &ClientFile,
    seed: Zeroizing<[u8; 32]>,
    timeout: Duration,
) -> Result<ConnectionConfig> {
    let key = TransportKey::from_seed(&seed);
    let plan = plan_source::find(client, &key, timeout).await?;
    let keyring = Keyring::new(client.fingerprint, &plan, plan::scheme()?)
        .map_err(|error| Error::caused(Exit::Usage, error, "`ravelin cluster show` judges it"))?;
    Ok(ConnectionConfig { plan, keyring, seed, patience: CLIENT_PATIENCE })
}

/// What drives a command.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::caused(Exit::Failed, error, "check the limit of open files"))
}

/// The client file in use names no key.
pub(crate) fn no_key(settings: &ClientSettings) -> Error {
    let file = settings.path().map(|path| path.display().to_string()).unwrap_or_default();
    let hint = "make one with `ravelin auth keygen`, have an administrator enroll it, and name it \
                as `key` in that file";
    Error::new(Exit::Denied, format!("{file} names no key to speak with"), hint)
}

impl Client {
    /// The cluster.
    pub(crate) fn cluster(&self) -> ClusterId {
        self.cluster
    }

    /// Its plan.
    pub(crate) fn plan(&self) -> &SignedPlan {
        &self.plan
    }

    /// Its size and resilience.
    pub(crate) fn group(&self) -> Group {
        self.group
    }

    /// The key that we speak with.
    pub(crate) fn public(&self) -> PublicKey {
        self.public
    }

    /// Where talk goes.
    pub(crate) fn output(&self) -> Output {
        self.output
    }

    /// How long each thing may take.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Reads: without ordering if enough servers agree, as one ordered operation if not.
    pub(crate) async fn read<R: Decode>(
        &self,
        service: ServiceId,
        request: &impl Encode,
    ) -> Result<R> {
        let request = request.encode();
        let fast = async {
            self.connection.connected_to_read(self.group).await;
            self.connection.read(service, request.clone()).await
        };
        let outcome = match self.within(fast).await {
            Err(Failure::Call(CallError::NoSession)) => {
                self.output.detail("the servers' replies differ or are late: the read is ordered");
                self.session().await?;
                self.within(self.connection.read(service, request)).await
            }
            outcome => outcome,
        };
        self.done(self.explained(outcome).await?)
    }

    /// Has one request ordered and executed.
    pub(crate) async fn order<R: Decode>(
        &self,
        service: ServiceId,
        request: &impl Encode,
    ) -> Result<R> {
        self.order_at(service, request).await.map(|(reply, _)| reply)
    }

    /// The same, with the request's place in the total order where enough servers name one.
    pub(crate) async fn order_at<R: Decode>(
        &self,
        service: ServiceId,
        request: &impl Encode,
    ) -> Result<(R, Option<Position>)> {
        self.session().await?;
        let operation = Operation { service, request: request.encode() };
        let voted = self.within(self.connection.submit(vec![operation])).await;
        match self.explained(voted).await?.into_iter().next() {
            Some(voted) => {
                let position = voted.place.map(|(position, _)| position);
                Ok((self.done(voted.outcome)?, position))
            }
            None => Err(trouble::senseless("an answer to nothing")),
        }
    }

    /// Has requests ordered in one envelope, and executed.
    pub(crate) async fn order_all(
        &self,
        operations: Vec<Operation>,
    ) -> Result<Vec<OperationResult>> {
        self.session().await?;
        let voted = self.within(self.connection.submit(operations)).await;
        Ok(self.explained(voted).await?.into_iter().map(|voted| voted.outcome).collect())
    }

    /// The session, opened when it is first asked for. Its id is the position where it began.
    pub(crate) async fn session(&self) -> Result<SessionId> {
        let open = || async {
            let opened = self.within(self.connection.open()).await;
            self.explained(opened).await
        };
        self.session.get_or_try_init(open).await.copied()
    }

    /// Reads an entry of a state that a quorum signed, by one server's word and its proof.
    pub(crate) async fn prove(&self, service: ServiceId, key: Vec<u8>) -> Result<Proven> {
        let proven = async {
            self.connection.connected(1).await;
            self.connection.prove(service, key).await
        };
        let proven = self.within(proven).await;
        if let Err(Failure::Call(CallError::NotProven)) = proven {
            self.check_admitted().await?;
        }
        self.explained(proven).await
    }

    /// Reads lists of the audit log that lead to `head`, with the head before them; `None` if no
    /// server shows any.
    pub(crate) async fn audit(
        &self,
        head: AuditHead,
    ) -> Result<Option<(AuditHead, Vec<AuditRecord>)>> {
        self.connection.connected(1).await;
        for _ in 0..AUDIT_ATTEMPTS {
            match self.within(self.connection.audit(head)).await {
                // They may have been busy.
                Err(Failure::Call(CallError::NotProven)) => tokio::time::sleep(AUDIT_PAUSE).await,
                outcome => return self.explained(outcome).await.map(Some),
            }
        }
        Ok(None)
    }

    /// An error if the cluster refuses this client: questions for proof pass over servers that do,
    /// while an order is refused in words.
    async fn check_admitted(&self) -> Result<()> {
        match tokio::time::timeout(ADMISSION_MAX, self.session()).await {
            Ok(Err(error)) if error.exit() == Exit::Denied => Err(error),
            _ => Ok(()),
        }
    }

    /// Returns once a quorum has shown that it still serves this client, however long that takes.
    ///
    /// # Errors
    /// It no longer does: the client is shut out, or the servers halted.
    pub(crate) async fn still_served(&self) -> Result<()> {
        let asked = self.connection.read(ServiceId::AUTH, AuthRequest::WhoAmI.encode()).await;
        let Err(failure) = asked else { return Ok(()) };
        self.check_refusal(match failure {
            CallError::Refused(refusal) => Some(refusal),
            CallError::Unanswered => self.connection.lost(),
            _ => None,
        })?;
        // Whatever the servers did not agree on, a session that opens shows that they serve.
        match self.connection.open().await {
            Err(CallError::Refused(refusal)) => self.check_refusal(Some(refusal)),
            _ => Ok(()),
        }
    }

    /// An error if it means that this client will not be served again.
    fn check_refusal(&self, refusal: Option<Refusal>) -> Result<()> {
        match refusal {
            Some(refusal @ (Refusal::UnknownClient | Refusal::Halted)) => {
                Err(trouble::refused(refusal, self.public))
            }
            _ => Ok(()),
        }
    }

    /// Waits until the servers that are connected are others than `known`, and says which they are.
    pub(crate) async fn others_than(&self, known: &BTreeSet<ReplicaId>) -> BTreeSet<ReplicaId> {
        self.connection.others_than(known).await
    }

    /// Follows changes of a service.
    pub(crate) async fn watch(
        &self,
        service: ServiceId,
        prefix: Vec<u8>,
        from: Position,
    ) -> Result<Watch> {
        let watch = self.within(self.connection.watch(service, prefix, from)).await;
        self.explained(watch).await
    }

    /// How each connected server sees itself and the others, as far as it answers soon.
    pub(crate) async fn reports(&self) -> Result<BTreeMap<ReplicaId, StatusReport>> {
        let reports = self.within(self.connection.status()).await;
        self.explained(reports).await
    }

    /// The servers that are connected now.
    pub(crate) fn servers(&self) -> BTreeSet<ReplicaId> {
        self.connection.servers()
    }

    async fn within<T>(
        &self,
        call: impl Future<Output = Result<T, CallError>>,
    ) -> Result<T, Failure> {
        match tokio::time::timeout(self.timeout, call).await {
            Ok(outcome) => outcome.map_err(Failure::Call),
            Err(_) => Err(Failure::Late),
        }
    }

    /// The reply of a service.
    pub(crate) fn done<R: Decode>(&self, outcome: OperationResult) -> Result<R> {
        match outcome {
            OperationResult::Done(reply) => R::decode("reply", &reply).map_err(trouble::senseless),
            OperationResult::Refused(refusal) => Err(trouble::refused(refusal, self.public)),
        }
    }

    /// Ends the session, and keeps what was proven against servers.
    async fn end(&self, evidence: Option<&EvidenceFile>) {
        if self.session.initialized() && self.servers().len() >= self.group.quorum() {
            // A session that was not closed ends by itself.
            let _ = tokio::time::timeout(CLOSE_MAX, self.connection.close()).await;
        }
        let mut proofs = Vec::new();
        for (server, misbehaviour) in self.connection.accused() {
            match misbehaviour {
                Misbehaviour::Proven(proof) => proofs.push(proof),
                Misbehaviour::Suspected(what) => {
                    let kind = what.kind();
                    self.output.detail(format_args!("server {server} sent something {kind}"));
                }
            }
        }
        for server in self.connection.contradicted() {
            self.output.note(format_args!(
                "server {server} told something else than what the others agree on; it was outvoted"
            ));
        }
        for proof in &proofs {
            let (server, kind) = (proof.accused(), proof.kind());
            self.output.note(format_args!("server {server} is proven faulty: {kind}"));
        }
        match evidence {
            _ if proofs.is_empty() => {}
            None => self.output.note("the proof is lost unless you name a file with --evidence"),
            Some(file) => match file.append(self.cluster, &self.plan, &proofs) {
                Ok(()) => {
                    self.output.note(format_args!("the proof is in {}", file.path().display()));
                }
                Err(error) => self.output.note(error.message()),
            },
        }
    }
}

/// Why something that was asked has no result.
enum Failure {
    /// Its time was over.
    Late,
    /// The connection says why.
    Call(CallError),
}

/// The signals by which somebody asks a command to end.
pub(crate) struct Interruption {
    interrupted: Signal,
    terminated: Signal,
}

impl Interruption {
    /// From here on these signals no longer kill the process.
    pub(crate) fn listen() -> Result<Self> {
        let listen = |kind| {
            signal(kind).map_err(|error| {
                Error::caused(Exit::Failed, error, "the system refused to report signals")
            })
        };
        Ok(Self {
            interrupted: listen(SignalKind::interrupt())?,
            terminated: listen(SignalKind::terminate())?,
        })
    }

    /// Waits for one of them, and says which.
    pub(crate) async fn next(&mut self) -> SignalKind {
        tokio::select! {
            _ = self.interrupted.recv() => SignalKind::interrupt(),
            _ = self.terminated.recv() => SignalKind::terminate(),
        }
    }

    /// How a command ends that was interrupted.
    pub(crate) fn error(what: &str) -> Error {
        Error::new(Exit::Interrupted, format!("interrupted: {what}"), "run it again to go on")
    }
}
