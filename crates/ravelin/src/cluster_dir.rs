//! A whole cluster in one directory of one machine: for `ravelin local` and the demonstration.
//!
//! ```text
//! cluster.toml            marks the directory as ours
//! plan.toml client.toml   what clients need; `ravelin --config D/client.toml ...`
//! keys/                   administrator.key, client.key
//! identities/             0.toml ...: outside every data directory
//! servers/0/              node.toml, data/; in `hybrid` wormhole/
//! ```
//!
//! **Guarantee:** the directory appears complete or not at all, and nothing foreign is touched. All
//! paths in its files are relative: it can be moved.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use ravelin_crypto::{plan_digest, sign_plan};
use ravelin_model::limits::{CHECKPOINT_EVERY_DEFAULT, REPLICAS_MAX};
use ravelin_model::plan::{Labels, PLAN_VERSION};
use ravelin_model::{
    ClientEntry, ClusterId, ClusterPlan, Epoch, FaultModel, Group, Incarnation, Member, Purpose,
    ReplicaId, SignedPlan, WormholeKeys,
};
use serde::Deserialize;

use crate::exit::{Error, Exit, Result};
use crate::files::client::{ClientFile, Whereabouts};
use crate::files::disk::{self, DraftDir, Privacy, create_dir};
use crate::files::identity::Identity;
use crate::files::key::KeyFile;
use crate::files::node::{NewNode, NewWormhole, NodeConfig};
use crate::files::syntax::{Text, parse};
use crate::files::{date, plan};
use crate::wormhole;

/// Version of the layout.
const LAYOUT: u16 = 1;
/// The file in a server's directory that names the network namespace which it runs in.
pub(crate) const NAMESPACE: &str = "namespace";
/// The file that marks a directory as ours.
const MARK: &str = "cluster.toml";
/// Agreed seconds between two key changes: short, since local clusters are attacked for a minute.
const REKEY_INTERVAL_MIN_S: u64 = 10;
/// The same in `hybrid`, where each start takes one.
const REKEY_INTERVAL_MIN_HYBRID_S: u64 = 2;
/// Ports are chosen below those that systems hand out to outgoing connections: while a server is
/// down, nobody gets its port by chance.
const PORTS: std::ops::Range<u16> = 10_000..32_768;
/// Ports between the beginnings of one process and the next: those of one cluster of seven.
const PORTS_APART: u32 = 21;
/// Ports that are tried before giving up.
const PORT_ATTEMPTS_MAX: usize = 10_000;

/// A cluster on this machine.
pub(crate) struct LocalCluster {
    /// Where it lives.
    pub(crate) dir: PathBuf,
    /// The cluster.
    pub(crate) id: ClusterId,
    /// Its plan, signed.
    pub(crate) plan: SignedPlan,
    /// Size and resilience.
    pub(crate) group: Group,
    /// Its servers, in order.
    pub(crate) servers: Vec<LocalServer>,
}

/// One of its servers.
pub(crate) struct LocalServer {
    pub(crate) id: ReplicaId,
    /// Its own directory, where it may also leave its output.
    pub(crate) dir: PathBuf,
    /// For `ravelin node start --config`.
    pub(crate) node_file: PathBuf,
    /// The same, read.
    pub(crate) config: NodeConfig,
    /// The network namespace that it runs in, if it is not ours.
    pub(crate) namespace: Option<String>,
}

/// Where the plan says that a server is reached, when that is not where it listens: somebody in
/// between carries its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Front {
    /// For other servers.
    pub(crate) peer: SocketAddr,
    /// For clients.
    pub(crate) client: SocketAddr,
}

/// Where a new server listens and is reached.
struct Doors {
    peer: SocketAddr,
    client: SocketAddr,
    admin: SocketAddr,
    front: Front,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mark {
    layout: u16,
    /// For people.
    #[serde(rename = "created")]
    _created: String,
}

impl LocalCluster {
    /// Makes a cluster of `servers` in `dir`, which must be absent or empty. It tolerates as many
    /// intrusions as fit.
    pub(crate) fn create(dir: &Path, servers: u16, fault_model: FaultModel) -> Result<Self> {
        Self::create_behind(&[], dir, servers, fault_model)
    }

    /// The same, with the servers reached at `fronts`, one for each; those without one are reached
    /// where they listen.
    pub(crate) fn create_behind(
        fronts: &[Front],
        dir: &Path,
        servers: u16,
        fault_model: FaultModel,
    ) -> Result<Self> {
        refuse_foreign(dir)?;
        let group = largest_group(servers, fault_model)?;
        let draft = DraftDir::new(dir)?;
        let root = draft.path();
        for sub in ["keys", "identities", "servers"] {
            create_dir(&root.join(sub))?;
        }
        // Held until all files are written, so that no port is chosen twice.
        let listeners = free_listeners(3 * group.size())?;
        let addresses =
            listeners.iter().map(TcpListener::local_addr).collect::<Result<Vec<_>, _>>();
        let addresses = addresses.map_err(|error| Error::system("listen in", dir, &error))?;
        let (addresses, _) = addresses.as_chunks::<3>();
        let mut members = Vec::new();
        for (id, &[peer, client, admin]) in addresses.iter().enumerate() {
            let front = fronts.get(id).copied().unwrap_or(Front { peer, client });
            let doors = Doors { peer, client, admin, front };
            members.push(create_server(root, id, &doors, fault_model)?);
        }
        let administrator = KeyFile::generate()?;
        administrator.create(&root.join("keys/administrator.key"))?;
        let client = KeyFile::generate()?;
        client.create(&root.join("keys/client.key"))?;
        let plan = ClusterPlan {
            version: PLAN_VERSION,
            name: "local".to_owned(),
            purpose: Purpose::Local,
            incarnation: Incarnation(1),
            epoch: Epoch(1),
            previous: None,
            fault_model,
            f: u16::try_from(group.faults()).unwrap_or(u16::MAX),
            leaders_per_round: plan::leaders_default(fault_model),
            members,
            administrators: vec![administrator.public()],
            administrators_needed: 1,
            clients: vec![ClientEntry { name: "first-client".to_owned(), key: client.public() }],
            rekey_interval_min_s: match fault_model {
                FaultModel::Hybrid => REKEY_INTERVAL_MIN_HYBRID_S,
                FaultModel::Arbitrary | FaultModel::Asynchronous => REKEY_INTERVAL_MIN_S,
            },
            checkpoint_every: CHECKPOINT_EVERY_DEFAULT,
        };
        plan::check_fit(&plan)?;
        let mut signed = SignedPlan { plan, signatures: Vec::new() };
        sign_plan(&mut signed, &administrator.signing_key());
        write_shared(root, &signed)?;
        draft.install()?;
        drop(listeners);
        Self::open(dir)
    }

    /// Opens the cluster in `dir`.
    pub(crate) fn open(dir: &Path) -> Result<Self> {
        let dir = disk::plain(dir);
        let path = dir.join(MARK);
        let text = disk::read(&path, Privacy::Public).map_err(|error| match error.exit() {
            Exit::NotFound => {
                let cause = format!("there is no local cluster in {}", dir.display());
                Error::new(Exit::NotFound, cause, "`ravelin local up` makes one")
            }
            _ => error,
        })?;
        let mark: Mark = parse(&path, &text)?;
        if mark.layout != LAYOUT {
            let cause = format!("{}: layout {} is not {LAYOUT}", path.display(), mark.layout);
            return Err(Error::usage(cause, "use the version of ravelin that made the cluster"));
        }
        let plan = plan::read(&dir.join("plan.toml"))?;
        let group = plan::check_fit(&plan.plan)?;
        let id = plan::check_signed(&plan)?;
        let server = |id: ReplicaId| {
            let home = dir.join("servers").join(id.to_string());
            let node_file = home.join("node.toml");
            let text = disk::read(&node_file, Privacy::Public)?;
            let config = NodeConfig::checked(&node_file, &text)?;
            let namespace = fs::read_to_string(home.join(NAMESPACE)).ok();
            Ok(LocalServer { id, dir: home, node_file, config, namespace })
        };
        let servers = group.members().map(server).collect::<Result<_>>()?;
        Ok(Self { dir, id, plan, group, servers })
    }

    /// Takes a server's disk away, as far as its data goes. It must not be running.
    pub(crate) fn wipe(&self, server: ReplicaId) -> Result<()> {
        let found = self.servers.iter().find(|known| known.id == server);
        let data_dir = &found.expect("a server of this cluster").config.data_dir;
        let failed = |error: std::io::Error| Error::system("empty", data_dir, &error);
        for entry in fs::read_dir(data_dir).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let gone = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
            gone.map_err(failed)?;
        }
        Ok(())
    }

    /// Whether there is a cluster in `dir`.
    pub(crate) fn is_in(dir: &Path) -> bool {
        dir.join(MARK).is_file()
    }

    /// For `ravelin --config`.
    pub(crate) fn client_file(&self) -> PathBuf {
        self.dir.join("client.toml")
    }

    /// The first client's key.
    pub(crate) fn client_key(&self) -> PathBuf {
        self.dir.join("keys/client.key")
    }

    /// The administrator's key.
    pub(crate) fn administrator_key(&self) -> PathBuf {
        self.dir.join("keys/administrator.key")
    }
}

/// Refuses a directory that holds anything.
fn refuse_foreign(dir: &Path) -> Result<()> {
    let mut entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::system("make a cluster in", dir, &error)),
    };
    if entries.next().is_none() {
        return Ok(());
    }
    let (what, hint) = if LocalCluster::is_in(dir) {
        (
            "it holds a cluster already",
            "`ravelin local up` restarts it, `ravelin local reset` removes it",
        )
    } else {
        ("it is not empty", "choose an empty or a new directory")
    };
    let cause = format!("cannot make a cluster in {}: {what}", dir.display());
    Err(Error::new(Exit::Conflict, cause, hint))
}

/// The group of `servers` that tolerates the most intrusions.
fn largest_group(servers: u16, fault_model: FaultModel) -> Result<Group> {
    let most = match fault_model {
        FaultModel::Arbitrary | FaultModel::Asynchronous => servers.saturating_sub(1) / 3,
        FaultModel::Hybrid => servers.saturating_sub(1) / 2,
    };
    let fits = (1..=most).rev().find_map(|f| Group::new(servers, f, fault_model).ok());
    fits.map_or_else(
        || {
            let why = Group::new(servers, most.max(1), fault_model);
            let least = if fault_model == FaultModel::Hybrid { 3 } else { 4 };
            let hint = format!("choose from {least} to {REPLICAS_MAX} servers");
            why.map_err(|error| Error::caused(Exit::Usage, error, hint))
        },
        Ok,
    )
}

/// Makes one server's identity, directory and node file.
fn create_server(root: &Path, id: usize, doors: &Doors, fault_model: FaultModel) -> Result<Member> {
    let home = root.join(format!("servers/{id}"));
    let identity_file = format!("../../identities/{id}.toml");
    let identity = Identity::generate(&root.join(format!("identities/{id}.toml")))?;
    identity.create()?;
    create_dir(&home.join("data"))?;
    let name = format!("server-{id}");
    let (peer, client) = (doors.front.peer.to_string(), doors.front.client.to_string());
    let labels = Labels::default();
    // Of our own user: nobody who runs this cluster need be root.
    let new_wormhole = (fault_model == FaultModel::Hybrid).then(|| NewWormhole {
        state: "wormhole".to_owned(),
        user: None,
        server_user: None,
    });
    let node = NewNode {
        name: &name,
        plan: Path::new("../../plan.toml"),
        identity: Path::new(&identity_file),
        data_dir: Path::new("data"),
        peer_address: &peer,
        client_address: &client,
        peer_listen: Some(doors.peer),
        client_listen: Some(doors.client),
        admin_listen: &doors.admin.to_string(),
        labels: &labels,
        wormhole: new_wormhole.as_ref(),
    };
    let (node_file, text) = (home.join("node.toml"), node.text()?);
    disk::create(&node_file, &text, Privacy::Public)?;
    let wormhole = NodeConfig::checked(&node_file, &text)?.wormhole;
    let provisioned = wormhole.as_ref().map(wormhole::provision).transpose()?;
    let keys = identity.public_keys();
    Ok(Member {
        name,
        identity: keys.identity,
        block: keys.block,
        transport: keys.transport,
        wormhole: provisioned.map(|provisioned| WormholeKeys { provisioned, instance: None }),
        peer_address: peer,
        client_address: client,
        labels,
    })
}

/// Writes what all share: the plan, the client's file, the mark.
fn write_shared(root: &Path, signed: &SignedPlan) -> Result<()> {
    disk::create(&root.join("plan.toml"), &plan::text(signed), Privacy::Public)?;
    let client = ClientFile {
        fingerprint: ClusterId(plan_digest(&signed.plan)),
        whereabouts: Whereabouts::Plan(PathBuf::from("plan.toml")),
        key: Some(PathBuf::from("keys/client.key")),
        timeout: None,
        evidence: None,
    };
    disk::create(&root.join("client.toml"), &client.text()?, Privacy::Public)?;
    let mut mark = Text::new("A Ravelin cluster on this machine, made by `ravelin local up`.");
    mark.number("layout", LAYOUT.into());
    mark.set("created", date::now());
    disk::create(&root.join(MARK), &mark.finish(), Privacy::Public)
}

/// Ports that this process has asked for.
static ASKED: AtomicU32 = AtomicU32::new(0);

/// So many listeners on loopback, on ports that were free. Each process begins elsewhere, and goes on
/// where it was: who chooses ports now does not get those that another has chosen and not yet bound.
pub(crate) fn free_listeners(count: usize) -> Result<Vec<TcpListener>> {
    let mut listeners = Vec::with_capacity(count);
    for _ in 0..PORT_ATTEMPTS_MAX {
        if listeners.len() == count {
            return Ok(listeners);
        }
        let asked = ASKED.fetch_add(1, Ordering::Relaxed);
        let at = std::process::id().wrapping_mul(PORTS_APART).wrapping_add(asked);
        let port = PORTS.start + (at % PORTS.len() as u32) as u16;
        listeners.extend(TcpListener::bind((Ipv4Addr::LOCALHOST, port)));
    }
    let cause = format!("there are no {count} free ports on 127.0.0.1");
    Err(Error::new(Exit::Failed, cause, "choose fewer servers, or stop other programs"))
}

#[cfg(test)]
mod tests;
