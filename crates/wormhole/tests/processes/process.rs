//! The real program: how it starts, serves, refuses, stops and starts again.

use std::fs;
use std::io::Write as _;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use ravelin_wormhole::attestation::{
    Attestation, ClusterId, Counter, CounterValue, Digest, Epoch, InstanceId, Peer, ReplicaId,
};
use ravelin_wormhole::client::{CallError, Client, HelloError, SeqPacket};
use ravelin_wormhole::frame::{Action, AttestCall, ExecCall, Nanos, Outcome, Refusal, Timeliness};
use ravelin_wormhole::launcher::{self, Launch, LaunchError, Launched};
use ravelin_wormhole::os;
use ravelin_wormhole::sandbox::{Owner, Protection, Protections};
use ravelin_wormhole::serve::selftest::{self, SelfTestError};
use ravelin_wormhole::state::Lease;
use rustix::fs::Gid;
use rustix::net::SendFlags;
use rustix::process::{Pid, Signal};
use rustix::thread::CapabilitySet;
use zeroize::Zeroizing;

const PROGRAM: &str = env!("CARGO_BIN_EXE_ravelin-wormhole");
const MEMBER: (ClusterId, ReplicaId) = (ClusterId([9; 32]), ReplicaId(2));
/// Longest time for anything that should happen at once.
const SOON: Duration = Duration::from_secs(10);

/// A directory that is gone after the test.
struct Home(PathBuf);

impl Home {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("wormhole-process-{}-{count}", std::process::id());
        let home = Self(std::env::temp_dir().join(name));
        fs::create_dir(&home.0).expect("nobody has this directory");
        fs::set_permissions(&home.0, fs::Permissions::from_mode(0o755)).expect("it is ours");
        home
    }

    fn launch(&self) -> Launch {
        let state = self.0.join("state");
        let program = PROGRAM.into();
        let (owner, store, words) = (None, None, None);
        Launch { program, state, owner, connection_count: 1, member: MEMBER, store, words }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A wormhole that runs; killed with its test.
struct Running {
    process: Child,
    peer: Peer,
    ends: Vec<OwnedFd>,
}

impl Running {
    fn new(launch: &Launch) -> Self {
        let provisioned = launch.provision().expect("a new directory");
        let peer = Peer { cluster: MEMBER.0, replica: MEMBER.1, provisioned };
        Self::again(launch, peer)
    }

    fn again(launch: &Launch, peer: Peer) -> Self {
        let Launched { process, ends } = launch.start().expect("the program starts");
        Self { process, peer, ends }
    }

    fn client(&mut self) -> Client<SeqPacket> {
        let end = self.ends.remove(0);
        self.hello(end).expect("it welcomes")
    }

    fn hello(&self, end: OwnedFd) -> Result<Client<SeqPacket>, HelloError> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let fresh = COUNT.fetch_add(1, Ordering::Relaxed).to_le_bytes();
        let mut entropy = Zeroizing::new([1; 32]);
        entropy.iter_mut().zip(fresh).for_each(|(byte, fresh)| *byte = fresh);
        Client::hello(SeqPacket::new(end), &self.peer, &entropy)
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.process);
        rustix::process::kill_process(pid, signal).expect("it is ours");
    }

    fn proc(&self, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.process.id())).expect("it runs")
    }

    /// Its exit status, or the signal it died of, negative.
    fn ended(&mut self) -> i32 {
        let start = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait().expect("it is ours") {
                return status.code().unwrap_or_else(|| -status.signal().expect("or a signal"));
            }
            assert!(start.elapsed() < SOON, "it runs on");
            sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn attest(client: &mut Client<SeqPacket>, old: u64, new: u64) -> Result<Attestation, CallError> {
    let (expected_old, new) = (CounterValue(old), CounterValue(new));
    let (counter, epoch, digest) = (Counter::Ordering, Epoch(1), Digest([7; 32]));
    client.attest(AttestCall { counter, epoch, expected_old, new, digest })
}

fn instance(client: &Client<SeqPacket>) -> InstanceId {
    client.certificate().identity.instance
}

fn run(arguments: &[&str]) -> Output {
    Command::new(PROGRAM).args(arguments).stdin(Stdio::null()).output().expect("it starts")
}

/// By a program of its own: a file that this process wrote could not be executed while another test
/// forks with it open.
fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").args([from, to]).status();
    assert!(copied.expect("cp is there").success());
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn an_attestation_of_the_real_program_convinces_a_peer() {
    let home = Home::new();
    let mut wormhole = Running::new(&home.launch());
    let peer = wormhole.peer;
    let mut client = wormhole.client();
    let attestation = attest(&mut client, 0, 1).expect("it is the first");
    peer.check(client.certificate(), &attestation).expect("it is genuine");
    assert!(matches!(attest(&mut client, 0, 1), Err(CallError::Refused(Refusal::Conflict))));
    drop(client);
    assert_eq!(wormhole.ended(), 0, "nobody is left to serve");
}

#[test]
fn a_restart_after_kill_is_a_new_instance() {
    let home = Home::new();
    let launch = home.launch();
    let mut wormhole = Running::new(&launch);
    let mut client = wormhole.client();
    attest(&mut client, 0, 1).expect("it is the first");
    wormhole.signal(Signal::KILL);
    assert_eq!(wormhole.ended(), -Signal::KILL.as_raw());
    assert!(matches!(attest(&mut client, 1, 2), Err(CallError::Channel(_))));

    let mut again = Running::again(&launch, wormhole.peer);
    let mut anew = again.client();
    assert_ne!(instance(&client), instance(&anew));
    let attestation = attest(&mut anew, 0, 1).expect("it is the first of this instance");
    assert_eq!(attestation.statement.identity.instance, instance(&anew));
}

#[test]
fn a_clean_stop_without_a_store_is_a_new_instance_too() {
    let home = Home::new();
    let launch = home.launch();
    let mut wormhole = Running::new(&launch);
    let client = wormhole.client();
    wormhole.signal(Signal::TERM);
    assert_eq!(wormhole.ended(), 0);
    let mut again = Running::again(&launch, wormhole.peer);
    assert_ne!(instance(&client), instance(&again.client()));
}

#[test]
fn clones_of_one_state_directory_are_different_instances() {
    let home = Home::new();
    let launch = home.launch();
    let mut wormhole = Running::new(&launch);
    let clone = Launch { state: home.0.join("copy"), ..launch.clone() };
    copy(&launch.state, &clone.state);
    let mut clone = Running::again(&clone, wormhole.peer);
    let (mut one, mut other) = (wormhole.client(), clone.client());
    assert_ne!(instance(&one), instance(&other));
    let (a, b) = (attest(&mut one, 0, 1).unwrap(), attest(&mut other, 0, 1).unwrap());
    // Genuine both, and no equivocation: they name different instances.
    wormhole.peer.check(one.certificate(), &a).expect("it is genuine");
    wormhole.peer.check(other.certificate(), &b).expect("it is genuine");
    assert!(wormhole.peer.check(one.certificate(), &b).is_err());
}

#[test]
fn a_stop_and_a_continuation_lose_nothing_but_time() {
    let home = Home::new();
    let mut wormhole = Running::new(&home.launch());
    let mut client = wormhole.client();
    attest(&mut client, 0, 1).expect("it is the first");
    let deadline = client.arm(Nanos::from_millis(20)).expect("there is room");
    wormhole.signal(Signal::STOP);
    sleep(Duration::from_millis(60));
    wormhole.signal(Signal::CONT);
    let timeliness = client.end(deadline).expect("it goes on");
    assert!(matches!(timeliness, Timeliness::Late { .. }), "{timeliness:?}");
    assert!(attest(&mut client, 0, 1).is_err());
    attest(&mut client, 1, 2).expect("it is the next");
}

/// With nobody calling, only the loop's own clock can wake it in time.
#[test]
fn a_planned_action_is_executed_in_time_without_a_call() {
    let home = Home::new();
    let mut wormhole = Running::new(&home.launch());
    let mut client = wormhole.client();
    let now = client.timestamp().expect("it runs").earliest;
    let action = Action::SignedHeartbeat;
    let (not_before, within) = (now.after(Nanos::from_millis(30)), Nanos::from_millis(100));
    let tag = client.exec_at(ExecCall { action, not_before, within }).expect("there is room");
    assert_eq!(client.outcome(tag).expect("it runs"), Outcome::Pending);
    sleep(Duration::from_millis(250));
    let outcome = client.outcome(tag).expect("it runs");
    assert!(matches!(outcome, Outcome::Done { .. }), "{outcome:?}");
}

#[test]
fn the_process_is_closed() {
    let home = Home::new();
    let mut wormhole = Running::new(&home.launch());
    let mut client = wormhole.client();
    let status = wormhole.proc("status");
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name}")).trim().to_owned()
    };
    for (name, value) in [("Threads:", "1"), ("Seccomp:", "2"), ("NoNewPrivs:", "1")] {
        assert_eq!(field(name), value, "{name}");
    }
    let is_root = rustix::process::geteuid().is_root();
    let sets = ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"];
    for name in sets.into_iter().chain(is_root.then_some("CapBnd:")) {
        assert_eq!(field(name), "0".repeat(16), "{name}");
    }
    let protections = Protections::from_bits(client.status().expect("it runs").protections);
    let locked: u64 = field("VmLck:").trim_end_matches(" kB").parse().expect("a number");
    assert_eq!(locked > 1_000, protections.has(Protection::LockedMemory), "{locked} kB are locked");
    assert!(locked < 16 << 10, "{locked} kB are locked");
    for always in [
        Protection::NotDumpable,
        Protection::NoCapabilities,
        Protection::NoNewPrivileges,
        Protection::FewCalls,
    ] {
        assert!(protections.has(always), "{}", always.name());
    }
    assert!(!protections.has(Protection::OwnUser), "it was given no user of its own");
}

#[test]
fn as_root_it_leaves_root() {
    if !rustix::process::geteuid().is_root() {
        let _ = writeln!(std::io::stderr(), "SKIPPED: a user of its own needs root");
        return;
    }
    // A group more, of this thread and what it starts: to be left as well.
    rustix::thread::set_thread_groups(&[Gid::from_raw(64_009)]).expect("root can");
    let home = Home::new();
    let launch = Launch { owner: Owner::new(64_001, 64_002), ..home.launch() };
    let mut wormhole = Running::new(&launch);
    let mut client = wormhole.client();
    let status = wormhole.proc("status");
    for ids in
        ["Uid:\t64001\t64001\t64001\t64001", "Gid:\t64002\t64002\t64002\t64002", "Groups:\t \n"]
    {
        assert!(status.contains(ids), "{ids:?} is not in {status}");
    }
    let protections = Protections::from_bits(client.status().expect("it runs").protections);
    assert!(protections.has(Protection::OwnUser));
    // Nothing inherited, and the one thing that keeps a program with another allocator alive.
    assert_eq!(wormhole.proc("environ"), "MIMALLOC_PURGE_DELAY=-1\0");
}

/// As the unit of tools/systemd starts a server: a user with three capabilities, and none to come.
#[test]
fn started_as_by_the_unit_it_lacks_real_time_and_a_network_of_its_own_alone() {
    let has_setpriv = Command::new("setpriv").arg("--version").output().is_ok();
    if !rustix::process::geteuid().is_root() || !has_setpriv {
        let _ = writeln!(std::io::stderr(), "SKIPPED: what a unit does needs root, and setpriv");
        return;
    }
    let home = Home::new();
    let launch = Launch { owner: Owner::new(64_001, 64_002), ..home.launch() };
    let (small, unit) = (home.0.join("ravelin-wormhole"), home.0.join("unit"));
    copy(PROGRAM.as_ref(), &small);
    let three = "-all,+setuid,+setgid,+setpcap";
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *--provision*) exec {small} \"$@\";; esac\n\
         exec setpriv --reuid=64003 --regid=64003 --clear-groups --inh-caps={three} \\\n\
         --ambient-caps={three} --bounding-set={three} --no-new-privs {small} \"$@\"\n",
        small = small.display()
    );
    fs::write(&unit, script).expect("it is ours");
    fs::set_permissions(&unit, fs::Permissions::from_mode(0o755)).expect("it is ours");
    let mut wormhole = Running::new(&Launch { program: unit, ..launch });
    let mut client = wormhole.client();
    assert!(wormhole.proc("status").contains("Uid:\t64001\t64001\t64001\t64001"));
    assert!(wormhole.proc("status").contains("CapBnd:\t0000000000000000"));
    let protections = Protections::from_bits(client.status().expect("it runs").protections);
    let missing: Vec<_> = protections.missing().map(Protection::name).collect();
    let unit_lacks = [Protection::OwnNetwork.name(), Protection::RealTime.name()];
    let others: Vec<_> = missing.iter().filter(|name| !unit_lacks.contains(name)).collect();
    assert!(unit_lacks.iter().all(|name| missing.contains(name)), "the guide says so: {missing:?}");
    // A kernel without hidden memory, or the like, lacks that for everybody.
    let mut as_root = Running::new(&launch_of_root(&home));
    let by_root = Protections::from_bits(as_root.client().status().expect("it runs").protections);
    let by_root: Vec<_> = by_root.missing().map(Protection::name).collect();
    assert!(others.iter().all(|name| by_root.contains(name)), "{others:?} {by_root:?}");
}

fn launch_of_root(home: &Home) -> Launch {
    let state = home.0.join("of-root");
    Launch { state, owner: Owner::new(64_001, 64_002), ..home.launch() }
}

#[test]
fn it_works_without_privileges_and_says_what_is_missing() {
    let home = Home::new();
    let program = home.0.join("program");
    copy(PROGRAM.as_ref(), &program);
    let mut command = Command::new(program);
    command.arg("--selftest");
    if rustix::process::geteuid().is_root() {
        command.uid(64_003).gid(64_003);
    }
    let output = command.output().expect("it starts");
    assert!(output.status.success(), "{}", errors(&output));
    let text = String::from_utf8_lossy(&output.stdout);
    let state_of = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("all are told");
        line.trim_start().starts_with("in force")
    };
    assert!(!state_of(Protection::OwnUser.name()), "{text}");
    assert!(!state_of(Protection::OwnNetwork.name()), "{text}");
    assert!(state_of(Protection::NotDumpable.name()), "{text}");
    assert!(state_of(Protection::FewCalls.name()), "{text}");
    assert!(errors(&output).contains("MISSING own user"), "{}", errors(&output));
}

#[test]
fn whoever_breaks_the_rules_loses_the_connection_and_nobody_else_does() {
    let home = Home::new();
    let launch = Launch { connection_count: 4, ..home.launch() };
    let mut wormhole = Running::new(&launch);
    let mut client = wormhole.client();
    let [short, long, deaf] = std::mem::take(&mut wormhole.ends).try_into().expect("three");
    let send = |end: &OwnedFd, bytes: &[u8]| {
        rustix::net::send(end, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)
    };
    send(&short, &[1; 511]).expect("it is sent");
    send(&long, &[1; 513]).expect("it is sent");
    // It never takes an answer; the wormhole does not wait for it.
    let start = Instant::now();
    while send(&deaf, &[1; 512]) != Err(rustix::io::Errno::PIPE) {
        assert!(start.elapsed() < SOON, "it is not cut off");
    }
    attest(&mut client, 0, 1).expect("others go on");
    for end in [short, long] {
        let mut byte = [0; 512];
        let flags = rustix::net::RecvFlags::empty();
        let (_, length) = rustix::net::recv(&end, &mut byte[..], flags).expect("it is closed");
        assert_eq!(length, 0, "what is no frame has no answer");
    }
    drop(client);
    assert_eq!(wormhole.ended(), 0);
}

#[test]
fn one_payload_cannot_use_up_what_another_has() {
    let home = Home::new();
    let launch = Launch { connection_count: 2, ..home.launch() };
    let mut wormhole = Running::new(&launch);
    let (mut greedy, mut modest) = (wormhole.client(), wormhole.client());
    let mut value = 0;
    let refusal = loop {
        match attest(&mut greedy, value, value + 1) {
            Ok(_) => value += 1,
            Err(error) => break error,
        }
        assert!(value < 1_000_000, "there is no limit");
    };
    assert!(matches!(refusal, CallError::Refused(Refusal::NoResources { .. })), "{refusal}");
    for _ in 0..50 {
        modest.random().expect("it has its own share");
    }
}

#[test]
fn wrong_arguments_are_named_and_end_with_2() {
    let cluster = "0a".repeat(32);
    let base = ["--state", "d", "--cluster", &cluster, "--replica", "1"];
    let with = |more: &[&'static str]| run(&[&base, more].concat());
    for (output, line) in [
        (run(&[]), "`--state` is missing"),
        (run(&["--serve"]), "unknown argument `--serve`"),
        (with(&[]), "`--fd` is missing"),
        (with(&["--fd", "1"]), "`--fd` cannot be `1`"),
        (with(&["--fd", "9", "--fd", "9"]), "`--fd` cannot be `9`"),
        (with(&["--fd", "9", "--user", "0:0"]), "`--user` cannot be `0:0`"),
        (with(&["--fd", "9", "--lease", "run"]), "`--tpm` is missing"),
    ] {
        assert_eq!(output.status.code(), Some(2), "{line}");
        assert!(errors(&output).contains(line), "{}", errors(&output));
    }
    assert_eq!(run(&["--help"]).status.code(), Some(0));
}

#[test]
fn what_is_no_connection_is_refused() {
    let cluster = "0a".repeat(32);
    let arguments = ["--state", "d", "--cluster", &cluster, "--replica", "1", "--fd", "9"];
    let output = run(&arguments);
    assert_eq!(output.status.code(), Some(1));
    assert!(errors(&output).contains("descriptor 9 is no connection"), "{}", errors(&output));

    let (stream, _other) = std::os::unix::net::UnixStream::pair().expect("a descriptor is left");
    let file = fs::File::open("/dev/null").expect("it is everywhere");
    for wrong in [OwnedFd::from(stream), OwnedFd::from(file)] {
        let mut command = Command::new(PROGRAM);
        let number = wrong.as_raw_fd().to_string();
        command.args(&arguments[..arguments.len() - 1]).arg(&number);
        os::hand_over(&mut command, vec![wrong]);
        let output = command.output().expect("it starts");
        assert_eq!(output.status.code(), Some(1));
        let line = format!("descriptor {number} is no connection");
        assert!(errors(&output).contains(&line), "{}", errors(&output));
    }

    let launch = Launch { connection_count: 5, ..Home::new().launch() };
    assert!(matches!(launch.start(), Err(LaunchError::ConnectionCount(5))));
}

#[test]
fn a_state_directory_that_others_can_open_is_refused() {
    let home = Home::new();
    let launch = home.launch();
    drop(Running::new(&launch));
    let refused = |path: &Path, mode| {
        let before = fs::metadata(path).expect("it is there").permissions();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
        let launched = launch.start().expect("the program starts");
        let peer = Peer { cluster: MEMBER.0, replica: MEMBER.1, provisioned: anyone() };
        let mut running = Running { process: launched.process, peer, ends: launched.ends };
        assert_eq!(running.ended(), 1, "{path:?} with mode {mode:o}");
        fs::set_permissions(path, before).expect("it is ours");
    };
    refused(&launch.state, 0o750);
    refused(&launch.state, 0o701);
    refused(&launch.state.join("key"), 0o640);
    refused(&launch.state.join("key"), 0o604);
    assert!(launch.provision().is_err(), "there is a key, which is never overwritten");
    fs::remove_file(launch.state.join("key")).expect("it is ours");
    let mut without_key = launch.start().expect("the program starts").process;
    assert_eq!(without_key.wait().expect("it is ours").code(), Some(1));
}

/// A software TPM; `None`, said aloud, where there is none.
fn software_tpm(home: &Home) -> Option<(Killed, PathBuf)> {
    let (memory, socket) = (home.0.join("tpm"), home.0.join("tpm.sock"));
    fs::create_dir(&memory).expect("the directory is new");
    let started = Command::new("swtpm")
        .args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear"])
        .args(["--server", &format!("type=unixio,path={}", socket.display())])
        .args(["--tpmstate", &format!("dir={}", memory.display())])
        .stderr(Stdio::null())
        .spawn();
    let Ok(process) = started else {
        let _ = writeln!(std::io::stderr(), "SKIPPED: needs `swtpm`");
        return None;
    };
    let start = Instant::now();
    while !socket.exists() {
        assert!(start.elapsed() < SOON, "swtpm does not listen");
        sleep(Duration::from_millis(5));
    }
    Some((Killed(process), socket))
}

/// A process that ends with its test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A wormhole with a counter in a software TPM.
fn anchored(home: &Home, tpm: &Path, lease: Lease) -> (Launch, Running) {
    let launch = Launch { store: Some((tpm.to_owned(), lease)), ..home.launch() };
    let provisioned = launch.provision().expect("a new directory");
    let (tpm, state) = (tpm.to_str().expect("ASCII"), launch.state.to_str().expect("ASCII"));
    let output = run(&["--anchor", "0x1800001", "--tpm", tpm, "--state", state]);
    assert!(output.status.success(), "{}", errors(&output));
    let peer = Peer { cluster: MEMBER.0, replica: MEMBER.1, provisioned };
    let running = Running::again(&launch, peer);
    (launch, running)
}

#[test]
fn with_a_counter_a_clean_stop_resumes_and_a_crash_does_not() {
    let home = Home::new();
    let Some((_tpm, socket)) = software_tpm(&home) else { return };
    let (launch, mut wormhole) = anchored(&home, &socket, Lease::Run);
    let mut client = wormhole.client();
    let first = attest(&mut client, 0, 1).expect("it is the first");
    wormhole.signal(Signal::TERM);
    assert_eq!(wormhole.ended(), 0, "it stored its instance");

    let mut again = Running::again(&launch, wormhole.peer);
    let mut resumed = again.client();
    assert_eq!(instance(&client), instance(&resumed));
    assert_eq!(resumed.last(Counter::Ordering).expect("it runs"), Some(first));
    assert!(matches!(attest(&mut resumed, 0, 1), Err(CallError::Refused(Refusal::Conflict))));
    attest(&mut resumed, 1, 2).expect("it is the next");
    again.signal(Signal::KILL);
    again.ended();

    let mut anew = Running::again(&launch, wormhole.peer);
    assert_ne!(instance(&resumed), instance(&anew.client()));
}

#[test]
fn with_a_step_of_the_counter_each_a_crash_resumes_too() {
    let home = Home::new();
    let Some((_tpm, socket)) = software_tpm(&home) else { return };
    let (launch, mut wormhole) = anchored(&home, &socket, Lease::Every);
    let mut client = wormhole.client();
    let first = attest(&mut client, 0, 1).expect("it is the first");
    wormhole.signal(Signal::KILL);
    wormhole.ended();

    let mut again = Running::again(&launch, wormhole.peer);
    let mut resumed = again.client();
    assert_eq!(instance(&client), instance(&resumed));
    assert_eq!(resumed.last(Counter::Ordering).expect("it runs"), Some(first));
    attest(&mut resumed, 1, 2).expect("it is the next");
}

/// A plan cannot be taken back; that the process stops before is no way around it.
#[test]
fn a_stop_before_a_planned_lock_puts_it_on() {
    for (action, resumes) in [(Action::FailSafeLock, true), (Action::EraseKey, false)] {
        for end in [Some(Signal::TERM), None] {
            let home = Home::new();
            let Some((_tpm, socket)) = software_tpm(&home) else { return };
            let (launch, mut wormhole) = anchored(&home, &socket, Lease::Run);
            let mut client = wormhole.client();
            attest(&mut client, 0, 1).expect("it is the first");
            let not_before = Nanos::from_millis(3_600_000);
            let plan = ExecCall { action, not_before, within: Nanos::from_millis(1_000) };
            client.exec_at(plan).expect("there is room");
            let before = instance(&client);
            match end {
                Some(signal) => wormhole.signal(signal),
                None => drop(client),
            }
            assert_eq!(wormhole.ended(), 0);

            let mut again = Running::again(&launch, wormhole.peer);
            let mut resumed = again.client();
            assert_eq!(instance(&resumed) == before, resumes, "{action:?}");
            let result = attest(&mut resumed, 1, 2);
            let is_locked = matches!(result, Err(CallError::Refused(Refusal::Locked)));
            assert_eq!(is_locked, resumes, "{action:?}: {result:?}");
        }
    }
}

#[test]
fn whoever_waits_when_the_store_fails_learns_it() {
    let home = Home::new();
    let Some((tpm, socket)) = software_tpm(&home) else { return };
    let (_, mut wormhole) = anchored(&home, &socket, Lease::Every);
    let mut client = wormhole.client();
    attest(&mut client, 0, 1).expect("it is the first");
    drop(tpm);
    let start = Instant::now();
    let result = attest(&mut client, 1, 2);
    assert!(matches!(result, Err(CallError::Channel(_))), "{result:?}");
    assert!(start.elapsed() < SOON / 2, "it waited for nothing");
    assert_eq!(wormhole.ended(), 3, "stopped in doubt");
}

/// A program that is no wormhole and never ends.
#[test]
fn a_program_that_says_nothing_is_ended() {
    let home = Home::new();
    let mute = home.0.join("mute");
    fs::write(&mute, "#!/bin/sh\nexec sleep 1000\n").expect("it is ours");
    fs::set_permissions(&mute, fs::Permissions::from_mode(0o755)).expect("it is ours");
    let start = Instant::now();
    let launch = Launch { program: mute, ..home.launch() };
    let provisioned = loop {
        // Another test may be forking with the script still open for writing.
        match launch.provision() {
            Err(LaunchError::Program(error)) if error.raw_os_error() == Some(26) => {}
            other => break other,
        }
    };
    assert!(matches!(provisioned, Err(LaunchError::Silent)), "{provisioned:?}");
    assert!(start.elapsed() < 2 * launcher::COMMAND_MAX, "it took {:?}", start.elapsed());
}

#[test]
fn the_public_key_is_printed_again() {
    let home = Home::new();
    let launch = home.launch();
    assert!(matches!(launch.public(), Err(LaunchError::Refused { .. })), "there is none yet");
    // Nobody reads what this prints: it says so, and the key is not lost.
    let (reader, writer) = std::io::pipe().expect("a descriptor is left");
    drop(reader);
    let state = launch.state.to_str().expect("ASCII");
    let mut provision = Command::new(PROGRAM);
    provision.args(["--provision", "--state", state]).stdout(writer).stderr(Stdio::piped());
    let output = provision.spawn().and_then(Child::wait_with_output).expect("it starts");
    assert_eq!(output.status.code(), Some(1));
    assert!(errors(&output).contains("nobody reads"), "{}", errors(&output));

    let public = launch.public().expect("there is a key");
    let peer = Peer { cluster: MEMBER.0, replica: MEMBER.1, provisioned: public };
    let mut wormhole = Running::again(&launch, peer);
    wormhole.client();
    assert_eq!(launch.public().expect("also while it runs"), public);
}

#[test]
fn what_a_terminal_says_does_not_stop_it_and_a_hangup_ends_it_cleanly() {
    let home = Home::new();
    let mut wormhole = Running::new(&home.launch());
    let mut client = wormhole.client();
    for signal in [Signal::QUIT, Signal::TSTP, Signal::TTOU, Signal::TTIN, Signal::PIPE] {
        wormhole.signal(signal);
        client.random().expect("it goes on");
    }
    let session = rustix::process::getsid(Some(Pid::from_child(&wormhole.process)));
    assert_eq!(session.expect("it runs"), Pid::from_child(&wormhole.process));
    wormhole.signal(Signal::HUP);
    assert_eq!(wormhole.ended(), 0);
}

#[test]
fn it_closes_what_it_was_not_named() {
    let home = Home::new();
    let launch = home.launch();
    let provisioned = launch.provision().expect("a new directory");
    let peer = Peer { cluster: MEMBER.0, replica: MEMBER.1, provisioned };
    let (reader, writer) = std::io::pipe().expect("a descriptor is left");
    let (end, own) = rustix::net::socketpair(
        rustix::net::AddressFamily::UNIX,
        rustix::net::SocketType::SEQPACKET,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )
    .expect("two are left");
    let mut command = Command::new(PROGRAM);
    command
        .args(["--cluster", &"09".repeat(32), "--replica", "2"])
        .arg("--state")
        .arg(&launch.state);
    command.arg("--fd").arg(own.as_raw_fd().to_string());
    os::hand_over(&mut command, vec![own, writer.into()]);
    let process = command.spawn().expect("it starts");
    drop(command);
    let mut wormhole = Running { process, peer, ends: vec![end] };
    let _client = wormhole.client();
    let descriptors = fs::read_dir(format!("/proc/{}/fd", wormhole.process.id()));
    // Three, a connection, the signals'. Only root may look.
    assert!(descriptors.map_or(5, Iterator::count) <= 5);
    let mut buffer = [0; 1];
    rustix::io::ioctl_fionbio(&reader, true).expect("it is ours");
    // What other tests start at this moment holds the other end until it is executed.
    let deadline = Instant::now() + Duration::from_secs(10);
    while rustix::io::read(&reader, &mut buffer) != Ok(0) {
        assert!(Instant::now() < deadline, "it still holds the other end");
        sleep(Duration::from_millis(5));
    }
}

/// The directory is named from where it was started: a wormhole itself runs elsewhere.
#[test]
fn a_self_test_leaves_nothing_behind_even_when_it_fails() {
    let home = Home::new();
    let broken = home.0.join("ravelin-wormhole");
    copy("/bin/true".as_ref(), &broken);
    // What answers nothing is no wormhole; what was made for it is gone.
    let output = Command::new(PROGRAM)
        .arg("--selftest")
        .env("TMPDIR", "scratch")
        .current_dir(&home.0)
        .output();
    assert!(!output.expect("it starts").status.success(), "there is no such directory");
    fs::create_dir(home.0.join("scratch")).expect("it is ours");
    fs::set_permissions(home.0.join("scratch"), fs::Permissions::from_mode(0o755))
        .expect("it is ours");
    let mut command = Command::new(PROGRAM);
    command.arg("--selftest").env("TMPDIR", "scratch").current_dir(&home.0);
    let output = command.output().expect("it starts");
    assert!(output.status.success(), "{}", errors(&output));
    assert!(errors(&output).contains("a new instance"), "{}", errors(&output));
    assert_eq!(fs::read_dir(home.0.join("scratch")).expect("it is ours").count(), 0);

    let failed = selftest::measure(&broken, None);
    assert!(failed.is_err(), "{failed:?}");
}

/// It provisions as it should, and then does not answer.
#[test]
fn a_self_test_ends_a_wormhole_that_does_not_answer() {
    let home = Home::new();
    let (program, pid) = (home.0.join("mute"), home.0.join("pid"));
    let key = "0a".repeat(32);
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in\n*--provision*) echo {key};;\n*) echo $$ > {}; exec sleep 1000;;\n\
         esac\n",
        pid.display()
    );
    fs::write(&program, script).expect("it is ours");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("it is ours");
    let start = Instant::now();
    let error = loop {
        match selftest::measure(&program, None).expect_err("it cannot be measured") {
            // Another test may be forking with the script still open for writing.
            SelfTestError::Launch(LaunchError::Program(error))
                if error.raw_os_error() == Some(26) => {}
            other => break other,
        }
    };
    assert!(matches!(error, SelfTestError::Hello(HelloError::Channel(_))), "{error:?}");
    assert!(start.elapsed() < 2 * SOON, "it took {:?}", start.elapsed());
    let pid = fs::read_to_string(pid).expect("it ran");
    assert!(!Path::new("/proc").join(pid.trim()).exists(), "it runs on");
}

/// Under the other lease nothing starts, and nothing is lost.
#[test]
fn the_other_lease_is_refused() {
    let home = Home::new();
    let Some((_tpm, socket)) = software_tpm(&home) else { return };
    let (launch, mut wormhole) = anchored(&home, &socket, Lease::Run);
    let client = wormhole.client();
    wormhole.signal(Signal::TERM);
    assert_eq!(wormhole.ended(), 0);
    let other = Launch { store: Some((socket, Lease::Every)), ..launch.clone() };
    assert_eq!(Running::again(&other, wormhole.peer).ended(), 1, "it does not start");
    let mut again = Running::again(&launch, wormhole.peer);
    assert_eq!(instance(&client), instance(&again.client()));
}

/// The tests' threads would keep what one of them drops.
#[test]
fn privileges_are_dropped_before_there_are_threads() {
    let dropped = launcher::drop_payload_privileges(None, None, CapabilitySet::empty());
    assert!(matches!(dropped, Err(LaunchError::Privileges(_))), "{dropped:?}");
}

fn anyone() -> ravelin_wormhole::attestation::ProvisionedId {
    ravelin_wormhole::attestation::ProvisionedId([0; 32])
}
