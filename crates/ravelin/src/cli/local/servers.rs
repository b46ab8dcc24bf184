//! How the servers of a local cluster stand, as they and their processes show.
//!
//! **Guarantee:** a server whose key is spent is told apart from one that is catching up: the first
//! takes part again only once administrators gave it another key.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use ravelin_model::{Group, ReplicaId};
use serde::Serialize;

use crate::cluster_dir::LocalCluster;
use crate::exit::{Error, Exit, Result};
use crate::files::disk;
use crate::output::Output;
use crate::processes::{Processes, Running, last_error};
use crate::room;

/// How the servers of a cluster stand now.
pub(crate) fn look(cluster: &LocalCluster) -> Result<Servers> {
    let processes = Processes::of(cluster)?;
    let mut evidence: BTreeMap<ReplicaId, BTreeMap<String, usize>> = BTreeMap::new();
    let mut shared: BTreeMap<ReplicaId, BTreeSet<String>> = BTreeMap::new();
    let mut running = Vec::new();
    for server in &cluster.servers {
        let found = processes.running(server.id)?;
        let mut own_word = match &found {
            Some(_) => processes.own_word(server.id)?,
            None => None,
        };
        // After its own word: who calls itself correct has then told all that it held by then.
        if found.as_ref().is_some_and(|found| found.intruder.is_none()) {
            let findings = processes.findings(server.id)?;
            own_word = own_word.filter(|_| findings.is_some());
            let findings = findings.unwrap_or_default();
            for (accused, kind) in findings.proofs {
                *evidence.entry(accused).or_default().entry(kind).or_default() += 1;
            }
            for (whose, address) in findings.shared_keys {
                shared.entry(whose).or_default().insert(address);
            }
        }
        running.push((found, own_word));
    }
    let mut servers = Vec::new();
    for (server, (running, own_word)) in cluster.servers.iter().zip(running) {
        let evidence = evidence.remove(&server.id).unwrap_or_default();
        let state = State::of(running.as_ref(), !evidence.is_empty(), own_word.as_deref());
        servers.push(ServerLine {
            id: server.id,
            pid: running.as_ref().map(|running| running.pid),
            state,
            key_spent: state == State::Exposed || !evidence.is_empty(),
            intruder: running.and_then(|running| running.intruder),
            evidence,
            shared_key_at: shared.remove(&server.id).unwrap_or_default(),
            ended: if state == State::Down { last_error(server) } else { None },
            peer_address: server.config.peer_address.clone(),
            client_address: server.config.client_address.clone(),
            admin_address: server.config.admin_listen.map(|address| address.to_string()),
        });
    }
    Ok(Servers {
        servers,
        client_config: disk::plain(&cluster.client_file()),
        fault_model: cluster.group.model().name(),
        f: cluster.group.faults(),
        group: cluster.group,
        dir: cluster.dir.clone(),
    })
}

/// What to do where one key is run twice.
const SHARED_KEY_ADVICE: &str = "together they take one of the f faults, and the others serve on; find \
    both (`ss -tnp` on their hosts shows whose address it is), stop the one that does not belong there, \
    and give the server another key by `ravelin auth rekey`: whoever has a copy can speak in its name";

/// How a server stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Down,
    /// In an intruder's hands.
    #[serde(rename = "faulty")]
    Owned,
    /// In its own hands, and others hold proof against it.
    #[serde(rename = "faulty")]
    Exposed,
    /// Others hold blocks with its signature that it does not know: it only follows, until it has
    /// another key, which it asks for itself.
    Learner,
    FailSafe,
    CatchingUp,
    /// It serves, and takes no new requests for want of room.
    DiskFull,
    Correct,
}

impl State {
    fn of(running: Option<&Running>, is_proven: bool, own_word: Option<&str>) -> Self {
        match (running, own_word) {
            (None, _) => Self::Down,
            (Some(running), _) if running.intruder.is_some() => Self::Owned,
            _ if is_proven => Self::Exposed,
            (_, Some("learner")) => Self::Learner,
            (_, Some("fail_safe")) => Self::FailSafe,
            (_, Some(room::REPORTED)) => Self::DiskFull,
            (_, Some("correct")) => Self::Correct,
            _ => Self::CatchingUp,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Owned | Self::Exposed => "faulty",
            Self::Learner => "learner",
            Self::FailSafe => "fail_safe",
            Self::CatchingUp => "catching_up",
            Self::DiskFull => room::REPORTED,
            Self::Correct => "correct",
        }
    }
}

/// What scripts read: its fields are stable.
#[derive(Serialize)]
pub(crate) struct Servers {
    servers: Vec<ServerLine>,
    client_config: PathBuf,
    fault_model: &'static str,
    f: usize,
    #[serde(skip)]
    group: Group,
    #[serde(skip)]
    dir: PathBuf,
}

#[derive(Serialize)]
struct ServerLine {
    #[serde(serialize_with = "as_number")]
    id: ReplicaId,
    pid: Option<u32>,
    state: State,
    /// It takes no part with this key any more.
    key_spent: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    intruder: Option<String>,
    /// Kinds of proof against it, with how many of the others hold one.
    evidence: BTreeMap<String, usize>,
    /// From where others heard processes that hold its key, if there are two.
    shared_key_at: BTreeSet<String>,
    /// With what it ended: error and hint, where it is down because of one.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<(String, String)>,
    peer_address: String,
    client_address: String,
    admin_address: Option<String>,
}

fn as_number<S: serde::Serializer>(id: &ReplicaId, out: S) -> std::result::Result<S::Ok, S::Error> {
    out.serialize_u16(id.0)
}

impl Servers {
    /// Whether waiting changes nothing: nobody is on the way, or without those who halted nobody gets
    /// anywhere.
    pub(crate) fn is_settled(&self) -> bool {
        let are = |state| self.servers.iter().filter(move |server| server.state == state).count();
        are(State::CatchingUp) + are(State::Learner) == 0 || are(State::FailSafe) > self.f
    }

    /// Whether waiting changes nothing about this one.
    pub(crate) fn is_server_settled(&self, id: ReplicaId) -> bool {
        let server = self.servers.get(id.index());
        server.is_none_or(|server| !matches!(server.state, State::CatchingUp | State::Learner))
    }

    /// How many are down, out or owned once `next` is owned.
    pub(crate) fn troubled_with(&self, next: ReplicaId) -> usize {
        let is_well = |state| matches!(state, State::Correct | State::CatchingUp);
        let servers = self.servers.iter();
        servers.filter(|server| server.id == next || !is_well(server.state)).count()
    }

    /// Whether all serve.
    pub(crate) fn are_all_correct(&self) -> bool {
        self.serving() == self.servers.len()
    }

    /// Whether a quorum serves.
    pub(crate) fn is_served(&self) -> bool {
        self.serving() >= self.group.quorum()
    }

    fn serving(&self) -> usize {
        let serves = |state| matches!(state, State::Correct | State::DiskFull);
        self.servers.iter().filter(|server| serves(server.state)).count()
    }

    /// Why not all serve, and what to do.
    pub(crate) fn trouble(&self, exit: Exit) -> Error {
        let troubled = self.servers.iter().filter(|server| server.state != State::Correct);
        let causes: Vec<String> = troubled.clone().map(ServerLine::told).collect();
        let (serving, size) = (self.serving(), self.servers.len());
        let cause = format!("{serving} of {size} servers serve: {}", causes.join("; "));
        // What only a new cluster mends comes last, unless nothing else can help.
        let halted = |server: &&ServerLine| server.state == State::FailSafe;
        let first = troubled.min_by_key(|server| (!halted(server), server.key_spent));
        Error::new(exit, cause, first.map(|server| self.advice(server)).unwrap_or_default())
    }

    /// What to do about a server that does not serve.
    fn advice(&self, server: &ServerLine) -> String {
        let (dir, id) = (self.dir.display(), server.id);
        match server.state {
            _ if server.key_spent => {
                format!(
                    "a spent key is never good again: administrators give it another one by \
                     `ravelin auth rekey`, or `ravelin local reset --dir {dir}` begins anew"
                )
            }
            State::FailSafe => format!(
                "what the servers saw is beyond the promise, and no restart undoes it: stop them, then \
                 administrators release them (`ravelin node release --config {dir}/servers/{id}/node.toml \
                 --draft FILE` begins), or `ravelin local reset --dir {dir}` begins anew"
            ),
            State::Down => {
                let first = server.ended.as_ref().map(|(_, hint)| format!("{hint}; then "));
                let first = first.unwrap_or_default();
                format!("{first}`ravelin local up --dir {dir}` starts it again")
            }
            State::DiskFull => {
                "make room on the disk of its data directory, or it stops (exit code 10); nothing is lost"
                    .to_owned()
            }
            State::Owned => format!("`ravelin attack stop --dir {dir} --on {id}` gives it back"),
            _ => format!("`ravelin local logs --dir {dir} --on {id}` says why"),
        }
    }

    /// Of each server whether it serves, how it stands, and what to do if it does not serve; and whose
    /// key is run twice.
    pub(crate) fn judged(&self) -> impl Iterator<Item = (bool, String, String)> {
        let judge = |server: &ServerLine| {
            (server.state == State::Correct, server.told(), self.advice(server))
        };
        let shared = self.servers.iter().filter(|server| !server.shared_key_at.is_empty());
        let shared = shared.map(|server| {
            let places: Vec<&str> = server.shared_key_at.iter().map(String::as_str).collect();
            let (id, places) = (server.id, places.join(", "));
            let found = format!(
                "two processes hold the key of server {id}: the others heard them from {places}"
            );
            (false, found, SHARED_KEY_ADVICE.to_owned())
        });
        self.servers.iter().map(judge).chain(shared)
    }

    /// The first server that is down, why, and what to do.
    pub(crate) fn down(&self) -> Option<(ReplicaId, String, String)> {
        let server = self.servers.iter().find(|server| server.state == State::Down)?;
        Some((server.id, server.told(), self.advice(server)))
    }

    /// Why `id` never takes part again, if that is so, and what to do.
    pub(crate) fn spent(&self, id: ReplicaId) -> Option<Error> {
        let server = self.servers.get(id.index()).filter(|server| server.key_spent)?;
        Some(Error::new(Exit::Degraded, server.told(), self.advice(server)))
    }

    /// Says which servers never take part again.
    pub(crate) fn tell_spent(&self, output: Output) {
        for server in self.servers.iter().filter(|server| server.key_spent) {
            output.note(format_args!("{}; {}", server.told(), self.advice(server)));
        }
    }
}

impl ServerLine {
    /// How it stands, in words.
    fn told(&self) -> String {
        let id = self.id;
        match self.state {
            State::Down => match &self.ended {
                Some((error, _)) => format!("server {id} is down: {error}"),
                None => format!("server {id} is down"),
            },
            State::Owned if self.key_spent => {
                let (name, held) = (self.intruder.as_deref().unwrap_or_default(), self.held());
                format!(
                    "server {id} is in the hands of `{name}`; its key is spent, by proof of {held}"
                )
            }
            State::Owned => {
                let name = self.intruder.as_deref().unwrap_or_default();
                format!("server {id} is in the hands of `{name}`")
            }
            State::Exposed => {
                let held = self.held();
                format!("server {id} does not serve: its key is spent, by proof of {held}")
            }
            State::Learner => format!(
                "server {id} does not serve yet: it lost what it had promised, or has another wormhole, and \
                 asks for another key"
            ),
            State::FailSafe => format!("server {id} halted (fail-safe stop)"),
            State::CatchingUp => format!("server {id} runs but does not serve yet"),
            State::DiskFull => {
                format!("server {id} takes no new requests: its disk is nearly full")
            }
            State::Correct => format!("server {id} serves"),
        }
    }

    /// What is proven, and by how many.
    fn held(&self) -> String {
        let held = self.evidence.iter().map(|(kind, by)| format!("{kind}, held by {by}"));
        let held: Vec<String> = held.collect();
        held.join(" and ")
    }

    /// The state with what explains it.
    fn shown(&self) -> String {
        let name = self.state.name();
        match &self.intruder {
            Some(intruder) if self.key_spent => format!("{name} ({intruder}, key spent)"),
            Some(intruder) => format!("{name} ({intruder})"),
            None if self.key_spent => format!("{name} (key spent)"),
            None => name.to_owned(),
        }
    }
}

impl fmt::Display for Servers {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let states: Vec<String> = self.servers.iter().map(ServerLine::shown).collect();
        let width = states.iter().map(String::len).max().unwrap_or_default().max("state".len());
        writeln!(out, "server  pid       {:<width$}  clients at", "state")?;
        for (server, state) in self.servers.iter().zip(&states) {
            let pid = server.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
            let (id, address) = (server.id.to_string(), &server.client_address);
            writeln!(out, "{id:<6}  {pid:<8}  {state:<width$}  {address}")?;
        }
        write!(
            out,
            "{} of {} may be owned ({}); clients use {}",
            self.f,
            self.servers.len(),
            self.fault_model,
            self.client_config.display()
        )
    }
}
