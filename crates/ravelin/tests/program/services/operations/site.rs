//! Four hosts and an operator's desk, as directories.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::guide::{self, Typed};
use crate::services::cluster::{Run, finish, free_listeners, tamper};

/// How long what is repeated may take.
const REPEATED_MAX: Duration = Duration::from_secs(60);
/// What a shell on each host knows besides.
const SHELL: &str = r#"
scp() { local to=(); for it in "$@"; do to+=("${it/#s[0-3]:/$SITE/${it%%:*}/}"); done; cp -r "${to[@]}"; }
journalctl() { cat ~/server.log; }
"#;

pub(super) struct Site {
    dir: PathBuf,
    servers: [Option<Child>; 4],
    /// Of each server: for peers, clients and monitors.
    addresses: Vec<[SocketAddr; 3]>,
    /// In whose hands a server is.
    intruders: [Option<String>; 4],
    known: BTreeMap<String, String>,
    small_disks: Vec<PathBuf>,
}

impl Site {
    /// Makes a cluster as the README says, with one administrator and one client, and starts it.
    pub(super) fn start(name: &str) -> Self {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("operations-{name}"));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(dir.join("desk")).expect("the target directory is ours");
        // Held until all are known, so that none is chosen twice.
        let listeners = free_listeners(12);
        let addresses: Vec<_> =
            listeners.iter().map(|listener| listener.local_addr().expect("bound")).collect();
        drop(listeners);
        let mut site = Self {
            dir,
            servers: [const { None }; 4],
            addresses: addresses.as_chunks::<3>().0.to_vec(),
            intruders: [const { None }; 4],
            known: BTreeMap::new(),
            small_disks: Vec::new(),
        };
        for id in 0..4 {
            fs::create_dir(site.home(id)).expect("made");
            let [peer, client, _] = site.addresses[id];
            site.must(
                &format!("s{id}"),
                &format!(
                    "ravelin node init --dir ~/ravelin --name s{id} --peer-address {peer} \
                 --client-address {client} && ravelin node card > ../desk/s{id}.card.toml"
                ),
            );
        }
        site.must("", "ravelin auth keygen --out admin.key > admin && ravelin auth keygen --out client.key > ops");
        site.must("", "ravelin cluster plan --name prod --administrator $(cat admin) \
             --client ops=$(cat ops) s?.card.toml && sed -i 's/= \"production\"/= \"local\"/' plan.toml");
        // Only where there is nothing to lose an intruder may be let in.
        site.must("", "ravelin cluster sign-plan plan.toml --key admin.key --yes && ravelin trust add prod \
             --plan plan.toml --key client.key && for id in 0 1 2 3; do cp plan.toml ../s$id/ravelin; done");
        (0..4).for_each(|id| site.serve(id));
        site.until("", "ravelin kv put canary innocent", 0);
        site.until("", "ravelin status", 0);
        site
    }

    fn home(&self, id: usize) -> PathBuf {
        self.dir.join(format!("s{id}"))
    }

    fn data(&self, id: usize) -> PathBuf {
        self.home(id).join("ravelin/data")
    }

    /// What a person on `host` would get.
    fn run(&self, host: &str, text: &str) -> Run {
        let home = self.dir.join(if host.is_empty() { "desk" } else { host });
        let binaries = Path::new(env!("CARGO_BIN_EXE_ravelin")).parent().expect("in a directory");
        let mut command = Command::new("bash");
        command.args(["-c", &format!("set -o pipefail\n{SHELL}\n{text}")]).current_dir(&home);
        command.env_clear().env("HOME", &home).env("SITE", &self.dir);
        command.env("PATH", format!("{}:/usr/bin:/bin", binaries.display()));
        if !host.is_empty() {
            command.env("RAVELIN_CONFIG", home.join("ravelin/node.toml"));
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        finish(command.spawn().expect("bash is there"))
    }

    fn must(&self, host: &str, text: &str) {
        let run = self.run(host, text);
        assert_eq!(run.exit, 0, "{text}: {run:?}");
    }

    fn until(&self, host: &str, text: &str, exit: i32) {
        let until = Instant::now() + REPEATED_MAX;
        loop {
            let run = self.run(host, text);
            if run.exit == exit {
                return;
            }
            assert!(Instant::now() < until, "{text}: {run:?}");
        }
    }

    /// `text` for `host`, with what stands for something replaced by it.
    fn replaced(&self, host: &str, text: &str) -> String {
        let mut text = text.replace("$(hostname)", host);
        for (id, [peer, client, admin]) in self.addresses.iter().enumerate() {
            text = text.replace(&format!("s{id}:7701"), &peer.to_string());
            text = text.replace(&format!("s{id}:7702"), &client.to_string());
            if host == format!("s{id}") {
                text = text.replace("127.0.0.1:7703", &admin.to_string());
            }
        }
        let mut done = String::new();
        while let Some((before, name, after)) = guide::placeholder(&text) {
            let value = self.known.get(name).unwrap_or_else(|| panic!("what is {name}? {text}"));
            done = format!("{done}{before}{value}");
            text = after.to_owned();
        }
        done + &text
    }

    /// Types a command, and compares how it ends and what it prints.
    pub(super) fn enter(&mut self, title: &str, typed: &Typed) {
        let hosts: &[&str] = match typed.host.as_str() {
            "each" => &["s0", "s1", "s2", "s3"],
            host => &[host],
        };
        for host in hosts {
            let text = self.replaced(host, &typed.text);
            if let Some(verb) = text.strip_prefix("systemctl ") {
                self.systemctl(host, verb);
                continue;
            }
            let until = Instant::now() + REPEATED_MAX;
            loop {
                let run = self.run(host, &text);
                let output = format!("{}{}", run.stdout, run.stderr);
                let shown = guide::shows(&output, &typed.shown, &mut self.known);
                if run.exit == typed.exit && shown.is_ok() {
                    break;
                }
                assert!(
                    typed.is_repeated && Instant::now() < until,
                    "docs/guide/operations.md:{}: {title}: {host}$ {text}: {shown:?}, exit code {} \
                     where {} is told\n{output}{}",
                    typed.line,
                    run.exit,
                    typed.exit,
                    self.logs()
                );
                std::thread::sleep(Duration::from_millis(100));
            }
        }
    }

    fn logs(&self) -> String {
        let of = |id| fs::read_to_string(self.home(id).join("server.log")).unwrap_or_default();
        let tail = |text: String| {
            let lines: Vec<&str> = text.lines().collect();
            lines[lines.len().saturating_sub(12)..].join("\n")
        };
        (0..4).map(|id| format!("\n-- s{id}:\n{}", tail(of(id)))).collect()
    }

    fn systemctl(&mut self, host: &str, verb: &str) {
        let id = number(host);
        match verb {
            "start ravelin" => self.serve(id),
            "stop ravelin" => self.stop(id, "-TERM"),
            "restart ravelin" => {
                self.stop(id, "-TERM");
                self.serve(id);
            }
            _ => panic!("systemctl {verb}"),
        }
    }

    fn serve(&mut self, id: usize) {
        self.stop(id, "-TERM");
        let log = self.home(id).join("server.log");
        let log = File::options().create(true).append(true).open(log).expect("a log");
        let mut command = Command::new(env!("CARGO_BIN_EXE_ravelin"));
        command.args(["node", "start"]).env_clear().current_dir(self.home(id));
        command.env("RAVELIN_CONFIG", self.home(id).join("ravelin/node.toml"));
        command.env("RAVELIN_ADMIN_LISTEN", self.addresses[id][2].to_string());
        command.args(self.intruders[id].iter().flat_map(|name| ["--intruder", name]));
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        self.servers[id] = Some(child.expect("started"));
    }

    fn stop(&mut self, id: usize, signal: &str) {
        if let Some(mut child) = self.servers[id].take() {
            let _ = Command::new("kill")
                .args([signal, &child.id().to_string()])
                .stderr(Stdio::null())
                .status();
            child.wait().expect("ours");
        }
    }

    /// What the guide says that happens; false if we may not.
    pub(super) fn happen(&mut self, words: &[String]) -> bool {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words[..] {
            ["kill", server] => self.stop(number(server), "-KILL"),
            ["wipe", server] => self.empty(number(server)),
            ["save", server] => {
                let id = number(server);
                self.stop(id, "-TERM");
                copy(&self.data(id), &self.dir.join("saved"));
                self.serve(id);
            }
            ["roll-back", server] => {
                let id = number(server);
                self.empty(id);
                fs::remove_dir(self.data(id)).expect("empty");
                copy(&self.dir.join("saved"), &self.data(id));
            }
            ["rot", server] => {
                let id = number(server);
                self.stop(id, "-KILL");
                rot(&self.data(id).join("log/0000000000000001.segment"));
            }
            ["tamper", server] => {
                let id = number(server);
                self.stop(id, "-TERM");
                tamper(&self.data(id).join("state"), b"innocent", b"tampered");
            }
            ["intrude", server, name] => {
                let id = number(server);
                self.intruders[id] = Some(name.to_owned());
                self.serve(id);
            }
            ["reinstall", server] => self.intruders[number(server)] = None,
            ["small-disk", server, megabytes] => return self.shrink(number(server), megabytes),
            ["fill-disk", server, left] => fill(&self.data(number(server)), left),
            _ => panic!("what is {words:?}?"),
        }
        true
    }

    fn empty(&mut self, id: usize) {
        self.stop(id, "-KILL");
        for entry in fs::read_dir(self.data(id)).expect("listed") {
            let path = entry.expect("listed").path();
            let gone = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
            gone.expect("removed");
        }
    }

    /// Gives a server a small disk of its own.
    fn shrink(&mut self, id: usize, megabytes: &str) -> bool {
        let (data, before) = (self.data(id), self.dir.join("before"));
        self.stop(id, "-TERM");
        fs::rename(&data, &before).expect("moved");
        fs::create_dir(&data).expect("made");
        let size = format!("size={megabytes}m,mode=700");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&data).stderr(Stdio::null());
        let is_mounted = mount.status().is_ok_and(|status| status.success());
        if is_mounted {
            self.small_disks.push(data.clone());
        }
        let copied = Command::new("cp").arg("-a").arg(before.join(".")).arg(&data).status();
        assert!(copied.expect("cp").success());
        self.serve(id);
        self.until("", "ravelin status", 0);
        is_mounted
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        (0..4).for_each(|id| self.stop(id, "-KILL"));
        for disk in &self.small_disks {
            let _ = Command::new("umount").arg("-l").arg(disk).status();
        }
        if !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

/// The number of a server's host.
fn number(host: &str) -> usize {
    host.strip_prefix('s').and_then(|digits| digits.parse().ok()).expect("a server")
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp").success());
}

/// Flips a bit in the middle of a log.
fn rot(file: &Path) {
    let mut bytes = fs::read(file).expect("there");
    bytes[1000] ^= 4;
    fs::write(file, bytes).expect("written");
}

/// Leaves so many megabytes free.
fn fill(data: &Path, left: &str) {
    let space = rustix::fs::statvfs(data).expect("mounted");
    let left = left.parse::<u64>().expect("a number") << 20;
    let bytes = (space.f_bavail * space.f_frsize).saturating_sub(left);
    let bytes = vec![1; usize::try_from(bytes).expect("small")];
    fs::write(data.join(format!("core.{}", left >> 20)), bytes).expect("written");
}
