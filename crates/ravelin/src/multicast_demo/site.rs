//! The wormholes, and a process beside each: its connection, its keys, and its socket.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Instant;

use anyhow::Context as _;
use ravelin_model::ttcb::Entity;
use ravelin_multicast::brm::Settings;
use ravelin_runtime::ttcb::LocalTtcb;
use ravelin_wormhole::core::Engine;
use ravelin_wormhole::launcher::ControlNetwork;
use zeroize::Zeroizing;

use crate::exit::Result;
use crate::wormhole::together::{READY_MAX, Running, Together, pause};
use crate::wormhole::{self, together};

use super::party::Party;
use super::{COUNT, failed, settings};

/// A process's name and connection.
pub(super) type Port = together::Port;
/// The key of two processes.
pub(super) type Key = Zeroizing<[u8; 32]>;

/// Everything that runs. In this order it ends.
pub(super) struct Site {
    pub(super) parties: Vec<Party>,
    _wormholes: Vec<Running>,
}

impl Site {
    /// Starts it, with wormholes that agree in this way, and says where the control channels are.
    pub(super) fn start(engine: Engine) -> Result<(Self, ControlNetwork)> {
        let program = wormhole::program()?.0;
        // The first is replica 1, so that P1 is its process, also in what the checker says.
        let Together { mut ports, wormholes, network } =
            Together::start(&program, COUNT, engine)
                .map_err(|error| failed(error, "cannot start the wormholes"))?;
        let parties = introduce(&mut ports)
            .and_then(|(entities, keys)| connect(ports, &entities, keys, settings(engine)))
            .map_err(|error| failed(error, "the wormholes do not come together"))?;
        Ok((Self { parties, _wormholes: wormholes }, network))
    }

    /// Who the processes are to each other.
    pub(super) fn entities(&self) -> Vec<Entity> {
        self.parties.iter().map(Party::entity).collect()
    }
}

/// Who the processes are, and the key of each two.
fn introduce(ports: &mut [Port]) -> anyhow::Result<(Vec<Entity>, Vec<(Entity, Entity, Key)>)> {
    let deadline = Instant::now() + READY_MAX;
    let entities: Option<Vec<Entity>> = ports.iter().map(LocalTtcb::entity).collect();
    let entities = entities.context("a wormhole has named more processes than there are names")?;
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
