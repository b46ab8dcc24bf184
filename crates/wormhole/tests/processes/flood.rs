//! Real wormholes that agree in real time, and a flood of frames at the control channel of one.

use std::io::Write as _;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::scratch::Scratch;
use ravelin_wormhole::attestation::{ClusterId, Peer, ReplicaId};
use ravelin_wormhole::client::{CallError, Client, SeqPacket};
use ravelin_wormhole::core::{Engine, HaltReason, Member, Nanos, REAL_TIME_BOUND_MAX};
use ravelin_wormhole::frame::{
    Agreement, Decision, DecisionFunction, Progress, Refusal, Standing, Tag,
};
use ravelin_wormhole::launcher::{Control, Launch, Launched};
use rustix::process::{Pid, Signal};
use zeroize::Zeroizing;

const PROGRAM: &str = env!("CARGO_BIN_EXE_ravelin-wormhole");
const CLUSTER: ClusterId = ClusterId([9; 32]);
const COUNT: u16 = 3;
const BOUND: Nanos = REAL_TIME_BOUND_MAX;
/// From a proposal until the rounds begin, and from then until all know the decision.
const T0: Duration = Duration::from_millis(200);
const SPAN_TENTHS: u64 = COUNT as u64 * 60;
const SPAN: Duration = Duration::from_nanos(SPAN_TENTHS / 10 * BOUND.0);
/// More frames than find room at a socket.
const MANY: usize = 5_000;
/// Clusters in which a host may wake a wormhole too late, without any flood.
const TRIES: usize = 3;
/// Longest time for anything that should happen soon.
const SOON: Duration = Duration::from_secs(20);

/// A wormhole that runs, and a process that calls it; killed with its test.
struct Running {
    process: Child,
    client: Client<SeqPacket>,
    address: SocketAddr,
}

impl Running {
    fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.process);
        rustix::process::kill_process(pid, signal).unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Three of them; `None` where the host wakes one too late for it to serve.
fn cluster(home: &Scratch) -> Option<Vec<Running>> {
    let sockets: Vec<_> = (0..COUNT).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
    let launch = |number: u16| Launch {
        program: PROGRAM.into(),
        state: home.path(&number.to_string()),
        owner: None,
        connection_count: 1,
        member: (CLUSTER, ReplicaId(number)),
        store: None,
        words: None,
    };
    let launches: Vec<_> = (0..COUNT).map(launch).collect();
    let members = launches.iter().zip(&sockets).map(|(launch, socket)| {
        let provisioned = launch.provision().unwrap();
        (Member { replica: launch.member.1, provisioned }, socket.local_addr().unwrap())
    });
    let members: Vec<_> = members.collect();
    let started = launches.iter().zip(sockets).map(|(launch, socket)| {
        let engine = Engine::RealTime { bound: BOUND };
        let control = Control { socket: OwnedFd::from(socket), members: members.clone(), engine };
        launch.start_together(control).unwrap()
    });
    let started: Vec<Launched> = started.collect();
    let running = started.into_iter().zip(&members).zip(1..);
    let running = running.map(|((Launched { process, mut ends }, (member, address)), fresh)| {
        let peer =
            Peer { cluster: CLUSTER, replica: member.replica, provisioned: member.provisioned };
        let end = SeqPacket::new(ends.remove(0));
        match Client::hello(end, &peer, &Zeroizing::new([fresh; 32])) {
            Ok(client) => Some(Running { process, client, address: *address }),
            Err(_) => {
                let mut process = process;
                let _ = process.kill();
                let _ = process.wait();
                None
            }
        }
    });
    running.collect::<Vec<_>>().into_iter().collect()
}

/// What looks like a greeting of another wormhole.
fn greeting() -> [u8; 512] {
    let mut frame = [0; 512];
    frame[..4].copy_from_slice(&[1, 1, 1, 0]); // version, kind, from whom; the rest is zero
    frame
}

/// Sends greetings as fast as it can, until it is over.
fn flood(address: SocketAddr, is_over: &AtomicBool) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let frame = greeting();
    while !is_over.load(Ordering::Relaxed) {
        let _ = socket.send_to(&frame, address);
    }
}

/// Why there is no answer: the wormhole woke too late and has stopped.
#[derive(Debug)]
struct Halted;

fn asked<T>(answer: Result<T, CallError>) -> Result<T, Halted> {
    match answer {
        Ok(answer) => Ok(answer),
        Err(CallError::Refused(Refusal::Halted { reason: HaltReason::WokeLate })) => Err(Halted),
        Err(other) => panic!("{other}"),
    }
}

/// An agreement of all that starts soon.
fn begin(running: &mut [Running]) -> Result<Agreement, Halted> {
    let elist: Vec<_> = running.iter().map(|one| one.client.entity().unwrap()).collect();
    let start = Instant::now();
    let now = loop {
        let times = running.iter_mut().map(|one| asked(one.client.timestamp()));
        let times: Vec<_> = times.collect::<Result<_, _>>()?;
        if times.iter().all(|time| time.synchronised) {
            break times[1].latest;
        }
        assert!(start.elapsed() < SOON, "no common time");
        sleep(Duration::from_millis(5));
    };
    let tstart = now.after(Nanos(u64::try_from(T0.as_nanos()).unwrap()));
    Ok(Agreement::new(&elist, tstart, DecisionFunction::Plurality).unwrap())
}

/// Proposes to it; the tag, and whether the proposal was taken.
fn propose(one: &mut Running, agreement: Agreement) -> Result<(Tag, bool), Halted> {
    let proposed = asked(one.client.propose(agreement, Some([7; 32])))?;
    Ok((proposed.tag, proposed.standing == Standing::Taken))
}

fn decision(one: &mut Running, tag: Tag) -> Result<Option<Decision>, Halted> {
    match asked(one.client.decide(tag))? {
        Progress::Ended(decision) => Ok(Some(decision)),
        Progress::Running { .. } | Progress::GivenUp => Ok(None),
    }
}

/// What the three say of an agreement.
type Told = [Result<Option<Decision>, Halted>; 3];

/// They decide alike, whoever has decided.
fn assert_alike(told: &Told) {
    let mut decided = told.iter().filter_map(|told| told.as_ref().ok()?.as_ref());
    let first = decided.next();
    assert!(decided.all(|one| Some(one) == first), "{told:?}");
}

/// Lets the others propose too; what all say once all is over. Nothing if one of these was woken too late.
fn told(
    running: &mut [Running],
    (agreement, tag): (Agreement, Tag),
    meanwhile: impl FnOnce(&Running),
) -> Result<Told, Halted> {
    let mut tags = vec![tag];
    for one in &mut running[1..] {
        tags.push(propose(one, agreement)?.0);
    }
    meanwhile(&running[0]);
    Ok([0, 1, 2].map(|one| decision(&mut running[one], tags[one])))
}

/// Somebody floods the first one, from before the others propose until all is over.
fn flooded(running: &mut [Running]) -> Result<Told, Halted> {
    let agreement = begin(running)?;
    let (tag, _) = propose(&mut running[0], agreement)?;
    let (address, is_over) = (running[0].address, AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| flood(address, &is_over));
        }
        sleep(T0 / 10);
        let told = told(running, (agreement, tag), |_| sleep(T0 + SPAN));
        is_over.store(true, Ordering::Relaxed);
        told
    })
}

/// The host does not wake the first one at some times, the first from its proposal on, before the others'; and
/// its socket is full then: what they say to it is lost. Times are in tenths of the bound, since the start.
fn asleep(running: &mut [Running], until: u64, again: Option<[u64; 2]>) -> Result<Told, Halted> {
    let agreement = begin(running)?;
    let begun = Instant::now();
    let wait_for = |tenths: u64| {
        let time = T0 + Duration::from_nanos(BOUND.0 * tenths / 10);
        sleep(time.saturating_sub(begun.elapsed()));
    };
    let (tag, _) = propose(&mut running[0], agreement)?;
    fall_asleep(&running[0]);
    let told = told(running, (agreement, tag), |first| {
        wait_for(until);
        first.signal(Signal::CONT);
        if let Some([from, until]) = again {
            wait_for(from);
            fall_asleep(first);
            wait_for(until);
            first.signal(Signal::CONT);
        }
        sleep((T0 + SPAN).saturating_sub(begun.elapsed()));
    });
    running[0].signal(Signal::CONT);
    told
}

fn fall_asleep(one: &Running) {
    one.signal(Signal::STOP);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for _ in 0..MANY {
        socket.send_to(&greeting(), one.address).unwrap();
    }
}

/// Once a flood is over, the wormhole takes part again; or none of the three was woken in time.
fn comes_back(running: &mut [Running]) -> Result<(), Halted> {
    for _ in 0..20 {
        let agreement = begin(running)?;
        let proposed = running.iter_mut().map(|one| propose(one, agreement));
        let proposed = proposed.collect::<Result<Vec<_>, _>>()?;
        sleep(T0 + SPAN + Duration::from_millis(300));
        let (tag, is_taken) = proposed[0];
        let told = decision(&mut running[0], tag)?;
        if is_taken && told.is_some_and(|told| told.proposed_ok & 1 == 1) {
            return Ok(());
        }
    }
    panic!("it does not come back");
}

/// Tries a few times what a host may spoil that wakes its processes late. A flood stops the first one if
/// that is gone each time, and the others are not.
fn unless_woken_late(name: &str, try_once: impl Fn(&mut [Running]) -> Result<(), Halted>) {
    let mut are_others_there = true;
    for _ in 0..TRIES {
        let home = Scratch::new(name);
        let Some(mut running) = cluster(&home) else {
            return skip("a wormhole is woken too late here, and does not serve");
        };
        if try_once(&mut running).is_ok() {
            return;
        }
        are_others_there &=
            running.iter_mut().skip(1).all(|one| asked(one.client.timestamp()).is_ok());
    }
    assert!(!are_others_there, "a flood stops the wormhole");
    skip("the host woke a wormhole too late");
}

/// Past what keeps a test's words from people as long as it does not fail.
fn skip(why: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED the test of floods: {why}");
}

/// Who floods a wormhole takes it out of what goes on meanwhile, and of nothing after that.
#[test]
fn a_flood_makes_a_wormhole_pause_and_not_stop() {
    unless_woken_late("flood", |running| {
        for _ in 0..3 {
            let told = flooded(running)?;
            assert_alike(&told);
            let [first, ..] = told;
            first?;
        }
        comes_back(running)
    });
}

/// What it lost may be all that the others know and it does not.
#[test]
fn a_wormhole_that_lost_frames_to_a_flood_decides_nothing_by_what_is_left() {
    unless_woken_late("lost", |running| {
        // After the others have spoken, two bounds after the start, and have decided, ten bounds later; and
        // before it is a bound late for its own part.
        for tenths in 21..26 {
            let told = asleep(running, tenths, Some([90, 100 + tenths]))?;
            assert_alike(&told);
            let [first, ..] = told;
            first?;
        }
        Ok(())
    });
}

/// Who floods a host keeps it from waking its wormhole, too.
#[test]
fn a_wormhole_that_a_flood_kept_from_waking_withdraws_and_does_not_stop() {
    unless_woken_late("late", |running| {
        let told = asleep(running, SPAN_TENTHS, None)?;
        assert_alike(&told);
        let [first, ..] = told;
        first?;
        comes_back(running)
    });
}
