//! Four servers as processes, made and started as a person would.

use std::fs::{self, File};
use std::io::Write as _;
use std::net::TcpListener;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use ravelin_model::StateBackend as _;
use ravelin_runtime::store::{DiskState, StoreConfig};
use rustix::process::{Pid, Signal, kill_process};

/// A running cluster; its processes end with it.
pub(crate) struct Cluster {
    dir: PathBuf,
    servers: Vec<Option<Child>>,
    client_addresses: Vec<String>,
    peer_addresses: Vec<String>,
}

/// What a cluster is made of.
struct Sort<'a> {
    servers: usize,
    /// What `node init` is told besides.
    init: &'a str,
    /// And `cluster plan`.
    plan: &'a str,
}

/// What a run printed, and how it ended.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) exit: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    /// Whoever wants JSON gets nothing else on stderr either.
    pub(crate) fn says_json(&self) {
        for line in self.stderr.lines() {
            let said = serde_json::from_str::<serde_json::Value>(line);
            assert!(said.is_ok_and(|said| said.is_object()), "no JSON: {line}");
        }
    }
}

impl Cluster {
    fn empty(name: &str) -> Self {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("services-{name}"));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).expect("the target directory is ours");
        Self { dir, servers: Vec::new(), client_addresses: Vec::new(), peer_addresses: Vec::new() }
    }

    /// Starts three servers with a wormhole each, and two administrators who must both sign. Nobody has
    /// opened it yet.
    #[allow(dead_code, reason = "for the tests of floods, which share this")]
    pub(crate) fn start_hybrid(name: &str) -> Self {
        let told = "--fault-model hybrid";
        let mut cluster = Self::make(name, 2, Sort { servers: 3, init: told, plan: told });
        cluster.servers = (0..3).map(|id| Some(cluster.serve(id))).collect();
        cluster
    }

    /// Starts a cluster with two administrators, of whom `needed` must sign.
    pub(crate) fn start(name: &str, needed: usize) -> Self {
        Self::start_with(name, needed, "")
    }

    /// The same, where `cluster plan` is told something else besides.
    pub(crate) fn start_with(name: &str, needed: usize, told: &str) -> Self {
        for _ in 0..5 {
            let sort = Sort { servers: 4, init: "", plan: told };
            let mut cluster = Self::make(name, needed, sort);
            cluster.servers = (0..4).map(|id| Some(cluster.serve(id))).collect();
            if cluster.is_served() {
                return cluster;
            }
        }
        panic!("other programs take the ports again and again");
    }

    /// Makes a cluster on ports that are free now.
    fn make(name: &str, needed: usize, sort: Sort<'_>) -> Self {
        let Sort { servers, init, plan } = sort;
        let mut cluster = Self::empty(name);
        // Held until all are known, so that none is chosen twice.
        let listeners = free_listeners(2 * servers);
        let address = |index: usize| listeners[index].local_addr().expect("bound").to_string();
        for id in 0..servers {
            let (peer, client) = (address(2 * id), address(2 * id + 1));
            let addresses = format!("--peer-address {peer} --client-address {client}");
            cluster.type_in(&format!("node init --dir s{id} --name s{id} {addresses} {init}"));
            cluster.write_card(id);
            cluster.client_addresses.push(client);
            cluster.peer_addresses.push(peer);
        }
        let keygen = |file: &str| cluster.type_in(&format!("auth keygen --out {file}"));
        let keys = ["admin0.key", "admin1.key", "client.key"].map(keygen);
        let cards: Vec<String> = (0..servers).map(|id| format!("s{id}.card")).collect();
        let cards = cards.join(" ");
        let [first, second, client] = keys.each_ref().map(|key| key.trim());
        cluster.type_in(&format!(
            "cluster plan --name test --administrator {first} --administrator {second} \
             --administrators-needed {needed} --client first={client} {plan} {cards}"
        ));
        cluster.type_in("cluster sign-plan plan.toml --key admin0.key --yes");
        cluster.type_in("cluster sign-plan plan.toml --key admin1.key --yes");
        for id in 0..servers {
            let to = cluster.path(&format!("s{id}/plan.toml"));
            fs::copy(cluster.path("plan.toml"), to).expect("copied");
        }
        cluster.type_in("trust add test --plan plan.toml --key client.key");
        cluster
    }

    fn write_card(&self, id: usize) {
        let card = self.type_in(&format!("node card --config s{id}/node.toml"));
        fs::write(self.path(&format!("s{id}.card")), card).expect("written");
    }

    /// The result of a run that must succeed, of words without blanks in them.
    fn type_in(&self, line: &str) -> String {
        self.done(&line.split_whitespace().collect::<Vec<_>>())
    }

    fn serve(&self, id: usize) -> Child {
        let log = self.path(&format!("s{id}.log"));
        let log = File::options().create(true).append(true).open(log).expect("a log");
        let mut command = self.command(&["node", "start", "--config", &format!("s{id}/node.toml")]);
        command.env("RAVELIN_ADMIN_LISTEN", "off");
        command.stdout(Stdio::null()).stderr(log).spawn().expect("started")
    }

    /// Waits until the cluster serves; false if a server could not start.
    fn is_served(&mut self) -> bool {
        let begun = Instant::now();
        while self.run(&["kv", "put", "served", "yes", "--timeout", "5s"]).exit != 0 {
            assert!(begun.elapsed() < Duration::from_secs(60), "the cluster does not serve");
            let mut servers = self.servers.iter_mut().flatten();
            if servers.any(|server| server.try_wait().expect("ours").is_some()) {
                return false;
            }
        }
        self.servers.iter_mut().flatten().all(|server| server.try_wait().expect("ours").is_none())
    }

    /// Kills a server.
    pub(crate) fn kill(&mut self, id: usize) {
        if let Some(mut child) = self.servers[id].take() {
            child.kill().expect("ours");
            child.wait().expect("ours");
        }
    }

    /// Lets a server stop in good order: what it executed is in its store then, and whoever was killed
    /// may execute the last of it again.
    pub(crate) fn stop(&mut self, id: usize) {
        if let Some(mut child) = self.servers[id].take() {
            kill_process(Pid::from_child(&child), Signal::TERM).expect("ours");
            child.wait().expect("ours");
        }
    }

    /// Starts a server again.
    pub(crate) fn restart(&mut self, id: usize) {
        self.kill(id);
        self.servers[id] = Some(self.serve(id));
    }

    /// A path in the cluster's directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Where clients reach a server.
    pub(crate) fn client_address(&self, id: usize) -> &str {
        &self.client_addresses[id]
    }

    /// Where the others reach a server.
    #[allow(dead_code, reason = "for the tests of floods, which share this")]
    pub(crate) fn peer_address(&self, id: usize) -> &str {
        &self.peer_addresses[id]
    }

    /// The process of a server that runs.
    #[allow(dead_code, reason = "for the tests of floods, which share this")]
    pub(crate) fn pid(&self, id: usize) -> u32 {
        self.servers[id].as_ref().expect("it runs").id()
    }

    /// The binary with these arguments.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ravelin"));
        command.args(arguments).current_dir(&self.dir).stdin(Stdio::null()).env_clear();
        command.env("XDG_CONFIG_HOME", self.path("xdg")).env("PATH", "/usr/bin:/bin");
        command.env("RAVELIN_LOCAL_DIR", "D");
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs the binary.
    pub(crate) fn run(&self, arguments: &[&str]) -> Run {
        finish(self.command(arguments).spawn().expect("the binary is there"))
    }

    /// Runs the binary with something on its standard input.
    pub(crate) fn run_with(&self, arguments: &[&str], input: &[u8]) -> Run {
        let mut child =
            self.command(arguments).stdin(Stdio::piped()).spawn().expect("the binary is there");
        child.stdin.take().expect("piped").write_all(input).expect("read");
        finish(child)
    }

    /// The result of a run that must succeed.
    pub(crate) fn done(&self, arguments: &[&str]) -> String {
        let run = self.run(arguments);
        assert_eq!(run.exit, 0, "{arguments:?}: {}", run.stderr);
        run.stdout
    }

    /// The JSON result of a run that must succeed.
    pub(crate) fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let run = self.run(&[arguments, &["--output", "json"]].concat());
        assert_eq!(run.exit, 0, "{arguments:?}: {}", run.stderr);
        run.says_json();
        let text = run.stdout;
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {text}"))
    }

    /// The number in a field of a JSON result.
    pub(crate) fn number(&self, arguments: &[&str], field: &str) -> u64 {
        self.json(arguments)[field].as_u64().expect("a number")
    }

    /// Runs what must fail, and compares exit code and words of the cause.
    #[track_caller]
    pub(crate) fn fails(&self, arguments: &[&str], exit: i32, cause: &str) {
        let run = self.run(arguments);
        assert_eq!(run.exit, exit, "{arguments:?}: {run:?}");
        assert!(run.stderr.contains(cause), "{arguments:?}: {run:?}");
        assert!(run.stderr.contains("hint: "), "{arguments:?}: {run:?}");
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for child in self.servers.iter_mut().flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

/// Ports that this process has asked for.
static ASKED: AtomicU32 = AtomicU32::new(0);

/// Listeners on ports below those of outgoing connections, so that nobody gets one by chance while
/// a server is down. As the product chooses them: other processes begin elsewhere.
#[allow(dead_code, reason = "for the tests of floods, which share this")]
pub(crate) fn free_listeners(count: usize) -> Vec<TcpListener> {
    let asked = std::iter::repeat_with(|| ASKED.fetch_add(1, Ordering::Relaxed));
    let begin = std::process::id().wrapping_mul(21);
    let ports = asked.map(|asked| 10_000 + (begin.wrapping_add(asked) % 22_768) as u16);
    ports.filter_map(|port| TcpListener::bind(("127.0.0.1", port)).ok()).take(count).collect()
}

/// Waits for the end of a run.
pub(crate) fn finish(child: Child) -> Run {
    let output = child.wait_with_output().expect("ours");
    Run {
        exit: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A cluster of `ravelin local`, in the directory `D`; its processes end with it.
pub(crate) struct Local(Cluster);

impl Local {
    /// Makes and starts it.
    pub(crate) fn up(name: &str) -> Self {
        Self::up_with(name, &[])
    }

    /// The same, told something else besides.
    pub(crate) fn up_with(name: &str, told: &[&str]) -> Self {
        let local = Self(Cluster::empty(name));
        local.done(&[&["local", "up"], told].concat());
        local
    }

    /// The result of a run that must succeed, as a client of it.
    pub(crate) fn client(&self, arguments: &[&str]) -> String {
        self.done(&[&["--config", "D/client.toml"], arguments].concat())
    }

    /// Waits until all servers are correct and nobody is accused.
    #[track_caller]
    pub(crate) fn wait_until_all_are_correct(&self) {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            let run = self.run(&["--config", "D/client.toml", "status"]);
            assert!(!run.stdout.contains("hold proof"), "{run:?}");
            if run.exit == 0 {
                return;
            }
            if Instant::now() > until {
                let logs = (0..4).map(|id| self.run(&["local", "logs", "--on", &id.to_string()]));
                let logs: Vec<String> = logs.map(|run| run.stdout).collect();
                panic!("not all come back: {run:?}\n{}", logs.join("\n----\n"));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Kills a server.
    pub(crate) fn kill(&self, id: usize) {
        let pid = self.json(&["local", "status"])["servers"][id]["pid"].to_string();
        assert!(Command::new("kill").args(["-9", &pid]).status().expect("kill").success());
        while Path::new(&format!("/proc/{pid}/cmdline")).exists() && !is_zombie(&pid) {
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// What a server logged.
    pub(crate) fn log(&self, id: usize) -> String {
        fs::read_to_string(self.path(&format!("D/servers/{id}/server.log"))).expect("a log")
    }

    /// What a server has moved aside.
    pub(crate) fn aside(&self, id: usize) -> Vec<String> {
        let listed = fs::read_dir(self.path(&format!("D/servers/{id}/data/quarantine")));
        let names = listed.into_iter().flatten().map(|entry| entry.expect("listed").file_name());
        names.map(|name| name.into_string().expect("text")).collect()
    }
}

/// Whether a process has ended, or at least its first thread.
pub(crate) fn is_zombie(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_none_or(|(_, rest)| rest.trim_start().starts_with(['Z', 'X']))
}

impl std::ops::Deref for Local {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        &self.0
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        let _ = self.run(&["local", "down"]);
    }
}

/// Changes a value in the state of a server, which is down, behind its back.
pub(crate) fn tamper(dir: &Path, from: &[u8], to: &[u8]) {
    let mark = fs::read(dir.join("mark")).expect("there");
    let owner = *mark[16..].first_chunk().expect("long");
    let mut state = DiskState::open(dir, &StoreConfig::new(owner)).expect("opened");
    let mut changes = Vec::new();
    state.scan(&[], None, &mut |key, value| {
        if let Some(at) = value.windows(from.len()).position(|window| window == from) {
            let mut other = value.to_vec();
            other[at..at + to.len()].copy_from_slice(to);
            changes.push((key.to_vec(), Some(other)));
        }
        ControlFlow::Continue(())
    });
    assert!(!changes.is_empty());
    state.write(&changes);
    state.sync();
}
