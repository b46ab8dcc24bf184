//! What servers say to each other: one call at a time on each of a few connections.
//!
//! A frame is the length of its body (four bytes, the lowest first) and the body. A connection on which
//! a call was given up is closed, so no answer is ever taken for another one's.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use openraft::error::{InstallSnapshotError, NetworkError, RPCError, RaftError, Unreachable};
use openraft::network::{Backoff, RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse,
    VoteRequest, VoteResponse,
};
use openraft::{BasicNode, Raft};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::TypeConfig;
use crate::frames::Inbox;

/// Bytes of a body at most: entries of one message, of which the last may be as long as a proposal.
const BODY_BYTES_MAX: usize = 8 << 20;
/// Connections from other servers at most.
const CONNECTIONS_MAX: usize = 64;
/// Connections to one server that are kept while nobody calls.
const IDLE_MAX: usize = 8;
/// How long a server is left alone that could not be reached, and a listener that failed.
const LEFT_ALONE: Duration = Duration::from_millis(50);

/// What is asked.
#[derive(Deserialize, Serialize)]
enum Call {
    Append(AppendEntriesRequest<TypeConfig>),
    Vote(VoteRequest<u64>),
}

/// What is answered.
#[derive(Deserialize, Serialize)]
enum Answer {
    Append(AppendEntriesResponse<u64>),
    Vote(VoteResponse<u64>),
    Failed(String),
}

/// A connection, and what came by it.
struct Line {
    stream: TcpStream,
    inbox: Inbox,
}

impl Line {
    fn of(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { stream, inbox: Inbox::new(BODY_BYTES_MAX) })
    }

    async fn send(&mut self, message: &impl Serialize) -> io::Result<()> {
        let mut frame = postcard::to_extend(message, vec![0; 4]).map_err(io::Error::other)?;
        let length = u32::try_from(frame.len() - 4).map_err(io::Error::other)?;
        if let Some(place) = frame.first_chunk_mut() {
            *place = length.to_le_bytes();
        }
        self.stream.write_all(&frame).await
    }

    /// The next message; nothing where the other side ended in good order.
    async fn receive<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        loop {
            if let Some(body) = self.inbox.take().map_err(io::Error::other)? {
                let (message, rest) = postcard::take_from_bytes(body).map_err(io::Error::other)?;
                if !rest.is_empty() {
                    return Err(io::Error::other("a message has bytes after its end"));
                }
                return Ok(Some(message));
            }
            if self.stream.read_buf(self.inbox.room()).await? == 0 {
                return Ok(None);
            }
        }
    }
}

/// Answers other servers, until the process ends.
pub(crate) async fn serve(listener: TcpListener, raft: Raft<TypeConfig>) -> Infallible {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let (stream, from) = accept(&listener).await;
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        let raft = raft.clone();
        tokio::spawn(async move {
            if let Err(error) = answer(stream, &raft).await {
                eprintln!("server at {from}: {error}");
            }
            drop(place);
        });
    }
}

async fn answer(stream: TcpStream, raft: &Raft<TypeConfig>) -> io::Result<()> {
    let mut line = Line::of(stream)?;
    while let Some(call) = line.receive().await? {
        let answer = match call {
            Call::Append(request) => raft.append_entries(request).await.map(Answer::Append),
            Call::Vote(request) => raft.vote(request).await.map(Answer::Vote),
        };
        line.send(&answer.unwrap_or_else(|error| Answer::Failed(error.to_string()))).await?;
    }
    Ok(())
}

/// The next connection. Where the system has no place for one, it is tried again.
pub(crate) async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(taken) => return taken,
            Err(error) => eprintln!("cannot take a connection: {error}"),
        }
        tokio::time::sleep(LEFT_ALONE).await;
    }
}

/// The way to other servers. Connections to one are shared by all that call it.
#[derive(Default)]
pub(crate) struct Network(Vec<(u64, Arc<Peer>)>);

/// Another server.
struct Peer {
    address: String,
    idle: Mutex<Vec<Line>>,
}

/// One that calls it.
pub(crate) struct Caller(Arc<Peer>);

/// Whether a server can be reached.
pub(crate) async fn is_reachable(address: SocketAddr) -> bool {
    TcpStream::connect(address).await.is_ok()
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Caller;

    async fn new_client(&mut self, target: u64, node: &BasicNode) -> Caller {
        let known = self.0.iter().find(|(id, peer)| *id == target && peer.address == node.addr);
        if let Some((_, peer)) = known {
            return Caller(Arc::clone(peer));
        }
        let peer = Arc::new(Peer { address: node.addr.clone(), idle: Mutex::default() });
        self.0.retain(|(id, _)| *id != target);
        self.0.push((target, Arc::clone(&peer)));
        Caller(peer)
    }
}

impl Peer {
    async fn call(&self, call: &Call) -> io::Result<Answer> {
        let idle = self.idle().pop();
        let mut line = match idle {
            Some(line) => line,
            None => Line::of(TcpStream::connect(&self.address).await?)?,
        };
        line.send(call).await?;
        let answer = line.receive().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let mut idle = self.idle();
        if idle.len() < IDLE_MAX {
            idle.push(line);
        }
        Ok(answer)
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Line>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type CallError<E = RaftError<u64>> = RPCError<u64, BasicNode, E>;

fn failed(error: &io::Error) -> CallError {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Unreachable::new(error).into(),
        _ => NetworkError::new(error).into(),
    }
}

/// An answer to something else, or none at all.
fn refused(answer: &Answer) -> CallError {
    let why = match answer {
        Answer::Failed(why) => why,
        _ => "it answered something else",
    };
    failed(&io::Error::other(why.to_owned()))
}

impl RaftNetwork<TypeConfig> for Caller {
    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        _: RPCOption,
    ) -> Result<AppendEntriesResponse<u64>, CallError> {
        match self.0.call(&Call::Append(request)).await.map_err(|error| failed(&error))? {
            Answer::Append(response) => Ok(response),
            other => Err(refused(&other)),
        }
    }

    async fn install_snapshot(
        &mut self,
        _: InstallSnapshotRequest<TypeConfig>,
        _: RPCOption,
    ) -> Result<InstallSnapshotResponse<u64>, CallError<RaftError<u64, InstallSnapshotError>>> {
        Err(NetworkError::new(&io::Error::other("there are no snapshots")).into())
    }

    async fn vote(
        &mut self,
        request: VoteRequest<u64>,
        _: RPCOption,
    ) -> Result<VoteResponse<u64>, CallError> {
        match self.0.call(&Call::Vote(request)).await.map_err(|error| failed(&error))? {
            Answer::Vote(response) => Ok(response),
            other => Err(refused(&other)),
        }
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(std::iter::repeat(LEFT_ALONE))
    }
}
