//! Servers of a local cluster as processes of this machine.
//!
//! Each server leaves its process id beside its directory. A process counts as ours only if its
//! command line names that server's own file, so a recycled id is never signalled.

use std::ffi::OsString;
use std::fs;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ravelin_model::ReplicaId;
use ravelin_wormhole::launcher::PROGRAM_NAME;
use rustix::process::{Pid, Signal, kill_process};

use crate::cluster_dir::{LocalCluster, LocalServer, free_listeners};
use crate::exit::{Error, Exit, Result};

/// How long a server may take to end by itself before it is killed.
const STOP_MAX: Duration = Duration::from_secs(10);
/// Time between two looks at a process.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// How long a server's health listener may take to answer.
const HEALTH_MAX: Duration = Duration::from_millis(500);
/// Bytes of its answer that are read.
const HEALTH_BYTES_MAX: usize = 1 << 20;
/// Bytes at the end of a log in which the error is looked for with which its server ended.
const ENDING_BYTES_MAX: u64 = 4 << 10;
/// What the allocator of a server reads as it starts: how long memory that was given back is kept for the
/// next use. By itself it gives most back to the system within 10 ms, which takes and zeroes it again.
const PURGE_DELAY: &str = "MIMALLOC_PURGE_DELAY";
/// Milliseconds; unless whoever starts servers says another number.
const PURGE_DELAY_MS: &str = "2000";

/// The processes of a local cluster.
pub(crate) struct Processes<'a> {
    cluster: &'a LocalCluster,
    program: PathBuf,
    logging: Logging,
    environment: Vec<(&'static str, OsString)>,
}

/// In whose hands a server is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hands<'a> {
    /// Its own.
    Own,
    /// An intruder's, by name.
    Intruder(&'a str),
}

/// What servers log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Logging {
    /// What their node files say.
    AsFiled,
    /// Every hop of every request, as lines of JSON.
    Hops,
}

/// What is found running.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Running {
    /// The process.
    pub(crate) pid: u32,
    /// The intruder in charge, if any.
    pub(crate) intruder: Option<String>,
    /// Whether it is ending: it runs nothing any more, and still holds its sockets and the lock of its log.
    pub(crate) is_ending: bool,
}

impl<'a> Processes<'a> {
    /// The processes of `cluster`, run by this very program.
    pub(crate) fn of(cluster: &'a LocalCluster) -> Result<Self> {
        let program = std::env::current_exe().map_err(|error| {
            Error::caused(Exit::Failed, error, "start the program by its full path")
                .context("cannot find this program's own file")
        })?;
        Ok(Self { cluster, program, logging: Logging::AsFiled, environment: Vec::new() })
    }

    /// The same, whose servers are started with these variables beside our own.
    pub(crate) fn environment(self, environment: Vec<(&'static str, OsString)>) -> Self {
        Self { environment, ..self }
    }

    /// The same, whose servers log so.
    pub(crate) fn logging(self, logging: Logging) -> Self {
        Self { logging, ..self }
    }

    /// A server of the cluster.
    pub(crate) fn server(&self, id: ReplicaId) -> Result<&'a LocalServer> {
        self.cluster.servers.get(id.index()).ok_or_else(|| {
            let count = self.cluster.servers.len();
            Error::usage(
                format!("there is no server {id}"),
                format!("the cluster has servers 0 to {}", count.saturating_sub(1)),
            )
        })
    }

    /// Starts a server that is not running. Its output goes to `server.log` in its directory.
    pub(crate) fn start(&self, id: ReplicaId, hands: Hands<'_>) -> Result<u32> {
        let server = self.server(id)?;
        let log_path = log_file(server);
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log_path)
            .map_err(|error| Error::system("write", &log_path, &error))?;
        let errors = log.try_clone().map_err(|error| Error::system("write", &log_path, &error))?;
        let mut command = self.program_in(server.namespace.as_deref());
        command.arg("node").arg("start").arg("--config").arg(&server.node_file);
        if let Hands::Intruder(name) = hands {
            command.arg("--intruder").arg(name);
        }
        if self.logging == Logging::Hops {
            command.args(["--log-level", "trace", "--log-format", "json"]);
        }
        if std::env::var_os(PURGE_DELAY).is_none() {
            command.env(PURGE_DELAY, PURGE_DELAY_MS);
        }
        let child = command
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .process_group(0)
            .spawn()
            .map_err(|error| Error::system("start", &self.program, &error))?;
        let pid = child.id();
        // The child outlives this command; whoever started it and stays reaps it by waiting.
        reap_in_background(child);
        fs::write(pid_file(server), format!("{pid}\n"))
            .map_err(|error| Error::system("write", &pid_file(server), &error))?;
        Ok(pid)
    }

    /// Starts a copy of a server, which lies in `home`, on ports that are free.
    pub(crate) fn start_copy(
        &self,
        id: ReplicaId,
        (home, node_file): (&Path, &Path),
    ) -> Result<std::process::Child> {
        let log_path = home.join("server.log");
        let log = fs::File::create(&log_path)
            .map_err(|error| Error::system("write", &log_path, &error))?;
        let mut command = Command::new(&self.program);
        command.arg("node").arg("start").arg("--config").arg(node_file);
        let listeners = free_listeners(2)?;
        for (flag, listener) in ["--peer-listen", "--client-listen"].iter().zip(&listeners) {
            let address = listener.local_addr();
            let address = address.map_err(|error| Error::system("listen", home, &error))?;
            command.arg(flag).arg(address.to_string());
        }
        drop(listeners); // for the process
        let child = command
            .args(["--admin-listen", "off"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(|error| Error::system("start", &self.program, &error))?;
        let file = self.copy_file(id)?;
        fs::write(&file, format!("{}\n", child.id()))
            .map_err(|error| Error::system("write", &file, &error))?;
        Ok(child)
    }

    /// The file with the process of a server's copy, while there is one.
    pub(crate) fn copy_file(&self, id: ReplicaId) -> Result<PathBuf> {
        Ok(self.server(id)?.dir.join("copy.pid"))
    }

    /// The process of a server's copy.
    fn copy(&self, id: ReplicaId) -> Option<u32> {
        fs::read_to_string(self.copy_file(id).ok()?).ok()?.trim().parse().ok()
    }

    /// This program, to be run in that network namespace: `nsenter` turns into it, and keeps its id.
    fn program_in(&self, namespace: Option<&str>) -> Command {
        let Some(namespace) = namespace else { return Command::new(&self.program) };
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{namespace}")).arg("--").arg(&self.program);
        command
    }

    /// The running process of a server.
    pub(crate) fn running(&self, id: ReplicaId) -> Result<Option<Running>> {
        let server = self.server(id)?;
        let Ok(text) = fs::read_to_string(pid_file(server)) else { return Ok(None) };
        let Ok(pid) = text.trim().parse::<u32>() else { return Ok(None) };
        let Some(words) = command_line(pid) else { return Ok(None) };
        if words.is_empty() {
            return Ok(Some(Running { pid, intruder: None, is_ending: true }));
        }
        let is_ours = words.iter().any(|word| Path::new(word) == server.node_file);
        let mut words = words.into_iter();
        let intruder = words.find(|word| word == "--intruder").and_then(|_| words.next());
        Ok(is_ours.then_some(Running { pid, intruder, is_ending: false }))
    }

    /// Whether a server is down, and can be started. One that is just ending is waited for.
    pub(crate) fn is_down(&self, id: ReplicaId) -> Result<bool> {
        let begun = Instant::now();
        loop {
            match self.running(id)? {
                Some(running) if running.is_ending && begun.elapsed() < STOP_MAX => {
                    std::thread::sleep(LOOK_EVERY);
                }
                found => return Ok(found.is_none()),
            }
        }
    }

    /// Sends `signal` to a running server.
    pub(crate) fn signal(&self, id: ReplicaId, signal: Signal) -> Result<bool> {
        let Some(running) = self.running(id)? else { return Ok(false) };
        let pid = i32::try_from(running.pid).ok().and_then(Pid::from_raw);
        let Some(pid) = pid else { return Ok(false) };
        match kill_process(pid, signal) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::SRCH) => Ok(false),
            Err(error) => {
                Err(Error::caused(Exit::Denied, error, "use the account that started it")
                    .context(format!("cannot signal server {id}")))
            }
        }
    }

    /// Stops a server in good order; kills it if it does not end.
    pub(crate) fn stop(&self, id: ReplicaId) -> Result<()> {
        self.signal(id, Signal::CONT)?;
        self.signal(id, Signal::TERM)?;
        if self.wait_gone(id, STOP_MAX)? {
            return Ok(());
        }
        self.kill(id)
    }

    /// Kills a server: it gets no chance to say or write anything more.
    pub(crate) fn kill(&self, id: ReplicaId) -> Result<()> {
        self.signal(id, Signal::KILL)?;
        if self.wait_gone(id, STOP_MAX)? {
            return Ok(());
        }
        let cause = format!("server {id} does not end");
        Err(Error::new(Exit::Failed, cause, "its disk may hang: look at `dmesg`"))
    }

    /// Sends a signal to the wormhole of a running server, as an intruder with root's powers can; whether
    /// it had one.
    pub(crate) fn signal_wormhole(&self, id: ReplicaId, signal: Signal) -> Result<bool> {
        let Some(running) = self.running(id)? else { return Ok(false) };
        let pid = wormhole_of(running.pid).and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        let Some(pid) = pid else { return Ok(false) };
        kill_process(pid, signal).map(|()| true).map_err(|error| {
            Error::caused(Exit::Denied, error, "use the account that started it")
                .context(format!("cannot signal the wormhole of server {id}"))
        })
    }

    /// The server that holds the near end of a connection between this machine's sockets `near` and
    /// `far`, if one does, or a copy of it.
    pub(crate) fn holder(&self, near: SocketAddr, far: SocketAddr) -> Option<ReplicaId> {
        let inode = inode(&fs::read_to_string("/proc/net/tcp").ok()?, near, far)?;
        let socket = format!("socket:[{inode}]");
        let holds = |pid: u32| {
            let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
            entries
                .filter_map(|entry| fs::read_link(entry.path()).ok())
                .any(|target| target.as_os_str() == socket.as_str())
        };
        let ids = self.cluster.servers.iter().map(|server| server.id);
        ids.into_iter().find(|id| {
            let own = self.running(*id).ok().flatten().map(|it| it.pid);
            own.into_iter().chain(self.copy(*id)).any(holds)
        })
    }

    fn wait_gone(&self, id: ReplicaId, most: Duration) -> Result<bool> {
        let begun = Instant::now();
        while begun.elapsed() < most {
            if self.running(id)?.is_none() {
                return Ok(true);
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(false)
    }

    /// Whether a server says that it serves.
    pub(crate) fn is_ready(&self, id: ReplicaId) -> Result<bool> {
        Ok(self.own_word(id)?.is_some_and(|word| word == "correct"))
    }

    /// What a server calls itself; `None` while it does not answer.
    pub(crate) fn own_word(&self, id: ReplicaId) -> Result<Option<String>> {
        let server = self.server(id)?;
        Ok(server.config.admin_listen.and_then(|address| ask_health(address, "/readyz")))
    }

    /// What a server holds against others; `None` while it does not answer.
    pub(crate) fn findings(&self, id: ReplicaId) -> Result<Option<Findings>> {
        let server = self.server(id)?;
        let metrics = server.config.admin_listen.and_then(|at| ask_health(at, "/metrics"));
        let Some(metrics) = metrics.filter(|metrics| !metrics.is_empty()) else { return Ok(None) };
        let all = |family, label| metrics.lines().filter_map(move |line| told(line, family, label));
        Ok(Some(Findings {
            proofs: all("evidence", "kind").collect(),
            shared_keys: all("shared_key", "address").collect(),
        }))
    }
}

/// What one server holds against others.
#[derive(Default)]
pub(crate) struct Findings {
    /// The accused, and the kind of the proof.
    pub(crate) proofs: Vec<(ReplicaId, String)>,
    /// Whose key two processes hold, and from where one of them speaks.
    pub(crate) shared_keys: Vec<(ReplicaId, String)>,
}

/// The wormhole of a server's process, if it has one.
pub(crate) fn wormhole_of(server: u32) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{server}/task/{server}/children")).ok()?;
    let is_one = |pid: &u32| {
        command_line(*pid).is_some_and(|words| words.first().is_some_and(|it| it == PROGRAM_NAME))
    };
    children.split_whitespace().filter_map(|pid| pid.parse().ok()).find(is_one)
}

/// The file that a server's output goes to.
pub(crate) fn log_file(server: &LocalServer) -> PathBuf {
    server.dir.join("server.log")
}

/// With what a server ended that is down: the error that its output ends with, and the hint.
pub(crate) fn last_error(server: &LocalServer) -> Option<(String, String)> {
    ending(&end_of_log(server, ENDING_BYTES_MAX).ok()?)
}

/// The last bytes of a server's output.
pub(crate) fn end_of_log(server: &LocalServer, bytes_max: u64) -> std::io::Result<String> {
    let mut file = fs::File::open(log_file(server))?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(bytes_max)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The error and the hint at the end of `log`, if it ends with them.
fn ending(log: &str) -> Option<(String, String)> {
    let mut lines = log.lines().rev();
    let hint = lines.next()?.strip_prefix("hint: ")?;
    let error = lines.next()?.strip_prefix("error: ")?;
    let is_plain = |text: &str| !text.contains(char::is_control);
    (is_plain(error) && is_plain(hint)).then(|| (error.to_owned(), hint.to_owned()))
}

fn pid_file(server: &LocalServer) -> PathBuf {
    server.dir.join("pid")
}

/// The words of a process's command line; none while it is ending, `None` once it has ended.
fn command_line(pid: u32) -> Option<Vec<String>> {
    let status = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    if has_ended(&status) {
        return None;
    }
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let words = bytes.split(|byte| *byte == 0).filter(|word| !word.is_empty());
    Some(words.map(|word| String::from_utf8_lossy(word).into_owned()).collect())
}

/// Whether the process of this line of `/proc` has ended, and holds nothing any more. The first
/// thread can be dead while others still have the sockets and the lock of the log.
fn has_ended(stat: &str) -> bool {
    const STATE: usize = 0;
    const THREADS: usize = 17;
    let Some((_, after_name)) = stat.rsplit_once(')') else { return true };
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let is_dead = fields.get(STATE).is_some_and(|state| matches!(*state, "Z" | "X"));
    is_dead && fields.get(THREADS).is_none_or(|threads| matches!(*threads, "0" | "1"))
}

/// The inode of the socket of IPv4 with these ends, in the kernel's table of TCP sockets.
fn inode(table: &str, near: SocketAddr, far: SocketAddr) -> Option<u64> {
    let written = |address: SocketAddr| match address {
        SocketAddr::V4(address) => {
            let ip = u32::from_ne_bytes(address.ip().octets());
            Some(format!("{ip:08X}:{:04X}", address.port()))
        }
        SocketAddr::V6(_) => None,
    };
    let (near, far) = (written(near)?, written(far)?);
    table.lines().find_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let is_it = fields.next() == Some(&near) && fields.next() == Some(&far);
        is_it.then(|| fields.nth(6)?.parse().ok()).flatten()
    })
}

/// Waits for `child` in a thread, so that it does not stay behind as a zombie.
fn reap_in_background(mut child: std::process::Child) {
    std::thread::spawn(move || child.wait());
}

/// The body of what a server answers to a question about its health, whatever the answer is.
fn ask_health(address: SocketAddr, path: &str) -> Option<String> {
    ask_admin(address, path, HEALTH_MAX)
}

/// The body of what a server answers on its admin listener, whatever the answer is; `None` if not all of it comes
/// within `most`.
pub(crate) fn ask_admin(address: SocketAddr, path: &str, most: Duration) -> Option<String> {
    let ask = || -> std::io::Result<String> {
        let until = Instant::now() + most;
        let mut stream = TcpStream::connect_timeout(&address, most)?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
        let (mut answer, mut some) = (Vec::new(), [0; 4096]);
        // One time for all of it: a server that is not itself may let it come byte by byte.
        while answer.len() < HEALTH_BYTES_MAX {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(std::io::ErrorKind::TimedOut.into());
            }
            stream.set_read_timeout(Some(left))?;
            match stream.read(&mut some)? {
                0 => break,
                count => answer.extend(some.iter().take(count)),
            }
        }
        String::from_utf8(answer).map_err(|_| std::io::ErrorKind::InvalidData.into())
    };
    ask().ok()?.split_once("\r\n\r\n").map(|(_, body)| body.to_owned())
}

/// The peer and another label, if this line of a server's metrics is of this family and not zero.
fn told(line: &str, family: &str, other: &str) -> Option<(ReplicaId, String)> {
    let labelled = line.strip_prefix("ravelin_")?.strip_prefix(family)?.strip_prefix('{')?;
    let (labels, count) = labelled.split_once("} ")?;
    let label = |name: &str| {
        labels
            .split(',')
            .find_map(|label| label.strip_prefix(name)?.strip_prefix("=\"")?.strip_suffix('"'))
    };
    let peer = ReplicaId(label("peer")?.parse().ok()?);
    (count != "0").then(|| Some((peer, label(other)?.to_owned())))?
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_process_has_ended_when_its_last_thread_has() {
        let stat = |state: &str, threads: u32| {
            format!("7 (a) b) {state} 1 7 7 0 -1 4 0 0 0 0 1 2 0 0 20 0 {threads} 0 99 0 0")
        };
        assert!(!has_ended(&stat("S", 4)));
        assert!(!has_ended(&stat("Z", 2)), "a thread still holds what the process held");
        assert!(has_ended(&stat("Z", 1)));
        let is_threads = |_| {
            let own = fs::read_to_string("/proc/self/stat").expect("this is Linux");
            let (_, fields) = own.rsplit_once(')').expect("a name");
            let threads = fs::read_dir("/proc/self/task").expect("listed").count().to_string();
            fields.split_whitespace().nth(17) == Some(threads.as_str())
        };
        // Other tests come and go as threads meanwhile.
        assert!((0..1000).any(is_threads), "that field counts threads");
    }

    #[test]
    fn findings_are_found_among_metrics() {
        let proof = |line: &str| told(line, "evidence", "kind");
        let line = "ravelin_evidence{peer=\"2\",kind=\"equivocation\"} 1";
        assert_eq!(proof(line), Some((ReplicaId(2), "equivocation".to_owned())));
        let line = "ravelin_shared_key{peer=\"3\",address=\"[::1]:7\"} 1";
        let at = Some((ReplicaId(3), "[::1]:7".to_owned()));
        assert_eq!(told(line, "shared_key", "address"), at);
        for other in
            ["", "# TYPE ravelin_evidence gauge", "ravelin_round 7", &line.replace('1', "0")]
        {
            assert_eq!(proof(other), None, "{other}");
        }
    }

    #[test]
    fn the_kernel_says_which_socket_a_connection_has() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   \
                     uid  timeout inode\n   0: 0100007F:2710 00000000:0000 0A 00000000:00000000 \
                     00:00000000 00000000     0        0 11 1 0 100 0 0 10 0\n   1: 0100007F:8AE6 \
                     0100007F:2710 01 00000000:00000000 00:00000000 00000000     0        0 4242 1 \
                     0 20 4 0 10 -1\n";
        let at = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        assert_eq!(inode(table, at(0x8AE6), at(10_000)), Some(4242));
        assert_eq!(inode(table, at(10_000), at(0x8AE6)), None, "that end is not in the table");
        let listener = TcpListener::bind(at(0)).expect("listens");
        let stream = TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
        let (near, far) = (stream.local_addr().expect("bound"), stream.peer_addr().expect("there"));
        let real = fs::read_to_string("/proc/net/tcp").expect("this is Linux");
        let found = inode(&real, near, far).expect("it is there");
        let own: Vec<_> = fs::read_dir("/proc/self/fd")
            .expect("listed")
            .filter_map(|entry| fs::read_link(entry.expect("readable").path()).ok())
            .collect();
        assert!(own.contains(&PathBuf::from(format!("socket:[{found}]"))));
    }
}
