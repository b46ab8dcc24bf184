//! Real wormholes that agree in real time, and a flood of frames at the control channel of one.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that is wrong fails, as it should"
)]

#[allow(dead_code, reason = "each test uses its part")]
mod scratch;

use std::net::{SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use ravelin_wormhole::attestation::{ClusterId, Peer, ReplicaId};
use ravelin_wormhole::client::{CallError, Client, SeqPacket};
use ravelin_wormhole::core::{Engine, HaltReason, Member, Nanos, REAL_TIME_BOUND_MAX};
use ravelin_wormhole::frame::{
    Agreement, Decision, DecisionFunction, Progress, Refusal, Standing, Tag,
};
use ravelin_wormhole::launcher::{Control, Launch, Launched};
use scratch::Scratch;
use zeroize::Zeroizing;

const PROGRAM: &str = env!("CARGO_BIN_EXE_ravelin-wormhole");
const CLUSTER: ClusterId = ClusterId([9; 32]);
const COUNT: u16 = 3;
const BOUND: Nanos = REAL_TIME_BOUND_MAX;
/// From a proposal until the rounds begin, and from then until all know the decision.
const T0: Duration = Duration::from_millis(200);
const SPAN: Duration = Duration::from_nanos(COUNT as u64 * 6 * BOUND.0);
/// Longest time for anything that should happen soon.
const SOON: Duration = Duration::from_secs(20);

/// A wormhole that runs, and a process that calls it; killed with its test.
struct Running {
    process: Child,
    client: Client<SeqPacket>,
    address: SocketAddr,
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

/// Sends what looks like a greeting of another wormhole, as fast as it can, until it is over.
fn flood(address: SocketAddr, is_over: &AtomicBool) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut frame = [0; 512];
    frame[..4].copy_from_slice(&[1, 1, 1, 0]); // version, kind, from whom; the rest is zero
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

/// Proposes to an agreement of all that starts soon; the tags, and where a proposal was taken.
fn propose(running: &mut [Running]) -> Result<(Vec<Tag>, Vec<bool>), Halted> {
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
    let agreement = Agreement::new(&elist, tstart, DecisionFunction::Plurality).unwrap();
    let (mut tags, mut taken) = (vec![], vec![]);
    for one in running {
        let proposed = asked(one.client.propose(agreement, Some([7; 32])))?;
        tags.push(proposed.tag);
        taken.push(proposed.standing == Standing::Taken);
    }
    Ok((tags, taken))
}

fn decision(one: &mut Running, tag: Tag) -> Result<Option<Decision>, Halted> {
    match asked(one.client.decide(tag))? {
        Progress::Ended(decision) => Ok(Some(decision)),
        Progress::Running { .. } | Progress::GivenUp => Ok(None),
    }
}

/// Who floods a wormhole takes it out of what goes on meanwhile, and of nothing after that.
#[test]
fn a_flood_right_before_a_round_makes_a_wormhole_pause_and_not_stop() {
    let home = Scratch::new("flood");
    let Some(mut running) = cluster(&home) else {
        return println!("SKIPPED: a wormhole is woken too late here, and does not serve");
    };
    let address = running[0].address;
    for number in 0..5 {
        let Ok((tags, _)) = propose(&mut running) else {
            return println!("SKIPPED: after {number} floods the host woke a wormhole too late");
        };
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            sleep(T0 - Duration::from_millis(50));
            for _ in 0..2 {
                scope.spawn(|| flood(address, &is_over));
            }
            sleep(Duration::from_millis(50) + SPAN);
            is_over.store(true, Ordering::Relaxed);
        });
        let told = [0, 1, 2].map(|one| decision(&mut running[one], tags[one]));
        println!("flood {number}: {told:?}");
        assert!(told[0].is_ok(), "a flood stops no wormhole");
        let mut decided = told.iter().filter_map(|told| told.as_ref().ok()?.as_ref());
        let first = decided.next();
        assert!(decided.all(|one| Some(one) == first), "they decide alike: {told:?}");
    }
    // Once it is over, the wormhole takes part again.
    for _ in 0..20 {
        let Ok((tags, taken)) = propose(&mut running) else {
            return println!("SKIPPED: after the floods the host woke a wormhole too late");
        };
        sleep(T0 + SPAN + Duration::from_millis(300));
        let Ok(told) = decision(&mut running[0], tags[0]) else {
            return println!("SKIPPED: after the floods the host woke a wormhole too late");
        };
        if taken[0] && told.is_some_and(|told| told.proposed_ok & 1 == 1) {
            return;
        }
    }
    panic!("it does not come back");
}
