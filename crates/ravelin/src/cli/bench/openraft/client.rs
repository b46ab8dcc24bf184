//! A client of a `raft-peer`: many requests under way on one connection.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};

use super::frames::{FRAME_BYTES_MAX, Inbox, Puts, Reply, Request};

/// Bytes of requests that are sent at once.
const SENT_BYTES_MAX: usize = 256 << 10;

/// A request that came to nothing.
#[derive(Debug, thiserror::Error)]
pub(in super::super) enum CallError {
    #[error("cannot connect")]
    Connect(#[from] io::Error),
    #[error("the connection ended")]
    Ended,
    #[error("raft-peer refused: {0}")]
    Refused(String),
    #[error("raft-peer does not have a key that was written")]
    Absent,
    #[error("raft-peer answered something else")]
    Other,
}

/// A connection to one server. Its copies share it, and it ends with the last of them.
#[derive(Clone)]
pub(in super::super) struct Client {
    requests: mpsc::UnboundedSender<Vec<u8>>, // as many as callers wait
    calls: Arc<Calls>,
}

/// Calls under way.
#[derive(Default)]
struct Calls {
    next: AtomicU64,
    /// Who waits for which reply.
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    replies: BTreeMap<u64, oneshot::Sender<Reply>>,
    has_ended: bool,
}

impl Client {
    /// Connects. What the connection does, it does beside the caller.
    pub(in super::super) async fn connect(to: SocketAddr) -> Result<Self, CallError> {
        let stream = TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        let (from, to) = stream.into_split();
        let (requests, to_send) = mpsc::unbounded_channel();
        let calls = Arc::new(Calls::default());
        let waiting = Arc::clone(&calls);
        tokio::spawn(async move {
            tokio::select! {
                _ = send(to, to_send) => {}
                _ = receive(from, &waiting) => {}
            }
            waiting.end();
        });
        Ok(Self { requests, calls })
    }

    /// Writes `value` under all of these keys at once.
    pub(in super::super) async fn put(
        &self,
        keys: &[Vec<u8>],
        value: &[u8],
    ) -> Result<(), CallError> {
        let mut puts = Vec::new();
        keys.iter().for_each(|key| Puts::push(&mut puts, key, value));
        let puts = Puts::of(&puts).map_err(|_| CallError::Other)?;
        match self.call(Request::Write(puts)).await? {
            Reply::Done => Ok(()),
            Reply::Refused(why) => Err(CallError::Refused(why)),
            _ => Err(CallError::Other),
        }
    }

    /// Reads a key that is there, linearizably.
    pub(in super::super) async fn get(&self, key: &[u8]) -> Result<Vec<u8>, CallError> {
        match self.call(Request::Read(key)).await? {
            Reply::Value(value) => Ok(value),
            Reply::Absent => Err(CallError::Absent),
            Reply::Refused(why) => Err(CallError::Refused(why)),
            _ => Err(CallError::Other),
        }
    }

    async fn call(&self, request: Request<'_>) -> Result<Reply, CallError> {
        let number = self.calls.next.fetch_add(1, Ordering::Relaxed);
        let mut frame = Vec::new();
        request.push(number, &mut frame);
        let reply = self.calls.expect(number)?;
        self.requests.send(frame).map_err(|_| CallError::Ended)?;
        reply.await.map_err(|_| CallError::Ended)
    }
}

impl Calls {
    fn expect(&self, number: u64) -> Result<oneshot::Receiver<Reply>, CallError> {
        let (sender, reply) = oneshot::channel();
        let mut waiting = self.lock();
        if waiting.has_ended {
            return Err(CallError::Ended);
        }
        waiting.replies.insert(number, sender);
        Ok(reply)
    }

    /// Gives a reply to who waits for it. What nobody asked is nothing to anybody.
    fn answer(&self, number: u64, reply: Reply) {
        if let Some(waiting) = self.lock().replies.remove(&number) {
            let _ = waiting.send(reply); // who asked may be gone
        }
    }

    fn end(&self) {
        let mut waiting = self.lock();
        waiting.has_ended = true;
        waiting.replies.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends requests, as many at once as there are.
async fn send(
    mut to: OwnedWriteHalf,
    mut requests: mpsc::UnboundedReceiver<Vec<u8>>,
) -> io::Result<()> {
    while let Some(mut frames) = requests.recv().await {
        while frames.len() < SENT_BYTES_MAX {
            let Ok(next) = requests.try_recv() else { break };
            frames.extend_from_slice(&next);
        }
        to.write_all(&frames).await?;
    }
    Ok(())
}

async fn receive(mut from: OwnedReadHalf, calls: &Calls) -> io::Result<()> {
    let mut inbox = Inbox::new(FRAME_BYTES_MAX);
    while from.read_buf(inbox.room()).await? > 0 {
        while let Some(body) = inbox.take().map_err(io::Error::other)? {
            let (number, reply) = Reply::of(body).map_err(io::Error::other)?;
            calls.answer(number, reply);
        }
    }
    Ok(())
}
