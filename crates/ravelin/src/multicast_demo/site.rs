//! The wormholes, and a process beside each: its connection, its keys, and its socket.

use std::fs::DirBuilder;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use ravelin_model::ttcb::{Entity, Ttcb as _};
use ravelin_model::{ClusterId, Digest, ReplicaId};
use ravelin_multicast::brm::Settings;
use ravelin_runtime::ttcb::LocalTtcb;
use ravelin_runtime::wormhole::member_of;
use ravelin_wormhole::attestation::Peer;
use ravelin_wormhole::client::SeqPacket;
use ravelin_wormhole::core::{Engine, Member};
use ravelin_wormhole::launcher::{Control, ControlNetwork, Launch, Launched, control_sockets};
use zeroize::Zeroizing;

use crate::exit::{Error, Result};
use crate::wormhole;

use super::party::Party;
use super::{COUNT, failed, settings};

/// How long wormholes may take to know the common time, and two processes to get their key.
const READY_MAX: Duration = Duration::from_secs(30);
/// Between two questions meanwhile.
const PAUSE: Duration = Duration::from_millis(5);

/// A process's name and connection.
pub(super) type Port = LocalTtcb<SeqPacket>;
/// The key of two processes.
pub(super) type Key = Zeroizing<[u8; 32]>;

/// Everything that runs. In this order it ends.
pub(super) struct Site {
    pub(super) parties: Vec<Party>,
    _wormholes: Vec<Running>,
}

/// A wormhole's process.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Both do nothing to one that has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A directory for wormholes whose keys nobody trusts.
struct Home(PathBuf);

impl Home {
    fn new() -> Result<Self> {
        let name = format!("ravelin-wormhole-demo-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let made = DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|error| Error::system("create", &path, &error))?;
        Ok(Self(path))
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // What is left, if anything, is of no use to anybody.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Site {
    /// Starts it, with wormholes that agree in this way, and says where the control channels are.
    pub(super) fn start(engine: Engine) -> Result<(Self, ControlNetwork)> {
        let home = Home::new()?;
        let program = wormhole::program()?.0;
        let (wormholes, mut ports, network) = start_wormholes(&program, &home.0, engine)
            .map_err(|error| failed(error, "cannot start the wormholes"))?;
        let parties = introduce(&mut ports)
            .and_then(|(entities, keys)| connect(ports, &entities, keys, settings(engine)))
            .map_err(|error| failed(error, "the wormholes do not come together"))?;
        // They have read what they need: who interrupts the demonstration leaves nothing behind.
        drop(home);
        Ok((Self { parties, _wormholes: wormholes }, network))
    }

    /// Who the processes are to each other.
    pub(super) fn entities(&self) -> Vec<Entity> {
        self.parties.iter().map(Party::entity).collect()
    }
}

fn start_wormholes(
    program: &Path,
    home: &Path,
    engine: Engine,
) -> anyhow::Result<(Vec<Running>, Vec<Port>, ControlNetwork)> {
    let launch = |replica: u16| Launch {
        program: program.to_owned(),
        state: home.join(replica.to_string()),
        owner: None,
        connection_count: 1,
        member: member_of(ClusterId(Digest::default()), ReplicaId(replica)),
        store: None,
    };
    // So that P1 is the process of replica 1, also in what the checker says.
    let launches: Vec<Launch> = (1..).take(COUNT).map(launch).collect();
    let (sockets, network) = control_sockets(COUNT)?;
    let mut members = Vec::new();
    for (launch, (_, address)) in launches.iter().zip(&sockets) {
        members.push((
            Member { replica: launch.member.1, provisioned: launch.provision()? },
            *address,
        ));
    }
    let (mut wormholes, mut ports) = (Vec::new(), Vec::new());
    for ((launch, (socket, _)), (member, _)) in launches.iter().zip(sockets).zip(&members) {
        let control = Control { socket, members: members.clone(), engine };
        let Launched { process, ends } = launch.start_together(control)?;
        wormholes.push(Running(process));
        let Member { replica, provisioned } = *member;
        let peer = Peer { cluster: launch.member.0, replica, provisioned };
        let end = ends.first().context("the wormhole has no connection")?;
        ports.push(LocalTtcb::connect(end, &peer)?);
    }
    Ok((wormholes, ports, network))
}

/// Waits for the common time; who the processes are, and the key of each two.
fn introduce(ports: &mut [Port]) -> anyhow::Result<(Vec<Entity>, Vec<(Entity, Entity, Key)>)> {
    let deadline = Instant::now() + READY_MAX;
    let entities: Option<Vec<Entity>> = ports.iter().map(LocalTtcb::entity).collect();
    let entities = entities.context("a wormhole has named more processes than there are names")?;
    for port in &mut *ports {
        while !port.timestamp()?.is_synchronised {
            pause(deadline)?;
        }
    }
    let mut keys: Vec<(Entity, Entity, Key)> = Vec::new();
    loop {
        for (port, own) in ports.iter_mut().zip(&entities) {
            for other in entities.iter().filter(|it| *it != own) {
                let has = keys.iter().any(|(one, two, _)| (one, two) == (own, other));
                if !has && let Some(key) = port.pair_key(*other)? {
                    keys.push((*own, *other, key));
                }
            }
        }
        if keys.len() == COUNT * (COUNT - 1) {
            return Ok((entities, keys));
        }
        pause(deadline)?;
    }
}

fn pause(deadline: Instant) -> anyhow::Result<()> {
    if Instant::now() > deadline {
        bail!("nothing came of it within {READY_MAX:?}");
    }
    std::thread::sleep(PAUSE);
    Ok(())
}

/// Gives each process its socket on the payload network, and its keys.
fn connect(
    ports: Vec<Port>,
    entities: &[Entity],
    mut keys: Vec<(Entity, Entity, Key)>,
    settings: Settings,
) -> anyhow::Result<Vec<Party>> {
    let bound: std::io::Result<Vec<UdpSocket>> =
        entities.iter().map(|_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))).collect();
    let sockets = bound.context("no socket for the payload network")?;
    let addresses: std::io::Result<Vec<SocketAddr>> =
        sockets.iter().map(UdpSocket::local_addr).collect();
    let peers: Vec<_> = entities.iter().copied().zip(addresses?).collect();
    let mut parties = Vec::new();
    for ((number, port), socket) in ports.into_iter().enumerate().zip(sockets) {
        let own = entities.get(number).copied();
        let of_it = keys.extract_if(.., |(one, _, _)| Some(*one) == own);
        let of_it: Vec<_> = of_it.map(|(_, other, key)| (other, key)).collect();
        parties.push(Party::new(number, port, (socket, peers.clone()), &of_it, settings));
    }
    Ok(parties)
}
