//! A wormhole by rounds, alone in its cluster, and frames at its real control socket right before a step.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::UdpSocket;
use std::rc::Rc;
use std::thread::sleep;

use zeroize::Zeroizing;

use super::*;
use crate::attestation::{ClusterId, Peer, ReplicaId};
use crate::client::{Channel, Client};
use crate::core::{Member, REAL_TIME_BOUND_MAX};
use crate::frame::{Agreement, DecisionFunction, Progress, Tag};
use crate::keys::ProvisionedKey;

const MEMBER: (ClusterId, ReplicaId) = (ClusterId([7; 32]), ReplicaId(2));
const BOUND: Nanos = REAL_TIME_BOUND_MAX;
/// From a proposal until the latest start.
const AHEAD: Nanos = Nanos::from_millis(20);
/// So many frames find room at a socket, and so many do not.
const FEW: usize = 100;
const MANY: usize = 5_000;

/// The service, its doors, and who sends to its control channel.
struct World {
    service: Rc<RefCell<Service>>,
    doors: Doors,
    sender: UdpSocket,
    client: Client<Wire>,
    _signals: OwnedFd,
}

/// Calls the core without a socket.
struct Wire {
    service: Rc<RefCell<Service>>,
    answers: VecDeque<Frame>,
}

impl Channel for Wire {
    fn send(&mut self, frame: &Frame) -> io::Result<()> {
        let service = &mut *self.service.borrow_mut();
        service.core.step(
            service.now(),
            Input::Call { connection: 0, frame },
            &mut service.outputs,
        );
        for output in service.outputs.iter() {
            if let Output::Answer { frame, .. } = output {
                self.answers.push_back(*frame);
            }
        }
        Ok(())
    }

    fn receive(&mut self) -> io::Result<Frame> {
        self.answers.pop_front().ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

fn service() -> (Service, Peer) {
    let key = ProvisionedKey::from_seed(&[9; 32]);
    let provisioned = key.id();
    let peer = Peer { cluster: MEMBER.0, replica: MEMBER.1, provisioned };
    let keys = Keys::new(key, &InstanceSecret([1; 32]), MEMBER, RollbackProof::Absent);
    let config = Config { lease: Lease::Run, protections: 0, rights: Rights::BY_DEFAULT };
    let mut core = Core::new(config, keys, Seed([1; 32]), None);
    let engine = Engine::RealTime { bound: BOUND };
    core.join(&[Member { replica: MEMBER.1, provisioned }], engine).expect("a cluster of one");
    let service = Service {
        core,
        continuity: None,
        protections: Protections::from_bits(0),
        origin: Origin::Volatile,
        outputs: Outputs::new(),
        frame: [0; REQUEST_BYTES],
        started: clock(),
        engine: Some(engine),
    };
    (service, peer)
}

impl World {
    /// One that knows the time, which takes it some seconds.
    fn synchronised() -> Self {
        let (service, peer) = service();
        let service = Rc::new(RefCell::new(service));
        let bound = || UdpSocket::bind("127.0.0.1:0").expect("a port is free");
        let (socket, sender) = (bound(), bound());
        sender.connect(socket.local_addr().expect("it is bound")).expect("it is local");
        let control =
            Control { socket: socket.into(), members: vec![], whole_at: Nanos(0), lost: 0 };
        let (family, kind) = (AddressFamily::UNIX, SocketType::SEQPACKET);
        let flags = rustix::net::SocketFlags::CLOEXEC;
        let pair = rustix::net::socketpair(family, kind, flags, None);
        let (signals, never_written) = pair.expect("two are left");
        let doors = Doors::new(vec![], Some(control), signals);
        let wire = Wire { service: Rc::clone(&service), answers: VecDeque::new() };
        let client = Client::hello(wire, &peer, &Zeroizing::new([1; 32])).expect("it welcomes");
        let mut world = Self { service, doors, sender, client, _signals: never_written };
        while !world.client.timestamp().expect("it answers").synchronised {
            sleep(Duration::from_millis(1));
            world.take_due();
        }
        world
    }

    /// Steps as long as something is due.
    fn take_due(&mut self) {
        let service = &mut *self.service.borrow_mut();
        while service.core.next_deadline().is_some_and(|due| due <= service.now()) {
            service.take(Input::Time, &mut self.doors);
        }
    }

    /// Proposes to an agreement of its own, waits until it is `late_by` late for the decision, and answers
    /// when that was due.
    fn propose(&mut self, late_by: Nanos) -> (Tag, Nanos) {
        // Right after the clock did what it does every 100 ms: the decision is due before the next time.
        while self.due_in() < Nanos::from_millis(95) {
            sleep(Duration::from_micros(100));
            self.take_due();
        }
        let tstart = self.client.timestamp().expect("it answers").latest.after(AHEAD);
        let own = [self.client.entity().expect("a name")];
        let agreement = Agreement::new(&own, tstart, DecisionFunction::Plurality).expect("a list");
        let tag = self.client.propose(agreement, Some([5; 32])).expect("it is taken").tag;
        let due = self.service.borrow().core.next_deadline().expect("the decision");
        sleep(Duration::from_nanos(self.due_in().after(late_by).0));
        (tag, due)
    }

    /// How long it has nothing to do.
    fn due_in(&self) -> Nanos {
        let service = self.service.borrow();
        service.core.next_deadline().expect("the clock has").since(service.now())
    }

    fn send(&self, count: usize) {
        for _ in 0..count {
            self.sender.send(&[0; REQUEST_BYTES]).expect("it is lost at the reader");
        }
    }

    /// What is due, as the process does it, with so much of its bound; how many frames are left.
    fn step(&mut self, due: Nanos, bound: Nanos) -> usize {
        let service = &mut *self.service.borrow_mut();
        service.pass(due, bound, &mut self.doors);
        while bound > Nanos(0)
            && service.core.next_deadline().is_some_and(|due| due <= service.now())
        {
            service.take(Input::Time, &mut self.doors);
        }
        let (now, mut frame) = (service.now(), [0; REQUEST_BYTES]);
        let left = || matches!(self.doors.receive_control(now, &mut frame), Heard::Frame);
        std::iter::repeat_with(left).take_while(|is_left| *is_left).count()
    }

    fn halted(&self) -> Option<HaltReason> {
        self.service.borrow().core.halted()
    }

    fn is_decided(&mut self, tag: Tag) -> bool {
        matches!(self.client.decide(tag).expect("it answers"), Progress::Ended(_))
    }
}

/// The first life in which the host wakes this thread in time, of a few.
fn in_time(try_once: impl Fn(&mut World) -> bool) {
    assert!((0..5).any(|_| try_once(&mut World::synchronised())), "it stops itself each time");
}

/// Otherwise it would hear until it is late, find that, and stop for good.
#[test]
fn whoever_is_flooded_stops_listening_in_time_and_takes_no_part() {
    in_time(|world| {
        let (tag, due) = world.propose(Nanos(0));
        world.send(FEW);
        let left = world.step(due, Nanos(20_000));
        if world.halted().is_some() {
            return false;
        }
        assert!(left > 0, "it heard {FEW} frames in 20 us");
        assert!(!world.is_decided(tag), "it decided without having heard all");
        // With time for all it takes part again.
        let (tag, due) = world.propose(Nanos(0));
        world.send(FEW);
        let left = world.step(due, Nanos(u64::MAX));
        world.halted().is_none() && left == 0 && world.is_decided(tag)
    });
}

/// As if the host let it wait for a bound after it heard all, while something else became due.
#[test]
fn nothing_is_done_of_which_it_may_not_have_heard_all() {
    in_time(|world| {
        let (tag, due) = world.propose(Nanos(0));
        world.step(due, Nanos(0));
        if world.halted().is_some() {
            return false;
        }
        assert!(!world.is_decided(tag));
        world.step(due, BOUND);
        world.halted().is_none() && world.is_decided(tag)
    });
}

/// Who floods a host keeps it from waking its wormhole, too.
#[test]
fn whoever_wakes_late_and_lost_frames_meanwhile_takes_no_part_and_goes_on() {
    in_time(|world| {
        let (tag, due) = world.propose(Nanos(2 * BOUND.0));
        world.send(MANY);
        world.step(due, BOUND);
        assert_eq!(world.halted(), None);
        assert!(!world.is_decided(tag), "it decided without having heard all");
        let (tag, due) = world.propose(Nanos(0));
        world.step(due, BOUND);
        world.halted().is_none() && world.is_decided(tag)
    });
}

/// Without a flood it is the host's fault, and a timing fault becomes a crash.
#[test]
fn whoever_wakes_late_and_lost_nothing_stops_itself() {
    let mut world = World::synchronised();
    let (_, due) = world.propose(Nanos(2 * BOUND.0));
    world.send(FEW);
    world.step(due, BOUND);
    assert_eq!(world.halted(), Some(HaltReason::WokeLate));
}
