//! What each kind of payload can do to a wormhole of its host: every attack tried, every result
//! printed, and what must be denied checked.
//!
//! Run as root, this starts a real wormhole for each kind of payload, then itself as the payload. A
//! payload with full capabilities is the control: what it gets shows that the attacks work. For the
//! payload of the same user it first becomes that user, so that nothing is done by root.

#![allow(clippy::indexing_slicing, reason = "a test that is wrong fails, as it should")]

mod attacks;
#[path = "../raw/mod.rs"]
mod raw;

use std::cell::Cell;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::rc::Rc;
use std::{fs, io};

use ravelin_wormhole::attestation::{
    ClusterId, Counter, CounterValue, Digest, Epoch, Peer, ReplicaId,
};
use ravelin_wormhole::client::{CallError, Channel, Client, SeqPacket};
use ravelin_wormhole::frame::{ANSWER_BYTES, AttestCall, Frame};
use ravelin_wormhole::hex;
use ravelin_wormhole::launcher::{self, Launch, LaunchError, Launched};
use ravelin_wormhole::sandbox::{Owner, Protection, Protections};
use rustix::thread::CapabilitySet;
use sha2::{Digest as _, Sha512};
use zeroize::Zeroizing;

use attacks::{ATTACKS, Aim, Outcome, PASS, Target};

const WORMHOLE: u32 = 64_001;
const PAYLOAD: u32 = 64_002;
const MEMBER: (ClusterId, ReplicaId) = (ClusterId([9; 32]), ReplicaId(2));
/// What a root must have to be the control.
const CONTROL: CapabilitySet = CapabilitySet::SYS_PTRACE
    .union(CapabilitySet::SYS_ADMIN)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::DAC_OVERRIDE);
/// The rows that need a control: what full root gets on any kernel, so that a denial to others says
/// something. Of another row it says so only where full root gets it here, too; if not, the row is printed
/// as unproven.
const PROOFS: [&str; 8] = [
    "read /proc/PID/maps",
    "read /proc/PID/mem, ordinary",
    "process_vm_readv, ordinary",
    "ptrace",
    "pidfd_getfd of a connection",
    "read its key file",
    "enter its network namespace",
    "kill",
];
/// What hidden memory denies even to full root, unless it makes the wormhole itself tell.
const HIDDEN: [&str; 4] = [
    "read /proc/PID/mem, hidden",
    "search memory for its key",
    "search memory for a session's",
    "process_vm_readv, hidden",
];
/// What the files of a user are open to, if the payload is the same user.
const OF_THE_USER: [&str; 2] = ["read its key file", "write into its state directory"];

/// Who attacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Payload {
    /// A user of its own, as it should be.
    OwnUser,
    /// User 0 without capabilities.
    ReducedRoot,
    /// The wormhole's user: what there is without root.
    SameUser,
    /// User 0 with every capability: the control.
    FullRoot,
}

impl Payload {
    const ALL: [Self; 4] = [Self::OwnUser, Self::ReducedRoot, Self::SameUser, Self::FullRoot];

    fn name(self) -> &'static str {
        match self {
            Self::OwnUser => "own user",
            Self::ReducedRoot => "root, no capabilities",
            Self::SameUser => "same user",
            Self::FullRoot => "full root",
        }
    }

    /// The wormhole's user, which the payload must not be, if it has one of its own.
    fn neighbour(self) -> Option<Owner> {
        Owner::new(WORMHOLE, WORMHOLE).filter(|_| self != Self::SameUser)
    }

    fn reduce(self) {
        let owner = match self {
            Self::FullRoot => return,
            Self::ReducedRoot => None,
            Self::SameUser => None, // it is that user already
            Self::OwnUser => Owner::new(PAYLOAD, PAYLOAD),
        };
        launcher::drop_payload_privileges(owner, self.neighbour(), CapabilitySet::empty())
            .expect("it can");
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.get(1).map(String::as_str) {
        Some("payload") => return attack(&arguments[2..]),
        Some("keep") => return keep(),
        Some("scene") => return Scene::play_in(Payload::SameUser, Path::new(&arguments[2])).tell(),
        _ => {}
    }
    let capabilities = rustix::thread::capabilities(None).expect("every process has some");
    if !rustix::process::geteuid().is_root() || !capabilities.effective.contains(CONTROL) {
        println!("SKIPPED: the attack table needs root with {CONTROL:?}");
        return;
    }
    let home = std::env::temp_dir().join(format!("wormhole-{}", std::process::id()));
    let scenes: Vec<Scene> = Payload::ALL.into_iter().map(|one| Scene::play(one, &home)).collect();
    print(&scenes);
    for scene in &scenes {
        let missing: Vec<_> = scene.protections.missing().map(Protection::name).collect();
        println!("{}: missing protections: {missing:?}", scene.payload.name());
    }
    scenes.iter().for_each(Scene::check);
    check_keep_list();
}

/// A payload that may keep one capability has that one, also in what it executes, and no other.
fn check_keep_list() {
    let own = std::env::current_exe().expect("the test has a file");
    let output = Command::new(own).arg("keep").output().expect("the test starts itself");
    let text = String::from_utf8_lossy(&output.stdout);
    let sets: Vec<&str> = text.lines().filter(|line| line.starts_with("Cap")).collect();
    let kept = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]
        .map(|set| format!("{set}:\t{:016x}", CapabilitySet::NET_BIND_SERVICE.bits()));
    assert_eq!(sets, kept, "{text}{}", String::from_utf8_lossy(&output.stderr));
}

fn keep() {
    let kept = CapabilitySet::NET_BIND_SERVICE;
    let (own, wormhole) = (Owner::new(PAYLOAD, PAYLOAD), Owner::new(WORMHOLE, WORMHOLE));
    let same = launcher::drop_payload_privileges(own, own, kept);
    assert!(matches!(same, Err(LaunchError::SameUser(PAYLOAD))), "{same:?}");
    launcher::drop_payload_privileges(own, wormhole, kept).expect("root can");
    Command::new("cat").arg("/proc/self/status").status().expect("cat is there");
}

/// One wormhole and one payload.
struct Scene {
    payload: Payload,
    protections: Protections,
    outcomes: Vec<Outcome>,
    /// Whether the wormhole still attests afterwards.
    is_alive: bool,
}

impl Scene {
    /// Sets the scene in a new directory: the wormhole's program, this program, and a place for the
    /// state that belongs to whoever starts it.
    fn play(payload: Payload, home: &Path) -> Self {
        let copy = |from: &Path, name| fs::copy(from, home.join(name)).expect("there is room");
        let place = home.join("place");
        for directory in [home, &place] {
            fs::create_dir(directory).expect("nobody has this directory");
            fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).expect("it is ours");
        }
        copy(Path::new(env!("CARGO_BIN_EXE_ravelin-wormhole")), "ravelin-wormhole");
        copy(&std::env::current_exe().expect("the test has a file"), "test");
        let scene = if payload == Payload::SameUser {
            std::os::unix::fs::chown(&place, Some(WORMHOLE), Some(WORMHOLE)).expect("root can");
            let mut command = Command::new(home.join("test"));
            command.arg("scene").arg(home).uid(WORMHOLE).gid(WORMHOLE);
            Self::hear(payload, &command.output().expect("the test starts itself"))
        } else {
            Self::play_in(payload, home)
        };
        fs::remove_dir_all(home).expect("it is ours");
        scene
    }

    fn play_in(payload: Payload, home: &Path) -> Self {
        let is_root = rustix::process::geteuid().is_root();
        let launch = Launch {
            program: home.join("ravelin-wormhole"),
            state: home.join("place/state"),
            owner: Owner::new(WORMHOLE, WORMHOLE).filter(|_| is_root),
            connection_count: 3,
            member: MEMBER,
            store: None,
            words: None,
        };
        let provisioned = launch.provision().expect("a new directory");
        let peer = Peer { cluster: MEMBER.0, replica: MEMBER.1, provisioned };
        let Launched { mut process, mut ends } = launch.start().expect("it starts");
        let answer = Rc::new(Cell::new([0; ANSWER_BYTES]));
        let mut hello = |entropy| {
            let channel =
                Recorded { channel: SeqPacket::new(ends.remove(0)), answer: Rc::clone(&answer) };
            Client::hello(channel, &peer, &Zeroizing::new([entropy; 32])).expect("it runs")
        };
        let mut client = hello(1);
        // Its keys are used before they are looked for, the provisioned one last.
        (0..50).for_each(|value| assert!(attest(&mut client, value).is_ok(), "it attests"));
        let status = client.status().expect("it says how it is");
        let protections = Protections::from_bits(status.protections);
        let mut last = hello(2);
        last.random().expect("it runs");
        let target = target(&launch, process.id(), answer.get());
        let end = ends.pop().expect("one is left");
        let outcomes = run_payload(payload, home, &target, end);
        let is_alive = attest(&mut client, 50).is_ok();
        drop((client, last));
        process.wait().expect("it is ours");
        Self { payload, protections, outcomes, is_alive }
    }

    /// Writes the scene down for the process that asked for it.
    fn tell(self) {
        println!("{} {}", self.protections.bits(), self.is_alive);
        self.outcomes.iter().for_each(Outcome::tell);
    }

    fn hear(payload: Payload, output: &Output) -> Self {
        let text = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        let (head, outcomes) = text.split_once('\n').unwrap_or_else(|| panic!("{errors}"));
        let (bits, is_alive) = head.split_once(' ').expect("both are told");
        Self {
            payload,
            protections: Protections::from_bits(bits.parse().expect("a number")),
            outcomes: outcomes.lines().map(Outcome::hear).collect(),
            is_alive: is_alive == "true",
        }
    }

    fn outcome(&self, name: &str) -> &Outcome {
        let place = ATTACKS.iter().position(|attack| attack.name == name);
        &self.outcomes[place.expect("a known attack")]
    }

    fn check(&self) {
        let who = self.payload.name();
        let is_got = |name: &&str| matches!(self.outcome(name), Outcome::Got(_));
        let of_aim = |aim: &[Aim]| -> Vec<&str> {
            ATTACKS.iter().filter(|a| aim.contains(&a.aim)).map(|a| a.name).filter(is_got).collect()
        };
        match self.payload {
            Payload::OwnUser => {
                let mut got = of_aim(&[Aim::Truth, Aim::Life, Aim::Later]);
                let passed = self.protections.has(Protection::NoPassedFiles);
                got.retain(|name| passed || *name != PASS);
                assert_eq!(got, [""; 0], "{who}");
            }
            Payload::ReducedRoot => assert_eq!(of_aim(&[Aim::Truth]), [""; 0], "{who}"),
            Payload::SameUser => assert_eq!(of_aim(&[Aim::Truth]), OF_THE_USER, "{who}"),
            Payload::FullRoot => {
                let missed: Vec<_> = PROOFS.iter().filter(|name| !is_got(name)).collect();
                assert_eq!(missed, [&""; 0], "{who} is no control: these attacks do not work");
            }
        }
        if self.protections.has(Protection::HiddenMemory) {
            let read: Vec<_> = HIDDEN.into_iter().filter(is_got).collect();
            assert_eq!(read, [""; 0], "{who} read hidden memory");
        }
        let is_killed = is_got(&"kill");
        assert_eq!(self.is_alive, !is_killed, "{who}: a wormhole that lives attests");
    }
}

fn attest(client: &mut Client<Recorded>, value: u64) -> Result<(), CallError> {
    let (expected_old, new) = (CounterValue(value), CounterValue(value + 1));
    let (counter, epoch, digest) = (Counter::Ordering, Epoch(0), Digest([7; 32]));
    client.attest(AttestCall { counter, epoch, expected_old, new, digest }).map(|_| ())
}

/// A connection that remembers the last answer.
struct Recorded {
    channel: SeqPacket,
    answer: Rc<Cell<Frame>>,
}

impl Channel for Recorded {
    fn send(&mut self, frame: &Frame) -> io::Result<()> {
        self.channel.send(frame)
    }

    fn receive(&mut self) -> io::Result<Frame> {
        let frame = self.channel.receive()?;
        self.answer.set(frame);
        Ok(frame)
    }
}

/// What somebody who looked around knows of the wormhole; addresses only root can know.
fn target(launch: &Launch, pid: u32, answer: Frame) -> Target {
    let proc = PathBuf::from(format!("/proc/{pid}"));
    let maps = fs::read_to_string(proc.join("maps")).unwrap_or_default();
    let start = |name: &str| {
        let line = maps.lines().find(|line| line.contains(name))?;
        u64::from_str_radix(line.split('-').next()?, 16).ok()
    };
    let ordinary = start("[heap]").unwrap_or_default();
    let command = fs::read(proc.join("cmdline")).expect("anyone may read it");
    let mut words = command.split(|byte| *byte == 0).skip_while(|word| *word != b"--fd");
    let connection = words.nth(1).and_then(|word| str::from_utf8(word).ok()?.parse().ok());
    Target {
        pid: i32::try_from(pid).expect("the kernel's are"),
        ordinary,
        hidden: start("secretmem").unwrap_or(ordinary),
        connection: connection.expect("it was started with one"),
        state: launch.state.clone(),
        program: launch.program.clone(),
        needles: forms_of_key(&launch.state),
        answer,
    }
}

/// The provisioned key as it is stored, the last 32 bytes of its file, and as it is when it signs.
fn forms_of_key(state: &Path) -> Vec<[u8; 32]> {
    let bytes = fs::read(state.join("key")).expect("its user may read it");
    let seed: [u8; 32] = *bytes.last_chunk().expect("it holds a key");
    let expanded: [u8; 64] = Sha512::digest(seed).into();
    let [half, prefix] = [0, 32].map(|at| std::array::from_fn(|byte| expanded[at + byte]));
    let mut scalar = half;
    scalar[0] &= 248;
    scalar[31] = scalar[31] & 127 | 64;
    vec![seed, half, prefix, scalar, modulo_order(scalar)]
}

/// The scalar modulo the order of the group, which is 2^252 and a little.
fn modulo_order(mut scalar: [u8; 32]) -> [u8; 32] {
    let order = "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010";
    let order = hex::decode(order).expect("64 digits");
    while scalar.iter().rev().ge(order.iter().rev()) {
        let mut borrow = 0;
        for (digit, of_order) in scalar.iter_mut().zip(order) {
            let difference = i16::from(*digit) - i16::from(of_order) - borrow;
            (*digit, borrow) = (difference.rem_euclid(256) as u8, i16::from(difference < 0));
        }
    }
    scalar
}

/// Starts this program as the payload, with a connection as its standard input, and reads what it got.
fn run_payload(payload: Payload, home: &Path, target: &Target, end: OwnedFd) -> Vec<Outcome> {
    let needles: Vec<String> = target.needles.iter().map(|needle| hex::encode(needle)).collect();
    let output = Command::new(home.join("test"))
        .args(["payload", payload.name()])
        .args([target.pid.to_string(), target.connection.to_string()])
        .args([target.ordinary.to_string(), target.hidden.to_string()])
        .args([&target.state, &target.program])
        .arg(hex::encode(&target.answer))
        .args(needles)
        .stdin(end)
        .output()
        .expect("the test starts itself");
    let text = String::from_utf8_lossy(&output.stdout);
    let outcomes: Vec<Outcome> = text.lines().map(Outcome::hear).collect();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(outcomes.len(), ATTACKS.len(), "{} gave up: {text}{errors}", payload.name());
    outcomes
}

/// The payload: drops what its kind does not have, and tries everything.
fn attack(arguments: &[String]) {
    let [name, pid, connection, ordinary, hidden, state, program, answer, needles @ ..] = arguments
    else {
        panic!("called by the test only");
    };
    let payload = Payload::ALL.into_iter().find(|one| one.name() == name).expect("a known kind");
    let number = |text: &str| text.parse::<u64>().expect("a number");
    let target = Target {
        pid: pid.parse().expect("a number"),
        ordinary: number(ordinary),
        hidden: number(hidden),
        connection: connection.parse().expect("a number"),
        state: state.into(),
        program: program.into(),
        needles: needles.iter().filter_map(|text| hex::decode(text)).collect(),
        answer: std::array::from_fn(|byte| {
            u8::from_str_radix(&answer[2 * byte..][..2], 16).expect("two digits")
        }),
    };
    payload.reduce();
    ATTACKS.iter().for_each(|attack| attack.try_on(&target).tell());
}

impl Outcome {
    fn tell(&self) {
        let (kind, text) = match self {
            Self::Got(text) => ("got", text),
            Self::Denied(text) => ("denied", text),
            Self::Absent(text) => ("absent", text),
        };
        println!("{kind}\t{}", text.replace(['\t', '\n'], " "));
    }

    fn hear(line: &str) -> Self {
        let (kind, text) = line.split_once('\t').unwrap_or_else(|| panic!("{line}"));
        let kind = match kind {
            "got" => Self::Got,
            "denied" => Self::Denied,
            _ => Self::Absent,
        };
        kind(text.to_owned())
    }
}

fn print(scenes: &[Scene]) {
    print!("{:<32}", "attack");
    scenes.iter().for_each(|scene| print!("| {:<31}", scene.payload.name()));
    println!("| what shows that it works");
    for (number, attack) in ATTACKS.iter().enumerate() {
        print!("{:<32}", attack.name);
        for scene in scenes {
            let text = match &scene.outcomes[number] {
                Outcome::Got(text) => format!("GOT: {text}"),
                Outcome::Denied(text) => format!("denied: {text}"),
                Outcome::Absent(text) => format!("absent: {text}"),
            };
            print!("| {:<31.31}", text);
        }
        println!("| {}", standing(attack.name, number, scenes));
    }
}

/// What a row's denials are worth, by who got it.
fn standing(name: &str, number: usize, scenes: &[Scene]) -> &'static str {
    let gets = |scene: &&Scene| matches!(scene.outcomes[number], Outcome::Got(_));
    let is_control = |scene: &Scene| scene.payload == Payload::FullRoot;
    match scenes.iter().rfind(gets) {
        Some(scene) if is_control(scene) && PROOFS.contains(&name) => "full root gets it, and must",
        Some(scene) if is_control(scene) => "full root gets it here",
        Some(_) => "another payload gets it here",
        None if HIDDEN.contains(&name) => "the same on ordinary memory",
        None => "unproven here: nobody gets it",
    }
}
