//! What clients ask: writes are gathered into proposals, reads into looks whether this server still leads.
//!
//! openraft syncs its log for each proposal before it takes the next, and asks the others for each read:
//! so one proposal carries all writes that came meanwhile, and one look serves all reads. A client may
//! have many requests under way on one connection; one that has too many is not read from.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;

use openraft::Raft;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::TypeConfig;
use crate::frames::{FRAME_BYTES_MAX, Inbox, Reply, Request, Standing};
use crate::log::Log;
use crate::network;
use crate::state::{State, Writes};

/// Connections of clients at most.
const CONNECTIONS_MAX: usize = 256;
/// Requests of one connection that may be under way.
const UNDER_WAY_MAX: usize = 4096;
/// Requests that may wait to be proposed, or read. Who has more waits.
const WAITING_MAX: usize = 4096;
/// Bytes of a proposal at which it goes, and nothing more is gathered.
const PROPOSAL_BYTES: usize = 1 << 20;
/// Proposals that may be under way: one is synced here while the others sync one. With more, each carries
/// less, and more syncs come one after the other.
const PROPOSALS_MAX: usize = 2;
/// Bytes of replies that are sent at once.
const SENT_BYTES_MAX: usize = 256 << 10;

/// What serves requests.
#[derive(Clone)]
pub(crate) struct Desk {
    raft: Raft<TypeConfig>,
    log: Log,
    writes: mpsc::Sender<Asked>,
    reads: mpsc::Sender<Asked>,
}

/// A request under way: its writes, or its key.
struct Asked {
    said: Vec<u8>,
    whom: Whom,
}

/// Whom to reply.
struct Whom {
    number: u64,
    replies: mpsc::UnboundedSender<Answered>, // never more than have a place
    place: OwnedSemaphorePermit,
}

/// A reply on its way.
struct Answered {
    number: u64,
    reply: Reply,
    _place: OwnedSemaphorePermit,
}

impl Whom {
    fn reply(self, reply: Reply) {
        let Self { number, replies, place } = self;
        let _ = replies.send(Answered { number, reply, _place: place }); // it may be gone
    }
}

impl Desk {
    /// Begins to serve.
    pub(crate) fn open(raft: &Raft<TypeConfig>, log: &Log, state: &State) -> Self {
        let (writes, to_write) = mpsc::channel(WAITING_MAX);
        let (reads, to_read) = mpsc::channel(WAITING_MAX);
        tokio::spawn(propose(raft.clone(), log.clone(), to_write));
        tokio::spawn(read(raft.clone(), state.clone(), to_read));
        Self { raft: raft.clone(), log: log.clone(), writes, reads }
    }

    /// Takes clients, until the process ends.
    pub(crate) async fn serve(self, listener: TcpListener) -> Infallible {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let (stream, from) = network::accept(&listener).await;
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
            let desk = self.clone();
            tokio::spawn(async move {
                if let Err(error) = desk.hear(stream).await {
                    eprintln!("client at {from}: {error}");
                }
                drop(place);
            });
        }
    }

    /// Hears one client, until it ends or says what is no request.
    async fn hear(self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let (from, to) = stream.into_split();
        let (replies, to_send) = mpsc::unbounded_channel();
        tokio::spawn(send(to, to_send));
        self.take_requests(from, replies).await
    }

    async fn take_requests(
        self,
        mut from: OwnedReadHalf,
        replies: mpsc::UnboundedSender<Answered>,
    ) -> io::Result<()> {
        let places = Arc::new(Semaphore::new(UNDER_WAY_MAX));
        let mut inbox = Inbox::new(FRAME_BYTES_MAX);
        while from.read_buf(inbox.room()).await? > 0 {
            while let Some(body) = inbox.take().map_err(io::Error::other)? {
                let (number, request) = Request::of(body).map_err(io::Error::other)?;
                let place = Arc::clone(&places).acquire_owned().await.map_err(io::Error::other)?;
                let whom = Whom { number, replies: replies.clone(), place };
                let (queue, said) = match request {
                    Request::Tell => {
                        whom.reply(Reply::Told(self.standing()));
                        continue;
                    }
                    Request::Write(puts) => (&self.writes, puts.as_bytes()),
                    Request::Read(key) => (&self.reads, key),
                };
                let asked = Asked { said: said.to_vec(), whom };
                queue.send(asked).await.map_err(|_| io::Error::other("the server ends"))?;
            }
        }
        Ok(())
    }

    fn standing(&self) -> Standing {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow();
        Standing {
            leads: metrics.current_leader == Some(metrics.id),
            knows_leader: metrics.current_leader.is_some(),
            fsync_count: self.log.fsync_count(),
        }
    }
}

/// Sends replies, as many at once as there are.
async fn send(mut to: OwnedWriteHalf, mut replies: mpsc::UnboundedReceiver<Answered>) {
    let mut frames = Vec::new();
    while let Some(first) = replies.recv().await {
        frames.clear();
        first.reply.push(first.number, &mut frames);
        while frames.len() < SENT_BYTES_MAX {
            let Ok(next) = replies.try_recv() else { break };
            next.reply.push(next.number, &mut frames);
        }
        if to.write_all(&frames).await.is_err() {
            return; // who reads from it finds that out, too
        }
    }
}

/// Proposes writes, all that wait at once.
async fn propose(raft: Raft<TypeConfig>, log: Log, mut asked: mpsc::Receiver<Asked>) {
    let places = Arc::new(Semaphore::new(PROPOSALS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let Some(first) = asked.recv().await else { return };
        let (mut writes, mut whom) = (first.said, vec![first.whom]);
        while writes.len() < PROPOSAL_BYTES {
            let Ok(next) = asked.try_recv() else { break };
            writes.extend_from_slice(&next.said);
            whom.push(next.whom);
        }
        if log.is_full() {
            let reply = Reply::Refused("the log is full".to_owned());
            whom.into_iter().for_each(|whom| whom.reply(reply.clone()));
            continue;
        }
        let raft = raft.clone();
        tokio::spawn(async move {
            let outcome = raft.client_write(Writes(writes.into())).await;
            drop(place);
            let reply = match outcome {
                Ok(_) => Reply::Done,
                Err(error) => Reply::Refused(error.to_string()),
            };
            whom.into_iter().for_each(|whom| whom.reply(reply.clone()));
        });
    }
}

/// Reads, for all that wait at once: after a look whether this server led when they had come.
async fn read(raft: Raft<TypeConfig>, state: State, mut asked: mpsc::Receiver<Asked>) {
    let mut waiting = Vec::new();
    while asked.recv_many(&mut waiting, WAITING_MAX).await > 0 {
        let leads = raft.ensure_linearizable().await;
        if let Err(error) = leads {
            let reply = Reply::Refused(error.to_string());
            waiting.drain(..).for_each(|asked| asked.whom.reply(reply.clone()));
            continue;
        }
        state.read(|values| {
            for Asked { said, whom } in waiting.drain(..) {
                let value = values.get(&said).cloned();
                whom.reply(value.map_or(Reply::Absent, Reply::Value));
            }
        });
    }
}
