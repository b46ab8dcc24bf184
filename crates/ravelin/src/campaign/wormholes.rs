//! What befalls the wormhole of a server: killed, paused, set back, replaced by a copy of another.
//!
//! **Guarantee:** whichever it was, at the end the server has its own wormhole's state again.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ravelin_model::ReplicaId;
use rustix::process::Signal;

use crate::cluster_dir::{LocalCluster, LocalServer};
use crate::exit::{Error, Exit, Result};
use crate::machine::decay;
use crate::processes::{Hands, Processes};

/// How long a server may take to end without its wormhole.
const END_MAX: Duration = Duration::from_secs(5);
/// Time between two looks at that.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What is done to a wormhole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Harm {
    /// `kill -9`: its server must end.
    Kill,
    /// `SIGSTOP`, then `SIGCONT`.
    Pause,
    /// Its files are put back to what they were.
    Rollback,
    /// The files of another server's wormhole take the place of its own: its server must not serve.
    Clone,
}

impl Harm {
    pub(super) const ALL: [Self; 4] = [Self::Kill, Self::Pause, Self::Rollback, Self::Clone];

    /// Its name in outputs.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Kill => "wormhole-kill",
            Self::Pause => "wormhole-pause",
            Self::Rollback => "wormhole-rollback",
            Self::Clone => "wormhole-clone",
        }
    }

    /// What happens, in words.
    pub(super) fn what(self) -> &'static str {
        match self {
            Self::Kill => "its wormhole killed, then its server started again",
            Self::Pause => "its wormhole stopped, then let go on",
            Self::Rollback => "its wormhole's files put back to before that, and started again",
            Self::Clone => "a copy of another server's wormhole in place of its own",
        }
    }

    /// Does it to the wormhole of `server`.
    pub(super) fn begin(self, cluster: &LocalCluster, server: ReplicaId) -> Result<()> {
        let processes = Processes::of(cluster)?;
        let place = Place::of(processes.server(server)?)?;
        match self {
            Self::Kill => signal(&processes, server, Signal::KILL),
            Self::Pause => signal(&processes, server, Signal::STOP),
            Self::Rollback => place.keep(),
            Self::Clone => {
                let next = ReplicaId((server.0 + 1) % cluster.group.size() as u16);
                let other = Place::of(processes.server(next)?)?;
                processes.kill(server)?;
                place.keep()?;
                place.take(&other.state)?;
                processes.start(server, Hands::Own).map(drop)
            }
        }
    }

    /// Undoes it and sees that the server runs; says which promises were broken.
    pub(super) fn end(self, cluster: &LocalCluster, server: ReplicaId) -> Result<Vec<String>> {
        let processes = Processes::of(cluster)?;
        let place = Place::of(processes.server(server)?)?;
        let mut broken = Vec::new();
        match self {
            Self::Kill => {
                if !has_ended(&processes, server)? {
                    broken.push("the server went on without its wormhole".to_owned());
                }
            }
            // Paused for longer than an answer may take, its server has ended, and it with that.
            Self::Pause => drop(processes.signal_wormhole(server, Signal::CONT)?),
            Self::Rollback => {
                processes.kill(server)?;
                place.put_back()?;
            }
            Self::Clone => {
                if !has_ended(&processes, server)? {
                    broken.push("the server runs with another one's wormhole".to_owned());
                    processes.kill(server)?;
                }
                place.put_back()?;
            }
        }
        if processes.is_down(server)? {
            processes.start(server, Hands::Own)?;
        }
        Ok(broken)
    }
}

fn signal(processes: &Processes<'_>, server: ReplicaId, signal: Signal) -> Result<()> {
    if processes.signal_wormhole(server, signal)? {
        return Ok(());
    }
    let cause = format!("server {server} has no wormhole");
    Err(Error::new(Exit::Failed, cause, "look at its log"))
}

fn has_ended(processes: &Processes<'_>, server: ReplicaId) -> Result<bool> {
    let begun = Instant::now();
    while processes.running(server)?.is_some() {
        if begun.elapsed() > END_MAX {
            return Ok(false);
        }
        std::thread::sleep(LOOK_EVERY);
    }
    Ok(true)
}

/// Where a wormhole keeps its state, and where a copy of that is kept meanwhile.
struct Place {
    state: PathBuf,
    copy: PathBuf,
}

impl Place {
    fn of(server: &LocalServer) -> Result<Self> {
        let Some(wormhole) = &server.config.wormhole else {
            let cause = format!("server {} has no wormhole", server.id);
            return Err(Error::usage(cause, "only servers of a `hybrid` cluster have one"));
        };
        Ok(Self { state: wormhole.state.clone(), copy: server.dir.join("old-wormhole") })
    }

    fn keep(&self) -> Result<()> {
        let copied = decay::copy(&self.state, &self.copy);
        copied.map_err(|error| Error::system("copy", &self.state, &error))
    }

    fn take(&self, from: &Path) -> Result<()> {
        let copied = decay::copy(from, &self.state);
        copied.map_err(|error| Error::system("replace", &self.state, &error))
    }

    fn put_back(&self) -> Result<()> {
        self.take(&self.copy)?;
        let _ = std::fs::remove_dir_all(&self.copy); // it would only take room
        Ok(())
    }
}
