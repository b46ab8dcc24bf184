//! One token's client of the cluster: what it asks, and what enough servers answered.
//!
//! **Guarantee:** what comes out is what the correct replicas computed; every question ends within
//! the time that the caller gives it. A change is sent once: if its answer is missed, the caller is
//! told so, and not that it failed.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ravelin_client::Misuse;
use ravelin_crypto::Keyring;
use ravelin_model::limits::CLIENT_PATIENCE;
use ravelin_model::requests::auth::{AuthReply, AuthRequest};
use ravelin_model::requests::kv::{KvReply, KvRequest};
use ravelin_model::wire::StatusReport;
use ravelin_model::{
    Decode, Encode, Group, Operation, OperationResult, Position, PublicKey, Refusal, ReplicaId,
    ServiceId, SessionId, SignedPlan,
};
use tokio::sync::{Mutex, Semaphore, watch};

use crate::connection::{CallError, Connection, ConnectionConfig, Proven, Watch};
use crate::limits::{
    DIAGNOSIS_MAX, REQUESTS_PER_TOKEN_MAX, SESSION_RENEW_AFTER, STREAMS_PER_TOKEN_MAX,
};
use crate::problem::{Code, Problem};
use crate::tokens::Bearer;

/// Pause between two looks whether an opening that somebody else began is through.
const OPENING_PAUSE: Duration = Duration::from_millis(20);
/// How long the end of an old session is waited for.
const CLOSE_MAX: Duration = Duration::from_secs(1);

/// A cluster, as gateways know it.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// The plan in force, checked.
    pub plan: SignedPlan,
    /// The epoch's keys.
    pub keyring: Keyring,
}

/// A token's client of the cluster.
pub(crate) struct Customer {
    connection: Connection,
    group: Group,
    public: PublicKey,
    /// Held while a session is opened; when it was last used.
    session: Mutex<Instant>,
    /// The newest position that an answer told of.
    seen: AtomicU64,
    /// Room for requests.
    pub(crate) requests: Arc<Semaphore>,
    /// Room for streams of changes.
    pub(crate) streams: Arc<Semaphore>,
    dismissed: watch::Sender<Option<Dismissal>>,
}

/// Why what goes on under a token must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dismissal {
    /// The token is no more.
    Removed,
    /// The gateway stops.
    Stopped,
}

impl Customer {
    /// Connects; nothing is sent yet.
    pub(crate) fn start(cluster: &Cluster, bearer: &Bearer) -> io::Result<Self> {
        let config = ConnectionConfig {
            plan: cluster.plan.clone(),
            keyring: cluster.keyring.clone(),
            seed: bearer.seed.clone(),
            patience: CLIENT_PATIENCE,
        };
        Ok(Self {
            connection: Connection::start(&config)?,
            group: cluster.keyring.group(),
            public: bearer.public(),
            session: Mutex::new(Instant::now()),
            seen: AtomicU64::new(0),
            requests: Arc::new(Semaphore::new(REQUESTS_PER_TOKEN_MAX)),
            streams: Arc::new(Semaphore::new(STREAMS_PER_TOKEN_MAX)),
            dismissed: watch::channel(None).0,
        })
    }

    /// The key that it speaks with.
    pub(crate) fn public(&self) -> PublicKey {
        self.public
    }

    /// The connection, for what it came upon against servers.
    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Ends what goes on under the token.
    pub(crate) fn dismiss(&self, why: Dismissal) {
        self.dismissed.send_replace(Some(why));
    }

    /// Waits until what goes on must end, and says why.
    pub(crate) async fn dismissed(&self) -> Dismissal {
        let mut dismissed = self.dismissed.subscribe();
        match dismissed.wait_for(Option::is_some).await.map(|why| *why) {
            Ok(Some(why)) => why,
            _ => std::future::pending().await, // the sender lives as long as we do
        }
    }

    /// Every answer that was given reflects everything up to here.
    pub(crate) fn seen(&self) -> Position {
        Position(self.seen.load(Ordering::Relaxed))
    }

    /// Takes it that an answer told of this position.
    pub(crate) fn see(&self, position: Position) {
        self.seen.fetch_max(position.0, Ordering::Relaxed);
    }

    /// Reads: without ordering if enough servers agree, as one ordered operation if not.
    pub(crate) async fn read<R: Decode>(
        &self,
        service: ServiceId,
        request: &impl Encode,
    ) -> Result<R, Problem> {
        self.check_believed()?;
        let request = request.encode();
        self.connection.connected_to_read(self.group).await;
        let outcome = match self.connection.read(service, request.clone()).await {
            Err(CallError::NoSession) => {
                self.session().await?;
                self.connection.read(service, request).await
            }
            outcome => outcome,
        };
        self.done(outcome.map_err(|failure| self.problem(failure))?)
    }

    /// Has one request ordered and executed, and says where if enough servers name one place.
    pub(crate) async fn order<R: Decode>(
        &self,
        service: ServiceId,
        request: &impl Encode,
    ) -> Result<(R, Option<Position>), Problem> {
        self.check_believed()?;
        self.session().await?;
        let operation = Operation { service, request: request.encode() };
        let voted = self.connection.submit(vec![operation]).await;
        let voted = voted.map_err(|failure| self.problem(failure))?;
        let Some(voted) = voted.into_iter().next() else {
            return Err(Problem::senseless("an answer to nothing"));
        };
        let place = voted.place.map(|(position, _)| position);
        if let Some(position) = place {
            self.see(position);
        }
        Ok((self.done(voted.outcome)?, place))
    }

    /// Reads an entry of a state that a quorum signed, by one server's word and its proof.
    pub(crate) async fn prove(&self, service: ServiceId, key: Vec<u8>) -> Result<Proven, Problem> {
        self.check_believed()?;
        self.connection.connected(1).await;
        match self.connection.prove(service, key).await {
            Ok(proven) => Ok(proven),
            Err(CallError::NotProven) => {
                // Servers that refuse this client are passed over by questions for proof.
                self.check_served().await?;
                Err(self.unproven())
            }
            Err(failure) => Err(self.problem(failure)),
        }
    }

    /// A position that has not passed yet: what changes from now on changes there or later.
    pub(crate) async fn now(&self) -> Result<Position, Problem> {
        let question = KvRequest::LockShow { name: vec![0] };
        let (_, place) = self.order::<KvReply>(ServiceId::KV, &question).await?;
        let nowhere = || {
            let hint = "try again, or name the position to begin from";
            Problem::new(Code::NoQuorum, "the servers do not agree on a position", hint)
        };
        Ok(Position(place.ok_or_else(nowhere)?.0 + 1))
    }

    /// A problem unless a quorum shows that it serves this client.
    pub(crate) async fn check_served(&self) -> Result<(), Problem> {
        self.read::<AuthReply>(ServiceId::AUTH, &AuthRequest::WhoAmI).await.map(drop)
    }

    /// Follows the changes of keys that begin with `prefix`.
    pub(crate) async fn watch(
        &self,
        service: ServiceId,
        prefix: Vec<u8>,
        from: Position,
    ) -> Result<Watch, Problem> {
        let watch = self.connection.watch(service, prefix, from).await;
        watch.map_err(|failure| self.problem(failure))
    }

    /// How each connected server sees itself and the others, as far as it answers soon.
    pub(crate) async fn reports(&self) -> Result<BTreeMap<ReplicaId, StatusReport>, Problem> {
        self.connection.status().await.map_err(|failure| self.problem(failure))
    }

    /// Too few servers answered alike for as long as we `waited`: what can be said about it.
    /// `is_change`: a change may have been sent.
    pub(crate) async fn silence(&self, waited: Duration, is_change: bool) -> Problem {
        let asked = tokio::time::timeout(DIAGNOSIS_MAX, self.connection.status()).await;
        let reports = asked.ok().and_then(Result::ok).unwrap_or_default();
        let halted = reports.values().filter(|report| report.state == "fail_safe").count();
        if halted >= self.group.one_correct() {
            return Problem::halted(format!("{halted} of {} servers halted", self.group.size()));
        }
        let (liars, tolerated) = (self.liars().len(), self.group.faults());
        if liars > tolerated {
            let detail =
                format!("{liars} servers contradict the others, {tolerated} are tolerated");
            let hint = "believe nothing from this cluster until its administrators looked at it";
            return Problem::new(Code::VerificationFailed, detail, hint);
        }
        let (size, needed, answering) = (self.group.size(), self.group.quorum(), reports.len());
        let detail = if answering < needed {
            format!(
                "no quorum within {waited:?}: {answering} of {size} servers answer, {needed} must agree"
            )
        } else {
            format!(
                "no quorum within {waited:?}: fewer than {needed} of {size} servers answered alike"
            )
        };
        // Without a session nothing was sent that could change anything.
        let session = tokio::time::timeout(DIAGNOSIS_MAX, self.connection.session()).await;
        let may = is_change && matches!(session, Ok(Ok(Some(_))));
        let hint = if may {
            "the change may still be made: read first, and only then try again; a condition makes \
             repeating safe"
        } else {
            "nothing was changed; look at /v1/status, and try again"
        };
        Problem::new(Code::NoQuorum, detail, hint).may_take_effect(may)
    }

    /// The session, opened if there is none, and replaced if it was not used for long.
    async fn session(&self) -> Result<SessionId, Problem> {
        let mut used = self.session.lock().await;
        let failed = |failure| self.problem(failure);
        if used.elapsed() > SESSION_RENEW_AFTER
            && self.connection.session().await.map_err(failed)?.is_some()
        {
            // A session that was not closed ends by itself.
            let _ = tokio::time::timeout(CLOSE_MAX, self.connection.close()).await;
        }
        *used = Instant::now();
        loop {
            if let Some(session) = self.connection.session().await.map_err(failed)? {
                return Ok(session);
            }
            match self.connection.open().await {
                // Whoever began to open it gave up waiting; the opening goes on.
                Err(CallError::Misuse(Misuse::NotIdle)) => tokio::time::sleep(OPENING_PAUSE).await,
                Ok(session) => return Ok(session),
                Err(failure) => return Err(self.problem(failure)),
            }
        }
    }

    /// Refuses to believe servers of which more are intruded than tolerated.
    fn check_believed(&self) -> Result<(), Problem> {
        match self.connection.lost() {
            Some(Refusal::Halted) => Err(Problem::refused(Refusal::Halted, self.public)),
            _ => Ok(()),
        }
    }

    /// The reply of a service.
    fn done<R: Decode>(&self, outcome: OperationResult) -> Result<R, Problem> {
        match outcome {
            OperationResult::Done(reply) => {
                R::decode("reply", &reply).map_err(|error| Problem::senseless(error.to_string()))
            }
            OperationResult::Refused(refusal) => Err(Problem::refused(refusal, self.public)),
        }
    }

    fn problem(&self, failure: CallError) -> Problem {
        match failure {
            CallError::Refused(refusal) => Problem::refused(refusal, self.public),
            CallError::Unanswered => match self.connection.lost() {
                Some(Refusal::UnknownClient) => {
                    Problem::refused(Refusal::UnknownClient, self.public)
                }
                Some(Refusal::Halted) => Problem::refused(Refusal::Halted, self.public),
                _ => Problem::new(
                    Code::OutcomeUnknown,
                    "the session ended before the answer came",
                    "look whether it was done, then repeat",
                )
                .may_take_effect(true),
            },
            CallError::Misuse(
                misuse @ (Misuse::TooLarge { .. } | Misuse::OperationCount { .. }),
            ) => Problem::new(Code::TooLarge, misuse.to_string(), "send less at once"),
            CallError::Misuse(misuse @ Misuse::TooMany { .. }) => {
                Problem::new(Code::Busy, misuse.to_string(), "end some of them, or try again soon")
            }
            CallError::Misuse(misuse) => Problem::new(
                Code::NoQuorum,
                misuse.to_string(),
                "nothing was changed; try again soon",
            ),
            CallError::NoSession => Problem::new(
                Code::NoQuorum,
                "the servers do not agree on a reply, and the session has ended",
                "nothing was changed; try again soon",
            ),
            CallError::NotProven => self.unproven(),
        }
    }

    /// No server could prove an entry.
    fn unproven(&self) -> Problem {
        let liars = self.liars();
        if liars.is_empty() {
            let detail = "no server has a state yet that a quorum signed";
            return Problem::new(Code::NoQuorum, detail, "try again soon, or without stale_ok");
        }
        let detail = "no server showed a proof that holds, and some showed wrong ones";
        Problem::new(Code::VerificationFailed, detail, "read without stale_ok, by a quorum's word")
    }

    /// Servers that told or did what no correct one does.
    fn liars(&self) -> BTreeSet<ReplicaId> {
        let accused = self.connection.accused().into_iter().map(|(server, _)| server);
        accused.chain(self.connection.contradicted()).collect()
    }
}
