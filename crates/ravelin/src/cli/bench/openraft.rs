//! The `raft-peer` of `bench/raft`, a program of its own on the crate openraft: where it is, how it is
//! started, and what it says of itself.

mod client;
mod frames;

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::io::AsyncReadExt as _;

use super::peer::{Place, Standing};
use crate::exit::{Error, Exit, Result};
use frames::{FRAME_BYTES_MAX, Inbox, Reply, Request};

pub(super) use client::Client;

/// What it leaves out.
pub(super) const LACKS: &str = "three servers that may crash, none that lies; plain text, nobody \
                                authenticated; clients speak to the leader; the log is durable, the \
                                state lies in memory alone, without snapshots";
/// Writes that it takes at once at most: as many as an envelope of ours may have.
pub(super) const TRANSACTION_MAX: usize = 1024;
const PROGRAM: &str = "raft-peer";
/// Where cargo puts it, seen from the source.
const BUILT: &str = "bench/raft/target/release/raft-peer";
const BUILD: &str = "build it: cargo build --release --manifest-path bench/raft/Cargo.toml; or name it with \
                     --peer-program";
/// How long it may take to tell its version, and bytes of that at most.
const VERSION_MAX: Duration = Duration::from_secs(5);
const VERSION_BYTES_MAX: u64 = 128;
/// How long a server may take to say how it fares.
const STANDING_MAX: Duration = Duration::from_secs(2);

/// A `raft-peer`.
#[derive(Clone, Debug)]
pub(super) struct Program {
    path: PathBuf,
    version: String,
}

impl Program {
    /// The program that is named; or else the one beside this one, or where cargo puts it below the
    /// directory that we are in.
    ///
    /// # Errors
    /// It is not there, or is another one.
    pub(super) async fn find(named: Option<&Path>) -> Result<Self> {
        let beside = std::env::current_exe().map(|own| own.with_file_name(PROGRAM));
        let places = [beside.unwrap_or_default(), PathBuf::from(BUILT)];
        let path = match named {
            Some(path) => path.to_owned(),
            None => first_file(&places)?,
        };
        let version = version(&path).await?;
        Ok(Self { path, version })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn version(&self) -> &str {
        &self.version
    }

    /// What starts a server.
    pub(super) fn command(&self, place: &Place) -> Command {
        let Place { number, clients, members, dir } = place;
        let members: Vec<String> = members.iter().map(SocketAddr::to_string).collect();
        let clients = clients.get(*number).map(SocketAddr::to_string).unwrap_or_default();
        let mut command = Command::new(runnable(&self.path));
        command
            .args(["--id", &number.to_string(), "--members", &members.join(",")])
            .args(["--clients", &clients, "--data-dir"])
            .arg(dir);
        command
    }
}

/// A name without a directory is one of the directory that we are in, and not of a program's.
fn runnable(path: &Path) -> PathBuf {
    Path::new(".").join(path)
}

fn first_file(places: &[PathBuf]) -> Result<PathBuf> {
    let found = places.iter().find(|place| place.is_file());
    let missing = || Error::new(Exit::NotFound, "the program `raft-peer` is not built", BUILD);
    found.cloned().ok_or_else(missing)
}

/// The version of openraft that a program says it has.
async fn version(path: &Path) -> Result<String> {
    let mut command = tokio::process::Command::new(runnable(path));
    let command = command.arg("--version").stdin(Stdio::null()).stderr(Stdio::null());
    let started = command.stdout(Stdio::piped()).kill_on_drop(true).spawn();
    let mut process = started.map_err(|error| Error::system("run", path, &error).hint(BUILD))?;
    let mut text = Vec::new();
    if let Some(said) = process.stdout.take() {
        let mut said = said.take(VERSION_BYTES_MAX);
        let read = tokio::time::timeout(VERSION_MAX, said.read_to_end(&mut text));
        let _ = read.await; // what it did not say is missing below
    }
    let text = String::from_utf8_lossy(&text);
    let version = text.trim_end().strip_prefix("raft-peer ").map(str::to_owned);
    let other = || Error::new(Exit::Failed, format!("{} is no raft-peer", path.display()), BUILD);
    version.ok_or_else(other)
}

/// What the server that hears clients there says of itself; nothing good where it says nothing.
pub(super) fn standing(server: SocketAddr) -> Standing {
    let told = ask(server).unwrap_or_default();
    Standing { leads: told.leads, knows_leader: told.knows_leader }
}

/// How often it has synced its log.
pub(super) fn fsyncs(server: SocketAddr) -> f64 {
    ask(server).map_or(0.0, |told| told.fsync_count as f64)
}

fn ask(server: SocketAddr) -> io::Result<frames::Standing> {
    let mut stream = TcpStream::connect_timeout(&server, STANDING_MAX)?;
    stream.set_read_timeout(Some(STANDING_MAX))?;
    let mut request = Vec::new();
    Request::Tell.push(0, &mut request);
    stream.write_all(&request)?;
    let mut inbox = Inbox::new(FRAME_BYTES_MAX);
    loop {
        if let Some(body) = inbox.take().map_err(io::Error::other)? {
            return match Reply::of(body).map_err(io::Error::other)? {
                (_, Reply::Told(standing)) => Ok(standing),
                _ => Err(io::Error::other("it answered something else")),
            };
        }
        let mut read = [0; 256];
        let count = stream.read(&mut read)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        inbox.room().extend_from_slice(read.get(..count).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests;
