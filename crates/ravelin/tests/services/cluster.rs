//! Four servers as processes, made and started as a person would.

use std::fs::{self, File};
use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running cluster; its processes end with it.
pub(crate) struct Cluster {
    dir: PathBuf,
    servers: Vec<Option<Child>>,
    client_addresses: Vec<String>,
}

/// What a run printed, and how it ended.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) exit: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Cluster {
    /// Starts a cluster with two administrators, of whom `needed` must sign.
    pub(crate) fn start(name: &str, needed: usize) -> Self {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("services-{name}"));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).expect("the target directory is ours");
        let mut cluster = Self { dir, servers: Vec::new(), client_addresses: Vec::new() };
        // Held until all are known, so that none is chosen twice.
        let listeners: Vec<_> =
            (0..8).map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port")).collect();
        let address = |index: usize| listeners[index].local_addr().expect("bound").to_string();
        for id in 0..4 {
            let (server, peer, client) = (format!("s{id}"), address(2 * id), address(2 * id + 1));
            cluster.done(&[
                "node", "init", "--dir", &server, "--name", &server, "--admin-listen", "off",
                "--peer-address", &peer, "--client-address", &client,
            ]);
            let card = cluster.done(&["node", "card", "--config", &format!("{server}/node.toml")]);
            fs::write(cluster.path(&format!("{server}.card")), card).expect("written");
            cluster.client_addresses.push(client);
        }
        let administrators =
            ["admin0.key", "admin1.key"].map(|file| cluster.done(&["auth", "keygen", "--out", file]));
        let client = cluster.done(&["auth", "keygen", "--out", "client.key"]);
        cluster.done(&[
            "cluster", "plan", "--name", "test", "--administrator", administrators[0].trim(),
            "--administrator", administrators[1].trim(), "--administrators-needed",
            &needed.to_string(), "--client", &format!("first={}", client.trim()), "s0.card",
            "s1.card", "s2.card", "s3.card",
        ]);
        for key in ["admin0.key", "admin1.key"] {
            cluster.done(&["cluster", "sign-plan", "plan.toml", "--key", key]);
        }
        for id in 0..4 {
            let to = cluster.path(&format!("s{id}/plan.toml"));
            fs::copy(cluster.path("plan.toml"), to).expect("copied");
        }
        cluster.done(&["trust", "add", "test", "--plan", "plan.toml", "--key", "client.key"]);
        drop(listeners);
        for id in 0..4 {
            let child = cluster.serve(id);
            cluster.servers.push(Some(child));
        }
        cluster.wait_until_served();
        cluster
    }

    fn serve(&self, id: usize) -> Child {
        let log = File::options().create(true).append(true);
        let log = log.clone().open(self.path(&format!("s{id}.log"))).expect("a log");
        let mut command = self.command(&["node", "start", "--config", &format!("s{id}/node.toml")]);
        command.stdout(Stdio::null()).stderr(log).spawn().expect("started")
    }

    fn wait_until_served(&self) {
        let begun = Instant::now();
        while self.run(&["kv", "put", "served", "yes", "--timeout", "5s"]).exit != 0 {
            assert!(begun.elapsed() < Duration::from_secs(60), "the cluster does not serve");
        }
    }

    /// Kills a server.
    pub(crate) fn kill(&mut self, id: usize) {
        if let Some(mut child) = self.servers[id].take() {
            child.kill().expect("ours");
            child.wait().expect("ours");
        }
    }

    /// A path in the cluster's directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Where clients reach a server.
    pub(crate) fn client_address(&self, id: usize) -> &str {
        &self.client_addresses[id]
    }

    /// The binary with these arguments.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ravelin"));
        command.args(arguments).current_dir(&self.dir).stdin(Stdio::null()).env_clear();
        command.env("XDG_CONFIG_HOME", self.path("xdg")).env("PATH", "/usr/bin:/bin");
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
        let text = self.done(&[arguments, &["--output", "json"]].concat());
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

/// Waits for the end of a run.
pub(crate) fn finish(child: Child) -> Run {
    let output = child.wait_with_output().expect("ours");
    Run {
        exit: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
