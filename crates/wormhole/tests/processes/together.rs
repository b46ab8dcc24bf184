//! Four real wormholes on one host, each a closed process, and the network between them.

use std::fs::Permissions;
use std::io::Write as _;
use std::net::{SocketAddr, UdpSocket};
use std::num::NonZero;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::scratch::Scratch;
use ravelin_wormhole::attestation::{ClusterId, Peer, ReplicaId};
use ravelin_wormhole::client::{CallError, Client, SeqPacket};
use ravelin_wormhole::core::{
    AGREEMENTS_PER_ENTITY, ENDED_PER_HOST, Engine, HaltReason, Member, Nanos, REAL_TIME_BOUND_MAX,
};
use ravelin_wormhole::frame::{
    Agreement, Decision, DecisionFunction, Entity, Mode, Progress, Refusal, Standing, Tag,
};
use ravelin_wormhole::launcher::{self, Control, ControlNetwork, Launch, Launched};
use rustix::net::{AddressFamily, Protocol, RecvFlags, SocketType};
use rustix::process::{Pid, Signal, kill_process};
use zeroize::Zeroizing;

const PROGRAM: &str = env!("CARGO_BIN_EXE_ravelin-wormhole");
const CLUSTER: ClusterId = ClusterId([9; 32]);
const COUNT: usize = 4;
/// Longest time for anything that should happen soon.
const SOON: Duration = Duration::from_secs(20);
const T0: Nanos = Nanos::from_millis(300);

/// A wormhole that runs; killed with its test.
struct Running {
    process: Child,
    peer: Peer,
    ends: Vec<OwnedFd>,
}

impl Running {
    fn client(&mut self, fresh: u8) -> Client<SeqPacket> {
        let end = SeqPacket::new(self.ends.remove(0));
        Client::hello(end, &self.peer, &Zeroizing::new([fresh; 32])).expect("it welcomes")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The cluster's wormholes, and what starts each of them again.
struct Cluster {
    launches: Vec<Launch>,
    members: Vec<(Member, SocketAddr)>,
    engine: Engine,
    _home: Scratch,
}

impl Cluster {
    fn start(name: &str) -> (Self, Vec<Running>) {
        let sockets = (0..COUNT).map(|_| bound("127.0.0.1:0"));
        let sockets = sockets.map(|socket| {
            let address = socket.local_addr().expect("it is bound");
            (socket.into(), address)
        });
        Self::start_with(name, sockets.collect())
    }

    fn start_with(name: &str, sockets: Vec<(OwnedFd, SocketAddr)>) -> (Self, Vec<Running>) {
        Self::start_by(name, Engine::Quorum, sockets)
    }

    fn start_by(
        name: &str,
        engine: Engine,
        sockets: Vec<(OwnedFd, SocketAddr)>,
    ) -> (Self, Vec<Running>) {
        let home = Scratch::new(name);
        let launches: Vec<_> = (0..COUNT)
            .map(|number| Launch {
                program: PROGRAM.into(),
                state: home.path(&number.to_string()),
                owner: None,
                connection_count: 2,
                member: (CLUSTER, ReplicaId(u16::try_from(number).expect("few"))),
                store: None,
                words: None,
            })
            .collect();
        let members = launches.iter().zip(&sockets).map(|(launch, (_, address))| {
            let provisioned = launch.provision().expect("a new directory");
            (Member { replica: launch.member.1, provisioned }, *address)
        });
        let members = members.collect();
        let cluster = Self { launches, members, engine, _home: home };
        let running = sockets.into_iter().enumerate();
        let running = running.map(|(number, (socket, _))| cluster.run(number, socket)).collect();
        (cluster, running)
    }

    fn run(&self, number: usize, socket: OwnedFd) -> Running {
        let control = Control { socket, members: self.members.clone(), engine: self.engine };
        let Launched { process, ends } =
            self.launches[number].start_together(control).expect("the program starts");
        let Member { replica, provisioned } = self.members[number].0;
        Running { process, peer: Peer { cluster: CLUSTER, replica, provisioned }, ends }
    }
}

fn bound(address: &str) -> UdpSocket {
    UdpSocket::bind(address).expect("a port is left")
}

/// Waits until the wormhole knows the common time, and gives the latest that it may be.
fn common(client: &mut Client<SeqPacket>) -> Nanos {
    let start = Instant::now();
    loop {
        let time = client.timestamp().expect("it answers");
        if time.synchronised {
            return time.latest;
        }
        assert!(start.elapsed() < SOON, "no common time");
        sleep(Duration::from_millis(5));
    }
}

fn decision(client: &mut Client<SeqPacket>, tag: Tag) -> Decision {
    let start = Instant::now();
    loop {
        if let Progress::Ended(decision) = client.decide(tag).expect("it answers") {
            return decision;
        }
        assert!(start.elapsed() < SOON, "it does not end");
    }
}

fn multicast(elist: &[Entity], tstart: Nanos) -> Agreement {
    Agreement::new(elist, tstart, DecisionFunction::ReliableMulticast).expect("a list")
}

#[test]
fn four_wormholes_agree_and_go_on_when_one_is_killed_and_started_again() {
    let (cluster, mut running) = Cluster::start("together");
    let mut clients: Vec<_> =
        (1..).zip(&mut running).map(|(fresh, one)| one.client(fresh)).collect();
    let mode = clients[0].status().expect("it answers").mode;
    assert_eq!(mode, Mode::Distributed(Engine::Quorum));
    let elist: Vec<_> = clients.iter().map(|client| client.entity().expect("a name")).collect();
    for client in &mut clients {
        common(client);
    }
    let times: Vec<_> =
        clients.iter_mut().map(|one| one.timestamp().expect("it answers")).collect();
    let (first, last) = (times[0], times[COUNT - 1]);
    assert!(first.earliest < last.latest, "{times:?}");

    // All propose.
    let agreement = multicast(&elist, common(&mut clients[0]).after(T0));
    let values = [Some([7; 32]), None, None, Some([7; 32])];
    let tags: Vec<_> = clients
        .iter_mut()
        .zip(values)
        .map(|(client, value)| {
            let proposed = client.propose(agreement, value).expect("it answers");
            assert_eq!(proposed.standing, Standing::Taken);
            proposed.tag
        })
        .collect();
    let expected = Decision { value: Some([7; 32]), proposed_ok: 0b1001, proposed_any: 0b1111 };
    for (client, tag) in clients.iter_mut().zip(tags) {
        assert_eq!(decision(client, tag), expected);
    }

    // One is killed; the others decide at `tstart` without it.
    running[2].process.kill().expect("it is ours");
    running[2].process.wait().expect("it is ours");
    let agreement = multicast(&elist, common(&mut clients[0]).after(T0));
    let tag = clients[0].propose(agreement, Some([8; 32])).expect("it answers").tag;
    let expected = Decision { value: Some([8; 32]), proposed_ok: 1, proposed_any: 1 };
    assert_eq!(decision(&mut clients[0], tag), expected);

    // It starts again: another life, another process of the list, the same time.
    let socket = bound(&cluster.members[2].1.to_string());
    running[2] = cluster.run(2, socket.into());
    clients[2] = running[2].client(77);
    let now = common(&mut clients[0]);
    assert!(common(&mut clients[2]) >= now);
    let entity = clients[2].entity().expect("a name");
    assert_ne!(entity, elist[2]);
    let agreement = multicast(&[entity, elist[1]], common(&mut clients[2]).after(T0));
    let tag = clients[2].propose(agreement, Some([9; 32])).expect("it answers").tag;
    assert_eq!(decision(&mut clients[2], tag).value, Some([9; 32]));
}

/// Counts the frames between wormholes that pass any interface of this process's network, until `is_over`;
/// as root only. Frames of a cluster are sent from and to known ports.
fn capture(ports: &[u16], is_over: &AtomicBool) -> usize {
    let every_protocol = Protocol::from_raw(NonZero::new(u32::from(3_u16.to_be())).unwrap());
    let (family, kind) = (AddressFamily::PACKET, SocketType::RAW);
    let socket = rustix::net::socket(family, kind, Some(every_protocol));
    let socket = socket.expect("root may capture");
    let (mut count, mut packet, start) = (0, [0; 2_048], Instant::now());
    while !is_over.load(Ordering::Relaxed) && start.elapsed() < 2 * SOON {
        let received = rustix::net::recv(&socket, &mut packet[..], RecvFlags::DONTWAIT);
        let Ok((length, _)) = received else {
            sleep(Duration::from_micros(200));
            continue;
        };
        // Ethernet, IPv4 and UDP without options.
        let port = |at| u16::from_be_bytes([packet[at], packet[at + 1]]);
        let is_it = length == 14 + 20 + 8 + 512 && packet[23] == 17;
        count += usize::from(is_it && ports.contains(&port(34)) && ports.contains(&port(36)));
    }
    count
}

/// As root: the same capture sees every frame on the loopback of the host, and none of the network that
/// the wormholes have for themselves.
#[test]
fn nobody_else_sees_the_control_channel() {
    if !rustix::process::geteuid().is_root() {
        let (_, network) = launcher::control_sockets(1).expect("there is a loopback");
        assert_eq!(network, ControlNetwork::Shared);
        return skipped("a capture of the control channel needs root");
    }
    let (private, network) = launcher::control_sockets(COUNT).expect("root may make one");
    assert_eq!(network, ControlNetwork::Private);
    let shared = (0..COUNT).map(|_| {
        let socket = bound("127.0.0.1:0");
        let address = socket.local_addr().expect("it is bound");
        (OwnedFd::from(socket), address)
    });
    for (sockets, is_seen) in [(private, false), (shared.collect(), true)] {
        let ports: Vec<_> = sockets.iter().map(|(_, address)| address.port()).collect();
        let is_over = AtomicBool::new(false);
        let seen = std::thread::scope(|scope| {
            let counted = scope.spawn(|| capture(&ports, &is_over));
            let (_cluster, mut running) = Cluster::start_with("together-seen", sockets);
            let mut client = running[0].client(3);
            let elist = [client.entity().expect("a name")];
            let agreement = multicast(&elist, common(&mut client).after(T0));
            let tag = client.propose(agreement, Some([1; 32])).expect("it answers").tag;
            let value = decision(&mut client, tag).value;
            is_over.store(true, Ordering::Relaxed);
            assert_eq!(value, Some([1; 32]));
            counted.join().expect("it counts")
        });
        assert_eq!(seen > 0, is_seen, "{seen} frames");
    }
}

/// Prints how long it takes from a payload's proposal until it knows the decision. On a quiet machine
/// half of all are wanted within 150 us.
#[test]
fn agreement_among_four_takes_microseconds() {
    let (_cluster, mut running) = Cluster::start("together-time");
    let mut clients: Vec<_> =
        (1..).zip(&mut running).map(|(fresh, one)| one.client(fresh)).collect();
    for client in &mut clients {
        common(client);
    }
    let mut times = Vec::new();
    for number in 0..AGREEMENTS_PER_ENTITY.min(ENDED_PER_HOST) / 2 {
        for client in &mut clients {
            let elist = [client.entity().expect("a name")];
            let agreement = multicast(&elist, common(client).after(T0).after(Nanos(number as u64)));
            let start = Instant::now();
            let tag = client.propose(agreement, Some([1; 32])).expect("it answers").tag;
            decision(client, tag);
            times.push(start.elapsed());
        }
    }
    times.sort_unstable();
    let at = |share: usize| times[(times.len() - 1) * share / 100];
    println!("agreement among {COUNT}: {:?} p50, {:?} p99, {:?} at most", at(50), at(99), at(100));
    assert!(at(50) < Duration::from_millis(100));
}

/// Nobody is woken within a microsecond: the wormhole measures that, says it, and does not serve.
#[test]
fn a_host_that_wakes_too_late_for_real_time_is_refused_and_told_why() {
    let home = Scratch::new("together-late");
    let (program, words) = (home.path("noted"), home.path("words"));
    let script = format!("#!/bin/sh\nexec {PROGRAM} \"$@\" 2>{}\n", words.display());
    std::fs::write(&program, script).expect("it can be written");
    std::fs::set_permissions(&program, Permissions::from_mode(0o755)).expect("it is ours");
    let launch = Launch {
        program,
        state: home.path("state"),
        owner: None,
        connection_count: 1,
        member: (CLUSTER, ReplicaId(1)),
        store: None,
        words: None,
    };
    let provisioned = launch.provision().expect("a new directory");
    let socket = bound("127.0.0.1:0");
    let address = socket.local_addr().expect("it is bound");
    let members = vec![(Member { replica: ReplicaId(1), provisioned }, address)];
    let engine = Engine::RealTime { bound: Nanos(1_000) };
    let control = Control { socket: socket.into(), members, engine };
    let mut launched = launch.start_together(control).expect("the program starts");
    assert_eq!(launched.process.wait().expect("it ends").code(), Some(1));
    let words = std::fs::read_to_string(words).expect("it said something");
    let why = "us late, and agreement in real time needs 1 us: name a longer bound";
    assert!(words.contains("this host woke the process") && words.contains(why), "{words}");
}

/// With the longest bound; where the host does not keep even that, the wormholes say so and end.
#[test]
fn wormholes_agree_in_real_time_or_stop_themselves() {
    let sockets = (0..COUNT).map(|_| bound("127.0.0.1:0"));
    let sockets = sockets.map(|socket| {
        let address = socket.local_addr().expect("it is bound");
        (socket.into(), address)
    });
    let engine = Engine::RealTime { bound: REAL_TIME_BOUND_MAX };
    let (_cluster, mut running) =
        Cluster::start_by("together-real-time", engine, sockets.collect());
    let clients = running.iter_mut().zip(1..).map(|(one, fresh)| {
        let end = SeqPacket::new(one.ends.remove(0));
        Client::hello(end, &one.peer, &Zeroizing::new([fresh; 32])).ok()
    });
    let Some(mut clients) = clients.collect::<Option<Vec<_>>>() else {
        return skipped(
            "agreement in real time: a wormhole is woken too late here, and does not serve",
        );
    };
    let mode = clients[1].status().map(|status| status.mode).ok();
    assert!(mode.is_none_or(|mode| mode == Mode::Distributed(engine)), "{mode:?}");
    let elist: Vec<_> =
        clients.iter().map(|client| client.entity().expect("it is named")).collect();
    let tstart = common(&mut clients[0]).after(T0);
    let agreement = multicast(&elist, tstart);
    let mut tags = Vec::new();
    for (client, value) in clients.iter_mut().zip([Some([5; 32]), None, None, None]) {
        common(client);
        tags.push(client.propose(agreement, value).map(|one| one.tag));
    }
    sleep(Duration::from_nanos(T0.0 + 4 * 6 * REAL_TIME_BOUND_MAX.0 + 100_000_000));
    let progress = clients.iter_mut().zip(tags).map(|(client, tag)| client.decide(tag.ok()?).ok());
    let ended: Vec<_> = progress.collect();
    let decisions: Vec<_> = ended
        .iter()
        .filter_map(|one| match one {
            Some(Progress::Ended(decision)) => Some(*decision),
            _ => None,
        })
        .collect();
    println!("{} of {COUNT} decided in real time: {ended:?}", decisions.len());
    assert!(decisions.windows(2).all(|two| two[0] == two[1]), "{decisions:?}");
    if decisions.len() < COUNT {
        let why = "a stop past a round of real time: a wormhole was woken too late before";
        return skipped(why);
    }
    who_is_stopped_past_its_round_stops_itself(&mut running, &mut clients, &elist);
}

/// Says past the capture of the test's output what was not shown here.
fn skipped(what: &str) {
    writeln!(std::io::stderr(), "SKIPPED {what}").expect("stderr is there");
}

/// By majorities nobody need be on time: one that was stopped past the start, and long after the others
/// decided, tells what they told.
#[test]
fn who_is_stopped_past_the_start_of_an_agreement_decides_as_the_others_did() {
    let (_cluster, mut running) = Cluster::start("together-stopped");
    let mut clients: Vec<_> =
        (1..).zip(&mut running).map(|(fresh, one)| one.client(fresh)).collect();
    for client in &mut clients {
        common(client);
    }
    for (stopped, value) in [(0, Some([5; 32])), (3, None)] {
        let elist: Vec<_> =
            clients.iter().map(|client| client.entity().expect("it is named")).collect();
        let agreement = multicast(&elist, common(&mut clients[0]).after(T0));
        let mut propose = |number: usize| {
            let own = (number == stopped).then_some(value).flatten();
            clients[number].propose(agreement, own).expect("it answers").tag
        };
        let own_tag = propose(stopped);
        let process = pid(&running[stopped]);
        kill_process(process, Signal::STOP).expect("it runs");
        // It starts without the last proposals: not before `tstart`.
        let others = (0..COUNT).filter(|number| *number != stopped);
        let tags: Vec<_> = others.map(|number| (number, propose(number))).collect();
        sleep(Duration::from_nanos(T0.0) + Duration::from_millis(500));
        let mut told = Vec::new();
        for (number, tag) in tags {
            told.push(decision(&mut clients[number], tag));
        }
        kill_process(process, Signal::CONT).expect("it is there");
        told.push(decision(&mut clients[stopped], own_tag));
        assert!(told.windows(2).all(|two| two[0] == two[1]), "{told:?}");
    }
}

fn pid(running: &Running) -> Pid {
    let process = i32::try_from(running.process.id()).expect("a number of a process");
    Pid::from_raw(process).expect("it is none of the kernel's")
}

fn who_is_stopped_past_its_round_stops_itself(
    running: &mut [Running],
    clients: &mut [Client<SeqPacket>],
    elist: &[Entity],
) {
    let agreement = multicast(elist, common(&mut clients[0]).after(T0));
    let propose = |client: &mut Client<SeqPacket>| client.propose(agreement, None).ok();
    let tags: Vec<_> = clients.iter_mut().map(propose).collect();
    let process = pid(&running[0]);
    kill_process(process, Signal::STOP).expect("it runs");
    sleep(Duration::from_nanos(T0.0) + Duration::from_secs(1));
    kill_process(process, Signal::CONT).expect("it is there");
    let tag = tags[0].as_ref().expect("it took the proposal").tag;
    let halted = Refusal::Halted { reason: HaltReason::WokeLate };
    assert!(
        matches!(clients[0].decide(tag), Err(CallError::Refused(refusal)) if refusal == halted)
    );
}

#[test]
fn what_is_no_cluster_is_refused() {
    let home = Scratch::new("together-refused");
    let state = home.path("state");
    let run = |more: &[&str]| {
        let mut command = Command::new(PROGRAM);
        command.arg("--state").arg(&state).args(more).stdin(Stdio::null());
        command.output().expect("it starts")
    };
    let key = String::from_utf8(run(&["--provision"]).stdout).expect("hexadecimal");
    let cluster = "0a".repeat(32);
    let serve = |member: &str| {
        // Its standard input is a descriptor that is no socket; 3 is none at all.
        run(&[
            "--cluster",
            &cluster,
            "--replica",
            "1",
            "--fd",
            "3",
            "--control-fd",
            "4",
            "--member",
            member,
        ])
    };
    let output = serve(&format!("1,{},127.0.0.1:1", key.trim()));
    assert_eq!(output.status.code(), Some(1));
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(words.contains("is no connection"), "{words}");

    // A cluster that does not name this wormhole, or not with its key, or one twice.
    let launch = Launch {
        program: PROGRAM.into(),
        state: state.clone(),
        owner: None,
        connection_count: 1,
        member: (CLUSTER, ReplicaId(1)),
        store: None,
        words: None,
    };
    let provisioned = launch.public().expect("there is a key");
    let own = Member { replica: ReplicaId(1), provisioned };
    let other = Member { replica: ReplicaId(2), ..own };
    for wrong in [vec![other], vec![other, other], vec![own, own]] {
        let socket = bound("127.0.0.1:0");
        let address = socket.local_addr().expect("it is bound");
        let members = wrong.into_iter().map(|member| (member, address)).collect();
        let control = Control { socket: socket.into(), members, engine: Engine::Quorum };
        let mut launched = launch.start_together(control).expect("the program starts");
        assert_eq!(launched.process.wait().expect("it ends").code(), Some(1));
    }
    // And a control channel must be one.
    let (socket, _other) = std::os::unix::net::UnixDatagram::pair().expect("a pair");
    let members = vec![(own, "127.0.0.1:1".parse().expect("an address"))];
    let control = Control { socket: socket.into(), members, engine: Engine::Quorum };
    let mut launched = launch.start_together(control).expect("the program starts");
    assert_eq!(launched.process.wait().expect("it ends").code(), Some(1));
}
