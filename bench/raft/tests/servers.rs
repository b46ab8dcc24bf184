//! Three real servers: what they acknowledged outlives them, and nothing a client sends stops them.

#[path = "../../../crates/ravelin/src/cli/bench/openraft/frames.rs"]
mod frames;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use frames::{FRAME_BYTES_MAX, Inbox, Puts, Reply, Request, Standing};

/// How long servers may take to begin, and to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// An address that nobody else of this process gets, below the ports that the system gives away.
fn free_address() -> SocketAddr {
    static ASKED: AtomicU32 = AtomicU32::new(0);
    loop {
        let asked = std::process::id() * 64 + ASKED.fetch_add(1, Ordering::Relaxed);
        let address = SocketAddr::from(([127, 0, 0, 1], 12_000 + (asked % 16_384) as u16));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

/// Three servers, which are killed in the end.
struct Servers {
    dir: PathBuf,
    addresses: Vec<SocketAddr>,
    running: Vec<Child>,
}

impl Servers {
    fn start(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("raft-peer-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        let addresses = (0..6).map(|_| free_address()).collect();
        let mut servers = Self { dir, addresses, running: Vec::new() };
        servers.start_all();
        servers
    }

    fn start_all(&mut self) {
        let (clients, members) = self.addresses.split_at(3);
        let members: Vec<String> = members.iter().map(SocketAddr::to_string).collect();
        for (id, clients) in clients.iter().enumerate() {
            let mut command = Command::new(env!("CARGO_BIN_EXE_raft-peer"));
            command.args(["--id", &id.to_string(), "--members", &members.join(",")]);
            command.args(["--clients", &clients.to_string(), "--data-dir"]);
            command.arg(self.dir.join(id.to_string())).stderr(Stdio::inherit());
            self.running.push(command.spawn().expect("started"));
        }
    }

    /// Without any notice, as `kill -9`.
    fn kill_all(&mut self) {
        for server in &mut self.running {
            server.kill().expect("ours");
            server.wait().expect("ours");
        }
        self.running.clear();
    }

    /// A client of the server that leads.
    fn leader(&self) -> Client {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            for address in self.addresses.iter().take(3) {
                let Ok(stream) = TcpStream::connect(address) else { continue };
                let mut client = Client::of(stream);
                let said = client.ask(Request::Tell);
                if matches!(said, Reply::Told(Standing { leads: true, .. })) {
                    return client;
                }
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("nobody leads");
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        for server in &mut self.running {
            let _ = server.kill();
            let _ = server.wait();
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

struct Client {
    stream: TcpStream,
    inbox: Inbox,
    asked: u64,
}

impl Client {
    fn of(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        Self { stream, inbox: Inbox::new(FRAME_BYTES_MAX), asked: 0 }
    }

    fn send(&mut self, request: Request<'_>) {
        let mut frame = Vec::new();
        self.asked += 1;
        request.push(self.asked, &mut frame);
        self.stream.write_all(&frame).expect("sent");
    }

    fn receive(&mut self) -> (u64, Reply) {
        loop {
            if let Some(body) = self.inbox.take().expect("a frame") {
                return Reply::of(body).expect("a reply");
            }
            let mut read = [0; 4096];
            let count = self.stream.read(&mut read).expect("a reply");
            assert!(count > 0, "the server closed the connection");
            self.inbox.room().extend_from_slice(read.get(..count).expect("read"));
        }
    }

    /// Asks again while it is refused: who led before leads again at once, and the others may not yet
    /// hear it.
    fn insist(&mut self, request: Request<'_>) -> Reply {
        let begun = Instant::now();
        loop {
            match self.ask(request) {
                Reply::Refused(_) if begun.elapsed() < PATIENCE => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                reply => return reply,
            }
        }
    }

    fn ask(&mut self, request: Request<'_>) -> Reply {
        self.send(request);
        let (number, reply) = self.receive();
        assert_eq!(number, self.asked);
        reply
    }
}

fn key(number: usize) -> Vec<u8> {
    format!("key {number}").into_bytes()
}

fn puts(numbers: std::ops::Range<usize>, value: &str) -> Vec<u8> {
    let mut puts = Vec::new();
    for number in numbers {
        Puts::push(&mut puts, &key(number), format!("{value} {number}").as_bytes());
    }
    puts
}

fn write(bytes: &[u8]) -> Request<'_> {
    Request::Write(Puts::of(bytes).expect("whole"))
}

fn assert_all(client: &mut Client, numbers: std::ops::Range<usize>, value: &str) {
    for number in numbers {
        let expected = Reply::Value(format!("{value} {number}").into_bytes());
        assert_eq!(client.insist(Request::Read(&key(number))), expected, "key {number}");
    }
}

#[test]
fn what_was_acknowledged_is_there_after_all_were_killed() {
    let mut servers = Servers::start("killed");
    let mut client = servers.leader();
    for number in 0..100 {
        client.send(write(&puts(number..number + 1, "one"))); // all under way at once
    }
    for _ in 0..100 {
        assert_eq!(client.receive().1, Reply::Done);
    }
    assert_eq!(client.ask(write(&puts(50..300, "many"))), Reply::Done);
    servers.kill_all();
    servers.start_all();
    let mut client = servers.leader();
    assert_all(&mut client, 0..50, "one");
    assert_all(&mut client, 50..300, "many");
    assert_eq!(client.ask(Request::Read(b"nobody wrote this")), Reply::Absent);
    assert_eq!(client.ask(write(&puts(0..3, "again"))), Reply::Done);
    assert_all(&mut client, 0..3, "again");
}

#[test]
fn writes_under_way_at_once_share_syncs() {
    let servers = Servers::start("gathered");
    let mut client = servers.leader();
    let mut fsyncs = || match client.ask(Request::Tell) {
        Reply::Told(standing) => standing.fsync_count,
        other => panic!("{other:?}"),
    };
    let before = fsyncs();
    let mut writer = servers.leader();
    let mut frames = Vec::new();
    for number in 0..1000 {
        write(&puts(number..number + 1, "one")).push(number as u64, &mut frames);
    }
    writer.stream.write_all(&frames).expect("sent");
    for _ in 0..1000 {
        assert_eq!(writer.receive().1, Reply::Done);
    }
    let used = fsyncs() - before;
    assert!(used < 250, "{used} syncs for 1000 writes");
}

#[test]
fn what_is_no_request_ends_a_connection_and_nothing_else() {
    let servers = Servers::start("garbage");
    let mut client = servers.leader();
    let address = client.stream.peer_addr().expect("connected");
    let too_long = (FRAME_BYTES_MAX as u32 + 1).to_le_bytes();
    let short = [&3u32.to_le_bytes()[..], b"abc"].concat();
    let unknown = [&9u32.to_le_bytes()[..], &[0; 8], &[77]].concat();
    let cut_off = [&11u32.to_le_bytes()[..], &[0; 8], &[0], b"xx"].concat();
    let huge_key = [&13u32.to_le_bytes()[..], &[0; 8], &[0], &[0xff; 4]].concat();
    let members = servers.addresses[3];
    for (to, garbage) in [
        (address, &too_long[..]),
        (address, &short),
        (address, &unknown),
        (address, &cut_off),
        (address, &huge_key),
        (address, b"GET / HTTP/1.0\r\n\r\n"),
        (members, &u32::MAX.to_le_bytes()),
        (members, &unknown),
        (members, &[&0u32.to_le_bytes()[..], &[0]].concat()),
    ] {
        let mut stream = TcpStream::connect(to).expect("taken");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        stream.write_all(garbage).expect("sent");
        let mut answer = Vec::new();
        let ended = stream.read_to_end(&mut answer);
        let is_reset = |error: &std::io::Error| error.kind() == std::io::ErrorKind::ConnectionReset;
        assert!(ended.as_ref().err().is_none_or(is_reset), "{garbage:?}: {ended:?}");
        assert!(answer.is_empty(), "{garbage:?} was answered");
    }
    assert_eq!(client.ask(write(&puts(0..1, "still"))), Reply::Done);
    assert_all(&mut client, 0..1, "still");
}

#[test]
fn who_does_not_lead_refuses() {
    let servers = Servers::start("followers");
    let mut leader = servers.leader();
    assert_eq!(leader.ask(write(&puts(0..1, "value"))), Reply::Done);
    let leading = leader.stream.peer_addr().expect("connected");
    let other = servers.addresses.iter().take(3).find(|address| **address != leading);
    let stream = TcpStream::connect(other.expect("there are three")).expect("taken");
    let mut follower = Client::of(stream);
    let refused = |reply: Reply| matches!(reply, Reply::Refused(_));
    assert!(refused(follower.ask(write(&puts(0..1, "other")))));
    assert!(refused(follower.ask(Request::Read(&key(0)))));
    assert_all(&mut leader, 0..1, "value");
}
