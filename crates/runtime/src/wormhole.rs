//! The wormhole of this host: started with its server, called for each block.
//!
//! **Guarantee:** a [`LocalWormhole`] is the one that the plan names for this member: its provisioned
//! key signed the greeting and the certificate of the instance that answers. What it attests is signed by
//! that instance; after an answer that was lost, what it did is found out before anything is asked anew.
//!
//! The wormhole ends by itself once nobody here has a connection to it any more.
//!
//! # Source
//! The paper, section 7.5: the payload calls its local TTCB, and trusts what that says.

mod monitor;

pub use monitor::{Monitor, View};

use std::io;
use std::os::fd::OwnedFd;
use std::process::Child;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ravelin_model::{
    BlockHeader, ClusterId, Digest, Epoch, InstanceCertificate, LastAttested, NotAttested,
    PublicKey, ReplicaId, Round, SharedWormhole, Signature, Wormhole,
};
use ravelin_wormhole::attestation::{self, Attestation, Counter, CounterValue, Peer};
use ravelin_wormhole::client::{ANSWER_TIME_MAX, CallError, Client, HelloError, SeqPacket};
use ravelin_wormhole::frame::{AttestCall, Refusal};
use ravelin_wormhole::launcher::{Launch, LaunchError, Launched};
use rustix::rand::{GetRandomFlags, getrandom};
use zeroize::Zeroizing;

/// Longest wait for a wormhole that writes to no hardware counter.
pub const QUICK_ANSWER_MAX: Duration = Duration::from_secs(10);
/// How often a start is tried: a wormhole whose server was killed a moment ago may not have let go of
/// its state directory yet.
pub const STARTS_MAX: u32 = 6;
/// The pause before the second start; each later one is twice as long.
const START_PAUSE: Duration = Duration::from_millis(50);
/// How long a block waits for a wormhole that was asked for more than its share.
pub const BUSY_MAX: Duration = Duration::from_secs(1);
/// The time between two questions meanwhile.
const BUSY_PAUSE: Duration = Duration::from_millis(2);

/// A wormhole that was started on this host, and what there is to it.
pub struct Started {
    /// To call it. Its process ends with the last copy of this and the monitor.
    pub wormhole: LocalWormhole,
    /// To look at it, if it was launched with a second connection.
    pub monitor: Option<Monitor>,
    /// Its process.
    pub process: Child,
}

/// A wormhole that was started on this host, and answers.
#[derive(Clone)]
pub struct LocalWormhole(Arc<Mutex<Session>>);

impl LocalWormhole {
    /// Starts it for the member that `launch` names, and checks that it is the one with this
    /// `provisioned` key.
    ///
    /// `answer_max`: how long an answer is waited for; [`answer_max`] says what suits `launch`.
    ///
    /// To be called before other threads run: see [`ravelin_wormhole::launcher`].
    ///
    /// # Errors
    /// [`StartError`]
    pub fn start(
        launch: &Launch,
        provisioned: PublicKey,
        answer_max: Duration,
    ) -> Result<Started, StartError> {
        let (cluster, replica) = launch.member;
        let provisioned = attestation::ProvisionedId(provisioned.0);
        let peer = Peer { cluster, replica, provisioned };
        let mut pause = START_PAUSE;
        for _ in 1..STARTS_MAX {
            match start_once(launch, peer, answer_max) {
                Err(StartError::Hello(HelloError::Channel(error))) if is_gone(&error) => {
                    std::thread::sleep(pause);
                    pause *= 2;
                }
                started => return started,
            }
        }
        start_once(launch, peer, answer_max)
    }

    /// The wormhole as a replica calls it, the certificate of its instance, and what that attested last
    /// of this member's blocks: asked now.
    ///
    /// # Errors
    /// [`CallError`]: it stopped.
    pub fn presented(
        &self,
    ) -> Result<(SharedWormhole, InstanceCertificate, Option<LastAttested>), CallError> {
        let mut session = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let last = match session.client.last(Counter::Ordering) {
            Ok(last) => last,
            Err(CallError::Refused(refusal)) => return Err(CallError::Refused(refusal)),
            Err(_) => {
                session.greet_again()?;
                session.client.last(Counter::Ordering)?
            }
        };
        let certificate = certificate_of(session.client.certificate());
        drop(session);
        let shared: SharedWormhole = self.0.clone();
        Ok((shared, certificate, last.as_ref().map(last_of)))
    }
}

/// How long an answer of a wormhole that is started so may take.
#[must_use]
pub fn answer_max(launch: &Launch) -> Duration {
    if launch.store.is_some() { ANSWER_TIME_MAX } else { QUICK_ANSWER_MAX }
}

/// A session with the wormhole, and what another one with it needs.
struct Session {
    client: Client<SeqPacket>,
    end: OwnedFd,
    peer: Peer,
    answer_max: Duration,
}

fn start_once(launch: &Launch, peer: Peer, answer_max: Duration) -> Result<Started, StartError> {
    let Launched { mut process, ends } = launch.start()?;
    match greet_all(ends, peer, answer_max) {
        Ok((session, monitor)) => {
            let wormhole = LocalWormhole(Arc::new(Mutex::new(session)));
            Ok(Started { wormhole, monitor, process })
        }
        Err(error) => {
            // Whatever it is, nobody has a use for it; both do nothing to one that has ended.
            let _ = process.kill();
            let _ = process.wait();
            Err(error.into())
        }
    }
}

/// Says hello over the first connection, which alone may attest, and over a second one if there is one.
fn greet_all(
    ends: Vec<OwnedFd>,
    peer: Peer,
    answer_max: Duration,
) -> Result<(Session, Option<Monitor>), HelloError> {
    let mut ends = ends.into_iter();
    let end = ends.next().ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected))?;
    let client = greet(&end, &peer, answer_max)?;
    let monitor = ends.next().map(|end| Monitor::new(end, peer, answer_max)).transpose()?;
    Ok((Session { client, end, peer, answer_max }, monitor))
}

/// Says hello over another descriptor of the same connection, so that it can be said again.
pub(crate) fn greet(
    end: &OwnedFd,
    peer: &Peer,
    answer_max: Duration,
) -> Result<Client<SeqPacket>, HelloError> {
    let mut entropy = Zeroizing::new([0; 32]);
    let drawn = getrandom(&mut entropy[..], GetRandomFlags::empty()).map_err(io::Error::from)?;
    if drawn != entropy.len() {
        return Err(HelloError::Channel(io::ErrorKind::UnexpectedEof.into()));
    }
    let channel = SeqPacket::new(end.try_clone()?).with_time_max(answer_max);
    Client::hello(channel, peer, &entropy)
}

/// Whether the process at the other end has ended.
fn is_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof)
}

impl Session {
    /// Says hello again, after a call of which nothing is known.
    fn greet_again(&mut self) -> Result<(), CallError> {
        let before = *self.client.certificate();
        let client = greet(&self.end, &self.peer, self.answer_max).map_err(greeted_again)?;
        if *client.certificate() != before {
            return Err(CallError::NotAuthentic(None));
        }
        self.client = client;
        Ok(())
    }

    /// Attests, waiting a little where too much was asked for.
    fn attest_in_time(&mut self, call: AttestCall) -> Result<Attestation, CallError> {
        let begun = Instant::now();
        loop {
            match self.client.attest(call) {
                Err(CallError::Refused(Refusal::NoResources { .. }))
                    if begun.elapsed() < BUSY_MAX =>
                {
                    std::thread::sleep(BUSY_PAUSE);
                }
                answer => return answer,
            }
        }
    }

    /// Attests; where the answer was lost, asks first what became of the call.
    fn attest_surely(&mut self, call: AttestCall) -> Result<Attestation, CallError> {
        match self.attest_in_time(call) {
            Err(CallError::Refused(refusal)) => Err(CallError::Refused(refusal)),
            Err(_) => {
                self.greet_again()?;
                match self.client.last(Counter::Ordering)? {
                    Some(last) if is_answer(&last, &call) => Ok(last),
                    _ => self.attest_in_time(call),
                }
            }
            done => done,
        }
    }
}

/// Why nothing can be called after a first session.
fn greeted_again(error: HelloError) -> CallError {
    match error {
        HelloError::Channel(error) => CallError::Channel(error),
        HelloError::Refused(refusal) => CallError::NotAuthentic(Some(refusal)),
        HelloError::NoWelcome | HelloError::Forged(_) => CallError::NotAuthentic(None),
    }
}

/// Whether `last` is what `call` asked for.
fn is_answer(last: &Attestation, call: &AttestCall) -> bool {
    let stated = &last.statement;
    (stated.epoch, stated.old, stated.new, stated.digest)
        == (call.epoch, call.expected_old, call.new, call.digest)
}

impl Wormhole for Session {
    fn attest(&mut self, header: &BlockHeader) -> Result<Signature, NotAttested> {
        if header.previous >= header.reference.round {
            return Err(NotAttested::Counter); // no value at all; not even a frame can say it
        }
        let call = AttestCall {
            counter: Counter::Ordering,
            epoch: attestation::Epoch(header.epoch.0),
            expected_old: CounterValue(header.previous.0),
            new: CounterValue(header.reference.round.0),
            digest: attestation::Digest(header.reference.digest.0),
        };
        match self.attest_surely(call) {
            Ok(attestation) => Ok(Signature(attestation.signature.0)),
            Err(CallError::Refused(Refusal::Conflict | Refusal::Exhausted)) => {
                Err(NotAttested::Counter)
            }
            Err(error) => Err(NotAttested::Gone(in_words(&error))),
        }
    }
}

fn in_words(error: &CallError) -> String {
    match error {
        CallError::Channel(cause) => format!("{error}: {cause}"),
        _ => error.to_string(),
    }
}

/// The model's word for a certificate, which [`Peer::check_certificate`] accepted.
#[must_use]
pub fn certificate_of(certificate: &attestation::InstanceCertificate) -> InstanceCertificate {
    InstanceCertificate {
        instance: PublicKey(certificate.identity.instance.0),
        is_rollback_proof: certificate.rollback_proof == attestation::RollbackProof::Present,
        signature: Signature(certificate.signature.0),
    }
}

/// The wormhole's words for a member.
#[must_use]
pub fn member_of(
    cluster: ClusterId,
    replica: ReplicaId,
) -> (attestation::ClusterId, attestation::ReplicaId) {
    (attestation::ClusterId(cluster.0.0), attestation::ReplicaId(replica.0))
}

fn last_of(last: &Attestation) -> LastAttested {
    let stated = &last.statement;
    LastAttested {
        epoch: Epoch(stated.epoch.0),
        previous: Round(stated.old.0),
        round: Round(stated.new.0),
        digest: Digest(stated.digest.0),
        signature: Signature(last.signature.0),
    }
}

/// Why a server has no wormhole.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its process could not be started.
    #[error("cannot start the wormhole")]
    Launch(#[from] LaunchError),
    /// It does not answer, or is another.
    #[error("the wormhole does not present itself as the plan's")]
    Hello(#[from] HelloError),
}
