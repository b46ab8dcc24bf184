//! Wormholes that agree, all on this host, with keys that nobody trusts: for demonstrations and measurements.

use std::fs::DirBuilder;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use ravelin_model::ttcb::Ttcb as _;
use ravelin_model::{ClusterId, Digest, ReplicaId};
use ravelin_runtime::ttcb::LocalTtcb;
use ravelin_runtime::wormhole::member_of;
use ravelin_wormhole::attestation::Peer;
use ravelin_wormhole::client::SeqPacket;
use ravelin_wormhole::core::{Engine, Member};
use ravelin_wormhole::launcher::{
    Control, ControlNetwork, Launch, Launched, control_sockets, ending,
};

use super::words::Words;
use crate::output::Output;

/// How long wormholes may take to know the common time.
pub(crate) const READY_MAX: Duration = Duration::from_secs(30);
/// How long after its connection broke a wormhole is waited for.
const END_MAX: Duration = Duration::from_millis(500);
/// Between two questions meanwhile.
const PAUSE: Duration = Duration::from_millis(5);

/// A process's name and connection.
pub(crate) type Port = LocalTtcb<SeqPacket>;

/// Wormholes that run, and a process beside each.
pub(crate) struct Together {
    /// One connection each.
    pub(crate) ports: Vec<Port>,
    /// They end with this.
    pub(crate) wormholes: Vec<Running>,
    /// Where their control channels are.
    pub(crate) network: ControlNetwork,
}

/// A wormhole's process; it ends with this.
pub(crate) struct Running {
    process: Child,
    words: Words,
}

impl Running {
    /// Passes on what it said since the last time.
    pub(crate) fn tell(&mut self, output: Output) {
        self.words.tell(output);
    }

    /// How it ended, if it has.
    fn ended(&mut self, number: usize) -> Option<Ended> {
        let how = ending(self.process.try_wait().ok()??);
        let last = self.words.last().map(|line| format!(": {line}")).unwrap_or_default();
        Some(Ended { number, how, last })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both do nothing to one that has ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A wormhole ended by itself.
#[derive(Debug, thiserror::Error)]
#[error("wormhole {number} ended with {how}{last}")]
pub(crate) struct Ended {
    /// From 1 on.
    number: usize,
    how: String,
    /// What it said last.
    last: String,
}

/// A directory for wormholes whose keys nobody trusts.
struct Home(PathBuf);

impl Home {
    fn new() -> anyhow::Result<Self> {
        let name = format!("ravelin-wormholes-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let made = DirBuilder::new().mode(0o700).create(&path);
        made.with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // What is left, if anything, is of no use to anybody.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Together {
    /// Starts `count` of them, the first as replica 1, which agree in this way, and waits until all know the
    /// common time. To be called before there are threads. What they say is passed on.
    ///
    /// # Errors
    /// [`Ended`] where one of them ended by itself, whatever became of the others.
    pub(crate) fn start(
        output: Output,
        program: &Path,
        count: usize,
        engine: Engine,
    ) -> anyhow::Result<Self> {
        let home = Home::new()?;
        let (sockets, network) = control_sockets(count)?;
        let mut together = Self { ports: Vec::new(), wormholes: Vec::new(), network };
        let come = together.start_in(program, &home.0, (sockets, engine));
        let come = come.and_then(|()| together.synchronise());
        let come = come.map_err(|error| together.ended().map_or(error, Into::into));
        together.wormholes.iter_mut().for_each(|one| one.tell(output));
        // They have read what they need: who interrupts what follows leaves nothing behind.
        drop(home);
        come.map(|()| together)
    }

    fn start_in(
        &mut self,
        program: &Path,
        home: &Path,
        (sockets, engine): (Vec<(OwnedFd, SocketAddr)>, Engine),
    ) -> anyhow::Result<()> {
        let launch = |replica: u16| -> anyhow::Result<(Launch, Words)> {
            let words = Words::new()?;
            let launch = Launch {
                program: program.to_owned(),
                state: home.join(replica.to_string()),
                owner: None,
                connection_count: 1,
                member: member_of(ClusterId(Digest::default()), ReplicaId(replica)),
                store: None,
                words: Some(words.file()),
            };
            Ok((launch, words))
        };
        let launches: Vec<_> =
            (1..).take(sockets.len()).map(launch).collect::<anyhow::Result<_>>()?;
        let mut members = Vec::new();
        for ((launch, _), (_, address)) in launches.iter().zip(&sockets) {
            let member = Member { replica: launch.member.1, provisioned: launch.provision()? };
            members.push((member, *address));
        }
        for (((launch, words), (socket, _)), (member, _)) in
            launches.into_iter().zip(sockets).zip(&members)
        {
            let control = Control { socket, members: members.clone(), engine };
            let Launched { process, ends } = launch.start_together(control)?;
            self.wormholes.push(Running { process, words });
            let Member { replica, provisioned } = *member;
            let peer = Peer { cluster: launch.member.0, replica, provisioned };
            let end = ends.first().context("the wormhole has no connection")?;
            self.ports.push(LocalTtcb::connect(end, &peer)?);
        }
        Ok(())
    }

    fn synchronise(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + READY_MAX;
        for port in &mut self.ports {
            while !port.timestamp()?.is_synchronised {
                pause(deadline)?;
            }
        }
        Ok(())
    }

    /// Which of them ended, if one did: a connection breaks a moment before its process is over.
    fn ended(&mut self) -> Option<Ended> {
        let until = Instant::now() + END_MAX;
        loop {
            let mut numbered = (1..).zip(&mut self.wormholes);
            let ended = numbered.find_map(|(number, one)| one.ended(number));
            if ended.is_some() || Instant::now() > until {
                return ended;
            }
            std::thread::sleep(PAUSE);
        }
    }
}

/// Waits a little, if it is not too late.
pub(crate) fn pause(deadline: Instant) -> anyhow::Result<()> {
    if Instant::now() > deadline {
        bail!("nothing came of it within {READY_MAX:?}");
    }
    std::thread::sleep(PAUSE);
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use std::process::Command;

    use super::*;

    /// A wormhole that refuses to serve.
    pub(crate) fn refused() -> Ended {
        let words = Words::new().unwrap();
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "echo begins >&2; echo it is woken late >&2; exit 1"]);
        let process = command.stderr(words.file().try_clone().unwrap()).spawn().unwrap();
        let wormholes = vec![Running { process, words }];
        let network = ControlNetwork::Shared;
        Together { ports: vec![], wormholes, network }.ended().expect("it has ended")
    }

    #[test]
    fn who_refused_is_named_with_its_last_word() {
        assert_eq!(refused().to_string(), "wormhole 1 ended with exit code 1: it is woken late");
    }
}
