//! Runs of the binary in a directory of its own, with four servers, a plan, keys and some damage.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::net::Ipv4Addr;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use tokio::net::TcpSocket;

/// Files of more bytes are not read to see that they stay as they are.
const LARGE: u64 = 1 << 20;

/// A directory in which the binary runs; removed at the end.
pub(crate) struct Fixture {
    dir: PathBuf,
    /// Where its servers listen, each for the others and for clients.
    addresses: Vec<[String; 2]>,
    _held: Vec<[TcpSocket; 2]>,
}

/// Ports that nobody else has, given by the system and held for as long as the sockets live: whoever
/// would listen at one cannot, and whoever connects is refused.
pub(crate) fn hold_ports<const COUNT: usize>() -> [TcpSocket; COUNT] {
    std::array::from_fn(|_| {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a port is free");
        socket
    })
}

/// Where what is bound to a port would listen.
pub(crate) fn address(port: &TcpSocket) -> String {
    port.local_addr().expect("it is bound").to_string()
}

/// What a run printed, and how it ended.
pub(crate) struct Run {
    pub(crate) exit: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    pub(crate) fn of(output: Output) -> Self {
        Self {
            exit: output.status.code().expect("no signal ended it"),
            stdout: String::from_utf8(output.stdout).expect("text"),
            stderr: String::from_utf8(output.stderr).expect("text"),
        }
    }
}

impl Fixture {
    /// An empty directory.
    pub(crate) fn empty(name: &str) -> Self {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).expect("the target directory is ours");
        Self { dir, addresses: Vec::new(), _held: Vec::new() }
    }

    /// Four servers `s0`..`s3` that share `signed.toml`, an unsigned `plan.toml`, an administrator,
    /// a client and a stranger with a key each, and a known cluster `known`. All ports but those of `s0`
    /// are held: no other can start.
    pub(crate) fn cluster(name: &str) -> Self {
        let mut fixture = Self::empty(name);
        let ports: Vec<_> = (0..4).map(|_| hold_ports()).collect();
        fixture.addresses = ports.iter().map(|both| both.each_ref().map(address)).collect();
        fixture._held = ports.into_iter().skip(1).collect();
        for id in 0..4 {
            let [peer, client] = fixture.addresses(id);
            let server = format!("s{id}");
            let init =
                ["node", "init", "--dir", &server, "--name", &server, "--admin-listen", "off"];
            fixture
                .done(&[&init[..], &["--peer-address", peer, "--client-address", client]].concat());
            let card = fixture.done(&["node", "card", "--config", &format!("{server}/node.toml")]);
            fixture.write(&format!("{server}.card"), &card);
        }
        let administrator = fixture.done(&["auth", "keygen", "--out", "admin.key"]);
        let client = fixture.done(&["auth", "keygen", "--out", "client.key"]);
        fixture.done(&["auth", "keygen", "--out", "stranger.key"]);
        let client = format!("first={}", client.trim());
        let cards = ["s0.card", "s1.card", "s2.card", "s3.card"];
        let plan = ["cluster", "plan", "--name", "test", "--administrator", administrator.trim()];
        fixture.done(&[&plan[..], &["--client", &client], &cards].concat());
        fs::copy(fixture.path("plan.toml"), fixture.path("signed.toml")).expect("copied");
        fixture.done(&["cluster", "sign-plan", "signed.toml", "--key", "admin.key", "--yes"]);
        for id in 0..4 {
            let to = format!("s{id}/plan.toml");
            fs::copy(fixture.path("signed.toml"), fixture.path(&to)).expect("copied");
        }
        fixture.done(&["trust", "add", "known", "--plan", "signed.toml", "--key", "client.key"]);
        fixture
    }

    /// Where a server listens for others, and where for clients.
    pub(crate) fn addresses(&self, id: usize) -> [&str; 2] {
        self.addresses.get(id).expect("one of four").each_ref().map(String::as_str)
    }

    /// A text with the servers' addresses for `PEER0`, `CLIENT0` and so on.
    pub(crate) fn addressed(&self, text: &str) -> String {
        (0..).zip(&self.addresses).fold(text.to_owned(), |text, (id, [peer, client])| {
            let text = text.replace(&format!("PEER{id}"), peer);
            text.replace(&format!("CLIENT{id}"), client)
        })
    }

    /// A path in the directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Writes a file.
    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("written");
    }

    /// The text of a file.
    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect("there")
    }

    /// Writes a file that is another one with one change.
    pub(crate) fn change(&self, from: &str, to: &str, old: &str, new: &str) {
        let text = self.read(from);
        let changed = text.replacen(old, new, 1);
        assert_ne!(text, changed, "`{old}` is in {from}");
        self.write(to, &changed);
        let mode = fs::metadata(self.path(from)).expect("there").permissions();
        fs::set_permissions(self.path(to), mode).expect("ours");
    }

    /// Changes the mode of a file or directory.
    pub(crate) fn chmod(&self, name: &str, mode: u32) {
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(mode)).expect("ours");
    }

    /// The public half of a key file.
    pub(crate) fn public(&self, key: &str) -> String {
        let text = self.read(key);
        let line = text.lines().find_map(|line| line.strip_prefix("public = ")).expect("there");
        line.trim_matches('"').to_owned()
    }

    /// Runs the binary.
    pub(crate) fn run(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Run {
        let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
        Run::of(self.start(&arguments, environment).wait_with_output().expect("ours"))
    }

    /// Starts the binary.
    pub(crate) fn start(&self, arguments: &[OsString], environment: &[(&str, &str)]) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ravelin"));
        command.args(arguments).current_dir(&self.dir).env_clear();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.env("XDG_CONFIG_HOME", self.path("xdg")).env("COLUMNS", "100");
        command.envs(environment.iter().copied());
        command.spawn().expect("the binary is there")
    }

    /// The result of a run that must succeed.
    pub(crate) fn done(&self, arguments: &[&str]) -> String {
        let run = self.run(arguments, &[]);
        assert_eq!(run.exit, 0, "{arguments:?}: {}", run.stderr);
        run.stdout
    }

    /// Every file and directory with its mode and content; of a large file, which is a log of preallocated
    /// segments, its length and when it was last written.
    pub(crate) fn contents(&self) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
        let mut contents = BTreeMap::new();
        collect(&self.dir, &mut contents);
        contents
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn collect(dir: &Path, contents: &mut BTreeMap<PathBuf, (u32, Vec<u8>)>) {
    for entry in fs::read_dir(dir).expect("listed") {
        let path = entry.expect("listed").path();
        let metadata = fs::symlink_metadata(&path).expect("there");
        let bytes = if metadata.is_file() { content(&path, &metadata) } else { Vec::new() };
        if metadata.is_dir() {
            collect(&path, contents);
        }
        contents.insert(path, (metadata.permissions().mode(), bytes));
    }
}

fn content(file: &Path, metadata: &Metadata) -> Vec<u8> {
    if metadata.len() <= LARGE {
        return fs::read(file).expect("read");
    }
    let written = metadata.modified().expect("files have times");
    format!("{} bytes of {written:?}", metadata.len()).into_bytes()
}

#[test]
fn a_write_into_a_large_file_is_seen_although_its_bytes_are_not_read() {
    let fixture = Fixture::empty("large-file");
    let file = fixture.path("log");
    fs::write(&file, vec![0; 2 << 20]).expect("written");
    let before = fixture.contents();
    std::thread::sleep(std::time::Duration::from_millis(20)); // the clock of files is coarse
    fs::OpenOptions::new()
        .write(true)
        .open(&file)
        .expect("there")
        .write_at(b"x", 7)
        .expect("written");
    assert!(fixture.contents() != before);
}
