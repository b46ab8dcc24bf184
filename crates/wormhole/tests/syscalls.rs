//! Every system call outside of the list kills a closed process, and those on it do not.
//!
//! The test starts itself once for each number: the child closes itself as the wormhole does, makes
//! the one call and ends with a status that says that it survived.

mod raw;

use std::ffi::c_long;
use std::fs::File;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use ravelin_wormhole::os::{self, number};
use ravelin_wormhole::sandbox::{self, Kept, Owner, Protection, Store};

/// What a child ends with that made its call and lives.
const SURVIVED: i32 = 42;
/// The signal of a call that the filter does not know.
const SIGSYS: i32 = 31;
/// `uretprobe` and `uprobe` of x86-64: with these the kernel's own probes return, so it leads them past
/// every filter. From anywhere else the first kills the process, the second is an error.
const PROBES: [c_long; 2] = [335, 336];
/// More than any kernel has: unknown numbers must kill too, those of later kernels included.
const NUMBERS_END: c_long = 1024;
/// The bit of the x32 interface, a second set of numbers on x86-64.
const X32: c_long = 0x4000_0000;
const CHILD_MAX: Duration = Duration::from_secs(5);

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.as_slice() {
        [_, kind, store, number, first] if kind == "child" => child(store, number, first),
        // Beside each other: hardly one of a child and its parent computes at a time.
        _ => std::thread::scope(|threads| {
            for store in [Store::Absent, Store::Present] {
                threads.spawn(move || parent(store));
            }
        }),
    }
}

fn parent(store: Store) {
    let free = free(store);
    let mut bound = vec![(number::GETSOCKOPT, -1)];
    if store == Store::Absent {
        bound.extend([(number::READ, SIGNALS), (number::WRITE, 2)]);
    }
    for (number, first) in free.iter().chain(&bound) {
        let status = run(store, *number, *first);
        assert_eq!(status.code(), Some(SURVIVED), "{number}({first}) is on the list: {status}");
    }
    println!("{store:?}: {} calls of the list live", free.len() + bound.len());

    // With 0 as the first argument, calls that are bound to a descriptor must kill as well.
    let is_free = |number: &c_long| free.iter().any(|(free, _)| free == number);
    let (unfiltered, numbers): (Vec<c_long>, Vec<c_long>) = (0..NUMBERS_END)
        .filter(|number| !is_free(number))
        .chain(x32_numbers())
        .partition(|number| cfg!(target_arch = "x86_64") && PROBES.contains(number));
    let lived: Vec<c_long> =
        numbers.iter().copied().filter(|number| !is_killed(run(store, *number, 0))).collect();
    assert_eq!(lived, [], "these calls did not kill the process");
    println!("{store:?}: {} other numbers kill the process", numbers.len());
    println!("{store:?}: {unfiltered:?} never reach a filter: the kernel's own probes use them");
}

/// The calls with any argument, and a first argument for which each returns at once.
fn free(store: Store) -> Vec<(c_long, isize)> {
    let mut free = vec![
        (number::PPOLL, 0),
        (number::RECVFROM, -1),
        (number::SENDTO, -1),
        (number::CLOSE, -1),
        (number::CLOCK_GETTIME, 0),
        (number::EXIT_GROUP, SURVIVED as isize),
    ];
    let of_store = [
        (number::READ, -1),
        (number::WRITE, -1),
        (number::PREAD64, -1),
        (number::PWRITE64, -1),
        (number::FDATASYNC, -1),
        (number::GETRANDOM, 0),
    ];
    if store == Store::Present {
        free.extend(of_store);
    }
    free
}

/// The option of a socket about which a closed process may ask.
const SO_MEMINFO: usize = 55;
/// Stands for the descriptor of the signals, which only the child knows.
const SIGNALS: isize = -2;

fn x32_numbers() -> Vec<c_long> {
    let is_there = cfg!(target_arch = "x86_64");
    (0..600).filter(|_| is_there).map(|number| X32 | number).collect()
}

fn is_killed(status: ExitStatus) -> bool {
    status.signal() == Some(SIGSYS)
}

fn run(store: Store, number: c_long, first: isize) -> ExitStatus {
    let mut command = Command::new(std::env::current_exe().expect("the test has a file"));
    command.args(["child", &format!("{store:?}"), &number.to_string(), &first.to_string()]);
    let mut child = command.stdin(Stdio::null()).spawn().expect("the test starts itself");
    let start = Instant::now();
    loop {
        match child.try_wait().expect("the child is ours") {
            Some(status) => return status,
            None if start.elapsed() > CHILD_MAX => {
                child.kill().expect("the child is ours");
                return child.wait().expect("the child is ours");
            }
            None => std::thread::sleep(Duration::from_micros(300)),
        }
    }
}

fn child(store: &str, number: &str, first: &str) {
    let store = if store == "Present" { Store::Present } else { Store::Absent };
    let number: c_long = number.parse().expect("the parent gives a number");
    let first: isize = first.parse().expect("the parent gives a number");
    let owner = rustix::process::geteuid().is_root().then(|| Owner::new(64_001, 64_001)).flatten();
    let protections = sandbox::leave_privileges(owner).expect("every host can do it");
    let protections = sandbox::deny_files(protections).expect("the kernel takes it");
    if protections.has(Protection::NoFiles) {
        let (file, port) = (File::open("/").err(), TcpListener::bind("127.0.0.1:0").err());
        for denied in [file, port] {
            assert_eq!(denied.map(|error| error.kind()), Some(ErrorKind::PermissionDenied));
        }
    }
    let descriptor = os::termination_requests().expect("a descriptor is left");
    let signals = descriptor.as_raw_fd();
    sandbox::close(Kept { signals, store }).expect("every host can do it");

    let first = if first == SIGNALS { signals as isize } else { first };
    // An impossible count and a zero time make `ppoll` and the others return at once.
    let mut no_time = [0_u64; 2];
    let arguments = match number {
        number::PPOLL => [0, 0, raw::at(&mut no_time), 0, 0, 0],
        number::GETSOCKOPT if first != 0 => [first as usize, 1, SO_MEMINFO, 0, 0, 0],
        _ => [first as usize, 0, 0, 0, 0, 0],
    };
    let _ = raw::call(number, arguments);
    os::exit(SURVIVED as u8);
}
