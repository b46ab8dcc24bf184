//! Wormholes that agree, all on this host, with keys that nobody trusts: for demonstrations and measurements.

use std::fs::DirBuilder;
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
use ravelin_wormhole::launcher::{Control, ControlNetwork, Launch, Launched, control_sockets};

/// How long wormholes may take to know the common time.
pub(crate) const READY_MAX: Duration = Duration::from_secs(30);
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
pub(crate) struct Running(Child);

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
    /// common time. To be called before there are threads.
    pub(crate) fn start(program: &Path, count: usize, engine: Engine) -> anyhow::Result<Self> {
        let home = Home::new()?;
        let mut together = start_in(program, &home.0, count, engine)?;
        let deadline = Instant::now() + READY_MAX;
        for port in &mut together.ports {
            while !port.timestamp()?.is_synchronised {
                pause(deadline)?;
            }
        }
        // They have read what they need: who interrupts what follows leaves nothing behind.
        drop(home);
        Ok(together)
    }
}

fn start_in(program: &Path, home: &Path, count: usize, engine: Engine) -> anyhow::Result<Together> {
    let launch = |replica: u16| Launch {
        program: program.to_owned(),
        state: home.join(replica.to_string()),
        owner: None,
        connection_count: 1,
        member: member_of(ClusterId(Digest::default()), ReplicaId(replica)),
        store: None,
    };
    let launches: Vec<Launch> = (1..).take(count).map(launch).collect();
    let (sockets, network) = control_sockets(count)?;
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
    Ok(Together { ports, wormholes, network })
}

/// Waits a little, if it is not too late.
pub(crate) fn pause(deadline: Instant) -> anyhow::Result<()> {
    if Instant::now() > deadline {
        bail!("nothing came of it within {READY_MAX:?}");
    }
    std::thread::sleep(PAUSE);
    Ok(())
}
