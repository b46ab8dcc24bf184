//! A core with its clients, without a process: calls go in by hand and the clock moves by hand.

use std::cell::{RefCell, RefMut};
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;

use ravelin_wormhole::attestation::{
    Attestation, ClusterId, Counter, CounterValue, Digest, Epoch, Peer, ReplicaId, RollbackProof,
};
use ravelin_wormhole::client::{CallError, Channel, Client, HelloError};
use ravelin_wormhole::core::{
    CONNECTIONS, Config, Core, Counters, Input, Lease, Nanos, Output, Outputs, Rights, Seed,
};
use ravelin_wormhole::frame::{AttestCall, Call, Frame, Refusal};
use ravelin_wormhole::keys::{InstanceSecret, Keys, ProvisionedKey};
use zeroize::Zeroizing;

pub(crate) const CLUSTER: ClusterId = ClusterId([7; 32]);
pub(crate) const REPLICA: ReplicaId = ReplicaId(2);

/// A core and all that went in and out.
pub(crate) struct World {
    pub(crate) core: Core,
    pub(crate) now: Nanos,
    /// Frames in the order in which they were sent.
    pub(crate) calls: Vec<Frame>,
    /// Frames in the order in which they were answered.
    pub(crate) answers: Vec<Frame>,
    /// What the core asked of the world, answers included.
    pub(crate) outputs: Vec<Output>,
    /// What the host does to answers on their way.
    pub(crate) tamper: Option<Tamper>,
    /// Whether answers come later than the clients wait.
    pub(crate) is_slow: bool,
}

/// What a host does to an answer.
pub(crate) type Tamper = Box<dyn Fn(&mut Frame)>;

/// What a host starts with.
pub(crate) struct Start {
    pub(crate) secret: u8,
    pub(crate) seed: u8,
    pub(crate) rollback_proof: RollbackProof,
    pub(crate) lease: Lease,
    pub(crate) resumed: Option<Counters>,
    pub(crate) rights: [Rights; CONNECTIONS],
}

impl Default for Start {
    fn default() -> Self {
        Self {
            secret: 1,
            seed: 1,
            rollback_proof: RollbackProof::Absent,
            lease: Lease::Run,
            resumed: None,
            rights: Rights::BY_DEFAULT,
        }
    }
}

/// A handle on the world, to copy.
#[derive(Clone)]
pub(crate) struct Host(Rc<RefCell<World>>);

pub(crate) fn provisioned() -> ProvisionedKey {
    ProvisionedKey::from_seed(&[9; 32])
}

/// What the plan says of the wormhole under test.
pub(crate) fn peer() -> Peer {
    Peer { cluster: CLUSTER, replica: REPLICA, provisioned: provisioned().id() }
}

pub(crate) fn core(start: Start) -> Core {
    let secret = InstanceSecret([start.secret; 32]);
    let keys = Keys::new(provisioned(), &secret, (CLUSTER, REPLICA), start.rollback_proof);
    let config = Config { lease: start.lease, protections: 0b101, rights: start.rights };
    Core::new(config, keys, Seed([start.seed; 32]), start.resumed)
}

impl Host {
    pub(crate) fn new() -> Self {
        Self::start(Start::default())
    }

    pub(crate) fn start(start: Start) -> Self {
        Self(Rc::new(RefCell::new(World {
            core: core(start),
            now: Nanos(0),
            calls: Vec::new(),
            answers: Vec::new(),
            outputs: Vec::new(),
            tamper: None,
            is_slow: false,
        })))
    }

    pub(crate) fn world(&self) -> RefMut<'_, World> {
        self.0.borrow_mut()
    }

    /// One step at the present time; gives the answer, if there was one.
    pub(crate) fn step(&self, input: Input<'_>) -> Option<Frame> {
        let world = &mut *self.world();
        let mut out = Outputs::new();
        world.core.step(world.now, input, &mut out);
        world.outputs.extend(out.iter().copied());
        let answer = out.iter().find_map(|output| match output {
            Output::Answer { frame, .. } => Some(*frame),
            _ => None,
        });
        world.answers.extend(answer);
        answer
    }

    pub(crate) fn send(&self, connection: u8, frame: &Frame) -> Frame {
        self.step(Input::Call { connection, frame }).expect("every call is answered")
    }

    /// From now on the host does this to answers on their way to the clients.
    pub(crate) fn tamper(&self, tamper: impl Fn(&mut Frame) + 'static) {
        self.world().tamper = Some(Box::new(tamper));
    }

    /// Lets time pass without telling the core.
    pub(crate) fn sleep(&self, span: Nanos) {
        let mut world = self.world();
        world.now = world.now.after(span);
    }

    /// Lets time pass, and tells the core.
    pub(crate) fn wake_at(&self, now: Nanos) {
        self.world().now = now;
        self.step(Input::Time);
    }

    pub(crate) fn client(&self, connection: u8) -> Client<Wire> {
        self.try_client(connection).expect("the wormhole welcomes")
    }

    pub(crate) fn try_client(&self, connection: u8) -> Result<Client<Wire>, HelloError> {
        let entropy = u8::try_from(self.world().calls.len() % 251).expect("below 251");
        self.hello(connection, &peer(), entropy)
    }

    pub(crate) fn hello(
        &self,
        connection: u8,
        wormhole: &Peer,
        entropy: u8,
    ) -> Result<Client<Wire>, HelloError> {
        Client::hello(self.wire(connection), wormhole, &Zeroizing::new([entropy; 32]))
    }

    pub(crate) fn wire(&self, connection: u8) -> Wire {
        Wire { host: self.clone(), connection, answers: VecDeque::new() }
    }

    pub(crate) fn last_call(&self) -> Frame {
        *self.world().calls.last().expect("something was called")
    }

    /// The counters as a store would keep them.
    pub(crate) fn stored(&self) -> [u8; Counters::BYTES] {
        self.world().core.counters().to_bytes()
    }
}

/// A client's channel to the host's core.
pub(crate) struct Wire {
    host: Host,
    connection: u8,
    answers: VecDeque<Frame>,
}

impl Wire {
    /// A frame comes that nobody sends now.
    pub(crate) fn arrives(&mut self, frame: Frame) {
        self.answers.push_back(frame);
    }
}

impl Channel for Wire {
    fn send(&mut self, frame: &Frame) -> io::Result<()> {
        self.host.world().calls.push(*frame);
        let mut answer = self.host.send(self.connection, frame);
        if let Some(tamper) = &self.host.world().tamper {
            tamper(&mut answer);
        }
        self.answers.push_back(answer);
        Ok(())
    }

    fn receive(&mut self) -> io::Result<Frame> {
        if self.host.world().is_slow {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.answers.pop_front().ok_or_else(|| io::ErrorKind::WouldBlock.into())
    }
}

/// A wish for the ordering counter.
pub(crate) fn wish(epoch: u64, old: u64, new: u64, digest: u8) -> AttestCall {
    AttestCall {
        counter: Counter::Ordering,
        epoch: Epoch(epoch),
        expected_old: CounterValue(old),
        new: CounterValue(new),
        digest: Digest([digest; 32]),
    }
}

/// What the wormhole says to a wish.
pub(crate) fn attest(client: &mut Client<Wire>, wish: AttestCall) -> Result<Attestation, Refusal> {
    refusal(client.attest(wish))
}

/// An authentic refusal, or success.
pub(crate) fn refusal<T>(result: Result<T, CallError>) -> Result<T, Refusal> {
    result.map_err(|error| match error {
        CallError::Refused(refusal) => refusal,
        other => panic!("no authentic answer: {other:?}"),
    })
}

/// Whether a frame has a MAC.
pub(crate) fn has_mac(frame: &Frame) -> bool {
    frame[480..] != [0; 32]
}

/// A call that costs little and changes no counter.
pub(crate) const CHEAP: Call = Call::Random;

/// An entity that keeps to the handshake and to nothing else: it seals whatever it likes. Written
/// from the description of the protocol, not from the client.
pub(crate) struct Insider {
    pub(crate) eid: [u8; 8],
    pub(crate) sequence: u64,
    calls: [u8; 32],
    answers: [u8; 32],
}

impl Insider {
    /// Says hello through `send`; none if nobody welcomes.
    pub(crate) fn hello(entropy: [u8; 32], send: impl FnOnce(&Frame) -> Frame) -> Option<Self> {
        let secret = x25519_dalek::StaticSecret::from(entropy);
        let public = x25519_dalek::PublicKey::from(&secret).to_bytes();
        let mut frame = [0; 512];
        frame[0] = 1; // version
        frame[1] = 1; // hello
        frame[20..52].copy_from_slice(&public);
        frame[52..84].copy_from_slice(&entropy); // any challenge
        let answer = send(&frame);
        if answer[..4] != [1, 1, 0, 0] {
            return None;
        }
        let eid: [u8; 8] = answer[20..28].try_into().unwrap();
        let wormhole: [u8; 32] = answer[28..60].try_into().unwrap();
        let shared = secret.diffie_hellman(&wormhole.into());
        let key = |context| {
            let mut hasher = blake3::Hasher::new_derive_key(context);
            hasher.update(shared.as_bytes()).update(&public).update(&wormhole).update(&entropy);
            hasher.update(&eid).update(&answer[124..255]); // after the signature: the certificate
            *hasher.finalize().as_bytes()
        };
        let (calls, answers) =
            (key("ravelin wormhole calls v1"), key("ravelin wormhole answers v1"));
        Some(Self { eid, sequence: 0, calls, answers })
    }

    /// Makes the frame this entity's next, whatever it says.
    pub(crate) fn seal(&mut self, frame: &mut Frame) {
        self.sequence += 1;
        frame[4..12].copy_from_slice(&self.eid);
        frame[12..20].copy_from_slice(&self.sequence.to_le_bytes());
        let mac = blake3::keyed_hash(&self.calls, &frame[..480]);
        frame[480..].copy_from_slice(mac.as_bytes());
    }

    /// Whether the answer is authentic, and to the last call.
    pub(crate) fn is_answered_by(&self, frame: &Frame) -> bool {
        frame[4..12] == self.eid
            && frame[12..20] == self.sequence.to_le_bytes()
            && frame[480..] == *blake3::keyed_hash(&self.answers, &frame[..480]).as_bytes()
    }
}
