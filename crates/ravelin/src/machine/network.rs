//! A network of its own for every server, and a switch between them that is as bad as the simulator's.
//!
//! Each server runs in a network namespace with one TAP device. A small program of the system opens the
//! devices and passes frames in and out; what becomes of a frame between two servers is drawn by the
//! very [`Links`] of the simulator. Frames of clients, which are outside, and broadcasts (who has which
//! address) always pass.
//!
//! **Guarantee:** namespaces and devices go away with their [`Segment`].

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ravelin_model::ReplicaId;
use ravelin_sim::{FaultClass, Links, Options};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::tools::{self, Tool, path_of, run};
use crate::cluster_dir::{Front, LocalCluster, NAMESPACE};
use crate::exit::{Error, Exit, Result};

/// Frames on their way at most; more are lost, as in any switch.
const FRAMES_MAX: usize = 10_000;
/// The bytes of an address of ours before its last, which is the port of the switch.
const ADDRESS: [u8; 5] = [2, 0, 0, 0, 0];
/// Where servers listen in their namespaces.
const PORTS: [(&str, u16); 3] =
    [("peer_listen", 7701), ("client_listen", 7702), ("admin_listen", 7703)];

/// Opens the named TAP devices, and passes frames as port, length and bytes.
///
/// The number is TUNSETIFF; 0x1002 is IFF_TAP with IFF_NO_PI.
const PUMP: &str = r"
import fcntl, os, select, struct, sys
taps = []
for name in sys.argv[1:]:
    tap = os.open('/dev/net/tun', os.O_RDWR)
    fcntl.ioctl(tap, 0x400454ca, struct.pack('16sH22x', name.encode(), 0x1002))
    taps.append(tap)
out = os.fdopen(1, 'wb', 0)
def give(data):
    while data:
        data = data[out.write(data):]
give(struct.pack('>BH', 255, 0))
rest = b''
while True:
    for ready in select.select(taps + [0], [], [])[0]:
        if ready != 0:
            frame = os.read(ready, 65535)
            give(struct.pack('>BH', taps.index(ready), len(frame)) + frame)
            continue
        more = os.read(0, 1 << 16)
        if not more:
            sys.exit(0)
        rest += more
        while len(rest) >= 3:
            port, length = struct.unpack('>BH', rest[:3])
            if len(rest) < 3 + length:
                break
            try:
                os.write(taps[port], rest[3:3 + length])
            except OSError:
                pass
            rest = rest[3 + length:]
";

/// A frame, and the port that it came from or goes to.
type Frame = (u8, Vec<u8>);

/// The servers' network.
pub(crate) struct Segment {
    /// Of each server.
    namespaces: Vec<String>,
    subnet: u8,
    state: Arc<Mutex<State>>,
    _pump: Child,
    _tasks: JoinSet<()>,
}

struct State {
    links: Links,
    /// `None`: the network is good yet.
    begun: Option<Instant>,
}

impl Segment {
    /// Why there can be none here, if so.
    pub(crate) fn missing() -> Option<String> {
        tools::missing(&[Tool::Root, Tool::Namespaces])
    }

    /// Whether it has this kind of trouble.
    pub(crate) fn has(class: FaultClass) -> bool {
        class.is_of_network() && class != FaultClass::Adversary
    }

    /// Builds namespaces, devices and the switch; all is well until [`Segment::begin`], and again once
    /// `span` is over since then.
    pub(crate) fn build(options: &Options, span: Duration) -> Result<Self> {
        let own = std::process::id() % 100_000;
        let name = |index: u16| format!("rv{own}n{index}");
        let names: Vec<String> = (0..=options.n).map(name).collect();
        let program = path_of("python3").unwrap_or_default();
        let mut pump = Command::new(&program)
            .args(["-c", PUMP])
            .args(&names)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null()) // it complains when its devices go
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| Error::system("run", &program, &error))?;
        let (Some(to), Some(from)) = (pump.stdin.take(), pump.stdout.take()) else {
            return Err(Error::new(Exit::Failed, "the switch has no pipes", "try again"));
        };
        let links = Links::new(options, span);
        let state = Arc::new(Mutex::new(State { links, begun: None }));
        let mut tasks = JoinSet::new();
        let (frames, outgoing) = mpsc::channel(FRAMES_MAX);
        tasks.spawn(send(to, outgoing));
        tasks.spawn(switch(from, frames, Arc::clone(&state), options.n));
        let subnet = (own % 250) as u8;
        let mut segment =
            Self { namespaces: Vec::new(), subnet, state, _pump: pump, _tasks: tasks };
        await_devices(&names)?;
        for (port, name) in (0..).zip(&names) {
            segment.join(port, name, port < options.n)?;
        }
        Ok(segment)
    }

    /// Gives a port's device its addresses: in a namespace of its own, or ours.
    fn join(&mut self, port: u16, name: &str, is_server: bool) -> Result<()> {
        let [a, b, c, d, e] = ADDRESS;
        let hardware = format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{port:02x}");
        let address = format!("{}/24", self.address(port));
        let mut within = vec![];
        if is_server {
            run("ip", &["netns", "add", name])?;
            self.namespaces.push(name.to_owned());
            run("ip", &["link", "set", name, "netns", name])?;
            within = vec!["-n", name];
            run("ip", &["-n", name, "link", "set", "lo", "up"])?;
        }
        let ip = |words: &[&str]| run("ip", &[&within[..], words].concat());
        ip(&["link", "set", name, "address", &hardware])?;
        ip(&["addr", "add", &address, "dev", name])?;
        ip(&["link", "set", name, "up"])
    }

    fn address(&self, port: u16) -> Ipv4Addr {
        Ipv4Addr::new(10, 213, self.subnet, port as u8 + 1)
    }

    /// Where servers are reached.
    pub(crate) fn fronts(&self) -> Vec<Front> {
        let count = self.namespaces.len() as u16;
        let at = |port: u16, number: u16| SocketAddr::from((self.address(port), number));
        (0..count).map(|port| Front { peer: at(port, 7701), client: at(port, 7702) }).collect()
    }

    /// Lets the servers of a new cluster listen in their namespaces.
    pub(crate) fn settle(&self, cluster: &LocalCluster) -> Result<LocalCluster> {
        for (server, namespace) in cluster.servers.iter().zip(&self.namespaces) {
            let failed = |error| Error::system("change", &server.node_file, &error);
            let text = fs::read_to_string(&server.node_file).map_err(failed)?;
            let address = self.address(server.id.0);
            let line = |line: &str| {
                let listens = PORTS.iter().find(|(name, _)| line.starts_with(name));
                listens.map_or_else(
                    || format!("{line}\n"),
                    |(name, port)| format!("{name} = \"{address}:{port}\"\n"),
                )
            };
            let text: String = text.lines().map(line).collect();
            fs::write(&server.node_file, text).map_err(failed)?;
            fs::write(server.dir.join(NAMESPACE), namespace).map_err(failed)?;
        }
        LocalCluster::open(&cluster.dir)
    }

    /// Lets the trouble begin.
    pub(crate) fn begin(&self) {
        lock(&self.state).begun = Some(Instant::now());
    }

    /// What it did to frames, as often as it did so.
    pub(crate) fn in_words(&self) -> String {
        let counts: BTreeMap<_, _> = lock(&self.state).links.counts().collect();
        let words: Vec<String> =
            counts.iter().map(|(class, count)| format!("{} {count}", class.name())).collect();
        format!(
            "frames: {}",
            if words.is_empty() { "all passed".to_owned() } else { words.join(", ") }
        )
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        for namespace in &self.namespaces {
            let _ = run("ip", &["netns", "del", namespace]); // with the device in it
        }
    }
}

fn lock(state: &Mutex<State>) -> std::sync::MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until the pump has made all devices.
fn await_devices(names: &[String]) -> Result<()> {
    let begun = Instant::now();
    let is_there = |name: &String| std::path::Path::new("/sys/class/net").join(name).exists();
    while !names.iter().all(is_there) {
        if begun.elapsed() > Duration::from_secs(5) {
            let cause = "the switch's devices do not appear";
            return Err(Error::new(Exit::Denied, cause, "TAP devices need CAP_NET_ADMIN"));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Gives frames to the devices.
async fn send(mut to: ChildStdin, mut frames: mpsc::Receiver<Frame>) {
    while let Some((port, frame)) = frames.recv().await {
        let Ok(length) = u16::try_from(frame.len()) else { continue };
        let [high, low] = length.to_be_bytes();
        let bytes = [&[port, high, low][..], &frame].concat();
        if to.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

/// Takes frames from the devices and sends each where it belongs, when it is due.
async fn switch(
    mut from: ChildStdout,
    frames: mpsc::Sender<Frame>,
    state: Arc<Mutex<State>>,
    servers: u16,
) {
    let mut on_their_way = JoinSet::new();
    loop {
        while on_their_way.try_join_next().is_some() {}
        let mut head = [0; 3];
        if from.read_exact(&mut head).await.is_err() {
            return;
        }
        let [port, high, low] = head;
        let mut frame = vec![0; usize::from(u16::from_be_bytes([high, low]))];
        if from.read_exact(&mut frame).await.is_err() {
            return;
        }
        for (to, delay) in arrivals(&frame, port, servers, &state) {
            if on_their_way.len() >= FRAMES_MAX {
                break;
            }
            let (frames, frame) = (frames.clone(), frame.clone());
            on_their_way.spawn(async move {
                tokio::time::sleep(delay).await;
                let _ = frames.try_send((to, frame)); // a full switch loses it
            });
        }
    }
}

/// To which ports a frame goes, and when.
fn arrivals(frame: &[u8], from: u8, servers: u16, state: &Mutex<State>) -> Vec<(u8, Duration)> {
    let Some(to) = frame.first_chunk::<6>() else { return Vec::new() };
    let others = (0..=servers as u8).filter(|port| *port != from);
    let [near @ .., port] = to;
    if to[0] & 1 == 1 {
        return others.map(|port| (port, Duration::ZERO)).collect(); // to everybody
    }
    if *near != ADDRESS || u16::from(*port) > servers {
        return Vec::new();
    }
    let mut state = lock(state);
    let is_between = u16::from(from) < servers && u16::from(*port) < servers;
    let Some(begun) = state.begun.filter(|_| is_between) else {
        return vec![(*port, Duration::ZERO)];
    };
    let (one, other) = (ReplicaId(from.into()), ReplicaId((*port).into()));
    let delays = state.links.carry(begun.elapsed(), one, other);
    delays.into_iter().map(|delay| (*port, delay)).collect()
}

#[cfg(test)]
mod tests {
    use ravelin_sim::Mode;

    use super::*;

    fn state(class: FaultClass, is_begun: bool) -> Mutex<State> {
        let options = Options::calm(3, Mode::Safety, (4, 1)).with(class);
        let links = Links::new(&options, Duration::from_secs(3600));
        Mutex::new(State { links, begun: is_begun.then(Instant::now) })
    }

    fn frame(to: [u8; 6]) -> Vec<u8> {
        [&to[..], &[0; 60]].concat()
    }

    #[test]
    fn frames_of_clients_and_broadcasts_pass_and_strangers_get_none() {
        let state = state(FaultClass::Loss, true);
        let to = |port| frame([2, 0, 0, 0, 0, port]);
        for _ in 0..1000 {
            assert_eq!(arrivals(&to(2), 4, 4, &state), [(2, Duration::ZERO)]);
            assert_eq!(arrivals(&to(4), 2, 4, &state), [(4, Duration::ZERO)]);
        }
        let everybody = arrivals(&frame([0xff; 6]), 1, 4, &state);
        assert_eq!(everybody.iter().map(|(port, _)| *port).collect::<Vec<_>>(), [0, 2, 3, 4]);
        assert_eq!(arrivals(&to(9), 1, 4, &state), []);
        assert_eq!(arrivals(&[1, 2], 1, 4, &state), []);
    }

    #[test]
    fn frames_between_servers_are_lost_and_doubled_as_the_run_says_once_it_began() {
        let to = frame([2, 0, 0, 0, 0, 1]);
        let copies = |class, is_begun| -> usize {
            let state = state(class, is_begun);
            (0..1000).map(|_| arrivals(&to, 0, 4, &state).len()).sum()
        };
        assert_eq!(copies(FaultClass::Loss, false), 1000);
        assert!((850..1000).contains(&copies(FaultClass::Loss, true)));
        assert!((1001..1200).contains(&copies(FaultClass::Duplication, true)));
    }
}
