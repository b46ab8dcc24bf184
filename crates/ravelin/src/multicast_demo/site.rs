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

use crate::exit::{Error, Exit, Result};
use crate::output::Output;
use crate::wormhole::together::{Ended, READY_MAX, Running, Together, pause};
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
    wormholes: Vec<Running>,
}

impl Site {
    /// Starts it, with wormholes that agree in this way, and says where the control channels are.
    pub(super) fn start(output: Output, engine: Engine) -> Result<(Self, ControlNetwork)> {
        let program = wormhole::program()?.0;
        // The first is replica 1, so that P1 is its process, also in what the checker says.
        let Together { mut ports, wormholes, network } =
            Together::start(output, &program, COUNT, engine)
                .map_err(|error| cannot_start(error, engine))?;
        let parties = introduce(&mut ports)
            .and_then(|(entities, keys)| connect(ports, &entities, keys, settings(engine)))
            .map_err(|error| failed(error, "the wormholes do not come together"))?;
        Ok((Self { parties, wormholes }, network))
    }

    /// Passes on what the wormholes said since the last time.
    pub(super) fn tell(&mut self, output: Output) {
        self.wormholes.iter_mut().for_each(|one| one.tell(output));
    }

    /// Who the processes are to each other.
    pub(super) fn entities(&self) -> Vec<Entity> {
        self.parties.iter().map(Party::entity).collect()
    }
}

fn cannot_start(error: anyhow::Error, engine: Engine) -> Error {
    let what = "cannot start the wormholes";
    let refuses_time = error.is::<Ended>() && matches!(engine, Engine::RealTime { .. });
    if refuses_time {
        let hint = "give a longer --real-time, or none";
        return Error::caused(Exit::Failed, error, hint).context(what);
    }
    failed(error, what)
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

#[cfg(test)]
mod tests {
    use ravelin_wormhole::core::Nanos;

    use super::*;
    use crate::wormhole::together::tests::refused;

    #[test]
    fn a_host_too_slow_for_real_time_is_told_of_a_longer_bound() {
        let real_time = Engine::RealTime { bound: Nanos::from_millis(2) };
        let hints = [
            (cannot_start(refused().into(), real_time), true),
            (cannot_start(refused().into(), Engine::Quorum), false),
            (cannot_start(anyhow::anyhow!("no network"), real_time), false),
        ];
        for (error, is_of_bound) in hints {
            assert_eq!(error.advice().contains("a longer --real-time"), is_of_bound, "{error:?}");
        }
    }
}
